/* share.c: see share.h. */
#include "policy/share.h"

#include "base/hash.h"

/* Not what others hash the same text with: keys of one share would be neighbours on a ring of theirs. */
enum { SALT = 0x5a17 };

uint64_t pk_share_key(uint64_t key, pk_slice text) {
  uint64_t h = pk_hash(SALT ^ key, text.data, text.size);
  h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
  h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
  return h ^ h >> 32;
}

uint32_t pk_share_at(const pk_split *shares, uint32_t count, uint64_t point) {
  uint32_t i = 0;
  for (; i + 1 < count && point >= shares[i].weight; i++) point -= shares[i].weight;
  return i;
}
