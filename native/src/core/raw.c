/* raw.c: connections passed on byte by byte: a client of no known protocol and one server of its
 * listener's fallback cluster.
 *
 * A side is read only while the other takes what it gets: pausing is right here, the pair is one
 * client's own. The end of one direction is passed on behind its last byte. */
#include "core/internal.h"

enum { TRIES = 3 };

/* Queued bytes above which the peer is not read. */
static uint32_t high_mark(const pk_core *core, const pk_conn *c) {
  return c->side == PK_SIDE_DOWN ? core->limits.client_pause : core->limits.upstream_buffer;
}

static void connect_server(pk_core *core, pk_conn *client, const pk_endpoint *failed) {
  pk_conn *server = pk_up_raw(core, client, failed);
  if (server == NULL) {
    pk_conn_close(core, client, 1);
    return;
  }
  client->tries++;
  server->raw = 1;
  server->peer = pk_conn_handle(client);
  client->peer = pk_conn_handle(server);
}

void pk_raw_begin(pk_core *core, pk_conn *client) {
  client->raw = 1;
  client->in_need = 0;
  client->frame_since = 0;
  PK_STAT_ADD(core->stats.fallback_connections, 1);
  PK_STAT_ADD(core->stats.fallback_active, 1);
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

void pk_raw_feed(pk_core *core, pk_conn *c, const uint8_t *data, size_t size) {
  pk_conn *peer = pk_conn_find(core, c->peer);
  if (peer == NULL) return;
  if (peer->state == PK_CONN_CONNECTING || c->in != NULL) {
    pk_conn_keep(core, c, data, size);
  } else if (peer->state == PK_CONN_OPEN && pass_on(core, c, peer, data, size) == 0) {
    pk_conn_settle(core, c);
  }
}

void pk_raw_opened(pk_core *core, pk_conn *server) {
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

void pk_raw_ended(pk_core *core, pk_conn *c) {
  pk_conn *peer = pk_conn_find(core, c->peer);
  if (peer == NULL || peer->state != PK_CONN_OPEN) return;
  peer->finishing = 1;
  pk_conn_settle(core, peer);
}

void pk_raw_settle(pk_core *core, pk_conn *c) {
  pk_conn *peer = pk_conn_find(core, c->peer);
  if (peer != NULL && peer->state == PK_CONN_OPEN && peer->read_off && !peer->eof &&
      c->out_bytes <= high_mark(core, c) / 2)
    pk_conn_read_on(core, peer);
  if (!c->finishing || c->out_bytes > 0) return;
  if (c->eof) {
    pk_conn_close(core, c, 0);
  } else if (!c->finished) {
    c->finished = 1;
    pk_op_add(core, (pk_op){.op = PK_OP_FINISH, .handle = pk_conn_handle(c)});
  }
}

void pk_raw_closed(pk_core *core, pk_conn *c, int connecting) {
  pk_conn *peer = pk_conn_find(core, c->peer);
  c->peer = 0;
  if (c->side == PK_SIDE_DOWN) PK_STAT_SUB(core->stats.fallback_active, 1);
  if (peer == NULL || peer->state == PK_CONN_CLOSED) return;
  peer->peer = 0;
  if (connecting && c->side == PK_SIDE_UP) {
    if (peer->state == PK_CONN_OPEN && peer->tries < TRIES && !core->shutdown) {
      connect_server(core, peer, c->endpoint);
    } else {
      pk_conn_close(core, peer, 1);
    }
  } else if (peer->state == PK_CONN_CONNECTING || (c->broken && peer->out_bytes == 0)) {
    peer->unwanted = 1;
    pk_conn_close(core, peer, c->broken);
  } else {
    pk_conn_flush(core, peer); /* what was read for it is still written */
  }
}

uint64_t pk_raw_active(const pk_core *core, const pk_conn *c) {
  const pk_conn *peer = pk_conn_find(core, c->peer);
  uint64_t active = c->last_read > c->last_write ? c->last_read : c->last_write;
  if (peer == NULL) return active;
  uint64_t other = peer->last_read > peer->last_write ? peer->last_read : peer->last_write;
  return active > other ? active : other;
}
