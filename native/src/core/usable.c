/* usable.c: which endpoints are usable, and what follows for their clusters: whether too few are (policy/panic.h), who of
 * them begins slowly (policy/slow_start.h), how many requests go to those that are preferred (policy/prefer.h). Looked
 * at once, at the end of a batch in which some endpoint became another. */
#include "core/internal.h"
#include "policy/prefer.h"

static int is_usable(const pk_core *core, const pk_endpoint *e) {
  const pk_health *h = &e->health;
  return !h->suspect && !h->unreached && !h->failing && !(h->ejected && core->now < e->outlier.until);
}

/* Whoever was not usable, or not there, begins slowly; but not all of a cluster that is new. */
static void begin(pk_core *core, uint32_t at) {
  const pk_table *t = core->live->table;
  const pk_table_cluster *c = pk_table_cluster_at(t, at);
  pk_cluster *of = core->live->of[at];
  if (c->subset.size > 0) return; /* its endpoints were those of the whole one */
  of->slow_until = 0;
  for (uint32_t i = 0; i < c->endpoint_count; i++) {
    const pk_table_endpoint *te = pk_table_endpoint_at(t, c->endpoints + i);
    pk_endpoint *e = core->endpoints[te->uid];
    uint8_t usable = te->weight > 0 && is_usable(core, e);
    if (usable && !e->usable && of->reviewed) e->slow = (pk_slow_start_state){.since = core->now};
    e->usable = usable;
    uint64_t until = e->slow.since == 0 ? 0 : e->slow.since + (uint64_t)c->slow_start.time * PK_MS;
    if (until > of->slow_until) of->slow_until = until;
  }
  of->reviewed = 1;
}

typedef struct weighed {
  uint64_t all, usable; /* weight */
  uint32_t count, usable_count;
} weighed;

static weighed weigh(const pk_core *core, const pk_table *t, uint32_t at) {
  const pk_table_cluster *c = pk_table_cluster_at(t, at);
  weighed w = {0};
  for (uint32_t i = 0; i < c->endpoint_count; i++) {
    const pk_table_endpoint *te = pk_table_endpoint_at(t, c->endpoints + i);
    int usable = te->weight > 0 && is_usable(core, core->endpoints[te->uid]);
    w.count += te->weight > 0;
    w.all += te->weight;
    w.usable_count += (uint32_t)usable;
    w.usable += usable ? te->weight : 0;
  }
  return w;
}

static void tell(pk_core *core, const pk_live *live, pk_op op) {
  op.token = live->token;
  if (live == core->live) pk_op_add(core, op);
}

static void panic(pk_core *core, pk_live *live, uint32_t at) {
  const pk_table_cluster *c = pk_table_cluster_at(live->table, at);
  if (c->panic == 0 && !live->panics[at]) return;
  weighed w = weigh(core, live->table, at);
  uint8_t panics = (uint8_t)pk_panics(w.usable_count, w.count, c->panic);
  if (panics == live->panics[at]) return;
  live->panics[at] = panics;
  tell(core, live, (pk_op){.op = PK_OP_PANIC, .arg = at, .size = panics, .data = w.usable_count, .codec = w.count});
}

static uint32_t told(uint32_t share) { return share == PK_PREFER_ALONE ? (uint32_t)PK_PREFER_ALL : share; }

/* Where too few are usable anywhere nobody is preferred. */
static void prefer(pk_core *core, pk_live *live, uint32_t at) {
  const pk_prefer *p = &pk_table_cluster_at(live->table, at)->prefer;
  uint32_t share = PK_PREFER_ALL;
  if (p->near != PK_NONE) {
    weighed near = weigh(core, live->table, p->near), far = weigh(core, live->table, p->far);
    share = live->panics[at] ? PK_PREFER_ALIKE : pk_prefer_share(near.usable, near.all, far.usable, far.all, p->healthy);
  }
  uint32_t was = live->prefers[at];
  live->prefers[at] = share;
  if (told(share) != told(was)) tell(core, live, (pk_op){.op = PK_OP_PREFER, .arg = at, .data = told(share)});
}

void pk_usable_review(pk_core *core) {
  const pk_live *newest = core->live;
  for (uint32_t i = 0; newest != NULL && i < newest->table->clusters.count; i++)
    if (newest->of[i]->changed) begin(core, i);
  for (pk_live *live = core->live; live != NULL; live = live->older) {
    for (uint32_t i = 0; i < live->table->clusters.count; i++) {
      if (!live->of[i]->changed) continue;
      panic(core, live, i);
      prefer(core, live, i);
      uint32_t time = pk_table_cluster_at(live->table, i)->slow_start.time;
      live->clusters[i].slow = time > 0 && live->of[i]->slow_until > core->now;
    }
  }
  for (pk_live *live = core->live; live != NULL; live = live->older)
    for (uint32_t i = 0; i < live->table->clusters.count; i++) live->of[i]->changed = 0;
  core->changed = 0;
}
