/* program.h: what a declared wire format is compiled to (protokit/wire/compiler.py writes it).
 *
 * An image is one block of memory: this header, then arrays found through it. Instructions work on
 * 64-bit registers (fields, lengths) and slices (texts). Jumps go forward, but for AGAIN, behind which a byte was
 * read at least, so every program ends. Before
 * it runs, pk_declared_new proves of all paths that they read only what was written, as what it is, and only
 * bytes that are there (declared_check.c, declared_types.c); running checks only what depends on the bytes. */
#ifndef PK_PROGRAM_H
#define PK_PROGRAM_H

#include <protokit/codec.h>

enum { PK_PROGRAM_MAGIC = 0x706b7731 };
#define PK_NOWHERE 0xffffffffu
#define PK_NO_TEXT 255u

typedef struct pk_insn {
  uint8_t op, a, b, c;
  int32_t i;
} pk_insn;

/* `at` is how far the frame was read; rN and sN are registers and slices. */
#define PK_INSTRUCTIONS(X)                                                                     \
  /* framing */                                                                                \
  X(NEED)    /* i more bytes must be there */                                                  \
  X(SKIP)    /* at += i */                                                                     \
  X(LOAD)    /* ra = integer of b bytes at at+i; c: 1 little endian, 2 signed */               \
  X(LOAD1)   /* the common ones: 1, 2, 4, 8 bytes, big endian, unsigned */                     \
  X(LOAD2)                                                                                     \
  X(LOAD4)                                                                                     \
  X(LOAD8)                                                                                     \
  X(LOAD2S)  /* signed */                                                                      \
  X(LOAD4S)                                                                                    \
  X(BITS)    /* ra = (rb >> c) & i */                                                          \
  X(IDAT)    /* the id stands at at+i; c: little endian */                                     \
  X(SECTION) /* ra, ra+1 = at, rb; at += rb */                                                 \
  X(SUM)     /* ra = sum of rb integers of c&15 bytes (c: 16 little, 32 signed); at past them */ \
  X(UNTIL)   /* ra, ra+1 = section that delimiter i ends; at past the delimiter */             \
  X(UVAR)    /* ra = LEB128 of at most b bytes; c: ri = where it stands; at past it */         \
  X(MEASURE) /* ra, ra+1 = what measure i says how long it is; at past it */                   \
  X(REST)    /* ra, ra+1 = all up to the peer's end, with which a frame has a byte at least; at past it */ \
  X(PARTS)   /* ra, ra+1 = section that begins here; up to its AGAIN stands one of its parts */   \
  X(AGAIN)   /* ra+1 = at - ra; where rb != 0 to behind PARTS i, the only jump backward */        \
  X(CHECK)   /* ra != 0, else wrong at at+i; b: not this protocol at all */                    \
  X(MAGIC)   /* literal i stands here; b: not this protocol at all; at past it */              \
  X(SINCE)   /* ra, ra+1 = from the varint at rb to at */                                        \
  X(SPAN)    /* ra, ra+1 = at+i, b<<8|c */                                                     \
  X(MARK)    /* ra = at + i, where an integer of b bytes stands */                             \
  X(ABSENT)  /* section ra, ra+1 is not there */                                               \
  X(READABLE) /* section ra, ra+1 = section rb, rb+1 where rc != 0; else it is not there */    \
  X(NOPLACE) /* ra: it stands nowhere */                                                       \
  X(HERE)    /* all so far must be there */                                                    \
  X(SPOT)    /* section ra, ra+1 = where sb stands; absent where it is not there, or not in the frame */ \
  X(LENGTH)  /* ra = sb as a decimal length, 0 where it is absent; wrong where it is none */    \
  X(WHOLE)   /* the frame ends here; all of it must be there */                                \
  X(VERIFY)  /* checksum i is right */                                                         \
  /* arithmetic */                                                                             \
  X(SET)     /* ra = i */                                                                      \
  X(CONST)   /* ra = constant i */                                                             \
  X(SIDE)    /* ra = PK_FROM_*, of who sent the frame */                                       \
  X(ASKED)   /* ra = i bits of the context of the request that is answered, from bit b on */   \
  X(MOVE)                                                                                      \
  X(ADD) X(SUB) X(MUL) X(AND) X(OR) X(XOR) X(SHL) X(SHR)                                       \
  X(EQ) X(NE) X(LT) X(LE) X(GT) X(GE) /* ra = rb op rc */                                      \
  X(ADDI) X(MULI) X(ANDI) X(EQI) X(NEI) X(LTI) X(LEI) X(GTI) X(GEI) /* ra = rb op i */         \
  X(NOT)     /* ra = rb == 0 */                                                                \
  X(TABLE)   /* ra = table i of rb */                                                          \
  X(JUMP)    /* to i */                                                                        \
  X(JZ)      /* to i when ra == 0 */                                                           \
  X(JNZ)                                                                                       \
  X(JNE)     /* to i when ra != c */                                                           \
  /* what the frame means */                                                                   \
  X(NAMED)   /* the id is section ra, ra+1; absent where ra < 0 */                             \
  X(NAMED_IN) /* the id is sa; absent where that is */                                         \
  X(ID_AT)   /* the id is the integer that stands at ra; c: little endian */                   \
  X(ID) X(KIND) X(STATUS) X(TIMEOUT) X(CONTEXT) X(KEY) /* = ra; KIND = i */                    \
  X(SAYS)    /* where ra != 0 the frame says PK_SAYS_* i */                                    \
  X(FORM)    /* where ra != 0 the greeting is of the forms i (bits) */                         \
  X(SAVE)    /* own[i], own[i+1] = section ra, ra+1 */                                         \
  X(EARLY)   /* an error is answered: no more is needed */                                     \
  /* texts */                                                                                  \
  X(OWN)     /* sa = own[i], own[i+1] */                                                       \
  X(SLICE)   /* sa = section rb, rb+1; absent where rb < 0 */                                                     \
  X(LITERAL) /* sa = literal i */                                                              \
  X(NONE)    /* sa is absent */                                                                \
  X(TAKE)    /* where sb is there: sa = sb, to i */                                            \
  X(COPY)    /* sa = sb */                                                                     \
  X(LOOK)    /* look keys up in sb by map i; a: one with two values is wrong */                \
  X(SPLIT)   /* sa.. = sb split at literal i into at most c & 31 parts; c & 128: into as many, or all are absent */ \
  X(PLACE)   /* sa = the id, which stands in the structure sb; c: that of answers */           \
  X(STEP)    /* sa.. = c texts that step i finds in sb, once a run */                          \
  X(NUMBER)  /* ra = sb read as decimal digits, 0 when it is none */                           \
  X(SAME)    /* ra = sb equals literal i; c: it begins with it */                              \
  X(INTEGER) /* ra = the integer of c&15 bytes that sb is (c: 16 little, 32 signed); 0 where it is none */ \
  X(DIGITS)  /* sa = rb in decimal digits; c: it has no sign */                                \
  X(CHOOSE)  /* sa = the literal that table i says for rb; -1: absent */                       \
  X(TO)      /* service = sa, method = sb, version = sc, group = si; 255: absent */            \
  X(BUDGET)  /* the caller's timeout is ra ms */                                               \
  X(HEADERS) /* the headers are sa, read by map i */                                           \
  X(PART)    /* sa = section rb, rb+1; absent where rb < 0, or where not all of it is there */ \
  X(KEEP)    /* part i is sa */                                                                \
  X(KEEP_INT) /* part i is ra */                                                               \
  /* replies */                                                                                \
  X(EMIT)    /* literal i */                                                                   \
  X(EMIT_ID) /* b bytes, c: 1 little endian */                                                 \
  X(EMIT_KEPT) /* the context shifted by c & 31, b bytes; c & 32: little endian */             \
  X(EMIT_SIZE) /* i + bytes of the parts a (bit 0: the text, then what was kept), b bytes, c: 1 little endian, PK_EMIT_INSIDE */ \
  X(EMIT_UVAR) /* the same as LEB128; PK_EMIT_INSIDE: of its bytes b are counted already by what counts it */ \
  X(EMIT_DIGITS) /* the same in decimal digits, b at least, with zeros in front */             \
  X(EMIT_COUNT) /* the text's size, b bytes, c: 1 little endian, 2 in UTF-16 units, 4 a varint */ \
  X(EMIT_TEXT) /* b << 8 | c bytes at most, cut at a character; literal i ends it: its bytes are replaced */ \
  X(EMIT_PART) /* kept part a, as it is; literal i ends it: its bytes are replaced */          \
  X(EMIT_PART_INT) /* kept part a as an integer, c: 1 little endian */                         \
  X(END)

