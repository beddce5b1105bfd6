/* client.c: connections of clients: what they ask, and their end. */
#include "core/internal.h"
#include "policy/timeout.h"

/* The longest frame whose end is waited for when it was refused, bytes. */
enum { MAX_SKIP = 64 * 1024 * 1024 };

static void ended(pk_core *core, pk_conn *c) {
  if (c->codec == NULL && c->state == PK_CONN_OPEN && c->in != NULL) pk_detect_now(core, c, 1);
}

/* What replies will need of its request, of which `size` bytes are there. */
static PK_RARE void keep(const pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f) {
  const pk_codec *codec = c->codec;
  if (c->lately == NULL || (f->kind != PK_KIND_REQUEST && f->kind != PK_KIND_ONEWAY)) return;
  int kept = codec->keep(codec, data, f->size > 0 && f->size < size ? f->size : size, f, c->lately->data, codec->keep_max);
  c->lately->end = kept > 0 && (uint32_t)kept <= codec->keep_max ? (uint32_t)kept : 0;
}

/* An error reply where the caller is known; what it asked before is still answered. */
static void bad(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f, int error) {
  PK_STAT_ADD(core->stats.protocol_errors_client, 1);
  pk_malformed_tell(core, c, data, size, f->error_at, error);
  if (c->codec != NULL && f->kind == PK_KIND_REQUEST &&
      (!c->named || pk_id_of(c->codec, data, f, size).data != NULL)) {
    if (c->beside) keep(c, data, size, f);
    pk_request *r = pk_request_new(core, c, data, size, f);
    pk_message m = {.size = 0};
    pk_message_add(&m, error == PK_ERR_LIMIT ? "protokit: the frame is larger than the limit of "
                                             : "protokit: malformed frame, wrong at byte ");
    pk_message_number(&m, error == PK_ERR_LIMIT ? core->limits.frame : f->error_at);
    if (error == PK_ERR_LIMIT) pk_message_add(&m, " bytes");
    if (r != NULL) pk_request_fail(core, r, PK_STATUS_BAD_REQUEST, m.data, m.size);
  }
  if (c->state != PK_CONN_OPEN) return;
  pk_conn_drop_input(core, c);
  c->skip = error == PK_ERR_LIMIT && f->size > size && f->size <= MAX_SKIP ? (uint32_t)(f->size - size) : 0;
}

static void no_route(pk_core *core, pk_request *r, const pk_table_listener *l,
                     const pk_destination *d) {
  pk_message m;
  pk_message_begin(&m, "protokit: no route on listener '");
  pk_message_text(&m, r->to.live->table, l->name);
  pk_message_add(&m, "' for ");
  pk_request_add_call(&m, d);
  pk_message_add(&m, " version '");
  pk_message_bytes(&m, d->version.data, d->version.size < 40 ? d->version.size : 40);
  pk_message_add(&m, "' group '");
  pk_message_bytes(&m, d->group.data, d->group.size < 40 ? d->group.size : 40);
  pk_message_add(&m, "'");
  pk_request_fail(core, r, PK_STATUS_NO_SERVICE, m.data, m.size);
}

static void calls_back(pk_core *core, pk_request *r, const pk_table_listener *l,
                       const pk_destination *d) {
  pk_message m = {.size = 0};
  pk_message_add(&m, "protokit: service '");
  pk_message_bytes(&m, d->service.data, d->service.size < 200 ? d->service.size : 200);
  pk_message_add(&m, "' calls its clients back, which needs 'mode: pinned' on listener '");
  pk_message_text(&m, r->to.live->table, l->name);
  pk_message_add(&m, "'");
  pk_request_fail(core, r, PK_STATUS_BAD_REQUEST, m.data, m.size);
}

static int admitted(pk_core *core, pk_request *r, const pk_conn *c) {
  const pk_limits *l = &core->limits;
  if (core->request_count - core->aside > l->in_flight) {
    pk_request_overloaded(core, r, "requests in flight of this worker are at the limit of ", l->in_flight);
  } else if (c->in_flight > l->in_flight_per_connection) {
    pk_request_overloaded(core, r, "requests in flight of this connection are at the limit of ",
               l->in_flight_per_connection);
  } else if (core->full) {
    pk_request_overloaded(core, r, "buffers of this worker are at the limit of ", l->buffer);
  } else {
    return 1;
  }
  return 0;
}

