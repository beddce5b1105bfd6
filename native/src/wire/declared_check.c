/* declared_check.c: a program is checked once, so that running it needs no checks. */
#include "base/sums.h"
#include "wire/declared.h"

#include <stdio.h>

static __thread char message[160];

const char *pk_declared_refused(const declared *d, uint32_t pc, const char *why) {
#define X(name) #name,
  static const char *const names[] = {PK_INSTRUCTIONS(X)};
#undef X
  uint8_t op = d->insns[pc].op;
  snprintf(message, sizeof message, "instruction %u (%s): %s", (unsigned)pc, op < PK_I_COUNT ? names[op] : "?", why);
  return message;
}

static int in_image(const pk_program *p, pk_program_range range, size_t item) {
  return range.at % 8 == 0 && range.at <= p->size && range.count <= (p->size - range.at) / item;
}

static const char *bad_literal(const pk_program *p) {
  const pk_program_literal *l = (const void *)((const uint8_t *)p + p->literals.at);
  for (uint32_t i = 0; i < p->literals.count; i++)
    if (l[i].at > p->size || l[i].size > p->size - l[i].at) return "a literal is outside of the image";
  return NULL;
}

/* What `i` is an index of: its end. */
static uint32_t most_of(const pk_program *p, uint8_t op) {
  switch (op) {
    case PK_I_UNTIL: return p->delimiters.count;
    case PK_I_VERIFY: return p->checksums.count;
    case PK_I_CONST: return p->constants.count;
    case PK_I_TABLE: case PK_I_CHOOSE: return p->tables.count;
    case PK_I_MAGIC: case PK_I_LITERAL: case PK_I_SPLIT: case PK_I_SAME: case PK_I_EMIT:
    case PK_I_EMIT_TEXT: case PK_I_EMIT_PART: return p->literals.count;
    case PK_I_KEEP: case PK_I_KEEP_INT: return p->parts.count;
    case PK_I_LOOK: case PK_I_HEADERS: return p->maps.count;
    case PK_I_STEP: return p->steps.count;
    case PK_I_AGAIN: return p->insns.count;
    case PK_I_MEASURE: return p->measures.count;
    case PK_I_SAVE: case PK_I_OWN: return 3;
    case PK_I_UVAR: case PK_I_TO: return PK_NO_TEXT + 1;
    case PK_I_KIND: return PK_KIND_GREETING + 1;
    case PK_I_SAYS: return (PK_SAYS_LAST | PK_SAYS_MORE) + 1;
    case PK_I_JUMP: case PK_I_JZ: case PK_I_JNZ: case PK_I_JNE:
    case PK_I_TAKE: return p->insns.count;
    default: return INT32_MAX;
  }
}

static int bad_width(uint32_t form) { return (form & 15) < 1 || (form & 15) > 8 || form >= 64; }

static const char *bad_id(const declared *d, const pk_program_id *of) {
  const pk_program *p = d->program;
  if (p->id_inside > PK_ID_IN_BER || (p->id_inside == PK_ID_IN_PAIRS && bad_width(of->value)) ||
      (p->id_inside != PK_ID_IN_FIELD && of->section > 255) ||
      (p->id_inside >= PK_ID_IN_PROTOBUF && of->path >= p->literals.count))
    return "where the id stands is out of range";
  if (of->first > p->counters.count || of->count > p->counters.count - of->first) return "a counter of the id is out of range";
  for (uint32_t i = 0; of->count > 1 && i < of->count; i++)
    if ((d->counters[of->first + i].form & 15) == 0) return "a counter of the id is out of range"; /* a varint, or digits, count alone */
  return NULL;
}

static int is_literal(const declared *d, int64_t v) { return v >= -1 && v < (int64_t)d->program->literals.count; }

static int all_literals(const declared *d, uint32_t table) {
  const pk_program_table *t = &d->tables[table];
  int all = is_literal(d, t->otherwise);
  for (uint32_t i = 0; i < t->count; i++) all &= is_literal(d, d->entries[t->first + i].value);
  return all;
}

