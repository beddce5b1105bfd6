/* delay.c: requests that wait for a time before they go on. No configuration asks for it yet: tests do. */
#include "core/internal.h"

static int delay(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  uint64_t due = core->now / PK_MS + 1 + r->plan->delay_ms;
  if (r->held == NULL && pk_request_hold(core, r, data, f) != 0) {
    static const char text[] = "protokit: overloaded: buffers of this worker are full";
    pk_request_fail(core, r, PK_STATUS_OVERLOADED, text, sizeof text - 1);
    return PK_STEP_OVER;
  }
  r->state = PK_REQUEST_WAITING;
  pk_codec_hold(r->to.codec); /* a one-way request outlives its client */
  if (due < r->timer.due) pk_timer_start(&core->wheel, &r->timer, due);
  return PK_STEP_WAITS;
}

static void due(pk_core *core, pk_request *r) {
  const pk_codec *codec = r->to.codec;
  if (core->now / PK_MS >= pk_request_deadline(r)) {
    pk_request_late(core, r, "protokit: its delay was not over", NULL, r->timeout_ms);
  } else {
    pk_request_go_on(core, r);
    pk_codec_release(codec);
  }
}

static void cancel(pk_core *core, pk_request *r) {
  (void)core;
  pk_codec_release(r->to.codec);
}

const pk_plan_step pk_delay_step = {.run = delay, .due = due, .cancel = cancel};
