/* upstream.c: choosing an endpoint and a connection, and what upstreams send. */
#include <stdlib.h>

#include "hash.h"
#include "internal.h"

/* A balancer that does not look at the request stays with an endpoint for so many requests of
 * one batch: writes are shared, and over batches every endpoint gets its turns. */
enum { HOLD = 32, SCHEDULE_TRIES = 8 };
enum { BACKOFF_MS = 50, BACKOFF_MAX_MS = 2000, AVOID_MS = 5000 };

int pk_up_has_room(const pk_core *core, const pk_conn *c) {
  uint32_t most = c->slot_most - c->given_up;
  return !c->draining && !c->retired && !c->eof && c->in_flight < most &&
         c->in_flight < core->limits.upstream_in_flight && c->out_bytes < core->limits.upstream_buffer;
}

static pk_conn *connect_to(pk_core *core, pk_endpoint *e, const pk_request *r, int own) {
  pk_conn *c = pk_conn_new(core, PK_SIDE_UP, PK_CONN_CONNECTING);
  if (c == NULL) return NULL;
  c->codec = r->codec;
  c->pinned = (uint8_t)own;
  if (c->codec != NULL && pk_slots_init(c) != 0) { /* raw ones have none */
    c->state = PK_CONN_FREE;
    pk_list_add(&core->free_conns, c->index);
    return NULL;
  }
  c->opening = 1;
  c->named = r->named;
  c->key = r->upstream_key;
  c->endpoint = e;
  c->connect_ms = pk_table_cluster_at(r->live->table, r->cluster)->connect_ms;
  /* At the end: the connections in front are filled first. */
  pk_conn **at = &e->conns;
  while (*at != NULL) at = &(*at)->endpoint_next;
  *at = c;
  e->conn_count++;
  PK_STAT_ADD(core->stats.upstream_connects, 1);
  PK_STAT_ADD(core->stats.upstream_connections_active, 1);
  PK_STAT_ADD(e->stats->connections, 1);
  pk_op_add(core, (pk_op){.op = PK_OP_CONNECT,
                          .handle = pk_conn_handle(c),
                          .data = (uint64_t)(uintptr_t)e->addr,
                          .size = e->addr_size});
  pk_conn_timer(core, c);
  return c;
}

/* A connection of the endpoint with room: an open one, else one being opened, else a new one. One that is retired
 * takes no place of the others. */
static pk_conn *connection_of(pk_core *core, pk_endpoint *e, const pk_request *r, int own) {
  pk_conn *opening = NULL;
  uint32_t retired = 0;
  for (pk_conn *c = e->conns; c != NULL && !own; c = c->endpoint_next) {
    retired += c->retired;
    if (c->codec != r->codec || c->key != r->upstream_key || c->pinned || !pk_up_has_room(core, c)) continue;
    if (c->opening) {
      if (opening == NULL) opening = c;
    } else if (c->state == PK_CONN_OPEN) {
      return c;
    }
  }
  if (opening != NULL) return opening;
  uint32_t most = pk_table_cluster_at(r->live->table, r->cluster)->max_connections;
  if (!own && e->conn_count >= most + (retired < most ? retired : most)) return NULL;
  return connect_to(core, e, r, own);
}

enum { HEALTHY = 0, AVOIDED = 1, DOWN = 2 };

static int health(const pk_core *core, const pk_endpoint *e) {
  if (e->down_until > core->now) return DOWN;
  return e->avoid_until > core->now ? AVOIDED : HEALTHY;
}

static pk_endpoint *endpoint_at(pk_core *core, const pk_table *t, uint32_t i) {
  return core->endpoints[pk_table_endpoint_at(t, i)->uid];
}

static int may_serve(const pk_core *core, const pk_request *r, const pk_endpoint *e) {
  return health(core, e) == HEALTHY && e != r->avoid;
}

/* Whose turn it is by weight, passing over those that may not serve; *at: which endpoint of the table. */
static pk_endpoint *next_in_schedule(pk_core *core, const pk_request *r, const pk_table_cluster *c,
                                     pk_cluster_state *s, uint32_t *at) {
  const pk_table *t = r->live->table;
  const uint32_t *schedule = PK_AT(t, uint32_t, t->schedules) + c->schedule;
  for (uint32_t i = 0; i < SCHEDULE_TRIES; i++) {
    *at = schedule[s->cursor];
    s->cursor = s->cursor + 1 < c->schedule_count ? s->cursor + 1 : 0;
    pk_endpoint *e = endpoint_at(core, t, *at);
    if (may_serve(core, r, e)) return e;
  }
  return NULL;
}

