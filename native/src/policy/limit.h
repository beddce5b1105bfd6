/* limit.h: token buckets, each one word: when it will be full again (the generic cell rate algorithm). Pure: the time is
 * given. Several threads may take from one at once: a request costs one compare and swap, a refusal none.
 *
 * Buckets of many keys stand in sets, a key always in the same one. A new key takes the place of the one that is full
 * again the earliest, and what that one still owes: an owner of nothing is full, and owes nothing; where all owe, nobody
 * gets a fresh bucket by making others go, nor by going and coming back. For what a set's places owe at least never
 * becomes less, a key that comes back owes what it owed when it went, or more. So the memory is bounded, and each key
 * gets what its own bucket gives at most, whoever else comes. */
#ifndef PK_LIMIT_H
#define PK_LIMIT_H

#include <stdatomic.h>
#include <stdint.h>

/* Takes one token; 0: there is none. `interval` ns bring one, and it holds those of `depth` ns more. */
static inline int pk_bucket_take(_Atomic uint64_t *full_at, uint64_t interval, uint64_t depth, uint64_t now) {
  uint64_t was = atomic_load_explicit(full_at, memory_order_relaxed), from;
  do {
    from = was > now ? was : now;
    if (from - now > depth) return 0;
  } while (!atomic_compare_exchange_weak(full_at, &was, from + interval));
  return 1;
}

enum { PK_BUCKETS_A_SET = 16 };

typedef struct pk_bucket_set {
  _Atomic uint64_t keys[PK_BUCKETS_A_SET]; /* hashes; 0: nobody's */
  _Atomic uint64_t full_at[PK_BUCKETS_A_SET];
} pk_bucket_set;

/* Sets for so many keys: two places for each, since they are not spread evenly. A power of two. */
static inline uint32_t pk_bucket_sets(uint32_t keys) {
  uint32_t sets = 1;
  while (sets * (uint64_t)PK_BUCKETS_A_SET < 2 * (uint64_t)keys) sets *= 2;
  return sets;
}

/* Where the key stands: the first place where it does. It gets one where it has none. */
static inline uint32_t pk_bucket_of(pk_bucket_set *set, uint64_t key) {
  for (;;) {
    uint32_t first = 0;
    uint64_t at_first = UINT64_MAX, owner = 0;
    for (uint32_t i = 0; i < PK_BUCKETS_A_SET; i++) {
      uint64_t found = atomic_load(&set->keys[i]);
      if (found == key) return i;
      uint64_t at = atomic_load_explicit(&set->full_at[i], memory_order_relaxed);
      if (at < at_first) first = i, at_first = at, owner = found;
    }
    atomic_compare_exchange_strong(&set->keys[first], &owner, key); /* it is looked for again: others do the same */
  }
}

/* The same as pk_bucket_take for a key that is not 0, of `mask` + 1 sets. */
static inline int pk_buckets_take(pk_bucket_set *sets, uint32_t mask, uint64_t key, uint64_t interval, uint64_t depth,
                                  uint64_t now) {
  pk_bucket_set *set = &sets[(uint32_t)(key >> 32) & mask];
  for (;;) {
    uint32_t i = pk_bucket_of(set, key);
    if (!pk_bucket_take(&set->full_at[i], interval, depth, now)) return 0;
    if (atomic_load(&set->keys[i]) == key) return 1; /* else its place went meanwhile, and it pays at its new one */
  }
}

#endif
