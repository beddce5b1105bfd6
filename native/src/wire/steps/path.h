/* path.h: what a step is asked for inside of a structure: keys one in another, and how what stands there becomes a text.
 *
 * An argument is a path: of each key a byte 0 and an integer of eight bytes, or a byte 1, a length of two and a text; big
 * endian. Whatever is malformed, or deeper than is read here, is PK_ERR_LIMIT: its receiver may read it. */
#ifndef PK_PATH_H
#define PK_PATH_H

#include <string.h>

#include "wire/digits.h"
#include "wire/integers.h"
#include "wire/steps/steps.h"

enum { PK_PATH_KEYS = 16, PK_NEST = 64 }; /* keys of a path; structures one in another that are passed */

typedef struct pk_path {
  const uint8_t *at, *end;
} pk_path;

typedef struct pk_key {
  pk_slice text; /* no data: a number */
  int64_t number;
} pk_key;

/* What is left of a section. */
typedef struct pk_rest {
  const uint8_t *at, *end;
} pk_rest;

/* What stands at a path: nothing, a text, or a number that becomes one. */
typedef struct pk_found {
  pk_slice text;
  uint64_t value;
  uint8_t is_number, negative, as; /* as: how it is encoded, where that matters; 0: it does not */
} pk_found;

/* The next key; 0 at the end. */
static inline int pk_path_next(pk_path *p, pk_key *key) {
  size_t left = (size_t)(p->end - p->at);
  *key = (pk_key){{NULL, 0}, 0};
  if (left >= 9 && p->at[0] == 0) {
    key->number = (int64_t)big(p->at + 1, 8);
    p->at += 9;
    return 1;
  }
  if (left < 3 || p->at[0] != 1) return 0;
  uint32_t size = (uint32_t)big(p->at + 1, 2);
  if (left - 3 < size) return 0;
  key->text = (pk_slice){p->at + 3, size};
  p->at += 3 + size;
  return 1;
}

static inline int pk_same_text(pk_slice a, const uint8_t *data, size_t size) {
  return a.data != NULL && a.size == size && memcmp(a.data, data, size) == 0;
}

static inline int pk_take(pk_rest *in, uint64_t size, pk_slice *out) {
  if (size > (size_t)(in->end - in->at)) return PK_ERR_LIMIT;
  *out = (pk_slice){in->at, (uint32_t)size};
  in->at += size;
  return PK_OK;
}

/* LEB128 of up to 64 bits, also longer than it must be. */
static inline int pk_varint(pk_rest *in, uint64_t *v) {
  *v = 0;
  for (uint32_t i = 0; i < 10; i++) {
    if (in->at == in->end) return PK_ERR_LIMIT;
    uint8_t byte = *in->at++;
    *v |= (uint64_t)(byte & 0x7f) << (7 * i);
    if (!(byte & 0x80)) return i == 9 && byte > 1 ? PK_ERR_LIMIT : PK_OK;
  }
  return PK_ERR_LIMIT;
}

static inline pk_found pk_found_text(pk_slice text) { return (pk_found){text, 0, 0, 0, 0}; }

static inline pk_found pk_found_number(int64_t v) { return (pk_found){{NULL, 0}, (uint64_t)v, 1, v < 0, 0}; }

enum { PK_LENGTH_BER = 256 }; /* a byte below 128, or 128 and the count of those behind it */

/* Where a value stands that an id may be written into: as it is encoded, or bytes behind a length. No data: there is
 * none. And the lengths in front of it that count it, from outside. */
typedef struct pk_place {
  pk_slice at;
  uint32_t count;
  struct {
    const uint8_t *at;
    uint32_t form; /* width | 16 little | 32 signed; 0: a varint; PK_LENGTH_BER */
  } around[PK_PATH_KEYS];
} pk_place;

/* What is malformed has no place in it. `is_varint`: a varint is looked for, else bytes. */
void pk_place_protobuf(pk_slice section, pk_path path, int is_varint, pk_place *place);
void pk_place_tlv(pk_slice section, pk_path path, pk_place *place);
void pk_place_json(pk_slice section, pk_path path, pk_place *place);
void pk_place_msgpack(pk_slice section, pk_path path, pk_place *place);
void pk_place_ber(pk_slice section, pk_path path, pk_place *place);

/* How a family reads the entries of a map: headers. */
typedef struct pk_entry_reader {
  /* Where the map of a path stands, and what `next` has to know of it: *form. PK_OK; PK_MORE: there is none; PK_ERR_LIMIT:
   * of the structure not all can be read. */
  int (*open)(pk_slice section, pk_path path, pk_rest *in, uint32_t *form);
  /* The next entry, and past it: of a key that is no text its number; a value that is no text has no data. PK_OK; PK_MORE:
   * there is none; PK_ERR_LIMIT as above; PK_ERR_UNSUPPORTED: its value is a text that is not in one piece. */
  int (*next)(pk_rest *in, uint32_t *form, pk_key *key, pk_slice *value);
} pk_entry_reader;

