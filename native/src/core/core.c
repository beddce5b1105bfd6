/* core.c: the life of a core: tables, batches, timers, operations for the driver. */
#include "core/core.h"

#include <stdlib.h>

#include "wire/envelope.h"
#include "base/hash.h"
#include "core/internal.h"

pk_core *pk_core_new(uint64_t seed) {
  pk_core *core = calloc(1, sizeof *core);
  if (core == NULL) return NULL;
  core->random = seed | 1;
  core->free_request = core->free_attempt = PK_NONE;
  core->wheel.next = UINT64_MAX;
  return core;
}

static void conn_free(pk_core *core, pk_conn *c) {
  pk_out_free(core, c);
  pk_chunk_free(core, c->in);
  pk_slots_free(c);
  free(c->called);
  pk_codec_release(c->codec);
  c->codec = NULL;
  c->in = NULL;
  c->called = NULL;
  c->state = PK_CONN_FREE;
}

void pk_core_free(pk_core *core) {
  if (core == NULL) return;
  for (uint32_t i = 0; i < core->conn_count; i++) {
    conn_free(core, core->conns[i]);
    free(core->conns[i]);
  }
  for (uint32_t i = 0; i < core->request_pages; i++) {
    for (uint32_t k = 0; k < PK_PAGE; k++) {
      if (core->requests[i][k].filtering) pk_codec_release(core->requests[i][k].codec);
      pk_held_free(core, core->requests[i][k].held);
      pk_chunk_free(core, core->requests[i][k].answer);
    }
    free(core->requests[i]);
  }
  for (uint32_t i = 0; i < core->attempt_pages; i++) free(core->attempts[i]);
  for (uint32_t i = 0; i < core->id_pages; i++) free(core->ids[i]);
  pk_core_abort(core);
  for (uint32_t i = 0; i < core->endpoint_capacity; i++) free(core->endpoints[i]);
  while (core->gone_endpoints != NULL) {
    pk_endpoint *next = core->gone_endpoints->gone_next;
    free(core->gone_endpoints);
    core->gone_endpoints = next;
  }
  for (uint32_t i = 0; i < PK_STAT_PAGES; i++) free(core->endpoint_stats[i]);
  while (core->live != NULL) {
    pk_live *older = core->live->older;
    free(core->live);
    core->live = older;
  }
  while (core->orphans != NULL) {
    pk_held *next = core->orphans->next;
    free(core->orphans);
    core->orphans = next;
  }
  while (core->free_chunks != NULL) {
    pk_chunk *next = core->free_chunks->next;
    free(core->free_chunks);
    core->free_chunks = next;
  }
  pk_list *lists[] = {&core->free_conns, &core->graveyard, &core->dirty, &core->ready,
                      &core->ready_next};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) free(lists[i]->items);
  free(core->conns);
  free(core->requests);
  free(core->ids);
  free(core->attempts);
  free(core->endpoints);
  free(core->ops);
  free(core);
}

/* xorshift64*: where to start in a list, which of two endpoints; nothing secret. */
uint64_t pk_random(pk_core *core) {
  core->random ^= core->random >> 12;
  core->random ^= core->random << 25;
  core->random ^= core->random >> 27;
  return core->random * 0x2545f4914f6cdd1du >> 16;
}

void pk_op_add(pk_core *core, pk_op op) {
  pk_op *ops = pk_grow(core->ops, &core->op_capacity, core->op_count + 1, sizeof *ops);
  if (ops == NULL) abort(); /* a lost operation would leave a socket that nobody owns */
  core->ops = ops;
  core->ops[core->op_count++] = op;
}

size_t pk_core_take_ops(pk_core *core, pk_op *out, size_t max) {
  size_t left = core->op_count - core->op_taken, n = left < max ? left : max;
  if (n > 0) memcpy(out, core->ops + core->op_taken, n * sizeof *out);
  core->op_taken += (uint32_t)n;
  if (core->op_taken == core->op_count) core->op_taken = core->op_count = 0;
  return n;
}

size_t pk_core_take_dirty(pk_core *core, pk_handle *out, size_t max) {
  size_t n = 0;
  while (n < max && core->dirty.count > 0) {
    pk_conn *c = core->conns[core->dirty.items[--core->dirty.count]];
    c->dirty = 0;
    if (c->state == PK_CONN_OPEN || c->state == PK_CONN_FLUSHING) out[n++] = pk_conn_handle(c);
  }
  return n;
}

/* Tables. */