/* It counts what stands behind it in its section; else the whole section. */
enum { PK_EMIT_INSIDE = 2 };

#define X(name) PK_I_##name,
enum { PK_INSTRUCTIONS(X) PK_I_COUNT };
#undef X

/* Replies of a variant, by place. */
enum { PK_SAYINGS = 32 }; /* of a greeting: several steps may have several forms */
enum {
  PK_REPLY_HEARTBEAT,
  PK_REPLY_ACK,
  PK_REPLY_DRAIN,
  PK_REPLY_ERROR,
  PK_REPLY_GREETING = PK_REPLY_ERROR + PK_STATUS_COUNT,
  PK_REPLIES = PK_REPLY_GREETING + PK_SAYINGS
};

/* A step of the greeting: of what forms (bits of FORM, 0: any) a peer's frame is, that says it; and the sayings of which
 * the first that fits is said. */
typedef struct pk_program_greeting {
  uint32_t heard, first, count;
} pk_program_greeting;

/* What the engine says, and behind a peer's frame of which forms (0: any, or none). `from`: PK_FROM_*. */
typedef struct pk_program_saying {
  uint32_t heard, from;
} pk_program_saying;

enum { PK_TEXT_UTF8, PK_TEXT_HESSIAN, PK_TEXT_JSON }; /* how a reply's text is encoded */
enum { PK_MAP_PAIRS, PK_MAP_LINES, PK_MAP_PROTOBUF, PK_MAP_TLV, PK_MAP_MSGPACK, PK_MAP_JSON,
       PK_MAP_THRIFT_BINARY, PK_MAP_THRIFT_COMPACT, PK_MAP_BLOCKS, PK_MAP_COUNT,
       PK_IN_BER = PK_MAP_COUNT, PK_STRUCTURES }; /* a structure that has no maps */

