/* server.c: connections of servers: what they answer and ask, and their end. */
#include "core/internal.h"

/* It is slow to open: its requests go to open ones where they can. */
static void relieve(pk_core *core, pk_conn *c) {
  c->relieve = core->now + (core->now - c->opened);
  for (uint32_t next = c->waiting_head; next != PK_NONE;) {
    pk_attempt *a = pk_attempt_at(core, next);
    pk_request *r = pk_request_find(core, a->request);
    next = a->next;
    if (r == NULL || r->held == NULL) continue; /* its client has left: nobody wants another try */
    pk_conn *open = pk_pick_open(core, &r->to);
    if (open == NULL) {
      pk_pick_another(core, &r->to);
      return;
    }
    pk_request_move(core, r, a, open);
  }
}

/* The attempt that an answer is for, off its slot; NULL where nobody waits for it. `size` bytes of it are there. */
static pk_attempt *answered(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f) {
  uint32_t index = pk_slots_answered(core, c, data, size, f);
  if (index == PK_NONE) {
    PK_STAT_ADD(core->stats.answers_unmatched, 1);
    return NULL;
  }
  pk_attempt *a = pk_attempt_at(core, index);
  a->answered = 1;
  return a;
}

static void bad(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f, int error) {
  PK_STAT_ADD(core->stats.protocol_errors_upstream, 1);
  pk_malformed_tell(core, c, data, size, f->error_at, error);
  pk_conn_drop(core, c, error == PK_ERR_LIMIT ? PK_LOST_LIMIT : PK_LOST_FORMAT, f->error_at);
}

/* Whether an answer goes with its request, and what the codec says of it then; 0: it does not, and what waits for it is
 * lost with the connection. */
static PK_RARE int understood(pk_core *core, pk_conn *c, const uint8_t *data, pk_frame *f) {
  if (!pk_slots_in_step(c, data, f->size, f)) {
    PK_STAT_ADD(core->stats.protocol_errors_upstream, 1);
    pk_conn_drop(core, c, PK_LOST_STEP, 0);
    return 0;
  }
  if (c->codec->answer == NULL) return 1;
  uint32_t index = pk_slots_find(core, c, data, f->size, f);
  const pk_attempt *a = index == PK_NONE ? NULL : pk_attempt_at(core, index);
  const pk_request *r = a == NULL ? NULL : pk_request_find(core, a->request);
  if (r == NULL) return 1;
  uint64_t id = c->named ? 0 : c->codec->mode == PK_MODE_MULTIPLEXED ? a->wire_id : r->client_id;
  const pk_reply asked = {.id = id, .context = r->context, .kept = pk_request_kept(core, r)};
  int result = c->codec->answer(c->codec, data, f, &asked);
  if (result != PK_OK) bad(core, c, data, f->size, f, result);
  return result == PK_OK;
}

/* Only the server's end told where its answer ends: so its client's connection ends behind it. */
static void end_client(pk_core *core, const pk_request *r) {
  pk_conn *client = pk_conn_find(core, r->to.client);
  if (client != NULL && pk_conn_reads(client)) pk_conn_drop_input(core, client);
}

static int ends_client(const pk_conn *c, const pk_frame *f) {
  return f->ended && !(f->says & PK_SAYS_MORE) && c->codec->mode != PK_MODE_MULTIPLEXED;
}

/* A whole answer that its rule changes, or that filters see, before its caller does. */
static void seen(pk_core *core, const pk_conn *c, pk_request *r, pk_attempt *a, const uint8_t *data, const pk_frame *f) {
  uint32_t endpoint = a->endpoint->uid;
  uint64_t took = core->now - a->started;
  if (f->status > PK_STATUS_APP_ERROR) {
    if (pk_retry_answer(core, r, a, f->status)) return;
    pk_attempt_end(core, r, a, pk_attempt_refused(f->status));
  }
  if (ends_client(c, f)) end_client(core, r);
  pk_held *changed = NULL;
  if ((r->parts & PK_PART_SET) && !pk_change_answer(core, r, data, f, &changed)) return;
  if (changed != NULL) data = changed->data, f = &changed->frame;
  int filters = (r->parts & PK_PART_SEEN) && r->plan->answers != PK_NONE;
  if (!filters || !pk_answer_ask(core, r, endpoint, took, data, f)) pk_request_answer(core, r, data, f);
  pk_held_free(core, changed);
}

