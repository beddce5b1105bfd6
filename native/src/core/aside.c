/* aside.c: requests that a step of their rule lets wait: for filters, for a delay, for their next try.
 *
 * They are counted by rule and apart from those in flight, and hold a share of the memory at most: whatever they wait for,
 * they cost other rules nothing. */
#include "core/internal.h"

/* Bytes that all of them may hold: a quarter of the budget, or else two frames. */
static uint64_t share(const pk_limits *l) { return l->buffer / 4 > 2ull * l->frame ? l->buffer / 4 : 2ull * l->frame; }

uint64_t pk_aside_cost(uint32_t size) { return sizeof(pk_request) + sizeof(pk_held) + size; }

int pk_aside_begin(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f, pk_aside *of,
                   const char *too_many, const char *too_large) {
  int room = pk_aside_room(core, of, f->size);
  if (room == PK_ASIDE_FITS && r->held == NULL && pk_request_hold(core, r, data, f) != 0) room = PK_ASIDE_LARGE;
  if (room != PK_ASIDE_FITS && too_many != NULL) {
    int many = room == PK_ASIDE_MANY;
    pk_request_overloaded(core, r, many ? too_many : too_large, many ? core->limits.filters : share(&core->limits));
  }
  if (room != PK_ASIDE_FITS) return too_many == NULL ? PK_STEP_ON : PK_STEP_OVER;
  pk_aside_take(core, r, of);
  return PK_STEP_WAITS;
}

int pk_aside_room(const pk_core *core, const pk_aside *of, uint64_t size) {
  if (of->requests >= core->limits.filters) return PK_ASIDE_MANY;
  /* A rule may hold as much as it leaves free: whoever comes behind one that holds much still finds room. */
  uint64_t bytes = sizeof(pk_request) + sizeof(pk_held) + size;
  return core->aside_bytes + of->bytes + bytes <= share(&core->limits) ? PK_ASIDE_FITS : PK_ASIDE_LARGE;
}

void pk_aside_take(pk_core *core, pk_request *r, pk_aside *of) {
  uint64_t bytes = pk_aside_cost(r->held->capacity);
  r->state = PK_REQUEST_WAITING;
  pk_codec_hold(r->to.codec); /* a one-way request outlives its client */
  of->requests++;
  of->bytes += bytes;
  core->aside++;
  core->aside_bytes += bytes;
}

void pk_aside_end(pk_core *core, pk_request *r, pk_aside *of) {
  r->state = PK_REQUEST_NEW;
  of->requests--;
  of->bytes -= pk_aside_cost(r->held->capacity);
  core->aside--;
}

void pk_aside_free(pk_core *core, const pk_held *h) { core->aside_bytes -= pk_aside_cost(h->capacity); }

int pk_aside_returns(pk_core *core, pk_request *r) {
  if (core->request_count - core->aside <= core->limits.in_flight) return 1;
  pk_request_overloaded(core, r, "requests in flight of this worker are at the limit of ", core->limits.in_flight);
  return 0;
}

static void waits_no_more(pk_core *core, pk_request *r, pk_aside *of) {
  pk_aside_end(core, r, of);
  pk_aside_free(core, r->held);
}

void pk_aside_cancel(pk_core *core, pk_request *r, pk_aside *of) {
  waits_no_more(core, r, of);
  pk_codec_release(r->to.codec);
}

void pk_aside_due(pk_core *core, pk_request *r, pk_aside *of, const char *late) {
  if (core->now / PK_MS >= pk_request_deadline(r)) {
    pk_request_late(core, r, late, NULL, r->timeout_ms);
    return;
  }
  const pk_codec *codec = r->to.codec;
  waits_no_more(core, r, of);
  if (pk_aside_returns(core, r)) pk_request_go_on(core, r);
  pk_codec_release(codec);
}
