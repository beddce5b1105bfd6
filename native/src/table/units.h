/* units.h: a character beyond U+FFFF has two forms: four bytes, and the two UTF-16 units, of three bytes each, that Java's
 * libraries write. Rules have the first; whoever decides something by a text takes both for one. */
#ifndef PK_UNITS_H
#define PK_UNITS_H

#include <protokit/codec.h>
#include <string.h>

/* Whether a text has such units; most have no byte over 127. */
int pk_units_among(pk_slice s);
static inline int pk_units_in(pk_slice s) {
  uint64_t all = 0, word;
  uint32_t at = 0;
  for (; s.size - at >= sizeof word; at += (uint32_t)sizeof word) {
    memcpy(&word, s.data + at, sizeof word);
    all |= word;
  }
  for (; at < s.size; at++) all |= s.data[at];
  return (all & 0x8080808080808080u) != 0 && pk_units_among(s);
}

/* As rules have it, in `out`, of no more bytes: in four such a character, and U+FFFD for a unit alone. */
pk_slice pk_units_joined(pk_slice s, uint8_t *out);

/* Whether a text has a character that has two forms, in four bytes; and it in units, of no more than half as many bytes again. */
int pk_units_wide(pk_slice s);
pk_slice pk_units_split(pk_slice s, uint8_t *out);

/* Room for such texts, `size` bytes in all: `few` where that will do. NULL without memory. */
enum { PK_UNITS_FEW = 512 };
uint8_t *pk_units_room(uint32_t size, uint8_t few[PK_UNITS_FEW]);
void pk_units_over(uint8_t *room, const uint8_t *few);

#endif
