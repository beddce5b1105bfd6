/* world.h: the core between a client and upstreams, which do what HOW_* says: every request has an answer, nothing is kept,
 * and any segmentation gives the same bytes. */
#ifndef FUZZ_WORLD_H
#define FUZZ_WORLD_H

#include "access.h"
#include "core/core.h"
#include "frames.h"

enum { STRICT_LIMIT = 512, UPSTREAMS = 8, START = 1000000000, PATIENCE_MS = 100000 };

typedef struct bytes {
  uint8_t *data;
  size_t size, cap;
} bytes;

static void append(bytes *b, const uint8_t *data, size_t size) {
  if (b->size + size > b->cap) {
    b->cap = 2 * (b->size + size);
    b->data = realloc(b->data, b->cap);
    if (b->data == NULL) abort();
  }
  if (size > 0) memcpy(b->data + b->size, data, size);
  b->size += size;
}

typedef struct peer {
  pk_handle handle; /* 0: closed */
  int paused;
  bytes got, answer; /* all that it got; what it has to say about it */
  size_t read;       /* of `got` */
  int ends;          /* it ends behind what it has to say */
} peer;

typedef struct world {
  const pk_codec *codec;
  pk_core *core;
  uint64_t now;
  uint8_t how;
  peer client, up[UPSTREAMS];
  uint32_t ups;
  const uint8_t *reply; /* what a request is answered with */
  uint32_t reply_size;
  uint8_t reply_ended; /* by the server's end */
  uint64_t *asked; /* ids of requests that have no answer yet */
  size_t asking;
  int wrong, lost; /* its bytes end with something that is no frame; its connection was closed */
  int cut;         /* its last answer ends with its connection */
  uint64_t own_ms; /* the times that its requests bring along, together */
} world;

static peer *peer_of(world *w, pk_handle h) {
  if (w->client.handle == h) return &w->client;
  for (uint32_t i = 0; i < w->ups; i++)
    if (w->up[i].handle == h) return &w->up[i];
  return NULL;
}

static void carry_out(world *w, const pk_op *op) {
  peer *p = peer_of(w, op->handle);
  if (op->op == PK_OP_CONNECT) {
    int room = w->ups < UPSTREAMS;
    if (room) w->up[w->ups++] = (peer){.handle = op->handle};
    pk_core_connected(w->core, op->handle, !room || w->how & HOW_FAILS, 0);
  } else if (op->op == PK_OP_CLOSE) {
    if (p == &w->client) w->lost = 1;
    if (p != NULL) p->handle = 0;
  } else if (op->op == PK_OP_PAUSE || op->op == PK_OP_RESUME) {
    if (p != NULL) p->paused = op->op == PK_OP_PAUSE;
  }
}

static void settle(world *w) {
  pk_handle dirty[16];
  pk_op ops[16];
  pk_core_end(w->core);
  for (;;) {
    size_t n = pk_core_take_ops(w->core, ops, 16), moved = n;
    for (size_t i = 0; i < n; i++) carry_out(w, &ops[i]);
    n = pk_core_take_dirty(w->core, dirty, 16);
    for (size_t i = 0; i < n; i++) {
      uint8_t block[512];
      size_t size;
      peer *p = peer_of(w, dirty[i]);
      while ((size = pk_core_read_out(w->core, dirty[i], block, sizeof block)) > 0) {
        if (p != NULL) append(&p->got, block, size);
        pk_core_sent(w->core, dirty[i], size);
      }
    }
    if (n + moved == 0) break;
  }
}

/* What an upstream got are whole frames; requests are answered if they are to be. */
static void upstream_reads(world *w, peer *p) {
  pk_frame f;
  while (p->read < p->got.size) {
    int result = flush_as(w->codec, p->got.data + p->read, p->got.size - p->read, PK_FROM_CLIENT, &f);
    must(result == PK_OK); /* nothing but whole frames is passed on */
    p->read += f.size;
    if (f.kind != PK_KIND_REQUEST || !(w->how & HOW_ANSWERS) || w->reply_size == 0) continue;
    uint32_t room = w->reply_size + PK_ID_MAX + PK_SPLICE_MORE;
    uint8_t *copy = flush(w->reply, w->reply_size), *out = malloc(room);
    int size = (int)w->reply_size;
    pk_frame answer;
    if (out == NULL) abort();
    must(framed_by(w->codec, copy, w->reply_size, PK_FROM_SERVER, w->reply_ended, &answer) == PK_OK);
    if (p->ends) size = 0; /* it has said its last */
    p->ends |= w->reply_ended;
    if (pk_id_max(w->codec) > 0) {
      pk_slice id = pk_id_of(w->codec, p->got.data + p->read - f.size, &f, f.size);
      if (size > 0) size = w->codec->splice_id == NULL ? 0 : w->codec->splice_id(w->codec, copy, &answer, id.data, id.size, out, room);
      if (size > 0) append(&p->answer, out, (size_t)size);
    } else {
      if (w->codec->id_bytes > 0) w->codec->patch_id(w->codec, copy, &answer, f.id);
      append(&p->answer, copy, (size_t)size);
    }
    free(out);
    free(copy);
  }
}

