/* protokit/values.h: past values that say themselves what they are, nested as deep as they like, without decoding them.
 *
 * A nest is walked with a stack of its own (pk_values_inside), whatever the serialization; what a value's tag means is
 * a table of a dialect. Those of Hessian stand here: 2.0, and its draft, of which Hessian 1.0 is a part.
 *
 * Linear in the input, no allocation, no recursion; nothing at or past `end` is read. Only where the names of a class's
 * fields stand, and how many they are, is remembered; nothing is resolved, so references and types need no table.
 * Functions give PK_OK, or
 *   PK_MORE              what comes next is something else, nothing is consumed;
 *   PK_ERR_FORMAT        malformed;
 *   PK_ERR_LIMIT         more than is read here, although its receiver may read it: say so, and route by nothing;
 *   PK_ERR_UNSUPPORTED   a text that does not stand there as its receiver reads it: in chunks, or with characters in
 *                        more bytes than they need, which Java reads as well. It is passed.
 *
 * Facts: the grammar of Hessian 2.0, bytes of hessian-lite and hessian.js; for the draft bytes of sofa-hessian 3.5. */
#ifndef PROTOKIT_VALUES_H
#define PROTOKIT_VALUES_H

#include <string.h>

#include <protokit/codec.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* More than a JVM reads: its stack overflows before that, and a call's classes are counted in tens. */
enum { PK_VALUES_DEPTH = 16384, PK_VALUES_CLASSES = 4096 };

/* Where reading stands; the classes are set as they come. */
typedef struct pk_values {
  const uint8_t *at, *end, *from; /* from: where the bytes begin */
  uint32_t class_count;
  struct {
    uint32_t names, fields; /* the names stand so many bytes behind `from` */
  } classes[PK_VALUES_CLASSES];
} pk_values;

static inline void pk_values_open(pk_values *v, const uint8_t *data, const uint8_t *end) {
  v->at = v->from = data;
  v->end = end;
  v->class_count = 0;
}

static inline size_t pk_values_left(const pk_values *v) { return (size_t)(v->end - v->at); }

/* Nests. */

/* What is inside of a value: so many values, or values or pairs up to a mark. */
enum { PK_INSIDE_VALUES = UINT32_MAX, PK_INSIDE_PAIRS = UINT32_MAX - 1, PK_INSIDE_HALF = UINT32_MAX - 2 };

/* Past one value but for what is inside of it; `with` is the caller's. */
typedef int (*pk_values_opener)(pk_values *v, const void *with, uint32_t *inside);

/* Past what is inside of a value, each of which `opener` opens. */
static inline __attribute__((always_inline)) int pk_values_inside(pk_values *v, pk_values_opener opener, const void *with,
                                                                  uint8_t mark, uint32_t inside) {
  uint32_t open[PK_VALUES_DEPTH], depth = 0;
  for (;;) {
    if (inside > 0 && depth == PK_VALUES_DEPTH) return PK_ERR_LIMIT;
    if (inside > 0) open[depth++] = inside;
    for (;; depth--) { /* what is whole now */
      if (depth == 0) return PK_OK;
      uint32_t *last = &open[depth - 1];
      if (*last == PK_INSIDE_HALF) { /* a key; its value comes */
        *last = PK_INSIDE_PAIRS;
        break;
      }
      if (*last < PK_INSIDE_HALF) {
        if (*last == 0) continue;
        --*last;
        break;
      }
      if (v->at == v->end) return PK_ERR_FORMAT;
      if (*v->at != mark) {
        if (*last == PK_INSIDE_PAIRS) *last = PK_INSIDE_HALF;
        break;
      }
      v->at++;
    }
    int result = opener(v, with, &inside);
    if (result != PK_OK) return result;
  }
}

/* Hessian: what stands behind a tag. */