typedef struct pk_program_range {
  uint32_t at, count; /* at: bytes from the image's start */
} pk_program_range;

typedef struct pk_program_literal {
  uint32_t at, size; /* in the image */
} pk_program_literal;

typedef struct pk_program_delimiter {
  uint32_t literal, max;
} pk_program_delimiter;

typedef struct pk_program_table {
  uint32_t first, count; /* entries */
  int64_t otherwise;
} pk_program_table;

typedef struct pk_program_entry {
  int64_t key, value;
} pk_program_entry;

/* PAIRS: a length before each key and value (width | 16 little | 32 signed; -1 is null). LINES: texts
 * between separators. The others: a map in a structure (pk_entry_reader). `first` and `count` are the keys to look up, of
 * LINES that ignore their case in lower case; of maps in structures none are. */
typedef struct pk_program_map {
  uint32_t unused, kind;
  union {
    struct {
      uint32_t key_size, value_size;
    };
    struct {
      uint32_t lines; /* 1: keys are the same in upper and lower case; << 1: lines in front that are no pairs (7 at most);
                         PK_LINES_FIRST: of a key that stands twice the first counts */
      uint32_t trim;  /* literal: bytes around a value that are no part of it, or PK_NOWHERE */
    };
    struct {
      uint32_t path;  /* literal: where it stands */
      uint32_t names; /* table: what keys are called that are numbers, or PK_NOWHERE */
    };
  };
  uint32_t between, after; /* literals */
  uint32_t first, count;
} pk_program_map;

