/* codecs.c: of any codec, whether it was made here, and by how many it is held (loaded.h). */
#include "wire/envelope.h"
#include "wire/loaded.h"
#include "wire/program.h"

static pk_loaded *loaded_of(const pk_codec *codec) {
  if (codec == NULL || !(pk_declared_is(codec) || pk_envelope_is(codec))) return NULL;
  return (pk_loaded *)(uintptr_t)codec;
}

void pk_codec_hold(const pk_codec *codec) {
  pk_loaded *l = loaded_of(codec);
  if (l != NULL) atomic_fetch_add_explicit(&l->holders, 1, memory_order_relaxed);
}

void pk_codec_release(const pk_codec *codec) {
  pk_loaded *l = loaded_of(codec);
  if (l != NULL) pk_loaded_release(l);
}

uint32_t pk_codec_holders(const pk_codec *codec) {
  pk_loaded *l = loaded_of(codec);
  return l == NULL ? 0 : atomic_load_explicit(&l->holders, memory_order_acquire);
}
