/* builder.c: compiles a Snapshot into a pk_table. */
#include <stdlib.h>

#include "wire/codec_check.h"
#include "table/index.h"

typedef struct array {
  void *data;
  uint32_t count, capacity, item;
} array;

struct pk_builder {
  uint64_t seed;
  pk_limits limits;
  array listeners, rules, plans, splits, clusters, endpoints, schedules, routes, slots, prefixes,
      codecs, text;
  uint32_t routes_first_rule; /* of the route table being built */
  uint32_t last_listener;
  int failed;
};

enum { MAX_SCHEDULE = 65536, MAX_LISTENER_ID = 65535 };

/* Room for `count` more zeroed items; NULL (and the builder failed) without memory. */
static void *array_add(pk_builder *b, array *a, uint32_t count) {
  if (count > UINT32_MAX / 2 - a->count) {
    b->failed = 1;
    return NULL;
  }
  if (a->count + count > a->capacity) {
    uint32_t capacity = a->capacity < 16 ? 16 : a->capacity;
    while (capacity < a->count + count) capacity *= 2;
    void *data = realloc(a->data, (size_t)capacity * a->item);
    if (data == NULL) {
      b->failed = 1;
      return NULL;
    }
    a->data = data;
    a->capacity = capacity;
  }
  void *added = (char *)a->data + (size_t)a->count * a->item;
  memset(added, 0, (size_t)count * a->item);
  a->count += count;
  return added;
}

#define ITEM(a, type, i) ((type *)(a).data + (i))
#define LAST(a, type) ITEM(a, type, (a).count - 1)

static pk_text add_text(pk_builder *b, const char *s, size_t size) {
  pk_text text = {b->text.count, (uint32_t)size};
  if (size == 0 || size > UINT32_MAX / 4) return (pk_text){0, 0};
  void *to = array_add(b, &b->text, text.size);
  if (to == NULL) return (pk_text){0, 0};
  memcpy(to, s, size);
  return text;
}

pk_builder *pk_builder_new(uint64_t seed, const pk_limits *limits) {
  pk_builder *b = calloc(1, sizeof *b);
  if (b == NULL) return NULL;
  b->seed = seed;
  b->limits = *limits;
  b->listeners.item = sizeof(pk_table_listener);
  b->rules.item = sizeof(pk_rule);
  b->plans.item = sizeof(pk_plan);
  b->splits.item = sizeof(pk_split);
  b->clusters.item = sizeof(pk_table_cluster);
  b->endpoints.item = sizeof(pk_table_endpoint);
  b->schedules.item = sizeof(uint32_t);
  b->routes.item = sizeof(pk_routes);
  b->slots.item = sizeof(pk_slot_key);
  b->prefixes.item = sizeof(uint32_t);
  b->codecs.item = sizeof(uintptr_t);
  b->text.item = 1;
  return b;
}

static array *all_arrays(pk_builder *b) { return &b->listeners; }
enum { ARRAYS = 12 };

void pk_builder_free(pk_builder *b) {
  if (b == NULL) return;
  for (int i = 0; i < ARRAYS; i++) free(all_arrays(b)[i].data);
  free(b);
}

uint32_t pk_builder_cluster(pk_builder *b, const char *name, uint32_t balance,
                            uint32_t max_connections, uint32_t connect_ms) {
  pk_table_cluster *c = array_add(b, &b->clusters, 1);
  if (c == NULL) return PK_NONE;
  c->endpoints = b->endpoints.count;
  c->balance = balance;
  c->max_connections = max_connections > 0 ? max_connections : 1;
  c->connect_ms = connect_ms;
  c->name = add_text(b, name, strlen(name));
  return b->clusters.count - 1;
}

uint32_t pk_builder_endpoint(pk_builder *b, uint32_t uid, uint32_t weight, const char *name,
                             const uint8_t *addr, uint32_t addr_size) {
  if (b->clusters.count == 0 || addr_size > sizeof(((pk_table_endpoint *)0)->addr)) return PK_NONE;
  pk_table_endpoint *e = array_add(b, &b->endpoints, 1);
  if (e == NULL) return PK_NONE;
  e->uid = uid;
  e->weight = weight;
  e->cluster = b->clusters.count - 1;
  e->name = add_text(b, name, strlen(name));
  e->addr_size = addr_size;
  memcpy(e->addr, addr, addr_size);
  LAST(b->clusters, pk_table_cluster)->endpoint_count++;
  return b->endpoints.count - 1;
}

