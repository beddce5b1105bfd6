/* hessian.c: strings out of Hessian bodies, in both dialects, without decoding the rest.
 *
 * Facts: the grammar of Hessian 2.0, and for its draft (H1) bytes written by sofa-hessian 3.5. Linear,
 * bounded in depth and classes, by more than a JVM reads; counts larger than the rest are refused. */
#include <string.h>

#include "wire/steps/steps.h"

enum { DEPTH = 16384, CLASSES = 4096, FIELDS = 256 };
enum { TO_END = UINT32_MAX }; /* values up to the mark that ends them */

typedef struct walker {
  const uint8_t *at, *end;
  int draft;
  uint32_t class_count;
  uint16_t class_fields[CLASSES];
} walker;

/* The classes are set as they come. */
static void start(walker *w, const uint8_t *section, size_t size) {
  w->at = section;
  w->end = section + size;
  w->draft = 0;
  w->class_count = 0;
}

static size_t left(const walker *w) { return (size_t)(w->end - w->at); }

static int skip_bytes(walker *w, uint64_t n) {
  if (n > left(w)) return PK_ERR_FORMAT;
  w->at += n;
  return PK_OK;
}

static int unsigned_of(walker *w, uint32_t bytes, uint64_t *out) {
  if (bytes > left(w)) return PK_ERR_FORMAT;
  *out = 0;
  for (uint32_t i = 0; i < bytes; i++) *out = *out << 8 | *w->at++;
  return PK_OK;
}

/* Past so many UTF-16 units, each written alone or a pair as one sequence of four bytes. */
static int units(walker *w, uint64_t n) {
  while (n > 0) {
    if (w->at == w->end) return PK_ERR_FORMAT;
    uint8_t c = *w->at;
    uint32_t size = c < 0x80 ? 1 : c < 0xc0 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf8 ? 4 : 0;
    uint32_t of = size == 4 ? 2 : 1;
    if (size == 0 || size > left(w) || of > n) return PK_ERR_FORMAT;
    w->at += size;
    n -= of;
  }
  return PK_OK;
}

/* A string whose tag is consumed. PK_MORE: it is none. *out has no data when it is in chunks. */
static int string_of(walker *w, uint8_t tag, int draft, pk_slice *out) {
  uint64_t n;
  int more = 0, chunks = 0;
  do {
    if (tag < 0x20) {
      n = tag;
      more = 0;
    } else if (!draft && tag >= 0x30 && tag <= 0x33) {
      if (unsigned_of(w, 1, &n) != PK_OK) return PK_ERR_FORMAT;
      n |= (uint64_t)(tag - 0x30) << 8;
      more = 0;
    } else if (tag == 'S' || tag == (draft ? 's' : 'R')) {
      if (unsigned_of(w, 2, &n) != PK_OK) return PK_ERR_FORMAT;
      more = tag != 'S';
    } else {
      return chunks ? PK_ERR_FORMAT : PK_MORE;
    }
    const uint8_t *from = w->at;
    if (units(w, n) != PK_OK) return PK_ERR_FORMAT;
    *out = chunks || more ? (pk_slice){NULL, 0} : (pk_slice){from, (uint32_t)(w->at - from)};
    chunks = 1;
    if (more) {
      if (w->at == w->end) return PK_ERR_FORMAT;
      tag = *w->at++;
    }
  } while (more);
  return PK_OK;
}

int pk_step_hessian2_strings(const uint8_t *section, size_t size, const pk_slice *arguments,
                             uint32_t argument_count, pk_slice *out, uint32_t count) {
  walker w;
  start(&w, section, size);
  (void)arguments;
  (void)argument_count;
  for (uint32_t i = 0; i < count && w.at < w.end; i++) {
    uint8_t tag = *w.at++;
    if (tag == 'N') continue;
    int result = string_of(&w, tag, 0, &out[i]);
    if (result == PK_MORE) return PK_OK;
    if (result != PK_OK) return result;
    if (out[i].data == NULL) return PK_ERR_LIMIT;
  }
  return PK_OK;
}

/* An int. */
static int integer(walker *w, int64_t *out) {
  uint64_t v;
  if (w->at == w->end) return PK_ERR_FORMAT;
  uint8_t t = *w->at++;
  if (t >= 0x80 && t <= 0xbf) {
    *out = t - 0x90;
  } else if (t >= 0xc0 && t <= 0xcf) {
    if (unsigned_of(w, 1, &v) != PK_OK) return PK_ERR_FORMAT;
    *out = (t - 0xc8) * 256 + (int64_t)v;
  } else if (t >= 0xd0 && t <= 0xd7) {
    if (unsigned_of(w, 2, &v) != PK_OK) return PK_ERR_FORMAT;
    *out = (t - 0xd4) * 65536 + (int64_t)v;
  } else if (t == 'I') {
    if (unsigned_of(w, 4, &v) != PK_OK) return PK_ERR_FORMAT;
    *out = (int32_t)(uint32_t)v;
  } else {
    return PK_ERR_FORMAT;
  }
  return PK_OK;
}

