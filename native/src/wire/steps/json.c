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

/* A structure that is written anew, which was passed: what is in it stays as it stands, with what is between. */

typedef struct member {
  const uint8_t *from, *value, *end; /* from: its name */
  pk_slice name;                     /* without data: of an array, or in escapes */
} member;

/* The next one of what stands between its brackets, and past it; 0: there is none. */
static int next_member(pk_rest *in, int is_object, member *m) {
  int escaped = 0;
  space(in);
  if (in->at < in->end && *in->at == ',') in->at++;
  space(in);
  if (in->at == in->end) return 0;
  *m = (member){.from = in->at};
  if (is_object && name(in, &m->name, &escaped) != PK_OK) return 0;
  if (escaped) m->name.data = NULL;
  space(in);
  m->value = in->at;
  if (past(in) != PK_OK) return 0;
  m->end = in->at;
  return 1;
}

/* What is put, and where: `times` of what is in the structure are it, and what the last of those was says how it is written. */
typedef struct target {
  pk_key key;
  pk_path path; /* behind the key */
  pk_slice text;
  int is_item, is_object, has; /* has: such keys stand in such a structure */
  uint32_t times;
  member last;
  const uint8_t *behind; /* all that is in it */
} target;

static int is_it(const target *t, const member *m, int64_t index) {
  if (!t->has) return 0;
  return t->is_object ? pk_same_text(t->key.text, m->name.data, m->name.size) : t->key.number == index;
}

static pk_rest inside_of(pk_slice v) { return (pk_rest){v.data + 1, v.data + v.size - 1}; }

static int look(pk_slice v, target *t) {
  int strict = !t->is_item || t->path.at != t->path.end; /* of a header that stands twice all are replaced */
  pk_rest in = inside_of(v);
  member m;
  t->behind = in.at;
  for (int64_t i = 0; next_member(&in, t->is_object, &m); i++) {
    t->behind = m.end;
    if (!t->has) continue;
    if (t->is_object && m.name.data == NULL) return PK_ERR_UNSUPPORTED;
    if (is_it(t, &m, i)) t->last = m, t->times++;
    else if (strict && t->is_object && nearly(m.name, t->key.text)) return PK_ERR_UNSUPPORTED;
  }
  return strict && t->times > 1 ? PK_ERR_UNSUPPORTED : PK_OK;
}

static int make_quoted(pk_made *out, pk_slice said) {
  for (uint32_t i = 0; i < said.size; i++)
    if (said.data[i] < 0x20 || said.data[i] == '"' || said.data[i] == '\\') return PK_ERR_UNSUPPORTED; /* only escapes say it */
  int result = pk_make(out, (const uint8_t *)"\"", 1);
  if (result == PK_OK) result = pk_make(out, said.data, said.size);
  return result != PK_OK ? result : pk_make(out, (const uint8_t *)"\"", 1);
}

static int make_name(pk_made *out, pk_slice said) {
  int result = make_quoted(out, said);
  return result != PK_OK ? result : pk_make(out, (const uint8_t *)":", 1);
}

/* A text; where a number or a boolean was, another one. */
static int make_said(pk_made *out, uint8_t was, pk_slice said) {
  if (was == '"' || was == 'n') return make_quoted(out, said);
  if (was == '{' || was == '[' || said.size == 0) return PK_ERR_UNSUPPORTED;
  pk_rest in = {said.data, said.data + said.size};
  uint8_t first = *said.data;
  int is_word = first == 't' || first == 'f';
  if (first == '"' || first == 'n' || is_word != (was == 't' || was == 'f')) return PK_ERR_UNSUPPORTED;
  return scalar(&in) != PK_OK || in.at != in.end ? PK_ERR_UNSUPPORTED : pk_make(out, said.data, said.size);
}

static int put_in(pk_slice v, pk_path path, int is_item, pk_slice text, pk_made *out);

