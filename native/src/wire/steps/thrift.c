/* thrift.c: fields of a Thrift struct by their ids, in the binary and the compact protocol (Apache Thrift,
 * doc/specs/thrift-binary-protocol.md and thrift-compact-protocol.md).
 *
 * The struct in front of a section, all of which has to be there. Of a field that stands twice the last counts; what stands in
 * several types cannot be read: its readers pass over what is not of the type that they know it by. A text is
 * the key of a map whose keys are texts. What is neither text nor integer nor boolean is found as it is encoded. */
#include "wire/steps/path.h"

/* Types as the compact protocol numbers them. */
enum { STOP, TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, TEXT, LIST, SET, MAP, STRUCT, UUID, NONE = 255 };

static const uint8_t of_binary[17] = {STOP, NONE, TRUE, BYTE, DOUBLE, NONE, I16,  NONE, I32,
                                      NONE, I64,  TEXT, STRUCT, MAP,  SET,  LIST, UUID};

typedef struct thrift {
  pk_rest in;
  int compact;
} thrift;

static int fixed(thrift *t, uint32_t bytes, int64_t *v) {
  pk_slice raw;
  if (pk_take(&t->in, bytes, &raw) != PK_OK) return PK_ERR_LIMIT;
  *v = extend(big(raw.data, bytes), bytes);
  return PK_OK;
}

static int zigzag(thrift *t, int64_t *v) {
  uint64_t raw;
  if (pk_varint(&t->in, &raw) != PK_OK) return PK_ERR_LIMIT;
  *v = (int64_t)(raw >> 1 ^ (0 - (raw & 1)));
  return PK_OK;
}

static uint8_t type_of(const thrift *t, uint64_t tag) {
  if (t->compact) return tag >= TRUE && tag <= UUID ? (uint8_t)tag : NONE;
  return tag < sizeof of_binary ? of_binary[tag] : NONE;
}

/* How many bytes or values follow. */
static int size_of(thrift *t, uint64_t *size) {
  int64_t v = 0;
  int result = t->compact ? pk_varint(&t->in, size) : fixed(t, 4, &v);
  if (!t->compact) *size = (uint64_t)v;
  return result == PK_OK && *size <= (size_t)(t->in.end - t->in.at) ? PK_OK : PK_ERR_LIMIT;
}

typedef struct field {
  int64_t id;
  uint8_t type, boolean; /* boolean: in the compact protocol it stands in the type */
} field;

static int next_field(thrift *t, field *f) {
  int64_t tag, last = f->id;
  if (fixed(t, 1, &tag) != PK_OK) return PK_ERR_LIMIT;
  tag &= 0xff;
  f->type = STOP;
  if (tag == 0) return PK_OK;
  f->type = type_of(t, (uint64_t)(t->compact ? tag & 15 : tag));
  f->boolean = f->type == TRUE;
  f->id = last + (tag >> 4);
  if (f->type == NONE || f->type == STOP) return PK_ERR_LIMIT;
  if (!t->compact) return fixed(t, 2, &f->id);
  if (tag >> 4 == 0 && zigzag(t, &f->id) != PK_OK) return PK_ERR_LIMIT;
  return f->id < INT16_MIN || f->id > INT16_MAX ? PK_ERR_LIMIT : PK_OK;
}

/* A list's or set's type and count, or a map's two types and its count. */
static int container(thrift *t, int is_map, uint8_t types[2], uint64_t *count) {
  int64_t tag;
  if (t->compact && is_map) {
    if (size_of(t, count) != PK_OK) return PK_ERR_LIMIT;
    types[0] = types[1] = BYTE;
    if (*count == 0) return PK_OK;
    if (fixed(t, 1, &tag) != PK_OK) return PK_ERR_LIMIT;
    types[0] = type_of(t, (uint64_t)tag >> 4 & 15), types[1] = type_of(t, (uint64_t)tag & 15);
  } else if (t->compact) {
    if (fixed(t, 1, &tag) != PK_OK) return PK_ERR_LIMIT;
    types[0] = type_of(t, (uint64_t)tag & 15);
    *count = (uint64_t)tag >> 4 & 15;
    if (*count == 15 ? size_of(t, count) != PK_OK : *count > (size_t)(t->in.end - t->in.at)) return PK_ERR_LIMIT;
  } else {
    for (int i = 0; i <= is_map; i++) {
      if (fixed(t, 1, &tag) != PK_OK) return PK_ERR_LIMIT;
      types[i] = type_of(t, (uint64_t)tag & 0xff);
    }
    if (size_of(t, count) != PK_OK) return PK_ERR_LIMIT;
  }
  int wrong = types[0] == NONE || (is_map && types[1] == NONE);
  return *count > 0 && wrong ? PK_ERR_LIMIT : PK_OK;
}