static pk_endpoint *round_robin(pk_core *core, const pk_request *r, const pk_table_cluster *c,
                                pk_cluster_state *s) {
  if (s->batch == core->batch && s->held_left > 0) {
    pk_endpoint *held = endpoint_at(core, r->live->table, s->held);
    if (may_serve(core, r, held)) {
      s->held_left--;
      return held;
    }
  }
  pk_endpoint *e = next_in_schedule(core, r, c, s, &s->held);
  s->batch = core->batch;
  s->held_left = e == NULL ? 0 : HOLD - 1;
  return e;
}

/* Of two endpoints the one with less under way for its weight: the one whose turn it is, and any other by chance.
 * Where neither has more the turn counts, so that idle ones are used by weight. */
static pk_endpoint *less_loaded(pk_core *core, const pk_request *r, const pk_table_cluster *c,
                                pk_cluster_state *s) {
  const pk_table *t = r->live->table;
  uint32_t at;
  pk_endpoint *turn = next_in_schedule(core, r, c, s, &at);
  if (turn == NULL || c->endpoint_count == 1) return turn;
  uint32_t steps = 1 + (uint32_t)(pk_random(core) % (c->endpoint_count - 1));
  uint32_t other_at = c->endpoints + (at - c->endpoints + steps) % c->endpoint_count;
  pk_endpoint *other = endpoint_at(core, t, other_at);
  int less = (uint64_t)other->active * pk_table_endpoint_at(t, at)->weight <
             (uint64_t)turn->active * pk_table_endpoint_at(t, other_at)->weight;
  return less && may_serve(core, r, other) ? other : turn;
}

/* Any endpoint in the given state of health, from a point that moves on with every call. */
static pk_conn *scan(pk_core *core, const pk_request *r, const pk_table_cluster *c,
                     pk_cluster_state *s, int wanted, int own, uint32_t *status) {
  const pk_table *t = r->live->table;
  uint32_t start = s->cursor++ % c->endpoint_count;
  if (s->cursor >= c->schedule_count) s->cursor = 0;
  for (uint32_t i = 0; i < c->endpoint_count; i++) {
    uint32_t at = c->endpoints + (start + i) % c->endpoint_count;
    pk_endpoint *e = endpoint_at(core, t, at);
    if (health(core, e) != wanted || pk_table_endpoint_at(t, at)->weight == 0) continue;
    pk_conn *conn = connection_of(core, e, r, own);
    if (conn != NULL) return conn;
    *status = PK_STATUS_OVERLOADED;
  }
  return NULL;
}

pk_conn *pk_up_pick(pk_core *core, const pk_request *r, int own, uint32_t *status) {
  const pk_table_cluster *c = pk_table_cluster_at(r->live->table, r->cluster);
  pk_cluster_state *s = &r->live->clusters[r->cluster];
  *status = PK_STATUS_UNAVAILABLE;
  if (c->schedule_count == 0) return NULL;
  pk_endpoint *e = c->balance == PK_BALANCE_LEAST_REQUEST ? less_loaded(core, r, c, s)
                                                          : round_robin(core, r, c, s);
  pk_conn *conn = e == NULL ? NULL : connection_of(core, e, r, own);
  if (conn == NULL) conn = scan(core, r, c, s, HEALTHY, own, status);
  if (conn == NULL && *status != PK_STATUS_OVERLOADED)
    conn = scan(core, r, c, s, AVOIDED, own, status);
  return conn;
}

pk_conn *pk_up_choose(pk_core *core, pk_request *r, uint32_t *status) {
  return r->pinned ? pk_pinned_choose(core, r, status) : pk_up_pick(core, r, 0, status);
}

pk_conn *pk_up_raw(pk_core *core, const pk_conn *client, const pk_endpoint *failed) {
  pk_live *live = pk_conn_live(core, client);
  const pk_table *t = live->table;
  if (client->listener >= t->listener_count) return NULL;
  const pk_table_listener *l = pk_table_listener_at(t, client->listener);
  if (!l->present || l->fallback == PK_NONE) return NULL;
  pk_request r = {.live = live, .cluster = l->fallback, .avoid = (pk_endpoint *)(uintptr_t)failed};
  uint32_t status;
  return pk_up_pick(core, &r, 1, &status);
}

