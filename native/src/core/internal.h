/* internal.h: the records of the engine and who owns what. Included by the core's files only.
 *
 *   memory.c    chunks, the budget, output queues
 *   records.c   places and handles of connections, requests and attempts
 *   endpoint.c  how endpoints are, for who looks on
 *   check.c     active health checks
 *   usable.c    what follows for clusters where their endpoints are usable or not
 *   conn.c      connections of every kind: reading, framing, closing, time
 *   live.c      tables in use, and what has state beyond them
 *   slots.c     which request an answer belongs to
 *   pieces.c    messages that come in pieces: where they go, and that no more is read than is taken there
 *   halves.c    large frames that are passed on before they are whole
 *   greeting.c  what is said before requests
 *   asked.c     what is known of a request's values
 *   adaptive.c  how many requests of a cluster may be, where that is found by how long they take
 *   places.c    how much of a cluster is under way, and whose it is
 *   pick.c      endpoint and connection for a target
 *   pinned.c    a client's own upstream connections
 *   attempt.c   one try on one connection
 *   request.c   requests: what they hold, their answer, their end
 *   breaker.c   requests that breakers refuse
 *   choose.c    which cluster a request goes to
 *   hedge.c     a second attempt beside the first
 *   retry.c     whether a request is tried again, and when
 *   dispatch.c  a request's way through its plan, to a connection
 *   tries.c     what its tries come to
 *   parts.c     answers that come in parts
 *   ends.c      what became of requests, for who keeps accounts
 *   limit.c, fault.c, filter.c, reply.c, key.c, change.c, mirror.c  steps of a plan
 *   answer.c    answers that wait for filters
 *   aside.c     requests that wait at one of them
 *   server.c    connections of servers
 *   pair.c      connections of no known protocol, passed on byte by byte
 *   detect.c    which protocol a client speaks
 *   guard.c     what a listener allows and denies
 *   client.c    connections of clients
 *   core.c      life of a core, batches
 *
 * Records refer to each other by handle (index and generation) wherever the other may go first. */
#ifndef PK_INTERNAL_H
#define PK_INTERNAL_H

#include <stdalign.h>

#include "core/core.h"
#include "policy/balance.h"
#include "policy/breaker.h"
#include "policy/budget.h"
#include "policy/check.h"
#include "policy/health.h"
#include "policy/latency.h"
#include "policy/outlier.h"
#include "policy/panic.h"
#include "policy/slow_start.h"
#include "policy/quantile.h"
#include "policy/state.h"
#include "policy/verdicts.h"
#include "table/question.h"
#include "wire/framing.h"
#include "wire/ident.h"
#include "wire/notice.h"
#include "base/hash.h"
#include "base/message.h"
#include "wire/loaded.h"
#include "base/ring.h"
#include "base/timer.h"

#define PK_MS 1000000u /* ns */
#define PK_RARE __attribute__((noinline, cold)) /* out of line: the usual way saves no registers for it */

enum { PK_CHUNK = 16 * 1024, PK_READ = 64 * 1024, PK_FRAMES_A_FEED = 512, PK_FRAMES_A_BATCH = 4096, PK_RING = 4096 };
enum { PK_SIDE_DOWN = PK_FROM_CLIENT, PK_SIDE_UP = PK_FROM_SERVER };
/* What a connection is doing:
 *
 *   CONNECTING  -> GREETING, OPEN    a server's: its socket opens
 *   GREETING    -> OPEN              a server's: what is said before requests (a client says it while it is open)
 *   OPEN        -> DEAF, FLUSHING, LINGERING
 *   DEAF        -> FLUSHING, LINGERING   a client's: what it sends is read and dropped, what it asked is answered
 *   FLUSHING                         asks and hears no more; closes once its bytes are written
 *   LINGERING                        a client's: the same, and its own end is waited for
 *   CLOSED      -> FREE              from each of them; its place is another's after the batch */
enum {
  PK_CONN_FREE = 0,
  PK_CONN_CONNECTING,
  PK_CONN_GREETING,
  PK_CONN_OPEN,
  PK_CONN_DEAF,
  PK_CONN_FLUSHING,
  PK_CONN_LINGERING,
  PK_CONN_CLOSED
};
/* Why an open connection takes no new requests, and ends with its last answer. */
enum {
  PK_LEAVE_DRAINED = 1,  /* its server said so */
  PK_LEAVE_RETIRED = 2,  /* ids that may still be answered use it up; another takes its place */
  PK_LEAVE_GONE = 4,     /* no table has its endpoint */
  PK_LEAVE_ORPHANED = 8, /* a client that lost a connection of its own */
  PK_LEAVE_LATE = 16,    /* a client whose listener is gone and its time over */
  PK_LEAVE_LAST = 32,    /* its peer said that this message is the last */
  PK_LEAVE_BUSY = 64     /* not for good: an answer comes in parts, and without ids others would wait behind it */
};
enum { PK_LEAVE_NO_MORE = PK_LEAVE_DRAINED | PK_LEAVE_RETIRED | PK_LEAVE_LAST | PK_LEAVE_BUSY };
/* Why it is not read for now, and who waits for it (pk_conn.flow, bits). */
enum {
  PK_FLOW_FULL = 1,  /* a client's: too much is queued to it; its own servers wait, too */
  PK_FLOW_PEER = 2,  /* where what it sends goes takes no more now */
  PK_FLOW_ASKED = 4, /* a client's: pieces follow of a request that is not sent yet */
  PK_FLOW_STOPS = PK_FLOW_FULL | PK_FLOW_PEER | PK_FLOW_ASKED,
  PK_FLOW_HOLDS = 8  /* one client's own server: too much is queued to it, and its client waits */
};
/* Why it ended. */
enum {
  PK_LOST_ITSELF = 0, /* by the peer or the network */
  PK_LOST_UNWANTED,   /* nobody needs it: says nothing of the endpoint */
  PK_LOST_REFUSED,    /* the peer refused the greeting */
  PK_LOST_EXHAUSTED,  /* this side had no descriptor or memory for it */
  PK_LOST_LATE,       /* it did not open in time */
  PK_LOST_FORMAT, /* wrong bytes, at byte lost_at */
  PK_LOST_LIMIT,  /* a frame over the limit whose end cannot be told */
  PK_LOST_HALF,   /* half a frame, and no more */
  PK_LOST_SLOW,   /* a frame that takes longer than anybody waits */
  PK_LOST_SILENT, /* no answers */
  PK_LOST_LAST,   /* its server said that it answers no more */
  PK_LOST_STEP,   /* an answer with the id of another request than the one whose turn it was */
  PK_LOST_CUT,    /* its client left off in the middle of a frame that was passed on */
  PK_LOST_BUDGET, /* no memory to read it */
  PK_LOST_TURN    /* an answer in front of the others took too long: whose a late one is could not be told */
};
enum { PK_TIMER_CONN = 0, PK_TIMER_REQUEST = 1, PK_TIMER_CHECK = 2 };

typedef struct pk_chunk {
  struct pk_chunk *next;
  uint32_t capacity, start, end;
  alignas(16) uint8_t data[];
} pk_chunk;

/* A request's bytes kept: while its connection is being opened, a filter thinks, or for a retry. */
typedef struct pk_held {
  pk_frame frame;
  struct pk_held *next; /* orphaned: a filter may still read it, and its request has ended */
  pk_handle request;    /* that it was of */
  uint32_t capacity;
  uint8_t data[];
} pk_held;

enum { PK_HELD_STEP = 128, PK_HELD_CLASSES = 8 };

/* Connections as they were begun, linked by `before` and `behind`. */
typedef struct pk_conns {
  struct pk_conn *first, *last;
} pk_conns;

/* For balancers, how long they take; how many are errors; their places are given back; for who
 * checks it, that it answers. */
enum { PK_MEASURED_LATENCY = 1, PK_MEASURED_ERRORS = 2, PK_MEASURED_PLACES = 4, PK_MEASURED_ANSWERS = 8 };