static void client_reads(world *w) {
  pk_frame f;
  while (w->client.read < w->client.got.size) {
    const uint8_t *data = w->client.got.data + w->client.read;
    size_t size = w->client.got.size - w->client.read;
    int result = flush_as(w->codec, data, size, PK_FROM_SERVER, &f);
    if (result == PK_MORE && w->codec->ends) { /* only its end tells where such an answer ends */
      must(framed_by(w->codec, data, size, PK_FROM_SERVER, 1, &f) == PK_OK);
      w->cut = 1;
    } else {
      must(result == PK_OK && !w->cut);
    }
    w->client.read += f.size;
    if (f.kind != PK_KIND_RESPONSE) continue;
    uint64_t id = id_of(w->codec, data, &f, f.size);
    size_t i = 0;
    while (i < w->asking && w->asked[i] != id) i++;
    must(i < w->asking); /* each answer is to a request, and to each there is one */
    w->asked[i] = w->asked[--w->asking];
  }
}

static void settled(world *w) {
  settle(w);
  for (uint32_t i = 0; i < w->ups; i++) upstream_reads(w, &w->up[i]);
  client_reads(w);
}

static void feed(world *w, peer *p, const uint8_t *data, size_t size) {
  uint8_t *block = flush(data, size);
  pk_core_begin(w->core, w->now);
  pk_core_feed(w->core, p->handle, block, size);
  free(block);
  settled(w);
}

static void answers(world *w) {
  for (uint32_t i = 0; i < w->ups; i++) {
    bytes answer = w->up[i].answer;
    w->up[i].answer = (bytes){NULL, 0, 0};
    if (answer.size > 0 && w->up[i].handle != 0) feed(w, &w->up[i], answer.data, answer.size);
    free(answer.data);
    if (answer.size == 0 || !w->up[i].ends || w->up[i].handle == 0) continue;
    pk_core_begin(w->core, w->now);
    pk_core_eof(w->core, w->up[i].handle);
    settled(w);
  }
}

static void wait_ms(world *w, uint64_t ms) {
  uint64_t end = w->now + ms * 1000000u;
  for (int i = 0;; i++) {
    uint64_t due = pk_core_next(w->core);
    must(i < 100000);
    if (due > w->now) w->now = due < end ? due : end;
    pk_core_begin(w->core, w->now);
    settled(w);
    answers(w);
    if (w->now >= end) return;
  }
}

/* The time that a request brings along, ms: a silent server that knows no heartbeats may be waited for so long. */
static uint64_t own_ms(const pk_codec *c, const uint8_t *data, const pk_frame *f) {
  pk_destination to = {.context = f->context};
  if (c->destination(c, data, f, &to) != PK_OK) to.timeout_ms = 0;
  return to.timeout_ms > f->timeout_ms ? to.timeout_ms : f->timeout_ms;
}

/* The requests that the client's bytes hold: each is to have its answer. */
static void asks(world *w, const uint8_t *data, size_t size) {
  pk_frame f;
  w->asked = calloc(size + 1, sizeof *w->asked);
  if (w->asked == NULL) abort();
  while (size > 0) {
    uint8_t *block = flush(data, size);
    f = (pk_frame){.from = PK_FROM_CLIENT};
    int result = pk_frame_alone(w->codec, block, size, w->how & HOW_STRICT ? STRICT_LIMIT : LIMIT, &f);
    free(block);
    if (result < 0) w->wrong = 1;
    if (result == PK_OK || result < 0)
      if (f.kind == PK_KIND_REQUEST) w->asked[w->asking++] = id_of(w->codec, data, &f, result == PK_OK ? f.size : size);
    if (result == PK_OK && f.kind == PK_KIND_REQUEST) w->own_ms += own_ms(w->codec, data, &f);
    for (uint32_t i = 0; i < w->codec->reserved_count; i++) /* what answers them may be no answer */
      if (w->codec->reserved_ids[i] == f.id) w->wrong = 1;
    if (result != PK_OK) return;
    data += f.size;
    size -= f.size;
  }
}

static uint64_t stat(const world *w, size_t offset) {
  uint64_t value;
  memcpy(&value, (const char *)pk_core_stats(w->core) + offset, sizeof value);
  return value;
}
#define STAT(name) stat(&w, offsetof(pk_stats, name))

/* Runs it all; gives back what the first upstream and the client got. 1: the client's bytes were all taken
 * at once, and it was not closed. */