static int make_value(const target *t, pk_made *out) {
  const member *m = &t->last;
  if (t->path.at == t->path.end) return make_said(out, *m->value, t->text);
  return put_in((pk_slice){m->value, (uint32_t)(m->end - m->value)}, t->path, t->is_item, t->text, out);
}

/* In the place of the first of those that were there, or without them. */
static int exchange(pk_slice v, const target *t, pk_made *out) {
  int keeps = t->path.at != t->path.end || t->text.data != NULL, result = pk_make(out, v.data, 1);
  const uint8_t *end = v.data + 1;
  pk_rest in = inside_of(v);
  uint32_t made = 0;
  member m;
  for (int64_t i = 0; result == PK_OK && next_member(&in, t->is_object, &m); i++) {
    const uint8_t *from = end;
    int is = is_it(t, &m, i), stays = !is || keeps;
    end = m.end;
    if (is) keeps = 0;
    if (i == 0 || (stays && made > 0)) result = pk_make(out, from, (size_t)(m.from - from));
    if (!stays || result != PK_OK) continue;
    made++;
    result = pk_make(out, m.from, (size_t)((is ? m.value : m.end) - m.from));
    if (is && result == PK_OK) result = make_value(t, out);
  }
  return result != PK_OK ? result : pk_make(out, end, (size_t)(v.data + v.size - end));
}

/* One more behind all: a text, or a map with one in it. */
static int add(pk_slice v, const target *t, pk_made *out) {
  pk_path path = t->path;
  pk_key inner;
  int deeper = pk_path_next(&path, &inner), result = pk_make(out, v.data, (size_t)(t->behind - v.data));
  if (result == PK_OK && t->behind > v.data + 1) result = pk_make(out, (const uint8_t *)",", 1);
  if (result == PK_OK) result = make_name(out, t->key.text);
  if (result == PK_OK && deeper) result = pk_make(out, (const uint8_t *)"{", 1);
  if (result == PK_OK && deeper) result = make_name(out, inner.text);
  if (result == PK_OK) result = make_quoted(out, t->text);
  if (result == PK_OK && deeper) result = pk_make(out, (const uint8_t *)"}", 1);
  return result != PK_OK ? result : pk_make(out, t->behind, (size_t)(v.data + v.size - t->behind));
}

static int put_in(pk_slice v, pk_path path, int is_item, pk_slice text, pk_made *out) {
  target t = {.text = text, .is_item = is_item, .is_object = *v.data == '{'};
  if ((!t.is_object && *v.data != '[') || !pk_path_next(&path, &t.key)) return PK_ERR_UNSUPPORTED;
  t.path = path;
  t.has = (t.key.text.data != NULL) == t.is_object;
  int last = path.at == path.end;
  if ((is_item && last && !t.is_object) || look(v, &t) != PK_OK) return PK_ERR_UNSUPPORTED;
  if (t.times > 0) return exchange(v, &t, out);
  if (text.data == NULL && (is_item || last)) return pk_make(out, v.data, v.size);
  return t.is_object && t.has && pk_can_be_made(path, is_item) ? add(v, &t, out) : PK_ERR_UNSUPPORTED;
}

int pk_put_json(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out) {
  if (section.size == 0 && is_item && text.data == NULL) return PK_OK;
  if (section.size == 0 && is_item) section = (pk_slice){(const uint8_t *)"{}", 2};
  const uint8_t *end = section.data + section.size;
  pk_rest in = {section.data, end};
  space(&in);
  const uint8_t *from = in.at;
  if (past(&in) != PK_OK) return PK_ERR_UNSUPPORTED;
  const uint8_t *to = in.at;
  space(&in);
  if (in.at != end) return PK_ERR_UNSUPPORTED;
  int result = pk_make(out, section.data, (size_t)(from - section.data));
  if (result == PK_OK) result = put_in((pk_slice){from, (uint32_t)(to - from)}, path, is_item, text, out);
  return result != PK_OK ? result : pk_make(out, to, (size_t)(end - to));
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
