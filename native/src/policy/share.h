/* share.h: which share of a split a request has. Pure: the key, or a random number, is given. */
#ifndef PK_SHARE_H
#define PK_SHARE_H

#include "table/table.h"

/* Where a key stands between 0 and 2^64, by its hash, which begins with PK_SHARE_SEED: the same in every worker, process
 * and table. That is not what others hash the same text with: keys of one share would be neighbours on a ring of theirs. */
enum { PK_SHARE_SEED = 0x5a17 };
uint64_t pk_share_key(uint64_t hash);

/* Shares stand one behind the other, as wide as their weights, and a key has the one in which it stands: where weights change
 * only keys between the old and the new ends move. A point from 0 to `total` (less one): of a key, or by chance. */
static inline uint64_t pk_share_point(uint64_t key, uint32_t total) { return (key >> 32) * total >> 32; }

/* Whose that point is, `count` shares in all, at least one. */
uint32_t pk_share_at(const pk_split *shares, uint32_t count, uint64_t point);

#endif
