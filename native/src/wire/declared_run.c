/* declared_run.c: an interpreter of programs (program.h), and framing by it. */
#include "base/sums.h"
#include "wire/declared.h"

uint32_t pk_declared_checksum(const declared *d, const pk_program_checksum *c, const machine *m,
                            const uint8_t *data) {
  uint32_t sum = pk_sum_begin(c->which);
  if (c->count == 0 && m->r[c->at] > c->skip) sum = pk_sum_add(c->which, sum, data, (size_t)m->r[c->at] - c->skip);
  for (uint32_t i = 0; i < c->count; i++) {
    uint32_t reg = d->operands[c->first + i];
    if (m->r[reg] >= 0) sum = pk_sum_add(c->which, sum, data + m->r[reg], (size_t)m->r[reg + 1]);
  }
  return pk_sum_end(c->which, sum);
}

void pk_declared_put_sum(const pk_program_checksum *c, uint32_t sum, uint8_t *p) {
  if (c->digits == 0) put(p, sum, pk_sum_width(c->which), (int)c->little);
  for (uint32_t i = c->digits; i > 0; sum /= 10) p[--i] = (uint8_t)('0' + sum % 10);
}

/* How long what stands there says that it is; PK_MORE: at least. Only one that goes on remembers where it stopped. */
static int measure(const declared *d, uint32_t index, machine *m, const uint8_t *at, uint64_t there, uint64_t *length) {
  const pk_program_measure *by = &d->measures[index];
  *length = 0;
  int result = ((pk_measure)(uintptr_t)by->function)(at, there, d->literals + by->first, by->count, m->measured, length);
  if (result != PK_MORE) memset(m->measured, 0, sizeof m->measured);
  if (result == PK_MORE && *length <= there) *length = there + 1;
  if (result == PK_OK && *length > 0) return PK_OK;
  return result == PK_MORE || result == PK_ERR_LIMIT ? result : PK_ERR_FORMAT;
}

#define FAIL(code, where)          \
  do {                             \
    uint64_t wrong = (uint64_t)(where); \
    f->error_at = (uint32_t)(wrong < size ? wrong : size); /* a length may lead past what is there */ \
    *failed = pc;                  \
    return code;                   \
  } while (0)

/* Where what a frame is told by ends, which ends at `at` itself: in front of a section there that nothing looks into. */
static uint64_t front_of(const declared *d, const machine *m, uint64_t at) {
  uint64_t front = at;
  for (uint32_t i = d->program->opens; i < d->program->operands.count; i++) {
    const int64_t *section = &m->r[d->operands[i]];
    if (section[0] >= 0 && (uint64_t)section[0] + (uint64_t)section[1] == at && (uint64_t)section[0] < front)
      front = (uint64_t)section[0];
  }
  return front;
}

