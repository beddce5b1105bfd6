/* quota.h: what somebody outside has said of keys: so many requests for so long. Pure: the time is given. Several threads
 * may ask at once, while one other writes what was said.
 *
 * Keys stand in sets, a key always in the same one. Where a set is full a new key takes the place of the one that was asked
 * for the longest ago, which is asked about anew when it comes again: so the memory is bounded. One that was asked for again
 * after something was said of it has its place for PK_QUOTA_KEEP more: keys that come once do not drive out those in use. */
#ifndef PK_QUOTA_H
#define PK_QUOTA_H

#include <stdatomic.h>
#include <stdint.h>

enum { PK_QUOTAS_A_SET = 8 };
enum { PK_QUOTA_UNKNOWN = 0, PK_QUOTA_TAKEN, PK_QUOTA_REFUSED };
#define PK_QUOTA_AGAIN UINT64_C(1000000000)  /* ns after which one that was not answered is asked about again */
#define PK_QUOTA_KEEP UINT64_C(10000000000) /* ns */

typedef struct pk_quota {
  _Atomic uint64_t key;   /* a hash; 0: nobody's */
  _Atomic uint64_t of;    /* of which key something was said: where it is this one */
  _Atomic uint64_t used;  /* the earliest goes */
  _Atomic uint64_t until; /* what was said holds */
  _Atomic uint64_t renew; /* from then on it is asked about again */
  _Atomic uint64_t asked; /* when that was done last; 0: not since something was said */
  _Atomic int64_t left;   /* requests */
  _Atomic uint64_t hits;  /* that came since it was asked about */
} pk_quota;

/* Where the key stands; NULL: nowhere. */
static inline pk_quota *pk_quota_find(pk_quota *set, uint64_t key) {
  for (uint32_t i = 0; i < PK_QUOTAS_A_SET; i++)
    if (atomic_load(&set[i].key) == key) return &set[i];
  return NULL;
}

/* The same; it gets a place where it has none. */
static inline pk_quota *pk_quota_of(pk_quota *set, uint64_t key) {
  for (;;) {
    pk_quota *found = pk_quota_find(set, key), *oldest = set;
    if (found != NULL) return found;
    for (uint32_t i = 1; i < PK_QUOTAS_A_SET; i++)
      if (atomic_load(&set[i].used) < atomic_load(&oldest->used)) oldest = &set[i];
    uint64_t owner = atomic_load(&oldest->key);
    if (!atomic_compare_exchange_strong(&oldest->key, &owner, key)) continue; /* others do the same */
    atomic_store(&oldest->asked, 0);
    atomic_store(&oldest->hits, 0);
    return oldest;
  }
}

/* Takes one: PK_QUOTA_*. */
static inline int pk_quota_take(pk_quota *q, uint64_t key, uint64_t now) {
  int known = atomic_load(&q->of) == key && now < atomic_load(&q->until);
  atomic_store(&q->used, known ? now + PK_QUOTA_KEEP : now);
  atomic_fetch_add(&q->hits, 1);
  if (!known) return PK_QUOTA_UNKNOWN;
  int64_t left = atomic_load(&q->left);
  do {
    if (left <= 0) return PK_QUOTA_REFUSED;
  } while (!atomic_compare_exchange_weak(&q->left, &left, left - 1));
  return PK_QUOTA_TAKEN;
}

/* Whether it is to be asked about. */
static inline int pk_quota_is_due(pk_quota *q, uint64_t key, uint64_t now) {
  uint64_t asked = atomic_load(&q->asked);
  if (asked != 0 && now < asked + PK_QUOTA_AGAIN) return 0; /* another thread's time may be ahead */
  return atomic_load(&q->of) != key || now >= atomic_load(&q->renew);
}

/* The same, for one of all threads: who is told so asks. *hits: the requests since. */
static inline int pk_quota_asks(pk_quota *q, uint64_t key, uint64_t now, uint64_t *hits) {
  uint64_t asked = atomic_load(&q->asked);
  if (!pk_quota_is_due(q, key, now)) return 0;
  if (!atomic_compare_exchange_strong(&q->asked, &asked, now > 0 ? now : 1)) return 0;
  *hits = atomic_exchange(&q->hits, 0);
  return 1;
}

/* It could not be asked about after all. */
static inline void pk_quota_unasked(pk_quota *q, uint64_t hits) {
  atomic_fetch_add(&q->hits, hits);
  atomic_store(&q->asked, 0);
}

/* So many requests, until then. By one thread. One that has lost its place meanwhile is not given any, nor is who got it. */
static inline void pk_quota_say(pk_quota *set, uint64_t key, int64_t left, uint64_t now, uint64_t until) {
  pk_quota *q = pk_quota_find(set, key);
  if (q == NULL) return;
  if (atomic_load(&q->of) != key) atomic_store(&q->of, 0);
  atomic_store(&q->left, left);
  atomic_store(&q->renew, until - (until - now) / 4);
  atomic_store(&q->until, until);
  atomic_store(&q->asked, 0);
  atomic_store(&q->of, key);
}

#endif
