/* engine.h: the core: all that one worker has. Records refer to each other by handle (index and generation) wherever
 * the other may go first. */
#ifndef PK_ENGINE_H
#define PK_ENGINE_H

#include "base/ring.h"
#include "base/timer.h"
#include "core/memory.h"
#include "policy/state.h"
#include "table/question.h"

#define PK_MS 1000000u /* ns */
#define PK_RARE __attribute__((noinline, cold)) /* out of line: the usual way saves no registers for it */

enum { PK_TIMER_CONN = 0, PK_TIMER_REQUEST = 1, PK_TIMER_CHECK = 2 };
#define PK_PAGE 256u
#define PK_STAT_PAGES 256u

typedef struct pk_request pk_request;
typedef struct pk_attempt pk_attempt;
typedef struct pk_kind pk_kind;
typedef struct pk_plan_step pk_plan_step;
typedef struct pk_live pk_live;
typedef struct pk_cluster pk_cluster;
typedef struct pk_waits pk_waits;
typedef struct pk_endpoint pk_endpoint;
typedef struct pk_checker pk_checker;

struct pk_core {
  uint64_t now, batch, random;
  uint32_t frames_left; /* of this batch: the next one handles the rest, after what is written */
  uint32_t frames_most; /* of what is handled now; 0: there has to be room first */
  pk_live *live; /* newest first */
  pk_live *prepared;
  pk_limits limits;
  pk_route_cache cached_routes; /* of the newest table */
  uint32_t epoch; /* another one with each such table; 0 before the first */
  pk_question question;  /* of the request that is handled, */
  pk_handle questioned;  /* which is that one; 0: nothing is known */
  int draining, shutdown;
  int changed; /* some cluster is */
  const pk_kind *server, *pair_server, *checker; /* kinds, for who stands below them */
  const pk_plan_step *const *steps;         /* by PK_STEP_* */

  pk_conn **conns;
  uint32_t conn_count, conn_capacity, client_count;
  pk_list free_conns, graveyard, dirty, ready, ready_next;

  pk_request **requests; /* pages */
  uint32_t request_pages, free_request, request_count;
  uint32_t aside;        /* of them wait for filters, or for a delay */
  uint64_t aside_bytes;  /* that these hold, and what filters may still read of requests that have ended */
  pk_held *orphans, *last_orphan; /* in the order of the requests' ends */
  pk_pages ids;  /* of requests, where they are byte strings: PK_ID_MAX bytes each */
  pk_pages kept; /* of requests, by their codecs: PK_KEEP_MAX bytes each */
  pk_pages asked; /* of requests whose answers filters see: a pk_held each */
  pk_pages ending; /* of requests whose ends filters are told: a pk_end each */
  /* Made by the worker at any time, taken from by the deciding side. */
  _Atomic(pk_ring *) asks; /* about keys of rules' limits; NULL: no table asked for that yet */
  _Atomic(pk_ring *) ends; /* of those that have ended; NULL: no table asked for them yet */
  pk_attempt **attempts; /* pages */
  uint32_t attempt_pages, free_attempt;

  pk_op *ops;
  uint32_t op_count, op_capacity, op_taken;
  uint64_t malformed_told[2]; /* ns: when something malformed of a client, of a server may be told again */

  pk_wheel wheel;
  pk_checker *waiting_checks, *last_check; /* due, in their order */
  uint32_t checking;                       /* checks under way */
  pk_verdicts *verdicts; /* of all workers; NULL: there is no other */
  uint64_t verdicts_seen;
  uint32_t place, places; /* which of them this one is */
  uint64_t buffered;
  int short_of_memory; /* 1: it is over its budget; 2: somebody was refused a buffer */
  uint32_t looks;    /* for who holds most, in this batch: each goes through all connections */
  int full;          /* it is over its budget, and nobody in particular holds that: no more requests are taken */
  void (*make_room)(pk_core *core);
  pk_chunk *free_chunks;
  uint32_t free_chunk_count;
  pk_held *free_held[PK_HELD_CLASSES]; /* of up to so many steps of bytes */
  uint32_t free_held_count[PK_HELD_CLASSES];
  uint8_t scratch[2 * PK_READ];

  pk_shared *shared; /* by all workers of a process */
  pk_endpoint **endpoints; /* by uid */
  pk_cluster **clusters;   /* likewise */
  uint32_t endpoint_capacity, cluster_capacity;
  pk_waits **waits; /* chains, a power of two of them */
  uint32_t waits_chains, waits_count;
  pk_endpoint *gone_endpoints; /* until nothing refers to them */
  pk_endpoint_stats gone_stats; /* theirs, which nobody reads */
  pk_times gone_times;          /* likewise */
  pk_stats stats;
  _Atomic(pk_endpoint_stats *) endpoint_stats[PK_STAT_PAGES];
  _Atomic(pk_times *) times[PK_STAT_PAGES]; /* by clusters' uids */
};

/* records.c */
void pk_op_add(pk_core *core, pk_op op);
uint64_t pk_random(pk_core *core);

#endif
