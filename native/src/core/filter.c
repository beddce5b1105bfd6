/* filter.c: requests that wait for filters, which run on the deciding side.
 *
 * A filter may never decide. It costs requests of its own rule only: those that wait are counted apart, by plan,
 * and hold a share of the memory at most. When its request ends (timeout, client gone, shutdown) the record and
 * all that it counts for are given back at once; only the bytes, which the other thread may be reading, stay
 * behind (orphaned) until it says that it has heard of the end. */
#include <stdlib.h>

#include "core/internal.h"
#include "policy/timeout.h"

/* What the requests that wait for the same filters as this one have taken. */
static pk_aside *filtering_of(const pk_request *r) {
  return &r->to.live->waits[r->plan - pk_table_plan_at(r->to.live->table, 0)]->filtering;
}

static int ask(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  static const char many[] = "requests of this rule that wait for filters are at the limit of ";
  static const char large[] = "bytes that wait for filters are at the limit of ";
  int open = (r->plan->open & PK_OPEN_REQUESTS) != 0;
  int said = pk_aside_begin(core, r, data, f, filtering_of(r), open ? NULL : many, open ? NULL : large);
  if (said != PK_STEP_WAITS) return said;
  uint32_t cluster = r->to.cluster != PK_NONE ? r->to.cluster : r->plan->cluster;
  pk_filter_wait(core, r, (pk_op){.op = PK_OP_FILTER, .arg = r->plan->filter, .size = f->size | (uint64_t)cluster << 32});
  return PK_STEP_WAITS;
}

void pk_filter_wait(pk_core *core, pk_request *r, pk_op op) {
  PK_STAT_ADD(core->stats.filters_waiting, 1);
  PK_STAT_ADD(core->stats.filters_bytes, pk_aside_cost(r->held->capacity));
  uint64_t late = core->now / PK_MS + 1 + core->limits.filter_ms;
  if (late < r->timer.due) pk_timer_start(&core->wheel, &r->timer, late);
  op.handle = pk_request_handle(r);
  op.data = (uint64_t)(uintptr_t)r->held->data;
  op.codec = (uint64_t)(uintptr_t)r->to.codec;
  op.token = r->to.live->token;
  pk_op_add(core, op);
}

static void read_no_more(pk_core *core, const pk_held *h) {
  pk_aside_free(core, h);
  PK_STAT_SUB(core->stats.filters_bytes, pk_aside_cost(h->capacity));
}

static void waits_no_more(pk_core *core, pk_request *r, pk_aside *of) {
  pk_aside_end(core, r, of);
  PK_STAT_SUB(core->stats.filters_waiting, 1);
}

void pk_filter_decided(pk_core *core, pk_request *r, pk_aside *of) {
  waits_no_more(core, r, of);
  read_no_more(core, r->held);
}

/* What filters read is of a request, or of its answer with it. */
static int is_answer(const pk_held *h) { return h->frame.kind == PK_KIND_RESPONSE; }

/* It had all that filters have, or the rule gives: what a caller cut short says nothing of them. */
static int had_their_time(const pk_core *core, const pk_request *r) {
  if (core->now / PK_MS < pk_request_deadline(r)) return 1;
  return r->timeout_ms >= pk_timeout_of(&r->plan->timeout, 0, r->to.live->table->limits.request_ms);
}

const pk_held *pk_filter_left(pk_core *core, pk_request *r, pk_aside *of, int late) {
  waits_no_more(core, r, of);
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
                          .arg = is_answer(h) ? r->plan->answers : r->plan->filter,
                          .handle = h->request,
                          .data = (uint64_t)is_answer(h),
                          .size = (uint64_t)(late && had_their_time(core, r)),
                          .token = r->to.live->token});
  return h;
}

void pk_filter_late(pk_core *core, pk_request *r, const char *on, uint32_t ms) {
  pk_message m = {.size = 0};
  pk_message_add(&m, "protokit: the filters of ");
  pk_request_add_rule(&m, r);
  pk_message_add(&m, " did not decide");
  pk_message_add(&m, on);
  pk_message_add(&m, " within ");
  pk_message_number(&m, ms);
  pk_message_add(&m, " ms");
  pk_request_fail(core, r, PK_STATUS_TIMEOUT, m.data, m.size);
}