/* Its receiver may read what its codec does not: it is not sent where another service's requests go. */
static void unreadable(pk_core *core, pk_request *r, const pk_destination *d, int error) {
  pk_message m = {.size = 0};
  pk_message_add(&m, "protokit: the request's service and method cannot be read: ");
  pk_message_add(&m, error == PK_ERR_LIMIT ? "it is malformed, or holds more than the proxy reads" : "it is malformed");
  if (d->service.size > 0) {
    pk_message_add(&m, " behind ");
    pk_request_add_call(&m, d);
  }
  pk_request_fail(core, r, PK_STATUS_BAD_REQUEST, m.data, m.size);
}

/* A rule asks for what cannot be read: another that matches may not be meant. */
static PK_RARE void headers_unreadable(pk_core *core, pk_request *r, const pk_question *q) {
  const pk_destination *d = &q->to;
  const pk_table *t = r->to.live->table;
  pk_message m = {.size = 0};
  pk_message_add(&m, "protokit: rule ");
  pk_message_text(&m, t, pk_table_plan_at(t, q->unread)->name);
  pk_message_add(&m, " asks for headers or arguments of the request, which cannot be read: ");
  pk_message_add(&m, q->error == PK_ERR_LIMIT ? "they hold more than the proxy reads" : "they are malformed");
  pk_message_add(&m, ": ");
  pk_request_add_call(&m, d);
  pk_request_fail(core, r, PK_STATUS_BAD_REQUEST, m.data, m.size);
}

/* The same for a destination that is not known yet, or that rules ask more of. */
static PK_RARE uint32_t look_up(pk_core *core, pk_request *r, const pk_table_listener *l, pk_question *q) {
  uint32_t plan = pk_table_route(r->to.live->table, l->routes, q);
  r->to.bucket = pk_table_bucket(&q->to);
  if (q->error != 0) {
    headers_unreadable(core, r, q);
    return PK_NONE;
  }
  if (r->to.live == core->live) pk_table_remember(&core->cached_routes, l->routes, q, plan, r->to.bucket);
  if (plan == PK_NONE) no_route(core, r, l, &q->to);
  return plan;
}

/* The destination, and headers that anybody may ask for where its codec meets them on the way. */
static int read_all(const pk_request *r, const pk_table_listener *l, pk_question *q) {
  const pk_codec *codec = r->to.codec;
  if (!PK_CODEC_HAS(codec, destination_headers) || codec->destination_headers == NULL)
    return codec->destination(codec, q->data, q->frame, &q->to);
  const pk_wanted *wanted = l->depth == PK_DEPTH_HEADERS ? pk_table_wanted(r->to.live->table) : NULL;
  if (wanted != NULL) wanted += l->fills; /* the second is of who looks at them all the same */
  q->found.there = 0;
  int result = codec->destination_headers(codec, q->data, q->frame, &q->to, wanted, &q->found);
  if (result == PK_OK && wanted != NULL && (q->found.same == 0 || q->found.same & PK_SAID_TOO)) q->headers = PK_HEADERS_FOUND;
  q->found.same &= ~PK_SAID_TOO;
  return result;
}

/* Where a request goes: its plan, or PK_NONE after it was answered with the reason. */
static uint32_t route(pk_core *core, pk_conn *c, pk_request *r, const pk_table_listener *l,
                      const uint8_t *data, const pk_frame *f, uint32_t *budget) {
  *budget = f->timeout_ms;
  if (l->routes == PK_NONE && l->guard == PK_GUARD_NONE) return l->plan;
  pk_question *q = pk_question_begin(core, c, l, r, data, f);
  if (l->routes == PK_NONE && l->guard < PK_GUARD_REQUEST) return pk_guard_lets(core, c, r, l, q) ? l->plan : PK_NONE;
  pk_destination *d = &q->to;
  int result = read_all(r, l, q);
  if (result == PK_ERR_UNSUPPORTED) {
    *d = (pk_destination){.context = f->context}; /* only a rule that asks for nothing matches */
    q->blank = 1;
  } else if (result != PK_OK) {
    unreadable(core, r, d, result);
    return PK_NONE;
  }
  q->led = 1;
  r->context = d->context;
  if (l->guard != PK_GUARD_NONE && !pk_guard_lets(core, c, r, l, q)) return PK_NONE;
  if (l->routes == PK_NONE) return l->plan;
  if (d->flags & PK_DESTINATION_CALLS_BACK && !l->pinned && !pk_codec_is_pinned(r->to.codec)) {
    calls_back(core, r, l, d);
    return PK_NONE;
  }
  if (d->timeout_ms != 0) *budget = d->timeout_ms;
  if (r->to.live == core->live) {
    const pk_known_route *known = pk_table_recall(r->to.live->table, &core->cached_routes, l->routes, q);
    if (known != NULL) {
      r->to.bucket = known->bucket;
      if (known->plan == PK_NONE) no_route(core, r, l, d);
      return known->plan;
    }
  }
  return look_up(core, r, l, q);
}

