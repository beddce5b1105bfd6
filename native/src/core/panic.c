/* panic.c: which clusters have too few usable endpoints (policy/panic.h): looked at once, at the end of a batch in which
 * some endpoint became another. */
#include "core/internal.h"

static int is_usable(const pk_core *core, const pk_endpoint *e) {
  const pk_health *h = &e->health;
  return !h->suspect && !h->unreached && !h->failing && !(h->ejected && core->now < e->outlier.until);
}

static void review(pk_core *core, pk_live *live, uint32_t at) {
  const pk_table_cluster *c = pk_table_cluster_at(live->table, at);
  if (c->panic == 0 && !live->panics[at]) return;
  uint32_t all = 0, usable = 0;
  for (uint32_t i = 0; i < c->endpoint_count; i++) {
    const pk_table_endpoint *te = pk_table_endpoint_at(live->table, c->endpoints + i);
    if (te->weight == 0) continue;
    all++;
    usable += (uint32_t)is_usable(core, core->endpoints[te->uid]);
  }
  uint8_t panics = (uint8_t)pk_panics(usable, all, c->panic);
  if (panics == live->panics[at]) return;
  live->panics[at] = panics;
  if (live == core->live)
    pk_op_add(core, (pk_op){.op = PK_OP_PANIC, .arg = at, .token = live->token, .size = panics, .data = usable, .codec = all});
}

void pk_panics_review(pk_core *core) {
  for (pk_live *live = core->live; live != NULL; live = live->older)
    for (uint32_t i = 0; i < live->table->clusters.count; i++)
      if (live->of[i]->changed) review(core, live, i);
  for (pk_live *live = core->live; live != NULL; live = live->older)
    for (uint32_t i = 0; i < live->table->clusters.count; i++) live->of[i]->changed = 0;
  core->changed = 0;
}
