/* consistent.c: see consistent.h. */
#include "table/consistent.h"

#include <stdlib.h>

#include "base/hash.h"

enum {
  POINTS = 256,         /* of an endpoint of average weight on a ring: half to all of so many */
  MOST_POINTS = 1 << 20,
  MAGLEV = 65537,        /* primes: Maglev's table, with 100 places for each of 655 endpoints, */
  MAGLEV_LARGE = 655373, /* where there are more, */
  MAGLEV_SMALL = 6553    /* and of a subset of 65, of which there may be many */
};

static uint64_t mixed(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

uint64_t pk_consistent_key(uint64_t hash) {
  uint64_t key = mixed(hash);
  return key != 0 ? key : 1;
}

/* An endpoint with a weight. */
typedef struct member {
  uint64_t hash; /* of its name */
  const char *name;
  uint32_t size, endpoint, weight;
} member;

static int by_name(const void *a, const void *b) {
  const member *x = a, *y = b;
  if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
  int order = memcmp(x->name, y->name, x->size < y->size ? x->size : y->size);
  return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

/* Those of a cluster that have a weight, in an order of their own; NULL without memory. */
static member *members_of(const pk_table *t, const pk_table_cluster *c, uint32_t *count) {
  member *all = malloc(c->endpoint_count * sizeof *all);
  *count = 0;
  for (uint32_t i = 0; all != NULL && i < c->endpoint_count; i++) {
    const pk_table_endpoint *e = pk_table_endpoint_at(t, c->endpoints + i);
    const char *name = pk_table_text_at(t, e->name);
    if (e->weight == 0) continue;
    all[(*count)++] = (member){mixed(pk_hash(0, (const uint8_t *)name, e->name.size)), name, e->name.size, c->endpoints + i, e->weight};
  }
  if (all != NULL) qsort(all, *count, sizeof *all, by_name);
  return all;
}

/* A ring. */

/* The weights, each times this power of two, are the numbers of points: a power, so that endpoints that come and go do
 * not change what others have. */
static int scale_of(uint64_t total, uint64_t count) {
  uint64_t most = POINTS * count < MOST_POINTS ? POINTS * count : MOST_POINTS;
  int scale = 0;
  while (total << scale <= most / 2) scale++;
  while (scale <= 0 && total >> -scale > most) scale--;
  return scale;
}

static uint64_t points_of(uint32_t weight, int scale) {
  uint64_t points = scale >= 0 ? (uint64_t)weight << scale : (uint64_t)weight >> -scale;
  return points > 0 || weight == 0 ? points : 1;
}

static uint64_t ring_points(const pk_table *t, const pk_table_cluster *c) {
  uint64_t total = 0, count = 0, points = 0;
  for (uint32_t i = 0; i < c->endpoint_count; i++) {
    uint32_t weight = pk_table_endpoint_at(t, c->endpoints + i)->weight;
    total += weight;
    count += weight > 0;
  }
  int scale = count > 0 ? scale_of(total, count) : 0;
  for (uint32_t i = 0; i < c->endpoint_count; i++) points += points_of(pk_table_endpoint_at(t, c->endpoints + i)->weight, scale);
  return points;
}

typedef struct point {
  uint32_t at, endpoint;
} point;

/* By where they are; of two at the same place the one that was first stays so. */
static void sort_points(point *points, point *room, uint32_t count) {
  for (uint32_t shift = 0; shift < 32; shift += 8) {
    uint32_t ends[257] = {0};
    for (uint32_t i = 0; i < count; i++) ends[(points[i].at >> shift & 0xff) + 1]++;
    for (uint32_t i = 1; i < 257; i++) ends[i] += ends[i - 1];
    for (uint32_t i = 0; i < count; i++) room[ends[points[i].at >> shift & 0xff]++] = points[i];
    point *swap = points;
    points = room;
    room = swap;
  }
}

static int build_ring(const pk_table_cluster *c, const member *all, uint32_t count, uint32_t *places) {
  point *points = malloc(2 * (size_t)c->place_count * sizeof *points);
  if (points == NULL) return -1;
  uint64_t total = 0;
  for (uint32_t i = 0; i < count; i++) total += all[i].weight;
  int scale = scale_of(total, count);
  uint32_t n = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint64_t own = points_of(all[i].weight, scale);
    for (uint64_t k = 1; k <= own; k++)
      points[n++] = (point){(uint32_t)(mixed(all[i].hash + k * 0x9e3779b97f4a7c15u) >> 32), all[i].endpoint};
  }
  sort_points(points, points + n, n); /* an even number of times to and fro: they are where they were */
  for (uint32_t i = 0; i < n; i++) {
    places[i] = points[i].at;
    places[n + i] = points[i].endpoint;
  }
  free(points);
  return 0;
}

/* Maglev's table: endpoints take turns by weight, and take the next place that is free of all in an order of their own. */

typedef struct taker {
  uint32_t at, step;
  uint64_t turns; /* in units of 1 / the largest weight */
} taker;

static int build_maglev(const pk_table_cluster *c, const member *all, uint32_t count, uint32_t *places) {
  taker *takers = malloc(count * sizeof *takers);
  if (takers == NULL) return -1;
  uint32_t size = c->place_count, taken = 0;
  uint64_t largest = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (all[i].weight > largest) largest = all[i].weight;
    takers[i].at = (uint32_t)(all[i].hash % size);
    takers[i].step = (uint32_t)(mixed(~all[i].hash) % (size - 1)) + 1;
  }
  for (uint32_t i = 0; i < count; i++) takers[i].turns = largest - all[i].weight; /* each has one in the first round */
  for (uint32_t i = 0; i < size; i++) places[i] = PK_NONE;
  for (uint32_t i = 0; taken < size; i = i + 1 < count ? i + 1 : 0) {
    taker *one = &takers[i];
    one->turns += all[i].weight;
    if (one->turns < largest) continue;
    one->turns -= largest;
    while (places[one->at] != PK_NONE) one->at = one->at + one->step < size ? one->at + one->step : one->at + one->step - size;
    places[one->at] = all[i].endpoint;
    taken++;
  }
  free(takers);
  return 0;
}

