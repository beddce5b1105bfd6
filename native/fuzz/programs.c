/* programs.c: the fuzz target of the checker. A program that pk_declared_new accepts, whoever compiled it, runs on
 * any bytes: it reads what it was given and nothing else, says what the core can use, and ends.
 *
 *   base | edits | each edit: table, item, byte, value | length, 2, little endian | frame
 *   base | counts | each instruction: op, a, b, c, i  | frame                        where base is no format's tag
 *
 * A format's compiled program (formats.h, as for target.c) with some bytes of its tables changed; or one that is
 * decoded from the input, of few registers, texts and jumps, so that one in some is accepted. The frame stands flush in
 * a block of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "base/sums.h"
#include "wire/framing.h"
#include "wire/ident.h"
#include "wire/loaded.h"
#include "wire/program.h"

typedef struct format {
  const char *name;
  uint8_t tag;
  const uint8_t *image;
  size_t size;
  const char *const *steps;
  const pk_codec *native;
  int keys;
} format;

#include "formats.h"

#define must(holds)                                                                  \
  do {                                                                               \
    if (!(holds)) {                                                                  \
      fprintf(stderr, "%s:%d: this does not hold: %s\n", __FILE__, __LINE__, #holds); \
      abort();                                                                       \
    }                                                                                \
  } while (0)

enum { LIMIT = 1 << 16, EDIT = 5, INSN = 5, PARTS = 5, IMAGE = 1 << 16 };

typedef struct bytes {
  const uint8_t *at, *end;
} bytes;

static uint32_t next(bytes *in) { return in->at < in->end ? *in->at++ : 0; }

static uint8_t *flush(const uint8_t *data, size_t size) {
  uint8_t *block = malloc(size > 0 ? size : 1);
  if (block == NULL) abort();
  if (size > 0) memcpy(block, data, size);
  return block;
}

static const char *const STEPS[] = {"hessian_fields", "hessian2_strings", "protobuf",       "tlv",
                                  "thrift_binary",  "thrift_compact",   "msgpack",        "json",
                                  "ber",            "blocks"};
static const char *const MEASURES[] = {"msgpack_value", "resp_value", "ber_value", "json_value"};
enum { STEP_NAMES = sizeof STEPS / sizeof *STEPS, MEASURE_NAMES = sizeof MEASURES / sizeof *MEASURES };

/* A format's program. */

static void link_steps(uint8_t *image) {
  const pk_program *p = (const void *)image;
  pk_program_step *steps = (void *)(image + p->steps.at);
  pk_program_measure *measures = (void *)(image + p->measures.at);
  for (uint32_t i = 0; i < p->steps.count; i++) steps[i].function = pk_core_step(STEPS[i % STEP_NAMES]);
  for (uint32_t i = 0; i < p->measures.count; i++) measures[i].function = pk_core_measure(MEASURES[i % MEASURE_NAMES]);
}

