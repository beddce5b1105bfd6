/* endpoint.h: clusters and endpoints, as one worker knows them, and the tables that have them. */
#ifndef PK_ENDPOINT_H
#define PK_ENDPOINT_H

#include "base/hash.h"
#include "policy/balance.h"
#include "policy/breaker.h"
#include "policy/budget.h"
#include "policy/check.h"
#include "policy/health.h"
#include "policy/latency.h"
#include "policy/outlier.h"
#include "policy/panic.h"
#include "policy/quantile.h"
#include "policy/slow_start.h"
#include "policy/times.h"
#include "policy/verdicts.h"
#include "core/engine.h"

/* Connections as they were begun, linked by `before` and `behind`. */
typedef struct pk_conns {
  struct pk_conn *first, *last;
} pk_conns;

/* For balancers, how long they take; how many are errors; their places are given back; for who
 * checks it, that it answers. */
enum { PK_MEASURED_LATENCY = 1, PK_MEASURED_ERRORS = 2, PK_MEASURED_PLACES = 4, PK_MEASURED_ANSWERS = 8 };

/* What this worker knows of a cluster and of its subsets: of its name, over reloads. */
typedef struct pk_cluster {
  uint32_t uid;
  uint32_t holders;    /* tables that have it or a subset of it, each of these; its endpoints */
  uint8_t changed;     /* one of its endpoints may be usable that was not, or the other way round */
  uint8_t reviewed;    /* it is known which of them are */
  uint64_t slow_until; /* ns: none of them begins slowly any more */
  pk_budget retries, hedges; /* what it was sent beyond its requests */
  pk_quantile *latency;      /* of requests of rules that hedge by it; NULL: of none */
  pk_cluster_words *words;
  pk_times *times;
  struct pk_gradient *gradient; /* where its limit of requests is found; NULL: nothing is known yet */
  uint32_t waiting[PK_BUCKETS + 1]; /* places that its breaker counts, by pk_places_of */
} pk_cluster;

typedef struct pk_endpoint {
  uint32_t uid, addr_size;
  uint8_t addr[28];
  uint32_t tables;      /* live tables that have it, and the prepared one */
  uint32_t gone;        /* none has it any more: its number may be another's */
  struct pk_endpoint *gone_next;
  pk_conns shared, own;          /* connections that clients share; that are one client's each */
  uint32_t conn_count, opening;  /* shared ones; all that are being opened */
  pk_cluster *of;
  pk_endpoint_words *words;
  uint32_t connections;          /* all */
  uint32_t placed;               /* attempts that its breaker counts */
  uint32_t active;               /* attempts */
  uint32_t shared_active;        /* attempts on such connections */
  uint32_t waiting[PK_BUCKETS + 1]; /* of them, by pk_places_of */
  pk_health health;
  pk_latency latency;
  uint32_t measured; /* PK_MEASURED_*: what is asked of its answers */
  pk_outlier_state outlier;
  pk_slow_start_state slow;
  uint8_t usable;    /* when it was looked at last (usable.c) */
  pk_endpoint_stats *stats;
  pk_times *times;   /* its cluster's */
  struct pk_checker *checker; /* where this worker checks it */
} pk_endpoint;

/* The health checks of one endpoint (check.c). */
typedef struct pk_checker {
  pk_timer timer; /* the next one is due; or the time of the one under way is over */
  pk_endpoint *endpoint;
  const pk_table *table; /* the newest, and what that wants: */
  const pk_check *rule;
  const pk_codec *codec; /* NULL: to connect is all */
  pk_check_state state;
  pk_handle conn;        /* its own, or 0 */
  uint64_t since;        /* ns: the one under way began; 0: none is */
  uint8_t asked, waits;  /* the question is sent; it is due, and as many as may be are under way */
  struct pk_checker *behind; /* of those that wait */
} pk_checker;

/* Of one rule: requests that wait at one of its steps, and what they hold. */
typedef struct pk_aside {
  uint64_t bytes;
  uint32_t requests;
} pk_aside;

