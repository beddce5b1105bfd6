/* limit.c: a rule takes so many requests a second, in all or for each key. */
#include "core/internal.h"
#include "wire/ask.h"

/* What tells apart whose bucket it is. PK_OK or why that cannot be read. */
static int key_of(const pk_core *core, const pk_request *r, const uint8_t *data, const pk_frame *f, uint64_t *key) {
  const pk_limit *l = &r->plan->limit;
  const pk_table *t = r->to.live->table;
  pk_destination d = {.context = f->context};
  pk_header h = {.raw = 0};
  int result = PK_OK;
  if (l->by & (PK_LIMIT_BY_SERVICE | PK_LIMIT_BY_METHOD)) {
    result = r->to.codec->destination(r->to.codec, data, f, &d);
    if (result == PK_ERR_UNSUPPORTED) d = (pk_destination){.context = f->context}; /* as a rule sees it */
  }
  if (l->by & PK_LIMIT_BY_SERVICE) *key = pk_hash(*key, d.service.data, d.service.size);
  if (l->by & PK_LIMIT_BY_METHOD) *key = pk_hash(*key, d.method.data, d.method.size);
  if (l->by & PK_LIMIT_BY_SOURCE) {
    const pk_conn *client = pk_conn_find(core, r->to.client); /* it asks just now */
    if (client != NULL) *key = pk_hash(*key, client->source, sizeof client->source);
  }
  if (l->by & PK_LIMIT_BY_HEADER) {
    pk_slice name = pk_table_slice(t, l->header);
    result = pk_header_by_key(r->to.codec, data, f, name, &h);
    *key = pk_hash(*key ^ (uint64_t)(result == PK_OK), h.value.data, h.value.size);
  }
  if (*key == 0) *key = 1;
  return result < 0 && result != PK_ERR_UNSUPPORTED ? result : PK_OK;
}

static PK_RARE int refuse(pk_core *core, pk_request *r, pk_rule_state *s) {
  const pk_limit *l = &r->plan->limit;
  const pk_table *t = r->to.live->table;
  pk_rule_decided(s, l->dry_run ? PK_DECIDED_WOULD_LIMIT : PK_DECIDED_LIMIT);
  if (l->dry_run) return PK_STEP_ON;
  pk_message m = {.size = 0};
  pk_message_add(&m, "protokit: rate limit of rule ");
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
  pk_message_add(&m, " asks for headers of the request, which cannot be read");
  pk_request_fail(core, r, PK_STATUS_BAD_REQUEST, m.data, m.size);
  return PK_STEP_OVER;
}

static int limit(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  const pk_limit *l = &r->plan->limit;
  pk_rule_state *s = pk_state_of(r);
  if (s == NULL) return PK_STEP_ON;
  uint64_t depth = (l->burst - 1) * l->interval, key = s->seed;
  if (l->by == 0) return pk_bucket_take(&s->bucket, l->interval, depth, core->now) ? PK_STEP_ON : refuse(core, r, s);
  if (key_of(core, r, data, f, &key) != PK_OK) return unreadable(core, r);
  if (pk_buckets_take(s->sets, s->mask, key, l->interval, depth, core->now)) return PK_STEP_ON;
  return refuse(core, r, s);
}

const pk_plan_step pk_limit_step = {.run = limit};