static const char *bad_operands(const declared *d, uint32_t pc) {
  const pk_insn *n = &d->insns[pc];
  switch (n->op) {
    case PK_I_SET: case PK_I_BITS: case PK_I_ADDI: case PK_I_MULI: case PK_I_ANDI: case PK_I_EQI: case PK_I_NEI:
    case PK_I_LTI: case PK_I_LEI: case PK_I_GTI: case PK_I_GEI: break;
    default:
      if (n->i < 0 || (uint32_t)n->i >= most_of(d->program, n->op)) return "its index is out of range";
  }
  switch (n->op) {
    case PK_I_JUMP: case PK_I_JZ: case PK_I_JNZ: case PK_I_JNE: case PK_I_TAKE:
      return (uint32_t)n->i <= pc ? "it jumps backward" : NULL;
    case PK_I_AGAIN:
      return (uint32_t)n->i >= pc || d->insns[n->i].op != PK_I_PARTS || d->insns[n->i].a != n->a
                 ? "its parts begin elsewhere" : NULL;
    case PK_I_LOAD: return n->b < 1 || n->b > 8 ? "its integer's width is out of range" : NULL;
    case PK_I_MARK: return n->b < 1 || n->b > PK_SUM_DIGITS ? "its integer's width is out of range" : NULL;
    case PK_I_UVAR: return n->b < 1 || n->b > 10 ? "its integer's width is out of range" : NULL;
    case PK_I_INTEGER: return bad_width(n->c) ? "its integer's width is out of range" : NULL;
    case PK_I_CHOOSE: return all_literals(d, (uint32_t)n->i) ? NULL : "its table holds what is no literal";
    case PK_I_SUM: return (n->c & 15) < 1 || (n->c & 15) > 8 ? "its integers' width is out of range" : NULL;
    case PK_I_BITS: return n->c > 63 ? "its shift is out of range" : NULL;
    case PK_I_ASKED: return n->b > 31 ? "its shift is out of range" : NULL;
    case PK_I_KIND: return n->i < PK_KIND_REQUEST ? "no frame is of that kind" : NULL;
    case PK_I_SAVE: case PK_I_OWN: return n->i & 1 ? "its index is out of range" : NULL;
    case PK_I_KEEP: return d->parts[n->i].form >= PK_PART_INTEGER ? "the part is an integer" : NULL;
    case PK_I_KEEP_INT: return d->parts[n->i].form < PK_PART_INTEGER ? "the part is no integer" : NULL;
    case PK_I_SPLIT: return d->literals[n->i].size == 0 ? "its separator is empty" : NULL;
    case PK_I_EMIT_ID: case PK_I_EMIT_KEPT: case PK_I_EMIT_SIZE: case PK_I_EMIT_COUNT:
      return n->b > 8 ? "its integer is too wide" : NULL;
    case PK_I_EMIT_DIGITS: return n->b > 20 ? "its integer is too wide" : NULL;
    default: return NULL;
  }
}

/* What is around it may be looked into. */
static int opens_in_parts(const declared *d, uint32_t again) {
  uint32_t i = (uint32_t)d->insns[again].i;
  while (i < again && (d->insns[i].op != PK_I_SECTION || !pk_declared_is_open(d, d->insns[i].a))) i++;
  return i < again;
}

const char *pk_declared_bad_insns(const declared *d) {
  const pk_program *p = d->program;
  if (p->insns.count == 0 || d->insns[p->insns.count - 1].op != PK_I_END) return "the program does not end";
  for (uint32_t i = 0; i < p->insns.count; i++) {
    const char *why = d->insns[i].op >= PK_I_COUNT ? "it is unknown" : bad_operands(d, i);
    if (why == NULL && d->insns[i].op == PK_I_AGAIN && opens_in_parts(d, i)) why = "a part may be told by its front";
    if (why != NULL) return pk_declared_refused(d, i, why);
  }
  return NULL;
}

