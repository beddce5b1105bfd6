/* request.c: a request from begin to its one end, and its attempts. */
#include <stdlib.h>

#include "base/hash.h"
#include "core/internal.h"

enum { FREE_TRIES = 3 }; /* of a request that no byte of was written, without any retry policy */

static int keeps_order(const pk_request *r) {
  return r->to.codec->mode != PK_MODE_MULTIPLEXED && !r->to.oneway;
}

pk_request *pk_request_new(pk_core *core, pk_conn *client, const uint8_t *data, size_t size,
                           const pk_frame *f) {
  if (core->free_request == PK_NONE && pk_requests_grow(core) != 0) return NULL;
  if (client->named && pk_request_id_room(core, core->free_request) == NULL) return NULL;
  pk_request *r = pk_request_at(core, core->free_request);
  uint32_t index = r->index, generation = r->generation + 1;
  core->free_request = r->next;
  memset(r, 0, sizeof *r);
  r->index = index;
  r->generation = generation > 0 ? generation : 1;
  r->timer.kind = PK_TIMER_REQUEST;
  r->client_id = f->id;
  if (client->named) pk_request_keep_id(core, r, pk_id_of(client->codec, data, f, size));
  r->started = core->now;
  r->to.client = pk_conn_handle(client);
  r->to.live = pk_conn_live(core, client);
  r->attempt = r->to.cluster = PK_NONE;
  r->context = f->context;
  r->to.key = f->upstream_key;
  r->to.oneway = f->kind == PK_KIND_ONEWAY;
  r->to.codec = client->codec;
  r->to.live->users++;
  core->request_count++;
  client->in_flight++;
  PK_STAT_ADD(core->stats.requests, 1);
  PK_STAT_ADD(core->stats.requests_active, 1);
  if (r->to.oneway) PK_STAT_ADD(core->stats.oneway, 1);
  if (!r->to.oneway) {
    r->before = client->last_request;
    *(r->before != NULL ? &r->before->behind : &client->requests) = r;
    client->last_request = r;
  }
  return r;
}

/* Take the request off its upstream connection. */
static void release_attempt(pk_core *core, pk_request *r) {
  if (r->attempt == PK_NONE) return;
  pk_attempt *a = pk_attempt_at(core, r->attempt);
  pk_endpoint *e = a->endpoint;
  r->attempt = PK_NONE;
  e->active--;
  e->shared_active -= a->shared;
  e->waiting[r->to.bucket] -= a->shared;
  PK_STAT_SUB(e->stats->active, 1);
  pk_conn *c = pk_conn_find(core, a->conn);
  if (c != NULL) c->in_flight--;
  if (a->waiting) {
    a->request = 0; /* freed when the connection opens or fails */
  } else {
    if (c != NULL && !a->answered) pk_slots_give_up(c, a);
    pk_attempt_free(core, a);
  }
  if (c != NULL) pk_conn_touch(core, c);
}

static void count_held(pk_core *core, const pk_request *r, int64_t change) {
  pk_conn *client = pk_conn_find(core, r->to.client);
  if (client != NULL) client->held += (uint64_t)change;
}

int pk_request_hold(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  r->held = pk_hold(core, data, f);
  if (r->held == NULL) return -1;
  count_held(core, r, r->held->capacity);
  return 0;
}

pk_held *pk_request_unhold(pk_core *core, pk_request *r) {
  pk_held *h = r->held;
  if (h != NULL) count_held(core, r, -(int64_t)h->capacity);
  r->held = NULL;
  return h;
}

/* Give back all that it holds. */
static PK_RARE void let_go(pk_core *core, pk_request *r) {
  pk_held_free(core, pk_request_unhold(core, r));
  if (r->answer == NULL) return;
  count_held(core, r, -(int64_t)r->answer->capacity);
  pk_chunk_free(core, r->answer);
  r->answer = NULL;
}

