/* choice.c: see choice.h. */
#include "table/choice.h"

#include "base/hash.h"
#include "table/units.h"

static const pk_choice_option *option_at(const pk_table *t, const pk_choice *c, uint32_t i) {
  return PK_AT(t, pk_choice_option, t->choice_options.at) + c->option + i;
}

/* The next of an option's values, of `left` bytes; 0: they do not hold it. */
static int take(const uint8_t **at, uint32_t *left, pk_slice *out) {
  uint32_t size;
  if (*left < sizeof size) return 0;
  memcpy(&size, *at, sizeof size);
  if (size > *left - sizeof size) return 0;
  *out = (pk_slice){*at + sizeof size, size};
  *at += sizeof size + size;
  *left -= (uint32_t)sizeof size + size;
  return 1;
}

static int read(const pk_table *t, const pk_choice *c, const pk_choice_option *o, pk_slice values[PK_CHOICE_WORDS]) {
  const uint8_t *at = (const uint8_t *)pk_table_text_at(t, o->values);
  uint32_t left = o->values.size;
  for (uint32_t i = 0; i < c->word_count; i++)
    if (!take(&at, &left, &values[i])) return 0;
  return left == 0;
}

static int same(const pk_slice *a, const pk_slice *b, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (a[i].size != b[i].size || (a[i].size > 0 && memcmp(a[i].data, b[i].data, a[i].size) != 0)) return 0;
  return 1;
}

static uint32_t hash(const pk_table *t, const pk_choice *c, const pk_slice *values) {
  uint64_t h = t->seed;
  for (uint32_t i = 0; i < c->word_count; i++) h = pk_hash(h, values[i].data, values[i].size);
  return (uint32_t)h;
}

static uint32_t find(const pk_table *t, const pk_choice *c, const pk_slice *values) {
  const uint32_t *slots = PK_AT(t, uint32_t, c->slots);
  for (uint32_t i = hash(t, c, values) & c->slot_mask; slots[i] != PK_NONE; i = (i + 1) & c->slot_mask) {
    const pk_choice_option *o = option_at(t, c, slots[i]);
    pk_slice theirs[PK_CHOICE_WORDS];
    if (read(t, c, o, theirs) && same(values, theirs, c->word_count)) return o->cluster;
  }
  return PK_NONE;
}

static __attribute__((noinline, cold)) uint32_t find_joined(const pk_table *t, const pk_choice *c, const pk_slice *values, uint32_t size) {
  uint8_t few[PK_UNITS_FEW], *room = pk_units_room(size, few), *at = room;
  pk_slice joined[PK_CHOICE_WORDS];
  if (room == NULL) return PK_NONE;
  for (uint32_t i = 0; i < c->word_count; at += joined[i++].size) joined[i] = pk_units_joined(values[i], at);
  uint32_t found = find(t, c, joined);
  pk_units_over(room, few);
  return found;
}

uint32_t pk_choice_find(const pk_table *t, const pk_choice *c, const pk_slice *values) {
  uint32_t found = find(t, c, values), size = 0;
  int units = 0;
  if (found != PK_NONE) return found;
  for (uint32_t i = 0; i < c->word_count; i++) {
    units |= pk_units_in(values[i]);
    size += values[i].size;
  }
  return units ? find_joined(t, c, values, size) : PK_NONE;
}

const char *pk_choice_wrong(const pk_table *t, const pk_choice *c) {
  pk_slice values[PK_CHOICE_WORDS];
  if (c->word_count > PK_CHOICE_WORDS) return "more than 8 words choose";
  for (uint32_t i = 0; i < c->word_count; i++)
    if (pk_table_origin_at(t, pk_choice_word_at(t, c, i)->of)->origin == PK_ORIGIN_ARGUMENT)
      return "an argument is known only until the next value is asked for";
  for (uint32_t i = 0; i < c->option_count; i++)
    if (!read(t, c, option_at(t, c, i), values)) return "an option's values are not one for each word";
  return NULL;
}

uint32_t pk_choice_slots(const pk_choice *c) {
  uint32_t slots = 4;
  while (slots < 2 * (uint64_t)c->option_count) slots *= 2;
  return slots;
}

void pk_choice_index(const pk_table *t, const pk_choice *c, uint32_t *slots) {
  uint32_t mask = pk_choice_slots(c) - 1;
  for (uint32_t i = 0; i <= mask; i++) slots[i] = PK_NONE;
  for (uint32_t n = 0; n < c->option_count; n++) {
    pk_slice values[PK_CHOICE_WORDS];
    if (!read(t, c, option_at(t, c, n), values)) continue;
    uint32_t i = hash(t, c, values) & mask;
    while (slots[i] != PK_NONE) i = (i + 1) & mask;
    slots[i] = n;
  }
}
