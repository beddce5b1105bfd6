/* hessian_text.c: writing strings. Facts: the Hessian 2.0 grammar, and bytes of hessian-lite, which
 * writes a character beyond U+FFFF as its two surrogates, three bytes each. */
#include "layout.h"

enum { CHUNK = 0x7fff };

/* Bytes of the character in front, 0 when the text is cut in the middle of one. */
static uint32_t width_of(const uint8_t *p, const uint8_t *end) {
  uint32_t width = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc0 ? 2 : 0;
  return width <= (size_t)(end - p) ? width : 0;
}

/* Of eight bytes those that are not ASCII have a bit set. */
static uint64_t others(const uint8_t *p) {
  uint64_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return word & 0x8080808080808080u;
}

/* How many of up to `most` bytes in front are ASCII, as all are of most errors. */
static uint32_t plain_front(const uint8_t *p, size_t most) {
  uint32_t size = 0;
  while (size + 32 <= most &&
         (others(p + size) | others(p + size + 8) | others(p + size + 16) | others(p + size + 24)) == 0)
    size += 32;
  while (size + 8 <= most && others(p + size) == 0) size += 8;
  if (size >= 8 && size < most && most - size < 8 && others(p + most - 8) == 0) return (uint32_t)most;
  while (size < most && p[size] < 0x80) size++;
  return size;
}

static void put_units(writer *w, const uint8_t *p, uint32_t width) {
  if (width < 4) {
    write_bytes(w, p, width);
    return;
  }
  uint32_t code = ((p[0] & 7u) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u)) - 0x10000;
  const uint32_t pair[2] = {0xd800 + (code >> 10 & 0x3ff), 0xdc00 + (code & 0x3ff)};
  for (int i = 0; i < 2; i++) {
    write_byte(w, (uint8_t)(0xe0 | pair[i] >> 12));
    write_byte(w, (uint8_t)(0x80 | (pair[i] >> 6 & 63)));
    write_byte(w, (uint8_t)(0x80 | (pair[i] & 63)));
  }
}

static __attribute__((noinline)) void put_any(writer *w, pk_slice text) {
  const uint8_t *at = text.data, *end = text.data + text.size;
  do {
    size_t left = (size_t)(end - at);
    uint32_t plain = left == 0 ? 0 : plain_front(at, left < CHUNK ? left : CHUNK), units = plain, width;
    const uint8_t *to = at + plain;
    while (to < end && (width = width_of(to, end)) > 0 && units + (width == 4 ? 2 : 1) <= CHUNK) {
      units += width == 4 ? 2 : 1;
      to += width;
    }
    int last = to == end || width_of(to, end) == 0;
    if (last && units < 0x20) {
      write_byte(w, (uint8_t)units);
    } else {
      if (last && units < 0x400) {
        write_byte(w, (uint8_t)(0x30 + (units >> 8)));
      } else {
        write_byte(w, last ? 'S' : 'R');
        write_byte(w, (uint8_t)(units >> 8));
      }
      write_byte(w, (uint8_t)units);
    }
    write_bytes(w, at, plain);
    at += plain;
    while (at < to) {
      width = width_of(at, end);
      put_units(w, at, width);
      at += width;
    }
    if (last) return;
  } while (1);
}

void hessian_put_text(writer *w, pk_slice text) {
  if (text.size >= 0x400 || plain_front(text.data, text.size) < text.size) {
    put_any(w, text);
    return;
  }
  if (text.size >= 0x20) write_byte(w, (uint8_t)(0x30 + (text.size >> 8)));
  write_byte(w, (uint8_t)text.size);
  write_bytes(w, text.data, text.size);
}
