/* memory.c: memory. All buffers come from here and count against the worker's budget. */
#include <stdlib.h>

#include "core/internal.h"

enum { SMALL = 512 /* of a chunk, where there is no room for whole ones */ };
enum { KEEP_CHUNKS = 256, KEEP_HELD = 256 /* of each size */ };

void *pk_grow(void *data, uint32_t *capacity, uint32_t wanted, size_t item) {
  if (wanted <= *capacity) return data;
  uint32_t grown = *capacity < 64 ? 64 : *capacity;
  while (grown < wanted) grown *= 2;
  void *moved = realloc(data, grown * item);
  if (moved != NULL) *capacity = grown;
  return moved;
}

int pk_list_add(pk_list *l, uint32_t item) {
  uint32_t *items = pk_grow(l->items, &l->capacity, l->count + 1, sizeof *items);
  if (items == NULL) return -1;
  l->items = items;
  l->items[l->count++] = item;
  return 0;
}

/* Whoever holds most pays for what is more than the budget, as soon as nobody is at work: until then there is a quarter
 * more for the frame at work, behind which no other is taken. Where nobody in particular holds it that is for what is
 * urgent. */
static PK_RARE int is_refused(pk_core *core, uint64_t size, int urgent) {
  uint64_t budget = core->limits.buffer;
  core->short_of_memory |= 1;
  if (!core->full) core->frames_most = 0;
  if (urgent || (!core->full && size <= budget)) budget += budget / 4;
  if (core->buffered + size <= budget) return 0;
  core->short_of_memory = 2;
  return 1;
}

static void count(pk_core *core, uint64_t size) {
  core->buffered += size;
  PK_STAT_ADD(core->stats.buffer_bytes, size);
}

static int account(pk_core *core, uint64_t size, int urgent) {
  if (core->buffered + size > core->limits.buffer && is_refused(core, size, urgent)) return -1;
  count(core, size);
  return 0;
}

static void unaccount(pk_core *core, uint64_t size) {
  core->buffered -= size;
  PK_STAT_SUB(core->stats.buffer_bytes, size);
}

static pk_chunk *chunk_of(pk_core *core, uint32_t capacity) {
  count(core, capacity);
  pk_chunk *c = capacity == PK_CHUNK ? core->free_chunks : NULL;
  if (c != NULL) {
    core->free_chunks = c->next;
    core->free_chunk_count--;
  } else {
    c = malloc(sizeof *c + capacity);
    if (c == NULL) {
      unaccount(core, capacity);
      return NULL;
    }
  }
  c->next = NULL;
  c->capacity = capacity;
  c->start = c->end = 0;
  return c;
}

static PK_RARE pk_chunk *chunk_over_budget(pk_core *core, uint32_t size, int urgent) {
  return is_refused(core, size, urgent) ? NULL : chunk_of(core, size);
}

/* Instead of a whole one: many may have to be told why. */
static PK_RARE pk_chunk *small_chunk(pk_core *core, uint32_t size, int urgent) {
  pk_chunk *c = chunk_over_budget(core, size < SMALL ? SMALL : size, urgent);
  core->short_of_memory = 2;
  return c;
}

pk_chunk *pk_chunk_new(pk_core *core, uint32_t size, int urgent) {
  uint32_t room = size <= PK_CHUNK ? PK_CHUNK : size;
  if (core->buffered + room <= core->limits.buffer) return chunk_of(core, room);
  return size < PK_CHUNK ? small_chunk(core, size, urgent) : chunk_over_budget(core, size, urgent);
}

pk_chunk *pk_chunk_exact(pk_core *core, uint32_t size) {
  return core->buffered + size <= core->limits.buffer ? chunk_of(core, size) : chunk_over_budget(core, size, 1);
}

pk_chunk *pk_chunk_zeros(pk_core *core, uint32_t size) {
  pk_chunk *c = pk_chunk_exact(core, size);
  if (c != NULL) memset(c->data, 0, size);
  return c;
}

void pk_chunk_free(pk_core *core, pk_chunk *c) {
  if (c == NULL) return;
  unaccount(core, c->capacity);
  if (c->capacity == PK_CHUNK && core->free_chunk_count < KEEP_CHUNKS) {
    c->next = core->free_chunks;
    core->free_chunks = c;
    core->free_chunk_count++;
  } else {
    free(c);
  }
}

void pk_chunks_free(pk_core *core, pk_chunk *first) {
  while (first != NULL) {
    pk_chunk *next = first->next;
    pk_chunk_free(core, first);
    first = next;
  }
}

/* Small ones are kept by their sizes: each request may need one. Sanitizers are to see where each ends. */
static uint32_t held_class(uint32_t size) {
#ifdef __SANITIZE_ADDRESS__
  size = UINT32_MAX;
#endif
  return size / PK_HELD_STEP < PK_HELD_CLASSES ? size / PK_HELD_STEP : PK_HELD_CLASSES;
}

