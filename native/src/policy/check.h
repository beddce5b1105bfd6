/* check.h: what active health checks come to: how many in a row change the verdict, and when the next one is. Pure: the
 * time and random numbers are given. */
#ifndef PK_CHECK_H
#define PK_CHECK_H

#include <stdint.h>

#include "table/table.h"

/* What a check came to. */
enum {
  PK_CHECK_PASSED = 0,
  PK_CHECK_REFUSED,  /* no connection: its errno, or 0 */
  PK_CHECK_LATE,     /* no connection in the time for the check */
  PK_CHECK_GREETING, /* the greeting was refused, or it closed during it */
  PK_CHECK_SILENT,   /* no answer in that time */
  PK_CHECK_CLOSED,   /* it closed instead of answering */
  PK_CHECK_FORMAT,   /* what it says is no frame of the protocol */
  PK_CHECK_STATUS,   /* its answer to the call is an error: the status */
  PK_CHECK_OVER      /* it is not checked any more */
};

/* Zeroed it passes. */
typedef struct pk_check_state {
  uint32_t against; /* checks in a row that say otherwise than `failing` */
  uint8_t failing;
} pk_check_state;

/* One more check passed, or not. 1: the verdict is another now. */
static inline int pk_check_came_to(pk_check_state *s, const pk_check *rule, int passed) {
  if (passed != s->failing) {
    s->against = 0;
    return 0;
  }
  if (++s->against < (passed ? rule->healthy : rule->unhealthy)) return 0;
  s->against = 0;
  s->failing = (uint8_t)!passed;
  return 1;
}

/* How long the next check begins after this one did, ns: up to an eighth more or less than the rule says, so that those
 * that began together do not stay together. */
static inline uint64_t pk_check_next(const pk_check *rule, uint64_t random) {
  uint64_t every = rule->every * UINT64_C(1000000);
  return every - every / 8 + random % (every / 4 + 1);
}

/* How long the first one waits: any part of that time. */
static inline uint64_t pk_check_first(const pk_check *rule, uint64_t random) {
  return random % (rule->every * UINT64_C(1000000) + 1);
}

/* Whether a heartbeat that was not answered says anything: of a server that answered some before, or that never said a
 * word. One that answers calls and knows no heartbeats is not ill, and one that said something since is only busy. */
static inline int pk_check_is_silent(int beats, uint64_t heard, uint64_t asked) {
  return heard < asked && (beats || heard == 0);
}

#endif