/* From `pc` and m->at; where it stops for more bytes, m->at says how far it came. */
static int run_on(const declared *d, uint32_t pc, machine *m, const uint8_t *data, uint64_t size, uint64_t limit,
                  int how, pk_frame *f, pk_destination *out, headers *h, uint32_t *failed) {
  int64_t *r = m->r;
  uint64_t at = m->at;
  uint8_t ended = f->ended;
  m->stepped = 0;
  f->ended = 0; /* but where that told where the frame ends */
  for (;; pc++) {
    const pk_insn *n = &d->insns[pc];
    switch (n->op) {
      case PK_I_NEED:
        if (at + (uint32_t)n->i > size) {
          if (at + (uint32_t)n->i > limit) FAIL(PK_ERR_LIMIT, at);
          f->need = (uint32_t)(at + (uint32_t)n->i);
          goto more;
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
      case PK_I_IDAT:
        f->body = (uint32_t)at + (uint32_t)n->i;
        f->flags = n->c ? LITTLE_ID : 0; /* in front of all others */
        break;
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
          goto more;
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
        const uint8_t *found = at < seen ? pk_declared_find(data + at + m->sought, data + seen, by) : NULL;
        m->sought = 0;
        if (found == NULL) {
          if (seen == most) FAIL(PK_ERR_LIMIT, at);
          if (size + 1 > limit) FAIL(PK_ERR_LIMIT, at);
          uint64_t least = at + by.size;
          if (least > limit) FAIL(PK_ERR_LIMIT, at);
          f->need = (uint32_t)(size + 1 > least ? size + 1 : least);
          if (size >= least) m->sought = (uint32_t)(size - least) + 1;
          goto more;
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
            goto more;
          }
          uint8_t byte = data[at + i];
          v |= (uint64_t)(byte & 0x7f) << (7 * i);
          if (!(byte & 0x80)) {
            if (byte == 0 && i > 0) FAIL(PK_ERR_FORMAT, at + i); /* longer than it must be */
            if (i == 9 && byte > 1) FAIL(PK_ERR_FORMAT, at + i); /* over 64 bits */
            break;
          }
          if (i + 1 == n->b) FAIL(PK_ERR_FORMAT, at + i);
        }
        r[n->a] = (int64_t)v;
        if (n->c != 0) r[n->i] = (int64_t)at;
        at += i + 1;
        break;
      }
      case PK_I_MEASURE: {
        uint64_t length;
        int result = measure(d, (uint32_t)n->i, m, data + at, size - at, &length);
        if (result < 0) FAIL(result, at);
        if (length > (at < limit ? limit - at : 0)) {
          if (result == PK_OK && length <= UINT32_MAX - at) f->size = (uint32_t)(at + length);
          FAIL(PK_ERR_LIMIT, at);
        }
        if (result == PK_MORE) {
          f->need = (uint32_t)(at + length);
          goto more;
        }
        r[n->a] = (int64_t)at;
        r[n->a + 1] = (int64_t)length;
        at += length;
        break;
      }
      case PK_I_REST:
        if (at > limit || size > limit) FAIL(PK_ERR_LIMIT, at);
        if (!ended || at > size || size == 0) {
          if (size + 1 > limit) FAIL(PK_ERR_LIMIT, at);
          f->need = (uint32_t)(size + 1 > at ? size + 1 : at);
          goto more;
        }
        r[n->a] = (int64_t)at;
        r[n->a + 1] = (int64_t)(size - at);
        at = size;
        f->ended = 1;
        break;
      case PK_I_PARTS:
        r[n->a] = (int64_t)at;
        r[n->a + 1] = 0;
        break;
      case PK_I_AGAIN:
        r[n->a + 1] = (int64_t)at - r[n->a];
        if (r[n->b] != 0) pc = (uint32_t)n->i;
        break;
      case PK_I_CHECK:
        if (r[n->a] == 0) FAIL(n->b ? PK_ERR_MAGIC : PK_ERR_FORMAT, at + (uint32_t)n->i);
        break;
      case PK_I_MAGIC: {
        pk_slice literal = d->literals[n->i];
        for (uint32_t i = 0; i < literal.size; i++) {
          if (at + i >= size) {
            if (at + literal.size > limit) FAIL(PK_ERR_LIMIT, at);
            f->need = (uint32_t)(at + literal.size);
            goto more;
          }
          if (data[at + i] != literal.data[i]) FAIL(n->b ? PK_ERR_MAGIC : PK_ERR_FORMAT, at + i);
        }
        at += literal.size;
        break;
      }
      case PK_I_SINCE: {
        int64_t from = r[n->b];
        r[n->a] = from;
        r[n->a + 1] = (int64_t)at - from;
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
      case PK_I_READABLE: {
        int there = r[n->c] != 0;
        r[n->a] = there ? r[n->b] : -1;
        r[n->a + 1] = there ? r[n->b + 1] : 0;
        break;
      }
      case PK_I_NOPLACE: r[n->a] = -1; break;
      case PK_I_HERE:
        if (at > size) {
          f->need = (uint32_t)at;
          goto more;
        }
        break;
      case PK_I_SPOT: {
        pk_slice text = m->s[n->b];
        int inside = text.data != NULL && (uintptr_t)text.data - (uintptr_t)data < size;
        r[n->a] = inside ? (int64_t)(text.data - data) : -1;
        r[n->a + 1] = text.size;
        break;
      }
      case PK_I_LENGTH: {
        pk_slice text = m->s[n->b];
        int result = PK_OK;
        r[n->a] = 0;
        if (text.data != NULL) result = pk_declared_length(text, &r[n->a]);
        if (result != PK_OK) FAIL(result, at);
        break;
      }
      case PK_I_WHOLE:
        f->size = (uint32_t)at;
        if (at > limit) FAIL(PK_ERR_LIMIT, 0);
        if (at > size) {
          uint64_t front = how == HALVES ? front_of(d, m, at) : at;
          f->need = (uint32_t)(front > size ? front : at);
          if (front > size) goto more;
          f->says |= PK_SAYS_HALF;
        }
        break;
      case PK_I_VERIFY: {
        const pk_program_checksum *c = &d->checksums[n->i];
        if (r[c->at] < 0) break;
        f->flags |= HAS_CHECKSUM;
        if (how == UNVERIFIED) break;
        const uint8_t *p = data + r[c->at];
        uint8_t right[PK_SUM_DIGITS];
        pk_declared_put_sum(c, pk_declared_checksum(d, c, m, data), right);
        if (memcmp(p, right, pk_declared_sum_room(c)) != 0) FAIL(PK_ERR_FORMAT, r[c->at]);
        break;
      }
      case PK_I_SET: r[n->a] = n->i; break;
      case PK_I_CONST: r[n->a] = d->constants[n->i]; break;
      case PK_I_SIDE: r[n->a] = f->from; break;
      case PK_I_ASKED: r[n->a] = f->asked >> n->b & (uint32_t)n->i; break;
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
      case PK_I_ID_AT:
        f->body = (uint32_t)r[n->a]; /* -1: PK_NO_ID */
        f->flags = (uint8_t)((f->flags & ~LITTLE_ID) | (n->c ? LITTLE_ID : 0));
        break;
      case PK_I_NAMED:
        f->id_span = r[n->a] < 0 ? (pk_span){PK_NO_ID, 0} : (pk_span){(uint32_t)r[n->a], (uint32_t)r[n->a + 1]};
        break;
      case PK_I_NAMED_IN: {
        pk_slice id = m->s[n->a];
        f->id_span = (pk_span){PK_NO_ID, 0};
        if (id.data == NULL) break;
        if (id.size > d->program->id_max) FAIL(PK_ERR_FORMAT, id.data - data);
        f->id_span = (pk_span){(uint32_t)(id.data - data), id.size};
        break;
      }
      case PK_I_KIND: f->kind = (uint8_t)n->i; break;
      case PK_I_STATUS: f->status = (uint8_t)r[n->a]; break;
      case PK_I_TIMEOUT: f->timeout_ms = milliseconds(r[n->a]); break;
      case PK_I_CONTEXT: f->context = (uint32_t)r[n->a]; break;
      case PK_I_KEY: f->upstream_key = (uint32_t)r[n->a]; break;
      case PK_I_SAYS:
        if (r[n->a] != 0) f->says |= (uint8_t)n->i;
        break;
      case PK_I_FORM:
        if (r[n->a] != 0) f->own[FORMS] |= (uint32_t)n->i;
        break;
      case PK_I_SAVE:
        f->own[n->i] = (uint32_t)r[n->a];
        f->own[n->i + 1] = (uint32_t)r[n->a + 1];
        break;
      case PK_I_EARLY:
        if (how == EARLY) return PK_OK;
        break;
      case PK_I_EMIT: case PK_I_EMIT_ID: case PK_I_EMIT_KEPT: case PK_I_EMIT_SIZE: case PK_I_EMIT_UVAR: case PK_I_EMIT_DIGITS:
      case PK_I_EMIT_COUNT: case PK_I_EMIT_TEXT: case PK_I_EMIT_PART: case PK_I_EMIT_PART_INT: case PK_I_END: return PK_OK;
      default: {
        int result = pk_declared_texts(d, &pc, m, data, f, out, h);
        if (result != PK_OK) FAIL(result, 0);
        pc--;
      }
    }
  }
more:
  m->at = at;
  *failed = pc;
  return PK_MORE;
}

