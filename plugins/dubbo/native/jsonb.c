/* jsonb.c: fastjson2. Every item is a length of four bytes and that much JSONB.
 * Facts: bytes of Apache Dubbo 3.1 and 3.3 with fastjson2, and the table of tags in fastjson2's
 * documentation of the format. */
#include <string.h>

#include "layout.h"

enum { SYMBOL = 0x7f, CHAR = 0x90 };

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The item in front: [at, *end). */
static int open_item(reader *r, const uint8_t **end) {
  pk_values *h = &r->h;
  if (h->end - h->at < 4) return PK_ERR_FORMAT;
  uint32_t size = get32(h->at);
  h->at += 4;
  if (size > (size_t)(h->end - h->at)) return PK_ERR_FORMAT;
  *end = h->at + size;
  return PK_OK;
}

/* PK_MORE: no int (nothing consumed). */
static int integer(const uint8_t **at, const uint8_t *end, int64_t *out) {
  ptrdiff_t left = end - *at;
  if (left < 1) return PK_ERR_FORMAT;
  const uint8_t *p = *at;
  uint8_t t = *p;
  ptrdiff_t size;
  if (t <= 0x2f || t >= 0xf0) {
    size = 1, *out = (int8_t)t;
  } else if (t >= 0xd8 && t <= 0xef) {
    size = 1, *out = t - 0xe0;
  } else if ((t >= 0x30 && t <= 0x3f) || (t >= 0xc8 && t <= 0xd7)) {
    size = 2;
    if (left >= size) *out = (t - (t < 0x40 ? 0x38 : 0xd0)) * 256 + p[1];
  } else if (t == 0xbd) {
    size = 2;
    if (left >= size) *out = (int8_t)p[1];
  } else if (t == 0xbc) {
    size = 3;
    if (left >= size) *out = (int16_t)(p[1] << 8 | p[2]);
  } else if ((t >= 0x40 && t <= 0x47) || (t >= 0xc0 && t <= 0xc7)) {
    size = 3;
    if (left >= size) *out = (t - (t < 0x48 ? 0x44 : 0xc4)) * 65536 + p[1] * 256 + p[2];
  } else if (t == 0x48 || t == 0xbf) {
    size = 5;
    if (left >= size) *out = (int32_t)get32(p + 1);
  } else if (t == 0xbe) {
    size = 9;
    if (left >= size) *out = (int64_t)((uint64_t)get32(p + 1) << 32 | get32(p + 5));
  } else {
    return PK_MORE;
  }
  if (left < size) return PK_ERR_FORMAT;
  *at += size;
  return PK_OK;
}

static int is_utf8(const uint8_t *at, const uint8_t *end) {
  while (at < end) {
    ptrdiff_t size = *at < 0x80 ? 1 : *at < 0xc0 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf8 ? 4 : 0;
    if (size == 0 || size > end - at || !pk_values_is_shortest(at, size) || (*at == 0xed && at[1] >= 0xa0)) return 0;
    at += size;
  }
  return 1;
}

/* Null is text without data. PK_MORE: neither (nothing consumed). PK_ERR_UNSUPPORTED: UTF-16,
 * another character set or what is no UTF-8, consumed. */
static int text_value(const uint8_t **at, const uint8_t *end, pk_slice *out) {
  if (*at == end) return PK_ERR_FORMAT;
  uint8_t t = **at;
  int64_t size;
  *out = (pk_slice){NULL, 0};
  if (t == 0xaf) {
    ++*at;
    return PK_OK;
  }
  if (t >= 0x49 && t <= 0x78) {
    size = t - 0x49;
    ++*at;
  } else if (t >= 0x79 && t <= 0x7e) {
    ++*at;
    if (integer(at, end, &size) != PK_OK || size < 0) return PK_ERR_FORMAT;
  } else {
    return PK_MORE;
  }
  if (size > end - *at) return PK_ERR_FORMAT;
  const uint8_t *data = *at;
  *at += size;
  if (t >= 0x7b || (t == 0x7a && !is_utf8(data, *at))) return PK_ERR_UNSUPPORTED;
  if (t <= 0x79) /* Latin-1: plain where it is ASCII */
    for (int64_t i = 0; i < size; i++)
      if (data[i] >= 0x80) return PK_ERR_UNSUPPORTED;
  *out = (pk_slice){data, (uint32_t)size};
  return PK_OK;
}

