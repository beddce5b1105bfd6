/* conn.c: connections: handles, reading, framing, timers, closing. */
#include "core/internal.h"

/* So many bytes of a frame are looked at again whenever one more comes, although the codec asked for
 * more at once: what cannot be the protocol is refused at the first wrong byte. */
enum { FRONT = 32 };
enum { MAX_RECV = 256 * 1024, MIN_ROOM = 4096 };
/* How long a client that is being closed may be silent before it has closed its side, too. */
enum { LINGER_MS = 1000 };

static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }

static void op(pk_core *core, const pk_conn *c, uint32_t what, uint32_t arg) {
  pk_op_add(core, (pk_op){.op = what, .arg = arg, .handle = pk_conn_handle(c)});
}

void pk_conn_ready(pk_core *core, pk_conn *c) {
  if (!c->ready && pk_list_add(&core->ready, c->index) == 0) c->ready = 1;
}

static uint32_t input_size(const pk_conn *c) { return c->in == NULL ? 0 : c->in->end - c->in->start; }

/* Whether its buffered input may hold a whole frame that is not handled yet. */
static int input_pending(const pk_conn *c) {
  return input_size(c) > 0 && input_size(c) >= c->in_need;
}

void pk_conn_touch(pk_core *core, pk_conn *c) {
  if (c->eof || c->state == PK_CONN_DROPPING || c->read_off || c->leaving || input_pending(c)) pk_conn_ready(core, c);
}

/* No more of its input is handled now. */
static int blocked(const pk_conn *c) {
  return (c->flow & PK_FLOW_STOPS) || (c->serial && c->in_flight > 0 && c->partial_count == 0) ||
         (c->in_turn && c->requests != NULL);
}

/* Whose answers come in order hears of this one when all that was asked before is answered. */
static int waits_its_turn(const pk_conn *c, const pk_frame *f) {
  return f->kind == PK_KIND_HEARTBEAT && c->requests != NULL && c->partial_count == 0 &&
         c->codec->mode != PK_MODE_MULTIPLEXED;
}

int pk_conn_is_stuck(const pk_conn *c) { return blocked(c) && (input_pending(c) || c->ending); }

/* Room for `extra` bytes behind the kept input. It grows with what has arrived (four times at
 * most), never straight to the length that a peer announced. */
static int input_room(pk_core *core, pk_conn *c, uint32_t extra) {
  pk_chunk *in = c->in;
  if (in != NULL && in->capacity - in->end >= extra) return 0;
  uint32_t kept = input_size(c), want = kept + extra;
  if (in != NULL && in->start >= kept && in->capacity - kept >= extra) {
    memcpy(in->data, in->data + in->start, kept);
    in->start = 0;
    in->end = kept;
    return 0;
  }
  uint32_t ahead = c->in_need < 4 * (uint64_t)kept ? c->in_need : 4 * kept;
  if (ahead <= want) ahead = 2 * kept; /* how much comes is not known: it is not moved for every piece */
  pk_chunk *bigger = pk_chunk_new(core, want > ahead ? want : ahead, !pk_conn_is_client(c));
  if (bigger == NULL) return -1;
  if (kept > 0) memcpy(bigger->data, in->data + in->start, kept);
  bigger->end = kept;
  pk_chunk_free(core, in);
  c->in = bigger;
  return 0;
}

/* Nobody is at work on a request: who holds most can pay for it, which may be this one. */
static PK_RARE int input_room_at_last(pk_core *core, pk_conn *c, uint32_t extra) {
  core->make_room(core);
  return c->state == PK_CONN_CLOSED ? -1 : input_room(core, c, extra);
}

static PK_RARE void over_budget(pk_core *core, pk_conn *c) {
  if (c->state == PK_CONN_CLOSED) return; /* it has paid */
  PK_STAT_ADD(core->stats.closed_over_budget, 1);
  pk_conn_drop(core, c, PK_LOST_BUDGET, 0);
}

void pk_conn_read_off(pk_core *core, pk_conn *c) {
  if (c->read_off) return;
  c->read_off = 1;
  op(core, c, PK_OP_PAUSE, 0);
}

void pk_conn_read_on(pk_core *core, pk_conn *c) {
  c->read_off = 0;
  op(core, c, PK_OP_RESUME, 0);
}

