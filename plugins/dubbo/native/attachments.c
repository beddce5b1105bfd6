/* attachments.c: the attachments of requests and answers, one by one or by their names. */
#include "request.h"

/* An answer of status OK begins with what it is: these have attachments behind the value, if there is one. */
enum { THREW_AND_ATTACHMENTS = 3, VALUE_AND_ATTACHMENTS = 4, NULL_AND_ATTACHMENTS = 5 };

static int behind_the_value(const layout *l, reader *r) {
  pk_slice ignored;
  int64_t type = 0;
  int result = l->number(r, &type);
  if (result != PK_OK) return result; /* some write a null alone */
  if (type == NULL_AND_ATTACHMENTS) return PK_OK;
  if (type != THREW_AND_ATTACHMENTS && type != VALUE_AND_ATTACHMENTS) return PK_MORE;
  result = l == &hessian_layout ? pk_values_skip(&r->h, &pk_hessian2) : l->argument(r, &ignored);
  return result == PK_ERR_UNSUPPORTED ? PK_OK : result;
}

int dubbo_attachments_at(const layout *l, const uint8_t *data, const pk_frame *f, reader *r) {
  dubbo_front front;
  if (f->kind != PK_KIND_RESPONSE) return dubbo_front_of(l, data, f, r, &front);
  if (data[3] != DUBBO_STATUS_OK) return PK_MORE;
  pk_values_open(&r->h, data + DUBBO_HEADER, data + f->size);
  return behind_the_value(l, r);
}

static int enter(const layout *l, const uint8_t *data, const pk_frame *f, reader *r) {
  int result = dubbo_attachments_at(l, data, f, r);
  return result == PK_OK ? l->enter(r) : result;
}

/* The next pair with a key that is plain. */
static int next(const layout *l, reader *r, pk_header *out) {
  int64_t number;
  out->raw = 0;
  do {
    int result = l->pair(r, &out->key, &out->value, &number);
    if (result != PK_OK) return result;
  } while (out->key.data == NULL);
  if (out->value.data == NULL) {
    out->raw = r->veiled & VEILED_VALUE ? PK_RAW_VEILED : PK_RAW_OTHER;
    out->value = (pk_slice){r->value, (uint32_t)(r->h.at - r->value)};
  }
  return PK_OK;
}

/* The cursor: where the next pair stands, and the map's end. Class definitions in front of it are not
 * remembered, so a header value that is an object cannot be stepped over: PK_ERR_UNSUPPORTED. */
int dubbo_next_header(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_cursor *c,
                      pk_header *out) {
  const layout *l = dubbo_layout(f->context);
  reader r;
  int result;
  (void)codec;
  r.map_end = data + c->state[0];
  if (l == NULL) return PK_MORE;
  if (c->at == 0) {
    if ((result = enter(l, data, f, &r)) != PK_OK) return result;
    if (l == &protobuf_layout) c->state[0] = (uint32_t)(r.map_end - data);
  } else {
    pk_values_open(&r.h, data + c->at, data + f->size);
  }
  if ((result = next(l, &r, out)) == PK_OK) c->at = (uint32_t)(r.h.at - data);
  int class_unknown = result == PK_ERR_FORMAT && c->at != 0 && l == &hessian_layout && r.h.at < r.h.end;
  return class_unknown ? PK_ERR_UNSUPPORTED : result;
}

int dubbo_header(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_slice key, pk_header *out) {
  const layout *l = dubbo_layout(f->context);
  reader r;
  pk_header one;
  int found = PK_MORE, result = l == NULL ? PK_MORE : enter(l, data, f, &r);
  (void)codec;
  while (result == PK_OK && (result = next(l, &r, &one)) == PK_OK) {
    if (one.key.size != key.size || (key.size > 0 && memcmp(one.key.data, key.data, key.size) != 0)) continue;
    *out = one;
    found = PK_OK;
  }
  return result == PK_MORE ? found : result;
}
