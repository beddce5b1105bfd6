/* conn.c: connections: handles, reading, framing, timers, closing. */
#include <stdlib.h>

#include "core/internal.h"

/* So many bytes of a frame are looked at again whenever one more comes, although the codec asked for
 * more at once: what cannot be the protocol is refused at the first wrong byte. */
enum { FRONT = 32 };
enum { MAX_RECV = 256 * 1024, MIN_ROOM = 4096 };
/* How long a client that is being closed may be silent before it has closed its side, too. */
enum { LINGER_MS = 1000 };
/* The longest frame whose end is waited for when it was refused, bytes. */
enum { MAX_SKIP = 64 * 1024 * 1024 };

pk_conn *pk_conn_new(pk_core *core, uint8_t side, uint8_t state) {
  pk_conn *c;
  if (core->free_conns.count > 0) {
    c = core->conns[core->free_conns.items[--core->free_conns.count]];
  } else {
    pk_conn **conns = pk_grow(core->conns, &core->conn_capacity, core->conn_count + 1, sizeof *conns);
    if (conns == NULL) return NULL;
    core->conns = conns;
    c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->index = core->conn_count;
    conns[core->conn_count++] = c;
  }
  uint32_t index = c->index, generation = c->generation + 1;
  memset(c, 0, sizeof *c);
  c->index = index;
  c->generation = generation < (1u << 31) ? generation : 1; /* the top bit is the driver's */
  c->side = side;
  c->state = state;
  c->timer.kind = PK_TIMER_CONN;
  c->waiting_head = c->waiting_tail = PK_NONE;
  c->opened = c->last_read = c->last_write = core->now;
  return c;
}

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

/* An upstream connection that ends with its last answer. */
static int leaving(const pk_conn *c) { return c->gone || c->draining || c->retired; }

void pk_conn_touch(pk_core *core, pk_conn *c) {
  if (c->deaf || c->read_off || c->orphaned || c->left || c->gone || c->draining || c->retired || c->eof ||
      input_pending(c))
    pk_conn_ready(core, c);
}

/* A client whose input waits: it takes too little of what it gets, or has to take turns with its answers. */
static int blocked(const pk_conn *c) { return c->paused || (c->pingpong && c->in_flight > 0); }

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
  pk_chunk *bigger = pk_chunk_new(core, want > ahead ? want : ahead, c->side == PK_SIDE_UP);
  if (bigger == NULL) return -1;
  if (kept > 0) memcpy(bigger->data, in->data + in->start, kept);
  bigger->end = kept;
  pk_chunk_free(core, in);
  c->in = bigger;
  return 0;
}

