/* sums.h: checksums by number, of pieces that follow one another (protokit/wire/checksums.py has the same order). */
#ifndef PK_SUMS_H
#define PK_SUMS_H

#include <stddef.h>
#include <stdint.h>

enum {
  PK_SUM_CRC32,
  PK_SUM_CRC32C,
  PK_SUM_ADLER32,
  PK_SUM_8,
  PK_SUM_16,
  PK_SUM_32,
  PK_SUM_CRC16, /* its variants: arc, modbus, kermit, x25, xmodem, ccitt-false */
  PK_SUM_COUNT = PK_SUM_CRC16 + 6
};

/* Bytes of the checksum. */
uint32_t pk_sum_width(uint32_t which);
/* What there is of it before the first piece, with a piece more, and at the end. */
uint32_t pk_sum_begin(uint32_t which);
uint32_t pk_sum_add(uint32_t which, uint32_t sum, const uint8_t *data, size_t size);
uint32_t pk_sum_end(uint32_t which, uint32_t sum);

#endif
