/* net.h: what the load generator and the echo server share: sockets, growing buffers, Dubbo bytes. */
#ifndef NET_H
#define NET_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 16, ROOM = 256 * 1024 };

typedef struct bytes {
  uint8_t *data;
  size_t start, end, capacity;
} bytes;

static inline void die(const char *what) {
  perror(what);
  exit(2);
}

static inline uint8_t *bytes_room(bytes *b, size_t size) {
  if (b->start == b->end) b->start = b->end = 0;
  if (b->capacity - b->end < size && b->start > 0) {
    memmove(b->data, b->data + b->start, b->end - b->start);
    b->end -= b->start;
    b->start = 0;
  }
  if (b->capacity - b->end < size) {
    b->capacity = (b->end + size) * 2;
    b->data = realloc(b->data, b->capacity);
    if (b->data == NULL) die("realloc");
  }
  return b->data + b->end;
}

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void nodelay(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static inline struct sockaddr_in loopback(int port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

static inline uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void put32(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)(v >> 24), p[1] = (uint8_t)(v >> 16), p[2] = (uint8_t)(v >> 8), p[3] = (uint8_t)v;
}

static inline uint64_t get64(const uint8_t *p) { return (uint64_t)get32(p) << 32 | get32(p + 4); }

static inline void put64(uint8_t *p, uint64_t v) {
  put32(p, (uint32_t)(v >> 32));
  put32(p + 4, (uint32_t)v);
}

static inline void header(uint8_t *p, uint8_t flag, uint8_t status, uint64_t id, size_t body) {
  p[0] = 0xda, p[1] = 0xbb, p[2] = flag, p[3] = status;
  put64(p + 4, id);
  put32(p + 12, (uint32_t)body);
}

/* Size of an ASCII hessian2 string's tag, and its length; 0: no string of one chunk. */
static inline size_t text_tag(const uint8_t *p, const uint8_t *end, size_t *length) {
  if (p < end && *p < 0x20) return *length = *p, 1;
  if (end - p >= 2 && *p >= 0x30 && *p <= 0x33) return *length = (size_t)(*p - 0x30) << 8 | p[1], 2;
  if (end - p >= 3 && *p == 'S') return *length = (size_t)p[1] << 8 | p[2], 3;
  return 0;
}

static inline uint8_t *put_text(uint8_t *p, const char *s, size_t length) {
  if (length < 0x20) {
    *p++ = (uint8_t)length;
  } else if (length < 1024) {
    *p++ = (uint8_t)(0x30 + (length >> 8));
    *p++ = (uint8_t)length;
  } else {
    *p++ = 'S';
    *p++ = (uint8_t)(length >> 8);
    *p++ = (uint8_t)length;
  }
  memcpy(p, s, length);
  return p + length;
}

/* One send of what waits; 0 all gone, 1 more to write, -1 broken. */
static inline int flush_bytes(int fd, bytes *b) {
  while (b->end > b->start) {
    ssize_t n = send(fd, b->data + b->start, b->end - b->start, MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR ? 1 : -1;
    b->start += (size_t)n;
  }
  return 0;
}

#endif
