/* json.c: values of JSON's objects by their names, and of its arrays (RFC 8259), where all readers agree on them.
 *
 * They do not where a name stands twice in an object, or in another case, or in escapes: PK_ERR_LIMIT, as for a text in
 * escapes, which does not stand there as it is. A text is found without its quotes, null is nothing, all else as it is
 * written. */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>

#include "wire/steps/path.h"

static void space(pk_rest *in) {
  while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r')) in->at++;
}

static int hex(uint8_t c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

static int comes(pk_rest *in, uint8_t c) {
  space(in);
  if (in->at == in->end || *in->at != c) return 0;
  in->at++;
  return 1;
}

static int text(pk_rest *in, pk_slice *out, int *escaped) {
  *escaped = 0;
  if (!comes(in, '"')) return PK_ERR_LIMIT;
  for (const uint8_t *from = in->at; in->at < in->end; in->at++) {
    uint8_t c = *in->at;
    if (c < 0x20) return PK_ERR_LIMIT;
    if (c == '"') {
      *out = (pk_slice){from, (uint32_t)(in->at++ - from)};
      return PK_OK;
    }
    if (c != '\\') continue;
    *escaped = 1;
    if (++in->at == in->end || *in->at == 0 || strchr("\"\\/bfnrtu", *in->at) == NULL) return PK_ERR_LIMIT;
    for (uint32_t i = 0, digits = *in->at == 'u' ? 4 : 0; i < digits; i++)
      if (++in->at == in->end || !hex(*in->at)) return PK_ERR_LIMIT;
  }
  return PK_ERR_LIMIT;
}

static int digits(pk_rest *in) {
  const uint8_t *from = in->at;
  while (in->at < in->end && *in->at >= '0' && *in->at <= '9') in->at++;
  return in->at > from;
}

static int number(pk_rest *in) {
  if (in->at < in->end && *in->at == '-') in->at++;
  const uint8_t *first = in->at;
  if (!digits(in) || (*first == '0' && in->at - first > 1)) return PK_ERR_LIMIT;
  if (in->at < in->end && *in->at == '.') {
    in->at++;
    if (!digits(in)) return PK_ERR_LIMIT;
  }
  if (in->at < in->end && (*in->at == 'e' || *in->at == 'E')) {
    in->at++;
    if (in->at < in->end && (*in->at == '+' || *in->at == '-')) in->at++;
    if (!digits(in)) return PK_ERR_LIMIT;
  }
  return PK_OK;
}

static int scalar(pk_rest *in) {
  static const char *const words[] = {"true", "false", "null"};
  pk_slice out;
  int escaped;
  if (*in->at == '"') return text(in, &out, &escaped);
  for (uint32_t i = 0; i < 3; i++) {
    size_t size = strlen(words[i]);
    if ((size_t)(in->end - in->at) < size || memcmp(in->at, words[i], size) != 0) continue;
    in->at += size;
    return PK_OK;
  }
  return number(in);
}

static int name(pk_rest *in, pk_slice *out, int *escaped) {
  return text(in, out, escaped) != PK_OK || !comes(in, ':') ? PK_ERR_LIMIT : PK_OK;
}

/* Past one value. `objects`: which of those that are open are objects, the innermost lowest. */
static int past(pk_rest *in) {
  uint64_t objects = 0;
  uint32_t depth = 0;
  pk_slice key;
  int escaped;
  for (;;) {
    space(in);
    if (in->at == in->end) return PK_ERR_LIMIT;
    uint8_t c = *in->at;
    if (c == '{' || c == '[') {
      if (depth++ == PK_NEST) return PK_ERR_LIMIT;
      objects = objects << 1 | (c == '{');
      in->at++;
      if (!comes(in, (uint8_t)(c + 2))) {
        if (c == '{' && name(in, &key, &escaped) != PK_OK) return PK_ERR_LIMIT;
        continue;
      }
      depth--;
      objects >>= 1;
    } else if (scalar(in) != PK_OK) {
      return PK_ERR_LIMIT;
    }
    for (;; depth--, objects >>= 1) { /* what is whole now */
      if (depth == 0) return PK_OK;
      if (comes(in, ',')) break;
      if (!comes(in, objects & 1 ? '}' : ']')) return PK_ERR_LIMIT;
    }
    if (objects & 1 && name(in, &key, &escaped) != PK_OK) return PK_ERR_LIMIT;
  }
}

static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c; }