enum {
  PK_TAG_NONE = 0,  /* no value begins so */
  PK_TAG_FIXED,     /* `bytes` */
  PK_TAG_DOUBLE,    /* `bytes` of a double, or without any the tag's distance from `zero` */
  PK_TAG_INTEGER,   /* an int or a long: `bytes` of it, behind the tag's distance from `zero` where they are few */
  PK_TAG_TEXT,      /* a text of so many UTF-16 units: a number as above, then these */
  PK_TAG_TEXT_PART, /* one that goes on in the next */
  PK_TAG_BINARY,
  PK_TAG_BINARY_PART,
  PK_TAG_CLASS,  /* a class: of the value behind it, and of others */
  PK_TAG_OBJECT, /* the values of its fields; which class is the tag's distance from `zero`, or a number behind */
  PK_TAG_LIST,   /* so many values: likewise */
  PK_TAG_VALUES, /* values up to the mark */
  PK_TAG_MAP,    /* pairs up to the mark */
  PK_TAG_NUMBER, /* an integer follows: a reference */
  PK_TAG_TYPE,   /* in front of what has a type alone: its name, or with a number that refers to one */
  PK_TAG_LENGTH  /* likewise: how long a list is, which its mark says as well */
};

enum { PK_WITH_TYPE = 1, PK_WITH_NUMBER = 2, PK_WITH_LENGTH = 4, PK_WITH_REFERENCE = 8 };

typedef struct pk_tag {
  uint8_t kind, bytes, zero, with; /* PK_TAG_*, PK_WITH_* in this order: reference or type, length, number */
} pk_tag;

typedef struct pk_dialect {
  pk_tag tags[256];
  uint8_t mark;  /* ends values and pairs */
  uint8_t draft; /* a class's name is a number and its characters, not a text; a type may be missing */
} pk_dialect;

#define PK_HESSIAN_BOTH                                                                                                \
  [0x00 ... 0x1f] = {PK_TAG_TEXT, 0, 0, 0}, [0x20 ... 0x2f] = {PK_TAG_BINARY, 0, 0x20, 0},                             \
  [0x38 ... 0x3f] = {PK_TAG_INTEGER, 2, 0x3c, 0}, ['B'] = {PK_TAG_BINARY, 2, 'B', 0},                                  \
  ['D'] = {PK_TAG_DOUBLE, 8, 0, 0}, ['F'] = {PK_TAG_FIXED, 0, 0, 0}, ['I'] = {PK_TAG_INTEGER, 4, 0, 0},                 \
  ['L'] = {PK_TAG_INTEGER, 8, 0, 0}, ['N'] = {PK_TAG_FIXED, 0, 0, 0}, ['M'] = {PK_TAG_MAP, 0, 0, PK_WITH_TYPE},        \
  ['S'] = {PK_TAG_TEXT, 2, 'S', 0}, ['T'] = {PK_TAG_FIXED, 0, 0, 0}, [0x80 ... 0xbf] = {PK_TAG_INTEGER, 0, 0x90, 0},   \
  [0xc0 ... 0xcf] = {PK_TAG_INTEGER, 1, 0xc8, 0}, [0xd0 ... 0xd7] = {PK_TAG_INTEGER, 2, 0xd4, 0},                      \
  [0xd8 ... 0xef] = {PK_TAG_INTEGER, 0, 0xe0, 0}, [0xf0 ... 0xff] = {PK_TAG_INTEGER, 1, 0xf8, 0}

