/* ber.c: values of ASN.1 in BER or DER (X.690), one behind the other or in constructed ones, by their places and tags.
 *
 * A key is a place; or a text, the tag's bytes in hex digits ("a0"), of which the last in a list counts; or "tag", which
 * is the tag itself as a number. Lengths are definite, and may be longer than they must be. */
#include "wire/steps/path.h"

enum { TAG_MAX = 5, LENGTH_MAX = 8, BOOLEAN = 1, INTEGER = 2, NIL = 5, ENUMERATED = 10, CONSTRUCTED = 0x20 };

typedef struct value {
  pk_slice tag, length, content; /* one behind the other */
} value;

/* The next value, but for what is inside of it. */
static int open(pk_rest *in, value *v) {
  const uint8_t *p = in->at, *start = p;
  size_t left = (size_t)(in->end - p), n = 1;
  if (left < 2 || p[0] == 0) return PK_ERR_LIMIT; /* 0: the end of an indefinite one */
  if ((p[0] & 31) == 31) {
    do {
      if (n == TAG_MAX || n + 1 == left || (n == 1 && p[1] == 0x80)) return PK_ERR_LIMIT;
    } while (p[n++] & 0x80);
  }
  uint32_t more = p[n] & 0x80 ? p[n] & 0x7fu : 0;
  uint64_t size = more == 0 ? p[n] : 0;
  if (p[n] == 0x80 || more > LENGTH_MAX || left - n - 1 < more) return PK_ERR_LIMIT;
  for (uint32_t i = 0; i < more; i++) {
    if (size >> 32 != 0) return PK_ERR_LIMIT;
    size = size << 8 | p[n + 1 + i];
  }
  in->at += n + 1 + more;
  v->tag = (pk_slice){start, (uint32_t)n};
  v->length = (pk_slice){start + n, 1 + more};
  if (pk_take(in, size, &v->content) != PK_OK) return PK_ERR_LIMIT;
  if (p[0] == BOOLEAN && size != 1) return PK_ERR_LIMIT;
  return (p[0] == INTEGER || p[0] == ENUMERATED) && size == 0 ? PK_ERR_LIMIT : PK_OK;
}

static int is_constructed(const value *v) { return (v->tag.data[0] & CONSTRUCTED) != 0; }

/* Whether all of a section is values, with all that is in them. */
static int whole(pk_slice section) {
  const uint8_t *ends[PK_NEST + 1], *at = section.data;
  uint32_t deep = 0;
  ends[0] = at + section.size;
  for (;;) {
    value v;
    while (at == ends[deep]) {
      if (deep-- == 0) return PK_OK;
    }
    pk_rest in = {at, ends[deep]};
    if (open(&in, &v) != PK_OK) return PK_ERR_LIMIT;
    at = in.at;
    if (!is_constructed(&v)) continue;
    if (deep == PK_NEST) return PK_ERR_LIMIT;
    ends[++deep] = in.at;
    at = v.content.data;
  }
}

static int has_tag(const value *v, pk_slice hex) {
  static const char digits[] = "0123456789abcdef";
  if (hex.size != 2 * v->tag.size) return 0;
  for (uint32_t i = 0; i < hex.size; i++) {
    uint32_t half = i % 2 == 0 ? v->tag.data[i / 2] >> 4 : v->tag.data[i / 2] & 15u;
    if (hex.data[i] != (uint8_t)digits[half]) return 0;
  }
  return 1;
}

/* The value of a key among those of a section all of which can be read. 0 where there is none. */
static int find_in(pk_slice section, const pk_key *key, value *v) {
  pk_rest in = {section.data, section.data + section.size};
  int found = 0;
  for (int64_t i = 0; in.at < in.end; i++) {
    value one;
    if (open(&in, &one) != PK_OK) return 0;
    if (key->text.data == NULL ? i != key->number : !has_tag(&one, key->text)) continue;
    *v = one;
    found = 1;
  }
  return found;
}

/* What stands at a path; 0 where there is nothing. *asks: its tag is asked for, and no key stands behind that. */
static int reach(pk_slice section, pk_path path, value *v, int *asks, pk_place *place) {
  pk_key key;
  *asks = 0;
  *v = (value){.content = section};
  while (pk_path_next(&path, &key)) {
    static const uint8_t tag[] = {'t', 'a', 'g'};
    if (*asks) return 0;
    if (v->tag.data != NULL && pk_same_text(key.text, tag, sizeof tag)) {
      *asks = 1;
      continue;
    }
    if (v->tag.data != NULL && !is_constructed(v)) return 0;
    if (!find_in(v->content, &key, v)) return 0;
    if (place == NULL) continue;
    if (place->count == PK_PATH_KEYS) return 0;
    place->around[place->count].at = v->length.data;
    place->around[place->count++].form = PK_LENGTH_BER;
  }
  return 1;
}

void pk_place_ber(pk_slice section, pk_path path, pk_place *place) {
  value v;
  int asks;
  if (whole(section) != PK_OK || !reach(section, path, &v, &asks, place)) return;
  if (asks || v.tag.data == NULL || is_constructed(&v) || v.content.size == 0) return;
  place->at = v.content;
}

/* Values that are written anew: what is in front of them, and behind, stays as it stands, but for lengths. */

