/* request.c: a request's body, item by item: dubbo version, path, version, method, descriptor, one value per
 * argument, attachments. */
#include "request.h"

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

/* hessian2 */

/* A string, or null as an empty one. */
static int text(reader *r, pk_slice *out) {
  pk_values *h = &r->h;
  int result = pk_values_text(h, &pk_hessian2, out);
  if (result == PK_OK) return PK_OK;
  *out = (pk_slice){NULL, 0};
  if (result != PK_MORE) return result;
  if (*h->at != 'N') return PK_ERR_FORMAT;
  h->at++;
  return PK_OK;
}

static int argument(reader *r, pk_slice *out) {
  int result = pk_values_text(&r->h, &pk_hessian2, out);
  if (result == PK_OK) return PK_OK;
  *out = (pk_slice){NULL, 0};
  return result == PK_MORE ? pk_values_skip(&r->h, &pk_hessian2) : result;
}

static int value(reader *r, pk_slice type, pk_value *out) {
  (void)type;
  return pk_values_value(&r->h, &pk_hessian2, out);
}

static int number(reader *r, int64_t *out) { return pk_values_integer(&r->h, &pk_hessian2, out); }

static int enter(reader *r) {
  pk_values *h = &r->h;
  if (h->at == h->end) return PK_MORE;
  uint8_t t = *h->at++;
  if (t == 'N') return PK_MORE;
  if (t == 'H') return PK_OK;
  if (t != 'M') return PK_ERR_FORMAT;
  pk_slice type;
  int64_t number;
  int result = pk_values_text(h, &pk_hessian2, &type);
  if (result == PK_MORE) result = pk_values_integer(h, &pk_hessian2, &number);
  return result == PK_MORE ? PK_ERR_FORMAT : result;
}

/* What is no plain text, and what reading it as one gave: out of the way of those that are. */
static __attribute__((noinline)) int odd_key(reader *r, pk_slice *key, int result) {
  if (result == PK_MORE) {
    result = pk_values_text_value(&r->h, &pk_hessian2, key);
    if (key->data != NULL) result = PK_ERR_UNSUPPORTED; /* behind a class */
  }
  if (result != PK_ERR_UNSUPPORTED) return result;
  *key = (pk_slice){NULL, 0};
  r->veiled = VEILED_KEY;
  return PK_OK;
}

static __attribute__((noinline)) int odd_value(reader *r, pk_slice *value, int64_t *number, int result) {
  if (result == PK_MORE) result = pk_values_integer(&r->h, &pk_hessian2, number);
  if (result == PK_MORE) result = pk_values_text_value(&r->h, &pk_hessian2, value);
  if (result != PK_ERR_UNSUPPORTED) return result;
  *value = (pk_slice){NULL, 0};
  r->veiled |= VEILED_VALUE;
  return PK_OK;
}

static int pair(reader *r, pk_slice *key, pk_slice *value, int64_t *number) {
  pk_values *h = &r->h;
  *key = *value = (pk_slice){NULL, 0};
  *number = 0;
  r->veiled = 0;
  if (h->at == h->end) return PK_ERR_FORMAT;
  if (*h->at == 'Z') return PK_MORE;
  int result = pk_values_text(h, &pk_hessian2, key);
  if (result != PK_OK && (result = odd_key(r, key, result)) != PK_OK) return result;
  r->value = h->at;
  result = pk_values_text(h, &pk_hessian2, value);
  return result == PK_OK ? PK_OK : odd_value(r, value, number, result);
}

static void open_map(writer *w, const reader *r) {
  if (r->h.at < r->h.end && *r->h.at == 'M') { /* keeps its type */
    reader past;
    pk_values_open(&past.h, r->h.at, r->h.end);
    if (enter(&past) == PK_OK) {
      write_bytes(w, r->h.at, (size_t)(past.h.at - r->h.at));
      return;
    }
  }
  write_byte(w, 'H');
}

static void copy_pair(writer *w, const uint8_t *data, size_t size) { write_bytes(w, data, size); }

static void put_pair(writer *w, pk_slice key, pk_slice value) {
  hessian_put_text(w, key);
  hessian_put_text(w, value);
}

static void close_map(writer *w) { write_byte(w, 'Z'); }

