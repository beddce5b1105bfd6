/* histogram.h: latencies in ns, logarithmic buckets of 1/64: quantiles are right within 1.6 %. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { SUB_BITS = 7, HALF = 1 << (SUB_BITS - 1), BUCKETS = 48 * HALF };

typedef struct histogram {
  uint64_t buckets[BUCKETS], count, max;
} histogram;

static inline void histogram_add(histogram *h, uint64_t ns) {
  uint32_t shift = ns >> SUB_BITS == 0 ? 0 : (uint32_t)(64 - __builtin_clzll(ns)) - SUB_BITS;
  uint64_t at = (uint64_t)shift * HALF + (ns >> shift);
  h->buckets[at < BUCKETS ? at : BUCKETS - 1]++;
  h->count++;
  if (ns > h->max) h->max = ns;
}

/* The latency, in µs, that a share of 1 - q was above (the middle of its bucket). */
static inline double histogram_us(const histogram *h, double q) {
  uint64_t wanted = (uint64_t)(q * (double)h->count), seen = 0;
  for (uint64_t i = 0; i < BUCKETS; i++) {
    seen += h->buckets[i];
    if (seen <= wanted) continue;
    uint64_t shift = i < 2 * HALF ? 0 : i / HALF - 1;
    double low = (double)((i - shift * HALF) << shift), width = (double)((uint64_t)1 << shift);
    double middle = (low + (width - 1) / 2) / 1000.0, max = (double)h->max / 1000.0;
    return middle < max ? middle : max;
  }
  return (double)h->max / 1000.0;
}

#endif
