/* declared.c: the codec of every declared wire format: an interpreter of programs (program.h). */
#include "wire/declared.h"

#include <stdlib.h>

#include "base/checksum.h"
#include "wire/codec_check.h"
#include "wire/ident.h"

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
    if (m->r[reg] >= 0) crc = pk_crc32(crc, data + m->r[reg], (size_t)m->r[reg + 1]);
  }
  return crc;
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
        if ((uint64_t)length > (at < limit ? limit - at : 0)) {
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
        if ((uint64_t)count > (at < limit ? limit - at : 0) / bytes) FAIL(PK_ERR_LIMIT, at);
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
        const uint8_t *found = at < seen ? pk_declared_find(data + at, data + seen, by) : NULL;
        if (found == NULL) {
          if (seen == most) FAIL(PK_ERR_LIMIT, at);
          if (size + 1 > limit) FAIL(PK_ERR_LIMIT, at);
          uint64_t least = at + by.size;
          if (least > limit) FAIL(PK_ERR_LIMIT, at);
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
        if (n->c != 0) r[n->i] = (int64_t)at;
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
      case PK_I_SPAN:
        r[n->a] = (int64_t)at + n->i;
        r[n->a + 1] = n->b << 8 | n->c;
        break;
      case PK_I_MARK: r[n->a] = (int64_t)at + n->i; break;
      case PK_I_ABSENT:
        r[n->a] = -1;
        r[n->a + 1] = 0;
        break;
      case PK_I_NOPLACE: r[n->a] = -1; break;
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
        if (r[c->at] < 0) break;
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
      case PK_I_SAVE:
        f->own[n->i] = (uint32_t)r[n->a];
        f->own[n->i + 1] = (uint32_t)r[n->a + 1];
        break;
      case PK_I_EARLY:
        if (how == EARLY) return PK_OK;
        break;
      case PK_I_EMIT: case PK_I_EMIT_ID: case PK_I_EMIT_KEPT: case PK_I_EMIT_SIZE: case PK_I_EMIT_UVAR:
      case PK_I_EMIT_COUNT: case PK_I_EMIT_TEXT: case PK_I_END: return PK_OK;
      default: {
        int result = pk_declared_texts(d, &pc, m, data, f, out, h);
        if (result != PK_OK) FAIL(result, 0);
        pc--;
      }
    }
  }
}

/* The codec. */

/* Whether the frame ends with the bytes that were missed there: a trailer of fixed size. */
static int is_last(const declared *d, uint32_t pc) {
  const pk_insn *missed = &d->insns[pc];
  int64_t left = missed->op == PK_I_NEED ? missed->i : 0;
  if (missed->op == PK_I_WHOLE) return 1;
  for (uint32_t steps = 0; missed->op == PK_I_NEED && steps < 64; steps++) {
    const pk_insn *n = &d->insns[++pc];
    switch (n->op) {
      case PK_I_SKIP: left -= (uint32_t)n->i; break;
      case PK_I_JUMP: pc = (uint32_t)n->i - 1; break;
      case PK_I_WHOLE: return left == 0;
      case PK_I_LOAD: case PK_I_LOAD1: case PK_I_LOAD2: case PK_I_LOAD4: case PK_I_LOAD8: case PK_I_LOAD2S:
      case PK_I_LOAD4S: case PK_I_IDAT: case PK_I_SET: case PK_I_MOVE: case PK_I_BITS: case PK_I_MARK: break;
      default: return 0;
    }
  }
  return 0;
}