/* Lists, maps and objects are referred to by their number, classes and types as well. */
static int anchors(const uint8_t *value, const uint8_t *end) {
  if (value >= end) return 0;
  uint8_t t = *value;
  return (t >= 0x55 && t <= 0x58) || (t >= 0x60 && t <= 0x7f) || memchr("CHMO", t, 4) != NULL;
}

const layout hessian_layout = {text, argument, value,     hessian_inside, number,    enter,  pair, hessian_put_text,
                               open_map, copy_pair, put_pair, close_map, anchors};

/* Any serialization. Inlined once for hessian2, which is the hot one. */
#define INLINE static inline __attribute__((always_inline))

/* A name that its provider reads and that cannot be read here would be taken for another. */
INLINE int plain(int result) { return result == PK_ERR_UNSUPPORTED ? PK_ERR_LIMIT : result; }

INLINE int read_names(const layout *l, reader *r, dubbo_front *f) {
  pk_slice dubbo;
  int result;
  int64_t extra;
  f->path = f->version = f->method = (pk_slice){NULL, 0};
  if ((result = plain(l->text(r, &dubbo))) != PK_OK) return result;
  f->path_at = r->h.at;
  if ((result = plain(l->text(r, &f->path))) != PK_OK) return result;
  f->version_at = r->h.at;
  if ((result = plain(l->text(r, &f->version))) != PK_OK) return result;
  f->method_at = r->h.at;
  if ((result = plain(l->text(r, &f->method))) != PK_OK) return result;
  if (f->method.data == NULL) return PK_ERR_FORMAT;
  f->rest_at = r->h.at;
  if (l == &hessian_layout) { /* Dubbox writes an int here: -1, or a count of arguments in a layout of its own. */
    result = pk_values_integer(&r->h, &pk_hessian2, &extra);
    if (result == PK_ERR_FORMAT) return result;
    if (result == PK_OK && extra != -1) return PK_ERR_UNSUPPORTED;
  }
  if ((result = plain(l->text(r, &f->descriptor))) != PK_OK) return result;
  f->arguments = parameters(f->descriptor);
  return f->arguments < 0 ? PK_ERR_FORMAT : PK_OK;
}

/* As a provider takes the name in a generic call (String.trim): ` m` is m. */
static pk_slice trimmed(pk_slice s) {
  while (s.size > 0 && *s.data <= ' ') s.data++, s.size--;
  while (s.size > 0 && s.data[s.size - 1] <= ' ') s.size--;
  return s;
}

INLINE int read_arguments(const layout *l, reader *r, dubbo_front *f) {
  f->generic = 0;
  if (f->arguments > r->h.end - r->h.at) return PK_ERR_FORMAT;
  for (int i = 0; i < f->arguments; i++) {
    pk_slice real = {NULL, 0};
    int result;
    if (i == 0 && dubbo_is_generic(f->method)) {
      result = plain(l->argument(r, &real));
      real = trimmed(real);
      f->generic = 1;
      if (real.size > 0) f->method = real;
    } else {
      result = l == &hessian_layout ? pk_values_skip(&r->h, &pk_hessian2) : l->argument(r, &real);
    }
    if (result != PK_OK && result != PK_ERR_UNSUPPORTED) return result;
  }
  f->attachments_at = r->h.at;
  return PK_OK;
}

int dubbo_names(const layout *l, reader *r, dubbo_front *f) {
  return l == &hessian_layout ? read_names(&hessian_layout, r, f) : read_names(l, r, f);
}

int dubbo_arguments(const layout *l, reader *r, dubbo_front *f) {
  return l == &hessian_layout ? read_arguments(&hessian_layout, r, f) : read_arguments(l, r, f);
}

const layout *dubbo_layout(uint32_t serialization) {
  switch (serialization) {
    case SERIALIZATION_HESSIAN2:
    case SERIALIZATION_NATIVE_HESSIAN:
      return &hessian_layout;
    case SERIALIZATION_FASTJSON2:
      return &jsonb_layout;
    case SERIALIZATION_FASTJSON:
    case SERIALIZATION_GSON:
      return &json_layout;
    case SERIALIZATION_PROTOBUF:
      return &protobuf_layout;
    default:
      return NULL;
  }
}

int dubbo_front_of(const layout *l, const uint8_t *data, const pk_frame *f, reader *r,
                   dubbo_front *out) {
  pk_values_open(&r->h, data + DUBBO_HEADER, data + f->size);
  int result = dubbo_names(l, r, out);
  return result == PK_OK ? dubbo_arguments(l, r, out) : result;
}