static int past(thrift *t, uint8_t type, int is_field, uint32_t depth);

static int past_struct(thrift *t, uint32_t depth) {
  field f = {0, STOP, 0};
  for (;;) {
    if (next_field(t, &f) != PK_OK) return PK_ERR_LIMIT;
    if (f.type == STOP) return PK_OK;
    if (past(t, f.type, 1, depth) != PK_OK) return PK_ERR_LIMIT;
  }
}

static int past_values(thrift *t, int is_map, uint32_t depth) {
  uint8_t types[2];
  uint64_t count;
  if (container(t, is_map, types, &count) != PK_OK) return PK_ERR_LIMIT;
  for (uint64_t i = 0; i < count; i++)
    if (past(t, types[0], 0, depth) != PK_OK || (is_map && past(t, types[1], 0, depth) != PK_OK)) return PK_ERR_LIMIT;
  return PK_OK;
}

static int past(thrift *t, uint8_t type, int is_field, uint32_t depth) {
  pk_slice raw;
  int64_t v;
  uint64_t size;
  if (depth == PK_NEST) return PK_ERR_LIMIT;
  switch (type) {
    case TRUE: case FALSE: return t->compact && is_field ? PK_OK : pk_take(&t->in, 1, &raw);
    case BYTE: return pk_take(&t->in, 1, &raw);
    case I16: case I32: case I64:
      return t->compact ? zigzag(t, &v) : pk_take(&t->in, type == I16 ? 2 : type == I32 ? 4 : 8, &raw);
    case DOUBLE: return pk_take(&t->in, 8, &raw);
    case UUID: return pk_take(&t->in, 16, &raw);
    case TEXT: return size_of(t, &size) != PK_OK ? PK_ERR_LIMIT : pk_take(&t->in, size, &raw);
    case LIST: case SET: return past_values(t, 0, depth + 1);
    case MAP: return past_values(t, 1, depth + 1);
    case STRUCT: return past_struct(t, depth + 1);
    default: return PK_ERR_LIMIT;
  }
}

/* Where something stands that was passed. */
typedef struct place {
  const uint8_t *at;
  uint8_t type, is_field, boolean;
} place;

static int same_type(uint8_t a, uint8_t b) { return a == b || (a <= FALSE && b <= FALSE); }

static int in_struct(thrift t, int64_t id, place *to) {
  field f = {0, STOP, 0};
  for (;;) {
    if (next_field(&t, &f) != PK_OK) return PK_ERR_LIMIT;
    if (f.type == STOP) return PK_OK;
    if (f.id == id && to->at != NULL && !same_type(to->type, f.type)) return PK_ERR_LIMIT;
    if (f.id == id) *to = (place){t.in.at, f.type, 1, f.boolean};
    if (past(&t, f.type, 1, 0) != PK_OK) return PK_ERR_LIMIT;
  }
}

static int in_map(thrift t, pk_slice key, place *to) {
  uint8_t types[2];
  uint64_t count;
  if (container(&t, 1, types, &count) != PK_OK) return PK_ERR_LIMIT;
  for (uint64_t i = 0; i < count; i++) {
    thrift name = t;
    uint64_t size;
    pk_slice found = {NULL, 0};
    if (past(&t, types[0], 0, 0) != PK_OK) return PK_ERR_LIMIT;
    if (types[0] == TEXT && (size_of(&name, &size) != PK_OK || pk_take(&name.in, size, &found) != PK_OK)) return PK_ERR_LIMIT;
    if (found.data != NULL && pk_same_text(key, found.data, found.size)) *to = (place){t.in.at, types[1], 0, 0};
    if (past(&t, types[1], 0, 0) != PK_OK) return PK_ERR_LIMIT;
  }
  return PK_OK;
}