/* The answer to a copy of a request, or its first part: nobody waits for it. */
static void dropped(pk_core *core, pk_request *r, pk_attempt *a, const pk_frame *f) {
  a->answered = !(f->says & PK_SAYS_MORE);
  a->parts = !a->answered; /* its id stays taken until the last part */
  if (f->status > PK_STATUS_APP_ERROR) pk_attempt_end(core, r, a, pk_attempt_refused(f->status));
  pk_request_end(core, r);
}

/* What an answer says besides, or that it is not the first one to its request. 1: it is one of several. */
static PK_RARE int in_parts(pk_core *core, pk_conn *c, pk_request *r, pk_attempt *a, const uint8_t *data, pk_frame *f) {
  if (f->says & PK_SAYS_LAST) c->leaving |= PK_LEAVE_LAST; /* before anything is tried again */
  /* Where pieces of several messages are mixed the last one says so itself. */
  if ((c->leaving & PK_LEAVE_LAST) && c->codec->mode != PK_MODE_MULTIPLEXED) f->says |= PK_SAYS_LAST;
  if (r->parts & PK_PART_COPY) {
    dropped(core, r, a, f);
    return 1;
  }
  int several = (f->says & PK_SAYS_MORE) || (r->parts & PK_PART_CAME);
  a->answered = !(f->says & PK_SAYS_MORE); /* it is on its slot until the last part */
  if (r->parts & PK_PART_TOLD) pk_ends_answered(core, r, a, f);
  if ((r->parts & (PK_PART_SEEN | PK_PART_SET)) && !several && f->kind == PK_KIND_RESPONSE) {
    seen(core, c, r, a, data, f);
    return 1;
  }
  if (r->parts & PK_PART_SET) {
    pk_change_in_parts(core, r, a);
    return 1;
  }
  if ((r->parts & PK_PART_SEEN) && pk_answer_unseen(core, r, a)) return 1;
  if (!several && (r->parts & ~PK_PART_TOLD) == 0) return 0;
  if (ends_client(c, f)) end_client(core, r);
  pk_parts_answer(core, c, r, a, data, f);
  return 1;
}

static void response(pk_core *core, pk_conn *c, const uint8_t *data, pk_frame *f) {
  if (c->recalls && !understood(core, c, data, f)) return;
  pk_attempt *a = answered(core, c, data, f->size, f);
  pk_request *r = a == NULL ? NULL : pk_request_find(core, a->request);
  if (r == NULL) return;
  if ((f->says | f->ended | r->parts) != 0 && in_parts(core, c, r, a, data, f)) return;
  if (f->status > PK_STATUS_APP_ERROR) {
    if (pk_retry_answer(core, r, a, f->status)) return;
    pk_attempt_end(core, r, a, pk_attempt_refused(f->status));
  }
  if (ends_client(c, f)) end_client(core, r);
  pk_request_answer(core, r, data, f);
}

/* More of an answer that its client has the front of. */
static void rest(pk_core *core, pk_conn *c, const uint8_t *data, pk_frame *f, const uint8_t *id, uint64_t key) {
  (void)key;
  pk_conn *client = pk_conn_find(core, c->peer);
  pk_chunk *behind = client == NULL ? NULL : pk_out_lift(client);
  pk_attempt *a = answered(core, c, id, PK_ID_MAX, f);
  pk_request *r = a == NULL ? NULL : pk_request_find(core, a->request);
  if (r != NULL) {
    a->answered = !(f->says & PK_SAYS_MORE);
    pk_parts_answer(core, c, r, a, data, f);
  }
  if (client != NULL) pk_out_lower(core, client, behind, f->says & PK_SAYS_MORE);
}

