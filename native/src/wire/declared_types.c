/* declared_types.c: what registers and slices hold at each instruction, over all paths, before any frame comes.
 *
 * Jumps lead forward but for AGAIN, so one pass sees every path: what several bring to an instruction is merged there, and
 * where they differ nothing is known. What reads something that a path has not written is refused, and what takes a
 * number for a place or a place for a number, and what looks at bytes that no path has made sure of. */
#include "base/sums.h"
#include "wire/declared.h"

#include <stdio.h>
#include <stdlib.h>

/* Of registers. A section has two: where it begins (-1: it is absent), and its size. */
enum { UNWRITTEN, INTEGER, STATUS, SECTION, SIZE, PLACE };
/* Of slices: those that may point into constants too, and those that are of the frame. */
enum { ANYWHERE = 1, IN_FRAME };
enum { REGISTERS = 257, SLICES = 512, NOWHERE = 255 };

typedef struct facts {
  uint8_t reached;
  uint8_t whole; /* it was read to the frame's end, and all is there */
  uint8_t front; /* all that was read so far is there */
  uint8_t named; /* it was said what kind of frame this is */
  uint64_t read;          /* bytes, at least */
  uint64_t there, marked; /* bytes from `at` on that are there; that something was said to stand in */
  uint8_t r[REGISTERS], width[REGISTERS]; /* width: of the integer at a PLACE; 0: a varint, NOWHERE: there is none */
  uint8_t s[SLICES];
} facts;

typedef enum entry { FRAME, AGAIN, DESTINATION, HEADERS, ANSWERS, KEEP } entry; /* AGAIN: what a wrong frame means, to answer it;
                                                                          KEEP: what is kept of it, wrong or right */

typedef struct checker {
  const declared *d;
  entry mode;
  uint32_t pc;
  const pk_insn *n;
  facts now;
  facts **later;    /* what jumps bring to each instruction */
  facts **parts;    /* what holds where the parts of a section begin, each of them */
  uint32_t *stepped; /* where each step puts its texts: a | c << 8, 1 << 16: it has been seen */
  facts end, wrong; /* what all ends have in common; and all places at which a frame is found wrong and answered */
  const char *why;
} checker;

static void refuse(checker *c, const char *why) {
  if (c->why == NULL) c->why = pk_declared_refused(c->d, c->pc, why);
}

static void refuse_index(checker *c, const char *what, uint32_t index, const char *why) {
  char text[100];
  snprintf(text, sizeof text, "%s %u %s", what, (unsigned)index, why);
  refuse(c, text);
}

static int is_number(uint8_t is) { return is == INTEGER || is == STATUS || is == SIZE; }

static uint8_t merged_register(const facts *a, const facts *b, uint32_t i) {
  uint8_t x = a->r[i], y = b->r[i];
  if (x == PLACE && y == PLACE && a->width[i] != b->width[i] && a->width[i] != NOWHERE && b->width[i] != NOWHERE)
    return UNWRITTEN;
  if (x == y) return x;
  return is_number(x) && is_number(y) ? INTEGER : UNWRITTEN;
}

static void merge(facts *to, const facts *from) {
  if (!from->reached) return;
  if (!to->reached) {
    *to = *from;
    return;
  }
  to->whole &= from->whole;
  to->front &= from->front;
  if (from->read < to->read) to->read = from->read;
  to->named &= from->named;
  if (from->there < to->there) to->there = from->there;
  if (from->marked > to->marked) to->marked = from->marked;
  for (uint32_t i = 0; i < REGISTERS; i++) {
    to->r[i] = merged_register(to, from, i);
    if (to->width[i] == NOWHERE) to->width[i] = from->width[i];
  }
  for (uint32_t i = 0; i < SLICES; i++)
    if (from->s[i] < to->s[i]) to->s[i] = from->s[i];
}

