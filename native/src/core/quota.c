/* quota.c: what somebody outside says of a rule's limit: a request meets what was said last, and what is to be said next is
 * asked through a ring that the deciding side empties when it has time. Nothing waits for an answer. */
#include <stdlib.h>

#include "core/internal.h"
#include "table/units.h"

enum { RING = 1024 };

int pk_quota_prepare(pk_core *core, const pk_table *t) {
  uint32_t i = 0;
  while (i < t->plans.count && pk_table_plan_at(t, i)->limit.ask == PK_ASK_NOBODY) i++;
  if (i < t->plans.count && core->asks == NULL) core->asks = pk_ring_new(RING, sizeof(pk_ask));
  return i < t->plans.count && core->asks == NULL ? -1 : 0;
}

uint32_t pk_core_take_asks(pk_core *core, pk_ask *out, uint32_t max) {
  return core->asks == NULL ? 0 : pk_ring_take(core->asks, out, max);
}

/* The key's values, each with its size in front: as much of them as there is room for, empty where the request has none. */
static void add_values(pk_ask *a, const pk_table *t, pk_key by, pk_question *q) {
  uint32_t at = 0;
  for (uint32_t i = 0; i < by.count && at < PK_ASK_TEXT; i++) {
    pk_header h = {.raw = 0};
    const pk_origin *of = pk_table_origin_at(t, by.first + i);
    int found = pk_question_value(t, q, of, &h) == PK_OK;
    uint8_t few[2 * PK_ASK_VALUE];
    if (found && of->origin != PK_ORIGIN_SOURCE && pk_units_in(h.value)) {
      if (h.value.size > sizeof few) h.value.size = sizeof few;
      h.value = pk_units_joined(h.value, few);
    }
    uint32_t size = found ? h.value.size : 0, room = PK_ASK_TEXT - at - 1;
    room -= by.count - i - 1 < room ? by.count - i - 1 : room; /* the sizes of those behind it */
    if (size > PK_ASK_VALUE) size = PK_ASK_VALUE;
    if (size > room) size = room;
    a->text[at++] = (uint8_t)size;
    if (size > 0) memcpy(a->text + at, h.value.data, size);
    at += size;
    a->values++;
  }
}

static PK_RARE void ask(pk_core *core, const pk_request *r, pk_rule_state *s, pk_quota *q, uint64_t key, int said, const uint8_t *data, const pk_frame *f) {
  pk_ask a = {.state = (uint64_t)(uintptr_t)s, .key = key, .known = said != PK_QUOTA_UNKNOWN};
  if (!pk_quota_asks(q, key, core->now, &a.hits)) return; /* another thread asked meanwhile */
  int lets = core->asks != NULL && pk_rule_asks(s, (int)a.known);
  if (lets && r->plan->limit.by.count > 0) add_values(&a, r->to.live->table, r->plan->limit.by, pk_question_of(core, r, data, f));
  if (lets && pk_ring_put(core->asks, &a) == 0) return;
  if (lets) pk_rule_state_took(s, 1);
  pk_quota_unasked(q, a.hits);
  PK_STAT_ADD(core->stats.asks_lost, 1);
}

int pk_quota_asked(pk_core *core, const pk_request *r, pk_rule_state *s, uint64_t key, const uint8_t *data, const pk_frame *f) {
  if (s->quotas == NULL) return PK_QUOTA_UNKNOWN;
  pk_quota *q = pk_quota_of(pk_rule_quotas(s, key), key);
  int said = pk_quota_take(q, key, core->now);
  if (pk_quota_is_due(q, key, core->now)) ask(core, r, s, q, key, said, data, f);
  return said;
}