/* Answer a request of the upstream's own; `size` bytes of it are there. */
static void refuse_request(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f,
                           uint32_t status, const pk_message *m) {
  if (f->kind != PK_KIND_REQUEST || c->out_bytes > core->limits.upstream_buffer) return;
  pk_notice n = {.kind = PK_NOTICE_ERROR,
                 .context = f->context,
                 .number = f->id,
                 .status = status,
                 .text = m->data,
                 .text_size = m->size};
  uint8_t kept[PK_KEEP_MAX];
  if (f->size > 0 && f->size < size) size = f->size;
  int kept_size = c->codec->keep == NULL ? 0 : c->codec->keep(c->codec, data, size, f, kept, c->codec->keep_max);
  if (kept_size > 0) n.kept = (pk_slice){kept, (uint32_t)kept_size};
  if (c->named) n.id = pk_id_of(c->codec, data, f, size);
  if (pk_conn_notice(core, c, &n)) return;
  c->leaving |= PK_LEAVE_DRAINED; /* its protocol has no errors: it hears the end, behind what it is asked already */
  pk_conn_touch(core, c);
}

static int large(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f) {
  if (f->kind == 0 || (c->named && pk_id_of(c->codec, data, f, size).data == NULL)) return 0;
  pk_message m = {.size = 0};
  int answer = f->kind == PK_KIND_RESPONSE || f->kind == PK_KIND_PIECE;
  if (answer && !pk_slots_in_step(c, data, size, f)) return 0;
  pk_message_add(&m, answer ? "protokit: the answer " : "protokit: the request ");
  if (f->size > core->limits.frame) { /* an envelope says no size */
    pk_message_add(&m, "of ");
    pk_message_number(&m, f->size);
    pk_message_add(&m, " bytes ");
  }
  pk_message_add(&m, "is larger than the limit of ");
  pk_message_number(&m, core->limits.frame);
  pk_message_add(&m, " bytes");
  if (!answer) {
    refuse_request(core, c, data, size, f, PK_STATUS_BAD_REQUEST, &m);
    return 1;
  }
  PK_STAT_ADD(core->stats.answers_too_large, 1);
  pk_attempt *a = answered(core, c, data, size, f);
  pk_request *r = a == NULL ? NULL : pk_request_find(core, a->request);
  if (f->says & PK_SAYS_LAST) c->leaving |= PK_LEAVE_LAST;
  if (r == NULL) return 1;
  a->answered = !(f->says & PK_SAYS_MORE);
  pk_attempt_end(core, r, a, PK_ATTEMPT_REFUSED);
  pk_request_fail(core, r, PK_STATUS_INTERNAL, m.data, m.size);
  return 1;
}

/* A request of the upstream's own: only a pinned client can answer it. */
static void reverse_request(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  int told = pk_pinned_call(core, c, data, f);
  if ((f->says & PK_SAYS_MORE) && pk_pieces_begin(core, c, data, f, told ? c->peer : 0, 0) != 0) {
    bad(core, c, data, f->size, f, PK_ERR_FORMAT);
    return;
  }
  if (told) return;
  pk_message m = {.size = 0};
  pk_message_add(&m, c->pinned ? "protokit: the client cannot be asked now: its buffer is full, it has too many requests "
                                 "to answer, or another server's with the same id"
                               : "protokit: no client is tied to this connection (mode: shared)");
  refuse_request(core, c, data, f->size, f, c->pinned ? PK_STATUS_OVERLOADED : PK_STATUS_BAD_REQUEST, &m);
}

/* It answers nothing more: what still waits for it is lost with the connection. */
static void last(pk_core *core, pk_conn *c) {
  if (c->pinned) pk_pinned_drained(core, c);
  c->lost = PK_LOST_LAST;
  pk_conn_close(core, c, 0);
}

