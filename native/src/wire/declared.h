/* declared.h: what the files of the declared codec share. Each uses only those before it, here and below:
 * declared_check.c, whether a program's numbers are in range; declared_types.c, whether it can be run on all its paths;
 * declared_place.c, where ids stand that are no field; declared_texts.c, finding texts; declared_run.c, running programs;
 * declared_arguments.c, arguments of calls; declared_quick.c, whole and right frames by their shapes; declared_ids.c, frames with another
 * id; declared_section.c, sections that are changed; declared_put.c, structures that are; declared_map.c, maps that are;
 * declared_edit.c, frames that are; declared_keep.c, what is kept of requests; declared_reply.c, replies; declared.c, the codec. */
#ifndef PK_DECLARED_H
#define PK_DECLARED_H

#include <string.h>

#include "base/checksum.h"
#include "base/sums.h"
#include "wire/digits.h"
#include "wire/integers.h"
#include "wire/loaded.h"
#include "wire/program.h"
#include "wire/steps/path.h"

enum { HAS_CHECKSUM = 1, SEALED_AT_END = 2, LITTLE_ID = 4 }; /* pk_frame.flags */
enum { FORMS = 1 }; /* of pk_frame.own, where a greeting's forms are */

typedef struct quick_place {
  pk_program_place place;
  uint16_t at;
  uint8_t plain, left, right, is_signed, behind;
} quick_place;

typedef struct quick_section {
  quick_place size;
  int8_t own;
  uint8_t judged; /* it says whether an answer is an application error */
  uint8_t less;   /* as PK_PLACE_LESS */
  int32_t add;
  uint32_t most, usual; /* of what stands there, as if it were unsigned; where it is usually empty, so */
} quick_section;

enum { IS_FIXED = 4 }; /* quick_shape.absent: it is not absent, but an integer of the header; and the next bit */

/* A shape as it is read fastest. */
typedef struct quick_shape {
  uint32_t header, trailer, sum_at, context, key, front;
  uint16_t id_at;
  uint8_t kind, sections, checked, timed, judged, kept, plain, loud, absent, flags, led;
  int8_t lead_own;
  pk_program_place fixed[2];
  quick_place id, timeout, status, keep[3];
  quick_section section[PK_SHAPE_SECTIONS];
} quick_shape;

/* A test as it is made fastest. */
typedef struct quick_test {
  uint64_t mask, value; /* plain: of the eight bytes that end there */
  uint32_t past, yes, no;
  uint8_t behind, plain;
} quick_test;

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
  union {
    pk_codec codec;
    pk_loaded loaded;
  };
  const pk_program *program; /* the image */
  const pk_insn *insns;
  const int64_t *constants;
  const pk_program_delimiter *delimiters;
  const pk_program_table *tables;
  const pk_program_entry *entries;
  const pk_program_map *maps;
  const pk_program_key *keys;
  const pk_program_step *steps;
  const pk_program_measure *measures;
  const pk_program_checksum *checksums;
  const uint32_t *operands, *replies;
  const pk_program_test *tests;
  const pk_program_shape *shapes;
  const pk_program_counter *counters;
  const pk_program_part *parts;
  const pk_program_greeting *greetings;
  const pk_program_saying *sayings;
  const pk_program_argument *arguments;
  const pk_program_field *fields;
  const pk_program_writer *writers;
  const uint32_t *counts;
  const struct declared *editing; /* the program that is run to change frames; NULL: nothing can be changed */
  pk_slice *literals;
  quick_shape *quick;
  quick_test *quick_tests;
  quick_map *quick_maps;
  quick_key *quick_keys;
  quick_place lead; /* as pk_program has them */
  uint32_t lead_at;
  int32_t lead_add;
  int64_t usual_status; /* the wire's OK */
  uint8_t usual;
  uint8_t far; /* tests look behind the first 16 bytes */
  uint8_t sided; /* each side has shapes of its own */
  uint64_t mask_a, mask_b; /* the bytes that tests look at, of the first 16 */
  uint8_t id_form;
  uint32_t registers; /* that framing may write */
  uint8_t ends; /* the peer's end may end a frame */
  uint8_t keeps; /* pairs of pk_frame.own that keep_own reads, bit by bit */
} declared;

static inline const declared *declared_of(const pk_codec *codec) { return codec->user; }

/* Any index that an instruction can name is inside. */
typedef struct machine {
  int64_t r[258];
  uint64_t stepped; /* steps that have run, bit by bit */
  pk_slice s[512];
  uint8_t *kept, *kept_end; /* where what is kept is put */
  uint64_t at;     /* where a program begins, and where it stopped for more bytes */
  uint32_t sought; /* from there: no delimiter begins in so many bytes */
  uint64_t measured[4]; /* from there: where a measure stopped (pk_measure) */
} machine;

