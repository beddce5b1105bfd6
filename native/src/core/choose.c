/* choose.c: which cluster a request goes to: its share of a split, and what its headers name. */
#include "core/internal.h"
#include "policy/share.h"
#include "table/choice.h"
#include "wire/ask.h"

enum { SHOWN = 100 }; /* bytes of what a request says that an error repeats */

static void unreadable(pk_core *core, pk_request *r, pk_text header, int error) {
  const pk_table *t = r->to.live->table;
  pk_message m = {.size = 0};
  pk_message_add(&m, "protokit: rule ");
  pk_message_text(&m, t, r->plan->name);
  pk_message_add(&m, " goes by header ");
  pk_message_text(&m, t, header);
  pk_message_add(&m, " of the request, which cannot be read: ");
  pk_message_add(&m, error == PK_ERR_LIMIT         ? "there is more than the proxy reads"
                     : error == PK_ERR_UNSUPPORTED ? "its body is of a kind that the proxy does not know"
                                                   : "it is malformed");
  pk_request_fail(core, r, PK_STATUS_BAD_REQUEST, m.data, m.size);
}

/* By its client's address. */
static int key_of_source(const pk_core *core, const pk_request *r, uint64_t *key) {
  const pk_conn *client = pk_conn_find(core, r->to.client);
  if (client == NULL || !pk_address_is_known(client->source)) return PK_MORE;
  *key = pk_share_key(0, (pk_slice){client->source, PK_ADDRESS});
  return PK_OK;
}

/* The key of its share. PK_OK; PK_MORE: it has none; PK_ERR_*: it cannot be read. */
static int key_of(const pk_core *core, const pk_request *r, const uint8_t *data, const pk_frame *f, uint64_t *key) {
  const pk_sticky *by = &r->plan->sticky;
  if (by->by == PK_BY_SOURCE) return key_of_source(core, r, key);
  const pk_codec *codec = r->to.codec;
  pk_header h;
  pk_destination d = {.context = f->context};
  int result = by->by == PK_BY_HEADER ? pk_header_by_key(codec, data, f, pk_table_slice(r->to.live->table, by->header), &h)
                                      : codec->destination(codec, data, f, &d);
  if (result != PK_OK) return result == PK_ERR_UNSUPPORTED ? PK_MORE : result;
  pk_slice text = by->by == PK_BY_HEADER ? h.value : d.service;
  *key = pk_share_key(0, text);
  if (by->by == PK_BY_METHOD) *key = pk_share_key(*key, d.method);
  return text.size > 0 || by->by != PK_BY_HEADER ? PK_OK : PK_MORE;
}

/* Its share; NULL after it was answered. */
static const pk_split *share_of(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  const pk_plan *p = r->plan;
  const pk_split *shares = PK_AT(r->to.live->table, pk_split, r->to.live->table->splits.at) + p->split;
  if (p->split_count == 1 || p->split_total == 0) return shares;
  uint64_t key;
  int result = p->sticky.by == PK_BY_NONE ? PK_MORE : key_of(core, r, data, f, &key);
  if (result != PK_OK && result != PK_MORE) {
    unreadable(core, r, p->sticky.header, result);
    return NULL;
  }
  uint64_t point = result == PK_OK ? pk_share_point(key, p->split_total) : pk_random(core) % p->split_total;
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
    pk_message_text(&m, t, w->header);
    pk_message_add(&m, ")");
  }
  if (c->fixed.size > 0) pk_message_add(&m, ", ");
  pk_message_text(&m, t, c->fixed);
  pk_request_fail(core, r, PK_STATUS_NO_SERVICE, m.data, m.size);
}

/* What the headers name; PK_NONE after it was answered. What is no text is nothing that anybody has. */
static PK_RARE uint32_t chosen(pk_core *core, pk_request *r, const pk_choice *c, const uint8_t *data, const pk_frame *f) {
  const pk_table *t = r->to.live->table;
  pk_slice values[PK_CHOICE_WORDS];
  int all = 1;
  for (uint32_t i = 0; i < c->word_count; i++) {
    pk_text header = pk_choice_word_at(t, c, i)->header;
    pk_header h;
    int result = pk_header_by_key(r->to.codec, data, f, pk_table_slice(t, header), &h);
    if (result != PK_OK && result != PK_MORE) {
      unreadable(core, r, header, result);
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
