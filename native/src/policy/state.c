/* state.c: see state.h. */
#include "policy/state.h"

#include <stdlib.h>
#include <string.h>

pk_rule_state *pk_rule_state_new(uint32_t keys, uint64_t seed) {
  uint32_t sets = keys > 0 ? pk_bucket_sets(keys) : 0;
  size_t size = sizeof(pk_rule_state) + sets * sizeof(pk_bucket_set);
  void *memory = NULL;
  if (posix_memalign(&memory, alignof(pk_rule_state), size) != 0) return NULL;
  pk_rule_state *s = memset(memory, 0, size);
  s->seed = seed;
  s->mask = sets - 1;
  return s;
}

void pk_rule_state_free(pk_rule_state *s) {
  if (s != NULL) free(s->quotas);
  free(s);
}

int pk_rule_state_ask(pk_rule_state *s, uint32_t keys) {
  uint32_t sets = 1;
  while (sets * (uint64_t)PK_QUOTAS_A_SET < 2 * (uint64_t)keys) sets *= 2;
  size_t size = (size_t)sets * PK_QUOTAS_A_SET * sizeof *s->quotas;
  void *memory = NULL;
  if (posix_memalign(&memory, sizeof *s->quotas, size) != 0) return -1; /* each on a cache line */
  s->quotas = memset(memory, 0, size);
  s->quota_mask = sets - 1;
  return 0;
}

void pk_rule_state_say(pk_rule_state *s, uint64_t key, int64_t left, uint64_t now, uint64_t until) {
  if (s->quotas != NULL && until > now) pk_quota_say(pk_rule_quotas(s, key), key, left, now, until);
}

void pk_rule_state_took(pk_rule_state *s, uint32_t keys) { atomic_fetch_sub_explicit(&s->asking, keys, memory_order_relaxed); }

uint64_t pk_rule_state_count(const pk_rule_state *s, uint32_t decided) {
  return decided < PK_DECIDED_COUNT ? atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&s->decided[decided], memory_order_relaxed) : 0;
}
