/* sockets.c: the worker's connections: reading, writing, and what the core asks for.
 *
 * Sockets are watched edge-triggered for both directions from the start, so that neither pausing nor a
 * full socket costs a system call, and the kernel does not look again at sockets that were just read.
 * What an edge announced and was not read goes on the `again` list. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/parts.h"

enum { IOVECS = 64, USER_TIMEOUT_MS = 30000 };
/* A server that is busy and says nothing is told from a host that is gone by the kernel's own probes. */
enum { KEEPALIVE_IDLE_S = 15, KEEPALIVE_INTERVAL_S = 5 };

static void set_option(int fd, int level, int option, int value) {
  (void)setsockopt(fd, level, option, &value, sizeof value);
}

void pk_sock_tune(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

int pk_is_shortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

sock *pk_sock_find(pk_worker *w, pk_handle h) {
  uint32_t index = (uint32_t)h;
  if (index >= w->sock_capacity || w->socks[index].handle != h || h == 0) return NULL;
  return &w->socks[index];
}

sock *pk_sock_add(pk_worker *w, pk_handle h, int fd, int connecting) {
  uint32_t index = (uint32_t)h, capacity = w->sock_capacity;
  if (index >= capacity) {
    uint32_t grown = capacity < 256 ? 256 : capacity * 2;
    while (grown <= index) grown *= 2;
    sock *socks = realloc(w->socks, grown * sizeof *socks);
    if (socks == NULL) return NULL;
    memset(socks + capacity, 0, (grown - capacity) * sizeof *socks);
    w->socks = socks;
    w->sock_capacity = grown;
  }
  sock *s = &w->socks[index];
  *s = (sock){.handle = h, .fd = fd, .connecting = connecting != 0};
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | (uint32_t)EPOLLET, .data.u64 = h};
  w->calls++;
  if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &e) != 0) {
    s->handle = 0;
    return NULL;
  }
  w->sock_count++;
  return s;
}

static void sock_close(pk_worker *w, sock *s, int reset) {
  if (s->bridged)
    pk_event_keep(w, &(pk_op){.op = PK_EVENT_UNBRIDGE, .arg = (uint32_t)reset, .handle = s->handle});
  if (reset) {
    struct linger l = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
  }
  close(s->fd);
  w->calls += 1 + (uint64_t)reset;
  s->handle = 0;
  w->sock_count--;
}

int pk_sock_hand_up(pk_worker *w, sock *s, int upstream) {
  const pk_codec *codec = pk_core_bridged(w->core, s->handle);
  if (codec == NULL) return 0;
  int pair[2];
  w->calls += 3;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) return -1;
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | (uint32_t)EPOLLET, .data.u64 = s->handle};
  if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, pair[0], &e) != 0) {
    close(pair[0]);
    close(pair[1]);
    return -1;
  }
  (void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, s->fd, NULL);
  pk_event_keep(w, &(pk_op){.op = PK_EVENT_BRIDGE,
                         .arg = (uint32_t)upstream,
                         .handle = s->handle,
                         .data = (uint64_t)s->fd,
                         .size = (uint64_t)pair[1],
                         .codec = (uint64_t)(uintptr_t)codec});
  *s = (sock){.handle = s->handle, .fd = pair[0], .bridged = 1};
  return 0;
}

static void read_again(pk_worker *w, sock *s) {
  if (s->again) return;
  if (w->again_count == w->again_capacity) {
    uint32_t capacity = w->again_capacity < 256 ? 256 : 2 * w->again_capacity;
    pk_handle *again = realloc(w->again, capacity * sizeof *again);
    if (again == NULL) {
      pk_core_error(w->core, s->handle); /* forgotten, it would hang for ever */
      return;
    }
    w->again = again;
    w->again_capacity = capacity;
  }
  s->again = 1;
  w->again[w->again_count++] = s->handle;
}

static void read_from(pk_worker *w, sock *s, uint32_t events) {
  pk_handle h = s->handle;
  size_t size;
  uint8_t *to = pk_core_buffer(w->core, h, &size);
  if (to == NULL) { /* the core says RESUME when it wants to read again */
    /* A hang-up is the end of both directions: where ours is ended too, it is no error. */
    if (events & EPOLLERR || (events & EPOLLHUP && !s->finished)) pk_core_error(w->core, h);
    return;
  }
  w->calls++;
  ssize_t n = recv(s->fd, to, size, 0);
  if (n > 0) {
    /* Less than asked for: there was no more, and what comes later is a new edge. */
    if ((size_t)n == size || s->ended) read_again(w, s);
    pk_core_feed(w->core, h, to, (size_t)n);
  } else if (n == 0) {
    pk_core_eof(w->core, h);
  } else if (errno == EINTR) {
    read_again(w, s);
  } else if (errno != EAGAIN) {
    pk_core_error(w->core, h);
  }
}

