/* events.c: what goes up to the deciding side; what must not be lost waits while the ring is full. */
#include <string.h>
#include <unistd.h>

#include "driver/parts.h"

int pk_event_put(pk_worker *w, const pk_op *op) {
  if (w->late_count == 0 && pk_ring_put(&w->events, op) == 0) return 0;
  return -1;
}

void pk_event_drop(const pk_op *op) {
  if (op->op != PK_EVENT_BRIDGE) return;
  close((int)op->data);
  close((int)op->size);
}

void pk_event_keep(pk_worker *w, const pk_op *op) {
  if (pk_event_put(w, op) == 0) return;
  if (w->late_count == w->late_capacity) {
    uint32_t capacity = w->late_capacity < 64 ? 64 : 2 * w->late_capacity;
    pk_op *late = realloc(w->late, capacity * sizeof *late);
    if (late == NULL) {
      PK_STAT_ADD(((pk_stats *)pk_core_stats(w->core))->events_lost, 1);
      pk_event_drop(op);
      return;
    }
    w->late = late;
    w->late_capacity = capacity;
  }
  w->late[w->late_count++] = *op;
}

void pk_events_late(pk_worker *w) {
  uint32_t sent = 0;
  while (sent < w->late_count && pk_ring_put(&w->events, &w->late[sent]) == 0) sent++;
  w->late_count -= sent;
  if (sent > 0 && w->late_count > 0)
    memmove(w->late, w->late + sent, w->late_count * sizeof *w->late);
}
