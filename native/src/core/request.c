/* request.c: a request from begin to its one end: what it holds, its answer, its error. */
#include "core/internal.h"

static int keeps_order(const pk_request *r) {
  return r->to.codec->mode != PK_MODE_MULTIPLEXED && !r->to.oneway;
}

/* A free place, of which there is one. */
static inline pk_request *take(pk_core *core) {
  pk_request *r = pk_request_at(core, core->free_request);
  uint32_t index = r->index, generation = r->generation + 1;
  core->free_request = r->next;
  memset(r, 0, sizeof *r);
  r->index = index;
  r->generation = generation > 0 ? generation : 1;
  r->timer.kind = PK_TIMER_REQUEST;
  return r;
}

pk_request *pk_request_new(pk_core *core, pk_conn *client, const uint8_t *data, size_t size,
                           const pk_frame *f) {
  if (core->free_request == PK_NONE && pk_requests_grow(core) != 0) return NULL;
  if (client->beside && pk_beside_room(core, client, core->free_request) != 0) return NULL;
  pk_request *r = take(core);
  r->client_id = f->id;
  if (client->beside) pk_beside_keep(core, r, client, data, size, f);
  r->started = core->now;
  r->to.client = pk_conn_handle(client);
  r->to.live = pk_conn_live(core, client);
  r->attempt = r->to.cluster = PK_NONE;
  r->state = PK_REQUEST_NEW;
  r->context = f->context;
  r->to.key = f->upstream_key;
  r->to.oneway = f->kind == PK_KIND_ONEWAY;
  r->to.codec = client->codec;
  r->to.live->users++;
  core->request_count++;
  client->in_flight++;
  PK_STAT_ADD(core->stats.requests, 1);
  PK_STAT_ADD(core->stats.requests_active, 1);
  if (!r->to.oneway) {
    r->before = client->last_request;
    *(r->before != NULL ? &r->before->behind : &client->requests) = r;
    client->last_request = r;
  }
  return r;
}

pk_request *pk_request_copy(pk_core *core, const pk_request *of, uint32_t plan) {
  if (core->free_request == PK_NONE && pk_requests_grow(core) != 0) return NULL;
  pk_request *r = take(core);
  r->client_id = of->client_id;
  r->started = of->started;
  r->attempt = PK_NONE;
  r->state = PK_REQUEST_NEW;
  r->context = of->context;
  r->timeout_ms = of->timeout_ms;
  r->next = plan;
  r->id_size = of->id_size;
  r->parts = PK_PART_COPY;
  r->to.live = of->to.live;
  r->to.codec = of->to.codec;
  r->to.bucket = of->to.bucket;
  r->to.oneway = of->to.oneway;
  r->to.named = of->to.named;
  r->to.live->users++;
  return r;
}

int pk_request_hold(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  r->held = pk_hold(core, data, f);
  if (r->held == NULL) return -1;
  pk_request_count_held(core, r, r->held->capacity);
  return 0;
}

pk_held *pk_request_unhold(pk_core *core, pk_request *r) {
  pk_held *h = r->held;
  if (h != NULL) pk_request_count_held(core, r, -(int64_t)h->capacity);
  r->held = NULL;
  return h;
}

static int has_id_of(const pk_core *core, const pk_request *r, const uint8_t *data, const pk_frame *f) {
  if (!r->to.named) return f->id == r->client_id;
  pk_slice was = pk_request_id(core, r), is = pk_id_of(r->to.codec, data, f, f->size);
  return was.size == is.size && (was.size == 0 || memcmp(was.data, is.data, is.size) == 0);
}

/* Whether the bytes are that request, changed, and nothing else. */
static int is_changed(const pk_core *core, const pk_request *r, const pk_frame *was, const uint8_t *data, uint32_t size,
                      pk_frame *f) {
  int result = pk_frame_alone(r->to.codec, data, size, core->limits.frame, f);
  int kind = r->to.oneway ? PK_KIND_ONEWAY : PK_KIND_REQUEST;
  if (result != PK_OK || f->size != size || f->kind != kind || !has_id_of(core, r, data, f)) return 0;
  if ((f->says & PK_SAYS_HALF) != (was->says & PK_SAYS_HALF)) return 0;
  /* of half a frame as much is still to come */
  return !(f->says & PK_SAYS_HALF) || f->need - f->size == was->need - was->size;
}

