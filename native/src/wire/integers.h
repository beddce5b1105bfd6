/* integers.h: integers of 1 to 8 bytes, as they stand in frames. */
#ifndef PK_INTEGERS_H
#define PK_INTEGERS_H

#include <stdint.h>

/* How one is written: width | these. */
enum { LITTLE = 16, SIGNED = 32 };

static inline uint64_t big(const uint8_t *p, uint32_t bytes) {
  uint64_t v = 0;
  for (uint32_t i = 0; i < bytes; i++) v = v << 8 | p[i];
  return v;
}

static inline uint64_t little(const uint8_t *p, uint32_t bytes) {
  uint64_t v = 0;
  for (uint32_t i = bytes; i > 0; i--) v = v << 8 | p[i - 1];
  return v;
}

static inline int64_t extend(uint64_t v, uint32_t bytes) {
  uint32_t shift = 64 - 8 * bytes;
  return (int64_t)(v << shift) >> shift;
}

/* Of such a form. */
static inline int64_t integer_of(const uint8_t *p, uint32_t form) {
  uint64_t raw = form & LITTLE ? little(p, form & 15) : big(p, form & 15);
  return form & SIGNED ? extend(raw, form & 15) : (int64_t)raw;
}

static inline void put(uint8_t *p, uint64_t v, uint32_t bytes, int is_little) {
  for (uint32_t i = 0; i < bytes; i++) p[is_little ? i : bytes - 1 - i] = (uint8_t)(v >> (8 * i));
}

#endif
