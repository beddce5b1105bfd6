/* verdicts.h: what the workers of a process tell each other of endpoints, by number: each is checked by one of them, and
 * what that found holds for all. One writer a word. */
#ifndef PK_VERDICTS_H
#define PK_VERDICTS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { PK_VERDICTS = 65536 };

/* python { */
typedef struct pk_verdicts pk_verdicts;
pk_verdicts *pk_verdicts_new(void); /* NULL without memory */
void pk_verdicts_free(pk_verdicts *v);
/* } python */

typedef struct pk_shared_verdict {
  _Atomic uint64_t heard;  /* ns: some worker got an answer of it lately */
  _Atomic uint8_t failing; /* its health check */
} pk_shared_verdict;

struct pk_verdicts {
  _Atomic uint64_t version; /* another one whenever a `failing` changes */
  pk_shared_verdict of[PK_VERDICTS];
};

static inline void pk_verdicts_say(pk_verdicts *v, uint32_t uid, uint8_t failing) {
  if (v == NULL || uid >= PK_VERDICTS) return;
  atomic_store_explicit(&v->of[uid].failing, failing, memory_order_relaxed);
  atomic_fetch_add_explicit(&v->version, 1, memory_order_release);
}

static inline uint8_t pk_verdicts_of(const pk_verdicts *v, uint32_t uid) {
  return v == NULL || uid >= PK_VERDICTS ? 0 : atomic_load_explicit(&v->of[uid].failing, memory_order_relaxed);
}

static inline uint64_t pk_verdicts_version(const pk_verdicts *v) {
  return v == NULL ? 0 : atomic_load_explicit(&v->version, memory_order_acquire);
}

/* Not more often than is of use: all workers write this one. */
static inline void pk_verdicts_heard(pk_verdicts *v, uint32_t uid, uint64_t now) {
  static const uint64_t often = 10000000;
  if (v == NULL || uid >= PK_VERDICTS) return;
  if (now - atomic_load_explicit(&v->of[uid].heard, memory_order_relaxed) >= often)
    atomic_store_explicit(&v->of[uid].heard, now, memory_order_relaxed);
}

static inline uint64_t pk_verdicts_last_heard(const pk_verdicts *v, uint32_t uid) {
  return v == NULL || uid >= PK_VERDICTS ? 0 : atomic_load_explicit(&v->of[uid].heard, memory_order_relaxed);
}

/* Another endpoint may get the number. */
static inline void pk_verdicts_forget(pk_verdicts *v, uint32_t uid) {
  if (v == NULL || uid >= PK_VERDICTS) return;
  atomic_store_explicit(&v->of[uid].heard, 0, memory_order_relaxed);
  if (pk_verdicts_of(v, uid)) pk_verdicts_say(v, uid, 0);
}

#endif
