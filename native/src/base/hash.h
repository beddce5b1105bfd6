/* hash.h: a seeded hash of short texts, eight bytes a step. */
#ifndef PK_HASH_H
#define PK_HASH_H

#include <stdint.h>
#include <string.h>

static inline uint64_t pk_fold(uint64_t a, uint64_t b) {
  __extension__ typedef unsigned __int128 wide;
  wide m = (wide)a * b;
  return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t pk_hash(uint64_t seed, const uint8_t *data, uint32_t size) {
  uint64_t h = seed ^ ((uint64_t)size * 0x9e3779b97f4a7c15u);
  uint64_t word = 0;
  int whole = size >= 8;
  while (size >= 8) {
    memcpy(&word, data, 8);
    h = pk_fold(h ^ word, 0xd6e8feb86659fd93u);
    data += 8;
    size -= 8;
  }
  if (whole) { /* the last eight, some of them again: cheaper than so many */
    memcpy(&word, data + size - 8, 8);
  } else if (size > 0) {
    memcpy(&word, data, size);
  }
  h = pk_fold(h ^ word, 0xa0761d6478bd642fu);
  return h ^ (h >> 29);
}

#endif
