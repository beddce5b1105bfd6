/* table.c: looking up routes in a compiled table. load.c builds it.
 *
 * Rules are indexed by (service, method) when both are exact, else by exact service, else by
 * service prefix; the rest stand in one list. A look-up walks at most one chain of each kind and
 * keeps the rule that comes first in the route table, so the order of the configuration decides
 * and ten thousand exact rules cost what ten do. What was asked lately is not looked up again: a worker
 * keeps a small cache of it. */
#include "table/table.h"

#include "table/condition.h"
#include "table/index.h"
#include "table/units.h"

static int pattern_matches(const pk_table *t, const pk_pattern *p, pk_slice value) {
  if (p->kind == PK_MATCH_ANY) return 1;
  if (p->kind == PK_MATCH_EXACT ? value.size != p->text.size : value.size < p->text.size) return 0;
  return p->text.size == 0 || memcmp(pk_table_text_at(t, p->text), value.data, p->text.size) == 0;
}

static int rest_matches(const pk_table *t, const pk_rule *r, const pk_destination *d) {
  return pattern_matches(t, &r->method, d->method) && pattern_matches(t, &r->version, d->version) &&
         pattern_matches(t, &r->group, d->group);
}

/* The first rule of the chain that matches and comes before `best`. */
static uint32_t walk(const pk_table *t, uint32_t rule, uint32_t best, const pk_destination *d) {
  const pk_rule *rules = PK_AT(t, pk_rule, t->rules.at);
  for (; rule < best; rule = rules[rule].next)
    if (rest_matches(t, &rules[rule], d)) return rule;
  return best;
}

static const pk_slot_key *find(const pk_table *t, const pk_routes *routes, const pk_index_key *key) {
  const pk_slot_key *slots = PK_AT(t, pk_slot_key, routes->slots);
  const pk_rule *rules = PK_AT(t, pk_rule, t->rules.at);
  for (uint32_t i = (uint32_t)key->hash & routes->slot_mask;; i = (i + 1) & routes->slot_mask) {
    if (slots[i].like == PK_NONE) return NULL;
    if (slots[i].hash == key->hash && pk_index_same(key, &rules[slots[i].like], PK_AT(t, uint8_t, t->text.at)))
      return &slots[i];
  }
}

/* The first of the rules in that slot that this value of that header leads to, in array `led`. */
static uint32_t led_by(const pk_table *t, const pk_slot_key *slot, uint32_t header, pk_slice value) {
  const pk_value_key *keys = PK_AT(t, pk_value_key, t->by_value.at);
  uint64_t hash = pk_index_value(t->seed, slot->hash, header, value);
  for (uint32_t i = (uint32_t)hash & (t->by_value.count - 1);; i = (i + 1) & (t->by_value.count - 1)) {
    if (keys[i].slot == PK_NONE) return PK_NONE;
    if (keys[i].hash == hash && keys[i].slot == slot->self && keys[i].header == header &&
        pk_index_text_same(value, keys[i].value, PK_AT(t, uint8_t, t->text.at)))
      return keys[i].first;
  }
}

/* Rules with conditions that a request may be for, and what was found of them. */
enum { MOST_SLOTS = 32 };
typedef struct candidates {
  const pk_table *table;
  const pk_routes *routes;
  pk_question *question;
  uint32_t best;   /* the first rule that matches */
  uint32_t unread; /* the first that asks for what cannot be read */
  int error;       /* why */
  uint32_t count;
  const pk_slot_key *slots[MOST_SLOTS];
} candidates;

/* A rule that comes before the best: whether it is the better. */
static void ask(candidates *c, uint32_t rule) {
  const pk_rule *r = PK_AT(c->table, pk_rule, c->table->rules.at) + rule;
  pk_question *q = c->question;
  if (!rest_matches(c->table, r, &q->to)) return;
  q->error = 0;
  int holds = pk_condition_holds(c->table, PK_AT(c->table, pk_condition, c->table->conditions.at) + r->condition, q);
  if (q->error == 0) {
    if (holds) c->best = rule;
  } else if (rule < c->unread) {
    c->unread = rule, c->error = q->error;
  }
}

/* Those of a slot that a header's value leads to. */
static void ask_led(candidates *c, const pk_slot_key *slot) {
  const pk_table *t = c->table;
  const pk_led *all = PK_AT(t, pk_led, t->led.at);
  for (uint32_t h = 0; h < c->routes->header_count && slot->by_value < c->best; h++) {
    pk_header found;
    if (!(slot->headers >> h & 1)) continue;
    const pk_origin *of = pk_table_origin_at(t, PK_AT(t, uint32_t, t->headers.at)[c->routes->headers + h]);
    int result = pk_question_value(t, c->question, of, &found);
    if (result == PK_OK && !found.raw) {
      uint32_t i = led_by(t, slot, h, (pk_slice){found.value.data, found.value.size});
      for (; i != PK_NONE && all[i].rule < c->best; i = all[i].next) ask(c, all[i].rule);
    } else if (result < 0 && slot->by_value < c->unread) {
      c->unread = slot->by_value, c->error = result;
    }
  }
}

