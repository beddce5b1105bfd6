/* budget.h: how much more than its requests a cluster may be sent: tries that follow another are a share of the requests
 * of the last ten seconds at most. Pure: the time is given. */
#ifndef PK_BUDGET_H
#define PK_BUDGET_H

#include <stdint.h>

enum { PK_BUDGET_SECONDS = 10, PK_BUDGET_WHOLE = 1000000 /* a share of all */ };

/* Zeroed, it knows nothing. */
typedef struct pk_budget {
  uint64_t second; /* the newest */
  uint64_t asked, spent; /* in all of these seconds */
  uint32_t asked_in[PK_BUDGET_SECONDS], spent_in[PK_BUDGET_SECONDS]; /* by second, modulo */
} pk_budget;

static inline uint32_t pk_budget_now(pk_budget *b, uint64_t second) {
  for (uint32_t i = 0; i < PK_BUDGET_SECONDS && b->second < second; i++) {
    /* who was silent for long forgets all */
    b->second = b->second + PK_BUDGET_SECONDS < second ? second - PK_BUDGET_SECONDS + 1 : b->second + 1;
    uint32_t at = (uint32_t)(b->second % PK_BUDGET_SECONDS);
    b->asked -= b->asked_in[at];
    b->spent -= b->spent_in[at];
    b->asked_in[at] = b->spent_in[at] = 0;
  }
  return (uint32_t)(b->second % PK_BUDGET_SECONDS);
}

/* A request comes. */
static inline void pk_budget_asked(pk_budget *b, uint64_t second) {
  b->asked_in[pk_budget_now(b, second)]++;
  b->asked++;
}

/* 1: there may be another try, and it is counted. `share`: parts of PK_BUDGET_WHOLE; `least`: so many a second in any case. */
static inline int pk_budget_spend(pk_budget *b, uint32_t share, uint32_t least, uint64_t second) {
  uint32_t at = pk_budget_now(b, second);
  if ((b->spent + 1) * PK_BUDGET_WHOLE > b->asked * share && b->spent_in[at] >= least) return 0;
  b->spent_in[at]++;
  b->spent++;
  return 1;
}

/* What was spent just now did not come to one. */
static inline void pk_budget_give_back(pk_budget *b) {
  b->spent_in[b->second % PK_BUDGET_SECONDS]--;
  b->spent--;
}

#endif
