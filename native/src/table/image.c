/* image.c: what each field of a record may be, and the check of an image by that.
 *
 * A field that is added to a record in table.h gets its line here; a test misses it otherwise. */
#include "table/image.h"

#include "table/choice.h"
#include "table/condition.h"

#include <stdio.h>
#include <string.h>

enum {
  CLUSTERS, ENDPOINTS, PLANS, SPLITS, CHOICES, CHOICE_WORDS, CHOICE_OPTIONS, CHANGES, ROUTES, RULES, CONDITIONS, VALUES,
  AUTOMATA, ORIGINS, LISTENERS, TEXT, CODECS,
  IMAGE = CODECS, /* those before stand in the image */
  MAX_LISTENERS = 65536
};

#define FIELD(name, ...) {#name, offsetof(RECORD, name), __VA_ARGS__}
#define NUMBER(name, low, high) FIELD(name, PK_FIELD_NUMBER, low, high, 0)
#define ANY(name) NUMBER(name, 0, UINT32_MAX)
#define FLAG(name) NUMBER(name, 0, 1)
#define BYTES(name) FIELD(name, PK_FIELD_BYTES, 0, 0, 0)
#define MADE(name) FIELD(name, PK_FIELD_MADE, 0, 0, 0)
#define INDEX(name, array) FIELD(name, PK_FIELD_INDEX, 0, 0, array)
#define OPTIONAL(name, array) FIELD(name, PK_FIELD_OPTIONAL, 0, 0, array)
#define NAME(name) FIELD(name, PK_FIELD_TEXT, 0, 0, TEXT)
#define PATTERN(name) NAME(name.text), NUMBER(name.kind, PK_MATCH_ANY, PK_MATCH_PREFIX)
#define RECORDS_OF(how, first, count, least, array) \
  FIELD(first, how, 0, 0, array), FIELD(count, PK_FIELD_COUNT, least, UINT32_MAX, array)
#define KEY(name) RANGE(name.first, name.count, 0, ORIGINS)
#define RANGE(first, count, least, array) RECORDS_OF(PK_FIELD_RANGE, first, count, least, array)
#define PARTS(first, count, least, array) RECORDS_OF(PK_FIELD_PARTS, first, count, least, array)

#define RECORD pk_table_cluster
static const pk_table_field cluster_fields[] = {
    ANY(uid),
    PARTS(endpoints, endpoint_count, 0, ENDPOINTS),
    MADE(schedule),
    MADE(schedule_count),
    NUMBER(balance, 0, PK_BALANCE_COUNT - 1),
    KEY(hash),
    MADE(places),
    MADE(place_count),
    NUMBER(max_connections, 1, UINT32_MAX),
    ANY(connect_timeout_ms),
    ANY(outlier.errors),
    NUMBER(outlier.rate, 0, 1000000),
    NUMBER(outlier.eject, 0, 3600000),
    NUMBER(outlier.most, 0, 1000000),
    NUMBER(outlier.slower, 0, 1000000),
    ANY(breaker.connections),
    ANY(breaker.waiting),
    ANY(breaker.requests),
    ANY(breaker.retries),
    ANY(breaker.endpoint_connections),
    ANY(breaker.endpoint_requests),
    NUMBER(breaker.retry_share, 0, 1000000),
    ANY(breaker.least),
    NUMBER(check.by, 0, PK_CHECK_BY_COUNT - 1),
    NUMBER(check.every, 0, 3600000),
    NUMBER(check.timeout, 0, 3600000),
    ANY(check.unhealthy),
    ANY(check.healthy),
    ANY(check.codec), /* one of them where it is asked for, below */
    NAME(check.frame),
    NUMBER(slow_start.time, 0, 3600000),
    NUMBER(slow_start.least, 0, 1000000),
    OPTIONAL(prefer.near, CLUSTERS),
    OPTIONAL(prefer.far, CLUSTERS),
    NUMBER(prefer.healthy, 0, 1000000),
    NUMBER(panic, 0, 1000000),
    NAME(name),
    NAME(subset),
};
#undef RECORD

