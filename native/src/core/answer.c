/* answer.c: answers that wait for filters, which run on the deciding side.
 *
 * A request whose rule has such filters is kept, beside its record, until its answer comes: filters see both. By then no
 * server has anything to do with it: the answer waits at a step as a request does (filter.c), with the same bounds and
 * the same end, and costs its own rule only. Where answers keep the order of requests, those behind it wait as for any other.
 *
 * Answers in parts no filter sees. Where filters have to (their rule does not say `open`), the caller gets an error instead;
 * so he does where they cannot be asked, or take too long. */
#include "core/internal.h"

static pk_aside *answering_of(const pk_request *r) {
  return &r->to.live->waits[r->plan - pk_table_plan_at(r->to.live->table, 0)]->answering;
}

static const pk_plan_step answer_step; /* of no plan */

static int is_open(const pk_request *r) { return (r->plan->open & PK_OPEN_ANSWERS) != 0; }

/* Its bytes as they are sent, the last step: for its answer's filters, and for changes of that. */
static int see(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  int filters = r->plan->answers != PK_NONE, needed = r->plan->change_answers > 0 && pk_change_needs_request(r);
  if (r->to.oneway) return PK_STEP_ON;
  if (r->plan->change_answers > 0) r->parts |= PK_PART_SET;
  if ((!filters && !needed) || pk_seen_keep(core, r, data, f) == 0) return PK_STEP_ON;
  if (!needed && is_open(r)) {
    PK_STAT_ADD(core->stats.answers_unseen, 1);
    return PK_STEP_ON;
  }
  pk_request_overloaded(core, r, "buffers of this worker are at the limit of ", core->limits.buffer);
  return PK_STEP_OVER;
}

const pk_plan_step pk_see_step = {.run = see};

/* Nobody sees the answer: 0, it goes on as it is; 1: its caller is told that he does not get it. */
static int unseen(pk_core *core, pk_request *r, uint32_t status, const char *why, uint64_t limit) {
  PK_STAT_ADD(core->stats.answers_unseen, 1);
  if (is_open(r)) return 0;
  pk_message m = {.size = 0};
  pk_message_add(&m, "protokit: the filters of ");
  pk_request_add_rule(&m, r);
  pk_message_add(&m, " do not see the answer: ");
  pk_message_add(&m, why);
  if (limit > 0) pk_message_number(&m, limit);
  pk_request_fail(core, r, status, m.data, m.size);
  return 1;
}

int pk_answer_unseen(pk_core *core, pk_request *r, pk_attempt *a) {
  pk_seen_forget(core, r);
  if (!is_open(r)) pk_attempt_partly(core, r, a); /* what follows of it is nobody's */
  return unseen(core, r, PK_STATUS_INTERNAL, "it comes in parts", 0);
}

/* The request and its answer, one behind the other. */
static pk_held *both(pk_core *core, const pk_request *r, const pk_held *asked, pk_answered about, const uint8_t *data,
                     const pk_frame *f) {
  pk_held *h = pk_held_new(core, (uint32_t)sizeof about + asked->frame.size + f->size);
  if (h == NULL) return NULL;
  about.cluster = r->to.cluster;
  about.status = f->status;
  about.asked = asked->frame.size;
  about.size = f->size;
  h->frame = *f;
  h->frame.state = NULL;
  memcpy(h->data, &about, sizeof about);
  memcpy(h->data + sizeof about, asked->data, asked->frame.size);
  memcpy(h->data + sizeof about + asked->frame.size, data, f->size);
  return h;
}

int pk_answer_ask(pk_core *core, pk_request *r, uint32_t endpoint, uint64_t took, const uint8_t *data, const pk_frame *f) {
  const pk_conn *client = pk_conn_find(core, r->to.client);
  pk_held *asked = pk_seen_take(core, r), *h = NULL;
  if (client == NULL || !pk_conn_writes(client)) {
    pk_held_free(core, asked);
    return 0;
  }
  uint64_t size = sizeof(pk_answered) + (uint64_t)asked->frame.size + f->size;
  int room = size > UINT32_MAX ? PK_ASIDE_LARGE : pk_aside_room(core, answering_of(r), size);
  if (room == PK_ASIDE_FITS) h = both(core, r, asked, (pk_answered){.took = took, .endpoint = endpoint}, data, f);
  pk_held_free(core, asked);
  if (room == PK_ASIDE_MANY)
    return unseen(core, r, PK_STATUS_OVERLOADED, "those that wait for them are at the limit of ", core->limits.filters);
  if (h == NULL)
    return unseen(core, r, PK_STATUS_OVERLOADED, "the bytes that wait for filters are at their limit", 0);
  pk_request_end_attempts(core, r);
  pk_held_free(core, pk_request_unhold(core, r)); /* it is not tried again */
  r->held = h;
  pk_request_count_held(core, r, h->capacity);
  r->step = &answer_step;
  pk_aside_take(core, r, answering_of(r));
  pk_timer_start(&core->wheel, &r->timer, pk_request_deadline(r)); /* it may have been a try's */
  pk_filter_wait(core, r, (pk_op){.op = PK_OP_ANSWER, .arg = r->plan->answers, .size = size});
  return 1;
}

/* The answer in what was held. */
static const uint8_t *answer_in(const pk_held *h) { return h->data + h->capacity - h->frame.size; }

static void decide(pk_core *core, pk_request *r, const pk_verdict *v) {
  static const char why[] = "protokit: the answer that a filter changed does not fit any more";
  const pk_codec *codec = r->to.codec;
  pk_filter_decided(core, r, answering_of(r));
  pk_held *h = pk_request_unhold(core, r);
  pk_frame f;
  const uint8_t *changed = (const uint8_t *)v->text;
  if (v->what == PK_DECIDE_ANSWER_REPLY) {
    pk_request_fail(core, r, v->status, v->text, v->size);
  } else if (v->size == 0) {
    pk_request_answer(core, r, answer_in(h), &h->frame);
  } else if (v->size <= core->limits.frame && pk_request_same_answer(core, r, answer_in(h), &h->frame, changed, (uint32_t)v->size, &f)) {
    pk_request_answer(core, r, changed, &f);
  } else {
    pk_request_fail(core, r, PK_STATUS_INTERNAL, why, sizeof why - 1);
  }
  pk_held_free(core, h);
  pk_codec_release(codec);
}

static void cancel(pk_core *core, pk_request *r) { pk_filter_left(core, r, answering_of(r), 0); }

static void due(pk_core *core, pk_request *r) {
  const pk_codec *codec = r->to.codec;
  const pk_limits *l = &core->limits;
  int over = core->now / PK_MS >= pk_request_deadline(r);
  pk_codec_hold(codec);
  const pk_held *h = pk_filter_left(core, r, answering_of(r), 1);
  if (is_open(r)) {
    PK_STAT_ADD(core->stats.answers_unseen, 1);
    pk_request_answer(core, r, answer_in(h), &h->frame);
  } else {
    pk_filter_late(core, r, " on the answer", over ? r->timeout_ms : l->filter_ms);
  }
  pk_codec_release(codec);
}

static const pk_plan_step answer_step = {.due = due, .cancel = cancel, .decide = decide};
