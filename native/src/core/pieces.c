/* pieces.c: messages that come in pieces (PK_SAYS_MORE, PK_KIND_PIECE), between a client and a connection of its own.
 *
 * They follow their message's beginning, in order, to the connection that got it, as long as that is there: also when
 * the request has been answered or has failed, since its server waits for the rest. Where nobody has the beginning they
 * are dropped, up to the one that ends the message. Whoever sends is not read while his pieces find no room. */
#include "core/internal.h"

static pk_partial *find(const pk_conn *c, uint64_t id, int answer) {
  for (uint32_t i = 0; i < c->partial_count; i++)
    if (c->partial[i].id == id && (!answer || c->partial[i].kind == PK_KIND_RESPONSE)) return &c->partial[i];
  return NULL;
}

static pk_partial *of_request(const pk_conn *client, const pk_request *r) {
  for (uint32_t i = 0; client != NULL && i < client->partial_count; i++)
    if (client->partial[i].request == pk_request_handle(r)) return &client->partial[i];
  return NULL;
}

int pk_pieces_begin(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f, pk_handle to, pk_handle request) {
  uint64_t id = pk_id_key(c, data, f);
  if (find(c, id, 0) != NULL || c->partial_count >= core->limits.in_flight_per_connection) return -1;
  pk_partial *partial = pk_grow(c->partial, &c->partial_capacity, c->partial_count + 1, sizeof *partial);
  if (partial == NULL) return -1;
  c->partial = partial;
  uint8_t half = (f->says & PK_SAYS_HALF) != 0;
  partial[c->partial_count++] = (pk_partial){.id = id, .to = to, .request = request, .kind = f->kind, .half = half};
  PK_STAT_ADD(core->stats.parts, 1);
  return 0;
}

/* Its request lives as long as it goes on, as an answer does. */
static void gives_time(pk_core *core, pk_conn *to, pk_handle request) {
  pk_request *r = pk_request_find(core, request);
  if (r == NULL || r->state != PK_REQUEST_SENT) return;
  r->started = core->now;
  pk_timer_start(&core->wheel, &r->timer, pk_request_deadline(r));
  if (r->timer.due > to->deadline) to->deadline = r->timer.due;
}

static void pass_on(pk_core *core, pk_conn *c, pk_conn *to, const uint8_t *data, const pk_frame *f, pk_handle request) {
  pk_chunk *behind = f->says & PK_SAYS_HALF ? pk_out_lift(to) : NULL;
  int sent = f->size == 0 || pk_conn_send(core, to, data, f->size) != NULL;
  pk_out_lower(core, to, behind, f->says & PK_SAYS_MORE);
  if (!sent) {
    pk_conn_drop(core, to, PK_LOST_BUDGET, 0); /* half a message is of no use to it */
    return;
  }
  gives_time(core, to, request);
  if (pk_conn_is_client(to)) {
    pk_conn_queued(core, to);
    return;
  }
  to->last_used = core->now;
  if (pk_out_front(to) <= core->limits.upstream_buffer) return;
  to->flow |= PK_FLOW_HOLDS;
  c->flow |= PK_FLOW_PEER;
}

static void next(pk_core *core, pk_conn *c, pk_partial *p, const uint8_t *data, const pk_frame *f) {
  pk_conn *to = pk_conn_find(core, p->to);
  pk_handle request = p->request;
  if (!(f->says & PK_SAYS_MORE)) *p = c->partial[--c->partial_count];
  PK_STAT_ADD(core->stats.parts, 1);
  if (to != NULL && to->state == PK_CONN_OPEN) pass_on(core, c, to, data, f, request);
}

int pk_pieces_next(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  pk_partial *p = find(c, pk_id_key(c, data, f), f->kind == PK_KIND_RESPONSE);
  if (p != NULL) next(core, c, p, data, f);
  return p != NULL;
}

void pk_pieces_rest(pk_core *core, pk_conn *c, uint64_t key, const uint8_t *data, const pk_frame *f) {
  pk_partial *p = find(c, key, 0);
  if (p != NULL) next(core, c, p, data, f);
}

pk_conn *pk_pieces_cut(pk_core *core, pk_conn *c, uint64_t key, pk_handle *request) {
  pk_partial *p = find(c, key, 0);
  *request = 0;
  if (p == NULL) return NULL;
  pk_conn *to = pk_conn_find(core, p->to);
  *request = p->request;
  *p = c->partial[--c->partial_count];
  return to;
}

void pk_pieces_sent(pk_core *core, pk_request *r, pk_conn *c) {
  pk_conn *client = pk_conn_find(core, r->to.client);
  pk_partial *p = of_request(client, r);
  if (p == NULL) return;
  if (p->half && pk_out_seal(core, c) != 0) {
    c->eof = 1; /* it is closed in the next batch */
    pk_conn_ready(core, c);
  }
  p->to = pk_conn_handle(c);
  pk_conn_goes_on(core, client, PK_FLOW_ASKED);
}

void pk_pieces_over(pk_core *core, const pk_request *r) {
  pk_conn *client = pk_conn_find(core, r->to.client);
  pk_partial *p = of_request(client, r);
  if (p == NULL) return;
  p->request = 0;
  pk_conn_goes_on(core, client, PK_FLOW_ASKED);
}
