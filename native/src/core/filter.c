/* filter.c: requests that wait for filters, which run on the deciding side.
 *
 * A filter may never decide. It costs requests of its own rule only: those that wait are counted apart, by plan,
 * and hold a share of the memory at most. When its request ends (timeout, client gone, shutdown) the record and
 * all that it counts for are given back at once; only the bytes, which the other thread may be reading, stay
 * behind (orphaned) until it says that it has heard of the end. */
#include <stdlib.h>

#include "core/internal.h"

/* What the requests that wait for the same filters as this one have taken. */
static pk_aside *filtering_of(const pk_request *r) {
  const pk_table *t = r->to.live->table;
  return &r->to.live->filtering[r->plan - PK_AT(t, pk_plan, t->plans.at)];
}

static int ask(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  const pk_limits *l = &core->limits;
  int said = pk_aside_begin(core, r, data, f, filtering_of(r),
                            "requests of this rule that wait for filters are at the limit of ",
                            "bytes that wait for filters are at the limit of ");
  if (said != PK_STEP_WAITS) return said;
  PK_STAT_ADD(core->stats.filters_waiting, 1);
  PK_STAT_ADD(core->stats.filters_bytes, pk_aside_cost(f->size));
  uint64_t late = core->now / PK_MS + 1 + l->filter_ms;
  if (late < r->timer.due) pk_timer_start(&core->wheel, &r->timer, late);
  pk_op_add(core, (pk_op){.op = PK_OP_FILTER,
                          .arg = r->plan->filter,
                          .handle = pk_request_handle(r),
                          .data = (uint64_t)(uintptr_t)r->held->data,
                          .size = f->size,
                          .codec = (uint64_t)(uintptr_t)r->to.codec,
                          .token = r->to.live->token});
  return PK_STEP_WAITS;
}

static void read_no_more(pk_core *core, const pk_held *h) {
  pk_aside_free(core, h);
  PK_STAT_SUB(core->stats.filters_bytes, pk_aside_cost(h->capacity));
}

static void waits_no_more(pk_core *core, pk_request *r) {
  pk_aside_end(core, r, filtering_of(r));
  PK_STAT_SUB(core->stats.filters_waiting, 1);
}

static void cancel(pk_core *core, pk_request *r) {
  waits_no_more(core, r);
  pk_codec_release(r->to.codec);
  PK_STAT_ADD(core->stats.filters_cancelled, 1);
  pk_held *h = pk_request_unhold(core, r);
  h->request = pk_request_handle(r);
  h->next = NULL;
  pk_held_orphan(core, h);
  if (core->last_orphan != NULL) {
    core->last_orphan->next = h;
  } else {
    core->orphans = h;
  }
  core->last_orphan = h;
  pk_op_add(core, (pk_op){.op = PK_OP_CANCEL,
                          .arg = r->plan->filter,
                          .handle = h->request,
                          .token = r->to.live->token});
}

static void due(pk_core *core, pk_request *r) {
  uint32_t ms = r->to.live->table->limits.filter_ms;
  pk_request_late(core, r, "protokit: the filters did not decide", NULL, ms < r->timeout_ms ? ms : r->timeout_ms);
}

const pk_plan_step pk_filter_step = {.run = ask, .due = due, .cancel = cancel};

/* The other side has heard of the end; mostly of the oldest first. */
static void free_orphan(pk_core *core, pk_handle request) {
  pk_held *before = NULL, *h = core->orphans;
  while (h != NULL && h->request != request) {
    before = h;
    h = h->next;
  }
  if (h == NULL) return;
  *(before == NULL ? &core->orphans : &before->next) = h->next;
  if (core->last_orphan == h) core->last_orphan = before;
  read_no_more(core, h);
  free(h);
}

/* The filter's own version of the request takes the place of the one that was held. */
static int replace(pk_core *core, pk_request *r, const char *data, size_t size) {
  const pk_frame was = r->held->frame;
  pk_held *h = size <= core->limits.frame ? pk_held_new(core, (uint32_t)size) : NULL;
  if (h == NULL) return PK_ERR_UNSUPPORTED;
  memcpy(h->data, data, size);
  return pk_request_replace(core, r, &was, h, (uint32_t)size);
}

int pk_core_decide(pk_core *core, pk_handle request, uint32_t verdict, uint32_t cluster,
                   uint32_t status, const char *text, size_t text_size) {
  pk_request *r = pk_request_find(core, request);
  if (r == NULL || r->state != PK_REQUEST_WAITING || r->step != &pk_filter_step) {
    free_orphan(core, request);
    return -1;
  }
  const pk_codec *codec = r->to.codec;
  waits_no_more(core, r);
  read_no_more(core, r->held);
  if (!r->to.oneway && pk_request_client(core, r) == NULL) {
    pk_request_end(core, r);
  } else if (verdict == PK_DECIDE_REPLY) {
    pk_request_fail(core, r, status, text, text_size);
  } else if (text_size > 0 && replace(core, r, text, text_size) != PK_OK) {
    static const char why[] = "protokit: the request that a filter changed does not fit any more";
    pk_request_fail(core, r, PK_STATUS_INTERNAL, why, sizeof why - 1);
  } else {
    if (verdict == PK_DECIDE_CLUSTER && cluster < r->to.live->table->clusters.count) r->to.cluster = cluster;
    if (pk_aside_returns(core, r)) pk_request_go_on(core, r);
  }
  pk_codec_release(codec);
  return 0;
}