/* How many bytes follow the tags from 0xa7 to 0xbf that have a fixed size; -1 where not. */
static int fixed_size(uint8_t t) {
  static const int8_t sizes[] = {-1, -1, 4,  -1, 8,  4, 4, -1, 0, 0, 0,  0,
                                 0,  -1, 8, -1, 4, -1, -1, -1, -1, 2, 1, 8, 4};
  return t >= 0xa7 && t <= 0xbf ? sizes[t - 0xa7] : -1;
}

/* One value but for what is inside it. It has no table of tags: texts count bytes, lengths are values of their own, and
 * symbols and types are a text or none with a number behind. */
static int open_value(const uint8_t **at, const uint8_t *end, uint32_t *inside) {
  pk_slice ignored;
  int64_t number = 0;
  *inside = 0;
  int result = text_value(at, end, &ignored);
  if (result == PK_ERR_UNSUPPORTED) return PK_OK;
  if (result == PK_MORE) result = integer(at, end, &number);
  if (result != PK_MORE) return result;
  uint8_t t = *(*at)++;
  int size = fixed_size(t);
  if (size >= 0) {
    if (end - *at < size) return PK_ERR_FORMAT;
    *at += size;
    return PK_OK;
  }
  if (t >= 0x94 && t <= 0xa3) {
    *inside = t - 0x94u;
    return PK_OK;
  }
  switch (t) {
    case 0xa7: case 0xa8: case 0xaa: /* a time, a date with one, and in a zone: fixed parts, nanoseconds, the zone's name */
      size = t == 0xa7 ? 3 : 7;
      if (end - *at < size) return PK_ERR_FORMAT;
      *at += size;
      *inside = t == 0xaa;
      return integer(at, end, &number) == PK_OK ? PK_OK : PK_ERR_FORMAT;
    case 0xae: /* seconds and nanoseconds */
      return integer(at, end, &number) == PK_OK && integer(at, end, &number) == PK_OK ? PK_OK : PK_ERR_FORMAT;
    case 0x90: case 0xb4: case 0xb6: case 0xb8: case 0xba: /* char, and numbers that hold a long */
      return integer(at, end, &number) == PK_OK ? PK_OK : PK_ERR_FORMAT;
    case 0xb9: /* a decimal: where its point is, and its digits */
      *inside = 1;
      return integer(at, end, &number) == PK_OK ? PK_OK : PK_ERR_FORMAT;
    case 0x91: case 0xbb: /* binary, and an integer of any size */
      if (integer(at, end, &number) != PK_OK || number < 0 || number > end - *at) return PK_ERR_FORMAT;
      *at += number;
      return PK_OK;
    case 0x92: /* a type: its name with a symbol's number, or the number alone; then the value */
      *inside = 1;
      __attribute__((fallthrough));
    case 0x7f: /* a symbol: its name with a number, or the number alone */
      result = text_value(at, end, &ignored);
      if (result < 0 && result != PK_ERR_UNSUPPORTED) return result;
      return integer(at, end, &number) == PK_OK ? PK_OK : PK_ERR_FORMAT;
    case 0x93: /* a reference: its path */
      *inside = 1;
      return PK_OK;
    case 0xa4:
      if (integer(at, end, &number) != PK_OK || number < 0 || number > end - *at)
        return PK_ERR_FORMAT;
      *inside = (uint32_t)number;
      return PK_OK;
    case 0xa6:
      *inside = PK_INSIDE_PAIRS;
      return PK_OK;
    default:
      return PK_ERR_LIMIT;
  }
}

static int open_one(pk_values *v, const void *with, uint32_t *inside) {
  (void)with;
  return open_value(&v->at, v->end, inside);
}

static int skip_value(pk_values *v) {
  uint32_t inside;
  int result = open_one(v, NULL, &inside);
  return result == PK_OK && inside > 0 ? pk_values_inside(v, open_one, NULL, 0xa5, inside) : result;
}

/* A text that stands elsewhere. */
static int refers(uint8_t tag) { return tag >= 0x92 ? tag <= 0x93 : tag == SYMBOL; }