void pk_request_end(pk_core *core, pk_request *r) {
  pk_timer_stop(&core->wheel, &r->timer);
  release_attempt(core, r);
  if (r->filtering) pk_filter_cancel(core, r);
  if (r->held != NULL || r->answer != NULL) let_go(core, r);
  pk_conn *client = pk_conn_find(core, r->to.client);
  r->to.client = 0;
  r->answered = 1;
  if (client != NULL && client->state != PK_CONN_CLOSED) {
    client->in_flight--;
    if (!r->to.oneway) {
      *(r->before != NULL ? &r->before->behind : &client->requests) = r->behind;
      *(r->behind != NULL ? &r->behind->before : &client->last_request) = r->before;
    }
    pk_conn_touch(core, client);
  }
  pk_live *live = r->to.live;
  r->to.live = NULL;
  r->next = core->free_request;
  core->free_request = r->index;
  core->request_count--;
  PK_STAT_SUB(core->stats.requests_active, 1);
  pk_live_release(core, live);
}

void pk_request_client_left(pk_core *core, pk_conn *client) {
  pk_request *next;
  for (pk_request *r = client->requests; r != NULL; r = next) {
    next = r->behind;
    r->before = r->behind = NULL;
    /* Without ids its answer still has to be told from the next one's. */
    int expected = keeps_order(r) && r->attempt != PK_NONE && !pk_attempt_at(core, r->attempt)->waiting;
    if (expected) {
      let_go(core, r); /* nobody wants another try */
      continue;
    }
    PK_STAT_ADD(core->stats.requests_client_gone, !r->answered);
    pk_request_end(core, r);
  }
  client->requests = client->last_request = NULL;
}

void pk_request_drop_oneway(pk_core *core, const pk_conn *client) {
  pk_handle from = pk_conn_handle(client);
  for (uint32_t i = 0; i < core->request_pages * PK_PAGE; i++) {
    pk_request *r = pk_request_at(core, i);
    if (r->to.live != NULL && r->to.oneway && r->to.client == from) pk_request_fail(core, r, PK_STATUS_OVERLOADED, "", 0);
  }
}

pk_conn *pk_request_client(pk_core *core, const pk_request *r) {
  pk_conn *c = pk_conn_find(core, r->to.client);
  if (c != NULL && pk_conn_writes(c)) return c;
  PK_STAT_ADD(core->stats.requests_client_gone, 1);
  return NULL;
}

/* Where to build the answer, `size` bytes: the client's output, or aside while it is not its turn. */
static uint8_t *answer_room(pk_core *core, pk_request *r, pk_conn *client, uint32_t size) {
  if (!keeps_order(r) || client->requests == r) return pk_out_reserve(core, client, size);
  r->answer = pk_chunk_exact(core, size);
  if (r->answer == NULL) return NULL;
  count_held(core, r, r->answer->capacity);
  return r->answer->data;
}

/* The answer stands in answer_room, `size` bytes; the request is over. */
static void finish(pk_core *core, pk_request *r, pk_conn *client, uint32_t size) {
  int ordered = keeps_order(r);
  r->answered = 1;
  if (r->answer != NULL) {
    r->answer->end = size;
    pk_timer_stop(&core->wheel, &r->timer);
    release_attempt(core, r);
    pk_held_free(core, pk_request_unhold(core, r));
    return; /* sent by the loop below when the ones before it are through */
  }
  pk_out_commit(core, client, size);
  pk_request_end(core, r);
  while (ordered && pk_conn_writes(client)) {
    pk_request *next = client->requests;
    if (next == NULL || !next->answered) break;
    pk_chunk *k = next->answer;
    if (pk_conn_send(core, client, k->data, k->end) == NULL) {
      pk_conn_close(core, client, 1);
      break;
    }
    pk_request_end(core, next);
  }
  pk_conn_queued(core, client);
}

static void no_room_for_answer(pk_core *core, pk_request *r, pk_conn *client) {
  PK_STAT_ADD(core->stats.closed_over_budget, 1);
  pk_conn_close(core, client, 1);
  if (r->to.live != NULL) pk_request_end(core, r);
}

