/* digits.c: see digits.h. */
#include "wire/digits.h"

enum { LONGEST = 20 }; /* of 64 bits, with a minus or without */

pk_slice pk_digits(int negative, uint64_t value) {
  static __thread uint8_t texts[PK_DIGITS][LONGEST];
  static __thread uint32_t next;
  uint8_t *end = texts[next++ % PK_DIGITS] + LONGEST, *at = end;
  uint64_t left = negative ? 0 - value : value;
  do {
    *--at = (uint8_t)('0' + left % 10);
    left /= 10;
  } while (left > 0);
  if (negative) *--at = '-';
  return (pk_slice){at, (uint32_t)(end - at)};
}
