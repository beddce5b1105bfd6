/* key.c: the key that a cluster with consistent hashing sends a request by. */
#include "core/internal.h"

/* What has none goes anywhere by weight. */
static int run(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  if (r->to.cluster == PK_NONE && !pk_choose_cluster(core, r, data, f)) return PK_STEP_OVER;
  const pk_table *t = r->to.live->table;
  const pk_table_cluster *c = pk_table_cluster_at(t, r->to.cluster);
  if (c->hash.count > 0) r->to.hash = pk_key_of(pk_question_of(core, r, data, f), t, c);
  return PK_STEP_ON;
}

const pk_plan_step pk_key_step = {.run = run}; /* nothing waits at it */
