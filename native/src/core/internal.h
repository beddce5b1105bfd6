/* internal.h: the records of the engine and who owns what. Included by the core's files only.
 *
 *   core.c        life of a core, tables, batches, timers
 *   buffer.c      memory: chunks, budget, output queues
 *   conn.c        connections: reading, framing, closing
 *   downstream.c  frames from clients
 *   upstream.c    frames from upstreams, choosing endpoint and connection
 *   slots.c       which request an answer belongs to
 *   pinned.c      a client's own upstream connections
 *   health.h      whether an endpoint gets its share
 *   greeting.c    what is said before requests
 *   raw.c         connections of no known protocol, passed on byte by byte
 *   request.c     requests and their attempts, from begin to the one end
 *   filter.c      requests that wait for filters
 *
 * Records refer to each other by handle (index and generation) wherever the other may go first. */
#ifndef PK_INTERNAL_H
#define PK_INTERNAL_H

#include "core/core.h"
#include "policy/health.h"
#include "wire/ident.h"
#include "wire/loaded.h"
#include "base/timer.h"

#define PK_MS 1000000u /* ns */
#define PK_RARE __attribute__((noinline, cold)) /* out of line: the usual way saves no registers for it */

enum { PK_CHUNK = 16 * 1024, PK_READ = 64 * 1024, PK_FRAMES_A_FEED = 512, PK_FRAMES_A_BATCH = 4096, PK_RING = 4096 };
enum { PK_SIDE_DOWN = 0, PK_SIDE_UP = 1 };
enum {
  PK_CONN_FREE = 0,
  PK_CONN_CONNECTING,
  PK_CONN_OPEN,
  PK_CONN_FLUSHING, /* asks no more; closes once its bytes are written, and its client has closed, too */
  PK_CONN_CLOSED    /* recycled at the end of the batch */
};
enum {
  PK_LOST_ITSELF = 0, /* by the peer or the network */
  PK_LOST_FORMAT, /* wrong bytes, at byte lost_at */
  PK_LOST_LIMIT,  /* a frame over the limit whose end cannot be told */
  PK_LOST_HALF,   /* half a frame, and no more */
  PK_LOST_SLOW,   /* a frame that takes longer than anybody waits */
  PK_LOST_SILENT, /* no answers */
  PK_LOST_BUDGET  /* no memory to read it */
};
enum { PK_TIMER_CONN = 0, PK_TIMER_REQUEST = 1 };

typedef struct pk_chunk {
  struct pk_chunk *next;
  uint32_t capacity, start, end;
  uint8_t data[];
} pk_chunk;

/* A request's bytes kept: while its connection is being opened, a filter thinks, or for a retry. */
typedef struct pk_held {
  pk_frame frame;
  struct pk_held *next; /* orphaned: a filter may still read it, and its request has ended */
  pk_handle request;    /* that it was of */
  uint32_t capacity;
  uint8_t data[];
} pk_held;

/* Connections as they were begun, linked by `before` and `behind`. */
typedef struct pk_conns {
  struct pk_conn *first, *last;
} pk_conns;

typedef struct pk_endpoint {
  uint32_t uid, addr_size;
  uint8_t addr[28];
  uint32_t tables;      /* live tables that have it, and the prepared one */
  uint32_t gone;        /* none has it any more: its number may be another's */
  struct pk_endpoint *gone_next;
  pk_conns shared, own;          /* connections that clients share; that are one client's each */
  uint32_t conn_count, opening;  /* shared ones; all that are being opened */
  uint32_t active;               /* attempts */
  uint32_t shared_active;        /* attempts on such connections */
  uint32_t waiting[PK_BUCKETS];  /* of them, by method */
  pk_health health;
  pk_endpoint_stats *stats;
} pk_endpoint;

/* Of one plan: requests that wait for its filters, and what they hold. */
typedef struct pk_filtering {
  uint64_t bytes;
  uint32_t requests;
} pk_filtering;

typedef struct pk_cluster_state {
  uint64_t batch; /* in which `held` was chosen */
  uint32_t cursor, held, held_left;
} pk_cluster_state;

/* A table in use by this worker. */
typedef struct pk_live {
  struct pk_live *older;
  const pk_table *table;
  uint64_t token;
  uint64_t users; /* requests routed by it that have not ended, clients that it is kept for */
  pk_filtering *filtering; /* by plan */
  pk_cluster_state clusters[];
} pk_live;

