/* core.c: the life of a core: tables, batches, timers, operations for the driver. */
#include "core/core.h"

#include <stdlib.h>

#include "wire/envelope.h"
#include "core/internal.h"

/* By PK_STEP_*: a plan's steps are taken in this order. */
static const pk_plan_step *const steps[PK_STEPS] = {
    [PK_STEP_NOTE] = &pk_note_step,
    [PK_STEP_LIMIT] = &pk_limit_step,
    [PK_STEP_DELAY] = &pk_delay_step,
    [PK_STEP_ABORT] = &pk_abort_step,
    [PK_STEP_FILTER] = &pk_filter_step,
    [PK_STEP_REPLY] = &pk_reply_step,
    [PK_STEP_CHANGE] = &pk_change_step,
    [PK_STEP_MIRROR] = &pk_mirror_step,
    [PK_STEP_KEY] = &pk_key_step,
    [PK_STEP_SEE] = &pk_see_step,
};

pk_core *pk_core_new(uint64_t seed) {
  pk_core *core = calloc(1, sizeof *core);
  if (core == NULL) return NULL;
  core->shared = pk_shared_new();
  if (core->shared == NULL) {
    free(core);
    return NULL;
  }
  core->random = seed | 1;
  core->server = &pk_server;
  core->steps = steps;
  core->make_room = pk_make_room;
  core->pair_server = &pk_pair_server;
  core->checker = &pk_check_kind;
  core->free_request = core->free_attempt = PK_NONE;
  core->wheel.next = UINT64_MAX;
  return core;
}

void pk_core_share(pk_core *core, pk_shared *shared) {
  pk_shared_release(core->shared);
  core->shared = pk_shared_hold(shared);
}

static void conn_free(pk_core *core, pk_conn *c) {
  pk_out_free(core, c);
  pk_chunk_free(core, c->in);
  pk_chunk_free(core, c->framing);
  pk_chunk_free(core, c->half);
  pk_chunk_free(core, c->lately);
  pk_slots_free(c);
  free(c->called);
  free(c->partial);
  pk_codec_release(c->codec);
  c->codec = NULL;
  c->in = c->framing = c->half = c->lately = NULL;
  c->called = NULL;
  c->partial = NULL;
  c->state = PK_CONN_FREE;
}

void pk_core_free(pk_core *core) {
  if (core == NULL) return;
  for (uint32_t i = 0; i < core->conn_count; i++) {
    conn_free(core, core->conns[i]);
    free(core->conns[i]);
  }
  core->conn_count = 0;
  for (uint32_t i = 0; i < core->request_pages; i++) {
    for (uint32_t k = 0; k < PK_PAGE; k++) {
      if (core->requests[i][k].state == PK_REQUEST_WAITING) pk_codec_release(core->requests[i][k].to.codec);
      pk_held_free(core, core->requests[i][k].held);
      pk_seen_forget(core, &core->requests[i][k]);
      pk_chunks_free(core, core->requests[i][k].answer);
    }
    free(core->requests[i]);
  }
  for (uint32_t i = 0; i < core->attempt_pages; i++) free(core->attempts[i]);
  pk_pages *beside[] = {&core->ids, &core->kept, &core->asked, &core->ending};
  for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
    for (uint32_t k = 0; k < beside[i]->count; k++) free(beside[i]->pages[k]);
    free(beside[i]->pages);
  }
  pk_core_abort(core);
  pk_ring_free(core->ends);
  pk_ring_free(core->asks);
  for (uint32_t i = 0; i < core->endpoint_capacity; i++) {
    if (core->endpoints[i] != NULL) free(core->endpoints[i]->checker);
    free(core->endpoints[i]);
  }
  while (core->gone_endpoints != NULL) {
    pk_endpoint *next = core->gone_endpoints->gone_next;
    free(core->gone_endpoints);
    core->gone_endpoints = next;
  }
  for (uint32_t i = 0; i < PK_STAT_PAGES; i++) {
    free(core->endpoint_stats[i]);
    free(core->times[i]);
  }
  while (core->live != NULL) {
    pk_live *older = core->live->older;
    free(core->live);
    core->live = older;
  }
  pk_waits_free(core);
  for (uint32_t i = 0; i < core->cluster_capacity; i++) {
    if (core->clusters[i] == NULL) continue;
    free(core->clusters[i]->latency);
    free(core->clusters[i]->gradient);
    free(core->clusters[i]);
  }
  free(core->clusters);
  pk_shared_release(core->shared);
  while (core->orphans != NULL) {
    pk_held *next = core->orphans->next;
    free(core->orphans);
    core->orphans = next;
  }
  while (core->free_chunks != NULL) {
    pk_chunk *next = core->free_chunks->next;
    free(core->free_chunks);
    core->free_chunks = next;
  }
  for (uint32_t i = 0; i < PK_HELD_CLASSES; i++) {
    while (core->free_held[i] != NULL) {
      pk_held *next = core->free_held[i]->next;
      free(core->free_held[i]);
      core->free_held[i] = next;
    }
  }
  pk_list *lists[] = {&core->free_conns, &core->graveyard, &core->dirty, &core->ready,
                      &core->ready_next};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) free(lists[i]->items);
  free(core->conns);
  free(core->requests);
  free(core->attempts);
  free(core->endpoints);
  free(core->ops);
  free(core);
}

