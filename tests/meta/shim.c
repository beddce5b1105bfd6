/* shim.c: a codec in front of another one, wrong in one way: what the conformance kit has to notice. */
#include <protokit/codec.h>
#include <string.h>

#define MUTANTS(X)                                                        \
  X(TWIN, "nothing")                                                      \
  X(LONGER, "frames a byte longer")                                       \
  X(SHORTER, "frames a byte shorter")                                     \
  X(OTHER_REST, "the rest of a front told a byte longer")                 \
  X(NEEDS_LESS, "no more bytes asked for than there are")                 \
  X(NEEDS_MORE, "more bytes asked for than the frame has")                \
  X(ANY_SIZE, "bound of the frame's size not checked")                    \
  X(READS_BEHIND, "a byte behind the given ones looked at")               \
  X(WRONG_PLACE, "errors placed behind the bytes")                        \
  X(FORGIVES, "malformed frames waited for")                              \
  X(SWALLOWS_ONEWAY, "one-way requests swallowed")                        \
  X(ANSWERS_ONEWAY, "one-way requests taken for two-way ones")            \
  X(RESPONSES_ARE_REQUESTS, "responses taken for requests")               \
  X(HEARTBEATS_ARE_REQUESTS, "heartbeats taken for requests")             \
  X(ACKS_ARE_HEARTBEATS, "answers to heartbeats taken for heartbeats")    \
  X(NO_DRAIN_SEEN, "drain signals ignored")                               \
  X(ERRORS_ARE_OK, "error answers taken for good ones")                   \
  X(TIMEOUT_IS_OVERLOAD, "one status taken for another")                  \
  X(NO_APP_ERROR, "the service's own errors not seen")                    \
  X(NO_CONTEXT, "the context for replies lost")                           \
  X(OWN_KEYS, "connections not shared by even and odd ids")               \
  X(ID_READ_ELSEWHERE, "another id read")                                 \
  X(ID_READ_SHORT, "ids read without their upper half")                   \
  X(PROBE_NO, "no connection recognised")                                 \
  X(PROBE_YES, "every connection recognised")                             \
  X(PROBE_LATE, "no connection recognised before 12 bytes")               \
  X(SWAPS_DESTINATION, "service and method exchanged")                    \
  X(NO_GROUP, "the group not read")                                       \
  X(NO_VERSION, "the version not read")                                   \
  X(TWICE_THE_TIME, "the caller's budget doubled")                        \
  X(READS_THE_UNREADABLE, "requests without a readable destination read") \
  X(NO_FIRST_HEADER, "the first header left out")                         \
  X(RAW_HEADERS, "headers taken for raw values")                          \
  X(PATCHES_ELSEWHERE, "the id written into the byte before, too")        \
  X(PATCHES_SHORT, "ids written without their upper half")                \
  X(PATCHES_MORE, "the last byte changed with the id")                    \
  X(NO_LAST_ID, "the last id written as the first")                       \
  X(BEATS_WITHOUT_ID, "heartbeats without their id")                      \
  X(NO_BEATS, "no heartbeat sent")                                        \
  X(BEATS_ARE_ACKS, "heartbeats that are answers to one")                 \
  X(NO_ACK, "heartbeats without an answer")                               \
  X(ECHOES_BEATS, "heartbeats answered with themselves")                  \
  X(ACKS_WITHOUT_ID, "answers to heartbeats without their id")            \
  X(NO_DRAIN_SENT, "no drain signal sent")                                \
  X(DRAINS_ARE_BEATS, "drain signals that are heartbeats")                \
  X(ERRORS_ARE_BEATS, "error replies that are heartbeats")                \
  X(ERRORS_WITHOUT_TEXT, "error replies that do not say why")             \
  X(ERRORS_CUT_TEXT, "texts of errors cut at 128 bytes")                  \
  X(ERRORS_WITHOUT_ID, "error replies without their id")                  \
  X(ONE_ERROR, "one status for all errors")                               \
  X(ERRORS_CUT, "error replies a byte short")                             \
  X(LITTLE_ROOM, "too little room asked for replies")                     \
  X(NO_IDS, "ids said not to be there")                                   \
  X(NARROW_IDS, "ids said to be half as wide")                            \
  X(NO_HEADER_BY_KEY, "no header found by its key")                       \
  X(NO_ARGUMENTS, "no argument found")                                    \
  X(EDITS_NO_ANSWER, "edits of answers that change nothing")              \
  X(EDITS_DROP, "edits that drop the last byte")                          \
  X(EDITS_NOTHING, "edits that change nothing")                           \
  X(EDITS_ID, "edits that write another id")

