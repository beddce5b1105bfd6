/* hessian_inside.c: what stands inside of an argument in Hessian 2.
 *
 * References are followed: they count the lists, maps and objects of all arguments, so one that is met is looked for from
 * the first of them on. Each key follows one at most, as a reference is to what is none. */
#include <string.h>

#include "layout.h"

/* Into the value that a reference is to. */
typedef struct counted {
  uint64_t *left; /* how many begin in front of it */
} counted;

static int is_counted(uint8_t tag) {
  uint8_t kind = pk_hessian2.tags[tag].kind;
  return kind == PK_TAG_LIST || kind == PK_TAG_VALUES || kind == PK_TAG_MAP || kind == PK_TAG_OBJECT;
}

/* As pk_values_one; PK_MORE: this is it. */
static int count_one(pk_values *v, const void *with, uint32_t *inside) {
  const counted *c = with;
  uint8_t tag;
  int result = pk_values_tag(v, &pk_hessian2, &tag);
  if (result != PK_OK) return result;
  if (!is_counted(tag)) return pk_values_behind(v, &pk_hessian2, tag, inside);
  if (*c->left == 0) {
    v->at--;
    return PK_MORE;
  }
  --*c->left;
  return pk_values_behind(v, &pk_hessian2, tag, inside);
}

/* From behind a reference to what it is to, which began in front of it. */
static int follow(pk_values *v, const uint8_t *arguments, int64_t number) {
  const uint8_t *from = v->at;
  uint64_t left = (uint64_t)number;
  const counted c = {&left};
  if (number < 0) return PK_ERR_FORMAT;
  v->at = arguments;
  v->class_count = 0;
  while (v->at < from) {
    uint32_t inside;
    int result = count_one(v, &c, &inside);
    if (result == PK_OK && inside > 0) result = pk_values_inside(v, count_one, &c, pk_hessian2.mark, inside);
    if (result == PK_MORE) return v->at < from ? PK_OK : PK_ERR_FORMAT;
    if (result != PK_OK) return result;
  }
  return PK_ERR_FORMAT;
}

/* Past so much of a key as a character beyond U+FFFF is, each of its UTF-16 units alone. */
static uint32_t units_alone(const uint8_t *key, uint8_t out[6]) {
  uint32_t code = ((key[0] & 7u) << 18 | (key[1] & 63u) << 12 | (key[2] & 63u) << 6 | (key[3] & 63u)) - 0x10000;
  const uint32_t pair[2] = {0xd800 + (code >> 10 & 0x3ff), 0xdc00 + (code & 0x3ff)};
  for (int i = 0; i < 2; i++) {
    out[3 * i] = (uint8_t)(0xe0 | pair[i] >> 12);
    out[3 * i + 1] = (uint8_t)(0x80 | (pair[i] >> 6 & 63));
    out[3 * i + 2] = (uint8_t)(0x80 | (pair[i] & 63));
  }
  return 4;
}

/* Whether a text is the key, whichever of the two ways its characters beyond U+FFFF are written in. */
static int is_key(pk_slice text, pk_slice key) {
  uint8_t alone[6];
  uint32_t at = 0, i = 0;
  if (text.data == NULL || text.size < key.size) return 0;
  while (i < key.size) {
    uint32_t of = 1;
    if (key.data[i] >= 0xf0 && key.size - i >= 4 && at < text.size && text.data[at] == 0xed) {
      of = units_alone(key.data + i, alone);
      if (text.size - at < sizeof alone || memcmp(text.data + at, alone, sizeof alone) != 0) return 0;
      at += (uint32_t)sizeof alone;
    } else if (at == text.size || text.data[at++] != key.data[i]) {
      return 0;
    }
    i += of;
  }
  return at == text.size;
}

/* In a map a text, an int and a long are three keys, although they read alike. */
enum { AS_TEXT = 1, AS_INT = 2, AS_LONG = 4 };