uint32_t pk_builder_plan(pk_builder *b, const char *name, uint32_t features, uint32_t timeout_ms,
                         uint32_t attempts, uint32_t retry_on, uint32_t idempotent,
                         uint32_t filter) {
  pk_plan *p = array_add(b, &b->plans, 1);
  if (p == NULL) return PK_NONE;
  p->features = features & ~(uint32_t)PK_F_SPLIT;
  p->cluster = PK_NONE;
  p->split = b->splits.count;
  p->timeout_ms = timeout_ms;
  p->attempts = attempts;
  p->retry_on = retry_on;
  p->idempotent = idempotent;
  p->filter = filter;
  p->name = add_text(b, name, strlen(name));
  return b->plans.count - 1;
}

uint32_t pk_builder_split(pk_builder *b, uint32_t cluster, uint32_t weight) {
  if (b->plans.count == 0 || cluster >= b->clusters.count) return PK_NONE;
  pk_split *s = array_add(b, &b->splits, 1);
  if (s == NULL) return PK_NONE;
  s->cluster = cluster;
  s->weight = weight;
  pk_plan *p = LAST(b->plans, pk_plan);
  p->split_count++;
  p->split_total += weight;
  if (p->split_count == 1) {
    p->cluster = cluster;
  } else {
    p->features |= PK_F_SPLIT;
  }
  return b->splits.count - 1;
}

/* Index the rules of the route table added last. */
static void finish_routes(pk_builder *b) {
  if (b->routes.count == 0) return;
  pk_routes *routes = LAST(b->routes, pk_routes);
  uint32_t first = b->routes_first_rule, end = b->rules.count, slots = 8;
  while (slots < 4 * (end - first)) slots *= 2;
  routes->slots = b->slots.count;
  routes->slot_mask = slots - 1;
  routes->prefixes = b->prefixes.count;
  routes->any = PK_NONE;
  pk_slot_key *table = array_add(b, &b->slots, slots);
  if (table == NULL) return;
  for (uint32_t i = 0; i < slots; i++) table[i].rule = PK_NONE;
  uint32_t any_tail = PK_NONE;
  for (uint32_t i = first; i < end; i++) {
    pk_rule *rule = ITEM(b->rules, pk_rule, i);
    const uint8_t *text = b->text.data;
    uint32_t kind = pk_index_kind(rule);
    if (kind == 0) {
      if (any_tail == PK_NONE) {
        routes->any = i;
      } else {
        ITEM(b->rules, pk_rule, any_tail)->next = i;
      }
      any_tail = i;
      continue;
    }
    pk_slice service = {text + rule->service.text.at, rule->service.text.size};
    pk_slice method = {text + rule->method.text.at, rule->method.text.size};
    pk_index_key key = kind == PK_KEY_PREFIX ? pk_index_key_prefix(b->seed, service, service.size)
                                             : pk_index_key_service(b->seed, service);
    if (kind == PK_KEY_PAIR) {
      key = pk_index_key_pair(&key, method);
      routes->has_pairs = 1;
    }
    if (kind == PK_KEY_PREFIX) {
      uint32_t at = routes->prefixes;
      while (at < b->prefixes.count && *ITEM(b->prefixes, uint32_t, at) < service.size) at++;
      if (at == b->prefixes.count || *ITEM(b->prefixes, uint32_t, at) != service.size) {
        if (array_add(b, &b->prefixes, 1) == NULL) return;
        uint32_t *lengths = b->prefixes.data;
        memmove(lengths + at + 1, lengths + at, (b->prefixes.count - 1 - at) * sizeof *lengths);
        lengths[at] = service.size;
        routes->prefix_count++;
      }
    }
    for (uint32_t s = (uint32_t)key.hash & routes->slot_mask;; s = (s + 1) & routes->slot_mask) {
      if (table[s].rule == PK_NONE) {
        table[s] = (pk_slot_key){key.hash, i, i};
        break;
      }
      if (table[s].hash == key.hash &&
          pk_index_same(&key, ITEM(b->rules, pk_rule, table[s].rule), text)) {
        ITEM(b->rules, pk_rule, table[s].tail)->next = i;
        table[s].tail = i;
        break;
      }
    }
  }
}

uint32_t pk_builder_routes(pk_builder *b, const char *name) {
  finish_routes(b);
  pk_routes *r = array_add(b, &b->routes, 1);
  if (r == NULL) return PK_NONE;
  r->name = add_text(b, name, strlen(name));
  r->first_rule = b->routes_first_rule = b->rules.count;
  return b->routes.count - 1;
}

