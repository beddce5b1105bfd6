/* hessian.h: walking over Hessian 2.0 values without decoding them.
 *
 * Linear in the input, no allocation, no recursion. Only the number of fields of each class has to
 * be remembered; references and types need no table because nothing is resolved. Facts: the Hessian
 * 2.0 specification's grammar, and bytes of hessian-lite and hessian.js. */
#ifndef DUBBO_HESSIAN_H
#define DUBBO_HESSIAN_H

#include <protokit/codec.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* More than a JVM reads: its stack overflows before that, and a call's classes are counted in tens. */
enum { HESSIAN_CLASSES = 4096, HESSIAN_DEPTH = 16384 };

typedef struct hessian {
  const uint8_t *at, *end, *from; /* from: where the bytes begin */
  uint32_t class_count;
  uint16_t class_fields[HESSIAN_CLASSES]; /* valid up to class_count */
} hessian;

static inline void hessian_open(hessian *h, const uint8_t *data, const uint8_t *end) {
  h->at = h->from = data;
  h->end = end;
  h->class_count = 0;
}

/* Step over one value. PK_OK, PK_ERR_FORMAT, or PK_ERR_LIMIT (more classes or deeper than
 * HESSIAN_CLASSES, HESSIAN_DEPTH); `at` stands at the trouble then. */
int hessian_skip(hessian *h);

/* As hessian_string, which is for all that is not short and plain. */
int hessian_long_string(hessian *h, pk_slice *out);

#ifdef __SSE2__
/* A bit for each of 32 bytes: set where it is not ASCII. */
static inline uint32_t hessian_high32(const uint8_t *p) {
  uint32_t a = (uint32_t)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)p));
  uint32_t b = (uint32_t)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + 16)));
  return a | b << 16;
}

/* Whether the `size` (up to 32) bytes at p are ASCII; 0 also when that cannot be told with one look. */
static inline int hessian_ascii(const hessian *h, const uint8_t *p, uint32_t size) {
  uint64_t high, left = (uint64_t)(h->end - p);
  if (left >= 32) {
    high = hessian_high32(p);
  } else if (h->end - h->from >= 32) {
    high = (uint64_t)hessian_high32(h->end - 32) >> (32 - left);
  } else {
    return 0;
  }
  return size <= left && (high & (((uint64_t)1 << size) - 1)) == 0;
}
#endif

/* A string of one chunk, its bytes as they stand. PK_OK; PK_MORE when the next value is no string
 * (nothing is consumed); PK_ERR_UNSUPPORTED when it is chunked; PK_ERR_FORMAT. */
static inline int hessian_string(hessian *h, pk_slice *out) {
#ifdef __SSE2__ /* names and values of up to 63 bytes, which nearly all are, without a call */
  const uint8_t *p = h->at;
  if (h->end - p >= 2) {
    uint32_t size = *p++, most = 0x1f;
    if (size == 0x30) size = *p++, most = 63;
    if (size <= most && hessian_ascii(h, p, size < 32 ? size : 32) &&
        (size <= 32 || hessian_ascii(h, p + 32, size - 32))) {
      *out = (pk_slice){p, size};
      h->at = p + size;
      return PK_OK;
    }
  }
#endif
  return hessian_long_string(h, out);
}

/* An int or long. PK_OK; PK_MORE when the next value is neither (nothing is consumed). */
int hessian_integer(hessian *h, int64_t *out);

#endif
