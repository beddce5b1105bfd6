/* msgpack.c: values of MessagePack's maps by their keys, and of its arrays (msgpack.org, the specification).
 *
 * The first value of a section, all of which has to be there. Of a key that stands twice the last counts. What is
 * neither text nor integer nor boolean is found as it is encoded. */
#include "wire/steps/path.h"

typedef enum kind { NIL, BOOLEAN, INTEGER, TEXT, ARRAY, MAP, OTHER } kind;

typedef struct value {
  kind is;
  int64_t number;
  uint64_t wide, count; /* wide: of an integer over 63 bits */
  pk_slice content;
} value;

static int sized(pk_rest *in, uint32_t bytes, uint64_t more, value *v) {
  pk_slice raw;
  if (pk_take(in, bytes, &raw) != PK_OK) return PK_ERR_LIMIT;
  return pk_take(in, big(raw.data, bytes) + more, &v->content);
}

static int counted(pk_rest *in, uint32_t bytes, value *v) {
  pk_slice raw;
  if (pk_take(in, bytes, &raw) != PK_OK) return PK_ERR_LIMIT;
  v->count = big(raw.data, bytes);
  return PK_OK;
}

static int number(pk_rest *in, uint32_t bytes, int has_sign, value *v) {
  pk_slice raw;
  if (pk_take(in, bytes, &raw) != PK_OK) return PK_ERR_LIMIT;
  uint64_t found = big(raw.data, bytes);
  v->is = INTEGER;
  v->number = has_sign ? extend(found, bytes) : (int64_t)found;
  v->wide = !has_sign && v->number < 0 ? found : 0;
  return PK_OK;
}

/* One value, but for what is inside of it. */
static int open(pk_rest *in, value *v) {
  *v = (value){.is = OTHER};
  if (in->at == in->end) return PK_ERR_LIMIT;
  uint8_t tag = *in->at++;
  if (tag <= 0x7f || tag >= 0xe0) return v->is = INTEGER, v->number = (int8_t)tag, PK_OK;
  if (tag <= 0x8f) return v->is = MAP, v->count = tag & 15u, PK_OK;
  if (tag <= 0x9f) return v->is = ARRAY, v->count = tag & 15u, PK_OK;
  if (tag <= 0xbf) return v->is = TEXT, pk_take(in, tag & 31u, &v->content);
  switch (tag) {
    case 0xc0: return v->is = NIL, PK_OK;
    case 0xc2: case 0xc3: return v->is = BOOLEAN, v->number = tag & 1, PK_OK;
    case 0xc4: case 0xc5: case 0xc6: return v->is = TEXT, sized(in, 1u << (tag - 0xc4), 0, v);
    case 0xc7: case 0xc8: case 0xc9: return sized(in, 1u << (tag - 0xc7), 1, v);
    case 0xca: case 0xcb: return pk_take(in, 4u << (tag - 0xca), &v->content);
    case 0xcc: case 0xcd: case 0xce: case 0xcf: return number(in, 1u << (tag - 0xcc), 0, v);
    case 0xd0: case 0xd1: case 0xd2: case 0xd3: return number(in, 1u << (tag - 0xd0), 1, v);
    case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return pk_take(in, (1u << (tag - 0xd4)) + 1, &v->content);
    case 0xd9: case 0xda: case 0xdb: return v->is = TEXT, sized(in, 1u << (tag - 0xd9), 0, v);
    case 0xdc: case 0xdd: return v->is = ARRAY, counted(in, 2u << (tag - 0xdc), v);
    case 0xde: case 0xdf: return v->is = MAP, counted(in, 2u << (tag - 0xde), v);
    default: return PK_ERR_LIMIT;
  }
}

/* Past so many values with all that is inside of them: each takes a byte at least. */
static int past(pk_rest *in, uint64_t values) {
  while (values > 0) {
    value v;
    if (values > (size_t)(in->end - in->at) || open(in, &v) != PK_OK) return PK_ERR_LIMIT;
    values += v.count * (v.is == MAP ? 2 : 1) - 1;
  }
  return PK_OK;
}

static int is_key(const value *v, const pk_key *key) {
  if (key->text.data != NULL) return v->is == TEXT && pk_same_text(key->text, v->content.data, v->content.size);
  return v->is == INTEGER && v->wide == 0 && v->number == key->number;
}

