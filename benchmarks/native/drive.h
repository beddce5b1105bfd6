/* drive.h: the sans-IO core driven as an epoll loop would, for what is timed without sockets. */
#ifndef BENCH_DRIVE_H
#define BENCH_DRIVE_H

#include "../../native/tests/tables.h"
#include "core/core.h"
#include "net.h"

enum { CLIENTS_MAX = 1024, ENDPOINT = 1 };

typedef struct feed {
  pk_handle to;
  const uint8_t *data;
  size_t size, fed;
} feed;

static pk_core *core;
static uint64_t virtual_now = 1000000000u;
static pk_handle upstream;
static uint8_t *written; /* what the core wrote in the last batch */
static size_t written_size;

static const pk_limits limits = {.buffer = 256u << 20,
                                 .frame = 8u << 20,
                                 .connections = 10000,
                                 .in_flight = 65536,
                                 .in_flight_per_connection = 4096,
                                 .client_pause = 64u << 20,
                                 .client_close = 128u << 20,
                                 .upstream_buffer = 64u << 20,
                                 .upstream_in_flight = 4096,
                                 .retry_buffer = 64u << 10,
                                 .request_ms = 30000,
                                 .idle_ms = 600000,
                                 .frame_ms = 10000,
                                 .detect_ms = 5000,
                                 .heartbeat_ms = 30000,
                                 .probe_ms = 5000};

/* One batch as a driver makes it: one read of each socket that has bytes, then writes. Everything
 * that the core does for a request happens here. Returns how many bytes wait to be read. */
static __attribute__((noinline)) size_t batch(feed *feeds, size_t count) {
  struct iovec iov[64];
  pk_handle dirty[64];
  pk_op ops[64];
  size_t taken, left = 0;
  pk_core_begin(core, virtual_now += 100000);
  for (size_t i = 0; i < count; i++) {
    feed *f = &feeds[i];
    size_t room, part = f->size - f->fed;
    uint8_t *to = part == 0 ? NULL : pk_core_buffer(core, f->to, &room);
    if (to != NULL) {
      if (part > room) part = room;
      memcpy(to, f->data + f->fed, part);
      f->fed += part;
      pk_core_feed(core, f->to, to, part);
    }
    left += f->size - f->fed;
  }
  pk_core_end(core);
  while ((taken = pk_core_take_ops(core, ops, 64)) > 0) {
    for (size_t i = 0; i < taken; i++) {
      if (ops[i].op != PK_OP_CONNECT) continue;
      upstream = ops[i].handle;
      pk_core_connected(core, upstream, 0, 0);
    }
  }
  while ((taken = pk_core_take_dirty(core, dirty, 64)) > 0) {
    for (size_t i = 0; i < taken; i++) {
      int n;
      while ((n = pk_core_out(core, dirty[i], iov, 64)) > 0) {
        size_t size = 0;
        for (int k = 0; k < n; k++) {
          memcpy(written + written_size + size, iov[k].iov_base, iov[k].iov_len);
          size += iov[k].iov_len;
        }
        written_size += size;
        pk_core_sent(core, dirty[i], size);
      }
    }
  }
  return left;
}

#define ANY SIZE_MAX /* bytes that come of it */

/* All bytes in, what they lead to out; the time that took, ns. */
static uint64_t run(feed *feeds, size_t count, size_t expected) {
  uint64_t start = now_ns();
  written_size = 0;
  for (int i = 0; batch(feeds, count) > 0 && i < 10000;) i++;
  if (written_size < expected && expected != ANY) batch(feeds, count); /* frames that were left for the next batch */
  uint64_t took = now_ns() - start;
  if (written_size == expected || expected == ANY) return took;
  fprintf(stderr, "micro: the core wrote %zu bytes, expected %zu\n", written_size, expected);
  exit(1);
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

#endif