int pk_request_replace(pk_core *core, pk_request *r, const pk_frame *was, pk_held *h, uint32_t size) {
  pk_frame f = {.from = PK_FROM_CLIENT, .halves = (was->says & PK_SAYS_HALF) != 0};
  if (!is_changed(core, r, was, h->data, size, &f)) {
    pk_held_free(core, h);
    return PK_ERR_UNSUPPORTED;
  }
  if (f.says & PK_SAYS_HALF) f.says |= PK_SAYS_MORE;
  h->frame = f;
  pk_held_free(core, pk_request_unhold(core, r));
  r->held = h;
  pk_request_count_held(core, r, h->capacity);
  r->to.key = f.upstream_key;
  return PK_OK;
}

int pk_request_same_answer(const pk_core *core, const pk_request *r, const uint8_t *was, const pk_frame *was_frame,
                           const uint8_t *data, uint32_t size, pk_frame *f) {
  const pk_codec *codec = r->to.codec;
  *f = (pk_frame){.from = PK_FROM_SERVER, .ended = was_frame->ended, .asked = was_frame->asked};
  if (pk_frame_alone(codec, data, size, core->limits.frame, f) != PK_OK) return 0;
  if (f->size != size || f->kind != PK_KIND_RESPONSE || (f->says & (PK_SAYS_MORE | PK_SAYS_HALF))) return 0;
  if (!r->to.named) {
    if (f->id != was_frame->id) return 0;
  } else {
    pk_slice a = pk_id_of(codec, was, was_frame, was_frame->size), b = pk_id_of(codec, data, f, size);
    if (a.size != b.size || (a.size > 0 && memcmp(a.data, b.data, a.size) != 0)) return 0;
  }
  f->status = was_frame->status; /* its request may have said what it means */
  f->says = was_frame->says;
  return 1;
}

static inline void let_held_go(pk_core *core, pk_request *r) {
  if (r->held == NULL) return;
  if (r->placed) pk_breaker_back(r); /* only for another attempt, of what it holds */
  pk_held_free(core, pk_request_unhold(core, r));
}

/* Give back all that it holds. */
static PK_RARE void let_go(pk_core *core, pk_request *r) {
  let_held_go(core, r);
  for (const pk_chunk *k = r->answer; k != NULL; k = k->next) pk_request_count_held(core, r, -(int64_t)k->capacity);
  pk_chunks_free(core, r->answer);
  r->answer = r->answer_tail = NULL;
}

void pk_request_end_attempts(pk_core *core, pk_request *r) {
  if (r->held != NULL && (r->plan->features & PK_F_HEDGE)) pk_hedge_over(core, r);
  while (r->attempt != PK_NONE) pk_attempt_end(core, r, pk_attempt_at(core, r->attempt), PK_ATTEMPT_GIVEN_UP);
}

int pk_request_is_sent(const pk_core *core, const pk_request *r) {
  uint32_t i = r->attempt;
  while (i != PK_NONE && pk_attempt_at(core, i)->waiting) i = pk_attempt_at(core, i)->sibling;
  return i != PK_NONE;
}

/* Of the rule that it is a copy under. */
static pk_rule_state *of_copy(const pk_request *r) {
  const pk_table *t = r->to.live->table;
  return pk_state_at(t, pk_table_plan_at(t, r->next));
}

static PK_RARE void over(pk_core *core, pk_request *r) {
  if (r->parts & PK_PART_ASKS) pk_pieces_over(core, r);
  if (r->parts & PK_PART_COPY) {
    pk_breaker_give(&of_copy(r)->copies, 1);
    core->request_count++; /* it was none of them */
    PK_STAT_ADD(core->stats.requests_active, 1);
    PK_STAT_SUB(core->stats.mirrors_active, 1);
  }
  if (r->parts & PK_PART_TOLD) pk_ends_tell(core, r);
  pk_seen_forget(core, r);
}

