/* check.c: active health checks: a connection of their own to each endpoint whose cluster asks for them, on a timer of
 * the core's wheel.
 *
 * It is no connection that requests may have and takes no place of theirs. For heartbeats and calls it stays open between
 * checks, while they pass. Of several workers each checks its share of the endpoints (pk_core_join); what it finds is
 * for all (verdicts.h). So many checks are under way at a time; the others wait for their turn. */
#include <stdlib.h>

#include "core/internal.h"
#include "wire/framing.h"

enum { AT_ONCE = 64 };

static int is_under_way(const pk_checker *k) { return k->since != 0; }

static pk_checker *checker_of(const pk_conn *c) {
  pk_checker *k = c->endpoint->checker;
  return k != NULL && k->conn == pk_conn_handle(c) ? k : NULL;
}

static void wait_until(pk_core *core, pk_checker *k, uint64_t due) {
  pk_timer_start(&core->wheel, &k->timer, due / PK_MS + 1);
}

/* It is over, whatever it came to. */
static void end(pk_core *core, pk_checker *k) {
  uint64_t next = k->since + pk_check_next(k->rule, pk_random(core));
  k->since = 0;
  k->asked = 0;
  core->checking--;
  wait_until(core, k, next > core->now ? next : core->now);
}

static void tell(pk_core *core, const pk_endpoint *e, uint32_t why, uint64_t detail) {
  pk_endpoint_changed(core, e);
  if (!e->gone)
    pk_op_add(core, (pk_op){.op = PK_OP_ENDPOINT, .arg = e->uid, .size = PK_ILL_FAILING, .data = why, .codec = detail});
}

static void came_to(pk_core *core, pk_checker *k, uint32_t why, uint64_t detail) {
  pk_endpoint *e = k->endpoint;
  PK_STAT_ADD(core->stats.checks, 1);
  PK_STAT_ADD(core->stats.checks_failed, why != PK_CHECK_PASSED);
  if (pk_check_came_to(&k->state, k->rule, why == PK_CHECK_PASSED)) {
    e->health.failing = k->state.failing;
    pk_verdicts_say(core->verdicts, e->uid, k->state.failing);
    tell(core, e, k->state.failing ? why : PK_CHECK_PASSED, detail);
  }
  end(core, k);
}

static void drop_conn(pk_core *core, pk_checker *k) {
  pk_conn *c = pk_conn_find(core, k->conn);
  k->conn = 0;
  if (c != NULL) pk_conn_discard(core, c);
}

/* Its connection is of no use any more. */
static void failed(pk_core *core, pk_checker *k, uint32_t why, uint64_t detail) {
  came_to(core, k, why, detail);
  drop_conn(core, k);
}

/* What the call is as a frame; 0: it cannot be framed. */
static int call_frame(const pk_core *core, const pk_checker *k, pk_slice call, pk_frame *f) {
  *f = (pk_frame){.from = PK_FROM_CLIENT};
  return pk_frame_alone(k->codec, call.data, call.size, core->limits.frame, f) == PK_OK && f->size == call.size;
}

static pk_slice call_of(const pk_checker *k) { return pk_table_slice(k->table, k->rule->frame); }

/* 0: it cannot be said now, which says nothing of the server. */
static int say_call(pk_core *core, pk_checker *k, pk_conn *c) {
  pk_frame f;
  pk_slice call = call_of(k);
  if (!call_frame(core, k, call, &f)) return 0;
  uint64_t id = k->codec->id_bytes == 0 ? 0 : f.id;
  if (c->named) {
    pk_slice name = pk_id_of(c->codec, call.data, &f, f.size);
    id = name.data == NULL ? 0 : pk_id_hash(c->codec, name);
  }
  return pk_slots_expect(c, id, f.context) == 0 && pk_conn_send(core, c, call.data, call.size) != NULL;
}

static void ask(pk_core *core, pk_checker *k, pk_conn *c) {
  k->asked = 1;
  if (k->rule->by == PK_CHECK_BY_HEARTBEAT) {
    c->probing = 0;
    pk_conn_probe(core, c);
    if (!c->probing) came_to(core, k, PK_CHECK_PASSED, 0); /* its protocol has none: it is open, and that is all there is */
  } else if (!say_call(core, k, c)) {
    end(core, k);
    drop_conn(core, k);
  }
}

