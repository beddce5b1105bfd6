/* key.c: the key that a cluster with consistent hashing sends a request by. */
#include "base/hash.h"
#include "core/internal.h"
#include "table/consistent.h"
#include "wire/ask.h"

static uint64_t of_header(const pk_table *t, pk_text name, const pk_codec *codec, const uint8_t *data, const pk_frame *f) {
  pk_header found;
  return pk_header_by_key(codec, data, f, pk_table_slice(t, name), &found) == PK_OK ? pk_consistent_key(0, found.value.data, found.value.size) : 0;
}

static uint64_t of_destination(uint32_t by, const pk_codec *codec, const uint8_t *data, const pk_frame *f) {
  pk_destination d = {.context = f->context};
  if (codec->destination(codec, data, f, &d) != PK_OK) return 0;
  uint64_t service = pk_consistent_key(0, d.service.data, d.service.size);
  return by == PK_HASH_BY_SERVICE ? service : pk_consistent_key(service, d.method.data, d.method.size);
}

/* What has none goes anywhere by weight. */
static int run(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  if (r->to.cluster == PK_NONE && !pk_choose_cluster(core, r, data, f)) return PK_STEP_OVER;
  const pk_table *t = r->to.live->table;
  const pk_table_cluster *c = pk_table_cluster_at(t, r->to.cluster);
  switch (c->hash.by) {
    case PK_HASH_BY_NONE: break;
    case PK_HASH_BY_SOURCE: r->to.hash = pk_key_of_client(core, c, r->to.client); break;
    case PK_HASH_BY_HEADER: r->to.hash = of_header(t, c->hash.header, r->to.codec, data, f); break;
    default: r->to.hash = of_destination(c->hash.by, r->to.codec, data, f); break;
  }
  return PK_STEP_ON;
}

const pk_plan_step pk_key_step = {.run = run}; /* nothing waits at it */
