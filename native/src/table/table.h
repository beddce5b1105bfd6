/* table.h: a Snapshot compiled for the workers: one contiguous, immutable, position-independent
 * block (offsets and indices only, besides the addresses of codecs, which are constants of the
 * process), shared read-only by all workers.
 *
 * The records below are the only place where their fields are written down: protokit/table.py reads them
 * from here and fills them by name, and image.c says of each field what it may be. */
#ifndef PK_TABLE_H
#define PK_TABLE_H

#include <string.h>

#include "base/address.h"
#include "wire/ident.h"

#define PK_NONE UINT32_MAX

/* Whether each client needs an upstream connection of its own: the codec says so, or its ids must stay. */
static inline int pk_codec_is_pinned(const pk_codec *c) {
  return c->pinned || (c->mode == PK_MODE_MULTIPLEXED && (pk_id_max(c) > 0 ? c->splice_id == NULL : c->patch_id == NULL));
}

/* Whether greetings are passed on between a client and its own connection. */
static inline int pk_codec_relays(const pk_codec *c) {
  return PK_CODEC_HAS(c, greeting_relayed) && c->greeting_relayed;
}

/* Whether its signal to go elsewhere is sent only where the listener says so. */
static inline int pk_codec_drains_if_asked(const pk_codec *c) {
  return c->optional_drain != 0;
}

/* python { */
typedef struct pk_limits {
  uint64_t buffer;        /* bytes of buffers a worker may hold */
  uint32_t frame;         /* bytes of one frame */
  uint32_t connections;   /* client connections of a worker */
  uint32_t in_flight;     /* requests of a worker, less those that wait for filters or delays */
  uint32_t in_flight_per_connection; /* requests of one client connection */
  uint32_t filters;       /* requests of one plan that wait for its filters; and for its delay */
  uint32_t client_pause;  /* bytes queued to a client above which it is not read */
  uint32_t client_close;  /* bytes queued to a client above which it is closed */
  uint32_t upstream_buffer;    /* bytes queued to an upstream connection above which it is full */
  uint32_t upstream_in_flight; /* requests on an upstream connection above which it is full */
  uint32_t retry_buffer;  /* bytes of a request kept for a retry */
  uint32_t request_ms, idle_ms, frame_ms, detect_ms, heartbeat_ms, probe_ms, filter_ms;
  uint32_t drain_ms; /* how long clients of a listener that is gone are still served */
} pk_limits;

enum {
  PK_MATCH_ANY = 0,
  PK_MATCH_EXACT = 1,
  PK_MATCH_PREFIX = 2, /* the last that stands in a rule itself; these stand in conditions only: */
  PK_MATCH_SUFFIX = 3,
  PK_MATCH_IN = 4,
  PK_MATCH_REGEX = 5,
  PK_MATCH_RANGE = 6,
  PK_MATCH_PRESENT = 7,
  PK_MATCH_NETWORKS = 8, /* of addresses: one between the first and the last of some value */
  PK_MATCH_COUNT
};
/* What a condition is: of others, or of what it asks of a request. */
enum { PK_CONDITION_ALL = 0, PK_CONDITION_ANY, PK_CONDITION_NOT, PK_CONDITION_VALUE, PK_CONDITION_ONEWAY, PK_CONDITION_COUNT };
/* Where a value of a request comes from: question.h. */
enum {
  PK_ORIGIN_SERVICE = 0,
  PK_ORIGIN_METHOD,
  PK_ORIGIN_VERSION,
  PK_ORIGIN_GROUP,
  PK_ORIGIN_HEADER,   /* by its name */
  PK_ORIGIN_SOURCE,   /* the client's address, of 16 bytes */
  PK_ORIGIN_LISTENER, /* its name */
  PK_ORIGIN_PROTOCOL, /* its codec's name */
  PK_ORIGIN_ARGUMENT, /* of the call, or what is inside of one: question.h says how it is read */
  PK_ORIGIN_COUNT
};
enum {
  PK_BALANCE_ROUND_ROBIN = 0,
  PK_BALANCE_LEAST_REQUEST,
  PK_BALANCE_RANDOM,
  PK_BALANCE_PEAK_EWMA,
  PK_BALANCE_RING_HASH,
  PK_BALANCE_MAGLEV,
  PK_BALANCE_COUNT
};
enum { PK_DEPTH_FRAME = 0, PK_DEPTH_DESTINATION = 1, PK_DEPTH_HEADERS = 2, PK_DEPTH_ARGUMENTS = 3 };