pk_held *pk_held_new(pk_core *core, uint32_t size) {
  uint32_t class = held_class(size);
  if (account(core, size, 0) != 0) return NULL;
  pk_held *h = class < PK_HELD_CLASSES ? core->free_held[class] : NULL;
  if (h != NULL) {
    core->free_held[class] = h->next;
    core->free_held_count[class]--;
  } else {
    h = malloc(sizeof *h + (class < PK_HELD_CLASSES ? (class + 1) * PK_HELD_STEP : size));
    if (h == NULL) {
      unaccount(core, size);
      return NULL;
    }
  }
  h->capacity = size;
  return h;
}

pk_held *pk_hold(pk_core *core, const uint8_t *data, const pk_frame *frame) {
  pk_held *h = pk_held_new(core, frame->size);
  if (h == NULL) return NULL;
  h->frame = *frame;
  memcpy(h->data, data, frame->size);
  return h;
}

void pk_held_free(pk_core *core, pk_held *h) {
  if (h == NULL) return;
  uint32_t class = held_class(h->capacity);
  unaccount(core, h->capacity);
  if (class < PK_HELD_CLASSES && core->free_held_count[class] < KEEP_HELD) {
    h->next = core->free_held[class];
    core->free_held[class] = h;
    core->free_held_count[class]++;
  } else {
    free(h);
  }
}

void pk_held_orphan(pk_core *core, pk_held *h) { unaccount(core, h->capacity); }

static PK_RARE uint8_t *add_chunk(pk_core *core, pk_conn *c, uint32_t size) {
  pk_chunk *added = pk_chunk_new(core, size, 1);
  if (added == NULL) return NULL;
  *(c->out_tail != NULL ? &c->out_tail->next : &c->out) = added;
  c->out_tail = added;
  return added->data;
}

uint8_t *pk_out_reserve(pk_core *core, pk_conn *c, uint32_t size) {
  pk_chunk *tail = c->out_tail;
  if (tail != NULL && tail->capacity - tail->end >= size) return tail->data + tail->end;
  return add_chunk(core, c, size);
}

void pk_out_commit(pk_core *core, pk_conn *c, uint32_t size) {
  c->out_tail->end += size;
  c->out_bytes += size;
  c->out_total += size;
  if (!c->dirty && c->state != PK_CONN_CONNECTING && pk_list_add(&core->dirty, c->index) == 0)
    c->dirty = 1;
}

int pk_out_append(pk_core *core, pk_conn *c, const uint8_t *data, size_t size) {
  while (size > 0) {
    uint8_t *to = pk_out_reserve(core, c, 1);
    if (to == NULL) return -1;
    uint32_t room = c->out_tail->capacity - c->out_tail->end, part = size < room ? (uint32_t)size : room;
    memcpy(to, data, part);
    pk_out_commit(core, c, part);
    data += part;
    size -= part;
  }
  return 0;
}

/* Half a frame: its rest is put in front of the seal, all else behind it, where nothing is written from. */

static void add_chunks(pk_conn *c, pk_chunk *first) {
  *(c->out_tail != NULL ? &c->out_tail->next : &c->out) = first;
  while (first->next != NULL) first = first->next;
  c->out_tail = first;
}

int pk_out_seal(pk_core *core, pk_conn *c) {
  pk_chunk *seal = pk_chunk_exact(core, 0);
  if (seal == NULL) return -1;
  add_chunks(c, seal);
  c->seal = seal;
  return 0;
}

pk_chunk *pk_out_lift(pk_conn *c) {
  pk_chunk *seal = c->seal, *last = NULL, **at = &c->out;
  if (seal == NULL) return NULL;
  for (; *at != seal; at = &last->next) last = *at;
  *at = NULL;
  c->out_tail = last;
  c->seal = NULL;
  return seal;
}

void pk_out_lower(pk_core *core, pk_conn *c, pk_chunk *seal, int again) {
  if (seal == NULL) return;
  pk_chunk *first = again ? seal : seal->next;
  c->seal = again ? seal : NULL;
  if (!again) pk_chunk_free(core, seal);
  if (first == NULL) return;
  add_chunks(c, first);
  if (!again) pk_out_commit(core, c, 0); /* it is written now */
}

uint64_t pk_out_front(const pk_conn *c) {
  uint64_t bytes = 0;
  if (c->seal == NULL) return c->out_bytes;
  for (const pk_chunk *k = c->out; k != c->seal; k = k->next) bytes += k->end - k->start;
  return bytes;
}

void pk_out_cut(pk_core *core, pk_conn *c) {
  pk_chunk *seal = pk_out_lift(c);
  for (const pk_chunk *k = seal; k != NULL; k = k->next) c->out_bytes -= k->end - k->start;
  pk_chunks_free(core, seal);
}

void pk_out_free(pk_core *core, pk_conn *c) {
  pk_chunks_free(core, c->out);
  c->out = c->out_tail = c->seal = NULL;
  c->out_bytes = 0;
}
