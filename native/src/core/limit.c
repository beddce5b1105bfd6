/* limit.c: a rule takes so many requests a second, in all or for each key. */
#include "core/internal.h"

static PK_RARE int refuse(pk_core *core, pk_request *r, pk_rule_state *s) {
  const pk_limit *l = &r->plan->limit;
  const pk_table *t = r->to.live->table;
  pk_rule_decided(s, l->dry_run ? PK_DECIDED_WOULD_LIMIT : PK_DECIDED_LIMIT);
  if (l->dry_run) return PK_STEP_ON;
  pk_message m;
  pk_message_begin(&m, "protokit: rate limit of rule ");
  pk_message_text(&m, t, r->plan->name);
  pk_message_add(&m, " (");
  pk_message_text(&m, t, l->text);
  pk_message_add(&m, ") reached");
  pk_request_fail(core, r, PK_STATUS_OVERLOADED, m.data, m.size);
  return PK_STEP_OVER;
}

static PK_RARE int unreadable(pk_core *core, pk_request *r) {
  if (r->plan->limit.dry_run) return PK_STEP_ON;
  pk_message m = {.size = 0};
  pk_message_add(&m, "protokit: rate limit of rule ");
  pk_message_text(&m, r->to.live->table, r->plan->name);
  pk_message_add(&m, " asks for headers or arguments of the request, which cannot be read");
  pk_request_fail(core, r, PK_STATUS_BAD_REQUEST, m.data, m.size);
  return PK_STEP_OVER;
}

static int limit(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  const pk_limit *l = &r->plan->limit;
  pk_rule_state *s = pk_state_of(r);
  if (s == NULL) return PK_STEP_ON;
  uint64_t depth = (l->burst - 1) * l->interval, key = s->seed;
  if (l->by.count == 0) return pk_bucket_take(&s->bucket, l->interval, depth, core->now) ? PK_STEP_ON : refuse(core, r, s);
  if (pk_question_key(r->to.live->table, pk_question_of(core, r, data, f), l->by, &key) < 0) return unreadable(core, r);
  if (key == 0) key = 1;
  if (pk_buckets_take(s->sets, s->mask, key, l->interval, depth, core->now)) return PK_STEP_ON;
  return refuse(core, r, s);
}

const pk_plan_step pk_limit_step = {.run = limit};
