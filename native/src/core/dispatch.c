/* dispatch.c: a request's way: the steps of its plan, a connection, another try, and the time that it has. */
#include "core/internal.h"

enum { FREE_TRIES = 3 }; /* of a request that no byte of was written, without any retry policy */

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
  if (c->subset.size > 0) pk_message_add(m, ", ");
  pk_message_text(m, t, c->subset);
  pk_message_add(m, ")");
}

static int may_retry(const pk_request *r, uint32_t why, int written) {
  if (r->held == NULL || r->to.oneway) return 0;
  const pk_plan *p = r->plan;
  int policy = (p->features & PK_F_RETRY) != 0;
  if (written) return policy && p->retry.idempotent && (p->retry.on & why) && r->to.tries < p->retry.attempts;
  uint32_t tries = policy && p->retry.attempts > FREE_TRIES ? p->retry.attempts : FREE_TRIES;
  return r->to.tries < tries;
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
    case PK_LOST_LAST: pk_message_add(m, "its server said that it answers no more"); break;
    case PK_LOST_STEP: pk_message_add(m, "an answer came with another id than that of the request whose turn it was"); break;
    case PK_LOST_SILENT: pk_message_add(m, "it was silent, and did not answer a heartbeat either"); break;
    case PK_LOST_CUT: pk_message_add(m, "its client left off in the middle of a request"); break;
    default: pk_message_add(m, "the buffers of this worker are full"); break;
  }
}

/* The connection to send it on (open or being opened), or NULL and why in *status. */
static pk_conn *choose(pk_core *core, pk_request *r, uint32_t *status) {
  return r->to.own ? pk_pinned_choose(core, r, status) : pk_pick(core, &r->to, status);
}

/* After the bytes are on their way: keep them only for another attempt that may come, and only small ones. */
static PK_RARE void keep(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  int wanted = (r->plan->features & PK_F_KEEP) && !(r->parts & PK_PART_ASKS);
  int small = f->size <= core->limits.retry_buffer;
  if (wanted && small && r->held == NULL) pk_request_hold(core, r, data, f);
  if (wanted && (!small || r->held == NULL)) PK_STAT_ADD(core->stats.retries_too_large, 1);
  /* `data` and `f` may stand there: not used any more */
  if (!wanted || !small) pk_held_free(core, pk_request_unhold(core, r));
  uint32_t hedge = r->to.tries == 1 && !r->to.own ? r->plan->hedge_ms : 0;
  uint64_t then = core->now / PK_MS + 1 + hedge;
  if (hedge > 0 && then < r->timer.due) pk_timer_start(&core->wheel, &r->timer, then);
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
  add_target(&m, r, NULL);
  pk_request_fail(core, r, PK_STATUS_UNAVAILABLE, m.data, m.size);
}

/* A subset that no endpoint is in: another try would find none either. */
static int nobody_has(pk_core *core, pk_request *r) {
  const pk_table *t = r->to.live->table;
  const pk_table_cluster *c = pk_table_cluster_at(t, r->to.cluster);
  if (c->subset.size == 0 || c->endpoint_count > 0) return 0;
  pk_message m = {.size = 0};
  pk_message_add(&m, "protokit: no endpoint of cluster ");
  pk_message_text(&m, t, c->name);
  pk_message_add(&m, " has ");
  pk_message_text(&m, t, c->subset);
  pk_request_fail(core, r, PK_STATUS_NO_SERVICE, m.data, m.size);
  return 1;
}

/* No connection was chosen; `status` is choose's. */
static PK_RARE void not_sent(pk_core *core, pk_request *r, uint32_t status) {
  switch (status) {
    case PK_STATUS_OVERLOADED: overloaded(core, r, "protokit: every connection is full "); break;
    case PK_PICK_SHARE:
      overloaded(core, r, "protokit: this client waits for as many answers as others may still ask for ");
      break;
    case PK_PICK_METHOD:
      overloaded(core, r, "protokit: calls of this method wait for as many answers as others may still ask for ");
      break;
    case PK_PICK_ENDING:
      ending(core, r, "protokit: the client's own connection was lost, or is ending: it has to connect again");
      break;
    default: {
      if (nobody_has(core, r)) return;
      pk_message m = {.size = 0};
      pk_message_add(&m, "protokit: no endpoint can be reached ");
      add_target(&m, r, NULL);
      pk_message_add(&m, r->refused ? ": the greeting was refused"
                                    : ": there is none, or the last connections to them failed");
      pk_request_fail(core, r, PK_STATUS_UNAVAILABLE, m.data, m.size);
    }
  }
}