static const pk_dialect pk_hessian2 = {
    .tags = {PK_HESSIAN_BOTH,
             [0x30 ... 0x33] = {PK_TAG_TEXT, 1, 0x30, 0},
             [0x34 ... 0x37] = {PK_TAG_BINARY, 1, 0x34, 0},
             ['A'] = {PK_TAG_BINARY_PART, 2, 'A', 0},
             ['C'] = {PK_TAG_CLASS, 0, 0, 0},
             ['H'] = {PK_TAG_MAP, 0, 0, 0},
             [0x4a] = {PK_TAG_FIXED, 8, 0, 0}, /* dates */
             [0x4b] = {PK_TAG_FIXED, 4, 0, 0},
             ['O'] = {PK_TAG_OBJECT, 0, 0, PK_WITH_NUMBER},
             ['Q'] = {PK_TAG_NUMBER, 0, 0, 0},
             ['R'] = {PK_TAG_TEXT_PART, 2, 'R', 0},
             ['U'] = {PK_TAG_VALUES, 0, 0, PK_WITH_TYPE},
             ['V'] = {PK_TAG_LIST, 0, 0, PK_WITH_TYPE | PK_WITH_NUMBER},
             ['W'] = {PK_TAG_VALUES, 0, 0, 0},
             ['X'] = {PK_TAG_LIST, 0, 0, PK_WITH_NUMBER},
             [0x59] = {PK_TAG_INTEGER, 4, 0, 0},
             [0x5b ... 0x5c] = {PK_TAG_DOUBLE, 0, 0x5b, 0},
             [0x5d] = {PK_TAG_DOUBLE, 1, 0, 0},
             [0x5e] = {PK_TAG_DOUBLE, 2, 0, 0},
             [0x5f] = {PK_TAG_DOUBLE, 4, 0, 0},
             [0x60 ... 0x6f] = {PK_TAG_OBJECT, 0, 0x60, 0},
             [0x70 ... 0x77] = {PK_TAG_LIST, 0, 0x70, PK_WITH_TYPE},
             [0x78 ... 0x7f] = {PK_TAG_LIST, 0, 0x78, 0}},
    .mark = 'Z',
    .draft = 0,
};

static const pk_dialect pk_hessian_draft = {
    .tags = {PK_HESSIAN_BOTH,
             [0x4a] = {PK_TAG_FIXED, 1, 0, 0}, /* numbers that hold a short one */
             [0x4b] = {PK_TAG_FIXED, 2, 0, 0},
             ['O'] = {PK_TAG_CLASS, 0, 0, 0},
             ['R'] = {PK_TAG_FIXED, 4, 0, 0}, /* a reference */
             ['V'] = {PK_TAG_VALUES, 0, 0, PK_WITH_TYPE | PK_WITH_LENGTH},
             ['b'] = {PK_TAG_BINARY_PART, 2, 'b', 0},
             ['d'] = {PK_TAG_FIXED, 8, 0, 0},           /* a date */
             [0x67 ... 0x68] = {PK_TAG_DOUBLE, 0, 0x67, 0},
             [0x69] = {PK_TAG_DOUBLE, 1, 0, 0},
             [0x6a] = {PK_TAG_DOUBLE, 2, 0, 0},
             [0x6b] = {PK_TAG_DOUBLE, 4, 0, 0},
             [0x6c] = {PK_TAG_LENGTH, 4, 0, 0},
             [0x6e] = {PK_TAG_LENGTH, 1, 0, 0},
             ['o'] = {PK_TAG_OBJECT, 0, 0, PK_WITH_NUMBER},
             ['s'] = {PK_TAG_TEXT_PART, 2, 's', 0},
             ['t'] = {PK_TAG_TYPE, 2, 't', 0},
             [0x75] = {PK_TAG_TYPE, 0, 0, PK_WITH_NUMBER},
             ['v'] = {PK_TAG_LIST, 0, 0, PK_WITH_REFERENCE | PK_WITH_NUMBER},
             [0x77] = {PK_TAG_INTEGER, 4, 0, 0}},
    .mark = 'z',
    .draft = 1,
};

static inline int pk_values_skip_bytes(pk_values *v, uint64_t n) {
  if (n > pk_values_left(v)) return PK_ERR_FORMAT;
  v->at += n;
  return PK_OK;
}

/* The number that a tag (consumed) and the bytes behind it are. */
static inline int pk_values_number(pk_values *v, pk_tag t, uint8_t tag, int64_t *out) {
  const uint8_t *p = v->at;
  uint64_t n = 0;
  if (t.bytes > pk_values_left(v)) return PK_ERR_FORMAT;
  v->at += t.bytes;
  switch (t.bytes) {
    case 0: *out = tag - t.zero; return PK_OK;
    case 1: *out = (tag - t.zero) * 256 + p[0]; return PK_OK;
    case 2: *out = (tag - t.zero) * 65536 + p[0] * 256 + p[1]; return PK_OK;
    default: break;
  }
  for (uint32_t i = 0; i < t.bytes; i++) n = n << 8 | p[i];
  *out = t.bytes == 4 ? (int32_t)(uint32_t)n : (int64_t)n;
  return PK_OK;
}

