/* condition.c: see condition.h. */
#include "table/condition.h"

#include "base/hash.h"
#include "table/units.h"

static int same(pk_slice a, pk_slice b) { return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0); }

static const pk_match_value *values_of(const pk_table *t, const pk_condition *c) {
  return PK_AT(t, pk_match_value, t->values.at) + c->value;
}

/* One of so many, whatever their number. */
static int is_in(const pk_table *t, const pk_condition *c, pk_slice value) {
  const uint32_t *slots = PK_AT(t, uint32_t, c->slots);
  for (uint32_t i = (uint32_t)pk_hash(t->seed, value.data, value.size) & c->slot_mask;; i = (i + 1) & c->slot_mask) {
    if (slots[i] == PK_NONE) return 0;
    if (same(value, pk_table_slice(t, values_of(t, c)[slots[i]].text))) return 1;
  }
}

static uint32_t two_bytes(const uint8_t *at) {
  uint16_t number;
  memcpy(&number, at, sizeof number);
  return number;
}

/* One step for each byte, whatever the expression. */
static int is_accepted(const pk_table *t, const pk_automaton *a, pk_slice value) {
  const uint8_t *classes = pk_table_slice(t, a->program).data, *accepts = classes + 256, *next = accepts + (a->states + 7) / 8;
  uint32_t state = 0;
  for (uint32_t i = 0; i < value.size; i++) state = two_bytes(next + 2 * ((size_t)state * a->classes + classes[value.data[i]]));
  return accepts[state / 8] >> state % 8 & 1;
}

/* A whole number in decimal digits, with a sign or without, from the first to the last. */
static int is_between(const pk_condition *c, pk_slice value) {
  uint64_t number = 0;
  uint32_t at = value.size > 0 && (value.data[0] == '-' || value.data[0] == '+'), minus = at && value.data[0] == '-';
  if (at == value.size || value.size - at > 19) return 0;
  for (; at < value.size; at++) {
    if (value.data[at] < '0' || value.data[at] > '9') return 0;
    number = number * 10 + (uint64_t)(value.data[at] - '0');
  }
  if (number > (uint64_t)INT64_MAX + minus) return 0;
  number = ((uint64_t)1 << 63) + (minus ? 0 - number : number);
  return number >= c->low && number <= c->high;
}