/* 0; PK_ERR_SPACE; PK_ERR_UNSUPPORTED when its id cannot be rewritten; PK_SLOT_REUSED. */
static int send(pk_core *core, pk_conn *c, const pk_request *r, pk_attempt *a, const uint8_t *data,
               const pk_frame *f) {
  int oneway = f->kind == PK_KIND_ONEWAY, size = (int)f->size;
  int renamed = c->named && c->rewrites && r->id_size != PK_ABSENT;
  uint32_t room = renamed ? pk_id_room(c->codec, f->size) : f->size;
  uint8_t *to = pk_out_reserve(core, c, room);
  if (to == NULL) return PK_ERR_SPACE;
  if (!oneway) {
    int taken = pk_slots_take(c, a, r);
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
    if (c->rewrites && !c->named) c->codec->patch_id(c->codec, to, f, a->wire_id);
  }
  a->out_at = c->out_total;
  pk_out_commit(core, c, (uint32_t)size);
  return 0;
}

/* `why` is send's. */
static PK_RARE void send_failed(pk_core *core, pk_request *r, pk_conn *c, pk_attempt *a, int why) {
  pk_attempt_end(core, r, a, PK_ATTEMPT_GIVEN_UP);
  if (why == PK_SLOT_REUSED) c->leaving |= PK_LEAVE_RETIRED;
  if (r->attempt != PK_NONE) return; /* another may be answered */
  if (why == PK_ERR_UNSUPPORTED) {
    static const char text[] = "protokit: the request cannot have another id";
    pk_request_fail(core, r, PK_STATUS_INTERNAL, text, sizeof text - 1);
  } else if (why == PK_SLOT_REUSED) {
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
    send_failed(core, r, c, a, sent);
    return;
  }
  if (r->parts & PK_PART_ASKS) pk_pieces_sent(core, r, c);
  if (r->to.oneway) {
    pk_request_end(core, r);
  } else if (r->held != NULL || (r->plan->features & PK_F_KEEP)) {
    keep(core, r, data, f);
  }
}

/* An attempt on this connection, at once or when it is open. */
static void send_on(pk_core *core, pk_request *r, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  int opening = pk_conn_is_opening(c);
  if (opening && r->held == NULL) pk_request_hold(core, r, data, f);
  pk_attempt *a = opening && r->held == NULL ? NULL : pk_attempt_begin(core, r, c);
  if (a == NULL) {
    if (r->attempt == PK_NONE) overloaded(core, r, "protokit: buffers of this worker are full ");
    return;
  }
  r->state = PK_REQUEST_SENT;
  if (!opening) pk_request_send(core, r, c, a, data, f);
}

void pk_request_move(pk_core *core, pk_request *r, pk_attempt *a, pk_conn *c) {
  pk_attempt_end(core, r, a, PK_ATTEMPT_GIVEN_UP);
  send_on(core, r, c, r->held->data, &r->held->frame);
}

/* One more attempt. */
static void dispatch(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  r->to.tries++;
  if (r->to.cluster == PK_NONE && !pk_choose_cluster(core, r, data, f)) return;
  uint32_t status;
  pk_conn *c = choose(core, r, &status);
  if (c == NULL) {
    if (r->attempt == PK_NONE) not_sent(core, r, status);
    return;
  }
  send_on(core, r, c, data, f);
}

/* The steps of its plan that are left; 1: it may be sent. */
static PK_RARE int went_through(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  int said = PK_STEP_ON;
  while (r->steps != 0 && said == PK_STEP_ON) {
    r->step = core->steps[__builtin_ctz(r->steps)];
    r->steps &= (uint16_t)(r->steps - 1);
    said = r->step->run(core, r, data, f);
  }
  return said == PK_STEP_ON;
}

void pk_request_run(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  if (r->steps == 0 || went_through(core, r, data, f)) dispatch(core, r, data, f);
}

void pk_request_go_on(pk_core *core, pk_request *r) {
  r->state = PK_REQUEST_NEW;
  pk_timer_start(&core->wheel, &r->timer, pk_request_deadline(r));
  pk_request_run(core, r, r->held->data, &r->held->frame);
}

/* An attempt is over without an answer: another one, where its client still waits and none is under way. */
static void retry(pk_core *core, pk_request *r, const pk_endpoint *failed) {
  if (pk_request_client(core, r) == NULL) {
    pk_request_end(core, r);
    return;
  }
  PK_STAT_ADD(core->stats.retries, 1);
  r->to.avoid = (pk_endpoint *)(uintptr_t)failed;
  dispatch(core, r, r->held->data, &r->held->frame);
}

int pk_request_retry_answer(pk_core *core, pk_request *r, pk_attempt *a, uint32_t status) {
  uint32_t why = status == PK_STATUS_OVERLOADED ? PK_RETRY_ON_OVERLOADED
                 : status == PK_STATUS_TIMEOUT  ? PK_RETRY_ON_TIMEOUT
                                                : 0;
  if (why == 0 || !may_retry(r, why, 1)) return 0;
  const pk_endpoint *failed = a->endpoint;
  pk_attempt_end(core, r, a, PK_ATTEMPT_FAILED);
  if (r->attempt == PK_NONE) retry(core, r, failed);
  return 1;
}

