/* pinned.c: upstream connections that are one client's own: one for each cluster that its requests go to.
 *
 * The client's ids stay, and servers may call it back. What the servers know of the client is lost with a
 * connection: so the client has its answers from the others, is refused what it asks then, and is closed. */

#include "base/hash.h"
#include "core/internal.h"

enum { TRIES = 3 };

/* Of a whole cluster a client keeps its server: where that is gone, its connection ends. */
static int has_endpoint(const pk_table *t, uint32_t cluster, const pk_endpoint *e) {
  const pk_table_cluster *c = pk_table_cluster_at(t, cluster);
  if (c->subset.size == 0) return 1;
  for (uint32_t i = 0; i < c->endpoint_count; i++)
    if (pk_table_endpoint_at(t, c->endpoints + i)->uid == e->uid) return 1;
  return 0;
}

/* Whether it leads to the request's cluster. A cluster's number is its table's; what stays is its name, and an endpoint
 * that has left a subset may be in the cluster still. */
static int leads_to(pk_conn *c, const pk_live *live, uint32_t cluster) {
  if (c->cluster_token == live->token) return c->cluster == cluster;
  if (c->cluster_key != pk_cluster_key(live->table, cluster)) return 0;
  c->cluster_token = live->token;
  c->cluster = has_endpoint(live->table, cluster, c->endpoint) ? cluster : PK_NONE;
  return c->cluster == cluster;
}

static pk_conn *connect_own(pk_core *core, pk_conn *client, const pk_target *to, uint32_t *status) {
  pk_conn *c = pk_pick(core, to, status);
  if (c == NULL) return NULL;
  c->peer = pk_conn_handle(client);
  c->cluster_key = pk_cluster_key(to->live->table, to->cluster);
  c->cluster_token = to->live->token;
  c->cluster = to->cluster;
  c->own_next = client->own;
  client->own = c;
  return c;
}

pk_conn *pk_pinned_choose(pk_core *core, pk_request *r, uint32_t *status) {
  pk_conn *client = pk_conn_find(core, r->to.client), *c;
  *status = PK_PICK_ENDING;
  if (client == NULL || (client->leaving & PK_LEAVE_ORPHANED)) return NULL;
  for (c = client->own; c != NULL && !leads_to(c, r->to.live, r->to.cluster); c = c->own_next) {}
  if (c == NULL) return connect_own(core, client, &r->to, status);
  c->key = r->to.key; /* of the last one: where it was opened before all of them, this is the first */
  if ((c->leaving & PK_LEAVE_NO_MORE) || c->eof) return NULL;
  *status = PK_STATUS_OVERLOADED;
  return pk_has_room(core, c) ? c : NULL;
}

/* A client may wait for the greeting of a server that cannot be reached: unless it asks something first, which is
 * answered, it is closed; where servers speak first, as soon as what it has said is read. */
static void nobody_greets(pk_core *core, pk_conn *client) {
  if (!pk_codec_relays(client->codec) || client->leave_by != 0) return;
  uint32_t patience = client->codec->greeting_relayed == PK_RELAYED_SERVER_FIRST ? 1 : core->limits.frame_ms;
  client->leave_by = core->now + (uint64_t)patience * PK_MS;
  pk_conn_timer(core, client);
}

void pk_pinned_open(pk_core *core, pk_conn *client, const pk_endpoint *failed) {
  pk_live *live = pk_conn_live(core, client);
  const pk_table *t = live->table;
  if (client->listener >= t->listeners.count || core->shutdown || client->state != PK_CONN_OPEN) return;
  const pk_table_listener *l = pk_table_listener_at(t, client->listener);
  if (!l->present || (client->leaving & PK_LEAVE_ORPHANED) || l->opens == PK_NONE || !(client->pinned || l->pinned)) return;
  if (failed == NULL) client->tries = 0;
  if (client->tries == TRIES) {
    nobody_greets(core, client);
    return;
  }
  if (l->guard != PK_GUARD_NONE && !pk_guard_opens(core, client, l)) {
    /* What it asks will be refused; where it would greet a server first, nothing can be said to it. */
    if (pk_codec_relays(client->codec) && !pk_guard_passes(core, client, l)) pk_conn_close(core, client, 1);
    return;
  }
  client->tries++;
  pk_target to = {.live = live,
                  .cluster = l->opens,
                  .client = pk_conn_handle(client),
                  .codec = client->codec,
                  .named = client->named,
                  .own = 1,
                  .hash = pk_key_of_client(core, t, l->opens, pk_conn_handle(client)),
                  .avoid = (pk_endpoint *)(uintptr_t)failed};
  uint32_t status;
  pk_conn *c = connect_own(core, client, &to, &status);
  if (c == NULL) {
    nobody_greets(core, client);
  } else if (pk_codec_relays(client->codec)) {
    client->flow |= PK_FLOW_PEER; /* whom to greet is not known yet */
  }
}

void pk_pinned_opened(pk_core *core, const pk_conn *c) {
  pk_conn *client = pk_conn_find(core, c->peer);
  if (client != NULL) pk_conn_goes_on(core, client, PK_FLOW_PEER);
}

