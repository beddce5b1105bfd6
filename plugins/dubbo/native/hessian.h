/* hessian.h: walking over Hessian 2.0 values without decoding them.
 *
 * Linear in the input, no allocation, no recursion. Only the number of fields of each class has to
 * be remembered; references and types need no table because nothing is resolved. Facts: the Hessian
 * 2.0 specification's grammar, and bytes of hessian-lite and hessian.js. */
#ifndef DUBBO_HESSIAN_H
#define DUBBO_HESSIAN_H

#include <protokit/codec.h>

enum { HESSIAN_CLASSES = 256, HESSIAN_DEPTH = 512 };

typedef struct hessian {
  const uint8_t *at, *end;
  uint32_t class_count;
  uint16_t class_fields[HESSIAN_CLASSES]; /* valid up to class_count */
} hessian;

static inline void hessian_open(hessian *h, const uint8_t *data, const uint8_t *end) {
  h->at = data;
  h->end = end;
  h->class_count = 0;
}

/* Step over one value. PK_OK, PK_ERR_FORMAT, or PK_ERR_UNSUPPORTED (more classes or deeper than
 * HESSIAN_CLASSES, HESSIAN_DEPTH); `at` stands at the trouble then. */
int hessian_skip(hessian *h);

/* A string of one chunk, its bytes as they stand. PK_OK; PK_MORE when the next value is no string
 * (nothing is consumed); PK_ERR_UNSUPPORTED when it is chunked; PK_ERR_FORMAT. */
int hessian_string(hessian *h, pk_slice *out);

/* An int or long. PK_OK; PK_MORE when the next value is neither (nothing is consumed). */
int hessian_integer(hessian *h, int64_t *out);

#endif
