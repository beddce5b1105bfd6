/* breaker.h: how much of a cluster may be under way at a time, in total over all workers: words that they share, by the
 * clusters' and endpoints' numbers. A place is taken by one compare and swap, and given back by one addition. */
#ifndef PK_BREAKER_H
#define PK_BREAKER_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

/* python { */
/* What is counted. An endpoint's own words are the last two. */
enum {
  PK_BREAKER_CONNECTIONS = 0, /* open or being opened, whoever's */
  PK_BREAKER_WAITING,         /* requests whose connection is being opened */
  PK_BREAKER_REQUESTS,        /* tries under way */
  PK_BREAKER_RETRIES,         /* of them those that a rule's `retry` granted, from then on */
  PK_BREAKER_ENDPOINT_CONNECTIONS,
  PK_BREAKER_ENDPOINT_REQUESTS,
  PK_BREAKER_COUNT
};

typedef struct pk_shared pk_shared;
pk_shared *pk_shared_new(void); /* NULL without memory */
void pk_shared_release(pk_shared *s); /* it goes with the last that holds it */
/* What is under way of a cluster, or of an endpoint; how often a cluster's breaker refused something. */
uint32_t pk_shared_under_way(pk_shared *s, uint32_t cluster, uint32_t breaker);
uint32_t pk_shared_endpoint(pk_shared *s, uint32_t endpoint, uint32_t breaker);
uint64_t pk_shared_refused(pk_shared *s, uint32_t cluster, uint32_t breaker);
uint32_t pk_shared_limit(pk_shared *s, uint32_t cluster); /* of requests, where it is found; 0: not yet */
void pk_shared_forget(pk_shared *s, uint32_t cluster); /* no table has it: its number may be another's */
/* } python */

enum { PK_LIMIT_MASK = 0x7fffffff }; /* what of `limit` is the limit */

typedef struct pk_cluster_words {
  /* Each on cache lines of its own: one is written by requests, one only by those that are refused. */
  alignas(64) _Atomic uint32_t under_way[PK_BREAKER_COUNT];
  alignas(64) _Atomic uint64_t refused[PK_BREAKER_COUNT];
  /* Where the limit of requests is found: what it is, and a bit of adaptive.c's; when that was said last, ns. */
  alignas(64) _Atomic uint32_t limit;
  _Atomic uint64_t decided;
} pk_cluster_words;

typedef struct pk_endpoint_words {
  _Atomic uint32_t under_way[2]; /* PK_BREAKER_ENDPOINT_* */
} pk_endpoint_words;

pk_shared *pk_shared_hold(pk_shared *s);
/* Zeroed when they are new; NULL: the number is too large, or there is no memory. */
pk_cluster_words *pk_shared_cluster_words(pk_shared *s, uint32_t number);
pk_endpoint_words *pk_shared_endpoint_words(pk_shared *s, uint32_t number);

/* One place of `most`, 0: none is left. */
static inline int pk_breaker_take(_Atomic uint32_t *word, uint32_t most) {
  uint32_t was = atomic_load_explicit(word, memory_order_relaxed);
  do {
    if (was >= most) return 0;
  } while (!atomic_compare_exchange_weak_explicit(word, &was, was + 1, memory_order_relaxed, memory_order_relaxed));
  return 1;
}

static inline void pk_breaker_add(_Atomic uint32_t *word, uint32_t n) { atomic_fetch_add_explicit(word, n, memory_order_relaxed); }
static inline void pk_breaker_give(_Atomic uint32_t *word, uint32_t n) { atomic_fetch_sub_explicit(word, n, memory_order_relaxed); }

/* How many are left. */
static inline uint32_t pk_breaker_free(const _Atomic uint32_t *word, uint32_t most) {
  uint32_t used = atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)word, memory_order_relaxed);
  return used < most ? most - used : 0;
}

/* The last eighth, one at least, is for those who hold less than is free: so many of `most` are for anybody. */
static inline uint32_t pk_breaker_plenty(uint32_t most) { return most - most / 8 - (most % 8 != 0); }
static inline int pk_breaker_is_scarce(uint32_t free, uint32_t most) { return most - free >= pk_breaker_plenty(most); }

#endif