void pk_pinned_greet(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  pk_conn *to = pk_conn_is_client(c) ? c->own : pk_conn_find(core, c->peer);
  if (to == NULL || to->state != PK_CONN_OPEN) {
    pk_conn_flush(core, c); /* nobody is there to hear it */
  } else if (pk_conn_send(core, to, data, f->size) == NULL) {
    pk_conn_drop(core, to, PK_LOST_BUDGET, 0);
  } else if (pk_conn_is_client(to)) {
    pk_conn_queued(core, to);
  }
}

/* Whether something still waits for it to open: of a client that has left, one-way requests. */
static int is_awaited(const pk_core *core, const pk_conn *c) {
  for (uint32_t i = c->waiting_head; i != PK_NONE; i = pk_attempt_at(core, i)->next)
    if (pk_request_find(core, pk_attempt_at(core, i)->request) != NULL) return 1;
  return 0;
}

/* What the client said is written all the same. */
void pk_pinned_client_closed(pk_core *core, pk_conn *client) {
  while (client->own != NULL) {
    pk_conn *c = client->own;
    client->own = c->own_next;
    c->peer = 0;
    if (!pk_conn_is_opening(c)) {
      pk_conn_flush(core, c);
    } else if (!is_awaited(core, c)) {
      pk_conn_discard(core, c);
    }
  }
}

pk_conn *pk_pinned_lost(pk_core *core, pk_conn *c, int connecting) {
  pk_conn *client = pk_conn_find(core, c->peer);
  if (client == NULL) return NULL;
  pk_conn **at = &client->own;
  while (*at != c) at = &(*at)->own_next;
  *at = c->own_next;
  pk_conn_goes_on(core, client, PK_FLOW_PEER);
  if (!connecting) {
    client->leaving |= PK_LEAVE_ORPHANED;
    pk_conn_touch(core, client);
  }
  return client;
}

void pk_pinned_drained(pk_core *core, const pk_conn *c) {
  pk_conn *client = pk_conn_find(core, c->peer);
  if (client != NULL && !client->told_drain) pk_conn_tell_drain(core, client);
}

/* What servers ask. Two of them may use the same id: the second is refused, so that each gets its own answer. */

static void forget_call(pk_conn *client, uint32_t i) {
  client->called_count--;
  memmove(client->called + i, client->called + i + 1, (client->called_count - i) * sizeof *client->called);
}

static int note_call(const pk_core *core, pk_conn *client, const pk_conn *c, uint64_t id) {
  int ids = c->codec->mode == PK_MODE_MULTIPLEXED;
  for (uint32_t i = 0; ids && i < client->called_count; i++)
    if (client->called[i].id == id && client->called[i].server != pk_conn_handle(c)) return -1;
  if (client->called_count >= core->limits.in_flight_per_connection) {
    if (!ids) return -1;
    forget_call(client, 0); /* if ever it is answered, nobody gets that */
  }
  pk_called *called = pk_grow(client->called, &client->called_capacity, client->called_count + 1, sizeof *called);
  if (called == NULL) return -1;
  client->called = called;
  called[client->called_count++] = (pk_called){id, pk_conn_handle(c)};
  return 0;
}

int pk_pinned_call(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  pk_conn *client = c->pinned ? pk_conn_find(core, c->peer) : NULL;
  if (client == NULL || client->state != PK_CONN_OPEN) return 0;
  if (f->kind == PK_KIND_REQUEST && note_call(core, client, c, pk_id_key(c, data, f)) != 0) return 0;
  if (pk_conn_send(core, client, data, f->size) == NULL) {
    if (f->kind == PK_KIND_REQUEST) forget_call(client, client->called_count - 1);
    return 0;
  }
  c->last_used = core->now;
  pk_conn_queued(core, client);
  return 1;
}

/* Whom the client answers. What nobody is known to have asked can only be for the one server that there is. */
static pk_conn *caller(const pk_core *core, pk_conn *client, const uint8_t *data, const pk_frame *f) {
  int ids = client->codec->mode == PK_MODE_MULTIPLEXED;
  uint64_t id = pk_id_key(client, data, f);
  for (uint32_t i = 0; i < client->called_count; i++) {
    pk_handle server = client->called[i].server;
    if (ids && client->called[i].id != id) continue;
    forget_call(client, i);
    return pk_conn_find(core, server);
  }
  return client->own != NULL && client->own->own_next == NULL && !(client->leaving & PK_LEAVE_ORPHANED) ? client->own : NULL;
}

int pk_pinned_answer(pk_core *core, pk_conn *client, const uint8_t *data, const pk_frame *f) {
  if (client->partial_count > 0 && pk_pieces_next(core, client, data, f)) return 0;
  pk_conn *server = caller(core, client, data, f);
  if (server == NULL || server->state != PK_CONN_OPEN || pk_conn_send(core, server, data, f->size) == NULL) {
    PK_STAT_ADD(core->stats.answers_unmatched, 1);
    server = NULL;
  }
  if (!(f->says & PK_SAYS_MORE)) return 0;
  return pk_pieces_begin(core, client, data, f, server == NULL ? 0 : pk_conn_handle(server), 0);
}
