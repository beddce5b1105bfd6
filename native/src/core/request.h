/* request.h: requests and their attempts: the steps of a plan, tries, answers, ends. */
#ifndef PK_REQUEST_H
#define PK_REQUEST_H

#include "core/pick.h"

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
 *   SENT     -> SENT, WAITING, ANSWERED, FREE   it has attempts, one after the other or several; none while it waits
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
  PK_PART_TOLD = 64, /* filters are told of its end (pk_core.ending) */
  PK_PART_COUNTED = 128 /* so is its outcome, which its client's end is not any more */
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

/* records.c */
int pk_requests_grow(pk_core *core); /* more places; -1 without memory */
/* What is kept beside the records of a client's requests (pk_conn.beside): room for the one at an index, -1 without
 * memory; of a request of which `size` bytes are there. */
int pk_beside_room(pk_core *core, const pk_conn *client, uint32_t index);
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

/* request.c */
/* `size` bytes of the frame are there. */
pk_request *pk_request_new(pk_core *core, pk_conn *client, const uint8_t *data, size_t size, const pk_frame *f);
/* One of nobody's, on its way to where `of` goes: mirror.c. `plan`: which says so. NULL without memory. */
pk_request *pk_request_copy(pk_core *core, const pk_request *of, uint32_t plan);
/* The id of a frame that tells it apart: of a byte string the hash; 0 where messages come in order. */
static inline uint64_t pk_id_key(const pk_conn *c, const uint8_t *data, const pk_frame *f) {
  if (c->codec->mode != PK_MODE_MULTIPLEXED) return 0;
  if (!c->named) return f->id;
  return pk_id_hash(c->codec, pk_id_of(c->codec, data, f, f->size));
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
  q->client = client == NULL ? 0 : r->to.client;
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
/* "service 'a' method 'b'", for its text. */
void pk_request_add_call(pk_message *m, const pk_destination *d);
/* The same for a limit that is reached: "protokit: overloaded: `what``limit`". */
void pk_request_overloaded(pk_core *core, pk_request *r, const char *what, uint64_t limit);
void pk_request_end(pk_core *core, pk_request *r);
int pk_request_is_sent(const pk_core *core, const pk_request *r); /* some server has it */
void pk_request_client_left(pk_core *core, pk_conn *client); /* end what nobody waits for any more */
void pk_request_end_attempts(pk_core *core, pk_request *r); /* nobody waits for their answers */
void pk_request_drop_oneway(pk_core *core, const pk_conn *client); /* goes through all requests */

/* room.c */
void pk_make_room(pk_core *core); /* over budget, while nobody is at work on a connection or a request */

/* attempt.c */
/* On this connection, which waits where it is being opened; NULL without memory. */
pk_attempt *pk_attempt_begin(pk_core *core, pk_request *r, pk_conn *c);
void pk_attempt_end(pk_core *core, pk_request *r, pk_attempt *a, uint32_t outcome); /* PK_ATTEMPT_* */
void pk_attempt_partly(pk_core *core, const pk_request *r, pk_attempt *a); /* the first part of its answer came */

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
/* "rule demo[0]"; where its listener has none, "listener demo". */
void pk_request_add_rule(pk_message *m, const pk_request *r);
/* It fails: "`what`127.0.0.1:20881 (cluster demo) within `ms` ms (rule demo[0])". */
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
/* It has waited for a time only, and goes on; or its own is over, and it is told so: `late`. And: it ends meanwhile. */
void pk_aside_due(pk_core *core, pk_request *r, pk_aside *of, const char *late);
void pk_aside_cancel(pk_core *core, pk_request *r, pk_aside *of);

/* filter.c */
/* What is held waits for filters until then at the latest; they are told by `op`. */
void pk_filter_wait(pk_core *core, pk_request *r, pk_op op);
void pk_filter_decided(pk_core *core, pk_request *r, pk_aside *of); /* it waits no more, and they read no more */
/* They have not decided, and what they read stays until they have heard so: gives it back. `late`: by their own fault. */
const pk_held *pk_filter_left(pk_core *core, pk_request *r, pk_aside *of, int late);
void pk_filter_late(pk_core *core, pk_request *r, const char *on, uint32_t ms); /* an error that says so */

/* answer.c */
/* An answer, whole, of a request whose answers filters see (PK_PART_SEEN). 1: it waits, or is none any more. 0: it goes on. */
int pk_answer_ask(pk_core *core, pk_request *r, uint32_t endpoint, uint64_t took, const uint8_t *data, const pk_frame *f);
/* It comes in parts, which no filter sees. 1: so its caller gets none of it. */
int pk_answer_unseen(pk_core *core, pk_request *r, pk_attempt *a);

/* quota.c */
int pk_quota_prepare(pk_core *core, const pk_table *t); /* -1 without memory */
/* What was said of a key of the request's rule, PK_QUOTA_*; it is asked about where that is over, or nearly. */
int pk_quota_asked(pk_core *core, const pk_request *r, pk_rule_state *s, uint64_t key, const uint8_t *data, const pk_frame *f);

/* ends.c */
int pk_ends_prepare(pk_core *core, const pk_table *t); /* -1 without memory */
/* Of a request of those (PK_PART_TOLD): an attempt failed; it is answered, or a part of it; it is told this; it is over. */
void pk_ends_tried(const pk_core *core, const pk_request *r, const pk_attempt *a);
void pk_ends_answered(const pk_core *core, const pk_request *r, const pk_attempt *a, const pk_frame *f);
void pk_ends_failed(const pk_core *core, const pk_request *r, uint32_t status, const char *text, size_t size);
void pk_ends_tell(pk_core *core, const pk_request *r);

/* guard.c */
/* Whether what the listener (PK_GUARD_*) allows and denies lets a request through; else it was answered. */
int pk_guard_admits(pk_core *core, pk_conn *c, pk_request *r, const pk_table_listener *l, pk_question *q);
/* The same, remembered where it is the same for all that comes on a connection. */
static inline int pk_guard_lets(pk_core *core, pk_conn *c, pk_request *r, const pk_table_listener *l, pk_question *q) {
  return (l->guard == PK_GUARD_CONNECTION && c->admitted == core->epoch) || pk_guard_admits(core, c, r, l, q);
}
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

/* parts.c */
/* One of several answers to a request. */
void pk_parts_answer(pk_core *core, pk_conn *c, pk_request *r, pk_attempt *a, const uint8_t *data, const pk_frame *f);

/* Steps, each of its own file. */
extern const pk_plan_step pk_note_step, pk_limit_step, pk_reply_step, pk_delay_step, pk_abort_step, pk_filter_step, pk_key_step, pk_change_step,
    pk_mirror_step, pk_see_step;

/* What a rule has beyond the table, or NULL. */
static inline pk_rule_state *pk_state_at(const pk_table *t, const pk_plan *plan) {
  return plan->state == PK_NONE ? NULL : (pk_rule_state *)PK_AT(t, uintptr_t, t->states.at)[plan->state];
}
static inline pk_rule_state *pk_state_of(const pk_request *r) { return pk_state_at(r->to.live->table, r->plan); }

static inline void pk_message_text(pk_message *m, const pk_table *t, pk_text text) {
  pk_message_bytes(m, pk_table_text_at(t, text), text.size);
}

#endif
