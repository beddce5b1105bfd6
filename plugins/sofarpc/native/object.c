/* object.c: see object.h.
 *
 * Facts: the draft of Hessian 2 as sofa-hessian 3.5 writes it, and Hessian 1.0. Every value takes a byte
 * at least, so that reading is linear; depth and classes are bounded, by more than a JVM reads. */
#include "object.h"

#include <string.h>

enum { DEPTH = 16384, CLASSES = 4096 };
enum { TO_END = UINT32_MAX }; /* values up to the mark that ends them */

typedef struct class {
  const uint8_t *names; /* the first of its fields' names */
  uint32_t fields;
} class;

typedef struct reader {
  const uint8_t *at, *end;
  uint32_t class_count;
  class classes[CLASSES];
} reader;

static int value(reader *r, tr_field *into);

static size_t left(const reader *r) { return (size_t)(r->end - r->at); }

static int take(reader *r, uint8_t *tag) {
  if (r->at == r->end) return PK_ERR_FORMAT;
  *tag = *r->at++;
  return PK_OK;
}

static int skip(reader *r, uint64_t n) {
  if (n > left(r)) return PK_ERR_FORMAT;
  r->at += n;
  return PK_OK;
}

static int big_endian(reader *r, uint32_t bytes, uint64_t *out) {
  if (bytes > left(r)) return PK_ERR_FORMAT;
  *out = 0;
  while (bytes-- > 0) *out = *out << 8 | *r->at++;
  return PK_OK;
}

/* Past so many UTF-16 units, each written alone, or two of them as one sequence of four bytes. */
static int units(reader *r, uint64_t n) {
  while (n > 0) {
    uint8_t c;
    if (take(r, &c) != PK_OK) return PK_ERR_FORMAT;
    uint32_t more = c < 0x80 ? 0 : c < 0xc0 ? 9 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf8 ? 3 : 9;
    uint32_t of = more == 3 ? 2 : 1;
    if (more == 9 || of > n || skip(r, more) != PK_OK) return PK_ERR_FORMAT;
    n -= of;
  }
  return PK_OK;
}

/* A string whose tag is consumed; without data where it is in chunks. PK_MORE: it is none. */
static int string(reader *r, uint8_t tag, pk_slice *out) {
  int chunks = 0;
  for (;; chunks = 1) {
    uint64_t n = tag;
    if (tag >= 0x20) {
      if (tag != 'S' && tag != 's') return chunks ? PK_ERR_FORMAT : PK_MORE;
      if (big_endian(r, 2, &n) != PK_OK) return PK_ERR_FORMAT;
    }
    const uint8_t *from = r->at;
    if (units(r, n) != PK_OK) return PK_ERR_FORMAT;
    int more = tag == 's';
    *out = chunks || more ? (pk_slice){NULL, 0} : (pk_slice){from, (uint32_t)(r->at - from)};
    if (!more) return PK_OK;
    if (take(r, &tag) != PK_OK) return PK_ERR_FORMAT;
  }
}

/* An int or a long whose tag is consumed. PK_MORE: it is none. */
static int number(reader *r, uint8_t tag, int64_t *out) {
  static const struct {
    uint8_t from, to, zero, bytes; /* a value is what stands behind, with the tag's distance from zero in front */
  } compact[] = {{0x80, 0xbf, 0x90, 0}, {0xc0, 0xcf, 0xc8, 1}, {0xd0, 0xd7, 0xd4, 2},
                 {0xd8, 0xef, 0xe0, 0}, {0xf0, 0xff, 0xf8, 1}, {0x38, 0x3f, 0x3c, 2}};
  uint64_t v = 0;
  if (tag == 'I' || tag == 0x77 || tag == 'L') {
    if (big_endian(r, tag == 'L' ? 8 : 4, &v) != PK_OK) return PK_ERR_FORMAT;
    *out = tag == 'L' ? (int64_t)v : (int64_t)(int32_t)(uint32_t)v;
    return PK_OK;
  }
  for (size_t i = 0; i < sizeof compact / sizeof *compact; i++) {
    if (tag < compact[i].from || tag > compact[i].to) continue;
    if (big_endian(r, compact[i].bytes, &v) != PK_OK) return PK_ERR_FORMAT;
    *out = (tag - compact[i].zero) * ((int64_t)1 << 8 * compact[i].bytes) + (int64_t)v;
    return PK_OK;
  }
  return PK_MORE;
}

