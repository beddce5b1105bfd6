/* load.c: a table of an image that protokit/table.py has packed: checked (image.c), then finished with what look-ups
 * and balancers go by. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "table/choice.h"
#include "table/condition.h"
#include "table/consistent.h"
#include "table/index.h"
#include "table/image.h"
#include "table/units.h"
#include "wire/codec_check.h"

enum { MAX_SCHEDULE = 65536, HEADERS = 32 /* of a route table, by whose values rules are indexed */ };

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

static int is_of(const pk_table *t, const pk_condition *c, uint32_t origin) {
  return c->of != PK_NONE && pk_table_origin_at(t, c->of)->origin == origin;
}

/* Which condition of a rule leads to it: the first that wants a header to have one of some values, where all hold. None whose value
 * may be written in two ways. */
static const pk_condition *leading(const pk_table *t, const pk_rule *rule) {
  const pk_condition *c = PK_AT(t, pk_condition, t->conditions.at) + rule->condition, *end = c + rule->condition_count;
  if (rule->condition_count > 1) c = c->condition == PK_CONDITION_ALL ? c + 1 : end;
  for (; c < end; c += c->size)
    if (!c->wide && is_of(t, c, PK_ORIGIN_HEADER) && (c->match == PK_MATCH_EXACT || c->match == PK_MATCH_IN)) return c;
  return NULL;
}

static uint32_t values_of(const pk_condition *c) { return c == NULL ? 0 : c->match == PK_MATCH_IN ? c->value_count : 1; }

/* The number of a header among those of a route table, a new one the first time; HEADERS: there are too many. */
static uint32_t header_number(const pk_table *t, pk_routes *r, uint32_t *headers, uint32_t of) {
  const uint8_t *text = PK_AT(t, uint8_t, t->text.at);
  pk_slice name = pk_table_slice(t, pk_table_origin_at(t, of)->name);
  uint32_t n = 0;
  while (n < r->header_count && !pk_index_text_same(name, pk_table_origin_at(t, headers[n])->name, text)) n++;
  if (n == r->header_count && n < HEADERS) headers[r->header_count++] = of;
  return n;
}

/* What is made for look-ups, while it is. */
typedef struct making {
  pk_table *table;
  pk_rule *rules;
  pk_slot_key *slots;   /* of one route table */
  uint32_t slot;        /* the number of its first */
  uint32_t *lengths;
  uint32_t *headers;
  pk_value_key *by_value;
  pk_led *led;
  uint32_t led_count;
} making;

/* One more value that leads to a rule. */
static void lead(making *m, const pk_slot_key *slot, uint32_t header, pk_text value, uint32_t rule) {
  const uint8_t *text = PK_AT(m->table, uint8_t, m->table->text.at);
  pk_slice wanted = {text + value.at, value.size};
  uint64_t hash = pk_index_value(m->table->seed, slot->hash, header, wanted);
  uint32_t mask = m->table->by_value.count - 1, i = (uint32_t)hash & mask;
  for (; m->by_value[i].slot != PK_NONE; i = (i + 1) & mask)
    if (m->by_value[i].slot == slot->self && m->by_value[i].header == header &&
        pk_index_text_same(wanted, m->by_value[i].value, text))
      break;
  pk_value_key *key = &m->by_value[i];
  if (key->slot == PK_NONE) *key = (pk_value_key){hash, slot->self, header, value, PK_NONE, PK_NONE};
  *(key->tail == PK_NONE ? &key->first : &m->led[key->tail].next) = m->led_count;
  key->tail = m->led_count;
  m->led[m->led_count++] = (pk_led){rule, PK_NONE};
}

static void append_rule(making *m, uint32_t *first, uint32_t *tail, uint32_t rule) {
  *(*tail == PK_NONE ? first : &m->rules[*tail].next) = rule;
  *tail = rule;
}

