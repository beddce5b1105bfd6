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

/* An item of the array that is the arguments. */
static int item(const declared *d, const pk_program_argument *a, pk_slice section, uint32_t index, pk_value *out) {
  pk_slice path = d->literals[a->path];
  uint8_t whole[PK_ARGUMENT_PATH + 9];
  if (section.size == 0) return PK_MORE;
  memcpy(whole, path.data, path.size);
  memset(whole + path.size, 0, 5);
  for (uint32_t i = 0; i < 4; i++) whole[path.size + 5 + i] = (uint8_t)(index >> (24 - 8 * i));
  pk_path to = {whole, whole + path.size + 9};
  return a->form == PK_ARGUMENT_JSON ? pk_value_json(section, to, out) : pk_value_msgpack(section, to, out);
}

int pk_declared_argument(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t index, pk_value *out) {
  const declared *d = declared_of(codec);
  const pk_program *p = d->program;
  machine m;
  *out = (pk_value){.type = PK_VALUE_NULL};
  int one = p->arguments.count == 1 && d->arguments[0].form >= PK_ARGUMENT_MSGPACK;
  if (!one && index >= p->arguments.count) return PK_MORE;
  if (pk_declared_rerun(d, &m, data, f) != PK_OK) return PK_ERR_FORMAT;
  pk_destination nowhere = {.context = 0}; /* what is malformed is wrong, as where requests are routed */
  int result = pk_declared_find_texts(d, p->arguing, &m, data, f, &nowhere, NULL);
  if (result != PK_OK) return result;
  const pk_program_argument *a = &d->arguments[one ? 0 : index];
  pk_slice found = m.s[a->slice];
  if (a->guard != PK_NO_TEXT && m.s[a->guard].data == NULL) return PK_ERR_UNSUPPORTED; /* it cannot be read here */
  if (one) return item(d, a, found, index, out);
  if (found.data == NULL) return PK_OK;
  out->bytes = found;
  out->type = a->form == PK_ARGUMENT_INTEGER ? PK_VALUE_INTEGER : PK_VALUE_TEXT;
  return a->form == PK_ARGUMENT_TEXT || integer(found, &out->integer) ? PK_OK : PK_ERR_UNSUPPORTED;
}
