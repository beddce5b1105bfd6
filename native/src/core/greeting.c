/* greeting.c: what peers say before requests (pk_codec.greeting): the server's part towards clients, the
 * client's part towards servers. */
#include "core/internal.h"

static uint32_t steps_of(const pk_codec *codec) {
  return codec != NULL ? codec->greeting_steps : 0;
}

static int is_ours(const pk_conn *c) {
  uint32_t step = steps_of(c->codec) - c->greeting;
  return (c->codec->greeting_server >> step & 1) == (uint32_t)pk_conn_is_client(c);
}

/* Say what is ours to say now. */
static void say(pk_core *core, pk_conn *c, const uint8_t *said, const pk_frame *f) {
  while (c->greeting > 0 && is_ours(c)) {
    const pk_codec *codec = c->codec;
    uint8_t *to = pk_out_reserve(core, c, codec->reply_max);
    uint32_t step = steps_of(codec) - c->greeting;
    int size = to == NULL ? -1 : codec->greeting(codec, step, c->context, said, f, to, codec->reply_max);
    if (size < 0) {
      PK_STAT_ADD(core->stats.closed_over_budget, 1);
      pk_conn_close(core, c, 1);
      return;
    }
    pk_out_commit(core, c, (uint32_t)size);
    c->greeting--;
  }
}

void pk_greeting_begin(pk_core *core, pk_conn *c) {
  c->greeting = (uint8_t)steps_of(c->codec);
  say(core, c, NULL, NULL);
}

static int may_be_left_out(const pk_codec *codec, uint32_t step) {
  return PK_CODEC_HAS(codec, greeting_optional) && (codec->greeting_optional >> step & 1);
}

void pk_greeting_skip(pk_core *core, pk_conn *c) {
  while (c->greeting > 0 && !is_ours(c) && may_be_left_out(c->codec, steps_of(c->codec) - c->greeting)) {
    c->greeting--;
    say(core, c, NULL, NULL);
  }
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
  if (c->greeting == 0) {
    unexpected(core, c);
    return;
  }
  if (f->status > PK_STATUS_APP_ERROR) {
    PK_STAT_ADD(core->stats.greetings_refused, 1);
    c->lost = PK_LOST_REFUSED;
    pk_conn_close(core, c, 0);
    return;
  }
  c->context = f->context;
  c->greeting--; /* whoever's turn it is not has said all: it is the peer's */
  say(core, c, data, f);
  if (c->greeting == 0 && c->state == PK_CONN_GREETING) pk_conn_opened(core, c);
}