#define X(name, what) name,
enum { MUTANTS(X) COUNT };
#undef X
#define X(name, what) what,
static const char *const names[] = {MUTANTS(X)};
#undef X

typedef struct mutant {
  pk_codec codec;
  const pk_codec *base;
  int which;
} mutant;
static mutant made[4096];
static int used;

static const mutant *of(const pk_codec *codec) { return codec->user; }

static void spoil(const mutant *m, pk_frame *f) {
  switch (m->which) {
    case SWALLOWS_ONEWAY: if (f->kind == PK_KIND_ONEWAY) f->kind = PK_KIND_IGNORE; break;
    case ANSWERS_ONEWAY: if (f->kind == PK_KIND_ONEWAY) f->kind = PK_KIND_REQUEST; break;
    case RESPONSES_ARE_REQUESTS: if (f->kind == PK_KIND_RESPONSE) f->kind = PK_KIND_REQUEST; break;
    case HEARTBEATS_ARE_REQUESTS: if (f->kind == PK_KIND_HEARTBEAT) f->kind = PK_KIND_REQUEST; break;
    case ACKS_ARE_HEARTBEATS: if (f->kind == PK_KIND_HEARTBEAT_ACK) f->kind = PK_KIND_HEARTBEAT; break;
    case NO_DRAIN_SEEN: if (f->kind == PK_KIND_DRAIN) f->kind = PK_KIND_IGNORE; break;
    case ERRORS_ARE_OK: if (f->status > PK_STATUS_APP_ERROR) f->status = PK_STATUS_OK; break;
    case TIMEOUT_IS_OVERLOAD: if (f->status == PK_STATUS_TIMEOUT) f->status = PK_STATUS_OVERLOADED; break;
    case NO_APP_ERROR: if (f->status == PK_STATUS_APP_ERROR) f->status = PK_STATUS_OK; break;
    case NO_CONTEXT: f->context = 0; break;
    case OWN_KEYS: f->upstream_key ^= (uint32_t)(f->id & 1) << 31; break;
    case TWICE_THE_TIME: f->timeout_ms *= 2; break;
    case ID_READ_ELSEWHERE: f->id ^= 1; break;
    case ID_READ_SHORT: f->id &= 0xffff; break;
    default: break;
  }
}

static int frame(const pk_codec *codec, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  const mutant *m = of(codec);
  int result = m->base->frame(m->base, data, size, m->which == ANY_SIZE ? UINT32_MAX : limit, f);
  spoil(m, f);
  if (result == PK_OK) {
    if (m->which == LONGER && f->size < size) f->size++;
    if (m->which == SHORTER) f->size--;
    if (m->which == OTHER_REST && f->says & PK_SAYS_HALF) f->need++;
    /* A bytes object of Python's ends with a zero that is not counted, so this reads nobody's memory. */
    if (m->which == READS_BEHIND && f->size == size && data[size] == 0xff) f->timeout_ms ^= 1;
  } else if (result == PK_MORE) {
    if (m->which == NEEDS_LESS) f->need = (uint32_t)size;
    if (m->which == NEEDS_MORE) f->need += 9;
  } else {
    if (m->which == WRONG_PLACE) f->error_at = (uint32_t)size + 1;
    if (m->which == FORGIVES && result == PK_ERR_FORMAT) {
      f->need = (uint32_t)size + 1;
      return PK_MORE;
    }
  }
  return result;
}

/* The base's own view of a frame: what `f` says was spoiled. */
static pk_frame right(const mutant *m, const uint8_t *data, const pk_frame *f) {
  pk_frame own = {.halves = (f->says & PK_SAYS_HALF) != 0};
  uint32_t size = m->which == SHORTER ? f->size + 1 : m->which == LONGER ? f->size - 1 : f->size;
  m->base->frame(m->base, data, size, UINT32_MAX, &own);
  return own;
}