static int same_text(const pk_table *a, pk_text x, const pk_table *b, pk_text y) {
  return x.size == y.size && (x.size == 0 || memcmp(pk_table_text_at(a, x), pk_table_text_at(b, y), x.size) == 0);
}

static uint64_t name_hash(const pk_table *t, uint32_t cluster) {
  pk_text name = pk_table_cluster_at(t, cluster)->name;
  return pk_hash(0, (const uint8_t *)pk_table_text_at(t, name), name.size);
}

static int same_name(const pk_table *a, uint32_t x, const pk_table *b, uint32_t y) {
  return same_text(a, pk_table_cluster_at(a, x)->name, b, pk_table_cluster_at(b, y)->name);
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

/* The endpoint's record, a new one where its number is new; NULL without memory. */
static pk_endpoint *endpoint_of(pk_core *core, const pk_table_endpoint *te) {
  uint32_t capacity = core->endpoint_capacity;
  pk_endpoint_stats *stats = stats_of(core, te->uid);
  if (stats == NULL) return NULL;
  pk_endpoint **all = pk_grow(core->endpoints, &core->endpoint_capacity, te->uid + 1, sizeof *all);
  if (all == NULL) return NULL;
  for (uint32_t i = capacity; i < core->endpoint_capacity; i++) all[i] = NULL;
  core->endpoints = all;
  if (all[te->uid] != NULL) return all[te->uid];
  pk_endpoint *e = all[te->uid] = calloc(1, sizeof *e);
  if (e == NULL) return NULL;
  e->uid = te->uid;
  e->stats = stats;
  e->addr_size = te->addr_size;
  memcpy(e->addr, te->addr, te->addr_size);
  return e;
}

/* Connections of an endpoint that is gone end with their last answer, those that wait for none at once. */
static void end_connections(pk_core *core, const pk_conns *all) {
  for (pk_conn *c = all->first; c != NULL; c = c->behind) {
    c->gone = 1;
    if (c->in_flight > 0) continue;
    c->unwanted = 1;
    pk_conn_close(core, c, 0);
  }
}

/* No table has it any more. Its number and counters are free for another, which begins with nothing of it;
 * pinned clients may still wait for answers from it. */
static void endpoint_gone(pk_core *core, pk_endpoint *e) {
  for (size_t i = 0; i < sizeof *e->stats / sizeof(_Atomic uint64_t); i++)
    atomic_store_explicit((_Atomic uint64_t *)(void *)e->stats + i, 0, memory_order_relaxed);
  core->endpoints[e->uid] = NULL;
  e->gone = 1;
  e->stats = &core->gone_stats;
  e->gone_next = core->gone_endpoints;
  core->gone_endpoints = e;
  end_connections(core, &e->shared);
  end_connections(core, &e->own);
}

static void free_gone(pk_core *core) {
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

static void retire(pk_core *core, pk_live *live) {
  pk_live **at = &core->live;
  while (*at != live) at = &(*at)->older;
  *at = live->older;
  let_go(core, live->table, live->table->endpoint_count);
  PK_STAT_SUB(core->stats.tables_live, 1);
  pk_op_add(core, (pk_op){.op = PK_OP_RETIRED, .token = live->token});
  free(live);
}

void pk_live_release(pk_core *core, pk_live *live) {
  if (--live->users == 0 && live != core->live) retire(core, live);
}

void pk_core_abort(pk_core *core) {
  pk_live *live = core->prepared;
  if (live == NULL) return;
  core->prepared = NULL;
  let_go(core, live->table, live->table->endpoint_count);
  pk_op_add(core, (pk_op){.op = PK_OP_RETIRED, .token = live->token});
  free(live);
}

int pk_core_prepare(pk_core *core, const pk_table *table, uint64_t token) {
  pk_core_abort(core);
  size_t clusters = table->cluster_count * sizeof(pk_cluster_state), plans = table->plan_count * sizeof(pk_filtering);
  pk_live *live = calloc(1, sizeof *live + clusters + plans);
  if (live == NULL) return -1;
  live->filtering = (pk_filtering *)(void *)(live->clusters + table->cluster_count);
  for (uint32_t i = 0; i < table->endpoint_count; i++) {
    pk_endpoint *e = endpoint_of(core, pk_table_endpoint_at(table, i));
    if (e == NULL) {
      let_go(core, table, i);
      free(live);
      return -1;
    }
    e->tables++; /* from now on: an older table that has it may retire before this one is used */
  }
  live->table = table;
  live->token = token;
  core->prepared = live;
  return 0;
}

/* Each cluster's balancer goes on where that of the same name stood; a new one begins anywhere, so that many
 * workers and proxies do not begin with the same endpoint. */
static void carry_balancers(pk_core *core, pk_live *live, const pk_live *older) {
  const pk_table *t = live->table;
  uint32_t *places = NULL, mask = 1, count = older == NULL ? 0 : older->table->cluster_count;
  while (mask < 2 * count) mask *= 2;
  if (count > 0) places = calloc(mask, sizeof *places); /* index + 1; without memory all begin anywhere */
  mask--;
  for (uint32_t i = 0; places != NULL && i < count; i++) {
    uint32_t at = (uint32_t)name_hash(older->table, i) & mask;
    while (places[at] != 0) at = (at + 1) & mask;
    places[at] = i + 1;
  }
  for (uint32_t i = 0; i < t->cluster_count; i++) {
    const pk_table_cluster *c = pk_table_cluster_at(t, i);
    if (c->schedule_count == 0) continue;
    uint32_t at = (uint32_t)name_hash(t, i) & mask, before = 0;
    while (places != NULL && (before = places[at]) != 0 && !same_name(t, i, older->table, before - 1))
      at = (at + 1) & mask;
    int goes_on = before != 0 && pk_table_cluster_at(older->table, before - 1)->schedule_count == c->schedule_count;
    live->clusters[i].cursor =
        goes_on ? older->clusters[before - 1].cursor : (uint32_t)(pk_random(core) % c->schedule_count);
  }
  free(places);
}

static int same_listener(const pk_table *a, const pk_table *b, uint32_t i) {
  if (i >= a->listener_count || i >= b->listener_count) return 0;
  const pk_table_listener *x = pk_table_listener_at(a, i), *y = pk_table_listener_at(b, i);
  return x->present && y->present && same_text(a, x->name, b, y->name);
}

/* Clients of listeners that `older` was the last to have are told to go elsewhere, and served as before until
 * they have left or the time to drain is over. */
static void keep_clients(pk_core *core, pk_live *older) {
  const pk_table *was = older->table, *is = core->live->table;
  uint32_t lost = 0;
  while (lost < was->listener_count && (!pk_table_listener_at(was, lost)->present || same_listener(was, is, lost)))
    lost++;
  if (lost == was->listener_count) return;
  for (uint32_t i = 0; i < core->conn_count; i++) {
    pk_conn *c = core->conns[i];
    if (c->side != PK_SIDE_DOWN || c->state != PK_CONN_OPEN || c->kept != NULL || same_listener(was, is, c->listener))
      continue;
    c->kept = older;
    older->users++;
    c->leave_by = core->now + (uint64_t)core->limits.drain_ms * PK_MS;
    if (!c->told_drain) pk_down_tell_drain(core, c);
    pk_conn_timer(core, c);
  }
}

void pk_core_commit(pk_core *core) {
  pk_live *live = core->prepared, *older = core->live;
  if (live == NULL) return;
  core->prepared = NULL;
  carry_balancers(core, live, older);
  live->older = older;
  core->live = live;
  core->limits = live->table->limits;
  memset(core->cached_routes, 0, sizeof core->cached_routes);
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

/* Clients come and everything ends. */

pk_handle pk_core_accept(pk_core *core, uint32_t listener) {
  const pk_table *t = core->live == NULL ? NULL : core->live->table;
  pk_conn *c = NULL;
  if (t != NULL && listener < t->listener_count && pk_table_listener_at(t, listener)->present &&
      core->client_count < core->limits.connections && !core->shutdown)
    c = pk_conn_new(core, PK_SIDE_DOWN, PK_CONN_OPEN);
  if (c == NULL) {
    PK_STAT_ADD(core->stats.connections_refused, 1);
    return 0;
  }
  const pk_table_listener *l = pk_table_listener_at(t, listener);
  c->listener = listener;
  c->falls_back = l->fallback != PK_NONE;
  core->client_count++;
  PK_STAT_ADD(core->stats.connections_accepted, 1);
  PK_STAT_ADD(core->stats.connections_active, 1);
  pk_conn_timer(core, c);
  if (l->codec_count == 1 && !c->falls_back) {
    pk_down_speak(core, c, pk_table_codec_at(t, l->codec));
  } else if (l->codec_count == 0 && c->falls_back) {
    pk_raw_begin(core, c); /* there is nothing to wait for */
  }
  return pk_conn_handle(c);
}

const pk_codec *pk_core_bridged(const pk_core *core, pk_handle h) {
  const pk_conn *c = pk_conn_find(core, h);
  return c != NULL && c->codec != NULL && pk_envelope_is(c->codec) ? c->codec : NULL;
}

void pk_core_drain(pk_core *core) {
  core->draining = 1;
  for (uint32_t i = 0; i < core->conn_count; i++) {
    pk_conn *c = core->conns[i];
    if (c->side == PK_SIDE_DOWN && c->state == PK_CONN_OPEN && !c->told_drain)
      pk_down_tell_drain(core, c);
  }
}

void pk_core_shutdown(pk_core *core) {
  static const char text[] = "protokit: the proxy is shutting down";
  core->shutdown = 1;
  for (uint32_t i = 0; i < core->request_pages * PK_PAGE; i++) {
    pk_request *r = &core->requests[i / PK_PAGE][i % PK_PAGE];
    if (r->live != NULL && !r->answered)
      pk_request_fail(core, r, PK_STATUS_UNAVAILABLE, text, sizeof text - 1);
  }
  for (uint32_t i = 0; i < core->conn_count; i++) {
    pk_conn *c = core->conns[i];
    c->unwanted = 1;
    if (c->state == PK_CONN_CONNECTING) pk_conn_close(core, c, 0);
    pk_conn_flush(core, c);
    if (c->state == PK_CONN_FLUSHING) pk_conn_settle(core, c);
  }
}

/* Batches. */

void pk_core_begin(pk_core *core, uint64_t now_ns) {
  core->now = now_ns;
  core->batch++;
  core->frames_left = PK_FRAMES_A_BATCH;
  if (core->wheel.count == 0) core->wheel.now = now_ns / PK_MS;
  if (core->gone_endpoints != NULL && core->graveyard.count == 0 && core->op_count == 0) free_gone(core);
  pk_list ready = core->ready;
  core->ready = core->ready_next;
  core->ready_next = ready;
  for (uint32_t i = 0; i < ready.count; i++) {
    pk_conn *c = core->conns[ready.items[i]];
    if (c->ready) pk_conn_more(core, c);
  }
  core->ready_next.count = 0;
}

/* Without room whoever holds most pays first: clients that do not take their answers, send large frames by halves, or
 * ask what has to wait: their requests' bytes, and answers behind one that is not there yet.
 * So many of them a batch: each look goes through all connections. */
static void make_room(pk_core *core) {
  uint64_t goal = core->limits.buffer - core->limits.buffer / 8, freed = 0;
  core->short_of_memory = 0;
  for (int i = 0; i < 16 && core->buffered - freed > goal; i++) {
    pk_conn *most = NULL;
    uint64_t held = PK_CHUNK;
    for (uint32_t k = 0; k < core->conn_count; k++) {
      pk_conn *c = core->conns[k];
      if (c->side != PK_SIDE_DOWN || (c->state != PK_CONN_OPEN && c->state != PK_CONN_FLUSHING)) continue;
      uint64_t holds = c->out_bytes + c->held + (c->in == NULL ? 0 : c->in->capacity);
      if (holds <= held) continue;
      held = holds;
      most = c;
    }
    if (most == NULL) return;
    freed += held - most->held; /* its buffers go with it at the end of the batch, what its requests hold goes at once */
    pk_request_drop_oneway(core, most);
    PK_STAT_ADD(core->stats.closed_over_budget, 1);
    pk_conn_close(core, most, 1);
  }
}

void pk_core_end(pk_core *core) {
  pk_timer *t;
  while ((t = pk_wheel_expire(&core->wheel, core->now / PK_MS)) != NULL) {
    if (t->kind == PK_TIMER_CONN) {
      pk_conn_timer_fired(core, (pk_conn *)(void *)t);
    } else {
      pk_request_timeout(core, (pk_request *)(void *)t);
    }
  }
  if (core->short_of_memory || core->buffered > core->limits.buffer) make_room(core);
  for (uint32_t i = 0; i < core->graveyard.count; i++) {
    pk_conn *c = core->conns[core->graveyard.items[i]];
    conn_free(core, c);
    pk_list_add(&core->free_conns, c->index);
  }
  core->graveyard.count = 0;
}

uint64_t pk_core_next(const pk_core *core) {
  if (core->ready.count > 0 || core->op_count > core->op_taken || core->dirty.count > 0)
    return core->now;
  return core->wheel.next == UINT64_MAX ? UINT64_MAX : core->wheel.next * PK_MS;
}

const pk_stats *pk_core_stats(const pk_core *core) { return &core->stats; }
