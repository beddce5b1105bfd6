/* attachments.c: the attachments of requests and answers, one by one or by their names. */
#include "request.h"

/* An answer of status OK begins with what it is: these have attachments behind the value, if there is one. */
enum { COMPARED = 256 }; /* attachments of protobuf at most, each with all others */
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

/* Protobuf's attachments are said again with their types, and newer providers go by that. The last pair is veiled where one
 * of its name says another text; what is said with its type only is one as well, and all others of those are none. */
static int compare(const uint8_t *map, reader *last, pk_header *out) {
  reader r;
  pk_slice key, value, name = last->again.data != NULL ? last->again : out->key;
  int64_t number;
  int result, typed = last->again.data != NULL, found = 0, alike = 1;
  uint32_t count = 0;
  pk_values_open(&r.h, map, last->map_end);
  r.map_end = last->map_end;
  while ((result = protobuf_layout.pair(&r, &key, &value, &number)) == PK_OK) {
    if (++count > COMPARED) return PK_ERR_LIMIT;
    if (typed == (r.again.data != NULL) || !dubbo_same_text(typed ? key : r.again, name)) continue;
    found = 1;
    alike &= dubbo_same_text(value, out->value);
  }
  if (result != PK_MORE) return result;
  if (typed ? found : alike) return PK_OK;
  *out = (pk_header){.key = name};
  last->veiled = VEILED_VALUE;
  return PK_OK;
}

/* The next pair with a key that is plain, of those in `map`. */
static int next(const layout *l, const uint8_t *map, reader *r, pk_header *out) {
  int64_t number;
  out->raw = 0;
  do {
    int result = l->pair(r, &out->key, &out->value, &number);
    if (result == PK_OK && l == &protobuf_layout) result = compare(map, r, out);
    if (result != PK_OK) return result;
  } while (out->key.data == NULL);
  if (out->value.data == NULL) {
    out->raw = r->veiled & VEILED_VALUE ? PK_RAW_VEILED : PK_RAW_OTHER;
    out->value = (pk_slice){r->value, (uint32_t)(r->h.at - r->value)};
  }
  return PK_OK;
}

/* The cursor: where the next pair stands, and the map's end and beginning. Class definitions in front of it are not
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
    c->state[1] = (uint32_t)(r.h.at - data);
  } else {
    pk_values_open(&r.h, data + c->at, data + f->size);
  }
  if ((result = next(l, data + c->state[1], &r, out)) == PK_OK) c->at = (uint32_t)(r.h.at - data);
  int class_unknown = result == PK_ERR_FORMAT && c->at != 0 && l == &hessian_layout && r.h.at < r.h.end;
  return class_unknown ? PK_ERR_UNSUPPORTED : result;
}

/* The same as with `compare`, for one name: what is veiled is the last plain pair, or the last typed one where there is no
 * plain one. */
static int typed_header(reader *r, pk_slice name, pk_header *out) {
  const uint8_t *map = r->h.at;
  pk_slice key, value, plain = {NULL, 0}, pair = {NULL, 0};
  int64_t number;
  uint32_t count = 0;
  int result, typed = 0;
  while ((result = protobuf_layout.pair(r, &key, &value, &number)) == PK_OK) {
    if (++count > COMPARED) return PK_ERR_LIMIT;
    if (!dubbo_same_text(key, name)) continue;
    plain = value;
    pair = (pk_slice){r->value, (uint32_t)(r->h.at - r->value)};
    *out = (pk_header){.key = key, .value = value};
  }
  int found = pair.data == NULL ? PK_MORE : PK_OK;
  if (result != PK_MORE) return result;
  r->h.at = map;
  while ((result = protobuf_layout.pair(r, &key, &value, &number)) == PK_OK) {
    if (!dubbo_same_text(r->again, name) || (found == PK_OK && dubbo_same_text(value, plain))) continue;
    if (found == PK_MORE) *out = (pk_header){r->again, {r->value, (uint32_t)(r->h.at - r->value)}, PK_RAW_VEILED};
    else *out = (pk_header){out->key, pair, PK_RAW_VEILED};
    typed = 1;
  }
  return typed ? PK_OK : found;
}

int dubbo_header(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_slice key, pk_header *out) {
  const layout *l = dubbo_layout(f->context);
  reader r;
  pk_header one;
  int found = PK_MORE, result = l == NULL ? PK_MORE : enter(l, data, f, &r);
  (void)codec;
  if (result == PK_OK && l == &protobuf_layout) return typed_header(&r, key, out);
  while (result == PK_OK && (result = next(l, data, &r, &one)) == PK_OK) {
    if (one.key.size != key.size || (key.size > 0 && memcmp(one.key.data, key.data, key.size) != 0)) continue;
    *out = one;
    found = PK_OK;
  }
  return result == PK_MORE ? found : result;
}