void pk_request_answer(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  PK_STAT_ADD(core->stats.responses, 1);
  if (f->status == PK_STATUS_APP_ERROR) PK_STAT_ADD(core->stats.responses_app_error, 1);
  pk_conn *client = pk_request_client(core, r);
  if (client == NULL) {
    pk_request_end(core, r);
    return;
  }
  int renamed = r->to.named && !r->to.own, size = (int)f->size;
  uint8_t *to = answer_room(core, r, client, renamed ? pk_id_room(r->to.codec, f->size) : f->size);
  if (to == NULL) {
    no_room_for_answer(core, r, client);
    return;
  }
  if (renamed) {
    pk_slice id = pk_request_id(core, r);
    size = r->to.codec->splice_id(r->to.codec, data, f, id.data, id.size, to, pk_id_room(r->to.codec, f->size));
  } else {
    memcpy(to, data, f->size);
    if (r->to.codec->id_bytes > 0 && !r->to.own) r->to.codec->patch_id(r->to.codec, to, f, r->client_id);
  }
  if (size <= 0) {
    static const char text[] = "protokit: the answer cannot have the id of its request";
    pk_request_fail(core, r, PK_STATUS_INTERNAL, text, sizeof text - 1);
    return;
  }
  finish(core, r, client, (uint32_t)size);
}

static void count_error(pk_core *core, uint32_t status) {
  switch (status) {
    case PK_STATUS_NO_SERVICE: PK_STAT_ADD(core->stats.errors_no_service, 1); break;
    case PK_STATUS_BAD_REQUEST: PK_STAT_ADD(core->stats.errors_bad_request, 1); break;
    case PK_STATUS_TIMEOUT: PK_STAT_ADD(core->stats.errors_timeout, 1); break;
    case PK_STATUS_OVERLOADED: PK_STAT_ADD(core->stats.errors_overloaded, 1); break;
    case PK_STATUS_UNAVAILABLE: PK_STAT_ADD(core->stats.errors_unavailable, 1); break;
    case PK_STATUS_DENIED: PK_STAT_ADD(core->stats.errors_denied, 1); break;
    default: PK_STAT_ADD(core->stats.errors_internal, 1); break;
  }
}

void pk_request_fail(pk_core *core, pk_request *r, uint32_t status, const char *text, size_t size) {
  if (r->answered) return;
  count_error(core, status);
  if (r->to.oneway) {
    pk_request_end(core, r);
    return;
  }
  pk_conn *client = pk_request_client(core, r);
  if (client == NULL) {
    pk_request_end(core, r);
    return;
  }
  uint32_t most = r->to.codec->reply_max;
  uint8_t *to = answer_room(core, r, client, pk_reply_room(r->to.codec, most));
  int built = to == NULL ? -1
                         : r->to.codec->error(r->to.codec, status, r->to.named ? 0 : r->client_id, r->context, text,
                                           size < 512 ? size : 512, pk_reply_at(r->to.codec, to, most), most);
  if (r->to.named) built = pk_reply_id(r->to.codec, to, most, built, pk_request_id(core, r));
  if (built <= 0) {
    no_room_for_answer(core, r, client);
    return;
  }
  finish(core, r, client, (uint32_t)built);
}

/* "127.0.0.1:20881 (cluster demo)", as far as the request got. */
static void add_target(pk_message *m, const pk_request *r, const pk_endpoint *e) {
  const pk_table *t = r->to.live->table;
  if (r->to.cluster == PK_NONE) return;
  const pk_table_cluster *c = pk_table_cluster_at(t, r->to.cluster);
  for (uint32_t i = 0; e != NULL && i < c->endpoint_count; i++) {
    const pk_table_endpoint *te = pk_table_endpoint_at(t, c->endpoints + i);
    if (te->uid != e->uid) continue;
    pk_message_text(m, t, te->name);
    pk_message_add(m, " ");
    break;
  }
  pk_message_add(m, "(cluster ");
  pk_message_text(m, t, c->name);
  pk_message_add(m, ")");
}

static pk_endpoint *endpoint_of(const pk_core *core, const pk_request *r) {
  return r->attempt == PK_NONE ? NULL : pk_attempt_at(core, r->attempt)->endpoint;
}