static int text(reader *r, pk_slice *out) {
  const uint8_t *end, *at;
  int result = open_item(r, &end);
  if (result != PK_OK) return result;
  at = r->h.at;
  r->h.at = end;
  result = text_value(&at, end, out);
  return result == PK_MORE ? PK_ERR_FORMAT : result;
}

static int argument(reader *r, pk_slice *out) {
  const uint8_t *end, *at;
  int result = open_item(r, &end);
  *out = (pk_slice){NULL, 0};
  if (result != PK_OK) return result;
  at = r->h.at;
  r->h.at = end;
  result = text_value(&at, end, out);
  if (result == PK_OK) return PK_OK;
  *out = (pk_slice){NULL, 0};
  return result == PK_ERR_UNSUPPORTED || (at < end && (refers(*at) || *at == CHAR)) ? PK_ERR_UNSUPPORTED : PK_OK;
}

/* A double or a float; PK_MORE: neither (nothing consumed). */
static int decimal(const uint8_t **at, const uint8_t *end, double *out) {
  const uint8_t *p = *at + 1;
  uint32_t high, low;
  uint64_t bits;
  int64_t whole = 0;
  float single;
  switch (**at) {
    case 0xb2: case 0xb3: *out = **at - 0xb2; break;
    case 0xb4: case 0xb6: /* as a whole number */
      if (integer(&p, end, &whole) != PK_OK) return PK_ERR_FORMAT;
      *out = (double)whole;
      break;
    case 0xb5:
      if (end - p < 8) return PK_ERR_FORMAT;
      high = get32(p), low = get32(p + 4);
      bits = (uint64_t)high << 32 | low;
      memcpy(out, &bits, sizeof *out);
      p += 8;
      break;
    case 0xb7:
      if (end - p < 4) return PK_ERR_FORMAT;
      low = get32(p);
      memcpy(&single, &low, sizeof single);
      *out = (double)single;
      p += 4;
      break;
    default: return PK_MORE;
  }
  *at = p;
  return PK_OK;
}

/* The value in front, up to `end` at most. PK_MORE: one of another kind; nothing is consumed. */
static int scalar(pk_values *h, const uint8_t *end, pk_value *out) {
  const uint8_t *from = h->at;
  *out = (pk_value){.type = PK_VALUE_OTHER};
  if (from == end) return PK_ERR_FORMAT;
  int result = text_value(&h->at, end, &out->bytes);
  if (result != PK_MORE) {
    out->type = result == PK_OK && out->bytes.data == NULL ? PK_VALUE_NULL : PK_VALUE_TEXT;
    if (out->type == PK_VALUE_NULL) out->bytes = (pk_slice){from, 1};
    return result;
  }
  if (*from == SYMBOL) return PK_ERR_UNSUPPORTED;
  if (*from == CHAR) { /* as a number, whose last byte it is where it is ASCII */
    int64_t code = 0;
    h->at++;
    result = integer(&h->at, end, &code);
    *out = (pk_value){.type = PK_VALUE_TEXT, .bytes = {h->at - 1, 1}};
    return result != PK_OK ? PK_ERR_FORMAT : code == h->at[-1] && code < 0x80 ? PK_OK : PK_ERR_UNSUPPORTED;
  }
  int any_size = *from == 0xba; /* an integer of any size, which has 64 bits */
  h->at += any_size;
  result = integer(&h->at, end, &out->integer);
  if (any_size && result != PK_OK) return PK_ERR_FORMAT;
  if (result == PK_OK) {
    out->type = PK_VALUE_INTEGER;
  } else if (result == PK_MORE && (result = decimal(&h->at, end, &out->number)) == PK_OK) {
    out->type = PK_VALUE_NUMBER;
  } else if (result == PK_MORE && (*from == 0xb0 || *from == 0xb1)) {
    out->type = PK_VALUE_BOOLEAN, out->integer = *from == 0xb1;
    h->at++;
    result = PK_OK;
  }
  out->bytes = (pk_slice){from, (uint32_t)(h->at - from)};
  return result;
}

/* What stands inside. */

enum { TYPED = 0x92, REFERENCE = 0x93, PAIRS = 0xa6, END = 0xa5, SYMBOLS = 512 };