/* One try of a request on one upstream connection: one cache line. */
typedef struct pk_attempt {
  uint64_t wire_id;
  uint64_t out_at; /* position of its first byte in the connection's stream */
  uint64_t started;
  pk_handle conn;
  pk_endpoint *endpoint;
  pk_handle request;
  uint32_t index, next; /* next: in the free list, or of those waiting for a connection */
  uint8_t waiting;      /* its connection is not open yet */
  uint8_t shared;       /* its connection is no client's own */
  uint8_t answered;     /* its slot is free */
} pk_attempt;
_Static_assert(sizeof(pk_attempt) <= 64, "an attempt is one cache line");

typedef struct pk_request {
  pk_timer timer;
  uint64_t client_id; /* where ids are byte strings: a hash; the id itself is in pk_core.ids */
  uint64_t started;
  pk_handle client;
  pk_live *live;
  uint32_t index, generation;
  const pk_plan *plan; /* NULL until it is routed */
  uint32_t context, timeout_ms, upstream_key;
  uint32_t attempt; /* index, or PK_NONE */
  uint32_t next;    /* in the free list */
  uint32_t cluster;
  uint32_t bucket;  /* of its method; 0 where that is not read */
  uint8_t oneway, tries, answered, filtering;
  uint8_t refused; /* a server refused the greeting */
  uint8_t named, id_size; /* its id is a byte string, of so many bytes, or PK_ABSENT */
  uint8_t pinned; /* only its client's own connections may carry it */
  const pk_codec *codec;
  pk_endpoint *avoid; /* where the last attempt failed; compared, never followed */
  pk_held *held;
  struct pk_request *before, *behind; /* of its client (pk_conn.requests) */
  pk_chunk *answer; /* where answers keep the order of requests: it waits for its turn */
} pk_request;

#define PK_ABSENT 0xffu /* pk_request.id_size: the request has no id */

typedef struct pk_slot {
  uint64_t id;      /* of a pinned byte string its hash */
  uint32_t attempt; /* index, or PK_NONE */
  uint32_t state;   /* slots.c */
} pk_slot;

/* A pinned server's request that its client has not answered. */
typedef struct pk_called {
  uint64_t id; /* of a byte string its hash */
  pk_handle server;
} pk_called;

