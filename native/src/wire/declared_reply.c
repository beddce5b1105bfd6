/* declared_reply.c: what a declared protocol says by itself: errors, heartbeats, greetings. */
#include "wire/declared.h"

enum { TEXT_MAX = 512, ENCODED_MAX = 6 * TEXT_MAX };

typedef struct text {
  uint8_t data[ENCODED_MAX];
  uint32_t size, units;
} text;

static void text_add(text *t, const uint8_t *data, uint32_t size) {
  memcpy(t->data + t->size, data, size);
  t->size += size;
}

/* As most libraries escape a character of JSON, so that a captured error can be the codec's own; `out` has 6 bytes. */
static uint32_t escape(uint8_t byte, uint8_t *out) {
  static const char hex[] = "0123456789abcdef", shown[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
  const char *at = byte == 0 ? NULL : strchr(shown, byte);
  if (at == NULL && byte >= 0x20) return 0;
  const uint8_t long_one[6] = {'\\', 'u', '0', '0', (uint8_t)hex[byte >> 4], (uint8_t)hex[byte & 15]};
  memcpy(out, long_one, sizeof long_one);
  if (at == NULL) return 6;
  out[1] = (uint8_t)letters[at - shown];
  return 2;
}

/* As many whole characters as `most` bytes hold. */
static void encode(text *t, uint32_t encoding, const char *raw, size_t size, uint32_t most) {
  uint8_t escaped[6];
  t->size = t->units = 0;
  if (size > TEXT_MAX) size = TEXT_MAX;
  for (size_t i = 0; i < size;) {
    const uint8_t *p = (const uint8_t *)raw + i;
    uint32_t width = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc0 ? 2 : 0;
    if (width == 0 || i + width > size) break; /* cut in the middle of a character */
    uint32_t escape_size = encoding == PK_TEXT_JSON ? escape(*p, escaped) : 0;
    int halved = encoding == PK_TEXT_HESSIAN && width == 4; /* each surrogate alone */
    if (t->size + (escape_size > 0 ? escape_size : halved ? 6 : width) > most) break;
    t->units += width == 4 ? 2 : 1;
    if (escape_size > 0) {
      text_add(t, escaped, escape_size);
    } else if (halved) {
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
static void without(uint8_t *data, uint32_t size, pk_slice delimiter) {
  uint8_t instead = delimiter.size > 0 && memchr(delimiter.data, ' ', delimiter.size) != NULL ? '_' : ' ';
  for (uint32_t i = 0; i < size && delimiter.size > 0; i++)
    if (memchr(delimiter.data, data[i], delimiter.size) != NULL) data[i] = instead;
}

enum { VARINT_MAX = 10 };

static uint32_t put_varint(uint8_t *out, uint64_t value) {
  uint32_t n = 0;
  for (; value >= 0x80; value >>= 7) out[n++] = (uint8_t)(value | 0x80);
  out[n++] = (uint8_t)value;
  return n;
}

/* The parts that were kept; what there is none of is empty, or zeros. Of the request's bytes nothing is believed. */
static void unpack(const declared *d, part_range of, pk_slice kept, pk_slice *parts, uint8_t (*varints)[VARINT_MAX]) {
  static const uint8_t zeros[PK_KEEP_MAX];
  uint32_t at = 0;
  for (uint32_t i = 0; i < of.count; i++) {
    const pk_program_part *p = &d->parts[of.first + i];
    uint32_t counted = p->form <= PK_PART_WHOLE, size = counted ? 0 : p->most;
    parts[i] = (pk_slice){zeros, size};
    if (kept.data == NULL || kept.size - at < counted) continue;
    if (counted) size = kept.data[at];
    if (size > p->most || kept.size - at - counted < size) continue;
    parts[i] = (pk_slice){kept.data + at + counted, size};
    at += counted + size;
  }
  for (uint32_t i = 0; i < of.count; i++)
    if (d->parts[of.first + i].form == PK_PART_VARINT)
      parts[i] = (pk_slice){varints[i], put_varint(varints[i], big(parts[i].data, parts[i].size))};
}

/* The most bytes of the text in the reply that begins there. */
static uint32_t text_most(const declared *d, uint32_t pc) {
  uint32_t most = ENCODED_MAX;
  for (const pk_insn *in = &d->insns[pc]; in->op != PK_I_END; in++) {
    uint32_t here = (uint32_t)in->b << 8 | in->c;
    if (in->op == PK_I_EMIT_TEXT && here < most) most = here;
  }
  return most;
}

/* What has no fixed size in a reply, by the bits that lengths name it with: the text and parts that were kept, of
 * varints what is behind a byte. `all`: also what varints that count them take beside the bytes that are counted
 * already; `inner`: of those varints that stand behind what is being written. */
enum { GROWING = 1 + PK_PARTS, COUNTS = 8 };
typedef struct grown {
  int64_t all[GROWING], inner[GROWING];
  int64_t more[COUNTS]; /* of each such varint, the last first */
  uint32_t counts;
} grown;

static uint64_t counted(const int64_t *sizes, const pk_insn *in) {
  int64_t size = in->i;
  for (uint32_t i = 0; i < GROWING; i++)
    if (in->a >> i & 1) size += sizes[i];
  return (uint64_t)size;
}

/* Whether it is a varint in a section, so that lengths that count the section count it; and which bit it goes with. */
static int widens(const pk_insn *in) {
  return (in->op == PK_I_EMIT_COUNT && in->c & 4) || (in->op == PK_I_EMIT_UVAR && in->c & PK_EMIT_INSIDE);
}

static uint32_t goes_with(const pk_insn *in) {
  uint32_t bit = 0;
  if (in->op == PK_I_EMIT_COUNT) return 0;
  while ((in->a >> bit & 1) == 0) bit++;
  return bit;
}

/* From the last to the first, since a varint may count others behind it. */
static void grow(const declared *d, uint32_t pc, part_range of, const text *t, const pk_slice *parts, grown *g) {
  uint32_t end = pc;
  uint8_t varint[VARINT_MAX];
  *g = (grown){.all = {t->size}};
  for (uint32_t i = 0; i < of.count; i++)
    g->all[1 + i] = (int64_t)parts[i].size - (d->parts[of.first + i].form == PK_PART_VARINT);
  while (d->insns[end].op != PK_I_END) end++;
  while (end-- > pc) {
    const pk_insn *in = &d->insns[end];
    if (!widens(in)) continue;
    uint64_t value = in->op == PK_I_EMIT_UVAR ? counted(g->all, in) : in->c & 2 ? t->units : t->size;
    int64_t more = (int64_t)put_varint(varint, value) - (in->op == PK_I_EMIT_UVAR ? in->b : 1);
    g->more[g->counts++] = more;
    g->all[goes_with(in)] += more;
  }
  memcpy(g->inner, g->all, sizeof g->inner);
}

/* What it may repeat. */
static part_range parts_of(const declared *d, uint32_t which) {
  return which >= PK_REPLY_GREETING ? heard_parts(d) : asked_parts(d);
}

/* Which side says it. */
static uint8_t said_by(const declared *d, uint32_t which) {
  if (which >= PK_REPLY_GREETING) return (uint8_t)d->sayings[which - PK_REPLY_GREETING].from;
  return which == PK_REPLY_HEARTBEAT ? PK_FROM_CLIENT : PK_FROM_SERVER;
}

int pk_declared_reply(const declared *d, uint32_t variant, uint32_t which, const pk_reply *r, uint8_t *out, size_t cap) {
  uint32_t pc = d->replies[(variant < d->program->variants ? variant : 0) * PK_REPLIES + which];
  pk_slice parts[PK_PARTS] = {{NULL, 0}};
  uint8_t varints[PK_PARTS][VARINT_MAX];
  const part_range of = parts_of(d, which);
  size_t n = 0;
  text t;
  grown g;
  if (pc == PK_NOWHERE) return 0;
  encode(&t, d->program->text_encoding, (const char *)r->text.data, r->text.size, text_most(d, pc));
  unpack(d, of, r->kept, parts, varints);
  grow(d, pc, of, &t, parts, &g);
  for (;; pc++) {
    const pk_insn *in = &d->insns[pc];
    uint64_t size = 0;
    pk_slice literal = {NULL, 0};
    uint8_t varint[10], digits[20];
    uint32_t bytes = in->b;
    if (widens(in)) g.inner[goes_with(in)] -= g.more[--g.counts];
    switch (in->op) {
      case PK_I_EMIT:
        literal = d->literals[in->i];
        bytes = literal.size;
        break;
      case PK_I_EMIT_TEXT:
        without(t.data, t.size, d->literals[in->i]);
        literal = (pk_slice){t.data, t.size}, bytes = t.size;
        break;
      case PK_I_EMIT_PART: case PK_I_EMIT_PART_INT:
        literal = parts[in->a];
        bytes = literal.size;
        break;
      case PK_I_EMIT_SIZE: size = counted(in->c & PK_EMIT_INSIDE ? g.inner : g.all, in); break;
      case PK_I_EMIT_UVAR:
        bytes = put_varint(varint, counted(in->c & PK_EMIT_INSIDE ? g.inner : g.all, in));
        literal = (pk_slice){varint, bytes};
        break;
      case PK_I_EMIT_COUNT:
        if ((in->c & 4) == 0) break;
        bytes = put_varint(varint, in->c & 2 ? t.units : t.size);
        literal = (pk_slice){varint, bytes};
        break;
      case PK_I_EMIT_DIGITS: {
        uint8_t *at = digits + sizeof digits;
        for (size = counted(g.all, in); size > 0 || digits + sizeof digits - at < (in->b > 0 ? in->b : 1); size /= 10)
          *--at = (uint8_t)('0' + size % 10);
        bytes = (uint32_t)(digits + sizeof digits - at);
        literal = (pk_slice){at, bytes};
        break;
      }
      default: break;
    }
    if (in->op == PK_I_END) break;
    if (cap - n < bytes) return PK_ERR_SPACE;
    if (literal.data != NULL) {
      memcpy(out + n, literal.data, bytes);
      if (in->op == PK_I_EMIT_PART) without(out + n, bytes, d->literals[in->i]);
      if (in->op == PK_I_EMIT_PART_INT) put(out + n, big(literal.data, bytes), bytes, in->c & 1);
    } else if (in->op == PK_I_EMIT_ID) {
      put(out + n, r->id, bytes, in->c & 1);
    } else if (in->op == PK_I_EMIT_KEPT) {
      put(out + n, r->context >> (in->c & 31), bytes, in->c >> 5);
    } else if (in->op == PK_I_EMIT_SIZE) {
      put(out + n, size, bytes, in->c & 1);
    } else if (in->op == PK_I_EMIT_COUNT) {
      put(out + n, in->c & 2 ? t.units : t.size, bytes, in->c & 1);
    }
    n += bytes;
  }
  if (d->program->checksums.count > 0) pk_declared_seal(d, out, (uint32_t)n, said_by(d, which));
  return (int)n;
}

/* The most bytes of the reply that begins there, or what is wrong with it. */
static const char *bad_reply(const declared *d, uint32_t pc, part_range of, uint64_t *most) {
  const pk_program_part *parts = d->parts + of.first;
  uint64_t texts = 0;
  uint32_t counts = 0;
  *most = 0;
  for (;; pc++) {
    const pk_insn *n = &d->insns[pc];
    counts += (uint32_t)widens(n);
    if (counts > COUNTS) return pk_declared_refused(d, pc, "too many varints count");
    switch (n->op) {
      case PK_I_EMIT: *most += d->literals[n->i].size; break;
      case PK_I_EMIT_TEXT: *most += ENCODED_MAX, texts += ENCODED_MAX; break;
      case PK_I_EMIT_UVAR:
        if (n->c & PK_EMIT_INSIDE && n->a == 0) return pk_declared_refused(d, pc, "it counts nothing");
        *most += 5;
        break;
      case PK_I_EMIT_DIGITS: *most += n->b > 10 ? n->b : 10; break;
      case PK_I_EMIT_PART: case PK_I_EMIT_PART_INT:
        if (n->a >= of.count) return pk_declared_refused(d, pc, "there is no such part");
        if (n->op == PK_I_EMIT_PART_INT && parts[n->a].form != PK_PART_INTEGER)
          return pk_declared_refused(d, pc, "the part is no integer");
        *most += parts[n->a].form == PK_PART_VARINT ? VARINT_MAX : parts[n->a].most;
        if (parts[n->a].form <= PK_PART_WHOLE) texts += parts[n->a].most;
        break;
      case PK_I_EMIT_ID: case PK_I_EMIT_KEPT: case PK_I_EMIT_SIZE: case PK_I_EMIT_COUNT: *most += n->b; break;
      case PK_I_END: return *most > texts ? NULL : pk_declared_refused(d, pc, "a reply may have no bytes");
      default: return pk_declared_refused(d, pc, "stands in a reply");
    }
  }
}

const char *pk_declared_bad_replies(const declared *d) {
  const pk_program *p = d->program;
  for (uint32_t i = 0; i < p->replies.count; i++) {
    uint32_t which = i % PK_REPLIES;
    uint64_t most = 0;
    const char *why = d->replies[i] == PK_NOWHERE ? NULL : bad_reply(d, d->replies[i], parts_of(d, which), &most);
    if (why != NULL) return why;
    if (most > p->reply_max) return "a reply is longer than reply_max";
    int must = which >= PK_REPLY_GREETING && which < PK_REPLY_GREETING + p->sayings.count;
    if (must && d->replies[i] == PK_NOWHERE) return "a greeting is missing";
  }
  return NULL;
}
