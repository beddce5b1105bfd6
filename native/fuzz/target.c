/* target.c: the fuzz target. It loads the compiled program of every declared protocol (formats.h, which
 * export.py writes) or a codec in C, and runs bytes through its functions and through the core.
 *
 *   tag | how | cut | client bytes, 2, little endian | the client's bytes, then the upstream's
 *
 * `tag` names the protocol, so that an input stays what it was when another one is installed. `how` says
 * what the peers do (HOW_*), `cut` decides into which pieces all bytes are cut.
 *
 * All input stands flush in a block of its own: AddressSanitizer sees a read past it. A rule that does
 * not hold ends in `must`. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/tables.h"
#include "access.h"
#include "core/core.h"
#include "base/hash.h"
#include "wire/framing.h"
#include "wire/program.h"
#include "wire/steps/steps.h"

typedef struct format {
  const char *name;
  uint8_t tag;
  const uint8_t *image; /* NULL: a codec in C */
  size_t size;
  const char *const *steps; /* where the image has an address of a step or a measure stands its place in here */
  const pk_codec *native;
  int keys; /* of its headers: KEYS_* */
} format;

#ifdef PLANTED
/* A step with a fault, to prove that the target finds one: a varint whose last byte says that another one
 * follows is read past the section. With PLANTED=0 it is right. */
static int planted(const uint8_t *at, size_t size, const pk_slice *arguments, uint32_t n, pk_slice *out,
                   uint32_t count) {
  const uint8_t *start = at, *end = at + size;
  (void)arguments, (void)n, (void)count;
  while ((PLANTED || at < end) && *at & 0x80) at++;
  if (at < end) out[0] = (pk_slice){start, (uint32_t)(at + 1 - start)};
  return PK_OK;
}
#endif

#include "formats.h" /* FORMATS, and static const format formats[FORMATS] */

enum { KEYS_FIRST = 1 /* of a key that stands twice the first counts */, KEYS_FOLD = 2 /* in upper and lower case */ };
enum { HEAD = 5, LIMIT = 1 << 16, STRICT_LIMIT = 512, PREFIXES = 40, UPSTREAMS = 8, START = 1000000000, PATIENCE_MS = 100000 };
enum {
  HOW_FAILS = 1,    /* upstream connections do not open */
  HOW_ENDS = 2,     /* the client half-closes when it has sent all */
  HOW_RESETS = 4,   /* the client is gone when it has sent all */
  HOW_BREAKS = 8,   /* the upstream closes when it has sent all */
  HOW_ANSWERS = 16, /* each request that the upstream gets is answered with the first frame of its bytes */
  HOW_PINNED = 32,
  HOW_STRICT = 64,  /* small limits */
  HOW_RETRIES = 128
};

