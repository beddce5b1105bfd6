/* load.c: a table of an image that protokit/table.py has packed: checked (image.c), then finished with what look-ups
 * and balancers go by. */
#include <stdio.h>
#include <stdlib.h>

#include "table/index.h"
#include "table/image.h"
#include "wire/codec_check.h"

enum { MAX_SCHEDULE = 65536 };

static uint64_t gcd(uint64_t a, uint64_t b) {
  while (b != 0) {
    uint64_t r = a % b;
    a = b;
    b = r;
  }
  return a;
}

/* By what the weights of a cluster's endpoints are divided: their greatest common divisor, or more where the schedule
 * would pass MAX_SCHEDULE turns. 0: none has a weight. */
static uint64_t divisor_of(const pk_table_cluster *c, const pk_table_endpoint *e) {
  uint64_t divisor = 0, total = 0;
  for (uint32_t i = 0; i < c->endpoint_count; i++) {
    divisor = gcd(divisor, e[i].weight);
    total += e[i].weight;
  }
  return total == 0 || total / divisor <= MAX_SCHEDULE ? divisor : total / MAX_SCHEDULE + 1;
}

static uint64_t turns_of(uint32_t weight, uint64_t divisor) {
  return weight == 0 ? 0 : weight / divisor > 0 ? weight / divisor : 1;
}

static uint64_t schedule_size(const pk_table_cluster *c, const pk_table_endpoint *e) {
  uint64_t divisor = divisor_of(c, e), turns = 0;
  for (uint32_t i = 0; i < c->endpoint_count; i++) turns += turns_of(e[i].weight, divisor);
  return turns;
}

/* Smooth weighted round robin, unrolled: each endpoint stands `weight` times in the schedule, as evenly spread as can
 * be. 0, or -1 without memory. */
static int build_schedule(const pk_table_cluster *c, const pk_table_endpoint *e, uint32_t *out) {
  typedef struct turn {
    uint64_t weight, position; /* the next turn, in units of 1/weight: position/weight */
    uint32_t endpoint;
  } turn;
  if (c->schedule_count == 0) return 0;
  turn *heap = malloc(c->endpoint_count * sizeof *heap);
  if (heap == NULL) return -1;
  uint64_t divisor = divisor_of(c, e);
  uint32_t turns = c->schedule_count, n = 0;
  for (uint32_t i = 0; i < c->endpoint_count; i++)
    if (e[i].weight > 0) heap[n++] = (turn){turns_of(e[i].weight, divisor), 1, i};
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
  return 0;
}

static uint32_t slot_count(const pk_routes *r) {
  uint32_t slots = 8;
  while (slots < 4 * (uint64_t)r->rule_count) slots *= 2;
  return slots;
}

/* The lengths of prefixes in use, ascending. */
static void add_prefix(pk_routes *r, uint32_t *lengths, uint32_t size) {
  uint32_t at = 0;
  while (at < r->prefix_count && lengths[at] < size) at++;
  if (at < r->prefix_count && lengths[at] == size) return;
  memmove(lengths + at + 1, lengths + at, (r->prefix_count - at) * sizeof *lengths);
  lengths[at] = size;
  r->prefix_count++;
}

/* Index the rules of a route table. `slots` has slot_count places, `lengths` one for each rule. */
static void build_index(const pk_table *t, pk_routes *r, pk_rule *rules, pk_slot_key *slots, uint32_t *lengths) {
  const uint8_t *text = PK_AT(t, uint8_t, t->text.at);
  uint32_t any_tail = PK_NONE;
  r->slot_mask = slot_count(r) - 1;
  r->any = PK_NONE;
  for (uint32_t i = 0; i <= r->slot_mask; i++) slots[i].rule = PK_NONE;
  for (uint32_t i = r->rules; i < r->rules + r->rule_count; i++) {
    pk_rule *rule = &rules[i];
    uint32_t kind = pk_index_kind(rule);
    rule->next = PK_NONE;
    if (kind == 0) {
      *(any_tail == PK_NONE ? &r->any : &rules[any_tail].next) = i;
      any_tail = i;
      continue;
    }
    pk_slice service = {text + rule->service.text.at, rule->service.text.size};
    pk_slice method = {text + rule->method.text.at, rule->method.text.size};
    pk_index_key key = kind == PK_KEY_PREFIX ? pk_index_key_prefix(t->seed, service, service.size)
                                             : pk_index_key_service(t->seed, service);
    if (kind == PK_KEY_PREFIX) add_prefix(r, lengths, service.size);
    if (kind == PK_KEY_PAIR) {
      key = pk_index_key_pair(&key, method);
      r->has_pairs = 1;
    }
    for (uint32_t s = (uint32_t)key.hash & r->slot_mask;; s = (s + 1) & r->slot_mask) {
      if (slots[s].rule == PK_NONE) {
        slots[s] = (pk_slot_key){key.hash, i, i};
        break;
      }
      if (slots[s].hash == key.hash && pk_index_same(&key, &rules[slots[s].rule], text)) {
        rules[slots[s].tail].next = i;
        slots[s].tail = i;
        break;
      }
    }
  }
}