/* What it sends is read, and dropped. */
static int drops_input(const pk_conn *c) { return c->state == PK_CONN_DROPPING || c->state == PK_CONN_LINGERING; }

static int hears(const pk_conn *c) { return !c->eof && (pk_conn_reads(c) || drops_input(c)); }

uint8_t *pk_core_buffer(pk_core *core, pk_handle h, size_t *size) {
  pk_conn *c = pk_conn_find(core, h);
  if (c == NULL || !hears(c) || (c->read_off && pk_conn_is_pair(c))) return NULL;
  uint32_t kept = input_size(c);
  if (kept == 0 || drops_input(c)) {
    *size = sizeof core->scratch;
    return core->scratch;
  }
  if (c->ready || blocked(c)) {
    pk_conn_read_off(core, c);
    return NULL;
  }
  /* A small partial frame goes to the front of the scratch space: the read behind it stays large. */
  if (kept + MIN_ROOM <= PK_READ && c->in_need <= sizeof core->scratch) {
    memcpy(core->scratch, c->in->data + c->in->start, kept);
    *size = sizeof core->scratch - kept;
    return core->scratch + kept;
  }
  uint32_t extra = c->in_need > kept ? c->in_need - kept : 1;
  if (extra > PK_READ) extra = PK_READ;
  if (extra < MIN_ROOM) extra = MIN_ROOM;
  if (input_room(core, c, extra) != 0 && input_room_at_last(core, c, extra) != 0) {
    over_budget(core, c);
    return NULL;
  }
  *size = c->in->capacity - c->in->end;
  if (*size > MAX_RECV) *size = MAX_RECV;
  return c->in->data + c->in->end;
}

/* Read on, but only to drop it: closing a socket with unread bytes resets it, which can take the answers along that
 * its client has not read yet. */
static void drop_input(pk_core *core, pk_conn *c, uint8_t state) {
  c->state = state;
  c->frame_since = 0;
  c->ending = 0;
  if (c->read_off && !c->eof) pk_conn_read_on(core, c);
}

void pk_conn_drop_input(pk_core *core, pk_conn *c) { drop_input(core, c, PK_CONN_DROPPING); }

int pk_conn_keep(pk_core *core, pk_conn *c, const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  uint32_t extra = (uint32_t)size;
  if (size > UINT32_MAX / 8 || (input_room(core, c, extra) != 0 && input_room_at_last(core, c, extra) != 0)) {
    over_budget(core, c);
    return -1;
  }
  memcpy(c->in->data + c->in->end, data, size);
  c->in->end += extra;
  return 0;
}

static void frame_began(pk_core *core, pk_conn *c) {
  c->frame_since = core->now;
  c->frame_until = c->deadline;
  pk_conn_timer(core, c);
}

/* A frame over the limit that is done with already: its bytes are dropped as they come. The part of it that is here;
 * 0: it is bad, also where it cannot be told from what follows. */
static size_t skip_large(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f) {
  if (c->kind->large == NULL || f->need != f->size || f->size == 0 || !c->kind->large(core, c, data, size, f)) return 0;
  c->in_need = 0;
  if (f->size <= size) return f->size;
  c->skip = f->size - (uint32_t)size;
  if (c->frame_since == 0) frame_began(core, c);
  return size;
}

int pk_conn_remember(pk_core *core, pk_conn *c) {
  uint32_t state = c->codec->state_size, keeps = pk_conn_is_client(c) ? c->codec->keep_max : 0;
  int answers = !pk_conn_is_client(c) && (c->codec->mode != PK_MODE_MULTIPLEXED || c->codec->answer != NULL);
  c->recalls = state > 0 || c->codec->ends || answers;
  c->beside = c->named || keeps > 0;
  if (state > 0 && (c->framing = pk_chunk_zeros(core, state)) == NULL) return -1;
  return keeps > 0 && (c->lately = pk_chunk_zeros(core, keeps)) == NULL ? -1 : 0;
}

/* Framing that goes by more than the bytes. */
static PK_RARE int recall(const pk_core *core, const pk_conn *c, const uint8_t *data, size_t size, pk_frame *f) {
  if (c->framing != NULL) f->state = c->framing->data;
  f->ended = c->ending;
  if (c->asked != NULL) f->asked = pk_slots_context(c);
  int result = c->codec->frame(c->codec, data, size, core->limits.frame, f);
  if (f->size < size) f->ended = 0; /* that is of what stands behind it */
  f->state = NULL; /* framing's only: it is of the next one now */
  return result;
}

