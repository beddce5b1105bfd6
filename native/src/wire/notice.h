/* notice.h: messages of the proxy's own: a heartbeat, the answer to one, a drain, an error. The codec builds them. */
#ifndef PK_NOTICE_H
#define PK_NOTICE_H

#include "wire/ident.h"

enum { PK_NOTICE_HEARTBEAT = 0, PK_NOTICE_ACK, PK_NOTICE_DRAIN, PK_NOTICE_ERROR };

typedef struct pk_notice {
  uint32_t kind;      /* PK_NOTICE_* */
  uint8_t from;       /* PK_FROM_*: who says it */
  uint32_t context;   /* of the request, or the last frame; of a heartbeat its connection's key */
  uint64_t number;    /* its id, where ids are integers */
  pk_slice id;        /* where they are byte strings; no data: it has none */
  uint32_t status;    /* of an error */
  uint32_t text_size; /* up to 512 bytes are said */
  const char *text;
  pk_slice kept;      /* what was kept of the request */
  const uint8_t *data; /* the heartbeat that is answered, a whole frame */
  const pk_frame *frame;
} pk_notice;

/* Bytes that building it may take. */
uint32_t pk_notice_room(const pk_codec *c, const pk_notice *n);
/* Build it at `to`; its size, or 0 or less: there is none. */
int pk_notice_build(const pk_codec *c, const pk_notice *n, uint8_t *to);

#endif