#define must(holds)                                                                       \
  do {                                                                                    \
    if (!(holds)) {                                                                       \
      fprintf(stderr, "%s: %s:%d: this does not hold: %s\n", running, __FILE__, __LINE__, #holds); \
      abort();                                                                            \
    }                                                                                     \
  } while (0)

static const char *running = "";
static int keys;
static const pk_codec *codecs[FORMATS];
static const pk_table *tables[FORMATS][2]; /* roomy, strict */

static uint8_t *flush(const uint8_t *data, size_t size) {
  uint8_t *block = malloc(size > 0 ? size : 1);
  if (block == NULL) abort();
  if (size > 0) memcpy(block, data, size);
  return block;
}

static uint32_t next_random(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

/* How many of `left` bytes come next. */
static size_t piece(uint32_t *state, uint8_t cut, size_t left) {
  if (cut == 0) return left;
  size_t size = 1 + next_random(state) % cut;
  return size < left ? size : left;
}

/* The codec's functions. */

static volatile uint64_t touched;

static void touch(pk_slice s) {
  uint64_t sum = s.size;
  for (uint32_t i = 0; s.data != NULL && i < s.size; i++) sum += s.data[i];
  touched = sum;
}

static int framed_by(const pk_codec *c, const uint8_t *data, size_t size, uint8_t from, uint8_t ended, pk_frame *f) {
  *f = (pk_frame){.from = from, .ended = ended};
  int result = pk_frame_alone(c, data, size, LIMIT, f);
  must(result == PK_OK || result == PK_MORE || (result <= PK_ERR_MAGIC && result >= PK_ERR_LIMIT));
  if (result == PK_OK) must(f->size > 0 && f->size <= size && f->size <= LIMIT);
  if (result == PK_OK && f->ended) must(ended && c->ends && f->size == size);
  if (result == PK_OK) must(f->kind >= PK_KIND_REQUEST && f->kind <= PK_KIND_PIECE);
  if (result == PK_MORE) must(f->need > size && f->need <= LIMIT);
  if (result < 0) must(f->error_at <= size);
  return result;
}

static int framed_as(const pk_codec *c, const uint8_t *data, size_t size, uint8_t from, pk_frame *f) {
  return framed_by(c, data, size, from, 0, f);
}

static int framed(const pk_codec *c, const uint8_t *data, size_t size, pk_frame *f) {
  return framed_as(c, data, size, PK_FROM_NOBODY, f);
}

/* A frame's id as a number: of byte strings a hash. */
static uint64_t id_of(const pk_codec *c, const uint8_t *data, const pk_frame *f, size_t size) {
  if (pk_id_max(c) == 0) return f->id;
  pk_slice id = pk_id_of(c, data, f, size);
  return pk_hash(1, id.data, id.size);
}

/* The frame in a block of its own. */
static int flush_as(const pk_codec *c, const uint8_t *data, size_t size, uint8_t from, pk_frame *f) {
  uint8_t *block = flush(data, size);
  int result = framed_as(c, block, size, from, f);
  free(block);
  return result;
}

static int framed_flush(const pk_codec *c, const uint8_t *data, size_t size, pk_frame *f) {
  return flush_as(c, data, size, PK_FROM_NOBODY, f);
}

static void whole(const pk_codec *c, const uint8_t *reply, int size, uint8_t kind, const uint64_t *id) {
  pk_frame f;
  must(size >= 0);
  if (size == 0) return; /* the protocol has none */
  must(flush_as(c, reply, (size_t)size, kind == PK_KIND_HEARTBEAT ? PK_FROM_CLIENT : PK_FROM_SERVER, &f) == PK_OK);
  must(f.size == (uint32_t)size && f.kind == kind);
  if (id != NULL && c->id_bytes > 0 && pk_id_max(c) == 0) must(f.id == *id);
}

static void replies(const pk_codec *c, const pk_frame *f, uint32_t context, const uint8_t *text, size_t size) {
  uint8_t *out = malloc(c->reply_max);
  if (out == NULL) abort();
  size_t text_size = size < 512 ? size : 512;
  uint8_t keeps[PK_KEEP_MAX];
  pk_slice kept = {NULL, 0};
  if (c->keep_max > 0) {
    uint8_t *block = flush(text, size);
    int n = c->keep(c, block, size, f, keeps, c->keep_max);
    must(n >= 0 && n <= (int)c->keep_max);
    kept = (pk_slice){keeps, (uint32_t)n};
    free(block);
  }
  for (uint32_t status = PK_STATUS_NO_SERVICE; status < PK_STATUS_COUNT; status++) {
    const pk_reply reply = {f->id, status, context, kept, {text, (uint32_t)text_size}};
    int n = c->error(c, &reply, out, c->reply_max);
    must(n > 0);
    whole(c, out, n, PK_KIND_RESPONSE, &f->id);
    if (n > 1) must(c->error(c, &reply, out, (size_t)n - 1) == PK_ERR_SPACE);
  }
  whole(c, out, c->heartbeat(c, f->id, f->upstream_key, out, c->reply_max), PK_KIND_HEARTBEAT, NULL);
  whole(c, out, c->drain(c, &(pk_reply){.context = context, .kept = kept}, out, c->reply_max), PK_KIND_DRAIN, NULL);
  free(out);
}

static void meaning(const pk_codec *c, const uint8_t *data, const pk_frame *f) {
  pk_destination to = {.context = f->context};
  int result = c->destination(c, data, f, &to);
  must(result == PK_OK || result == PK_ERR_FORMAT || result == PK_ERR_LIMIT || result == PK_ERR_UNSUPPORTED);
  if (result == PK_OK) touch(to.service), touch(to.method), touch(to.version), touch(to.group);
  if (f->kind == PK_KIND_REQUEST) replies(c, f, to.context, data, f->size);
}

static int same_slice(pk_slice a, pk_slice b) {
  return a.size == b.size && (a.data == b.data || (a.data != NULL && b.data != NULL && memcmp(a.data, b.data, a.size) == 0));
}

static int same_key(pk_slice a, pk_slice b) {
  if (!(keys & KEYS_FOLD)) return same_slice(a, b);
  uint32_t i = 0;
  if (a.size != b.size) return 0;
  while (i < a.size && tolower(a.data[i]) == tolower(b.data[i])) i++;
  return i == a.size;
}

/* Of headers under the same key the one that counts is what is found by it: the last, or the first. */
static void asking(const pk_codec *c, const uint8_t *data, const pk_frame *f) {
  pk_header all[32], h, found;
  pk_cursor cursor;
  pk_value v;
  uint32_t n = 0;
  int result;
  memset(&cursor, 0, sizeof cursor);
  for (uint32_t count = 0;; count++) {
    h = (pk_header){{NULL, 0}, {NULL, 0}, 0};
    must(count <= f->size); /* every header takes a byte at least */
    result = c->next_header(c, data, f, &cursor, &h);
    must(result <= PK_MORE);
    if (result != PK_OK) break;
    touch(h.key), touch(h.value);
    if (n++ < 32) all[n - 1] = h;
  }
  for (uint32_t i = 0; i < n && n <= 32; i++) {
    uint32_t first = n, last = i;
    for (uint32_t k = 0; k < n; k++)
      if (same_key(all[k].key, all[i].key)) first = k < first ? k : first, last = k;
    const pk_header *counts = &all[keys & KEYS_FIRST ? first : last];
    int by_key = pk_header_by_key(c, data, f, all[i].key, &found);
    if (result == PK_MORE) must(by_key == PK_OK && found.raw == counts->raw && same_slice(found.value, counts->value));
    if (by_key == PK_OK) touch(found.value);
  }
  must(pk_header_by_key(c, data, f, (pk_slice){(const uint8_t *)"x-none", 6}, &found) <= PK_MORE);
  static const pk_slice keys[] = {{(const uint8_t *)"a", 1}, {(const uint8_t *)"0", 1}, {(const uint8_t *)"1", 1}};
  for (uint32_t i = 0; i < 8; i++) {
    if (pk_argument_at(c, data, f, i, NULL, 0, &v) == PK_OK) touch(v.bytes);
    for (uint32_t k = 0; k < 3; k++) { /* paths of one to three keys, each of them first */
      const pk_slice path[] = {keys[k], keys[(k + 1) % 3], keys[(k + i) % 3]};
      if (pk_argument_at(c, data, f, i, path, 1 + (i + k) % 3, &v) == PK_OK) touch(v.bytes);
    }
  }
}

/* The frame with another id is the same but for that; with its own again it is what it was. */
static void spliced(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_slice id) {
  size_t cap = pk_id_room(c, f->size), back_cap = pk_id_room(c, (uint32_t)cap);
  uint8_t *out = malloc(cap), *back = malloc(back_cap);
  pk_slice own = pk_id_of(c, data, f, f->size);
  pk_frame after;
  if (out == NULL || back == NULL) abort();
  int n = c->splice_id(c, data, f, id.data, id.size, out, cap);
  must(n > 0 || n == PK_ERR_UNSUPPORTED);
  if (n > 0) {
    uint8_t *copy = flush(out, (size_t)n);
    after = (pk_frame){.from = PK_FROM_NOBODY};
    must(pk_frame_alone(c, copy, (size_t)n, 2 * LIMIT, &after) == PK_OK);
    must(after.size == (uint32_t)n && after.kind == f->kind && after.status == f->status);
    must(after.timeout_ms == f->timeout_ms && after.context == f->context);
    pk_slice now = pk_id_of(c, copy, &after, (size_t)n);
    must(now.data != NULL && now.size == id.size && memcmp(now.data, id.data, id.size) == 0);
    must(c->splice_id(c, copy, &after, own.data, own.size, back, pk_id_room(c, after.size)) == (int)f->size);
    must(memcmp(back, data, f->size) == 0);
    free(copy);
  }
  free(back);
  free(out);
}

static void byte_ids(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint64_t number) {
  if (c->splice_id == NULL) return; /* its ids stay as they are */
  uint8_t id[PK_ID_MAX];
  uint64_t again;
  if (pk_id_of(c, data, f, f->size).data == NULL) return;
  uint32_t size = pk_codec_write_id((uintptr_t)c, number, id);
  must(size <= c->id_max && pk_id_read(c, (pk_slice){id, size}, &again));
  spliced(c, data, f, (pk_slice){id, size});
  for (uint32_t i = 0; i < c->id_max; i++) id[i] = (uint8_t)('a' + number % 26);
  spliced(c, data, f, (pk_slice){id, c->id_fixed ? c->id_max : (uint32_t)(number % (c->id_max + 1))});
}

static void ids(const pk_codec *c, uint8_t *data, const pk_frame *f, uint64_t id) {
  uint8_t *before = flush(data, f->size);
  pk_frame after;
  if (c->id_bytes < 8) id &= ((uint64_t)1 << 8 * c->id_bytes) - 1;
  c->patch_id(c, data, f, id);
  must(framed(c, data, f->size, &after) == PK_OK);
  must(after.id == id && after.size == f->size && after.kind == f->kind && after.status == f->status);
  must(after.timeout_ms == f->timeout_ms && after.context == f->context);
  c->patch_id(c, data, &after, f->id);
  must(memcmp(before, data, f->size) == 0);
  free(before);
}

static void edits(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint8_t what) {
  size_t cap = f->size + 1024;
  uint8_t *out = malloc(cap);
  if (out == NULL) abort();
  const pk_edit some[] = {
      {PK_EDIT_HEADER, {(const uint8_t *)"x-fuzz", 6}, {(const uint8_t *)"one", what & 1 ? 3 : 0}},
      {1u + what % 4, {NULL, 0}, {(const uint8_t *)"new.Name", 8}},
  };
  int n = c->edit(c, data, f, some, f->kind == PK_KIND_RESPONSE ? 1 : 1 + (what >> 2 & 1), out, cap);
  if (n >= 0) {
    pk_frame after;
    must(n > 0 && framed_flush(c, out, (size_t)n, &after) == PK_OK);
    must(after.size == (uint32_t)n && after.kind == f->kind && after.id == f->id && after.status == f->status);
  }
  free(out);
}

static void budgets(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint32_t ms) {
  uint8_t *out = malloc(f->size + PK_BUDGET_MORE);
  if (out == NULL) abort();
  int n = pk_budget_in(c, data, f, ms, out);
  if (n >= 0) {
    pk_frame after;
    must(n > 0 && framed_flush(c, out, (size_t)n, &after) == PK_OK);
    must(after.size == (uint32_t)n && after.kind == f->kind && after.id == f->id && after.context == f->context);
  }
  free(out);
}

/* All that is asked of one whole frame; returns its size. */
static void one_frame(const pk_codec *c, const uint8_t *from, const pk_frame *seen, uint8_t how) {
  uint8_t *data = flush(from, seen->size);
  pk_frame f;
  must(framed(c, data, seen->size, &f) == PK_OK);
  must(f.size == seen->size && f.kind == seen->kind && f.id == seen->id && f.status == seen->status);
  if (f.kind == PK_KIND_REQUEST || f.kind == PK_KIND_ONEWAY) {
    meaning(c, data, &f);
    budgets(c, data, &f, 1u << (how & 31));
  }
  if (pk_has_headers(&f)) {
    asking(c, data, &f);
    if (c->edit != NULL) edits(c, data, &f, how);
  }
  if (pk_id_max(c) > 0) {
    byte_ids(c, data, &f, 0x0102030405060708u * (how + 1u));
  } else if (c->id_bytes > 0 && f.kind <= PK_KIND_RESPONSE) ids(c, data, &f, 0x0102030405060708u * (how + 1u));
  if (f.kind == PK_KIND_HEARTBEAT) {
    size_t cap = f.size > c->reply_max ? f.size : c->reply_max;
    uint8_t *out = malloc(cap);
    if (out == NULL) abort();
    whole(c, out, c->heartbeat_ack(c, data, &f, out, cap), PK_KIND_HEARTBEAT_ACK, &f.id);
    free(out);
  }
  free(data);
}

/* The same bytes as one side's, where its end may end them: what told its own end before tells it then, too. */
static void at_the_end(const pk_codec *c, const uint8_t *data, size_t size, uint8_t from) {
  uint8_t *block = flush(data, size);
  pk_frame f, ended;
  int before = framed_as(c, block, size, from, &f), result = framed_by(c, block, size, from, 1, &ended);
  if (before != PK_MORE) must(result == before && !(result == PK_OK && ended.ended));
  if (before == PK_OK) must(ended.size == f.size && ended.kind == f.kind && ended.id == f.id && ended.status == f.status);
  if (before == PK_MORE && result == PK_OK) must(ended.ended && from == PK_FROM_SERVER);
  if (result == PK_OK && pk_is_call(&ended)) meaning(c, block, &ended);
  if (result == PK_OK && pk_has_headers(&ended)) asking(c, block, &ended);
  free(block);
}

/* What was said of fewer bytes stays true when more have come. */
static void prefixes(const pk_codec *c, const uint8_t *data, size_t size, uint8_t cut, uint8_t from) {
  pk_frame last, f;
  uint32_t state = cut;
  int said = flush_as(c, data, size, from, &last), probed = PK_MORE;
  size_t at = 0;
  for (int i = 0; i < PREFIXES && at < size; i++) {
    at += piece(&state, cut > 0 ? cut : 16, size - at);
    int result = flush_as(c, data, at, from, &f);
    if (result == PK_OK) must(said == PK_OK && last.size == f.size && last.kind == f.kind && last.id == f.id);
    if (result < 0) must(said < 0);
    if (result == PK_MORE && said == PK_OK) must(f.need <= last.size);
    uint8_t *block = flush(data, at);
    int probe = c->probe(c, block, at);
    free(block);
    must(probe == PK_OK || probe == PK_MORE || probe == PK_ERR_MAGIC);
    if (probed != PK_MORE) must(probe == probed);
    if (probe == PK_ERR_MAGIC) must(said < 0);
    if (from != PK_FROM_NOBODY && c->ends) at_the_end(c, data, at, from);
    probed = probe;
  }
}

/* Frame after frame; 1 when all bytes are whole requests and heartbeats, or the beginning of a frame. What
 * answers nothing is passed on or not, as the connection stands. */
static int stream(const pk_codec *c, const uint8_t *data, size_t size, uint8_t how, uint8_t cut, uint8_t from) {
  int asks_only = 1;
  for (int i = 0; size > 0; i++) {
    pk_frame f;
    if (i < 3) prefixes(c, data, size, cut, PK_FROM_NOBODY);
    if (i == 0) prefixes(c, data, size, cut, from);
    int result = framed_flush(c, data, size, &f);
    if (result < 0 && f.kind == PK_KIND_REQUEST) replies(c, &f, f.context, data, size);
    if (result != PK_OK) return asks_only && result == PK_MORE;
    asks_only &= f.kind <= PK_KIND_ONEWAY || f.kind == PK_KIND_HEARTBEAT;
    if (i < 8) one_frame(c, data, &f, how);
    data += f.size;
    size -= f.size;
  }
  return asks_only;
}

/* The core between a client and upstreams. */

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

/* Loading. */

static void link_steps(const format *f, uint8_t *image) {
  const pk_program *p = (const void *)image;
  pk_program_step *steps = (void *)(image + p->steps.at);
  for (uint32_t i = 0; i < p->steps.count; i++) {
    const char *name = f->steps[steps[i].function];
    steps[i].function = pk_core_step(name);
#ifdef PLANTED
    if (strcmp(name, "planted") == 0) steps[i].function = (uint64_t)(uintptr_t)planted;
#endif
    if (steps[i].function == 0) fprintf(stderr, "%s: the step %s is not linked in\n", f->name, name), exit(2);
  }
  pk_program_measure *measures = (void *)(image + p->measures.at);
  for (uint32_t i = 0; i < p->measures.count; i++) {
    const char *name = f->steps[measures[i].function];
    measures[i].function = pk_core_measure(name);
    if (measures[i].function == 0) fprintf(stderr, "%s: the measure %s is not linked in\n", f->name, name), exit(2);
  }
  if (p->editing.count > 0) link_steps(f, image + p->editing.at);
}

static const pk_codec *load(const format *f) {
  if (f->image == NULL) return f->native;
  uint8_t *image = flush(f->image, f->size);
  const char *error = NULL;
  link_steps(f, image);
  const pk_codec *codec = pk_declared_new(image, f->size, &error);
  if (codec == NULL) fprintf(stderr, "%s: refused: %s\n", f->name, error), exit(2);
  free(image);
  return codec;
}

static const pk_table *table_of(const pk_codec *c, int strict) {
  pk_limits limits = {.buffer = 4 << 20, .frame = LIMIT, .connections = 64, .in_flight = 4000,
                      .in_flight_per_connection = 4000, .client_pause = 1 << 20, .client_close = 2 << 20,
                      .upstream_buffer = 1 << 20, .upstream_in_flight = 4000, .retry_buffer = 4096,
                      .request_ms = 3000, .idle_ms = 600000, .frame_ms = 20000, .detect_ms = 500,
                      .heartbeat_ms = 4000, .probe_ms = 1000};
  if (strict) {
    limits.in_flight_per_connection = 4;
    limits.upstream_in_flight = 2;
    limits.client_pause = 64;
    limits.upstream_buffer = 256;
    limits.client_close = 4096;
    limits.buffer = 100000;
    limits.frame = STRICT_LIMIT;
  }
  const uint8_t address[16] = {2, 0, 9, 9, 127, 0, 0, 1};
  tables_builder t = {0};
  uint32_t cluster = tables_cluster(&t, "c", strict ? 2 : 1);
  tables_endpoint(&t, 0, "127.0.0.1:2313", address, sizeof address);
  uint32_t plain = tables_plan(&t, "plain", cluster, (pk_retry){0}, PK_NONE);
  uint32_t retries = tables_plan(&t, "retries", cluster, (pk_retry){.attempts = 3, .on = 15, .idempotent = 1, .budget = 1000000}, PK_NONE);
  uint32_t routes = tables_routes(&t, "r");
  tables_rule(&t, "no.*", "*", retries);
  tables_rule(&t, "*", "*", plain);
  tables_listener(&t, "routed", routes, PK_NONE, 0);
  tables_listener(&t, "pinned", PK_NONE, plain, 1);
  tables_listener(&t, "retries", PK_NONE, retries, 0);
  return tables_load(&t, 42, &limits, c);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  for (size_t i = 0; i < FORMATS; i++) {
    codecs[i] = load(&formats[i]);
    const char *wrong = pk_codec_check((uintptr_t)codecs[i]);
    if (wrong != NULL) fprintf(stderr, "%s: %s\n", formats[i].name, wrong), exit(2);
    for (int strict = 0; strict < 2; strict++) tables[i][strict] = table_of(codecs[i], strict);
  }
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size <= HEAD) return 0;
  size_t which = data[0] % FORMATS;
  for (size_t i = 0; i < FORMATS; i++)
    if (formats[i].tag == data[0]) which = i;
  const pk_codec *c = codecs[which];
  uint8_t how = data[1], cut = data[2];
  size_t client = data[3] | (size_t)data[4] << 8;
  running = formats[which].name;
  keys = formats[which].keys;
  data += HEAD;
  size -= HEAD;
  if (client > size) client = size;
  int asks_only = stream(c, data, client, how, cut, PK_FROM_CLIENT);
  stream(c, data + client, size - client, how, cut, PK_FROM_SERVER);
  world_run(c, tables[which][(how & HOW_STRICT) != 0], how, cut, data, client, size, NULL, NULL);
  if (asks_only && cut > 0 && c->mode != PK_MODE_PINGPONG)
    same_in_pieces(c, tables[which][0], how, cut, data, client);
  return 0;
}