int pk_conn_frame(pk_core *core, const pk_conn *c, const uint8_t *data, size_t size, pk_frame *f) {
  return c->recalls ? recall(core, c, data, size, f) : c->codec->frame(c->codec, data, size, core->limits.frame, f);
}

/* A frame that said more than it is was handled. */
static PK_RARE void said(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  if (f->says & PK_SAYS_HALF) c->kind->halves->begin(core, c, data, f);
  if (!(f->says & PK_SAYS_LAST)) return;
  c->leaving |= PK_LEAVE_LAST;
  if (!(f->says & PK_SAYS_MORE) && pk_conn_reads(c)) c->kind->last(core, c);
}

static inline void handle(pk_core *core, pk_conn *c, const uint8_t *data, pk_frame *f) {
  c->kind->frame(core, c, data, f);
  if (f->says != 0) said(core, c, data, f);
}

/* Handle the whole frames in data[0..size); returns how many bytes are done with. */
static size_t parse(pk_core *core, pk_conn *c, const uint8_t *data, size_t size) {
  size_t used = c->half != NULL && pk_conn_reads(c) && !blocked(c) ? c->kind->halves->pass(core, c, data, size) : 0;
  uint8_t from = c->kind->side;
  uint32_t frames = 0;
  core->frames_most = core->frames_left < PK_FRAMES_A_FEED ? core->frames_left : PK_FRAMES_A_FEED;
  for (; used < size && pk_conn_reads(c) && !blocked(c); frames++) {
    size_t left = size - used;
    if (c->in_need > left && left > FRONT) break;
    if (frames >= core->frames_most) {
      pk_conn_ready(core, c);
      break;
    }
    pk_frame f = {.need = (uint32_t)left + 1, .from = from};
    int result = PK_OK;
    if (c->codec == NULL) {
      result = c->kind->detect(core, c, data + used, left, &f.need);
      if (!pk_conn_reads(c) || pk_conn_is_pair(c)) break;
    }
    if (result == PK_OK)
      result = c->recalls ? recall(core, c, data + used, left, &f)
                          : c->codec->frame(c->codec, data + used, left, core->limits.frame, &f);
    if (result == PK_MORE && f.need > PK_READ && c->codec != NULL)
      result = c->kind->halves->frame(core, c, data + used, left, &f);
    if (result == PK_MORE) {
      c->in_need = f.need > left ? f.need : (uint32_t)left + 1;
      if (c->frame_since == 0 && c->codec != NULL) {
        frame_began(core, c);
      } else {
        pk_conn_timer(core, c);
      }
      break;
    }
    if (result == PK_ERR_LIMIT) {
      size_t there = skip_large(core, c, data + used, left, &f);
      used += there;
      if (there > 0) continue;
    }
    if (result != PK_OK || f.size == 0 || f.size > left || f.size > core->limits.frame) {
      c->kind->bad(core, c, data + used, left, &f, result == PK_OK ? PK_ERR_FORMAT : result);
      used = size;
      break;
    }
    c->in_need = 0;
    c->frame_since = 0;
    c->in_turn = (uint8_t)waits_its_turn(c, &f);
    if (c->in_turn) break;
    used += f.size;
    handle(core, c, data + used - f.size, &f);
  }
  core->frames_left -= frames;
  return used;
}

static void parse_kept(pk_core *core, pk_conn *c) {
  size_t used = parse(core, c, c->in->data + c->in->start, input_size(c));
  if (c->in == NULL) return;
  c->in->start += (uint32_t)used;
  if (c->in->start == c->in->end || drops_input(c)) {
    pk_chunk_free(core, c->in);
    c->in = NULL;
  }
}

/* All that its peer sent, and then the end itself, which may end a frame. */
static void parse_end(pk_core *core, pk_conn *c) {
  static const uint8_t nothing[1];
  if (c->in != NULL) parse_kept(core, c);
  if (!pk_conn_reads(c) || blocked(c) || c->ready) return;
  pk_frame f = {.need = 1, .from = c->kind->side};
  int framed = c->in == NULL && recall(core, c, nothing, 0, &f) == PK_OK && f.size == 0;
  c->ending = 0;
  if (framed) handle(core, c, nothing, &f);
}

