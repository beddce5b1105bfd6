/* table.h: a Snapshot compiled for the workers: one contiguous, immutable, position-independent
 * block (offsets and indices only, besides the addresses of codecs, which are constants of the
 * process). Built off the hot path with pk_builder_*, then shared read-only by all workers. */
#ifndef PK_TABLE_H
#define PK_TABLE_H

#include "wire/ident.h"

#define PK_NONE UINT32_MAX

/* Whether each client needs an upstream connection of its own: the codec says so, or its ids must stay. */
static inline int pk_codec_is_pinned(const pk_codec *c) {
  return (PK_CODEC_HAS(c, pinned) && c->pinned) || (c->id_bytes > 0 && pk_id_max(c) == 0 && c->patch_id == NULL);
}

/* Whether its signal to go elsewhere is sent only where the listener says so. */
static inline int pk_codec_drains_if_asked(const pk_codec *c) {
  return PK_CODEC_HAS(c, optional_drain) && c->optional_drain;
}

/* python { */
typedef struct pk_limits {
  uint64_t buffer;        /* bytes of buffers a worker may hold */
  uint32_t frame;         /* bytes of one frame */
  uint32_t connections;   /* client connections of a worker */
  uint32_t in_flight;     /* requests of a worker, less those that wait for filters */
  uint32_t in_flight_per_connection; /* requests of one client connection */
  uint32_t filters;       /* requests of one plan that wait for its filters */
  uint32_t client_pause;  /* bytes queued to a client above which it is not read */
  uint32_t client_close;  /* bytes queued to a client above which it is closed */
  uint32_t upstream_buffer;    /* bytes queued to an upstream connection above which it is full */
  uint32_t upstream_in_flight; /* requests on an upstream connection above which it is full */
  uint32_t retry_buffer;  /* bytes of a request kept for a retry */
  uint32_t request_ms, idle_ms, frame_ms, detect_ms, heartbeat_ms, probe_ms, filter_ms;
  uint32_t drain_ms; /* how long clients of a listener that is gone are still served */
} pk_limits;

enum { PK_MATCH_ANY = 0, PK_MATCH_EXACT = 1, PK_MATCH_PREFIX = 2 };
enum { PK_BALANCE_ROUND_ROBIN = 0, PK_BALANCE_LEAST_REQUEST = 1 };
enum { PK_DEPTH_FRAME = 0, PK_DEPTH_DESTINATION = 1 };

/* What a plan asks of a request; zero is the bare path. */
enum { PK_F_SPLIT = 1, PK_F_RETRY = 2, PK_F_FILTER = 4, PK_F_TIMEOUT = 8 };
enum { PK_RETRY_CONNECT = 1, PK_RETRY_RESET = 2, PK_RETRY_OVERLOADED = 4, PK_RETRY_TIMEOUT = 8 };

typedef struct pk_text {
  uint32_t at, size; /* in the table's text area */
} pk_text;

typedef struct pk_pattern {
  pk_text text;
  uint32_t kind;
} pk_pattern;

typedef struct pk_rule {
  pk_pattern service, method, version, group;
  uint32_t plan;
  uint32_t next; /* rule of the same index key, later in the route table */
} pk_rule;

typedef struct pk_plan {
  uint32_t features;
  uint32_t cluster;     /* where there is no split */
  uint32_t split, split_count, split_total;
  uint32_t timeout_ms;  /* with PK_F_TIMEOUT */
  uint32_t attempts;    /* tries in all, with PK_F_RETRY */
  uint32_t retry_on;    /* PK_RETRY_* */
  uint32_t idempotent;
  uint32_t filter;      /* the filter chain's number, for the deciding side */
  pk_text name;
} pk_plan;

typedef struct pk_split {
  uint32_t cluster, weight;
} pk_split;

typedef struct pk_table_endpoint {
  uint32_t uid;     /* identity (cluster, address): the same in every table that has it */
  uint32_t weight;
  uint32_t cluster;
  pk_text name;     /* "127.0.0.1:20881" */
  uint32_t addr_size;
  uint8_t addr[28]; /* a sockaddr_in or sockaddr_in6 */
} pk_table_endpoint;

typedef struct pk_table_cluster {
  uint32_t endpoints, endpoint_count;
  uint32_t schedule, schedule_count; /* weighted round robin, one endpoint a turn */
  uint32_t balance;
  uint32_t max_connections;          /* to one endpoint, of one worker */
  uint32_t connect_ms;
  pk_text name;
} pk_table_cluster;

typedef struct pk_table_listener {
  uint32_t present;
  uint32_t routes; /* route table, or PK_NONE */
  uint32_t plan;   /* without a route table */
  uint32_t opens;  /* the cluster that all requests go to, with no filter in between, or PK_NONE */
  uint32_t depth;  /* PK_DEPTH_* */
  uint32_t pinned;
  uint32_t codec, codec_count;
  uint32_t fallback; /* cluster for connections that none of the codecs can be, or PK_NONE */
  uint32_t goaway;   /* clients are told of a drain, too, where their protocol leaves that to the operator */
  pk_text name;
} pk_table_listener;