/* NULL without memory. */
static pk_conn *connect_to(pk_core *core, pk_checker *k) {
  pk_endpoint *e = k->endpoint;
  pk_conn *c = pk_conn_new(core, core->checker, PK_CONN_CONNECTING);
  if (c == NULL) return NULL;
  c->codec = k->codec;
  c->pinned = 1; /* nobody else uses it */
  if (c->codec != NULL && (pk_slots_init(c) != 0 || pk_conn_remember(core, c) != 0)) {
    c->codec = NULL;
    c->state = PK_CONN_FREE;
    pk_list_add(&core->free_conns, c->index);
    return NULL;
  }
  pk_codec_hold(c->codec);
  c->named = c->codec != NULL && pk_id_max(c->codec) > 0;
  c->endpoint = e;
  e->opening++;
  PK_STAT_ADD(core->stats.upstream_connections_active, 1);
  k->conn = pk_conn_handle(c);
  pk_op_add(core, (pk_op){.op = PK_OP_CONNECT,
                          .handle = k->conn,
                          .data = (uint64_t)(uintptr_t)e->addr,
                          .size = e->addr_size});
  return c;
}

static void begin(pk_core *core, pk_checker *k) {
  pk_conn *c = pk_conn_find(core, k->conn);
  core->checking++;
  k->since = core->now;
  wait_until(core, k, core->now + k->rule->timeout * (uint64_t)PK_MS);
  if (c != NULL) {
    ask(core, k, c);
  } else if (connect_to(core, k) == NULL) {
    end(core, k);
  }
}

/* Nothing came of it in its time. */
static void late(pk_core *core, pk_checker *k) {
  pk_endpoint *e = k->endpoint;
  uint64_t elsewhere = pk_verdicts_last_heard(core->verdicts, e->uid);
  uint64_t heard = e->health.heard > elsewhere ? e->health.heard : elsewhere;
  if (!k->asked) {
    const pk_conn *c = pk_conn_find(core, k->conn);
    failed(core, k, c != NULL && c->state == PK_CONN_GREETING ? PK_CHECK_GREETING : PK_CHECK_LATE, 0);
  } else if (k->rule->by == PK_CHECK_BY_HEARTBEAT && !pk_check_is_silent(e->health.beats, heard, k->since)) {
    came_to(core, k, PK_CHECK_PASSED, 0);
  } else {
    failed(core, k, PK_CHECK_SILENT, 0);
  }
}

void pk_check_fired(pk_core *core, pk_checker *k) {
  if (is_under_way(k)) {
    late(core, k);
  } else {
    *(core->waiting_checks == NULL ? &core->waiting_checks : &core->last_check->behind) = k;
    core->last_check = k;
    k->behind = NULL;
    k->waits = 1;
  }
}

void pk_checks_go_on(pk_core *core) {
  while (core->waiting_checks != NULL && core->checking < AT_ONCE && !core->shutdown) {
    pk_checker *k = core->waiting_checks;
    core->waiting_checks = k->behind;
    k->waits = 0;
    begin(core, k);
  }
}

static void wait_no_more(pk_core *core, pk_checker *k) {
  pk_checker **at = &core->waiting_checks, *before = NULL;
  while (*at != k) {
    before = *at;
    at = &before->behind;
  }
  *at = k->behind;
  if (core->last_check == k) core->last_check = before;
  k->waits = 0;
}

void pk_check_end(pk_core *core, pk_endpoint *e) {
  pk_checker *k = e->checker;
  if (k == NULL) return;
  e->checker = NULL;
  pk_timer_stop(&core->wheel, &k->timer);
  if (k->waits) wait_no_more(core, k);
  if (is_under_way(k)) core->checking--;
  drop_conn(core, k);
  if (k->state.failing) {
    e->health.failing = 0;
    tell(core, e, PK_CHECK_OVER, 0);
  }
  pk_verdicts_forget(core->verdicts, e->uid);
  free(k);
}

static const pk_codec *codec_of(const pk_table *t, const pk_check *rule) {
  return rule->by == PK_CHECK_BY_CONNECT ? NULL : pk_table_codec_at(t, rule->codec);
}

static int asks_the_same(const pk_checker *k, const pk_table *t, const pk_check *rule) {
  pk_slice was = call_of(k), is = pk_table_slice(t, rule->frame);
  return k->rule->by == rule->by && k->codec == codec_of(t, rule) && was.size == is.size &&
         (is.size == 0 || memcmp(was.data, is.data, is.size) == 0);
}

