/* thrift.h: Thrift's strict binary protocol in frames, as far as a load generator and an echo need it.
 *
 *   0      4            7      8             12
 *   | size | 80 01 00 | type | name length | name | sequence id | struct
 *
 * The struct of a request is one String, field 1; that of an answer one String, field 0. */
#ifndef THRIFT_H
#define THRIFT_H

#include "frame.h"

enum { CALL = 1, REPLY = 2, STOP = 0, STRING_FIELD = 7 /* bytes in front of a String: type, field, length */ };

static inline uint8_t *put32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
  return p + 4;
}

/* As frame_size. */
static inline size_t thrift_size(const uint8_t *p, size_t size) {
  if (size < 12) return 0;
  size_t body = get32(p), name = get32(p + 8);
  if (p[4] != 0x80 || p[5] != 1 || body > BODY_MAX || body < 13 || name > body - 13) return SIZE_MAX;
  return size < 4 + body ? 0 : 4 + body;
}

static inline uint8_t *thrift_id(uint8_t *p) { return p + 12 + get32(p + 8); }

/* What is written behind the name and the id; returns its end. */
static inline uint8_t *thrift_text(uint8_t *p, int field, const void *s, size_t length) {
  *p++ = 11;
  *p++ = 0;
  *p++ = (uint8_t)field;
  p = put32(p, (uint32_t)length);
  memcpy(p, s, length);
  p[length] = STOP;
  return p + length + 1;
}

/* The one String of a whole frame's struct, NULL where it is none. */
static inline const uint8_t *thrift_value(uint8_t *p, size_t size, int field, size_t *length) {
  const uint8_t *at = thrift_id(p) + 4, *end = p + size;
  if (end - at < STRING_FIELD + 1 || at[0] != 11 || at[1] != 0 || at[2] != field) return NULL;
  *length = get32(at + 3);
  return *length == (size_t)(end - at) - STRING_FIELD - 1 && end[-1] == STOP ? at + STRING_FIELD : NULL;
}

#endif
