/* detect.c: which protocol a client speaks, from how it begins. */
#include "core/internal.h"

/* So much of a beginning is shown to pk_codec.probe: it decides after a few bytes. */
enum { PROBED = 1024 };

/* What framing by a codec that remembers came to so far: without that, each byte more would have it begin again. */
typedef struct trial {
  int32_t said;
  uint32_t need, asked;
  alignas(16) uint8_t state[];
} trial;

/* The trials of a listener's codecs stand in pk_conn.framing, one behind the other, as long as no codec has that. */
enum { TOKEN = alignof(trial) /* bytes in front of them: of the table whose codecs they are */ };

static uint32_t trial_size(const pk_codec *codec) {
  return codec->state_size == 0 ? 0 : (uint32_t)sizeof(trial) + (codec->state_size + 15) / 16 * 16;
}

/* -1 without memory. */
static int begin_trials(pk_core *core, pk_conn *c, const pk_live *live, const pk_table_listener *l) {
  uint32_t size = 0;
  for (uint32_t i = 0; i < l->codec_count; i++) size += trial_size(pk_table_codec_at(live->table, l->codec + i));
  if (size == 0 || (c->framing != NULL && memcmp(c->framing->data, &live->token, sizeof live->token) == 0)) return 0;
  pk_chunk_free(core, c->framing);
  c->framing = pk_chunk_zeros(core, TOKEN + size);
  if (c->framing == NULL) return -1;
  memcpy(c->framing->data, &live->token, sizeof live->token);
  return 0;
}

static void end_trials(pk_core *core, pk_conn *c) {
  pk_chunk_free(core, c->framing);
  c->framing = NULL;
}

/* What the codec's framing says of the first frame. Its verdict stands, whatever comes. */
static int frame_first(const pk_codec *codec, trial *t, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  if (codec->state_size == 0) return pk_frame_alone(codec, data, size, limit, f);
  if (!t->asked || (t->said == PK_MORE && (size >= t->need || f->ended))) {
    f->need = (uint32_t)size + 1;
    f->state = t->state;
    t->said = codec->frame(codec, data, size, limit, f);
    t->need = f->need > size ? f->need : (uint32_t)size + 1;
    t->asked = 1;
  }
  f->need = t->need;
  return t->said;
}

/* What a listener's codecs say of a beginning. More bytes only take candidates out or make their frame whole:
 * so the choice depends on the bytes, not on how they came. */
typedef struct candidates {
  uint32_t possible;     /* whose beginning it is, well formed or not */
  const pk_codec *only;  /* the last of them that is sure of its beginning */
  const pk_codec *chosen; /* whose frame is whole, with none in front that is still open */
  const pk_codec *whole; /* the first with a whole frame */
  const pk_codec *fits;  /* the first that is open and sure of its beginning */
  uint32_t open, need;   /* those whose frame is not whole; the least that one of them waits for */
} candidates;

static candidates candidates_of(const pk_core *core, const pk_conn *c, const pk_table *t, const pk_table_listener *l,
                                const uint8_t *data, size_t size, int ended) {
  candidates found = {.need = UINT32_MAX};
  uint32_t limit = core->limits.frame, at = TOKEN;
  for (uint32_t i = 0; size > 0 && i < l->codec_count && found.chosen == NULL; i++) {
    const pk_codec *codec = pk_table_codec_at(t, l->codec + i);
    trial *its = codec->state_size == 0 ? NULL : (trial *)(void *)(c->framing->data + at);
    at += trial_size(codec);
    int sure = codec->probe(codec, data, size < PROBED ? size : PROBED);
    if (sure != PK_OK && sure != PK_MORE) continue;
    pk_frame f = {.from = PK_FROM_CLIENT, .ended = ended && codec->ends};
    int result = frame_first(codec, its, data, size, limit, &f);
    if (result == PK_ERR_MAGIC) continue;
    found.possible++;
    if (sure == PK_OK) found.only = codec;
    if (result == PK_OK && sure == PK_OK) {
      if (found.open == 0) found.chosen = codec;
      if (found.whole == NULL) found.whole = codec;
    } else if (result >= 0 && size < limit) {
      uint32_t need = result == PK_MORE && f.need > size ? f.need : (uint32_t)size + 1;
      if (need < found.need) found.need = need;
      if (found.fits == NULL && sure == PK_OK) found.fits = codec;
      found.open++;
    }
  }
  return found;
}

static void over_budget(pk_core *core, pk_conn *c) {
  PK_STAT_ADD(core->stats.closed_over_budget, 1);
  pk_conn_drop(core, c, PK_LOST_BUDGET, 0);
}

void pk_client_speak(pk_core *core, pk_conn *c, const pk_codec *codec) {
  c->codec = codec;
  pk_codec_hold(codec);
  c->pinned = (uint8_t)pk_codec_is_pinned(codec);
  c->named = pk_id_max(codec) > 0;
  c->serial = codec->mode == PK_MODE_PINGPONG;
  end_trials(core, c);
  if (pk_conn_remember(core, c) != 0) {
    over_budget(core, c);
    return;
  }
  pk_greeting_begin(core, c);
  pk_pinned_open(core, c, NULL);
}

enum { EARLY = 0, LATE, ENDED }; /* more may come; no more time; no more bytes */

/* Decides which protocol it speaks, from all it has sent, or that it is to be passed on. PK_MORE: *need bytes. */
static int detect(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, int when, uint32_t *need) {
  const pk_live *live = pk_conn_live(core, c);
  const pk_table_listener *l = pk_listener_of(live->table, c);
  int fallback = l != NULL && l->fallback != PK_NONE;
  candidates found = {0};
  if (l != NULL) {
    if (begin_trials(core, c, live, l) != 0) {
      over_budget(core, c);
      return PK_OK;
    }
    found = candidates_of(core, c, live->table, l, data, size, when == ENDED);
  }
  const pk_codec *codec = found.chosen;
  /* The only one left answers for itself, with its own errors. */
  if (codec == NULL && found.possible == 1 && !fallback) codec = found.only;
  if (codec == NULL && when != EARLY) codec = found.whole;
  if (codec == NULL && when == LATE && !fallback) codec = found.fits;
  if (codec != NULL) {
    pk_client_speak(core, c, codec);
    return PK_OK;
  }
  if (found.open > 0 && when == EARLY) {
    *need = found.need;
    return PK_MORE;
  }
  if (fallback) {
    end_trials(core, c);
    pk_pair_begin(core, c);
    return PK_OK;
  }
  PK_STAT_ADD(core->stats.undetected, 1);
  return PK_ERR_MAGIC;
}

int pk_detect(pk_core *core, pk_conn *c, const uint8_t *data, size_t size, uint32_t *need) {
  return detect(core, c, data, size, EARLY, need);
}

void pk_detect_now(pk_core *core, pk_conn *c, int ended) {
  const uint8_t *data = c->in == NULL ? NULL : c->in->data + c->in->start;
  uint32_t size = c->in == NULL ? 0 : c->in->end - c->in->start, need;
  c->in_need = 0;
  if (detect(core, c, data, size, ended ? ENDED : LATE, &need) != PK_OK) {
    pk_malformed_tell(core, c, data, size, 0, PK_ERR_MAGIC);
    pk_conn_close(core, c, 0);
  } else if (!pk_conn_is_pair(c)) {
    pk_conn_ready(core, c); /* framed in the next batch */
  }
}