static void server_frame(pk_core *core, pk_conn *c, const uint8_t *data, pk_frame *f) {
  /* Whoever greets says so little that he may be silent behind it. */
  if (f->kind != PK_KIND_GREETING && c->state != PK_CONN_GREETING) pk_endpoint_heard(core, c->endpoint);
  switch (f->kind) {
    case PK_KIND_PIECE:
      if (c->partial_count > 0 && pk_pieces_next(core, c, data, f)) break;
      __attribute__((fallthrough));
    case PK_KIND_RESPONSE:
      if (c->state == PK_CONN_GREETING && f->kind == PK_KIND_RESPONSE) {
        pk_greeting_frame(core, c, data, f);
      } else {
        response(core, c, data, f);
      }
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
      pk_endpoint_drains(core, c->endpoint, 1);
      break;
    case PK_KIND_UNDRAIN:
      c->leaving &= (uint8_t)~PK_LEAVE_DRAINED;
      pk_endpoint_drains(core, c->endpoint, 0);
      break;
    case PK_KIND_GREETING:
      if (pk_codec_relays(c->codec)) {
        pk_pinned_greet(core, c, data, f);
      } else {
        pk_greeting_frame(core, c, data, f);
      }
      break;
    case PK_KIND_HEARTBEAT_ACK:
      c->endpoint->health.beats = 1;
      break;
    default:
      break;
  }
}

static void opened(pk_core *core, pk_conn *c) {
  if (c->in_flight > 0) c->busy_since = core->now;
  if (c->pinned) pk_pinned_opened(core, c);
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
    if (a->placed) pk_breaker_sent(r, a);
    a->started = core->now; /* it is asked now */
    pk_conn *client = pk_conn_find(core, r->to.client);
    int copy = r->parts & PK_PART_COPY;
    if (!r->to.oneway && !copy && (client == NULL || client->state == PK_CONN_CLOSED)) {
      PK_STAT_ADD(core->stats.requests_client_gone, 1);
      pk_request_end(core, r);
    } else {
      pk_request_send(core, r, c, a, r->held->data, &r->held->frame);
    }
  }
  if (c->pinned && c->peer == 0) pk_conn_flush(core, c); /* its client has left */
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
      pk_request_lost(core, r, a, PK_RETRY_ON_CONNECT_FAILURE, 0);
    }
  }
  uint32_t at = 0;
  while (c->in_flight > 0 && (next = pk_slots_next(c, &at)) != PK_NONE) {
    pk_attempt *a = pk_attempt_at(core, next);
    pk_request *r = pk_request_find(core, a->request);
    if (r != NULL) pk_request_lost(core, r, a, PK_RETRY_ON_RESET, a->out_at < sent);
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

static void half(pk_core *core, pk_conn *c) {
  c->lost = pk_conn_is_quiet(core, c) ? PK_LOST_HALF : PK_LOST_SLOW;
  pk_conn_close(core, c, 0);
}

static void settle(pk_core *core, pk_conn *c) {
  int over = c->eof || (c->leaving && pk_conn_is_idle(c));
  if (over && !c->ready && !pk_conn_is_stuck(c)) pk_conn_close(core, c, 0);
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
  if ((c->flow & PK_FLOW_STOPS) || c->seal != NULL) { /* what it answers is not read now, or it has half a request */
    c->probing = 0;
    c->last_write = c->busy_since = core->now;
    pk_conn_timer(core, c);
  } else if (pk_conn_is_opening(c)) {
    if (core->now < c->opened + (uint64_t)c->connect_ms * PK_MS) {
      relieve(core, c);
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
    .halves = &pk_of_halves,
    .rest = rest,
    .opened = opened,
    .last = last,
    .settle = settle,
    .half = half,
    .closed = closed,
    .due = due,
    .fired = fired,
};