/* A number that counts what follows: each takes a byte at least. */
static int count(reader *r, uint32_t most, uint32_t *out) {
  uint8_t tag;
  int64_t n;
  if (take(r, &tag) != PK_OK || number(r, tag, &n) != PK_OK) return PK_ERR_FORMAT;
  if (n < 0 || n > most || (uint64_t)n > left(r)) return PK_ERR_FORMAT;
  *out = (uint32_t)n;
  return PK_OK;
}

static int name(reader *r, pk_slice *out) {
  uint8_t tag;
  return take(r, &tag) == PK_OK && string(r, tag, out) == PK_OK ? PK_OK : PK_ERR_FORMAT;
}

static int class_definition(reader *r) {
  uint32_t length, fields;
  pk_slice ignored;
  if (count(r, UINT16_MAX, &length) != PK_OK || units(r, length) != PK_OK) return PK_ERR_FORMAT;
  if (count(r, UINT16_MAX, &fields) != PK_OK) return PK_ERR_FORMAT;
  if (r->class_count == CLASSES) return PK_ERR_LIMIT;
  r->classes[r->class_count++] = (class){r->at, fields};
  for (uint32_t i = 0; i < fields; i++)
    if (name(r, &ignored) != PK_OK) return PK_ERR_FORMAT;
  return PK_OK;
}

/* 't' and a name, or a number that refers to one; nothing where neither stands there. */
static int type(reader *r) {
  uint64_t n;
  uint8_t tag;
  int64_t ignored;
  if (r->at == r->end) return PK_ERR_FORMAT;
  if (*r->at == 't') {
    r->at++;
    return big_endian(r, 2, &n) == PK_OK ? units(r, n) : PK_ERR_FORMAT;
  }
  if (*r->at != 0x75) return PK_OK;
  r->at++;
  return take(r, &tag) == PK_OK && number(r, tag, &ignored) == PK_OK ? PK_OK : PK_ERR_FORMAT;
}

static int ends(reader *r) {
  if (r->at == r->end || *r->at != 'z') return 0;
  r->at++;
  return 1;
}

static int class_of(reader *r, const class **out) {
  uint8_t tag;
  int64_t index;
  if (take(r, &tag) != PK_OK || number(r, tag, &index) != PK_OK) return PK_ERR_FORMAT;
  if (index < 0 || index >= r->class_count) return PK_ERR_FORMAT;
  *out = &r->classes[index];
  return PK_OK;
}

/* A value's tag, behind the classes in front of it. */
static int value_tag(reader *r, uint8_t *tag) {
  if (take(r, tag) != PK_OK) return PK_ERR_FORMAT;
  while (*tag == 'O') {
    int result = class_definition(r);
    if (result != PK_OK) return result;
    if (take(r, tag) != PK_OK) return PK_ERR_FORMAT;
  }
  return PK_OK;
}

static int binary(reader *r, uint8_t tag) {
  uint64_t n;
  for (;;) {
    if (tag >= 0x20 && tag <= 0x2f) return skip(r, tag - 0x20u);
    if ((tag != 'B' && tag != 'b') || big_endian(r, 2, &n) != PK_OK || skip(r, n) != PK_OK) return PK_ERR_FORMAT;
    if (tag == 'B') return PK_OK;
    if (take(r, &tag) != PK_OK) return PK_ERR_FORMAT;
  }
}

/* A value behind its tag, but for what is in it: how many values that are. */
static int open_value(reader *r, uint8_t tag, uint32_t *inside) {
  pk_slice ignored;
  int64_t n;
  const class *of;
  *inside = 0;
  int result = string(r, tag, &ignored);
  if (result == PK_MORE) result = number(r, tag, &n);
  if (result != PK_MORE) return result;
  switch (tag) {
    case 'N': case 'T': case 'F': case 0x67: case 0x68: return PK_OK; /* null, truth, the doubles 0 and 1 */
    case 0x69: case 0x4a: return skip(r, 1);
    case 0x6a: case 0x4b: return skip(r, 2);
    case 0x6b: case 'R': return skip(r, 4);
    case 'D': case 'd': return skip(r, 8);
    case 'o':
      if (class_of(r, &of) != PK_OK) return PK_ERR_FORMAT;
      *inside = of->fields;
      return PK_OK;
    case 'M':
    case 'V':
      *inside = TO_END;
      if (type(r) != PK_OK) return PK_ERR_FORMAT;
      if (tag == 'M' || r->at == r->end || (*r->at != 0x6e && *r->at != 0x6c)) return PK_OK;
      return skip(r, *r->at == 0x6e ? 2 : 5); /* a list's length */
    case 0x76: /* a list of a type that was named before: no end is written */
      if (take(r, &tag) != PK_OK || number(r, tag, &n) != PK_OK) return PK_ERR_FORMAT;
      return count(r, INT32_MAX, inside);
    default: return binary(r, tag);
  }
}

