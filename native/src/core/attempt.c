/* attempt.c: one try of a request on one connection, from begin to its one end. */
#include "core/internal.h"

pk_attempt *pk_attempt_begin(pk_core *core, pk_request *r, pk_conn *c) {
  pk_attempt *a = pk_attempt_new(core);
  if (a == NULL) return NULL;
  pk_endpoint *e = c->endpoint;
  a->conn = pk_conn_handle(c);
  a->endpoint = e;
  a->request = pk_request_handle(r);
  a->started = core->now;
  a->shared = !c->pinned;
  a->sibling = r->attempt;
  r->attempt = a->index;
  e->active++;
  e->shared_active += a->shared;
  e->waiting[pk_places_of(&r->to)] += a->shared;
  PK_STAT_ADD(e->stats->active, 1);
  PK_STAT_ADD(e->stats->requests, 1);
  c->last_used = core->now;
  uint64_t deadline = pk_request_deadline(r);
  if (deadline > c->deadline) c->deadline = deadline;
  if (c->in_flight++ == 0) {
    c->busy_since = core->now;
    pk_conn_timer(core, c);
  }
  if (!pk_conn_is_opening(c)) return a;
  a->waiting = 1;
  *(c->waiting_tail == PK_NONE ? &c->waiting_head : &pk_attempt_at(core, c->waiting_tail)->next) = a->index;
  c->waiting_tail = a->index;
  return a;
}

/* What it came to is known: counted, and told of its endpoint. */
static PK_RARE void came_to(pk_core *core, const pk_request *r, const pk_attempt *a, uint32_t outcome) {
  if (r->parts & PK_PART_TOLD) pk_ends_tried(core, r, a);
  if (outcome == PK_ATTEMPT_TIMED_OUT) {
    PK_STAT_ADD(a->endpoint->stats->timeouts, 1);
    pk_times_took(a->endpoint->times, core->now - a->started); /* or who is slow would look fast */
    if (!a->waiting) pk_endpoint_unanswered(core, a);
  } else {
    PK_STAT_ADD(a->endpoint->stats->errors, 1);
  }
}

/* How long it took, for balancers. A client's own connection says nothing: it is read as its client reads. */
static void measure(pk_core *core, const pk_request *r, const pk_attempt *a, uint32_t outcome) {
  pk_latency *l = &a->endpoint->latency;
  uint64_t took = core->now - a->started;
  if (!a->shared || r->to.oneway) return;
  if (outcome == PK_ATTEMPT_REFUSED) {
    if (a->answered) pk_latency_refused(l, took, r->timeout_ms * (uint64_t)PK_MS, core->now);
  } else if (outcome >= PK_ATTEMPT_FAILED) {
    pk_latency_failed(l, took, r->timeout_ms * (uint64_t)PK_MS, core->now);
  } else if (a->parts || a->waiting) { /* the first part was measured; it was never asked */
    return;
  } else if (a->answered) {
    pk_latency_answered(l, took, core->now);
  } else {
    pk_latency_given_up(l, took, core->now);
  }
}

static __attribute__((noinline)) void look_at(pk_core *core, const pk_request *r, pk_attempt *a, uint32_t outcome) {
  if (a->endpoint->measured & PK_MEASURED_LATENCY) measure(core, r, a, outcome);
  if (a->endpoint->measured & PK_MEASURED_ERRORS) pk_endpoint_judge(core, r, a, outcome);
  if (a->placed) pk_breaker_ended(core, r, a, outcome);
  if ((a->endpoint->measured & PK_MEASURED_ANSWERS) && a->answered) pk_verdicts_heard(core->verdicts, a->endpoint->uid, core->now);
}

void pk_attempt_partly(pk_core *core, const pk_request *r, pk_attempt *a) {
  if ((a->endpoint->measured & PK_MEASURED_LATENCY) && a->shared && !r->to.oneway)
    pk_latency_answered(&a->endpoint->latency, core->now - a->started, core->now);
  a->parts = 1;
  if (a->placed) pk_breaker_partly(core, r, a);
}

static void unlink_from(const pk_core *core, pk_request *r, const pk_attempt *a) {
  uint32_t *at = &r->attempt;
  while (*at != a->index) at = &pk_attempt_at(core, *at)->sibling;
  *at = a->sibling;
}

void pk_attempt_end(pk_core *core, pk_request *r, pk_attempt *a, uint32_t outcome) {
  pk_endpoint *e = a->endpoint;
  if (e->measured) look_at(core, r, a, outcome);
  if (outcome >= PK_ATTEMPT_FAILED) came_to(core, r, a, outcome);
  unlink_from(core, r, a);
  e->active--;
  e->shared_active -= a->shared;
  e->waiting[pk_places_of(&r->to)] -= a->shared;
  PK_STAT_SUB(e->stats->active, 1);
  pk_conn *c = pk_conn_find(core, a->conn);
  if (c != NULL) c->in_flight--;
  if (a->waiting) {
    a->request = 0; /* freed when the connection opens or fails */
  } else {
    if (a->answered) {
      pk_times_took(e->times, core->now - a->started);
    } else if (c != NULL) {
      pk_slots_give_up(c, a);
    }
    pk_attempt_free(core, a);
  }
  if (c != NULL) pk_conn_touch(core, c);
}