static uint8_t *edited(const format *f, bytes *in) {
  uint8_t *image = flush(f->image, f->size);
  const pk_program *p = (const void *)image, *e = (const void *)(image + p->editing.at);
  link_steps(image);
  pk_program_range changes[4] = {{0, 0}};
  if (p->editing.count > 0) { /* of the program that changes frames */
    link_steps(image + p->editing.at);
    const pk_program_range some[] = {e->fields, e->writers, e->counts, e->insns};
    for (uint32_t i = 0; i < 4; i++) changes[i] = (pk_program_range){p->editing.at + some[i].at, some[i].count};
  }
  const struct {
    pk_program_range of;
    uint32_t size;
  } tables[] = {{p->insns, sizeof(pk_insn)}, {p->insns, sizeof(pk_insn)}, {p->insns, sizeof(pk_insn)},
                {p->literals, sizeof(pk_program_literal)}, {p->delimiters, sizeof(pk_program_delimiter)},
                {p->tables, sizeof(pk_program_table)}, {p->entries, sizeof(pk_program_entry)},
                {p->maps, sizeof(pk_program_map)}, {p->keys, sizeof(pk_program_key)},
                {p->checksums, sizeof(pk_program_checksum)}, {p->operands, 4}, {p->replies, 4},
                {p->tests, sizeof(pk_program_test)}, {p->shapes, sizeof(pk_program_shape)},
                {p->counters, sizeof(pk_program_counter)}, {p->constants, 8}, {p->parts, sizeof(pk_program_part)},
                {p->greetings, sizeof(pk_program_greeting)}, {p->sayings, sizeof(pk_program_saying)},
                {p->arguments, sizeof(pk_program_argument)}, {changes[0], sizeof(pk_program_field)},
                {changes[1], sizeof(pk_program_writer)}, {changes[2], 4}, {changes[3], sizeof(pk_insn)}};
  uint32_t count = sizeof tables / sizeof *tables;
  for (uint32_t edits = next(in) % 16; edits > 0; edits--) {
    uint32_t which = next(in), item = next(in), byte = next(in), value = next(in);
    item |= next(in) << 8;
    if (which % (count + 1) == count) { /* the header, but for where its arrays stand */
      uint32_t words = offsetof(pk_program, insns) / 4, behind = offsetof(pk_program, app_map);
      size_t at = byte & 1 ? behind + item % (sizeof(pk_program) - behind) : 4 * (2 + item % (words - 2)) + byte / 2 % 4;
      image[at] = (uint8_t)value;
    } else if (tables[which % (count + 1)].of.count > 0) {
      uint32_t size = tables[which % (count + 1)].size;
      pk_program_range of = tables[which % (count + 1)].of;
      image[of.at + item % of.count * size + byte % size] = (uint8_t)value;
    }
  }
  return image;
}

/* A program of its own. */

static const uint8_t FRAMING[] = {
    PK_I_NEED,  PK_I_SKIP, PK_I_LOAD,    PK_I_LOAD1,   PK_I_LOAD2, PK_I_LOAD4, PK_I_LOAD8, PK_I_LOAD2S, PK_I_LOAD4S,
    PK_I_BITS,  PK_I_IDAT, PK_I_SECTION, PK_I_SUM,     PK_I_UNTIL, PK_I_SINCE, PK_I_UVAR,  PK_I_CHECK, PK_I_MAGIC,  PK_I_SPAN,
    PK_I_MARK,  PK_I_ABSENT, PK_I_SIDE, PK_I_NOPLACE, PK_I_HERE,  PK_I_HERE,  PK_I_SLICE, PK_I_LOOK, PK_I_SPLIT, PK_I_LENGTH, PK_I_SPOT,
     PK_I_SET,   PK_I_CONST, PK_I_MOVE,  PK_I_ADD,    PK_I_SUB,
    PK_I_MUL,   PK_I_SHL,  PK_I_SHR,     PK_I_LE,      PK_I_ADDI,  PK_I_NOT,   PK_I_TABLE, PK_I_JUMP,   PK_I_JZ,
    PK_I_JNZ,   PK_I_JNE,  PK_I_WHOLE,   PK_I_NEED,    PK_I_SKIP,  PK_I_SECTION, PK_I_MEASURE, PK_I_PARTS,
    PK_I_AGAIN};
static const uint8_t MEANING[] = {PK_I_VERIFY, PK_I_SAYS, PK_I_SIDE, PK_I_SET,  PK_I_TABLE,   PK_I_JUMP,  PK_I_JZ,    PK_I_JNE, PK_I_ID, PK_I_ID_AT,
                                  PK_I_NAMED,  PK_I_NAMED_IN, PK_I_PLACE, PK_I_KIND, PK_I_STATUS,  PK_I_TIMEOUT, PK_I_CONTEXT, PK_I_KEY,
                                  PK_I_SAVE,   PK_I_EARLY, PK_I_SLICE,  PK_I_LITERAL, PK_I_NONE, PK_I_TAKE,
                                  PK_I_LOOK,   PK_I_SPLIT, PK_I_STEP,   PK_I_NUMBER, PK_I_SAME,  PK_I_MOVE,
                                  PK_I_INTEGER, PK_I_DIGITS, PK_I_CHOOSE, PK_I_ADD};