typedef struct pk_routes {
  uint32_t first_rule, rule_count;
  uint32_t slots, slot_mask;      /* open addressing: rule indices or PK_NONE */
  uint32_t prefixes, prefix_count; /* lengths of service prefixes in use, ascending */
  uint32_t any;                   /* first rule of those with no service to index by */
  uint32_t has_pairs;             /* some rule is indexed by service and method */
  pk_text name;
} pk_routes;

typedef struct pk_slot_key {
  uint64_t hash;
  uint32_t rule; /* first rule of the chain, PK_NONE where the slot is free */
  uint32_t tail; /* while building */
} pk_slot_key;

typedef struct pk_table {
  uint64_t seed;
  uint64_t bytes; /* of the whole block */
  pk_limits limits;
  uint32_t listeners, rules, plans, splits, clusters, endpoints, schedules, routes, slots, prefixes,
      codecs, text; /* offsets of the arrays from the start of the block */
  uint32_t listener_count, rule_count, plan_count, cluster_count, endpoint_count, routes_count;
} pk_table;
/* } python */

#define PK_AT(table, type, offset) ((const type *)(const void *)((const char *)(table) + (offset)))

static inline const pk_table_listener *pk_table_listener_at(const pk_table *t, uint32_t i) {
  return PK_AT(t, pk_table_listener, t->listeners) + i;
}
static inline const pk_plan *pk_table_plan_at(const pk_table *t, uint32_t i) {
  return PK_AT(t, pk_plan, t->plans) + i;
}
static inline const pk_table_cluster *pk_table_cluster_at(const pk_table *t, uint32_t i) {
  return PK_AT(t, pk_table_cluster, t->clusters) + i;
}
static inline const pk_table_endpoint *pk_table_endpoint_at(const pk_table *t, uint32_t i) {
  return PK_AT(t, pk_table_endpoint, t->endpoints) + i;
}
static inline const pk_codec *pk_table_codec_at(const pk_table *t, uint32_t i) {
  return (const pk_codec *)PK_AT(t, uintptr_t, t->codecs)[i];
}
static inline const char *pk_table_text_at(const pk_table *t, pk_text text) {
  return PK_AT(t, char, t->text) + text.at;
}

/* The plan of the first rule of route table `routes` that matches, or PK_NONE. */
uint32_t pk_table_route(const pk_table *t, uint32_t routes, const pk_destination *d);

/* Methods are counted in so many buckets. A method's bucket is the same by every table. */
enum { PK_BUCKETS = 128 };
uint32_t pk_table_bucket(const pk_destination *d);

/* Where destinations went lately, all by one table; zeroed (no service), it knows nothing. */
enum { PK_CACHED_ROUTES = 256, PK_CACHED_TEXT = 164 };
typedef struct pk_cached_route {
  uint32_t routes, plan, bucket;
  uint32_t service, method, version, group; /* bytes of each, which stand in `text` in this order */
  uint8_t text[PK_CACHED_TEXT];
} pk_cached_route;

/* The same answer as pk_table_route's, and the bucket; what was asked before is not looked up again. */
uint32_t pk_table_route_cached(const pk_table *t, pk_cached_route cache[PK_CACHED_ROUTES], uint32_t routes,
                               const pk_destination *d, uint32_t *bucket);

/* Building. Every function returns an index, or PK_NONE when memory is short or an argument
 * names something that is not there. Not thread-safe; one builder makes one table. */
/* python { */
typedef struct pk_builder pk_builder;
pk_builder *pk_builder_new(uint64_t seed, const pk_limits *limits);
void pk_builder_free(pk_builder *b);
uint32_t pk_builder_cluster(pk_builder *b, const char *name, uint32_t balance,
                            uint32_t max_connections, uint32_t connect_ms);
/* Endpoints belong to the cluster added last. */
uint32_t pk_builder_endpoint(pk_builder *b, uint32_t uid, uint32_t weight, const char *name,
                             const uint8_t *addr, uint32_t addr_size);
uint32_t pk_builder_plan(pk_builder *b, const char *name, uint32_t features, uint32_t timeout_ms,
                         uint32_t attempts, uint32_t retry_on, uint32_t idempotent,
                         uint32_t filter);
/* Splits belong to the plan added last; one alone is that plan's cluster. */
uint32_t pk_builder_split(pk_builder *b, uint32_t cluster, uint32_t weight);
uint32_t pk_builder_routes(pk_builder *b, const char *name);
/* Rules belong to the route table added last, in order. Patterns: "x", "x*", "*". */
uint32_t pk_builder_rule(pk_builder *b, const char *service, const char *method,
                         const char *version, const char *group, uint32_t plan);
/* `id` is the listener's identity across tables. Codecs belong to the listener added last. */
uint32_t pk_builder_listener(pk_builder *b, uint32_t id, const char *name, uint32_t routes,
                             uint32_t plan, uint32_t pinned);
uint32_t pk_builder_codec(pk_builder *b, uintptr_t codec);
/* The fallback cluster of the listener added last. */
uint32_t pk_builder_fallback(pk_builder *b, uint32_t cluster);
/* The listener added last sends its protocols' optional drain signals. */
uint32_t pk_builder_goaway(pk_builder *b);
/* The finished table, to be freed with pk_table_free; NULL when memory was short. */
pk_table *pk_builder_finish(pk_builder *b);
void pk_table_free(pk_table *t);
/* } python */

#endif
