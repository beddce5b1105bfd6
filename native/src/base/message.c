/* message.c: see message.h. */
#include "base/message.h"

/* Whether eight bytes are printable: none is over 0x7f, under 0x20, or 0x7f. */
static int are_printable(uint64_t x) {
  return ((x | (x - 0x2020202020202020u) | (x + 0x0101010101010101u)) & 0x8080808080808080u) == 0;
}

/* How many of them stand at `to`, since all of these are printable: by the eight, the last eight with some once more. */
static uint32_t put_printable(char *to, const uint8_t *from, uint32_t size) {
  uint32_t i = 0;
  uint64_t x;
  while (i + 8 <= size) {
    memcpy(&x, from + i, 8);
    if (!are_printable(x)) return i;
    memcpy(to + i, &x, 8);
    i = i + 8 < size && i + 16 > size ? size - 8 : i + 8;
  }
  if (size >= 8 || size < 4) return i;
  uint32_t front, back;
  memcpy(&front, from, 4);
  memcpy(&back, from + size - 4, 4);
  if (!are_printable((uint64_t)front << 32 | back)) return 0;
  memcpy(to, &front, 4);
  memcpy(to + size - 4, &back, 4);
  return size;
}

void pk_message_bytes(pk_message *m, const void *data, uint32_t size) {
  const uint8_t *from = data;
  char *to = m->data + m->size;
  uint32_t room = (uint32_t)sizeof m->data - m->size;
  if (size > room) size = room;
  for (uint32_t i = put_printable(to, from, size); i < size; i++) to[i] = from[i] >= 0x20 && from[i] < 0x7f ? (char)from[i] : '?';
  m->size += size;
}

void pk_message_put(pk_message *m, const char *s, size_t size) {
  size_t room = sizeof m->data - m->size;
  if (size > room) size = room;
  memcpy(m->data + m->size, s, size);
  m->size += (uint32_t)size;
}

void pk_message_number(pk_message *m, uint64_t n) {
  char digits[20];
  uint32_t at = sizeof digits, to = m->size;
  do {
    digits[--at] = (char)('0' + n % 10);
    n /= 10;
  } while (n > 0);
  while (at < sizeof digits && to < sizeof m->data) m->data[to++] = digits[at++];
  m->size = to;
}