/* Where the value of a key begins, or NULL. `v` was opened. */
static int enter(pk_rest in, const value *v, const pk_key *key, const uint8_t **to) {
  *to = NULL;
  if (v->is == ARRAY && key->text.data == NULL && key->number >= 0 && (uint64_t)key->number < v->count) {
    if (past(&in, (uint64_t)key->number) != PK_OK) return PK_ERR_LIMIT;
    *to = in.at;
  }
  for (uint64_t i = 0; v->is == MAP && i < v->count; i++) {
    value name;
    if (open(&in, &name) != PK_OK || past(&in, name.count * (name.is == MAP ? 2 : 1)) != PK_OK) return PK_ERR_LIMIT;
    if (is_key(&name, key)) *to = in.at;
    if (past(&in, 1) != PK_OK) return PK_ERR_LIMIT;
  }
  return PK_OK;
}

/* What stands at a path, as it is encoded: no data where there is nothing. */
static int reach(pk_slice section, pk_path path, value *v, pk_slice *raw) {
  const uint8_t *end = section.data + section.size, *at = section.data;
  pk_rest whole = {at, end};
  pk_key key;
  *raw = (pk_slice){NULL, 0};
  if (past(&whole, 1) != PK_OK) return PK_ERR_LIMIT;
  for (;;) {
    pk_rest in = {at, end};
    if (open(&in, v) != PK_OK) return PK_ERR_LIMIT;
    if (!pk_path_next(&path, &key)) break;
    if (enter(in, v, &key, &at) != PK_OK) return PK_ERR_LIMIT;
    if (at == NULL) return PK_OK;
  }
  whole = (pk_rest){at, end};
  if (past(&whole, 1) != PK_OK) return PK_ERR_LIMIT;
  *raw = (pk_slice){at, (uint32_t)(whole.at - at)};
  return PK_OK;
}

static int is_id(const value *v) { return v->is == INTEGER || v->is == TEXT; }

int pk_is_msgpack(pk_slice id) {
  pk_rest in = {id.data, id.data + id.size};
  value v;
  return open(&in, &v) == PK_OK && is_id(&v) && in.at == in.end;
}

void pk_place_msgpack(pk_slice section, pk_path path, pk_place *place) {
  pk_slice raw;
  value v;
  if (reach(section, path, &v, &raw) == PK_OK && raw.data != NULL && is_id(&v)) place->at = raw;
}

int pk_open_msgpack(pk_slice section, pk_path path, pk_rest *in, uint32_t *form) {
  pk_slice raw;
  value v;
  *form = 0;
  if (reach(section, path, &v, &raw) != PK_OK) return PK_ERR_LIMIT;
  if (raw.data == NULL || v.is != MAP) return PK_MORE;
  *in = (pk_rest){raw.data, raw.data + raw.size};
  return open(in, &v);
}

/* A value and past it, with what is inside of it; what is no text has no data. */
static int next_text(pk_rest *in, pk_slice *text) {
  value v;
  if (open(in, &v) != PK_OK || past(in, v.count * (v.is == MAP ? 2 : 1)) != PK_OK) return PK_ERR_LIMIT;
  *text = v.is == TEXT ? v.content : (pk_slice){NULL, 0};
  return PK_OK;
}

int pk_next_msgpack(pk_rest *in, uint32_t *form, pk_key *key, pk_slice *what) {
  (void)form;
  if (in->at == in->end) return PK_MORE;
  return next_text(in, &key->text) != PK_OK ? PK_ERR_LIMIT : next_text(in, what);
}

/* A structure that is written anew: its head and what is put into it as short as they can be, all else as it stands. */

/* A tag with a big-endian integer behind it. */
static int make_tag(pk_made *out, uint8_t tag, uint64_t v, uint32_t bytes) {
  uint8_t made[9] = {tag};
  if (bytes > 0) put(made + 1, v, bytes, 0);
  return pk_make(out, made, 1 + bytes);
}

static int make_head(pk_made *out, int is_map, uint64_t count) {
  if (count < 16) return make_tag(out, (uint8_t)((is_map ? 0x80 : 0x90) | count), 0, 0);
  uint8_t wide = is_map ? 0xde : 0xdc;
  return count >> 16 ? make_tag(out, (uint8_t)(wide + 1), count, 4) : make_tag(out, wide, count, 2);
}

static int make_text(pk_made *out, pk_slice said) {
  uint32_t size = said.size;
  int result = size < 32       ? make_tag(out, (uint8_t)(0xa0 | size), 0, 0)
               : size >> 8 == 0  ? make_tag(out, 0xd9, size, 1)
               : size >> 16 == 0 ? make_tag(out, 0xda, size, 2)
                                 : make_tag(out, 0xdb, size, 4);
  return result != PK_OK ? result : pk_make(out, said.data, size);
}

