/* declared.c: the codec of every declared wire format: an interpreter of programs (program.h). */
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "ident.h"
#include "program.h"

enum { TEXT_MAX = 512, ENCODED_MAX = 6 * TEXT_MAX, LITTLE = 16, SIGNED = 32 };
enum { HAS_CHECKSUM = 1, SEALED_AT_END = 2 }; /* pk_frame.flags */

typedef struct quick_place {
  pk_program_place place;
  uint16_t at;
  uint8_t plain, shift, is_signed;
} quick_place;

typedef struct quick_section {
  quick_place size;
  int8_t own;
  uint8_t judged; /* it says whether an answer is an application error */
  int32_t add;
  uint32_t most, usual; /* of what stands there, as if it were unsigned; where it is usually empty, so */
} quick_section;

/* A shape as it is read fastest. */
typedef struct quick_shape {
  uint32_t header, trailer, sum_at, context, key;
  uint16_t id_at;
  uint8_t kind, sections, checked, timed, judged, kept, plain, loud;
  quick_place id, timeout, status, keep[3];
  quick_section section[PK_SHAPE_SECTIONS];
} quick_shape;

/* Keys to look up, by size (modulo 64). */
typedef struct quick_key {
  const uint8_t *data;
  uint32_t size, slice;
  struct quick_key *next;
} quick_key;

typedef struct quick_map {
  quick_key *of[64];
  int usual; /* four bytes big endian before keys and values */
} quick_map;

typedef struct declared {
  pk_codec codec;
  const pk_program *program; /* the image */
  const pk_insn *insns;
  const int64_t *constants;
  const pk_program_delimiter *delimiters;
  const pk_program_table *tables;
  const pk_program_entry *entries;
  const pk_program_map *maps;
  const pk_program_key *keys;
  const pk_program_step *steps;
  const pk_program_checksum *checksums;
  const uint32_t *operands, *replies;
  const pk_program_test *tests;
  const pk_program_shape *shapes;
  const pk_program_counter *counters;
  pk_slice *literals;
  quick_shape *quick;
  quick_map *quick_maps;
  quick_key *quick_keys;
  int64_t usual_status; /* the wire's OK */
  uint8_t usual;
  uint8_t far; /* tests look behind the first 16 bytes */
  uint64_t mask_a, mask_b; /* the bytes that tests look at, of the first 16 */
  uint8_t id_form;
} declared;

static const declared *declared_of(const pk_codec *codec) { return codec->user; }

/* Any index that an instruction can name is inside. */
typedef struct machine {
  int64_t r[258];
  uint64_t stepped; /* steps that have run, bit by bit */
  pk_slice s[512];
} machine;

static uint64_t big(const uint8_t *p, uint32_t bytes) {
  uint64_t v = 0;
  for (uint32_t i = 0; i < bytes; i++) v = v << 8 | p[i];
  return v;
}

static uint64_t little(const uint8_t *p, uint32_t bytes) {
  uint64_t v = 0;
  for (uint32_t i = bytes; i > 0; i--) v = v << 8 | p[i - 1];
  return v;
}

static int64_t extend(uint64_t v, uint32_t bytes) {
  uint32_t shift = 64 - 8 * bytes;
  return (int64_t)(v << shift) >> shift;
}

