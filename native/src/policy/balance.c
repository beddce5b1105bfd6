/* balance.c: see balance.h. All of these follow the table's schedule, in which each endpoint has turns by its weight. */
#include "policy/balance.h"

#include "base/hash.h"
#include "table/consistent.h"

/* A balancer that does not look at the request stays with an endpoint for so many requests of
 * one batch: writes are shared, and over batches every endpoint gets its turns. */
enum { HOLD = 32, PLACES = 256 /* that are looked at for one that may be asked */ };

static void begin_anywhere(pk_balance_state *s, const pk_table_cluster *cluster, uint64_t random) {
  s->cursor = (uint32_t)(random % cluster->schedule_count);
}

/* Whether an endpoint that may have a request is passed over, for it begins slowly. */
static inline int spared(const pk_balance_state *s, const pk_balance_query *q, uint32_t at) {
  return s->slow && q->view->spared(q->context, at);
}

/* Whose turn it is by weight, passing over those that may not have it. Where all that were looked at are spared the last one
 * has it. */
static uint32_t next_in_schedule(pk_balance_state *s, const pk_balance_query *q) {
  const uint32_t *schedule = PK_AT(q->table, uint32_t, q->table->schedules.at) + q->cluster->schedule;
  uint32_t last = PK_NONE;
  for (uint32_t i = 0; i < PLACES; i++) {
    uint32_t at = schedule[s->cursor];
    s->cursor = s->cursor + 1 < q->cluster->schedule_count ? s->cursor + 1 : 0;
    if (!q->view->may(q->context, at)) continue;
    if (!spared(s, q, at)) return at;
    last = at;
  }
  return last;
}

static uint32_t round_robin(pk_balance_state *s, const pk_balance_query *q) {
  if (s->batch == q->batch && s->held_left > 0 && q->view->may(q->context, s->held)) {
    s->held_left--;
    return s->held;
  }
  s->held = next_in_schedule(s, q);
  s->batch = q->batch;
  s->held_left = s->held == PK_NONE ? 0 : HOLD - 1;
  return s->held;
}

/* Any other than that one, by chance. */
static uint32_t another(const pk_balance_query *q, uint32_t turn) {
  const pk_table_cluster *c = q->cluster;
  uint32_t steps = 1 + (uint32_t)(q->random % (c->endpoint_count - 1));
  return c->endpoints + (turn - c->endpoints + steps) % c->endpoint_count;
}

/* Of two endpoints the one with less under way for its weight: the one whose turn it is, and any other by chance.
 * Where neither has more the turn counts, so that idle ones are used by weight. */
static uint32_t least_request(pk_balance_state *s, const pk_balance_query *q) {
  uint32_t turn = next_in_schedule(s, q);
  if (turn == PK_NONE || q->cluster->endpoint_count == 1) return turn;
  uint32_t other = another(q, turn);
  int less = (uint64_t)q->view->active(q->context, other) * pk_table_endpoint_at(q->table, turn)->weight <
             (uint64_t)q->view->active(q->context, turn) * pk_table_endpoint_at(q->table, other)->weight;
  return less && q->view->may(q->context, other) && !spared(s, q, other) ? other : turn;
}

/* The same two, and of them the one where a request is likely to take less time for its weight. */
static uint32_t peak_ewma(pk_balance_state *s, const pk_balance_query *q) {
  uint32_t turn = next_in_schedule(s, q);
  if (turn == PK_NONE || q->cluster->endpoint_count == 1) return turn;
  uint32_t other = another(q, turn);
  int less = q->view->cost(q->context, other) * pk_table_endpoint_at(q->table, turn)->weight <
             q->view->cost(q->context, turn) * pk_table_endpoint_at(q->table, other)->weight;
  return less && q->view->may(q->context, other) && !spared(s, q, other) ? other : turn;
}

/* Any, by weight, whatever went before. */
static uint32_t by_chance(pk_balance_state *s, const pk_balance_query *q) {
  const uint32_t *schedule = PK_AT(q->table, uint32_t, q->table->schedules.at) + q->cluster->schedule;
  uint64_t drawn = q->random;
  uint32_t last = PK_NONE;
  for (uint32_t i = 0; i < PLACES; i++, drawn = pk_fold(drawn ^ 0x9e3779b97f4a7c15u, 0xd6e8feb86659fd93u)) {
    uint32_t at = schedule[drawn % q->cluster->schedule_count];
    if (!q->view->may(q->context, at)) continue;
    if (!spared(s, q, at)) return at;
    last = at;
  }
  return last;
}

/* Where the key leads; what may not be asked leaves its keys to whoever has the next places. */
static uint32_t by_key(pk_balance_state *s, const pk_balance_query *q) {
  (void)s;
  const pk_table_cluster *c = q->cluster;
  uint32_t place = pk_consistent_place(q->table, c, q->random), asked = PK_NONE;
  for (uint32_t i = 0; i < PLACES && i < c->place_count; i++) {
    uint32_t at = pk_consistent_at(q->table, c, place);
    if (at != asked && q->view->may(q->context, at)) return at;
    asked = at;
    place = place + 1 < c->place_count ? place + 1 : 0;
  }
  return PK_NONE;
}

const pk_balancer pk_balancers[PK_BALANCE_COUNT] = {
    [PK_BALANCE_ROUND_ROBIN] = {.begin = begin_anywhere, .pick = round_robin},
    [PK_BALANCE_LEAST_REQUEST] = {.draws = 1, .begin = begin_anywhere, .pick = least_request},
    [PK_BALANCE_RANDOM] = {.draws = 1, .begin = begin_anywhere, .pick = by_chance},
    [PK_BALANCE_PEAK_EWMA] = {.draws = 1, .begin = begin_anywhere, .pick = peak_ewma},
    [PK_BALANCE_RING_HASH] = {.draws = 1, .keyed = 1, .begin = begin_anywhere, .pick = by_key},
    [PK_BALANCE_MAGLEV] = {.draws = 1, .keyed = 1, .begin = begin_anywhere, .pick = by_key},
};