typedef struct pk_conn {
  pk_timer timer;
  uint32_t index, generation;
  uint8_t side, state;
  uint8_t dirty, ready; /* on those lists */
  uint8_t pinned;       /* one client's own (up); its codec wants such ones (down) */
  uint8_t opening;      /* upstream: requests wait until it is connected and greeted */
  uint8_t paused;       /* too much is queued to it */
  uint8_t pingpong;     /* downstream: one request at a time */
  /* What the end of a request may finish (pk_conn_touch): side by side, they are asked for at once. */
  uint8_t deaf;     /* what it sends is read and dropped */
  uint8_t read_off; /* the driver was told not to read */
  uint8_t orphaned; /* it lost a connection of its own: new requests are refused, it ends when all is answered */
  uint8_t left;     /* its listener is gone and its time over: the same */
  uint8_t gone;     /* upstream: its endpoint is in no table any more */
  uint8_t draining; /* upstream: its server wants no more requests */
  uint8_t retired;  /* upstream: takes no more requests, closes when all are answered; another takes its place */
  uint8_t eof;      /* the peer sends no more */
  uint8_t broken;   /* the socket is gone */
  uint8_t probing, told_drain;
  uint8_t told; /* downstream: its protocol had a signal for it, and it was sent */
  uint8_t greeting, refused; /* steps of the greeting still to come; the peer said no */
  uint8_t exhausted; /* upstream: this side had no descriptor for it */
  uint8_t unwanted; /* closed by us before it opened: says nothing of the endpoint */
  uint8_t trial;    /* opened for no request: shows whether the endpoint can be reached */
  uint8_t late;     /* it did not open in time */
  uint8_t falls_back, raw; /* of a listener with a fallback; passed on there, byte by byte */
  uint8_t finishing; /* raw: no more is to be written */
  uint8_t tries;     /* connects for a client that has asked nothing yet */
  uint8_t finished;         /* its peer was told that no more is written */
  uint8_t named; /* its ids are byte strings */
  uint8_t lost;  /* PK_LOST_*: why it was closed by us, for those who wait for its answers */
  const pk_codec *codec;
  /* input: what was read and not yet framed */
  pk_chunk *in;
  uint32_t in_need; /* bytes that the frame in front needs, when known */
  uint32_t skip;    /* bytes still to come of a frame that was refused */
  /* output */
  pk_chunk *out, *out_tail;
  uint64_t out_bytes;  /* queued */
  uint64_t out_total;  /* ever queued */
  uint64_t last_read, last_write, frame_since, first_byte, opened;
  uint64_t last_used, busy_since, probe_at; /* upstream */
  uint64_t deadline, frame_until; /* upstream, ticks: of all its calls; of those when the frame in front began */
  uint32_t lost_at;
  uint32_t in_flight, context;
  pk_handle peer; /* raw: the other side; pinned upstream: its client */
  /* downstream */
  uint32_t listener;
  pk_request *requests, *last_request; /* that wait for an answer, as they came */
  struct pk_conn *own; /* pinned: its upstream connections, one for each cluster */
  pk_called *called;   /* what their servers asked it, the oldest first */
  uint32_t called_count, called_capacity;
  uint64_t held; /* bytes that its requests hold: kept for later, and answers that wait for their turn */
  pk_live *kept;     /* its listener is in no newer table: it is served by this one ... */
  uint64_t leave_by; /* ... until then, ns */
  /* upstream */
  pk_endpoint *endpoint;
  struct pk_conn *before, *behind; /* of its endpoint's connections, shared or not (pk_conns) */
  uint32_t key, connect_ms;
  int error;        /* errno of connecting */
  uint64_t begun;   /* the batch in which it was begun to open it */
  uint64_t relieve; /* ns: requests that still wait for it then may go elsewhere */
  pk_slot *slots;
  uint32_t *chains; /* pinned */
  uint32_t slot_mask, slot_free, slot_most, given_up;
  uint64_t next_id, head_id; /* head_id: the oldest outstanding where there are no ids */
  struct pk_conn *own_next;
  uint64_t cluster_key, cluster_token; /* pinned: the hash of its name; the table in which it is `cluster` */
  uint32_t cluster;
  uint32_t waiting_head, waiting_tail; /* attempts */
} pk_conn;

typedef struct pk_list {
  uint32_t *items;
  uint32_t count, capacity;
} pk_list;

#define PK_PAGE 256u
#define PK_STAT_PAGES 256u

struct pk_core {
  uint64_t now, batch, random;
  uint32_t frames_left; /* of this batch: the next one handles the rest, after what is written */
  pk_live *live; /* newest first */
  pk_live *prepared;
  pk_limits limits;
  pk_cached_route cached_routes[PK_CACHED_ROUTES]; /* of the newest table */
  int draining, shutdown;

  pk_conn **conns;
  uint32_t conn_count, conn_capacity, client_count;
  pk_list free_conns, graveyard, dirty, ready, ready_next;

  pk_request **requests; /* pages */
  uint32_t request_pages, free_request, request_count;
  uint32_t filtering;    /* of them wait for filters */
  uint64_t filter_bytes; /* that these hold, and what filters may still read of requests that have ended */
  pk_held *orphans, *last_orphan; /* in the order of the requests' ends */
  uint8_t **ids; /* of requests, where they are byte strings: pages of PK_ID_MAX bytes each, made when needed */
  uint32_t id_pages;
  pk_attempt **attempts; /* pages */
  uint32_t attempt_pages, free_attempt;

  pk_op *ops;
  uint32_t op_count, op_capacity, op_taken;

  pk_wheel wheel;
  uint64_t buffered;
  int short_of_memory; /* somebody was refused a buffer in this batch */
  pk_chunk *free_chunks;
  uint32_t free_chunk_count;
  uint8_t scratch[2 * PK_READ];

  pk_endpoint **endpoints; /* by uid */
  uint32_t endpoint_capacity;
  pk_endpoint *gone_endpoints; /* until nothing refers to them */
  pk_endpoint_stats gone_stats; /* theirs, which nobody reads */
  pk_stats stats;
  _Atomic(pk_endpoint_stats *) endpoint_stats[PK_STAT_PAGES];
};

static inline uint64_t pk_id_mask(const pk_codec *codec) {
  return codec->id_bytes >= 8 ? UINT64_MAX : ((uint64_t)1 << (8 * codec->id_bytes)) - 1;
}