static uint64_t maglev_places(const pk_table *t, const pk_table_cluster *c) {
  uint64_t count = 0;
  for (uint32_t i = 0; i < c->endpoint_count; i++) count += pk_table_endpoint_at(t, c->endpoints + i)->weight > 0;
  if (c->subset.size > 0 && count <= MAGLEV_SMALL / 100) return count == 0 ? 0 : MAGLEV_SMALL;
  return count == 0 ? 0 : count <= MAGLEV / 100 ? MAGLEV : MAGLEV_LARGE;
}

uint64_t pk_consistent_size(const pk_table *t, const pk_table_cluster *c) {
  return c->balance == PK_BALANCE_MAGLEV ? maglev_places(t, c) : c->balance == PK_BALANCE_RING_HASH ? 2 * ring_points(t, c) : 0;
}

int pk_consistent_build(const pk_table *t, const pk_table_cluster *c, uint32_t *places) {
  uint32_t count;
  if (c->place_count == 0) return 0;
  member *all = members_of(t, c, &count);
  if (all == NULL) return -1;
  int result = c->balance == PK_BALANCE_MAGLEV ? build_maglev(c, all, count, places) : build_ring(c, all, count, places);
  free(all);
  return result;
}

uint32_t pk_consistent_place(const pk_table *t, const pk_table_cluster *c, uint64_t key) {
  if (c->balance == PK_BALANCE_MAGLEV) return (uint32_t)(key % c->place_count);
  const uint32_t *points = PK_AT(t, uint32_t, t->places.at) + c->places;
  uint32_t low = 0, high = c->place_count, at = (uint32_t)key;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (points[middle] < at) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < c->place_count ? low : 0;
}

uint32_t pk_table_endpoint_of(const pk_table *t, uint32_t cluster, const uint8_t *text, uint32_t size) {
  if (cluster >= t->clusters.count) return PK_NONE;
  const pk_table_cluster *c = pk_table_cluster_at(t, cluster);
  if (c->place_count == 0) return PK_NONE;
  return pk_consistent_at(t, c, pk_consistent_place(t, c, pk_consistent_key(pk_hash(0, text, size)))) - c->endpoints;
}
