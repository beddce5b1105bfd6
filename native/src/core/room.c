/* room.c: who pays where the budget of a worker's buffers is used up: whoever holds most, first.
 *
 * That are clients that do not take their answers, send large frames by halves, or ask what has to wait: their requests'
 * bytes, and answers behind one that is not there yet; with a connection of their own, also what its server does not take.
 * They pay as soon as nobody is at work on a connection, in the middle of a batch, and what they held is free at once: who
 * comes behind them in the same batch has room. */
#include "core/internal.h"

/* Each look goes through all connections: so many a batch, and of each so many pay at most. */
enum { LOOKS = 16, PAYERS = 16 };

static void let_go(pk_core *core, pk_conn *c) {
  pk_out_free(core, c);
  pk_chunk_free(core, c->in);
  c->in = NULL;
}

static uint64_t queues(const pk_conn *c) { return c->out_bytes + (c->in == NULL ? 0 : c->in->capacity); }

/* The other side of a client that is passed on. */
static pk_conn *peer_of(const pk_core *core, const pk_conn *c) { return c->peer == 0 ? NULL : pk_conn_find(core, c->peer); }

static uint64_t holds(const pk_core *core, const pk_conn *c) {
  const pk_conn *peer = peer_of(core, c);
  uint64_t bytes = queues(c) + c->held + (peer == NULL ? 0 : queues(peer));
  for (const pk_conn *own = c->own; own != NULL; own = own->own_next) bytes += queues(own);
  return bytes;
}

/* Those that hold most, the first of all first. */
static int look(const pk_core *core, pk_conn **most) {
  uint64_t held[PAYERS];
  int count = 0;
  for (uint32_t i = 0; i < core->conn_count; i++) {
    pk_conn *c = core->conns[i];
    if (!pk_conn_writes(c) || !pk_conn_is_client(c)) continue;
    uint64_t bytes = holds(core, c);
    if (bytes <= (count < PAYERS ? PK_CHUNK : held[PAYERS - 1])) continue;
    if (count < PAYERS) count++;
    int at = count - 1;
    for (; at > 0 && held[at - 1] < bytes; at--) {
      held[at] = held[at - 1];
      most[at] = most[at - 1];
    }
    held[at] = bytes;
    most[at] = c;
  }
  return count;
}

static void pay(pk_core *core, pk_conn *c) {
  pk_conn *peer = peer_of(core, c), *next;
  for (pk_conn *own = c->own; own != NULL; own = next) { /* else what the client said is written all the same */
    next = own->own_next;
    if (pk_conn_is_opening(own) || own->out_bytes == 0) continue;
    pk_conn_drop(core, own, PK_LOST_BUDGET, 0);
    let_go(core, own);
  }
  PK_STAT_ADD(core->stats.closed_over_budget, 1);
  pk_conn_close(core, c, 1);
  if (c->held > 0) pk_request_drop_oneway(core, c);
  let_go(core, c);
  if (peer == NULL) return;
  pk_conn_close(core, peer, 1);
  let_go(core, peer);
}

void pk_make_room(pk_core *core) {
  uint64_t budget = core->limits.buffer, goal = budget - budget / 8;
  int refused = core->short_of_memory > 1;
  core->short_of_memory = 0;
  for (uint32_t i = 0; i < core->graveyard.count; i++) let_go(core, core->conns[core->graveyard.items[i]]);
  if (!refused && core->buffered <= budget) return; /* it was over it for a moment */
  while (core->buffered > goal && core->looks < LOOKS) {
    pk_conn *most[PAYERS];
    int count = look(core, most);
    core->looks++;
    for (int i = 0; i < count && core->buffered > goal; i++)
      if (pk_conn_writes(most[i])) pay(core, most[i]);
    if (count > 0) continue;
    core->full = core->buffered > budget;
    return;
  }
}
