/* transport_bridge.c: connections whose codec is a Python class. The peer's socket goes up to the deciding side with one
 * end of a socket pair; the worker keeps the other in its place, and speaks envelopes on it (envelope.h). */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/parts.h"

static int start(pk_worker *w, pk_link *l) {
  const pk_codec *codec = pk_core_bridged(w->core, l->handle);
  int pair[2];
  w->calls += 3;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) return PK_EXHAUSTED;
  if (pk_link_watch(w, l, pair[0]) != 0) {
    int error = errno;
    close(pair[0]);
    close(pair[1]);
    errno = error;
    return PK_EXHAUSTED;
  }
  (void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, l->fd, NULL);
  pk_event_keep(w, &(pk_op){.op = PK_EVENT_BRIDGE,
                            .arg = l->upstream,
                            .handle = l->handle,
                            .data = (uint64_t)l->fd,
                            .size = (uint64_t)pair[1],
                            .codec = (uint64_t)(uintptr_t)codec});
  l->fd = pair[0];
  l->state = (void *)(uintptr_t)codec; /* it is handed up */
  return PK_DONE;
}

static void close_end(pk_worker *w, pk_link *l, int reset) {
  if (l->state == NULL) {
    pk_transport_plain.close(w, l, reset);
    return;
  }
  pk_event_keep(w, &(pk_op){.op = PK_EVENT_UNBRIDGE, .arg = (uint32_t)reset, .handle = l->handle});
  w->calls++;
  close(l->fd);
}

const pk_transport pk_transport_bridge = {
    .start = start,
    .receive = pk_plain_receive,
    .send = pk_plain_send,
    .finish = pk_plain_finish,
    .close = close_end,
};
