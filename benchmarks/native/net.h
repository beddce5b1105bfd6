/* net.h: what the load generator and the echo server share: sockets, growing buffers, the clock. */
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

enum { ROOM = 256 * 1024 }; /* bytes of one recv */
#define EDGES (EPOLLIN | EPOLLOUT | EPOLLRDHUP | (uint32_t)EPOLLET)

typedef struct bytes {
  uint8_t *data;
  size_t start, end, capacity;
} bytes;

static inline void die(const char *what) {
  perror(what);
  exit(2);
}

static inline void *zeroed(size_t count, size_t size) {
  void *p = calloc(count, size);
  if (p == NULL) die("memory");
  return p;
}

/* Where `size` more bytes can be written; the caller then moves `end`. */
static inline uint8_t *bytes_room(bytes *b, size_t size) {
  if (b->start == b->end) b->start = b->end = 0;
  if (b->capacity - b->end < size && b->start > 0) {
    memmove(b->data, b->data + b->start, b->end - b->start);
    b->end -= b->start;
    b->start = 0;
  }
  if (b->capacity - b->end < size) {
    b->capacity = b->end + size + ROOM;
    b->data = realloc(b->data, b->capacity);
    if (b->data == NULL) die("memory");
  }
  return b->data + b->end;
}

static inline uint64_t clock_ns(clockid_t clock) {
  struct timespec t;
  if (clock_gettime(clock, &t) != 0) die("clock_gettime");
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static inline void nodelay(int fd) {
  int one = 1;
  (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static inline struct sockaddr_in loopback(long port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

/* A whole number from `low` to `high` given for `name`. */
static inline long whole(const char *name, const char *text, long low, long high) {
  char *end;
  long value = strtol(text, &end, 10);
  if (*text != '\0' && *end == '\0' && value >= low && value <= high) return value;
  fprintf(stderr, "%s: got \"%s\", expected a whole number from %ld to %ld\n", name, text, low, high);
  exit(2);
}

static inline void watch(int epoll, int operation, int fd, uint32_t events, void *owner) {
  struct epoll_event e = {.events = events, .data.ptr = owner};
  if (epoll_ctl(epoll, operation, fd, &e) != 0) die("epoll_ctl");
}

/* Sends what waits: 0 all gone, 1 the socket is full, -1 broken. */
static inline int flush_bytes(int fd, bytes *b) {
  while (b->end > b->start) {
    ssize_t n = send(fd, b->data + b->start, b->end - b->start, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR ? 1 : -1;
    b->start += (size_t)n;
  }
  return 0;
}

#endif
