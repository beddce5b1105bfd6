/* echo: a Dubbo and Thrift server on one or more ports of the loopback; it answers with its argument.
 *
 *   echo PORT [PORT ...]     prints READY; ends with SIGTERM
 *
 * Bytes that are no frame, or a request whose first argument is no short String: the connection is
 * closed. Heartbeats are answered, one-way requests are not. */
#include "frame.h"
#include "net.h"
#include "thrift.h"

typedef struct conn {
  int fd, listening;
  bytes in, out;
} conn;

/* The first argument's bytes, tag included. */
static const uint8_t *argument(const uint8_t *p, const uint8_t *end, size_t *size) {
  size_t length = 0, tag;
  for (int i = 0; i < 5; i++) {
    if ((tag = text_tag(p, end, &length)) == 0) return NULL;
    p += tag + length;
  }
  tag = text_tag(p, end, &length);
  *size = tag + length;
  return tag > 0 ? p : NULL;
}

static int answer(conn *c, const uint8_t *p, size_t size) {
  if (!(p[2] & FLAG_REQUEST) || !(p[2] & FLAG_TWO_WAY)) return 0;
  if (p[2] & FLAG_EVENT) {
    uint8_t *to = bytes_room(&c->out, size);
    memcpy(to, p, size);
    put_header(to, FLAG_EVENT, STATUS_OK, get64(p + 4), size - HEADER);
    c->out.end += size;
    return 0;
  }
  size_t length;
  const uint8_t *value = argument(p + HEADER, p + size, &length);
  if (value == NULL) return -1;
  uint8_t *to = bytes_room(&c->out, HEADER + 1 + length);
  put_header(to, 0, STATUS_OK, get64(p + 4), 1 + length);
  to[HEADER] = VALUE;
  memcpy(to + HEADER + 1, value, length);
  c->out.end += HEADER + 1 + length;
  return 0;
}

static int thrift_answer(conn *c, uint8_t *p, size_t size) {
  size_t length, front = (size_t)(thrift_id(p) + 4 - p);
  const uint8_t *value = thrift_value(p, size, 1, &length);
  if (value == NULL || p[7] != CALL) return -1;
  uint8_t *to = bytes_room(&c->out, size);
  memcpy(to, p, front); /* the name and the id */
  to[7] = REPLY;
  thrift_text(to + front, 0, value, length);
  c->out.end += size;
  return 0;
}

static int answer_all(conn *c) {
  for (;;) {
    uint8_t *p = c->in.data + c->in.start;
    if (c->in.end == c->in.start) return 0;
    int dubbo = p[0] == 0xda;
    size_t size = (dubbo ? frame_size : thrift_size)(p, c->in.end - c->in.start);
    if (size == 0) return 0;
    if (size == SIZE_MAX || (dubbo ? answer(c, p, size) : thrift_answer(c, p, size)) != 0) return -1;
    c->in.start += size;
  }
}

/* One read: 0, 1 when there may be more (the edge does not come again), or -1. */
static int read_from(conn *c) {
  uint8_t *to = bytes_room(&c->in, ROOM);
  ssize_t got = recv(c->fd, to, ROOM, 0);
  if (got < 0 && errno == EAGAIN) return 0;
  if (got <= 0) return -1;
  c->in.end += (size_t)got;
  return answer_all(c) != 0 ? -1 : got == ROOM;
}

static void accept_from(int epoll, const conn *listener) {
  int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK);
  if (fd < 0) return;
  conn *c = zeroed(1, sizeof *c);
  nodelay(fd);
  c->fd = fd;
  watch(epoll, EPOLL_CTL_ADD, fd, EDGES, c);
}

static void ready(conn *c, uint32_t events) {
  int more = (events & ~(uint32_t)EPOLLOUT) != 0, broken = 0;
  do {
    if (more) more = read_from(c);
    broken = more < 0 || flush_bytes(c->fd, &c->out) < 0;
  } while (more && !broken);
  if (!broken) return;
  close(c->fd); /* nothing else in this batch refers to it: one event a descriptor */
  free(c->in.data);
  free(c->out.data);
  free(c);
}

static void listen_on(int epoll, long port) {
  conn *c = zeroed(1, sizeof *c);
  struct sockaddr_in a = loopback(port);
  int one = 1;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  c->listening = 1;
  (void)setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(c->fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(c->fd, 1024) != 0) {
    fprintf(stderr, "echo: 127.0.0.1:%ld: %s\n", port, strerror(errno));
    exit(2);
  }
  watch(epoll, EPOLL_CTL_ADD, c->fd, EPOLLIN, c);
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fputs("usage: echo PORT [PORT ...]\n", stderr);
    return 2;
  }
  int epoll = epoll_create1(0);
  for (int i = 1; i < argc; i++) listen_on(epoll, whole("echo: port", argv[i], 1, 65535));
  puts("READY");
  fflush(stdout);
  struct epoll_event events[256];
  for (;;) {
    int n = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < n; i++) {
      conn *c = events[i].data.ptr;
      if (c->listening) {
        accept_from(epoll, c);
      } else {
        ready(c, events[i].events);
      }
    }
  }
}
