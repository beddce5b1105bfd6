/* checksum.c: eight bytes a step through eight tables. */
#include "base/checksum.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0xedb88320u
#define CASTAGNOLI 0x82f63b78u

typedef uint32_t eight[8][256];
static eight plain, castagnoli;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_one(eight tables, uint32_t polynomial) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ polynomial : c >> 1;
    tables[0][i] = c;
  }
  for (uint32_t i = 0; i < 256; i++)
    for (int t = 1; t < 8; t++)
      tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 0xff];
}

static void fill(void) {
  fill_one(plain, POLYNOMIAL);
  fill_one(castagnoli, CASTAGNOLI);
}

static uint32_t little32(const uint8_t *p) {
  return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static inline __attribute__((always_inline)) uint32_t go_on(const eight tables, uint32_t crc, const uint8_t *data,
                                                            size_t size) {
  crc = ~crc;
  for (; size >= 8; data += 8, size -= 8) {
    uint32_t low = crc ^ little32(data), high = little32(data + 4);
    crc = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^
          tables[4][low >> 24] ^ tables[3][high & 0xff] ^ tables[2][high >> 8 & 0xff] ^
          tables[1][high >> 16 & 0xff] ^ tables[0][high >> 24];
  }
  for (; size > 0; data++, size--) crc = crc >> 8 ^ tables[0][(crc ^ *data) & 0xff];
  return ~crc;
}

uint32_t pk_crc32(uint32_t crc, const uint8_t *data, size_t size) {
  pthread_once(&once, fill);
  return go_on((const uint32_t(*)[256])plain, crc, data, size);
}

uint32_t pk_crc32c(uint32_t crc, const uint8_t *data, size_t size) {
  pthread_once(&once, fill);
  return go_on((const uint32_t(*)[256])castagnoli, crc, data, size);
}
