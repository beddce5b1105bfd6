/* upstream.c: choosing an endpoint and a connection, and what upstreams send. */
#include <stdlib.h>

#include "base/hash.h"
#include "core/internal.h"

/* A balancer that does not look at the request stays with an endpoint for so many requests of
 * one batch: writes are shared, and over batches every endpoint gets its turns. */
enum { HOLD = 32, SCHEDULE_TRIES = 8 };
enum { AVOID_MS = 5000 };
/* How long a connection may take to open before the requests that wait for it go elsewhere; doubled each time. */
enum { RELIEVE_MS = 2 };

int pk_up_has_room(const pk_core *core, const pk_conn *c) {
  return !(c->leaving & PK_LEAVE_NO_MORE) && !c->eof && c->in_flight < c->slot_most - c->given_up &&
         c->in_flight < core->limits.upstream_in_flight && c->out_bytes < core->limits.upstream_buffer;
}

static pk_conn *connect_to(pk_core *core, pk_endpoint *e, const pk_request *r, int own) {
  pk_conn *c = pk_conn_new(core, r->codec == NULL ? core->pair_server : core->server, PK_CONN_CONNECTING);
  if (c == NULL) return NULL;
  c->codec = r->codec;
  c->pinned = (uint8_t)own;
  if (c->codec != NULL && pk_slots_init(c) != 0) { /* raw ones have none */
    c->codec = NULL;
    c->state = PK_CONN_FREE;
    pk_list_add(&core->free_conns, c->index);
    return NULL;
  }
  pk_codec_hold(c->codec);
  c->begun = core->batch;
  c->relieve = own ? UINT64_MAX : core->now + RELIEVE_MS * PK_MS;
  c->named = r->named;
  c->key = r->upstream_key;
  c->endpoint = e;
  c->connect_ms = pk_table_cluster_at(r->live->table, r->cluster)->connect_timeout_ms;
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
static inline pk_conn *open_of(const pk_core *core, const pk_endpoint *e, const pk_request *r, pk_conn **opening) {
  for (pk_conn *c = e->shared.first; c != NULL; c = c->behind) {
    if (c->codec != r->codec || c->key != r->upstream_key || !pk_up_has_room(core, c)) continue;
    if (pk_conn_is_opening(c)) {
      if (*opening == NULL) *opening = c;
    } else if (c->state == PK_CONN_OPEN) {
      return c;
    }
  }
  return NULL;
}

/* What is left when seven eighths are used: whose share is used up, or 0. */
static PK_RARE uint32_t share_of(const pk_core *core, const pk_endpoint *e, const pk_request *r, uint64_t places) {
  uint64_t free = e->shared_active < places ? places - e->shared_active : 0;
  uint64_t others = (places + 15) / 16, held = e->waiting[r->bucket];
  if (held > 0 && held >= free) {
    if (free <= others) return PK_UP_METHOD;
    free -= others; /* of these its clients have shares */
  }
  const pk_conn *client = pk_conn_find(core, r->client);
  if (client == NULL || client->in_flight <= free) return 0;
  held = 0;
  for (const pk_request *one = client->requests; one != NULL && held < free; one = one->behind)
    held += one->attempt != PK_NONE && pk_attempt_at(core, one->attempt)->endpoint == e;
  return held > 0 && held >= free ? PK_UP_SHARE : 0;
}

/* The last eighth of an endpoint's places is for clients that wait for fewer answers there than are free, and half of
 * that for such methods: what is never answered leaves some to everyone else, whoever asks. 0, or whose share is used
 * up: PK_UP_SHARE, PK_UP_METHOD. */
static inline uint32_t over_share(const pk_core *core, const pk_endpoint *e, const pk_request *r,
                                  const pk_table_cluster *cluster) {
  uint64_t most = r->codec->mode == PK_MODE_PINGPONG ? 1 : r->codec->id_bytes == 1 ? 256 : PK_RING;
  if (core->limits.upstream_in_flight < most) most = core->limits.upstream_in_flight;
  uint64_t places = most * cluster->max_connections;
  return 8 * (uint64_t)e->shared_active < 7 * places ? 0 : share_of(core, e, r, places);
}

/* One that is retired takes no place of the others. */
static int may_connect(const pk_endpoint *e, const pk_request *r, int own) {
  uint32_t retired = 0, most = pk_table_cluster_at(r->live->table, r->cluster)->max_connections;
  if (own || e->conn_count < most) return 1;
  for (const pk_conn *c = e->shared.first; c != NULL; c = c->behind) retired += (c->leaving & PK_LEAVE_RETIRED) != 0;
  return e->conn_count < most + (retired < most ? retired : most);
}

/* A connection for no request, to an endpoint that cannot be reached, or a heartbeat to one that is silent. */
static void try_again(pk_core *core, pk_endpoint *e, const pk_request *r, int own) {
  pk_conn *opening = NULL, *open = own ? NULL : open_of(core, e, r, &opening);
  if (open != NULL) {
    if (!open->probing) pk_conn_probe(core, open);
    pk_conn_timer(core, open);
    return;
  }
  pk_conn *trial = e->opening == 0 && may_connect(e, r, own) ? connect_to(core, e, r, own) : NULL;
  if (trial != NULL) trial->trial = 1;
}

/* As may_serve, of one that is not well. */
static PK_RARE int ill_may_serve(const pk_core *core, const pk_request *r, pk_endpoint *e, int own, pk_endpoint **ill) {
  const pk_health *h = &e->health;
  if (!h->suspect && !h->unreached) return 0;
  pk_conn *opening = NULL, *open = own ? NULL : open_of(core, e, r, &opening);
  if (!h->suspect && open != NULL) return 1;
  if (core->now < h->retry_at) return 0;
  if (h->suspect && (open != NULL ? !h->beats : own && !h->unreached)) return e->active == 0 && !r->oneway;
  *ill = e;
  return 0;
}

/* Whether an endpoint may have this request: it is well, or a connection is open still although no more can be, or the
 * request is the trial that a suspect gets. *ill: else, where it is to be tried without one. */
static inline int may_serve(const pk_core *core, const pk_request *r, pk_endpoint *e, int own, pk_endpoint **ill) {
  if (e == r->avoid) return 0;
  return pk_health_well(&e->health, core->now) || ill_may_serve(core, r, e, own, ill);
}

static pk_endpoint *endpoint_at(pk_core *core, const pk_table *t, uint32_t i) {
  return core->endpoints[pk_table_endpoint_at(t, i)->uid];
}

/* Whose turn it is by weight, passing over those that may not serve; *at: which endpoint of the table. */
static pk_endpoint *next_in_schedule(pk_core *core, const pk_request *r, const pk_table_cluster *c,
                                     pk_cluster_state *s, int own, uint32_t *at, pk_endpoint **ill) {
  const pk_table *t = r->live->table;
  const uint32_t *schedule = PK_AT(t, uint32_t, t->schedules.at) + c->schedule;
  for (uint32_t i = 0; i < SCHEDULE_TRIES; i++) {
    *at = schedule[s->cursor];
    s->cursor = s->cursor + 1 < c->schedule_count ? s->cursor + 1 : 0;
    pk_endpoint *e = endpoint_at(core, t, *at);
    if (may_serve(core, r, e, own, ill)) return e;
  }
  return NULL;
}

static pk_endpoint *round_robin(pk_core *core, const pk_request *r, const pk_table_cluster *c,
                                pk_cluster_state *s, int own, pk_endpoint **ill) {
  if (s->batch == core->batch && s->held_left > 0) {
    pk_endpoint *held = endpoint_at(core, r->live->table, s->held);
    if (may_serve(core, r, held, own, ill)) {
      s->held_left--;
      return held;
    }
  }
  pk_endpoint *e = next_in_schedule(core, r, c, s, own, &s->held, ill);
  s->batch = core->batch;
  s->held_left = e == NULL ? 0 : HOLD - 1;
  return e;
}

/* Of two endpoints the one with less under way for its weight: the one whose turn it is, and any other by chance.
 * Where neither has more the turn counts, so that idle ones are used by weight. */
static pk_endpoint *less_loaded(pk_core *core, const pk_request *r, const pk_table_cluster *c,
                                pk_cluster_state *s, int own, pk_endpoint **ill) {
  const pk_table *t = r->live->table;
  uint32_t at;
  pk_endpoint *turn = next_in_schedule(core, r, c, s, own, &at, ill);
  if (turn == NULL || c->endpoint_count == 1) return turn;
  uint32_t steps = 1 + (uint32_t)(pk_random(core) % (c->endpoint_count - 1));
  uint32_t other_at = c->endpoints + (at - c->endpoints + steps) % c->endpoint_count;
  pk_endpoint *other = endpoint_at(core, t, other_at);
  int less = (uint64_t)other->active * pk_table_endpoint_at(t, at)->weight <
             (uint64_t)turn->active * pk_table_endpoint_at(t, other_at)->weight;
  return less && may_serve(core, r, other, own, ill) ? other : turn;
}

/* Whom to ask, best first. Where all are ill they are asked all the same. */
enum { WELL = 0, DRAINING, UNREACHED, SUSPECT, GRADES };

static int grade(const pk_core *core, const pk_endpoint *e) {
  if (e->health.suspect) return SUSPECT;
  if (e->health.unreached) return UNREACHED;
  return e->health.draining_until > core->now ? DRAINING : WELL;
}

/* A connection of any endpoint of that grade, from any point on. `open`: only one that is open, of another than the
 * last try's. */
static pk_conn *scan(pk_core *core, const pk_request *r, const pk_table_cluster *c, int wanted, int open,
                     int own, uint32_t *status) {
  const pk_table *t = r->live->table;
  uint32_t start = (uint32_t)(pk_random(core) % c->endpoint_count);
  uint32_t count = c->endpoint_count, rounds = r->avoid != NULL && !open ? 2 : 1;
  for (uint32_t i = 0; i < rounds * count; i++) { /* where it failed only in a second round */
    uint32_t at = c->endpoints + (start + i) % count;
    pk_endpoint *e = endpoint_at(core, t, at);
    if (grade(core, e) != wanted || pk_table_endpoint_at(t, at)->weight == 0) continue;
    if ((e == r->avoid) != (i >= count)) continue;
    uint32_t over = own ? 0 : over_share(core, e, r, c);
    if (over != 0) {
      if (!open) *status = over;
      continue;
    }
    pk_conn *opening = NULL, *conn = own ? NULL : open_of(core, e, r, &opening);
    if (conn == NULL && !open) conn = opening;
    if (conn == NULL && !open && (!e->health.unreached || core->now >= e->health.retry_at)) {
      if (may_connect(e, r, own)) conn = connect_to(core, e, r, own);
      if (conn == NULL) *status = PK_STATUS_OVERLOADED;
    }
    if (conn != NULL) return conn;
  }
  return NULL;
}

pk_conn *pk_up_pick(pk_core *core, const pk_request *r, int own, uint32_t *status) {
  const pk_table_cluster *c = pk_table_cluster_at(r->live->table, r->cluster);
  pk_cluster_state *s = &r->live->clusters[r->cluster];
  *status = PK_STATUS_UNAVAILABLE;
  if (c->schedule_count == 0) return NULL;
  pk_endpoint *ill = NULL;
  pk_endpoint *e = c->balance == PK_BALANCE_LEAST_REQUEST ? less_loaded(core, r, c, s, own, &ill)
                                                          : round_robin(core, r, c, s, own, &ill);
  pk_conn *opening = NULL, *conn = NULL;
  if (e != NULL && !own && over_share(core, e, r, c)) e = NULL;
  if (e != NULL) {
    if (ill != NULL) try_again(core, ill, r, own);
    conn = own ? NULL : open_of(core, e, r, &opening);
    if (conn != NULL) return conn;
    conn = opening;
    if (conn == NULL && may_connect(e, r, own)) conn = connect_to(core, e, r, own);
  }
  /* Others are open: they are used until this one is, too, and by whom one failed already. */
  if (conn != NULL && !own && (conn->begun != core->batch || r->tries > 1)) {
    opening = scan(core, r, c, WELL, 1, own, status);
    if (opening != NULL) conn = opening;
  }
  for (int wanted = WELL; conn == NULL && wanted < GRADES && *status != PK_STATUS_OVERLOADED; wanted++)
    conn = scan(core, r, c, wanted, 0, own, status);
  return conn;
}

/* Begin to open a connection to one more endpoint, for all that may need it. */
static void open_another(pk_core *core, const pk_request *r, const pk_table_cluster *c) {
  uint32_t start = (uint32_t)(pk_random(core) % c->endpoint_count);
  for (uint32_t i = 0; i < c->endpoint_count; i++) {
    uint32_t at = c->endpoints + (start + i) % c->endpoint_count;
    pk_endpoint *e = endpoint_at(core, r->live->table, at);
    if (e->shared.first != NULL || grade(core, e) != WELL || pk_table_endpoint_at(r->live->table, at)->weight == 0) continue;
    connect_to(core, e, r, 0);
    return;
  }
}

void pk_up_relieve(pk_core *core, pk_conn *c) {
  c->relieve = core->now + (core->now - c->opened);
  for (uint32_t next = c->waiting_head; next != PK_NONE;) {
    const pk_attempt *a = pk_attempt_at(core, next);
    pk_request *r = pk_request_find(core, a->request);
    next = a->next;
    if (r == NULL) continue;
    const pk_table_cluster *cluster = pk_table_cluster_at(r->live->table, r->cluster);
    uint32_t status;
    pk_conn *open = scan(core, r, cluster, WELL, 1, 0, &status);
    if (open == NULL) {
      open_another(core, r, cluster);
      return;
    }
    pk_request_move(core, r, open);
  }
}

pk_conn *pk_up_choose(pk_core *core, pk_request *r, uint32_t *status) {
  return r->pinned ? pk_pinned_choose(core, r, status) : pk_up_pick(core, r, 0, status);
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
  uint32_t index = pk_slots_answered(core, c, data, size, f);
  if (index == PK_NONE) {
    PK_STAT_ADD(core->stats.answers_unmatched, 1);
    return NULL;
  }
  pk_attempt *a = pk_attempt_at(core, index);
  a->answered = 1;
  return pk_request_find(core, a->request);
}

static void response(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  pk_request *r = answered(core, c, data, f->size, f);
  if (r == NULL) return;
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

static int large(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f) {
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

static void server_frame(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  /* Whoever greets says so little that he may be silent behind it. */
  if (f->kind != PK_KIND_GREETING && pk_health_heard(&c->endpoint->health, core->now))
    pk_endpoint_tell(core, c->endpoint, PK_WELL, 0);
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
      c->leaving |= PK_LEAVE_DRAINED;
      if (c->pinned) pk_pinned_drained(core, c);
      c->endpoint->health.draining_until = core->now + (uint64_t)AVOID_MS * PK_MS;
      break;
    case PK_KIND_UNDRAIN:
      c->leaving &= (uint8_t)~PK_LEAVE_DRAINED;
      c->endpoint->health.draining_until = 0;
      break;
    case PK_KIND_GREETING:
      pk_greeting_frame(core, c, f);
      break;
    case PK_KIND_HEARTBEAT_ACK:
      c->endpoint->health.beats = 1;
      break;
    default:
      break;
  }
}

/* A protocol without heartbeats is only looked at again. */
void pk_conn_probe(pk_core *core, pk_conn *c) {
  uint32_t most = c->codec->reply_max;
  uint8_t *to = pk_out_reserve(core, c, pk_reply_room(c->codec, most));
  /* Where answers come in order the counter is a request's place, which a heartbeat has none of. */
  uint64_t id = pk_slots_id(c);
  int size = to == NULL ? 0
                        : c->codec->heartbeat(c->codec, c->named ? 0 : id, c->key,
                                              pk_reply_at(c->codec, to, most), most);
  if (c->named) {
    uint8_t written[PK_ID_MAX];
    size = pk_reply_id(c->codec, to, most, size, (pk_slice){written, pk_id_write(c->codec, id, written)});
  }
  if (size <= 0) {
    c->last_write = c->busy_since = core->now;
    return;
  }
  pk_out_commit(core, c, (uint32_t)size);
  c->probing = 1;
  c->probe_at = core->now;
  PK_STAT_ADD(core->stats.heartbeats_sent, 1);
}

static void opened(pk_core *core, pk_conn *c) {
  if (c->in_flight > 0) c->busy_since = core->now;
  if (c->endpoint->health.suspect && !c->pinned) pk_conn_probe(core, c);
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

/* Its answers do not come any more: what waits for them, or for it to open, is tried again or fails. */
static void fail_all(pk_core *core, pk_conn *c) {
  uint64_t sent = c->out_total - c->out_bytes;
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
      pk_request_lost(core, r, PK_RETRY_ON_CONNECT_FAILURE, 0, c->lost);
    }
  }
  uint32_t at = 0;
  while (c->in_flight > 0 && (next = pk_slots_next(c, &at)) != PK_NONE) {
    pk_attempt *a = pk_attempt_at(core, next);
    pk_request *r = pk_request_find(core, a->request);
    if (r != NULL) pk_request_lost(core, r, PK_RETRY_ON_RESET, a->out_at < sent, c->lost);
  }
}

static void closed(pk_core *core, pk_conn *c, int opening) {
  pk_endpoint *e = c->endpoint;
  if (!opening) pk_endpoint_closing(core, c);
  pk_endpoint_left(core, c, opening);
  pk_conn *client = pk_pinned_lost(core, c, opening); /* before its requests look for where else to go */
  fail_all(core, c);
  if (opening && client != NULL && client->own == NULL) pk_pinned_open(core, client, e);
}

static void bad(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f, int error) {
  (void)data;
  (void)size;
  PK_STAT_ADD(core->stats.protocol_errors_upstream, 1);
  pk_conn_drop(core, c, error == PK_ERR_LIMIT ? PK_LOST_LIMIT : PK_LOST_FORMAT, f->error_at);
}

static void half(pk_core *core, pk_conn *c) {
  c->lost = pk_conn_is_quiet(core, c) ? PK_LOST_HALF : PK_LOST_SLOW;
  pk_conn_close(core, c, 0);
}

static void settle(pk_core *core, pk_conn *c) {
  if (!c->ready && (c->eof || (c->leaving && c->in_flight == 0))) pk_conn_close(core, c, 0);
}

static uint64_t unused_until(const pk_core *core, const pk_conn *c) {
  return (c->last_used > c->opened ? c->last_used : c->opened) + (uint64_t)core->limits.idle_ms * PK_MS;
}

static uint64_t due(const pk_core *core, const pk_conn *c) {
  const pk_limits *l = &core->limits;
  if (pk_conn_is_opening(c)) {
    uint64_t late = c->opened + (uint64_t)c->connect_ms * PK_MS;
    return c->relieve < late ? c->relieve : late;
  }
  /* One client's own is idle when its client is. */
  uint64_t at = c->pinned ? UINT64_MAX : unused_until(core, c);
  uint64_t beat = pk_conn_active(c) + (uint64_t)l->heartbeat_ms * PK_MS;
  if (c->in_flight > 0) {
    uint64_t heard = c->last_read > c->busy_since ? c->last_read : c->busy_since;
    at = UINT64_MAX;
    beat = heard + (uint64_t)l->probe_ms * PK_MS;
  }
  if (c->probing) beat = c->probe_at + (uint64_t)l->probe_ms * PK_MS;
  return beat < at ? beat : at;
}

static void fired(pk_core *core, pk_conn *c) {
  if (pk_conn_is_opening(c)) {
    if (core->now < c->opened + (uint64_t)c->connect_ms * PK_MS) {
      pk_up_relieve(core, c);
      pk_conn_timer(core, c);
    } else {
      c->lost = PK_LOST_LATE;
      pk_conn_close(core, c, 0);
    }
  } else if (!c->pinned && c->in_flight == 0 && core->now >= unused_until(core, c)) {
    PK_STAT_ADD(core->stats.closed_idle, 1);
    pk_conn_close(core, c, 0);
  } else if (c->probing && pk_endpoint_silent(core, c)) {
    pk_conn_drop(core, c, PK_LOST_SILENT, 0);
  } else if (c->probing) { /* asked again after as long a time */
    c->probing = 0;
    c->last_write = c->busy_since = core->now;
    pk_conn_timer(core, c);
  } else {
    pk_conn_probe(core, c);
    pk_conn_timer(core, c);
  }
}

const pk_kind pk_server = {
    .side = PK_SIDE_UP,
    .frame = server_frame,
    .bad = bad,
    .large = large,
    .opened = opened,
    .settle = settle,
    .half = half,
    .closed = closed,
    .due = due,
    .fired = fired,
};
