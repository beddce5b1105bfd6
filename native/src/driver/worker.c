/* worker.c: the epoll driver. All input and output of the process happens here.
 *
 * Sockets are watched edge-triggered for both directions from the start, so that neither pausing nor a
 * full socket costs a system call, and the kernel does not look again at sockets that were just read.
 * What an edge announced and was not read goes on the `again` list. */
#include "driver/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/ring.h"

enum { EVENTS = 256, ACCEPTS = 16, QUEUE = 4096, IOVECS = 64, COMMANDS = 4096, EVENTS_UP = 4096 };
enum { RESERVE_MIN = 16, RESERVE_MAX = 1024 }; /* descriptors */
enum { PEAK = 32 * 1024 * 1024 };
enum { REARM_MS = 100, USER_TIMEOUT_MS = 30000, STACK = 512 * 1024 };
/* A server that is busy and says nothing is told from a host that is gone by the kernel's own probes. */
enum { KEEPALIVE_IDLE_S = 15, KEEPALIVE_INTERVAL_S = 5 };
#define LISTENER_BIT ((uint64_t)1 << 63)

enum { CMD_LISTEN = 1, CMD_UNLISTEN, CMD_PREPARE, CMD_COMMIT, CMD_ABORT, CMD_DECIDE, CMD_DRAIN, CMD_SHUTDOWN, CMD_STOP };

typedef struct command {
  uint32_t what, a, b, c;
  uint64_t handle, size;
  const void *data;
} command;

typedef struct sock {
  pk_handle handle; /* 0: free */
  int fd;
  uint8_t connecting : 1;
  uint8_t bridged : 1; /* `fd` is our end of a pair, and the peer's socket is the deciding side's */
  uint8_t full;  /* the kernel takes no more: an edge will say when it does */
  uint8_t again; /* on that list */
  uint8_t finished; /* we said that no more comes from here */
  uint8_t ended; /* an edge said that the peer sends no more: read up to the end, there is no other edge */
} sock;

typedef struct acceptor {
  uint32_t listener;
  int fd; /* -1: free */
  uint64_t rearm_at; /* ns; 0 while armed */
} acceptor;

struct pk_worker {
  pk_core *core;
  pthread_t thread;
  int epoll, wake, event_fd;
  int client_fds, upstream_fds; /* no descriptor from this number on for clients, for servers */
  pk_ring commands, events;
  sock *socks;
  uint32_t sock_capacity, sock_count;
  acceptor *acceptors;
  uint32_t acceptor_count;
  pk_op *late; /* events that found the ring full and must not be lost */
  uint32_t late_count, late_capacity;
  pk_handle *again; /* sockets that may have more to read */
  uint32_t again_count, again_capacity;
  int stop, shutting_down, told_drained;
  uint64_t peak; /* bytes of buffers, since some were given back last */
  uint32_t told; /* events up to which the other side was woken */
  uint64_t calls; /* system calls of this batch */
  uint64_t now;
};

static uint64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void set_option(int fd, int level, int option, int value) {
  (void)setsockopt(fd, level, option, &value, sizeof value);
}