static int probe(const pk_codec *codec, const uint8_t *data, size_t size) {
  const mutant *m = of(codec);
  if (m->which == PROBE_NO) return PK_ERR_MAGIC;
  if (m->which == PROBE_YES) return PK_OK;
  if (m->which == PROBE_LATE && size < 12) return PK_ERR_MAGIC;
  return m->base->probe(m->base, data, size);
}

static int destination(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  const mutant *m = of(codec);
  pk_frame own = right(m, data, f);
  int result = m->base->destination(m->base, data, &own, out);
  if (m->which == READS_THE_UNREADABLE && result == PK_ERR_FORMAT) {
    memset(out, 0, sizeof *out);
    return PK_OK;
  }
  if (result != PK_OK) return result;
  if (m->which == SWAPS_DESTINATION) {
    pk_slice service = out->service;
    out->service = out->method;
    out->method = service;
  }
  if (m->which == NO_GROUP) out->group = (pk_slice){NULL, 0};
  if (m->which == NO_VERSION) out->version = (pk_slice){NULL, 0};
  if (m->which == TWICE_THE_TIME) out->timeout_ms *= 2;
  if (m->which == NO_CONTEXT) out->context = 0;
  return PK_OK;
}

static int next_header(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_cursor *c,
                       pk_header *out) {
  const mutant *m = of(codec);
  pk_frame own = right(m, data, f);
  int first = c->at == 0, result = m->base->next_header(m->base, data, &own, c, out);
  if (result == PK_OK && first && m->which == NO_FIRST_HEADER)
    result = m->base->next_header(m->base, data, &own, c, out);
  if (result == PK_OK && m->which == RAW_HEADERS) out->raw = 1;
  if (result == PK_ERR_FORMAT && m->which == READS_THE_UNREADABLE) return PK_MORE;
  return result;
}

static int header(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_slice key, pk_header *out) {
  const mutant *m = of(codec);
  pk_frame own = right(m, data, f);
  int result = m->which == NO_HEADER_BY_KEY ? PK_MORE : m->base->header(m->base, data, &own, key, out);
  if (result == PK_OK && m->which == RAW_HEADERS) out->raw = 1;
  return result;
}

static int argument(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t index, pk_value *out) {
  const mutant *m = of(codec);
  pk_frame own = right(m, data, f);
  return m->which == NO_ARGUMENTS ? PK_MORE : m->base->argument(m->base, data, &own, index, out);
}

static int inside(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t index, const pk_slice *keys,
                  uint32_t count, pk_value *out) {
  const mutant *m = of(codec);
  pk_frame own = right(m, data, f);
  return m->which == NO_ARGUMENTS ? PK_MORE : m->base->inside(m->base, data, &own, index, keys, count, out);
}

static void patch_id(const pk_codec *codec, uint8_t *data, const pk_frame *f, uint64_t id) {
  const mutant *m = of(codec);
  pk_frame own = right(m, data, f);
  uint64_t last = m->codec.id_bytes < 8 ? ((uint64_t)1 << 8 * m->codec.id_bytes) - 1 : UINT64_MAX;
  if (m->which == PATCHES_SHORT) id &= 0xffff;
  if (m->which == NO_LAST_ID && (id & last) == last) id = 0;
  m->base->patch_id(m->base, data, &own, id);
  if (m->which == PATCHES_ELSEWHERE) data[3] ^= 1;
  if (m->which == PATCHES_MORE) data[f->size - 1] ^= 1;
}

static int heartbeat(const pk_codec *codec, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  const mutant *m = of(codec);
  if (m->which == NO_BEATS) return 0;
  if (m->which == OWN_KEYS) key &= 0x7fffffff;
  int size = m->base->heartbeat(m->base, m->which == BEATS_WITHOUT_ID ? 0 : id, key, out, cap);
  if (m->which == BEATS_ARE_ACKS && size > 0) {
    pk_frame f = {0};
    uint8_t beat[512];
    memcpy(beat, out, (size_t)size);
    m->base->frame(m->base, beat, (size_t)size, UINT32_MAX, &f);
    return m->base->heartbeat_ack(m->base, beat, &f, out, cap);
  }
  return size;
}

