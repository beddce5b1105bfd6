/* planted.c: a codec, a step and a measure that go beside one of the blocks they are given, once they are told to. */
#include <protokit/codec.h>
#include <string.h>

enum { NOT_AT_ALL, BEHIND, BEFORE, LATER, WRITTEN };

static struct {
  char where[32];
  int how;
  const volatile uint8_t *kept;
} planted;
static volatile uint8_t seen;

static void plant(const char *where, int how) {
  strcpy(planted.where, where);
  planted.how = how;
  planted.kept = NULL;
}

/* A block of `size` bytes, by its name. */
static void look(const char *where, const void *block, size_t size) {
  if (planted.how == NOT_AT_ALL || strcmp(planted.where, where) != 0) return;
  volatile uint8_t *at = (volatile uint8_t *)(uintptr_t)block;
  if (planted.how == BEHIND) seen = at[size];
  if (planted.how == BEFORE) seen = at[-1];
  if (planted.how == WRITTEN) at[size] = 1;
  if (planted.how == LATER && planted.kept != NULL) seen = *planted.kept;
  planted.kept = at;
}

static pk_slice part(const uint8_t *data, uint32_t at) { return (pk_slice){data + at, 2}; }

static int probe(const pk_codec *c, const uint8_t *data, size_t size) {
  (void)c;
  look("probe", data, size);
  return PK_OK;
}

/* Whatever is there is a frame; its first byte says what kind. */
static int frame(const pk_codec *c, const uint8_t *data, size_t size, uint32_t limit, pk_frame *out) {
  (void)limit;
  look("frame", data, size);
  if (c->state_size > 0) look("state", out->state, c->state_size);
  out->size = (uint32_t)size;
  out->kind = data[0];
  if (c->id_max > 0) out->id_span = (pk_span){0, 4};
  return PK_OK;
}

static int destination(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  (void)c;
  look("destination", data, f->size);
  out->service = part(data, 0);
  out->method = part(data, 2);
  return PK_OK;
}

static int next_header(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_cursor *cursor, pk_header *out) {
  (void)c;
  look("headers", data, f->size);
  if (cursor->at++ > 0) return PK_MORE;
  *out = (pk_header){part(data, 0), part(data, 2), 0};
  return PK_OK;
}

static int header(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_slice key, pk_header *out) {
  (void)c;
  look("header", data, f->size);
  look("key", key.data, key.size);
  *out = (pk_header){part(data, 0), part(data, 2), 0};
  return PK_OK;
}

static int argument(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint32_t index, pk_value *out) {
  (void)c, (void)index;
  look("argument", data, f->size);
  look("value", out, sizeof *out);
  *out = (pk_value){.type = PK_VALUE_TEXT, .bytes = part(data, 2)};
  return PK_OK;
}

static void patch_id(const pk_codec *c, uint8_t *data, const pk_frame *f, uint64_t id) {
  (void)c, (void)id;
  look("patched", data, f->size);
}

static int splice_id(const pk_codec *c, const uint8_t *data, const pk_frame *f, const uint8_t *id, uint32_t id_size,
                     uint8_t *out, size_t cap) {
  (void)c, (void)data, (void)f;
  look("id", id, id_size);
  look("spliced", out, cap);
  return 0;
}

static int heartbeat(const pk_codec *c, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  (void)c, (void)id, (void)key;
  look("heartbeat", out, cap);
  return 0;
}

static int heartbeat_ack(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint8_t *out, size_t cap) {
  (void)c, (void)out, (void)cap;
  look("beat", data, f->size);
  return 0;
}

static int drain(const pk_codec *c, const pk_reply *reply, uint8_t *out, size_t cap) {
  (void)c, (void)out, (void)cap;
  look("kept", reply->kept.data, reply->kept.size);
  return 0;
}

static int error(const pk_codec *c, const pk_reply *reply, uint8_t *out, size_t cap) {
  (void)c;
  look("text", reply->text.data, reply->text.size);
  look("refused", reply->kept.data, reply->kept.size);
  look("error", out, cap);
  return 0;
}

static int edit(const pk_codec *c, const uint8_t *data, const pk_frame *f, const pk_edit *edits, uint32_t count,
                uint8_t *out, size_t cap) {
  (void)c, (void)data, (void)f;
  look("edits", edits, count * sizeof *edits);
  look("edit's key", edits[0].key.data, edits[0].key.size);
  look("edit's value", edits[0].value.data, edits[0].value.size);
  look("edited", out, cap);
  return 0;
}

static int greeting(const pk_codec *c, uint32_t step, uint32_t context, const uint8_t *said, const pk_frame *f,
                    uint8_t *out, size_t cap) {
  (void)c, (void)step, (void)context, (void)out, (void)cap;
  look("said", said, f != NULL ? f->size : 0);
  return 0;
}

static int greeting_step(const pk_codec *c, uint32_t step, const uint8_t *data, const pk_frame *f) {
  (void)c;
  look("greeting", data, f->size);
  return (int)step;
}

static int keep(const pk_codec *c, const uint8_t *data, size_t size, const pk_frame *f, uint8_t *out, size_t cap) {
  (void)c, (void)f;
  look("keeping", data, size);
  look("what is kept", out, cap);
  return 0;
}

static int step(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t count, pk_slice *out,
                uint32_t found) {
  look("section", section, size);
  look("arguments", arguments, count * sizeof *arguments);
  look("an argument", arguments[0].data, arguments[0].size);
  look("found", out, found * sizeof *out);
  out[0] = part(section, 0);
  return PK_OK;
}

static int measure(const uint8_t *at, size_t size, const pk_slice *arguments, uint32_t count, uint64_t state[4],
                   uint64_t *out) {
  (void)arguments, (void)count;
  look("measured", at, size);
  look("measure's state", state, 4 * sizeof *state);
  look("measure", out, sizeof *out);
  return PK_OK;
}

#define COMMON                                                                                                        \
  .abi = PK_CODEC_ABI, .size = sizeof(pk_codec), .name = "planted", .id_bytes = 4, .reply_max = 100, .probe = probe,  \
  .frame = frame, .destination = destination, .next_header = next_header, .heartbeat = heartbeat,                     \
  .heartbeat_ack = heartbeat_ack, .drain = drain, .error = error

static const pk_codec codecs[] = {
    {COMMON, .patch_id = patch_id, .edit = edit, .header = header, .argument = argument, .keep = keep,
     .keep_max = PK_KEEP_MAX, .greeting = greeting, .greeting_step = greeting_step, .greeting_steps = 1, .state_size = 64},
    {COMMON, .splice_id = splice_id, .id_max = 16},
};

static uintptr_t planted_codec(int which) { return (uintptr_t)&codecs[which]; }
static uintptr_t planted_step(void) { return (uintptr_t)step; }
static uintptr_t planted_measure(void) { return (uintptr_t)measure; }