#define RECORD pk_table_endpoint
static const pk_table_field endpoint_fields[] = {
    ANY(uid), ANY(weight), NAME(name), NUMBER(addr_size, 1, sizeof(((RECORD *)0)->addr)), BYTES(addr),
};
#undef RECORD

#define RECORD pk_plan
static const pk_table_field plan_fields[] = {
    MADE(features),
    MADE(cluster),
    PARTS(split, split_count, 0, SPLITS),
    MADE(split_total),
    KEY(sticky),
    ANY(timeout.usual),
    ANY(timeout.most),
    FLAG(timeout.pass_on),
    NUMBER(retry.attempts, 0, UINT8_MAX), /* as many as a target counts */
    NUMBER(retry.on, 0, 2 * PK_RETRY_ON_INTERNAL - 1),
    FLAG(retry.idempotent),
    ANY(retry.per_try),
    ANY(retry.backoff.base),
    NUMBER(retry.backoff.max, 0, UINT32_MAX - 1),
    NUMBER(retry.budget, 0, 1000000),
    MADE(steps),
    NUMBER(reply.status, 0, PK_STATUS_COUNT - 1),
    NAME(reply.text),
    BYTES(limit.interval),
    NUMBER(limit.burst, 0, UINT32_MAX),
    FLAG(limit.dry_run),
    NUMBER(limit.ask, 0, PK_ASK_COUNT - 1),
    KEY(limit.by),
    NAME(limit.text),
    OPTIONAL(state, PLANS), /* so that there are no more of them */
    ANY(fault.delay_ms),
    ANY(fault.delay_share),
    NUMBER(fault.status, 0, PK_STATUS_COUNT - 1),
    ANY(fault.abort_share),
    KEY(fault.having),
    KEY(fault.asked.of),
    NAME(fault.asked.key),
    ANY(fault.asked.most_ms),
    NUMBER(fault.asked.share, 0, 1000000),
    ANY(hedge.after_ms),
    NUMBER(hedge.percentile, 0, 1000000),
    NUMBER(hedge.most, 0, 1000000),
    OPTIONAL(mirror.cluster, CLUSTERS),
    NUMBER(mirror.share, 0, 1000000),
    ANY(mirror.most),
    NAME(mirror.mark),
    PARTS(change, change_count, 0, CHANGES),
    ANY(change_answers),
    ANY(filter),
    ANY(answers),
    ANY(ends),
    NUMBER(open, 0, PK_OPEN_REQUESTS | PK_OPEN_ANSWERS),
    NUMBER(verdict, 0, PK_VERDICT_COUNT - 1),
    BYTES(identity),
    NAME(name),
};
#undef RECORD

#define RECORD pk_split
static const pk_table_field split_fields[] = {INDEX(cluster, CLUSTERS), ANY(weight), OPTIONAL(choice, CHOICES)};
#undef RECORD

#define RECORD pk_choice
static const pk_table_field choice_fields[] = {
    PARTS(word, word_count, 1, CHOICE_WORDS),
    PARTS(option, option_count, 0, CHOICE_OPTIONS),
    OPTIONAL(otherwise, CLUSTERS),
    NAME(cluster),
    NAME(fixed),
    MADE(slots),
    MADE(slot_mask),
};
#undef RECORD

#define RECORD pk_choice_word
static const pk_table_field choice_word_fields[] = {INDEX(of, ORIGINS), NAME(name)};
#undef RECORD

#define RECORD pk_choice_option
static const pk_table_field choice_option_fields[] = {NAME(values), INDEX(cluster, CLUSTERS)};
#undef RECORD

#define RECORD pk_change
static const pk_table_field change_fields[] = {
    NUMBER(what, PK_EDIT_HEADER, PK_EDIT_GROUP),
    NUMBER(how, 0, PK_CHANGE_COUNT - 1),
    OPTIONAL(of, ORIGINS),
    NAME(key),
    NAME(value),
};
#undef RECORD