int pk_up_send(pk_core *core, pk_conn *c, const pk_request *r, pk_attempt *a, const uint8_t *data,
               const pk_frame *f) {
  int oneway = f->kind == PK_KIND_ONEWAY, size = (int)f->size;
  int renamed = c->named && !c->pinned && r->id_size != PK_ABSENT;
  uint32_t room = renamed ? pk_id_room(c->codec, f->size) : f->size;
  uint8_t *to = pk_out_reserve(core, c, room);
  if (to == NULL) return PK_ERR_SPACE;
  if (!oneway) {
    int taken = pk_slots_take(c, a, r->client_id);
    if (taken != 0) return taken;
  } else {
    a->wire_id = c->pinned ? r->client_id : pk_slots_id(c);
  }
  if (renamed) {
    uint8_t id[PK_ID_MAX];
    size = c->codec->splice_id(c->codec, data, f, id, pk_id_write(c->codec, a->wire_id, id), to, room);
    if (size <= 0) {
      if (!oneway) pk_slots_put_back(c, a);
      return PK_ERR_UNSUPPORTED;
    }
  } else {
    memcpy(to, data, f->size);
    if (c->codec->id_bytes > 0 && !c->pinned && !c->named) c->codec->patch_id(c->codec, to, f, a->wire_id);
  }
  a->out_at = c->out_total;
  pk_out_commit(core, c, (uint32_t)size);
  return 0;
}

/* The request that an answer is for, off its slot; NULL where nobody waits for it. `size` bytes of it are there. */
static pk_request *answered(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f) {
  uint32_t attempt = pk_slots_answered(core, c, data, size, f);
  if (attempt == PK_NONE) {
    PK_STAT_ADD(core->stats.answers_unmatched, 1);
    return NULL;
  }
  return pk_request_find(core, pk_attempt_at(core, attempt)->request);
}

static void response(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  pk_request *r = answered(core, c, data, f->size, f);
  if (r == NULL) return;
  c->endpoint->failures = 0;
  if (f->status > PK_STATUS_APP_ERROR) {
    PK_STAT_ADD(c->endpoint->stats->errors, 1);
    if (pk_request_retry_answer(core, r, f->status)) return;
  }
  pk_request_answer(core, r, data, f);
}

/* Answer a request of the upstream's own; `size` bytes of it are there. */
static void refuse_request(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f,
                           uint32_t status, const pk_message *m) {
  if (f->kind != PK_KIND_REQUEST || c->out_bytes > core->limits.upstream_buffer) return;
  uint32_t most = c->codec->reply_max;
  uint8_t *to = pk_out_reserve(core, c, pk_reply_room(c->codec, most));
  int built = to == NULL ? 0
                         : c->codec->error(c->codec, status, c->named ? 0 : f->id, f->context,
                                           m->data, m->size, pk_reply_at(c->codec, to, most), most);
  if (c->named) built = pk_reply_id(c->codec, to, most, built, pk_id_of(c->codec, data, f, size));
  if (built > 0) pk_out_commit(core, c, (uint32_t)built);
}

int pk_up_large(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f) {
  if (f->kind == 0 || (c->named && pk_id_of(c->codec, data, f, size).data == NULL)) return 0;
  pk_message m = {.size = 0};
  pk_message_add(&m, f->kind == PK_KIND_RESPONSE ? "protokit: the answer " : "protokit: the request ");
  if (f->size > core->limits.frame) { /* an envelope says no size */
    pk_message_add(&m, "of ");
    pk_message_number(&m, f->size);
    pk_message_add(&m, " bytes ");
  }
  pk_message_add(&m, "is larger than the limit of ");
  pk_message_number(&m, core->limits.frame);
  pk_message_add(&m, " bytes");
  if (f->kind != PK_KIND_RESPONSE) {
    refuse_request(core, c, data, size, f, PK_STATUS_BAD_REQUEST, &m);
    return 1;
  }
  PK_STAT_ADD(core->stats.answers_too_large, 1);
  pk_request *r = answered(core, c, data, size, f);
  if (r == NULL) return 1;
  PK_STAT_ADD(c->endpoint->stats->errors, 1);
  pk_request_fail(core, r, PK_STATUS_INTERNAL, m.data, m.size);
  return 1;
}

/* A request of the upstream's own: only a pinned client can answer it. */
static void reverse_request(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  if (pk_pinned_call(core, c, data, f)) return;
  pk_message m = {.size = 0};
  pk_message_add(&m, c->pinned ? "protokit: the client cannot be asked now: its buffer is full, it has too many requests "
                                 "to answer, or another server's with the same id"
                               : "protokit: no client is tied to this connection (mode: shared)");
  refuse_request(core, c, data, f->size, f, c->pinned ? PK_STATUS_OVERLOADED : PK_STATUS_BAD_REQUEST, &m);
}

void pk_up_frame(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  switch (f->kind) {
    case PK_KIND_RESPONSE:
      response(core, c, data, f);
      break;
    case PK_KIND_REQUEST:
    case PK_KIND_ONEWAY:
      reverse_request(core, c, data, f);
      break;
    case PK_KIND_HEARTBEAT:
      pk_conn_heartbeat_ack(core, c, data, f);
      break;
    case PK_KIND_DRAIN:
      PK_STAT_ADD(core->stats.drains_received, 1);
      c->draining = 1;
      if (c->pinned) pk_pinned_drained(core, c);
      c->endpoint->avoid_until = core->now + (uint64_t)AVOID_MS * PK_MS;
      break;
    case PK_KIND_UNDRAIN:
      c->draining = 0;
      c->endpoint->avoid_until = 0;
      break;
    case PK_KIND_GREETING:
      pk_greeting_frame(core, c, f);
      break;
    default:
      break;
  }
}

