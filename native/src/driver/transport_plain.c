/* transport_plain.c: bytes as they are, on a socket. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/parts.h"

static int start(pk_worker *w, pk_link *l) {
  (void)w, (void)l;
  return PK_DONE;
}

/* Nothing interrupts a call that does not wait, in a thread that blocks all signals. */
static int outcome(void) { return errno == EAGAIN ? PK_AGAIN : PK_FAILED; }

ssize_t pk_plain_receive(pk_worker *w, pk_link *l, uint8_t *to, size_t size) {
  w->calls++;
  ssize_t n = recv(l->fd, to, size, 0);
  return n < 0 ? outcome() : n;
}

static __attribute__((noinline)) ssize_t send_pieces(int fd, const struct iovec *pieces, int count) {
  struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)pieces, .msg_iovlen = (size_t)count};
  return sendmsg(fd, &m, MSG_NOSIGNAL);
}

ssize_t pk_plain_send(pk_worker *w, pk_link *l, const struct iovec *pieces, int count, size_t total) {
  w->calls++;
  ssize_t n = count == 1 ? send(l->fd, pieces->iov_base, total, MSG_NOSIGNAL) : send_pieces(l->fd, pieces, count);
  return n < 0 ? outcome() : n;
}

int pk_plain_finish(pk_worker *w, pk_link *l) {
  w->calls++;
  return shutdown(l->fd, SHUT_WR) == 0 ? PK_DONE : PK_FAILED;
}

static void close_socket(pk_worker *w, pk_link *l, int reset) {
  if (reset) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  }
  close(l->fd);
  w->calls += 1 + (uint64_t)reset;
}

const pk_transport pk_transport_plain = {
    .start = start,
    .receive = pk_plain_receive,
    .send = pk_plain_send,
    .finish = pk_plain_finish,
    .close = close_socket,
};
