/* envelope.c: see envelope.h. */
#include "wire/envelope.h"

#include <stdlib.h>
#include <string.h>

#include "wire/loaded.h"

enum { SIZE = 4, ID = 8, TIMEOUT = 24, CONTEXT = 28, KEY = 32, KIND = 36, STATUS, FLAGS, SAYS, TEXTS = 40, KEPT = 48, HEAD = 52 };
static const uint8_t magic[4] = {'P', 'K', 'E', '1'};

typedef struct envelope_codec {
  union {
    pk_codec codec;
    pk_loaded loaded;
  };
  uint32_t features;
  char name[64];
} envelope_codec;

static uint32_t u32(const uint8_t *p) {
  uint32_t value;
  memcpy(&value, p, sizeof value);
  return value;
}

static uint64_t u64(const uint8_t *p) {
  uint64_t value;
  memcpy(&value, p, sizeof value);
  return value;
}

static uint32_t u16(const uint8_t *p) {
  uint16_t value;
  memcpy(&value, p, sizeof value);
  return value;
}

/* Where what is kept begins behind the four texts, and the frame behind that. */
static uint32_t kept(const uint8_t *data) {
  return HEAD + u16(data + TEXTS) + u16(data + TEXTS + 2) + u16(data + TEXTS + 4) + u16(data + TEXTS + 6);
}

static uint32_t payload(const uint8_t *data) { return kept(data) + u16(data + KEPT); }

/* Never by its bytes: such a protocol is the only one of its listener. */
static int probe(const pk_codec *c, const uint8_t *data, size_t size) {
  (void)c, (void)data, (void)size;
  return PK_ERR_MAGIC;
}

static int frame(const pk_codec *c, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  (void)c;
  if (memcmp(data, magic, size < sizeof magic ? size : sizeof magic) != 0) return PK_ERR_MAGIC;
  f->need = HEAD;
  if (size < HEAD) return PK_MORE;
  f->id = u64(data + ID);
  f->size = f->need = u32(data + SIZE);
  f->timeout_ms = u32(data + TIMEOUT);
  f->context = u32(data + CONTEXT);
  f->upstream_key = u32(data + KEY);
  f->kind = data[KIND];
  f->status = data[STATUS];
  f->flags = data[FLAGS];
  f->says = data[SAYS];
  f->ended = (f->flags & PK_ENVELOPE_ENDED) != 0;
  f->body = payload(data);
  if (f->flags & PK_ENVELOPE_TOO_LARGE) {
    f->need = f->size; /* of the envelope, which is all that comes of that frame */
    return PK_ERR_LIMIT;
  }
  if (f->flags & PK_ENVELOPE_WRONG) {
    f->error_at = f->timeout_ms;
    return PK_ERR_FORMAT;
  }
  int known = f->kind > 0 && f->kind <= PK_KIND_PIECE && f->kind != PK_KIND_GREETING;
  if (!known || f->says > (PK_SAYS_LAST | PK_SAYS_MORE) || f->status >= PK_STATUS_COUNT || f->body > f->size)
    return PK_ERR_FORMAT;
  if (f->size > limit) return PK_ERR_LIMIT;
  return f->size <= size ? PK_OK : PK_MORE;
}

static int destination(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  (void)c;
  pk_slice *texts[] = {&out->service, &out->method, &out->version, &out->group};
  const uint8_t *at = data + HEAD;
  if (f->flags & PK_ENVELOPE_UNREADABLE) return PK_ERR_FORMAT;
  for (uint32_t i = 0; i < 4; i++) {
    *texts[i] = (pk_slice){at, u16(data + TEXTS + 2 * i)};
    at += texts[i]->size;
  }
  return PK_OK;
}

/* Filters are shown the frame itself, which the Python codec reads. */
static int next_header(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_cursor *cursor,
                       pk_header *out) {
  (void)c, (void)data, (void)f, (void)cursor, (void)out;
  return PK_MORE;
}

static void patch_id(const pk_codec *c, uint8_t *data, const pk_frame *f, uint64_t id) {
  (void)c, (void)f;
  memcpy(data + ID, &id, sizeof id);
}