/* The number of an endpoint that is gone may be another's. */
static void tell(pk_core *core, const pk_endpoint *e, int reachable) {
  if (!e->gone) pk_op_add(core, (pk_op){.op = PK_OP_ENDPOINT, .arg = e->uid, .size = (uint64_t)reachable});
}

void pk_up_opened(pk_core *core, pk_conn *c) {
  c->opening = 0;
  c->opened = c->last_read = c->last_write = core->now;
  if (c->endpoint->failures > 0) tell(core, c->endpoint, 1);
  c->endpoint->failures = 0;
  c->endpoint->down_until = 0;
  if (c->raw) {
    pk_conn_timer(core, c);
    pk_raw_opened(core, c);
    return;
  }
  if (c->in_flight > 0) c->busy_since = core->now;
  uint32_t next = c->waiting_head;
  c->waiting_head = c->waiting_tail = PK_NONE;
  while (next != PK_NONE) {
    pk_attempt *a = pk_attempt_at(core, next);
    pk_request *r = pk_request_find(core, a->request);
    next = a->next;
    a->next = PK_NONE;
    if (r == NULL) {
      pk_attempt_free(core, a);
      continue;
    }
    a->waiting = 0;
    pk_conn *client = pk_conn_find(core, r->client);
    if (!r->oneway && (client == NULL || client->state == PK_CONN_CLOSED)) {
      PK_STAT_ADD(core->stats.requests_client_gone, 1);
      pk_request_end(core, r);
    } else {
      pk_request_send(core, r, c, a, r->held->data, &r->held->frame);
    }
  }
  pk_conn_timer(core, c);
  pk_conn_settle(core, c);
}

void pk_core_connected(pk_core *core, pk_handle h, int failed) {
  pk_conn *c = pk_conn_find(core, h);
  if (c == NULL || c->state != PK_CONN_CONNECTING) return;
  if (failed) {
    c->exhausted = failed == PK_CONNECT_EXHAUSTED;
    if (c->exhausted) PK_STAT_ADD(core->stats.connect_errors, 1);
    pk_conn_close(core, c, 1);
    return;
  }
  c->state = PK_CONN_OPEN;
  c->context = c->key;
  pk_greeting_begin(core, c); /* still opening meanwhile, in the time that connecting may take */
  if (c->state == PK_CONN_OPEN && c->greeting == 0) pk_up_opened(core, c);
}

static void connect_failed(pk_core *core, pk_endpoint *e) {
  uint64_t wait = BACKOFF_MS;
  for (uint32_t i = 0; i < e->failures && wait < BACKOFF_MAX_MS; i++) wait *= 2;
  if (e->failures++ == 0) tell(core, e, 0);
  e->down_until = core->now + (wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS) * PK_MS;
  PK_STAT_ADD(core->stats.upstream_connect_failures, 1);
  PK_STAT_ADD(e->stats->connect_failures, 1);
}

void pk_up_lost(pk_core *core, pk_conn *c, int connecting) {
  uint64_t sent = c->out_total - c->out_bytes;
  if (connecting) {
    if (!c->unwanted && !c->exhausted) connect_failed(core, c->endpoint);
  } else {
    PK_STAT_ADD(core->stats.upstream_closed, 1);
  }
  uint32_t next = c->waiting_head;
  c->waiting_head = c->waiting_tail = PK_NONE;
  while (next != PK_NONE) {
    pk_attempt *a = pk_attempt_at(core, next);
    pk_request *r = pk_request_find(core, a->request);
    next = a->next;
    a->next = PK_NONE;
    a->waiting = 0;
    if (r == NULL) {
      pk_attempt_free(core, a);
    } else {
      uint32_t why = c->refused ? PK_LOST_REFUSED : c->exhausted ? PK_LOST_EXHAUSTED : 0;
      pk_request_lost(core, r, PK_RETRY_CONNECT | why, 0);
    }
  }
  uint32_t at = 0;
  while (c->in_flight > 0 && (next = pk_slots_next(c, &at)) != PK_NONE) {
    pk_attempt *a = pk_attempt_at(core, next);
    pk_request *r = pk_request_find(core, a->request);
    if (r != NULL) pk_request_lost(core, r, PK_RETRY_RESET, a->out_at < sent);
  }
}
