/* tables.h: images of tables, for programs in C: tests, fuzzers, benchmarks. The engine has none of it; the proxy's are
 * packed by protokit/table.py.
 *
 *   tables_builder t = {0};
 *   TABLES_ADD(&t, clusters, (pk_table_cluster){...});    its index
 *   pk_table *table = tables_load(&t, seed, &limits, codec);
 *
 * Endpoints, splits, rules, conditions and values belong to the last cluster, plan, route table, rule and condition. Memory that is short, and a table that
 * the engine refuses, end the program. */
#ifndef TABLES_H
#define TABLES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table/table.h"

typedef struct tables_array {
  uint8_t *data;
  uint32_t count, item;
} tables_array;

typedef struct tables_builder {
  tables_array clusters, endpoints, plans, splits, choices, choice_words, choice_options, changes, routes, rules, conditions,
      values, automata, origins, listeners, text;
} tables_builder;

static inline void *tables_more(void *data, size_t size) {
  data = realloc(data, size);
  if (data == NULL) abort();
  return data;
}

static inline uint32_t tables_append(tables_array *a, const void *items, uint32_t item, uint32_t count) {
  size_t size = (size_t)a->count * item, capacity = 64;
  while (capacity < size + (size_t)count * item) capacity *= 2;
  a->data = tables_more(a->data, capacity);
  a->item = item;
  memcpy(a->data + size, items, (size_t)count * item);
  a->count += count;
  return a->count - count;
}

#define TABLES_ADD(t, array, ...) tables_append(&(t)->array, &__VA_ARGS__, sizeof(__VA_ARGS__), 1)

static inline pk_text tables_text(tables_builder *t, const char *text) {
  uint32_t size = (uint32_t)strlen(text);
  return (pk_text){tables_append(&t->text, text, 1, size), size};
}

/* "x", "x*" or "*". */
static inline pk_pattern tables_pattern(tables_builder *t, const char *text) {
  pk_pattern p = {tables_text(t, text), PK_MATCH_EXACT};
  if (p.text.size > 0 && text[p.text.size - 1] == '*')
    p.kind = --p.text.size > 0 ? PK_MATCH_PREFIX : PK_MATCH_ANY;
  return p;
}

/* Where a value comes from: its number. */
static inline uint32_t tables_origin(tables_builder *t, uint32_t origin, const char *name) {
  return TABLES_ADD(t, origins, (pk_origin){.origin = origin, .name = tables_text(t, name)});
}

static inline uint32_t tables_cluster(tables_builder *t, const char *name, uint32_t max_connections) {
  return TABLES_ADD(t, clusters,
                    (pk_table_cluster){.prefer = {PK_NONE, PK_NONE, 0}, .name = tables_text(t, name), .endpoints = t->endpoints.count,
                                       .max_connections = max_connections, .connect_timeout_ms = 1000});
}

static inline void tables_endpoint(tables_builder *t, uint32_t uid, const char *name, const void *addr, uint32_t addr_size) {
  pk_table_endpoint e = {.uid = uid, .weight = 1, .name = tables_text(t, name), .addr_size = addr_size};
  memcpy(e.addr, addr, addr_size);
  TABLES_ADD(t, endpoints, e);
  ((pk_table_cluster *)(void *)t->clusters.data)[t->clusters.count - 1].endpoint_count++;
}

/* A change of the last plan. */
static inline void tables_change(tables_builder *t, pk_change c) {
  TABLES_ADD(t, changes, c);
  ((pk_plan *)(void *)t->plans.data)[t->plans.count - 1].change_count++;
}

/* A plan that leads to one cluster. */
static inline uint32_t tables_plan(tables_builder *t, const char *name, uint32_t cluster, pk_retry retry, uint32_t filter) {
  uint32_t split = TABLES_ADD(t, splits, (pk_split){cluster, 1, PK_NONE});
  return TABLES_ADD(t, plans, (pk_plan){.name = tables_text(t, name), .split = split, .split_count = 1, .change = t->changes.count,
                                        .retry = retry, .filter = filter, .answers = PK_NONE, .ends = PK_NONE});
}

/* A header that chooses between clusters for the last split: a value with its size in front leads to each. */
static inline void tables_choice(tables_builder *t, const char *header, const char *value, uint32_t value_size, uint32_t cluster) {
  pk_choice c = {.word = t->choice_words.count, .word_count = 1, .option = t->choice_options.count, .option_count = 1,
                 .otherwise = PK_NONE, .cluster = tables_text(t, "cluster")};
  TABLES_ADD(t, choice_words, (pk_choice_word){tables_origin(t, PK_ORIGIN_HEADER, header), tables_text(t, "version")});
  pk_text joined = {tables_append(&t->text, value, 1, value_size), value_size};
  TABLES_ADD(t, choice_options, (pk_choice_option){joined, cluster});
  ((pk_split *)(void *)t->splits.data)[t->splits.count - 1].choice = TABLES_ADD(t, choices, c);
}

