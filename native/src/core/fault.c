/* fault.c: a rule's faults: some of its requests wait for a time, or are answered with an error. */
#include "policy/fault.h"

#include "core/internal.h"

/* Whether its header asks for it, where the rule says that one has to. */
static int asks(pk_core *core, const pk_request *r, const uint8_t *data, const pk_frame *f) {
  const pk_table *t = r->to.live->table;
  pk_key having = r->plan->fault.having;
  pk_header h;
  if (having.count == 0) return 1;
  return pk_question_value(t, pk_question_of(core, r, data, f), pk_table_origin_at(t, having.first), &h) == PK_OK;
}

static void decided(const pk_request *r, uint32_t what) {
  pk_rule_state *s = pk_state_of(r);
  if (s != NULL) pk_rule_decided(s, what);
}

static pk_aside *delayed_of(const pk_request *r) {
  const pk_table *t = r->to.live->table;
  return &r->to.live->delayed[r->plan - PK_AT(t, pk_plan, t->plans.at)];
}

static int delay(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  const pk_fault *p = &r->plan->fault;
  if (!pk_fault_hits(p->delay_share, pk_random(core)) || !asks(core, r, data, f)) return PK_STEP_ON;
  int said = pk_aside_begin(core, r, data, f, delayed_of(r),
                            "requests of this rule that wait for its delay are at the limit of ",
                            "bytes that wait for filters and delays are at the limit of ");
  if (said != PK_STEP_WAITS) return said;
  decided(r, PK_DECIDED_DELAY);
  uint64_t due = core->now / PK_MS + 1 + p->delay_ms;
  if (due < r->timer.due) pk_timer_start(&core->wheel, &r->timer, due);
  return PK_STEP_WAITS;
}

static void due(pk_core *core, pk_request *r) { pk_aside_due(core, r, delayed_of(r), "protokit: its delay was not over"); }

static void cancel(pk_core *core, pk_request *r) { pk_aside_cancel(core, r, delayed_of(r)); }

const pk_plan_step pk_delay_step = {.run = delay, .due = due, .cancel = cancel};

static int abort_(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  const pk_fault *p = &r->plan->fault;
  if (!pk_fault_hits(p->abort_share, pk_random(core)) || !asks(core, r, data, f)) return PK_STEP_ON;
  decided(r, PK_DECIDED_ABORT);
  pk_message m = {.size = 0};
  pk_message_add(&m, "protokit: aborted by the fault of rule ");
  pk_message_text(&m, r->to.live->table, r->plan->name);
  pk_request_fail(core, r, p->status, m.data, m.size);
  return PK_STEP_OVER;
}

const pk_plan_step pk_abort_step = {.run = abort_};
