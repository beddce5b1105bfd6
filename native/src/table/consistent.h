/* consistent.h: what requests of one key are sent by: a ring of points, or Maglev's table.
 *
 * Both are made of the endpoints' names (their addresses) and weights alone: every worker, proxy and table has the same
 * for the same endpoints, whatever their order. One that goes leaves its keys to others, and theirs stay, all of them
 * (ring) or nearly all (Maglev). Where an endpoint may not be asked the next place has another. */
#ifndef PK_CONSISTENT_H
#define PK_CONSISTENT_H

#include "table/table.h"

/* Words that a cluster's places take; more than a table can have: 2^32 and above. */
uint64_t pk_consistent_size(const pk_table *t, const pk_table_cluster *c);
/* Makes them; -1 without memory. */
int pk_consistent_build(const pk_table *t, const pk_table_cluster *c, uint32_t *places);

/* The number of a key, by its hash, which begins with 0; never 0. */
uint64_t pk_consistent_key(uint64_t hash);
/* The place that a key leads to, of c->place_count, and the endpoint there. Behind the last is the first. */
uint32_t pk_consistent_place(const pk_table *t, const pk_table_cluster *c, uint64_t key);
static inline uint32_t pk_consistent_at(const pk_table *t, const pk_table_cluster *c, uint32_t place) {
  const uint32_t *places = PK_AT(t, uint32_t, t->places.at) + c->places;
  return places[c->balance == PK_BALANCE_MAGLEV ? place : c->place_count + place];
}

/* python { */
/* The endpoint of a consistent cluster, by its place among them, that a text's requests go to while all are well; or
 * UINT32_MAX. */
uint32_t pk_table_endpoint_of(const pk_table *t, uint32_t cluster, const uint8_t *text, uint32_t size);
/* } python */

#endif
