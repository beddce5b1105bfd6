/* verdict.c: see verdict.h. */
#include "table/verdict.h"

#include <stddef.h>

#include "table/condition.h"
#include "table/index.h"

static uint32_t verdict_at(const pk_table *t, uint32_t plan) {
  return plan == PK_NONE ? PK_VERDICT_ALLOW : pk_table_plan_at(t, plan)->verdict;
}

pk_judgement pk_verdict_of(const pk_table *t, uint32_t routes, pk_question *q) {
  uint32_t plan = pk_table_route(t, routes, q);
  if (q->error != 0) return (pk_judgement){q->unread, q->unread, q->error};
  return (pk_judgement){verdict_at(t, plan) == PK_VERDICT_ALLOW ? PK_NONE : plan, plan, 0};
}

/* The first rule of a chain that reads nothing, holds, and comes before `best`. */
static uint32_t first_of(const pk_table *t, uint32_t rule, uint32_t best, pk_question *q) {
  const pk_rule *rules = PK_AT(t, pk_rule, t->rules.at);
  const pk_condition *all = PK_AT(t, pk_condition, t->conditions.at);
  for (; rule < best; rule = rules[rule].next) {
    const pk_rule *r = &rules[rule];
    if (r->depth == PK_DEPTH_FRAME && (r->condition_count == 0 || pk_condition_holds(t, all + r->condition, q))) return rule;
  }
  return best;
}

/* Rules that read nothing stand all in one slot, since they name no service. */
pk_judgement pk_verdict_of_client(const pk_table *t, uint32_t routes, const pk_question *asked) {
  pk_question of_client, *q = &of_client;
  memcpy(q, asked, offsetof(pk_question, found)); /* rules that read nothing ask for no headers */
  if (q->headers == PK_HEADERS_FOUND) q->headers = PK_HEADERS_UNREAD;
  q->to = (pk_destination){.context = 0};
  q->led = 1;
  const pk_routes *of = PK_AT(t, pk_routes, t->routes.at) + routes;
  const pk_slot_key *slot = PK_AT(t, pk_slot_key, of->slots) + of->any;
  const pk_rule *rules = PK_AT(t, pk_rule, t->rules.at);
  uint32_t best = first_of(t, slot->asking, first_of(t, slot->rule, PK_NONE, q), q);
  uint32_t plan = best == PK_NONE ? PK_NONE : rules[best].plan;
  int unread = of->reading < best ? PK_ERR_UNSUPPORTED : 0;
  if (unread && verdict_at(t, rules[of->reading].plan) == PK_VERDICT_DENY) plan = rules[of->reading].plan;
  if (verdict_at(t, plan) == PK_VERDICT_ALLOW) return (pk_judgement){PK_NONE, plan, 0};
  return (pk_judgement){plan, plan, unread};
}