/* By this rule from now on; what is known stays. */
static void follow(pk_core *core, pk_endpoint *e, const pk_table *t, const pk_check *rule) {
  pk_checker *k = e->checker;
  int begins = k == NULL, same = k != NULL && asks_the_same(k, t, rule);
  if (begins && (k = e->checker = calloc(1, sizeof *k)) == NULL) return; /* unchecked, as before */
  if (begins) pk_verdicts_forget(core->verdicts, e->uid);
  int faster = begins || rule->every < k->rule->every;
  k->timer.kind = PK_TIMER_CHECK;
  k->endpoint = e;
  k->table = t;
  k->rule = rule;
  k->codec = codec_of(t, rule);
  if (!begins && !same) {
    if (is_under_way(k)) end(core, k);
    drop_conn(core, k);
  }
  if (faster && !is_under_way(k) && !k->waits) wait_until(core, k, core->now + pk_check_first(rule, pk_random(core)));
}

/* Whether this worker checks it. */
static int is_mine(const pk_core *core, uint32_t uid) { return core->places <= 1 || uid % core->places == core->place; }

void pk_checks_follow(pk_core *core, const pk_table *t) {
  for (uint32_t i = 0; i < t->clusters.count; i++) {
    const pk_table_cluster *c = pk_table_cluster_at(t, i);
    for (uint32_t n = 0; c->check.by != PK_CHECK_BY_NONE && n < c->endpoint_count; n++) {
      const pk_table_endpoint *te = pk_table_endpoint_at(t, c->endpoints + n);
      if (te->weight > 0 && is_mine(core, te->uid)) follow(core, core->endpoints[te->uid], t, &c->check);
    }
  }
  for (uint32_t i = 0; i < core->endpoint_capacity; i++) {
    pk_endpoint *e = core->endpoints[i];
    if (e != NULL && e->checker != NULL && e->checker->table != t) pk_check_end(core, e);
  }
}

void pk_core_join(pk_core *core, pk_verdicts *verdicts, uint32_t place, uint32_t places) {
  core->verdicts = verdicts;
  core->place = place;
  core->places = places;
}

void pk_checks_hear(pk_core *core) {
  core->verdicts_seen = pk_verdicts_version(core->verdicts);
  for (uint32_t i = 0; i < core->endpoint_capacity; i++) {
    pk_endpoint *e = core->endpoints[i];
    if (e == NULL || is_mine(core, i)) continue;
    uint8_t failing = pk_verdicts_of(core->verdicts, i);
    if (failing != e->health.failing) pk_endpoint_changed(core, e);
    e->health.failing = failing;
  }
}

/* What comes on its connection. */

static void answered(pk_core *core, pk_conn *c, uint32_t status) {
  pk_checker *k = checker_of(c);
  if (k == NULL || !k->asked) return;
  if (status > PK_STATUS_APP_ERROR) {
    came_to(core, k, PK_CHECK_STATUS, status);
  } else {
    came_to(core, k, PK_CHECK_PASSED, 0);
  }
}

/* An answer; of the call, where it says how that is read. */
static void response(pk_core *core, pk_conn *c, const uint8_t *data, pk_frame *f) {
  const pk_checker *k = checker_of(c);
  int in_step = pk_slots_in_step(c, data, f->size, f);
  if (k == NULL || k->rule->by != PK_CHECK_BY_CALL) return;
  pk_frame asked;
  pk_slice call = call_of(k);
  if (!in_step || !call_frame(core, k, call, &asked)) {
    pk_conn_drop(core, c, PK_LOST_FORMAT, 0);
    return;
  }
  if (c->codec->answer != NULL) {
    uint8_t kept[PK_KEEP_MAX];
    int size = c->codec->keep == NULL ? 0 : c->codec->keep(c->codec, call.data, call.size, &asked, kept, c->codec->keep_max);
    const pk_reply to = {.id = c->named ? 0 : asked.id,
                         .context = asked.context,
                         .kept = {size > 0 ? kept : NULL, size > 0 ? (uint32_t)size : 0}};
    if (c->codec->answer(c->codec, data, f, &to) != PK_OK) {
      pk_conn_drop(core, c, PK_LOST_FORMAT, 0);
      return;
    }
  }
  pk_slots_answered(core, c, data, f->size, f);
  answered(core, c, f->status);
  if (f->says & (PK_SAYS_MORE | PK_SAYS_LAST) || f->ended) pk_conn_discard(core, c); /* what follows is not for the next one */
}