void pk_request_end(pk_core *core, pk_request *r) {
  pk_timer_stop(&core->wheel, &r->timer);
  pk_request_end_attempts(core, r);
  if (r->state == PK_REQUEST_WAITING) r->step->cancel(core, r);
  let_held_go(core, r);
  if (r->answer != NULL) let_go(core, r);
  if (r->parts & (PK_PART_ASKS | PK_PART_SEEN | PK_PART_COPY | PK_PART_TOLD)) over(core, r);
  pk_conn *client = pk_conn_find(core, r->to.client);
  r->to.client = 0;
  r->state = PK_REQUEST_FREE;
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
    int expected = keeps_order(r) && pk_request_is_sent(core, r);
    if (expected) {
      let_go(core, r); /* nobody wants another try */
      pk_seen_forget(core, r);
      continue;
    }
    PK_STAT_ADD(core->stats.requests_client_gone, r->state != PK_REQUEST_ANSWERED && !(r->parts & PK_PART_COUNTED));
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

/* Room aside; parts of an answer share it. */
static uint8_t *aside(pk_core *core, pk_request *r, uint32_t size, int more) {
  pk_chunk *tail = r->answer_tail;
  if (tail != NULL && tail->capacity - tail->end >= size) return tail->data + tail->end;
  pk_chunk *added = more ? pk_chunk_new(core, size, 1) : pk_chunk_exact(core, size);
  if (added == NULL) return NULL;
  *(tail != NULL ? &tail->next : &r->answer) = added;
  r->answer_tail = added;
  pk_request_count_held(core, r, added->capacity);
  return added->data;
}

/* Where to build the answer, `size` bytes: the client's output, or aside while it is not its turn. */
static uint8_t *answer_room(pk_core *core, pk_request *r, pk_conn *client, uint32_t size, int more) {
  if (!keeps_order(r) || client->requests == r) return pk_out_reserve(core, client, size);
  return aside(core, r, size, more);
}

/* It stands first now: what it has aside goes out. 1: that was all. */
static int take_turn(pk_core *core, pk_request *r, pk_conn *client) {
  int whole = r->state == PK_REQUEST_ANSWERED;
  for (const pk_chunk *k = r->answer; k != NULL; k = k->next) {
    if (k->end > 0 && pk_conn_send(core, client, k->data, k->end) == NULL) {
      pk_conn_close(core, client, 1);
      return 0;
    }
  }
  if (whole) {
    pk_request_end(core, r);
  } else if (r->answer != NULL) {
    let_go(core, r);
    r->parts |= PK_PART_HALF;
  }
  return whole;
}

/* The answer stands in answer_room, `size` bytes; the request is over. */
static void finish(pk_core *core, pk_request *r, pk_conn *client, uint32_t size) {
  int ordered = keeps_order(r);
  if (r->state == PK_REQUEST_WAITING) r->step->cancel(core, r);
  r->state = PK_REQUEST_ANSWERED;
  if (r->answer != NULL) {
    r->answer_tail->end += size;
    pk_timer_stop(&core->wheel, &r->timer);
    pk_request_end_attempts(core, r);
    if (r->placed) pk_breaker_back(r);
    pk_held_free(core, pk_request_unhold(core, r));
    pk_seen_forget(core, r);
    return; /* sent by the loop below when the ones before it are through */
  }
  pk_out_commit(core, client, size);
  pk_request_end(core, r);
  while (ordered && pk_conn_writes(client) && client->requests != NULL && take_turn(core, client->requests, client)) {}
  pk_conn_queued(core, client);
}

/* A part of the answer stands in answer_room; more follows. */
static PK_RARE void passed_on(pk_core *core, pk_request *r, pk_conn *client, uint32_t size, const pk_frame *f) {
  if (r->answer != NULL) {
    r->answer_tail->end += size;
    return;
  }
  pk_out_commit(core, client, size);
  /* Where there are ids an error can follow whole answers. */
  int half = keeps_order(r) || f->kind == PK_KIND_PIECE || (f->says & PK_SAYS_HALF);
  r->parts = half ? r->parts | PK_PART_HALF : r->parts & (uint8_t)~PK_PART_HALF;
  int begins = f->kind != PK_KIND_PIECE && (f->says & PK_SAYS_HALF);
  if (begins && pk_out_seal(core, client) != 0) {
    pk_conn_close(core, client, 1);
  } else {
    pk_conn_queued(core, client);
  }
}

/* Its outcome is counted, and its client is closed before it ends: nobody may get what belongs behind it. */
static PK_RARE void end_with_client(pk_core *core, pk_request *r, pk_conn *client) {
  r->parts |= PK_PART_COUNTED;
  pk_conn_close(core, client, 1);
  if (r->to.live != NULL) pk_request_end(core, r);
}

static void no_room_for_answer(pk_core *core, pk_request *r, pk_conn *client) {
  PK_STAT_ADD(core->stats.closed_over_budget, 1);
  end_with_client(core, r, client);
}

/* Its server knows it by another id, which an answer has: the end of a connection may be a piece without bytes. */
static int is_rewritten(const pk_request *r, const pk_frame *f) {
  return r->to.codec->mode == PK_MODE_MULTIPLEXED && !r->to.own && f->size > 0;
}

static void count_answer(pk_core *core, const pk_frame *f) {
  int more = f->says & PK_SAYS_MORE;
  PK_STAT_ADD(core->stats.responses, !more);
  if (f->status == PK_STATUS_APP_ERROR) PK_STAT_ADD(core->stats.responses_app_error, !more);
}

void pk_request_answer(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  int more = f->says & PK_SAYS_MORE;
  pk_conn *client = pk_request_client(core, r);
  if (client == NULL) {
    pk_request_end(core, r);
    return;
  }
  int renamed = r->to.named && is_rewritten(r, f), size = (int)f->size;
  uint8_t *to = answer_room(core, r, client, renamed ? pk_id_room(r->to.codec, f->size) : f->size, more);
  if (to == NULL) {
    count_answer(core, f);
    no_room_for_answer(core, r, client);
    return;
  }
  if (renamed) {
    pk_slice id = pk_request_id(core, r);
    size = r->to.codec->splice_id(r->to.codec, data, f, id.data, id.size, to, pk_id_room(r->to.codec, f->size));
  } else {
    memcpy(to, data, f->size);
    if (is_rewritten(r, f)) r->to.codec->patch_id(r->to.codec, to, f, r->client_id);
  }
  if (renamed && size <= 0) {
    static const char text[] = "protokit: the answer cannot have the id of its request";
    pk_request_fail(core, r, PK_STATUS_INTERNAL, text, sizeof text - 1);
    return;
  }
  count_answer(core, f);
  if (more) {
    passed_on(core, r, client, (uint32_t)size, f);
  } else {
    finish(core, r, client, (uint32_t)size);
  }
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
  if (r->state <= PK_REQUEST_ANSWERED) return;
  if (r->parts & PK_PART_COPY) {
    pk_rule_decided(of_copy(r), PK_DECIDED_MIRROR_FAILED);
    PK_STAT_ADD(core->stats.mirrors_failed, 1);
    pk_request_end(core, r);
    return;
  }
  pk_conn *client = r->to.oneway ? NULL : pk_request_client(core, r);
  if (client != NULL || r->to.oneway) { /* else that it left is what became of it */
    count_error(core, status);
    if (r->parts & PK_PART_TOLD) pk_ends_failed(core, r, status, text, size);
  }
  if (client == NULL) {
    pk_request_end(core, r);
    return;
  }
  if (r->parts & PK_PART_HALF) { /* nothing true can be said behind that */
    end_with_client(core, r, client);
    return;
  }
  if (r->answer != NULL) let_go(core, r); /* parts that nobody has seen */
  pk_notice n = {.kind = PK_NOTICE_ERROR,
                 .context = r->context,
                 .number = r->client_id,
                 .status = status,
                 .from = PK_FROM_SERVER,
                 .text = text,
                 .text_size = (uint32_t)size,
                 .kept = pk_request_kept(core, r)};
  if (r->to.named) n.id = pk_request_id(core, r);
  uint8_t *to = answer_room(core, r, client, pk_notice_room(r->to.codec, &n), 0);
  if (to == NULL) {
    no_room_for_answer(core, r, client);
    return;
  }
  int built = pk_notice_build(r->to.codec, &n, to);
  if (built <= 0) { /* its protocol cannot say it */
    r->parts |= PK_PART_COUNTED;
    pk_conn_flush(core, client);
    if (r->to.live != NULL) pk_request_end(core, r);
    return;
  }
  finish(core, r, client, (uint32_t)built);
}

void pk_request_overloaded(pk_core *core, pk_request *r, const char *what, uint64_t limit) {
  pk_message m = {.size = 0};
  pk_message_add(&m, "protokit: overloaded: ");
  pk_message_add(&m, what);
  pk_message_number(&m, limit);
  pk_request_fail(core, r, PK_STATUS_OVERLOADED, m.data, m.size);
}

void pk_request_add_call(pk_message *m, const pk_destination *d) {
  pk_message_add(m, "service '");
  pk_message_bytes(m, d->service.data, d->service.size < 200 ? d->service.size : 200);
  pk_message_add(m, "' method '");
  pk_message_bytes(m, d->method.data, d->method.size < 100 ? d->method.size : 100);
  pk_message_add(m, "'");
}
