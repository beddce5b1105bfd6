/* frames.h: what is asked of one codec by itself: each of its functions about whole frames and their fronts, and that what
 * these say agrees. */
#ifndef FUZZ_FRAMES_H
#define FUZZ_FRAMES_H

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "wire/framing.h"

enum { KEYS_FIRST = 1 /* of a key that stands twice the first counts */, KEYS_FOLD = 2 /* in upper and lower case */ };
enum { LIMIT = 1 << 16, PREFIXES = 40 };
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

#endif
