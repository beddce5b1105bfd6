/* halves.c: large frames that are passed on before they are whole (PK_SAYS_HALF), between a client and a connection of
 * its own.
 *
 * The head is handled as the beginning of a message in pieces; the rest, so many bytes (pk_conn.skip), needs no framing
 * and follows it as it comes. Whoever gets it has half a frame meanwhile: what else is for him waits behind the seal in
 * his output (memory.c). */
#include "core/internal.h"

typedef struct half {
  pk_frame frame; /* as its head was framed; an id that is a byte string stands at `id` */
  uint64_t key;
  uint8_t id[PK_ID_MAX];
} half;

static half *half_of(const pk_conn *c) { return (half *)(void *)c->half->data; }

static int is_own(const pk_core *core, const pk_conn *client) {
  const pk_table_listener *l = pk_listener_of(pk_conn_live(core, client)->table, client);
  return client->pinned || (l != NULL && l->pinned);
}

/* Arguments stand in what is not there yet. */
static int asks_arguments(const pk_core *core, const pk_conn *client) {
  const pk_table_listener *l = pk_listener_of(pk_conn_live(core, client)->table, client);
  return l != NULL && l->depth == PK_DEPTH_ARGUMENTS;
}

static int may_pass(const pk_core *core, const pk_conn *c) {
  if (c->state != PK_CONN_OPEN || core->shutdown) return 0;
  if (pk_conn_is_client(c))
    return !asks_arguments(core, c) && c->greeting == 0 && is_own(core, c) && (c->partial_count == 0 || c->codec->mode == PK_MODE_MULTIPLEXED);
  const pk_conn *client = c->pinned ? pk_conn_find(core, c->peer) : NULL;
  return client != NULL && pk_conn_writes(client) && client->seal == NULL;
}

/* Whether its rest has somewhere to go: with a client's request, or to who waits for that answer now. */
static int leads_on(const pk_core *core, const pk_conn *c, const uint8_t *data, const pk_frame *f) {
  if (f->says & PK_SAYS_MORE) return 0;
  if (pk_conn_is_client(c)) return f->kind == PK_KIND_REQUEST || f->kind == PK_KIND_ONEWAY;
  if (f->kind != PK_KIND_RESPONSE || f->status > PK_STATUS_APP_ERROR || !pk_slots_in_step(c, data, f->size, f)) return 0;
  uint32_t index = pk_slots_find(core, c, data, f->size, f);
  const pk_request *r = index == PK_NONE ? NULL : pk_request_find(core, pk_attempt_at(core, index)->request);
  const pk_conn *client = r == NULL || (r->parts & (PK_PART_SEEN | PK_PART_SET)) ? NULL : pk_conn_find(core, r->to.client); /* they see it whole */
  return client != NULL && pk_conn_writes(client) && (c->codec->mode == PK_MODE_MULTIPLEXED || client->requests == r);
}

static int frame(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, pk_frame *f) {
  if (!may_pass(core, c)) return PK_MORE;
  pk_frame front = {.need = (uint32_t)size + 1, .from = f->from, .halves = 1};
  int result = pk_conn_frame(core, c, data, size, &front);
  if (result == PK_MORE && front.need < f->need) f->need = front.need;
  if (result != PK_OK) return PK_MORE;
  if (front.says & PK_SAYS_HALF && front.size == size && front.need > size && leads_on(core, c, data, &front)) {
    front.says |= PK_SAYS_MORE;
    *f = front;
    return PK_OK;
  }
  *f = (pk_frame){.need = (uint32_t)size + 1, .from = f->from}; /* what framing remembers is of the next one already */
  return pk_conn_frame(core, c, data, size, f);
}

static void begin(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  c->skip = f->need - f->size;
  if (!pk_conn_reads(c)) return; /* it was refused: the rest is dropped */
  c->half = pk_chunk_exact(core, sizeof(half));
  if (c->half == NULL) {
    pk_conn_drop(core, c, PK_LOST_BUDGET, 0);
    return;
  }
  half *h = half_of(c);
  *h = (half){.frame = *f, .key = pk_id_key(c, data, f)};
  if (c->named) {
    pk_slice id = pk_id_of(c->codec, data, f, f->size);
    h->frame.id_span = (pk_span){id.data == NULL ? PK_NO_ID : 0, id.size};
    if (id.data != NULL) memcpy(h->id, id.data, id.size);
  }
  c->frame_since = core->now;
  c->frame_until = c->deadline;
  pk_conn_timer(core, c);
}

static size_t pass(pk_core *core, pk_conn *c, const uint8_t *data, size_t size) {
  half *h = half_of(c);
  pk_frame f = h->frame;
  f.kind = PK_KIND_PIECE;
  f.size = size < c->skip ? (uint32_t)size : c->skip;
  c->skip -= f.size;
  c->frame_since = c->skip > 0 ? core->now : 0;
  f.says = c->skip > 0 ? PK_SAYS_HALF | PK_SAYS_MORE : PK_SAYS_HALF;
  c->kind->rest(core, c, data, &f, h->id, h->key);
  if (c->skip > 0) return f.size;
  pk_chunk_free(core, c->half);
  c->half = NULL;
  if ((c->leaving & PK_LEAVE_LAST) && pk_conn_reads(c)) c->kind->last(core, c);
  return f.size;
}

const pk_halves pk_of_halves = {.frame = frame, .begin = begin, .pass = pass};

void pk_half_cut(pk_core *core, pk_conn *client) {
  pk_handle request;
  pk_conn *to = pk_pieces_cut(core, client, half_of(client)->key, &request);
  pk_chunk_free(core, client->half);
  client->half = NULL;
  pk_request *r = pk_request_find(core, request);
  if (client->state == PK_CONN_CLOSED) {
    if (to != NULL) pk_out_cut(core, to); /* and what was said in front is written */
    if (to == NULL && r != NULL && r->to.oneway) {
      PK_STAT_ADD(core->stats.requests_client_gone, 1);
      pk_request_end(core, r);
    }
  } else if (to != NULL) {
    pk_conn_drop(core, to, PK_LOST_CUT, 0);
  } else if (r != NULL) {
    static const char text[] = "protokit: the client left off in the middle of this request";
    pk_request_fail(core, r, PK_STATUS_BAD_REQUEST, text, sizeof text - 1);
  }
}
