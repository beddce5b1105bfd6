/* framing.h: framing without a connection: a reply that was just built, a frame that was kept. */
#ifndef PK_FRAMING_H
#define PK_FRAMING_H

#include <stdalign.h>

#include <protokit/codec.h>

/* pk_codec.frame of the first message in data[0..size). What is in *f but what is given by who asks is overwritten. */
static inline int pk_frame_alone(const pk_codec *c, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  alignas(16) uint8_t state[PK_STATE_MAX];
  *f = (pk_frame){.need = (uint32_t)size + 1, .from = f->from, .ended = f->ended, .asked = f->asked, .halves = f->halves};
  if (c->state_size > 0) {
    for (uint32_t i = 0; i < c->state_size; i++) state[i] = 0;
    f->state = state;
  }
  int result = c->frame(c, data, size, limit, f);
  f->state = NULL;
  return result;
}

#endif
