/* fault.h: which requests a fault hits. Pure: the random number is given. */
#ifndef PK_FAULT_H
#define PK_FAULT_H

#include <stdint.h>

enum { PK_FAULT_ALL = 1000000 }; /* shares are in millionths */

static inline int pk_fault_hits(uint32_t share, uint64_t random) { return (random >> 20) % PK_FAULT_ALL < share; }

#endif
