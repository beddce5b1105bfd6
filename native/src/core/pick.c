/* pick.c: which endpoint, and which connection to it, a target gets. */
#include "core/internal.h"
#include "base/hash.h"
#include "policy/prefer.h"
#include "table/consistent.h"

/* How long a connection may take to open before the requests that wait for it go elsewhere; doubled each time. */
enum { RELIEVE_MS = 2, LOOKS = 8 /* endpoints that a request looks at beside its way */ };

/* Servers that take nothing never have all of the budget: what was left of a queue when it was last written may be a
 * sixteenth of what is free. */
static inline int takes_more(const pk_core *core, const pk_conn *c) {
  uint64_t budget = core->limits.buffer, left = core->buffered < budget ? budget - core->buffered : 0;
  return c->out_bytes < left / 16;
}

int pk_has_room(const pk_core *core, const pk_conn *c) {
  return !(c->leaving & PK_LEAVE_NO_MORE) && !c->eof && c->in_flight < c->slot_most - c->given_up &&
         c->in_flight < core->limits.upstream_in_flight && c->out_bytes < core->limits.upstream_buffer &&
         (c->dirty || c->out_bytes < PK_CHUNK || takes_more(core, c));
}

/* One that nothing is asked on, of another protocol or key, gives way: its requests may be long over, as those of a
 * protocol that a reload has made anew. */
static PK_RARE int one_gives_way(pk_core *core, const pk_endpoint *e, const pk_target *to) {
  pk_conn *c = e->shared.first;
  while (c != NULL && (!pk_conn_is_idle(c) || pk_conn_is_opening(c) || (c->codec == to->codec && c->key == to->key)))
    c = c->behind;
  if (c != NULL) pk_conn_discard(core, c);
  return c != NULL;
}

/* One that a copy alone is asked on gives way to a request: nobody waits for that. Where answers come one at a time copies would
 * have all connections else. */
static PK_RARE int a_copy_gives_way(pk_core *core, const pk_endpoint *e, const pk_target *to) {
  for (pk_conn *c = to->client == 0 ? NULL : e->shared.first; c != NULL; c = c->behind) {
    uint32_t one = c->state == PK_CONN_OPEN && c->in_flight == 1 ? pk_slots_one(c) : PK_NONE;
    const pk_request *r = one == PK_NONE ? NULL : pk_request_find(core, pk_attempt_at(core, one)->request);
    if (r == NULL || !(r->parts & PK_PART_COPY)) continue;
    pk_conn_drop(core, c, PK_LOST_TURN, 0); /* nothing against its server */
    return 1;
  }
  return 0;
}

/* NULL: *why says which breaker is against it, or that there is no memory. */
static pk_conn *connect_to(pk_core *core, pk_endpoint *e, const pk_target *to, uint32_t *why) {
  *why = PK_STATUS_OVERLOADED;
  if (!pk_breaker_connect(core, e, to, why) && !(one_gives_way(core, e, to) && pk_breaker_connect(core, e, to, why)))
    return NULL;
  pk_conn *c = pk_conn_new(core, to->codec == NULL ? core->pair_server : core->server, PK_CONN_CONNECTING);
  if (c == NULL) {
    pk_breaker_disconnect(e);
    return NULL;
  }
  c->codec = to->codec;
  c->pinned = (uint8_t)to->own;
  if (c->codec != NULL && (pk_slots_init(c) != 0 || pk_conn_remember(core, c) != 0)) { /* raw ones have none */
    pk_slots_free(c);
    c->codec = NULL;
    c->state = PK_CONN_FREE;
    pk_list_add(&core->free_conns, c->index);
    pk_breaker_disconnect(e);
    return NULL;
  }
  pk_codec_hold(c->codec);
  c->begun = core->batch;
  c->relieve = to->own ? UINT64_MAX : core->now + RELIEVE_MS * PK_MS;
  c->named = to->named;
  c->key = to->key;
  c->endpoint = e;
  c->connect_ms = pk_table_cluster_at(to->live->table, to->cluster)->connect_timeout_ms;
  pk_endpoint_joined(core, c);
  PK_STAT_ADD(core->stats.upstream_connects, 1);
  pk_op_add(core, (pk_op){.op = PK_OP_CONNECT,
                          .handle = pk_conn_handle(c),
                          .data = (uint64_t)(uintptr_t)e->addr,
                          .size = e->addr_size});
  pk_conn_timer(core, c);
  return c;
}