enum { PK_LINES_FIRST = 16 };

typedef struct pk_program_key {
  uint32_t literal, slice;
} pk_program_key;

typedef struct pk_program_step {
  uint64_t function;
  uint32_t first, count; /* arguments: literals */
} pk_program_step;

/* pk_measure. */
typedef struct pk_program_measure {
  uint64_t function;
  uint32_t first, count; /* arguments: literals */
} pk_program_measure;

/* A checksum of the given sections in their order, or of all before it but `skip` bytes. Registers: where it stands
 * (-1: there is none in this frame), then section by section where and how long. It is an integer, or so many digits. */
typedef struct pk_program_checksum {
  uint32_t at, little;
  uint32_t first, count; /* registers, in pk_program.operands; count 0: all before it */
  uint32_t which;        /* PK_SUM_* */
  uint32_t digits, skip;
} pk_program_checksum;
enum { PK_SUM_DIGITS = 10 };

/* What counts the id, where that is a byte string: its register holds where it stands, -1: nowhere. */
enum {
  PK_COUNT_DIGITS = 64, /* decimal digits: their register is a section's */
  PK_COUNT_FIXED = 128  /* as many as before */
};
typedef struct pk_program_counter {
  uint32_t at, form; /* form: width | 16 little | 32 signed; 0: a varint; PK_COUNT_DIGITS */
} pk_program_counter;

/* What is kept of a request for its replies (pk_codec.keep), and of a greeting for what is said behind it; packed one behind the other: a text of at most `most`
 * bytes (255), behind a byte that counts it, cut to that or else left out; or always `most` bytes: a text, or an integer,
 * big endian, which is repeated as it is or as a varint. */
enum { PK_PART_CUT, PK_PART_WHOLE, PK_PART_FIXED, PK_PART_INTEGER, PK_PART_VARINT };
enum { PK_PARTS = 7 };

typedef struct pk_program_part {
  uint32_t form, most;
} pk_program_part;

/* An argument of a call: what text s[slice] says, as a text or as an integer in digits; or one for all of them, which
 * are the items of the array to which the path (a literal) leads in the structure s[slice]. Where s[guard] is absent
 * (PK_NO_TEXT: there is none) nothing can be said of the argument. */
enum { PK_ARGUMENT_TEXT, PK_ARGUMENT_INTEGER, PK_ARGUMENT_MSGPACK, PK_ARGUMENT_JSON };
enum { PK_ARGUMENT_PATH = 500 }; /* bytes of a path */

typedef struct pk_program_argument {
  uint32_t slice, form, guard, path;
} pk_program_argument;

/* Changes (declared_edit.c): what is known of a frame's fields, in the order in which they stand, so that what is behind one
 * moves with it: sections with those that count them, and places of integers; and what has to stay what it is. */
enum { PK_FIELDS = 64 };
enum { PK_IS_SECTION = 256, PK_IS_PLACE = 512, PK_IS_VALUE = 1024, PK_IS_BITS = 2048 }; /* PLACE | bytes; VALUE: a number by
                                      which the frame is laid out, and stands nowhere; BITS | bytes | shift << 16 | bits << 24: some
                                      of a word, big endian; else what counts is written so, as of pk_program_counter */

typedef struct pk_program_field {
  uint32_t at, form, seen; /* registers: where it is; and as views have it, which may not be let look into it. Of an integer
                              that is computed: what it has to be, where that is not `at` */
  uint32_t first, count;   /* the fields that count it, in pk_program.counts */
} pk_program_field;

/* How a view is read and written: a tree, whose branches stand behind it. A section, a value of a map, part `index` of the
 * text `inner` cut at a literal, the first of several that is there; a text that a step finds, or a literal: both are
 * only read; a map; an integer, as the name that a table gives it, or else in digits; or what stands at a path (a literal)
 * in a structure of a kind (`index`: PK_MAP_*, PK_IN_*), which a step finds. */
