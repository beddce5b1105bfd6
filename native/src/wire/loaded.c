/* loaded.c: see loaded.h. */
#include "wire/loaded.h"

#include "wire/envelope.h"
#include "wire/program.h"

static _Atomic uint32_t living;
static _Atomic uint64_t serials;

static pk_loaded *loaded_of(const pk_codec *codec) {
  if (codec == NULL || !(pk_declared_is(codec) || pk_envelope_is(codec))) return NULL;
  return (pk_loaded *)(uintptr_t)codec;
}

void pk_loaded_begin(pk_loaded *l, void (*free)(pk_loaded *)) {
  l->free = free;
  l->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
  atomic_init(&l->holders, 1);
  atomic_fetch_add_explicit(&living, 1, memory_order_relaxed);
}

void pk_codec_hold(const pk_codec *codec) {
  pk_loaded *l = loaded_of(codec);
  if (l != NULL) atomic_fetch_add_explicit(&l->holders, 1, memory_order_relaxed);
}

void pk_codec_release(const pk_codec *codec) {
  pk_loaded *l = loaded_of(codec);
  if (l == NULL || atomic_fetch_sub_explicit(&l->holders, 1, memory_order_acq_rel) > 1) return;
  atomic_fetch_sub_explicit(&living, 1, memory_order_relaxed);
  l->free(l);
}

uint32_t pk_codec_holders(const pk_codec *codec) {
  pk_loaded *l = loaded_of(codec);
  return l == NULL ? 0 : atomic_load_explicit(&l->holders, memory_order_acquire);
}

uint32_t pk_codecs_loaded(void) { return atomic_load_explicit(&living, memory_order_relaxed); }