/* What this worker knows of a cluster and of its subsets: of its name, over reloads. */
typedef struct pk_cluster {
  uint32_t uid;
  uint32_t holders;    /* tables that have it or a subset of it, each of these; its endpoints */
  uint8_t changed;     /* one of its endpoints may be usable that was not, or the other way round */
  uint8_t reviewed;    /* it is known which of them are */
  uint64_t slow_until; /* ns: none of them begins slowly any more */
  pk_budget retries, hedges; /* what it was sent beyond its requests */
  pk_quantile *latency;      /* of requests of rules that hedge by it; NULL: of none */
  pk_cluster_words *words;
  struct pk_gradient *gradient; /* where its limit of requests is found; NULL: nothing is known yet */
  uint32_t waiting[PK_BUCKETS]; /* places that its breaker counts, by method */
} pk_cluster;

typedef struct pk_endpoint {
  uint32_t uid, addr_size;
  uint8_t addr[28];
  uint32_t tables;      /* live tables that have it, and the prepared one */
  uint32_t gone;        /* none has it any more: its number may be another's */
  struct pk_endpoint *gone_next;
  pk_conns shared, own;          /* connections that clients share; that are one client's each */
  uint32_t conn_count, opening;  /* shared ones; all that are being opened */
  pk_cluster *of;
  pk_endpoint_words *words;
  uint32_t connections;          /* all */
  uint32_t placed;               /* attempts that its breaker counts */
  uint32_t active;               /* attempts */
  uint32_t shared_active;        /* attempts on such connections */
  uint32_t waiting[PK_BUCKETS];  /* of them, by method */
  pk_health health;
  pk_latency latency;
  uint32_t measured; /* PK_MEASURED_*: what is asked of its answers */
  pk_outlier_state outlier;
  pk_slow_start_state slow;
  uint8_t usable;    /* when it was looked at last (usable.c) */
  pk_endpoint_stats *stats;
  struct pk_checker *checker; /* where this worker checks it */
} pk_endpoint;

/* The health checks of one endpoint (check.c). */
typedef struct pk_checker {
  pk_timer timer; /* the next one is due; or the time of the one under way is over */
  pk_endpoint *endpoint;
  const pk_table *table; /* the newest, and what that wants: */
  const pk_check *rule;
  const pk_codec *codec; /* NULL: to connect is all */
  pk_check_state state;
  pk_handle conn;        /* its own, or 0 */
  uint64_t since;        /* ns: the one under way began; 0: none is */
  uint8_t asked, waits;  /* the question is sent; it is due, and as many as may be are under way */
  struct pk_checker *behind; /* of those that wait */
} pk_checker;

/* Of one plan: requests that wait at one of its steps, and what they hold. */
typedef struct pk_aside {
  uint64_t bytes;
  uint32_t requests;
} pk_aside;

/* A table in use by this worker. */
typedef struct pk_live {
  struct pk_live *older;
  const pk_table *table;
  uint64_t token;
  uint64_t users; /* requests routed by it that have not ended, clients that it is kept for */
  pk_aside *filtering, *delayed, *answering, *trying, *mirrored; /* by plan */
  pk_cluster **of;         /* by cluster */
  uint32_t *prefers;       /* by cluster: how many requests go to those that are preferred (prefer.h) */
  uint8_t *panics;         /* by cluster: who was judged not to be usable is used, too */
  pk_balance_state clusters[];
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
  uint8_t parts : 1;    /* a part of an answer came: its id stays taken until the last one does */
  uint8_t placed : 7;   /* places of breakers that it has: bits by PK_BREAKER_* */
  uint32_t sibling;     /* the next one of its request, or PK_NONE */
} pk_attempt;
_Static_assert(sizeof(pk_attempt) <= 64, "an attempt is one cache line");

/* What needs a connection: a request, a client that is passed on, or one whose own is opened before it asks. */
typedef struct pk_target {
  pk_live *live;
  pk_handle client;
  const pk_codec *codec; /* NULL: bytes are passed on */
  pk_endpoint *avoid;    /* where the last attempt failed; compared, never followed */
  uint64_t tried;        /* where others did, by the low bits of their numbers */
  uint32_t cluster;      /* PK_NONE until it is chosen */
  uint32_t key;          /* only connections of this one (pk_frame.upstream_key) */
  uint32_t bucket;       /* of its method; 0 where that is not read */
  uint32_t hedge;        /* the attempt beside its first one, and 1; PK_NONE: there is none any more; 0: not yet */
  uint64_t hash;         /* its key, where its cluster goes by one; 0: it has none */
  uint8_t own;           /* only a connection that nobody else uses */
  uint8_t oneway, tries;
  uint8_t named;         /* its ids are byte strings */
  uint8_t elsewhere;     /* only one that is well, and not `avoid` */
} pk_target;

typedef struct pk_request pk_request;

/* What a step of a request's plan says. */
enum {
  PK_STEP_ON = 0, /* the next one */
  PK_STEP_WAITS,  /* it goes on later */
  PK_STEP_OVER,   /* it was answered */
  PK_STEP_CHANGED /* the next one, of what it holds now */
};
/* Bytes of values that a rule's changes put together, of one request. */
enum { PK_CHANGED_VALUES = 4096 };

/* What filters say: PK_DECIDE_*, and what goes with it (pk_core_decide). */
typedef struct pk_verdict {
  uint32_t what, cluster, status;
  const char *text;
  size_t size;
} pk_verdict;

/* A policy that a request goes through before it is sent (filter.c ...). One that lets it wait keeps its bytes
 * (pk_request_hold) and its codec (pk_codec_hold, until it has gone on or was cancelled), makes it PK_REQUEST_WAITING,
 * and goes on by pk_request_go_on. */
typedef struct pk_plan_step {
  int (*run)(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f);
  void (*due)(pk_core *core, pk_request *r);    /* while it waits its timer has fired: its own time, or the request's */
  void (*cancel)(pk_core *core, pk_request *r); /* it ends while it waits */
  void (*decide)(pk_core *core, pk_request *r, const pk_verdict *v); /* what filters that it waits for say */
} pk_plan_step;

/* What a request is doing:
 *
 *   NEW      -> WAITING, SENT, ANSWERED, FREE   it is routed, and goes through its plan
 *   WAITING  -> NEW, ANSWERED, FREE             a step lets it wait
 *   SENT     -> SENT, ANSWERED, FREE            it has attempts, one after the other or several
 *   ANSWERED -> FREE                            its answer waits for its turn */
enum { PK_REQUEST_FREE = 0, PK_REQUEST_ANSWERED, PK_REQUEST_NEW, PK_REQUEST_WAITING, PK_REQUEST_SENT };

/* What an attempt came to; those from FAILED on are counted against its endpoint. */
enum { PK_ATTEMPT_GIVEN_UP = 0, /* or answered: nothing against it */ PK_ATTEMPT_FAILED, PK_ATTEMPT_TIMED_OUT,
       PK_ATTEMPT_REFUSED /* by what was asked: counted, and nothing against it */ };
/* What an answer with an error of that status makes of its attempt: who asks for what there is not shall not have others'
 * endpoints left out. */
static inline uint32_t pk_attempt_refused(uint32_t status) {
  int asked = status == PK_STATUS_NO_SERVICE || status == PK_STATUS_BAD_REQUEST || status == PK_STATUS_DENIED;
  return asked ? PK_ATTEMPT_REFUSED : PK_ATTEMPT_FAILED;
}
enum { PK_ATTEMPTS = 4 }; /* of one request at a time */
/* What is known of a request whose answer comes in parts (pk_request.parts, bits). */
enum {
  PK_PART_CAME = 1, /* there is no other try */
  PK_PART_HALF = 2, /* its client has half a message, which no error can follow */
  PK_PART_ASKS = 4, /* it comes in pieces itself: it is sent once */
  PK_PART_SEEN = 8, /* its bytes are kept for who sees its answer (pk_core.asked) */
  PK_PART_COPY = 16, /* a copy of another (mirror.c): nobody hears its answer */
  PK_PART_SET = 32, /* its rule changes its answer */
  PK_PART_TOLD = 64 /* filters are told of its end (pk_core.ending) */
};