/* What a plan asks of a request; zero is the bare path. */
enum {
  PK_F_SPLIT = 1,
  PK_F_RETRY = 2,
  PK_F_TIMEOUT = 4,
  PK_F_KEEP = 8,  /* its bytes, for another attempt */
  PK_F_CHOICE = 16, /* headers say which cluster, or which part of one */
  PK_F_TIMED = 32,  /* its tries have a time */
  PK_F_PASS_ON = 64, /* its servers are told the time that is left */
  PK_F_BREAKER = 128, /* some cluster of its table has a breaker */
  PK_F_HEDGE = 256
};
/* Configuration says `connect-failure` and so on: names of the enumeration `retry.on`. */
enum {
  PK_RETRY_ON_CONNECT_FAILURE = 1,
  PK_RETRY_ON_RESET = 2,
  PK_RETRY_ON_OVERLOADED = 4,
  PK_RETRY_ON_TIMEOUT = 8, /* an answer that says so, or a try that took its time */
  PK_RETRY_ON_UNAVAILABLE = 16,
  PK_RETRY_ON_NO_SERVICE = 32,
  PK_RETRY_ON_INTERNAL = 64
};

/* "made": by pk_table_load, from the other fields; zero until then. */

typedef struct pk_array {
  uint32_t at, count; /* bytes from the table's start, records */
} pk_array;

typedef struct pk_text {
  uint32_t at, size; /* in the table's text area */
} pk_text;

typedef struct pk_pattern {
  pk_text text;
  uint32_t kind;
} pk_pattern;

/* A value of a request, by where it comes from. */
typedef struct pk_origin {
  uint32_t origin; /* PK_ORIGIN_* */
  pk_text name;    /* of a header; of an argument the keys to what is inside of it, each behind a byte of its size */
  uint32_t index;  /* an argument's number, from 0 */
  uint32_t wanted; /* made: of a header its number in pk_wanted; or PK_NONE: it is read by itself */
} pk_origin;

/* What requests are told apart by: the values of some origins together; none: nothing. */
typedef struct pk_key {
  uint32_t first, count; /* origins */
} pk_key;

/* What else a rule asks, as a tree in order: a condition, then what is in it. */
typedef struct pk_condition {
  uint32_t condition; /* PK_CONDITION_* */
  uint32_t size; /* records of it, with what is in it */
  uint32_t match; /* PK_MATCH_* */
  uint32_t of;   /* the origin of the value that is asked about, or PK_NONE */
  pk_text text;  /* exact, prefix, suffix */
  uint32_t value, value_count; /* in; networks */
  uint32_t automaton;          /* regex; or PK_NONE */
  uint64_t low, high;          /* range: the first and the last number, each with 2^63 more */
  uint32_t slots, slot_mask;   /* made: open addressing: of its values; bytes from the table's start */
  uint32_t wide;               /* made: a character beyond U+FFFF matters, which a value may have in two forms */
} pk_condition;

/* A regular expression over bytes, whole texts: a class for each of 256 bytes; a bit for each state that accepts; the
 * next state, of two bytes, by state and class. */
typedef struct pk_automaton {
  pk_text program;
  uint32_t states, classes; /* it begins in the first */
} pk_automaton;

/* Of networks two addresses of 16 bytes, which follow those of the value before. */
typedef struct pk_match_value {
  pk_text text;
} pk_match_value;

typedef struct pk_rule {
  pk_pattern service, method, version, group;
  uint32_t condition, condition_count; /* the first is the whole */
  uint32_t plan;
  uint32_t next;  /* made: rule of the same index key, later in the route table */
  uint32_t depth; /* made: PK_DEPTH_*: where what it asks stands; FRAME: it reads nothing of what was sent */
} pk_rule;

