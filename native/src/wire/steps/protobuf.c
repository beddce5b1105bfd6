/* protobuf.c: fields of a protobuf message by their numbers (protobuf.dev, "Encoding").
 *
 * As its readers have it: of a field that stands several times the last counts, of messages all that they hold. What stands
 * in several wire types cannot be read: its readers take the last of the type that they know it by. A text is a map's key.
 * Groups are not read. */
#include <stdlib.h>

#include "wire/steps/path.h"

enum { VARINT = 0, FIXED64 = 1, SIZED = 2, FIXED32 = 5 };

typedef struct field {
  uint64_t number, value;
  const uint8_t *behind; /* its tag */
  pk_slice content;
  uint32_t type;
} field;

static int next_field(pk_rest *in, field *f) {
  uint64_t tag;
  if (pk_varint(in, &tag) != PK_OK) return PK_ERR_LIMIT;
  *f = (field){.number = tag >> 3, .behind = in->at, .type = tag & 7};
  if (f->number == 0 || f->number >> 29 != 0) return PK_ERR_LIMIT;
  switch (f->type) {
    case VARINT: return pk_varint(in, &f->value);
    case SIZED: return pk_varint(in, &f->value) != PK_OK ? PK_ERR_LIMIT : pk_take(in, f->value, &f->content);
    case FIXED64: case FIXED32:
      if (pk_take(in, f->type == FIXED64 ? 8 : 4, &f->content) != PK_OK) return PK_ERR_LIMIT;
      f->value = little(f->content.data, f->content.size);
      return PK_OK;
    default: return PK_ERR_LIMIT;
  }
}

/* One more of what is looked for. */
static int say(const field *f, pk_found *found) {
  uint8_t as = (uint8_t)(f->type + 1);
  if (found->as != 0 && found->as != as) return PK_ERR_LIMIT;
  *found = f->type == SIZED ? pk_found_text(f->content) : f->type == VARINT ? pk_found_number((int64_t)f->value)
                                                        : (pk_found){{NULL, 0}, f->value, 1, 0, 0};
  found->as = as;
  return PK_OK;
}

static int in_message(pk_slice message, pk_path path, uint32_t depth, pk_found *found);

/* A map's entry: a key, 1, and a value, 2; what is left out is empty. A key that is no text has no data. */
static int open_entry(pk_slice entry, pk_slice *name, field *value) {
  pk_rest in = {entry.data, entry.data + entry.size};
  field f;
  uint32_t as[2] = {0, 0};
  *name = (pk_slice){entry.data, 0};
  *value = (field){.type = SIZED, .content = {entry.data, 0}};
  while (in.at < in.end) {
    if (next_field(&in, &f) != PK_OK) return PK_ERR_LIMIT;
    if (f.number == 1) *name = f.type == SIZED ? f.content : (pk_slice){NULL, 0};
    if (f.number == 2) *value = f;
    if (f.number > 2) continue;
    if (as[f.number - 1] != 0 && as[f.number - 1] != f.type + 1) return PK_ERR_LIMIT;
    as[f.number - 1] = f.type + 1;
  }
  return PK_OK;
}

static int in_entry(pk_slice entry, pk_slice key, pk_path path, uint32_t depth, pk_found *found) {
  pk_slice name;
  field value;
  if (open_entry(entry, &name, &value) != PK_OK) return PK_ERR_LIMIT;
  if (name.data == NULL || !pk_same_text(key, name.data, name.size)) return PK_OK;
  if (path.at == path.end) return say(&value, found);
  return value.type != SIZED ? PK_OK : in_message(value.content, path, depth + 1, found);
}

static int in_message(pk_slice message, pk_path path, uint32_t depth, pk_found *found) {
  pk_rest in = {message.data, message.data + message.size};
  pk_key key, name;
  if (depth == PK_PATH_KEYS) return PK_ERR_LIMIT;
  if (!pk_path_next(&path, &key)) {
    *found = pk_found_text(message);
    return PK_OK;
  }
  pk_path behind = path;
  int more = pk_path_next(&behind, &name), is_entry = more && name.text.data != NULL;
  while (in.at < in.end) {
    field f;
    if (next_field(&in, &f) != PK_OK) return PK_ERR_LIMIT;
    if (key.text.data != NULL || f.number != (uint64_t)key.number) continue;
    int result = PK_OK;
    if (!more) result = say(&f, found);
    else if (f.type != SIZED) continue;
    else if (is_entry) result = in_entry(f.content, name.text, behind, depth + 1, found);
    else result = in_message(f.content, path, depth + 1, found);
    if (result != PK_OK) return result;
  }
  return PK_OK;
}

/* A map is a field of the section's own message, which stands there as often as it has entries. */
int pk_open_protobuf(pk_slice section, pk_path path, pk_rest *in, uint32_t *form) {
  pk_key key;
  if (!pk_path_next(&path, &key)) return PK_MORE;
  *in = (pk_rest){section.data, section.data + section.size};
  *form = (uint32_t)key.number;
  return PK_OK;
}