#define RECORD pk_routes
static const pk_table_field routes_fields[] = {
    PARTS(rules, rule_count, 0, RULES),
    MADE(slots),
    MADE(slot_mask),
    MADE(prefixes),
    MADE(prefix_count),
    MADE(any),
    MADE(has_pairs),
    MADE(depth),
    MADE(reading),
    MADE(headers),
    MADE(header_count),
    FLAG(verdicts),
    NAME(name),
};
#undef RECORD

#define RECORD pk_rule
static const pk_table_field rule_fields[] = {
    PATTERN(service),
    PATTERN(method),
    PATTERN(version),
    PATTERN(group),
    PARTS(condition, condition_count, 0, CONDITIONS),
    INDEX(plan, PLANS),
    MADE(next),
    MADE(depth),
};
#undef RECORD

#define RECORD pk_condition
static const pk_table_field condition_fields[] = {
    NUMBER(condition, 0, PK_CONDITION_COUNT - 1),
    NUMBER(size, 1, UINT32_MAX),
    NUMBER(match, 0, PK_MATCH_COUNT - 1),
    OPTIONAL(of, ORIGINS),
    NAME(text),
    PARTS(value, value_count, 0, VALUES),
    OPTIONAL(automaton, AUTOMATA),
    BYTES(low),
    BYTES(high),
    MADE(slots),
    MADE(slot_mask),
    MADE(wide),
};
#undef RECORD

#define RECORD pk_match_value
static const pk_table_field value_fields[] = {NAME(text)};
#undef RECORD

#define RECORD pk_automaton
static const pk_table_field automaton_fields[] = {NAME(program), NUMBER(states, 1, 65535), NUMBER(classes, 1, 256)};
#undef RECORD

#define RECORD pk_origin
static const pk_table_field origin_fields[] = {NUMBER(origin, 0, PK_ORIGIN_COUNT - 1), NAME(name), ANY(index), MADE(wanted)};
#undef RECORD

#define RECORD pk_table_listener
static const pk_table_field listener_fields[] = {
    FLAG(present),
    OPTIONAL(routes, ROUTES),
    OPTIONAL(plan, PLANS),
    OPTIONAL(access, ROUTES),
    OPTIONAL(dry_run, ROUTES),
    MADE(guard),
    MADE(opens),
    MADE(depth),
    MADE(fills),
    FLAG(pinned),
    RANGE(codec, codec_count, 0, CODECS),
    OPTIONAL(fallback, CLUSTERS),
    FLAG(goaway),
    NAME(name),
};
#undef RECORD

