/* worker.h: a core driven by epoll on a thread of its own. Python never runs there.
 *
 * The deciding side sends commands down and takes events up; both are rings with an eventfd.
 * Commands may be sent, and events taken, by one thread only. */
#ifndef PK_WORKER_H
#define PK_WORKER_H

#include "core/core.h"

/* python { */
typedef struct pk_worker pk_worker;

/* Events besides PK_OP_FILTER, PK_OP_RETIRED, PK_OP_ENDPOINT and PK_OP_MALFORMED*. */
enum {
  PK_EVENT_DRAINED = 100, /* after pk_worker_shutdown: no connection is left */
  PK_EVENT_BRIDGE,        /* `handle`, of `codec` (envelope.h), arg 1: to an upstream. Descriptor `data` is the
                             peer's socket, `size` the end to speak envelopes on: both are the taker's now */
  PK_EVENT_UNBRIDGE,      /* the worker has closed its end of `handle`; arg 1: close the peer's with a reset */
  PK_EVENT_PREPARED       /* the table `token`; arg 0: without success, and it is used no more */
};

/* Starts the thread of worker `place` of `places`; what they share (NULL: nothing), and what they tell each other of
 * endpoints (NULL: there is only one). NULL and errno. */
pk_worker *pk_worker_start(uint64_t seed, pk_shared *shared, pk_verdicts *verdicts, uint32_t place, uint32_t places);
/* Ends the thread, closes its sockets, frees everything. */
void pk_worker_stop(pk_worker *w);
int pk_worker_event_fd(const pk_worker *w); /* readable when events wait */
uint32_t pk_worker_take_events(pk_worker *w, pk_op *out, uint32_t max);

/* Commands: 0, or -1 when the ring is full (try again later). The worker owns `fd` from then on. */
int pk_worker_listen(pk_worker *w, uint32_t listener, int fd);
int pk_worker_unlisten(pk_worker *w, uint32_t listener); /* accept who waits, then no more; connections go on */
/* Get ready for a table: PK_EVENT_PREPARED tells; then use it, or forget it (PK_OP_RETIRED tells). */
int pk_worker_prepare(pk_worker *w, const pk_table *table, uint64_t token);
int pk_worker_commit(pk_worker *w);
int pk_worker_abort(pk_worker *w);
int pk_worker_decide(pk_worker *w, pk_handle request, uint32_t verdict, uint32_t cluster,
                     uint32_t status, const char *text, size_t text_size);
uint32_t pk_worker_take_asks(pk_worker *w, pk_ask *out, uint32_t max);
uint32_t pk_worker_take_ends(pk_worker *w, pk_end *out, uint32_t max); /* as pk_core_take_ends */
int pk_worker_drain(pk_worker *w);
int pk_worker_shutdown(pk_worker *w);
/* } python */

const pk_stats *pk_worker_stats(const pk_worker *w);
const pk_endpoint_stats *pk_worker_endpoint_stats(const pk_worker *w, uint32_t uid);
const struct pk_times *pk_worker_times(const pk_worker *w, uint32_t uid);

#endif