static void begin(machine *m) {
  m->at = m->sought = 0;
  memset(m->measured, 0, sizeof m->measured);
}

int pk_declared_run(const declared *d, uint32_t pc, machine *m, const uint8_t *data, uint64_t size, uint64_t limit,
                    int how, pk_frame *f, pk_destination *out, headers *h, uint32_t *failed) {
  begin(m);
  return run_on(d, pc, m, data, size, limit, how, f, out, h, failed);
}

/* Where framing stopped in a frame: at the head of a connection's state, its registers behind it. */
typedef struct stop {
  uint32_t next; /* the instruction, + 1; 0: in front of a frame */
  uint32_t at, sought, body, flags;
  uint64_t measured[4];
} stop;

uint32_t pk_declared_state_size(const declared *d) {
  return d->program->resumes ? (uint32_t)sizeof(stop) + 8 * d->registers : 0;
}

int pk_declared_is_stopped(const pk_frame *f) {
  stop s = {0};
  if (f->state != NULL) memcpy(&s, f->state, sizeof s);
  return s.next != 0;
}

/* A frame of which the front may be enough. What framing goes on from is as it was where more is needed. */
static int front(const declared *d, machine *m, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f, uint32_t *failed) {
  for (uint32_t i = d->program->opens; i < d->program->operands.count; i++) m->r[d->operands[i]] = -1;
  int result = pk_declared_run(d, d->program->frame, m, data, size, limit, HALVES, f, NULL, NULL, failed);
  if (result == PK_OK && f->state != NULL) memset(f->state, 0, pk_declared_state_size(d));
  if (result == PK_OK && (f->says & PK_SAYS_HALF)) f->size = (uint32_t)size;
  return result;
}

