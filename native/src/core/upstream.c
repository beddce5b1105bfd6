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
/* So often a suspect that used to answer heartbeats is asked by these alone. */
enum { HEARTBEAT_TRIALS = 8 };

int pk_up_has_room(const pk_core *core, const pk_conn *c) {
  return !c->draining && !c->retired && !c->eof && c->in_flight < c->slot_most - c->given_up &&
         c->in_flight < core->limits.upstream_in_flight && c->out_bytes < core->limits.upstream_buffer;
}

/* Those of its endpoint that it stands among. */
static pk_conns *conns_of(const pk_conn *c) { return c->pinned ? &c->endpoint->own : &c->endpoint->shared; }

/* At the end: the connections in front are filled first. */
static void join(pk_conn *c) {
  pk_conns *all = conns_of(c);
  c->before = all->last;
  *(c->before != NULL ? &c->before->behind : &all->first) = c;
  all->last = c;
}

void pk_up_leave(pk_conn *c) {
  pk_conns *all = conns_of(c);
  *(c->before != NULL ? &c->before->behind : &all->first) = c->behind;
  *(c->behind != NULL ? &c->behind->before : &all->last) = c->before;
}

static pk_conn *connect_to(pk_core *core, pk_endpoint *e, const pk_request *r, int own) {
  pk_conn *c = pk_conn_new(core, PK_SIDE_UP, PK_CONN_CONNECTING);
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
  c->opening = 1;
  c->begun = core->batch;
  c->relieve = own ? UINT64_MAX : core->now + RELIEVE_MS * PK_MS;
  c->raw = r->codec == NULL;
  c->named = r->named;
  c->key = r->upstream_key;
  c->endpoint = e;
  c->connect_ms = pk_table_cluster_at(r->live->table, r->cluster)->connect_ms;
  join(c);
  e->conn_count += !own; /* what is one client's own takes no place of the others */
  e->opening++;
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

/* An open connection of the endpoint with room; *opening: one being opened, where there is none. */
static inline pk_conn *open_of(const pk_core *core, const pk_endpoint *e, const pk_request *r, pk_conn **opening) {
  for (pk_conn *c = e->shared.first; c != NULL; c = c->behind) {
    if (c->codec != r->codec || c->key != r->upstream_key || !pk_up_has_room(core, c)) continue;
    if (c->opening) {
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
  for (const pk_conn *c = e->shared.first; c != NULL; c = c->behind) retired += c->retired;
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
  const uint32_t *schedule = PK_AT(t, uint32_t, t->schedules) + c->schedule;
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

/* The number of an endpoint that is gone may be another's. */
static void tell(pk_core *core, const pk_endpoint *e, uint32_t how, int error) {
  if (!e->gone)
    pk_op_add(core, (pk_op){.op = PK_OP_ENDPOINT, .arg = e->uid, .size = how, .data = (uint64_t)error});
}

int pk_up_silent(pk_core *core, const pk_conn *c) {
  pk_endpoint *e = c->endpoint;
  pk_health *h = &e->health;
  /* Heartbeats that it never answered say nothing. Calls under way do, where it never said a word. */
  int known = h->beats || (h->heard == 0 && c->in_flight > 0);
  int close = h->beats || (c->in_flight == 0 && !c->pinned);
  if (close) PK_STAT_ADD(core->stats.upstream_silent, 1);
  if (h->failures > HEARTBEAT_TRIALS) h->beats = 0; /* whoever is there now may not know any */
  if (known && h->heard < c->probe_at && pk_health_failed(h, PK_ILL_SILENT, core->now))
    tell(core, e, PK_ILL_SILENT, 0);
  return close;
}

void pk_up_unanswered(pk_core *core, const pk_attempt *a) {
  pk_health *h = &a->endpoint->health;
  const pk_conn *c = pk_conn_find(core, a->conn);
  uint64_t heard = h->heard;
  if (c != NULL && c->first_byte != 0 && c->last_read > heard) heard = c->last_read; /* half a frame, too */
  if (pk_health_unanswered(h, a->started, heard, 2 * (uint64_t)core->limits.probe_ms * PK_MS, core->now))
    tell(core, a->endpoint, PK_ILL_SILENT, 0);
}

void pk_up_frame(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  /* Whoever greets says so little that he may be silent behind it. */
  if (f->kind != PK_KIND_GREETING && pk_health_heard(&c->endpoint->health, core->now))
    tell(core, c->endpoint, PK_WELL, 0);
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
      c->endpoint->health.draining_until = core->now + (uint64_t)AVOID_MS * PK_MS;
      break;
    case PK_KIND_UNDRAIN:
      c->draining = 0;
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

void pk_up_opened(pk_core *core, pk_conn *c) {
  c->opening = 0;
  c->endpoint->opening--;
  c->opened = c->last_read = c->last_write = core->now;
  if (pk_health_opened(&c->endpoint->health)) tell(core, c->endpoint, PK_WELL, 0);
  if (c->trial && c->pinned) { /* it has shown what it was for */
    c->unwanted = 1;
    pk_conn_close(core, c, 0);
    return;
  }
  if (c->raw) {
    pk_conn_timer(core, c);
    pk_raw_opened(core, c);
    return;
  }
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

void pk_core_connected(pk_core *core, pk_handle h, int failed, int error) {
  pk_conn *c = pk_conn_find(core, h);
  if (c == NULL || c->state != PK_CONN_CONNECTING) return;
  if (failed) {
    c->exhausted = failed == PK_CONNECT_EXHAUSTED;
    if (c->exhausted) PK_STAT_ADD(core->stats.connect_errors, 1);
    c->error = error;
    pk_conn_close(core, c, 1);
    return;
  }
  c->state = PK_CONN_OPEN;
  c->context = c->key;
  pk_greeting_begin(core, c); /* still opening meanwhile, in the time that connecting may take */
  if (c->state == PK_CONN_OPEN && c->greeting == 0) pk_up_opened(core, c);
}

static void connect_failed(pk_core *core, const pk_conn *c) {
  pk_endpoint *e = c->endpoint;
  uint8_t why = c->late ? PK_ILL_TIMED_OUT : c->refused || c->greeting > 0 ? PK_ILL_GREETING : PK_ILL_REFUSED;
  if (pk_health_failed(&e->health, why, core->now)) tell(core, e, why, c->error);
  PK_STAT_ADD(core->stats.upstream_connect_failures, 1);
  PK_STAT_ADD(e->stats->connect_failures, 1);
}

void pk_up_lost(pk_core *core, pk_conn *c, int connecting) {
  uint64_t sent = c->out_total - c->out_bytes;
  if (connecting) {
    if (!c->unwanted && !c->exhausted) connect_failed(core, c);
  } else {
    PK_STAT_ADD(core->stats.upstream_closed, 1);
    if ((c->eof || c->broken) && c->in_flight > 0 && !c->raw && c->endpoint->health.heard < c->opened &&
        pk_health_failed(&c->endpoint->health, PK_ILL_CLOSING, core->now))
      tell(core, c->endpoint, PK_ILL_CLOSING, 0);
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
