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
  if (index >= w->sock_capacity || w->socks[index].link.handle != h || h == 0) return NULL;
  return &w->socks[index];
}

int pk_link_watch(pk_worker *w, const pk_link *l, int fd) {
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | (uint32_t)EPOLLET, .data.u64 = l->handle};
  return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &e);
}

sock *pk_sock_add(pk_worker *w, pk_handle h, int fd, int upstream) {
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
  *s = (sock){.link = {.handle = h,
                       .transport = &pk_transport_plain,
                       .fd = fd,
                       .upstream = upstream != 0,
                       .receive_edges = EPOLLIN,
                       .send_edges = EPOLLOUT},
              .opening = PK_SOCK_CONNECTING};
  w->calls++;
  if (pk_link_watch(w, &s->link, fd) != 0) {
    s->link.handle = 0;
    return NULL;
  }
  w->sock_count++;
  return s;
}

static void sock_close(pk_worker *w, sock *s, int reset) {
  s->link.transport->close(w, &s->link, reset);
  s->link.handle = 0;
  w->sock_count--;
}

static void read_again(pk_worker *w, sock *s) {
  if (s->again) return;
  if (w->again_count == w->again_capacity) {
    uint32_t capacity = w->again_capacity < 256 ? 256 : 2 * w->again_capacity;
    pk_handle *again = realloc(w->again, capacity * sizeof *again);
    if (again == NULL) {
      pk_core_error(w->core, s->link.handle); /* forgotten, it would hang for ever */
      return;
    }
    w->again = again;
    w->again_capacity = capacity;
  }
  s->again = 1;
  w->again[w->again_count++] = s->link.handle;
}

static int is_pending(const sock *s) {
  return s->link.transport->pending != NULL && s->link.transport->pending(&s->link);
}

static void read_from(pk_worker *w, sock *s, uint32_t events) {
  pk_handle h = s->link.handle;
  size_t size;
  uint8_t *to = pk_core_buffer(w->core, h, &size);
  if (to == NULL) { /* the core says RESUME when it wants to read again */
    /* A hang-up is the end of both directions: where ours is ended too, it is no error. */
    if (events & EPOLLERR || (events & EPOLLHUP && !s->finished)) pk_core_error(w->core, h);
    return;
  }
  ssize_t n = s->link.transport->receive(w, &s->link, to, size);
  if (n > 0) {
    /* Less than asked for: there was no more, and what comes later is a new edge. */
    if ((size_t)n == size || s->ended || is_pending(s)) read_again(w, s);
    pk_core_feed(w->core, h, to, (size_t)n);
  } else if (n == 0) {
    pk_core_eof(w->core, h);
  } else if (n != PK_AGAIN) {
    pk_core_error(w->core, h);
  }
}

static void finish(pk_worker *w, sock *s) {
  int done = s->link.transport->finish(w, &s->link);
  s->finishing = s->full = done == PK_AGAIN;
  s->finished = 1;
  if (done == PK_FAILED) pk_core_error(w->core, s->link.handle);
}

static void write_to(pk_worker *w, sock *s) {
  struct iovec iov[IOVECS];
  pk_handle h = s->link.handle;
  int n;
  do {
    n = pk_core_out(w->core, h, iov, IOVECS);
    if (n == 0) break;
    size_t total = 0;
    for (int i = 0; i < n; i++) total += iov[i].iov_len;
    ssize_t sent = s->link.transport->send(w, &s->link, iov, n, total);
    if (sent < 0 && sent != PK_AGAIN) {
      pk_core_error(w->core, h);
      return;
    }
    if (sent > 0) pk_core_sent(w->core, h, (size_t)sent);
    s->full = sent < 0 || (size_t)sent < total;
  } while (!s->full && n == IOVECS);
  if (is_pending(s)) read_again(w, s); /* it had to read, and no edge says so again */
}

/* Its edge of EPOLLOUT has come, or another that it waits for. */
static void write_on(pk_worker *w, sock *s) {
  s->full = 0;
  if (s->finishing) {
    finish(w, s);
  } else {
    write_to(w, s);
  }
}