void pk_core_feed(pk_core *core, pk_handle h, const uint8_t *data, size_t size) {
  if (core->short_of_memory) core->make_room(core);
  pk_conn *c = pk_conn_find(core, h);
  if (c == NULL || !hears(c) || size == 0) return;
  if (pk_conn_is_client(c)) {
    PK_STAT_ADD(core->stats.bytes_from_clients, size);
  } else {
    PK_STAT_ADD(core->stats.bytes_from_upstreams, size);
  }
  c->last_read = core->now;
  c->probing = 0;
  if (c->first_byte == 0) c->first_byte = core->now;
  if (pk_conn_is_pair(c)) {
    c->kind->feed(core, c, data, size);
    return;
  }
  if (drops_input(c)) {
    pk_chunk_free(core, c->in);
    c->in = NULL;
    c->skip -= size < c->skip ? (uint32_t)size : c->skip;
    pk_conn_settle(core, c);
    return;
  }
  if (c->skip > 0 && c->half == NULL) {
    uint32_t part = size < c->skip ? (uint32_t)size : c->skip;
    c->skip -= part;
    if (c->skip == 0) c->frame_since = 0;
    if (part == size) {
      pk_conn_settle(core, c);
      return;
    }
    data += part;
    size -= part;
  }
  uint32_t kept = input_size(c);
  if (kept > 0 && data == core->scratch + kept /* pk_core_buffer carried it there */ && !c->ready) {
    pk_chunk_free(core, c->in);
    c->in = NULL;
    data = core->scratch;
    size += kept;
  }
  if (c->in == NULL) {
    size_t used = parse(core, c, data, size);
    if (pk_conn_reads(c) && pk_conn_keep(core, c, data + used, size - used) != 0) return;
  } else {
    if (data == c->in->data + c->in->end) {
      c->in->end += (uint32_t)size;
    } else if (pk_conn_keep(core, c, data, size) != 0) {
      return;
    }
    if (!c->ready) parse_kept(core, c);
  }
  if (blocked(c) && input_size(c) > 0) pk_conn_read_off(core, c);
  pk_conn_settle(core, c);
}

void pk_conn_more(pk_core *core, pk_conn *c) {
  c->ready = 0;
  if (pk_conn_reads(c) && c->ending) {
    parse_end(core, c);
  } else if (c->in != NULL && !pk_conn_is_pair(c)) {
    parse_kept(core, c); /* of one whose input is not taken any more it is dropped */
  }
  pk_conn_settle(core, c);
}

void pk_conn_finish(pk_core *core, pk_conn *c) {
  if (c->finished) return;
  c->finished = 1;
  op(core, c, PK_OP_FINISH, 0);
}

/* All is written. The client hears it, behind what is left of a frame that it is still sending. */
static void flushed(pk_core *core, pk_conn *c) {
  if (c->state == PK_CONN_FLUSHING || c->eof || core->shutdown) {
    pk_conn_close(core, c, 0);
    return;
  }
  if (c->skip == 0) pk_conn_finish(core, c);
  pk_conn_timer(core, c);
}

/* What it sent is handled: more is read, or its end is framed. */
static void read_again(pk_core *core, pk_conn *c) {
  if (c->ending) {
    pk_conn_ready(core, c);
  } else if (!c->eof) {
    pk_conn_read_on(core, c);
    if (c->frame_since == 0) return;
    c->frame_since = core->now;
    pk_conn_timer(core, c);
  }
}

void pk_conn_goes_on(pk_core *core, pk_conn *c, uint8_t why) {
  if (!(c->flow & why)) return;
  c->flow &= (uint8_t)~why;
  if (c->flow & PK_FLOW_STOPS) return;
  c->busy_since = core->now;
  if (c->half != NULL) c->frame_since = core->now; /* it was not read */
  pk_conn_ready(core, c);
}