/* All of them, by whatever table they came (waits.c): for filters, for a delay, answers for filters, for the next try. */
struct pk_waits {
  struct pk_waits *next; /* of the same chain */
  uint64_t identity;
  uint32_t tables;       /* that have it */
  pk_aside filtering, delayed, answering, trying;
};

/* A table in use by this worker. */
typedef struct pk_live {
  struct pk_live *older;
  const pk_table *table;
  uint64_t token;
  uint64_t users; /* requests routed by it that have not ended, clients that it is kept for */
  pk_waits **waits;        /* by plan */
  pk_cluster **of;         /* by cluster */
  uint32_t *prefers;       /* by cluster: how many requests go to those that are preferred (prefer.h) */
  uint8_t *panics;         /* by cluster: who was judged not to be usable is used, too */
  pk_balance_state clusters[];
} pk_live;

/* waits.c */
/* Of a rule, held once more; NULL without memory. */
pk_waits *pk_waits_of(pk_core *core, uint64_t identity);
void pk_waits_let_go(pk_core *core, pk_waits *w);
void pk_waits_free(pk_core *core); /* all of them */

/* endpoint.c */
/* The driver is told how it is: PK_WELL or PK_ILL_*, and the errno. */
void pk_endpoint_tell(pk_core *core, const pk_endpoint *e, uint32_t how, int error);
/* It did not answer whether it lives. 1: close it; 0: that says nothing, or what is on it may still be answered. */
int pk_endpoint_silent(pk_core *core, const pk_conn *c);
void pk_endpoint_unanswered(pk_core *core, const pk_attempt *a); /* a call ran out of time */

/* It said something that only who lives says. */
static inline void pk_endpoint_heard(pk_core *core, pk_endpoint *e) {
  if (pk_health_heard(&e->health, core->now)) pk_endpoint_tell(core, e, e->health.unreached, 0);
}
void pk_endpoint_drains(pk_core *core, pk_endpoint *e, int drains); /* it says that it wants no new requests; or does again */
void pk_endpoint_opened(pk_core *core, pk_endpoint *e); /* a connection to it is open */
/* Its server closed it, perhaps instead of answering. */
void pk_endpoint_closing(pk_core *core, const pk_conn *c);
void pk_endpoint_joined(pk_core *core, pk_conn *c); /* one is being opened */
/* What became of an attempt, where errors are counted: it may be left out for that. */
void pk_endpoint_judge(pk_core *core, const pk_request *r, const pk_attempt *a, uint32_t outcome);
/* It was left out: 1 when that is over. */
int pk_endpoint_is_back(pk_core *core, pk_endpoint *e);
/* A connection to it is closed; `opening`: it never was open. */
void pk_endpoint_left(pk_core *core, pk_conn *c, int opening);
/* It may be usable that was not, or the other way round. */
void pk_endpoint_changed(pk_core *core, const pk_endpoint *e);

/* usable.c */
void pk_usable_review(pk_core *core);

/* check.c */
extern const pk_kind pk_check_kind;
void pk_checks_follow(pk_core *core, const pk_table *t); /* what this table, the newest, asks for; `t` before is still there */
void pk_checks_go_on(pk_core *core);                     /* those that wait, as far as there is room */
void pk_checks_hear(pk_core *core);                      /* what other workers found */
void pk_check_fired(pk_core *core, pk_checker *k);
void pk_check_end(pk_core *core, pk_endpoint *e); /* it is not checked any more */

/* What stays of a cluster from table to table: the hash of its name, and of what its endpoints have where these are not all. */
static inline uint64_t pk_cluster_key(const pk_table *t, uint32_t cluster) {
  const pk_table_cluster *c = pk_table_cluster_at(t, cluster);
  uint64_t name = pk_hash(0, (const uint8_t *)pk_table_text_at(t, c->name), c->name.size);
  return c->subset.size == 0 ? name : pk_hash(name, (const uint8_t *)pk_table_text_at(t, c->subset), c->subset.size);
}

/* live.c */
void pk_live_release(pk_core *core, pk_live *live);
void pk_endpoints_free_gone(pk_core *core);
/* A client is closed: it counts no more, and the table that was kept for it is let go. */
void pk_live_client_closed(pk_core *core, pk_conn *client);

#endif