/* buffer.c */
void *pk_grow(void *data, uint32_t *capacity, uint32_t wanted, size_t item);
int pk_list_add(pk_list *l, uint32_t item);
/* NULL over budget. `urgent` (answers, errors) may use a quarter more than the budget. */
pk_chunk *pk_chunk_new(pk_core *core, uint32_t size, int urgent);
pk_chunk *pk_chunk_exact(pk_core *core, uint32_t size); /* urgent, and no larger: many may wait */
void pk_chunk_free(pk_core *core, pk_chunk *c);
pk_held *pk_hold(pk_core *core, const uint8_t *data, const pk_frame *frame);
void pk_held_orphan(pk_core *core, pk_held *h); /* it does not count against the budget any more */
void pk_held_free(pk_core *core, pk_held *h);
/* Room for `size` contiguous bytes at the end of the output, then commit what was written there. */
uint8_t *pk_out_reserve(pk_core *core, pk_conn *c, uint32_t size);
void pk_out_commit(pk_core *core, pk_conn *c, uint32_t size);
/* Bytes that need not stand together. -1 over budget, when some of them may be queued. */
int pk_out_append(pk_core *core, pk_conn *c, const uint8_t *data, size_t size);
void pk_out_free(pk_core *core, pk_conn *c);

/* core.c */
void pk_op_add(pk_core *core, pk_op op);
uint64_t pk_random(pk_core *core);
void pk_live_release(pk_core *core, pk_live *live);
/* The table that the client's requests are routed by. */
static inline pk_live *pk_conn_live(const pk_core *core, const pk_conn *c) {
  return c->kept != NULL ? c->kept : core->live;
}

/* conn.c */
static inline pk_handle pk_conn_handle(const pk_conn *c) {
  return (uint64_t)c->generation << 32 | c->index;
}
static inline pk_conn *pk_conn_find(const pk_core *core, pk_handle h) {
  uint32_t index = (uint32_t)h;
  if (index >= core->conn_count) return NULL;
  pk_conn *c = core->conns[index];
  return c->generation == (uint32_t)(h >> 32) && c->state != PK_CONN_FREE ? c : NULL;
}
pk_conn *pk_conn_new(pk_core *core, uint8_t side, uint8_t state);
void pk_conn_close(pk_core *core, pk_conn *c, int reset);
void pk_conn_drop(pk_core *core, pk_conn *c, uint8_t why, uint32_t at); /* with a reset; PK_LOST_* */
void pk_conn_flush(pk_core *core, pk_conn *c); /* close once written */
void pk_conn_settle(pk_core *core, pk_conn *c); /* after any change: resume, close what is over */
void pk_conn_ready(pk_core *core, pk_conn *c);  /* frame more of its input in the next batch */
void pk_conn_touch(pk_core *core, pk_conn *c);  /* something it may wait for happened: settle soon */
void pk_conn_timer(pk_core *core, pk_conn *c);  /* set its timer to what it next waits for */
void pk_conn_timer_fired(pk_core *core, pk_conn *c);
void pk_conn_more(pk_core *core, pk_conn *c); /* its turn on the ready list */
void pk_conn_read_off(pk_core *core, pk_conn *c);
void pk_conn_read_on(pk_core *core, pk_conn *c);
/* Keep bytes that cannot be handled yet; -1 after it was closed for want of memory. */
int pk_conn_keep(pk_core *core, pk_conn *c, const uint8_t *data, size_t size);
void pk_conn_probe(pk_core *core, pk_conn *c); /* ask an upstream whether it lives */
void pk_conn_heartbeat_ack(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f);
/* Copy a frame to the connection's output; NULL (and nothing done) without memory. */
uint8_t *pk_conn_send(pk_core *core, pk_conn *c, const uint8_t *data, uint32_t size);

/* downstream.c */
void pk_down_frame(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f);
void pk_down_bad(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f, int error);
/* Which protocol a client speaks, from all it has sent. PK_OK: c->codec says; PK_MORE: need more; PK_FALLBACK:
 * none, it is to be passed on; PK_ERR_MAGIC: none. */
enum { PK_FALLBACK = 2 };
enum { PK_DETECT_EARLY = 0, PK_DETECT_LATE, PK_DETECT_ENDED }; /* more may come; no more time; no more bytes */
void pk_down_speak(pk_core *core, pk_conn *c, const pk_codec *codec); /* it speaks that protocol */
int pk_down_detect(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, int when, uint32_t *need);
void pk_down_undecided(pk_core *core, pk_conn *c, int when); /* decide on what there is */
void pk_down_tell_drain(pk_core *core, pk_conn *c);
void pk_down_queued(pk_core *core, pk_conn *c); /* after output was added */