static uint32_t bytes_of(uint32_t size) { return size >> 24 ? 4 : size >> 16 ? 3 : size >> 8 ? 2 : 1; }

/* A value's length again: as short as it can be where it was so, else in as many bytes at least. */
static int make_length(pk_made *out, const value *was, uint32_t size) {
  uint32_t had = was->length.size, before = was->content.size;
  uint32_t shortest = before < 0x80 ? 1 : 1 + bytes_of(before), made = size < 0x80 ? 1 : 1 + bytes_of(size);
  if (size == before) return pk_make(out, was->length.data, had);
  if (had > made && had > shortest) made = had;
  if (made == 1) return pk_make_big(out, size, 1);
  int result = pk_make_big(out, 0x80 | (made - 1), 1);
  return result != PK_OK ? result : pk_make_big(out, size, made - 1);
}

/* A text; where an integer or a boolean was, another one. */
static int make_said(pk_made *out, const value *was, pk_slice said) {
  uint8_t tag = was->tag.size == 1 ? was->tag.data[0] : 0;
  int negative;
  uint64_t v;
  if (tag == NIL || is_constructed(was)) return PK_ERR_UNSUPPORTED;
  if (tag == BOOLEAN && (said.size != 1 || (said.data[0] != '0' && said.data[0] != '1'))) return PK_ERR_UNSUPPORTED;
  if (tag == BOOLEAN) return pk_make_big(out, said.data[0] == '1' ? 0xff : 0, 1);
  if (tag != INTEGER && tag != ENUMERATED) return pk_make(out, said.data, said.size);
  if (!pk_integer_of(said, &negative, &v) || v > (uint64_t)INT64_MAX + (uint64_t)negative) return PK_ERR_UNSUPPORTED;
  uint64_t two = negative ? (uint64_t)0 - v : v, bits = negative && v > 0 ? v - 1 : v;
  uint32_t size = 1;
  while (size < 8 && bits >> (8 * size - 1) != 0) size++;
  return pk_make_big(out, two, size);
}

static int put_in(pk_slice section, pk_path path, pk_slice text, pk_made *out);

/* A value with another content, which is made where it has room, and moves to where it stands. */
static int make_value(pk_made *out, const value *was, pk_path path, pk_slice text) {
  int result = pk_make(out, was->tag.data, was->tag.size);
  if (result != PK_OK) return result;
  if ((size_t)(out->end - out->at) < 1 + LENGTH_MAX) return PK_ERR_SPACE;
  pk_made inner = {out->at + 1 + LENGTH_MAX, out->end};
  const uint8_t *from = inner.at;
  result = path.at == path.end ? make_said(&inner, was, text) : !is_constructed(was) ? PK_ERR_UNSUPPORTED : put_in(was->content, path, text, &inner);
  if (result != PK_OK) return result;
  uint32_t size = (uint32_t)(inner.at - from);
  result = make_length(out, was, size);
  if (result != PK_OK) return result;
  memmove(out->at, from, size);
  out->at += size;
  return PK_OK;
}

static int put_in(pk_slice section, pk_path path, pk_slice text, pk_made *out) {
  pk_rest in = {section.data, section.data + section.size};
  pk_key key;
  value was, one;
  if (!pk_path_next(&path, &key) || !find_in(section, &key, &was)) return PK_ERR_UNSUPPORTED;
  int goes = path.at == path.end && text.data == NULL, result = PK_OK;
  if (goes && key.text.data == NULL) return PK_ERR_UNSUPPORTED; /* others would stand in its place */
  while (in.at < in.end && result == PK_OK) {
    const uint8_t *from = in.at;
    if (open(&in, &one) != PK_OK) return PK_ERR_UNSUPPORTED;
    if (goes && has_tag(&one, key.text)) continue;
    if (goes || one.tag.data != was.tag.data) result = pk_make(out, from, (size_t)(in.at - from));
    else result = make_value(out, &was, path, text);
  }
  return result;
}

int pk_put_ber(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out) {
  return is_item || whole(section) != PK_OK ? PK_ERR_UNSUPPORTED : put_in(section, path, text, out);
}

static pk_found found_of(const value *v, int asks) {
  uint32_t size = v->content.size;
  if (asks) return pk_found_number((int64_t)big(v->tag.data, v->tag.size));
  if (v->tag.data == NULL || v->tag.size > 1) return pk_found_text(v->content);
  switch (v->tag.data[0]) {
    case BOOLEAN: return pk_found_number(v->content.data[0] != 0);
    case NIL: return pk_found_text((pk_slice){NULL, 0});
    case INTEGER: case ENUMERATED:
      if (size <= 8) return pk_found_number(extend(big(v->content.data, size), size));
      break;
    default: break;
  }
  return pk_found_text(v->content);
}

static int find(pk_slice section, pk_path path, pk_found *found) {
  value v;
  int asks;
  if (reach(section, path, &v, &asks, NULL)) *found = found_of(&v, asks);
  return PK_OK;
}

int pk_step_ber(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count, pk_slice *out,
                uint32_t count) {
  if (size > UINT32_MAX || (size > 0 && whole((pk_slice){section, (uint32_t)size}) != PK_OK)) return PK_ERR_LIMIT;
  return pk_find_each(find, section, size, arguments, argument_count, out, count);
}