struct pk_request {
  pk_timer timer;
  uint64_t client_id; /* where ids are byte strings: a hash; the id itself is in pk_core.ids */
  uint64_t started; /* its time: with each part of its answer anew */
  pk_target to;
  const pk_plan *plan; /* NULL until it is routed */
  uint32_t index, generation;
  uint32_t context, timeout_ms;
  const pk_plan_step *step; /* that it waits at */
  uint32_t attempt; /* the newest: index, or PK_NONE; the others are its siblings */
  uint32_t next;    /* in the free list; of a copy the plan that says so */
  uint16_t steps;   /* of its plan that are left: bits by PK_STEP_* */
  uint8_t state;    /* PK_REQUEST_* */
  uint8_t refused; /* a server refused the greeting */
  uint8_t id_size; /* of an id that is a byte string; or PK_ABSENT */
  uint8_t parts;   /* PK_PART_* */
  uint16_t kept_size; /* of what its codec keeps of it for replies */
  uint8_t placed;  /* places of breakers that its next attempt has */
  pk_held *held;
  struct pk_request *before, *behind; /* of its client (pk_conn.requests) */
  pk_chunk *answer, *answer_tail; /* where answers keep the order of requests: it waits for its turn, or its parts do */
};

#define PK_ABSENT 0xffu /* pk_request.id_size: the request has no id */

typedef struct pk_slot {
  uint64_t id;      /* of a pinned byte string its hash */
  uint32_t attempt; /* index, or PK_NONE */
  uint32_t state;   /* slots.c */
} pk_slot;

/* Where answers come in the requests' order: what is known of a slot's request, also when that was given up. */
typedef struct pk_asked {
  uint64_t id;      /* that its answer has to have, too; of a byte string its hash */
  uint32_t context; /* that its answer is framed by */
} pk_asked;

/* A pinned server's request that its client has not answered. */
typedef struct pk_called {
  uint64_t id; /* of a byte string its hash */
  pk_handle server;
} pk_called;

/* A message whose sender has more to say of it. */
typedef struct pk_partial {
  uint64_t id;       /* of a byte string its hash; 0 without ids */
  pk_handle to;      /* the connection that gets its pieces; 0: none, or not yet */
  pk_handle request; /* that it is, while that lives; 0: an answer, or a server's request */
  uint8_t kind;      /* PK_KIND_*, of its beginning */
  uint8_t half;      /* it is one frame: whoever gets it gets nothing else before its end */
} pk_partial;

typedef struct pk_conn pk_conn;

/* Large frames that are passed on before they are whole (halves.c). */
typedef struct pk_halves {
  /* One that is not whole (PK_MORE). PK_OK: its front is to be handled, and then `begin`; or as framing says. */
  int (*frame)(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, pk_frame *f);
  void (*begin)(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f); /* the rest follows it as it comes */
  size_t (*pass)(pk_core *core, pk_conn *c, const uint8_t *data, size_t size);      /* so many bytes of the rest */
} pk_halves;

/* What kind of connection: a client's (client.c), a server's (server.c), or either side of a pair (pair.c). */
typedef struct pk_kind {
  uint8_t side;    /* PK_SIDE_* */
  uint8_t lingers; /* what it still sends is heard out when it is closed */
  /* A whole frame. */
  void (*frame)(pk_core *core, pk_conn *c, const uint8_t *data, pk_frame *f);
  /* Bytes that are no frame of its protocol, or one over the limit. */
  void (*bad)(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f, int error);
  /* A frame over the limit, `size` bytes of which are there: 1 when it is done with, and the rest is to be skipped.
   * NULL: it is bad. */
  int (*large)(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f);
  /* Bytes of one whose protocol is not known yet: PK_OK (it is now, or its kind is another), PK_MORE, PK_ERR_MAGIC. */
  int (*detect)(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, uint32_t *need);
  /* Bytes, not framed; NULL: they are. */
  void (*feed)(pk_core *core, pk_conn *c, const uint8_t *data, size_t size);
  const pk_halves *halves; /* NULL for pairs, which frame nothing */
  /* More of the frame that is passed on as it comes; f->says whether it goes on. What told its head apart. */
  void (*rest)(pk_core *core, pk_conn *c, const uint8_t *data, pk_frame *f, const uint8_t *id, uint64_t key);
  void (*last)(pk_core *core, pk_conn *c);    /* its peer's last message was handled (PK_SAYS_LAST) */
  void (*opened)(pk_core *core, pk_conn *c);  /* connected and greeted */
  void (*settle)(pk_core *core, pk_conn *c);  /* end what is over */
  void (*ended)(pk_core *core, pk_conn *c);   /* its peer sends no more */
  void (*half)(pk_core *core, pk_conn *c);    /* a half-read frame has taken its time */
  void (*closed)(pk_core *core, pk_conn *c, int opening);
  uint64_t (*due)(const pk_core *core, const pk_conn *c); /* when to look at it, ns */
  void (*fired)(pk_core *core, pk_conn *c);               /* it is due */
} pk_kind;

struct pk_conn {
  pk_timer timer;
  const pk_kind *kind;
  uint32_t index, generation;
  uint8_t state, leaving, lost; /* PK_CONN_*, PK_LEAVE_* bits, PK_LOST_* */
  uint8_t eof, broken;      /* the peer sends no more; the socket is gone */
  uint8_t dirty, ready;     /* on those lists */
  uint8_t flow, read_off;   /* PK_FLOW_*; the driver was told not to read */
  uint8_t pinned; /* one client's own (up); its codec wants such ones (down) */
  uint8_t serial; /* a client's: no more is framed while a request is under way */
  uint8_t in_turn; /* a client's: its heartbeat is next, and is answered behind all that it asked before */
  uint8_t named;  /* its ids are byte strings */
  uint8_t beside; /* a client's: something is kept beside the records of its requests */
  uint8_t recalls; /* framing, or an answer, is read with more than its bytes */
  uint8_t rewrites; /* a server's: its requests get ids of the engine's */
  uint8_t ending;  /* its peer's end is to be framed, behind what is there */
  uint8_t probing, told_drain;
  uint8_t told;     /* a client's: its protocol had a signal for it, and it was sent */
  uint8_t greeting; /* steps of it still to come */
  uint8_t trial;    /* opened for no request: shows whether the endpoint can be reached */
  uint8_t finishing, finished; /* no more is to be written; its peer was told so */
  uint8_t tries;    /* connects for a client that has asked nothing yet */
  const pk_codec *codec;
  /* input: what was read and not yet framed */
  pk_chunk *in;
  uint32_t in_need; /* bytes that the frame in front needs, when known */
  uint32_t skip;    /* bytes still to come of a frame that was refused, or is passed on */
  pk_chunk *framing; /* what its codec's framing remembers (pk_codec.state_size) */
  pk_chunk *half;    /* what is known of a frame whose rest, `skip` bytes, is passed on as it comes (halves.c) */
  /* output */
  pk_chunk *out, *out_tail;
  pk_chunk *seal;    /* an empty one: what is behind it waits for the end of the frame in front of it */
  uint64_t out_bytes;  /* queued */
  uint64_t out_total;  /* ever queued */
  uint64_t last_read, last_write, frame_since, first_byte, opened;
  uint64_t last_used, busy_since, probe_at; /* upstream */
  uint64_t deadline, frame_until; /* upstream, ticks: of all its calls; of those when the frame in front began */
  uint32_t lost_at;
  uint32_t in_flight, context;
  pk_handle peer; /* pair: the other side; pinned upstream: its client */
  pk_partial *partial; /* messages that it has begun and not ended */
  uint32_t partial_count, partial_capacity;
  /* a client's */
  uint32_t listener;
  uint8_t source[PK_ADDRESS]; /* where it comes from; zeros: not known */
  pk_request *requests, *last_request; /* that wait for an answer, as they came */
  struct pk_conn *own; /* pinned: its upstream connections, one for each cluster */
  pk_called *called;   /* what their servers asked it, the oldest first */
  uint32_t called_count, called_capacity;
  uint64_t held; /* bytes that its requests hold: kept for later, and answers that wait for their turn */
  pk_chunk *lately; /* what its codec keeps of its last request (pk_codec.keep) */
  pk_live *kept;     /* its listener is in no newer table: it is served by this one ... */
  uint64_t leave_by; /* ... until then, ns */
  /* a server's */
  pk_endpoint *endpoint;
  struct pk_conn *before, *behind; /* of its endpoint's connections, shared or not (pk_conns) */
  uint32_t key, connect_ms;
  int error;        /* errno of connecting */
  uint64_t begun;   /* the batch in which it was begun to open it */
  uint64_t relieve; /* ns: requests that still wait for it then may go elsewhere */
  pk_slot *slots;
  uint32_t *chains; /* pinned */
  pk_asked *asked;  /* of each slot; NULL where answers come in any order */
  uint32_t slot_mask, slot_free, slot_most, given_up;
  uint64_t next_id, head_id; /* head_id: the oldest outstanding where there are no ids */
  struct pk_conn *own_next;
  uint64_t cluster_key, cluster_token; /* pinned: the hash of its name; the table in which it is `cluster` */
  uint32_t cluster;
  uint32_t waiting_head, waiting_tail; /* attempts */
};