/* How long a request may take, ms; see timeout.h. */
typedef struct pk_timeout {
  uint32_t usual;   /* where its caller does not say; 0: limits.request_ms */
  uint32_t most;    /* whoever says it; 0: no matter how long */
  uint32_t pass_on; /* its server is told what is left of it */
} pk_timeout;

/* ms; see backoff.h */
typedef struct pk_backoff {
  uint32_t base, max;
} pk_backoff;

typedef struct pk_retry {
  uint32_t attempts; /* tries in all; up to 1: none but the first */
  uint32_t on;       /* PK_RETRY_ON_* */
  uint32_t idempotent;
  uint32_t per_try;  /* ms that one has where another may follow; 0: all of its request's */
  pk_backoff backoff;
  uint32_t budget;   /* parts of a million of the cluster's requests */
} pk_retry;

/* When a request gets a second attempt beside its first. */
typedef struct pk_hedge {
  uint32_t after_ms;   /* without an answer for so long; 0: never */
  uint32_t percentile; /* instead: for as long as such a share of the cluster's requests take, parts of a million */
  uint32_t most;       /* parts of a million of the cluster's requests */
} pk_hedge;

/* A copy of some of a rule's requests, whose answers are dropped. */
typedef struct pk_mirror {
  uint32_t cluster; /* that gets it, or PK_NONE */
  uint32_t share;   /* parts of a million */
  uint32_t most;    /* under way at a time */
  pk_text mark;     /* the header that says it is one; empty: none */
} pk_mirror;

/* Whether somebody outside is asked about a rule's limit, and what holds where nothing is known: the limit here, or none is taken. */
enum { PK_ASK_NOBODY = 0, PK_ASK_OPEN, PK_ASK_CLOSED, PK_ASK_COUNT };

/* How many requests of a rule are taken. */
typedef struct pk_limit {
  uint64_t interval; /* ns from one to the next; 0: any number */
  uint32_t burst;    /* at once, where none came for a while */
  uint32_t dry_run;  /* they are only counted */
  uint32_t ask;      /* PK_ASK_* */
  pk_key by;         /* whose bucket it is; of nothing: one for all */
  pk_text text;      /* "100/s" */
} pk_limit;

/* What callers that have a key may ask for themselves. */
typedef struct pk_fault_asked {
  pk_key of;        /* the header that says it; of nothing: nobody may */
  pk_text key;
  uint32_t most_ms; /* of a delay */
  uint32_t share;   /* of those that ask */
} pk_fault_asked;

/* What some of a rule's requests suffer; shares in millionths. */
typedef struct pk_fault {
  uint32_t delay_ms, delay_share;
  uint32_t status, abort_share; /* PK_STATUS_* */
  pk_key having; /* only those that have this; of nothing: all */
  pk_fault_asked asked;
} pk_fault;

/* Steps of a plan before its requests are sent, in this order. */
enum {
  PK_STEP_NOTE = 0, PK_STEP_LIMIT, PK_STEP_DELAY, PK_STEP_ABORT, PK_STEP_FILTER, PK_STEP_REPLY, PK_STEP_KEY, PK_STEP_CHANGE, PK_STEP_MIRROR, PK_STEP_SEE,
  PK_STEPS
};

/* A direct answer. */
typedef struct pk_own_reply {
  uint32_t status; /* PK_STATUS_*; 0: none */
  pk_text text;
} pk_own_reply;

/* Of filters that cannot be asked, or do not decide in time. */
enum { PK_OPEN_REQUESTS = 1, PK_OPEN_ANSWERS = 2 };

/* What a change does to a header. Service, method and so on are set. */
enum { PK_CHANGE_SET = 0, PK_CHANGE_APPEND /* behind what stands there, and a comma */, PK_CHANGE_REMOVE, PK_CHANGE_COUNT };
enum { PK_CHANGES = 32 }; /* of one plan */

/* What a listener's rule says of those that it is for: verdict.h. NONE: it says where requests go. */
enum { PK_VERDICT_NONE = 0, PK_VERDICT_ALLOW, PK_VERDICT_DENY, PK_VERDICT_OTHERWISE /* denied, as no rule allows it */,
       PK_VERDICT_COUNT };