/* What was too much for it has gone: whoever waited is read on. */
static PK_RARE void relieved(pk_core *core, pk_conn *c) {
  if ((c->flow & PK_FLOW_FULL) && c->out_bytes <= core->limits.client_pause / 2) {
    c->flow &= (uint8_t)~PK_FLOW_FULL;
    for (pk_conn *own = c->own; own != NULL; own = own->own_next) pk_conn_goes_on(core, own, PK_FLOW_PEER);
  }
  if (c->seal != NULL && pk_out_front(c) <= core->limits.client_pause / 2) /* what waits goes when that is whole */
    for (pk_conn *own = c->own; own != NULL; own = own->own_next)
      if (own->half != NULL) pk_conn_goes_on(core, own, PK_FLOW_PEER);
  if ((c->flow & PK_FLOW_HOLDS) && pk_out_front(c) <= core->limits.upstream_buffer / 2) {
    c->flow &= (uint8_t)~PK_FLOW_HOLDS;
    pk_conn *client = pk_conn_find(core, c->peer);
    if (client != NULL) pk_conn_goes_on(core, client, PK_FLOW_PEER);
  }
}

void pk_conn_settle(pk_core *core, pk_conn *c) {
  if (c->state >= PK_CONN_FLUSHING && c->state <= PK_CONN_LINGERING) {
    if (c->out_bytes == 0) flushed(core, c);
    return;
  }
  if (c->state != PK_CONN_OPEN && c->state != PK_CONN_DROPPING && c->state != PK_CONN_GREETING) return;
  if (c->flow != 0) relieved(core, c);
  if (!pk_conn_is_pair(c) && !blocked(c)) {
    if (input_pending(c)) {
      pk_conn_ready(core, c);
    } else if (c->read_off && !c->ready) {
      read_again(core, c);
    }
  }
  c->kind->settle(core, c);
}

void pk_core_eof(pk_core *core, pk_handle h) {
  pk_conn *c = pk_conn_find(core, h);
  if (c == NULL || !hears(c)) return;
  c->eof = 1;
  pk_conn_read_off(core, c);
  if (c->kind->ended != NULL) c->kind->ended(core, c);
  if (c->half != NULL && pk_conn_is_client(c) && input_size(c) < c->skip) c->kind->half(core, c);
  if (c->codec != NULL && c->codec->ends && pk_conn_reads(c) && c->skip == 0) {
    c->ending = 1;
    c->in_need = 0;
    pk_conn_ready(core, c);
  }
  pk_conn_settle(core, c);
}

void pk_core_error(pk_core *core, pk_handle h) {
  pk_conn *c = pk_conn_find(core, h);
  if (c == NULL) return;
  c->broken = 1;
  pk_conn_close(core, c, 1);
}

void pk_conn_flush(pk_core *core, pk_conn *c) {
  if (!pk_conn_reads(c) && c->state != PK_CONN_DROPPING) return;
  /* Where nothing was written there is nothing to lose. */
  int linger = c->kind->lingers && !c->eof && !core->shutdown && c->out_total > 0;
  if (c->out_bytes == 0 && !linger) {
    pk_conn_close(core, c, 0);
    return;
  }
  c->opened = core->now;
  if (linger) {
    drop_input(core, c, PK_CONN_LINGERING);
  } else {
    c->state = PK_CONN_FLUSHING;
    pk_conn_read_off(core, c);
  }
  pk_conn_settle(core, c);
  pk_conn_timer(core, c);
}

void pk_conn_close(pk_core *core, pk_conn *c, int reset) {
  if (c->state == PK_CONN_CLOSED || c->state == PK_CONN_FREE) return;
  int opening = pk_conn_is_opening(c);
  c->state = PK_CONN_CLOSED;
  pk_timer_stop(&core->wheel, &c->timer);
  op(core, c, PK_OP_CLOSE, (uint32_t)reset);
  pk_list_add(&core->graveyard, c->index);
  c->kind->closed(core, c, opening);
}

void pk_conn_discard(pk_core *core, pk_conn *c) {
  c->lost = PK_LOST_UNWANTED;
  pk_conn_close(core, c, 0);
}

void pk_conn_opened(pk_core *core, pk_conn *c) {
  c->state = PK_CONN_OPEN;
  c->opened = c->last_read = c->last_write = core->now;
  pk_endpoint_opened(core, c->endpoint);
  if (c->trial && c->pinned) { /* it has shown what it was for */
    pk_conn_discard(core, c);
  } else {
    c->kind->opened(core, c);
  }
}