/* An int or a long. */
static inline int pk_values_integer(pk_values *v, const pk_dialect *d, int64_t *out) {
  if (v->at == v->end) return PK_ERR_FORMAT;
  uint8_t tag = *v->at;
  if (d->tags[tag].kind != PK_TAG_INTEGER) return PK_MORE;
  v->at++;
  return pk_values_number(v, d->tags[tag], tag, out);
}

/* A number of things, each at least one byte long. */
static inline int pk_values_count(pk_values *v, const pk_dialect *d, uint32_t *out) {
  int64_t n = 0;
  if (pk_values_integer(v, d, &n) != PK_OK || n < 0 || (uint64_t)n > pk_values_left(v) || n >= PK_INSIDE_HALF)
    return PK_ERR_FORMAT;
  *out = (uint32_t)n;
  return PK_OK;
}

/* Texts: UTF-16 units written as UTF-8, each alone (surrogates with three bytes), or a pair as one sequence of four. */

#ifdef __SSE2__
/* A bit for each of 32 bytes: set where it is not ASCII. */
static inline uint32_t pk_values_high32(const uint8_t *p) {
  uint32_t a = (uint32_t)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)p));
  uint32_t b = (uint32_t)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + 16)));
  return a | b << 16;
}

/* Whether the `size` (up to 32) bytes at p are ASCII; 0 also when that cannot be told with one look. */
static inline int pk_values_ascii(const pk_values *v, const uint8_t *p, uint32_t size) {
  uint64_t high, left = (uint64_t)(v->end - p);
  if (left >= 32) {
    high = pk_values_high32(p);
  } else if (v->end - v->from >= 32) {
    high = (uint64_t)pk_values_high32(v->end - 32) >> (32 - left);
  } else {
    return 0;
  }
  return size <= left && (high & (((uint64_t)1 << size) - 1)) == 0;
}
#endif

/* Whether a character of so many bytes takes as few as it can. Java looks at no continuation's mark: whatever it is given
 * there is a part of some character, so there are many ways to write an `a`. */
static inline int pk_values_is_shortest(const uint8_t *p, ptrdiff_t size) {
  for (ptrdiff_t i = 1; i < size; i++)
    if ((p[i] & 0xc0) != 0x80) return 0;
  if (size == 2) return p[0] >= 0xc2;
  if (size == 3) return p[0] > 0xe0 || p[1] >= 0xa0;
  if (size == 4) return (p[0] > 0xf0 || p[1] >= 0x90) && (p[0] < 0xf4 || (p[0] == 0xf4 && p[1] < 0x90));
  return 1;
}

static inline int pk_values_units_one_by_one(pk_values *v, const uint8_t *p, uint64_t units) {
  int result = PK_OK;
  while (units > 0) {
    if (p == v->end) return PK_ERR_FORMAT;
    uint8_t c = *p;
    ptrdiff_t size = c < 0x80 ? 1 : c < 0xc0 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf8 ? 4 : 0;
    uint32_t of = size == 4 ? 2 : 1;
    if (size == 0 || v->end - p < size || of > units) return PK_ERR_FORMAT;
    if (!pk_values_is_shortest(p, size)) result = PK_ERR_UNSUPPORTED;
    p += size;
    units -= of;
  }
  v->at = p;
  return result;
}

/* Past so many. PK_ERR_UNSUPPORTED: past them, and one takes more bytes than it needs. */
static inline int pk_values_units(pk_values *v, uint64_t units) {
  const uint8_t *p = v->at, *end = v->end;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  const uint64_t high_bits = 0x8080808080808080u;
#ifdef __SSE2__
  while (units >= 32 && end - p >= 32 && pk_values_high32(p) == 0) {
    p += 32;
    units -= 32;
  }
  if (units < 32 && end - p >= 32 && (pk_values_high32(p) & (((uint32_t)1 << units) - 1)) == 0) {
    v->at = p + units;
    return PK_OK;
  }
#endif
  while (units > 0 && end - p >= 8) { /* eight ASCII units a step, or what is left of them */
    uint64_t word;
    memcpy(&word, p, 8);
    if (units < 8) {
      if ((word & high_bits & ~(high_bits << (8 * units))) != 0) break;
      v->at = p + units;
      return PK_OK;
    }
    if (word & high_bits) break;
    p += 8;
    units -= 8;
  }
#endif
  return pk_values_units_one_by_one(v, p, units);
}

