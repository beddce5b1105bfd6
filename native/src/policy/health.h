/* health.h: whether an endpoint gets its share. Pure: what happened and when goes in, a verdict comes out; it knows
 * neither clock nor connection.
 *
 *   well       gets its share
 *   unreached  connecting failed: only connections that are open already are used
 *   suspect    takes connections and answers nothing: one request at a time shows whether it does again. Only
 *              something heard from it ends that, never a new connection
 *
 * Both are tried again at `retry_at`, which each failure puts further off. An endpoint can be both. */
#ifndef PK_HEALTH_H
#define PK_HEALTH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* How an endpoint is. */
enum {
  PK_WELL = 0,
  PK_ILL_REFUSED,   /* connecting failed */
  PK_ILL_TIMED_OUT, /* nothing came of connecting in the time for it */
  PK_ILL_GREETING,  /* it refused the greeting, or closed during it */
  PK_ILL_SILENT,    /* calls ran out of time, or a heartbeat, and it said nothing at all */
  PK_ILL_CLOSING,   /* it closed instead of answering, without a word */
  PK_ILL_EJECTED,   /* it answers, but badly (outlier.h): left out for a while */
  PK_ILL_FAILING    /* its health checks fail (check.h) */
};

typedef struct pk_health {
  uint64_t retry_at; /* ns */
  uint64_t heard;    /* ns: the last frame of it, on any connection; 0: none yet */
  uint64_t unanswered_since; /* ns: when the first call was sent that ran out of time since then */
  uint64_t draining_until;   /* ns: used only where there is no other */
  uint32_t failures;         /* since it was last heard */
  /* These four are looked at together. */
  uint8_t unreached, suspect; /* PK_ILL_*: why, or 0 */
  uint8_t ejected;            /* for a while, which may be over */
  uint8_t failing;            /* its health checks say so */
  uint8_t beats;              /* it has answered a heartbeat: no answer to one means something */
} pk_health;
_Static_assert(offsetof(pk_health, failing) == offsetof(pk_health, unreached) + 3, "they stand together");

static inline int pk_health_well(const pk_health *h, uint64_t now) {
  uint32_t ill;
  memcpy(&ill, &h->unreached, sizeof ill);
  return ill == 0 && h->draining_until <= now;
}

/* What a failure of each kind puts off, ms: the first time, and at most. A try to connect costs nobody anything,
 * one of a suspect costs somebody his request. */
static inline uint64_t pk_health_wait(uint8_t why, uint32_t failures) {
  uint64_t first = why == PK_ILL_SILENT ? 1000 : 50, most = why < PK_ILL_SILENT ? 2000 : 30000;
  uint64_t wait = failures < 16 ? first << failures : most;
  return wait < most ? wait : most;
}

/* 1: something new to tell. */
static inline int pk_health_failed(pk_health *h, uint8_t why, uint64_t now) {
  uint8_t *state = why < PK_ILL_SILENT ? &h->unreached : &h->suspect;
  int tell = !*state && !h->suspect;
  *state = why;
  if (now < h->retry_at) return tell; /* the same failure, seen once more */
  h->retry_at = now + pk_health_wait(why, h->failures) * 1000000u;
  h->failures++;
  return tell;
}

/* A call sent at `sent` ran out of time; nothing was heard since `heard`, whose silence may last `patience`, all ns. */
static inline int pk_health_unanswered(pk_health *h, uint64_t sent, uint64_t heard, uint64_t patience, uint64_t now) {
  if (heard >= sent) return 0;
  if (h->unanswered_since <= heard) h->unanswered_since = sent;
  if (!h->suspect && now - h->unanswered_since < patience) return 0;
  return pk_health_failed(h, PK_ILL_SILENT, now);
}

enum { PK_HEALTH_HELD_MS = 10000, PK_HEALTH_HELD_TIMES = 5 };

/* Whether a suspect whose time has come may have a request. What is under way there is a trial already, but what is never
 * answered holds others back only for so long, however much time its callers gave it. */
static inline int pk_health_may_try(const pk_health *h, uint32_t under_way, uint64_t now) {
  if (h->failures >= PK_HEALTH_HELD_TIMES) return 1; /* heartbeats put it off as fast as it comes */
  return under_way == 0 || now >= h->retry_at + PK_HEALTH_HELD_MS * UINT64_C(1000000);
}

/* A suspect gets a request: its trial, which failed until something is heard, however it ends. Who asked may leave
 * before, or take another's answer, and the server may close a connection that it once answered on. */
static inline void pk_health_tried(pk_health *h, uint64_t now) { pk_health_failed(h, h->suspect, now); }

/* A connection opened. 1: it is well again. */
static inline int pk_health_opened(pk_health *h) {
  int tell = h->unreached && !h->suspect;
  if (h->unreached) h->beats = 0; /* who listens there now may be another */
  h->unreached = 0;
  return tell;
}

/* It said something that only who lives says. 1: that is new; it may be that it still cannot be reached. */
static inline int pk_health_heard(pk_health *h, uint64_t now) {
  h->heard = now;
  if (h->failures == 0 && !h->suspect) return 0;
  int tell = h->suspect != 0;
  if (h->suspect) h->retry_at = now; /* what fails next is no part of that */
  h->failures = 0;
  h->suspect = 0;
  return tell;
}

#endif
