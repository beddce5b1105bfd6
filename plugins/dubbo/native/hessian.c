/* hessian.c: see hessian.h. */
#include "hessian.h"

#include <string.h>

#define HIGH_BITS 0x8080808080808080u

static const uint8_t *past_units(const uint8_t *p, const uint8_t *end, uint32_t units);

/* Past `units` UTF-16 units written as UTF-8 (surrogates alone, three bytes each, or a pair as one
 * sequence of four). NULL when the bytes end or are no such text. */
static const uint8_t *past_text(const uint8_t *p, const uint8_t *end, uint32_t units) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#ifdef __SSE2__
  while (units >= 32 && end - p >= 32 && hessian_high32(p) == 0) {
    p += 32;
    units -= 32;
  }
  if (units < 32 && end - p >= 32 && (hessian_high32(p) & (((uint32_t)1 << units) - 1)) == 0) return p + units;
#endif
  while (units > 0 && end - p >= 8) { /* eight ASCII units a step, or what is left of them */
    uint64_t word;
    memcpy(&word, p, 8);
    if (units < 8) {
      uint64_t beyond = HIGH_BITS << (8 * units);
      return (word & HIGH_BITS & ~beyond) == 0 ? p + units : past_units(p, end, units);
    }
    if (word & HIGH_BITS) break;
    p += 8;
    units -= 8;
  }
#endif
  return past_units(p, end, units);
}

static const uint8_t *past_units(const uint8_t *p, const uint8_t *end, uint32_t units) {
  while (units > 0) {
    if (p == end) return NULL;
    uint8_t c = *p;
    ptrdiff_t size = c < 0x80 ? 1 : c < 0xc0 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf8 ? 4 : 0;
    uint32_t of = size == 4 ? 2 : 1;
    if (size == 0 || end - p < size || of > units) return NULL;
    p += size;
    units -= of;
  }
  return p;
}

static int size16(hessian *h, uint32_t *out) {
  if (h->end - h->at < 2) return PK_ERR_FORMAT;
  *out = (uint32_t)h->at[0] << 8 | h->at[1];
  h->at += 2;
  return PK_OK;
}

/* One chunk of a string whose tag is `tag` (consumed). PK_MORE: not the last. */
static int text_chunk(hessian *h, uint8_t tag, pk_slice *out) {
  uint32_t units;
  if (tag < 0x20) {
    units = tag;
  } else if (tag >= 0x30 && tag <= 0x33) {
    if (h->at == h->end) return PK_ERR_FORMAT;
    units = (uint32_t)(tag - 0x30) << 8 | *h->at++;
  } else if (tag == 'R' || tag == 'S') {
    if (size16(h, &units) != PK_OK) return PK_ERR_FORMAT;
  } else {
    return PK_ERR_FORMAT;
  }
  const uint8_t *end = past_text(h->at, h->end, units);
  if (end == NULL) return PK_ERR_FORMAT;
  *out = (pk_slice){h->at, (uint32_t)(end - h->at)};
  h->at = end;
  return tag == 'R' ? PK_MORE : PK_OK;
}

static int is_text(uint8_t tag) {
  return tag < 0x20 || (tag >= 0x30 && tag <= 0x33) || tag == 'R' || tag == 'S';
}

static int skip_text(hessian *h, uint8_t tag) {
  pk_slice ignored;
  int result;
  while ((result = text_chunk(h, tag, &ignored)) == PK_MORE) {
    if (h->at == h->end) return PK_ERR_FORMAT;
    tag = *h->at++;
  }
  return result;
}

int hessian_long_string(hessian *h, pk_slice *out) {
  if (h->at == h->end) return PK_ERR_FORMAT;
  if (!is_text(*h->at)) return PK_MORE;
  uint8_t tag = *h->at++;
  int result = text_chunk(h, tag, out);
  if (result != PK_MORE) return result;
  if (h->at == h->end || skip_text(h, *h->at++) != PK_OK) return PK_ERR_FORMAT;
  return PK_ERR_UNSUPPORTED;
}