typedef struct pk_list {
  uint32_t *items;
  uint32_t count, capacity;
} pk_list;

#define PK_PAGE 256u
#define PK_STAT_PAGES 256u

/* What only some protocols' requests have, by index: made when needed. */
typedef struct pk_pages {
  uint8_t **pages;
  uint32_t count;
} pk_pages;

struct pk_core {
  uint64_t now, batch, random;
  uint32_t frames_left; /* of this batch: the next one handles the rest, after what is written */
  pk_live *live; /* newest first */
  pk_live *prepared;
  pk_limits limits;
  pk_route_cache cached_routes; /* of the newest table */
  pk_question question;  /* of the request that is handled, */
  pk_handle questioned;  /* which is that one; 0: nothing is known */
  int draining, shutdown;
  int changed; /* some cluster is */
  const pk_kind *server, *pair_server, *checker; /* kinds, for who stands below them */
  const pk_plan_step *const *steps;         /* by PK_STEP_* */

  pk_conn **conns;
  uint32_t conn_count, conn_capacity, client_count;
  pk_list free_conns, graveyard, dirty, ready, ready_next;

  pk_request **requests; /* pages */
  uint32_t request_pages, free_request, request_count;
  uint32_t aside;        /* of them wait for filters, or for a delay */
  uint64_t aside_bytes;  /* that these hold, and what filters may still read of requests that have ended */
  pk_held *orphans, *last_orphan; /* in the order of the requests' ends */
  pk_pages ids;  /* of requests, where they are byte strings: PK_ID_MAX bytes each */
  pk_pages kept; /* of requests, by their codecs: PK_KEEP_MAX bytes each */
  pk_pages asked; /* of requests whose answers filters see: a pk_held each */
  pk_pages ending; /* of requests whose ends filters are told: a pk_end each */
  pk_ring *ends;   /* of those that have ended; NULL: no table asked for them yet */
  pk_attempt **attempts; /* pages */
  uint32_t attempt_pages, free_attempt;

  pk_op *ops;
  uint32_t op_count, op_capacity, op_taken;
  uint64_t malformed_told[2]; /* ns: when something malformed of a client, of a server may be told again */

  pk_wheel wheel;
  pk_checker *waiting_checks, *last_check; /* due, in their order */
  uint32_t checking;                       /* checks under way */
  pk_verdicts *verdicts; /* of all workers; NULL: there is no other */
  uint64_t verdicts_seen;
  uint32_t place, places; /* which of them this one is */
  uint64_t buffered;
  int short_of_memory; /* somebody was refused a buffer in this batch */
  int full;            /* it is over its budget, and nobody in particular holds that: no more requests are taken */
  pk_chunk *free_chunks;
  uint32_t free_chunk_count;
  pk_held *free_held[PK_HELD_CLASSES]; /* of up to so many steps of bytes */
  uint32_t free_held_count[PK_HELD_CLASSES];
  uint8_t scratch[2 * PK_READ];

  pk_shared *shared; /* by all workers of a process */
  pk_endpoint **endpoints; /* by uid */
  pk_cluster **clusters;   /* likewise */
  uint32_t endpoint_capacity, cluster_capacity;
  pk_endpoint *gone_endpoints; /* until nothing refers to them */
  pk_endpoint_stats gone_stats; /* theirs, which nobody reads */
  pk_stats stats;
  _Atomic(pk_endpoint_stats *) endpoint_stats[PK_STAT_PAGES];
};

static inline int pk_conn_is_client(const pk_conn *c) { return c->kind->side == PK_SIDE_DOWN; }
/* A server's that requests wait for. */
static inline int pk_conn_is_opening(const pk_conn *c) { return c->state < PK_CONN_OPEN; }
/* Its bytes are framed. */
static inline int pk_conn_reads(const pk_conn *c) { return c->state == PK_CONN_OPEN || c->state == PK_CONN_GREETING; }
static inline int pk_conn_is_pair(const pk_conn *c) { return c->kind->feed != NULL; }
/* Bytes for it are taken. */
static inline int pk_conn_writes(const pk_conn *c) {
  return c->state >= PK_CONN_GREETING && c->state <= PK_CONN_LINGERING;
}

/* A server's: nobody waits for its answers, and all that it was told is written: one-way requests, too. */
static inline int pk_conn_is_idle(const pk_conn *c) {
  return c->in_flight == 0 && c->seal == NULL && (c->out_bytes == 0 || c->state != PK_CONN_OPEN || pk_conn_is_pair(c));
}

static inline uint64_t pk_id_mask(const pk_codec *codec) {
  return codec->id_bytes >= 8 ? UINT64_MAX : ((uint64_t)1 << (8 * codec->id_bytes)) - 1;
}

/* memory.c */
void *pk_grow(void *data, uint32_t *capacity, uint32_t wanted, size_t item);
int pk_list_add(pk_list *l, uint32_t item);
/* NULL over budget. `urgent` (answers, errors) may use a quarter more than the budget. */
pk_chunk *pk_chunk_new(pk_core *core, uint32_t size, int urgent);
pk_chunk *pk_chunk_exact(pk_core *core, uint32_t size); /* urgent, and no larger: many may wait */
pk_chunk *pk_chunk_zeros(pk_core *core, uint32_t size); /* the same, of zeros */
void pk_chunk_free(pk_core *core, pk_chunk *c);
void pk_chunks_free(pk_core *core, pk_chunk *first);
pk_held *pk_held_new(pk_core *core, uint32_t size); /* to be filled; NULL: no room */
pk_held *pk_hold(pk_core *core, const uint8_t *data, const pk_frame *frame);
void pk_held_orphan(pk_core *core, pk_held *h); /* it does not count against the budget any more */
void pk_held_free(pk_core *core, pk_held *h);
/* Room for `size` contiguous bytes at the end of the output, then commit what was written there. */
uint8_t *pk_out_reserve(pk_core *core, pk_conn *c, uint32_t size);
void pk_out_commit(pk_core *core, pk_conn *c, uint32_t size);
/* Bytes that need not stand together. -1 over budget, when some of them may be queued. */
int pk_out_append(pk_core *core, pk_conn *c, const uint8_t *data, size_t size);
/* It has half a frame: what is added waits behind the seal; -1 without memory. The frame's rest is added while that is
 * lifted, which gives what waits; it is lowered in any case, for more of the frame (`again`) or for good. */
int pk_out_seal(pk_core *core, pk_conn *c);
pk_chunk *pk_out_lift(pk_conn *c);
void pk_out_lower(pk_core *core, pk_conn *c, pk_chunk *seal, int again);
uint64_t pk_out_front(const pk_conn *c); /* bytes in front of the seal, or all */
void pk_out_cut(pk_core *core, pk_conn *c); /* what waits is dropped */
void pk_out_free(pk_core *core, pk_conn *c);