static void finish_plan(const pk_table *t, pk_plan *p) {
  const pk_split *s = PK_AT(t, pk_split, t->splits.at) + p->split;
  p->cluster = p->split_count > 0 ? s->cluster : PK_NONE;
  for (uint32_t i = 0; i < p->split_count; i++) p->split_total += s[i].weight;
  p->features = (p->split_count > 1 ? PK_F_SPLIT : 0) | (p->retry.attempts > 1 ? PK_F_RETRY : 0) |
                (p->timeout_ms > 0 ? PK_F_TIMEOUT : 0) | (p->retry.attempts > 1 || p->hedge_ms > 0 ? PK_F_KEEP : 0);
  p->steps = (uint32_t)(p->reply.status != 0) << PK_STEP_REPLY | (uint32_t)(p->delay_ms > 0) << PK_STEP_DELAY |
             (uint32_t)(p->filter != PK_NONE) << PK_STEP_FILTER;
}

static uint32_t sure_cluster(const pk_plan *p) {
  return (p->features & PK_F_SPLIT) || p->steps != 0 ? PK_NONE : p->cluster;
}

/* Where all requests of a listener go, whatever they ask, or PK_NONE. */
static uint32_t only_cluster(const pk_table *t, const pk_table_listener *l) {
  if (l->routes == PK_NONE) return sure_cluster(pk_table_plan_at(t, l->plan));
  const pk_routes *routes = PK_AT(t, pk_routes, t->routes.at) + l->routes;
  const pk_rule *rules = PK_AT(t, pk_rule, t->rules.at) + routes->rules;
  uint32_t only = PK_NONE;
  for (uint32_t i = 0; i < routes->rule_count; i++) {
    uint32_t cluster = sure_cluster(pk_table_plan_at(t, rules[i].plan));
    if (cluster == PK_NONE || (i > 0 && cluster != only)) return PK_NONE;
    only = cluster;
  }
  return only;
}

static void finish_listener(const pk_table *t, pk_table_listener *l) {
  l->depth = l->routes == PK_NONE ? PK_DEPTH_FRAME : PK_DEPTH_DESTINATION;
  l->opens = l->present ? only_cluster(t, l) : PK_NONE;
}

/* Room for `count` items of `size` bytes at the end of the table, which grows. */
static void append(pk_table *t, pk_array *a, uint64_t count, size_t size) {
  a->at = (uint32_t)t->bytes;
  a->count = (uint32_t)count;
  t->bytes += (count * size + 63) & ~(uint64_t)63;
}

/* Where everything stands that is made; 0 when the table is over 4 GiB. */
static int lay_out(pk_table *t, pk_table_cluster *clusters, pk_routes *routes) {
  uint64_t turns = 0, slots = 0;
  for (uint32_t i = 0; i < t->clusters.count; i++) {
    pk_table_cluster *c = &clusters[i];
    c->schedule = (uint32_t)turns;
    c->schedule_count = (uint32_t)schedule_size(c, PK_AT(t, pk_table_endpoint, t->endpoints.at) + c->endpoints);
    turns += c->schedule_count;
  }
  for (uint32_t i = 0; i < t->routes.count; i++) slots += slot_count(&routes[i]);
  t->bytes = (t->bytes + 63) & ~(uint64_t)63;
  append(t, &t->codecs, t->codecs.count, sizeof(uintptr_t));
  append(t, &t->schedules, turns, sizeof(uint32_t));
  append(t, &t->slots, slots, sizeof(pk_slot_key));
  append(t, &t->prefixes, t->rules.count, sizeof(uint32_t));
  return t->bytes <= UINT32_MAX;
}