static void jump(checker *c, uint32_t to) {
  if (c->later[to] == NULL) c->later[to] = calloc(1, sizeof(facts));
  if (c->later[to] == NULL) {
    c->why = "out of memory";
  } else {
    merge(c->later[to], &c->now);
  }
}

/* Registers. */

static void number(checker *c, uint32_t i) {
  uint8_t is = c->now.r[i];
  if (is == UNWRITTEN) refuse_index(c, "register", i, "is read, which some path has not written");
  if (is == SECTION) refuse_index(c, "register", i, "is where a section begins, and is read as a number");
  if (is == PLACE) refuse_index(c, "register", i, "is where an integer stands, and is read as a number");
}

static void section(checker *c, uint32_t i) {
  uint8_t is = c->now.r[i];
  if (is == UNWRITTEN) refuse_index(c, "register", i, "is read, which some path has not written");
  if (is != UNWRITTEN && is != SECTION) refuse_index(c, "register", i, "is a number, and is read as a section");
  if (pk_declared_is_open(c->d, i)) refuse_index(c, "register", i, "is a section that nothing was to look into");
}

/* Of a varint, which was read: it stands in front of `at`. */
static void varint(checker *c, uint32_t i) {
  if (c->now.r[i] != PLACE || c->now.width[i] != 0) refuse_index(c, "register", i, "is no place of a varint on some path");
}

static void set(checker *c, uint32_t i, uint8_t is) {
  facts *f = &c->now;
  if (f->r[i] == SIZE) f->r[i - 1] = UNWRITTEN;
  if (f->r[i] == SECTION) f->r[i + 1] = INTEGER;
  f->r[i] = is;
}

static void set_section(checker *c, uint32_t i) {
  set(c, i, INTEGER);
  set(c, i + 1, INTEGER);
  c->now.r[i] = SECTION;
  c->now.r[i + 1] = SIZE;
}

static void set_place(checker *c, uint32_t i, uint8_t width) {
  set(c, i, PLACE);
  c->now.width[i] = width;
}

/* Slices. */

static void text(checker *c, uint32_t i) {
  if (c->now.s[i] == 0) refuse_index(c, "text", i, "is read, which some path has not written");
}

/* Bytes. */

static void here(checker *c, int64_t from, uint64_t size) {
  if (from < 0 || (uint64_t)from + size > c->now.there) refuse(c, "bytes are read that need not be there");
}

static void mark(checker *c, int64_t from, uint64_t size) {
  here(c, from, size);
  c->now.whole = 0;
  if ((uint64_t)from + size > c->now.marked) c->now.marked = (uint64_t)from + size;
}

/* Read on: by so many bytes at least. */
static void moved(checker *c, uint64_t least) {
  facts *f = &c->now;
  f->whole = 0;
  f->read += least;
  f->there = least < f->there ? f->there - least : 0;
  f->marked = least < f->marked ? f->marked - least : 0;
}

static void unknown(checker *c, uint64_t least) {
  moved(c, least);
  c->now.there = 0;
}

/* It may stop here for more bytes, and goes on from registers alone; behind it all in front is there. */
static void stop(checker *c) {
  c->now.front = 1;
  memset(c->now.s, 0, sizeof c->now.s);
}

/* In front of the first part; what is known here has to hold in front of all others, so what need not is forgotten. */
static void parts(checker *c) {
  facts *f = &c->now;
  set_section(c, c->n->a);
  f->whole = f->front = 0;
  f->there = 0;
  memset(f->s, 0, sizeof f->s);
  for (uint32_t i = 0; i < REGISTERS; i++)
    if (f->r[i] == STATUS) f->r[i] = INTEGER;
  if (c->parts[c->pc] == NULL) c->parts[c->pc] = malloc(sizeof *f);
  if (c->parts[c->pc] == NULL) {
    c->why = "out of memory";
  } else {
    *c->parts[c->pc] = *f;
  }
}

