/* core.h: the engine without sockets and clocks.
 *
 * A driver owns the sockets and the time. In each batch it calls pk_core_begin(now), then any of
 * accept / connected / feed / eof / error / sent, then pk_core_end; after that it carries out
 * pk_core_take_ops, and writes what pk_core_take_dirty names (pk_core_out, then pk_core_sent in
 * the same or the next batch). It calls again no later than pk_core_next. worker.c drives it with
 * epoll; tests and fuzzers drive it with bytes from a script and a virtual clock.
 *
 * A handle is index and generation; a stale one is ignored. No function may be called from two
 * threads at once. */
#ifndef PK_CORE_H
#define PK_CORE_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "policy/breaker.h"
#include "policy/health.h"
#include "policy/verdicts.h"
#include "table/table.h"

/* python { */
typedef struct pk_core pk_core;
typedef uint64_t pk_handle; /* 0 names nothing */
/* } python */

/* Counters of one worker; written by its thread only, read by any. */
#define PK_STATS(X)                                                                             \
  X(connections_accepted) X(connections_refused) X(connections_late) X(connections_active) X(connections_told) X(requests) X(oneway)     \
  X(responses) X(responses_app_error) X(parts) X(errors_no_service) X(errors_bad_request)                \
  X(errors_timeout) X(errors_overloaded) X(errors_unavailable) X(errors_denied)                 \
  X(errors_internal) X(requests_active) X(requests_client_gone) X(answers_unmatched) X(answers_too_large)            \
  X(retries) X(retries_too_large) X(retries_over_budget) X(timeouts_not_passed_on) X(hedges) X(hedges_won) X(hedges_over_budget) X(mirrors) X(mirrors_active) X(mirrors_failed) X(mirrors_skipped) X(heartbeats_received) X(heartbeats_sent)                     \
  X(drains_received) X(drains_sent) X(protocol_errors_client) X(protocol_errors_upstream)       \
  X(undetected) X(clients_paused) X(clients_closed_slow) X(closed_idle) X(closed_half_frame)    \
  X(closed_over_budget) X(upstream_connects) X(upstream_connect_failures)                       \
  X(upstream_connections_active) X(upstream_closed) X(upstream_silent) X(ejections) X(checks) X(checks_failed) X(buffer_bytes)          \
  X(filters_waiting) X(filters_bytes) X(filters_cancelled) X(answers_unseen) X(answers_not_changed) X(ends_lost) X(asks_lost) X(tables_live) X(bytes_from_clients) X(bytes_to_clients)                   \
  X(bytes_from_upstreams) X(bytes_to_upstreams) X(system_calls) X(batches) X(accept_errors)     \
  X(connect_errors)                                                                              \
  X(events_lost) X(fallback_connections) X(fallback_active) X(greetings_refused) X(connections_denied) X(would_deny)

typedef struct pk_stats {
#define X(name) _Atomic uint64_t name;
  PK_STATS(X)
#undef X
} pk_stats;

typedef struct pk_endpoint_stats {
  _Atomic uint64_t requests, errors, timeouts, active, connections, connect_failures;
} pk_endpoint_stats;

#define PK_STAT_ADD(counter, n)                                                                  \
  atomic_store_explicit(&(counter),                                                              \
                        atomic_load_explicit(&(counter), memory_order_relaxed) + (uint64_t)(n), \
                        memory_order_relaxed)
#define PK_STAT_SUB(counter, n) PK_STAT_ADD(counter, -(uint64_t)(n))