int pk_open_protobuf(pk_slice section, pk_path path, pk_rest *in, uint32_t *form);
int pk_next_protobuf(pk_rest *in, uint32_t *form, pk_key *key, pk_slice *value);
int pk_open_tlv(pk_slice section, pk_path path, pk_rest *in, uint32_t *form);
int pk_next_tlv(pk_rest *in, uint32_t *form, pk_key *key, pk_slice *value);
int pk_open_msgpack(pk_slice section, pk_path path, pk_rest *in, uint32_t *form);
int pk_next_msgpack(pk_rest *in, uint32_t *form, pk_key *key, pk_slice *value);
int pk_open_json(pk_slice section, pk_path path, pk_rest *in, uint32_t *form);
int pk_next_json(pk_rest *in, uint32_t *form, pk_key *key, pk_slice *value);
int pk_open_thrift_binary(pk_slice section, pk_path path, pk_rest *in, uint32_t *form);
int pk_open_thrift_compact(pk_slice section, pk_path path, pk_rest *in, uint32_t *form);
int pk_next_thrift(pk_rest *in, uint32_t *form, pk_key *key, pk_slice *value);
int pk_open_blocks(pk_slice section, pk_path path, pk_rest *in, uint32_t *form);
int pk_next_blocks(pk_rest *in, uint32_t *form, pk_key *key, pk_slice *value);

/* Whether those bytes are what such a place holds, and nothing more: a text or a number. */
int pk_is_json(pk_slice value);
int pk_is_msgpack(pk_slice value);

/* What stands there, as an argument of a call. PK_MORE: nothing does; PK_ERR_LIMIT as of steps; PK_ERR_UNSUPPORTED: a text that
 * is not in one piece. */
int pk_value_msgpack(pk_slice section, pk_path path, pk_value *out);
int pk_value_json(pk_slice section, pk_path path, pk_value *out);

/* Where a section is written anew. */
typedef struct pk_made {
  uint8_t *at, *end;
} pk_made;

static inline int pk_make(pk_made *out, const uint8_t *data, size_t size) {
  if (size > (size_t)(out->end - out->at)) return PK_ERR_SPACE;
  if (size > 0) memcpy(out->at, data, size);
  out->at += size;
  return PK_OK;
}

/* LEB128, as short as it can be. */
static inline int pk_make_varint(pk_made *out, uint64_t v) {
  uint8_t made[10];
  uint32_t size = 0;
  for (; v >= 0x80; v >>= 7) made[size++] = (uint8_t)(v | 0x80);
  made[size++] = (uint8_t)v;
  return pk_make(out, made, size);
}

/* So many bytes, big endian. */
static inline int pk_make_big(pk_made *out, uint64_t v, uint32_t bytes) {
  uint8_t made[8];
  put(made, v, bytes, 0);
  return pk_make(out, made, bytes);
}

/* The section with another text at a path, NULL: without it; a number's digits where a number stands. `is_item`: the last key
 * is a header's in a map, which may not be there yet, and whose values are texts. PK_OK; PK_ERR_UNSUPPORTED: nothing can be put
 * there, or it is malformed; PK_ERR_SPACE. More bytes than section, text and path have together: */
enum { PK_MADE_MORE = 32 * PK_PATH_KEYS };
typedef int (*pk_putter)(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out);
int pk_put_protobuf(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out);
int pk_put_tlv(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out);
int pk_put_msgpack(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out);
int pk_put_json(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out);
int pk_put_thrift_binary(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out);
int pk_put_thrift_compact(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out);
int pk_put_blocks(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out);
int pk_put_ber(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out);

/* Where what a key stands for is not there: whether it can be made. What is put is the last of the path, and of an item the map
 * that is to hold it, too. */
static inline int pk_can_be_made(pk_path behind, int is_item) {
  pk_key key;
  return behind.at == behind.end || (is_item && pk_path_next(&behind, &key) && behind.at == behind.end);
}

/* A text's decimal digits. 0: it is no integer of 64 bits. */
static inline int pk_integer_of(pk_slice text, int *negative, uint64_t *v) {
  uint32_t from = text.size > 0 && text.data[0] == '-';
  *negative = from != 0, *v = 0;
  if (text.size == from || text.size - from > 20) return 0;
  for (uint32_t i = from; i < text.size; i++) {
    uint64_t digit = (uint64_t)(text.data[i] - '0');
    if (text.data[i] < '0' || text.data[i] > '9' || *v > (UINT64_MAX - digit) / 10) return 0;
    *v = *v * 10 + digit;
  }
  return 1;
}

typedef int (*pk_finder)(pk_slice section, pk_path path, pk_found *found);

/* A step that finds each path on its own. */
static inline int pk_find_each(pk_finder find, const uint8_t *section, size_t size, const pk_slice *arguments,
                               uint32_t argument_count, pk_slice *out, uint32_t count) {
  if (size == 0 || size > UINT32_MAX) return size == 0 ? PK_OK : PK_ERR_LIMIT;
  for (uint32_t i = 0; i < count && i < argument_count; i++) {
    pk_found found = {{NULL, 0}, 0, 0, 0, 0};
    pk_path path = {arguments[i].data, arguments[i].data + arguments[i].size};
    int result = find((pk_slice){section, (uint32_t)size}, path, &found);
    if (result != PK_OK) return result;
    out[i] = found.is_number ? pk_digits(found.negative, found.value) : found.text;
  }
  return PK_OK;
}

#endif