static void write_to(pk_worker *w, sock *s) {
  struct iovec iov[IOVECS];
  pk_handle h = s->handle;
  for (;;) {
    int n = pk_core_out(w->core, h, iov, IOVECS);
    if (n == 0) return;
    size_t total = 0;
    for (int i = 0; i < n; i++) total += iov[i].iov_len;
    w->calls++;
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)n};
    ssize_t sent = n == 1 ? send(s->fd, iov[0].iov_base, total, MSG_NOSIGNAL)
                          : sendmsg(s->fd, &m, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) {
      pk_core_error(w->core, h);
      return;
    }
    if (sent > 0) pk_core_sent(w->core, h, (size_t)sent);
    s->full = sent < 0 || (size_t)sent < total;
    if (s->full || n < IOVECS) return;
  }
}

int opened(pk_worker *w, sock *s) { return pk_sock_hand_up(w, s, 1) == 0 ? PK_CONNECTED : PK_CONNECT_EXHAUSTED; }

static void connect_finished(pk_worker *w, sock *s) {
  int error = 0;
  socklen_t size = sizeof error;
  w->calls++;
  if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  s->connecting = 0;
  pk_core_connected(w->core, s->handle, error != 0 ? PK_CONNECT_FAILED : opened(w, s), error);
}

void pk_sock_ready(pk_worker *w, sock *s, uint32_t events) {
  pk_handle h = s->handle;
  if (s->connecting) {
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) return;
    connect_finished(w, s); /* and what the peer has sent already: the edge is the same */
    if (s->bridged) return; /* a new descriptor, with edges of its own */
  }
  if (events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP)) s->ended = 1;
  if (events & EPOLLOUT && s->full) {
    s->full = 0;
    write_to(w, s);
    s = pk_sock_find(w, h);
  }
  if (s != NULL && events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) read_from(w, s, events);
}

void pk_socks_read_left(pk_worker *w) {
  uint32_t count = w->again_count;
  for (uint32_t i = 0; i < count; i++) {
    sock *s = pk_sock_find(w, w->again[i]);
    if (s == NULL) continue;
    s->again = 0;
    read_from(w, s, 0);
  }
  w->again_count -= count;
  if (w->again_count > 0) memmove(w->again, w->again + count, w->again_count * sizeof *w->again);
}

/* What the core asks for. */

static void connect_to(pk_worker *w, const pk_op *op) {
  struct sockaddr_storage addr;
  memcpy(&addr, (const void *)(uintptr_t)op->data, op->size);
  w->calls += 2;
  int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || fd >= w->upstream_fds) {
    int error = fd < 0 ? errno : EMFILE, failed = pk_is_shortage(error) ? PK_CONNECT_EXHAUSTED : PK_CONNECT_FAILED;
    if (fd >= 0) close(fd);
    pk_core_connected(w->core, op->handle, failed, error);
    return;
  }
  pk_sock_tune(fd);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
  int done = connect(fd, (const struct sockaddr *)&addr, (socklen_t)op->size) == 0;
  int error = done || errno == EINPROGRESS ? 0 : errno;
  int failed = error == 0 ? PK_CONNECTED : pk_is_shortage(error) ? PK_CONNECT_EXHAUSTED : PK_CONNECT_FAILED;
  if (failed == PK_CONNECTED && pk_sock_add(w, op->handle, fd, !done) == NULL) failed = PK_CONNECT_EXHAUSTED;
  if (failed != PK_CONNECTED) close(fd);
  else if (done) failed = opened(w, pk_sock_find(w, op->handle));
  if (failed != PK_CONNECTED || done) pk_core_connected(w->core, op->handle, failed, error);
}

static void carry_out(pk_worker *w, const pk_op *op) {
  static const char full[] = "protokit: overloaded: the filters cannot keep up";
  sock *s = op->op == PK_OP_CONNECT ? NULL : pk_sock_find(w, op->handle);
  switch (op->op) {
    case PK_OP_CONNECT:
      connect_to(w, op);
      break;
    case PK_OP_CLOSE:
      if (s != NULL) sock_close(w, s, op->arg != 0);
      break;
    case PK_OP_PAUSE:
      break; /* its edges find no buffer to read into */
    case PK_OP_RESUME:
      if (s != NULL && !s->connecting) read_again(w, s);
      break;
    case PK_OP_FINISH:
      if (s == NULL) break;
      s->finished = 1;
      w->calls++;
      if (shutdown(s->fd, SHUT_WR) != 0) pk_core_error(w->core, op->handle);
      break;
    case PK_OP_FILTER:
      if (pk_event_put(w, op) != 0)
        pk_core_decide(w->core, op->handle, PK_DECIDE_REPLY, 0, PK_STATUS_OVERLOADED, full,
                       sizeof full - 1);
      break;
    default:
      pk_event_keep(w, op);
      break;
  }
}

/* Operations and writes lead to each other (a connection that opens has bytes to write). */
void pk_socks_settle(pk_worker *w) {
  pk_op ops[64];
  pk_handle dirty[64];
  size_t n, written;
  do {
    n = pk_core_take_ops(w->core, ops, 64);
    for (size_t i = 0; i < n; i++) carry_out(w, &ops[i]);
    written = n == 64 ? 0 : pk_core_take_dirty(w->core, dirty, 64);
    for (size_t i = 0; i < written; i++) {
      sock *s = pk_sock_find(w, dirty[i]);
      if (s != NULL && !s->connecting && !s->full) write_to(w, s);
    }
  } while (n > 0 || written > 0);
}
