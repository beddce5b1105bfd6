/* request.h: what a Dubbo request's body says of its destination. */
#ifndef DUBBO_REQUEST_H
#define DUBBO_REQUEST_H

#include <protokit/codec.h>

enum { DUBBO_HEADER = 16 };
enum { SERIALIZATION_HESSIAN2 = 2, SERIALIZATION_NATIVE_HESSIAN = 10, SERIALIZATION_FASTJSON2 = 23 };

int dubbo_destination(const pk_codec *codec, const uint8_t *data, const pk_frame *f,
                      pk_destination *out);
int dubbo_next_header(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_cursor *c,
                      pk_header *out);

#endif