void pk_sock_start(pk_worker *w, sock *s) {
  pk_handle h = s->link.handle;
  int waited = s->opening == PK_SOCK_STARTING, fd = s->link.fd;
  if (!waited) s->link.transport = w->transport_of(w, &s->link);
  int done = s->link.transport->start(w, &s->link), error = done == PK_DONE ? 0 : errno;
  s->opening = done == PK_AGAIN ? PK_SOCK_STARTING : PK_SOCK_OPEN;
  if (s->link.fd != fd) s->ended = 0; /* another descriptor has edges of its own */
  if (done == PK_AGAIN) return;
  if (done == PK_DONE && (waited || is_pending(s))) read_again(w, s); /* the edges went to the start */
  if (s->link.upstream) {
    int failed = done == PK_DONE ? PK_CONNECTED : done == PK_EXHAUSTED ? PK_CONNECT_EXHAUSTED : PK_CONNECT_FAILED;
    pk_core_connected(w->core, h, failed, error);
  } else if (done != PK_DONE) {
    pk_core_error(w->core, h);
  } else if (waited) {
    write_on(w, s); /* what the core has said to its client meanwhile */
  }
}

static void connect_finished(pk_worker *w, sock *s) {
  int error = 0;
  socklen_t size = sizeof error;
  w->calls++;
  if (getsockopt(s->link.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error == 0) {
    pk_sock_start(w, s);
  } else {
    s->opening = PK_SOCK_OPEN;
    pk_core_connected(w->core, s->link.handle, PK_CONNECT_FAILED, error);
  }
}

/* Whether it is open now, and reads at the same edge what the peer has sent already. */
static int open_on(pk_worker *w, sock *s, uint32_t events) {
  int fd = s->link.fd;
  if (s->opening == PK_SOCK_STARTING) {
    pk_sock_start(w, s);
  } else if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
    connect_finished(w, s); /* and what the peer has sent already: the edge is the same */
  }
  return !s->opening && s->link.fd == fd;
}

void pk_sock_ready(pk_worker *w, sock *s, uint32_t events) {
  pk_handle h = s->link.handle;
  if (events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP)) s->ended = 1;
  if (s->opening && !open_on(w, s, events)) return;
  if (s->full && events & s->link.send_edges) {
    write_on(w, s);
    s = pk_sock_find(w, h);
  }
  if (s != NULL && events & (s->link.receive_edges | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) read_from(w, s, events);
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
  sock *s = failed == PK_CONNECTED ? pk_sock_add(w, op->handle, fd, 1) : NULL;
  if (s == NULL) {
    close(fd);
    pk_core_connected(w->core, op->handle, failed == PK_CONNECTED ? PK_CONNECT_EXHAUSTED : failed, error);
  } else if (done) {
    pk_sock_start(w, s);
  }
}

/* Who sent what is malformed. */
static void tell_peer(pk_op *op, int fd) {
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } peer;
  socklen_t size = sizeof peer;
  pk_malformed told;
  if (getpeername(fd, &peer.any, &size) != 0) return;
  memcpy(&told, op, sizeof told);
  if (peer.any.sa_family == AF_INET6) {
    memcpy(told.address, &peer.v6.sin6_addr, sizeof told.address);
    told.port = ntohs(peer.v6.sin6_port);
  } else if (peer.any.sa_family == AF_INET) {
    memset(told.address + 10, 0xff, 2);
    memcpy(told.address + 12, &peer.v4.sin_addr, 4);
    told.port = ntohs(peer.v4.sin_port);
  }
  memcpy(op, &told, sizeof told);
}

static void carry_out(pk_worker *w, pk_op *op) {
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
      if (s != NULL && !s->opening) read_again(w, s);
      break;
    case PK_OP_FINISH:
      if (s == NULL) break;
      if (s->opening) {
        s->finishing = 1;
      } else {
        finish(w, s);
      }
      break;
    case PK_OP_FILTER:
    case PK_OP_ANSWER:
      if (pk_event_put(w, op) != 0)
        pk_core_decide(w->core, op->handle, op->op == PK_OP_ANSWER ? PK_DECIDE_ANSWER_NOT_ASKED : PK_DECIDE_NOT_ASKED, 0,
                       PK_STATUS_OVERLOADED, full, sizeof full - 1);
      break;
    case PK_OP_MALFORMED:
    case PK_OP_MALFORMED_ANSWER:
      if (s != NULL) tell_peer(op, s->link.fd);
      pk_event_put(w, op);
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
      if (s != NULL && !s->opening && !s->full) write_to(w, s);
    }
  } while (n > 0 || written > 0);
}
