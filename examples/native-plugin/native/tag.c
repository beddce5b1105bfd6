/* tag.c: a small protocol, and a codec with all that the engine asks for.
 *
 *   0     1      2        3            7                11
 *   | 'T' | kind | status | id (4, BE) | body size (4)  | body |
 *
 * kind is PK_KIND_*, 1 to 6; status PK_STATUS_*. The body of a request is "service method arguments", of an
 * error the text. docs/native-codecs.md says what each function owes the engine. */
#include "tag.h"

#include <string.h>

enum { MARK = 'T', ID = 3, SIZE = 7, FRONT = 11 };

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static int known(uint8_t kind) { return kind >= PK_KIND_REQUEST && kind <= PK_KIND_DRAIN; }

static int probe(const pk_codec *c, const uint8_t *data, size_t size) {
  (void)c;
  if (size == 0) return PK_MORE;
  if (data[0] != MARK) return PK_ERR_MAGIC;
  if (size == 1) return PK_MORE;
  return known(data[1]) ? PK_OK : PK_ERR_MAGIC;
}

static int frame(const pk_codec *c, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  (void)c;
  if (data[0] != MARK) return PK_ERR_MAGIC; /* error_at is 0 */
  if (size > 1 && !known(data[1])) {
    f->error_at = 1;
    return PK_ERR_MAGIC;
  }
  if (size > 2 && data[2] >= PK_STATUS_COUNT) {
    f->error_at = 2;
    return PK_ERR_FORMAT;
  }
  if (size < FRONT) {
    f->need = size < ID ? (uint32_t)size + 1 : FRONT; /* each of the first may be refused at once */
    return PK_MORE;
  }
  f->kind = data[1];
  f->status = data[2];
  f->id = get32(data + ID);
  f->body = FRONT;
  uint32_t body = get32(data + SIZE);
  if (limit < FRONT || body > limit - FRONT) { /* FRONT + body could wrap around */
    f->error_at = SIZE;
    return PK_ERR_LIMIT;
  }
  f->size = f->need = FRONT + body;
  return f->size <= size ? PK_OK : PK_MORE;
}

static int destination(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  const uint8_t *service = data + f->body, *end = data + f->size;
  (void)c;
  const uint8_t *a = memchr(service, ' ', (size_t)(end - service));
  if (a == NULL) return PK_ERR_FORMAT;
  const uint8_t *method = a + 1;
  const uint8_t *b = memchr(method, ' ', (size_t)(end - method));
  if (b == NULL) return PK_ERR_FORMAT;
  out->service = (pk_slice){service, (uint32_t)(a - service)};
  out->method = (pk_slice){method, (uint32_t)(b - method)};
  return PK_OK;
}

/* There are none. */
static int next_header(const pk_codec *c, const uint8_t *d, const pk_frame *f, pk_cursor *k, pk_header *o) {
  (void)c, (void)d, (void)f, (void)k, (void)o;
  return PK_MORE;
}

static void patch_id(const pk_codec *c, uint8_t *data, const pk_frame *f, uint64_t id) {
  (void)c, (void)f;
  put32(data + ID, (uint32_t)id);
}

static int build(uint8_t kind, uint32_t status, uint64_t id, const void *body, size_t size, uint8_t *out,
                 size_t cap) {
  if (cap < FRONT || size > cap - FRONT) return PK_ERR_SPACE;
  out[0] = MARK;
  out[1] = kind;
  out[2] = (uint8_t)status;
  put32(out + ID, (uint32_t)id);
  put32(out + SIZE, (uint32_t)size);
  if (size) memcpy(out + FRONT, body, size);
  return (int)(FRONT + size);
}

static int heartbeat(const pk_codec *c, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  (void)c, (void)key;
  return build(PK_KIND_HEARTBEAT, 0, id, NULL, 0, out, cap);
}

static int heartbeat_ack(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint8_t *out, size_t cap) {
  (void)c;
  return build(PK_KIND_HEARTBEAT_ACK, 0, f->id, data + f->body, f->size - f->body, out, cap);
}

static int drain(const pk_codec *c, const pk_reply *reply, uint8_t *out, size_t cap) {
  (void)c, (void)reply;
  return build(PK_KIND_DRAIN, 0, 0, NULL, 0, out, cap);
}

static int error(const pk_codec *c, const pk_reply *reply, uint8_t *out, size_t cap) {
  (void)c;
  return build(PK_KIND_RESPONSE, reply->status, reply->id, reply->text.data, reply->text.size, out, cap);
}

const pk_codec tag_codec = {
    .abi = PK_CODEC_ABI,
    .size = sizeof(pk_codec),
    .name = "tag",
    .mode = PK_MODE_MULTIPLEXED,
    .id_bytes = 4,
    .reply_max = FRONT + 512,
    .probe = probe,
    .frame = frame,
    .destination = destination,
    .next_header = next_header,
    .patch_id = patch_id,
    .heartbeat = heartbeat,
    .heartbeat_ack = heartbeat_ack,
    .drain = drain,
    .error = error,
};
