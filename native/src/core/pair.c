/* pair.c: connections passed on byte by byte: a client of no known protocol and one server of its
 * listener's fallback cluster.
 *
 * A side is read only while the other takes what it gets: pausing is right here, the pair is one
 * client's own. The end of one direction is passed on behind its last byte. */
#include "core/internal.h"

enum { TRIES = 3 };

static const pk_kind pair_client;

/* Queued bytes above which the peer is not read. */
static uint32_t high_mark(const pk_core *core, const pk_conn *c) {
  return pk_conn_is_client(c) ? core->limits.client_pause : core->limits.upstream_buffer;
}

/* A connection of its own for a client; `failed` is not tried again. */
static pk_conn *pick_server(pk_core *core, const pk_conn *client, const pk_endpoint *failed) {
  pk_live *live = pk_conn_live(core, client);
  const pk_table *t = live->table;
  if (client->listener >= t->listeners.count) return NULL;
  const pk_table_listener *l = pk_table_listener_at(t, client->listener);
  if (!l->present || l->fallback == PK_NONE) return NULL;
  pk_target to = {.live = live,
                  .cluster = l->fallback,
                  .own = 1,
                  .hash = pk_key_of_client(core, t, l->fallback, pk_conn_handle(client)),
                  .avoid = (pk_endpoint *)(uintptr_t)failed};
  uint32_t status;
  pk_conn *server = pk_pick(core, &to, &status);
  if (server == NULL) pk_breaker_refused(&to, status);
  return server;
}

static void connect_server(pk_core *core, pk_conn *client, const pk_endpoint *failed) {
  pk_conn *server = pick_server(core, client, failed);
  if (server == NULL) {
    pk_conn_close(core, client, 1);
    return;
  }
  client->tries++;
  server->peer = pk_conn_handle(client);
  client->peer = pk_conn_handle(server);
}

void pk_pair_begin(pk_core *core, pk_conn *client) {
  client->kind = &pair_client;
  client->in_need = 0;
  client->frame_since = 0;
  PK_STAT_ADD(core->stats.fallback_connections, 1);
  PK_STAT_ADD(core->stats.fallback_active, 1);
  const pk_table_listener *l = pk_listener_of(pk_conn_live(core, client)->table, client);
  if (l != NULL && l->guard != PK_GUARD_NONE && !pk_guard_passes(core, client, l)) {
    pk_conn_close(core, client, 1);
    return;
  }
  pk_conn_read_off(core, client); /* what came first is kept until the server is there */
  connect_server(core, client, NULL);
}

static int pass_on(pk_core *core, pk_conn *from, pk_conn *to, const uint8_t *data, size_t size) {
  if (pk_out_append(core, to, data, size) != 0) {
    PK_STAT_ADD(core->stats.closed_over_budget, 1);
    pk_conn_close(core, from, 1);
    return -1;
  }
  if (to->out_bytes > high_mark(core, to)) pk_conn_read_off(core, from);
  return 0;
}

static void feed(pk_core *core, pk_conn *c, const uint8_t *data, size_t size) {
  pk_conn *peer = pk_conn_find(core, c->peer);
  if (peer == NULL) return;
  if (peer->state == PK_CONN_CONNECTING || c->in != NULL) {
    pk_conn_keep(core, c, data, size);
  } else if (peer->state == PK_CONN_OPEN && pass_on(core, c, peer, data, size) == 0) {
    pk_conn_settle(core, c);
  }
}

static void opened(pk_core *core, pk_conn *server) {
  pk_conn_timer(core, server);
  pk_conn *client = pk_conn_find(core, server->peer);
  if (client == NULL) return;
  pk_chunk *in = client->in;
  client->in = NULL;
  int passed = in == NULL || pass_on(core, client, server, in->data + in->start, in->end - in->start) == 0;
  pk_chunk_free(core, in);
  if (!passed) return;
  server->finishing = client->eof;
  pk_conn_settle(core, server);
}

static void ended(pk_core *core, pk_conn *c) {
  pk_conn *peer = pk_conn_find(core, c->peer);
  if (peer == NULL || peer->state != PK_CONN_OPEN) return;
  peer->finishing = 1;
  pk_conn_settle(core, peer);
}

static void settle(pk_core *core, pk_conn *c) {
  pk_conn *peer = pk_conn_find(core, c->peer);
  if (peer != NULL && peer->state == PK_CONN_OPEN && peer->read_off && !peer->eof &&
      c->out_bytes <= high_mark(core, c) / 2)
    pk_conn_read_on(core, peer);
  if (!c->finishing || c->out_bytes > 0) return;
  if (c->eof) {
    pk_conn_close(core, c, 0);
  } else {
    pk_conn_finish(core, c);
  }
}

/* One side is closed; `opening`: a server's that never was open. */
static void other_closed(pk_core *core, pk_conn *c, int opening) {
  pk_conn *peer = pk_conn_find(core, c->peer);
  c->peer = 0;
  if (peer == NULL || peer->state == PK_CONN_CLOSED) return;
  peer->peer = 0;
  if (opening) {
    if (peer->state == PK_CONN_OPEN && peer->tries < TRIES && !core->shutdown) {
      connect_server(core, peer, c->endpoint);
    } else {
      pk_conn_close(core, peer, 1);
    }
  } else if (peer->state == PK_CONN_CONNECTING) {
    pk_conn_discard(core, peer);
  } else if (c->broken && peer->out_bytes == 0) {
    pk_conn_close(core, peer, 1);
  } else {
    pk_conn_flush(core, peer); /* what was read for it is still written */
  }
}

static void client_closed(pk_core *core, pk_conn *c, int opening) {
  PK_STAT_SUB(core->stats.fallback_active, 1);
  other_closed(core, c, opening);
  pk_live_client_closed(core, c);
}

static void server_closed(pk_core *core, pk_conn *c, int opening) {
  pk_endpoint_left(core, c, opening);
  other_closed(core, c, opening);
}

/* Idle when both sides are. */
static uint64_t due(const pk_core *core, const pk_conn *c) {
  const pk_conn *peer = pk_conn_find(core, c->peer);
  uint64_t active = pk_conn_active(c), other = peer == NULL ? 0 : pk_conn_active(peer);
  uint64_t at = (active > other ? active : other) + (uint64_t)core->limits.idle_ms * PK_MS;
  if (pk_conn_is_opening(c)) at = c->opened + (uint64_t)c->connect_ms * PK_MS;
  return c->leave_by != 0 && c->leave_by < at ? c->leave_by : at;
}

static void fired(pk_core *core, pk_conn *c) {
  if (pk_conn_is_opening(c)) {
    c->lost = PK_LOST_LATE;
    pk_conn_close(core, c, 0);
  } else if (c->leave_by != 0 && core->now >= c->leave_by) {
    c->leave_by = core->now + (uint64_t)core->limits.frame_ms * PK_MS;
    pk_conn_flush(core, c);
    pk_conn_timer(core, c);
  } else {
    PK_STAT_ADD(core->stats.closed_idle, 1);
    pk_conn_close(core, c, 0);
  }
}

static const pk_kind pair_client = {
    .side = PK_SIDE_DOWN,
    .feed = feed,
    .settle = settle,
    .ended = ended,
    .closed = client_closed,
    .due = due,
    .fired = fired,
};

const pk_kind pk_pair_server = {
    .side = PK_SIDE_UP,
    .feed = feed,
    .opened = opened,
    .settle = settle,
    .ended = ended,
    .closed = server_closed,
    .due = due,
    .fired = fired,
};