static int heartbeat_ack(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint8_t *out,
                         size_t cap) {
  const mutant *m = of(codec);
  pk_frame own = right(m, data, f);
  if (m->which == NO_ACK) return 0;
  if (m->which == ECHOES_BEATS) {
    memcpy(out, data, own.size);
    return (int)own.size;
  }
  int size = m->base->heartbeat_ack(m->base, data, &own, out, cap);
  if (m->which == ACKS_WITHOUT_ID && size > 0) {
    pk_frame ack = {0};
    m->base->frame(m->base, out, (size_t)size, UINT32_MAX, &ack);
    m->base->patch_id(m->base, out, &ack, 0);
  }
  return size;
}

static int drain(const pk_codec *codec, const pk_reply *reply, uint8_t *out, size_t cap) {
  const mutant *m = of(codec);
  if (m->which == NO_DRAIN_SENT) return 0;
  int size = m->base->drain(m->base, reply, out, cap);
  return m->which == DRAINS_ARE_BEATS && size > 0 ? m->base->heartbeat(m->base, 0, 0, out, cap) : size;
}

static int error(const pk_codec *codec, const pk_reply *asked, uint8_t *out, size_t cap) {
  pk_reply reply = *asked;
  const mutant *m = of(codec);
  if (m->which == ERRORS_ARE_BEATS) return m->base->heartbeat(m->base, reply.id, 0, out, cap);
  if (m->which == ERRORS_WITHOUT_TEXT) reply.text.size = 0;
  if (m->which == ERRORS_CUT_TEXT && reply.text.size > 128) reply.text.size = 128;
  if (m->which == ERRORS_WITHOUT_ID) reply.id = 0;
  if (m->which == ONE_ERROR) reply.status = PK_STATUS_INTERNAL;
  int size = m->base->error(m->base, &reply, out, cap);
  return m->which == ERRORS_CUT && size > 0 ? size - 1 : size;
}

static int edit(const pk_codec *codec, const uint8_t *data, const pk_frame *f, const pk_edit *edits,
                uint32_t count, uint8_t *out, size_t cap) {
  const mutant *m = of(codec);
  pk_frame own = right(m, data, f), changed = {0};
  if (m->which == EDITS_NOTHING || (m->which == EDITS_NO_ANSWER && own.kind == PK_KIND_RESPONSE)) {
    memcpy(out, data, own.size);
    return (int)own.size;
  }
  int size = m->base->edit(m->base, data, &own, edits, count, out, cap);
  if (size > 0 && m->which == EDITS_DROP) return size - 1;
  if (size > 0 && m->which == EDITS_ID) {
    m->base->frame(m->base, out, (size_t)size, UINT32_MAX, &changed);
    m->base->patch_id(m->base, out, &changed, own.id + 1);
  }
  return size;
}

static int mutant_count(void) { return COUNT; }
static const char *mutant_name(int which) { return names[which]; }

/* Whether that is wrong in what the codec has. */
static int mutant_changes(uintptr_t address, int which) {
  const pk_codec *base = (const pk_codec *)address;
  if (which == NO_HEADER_BY_KEY) return base->header != NULL;
  if (which >= EDITS_NO_ANSWER && which <= EDITS_ID) return base->edit != NULL;
  if (which >= PATCHES_ELSEWHERE && which <= NO_LAST_ID) return base->patch_id != NULL;
  return 1;
}

/* A codec that is `base`, wrong in that way. */
static uintptr_t mutant_of(uintptr_t address, int which) {
  mutant *m = &made[used++ % 4096];
  const pk_codec *base = (const pk_codec *)address;
  *m = (mutant){*base, base, which};
  pk_codec *c = &m->codec;
  c->user = m;
  c->probe = probe;
  c->frame = frame;
  c->destination = destination;
  c->next_header = next_header;
  c->header = base->header == NULL ? NULL : header;
  c->argument = base->argument == NULL ? NULL : argument;
  c->inside = base->inside == NULL ? NULL : inside;
  c->patch_id = base->patch_id == NULL ? NULL : patch_id;
  c->heartbeat = heartbeat;
  c->heartbeat_ack = heartbeat_ack;
  c->drain = drain;
  c->error = error;
  c->edit = base->edit == NULL ? NULL : edit;
  if (which == LITTLE_ROOM) c->reply_max = base->reply_max / 4;
  if (which == NO_IDS) c->mode = PK_MODE_ORDERED, c->id_bytes = 0;
  if (which == NARROW_IDS) c->id_bytes = base->id_bytes / 2;
  return (uintptr_t)c;
}