static pk_pattern pattern(pk_builder *b, const char *s) {
  size_t size = strlen(s);
  pk_pattern p = {{0, 0}, PK_MATCH_EXACT};
  if (size == 1 && s[0] == '*') {
    p.kind = PK_MATCH_ANY;
    return p;
  }
  if (size > 1 && s[size - 1] == '*') {
    p.kind = PK_MATCH_PREFIX;
    size--;
  }
  p.text = add_text(b, s, size);
  return p;
}

uint32_t pk_builder_rule(pk_builder *b, const char *service, const char *method,
                         const char *version, const char *group, uint32_t plan) {
  if (b->routes.count == 0 || plan >= b->plans.count) return PK_NONE;
  pk_rule rule = {pattern(b, service), pattern(b, method), pattern(b, version),
                  pattern(b, group),   plan,               PK_NONE};
  pk_rule *r = array_add(b, &b->rules, 1);
  if (r == NULL) return PK_NONE;
  *r = rule;
  LAST(b->routes, pk_routes)->rule_count++;
  return b->rules.count - 1;
}

uint32_t pk_builder_listener(pk_builder *b, uint32_t id, const char *name, uint32_t routes,
                             uint32_t plan, uint32_t pinned) {
  if (id > MAX_LISTENER_ID) return PK_NONE;
  if (routes == PK_NONE ? plan >= b->plans.count : routes >= b->routes.count) return PK_NONE;
  if (id >= b->listeners.count &&
      array_add(b, &b->listeners, id + 1 - b->listeners.count) == NULL)
    return PK_NONE;
  pk_table_listener *l = ITEM(b->listeners, pk_table_listener, id);
  l->present = 1;
  l->routes = routes;
  l->plan = plan;
  l->depth = routes == PK_NONE ? PK_DEPTH_FRAME : PK_DEPTH_DESTINATION;
  l->pinned = pinned;
  l->codec = b->codecs.count;
  l->codec_count = 0;
  l->fallback = PK_NONE;
  l->goaway = 0;
  l->name = add_text(b, name, strlen(name));
  b->last_listener = id;
  return id;
}

uint32_t pk_builder_codec(pk_builder *b, uintptr_t codec) {
  if (b->listeners.count == 0) return PK_NONE;
  uintptr_t *c = array_add(b, &b->codecs, 1);
  if (c == NULL) return PK_NONE;
  *c = codec;
  ITEM(b->listeners, pk_table_listener, b->last_listener)->codec_count++;
  return b->codecs.count - 1;
}

uint32_t pk_builder_fallback(pk_builder *b, uint32_t cluster) {
  if (b->listeners.count == 0 || cluster >= b->clusters.count) return PK_NONE;
  ITEM(b->listeners, pk_table_listener, b->last_listener)->fallback = cluster;
  return cluster;
}

uint32_t pk_builder_goaway(pk_builder *b) {
  if (b->listeners.count == 0) return PK_NONE;
  ITEM(b->listeners, pk_table_listener, b->last_listener)->goaway = 1;
  return b->last_listener;
}

static uint64_t gcd(uint64_t a, uint64_t b) {
  while (b != 0) {
    uint64_t r = a % b;
    a = b;
    b = r;
  }
  return a;
}

/* Smooth weighted round robin, unrolled: each endpoint stands `weight` times in the schedule, as
 * evenly spread as can be. Weights are divided by their greatest common divisor, and scaled down
 * where the schedule would pass MAX_SCHEDULE turns. */
