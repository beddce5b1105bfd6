/* ends.c: what became of requests, for filters that keep accounts of them.
 *
 * What is known of a request when it comes is kept beside its record, and what becomes of it is added where that is known;
 * its end puts it into a ring that the deciding side empties when it has time. Where the ring is full it is dropped and
 * counted: whoever reads slowly, or never, costs the requests nothing. */
#include <stdlib.h>

#include "core/internal.h"

enum { RING = 2048 };

int pk_ends_prepare(pk_core *core, const pk_table *t) {
  uint32_t i = 0;
  while (i < t->plans.count && pk_table_plan_at(t, i)->ends == PK_NONE) i++;
  if (i < t->plans.count && core->ends == NULL) core->ends = pk_ring_new(RING, sizeof(pk_end));
  return i < t->plans.count && core->ends == NULL ? -1 : 0;
}

uint32_t pk_core_take_ends(pk_core *core, pk_end *out, uint32_t max) {
  return core->ends == NULL ? 0 : pk_ring_take(core->ends, out, max);
}

static pk_end *end_of(const pk_core *core, const pk_request *r) {
  return (pk_end *)(void *)pk_page_at(&core->ending, r->index, sizeof(pk_end));
}

/* A text behind those that it has, as much as there is room for; its size. */
static uint16_t put(pk_end *e, pk_slice text, uint32_t most) {
  uint32_t at = (uint32_t)e->service + e->method + e->reason, room = PK_END_TEXT - at;
  uint32_t size = text.size < most ? text.size : most;
  if (size > room) size = room;
  if (size > 0) memcpy(e->text + at, text.data, size);
  return (uint16_t)size;
}

static pk_slice value(pk_core *core, const pk_request *r, const uint8_t *data, const pk_frame *f, uint32_t origin) {
  pk_header h;
  const pk_origin of = {.origin = origin};
  return pk_question_value(r->to.live->table, pk_question_of(core, r, data, f), &of, &h) == PK_OK ? h.value : (pk_slice){NULL, 0};
}

/* Its first step. */
static int note(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  pk_end *e = (pk_end *)(void *)pk_page_room(&core->ending, r->index, sizeof *e);
  if (e == NULL) {
    PK_STAT_ADD(core->stats.ends_lost, 1);
    return PK_STEP_ON;
  }
  *e = (pk_end){.token = r->to.live->token, .began = r->started, .asked = f->says & PK_SAYS_HALF ? f->need : f->size,
                .chain = r->plan->ends, .cluster = PK_NONE, .endpoint = PK_NONE, .oneway = r->to.oneway, .status = PK_STATUS_COUNT};
  e->service = put(e, value(core, r, data, f, PK_ORIGIN_SERVICE), PK_END_SERVICE);
  e->method = put(e, value(core, r, data, f, PK_ORIGIN_METHOD), PK_END_METHOD);
  r->parts |= PK_PART_TOLD;
  return PK_STEP_ON;
}

const pk_plan_step pk_note_step = {.run = note};

void pk_ends_tried(const pk_core *core, const pk_request *r, const pk_attempt *a) { end_of(core, r)->endpoint = a->endpoint->uid; }

void pk_ends_answered(const pk_core *core, const pk_request *r, const pk_attempt *a, const pk_frame *f) {
  pk_end *e = end_of(core, r);
  e->endpoint = a->endpoint->uid;
  e->status = f->status;
  e->answered = (f->says & PK_SAYS_HALF ? f->need : f->size) + ((r->parts & PK_PART_CAME) ? e->answered : 0);
}

void pk_ends_failed(const pk_core *core, const pk_request *r, uint32_t status, const char *text, size_t size) {
  pk_end *e = end_of(core, r);
  e->status = status;
  e->answered = 0;
  e->reason = 0;
  e->reason = put(e, (pk_slice){(const uint8_t *)text, (uint32_t)size}, PK_END_TEXT);
}

void pk_ends_tell(pk_core *core, const pk_request *r) {
  static const char left[] = "protokit: its client left";
  pk_end *e = end_of(core, r);
  if (e->status == PK_STATUS_COUNT && !e->oneway) pk_ends_failed(core, r, PK_STATUS_COUNT, left, sizeof left - 1);
  e->took = core->now - e->began;
  e->cluster = r->to.cluster;
  if (pk_ring_put(core->ends, e) != 0) PK_STAT_ADD(core->stats.ends_lost, 1);
}