/* A change to requests before they are sent, or to what these are answered. */
typedef struct pk_change {
  uint32_t what; /* PK_EDIT_*; of an answer a header */
  uint32_t how;  /* PK_CHANGE_* */
  uint32_t of;   /* the origin of its value, or PK_NONE: it is a text. Of the request as it came; of an answer's as it was sent */
  pk_text key;   /* the header's */
  pk_text value; /* the text */
} pk_change;

typedef struct pk_plan {
  uint32_t features;    /* made: PK_F_* */
  uint32_t cluster;     /* made: the first split's */
  uint32_t split, split_count;
  uint32_t split_total; /* made: of their weights */
  pk_key sticky;        /* the same key has the same of them; of nothing: by chance */
  pk_timeout timeout;
  pk_retry retry;
  uint32_t steps;       /* made: bits by PK_STEP_* */
  pk_own_reply reply;
  pk_limit limit;
  uint32_t state;       /* of pk_table_share, or PK_NONE */
  pk_fault fault;
  pk_hedge hedge;
  pk_mirror mirror;
  uint32_t change, change_count;
  uint32_t change_answers; /* the last so many of them are to answers */
  uint32_t filter;      /* the number of the filters that see its requests, for the deciding side, or PK_NONE */
  uint32_t answers;     /* of those that see what these are answered, or PK_NONE */
  uint32_t ends;        /* of those that are told what became of them, or PK_NONE */
  uint32_t open;        /* PK_OPEN_*: where these cannot be asked it goes on without them */
  uint32_t verdict;     /* PK_VERDICT_*: it has no cluster and no reply then */
  uint64_t identity;    /* its rule's: by that what waits is counted, whatever table it came by */
  pk_text name;
} pk_plan;

typedef struct pk_split {
  uint32_t cluster, weight;
  uint32_t choice; /* that says the cluster instead, or PK_NONE */
} pk_split;

/* Headers whose values together name one of several clusters: choice.h. */
typedef struct pk_choice {
  uint32_t word, word_count;
  uint32_t option, option_count;
  uint32_t otherwise; /* the cluster where these are none of the options, or PK_NONE: there is none */
  pk_text cluster;    /* whose subsets the options are; empty: clusters by their names */
  pk_text fixed;      /* what else these have: "zone=a" */
  uint32_t slots, slot_mask; /* made: open addressing: of its options; bytes from the table's start */
} pk_choice;

typedef struct pk_choice_word {
  uint32_t of;  /* the origin of its value */
  pk_text name; /* and of endpoints: what they are to have that value of */
} pk_choice_word;

typedef struct pk_choice_option {
  pk_text values; /* of each word one, with its size in front, four bytes in this machine's order */
  uint32_t cluster;
} pk_choice_option;

typedef struct pk_table_endpoint {
  uint32_t uid;     /* identity (cluster, address): the same in every table that has it */
  uint32_t weight;
  pk_text name;     /* "127.0.0.1:20881" */
  uint32_t addr_size;
  uint8_t addr[28]; /* a sockaddr_in or sockaddr_in6 */
} pk_table_endpoint;

/* When an endpoint that answers badly is left out. */
typedef struct pk_outlier {
  uint32_t errors; /* so many in a row; 0: however many */
  uint32_t rate;   /* such a share of its requests, parts of a million; 0: whatever share */
  uint32_t eject;  /* for so long, ms; 0: never */
  uint32_t most;   /* of the cluster's endpoints at a time, parts of a million */
  uint32_t slower; /* than the others so many times, thousandths; 0: however slow */
} pk_outlier;

/* How much of it may be under way at a time, in total over all workers: breaker.h. 0: any number. */
typedef struct pk_breaker {
  uint32_t connections, waiting, requests, retries;
  uint32_t endpoint_connections, endpoint_requests; /* of each endpoint */
  uint32_t retry_share; /* of a worker's requests, parts of a million; see budget.h */
  uint32_t least; /* how many requests is found, from so many to `requests`: gradient.h; 0: it is `requests` */
} pk_breaker;

