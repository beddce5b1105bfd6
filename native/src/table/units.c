/* units.c: see units.h. */
#include "table/units.h"

#include <stdlib.h>
#include <string.h>

/* One of three bytes, or 0. */
static uint32_t unit_at(pk_slice s, uint32_t at) {
  if (s.size - at < 3 || s.data[at] != 0xed || s.data[at + 1] < 0xa0) return 0;
  return 0xd000u | (s.data[at + 1] & 63u) << 6 | (s.data[at + 2] & 63u);
}

int pk_units_among(pk_slice s) {
  if (s.size < 3) return 0;
  const uint8_t *at = s.data, *end = s.data + s.size;
  while (end - at >= 3 && (at = memchr(at, 0xed, (size_t)(end - at) - 2)) != NULL) {
    if (at[1] >= 0xa0) return 1;
    at++;
  }
  return 0;
}

pk_slice pk_units_joined(pk_slice s, uint8_t *out) {
  uint32_t size = 0;
  for (uint32_t at = 0, unit, low; at < s.size;) {
    if ((unit = unit_at(s, at)) == 0) {
      out[size++] = s.data[at++];
      continue;
    }
    at += 3;
    if (unit < 0xdc00 && at < s.size && (low = unit_at(s, at)) >= 0xdc00) {
      uint32_t code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
      out[size++] = (uint8_t)(0xf0 | code >> 18);
      out[size++] = (uint8_t)(0x80 | (code >> 12 & 63));
      out[size++] = (uint8_t)(0x80 | (code >> 6 & 63));
      out[size++] = (uint8_t)(0x80 | (code & 63));
      at += 3;
    } else {
      memcpy(out + size, "\xef\xbf\xbd", 3);
      size += 3;
    }
  }
  return (pk_slice){out, size};
}

int pk_units_wide(pk_slice s) {
  uint8_t most = 0;
  for (uint32_t i = 0; i < s.size; i++) most = s.data[i] > most ? s.data[i] : most;
  return most >= 0xf0;
}

static uint8_t *put_unit(uint8_t *out, uint32_t unit) {
  *out++ = 0xed;
  *out++ = (uint8_t)(0x80 | (unit >> 6 & 63));
  *out++ = (uint8_t)(0x80 | (unit & 63));
  return out;
}

pk_slice pk_units_split(pk_slice s, uint8_t *out) {
  uint8_t *to = out;
  for (uint32_t at = 0; at < s.size;) {
    const uint8_t *c = s.data + at;
    if (c[0] < 0xf0 || s.size - at < 4) {
      *to++ = *c;
      at++;
      continue;
    }
    uint32_t code = ((c[0] & 7u) << 18 | (c[1] & 63u) << 12 | (c[2] & 63u) << 6 | (c[3] & 63u)) - 0x10000;
    to = put_unit(put_unit(to, 0xd800 + (code >> 10 & 0x3ff)), 0xdc00 + (code & 0x3ff));
    at += 4;
  }
  return (pk_slice){out, (uint32_t)(to - out)};
}

uint8_t *pk_units_room(uint32_t size, uint8_t few[PK_UNITS_FEW]) { return size <= PK_UNITS_FEW ? few : malloc(size); }

void pk_units_over(uint8_t *room, const uint8_t *few) {
  if (room != few) free(room);
}