static int check_codecs(const uintptr_t *codecs, uint32_t count, char *why, size_t why_size) {
  for (uint32_t i = 0; i < count; i++) {
    const char *problem = pk_codec_check(codecs[i]);
    if (problem == NULL) continue;
    snprintf(why, why_size, "codec %u: %s", i, problem);
    return 0;
  }
  return 1;
}

#define ARRAY(t, type, array) ((type *)(void *)((char *)(t) + (t)->array.at))

/* Of a checked image at the start of a block that has room for all. */
static int finish(pk_table *t, const uintptr_t *codecs) {
  uintptr_t *codec = ARRAY(t, uintptr_t, codecs);
  for (uint32_t i = 0; i < t->codecs.count; i++) codec[i] = codecs[i];
  pk_table_cluster *clusters = ARRAY(t, pk_table_cluster, clusters);
  for (uint32_t i = 0; i < t->clusters.count; i++) {
    const pk_table_endpoint *e = ARRAY(t, pk_table_endpoint, endpoints) + clusters[i].endpoints;
    if (build_schedule(&clusters[i], e, ARRAY(t, uint32_t, schedules) + clusters[i].schedule) != 0) return -1;
  }
  pk_slot_key *slots = ARRAY(t, pk_slot_key, slots);
  pk_routes *routes = ARRAY(t, pk_routes, routes);
  for (uint32_t i = 0; i < t->routes.count; i++) {
    pk_routes *r = &routes[i];
    r->slots = (uint32_t)((char *)slots - (char *)t);
    r->prefixes = t->prefixes.at + r->rules * (uint32_t)sizeof(uint32_t);
    build_index(t, r, ARRAY(t, pk_rule, rules), slots, ARRAY(t, uint32_t, prefixes) + r->rules);
    slots += r->slot_mask + 1;
  }
  pk_plan *plans = ARRAY(t, pk_plan, plans);
  for (uint32_t i = 0; i < t->plans.count; i++) finish_plan(t, &plans[i]);
  pk_table_listener *listeners = ARRAY(t, pk_table_listener, listeners);
  for (uint32_t i = 0; i < t->listeners.count; i++) finish_listener(t, &listeners[i]);
  return 0;
}

pk_table *pk_table_load(const uint8_t *image, size_t size, const uintptr_t *codecs, uint32_t codec_count, char *why,
                        size_t why_size) {
  pk_table head;
  if (size < sizeof head || size > UINT32_MAX) {
    snprintf(why, why_size, "it has %zu bytes, not %zu to %u", size, sizeof head, UINT32_MAX);
    return NULL;
  }
  if (!check_codecs(codecs, codec_count, why, why_size)) return NULL;
  pk_table *t = malloc(size), *whole = NULL;
  if (t == NULL) goto no_memory;
  memcpy(t, image, size);
  if (t->codecs.at != 0 || t->codecs.count != 0) {
    snprintf(why, why_size, "codecs are not the image's to say");
    free(t);
    return NULL;
  }
  t->codecs.count = codec_count;
  if (!pk_image_check(t, size, why, why_size)) {
    free(t);
    return NULL;
  }
  if (!lay_out(t, ARRAY(t, pk_table_cluster, clusters), ARRAY(t, pk_routes, routes))) {
    snprintf(why, why_size, "with its schedules and hash tables it would be over 4 GiB");
    free(t);
    return NULL;
  }
  whole = realloc(t, t->bytes);
  if (whole == NULL) goto no_memory;
  memset((char *)whole + size, 0, whole->bytes - size);
  if (finish(whole, codecs) == 0) return whole;
  t = whole;
no_memory:
  free(t);
  snprintf(why, why_size, "memory is short");
  return NULL;
}

void pk_table_free(pk_table *t) { free(t); }