/* An open connection of the endpoint with room; *opening: one being opened, where there is none. */
static inline pk_conn *open_of(const pk_core *core, const pk_endpoint *e, const pk_target *to, pk_conn **opening) {
  for (pk_conn *c = e->shared.first; c != NULL; c = c->behind) {
    if (c->codec != to->codec || c->key != to->key || !pk_has_room(core, c)) continue;
    if (pk_conn_is_opening(c)) {
      if (*opening == NULL) *opening = c;
    } else if (c->state == PK_CONN_OPEN) {
      return c;
    }
  }
  return NULL;
}

/* What is left when seven eighths are used: whose share is used up, or 0. */
static PK_RARE uint32_t share_of(const pk_core *core, const pk_endpoint *e, const pk_target *to, uint64_t places) {
  uint64_t free = e->shared_active < places ? places - e->shared_active : 0;
  uint64_t others = (places + 15) / 16, held = e->waiting[pk_places_of(to)];
  if (held > 0 && held >= free) {
    if (free <= others) return PK_PICK_METHOD;
    free -= others; /* of these its clients have shares */
  }
  const pk_conn *client = pk_conn_find(core, to->client);
  if (to->client == 0) return PK_PICK_SHARE; /* a copy, of nobody's */
  if (client == NULL || client->in_flight <= free) return 0;
  held = 0;
  for (const pk_request *one = client->requests; one != NULL && held < free; one = one->behind)
    for (uint32_t i = one->attempt; i != PK_NONE; i = pk_attempt_at(core, i)->sibling)
      held += pk_attempt_at(core, i)->endpoint == e;
  return held > 0 && held >= free ? PK_PICK_SHARE : 0;
}

/* The last eighth of an endpoint's places is for clients that wait for fewer answers there than are free, and half of
 * that for such methods: what is never answered leaves some to everyone else, whoever asks. 0, or whose share is used
 * up: PK_PICK_SHARE, PK_PICK_METHOD. */
static inline uint32_t over_share(const pk_core *core, const pk_endpoint *e, const pk_target *to,
                                  const pk_table_cluster *cluster) {
  uint64_t most = pk_slots_most(to->codec);
  if (core->limits.upstream_in_flight < most) most = core->limits.upstream_in_flight;
  uint64_t places = most * cluster->max_connections, breaker = cluster->breaker.endpoint_requests;
  if (breaker != 0 && pk_breaker_full(core, e, to, (uint32_t)breaker)) return PK_PICK_ENDPOINT_REQUESTS;
  return 8 * (uint64_t)e->shared_active < 7 * places ? 0 : share_of(core, e, to, places);
}

/* One that is retired takes no place of the others. */
static int may_connect(pk_core *core, const pk_endpoint *e, const pk_target *to) {
  uint32_t retired = 0, most = pk_table_cluster_at(to->live->table, to->cluster)->max_connections;
  if (to->own || e->conn_count < most) return 1;
  for (const pk_conn *c = e->shared.first; c != NULL; c = c->behind) retired += (c->leaving & PK_LEAVE_RETIRED) != 0;
  return e->conn_count < most + (retired < most ? retired : most) || one_gives_way(core, e, to) ||
         a_copy_gives_way(core, e, to);
}

/* A connection for no request, to an endpoint that cannot be reached, or a heartbeat to one that is silent. */
static void try_again(pk_core *core, pk_endpoint *e, const pk_target *to) {
  pk_conn *opening = NULL, *open = to->own ? NULL : open_of(core, e, to, &opening);
  if (open != NULL) {
    if (!open->probing) pk_conn_probe(core, open);
    pk_conn_timer(core, open);
    return;
  }
  uint32_t why;
  pk_conn *trial = e->opening == 0 && may_connect(core, e, to) ? connect_to(core, e, to, &why) : NULL;
  if (trial != NULL) trial->trial = 1;
}

