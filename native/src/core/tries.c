/* tries.c: what a try of a request comes to, if not to an answer for its caller: it is lost, takes too long, or is answered
 * with an error; and the next one. */
#include "core/internal.h"

/* Others are asked first. */
static void avoid(pk_request *r, const pk_endpoint *e) {
  r->to.avoid = (pk_endpoint *)(uintptr_t)e;
  r->to.tried |= (uint64_t)1 << e->uid % 64;
}

/* Requests of its rule that wait for their next try. */
static pk_aside *trying_of(const pk_request *r) {
  return &r->to.live->waits[r->plan - pk_table_plan_at(r->to.live->table, 0)]->trying;
}

static const pk_plan_step backoff_step; /* of no plan: a request waits for its next try */

/* It waits aside: however long its rule's waits are, they take no place of others. */
static void wait_aside(pk_core *core, pk_request *r, uint32_t ms) {
  if (pk_aside_room(core, trying_of(r), r->held->capacity) != PK_ASIDE_FITS) {
    pk_request_overloaded(core, r, "requests of this rule that wait for their next try are as many or as large as may be: ",
                          core->limits.filters);
    return;
  }
  pk_aside_take(core, r, trying_of(r));
  r->step = &backoff_step;
  pk_timer_start(&core->wheel, &r->timer, core->now / PK_MS + 1 + ms);
}

/* It has no attempt any more, the last one failed there. */
static void try_again(pk_core *core, pk_request *r, const pk_endpoint *failed, uint32_t wait) {
  if (pk_request_client(core, r) == NULL) {
    pk_request_end(core, r);
    return;
  }
  PK_STAT_ADD(core->stats.retries, 1);
  avoid(r, failed);
  if (r->to.hedge != 0) r->to.hedge = PK_NONE; /* that attempt is over */
  if (wait == 0) {
    pk_request_try(core, r);
    return;
  }
  wait_aside(core, r, wait);
}

static void due(pk_core *core, pk_request *r) { pk_aside_due(core, r, trying_of(r), "protokit: its next try did not begin"); }

static void cancel(pk_core *core, pk_request *r) { pk_aside_cancel(core, r, trying_of(r)); }

static const pk_plan_step backoff_step = {.due = due, .cancel = cancel};

int pk_retry_answer(pk_core *core, pk_request *r, pk_attempt *a, uint32_t status) {
  static const uint8_t reasons[PK_STATUS_COUNT] = {
      [PK_STATUS_OVERLOADED] = PK_RETRY_ON_OVERLOADED,   [PK_STATUS_TIMEOUT] = PK_RETRY_ON_TIMEOUT,
      [PK_STATUS_UNAVAILABLE] = PK_RETRY_ON_UNAVAILABLE, [PK_STATUS_NO_SERVICE] = PK_RETRY_ON_NO_SERVICE,
      [PK_STATUS_INTERNAL] = PK_RETRY_ON_INTERNAL,
  };
  uint32_t why = status < PK_STATUS_COUNT ? reasons[status] : 0, wait;
  if (why == 0) return 0;
  int alone = r->attempt == a->index && a->sibling == PK_NONE;
  if (alone && pk_retry_granted(core, r, why, 1, &wait) != PK_RETRY_GRANTED) return 0;
  const pk_endpoint *failed = a->endpoint;
  pk_attempt_end(core, r, a, pk_attempt_refused(status));
  if (alone) try_again(core, r, failed, wait);
  return 1;
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
    case PK_LOST_TURN: pk_message_add(m, "a call in front of this one took too long, and late answers could not be told apart"); break;
    default: pk_message_add(m, "the buffers of this worker are full"); break;
  }
}

/* What the end of its connection makes of an attempt: what this side or a client brings about is nothing against a server,
 * nor is that it answers what it has and then no more. */
static uint32_t outcome_of(uint8_t lost) {
  switch (lost) {
    case PK_LOST_EXHAUSTED: return PK_ATTEMPT_GIVEN_UP;
    case PK_LOST_UNWANTED:
    case PK_LOST_LAST:
    case PK_LOST_CUT:
    case PK_LOST_BUDGET:
    case PK_LOST_TURN: return PK_ATTEMPT_REFUSED;
    default: return PK_ATTEMPT_FAILED;
  }
}

void pk_request_lost(pk_core *core, pk_request *r, pk_attempt *a, uint32_t why, int written) {
  const pk_conn *c = pk_conn_find(core, a->conn);
  const pk_endpoint *e = a->endpoint;
  uint8_t lost = c == NULL ? PK_LOST_ITSELF : c->lost;
  int ours = lost == PK_LOST_EXHAUSTED;
  pk_attempt_end(core, r, a, outcome_of(lost));
  if (lost == PK_LOST_REFUSED) r->refused = 1;
  if (r->attempt != PK_NONE) return; /* another may be answered */
  uint32_t wait;
  int again = pk_retry_granted(core, r, why, written, &wait);
  if (again == PK_RETRY_GRANTED) {
    try_again(core, r, e, wait);
    return;
  }
  pk_message m = {.size = 0};
  pk_message_add(&m, lost == PK_LOST_REFUSED               ? "protokit: the greeting was refused by "
                     : ours                                ? "protokit: no descriptor or memory is left to connect to "
                     : why == PK_RETRY_ON_CONNECT_FAILURE ? "protokit: cannot connect to "
                                                           : "protokit: the connection was lost to ");
  pk_request_add_target(&m, r, e);
  if (why == PK_RETRY_ON_RESET) {
    pk_message_add(&m, (r->parts & PK_PART_CAME) ? " after a part of its answer"
                       : written     ? " after the request was sent"
                                     : " before the request was sent");
    add_reason(core, &m, c);
  }
  if (again == PK_RETRY_OVER_BUDGET) {
    pk_message_add(&m, "; it is not tried again: the retries of rule '");
    pk_message_text(&m, r->to.live->table, r->plan->name);
    pk_message_add(&m, "' are at their share of its requests");
  } else if (again == PK_RETRY_OVER_BREAKER) {
    pk_message_add(&m, "; it is not tried again: ");
    pk_breaker_add_retries(&m, r);
  }
  pk_request_fail(core, r, ours ? PK_STATUS_OVERLOADED : PK_STATUS_UNAVAILABLE, m.data, m.size);
}

