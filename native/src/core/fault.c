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
  return &r->to.live->waits[r->plan - pk_table_plan_at(r->to.live->table, 0)]->delayed;
}

/* What the caller asks for itself. `counts`: whether what it asks for in vain is counted now. */
static int ordered(pk_core *core, const pk_request *r, const uint8_t *data, const pk_frame *f, int counts, pk_fault_order *o) {
  const pk_table *t = r->to.live->table;
  const pk_fault_asked *asked = &r->plan->fault.asked;
  pk_header h;
  if (asked->of.count == 0) return 0;
  if (pk_question_value(t, pk_question_of(core, r, data, f), pk_table_origin_at(t, asked->of.first), &h) != PK_OK) return 0;
  pk_slice key = pk_table_slice(t, asked->key);
  int said = pk_fault_read(key.data, key.size, h.value.data, h.value.size, o);
  if (said != PK_FAULT_ORDERED && counts) decided(r, said == PK_FAULT_DENIED ? PK_DECIDED_FAULT_DENIED : PK_DECIDED_FAULT_IGNORED);
  return said == PK_FAULT_ORDERED;
}

static int waits(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f, uint32_t ms, int is_asked) {
  int said = pk_aside_begin(core, r, data, f, delayed_of(r),
                            is_asked ? NULL : "requests of this rule that wait for its delay are at the limit of ",
                            is_asked ? NULL : "bytes that wait for filters and delays are at the limit of ");
  if (said != PK_STEP_WAITS) return said;
  decided(r, PK_DECIDED_DELAY);
  uint64_t due = core->now / PK_MS + 1 + ms;
  if (due < r->timer.due) pk_timer_start(&core->wheel, &r->timer, due);
  return PK_STEP_WAITS;
}

/* What callers ask for takes half of the places at most, and leaves bytes, so that the rule's own delays find room. */
static int leaves_room(const pk_core *core, const pk_aside *of, uint32_t size) {
  return of->requests < core->limits.filters / 2 && pk_aside_room(core, of, of->bytes + size) == PK_ASIDE_FITS;
}

static int delay_asked(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f, uint32_t ms) {
  const pk_fault_asked *asked = &r->plan->fault.asked;
  if (!pk_fault_hits(asked->share, pk_random(core))) return PK_STEP_ON;
  if (ms > asked->most_ms) ms = asked->most_ms;
  int said = leaves_room(core, delayed_of(r), f->size) ? waits(core, r, data, f, ms, 1) : PK_STEP_ON;
  if (said == PK_STEP_ON) decided(r, PK_DECIDED_FAULT_IGNORED);
  return said;
}

static int delay(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  const pk_fault *p = &r->plan->fault;
  pk_fault_order order;
  if (ordered(core, r, data, f, 1, &order) && order.delay_ms > 0) return delay_asked(core, r, data, f, order.delay_ms);
  if (!pk_fault_hits(p->delay_share, pk_random(core)) || !asks(core, r, data, f)) return PK_STEP_ON;
  return waits(core, r, data, f, p->delay_ms, 0);
}

static void due(pk_core *core, pk_request *r) { pk_aside_due(core, r, delayed_of(r), "protokit: its delay was not over"); }

static void cancel(pk_core *core, pk_request *r) { pk_aside_cancel(core, r, delayed_of(r)); }

const pk_plan_step pk_delay_step = {.run = delay, .due = due, .cancel = cancel};

static int fails(pk_core *core, pk_request *r, uint32_t status, const char *text) {
  decided(r, PK_DECIDED_ABORT);
  pk_message m = {.size = 0};
  pk_message_add(&m, text);
  pk_message_text(&m, r->to.live->table, r->plan->name);
  pk_request_fail(core, r, status, m.data, m.size);
  return PK_STEP_OVER;
}

static int abort_(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  const pk_fault *p = &r->plan->fault;
  pk_fault_order order;
  if (ordered(core, r, data, f, 0, &order) && order.status > 0) {
    if (!pk_fault_hits(p->asked.share, pk_random(core))) return PK_STEP_ON;
    return fails(core, r, order.status, "protokit: aborted as its caller asked, by the fault of rule ");
  }
  if (!pk_fault_hits(p->abort_share, pk_random(core)) || !asks(core, r, data, f)) return PK_STEP_ON;
  return fails(core, r, p->status, "protokit: aborted by the fault of rule ");
}

const pk_plan_step pk_abort_step = {.run = abort_};