/* One to try, unless that is under way: the one that is due for longest, so that each has its turn however many are ill. */
static void due_first(pk_endpoint *e, const pk_conn *open, pk_endpoint **ill) {
  if (open != NULL ? open->probing : e->opening > 0) return;
  if (*ill == NULL || e->health.retry_at < (*ill)->health.retry_at) *ill = e;
}

/* As may_serve, of one that is not well. */
static PK_RARE int ill_may_serve(pk_core *core, const pk_target *to, pk_endpoint *e, pk_endpoint **ill) {
  const pk_health *h = &e->health;
  int panics = to->live->panics[to->cluster];
  if (to->elsewhere && (!panics || h->suspect || h->unreached)) return 0;
  if (h->ejected && !pk_endpoint_is_back(core, e) && !panics) return 0;
  if (h->failing && !panics) return 0; /* its checks find out when that is over */
  if (!h->suspect && !h->unreached) return h->draining_until <= core->now;
  pk_conn *opening = NULL, *open = to->own ? NULL : open_of(core, e, to, &opening);
  if (!h->suspect && open != NULL) return 1;
  if (core->now < h->retry_at) return 0;
  if (h->suspect && (open != NULL ? !h->beats : to->own && !h->unreached)) return !to->oneway && pk_health_may_try(h, e->active, core->now);
  due_first(e, open, ill);
  return 0;
}

/* Whether a try of it failed there: 2: the last one did. */
static inline uint32_t tried(const pk_target *to, const pk_endpoint *e) {
  return e == to->avoid ? 2 : (uint32_t)(to->tried >> e->uid % 64 & 1);
}

/* Whether an endpoint may have this request: it is well, or a connection is open still although no more can be, or the
 * request is the trial that a suspect gets. *ill: else, where it is to be tried without one. */
static inline int may_serve(pk_core *core, const pk_target *to, pk_endpoint *e, pk_endpoint **ill) {
  if (tried(to, e) != 0) return 0;
  return pk_health_well(&e->health, core->now) || ill_may_serve(core, to, e, ill);
}

static pk_endpoint *endpoint_at(pk_core *core, const pk_table *t, uint32_t i) {
  return core->endpoints[pk_table_endpoint_at(t, i)->uid];
}

typedef struct query_context {
  pk_core *core;
  const pk_target *target;
  uint32_t cluster; /* its target's, or a part of that */
  pk_endpoint *ill; /* one that was passed over, and is to be tried */
} query_context;

static int query_may(void *context, uint32_t at) {
  query_context *x = context;
  return may_serve(x->core, x->target, endpoint_at(x->core, x->target->live->table, at), &x->ill);
}

static uint32_t query_active(void *context, uint32_t at) {
  const query_context *x = context;
  return endpoint_at(x->core, x->target->live->table, at)->active;
}

static double query_cost(void *context, uint32_t at) {
  const query_context *x = context;
  const pk_endpoint *e = endpoint_at(x->core, x->target->live->table, at);
  return pk_latency_cost(&e->latency, e->active, x->core->now);
}

static int query_spared(void *context, uint32_t at) {
  const query_context *x = context;
  pk_live *live = x->target->live;
  pk_endpoint *e = endpoint_at(x->core, live->table, at);
  uint32_t share = pk_slow_start_share(&e->slow, &pk_table_cluster_at(live->table, x->cluster)->slow_start, x->core->now);
  if (x->core->now >= live->of[x->cluster]->slow_until) live->clusters[x->cluster].slow = 0;
  return !pk_slow_start_takes(&e->slow, share);
}

static const pk_balance_view view = {
    .may = query_may, .active = query_active, .spared = query_spared, .cost = query_cost};