static int frame_as(const declared *d, machine *m, const uint8_t *data, size_t size, uint32_t limit,
                    int how, pk_frame *f) {
  uint32_t failed;
  f->own[0] = f->own[2] = UINT32_MAX; /* what the program does not say is not there */
  f->body = PK_NO_ID;
  if (d->program->id_max > 0) f->id_span = (pk_span){PK_NO_ID, 0};
  int result = run(d, d->program->frame, m, data, size, limit, how, f, NULL, NULL, &failed);
  if (result == PK_ERR_LIMIT || result == PK_ERR_FORMAT) {
    uint32_t wrong_at = f->error_at;
    uint32_t wrong = failed;
    if (result == PK_ERR_LIMIT) {
      pk_frame whole = {0};
      f->need = 0;
      /* Without a limit it gets to its end exactly where all that tells its size is there. */
      if (run(d, d->program->frame, m, data, size, UINT32_MAX, how, &whole, NULL, NULL, &failed) == PK_MORE &&
          is_last(d, failed))
        f->size = f->need = whole.need;
    }
    if (wrong >= d->program->answerable)
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
    q->absent = s->absent;
    for (uint32_t k = 0; k < s->kept; k++) q->keep[k] = quick_of(s->keep[k], s->header);
    q->timeout = quick_of(s->timeout, s->header);
    q->status = quick_of(s->status, s->header);
    q->plain = (q->id.plain || p->id_bytes == 0) && (q->timeout.plain || !q->timed) && (q->status.plain || !q->judged);
    for (uint32_t k = 0; k < s->kept; k++) q->plain &= q->keep[k].plain;
    for (uint32_t k = 0; k < s->sections; k++) quicken_section(s, k, p->app_map != PK_NOWHERE, q);
  }
  if (p->tables.count > 0) { /* OK, whatever its number */
    const pk_program_table *t = &d->tables[p->status];
    d->usual = (uint8_t)lookup(d, p->status, 0);
    for (uint32_t i = t->count; i > 0; i--) {
      const pk_program_entry *e = &d->entries[t->first + i - 1];
      if (i == t->count || e->value == PK_STATUS_OK) d->usual_status = e->key, d->usual = (uint8_t)e->value;
    }
  }
}

/* Frames that begin alike have one shape: each thread remembers what the tests said of some beginnings. */
typedef struct memo {
  uint64_t serial; /* of the codec */
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
  if (latest.a == a && latest.b == b && latest.serial == d->loaded.serial) return latest.shape;
  uint64_t mixed = (a ^ b * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
  memo *m = &memos[mixed >> 60];
  if (m->a != a || m->b != b || m->serial != d->loaded.serial)
    *m = (memo){d->loaded.serial, a, b, tested_shape(d, data, size)};
  latest = *m;
  return m->shape;
}

static __attribute__((noinline)) int is_app_error(const declared *d, const uint8_t *section, uint32_t size) {
  const pk_program_map *map = &d->maps[d->program->app_map];
  pk_slice text = d->literals[d->program->app_text];
  machine m;
  if (pk_declared_look(d, map, (pk_slice){section, size}, m.s) != PK_OK) return 0;
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
  if (s->absent)
    for (uint32_t i = 0; i < 2; i++)
      if (s->absent >> i & 1) f->own[2 * i] = UINT32_MAX;
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
  int result = pk_declared_texts(d, &pc, m, data, f, out, h);
  if (result != PK_OK || d->insns[pc].op == PK_I_END) return result;
  pk_frame copy = *f;
  uint32_t failed;
  return run(d, pc, m, data, f->size, f->size, FRAMING, &copy, out, h, &failed);
}

static int destination(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  const declared *d = declared_of(codec);
  machine m;
  if (prepare(d, &m, data, f) != PK_OK) return PK_ERR_FORMAT;
  return find_texts(d, d->program->destination, &m, data, f, out, NULL);
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
    result = pk_declared_next_pair(d, &d->maps[h.map], &in, &out->key, &out->value);
    if (result != PK_OK) return result;
  } while (out->key.data == NULL);
  c->at = (uint32_t)(in.at - data);
  out->raw = out->value.data == NULL; /* null is no text */
  return PK_OK;
}

void pk_declared_seal(const declared *d, uint8_t *data, uint32_t size) {
  pk_frame f = {0};
  machine m;
  if (frame_as(d, &m, data, size, size, UNVERIFIED, &f) != PK_OK || !(f.flags & HAS_CHECKSUM)) return;
  for (uint32_t i = 0; i < d->program->checksums.count; i++) {
    const pk_program_checksum *c = &d->checksums[i];
    if (m.r[c->at] >= 0) put(data + m.r[c->at], checksum_of(d, c, &m, data), 4, (int)c->little);
  }
}

static inline void reseal(const declared *d, uint8_t *data, uint32_t size, uint32_t flags) {
  if (flags & SEALED_AT_END) {
    put(data + size - 4, pk_crc32(0, data, size - 4), 4, 0);
  } else if (flags & HAS_CHECKSUM) {
    pk_declared_seal(d, data, size);
  }
}

