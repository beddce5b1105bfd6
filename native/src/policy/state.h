/* state.h: what a rule has beyond its table: what its limit's buckets hold, and how often it decided. All workers share
 * it, and a reload that did not change the rule goes on with it (its identity is the deciding side's to know). */
#ifndef PK_STATE_H
#define PK_STATE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/limit.h"

/* python { */
/* What a rule decided of a request; what is only counted: PK_DECIDED_WOULD_*. */
enum {
  PK_DECIDED_LIMIT = 0,
  PK_DECIDED_WOULD_LIMIT,
  PK_DECIDED_DELAY,
  PK_DECIDED_ABORT,
  PK_DECIDED_DENY,
  PK_DECIDED_WOULD_DENY,
  PK_DECIDED_COUNT
};

typedef struct pk_rule_state pk_rule_state;
/* With buckets for so many keys, or one for all; NULL without memory. */
pk_rule_state *pk_rule_state_new(uint32_t keys, uint64_t seed);
void pk_rule_state_free(pk_rule_state *s);
uint64_t pk_rule_state_count(const pk_rule_state *s, uint32_t decided); /* PK_DECIDED_* */
/* } python */

struct pk_rule_state {
  /* Each on cache lines of its own: one is written by each request, one only by those that are decided of. */
  alignas(64) _Atomic uint64_t bucket;
  alignas(64) _Atomic uint64_t decided[PK_DECIDED_COUNT];
  alignas(64) uint64_t seed;
  uint32_t mask;
  alignas(64) pk_bucket_set sets[];
};

static inline void pk_rule_decided(pk_rule_state *s, uint32_t what) {
  atomic_fetch_add_explicit(&s->decided[what], 1, memory_order_relaxed);
}

#endif