int pk_next_protobuf(pk_rest *in, uint32_t *number, pk_key *key, pk_slice *value) {
  field f, found;
  do {
    if (in->at == in->end) return PK_MORE;
    if (next_field(in, &f) != PK_OK) return PK_ERR_LIMIT;
  } while (f.number != *number || f.type != SIZED);
  if (open_entry(f.content, &key->text, &found) != PK_OK) return PK_ERR_LIMIT;
  *value = found.type == SIZED ? found.content : (pk_slice){NULL, 0};
  return PK_OK;
}

/* The last one, of a message that comes in pieces in any of them. */
static int place_in(pk_slice message, pk_path path, uint32_t type, pk_place *now, pk_place *found) {
  pk_rest in = {message.data, message.data + message.size};
  uint32_t depth = now->count;
  pk_key key;
  if (!pk_path_next(&path, &key)) return PK_ERR_LIMIT;
  int last = path.at == path.end;
  while (in.at < in.end) {
    field f;
    if (next_field(&in, &f) != PK_OK) return PK_ERR_LIMIT;
    if (key.text.data != NULL || f.number != (uint64_t)key.number || f.type != (last ? type : SIZED)) continue;
    now->count = depth;
    now->at = f.type == SIZED ? f.content : (pk_slice){f.behind, (uint32_t)(in.at - f.behind)};
    if (f.type == SIZED) {
      if (depth == PK_PATH_KEYS) return PK_ERR_LIMIT;
      now->around[now->count].at = f.behind;
      now->around[now->count++].form = 0;
    }
    if (last) *found = *now;
    else if (place_in(f.content, path, type, now, found) != PK_OK) return PK_ERR_LIMIT;
  }
  return PK_OK;
}

void pk_place_protobuf(pk_slice section, pk_path path, int is_varint, pk_place *place) {
  pk_place now = {.count = 0};
  if (place_in(section, path, is_varint ? VARINT : SIZED, &now, place) != PK_OK) place->at.data = NULL;
  pk_slice at = place->at; /* as it is written back: no longer than it must be */
  if (is_varint && at.data != NULL && at.size > 1 && at.data[at.size - 1] == 0) place->at.data = NULL;
}

/* A message that is written anew: each field in its place, tags and lengths as short as they can be. */

static int make_varint(pk_made *out, uint64_t v) {
  uint8_t bytes[10];
  uint32_t n = 0;
  for (; v >= 0x80; v >>= 7) bytes[n++] = (uint8_t)(v | 0x80);
  bytes[n++] = (uint8_t)v;
  return pk_make(out, bytes, n);
}

static int make_tag(pk_made *out, uint64_t number, uint32_t type) { return make_varint(out, number << 3 | type); }

static int make_field(pk_made *out, const field *f) {
  int result = make_tag(out, f->number, f->type);
  if (result == PK_OK && f->type == VARINT && f->content.data == NULL) return make_varint(out, f->value);
  if (result == PK_OK && f->type == SIZED) result = make_varint(out, f->content.size);
  return result != PK_OK ? result : pk_make(out, f->content.data, f->content.size);
}

/* The field that says a text: a number where one was, else bytes. */
static int say_text(field *f, pk_slice text, uint8_t room[8]) {
  int negative;
  uint64_t v;
  if (f->type == SIZED) return f->content = text, PK_OK;
  if (!pk_integer_of(text, &negative, &v)) return PK_ERR_UNSUPPORTED;
  uint32_t bytes = f->type == FIXED32 ? 4 : 8;
  if (negative && v > 0 && (f->type != VARINT || v > (uint64_t)1 << 63)) return PK_ERR_UNSUPPORTED;
  if (bytes == 4 && v >> 32 != 0) return PK_ERR_UNSUPPORTED;
  f->value = negative ? (uint64_t)0 - v : v;
  put(room, f->value, bytes, 1);
  if (f->type != VARINT) f->content = (pk_slice){room, bytes};
  return PK_OK;
}

/* What a length counts, behind it: it is written where the longest would leave it, and moved. */
enum { LENGTH = 5 };

typedef struct inner {
  uint8_t *from;
  pk_made out;
} inner;

static int begin_inner(pk_made *out, uint64_t number, inner *in) {
  int result = make_tag(out, number, SIZED);
  if (result != PK_OK || out->end - out->at < LENGTH) return PK_ERR_SPACE;
  *in = (inner){out->at + LENGTH, {out->at + LENGTH, out->end}};
  return PK_OK;
}

static int end_inner(pk_made *out, const inner *in) {
  size_t size = (size_t)(in->out.at - in->from);
  int result = make_varint(out, size);
  if (result != PK_OK) return result;
  memmove(out->at, in->from, size);
  out->at += size;
  return PK_OK;
}