/* Names that are said once and then by their numbers, as they come. */
typedef struct naming {
  struct {
    const uint8_t *at; /* the text's tag; NULL: nobody said it */
  } symbols[SYMBOLS];
  int alike; /* ALIKE_* */
} naming;

/* Where the name in front of a number stands, which it has from now on. */
static int name_symbol(naming *n, const uint8_t **at, const uint8_t *end) {
  const uint8_t *from = *at;
  pk_slice ignored;
  int64_t number;
  int result = text_value(at, end, &ignored);
  if (result < 0 && result != PK_ERR_UNSUPPORTED) return result;
  if (integer(at, end, &number) != PK_OK) return PK_ERR_FORMAT;
  if (result != PK_MORE && number >= 0 && number < SYMBOLS) n->symbols[number].at = from;
  return PK_OK;
}

/* As open_one, and what it names is known. */
static int open_naming(pk_values *v, const void *with, uint32_t *inside) {
  naming *const *n = with;
  uint8_t tag = v->at < v->end ? *v->at : 0;
  if (tag != SYMBOL && tag != TYPED) return open_value(&v->at, v->end, inside);
  *inside = tag == TYPED;
  v->at++;
  return name_symbol(*n, &v->at, v->end);
}

static int skip_naming(pk_values *v, naming *n) {
  uint32_t inside;
  int result = open_naming(v, &n, &inside);
  return result == PK_OK && inside > 0 ? pk_values_inside(v, open_naming, &n, END, inside) : result;
}

/* Whether a text that is no plain one is the key: 1 or 0, where it stands in UTF-16 without a mark or the key is ASCII and
 * this is Latin-1. PK_ERR_LIMIT: it may be. */
static int is_in_others(const uint8_t *text, const uint8_t *end, int alike, pk_slice key) {
  uint8_t tag = *text++;
  int64_t size = 0;
  for (uint32_t i = 0; i < key.size; i++)
    if (key.data[i] >= 0x80) return PK_ERR_LIMIT;
  if (tag < 0x7a) return 0;
  if (tag != 0x7c && tag != 0x7d) return PK_ERR_LIMIT;
  (void)integer(&text, end, &size); /* was read before */
  if (size != 2 * (int64_t)key.size) return 0;
  int first = 1;
  for (uint32_t i = 0; i < key.size; i++) {
    int same = text[2 * i + (tag == 0x7d)] == key.data[i] && text[2 * i + (tag == 0x7c)] == 0;
    if (!same && i > 0) return 0;
    first &= same;
  }
  return first ? 1 : alike & ALIKE_SETTER ? PK_ERR_LIMIT : 0;
}

/* In a map a text and an integer are two keys, although they read alike. */
enum { AS_TEXT = 1, AS_INTEGER = 2 };

/* Past a key, and as what it is the one that is looked for; 0: it is not. PK_ERR_LIMIT: it may be. */
static int is_key(pk_values *v, naming *n, pk_slice key, int *as) {
  const uint8_t *at = v->at;
  pk_slice name;
  int64_t number;
  *as = 0;
  int result = integer(&v->at, v->end, &number);
  if (result != PK_MORE) {
    if (result == PK_OK && is_integer(key, number)) *as = AS_INTEGER;
    return result;
  }
  if (*at == SYMBOL) {
    ++at;
    const uint8_t *said = at;
    if (integer(&said, v->end, &number) == PK_OK) { /* by its number */
      v->at = said;
      if (number < 0 || number >= SYMBOLS || (at = n->symbols[number].at) == NULL) return PK_ERR_LIMIT;
    } else {
      v->at = at;
      if ((result = name_symbol(n, &v->at, v->end)) != PK_OK) return result;
    }
  } else if ((result = skip_naming(v, n)) != PK_OK) {
    return result;
  }
  const uint8_t *from = at;
  result = text_value(&at, v->end, &name);
  if (result == PK_OK) {
    *as = name.data != NULL && name.size == key.size && memcmp(name.data, key.data, key.size) == 0;
    return *as == 0 && name.data != NULL && dubbo_may_be_key(n->alike, name, key) ? PK_ERR_LIMIT : PK_OK;
  }
  if (result == PK_MORE) return *from == TYPED || *from == REFERENCE ? PK_ERR_LIMIT : PK_OK;
  if ((result = is_in_others(from, at, n->alike, key)) < 0) return result;
  *as = result;
  return PK_OK;
}