#define KIND(array, type, fields) \
  {#array, #type, offsetof(pk_table, array), sizeof(type), fields, sizeof(fields) / sizeof(*fields)}
static const pk_table_array kinds[] = {
    [CLUSTERS] = KIND(clusters, pk_table_cluster, cluster_fields),
    [ENDPOINTS] = KIND(endpoints, pk_table_endpoint, endpoint_fields),
    [PLANS] = KIND(plans, pk_plan, plan_fields),
    [SPLITS] = KIND(splits, pk_split, split_fields),
    [CHOICES] = KIND(choices, pk_choice, choice_fields),
    [CHOICE_WORDS] = KIND(choice_words, pk_choice_word, choice_word_fields),
    [CHOICE_OPTIONS] = KIND(choice_options, pk_choice_option, choice_option_fields),
    [CHANGES] = KIND(changes, pk_change, change_fields),
    [ROUTES] = KIND(routes, pk_routes, routes_fields),
    [RULES] = KIND(rules, pk_rule, rule_fields),
    [CONDITIONS] = KIND(conditions, pk_condition, condition_fields),
    [VALUES] = KIND(values, pk_match_value, value_fields),
    [AUTOMATA] = KIND(automata, pk_automaton, automaton_fields),
    [ORIGINS] = KIND(origins, pk_origin, origin_fields),
    [LISTENERS] = KIND(listeners, pk_table_listener, listener_fields),
    [TEXT] = {"text", "char", offsetof(pk_table, text), 1, NULL, 0},
    [CODECS] = {"codecs", "uintptr_t", offsetof(pk_table, codecs), sizeof(uintptr_t), NULL, 0},
};

uint32_t pk_table_arrays(void) { return IMAGE; }

const pk_table_array *pk_table_array_at(uint32_t i) { return i < IMAGE ? &kinds[i] : NULL; }

static const pk_array *records_of(const pk_table *t, const pk_table_array *kind) {
  return (const pk_array *)(const void *)((const char *)t + kind->at);
}

static const pk_array *array_of(const pk_table *t, uint32_t kind) { return records_of(t, &kinds[kind]); }

static uint32_t word(const void *record, uint32_t at) {
  uint32_t value;
  memcpy(&value, (const char *)record + at, sizeof value);
  return value;
}

/* The arrays follow one another inside of the image, so that nothing that is written into one changes another. */
static int check_arrays(const pk_table *t, size_t size, char *why, size_t why_size) {
  uint64_t end = sizeof *t;
  if (t->bytes != size) {
    snprintf(why, why_size, "it has %zu bytes and says %llu", size, (unsigned long long)t->bytes);
    return 0;
  }
  for (uint32_t k = 0; k < IMAGE; k++) {
    const pk_array *a = array_of(t, k);
    if (a->at % 8 != 0 || a->at < end || a->at + (uint64_t)a->count * kinds[k].size > size) {
      snprintf(why, why_size, "%s: %u records at byte %u are not between byte %llu and its end, %zu, or not at a multiple of 8",
               kinds[k].name, a->count, a->at, (unsigned long long)end, size);
      return 0;
    }
    end = a->at + (uint64_t)a->count * kinds[k].size;
  }
  const pk_array *made[] = {&t->schedules, &t->slots, &t->prefixes, &t->value_slots, &t->headers, &t->by_value, &t->led,
                            &t->states, &t->choice_slots, &t->places, &t->wanted};
  for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
    if (made[i]->at == 0 && made[i]->count == 0) continue;
    snprintf(why, why_size, "what is made of the image is not the image's to say");
    return 0;
  }
  return 1;
}

/* `next`: where the record's part has to begin. */
static int field_is_right(const pk_table *t, const pk_table_field *f, const char *record, uint32_t *next) {
  if (f->rule == PK_FIELD_BYTES) return 1;
  uint32_t value = word(record, f->at), count, all = array_of(t, f->of)->count;
  switch (f->rule) {
  case PK_FIELD_NUMBER:
    return value >= f->low && value <= f->high;
  case PK_FIELD_MADE:
    return value == 0;
  case PK_FIELD_TEXT:
    count = word(record, f->at + (uint32_t)offsetof(pk_text, size));
    return value <= all && count <= all - value;
  case PK_FIELD_INDEX:
    return value < all;
  case PK_FIELD_OPTIONAL:
    return value < all || value == PK_NONE;
  case PK_FIELD_RANGE:
    return value <= all && word(record, f[1].at) <= all - value;
  case PK_FIELD_PARTS:
    count = word(record, f[1].at);
    if (value != *next || count > all - value) return 0;
    *next += count;
    return 1;
  case PK_FIELD_COUNT:
    return value >= f->low;
  default:
    return 0;
  }
}

/* "plans[3].cluster: 7 is not of 4 clusters" */
static void say(const pk_table *t, const pk_table_array *kind, const pk_table_field *f, uint32_t i, char *why, size_t why_size) {
  const char *record = (const char *)t + records_of(t, kind)->at + (size_t)i * kind->size;
  uint32_t value = word(record, f->at), all = array_of(t, f->of)->count;
  const char *of = kinds[f->of].name;
  int at = snprintf(why, why_size, "%s[%u].%s: ", kind->name, i, f->name);
  why += at;
  why_size -= (size_t)at;
  switch (f->rule) {
  case PK_FIELD_NUMBER:
    snprintf(why, why_size, "%u is not from %u to %u", value, f->low, f->high);
    break;
  case PK_FIELD_MADE:
    snprintf(why, why_size, "%u, and only loading fills it", value);
    break;
  case PK_FIELD_TEXT:
    snprintf(why, why_size, "%u from %u on are not of %u bytes", word(record, f->at + 4), value, all);
    break;
  case PK_FIELD_RANGE:
    snprintf(why, why_size, "%u from %u on are not of %u %s", word(record, f[1].at), value, all, of);
    break;
  case PK_FIELD_PARTS:
    snprintf(why, why_size, "%u from %u on do not follow the %s of the one before, or are not of %u", word(record, f[1].at),
             value, of, all);
    break;
  case PK_FIELD_COUNT:
    snprintf(why, why_size, "%u is less than %u", value, f->low);
    break;
  default:
    snprintf(why, why_size, "%u is not of %u %s", value, all, of);
  }
}

