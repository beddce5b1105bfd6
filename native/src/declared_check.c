/* declared_check.c: a program is checked once, so that running it needs no checks. */
#include "declared.h"

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
    case PK_I_JUMP: case PK_I_JZ: case PK_I_JNZ: case PK_I_JNE:
    case PK_I_TAKE: return p->insns.count;
    default: return INT32_MAX;
  }
}

const char *pk_declared_bad_insns(const declared *d) {
  const pk_program *p = d->program;
  if (p->insns.count == 0 || d->insns[p->insns.count - 1].op != PK_I_END) return "the program does not end";
  for (uint32_t i = 0; i < p->insns.count; i++) {
    const pk_insn *n = &d->insns[i];
    int jumps = n->op == PK_I_JUMP || n->op == PK_I_JZ || n->op == PK_I_JNZ ||
                n->op == PK_I_JNE || n->op == PK_I_TAKE;
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

const char *pk_declared_bad_indexes(const declared *d) {
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

const char *pk_declared_bad_image(const pk_program *p, size_t size) {
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
