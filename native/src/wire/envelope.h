/* envelope.h: what the engine reads and writes for a protocol whose codec is a Python class.
 *
 * Such a connection's socket is not the worker's: it goes to the deciding side together with one end of a
 * socket pair, and the worker keeps the other end, on which it speaks envelopes. So the core frames,
 * routes, times out and replies as for any protocol, and nothing is asked of Python.
 *
 *    0  "PKE1"               24  timeout, ms           40  size of service, 2 bytes
 *    4  size of it all       28  context               42  size of method
 *    8  id                   32  upstream key          44  size of version
 *   16  id in the frame      36  kind, status, flags   46  size of group
 *                            39  says                  48  size of what is kept, (zero)
 *                                                      52  these five, then the frame
 *
 * Integers are the machine's own. protokit/wire/envelope.py is the other side. */
#ifndef PK_ENVELOPE_H
#define PK_ENVELOPE_H

#include <protokit/codec.h>

enum {
  PK_ENVELOPE_BUILD = 1,     /* down: no frame yet; the kind says what to build, the payload from what */
  PK_ENVELOPE_WRONG = 2,     /* up: the peer's bytes are not the protocol, at byte `timeout` */
  PK_ENVELOPE_TOO_LARGE = 4, /* up: a frame over the limit, of that kind, id and context */
  PK_ENVELOPE_UNREADABLE = 8, /* up: where the request wants to go cannot be read */
  PK_ENVELOPE_ENDED = 16      /* up: the peer's end tells where the message ends */
};

/* What a codec has beyond what every one must have. */
enum { PK_ENVELOPE_BEATS = 1, PK_ENVELOPE_DRAINS = 2, PK_ENVELOPE_DRAINS_IF_ASKED = 4, PK_ENVELOPE_KEEPS = 8,
       PK_ENVELOPE_PINNED = 16 /* its ids stay as they are */ };

/* python { */
/* The codec of a protocol in Python, held by the caller (loaded.h). 0 when memory is short. */
uintptr_t pk_envelope_new(const char *name, uint32_t mode, uint32_t id_bytes, const uint64_t *reserved_ids,
                          uint32_t reserved_count, uint32_t features);
/* } python */
int pk_envelope_is(const pk_codec *codec);

#endif
