/* codec_check.c: see codec_check.h. */
#include "wire/codec_check.h"

#include "wire/ident.h"

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
  uint32_t clients = ((1u << c->greeting_steps) - 1) & ~c->greeting_server;
  if (PK_CODEC_HAS(c, greeting_optional) && (c->greeting_optional & ~clients)) return "its greeting_optional names a step that is no client's";
  if (PK_CODEC_HAS(c, greeting_relayed) && c->greeting_relayed && (!c->pinned || c->greeting_steps > 0))
    return "greetings are relayed where it is pinned and has no steps of its own";
  if (pk_id_max(c) > PK_ID_MAX) return "its ids are longer than 64 bytes";
  if (pk_id_max(c) > 0) {
    if (c->id_bytes == 0) return "its ids are byte strings, and its id_bytes are 0";
    if (c->splice_id == NULL) return "its ids are byte strings, and it has no splice_id";
    if (c->id_form > PK_ID_MSGPACK) return "its id_form is none of PK_ID_*";
    if (pk_id_digits(c->id_form, c->id_bytes) > c->id_max)
      return "numbers of id_bytes bytes, as id_form writes them, are longer than id_max";
    if (c->id_form == PK_ID_UUID && (!c->id_fixed || c->id_max != 36)) return "a UUID always has 36 bytes";
  }
  if (c->state_size > PK_STATE_MAX) return "its state_size is over 4096 bytes";
  if (c->keep_max > PK_KEEP_MAX || (c->keep == NULL) != (c->keep_max == 0))
    return "its keep_max is over 256 bytes, or it has no keep, or keeps nothing";
  if (c->reply_max == 0 || c->reply_max > 65536) return "its reply_max is not in 1..65536";
  return NULL;
}