/* Whether endpoints are checked, and how. */
enum { PK_CHECK_BY_NONE = 0, PK_CHECK_BY_CONNECT, PK_CHECK_BY_HEARTBEAT, PK_CHECK_BY_CALL, PK_CHECK_BY_COUNT };

typedef struct pk_check {
  uint32_t by;                 /* PK_CHECK_BY_* */
  uint32_t every, timeout;     /* ms */
  uint32_t unhealthy, healthy; /* so many in a row change the verdict */
  uint32_t codec;              /* whose heartbeat, or call */
  pk_text frame;               /* of a call */
} pk_check;

/* How an endpoint that is new, or well again, comes to its weight. */
typedef struct pk_slow_start {
  uint32_t time;  /* ms; 0: at once */
  uint32_t least; /* what it begins with, of its weight, parts of a million */
} pk_slow_start;

/* Which of its endpoints are preferred to its others (prefer.h). */
typedef struct pk_prefer {
  uint32_t near, far; /* clusters: those, and the others; PK_NONE: nobody is */
  uint32_t healthy;   /* while so much of their weight is usable, parts of a million */
} pk_prefer;

typedef struct pk_table_cluster {
  uint32_t uid; /* identity (name): the same in every table that has it, and of its subsets */
  uint32_t endpoints, endpoint_count;
  uint32_t schedule, schedule_count; /* made: weighted round robin, one endpoint a turn */
  uint32_t balance;
  pk_key hash;                       /* of consistent hashing */
  uint32_t places, place_count;      /* made: consistent.h: the first of its words in `places`; places */
  uint32_t max_connections;          /* to one endpoint, of one worker */
  uint32_t connect_timeout_ms;
  pk_outlier outlier;
  pk_breaker breaker;
  pk_check check;
  pk_slow_start slow_start;
  pk_prefer prefer;
  uint32_t panic; /* of fewer usable endpoints all are used: a share, parts of a million; 0: never */
  pk_text name;
  pk_text subset; /* "version=v2": those endpoints of the cluster `name` that have it; empty: all of them */
} pk_table_cluster;

/* Whether a listener has verdicts, and by what they are: the connection, so that they are the same for all that comes on it; the
 * frame, too; something of a request beyond it. */
enum { PK_GUARD_NONE = 0, PK_GUARD_CONNECTION, PK_GUARD_FRAME, PK_GUARD_REQUEST };

typedef struct pk_table_listener {
  uint32_t present; /* 0: nobody listens under this number now */
  uint32_t routes;  /* route table, or PK_NONE */
  uint32_t plan;    /* without a route table, else PK_NONE */
  uint32_t access, dry_run; /* verdict.h: route tables of verdicts, asked first, or PK_NONE; one that only counts */
  uint32_t guard;   /* made: PK_GUARD_* */
  uint32_t opens;   /* made: the cluster that all requests go to, with no filter in between, or PK_NONE */
  uint32_t depth;   /* made: PK_DEPTH_* */
  uint32_t fills;   /* made: headers are read by more than its rules' matches, whose outcome is known by a request's number */
  uint32_t pinned;
  uint32_t codec, codec_count;
  uint32_t fallback; /* cluster for connections that none of the codecs can be, or PK_NONE */
  uint32_t goaway;   /* clients are told of a drain, too, where their protocol leaves that to the operator */
  pk_text name;
} pk_table_listener;

typedef struct pk_routes {
  uint32_t rules, rule_count;     /* its own, in order */
  uint32_t slots, slot_mask;      /* made: open addressing: rule indices or PK_NONE; bytes from the table's start */
  uint32_t prefixes, prefix_count; /* made: lengths of service prefixes in use, ascending; bytes likewise */
  uint32_t any;                   /* made: the slot of the rules with no service to index by: behind the others */
  uint32_t has_pairs;             /* made: some rule is indexed by service and method */
  uint32_t depth;                 /* made: its rules' greatest */
  uint32_t reading;               /* made: the first of them that reads more than a frame, or PK_NONE */
  uint32_t headers, header_count; /* made: the origins of those whose values rules are indexed by; the first's record */
  uint32_t verdicts;              /* its plans are such, of a listener's access; else none is */
  pk_text name;
} pk_routes;