void pk_conn_drop(pk_core *core, pk_conn *c, uint8_t why, uint32_t at) {
  c->lost = why;
  c->lost_at = at;
  pk_conn_close(core, c, 1);
}

uint8_t *pk_conn_send(pk_core *core, pk_conn *c, const uint8_t *data, uint32_t size) {
  uint8_t *to = pk_out_reserve(core, c, size);
  if (to == NULL) return NULL;
  memcpy(to, data, size);
  pk_out_commit(core, c, size);
  return to;
}

int pk_conn_notice(pk_core *core, pk_conn *c, const pk_notice *n) {
  pk_notice said = *n;
  said.from = pk_conn_is_client(c) ? PK_FROM_SERVER : PK_FROM_CLIENT;
  uint8_t *to = pk_out_reserve(core, c, pk_notice_room(c->codec, &said));
  int size = to == NULL ? 0 : pk_notice_build(c->codec, &said, to);
  if (size <= 0) return 0;
  pk_out_commit(core, c, (uint32_t)size);
  return 1;
}

void pk_conn_heartbeat_ack(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  PK_STAT_ADD(core->stats.heartbeats_received, 1);
  if (!pk_conn_is_client(c) && c->out_bytes > core->limits.upstream_buffer) return;
  pk_notice n = {.kind = PK_NOTICE_ACK, .data = data, .frame = f};
  if (c->named) n.id = pk_id_of(c->codec, data, f, f->size);
  pk_conn_notice(core, c, &n);
}

/* A protocol without heartbeats is only looked at again. */
void pk_conn_probe(pk_core *core, pk_conn *c) {
  uint8_t written[PK_ID_MAX];
  /* Where answers come in order the counter is a request's place, which a heartbeat has none of. */
  pk_notice n = {.kind = PK_NOTICE_HEARTBEAT, .context = c->key, .number = pk_slots_id(c)};
  if (c->named) n.id = (pk_slice){written, pk_id_write(c->codec, n.number, written)};
  if (!pk_conn_notice(core, c, &n)) {
    c->last_write = c->busy_since = core->now;
    return;
  }
  c->probing = 1;
  c->probe_at = core->now;
  PK_STAT_ADD(core->stats.heartbeats_sent, 1);
}

int pk_core_out(const pk_core *core, pk_handle h, struct iovec *iov, int max) {
  const pk_conn *c = pk_conn_find(core, h);
  int n = 0;
  if (c == NULL || c->state == PK_CONN_CLOSED) return 0;
  for (pk_chunk *k = c->out; k != c->seal && n < max; k = k->next) {
    if (k->start == k->end) continue;
    iov[n].iov_base = k->data + k->start;
    iov[n++].iov_len = k->end - k->start;
  }
  return n;
}

void pk_core_sent(pk_core *core, pk_handle h, size_t size) {
  pk_conn *c = pk_conn_find(core, h);
  if (c == NULL || c->state == PK_CONN_CLOSED) return;
  if (pk_conn_is_client(c)) {
    PK_STAT_ADD(core->stats.bytes_to_clients, size);
  } else {
    PK_STAT_ADD(core->stats.bytes_to_upstreams, size);
  }
  c->last_write = core->now;
  c->out_bytes -= size;
  while (c->out != c->seal) {
    pk_chunk *k = c->out;
    size_t done = k->end - k->start < size ? k->end - k->start : size;
    k->start += (uint32_t)done;
    size -= done;
    if (k->start < k->end) break;
    c->out = k->next;
    pk_chunk_free(core, k);
  }
  if (c->out == NULL) c->out_tail = NULL;
  pk_conn_settle(core, c);
}

/* Timers. Each connection has one, set to the earliest thing it waits for and checked against the
 * facts when it fires, so that reading and writing never touch it. */

/* When a half-read frame is given up: a client has a time for the whole of it, a server's is waited for as long as
 * bytes come and somebody may wait for them: those who did when it began (frame_until, 0 for clients). */
static uint64_t frame_due(const pk_core *core, const pk_conn *c) {
  uint64_t most = (uint64_t)core->limits.frame_ms * PK_MS, due = c->frame_since + most;
  uint64_t quiet = later(c->frame_since, c->last_read) + most;
  uint64_t end = later(due, (c->frame_until + 1) * PK_MS); /* their timeouts come first */
  return quiet < end ? quiet : end;
}

