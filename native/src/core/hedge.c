/* hedge.c: a second attempt of a request beside its first, on another endpoint, where that takes long. The first answer ends
 * both; where answers come in order the other's would stay in front of others, so `check` does not let such protocols. */
#include <stdlib.h>

#include "core/internal.h"

#define PK_SECOND 1000000000u /* ns */

void pk_hedge_asked(pk_core *core, const pk_request *r) {
  pk_cluster *s = pk_cluster_of(&r->to);
  pk_budget_asked(&s->hedges, core->now / PK_SECOND);
  if (r->plan->hedge.percentile > 0 && s->latency == NULL) s->latency = calloc(1, sizeof *s->latency); /* or none */
}

int pk_hedge_may(const pk_request *r) {
  return (r->plan->features & PK_F_HEDGE) && r->to.hedge == 0 && r->to.tries == 1 && !r->to.own;
}

uint64_t pk_hedge_at(const pk_core *core, const pk_request *r) {
  const pk_hedge *p = &r->plan->hedge;
  if (p->percentile == 0) return pk_attempt_after(core, r, p->after_ms);
  pk_quantile *latency = pk_cluster_of(&r->to)->latency;
  uint64_t ns = latency == NULL ? 0 : pk_quantile_of(latency, p->percentile, core->now);
  return ns == 0 ? UINT64_MAX : pk_attempt_after(core, r, (uint32_t)((ns + PK_MS - 1) / PK_MS));
}

int pk_hedge_granted(pk_core *core, pk_request *r) {
  if (pk_budget_spend(&pk_cluster_of(&r->to)->hedges, r->plan->hedge.most, 0, core->now / PK_SECOND)) return 1;
  r->to.hedge = PK_NONE;
  PK_STAT_ADD(core->stats.hedges_over_budget, 1);
  return 0;
}

void pk_hedge_begun(pk_core *core, const pk_request *r, int begun) {
  if (begun) {
    PK_STAT_ADD(core->stats.hedges, 1);
  } else {
    pk_budget_give_back(&pk_cluster_of(&r->to)->hedges);
  }
}

/* The time is from its oldest attempt that is still there: who was slow is what the next ones are not to wait for, whoever
 * answered. */
void pk_hedge_over(pk_core *core, const pk_request *r) {
  const pk_attempt *answered = NULL, *oldest = NULL;
  for (uint32_t i = r->attempt; i != PK_NONE; i = oldest->sibling) {
    oldest = pk_attempt_at(core, i);
    if (oldest->answered || oldest->parts) answered = oldest;
  }
  if (answered == NULL) return;
  if (r->to.hedge == answered->index + 1) PK_STAT_ADD(core->stats.hedges_won, 1);
  pk_quantile *latency = pk_cluster_of(&r->to)->latency;
  if (latency != NULL && r->plan->hedge.percentile > 0) pk_quantile_took(latency, core->now - oldest->started, core->now);
}