uint64_t pk_key_of_client(const pk_core *core, const pk_table *t, uint32_t cluster, pk_handle client) {
  const pk_table_cluster *c = pk_table_cluster_at(t, cluster);
  const pk_conn *from = pk_conn_find(core, client);
  pk_question q = {.source = from == NULL ? NULL : from->source};
  return pk_key_is_of_client(t, c->hash) ? pk_key_of(&q, t, c) : 0;
}

/* What a balancer that draws goes by. */
static uint64_t drawn(pk_core *core, const pk_target *to, const pk_balancer *b) {
  return b->keyed && to->hash != 0 ? to->hash : pk_random(core);
}

/* Whose turn it is, or NULL; *ill: whom to try. */
static inline __attribute__((always_inline)) pk_endpoint *balance(pk_core *core, const pk_target *to, uint32_t cluster,
                                                                  pk_endpoint **ill) {
  const pk_table_cluster *c = pk_table_cluster_at(to->live->table, cluster);
  const pk_balancer *b = &pk_balancers[c->balance];
  query_context context = {.core = core, .target = to, .cluster = cluster};
  pk_balance_query q = {.table = to->live->table,
                        .cluster = c,
                        .batch = core->batch,
                        .random = b->draws ? drawn(core, to, b) : 0,
                        .view = &view,
                        .context = &context};
  uint32_t at = b->pick(&to->live->clusters[cluster], &q);
  *ill = context.ill;
  return at == PK_NONE ? NULL : endpoint_at(core, q.table, at);
}

/* Whom to ask, best first. Where all are ill they are asked all the same. */
enum { WELL = 0, DRAINING, EJECTED, FAILING, UNREACHED, SUSPECT, GRADES };

static int grade(const pk_core *core, const pk_target *to, const pk_endpoint *e) {
  int judged = !to->live->panics[to->cluster];
  if (e->health.suspect) return SUSPECT;
  if (e->health.unreached) return UNREACHED;
  if (judged && e->health.failing) return FAILING;
  if (judged && e->health.ejected && core->now < e->outlier.until) return EJECTED;
  return e->health.draining_until > core->now ? DRAINING : WELL;
}

/* How far a walk over `count` endpoints goes each time, so that it meets all: drawn, so that who stands in the table behind
 * many that are ill has not their shares, too. */
static PK_RARE uint32_t step_of(uint64_t drawn, uint32_t count) {
  for (uint32_t step = (uint32_t)(drawn >> 32) % count;; step++) {
    uint32_t a = step, b = count;
    while (a != 0) { /* what divides both */
      uint32_t rest = b % a;
      b = a;
      a = rest;
    }
    if (b == 1) return step;
  }
}

/* A connection of any endpoint of that grade, from any point on; of a key always the same. `open`: only one that is open, of
 * another than the last try's. */
static pk_conn *scan(pk_core *core, const pk_target *to, const pk_table_cluster *c, int wanted, int open,
                     uint32_t *status) {
  const pk_table *t = to->live->table;
  uint64_t drawn = to->hash != 0 ? to->hash : pk_random(core);
  uint32_t count = c->endpoint_count, start = (uint32_t)drawn % count, step = step_of(drawn, count);
  uint32_t rounds = to->avoid != NULL && !open ? (to->elsewhere ? 2 : 3) : 1;
  for (uint32_t i = 0; i < rounds * count; i++) { /* where it failed only in a second round, where it did last in a third */
    uint32_t at = c->endpoints + (uint32_t)((start + (uint64_t)i * step) % count);
    pk_endpoint *e = endpoint_at(core, t, at);
    if (grade(core, to, e) != wanted || pk_table_endpoint_at(t, at)->weight == 0) continue;
    if (tried(to, e) != i / count) continue;
    uint32_t over = to->own ? 0 : over_share(core, e, to, c);
    if (over != 0) {
      if (!open) *status = over;
      continue;
    }
    pk_conn *opening = NULL, *conn = to->own ? NULL : open_of(core, e, to, &opening);
    if (conn == NULL && !open) conn = opening;
    if (conn == NULL && !open && (!e->health.unreached || core->now >= e->health.retry_at)) {
      *status = PK_STATUS_OVERLOADED;
      if (may_connect(core, e, to)) conn = connect_to(core, e, to, status);
    }
    if (conn != NULL) return conn;
  }
  return NULL;
}

