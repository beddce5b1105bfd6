/* state.h: what a rule has beyond its table: what its limit's buckets hold, how many copies are under way, and how often it decided. All workers share
 * it, and a reload that did not change the rule goes on with it (its identity is the deciding side's to know). */
#ifndef PK_STATE_H
#define PK_STATE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/limit.h"
#include "policy/quota.h"

/* python { */
/* What a rule decided of a request; what is only counted: PK_DECIDED_WOULD_*. A copy that was sent may fail then. */
enum {
  PK_DECIDED_LIMIT = 0,
  PK_DECIDED_WOULD_LIMIT,
  PK_DECIDED_DELAY,
  PK_DECIDED_ABORT,
  PK_DECIDED_DENY,
  PK_DECIDED_WOULD_DENY,
  PK_DECIDED_QUOTA,
  PK_DECIDED_WOULD_QUOTA,
  PK_DECIDED_UNASKED,
  PK_DECIDED_WOULD_UNASKED,
  PK_DECIDED_MIRROR,
  PK_DECIDED_MIRROR_SKIPPED,
  PK_DECIDED_MIRROR_FAILED,
  PK_DECIDED_FAULT_DENIED,  /* who asked for one has not the key */
  PK_DECIDED_FAULT_IGNORED, /* he has, and asked for nothing that is known, or for what has no room */
  PK_DECIDED_COUNT
};

typedef struct pk_rule_state pk_rule_state;
/* With buckets for so many keys, or one for all; NULL without memory. */
pk_rule_state *pk_rule_state_new(uint32_t keys, uint64_t seed);
void pk_rule_state_free(pk_rule_state *s);
/* Somebody outside is asked, about so many keys at least. Before it is used; -1 without memory. */
int pk_rule_state_ask(pk_rule_state *s, uint32_t keys);
/* He says: so many requests of that key, until then. By one thread. */
void pk_rule_state_say(pk_rule_state *s, uint64_t key, int64_t left, uint64_t now, uint64_t until);
/* So many keys that were to be asked about are with whoever asks. */
void pk_rule_state_took(pk_rule_state *s, uint32_t keys);
uint64_t pk_rule_state_count(const pk_rule_state *s, uint32_t decided); /* PK_DECIDED_* */
/* } python */

enum { PK_ASKING_NEW = 256, PK_ASKING_MOST = 384 };

#define PK_ONE_BUCKET UINT32_MAX /* pk_rule_state.mask: it has no sets, whatever plans say of keys */

struct pk_rule_state {
  /* Each on cache lines of its own: one is written by each request, one only by those that are decided of. */
  alignas(64) _Atomic uint64_t bucket;
  alignas(64) _Atomic uint64_t decided[PK_DECIDED_COUNT];
  _Atomic uint32_t copies; /* under way */
  alignas(64) uint64_t seed;
  uint32_t mask, quota_mask;
  pk_quota *quotas; /* NULL: nobody is asked */
  _Atomic uint32_t asking; /* keys on their way to whoever asks */
  alignas(64) pk_bucket_set sets[];
};

/* Those of a key's set. */
static inline pk_quota *pk_rule_quotas(const pk_rule_state *s, uint64_t key) {
  return s->quotas + (size_t)((uint32_t)(key >> 32) & s->quota_mask) * PK_QUOTAS_A_SET;
}

/* Whether one more may be: so that the keys of one rule leave room for those of others, and new ones for `known` ones. */
static inline int pk_rule_asks(pk_rule_state *s, int known) {
  uint32_t most = known ? PK_ASKING_MOST : PK_ASKING_NEW;
  if (atomic_load_explicit(&s->asking, memory_order_relaxed) >= most) return 0;
  atomic_fetch_add_explicit(&s->asking, 1, memory_order_relaxed); /* threads at once may go beyond that by as many */
  return 1;
}

static inline void pk_rule_decided(pk_rule_state *s, uint32_t what) {
  atomic_fetch_add_explicit(&s->decided[what], 1, memory_order_relaxed);
}

#endif
