/* layout.h: how one serialization writes the items of a request's body.
 *
 * The items are the same in all: dubbo version, path, version, method, descriptor, one value per
 * argument, attachments. request.c reads and changes them through these few functions. */
#ifndef DUBBO_LAYOUT_H
#define DUBBO_LAYOUT_H

#include <protokit/values.h>

/* Where reading stands. */
typedef struct reader {
  pk_values h;
  const uint8_t *arguments; /* where they begin */
  const uint8_t *value;   /* where the value of the last pair stands */
  const uint8_t *map_end; /* of the attachments, in those serializations that say it in front */
  pk_slice again;         /* the key of the last pair, when that was one said before in another form */
  int veiled;             /* VEILED_*, of the last pair */
  int alike;              /* ALIKE_*, inside of arguments */
} reader;

/* Names of fields that a provider takes for another's. ALIKE_SETTER: maps of generic calls become objects by setters, whose
 * names begin upper case (PojoUtils); ALIKE_FOLDED: fastjson 1 finds "user_ID" and "isUserId" for userId, too. */
enum { ALIKE_SETTER = 1, ALIKE_FOLDED = 2 };

/* A text that does not stand there plainly (in chunks, with escapes, in another character set), and that may be
 * any: its reader sees what is not seen here. */
enum { VEILED_KEY = 1, VEILED_VALUE = 2 };

/* What is written. `at` stops at `end` and `full` is set. */
typedef struct writer {
  uint8_t *at, *end, *map;
  int full, pairs;
} writer;

static inline void write_bytes(writer *w, const void *data, size_t size) {
  if ((size_t)(w->end - w->at) < size) {
    w->full = 1;
    return;
  }
  if (size > 0) __builtin_memcpy(w->at, data, size);
  w->at += size;
}

static inline void write_byte(writer *w, uint8_t b) { write_bytes(w, &b, 1); }

typedef struct layout {
  /* An item of text; null is one without data. PK_OK, PK_ERR_FORMAT, PK_ERR_UNSUPPORTED (text that
   * does not stand as plain UTF-8). */
  int (*text)(reader *r, pk_slice *out);
  /* An argument; *text has data when it is a plain string. PK_ERR_UNSUPPORTED: a string that is not plain. */
  int (*argument)(reader *r, pk_slice *text);
  /* An argument as it is; `type` as the descriptor has it. PK_ERR_UNSUPPORTED: a string that is not plain. */
  int (*value)(reader *r, pk_slice type, pk_value *out);
  /* What stands behind so many keys, 1 at least, in the argument in front. PK_MORE: nothing does. */
  int (*inside)(reader *r, const pk_slice *keys, uint32_t count, pk_value *out);
  /* An item that is an int. */
  int (*number)(reader *r, int64_t *out);
  /* Into the attachments. PK_MORE when there are none. */
  int (*enter)(reader *r);
  /* The next pair. Slices without data where it is no plain text, and `veiled` says which of them may be any; of one
   * said again the key is `again`, and the value what its receiver takes for a text; PK_MORE at the end, which is not consumed. *number is an integer value's. */
  int (*pair)(reader *r, pk_slice *key, pk_slice *value, int64_t *number);
  /* An item of text. */
  void (*put_text)(writer *w, pk_slice text);
  /* The front of the attachments. `r` stands before those of the original. */
  void (*open_map)(writer *w, const reader *r);
  /* One pair, copied as it stands or written. */
  void (*copy_pair)(writer *w, const uint8_t *data, size_t size);
  void (*put_pair)(writer *w, pk_slice key, pk_slice value);
  void (*close_map)(writer *w);
  /* A value that others may refer to, or that defines what they use: it cannot be taken out. */
  int (*anchors)(const uint8_t *value, const uint8_t *end);
} layout;

extern const layout hessian_layout;  /* hessian2, native-hessian */
extern const layout jsonb_layout;    /* fastjson2 */
extern const layout json_layout;     /* fastjson, gson: one JSON text a line */
extern const layout protobuf_layout; /* one delimited message an item */

/* The index that a key of a path is, written as numbers are; UINT32_MAX: it is none. */
static inline uint32_t index_of(pk_slice key) {
  uint32_t number = 0;
  if (key.size == 0 || key.size > 9 || (key.size > 1 && *key.data == '0')) return UINT32_MAX;
  for (uint32_t i = 0; i < key.size; i++) {
    if (key.data[i] < '0' || key.data[i] > '9') return UINT32_MAX;
    number = number * 10 + key.data[i] - '0';
  }
  return number;
}

/* Whether a key is that integer, in digits. */
static inline int is_integer(pk_slice key, int64_t number) {
  uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  uint32_t at = key.size;
  do
    if (at == 0 || key.data[--at] != '0' + left % 10) return 0;
  while ((left /= 10) > 0);
  return number < 0 ? at == 1 && *key.data == '-' : at == 0;
}

/* Whether a name that is not the key may be it to a provider: see ALIKE_*. */
int dubbo_may_be_key(int alike, pk_slice name, pk_slice key);

int hessian_inside(reader *r, const pk_slice *keys, uint32_t count, pk_value *out);

/* UTF-8 as Hessian writes it: each UTF-16 unit alone, in chunks of at most 32,767. */
void hessian_put_text(writer *w, pk_slice text);

#endif
