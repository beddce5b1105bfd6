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

/* A structure that is written anew: what is not changed stays as it stands, but for the heads of fields, which are as short
 * as they can be. */

/* What is in a structure that was passed: a struct's field by its id, or a map's value behind its key. */
typedef struct entry {
  int64_t id;
  uint8_t type, boolean;
  pk_slice label, name, raw; /* label: a key as it is encoded; name: the text that it is */
} entry;

/* Where entries are read, and what they are in. */
typedef struct entries {
  thrift in;
  uint8_t of, types[2];
  uint64_t left;
  field last;
} entries;

static pk_slice since(const uint8_t *from, const thrift *t) { return (pk_slice){from, (uint32_t)(t->in.at - from)}; }

static int begin(pk_slice raw, uint8_t of, int compact, entries *all) {
  *all = (entries){.in = {{raw.data, raw.data + raw.size}, compact}, .of = of, .types = {TEXT, TEXT}};
  if (of == STRUCT) return PK_OK;
  return of == MAP ? container(&all->in, 1, all->types, &all->left) : PK_ERR_UNSUPPORTED;
}

/* PK_OK; PK_MORE: there is none. */
static int next(entries *all, entry *one) {
  thrift *t = &all->in;
  const uint8_t *from;
  *one = (entry){.id = 0};
  if (all->of == STRUCT) {
    if (next_field(t, &all->last) != PK_OK) return PK_ERR_LIMIT;
    if (all->last.type == STOP) return PK_MORE;
    one->id = all->last.id, one->type = all->last.type, one->boolean = all->last.boolean;
  } else {
    if (all->left-- == 0) return PK_MORE;
    from = t->in.at;
    if (past(t, all->types[0], 0, 0) != PK_OK) return PK_ERR_LIMIT;
    one->label = since(from, t);
    thrift label = {{from, t->in.at}, t->compact};
    uint64_t size;
    if (all->types[0] == TEXT && (size_of(&label, &size) != PK_OK || pk_take(&label.in, size, &one->name) != PK_OK)) return PK_ERR_LIMIT;
    one->type = all->types[1];
  }
  from = t->in.at;
  if (past(t, one->type, all->of == STRUCT, 0) != PK_OK) return PK_ERR_LIMIT;
  one->raw = since(from, t);
  return PK_OK;
}

static int is_it(const entries *all, const entry *one, const pk_key *key) {
  if (all->of == STRUCT) return key->text.data == NULL && key->number == one->id;
  return one->name.data != NULL && pk_same_text(key->text, one->name.data, one->name.size);
}

static int make_zigzag(pk_made *out, int64_t v) { return pk_make_varint(out, (uint64_t)v << 1 ^ (0 - ((uint64_t)v >> 63))); }

static int make_text(pk_made *out, int compact, pk_slice text) {
  int result = compact ? pk_make_varint(out, text.size) : pk_make_big(out, text.size, 4);
  return result != PK_OK ? result : pk_make(out, text.data, text.size);
}

static uint8_t tag_of(int compact, uint8_t type) {
  if (compact) return type;
  for (uint8_t tag = 2; tag < sizeof of_binary; tag++)
    if (of_binary[tag] == type) return tag;
  return 0;
}

/* A field's head, behind the field with the id `last`. */
static int make_field(pk_made *out, int compact, uint8_t type, int64_t id, int64_t last) {
  int64_t more = id - last;
  if (!compact || more <= 0 || more > 15) {
    int result = pk_make_big(out, tag_of(compact, type), 1);
    if (result != PK_OK) return result;
    return compact ? make_zigzag(out, id) : pk_make_big(out, (uint64_t)id & UINT16_MAX, 2);
  }
  return pk_make_big(out, (uint64_t)more << 4 | type, 1);
}

static int make_head(pk_made *out, int compact, const uint8_t types[2], uint64_t count) {
  if (!compact) {
    int result = pk_make_big(out, (uint64_t)tag_of(0, types[0]) << 8 | tag_of(0, types[1]), 2);
    return result != PK_OK ? result : pk_make_big(out, count, 4);
  }
  int result = pk_make_varint(out, count);
  return result != PK_OK || count == 0 ? result : pk_make_big(out, (uint64_t)types[0] << 4 | types[1], 1);
}

static uint32_t width_of(uint8_t type) { return type == I64 ? 8 : type == I32 ? 4 : type == I16 ? 2 : 1; }

/* A text; where a number or a boolean is, another one: in the compact protocol a field's own boolean is its type. */
static int make_said(pk_made *out, int compact, int is_field, uint8_t type, pk_slice said, uint8_t *now) {
  int negative;
  uint64_t v;
  *now = type;
  if (type == TEXT) return make_text(out, compact, said);
  if (type < TRUE || type > I64 || !pk_integer_of(said, &negative, &v)) return PK_ERR_UNSUPPORTED;
  if (type <= FALSE) {
    if (v > 1 || (negative && v > 0)) return PK_ERR_UNSUPPORTED;
    if (compact && is_field) *now = v ? TRUE : FALSE;
    else return pk_make_big(out, v || !compact ? v : FALSE, 1);
    return PK_OK;
  }
  uint32_t width = width_of(type);
  uint64_t most = ((uint64_t)1 << (8 * width - 1)) - 1;
  if (v > most && !(negative && v == most + 1)) return PK_ERR_UNSUPPORTED;
  uint64_t two = negative ? (uint64_t)0 - v : v;
  return compact && type != BYTE ? make_zigzag(out, (int64_t)two) : pk_make_big(out, two, width);
}