static const uint8_t KEPT[] = {PK_I_PART, PK_I_PART, PK_I_OWN,  PK_I_NONE, PK_I_TAKE, PK_I_COPY,     PK_I_LOOK,
                               PK_I_SPLIT, PK_I_STEP, PK_I_SAME, PK_I_KEEP, PK_I_KEEP, PK_I_KEEP_INT, PK_I_LITERAL};
static const uint8_t TEXTS[] = {PK_I_OWN,  PK_I_SLICE, PK_I_LITERAL, PK_I_NONE, PK_I_TAKE,   PK_I_COPY, PK_I_LOOK, PK_I_PLACE,
                                PK_I_SPLIT, PK_I_STEP, PK_I_NUMBER,  PK_I_SAME, PK_I_TO,     PK_I_BUDGET, PK_I_HEADERS,
                                PK_I_SET,  PK_I_JZ,    PK_I_ADD,     PK_I_JUMP, PK_I_HEADERS, PK_I_TO,
                                PK_I_INTEGER, PK_I_DIGITS, PK_I_CHOOSE};

typedef struct maker {
  uint8_t *image;
  uint32_t size;
} maker;

static pk_program_range add(maker *m, const void *items, uint32_t count, uint32_t size) {
  pk_program_range range = {m->size, count};
  memcpy(m->image + m->size, items, (size_t)count * size);
  m->size += (count * size + 7) / 8 * 8;
  return range;
}

/* Instructions that the input says, then what every such part needs. */
static uint32_t part(pk_insn *to, const uint8_t *ops, uint32_t count, uint32_t some, bytes *in, const pk_insn *then,
                     uint32_t then_count, uint32_t from) {
  for (uint32_t i = 0; i < some; i++) {
    uint32_t op = next(in), a = next(in), b = next(in), c = next(in), wide = next(in);
    pk_insn *n = &to[i];
    *n = (pk_insn){ops[op % count], (uint8_t)(a % 12), (uint8_t)(b % 12), (uint8_t)(c % 12), (int32_t)(wide % 12)};
    int jumps = n->op == PK_I_JUMP || n->op == PK_I_JZ || n->op == PK_I_JNZ || n->op == PK_I_JNE || n->op == PK_I_TAKE;
    if (jumps) n->i = (int32_t)(from + i + 1 + wide % (some - i));
    if (n->op == PK_I_AGAIN) n->i = (int32_t)(from + wide % (i + 1));
    if (n->op == PK_I_SUM) n->c = (uint8_t)(c & 63);
    if (n->op == PK_I_UVAR) n->c &= 1;
    if (n->op == PK_I_SAVE || n->op == PK_I_OWN) n->i = (int32_t)(wide & 2);
    if (n->op == PK_I_TO && c & 128) n->c = PK_NO_TEXT, n->i = PK_NO_TEXT;
  }
  memcpy(to + some, then, then_count * sizeof *then);
  return from + some + then_count;
}

