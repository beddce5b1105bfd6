/* live.c: the tables in use, what has state by the identities in them, and a change from one to the next. */
#include <stdlib.h>

#include "core/internal.h"
#include "policy/prefer.h"

static int same_text(const pk_table *a, pk_text x, const pk_table *b, pk_text y) {
  return x.size == y.size && (x.size == 0 || memcmp(pk_table_text_at(a, x), pk_table_text_at(b, y), x.size) == 0);
}

static int same_name(const pk_table *a, uint32_t x, const pk_table *b, uint32_t y) {
  const pk_table_cluster *one = pk_table_cluster_at(a, x), *other = pk_table_cluster_at(b, y);
  return same_text(a, one->name, b, other->name) && same_text(a, one->subset, b, other->subset);
}

static pk_endpoint_stats *stats_of(pk_core *core, uint32_t uid) {
  uint32_t page = uid / PK_PAGE;
  if (page >= PK_STAT_PAGES) return NULL;
  pk_endpoint_stats *stats = atomic_load_explicit(&core->endpoint_stats[page], memory_order_acquire);
  if (stats == NULL) {
    stats = calloc(PK_PAGE, sizeof *stats);
    atomic_store_explicit(&core->endpoint_stats[page], stats, memory_order_release);
  }
  return stats == NULL ? NULL : stats + uid % PK_PAGE;
}

const pk_endpoint_stats *pk_core_endpoint_stats(const pk_core *core, uint32_t uid) {
  uint32_t page = uid / PK_PAGE;
  if (page >= PK_STAT_PAGES) return NULL;
  const pk_endpoint_stats *stats =
      atomic_load_explicit(&core->endpoint_stats[page], memory_order_acquire);
  return stats == NULL ? NULL : stats + uid % PK_PAGE;
}

static pk_times *times_of(pk_core *core, uint32_t uid) {
  uint32_t page = uid / PK_PAGE;
  if (page >= PK_STAT_PAGES) return NULL;
  pk_times *times = atomic_load_explicit(&core->times[page], memory_order_acquire);
  if (times == NULL) {
    times = calloc(PK_PAGE, sizeof *times);
    atomic_store_explicit(&core->times[page], times, memory_order_release);
  }
  return times == NULL ? NULL : times + uid % PK_PAGE;
}

const pk_times *pk_core_times(const pk_core *core, uint32_t uid) {
  uint32_t page = uid / PK_PAGE;
  if (page >= PK_STAT_PAGES) return NULL;
  const pk_times *times = atomic_load_explicit(&core->times[page], memory_order_acquire);
  return times == NULL ? NULL : times + uid % PK_PAGE;
}

static void let_cluster_go(pk_core *core, pk_cluster *of) {
  if (--of->holders > 0) return;
  core->clusters[of->uid] = NULL;
  *of->times = (pk_times){.sum = 0};
  free(of->latency);
  free(of->gradient);
  free(of);
}

/* The cluster's record, which is held once more; a new one where its number is new; NULL without memory. */
static pk_cluster *cluster_of(pk_core *core, uint32_t uid) {
  uint32_t capacity = core->cluster_capacity;
  pk_cluster_words *words = pk_shared_cluster_words(core->shared, uid);
  pk_times *times = times_of(core, uid);
  pk_cluster **all = words == NULL || times == NULL ? NULL : pk_grow(core->clusters, &core->cluster_capacity, uid + 1, sizeof *all);
  if (all == NULL) return NULL;
  for (uint32_t i = capacity; i < core->cluster_capacity; i++) all[i] = NULL;
  core->clusters = all;
  if (all[uid] == NULL) {
    all[uid] = calloc(1, sizeof **all);
    if (all[uid] == NULL) return NULL;
    all[uid]->uid = uid;
    all[uid]->words = words;
    all[uid]->times = times;
  }
  all[uid]->holders++;
  return all[uid];
}