/* A rule into its slot: behind those that ask nothing, or those that do, or where a header's value leads to. */
static void put(making *m, pk_routes *r, pk_slot_key *slot, uint32_t i) {
  const pk_rule *rule = &m->rules[i];
  if (rule->condition_count == 0) {
    append_rule(m, &slot->rule, &slot->tail, i);
    return;
  }
  const pk_condition *c = leading(m->table, rule);
  uint32_t header = c == NULL ? HEADERS : header_number(m->table, r, m->headers, c->of);
  if (header == HEADERS) {
    append_rule(m, &slot->asking, &slot->asking_tail, i);
    return;
  }
  const pk_match_value *values = PK_AT(m->table, pk_match_value, m->table->values.at) + c->value;
  for (uint32_t v = 0; v < values_of(c); v++) lead(m, slot, header, c->match == PK_MATCH_IN ? values[v].text : c->text, i);
  if (slot->by_value == PK_NONE) slot->by_value = i;
  slot->headers |= 1u << header;
}

/* The slot of a key, a new one the first time. */
static pk_slot_key *slot_of(making *m, const pk_routes *r, const pk_index_key *key, uint32_t like) {
  uint32_t s = (uint32_t)key->hash & r->slot_mask;
  for (; m->slots[s].like != PK_NONE; s = (s + 1) & r->slot_mask)
    if (m->slots[s].hash == key->hash &&
        pk_index_same(key, &m->rules[m->slots[s].like], PK_AT(m->table, uint8_t, m->table->text.at)))
      return &m->slots[s];
  m->slots[s].hash = key->hash;
  m->slots[s].like = like;
  return &m->slots[s];
}

static uint32_t depth_of(const pk_table *t, const pk_rule *r) {
  uint32_t texts = r->service.kind | r->method.kind | r->version.kind | r->group.kind;
  const pk_condition *asked = PK_AT(t, pk_condition, t->conditions.at) + r->condition;
  uint32_t depth = r->condition_count > 0 ? pk_condition_depth(t, asked) : PK_DEPTH_FRAME;
  return depth == PK_DEPTH_FRAME && texts != PK_MATCH_ANY ? PK_DEPTH_DESTINATION : depth;
}

/* Index the rules of a route table. */
static void build_index(making *m, pk_routes *r) {
  const uint8_t *text = PK_AT(m->table, uint8_t, m->table->text.at);
  r->slot_mask = slot_count(r) - 1;
  r->any = r->slot_mask + 1;
  r->reading = PK_NONE;
  for (uint32_t i = 0; i <= r->any; i++)
    m->slots[i] = (pk_slot_key){0, m->slot + i, PK_NONE, PK_NONE, PK_NONE, PK_NONE, 0, PK_NONE, PK_NONE};
  for (uint32_t i = r->rules; i < r->rules + r->rule_count; i++) {
    pk_rule *rule = &m->rules[i];
    uint32_t kind = pk_index_kind(rule);
    rule->next = PK_NONE;
    rule->depth = depth_of(m->table, rule);
    if (rule->depth > r->depth) r->depth = rule->depth;
    if (rule->depth > PK_DEPTH_FRAME && r->reading == PK_NONE) r->reading = i;
    if (kind == 0) {
      put(m, r, &m->slots[r->any], i);
      continue;
    }
    pk_slice service = {text + rule->service.text.at, rule->service.text.size};
    pk_slice method = {text + rule->method.text.at, rule->method.text.size};
    pk_index_key key = kind == PK_KEY_PREFIX ? pk_index_key_prefix(m->table->seed, service, service.size)
                                             : pk_index_key_service(m->table->seed, service);
    if (kind == PK_KEY_PREFIX) add_prefix(r, m->lengths, service.size);
    if (kind == PK_KEY_PAIR) {
      key = pk_index_key_pair(&key, method);
      r->has_pairs = 1;
    }
    put(m, r, slot_of(m, r, &key, i), i);
  }
}

/* Whether requests of a plan may need a key: filters, and headers that name a cluster, may choose any. */
static int needs_key(const pk_table *t, const pk_plan *p) {
  const pk_split *s = PK_AT(t, pk_split, t->splits.at) + p->split;
  for (uint32_t i = 0; i < p->split_count; i++)
    if (pk_table_cluster_at(t, s[i].cluster)->hash.count > 0) return 1;
  int any = p->filter != PK_NONE || (p->features & PK_F_CHOICE) != 0;
  for (uint32_t i = 0; any && i < t->clusters.count; i++)
    if (pk_table_cluster_at(t, i)->hash.count > 0) return 1;
  return 0;
}