size_t pk_core_take_dirty(pk_core *core, pk_handle *out, size_t max) {
  size_t n = 0;
  while (n < max && core->dirty.count > 0) {
    pk_conn *c = core->conns[core->dirty.items[--core->dirty.count]];
    c->dirty = 0;
    if (pk_conn_writes(c)) out[n++] = pk_conn_handle(c);
  }
  return n;
}

/* Clients come and everything ends. */

pk_handle pk_core_accept(pk_core *core, uint32_t listener) {
  return pk_core_accept_from(core, listener, (const uint8_t[PK_ADDRESS]){0});
}

pk_handle pk_core_accept_from(pk_core *core, uint32_t listener, const uint8_t source[PK_ADDRESS]) {
  const pk_table *t = core->live == NULL ? NULL : core->live->table;
  pk_conn *c = NULL;
  if (t == NULL || listener >= t->listeners.count || !pk_table_listener_at(t, listener)->present || core->shutdown) {
    PK_STAT_ADD(core->stats.connections_late, 1);
    return 0;
  }
  if (core->client_count < core->limits.connections) c = pk_conn_new(core, &pk_client, PK_CONN_OPEN);
  if (c == NULL) {
    PK_STAT_ADD(core->stats.connections_refused, 1);
    return 0;
  }
  const pk_table_listener *l = pk_table_listener_at(t, listener);
  c->listener = listener;
  memcpy(c->source, source, PK_ADDRESS);
  core->client_count++;
  PK_STAT_ADD(core->stats.connections_accepted, 1);
  PK_STAT_ADD(core->stats.connections_active, 1);
  pk_conn_timer(core, c);
  if (l->codec_count == 1 && l->fallback == PK_NONE) {
    pk_client_speak(core, c, pk_table_codec_at(t, l->codec));
  } else if (l->codec_count == 0 && l->fallback != PK_NONE) {
    pk_pair_begin(core, c); /* there is nothing to wait for */
  }
  return pk_conn_handle(c);
}

void pk_core_connected(pk_core *core, pk_handle h, int failed, int error) {
  pk_conn *c = pk_conn_find(core, h);
  if (c == NULL || c->state != PK_CONN_CONNECTING) return;
  if (failed) {
    if (failed == PK_CONNECT_EXHAUSTED) {
      c->lost = PK_LOST_EXHAUSTED;
      PK_STAT_ADD(core->stats.connect_errors, 1);
    }
    c->error = error;
    pk_conn_close(core, c, 1);
    return;
  }
  c->state = PK_CONN_GREETING; /* in the time that connecting may take */
  c->context = c->key;
  pk_greeting_begin(core, c);
  if (c->state == PK_CONN_GREETING && c->greeting == 0) pk_conn_opened(core, c);
}