/* The text whose tag is consumed, and how it stands. */
static inline int pk_values_text_behind(pk_values *v, const pk_dialect *d, uint8_t tag, pk_slice *out) {
  for (int veiled = 0;; veiled = 1) {
    pk_tag t = d->tags[tag];
    int64_t units = 0;
    if (t.kind != PK_TAG_TEXT && t.kind != PK_TAG_TEXT_PART) return PK_ERR_FORMAT;
    if (pk_values_number(v, t, tag, &units) != PK_OK) return PK_ERR_FORMAT;
    const uint8_t *from = v->at;
    int result = pk_values_units(v, (uint64_t)units);
    if (result == PK_ERR_FORMAT) return result;
    veiled |= result != PK_OK;
    if (t.kind == PK_TAG_TEXT) {
      *out = veiled ? (pk_slice){NULL, 0} : (pk_slice){from, (uint32_t)(v->at - from)};
      return veiled ? PK_ERR_UNSUPPORTED : PK_OK;
    }
    if (v->at == v->end) return PK_ERR_FORMAT;
    tag = *v->at++;
  }
}

/* As pk_values_text, which is for all that is not short and plain. */
static __attribute__((noinline, unused)) int pk_values_long_text(pk_values *v, const pk_dialect *d, pk_slice *out) {
  if (v->at == v->end) return PK_ERR_FORMAT;
  uint8_t kind = d->tags[*v->at].kind;
  if (kind != PK_TAG_TEXT && kind != PK_TAG_TEXT_PART) return PK_MORE;
  uint8_t tag = *v->at++;
  return pk_values_text_behind(v, d, tag, out);
}

/* A text, its bytes as they stand. */
static inline int pk_values_text(pk_values *v, const pk_dialect *d, pk_slice *out) {
#ifdef __SSE2__ /* names and values of up to 63 bytes, which nearly all are, without a call */
  const uint8_t *p = v->at;
  if (v->end - p >= 2) {
    uint32_t size = *p++, most = 0x1f;
    if (size == 0x30 && !d->draft) size = *p++, most = 63;
    if (size <= most && pk_values_ascii(v, p, size < 32 ? size : 32) &&
        (size <= 32 || pk_values_ascii(v, p + 32, size - 32))) {
      *out = (pk_slice){p, size};
      v->at = p + size;
      return PK_OK;
    }
  }
#endif
  return pk_values_long_text(v, d, out);
}

/* Values. */

static inline int pk_values_skip_text(pk_values *v, const pk_dialect *d) {
  pk_slice ignored;
  int result = pk_values_text(v, d, &ignored);
  return result == PK_OK || result == PK_ERR_UNSUPPORTED ? PK_OK : PK_ERR_FORMAT;
}

static inline int pk_values_skip_binary(pk_values *v, const pk_dialect *d, uint8_t tag) {
  for (;;) {
    pk_tag t = d->tags[tag];
    int64_t size = 0;
    if (t.kind != PK_TAG_BINARY && t.kind != PK_TAG_BINARY_PART) return PK_ERR_FORMAT;
    if (pk_values_number(v, t, tag, &size) != PK_OK || pk_values_skip_bytes(v, (uint64_t)size) != PK_OK)
      return PK_ERR_FORMAT;
    if (t.kind == PK_TAG_BINARY) return PK_OK;
    if (v->at == v->end) return PK_ERR_FORMAT;
    tag = *v->at++;
  }
}

/* A class whose tag is consumed: its name, how many fields, their names. */
static inline int pk_values_class(pk_values *v, const pk_dialect *d) {
  uint32_t units, fields;
  if (d->draft) {
    if (pk_values_count(v, d, &units) != PK_OK || pk_values_units(v, units) == PK_ERR_FORMAT) return PK_ERR_FORMAT;
  } else if (pk_values_skip_text(v, d) != PK_OK) {
    return PK_ERR_FORMAT;
  }
  if (pk_values_count(v, d, &fields) != PK_OK) return PK_ERR_FORMAT;
  if (v->class_count == PK_VALUES_CLASSES) return PK_ERR_LIMIT;
  v->classes[v->class_count].names = (uint32_t)(v->at - v->from);
  v->classes[v->class_count++].fields = fields;
  for (uint32_t i = 0; i < fields; i++)
    if (pk_values_skip_text(v, d) != PK_OK) return PK_ERR_FORMAT;
  return PK_OK;
}