/* Rules of one index key. */
typedef struct pk_slot_key {
  uint64_t hash;
  uint32_t self;     /* its number, of all route tables' */
  uint32_t like;     /* one of them; PK_NONE: the slot is free */
  uint32_t rule;     /* the first without a condition, PK_NONE: there is none */
  uint32_t asking;   /* the first with a condition that no header's value leads to */
  uint32_t by_value; /* the first that a header's value leads to */
  uint32_t headers;  /* which: bits by the route table's headers */
  uint32_t tail, asking_tail; /* while building */
} pk_slot_key;

/* Rules that a header's value leads to. */
typedef struct pk_value_key {
  uint64_t hash;
  uint32_t slot, header; /* of which key, and which of the route table's headers; PK_NONE: this place is free */
  pk_text value;
  uint32_t first, tail; /* in array `led`; tail: while building */
} pk_value_key;

typedef struct pk_led {
  uint32_t rule, next;
} pk_led;

typedef struct pk_table {
  uint64_t seed;  /* of the hash tables */
  uint64_t bytes; /* of the whole block */
  pk_limits limits;
  /* Of the image, where they stand in this order, each at a multiple of 8 bytes. */
  pk_array clusters, endpoints, plans, splits, choices, choice_words, choice_options, changes, routes, rules, conditions,
      values, automata, origins, listeners, text;
  pk_array codecs, schedules, slots, prefixes, value_slots, headers, by_value, led, states, choice_slots, places, wanted; /* made */
} pk_table;

/* What a field of a record may be. */
enum {
  PK_FIELD_NUMBER = 0, /* low .. high */
  PK_FIELD_BYTES,      /* anything */
  PK_FIELD_MADE,       /* 0 */
  PK_FIELD_TEXT,       /* a pk_text */
  PK_FIELD_INDEX,      /* of a record in array `of` */
  PK_FIELD_OPTIONAL,   /* the same, or PK_NONE */
  PK_FIELD_RANGE,      /* the first of some records in array `of`; the next field is their count */
  PK_FIELD_PARTS,      /* the same, and the ranges of all records are the whole array, one behind the other */
  PK_FIELD_COUNT       /* of the field before, `low` at least */
};

typedef struct pk_table_field {
  const char *name; /* "retry.attempts" */
  uint32_t at, rule; /* bytes from the record's start; PK_FIELD_* */
  uint32_t low, high, of;
} pk_table_field;

/* One of the image's arrays. `of` above counts these. */
typedef struct pk_table_array {
  const char *name, *type; /* "plans", "pk_plan" */
  uint32_t at, size;       /* of its pk_array in pk_table; bytes of a record */
  const pk_table_field *fields;
  uint32_t field_count;
} pk_table_array;

/* The arrays in their order: how many, and one of them. */
uint32_t pk_table_arrays(void);
const pk_table_array *pk_table_array_at(uint32_t i);

/* A table of an image: pk_table with its arrays behind it. Codecs are counted from `codecs`. Everything that a look-up
 * or a request goes by is checked here, once. The table, to be freed with pk_table_free; NULL and why not, in words. */
pk_table *pk_table_load(const uint8_t *image, size_t size, const uintptr_t *codecs, uint32_t codec_count, char *why,
                        size_t why_size);
/* What plans have beyond it, by pk_plan.state: addresses that outlive it. Before anybody uses the table. */
void pk_table_share(pk_table *t, const uintptr_t *states, uint32_t count);
void pk_table_free(pk_table *t);
/* } python */

#define PK_AT(table, type, offset) ((const type *)(const void *)((const char *)(table) + (offset)))

