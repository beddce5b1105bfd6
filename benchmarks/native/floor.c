/* floor: the least that a proxy which reads and writes sockets with epoll can cost.
 *
 *   floor ECHO PORT:COUNT [PORT:COUNT ...]     prints READY; ends with SIGTERM
 *
 * It receives, writes an id of its own into each frame, sends, and puts the caller's id back into the answer:
 * no routes, no limits, no timers, no counters, and an error ends it. Clients of PORT share one connection to
 * each of the COUNT ports from ECHO on; what one read brought goes to one of them, in turn. What the other
 * proxies cost above this is what they do; what this costs is the kernel's. */
#include <sys/ioctl.h>

#include "frame.h"
#include "net.h"

enum { CONNS = 4096, SLOTS = 65536, GROUP_MAX = 16, EVENTS = 256 };

typedef struct conn {
  int fd, listening, dirty;
  struct group *group; /* of a client or a listener */
  bytes in, out;
} conn;

typedef struct group {
  conn *upstreams[GROUP_MAX];
  uint32_t count, turn;
} group;

typedef struct slot {
  int fd; /* the client's */
  uint64_t id;
} slot;

static conn *conns[CONNS]; /* by descriptor */
static slot slots[SLOTS];
static uint32_t next_slot;
static int dirty[CONNS], dirty_count, epoll;

static conn *conn_new(int fd, group *of, int listening) {
  if (fd < 0 || fd >= CONNS) die("floor: socket");
  conn *c = conns[fd] = zeroed(1, sizeof *c);
  *c = (conn){.fd = fd, .group = of, .listening = listening};
  if (!listening) nodelay(fd);
  watch(epoll, EPOLL_CTL_ADD, fd, listening ? EPOLLIN : EDGES, c);
  return c;
}

static void pass_on(conn *to, const uint8_t *frame, size_t size, uint64_t id) {
  uint8_t *at = bytes_room(&to->out, size);
  memcpy(at, frame, size);
  put64(at + 4, id);
  to->out.end += size;
  if (!to->dirty) dirty[dirty_count++] = to->fd;
  to->dirty = 1;
}

static void frames(conn *c) {
  group *g = c->group;
  conn *upstream = g == NULL ? NULL : g->upstreams[g->turn++ % g->count];
  for (;;) {
    const uint8_t *p = c->in.data + c->in.start;
    size_t size = frame_size(p, c->in.end - c->in.start);
    if (size == 0) return;
    if (size == SIZE_MAX) die("floor: no frame");
    if (upstream != NULL) {
      uint32_t at = next_slot++ % SLOTS;
      slots[at] = (slot){c->fd, get64(p + 4)};
      pass_on(upstream, p, size, at);
    } else {
      const slot *s = &slots[get64(p + 4) % SLOTS];
      if (conns[s->fd] != NULL) pass_on(conns[s->fd], p, size, s->id);
    }
    c->in.start += size;
  }
}

static void ready(conn *c, uint32_t events) {
  if (c->listening) {
    int fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK);
    if (fd >= 0) conn_new(fd, c->group, 0);
    return;
  }
  ssize_t got = ROOM;
  while (got == ROOM && events & ~(uint32_t)EPOLLOUT) {
    got = recv(c->fd, bytes_room(&c->in, ROOM), ROOM, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
      if (c->group == NULL) die("floor: upstream");
      conns[c->fd] = NULL;
      close(c->fd);
      free(c->in.data);
      free(c->out.data);
      free(c);
      return;
    }
    if (got > 0) c->in.end += (size_t)got;
    frames(c);
  }
  if (c->out.end > c->out.start && !c->dirty) { /* what the socket did not take before */
    c->dirty = 1;
    dirty[dirty_count++] = c->fd;
  }
}

static void send_all(void) {
  for (int i = 0; i < dirty_count; i++) {
    conn *c = conns[dirty[i]];
    if (c == NULL) continue;
    c->dirty = 0;
    (void)flush_bytes(c->fd, &c->out); /* who is gone shows at the next read */
  }
  dirty_count = 0;
}

static void open_group(long echo, char *argument) {
  char *colon = strchr(argument, ':');
  if (colon == NULL) colon = argument + strlen(argument);
  long count = whole("floor: COUNT", *colon == ':' ? colon + 1 : colon, 1, GROUP_MAX);
  *colon = '\0';
  struct sockaddr_in at = loopback(whole("floor: PORT", argument, 1, 65535));
  group *g = zeroed(1, sizeof *g);
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 1024) != 0) die("floor: listen");
  conn_new(fd, g, 1);
  while (g->count < (uint32_t)count) {
    struct sockaddr_in to = loopback(echo + g->count);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) die("floor: connect");
    if (ioctl(fd, FIONBIO, &one) != 0) die("floor: socket");
    g->upstreams[g->count++] = conn_new(fd, NULL, 0);
  }
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fputs("usage: floor ECHO PORT:COUNT [PORT:COUNT ...]\n", stderr);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  epoll = epoll_create1(0);
  for (int i = 2; i < argc; i++) open_group(whole("floor: ECHO", argv[1], 1, 65520), argv[i]);
  puts("READY");
  fflush(stdout);
  struct epoll_event events[EVENTS];
  for (;;) {
    int n = epoll_wait(epoll, events, EVENTS, -1);
    for (int i = 0; i < n; i++) ready(events[i].data.ptr, events[i].events);
    send_all();
  }
}