void pk_request_lost(pk_core *core, pk_request *r, pk_attempt *a, uint32_t why, int written) {
  const pk_conn *c = pk_conn_find(core, a->conn);
  const pk_endpoint *e = a->endpoint;
  uint8_t lost = c == NULL ? PK_LOST_ITSELF : c->lost;
  int ours = lost == PK_LOST_EXHAUSTED;
  pk_attempt_end(core, r, a, ours ? PK_ATTEMPT_GIVEN_UP : PK_ATTEMPT_FAILED);
  if (lost == PK_LOST_REFUSED) r->refused = 1;
  if (r->attempt != PK_NONE) return; /* another may be answered */
  if (may_retry(r, why, written)) {
    retry(core, r, e);
    return;
  }
  pk_message m = {.size = 0};
  pk_message_add(&m, lost == PK_LOST_REFUSED               ? "protokit: the greeting was refused by "
                     : ours                                ? "protokit: no descriptor or memory is left to connect to "
                     : why == PK_RETRY_ON_CONNECT_FAILURE ? "protokit: cannot connect to "
                                                           : "protokit: the connection was lost to ");
  add_target(&m, r, e);
  if (why == PK_RETRY_ON_RESET) {
    pk_message_add(&m, (r->parts & PK_PART_CAME) ? " after a part of its answer"
                       : written     ? " after the request was sent"
                                     : " before the request was sent");
    add_reason(core, &m, c);
  }
  pk_request_fail(core, r, ours ? PK_STATUS_OVERLOADED : PK_STATUS_UNAVAILABLE, m.data, m.size);
}

void pk_request_late(pk_core *core, pk_request *r, const char *what, const pk_endpoint *e, uint32_t ms) {
  pk_message m = {.size = 0};
  pk_message_add(&m, what);
  if (e != NULL) add_target(&m, r, e);
  pk_message_add(&m, " within ");
  pk_message_number(&m, ms);
  pk_message_add(&m, " ms");
  pk_request_fail(core, r, PK_STATUS_TIMEOUT, m.data, m.size);
}

/* A late answer could not be told from another request's on the same connection: that one goes. */
static pk_handle unclear_on(const pk_core *core, const pk_attempt *a) {
  const pk_conn *c = a->waiting ? NULL : pk_conn_find(core, a->conn);
  return c != NULL && pk_slots_unclear(core, c, a) ? a->conn : 0;
}

/* A second attempt, elsewhere if that can be. */
static void hedge(pk_core *core, pk_request *r) {
  pk_timer_start(&core->wheel, &r->timer, pk_request_deadline(r));
  if (r->plan->hedge_ms == 0 || r->held == NULL || r->attempt == PK_NONE) return;
  r->to.avoid = pk_attempt_at(core, r->attempt)->endpoint;
  dispatch(core, r, r->held->data, &r->held->frame);
}

/* Its answer may have come: its client's own servers are not read until the client has taken what it has. One that takes
 * nothing at all in that time has no more. */
static int is_not_heard(const pk_core *core, const pk_request *r) {
  const pk_conn *client = r->to.own ? pk_conn_find(core, r->to.client) : NULL;
  return client != NULL && (client->flow & PK_FLOW_FULL) && client->last_write > r->started;
}

void pk_request_timeout(pk_core *core, pk_request *r) {
  if (r->state == PK_REQUEST_WAITING) {
    r->step->due(core, r);
    return;
  }
  if (core->now / PK_MS < pk_request_deadline(r)) {
    hedge(core, r);
    return;
  }
  if (is_not_heard(core, r)) { /* its time stands still */
    r->started = core->now;
    pk_timer_start(&core->wheel, &r->timer, pk_request_deadline(r));
    return;
  }
  const pk_endpoint *e = NULL;
  pk_handle unclear[PK_ATTEMPTS] = {0};
  for (uint32_t i = 0; i < PK_ATTEMPTS && r->attempt != PK_NONE; i++) {
    pk_attempt *a = pk_attempt_at(core, r->attempt);
    e = a->endpoint;
    unclear[i] = unclear_on(core, a);
    pk_attempt_end(core, r, a, PK_ATTEMPT_TIMED_OUT);
  }
  pk_request_late(core, r, (r->parts & PK_PART_CAME) ? "protokit: no more of its answer from " : "protokit: no answer from ", e, r->timeout_ms);
  for (uint32_t i = 0; i < PK_ATTEMPTS; i++) {
    pk_conn *c = pk_conn_find(core, unclear[i]);
    if (c != NULL) pk_conn_close(core, c, 1);
  }
}