/* The networks stand in order, and none in another: the last that begins at the address or before it may have it. */
static int is_within(const pk_table *t, const pk_condition *c, pk_slice address) {
  const pk_match_value *networks = values_of(t, c);
  uint32_t low = 0, high = c->value_count; /* so many begin there, and those from `high` on behind it */
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (memcmp(pk_table_slice(t, networks[middle].text).data, address.data, PK_ADDRESS) <= 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low > 0 && memcmp(address.data, pk_table_slice(t, networks[low - 1].text).data + PK_ADDRESS, PK_ADDRESS) <= 0;
}

static int is_as_asked(const pk_table *t, const pk_condition *c, pk_slice value) {
  pk_slice text = pk_table_slice(t, c->text);
  switch (c->match) {
    case PK_MATCH_ANY: return 1;
    case PK_MATCH_EXACT: return same(value, text);
    case PK_MATCH_PREFIX: return value.size >= text.size && same((pk_slice){value.data, text.size}, text);
    case PK_MATCH_SUFFIX: return value.size >= text.size && same((pk_slice){value.data + value.size - text.size, text.size}, text);
    case PK_MATCH_IN: return is_in(t, c, value);
    case PK_MATCH_REGEX: return is_accepted(t, PK_AT(t, pk_automaton, t->automata.at) + c->automaton, value);
    case PK_MATCH_RANGE: return is_between(c, value);
    case PK_MATCH_NETWORKS: return is_within(t, c, value);
    default: return value.size > 0;
  }
}

static __attribute__((noinline, cold)) int is_in_units(const pk_table *t, const pk_condition *c, pk_slice value, pk_question *q) {
  uint8_t few[PK_UNITS_FEW], *room = pk_units_room(value.size, few);
  if (room == NULL) q->error = PK_ERR_LIMIT;
  int holds = room != NULL && is_as_asked(t, c, pk_units_joined(value, room));
  pk_units_over(room, few);
  return holds;
}

/* Headers and arguments may be there or not, and be no text: then only that they are there can be asked. */
static int value_holds(const pk_table *t, const pk_condition *c, pk_question *q) {
  const pk_origin *of = pk_table_origin_at(t, c->of);
  pk_header h;
  int result = pk_question_value(t, q, of, &h);
  if (result < 0) q->error = result;
  if (result != PK_OK) return 0;
  if ((of->origin == PK_ORIGIN_HEADER || of->origin == PK_ORIGIN_ARGUMENT) && (c->match == PK_MATCH_PRESENT || c->match == PK_MATCH_ANY)) return 1;
  if (h.raw) return 0;
  return c->wide && pk_units_in(h.value) ? is_in_units(t, c, h.value, q) : is_as_asked(t, c, h.value);
}

static int is_oneway(pk_question *q) {
  q->asked |= PK_ASKED_MORE;
  return q->frame != NULL && q->frame->kind == PK_KIND_ONEWAY;
}

int pk_condition_holds(const pk_table *t, const pk_condition *c, pk_question *q) {
  const pk_condition *end = c + c->size, *in = c + 1;
  switch (c->condition) {
    case PK_CONDITION_ALL:
      while (in < end && pk_condition_holds(t, in, q)) in += in->size;
      return in == end;
    case PK_CONDITION_ANY:
      while (in < end && !pk_condition_holds(t, in, q)) in += in->size;
      return in < end;
    case PK_CONDITION_NOT: return !pk_condition_holds(t, in, q);
    case PK_CONDITION_VALUE: return value_holds(t, c, q);
    default: return is_oneway(q);
  }
}

uint32_t pk_condition_depth(const pk_table *t, const pk_condition *c) {
  uint32_t depth = PK_DEPTH_FRAME;
  for (const pk_condition *end = c + c->size; c < end; c++) {
    uint32_t origin = c->condition == PK_CONDITION_VALUE ? pk_table_origin_at(t, c->of)->origin : PK_ORIGIN_SOURCE;
    if (origin == PK_ORIGIN_SOURCE || origin == PK_ORIGIN_LISTENER || origin == PK_ORIGIN_PROTOCOL) continue;
    uint32_t is = origin == PK_ORIGIN_ARGUMENT ? PK_DEPTH_ARGUMENTS : origin == PK_ORIGIN_HEADER ? PK_DEPTH_HEADERS
                  : c->match == PK_MATCH_ANY ? PK_DEPTH_FRAME : PK_DEPTH_DESTINATION;
    if (is > depth) depth = is;
  }
  return depth;
}

static int has_wide(pk_slice s) {
  uint32_t at = 0;
  while (at < s.size && s.data[at] < 0xf0) at++;
  return at < s.size;
}

int pk_condition_is_wide(const pk_table *t, const pk_condition *c) {
  if (c->match == PK_MATCH_REGEX) return 1;
  int wide = has_wide(pk_table_slice(t, c->text));
  for (uint32_t i = 0; i < c->value_count && c->match == PK_MATCH_IN && !wide; i++)
    wide = has_wide(pk_table_slice(t, values_of(t, c)[i].text));
  return wide;
}

int pk_condition_asks_oneway(const pk_condition *c) {
  const pk_condition *end = c + c->size;
  while (c < end && c->condition != PK_CONDITION_ONEWAY) c++;
  return c < end;
}

/* What a listener says of itself, and its protocols. */
static int value_possible(const pk_table *t, const pk_condition *c, const pk_table_listener *l) {
  uint32_t origin = pk_table_origin_at(t, c->of)->origin;
  pk_question q = {.listener = l};
  if (origin == PK_ORIGIN_LISTENER) return value_holds(t, c, &q);
  if (origin != PK_ORIGIN_PROTOCOL) return 1;
  for (uint32_t i = 0; i < l->codec_count; i++) {
    q.codec = pk_table_codec_at(t, l->codec + i);
    if (value_holds(t, c, &q)) return 1;
  }
  return 0;
}

int pk_condition_possible(const pk_table *t, const pk_condition *c, const pk_table_listener *l) {
  const pk_condition *end = c + c->size, *in = c + 1;
  switch (c->condition) {
    case PK_CONDITION_ALL:
      while (in < end && pk_condition_possible(t, in, l)) in += in->size;
      return in == end;
    case PK_CONDITION_ANY:
      while (in < end && !pk_condition_possible(t, in, l)) in += in->size;
      return in < end;
    case PK_CONDITION_VALUE: return value_possible(t, c, l);
    default: return 1;
  }
}

/* Loading. */

static const char *automaton_wrong(const pk_table *t, const pk_automaton *a) {
  uint64_t cells = (uint64_t)a->states * a->classes, bits = (a->states + 7) / 8;
  if (a->program.size != 256 + bits + 2 * cells) return "its automaton has another size than its states and classes have";
  const uint8_t *classes = pk_table_slice(t, a->program).data, *next = classes + 256 + bits;
  for (uint32_t i = 0; i < 256; i++)
    if (classes[i] >= a->classes) return "its automaton has a byte of no class";
  for (uint64_t i = 0; i < cells; i++)
    if (two_bytes(next + 2 * i) >= a->states) return "its automaton leads to a state that there is not";
  return NULL;
}

static const char *networks_wrong(const pk_table *t, const pk_condition *c) {
  const uint8_t *before = NULL;
  for (uint32_t i = 0; i < c->value_count; i++) {
    pk_slice network = pk_table_slice(t, values_of(t, c)[i].text);
    if (network.size != 2 * PK_ADDRESS) return "a network is no two addresses";
    if (before != NULL && memcmp(before, network.data, PK_ADDRESS) >= 0) return "its networks are not in order";
    before = network.data + PK_ADDRESS;
    if (memcmp(network.data, before, PK_ADDRESS) > 0) return "a network ends before it begins";
  }
  return NULL;
}

static const char *leaf_wrong(const pk_table *t, const pk_condition *c) {
  int networks = c->match == PK_MATCH_NETWORKS;
  if (c->size != 1) return "something stands in what asks by itself";
  if ((c->condition == PK_CONDITION_VALUE) != (c->of != PK_NONE)) return "what asks about a value says of what, and nothing else does";
  int address = c->of != PK_NONE && pk_table_origin_at(t, c->of)->origin == PK_ORIGIN_SOURCE;
  if (networks != address) return "an address is asked for by networks, and nothing else is";
  if ((c->match == PK_MATCH_REGEX) != (c->automaton != PK_NONE)) return "a regular expression has an automaton, and nothing else has";
  if ((c->match == PK_MATCH_IN || networks) != (c->value_count > 0)) return "one of several has values, and nothing else has";
  if (networks) return networks_wrong(t, c);
  return c->automaton == PK_NONE ? NULL : automaton_wrong(t, PK_AT(t, pk_automaton, t->automata.at) + c->automaton);
}

static const char *wrong(const pk_table *t, const pk_condition *c, uint32_t count, uint32_t depth) {
  if (c->size == 0 || c->size > count) return "its size is not what is in it";
  if (c->condition > PK_CONDITION_NOT) return leaf_wrong(t, c);
  if (depth == PK_CONDITION_DEPTH) return "it is nested too deeply";
  if (c->of != PK_NONE || c->automaton != PK_NONE || c->value_count > 0) return "what is made of others asks nothing itself";
  uint32_t at = 1, inside = 0;
  for (; at < c->size; at += c[at].size, inside++) {
    const char *why = wrong(t, c + at, c->size - at, depth + 1);
    if (why != NULL) return why;
  }
  if (at != c->size) return "its size is not what is in it";
  if (inside == 0 || (inside > 1 && c->condition == PK_CONDITION_NOT)) return "too many or too few stand in it";
  return NULL;
}

const char *pk_condition_wrong(const pk_table *t, const pk_condition *c, uint32_t count) {
  return count > 0 && c->size != count ? "its size is not what is in it" : count == 0 ? NULL : wrong(t, c, count, 0);
}

uint32_t pk_condition_slots(const pk_condition *c) {
  uint32_t slots = c->match == PK_MATCH_IN ? 4 : 0;
  while (slots > 0 && slots < 2 * (uint64_t)c->value_count) slots *= 2;
  return slots;
}

void pk_condition_index(const pk_table *t, const pk_condition *c, uint32_t *slots) {
  uint32_t mask = pk_condition_slots(c) - 1;
  if (c->match != PK_MATCH_IN) return;
  for (uint32_t i = 0; i <= mask; i++) slots[i] = PK_NONE;
  for (uint32_t v = 0; v < c->value_count; v++) {
    pk_slice value = pk_table_slice(t, values_of(t, c)[v].text);
    uint32_t i = (uint32_t)pk_hash(t->seed, value.data, value.size) & mask;
    while (slots[i] != PK_NONE) i = (i + 1) & mask;
    slots[i] = v;
  }
}