static void frame(pk_core *core, pk_conn *c, const uint8_t *data, pk_frame *f) {
  if (c->state == PK_CONN_GREETING && (f->kind == PK_KIND_RESPONSE || f->kind == PK_KIND_GREETING)) {
    pk_greeting_frame(core, c, data, f);
    return;
  }
  if (f->kind != PK_KIND_GREETING && c->state != PK_CONN_GREETING) pk_endpoint_heard(core, c->endpoint);
  switch (f->kind) {
    case PK_KIND_HEARTBEAT: pk_conn_heartbeat_ack(core, c, data, f); break;
    case PK_KIND_HEARTBEAT_ACK:
      c->endpoint->health.beats = 1;
      if (checker_of(c) != NULL && checker_of(c)->rule->by == PK_CHECK_BY_HEARTBEAT) answered(core, c, PK_STATUS_OK);
      break;
    case PK_KIND_RESPONSE: response(core, c, data, f); break;
    case PK_KIND_DRAIN: pk_endpoint_drains(core, c->endpoint, 1); break;
    case PK_KIND_UNDRAIN: pk_endpoint_drains(core, c->endpoint, 0); break;
    default: break;
  }
}

static void bad(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f, int error) {
  PK_STAT_ADD(core->stats.protocol_errors_upstream, 1);
  pk_malformed_tell(core, c, data, size, f->error_at, error);
  pk_conn_drop(core, c, PK_LOST_FORMAT, f->error_at);
}

static void opened(pk_core *core, pk_conn *c) {
  pk_checker *k = checker_of(c);
  if (k == NULL) return;
  if (k->rule->by == PK_CHECK_BY_CONNECT) {
    came_to(core, k, PK_CHECK_PASSED, 0);
    drop_conn(core, k);
  } else {
    ask(core, k, c);
  }
}

/* What its end says of the server. */
static uint32_t said_by(const pk_conn *c, int opening) {
  if (c->lost == PK_LOST_FORMAT) return PK_CHECK_FORMAT;
  if (!opening) return PK_CHECK_CLOSED;
  return c->lost == PK_LOST_REFUSED || c->greeting > 0 ? PK_CHECK_GREETING : PK_CHECK_REFUSED;
}

static void closed(pk_core *core, pk_conn *c, int opening) {
  pk_checker *k = checker_of(c);
  c->endpoint->opening -= opening != 0;
  PK_STAT_SUB(core->stats.upstream_connections_active, 1);
  if (k == NULL) return;
  k->conn = 0;
  if (!is_under_way(k)) return; /* a server may close what is idle */
  if (c->lost == PK_LOST_UNWANTED || c->lost == PK_LOST_EXHAUSTED || c->lost == PK_LOST_BUDGET) {
    end(core, k);
  } else {
    came_to(core, k, said_by(c, opening), opening && c->error > 0 ? (uint64_t)c->error : 0);
  }
}

static void settle(pk_core *core, pk_conn *c) {
  if (c->eof && !c->ready && !pk_conn_is_stuck(c)) pk_conn_close(core, c, 0);
}

static void last(pk_core *core, pk_conn *c) { pk_conn_close(core, c, 0); }

static void half(pk_core *core, pk_conn *c) { pk_conn_drop(core, c, PK_LOST_HALF, 0); }

/* Its check's timer is the one that counts. */
static uint64_t due(const pk_core *core, const pk_conn *c) {
  (void)core;
  (void)c;
  return UINT64_MAX;
}

static void fired(pk_core *core, pk_conn *c) { pk_conn_timer(core, c); }

/* Nobody gets the front of a large answer: it is waited for. */
static int whole(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, pk_frame *f) {
  (void)core;
  (void)c;
  (void)data;
  (void)size;
  (void)f;
  return PK_MORE;
}

static const pk_halves no_halves = {.frame = whole};

const pk_kind pk_check_kind = {
    .side = PK_SIDE_UP,
    .frame = frame,
    .bad = bad,
    .halves = &no_halves,
    .last = last,
    .opened = opened,
    .settle = settle,
    .half = half,
    .closed = closed,
    .due = due,
    .fired = fired,
};