static inline uint64_t get16(const uint8_t *p) { return (uint64_t)p[0] << 8 | p[1]; }
static inline uint64_t get32(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return __builtin_bswap32(v);
}
static inline uint64_t get64(const uint8_t *p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return __builtin_bswap64(v);
}

/* By parts, as it was written: a load of both at once would wait until the stores are through. */
static inline void copy(pk_slice *to, const pk_slice *from) {
  to->data = from->data;
  to->size = from->size;
}

static inline uint32_t milliseconds(int64_t v) { return v <= 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v; }

typedef struct pairs {
  const uint8_t *at, *end;
  uint32_t form; /* of a map in a structure: its family's own */
} pairs;

typedef struct headers {
  pk_slice section;
  uint32_t map;
} headers;

static inline int64_t lookup(const declared *d, uint32_t index, int64_t key) {
  const pk_program_table *t = &d->tables[index];
  for (uint32_t i = 0; i < t->count; i++)
    if (d->entries[t->first + i].key == key) return d->entries[t->first + i].value;
  return t->otherwise;
}

/* Why a program cannot be run, or NULL, in this order (replies after instructions): each relies on those before it. */
const char *pk_declared_bad_image(const pk_program *p, size_t size);
const char *pk_declared_bad_indexes(const declared *d);
const char *pk_declared_bad_insns(const declared *d);
const char *pk_declared_bad_shapes(const declared *d);
const char *pk_declared_bad_paths(const declared *d);
/* And of the program in it that is run to change frames, which was loaded. */
const char *pk_declared_bad_editing(const declared *d);

int pk_declared_all_statuses(const declared *d, uint32_t table);

/* The reason with the instruction in front of it. */
const char *pk_declared_refused(const declared *d, uint32_t pc, const char *why);

/* Where `what` stands in at[0..end), or NULL. */
const uint8_t *pk_declared_find(const uint8_t *at, const uint8_t *end, pk_slice what);

/* Whether that register is a section's that nothing looks into. */
static inline int pk_declared_is_open(const declared *d, uint32_t reg) {
  uint32_t i = d->program->opens;
  while (i < d->program->operands.count && d->operands[i] != reg) i++;
  return i < d->program->operands.count;
}

/* The next pair of a map; PK_MORE at its end. A null key or value has no data. PK_ERR_UNSUPPORTED: that pair's value is a
 * text that is not in one piece. */
int pk_declared_next_pair(const declared *d, const pk_program_map *map, pairs *in, pk_slice *key, pk_slice *value);

/* The pairs of a map in that section. PK_MORE: there is no map. */
int pk_declared_pairs(const declared *d, const pk_program_map *map, pk_slice section, pairs *out);

/* Up to what ends a line, which is passed; 0 where that is not there. */
int pk_declared_line(pairs *in, pk_slice after, pk_slice *out);
pk_slice pk_declared_trimmed(pk_slice text, pk_slice by);

/* The name that a table of names gives a number; without data where it has none. */
pk_slice pk_declared_chosen(const declared *d, const pk_program_table *t, int64_t key);

/* Up to `most` parts of a text; `exact`: so many, or none. And what a step finds in a section, or PK_ERR_LIMIT. */
void pk_declared_split(pk_slice in, pk_slice by, uint32_t most, int exact, pk_slice *out);
int pk_declared_step(const declared *d, uint32_t index, pk_slice section, pk_slice *out, uint32_t count);

/* Whether two keys of a map are the same. */
int pk_declared_ignores_case(const pk_program_map *map);
int pk_declared_same_key(const pk_program_map *map, pk_slice a, pk_slice b);

/* The values of a map's known keys, into their slices. `strict`: where peers may read another value of one, or none,
 * the map is malformed. */
/* Of a key that stands twice. */
static inline int pk_declared_first_counts(const pk_program_map *map) {
  return map->kind == PK_MAP_LINES && (map->lines & PK_LINES_FIRST) != 0;
}
int pk_declared_look(const declared *d, const pk_program_map *map, pk_slice section, int strict, pk_slice *s);

/* A decimal length: digits, behind a minus where it stands for null. PK_OK; PK_ERR_FORMAT; PK_ERR_LIMIT: over 32 bits. */
int pk_declared_length(pk_slice text, int64_t *out);

/* Where the id stands in its section, and what counts it there. */
void pk_declared_place(const declared *d, const pk_program_id *of, pk_slice section, pk_place *place);

/* Run text instructions from *pc to the first that is none. `out`: what a destination fills. `h`: what the
 * headers are. Apart from the rest, since routing needs hardly more of a program than this. */