/* records.c */
void pk_op_add(pk_core *core, pk_op op);
/* Tell of a frame that is none, of which `size` bytes are there; `error`: PK_ERR_*. */
void pk_malformed_tell(pk_core *core, const pk_conn *c, const uint8_t *data, size_t size, uint32_t at, int error);
uint64_t pk_random(pk_core *core);
pk_conn *pk_conn_new(pk_core *core, const pk_kind *kind, uint8_t state);
int pk_requests_grow(pk_core *core); /* more places; -1 without memory */
/* What is kept beside the records of a client's requests (pk_conn.beside): room for the one at an index, -1 without
 * memory; of a request of which `size` bytes are there. */
int pk_beside_room(pk_core *core, const pk_conn *client, uint32_t index);
/* What stands at an index, `size` bytes; room for it, NULL without memory. */
uint8_t *pk_page_room(pk_pages *p, uint32_t index, uint32_t size);
uint8_t *pk_page_at(const pk_pages *p, uint32_t index, uint32_t size);
void pk_beside_keep(pk_core *core, pk_request *r, const pk_conn *client, const uint8_t *data, size_t size,
                    const pk_frame *f);
/* The client's own id, of a request whose id is a byte string. */
pk_slice pk_request_id(const pk_core *core, const pk_request *r);
/* What its codec keeps of it for replies. */
pk_slice pk_request_kept(const pk_core *core, const pk_request *r);
/* A request's bytes, kept until its answer comes (PK_PART_SEEN); -1 without memory. And taken back, to be freed. */
int pk_seen_keep(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f);
pk_held *pk_seen_take(pk_core *core, pk_request *r); /* NULL: nothing is */
const pk_held *pk_seen_of(const pk_core *core, const pk_request *r); /* the same, and it stays */
static inline void pk_seen_forget(pk_core *core, pk_request *r) { pk_held_free(core, pk_seen_take(core, r)); }
pk_attempt *pk_attempt_new(pk_core *core); /* NULL without memory */
void pk_attempt_free(pk_core *core, pk_attempt *a);

static inline pk_conn *pk_conn_find(const pk_core *core, pk_handle h) {
  uint32_t index = (uint32_t)h;
  if (index >= core->conn_count) return NULL;
  pk_conn *c = core->conns[index];
  return c->generation == (uint32_t)(h >> 32) && c->state != PK_CONN_FREE ? c : NULL;
}

static inline pk_request *pk_request_at(const pk_core *core, uint32_t index) {
  return &core->requests[index / PK_PAGE][index % PK_PAGE];
}

static inline pk_attempt *pk_attempt_at(const pk_core *core, uint32_t index) {
  return &core->attempts[index / PK_PAGE][index % PK_PAGE];
}

static inline pk_request *pk_request_find(const pk_core *core, pk_handle h) {
  uint32_t index = (uint32_t)h;
  if (h == 0 || index / PK_PAGE >= core->request_pages) return NULL;
  pk_request *r = pk_request_at(core, index);
  return r->generation == (uint32_t)(h >> 32) && r->to.live != NULL ? r : NULL;
}

/* So many bytes more are held by its client. */
static inline void pk_request_count_held(pk_core *core, const pk_request *r, int64_t change) {
  pk_conn *client = pk_conn_find(core, r->to.client);
  if (client != NULL) client->held += (uint64_t)change;
}

/* endpoint.c */
/* The driver is told how it is: PK_WELL or PK_ILL_*, and the errno. */
void pk_endpoint_tell(pk_core *core, const pk_endpoint *e, uint32_t how, int error);
/* It did not answer whether it lives. 1: close it; 0: that says nothing, or what is on it may still be answered. */
int pk_endpoint_silent(pk_core *core, const pk_conn *c);
void pk_endpoint_unanswered(pk_core *core, const pk_attempt *a); /* a call ran out of time */

/* It said something that only who lives says. */
static inline void pk_endpoint_heard(pk_core *core, pk_endpoint *e) {
  if (pk_health_heard(&e->health, core->now)) pk_endpoint_tell(core, e, e->health.unreached, 0);
}
void pk_endpoint_drains(pk_core *core, pk_endpoint *e, int drains); /* it says that it wants no new requests; or does again */
void pk_endpoint_opened(pk_core *core, pk_endpoint *e); /* a connection to it is open */
/* Its server closed it, perhaps instead of answering. */
void pk_endpoint_closing(pk_core *core, const pk_conn *c);
void pk_endpoint_joined(pk_core *core, pk_conn *c); /* one is being opened */
/* What became of an attempt, where errors are counted: it may be left out for that. */
void pk_endpoint_judge(pk_core *core, const pk_request *r, const pk_attempt *a, uint32_t outcome);
/* It was left out: 1 when that is over. */
int pk_endpoint_is_back(pk_core *core, pk_endpoint *e);
/* A connection to it is closed; `opening`: it never was open. */
void pk_endpoint_left(pk_core *core, pk_conn *c, int opening);
/* It may be usable that was not, or the other way round. */
void pk_endpoint_changed(pk_core *core, const pk_endpoint *e);

/* usable.c */
void pk_usable_review(pk_core *core);

/* check.c */
extern const pk_kind pk_check_kind;
void pk_checks_follow(pk_core *core, const pk_table *t); /* what this table, the newest, asks for; `t` before is still there */
void pk_checks_go_on(pk_core *core);                     /* those that wait, as far as there is room */
void pk_checks_hear(pk_core *core);                      /* what other workers found */
void pk_check_fired(pk_core *core, pk_checker *k);
void pk_check_end(pk_core *core, pk_endpoint *e); /* it is not checked any more */

/* What stays of a cluster from table to table: the hash of its name, and of what its endpoints have where these are not all. */
static inline uint64_t pk_cluster_key(const pk_table *t, uint32_t cluster) {
  const pk_table_cluster *c = pk_table_cluster_at(t, cluster);
  uint64_t name = pk_hash(0, (const uint8_t *)pk_table_text_at(t, c->name), c->name.size);
  return c->subset.size == 0 ? name : pk_hash(name, (const uint8_t *)pk_table_text_at(t, c->subset), c->subset.size);
}

/* live.c */
void pk_live_release(pk_core *core, pk_live *live);
void pk_endpoints_free_gone(pk_core *core);
/* A client is closed: it counts no more, and the table that was kept for it is let go. */
void pk_live_client_closed(pk_core *core, pk_conn *client);
/* The listener that a client came by, of that table; NULL: it has none. */
static inline const pk_table_listener *pk_listener_of(const pk_table *t, const pk_conn *c) {
  if (c->listener >= t->listeners.count) return NULL;
  const pk_table_listener *l = pk_table_listener_at(t, c->listener);
  return l->present ? l : NULL;
}
/* The table that the client's requests are routed by. */
static inline pk_live *pk_conn_live(const pk_core *core, const pk_conn *c) {
  return c->kept != NULL ? c->kept : core->live;
}

