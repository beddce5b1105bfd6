/* choose.c: which cluster a request goes to: its share of a split, and what its headers name. */
#include "core/internal.h"
#include "policy/share.h"
#include "table/choice.h"

enum { SHOWN = 100 }; /* bytes of what a request says that an error repeats */

/* `of`: a header, or what its key is of. */
static void unreadable(pk_core *core, pk_request *r, pk_key of, int error) {
  const pk_table *t = r->to.live->table;
  pk_message m = {.size = 0};
  pk_message_add(&m, "protokit: rule ");
  pk_message_text(&m, t, r->plan->name);
  pk_message_add(&m, " goes by ");
  for (uint32_t i = 0; i < of.count; i++) {
    const pk_origin *o = pk_table_origin_at(t, of.first + i);
    if (o->origin != PK_ORIGIN_HEADER) continue;
    pk_message_add(&m, "header ");
    pk_message_text(&m, t, o->name);
    pk_message_add(&m, " ");
  }
  pk_message_add(&m, "of the request, which cannot be read: ");
  pk_message_add(&m, error == PK_ERR_LIMIT         ? "there is more than the proxy reads"
                     : error == PK_ERR_UNSUPPORTED ? "its body is of a kind that the proxy does not know"
                                                   : "it is malformed");
  pk_request_fail(core, r, PK_STATUS_BAD_REQUEST, m.data, m.size);
}

/* Its share; NULL after it was answered. */
static const pk_split *share_of(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  const pk_plan *p = r->plan;
  const pk_split *shares = PK_AT(r->to.live->table, pk_split, r->to.live->table->splits.at) + p->split;
  if (p->split_count == 1 || p->split_total == 0) return shares;
  uint64_t key = PK_SHARE_SEED;
  int result = pk_question_key(r->to.live->table, pk_question_of(core, r, data, f), p->sticky, &key);
  if (result != PK_OK && result != PK_MORE) {
    unreadable(core, r, p->sticky, result);
    return NULL;
  }
  uint64_t point = result == PK_OK ? pk_share_point(pk_share_key(key), p->split_total) : pk_random(core) % p->split_total;
  return shares + pk_share_at(shares, p->split_count, point);
}

static void add_value(pk_message *m, pk_slice value) {
  pk_message_bytes(m, value.data, value.size < SHOWN ? value.size : SHOWN);
}

/* "no endpoint of cluster demo has version=v3 (header tag), zone=a"; "rule r[0] leads to no cluster of that name: b (header
 * x-cluster)" */
static void says_none(pk_core *core, pk_request *r, const pk_choice *c, const pk_slice *values) {
  const pk_table *t = r->to.live->table;
  int subset = c->cluster.size > 0;
  pk_message m = {.size = 0};
  pk_message_add(&m, subset ? "protokit: no endpoint of cluster " : "protokit: rule ");
  pk_message_text(&m, t, subset ? c->cluster : r->plan->name);
  pk_message_add(&m, subset ? " has " : " leads to no cluster of that name: ");
  for (uint32_t i = 0; i < c->word_count; i++) {
    const pk_choice_word *w = pk_choice_word_at(t, c, i);
    if (i > 0) pk_message_add(&m, ", ");
    if (subset) pk_message_text(&m, t, w->name);
    if (subset) pk_message_add(&m, "=");
    add_value(&m, values[i]);
    pk_message_add(&m, values[i].data == NULL ? "(none: the request has no header " : " (header ");
    pk_message_text(&m, t, pk_table_origin_at(t, w->of)->name);
    pk_message_add(&m, ")");
  }
  if (c->fixed.size > 0) pk_message_add(&m, ", ");
  pk_message_text(&m, t, c->fixed);
  pk_request_fail(core, r, PK_STATUS_NO_SERVICE, m.data, m.size);
}

/* What the headers name; PK_NONE after it was answered. What is no text is nothing that anybody has. */
static PK_RARE uint32_t chosen(pk_core *core, pk_request *r, const pk_choice *c, const uint8_t *data, const pk_frame *f) {
  const pk_table *t = r->to.live->table;
  pk_question *q = pk_question_of(core, r, data, f);
  pk_slice values[PK_CHOICE_WORDS];
  int all = 1;
  for (uint32_t i = 0; i < c->word_count; i++) {
    uint32_t of = pk_choice_word_at(t, c, i)->of;
    pk_header h;
    int result = pk_question_value(t, q, pk_table_origin_at(t, of), &h);
    if (result != PK_OK && result != PK_MORE) {
      unreadable(core, r, (pk_key){of, 1}, result);
      return PK_NONE;
    }
    all = all && result == PK_OK && !h.raw;
    values[i] = result == PK_OK ? h.value : (pk_slice){NULL, 0};
  }
  uint32_t cluster = all ? pk_choice_find(t, c, values) : PK_NONE;
  if (cluster == PK_NONE) cluster = c->otherwise;
  if (cluster == PK_NONE) says_none(core, r, c, values);
  return cluster;
}

static PK_RARE int by_request(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  const pk_split *share = share_of(core, r, data, f);
  if (share == NULL) return 0;
  r->to.cluster = share->choice == PK_NONE ? share->cluster
                                           : chosen(core, r, pk_table_choice_at(r->to.live->table, share->choice), data, f);
  return r->to.cluster != PK_NONE;
}

int pk_choose_cluster(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  if (r->plan->features & (PK_F_SPLIT | PK_F_CHOICE)) return by_request(core, r, data, f);
  r->to.cluster = r->plan->cluster;
  return 1;
}
