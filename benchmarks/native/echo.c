/* echo: a Dubbo provider on one or more ports of the loopback that answers with its argument.
 *   echo PORT [PORT ...]      prints READY; --delay-us N sleeps that long before each batch */
#include "net.h"

typedef struct conn {
  int fd, listening, writing;
  bytes in, out;
} conn;

/* The first argument's bytes, tag included; the request is as load.c writes it. */
static const uint8_t *argument(const uint8_t *p, const uint8_t *end, size_t *size) {
  size_t length, tag;
  for (int i = 0; i < 5; i++) {
    if ((tag = text_tag(p, end, &length)) == 0 || (size_t)(end - p) < tag + length) return NULL;
    p += tag + length;
  }
  if ((tag = text_tag(p, end, &length)) == 0 || (size_t)(end - p) < tag + length) return NULL;
  *size = tag + length;
  return p;
}

static int answer_all(conn *c) {
  while (c->in.end - c->in.start >= HEADER) {
    const uint8_t *p = c->in.data + c->in.start;
    size_t body = get32(p + 12);
    if (p[0] != 0xda || p[1] != 0xbb || body > (64u << 20)) return -1;
    if (c->in.end - c->in.start < HEADER + body) break;
    c->in.start += HEADER + body;
    if (!(p[2] & 0x80) || !(p[2] & 0x40)) continue;
    if (p[2] & 0x20) { /* heartbeat */
      uint8_t *to = bytes_room(&c->out, HEADER + body);
      memcpy(to, p, HEADER + body);
      header(to, 0x22, 20, get64(p + 4), body);
      c->out.end += HEADER + body;
      continue;
    }
    size_t size;
    const uint8_t *arg = argument(p + HEADER, p + HEADER + body, &size);
    if (arg == NULL) return -1;
    uint8_t *to = bytes_room(&c->out, HEADER + 1 + size);
    header(to, 0x02, 20, get64(p + 4), 1 + size);
    to[HEADER] = 0x91;
    memcpy(to + HEADER + 1, arg, size);
    c->out.end += HEADER + 1 + size;
  }
  return 0;
}

static void watch(int epoll, conn *c, int operation, uint32_t events) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  if (epoll_ctl(epoll, operation, c->fd, &e) != 0) die("epoll_ctl");
}

static void drop(conn *c) {
  close(c->fd);
  free(c->in.data);
  free(c->out.data);
  c->fd = -1;
  c->in = c->out = (bytes){0};
}

int main(int argc, char **argv) {
  int epoll = epoll_create1(0);
  long delay = 0;
  signal(SIGPIPE, SIG_IGN);
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--delay-us") == 0 && i + 1 < argc) {
      delay = atol(argv[++i]);
      continue;
    }
    conn *c = calloc(1, sizeof *c);
    struct sockaddr_in a = loopback(atoi(argv[i]));
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    c->listening = 1;
    setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(c->fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(c->fd, 1024) != 0) die("listen");
    watch(epoll, c, EPOLL_CTL_ADD, EPOLLIN);
  }
  puts("READY");
  fflush(stdout);
  struct epoll_event events[256];
  for (;;) {
    int n = epoll_wait(epoll, events, 256, -1);
    if (delay > 0) usleep((useconds_t)delay);
    for (int i = 0; i < n; i++) {
      conn *c = events[i].data.ptr;
      if (c->listening) {
        int fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) continue;
        conn *added = calloc(1, sizeof *added);
        nodelay(fd);
        added->fd = fd;
        watch(epoll, added, EPOLL_CTL_ADD, EPOLLIN);
        continue;
      }
      int broken = 0;
      if (events[i].events & ~(uint32_t)EPOLLOUT) {
        uint8_t *to = bytes_room(&c->in, ROOM);
        ssize_t got = recv(c->fd, to, ROOM, 0);
        if (got > 0) c->in.end += (size_t)got;
        broken = got == 0 || (got < 0 && errno != EAGAIN) || answer_all(c) != 0;
      }
      int more = broken ? -1 : flush_bytes(c->fd, &c->out);
      if (more < 0) {
        drop(c);
      } else if (more != c->writing) {
        c->writing = more;
        watch(epoll, c, EPOLL_CTL_MOD, EPOLLIN | (more ? (uint32_t)EPOLLOUT : 0u));
      }
    }
  }
}
