/* transport.h: what stands between the worker and a connection's bytes: plain sockets (transport_plain.c), and the
 * bridge to codecs in Python (transport_bridge.c). TLS is one more.
 *
 * The worker watches `fd` edge-triggered for both directions, and calls on its own thread; nothing here may block.
 * In a connection's life:
 *
 *   start     once the socket is connected, and again at every edge while it says PK_AGAIN; until it is done nothing
 *             is received or sent. A server's connection has the cluster's time to connect for that, too
 *   receive, send, finish, pending
 *   close     once, at any time, also before start or in the middle of it
 *
 * What cannot go on says PK_AGAIN and is called again: receive at the edges of `receive_edges`, send and finish at those
 * of `send_edges`, which are EPOLLIN and EPOLLOUT. Who has to write before it can receive adds EPOLLOUT to the first,
 * who has to read before it can send EPOLLIN to the second; an edge too many is only a call too many, so that they
 * may stay. An edge comes when the kernel has answered EAGAIN and is ready again: PK_AGAIN without having seen EAGAIN
 * would wait for ever.
 *
 * TLS, function by function (OpenSSL's names; SSL_set_fd, non-blocking, partial writes and moving buffers allowed):
 *
 *   start     the first time makes the session (SSL_new) of the listener's or cluster's context, as server or, with the
 *             name to ask for, as client; then SSL_do_handshake. WANT_READ and WANT_WRITE are PK_AGAIN; what the
 *             peer's certificate or protocol lacks is PK_FAILED
 *   receive   SSL_read. WANT_READ is PK_AGAIN; WANT_WRITE (a key update to answer) is PK_AGAIN with EPOLLOUT added;
 *             SSL_ERROR_ZERO_RETURN is the end, 0; a socket that ends without it was cut: PK_FAILED
 *   send      SSL_write of one piece after the other until EAGAIN; WANT_READ adds EPOLLIN. What was given to
 *             SSL_write once is given again: the worker offers the same bytes until they are taken
 *   finish    SSL_shutdown once, and nothing more: the peer may go on sending. WANT_WRITE is PK_AGAIN
 *   pending   SSL_has_pending, and whether the last receive stopped before EAGAIN: records are read whole
 *   close     without `reset` SSL_shutdown if it was not sent and the socket takes it; SSL_free, then the socket */
#ifndef PK_TRANSPORT_H
#define PK_TRANSPORT_H

#include <sys/epoll.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "driver/worker.h"

enum { PK_DONE = 0, PK_AGAIN = -1, PK_FAILED = -2, PK_EXHAUSTED = -3 };

/* One connection, as worker and transport share it. It may move in memory between calls. */
typedef struct pk_link {
  pk_handle handle;                     /* the core's */
  const struct pk_transport *transport; /* pk_transport_plain until start */
  void *state;                          /* the transport's own: NULL before start, freed by close */
  int fd;                               /* what the worker watches, the transport's to close */
  uint8_t upstream;                     /* to a server */
  uint8_t receive_edges, send_edges;    /* EPOLLIN, EPOLLOUT */
} pk_link;

/* System calls are added to w->calls. Where something failed errno says why, or 0. */
typedef struct pk_transport {
  /* PK_DONE, PK_AGAIN, PK_FAILED (by the peer's fault), or PK_EXHAUSTED (no descriptor, no memory). It may put another
   * descriptor in the place of `fd`, registered as the worker does it (pk_link_watch). */
  int (*start)(pk_worker *w, pk_link *l);
  /* Bytes received, 1 to `size`; 0: the peer sends no more; PK_AGAIN; PK_FAILED. Less than `size` says that there is no
   * more before an edge, unless `pending` says that there is. */
  ssize_t (*receive)(pk_worker *w, pk_link *l, uint8_t *to, size_t size);
  /* Bytes taken of `count` pieces of `total` bytes; PK_AGAIN; PK_FAILED. Less than `total` says that no more goes before
   * an edge. */
  ssize_t (*send)(pk_worker *w, pk_link *l, const struct iovec *pieces, int count, size_t total);
  /* Tells the peer that no more comes from here; all that was to be sent has been taken. PK_DONE, PK_AGAIN, PK_FAILED. */
  int (*finish)(pk_worker *w, pk_link *l);
  /* Whether `receive` has something without an edge; asked after start, receive and send. NULL: never. */
  int (*pending)(const pk_link *l);
  /* Closes `fd` and frees `state`; reset: the peer is to see an error and no end. */
  void (*close)(pk_worker *w, pk_link *l, int reset);
} pk_transport;

extern const pk_transport pk_transport_plain, pk_transport_bridge;

/* Which transport a connection starts with. */
const pk_transport *pk_transport_of(const pk_worker *w, const pk_link *l);

/* The plain transport's, for those that stand on sockets as well. */
ssize_t pk_plain_receive(pk_worker *w, pk_link *l, uint8_t *to, size_t size);
ssize_t pk_plain_send(pk_worker *w, pk_link *l, const struct iovec *pieces, int count, size_t total);
int pk_plain_finish(pk_worker *w, pk_link *l);

#endif