/* Whether a request does not wait for a connection that is being opened; one with a key waits as long as any. */
static int goes_elsewhere(const pk_core *core, const pk_target *to, const pk_conn *c) {
  if (to->tries > 1) return 1;
  return to->hash != 0 ? core->now >= c->opened + RELIEVE_MS * PK_MS : c->begun != core->batch;
}

/* As pick, where more is to be done than to take an open connection of whose turn it is. */
static __attribute__((noinline)) pk_conn *pick_with_care(pk_core *core, const pk_target *to, uint32_t cluster, pk_endpoint *e,
                                                         pk_endpoint *ill, uint32_t *status) {
  const pk_table_cluster *c = pk_table_cluster_at(to->live->table, cluster);
  *status = PK_STATUS_UNAVAILABLE;
  pk_conn *opening = NULL, *conn = NULL;
  if (e != NULL && !to->own && over_share(core, e, to, c)) e = NULL;
  if (e != NULL) {
    if (ill != NULL) try_again(core, ill, to);
    if (e->health.suspect) pk_health_tried(&e->health, core->now);
    conn = to->own ? NULL : open_of(core, e, to, &opening);
    if (conn != NULL) return conn;
    conn = opening;
    uint32_t why;
    if (conn == NULL && may_connect(core, e, to)) conn = connect_to(core, e, to, &why);
  }
  /* Others are open: they are used until this one is, too, and by whom one failed already. */
  if (conn != NULL && !to->own && goes_elsewhere(core, to, conn)) {
    opening = scan(core, to, c, WELL, 1, status);
    if (opening != NULL) conn = opening;
  }
  int most = to->elsewhere || cluster != to->cluster ? DRAINING : GRADES; /* a part has others beside it that are well */
  for (int wanted = WELL; conn == NULL && wanted < most && *status != PK_STATUS_OVERLOADED; wanted++)
    conn = scan(core, to, c, wanted, 0, status);
  if (e == NULL && ill != NULL && conn != NULL && pk_health_well(&conn->endpoint->health, core->now)) try_again(core, ill, to);
  return conn;
}

/* Of its cluster, or a part of that. */
static inline __attribute__((always_inline)) pk_conn *pick(pk_core *core, const pk_target *to, uint32_t cluster, uint32_t *status) {
  const pk_table_cluster *c = pk_table_cluster_at(to->live->table, cluster);
  *status = PK_STATUS_UNAVAILABLE;
  if (c->schedule_count == 0) return NULL;
  pk_endpoint *ill = NULL;
  pk_endpoint *e = balance(core, to, cluster, &ill);
  if (e != NULL && ill == NULL && !to->own && !e->health.suspect && !over_share(core, e, to, c)) {
    pk_conn *opening = NULL, *open = open_of(core, e, to, &opening);
    if (open != NULL) return open;
  }
  return pick_with_care(core, to, cluster, e, ill, status);
}

/* Whether another try finds one there where none failed. */
static int has_another(const pk_core *core, const pk_target *to, const pk_table_cluster *c) {
  for (uint32_t i = 0; i < c->endpoint_count; i++) {
    const pk_endpoint *e = core->endpoints[pk_table_endpoint_at(to->live->table, c->endpoints + i)->uid];
    if (tried(to, e) == 0 && grade(core, to, e) == WELL) return 1;
  }
  return 0;
}

/* Of those that are preferred, or of the others where these are needed, none is usable and none gets anything: whether one is
 * again is found out by who goes elsewhere.
 * A connection, where this request is a suspect's trial. */
