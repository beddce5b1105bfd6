/* backoff.h: how long to wait before the next try. Pure: the random number is given. */
#ifndef PK_BACKOFF_H
#define PK_BACKOFF_H

#include <stdint.h>

/* Any part of `base`, doubled for each of the tries `before` the last one, or of `most`: who failed together does not come
 * again together. */
static inline uint32_t pk_backoff_wait(uint32_t base, uint32_t most, uint32_t before, uint64_t random) {
  uint64_t wait = (uint64_t)base << (before < 31 ? before : 31);
  return (uint32_t)(random % ((wait < most ? wait : most) + 1));
}

#endif
