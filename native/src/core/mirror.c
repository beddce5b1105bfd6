/* mirror.c: a copy of a request for another cluster: a request of nobody's, whose answer is dropped. It is none of those in flight,
 * is tried once, and nothing that becomes of it is heard by anybody but its counters. */
#include "core/internal.h"
#include "policy/fault.h"
#include "wire/ask.h"

/* Nothing of the rule it was copied under holds for it but its time, which may be passed on; what its cluster says does. */
#define COPIES(more) {.features = PK_F_BREAKER | (more), .state = PK_NONE, .filter = PK_NONE, .answers = PK_NONE, .ends = PK_NONE, .cluster = PK_NONE, .mirror = {.cluster = PK_NONE}}
static const pk_plan of_copies = COPIES(0), with_time = COPIES(PK_F_PASS_ON);

/* Its bytes, marked where the rule says so; NULL: they cannot be, or there is no room. */
static pk_held *marked(pk_core *core, const pk_request *r, const uint8_t *data, const pk_frame *f) {
  static const uint8_t yes[] = "true";
  pk_slice key = pk_table_slice(r->to.live->table, r->plan->mirror.mark);
  if (key.size == 0) return pk_hold(core, data, f);
  if (r->to.codec->edit == NULL) return NULL;
  pk_edit edit = {PK_EDIT_HEADER, key, {yes, sizeof yes - 1}};
  uint32_t room = f->size + 512 + 8 * key.size;
  pk_held *h = pk_held_new(core, room);
  if (h == NULL) return NULL;
  int size = r->to.codec->edit(r->to.codec, data, f, &edit, 1, h->data, room);
  h->frame = (pk_frame){.from = PK_FROM_CLIENT};
  int framed = size <= 0 ? size : pk_frame_alone(r->to.codec, h->data, (uint32_t)size, (uint32_t)size, &h->frame);
  if (size > 0 && framed == PK_OK && h->frame.size == (uint32_t)size && h->frame.kind == f->kind) return h;
  pk_held_free(core, h);
  return NULL;
}

/* Whether a copy can go on a connection that others share, by itself. */
static int can_be_copied(const pk_core *core, const pk_request *r, const pk_frame *f) {
  int whole = !(f->says & (PK_SAYS_MORE | PK_SAYS_HALF)) && f->size <= core->limits.retry_buffer;
  return whole && !pk_codec_is_pinned(r->to.codec) && core->buffered < core->limits.buffer / 2;
}

static uint32_t plan_of(const pk_request *r) { return (uint32_t)(r->plan - pk_table_plan_at(r->to.live->table, 0)); }

/* Its key, where its cluster goes by one: that of the request is another cluster's. */
static uint64_t key_of(pk_core *core, const pk_request *r, const uint8_t *data, const pk_frame *f) {
  const pk_table *t = r->to.live->table;
  const pk_table_cluster *c = pk_table_cluster_at(t, r->plan->mirror.cluster);
  return c->hash.count > 0 ? pk_key_of(pk_question_of(core, r, data, f), t, c) : 0;
}

/* Its place of the rule's is its own from now on. 0: there is no memory. */
static int send(pk_core *core, const pk_request *r, pk_rule_state *s, pk_held *h, uint64_t key) {
  pk_request *copy = pk_request_copy(core, r, plan_of(r));
  if (copy == NULL) {
    pk_held_free(core, h);
    return 0;
  }
  copy->plan = (r->plan->features & PK_F_PASS_ON) ? &with_time : &of_copies;
  copy->to.cluster = r->plan->mirror.cluster;
  copy->to.hash = key;
  copy->held = h;
  copy->to.key = h->frame.upstream_key;
  pk_rule_decided(s, PK_DECIDED_MIRROR);
  PK_STAT_ADD(core->stats.mirrors, 1);
  PK_STAT_ADD(core->stats.mirrors_active, 1);
  pk_timer_start(&core->wheel, &copy->timer, pk_request_deadline(copy));
  pk_request_try(core, copy);
  return 1;
}

static int mirror(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  const pk_mirror *p = &r->plan->mirror;
  if (!pk_fault_hits(p->share, pk_random(core))) return PK_STEP_ON;
  pk_rule_state *s = pk_state_of(r);
  if (s == NULL) return PK_STEP_ON;
  int taken = can_be_copied(core, r, f) && pk_breaker_take(&s->copies, p->most);
  pk_held *h = taken ? marked(core, r, data, f) : NULL;
  if (h != NULL && send(core, r, s, h, key_of(core, r, data, f))) return PK_STEP_ON;
  if (taken) pk_breaker_give(&s->copies, 1);
  pk_rule_decided(s, PK_DECIDED_MIRROR_SKIPPED);
  PK_STAT_ADD(core->stats.mirrors_skipped, 1);
  return PK_STEP_ON;
}

const pk_plan_step pk_mirror_step = {.run = mirror};