/* conn.c */
static inline pk_handle pk_conn_handle(const pk_conn *c) {
  return (uint64_t)c->generation << 32 | c->index;
}
void pk_conn_close(pk_core *core, pk_conn *c, int reset);
void pk_conn_drop(pk_core *core, pk_conn *c, uint8_t why, uint32_t at); /* with a reset; PK_LOST_* */
void pk_conn_opened(pk_core *core, pk_conn *c); /* it is connected and greeted */
/* Its codec is known: what that remembers of it; -1 without memory. */
int pk_conn_remember(pk_core *core, pk_conn *c);
void pk_conn_discard(pk_core *core, pk_conn *c); /* nobody needs it */
/* What it sends from here on is read and dropped; what it asked is still answered. */
void pk_conn_deafen(pk_core *core, pk_conn *c);
void pk_conn_finish(pk_core *core, pk_conn *c); /* tell its peer that no more is written */
int pk_conn_is_stuck(const pk_conn *c); /* whole frames of it are not handled yet, and not now */
uint64_t pk_conn_active(const pk_conn *c); /* when it last read or wrote, ns */
int pk_conn_is_quiet(const pk_core *core, const pk_conn *c); /* nothing came of its half frame for the time for one */
void pk_conn_flush(pk_core *core, pk_conn *c); /* close once written */
void pk_conn_settle(pk_core *core, pk_conn *c); /* after any change: resume, close what is over */
void pk_conn_ready(pk_core *core, pk_conn *c);  /* frame more of its input in the next batch */
void pk_conn_touch(pk_core *core, pk_conn *c);  /* something it may wait for happened: settle soon */
void pk_conn_timer(pk_core *core, pk_conn *c);  /* set its timer to what it next waits for */
void pk_conn_timer_fired(pk_core *core, pk_conn *c);
void pk_conn_more(pk_core *core, pk_conn *c); /* its turn on the ready list */
void pk_conn_goes_on(pk_core *core, pk_conn *c, uint8_t why); /* a PK_FLOW_* is over: it is read on */
void pk_conn_read_off(pk_core *core, pk_conn *c);
void pk_conn_read_on(pk_core *core, pk_conn *c);
/* Keep bytes that cannot be handled yet; -1 after it was closed for want of memory. */
int pk_conn_keep(pk_core *core, pk_conn *c, const uint8_t *data, size_t size);
/* pk_codec.frame, with what is remembered of the connection. */
int pk_conn_frame(pk_core *core, const pk_conn *c, const uint8_t *data, size_t size, pk_frame *f);
void pk_conn_tell_drain(pk_core *core, pk_conn *c);
void pk_conn_queued(pk_core *core, pk_conn *c); /* after output to a client was added: pause it, or close it */
void pk_conn_probe(pk_core *core, pk_conn *c); /* ask an upstream whether it lives */
int pk_conn_notice(pk_core *core, pk_conn *c, const pk_notice *n); /* say it; 0: it cannot be said */
void pk_conn_heartbeat_ack(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f);
/* Copy a frame to the connection's output; NULL (and nothing done) without memory. */
uint8_t *pk_conn_send(pk_core *core, pk_conn *c, const uint8_t *data, uint32_t size);

/* detect.c */
void pk_client_speak(pk_core *core, pk_conn *c, const pk_codec *codec); /* it speaks that protocol */
/* Which protocol a client speaks, from all that it has sent, or that it is to be passed on: PK_OK, also when it was closed;
 * PK_MORE: *need bytes; PK_ERR_MAGIC. */
int pk_detect(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, uint32_t *need);
void pk_detect_now(pk_core *core, pk_conn *c, int ended); /* no more comes, or there is no more time */

/* client.c */
extern const pk_kind pk_client;

/* server.c */
extern const pk_kind pk_server;

/* slots.c */
/* Requests that a connection may have under way. */
static inline uint32_t pk_slots_most(const pk_codec *codec) {
  if (codec->mode == PK_MODE_PINGPONG) return 1;
  return codec->id_bytes == 1 && codec->mode == PK_MODE_MULTIPLEXED ? 256 : PK_RING;
}
enum { PK_SLOT_REUSED = -100 }; /* the client's id is one whose late answer is still to come */
int pk_slots_init(pk_conn *c);
void pk_slots_free(pk_conn *c);
uint64_t pk_slots_id(pk_conn *c); /* an id for what has no answer to be told apart; 0 where there are none */
int pk_slots_take(pk_conn *c, pk_attempt *a, const pk_request *r); /* 0, PK_ERR_SPACE or PK_SLOT_REUSED */
/* The answer to what no attempt asked, on a connection of its own. As pk_slots_take. */
int pk_slots_expect(pk_conn *c, uint64_t id, uint32_t context);
void pk_slots_put_back(pk_conn *c, const pk_attempt *a); /* its request was not sent */
void pk_slots_give_up(pk_conn *c, const pk_attempt *a);  /* its request has ended; the answer may still come */
/* Whether its late answer could be taken for another request's that is under way. */
int pk_slots_unclear(const pk_core *core, const pk_conn *c, const pk_attempt *a);
/* The context of the request that is answered next, where that is known; else 0. */
uint32_t pk_slots_context(const pk_conn *c);
/* Whether an answer has the id of the request whose turn it is, where ids come back in order. */
int pk_slots_in_step(const pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f);
/* The attempt that this answers, or PK_NONE. */
uint32_t pk_slots_find(const pk_core *core, const pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f);
/* The same; its slot is free then, unless more of the answer follows. */
uint32_t pk_slots_answered(const pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f);
/* The attempts that wait, one after the other, each off its slot; *at starts as 0. PK_NONE: no more. */
uint32_t pk_slots_next(pk_conn *c, uint32_t *at);

/* pieces.c */
/* A message of which pieces follow, to be passed on to a connection (0: to none, or not yet), and the request that it is
 * (0: it is none of a client's). -1: its pieces could not be told from another's, or there are too many. */
int pk_pieces_begin(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f, pk_handle to, pk_handle request);
/* More of one: it is passed on, or dropped where nobody takes it. 0: it belongs to none that has begun. */
int pk_pieces_next(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f);
/* The same of the message with that key, of a frame that is passed on by halves. */
void pk_pieces_rest(pk_core *core, pk_conn *c, uint64_t key, const uint8_t *data, const pk_frame *f);
/* No more of it comes. Who has its beginning, or NULL, and the request that it is (0: none any more). */
pk_conn *pk_pieces_cut(pk_core *core, pk_conn *c, uint64_t key, pk_handle *request);
void pk_pieces_sent(pk_core *core, pk_request *r, pk_conn *c); /* its pieces follow it there */
void pk_pieces_over(pk_core *core, const pk_request *r); /* they follow where it was sent; else they are dropped */

/* halves.c */
extern const pk_halves pk_of_halves;
void pk_half_cut(pk_core *core, pk_conn *client); /* the rest does not come */

/* pinned.c */
pk_conn *pk_pinned_choose(pk_core *core, pk_request *r, uint32_t *status);
/* Open the client's connection where its cluster is known before it asks. `failed` is not tried again. */
void pk_pinned_open(pk_core *core, pk_conn *client, const pk_endpoint *failed);
void pk_pinned_client_closed(pk_core *core, pk_conn *client);
/* Before its requests are failed; gives back its client, if there is one. */
pk_conn *pk_pinned_lost(pk_core *core, pk_conn *c, int connecting);
/* A client's, or its own server's, greeting, passed on to the other (pk_codec.greeting_relayed). */
void pk_pinned_greet(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f);
/* It is open: a client whose greeting waits for that is read. */
void pk_pinned_opened(pk_core *core, const pk_conn *c);
/* Its server wants no new requests: its client is told so. */
void pk_pinned_drained(pk_core *core, const pk_conn *c);
/* A server's request, passed on to its client; 0: it cannot be asked. */
int pk_pinned_call(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f);
/* A client's answer, passed on to the server that asked. -1: what follows of it could not be told. */
int pk_pinned_answer(pk_core *core, pk_conn *client, const uint8_t *data, const pk_frame *f);

/* asked.c */
/* What is known of the request that is handled, of these bytes; `begin`: nothing yet. */
pk_question *pk_question_of(pk_core *core, const pk_request *r, const uint8_t *data, const pk_frame *f);
void pk_question_over(pk_core *core); /* its bytes are others */
/* Its key by what a cluster with consistent hashing goes, or 0. */
uint64_t pk_key_of(pk_question *q, const pk_table *t, const pk_table_cluster *c);

/* pick.c */
int pk_has_room(const pk_core *core, const pk_conn *c);
/* *status: the client's own connection is ending; its share of the places is used up, or its method's; a breaker. */
enum { PK_PICK_ENDING = PK_STATUS_COUNT, PK_PICK_SHARE, PK_PICK_METHOD, PK_PICK_CONNECTIONS, PK_PICK_ENDPOINT_CONNECTIONS,
       PK_PICK_ENDPOINT_REQUESTS };
