/* protobuf.c: fields of a protobuf message by their numbers (protobuf.dev, "Encoding").
 *
 * As its readers have it: of a field that stands several times the last counts, of messages all that they hold. What stands
 * in several wire types cannot be read: its readers take the last of the type that they know it by. A text is a map's key.
 * Groups are not read. */
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

static int find(pk_slice section, pk_path path, pk_found *found) { return in_message(section, path, 0, found); }

int pk_step_protobuf(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count,
                     pk_slice *out, uint32_t count) {
  return pk_find_each(find, section, size, arguments, argument_count, out, count);
}
