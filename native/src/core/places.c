/* places.c: places of breakers (breaker.h): who gets one, and that it comes back.
 *
 * A request has those for its next attempt (r->placed) from when they are taken until the attempt has them (a->placed),
 * which gives them back at its one end. Connections have theirs from begin to end. Who holds as much as is left gets
 * nothing of the last eighth: a client, and a method of this worker. */
#include "core/internal.h"

enum { WAITING = 1 << PK_BREAKER_WAITING, REQUESTS = 1 << PK_BREAKER_REQUESTS, RETRIES = 1 << PK_BREAKER_RETRIES,
       ENDPOINT = 1 << PK_BREAKER_ENDPOINT_REQUESTS };

static const pk_breaker *breaker_of(const pk_target *to) {
  return &pk_table_cluster_at(to->live->table, to->cluster)->breaker;
}

static _Atomic uint32_t *endpoint_word(const pk_endpoint *e, uint32_t which) {
  return &e->words->under_way[which - PK_BREAKER_ENDPOINT_CONNECTIONS];
}

uint32_t pk_breaker_most(const pk_target *to, uint32_t which) {
  const pk_breaker *b = breaker_of(to);
  switch (which) {
    case PK_BREAKER_CONNECTIONS: return b->connections;
    case PK_BREAKER_WAITING: return b->waiting;
    case PK_BREAKER_REQUESTS: return b->least == 0 ? b->requests : pk_adaptive_limit(pk_cluster_of(to)->words, b);
    case PK_BREAKER_RETRIES: return b->retries;
    case PK_BREAKER_ENDPOINT_CONNECTIONS: return b->endpoint_connections;
    default: return b->endpoint_requests;
  }
}

/* Connections. */

/* Of the cluster's connections those that are this client's own, up to `enough`. */
static uint32_t own_of(const pk_core *core, const pk_target *to, uint32_t enough) {
  const pk_conn *client = pk_conn_find(core, to->client);
  uint32_t held = 0;
  for (const pk_conn *c = client == NULL ? NULL : client->own; c != NULL && held < enough; c = c->own_next)
    held += c->endpoint->of == pk_cluster_of(to);
  return held;
}

static int connection(const pk_core *core, _Atomic uint32_t *word, uint32_t most, const pk_target *to, int first) {
  if (most == 0 || first) {
    pk_breaker_add(word, 1);
    return 1;
  }
  uint32_t free = pk_breaker_free(word, most);
  if (to->own && pk_breaker_is_scarce(free, most) && own_of(core, to, free + 1) >= free) return 0;
  return pk_breaker_take(word, most);
}

int pk_breaker_connect(pk_core *core, pk_endpoint *e, const pk_target *to, uint32_t *why) {
  const pk_breaker *b = breaker_of(to);
  _Atomic uint32_t *all = &e->of->words->under_way[PK_BREAKER_CONNECTIONS];
  int first = !to->own && e->conn_count == 0; /* without one nobody could ask it anything by this worker */
  if (!connection(core, all, b->connections, to, first)) {
    *why = PK_PICK_CONNECTIONS;
    return 0;
  }
  if (!connection(core, endpoint_word(e, PK_BREAKER_ENDPOINT_CONNECTIONS), b->endpoint_connections, to, first)) {
    *why = PK_PICK_ENDPOINT_CONNECTIONS;
    pk_breaker_give(all, 1);
    return 0;
  }
  e->connections++;
  return 1;
}

void pk_breaker_disconnect(pk_endpoint *e) {
  if (e->gone) return; /* its words are another's */
  e->connections--;
  pk_breaker_give(endpoint_word(e, PK_BREAKER_ENDPOINT_CONNECTIONS), 1);
  pk_breaker_give(&e->of->words->under_way[PK_BREAKER_CONNECTIONS], 1);
}

/* Requests. */

/* Attempts of the client that have a place, of the cluster or of the endpoint; up to `enough`. */
static uint32_t held_by(const pk_core *core, const pk_target *to, uint32_t which, const pk_endpoint *e, uint32_t enough) {
  const pk_conn *client = pk_conn_find(core, to->client);
  uint32_t held = 0;
  for (const pk_request *r = client == NULL ? NULL : client->requests; r != NULL && held < enough; r = r->behind) {
    if (r->to.cluster == PK_NONE || pk_cluster_of(&r->to) != pk_cluster_of(to)) continue;
    held += (r->placed & which) != 0; /* it waits for its next try */
    for (uint32_t i = r->attempt; i != PK_NONE; i = pk_attempt_at(core, i)->sibling)
      held += (pk_attempt_at(core, i)->placed & which) && (e == NULL || pk_attempt_at(core, i)->endpoint == e);
  }
  return held;
}

