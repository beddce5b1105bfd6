/* latency.h: how long an endpoint takes: an average that what came lately decides, and that goes up at once to what took
 * longer (a peak) and only slowly down again. Pure: times go in, ns.
 *
 * With time alone it halves every PK_LATENCY_HALF, down to nothing: an endpoint that was slow is tried again, also where
 * nobody asks it meanwhile. */
#ifndef PK_LATENCY_H
#define PK_LATENCY_H

#include <stdint.h>

#define PK_LATENCY_HALF_BITS 33 /* 8.6 s: a power of two, so that halving is a shift */
#define PK_LATENCY_LEAST 1000000u /* 1 ms: a failure counts as this at least */
#define PK_LATENCY_MOST ((uint64_t)1 << 45) /* ten hours: what is above counts as that */

typedef struct pk_latency {
  uint64_t value, at; /* ns: what it was then; value 0: nothing is known */
  uint64_t answered;  /* ns: when it last gave an answer that refuses nothing; 0: never */
} pk_latency;

/* `value`, so long ago. Between two halvings it goes down in a straight line. */
static inline uint64_t pk_latency_faded(uint64_t value, uint64_t ago) {
  uint64_t halvings = ago >> PK_LATENCY_HALF_BITS, part = (ago >> (PK_LATENCY_HALF_BITS - 16)) & 0xffff;
  if (halvings >= 46) return 0;
  value >>= halvings;
  return value - (value * part >> 17);
}

static inline uint64_t pk_latency_now(const pk_latency *l, uint64_t now) { return pk_latency_faded(l->value, now - l->at); }

static inline void pk_latency_took(pk_latency *l, uint64_t took, uint64_t now) {
  uint64_t was = l->value;
  if (took > PK_LATENCY_MOST) took = PK_LATENCY_MOST;
  l->value = was > took ? took + pk_latency_faded(was - took, now - l->at) : took;
  if (l->value == 0) l->value = 1; /* it is known */
  l->at = now;
}

/* An answer came after `took`. */
static inline void pk_latency_answered(pk_latency *l, uint64_t took, uint64_t now) {
  l->answered = now;
  pk_latency_took(l, took, now);
}

/* None has come for so long, and nobody waits for it any more. */
static inline void pk_latency_given_up(pk_latency *l, uint64_t after, uint64_t now) {
  if (after > pk_latency_now(l, now)) pk_latency_took(l, after, now);
}

/* It failed: as if it had taken twice as long as they do, up to `most`, the time that it had. So who fails at once has
 * less and less to do with each failure, and one failure among many answers is soon made good. */
static inline void pk_latency_failed(pk_latency *l, uint64_t after, uint64_t most, uint64_t now) {
  uint64_t slow = 2 * pk_latency_now(l, now);
  if (slow < PK_LATENCY_LEAST) slow = PK_LATENCY_LEAST;
  if (slow > most) slow = most;
  pk_latency_given_up(l, slow > after ? slow : after, now);
}

/* It refused what was asked. Its caller may be to blame: what is known stays as it is. Where it has done nothing else for a
 * halving that is a failure. */
static inline void pk_latency_refused(pk_latency *l, uint64_t after, uint64_t most, uint64_t now) {
  if (l->answered == 0 || (now - l->answered) >> PK_LATENCY_HALF_BITS != 0) {
    pk_latency_failed(l, after, most, now);
  } else {
    l->value = pk_latency_now(l, now);
    l->at = now;
  }
}

/* How long one more request is likely to take behind `active` others. Where nothing is known the first is cheap, and
 * whoever comes while it is under way goes elsewhere: longer than all that is known. */
static inline double pk_latency_cost(const pk_latency *l, uint32_t active, uint64_t now) {
  uint64_t each = pk_latency_now(l, now);
  if (each == 0 && active > 0) each = PK_LATENCY_MOST;
  return (double)each * ((double)active + 1);
}

#endif