static void over_budget(pk_core *core, pk_conn *c) {
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

static int hears(const pk_conn *c) {
  return !c->eof && (c->state == PK_CONN_OPEN || (c->state == PK_CONN_FLUSHING && c->deaf));
}

uint8_t *pk_core_buffer(pk_core *core, pk_handle h, size_t *size) {
  pk_conn *c = pk_conn_find(core, h);
  if (c == NULL || !hears(c) || (c->raw && c->read_off)) return NULL;
  uint32_t kept = input_size(c);
  if (kept == 0 || c->deaf) {
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
  if (input_room(core, c, extra < MIN_ROOM ? MIN_ROOM : extra) != 0) {
    over_budget(core, c);
    return NULL;
  }
  *size = c->in->capacity - c->in->end;
  if (*size > MAX_RECV) *size = MAX_RECV;
  return c->in->data + c->in->end;
}

/* What the client sends from here on is dropped. It is read all the same: closing a socket with unread
 * bytes resets it, which can take the answers along that its client has not read yet. */
static void deafen(pk_core *core, pk_conn *c) {
  c->deaf = 1;
  c->frame_since = 0;
  if (c->read_off) pk_conn_read_on(core, c);
}

int pk_conn_keep(pk_core *core, pk_conn *c, const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  if (size > UINT32_MAX / 8 || input_room(core, c, (uint32_t)size) != 0) {
    over_budget(core, c);
    return -1;
  }
  memcpy(c->in->data + c->in->end, data, size);
  c->in->end += (uint32_t)size;
  return 0;
}

static void frame_began(pk_core *core, pk_conn *c) {
  c->frame_since = core->now;
  c->frame_until = c->deadline;
  pk_conn_timer(core, c);
}

static void bad_bytes(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f, int error) {
  if (c->side == PK_SIDE_DOWN) {
    PK_STAT_ADD(core->stats.protocol_errors_client, 1);
    pk_down_bad(core, c, data, size, f, error);
    deafen(core, c); /* what it asked before is still answered */
    c->skip = error == PK_ERR_LIMIT && f->size > size && f->size <= MAX_SKIP ? (uint32_t)(f->size - size) : 0;
  } else {
    PK_STAT_ADD(core->stats.protocol_errors_upstream, 1);
    pk_conn_drop(core, c, error == PK_ERR_LIMIT ? PK_LOST_LIMIT : PK_LOST_FORMAT, f->error_at);
  }
}

/* A server's frame over the limit: its own call fails, and its bytes are dropped as they come. The part of it that
 * is here; 0: it cannot be told from what follows. */
static size_t skip_large(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f) {
  if (c->side != PK_SIDE_UP || f->need != f->size || f->size == 0 || !pk_up_large(core, c, data, size, f)) return 0;
  c->in_need = 0;
  if (f->size <= size) return f->size;
  c->skip = f->size - (uint32_t)size;
  if (c->frame_since == 0) frame_began(core, c);
  return size;
}

/* Handle the whole frames in data[0..size); returns how many bytes are done with. */
static size_t parse(pk_core *core, pk_conn *c, const uint8_t *data, size_t size) {
  size_t used = 0;
  uint32_t frames = 0, most = core->frames_left < PK_FRAMES_A_FEED ? core->frames_left : PK_FRAMES_A_FEED;
  for (; used < size && c->state == PK_CONN_OPEN && !blocked(c); frames++) {
    size_t left = size - used;
    if (c->in_need > left && left > FRONT) break;
    if (frames == most) {
      pk_conn_ready(core, c);
      break;
    }
    pk_frame f = {.need = (uint32_t)left + 1};
    int result = PK_OK;
    if (c->codec == NULL) {
      result = pk_down_detect(core, c, data + used, left, PK_DETECT_EARLY, &f.need);
      if (result == PK_FALLBACK) {
        pk_raw_begin(core, c);
        break;
      }
      if (c->state != PK_CONN_OPEN) break;
    }
    if (result == PK_OK)
      result = c->codec->frame(c->codec, data + used, left, core->limits.frame, &f);
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
      bad_bytes(core, c, data + used, left, &f, result == PK_OK ? PK_ERR_FORMAT : result);
      used = size;
      break;
    }
    c->in_need = 0;
    c->frame_since = 0;
    used += f.size;
    if (c->side == PK_SIDE_DOWN) {
      pk_down_frame(core, c, data + used - f.size, &f);
    } else {
      pk_up_frame(core, c, data + used - f.size, &f);
    }
  }
  core->frames_left -= frames;
  return used;
}

static void parse_kept(pk_core *core, pk_conn *c) {
  size_t used = parse(core, c, c->in->data + c->in->start, input_size(c));
  if (c->in == NULL) return;
  c->in->start += (uint32_t)used;
  if (c->in->start == c->in->end) {
    pk_chunk_free(core, c->in);
    c->in = NULL;
  }
}

void pk_core_feed(pk_core *core, pk_handle h, const uint8_t *data, size_t size) {
  pk_conn *c = pk_conn_find(core, h);
  if (c == NULL || !hears(c) || size == 0) return;
  if (c->side == PK_SIDE_DOWN) {
    PK_STAT_ADD(core->stats.bytes_from_clients, size);
  } else {
    PK_STAT_ADD(core->stats.bytes_from_upstreams, size);
  }
  c->last_read = core->now;
  c->probing = 0;
  if (c->first_byte == 0) c->first_byte = core->now;
  if (c->raw) {
    pk_raw_feed(core, c, data, size);
    return;
  }
  if (c->deaf) {
    pk_chunk_free(core, c->in);
    c->in = NULL;
    c->skip -= size < c->skip ? (uint32_t)size : c->skip;
    pk_conn_settle(core, c);
    return;
  }
  if (c->skip > 0) {
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
    if (c->state == PK_CONN_OPEN && pk_conn_keep(core, c, data + used, size - used) != 0) return;
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
  if (c->state == PK_CONN_OPEN && c->in != NULL && !c->raw) parse_kept(core, c);
  pk_conn_settle(core, c);
}

/* All is written. The client hears it, behind what is left of a frame that it is still sending. */
static void flushed(pk_core *core, pk_conn *c) {
  if (!c->deaf || c->eof || core->shutdown) {
    pk_conn_close(core, c, 0);
    return;
  }
  if (!c->finished && c->skip == 0) {
    c->finished = 1;
    op(core, c, PK_OP_FINISH, 0);
  }
  pk_conn_timer(core, c);
}

void pk_conn_settle(pk_core *core, pk_conn *c) {
  if (c->state == PK_CONN_FLUSHING) {
    if (c->out_bytes == 0) flushed(core, c);
    return;
  }
  if (c->state != PK_CONN_OPEN) return;
  if (c->raw) {
    pk_raw_settle(core, c);
    return;
  }
  if (c->paused && c->out_bytes <= core->limits.client_pause / 2) c->paused = 0;
  if (!blocked(c)) {
    if (input_pending(c)) {
      pk_conn_ready(core, c);
    } else if (c->read_off && !c->ready && !c->eof) {
      if (c->frame_since != 0) c->frame_since = core->now;
      pk_conn_read_on(core, c);
    }
  }
  if (c->side == PK_SIDE_UP) {
    if (!c->ready && (c->eof || (leaving(c) && c->in_flight == 0))) pk_conn_close(core, c, 0);
  } else if ((c->eof || c->deaf || ((c->left || c->orphaned) && c->out_bytes == 0)) && !c->ready && c->in_flight == 0 &&
             !(blocked(c) && input_pending(c))) {
    pk_conn_flush(core, c);
  }
}

void pk_core_eof(pk_core *core, pk_handle h) {
  pk_conn *c = pk_conn_find(core, h);
  if (c == NULL || !hears(c)) return;
  c->eof = 1;
  pk_conn_read_off(core, c);
  if (c->side == PK_SIDE_DOWN && c->codec == NULL && !c->raw && !c->deaf && c->in != NULL)
    pk_down_undecided(core, c, PK_DETECT_ENDED);
  if (c->raw) pk_raw_ended(core, c);
  pk_conn_settle(core, c);
}

void pk_core_error(pk_core *core, pk_handle h) {
  pk_conn *c = pk_conn_find(core, h);
  if (c == NULL) return;
  c->broken = 1;
  pk_conn_close(core, c, 1);
}

void pk_conn_flush(pk_core *core, pk_conn *c) {
  if (c->state != PK_CONN_OPEN) return;
  /* Where nothing was written there is nothing to lose. */
  int linger = c->side == PK_SIDE_DOWN && !c->eof && !c->raw && !core->shutdown && c->out_total > 0;
  if (c->out_bytes == 0 && !linger) {
    pk_conn_close(core, c, 0);
    return;
  }
  c->state = PK_CONN_FLUSHING;
  c->opened = core->now;
  if (linger) {
    deafen(core, c);
  } else {
    pk_conn_read_off(core, c);
  }
  pk_conn_settle(core, c);
  pk_conn_timer(core, c);
}

static void client_closed(pk_core *core, pk_conn *c) {
  core->client_count--;
  PK_STAT_SUB(core->stats.connections_active, 1);
  PK_STAT_SUB(core->stats.connections_told, c->told);
  pk_request_client_left(core, c);
  pk_live *kept = c->kept;
  c->kept = NULL;
  if (c->raw) {
    pk_raw_closed(core, c, 0);
  } else {
    pk_pinned_client_closed(core, c);
  }
  if (kept != NULL) pk_live_release(core, kept);
}

static void upstream_closed(pk_core *core, pk_conn *c, int connecting) {
  pk_endpoint *e = c->endpoint;
  pk_up_leave(c);
  e->conn_count -= !c->pinned;
  e->opening -= connecting != 0;
  PK_STAT_SUB(core->stats.upstream_connections_active, 1);
  PK_STAT_SUB(e->stats->connections, 1);
  pk_conn *client = pk_pinned_lost(core, c, connecting); /* before its requests look for where else to go */
  pk_up_lost(core, c, connecting);
  if (c->raw) pk_raw_closed(core, c, connecting);
  if (connecting && client != NULL && client->own == NULL) pk_pinned_open(core, client, e);
}

void pk_conn_close(pk_core *core, pk_conn *c, int reset) {
  if (c->state == PK_CONN_CLOSED || c->state == PK_CONN_FREE) return;
  int connecting = c->opening;
  c->state = PK_CONN_CLOSED;
  pk_timer_stop(&core->wheel, &c->timer);
  op(core, c, PK_OP_CLOSE, (uint32_t)reset);
  pk_list_add(&core->graveyard, c->index);
  if (c->side == PK_SIDE_DOWN) {
    client_closed(core, c);
  } else {
    upstream_closed(core, c, connecting);
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

void pk_conn_heartbeat_ack(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  PK_STAT_ADD(core->stats.heartbeats_received, 1);
  if (c->side == PK_SIDE_UP && c->out_bytes > core->limits.upstream_buffer) return;
  uint32_t room = f->size > c->codec->reply_max ? f->size : c->codec->reply_max;
  uint8_t *to = pk_out_reserve(core, c, pk_reply_room(c->codec, room));
  int size = to == NULL ? 0 : c->codec->heartbeat_ack(c->codec, data, f, pk_reply_at(c->codec, to, room), room);
  if (c->named) size = pk_reply_id(c->codec, to, room, size, pk_id_of(c->codec, data, f, f->size));
  if (size > 0) pk_out_commit(core, c, (uint32_t)size);
}

int pk_core_out(const pk_core *core, pk_handle h, struct iovec *iov, int max) {
  const pk_conn *c = pk_conn_find(core, h);
  int n = 0;
  if (c == NULL || c->state == PK_CONN_CLOSED) return 0;
  for (pk_chunk *k = c->out; k != NULL && n < max; k = k->next) {
    if (k->start == k->end) continue;
    iov[n].iov_base = k->data + k->start;
    iov[n++].iov_len = k->end - k->start;
  }
  return n;
}

void pk_core_sent(pk_core *core, pk_handle h, size_t size) {
  pk_conn *c = pk_conn_find(core, h);
  if (c == NULL || c->state == PK_CONN_CLOSED) return;
  if (c->side == PK_SIDE_DOWN) {
    PK_STAT_ADD(core->stats.bytes_to_clients, size);
  } else {
    PK_STAT_ADD(core->stats.bytes_to_upstreams, size);
  }
  c->last_write = core->now;
  c->out_bytes -= size;
  while (c->out != NULL) {
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

/* Whether the time to tell its protocol runs: from its first byte, or at once where others wait for a fallback. */
static int undecided(const pk_conn *c) {
  return c->codec == NULL && !c->raw && (c->first_byte != 0 || c->falls_back);
}

/* When a half-read frame is given up. A client has a time for the whole of it. A server's is waited for as long as
 * bytes come and somebody may wait for them: those who did when it began. */
static uint64_t frame_due(const pk_core *core, const pk_conn *c) {
  uint64_t most = (uint64_t)core->limits.frame_ms * PK_MS, due = c->frame_since + most;
  if (c->side == PK_SIDE_DOWN) return due;
  uint64_t quiet = later(c->frame_since, c->last_read) + most;
  uint64_t end = later(due, (c->frame_until + 1) * PK_MS); /* their timeouts come first */
  return quiet < end ? quiet : end;
}

/* The earlier of `due` and when a client of a listener that is gone has to leave. */
static uint64_t sooner(uint64_t due, const pk_conn *c) {
  return c->leave_by != 0 && c->leave_by < due ? c->leave_by : due;
}

static uint64_t conn_due(const pk_core *core, const pk_conn *c) {
  const pk_limits *l = &core->limits;
  uint64_t active = later(c->last_read, c->last_write), due;
  if (c->state == PK_CONN_FLUSHING) {
    due = c->opened + (uint64_t)l->frame_ms * PK_MS;
    uint64_t silent = later(active, c->opened) + LINGER_MS * PK_MS;
    return c->out_bytes == 0 && silent < due ? silent : due;
  }
  if (c->opening) {
    due = c->opened + (uint64_t)c->connect_ms * PK_MS;
    return c->relieve < due ? c->relieve : due;
  }
  if (c->raw) return sooner(pk_raw_active(core, c) + (uint64_t)l->idle_ms * PK_MS, c);
  if (c->side == PK_SIDE_UP) {
    /* One client's own is idle when its client is. */
    due = c->pinned ? UINT64_MAX : later(c->last_used, c->opened) + (uint64_t)l->idle_ms * PK_MS;
    uint64_t beat = active + (uint64_t)l->heartbeat_ms * PK_MS;
    if (c->in_flight > 0) {
      due = UINT64_MAX;
      beat = later(c->last_read, c->busy_since) + (uint64_t)l->probe_ms * PK_MS;
    }
    if (c->probing) beat = c->probe_at + (uint64_t)l->probe_ms * PK_MS;
    if (beat < due) due = beat;
  } else {
    due = active + (uint64_t)l->idle_ms * PK_MS;
  }
  if (c->frame_since != 0 && !c->read_off) {
    uint64_t half = frame_due(core, c);
    if (half < due) due = half;
  }
  if (undecided(c)) {
    uint64_t since = c->first_byte != 0 ? c->first_byte : c->opened;
    uint64_t detect = since + (uint64_t)l->detect_ms * PK_MS;
    if (detect < due) due = detect;
  }
  return sooner(due, c);
}

void pk_conn_timer(pk_core *core, pk_conn *c) {
  if (c->state == PK_CONN_CLOSED || c->state == PK_CONN_FREE) return;
  uint64_t due = conn_due(core, c), idle = core->now + (uint64_t)core->limits.heartbeat_ms * PK_MS;
  if (c->side == PK_SIDE_UP && idle < due) due = idle; /* an answer may come before that and leave it idle */
  uint64_t tick = due / PK_MS + 1;
  if (c->timer.link == NULL || tick < c->timer.due) pk_timer_start(&core->wheel, &c->timer, tick);
}

/* A protocol without heartbeats is only looked at again. */
void pk_conn_probe(pk_core *core, pk_conn *c) {
  uint32_t most = c->codec->reply_max;
  uint8_t *to = pk_out_reserve(core, c, pk_reply_room(c->codec, most));
  /* Where answers come in order the counter is a request's place, which a heartbeat has none of. */
  uint64_t id = pk_slots_id(c);
  int size = to == NULL ? 0
                        : c->codec->heartbeat(c->codec, c->named ? 0 : id, c->key,
                                              pk_reply_at(c->codec, to, most), most);
  if (c->named) {
    uint8_t written[PK_ID_MAX];
    size = pk_reply_id(c->codec, to, most, size, (pk_slice){written, pk_id_write(c->codec, id, written)});
  }
  if (size <= 0) {
    c->last_write = c->busy_since = core->now;
    return;
  }
  pk_out_commit(core, c, (uint32_t)size);
  c->probing = 1;
  c->probe_at = core->now;
  PK_STAT_ADD(core->stats.heartbeats_sent, 1);
}

static void client_timer_fired(pk_core *core, pk_conn *c) {
  if (undecided(c)) {
    pk_down_undecided(core, c, PK_DETECT_LATE);
    pk_conn_timer(core, c);
  } else if (c->in_flight == 0 || c->out_bytes > 0) {
    PK_STAT_ADD(core->stats.closed_idle, 1);
    pk_conn_close(core, c, 0);
  } else {
    c->last_read = core->now; /* it waits for answers, and these have timers of their own */
    pk_conn_timer(core, c);
  }
}

static void upstream_timer_fired(pk_core *core, pk_conn *c) {
  uint64_t unused = later(c->last_used, c->opened) + (uint64_t)core->limits.idle_ms * PK_MS;
  if (!c->pinned && c->in_flight == 0 && core->now >= unused) {
    PK_STAT_ADD(core->stats.closed_idle, 1);
    pk_conn_close(core, c, 0);
  } else if (c->probing && pk_up_silent(core, c)) {
    pk_conn_drop(core, c, PK_LOST_SILENT, 0);
  } else if (c->probing) { /* asked again after as long a time */
    c->probing = 0;
    c->last_write = c->busy_since = core->now;
    pk_conn_timer(core, c);
  } else {
    pk_conn_probe(core, c);
    pk_conn_timer(core, c);
  }
}

/* The time of a client whose listener is gone is over: what it asked is answered, what it asks now is refused. */
static void leave(pk_core *core, pk_conn *c) {
  c->leave_by = core->now + (uint64_t)core->limits.frame_ms * PK_MS;
  if (c->raw) {
    pk_conn_flush(core, c);
  } else if (c->left && (c->in_flight == 0 || c->out_bytes > 0)) {
    pk_conn_close(core, c, 1); /* it does not read */
  } else {
    c->left = 1;
    pk_conn_settle(core, c);
  }
}

void pk_conn_timer_fired(pk_core *core, pk_conn *c) {
  if (core->now < conn_due(core, c)) {
    pk_conn_timer(core, c);
  } else if (c->opening && core->now < c->opened + (uint64_t)c->connect_ms * PK_MS) {
    pk_up_relieve(core, c);
    pk_conn_timer(core, c);
  } else if (c->state != PK_CONN_OPEN || c->opening) {
    c->late = c->opening;
    pk_conn_close(core, c, c->state == PK_CONN_FLUSHING && c->out_bytes > 0);
  } else if (c->leave_by != 0 && core->now >= c->leave_by) {
    leave(core, c);
    pk_conn_timer(core, c);
  } else if (c->raw) {
    PK_STAT_ADD(core->stats.closed_idle, 1);
    pk_conn_close(core, c, 0);
  } else if (c->frame_since != 0 && !c->read_off && core->now >= frame_due(core, c)) {
    PK_STAT_ADD(core->stats.closed_half_frame, 1);
    if (c->side == PK_SIDE_UP) {
      int quiet = core->now >= later(c->frame_since, c->last_read) + (uint64_t)core->limits.frame_ms * PK_MS;
      c->lost = quiet ? PK_LOST_HALF : PK_LOST_SLOW;
      pk_conn_close(core, c, 0);
    } else { /* what it asked before is still answered */
      deafen(core, c);
      pk_conn_settle(core, c);
      pk_conn_timer(core, c);
    }
  } else if (c->side == PK_SIDE_UP) {
    upstream_timer_fired(core, c);
  } else {
    client_timer_fired(core, c);
  }
}
