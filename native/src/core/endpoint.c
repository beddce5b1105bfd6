/* endpoint.c: what is known of an endpoint beyond its connections: what happened goes to its health (health.h), and
 * what changed is told. */
#include "core/internal.h"
#include "policy/timeout.h"

/* So often a suspect that used to answer heartbeats is asked by these alone. */
enum { HEARTBEAT_TRIALS = 8, AVOID_MS = 5000 };

void pk_endpoint_changed(pk_core *core, const pk_endpoint *e) {
  if (e->gone) return;
  e->of->changed = 1;
  core->changed = 1;
}

/* The number of an endpoint that is gone may be another's. */
void pk_endpoint_tell(pk_core *core, const pk_endpoint *e, uint32_t how, int error) {
  pk_endpoint_changed(core, e);
  uint64_t out = e->health.ejected && core->now < e->outlier.until ? e->outlier.until - core->now : 0;
  if (!e->gone)
    pk_op_add(core, (pk_op){.op = PK_OP_ENDPOINT, .arg = e->uid, .size = how, .data = (uint64_t)error,
                            .token = (out + PK_MS - 1) / PK_MS});
}

int pk_endpoint_silent(pk_core *core, const pk_conn *c) {
  pk_endpoint *e = c->endpoint;
  pk_health *h = &e->health;
  /* Heartbeats that it never answered say nothing. Calls under way do, where it never said a word. */
  int known = h->beats || (h->heard == 0 && c->in_flight > 0);
  int close = h->beats || (c->in_flight == 0 && !c->pinned);
  if (close) PK_STAT_ADD(core->stats.upstream_silent, 1);
  if (h->failures > HEARTBEAT_TRIALS) h->beats = 0; /* whoever is there now may not know any */
  if (known && h->heard < c->probe_at && pk_health_failed(h, PK_ILL_SILENT, core->now))
    pk_endpoint_tell(core, e, PK_ILL_SILENT, 0);
  return close;
}

void pk_endpoint_unanswered(pk_core *core, const pk_attempt *a) {
  pk_health *h = &a->endpoint->health;
  const pk_conn *c = pk_conn_find(core, a->conn);
  uint64_t heard = h->heard;
  if (c != NULL && c->first_byte != 0 && c->last_read > heard) heard = c->last_read; /* half a frame, too */
  if (pk_health_unanswered(h, a->started, heard, 2 * (uint64_t)core->limits.probe_ms * PK_MS, core->now))
    pk_endpoint_tell(core, a->endpoint, PK_ILL_SILENT, 0);
}

static void connect_failed(pk_core *core, const pk_conn *c) {
  pk_endpoint *e = c->endpoint;
  uint8_t why = c->lost == PK_LOST_LATE                           ? PK_ILL_TIMED_OUT
                : c->lost == PK_LOST_REFUSED || c->greeting > 0 ? PK_ILL_GREETING
                                                                : PK_ILL_REFUSED;
  if (pk_health_failed(&e->health, why, core->now)) pk_endpoint_tell(core, e, why, c->error);
  PK_STAT_ADD(core->stats.upstream_connect_failures, 1);
  PK_STAT_ADD(e->stats->connect_failures, 1);
}

void pk_endpoint_drains(pk_core *core, pk_endpoint *e, int drains) {
  e->health.draining_until = drains ? core->now + (uint64_t)AVOID_MS * PK_MS : 0;
}

void pk_endpoint_opened(pk_core *core, pk_endpoint *e) {
  e->opening--;
  if (pk_health_opened(&e->health)) pk_endpoint_tell(core, e, PK_WELL, 0);
}

void pk_endpoint_closing(pk_core *core, const pk_conn *c) {
  pk_endpoint *e = c->endpoint;
  if ((c->eof || c->broken) && c->in_flight > 0 && e->health.heard < c->opened &&
      pk_health_failed(&e->health, PK_ILL_CLOSING, core->now))
    pk_endpoint_tell(core, e, PK_ILL_CLOSING, 0);
}

/* Those of its endpoint that it stands among. */
static pk_conns *conns_of(const pk_conn *c) { return c->pinned ? &c->endpoint->own : &c->endpoint->shared; }

/* At the end: the connections in front are filled first. */
void pk_endpoint_joined(pk_core *core, pk_conn *c) {
  pk_endpoint *e = c->endpoint;
  pk_conns *all = conns_of(c);
  c->before = all->last;
  *(c->before != NULL ? &c->before->behind : &all->first) = c;
  all->last = c;
  e->conn_count += !c->pinned; /* what is one client's own takes no place of the others */
  e->opening++;
  PK_STAT_ADD(core->stats.upstream_connections_active, 1);
  PK_STAT_ADD(e->stats->connections, 1);
}

static void leave(pk_conn *c) {
  pk_conns *all = conns_of(c);
  *(c->before != NULL ? &c->before->behind : &all->first) = c->behind;
  *(c->behind != NULL ? &c->behind->before : &all->last) = c->before;
}