/* python { */
/* What the driver has to do, in this order. */
enum {
  PK_OP_CONNECT = 1, /* open `handle` to the sockaddr at data, size bytes; then pk_core_connected */
  PK_OP_CLOSE,       /* close `handle`; arg 1: with a reset */
  PK_OP_PAUSE,       /* stop reading `handle` */
  PK_OP_RESUME,      /* read `handle` again */
  PK_OP_FILTER,      /* request `handle` waits for pk_core_decide: arg the filter chain, its frame at
                        data, of `codec`, routed by the table `token`; the bytes stay until then. size: of the frame,
                        and above 32 bits the cluster that it goes to, or PK_NONE */
  PK_OP_RETIRED,     /* the table `token` is used no more */
  PK_OP_ENDPOINT,    /* endpoint uid `arg` is now as size says, PK_WELL or PK_ILL_*; data: the errno, or 0; where it
                        is PK_ILL_EJECTED PK_OUTLIER_*, where it is PK_ILL_FAILING PK_CHECK_*, and codec the errno or
                        status. token: for how long it is left out from now on, ms */
  PK_OP_FINISH,      /* no more is written to `handle`: tell its peer */
  PK_OP_CANCEL,      /* request `handle` ended before its filters (chain `arg` of the table `token`) decided:
                        nobody waits for the verdict; pk_core_decide all the same, once nobody reads its bytes. data 1:
                        they had its answer; size 1: their time was over */
  PK_OP_ANSWER,      /* the answer to request `handle` waits for pk_core_decide: as PK_OP_FILTER, with a pk_answered at data */
  PK_OP_MALFORMED,   /* a client of listener `arg` sent what is no frame of its protocol, and is closed: a pk_malformed */
  PK_OP_MALFORMED_ANSWER, /* the same of a server, endpoint uid `arg`. One a second of each of the two is told */
  PK_OP_PANIC,       /* of cluster `arg` of the newest table, `token`, only `data` of `codec` endpoints are usable, and all are
                        used (size 1); or more are again (0) */
  PK_OP_PREFER       /* of the requests of cluster `arg` of the newest table, `token`, `data` parts of a million go to endpoints
                        that are preferred; or nobody is, for too few are usable anywhere (PK_NONE) */
};

typedef struct pk_op {
  uint32_t op, arg;
  uint64_t handle, data, size, codec, token;
} pk_op;

/* A pk_op of those two. */
typedef struct pk_malformed {
  uint32_t op, arg;
  uint64_t handle;
  uint8_t address[16]; /* by the driver: the peer's, an IPv4 one mapped to IPv6; zeros: it has none */
  uint16_t port;       /* likewise */
  uint8_t error;       /* -PK_ERR_* */
  uint8_t count;       /* of bytes in `head` */
  uint32_t at;         /* which byte of the frame is wrong */
  uint8_t head[8];     /* how the frame begins */
} pk_malformed;

/* How a request that waited for filters goes on; or its answer. NOT_ASKED: nobody could be asked. */
enum { PK_DECIDE_CONTINUE = 0, PK_DECIDE_CLUSTER, PK_DECIDE_REPLY, PK_DECIDE_NOT_ASKED, PK_DECIDE_ANSWER, PK_DECIDE_ANSWER_REPLY,
       PK_DECIDE_ANSWER_NOT_ASKED };

/* What filters see of an answer; behind it stand the request's bytes, as they were sent, and the answer's. */
typedef struct pk_answered {
  uint64_t took;     /* ns from sending to the answer, of the try that was answered */
  uint32_t endpoint; /* its uid */
  uint32_t cluster;  /* of the table */
  uint32_t status;   /* PK_STATUS_* */
  uint32_t asked, size; /* bytes of the request, of the answer */
} pk_answered;

/* What became of a request. */
enum { PK_END_TEXT = 440, PK_END_SERVICE = 200, PK_END_METHOD = 100 };
typedef struct pk_end {
  uint64_t token;           /* of its table */
  uint64_t began, took;     /* ns */
  uint64_t asked, answered; /* bytes of its frame, and of its server's answers */
  uint32_t chain;           /* of filters that are told */
  uint32_t cluster, endpoint; /* of the table; the uid of who was asked last; PK_NONE: nobody was */
  uint32_t status;          /* PK_STATUS_*; PK_STATUS_COUNT: it has none */
  uint16_t oneway;
  uint16_t service, method, reason; /* bytes of `text`, one behind the other. A reason: the proxy's own for its error */
  char text[PK_END_TEXT];
} pk_end;

/* Somebody outside is asked about a key of a rule's limit. */
enum { PK_ASK_TEXT = 488, PK_ASK_VALUE = 200 };
typedef struct pk_ask {
  uint64_t state, key; /* of the rule: pk_rule_state; a hash */
  uint64_t hits;       /* requests since it was asked last */
  uint32_t values;     /* of the key, each with its size in front, a byte */
  uint32_t known;      /* something is said of it, still */
  uint8_t text[PK_ASK_TEXT];
} pk_ask;