/* The endpoint's record, a new one where its number is new; NULL without memory. */
static pk_endpoint *endpoint_of(pk_core *core, const pk_table_endpoint *te, pk_cluster *of) {
  uint32_t capacity = core->endpoint_capacity;
  pk_endpoint_stats *stats = stats_of(core, te->uid);
  pk_endpoint_words *words = pk_shared_endpoint_words(core->shared, te->uid);
  if (stats == NULL || words == NULL) return NULL;
  pk_endpoint **all = pk_grow(core->endpoints, &core->endpoint_capacity, te->uid + 1, sizeof *all);
  if (all == NULL) return NULL;
  for (uint32_t i = capacity; i < core->endpoint_capacity; i++) all[i] = NULL;
  core->endpoints = all;
  if (all[te->uid] != NULL) return all[te->uid];
  pk_endpoint *e = all[te->uid] = calloc(1, sizeof *e);
  if (e == NULL) return NULL;
  e->uid = te->uid;
  e->stats = stats;
  e->times = of->times;
  e->words = words;
  e->of = of;
  of->holders++;
  e->addr_size = te->addr_size;
  memcpy(e->addr, te->addr, te->addr_size);
  e->health.failing = pk_verdicts_of(core->verdicts, te->uid);
  return e;
}

/* Connections of an endpoint that is gone end with their last answer, those that wait for none at once. */
static void end_connections(pk_core *core, const pk_conns *all) {
  for (pk_conn *c = all->first; c != NULL; c = c->behind) {
    c->leaving |= PK_LEAVE_GONE;
    if (pk_conn_is_idle(c)) pk_conn_discard(core, c);
  }
}

/* No table has it any more. Its number and counters are free for another, which begins with nothing of it;
 * pinned clients may still wait for answers from it. */
static void endpoint_gone(pk_core *core, pk_endpoint *e) {
  pk_breaker_give(&e->words->under_way[0], e->connections);
  pk_breaker_give(&e->words->under_way[1], e->placed);
  pk_breaker_give(&e->of->words->under_way[PK_BREAKER_CONNECTIONS], e->connections);
  let_cluster_go(core, e->of);
  for (size_t i = 0; i < sizeof *e->stats / sizeof(_Atomic uint64_t); i++)
    atomic_store_explicit((_Atomic uint64_t *)(void *)e->stats + i, 0, memory_order_relaxed);
  core->endpoints[e->uid] = NULL;
  e->gone = 1;
  pk_check_end(core, e);
  e->stats = &core->gone_stats;
  e->times = &core->gone_times;
  e->gone_next = core->gone_endpoints;
  core->gone_endpoints = e;
  end_connections(core, &e->shared);
  end_connections(core, &e->own);
}

void pk_endpoints_free_gone(pk_core *core) {
  pk_endpoint **at = &core->gone_endpoints;
  while (*at != NULL) {
    pk_endpoint *e = *at;
    if (e->shared.first != NULL || e->own.first != NULL || e->active > 0) {
      at = &e->gone_next;
    } else {
      *at = e->gone_next;
      free(e);
    }
  }
}

/* The table's first `count` endpoints are in one table less. */
static void let_go(pk_core *core, const pk_table *t, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    pk_endpoint *e = core->endpoints[pk_table_endpoint_at(t, i)->uid];
    if (--e->tables == 0) endpoint_gone(core, e);
  }
}

/* Whether requests of a plan may wait at a step. */
static int waits(const pk_plan *p) {
  return p->filter != PK_NONE || p->answers != PK_NONE || p->retry.attempts > 1 || (p->steps & 1u << PK_STEP_DELAY);
}

/* 0; -1 without memory: then some have none. */
static int take_waits(pk_core *core, pk_live *live) {
  for (uint32_t i = 0; i < live->table->plans.count; i++) {
    const pk_plan *p = pk_table_plan_at(live->table, i);
    if (waits(p) && (live->waits[i] = pk_waits_of(core, p->identity)) == NULL) return -1;
  }
  return 0;
}

/* A table with its first `clusters` and `endpoints`. */
static void live_free(pk_core *core, pk_live *live, uint32_t clusters, uint32_t endpoints) {
  let_go(core, live->table, endpoints);
  for (uint32_t i = 0; i < live->table->plans.count; i++)
    if (live->waits[i] != NULL) pk_waits_let_go(core, live->waits[i]);
  for (uint32_t i = 0; i < clusters; i++) let_cluster_go(core, live->of[i]);
  free(live);
}

static void free_all(pk_core *core, pk_live *live) {
  live_free(core, live, live->table->clusters.count, live->table->endpoints.count);
}