/* Where a request goes is not known before it comes: some filter may say it. */
static uint32_t breakers(const pk_table *t) {
  for (uint32_t i = 0; i < t->clusters.count; i++)
    if (pk_breaker_places(&pk_table_cluster_at(t, i)->breaker)) return PK_F_BREAKER;
  return 0;
}

static void finish_plan(const pk_table *t, pk_plan *p, uint32_t features) {
  const pk_split *s = PK_AT(t, pk_split, t->splits.at) + p->split;
  p->cluster = p->split_count > 0 ? s->cluster : PK_NONE;
  for (uint32_t i = 0; i < p->split_count; i++) {
    p->split_total += s[i].weight;
    if (s[i].choice != PK_NONE) p->features |= PK_F_CHOICE;
  }
  int hedges = p->retry.idempotent && (p->hedge.after_ms > 0 || p->hedge.percentile > 0);
  p->features |= features | (p->split_count > 1 ? PK_F_SPLIT : 0) | (p->retry.attempts > 1 ? PK_F_RETRY : 0) |
                (p->timeout.usual > 0 || p->timeout.most > 0 ? PK_F_TIMEOUT : 0) | (p->timeout.pass_on ? PK_F_PASS_ON : 0) |
                 (p->retry.attempts > 1 || hedges ? PK_F_KEEP : 0) | (hedges ? PK_F_HEDGE : 0) |
                 (p->retry.per_try > 0 || hedges ? PK_F_TIMED : 0);
  p->steps = (uint32_t)(p->ends != PK_NONE) << PK_STEP_NOTE | (uint32_t)(p->reply.status != 0) << PK_STEP_REPLY | (uint32_t)(p->fault.delay_share > 0 || p->fault.asked.of.count > 0) << PK_STEP_DELAY |
             (uint32_t)(p->fault.abort_share > 0 || p->fault.asked.of.count > 0) << PK_STEP_ABORT |
             (uint32_t)(p->filter != PK_NONE) << PK_STEP_FILTER | (uint32_t)(p->limit.interval > 0) << PK_STEP_LIMIT |
             (uint32_t)needs_key(t, p) << PK_STEP_KEY | (uint32_t)(p->change_count > p->change_answers) << PK_STEP_CHANGE |
             (uint32_t)(p->mirror.cluster != PK_NONE && p->mirror.share > 0) << PK_STEP_MIRROR |
             (uint32_t)(p->answers != PK_NONE || p->change_answers > 0) << PK_STEP_SEE;
}

/* A client's address is known when it comes, other keys with its first request. */
static uint32_t sure_cluster(const pk_table *t, const pk_plan *p) {
  int elsewhere = (p->steps & (1u << PK_STEP_FILTER | 1u << PK_STEP_REPLY)) != 0;
  if ((p->features & (PK_F_SPLIT | PK_F_CHOICE)) || elsewhere || p->cluster == PK_NONE) return PK_NONE;
  return pk_key_is_of_client(t, pk_table_cluster_at(t, p->cluster)->hash) ? p->cluster : PK_NONE;
}

static uint32_t depth_of_key(const pk_table *t, pk_key by) {
  if (pk_key_asks(t, by, PK_ORIGIN_ARGUMENT)) return PK_DEPTH_ARGUMENTS;
  return pk_key_asks(t, by, PK_ORIGIN_HEADER) ? PK_DEPTH_HEADERS : pk_key_is_of_client(t, by) ? PK_DEPTH_FRAME : PK_DEPTH_DESTINATION;
}

static uint32_t deeper(uint32_t a, uint32_t b) { return a > b ? a : b; }

/* What headers say is read, and by what the clusters that they may say go: of all in the table, which is enough. */
static uint32_t depth_of_choices(const pk_table *t) {
  uint32_t depth = PK_DEPTH_HEADERS;
  for (uint32_t i = 0; i < t->clusters.count; i++) depth = deeper(depth, depth_of_key(t, pk_table_cluster_at(t, i)->hash));
  return depth;
}