static int leads_on(const pk_program *p, uint32_t next, uint32_t from) {
  if (next == PK_NOWHERE) return 1;
  return next & PK_LEAF ? (next & ~PK_LEAF) < p->shapes.count : next > from && next < p->tests.count;
}

/* Only what the place says is read. `led`: it may stand behind the leading section. */
static int bad_place(pk_program_place one, uint32_t past, int led) {
  static const uint8_t widths[] = {0, 1, 2, 4, 8, 2, 4};
  if (led) one.form &= PK_PLACE_BEHIND - 1;
  if ((uint32_t)one.offset + one.width > past) return 1;
  if (one.form < sizeof widths) return one.width != widths[one.form];
  return one.form < PK_PLACE_OTHER || one.form > (PK_PLACE_OTHER | 3) || one.width < 1 || one.width > 8;
}

/* What a destination is read from: pairs of pk_frame.own, bit by bit. */
static uint32_t own_of(const declared *d) {
  const pk_program *p = d->program;
  uint32_t found = 0;
  for (uint32_t i = 0; i < p->insns.count; i++)
    if (d->insns[i].op == PK_I_OWN) found |= 1u << d->insns[i].i / 2;
  return found;
}

static int bad_root(const pk_program *p, uint32_t root) {
  if (root != PK_NOWHERE && !(root & PK_LEAF) && root >= p->tests.count) return 1;
  return root & PK_LEAF && !leads_on(p, root, 0);
}

/* Tests lead forward; a shape's fields stand inside its header. */
const char *pk_declared_bad_shapes(const declared *d) {
  const pk_program *p = d->program;
  uint32_t wanted = own_of(d);
  if (bad_root(p, p->root) || bad_root(p, p->server_root)) return "the root is out of range";
  int led = p->lead.width > 0;
  if (bad_place(p->lead, p->lead_at, 0)) return "the leading section's size stands behind it";
  for (uint32_t i = 0; i < p->tests.count; i++)
    if (bad_place(d->tests[i].place, led ? UINT32_MAX : p->tested, led) || !leads_on(p, d->tests[i].yes, i) || !leads_on(p, d->tests[i].no, i))
      return "a test leads nowhere";
  for (uint32_t i = 0; i < p->shapes.count; i++) {
    const pk_program_shape *s = &d->shapes[i];
    pk_program_place all[5 + PK_SHAPE_SECTIONS];
    memcpy(all, &s->timeout, sizeof s->timeout);
    all[1] = s->status;
    memcpy(all + 2, s->keep, sizeof s->keep);
    uint64_t least = (uint64_t)s->header + s->trailer;
    uint32_t own = s->absent, kept = 0;
    if (s->led > led || (s->led && (s->kept > 0 || s->checksum >= 0 || s->quiet != 0 || s->header < p->lead_at)))
      return "a shape is wrong";
    if (s->lead_own != -1 && (!s->led || (s->lead_own != 0 && s->lead_own != 2))) return "a shape is wrong";
    if (s->lead_own >= 0) own |= 1u << s->lead_own / 2;
    if (s->sections > PK_SHAPE_SECTIONS || s->kept > 3 || s->variant >= p->variants) return "a shape is wrong";
    if (s->kind < PK_KIND_REQUEST || s->kind > PK_KIND_GREETING || s->absent > 3 || s->separate > 3)
      return "a shape is wrong";
    if (s->id_at + (p->id_max > 0 ? p->id_max : p->id_bytes) > s->header || s->header > INT32_MAX || s->trailer > INT32_MAX)
      return "a shape is wrong";
    if (s->checksum >= 0 && (uint32_t)s->checksum + 4 != s->trailer) return "a shape is wrong";
    for (uint32_t k = 0; k < PK_SHAPE_SECTIONS; k++) {
      all[5 + k] = s->section[k].size;
      if (s->section[k].own != -1 && s->section[k].own != 0 && s->section[k].own != 2) return "a shape is wrong";
      if (k >= s->sections) continue;
      if (s->section[k].own >= 0) own |= 1u << s->section[k].own / 2;
      if (s->section[k].size.width == 0 && s->section[k].add > 0) least += (uint32_t)s->section[k].add;
    }
    for (uint32_t k = 0; k < 2; k++) {
      if ((uint32_t)s->fixed[k].offset + s->fixed[k].width > s->header) return "a shape looks behind its header";
      if (s->fixed[k].width > 0) own |= 1u << k;
      if (s->fixed[k].width > 0 && s->led) return "a shape is wrong";
    }
    for (uint32_t k = 0; k < 5 + PK_SHAPE_SECTIONS; k++)
      if (bad_place(all[k], s->header, s->led)) return "a shape looks behind its header";
    for (uint32_t k = 0; k < s->kept; k++) kept += s->keep[k].width;
    if (kept > 3) return "a shape keeps more than 3 bytes";
    if (least == 0) return "a shape may have no bytes";
    if (s->kind <= PK_KIND_ONEWAY && (wanted & ~own) != 0) return "a shape lacks what its destination is read from";
    if (s->status.width != 0 && p->status >= p->tables.count) return "a shape is wrong";
  }
  return NULL;
}