static uint32_t integer_kind(uint8_t tag) {
  return tag >= 0xd8 || (tag >= 0x38 && tag <= 0x3f) || tag == 'L' || tag == 0x59 ? AS_LONG : AS_INT;
}

/* Past a map's key, and as what it is the one that is looked for; 0: it is not. PK_MORE: the map's end. */
static int map_key(pk_values *v, int alike, pk_slice key, uint32_t *as) {
  uint8_t tag;
  pk_slice text;
  int64_t number;
  *as = 0;
  if (v->at < v->end && *v->at == pk_hessian2.mark) return PK_MORE;
  int result = pk_values_tag(v, &pk_hessian2, &tag);
  if (result != PK_OK) return result;
  switch (pk_hessian2.tags[tag].kind) {
    case PK_TAG_TEXT:
    case PK_TAG_TEXT_PART:
      result = pk_values_text_behind(v, &pk_hessian2, tag, &text);
      if (result == PK_OK && is_key(text, key)) *as = AS_TEXT;
      if (result == PK_OK && *as == 0 && dubbo_may_be_key(alike, text, key)) return PK_ERR_LIMIT;
      return result == PK_ERR_UNSUPPORTED ? PK_ERR_LIMIT : result; /* it may be any */
    case PK_TAG_INTEGER:
      result = pk_values_number(v, pk_hessian2.tags[tag], tag, &number);
      if (result == PK_OK && is_integer(key, number)) *as = integer_kind(tag);
      return result;
    default: return pk_values_skip_behind(v, &pk_hessian2, tag);
  }
}

/* To the value of an entry of the map or object whose tag is consumed. */
static int entry(pk_values *v, int alike, uint8_t tag, pk_slice key) {
  pk_values_entries in;
  const uint8_t *found = NULL;
  uint32_t classes = 0, as, every = 0;
  int result = pk_values_enter(v, &pk_hessian2, tag, &in);
  if (result != PK_OK) return result;
  for (;;) {
    pk_slice name;
    if (in.names == NULL) {
      result = map_key(v, alike, key, &as);
    } else {
      result = pk_values_next(v, &pk_hessian2, &in, &name);
      as = result == PK_OK && is_key(name, key) ? AS_TEXT : 0;
    }
    if (result == PK_MORE) break;
    if (result != PK_OK) return result;
    if (as != 0) found = v->at, classes = v->class_count;
    every |= as;
    if ((result = pk_values_skip(v, &pk_hessian2)) != PK_OK && result != PK_ERR_UNSUPPORTED) return result;
  }
  if (found == NULL) return PK_MORE;
  if (every & (every - 1)) return PK_ERR_LIMIT;
  v->at = found;
  v->class_count = classes;
  return PK_OK;
}

/* To what stands under a key of the value in front. */
static int step(reader *r, pk_slice key) {
  pk_values *v = &r->h;
  uint8_t tag;
  int64_t number;
  int result = pk_values_tag(v, &pk_hessian2, &tag);
  if (result == PK_OK && pk_hessian2.tags[tag].kind == PK_TAG_NUMBER) {
    if (pk_values_integer(v, &pk_hessian2, &number) != PK_OK) return PK_ERR_FORMAT;
    result = follow(v, r->arguments, number);
    if (result == PK_OK) result = pk_values_tag(v, &pk_hessian2, &tag);
  }
  if (result != PK_OK) return result;
  uint8_t kind = pk_hessian2.tags[tag].kind;
  if (kind == PK_TAG_MAP || kind == PK_TAG_OBJECT) return entry(v, r->alike, tag, key);
  uint32_t index = index_of(key);
  if (index == UINT32_MAX) return PK_MORE;
  return pk_values_item(v, &pk_hessian2, tag, index);
}

int hessian_inside(reader *r, const pk_slice *keys, uint32_t count, pk_value *out) {
  for (uint32_t i = 0; i < count; i++) {
    int result = step(r, keys[i]);
    if (result != PK_OK) return result;
  }
  return pk_values_value(&r->h, &pk_hessian2, out);
}
