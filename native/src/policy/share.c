/* share.c: see share.h. */
#include "policy/share.h"

uint64_t pk_share_key(uint64_t h) {
  h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
  h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
  return h ^ h >> 32;
}

uint32_t pk_share_at(const pk_split *shares, uint32_t count, uint64_t point) {
  uint32_t i = 0;
  for (; i + 1 < count && point >= shares[i].weight; i++) point -= shares[i].weight;
  return i;
}
