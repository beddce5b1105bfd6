/* arguments.c: the arguments of a call, and what is inside of them. Those of a generic one are the items of the list that is
 * its third. */
#include "request.h"

enum { GENERIC_ARGUMENTS = 3, DIGITS = 10 };

/* A parameter's type as a descriptor has it, which names one more at least. */
static pk_slice type_of(pk_slice descriptor, uint32_t index) {
  const uint8_t *at = descriptor.data, *from = at;
  for (uint32_t i = 0; i <= index; i++) {
    from = at;
    while (*at == '[') at++;
    if (*at == 'L') at = memchr(at, ';', descriptor.size - (size_t)(at - descriptor.data));
    at++;
  }
  return (pk_slice){from, (uint32_t)(at - from)};
}

static pk_slice decimal(uint32_t number, uint8_t digits[DIGITS]) {
  uint32_t at = DIGITS;
  do digits[--at] = (uint8_t)('0' + number % 10);
  while ((number /= 10) > 0);
  return (pk_slice){digits + at, DIGITS - at};
}

int dubbo_inside(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t index, const pk_slice *keys,
                 uint32_t count, pk_value *out) {
  const layout *l = dubbo_layout(f->context);
  reader r;
  dubbo_front front;
  pk_slice ignored, path[DUBBO_KEYS];
  uint8_t digits[DIGITS];
  (void)codec;
  if (l == NULL || count > PK_INSIDE_KEYS) return PK_ERR_UNSUPPORTED;
  pk_values_open(&r.h, data + DUBBO_HEADER, data + f->size);
  int result = dubbo_names(l, &r, &front);
  if (result != PK_OK) return result;
  r.arguments = r.h.at;
  uint32_t generic = front.arguments == GENERIC_ARGUMENTS && dubbo_is_generic(front.method);
  uint32_t at = generic ? GENERIC_ARGUMENTS - 1 : index;
  if (at >= (uint32_t)front.arguments) return PK_MORE;
  for (uint32_t i = 0; i < at; i++) {
    result = l == &hessian_layout ? pk_values_skip(&r.h, &pk_hessian2) : l->argument(&r, &ignored);
    if (result != PK_OK && result != PK_ERR_UNSUPPORTED) return result;
  }
  if (generic + count == 0) return l->value(&r, type_of(front.descriptor, index), out);
  if (generic) path[0] = decimal(index, digits);
  for (uint32_t i = 0; i < count; i++) path[generic + i] = keys[i];
  return l->inside(&r, path, generic + count, out);
}

int dubbo_argument(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t index, pk_value *out) {
  return dubbo_inside(codec, data, f, index, NULL, 0, out);
}
