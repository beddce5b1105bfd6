/* asked.c: what is known of the request that is being handled: each of its values is read once, whoever asks. */
#include "core/internal.h"
#include "table/consistent.h"

pk_question *pk_question_of(pk_core *core, const pk_request *r, const uint8_t *data, const pk_frame *f) {
  if (core->questioned == pk_request_handle(r) && core->question.data == data) return &core->question;
  const pk_conn *client = pk_conn_find(core, r->to.client);
  const pk_table_listener *l = client == NULL ? NULL : pk_listener_of(r->to.live->table, client);
  return pk_question_begin(core, client, l, r, data, f);
}

uint64_t pk_key_of(pk_question *q, const pk_table *t, const pk_table_cluster *c) {
  uint64_t key = 0;
  return pk_question_key(t, q, c->hash, &key) == PK_OK ? pk_consistent_key(key) : 0;
}

void pk_question_over(pk_core *core) { core->questioned = 0; }