static int entry(pk_values *v, naming *n, pk_slice key) {
  const uint8_t *found = NULL;
  int as, every = 0, result;
  for (;;) {
    if (v->at == v->end) return PK_ERR_FORMAT;
    if (*v->at == END) break;
    if ((result = is_key(v, n, key, &as)) != PK_OK) return result;
    if (as != 0) found = v->at;
    every |= as;
    if ((result = skip_naming(v, n)) != PK_OK) return result;
  }
  if (every & (every - 1)) return PK_ERR_LIMIT;
  v->at = found;
  return found == NULL ? PK_MORE : PK_OK;
}

/* Past the types in front of a value. PK_ERR_UNSUPPORTED: it stands elsewhere. */
static int untyped(pk_values *v, naming *n) {
  while (v->at < v->end && *v->at == TYPED) {
    v->at++;
    int result = name_symbol(n, &v->at, v->end);
    if (result != PK_OK) return result;
  }
  if (v->at == v->end) return PK_ERR_FORMAT;
  return *v->at == REFERENCE ? PK_ERR_UNSUPPORTED : PK_OK;
}

static int value(reader *r, pk_slice type, pk_value *out) {
  const uint8_t *end;
  (void)type;
  int result = open_item(r, &end);
  if (result != PK_OK) return result;
  const uint8_t *from = r->h.at;
  if (from < end && refers(*from)) { /* an enum's name, say */
    naming n;
    memset(&n, 0, sizeof n);
    r->h.end = end;
    if ((result = untyped(&r->h, &n)) != PK_OK) return result;
  }
  result = scalar(&r->h, end, out);
  if (result == PK_OK && r->h.at != end) return PK_ERR_FORMAT;
  r->h.at = end;
  if (result == PK_MORE) out->bytes = (pk_slice){from, (uint32_t)(end - from)};
  return result == PK_MORE ? PK_OK : result;
}

/* To what stands under a key of the value in front. */
static int step(pk_values *v, naming *n, pk_slice key) {
  uint32_t count, index = index_of(key);
  int result = untyped(v, n);
  if (result != PK_OK) return result;
  uint8_t tag = *v->at;
  if (tag == SYMBOL) return PK_MORE;
  if ((result = open_one(v, NULL, &count)) != PK_OK) return result;
  if (tag == PAIRS) return entry(v, n, key);
  if (tag < 0x94 || tag > 0xa4 || index >= count) return PK_MORE;
  for (uint32_t i = 0; i < index; i++)
    if ((result = skip_naming(v, n)) != PK_OK) return result;
  return PK_OK;
}

/* Numbers of names are an item's own. */
static int inside(reader *r, const pk_slice *keys, uint32_t count, pk_value *out) {
  const uint8_t *end;
  naming n;
  int result = open_item(r, &end);
  if (result != PK_OK) return result;
  memset(&n, 0, sizeof n);
  n.alike = r->alike;
  r->h.end = end;
  for (uint32_t i = 0; i < count; i++)
    if ((result = step(&r->h, &n, keys[i])) != PK_OK) return result;
  if ((result = untyped(&r->h, &n)) != PK_OK) return result;
  const uint8_t *from = r->h.at;
  result = scalar(&r->h, end, out);
  if (result != PK_MORE) return result;
  result = skip_value(&r->h);
  out->bytes = (pk_slice){from, (uint32_t)(r->h.at - from)};
  return result;
}

static int number(reader *r, int64_t *out) {
  const uint8_t *end;
  int result = open_item(r, &end);
  if (result == PK_OK) result = integer(&r->h.at, end, out);
  return result == PK_OK && r->h.at != end ? PK_ERR_FORMAT : result;
}

static int enter(reader *r) {
  if (r->h.at == r->h.end) return PK_MORE;
  int result = open_item(r, &r->map_end);
  if (result != PK_OK) return result;
  if (r->h.at == r->map_end || *r->h.at == 0xaf) return PK_MORE;
  return *r->h.at++ == 0xa6 ? PK_OK : PK_ERR_UNSUPPORTED;
}