/* Behind a part: the next one finds what the first one did. */
static void again(checker *c) {
  const pk_insn *n = c->n;
  const facts *begun = c->parts[n->i];
  number(c, n->b);
  section(c, n->a);
  if (begun == NULL) {
    refuse(c, "its parts never begin");
    return;
  }
  facts both = *begun;
  merge(&both, &c->now);
  if (c->now.read <= begun->read) refuse(c, "a part may have no bytes");
  if (both.marked > begun->marked) refuse(c, "something stands behind a part's end");
  for (uint32_t i = 0; i < REGISTERS; i++)
    if (both.r[i] != begun->r[i] || (both.r[i] == PLACE && both.width[i] != begun->width[i]))
      refuse_index(c, "register", i, "is something else behind a part than in front of it");
}

static void framing(checker *c) {
  const pk_insn *n = c->n;
  const declared *d = c->d;
  facts *f = &c->now;
  if (c->mode != FRAME) refuse(c, "stands outside of the framing");
  switch (n->op) {
    case PK_I_NEED: case PK_I_SUM: case PK_I_UNTIL: case PK_I_UVAR: case PK_I_MEASURE: case PK_I_REST: case PK_I_HERE:
    case PK_I_WHOLE: stop(c); break;
    case PK_I_MAGIC:
      if (d->literals[n->i].size > 0) stop(c);
      break;
    default: break;
  }
  switch (n->op) {
    case PK_I_NEED:
      if (f->there < (uint32_t)n->i) f->there = (uint32_t)n->i;
      break;
    case PK_I_SPOT: text(c, n->b), set_section(c, n->a); break;
    case PK_I_LENGTH: text(c, n->b), set(c, n->a, INTEGER); break;
    case PK_I_SKIP:
      here(c, 0, (uint32_t)n->i);
      moved(c, (uint32_t)n->i);
      break;
    case PK_I_LOAD: here(c, n->i, n->b), set(c, n->a, INTEGER); break;
    case PK_I_LOAD1: here(c, n->i, 1), set(c, n->a, INTEGER); break;
    case PK_I_LOAD2: case PK_I_LOAD2S: here(c, n->i, 2), set(c, n->a, INTEGER); break;
    case PK_I_LOAD4: case PK_I_LOAD4S: here(c, n->i, 4), set(c, n->a, INTEGER); break;
    case PK_I_LOAD8: here(c, n->i, 8), set(c, n->a, INTEGER); break;
    case PK_I_IDAT: mark(c, n->i, d->program->id_bytes); break;
    case PK_I_SECTION: number(c, n->b), unknown(c, 0), set_section(c, n->a), f->front = 0; break;
    case PK_I_MEASURE: here(c, 0, 1), unknown(c, 1), set_section(c, n->a), f->front = 0; break;
    case PK_I_REST: unknown(c, f->read == 0), set_section(c, n->a); break;
    case PK_I_SUM: number(c, n->b), unknown(c, 0), set(c, n->a, INTEGER); break;
    case PK_I_UNTIL: unknown(c, d->literals[d->delimiters[n->i].literal].size), set_section(c, n->a); break;
    case PK_I_UVAR:
      unknown(c, 1);
      set(c, n->a, INTEGER);
      if (n->c != 0) set_place(c, (uint32_t)n->i, 0);
      break;
    case PK_I_MAGIC: unknown(c, d->literals[n->i].size); break;
    case PK_I_PARTS: parts(c); break;
    case PK_I_AGAIN: again(c); break;
    case PK_I_SINCE: varint(c, n->b), set_section(c, n->a); break;
    case PK_I_SPAN: mark(c, n->i, (uint32_t)n->b << 8 | n->c), set_section(c, n->a); break;
    case PK_I_MARK: mark(c, n->i, n->b), set_place(c, n->a, n->b); break;
    case PK_I_WHOLE:
      if (f->marked > 0) refuse(c, "something stands behind the frame's end");
      if (f->read == 0) refuse(c, "a frame may have no bytes");
      f->whole = 1;
      break;
    case PK_I_VERIFY: {
      const pk_program_checksum *sum = &d->checksums[n->i];
      if (!f->whole) refuse(c, "the frame need not be there");
      if (f->r[sum->at] != PLACE || (f->width[sum->at] != pk_declared_sum_room(sum) && f->width[sum->at] != NOWHERE))
        refuse_index(c, "register", sum->at, "is no place of a checksum on some path");
      for (uint32_t i = 0; i < sum->count; i++) section(c, d->operands[sum->first + i]);
      break;
    }
    default: break;
  }
}

