/* bolt.h: the hand-written codec that the declared one is compared with. */
#ifndef BENCH_BOLT_H
#define BENCH_BOLT_H

#include <protokit/codec.h>

extern const pk_codec bolt_by_hand; /* all that the declared one does */
extern const pk_codec bolt_framing; /* no destination is read */

#endif