static int nearly(pk_slice a, pk_slice b) {
  if (a.size != b.size) return 0;
  for (uint32_t i = 0; i < a.size; i++)
    if (lower(a.data[i]) != lower(b.data[i])) return 0;
  return 1;
}

static int in_object(pk_rest in, pk_slice key, const uint8_t **to) {
  int more = !comes(&in, '}');
  for (; more; more = comes(&in, ',')) {
    pk_slice found;
    int escaped;
    if (name(&in, &found, &escaped) != PK_OK || escaped) return PK_ERR_LIMIT;
    if (nearly(found, key)) {
      if (*to != NULL || memcmp(found.data, key.data, key.size) != 0) return PK_ERR_LIMIT;
      *to = in.at;
    }
    if (past(&in) != PK_OK) return PK_ERR_LIMIT;
  }
  return PK_OK;
}

static int in_array(pk_rest in, int64_t index, const uint8_t **to) {
  int more = !comes(&in, ']');
  for (int64_t i = 0; more && *to == NULL; i++, more = comes(&in, ',')) {
    if (i == index) *to = in.at;
    if (past(&in) != PK_OK) return PK_ERR_LIMIT;
  }
  return PK_OK;
}

/* Where what is looked for begins, with what is behind it: *in. 0: it is not there. */
static int reach(pk_slice section, pk_path path, pk_rest *found, int *there) {
  const uint8_t *end = section.data + section.size;
  pk_rest in = {section.data, end}, whole = in;
  pk_key key;
  *there = 0;
  if (past(&whole) != PK_OK) return PK_ERR_LIMIT;
  space(&whole);
  if (whole.at != end) return PK_ERR_LIMIT;
  while (space(&in), pk_path_next(&path, &key)) {
    const uint8_t *to = NULL;
    uint8_t c = *in.at;
    pk_rest inside = {in.at + 1, end};
    if (c == '{' && key.text.data != NULL && in_object(inside, key.text, &to) != PK_OK) return PK_ERR_LIMIT;
    if (c == '[' && key.text.data == NULL && in_array(inside, key.number, &to) != PK_OK) return PK_ERR_LIMIT;
    if (to == NULL) return PK_OK;
    in.at = to;
  }
  *found = in;
  *there = 1;
  return PK_OK;
}

/* A text, also in escapes, or a number; with nothing behind it at its end. */
static int is_id(pk_rest *in) {
  pk_slice out;
  int escaped;
  if (in->at == in->end) return 0;
  return (*in->at == '"' ? text(in, &out, &escaped) : number(in)) == PK_OK;
}

int pk_is_json(pk_slice value) {
  pk_rest in = {value.data, value.data + value.size};
  return is_id(&in) && in.at == in.end;
}

void pk_place_json(pk_slice section, pk_path path, pk_place *place) {
  pk_rest in;
  int there;
  if (reach(section, path, &in, &there) != PK_OK || !there) return;
  const uint8_t *from = in.at;
  if (is_id(&in)) place->at = (pk_slice){from, (uint32_t)(in.at - from)};
}

/* Up to the end of an object. */
int pk_open_json(pk_slice section, pk_path path, pk_rest *in, uint32_t *form) {
  pk_rest whole;
  int there;
  *form = 0;
  if (reach(section, path, in, &there) != PK_OK) return PK_ERR_LIMIT;
  if (!there || *in->at != '{') return PK_MORE;
  whole = *in;
  if (past(&whole) != PK_OK) return PK_ERR_LIMIT;
  *in = (pk_rest){in->at + 1, whole.at - 1};
  space(in);
  return PK_OK;
}

