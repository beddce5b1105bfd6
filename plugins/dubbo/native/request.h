/* request.h: what a Dubbo request's body says of its destination. */
#ifndef DUBBO_REQUEST_H
#define DUBBO_REQUEST_H

#include "layout.h"

enum { DUBBO_HEADER = 16 };
enum {
  SERIALIZATION_HESSIAN2 = 2,
  SERIALIZATION_FASTJSON = 6,
  SERIALIZATION_NATIVE_HESSIAN = 10,
  SERIALIZATION_GSON = 16,
  SERIALIZATION_PROTOBUF = 22,
  SERIALIZATION_FASTJSON2 = 23
};

/* A request's body up to its attachments: what it says, and where each item begins. */
typedef struct dubbo_front {
  pk_slice path, version, method; /* method: of a generic call, the one it names */
  const uint8_t *path_at, *version_at, *method_at, *rest_at, *attachments_at;
  int generic;
} dubbo_front;

/* NULL for serializations that cannot be read without the classes. */
const layout *dubbo_layout(uint32_t serialization);
/* `r` stands at the attachments then. */
int dubbo_front_of(const layout *l, const uint8_t *data, const pk_frame *f, reader *r,
                   dubbo_front *out);

int dubbo_destination(const pk_codec *codec, const uint8_t *data, const pk_frame *f,
                      pk_destination *out);
int dubbo_next_header(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_cursor *c,
                      pk_header *out);

int dubbo_edit(const pk_codec *codec, const uint8_t *data, const pk_frame *f, const pk_edit *edits,
               uint32_t count, uint8_t *out, size_t cap);

#endif