static void meaning(checker *c) {
  const pk_insn *n = c->n;
  if (c->mode != FRAME && c->mode != AGAIN) refuse(c, "stands outside of the frame's meaning");
  switch (n->op) {
    case PK_I_ID_AT: {
      uint8_t width = c->now.width[n->a];
      if (c->now.r[n->a] != PLACE || (width != c->d->program->id_bytes && width != NOWHERE))
        refuse_index(c, "register", n->a, "is no place of an id on some path");
      break;
    }
    case PK_I_NAMED:
      if (c->d->program->id_max == 0) refuse(c, "ids are integers here");
      section(c, n->a);
      break;
    case PK_I_NAMED_IN:
      if (c->d->program->id_max == 0) refuse(c, "ids are integers here");
      text(c, n->a);
      if (c->now.s[n->a] != IN_FRAME) refuse_index(c, "text", n->a, "need not stand in the frame");
      break;
    case PK_I_ID:
      if (c->d->program->id_max > 0) refuse(c, "ids are byte strings here");
      number(c, n->a);
      break;
    case PK_I_KIND: c->now.named = 1; break;
    case PK_I_STATUS:
      number(c, n->a);
      if (c->now.r[n->a] != STATUS) refuse_index(c, "register", n->a, "may hold what is no status");
      break;
    case PK_I_SAVE: section(c, n->a); break;
    case PK_I_TIMEOUT: case PK_I_CONTEXT: case PK_I_KEY: case PK_I_SAYS: case PK_I_FORM: number(c, n->a); break;
    default: break;
  }
}

static void arithmetic(checker *c) {
  const pk_insn *n = c->n;
  uint8_t is = INTEGER;
  if (n->op == PK_I_SET) {
    is = n->i >= 0 && n->i < PK_STATUS_COUNT ? STATUS : INTEGER;
  } else if (n->op != PK_I_CONST && n->op != PK_I_SIDE && n->op != PK_I_ASKED) {
    number(c, n->b);
    if (n->op >= PK_I_ADD && n->op <= PK_I_GE) number(c, n->c);
    if (n->op == PK_I_MOVE) is = c->now.r[n->b] == STATUS ? STATUS : INTEGER;
    if (n->op == PK_I_TABLE && pk_declared_all_statuses(c->d, (uint32_t)n->i)) is = STATUS;
  }
  set(c, n->a, is);
}

