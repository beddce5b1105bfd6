/* slow_start.h: how much of its weight an endpoint has that is new or well again. Pure: when and what goes in. */
#ifndef PK_SLOW_START_H
#define PK_SLOW_START_H

#include <stdint.h>

#include "table/table.h"

enum { PK_SLOW_START_WHOLE = 1000000 };

typedef struct pk_slow_start_state {
  uint64_t since;  /* ns: it is usable; 0: since nobody knows when */
  uint32_t credit; /* of the next turn that it takes, parts of a million */
} pk_slow_start_state;

/* How much of its weight, parts of a million: from `least` on in a straight line. */
static inline uint32_t pk_slow_start_share(const pk_slow_start_state *s, const pk_slow_start *rule, uint64_t now) {
  uint64_t time = (uint64_t)rule->time * 1000000u, past = now - s->since;
  if (s->since == 0 || past >= time) return PK_SLOW_START_WHOLE;
  return rule->least + (uint32_t)((PK_SLOW_START_WHOLE - rule->least) * past / time);
}

/* Whether it takes this turn: of all that it is offered such a share, as evenly as can be. */
static inline int pk_slow_start_takes(pk_slow_start_state *s, uint32_t share) {
  if (share == PK_SLOW_START_WHOLE) return 1;
  s->credit += share;
  if (s->credit < PK_SLOW_START_WHOLE) return 0;
  s->credit -= PK_SLOW_START_WHOLE;
  return 1;
}

#endif
