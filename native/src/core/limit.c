/* limit.c: a rule takes so many requests a second, in all or for each key. */
#include "core/internal.h"

/* `decided`: PK_DECIDED_*; the next one is what a dry run counts. */
static PK_RARE int refuse(pk_core *core, pk_request *r, pk_rule_state *s, uint32_t decided) {
  const pk_limit *l = &r->plan->limit;
  const pk_table *t = r->to.live->table;
  pk_rule_decided(s, l->dry_run ? decided + 1 : decided);
  if (l->dry_run) return PK_STEP_ON;
  pk_message m;
  pk_message_begin(&m, decided == PK_DECIDED_LIMIT ? "protokit: rate limit of rule " : "protokit: global rate limit of rule ");
  pk_message_text(&m, t, r->plan->name);
  if (decided == PK_DECIDED_LIMIT) {
    pk_message_add(&m, " (");
    pk_message_text(&m, t, l->text);
    pk_message_add(&m, ")");
  }
  pk_message_add(&m, decided == PK_DECIDED_UNASKED ? " is not known, and nothing is taken without it" : " reached");
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

/* What somebody outside says: PK_STEP_*, or -1: what the limit here says. */
static PK_RARE int outside(pk_core *core, pk_request *r, pk_rule_state *s, uint64_t key, const uint8_t *data, const pk_frame *f) {
  int said = pk_quota_asked(core, r, s, key, data, f);
  if (said == PK_QUOTA_TAKEN) return PK_STEP_ON;
  if (said == PK_QUOTA_REFUSED) return refuse(core, r, s, PK_DECIDED_QUOTA);
  return r->plan->limit.ask == PK_ASK_CLOSED ? refuse(core, r, s, PK_DECIDED_UNASKED) : -1;
}

static int limit(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  const pk_limit *l = &r->plan->limit;
  pk_rule_state *s = pk_state_of(r);
  if (s == NULL) return PK_STEP_ON;
  uint64_t depth = (l->burst - 1) * l->interval, key = s->seed;
  if (l->by.count > 0 && pk_question_key(r->to.live->table, pk_question_of(core, r, data, f), l->by, &key) < 0) return unreadable(core, r);
  if (key == 0) key = 1;
  if (l->ask != PK_ASK_NOBODY) {
    int said = outside(core, r, s, key, data, f);
    if (said >= 0) return said;
  }
  int taken = s->mask == PK_ONE_BUCKET ? pk_bucket_take(&s->bucket, l->interval, depth, core->now)
                                       : pk_buckets_take(s->sets, s->mask, key, l->interval, depth, core->now);
  return taken ? PK_STEP_ON : refuse(core, r, s, PK_DECIDED_LIMIT);
}

const pk_plan_step pk_limit_step = {.run = limit};