static uint8_t *decoded(bytes *in) {
  static const pk_insn framed[] = {{PK_I_NEED, 0, 0, 0, 1}, {PK_I_SKIP, 0, 0, 0, 1}, {PK_I_WHOLE, 0, 0, 0, 0}};
  static const pk_insn end[] = {{PK_I_END, 0, 0, 0, 0}};
  static const pk_insn said[] = {{PK_I_EMIT, 0, 0, 0, 1}, {PK_I_EMIT_ID, 0, 2, 0, 0}, {PK_I_EMIT_TEXT, 0, 0, 0, 0},
                                 {PK_I_EMIT_PART, 0, 0, 0, 0}, {PK_I_EMIT_PART, 2, 0, 0, 2}, {PK_I_EMIT_PART_INT, 3, 0, 1, 0},
                                 {PK_I_EMIT_SIZE, 11, 4, 0, 3},
                                 {PK_I_END, 0, 0, 0, 0}};
  static const char pool[] = "none\0aa\r\n:";
  static const pk_program_delimiter delimiters[] = {{3, 40}, {2, 0}};
  static const int64_t constants[] = {-1, INT64_MAX};
  static const pk_program_entry entries[] = {{0, 0}, {1, 4}, {3, 7}};
  static const pk_program_table tables[] = {{0, 2, 8}, {1, 2, 0}, {0, 2, -1}};
  static const pk_program_map maps[] = {{0, PK_MAP_PAIRS, {{1, 33}}, 0, 0, 0, 2}, {0, PK_MAP_LINES, {{0, 0}}, 4, 2, 2, 1},
                                        {0, PK_MAP_PAIRS, {{4, 36}}, 0, 0, 2, 2}};
  static const pk_program_key keys[] = {{2, 3}, {1, 4}, {2, 5}, {4, 6}};
  pk_program_step steps[] = {{0, 1, 2}, {pk_core_step(STEPS[1]), 0, 0}};
  pk_program_measure measures[] = {{0, 1, 2}, {pk_core_measure(MEASURES[1]), 0, 0}};
  uint32_t operands[2], replies[PK_REPLIES];
  pk_program_counter counters[1];
  pk_program_checksum checksums[1];
  static const pk_program_part parts[] = {{PK_PART_CUT, 100}, {PK_PART_WHOLE, 9}, {PK_PART_FIXED, 4}, {PK_PART_INTEGER, 3}};
  pk_insn insns[PARTS * 32 + 24];
  maker m = {calloc(1, IMAGE), sizeof(pk_program)};
  if (m.image == NULL) abort();
  uint32_t what = next(in), some[PARTS], at = 0;
  steps[0].function = pk_core_step(STEPS[what % STEP_NAMES]);
  measures[0].function = pk_core_measure(MEASURES[what % MEASURE_NAMES]);
  for (uint32_t i = 0; i < PARTS; i++) some[i] = next(in) % 32;
  for (uint32_t i = 0; i < 2; i++) operands[i] = next(in) % 12;
  checksums[0] = (pk_program_checksum){next(in) % 12, what & 1, 0, what >> 1 & 1, (what >> 2) % PK_SUM_COUNT, what & 2 ? what % 12 : 0, what % 5};
  counters[0] = (pk_program_counter){next(in) % 12, what & 4 ? 0 : what & 8 ? PK_COUNT_DIGITS : 2};
  uint32_t named = what >> 3 & 1, counted = named & (what >> 4), summed = what >> 5 & 1;
  pk_program p = {.magic = PK_PROGRAM_MAGIC, .id_bytes = 2, .reply_max = 4096, .variants = 1,
                  .rerun = what >> 6 & 1, .name = 0, .root = PK_NOWHERE, .server_root = PK_NOWHERE, .id_delimiter = PK_NOWHERE,
                  .id_max = named ? 8 : 0, .id_of = {{.count = counted}, {.count = counted}},
                  .app_map = PK_NOWHERE, .arguing = PK_NOWHERE, .answers = PK_NOWHERE, .text_encoding = what >> 7};
  at = part(insns, FRAMING, sizeof FRAMING, some[0], in, framed, 3, 0);
  p.answerable = some[0] / 2;
  p.meaning = at;
  insns[at] = (pk_insn){PK_I_KIND, 0, 0, 0, 1 + (int32_t)(next(in) % 9)};
  at = part(insns + at + 1, MEANING, sizeof MEANING, some[1], in, end, 1, at + 1);
  p.destination = at;
  at = part(insns + at, TEXTS, sizeof TEXTS, some[2], in, end, 1, at);
  p.headers = at;
  if (what & 128) p.answers = at;
  at = part(insns + at, TEXTS, sizeof TEXTS, some[3], in, end, 1, at);
  p.keep = at;
  p.keep_own = some[4] & 1 ? at : PK_NOWHERE;
  at = part(insns + at, KEPT, sizeof KEPT, some[4], in, end, 1, at);
  for (uint32_t i = 0; i < PK_REPLIES; i++) replies[i] = at;
  at = part(insns + at, TEXTS, sizeof TEXTS, 0, in, said, sizeof said / sizeof *said, at);
  p.insns = add(&m, insns, at, sizeof *insns);
  p.constants = add(&m, constants, 2, 8);
  uint32_t texts = m.size + 5 * (uint32_t)sizeof(pk_program_literal);
  const pk_program_literal literals[] = {{texts, 5}, {texts + 5, 1}, {texts + 5, 2}, {texts + 7, 2}, {texts + 9, 1}};
  p.literals = add(&m, literals, 5, sizeof *literals);
  add(&m, pool, sizeof pool, 1);
  p.delimiters = add(&m, delimiters, 2, sizeof *delimiters);
  p.tables = add(&m, tables, 3, sizeof *tables);
  p.entries = add(&m, entries, 3, sizeof *entries);
  p.maps = add(&m, maps, 3, sizeof *maps);
  p.keys = add(&m, keys, 4, sizeof *keys);
  p.steps = add(&m, steps, 2, sizeof *steps);
  p.measures = add(&m, measures, 2, sizeof *measures);
  p.checksums = add(&m, checksums, summed, sizeof *checksums);
  p.operands = add(&m, operands, 2, 4);
  p.replies = add(&m, replies, PK_REPLIES, 4);
  p.tests = p.shapes = (pk_program_range){m.size, 0};
  p.counters = add(&m, counters, counted, sizeof *counters);
  p.parts = add(&m, parts, 4, sizeof *parts);
  p.size = m.size;
  memcpy(m.image, &p, sizeof p);
  return m.image;
}

