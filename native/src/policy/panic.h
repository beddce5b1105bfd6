/* panic.h: when so few of a cluster's endpoints are usable that who was judged not to be is used all the same: it is
 * likelier then that the judgement is wrong, or that the few would break under the load of all. Pure. */
#ifndef PK_PANIC_H
#define PK_PANIC_H

#include <stdint.h>

/* `share`: parts of a million; 0: never. */
static inline int pk_panics(uint32_t usable, uint32_t all, uint32_t share) {
  return usable * UINT64_C(1000000) < (uint64_t)share * all;
}

#endif