static int64_t big_endian(const uint8_t *p, int bytes) {
  uint64_t v = 0;
  for (int i = 0; i < bytes; i++) v = v << 8 | p[i];
  return (int64_t)v;
}

int hessian_integer(hessian *h, int64_t *out) {
  if (h->at == h->end) return PK_ERR_FORMAT;
  const uint8_t *p = h->at;
  ptrdiff_t left = h->end - p;
  uint8_t t = *p;
  ptrdiff_t size;
  if (t >= 0x80 && t <= 0xbf) {
    size = 1, *out = t - 0x90;
  } else if (t >= 0xd8 && t <= 0xef) {
    size = 1, *out = t - 0xe0;
  } else if ((t >= 0xc0 && t <= 0xcf) || t >= 0xf0) {
    size = 2;
    if (left >= size) *out = (t - (t < 0xf0 ? 0xc8 : 0xf8)) * 256 + p[1];
  } else if ((t >= 0xd0 && t <= 0xd7) || (t >= 0x38 && t <= 0x3f)) {
    size = 3;
    if (left >= size) *out = (t - (t < 0x40 ? 0x3c : 0xd4)) * 65536 + p[1] * 256 + p[2];
  } else if (t == 'I' || t == 0x59) {
    size = 5;
    if (left >= size) *out = (int32_t)big_endian(p + 1, 4);
  } else if (t == 'L') {
    size = 9;
    if (left >= size) *out = big_endian(p + 1, 8);
  } else {
    return PK_MORE;
  }
  if (left < size) return PK_ERR_FORMAT;
  h->at += size;
  return PK_OK;
}

/* A count of things each at least one byte long. */
static int count(hessian *h, uint32_t *out) {
  int64_t n = 0;
  if (hessian_integer(h, &n) != PK_OK || n < 0 || n > h->end - h->at) return PK_ERR_FORMAT;
  *out = (uint32_t)n;
  return PK_OK;
}

/* The type of a list or map: a name, or a number that refers to one. */
static int skip_type(hessian *h) {
  int64_t ignored;
  if (h->at == h->end) return PK_ERR_FORMAT;
  if (is_text(*h->at)) {
    uint8_t tag = *h->at++;
    return skip_text(h, tag);
  }
  return hessian_integer(h, &ignored) == PK_OK ? PK_OK : PK_ERR_FORMAT;
}

static int skip_binary(hessian *h, uint8_t tag) {
  for (;;) {
    uint32_t size;
    if (tag >= 0x20 && tag <= 0x2f) {
      size = tag - 0x20u;
    } else if (tag >= 0x34 && tag <= 0x37) {
      if (h->at == h->end) return PK_ERR_FORMAT;
      size = (tag - 0x34u) << 8 | *h->at++;
    } else if ((tag != 'A' && tag != 'B') || size16(h, &size) != PK_OK) {
      return PK_ERR_FORMAT;
    }
    if ((size_t)(h->end - h->at) < size) return PK_ERR_FORMAT;
    h->at += size;
    if (tag != 'A') return PK_OK;
    if (h->at == h->end) return PK_ERR_FORMAT;
    tag = *h->at++;
  }
}

static int class_definition(hessian *h) {
  uint32_t fields;
  if (h->at == h->end || !is_text(*h->at)) return PK_ERR_FORMAT;
  uint8_t tag = *h->at++;
  if (skip_text(h, tag) != PK_OK || count(h, &fields) != PK_OK) return PK_ERR_FORMAT;
  for (uint32_t i = 0; i < fields; i++) {
    if (h->at == h->end || !is_text(*h->at)) return PK_ERR_FORMAT;
    tag = *h->at++;
    if (skip_text(h, tag) != PK_OK) return PK_ERR_FORMAT;
  }
  if (h->class_count == HESSIAN_CLASSES || fields > UINT16_MAX) return PK_ERR_LIMIT;
  h->class_fields[h->class_count++] = (uint16_t)fields;
  return PK_OK;
}