int pk_conn_is_quiet(const pk_core *core, const pk_conn *c) {
  return core->now >= later(c->frame_since, c->last_read) + (uint64_t)core->limits.frame_ms * PK_MS;
}

uint64_t pk_conn_active(const pk_conn *c) { return later(c->last_read, c->last_write); }

/* A frame's first bytes are there and the rest is waited for. What may be whole is handled first. */
static int is_half(const pk_conn *c) {
  return c->frame_since != 0 && !c->read_off && !(c->flow & PK_FLOW_STOPS) && !pk_conn_is_opening(c) && !input_pending(c);
}

static uint64_t conn_due(const pk_core *core, const pk_conn *c) {
  uint64_t due;
  if (c->state == PK_CONN_FLUSHING || c->state == PK_CONN_LINGERING) {
    due = c->opened + (uint64_t)core->limits.frame_ms * PK_MS;
    uint64_t silent = later(pk_conn_active(c), c->opened) + LINGER_MS * PK_MS;
    return c->out_bytes == 0 && silent < due ? silent : due;
  }
  due = c->kind->due(core, c);
  if (is_half(c)) {
    uint64_t half = frame_due(core, c);
    if (half < due) due = half;
  }
  return due;
}

void pk_conn_timer(pk_core *core, pk_conn *c) {
  if (c->state == PK_CONN_CLOSED || c->state == PK_CONN_FREE) return;
  uint64_t due = conn_due(core, c), idle = core->now + (uint64_t)core->limits.heartbeat_ms * PK_MS;
  if (!pk_conn_is_client(c) && idle < due) due = idle; /* an answer may come before that and leave it idle */
  uint64_t tick = due / PK_MS + 1;
  if (c->timer.link == NULL || tick < c->timer.due) pk_timer_start(&core->wheel, &c->timer, tick);
}

void pk_conn_timer_fired(pk_core *core, pk_conn *c) {
  if (core->now < conn_due(core, c)) {
    pk_conn_timer(core, c);
  } else if (c->state == PK_CONN_FLUSHING || c->state == PK_CONN_LINGERING) {
    pk_conn_close(core, c, c->out_bytes > 0);
  } else if (is_half(c) && core->now >= frame_due(core, c)) {
    PK_STAT_ADD(core->stats.closed_half_frame, 1);
    c->kind->half(core, c);
  } else {
    c->kind->fired(core, c);
  }
}

void pk_conn_tell_drain(pk_core *core, pk_conn *c) {
  if (c->codec == NULL || c->state != PK_CONN_OPEN || c->greeting > 0) return;
  c->told_drain = 1;
  const pk_table_listener *l = pk_listener_of(pk_conn_live(core, c)->table, c);
  if (pk_codec_drains_if_asked(c->codec) && (l == NULL || !l->goaway)) return;
  pk_notice n = {.kind = PK_NOTICE_DRAIN, .context = c->context};
  if (c->lately != NULL && c->lately->end > 0) n.kept = (pk_slice){c->lately->data, c->lately->end};
  if (!pk_conn_notice(core, c, &n)) return;
  c->told = 1;
  PK_STAT_ADD(core->stats.connections_told, 1);
  PK_STAT_ADD(core->stats.drains_sent, 1);
}

void pk_conn_queued(pk_core *core, pk_conn *c) {
  const pk_limits *l = &core->limits;
  if (c->out_bytes <= l->client_pause) return;
  PK_STAT_ADD(core->stats.clients_paused, !(c->flow & PK_FLOW_FULL));
  c->flow |= PK_FLOW_FULL;
  int holds = pk_out_front(c) > l->client_pause; /* also who sends the frame in front of what waits */
  for (pk_conn *own = c->own; own != NULL; own = own->own_next)
    if (holds || own->half == NULL) own->flow |= PK_FLOW_PEER;
  uint64_t cap = (uint64_t)l->client_pause + l->frame; /* one whole frame must always fit */
  if (c->out_bytes > (l->client_close > cap ? l->client_close : cap)) {
    PK_STAT_ADD(core->stats.clients_closed_slow, 1);
    pk_conn_close(core, c, 1);
  }
}