/* A connection for it, open or being opened, or NULL and why in *status. */
pk_conn *pk_pick(pk_core *core, const pk_target *to, uint32_t *status);
pk_conn *pk_pick_open(pk_core *core, const pk_target *to); /* only one that is open, of an endpoint that is well */
/* The key of a client, where its address is that, or 0. */
uint64_t pk_key_of_client(const pk_core *core, const pk_table *t, uint32_t cluster, pk_handle client);
void pk_pick_another(pk_core *core, const pk_target *to); /* begin to open one to one more endpoint */

/* greeting.c */
void pk_greeting_begin(pk_core *core, pk_conn *c);
void pk_greeting_frame(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f);
void pk_greeting_skip(pk_core *core, pk_conn *c); /* a client asks: steps that it may leave out are over */

/* pair.c */
extern const pk_kind pk_pair_server;
void pk_pair_begin(pk_core *core, pk_conn *client); /* pass on what it sends */

/* request.c */
/* `size` bytes of the frame are there. */
pk_request *pk_request_new(pk_core *core, pk_conn *client, const uint8_t *data, size_t size, const pk_frame *f);
/* One of nobody's, on its way to where `of` goes: mirror.c. `plan`: which says so. NULL without memory. */
pk_request *pk_request_copy(pk_core *core, const pk_request *of, uint32_t plan);
/* The id of a frame that tells it apart: of a byte string the hash; 0 where messages come in order. */
static inline uint64_t pk_id_key(const pk_conn *c, const uint8_t *data, const pk_frame *f) {
  if (c->codec->mode != PK_MODE_MULTIPLEXED) return 0;
  if (!c->named) return f->id;
  pk_slice id = pk_id_of(c->codec, data, f, f->size);
  return pk_hash(0, id.data, id.size);
}
/* The client to answer, or NULL (and counted) when it is gone. */
pk_conn *pk_request_client(pk_core *core, const pk_request *r);
static inline pk_handle pk_request_handle(const pk_request *r) {
  return (uint64_t)r->generation << 32 | r->index;
}
static inline pk_question *pk_question_begin(pk_core *core, const pk_conn *client, const pk_table_listener *l,
                                             const pk_request *r, const uint8_t *data, const pk_frame *f) {
  pk_question *q = &core->question;
  q->to = (pk_destination){.context = f->context};
  q->codec = r->to.codec;
  q->data = data;
  q->frame = f;
  q->listener = l;
  q->source = client == NULL ? NULL : client->source;
  q->led = q->blank = q->asked = q->headers = 0;
  q->error = 0;
  q->asked_headers = 0;
  q->found.same = 0;
  core->questioned = pk_request_handle(r);
  return q;
}
/* Keep its bytes (r->held), which count for its client; -1 without memory. */
int pk_request_hold(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f);
/* The request is what `h` holds from now on, `size` bytes, instead of the frame `was`: of the same id and kind. PK_OK, else
 * `h` is freed and nothing has changed. */
int pk_request_replace(pk_core *core, pk_request *r, const pk_frame *was, pk_held *h, uint32_t size);
/* Whether the bytes are that answer (`was`), changed, and nothing else: what it is then. */
int pk_request_same_answer(const pk_core *core, const pk_request *r, const uint8_t *was, const pk_frame *was_frame,
                           const uint8_t *data, uint32_t size, pk_frame *f);
pk_held *pk_request_unhold(pk_core *core, pk_request *r); /* they are the caller's to free; NULL: there are none */
/* The answer: delivers it (with the caller's own id) and ends the request, or, where more follows, does not. */
void pk_request_answer(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f);
/* Ends the request with an error that the caller's library raises; `text` up to 512 bytes. */
void pk_request_fail(pk_core *core, pk_request *r, uint32_t status, const char *text, size_t size);
/* The same for a limit that is reached: "protokit: overloaded: `what``limit`". */
void pk_request_overloaded(pk_core *core, pk_request *r, const char *what, uint64_t limit);
void pk_request_end(pk_core *core, pk_request *r);
int pk_request_is_sent(const pk_core *core, const pk_request *r); /* some server has it */
void pk_request_client_left(pk_core *core, pk_conn *client); /* end what nobody waits for any more */
void pk_request_end_attempts(pk_core *core, pk_request *r); /* nobody waits for their answers */
void pk_request_drop_oneway(pk_core *core, const pk_conn *client); /* goes through all requests */

/* attempt.c */
/* On this connection, which waits where it is being opened; NULL without memory. */
pk_attempt *pk_attempt_begin(pk_core *core, pk_request *r, pk_conn *c);
void pk_attempt_end(pk_core *core, pk_request *r, pk_attempt *a, uint32_t outcome); /* PK_ATTEMPT_* */
void pk_attempt_partly(pk_core *core, const pk_request *r, pk_attempt *a); /* the first part of its answer came */

static inline pk_cluster *pk_cluster_of(const pk_target *to) { return to->live->of[to->cluster]; }

/* adaptive.c */
uint32_t pk_adaptive_limit(const pk_cluster_words *w, const pk_breaker *b); /* of requests, where it is found */
void pk_adaptive_heard(const pk_core *core, const pk_request *r, const pk_attempt *a, uint32_t outcome); /* an attempt is over, or partly answered */

/* places.c */
uint32_t pk_breaker_most(const pk_target *to, uint32_t which); /* what a breaker bounds, 0: any number */
/* One more connection of the endpoint, which counts; 0: a breaker is against it, *why is PK_PICK_*. */
int pk_breaker_connect(pk_core *core, pk_endpoint *e, const pk_target *to, uint32_t *why);
void pk_breaker_disconnect(pk_endpoint *e);
/* Whether the endpoint has as many under way as this one may use: PK_PICK_ENDPOINT_REQUESTS, or 0. */
uint32_t pk_breaker_full(const pk_core *core, const pk_endpoint *e, const pk_target *to, uint32_t most);
/* Whether a request has a place of its cluster's for its next attempt, and else for whom there is none. `method`: how many
 * its method has. */
enum { PK_PLACE_TAKEN = 0, PK_PLACE_NONE, PK_PLACE_CLIENT, PK_PLACE_METHOD };
uint32_t pk_places_take(const pk_core *core, pk_request *r, uint32_t which, uint32_t method);
void pk_places_refused(const pk_target *to, uint32_t which); /* it counts */
int pk_breaker_retry(const pk_core *core, pk_request *r); /* whether there may be one more try that a policy grants */
void pk_breaker_moves(pk_request *r, pk_attempt *a); /* its next attempt has them: they are not asked for again */
void pk_breaker_sent(const pk_request *r, pk_attempt *a); /* its connection is open */
void pk_breaker_ended(const pk_core *core, const pk_request *r, pk_attempt *a, uint32_t outcome);
void pk_breaker_partly(const pk_core *core, const pk_request *r, const pk_attempt *a); /* the first part of its answer came */
void pk_breaker_back(pk_request *r); /* there is no next attempt */

/* breaker.c */
/* A place for one more attempt, which is to begin; and those for one that has begun. 0: there is none, the attempt is over,
 * and the request was answered where it has no other. */
int pk_breaker_enter(pk_core *core, pk_request *r);
int pk_breaker_begun(pk_core *core, pk_request *r, pk_attempt *a);
void pk_breaker_refuse(pk_core *core, pk_request *r, uint32_t status); /* by PK_PICK_* */
void pk_breaker_refused(const pk_target *to, uint32_t status); /* the same of what is no request: it only counts */
void pk_breaker_add_retries(pk_message *m, const pk_request *r); /* "breaker retries of cluster demo is at the limit of 3" */

/* choose.c */
/* r->to.cluster, by the request's plan. 0: there is none, and it was answered with the reason. */
int pk_choose_cluster(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f);

/* When the newest attempt has had `ms`, ticks. */
static inline uint64_t pk_attempt_after(const pk_core *core, const pk_request *r, uint32_t ms) {
  return pk_attempt_at(core, r->attempt)->started / PK_MS + 1 + ms;
}

