/* declared_put.c: structures that are changed: the section is written anew beside the frame, and takes its place. */
#include <stdlib.h>

#include "wire/declared.h"
#include "wire/steps/path.h"

typedef int (*putter)(pk_slice section, pk_path path, pk_slice text, pk_made *out);

/* By PK_MAP_*; NULL: the engine does not write it. */
static const putter putters[PK_MAP_COUNT] = {[PK_MAP_PROTOBUF] = pk_put_protobuf};

int pk_declared_can_put(uint32_t kind) { return kind < PK_MAP_COUNT && putters[kind] != NULL; }

int pk_declared_put(editing *e, uint32_t field, uint32_t kind, pk_slice path, pk_slice text) {
  pk_slice section = pk_declared_section(e, field);
  if (section.data == NULL) return PK_ERR_UNSUPPORTED;
  uint64_t room = (uint64_t)section.size + text.size + path.size + PK_MADE_MORE;
  if (room > (uint64_t)e->most + PK_MADE_MORE) return PK_ERR_SPACE;
  uint8_t *made = malloc(room);
  if (made == NULL) return PK_ERR_SPACE;
  pk_made out = {made, made + room};
  int result = putters[kind](section, (pk_path){path.data, path.data + path.size}, text, &out);
  if (result == PK_OK) result = pk_declared_replace(e, field, (pk_slice){made, (uint32_t)(out.at - made)});
  free(made);
  return result;
}

/* A value that is no text is none that a header takes the place of. */
static int is_text(const editing *e, uint32_t field, const pk_program_map *m, pk_slice key) {
  pk_slice name, value;
  pairs in;
  int result = pk_declared_pairs(e->d, m, pk_declared_section(e, field), &in);
  while (result == PK_OK && (result = pk_declared_next_pair(e->d, m, &in, &name, &value)) == PK_OK)
    if (value.data == NULL && pk_declared_same_key(m, name, key)) return PK_ERR_UNSUPPORTED;
  return result == PK_MORE ? PK_OK : result;
}

int pk_declared_put_item(editing *e, uint32_t field, uint32_t map, pk_slice key, pk_slice text) {
  const pk_program_map *m = &e->d->maps[map];
  pk_slice path = e->d->literals[m->path];
  int result = is_text(e, field, m, key);
  if (result != PK_OK && text.data != NULL) return result;
  if (key.size > UINT16_MAX) return PK_ERR_UNSUPPORTED;
  uint8_t *to = malloc(path.size + 3 + key.size);
  if (to == NULL) return PK_ERR_SPACE;
  memcpy(to, path.data, path.size);
  to[path.size] = 1; /* a key that is a text (path.h) */
  put(to + path.size + 1, key.size, 2, 0);
  if (key.size > 0) memcpy(to + path.size + 3, key.data, key.size);
  result = pk_declared_put(e, field, m->kind, (pk_slice){to, path.size + 3 + key.size}, text);
  free(to);
  return result;
}
