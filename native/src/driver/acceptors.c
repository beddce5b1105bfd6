/* acceptors.c: listening sockets, and who gets the process's descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/parts.h"

enum { QUEUE = 4096, REARM_MS = 100 };
enum { RESERVE_MIN = 16, RESERVE_MAX = 1024 }; /* descriptors */

/* Of the process's descriptors some are left to connections to servers when clients have the rest, and some to the
 * deciding side when those have theirs: who administers it gets in. Numbers are given out from the lowest. */
void pk_descriptors_share(pk_worker *w) {
  struct rlimit limit;
  rlim_t all = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < INT_MAX ? limit.rlim_cur : INT_MAX;
  int reserve = (int)(all / 8);
  reserve = reserve < RESERVE_MIN ? RESERVE_MIN : reserve > RESERVE_MAX ? RESERVE_MAX : reserve;
  if (reserve > (int)all / 2) reserve = (int)all / 2;
  w->client_fds = (int)all - reserve;
  w->upstream_fds = (int)all - reserve / 4;
}

/* Clients wait where they are: the listener would report itself again at once, for ever. */
static void rest(pk_worker *w, acceptor *a) {
  PK_STAT_ADD(((pk_stats *)pk_core_stats(w->core))->accept_errors, 1);
  if (a->rearm_at == 0) (void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, a->fd, NULL);
  a->rearm_at = w->now + (uint64_t)REARM_MS * 1000000u;
}

typedef union peer {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} peer;

static pk_handle accept_from(pk_worker *w, uint32_t listener, const peer *from) {
  uint8_t address[PK_ADDRESS] = {0};
  if (from->any.sa_family == AF_INET6) {
    memcpy(address, &from->v6.sin6_addr, sizeof address);
  } else if (from->any.sa_family == AF_INET) {
    memset(address + 10, 0xff, 2);
    memcpy(address + 12, &from->v4.sin_addr, 4);
  }
  return pk_core_accept_from(w->core, listener, address);
}

void pk_acceptor_take(pk_worker *w, acceptor *a, int most) {
  for (int i = 0; i < most; i++) {
    w->calls++;
    peer from = {.any.sa_family = AF_UNSPEC};
    socklen_t size = sizeof from;
    int fd = accept4(a->fd, &from.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (pk_is_shortage(errno)) rest(w, a);
      return;
    }
    pk_handle h = accept_from(w, a->listener, &from);
    if (h == 0) {
      close(fd);
      continue;
    }
    pk_sock_tune(fd);
    sock *s = pk_sock_add(w, h, fd, 0);
    if (s != NULL) {
      pk_sock_start(w, s);
    } else {
      close(fd);
      pk_core_error(w->core, h);
    }
    if (fd >= w->client_fds) {
      rest(w, a);
      return;
    }
  }
}

static int arm(pk_worker *w, uint32_t index) {
  struct epoll_event e = {.events = EPOLLIN, .data.u64 = PK_ACCEPTOR_BIT | index};
  w->acceptors[index].rearm_at = 0;
  return epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->acceptors[index].fd, &e);
}

void pk_acceptors_add(pk_worker *w, uint32_t listener, int fd) {
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

void pk_acceptors_remove(pk_worker *w, uint32_t listener) {
  for (uint32_t i = 0; i < w->acceptor_count; i++) {
    acceptor *a = &w->acceptors[i];
    if (a->fd < 0 || a->listener != listener) continue;
    pk_acceptor_take(w, a, QUEUE); /* who is in the queue already is served */
    close(a->fd);
    a->fd = -1;
    a->rearm_at = 0;
  }
}

void pk_acceptors_rearm(pk_worker *w) {
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