void pk_request_timeout(pk_core *core, pk_request *r) {
  pk_endpoint *e = endpoint_of(core, r);
  pk_message m = {.size = 0};
  pk_handle close = 0;
  uint32_t ms = r->timeout_ms, filter_ms = r->to.live->table->limits.filter_ms;
  if (r->filtering) {
    pk_message_add(&m, "protokit: the filters did not decide");
    if (filter_ms < ms) ms = filter_ms;
  } else {
    pk_message_add(&m, "protokit: no answer from ");
    add_target(&m, r, e);
  }
  pk_message_add(&m, " within ");
  pk_message_number(&m, ms);
  pk_message_add(&m, " ms");
  if (e != NULL) {
    const pk_attempt *a = pk_attempt_at(core, r->attempt);
    PK_STAT_ADD(e->stats->timeouts, 1);
    if (!a->waiting) pk_endpoint_unanswered(core, a);
    const pk_conn *on = pk_conn_find(core, a->conn);
    if (on != NULL && !a->waiting && pk_slots_unclear(on, a)) close = a->conn;
  }
  pk_request_fail(core, r, PK_STATUS_TIMEOUT, m.data, m.size);
  pk_conn *c = pk_conn_find(core, close);
  if (c != NULL) pk_conn_close(core, c, 1);
}

int pk_request_may_retry(const pk_request *r, uint32_t why, int written) {
  if (r->held == NULL || r->to.oneway) return 0;
  const pk_plan *p = r->plan;
  int policy = (p->features & PK_F_RETRY) != 0;
  if (written) return policy && p->retry.idempotent && (p->retry.on & why) && r->to.tries < p->retry.attempts;
  uint32_t tries = policy && p->retry.attempts > FREE_TRIES ? p->retry.attempts : FREE_TRIES;
  return r->to.tries < tries;
}

static void retry(pk_core *core, pk_request *r) {
  pk_endpoint *failed = endpoint_of(core, r);
  release_attempt(core, r);
  if (pk_request_client(core, r) == NULL) {
    pk_request_end(core, r);
    return;
  }
  PK_STAT_ADD(core->stats.retries, 1);
  r->to.avoid = failed;
  pk_request_dispatch(core, r, r->held->data, &r->held->frame);
}

/* Why the proxy closed the connection, where it did. */
static void add_reason(const pk_core *core, pk_message *m, const pk_conn *c) {
  if (c == NULL || c->lost < PK_LOST_FORMAT) return;
  pk_message_add(m, ": protokit closed it: ");
  switch (c->lost) {
    case PK_LOST_FORMAT:
      pk_message_add(m, "what came is no frame of its protocol, wrong at byte ");
      pk_message_number(m, c->lost_at);
      break;
    case PK_LOST_LIMIT:
      pk_message_add(m, "a frame is larger than the limit of ");
      pk_message_number(m, core->limits.frame);
      pk_message_add(m, " bytes, and where it ends cannot be told");
      break;
    case PK_LOST_HALF:
      pk_message_add(m, "half a frame came, and then nothing for ");
      pk_message_number(m, core->limits.frame_ms);
      pk_message_add(m, " ms");
      break;
    case PK_LOST_SLOW: pk_message_add(m, "half a frame came, and nobody waits for it any more"); break;
    case PK_LOST_SILENT: pk_message_add(m, "it was silent, and did not answer a heartbeat either"); break;
    default: pk_message_add(m, "the buffers of this worker are full"); break;
  }
}

