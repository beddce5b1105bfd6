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

static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c; }

/* Past the first character. */
static uint32_t first_of(pk_slice s) {
  uint32_t size = s.size > 0;
  while (size < s.size && (s.data[size] & 0xc0) == 0x80) size++;
  return size;
}

/* Those that are upper case in ASCII, without a dot and the long one. */
static uint8_t initial(pk_slice s, uint32_t size) {
  if (size == 2 && memcmp(s.data, "\xc4\xb1", 2) == 0) return 'i';
  if (size == 2 && memcmp(s.data, "\xc5\xbf", 2) == 0) return 's';
  return lower(*s.data);
}

/* Of other alphabets any two characters may be one, but for those from kana and Chinese ones on, which have one case. */
static int same_setter(pk_slice a, pk_slice b) {
  uint32_t in_a = first_of(a), in_b = first_of(b);
  if (in_a == 0 || in_b == 0 || a.size - in_a != b.size - in_b) return 0;
  if (memcmp(a.data + in_a, b.data + in_b, a.size - in_a) != 0) return 0;
  uint8_t of_a = initial(a, in_a), of_b = initial(b, in_b);
  return of_a < 0x80 || of_b < 0x80 ? of_a == of_b : of_a < 0xe3 && of_b < 0xe3;
}

static int same_folded(pk_slice a, pk_slice b) {
  for (uint32_t i = 0, k = 0;; i++, k++) {
    while (i < a.size && (a.data[i] == '_' || a.data[i] == '-')) i++;
    while (k < b.size && (b.data[k] == '_' || b.data[k] == '-')) k++;
    if (i == a.size || k == b.size) return i == a.size && k == b.size;
    if (lower(a.data[i]) != lower(b.data[k])) return 0;
  }
}

int dubbo_may_be_key(int alike, pk_slice name, pk_slice key) {
  if (alike & ALIKE_SETTER && same_setter(name, key)) return 1;
  if (!(alike & ALIKE_FOLDED) || key.size == 0) return 0;
  if (same_folded(name, key)) return 1;
  return name.size > 2 && memcmp(name.data, "is", 2) == 0 && same_folded((pk_slice){name.data + 2, name.size - 2}, key);
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
  r.alike = (generic ? ALIKE_SETTER : 0) | (f->context == SERIALIZATION_FASTJSON ? ALIKE_FOLDED : 0);
  for (uint32_t i = 0; i < count; i++) path[generic + i] = keys[i];
  return l->inside(&r, path, generic + count, out);
}

int dubbo_argument(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t index, pk_value *out) {
  return dubbo_inside(codec, data, f, index, NULL, 0, out);
}