static int put_in(pk_slice raw, uint8_t of, int compact, pk_path path, int is_item, pk_slice text, pk_made *out);

/* What is put in: among which entries, in the place of which (its type is STOP: of none), behind which field. */
typedef struct target {
  const entries *all;
  entry was;
  pk_key key;
  pk_path path; /* behind the key */
  int is_item;
  pk_slice text;
} target;

static int make_it(const target *t, int64_t last, pk_made *out) {
  static const uint8_t empty[6] = {11, 11, 0, 0, 0, 0};
  int compact = t->all->in.compact, in_struct = t->all->of == STRUCT, deeper = t->path.at != t->path.end, is_new = t->was.type == STOP;
  uint8_t type = !is_new ? t->was.type : deeper ? MAP : in_struct ? TEXT : t->all->types[1], now = type;
  pk_slice inner = is_new ? (compact ? (pk_slice){empty + 5, 1} : (pk_slice){empty, 6}) : t->was.raw; /* a map that is to hold it */
  int64_t id = is_new ? t->key.number : t->was.id;
  if (t->is_item && !deeper && type != TEXT) return PK_ERR_UNSUPPORTED;
  uint8_t *head = out->at;
  int result = in_struct ? make_field(out, compact, type, id, last) : is_new ? make_text(out, compact, t->key.text) : pk_make(out, t->was.label.data, t->was.label.size);
  if (result != PK_OK) return result;
  if (deeper) return put_in(inner, type, compact, t->path, t->is_item, t->text, out);
  result = make_said(out, compact, in_struct, type, t->text, &now);
  if (result == PK_OK && now != type) *head = (uint8_t)((*head & 0xf0) | now);
  return result;
}

static int put_in(pk_slice raw, uint8_t of, int compact, pk_path path, int is_item, pk_slice text, pk_made *out) {
  entries all;
  target t = {.all = &all, .is_item = is_item, .text = text, .was = {.type = STOP}};
  entry one;
  uint64_t times = 0, count = 0, at = 0;
  int result, several = 0;
  if (!pk_path_next(&path, &t.key)) return PK_ERR_UNSUPPORTED;
  t.path = path;
  int last = path.at == path.end, keeps = !last || text.data != NULL;
  if ((is_item && last && of != MAP) || begin(raw, of, compact, &all) != PK_OK) return PK_ERR_UNSUPPORTED;
  entries again = all;
  for (; (result = next(&all, &one)) == PK_OK; count++) {
    if (!is_it(&all, &one, &t.key)) continue;
    several |= times > 0 && !same_type(one.type, t.was.type);
    t.was = one, at = count, times++;
  }
  if (result != PK_MORE || several) return PK_ERR_UNSUPPORTED;
  int only = is_item && !last && times > 0; /* of maps of headers under one id the last alone is changed */
  if (only) times = 1;
  if (times == 0 && text.data == NULL && is_item) return pk_make(out, raw.data, raw.size);
  if (of == MAP && count > 0 && all.types[0] != TEXT) return PK_ERR_UNSUPPORTED; /* others than texts are no keys */
  if (times == 0 && !last && (text.data == NULL || !pk_can_be_made(path, is_item))) return PK_ERR_UNSUPPORTED;
  if (times == 0 && keeps && (t.key.text.data != NULL) != (of == MAP)) return PK_ERR_UNSUPPORTED;
  if (times == 0 && !last && of == MAP) return PK_ERR_UNSUPPORTED;
  if (count == 0) all.types[0] = all.types[1] = TEXT;
  count = count - times + (uint64_t)keeps;
  if (count == 0) all.types[1] = TEXT;
  result = of == MAP ? make_head(out, compact, all.types, count) : PK_OK;
  int64_t behind = 0;
  for (uint64_t i = 0; result == PK_OK && next(&again, &one) == PK_OK; i++) {
    int is = only ? i == at : is_it(&again, &one, &t.key);
    if (is && !keeps) continue;
    keeps = keeps && !is;
    if (is) result = make_it(&t, behind, out);
    else if (of == MAP) result = pk_make(out, one.label.data, one.label.size);
    else result = make_field(out, compact, one.type, one.id, behind);
    if (!is && result == PK_OK) result = pk_make(out, one.raw.data, one.raw.size);
    behind = one.id;
  }
  if (result == PK_OK && keeps) result = make_it(&t, behind, out);
  return result != PK_OK || of == MAP ? result : pk_make_big(out, STOP, 1);
}

static int put_at(pk_slice section, pk_path path, int compact, int is_item, pk_slice text, pk_made *out) {
  static const uint8_t empty = STOP;
  if (section.size == 0 && is_item && text.data == NULL) return PK_OK;
  if (section.size == 0 && is_item) section = (pk_slice){&empty, 1};
  thrift t = {{section.data, section.data + section.size}, compact};
  if (past_struct(&t, 0) != PK_OK) return PK_ERR_UNSUPPORTED;
  int result = put_in(since(section.data, &t), STRUCT, compact, path, is_item, text, out);
  return result != PK_OK ? result : pk_make(out, t.in.at, (size_t)(t.in.end - t.in.at));
}

int pk_put_thrift_binary(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out) {
  return put_at(section, path, 0, is_item, text, out);
}

int pk_put_thrift_compact(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out) {
  return put_at(section, path, 1, is_item, text, out);
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
