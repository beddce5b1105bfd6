/* codec_check.c: see codec_check.h. */
#include "wire/codec_check.h"

#include "wire/ident.h"

/* Steps of a greeting that may be left out. What a server leaves out is told by a later step that it has to say. */
static const char *bad_options(const pk_codec *c) {
  uint32_t all = (1u << c->greeting_steps) - 1, optional = PK_CODEC_HAS(c, greeting_optional) ? c->greeting_optional : 0;
  uint32_t with = PK_CODEC_HAS(c, greeting_with) ? c->greeting_with : 0, told = 0;
  if ((optional | with) & ~all) return "its greeting_optional or greeting_with names a step that there is not";
  if (with & ~((optional | with) << 1)) return "its greeting_with names a step behind one that is never left out";
  if (with & optional) return "its greeting_with names a step that may be left out alone";
  for (uint32_t step = c->greeting_steps; step-- > 0;) {
    uint32_t bit = 1u << step;
    if (!(c->greeting_server & bit)) continue;
    if (!((optional | with) & bit)) told = PK_CODEC_HAS(c, greeting_step) && c->greeting_step != NULL;
    if ((optional & bit) && !told) return "its greeting_optional names a step of the server's, and nothing tells that it was left out";
  }
  return NULL;
}

const char *pk_codec_check(uintptr_t address) {
  const pk_codec *c = (const pk_codec *)address;
  if (c == NULL) return "its address is 0";
  if (c->abi != PK_CODEC_ABI) return "it was built for another version of the codec ABI";
  if (!PK_CODEC_HAS(c, argument)) return "its pk_codec is shorter than any that this engine knows";
  if (c->name == NULL) return "it has no name";
  if (c->mode > PK_MODE_PINGPONG) return "its mode is none of PK_MODE_*";
  if (c->id_bytes > 8) return "its ids are wider than 8 bytes";
  if (c->mode == PK_MODE_MULTIPLEXED && c->id_bytes == 0) return "PK_MODE_MULTIPLEXED needs ids";
  if (c->reserved_count > 4) return "it reserves more than 4 ids";
  if (c->probe == NULL || c->frame == NULL || c->destination == NULL || c->next_header == NULL ||
      c->heartbeat == NULL || c->heartbeat_ack == NULL || c->drain == NULL || c->error == NULL)
    return "a function is missing";
  if (c->greeting_steps > PK_GREETING_STEPS || (c->greeting == NULL) != (c->greeting_steps == 0))
    return "its greeting has more than 16 steps, or none to build";
  const char *why = bad_options(c);
  if (why != NULL) return why;
  if (PK_CODEC_HAS(c, greeting_relayed) && c->greeting_relayed > PK_RELAYED_SERVER_FIRST) return "greeting_relayed is 0, 1 or 2";
  if (PK_CODEC_HAS(c, greeting_relayed) && c->greeting_relayed && (!c->pinned || c->greeting_steps > 0))
    return "greetings are relayed where it is pinned and has no steps of its own";
  if (pk_id_max(c) > PK_ID_MAX) return "its ids are longer than 64 bytes";
  if (pk_id_max(c) > 0) {
    if (c->id_bytes == 0) return "its ids are byte strings, and its id_bytes are 0";
    if (c->id_form > PK_ID_INTEGER) return "its id_form is none of PK_ID_*";
    if (c->splice_id != NULL && pk_id_digits(c->id_form, c->id_bytes) > c->id_max)
      return "numbers of id_bytes bytes, as id_form writes them, are longer than id_max";
    if (c->id_form == PK_ID_UUID && (!c->id_fixed || c->id_max != 36)) return "a UUID always has 36 bytes";
  }
  if (c->state_size > PK_STATE_MAX) return "its state_size is over 4096 bytes";
  if (c->keep_max > PK_KEEP_MAX || (c->keep == NULL) != (c->keep_max == 0))
    return "its keep_max is over 256 bytes, or it has no keep, or keeps nothing";
  if (c->reply_max == 0 || c->reply_max > 65536) return "its reply_max is not in 1..65536";
  return NULL;
}
