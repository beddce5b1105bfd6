/* asked.c: what is known of the request that is being handled: each of its values is read once, whoever asks. */
#include "core/internal.h"
#include "table/consistent.h"

pk_question *pk_question_begin(pk_core *core, const pk_conn *client, const pk_request *r, const uint8_t *data,
                               const pk_frame *f) {
  pk_question *q = &core->question;
  q->codec = r->to.codec;
  q->data = data;
  q->frame = f;
  q->listener = client == NULL ? NULL : pk_listener_of(r->to.live->table, client);
  q->source = client == NULL ? NULL : client->source;
  q->led = q->blank = q->asked = 0;
  q->error = 0;
  q->to = (pk_destination){.context = f->context};
  core->questioned = pk_request_handle(r);
  return q;
}

pk_question *pk_question_of(pk_core *core, const pk_request *r, const uint8_t *data, const pk_frame *f) {
  if (core->questioned == pk_request_handle(r) && core->question.data == data) return &core->question;
  return pk_question_begin(core, pk_conn_find(core, r->to.client), r, data, f);
}

uint64_t pk_key_of(pk_question *q, const pk_table *t, const pk_table_cluster *c) {
  uint64_t key = 0;
  return pk_question_key(t, q, c->hash, &key) == PK_OK ? pk_consistent_key(key) : 0;
}

void pk_question_over(pk_core *core) { core->questioned = 0; }