pk_core *pk_core_new(uint64_t seed);
/* What it shares with others, which it holds: before its first table. Else it has its own. */
void pk_core_share(pk_core *core, pk_shared *shared);
void pk_core_free(pk_core *core); /* closes nothing: the driver has closed its sockets */
/* It is number `place` of `places` cores of this process, which share `verdicts`. Before it has a table. */
void pk_core_join(pk_core *core, pk_verdicts *verdicts, uint32_t place, uint32_t places);

void pk_core_begin(pk_core *core, uint64_t now_ns);
void pk_core_end(pk_core *core);
/* When to begin the next batch at the latest, on the clock given to begin; UINT64_MAX: whenever. */
uint64_t pk_core_next(const pk_core *core);

/* Use `table` for new requests. Returns 0, or -1 when memory was short (the old one stays). */
int pk_core_apply(pk_core *core, const pk_table *table, uint64_t token);
/* The same in two steps, the first of which may fail: where several cores change to a table, all or none do.
 * `abort` forgets what was prepared; both do nothing where nothing was. */
int pk_core_prepare(pk_core *core, const pk_table *table, uint64_t token);
void pk_core_commit(pk_core *core);
void pk_core_abort(pk_core *core);

/* A client connected to listener `id`. 0: refuse it (close the socket). */
pk_handle pk_core_accept(pk_core *core, uint32_t listener);
/* The same, with where it comes from: its address, an IPv4 one mapped to IPv6; zeros: it is not known. */
pk_handle pk_core_accept_from(pk_core *core, uint32_t listener, const uint8_t source[16]);
/* An upstream connection opened, or did not: by the server's fault, or by ours (no descriptor, no memory), which
 * says nothing of the server. */
enum { PK_CONNECTED = 0, PK_CONNECT_FAILED = 1, PK_CONNECT_EXHAUSTED = 2 };
void pk_core_connected(pk_core *core, pk_handle h, int failed, int error); /* error: why, errno, or 0 */
/* Where to read up to *size bytes for `h` before pk_core_feed; NULL: do not read now. */
uint8_t *pk_core_buffer(pk_core *core, pk_handle h, size_t *size);
void pk_core_feed(pk_core *core, pk_handle h, const uint8_t *data, size_t size);
void pk_core_eof(pk_core *core, pk_handle h);
void pk_core_error(pk_core *core, pk_handle h); /* reset, or any error of the socket */
/* } python */
/* The codec of `h` when it reads envelopes (envelope.h); NULL for every other connection. */
const pk_codec *pk_core_bridged(const pk_core *core, pk_handle h);

/* python { */
/* Connections with bytes to write: up to `max` handles; call until it returns 0. */
size_t pk_core_take_dirty(pk_core *core, pk_handle *out, size_t max);
/* } python */
int pk_core_out(const pk_core *core, pk_handle h, struct iovec *iov, int max);
/* python { */
/* `size` bytes of pk_core_out were written. */
void pk_core_sent(pk_core *core, pk_handle h, size_t size);
size_t pk_core_take_ops(pk_core *core, pk_op *out, size_t max);

/* The verdict on a request that waited. `cluster` indexes the table it was routed by; `text` is the
 * reply's, or else the changed request (or answer) to send instead (same id, same kind). Frees the bytes; 0, or -1 when
 * the request is gone already. */
int pk_core_decide(pk_core *core, pk_handle request, uint32_t verdict, uint32_t cluster,
                   uint32_t status, const char *text, size_t text_size);

/* Ends of requests, up to `max`; how many. By one thread, which may be another than the core's once a table that asks for them
 * is in use. */
uint32_t pk_core_take_asks(pk_core *core, pk_ask *out, uint32_t max);
uint32_t pk_core_take_ends(pk_core *core, pk_end *out, uint32_t max);

/* Tell every client in its protocol to go elsewhere; those that come later are told as well. */
void pk_core_drain(pk_core *core);
/* Answer every request UNAVAILABLE, and close every connection once its bytes are written. */
void pk_core_shutdown(pk_core *core);
/* } python */

const pk_stats *pk_core_stats(const pk_core *core);
/* NULL where the worker has not met that endpoint. Safe from any thread. */
const pk_endpoint_stats *pk_core_endpoint_stats(const pk_core *core, uint32_t uid);
/* How long calls of a cluster took, by its uid: likewise. */
const struct pk_times *pk_core_times(const pk_core *core, uint32_t uid);

#endif