static void ask_all(candidates *c) {
  const pk_rule *rules = PK_AT(c->table, pk_rule, c->table->rules.at);
  for (uint32_t i = 0; i < c->count; i++) {
    for (uint32_t rule = c->slots[i]->asking; rule < c->best; rule = rules[rule].next) ask(c, rule);
    if (c->slots[i]->by_value < c->best) ask_led(c, c->slots[i]);
  }
  c->count = 0;
}

/* A slot with rules for that destination: the first without a condition at once, the others when that is known. */
static void look_into(candidates *c, const pk_slot_key *slot) {
  if (slot == NULL) return;
  c->best = walk(c->table, slot->rule, c->best, &c->question->to);
  if ((slot->asking == PK_NONE && slot->by_value == PK_NONE) || c->question->blank) return;
  if (c->count == MOST_SLOTS) ask_all(c);
  c->slots[c->count++] = slot;
}

static uint32_t look_up(const pk_table *t, uint32_t routes_index, pk_question *q) {
  const pk_routes *routes = PK_AT(t, pk_routes, t->routes.at) + routes_index;
  const pk_destination *d = &q->to;
  candidates c;
  c.table = t, c.routes = routes, c.question = q;
  c.best = c.unread = PK_NONE;
  c.count = 0;
  look_into(&c, PK_AT(t, pk_slot_key, routes->slots) + routes->any);
  pk_index_key key = pk_index_key_service(t->seed, d->service);
  look_into(&c, find(t, routes, &key));
  if (routes->has_pairs) {
    key = pk_index_key_pair(&key, d->method);
    look_into(&c, find(t, routes, &key));
  }
  const uint32_t *lengths = PK_AT(t, uint32_t, routes->prefixes);
  for (uint32_t i = 0; i < routes->prefix_count && lengths[i] <= d->service.size; i++) {
    key = pk_index_key_prefix(t->seed, d->service, lengths[i]);
    look_into(&c, find(t, routes, &key));
  }
  ask_all(&c);
  const pk_rule *rules = PK_AT(t, pk_rule, t->rules.at);
  q->error = c.unread < c.best ? c.error : 0;
  if (q->error != 0) q->unread = rules[c.unread].plan;
  return q->error != 0 || c.best == PK_NONE ? PK_NONE : rules[c.best].plan;
}

/* By its texts as rules have them. */
static __attribute__((noinline, cold)) uint32_t look_up_joined(const pk_table *t, uint32_t routes_index, pk_question *q) {
  const pk_routes *routes = PK_AT(t, pk_routes, t->routes.at) + routes_index;
  const pk_destination as_it_came = q->to;
  pk_slice *texts[] = {&q->to.service, &q->to.method, &q->to.version, &q->to.group};
  uint8_t few[PK_UNITS_FEW];
  uint32_t plan = PK_NONE;
  uint64_t size = (uint64_t)texts[0]->size + texts[1]->size + texts[2]->size + texts[3]->size;
  uint8_t *room = size > UINT32_MAX ? NULL : pk_units_room((uint32_t)size, few), *at = room;
  if (room == NULL) { /* no rule is the right one */
    q->error = routes->rule_count > 0 ? PK_ERR_LIMIT : 0;
    if (q->error != 0) q->unread = PK_AT(t, pk_rule, t->rules.at)[routes->rules].plan;
    return PK_NONE;
  }
  for (uint32_t i = 0; i < 4; at += texts[i++]->size) *texts[i] = pk_units_joined(*texts[i], at);
  plan = look_up(t, routes_index, q);
  q->to = as_it_came;
  pk_units_over(room, few);
  return plan;
}

