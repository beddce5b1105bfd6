/* retry.c: whether there is another try of a request, and when it begins.
 *
 * A try of which nothing was written costs no server anything: it is followed by another at once, three in all, without
 * any policy. All else is the rule's to allow, waits (backoff.h), and is taken from its cluster's budget (budget.h). */
#include "core/internal.h"

#include "policy/backoff.h"
#include "policy/timeout.h"

enum { FREE_TRIES = 3, LEAST_A_SECOND = 3 };
#define PK_SECOND 1000000000u /* ns */

void pk_retry_asked(pk_core *core, const pk_request *r) {
  if (r->plan->features & PK_F_HEDGE) pk_hedge_asked(core, r);
  if (r->plan->features & PK_F_RETRY) pk_budget_asked(&pk_cluster_of(&r->to)->retries, core->now / PK_SECOND);
}

/* What the rule says of one more behind those that it has had. */
static int may_follow(const pk_request *r, uint32_t why, int written) {
  const pk_retry *p = &r->plan->retry;
  if (r->to.oneway || (written && !p->idempotent)) return 0;
  return (p->on & why) && r->to.tries < p->attempts;
}

/* Nothing is held of what went to a client's own connection. */
static int is_allowed(const pk_request *r, uint32_t why, int written) {
  if (r->held == NULL || (r->parts & PK_PART_COPY)) return 0;
  if (!written && r->to.tries < FREE_TRIES && !r->to.oneway) return 1;
  return may_follow(r, why, written);
}

/* The cluster's share, where it says one, holds whatever its rules' are. */
static uint32_t share_of(const pk_request *r) {
  uint32_t own = r->plan->retry.budget, all = pk_table_cluster_at(r->to.live->table, r->to.cluster)->breaker.retry_share;
  return all > 0 && all < own ? all : own;
}

int pk_retry_granted(pk_core *core, pk_request *r, uint32_t why, int written, uint32_t *wait) {
  const pk_retry *p = &r->plan->retry;
  *wait = 0;
  if (!is_allowed(r, why, written)) return PK_RETRY_NONE;
  if (!written && r->to.tries < FREE_TRIES) return PK_RETRY_GRANTED;
  *wait = pk_backoff_wait(p->backoff.base, p->backoff.max, r->to.tries - 1u, pk_random(core));
  if (core->now / PK_MS + 1 + *wait >= pk_request_deadline(r)) return PK_RETRY_NONE;
  if ((r->plan->features & PK_F_BREAKER) && !pk_breaker_retry(core, r)) return PK_RETRY_OVER_BREAKER;
  if (pk_budget_spend(&pk_cluster_of(&r->to)->retries, share_of(r), LEAST_A_SECOND, core->now / PK_SECOND))
    return PK_RETRY_GRANTED;
  if (r->placed) pk_breaker_back(r);
  PK_STAT_ADD(core->stats.retries_over_budget, 1);
  return PK_RETRY_OVER_BUDGET;
}

uint32_t pk_retry_left(const pk_core *core, const pk_request *r, const pk_frame *f) {
  uint32_t per_try = r->plan->retry.per_try, left = pk_timeout_left(r->timeout_ms, (core->now - r->started) / PK_MS);
  int another = !r->to.own && f->size <= core->limits.retry_buffer && may_follow(r, PK_RETRY_ON_TIMEOUT, 1);
  return another && per_try > 0 && per_try < left ? per_try : left;
}

void pk_retry_timer(pk_core *core, pk_request *r) {
  const pk_plan *p = r->plan;
  uint64_t next = pk_request_deadline(r), now = core->now / PK_MS;
  uint64_t over = p->retry.per_try > 0 ? pk_attempt_after(core, r, p->retry.per_try) : next;
  uint64_t hedge = pk_hedge_may(r) ? pk_hedge_at(core, r) : next;
  if (over > now && over < next) next = over;
  if (hedge > now && hedge < next) next = hedge;
  pk_timer_start(&core->wheel, &r->timer, next);
}
