/* request.h: what the bodies of Dubbo's requests and answers say. request.c: item by item; destination.c: where a
 * request goes; arguments.c; attachments.c: of both; edit.c: both with changes. */
#ifndef DUBBO_REQUEST_H
#define DUBBO_REQUEST_H

#include <string.h>

#include "layout.h"

static inline int same_as(pk_slice s, const char *text, uint32_t size) {
  return s.size == size && memcmp(s.data, text, size) == 0;
}
#define SAME(slice, literal) same_as(slice, literal, (uint32_t)sizeof(literal) - 1)

static inline int dubbo_same_text(pk_slice a, pk_slice b) {
  return a.data != NULL && b.data != NULL && a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

enum { DUBBO_HEADER = 16 };
enum { DUBBO_STATUS_OK = 20 };
enum { DUBBO_KEYS = PK_INSIDE_KEYS + 1 }; /* of a generic call, in front the argument's number */
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
  pk_slice descriptor;
  const uint8_t *path_at, *version_at, *method_at, *rest_at, *attachments_at;
  int arguments; /* as many as the descriptor names */
  int generic;
} dubbo_front;

static inline int dubbo_is_generic(pk_slice method) { return SAME(method, "$invoke") || SAME(method, "$invokeAsync"); }

/* NULL for serializations that cannot be read without the classes. */
const layout *dubbo_layout(uint32_t serialization);
/* Up to the descriptor; then past the arguments. */
int dubbo_names(const layout *l, reader *r, dubbo_front *f);
int dubbo_arguments(const layout *l, reader *r, dubbo_front *f);
/* Both; `r` stands at the attachments then. */
int dubbo_front_of(const layout *l, const uint8_t *data, const pk_frame *f, reader *r,
                   dubbo_front *out);

int dubbo_destination(const pk_codec *codec, const uint8_t *data, const pk_frame *f,
                      pk_destination *out);
int dubbo_destination_headers(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_destination *out,
                              const pk_wanted *wanted, pk_headers *found);
int dubbo_headers(const pk_codec *codec, const uint8_t *data, const pk_frame *f, const pk_wanted *wanted, pk_headers *found);
int dubbo_next_header(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_cursor *c,
                      pk_header *out);

int dubbo_header(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_slice key, pk_header *out);
int dubbo_argument(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t index, pk_value *out);
int dubbo_inside(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t index, const pk_slice *keys,
                 uint32_t count, pk_value *out);
/* In front of the attachments of a request or an answer. PK_MORE: an answer that can have none. */
int dubbo_attachments_at(const layout *l, const uint8_t *data, const pk_frame *f, reader *r);

int dubbo_edit(const pk_codec *codec, const uint8_t *data, const pk_frame *f, const pk_edit *edits,
               uint32_t count, uint8_t *out, size_t cap);
int dubbo_budget(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t ms, uint8_t *out, size_t cap);

#endif