static inline int pk_values_type(pk_values *v, const pk_dialect *d) {
  int64_t ignored, units = 0;
  if (v->at == v->end) return PK_ERR_FORMAT;
  uint8_t tag = *v->at;
  pk_tag t = d->tags[tag];
  if (!d->draft && t.kind == PK_TAG_INTEGER) return pk_values_integer(v, d, &ignored);
  if (!d->draft) return pk_values_skip_text(v, d);
  if (t.kind != PK_TAG_TYPE) return PK_OK;
  v->at++;
  if (t.with & PK_WITH_NUMBER) return pk_values_integer(v, d, &ignored) == PK_OK ? PK_OK : PK_ERR_FORMAT;
  if (pk_values_number(v, t, tag, &units) != PK_OK) return PK_ERR_FORMAT;
  return pk_values_units(v, (uint64_t)units) == PK_ERR_FORMAT ? PK_ERR_FORMAT : PK_OK;
}

/* What stands between a container's tag and what is in it: its type, its length where the mark ends it. */
static inline int pk_values_front(pk_values *v, const pk_dialect *d, pk_tag t) {
  int64_t ignored;
  if (t.with & PK_WITH_REFERENCE && pk_values_integer(v, d, &ignored) != PK_OK) return PK_ERR_FORMAT;
  if (t.with & PK_WITH_TYPE && pk_values_type(v, d) != PK_OK) return PK_ERR_FORMAT;
  if (!(t.with & PK_WITH_LENGTH) || v->at == v->end || d->tags[*v->at].kind != PK_TAG_LENGTH) return PK_OK;
  return pk_values_skip_bytes(v, 1u + d->tags[*v->at].bytes);
}

/* The class of an object whose tag is consumed. */
static inline int pk_values_class_of(pk_values *v, const pk_dialect *d, uint8_t tag, uint32_t *out) {
  int64_t index = tag - d->tags[tag].zero;
  if (d->tags[tag].with & PK_WITH_NUMBER && pk_values_integer(v, d, &index) != PK_OK) return PK_ERR_FORMAT;
  if (index < 0 || index >= v->class_count) return PK_ERR_FORMAT;
  *out = (uint32_t)index;
  return PK_OK;
}

/* A value's tag, behind the classes in front of it. */
static inline int pk_values_tag(pk_values *v, const pk_dialect *d, uint8_t *tag) {
  for (;;) {
    if (v->at == v->end) return PK_ERR_FORMAT;
    *tag = *v->at++;
    if (d->tags[*tag].kind != PK_TAG_CLASS) return PK_OK;
    int result = pk_values_class(v, d);
    if (result != PK_OK) return result;
  }
}

/* Past a value whose tag is consumed, but for what is inside of it. */
static inline int pk_values_behind(pk_values *v, const pk_dialect *d, uint8_t tag, uint32_t *inside) {
  pk_tag t = d->tags[tag];
  pk_slice ignored;
  int64_t number;
  uint32_t class;
  int result;
  *inside = 0;
  switch (t.kind) {
    case PK_TAG_FIXED:
    case PK_TAG_DOUBLE:
    case PK_TAG_INTEGER: return pk_values_skip_bytes(v, t.bytes);
    case PK_TAG_TEXT:
    case PK_TAG_TEXT_PART:
      result = pk_values_text_behind(v, d, tag, &ignored);
      return result == PK_ERR_UNSUPPORTED ? PK_OK : result;
    case PK_TAG_BINARY:
    case PK_TAG_BINARY_PART: return pk_values_skip_binary(v, d, tag);
    case PK_TAG_NUMBER: return pk_values_integer(v, d, &number) == PK_OK ? PK_OK : PK_ERR_FORMAT;
    case PK_TAG_OBJECT:
      if (pk_values_class_of(v, d, tag, &class) != PK_OK) return PK_ERR_FORMAT;
      *inside = v->classes[class].fields;
      break;
    case PK_TAG_LIST:
      if (pk_values_front(v, d, t) != PK_OK) return PK_ERR_FORMAT;
      if (t.with & PK_WITH_NUMBER) return pk_values_count(v, d, inside);
      *inside = (uint32_t)tag - t.zero;
      break;
    case PK_TAG_VALUES: *inside = PK_INSIDE_VALUES; return pk_values_front(v, d, t);
    case PK_TAG_MAP: *inside = PK_INSIDE_PAIRS; return pk_values_front(v, d, t);
    default: v->at--; return PK_ERR_FORMAT;
  }
  return *inside > pk_values_left(v) ? PK_ERR_FORMAT : PK_OK;
}