/* upstream.c */
void pk_up_frame(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f);
/* A frame over the limit, `size` bytes of which are there: 1 when it is done with, and the rest is to be skipped. */
int pk_up_large(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f);
/* The connection to send the request on (open or being opened), or NULL and why in *status. */
pk_conn *pk_up_choose(pk_core *core, pk_request *r, uint32_t *status);
/* *status: the client's own connection is ending; its share of the places is used up, or its method's. */
enum { PK_UP_ENDING = PK_STATUS_COUNT, PK_UP_SHARE, PK_UP_METHOD };
/* As pk_up_choose; `own`: a new one that nobody else uses. */
pk_conn *pk_up_pick(pk_core *core, const pk_request *r, int own, uint32_t *status);
int pk_up_has_room(const pk_core *core, const pk_conn *c);
/* 0; PK_ERR_SPACE; PK_ERR_UNSUPPORTED when its id cannot be rewritten; PK_SLOT_REUSED. */
int pk_up_send(pk_core *core, pk_conn *c, const pk_request *r, pk_attempt *a, const uint8_t *data,
               const pk_frame *f);
void pk_up_opened(pk_core *core, pk_conn *c);
void pk_up_leave(pk_conn *c); /* off its endpoint's connections */
void pk_up_lost(pk_core *core, pk_conn *c, int connecting); /* closed: fail what is on it */

/* It did not answer whether it lives. 1: close it; 0: that says nothing, or what is on it may still be answered. */
int pk_up_silent(pk_core *core, const pk_conn *c);
void pk_up_unanswered(pk_core *core, const pk_attempt *a); /* a call ran out of time */
void pk_up_relieve(pk_core *core, pk_conn *c); /* it is slow to open: its requests go to open ones where they can */

/* A connection of its own for a client that is passed on byte by byte; `failed` is not tried again. */
pk_conn *pk_up_raw(pk_core *core, const pk_conn *client, const pk_endpoint *failed);

/* slots.c */
enum { PK_SLOT_REUSED = -100 }; /* the client's id is one whose late answer is still to come */
int pk_slots_init(pk_conn *c);
void pk_slots_free(pk_conn *c);
uint64_t pk_slots_id(pk_conn *c); /* an id for what has no answer to be told apart; 0 where there are none */
int pk_slots_take(pk_conn *c, pk_attempt *a, uint64_t client_id); /* 0, PK_ERR_SPACE or PK_SLOT_REUSED */
void pk_slots_put_back(pk_conn *c, const pk_attempt *a); /* its request was not sent */
void pk_slots_give_up(pk_conn *c, const pk_attempt *a);  /* its request has ended; the answer may still come */
/* Whether its late answer could be taken for another request's that is under way. */
int pk_slots_unclear(const pk_conn *c, const pk_attempt *a);
/* The attempt that this answers, whose slot is free now, or PK_NONE. */
uint32_t pk_slots_answered(const pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f);
/* The attempts that wait, one after the other, each off its slot; *at starts as 0. PK_NONE: no more. */
uint32_t pk_slots_next(pk_conn *c, uint32_t *at);

/* pinned.c */
pk_conn *pk_pinned_choose(pk_core *core, pk_request *r, uint32_t *status);
/* Open the client's connection where its cluster is known before it asks. `failed` is not tried again. */
void pk_pinned_open(pk_core *core, pk_conn *client, const pk_endpoint *failed);
void pk_pinned_client_closed(pk_core *core, pk_conn *client);
/* Before its requests are failed; gives back its client, if there is one. */
pk_conn *pk_pinned_lost(pk_core *core, pk_conn *c, int connecting);
/* Its server wants no new requests: its client is told so. */
void pk_pinned_drained(pk_core *core, const pk_conn *c);
/* A server's request, passed on to its client; 0: it cannot be asked. */
int pk_pinned_call(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f);
/* A client's answer, passed on to the server that asked. */
void pk_pinned_answer(pk_core *core, pk_conn *client, const uint8_t *data, const pk_frame *f);

/* greeting.c */
void pk_greeting_begin(pk_core *core, pk_conn *c);
void pk_greeting_frame(pk_core *core, pk_conn *c, const pk_frame *f);

