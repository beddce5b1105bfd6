/* checksum.h: CRC-32 as zlib and IEEE 802.3 have it, and CRC-32C (Castagnoli). */
#ifndef PK_CHECKSUM_H
#define PK_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* They go on from `crc`, 0 at the start. */
uint32_t pk_crc32(uint32_t crc, const uint8_t *data, size_t size);
uint32_t pk_crc32c(uint32_t crc, const uint8_t *data, size_t size);

#endif
