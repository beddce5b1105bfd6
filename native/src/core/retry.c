/* retry.c: whether there is another try of a request, and when it begins.
 *
 * A try of which nothing was written costs no server anything: it is followed by another at once, three in all, without
 * any policy. All else is the rule's to allow, waits (backoff.h), and is taken from its cluster's budget (budget.h). */
#include "core/internal.h"

#include "policy/backoff.h"

enum { FREE_TRIES = 3, LEAST_A_SECOND = 3 };
#define PK_SECOND 1000000000u /* ns */

static pk_spent *spent_of(const pk_request *r) { return r->to.live->spent[r->to.cluster]; }

void pk_retry_asked(pk_core *core, const pk_request *r) {
  pk_budget_asked(&spent_of(r)->retries, core->now / PK_SECOND);
}

/* What the rule says of it. Nothing is held of what went to a client's own connection. */
static int is_allowed(const pk_request *r, uint32_t why, int written) {
  const pk_retry *p = &r->plan->retry;
  if (r->held == NULL || r->to.oneway) return 0;
  if (!written && r->to.tries < FREE_TRIES) return 1;
  if (written && !p->idempotent) return 0;
  return (p->on & why) && r->to.tries < p->attempts;
}

int pk_retry_granted(pk_core *core, const pk_request *r, uint32_t why, int written, uint32_t *wait) {
  const pk_retry *p = &r->plan->retry;
  *wait = 0;
  if (!is_allowed(r, why, written)) return PK_RETRY_NONE;
  if (!written && r->to.tries < FREE_TRIES) return PK_RETRY_GRANTED;
  *wait = pk_backoff_wait(p->backoff.base, p->backoff.max, r->to.tries - 1u, pk_random(core));
  if (core->now / PK_MS + 1 + *wait >= pk_request_deadline(r)) return PK_RETRY_NONE;
  if (pk_budget_spend(&spent_of(r)->retries, p->budget, LEAST_A_SECOND, core->now / PK_SECOND)) return PK_RETRY_GRANTED;
  PK_STAT_ADD(core->stats.retries_over_budget, 1);
  return PK_RETRY_OVER_BUDGET;
}

uint64_t pk_retry_after(const pk_core *core, const pk_request *r, uint32_t ms) {
  return pk_attempt_at(core, r->attempt)->started / PK_MS + 1 + ms;
}

void pk_retry_timer(pk_core *core, pk_request *r) {
  const pk_plan *p = r->plan;
  uint64_t next = pk_request_deadline(r), now = core->now / PK_MS;
  uint64_t over = p->retry.per_try > 0 ? pk_retry_after(core, r, p->retry.per_try) : next;
  uint64_t hedge = p->hedge_ms > 0 && r->to.tries == 1 && !r->to.own ? pk_retry_after(core, r, p->hedge_ms) : next;
  if (over > now && over < next) next = over;
  if (hedge > now && hedge < next) next = hedge;
  pk_timer_start(&core->wheel, &r->timer, next);
}