static void tune(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static int is_shortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* Of the process's descriptors some are left to connections to servers when clients have the rest, and some to the
 * deciding side when those have theirs: who administers it gets in. Numbers are given out from the lowest. */
static void share_descriptors(pk_worker *w) {
  struct rlimit limit;
  rlim_t all = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < INT_MAX ? limit.rlim_cur : INT_MAX;
  int reserve = (int)(all / 8);
  reserve = reserve < RESERVE_MIN ? RESERVE_MIN : reserve > RESERVE_MAX ? RESERVE_MAX : reserve;
  if (reserve > (int)all / 2) reserve = (int)all / 2;
  w->client_fds = (int)all - reserve;
  w->upstream_fds = (int)all - reserve / 4;
}

/* Sockets. */

static sock *sock_of(pk_worker *w, pk_handle h) {
  uint32_t index = (uint32_t)h;
  if (index >= w->sock_capacity || w->socks[index].handle != h || h == 0) return NULL;
  return &w->socks[index];
}

static sock *sock_add(pk_worker *w, pk_handle h, int fd, int connecting) {
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

static void event_kept(pk_worker *w, const pk_op *op);

static void sock_close(pk_worker *w, sock *s, int reset) {
  if (s->bridged)
    event_kept(w, &(pk_op){.op = PK_EVENT_UNBRIDGE, .arg = (uint32_t)reset, .handle = s->handle});
  if (reset) {
    struct linger l = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
  }
  close(s->fd);
  w->calls += 1 + (uint64_t)reset;
  s->handle = 0;
  w->sock_count--;
}

/* A connection whose codec is a Python class goes up, and the worker keeps one end of a pair in its place.
 * 0 (done, or it is no such connection), or -1: it has to be closed. */
static int hand_up(pk_worker *w, sock *s, int upstream) {
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
  event_kept(w, &(pk_op){.op = PK_EVENT_BRIDGE,
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

static int opened(pk_worker *w, sock *s) { return hand_up(w, s, 1) == 0 ? PK_CONNECTED : PK_CONNECT_EXHAUSTED; }

static void connect_finished(pk_worker *w, sock *s) {
  int error = 0;
  socklen_t size = sizeof error;
  w->calls++;
  if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  s->connecting = 0;
  pk_core_connected(w->core, s->handle, error != 0 ? PK_CONNECT_FAILED : opened(w, s), error);
}

static void ready(pk_worker *w, sock *s, uint32_t events) {
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
    s = sock_of(w, h);
  }
  if (s != NULL && events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) read_from(w, s, events);
}

/* Sockets whose last read may have left something, one read each. */
static void read_left(pk_worker *w) {
  uint32_t count = w->again_count;
  for (uint32_t i = 0; i < count; i++) {
    sock *s = sock_of(w, w->again[i]);
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
    int error = fd < 0 ? errno : EMFILE, failed = is_shortage(error) ? PK_CONNECT_EXHAUSTED : PK_CONNECT_FAILED;
    if (fd >= 0) close(fd);
    pk_core_connected(w->core, op->handle, failed, error);
    return;
  }
  tune(fd);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
  int done = connect(fd, (const struct sockaddr *)&addr, (socklen_t)op->size) == 0;
  int error = done || errno == EINPROGRESS ? 0 : errno;
  int failed = error == 0 ? PK_CONNECTED : is_shortage(error) ? PK_CONNECT_EXHAUSTED : PK_CONNECT_FAILED;
  if (failed == PK_CONNECTED && sock_add(w, op->handle, fd, !done) == NULL) failed = PK_CONNECT_EXHAUSTED;
  if (failed != PK_CONNECTED) close(fd);
  else if (done) failed = opened(w, sock_of(w, op->handle));
  if (failed != PK_CONNECTED || done) pk_core_connected(w->core, op->handle, failed, error);
}

static int event_up(pk_worker *w, const pk_op *op) {
  if (w->late_count == 0 && pk_ring_put(&w->events, op) == 0) return 0;
  return -1;
}

static void event_dropped(const pk_op *op) {
  if (op->op != PK_EVENT_BRIDGE) return;
  close((int)op->data);
  close((int)op->size);
}

static void event_kept(pk_worker *w, const pk_op *op) {
  if (event_up(w, op) == 0) return;
  if (w->late_count == w->late_capacity) {
    uint32_t capacity = w->late_capacity < 64 ? 64 : 2 * w->late_capacity;
    pk_op *late = realloc(w->late, capacity * sizeof *late);
    if (late == NULL) {
      PK_STAT_ADD(((pk_stats *)pk_core_stats(w->core))->events_lost, 1);
      event_dropped(op);
      return;
    }
    w->late = late;
    w->late_capacity = capacity;
  }
  w->late[w->late_count++] = *op;
}

static void carry_out(pk_worker *w, const pk_op *op) {
  static const char full[] = "protokit: overloaded: the filters cannot keep up";
  sock *s = op->op == PK_OP_CONNECT ? NULL : sock_of(w, op->handle);
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
      if (event_up(w, op) != 0)
        pk_core_decide(w->core, op->handle, PK_DECIDE_REPLY, 0, PK_STATUS_OVERLOADED, full,
                       sizeof full - 1);
      break;
    default:
      event_kept(w, op);
      break;
  }
}

/* Operations and writes lead to each other (a connection that opens has bytes to write). */
static void settle(pk_worker *w) {
  pk_op ops[64];
  pk_handle dirty[64];
  size_t n, written;
  do {
    n = pk_core_take_ops(w->core, ops, 64);
    for (size_t i = 0; i < n; i++) carry_out(w, &ops[i]);
    written = n == 64 ? 0 : pk_core_take_dirty(w->core, dirty, 64);
    for (size_t i = 0; i < written; i++) {
      sock *s = sock_of(w, dirty[i]);
      if (s != NULL && !s->connecting && !s->full) write_to(w, s);
    }
  } while (n > 0 || written > 0);
}

/* Listening. */

/* Clients wait where they are: the listener would report itself again at once, for ever. */
static void rest(pk_worker *w, acceptor *a) {
  PK_STAT_ADD(((pk_stats *)pk_core_stats(w->core))->accept_errors, 1);
  if (a->rearm_at == 0) (void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, a->fd, NULL);
  a->rearm_at = w->now + (uint64_t)REARM_MS * 1000000u;
}

static void accept_from(pk_worker *w, acceptor *a, int most) {
  for (int i = 0; i < most; i++) {
    w->calls++;
    int fd = accept4(a->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (is_shortage(errno)) rest(w, a);
      return;
    }
    pk_handle h = pk_core_accept(w->core, a->listener);
    if (h == 0) {
      close(fd);
      continue;
    }
    tune(fd);
    sock *s = sock_add(w, h, fd, 0);
    if (s == NULL) close(fd);
    if (s == NULL || hand_up(w, s, 0) != 0) pk_core_error(w->core, h);
    if (fd >= w->client_fds) {
      rest(w, a);
      return;
    }
  }
}

static int arm(pk_worker *w, uint32_t index) {
  struct epoll_event e = {.events = EPOLLIN, .data.u64 = LISTENER_BIT | index};
  w->acceptors[index].rearm_at = 0;
  return epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->acceptors[index].fd, &e);
}

static void listen_on(pk_worker *w, uint32_t listener, int fd) {
  uint32_t i = 0;
  while (i < w->acceptor_count && w->acceptors[i].fd >= 0) i++;
  if (i == w->acceptor_count) {
    acceptor *grown = realloc(w->acceptors, (i + 1) * sizeof *grown);
    if (grown == NULL) {
      close(fd);
      return;
    }
    w->acceptors = grown;
    w->acceptor_count++;
  }
  w->acceptors[i] = (acceptor){listener, fd, 0};
  (void)fcntl(fd, F_SETFL, O_NONBLOCK); /* a worker must never wait in accept */
  if (arm(w, i) != 0) {
    close(fd);
    w->acceptors[i].fd = -1;
  }
}

static void unlisten(pk_worker *w, uint32_t listener) {
  for (uint32_t i = 0; i < w->acceptor_count; i++) {
    acceptor *a = &w->acceptors[i];
    if (a->fd < 0 || a->listener != listener) continue;
    accept_from(w, a, QUEUE); /* who is in the queue already is served */
    close(a->fd);
    a->fd = -1;
    a->rearm_at = 0;
  }
}

static void rearm_due(pk_worker *w) {
  for (uint32_t i = 0; i < w->acceptor_count; i++) {
    acceptor *a = &w->acceptors[i];
    if (a->fd < 0 || a->rearm_at == 0 || w->now < a->rearm_at) continue;
    int next = fcntl(a->fd, F_DUPFD_CLOEXEC, 0); /* the number that a client would get */
    if (next >= 0) close(next);
    if (next < 0 || next >= w->client_fds) {
      rest(w, a);
    } else {
      (void)arm(w, i);
    }
  }
}

/* The loop. */

static void commands(pk_worker *w) {
  command c;
  uint64_t count;
  w->calls++;
  if (read(w->wake, &count, sizeof count) < 0) return;
  while (pk_ring_take(&w->commands, &c, 1) == 1) {
    switch (c.what) {
      case CMD_LISTEN:
        listen_on(w, c.a, (int)c.b);
        break;
      case CMD_UNLISTEN:
        unlisten(w, c.a);
        break;
      case CMD_PREPARE:
        event_kept(w, &(pk_op){.op = PK_EVENT_PREPARED,
                               .arg = pk_core_prepare(w->core, c.data, c.handle) == 0,
                               .token = c.handle});
        break;
      case CMD_COMMIT:
        share_descriptors(w); /* the limit may be another one now */
        pk_core_commit(w->core);
        break;
      case CMD_ABORT:
        pk_core_abort(w->core);
        break;
      case CMD_DECIDE:
        pk_core_decide(w->core, c.handle, c.a, c.b, c.c, c.data, c.size);
        free((void *)(uintptr_t)c.data);
        break;
      case CMD_DRAIN:
        pk_core_drain(w->core);
        break;
      case CMD_SHUTDOWN:
        w->shutting_down = 1;
        pk_core_shutdown(w->core);
        break;
      default:
        w->stop = 1;
        break;
    }
  }
}

static int timeout_ms(const pk_worker *w) {
  uint64_t next = pk_core_next(w->core), now = w->now;
  if (w->again_count > 0) return 0;
  for (uint32_t i = 0; i < w->acceptor_count; i++) {
    const acceptor *a = &w->acceptors[i];
    if (a->fd >= 0 && a->rearm_at != 0 && a->rearm_at < next) next = a->rearm_at;
  }
  if (w->late_count > 0 && now + 10000000u < next) next = now + 10000000u;
  if (next == UINT64_MAX) return -1;
  if (next <= now) return 0;
  uint64_t ms = (next - now + 999999) / 1000000;
  return ms > 60000 ? 60000 : (int)ms;
}

static void tell(pk_worker *w) {
  if (w->shutting_down && w->sock_count == 0 && !w->told_drained) {
    w->told_drained = 1;
    event_kept(w, &(pk_op){.op = PK_EVENT_DRAINED});
  }
  uint32_t sent = 0;
  while (sent < w->late_count && pk_ring_put(&w->events, &w->late[sent]) == 0) sent++;
  w->late_count -= sent;
  if (sent > 0 && w->late_count > 0)
    memmove(w->late, w->late + sent, w->late_count * sizeof *w->late);
  uint32_t tail = atomic_load_explicit(&w->events.tail, memory_order_relaxed);
  if (tail != w->told) {
    uint64_t one = 1;
    w->told = tail;
    w->calls++;
    if (write(w->event_fd, &one, sizeof one) < 0) w->told = tail - 1;
  }
}

/* Memory that a peak took goes back to the system when most of it is free again. */
static void give_back(pk_worker *w) {
  uint64_t held = atomic_load_explicit(&((pk_stats *)pk_core_stats(w->core))->buffer_bytes, memory_order_relaxed);
  if (held > w->peak) w->peak = held;
  if (w->peak < PEAK || held > w->peak / 4) return;
  (void)malloc_trim(0);
  w->peak = held;
}

static void *run(void *argument) {
  pk_worker *w = argument;
  pk_stats *stats = (pk_stats *)pk_core_stats(w->core);
  struct epoll_event events[EVENTS];
  w->now = clock_ns();
  while (!w->stop) {
    int n = epoll_wait(w->epoll, events, EVENTS, timeout_ms(w));
    w->calls = 1;
    w->now = clock_ns();
    rearm_due(w);
    pk_core_begin(w->core, w->now);
    if (w->again_count > 0) read_left(w);
    for (int i = 0; i < n; i++) {
      uint64_t data = events[i].data.u64;
      if (data == 0) {
        commands(w);
      } else if (data & LISTENER_BIT) {
        acceptor *a = &w->acceptors[(uint32_t)data];
        if (a->fd >= 0) accept_from(w, a, ACCEPTS);
      } else {
        sock *s = sock_of(w, data);
        if (s != NULL) ready(w, s, events[i].events);
      }
    }
    pk_core_end(w->core);
    settle(w);
    tell(w);
    give_back(w);
    PK_STAT_ADD(stats->system_calls, w->calls);
    PK_STAT_ADD(stats->batches, 1);
  }
  return NULL;
}

/* The deciding side. */

static void release(pk_worker *w) {
  command c;
  while (pk_ring_take(&w->commands, &c, 1) == 1) {
    if (c.what == CMD_LISTEN) close((int)c.b);
    if (c.what == CMD_DECIDE) free((void *)(uintptr_t)c.data);
  }
  pk_op op;
  while (pk_ring_take(&w->events, &op, 1) == 1) event_dropped(&op);
  for (uint32_t i = 0; i < w->late_count; i++) event_dropped(&w->late[i]);
  for (uint32_t i = 0; i < w->sock_capacity; i++)
    if (w->socks[i].handle != 0) close(w->socks[i].fd);
  for (uint32_t i = 0; i < w->acceptor_count; i++)
    if (w->acceptors[i].fd >= 0) close(w->acceptors[i].fd);
  if (w->epoll >= 0) close(w->epoll);
  if (w->wake >= 0) close(w->wake);
  if (w->event_fd >= 0) close(w->event_fd);
  pk_core_free(w->core);
  free(w->commands.data);
  free(w->events.data);
  free(w->socks);
  free(w->acceptors);
  free(w->late);
  free(w->again);
  free(w);
}

pk_worker *pk_worker_start(uint64_t seed) {
  void *memory = NULL;
  if (posix_memalign(&memory, 64, sizeof(pk_worker)) != 0) return NULL;
  pk_worker *w = memset(memory, 0, sizeof(pk_worker));
  w->core = pk_core_new(seed);
  share_descriptors(w);
  w->epoll = epoll_create1(EPOLL_CLOEXEC);
  w->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  w->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0};
  sigset_t all, before;
  pthread_attr_t attributes;
  int error = ENOMEM;
  if (w->core != NULL && pk_ring_init(&w->commands, COMMANDS, sizeof(command)) == 0 &&
      pk_ring_init(&w->events, EVENTS_UP, sizeof(pk_op)) == 0 && w->epoll >= 0 && w->wake >= 0 &&
      w->event_fd >= 0 && epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->wake, &e) == 0 &&
      pthread_attr_init(&attributes) == 0) {
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_setstacksize(&attributes, STACK);
    error = pthread_create(&w->thread, &attributes, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
  }
  if (error != 0) {
    release(w);
    errno = error;
    return NULL;
  }
  (void)pthread_setname_np(w->thread, "protokit-worker");
  return w;
}

static int send_command(pk_worker *w, const command *c) {
  uint64_t one = 1;
  if (pk_ring_put(&w->commands, c) != 0) return -1;
  (void)!write(w->wake, &one, sizeof one);
  return 0;
}

void pk_worker_stop(pk_worker *w) {
  command c = {.what = CMD_STOP};
  while (send_command(w, &c) != 0) usleep(1000);
  pthread_join(w->thread, NULL);
  release(w);
}

int pk_worker_event_fd(const pk_worker *w) { return w->event_fd; }

uint32_t pk_worker_take_events(pk_worker *w, pk_op *out, uint32_t max) {
  uint64_t count;
  (void)!read(w->event_fd, &count, sizeof count);
  return pk_ring_take(&w->events, out, max);
}

int pk_worker_listen(pk_worker *w, uint32_t listener, int fd) {
  return send_command(w, &(command){.what = CMD_LISTEN, .a = listener, .b = (uint32_t)fd});
}

int pk_worker_unlisten(pk_worker *w, uint32_t listener) {
  return send_command(w, &(command){.what = CMD_UNLISTEN, .a = listener});
}

int pk_worker_prepare(pk_worker *w, const pk_table *table, uint64_t token) {
  return send_command(w, &(command){.what = CMD_PREPARE, .data = table, .handle = token});
}

int pk_worker_commit(pk_worker *w) { return send_command(w, &(command){.what = CMD_COMMIT}); }

int pk_worker_abort(pk_worker *w) { return send_command(w, &(command){.what = CMD_ABORT}); }

int pk_worker_decide(pk_worker *w, pk_handle request, uint32_t verdict, uint32_t cluster,
                     uint32_t status, const char *text, size_t text_size) {
  char *copy = malloc(text_size + 1);
  if (copy == NULL) return -1;
  memcpy(copy, text, text_size);
  command c = {CMD_DECIDE, verdict, cluster, status, request, text_size, copy};
  if (send_command(w, &c) == 0) return 0;
  free(copy);
  return -1;
}

int pk_worker_drain(pk_worker *w) { return send_command(w, &(command){.what = CMD_DRAIN}); }

int pk_worker_shutdown(pk_worker *w) { return send_command(w, &(command){.what = CMD_SHUTDOWN}); }

const pk_stats *pk_worker_stats(const pk_worker *w) { return pk_core_stats(w->core); }

const pk_endpoint_stats *pk_worker_endpoint_stats(const pk_worker *w, uint32_t uid) {
  return pk_core_endpoint_stats(w->core, uid);
}