void pk_request_lost(pk_core *core, pk_request *r, uint32_t why, int written, uint8_t lost) {
  pk_endpoint *e = endpoint_of(core, r);
  int ours = lost == PK_LOST_EXHAUSTED;
  if (e != NULL && !ours) PK_STAT_ADD(e->stats->errors, 1);
  if (lost == PK_LOST_REFUSED) r->refused = 1;
  if (pk_request_may_retry(r, why, written)) {
    retry(core, r);
    return;
  }
  pk_message m = {.size = 0};
  pk_message_add(&m, lost == PK_LOST_REFUSED  ? "protokit: the greeting was refused by "
                     : ours                   ? "protokit: no descriptor or memory is left to connect to "
                     : why & PK_RETRY_ON_CONNECT_FAILURE ? "protokit: cannot connect to "
                                              : "protokit: the connection was lost to ");
  add_target(&m, r, e);
  if (why == PK_RETRY_ON_RESET) {
    pk_message_add(&m, written ? " after the request was sent" : " before the request was sent");
    add_reason(core, &m, pk_conn_find(core, pk_attempt_at(core, r->attempt)->conn));
  }
  pk_request_fail(core, r, ours ? PK_STATUS_OVERLOADED : PK_STATUS_UNAVAILABLE, m.data, m.size);
}

int pk_request_retry_answer(pk_core *core, pk_request *r, uint32_t status) {
  uint32_t why = status == PK_STATUS_OVERLOADED ? PK_RETRY_ON_OVERLOADED
                 : status == PK_STATUS_TIMEOUT  ? PK_RETRY_ON_TIMEOUT
                                                : 0;
  if (why == 0 || !pk_request_may_retry(r, why, 1)) return 0;
  retry(core, r);
  return 1;
}

static void choose_cluster(pk_core *core, pk_request *r) {
  const pk_table *t = r->to.live->table;
  const pk_plan *p = r->plan;
  r->to.cluster = p->cluster;
  if (!(p->features & PK_F_SPLIT)) return;
  const pk_split *s = PK_AT(t, pk_split, t->splits.at) + p->split;
  uint64_t at = p->split_total > 0 ? pk_random(core) % p->split_total : 0;
  for (uint32_t i = 0; i < p->split_count; i++) {
    r->to.cluster = s[i].cluster;
    if (at < s[i].weight) break;
    at -= s[i].weight;
  }
}

/* The connection to send it on (open or being opened), or NULL and why in *status. */
static pk_conn *choose(pk_core *core, pk_request *r, uint32_t *status) {
  return r->to.own ? pk_pinned_choose(core, r, status) : pk_pick(core, &r->to, status);
}