static int is_section(const declared *d, uint32_t field) {
  return field < d->program->fields.count && d->fields[field].form == PK_IS_SECTION;
}

/* Whether a map is one that can be changed. */
static int is_open_map(const pk_program *p, const declared *d, uint32_t map) {
  return map < p->maps.count && (d->maps[map].kind <= PK_MAP_LINES || pk_declared_can_put(d->maps[map].kind));
}

static int bad_writer(const declared *d, const pk_program_writer *w) {
  const pk_program *p = d->program;
  uint32_t count = w->count & ~128u;
  switch (w->kind) {
    case PK_WRITE_TEXT: return !is_section(d, w->field);
    case PK_WRITE_ITEM: return !is_section(d, w->field) || !is_open_map(p, d, w->which) || w->literal >= p->literals.count;
    case PK_WRITE_PART:
      return w->inner == PK_NOWHERE || count < 1 || count > 16 || (w->count != count && count < 2) || w->index >= count ||
             w->literal >= p->literals.count || d->literals[w->literal].size == 0;
    case PK_WRITE_FIRST: return w->inner == PK_NOWHERE;
    case PK_WRITE_STEP:
      return !is_section(d, w->field) || w->which >= p->steps.count || w->count < 1 || w->count > 32 || w->index >= w->count;
    case PK_WRITE_INSIDE:
      return !is_section(d, w->field) || w->which >= p->steps.count || w->literal >= p->literals.count || !pk_declared_can_put(w->index);
    case PK_WRITE_LITERAL: return w->literal >= p->literals.count;
    case PK_WRITE_MAP: return !is_section(d, w->field) || !is_open_map(p, d, w->which);
    case PK_WRITE_NUMBER:
      if (w->field >= p->fields.count || d->fields[w->field].form == 0) return 1;
      if (d->fields[w->field].form >= 64 && !pk_declared_is_bits(&d->fields[w->field])) return 1;
      return w->which != PK_NOWHERE && (w->which >= p->tables.count || !all_literals(d, w->which));
    default: return 1;
  }
}

/* Trees, of which none is deep. */
static int bad_writers(const declared *d) {
  const pk_program *p = d->program;
  uint8_t depth[256] = {0}, seen[256] = {0};
  if (p->writers.count > 255) return 1;
  for (uint32_t i = 0; i < p->writers.count; i++) {
    const pk_program_writer *w = &d->writers[i];
    if (bad_writer(d, w) || depth[i] >= PK_WRITE_DEPTH) return 1;
    int inner = w->kind == PK_WRITE_PART || w->kind == PK_WRITE_FIRST;
    const uint32_t to[] = {inner ? w->inner : PK_NOWHERE, w->next};
    for (uint32_t k = 0; k < 2; k++) {
      if (to[k] == PK_NOWHERE) continue;
      if (to[k] <= i || to[k] >= p->writers.count || seen[to[k]]++) return 1;
      if (d->writers[to[k]].kind == PK_WRITE_MAP) return 1;
      depth[to[k]] = (uint8_t)(depth[i] + (k == 0));
    }
  }
  return 0;
}

