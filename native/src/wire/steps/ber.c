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
