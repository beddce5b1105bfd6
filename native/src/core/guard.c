/* guard.c: what a listener allows and denies is asked before its routes: of each request, of connections that are passed
 * on, and of pinned clients before a connection is opened for them. */
#include "core/internal.h"
#include "table/verdict.h"

/* By what is remembered of such a request, else anew. */
static pk_judgement ask(pk_core *core, const pk_live *live, uint32_t routes, pk_question *q) {
  const pk_table *t = live->table;
  if (!q->led || q->blank) return pk_verdict_of_client(t, routes, q);
  const pk_known_route *known = live == core->live ? pk_table_recall(t, &core->cached_routes, routes, q) : NULL;
  if (known != NULL) return (pk_judgement){known->plan, known->plan, 0};
  pk_judgement v = pk_verdict_of(t, routes, q);
  if (v.error == 0 && live == core->live) pk_table_remember(&core->cached_routes, routes, q, v.plan, 0);
  q->asked = 0; /* who asks next is asked for itself */
  q->asked_headers = 0;
  return v;
}

static void count(const pk_table *t, uint32_t plan, uint32_t what) {
  pk_rule_state *s = pk_state_at(t, pk_table_plan_at(t, plan));
  if (s != NULL) pk_rule_decided(s, what);
}

static PK_RARE void would_refuse(pk_core *core, const pk_table *t, uint32_t plan) {
  PK_STAT_ADD(core->stats.would_deny, 1);
  count(t, plan, PK_DECIDED_WOULD_DENY);
}

/* "protokit: denied by rule in.deny[0]: service 'a' method 'b' from 10.0.0.7". What is denied by its client alone is read for the text. */
static void refuse(pk_core *core, pk_request *r, const pk_judgement *v, pk_question *q) {
  const pk_table *t = r->to.live->table;
  const pk_plan *plan = pk_table_plan_at(t, v->plan);
  pk_message m;
  char from[PK_ADDRESS_TEXT];
  uint32_t size = pk_address_write(q->source, from);
  int other = plan->verdict == PK_VERDICT_OTHERWISE, unread = v->error != 0 && !other;
  pk_message_begin(&m, other ? "protokit: denied: no rule of " : unread ? "protokit: denied: rule " : "protokit: denied by rule ");
  pk_message_text(&m, t, plan->name);
  if (other) pk_message_add(&m, " is for this request");
  if (unread) pk_message_add(&m, v->error == PK_ERR_LIMIT ? " asks for what is malformed, or holds more than the proxy reads"
                                 : v->error == PK_ERR_UNSUPPORTED ? " asks for what the proxy cannot read of this request"
                                                                  : " asks for headers that are malformed");
  pk_destination *d = &q->to;
  int known = q->led ? !q->blank : q->codec->destination(q->codec, q->data, q->frame, d) == PK_OK;
  if (known) {
    pk_message_add(&m, ": ");
    pk_request_add_call(&m, d);
  }
  if (size > 0) pk_message_add(&m, " from ");
  pk_message_bytes(&m, (const uint8_t *)from, size);
  count(t, v->plan, PK_DECIDED_DENY);
  pk_request_fail(core, r, PK_STATUS_DENIED, m.data, m.size);
}

int pk_guard_admits(pk_core *core, pk_conn *c, pk_request *r, const pk_table_listener *l, pk_question *q) {
  pk_judgement v = {PK_NONE, PK_NONE, 0};
  if (l->access != PK_NONE) v = ask(core, r->to.live, l->access, q);
  if (v.plan != PK_NONE) {
    refuse(core, r, &v, q);
    return 0;
  }
  if (l->dry_run != PK_NONE) v = ask(core, r->to.live, l->dry_run, q);
  if (v.plan != PK_NONE) {
    would_refuse(core, r->to.live->table, v.plan); /* each of them is counted */
  } else if (l->guard == PK_GUARD_CONNECTION && r->to.live == core->live) {
    c->admitted = core->epoch;
  }
  return 1;
}

static pk_judgement of_client(const pk_core *core, const pk_conn *c, const pk_table_listener *l, uint32_t routes) {
  pk_question q = {.codec = c->codec, .listener = l, .source = c->source};
  if (routes == PK_NONE) return (pk_judgement){PK_NONE, PK_NONE, 0};
  return pk_verdict_of_client(pk_conn_live(core, c)->table, routes, &q);
}

int pk_guard_passes(pk_core *core, const pk_conn *c, const pk_table_listener *l) {
  const pk_table *t = pk_conn_live(core, c)->table;
  pk_judgement v = of_client(core, c, l, l->access);
  if (v.plan != PK_NONE) {
    PK_STAT_ADD(core->stats.connections_denied, 1);
    count(t, v.plan, PK_DECIDED_DENY);
    return 0;
  }
  v = of_client(core, c, l, l->dry_run);
  if (v.plan != PK_NONE) would_refuse(core, t, v.plan);
  return 1;
}

int pk_guard_opens(const pk_core *core, const pk_conn *c, const pk_table_listener *l) {
  pk_judgement v = of_client(core, c, l, l->access);
  return v.plan == PK_NONE || v.error != 0;
}
