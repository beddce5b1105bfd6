/* loaded.h: how long the codecs live that are made while the process runs: declared formats and envelopes.
 *
 * Whoever keeps the address of one holds it: whoever made it, a connection that speaks it, a request that waits
 * for its filter. The last one to let go frees it, in whatever thread. Codecs of plugins in C stay for good:
 * holding one does nothing. */
#ifndef PK_LOADED_H
#define PK_LOADED_H

#include <stdatomic.h>

#include <protokit/codec.h>

/* How such a codec begins. */
typedef struct pk_loaded {
  pk_codec codec;
  void (*free)(struct pk_loaded *);
  uint64_t serial; /* that no other ever has; addresses come again */
  _Atomic uint32_t holders;
} pk_loaded;

/* Count it, held by whoever made it. */
void pk_loaded_begin(pk_loaded *l, void (*free)(pk_loaded *));

/* Let go; the last frees it. */
void pk_loaded_release(pk_loaded *l);

/* Of any codec; both also of NULL (codecs.c). */
void pk_codec_hold(const pk_codec *codec);
/* python { */
void pk_codec_release(const pk_codec *codec);
/* } python */

/* How many hold it, whoever made it included; 0 of a plugin's. */
uint32_t pk_codec_holders(const pk_codec *codec);

/* python { */
/* How many there are. */
uint32_t pk_codecs_loaded(void);
/* } python */

#endif
