/* quantile.h: how long a share of what came lately took: a histogram with eight steps to each doubling, so that what it says
 * is no more than an eighth too much. Two halves: what came in these thirty seconds, and in those before. Pure: times go in, ns. */
#ifndef PK_QUANTILE_H
#define PK_QUANTILE_H

#include <stdint.h>
#include <string.h>

#define PK_QUANTILE_HALF ((uint64_t)30 * 1000000000u) /* ns */
enum {
  PK_QUANTILE_LEAST = 16, /* 2^16 ns, 66 us: what is below counts as that */
  PK_QUANTILE_STEPS = 8 * 24, /* up to 2^40 ns, 18 minutes: what is above counts as that */
  PK_QUANTILE_ENOUGH = 100, /* that many have to have come */
  PK_QUANTILE_FRESH = 32    /* after so many more it is looked at anew */
};

/* Zeroed, it knows nothing. */
typedef struct pk_quantile {
  uint64_t half;  /* the number of these thirty seconds */
  uint64_t known; /* ns: what was found last; 0: nothing */
  uint32_t share, looked_at; /* of which share, and when there were so many in this half */
  uint32_t count[2], in[2][PK_QUANTILE_STEPS];
} pk_quantile;

static inline uint32_t pk_quantile_step(uint64_t took) {
  if (took >> PK_QUANTILE_LEAST == 0) return 0;
  uint32_t octave = 63 - (uint32_t)__builtin_clzll(took);
  uint32_t step = 8 * (octave - PK_QUANTILE_LEAST) + ((took >> (octave - 3)) & 7);
  return step < PK_QUANTILE_STEPS ? step : PK_QUANTILE_STEPS - 1;
}

/* Where a step ends. */
static inline uint64_t pk_quantile_end(uint32_t step) {
  return (uint64_t)(9 + step % 8) << (step / 8 + PK_QUANTILE_LEAST - 3);
}

static inline void pk_quantile_now(pk_quantile *q, uint64_t now) {
  uint64_t half = now / PK_QUANTILE_HALF;
  if (half == q->half) return;
  int next = half == q->half + 1;
  memcpy(q->in[1], q->in[0], sizeof q->in[1]);
  q->count[1] = q->count[0];
  memset(q->in[0], 0, sizeof q->in[0]);
  q->count[0] = 0;
  if (!next) {
    memset(q->in[1], 0, sizeof q->in[1]);
    q->count[1] = 0;
  }
  q->half = half;
  q->known = 0;
}

static inline void pk_quantile_took(pk_quantile *q, uint64_t took, uint64_t now) {
  pk_quantile_now(q, now);
  q->in[0][pk_quantile_step(took)]++;
  q->count[0]++;
}

/* So long at most took such a share of them, parts of a million; 0: too few have come. */
static inline uint64_t pk_quantile_of(pk_quantile *q, uint32_t share, uint64_t now) {
  pk_quantile_now(q, now);
  if (q->known != 0 && q->share == share && q->count[0] - q->looked_at < PK_QUANTILE_FRESH) return q->known;
  uint64_t all = (uint64_t)q->count[0] + q->count[1], before = 0;
  if (all < PK_QUANTILE_ENOUGH) return 0;
  uint32_t step = 0;
  while ((before += (uint64_t)q->in[0][step] + q->in[1][step]) * 1000000u < all * share) step++;
  q->share = share;
  q->looked_at = q->count[0];
  q->known = pk_quantile_end(step);
  return q->known;
}

#endif