/* Running. */

static volatile uint64_t touched;

static void touch(pk_slice s) {
  uint64_t sum = s.size;
  if (s.data == NULL) return;
  for (uint32_t i = 0; i < s.size; i++) sum += s.data[i];
  touched = sum;
}

static int framed_as(const pk_codec *c, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  uint8_t *block = flush(data, size);
  *f = (pk_frame){.from = (uint8_t)(limit % 3)};
  int result = pk_frame_alone(c, block, size, limit, f);
  free(block);
  must(result == PK_OK || result == PK_MORE || (result <= PK_ERR_MAGIC && result >= PK_ERR_LIMIT));
  if (result == PK_OK) {
    must(f->size > 0 && f->size <= size && f->size <= limit);
    must(f->kind >= PK_KIND_REQUEST && f->kind <= PK_KIND_GREETING);
  }
  if (result == PK_MORE) must(f->need > size && f->need <= limit);
  if (result < 0) must(f->error_at <= size);
  must(f->status < PK_STATUS_COUNT);
  return result;
}

/* What is kept of a request, right or wrong, is given back to its error. */
static void keeps(const pk_codec *c, const uint8_t *from, size_t size, const pk_frame *f) {
  uint8_t *data = flush(from, size), *kept = malloc(PK_KEEP_MAX), *out = malloc(c->reply_max);
  if (kept == NULL || out == NULL) abort();
  int n = c->keep_max > 0 ? c->keep(c, data, size, f, kept, c->keep_max) : 0;
  must(n >= 0 && n <= (int)c->keep_max);
  must(c->error(c, &(pk_reply){7, PK_STATUS_TIMEOUT, f->context, {kept, (uint32_t)n}, {NULL, 0}}, out, c->reply_max) > 0);
  free(data), free(kept), free(out);
}

static void changes(const pk_codec *c, const uint8_t *data, const pk_frame *f) {
  static const uint8_t texts[] = "new.Name:1;k=v";
  size_t cap = f->size + 300u;
  uint8_t *out = malloc(cap);
  if (out == NULL) abort();
  for (uint32_t what = PK_EDIT_HEADER; what <= PK_EDIT_GROUP; what++) {
    const pk_edit some[] = {{what, {texts, 4}, {texts, sizeof texts - 1}}, {PK_EDIT_HEADER, {texts + 11, 1}, {NULL, 0}}};
    must(c->edit(c, data, f, some, 2, out, cap) <= (int)cap);
  }
  free(out);
}

