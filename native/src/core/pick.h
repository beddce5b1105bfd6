/* pick.h: where a request goes: what needs a connection, and how one is chosen for it. */
#ifndef PK_PICK_H
#define PK_PICK_H

#include "base/message.h"
#include "core/conn.h"

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

/* Whose share of the places its attempts are: its method's; copies are nobody's, and take nothing from the method that is copied. */
static inline uint32_t pk_places_of(const pk_target *to) { return to->client != 0 ? to->bucket : PK_BUCKETS; }

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
uint32_t pk_places_take(const pk_core *core, pk_request *r, uint32_t which, uint32_t most, uint32_t method);
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

#endif