static void retire(pk_core *core, pk_live *live) {
  pk_live **at = &core->live;
  while (*at != live) at = &(*at)->older;
  *at = live->older;
  PK_STAT_SUB(core->stats.tables_live, 1);
  pk_op_add(core, (pk_op){.op = PK_OP_RETIRED, .token = live->token});
  free_all(core, live);
}

void pk_live_release(pk_core *core, pk_live *live) {
  if (--live->users == 0 && live != core->live) retire(core, live);
}

void pk_live_client_closed(pk_core *core, pk_conn *client) {
  pk_live *kept = client->kept;
  core->client_count--;
  PK_STAT_SUB(core->stats.connections_active, 1);
  PK_STAT_SUB(core->stats.connections_told, client->told);
  client->kept = NULL;
  if (kept != NULL) pk_live_release(core, kept);
}

void pk_core_abort(pk_core *core) {
  pk_live *live = core->prepared;
  if (live == NULL) return;
  core->prepared = NULL;
  pk_op_add(core, (pk_op){.op = PK_OP_RETIRED, .token = live->token});
  free_all(core, live);
}

int pk_core_prepare(pk_core *core, const pk_table *table, uint64_t token) {
  pk_core_abort(core);
  if (pk_ends_prepare(core, table) != 0 || pk_quota_prepare(core, table) != 0) return -1;
  size_t clusters = table->clusters.count * sizeof(pk_balance_state), plans = table->plans.count * sizeof(pk_waits *);
  pk_live *live = calloc(1, sizeof *live + clusters + plans + table->clusters.count * (sizeof(pk_cluster *) + sizeof(uint32_t) + 1));
  if (live == NULL) return -1;
  live->waits = (pk_waits **)(void *)(live->clusters + table->clusters.count);
  live->of = (pk_cluster **)(void *)(live->waits + table->plans.count);
  live->prefers = (uint32_t *)(void *)(live->of + table->clusters.count);
  live->panics = (uint8_t *)(live->prefers + table->clusters.count);
  live->table = table;
  live->token = token;
  if (take_waits(core, live) != 0) {
    live_free(core, live, 0, 0);
    return -1;
  }
  for (uint32_t i = 0, n = 0; i < table->clusters.count; i++) {
    const pk_table_cluster *c = pk_table_cluster_at(table, i);
    live->prefers[i] = PK_PREFER_ALL;
    live->of[i] = cluster_of(core, c->uid);
    if (live->of[i] == NULL) {
      live_free(core, live, i, n);
      return -1;
    }
    for (uint32_t end = c->endpoints + c->endpoint_count; n < end; n++) {
      pk_endpoint *e = endpoint_of(core, pk_table_endpoint_at(table, n), live->of[i]);
      if (e == NULL) {
        live_free(core, live, i + 1, n);
        return -1;
      }
      e->tables++; /* from now on: an older table that has it may retire before this one is used */
    }
  }
  core->prepared = live;
  return 0;
}

/* Each cluster's balancer goes on where that of the same name stood; a new one begins anywhere, so that many workers and proxies do not begin with the same endpoint. */
static void carry_clusters(pk_core *core, pk_live *live, const pk_live *older) {
  const pk_table *t = live->table;
  uint32_t *places = NULL, mask = 1, count = older == NULL ? 0 : older->table->clusters.count;
  while (mask < 2 * count) mask *= 2;
  if (count > 0) places = calloc(mask, sizeof *places); /* index + 1; without memory all begin anywhere */
  mask--;
  for (uint32_t i = 0; places != NULL && i < count; i++) {
    uint32_t at = (uint32_t)pk_cluster_key(older->table, i) & mask;
    while (places[at] != 0) at = (at + 1) & mask;
    places[at] = i + 1;
  }
  for (uint32_t i = 0; i < t->clusters.count; i++) {
    const pk_table_cluster *c = pk_table_cluster_at(t, i);
    uint32_t at = (uint32_t)pk_cluster_key(t, i) & mask, before = 0;
    while (places != NULL && (before = places[at]) != 0 && !same_name(t, i, older->table, before - 1))
      at = (at + 1) & mask;
    const pk_table_cluster *was = before == 0 ? NULL : pk_table_cluster_at(older->table, before - 1);
    if (was != NULL) { /* what is so still is not told again */
      live->panics[i] = older->panics[before - 1];
      live->prefers[i] = older->prefers[before - 1];
    }
    if (c->schedule_count == 0) continue;
    if (was != NULL && was->schedule_count == c->schedule_count && was->balance == c->balance) {
      live->clusters[i].cursor = older->clusters[before - 1].cursor;
    } else {
      pk_balancers[c->balance].begin(&live->clusters[i], c, pk_random(core));
    }
  }
  free(places);
}

