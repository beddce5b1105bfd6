/* sums.c: see sums.h. */
#include "base/sums.h"

#include <pthread.h>

#include "base/checksum.h"

enum { REFLECTED_8005 = 0xa001, REFLECTED_1021 = 0x8408, PLAIN_1021 = 0x1021 };
enum { ADLER = 65521, ADLER_STEP = 5552 }; /* so many bytes cannot overflow 32 bits */

typedef struct crc16 {
  uint16_t polynomial, start, end;
} crc16;

static const crc16 variants[] = {{REFLECTED_8005, 0, 0},           {REFLECTED_8005, 0xffff, 0},
                                 {REFLECTED_1021, 0, 0},           {REFLECTED_1021, 0xffff, 0xffff},
                                 {PLAIN_1021, 0, 0},               {PLAIN_1021, 0xffff, 0}};

static uint16_t reflected_8005[256], reflected_1021[256], plain_1021[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_reflected(uint16_t *table, uint32_t polynomial) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ polynomial : c >> 1;
    table[i] = (uint16_t)c;
  }
}

static void fill(void) {
  fill_reflected(reflected_8005, REFLECTED_8005);
  fill_reflected(reflected_1021, REFLECTED_1021);
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i << 8;
    for (int bit = 0; bit < 8; bit++) c = c & 0x8000 ? c << 1 ^ PLAIN_1021 : c << 1;
    plain_1021[i] = (uint16_t)c;
  }
}

static uint32_t add_crc16(uint32_t polynomial, uint32_t sum, const uint8_t *data, size_t size) {
  pthread_once(&once, fill);
  const uint16_t *table = polynomial == REFLECTED_8005 ? reflected_8005 : reflected_1021;
  if (polynomial == PLAIN_1021) {
    for (size_t i = 0; i < size; i++) sum = (sum << 8 & 0xffff) ^ plain_1021[(sum >> 8 ^ data[i]) & 0xff];
  } else {
    for (size_t i = 0; i < size; i++) sum = sum >> 8 ^ table[(sum ^ data[i]) & 0xff];
  }
  return sum;
}

static uint32_t add_adler(uint32_t sum, const uint8_t *data, size_t size) {
  uint32_t a = sum & 0xffff, b = sum >> 16;
  while (size > 0) {
    size_t step = size < ADLER_STEP ? size : ADLER_STEP;
    size -= step;
    for (; step > 0; step--) b += a += *data++;
    a %= ADLER;
    b %= ADLER;
  }
  return b << 16 | a;
}

static uint32_t add_bytes(uint32_t sum, const uint8_t *data, size_t size) {
  for (size_t i = 0; i < size; i++) sum += data[i];
  return sum;
}

uint32_t pk_sum_width(uint32_t which) {
  if (which == PK_SUM_8) return 1;
  return which == PK_SUM_16 || which >= PK_SUM_CRC16 ? 2 : 4;
}

uint32_t pk_sum_begin(uint32_t which) {
  if (which >= PK_SUM_CRC16) return variants[which - PK_SUM_CRC16].start;
  return which == PK_SUM_ADLER32;
}

uint32_t pk_sum_add(uint32_t which, uint32_t sum, const uint8_t *data, size_t size) {
  switch (which) {
    case PK_SUM_CRC32: return pk_crc32(sum, data, size);
    case PK_SUM_CRC32C: return pk_crc32c(sum, data, size);
    case PK_SUM_ADLER32: return add_adler(sum, data, size);
    case PK_SUM_8: case PK_SUM_16: case PK_SUM_32: return add_bytes(sum, data, size);
    default: return add_crc16(variants[which - PK_SUM_CRC16].polynomial, sum, data, size);
  }
}

uint32_t pk_sum_end(uint32_t which, uint32_t sum) {
  if (which >= PK_SUM_CRC16) return sum ^ variants[which - PK_SUM_CRC16].end;
  if (which == PK_SUM_8) return sum & 0xff;
  return which == PK_SUM_16 ? sum & 0xffff : sum;
}