enum { PK_WRITE_TEXT, PK_WRITE_ITEM, PK_WRITE_PART, PK_WRITE_FIRST, PK_WRITE_STEP, PK_WRITE_LITERAL, PK_WRITE_MAP,
       PK_WRITE_NUMBER, PK_WRITE_INSIDE };
enum { PK_WRITE_DEPTH = 8 };

typedef struct pk_program_writer {
  uint32_t kind, field;
  uint32_t inner, next;   /* what it is made of; of FIRST the next one behind it: PK_NOWHERE: none */
  uint32_t which, literal; /* a map, a step, or a table; a key, a separator, or a text */
  uint32_t count, index;  /* of PART, count | 128 where all have to be there; and of STEP */
} pk_program_writer;

/* What can be changed: headers, service, method, version and group of requests (PK_EDIT_*), and headers of answers. */
enum { PK_CHANGES_OF_ANSWERS = PK_EDIT_GROUP + 1, PK_KINDS_OF_CHANGES };

/* Those from PROTOBUF on are structures: a path leads to the id (steps/path.h). */
enum { PK_ID_IN_FIELD, PK_ID_IN_LINES, PK_ID_IN_PAIRS, PK_ID_IN_PROTOBUF, PK_ID_IN_TLV, PK_ID_IN_JSON, PK_ID_IN_MSGPACK,
       PK_ID_IN_BER };

/* Shapes (protokit/wire/shapes.py): a tree of tests on bytes at fixed places, and at each leaf where
 * everything stands. They make right and whole frames fast; all others are left to the program. */
#define PK_LEAF 0x80000000u
enum { PK_SHAPE_SECTIONS = 6 };

enum {
  PK_PLACE_NONE, /* there is none: 0 */
  PK_PLACE_1, PK_PLACE_2, PK_PLACE_4, PK_PLACE_8, /* big endian, unsigned */
  PK_PLACE_2S, PK_PLACE_4S,
  PK_PLACE_OTHER = 8,
  /* Where a section leads (pk_program.lead): */
  PK_PLACE_BEHIND = 16, /* it stands behind the section; the offset is what it would be without it */
  PK_PLACE_LESS = 32    /* of a section's size: less the number that the leading section's size is made of */
};

typedef struct pk_program_place {
  uint16_t offset;
  uint8_t width; /* bytes */
  uint8_t form;  /* PK_PLACE_*; of others, PK_PLACE_OTHER and 1 little endian, 2 signed; | PK_PLACE_BEHIND, _LESS */
} pk_program_place;

typedef struct pk_program_test {
  pk_program_place place;
  uint32_t op;    /* 0 ==, 1 <, 2 <=, 3 >, 4 >= */
  uint64_t mask;  /* 0: none */
  int64_t value;
  uint32_t yes, no;
} pk_program_test;

typedef struct pk_program_shape {
  uint32_t header; /* bytes in front of the sections */
  uint16_t id_at;
  uint8_t kind, sections;
  uint32_t trailer; /* bytes behind the sections */
  int32_t checksum; /* where in the trailer, over all in front of it; -1: none */
  uint32_t variant;
  uint8_t separate, quiet, kept, absent; /* separate: 2 besides where the id is little endian;
                                            bit by bit: sections that must be empty; pairs of pk_frame.own that
                                            this frame has nothing for */
  pk_program_place timeout, status, keep[3];
  struct {
    pk_program_place size;
    int32_t add, own; /* own: where in pk_frame.own; -1: nowhere */
  } section[PK_SHAPE_SECTIONS];
  pk_program_place fixed[2]; /* integers of the header that are pairs of pk_frame.own; width 0: none */
  uint8_t led, id_behind;    /* the leading section is in this shape; the id stands behind it */
  int8_t lead_own, unused;   /* where in pk_frame.own the section is; -1: nowhere */
} pk_program_shape;
_Static_assert(sizeof(pk_program_test) == 32 && sizeof(pk_program_shape) == 128, "as the compiler packs them");