static inline int pk_values_one(pk_values *v, const void *dialect, uint32_t *inside) {
  uint8_t tag;
  int result = pk_values_tag(v, dialect, &tag);
  return result == PK_OK ? pk_values_behind(v, dialect, tag, inside) : result;
}

static __attribute__((noinline, unused)) int pk_values_nest(pk_values *v, const pk_dialect *d, uint32_t inside) {
  return pk_values_inside(v, pk_values_one, d, d->mark, inside);
}

/* Past a value whose tag is consumed. */
static inline int pk_values_skip_behind(pk_values *v, const pk_dialect *d, uint8_t tag) {
  uint32_t inside;
  int result = pk_values_behind(v, d, tag, &inside);
  return result == PK_OK && inside > 0 ? pk_values_nest(v, d, inside) : result;
}

/* Past one value. */
static inline int pk_values_skip(pk_values *v, const pk_dialect *d) {
  pk_slice ignored;
  uint8_t tag;
  if (v->at < v->end && d->tags[*v->at].kind == PK_TAG_TEXT) { /* most arguments */
    tag = *v->at++;
    return pk_values_text_behind(v, d, tag, &ignored) == PK_ERR_FORMAT ? PK_ERR_FORMAT : PK_OK;
  }
  int result = pk_values_tag(v, d, &tag);
  return result == PK_OK ? pk_values_skip_behind(v, d, tag) : result;
}

/* A text, behind the classes that may stand in front of it; past a value that is none, without data. */
static inline int pk_values_text_value(pk_values *v, const pk_dialect *d, pk_slice *out) {
  uint8_t tag;
  *out = (pk_slice){NULL, 0};
  int result = pk_values_tag(v, d, &tag);
  if (result != PK_OK) return result;
  if (d->tags[tag].kind == PK_TAG_TEXT || d->tags[tag].kind == PK_TAG_TEXT_PART)
    return pk_values_text_behind(v, d, tag, out);
  return pk_values_skip_behind(v, d, tag);
}

/* The double whose tag is consumed. Of four bytes it is a float in the draft, and thousandths in 2.0. */
static inline int pk_values_double(pk_values *v, const pk_dialect *d, uint8_t tag, double *out) {
  const uint8_t *p = v->at;
  uint64_t bits = 0;
  uint32_t bytes = d->tags[tag].bytes;
  float single;
  if (pk_values_skip_bytes(v, bytes) != PK_OK) return PK_ERR_FORMAT;
  for (uint32_t i = 0; i < bytes; i++) bits = bits << 8 | p[i];
  uint32_t low = (uint32_t)bits;
  switch (bytes) {
    case 0: *out = tag - d->tags[tag].zero; break;
    case 1: *out = (int8_t)low; break;
    case 2: *out = (int16_t)low; break;
    case 4:
      memcpy(&single, &low, sizeof single);
      *out = d->draft ? (double)single : 0.001 * (int32_t)low;
      break;
    default: memcpy(out, &bits, sizeof *out); break;
  }
  return PK_OK;
}