/* Whether one of `most` places may be this one's. `method`: places that its method holds. */
static uint32_t look(const pk_core *core, const _Atomic uint32_t *word, uint32_t most, const pk_target *to, uint32_t which,
                     const pk_endpoint *e, uint32_t method) {
  uint32_t free = pk_breaker_free(word, most);
  if (free == 0) return PK_PLACE_NONE;
  if (!pk_breaker_is_scarce(free, most)) return PK_PLACE_TAKEN;
  if (to->client == 0 && most > 1) return PK_PLACE_CLIENT; /* a copy: nobody waits for it */
  if (method > 0 && method >= free) {
    uint32_t others = (most + 15) / 16;
    if (free <= others) return PK_PLACE_METHOD;
    free -= others; /* of these its clients have shares */
  }
  uint32_t held = held_by(core, to, which, e, free);
  return held > 0 && held >= free ? PK_PLACE_CLIENT : PK_PLACE_TAKEN;
}

uint32_t pk_breaker_full(const pk_core *core, const pk_endpoint *e, const pk_target *to, uint32_t most) {
  const _Atomic uint32_t *word = endpoint_word(e, PK_BREAKER_ENDPOINT_REQUESTS);
  return look(core, word, most, to, ENDPOINT, e, e->waiting[pk_places_of(to)]) != PK_PLACE_TAKEN ? PK_PICK_ENDPOINT_REQUESTS : 0;
}

uint32_t pk_places_take(const pk_core *core, pk_request *r, uint32_t which, uint32_t most, uint32_t method) {
  _Atomic uint32_t *word = &pk_cluster_of(&r->to)->words->under_way[which];
  uint32_t why = look(core, word, most, &r->to, 1u << which, NULL, method);
  if (why == PK_PLACE_TAKEN && !pk_breaker_take(word, most)) why = PK_PLACE_NONE;
  if (why == PK_PLACE_TAKEN) r->placed |= (uint8_t)(1u << which);
  return why;
}

static PK_RARE void give(const pk_request *r, uint32_t placed) {
  _Atomic uint32_t *words = pk_cluster_of(&r->to)->words->under_way;
  for (uint32_t which = PK_BREAKER_WAITING; which <= PK_BREAKER_RETRIES; which++)
    if (placed & 1u << which) pk_breaker_give(&words[which], 1);
}

void pk_breaker_sent(const pk_request *r, pk_attempt *a) {
  give(r, a->placed & WAITING);
  a->placed &= ~WAITING & 0x7f;
}

void pk_breaker_partly(const pk_core *core, const pk_request *r, const pk_attempt *a) {
  if ((a->placed & REQUESTS) && breaker_of(&r->to)->least != 0) pk_adaptive_heard(core, r, a, PK_ATTEMPT_GIVEN_UP);
}

void pk_breaker_ended(const pk_core *core, const pk_request *r, pk_attempt *a, uint32_t outcome) {
  if (a->placed & REQUESTS) {
    if (breaker_of(&r->to)->least != 0 && !a->parts) pk_adaptive_heard(core, r, a, outcome);
    pk_breaker_give(&pk_cluster_of(&r->to)->words->under_way[PK_BREAKER_REQUESTS], 1);
    pk_cluster_of(&r->to)->waiting[pk_places_of(&r->to)]--;
  }
  if ((a->placed & ENDPOINT) && !a->endpoint->gone) {
    a->endpoint->placed--;
    pk_breaker_give(endpoint_word(a->endpoint, PK_BREAKER_ENDPOINT_REQUESTS), 1);
  }
  if (a->placed & (WAITING | RETRIES)) give(r, a->placed & (WAITING | RETRIES));
  a->placed = 0;
}

void pk_breaker_moves(pk_request *r, pk_attempt *a) {
  r->placed = a->placed & (REQUESTS | RETRIES);
  if (a->placed & REQUESTS) pk_cluster_of(&r->to)->waiting[pk_places_of(&r->to)]--;
  a->placed &= ~(REQUESTS | RETRIES) & 0x7f;
}

void pk_breaker_back(pk_request *r) {
  give(r, r->placed);
  r->placed = 0;
}

int pk_breaker_retry(const pk_core *core, pk_request *r) {
  uint32_t most = breaker_of(&r->to)->retries;
  if (most == 0 || pk_places_take(core, r, PK_BREAKER_RETRIES, most, 0) == PK_PLACE_TAKEN) return 1;
  pk_places_refused(&r->to, PK_BREAKER_RETRIES);
  return 0;
}

void pk_places_refused(const pk_target *to, uint32_t which) {
  atomic_fetch_add_explicit(&pk_cluster_of(to)->words->refused[which], 1, memory_order_relaxed);
}
