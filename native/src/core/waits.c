/* waits.c: what waits of each rule, by the rule's identity: requests of an older table count for the newest one, too, so that
 * however often the file is read again no more wait than may. */
#include <stdlib.h>

#include "core/internal.h"

static pk_waits **chain_of(pk_core *core, uint64_t identity) {
  return &core->waits[(identity * 0x9e3779b97f4a7c15u >> 32) & (core->waits_chains - 1)];
}

/* As many chains as rules, at least; without memory they stay longer. */
static void grow(pk_core *core) {
  uint32_t before = core->waits_chains;
  if (core->waits_count < before) return;
  pk_waits **old = core->waits, **all = calloc(before == 0 ? 16 : 2 * (size_t)before, sizeof *all);
  if (all == NULL) return;
  core->waits = all;
  core->waits_chains = before == 0 ? 16 : 2 * before;
  for (uint32_t i = 0; i < before; i++) {
    for (pk_waits *w = old[i], *next; w != NULL; w = next) {
      next = w->next;
      pk_waits **chain = chain_of(core, w->identity);
      w->next = *chain;
      *chain = w;
    }
  }
  free(old);
}

pk_waits *pk_waits_of(pk_core *core, uint64_t identity) {
  grow(core);
  if (core->waits_chains == 0) return NULL;
  pk_waits **chain = chain_of(core, identity), *w = *chain;
  while (w != NULL && w->identity != identity) w = w->next;
  if (w == NULL) {
    w = calloc(1, sizeof *w);
    if (w == NULL) return NULL;
    w->identity = identity;
    w->next = *chain;
    *chain = w;
    core->waits_count++;
  }
  w->tables++;
  return w;
}

void pk_waits_let_go(pk_core *core, pk_waits *w) {
  if (--w->tables > 0) return;
  pk_waits **at = chain_of(core, w->identity);
  while (*at != w) at = &(*at)->next;
  *at = w->next;
  core->waits_count--;
  free(w);
}

void pk_waits_free(pk_core *core) {
  for (uint32_t i = 0; i < core->waits_chains; i++) {
    for (pk_waits *w = core->waits[i], *next; w != NULL; w = next) {
      next = w->next;
      free(w);
    }
  }
  free(core->waits);
}
