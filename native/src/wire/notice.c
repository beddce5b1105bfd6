/* notice.c: see notice.h. Where ids are byte strings the codec builds without one, behind the room for the whole, and
 * its splice_id puts it in. Where it has none, what it builds has the request's already, or is not said. */
#include "wire/notice.h"

#include <string.h>

#include "wire/framing.h"

/* Bytes of it, built without its id. */
static uint32_t most(const pk_codec *c, const pk_notice *n) {
  return n->kind == PK_NOTICE_ACK && n->frame->size > c->reply_max ? n->frame->size : c->reply_max;
}

uint32_t pk_notice_room(const pk_codec *c, const pk_notice *n) {
  return pk_id_max(c) > 0 ? pk_id_room(c, most(c, n)) + most(c, n) : most(c, n);
}

static int build(const pk_codec *c, const pk_notice *n, uint64_t number, uint8_t *to) {
  uint32_t room = most(c, n);
  switch (n->kind) {
    case PK_NOTICE_HEARTBEAT: return c->heartbeat(c, number, n->context, to, room);
    case PK_NOTICE_ACK: return c->heartbeat_ack(c, n->data, n->frame, to, room);
    default: break;
  }
  const pk_reply reply = {
      .id = number,
      .status = n->status,
      .context = n->context,
      .kept = n->kept,
      .text = {(const uint8_t *)n->text, n->text_size < 512 ? n->text_size : 512},
  };
  return n->kind == PK_NOTICE_ERROR ? c->error(c, &reply, to, room) : c->drain(c, &reply, to, room);
}

/* Whether it is under the id of what it answers: an error always, the answer to a heartbeat where it has an id. */
static int is_named(const pk_codec *c, const pk_notice *n, const uint8_t *data, const pk_frame *f) {
  if (n->kind == PK_NOTICE_HEARTBEAT || (n->kind == PK_NOTICE_ACK && f->id_span.at == PK_NO_ID)) return 1;
  pk_slice id = pk_id_of(c, data, f, f->size);
  if (id.data == NULL || n->id.data == NULL) return id.data == NULL && n->id.data == NULL;
  return id.size == n->id.size && memcmp(id.data, n->id.data, id.size) == 0;
}

int pk_notice_build(const pk_codec *c, const pk_notice *n, uint8_t *to) {
  if (pk_id_max(c) == 0 || n->kind == PK_NOTICE_DRAIN) return build(c, n, n->number, to); /* a drain is about no request */
  uint8_t *from = to + pk_id_room(c, most(c, n));
  int size = build(c, n, 0, from);
  if (size <= 0) return size;
  pk_frame f = {.from = n->from, .asked = n->kind == PK_NOTICE_ERROR ? n->context : 0};
  if (pk_frame_alone(c, from, (size_t)size, (uint32_t)size, &f) != PK_OK) return PK_ERR_FORMAT;
  if (c->splice_id == NULL) {
    if (!is_named(c, n, from, &f)) return PK_ERR_UNSUPPORTED;
  } else if (f.id_span.at != PK_NO_ID) {
    return n->id.data == NULL ? PK_ERR_UNSUPPORTED
                              : c->splice_id(c, from, &f, n->id.data, n->id.size, to, pk_id_room(c, (uint32_t)size));
  }
  memcpy(to, from, (size_t)size);
  return size;
}
