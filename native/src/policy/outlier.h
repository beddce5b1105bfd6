/* outlier.h: when an endpoint that answers, but badly, is left out for a while. Pure: what became of its requests and
 * when goes in, a verdict comes out. Whether so many of a cluster may be left out is asked elsewhere. */
#ifndef PK_OUTLIER_H
#define PK_OUTLIER_H

#include <stdint.h>

#include "table/table.h"

/* Shares are judged over so long, of so many requests at least. */
enum { PK_OUTLIER_WINDOW_MS = 10000, PK_OUTLIER_REQUESTS = 20, PK_OUTLIER_TIMES = 30 /* of `eject` at most */ };

/* Why it is left out. */
enum { PK_OUTLIER_NOT = 0, PK_OUTLIER_ERRORS /* in a row */, PK_OUTLIER_RATE };

typedef struct pk_outlier_state {
  uint64_t window; /* ns: when it ends */
  uint64_t until;  /* ns: it is left out, or was */
  uint32_t in_row, requests, errors; /* errors one after the other; of the window */
  uint32_t times;  /* it was left out lately */
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
}

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