static inline const pk_table_listener *pk_table_listener_at(const pk_table *t, uint32_t i) {
  return PK_AT(t, pk_table_listener, t->listeners.at) + i;
}
static inline const pk_plan *pk_table_plan_at(const pk_table *t, uint32_t i) {
  return PK_AT(t, pk_plan, t->plans.at) + i;
}
static inline const pk_table_cluster *pk_table_cluster_at(const pk_table *t, uint32_t i) {
  return PK_AT(t, pk_table_cluster, t->clusters.at) + i;
}
static inline const pk_table_endpoint *pk_table_endpoint_at(const pk_table *t, uint32_t i) {
  return PK_AT(t, pk_table_endpoint, t->endpoints.at) + i;
}
/* Whether places for requests are counted. */
static inline int pk_breaker_places(const pk_breaker *b) {
  return (b->waiting | b->requests | b->retries | b->endpoint_requests) != 0;
}
static inline const pk_choice *pk_table_choice_at(const pk_table *t, uint32_t i) {
  return PK_AT(t, pk_choice, t->choices.at) + i;
}
static inline const pk_codec *pk_table_codec_at(const pk_table *t, uint32_t i) {
  return (const pk_codec *)PK_AT(t, uintptr_t, t->codecs.at)[i];
}
static inline const pk_origin *pk_table_origin_at(const pk_table *t, uint32_t i) {
  return PK_AT(t, pk_origin, t->origins.at) + i;
}
/* The headers that anybody may ask for, or NULL. */
static inline const pk_wanted *pk_table_wanted(const pk_table *t) {
  return t->wanted.count > 0 ? PK_AT(t, pk_wanted, t->wanted.at) : NULL;
}
static inline const char *pk_table_text_at(const pk_table *t, pk_text text) {
  return PK_AT(t, char, t->text.at) + text.at;
}
static inline pk_slice pk_table_slice(const pk_table *t, pk_text text) {
  return (pk_slice){(const uint8_t *)pk_table_text_at(t, text), text.size};
}

/* The plan of the first rule of route table `routes` that matches, or PK_NONE. */
struct pk_question; /* question.h */
uint32_t pk_table_route(const pk_table *t, uint32_t routes, struct pk_question *q);

/* Methods are counted in so many buckets. A method's bucket is the same by every table. */
enum { PK_BUCKETS = 128 };
uint32_t pk_table_bucket(const pk_destination *d);

/* Where requests went lately, all by one table; zeroed (no service), it knows nothing. */
enum { PK_CACHED_ROUTES = 256, PK_CACHED_TEXT = 204, PK_CACHED_HEADERS = 4, PK_SAME_ROUTES = 128,
       PK_CLIENT_ROUTES = 2048 };
typedef struct pk_known_route {
  uint32_t routes, plan, bucket;
} pk_known_route;

/* Of a destination. */
typedef struct pk_cached_route {
  pk_known_route is;
  uint32_t service, method, version, group; /* bytes of each, which stand in `text` in this order */
  uint64_t asked;                           /* and of headers that the route depends on: bits of pk_headers */
  uint16_t values[PK_CACHED_HEADERS];       /* PK_CACHED_NONE: it is not there */
  uint8_t text[PK_CACHED_TEXT];
} pk_cached_route;
#define PK_CACHED_NONE 0xffffu

/* Of what its codec knows by a number: no text is compared. */
typedef struct pk_same_route {
  uint64_t same; /* of pk_headers */
  pk_known_route is;
} pk_same_route;

/* Of what depends on who asks, too: of the one connection. */
typedef struct pk_client_route {
  uint64_t same;
  uint64_t client; /* its handle */
  pk_known_route is;
} pk_client_route;

typedef struct pk_route_cache {
  pk_same_route same[PK_SAME_ROUTES];
  pk_client_route of_client[PK_CLIENT_ROUTES];
  pk_cached_route routes[PK_CACHED_ROUTES];
} pk_route_cache;

/* What was remembered of such a request, or NULL. */
const pk_known_route *pk_table_recall(const pk_table *t, pk_route_cache *cache, uint32_t routes, struct pk_question *q);
/* What pk_table_route said, where it asked nothing but the destination, a few headers and who asks. */
void pk_table_remember(pk_route_cache *cache, uint32_t routes, const struct pk_question *q, uint32_t plan, uint32_t bucket);

#endif