/* hedge.c */
void pk_hedge_asked(pk_core *core, const pk_request *r); /* it comes */
int pk_hedge_may(const pk_request *r); /* it may get a second attempt */
uint64_t pk_hedge_at(const pk_core *core, const pk_request *r); /* when, ticks */
int pk_hedge_granted(pk_core *core, pk_request *r); /* whether there is one more, which is spent */
void pk_hedge_begun(pk_core *core, const pk_request *r, int begun); /* or there was nobody else to ask */
/* It ends, or is settled for an answer; its attempts are still there. */
void pk_hedge_over(pk_core *core, const pk_request *r);

/* retry.c */
void pk_retry_asked(pk_core *core, const pk_request *r); /* it comes: it may have tries beyond its first */
enum { PK_RETRY_NONE = 0, PK_RETRY_GRANTED, PK_RETRY_OVER_BUDGET, PK_RETRY_OVER_BREAKER };
/* Whether there is another try, which counts from now on, and how many ms it has to wait. `why`: one of PK_RETRY_ON_*. */
int pk_retry_granted(pk_core *core, pk_request *r, uint32_t why, int written, uint32_t *wait);
/* What its server has for its newest try, which is sent now, ms. */
uint32_t pk_retry_left(const pk_core *core, const pk_request *r, const pk_frame *f);
void pk_retry_timer(pk_core *core, pk_request *r); /* an attempt has begun: set its timer to what comes next */

/* dispatch.c */
/* When the request's time is over, ticks. */
static inline uint64_t pk_request_deadline(const pk_request *r) { return r->started / PK_MS + 1 + r->timeout_ms; }
void pk_request_run(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f);
void pk_request_go_on(pk_core *core, pk_request *r); /* it has waited */
void pk_request_try(pk_core *core, pk_request *r); /* one more attempt, of what is held */
/* Its attempt goes off a connection being opened, onto this open one. */
void pk_request_move(pk_core *core, pk_request *r, pk_attempt *a, pk_conn *c);
/* On a connection that has just opened. */
void pk_request_send(pk_core *core, pk_request *r, pk_conn *c, pk_attempt *a, const uint8_t *data,
                     const pk_frame *f);
/* "127.0.0.1:20881 (cluster demo)", as far as the request got; `e` may be NULL. */
void pk_request_add_target(pk_message *m, const pk_request *r, const pk_endpoint *e);
/* It fails: "`what`127.0.0.1:20881 (cluster demo) within `ms` ms". */
void pk_request_late(pk_core *core, pk_request *r, const char *what, const pk_endpoint *e, uint32_t ms);

/* tries.c */
/* An attempt came to nothing; `why` is PK_RETRY_ON_CONNECT_FAILURE or PK_RETRY_ON_RESET. Tries again where that is safe,
 * else fails. */
void pk_request_lost(pk_core *core, pk_request *r, pk_attempt *a, uint32_t why, int written);
/* An answer of a status beyond APP_ERROR. 1: its caller does not get it: the request is tried again, or another try of it may
 * be answered. */
int pk_retry_answer(pk_core *core, pk_request *r, pk_attempt *a, uint32_t status);
void pk_request_timeout(pk_core *core, pk_request *r); /* its timer has fired */

/* aside.c */
/* It waits for something of its rule: PK_STEP_WAITS. Where as many wait as may, or hold as much: PK_STEP_OVER, and it is told
 * so; or, without texts, PK_STEP_ON. */
int pk_aside_begin(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f, pk_aside *of,
                   const char *too_many, const char *too_large);
/* The same in two steps: whether there is room for one that holds so many bytes; and it waits, for what is held. */
enum { PK_ASIDE_FITS = 0, PK_ASIDE_MANY, PK_ASIDE_LARGE };
int pk_aside_room(const pk_core *core, const pk_aside *of, uint64_t size);
void pk_aside_take(pk_core *core, pk_request *r, pk_aside *of);
void pk_aside_end(pk_core *core, pk_request *r, pk_aside *of); /* it waits no more; its bytes still count */
void pk_aside_free(pk_core *core, const pk_held *h);           /* these count no more */
uint64_t pk_aside_cost(uint32_t size);                         /* what one with so many bytes counts for */
int pk_aside_returns(pk_core *core, pk_request *r); /* it is in flight again; 0: that has no room, and it was told so */

/* filter.c */
/* What is held waits for filters until then at the latest; they are told by `op`. */
void pk_filter_wait(pk_core *core, pk_request *r, pk_op op);
void pk_filter_decided(pk_core *core, pk_request *r, pk_aside *of); /* it waits no more, and they read no more */
/* They have not decided, and what they read stays until they have heard so: gives it back. `late`: by their own fault. */
const pk_held *pk_filter_left(pk_core *core, pk_request *r, pk_aside *of, int late);

/* answer.c */
/* An answer, whole, of a request whose answers filters see (PK_PART_SEEN). 1: it waits, or is none any more. 0: it goes on. */
int pk_answer_ask(pk_core *core, pk_request *r, uint32_t endpoint, uint64_t took, const uint8_t *data, const pk_frame *f);
/* It comes in parts, which no filter sees. 1: so its caller gets none of it. */
int pk_answer_unseen(pk_core *core, pk_request *r, pk_attempt *a);

/* ends.c */
int pk_ends_prepare(pk_core *core, const pk_table *t); /* -1 without memory */
void pk_ends_free(pk_core *core);
/* Of a request of those (PK_PART_TOLD): an attempt failed; it is answered, or a part of it; it is told this; it is over. */
void pk_ends_tried(const pk_core *core, const pk_request *r, const pk_attempt *a);
void pk_ends_answered(const pk_core *core, const pk_request *r, const pk_attempt *a, const pk_frame *f);
void pk_ends_failed(const pk_core *core, const pk_request *r, uint32_t status, const char *text, size_t size);
void pk_ends_tell(pk_core *core, const pk_request *r);

/* guard.c */
/* Whether what the listener (PK_GUARD_*) allows and denies lets a request through; else it was answered. */
int pk_guard_admits(pk_core *core, pk_request *r, const pk_table_listener *l, pk_question *q);
/* The same for all that a client sends, of which nothing is read. */
int pk_guard_passes(pk_core *core, const pk_conn *c, const pk_table_listener *l);
/* Whether some request of a client may be let through. */
int pk_guard_opens(const pk_core *core, const pk_conn *c, const pk_table_listener *l);

/* change.c */
int pk_change_needs_request(const pk_request *r); /* its answer's changes take values of it */
/* An answer, whole, of one whose answers are changed (PK_PART_SET): *out, or NULL where it stays as it is. 0: its caller was
 * told that he does not get it. */
int pk_change_answer(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f, pk_held **out);
void pk_change_in_parts(pk_core *core, pk_request *r, pk_attempt *a); /* it comes in parts: its caller gets none of it */
/* "10.0.0.7", or "2001:db8::7", in INET6_ADDRSTRLEN bytes; 0: it is not known. */
uint32_t pk_address_write(const uint8_t address[PK_ADDRESS], char *out);

/* parts.c */
/* One of several answers to a request. */
void pk_parts_answer(pk_core *core, pk_conn *c, pk_request *r, pk_attempt *a, const uint8_t *data, const pk_frame *f);

/* Steps, each of its own file. */
extern const pk_plan_step pk_note_step, pk_limit_step, pk_reply_step, pk_delay_step, pk_abort_step, pk_filter_step, pk_key_step, pk_change_step,
    pk_mirror_step, pk_see_step;
extern const pk_plan_step pk_backoff_step; /* of no plan: a request waits for its next try */

/* What a rule has beyond the table, or NULL. */
static inline pk_rule_state *pk_state_at(const pk_table *t, const pk_plan *plan) {
  return plan->state == PK_NONE ? NULL : (pk_rule_state *)PK_AT(t, uintptr_t, t->states.at)[plan->state];
}
static inline pk_rule_state *pk_state_of(const pk_request *r) { return pk_state_at(r->to.live->table, r->plan); }

static inline void pk_message_text(pk_message *m, const pk_table *t, pk_text text) {
  pk_message_bytes(m, pk_table_text_at(t, text), text.size);
}

#endif
