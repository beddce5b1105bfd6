/* request.c: service, method, version, group and attachments of a request.
 *
 * The body is: dubbo version, path, version, method, descriptor, one value per argument, attachments.
 * A provider looks its service up by path, version and group, and lets the attachments override the
 * fields in front (DecodeableRpcInvocation and DubboProtocol.getInvoker of Apache Dubbo; seen with 2.7
 * and 3.3). So the arguments are stepped over and the attachments read; the attachment `interface`
 * moves no provider and is not looked at: who routed by it could be shown one service and the provider
 * another. A generic call goes by the method it names. */
#include "request.h"

#include <string.h>

#include "hessian.h"

static int same(pk_slice s, const char *text, uint32_t size) {
  return s.size == size && memcmp(s.data, text, size) == 0;
}
#define SAME(slice, literal) same(slice, literal, (uint32_t)sizeof(literal) - 1)

/* How many parameters a JVM descriptor names; -1 when it is none. */
static int parameters(pk_slice d) {
  int n = 0;
  for (uint32_t i = 0; i < d.size; i++, n++) {
    while (i < d.size && d.data[i] == '[') i++;
    if (i == d.size) return -1;
    if (d.data[i] == 'L') {
      const uint8_t *end = memchr(d.data + i, ';', d.size - i);
      if (end == NULL) return -1;
      i = (uint32_t)(end - d.data);
    } else if (memchr("ZBCSIJFDV", d.data[i], 9) == NULL) {
      return -1;
    }
  }
  return n;
}

static int is_generic(pk_slice method) {
  return SAME(method, "$invoke") || SAME(method, "$invokeAsync");
}

/* What the attachments say; slices without data where they say nothing. */
typedef struct attachments {
  pk_slice path, version, group;
  int64_t timeout, remaining;
} attachments;

static int64_t digits(pk_slice s) {
  int64_t v = 0;
  if (s.size == 0 || s.size > 10) return 0;
  for (uint32_t i = 0; i < s.size; i++) {
    if (s.data[i] < '0' || s.data[i] > '9') return 0;
    v = v * 10 + (s.data[i] - '0');
  }
  return v;
}

/* `number` counts where `value` has no data. */
static void note(attachments *a, pk_slice key, pk_slice value, int64_t number) {
  pk_slice *to = NULL;
  switch (key.size) {
    case 3:
      if (SAME(key, "_TO") || SAME(key, "_to"))
        a->remaining = value.data != NULL ? digits(value) : number;
      break;
    case 4:
      if (SAME(key, "path")) to = &a->path;
      break;
    case 5:
      if (SAME(key, "group")) to = &a->group;
      break;
    case 7:
      if (SAME(key, "version")) to = &a->version;
      if (SAME(key, "timeout")) a->timeout = value.data != NULL ? digits(value) : number;
      break;
    default:
      break;
  }
  if (to != NULL && value.size > 0) *to = value;
}

static void resolve(pk_destination *out, const attachments *a, pk_slice path, pk_slice version,
                    pk_slice method) {
  out->service = a->path.size > 0 ? a->path : path;
  out->version = a->version.size > 0 ? a->version : version;
  out->group = a->group;
  out->method = method;
  int64_t timeout = a->remaining > 0 ? a->remaining : a->timeout;
  if (timeout > 0) out->timeout_ms = timeout < UINT32_MAX ? (uint32_t)timeout : UINT32_MAX;
}

/* hessian2 */

/* A string, or null as an empty one. */
static int optional_string(hessian *h, pk_slice *out) {
  int result = hessian_string(h, out);
  if (result != PK_MORE) return result;
  if (*h->at != 'N') return PK_ERR_FORMAT;
  h->at++;
  *out = (pk_slice){NULL, 0};
  return PK_OK;
}

