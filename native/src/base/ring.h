/* ring.h: a ring of fixed-size records between one writing and one reading thread. */
#ifndef PK_RING_H
#define PK_RING_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct pk_ring {
  _Alignas(64) _Atomic uint32_t head; /* next to read; the reader's */
  _Alignas(64) _Atomic uint32_t tail; /* next to write; the writer's */
  _Alignas(64) uint32_t size, item;   /* size: a power of two */
  uint8_t *data;
} pk_ring;

static inline int pk_ring_init(pk_ring *r, uint32_t size, uint32_t item) {
  r->size = size;
  r->item = item;
  r->data = calloc(size, item);
  return r->data == NULL ? -1 : 0;
}

/* NULL without memory. */
static inline pk_ring *pk_ring_new(uint32_t size, uint32_t item) {
  pk_ring *r = (pk_ring *)aligned_alloc(_Alignof(pk_ring), sizeof *r);
  if (r == NULL) return NULL;
  memset(r, 0, sizeof *r);
  if (pk_ring_init(r, size, item) == 0) return r;
  free(r);
  return NULL;
}

static inline void pk_ring_free(pk_ring *r) {
  if (r != NULL) free(r->data);
  free(r);
}

/* 0, or -1 when it is full. */
static inline int pk_ring_put(pk_ring *r, const void *record) {
  uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
  if (tail - atomic_load_explicit(&r->head, memory_order_acquire) == r->size) return -1;
  memcpy(r->data + (size_t)(tail & (r->size - 1)) * r->item, record, r->item);
  atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
  return 0;
}

/* Up to `max` records; how many. */
static inline uint32_t pk_ring_take(pk_ring *r, void *records, uint32_t max) {
  uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed), n = 0;
  uint32_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
  while (n < max && head + n != tail) {
    memcpy((uint8_t *)records + (size_t)n * r->item,
           r->data + (size_t)((head + n) & (r->size - 1)) * r->item, r->item);
    n++;
  }
  atomic_store_explicit(&r->head, head + n, memory_order_release);
  return n;
}

#endif
