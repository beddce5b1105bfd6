/* loaded.c: see loaded.h. */
#include "wire/loaded.h"

static _Atomic uint32_t living;
static _Atomic uint64_t serials;

void pk_loaded_begin(pk_loaded *l, void (*free)(pk_loaded *)) {
  l->free = free;
  l->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
  atomic_init(&l->holders, 1);
  atomic_fetch_add_explicit(&living, 1, memory_order_relaxed);
}

void pk_loaded_release(pk_loaded *l) {
  if (atomic_fetch_sub_explicit(&l->holders, 1, memory_order_acq_rel) > 1) return;
  atomic_fetch_sub_explicit(&living, 1, memory_order_relaxed);
  l->free(l);
}

uint32_t pk_codecs_loaded(void) { return atomic_load_explicit(&living, memory_order_relaxed); }