static int make_integer(pk_made *out, int negative, uint64_t v) {
  if (negative && v > (uint64_t)1 << 63) return PK_ERR_UNSUPPORTED;
  uint64_t two = negative ? (uint64_t)0 - v : v, most = negative && v > 0 ? v - 1 : v; /* most: what its bits have to hold */
  uint32_t sign = negative && v > 0, wide = 0;
  if (most < (sign ? 32u : 128u)) return make_tag(out, (uint8_t)two, 0, 0);
  while (wide < 3 && most >> ((8u << wide) - sign) != 0) wide++;
  return make_tag(out, (uint8_t)((sign ? 0xd0 : 0xcc) + wide), two, 1u << wide);
}

static int make_key(pk_made *out, const pk_key *key) {
  int64_t v = key->number;
  return key->text.data != NULL ? make_text(out, key->text) : make_integer(out, v < 0, v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v);
}

/* A text; where an integer or a boolean was, another one. */
static int make_said(pk_made *out, const value *was, pk_slice said) {
  int negative;
  uint64_t v;
  switch (was->is) {
    case NIL: case TEXT: return make_text(out, said);
    case BOOLEAN:
      if (pk_same_text(said, (const uint8_t *)"true", 4)) return make_tag(out, 0xc3, 0, 0);
      return pk_same_text(said, (const uint8_t *)"false", 5) ? make_tag(out, 0xc2, 0, 0) : PK_ERR_UNSUPPORTED;
    case INTEGER: return pk_integer_of(said, &negative, &v) ? make_integer(out, negative, v) : PK_ERR_UNSUPPORTED;
    default: return PK_ERR_UNSUPPORTED;
  }
}

typedef struct entry {
  pk_slice label, raw; /* label: a map's key, as it is encoded */
  value name;
} entry;

static int next_entry(pk_rest *in, int is_map, entry *one) {
  const uint8_t *from = in->at;
  *one = (entry){.label = {from, 0}};
  if (is_map && (open(in, &one->name) != PK_OK || past(in, one->name.count * (one->name.is == MAP ? 2 : 1)) != PK_OK))
    return PK_ERR_LIMIT;
  one->label.size = (uint32_t)(in->at - from);
  from = in->at;
  if (past(in, 1) != PK_OK) return PK_ERR_LIMIT;
  one->raw = (pk_slice){from, (uint32_t)(in->at - from)};
  return PK_OK;
}

static int is_it(const entry *one, int is_map, const pk_key *key, uint64_t index) {
  if (is_map) return is_key(&one->name, key);
  return key->text.data == NULL && key->number >= 0 && (uint64_t)key->number == index;
}

static int put_in(pk_slice v, pk_path path, int is_item, pk_slice text, pk_made *out);

/* What stands for a key; `was`: the last that did, or none. */
static int make_it(const entry *was, const pk_key *key, int is_map, pk_path path, int is_item, pk_slice text, pk_made *out) {
  static const uint8_t empty = 0x80;
  int last = path.at == path.end, result = PK_OK;
  value now = {.is = NIL};
  pk_slice raw = {&empty, 1}; /* a map that is to hold it */
  if (was != NULL) raw = was->raw;
  pk_rest in = {raw.data, raw.data + raw.size};
  if (was != NULL && open(&in, &now) != PK_OK) return PK_ERR_UNSUPPORTED;
  if (last && is_item && now.is != NIL && now.is != TEXT) return PK_ERR_UNSUPPORTED;
  if (was != NULL) result = pk_make(out, was->label.data, was->label.size);
  else if (is_map) result = make_key(out, key);
  if (result != PK_OK) return result;
  return last ? make_said(out, &now, text) : put_in(raw, path, is_item, text, out);
}