static int count_of(walker *w, int64_t most, uint32_t *out) {
  int64_t n;
  if (integer(w, &n) != PK_OK || n < 0 || n > most || (uint64_t)n > left(w)) return PK_ERR_FORMAT;
  *out = (uint32_t)n;
  return PK_OK;
}

/* A name (in the draft its length and its characters), the field count, the fields' names. The first
 * class's fields are compared with `wanted`; places[i] is which of them field i is. */
static int class_definition(walker *w, const pk_slice *wanted, uint32_t wanted_count, uint8_t *places) {
  uint32_t length, fields;
  pk_slice ignored;
  if (w->draft) {
    if (count_of(w, UINT16_MAX, &length) != PK_OK || units(w, length) != PK_OK) return PK_ERR_FORMAT;
  } else {
    if (w->at == w->end) return PK_ERR_FORMAT;
    uint8_t tag = *w->at++;
    if (string_of(w, tag, 0, &ignored) != PK_OK) return PK_ERR_FORMAT;
  }
  if (count_of(w, UINT16_MAX, &fields) != PK_OK) return PK_ERR_FORMAT;
  if (w->class_count == CLASSES || (places != NULL && fields > FIELDS)) return PK_ERR_LIMIT;
  for (uint32_t i = 0; i < fields; i++) {
    pk_slice name = {NULL, 0};
    if (w->at == w->end) return PK_ERR_FORMAT;
    uint8_t tag = *w->at++;
    if (string_of(w, tag, w->draft, &name) != PK_OK) return PK_ERR_FORMAT;
    if (places == NULL) continue;
    places[i] = 0xff;
    for (uint32_t k = 0; k < wanted_count && k < 0xff; k++)
      if (name.data != NULL && name.size == wanted[k].size && memcmp(name.data, wanted[k].data, name.size) == 0)
        places[i] = (uint8_t)k;
  }
  w->class_fields[w->class_count++] = (uint16_t)fields;
  return PK_OK;
}

/* Bytes behind the tags of fixed size; -1 for others. */
static int fixed_size(uint8_t t, int draft) {
  if ((t >= 0x80 && t <= 0xbf) || (t >= 0xd8 && t <= 0xef)) return 0;
  if ((t >= 0xc0 && t <= 0xcf) || t >= 0xf0) return 1;
  if ((t >= 0xd0 && t <= 0xd7) || (t >= 0x38 && t <= 0x3f)) return 2;
  if (!draft) {
    switch (t) {
      case 'N': case 'T': case 'F': case 0x5b: case 0x5c: return 0;
      case 0x5d: return 1;
      case 0x5e: return 2;
      case 'I': case 0x59: case 0x5f: case 0x4b: return 4;
      case 'L': case 'D': case 0x4a: return 8;
      default: return -1;
    }
  }
  switch (t) {
    case 'N': case 'T': case 'F': case 0x67: case 0x68: return 0;
    case 0x69: case 0x4a: return 1;
    case 0x6a: case 0x4b: return 2;
    case 'I': case 0x77: case 0x6b: case 'R': return 4;
    case 'L': case 'D': case 'd': return 8;
    default: return -1;
  }
}

/* 't' and a name, or a number that refers to one; nothing where neither stands there. */
static int skip_type(walker *w) {
  uint64_t n;
  int64_t ignored;
  if (w->at == w->end) return PK_ERR_FORMAT;
  uint8_t t = *w->at;
  if (!w->draft) {
    pk_slice name;
    w->at++;
    int result = string_of(w, t, 0, &name);
    if (result != PK_MORE) return result;
    w->at--;
    return integer(w, &ignored);
  }
  if (t != 't' && t != 0x75) return PK_OK;
  w->at++;
  if (t == 0x75) return integer(w, &ignored);
  return unsigned_of(w, 2, &n) == PK_OK ? units(w, n) : PK_ERR_FORMAT;
}

static int skip_length(walker *w) {
  if (w->at == w->end) return PK_ERR_FORMAT;
  if (*w->at == 0x6e) return skip_bytes(w, 2);
  return *w->at == 0x6c ? skip_bytes(w, 5) : PK_OK;
}

static int skip_binary(walker *w, uint8_t tag) {
  uint64_t n;
  for (;;) {
    if (tag >= 0x20 && tag <= 0x2f) return skip_bytes(w, tag - 0x20u);
    if (!w->draft && tag >= 0x34 && tag <= 0x37) {
      if (unsigned_of(w, 1, &n) != PK_OK) return PK_ERR_FORMAT;
      return skip_bytes(w, (uint64_t)(tag - 0x34) << 8 | n);
    }
    if ((tag != 'B' && tag != (w->draft ? 'b' : 'A')) || unsigned_of(w, 2, &n) != PK_OK) return PK_ERR_FORMAT;
    if (skip_bytes(w, n) != PK_OK) return PK_ERR_FORMAT;
    if (tag == 'B') return PK_OK;
    if (w->at == w->end) return PK_ERR_FORMAT;
    tag = *w->at++;
  }
}