static void texts(checker *c) {
  const pk_insn *n = c->n;
  const declared *d = c->d;
  uint8_t *s = c->now.s;
  int to = c->mode == DESTINATION;
  switch (n->op) {
    case PK_I_OWN:
      if (c->mode != DESTINATION && c->mode != HEADERS && c->mode != KEEP) refuse(c, "stands outside of the destination");
      s[n->a] = IN_FRAME;
      break;
    case PK_I_SLICE:
      section(c, n->b);
      if (!c->now.whole && !c->now.front) refuse(c, "the frame need not be there");
      s[n->a] = IN_FRAME;
      break;
    case PK_I_LITERAL: s[n->a] = ANYWHERE; break;
    case PK_I_NONE: s[n->a] = IN_FRAME; break;
    case PK_I_COPY: text(c, n->b), s[n->a] = s[n->b]; break;
    case PK_I_LOOK: {
      const pk_program_map *m = &d->maps[n->i];
      text(c, n->b);
      uint8_t from = s[n->b];
      for (uint32_t i = 0; i < m->count; i++) s[d->keys[m->first + i].slice] = from;
      break;
    }
    case PK_I_SPLIT: {
      text(c, n->b);
      uint8_t from = s[n->b];
      for (uint32_t i = 0; i < (n->c & 31u); i++) s[n->a + i] = from;
      break;
    }
    case PK_I_STEP: {
      uint32_t where = n->a | (uint32_t)n->c << 8 | 1u << 16;
      text(c, n->b);
      if (c->stepped[n->i] != 0 && c->stepped[n->i] != where) refuse(c, "a step that runs once puts its texts elsewhere");
      c->stepped[n->i] = where;
      for (uint32_t i = 0; i < n->c; i++) s[n->a + i] = ANYWHERE;
      break;
    }
    case PK_I_PLACE: text(c, n->b), s[n->a] = s[n->b]; break;
    case PK_I_NUMBER: text(c, n->b), set(c, n->a, INTEGER); break;
    case PK_I_SAME: text(c, n->b), set(c, n->a, INTEGER); break;
    case PK_I_INTEGER: text(c, n->b), set(c, n->a, INTEGER); break;
    case PK_I_DIGITS: case PK_I_CHOOSE: number(c, n->b), s[n->a] = ANYWHERE; break;
    case PK_I_TO:
      if (!to) refuse(c, "stands outside of the destination");
      if (n->a != PK_NO_TEXT) text(c, n->a);
      if (n->b != PK_NO_TEXT) text(c, n->b);
      if (n->c != PK_NO_TEXT) text(c, n->c);
      if (n->i != PK_NO_TEXT) text(c, (uint32_t)n->i);
      break;
    case PK_I_BUDGET:
      if (!to) refuse(c, "stands outside of the destination");
      number(c, n->a);
      break;
    case PK_I_HEADERS:
      if (c->mode != HEADERS && c->mode != ANSWERS) refuse(c, "stands outside of the headers");
      text(c, n->a);
      if (s[n->a] != IN_FRAME) refuse_index(c, "text", n->a, "need not stand in the frame");
      break;
    case PK_I_PART: case PK_I_KEEP: case PK_I_KEEP_INT:
      if (c->mode != KEEP) refuse(c, "stands outside of what is kept");
      if (n->op == PK_I_PART) section(c, n->b), s[n->a] = IN_FRAME;
      if (n->op == PK_I_KEEP) text(c, n->a);
      if (n->op == PK_I_KEEP_INT) number(c, n->a);
      break;
    default: break;
  }
}

static int finds_wrong(const pk_insn *n) {
  switch (n->op) {
    case PK_I_NEED: case PK_I_SECTION: case PK_I_SUM: case PK_I_UNTIL: case PK_I_UVAR: case PK_I_MEASURE: case PK_I_REST:
    case PK_I_CHECK:
    case PK_I_MAGIC: case PK_I_HERE: case PK_I_LENGTH: case PK_I_WHOLE: case PK_I_VERIFY: return 1;
    case PK_I_LOOK: return n->a != 0;
    default: return 0;
  }
}

