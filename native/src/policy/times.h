/* times.h: how long calls took, ever since: how many by doublings, and all together. Pure: times go in, ns. */
#ifndef PK_TIMES_H
#define PK_TIMES_H

#include <stdint.h>

/* Zeroed, nothing has come. One thread adds to its words where they are, in one instruction each; others read them as
 * aligned words, which are old or new and never half. */
typedef struct pk_times {
  uint64_t sum;
  uint64_t in[64]; /* those of 2^i ns and more, up to twice that; in the first those of nothing, too */
} pk_times;

static inline void pk_times_took(pk_times *t, uint64_t took) {
  t->in[63 - __builtin_clzll(took | 1)]++;
  t->sum += took;
}

#endif