/* Numbers and booleans are texts as they are written. A name in escapes may be any. */
int pk_next_json(pk_rest *in, uint32_t *form, pk_key *key, pk_slice *value) {
  int escaped;
  (void)form;
  if (in->at == in->end) return PK_MORE;
  if (name(in, &key->text, &escaped) != PK_OK || escaped) return PK_ERR_LIMIT;
  space(in);
  const uint8_t *from = in->at;
  if (past(in) != PK_OK) return PK_ERR_LIMIT;
  *value = (pk_slice){from, (uint32_t)(in->at - from)};
  pk_rest within = {from, in->at};
  if (*from == '{' || *from == '[' || *from == 'n') *value = (pk_slice){NULL, 0};
  else if (*from == '"') text(&within, value, &escaped);
  if (comes(in, ',')) space(in);
  if (escaped) return PK_ERR_UNSUPPORTED;
  return PK_OK;
}

static int find(pk_slice section, pk_path path, pk_found *found) {
  pk_rest in, whole;
  int escaped = 0, there;
  if (reach(section, path, &in, &there) != PK_OK) return PK_ERR_LIMIT;
  if (!there) return PK_OK;
  whole = in;
  pk_slice out = {in.at, 0};
  if (*in.at == '"') {
    if (text(&whole, &out, &escaped) != PK_OK || escaped) return PK_ERR_LIMIT;
  } else {
    if (past(&whole) != PK_OK) return PK_ERR_LIMIT;
    out.size = (uint32_t)(whole.at - in.at);
  }
  if (*in.at != 'n') *found = pk_found_text(out);
  return PK_OK;
}

enum { DIGITS = 63 }; /* of a number that is read */

/* Whoever shares the process may have chosen a locale where a point is none. 0: memory is short. */
static int decimal(const char *digits, double *out) {
  locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  if (plain == (locale_t)0) return 0;
  *out = strtod_l(digits, NULL, plain);
  freelocale(plain);
  return 1;
}

/* An integer of 64 bits is one, all else is a double; what is longer than any that is written is neither. */
static void numbered(pk_slice raw, pk_value *out) {
  char copy[DIGITS + 1];
  char *end;
  if (raw.size > DIGITS) return;
  memcpy(copy, raw.data, raw.size);
  copy[raw.size] = 0;
  errno = 0;
  long long v = strtoll(copy, &end, 10);
  if (*end == 0 && errno == 0) {
    out->type = PK_VALUE_INTEGER;
    out->integer = v;
  } else if (strpbrk(copy, ".eE") != NULL && decimal(copy, &out->number)) {
    out->type = PK_VALUE_NUMBER;
  }
}

int pk_value_json(pk_slice section, pk_path path, pk_value *out) {
  pk_rest in, whole;
  int escaped = 0, there;
  if (reach(section, path, &in, &there) != PK_OK) return PK_ERR_LIMIT;
  if (!there) return PK_MORE;
  whole = in;
  if (past(&whole) != PK_OK) return PK_ERR_LIMIT;
  pk_slice raw = {in.at, (uint32_t)(whole.at - in.at)};
  *out = (pk_value){.type = PK_VALUE_OTHER, .bytes = raw};
  switch (*raw.data) {
    case 'n': out->type = PK_VALUE_NULL; break;
    case 't': case 'f': out->type = PK_VALUE_BOOLEAN, out->integer = *raw.data == 't'; break;
    case '{': case '[': break;
    case '"':
      out->type = PK_VALUE_TEXT;
      if (text(&in, &out->bytes, &escaped) != PK_OK) return PK_ERR_LIMIT;
      return escaped ? PK_ERR_UNSUPPORTED : PK_OK;
    default: numbered(raw, out);
  }
  return PK_OK;
}

int pk_step_json(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count, pk_slice *out,
                 uint32_t count) {
  return pk_find_each(find, section, size, arguments, argument_count, out, count);
}