/* 0; PK_ERR_SPACE; PK_ERR_UNSUPPORTED when its id cannot be rewritten; PK_SLOT_REUSED. */
static int send(pk_core *core, pk_conn *c, const pk_request *r, pk_attempt *a, const uint8_t *data,
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

/* After the bytes are on their way: keep them only for a retry that may come, and only small ones. */
static void keep_for_retry(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  int wanted = (r->plan->features & PK_F_RETRY) != 0;
  int small = f->size <= core->limits.retry_buffer;
  if (wanted && small && r->held == NULL) pk_request_hold(core, r, data, f);
  if (wanted && (!small || r->held == NULL)) PK_STAT_ADD(core->stats.retries_too_large, 1);
  /* `data` and `f` may stand there: not used any more */
  if (!wanted || !small) pk_held_free(core, pk_request_unhold(core, r));
}

static void overloaded(pk_core *core, pk_request *r, const char *why) {
  pk_message m = {.size = 0};
  pk_message_add(&m, why);
  add_target(&m, r, NULL);
  pk_request_fail(core, r, PK_STATUS_OVERLOADED, m.data, m.size);
}

static void ending(pk_core *core, pk_request *r, const char *why) {
  pk_message m = {.size = 0};
  pk_message_add(&m, why);
  pk_message_add(&m, " ");
  add_target(&m, r, endpoint_of(core, r));
  pk_request_fail(core, r, PK_STATUS_UNAVAILABLE, m.data, m.size);
}

static void send_on(pk_core *core, pk_request *r, pk_conn *c, const uint8_t *data, const pk_frame *f);

/* No connection was chosen; `status` is choose's. */
static PK_RARE void not_sent(pk_core *core, pk_request *r, uint32_t status) {
  switch (status) {
    case PK_STATUS_OVERLOADED: overloaded(core, r, "protokit: every connection is full "); break;
    case PK_UP_SHARE:
      overloaded(core, r, "protokit: this client waits for as many answers as others may still ask for ");
      break;
    case PK_UP_METHOD:
      overloaded(core, r, "protokit: calls of this method wait for as many answers as others may still ask for ");
      break;
    case PK_UP_ENDING:
      ending(core, r, "protokit: the client's own connection was lost, or is ending: it has to connect again");
      break;
    default: {
      pk_message m = {.size = 0};
      pk_message_add(&m, "protokit: no endpoint can be reached ");
      add_target(&m, r, NULL);
      pk_message_add(&m, r->refused ? ": the greeting was refused"
                                    : ": there is none, or the last connections to them failed");
      pk_request_fail(core, r, PK_STATUS_UNAVAILABLE, m.data, m.size);
    }
  }
}

void pk_request_dispatch(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  r->to.tries++;
  if (r->to.cluster == PK_NONE) choose_cluster(core, r);
  uint32_t status;
  pk_conn *c = choose(core, r, &status);
  if (c == NULL) {
    not_sent(core, r, status);
    return;
  }
  send_on(core, r, c, data, f);
}

void pk_request_move(pk_core *core, pk_request *r, pk_conn *c) {
  release_attempt(core, r);
  send_on(core, r, c, r->held->data, &r->held->frame);
}

/* An attempt on this connection, at once or when it is open. */
static void send_on(pk_core *core, pk_request *r, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  if (pk_conn_is_opening(c) && r->held == NULL) pk_request_hold(core, r, data, f);
  pk_attempt *a = pk_attempt_new(core);
  if (a == NULL || (pk_conn_is_opening(c) && r->held == NULL)) {
    if (a != NULL) pk_attempt_free(core, a);
    overloaded(core, r, "protokit: buffers of this worker are full ");
    return;
  }
  a->conn = pk_conn_handle(c);
  a->endpoint = c->endpoint;
  a->request = pk_request_handle(r);
  a->started = core->now;
  r->attempt = a->index;
  a->shared = !c->pinned;
  c->endpoint->active++;
  c->endpoint->shared_active += a->shared;
  c->endpoint->waiting[r->to.bucket] += a->shared;
  PK_STAT_ADD(c->endpoint->stats->active, 1);
  PK_STAT_ADD(c->endpoint->stats->requests, 1);
  c->last_used = core->now;
  if (r->timer.due > c->deadline) c->deadline = r->timer.due;
  if (c->in_flight++ == 0) {
    c->busy_since = core->now;
    pk_conn_timer(core, c);
  }
  if (pk_conn_is_opening(c)) {
    a->waiting = 1;
    if (c->waiting_tail == PK_NONE) {
      c->waiting_head = a->index;
    } else {
      pk_attempt_at(core, c->waiting_tail)->next = a->index;
    }
    c->waiting_tail = a->index;
    return;
  }
  pk_request_send(core, r, c, a, data, f);
}

/* `why` is send's. */
static PK_RARE void send_failed(pk_core *core, pk_request *r, pk_conn *c, int why) {
  if (why == PK_ERR_UNSUPPORTED) {
    static const char text[] = "protokit: the request cannot have another id";
    pk_request_fail(core, r, PK_STATUS_INTERNAL, text, sizeof text - 1);
  } else if (why == PK_SLOT_REUSED) {
    c->leaving |= PK_LEAVE_RETIRED;
    ending(core, r, "protokit: another request with this id was given up, and its answer may still come: the client "
                    "has to connect again");
  } else {
    overloaded(core, r, "protokit: buffers of this worker are full ");
  }
}

void pk_request_send(pk_core *core, pk_request *r, pk_conn *c, pk_attempt *a, const uint8_t *data,
                     const pk_frame *f) {
  int sent = send(core, c, r, a, data, f);
  if (sent != 0) {
    send_failed(core, r, c, sent);
    return;
  }
  if (r->to.oneway) {
    pk_request_end(core, r);
  } else if (r->held != NULL || (r->plan->features & PK_F_RETRY)) {
    keep_for_retry(core, r, data, f);
  }
}
