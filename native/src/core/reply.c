/* reply.c: a rule that answers its requests itself. */
#include "core/internal.h"

static int reply(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  (void)data;
  (void)f;
  const pk_own_reply *with = &r->plan->reply;
  pk_request_fail(core, r, with->status, pk_table_text_at(r->to.live->table, with->text), with->text.size);
  return PK_STEP_OVER;
}

const pk_plan_step pk_reply_step = {.run = reply};