static int check_kind(const pk_table *t, const pk_table_array *kind, char *why, size_t why_size) {
  const pk_array *a = records_of(t, kind);
  const char *records = (const char *)t + a->at;
  for (uint32_t n = 0; n < kind->field_count; n++) {
    const pk_table_field *f = &kind->fields[n];
    uint32_t next = 0;
    for (uint32_t i = 0; i < a->count; i++) {
      if (field_is_right(t, f, records + (size_t)i * kind->size, &next)) continue;
      say(t, kind, f, i, why, why_size);
      return 0;
    }
    if (f->rule != PK_FIELD_PARTS || next == array_of(t, f->of)->count) continue;
    snprintf(why, why_size, "%s.%s: %s from %u on are nobody's", kind->name, f->name, kinds[f->of].name, next);
    return 0;
  }
  return 1;
}

/* A route table's plans are verdicts, or say where requests go; and it is asked for what it says. */
static int check_verdicts(const pk_table *t, char *why, size_t why_size) {
  const pk_routes *routes = PK_AT(t, pk_routes, t->routes.at);
  for (uint32_t i = 0; i < t->routes.count; i++)
    for (uint32_t n = 0; n < routes[i].rule_count; n++) {
      const pk_rule *rule = PK_AT(t, pk_rule, t->rules.at) + routes[i].rules + n;
      if ((pk_table_plan_at(t, rule->plan)->verdict != PK_VERDICT_NONE) == routes[i].verdicts) continue;
      snprintf(why, why_size, "routes[%u]: its rule %u has a verdict, or none, unlike the others", i, n);
      return 0;
    }
  for (uint32_t i = 0; i < t->listeners.count; i++) {
    const pk_table_listener *l = pk_table_listener_at(t, i);
    if ((l->routes == PK_NONE || !routes[l->routes].verdicts) && (l->access == PK_NONE || routes[l->access].verdicts) &&
        (l->dry_run == PK_NONE || routes[l->dry_run].verdicts) &&
        (l->plan == PK_NONE || pk_table_plan_at(t, l->plan)->verdict == PK_VERDICT_NONE))
      continue;
    snprintf(why, why_size, "listeners[%u] takes verdicts for routes, or routes for verdicts", i);
    return 0;
  }
  return 1;
}