/* The next instruction's facts; a path that ends here has none. */
static void follow(checker *c) {
  const pk_insn *n = c->n;
  uint32_t to = (uint32_t)n->i;
  if (c->mode == FRAME && finds_wrong(n) && c->pc >= c->d->program->answerable) merge(&c->wrong, &c->now);
  switch (n->op) {
    case PK_I_JUMP:
      jump(c, to);
      c->now.reached = 0;
      break;
    case PK_I_JZ: case PK_I_JNZ: case PK_I_JNE: number(c, n->a), jump(c, to); break;
    case PK_I_CHECK:
      if (c->mode != FRAME) refuse(c, "stands outside of the framing");
      number(c, n->a);
      break;
    case PK_I_BITS: number(c, n->b), set(c, n->a, INTEGER); break;
    case PK_I_ABSENT: set_section(c, n->a); break;
    case PK_I_READABLE:
      section(c, n->b);
      number(c, n->c);
      set_section(c, n->a);
      break;
    case PK_I_NOPLACE: set_place(c, n->a, NOWHERE); break;
    case PK_I_EARLY:
      if (c->mode == AGAIN) c->now.reached = 0;
      break;
    case PK_I_TAKE: {
      text(c, n->b);
      uint8_t kept = c->now.s[n->a];
      c->now.s[n->a] = c->now.s[n->b];
      jump(c, to);
      c->now.s[n->a] = kept;
      break;
    }
    case PK_I_END:
      if (c->mode == FRAME && !c->now.whole) refuse(c, "the frame need not be there");
      if (c->mode == FRAME && !c->now.named) refuse(c, "no path said what kind of frame this is");
      merge(&c->end, &c->now);
      c->now.reached = 0;
      break;
    default:
      if (n->op >= PK_I_EMIT) {
        refuse(c, "stands outside of a reply");
      } else if (n->op >= PK_I_OWN) {
        texts(c);
      } else if (n->op >= PK_I_NAMED) {
        meaning(c);
      } else if (n->op >= PK_I_SET) {
        arithmetic(c);
      } else {
        framing(c);
      }
  }
}

/* All paths from an entry, with these facts. */
static const char *walk(checker *c, entry mode, uint32_t from, const facts *given) {
  const pk_program *p = c->d->program;
  c->mode = mode;
  c->now = *given;
  c->now.reached = 1;
  c->end.reached = 0;
  memset(c->stepped, 0, p->steps.count * sizeof *c->stepped);
  for (c->pc = from; c->pc < p->insns.count; c->pc++) {
    facts *joined = c->later[c->pc];
    if (joined != NULL) {
      merge(&c->now, joined);
      free(joined);
      c->later[c->pc] = NULL;
    }
    c->n = &c->d->insns[c->pc];
    if (c->why == NULL && c->now.reached) follow(c);
  }
  return c->why;
}

static const char *counters(checker *c) {
  const pk_program *p = c->d->program;
  for (uint32_t i = 0; c->end.reached && i < p->counters.count; i++) {
    const pk_program_counter *one = &c->d->counters[i];
    uint8_t width = c->end.width[one->at];
    if (one->form & PK_COUNT_DIGITS) {
      if (c->end.r[one->at] != SECTION || pk_declared_is_open(c->d, one->at)) return "digits that count an id are no section on some path";
    } else if (c->end.r[one->at] != PLACE || (width != (one->form & 15) && width != NOWHERE)) {
      return "what counts an id is no place on some path";
    }
  }
  for (uint32_t i = 0; c->end.reached && i < p->fields.count; i++) {
    const pk_program_field *one = &c->d->fields[i];
    uint8_t is = pk_declared_is_sized(one) ? SECTION : PLACE, width = c->end.width[one->at];
    if (one->form == PK_IS_VALUE) {
      if (!is_number(c->end.r[one->at])) return "what a frame is laid out by is no number on some path";
      continue;
    }
    if (pk_declared_is_said(one) && !is_number(c->end.r[one->seen])) return "what an integer has to be is no number on some path";
    if (c->end.r[one->at] != is || (!pk_declared_is_said(one) && c->end.r[one->seen] != is)) return "a field that moves is not there on some path";
    if (is == SECTION && (pk_declared_is_open(c->d, one->at) || pk_declared_is_open(c->d, one->seen))) return "a section moves that nothing was to look into";
    if (is == PLACE && width != (one->form & 15) && width != NOWHERE) return "what counts a section is no place on some path";
  }
  for (uint32_t i = 0; c->end.reached && p->id_inside != PK_ID_IN_FIELD && i < 2; i++)
    if (c->end.r[p->id_of[i].section] != SECTION || pk_declared_is_open(c->d, p->id_of[i].section))
      return "the id stands in what is no section on some path";
  for (uint32_t i = 0; c->end.reached && i < p->checksums.count; i++) {
    const pk_program_checksum *one = &c->d->checksums[i];
    uint8_t width = c->end.width[one->at];
    if (c->end.r[one->at] != PLACE || (width != pk_declared_sum_room(one) && width != NOWHERE)) return "a checksum has no place on some path";
    for (uint32_t k = 0; k < one->count; k++)
      if (c->end.r[c->d->operands[one->first + k]] != SECTION || pk_declared_is_open(c->d, c->d->operands[one->first + k])) return "what a checksum is of is no section on some path";
  }
  return NULL;
}