int pk_declared_texts(const declared *d, uint32_t *pc, machine *m, const uint8_t *data, const pk_frame *f,
                      pk_destination *out, headers *h);

/* How a program runs: up to its end, up to where an error can be answered, without looking at checksums, or up to its end
 * also where the front of the frame is enough for that. */
enum { FRAMING = 0, EARLY = 1, UNVERIFIED = 2, HALVES = 3 };

/* Run from `pc`. `f`: what framing fills; `out` and `h`: as of texts; `failed`: where the frame was found wrong or
 * cut. */
int pk_declared_run(const declared *d, uint32_t pc, machine *m, const uint8_t *data, uint64_t size, uint64_t limit,
                    int how, pk_frame *f, pk_destination *out, headers *h, uint32_t *failed);

/* pk_codec.frame by the program alone, and so with its registers. */
int pk_declared_frame_fully(const declared *d, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f);
int pk_declared_frame_as(const declared *d, machine *m, const uint8_t *data, size_t size, uint32_t limit, int how,
                         pk_frame *f);

/* The registers of a whole frame, or of what came of it. */
static inline int pk_declared_rerun(const declared *d, machine *m, const uint8_t *data, const pk_frame *f) {
  uint16_t half = (f->says & PK_SAYS_HALF) != 0;
  pk_frame again = {.from = f->from, .ended = 1, .asked = f->asked, .halves = half};
  return pk_declared_frame_as(d, m, data, f->size, half ? f->need : f->size, UNVERIFIED, &again);
}

/* What text instructions find from `pc` on, with these. */
static inline int pk_declared_find_texts(const declared *d, uint32_t pc, machine *m, const uint8_t *data,
                                         const pk_frame *f, pk_destination *out, headers *h) {
  m->stepped = 0;
  int result = pk_declared_texts(d, &pc, m, data, f, out, h);
  if (result != PK_OK || d->insns[pc].op == PK_I_END) return result;
  pk_frame copy = *f;
  uint32_t failed;
  return pk_declared_run(d, pc, m, data, f->size, f->size, FRAMING, &copy, out, h, &failed);
}

/* Bytes that framing keeps of a connection (pk_codec.state_size), and whether it is in the middle of a frame. */
uint32_t pk_declared_state_size(const declared *d);
int pk_declared_is_stopped(const pk_frame *f);

/* Of the registers of a frame that was run. */
uint32_t pk_declared_checksum(const declared *d, const pk_program_checksum *c, const machine *m, const uint8_t *data);
/* As it is written, in so many bytes. */
void pk_declared_put_sum(const pk_program_checksum *c, uint32_t sum, uint8_t *p);
static inline uint32_t pk_declared_sum_room(const pk_program_checksum *c) {
  return c->digits > 0 ? c->digits : pk_sum_width(c->which);
}

/* Prepare the shapes of a program that was checked. */
void pk_declared_quicken(declared *d);

/* pk_codec.frame: by shape or program; where a section leads; and where ids are byte strings. */
int pk_declared_frame(const pk_codec *codec, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f);
int pk_declared_frame_led(const pk_codec *codec, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f);
int pk_declared_frame_named(const pk_codec *codec, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f);

/* pk_codec.budget: NULL where no shape has a number for it. */
int pk_declared_budget(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t ms, uint8_t *out, size_t cap);
int pk_declared_budgets(const declared *d);

/* The same where framing goes on where it stopped. */
int pk_declared_frame_on(const pk_codec *codec, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f);

/* pk_codec.patch_id and splice_id. */
void pk_declared_patch_id(const pk_codec *codec, uint8_t *data, const pk_frame *f, uint64_t id);
int pk_declared_splice_id(const pk_codec *codec, const uint8_t *data, const pk_frame *f, const uint8_t *id,
                          uint32_t id_size, uint8_t *out, size_t cap);

/* What counts something, with `more` added; 0: it is no length then, or was none, as one that nothing goes by may be. */
static inline int pk_declared_add(uint64_t was, int64_t more, int64_t *now) {
  return was <= INT64_MAX && !__builtin_add_overflow((int64_t)was, more, now) && *now >= 0;
}

/* An integer that counts something, written again with `more` added. 0 where it does not fit. */
int pk_declared_recount(uint8_t *p, uint32_t form, int64_t more);
/* Decimal digits with `more` added: as many as before where they begin with a zero or are fixed. Their size, or 0. */
enum { PK_LENGTH_MAX = 20 };
uint32_t pk_declared_redigit(const uint8_t *at, uint32_t size, uint32_t form, int64_t more, uint8_t *out);
uint32_t pk_declared_put_varint(uint8_t *p, uint64_t v);
uint64_t pk_declared_varint_at(const uint8_t *p, size_t *size);