const pk_codec *pk_core_bridged(const pk_core *core, pk_handle h) {
  const pk_conn *c = pk_conn_find(core, h);
  return c != NULL && c->codec != NULL && pk_envelope_is(c->codec) ? c->codec : NULL;
}

void pk_core_drain(pk_core *core) {
  core->draining = 1;
  for (uint32_t i = 0; i < core->conn_count; i++) {
    pk_conn *c = core->conns[i];
    if (c->state == PK_CONN_OPEN && pk_conn_is_client(c) && !c->told_drain)
      pk_conn_tell_drain(core, c);
  }
}

void pk_core_shutdown(pk_core *core) {
  static const char text[] = "protokit: the proxy is shutting down";
  core->shutdown = 1;
  for (uint32_t i = 0; i < core->request_pages * PK_PAGE; i++) {
    pk_request *r = &core->requests[i / PK_PAGE][i % PK_PAGE];
    if (r->to.live != NULL && r->state > PK_REQUEST_ANSWERED)
      pk_request_fail(core, r, PK_STATUS_UNAVAILABLE, text, sizeof text - 1);
  }
  for (uint32_t i = 0; i < core->conn_count; i++) {
    pk_conn *c = core->conns[i];
    if (pk_conn_is_opening(c)) pk_conn_discard(core, c);
    pk_conn_flush(core, c);
    pk_conn_settle(core, c);
  }
}

/* Batches. */

void pk_core_begin(pk_core *core, uint64_t now_ns) {
  core->now = now_ns;
  core->batch++;
  core->frames_left = PK_FRAMES_A_BATCH;
  core->looks = 0;
  if (core->wheel.count == 0) core->wheel.now = now_ns / PK_MS;
  if (core->verdicts != NULL && pk_verdicts_version(core->verdicts) != core->verdicts_seen) pk_checks_hear(core);
  if (core->gone_endpoints != NULL && core->graveyard.count == 0 && core->op_count == 0) pk_endpoints_free_gone(core);
  pk_list ready = core->ready;
  core->ready = core->ready_next;
  core->ready_next = ready;
  for (uint32_t i = 0; i < ready.count; i++) {
    pk_conn *c = core->conns[ready.items[i]];
    if (core->short_of_memory) pk_make_room(core);
    if (c->ready) pk_conn_more(core, c);
  }
  core->ready_next.count = 0;
}

void pk_core_end(pk_core *core) {
  pk_timer *t;
  while ((t = pk_wheel_expire(&core->wheel, core->now / PK_MS)) != NULL) {
    if (t->kind == PK_TIMER_CONN) {
      pk_conn_timer_fired(core, (pk_conn *)(void *)t);
    } else if (t->kind == PK_TIMER_CHECK) {
      pk_check_fired(core, (pk_checker *)(void *)t);
    } else {
      pk_request_timeout(core, (pk_request *)(void *)t);
    }
  }
  if (core->waiting_checks != NULL) pk_checks_go_on(core);
  if (core->changed) pk_usable_review(core);
  core->full = 0;
  if (core->short_of_memory || core->buffered > core->limits.buffer) pk_make_room(core);
  for (uint32_t i = 0; i < core->graveyard.count; i++) {
    pk_conn *c = core->conns[core->graveyard.items[i]];
    conn_free(core, c);
    pk_list_add(&core->free_conns, c->index);
  }
  core->graveyard.count = 0;
}

uint64_t pk_core_next(const pk_core *core) {
  if (core->ready.count > 0 || core->op_count > core->op_taken || core->dirty.count > 0)
    return core->now;
  return core->wheel.next == UINT64_MAX ? UINT64_MAX : core->wheel.next * PK_MS;
}

const pk_stats *pk_core_stats(const pk_core *core) { return &core->stats; }