static void cancel(pk_core *core, pk_request *r) { pk_filter_left(core, r, filtering_of(r), 0); }

/* Without their verdict. */
static void go_on(pk_core *core, pk_request *r) {
  const pk_codec *codec = r->to.codec;
  pk_codec_hold(codec);
  const pk_held *h = pk_filter_left(core, r, filtering_of(r), 1);
  if (!r->to.oneway && pk_request_client(core, r) == NULL) {
    pk_request_end(core, r);
  } else if (pk_request_hold(core, r, h->data, &h->frame) != 0) {
    pk_request_overloaded(core, r, "buffers of this worker are at the limit of ", core->limits.buffer);
  } else if (pk_aside_returns(core, r)) {
    pk_request_go_on(core, r);
  }
  pk_codec_release(codec);
}

static void due(pk_core *core, pk_request *r) {
  if ((r->plan->open & PK_OPEN_REQUESTS) && core->now / PK_MS < pk_request_deadline(r)) {
    go_on(core, r);
    return;
  }
  const pk_codec *codec = r->to.codec;
  uint32_t ms = r->to.live->table->limits.filter_ms;
  pk_codec_hold(codec);
  pk_filter_left(core, r, filtering_of(r), 1);
  pk_filter_late(core, r, "", ms < r->timeout_ms ? ms : r->timeout_ms);
  pk_codec_release(codec);
}

/* The other side has heard of the end; mostly of the oldest first. */
static void free_orphan(pk_core *core, pk_handle request, int answer) {
  pk_held *before = NULL, *h = core->orphans;
  while (h != NULL && (h->request != request || is_answer(h) != answer)) {
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

static void decide(pk_core *core, pk_request *r, const pk_verdict *v) {
  const pk_codec *codec = r->to.codec;
  pk_filter_decided(core, r, filtering_of(r));
  if (!r->to.oneway && pk_request_client(core, r) == NULL) {
    pk_request_end(core, r);
  } else if (v->what == PK_DECIDE_REPLY) {
    pk_request_fail(core, r, v->status, v->text, v->size);
  } else if (v->size > 0 && replace(core, r, v->text, v->size) != PK_OK) {
    static const char why[] = "protokit: the request that a filter changed does not fit any more";
    pk_request_fail(core, r, PK_STATUS_INTERNAL, why, sizeof why - 1);
  } else {
    if (v->what == PK_DECIDE_CLUSTER && v->cluster < r->to.live->table->clusters.count) r->to.cluster = v->cluster;
    if (pk_aside_returns(core, r)) pk_request_go_on(core, r);
  }
  pk_codec_release(codec);
}

const pk_plan_step pk_filter_step = {.run = ask, .due = due, .cancel = cancel, .decide = decide};

/* Nobody could be asked: as its rule says. */
static void not_asked(const pk_request *r, int answer, pk_verdict *v) {
  if (r->plan->open & (answer ? PK_OPEN_ANSWERS : PK_OPEN_REQUESTS)) {
    v->what = answer ? PK_DECIDE_ANSWER : PK_DECIDE_CONTINUE;
    v->size = 0;
  } else {
    v->what = answer ? PK_DECIDE_ANSWER_REPLY : PK_DECIDE_REPLY;
  }
}

int pk_core_decide(pk_core *core, pk_handle request, uint32_t verdict, uint32_t cluster,
                   uint32_t status, const char *text, size_t text_size) {
  pk_verdict v = {verdict, cluster, status, text, text_size};
  if (core->short_of_memory) core->make_room(core);
  pk_request *r = pk_request_find(core, request);
  int waits = r != NULL && r->state == PK_REQUEST_WAITING && r->step->decide != NULL;
  int answer = v.what >= PK_DECIDE_ANSWER;
  if (!waits || is_answer(r->held) != answer) {
    free_orphan(core, request, answer);
    return -1;
  }
  if (v.what == PK_DECIDE_NOT_ASKED || v.what == PK_DECIDE_ANSWER_NOT_ASKED) not_asked(r, answer, &v);
  r->step->decide(core, r, &v);
  return 0;
}
