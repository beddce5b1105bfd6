/* adaptive.c: a breaker's limit of requests that is found by how long they take (gradient.h).
 *
 * The limit is the cluster's, in total over all workers, as what is under way is. Each worker looks at its own calls; of those
 * that could say what comes next one does, the others' windows begin anew with it. */
#include <stdlib.h>

#include "core/internal.h"
#include "policy/gradient.h"

#define WAS_TOO_HIGH (PK_LIMIT_MASK + 1u)
_Static_assert(PK_LIMIT_MASK == INT32_MAX, "what an image may say is less than that bit");

uint32_t pk_adaptive_limit(const pk_cluster_words *w, const pk_breaker *b) {
  uint32_t limit = atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&w->limit, memory_order_relaxed) & PK_LIMIT_MASK;
  return limit < b->least ? b->least : limit > b->requests ? b->requests : limit;
}

/* Whether it is this worker's turn. */
static int decides(pk_cluster_words *w, uint64_t now) {
  uint64_t last = atomic_load_explicit(&w->decided, memory_order_relaxed);
  if (now < last + PK_GRADIENT_LEAST_MS * UINT64_C(1000000)) return 0;
  return atomic_compare_exchange_strong_explicit(&w->decided, &last, now, memory_order_relaxed, memory_order_relaxed);
}

static void decide(pk_gradient *g, pk_cluster_words *w, const pk_breaker *b) {
  int found = (atomic_load_explicit(&w->limit, memory_order_relaxed) & WAS_TOO_HIGH) != 0;
  uint32_t next = pk_gradient_next(g, pk_adaptive_limit(w, b), b->least, b->requests, &found);
  atomic_store_explicit(&w->limit, next | (found ? WAS_TOO_HIGH : 0), memory_order_relaxed);
}

/* A client's own connection is read as its client reads, and who asks one-way hears nothing. */
static int says_something(const pk_request *r, const pk_attempt *a, uint32_t outcome) {
  if (!a->shared || r->to.oneway || a->waiting || outcome == PK_ATTEMPT_REFUSED) return 0;
  return outcome != PK_ATTEMPT_FAILED; /* how long an error took says nothing of an answer */
}

void pk_adaptive_heard(const pk_core *core, const pk_request *r, const pk_attempt *a, uint32_t outcome) {
  const pk_breaker *b = &pk_table_cluster_at(r->to.live->table, r->to.cluster)->breaker;
  pk_cluster *s = pk_cluster_of(&r->to);
  if (!says_something(r, a, outcome)) return;
  if (s->gradient == NULL && (s->gradient = calloc(1, sizeof *s->gradient)) == NULL) return; /* without memory it stays as it is */
  pk_gradient *g = s->gradient;
  uint32_t limit = pk_adaptive_limit(s->words, b), used = atomic_load_explicit(&s->words->under_way[PK_BREAKER_REQUESTS], memory_order_relaxed);
  pk_gradient_call(g, r->to.bucket, core->now - a->started, !a->answered && !a->parts, used, pk_gradient_is_calm(used, limit, b->least), core->now);
  if (!pk_gradient_is_due(g, core->now)) return;
  if (decides(s->words, core->now)) decide(g, s->words, b);
  pk_gradient_begin(g, core->now);
}