/* The frame from where it was left, or from its start; what came of it is remembered. */
static int go_on(const declared *d, machine *m, const uint8_t *data, size_t size, uint32_t limit, int how, pk_frame *f,
                 uint32_t *failed) {
  uint8_t *state = f->state;
  stop s;
  if (f->halves) return front(d, m, data, size, limit, f, failed);
  if (state == NULL || !d->program->resumes) return pk_declared_run(d, d->program->frame, m, data, size, limit, how, f, NULL, NULL, failed);
  memcpy(&s, state, sizeof s);
  if (s.next != 0) {
    memcpy(m->r, state + sizeof s, 8 * d->registers);
    f->body = s.body;
    f->flags = (uint8_t)s.flags;
    m->at = s.at;
    m->sought = s.sought;
    memcpy(m->measured, s.measured, sizeof m->measured);
  } else {
    begin(m);
  }
  int result = run_on(d, s.next != 0 ? s.next - 1 : d->program->frame, m, data, size, limit, how, f, NULL, NULL, failed);
  s = (stop){0};
  if (result == PK_MORE) {
    s = (stop){*failed + 1, (uint32_t)m->at, m->sought, f->body, f->flags, {0}};
    memcpy(s.measured, m->measured, sizeof s.measured);
    memcpy(state + sizeof s, m->r, 8 * d->registers);
  }
  memcpy(state, &s, sizeof s);
  return result;
}

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

int pk_declared_frame_as(const declared *d, machine *m, const uint8_t *data, size_t size, uint32_t limit,
                    int how, pk_frame *f) {
  uint32_t failed;
  f->own[0] = f->own[2] = UINT32_MAX; /* what the program does not say is not there */
  f->body = PK_NO_ID;
  if (d->program->id_max > 0) f->id_span = (pk_span){PK_NO_ID, 0};
  int result = go_on(d, m, data, size, limit, how, f, &failed);
  if (result == PK_ERR_LIMIT || result == PK_ERR_FORMAT) {
    uint32_t wrong_at = f->error_at;
    uint32_t wrong = failed;
    if (result == PK_ERR_LIMIT) {
      pk_frame whole = {.from = f->from};
      f->need = 0;
      /* Without a limit it gets to its end exactly where all that tells its size is there. */
      int without = pk_declared_run(d, d->program->frame, m, data, size, UINT32_MAX, how, &whole, NULL, NULL, &failed);
      if (without == PK_OK) f->size = f->need = whole.size;
      if (without == PK_MORE && is_last(d, failed)) f->size = f->need = whole.need;
    }
    if (wrong >= d->program->answerable)
      pk_declared_run(d, d->program->meaning, m, data, size, limit, EARLY, f, NULL, NULL, &failed);
    f->error_at = wrong_at;
  }
  /* An answer without its id is nobody's: 0 is an id like any other. */
  if (f->kind == PK_KIND_RESPONSE && f->body == PK_NO_ID && d->program->id_bytes > 0 && d->program->id_max == 0)
    f->kind = PK_KIND_IGNORE;
  return result;
}

__attribute__((noinline)) int pk_declared_frame_fully(const declared *d, const uint8_t *data, size_t size, uint32_t limit,
                                                 pk_frame *f) {
  machine m;
  return pk_declared_frame_as(d, &m, data, size, limit, FRAMING, f);
}
