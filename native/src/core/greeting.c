/* greeting.c: what peers say before requests (pk_codec.greeting): the server's part towards clients, the
 * client's part towards servers. */
#include "core/internal.h"

static uint32_t steps_of(const pk_codec *codec) {
  return codec != NULL ? codec->greeting_steps : 0;
}

static uint32_t step_of(const pk_conn *c) { return steps_of(c->codec) - c->greeting; }

static int is_ours(const pk_conn *c) {
  return (c->codec->greeting_server >> step_of(c) & 1) == (uint32_t)pk_conn_is_client(c);
}

static int may_be_left_out(const pk_codec *codec, uint32_t step) {
  return PK_CODEC_HAS(codec, greeting_optional) && (codec->greeting_optional >> step & 1);
}

static int goes_with(const pk_codec *codec, uint32_t step) {
  return PK_CODEC_HAS(codec, greeting_with) && (codec->greeting_with >> step & 1);
}

/* A step is over, and where it was left out also what goes with it. */
static void next(pk_conn *c, int was_said) {
  do c->greeting--;
  while (!was_said && c->greeting > 0 && goes_with(c->codec, step_of(c)));
}

/* Say what is ours to say now, in front of step `to`. */
static void say(pk_core *core, pk_conn *c, uint32_t to, const uint8_t *said, const pk_frame *f) {
  while (c->greeting > 0 && step_of(c) < to && is_ours(c)) {
    const pk_codec *codec = c->codec;
    uint8_t *out = pk_out_reserve(core, c, codec->reply_max);
    int size = out == NULL ? -1 : codec->greeting(codec, step_of(c), c->context, said, f, out, codec->reply_max);
    if (size < 0) {
      PK_STAT_ADD(core->stats.closed_over_budget, 1);
      pk_conn_close(core, c, 1);
      return;
    }
    pk_out_commit(core, c, (uint32_t)size);
    next(c, size > 0);
  }
}

void pk_greeting_begin(pk_core *core, pk_conn *c) {
  c->greeting = (uint8_t)steps_of(c->codec);
  say(core, c, PK_GREETING_STEPS, NULL, NULL);
}

/* The peer leaves out what it may, up to step `to`, and hears what is said between. */
static void skip(pk_core *core, pk_conn *c, uint32_t to) {
  while (c->greeting > 0 && step_of(c) < to && !is_ours(c) && may_be_left_out(c->codec, step_of(c))) {
    next(c, 0);
    say(core, c, to, NULL, NULL);
  }
}

void pk_greeting_skip(pk_core *core, pk_conn *c) { skip(core, c, PK_GREETING_STEPS); }

/* Which step the peer says by this. A server's answer is the one that it has to say. */
static int said_by(const pk_codec *codec, uint32_t step, const uint8_t *data, const pk_frame *f) {
  if (f->kind == PK_KIND_GREETING)
    return PK_CODEC_HAS(codec, greeting_step) && codec->greeting_step != NULL ? codec->greeting_step(codec, step, data, f)
                                                                              : (int)step;
  while (may_be_left_out(codec, step)) do step++; while (goes_with(codec, step));
  return (int)step;
}

/* Whether it is the peer's turn to say this. */
static int is_next(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  if (c->greeting == 0) return 0;
  int step = said_by(c->codec, step_of(c), data, f);
  if (step < 0) return 0;
  skip(core, c, (uint32_t)step);
  return c->greeting > 0 && step_of(c) == (uint32_t)step && !is_ours(c);
}

static void unexpected(pk_core *core, pk_conn *c) {
  if (pk_conn_is_client(c)) {
    PK_STAT_ADD(core->stats.protocol_errors_client, 1);
    pk_conn_flush(core, c);
  } else if (pk_conn_is_opening(c)) {
    PK_STAT_ADD(core->stats.protocol_errors_upstream, 1);
    pk_conn_close(core, c, 1);
  } /* behind its time from a server: nobody waits for it */
}

void pk_greeting_frame(pk_core *core, pk_conn *c, const uint8_t *data, const pk_frame *f) {
  if (c->greeting > 0 && f->status > (f->kind == PK_KIND_GREETING ? PK_STATUS_APP_ERROR : PK_STATUS_OK)) {
    PK_STAT_ADD(core->stats.greetings_refused, 1);
    c->lost = PK_LOST_REFUSED;
    pk_conn_close(core, c, 0);
    return;
  }
  if (!is_next(core, c, data, f)) {
    unexpected(core, c);
    return;
  }
  c->context = f->context;
  next(c, 1);
  say(core, c, PK_GREETING_STEPS, data, f);
  if (c->greeting == 0 && c->state == PK_CONN_GREETING) pk_conn_opened(core, c);
}