/* raw.c */
void pk_raw_begin(pk_core *core, pk_conn *client);
void pk_raw_feed(pk_core *core, pk_conn *c, const uint8_t *data, size_t size);
void pk_raw_opened(pk_core *core, pk_conn *server);
void pk_raw_ended(pk_core *core, pk_conn *c);  /* it sends no more */
void pk_raw_settle(pk_core *core, pk_conn *c);
void pk_raw_closed(pk_core *core, pk_conn *c, int connecting);
uint64_t pk_raw_active(const pk_core *core, const pk_conn *c); /* when either side last read or wrote, ns */

/* request.c */
/* `size` bytes of the frame are there. */
pk_request *pk_request_new(pk_core *core, pk_conn *client, const uint8_t *data, size_t size, const pk_frame *f);
/* The client's own id, of a request whose id is a byte string. */
pk_slice pk_request_id(const pk_core *core, const pk_request *r);
static inline pk_request *pk_request_at(const pk_core *core, uint32_t index) {
  return &core->requests[index / PK_PAGE][index % PK_PAGE];
}
static inline pk_request *pk_request_find(const pk_core *core, pk_handle h) {
  uint32_t index = (uint32_t)h;
  if (h == 0 || index / PK_PAGE >= core->request_pages) return NULL;
  pk_request *r = pk_request_at(core, index);
  return r->generation == (uint32_t)(h >> 32) && r->live != NULL ? r : NULL;
}
/* The client to answer, or NULL (and counted) when it is gone. */
pk_conn *pk_request_client(pk_core *core, const pk_request *r);
static inline pk_attempt *pk_attempt_at(const pk_core *core, uint32_t index) {
  return &core->attempts[index / PK_PAGE][index % PK_PAGE];
}
static inline pk_handle pk_request_handle(const pk_request *r) {
  return (uint64_t)r->generation << 32 | r->index;
}
void pk_request_dispatch(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f);
/* Keep its bytes (r->held), which count for its client; -1 without memory. */
int pk_request_hold(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f);
pk_held *pk_request_unhold(pk_core *core, pk_request *r); /* they are the caller's to free; NULL: there are none */
/* The answer: delivers it (with the caller's own id) and ends the request. */
void pk_request_answer(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f);
/* Ends the request with an error that the caller's library raises; `text` up to 512 bytes. */
void pk_request_fail(pk_core *core, pk_request *r, uint32_t status, const char *text, size_t size);
enum { PK_LOST_REFUSED = 0x100, PK_LOST_EXHAUSTED = 0x200 }; /* with PK_RETRY_CONNECT: the greeting was refused; no
                                                               * descriptor was left */
/* An attempt came to nothing; `why` is PK_RETRY_*. Tries again where that is safe, else fails. */
void pk_request_lost(pk_core *core, pk_request *r, uint32_t why, int written);
void pk_request_timeout(pk_core *core, pk_request *r);
void pk_request_end(pk_core *core, pk_request *r);
void pk_request_client_left(pk_core *core, pk_conn *client); /* end what nobody waits for any more */
void pk_request_drop_oneway(pk_core *core, const pk_conn *client); /* goes through all requests */
int pk_request_may_retry(const pk_request *r, uint32_t why, int written);
/* An answer that says overloaded or timeout: 1 when the request is tried again instead. */
int pk_request_retry_answer(pk_core *core, pk_request *r, uint32_t status);
void pk_request_move(pk_core *core, pk_request *r, pk_conn *c); /* off a connection being opened, onto this open one */
void pk_request_send(pk_core *core, pk_request *r, pk_conn *c, pk_attempt *a, const uint8_t *data,
                     const pk_frame *f);
void pk_attempt_free(pk_core *core, pk_attempt *a);

/* filter.c */
void pk_filter_ask(pk_core *core, pk_request *r, const pk_plan *plan, const uint8_t *data, const pk_frame *f);
void pk_filter_cancel(pk_core *core, pk_request *r); /* its request ends */

/* text.c: error texts without printf */
typedef struct pk_message {
  char data[512];
  uint32_t size;
} pk_message;
void pk_message_add(pk_message *m, const char *s);
void pk_message_bytes(pk_message *m, const void *data, uint32_t size); /* made printable */
void pk_message_number(pk_message *m, uint64_t n);
void pk_message_text(pk_message *m, const pk_table *t, pk_text text);

#endif