/* How deep a plan reads: its keys, its choices, what it changes. */
static uint32_t plan_depth(const pk_table *t, const pk_plan *p) {
  const pk_split *s = PK_AT(t, pk_split, t->splits.at) + p->split;
  const pk_change *changes = PK_AT(t, pk_change, t->changes.at) + p->change;
  uint32_t depth = deeper(depth_of_key(t, p->limit.by), depth_of_key(t, p->fault.having));
  depth = deeper(depth, depth_of_key(t, p->fault.asked.of));
  if (p->ends != PK_NONE) depth = deeper(depth, PK_DEPTH_DESTINATION);
  if (p->features & PK_F_CHOICE) depth = deeper(depth, depth_of_choices(t));
  if (p->features & PK_F_SPLIT) depth = deeper(depth, depth_of_key(t, p->sticky));
  for (uint32_t i = 0; i < p->split_count; i++) depth = deeper(depth, depth_of_key(t, pk_table_cluster_at(t, s[i].cluster)->hash));
  if (p->steps & 1u << PK_STEP_MIRROR) depth = deeper(depth, depth_of_key(t, pk_table_cluster_at(t, p->mirror.cluster)->hash));
  for (uint32_t i = 0; i < p->change_count; i++) {
    int from_header = changes[i].of != PK_NONE && pk_table_origin_at(t, changes[i].of)->origin == PK_ORIGIN_HEADER;
    if (from_header || changes[i].how == PK_CHANGE_APPEND) depth = deeper(depth, PK_DEPTH_HEADERS);
  }
  return depth;
}

/* Where all requests of a listener go, whatever they ask, or PK_NONE. */
static uint32_t only_cluster(const pk_table *t, const pk_table_listener *l) {
  if (l->routes == PK_NONE) return sure_cluster(t, pk_table_plan_at(t, l->plan));
  const pk_routes *routes = PK_AT(t, pk_routes, t->routes.at) + l->routes;
  const pk_rule *rules = PK_AT(t, pk_rule, t->rules.at) + routes->rules;
  uint32_t only = PK_NONE;
  for (uint32_t i = 0; i < routes->rule_count; i++) {
    const pk_condition *asked = PK_AT(t, pk_condition, t->conditions.at) + rules[i].condition;
    if (rules[i].condition_count > 0 && !pk_condition_possible(t, asked, l)) continue;
    uint32_t cluster = sure_cluster(t, pk_table_plan_at(t, rules[i].plan));
    if (cluster == PK_NONE || (only != PK_NONE && cluster != only)) return PK_NONE;
    only = cluster;
  }
  return only;
}

/* By what its verdicts are: PK_GUARD_*. */
static uint32_t guard_of(const pk_table *t, const pk_routes *verdicts) {
  const pk_rule *rules = PK_AT(t, pk_rule, t->rules.at) + verdicts->rules;
  uint32_t guard = verdicts->depth > PK_DEPTH_FRAME ? PK_GUARD_REQUEST : PK_GUARD_CONNECTION;
  for (uint32_t i = 0; i < verdicts->rule_count && guard == PK_GUARD_CONNECTION; i++)
    if (rules[i].condition_count > 0 && pk_condition_asks_oneway(PK_AT(t, pk_condition, t->conditions.at) + rules[i].condition))
      guard = PK_GUARD_FRAME;
  return guard;
}

static void finish_listener(const pk_table *t, pk_table_listener *l) {
  const pk_routes *every = PK_AT(t, pk_routes, t->routes.at);
  l->depth = PK_DEPTH_FRAME;
  uint32_t behind = PK_DEPTH_FRAME; /* the match */
  if (l->routes == PK_NONE && l->plan != PK_NONE) l->depth = plan_depth(t, pk_table_plan_at(t, l->plan));
  if (l->routes != PK_NONE) {
    const pk_routes *routes = every + l->routes;
    const pk_rule *rules = PK_AT(t, pk_rule, t->rules.at) + routes->rules;
    l->depth = deeper(PK_DEPTH_DESTINATION, routes->depth);
    for (uint32_t i = 0; i < routes->rule_count; i++) behind = deeper(behind, plan_depth(t, pk_table_plan_at(t, rules[i].plan)));
    l->depth = deeper(l->depth, behind);
  }
  const uint32_t verdicts[] = {l->access, l->dry_run};
  for (uint32_t i = 0; i < 2; i++) {
    if (verdicts[i] == PK_NONE) continue;
    uint32_t depth = every[verdicts[i]].depth;
    l->guard = deeper(l->guard, guard_of(t, &every[verdicts[i]]));
    behind = deeper(behind, depth);
    l->depth = deeper(l->depth, depth);
  }
  l->fills = behind >= PK_DEPTH_HEADERS;
  l->opens = l->present ? only_cluster(t, l) : PK_NONE;
}

