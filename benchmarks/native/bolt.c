/* bolt.c: bolt v1 and v2 by hand, as fast as it can be written, for comparison with the declared one:
 * frame, id, kind, timeout, status, variant, service, version, group, method, checksum. The header map is
 * read to its end, since a later duplicate wins, and the hessian body where the headers lack something. */
#include "by_hand.h"

#include "base/checksum.h"
#include "wire/steps/steps.h"

static int probe(const pk_codec *c, const uint8_t *data, size_t size) {
  (void)c;
  if (size == 0) return PK_MORE;
  return data[0] == 1 || data[0] == 2 ? PK_OK : PK_ERR_MAGIC;
}

static uint8_t status_of(uint32_t wire) {
  switch (wire) {
    case 0: return PK_STATUS_OK;
    case 4: return PK_STATUS_OVERLOADED;
    case 6: return PK_STATUS_NO_SERVICE;
    case 7: return PK_STATUS_TIMEOUT;
    case 8: case 16: return PK_STATUS_UNAVAILABLE;
    case 9: case 18: return PK_STATUS_BAD_REQUEST;
    default: return PK_STATUS_INTERNAL;
  }
}

typedef struct destination {
  pk_slice target, service, method, failed;
} destination;

static int same(const uint8_t *key, uint32_t size, const char *text, uint32_t text_size) {
  return size == text_size && memcmp(key, text, size) == 0;
}
#define SAME(literal) same(key, key_size, literal, sizeof literal - 1)

static int read_map(const uint8_t *at, const uint8_t *end, destination *d) {
  while (at < end) {
    if (end - at < 4) return PK_ERR_FORMAT;
    uint32_t key_size = get32(at);
    const uint8_t *key = at + 4;
    if (key_size > (size_t)(end - key) || (size_t)(end - key) - key_size < 4) return PK_ERR_FORMAT;
    int32_t size = (int32_t)get32(key + key_size);
    at = key + key_size + 4;
    pk_slice value = {at, 0};
    if (size >= 0) {
      if (size > end - at) return PK_ERR_FORMAT;
      value.size = (uint32_t)size;
      at += size;
    } else if (size == -1) {
      value.data = NULL;
    } else {
      return PK_ERR_FORMAT;
    }
    if (SAME("sofa_head_target_service")) {
      d->target = value;
    } else if (SAME("service")) {
      d->service = value;
    } else if (SAME("sofa_head_method_name")) {
      d->method = value;
    } else if (SAME("sofa_head_response_error")) {
      d->failed = value;
    }
  }
  return PK_OK;
}

static int frame(const pk_codec *c, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  (void)c;
  if (data[0] != 1 && data[0] != 2) {
    f->error_at = 0;
    return PK_ERR_MAGIC;
  }
  uint32_t v2 = data[0] == 2; /* one more byte in front of the type, one more behind the codec */
  if (size < 20 + 2 * v2) {
    f->need = 20 + 2 * v2;
    return PK_MORE;
  }
  uint32_t type = data[1 + v2], request = type != 0, front = 20 + 2 * v2 + 2 * request;
  if (type > 2) {
    f->error_at = 1 + v2;
    return PK_ERR_MAGIC;
  }
  if (size < front) {
    f->need = front;
    return PK_MORE;
  }
  const uint8_t *lengths = data + front - 8;
  int32_t class_size = (int16_t)get16(lengths), map_size = (int16_t)get16(lengths + 2),
          content_size = (int32_t)get32(lengths + 4);
  uint32_t checked = v2 && data[1] == 2 && (data[11] & 1);
  f->body = 5 + v2;
  f->id = get32(data + 5 + v2);
  f->context = !v2 ? 0 : data[1] == 2 ? 2 : data[1] == 1 ? 1 : 0;
  f->upstream_key = f->context;
  uint32_t command = get16(data + 2 + v2);
  if (command == 100) {
    f->kind = PK_KIND_DRAIN;
  } else if (command == 0) {
    f->kind = request ? PK_KIND_HEARTBEAT : PK_KIND_HEARTBEAT_ACK;
  } else {
    f->kind = !request ? PK_KIND_RESPONSE : type == 2 ? PK_KIND_ONEWAY : PK_KIND_REQUEST;
  }
  if (class_size < 0 || map_size < 0 || content_size < 0) return PK_ERR_FORMAT;
  uint64_t whole = (uint64_t)front + (uint32_t)class_size + (uint32_t)map_size + (uint32_t)content_size +
                   4 * checked;
  if (whole > limit) return PK_ERR_LIMIT;
  f->size = (uint32_t)whole;
  if (whole > size) {
    f->need = (uint32_t)whole;
    return PK_MORE;
  }
  f->own[0] = front + (uint32_t)class_size;
  f->own[1] = (uint32_t)map_size;
  f->own[2] = f->own[0] + f->own[1];
  f->own[3] = (uint32_t)content_size;
  f->flags = (uint8_t)checked;
  if (checked && get32(data + f->size - 4) != pk_crc32(0, data, f->size - 4)) return PK_ERR_FORMAT;
  if (f->kind == PK_KIND_RESPONSE) {
    f->status = status_of(get16(data + front - 10));
    destination d = {0};
    if (f->status == PK_STATUS_OK && map_size > 0 &&
        read_map(data + f->own[0], data + f->own[2], &d) == PK_OK && d.failed.size == 4 &&
        memcmp(d.failed.data, "true", 4) == 0)
      f->status = PK_STATUS_APP_ERROR;
  } else if (request) {
    int32_t timeout = (int32_t)get32(data + front - 12);
    f->timeout_ms = timeout > 0 ? (uint32_t)timeout : 0;
  }
  return PK_OK;
}

static int destination_of(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  destination d = {0};
  pk_slice found[2] = {{NULL, 0}, {NULL, 0}};
  (void)c;
  int result = read_map(data + f->own[0], data + f->own[2], &d);
  if (result != PK_OK) return result;
  pk_slice key = d.target.data != NULL ? d.target : d.service;
  if (key.data == NULL || d.method.data == NULL) {
    static const pk_slice names[2] = {{(const uint8_t *)"targetServiceUniqueName", 23},
                                      {(const uint8_t *)"methodName", 10}};
    pk_step_hessian_fields(data + f->own[2], f->own[3], names, 2, found, 2);
  }
  if (key.data == NULL) key = found[0];
  out->method = d.method.data != NULL ? d.method : found[1];
  if (key.data == NULL) return PK_OK;
  const uint8_t *end = key.data + key.size, *a = memchr(key.data, ':', key.size);
  if (a == NULL) {
    out->service = key;
    return PK_OK;
  }
  out->service = (pk_slice){key.data, (uint32_t)(a - key.data)};
  const uint8_t *b = memchr(a + 1, ':', (size_t)(end - a - 1));
  out->version = (pk_slice){a + 1, (uint32_t)((b != NULL ? b : end) - a - 1)};
  if (b != NULL) out->group = (pk_slice){b + 1, (uint32_t)(end - b - 1)};
  return PK_OK;
}

static void patch_id(const pk_codec *c, uint8_t *data, const pk_frame *f, uint64_t id) {
  (void)c;
  put32(data + f->body, (uint32_t)id);
  if (f->flags) put32(data + f->size - 4, pk_crc32(0, data, f->size - 4));
}

const pk_codec bolt_by_hand = BY_HAND("bolt", probe, frame, destination_of, patch_id, .keep_max = 0);
const pk_codec bolt_framing = BY_HAND("bolt", probe, frame, by_hand_nowhere, patch_id, .keep_max = 0);
