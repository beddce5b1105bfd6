/* toy.c: a protocol for the engine's tests, in four kinds: ids of 8 bytes, ids of 1 byte, no ids
 * (answers in order), no ids (one at a time).
 *
 *   7E | kind | status | id (8, 1 or 0 bytes) | body size, 2 bytes | body
 *
 * kind and status are PK_KIND_* and PK_STATUS_*. A request's body is "service method rest". */
#include <protokit/codec.h>
#include <string.h>

static uint32_t front(const pk_codec *c) { return 3 + c->id_bytes + 2; }

static int probe(const pk_codec *c, const uint8_t *data, size_t size) {
  if (size == 0) return PK_MORE;
  if (data[0] != 0x7e) return PK_ERR_MAGIC;
  if (size == 1) return PK_MORE; /* two bytes, so that detection has something to wait for */
  return data[1] >= 1 && data[1] <= 8 && c != NULL ? PK_OK : PK_ERR_MAGIC;
}

static int frame(const pk_codec *c, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  if (data[0] != 0x7e || (size > 1 && (data[1] < 1 || data[1] > 8))) {
    f->error_at = data[0] == 0x7e;
    return PK_ERR_MAGIC;
  }
  if (size < front(c)) {
    f->need = front(c);
    return PK_MORE;
  }
  f->kind = data[1];
  f->status = data[2];
  for (uint32_t i = 0; i < c->id_bytes; i++) f->id = f->id << 8 | data[3 + i];
  f->body = front(c);
  f->size = front(c) + ((uint32_t)data[front(c) - 2] << 8 | data[front(c) - 1]);
  if (f->size > limit) {
    f->error_at = front(c) - 2;
    return PK_ERR_LIMIT;
  }
  f->need = f->size;
  return f->size <= size ? PK_OK : PK_MORE;
}

static int destination(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  const uint8_t *p = data + f->body, *end = data + f->size;
  (void)c;
  const uint8_t *a = memchr(p, ' ', (size_t)(end - p));
  if (a == NULL) return PK_ERR_FORMAT;
  const uint8_t *b = memchr(a + 1, ' ', (size_t)(end - a - 1));
  if (b == NULL) return PK_ERR_FORMAT;
  out->service = (pk_slice){p, (uint32_t)(a - p)};
  out->method = (pk_slice){a + 1, (uint32_t)(b - a - 1)};
  return PK_OK;
}

static int next_header(const pk_codec *c, const uint8_t *d, const pk_frame *f, pk_cursor *k, pk_header *o) {
  (void)c, (void)d, (void)f, (void)k, (void)o;
  return PK_MORE;
}

static void patch_id(const pk_codec *c, uint8_t *data, const pk_frame *f, uint64_t id) {
  (void)f;
  for (uint32_t i = 0; i < c->id_bytes; i++) data[3 + i] = (uint8_t)(id >> (8 * (c->id_bytes - 1 - i)));
}

static int build(const pk_codec *c, uint8_t kind, uint32_t status, uint64_t id, const char *text,
                 size_t size, uint8_t *out, size_t cap) {
  if (cap < front(c) + size) return PK_ERR_SPACE;
  out[0] = 0x7e;
  out[1] = kind;
  out[2] = (uint8_t)status;
  patch_id(c, out, NULL, id);
  out[front(c) - 2] = (uint8_t)(size >> 8);
  out[front(c) - 1] = (uint8_t)size;
  memcpy(out + front(c), text, size);
  return (int)(front(c) + size);
}

static int heartbeat(const pk_codec *c, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  (void)key;
  return build(c, PK_KIND_HEARTBEAT, 0, id, "", 0, out, cap);
}

static int heartbeat_ack(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint8_t *out, size_t cap) {
  return build(c, PK_KIND_HEARTBEAT_ACK, 0, f->id, (const char *)data + f->body, f->size - f->body, out, cap);
}

static int drain(const pk_codec *c, uint32_t context, uint8_t *out, size_t cap) {
  (void)context;
  return build(c, PK_KIND_DRAIN, 0, 0, "", 0, out, cap);
}

static int error(const pk_codec *c, uint32_t status, uint64_t id, uint32_t context, const char *text,
                 size_t size, uint8_t *out, size_t cap) {
  (void)context;
  return build(c, PK_KIND_RESPONSE, status, id, text, size, out, cap);
}

#define TOY(variable, label, how, bytes)                                                         \
  static const pk_codec variable = {                                                             \
      .abi = PK_CODEC_ABI, .size = sizeof(pk_codec), .name = label, .mode = how,                 \
      .id_bytes = bytes, .reserved_ids = {7}, .reserved_count = bytes ? 1 : 0, .reply_max = 640, \
      .probe = probe, .frame = frame, .destination = destination, .next_header = next_header,    \
      .patch_id = patch_id, .heartbeat = heartbeat, .heartbeat_ack = heartbeat_ack,              \
      .drain = drain, .error = error}

TOY(wide, "wide", PK_MODE_MULTIPLEXED, 8);
TOY(narrow, "narrow", PK_MODE_MULTIPLEXED, 1);
TOY(ordered, "ordered", PK_MODE_ORDERED, 0);
TOY(pingpong, "pingpong", PK_MODE_PINGPONG, 0);

uintptr_t toy_codec(int which);
uintptr_t toy_codec(int which) {
  const pk_codec *all[] = {&wide, &narrow, &ordered, &pingpong};
  return (uintptr_t)all[which];
}