static const char *all_paths(checker *c) {
  const pk_program *p = c->d->program;
  facts nothing = {0}, given = {0}, answer = {0}, some = {0};
  if (walk(c, FRAME, p->frame, &nothing) != NULL) return c->why;
  const char *why = counters(c);
  if (why != NULL) return why;
  if (c->end.reached) memcpy(answer.r, c->end.r, sizeof answer.r), answer.whole = 1;
  if (p->rerun) given = answer;
  merge(&some, &c->end);
  merge(&some, &c->wrong);
  some.whole = some.front = 0;
  if (c->wrong.reached) {
    facts again = {0};
    memcpy(again.r, c->wrong.r, sizeof again.r);
    memcpy(again.width, c->wrong.width, sizeof again.width);
    again.whole = c->wrong.whole;
    if (walk(c, AGAIN, p->meaning, &again) != NULL) return c->why;
  }
  if (walk(c, DESTINATION, p->destination, &given) != NULL) return c->why;
  if (p->headers != PK_NOWHERE && walk(c, HEADERS, p->headers, &given) != NULL) return c->why;
  if (p->answers != PK_NOWHERE && walk(c, ANSWERS, p->answers, &answer) != NULL) return c->why;
  if (p->arguing != PK_NOWHERE && walk(c, ANSWERS, p->arguing, &answer) != NULL) return c->why;
  for (uint32_t i = 0; p->arguing != PK_NOWHERE && c->end.reached && i < p->arguments.count; i++) {
    const pk_program_argument *a = &c->d->arguments[i];
    if (c->end.s[a->slice] == 0 || (a->guard != PK_NO_TEXT && c->end.s[a->guard] == 0))
      return "an argument's text is not found on some path";
  }
  if (p->keep_own != PK_NOWHERE && walk(c, KEEP, p->keep_own, &nothing) != NULL) return c->why;
  if (p->asked > 0 && walk(c, KEEP, p->keep, &some) != NULL) return c->why;
  if (heard_parts(c->d).count > 0) walk(c, KEEP, p->heard, &answer);
  return c->why;
}

const char *pk_declared_bad_paths(const declared *d) {
  const pk_program *p = d->program;
  checker *c = calloc(1, sizeof *c);
  if (c != NULL) {
    *c = (checker){.d = d,
                   .later = calloc(p->insns.count, sizeof *c->later),
                   .parts = calloc(p->insns.count, sizeof *c->parts),
                   .stepped = calloc(p->steps.count + 1, sizeof *c->stepped)};
  }
  const char *why = c == NULL || c->later == NULL || c->parts == NULL || c->stepped == NULL ? "out of memory" : all_paths(c);
  for (uint32_t i = 0; c != NULL && c->later != NULL && i < p->insns.count; i++) free(c->later[i]);
  for (uint32_t i = 0; c != NULL && c->parts != NULL && i < p->insns.count; i++) free(c->parts[i]);
  if (c != NULL) free(c->later), free(c->parts), free(c->stepped);
  free(c);
  return why;
}
