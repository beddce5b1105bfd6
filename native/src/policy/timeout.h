/* timeout.h: how long a request may take: what its caller says, or else its rule, but no longer than its rule allows. Pure. */
#ifndef PK_TIMEOUT_H
#define PK_TIMEOUT_H

#include "table/table.h"

/* `said`: by its caller, ms; 0: nothing. `otherwise`: where its rule says nothing either. */
static inline uint32_t pk_timeout_of(const pk_timeout *t, uint32_t said, uint32_t otherwise) {
  uint32_t ms = said > 0 ? said : t->usual > 0 ? t->usual : otherwise;
  return t->most > 0 && t->most < ms ? t->most : ms;
}

/* What is left of it after so many ms: 1 at least. */
static inline uint32_t pk_timeout_left(uint32_t ms, uint64_t gone) { return gone < ms ? ms - (uint32_t)gone : 1; }

#endif