/* A frame while it is changed: its front, up to the last of the fields that are known. */
typedef struct editing {
  const declared *d; /* the program of changes */
  machine *m;        /* where everything stands */
  uint8_t *out;
  uint32_t size, most;      /* bytes, and how many they may become */
  int64_t grown[PK_FIELDS]; /* bytes that sections have more than before */
} editing;

static inline int pk_declared_is_section(const pk_program_field *field) { return field->form == PK_IS_SECTION; }

static inline int pk_declared_is_digits(const pk_program_field *field) {
  return (field->form & ~(uint32_t)PK_COUNT_FIXED) == PK_COUNT_DIGITS;
}
/* It has a size of its own, behind where it is. */
static inline int pk_declared_is_sized(const pk_program_field *field) {
  return pk_declared_is_section(field) || pk_declared_is_digits(field);
}
static inline int pk_declared_is_value(const pk_program_field *field) { return field->form == PK_IS_VALUE; }
static inline int pk_declared_is_bits(const pk_program_field *field) { return (field->form & PK_IS_BITS) != 0; }
/* It has to be what is computed of the frame. */
static inline int pk_declared_is_said(const pk_program_field *field) { return field->form < 64 && field->seen != field->at; }

/* So many bytes of a field become `now`: what they hold is for the caller to write. PK_OK; PK_ERR_SPACE. */
int pk_declared_resize(editing *e, uint32_t field, uint32_t at, uint32_t size, uint32_t now);
/* As views have it. */
pk_slice pk_declared_section(const editing *e, uint32_t field);
/* Another text for a whole one. */
int pk_declared_replace(editing *e, uint32_t field, pk_slice text);

/* A key's value, without data where there is none, by pk_codec.header's rules; and another one, NULL: it is taken out. */
int pk_declared_map_get(const editing *e, uint32_t field, uint32_t map, pk_slice key, pk_slice *value);
int pk_declared_map_set(editing *e, uint32_t field, uint32_t map, pk_slice key, pk_slice value);

/* Another text for what stands at a path in a structure in a section, of that kind (PK_MAP_*). */
int pk_declared_put(editing *e, uint32_t field, uint32_t kind, pk_slice path, int is_item, pk_slice text);
int pk_declared_can_put(uint32_t kind);
/* And for a key of a map in one. */
int pk_declared_put_item(editing *e, uint32_t field, uint32_t map, pk_slice key, pk_slice text);

/* pk_codec.edit. */
int pk_declared_edit(const pk_codec *codec, const uint8_t *data, const pk_frame *f, const pk_edit *edits, uint32_t count,
                     uint8_t *out, size_t cap);

/* Make the checksums of a whole frame right. */
void pk_declared_seal(const declared *d, uint8_t *data, uint32_t size, uint8_t from);

/* The same by what framing said of it. */
static inline void pk_declared_reseal(const declared *d, uint8_t *data, uint32_t size, uint32_t flags, uint8_t from) {
  if (flags & SEALED_AT_END) {
    put(data + size - 4, pk_crc32(0, data, size - 4), 4, 0);
  } else if (flags & HAS_CHECKSUM) {
    pk_declared_seal(d, data, size, from);
  }
}

/* Build a reply (PK_REPLY_*) of a variant. Its size, 0 where the variant has none, or PK_ERR_SPACE. */
int pk_declared_reply(const declared *d, uint32_t variant, uint32_t which, const pk_reply *r, uint8_t *out, size_t cap);

/* Parts in a row: those of requests, or of greetings. */
typedef struct part_range {
  uint32_t first, count;
} part_range;

static inline part_range asked_parts(const declared *d) { return (part_range){0, d->program->asked}; }
static inline part_range heard_parts(const declared *d) {
  return (part_range){d->program->asked, d->program->parts.count - d->program->asked};
}

/* Bytes that they take at most. */
uint32_t pk_declared_keep_max(const declared *d, part_range parts);

/* What is kept of a peer's greeting; and pk_codec.keep. */
int pk_declared_heard(const declared *d, const uint8_t *data, const pk_frame *f, uint8_t *out, size_t cap);
int pk_declared_keep(const pk_codec *codec, const uint8_t *data, size_t size, const pk_frame *f, uint8_t *out, size_t cap);

/* pk_codec.argument. */
int pk_declared_argument(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t index, pk_value *out);
/* pk_codec.inside, of those whose arguments are an array in a structure. */
int pk_declared_looks_inside(const declared *d);
int pk_declared_inside(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t index, const pk_slice *keys,
                       uint32_t count, pk_value *out);

const char *pk_declared_bad_replies(const declared *d);

#endif