static const char *bad_changes(const declared *d) {
  const pk_program *p = d->program;
  if (p->editing.count > 0) {
    const pk_program *inner = (const void *)((const uint8_t *)p + p->editing.at);
    if (p->editing.at < sizeof *p || p->editing.count < sizeof *inner || inner->editing.count > 0)
      return "the program of changes is out of range, or has another in it";
  }
  if (p->fields.count > PK_FIELDS) return "there are too many fields that move";
  for (uint32_t i = 0; i < p->fields.count; i++) {
    const pk_program_field *f = &d->fields[i];
    uint32_t width = f->form & 15;
    if (f->at > 255 || f->seen > 255 || f->first > p->counts.count || f->count > p->counts.count - f->first)
      return "a field that moves is out of range";
    if (f->form != PK_IS_SECTION && f->form != 0 && f->count > 0) return "what is no section is counted";
    if (f->form != PK_IS_SECTION && f->seen != f->at && f->form >= 64) return "what is no integer is computed";
    uint32_t shift = f->form >> 16 & 255, bits = f->form >> 24;
    if (pk_declared_is_bits(f) && (width < 1 || width > 8 || bits < 1 || bits > 63 || shift + bits > 8 * width || (f->form & 0xf7f0) != 0))
      return "bits that move are out of range";
    int counts = (f->form < 64 && width <= 8 && (width > 0 || f->form == 0)) || pk_declared_is_digits(f);
    if (f->form != PK_IS_SECTION && f->form != PK_IS_VALUE && (f->form & ~15u) != PK_IS_PLACE && !counts && !pk_declared_is_bits(f)) return "a field that moves is of no form";
    for (uint32_t k = 0; k < i; k++)
      if (d->fields[k].at == f->at || d->fields[k].at == f->seen || d->fields[k].seen == f->at || d->fields[k].seen == f->seen)
        return "a field moves twice";
  }
  for (uint32_t i = 0; i < p->counts.count; i++)
    if (d->counts[i] >= p->fields.count || d->fields[d->counts[i]].form >= PK_IS_SECTION) return "what counts a section is no integer";
  if (bad_writers(d)) return "how something is changed is out of range";
  for (uint32_t i = 0; i < PK_KINDS_OF_CHANGES; i++) {
    uint32_t which = p->changes[i];
    int map = i == PK_EDIT_HEADER || i == PK_CHANGES_OF_ANSWERS;
    if (which != PK_NOWHERE && (which >= p->writers.count || (d->writers[which].kind == PK_WRITE_MAP) != map))
      return "what can be changed is out of range";
  }
  return NULL;
}

const char *pk_declared_bad_editing(const declared *d) {
  const pk_program *p = d->program, *e = d->editing->program;
  if (e->id_bytes != p->id_bytes || e->id_max != p->id_max || e->mode != p->mode) return "the program of changes is of another format";
  return NULL;
}

uint32_t pk_declared_changes(const pk_codec *codec) {
  const declared *d = declared_of(codec)->editing;
  uint32_t found = 0;
  for (uint32_t i = 0; d != NULL && i < PK_KINDS_OF_CHANGES; i++)
    if (d->program->changes[i] != PK_NOWHERE) found |= 1u << i;
  return found;
}

int pk_declared_all_statuses(const declared *d, uint32_t table) {
  const pk_program_table *t = &d->tables[table];
  int all = t->otherwise >= 0 && t->otherwise < PK_STATUS_COUNT;
  for (uint32_t i = 0; i < t->count; i++) {
    int64_t v = d->entries[t->first + i].value;
    all &= v >= 0 && v < PK_STATUS_COUNT;
  }
  return all;
}