/* Where an id stands, and so many of the counters from `first` on. That it is no field: in which section (its register),
 * and what counts it there. */
typedef struct pk_program_id {
  uint32_t section, value, path; /* of pairs the form of a value's length; of structures the path, a literal */
  uint32_t first, count;
} pk_program_id;

typedef struct pk_program {
  uint32_t magic, size;
  uint32_t mode, id_bytes;
  uint32_t judges; /* answers are framed again when their request is known */
  uint32_t signature, reply_max, variants;
  uint32_t frame, meaning, answerable, destination, headers;
  uint32_t rerun;         /* the destination needs the frame's registers, more than `own` holds */
  uint32_t text_encoding; /* of replies */
  uint32_t reserved_count;
  uint64_t reserved[4];
  uint32_t name;          /* literal, ended by a 0 */
  uint32_t root;          /* of the shapes: a test, PK_LEAF | a shape, or PK_NOWHERE */
  uint32_t status;        /* the table of shapes' statuses, or PK_NOWHERE */
  uint32_t tested;        /* all that tests look at stands in the first so many bytes */
  uint32_t greeting_server, pinned; /* as in pk_codec */
  uint32_t id_max, id_fixed, id_form; /* as in pk_codec */
  uint32_t id_delimiter; /* literal that ends the id, or PK_NOWHERE */
  uint32_t optional_drain; /* as in pk_codec */
  pk_program_range insns, constants, literals, delimiters, tables, entries, maps, keys, steps,
      checksums, operands, replies, tests, shapes, counters, parts, greetings, sayings, measures, arguments;
  uint32_t app_map, app_text; /* an answer whose map's one key has that text (a literal) is an application
                                 error; PK_NOWHERE: the program says which are */
  uint32_t answers;  /* the headers of answers, by the frame's registers; PK_NOWHERE: they have none */
  uint32_t resumes;  /* framing goes on where it stopped */
  uint32_t keep;     /* what is kept, of a frame that was run; PK_NOWHERE: nothing */
  uint32_t keep_own; /* the same from pk_frame.own, or PK_NOWHERE */
  uint32_t id_inside;     /* PK_ID_IN_* */
  pk_program_id id_of[2]; /* of requests, and of answers: the same, or another place */
  uint32_t greeting_optional, greeting_with, greeting_relayed; /* as in pk_codec */
  uint32_t asked; /* so many of the parts are of requests; the others are of what a peer says in its greeting */
  uint32_t heard; /* as keep, of that */
  /* A section in front of fields that shapes read: where its size stands, what is added, where it begins. */
  pk_program_place lead;
  int32_t lead_add;
  uint32_t lead_at;
  uint32_t arguing; /* finds the texts of arguments, of a frame that was run; PK_NOWHERE: they cannot be read */
  uint32_t id_stays; /* a byte string that is only read */
  uint32_t server_root; /* of the shapes of servers' frames: another one than `root` where the side decides something */
  uint32_t opens; /* operands from here on: registers of sections that nothing looks into: a frame that ends with one is
                     told by what is in front of it */
  pk_program_range editing; /* bytes of another program, which is run to change frames, and alone has: */
  pk_program_range fields, writers, counts;
  uint32_t changes[PK_KINDS_OF_CHANGES]; /* writers, or PK_NOWHERE: not this */
} pk_program;

/* A codec that runs the program, held by the caller (loaded.h); the image is copied. NULL and why in *error, until the thread's next call. */
const pk_codec *pk_declared_new(const void *image, size_t size, const char **error);

int pk_declared_is(const pk_codec *codec);
/* Which kinds of changes it makes (PK_EDIT_*, PK_CHANGES_OF_ANSWERS), bit by bit. */
uint32_t pk_declared_changes(const pk_codec *codec);

/* python { */
const char *pk_instruction_names(void);
/* } python */

#endif
