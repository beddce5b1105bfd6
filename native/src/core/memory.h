/* memory.h: what holds bytes: chunks, what is kept of requests, pages beside records. */
#ifndef PK_MEMORY_H
#define PK_MEMORY_H

#include <stdalign.h>

#include "core/core.h"

typedef struct pk_conn pk_conn;

enum { PK_CHUNK = 16 * 1024, PK_READ = 64 * 1024, PK_FRAMES_A_FEED = 512, PK_FRAMES_A_BATCH = 4096, PK_RING = 4096 };

typedef struct pk_chunk {
  struct pk_chunk *next;
  uint32_t capacity, start, end;
  alignas(16) uint8_t data[];
} pk_chunk;

/* A request's bytes kept: while its connection is being opened, a filter thinks, or for a retry. */
typedef struct pk_held {
  pk_frame frame;
  struct pk_held *next; /* orphaned: a filter may still read it, and its request has ended */
  pk_handle request;    /* that it was of */
  uint32_t capacity;
  uint8_t data[];
} pk_held;

enum { PK_HELD_STEP = 128, PK_HELD_CLASSES = 8 };

typedef struct pk_list {
  uint32_t *items;
  uint32_t count, capacity;
} pk_list;

/* What only some protocols' requests have, by index: made when needed. */
typedef struct pk_pages {
  uint8_t **pages;
  uint32_t count;
} pk_pages;

/* memory.c */
void *pk_grow(void *data, uint32_t *capacity, uint32_t wanted, size_t item);
int pk_list_add(pk_list *l, uint32_t item);
/* NULL over budget. `urgent` (answers, errors) may use a quarter more than the budget. */
pk_chunk *pk_chunk_new(pk_core *core, uint32_t size, int urgent);
pk_chunk *pk_chunk_exact(pk_core *core, uint32_t size); /* urgent, and no larger: many may wait */
pk_chunk *pk_chunk_zeros(pk_core *core, uint32_t size); /* the same, of zeros */
void pk_chunk_free(pk_core *core, pk_chunk *c);
void pk_chunks_free(pk_core *core, pk_chunk *first);
pk_held *pk_held_new(pk_core *core, uint32_t size); /* to be filled; NULL: no room */
pk_held *pk_hold(pk_core *core, const uint8_t *data, const pk_frame *frame);
void pk_held_orphan(pk_core *core, pk_held *h); /* it does not count against the budget any more */
void pk_held_free(pk_core *core, pk_held *h);
/* Room for `size` contiguous bytes at the end of the output, then commit what was written there. */
uint8_t *pk_out_reserve(pk_core *core, pk_conn *c, uint32_t size);
void pk_out_commit(pk_core *core, pk_conn *c, uint32_t size);
/* Bytes that need not stand together. -1 over budget, when some of them may be queued. */
int pk_out_append(pk_core *core, pk_conn *c, const uint8_t *data, size_t size);
/* It has half a frame: what is added waits behind the seal; -1 without memory. The frame's rest is added while that is
 * lifted, which gives what waits; it is lowered in any case, for more of the frame (`again`) or for good. */
int pk_out_seal(pk_core *core, pk_conn *c);
pk_chunk *pk_out_lift(pk_conn *c);
void pk_out_lower(pk_core *core, pk_conn *c, pk_chunk *seal, int again);
uint64_t pk_out_front(const pk_conn *c); /* bytes in front of the seal, or all */
void pk_out_cut(pk_core *core, pk_conn *c); /* what waits is dropped */
void pk_out_free(pk_core *core, pk_conn *c);

/* records.c */
/* What stands at an index, `size` bytes; room for it, NULL without memory. */
uint8_t *pk_page_room(pk_pages *p, uint32_t index, uint32_t size);
uint8_t *pk_page_at(const pk_pages *p, uint32_t index, uint32_t size);

#endif