static void build_schedule(pk_builder *b, pk_table_cluster *c) {
  const pk_table_endpoint *e = ITEM(b->endpoints, pk_table_endpoint, c->endpoints);
  uint64_t divisor = 0, total = 0;
  for (uint32_t i = 0; i < c->endpoint_count; i++) {
    divisor = gcd(divisor, e[i].weight);
    total += e[i].weight;
  }
  c->schedule = b->schedules.count;
  c->schedule_count = 0;
  if (total == 0) return;
  if (total / divisor > MAX_SCHEDULE) divisor = total / MAX_SCHEDULE + 1;
  typedef struct turn {
    uint64_t weight, position; /* the next turn, in units of 1/weight: position/weight */
    uint32_t endpoint;
  } turn;
  turn *heap = malloc(c->endpoint_count * sizeof *heap);
  uint32_t turns = 0, n = 0;
  for (uint32_t i = 0; heap != NULL && i < c->endpoint_count; i++) {
    if (e[i].weight == 0) continue;
    uint64_t w = e[i].weight / divisor > 0 ? e[i].weight / divisor : 1;
    heap[n++] = (turn){w, 1, i};
    turns += (uint32_t)w;
  }
  uint32_t *out = heap == NULL ? NULL : array_add(b, &b->schedules, turns);
  if (out == NULL) {
    b->failed = 1;
    free(heap);
    return;
  }
#define BEFORE(x, y) \
  ((x).position * (y).weight < (y).position * (x).weight || \
   ((x).position * (y).weight == (y).position * (x).weight && (x).endpoint < (y).endpoint))
  for (uint32_t k = 0; k < n + turns; k++) {
    uint32_t at = k < n ? n - 1 - k : 0; /* first make a heap of it, then take turns */
    if (k >= n) {
      out[k - n] = c->endpoints + heap[0].endpoint;
      heap[0].position += 2;
    }
    for (;;) {
      uint32_t child = 2 * at + 1;
      if (child >= n) break;
      if (child + 1 < n && BEFORE(heap[child + 1], heap[child])) child++;
      if (!BEFORE(heap[child], heap[at])) break;
      turn swap = heap[at];
      heap[at] = heap[child];
      heap[child] = swap;
      at = child;
    }
  }
#undef BEFORE
  free(heap);
  c->schedule_count = turns;
}

static uint32_t sure_cluster(const pk_plan *p) {
  return p->features & (PK_F_SPLIT | PK_F_FILTER) ? PK_NONE : p->cluster;
}

/* Where all requests of a listener go, whatever they ask, or PK_NONE. */
static uint32_t only_cluster(const pk_builder *b, const pk_table_listener *l) {
  if (l->routes == PK_NONE) return sure_cluster(ITEM(b->plans, pk_plan, l->plan));
  const pk_routes *routes = ITEM(b->routes, pk_routes, l->routes);
  const pk_rule *rules = ITEM(b->rules, pk_rule, routes->first_rule);
  uint32_t only = PK_NONE;
  for (uint32_t i = 0; i < routes->rule_count; i++) {
    uint32_t cluster = sure_cluster(ITEM(b->plans, pk_plan, rules[i].plan));
    if (cluster == PK_NONE || (i > 0 && cluster != only)) return PK_NONE;
    only = cluster;
  }
  return only;
}

pk_table *pk_builder_finish(pk_builder *b) {
  finish_routes(b);
  for (uint32_t i = 0; i < b->listeners.count; i++) {
    pk_table_listener *l = ITEM(b->listeners, pk_table_listener, i);
    if (l->present) l->opens = only_cluster(b, l);
  }
  for (uint32_t i = 0; i < b->clusters.count; i++)
    build_schedule(b, ITEM(b->clusters, pk_table_cluster, i));
  size_t offsets[ARRAYS], total = (sizeof(pk_table) + 63) & ~(size_t)63;
  for (int i = 0; i < ARRAYS; i++) {
    offsets[i] = total;
    total += ((size_t)all_arrays(b)[i].count * all_arrays(b)[i].item + 63) & ~(size_t)63;
  }
  if (b->failed || total > UINT32_MAX) return NULL;
  pk_table *t = calloc(1, total + 8);
  if (t == NULL) return NULL;
  uint32_t *to[ARRAYS] = {&t->listeners, &t->rules,     &t->plans,  &t->splits,
                          &t->clusters,  &t->endpoints, &t->schedules, &t->routes,
                          &t->slots,     &t->prefixes,  &t->codecs, &t->text};
  for (int i = 0; i < ARRAYS; i++) {
    const array *a = &all_arrays(b)[i];
    *to[i] = (uint32_t)offsets[i];
    if (a->count > 0) memcpy((char *)t + offsets[i], a->data, (size_t)a->count * a->item);
  }
  pk_routes *routes = (pk_routes *)(void *)((char *)t + t->routes);
  for (uint32_t i = 0; i < b->routes.count; i++) {
    routes[i].slots = t->slots + routes[i].slots * (uint32_t)sizeof(pk_slot_key);
    routes[i].prefixes = t->prefixes + routes[i].prefixes * (uint32_t)sizeof(uint32_t);
  }
  t->seed = b->seed;
  t->bytes = total;
  t->limits = b->limits;
  t->listener_count = b->listeners.count;
  t->rule_count = b->rules.count;
  t->plan_count = b->plans.count;
  t->cluster_count = b->clusters.count;
  t->endpoint_count = b->endpoints.count;
  t->routes_count = b->routes.count;
  return t;
}