/* Up to the attachments. */
static int hessian_front(hessian *h, pk_slice *path, pk_slice *version, pk_slice *method) {
  pk_slice dubbo, descriptor;
  int result;
  int64_t extra;
  if ((result = optional_string(h, &dubbo)) != PK_OK) return result;
  if ((result = optional_string(h, path)) != PK_OK) return result;
  if ((result = optional_string(h, version)) != PK_OK) return result;
  if ((result = hessian_string(h, method)) != PK_OK) return result == PK_MORE ? PK_ERR_FORMAT : result;
  /* Dubbox writes an int here: -1, or a count of arguments in a layout of its own. */
  result = hessian_integer(h, &extra);
  if (result == PK_ERR_FORMAT) return result;
  if (result == PK_OK && extra != -1) return PK_ERR_UNSUPPORTED;
  if ((result = hessian_string(h, &descriptor)) != PK_OK)
    return result == PK_MORE ? PK_ERR_FORMAT : result;
  int arguments = parameters(descriptor);
  if (arguments < 0 || arguments > h->end - h->at) return PK_ERR_FORMAT;
  for (int i = 0; i < arguments; i++) {
    if (i == 0 && is_generic(*method)) {
      pk_slice real;
      result = hessian_string(h, &real);
      if (result == PK_OK) {
        *method = real;
        continue;
      }
      if (result != PK_MORE) return result;
    }
    if ((result = hessian_skip(h)) != PK_OK) return result;
  }
  return PK_OK;
}

/* Into the map; PK_MORE when there is none (null, or the body ends). */
static int hessian_enter(hessian *h) {
  if (h->at == h->end) return PK_MORE;
  uint8_t t = *h->at++;
  if (t == 'N') return PK_MORE;
  if (t == 'H') return PK_OK;
  if (t != 'M') return PK_ERR_FORMAT;
  pk_slice type;
  int64_t number;
  int result = hessian_string(h, &type);
  if (result == PK_MORE) result = hessian_integer(h, &number);
  return result == PK_MORE ? PK_ERR_FORMAT : result;
}

/* The next pair. Slices without data where it is no text; PK_MORE at the end. */
static int hessian_pair(hessian *h, pk_slice *key, pk_slice *value, int64_t *number) {
  *key = *value = (pk_slice){NULL, 0};
  *number = 0;
  if (h->at == h->end) return PK_ERR_FORMAT;
  if (*h->at == 'Z') return PK_MORE;
  int result = hessian_string(h, key);
  if (result == PK_MORE) result = hessian_skip(h);
  if (result == PK_ERR_UNSUPPORTED && key->data != NULL) {
    *key = (pk_slice){NULL, 0};
    result = PK_OK;
  }
  if (result != PK_OK) return result;
  result = hessian_string(h, value);
  if (result == PK_MORE) result = hessian_integer(h, number);
  if (result == PK_MORE) return hessian_skip(h);
  if (result == PK_ERR_UNSUPPORTED) { /* text in chunks: longer than any of ours */
    *value = (pk_slice){NULL, 0};
    return PK_OK;
  }
  return result;
}

static int hessian_destination(const uint8_t *data, const pk_frame *f, pk_destination *out) {
  hessian h;
  hessian_open(&h, data + DUBBO_HEADER, data + f->size);
  pk_slice path, version, method, key, value;
  attachments a;
  int64_t number;
  memset(&a, 0, sizeof a);
  int result = hessian_front(&h, &path, &version, &method);
  if (result != PK_OK) return result;
  result = hessian_enter(&h);
  while (result == PK_OK) {
    result = hessian_pair(&h, &key, &value, &number);
    if (result == PK_OK && key.data != NULL) note(&a, key, value, number);
  }
  if (result != PK_MORE) return result;
  resolve(out, &a, path, version, method);
  return PK_OK;
}

/* fastjson2: every item is a length of four bytes and that much JSONB. */

typedef struct jsonb {
  const uint8_t *at, *end;
} jsonb;

static int jsonb_item(jsonb *in, jsonb *item) {
  if (in->end - in->at < 4) return PK_ERR_FORMAT;
  uint32_t size = (uint32_t)in->at[0] << 24 | (uint32_t)in->at[1] << 16 | (uint32_t)in->at[2] << 8 |
                  in->at[3];
  in->at += 4;
  if (size > (size_t)(in->end - in->at)) return PK_ERR_FORMAT;
  *item = (jsonb){in->at, in->at + size};
  in->at += size;
  return PK_OK;
}

