/* thrift.c: Thrift's strict binary protocol in frames by hand, as fast as it can be written, for comparison
 * with the declared one: frame, id, kind, status, an exception's type, service and method. */
#include "by_hand.h"

enum { CALL = 1, REPLY, EXCEPTION, ONEWAY, STRING = 11, I32 = 8 };

static int probe(const pk_codec *c, const uint8_t *data, size_t size) {
  static const uint8_t version[3] = {0x80, 1, 0};
  (void)c;
  if (size > 4 && memcmp(data + 4, version, size < 7 ? size - 4 : 3) != 0) return PK_ERR_MAGIC;
  return size < 7 ? PK_MORE : PK_OK;
}

static uint8_t status_of(uint32_t type) {
  switch (type) {
    case 1: return PK_STATUS_NO_SERVICE;
    case 2: case 3: case 4: case 7: case 8: case 9: case 10: return PK_STATUS_BAD_REQUEST;
    default: return PK_STATUS_INTERNAL;
  }
}

/* What stands in front of an answer's body: 0, or an error. */
static int read_answer(const uint8_t *at, const uint8_t *end, uint32_t type, pk_frame *f) {
  if (end - at < 1) return PK_ERR_FORMAT;
  uint32_t kind = *at++, field = 0, next = 0, code = 0;
  if (kind != 0) {
    if (end - at < 2) return PK_ERR_FORMAT;
    field = get16(at);
    at += 2;
  }
  if (type == REPLY) {
    f->status = field != 0 ? PK_STATUS_APP_ERROR : PK_STATUS_OK;
    return PK_OK;
  }
  if (kind == STRING) {
    if (end - at < 5) return PK_ERR_FORMAT;
    uint32_t size = get32(at);
    if (size > (size_t)(end - at) - 5) return PK_ERR_FORMAT;
    next = at[4 + size];
    at += 5 + size;
    if (next != 0) {
      if (end - at < 2) return PK_ERR_FORMAT;
      at += 2;
    }
  }
  if (kind == I32 || next == I32) {
    if (end - at < 4) return PK_ERR_FORMAT;
    code = get32(at);
  }
  f->status = status_of(code);
  return PK_OK;
}

static int frame(const pk_codec *c, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  (void)c;
  if (size < 12) {
    f->need = 12;
    return PK_MORE;
  }
  if (data[4] != 0x80 || data[5] != 1 || data[6] != 0 || data[7] < CALL || data[7] > ONEWAY) {
    f->error_at = 4;
    return PK_ERR_MAGIC;
  }
  uint64_t whole = 4 + (uint64_t)get32(data), name = get32(data + 8), id = 12 + name;
  if (whole > limit) return PK_ERR_LIMIT;
  if (id + 4 > whole) return PK_ERR_FORMAT;
  uint32_t type = data[7];
  f->kind = type == CALL ? PK_KIND_REQUEST : type == ONEWAY ? PK_KIND_ONEWAY : PK_KIND_RESPONSE;
  f->size = (uint32_t)whole;
  if (whole > size) {
    f->need = (uint32_t)whole;
    return PK_MORE;
  }
  f->body = (uint32_t)id;
  f->own[0] = (uint32_t)name;
  f->id = get32(data + id);
  return f->kind == PK_KIND_RESPONSE ? read_answer(data + id + 4, data + whole, type, f) : PK_OK;
}

static int destination_of(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  (void)c;
  const uint8_t *name = data + 12, *colon = memchr(name, ':', f->own[0]);
  out->service = out->method = (pk_slice){name, f->own[0]};
  if (colon == NULL) return PK_OK;
  out->service.size = (uint32_t)(colon - name);
  out->method = (pk_slice){colon + 1, f->own[0] - out->service.size - 1};
  return PK_OK;
}

/* The method, which an error has to repeat. */
static int keep(const pk_codec *c, const uint8_t *data, size_t size, const pk_frame *f, uint8_t *out, size_t cap) {
  pk_destination d;
  if (f->size == 0 || f->size > size) return 0;
  destination_of(c, data, f, &d);
  uint32_t most = d.method.size < cap - 1 ? d.method.size : (uint32_t)cap - 1;
  out[0] = (uint8_t)most;
  memcpy(out + 1, d.method.data, most);
  return (int)most + 1;
}

static void patch_id(const pk_codec *c, uint8_t *data, const pk_frame *f, uint64_t id) {
  (void)c;
  put32(data + f->body, (uint32_t)id);
}

const pk_codec thrift_by_hand = BY_HAND("thrift", probe, frame, destination_of, patch_id, .keep_max = 256, .keep = keep);
const pk_codec thrift_framing = BY_HAND("thrift", probe, frame, by_hand_nowhere, patch_id, .keep_max = 0);