/* Room for `count` items of `size` bytes at the end of the table, which grows. */
static void append(pk_table *t, pk_array *a, uint64_t count, size_t size) {
  a->at = (uint32_t)t->bytes;
  a->count = (uint32_t)count;
  t->bytes += (count * size + 63) & ~(uint64_t)63;
}

/* Where everything stands that is made; 0 when the table is over 4 GiB. */
static int lay_out(pk_table *t, pk_table_cluster *clusters, pk_routes *routes, pk_condition *conditions, pk_choice *choices) {
  uint64_t turns = 0, slots = 0, value_slots = 0, led = 0, by_value = 0, choice_slots = 0, places = 0;
  for (uint32_t i = 0; i < t->clusters.count; i++) {
    pk_table_cluster *c = &clusters[i];
    c->schedule = (uint32_t)turns;
    c->schedule_count = (uint32_t)schedule_size(c, PK_AT(t, pk_table_endpoint, t->endpoints.at) + c->endpoints);
    turns += c->schedule_count;
    uint64_t size = pk_consistent_size(t, c);
    c->places = (uint32_t)places;
    c->place_count = (uint32_t)(c->balance == PK_BALANCE_RING_HASH ? size / 2 : size);
    places += size;
  }
  for (uint32_t i = 0; i < t->routes.count; i++) {
    slots += slot_count(&routes[i]) + 1;
    routes[i].headers = i * HEADERS;
  }
  for (uint32_t i = 0; i < t->conditions.count; i++) {
    conditions[i].slots = (uint32_t)value_slots;
    conditions[i].wide = (uint32_t)pk_condition_is_wide(t, &conditions[i]);
    value_slots += pk_condition_slots(&conditions[i]);
  }
  for (uint32_t i = 0; i < t->choices.count; i++) {
    choices[i].slots = (uint32_t)choice_slots;
    choice_slots += pk_choice_slots(&choices[i]);
  }
  for (uint32_t i = 0; i < t->rules.count; i++) led += values_of(leading(t, PK_AT(t, pk_rule, t->rules.at) + i));
  for (by_value = led > 0 ? 4 : 0; by_value < 2 * led;) by_value *= 2;
  t->bytes = (t->bytes + 63) & ~(uint64_t)63;
  append(t, &t->codecs, t->codecs.count, sizeof(uintptr_t));
  append(t, &t->schedules, turns, sizeof(uint32_t));
  append(t, &t->slots, slots, sizeof(pk_slot_key));
  append(t, &t->prefixes, t->rules.count, sizeof(uint32_t));
  append(t, &t->value_slots, value_slots, sizeof(uint32_t));
  append(t, &t->headers, led > 0 ? (uint64_t)t->routes.count * HEADERS : 0, sizeof(uint32_t));
  append(t, &t->by_value, by_value, sizeof(pk_value_key));
  append(t, &t->led, led, sizeof(pk_led));
  append(t, &t->states, t->plans.count, sizeof(uintptr_t));
  append(t, &t->choice_slots, choice_slots, sizeof(uint32_t));
  append(t, &t->places, places, sizeof(uint32_t));
  append(t, &t->wanted, t->origins.count > 0 ? 2 : 0, sizeof(pk_wanted));
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

/* Numbers for the headers that anybody may ask for, as far as there is room, and those by their sizes. */
static void number_headers(pk_table *t) {
  static atomic_uint_fast64_t serials;
  pk_origin *all = ARRAY(t, pk_origin, origins), *end = all + t->origins.count;
  if (t->wanted.count == 0) return;
  pk_wanted *w = ARRAY(t, pk_wanted, wanted);
  for (uint32_t size = 0; size + 1 < sizeof w->first; size++) {
    w->first[size] = (uint8_t)w->count;
    for (pk_origin *o = all; o < end; o++) {
      if (size == 0) o->wanted = PK_NONE;
      if (o->origin != PK_ORIGIN_HEADER || o->name.size != size) continue;
      pk_slice name = pk_table_slice(t, o->name);
      if (pk_units_wide(name)) continue; /* it is looked for in both forms */
      uint32_t n = w->first[size];
      while (n < w->count && memcmp(w->names[n].data, name.data, size) != 0) n++;
      if (n == PK_WANTED_MAX) continue;
      if (n == w->count) w->names[w->count++] = name;
      o->wanted = n;
    }
  }
  w->first[sizeof w->first - 1] = (uint8_t)w->count;
  w->serial = atomic_fetch_add(&serials, 1) + 1;
  w[1] = *w;
  w[1].filled = 1;
  if (w->count == 0) t->wanted.count = 0;
}

/* Of a checked image at the start of a block that has room for all. */
static int finish(pk_table *t, const uintptr_t *codecs) {
  number_headers(t);
  uintptr_t *codec = ARRAY(t, uintptr_t, codecs);
  for (uint32_t i = 0; i < t->codecs.count; i++) codec[i] = codecs[i];
  pk_table_cluster *clusters = ARRAY(t, pk_table_cluster, clusters);
  for (uint32_t i = 0; i < t->clusters.count; i++) {
    const pk_table_endpoint *e = ARRAY(t, pk_table_endpoint, endpoints) + clusters[i].endpoints;
    if (build_schedule(&clusters[i], e, ARRAY(t, uint32_t, schedules) + clusters[i].schedule) != 0) return -1;
    if (pk_consistent_build(t, &clusters[i], ARRAY(t, uint32_t, places) + clusters[i].places) != 0) return -1;
  }
  pk_condition *conditions = ARRAY(t, pk_condition, conditions);
  for (uint32_t i = 0; i < t->conditions.count; i++) {
    pk_condition *c = &conditions[i];
    uint32_t *value_slots = ARRAY(t, uint32_t, value_slots) + c->slots;
    c->slots = (uint32_t)((char *)value_slots - (char *)t);
    c->slot_mask = pk_condition_slots(c) - 1;
    pk_condition_index(t, c, value_slots);
  }
  pk_choice *choices = ARRAY(t, pk_choice, choices);
  for (uint32_t i = 0; i < t->choices.count; i++) {
    pk_choice *c = &choices[i];
    uint32_t *choice_slots = ARRAY(t, uint32_t, choice_slots) + c->slots;
    c->slots = (uint32_t)((char *)choice_slots - (char *)t);
    c->slot_mask = pk_choice_slots(c) - 1;
    pk_choice_index(t, c, choice_slots);
  }
  pk_routes *routes = ARRAY(t, pk_routes, routes);
  making m = {.table = t, .rules = ARRAY(t, pk_rule, rules), .by_value = ARRAY(t, pk_value_key, by_value), .led = ARRAY(t, pk_led, led)};
  for (uint32_t i = 0; i < t->by_value.count; i++) m.by_value[i].slot = PK_NONE;
  for (uint32_t i = 0; i < t->routes.count; i++) {
    pk_routes *r = &routes[i];
    m.slots = ARRAY(t, pk_slot_key, slots) + m.slot;
    m.lengths = ARRAY(t, uint32_t, prefixes) + r->rules;
    m.headers = ARRAY(t, uint32_t, headers) + r->headers;
    r->slots = (uint32_t)((char *)m.slots - (char *)t);
    r->prefixes = t->prefixes.at + r->rules * (uint32_t)sizeof(uint32_t);
    build_index(&m, r);
    m.slot += r->any + 1;
  }
  pk_plan *plans = ARRAY(t, pk_plan, plans);
  uint32_t features = breakers(t);
  for (uint32_t i = 0; i < t->plans.count; i++) finish_plan(t, &plans[i], features);
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
  if (!lay_out(t, ARRAY(t, pk_table_cluster, clusters), ARRAY(t, pk_routes, routes), ARRAY(t, pk_condition, conditions),
               ARRAY(t, pk_choice, choices))) {
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

void pk_table_share(pk_table *t, const uintptr_t *states, uint32_t count) {
  uintptr_t *all = ARRAY(t, uintptr_t, states);
  for (uint32_t i = 0; i < count && i < t->states.count; i++) all[i] = states[i];
}

void pk_table_free(pk_table *t) { free(t); }