/* What is put there: in which field, of what is in a map under which name, and what is behind that. */
typedef struct target {
  uint64_t number;
  pk_slice name; /* no data: it is no map */
  pk_path path;
  pk_slice text;
} target;

static int put_in(pk_slice message, pk_path path, pk_slice text, pk_made *out);

/* Whether a field is replaced; of a map's entry its value. */
static int is_it(const target *t, const field *f, field *value) {
  pk_slice name;
  *value = *f;
  if (f->number != t->number) return 0;
  if (t->name.data == NULL) return t->path.at == t->path.end || f->type == SIZED;
  if (f->type != SIZED) return 0;
  if (open_entry(f->content, &name, value) != PK_OK) return -1;
  return name.data != NULL && pk_same_text(t->name, name.data, name.size);
}

static int make_value(const target *t, const field *before, pk_slice inside, pk_made *out) {
  field f = {.number = t->name.data != NULL ? 2 : t->number, .type = before->type};
  uint8_t room[8];
  inner in;
  if (t->path.at == t->path.end) {
    int result = say_text(&f, t->text, room);
    return result != PK_OK ? result : make_field(out, &f);
  }
  int result = begin_inner(out, f.number, &in);
  if (result == PK_OK) result = put_in(inside, t->path, t->text, &in.out);
  return result != PK_OK ? result : end_inner(out, &in);
}

/* In the place of the first of those that were there, or behind all. */
static int make_it(const target *t, const field *before, pk_slice inside, pk_made *out) {
  inner in;
  if (t->name.data == NULL) return make_value(t, before, inside, out);
  int result = begin_inner(out, t->number, &in);
  field key = {.number = 1, .type = SIZED, .content = t->name};
  if (result == PK_OK) result = make_field(&in.out, &key);
  if (result == PK_OK) result = make_value(t, before, inside, &in.out);
  return result != PK_OK ? result : end_inner(out, &in);
}

/* The message with it; `inside`: what it is put into, where it stands deeper. */
static int make_message(pk_slice message, const target *t, const field *before, uint32_t there, pk_slice inside, pk_made *out) {
  pk_rest in = {message.data, message.data + message.size};
  int kept = t->path.at != t->path.end || t->text.data != NULL, made = 0, result = PK_OK;
  while (in.at < in.end && result == PK_OK) {
    field f, value;
    if (next_field(&in, &f) != PK_OK) return PK_ERR_UNSUPPORTED;
    if (f.type == VARINT) f.content = (pk_slice){f.behind, (uint32_t)(in.at - f.behind)}; /* however it is written */
    if (is_it(t, &f, &value) == 0) result = make_field(out, &f);
    else if (kept && made++ == 0) result = make_it(t, before, inside, out);
  }
  return result == PK_OK && there == 0 && kept ? make_it(t, before, inside, out) : result;
}

static int put_in(pk_slice message, pk_path path, pk_slice text, pk_made *out) {
  pk_rest in = {message.data, message.data + message.size};
  field before = {.type = SIZED};
  uint32_t there = 0;
  size_t size = 0;
  pk_key key, name = {{NULL, 0}, 0};
  if (!pk_path_next(&path, &key) || key.text.data != NULL) return PK_ERR_UNSUPPORTED;
  pk_path behind = path;
  if (pk_path_next(&behind, &name) && name.text.data != NULL) path = behind;
  const target t = {(uint64_t)key.number, name.text, path, text};
  int deeper = path.at != path.end, in_pieces = deeper && name.text.data == NULL;
  while (in.at < in.end) {
    field f, value;
    if (next_field(&in, &f) != PK_OK) return PK_ERR_UNSUPPORTED;
    int is = is_it(&t, &f, &value);
    if (is < 0) return PK_ERR_UNSUPPORTED;
    if (is == 0) continue;
    before = value;
    there++;
    size += in_pieces ? value.content.size : 0;
  }
  if (deeper && (there == 0 || before.type != SIZED)) return PK_ERR_UNSUPPORTED;
  if (!in_pieces || there < 2) return make_message(message, &t, &before, there, before.content, out);
  uint8_t *joined = malloc(size + 1), *to = joined; /* of a message in pieces all are one */
  if (joined == NULL) return PK_ERR_SPACE;
  for (in.at = message.data; in.at < in.end;) {
    field f, value;
    if (next_field(&in, &f) != PK_OK || is_it(&t, &f, &value) != 1) continue;
    memcpy(to, f.content.data, f.content.size);
    to += f.content.size;
  }
  int result = make_message(message, &t, &before, there, (pk_slice){joined, (uint32_t)size}, out);
  free(joined);
  return result;
}

int pk_put_protobuf(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out) {
  (void)is_item; /* it is an entry's key by its form */
  return put_in(section, path, text, out);
}

static int find(pk_slice section, pk_path path, pk_found *found) { return in_message(section, path, 0, found); }

int pk_step_protobuf(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count,
                     pk_slice *out, uint32_t count) {
  return pk_find_each(find, section, size, arguments, argument_count, out, count);
}