/* What the newest table asks of an endpoint's answers. What is known of it stays. */
static void choose_measured(pk_core *core, const pk_table *t) {
  for (uint32_t i = 0; i < core->endpoint_capacity; i++)
    if (core->endpoints[i] != NULL) core->endpoints[i]->measured &= PK_MEASURED_PLACES; /* it may still have some */
  for (uint32_t i = 0; i < t->clusters.count; i++) {
    const pk_table_cluster *c = pk_table_cluster_at(t, i);
    uint32_t what = (c->balance == PK_BALANCE_PEAK_EWMA ? PK_MEASURED_LATENCY : 0u) |
                    (c->outlier.eject > 0 ? PK_MEASURED_ERRORS : 0u) |
                    (c->check.by == PK_CHECK_BY_HEARTBEAT && core->places > 1 ? PK_MEASURED_ANSWERS : 0u);
    for (uint32_t n = 0; what != 0 && n < c->endpoint_count; n++)
      core->endpoints[pk_table_endpoint_at(t, c->endpoints + n)->uid]->measured |= what;
  }
  for (uint32_t i = 0; i < core->endpoint_capacity; i++) {
    pk_endpoint *e = core->endpoints[i];
    if (e == NULL || !e->health.ejected || (e->measured & PK_MEASURED_ERRORS)) continue;
    e->outlier = (pk_outlier_state){0}; /* nobody is left out any more */
    pk_endpoint_is_back(core, e);
  }
}

static int same_listener(const pk_table *a, const pk_table *b, uint32_t i) {
  if (i >= a->listeners.count || i >= b->listeners.count) return 0;
  const pk_table_listener *x = pk_table_listener_at(a, i), *y = pk_table_listener_at(b, i);
  return x->present && y->present && same_text(a, x->name, b, y->name);
}

/* Clients of listeners that `older` was the last to have are told to go elsewhere, and served as before until
 * they have left or the time to drain is over. */
static void keep_clients(pk_core *core, pk_live *older) {
  const pk_table *was = older->table, *is = core->live->table;
  uint32_t lost = 0;
  while (lost < was->listeners.count && (!pk_table_listener_at(was, lost)->present || same_listener(was, is, lost)))
    lost++;
  if (lost == was->listeners.count) return;
  for (uint32_t i = 0; i < core->conn_count; i++) {
    pk_conn *c = core->conns[i];
    if (c->state != PK_CONN_OPEN || !pk_conn_is_client(c) || c->kept != NULL || same_listener(was, is, c->listener))
      continue;
    c->kept = older;
    older->users++;
    c->leave_by = core->now + (uint64_t)core->limits.drain_ms * PK_MS;
    if (!c->told_drain) pk_conn_tell_drain(core, c);
    pk_conn_timer(core, c);
  }
}

void pk_core_commit(pk_core *core) {
  pk_live *live = core->prepared, *older = core->live;
  if (live == NULL) return;
  core->prepared = NULL;
  carry_clusters(core, live, older);
  choose_measured(core, live->table);
  pk_checks_follow(core, live->table);
  live->older = older;
  core->live = live;
  for (uint32_t i = 0; i < live->table->clusters.count; i++) live->of[i]->changed = 1;
  core->limits = live->table->limits;
  pk_usable_review(core);
  memset(&core->cached_routes, 0, sizeof core->cached_routes);
  if (++core->epoch == 0) core->epoch = 1;
  PK_STAT_ADD(core->stats.tables_live, 1);
  if (older == NULL) return;
  keep_clients(core, older);
  if (older->users == 0) retire(core, older);
}

int pk_core_apply(pk_core *core, const pk_table *table, uint64_t token) {
  if (pk_core_prepare(core, table, token) != 0) return -1;
  pk_core_commit(core);
  return 0;
}
