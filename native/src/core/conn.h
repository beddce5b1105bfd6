/* conn.h: connections of every kind, and what each kind does with what comes. */
#ifndef PK_CONN_H
#define PK_CONN_H

#include "core/endpoint.h"
#include "wire/framing.h"
#include "wire/ident.h"
#include "wire/loaded.h"
#include "wire/notice.h"

enum { PK_SIDE_DOWN = PK_FROM_CLIENT, PK_SIDE_UP = PK_FROM_SERVER };
/* What a connection is doing:
 *
 *   CONNECTING  -> GREETING, OPEN    a server's: its socket opens
 *   GREETING    -> OPEN              a server's: what is said before requests (a client says it while it is open)
 *   OPEN        -> DROPPING, FLUSHING, LINGERING
 *   DROPPING    -> FLUSHING, LINGERING   a client's: what it sends is read and dropped, what it asked is answered
 *   FLUSHING                         asks and hears no more; closes once its bytes are written
 *   LINGERING                        a client's: the same, and its own end is waited for
 *   CLOSED      -> FREE              from each of them; its place is another's after the batch */
enum {
  PK_CONN_FREE = 0,
  PK_CONN_CONNECTING,
  PK_CONN_GREETING,
  PK_CONN_OPEN,
  PK_CONN_DROPPING,
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

/* Large frames that are passed on before they are whole (halves.c). */
typedef struct pk_halves {
  /* One that is not whole (PK_MORE). PK_OK: its front is to be handled, and then `begin`; or as framing says. */
  int (*frame)(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, pk_frame *f);
  void (*begin)(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f); /* the rest follows it as it comes */
  size_t (*pass)(pk_core *core, pk_conn *c, const uint8_t *data, size_t size);      /* so many bytes of the rest */
} pk_halves;

/* What kind of connection: a client's (client.c), a server's (server.c), either side of a pair (pair.c), or a health check's
 * (check.c). */
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
  uint32_t admitted; /* all that it asks is let through, in this pk_core.epoch */
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

/* records.c */
/* Tell of a frame that is none, of which `size` bytes are there; `error`: PK_ERR_*. */
void pk_malformed_tell(pk_core *core, const pk_conn *c, const uint8_t *data, size_t size, uint32_t at, int error);
pk_conn *pk_conn_new(pk_core *core, const pk_kind *kind, uint8_t state);

static inline pk_conn *pk_conn_find(const pk_core *core, pk_handle h) {
  uint32_t index = (uint32_t)h;
  if (index >= core->conn_count) return NULL;
  pk_conn *c = core->conns[index];
  return c->generation == (uint32_t)(h >> 32) && c->state != PK_CONN_FREE ? c : NULL;
}

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
void pk_conn_drop_input(pk_core *core, pk_conn *c);
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
uint32_t pk_slots_one(const pk_conn *c); /* an attempt that waits for an answer on it, or PK_NONE */
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

/* greeting.c */
void pk_greeting_begin(pk_core *core, pk_conn *c);
void pk_greeting_frame(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f);
void pk_greeting_skip(pk_core *core, pk_conn *c); /* a client asks: steps that it may leave out are over */

/* pair.c */
extern const pk_kind pk_pair_server;
void pk_pair_begin(pk_core *core, pk_conn *client); /* pass on what it sends */

#endif
