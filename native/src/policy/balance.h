/* balance.h: whose turn it is: which endpoint of a cluster has the next request. Pure: the time, random numbers and
 * what is known of endpoints are given. */
#ifndef PK_BALANCE_H
#define PK_BALANCE_H

#include "table/table.h"

/* Of one cluster; it goes on where the one before a reload stood. */
typedef struct pk_balance_state {
  uint64_t batch; /* in which `held` was chosen */
  uint32_t cursor, held, held_left;
  uint32_t slow; /* some endpoint begins slowly */
} pk_balance_state;

/* What is asked about endpoints, which are given by their number in the table. */
typedef struct pk_balance_view {
  int (*may)(void *context, uint32_t endpoint);         /* whether it may have this one */
  uint32_t (*active)(void *context, uint32_t endpoint); /* requests under way there */
  int (*spared)(void *context, uint32_t endpoint);      /* whether this turn passes it over, as it begins slowly */
  double (*cost)(void *context, uint32_t endpoint);     /* how long one more is likely to take there (latency.h) */
} pk_balance_view;

typedef struct pk_balance_query {
  const pk_table *table;
  const pk_table_cluster *cluster; /* with an endpoint of some weight */
  uint64_t batch;                  /* those of one batch may be sent together */
  uint64_t random;                 /* where the balancer draws; of a request with a key, where it goes by that, the key */
  const pk_balance_view *view;
  void *context;
} pk_balance_query;

typedef struct pk_balancer {
  uint8_t draws; /* it needs a random number ... */
  uint8_t keyed; /* ... or the request's key */
  /* Where a new cluster begins; `random`: so that workers and proxies do not all begin alike. */
  void (*begin)(pk_balance_state *s, const pk_table_cluster *cluster, uint64_t random);
  /* The endpoint, or PK_NONE: those that were asked may not have it. */
  uint32_t (*pick)(pk_balance_state *s, const pk_balance_query *q);
} pk_balancer;

extern const pk_balancer pk_balancers[PK_BALANCE_COUNT]; /* by PK_BALANCE_* */

#endif
