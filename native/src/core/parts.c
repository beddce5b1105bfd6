/* parts.c: answers that come in parts (PK_SAYS_MORE): a stream lives as long as it goes on. */
#include "core/internal.h"

/* Its client has a part of this attempt's answer: no other one counts, and it is not asked again. */
static void settle_for(pk_core *core, pk_request *r, pk_attempt *a) {
  pk_attempt_partly(core, r, a);
  if (r->held != NULL && (r->plan->features & PK_F_HEDGE)) pk_hedge_over(core, r);
  r->parts |= PK_PART_CAME;
  for (uint32_t i = r->attempt; i != PK_NONE;) {
    pk_attempt *other = pk_attempt_at(core, i);
    i = other->sibling;
    if (other != a) pk_attempt_end(core, r, other, PK_ATTEMPT_GIVEN_UP);
  }
  pk_held_free(core, pk_request_unhold(core, r));
}

void pk_parts_answer(pk_core *core, pk_conn *c, pk_request *r, pk_attempt *a, const uint8_t *data, const pk_frame *f) {
  PK_STAT_ADD(core->stats.parts, (f->says & PK_SAYS_MORE) || (r->parts & PK_PART_CAME));
  if (f->says & PK_SAYS_MORE) {
    if (!a->parts) settle_for(core, r, a);
    /* Without ids the answer to a client that has left is heard to its end, but has no more time than it had. */
    const pk_conn *client = pk_conn_find(core, r->to.client);
    if (client == NULL || !pk_conn_writes(client)) return;
    r->started = core->now;
    pk_timer_start(&core->wheel, &r->timer, pk_request_deadline(r));
    if (r->timer.due > c->deadline) c->deadline = r->timer.due;
  } else if (f->status > PK_STATUS_APP_ERROR) {
    pk_attempt_end(core, r, a, pk_attempt_refused(f->status));
  }
  pk_request_answer(core, r, data, f);
}
