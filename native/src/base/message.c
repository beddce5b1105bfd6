/* message.c: see message.h. */
#include "base/message.h"

#include <string.h>

/* Whether eight bytes are printable: none is over 0x7f, under 0x20, or 0x7f. */
static int are_printable(const uint8_t *from) {
  uint64_t x;
  memcpy(&x, from, sizeof x);
  return ((x | (x - 0x2020202020202020u) | (x + 0x0101010101010101u)) & 0x8080808080808080u) == 0;
}

void pk_message_bytes(pk_message *m, const void *data, uint32_t size) {
  const uint8_t *from = data;
  char *to = m->data + m->size;
  uint32_t room = (uint32_t)sizeof m->data - m->size;
  if (size > room) size = room;
  uint32_t i = 0;
  for (; size - i >= 8 && are_printable(from + i); i += 8) memcpy(to + i, from + i, 8);
  for (; i < size; i++) to[i] = from[i] >= 0x20 && from[i] < 0x7f ? (char)from[i] : '?';
  m->size += size;
}

void pk_message_begin(pk_message *m, const char *s) {
  m->size = 0;
  pk_message_add(m, s);
}

void pk_message_add(pk_message *m, const char *s) {
  size_t size = strlen(s), room = sizeof m->data - m->size;
  if (size > room) size = room;
  memcpy(m->data + m->size, s, size);
  m->size += (uint32_t)size;
}

void pk_message_number(pk_message *m, uint64_t n) {
  char digits[20];
  uint32_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + n % 10);
    n /= 10;
  } while (n > 0);
  pk_message_bytes(m, digits + at, (uint32_t)sizeof digits - at);
}