/* How many bytes follow a tag of fixed size; -1 for other tags. */
static int fixed_size(uint8_t t) {
  if (t >= 0x80) {
    if (t < 0xc0 || (t >= 0xd8 && t < 0xf0)) return 0;
    return t < 0xd0 || t >= 0xf0 ? 1 : 2;
  }
  if (t >= 0x38 && t <= 0x3f) return 2;
  switch (t) {
    case 'N': case 'T': case 'F': case 0x5b: case 0x5c: return 0;
    case 0x5d: return 1;
    case 0x5e: return 2;
    case 'I': case 0x59: case 0x5f: case 0x4b: return 4;
    case 'D': case 'L': case 0x4a: return 8;
    default: return -1;
  }
}

/* What an open container still wants: a number of values, or (TO_END, key of a map next or not)
 * values up to 'Z'. */
enum { LIST_TO_END = UINT32_MAX, MAP_KEY = UINT32_MAX - 1, MAP_VALUE = UINT32_MAX - 2 };

int hessian_skip(hessian *h) {
  if (h->at < h->end && is_text(*h->at)) { /* most arguments */
    uint8_t tag = *h->at++;
    return skip_text(h, tag);
  }
  uint32_t stack[HESSIAN_DEPTH + 1]; /* the value itself, and what it is in */
  uint32_t depth = 1;
  stack[0] = 1;
  while (depth > 0) {
    uint32_t *open = &stack[depth - 1];
    if (*open == 0) {
      depth--;
      continue;
    }
    if (h->at == h->end) return PK_ERR_FORMAT;
    uint8_t t = *h->at++;
    if (t == 'Z' && (*open == LIST_TO_END || *open == MAP_KEY)) {
      depth--;
      continue;
    }
    if (t == 'C') { /* belongs to the value behind it */
      int result = class_definition(h);
      if (result != PK_OK) return result;
      continue;
    }
    if (*open == MAP_KEY) {
      *open = MAP_VALUE;
    } else if (*open == MAP_VALUE) {
      *open = MAP_KEY;
    } else if (*open != LIST_TO_END) {
      --*open;
    }
    int size = fixed_size(t);
    if (size >= 0) {
      if (h->end - h->at < size) return PK_ERR_FORMAT;
      h->at += size;
      continue;
    }
    int result = PK_OK;
    uint32_t inside = 0;
    if (is_text(t)) {
      result = skip_text(h, t);
    } else if ((t >= 0x20 && t <= 0x2f) || (t >= 0x34 && t <= 0x37) || t == 'A' || t == 'B') {
      result = skip_binary(h, t);
    } else if (t >= 0x60 && t <= 0x6f) {
      if (t - 0x60u >= h->class_count) return PK_ERR_FORMAT;
      inside = h->class_fields[t - 0x60];
    } else if (t == 'O') {
      int64_t index = 0;
      if (hessian_integer(h, &index) != PK_OK || index < 0 || index >= h->class_count)
        return PK_ERR_FORMAT;
      inside = h->class_fields[index];
    } else if (t >= 0x70 && t <= 0x77) {
      result = skip_type(h);
      inside = t - 0x70u;
    } else if (t >= 0x78 && t <= 0x7f) {
      inside = t - 0x78u;
    } else if (t == 'H' || t == 'M') {
      if (t == 'M') result = skip_type(h);
      inside = MAP_KEY;
    } else if (t == 'U' || t == 'W') {
      if (t == 'U') result = skip_type(h);
      inside = LIST_TO_END;
    } else if (t == 'V' || t == 'X') {
      if (t == 'V') result = skip_type(h);
      if (result == PK_OK) result = count(h, &inside);
    } else if (t == 'Q') {
      int64_t ignored;
      if (hessian_integer(h, &ignored) != PK_OK) result = PK_ERR_FORMAT;
    } else {
      h->at--;
      return PK_ERR_FORMAT;
    }
    if (result != PK_OK) return result;
    if (inside == 0) continue;
    if (inside < MAP_VALUE && inside > (size_t)(h->end - h->at)) return PK_ERR_FORMAT;
    if (depth > HESSIAN_DEPTH) return PK_ERR_LIMIT;
    stack[depth++] = inside;
  }
  return PK_OK;
}