/* An object's class, behind `tag`. */
static int instance(walker *w, uint8_t tag, uint32_t *fields) {
  int64_t index = tag - 0x60;
  if (w->draft || tag == 'O') {
    if (integer(w, &index) != PK_OK) return PK_ERR_FORMAT;
  }
  if (index < 0 || index >= w->class_count) return PK_ERR_FORMAT;
  *fields = w->class_fields[index];
  return PK_OK;
}

/* The final grammar's containers, but for what is in them: how many values that are. */
static int open_final(walker *w, uint8_t t, uint32_t *inside) {
  int64_t ignored;
  if (t == 'O' || (t >= 0x60 && t <= 0x6f)) return instance(w, t, inside);
  if (t == 'Q') return integer(w, &ignored);
  if (t >= 0x78 && t <= 0x7f) {
    *inside = t - 0x78u;
    return PK_OK;
  }
  if (t == 'H' || t == 'W') {
    *inside = TO_END;
    return PK_OK;
  }
  if (t == 'X') return count_of(w, INT32_MAX, inside);
  if (t != 'M' && t != 'U' && t != 'V' && (t < 0x70 || t > 0x77)) return skip_binary(w, t);
  if (skip_type(w) != PK_OK) return PK_ERR_FORMAT;
  if (t == 'V') return count_of(w, INT32_MAX, inside);
  *inside = t == 'M' || t == 'U' ? (uint32_t)TO_END : t - 0x70u;
  return PK_OK;
}

/* The draft's. */
static int open_draft(walker *w, uint8_t t, uint32_t *inside) {
  int64_t number;
  switch (t) {
    case 'o': return instance(w, t, inside);
    case 'M':
    case 'V':
      if (skip_type(w) != PK_OK || (t == 'V' && skip_length(w) != PK_OK)) return PK_ERR_FORMAT;
      *inside = TO_END;
      return PK_OK;
    case 'v': return integer(w, &number) != PK_OK ? PK_ERR_FORMAT : count_of(w, INT32_MAX, inside);
    default: return skip_binary(w, t);
  }
}

/* One value, the classes in front of it, and nothing that is in it. */
static int open_value(walker *w, uint32_t *inside) {
  pk_slice ignored;
  *inside = 0;
  if (w->at == w->end) return PK_ERR_FORMAT;
  uint8_t t = *w->at++;
  while (t == (w->draft ? 'O' : 'C')) {
    int result = class_definition(w, NULL, 0, NULL);
    if (result != PK_OK) return result;
    if (w->at == w->end) return PK_ERR_FORMAT;
    t = *w->at++;
  }
  int size = fixed_size(t, w->draft), result = string_of(w, t, w->draft, &ignored);
  if (result != PK_MORE) return result;
  if (size >= 0) return skip_bytes(w, (uint64_t)size);
  return w->draft ? open_draft(w, t, inside) : open_final(w, t, inside);
}

static int skip_value(walker *w) {
  uint32_t open[DEPTH], depth = 0, inside;
  uint8_t mark = w->draft ? 'z' : 'Z';
  for (;;) {
    int result = open_value(w, &inside);
    if (result != PK_OK) return result;
    if (inside > 0 && depth == DEPTH) return PK_ERR_LIMIT;
    if (inside > 0) open[depth++] = inside;
    for (; depth > 0; depth--) { /* what is whole now */
      uint32_t *last = &open[depth - 1];
      if (*last == TO_END) {
        if (w->at == w->end) return PK_ERR_FORMAT;
        if (*w->at != mark) break;
        w->at++;
      } else if (*last > 0) {
        --*last;
        break;
      }
    }
    if (depth == 0) return PK_OK;
  }
}

int pk_step_hessian_fields(const uint8_t *section, size_t size, const pk_slice *arguments,
                            uint32_t argument_count, pk_slice *out, uint32_t count) {
  walker w;
  uint8_t places[FIELDS];
  uint32_t fields, found = 0;
  start(&w, section, size);
  if (size < 2 || (*w.at != 'O' && *w.at != 'C')) return PK_ERR_UNSUPPORTED;
  w.draft = *w.at++ == 'O';
  int result = class_definition(&w, arguments, argument_count < count ? argument_count : count, places);
  if (result != PK_OK) return result;
  if (w.at == w.end) return PK_ERR_FORMAT;
  uint8_t object = *w.at++;
  if (w.draft ? object != 'o' : object != 'O' && (object < 0x60 || object > 0x6f)) return PK_ERR_FORMAT;
  if (instance(&w, object, &fields) != PK_OK) return PK_ERR_FORMAT;
  for (uint32_t i = 0; i < fields && found < count; i++) {
    if (w.at == w.end) return PK_ERR_FORMAT;
    result = PK_MORE;
    if (places[i] != 0xff) {
      const uint8_t *back = w.at;
      uint8_t tag = *w.at++;
      result = string_of(&w, tag, w.draft, &out[places[i]]);
      if (result == PK_OK && out[places[i]].data == NULL) return PK_ERR_LIMIT;
      found++;
      if (result == PK_MORE) w.at = back;
    }
    if (result == PK_MORE) result = skip_value(&w);
    if (result != PK_OK) return result;
  }
  return PK_OK;
}