/* What one field alone does not say. */
static int check_rest(const pk_table *t, char *why, size_t why_size) {
  if (t->listeners.count > MAX_LISTENERS) {
    snprintf(why, why_size, "%u listeners are more than %d", t->listeners.count, MAX_LISTENERS);
    return 0;
  }
  for (uint32_t i = 0; i < t->listeners.count; i++) {
    const pk_table_listener *l = pk_table_listener_at(t, i);
    if (!l->present || (l->routes == PK_NONE) != (l->plan == PK_NONE)) continue;
    snprintf(why, why_size, "listeners[%u] has not either routes or a plan", i);
    return 0;
  }
  for (uint32_t i = 0; i < t->clusters.count; i++) {
    const pk_check *k = &pk_table_cluster_at(t, i)->check;
    if (k->by == PK_CHECK_BY_NONE) continue;
    int timed = k->every > 0 && k->timeout > 0;
    int asks = k->by == PK_CHECK_BY_CONNECT || (k->codec < t->codecs.count && (k->by != PK_CHECK_BY_CALL || k->frame.size > 0));
    if (timed && asks) continue;
    snprintf(why, why_size, "clusters[%u].check %s", i, timed ? "has nothing to ask" : "has no time");
    return 0;
  }
  for (uint32_t i = 0; i < t->clusters.count; i++) {
    const pk_breaker *b = &pk_table_cluster_at(t, i)->breaker;
    if (b->least == 0 || (b->least <= b->requests && b->requests <= INT32_MAX)) continue;
    snprintf(why, why_size, "clusters[%u].breaker finds a limit from %u to %u: not upwards, or over %d", i, b->least, b->requests, INT32_MAX);
    return 0;
  }
  for (uint32_t i = 0; i < t->clusters.count; i++) {
    const pk_prefer *p = &pk_table_cluster_at(t, i)->prefer;
    if ((p->near == PK_NONE) == (p->far == PK_NONE)) continue;
    snprintf(why, why_size, "clusters[%u].prefer has one of near and far", i);
    return 0;
  }
  for (uint32_t i = 0; i < t->rules.count; i++) {
    const pk_rule *r = PK_AT(t, pk_rule, t->rules.at) + i;
    const char *wrong = pk_condition_wrong(t, PK_AT(t, pk_condition, t->conditions.at) + r->condition, r->condition_count);
    if (wrong == NULL) continue;
    snprintf(why, why_size, "conditions[%u]: %s", r->condition, wrong);
    return 0;
  }
  for (uint32_t i = 0; i < t->origins.count; i++) {
    pk_slice keys[PK_INSIDE_KEYS];
    const pk_origin *o = pk_table_origin_at(t, i);
    if (o->origin != PK_ORIGIN_ARGUMENT || pk_origin_keys(t, o, keys) != PK_NONE) continue;
    snprintf(why, why_size, "origins[%u]: an argument's name is %d keys at most, each behind a byte of its size", i, PK_INSIDE_KEYS);
    return 0;
  }
  for (uint32_t i = 0; i < t->changes.count; i++) {
    const pk_change *c = PK_AT(t, pk_change, t->changes.at) + i;
    if (c->of == PK_NONE || pk_table_origin_at(t, c->of)->origin != PK_ORIGIN_ARGUMENT) continue;
    snprintf(why, why_size, "changes[%u]: an argument is known only until the next value is asked for", i);
    return 0;
  }
  for (uint32_t i = 0; i < t->choices.count; i++) {
    const char *wrong = pk_choice_wrong(t, pk_table_choice_at(t, i));
    if (wrong == NULL) continue;
    snprintf(why, why_size, "choices[%u]: %s", i, wrong);
    return 0;
  }
  for (uint32_t i = 0; i < t->plans.count; i++) {
    const pk_plan *p = pk_table_plan_at(t, i);
    if ((p->split_count > 0) + (p->reply.status != 0) + (p->verdict != PK_VERDICT_NONE) != 1) {
      snprintf(why, why_size, "plans[%u] has not either a cluster, a reply or a verdict", i);
      return 0;
    }
    if (p->change_count > PK_CHANGES) {
      snprintf(why, why_size, "plans[%u] has %u changes, over %d", i, p->change_count, PK_CHANGES);
      return 0;
    }
    if (p->change_answers > p->change_count) {
      snprintf(why, why_size, "plans[%u] has %u changes, %u of them to answers", i, p->change_count, p->change_answers);
      return 0;
    }
    uint64_t total = 0;
    for (uint32_t n = 0; n < p->split_count; n++) total += (PK_AT(t, pk_split, t->splits.at) + p->split)[n].weight;
    if (total <= UINT32_MAX) continue;
    snprintf(why, why_size, "plans[%u]: the weights of its splits are %llu in all, over %u", i, (unsigned long long)total,
             UINT32_MAX);
    return 0;
  }
  return 1;
}

int pk_image_check(const pk_table *t, size_t size, char *why, size_t why_size) {
  if (!check_arrays(t, size, why, why_size)) return 0;
  for (uint32_t k = 0; k < IMAGE; k++)
    if (!check_kind(t, &kinds[k], why, why_size)) return 0;
  return check_rest(t, why, why_size) && check_verdicts(t, why, why_size);
}