/* PK_MORE: no int. */
static int jsonb_integer(jsonb *in, int64_t *out) {
  ptrdiff_t left = in->end - in->at;
  if (left < 1) return PK_ERR_FORMAT;
  const uint8_t *p = in->at;
  uint8_t t = *p;
  ptrdiff_t size;
  if (t <= 0x2f || t >= 0xf0) {
    size = 1, *out = (int8_t)t;
  } else if (t >= 0xd8 && t <= 0xef) {
    size = 1, *out = t - 0xe0;
  } else if (t >= 0x30 && t <= 0x3f) {
    size = 2;
    if (left >= size) *out = (t - 0x38) * 256 + p[1];
  } else if (t == 0xbd) {
    size = 2;
    if (left >= size) *out = (int8_t)p[1];
  } else if (t >= 0x40 && t <= 0x47) {
    size = 3;
    if (left >= size) *out = (t - 0x44) * 65536 + p[1] * 256 + p[2];
  } else if (t == 0x48 || t == 0xbf) {
    size = 5;
    if (left >= size)
      *out = (int32_t)((uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4]);
  } else {
    return PK_MORE;
  }
  if (left < size) return PK_ERR_FORMAT;
  in->at += size;
  return PK_OK;
}

/* Null is an empty string. PK_MORE: neither (nothing consumed). */
static int jsonb_string(jsonb *in, pk_slice *out) {
  if (in->at == in->end) return PK_ERR_FORMAT;
  uint8_t t = *in->at;
  int64_t size;
  *out = (pk_slice){NULL, 0};
  if (t == 0xaf) {
    in->at++;
    return PK_OK;
  }
  if (t >= 0x49 && t <= 0x78) {
    size = t - 0x49;
    in->at++;
  } else if (t >= 0x79 && t <= 0x7d) {
    in->at++;
    if (jsonb_integer(in, &size) != PK_OK || size < 0) return PK_ERR_FORMAT;
  } else {
    return PK_MORE;
  }
  if (size > in->end - in->at) return PK_ERR_FORMAT;
  *out = (pk_slice){in->at, (uint32_t)size};
  in->at += size;
  return t >= 0x7b && t <= 0x7d ? PK_ERR_UNSUPPORTED : PK_OK; /* UTF-16 */
}

static int jsonb_text_item(jsonb *in, pk_slice *out) {
  jsonb item;
  int result = jsonb_item(in, &item);
  if (result != PK_OK) return result;
  result = jsonb_string(&item, out);
  return result == PK_MORE ? PK_ERR_FORMAT : result;
}

/* Up to the attachments; *map stands inside them, or has no data when there are none. */
static int jsonb_front(jsonb *in, jsonb *map, pk_slice *path, pk_slice *version, pk_slice *method) {
  pk_slice dubbo, descriptor;
  jsonb item;
  int result;
  if ((result = jsonb_text_item(in, &dubbo)) != PK_OK) return result;
  if ((result = jsonb_text_item(in, path)) != PK_OK) return result;
  if ((result = jsonb_text_item(in, version)) != PK_OK) return result;
  if ((result = jsonb_text_item(in, method)) != PK_OK) return result;
  if ((result = jsonb_text_item(in, &descriptor)) != PK_OK) return result;
  int arguments = parameters(descriptor);
  if (arguments < 0) return PK_ERR_FORMAT;
  for (int i = 0; i < arguments; i++) {
    if ((result = jsonb_item(in, &item)) != PK_OK) return result;
    pk_slice real;
    if (i == 0 && is_generic(*method) && jsonb_string(&item, &real) == PK_OK && real.size > 0)
      *method = real;
  }
  *map = (jsonb){NULL, NULL};
  if (in->at == in->end) return PK_OK;
  if ((result = jsonb_item(in, &item)) != PK_OK) return result;
  if (item.at == item.end || *item.at == 0xaf) return PK_OK;
  if (*item.at != 0xa6) return PK_ERR_UNSUPPORTED;
  *map = (jsonb){item.at + 1, item.end};
  return PK_OK;
}