static void put(uint8_t *p, uint64_t v, uint32_t bytes, int is_little) {
  for (uint32_t i = 0; i < bytes; i++) p[is_little ? i : bytes - 1 - i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get16(const uint8_t *p) { return (uint64_t)p[0] << 8 | p[1]; }
static uint64_t get32(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return __builtin_bswap32(v);
}
static uint64_t get64(const uint8_t *p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return __builtin_bswap64(v);
}

static int64_t lookup(const declared *d, uint32_t index, int64_t key) {
  const pk_program_table *t = &d->tables[index];
  for (uint32_t i = 0; i < t->count; i++)
    if (d->entries[t->first + i].key == key) return d->entries[t->first + i].value;
  return t->otherwise;
}

static uint32_t checksum_of(const declared *d, const pk_program_checksum *c, const machine *m,
                            const uint8_t *data) {
  if (c->count == 0) return pk_crc32(0, data, (size_t)m->r[c->at]);
  uint32_t crc = 0;
  for (uint32_t i = 0; i < c->count; i++) {
    uint32_t reg = d->operands[c->first + i];
    crc = pk_crc32(crc, data + m->r[reg], (size_t)m->r[reg + 1]);
  }
  return crc;
}

/* Texts. */

typedef struct pairs {
  const uint8_t *at, *end;
} pairs;

/* PK_MORE at the end. A null key or value has no data. */
static int sized_text(pairs *in, uint32_t form, pk_slice *out) {
  uint32_t bytes = form & 15;
  if ((size_t)(in->end - in->at) < bytes) return PK_ERR_FORMAT;
  uint64_t raw = form & LITTLE ? little(in->at, bytes) : big(in->at, bytes);
  int64_t size = form & SIGNED ? extend(raw, bytes) : (int64_t)raw;
  in->at += bytes;
  *out = (pk_slice){NULL, 0};
  if (size == -1) return PK_OK;
  if (size < 0 || size > in->end - in->at) return PK_ERR_FORMAT;
  *out = (pk_slice){in->at, (uint32_t)size};
  in->at += size;
  return PK_OK;
}

static const uint8_t *find(const uint8_t *at, const uint8_t *end, pk_slice what) {
  if (what.size == 1) return memchr(at, what.data[0], (size_t)(end - at));
  while ((size_t)(end - at) >= what.size) {
    at = memchr(at, what.data[0], (size_t)(end - at) - what.size + 1);
    if (at == NULL) return NULL;
    if (memcmp(at, what.data, what.size) == 0) return at;
    at++;
  }
  return NULL;
}

static int next_pair(const declared *d, const pk_program_map *map, pairs *in, pk_slice *key,
                     pk_slice *value) {
  if (in->at == in->end) return PK_MORE;
  if (map->kind == PK_MAP_PAIRS) {
    int result = sized_text(in, map->key_size, key);
    return result != PK_OK ? result : sized_text(in, map->value_size, value);
  }
  pk_slice between = d->literals[map->between], after = d->literals[map->after];
  const uint8_t *middle = find(in->at, in->end, between);
  if (middle == NULL) return PK_ERR_FORMAT;
  *key = (pk_slice){in->at, (uint32_t)(middle - in->at)};
  const uint8_t *from = middle + between.size, *to = find(from, in->end, after);
  *value = (pk_slice){from, (uint32_t)((to == NULL ? in->end : to) - from)};
  in->at = to == NULL ? in->end : to + after.size;
  return PK_OK;
}

/* Names of keys have 4 to 32 bytes mostly: two or four loads, which may overlap, tell. */
static inline int same(const uint8_t *a, const uint8_t *b, uint32_t size) {
  if (size < 4 || size > 32) return memcmp(a, b, size) == 0;
  if (size < 8) return ((get32(a) ^ get32(b)) | (get32(a + size - 4) ^ get32(b + size - 4))) == 0;
  uint64_t differ = (get64(a) ^ get64(b)) | (get64(a + size - 8) ^ get64(b + size - 8));
  if (size > 16) differ |= (get64(a + 8) ^ get64(b + 8)) | (get64(a + size - 16) ^ get64(b + size - 16));
  return differ == 0;
}

/* The usual map. A length of null is more than can be there. */
static inline int look_fast(const declared *d, const pk_program_map *map, pk_slice section,
                            pk_slice *s) {
  const uint8_t *at = section.data, *end = at + section.size;
  const quick_map *quick = &d->quick_maps[map - d->maps];
  while (at < end) {
    if (end - at < 8) return PK_ERR_FORMAT;
    uint64_t key_size = get32(at);
    const uint8_t *key = at + 4;
    if (key_size > (size_t)(end - key) - 4) /* null: the general way */
      return key_size == UINT32_MAX && map->key_size & SIGNED ? PK_MORE : PK_ERR_FORMAT;
    uint64_t size = get32(key + key_size);
    at = key + key_size + 4;
    pk_slice value = {at, (uint32_t)size};
    if (size <= (size_t)(end - at)) {
      at += size;
    } else if (size == UINT32_MAX && map->value_size & SIGNED) {
      value = (pk_slice){NULL, 0};
    } else {
      return PK_ERR_FORMAT;
    }
    for (const quick_key *k = quick->of[key_size & 63]; k != NULL; k = k->next)
      if (key_size == k->size && same(key, k->data, k->size)) s[k->slice] = value;
  }
  return PK_OK;
}

static void forget(const declared *d, const pk_program_map *map, pk_slice *s) {
  const quick_key *keys = d->quick_keys + map->first;
  for (uint32_t i = 0; i < map->count; i++) s[keys[i].slice] = (pk_slice){NULL, 0};
}

static __attribute__((noinline)) int look_slowly(const declared *d, const pk_program_map *map, pk_slice section,
                                                 pk_slice *s) {
  pairs in = {section.data, section.data + section.size};
  const quick_key *keys = d->quick_keys + map->first;
  pk_slice key, value;
  int result;
  while ((result = next_pair(d, map, &in, &key, &value)) == PK_OK)
    for (uint32_t i = 0; i < map->count; i++)
      if (key.data != NULL && key.size == keys[i].size && same(key.data, keys[i].data, key.size))
        s[keys[i].slice] = value;
  return result == PK_MORE ? PK_OK : result;
}

static int look(const declared *d, const pk_program_map *map, pk_slice section, pk_slice *s) {
  forget(d, map, s);
  if (section.data == NULL) return PK_OK;
  if (d->quick_maps[map - d->maps].usual) {
    int result = look_fast(d, map, section, s);
    if (result != PK_MORE) return result;
    forget(d, map, s);
  }
  return look_slowly(d, map, section, s);
}

static __attribute__((noinline)) void split(pk_slice in, pk_slice by, uint32_t most, pk_slice *out) {
  const uint8_t *at = in.data, *end = at == NULL ? NULL : at + in.size;
  uint32_t i = 0;
  while (i < most && at != NULL) {
    const uint8_t *to = i + 1 == most ? NULL : find(at, end, by);
    out[i++] = (pk_slice){at, (uint32_t)((to == NULL ? end : to) - at)};
    at = to == NULL ? NULL : to + by.size;
  }
  while (i < most) out[i++] = (pk_slice){NULL, 0};
}

/* By parts, as it was written: a load of both at once would wait until the stores are through. */
static inline void copy(pk_slice *to, const pk_slice *from) {
  to->data = from->data;
  to->size = from->size;
}

static int64_t number(pk_slice s) {
  int64_t v = 0;
  if (s.size == 0 || s.size > 18) return 0;
  for (uint32_t i = 0; i < s.size; i++) {
    if (s.data[i] < '0' || s.data[i] > '9') return 0;
    v = v * 10 + (s.data[i] - '0');
  }
  return v;
}

static __attribute__((noinline)) void step(const declared *d, uint32_t index, pk_slice section, pk_slice *out, uint32_t count) {
  const pk_program_step *s = &d->steps[index];
  for (uint32_t i = 0; i < count; i++) out[i] = (pk_slice){NULL, 0};
  if (section.data == NULL) return;
  pk_step function = (pk_step)(uintptr_t)s->function;
  if (function(section.data, section.size, d->literals + s->first, s->count, out, count) == PK_OK) return;
  for (uint32_t i = 0; i < count; i++) out[i] = (pk_slice){NULL, 0};
}

static uint32_t milliseconds(int64_t v) { return v <= 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v; }

typedef struct headers {
  pk_slice section;
  uint32_t map;
} headers;

/* Run text instructions from *pc to the first that is none. `out`: what a destination fills. `h`: what the
 * headers are. Apart from the rest, since routing needs hardly more of a program than this. */
static __attribute__((noinline)) int texts(const declared *d, uint32_t *pc_at, machine *m, const uint8_t *data,
                                           const pk_frame *f, pk_destination *out, headers *h) {
  int64_t *r = m->r;
  pk_slice *s = m->s;
  for (uint32_t pc = *pc_at;; pc++) {
    const pk_insn *n = &d->insns[pc];
    switch (n->op) {
      case PK_I_SLICE:
        s[n->a] = r[n->b] < 0 ? (pk_slice){NULL, 0} : (pk_slice){data + r[n->b], (uint32_t)r[n->b + 1]};
        break;
      case PK_I_OWN:
        s[n->a] = (pk_slice){data + f->own[n->i], f->own[n->i + 1]};
        if (f->own[n->i] == UINT32_MAX) s[n->a].data = NULL;
        break;
      case PK_I_TAKE:
        if (s[n->b].data == NULL) break;
        copy(&s[n->a], &s[n->b]);
        pc = (uint32_t)n->i - 1;
        break;
      case PK_I_LITERAL: s[n->a] = d->literals[n->i]; break;
      case PK_I_NONE: s[n->a] = (pk_slice){NULL, 0}; break;
      case PK_I_COPY: copy(&s[n->a], &s[n->b]); break;
      case PK_I_LOOK: {
        int result = look(d, &d->maps[n->i], s[n->b], s);
        if (result == PK_OK) break;
        if (out != NULL) return result;
        look(d, &d->maps[n->i], (pk_slice){NULL, 0}, s); /* of an answer: it goes on as it is */
        break;
      }
      case PK_I_SPLIT: split(s[n->b], d->literals[n->i], n->c, s + n->a); break;
      case PK_I_STEP: {
        uint64_t one = (uint64_t)1 << (n->i & 63);
        if (n->i < 64 && m->stepped & one) break;
        m->stepped |= one;
        step(d, (uint32_t)n->i, s[n->b], s + n->a, n->c);
        break;
      }
      case PK_I_JTEXT:
        if (s[n->a].data != NULL) pc = (uint32_t)n->i - 1;
        break;
      case PK_I_NUMBER: r[n->a] = number(s[n->b]); break;
      case PK_I_SAME:
        r[n->a] = s[n->b].data != NULL && s[n->b].size == d->literals[n->i].size &&
                  memcmp(s[n->b].data, d->literals[n->i].data, s[n->b].size) == 0;
        break;
      case PK_I_TO:
        if (n->a != PK_NO_TEXT) copy(&out->service, &s[n->a]);
        if (n->b != PK_NO_TEXT) copy(&out->method, &s[n->b]);
        if (n->c != PK_NO_TEXT) copy(&out->version, &s[n->c]);
        if (n->i != PK_NO_TEXT) copy(&out->group, &s[n->i]);
        break;
      case PK_I_BUDGET:
        if (r[n->a] > 0) out->timeout_ms = milliseconds(r[n->a]);
        break;
      case PK_I_HEADERS:
        h->section = s[n->a];
        h->map = (uint32_t)n->i;
        break;
      default: *pc_at = pc; return PK_OK;
    }
  }
}

enum { FRAMING = 0, EARLY = 1, UNVERIFIED = 2 };

#define FAIL(code, where)          \
  do {                             \
    uint64_t wrong = (uint64_t)(where); \
    f->error_at = (uint32_t)(wrong < size ? wrong : size); /* a length may lead past what is there */ \
    *failed = pc;                  \
    return code;                   \
  } while (0)

/* Run from `pc`. `f`: what framing fills; `out` and `h`: as of texts. */
static int run(const declared *d, uint32_t pc, machine *m, const uint8_t *data, uint64_t size,
               uint64_t limit, int how, pk_frame *f, pk_destination *out, headers *h, uint32_t *failed) {
  int64_t *r = m->r;
  uint64_t at = 0;
  m->stepped = 0;
  for (;; pc++) {
    const pk_insn *n = &d->insns[pc];
    switch (n->op) {
      case PK_I_NEED:
        if (at + (uint32_t)n->i > size) {
          if (at + (uint32_t)n->i > limit) FAIL(PK_ERR_LIMIT, at);
          f->need = (uint32_t)(at + (uint32_t)n->i);
          *failed = pc;
          return PK_MORE;
        }
        break;
      case PK_I_SKIP: at += (uint32_t)n->i; break;
      case PK_I_LOAD: {
        const uint8_t *p = data + at + n->i;
        uint64_t v = n->c & 1 ? little(p, n->b) : big(p, n->b);
        r[n->a] = n->c & 2 ? extend(v, n->b) : (int64_t)v;
        break;
      }
      case PK_I_LOAD1: r[n->a] = data[at + (uint32_t)n->i]; break;
      case PK_I_LOAD2: r[n->a] = (int64_t)get16(data + at + n->i); break;
      case PK_I_LOAD4: r[n->a] = (int64_t)get32(data + at + n->i); break;
      case PK_I_LOAD8: r[n->a] = (int64_t)get64(data + at + n->i); break;
      case PK_I_LOAD2S: r[n->a] = (int16_t)get16(data + at + n->i); break;
      case PK_I_LOAD4S: r[n->a] = (int32_t)get32(data + at + n->i); break;
      case PK_I_BITS: r[n->a] = (int64_t)((uint64_t)r[n->b] >> n->c & (uint32_t)n->i); break;
      case PK_I_IDAT: f->body = (uint32_t)at + (uint32_t)n->i; break;
      case PK_I_SECTION: {
        int64_t length = r[n->b];
        if (length < 0) FAIL(PK_ERR_FORMAT, at);
        if ((uint64_t)length > limit - at) {
          if ((uint64_t)length <= UINT32_MAX - at) f->size = (uint32_t)(at + (uint64_t)length);
          FAIL(PK_ERR_LIMIT, at);
        }
        r[n->a] = (int64_t)at;
        r[n->a + 1] = length;
        at += (uint64_t)length;
        break;
      }
      case PK_I_SUM: {
        uint32_t bytes = n->c & 15;
        int64_t count = r[n->b], sum = 0;
        if (count < 0) FAIL(PK_ERR_FORMAT, at);
        if ((uint64_t)count > (limit - at) / bytes) FAIL(PK_ERR_LIMIT, at);
        if (at + (uint64_t)count * bytes > size) {
          f->need = (uint32_t)(at + (uint64_t)count * bytes);
          *failed = pc;
          return PK_MORE;
        }
        for (int64_t i = 0; i < count; i++, at += bytes) {
          uint64_t raw = n->c & LITTLE ? little(data + at, bytes) : big(data + at, bytes);
          int64_t v = n->c & SIGNED ? extend(raw, bytes) : (int64_t)raw;
          if (v < 0) FAIL(PK_ERR_FORMAT, at);
          if ((uint64_t)v > limit) FAIL(PK_ERR_LIMIT, at);
          sum += v;
          if ((uint64_t)sum > limit) FAIL(PK_ERR_LIMIT, at);
        }
        r[n->a] = sum;
        break;
      }
      case PK_I_UNTIL: {
        const pk_program_delimiter *u = &d->delimiters[n->i];
        pk_slice by = d->literals[u->literal];
        uint64_t most = at + u->max + by.size, seen = size < most ? size : most;
        const uint8_t *found = at < seen ? find(data + at, data + seen, by) : NULL;
        if (found == NULL) {
          if (seen == most) FAIL(PK_ERR_LIMIT, at);
          if (size + 1 > limit) FAIL(PK_ERR_LIMIT, at);
          uint64_t least = at + by.size;
          f->need = (uint32_t)(size + 1 > least ? size + 1 : least);
          *failed = pc;
          return PK_MORE;
        }
        r[n->a] = (int64_t)at;
        r[n->a + 1] = found - (data + at);
        at = (uint64_t)(found - data) + by.size;
        break;
      }
      case PK_I_UVAR: {
        uint64_t v = 0;
        uint32_t i = 0;
        for (;; i++) {
          if (at + i >= size) {
            if (at + i >= limit) FAIL(PK_ERR_LIMIT, at);
            f->need = (uint32_t)(at + i + 1);
            *failed = pc;
            return PK_MORE;
          }
          uint8_t byte = data[at + i];
          v |= (uint64_t)(byte & 0x7f) << (7 * i);
          if (!(byte & 0x80)) {
            if (byte == 0 && i > 0) FAIL(PK_ERR_FORMAT, at + i); /* longer than it must be */
            break;
          }
          if (i + 1 == n->b) FAIL(PK_ERR_FORMAT, at + i);
        }
        r[n->a] = (int64_t)v;
        at += i + 1;
        break;
      }
      case PK_I_CHECK:
        if (r[n->a] == 0) FAIL(n->b ? PK_ERR_MAGIC : PK_ERR_FORMAT, at + (uint32_t)n->i);
        break;
      case PK_I_MAGIC: {
        pk_slice literal = d->literals[n->i];
        for (uint32_t i = 0; i < literal.size; i++) {
          if (at + i >= size) {
            if (at + literal.size > limit) FAIL(PK_ERR_LIMIT, at);
            f->need = (uint32_t)(at + literal.size);
            *failed = pc;
            return PK_MORE;
          }
          if (data[at + i] != literal.data[i]) FAIL(n->b ? PK_ERR_MAGIC : PK_ERR_FORMAT, at + i);
        }
        at += literal.size;
        break;
      }
      case PK_I_MARK: r[n->a] = (int64_t)at + n->i; break;
      case PK_I_HERE:
        if (at > size) {
          f->need = (uint32_t)at;
          *failed = pc;
          return PK_MORE;
        }
        break;
      case PK_I_WHOLE:
        f->size = (uint32_t)at;
        if (at > limit) FAIL(PK_ERR_LIMIT, 0);
        if (at > size) {
          f->need = (uint32_t)at;
          *failed = pc;
          return PK_MORE;
        }
        break;
      case PK_I_VERIFY: {
        const pk_program_checksum *c = &d->checksums[n->i];
        if (r[c->at] == 0) break;
        f->flags |= HAS_CHECKSUM;
        if (how == UNVERIFIED) break;
        const uint8_t *p = data + r[c->at];
        if ((c->little ? little(p, 4) : big(p, 4)) != checksum_of(d, c, m, data)) FAIL(PK_ERR_FORMAT, r[c->at]);
        break;
      }
      case PK_I_SET: r[n->a] = n->i; break;
      case PK_I_CONST: r[n->a] = d->constants[n->i]; break;
      case PK_I_MOVE: r[n->a] = r[n->b]; break;
      case PK_I_ADD: r[n->a] = (int64_t)((uint64_t)r[n->b] + (uint64_t)r[n->c]); break;
      case PK_I_SUB: r[n->a] = (int64_t)((uint64_t)r[n->b] - (uint64_t)r[n->c]); break;
      case PK_I_MUL: r[n->a] = (int64_t)((uint64_t)r[n->b] * (uint64_t)r[n->c]); break;
      case PK_I_AND: r[n->a] = r[n->b] & r[n->c]; break;
      case PK_I_OR: r[n->a] = r[n->b] | r[n->c]; break;
      case PK_I_XOR: r[n->a] = r[n->b] ^ r[n->c]; break;
      case PK_I_SHL: r[n->a] = (int64_t)((uint64_t)r[n->b] << (r[n->c] & 63)); break;
      case PK_I_SHR: r[n->a] = r[n->b] >> (r[n->c] & 63); break;
      case PK_I_EQ: r[n->a] = r[n->b] == r[n->c]; break;
      case PK_I_NE: r[n->a] = r[n->b] != r[n->c]; break;
      case PK_I_LT: r[n->a] = r[n->b] < r[n->c]; break;
      case PK_I_LE: r[n->a] = r[n->b] <= r[n->c]; break;
      case PK_I_GT: r[n->a] = r[n->b] > r[n->c]; break;
      case PK_I_GE: r[n->a] = r[n->b] >= r[n->c]; break;
      case PK_I_ADDI: r[n->a] = (int64_t)((uint64_t)r[n->b] + (uint64_t)(int64_t)n->i); break;
      case PK_I_MULI: r[n->a] = (int64_t)((uint64_t)r[n->b] * (uint64_t)(int64_t)n->i); break;
      case PK_I_ANDI: r[n->a] = r[n->b] & n->i; break;
      case PK_I_EQI: r[n->a] = r[n->b] == n->i; break;
      case PK_I_NEI: r[n->a] = r[n->b] != n->i; break;
      case PK_I_LTI: r[n->a] = r[n->b] < n->i; break;
      case PK_I_LEI: r[n->a] = r[n->b] <= n->i; break;
      case PK_I_GTI: r[n->a] = r[n->b] > n->i; break;
      case PK_I_GEI: r[n->a] = r[n->b] >= n->i; break;
      case PK_I_NOT: r[n->a] = r[n->b] == 0; break;
      case PK_I_TABLE: r[n->a] = lookup(d, (uint32_t)n->i, r[n->b]); break;
      case PK_I_JUMP: pc = (uint32_t)n->i - 1; break;
      case PK_I_JZ:
        if (r[n->a] == 0) pc = (uint32_t)n->i - 1;
        break;
      case PK_I_JNZ:
        if (r[n->a] != 0) pc = (uint32_t)n->i - 1;
        break;
      case PK_I_JNE:
        if (r[n->a] != n->c) pc = (uint32_t)n->i - 1;
        break;
      case PK_I_ID:
        f->id = (uint64_t)r[n->a];
        if (d->codec.id_bytes < 8) f->id &= ((uint64_t)1 << (8 * d->codec.id_bytes)) - 1;
        break;
      case PK_I_NAMED:
        f->id_span = r[n->a] < 0 ? (pk_span){PK_NO_ID, 0} : (pk_span){(uint32_t)r[n->a], (uint32_t)r[n->a + 1]};
        break;
      case PK_I_KIND: f->kind = (uint8_t)n->i; break;
      case PK_I_STATUS: f->status = (uint8_t)r[n->a]; break;
      case PK_I_TIMEOUT: f->timeout_ms = milliseconds(r[n->a]); break;
      case PK_I_CONTEXT: f->context = (uint32_t)r[n->a]; break;
      case PK_I_KEY: f->upstream_key = (uint32_t)r[n->a]; break;
      case PK_I_SAVE: f->own[n->i] = (uint32_t)r[n->a]; break;
      case PK_I_EARLY:
        if (how == EARLY) return PK_OK;
        break;
      case PK_I_EMIT: case PK_I_EMIT_ID: case PK_I_EMIT_KEPT: case PK_I_EMIT_SIZE: case PK_I_EMIT_UVAR:
      case PK_I_EMIT_COUNT: case PK_I_EMIT_TEXT: case PK_I_END: return PK_OK;
      default: {
        int result = texts(d, &pc, m, data, f, out, h);
        if (result != PK_OK) FAIL(result, 0);
        pc--;
      }
    }
  }
}

/* The codec. */

static int frame_as(const declared *d, machine *m, const uint8_t *data, size_t size, uint32_t limit,
                    int how, pk_frame *f) {
  uint32_t failed;
  int result = run(d, d->program->frame, m, data, size, limit, how, f, NULL, NULL, &failed);
  if (result == PK_ERR_LIMIT || result == PK_ERR_FORMAT) {
    uint32_t wrong_at = f->error_at;
    if (failed >= d->program->answerable)
      run(d, d->program->meaning, m, data, size, limit, EARLY, f, NULL, NULL, &failed);
    f->error_at = wrong_at;
  }
  return result;
}

static inline int64_t at_place(const uint8_t *data, pk_program_place p) {
  const uint8_t *from = data + p.offset;
  switch (p.form) {
    case PK_PLACE_NONE: return 0;
    case PK_PLACE_1: return *from;
    case PK_PLACE_2: return (int64_t)get16(from);
    case PK_PLACE_4: return (int64_t)get32(from);
    case PK_PLACE_8: return (int64_t)get64(from);
    case PK_PLACE_2S: return (int16_t)get16(from);
    case PK_PLACE_4S: return (int32_t)get32(from);
    default: break;
  }
  uint64_t v = p.form & 1 ? little(from, p.width) : big(from, p.width);
  return p.form & 2 ? extend(v, p.width) : (int64_t)v;
}

static const quick_shape *tested_shape(const declared *d, const uint8_t *data, size_t size) {
  uint32_t next = d->program->root;
  while (!(next & PK_LEAF)) {
    const pk_program_test *t = &d->tests[next];
    if ((size_t)t->place.offset + t->place.width > size) return NULL;
    int64_t v = at_place(data, t->place);
    if (t->mask != 0) v &= (int64_t)t->mask;
    int holds = t->op == 0   ? v == t->value
                : t->op == 1 ? v < t->value
                : t->op == 2 ? v <= t->value
                : t->op == 3 ? v > t->value
                             : v >= t->value;
    next = holds ? t->yes : t->no;
  }
  return next == PK_NOWHERE ? NULL : &d->quick[next & ~PK_LEAF];
}

/* A place read without a branch: the eight bytes that end with it, shifted. */
static quick_place quick_of(pk_program_place p, uint32_t header) {
  uint32_t past = (uint32_t)p.offset + p.width;
  int plain = p.form != PK_PLACE_NONE && !(p.form & PK_PLACE_OTHER && p.form & 1) && past >= 8 && past <= header;
  int is_signed = p.form == PK_PLACE_2S || p.form == PK_PLACE_4S || (p.form & PK_PLACE_OTHER && p.form & 2);
  return (quick_place){.place = p,
                       .plain = (uint8_t)plain,
                       .at = (uint16_t)(plain ? past - 8 : 0),
                       .shift = (uint8_t)(plain ? 64 - 8 * p.width : 0),
                       .is_signed = (uint8_t)is_signed};
}

static inline int64_t quick_integer(const uint8_t *data, const quick_place *p, int plain) {
  if (!plain && !p->plain) return at_place(data, p->place);
  uint64_t v = get64(data + p->at) << p->shift;
  return p->is_signed ? (int64_t)v >> p->shift : (int64_t)(v >> p->shift);
}

static void quicken_section(const pk_program_shape *s, uint32_t k, int may_judge, quick_shape *q) {
  quick_section *one = &q->section[k];
  int64_t add = s->section[k].add;
  *one = (quick_section){.size = quick_of(s->section[k].size, s->header),
                         .own = (int8_t)s->section[k].own,
                         .add = s->section[k].add,
                         .most = UINT32_MAX};
  if (one->size.is_signed && s->section[k].size.width <= 4)
    one->most = ((uint32_t)1 << (8 * s->section[k].size.width - 1)) - 1;
  one->size.is_signed = 0;
  one->usual = one->most;
  if (s->quiet >> k & 1) { /* there has to be a look at what it holds */
    one->judged = 1;
    if (add > 0) q->header = UINT32_MAX;
    if (add <= 0 && -add < (int64_t)one->most) one->usual = (uint32_t)-add;
    q->loud = may_judge != 0;
  }
  q->plain &= one->size.plain;
}

static void quicken(declared *d) {
  const pk_program *p = d->program;
  for (uint32_t i = 0; i < p->maps.count; i++) {
    const pk_program_map *map = &d->maps[i];
    d->quick_maps[i].usual = map->kind == PK_MAP_PAIRS && (map->key_size & ~(uint32_t)SIGNED) == 4 &&
                             (map->value_size & ~(uint32_t)SIGNED) == 4;
    for (uint32_t k = map->first; k < map->first + map->count; k++) {
      pk_slice text = d->literals[d->keys[k].literal];
      quick_key **of = &d->quick_maps[i].of[text.size & 63];
      d->quick_keys[k] = (quick_key){text.data, text.size, d->keys[k].slice, *of};
      *of = &d->quick_keys[k];
    }
  }
  for (uint32_t i = 0; i < p->shapes.count; i++) {
    const pk_program_shape *s = &d->shapes[i];
    quick_shape *q = &d->quick[i];
    q->header = s->header;
    q->trailer = s->trailer;
    q->sections = s->sections;
    q->checked = s->checksum >= 0;
    q->sum_at = q->checked ? (uint32_t)s->checksum : 0;
    q->kind = s->kind;
    q->id_at = s->id_at;
    uint8_t form = p->id_bytes == 0 || p->id_max > 0 ? PK_PLACE_NONE : (uint8_t)(PK_PLACE_OTHER | p->id_little);
    q->id = quick_of((pk_program_place){s->id_at, (uint8_t)p->id_bytes, form}, s->header);
    q->context = s->variant;
    q->key = s->separate ? s->variant : 0;
    q->timed = s->timeout.width != 0;
    q->judged = s->status.width != 0;
    q->kept = s->kept;
    for (uint32_t k = 0; k < s->kept; k++) q->keep[k] = quick_of(s->keep[k], s->header);
    q->timeout = quick_of(s->timeout, s->header);
    q->status = quick_of(s->status, s->header);
    q->plain = (q->id.plain || p->id_bytes == 0) && (q->timeout.plain || !q->timed) && (q->status.plain || !q->judged);
    for (uint32_t k = 0; k < s->kept; k++) q->plain &= q->keep[k].plain;
    for (uint32_t k = 0; k < s->sections; k++) quicken_section(s, k, p->app_map != PK_NOWHERE, q);
  }
  if (p->tables.count > 0 && d->tables[p->status].count > 0) { /* OK, whatever its number */
    const pk_program_table *t = &d->tables[p->status];
    for (uint32_t i = t->count; i > 0; i--) {
      const pk_program_entry *e = &d->entries[t->first + i - 1];
      if (i == t->count || e->value == PK_STATUS_OK) d->usual_status = e->key, d->usual = (uint8_t)e->value;
    }
  }
}

/* Frames that begin alike have one shape: each thread remembers what the tests said of some beginnings. */
typedef struct memo {
  const declared *codec;
  uint64_t a, b;
  const quick_shape *shape;
} memo;
enum { MEMOS = 16 };
static __thread memo memos[MEMOS], latest;

static inline const quick_shape *shape_of(const declared *d, const uint8_t *data, size_t size) {
  uint64_t a, b;
  if (d->far || size < 16) return tested_shape(d, data, size);
  memcpy(&a, data, 8);
  memcpy(&b, data + 8, 8);
  a &= d->mask_a;
  b &= d->mask_b;
  if (latest.a == a && latest.b == b && latest.codec == d) return latest.shape;
  uint64_t mixed = (a ^ b * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
  memo *m = &memos[mixed >> 60];
  if (m->a != a || m->b != b || m->codec != d) *m = (memo){d, a, b, tested_shape(d, data, size)};
  latest = *m;
  return m->shape;
}

static __attribute__((noinline)) int is_app_error(const declared *d, const uint8_t *section, uint32_t size) {
  const pk_program_map *map = &d->maps[d->program->app_map];
  pk_slice text = d->literals[d->program->app_text];
  machine m;
  if (look(d, map, (pk_slice){section, size}, m.s) != PK_OK) return 0;
  pk_slice found = m.s[d->keys[map->first].slice];
  return found.data != NULL && found.size == text.size && memcmp(found.data, text.data, text.size) == 0;
}

/* `plain`: all its integers are. `judge`: a section that is usually empty need not be. */
static inline __attribute__((always_inline)) int shaped_frame(const declared *d, const quick_shape *s,
                                                              const uint8_t *data, size_t size, uint32_t limit,
                                                              int plain, int judge, pk_frame *f) {
  uint64_t end = s->header, judged_at = 0, judged = 0;
  for (const quick_section *one = s->section; one < s->section + s->sections; one++) {
    uint64_t length = (uint64_t)quick_integer(data, &one->size, plain);
    if (length > (judge ? one->most : one->usual)) return 0;
    length += (uint64_t)(int64_t)one->add;
    if (length > limit) return 0;
    if (one->own >= 0) {
      f->own[one->own] = (uint32_t)end;
      f->own[one->own + 1] = (uint32_t)length;
    }
    if (judge && one->judged) judged_at = end, judged = length;
    end += length;
  }
  uint64_t sum_at = end + s->sum_at;
  end += s->trailer;
  if (end > size || end > limit) return 0;
  if (s->checked) {
    if (get32(data + sum_at) != pk_crc32(0, data, sum_at)) return 0;
    f->flags = HAS_CHECKSUM | SEALED_AT_END;
  }
  f->size = (uint32_t)end;
  f->kind = s->kind;
  f->body = s->id_at;
  f->id = (uint64_t)quick_integer(data, &s->id, 0);
  f->context = s->context;
  f->upstream_key = s->key;
  for (uint32_t i = 0, shift = 8; i < s->kept; shift += 8u * s->keep[i].place.width, i++)
    f->context |= (uint32_t)quick_integer(data, &s->keep[i], plain) << shift;
  if (s->timed) f->timeout_ms = milliseconds(quick_integer(data, &s->timeout, plain));
  if (s->judged) {
    int64_t status = quick_integer(data, &s->status, plain);
    f->status = status == d->usual_status ? d->usual : (uint8_t)lookup(d, d->program->status, status);
  }
  if (judge && judged > 0 && f->status == PK_STATUS_OK && is_app_error(d, data + judged_at, (uint32_t)judged))
    f->status = PK_STATUS_APP_ERROR;
  return 1;
}

static __attribute__((noinline)) int loud_frame(const declared *d, const quick_shape *s, const uint8_t *data, size_t size,
                                                uint32_t limit, pk_frame *f) {
  return shaped_frame(d, s, data, size, limit, 0, 1, f);
}

/* A whole and right frame that has a shape; 0 for all others: what was written to *f is written again. */
static inline __attribute__((always_inline)) int quick_frame(const declared *d, const uint8_t *data, size_t size,
                                                             uint32_t limit, pk_frame *f) {
  const quick_shape *s = shape_of(d, data, size);
  if (s == NULL || size < s->header) return 0;
  if (s->plain ? shaped_frame(d, s, data, size, limit, 1, 0, f) : shaped_frame(d, s, data, size, limit, 0, 0, f))
    return 1;
  return s->loud && loud_frame(d, s, data, size, limit, f);
}

static __attribute__((noinline)) int frame_fully(const declared *d, const uint8_t *data, size_t size, uint32_t limit,
                                                 pk_frame *f) {
  machine m;
  return frame_as(d, &m, data, size, limit, FRAMING, f);
}

static int frame(const pk_codec *codec, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  const declared *d = declared_of(codec);
  return quick_frame(d, data, size, limit, f) ? PK_OK : frame_fully(d, data, size, limit, f);
}

/* The same where ids are byte strings: a shape has only those of fixed size. */
static int frame_named(const pk_codec *codec, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  machine m;
  if (!quick_frame(declared_of(codec), data, size, limit, f))
    return frame_as(declared_of(codec), &m, data, size, limit, FRAMING, f);
  f->id_span = (pk_span){f->body, codec->id_max};
  return PK_OK;
}

static int probe(const pk_codec *codec, const uint8_t *data, size_t size) {
  const declared *d = declared_of(codec);
  pk_frame f = {0};
  machine m;
  if (size == 0) return PK_MORE;
  int result = frame_as(d, &m, data, size, INT32_MAX, FRAMING, &f);
  if (result == PK_ERR_MAGIC) return PK_ERR_MAGIC;
  return result == PK_MORE && size < d->program->signature ? PK_MORE : PK_OK;
}

/* The registers that texts are found with. */
static int prepare(const declared *d, machine *m, const uint8_t *data, const pk_frame *f) {
  pk_frame again = {0};
  if (!d->program->rerun) return PK_OK;
  return frame_as(d, m, data, f->size, f->size, UNVERIFIED, &again);
}

static inline int find_texts(const declared *d, uint32_t pc, machine *m, const uint8_t *data, const pk_frame *f,
                             pk_destination *out, headers *h) {
  m->stepped = 0;
  int result = texts(d, &pc, m, data, f, out, h);
  if (result != PK_OK || d->insns[pc].op == PK_I_END) return result;
  pk_frame copy = *f;
  uint32_t failed;
  return run(d, pc, m, data, f->size, f->size, FRAMING, &copy, out, h, &failed);
}

/* PK_MORE: not all is there, and the program has to look from *pc on. */
static inline int direct(const declared *d, machine *m, const uint8_t *data, const pk_frame *f, pk_destination *out,
                         uint32_t *pc) {
  const pk_program_direct *t = &d->program->direct;
  pk_slice *const to[] = {&out->service, &out->method, &out->version, &out->group};
  if (f->own[t->own] == UINT32_MAX) return PK_MORE;
  int result = look(d, &d->maps[t->map], (pk_slice){data + f->own[t->own], f->own[t->own + 1]}, m->s);
  if (result != PK_OK) return result;
  *pc = t->after;
  for (const pk_program_text *one = t->text; one < t->text + 4 && one->count > 0; one++) {
    const pk_slice *from = &m->s[one->from[0]];
    for (uint32_t i = 1; i < one->count && from->data == NULL; i++) from = &m->s[one->from[i]];
    if (from->data == NULL && one->more) return PK_MORE;
    const uint8_t *at = from->data, *end = at == NULL ? NULL : at + from->size;
    pk_slice by = d->literals[one->separator];
    for (uint32_t i = 0; at != NULL; i++) {
      const uint8_t *past = i + 1 < one->parts ? find(at, end, by) : NULL;
      if (one->to[i] < 4) *to[one->to[i]] = (pk_slice){at, (uint32_t)((past == NULL ? end : past) - at)};
      at = past == NULL ? NULL : past + by.size;
    }
  }
  return PK_OK;
}

static int destination(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  const declared *d = declared_of(codec);
  uint32_t pc = d->program->destination;
  machine m;
  if (d->program->direct.map != PK_NOWHERE) {
    int result = direct(d, &m, data, f, out, &pc);
    if (result != PK_MORE) return result;
  }
  if (prepare(d, &m, data, f) != PK_OK) return PK_ERR_FORMAT;
  return find_texts(d, pc, &m, data, f, out, NULL);
}

static int next_header(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_cursor *c,
                       pk_header *out) {
  const declared *d = declared_of(codec);
  headers h = {{NULL, 0}, 0};
  machine m;
  if (d->program->headers == PK_NOWHERE) return PK_MORE;
  if (prepare(d, &m, data, f) != PK_OK) return PK_ERR_FORMAT;
  int result = find_texts(d, d->program->headers, &m, data, f, NULL, &h);
  if (result != PK_OK) return result;
  if (h.section.data == NULL) return PK_MORE;
  pairs in = {c->at == 0 ? h.section.data : data + c->at, h.section.data + h.section.size};
  do {
    result = next_pair(d, &d->maps[h.map], &in, &out->key, &out->value);
    if (result != PK_OK) return result;
  } while (out->key.data == NULL);
  c->at = (uint32_t)(in.at - data);
  out->raw = out->value.data == NULL; /* null is no text */
  return PK_OK;
}

/* Make the checksums of a whole frame right. */
static void seal(const declared *d, uint8_t *data, uint32_t size) {
  pk_frame f = {0};
  machine m;
  if (frame_as(d, &m, data, size, size, UNVERIFIED, &f) != PK_OK || !(f.flags & HAS_CHECKSUM)) return;
  for (uint32_t i = 0; i < d->program->checksums.count; i++) {
    const pk_program_checksum *c = &d->checksums[i];
    if (m.r[c->at] != 0) put(data + m.r[c->at], checksum_of(d, c, &m, data), 4, (int)c->little);
  }
}

static inline void reseal(const declared *d, uint8_t *data, uint32_t size, uint32_t flags) {
  if (flags & SEALED_AT_END) {
    put(data + size - 4, pk_crc32(0, data, size - 4), 4, 0);
  } else if (flags & HAS_CHECKSUM) {
    seal(d, data, size);
  }
}

static void patch_id(const pk_codec *codec, uint8_t *data, const pk_frame *f, uint64_t id) {
  const declared *d = declared_of(codec);
  if (d->id_form == PK_PLACE_4) {
    uint32_t swapped = __builtin_bswap32((uint32_t)id);
    memcpy(data + f->body, &swapped, 4);
  } else if (d->id_form == PK_PLACE_8) {
    uint64_t swapped = __builtin_bswap64(id);
    memcpy(data + f->body, &swapped, 8);
  } else {
    put(data + f->body, id, codec->id_bytes, (int)d->program->id_little);
  }
  reseal(d, data, f->size, f->flags);
}

/* An integer that counts the id: written again with `more` added. 0 where it does not fit. */
static int recount(uint8_t *p, uint32_t form, int64_t more) {
  uint32_t bytes = form & 15, bits = 8 * bytes - (form & SIGNED ? 1 : 0);
  uint64_t raw = form & LITTLE ? little(p, bytes) : big(p, bytes);
  int64_t v = (form & SIGNED ? extend(raw, bytes) : (int64_t)raw) + more;
  if (v < 0 || (bits < 63 && v >> bits != 0)) return 0;
  put(p, (uint64_t)v, bytes, (form & LITTLE) != 0);
  return 1;
}

static uint32_t put_varint(uint8_t *p, uint64_t v) {
  uint32_t n = 0;
  for (; v >= 0x80; v >>= 7) p[n++] = (uint8_t)(v | 0x80);
  p[n++] = (uint8_t)v;
  return n;
}

/* What stands in front of the id, with the varint at `from` written again; gives back its size. */
static size_t splice_varint(const uint8_t *data, size_t size, size_t from, int64_t more, uint8_t *out) {
  uint64_t count = 0;
  size_t end = from;
  do count |= (uint64_t)(data[end] & 0x7f) << (7 * (end - from));
  while (data[end++] & 0x80);
  memcpy(out, data, from);
  from += put_varint(out + from, count + (uint64_t)more);
  memcpy(out + from, data + end, size - end);
  return from + size - end;
}

static int splice_id(const pk_codec *codec, const uint8_t *data, const pk_frame *f, const uint8_t *id,
                     uint32_t id_size, uint8_t *out, size_t cap) {
  const declared *d = declared_of(codec);
  const pk_program *p = d->program;
  pk_span old = f->id_span;
  pk_frame again = {0};
  machine m;
  if (old.at == PK_NO_ID || id_size > p->id_max || (p->id_fixed && id_size != p->id_max)) return PK_ERR_UNSUPPORTED;
  if (cap < pk_id_room(codec, f->size)) return PK_ERR_SPACE;
  int64_t more = (int64_t)id_size - old.size;
  uint32_t counters = more != 0 ? p->counters.count : 0;
  if (counters > 0 && frame_as(d, &m, data, f->size, f->size, UNVERIFIED, &again) != PK_OK) return PK_ERR_UNSUPPORTED;
  size_t at = old.at, behind = f->size - old.at - old.size;
  if (counters > 0 && d->counters[0].form == 0 && m.r[d->counters[0].at] >= 0) {
    at = splice_varint(data, old.at, (size_t)m.r[d->counters[0].at], more, out);
  } else {
    memcpy(out, data, at);
  }
  if (id_size > 0) memcpy(out + at, id, id_size);
  memcpy(out + at + id_size, data + old.at + old.size, behind);
  if (p->id_delimiter != PK_NOWHERE) { /* it is the first that ends the id */
    const uint8_t *end = out + at + id_size;
    if (find(out + at, end + behind, d->literals[p->id_delimiter]) != end) return PK_ERR_UNSUPPORTED;
  }
  for (uint32_t i = 0; i < counters; i++) {
    int64_t place = m.r[d->counters[i].at];
    if (place < 0 || d->counters[i].form == 0) continue;
    if (!recount(out + place + (place < old.at ? 0 : more), d->counters[i].form, more)) return PK_ERR_UNSUPPORTED;
  }
  uint32_t size = (uint32_t)(at + id_size + behind);
  reseal(d, out, size, f->flags);
  return (int)size;
}

/* Replies. */

typedef struct text {
  uint8_t data[ENCODED_MAX];
  uint32_t size, units;
} text;

static void text_add(text *t, const uint8_t *data, uint32_t size) {
  memcpy(t->data + t->size, data, size);
  t->size += size;
}

static void encode(text *t, uint32_t encoding, const char *raw, size_t size) {
  static const char hex[] = "0123456789abcdef";
  t->size = t->units = 0;
  if (size > TEXT_MAX) size = TEXT_MAX;
  for (size_t i = 0; i < size;) {
    const uint8_t *p = (const uint8_t *)raw + i;
    uint32_t width = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc0 ? 2 : 0;
    if (width == 0 || i + width > size) break; /* cut in the middle of a character */
    t->units += width == 4 ? 2 : 1;
    if (encoding == PK_TEXT_JSON && (*p < 0x20 || *p == '"' || *p == '\\')) {
      const uint8_t escape[6] = {'\\', 'u', '0', '0', (uint8_t)hex[*p >> 4], (uint8_t)hex[*p & 15]};
      text_add(t, escape, 6);
    } else if (encoding == PK_TEXT_HESSIAN && width == 4) { /* each surrogate alone */
      uint32_t code = ((p[0] & 7u) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u)) - 0x10000;
      const uint32_t two[2] = {0xd800 + (code >> 10 & 0x3ff), 0xdc00 + (code & 0x3ff)};
      for (int k = 0; k < 2; k++) {
        const uint8_t bytes[3] = {(uint8_t)(0xe0 | two[k] >> 12), (uint8_t)(0x80 | (two[k] >> 6 & 63)),
                                  (uint8_t)(0x80 | (two[k] & 63))};
        text_add(t, bytes, 3);
      }
    } else {
      text_add(t, p, width);
    }
    i += width;
  }
}

/* A text that a delimiter ends has none of its bytes. */
static void without(text *t, pk_slice delimiter) {
  uint8_t instead = delimiter.size > 0 && memchr(delimiter.data, ' ', delimiter.size) != NULL ? '_' : ' ';
  for (uint32_t i = 0; i < t->size && delimiter.size > 0; i++)
    if (memchr(delimiter.data, t->data[i], delimiter.size) != NULL) t->data[i] = instead;
}

static int reply(const declared *d, uint32_t variant, uint32_t which, uint64_t id, uint32_t context,
                 const char *raw, size_t raw_size, uint8_t *out, size_t cap) {
  uint32_t pc = d->replies[(variant < d->program->variants ? variant : 0) * PK_REPLIES + which];
  size_t n = 0;
  text t;
  if (pc == PK_NOWHERE) return 0;
  encode(&t, d->program->text_encoding, raw, raw_size);
  for (;; pc++) {
    const pk_insn *in = &d->insns[pc];
    uint64_t size = (uint64_t)in->i + t.size;
    pk_slice literal = {NULL, 0};
    uint8_t varint[10];
    uint32_t bytes = in->b;
    switch (in->op) {
      case PK_I_EMIT:
        literal = d->literals[in->i];
        bytes = literal.size;
        break;
      case PK_I_EMIT_TEXT:
        without(&t, d->literals[in->i]);
        literal = (pk_slice){t.data, t.size}, bytes = t.size;
        break;
      case PK_I_EMIT_UVAR:
        for (bytes = 0; size >= 0x80; size >>= 7) varint[bytes++] = (uint8_t)(size | 0x80);
        varint[bytes++] = (uint8_t)size;
        literal = (pk_slice){varint, bytes};
        break;
      default: break;
    }
    if (in->op == PK_I_END) break;
    if (cap - n < bytes) return PK_ERR_SPACE;
    if (literal.data != NULL) {
      memcpy(out + n, literal.data, bytes);
    } else if (in->op == PK_I_EMIT_ID) {
      put(out + n, id, bytes, in->c & 1);
    } else if (in->op == PK_I_EMIT_KEPT) {
      put(out + n, context >> (in->c & 31), bytes, in->c >> 5);
    } else if (in->op == PK_I_EMIT_SIZE) {
      put(out + n, size, bytes, in->c & 1);
    } else if (in->op == PK_I_EMIT_COUNT) {
      put(out + n, in->c & 2 ? t.units : t.size, bytes, in->c & 1);
    }
    n += bytes;
  }
  if (d->program->checksums.count > 0) seal(d, out, (uint32_t)n);
  return (int)n;
}

static int heartbeat(const pk_codec *codec, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  return reply(declared_of(codec), key, PK_REPLY_HEARTBEAT, id, key, "", 0, out, cap);
}

static int heartbeat_ack(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint8_t *out,
                         size_t cap) {
  (void)data;
  return reply(declared_of(codec), f->context & 0xff, PK_REPLY_ACK, f->id, f->context, "", 0, out, cap);
}

static int drain(const pk_codec *codec, uint32_t context, uint8_t *out, size_t cap) {
  return reply(declared_of(codec), context & 0xff, PK_REPLY_DRAIN, 0, context, "", 0, out, cap);
}

static int error(const pk_codec *codec, uint32_t status, uint64_t id, uint32_t context, const char *raw,
                 size_t raw_size, uint8_t *out, size_t cap) {
  return reply(declared_of(codec), context & 0xff, PK_REPLY_ERROR + status, id, context, raw, raw_size, out,
               cap);
}

static int greeting(const pk_codec *codec, uint32_t step, uint32_t context, uint8_t *out, size_t cap) {
  return reply(declared_of(codec), context & 0xff, PK_REPLY_GREETING + step, 0, context, "", 0, out, cap);
}

/* Loading. */

static int in_image(const pk_program *p, pk_program_range range, size_t item) {
  return range.at % 8 == 0 && range.at <= p->size && range.count <= (p->size - range.at) / item;
}

static const char *bad_literal(const pk_program *p) {
  const pk_program_literal *l = (const void *)((const uint8_t *)p + p->literals.at);
  for (uint32_t i = 0; i < p->literals.count; i++)
    if (l[i].at > p->size || l[i].size > p->size - l[i].at) return "a literal is outside of the image";
  return NULL;
}

static uint32_t most_of(const pk_program *p, uint8_t op) {
  switch (op) {
    case PK_I_UNTIL: return p->delimiters.count;
    case PK_I_VERIFY: return p->checksums.count;
    case PK_I_CONST: return p->constants.count;
    case PK_I_TABLE: return p->tables.count;
    case PK_I_MAGIC: case PK_I_LITERAL: case PK_I_SPLIT: case PK_I_SAME: case PK_I_EMIT:
    case PK_I_EMIT_TEXT: return p->literals.count;
    case PK_I_LOOK: case PK_I_HEADERS: return p->maps.count;
    case PK_I_STEP: return p->steps.count;
    case PK_I_SAVE: return 4;
    case PK_I_OWN: return 3;
    case PK_I_TO: return PK_NO_TEXT + 1;
    case PK_I_JUMP: case PK_I_JZ: case PK_I_JNZ: case PK_I_JNE: case PK_I_JTEXT:
    case PK_I_TAKE: return p->insns.count;
    default: return INT32_MAX;
  }
}

static const char *bad_insns(const declared *d) {
  const pk_program *p = d->program;
  if (p->insns.count == 0 || d->insns[p->insns.count - 1].op != PK_I_END) return "the program does not end";
  for (uint32_t i = 0; i < p->insns.count; i++) {
    const pk_insn *n = &d->insns[i];
    int jumps = n->op == PK_I_JUMP || n->op == PK_I_JZ || n->op == PK_I_JNZ ||
                n->op == PK_I_JNE || n->op == PK_I_JTEXT || n->op == PK_I_TAKE;
    if (n->op >= PK_I_COUNT) return "an instruction is unknown";
    int negative = n->op == PK_I_SET || (n->op >= PK_I_ADDI && n->op <= PK_I_GEI) || n->op == PK_I_BITS;
    if (!negative && (n->i < 0 || (uint32_t)n->i >= most_of(p, n->op)))
      return "an instruction's index is out of range";
    if (jumps && (uint32_t)n->i <= i) return "a jump goes backward";
    if ((n->op == PK_I_LOAD || n->op == PK_I_UVAR) && (n->b < 1 || n->b > 8 || (n->op == PK_I_UVAR && n->b > 5)))
      return "an integer's width is out of range";
    if (n->op == PK_I_SUM && ((n->c & 15) < 1 || (n->c & 15) > 8)) return "an integer's width is out of range";
    if (n->op >= PK_I_EMIT && n->op < PK_I_END && n->b > 8) return "a reply's integer is too wide";
  }
  return NULL;
}

static int leads_on(const pk_program *p, uint32_t next, uint32_t from) {
  if (next == PK_NOWHERE) return 1;
  return next & PK_LEAF ? (next & ~PK_LEAF) < p->shapes.count : next > from && next < p->tests.count;
}

/* Tests lead forward; a shape's fields stand inside its header. */
static const char *bad_shapes(const declared *d) {
  const pk_program *p = d->program;
  if (p->root != PK_NOWHERE && !(p->root & PK_LEAF) && p->root >= p->tests.count) return "the root is out of range";
  if (p->root & PK_LEAF && !leads_on(p, p->root, 0)) return "the root is out of range";
  for (uint32_t i = 0; i < p->tests.count; i++)
    if (d->tests[i].place.width > 8 || !leads_on(p, d->tests[i].yes, i) || !leads_on(p, d->tests[i].no, i))
      return "a test leads nowhere";
  for (uint32_t i = 0; i < p->shapes.count; i++) {
    const pk_program_shape *s = &d->shapes[i];
    pk_program_place all[5 + PK_SHAPE_SECTIONS];
    memcpy(all, &s->timeout, sizeof s->timeout);
    all[1] = s->status;
    memcpy(all + 2, s->keep, sizeof s->keep);
    if (s->sections > PK_SHAPE_SECTIONS || s->kept > 3 || s->variant >= p->variants) return "a shape is wrong";
    if (s->id_at + (p->id_max > 0 ? p->id_max : p->id_bytes) > s->header || s->header > INT32_MAX || s->trailer > INT32_MAX)
      return "a shape is wrong";
    if (s->checksum >= 0 && (uint32_t)s->checksum + 4 != s->trailer) return "a shape is wrong";
    for (uint32_t k = 0; k < PK_SHAPE_SECTIONS; k++) {
      all[5 + k] = s->section[k].size;
      if (s->section[k].own > 2 || s->section[k].own < -1) return "a shape is wrong";
    }
    for (uint32_t k = 0; k < 5 + PK_SHAPE_SECTIONS; k++)
      if (all[k].width > 8 || (uint32_t)all[k].offset + all[k].width > s->header) return "a shape is wrong";
    if (s->status.width != 0 && p->status >= p->tables.count) return "a shape is wrong";
  }
  return NULL;
}

static int bad_direct(const declared *d) {
  const pk_program *p = d->program;
  const pk_program_direct *t = &p->direct;
  if (t->map == PK_NOWHERE) return 0;
  if (p->rerun || t->map >= p->maps.count || t->own > 2 || t->after >= p->insns.count) return 1;
  for (const pk_program_text *one = t->text; one < t->text + 4; one++) {
    if (one->count > 3 || one->parts > 4 || one->separator >= p->literals.count) return 1;
    if (one->parts > 1 && d->literals[one->separator].size == 0) return 1;
  }
  return 0;
}

static const char *bad_indexes(const declared *d) {
  const pk_program *p = d->program;
  const uint32_t starts[] = {p->frame, p->meaning, p->destination};
  for (size_t i = 0; i < 3; i++)
    if (starts[i] >= p->insns.count) return "an entry is out of range";
  if (p->headers != PK_NOWHERE && p->headers >= p->insns.count) return "an entry is out of range";
  for (uint32_t i = 0; i < p->replies.count; i++)
    if (d->replies[i] != PK_NOWHERE && d->replies[i] >= p->insns.count) return "a reply is out of range";
  if (p->variants == 0 || p->variants > 255 || p->replies.count != p->variants * PK_REPLIES)
    return "replies and variants do not fit";
  for (uint32_t i = 0; i < p->delimiters.count; i++)
    if (d->delimiters[i].literal >= p->literals.count || d->literals[d->delimiters[i].literal].size == 0)
      return "a delimiter is out of range";
  for (uint32_t i = 0; i < p->tables.count; i++)
    if (d->tables[i].first > p->entries.count || d->tables[i].count > p->entries.count - d->tables[i].first)
      return "a table is out of range";
  for (uint32_t i = 0; i < p->maps.count; i++) {
    const pk_program_map *m = &d->maps[i];
    if (m->first > p->keys.count || m->count > p->keys.count - m->first) return "a map is out of range";
    if (m->kind == PK_MAP_LINES &&
        (m->between >= p->literals.count || m->after >= p->literals.count ||
         d->literals[m->between].size == 0 || d->literals[m->after].size == 0))
      return "a map's separator is out of range";
    if ((m->key_size & 15) > 8 || (m->value_size & 15) > 8) return "a map's length is too wide";
  }
  for (uint32_t i = 0; i < p->keys.count; i++)
    if (d->keys[i].literal >= p->literals.count || d->keys[i].slice > 255) return "a key is out of range";
  for (uint32_t i = 0; i < p->steps.count; i++)
    if (d->steps[i].function == 0 || d->steps[i].first > p->literals.count ||
        d->steps[i].count > p->literals.count - d->steps[i].first)
      return "a step is out of range";
  if (p->app_map != PK_NOWHERE &&
      (p->app_map >= p->maps.count || d->maps[p->app_map].count != 1 || p->app_text >= p->literals.count))
    return "what an application error is is out of range";
  if (bad_direct(d)) return "the direct destination is out of range";
  for (uint32_t i = 0; i < p->checksums.count; i++)
    if (d->checksums[i].at > 255 || d->checksums[i].first > p->operands.count ||
        d->checksums[i].count > p->operands.count - d->checksums[i].first)
      return "a checksum is out of range";
  for (uint32_t i = 0; i < p->operands.count; i++)
    if (d->operands[i] > 255) return "an operand is out of range";
  for (uint32_t i = 0; i < p->counters.count; i++) {
    const pk_program_counter *c = &d->counters[i];
    if (c->at > 255 || (c->form & 15) > 8 || ((c->form & 15) == 0 && (c->form != 0 || p->counters.count > 1)))
      return "a counter of the id is out of range";
  }
  if (p->id_max > PK_ID_MAX || (p->id_delimiter != PK_NOWHERE && p->id_delimiter >= p->literals.count))
    return "the id is out of range";
  return bad_shapes(d);
}

static const char *bad_image(const pk_program *p, size_t size) {
  if (size < sizeof *p || p->magic != PK_PROGRAM_MAGIC || p->size != size) return "it is no program";
  if (p->greeting_steps > PK_GREETING_STEPS || p->reserved_count > 4 || p->id_bytes > 8 || p->name >= p->literals.count) return "its header is wrong";
  if (!in_image(p, p->insns, sizeof(pk_insn)) || !in_image(p, p->constants, 8) ||
      !in_image(p, p->literals, sizeof(pk_program_literal)) ||
      !in_image(p, p->delimiters, sizeof(pk_program_delimiter)) ||
      !in_image(p, p->tables, sizeof(pk_program_table)) ||
      !in_image(p, p->entries, sizeof(pk_program_entry)) ||
      !in_image(p, p->maps, sizeof(pk_program_map)) || !in_image(p, p->keys, sizeof(pk_program_key)) ||
      !in_image(p, p->steps, sizeof(pk_program_step)) ||
      !in_image(p, p->checksums, sizeof(pk_program_checksum)) || !in_image(p, p->operands, 4) ||
      !in_image(p, p->replies, 4) || !in_image(p, p->tests, sizeof(pk_program_test)) ||
      !in_image(p, p->shapes, sizeof(pk_program_shape)) ||
      !in_image(p, p->counters, sizeof(pk_program_counter)))
    return "an array is outside of the image";
  return bad_literal(p);
}

static declared *loaded(const void *image, size_t size) {
  uint32_t literals = ((const pk_program *)image)->literals.count;
  declared *d = calloc(1, sizeof *d);
  uint8_t *copy = malloc(size);
  pk_slice *slices = calloc(literals + 1, sizeof *slices);
  quick_shape *quick = calloc(((const pk_program *)image)->shapes.count + 1, sizeof *quick);
  quick_key *keys = calloc(((const pk_program *)image)->keys.count + 1, sizeof *keys);
  quick_map *maps = calloc(((const pk_program *)image)->maps.count + 1, sizeof *maps);
  if (d == NULL || copy == NULL || slices == NULL || quick == NULL || keys == NULL || maps == NULL) {
    free(maps);
    free(keys);
    free(quick);
    free(d);
    free(copy);
    free(slices);
    return NULL;
  }
  memcpy(copy, image, size);
  const pk_program *p = (const void *)copy;
  const pk_program_literal *l = (const void *)(copy + p->literals.at);
  for (uint32_t i = 0; i < literals; i++) slices[i] = (pk_slice){copy + l[i].at, l[i].size};
  *d = (declared){.program = p,
                  .insns = (const void *)(copy + p->insns.at),
                  .constants = (const void *)(copy + p->constants.at),
                  .delimiters = (const void *)(copy + p->delimiters.at),
                  .tables = (const void *)(copy + p->tables.at),
                  .entries = (const void *)(copy + p->entries.at),
                  .maps = (const void *)(copy + p->maps.at),
                  .keys = (const void *)(copy + p->keys.at),
                  .steps = (const void *)(copy + p->steps.at),
                  .checksums = (const void *)(copy + p->checksums.at),
                  .operands = (const void *)(copy + p->operands.at),
                  .replies = (const void *)(copy + p->replies.at),
                  .tests = (const void *)(copy + p->tests.at),
                  .shapes = (const void *)(copy + p->shapes.at),
                  .counters = (const void *)(copy + p->counters.at),
                  .quick = quick,
                  .quick_keys = keys,
                  .quick_maps = maps,
                  .literals = slices};
  return d;
}

const pk_codec *pk_declared_new(const void *image, size_t size, const char **why) {
  *why = bad_image(image, size);
  if (*why != NULL) return NULL;
  declared *d = loaded(image, size);
  *why = d == NULL ? "out of memory" : bad_insns(d);
  if (*why == NULL) *why = bad_indexes(d);
  if (*why != NULL) {
    if (d != NULL) {
      free((void *)(uintptr_t)d->program);
      free(d->literals);
      free(d->quick);
      free(d->quick_keys);
      free(d->quick_maps);
    }
    free(d);
    return NULL;
  }
  const pk_program *p = d->program;
  static const uint8_t forms[9] = {0, PK_PLACE_1, PK_PLACE_2, 0, PK_PLACE_4, 0, 0, 0, PK_PLACE_8};
  d->id_form = forms[p->id_bytes] != 0 && !p->id_little ? forms[p->id_bytes]
                                                        : (uint8_t)(PK_PLACE_OTHER | p->id_little);
  quicken(d);
  d->far = p->tested > 16;
  uint8_t looked[16] = {0};
  for (uint32_t i = 0; i < p->tests.count; i++)
    for (uint32_t k = 0; k < d->tests[i].place.width; k++)
      if (d->tests[i].place.offset + k < 16) looked[d->tests[i].place.offset + k] = 0xff;
  memcpy(&d->mask_a, looked, 8);
  memcpy(&d->mask_b, looked + 8, 8);
  d->codec = (pk_codec){.abi = PK_CODEC_ABI,
                        .size = sizeof(pk_codec),
                        .name = (const char *)d->literals[p->name].data,
                        .user = d,
                        .mode = p->mode,
                        .id_bytes = p->id_bytes,
                        .reserved_count = p->reserved_count,
                        .reply_max = p->reply_max,
                        .probe = probe,
                        .frame = p->id_max > 0 ? frame_named : frame,
                        .destination = destination,
                        .next_header = next_header,
                        .patch_id = p->id_max > 0 ? NULL : patch_id,
                        .heartbeat = heartbeat,
                        .heartbeat_ack = heartbeat_ack,
                        .drain = drain,
                        .error = error,
                        .greeting_steps = p->greeting_steps,
                        .greeting_server = p->greeting_server,
                        .greeting = p->greeting_steps > 0 ? greeting : NULL,
                        .pinned = p->pinned,
                        .id_max = p->id_max,
                        .id_fixed = p->id_fixed,
                        .id_form = p->id_form,
                        .splice_id = splice_id};
  memcpy(d->codec.reserved_ids, p->reserved, sizeof p->reserved);
  return &d->codec;
}

#define X(name) #name " "
const char *pk_instruction_names(void) { return PK_INSTRUCTIONS(X); }
#undef X