static int put_in(pk_slice v, pk_path path, int is_item, pk_slice text, pk_made *out) {
  pk_rest in = {v.data, v.data + v.size};
  pk_key key;
  value head;
  entry one, was;
  uint64_t times = 0, at = 0;
  if (!pk_path_next(&path, &key) || open(&in, &head) != PK_OK || (head.is != MAP && head.is != ARRAY)) return PK_ERR_UNSUPPORTED;
  int is_map = head.is == MAP, last = path.at == path.end, keeps = !last || text.data != NULL;
  if (is_item && last && !is_map) return PK_ERR_UNSUPPORTED;
  pk_rest first = in;
  for (uint64_t i = 0; i < head.count; i++) {
    if (next_entry(&in, is_map, &one) != PK_OK) return PK_ERR_UNSUPPORTED;
    if (is_it(&one, is_map, &key, i)) was = one, at = i, times++;
  }
  int only = is_item && !last && times > 0; /* of maps of headers under one key the last alone is changed */
  if (only) times = 1;
  if (times == 0 && text.data == NULL && is_item) return pk_make(out, v.data, v.size);
  if (times == 0 && keeps && (!is_map || !pk_can_be_made(path, is_item))) return PK_ERR_UNSUPPORTED;
  if (times == 0 && !last && text.data == NULL) return PK_ERR_UNSUPPORTED;
  int result = make_head(out, is_map, head.count - times + (uint64_t)keeps);
  in = first;
  for (uint64_t i = 0; i < head.count && result == PK_OK; i++) {
    if (next_entry(&in, is_map, &one) != PK_OK) return PK_ERR_UNSUPPORTED;
    if (only ? i != at : !is_it(&one, is_map, &key, i)) result = pk_make(out, one.label.data, (size_t)(in.at - one.label.data));
    else if (keeps) keeps = 0, result = make_it(&was, &key, is_map, path, is_item, text, out);
  }
  return result == PK_OK && keeps ? make_it(NULL, &key, is_map, path, is_item, text, out) : result;
}

int pk_put_msgpack(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out) {
  static const uint8_t empty = 0x80;
  if (section.size == 0 && is_item && text.data == NULL) return PK_OK;
  if (section.size == 0 && is_item) section = (pk_slice){&empty, 1};
  const uint8_t *end = section.data + section.size;
  pk_rest in = {section.data, end};
  if (past(&in, 1) != PK_OK) return PK_ERR_UNSUPPORTED;
  int result = put_in((pk_slice){section.data, (uint32_t)(in.at - section.data)}, path, is_item, text, out);
  return result != PK_OK ? result : pk_make(out, in.at, (size_t)(end - in.at));
}

static int find(pk_slice section, pk_path path, pk_found *found) {
  static const char *const words[] = {"false", "true"};
  pk_slice raw;
  value v;
  if (reach(section, path, &v, &raw) != PK_OK) return PK_ERR_LIMIT;
  if (raw.data == NULL) return PK_OK;
  switch (v.is) {
    case NIL: break;
    case BOOLEAN: *found = pk_found_text((pk_slice){(const uint8_t *)words[v.number], v.number ? 4 : 5}); break;
    case INTEGER: *found = v.wide != 0 ? (pk_found){{NULL, 0}, v.wide, 1, 0, 0} : pk_found_number(v.number); break;
    case TEXT: *found = pk_found_text(v.content); break;
    default: *found = pk_found_text(raw);
  }
  return PK_OK;
}

static double real(const uint8_t *at, uint32_t bytes) {
  uint64_t raw = big(at, bytes);
  uint32_t half = (uint32_t)raw;
  float single;
  double v;
  memcpy(&single, &half, 4);
  memcpy(&v, &raw, 8);
  return bytes == 4 ? (double)single : v;
}

int pk_value_msgpack(pk_slice section, pk_path path, pk_value *out) {
  pk_slice raw;
  value v;
  if (reach(section, path, &v, &raw) != PK_OK) return PK_ERR_LIMIT;
  if (raw.data == NULL) return PK_MORE;
  *out = (pk_value){.type = PK_VALUE_OTHER, .bytes = raw};
  if (v.is == NIL) out->type = PK_VALUE_NULL;
  if (v.is == BOOLEAN) out->type = PK_VALUE_BOOLEAN, out->integer = v.number;
  if (v.is == INTEGER && v.wide == 0) out->type = PK_VALUE_INTEGER, out->integer = v.number;
  if (v.is == TEXT && (raw.data[0] < 0xc4 || raw.data[0] > 0xc6)) out->type = PK_VALUE_TEXT, out->bytes = v.content;
  if (raw.data[0] == 0xca || raw.data[0] == 0xcb)
    out->type = PK_VALUE_NUMBER, out->number = real(v.content.data, v.content.size);
  return PK_OK;
}

int pk_step_msgpack(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count,
                    pk_slice *out, uint32_t count) {
  return pk_find_each(find, section, size, arguments, argument_count, out, count);
}