static void patch_id(const pk_codec *codec, uint8_t *data, const pk_frame *f, uint64_t id) {
  const declared *d = declared_of(codec);
  if (f->body == PK_NO_ID) return; /* this frame has none */
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

/* What stands in front of the id, with the varint at `from` written again; gives back its size, 0 where the varint
 * stands elsewhere. */
static size_t splice_varint(const uint8_t *data, size_t size, size_t from, int64_t more, uint8_t *out) {
  uint64_t count = 0;
  size_t end = from;
  do {
    if (end >= size) return 0;
    count |= (uint64_t)(data[end] & 0x7f) << (7 * (end - from));
  } while (data[end++] & 0x80);
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
    if (at == 0) return PK_ERR_UNSUPPORTED;
  } else {
    memcpy(out, data, at);
  }
  if (id_size > 0) memcpy(out + at, id, id_size);
  memcpy(out + at + id_size, data + old.at + old.size, behind);
  if (p->id_delimiter != PK_NOWHERE) { /* it is the first that ends the id */
    const uint8_t *end = out + at + id_size;
    if (pk_declared_find(out + at, end + behind, d->literals[p->id_delimiter]) != end) return PK_ERR_UNSUPPORTED;
  }
  for (uint32_t i = 0; i < counters; i++) {
    int64_t place = m.r[d->counters[i].at];
    if (place < 0 || d->counters[i].form == 0) continue;
    if (place < (int64_t)old.at + old.size && place + (d->counters[i].form & 15) > old.at) return PK_ERR_UNSUPPORTED;
    if (!recount(out + place + (place < old.at ? 0 : more), d->counters[i].form, more)) return PK_ERR_UNSUPPORTED;
  }
  uint32_t size = (uint32_t)(at + id_size + behind);
  reseal(d, out, size, f->flags);
  return (int)size;
}

static int heartbeat(const pk_codec *codec, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  return pk_declared_reply(declared_of(codec), key, PK_REPLY_HEARTBEAT, id, key, "", 0, out, cap);
}

static int heartbeat_ack(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint8_t *out,
                         size_t cap) {
  (void)data;
  return pk_declared_reply(declared_of(codec), f->context & 0xff, PK_REPLY_ACK, f->id, f->context, "", 0, out, cap);
}

static int drain(const pk_codec *codec, uint32_t context, uint8_t *out, size_t cap) {
  return pk_declared_reply(declared_of(codec), context & 0xff, PK_REPLY_DRAIN, 0, context, "", 0, out, cap);
}

static int error(const pk_codec *codec, uint32_t status, uint64_t id, uint32_t context, const char *raw,
                 size_t raw_size, uint8_t *out, size_t cap) {
  return pk_declared_reply(declared_of(codec), context & 0xff, PK_REPLY_ERROR + status, id, context, raw, raw_size, out,
               cap);
}

static int greeting(const pk_codec *codec, uint32_t step, uint32_t context, uint8_t *out, size_t cap) {
  return pk_declared_reply(declared_of(codec), context & 0xff, PK_REPLY_GREETING + step, 0, context, "", 0, out, cap);
}

/* Loading. */

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

static void unload(declared *d) {
  if (d == NULL) return;
  free((void *)(uintptr_t)d->program);
  free(d->literals);
  free(d->quick);
  free(d->quick_keys);
  free(d->quick_maps);
  free(d);
}

static void unload_one(pk_loaded *l) { unload((declared *)(void *)l); }

int pk_declared_is(const pk_codec *codec) { return codec->frame == frame || codec->frame == frame_named; }

const pk_codec *pk_declared_new(const void *image, size_t size, const char **why) {
  *why = pk_declared_bad_image(image, size);
  if (*why != NULL) return NULL;
  declared *d = loaded(image, size);
  *why = d == NULL ? "out of memory" : pk_declared_bad_indexes(d);
  if (*why == NULL) *why = pk_declared_bad_insns(d);
  if (*why == NULL) *why = pk_declared_bad_shapes(d);
  if (*why == NULL) *why = pk_declared_bad_paths(d);
  if (*why != NULL) {
    unload(d);
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
                        .splice_id = splice_id,
                        .optional_drain = p->optional_drain};
  memcpy(d->codec.reserved_ids, p->reserved, sizeof p->reserved);
  *why = pk_codec_check((uintptr_t)&d->codec);
  if (*why == NULL) {
    pk_loaded_begin(&d->loaded, unload_one);
    return &d->codec;
  }
  unload(d);
  return NULL;
}

#define X(name) #name " "
const char *pk_instruction_names(void) { return PK_INSTRUCTIONS(X); }
#undef X
