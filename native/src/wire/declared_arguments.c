/* declared_arguments.c: arguments of calls, by the views that a declaration says. */
#include "wire/declared.h"

/* Digits, behind a minus or not, of 64 bits. */
static int integer(pk_slice text, int64_t *out) {
  uint32_t at = text.size > 0 && text.data[0] == '-';
  uint64_t v = 0, most = (uint64_t)INT64_MAX + at;
  if (at == text.size) return 0;
  for (uint32_t i = at; i < text.size; i++) {
    uint8_t digit = (uint8_t)(text.data[i] - '0');
    if (digit > 9 || v > (most - digit) / 10) return 0;
    v = v * 10 + digit;
  }
  *out = (int64_t)(at ? 0 - v : v);
  return 1;
}

enum { OF_NUMBER = 9, OF_TEXT = 3 }; /* bytes of a key in a path, beside its text */

static int at_path(const pk_program_argument *a, pk_slice section, const uint8_t *path, uint32_t size, pk_value *out) {
  pk_path to = {path, path + size};
  *out = (pk_value){.type = PK_VALUE_NULL};
  return a->form == PK_ARGUMENT_JSON ? pk_value_json(section, to, out) : pk_value_msgpack(section, to, out);
}

static uint32_t put_number(uint8_t *path, int64_t number) {
  path[0] = 0;
  for (uint32_t i = 0; i < 8; i++) path[1 + i] = (uint8_t)((uint64_t)number >> (56 - 8 * i));
  return OF_NUMBER;
}

/* An item of the array that is the arguments. */
static int item(const declared *d, const pk_program_argument *a, pk_slice section, uint32_t index, pk_value *out) {
  pk_slice path = d->literals[a->path];
  uint8_t whole[PK_ARGUMENT_PATH + OF_NUMBER];
  if (section.size == 0) return PK_MORE;
  memcpy(whole, path.data, path.size);
  return at_path(a, section, whole, path.size + put_number(whole + path.size, index), out);
}

/* Whether digits are an integer as integers are written. */
static int is_written(pk_slice key) {
  uint32_t at = key.size > 1 && *key.data == '-';
  return key.size > at && (key.data[at] != '0' || key.size == 1);
}

/* What stands under a key of a value. One that reads as a number is a map's key as a text, or an index or a map's key as
 * what it says: where both are there, the one that was meant is not known. */
static int under(const pk_program_argument *a, pk_slice key, pk_value *of, pk_value *out) {
  uint8_t path[OF_TEXT + UINT8_MAX];
  int64_t number;
  pk_value other;
  if (of->type != PK_VALUE_OTHER) return PK_MORE;
  if (key.size > UINT8_MAX) return PK_ERR_UNSUPPORTED;
  path[0] = 1, path[1] = 0, path[2] = (uint8_t)key.size;
  memcpy(path + OF_TEXT, key.data, key.size);
  int found = at_path(a, of->bytes, path, OF_TEXT + key.size, out);
  if (found < 0 || !is_written(key) || !integer(key, &number)) return found;
  int result = at_path(a, of->bytes, path, put_number(path, number), &other);
  if (result != PK_OK) return result < 0 ? result : found;
  *out = other;
  return found == PK_OK ? PK_ERR_LIMIT : PK_OK;
}

/* Where the texts of arguments stand; `*of`: the one that is asked for. */
static int found_in(const declared *d, machine *m, const uint8_t *data, const pk_frame *f, uint32_t index,
                    const pk_program_argument **of) {
  const pk_program *p = d->program;
  int one = p->arguments.count == 1 && d->arguments[0].form >= PK_ARGUMENT_MSGPACK;
  if (!one && index >= p->arguments.count) return PK_MORE;
  if (pk_declared_rerun(d, m, data, f) != PK_OK) return PK_ERR_FORMAT;
  pk_destination nowhere = {.context = 0}; /* what is malformed is wrong, as where requests are routed */
  int result = pk_declared_find_texts(d, p->arguing, m, data, f, &nowhere, NULL);
  if (result != PK_OK) return result;
  const pk_program_argument *a = *of = &d->arguments[one ? 0 : index];
  return a->guard != PK_NO_TEXT && m->s[a->guard].data == NULL ? PK_ERR_UNSUPPORTED : PK_OK; /* it cannot be read here */
}

int pk_declared_argument(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t index, pk_value *out) {
  const declared *d = declared_of(codec);
  const pk_program_argument *a;
  machine m;
  *out = (pk_value){.type = PK_VALUE_NULL};
  int result = found_in(d, &m, data, f, index, &a);
  if (result != PK_OK) return result;
  pk_slice found = m.s[a->slice];
  if (a->form >= PK_ARGUMENT_MSGPACK) return item(d, a, found, index, out);
  if (found.data == NULL) return PK_OK;
  out->bytes = found;
  out->type = a->form == PK_ARGUMENT_INTEGER ? PK_VALUE_INTEGER : PK_VALUE_TEXT;
  return a->form == PK_ARGUMENT_TEXT || integer(found, &out->integer) ? PK_OK : PK_ERR_UNSUPPORTED;
}

int pk_declared_looks_inside(const declared *d) {
  return d->program->arguing != PK_NOWHERE && d->program->arguments.count == 1 && d->arguments[0].form >= PK_ARGUMENT_MSGPACK;
}

int pk_declared_inside(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t index, const pk_slice *keys,
                       uint32_t count, pk_value *out) {
  const declared *d = declared_of(codec);
  const pk_program_argument *a;
  machine m;
  pk_value of;
  int result = found_in(d, &m, data, f, index, &a);
  if (result == PK_OK) result = item(d, a, m.s[a->slice], index, out);
  for (uint32_t i = 0; result == PK_OK && i < count; i++) {
    of = *out;
    result = under(a, keys[i], &of, out);
  }
  return result;
}