static int said(thrift t, const place *p, pk_found *found) {
  int64_t v = 0;
  uint64_t size;
  int result = PK_OK;
  pk_slice raw;
  switch (p->type) {
    case TRUE: case FALSE:
      if (t.compact && p->is_field) v = p->boolean;
      else result = fixed(&t, 1, &v), v = v == 1;
      break;
    case BYTE: result = fixed(&t, 1, &v); break;
    case I16: case I32: case I64:
      result = t.compact ? zigzag(&t, &v) : fixed(&t, p->type == I16 ? 2 : p->type == I32 ? 4 : 8, &v);
      break;
    case TEXT:
      if (size_of(&t, &size) != PK_OK || pk_take(&t.in, size, &raw) != PK_OK) return PK_ERR_LIMIT;
      *found = pk_found_text(raw);
      return PK_OK;
    default:
      if (past(&t, p->type, p->is_field, 0) != PK_OK) return PK_ERR_LIMIT;
      *found = pk_found_text((pk_slice){p->at, (uint32_t)(t.in.at - p->at)});
      return PK_OK;
  }
  if (result == PK_OK) *found = pk_found_number(v);
  return result;
}

/* What stands at a path: nowhere where there is nothing. Of `t` what is left begins there. */
static int reach(pk_slice section, pk_path path, int compact, thrift *t, place *here) {
  pk_key key;
  *t = (thrift){{section.data, section.data + section.size}, compact};
  *here = (place){section.data, STRUCT, 0, 0};
  if (past_struct(t, 0) != PK_OK) return PK_ERR_LIMIT;
  while (here->at != NULL && pk_path_next(&path, &key)) {
    place to = {NULL, STOP, 0, 0};
    t->in.at = here->at;
    if (here->type == STRUCT && key.text.data == NULL && in_struct(*t, key.number, &to) != PK_OK) return PK_ERR_LIMIT;
    if (here->type == MAP && key.text.data != NULL && in_map(*t, key.text, &to) != PK_OK) return PK_ERR_LIMIT;
    *here = to;
  }
  t->in.at = here->at;
  return PK_OK;
}

static int find(pk_slice section, pk_path path, int compact, pk_found *found) {
  thrift t;
  place here;
  int result = reach(section, path, compact, &t, &here);
  return result != PK_OK || here.at == NULL ? result : said(t, &here, found);
}

enum { VALUES = 8, COMPACT = 1 << 16 }; /* of a map's form: the type of keys, that of values, and how all is written */

static int open_map(pk_slice section, pk_path path, int compact, pk_rest *in, uint32_t *form) {
  thrift t;
  place here;
  uint8_t types[2];
  uint64_t count;
  if (reach(section, path, compact, &t, &here) != PK_OK) return PK_ERR_LIMIT;
  if (here.at == NULL || here.type != MAP) return PK_MORE;
  thrift whole = t;
  if (container(&t, 1, types, &count) != PK_OK || past(&whole, MAP, 0, 0) != PK_OK) return PK_ERR_LIMIT;
  *in = (pk_rest){t.in.at, whole.in.at};
  *form = types[0] | (uint32_t)types[1] << VALUES | (compact ? COMPACT : 0u);
  return PK_OK;
}

int pk_open_thrift_binary(pk_slice section, pk_path path, pk_rest *in, uint32_t *form) {
  return open_map(section, path, 0, in, form);
}

int pk_open_thrift_compact(pk_slice section, pk_path path, pk_rest *in, uint32_t *form) {
  return open_map(section, path, 1, in, form);
}

/* A value and past it; what is no text has no data. */
static int next_text(thrift *t, uint8_t type, pk_slice *text) {
  uint64_t size;
  *text = (pk_slice){NULL, 0};
  if (type != TEXT) return past(t, type, 0, 0);
  return size_of(t, &size) != PK_OK ? PK_ERR_LIMIT : pk_take(&t->in, size, text);
}

int pk_next_thrift(pk_rest *in, uint32_t *form, pk_key *key, pk_slice *value) {
  thrift t = {*in, (*form & COMPACT) != 0};
  if (in->at == in->end) return PK_MORE;
  if (next_text(&t, (uint8_t)*form, &key->text) != PK_OK || next_text(&t, (uint8_t)(*form >> VALUES), value) != PK_OK)
    return PK_ERR_LIMIT;
  *in = t.in;
  return PK_OK;
}

static int find_binary(pk_slice section, pk_path path, pk_found *found) { return find(section, path, 0, found); }

static int find_compact(pk_slice section, pk_path path, pk_found *found) { return find(section, path, 1, found); }

int pk_step_thrift_binary(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count,
                          pk_slice *out, uint32_t count) {
  return pk_find_each(find_binary, section, size, arguments, argument_count, out, count);
}

int pk_step_thrift_compact(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count,
                           pk_slice *out, uint32_t count) {
  return pk_find_each(find_compact, section, size, arguments, argument_count, out, count);
}