static inline uint32_t tables_routes(tables_builder *t, const char *name) {
  return TABLES_ADD(t, routes, (pk_routes){.name = tables_text(t, name), .rules = t->rules.count});
}

static inline void tables_rule(tables_builder *t, const char *service, const char *method, uint32_t plan) {
  pk_pattern any = tables_pattern(t, "*");
  TABLES_ADD(t, rules,
             (pk_rule){tables_pattern(t, service), tables_pattern(t, method), any, any, t->conditions.count, 0, plan, 0, 0});
  ((pk_routes *)(void *)t->routes.data)[t->routes.count - 1].rule_count++;
}

/* A table of verdicts, for the last listener. */
static inline uint32_t tables_verdicts(tables_builder *t, const char *name) {
  pk_table_listener *last = (pk_table_listener *)(void *)t->listeners.data + t->listeners.count - 1;
  return last->access = TABLES_ADD(t, routes, (pk_routes){.name = tables_text(t, name), .rules = t->rules.count, .verdicts = 1});
}

/* A plan for rules of such a table. */
static inline uint32_t tables_verdict(tables_builder *t, const char *name, uint32_t verdict) {
  return TABLES_ADD(t, plans, (pk_plan){.name = tables_text(t, name), .split = t->splits.count, .change = t->changes.count,
                                        .state = PK_NONE, .filter = PK_NONE, .answers = PK_NONE, .ends = PK_NONE, .verdict = verdict});
}

/* A condition of the last rule. */
static inline void tables_condition(tables_builder *t, pk_condition c) {
  c.value = t->values.count;
  TABLES_ADD(t, conditions, c);
  ((pk_rule *)(void *)t->rules.data)[t->rules.count - 1].condition_count++;
}

/* One of the values of the last condition. */
static inline void tables_value(tables_builder *t, const char *text) {
  TABLES_ADD(t, values, (pk_match_value){tables_text(t, text)});
  ((pk_condition *)(void *)t->conditions.data)[t->conditions.count - 1].value_count++;
}

/* A listener of the codec 0; one of `routes` and `plan` is PK_NONE. */
static inline uint32_t tables_listener(tables_builder *t, const char *name, uint32_t routes, uint32_t plan, uint32_t pinned) {
  return TABLES_ADD(t, listeners,
                    (pk_table_listener){.present = 1, .name = tables_text(t, name), .routes = routes, .plan = plan,
                                        .access = PK_NONE, .dry_run = PK_NONE, .pinned = pinned, .codec_count = 1,
                                        .fallback = PK_NONE});
}

/* The image, and its size; the arrays are freed. */
static inline uint8_t *tables_image(tables_builder *t, uint64_t seed, const pk_limits *limits, size_t *size) {
  pk_table head = {.seed = seed, .limits = *limits, .bytes = sizeof head};
  tables_array *arrays[] = {&t->clusters, &t->endpoints, &t->plans, &t->splits, &t->choices, &t->choice_words,
                            &t->choice_options, &t->changes, &t->routes, &t->rules,
                            &t->conditions, &t->values, &t->automata, &t->origins, &t->listeners, &t->text};
  pk_array *heads[] = {&head.clusters, &head.endpoints, &head.plans, &head.splits, &head.choices, &head.choice_words,
                       &head.choice_options, &head.changes, &head.routes, &head.rules,
                       &head.conditions, &head.values, &head.automata, &head.origins, &head.listeners, &head.text};
  uint8_t *image = tables_more(NULL, sizeof head);
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
    size_t bytes = (size_t)arrays[i]->count * arrays[i]->item, room = (bytes + 7) & ~(size_t)7;
    *heads[i] = (pk_array){(uint32_t)head.bytes, arrays[i]->count};
    image = tables_more(image, head.bytes + room);
    memset(image + head.bytes, 0, room);
    if (bytes > 0) memcpy(image + head.bytes, arrays[i]->data, bytes);
    head.bytes += room;
    free(arrays[i]->data);
  }
  memcpy(image, &head, sizeof head);
  *t = (tables_builder){0};
  *size = head.bytes;
  return image;
}

static inline pk_table *tables_load(tables_builder *t, uint64_t seed, const pk_limits *limits, const pk_codec *codec) {
  size_t size;
  char why[200];
  uint8_t *image = tables_image(t, seed, limits, &size);
  uintptr_t address = (uintptr_t)codec;
  pk_table *table = pk_table_load(image, size, &address, 1, why, sizeof why);
  free(image);
  if (table == NULL) fprintf(stderr, "the table was refused: %s\n", why), abort();
  return table;
}

#endif
