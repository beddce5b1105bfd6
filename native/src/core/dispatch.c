/* dispatch.c: a request's way: the steps of its plan, a connection, and the time that it has. */
#include "core/internal.h"
#include "wire/ask.h"

/* "127.0.0.1:20881 (cluster demo)", as far as the request got. */
void pk_request_add_target(pk_message *m, const pk_request *r, const pk_endpoint *e) {
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

/* The connection to send it on (open or being opened), or NULL and why in *status. */
static pk_conn *choose(pk_core *core, pk_request *r, uint32_t *status) {
  return r->to.own ? pk_pinned_choose(core, r, status) : pk_pick(core, &r->to, status);
}

/* Whether an attempt of it waits for its connection. */
static int waits(const pk_core *core, const pk_request *r) {
  uint32_t i = r->attempt;
  while (i != PK_NONE && !pk_attempt_at(core, i)->waiting) i = pk_attempt_at(core, i)->sibling;
  return i != PK_NONE;
}

/* After the bytes are on their way: keep them only for another attempt that may come, and only small ones. */
static PK_RARE void keep(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  int wanted = (r->plan->features & PK_F_KEEP) && !r->to.own;
  int small = f->size <= core->limits.retry_buffer;
  if (wanted && waits(core, r)) return; /* the other attempt will send it */
  if (wanted && small && r->held == NULL) pk_request_hold(core, r, data, f);
  if (wanted && (!small || r->held == NULL)) PK_STAT_ADD(core->stats.retries_too_large, 1);
  /* `data` and `f` may stand there: not used any more */
  if (!wanted || !small) pk_held_free(core, pk_request_unhold(core, r));
}

static void overloaded(pk_core *core, pk_request *r, const char *why) {
  pk_message m = {.size = 0};
  pk_message_add(&m, why);
  pk_request_add_target(&m, r, NULL);
  pk_request_fail(core, r, PK_STATUS_OVERLOADED, m.data, m.size);
}

static void ending(pk_core *core, pk_request *r, const char *why) {
  pk_message m = {.size = 0};
  pk_message_add(&m, why);
  pk_message_add(&m, " ");
  pk_request_add_target(&m, r, NULL);
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
  if (r->placed) pk_breaker_back(r);
  if (r->attempt != PK_NONE) return; /* another may be answered */
  switch (status) {
    case PK_PICK_CONNECTIONS:
    case PK_PICK_ENDPOINT_CONNECTIONS:
    case PK_PICK_ENDPOINT_REQUESTS: pk_breaker_refuse(core, r, status); break;
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
      pk_request_add_target(&m, r, NULL);
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

/* It with the time that is left; NULL: it goes as it came, which has no place for that. */
static pk_held *with_left(pk_core *core, const pk_conn *c, const pk_request *r, const uint8_t *data, const pk_frame *f) {
  pk_held *h = pk_held_new(core, f->size + PK_BUDGET_MORE);
  int size = h == NULL ? PK_ERR_SPACE : pk_budget_in(c->codec, data, f, pk_retry_left(core, r, f), h->data);
  if (size > 0) {
    h->frame = (pk_frame){.from = PK_FROM_CLIENT};
    int framed = pk_frame_alone(c->codec, h->data, (uint32_t)size, (uint32_t)size, &h->frame);
    if (framed == PK_OK && h->frame.size == (uint32_t)size && h->frame.kind == f->kind) return h;
  }
  pk_held_free(core, h);
  PK_STAT_ADD(core->stats.timeouts_not_passed_on, 1);
  return NULL;
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

static void send_as_it_is(pk_core *core, pk_request *r, pk_conn *c, pk_attempt *a, const uint8_t *data, const pk_frame *f) {
  int sent = send(core, c, r, a, data, f);
  if (sent != 0) {
    send_failed(core, r, c, a, sent);
    return;
  }
  if (r->parts & PK_PART_ASKS) pk_pieces_sent(core, r, c);
  if (r->to.oneway) {
    if (!(r->parts & PK_PART_COPY)) PK_STAT_ADD(core->stats.oneway, 1);
    pk_request_end(core, r);
  } else if (r->held != NULL || (r->plan->features & PK_F_KEEP)) {
    keep(core, r, data, f);
  }
}

static PK_RARE void send_with_left(pk_core *core, pk_request *r, pk_conn *c, pk_attempt *a, const uint8_t *data,
                                   const pk_frame *f) {
  pk_held *left = with_left(core, c, r, data, f);
  send_as_it_is(core, r, c, a, left == NULL ? data : left->data, left == NULL ? f : &left->frame);
  pk_held_free(core, left);
}

void pk_request_send(pk_core *core, pk_request *r, pk_conn *c, pk_attempt *a, const uint8_t *data, const pk_frame *f) {
  if (r->plan->features & PK_F_PASS_ON) {
    send_with_left(core, r, c, a, data, f);
  } else {
    send_as_it_is(core, r, c, a, data, f);
  }
}

static PK_RARE void no_room(pk_core *core, pk_request *r) {
  if (r->placed) pk_breaker_back(r);
  if (r->attempt == PK_NONE) overloaded(core, r, "protokit: buffers of this worker are full ");
}

/* What its plan asks of an attempt that has begun; 0: it is over. */
static __attribute__((noinline)) int begun(pk_core *core, pk_request *r, pk_attempt *a) {
  if ((r->plan->features & PK_F_BREAKER) && !pk_breaker_begun(core, r, a)) return 0;
  if (r->plan->features & PK_F_TIMED) pk_retry_timer(core, r);
  return 1;
}

/* An attempt on this connection, at once or when it is open. */
static void send_on(pk_core *core, pk_request *r, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  int opening = pk_conn_is_opening(c);
  if (opening && r->held == NULL) pk_request_hold(core, r, data, f);
  pk_attempt *a = opening && r->held == NULL ? NULL : pk_attempt_begin(core, r, c);
  if (a == NULL) {
    no_room(core, r);
    return;
  }
  r->state = PK_REQUEST_SENT;
  if ((r->plan->features & (PK_F_TIMED | PK_F_BREAKER)) && !begun(core, r, a)) return;
  if (!opening) pk_request_send(core, r, c, a, data, f);
}

void pk_request_move(pk_core *core, pk_request *r, pk_attempt *a, pk_conn *c) {
  int hedge = r->to.hedge == a->index + 1;
  pk_handle self = pk_request_handle(r);
  if (a->placed) pk_breaker_moves(r, a);
  pk_attempt_end(core, r, a, PK_ATTEMPT_GIVEN_UP);
  send_on(core, r, c, r->held->data, &r->held->frame);
  if (pk_request_find(core, self) != r) return;
  if (hedge) {
    r->to.hedge = r->attempt == PK_NONE ? PK_NONE : r->attempt + 1;
  } else if (r->attempt != PK_NONE && r->to.hedge == r->attempt + 1) {
    r->to.hedge = PK_NONE; /* that one has ended, and this has its place */
  }
}

/* What its plan asks of it before one more attempt; 0: there is none. */
static __attribute__((noinline)) int may_begin(pk_core *core, pk_request *r) {
  if ((r->plan->features & (PK_F_RETRY | PK_F_HEDGE)) && r->to.tries == 1) pk_retry_asked(core, r);
  return !(r->plan->features & PK_F_BREAKER) || pk_breaker_enter(core, r);
}

/* One more attempt. */
static void dispatch(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  r->to.tries++;
  if (r->to.cluster == PK_NONE && !pk_choose_cluster(core, r, data, f)) return;
  if ((r->plan->features & (PK_F_RETRY | PK_F_HEDGE | PK_F_BREAKER)) && !may_begin(core, r)) return;
  uint32_t status;
  pk_conn *c = choose(core, r, &status);
  if (c == NULL) {
    not_sent(core, r, status);
    return;
  }
  send_on(core, r, c, data, f);
}

void pk_request_try(pk_core *core, pk_request *r) {
  pk_question_over(core);
  dispatch(core, r, r->held->data, &r->held->frame);
}

/* Where a request's headers send it is known before a step that may change them. 0: it was answered. */
static int is_chosen(pk_core *core, pk_request *r, uint32_t step, const uint8_t *data, const pk_frame *f) {
  if (step != PK_STEP_FILTER && step != PK_STEP_CHANGE) return 1;
  if (r->to.cluster != PK_NONE || !(r->plan->features & (PK_F_SPLIT | PK_F_CHOICE))) return 1;
  return pk_choose_cluster(core, r, data, f);
}

/* The steps of its plan that are left, and then it is sent. */
static PK_RARE void go_through(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  while (r->steps != 0) {
    uint32_t step = (uint32_t)__builtin_ctz(r->steps);
    if (!is_chosen(core, r, step, data, f)) return;
    r->step = core->steps[step];
    r->steps &= (uint16_t)(r->steps - 1);
    int said = r->step->run(core, r, data, f);
    if (said == PK_STEP_CHANGED) {
      pk_question_over(core);
      data = r->held->data;
      f = &r->held->frame;
    } else if (said != PK_STEP_ON) {
      return;
    }
  }
  dispatch(core, r, data, f);
}

void pk_request_run(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  if (r->steps == 0) {
    dispatch(core, r, data, f);
  } else {
    go_through(core, r, data, f);
  }
}

void pk_request_go_on(pk_core *core, pk_request *r) {
  r->state = PK_REQUEST_NEW;
  pk_question_over(core);
  pk_timer_start(&core->wheel, &r->timer, pk_request_deadline(r));
  pk_request_run(core, r, r->held->data, &r->held->frame);
}

void pk_request_add_rule(pk_message *m, const pk_request *r) {
  const pk_table *t = r->to.live->table;
  uint32_t plan = (uint32_t)(r->plan - pk_table_plan_at(t, 0));
  int is_listeners = 0;
  for (uint32_t i = 0; i < t->listeners.count && !is_listeners; i++) {
    const pk_table_listener *l = pk_table_listener_at(t, i);
    is_listeners = l->routes == PK_NONE && l->plan == plan;
  }
  pk_message_add(m, is_listeners ? "listener " : "rule ");
  pk_message_text(m, t, r->plan->name);
}

void pk_request_late(pk_core *core, pk_request *r, const char *what, const pk_endpoint *e, uint32_t ms) {
  pk_message m = {.size = 0};
  pk_message_add(&m, what);
  if (e != NULL) pk_request_add_target(&m, r, e);
  pk_message_add(&m, " within ");
  pk_message_number(&m, ms);
  pk_message_add(&m, " ms (");
  pk_request_add_rule(&m, r);
  pk_message_add(&m, ")");
  pk_request_fail(core, r, PK_STATUS_TIMEOUT, m.data, m.size);
}