static int world_run(const pk_codec *c, const pk_table *table, uint8_t how, uint8_t cut, const uint8_t *data,
                      size_t client_size, size_t size, bytes *up, bytes *down) {
  world w = {.codec = c, .core = pk_core_new(7), .now = START, .how = how};
  const uint8_t *from_up = data + client_size;
  size_t sent = 0, said = 0, up_size = size - client_size;
  uint32_t state = cut;
  pk_frame f;
  if (w.core == NULL) abort();
  asks(&w, data, client_size);
  int whole = up_size > 0 ? flush_as(c, from_up, up_size, PK_FROM_SERVER, &f) : PK_MORE;
  if (whole == PK_MORE && up_size > 0 && c->ends) whole = framed_by(c, from_up, up_size, PK_FROM_SERVER, 1, &f);
  if (whole == PK_OK && f.kind == PK_KIND_RESPONSE) {
    w.reply = from_up;
    w.reply_size = f.size;
    w.reply_ended = f.ended;
  }
  pk_core_begin(w.core, w.now);
  if (pk_core_apply(w.core, table, 1) != 0) abort();
  w.client.handle = pk_core_accept(w.core, how & HOW_PINNED ? 1 : how & HOW_RETRIES ? 2 : 0);
  must(w.client.handle != 0);
  settled(&w);
  while ((sent < client_size || said < up_size) && w.client.handle != 0) {
    peer *u = NULL;
    for (uint32_t i = 0; i < w.ups; i++)
      if (w.up[i].handle != 0) u = &w.up[i];
    int ups_turn = u != NULL && !u->paused && said < up_size && (sent == client_size || next_random(&state) & 1);
    if (ups_turn) {
      size_t n = piece(&state, cut, up_size - said);
      said += n;
      feed(&w, u, from_up + said - n, n);
    } else if (sent < client_size && !w.client.paused) {
      size_t n = piece(&state, cut, client_size - sent);
      sent += n;
      feed(&w, &w.client, data + sent - n, n);
    } else if (sent == client_size) {
      break; /* nobody is there to say the rest */
    } else {
      wait_ms(&w, 100);
    }
    answers(&w);
  }
  int disturbed = 0, heard = w.client.handle != 0 && w.now == START;
  if (up != NULL) append(up, w.up[0].got.data, w.up[0].got.size);
  if (down != NULL) append(down, w.client.got.data, w.client.got.size);
  pk_core_begin(w.core, w.now);
  for (uint32_t i = 0; i < w.ups && how & HOW_BREAKS; i++)
    if (w.up[i].handle != 0) pk_core_eof(w.core, w.up[i].handle);
  if (how & HOW_RESETS && w.client.handle != 0) {
    pk_core_error(w.core, w.client.handle);
    disturbed = 1;
  } else if (how & HOW_ENDS && w.client.handle != 0) {
    pk_core_eof(w.core, w.client.handle);
  }
  settled(&w);
  int patient = w.own_ms <= PATIENCE_MS; /* some say weeks: those end with the shutdown */
  wait_ms(&w, 10000 + 4000 * w.asking + (patient ? w.own_ms : 0)); /* one at a time, each may take its whole time */
  if (patient) must(STAT(requests_active) == 0);
  if (patient && !disturbed && !w.lost && !w.wrong) must(w.asking == 0); /* never silence */
  pk_core_begin(w.core, w.now);
  pk_core_shutdown(w.core);
  settled(&w);
  wait_ms(&w, 5000);
  must(STAT(requests_active) == 0 && STAT(connections_active) == 0 && STAT(upstream_connections_active) == 0);
  must(STAT(buffer_bytes) == 0);
  must(!w.cut || w.client.handle == 0);
  for (uint32_t i = 0; i < w.ups; i++) {
    free(w.up[i].got.data);
    free(w.up[i].answer.data);
  }
  free(w.client.got.data);
  free(w.asked);
  pk_core_free(w.core);
  return heard;
}

static int same(const bytes *a, const bytes *b) {
  return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

/* Any segmentation gives the same bytes, on both sides. (Where one request goes at a time, whether the only
 * connection is full depends on when it was opened.) */
static void same_in_pieces(const pk_codec *c, const pk_table *table, uint8_t how, uint8_t cut,
                           const uint8_t *data, size_t size) {
  bytes up[2] = {{NULL, 0, 0}, {NULL, 0, 0}}, down[2] = {{NULL, 0, 0}, {NULL, 0, 0}};
  int heard = 1;
  how &= HOW_PINNED; /* errors may come in any order */
  for (int i = 0; i < 2; i++)
    heard &= world_run(c, table, how, i == 0 ? 0 : cut, data, size, size, &up[i], &down[i]);
  if (heard) must(same(&up[0], &up[1]) && same(&down[0], &down[1]));
  for (int i = 0; i < 2; i++) {
    free(up[i].data);
    free(down[i].data);
  }
}

#endif