static pk_conn *find_out(pk_core *core, const pk_target *to, const pk_table_cluster *c) {
  uint32_t start = c->endpoint_count == 0 ? 0 : (uint32_t)(pk_random(core) % c->endpoint_count), why;
  for (uint32_t i = 0; i < c->endpoint_count && i < LOOKS; i++) {
    pk_endpoint *e = endpoint_at(core, to->live->table, c->endpoints + (start + i) % c->endpoint_count), *ill = NULL;
    if (!may_serve(core, to, e, &ill)) {
      if (ill != NULL) try_again(core, ill, to);
      continue;
    }
    if (!e->health.suspect) continue;
    pk_health_tried(&e->health, core->now);
    pk_conn *opening = NULL, *conn = to->own ? NULL : open_of(core, e, to, &opening);
    if (conn == NULL && to->own) conn = connect_to(core, e, to, &why);
    if (conn != NULL) return conn;
  }
  return NULL;
}

/* Apart, so that clusters without such pay nothing. */
static __attribute__((noinline)) pk_conn *pick_of(pk_core *core, const pk_target *to, uint32_t cluster, uint32_t *status) {
  return pick(core, to, cluster, status);
}

/* Where some of a cluster's endpoints are preferred: who gets nothing of his part goes to any. */
static __attribute__((noinline)) pk_conn *pick_preferred(pk_core *core, const pk_target *to, const pk_table_cluster *c,
                                                         uint32_t *status) {
  uint32_t share = to->live->prefers[to->cluster];
  if (share != PK_PREFER_ALIKE) {
    uint64_t drawn = to->hash != 0 ? pk_fold(to->hash, 0x9e3779b97f4a7c15u) : pk_random(core);
    uint32_t part = pk_prefer_is_near(drawn, share) ? c->prefer.near : c->prefer.far;
    const pk_table_cluster *of = pk_table_cluster_at(to->live->table, part);
    uint32_t idle = share == 0 ? c->prefer.near : share == PK_PREFER_ALONE ? c->prefer.far : PK_NONE;
    pk_conn *found = idle == PK_NONE ? NULL : find_out(core, to, pk_table_cluster_at(to->live->table, idle));
    if (found == NULL && (to->avoid == NULL || has_another(core, to, of))) found = pick_of(core, to, part, status);
    if (found != NULL) return found;
  }
  return pick_of(core, to, to->cluster, status);
}

pk_conn *pk_pick(pk_core *core, const pk_target *to, uint32_t *status) {
  const pk_table_cluster *c = pk_table_cluster_at(to->live->table, to->cluster);
  return c->prefer.near == PK_NONE ? pick(core, to, to->cluster, status) : pick_preferred(core, to, c, status);
}

pk_conn *pk_pick_open(pk_core *core, const pk_target *to) {
  const pk_table_cluster *c = pk_table_cluster_at(to->live->table, to->cluster);
  uint32_t status;
  pk_conn *near = NULL;
  if (c->prefer.near != PK_NONE && pk_table_cluster_at(to->live->table, c->prefer.near)->schedule_count > 0)
    near = scan(core, to, pk_table_cluster_at(to->live->table, c->prefer.near), WELL, 1, &status);
  return near != NULL ? near : scan(core, to, c, WELL, 1, &status);
}

static int another_of(pk_core *core, const pk_target *to, const pk_table_cluster *c) {
  if (c->endpoint_count == 0) return 0;
  uint32_t start = (uint32_t)(pk_random(core) % c->endpoint_count);
  for (uint32_t i = 0; i < c->endpoint_count; i++) {
    uint32_t at = c->endpoints + (start + i) % c->endpoint_count;
    pk_endpoint *e = endpoint_at(core, to->live->table, at);
    if (e->shared.first != NULL || grade(core, to, e) != WELL || pk_table_endpoint_at(to->live->table, at)->weight == 0) continue;
    uint32_t why;
    connect_to(core, e, to, &why);
    return 1;
  }
  return 0;
}

/* Begin to open a connection to one more endpoint, for all that may need it. */
void pk_pick_another(pk_core *core, const pk_target *to) {
  const pk_table_cluster *c = pk_table_cluster_at(to->live->table, to->cluster);
  uint32_t near = c->prefer.near;
  if (near == PK_NONE || !another_of(core, to, pk_table_cluster_at(to->live->table, near))) another_of(core, to, c);
}