/* Pieces of it follow, which only a connection of the client's own carries. 0: it was answered. */
static PK_RARE int comes_in_pieces(pk_core *core, pk_conn *c, pk_request *r, const pk_table_listener *l,
                                   const uint8_t *data, const pk_frame *f) {
  if (pk_pieces_begin(core, c, data, f, 0, pk_request_handle(r)) != 0) {
    static const char text[] = "protokit: the pieces of this request could not be told from those of another message that "
                               "its client has not ended, or there are too many of these";
    pk_request_fail(core, r, PK_STATUS_BAD_REQUEST, text, sizeof text - 1);
    pk_conn_drop_input(core, c);
    return 0;
  }
  r->parts |= PK_PART_ASKS;
  c->flow |= PK_FLOW_ASKED;
  if (r->to.own || l == NULL) return 1;
  pk_message m = {.size = 0};
  pk_message_add(&m, "protokit: a request in pieces needs 'mode: pinned' on listener '");
  pk_message_text(&m, r->to.live->table, l->name);
  pk_message_add(&m, "'");
  pk_request_fail(core, r, PK_STATUS_BAD_REQUEST, m.data, m.size);
  return 0;
}

static void begin(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  if (c->partial_count > 0 && c->codec->mode != PK_MODE_MULTIPLEXED) { /* in the middle of another message */
    bad(core, c, data, f->size, f, PK_ERR_FORMAT);
    return;
  }
  if (c->greeting > 0) {
    pk_greeting_skip(core, c);
    if (c->state != PK_CONN_OPEN) return;
  }
  pk_request *r = pk_request_new(core, c, data, f->size, f);
  if (r == NULL) {
    PK_STAT_ADD(core->stats.closed_over_budget, 1);
    pk_conn_close(core, c, 1);
    return;
  }
  const pk_table_listener *l = pk_listener_of(r->to.live->table, c);
  r->to.own = c->pinned || (l != NULL && l->pinned);
  if ((f->says & PK_SAYS_MORE) && !comes_in_pieces(core, c, r, l, data, f)) return;
  if (l == NULL || core->shutdown || (c->leaving & PK_LEAVE_LATE)) {
    static const char text[] = "protokit: this listener is closing";
    pk_request_fail(core, r, PK_STATUS_UNAVAILABLE, text, sizeof text - 1);
    return;
  }
  if (c->greeting > 0) {
    static const char text[] = "protokit: a request came before the greeting was over";
    pk_request_fail(core, r, PK_STATUS_BAD_REQUEST, text, sizeof text - 1);
    return;
  }
  if (r->id_size == PK_ABSENT && !r->to.oneway) {
    static const char text[] = "protokit: the request has no id";
    pk_request_fail(core, r, PK_STATUS_BAD_REQUEST, text, sizeof text - 1);
    return;
  }
  if (!admitted(core, r, c)) return;
  uint32_t budget;
  uint32_t plan_index = route(core, c, r, l, data, f, &budget);
  if (plan_index == PK_NONE) return;
  const pk_plan *plan = pk_table_plan_at(r->to.live->table, plan_index);
  r->plan = plan;
  if (plan->features & PK_F_TIMEOUT) budget = pk_timeout_of(&plan->timeout, budget, core->limits.request_ms);
  r->timeout_ms = budget != 0 ? budget : core->limits.request_ms;
  pk_timer_start(&core->wheel, &r->timer, pk_request_deadline(r));
  r->steps = (uint16_t)plan->steps;
  pk_request_run(core, r, data, f);
}