/* What Python has to build, and what it needs for that. */
static int build(const pk_frame *f, pk_slice keep, const void *from, size_t from_size, uint8_t *out, size_t cap) {
  uint32_t size = HEAD + keep.size + (uint32_t)from_size;
  uint16_t keep_size = (uint16_t)keep.size;
  if (cap < size) return PK_ERR_SPACE;
  memset(out, 0, HEAD);
  memcpy(out, magic, sizeof magic);
  memcpy(out + SIZE, &size, sizeof size);
  memcpy(out + ID, &f->id, sizeof f->id);
  memcpy(out + CONTEXT, &f->context, sizeof f->context);
  memcpy(out + KEY, &f->upstream_key, sizeof f->upstream_key);
  out[KIND] = f->kind;
  out[STATUS] = f->status;
  out[FLAGS] = PK_ENVELOPE_BUILD;
  memcpy(out + KEPT, &keep_size, sizeof keep_size);
  if (keep.size > 0) memcpy(out + HEAD, keep.data, keep.size);
  if (from_size > 0) memcpy(out + HEAD + keep.size, from, from_size);
  return (int)size;
}

static int has(const pk_codec *c, uint32_t feature) {
  return (((const envelope_codec *)c->user)->features & feature) != 0;
}

static int heartbeat(const pk_codec *c, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  const pk_frame f = {.kind = PK_KIND_HEARTBEAT, .id = id, .upstream_key = key};
  return has(c, PK_ENVELOPE_BEATS) ? build(&f, (pk_slice){NULL, 0}, NULL, 0, out, cap) : 0;
}

static int heartbeat_ack(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint8_t *out, size_t cap) {
  pk_frame ack = *f;
  (void)c;
  ack.kind = PK_KIND_HEARTBEAT_ACK;
  return build(&ack, (pk_slice){NULL, 0}, data + f->body, f->size - f->body, out, cap);
}

static int drain(const pk_codec *c, const pk_reply *r, uint8_t *out, size_t cap) {
  const pk_frame f = {.kind = PK_KIND_DRAIN, .context = r->context};
  return has(c, PK_ENVELOPE_DRAINS) ? build(&f, r->kept, NULL, 0, out, cap) : 0;
}

static int error(const pk_codec *c, const pk_reply *r, uint8_t *out, size_t cap) {
  const pk_frame f = {.kind = PK_KIND_RESPONSE, .status = (uint8_t)r->status, .id = r->id, .context = r->context};
  (void)c;
  return build(&f, r->kept, r->text.data, r->text.size, out, cap);
}

static int keep(const pk_codec *c, const uint8_t *data, size_t size, const pk_frame *f, uint8_t *out, size_t cap) {
  (void)c, (void)f;
  size_t from = size < HEAD ? HEAD : kept(data), bytes = size < HEAD ? 0 : u16(data + KEPT);
  if (size < from + bytes || bytes > cap) return 0;
  memcpy(out, data + from, bytes);
  return (int)bytes;
}

static void free_one(pk_loaded *l) { free(l); }

uintptr_t pk_envelope_new(const char *name, uint32_t mode, uint32_t id_bytes, const uint64_t *reserved_ids,
                          uint32_t reserved_count, uint32_t features) {
  envelope_codec *e = calloc(1, sizeof *e);
  if (e == NULL) return 0;
  strncpy(e->name, name, sizeof e->name - 1);
  e->features = features;
  e->codec = (pk_codec){.abi = PK_CODEC_ABI,
                        .size = sizeof(pk_codec),
                        .name = e->name,
                        .user = e,
                        .mode = mode,
                        .id_bytes = id_bytes,
                        .reserved_count = reserved_count,
                        .reply_max = HEAD + PK_KEEP_MAX + 512,
                        .probe = probe,
                        .frame = frame,
                        .destination = destination,
                        .next_header = next_header,
                        .patch_id = features & PK_ENVELOPE_PINNED ? NULL : patch_id,
                        .pinned = (features & PK_ENVELOPE_PINNED) != 0,
                        .heartbeat = heartbeat,
                        .heartbeat_ack = heartbeat_ack,
                        .drain = drain,
                        .error = error,
                        .optional_drain = (features & PK_ENVELOPE_DRAINS_IF_ASKED) != 0,
                        .keep_max = features & PK_ENVELOPE_KEEPS ? PK_KEEP_MAX : 0,
                        .keep = features & PK_ENVELOPE_KEEPS ? keep : NULL};
  for (uint32_t i = 0; i < reserved_count && i < 4; i++) e->codec.reserved_ids[i] = reserved_ids[i];
  pk_loaded_begin(&e->loaded, free_one);
  return (uintptr_t)&e->codec;
}

int pk_envelope_is(const pk_codec *codec) { return codec->frame == frame; }