/* One value, with the classes in front of it. PK_ERR_UNSUPPORTED: a text that is not said as it stands, which is passed. */
static inline int pk_values_value(pk_values *v, const pk_dialect *d, pk_value *out) {
  const uint8_t *from = v->at;
  uint8_t tag;
  *out = (pk_value){.type = PK_VALUE_OTHER};
  int result = pk_values_tag(v, d, &tag);
  if (result != PK_OK) return result;
  switch (d->tags[tag].kind) {
    case PK_TAG_TEXT:
    case PK_TAG_TEXT_PART:
      out->type = PK_VALUE_TEXT;
      return pk_values_text_behind(v, d, tag, &out->bytes);
    case PK_TAG_INTEGER:
      out->type = PK_VALUE_INTEGER;
      result = pk_values_number(v, d->tags[tag], tag, &out->integer);
      break;
    case PK_TAG_DOUBLE:
      out->type = PK_VALUE_NUMBER;
      result = pk_values_double(v, d, tag, &out->number);
      break;
    default:
      result = pk_values_skip_behind(v, d, tag);
      if (tag == 'N') out->type = PK_VALUE_NULL;
      if (tag == 'T' || tag == 'F') out->type = PK_VALUE_BOOLEAN, out->integer = tag == 'T';
      break;
  }
  out->bytes = (pk_slice){from, (uint32_t)(v->at - from)};
  return result;
}

/* Past so many of the values inside of a list whose tag is consumed. PK_MORE: it has no more than these, or it is no list. */
static inline int pk_values_item(pk_values *v, const pk_dialect *d, uint8_t tag, uint32_t index) {
  pk_tag t = d->tags[tag];
  uint32_t count = UINT32_MAX;
  if (t.kind != PK_TAG_LIST && t.kind != PK_TAG_VALUES) return PK_MORE;
  int result = pk_values_front(v, d, t);
  if (result == PK_OK && t.kind == PK_TAG_LIST) {
    if (t.with & PK_WITH_NUMBER) {
      result = pk_values_count(v, d, &count);
    } else {
      count = (uint32_t)tag - t.zero;
    }
  }
  for (uint32_t i = 0; result == PK_OK; i++) {
    if (i == count) return PK_MORE;
    if (v->at == v->end) return PK_ERR_FORMAT;
    if (t.kind == PK_TAG_VALUES && *v->at == d->mark) return PK_MORE;
    if (i == index) return PK_OK;
    result = pk_values_skip(v, d);
  }
  return result;
}

/* The entries of an object or a map. */
typedef struct pk_values_entries {
  const uint8_t *names; /* of a class's fields; NULL: a map, whose keys stand in front of their values */
  uint32_t left;
} pk_values_entries;

/* Into an object or a map whose tag is consumed. PK_MORE: it is neither; nothing is consumed behind the tag. */
static inline int pk_values_enter(pk_values *v, const pk_dialect *d, uint8_t tag, pk_values_entries *out) {
  uint32_t class;
  *out = (pk_values_entries){NULL, 0};
  if (d->tags[tag].kind == PK_TAG_MAP) return pk_values_front(v, d, d->tags[tag]);
  if (d->tags[tag].kind != PK_TAG_OBJECT) return PK_MORE;
  if (pk_values_class_of(v, d, tag, &class) != PK_OK) return PK_ERR_FORMAT;
  *out = (pk_values_entries){v->from + v->classes[class].names, v->classes[class].fields};
  return PK_OK;
}

/* The next entry's key; its value comes next. A key without data is no text. PK_MORE: there is none, and the value is
 * passed. PK_ERR_LIMIT: a key that is not said as it stands, which may be any. */
static inline int pk_values_next(pk_values *v, const pk_dialect *d, pk_values_entries *in, pk_slice *key) {
  int result;
  *key = (pk_slice){NULL, 0};
  if (in->names == NULL) {
    if (v->at == v->end) return PK_ERR_FORMAT;
    if (*v->at == d->mark) {
      v->at++;
      return PK_MORE;
    }
    result = pk_values_text_value(v, d, key);
  } else {
    if (in->left-- == 0) return PK_MORE;
    const uint8_t *back = v->at;
    v->at = in->names;
    result = pk_values_text(v, d, key);
    in->names = v->at;
    v->at = back;
  }
  return result == PK_ERR_UNSUPPORTED ? PK_ERR_LIMIT : result;
}

#endif