static void client_frame(pk_core *core, pk_conn *c, const uint8_t *data, pk_frame *f) {
  c->context = f->context;
  if (c->beside) keep(c, data, f->size, f);
  if ((core->draining || c->kept != NULL) && !c->told_drain) pk_conn_tell_drain(core, c);
  switch (f->kind) {
    case PK_KIND_REQUEST:
    case PK_KIND_ONEWAY:
      begin(core, c, data, f);
      break;
    case PK_KIND_RESPONSE:
      /* nobody else asks clients */
      if (pk_pinned_answer(core, c, data, f) != 0) bad(core, c, data, f->size, f, PK_ERR_FORMAT);
      break;
    case PK_KIND_PIECE:
      /* Where pieces of several messages are mixed the last one says so itself. */
      if ((c->leaving & PK_LEAVE_LAST) && c->codec->mode != PK_MODE_MULTIPLEXED) f->says |= PK_SAYS_LAST;
      if (!pk_pieces_next(core, c, data, f)) bad(core, c, data, f->size, f, PK_ERR_FORMAT);
      break;
    case PK_KIND_HEARTBEAT:
      pk_conn_heartbeat_ack(core, c, data, f);
      pk_conn_queued(core, c);
      if (c->own == NULL) pk_pinned_open(core, c, NULL); /* it may be worth another try */
      break;
    case PK_KIND_GREETING:
      if (pk_codec_relays(c->codec)) {
        pk_pinned_greet(core, c, data, f);
      } else {
        pk_greeting_frame(core, c, data, f);
      }
      break;
    default:
      break;
  }
}

static void rest(pk_core *core, pk_conn *c, const uint8_t *data, pk_frame *f, const uint8_t *id, uint64_t key) {
  (void)id;
  pk_pieces_rest(core, c, key, data, f);
}

static void settle(pk_core *core, pk_conn *c) {
  int over = c->eof || c->state == PK_CONN_DROPPING || (c->leaving && c->out_bytes == 0);
  if (over && !c->ready && c->in_flight == 0 && !pk_conn_is_stuck(c)) pk_conn_flush(core, c);
}

static void closed(pk_core *core, pk_conn *c, int opening) {
  (void)opening;
  if (c->half != NULL) pk_half_cut(core, c);
  pk_request_client_left(core, c);
  pk_pinned_client_closed(core, c);
  pk_live_client_closed(core, c);
}

/* Whether the time to tell its protocol runs: from its first byte, or at once where others wait for a fallback. */
static int undecided(const pk_core *core, const pk_conn *c) {
  if (c->codec != NULL) return 0;
  const pk_table_listener *l = pk_listener_of(pk_conn_live(core, c)->table, c);
  return c->first_byte != 0 || (l != NULL && l->fallback != PK_NONE);
}

static uint64_t due(const pk_core *core, const pk_conn *c) {
  const pk_limits *l = &core->limits;
  uint64_t at = pk_conn_active(c) + (uint64_t)l->idle_ms * PK_MS;
  if (undecided(core, c)) {
    uint64_t since = c->first_byte != 0 ? c->first_byte : c->opened;
    uint64_t late = since + (uint64_t)l->detect_ms * PK_MS;
    if (late < at) at = late;
  }
  return c->leave_by != 0 && c->leave_by < at ? c->leave_by : at;
}

/* The time of a client whose listener is gone is over: what it asked is answered, what it asks now is refused. */
static void leave(pk_core *core, pk_conn *c) {
  c->leave_by = core->now + (uint64_t)core->limits.frame_ms * PK_MS;
  if ((c->leaving & PK_LEAVE_LATE) && (c->in_flight == 0 || c->out_bytes > 0)) {
    pk_conn_close(core, c, 1); /* it does not read */
    return;
  }
  c->leaving |= PK_LEAVE_LATE;
  pk_conn_settle(core, c);
}

static void fired(pk_core *core, pk_conn *c) {
  if (c->leave_by != 0 && core->now >= c->leave_by) {
    leave(core, c);
  } else if (undecided(core, c)) {
    pk_detect_now(core, c, 0);
  } else if (c->in_flight == 0 || c->out_bytes > 0) {
    PK_STAT_ADD(core->stats.closed_idle, 1);
    pk_conn_close(core, c, 0);
  } else {
    c->last_read = core->now; /* it waits for answers, and these have timers of their own */
  }
  pk_conn_timer(core, c);
}

/* What it asked before is still answered. */
static void half(pk_core *core, pk_conn *c) {
  if (c->half != NULL) pk_half_cut(core, c);
  if (!pk_conn_reads(c)) return;
  pk_conn_drop_input(core, c);
  pk_conn_settle(core, c);
  pk_conn_timer(core, c);
}

const pk_kind pk_client = {
    .side = PK_SIDE_DOWN,
    .lingers = 1,
    .frame = client_frame,
    .bad = bad,
    .halves = &pk_of_halves,
    .rest = rest,
    .detect = pk_detect,
    .last = pk_conn_drop_input, /* it asks nothing more: it is closed behind its answers */
    .settle = settle,
    .ended = ended,
    .half = half,
    .closed = closed,
    .due = due,
    .fired = fired,
};
