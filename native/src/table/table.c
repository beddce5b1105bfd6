/* table.c: looking up routes in a compiled table. load.c builds it.
 *
 * Rules are indexed by (service, method) when both are exact, else by exact service, else by
 * service prefix; the rest stand in one list. A look-up walks at most one chain of each kind and
 * keeps the rule that comes first in the route table, so the order of the configuration decides
 * and ten thousand exact rules cost what ten do. What was asked lately is not looked up again: a worker
 * keeps a small cache of it. */
#include "table/table.h"

#include "table/index.h"

static int pattern_matches(const pk_table *t, const pk_pattern *p, pk_slice value) {
  if (p->kind == PK_MATCH_ANY) return 1;
  if (p->kind == PK_MATCH_EXACT ? value.size != p->text.size : value.size < p->text.size) return 0;
  return p->text.size == 0 || memcmp(pk_table_text_at(t, p->text), value.data, p->text.size) == 0;
}

/* The first rule of the chain that matches and comes before `best`. */
static uint32_t walk(const pk_table *t, uint32_t rule, uint32_t best, const pk_destination *d) {
  const pk_rule *rules = PK_AT(t, pk_rule, t->rules.at);
  for (; rule < best; rule = rules[rule].next) {
    const pk_rule *r = &rules[rule];
    if (pattern_matches(t, &r->method, d->method) && pattern_matches(t, &r->version, d->version) &&
        pattern_matches(t, &r->group, d->group))
      return rule;
  }
  return best;
}

static uint32_t find(const pk_table *t, const pk_routes *routes, const pk_index_key *key) {
  const pk_slot_key *slots = PK_AT(t, pk_slot_key, routes->slots);
  const pk_rule *rules = PK_AT(t, pk_rule, t->rules.at);
  for (uint32_t i = (uint32_t)key->hash & routes->slot_mask;; i = (i + 1) & routes->slot_mask) {
    if (slots[i].rule == PK_NONE) return PK_NONE;
    if (slots[i].hash == key->hash &&
        pk_index_same(key, &rules[slots[i].rule], PK_AT(t, uint8_t, t->text.at)))
      return slots[i].rule;
  }
}

uint32_t pk_table_route(const pk_table *t, uint32_t routes_index, const pk_destination *d) {
  const pk_routes *routes = PK_AT(t, pk_routes, t->routes.at) + routes_index;
  uint32_t best = walk(t, routes->any, PK_NONE, d);
  pk_index_key key = pk_index_key_service(t->seed, d->service);
  best = walk(t, find(t, routes, &key), best, d);
  if (routes->has_pairs) {
    key = pk_index_key_pair(&key, d->method);
    best = walk(t, find(t, routes, &key), best, d);
  }
  const uint32_t *lengths = PK_AT(t, uint32_t, routes->prefixes);
  for (uint32_t i = 0; i < routes->prefix_count && lengths[i] <= d->service.size; i++) {
    key = pk_index_key_prefix(t->seed, d->service, lengths[i]);
    best = walk(t, find(t, routes, &key), best, d);
  }
  return best == PK_NONE ? PK_NONE : PK_AT(t, pk_rule, t->rules.at)[best].plan;
}

uint32_t pk_table_bucket(const pk_destination *d) {
  uint64_t service = pk_hash(0, d->service.data, d->service.size);
  return (uint32_t)(pk_hash(service, d->method.data, d->method.size) % PK_BUCKETS);
}

/* Where in the cache a destination stands; NULL: nowhere. */
static pk_cached_route *cached_at(pk_cached_route *cache, uint32_t routes, const pk_destination *d) {
  _Static_assert(PK_CACHED_ROUTES == 1 << (64 - 56), "the place is the key's highest bits");
  uint64_t key;
  if (d->service.size < sizeof key || d->method.size == 0 ||
      (uint64_t)d->service.size + d->method.size + d->version.size + d->group.size > PK_CACHED_TEXT)
    return NULL;
  memcpy(&key, d->service.data + d->service.size - sizeof key, sizeof key);
  key = key * 31 + routes;
  key = key * 31 + d->method.data[0];
  key = key * 31 + d->method.data[d->method.size - 1];
  key = key * 31 + d->method.size;
  if (d->version.size > 0) key = key * 31 + d->version.data[d->version.size - 1];
  if (d->group.size > 0) key = key * 31 + d->group.data[d->group.size - 1];
  return &cache[key * 0x9e3779b97f4a7c15u >> 56];
}

static int is_next(const uint8_t **text, pk_slice s) {
  const uint8_t *at = *text;
  *text += s.size;
  return s.size == 0 || memcmp(at, s.data, s.size) == 0;
}

static int is_cached(const pk_cached_route *c, uint32_t routes, const pk_destination *d) {
  const uint8_t *text = c->text;
  return c->service == d->service.size && c->routes == routes && c->method == d->method.size &&
         c->version == d->version.size && c->group == d->group.size && is_next(&text, d->service) &&
         is_next(&text, d->method) && is_next(&text, d->version) && is_next(&text, d->group);
}

uint32_t pk_table_route_cached(const pk_table *t, pk_cached_route cache[PK_CACHED_ROUTES], uint32_t routes,
                               const pk_destination *d, uint32_t *bucket) {
  pk_cached_route *c = cached_at(cache, routes, d);
  if (c == NULL) {
    *bucket = pk_table_bucket(d);
    return pk_table_route(t, routes, d);
  }
  if (is_cached(c, routes, d)) {
    *bucket = c->bucket;
    return c->plan;
  }
  const pk_slice texts[] = {d->service, d->method, d->version, d->group};
  uint8_t *to = c->text;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    if (texts[i].size > 0) memcpy(to, texts[i].data, texts[i].size);
    to += texts[i].size;
  }
  c->routes = routes;
  c->service = d->service.size;
  c->method = d->method.size;
  c->version = d->version.size;
  c->group = d->group.size;
  c->bucket = *bucket = pk_table_bucket(d);
  return c->plan = pk_table_route(t, routes, d);
}