/* Whether a text in UTF-16 or another character set may spell a name in ASCII. */
static int may_be_ascii(const uint8_t *text, const uint8_t *end) {
  uint8_t tag = *text++;
  int64_t size = 0;
  if (tag < 0x7a) return 0; /* Latin-1, with something in it that is not ASCII */
  if (tag == 0x7a || tag == 0x7e) return 1;
  (void)integer(&text, end, &size); /* was read before */
  for (const uint8_t *at = text; at + 1 < end; at += 2) {
    int little = at[1] == 0 && at[0] < 0x80, big = at[0] == 0 && at[1] < 0x80;
    int mark = at == text && ((at[0] == 0xff && at[1] == 0xfe) || (at[0] == 0xfe && at[1] == 0xff));
    if (tag == 0x7c ? !little : tag == 0x7d ? !big : !little && !big && !mark) return 0;
  }
  return size > 1;
}

static int pair(reader *r, pk_slice *key, pk_slice *value, int64_t *number) {
  pk_values *h = &r->h;
  *key = *value = (pk_slice){NULL, 0};
  *number = 0;
  r->veiled = 0;
  if (h->at == h->end) return PK_ERR_FORMAT;
  if (*h->at == 0xa5) return PK_MORE;
  const uint8_t *from = h->at;
  int result = text_value(&h->at, h->end, key);
  if (result == PK_ERR_UNSUPPORTED ? may_be_ascii(from, h->at) : result == PK_MORE && refers(*from))
    r->veiled = VEILED_KEY;
  if (result == PK_MORE) result = skip_value(h);
  if (result < 0 && result != PK_ERR_UNSUPPORTED) return result;
  if (h->at == h->end) return PK_ERR_FORMAT;
  from = r->value = h->at;
  result = text_value(&h->at, h->end, value);
  if (result == PK_ERR_UNSUPPORTED || (result == PK_MORE && refers(*from))) r->veiled |= VEILED_VALUE;
  if (result == PK_MORE) result = integer(&h->at, h->end, number);
  if (result == PK_MORE) result = skip_value(h);
  return result == PK_ERR_UNSUPPORTED ? PK_OK : result;
}

static void put32(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)(v >> 24);
  p[1] = (uint8_t)(v >> 16);
  p[2] = (uint8_t)(v >> 8);
  p[3] = (uint8_t)v;
}

/* UTF-8 behind a length; ASCII of up to 47 characters behind one tag. */
static void put_value(writer *w, pk_slice s) {
  int ascii = s.size <= 47;
  for (uint32_t i = 0; ascii && i < s.size; i++) ascii = s.data[i] < 0x80;
  if (ascii) {
    write_byte(w, (uint8_t)(0x49 + s.size));
  } else {
    uint8_t tag[6] = {0x7a, 0x48};
    put32(tag + 2, s.size);
    write_bytes(w, tag, sizeof tag);
  }
  write_bytes(w, s.data, s.size);
}

static void put_text(writer *w, pk_slice s) {
  uint8_t *size = w->at;
  write_bytes(w, "\0\0\0\0", 4);
  put_value(w, s);
  if (!w->full) put32(size, (uint32_t)(w->at - size - 4));
}

static void open_map(writer *w, const reader *r) {
  (void)r;
  w->map = w->at;
  write_bytes(w, "\0\0\0\0\xa6", 5);
}

static void copy_pair(writer *w, const uint8_t *data, size_t size) { write_bytes(w, data, size); }

static void put_pair(writer *w, pk_slice key, pk_slice value) {
  put_value(w, key);
  put_value(w, value);
}

static void close_map(writer *w) {
  write_byte(w, 0xa5);
  if (!w->full) put32(w->map, (uint32_t)(w->at - w->map - 4));
}

/* Names and values are referred to by path ($.a.b) or by a symbol's number. */
static int anchors(const uint8_t *value, const uint8_t *end) {
  return value < end && ((*value >= 0x92 && *value <= 0xa6) || *value == 0x7f);
}

const layout jsonb_layout = {text, argument, value,     inside,   number,    enter,  pair, put_text,
                             open_map, copy_pair, put_pair, close_map, anchors};