/* A late answer could not be told from another request's on the same connection: that one goes. */
static pk_handle unclear_on(const pk_core *core, const pk_attempt *a) {
  const pk_conn *c = a->waiting ? NULL : pk_conn_find(core, a->conn);
  return c != NULL && pk_slots_unclear(core, c, a) ? a->conn : 0;
}

/* All its attempts take too long. */
static const pk_endpoint *give_up(pk_core *core, pk_request *r, pk_handle unclear[PK_ATTEMPTS]) {
  const pk_endpoint *e = NULL;
  for (uint32_t i = 0; i < PK_ATTEMPTS && r->attempt != PK_NONE; i++) {
    pk_attempt *a = pk_attempt_at(core, r->attempt);
    e = a->endpoint;
    unclear[i] = unclear_on(core, a);
    pk_attempt_end(core, r, a, PK_ATTEMPT_TIMED_OUT);
  }
  return e;
}

/* `most`: where no more than so many others wait for answers. */
static void close_all(pk_core *core, const pk_handle conns[PK_ATTEMPTS], uint32_t most) {
  for (uint32_t i = 0; i < PK_ATTEMPTS; i++) {
    pk_conn *c = pk_conn_find(core, conns[i]);
    if (c != NULL && c->in_flight <= most) pk_conn_drop(core, c, PK_LOST_TURN, 0);
  }
}

/* The time of one try is its rule's alone: others who wait on its connection are told apart by their turns. */
static void give_up_try(pk_core *core, pk_request *r) {
  pk_handle unclear[PK_ATTEMPTS] = {0};
  give_up(core, r, unclear);
  close_all(core, unclear, 0);
}

/* Its tries took as long as one may. They are given up only where there is another: the last one has what time is left. */
static int try_is_over(pk_core *core, pk_request *r) {
  uint32_t wait;
  const pk_endpoint *e = pk_attempt_at(core, r->attempt)->endpoint;
  if (pk_retry_granted(core, r, PK_RETRY_ON_TIMEOUT, pk_request_is_sent(core, r), &wait) != PK_RETRY_GRANTED) return 0;
  pk_handle self = pk_request_handle(r);
  give_up_try(core, r);
  if (pk_request_find(core, self) == r) try_again(core, r, e, wait);
  return 1;
}

/* A second attempt beside the first. Where there is nobody else to ask it is not looked for again. */
static void hedge(pk_core *core, pk_request *r) {
  uint32_t first = r->attempt;
  pk_handle self = pk_request_handle(r);
  avoid(r, pk_attempt_at(core, first)->endpoint);
  r->to.elsewhere = 1;
  pk_request_try(core, r);
  if (pk_request_find(core, self) != r) return;
  int begun = r->attempt != first && r->attempt != PK_NONE;
  r->to.elsewhere = 0;
  r->to.tries--; /* it is none of the tries that the rule allows one after the other */
  r->to.hedge = begun ? r->attempt + 1 : PK_NONE;
  /* The first one, where it still waits for a connection, does not go there either. */
  if (begun) r->to.tried |= (uint64_t)1 << pk_attempt_at(core, r->attempt)->endpoint->uid % 64;
  pk_hedge_begun(core, r, begun);
}

static void look_at_tries(pk_core *core, pk_request *r) {
  const pk_plan *p = r->plan;
  uint64_t now = core->now / PK_MS;
  int ready = r->held != NULL && r->attempt != PK_NONE;
  if (ready && p->retry.per_try > 0 && now >= pk_attempt_after(core, r, p->retry.per_try) && try_is_over(core, r)) return;
  pk_handle self = pk_request_handle(r);
  pk_timer_start(&core->wheel, &r->timer, pk_request_deadline(r));
  if (ready && pk_hedge_may(r) && now >= pk_hedge_at(core, r) && pk_hedge_granted(core, r)) hedge(core, r);
  if (ready && pk_request_find(core, self) == r && r->attempt != PK_NONE) pk_retry_timer(core, r);
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
    look_at_tries(core, r);
    return;
  }
  if (is_not_heard(core, r)) { /* its time stands still */
    r->started = core->now;
    pk_timer_start(&core->wheel, &r->timer, pk_request_deadline(r));
    return;
  }
  pk_handle unclear[PK_ATTEMPTS] = {0};
  const pk_endpoint *e = give_up(core, r, unclear);
  pk_request_late(core, r, (r->parts & PK_PART_CAME) ? "protokit: no more of its answer from " : "protokit: no answer from ", e, r->timeout_ms);
  close_all(core, unclear, UINT32_MAX);
}
