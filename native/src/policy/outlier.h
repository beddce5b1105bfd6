/* outlier.h: when an endpoint that answers, but badly, is left out for a while. Pure: what became of its requests and
 * when goes in, a verdict comes out. Whether so many of a cluster may be left out is asked elsewhere. */
#ifndef PK_OUTLIER_H
#define PK_OUTLIER_H

#include <stdint.h>

#include "table/table.h"

/* Shares are judged over so long, of so many requests at least. */
/* Half of an endpoint's answers take more than `median`, about; which is found by steps, wide ones for the first answers.
 * How often it is compared, with how many others, and what difference is none. */
enum { PK_SLOW_STEPS = 32, PK_SLOW_EVERY_MS = 100, PK_SLOW_OTHERS = 64, PK_SLOW_LEAST_MS = 2 };

enum { PK_OUTLIER_WINDOW_MS = 10000, PK_OUTLIER_REQUESTS = 20, PK_OUTLIER_TIMES = 30 /* of `eject` at most */ };

/* Why it is left out. */
enum { PK_OUTLIER_NOT = 0, PK_OUTLIER_ERRORS /* in a row */, PK_OUTLIER_RATE, PK_OUTLIER_SLOW };

typedef struct pk_outlier_state {
  uint64_t window; /* ns: when it ends */
  uint64_t until;  /* ns: it is left out, or was */
  uint32_t in_row, requests, errors; /* errors one after the other; of the window */
  uint32_t times;  /* it was left out lately */
  uint32_t answers;  /* that `median` is of */
  uint64_t median;   /* ns */
  uint64_t compared; /* ns: with the others, last */
} pk_outlier_state;

static inline void pk_outlier_count(pk_outlier_state *s, uint32_t errors, uint64_t now) {
  if (now >= s->window) {
    s->window = now + (uint64_t)PK_OUTLIER_WINDOW_MS * 1000000u;
    s->requests = s->errors = 0;
  }
  s->requests++;
  s->errors += errors;
}

static inline void pk_outlier_answered(pk_outlier_state *s, uint64_t now) {
  s->in_row = 0;
  pk_outlier_count(s, 0, now);
}

/* PK_OUTLIER_*: whether it is to be left out, and why. */
static inline uint32_t pk_outlier_failed(pk_outlier_state *s, const pk_outlier *o, uint64_t now) {
  s->in_row++;
  pk_outlier_count(s, 1, now);
  if (o->errors > 0 && s->in_row >= o->errors) return PK_OUTLIER_ERRORS;
  int many = o->rate > 0 && s->requests >= PK_OUTLIER_REQUESTS && s->errors * UINT64_C(1000000) >= (uint64_t)o->rate * s->requests;
  return many ? PK_OUTLIER_RATE : PK_OUTLIER_NOT;
}

/* It counts anew, left out or not. */
static inline void pk_outlier_forget(pk_outlier_state *s) {
  s->in_row = s->requests = s->errors = 0;
  s->window = 0;
  s->answers = 0;
}

/* An answer took so long. One that takes very long moves the median no further than one that takes a little longer. */
static inline void pk_outlier_took(pk_outlier_state *s, uint64_t took) {
  uint64_t step = s->median >> (s->answers < PK_SLOW_STEPS ? 2 : 4);
  s->median = s->answers == 0 ? took : took > s->median ? s->median + step + 1 : s->median - step;
  if (s->answers < PK_SLOW_STEPS) s->answers++;
}

static inline int pk_outlier_is_measured(const pk_outlier_state *s) { return s->answers >= PK_OUTLIER_REQUESTS; }

/* Whether it is time to compare it with the others. */
static inline int pk_outlier_compares(pk_outlier_state *s, uint64_t now) {
  if (!pk_outlier_is_measured(s) || now - s->compared < (uint64_t)PK_SLOW_EVERY_MS * 1000000u) return 0;
  s->compared = now;
  return 1;
}

/* Whether its median is so many times another's. */
static inline int pk_outlier_is_slower(const pk_outlier_state *s, const pk_outlier *o, uint64_t other) {
  uint64_t least = other + (uint64_t)PK_SLOW_LEAST_MS * 1000000u;
  return s->median > least && s->median / o->slower > other / 1000;
}

/* Of `others` that are measured it is so much slower than `than`: whether that is more than half, and there are two at least,
 * so that no single one says what is slow. That is to say: slower than their median. */
static inline int pk_outlier_is_slow(uint32_t others, uint32_t than) { return others >= 2 && than > others / 2; }

/* It is left out, each time that follows soon for longer. Returns for how long, ms. */
static inline uint32_t pk_outlier_eject(pk_outlier_state *s, const pk_outlier *o, uint64_t now) {
  uint64_t well = s->until == 0 ? 0 : (now - s->until) / ((uint64_t)o->eject * 1000000u);
  s->times = well < s->times ? s->times - (uint32_t)well : 0;
  if (s->times < PK_OUTLIER_TIMES) s->times++;
  uint32_t ms = o->eject * s->times;
  s->until = now + (uint64_t)ms * 1000000u;
  pk_outlier_forget(s);
  return ms;
}

#endif
