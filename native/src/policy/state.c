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

void pk_rule_state_free(pk_rule_state *s) { free(s); }

uint64_t pk_rule_state_count(const pk_rule_state *s, uint32_t decided) {
  return decided < PK_DECIDED_COUNT ? atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&s->decided[decided], memory_order_relaxed) : 0;
}