/* PK_MORE at the end; PK_ERR_UNSUPPORTED at a value that is neither text nor an int. */
static int jsonb_pair(jsonb *map, pk_slice *key, pk_slice *value, int64_t *number) {
  *value = (pk_slice){NULL, 0};
  *number = 0;
  if (map->at == map->end) return PK_ERR_FORMAT;
  if (*map->at == 0xa5) return PK_MORE;
  int result = jsonb_string(map, key);
  if (result != PK_OK) return result == PK_MORE ? PK_ERR_UNSUPPORTED : result;
  result = jsonb_string(map, value);
  if (result == PK_MORE) result = jsonb_integer(map, number);
  return result == PK_MORE ? PK_ERR_UNSUPPORTED : result;
}

static int jsonb_destination(const uint8_t *data, const pk_frame *f, pk_destination *out) {
  jsonb in = {data + DUBBO_HEADER, data + f->size}, map;
  pk_slice path, version, method, key, value;
  attachments a;
  int64_t number;
  memset(&a, 0, sizeof a);
  int result = jsonb_front(&in, &map, &path, &version, &method);
  if (result != PK_OK) return result;
  while (map.at != NULL && (result = jsonb_pair(&map, &key, &value, &number)) == PK_OK)
    note(&a, key, value, number);
  if (result != PK_OK && result != PK_MORE) return result;
  resolve(out, &a, path, version, method);
  return PK_OK;
}

int dubbo_destination(const pk_codec *codec, const uint8_t *data, const pk_frame *f,
                      pk_destination *out) {
  (void)codec;
  switch (f->context) {
    case SERIALIZATION_HESSIAN2:
    case SERIALIZATION_NATIVE_HESSIAN:
      return hessian_destination(data, f, out);
    case SERIALIZATION_FASTJSON2:
      return jsonb_destination(data, f, out);
    default:
      return PK_ERR_UNSUPPORTED;
  }
}

/* The cursor: where the next pair stands. Class definitions in front of it are not remembered, so a
 * header value that is an object cannot be stepped over: PK_ERR_UNSUPPORTED. */
static int hessian_header(const uint8_t *data, const pk_frame *f, pk_cursor *c, pk_header *out) {
  hessian h;
  int64_t number;
  int result;
  hessian_open(&h, data + DUBBO_HEADER, data + f->size);
  if (c->at == 0) {
    pk_slice path, version, method;
    if ((result = hessian_front(&h, &path, &version, &method)) != PK_OK) return result;
    if ((result = hessian_enter(&h)) != PK_OK) return result;
  } else {
    h.at = data + c->at;
  }
  const uint8_t *value_at;
  do {
    if ((result = hessian_pair(&h, &out->key, &out->value, &number)) != PK_OK)
      return result == PK_ERR_FORMAT && c->at != 0 && h.at < h.end && h.class_count == 0
                 ? PK_ERR_UNSUPPORTED
                 : result;
    value_at = out->key.data != NULL ? out->key.data + out->key.size : NULL;
  } while (value_at == NULL);
  c->at = (uint32_t)(h.at - data);
  if (out->value.data == NULL) {
    out->raw = 1;
    out->value = (pk_slice){value_at, (uint32_t)(h.at - value_at)};
  }
  return PK_OK;
}

static int jsonb_header(const uint8_t *data, const pk_frame *f, pk_cursor *c, pk_header *out) {
  jsonb in = {data + DUBBO_HEADER, data + f->size}, map;
  pk_slice path, version, method;
  int64_t number;
  int result = jsonb_front(&in, &map, &path, &version, &method);
  if (result != PK_OK) return result;
  if (map.at == NULL) return PK_MORE;
  if (c->at != 0) map.at = data + c->at;
  if ((result = jsonb_pair(&map, &out->key, &out->value, &number)) != PK_OK) return result;
  c->at = (uint32_t)(map.at - data);
  if (out->value.data == NULL) {
    const uint8_t *value_at = out->key.data + out->key.size;
    out->raw = 1;
    out->value = (pk_slice){value_at, (uint32_t)(map.at - value_at)};
  }
  return PK_OK;
}

int dubbo_next_header(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_cursor *c,
                      pk_header *out) {
  (void)codec;
  out->raw = 0;
  switch (f->context) {
    case SERIALIZATION_HESSIAN2:
    case SERIALIZATION_NATIVE_HESSIAN:
      return hessian_header(data, f, c, out);
    case SERIALIZATION_FASTJSON2:
      return jsonb_header(data, f, c, out);
    default:
      return PK_MORE;
  }
}