void pk_endpoint_left(pk_core *core, pk_conn *c, int opening) {
  pk_endpoint *e = c->endpoint;
  leave(c);
  e->conn_count -= !c->pinned;
  e->opening -= opening != 0;
  pk_breaker_disconnect(e);
  PK_STAT_SUB(core->stats.upstream_connections_active, 1);
  PK_STAT_SUB(e->stats->connections, 1);
  if (!opening) {
    PK_STAT_ADD(core->stats.upstream_closed, 1);
  } else if (c->lost != PK_LOST_UNWANTED && c->lost != PK_LOST_EXHAUSTED) {
    connect_failed(core, c);
  }
}

/* The time that its rule gives it: what a caller cut short says nothing of the server. */
static int had_its_time(const pk_core *core, const pk_request *r, const pk_attempt *a) {
  const pk_plan *p = r->plan;
  uint32_t ms = pk_timeout_of(&p->timeout, 0, r->to.live->table->limits.request_ms);
  if (p->retry.per_try > 0 && p->retry.per_try < ms) ms = p->retry.per_try;
  return core->now - a->started + PK_MS >= (uint64_t)ms * PK_MS;
}

/* Whether one more of the cluster's endpoints may be left out, of all that it has: subsets of it follow it. */
static int may_eject(const pk_core *core, const pk_table *t, const pk_table_cluster *c) {
  uint64_t all = 0, out = 1;
  const pk_table_cluster *whole = pk_table_cluster_at(t, 0); /* it stands before its subsets */
  while (whole->uid != c->uid) whole++;
  for (uint32_t i = 0; i < whole->endpoint_count; i++) {
    const pk_table_endpoint *te = pk_table_endpoint_at(t, whole->endpoints + i);
    const pk_endpoint *e = te->weight == 0 ? NULL : core->endpoints[te->uid];
    if (e == NULL) continue;
    all++;
    out += e->health.ejected && core->now < e->outlier.until;
  }
  return out * 1000000u <= all * c->outlier.most;
}

static PK_RARE void eject(pk_core *core, const pk_table *t, const pk_table_cluster *c, pk_endpoint *e, uint32_t why) {
  if (!may_eject(core, t, c)) {
    pk_outlier_forget(&e->outlier);
    return;
  }
  uint32_t ms = pk_outlier_eject(&e->outlier, &c->outlier, core->now);
  e->health.ejected = 1;
  pk_endpoint_changed(core, e);
  PK_STAT_ADD(core->stats.ejections, 1);
  pk_op_add(core, (pk_op){.op = PK_OP_ENDPOINT, .arg = e->uid, .size = PK_ILL_EJECTED, .data = why, .token = ms});
}

/* How long it took, and whether it takes much longer than others of its cluster do. Of many as many are looked at as
 * will do. */
static __attribute__((noinline)) void compare(pk_core *core, const pk_table *t, const pk_table_cluster *c, pk_endpoint *e,
                                              const pk_attempt *a) {
  pk_outlier_took(&e->outlier, core->now - a->started);
  if (!pk_outlier_compares(&e->outlier, core->now)) return;
  uint32_t others = 0, than = 0, start = (uint32_t)(pk_random(core) % c->endpoint_count);
  for (uint32_t i = 0; i < c->endpoint_count && others < PK_SLOW_OTHERS; i++) {
    const pk_endpoint *other = core->endpoints[pk_table_endpoint_at(t, c->endpoints + (start + i) % c->endpoint_count)->uid];
    if (other == e || !pk_outlier_is_measured(&other->outlier)) continue;
    others++;
    than += (uint32_t)pk_outlier_is_slower(&e->outlier, &c->outlier, other->outlier.median);
  }
  if (pk_outlier_is_slow(others, than)) eject(core, t, c, e, PK_OUTLIER_SLOW);
}

void pk_endpoint_judge(pk_core *core, const pk_request *r, const pk_attempt *a, uint32_t outcome) {
  pk_endpoint *e = a->endpoint;
  const pk_table *t = r->to.live->table;
  const pk_table_cluster *c = pk_table_cluster_at(t, r->to.cluster);
  if (c->outlier.eject == 0 || a->waiting || e->gone) return;
  if (e->health.ejected && core->now < e->outlier.until) return; /* asked before that */
  if (outcome == PK_ATTEMPT_REFUSED || (outcome == PK_ATTEMPT_GIVEN_UP && a->answered)) {
    pk_outlier_answered(&e->outlier, core->now);
    int timed = outcome == PK_ATTEMPT_GIVEN_UP && a->shared && !a->parts;
    if (c->outlier.slower > 0 && timed) compare(core, t, c, e, a);
  } else if (outcome == PK_ATTEMPT_FAILED || (outcome == PK_ATTEMPT_TIMED_OUT && had_its_time(core, r, a))) {
    uint32_t why = pk_outlier_failed(&e->outlier, &c->outlier, core->now);
    if (why != PK_OUTLIER_NOT) eject(core, t, c, e, why);
  }
}

int pk_endpoint_is_back(pk_core *core, pk_endpoint *e) {
  if (core->now < e->outlier.until) return 0;
  e->health.ejected = 0;
  if (!e->health.suspect && !e->health.unreached) pk_endpoint_tell(core, e, PK_WELL, 0);
  return 1;
}