const char *pk_declared_bad_indexes(const declared *d) {
  const pk_program *p = d->program;
  if (p->insns.count == 0) return "the program does not end";
  const uint32_t starts[] = {p->frame, p->meaning, p->destination};
  for (size_t i = 0; i < 3; i++)
    if (starts[i] >= p->insns.count) return "an entry is out of range";
  if (p->headers != PK_NOWHERE && p->headers >= p->insns.count) return "an entry is out of range";
  if (p->answers != PK_NOWHERE && p->answers >= p->insns.count) return "an entry is out of range";
  if (p->keep_own != PK_NOWHERE && p->keep_own >= p->insns.count) return "an entry is out of range";
  if (p->arguing != PK_NOWHERE && p->arguing >= p->insns.count) return "an entry is out of range";
  for (uint32_t i = 0; i < p->arguments.count; i++) {
    const pk_program_argument *a = &d->arguments[i];
    if (a->slice >= PK_NO_TEXT || a->guard > PK_NO_TEXT || a->form > PK_ARGUMENT_JSON) return "an argument is out of range";
    if (a->form >= PK_ARGUMENT_MSGPACK && (p->arguments.count > 1 || a->path >= p->literals.count ||
                                           d->literals[a->path].size > PK_ARGUMENT_PATH))
      return "the path to arguments is out of range";
  }
  if (p->asked > 0 && p->keep >= p->insns.count) return "an entry is out of range";
  if (p->asked < p->parts.count && p->heard >= p->insns.count) return "an entry is out of range";
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
  if (p->status != PK_NOWHERE && (p->status >= p->tables.count || !pk_declared_all_statuses(d, p->status)))
    return "the table of statuses is out of range, or holds what is no status";
  for (uint32_t i = 0; i < p->maps.count; i++) {
    const pk_program_map *m = &d->maps[i];
    if (m->first > p->keys.count || m->count > p->keys.count - m->first) return "a map is out of range";
    if (m->kind >= PK_MAP_COUNT) return "a map is of no kind";
    if (m->kind > PK_MAP_LINES && (m->path >= p->literals.count || m->count > 0))
      return "where a map stands is out of range, or its keys are looked up";
    if (m->kind > PK_MAP_LINES && m->names != PK_NOWHERE && (m->names >= p->tables.count || !all_literals(d, m->names)))
      return "the names of a map's keys are out of range";
    if (m->kind == PK_MAP_LINES &&
        (m->lines > (PK_LINES_FIRST | 7 << 1 | 1) || (m->trim != PK_NOWHERE && (m->trim >= p->literals.count || d->literals[m->trim].size == 0))))
      return "how a map's lines are read is out of range";
    if (m->kind == PK_MAP_LINES &&
        (m->between >= p->literals.count || m->after >= p->literals.count ||
         d->literals[m->between].size == 0 || d->literals[m->after].size == 0))
      return "a map's separator is out of range";
    if (m->kind == PK_MAP_PAIRS && (bad_width(m->key_size) || bad_width(m->value_size)))
      return "a map's length is too wide, or has no bytes";
  }
  for (uint32_t i = 0; i < p->keys.count; i++)
    if (d->keys[i].literal >= p->literals.count || d->keys[i].slice > 255) return "a key is out of range";
  for (uint32_t i = 0; i < p->steps.count; i++)
    if (d->steps[i].function == 0 || d->steps[i].first > p->literals.count ||
        d->steps[i].count > p->literals.count - d->steps[i].first)
      return "a step is out of range";
  for (uint32_t i = 0; i < p->measures.count; i++)
    if (d->measures[i].function == 0 || d->measures[i].first > p->literals.count ||
        d->measures[i].count > p->literals.count - d->measures[i].first)
      return "a measure is out of range";
  if (p->app_map != PK_NOWHERE &&
      (p->app_map >= p->maps.count || d->maps[p->app_map].count != 1 || p->app_text >= p->literals.count))
    return "what an application error is is out of range";
  for (uint32_t i = 0; i < p->checksums.count; i++)
    if (d->checksums[i].at > 255 || d->checksums[i].which >= PK_SUM_COUNT || d->checksums[i].first > p->operands.count ||
        d->checksums[i].count > p->operands.count - d->checksums[i].first || d->checksums[i].digits > PK_SUM_DIGITS)
      return "a checksum is out of range";
  for (uint32_t i = 0; i < p->operands.count; i++)
    if (d->operands[i] > 255) return "an operand is out of range";
  if (p->opens > p->operands.count) return "what nothing looks into is out of range";
  for (uint32_t i = 0; i < p->counters.count; i++) {
    const pk_program_counter *c = &d->counters[i];
    uint32_t width = c->form & 15, alone = width == 0, digits = (c->form & ~(uint32_t)PK_COUNT_FIXED) == PK_COUNT_DIGITS;
    if (c->at > 255 || width > 8 || (!digits && c->form >= 64) || (alone && !(digits || c->form == 0)))
      return "a counter of the id is out of range";
  }
  const char *bad = bad_changes(d);
  if (bad != NULL) return bad;
  if (p->asked > p->parts.count || p->asked > PK_PARTS || p->parts.count - p->asked > PK_PARTS)
    return "more is kept of a request than there is room for";
  for (uint32_t i = 0; i < p->parts.count; i++)
    if (d->parts[i].form > PK_PART_VARINT || d->parts[i].most > (d->parts[i].form >= PK_PART_INTEGER ? 8 : 255))
      return "a part that is kept is out of range";
  if (pk_declared_keep_max(d, asked_parts(d)) > PK_KEEP_MAX || pk_declared_keep_max(d, heard_parts(d)) > PK_KEEP_MAX)
    return "more is kept of a request than there is room for";
  for (uint32_t i = 0; i < p->greetings.count; i++)
    if (d->greetings[i].first > p->sayings.count || d->greetings[i].count > p->sayings.count - d->greetings[i].first)
      return "what is said in a greeting is out of range";
  for (uint32_t i = 0; i < p->sayings.count; i++)
    if (d->sayings[i].from != PK_FROM_CLIENT && d->sayings[i].from != PK_FROM_SERVER) return "a greeting is said by nobody";
  if (p->id_max > PK_ID_MAX || (p->id_delimiter != PK_NOWHERE && p->id_delimiter >= p->literals.count))
    return "the id is out of range";
  const char *wrong = bad_id(d, &p->id_of[0]);
  if (wrong == NULL) wrong = bad_id(d, &p->id_of[1]);
  if (wrong != NULL) return wrong;
  if (p->id_delimiter != PK_NOWHERE && d->literals[p->id_delimiter].size == 0) return "the id's delimiter is empty";
  if (d->literals[p->name].size == 0 || d->literals[p->name].data[d->literals[p->name].size - 1] != 0)
    return "its name has no end";
  return NULL;
}

const char *pk_declared_bad_image(const pk_program *p, size_t size) {
  if (size < sizeof *p || p->magic != PK_PROGRAM_MAGIC || p->size != size) return "it is no program";
  if (p->greetings.count > PK_GREETING_STEPS || p->sayings.count > PK_SAYINGS || p->reserved_count > 4 || p->id_bytes > 8 || p->name >= p->literals.count) return "its header is wrong";
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
      !in_image(p, p->counters, sizeof(pk_program_counter)) || !in_image(p, p->parts, sizeof(pk_program_part)) ||
      !in_image(p, p->greetings, sizeof(pk_program_greeting)) || !in_image(p, p->sayings, sizeof(pk_program_saying)) ||
      !in_image(p, p->measures, sizeof(pk_program_measure)) || !in_image(p, p->arguments, sizeof(pk_program_argument)) ||
      !in_image(p, p->editing, 1) || !in_image(p, p->fields, sizeof(pk_program_field)) ||
      !in_image(p, p->writers, sizeof(pk_program_writer)) || !in_image(p, p->counts, 4))
    return "an array is outside of the image";
  return bad_literal(p);
}