uint32_t pk_table_route(const pk_table *t, uint32_t routes_index, pk_question *q) {
  const pk_destination *d = &q->to;
  int units = pk_units_in(d->service) || pk_units_in(d->method) || pk_units_in(d->version) || pk_units_in(d->group);
  return units ? look_up_joined(t, routes_index, q) : look_up(t, routes_index, q);
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

static inline __attribute__((always_inline)) int is_next(const uint8_t **text, pk_slice s) {
  const uint8_t *at = *text;
  *text += s.size;
  return s.size == 0 || memcmp(at, s.data, s.size) == 0;
}

static int is_cached(const pk_cached_route *c, uint32_t routes, const pk_destination *d) {
  const uint8_t *text = c->text;
  return c->service == d->service.size && c->is.routes == routes && c->method == d->method.size &&
         c->version == d->version.size && c->group == d->group.size && is_next(&text, d->service) &&
         is_next(&text, d->method) && is_next(&text, d->version) && is_next(&text, d->group);
}

/* Whether the headers that it depends on are the same, and are texts or none. */
static __attribute__((noinline)) int says_the_same(const pk_table *t, const pk_cached_route *c, pk_question *q) {
  const uint8_t *text = c->text + c->service + c->method + c->version + c->group;
  uint32_t n = 0;
  if (!pk_question_headers(t, q)) return 0;
  for (uint64_t left = c->asked; left != 0; left &= left - 1, n++) {
    int there = (q->found.there & left & (0 - left)) != 0;
    const pk_header *h = &q->found.headers[__builtin_ctzll(left)];
    if (c->values[n] == PK_CACHED_NONE || !there ? there || c->values[n] != PK_CACHED_NONE
                                                 : h->raw || h->value.size != c->values[n] || !is_next(&text, h->value))
      return 0;
  }
  return 1;
}

static pk_same_route *same_at(pk_route_cache *cache, uint32_t routes, const pk_question *q) {
  return &cache->same[(q->found.same * 4 + routes) % PK_SAME_ROUTES]; /* a listener's few tables beside each other */
}

static void remember_same(pk_route_cache *cache, pk_known_route is, const pk_question *q) {
  if (q->found.same != 0) *same_at(cache, is.routes, q) = (pk_same_route){q->found.same, is};
}

/* A connection's few methods beside each other, and behind them the next one's. */
static pk_client_route *of_client_at(pk_route_cache *cache, uint32_t routes, const pk_question *q) {
  return &cache->of_client[((uint32_t)q->client * 32 + q->found.same * 2 + routes) % PK_CLIENT_ROUTES];
}

/* By its connection, or by its texts. */
static __attribute__((noinline)) const pk_known_route *recall(const pk_table *t, pk_route_cache *cache, uint32_t routes,
                                                              pk_question *q) {
  const pk_client_route *of = of_client_at(cache, routes, q);
  if (q->found.same != 0 && of->same == q->found.same && of->client == q->client && of->is.routes == routes) return &of->is;
  const pk_cached_route *c = cached_at(cache->routes, routes, &q->to);
  if (c == NULL || !is_cached(c, routes, &q->to) || (c->asked != 0 && !says_the_same(t, c, q))) return NULL;
  remember_same(cache, c->is, q);
  return &c->is;
}

const pk_known_route *pk_table_recall(const pk_table *t, pk_route_cache *cache, uint32_t routes, pk_question *q) {
  const pk_same_route *known = same_at(cache, routes, q);
  if (q->found.same != 0 && known->same == q->found.same && known->is.routes == routes) return &known->is;
  return recall(t, cache, routes, q);
}

static uint8_t *add(uint8_t *to, pk_slice s) {
  if (s.size > 0) memcpy(to, s.data, s.size);
  return to + s.size;
}

void pk_table_remember(pk_route_cache *cache, uint32_t routes, const pk_question *q, uint32_t plan, uint32_t bucket) {
  const pk_destination *d = &q->to;
  if (q->asked & PK_ASKED_MORE) return;
  if (q->asked & PK_ASKED_CLIENT) {
    if (q->found.same != 0 && q->client != 0)
      *of_client_at(cache, routes, q) = (pk_client_route){q->found.same, q->client, {routes, plan, bucket}};
    return;
  }
  remember_same(cache, (pk_known_route){routes, plan, bucket}, q);
  pk_cached_route *c = cached_at(cache->routes, routes, d);
  if (c == NULL) return;
  c->service = 0; /* what stands there is known no more */
  uint8_t *to = add(add(add(add(c->text, d->service), d->method), d->version), d->group);
  uint32_t n = 0;
  for (uint64_t left = q->asked_headers; left != 0; left &= left - 1, n++) {
    pk_slice value = {NULL, 0};
    if (n == PK_CACHED_HEADERS) return;
    c->values[n] = PK_CACHED_NONE;
    if (!(q->found.there & left & (0 - left))) continue;
    const pk_header *h = &q->found.headers[__builtin_ctzll(left)];
    value = h->value;
    if (h->raw || value.size > (size_t)(c->text + PK_CACHED_TEXT - to)) return;
    c->values[n] = (uint16_t)value.size;
    to = add(to, value);
  }
  c->asked = q->asked_headers;
  c->is = (pk_known_route){routes, plan, bucket};
  c->service = d->service.size;
  c->method = d->method.size;
  c->version = d->version.size;
  c->group = d->group.size;
}
