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

/* What a provider makes of a value that is not of the type that its method declares is what it says (a double becomes an
 * int, and a text): then it is not what is compared here. Whole numbers in the digits that they are written in read alike. */
static int is_whole(const pk_value *v, int64_t least, int64_t most) {
  int64_t number = v->integer;
  if (v->type == PK_VALUE_TEXT) {
    uint32_t at = v->bytes.size > 0 && *v->bytes.data == '-';
    uint64_t found = 0;
    if (v->bytes.size - at - 1 > 18) return 0;
    for (uint32_t i = at; i < v->bytes.size; i++) found = found * 10 + (uint64_t)(v->bytes.data[i] - '0');
    number = at ? (int64_t)(0 - found) : (int64_t)found;
    if (!is_integer(v->bytes, number)) return 0;
  }
  return (v->type == PK_VALUE_TEXT || v->type == PK_VALUE_INTEGER) && number >= least && number <= most;
}

static int is_truth(const pk_value *v) {
  return v->type == PK_VALUE_BOOLEAN || (v->type == PK_VALUE_TEXT && (SAME(v->bytes, "true") || SAME(v->bytes, "false")));
}

static int is_one_unit(const pk_value *v) {
  return v->type == PK_VALUE_TEXT && first_of(v->bytes) == v->bytes.size && v->bytes.size > 0 && v->bytes.size < 4;
}

/* A type's letter in descriptors, lower case of what may be null; 's' of texts, 0 of all others. */
static char kind_of(pk_slice type) {
  static const struct {
    uint8_t size;
    char name[10], kind;
  } boxed[] = {{6, "String", 's'}, {4, "Long", 'j'}, {7, "Integer", 'i'}, {7, "Boolean", 'z'},
               {5, "Short", 'h'}, {4, "Byte", 'b'}, {9, "Character", 'c'}},
    plain[] = {{4, "long", 'J'}, {3, "int", 'I'}, {7, "boolean", 'Z'}, {5, "short", 'S'}, {4, "byte", 'B'}, {4, "char", 'C'}};
  if (type.size == 0) return 0;
  const uint8_t *at = type.data, *end = at + type.size;
  if (type.size == 1) return memchr("BSIJZC", *at, 6) != NULL ? (char)*at : 0;
  int described = type.size > 12 && *at == 'L' && end[-1] == ';';
  if (described) at++, end--;
  if (end - at > 10 && memcmp(at, described ? "java/lang/" : "java.lang.", 10) == 0) {
    at += 10;
    for (uint32_t i = 0; i < sizeof boxed / sizeof *boxed; i++)
      if (end - at == boxed[i].size && memcmp(at, boxed[i].name, boxed[i].size) == 0) return boxed[i].kind;
    return 0;
  }
  for (uint32_t i = 0; i < sizeof plain / sizeof *plain; i++)
    if (end - at == plain[i].size && memcmp(at, plain[i].name, plain[i].size) == 0) return plain[i].kind;
  return 0;
}

static int is_as_declared(pk_slice type, const pk_value *v) {
  char kind = kind_of(type);
  if (v->type == PK_VALUE_NULL) return kind == 0 || kind > 'Z';
  switch (kind) {
    case 'B': case 'b': return is_whole(v, INT8_MIN, INT8_MAX);
    case 'S': case 'h': return is_whole(v, INT16_MIN, INT16_MAX);
    case 'I': case 'i': return is_whole(v, INT32_MIN, INT32_MAX);
    case 'J': case 'j': return is_whole(v, INT64_MIN, INT64_MAX);
    case 'Z': case 'z': return is_truth(v);
    case 'C': case 'c': return is_one_unit(v);
    case 's': return v->type != PK_VALUE_NUMBER && v->type != PK_VALUE_OTHER;
    default: return 1;
  }
}

/* As what a generic call says of its second argument that argument is; *type has no data where it says nothing. What its
 * provider reads otherwise than it stands there may be any type. *any: it says nothing of any (null): then its provider takes the
 * only method of that name, and makes of each argument what that declares. */
static int type_said(const layout *l, const uint8_t *data, const pk_frame *f, pk_slice index, pk_slice *type, int *any) {
  reader r;
  dubbo_front front;
  pk_value said;
  *type = (pk_slice){NULL, 0};
  pk_values_open(&r.h, data + DUBBO_HEADER, data + f->size);
  int result = dubbo_names(l, &r, &front);
  r.arguments = r.h.at;
  r.alike = 0;
  if (result == PK_OK) result = l->argument(&r, type);
  *type = (pk_slice){NULL, 0};
  reader whole = r;
  *any = result == PK_OK && l->value(&whole, *type, &said) == PK_OK && said.type == PK_VALUE_NULL;
  if (result == PK_OK) result = l->inside(&r, &index, 1, &said);
  if (result == PK_OK && said.type == PK_VALUE_TEXT) *type = said.bytes;
  return result == PK_MORE ? PK_OK : result;
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
  if (generic + count == 0) {
    pk_slice type = type_of(front.descriptor, index);
    result = l->value(&r, type, out);
    return result == PK_OK && !is_as_declared(type, out) ? PK_ERR_LIMIT : result;
  }
  if (generic) path[0] = decimal(index, digits);
  r.alike = (generic ? ALIKE_SETTER : 0) | (f->context == SERIALIZATION_FASTJSON ? ALIKE_FOLDED : 0);
  for (uint32_t i = 0; i < count; i++) path[generic + i] = keys[i];
  result = l->inside(&r, path, generic + count, out);
  if (result != PK_OK || count > 0) return result;
  pk_slice type;
  int any;
  if ((result = type_said(l, data, f, path[0], &type, &any)) != PK_OK) return result;
  if (any) return out->type == PK_VALUE_NULL ? PK_OK : PK_ERR_LIMIT;
  return is_as_declared(type, out) ? PK_OK : PK_ERR_LIMIT;
}

int dubbo_argument(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t index, pk_value *out) {
  return dubbo_inside(codec, data, f, index, NULL, 0, out);
}