/* Past a value whose tag is consumed. */
static int skip_value(reader *r, uint8_t tag) {
  uint32_t open[DEPTH], depth = 0, inside;
  for (;;) {
    int result = open_value(r, tag, &inside);
    if (result != PK_OK) return result;
    if (inside > 0 && depth == DEPTH) return PK_ERR_LIMIT;
    if (inside > 0) open[depth++] = inside;
    for (; depth > 0; depth--) { /* what is whole now */
      uint32_t *last = &open[depth - 1];
      if (*last == TO_END) {
        if (r->at == r->end) return PK_ERR_FORMAT;
        if (!ends(r)) break;
      } else if (*last > 0) {
        --*last;
        break;
      }
    }
    if (depth == 0) return PK_OK;
    if ((result = value_tag(r, &tag)) != PK_OK) return result;
  }
}

static tr_field *wanted(tr_field *fields, uint32_t n, pk_slice key) {
  for (uint32_t i = 0; key.data != NULL && i < n; i++)
    if (strlen(fields[i].name) == key.size && memcmp(fields[i].name, key.data, key.size) == 0) return &fields[i];
  return NULL;
}

/* A map, behind its tag; its keys that are texts may be fields. */
static int map(reader *r, tr_field *fields, uint32_t n) {
  int result = type(r);
  while (result == PK_OK && !ends(r)) {
    tr_field key = {.kind = TR_TEXT};
    result = value(r, &key);
    if (result == PK_OK) result = value(r, key.found ? wanted(fields, n, key.text) : NULL);
  }
  return result;
}

/* An object, behind its tag. Its class's names are read beside its values. */
static int instance(reader *r, tr_field *fields, uint32_t n) {
  const class *of;
  if (class_of(r, &of) != PK_OK) return PK_ERR_FORMAT;
  const uint8_t *names = of->names;
  int result = PK_OK;
  for (uint32_t i = of->fields; result == PK_OK && i > 0; i--) {
    pk_slice key = {NULL, 0};
    const uint8_t *back = r->at;
    r->at = names;
    (void)name(r, &key); /* was read before */
    names = r->at;
    r->at = back;
    result = value(r, wanted(fields, n, key));
  }
  return result;
}

/* What an earlier value of the same name had does not count. */
static void forget(tr_field *f) {
  f->found = 0;
  for (uint32_t i = 0; i < f->inner_count; i++) forget(&f->inner[i]);
}

/* A value; kept where `into` wants one of its kind. Goes as deep as what is wanted. */
static int value(reader *r, tr_field *into) {
  uint8_t tag;
  int result = value_tag(r, &tag);
  if (result != PK_OK) return result;
  if (into == NULL) return skip_value(r, tag);
  forget(into);
  if (into->kind == TR_TEXT && (result = string(r, tag, &into->text)) != PK_MORE) {
    if (result == PK_OK && into->text.data == NULL) return PK_ERR_LIMIT; /* in chunks */
    into->found = result == PK_OK;
    return result;
  }
  if (into->kind == TR_NUMBER && (result = number(r, tag, &into->number)) != PK_MORE) {
    into->found = result == PK_OK;
    return result;
  }
  if (into->kind != TR_OBJECT || (tag != 'M' && tag != 'o')) return skip_value(r, tag);
  into->found = 1;
  return tag == 'M' ? map(r, into->inner, into->inner_count) : instance(r, into->inner, into->inner_count);
}

int tr_object(const uint8_t *section, size_t size, tr_field *fields, uint32_t n) {
  reader r; /* the classes are set as they come */
  r.at = section;
  r.end = section + size;
  r.class_count = 0;
  tr_field whole = {.kind = TR_OBJECT, .inner = fields, .inner_count = n};
  int result = value(&r, &whole);
  return result != PK_OK ? result : whole.found ? PK_OK : PK_ERR_UNSUPPORTED;
}
