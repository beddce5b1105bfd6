/* hessian.c: strings out of Hessian bodies, in both dialects, without decoding the rest.
 *
 * Facts: the grammar of Hessian 2.0, and for its draft (H1) bytes written by sofa-hessian 3.5. Linear,
 * bounded in depth and classes; counts larger than the rest are refused. */
#include <string.h>

#include "steps.h"

enum { DEPTH = 128, CLASSES = 64, FIELDS = 256 };

typedef struct walker {
  const uint8_t *at, *end;
  int draft;
  uint32_t class_count;
  uint16_t class_fields[CLASSES];
} walker;

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
  walker w = {.at = section, .end = section + size};
  (void)arguments;
  (void)argument_count;
  for (uint32_t i = 0; i < count && w.at < w.end; i++) {
    uint8_t tag = *w.at++;
    if (tag == 'N') continue;
    int result = string_of(&w, tag, 0, &out[i]);
    if (result == PK_MORE) return PK_OK;
    if (result != PK_OK) return result;
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
  if (count_of(w, FIELDS, &fields) != PK_OK) return PK_ERR_FORMAT;
  if (w->class_count == CLASSES) return PK_ERR_UNSUPPORTED;
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

static int skip_value(walker *w, uint32_t depth);

static int skip_many(walker *w, uint32_t n, uint32_t depth) {
  int result = PK_OK;
  for (uint32_t i = 0; i < n && result == PK_OK; i++) result = skip_value(w, depth);
  return result;
}

static int skip_to_end(walker *w, uint32_t depth) {
  for (;;) {
    if (w->at == w->end) return PK_ERR_FORMAT;
    if (*w->at == (w->draft ? 'z' : 'Z')) {
      w->at++;
      return PK_OK;
    }
    int result = skip_value(w, depth);
    if (result != PK_OK) return result;
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

/* The final grammar's containers. */
static int skip_final(walker *w, uint8_t t, uint32_t depth) {
  uint32_t n = 0;
  int64_t ignored;
  if (t == 'O' || (t >= 0x60 && t <= 0x6f))
    return instance(w, t, &n) == PK_OK ? skip_many(w, n, depth + 1) : PK_ERR_FORMAT;
  if (t >= 0x78 && t <= 0x7f) return skip_many(w, t - 0x78u, depth + 1);
  if (t == 'Q') return integer(w, &ignored);
  if (t == 'H' || t == 'W') return skip_to_end(w, depth + 1);
  if (t == 'X') return count_of(w, INT32_MAX, &n) == PK_OK ? skip_many(w, n, depth + 1) : PK_ERR_FORMAT;
  if (t != 'M' && t != 'U' && t != 'V' && (t < 0x70 || t > 0x77)) return skip_binary(w, t);
  if (skip_type(w) != PK_OK) return PK_ERR_FORMAT;
  if (t == 'M' || t == 'U') return skip_to_end(w, depth + 1);
  if (t != 'V') return skip_many(w, t - 0x70u, depth + 1);
  return count_of(w, INT32_MAX, &n) == PK_OK ? skip_many(w, n, depth + 1) : PK_ERR_FORMAT;
}

static int skip_value(walker *w, uint32_t depth) {
  pk_slice ignored;
  int64_t number;
  uint32_t n;
  if (depth == DEPTH) return PK_ERR_UNSUPPORTED;
  if (w->at == w->end) return PK_ERR_FORMAT;
  uint8_t t = *w->at++;
  while (t == (w->draft ? 'O' : 'C')) { /* a class, then the value */
    int result = class_definition(w, NULL, 0, NULL);
    if (result != PK_OK) return result;
    if (w->at == w->end) return PK_ERR_FORMAT;
    t = *w->at++;
  }
  int size = fixed_size(t, w->draft), result = string_of(w, t, w->draft, &ignored);
  if (result != PK_MORE) return result;
  if (size >= 0) return skip_bytes(w, (uint64_t)size);
  if (!w->draft) return skip_final(w, t, depth);
  switch (t) {
    case 'o': return instance(w, t, &n) == PK_OK ? skip_many(w, n, depth + 1) : PK_ERR_FORMAT;
    case 'M': return skip_type(w) == PK_OK ? skip_to_end(w, depth + 1) : PK_ERR_FORMAT;
    case 'V':
      if (skip_type(w) != PK_OK || skip_length(w) != PK_OK) return PK_ERR_FORMAT;
      return skip_to_end(w, depth + 1);
    case 'v':
      if (integer(w, &number) != PK_OK || count_of(w, INT32_MAX, &n) != PK_OK) return PK_ERR_FORMAT;
      return skip_many(w, n, depth + 1);
    default: return skip_binary(w, t);
  }
}

int pk_step_hessian_fields(const uint8_t *section, size_t size, const pk_slice *arguments,
                            uint32_t argument_count, pk_slice *out, uint32_t count) {
  walker w = {.at = section, .end = section + size, .class_count = 0};
  uint8_t places[FIELDS];
  uint32_t fields, found = 0;
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
      found++;
      if (result == PK_MORE) w.at = back;
    }
    if (result == PK_MORE) result = skip_value(&w, 0);
    if (result != PK_OK) return result;
  }
  return PK_OK;
}
