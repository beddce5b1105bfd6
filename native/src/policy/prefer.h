/* prefer.h: how many of a cluster's requests go to the endpoints that are preferred, such as those of the own zone: all, while
 * enough of their weight is usable; else the less, the less is. Pure. */
#ifndef PK_PREFER_H
#define PK_PREFER_H

#include <stdint.h>

enum {
  PK_PREFER_ALL = 1000000,
  PK_PREFER_ALONE = PK_PREFER_ALL + 1, /* all, although they cannot take that: none of the others is usable */
  PK_PREFER_ALIKE = UINT32_MAX         /* there is nothing to choose by: all of the cluster are one */
};

/* What a part of it can take, of all requests: everything, where `healthy` of its weight is usable. */
static inline double pk_prefer_takes(uint64_t usable, uint64_t all, uint32_t healthy) {
  double part = all == 0 ? 0 : (double)usable / (double)all * 1e6;
  return usable == 0 ? 0 : part >= healthy ? 1 : part / healthy;
}

/* Parts of a million that go to the near ones; the others go to the far ones. Where both cannot take all they share by what
 * they can. */
static inline uint32_t pk_prefer_share(uint64_t near, uint64_t all_near, uint64_t far, uint64_t all_far, uint32_t healthy) {
  double here = pk_prefer_takes(near, all_near, healthy), there = pk_prefer_takes(far, all_far, healthy);
  if (here > 0 && here < 1 && there <= 0) return PK_PREFER_ALONE;
  if (there > 1 - here) there = 1 - here;
  return here + there <= 0 ? PK_PREFER_ALIKE : (uint32_t)(here / (here + there) * PK_PREFER_ALL + 0.5);
}

/* Whether this one goes there. `drawn`: any number, or of a request with a key always the same. */
static inline int pk_prefer_is_near(uint64_t drawn, uint32_t share) { return (drawn >> 20) % PK_PREFER_ALL < share; }

#endif