static void whole(const pk_codec *c, const uint8_t *from, const pk_frame *f) {
  uint8_t *data = flush(from, f->size), id[PK_ID_MAX];
  size_t cap = pk_id_room(c, f->size);
  uint8_t *out = malloc(cap + c->reply_max);
  if (out == NULL) abort();
  if (f->kind <= PK_KIND_ONEWAY) {
    pk_destination to = {.context = f->context};
    if (c->destination(c, data, f, &to) == PK_OK) touch(to.service), touch(to.method), touch(to.version), touch(to.group);
  }
  if (f->kind <= PK_KIND_RESPONSE) {
    pk_cursor cursor;
    memset(&cursor, 0, sizeof cursor);
    for (uint32_t count = 0;; count++) {
      pk_header h = {{NULL, 0}, {NULL, 0}, 0};
      must(count <= f->size);
      if (c->next_header(c, data, f, &cursor, &h) != PK_OK) break;
      touch(h.key), touch(h.value);
      pk_header same;
      if (pk_header_by_key(c, data, f, h.key, &same) == PK_OK) touch(same.value);
    }
  }
  if (pk_id_max(c) > 0) {
    touch(pk_id_of(c, data, f, f->size));
    uint32_t size = pk_codec_write_id((uintptr_t)c, 7, id);
    if (c->splice_id != NULL) must(c->splice_id(c, data, f, id, size, out, cap) <= (int)cap);
  } else if (c->patch_id != NULL) {
    c->patch_id(c, data, f, 7);
  }
  must(c->heartbeat_ack(c, data, f, out, c->reply_max) <= (int)c->reply_max);
  if (c->edit != NULL && f->kind <= PK_KIND_RESPONSE) changes(c, data, f);
  keeps(c, data, f->size, f);
  free(out);
  free(data);
}

static void run(const pk_codec *c, const uint8_t *data, size_t size) {
  static const uint32_t limits[] = {LIMIT, 16, 3};
  pk_frame f;
  uint8_t *block = flush(data, size), *out = malloc(c->reply_max);
  if (out == NULL) abort();
  int probed = c->probe(c, block, size);
  must(probed == PK_OK || probed == PK_MORE || probed == PK_ERR_MAGIC);
  free(block);
  for (uint32_t l = 0; l < 3; l++)
    for (size_t end = size; end > 0; end = end > 8 && end < size ? end / 2 : end - 1)
      switch (framed_as(c, data, end, limits[l], &f)) {
        case PK_OK: whole(c, data, &f); break;
        case PK_MORE: break;
        default: keeps(c, data, end, &f);
      }
  for (uint32_t status = PK_STATUS_NO_SERVICE; status < PK_STATUS_COUNT; status++)
    must(c->error(c, &(pk_reply){7, status, f.context, {data, size < 256 ? (uint32_t)size : 256}, {data, size < 512 ? (uint32_t)size : 512}}, out, c->reply_max) > 0);
  for (uint32_t step = 0; step < c->greeting_steps; step++) must(c->greeting(c, step, f.context, NULL, NULL, out, c->reply_max) >= 0);
  must(c->heartbeat(c, 7, f.context, out, c->reply_max) >= 0);
  must(c->drain(c, &(pk_reply){.context = f.context}, out, c->reply_max) >= 0);
  free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  bytes in = {data, data + size};
  const format *base = NULL;
  uint32_t tag = next(&in);
  for (size_t i = 0; i < FORMATS; i++)
    if (formats[i].tag == tag) base = &formats[i];
  uint8_t *image = base != NULL ? edited(base, &in) : decoded(&in);
  const char *why = NULL;
  const pk_codec *codec = pk_declared_new(image, base != NULL ? base->size : ((const pk_program *)(void *)image)->size, &why);
  must((codec == NULL) == (why != NULL));
  if (codec != NULL && in.at < in.end) run(codec, in.at, (size_t)(in.end - in.at));
  pk_codec_release(codec);
  free(image);
  return 0;
}
