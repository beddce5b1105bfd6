/* declared_put.c: structures that are changed: the section is written anew beside the frame, and takes its place. */
#include <stdlib.h>

#include "wire/declared.h"
#include "wire/steps/path.h"

/* By PK_MAP_*; NULL: the engine does not write it. */
static const pk_putter putters[PK_STRUCTURES] = {
    [PK_MAP_PROTOBUF] = pk_put_protobuf,
    [PK_MAP_TLV] = pk_put_tlv,
    [PK_MAP_MSGPACK] = pk_put_msgpack,
    [PK_MAP_JSON] = pk_put_json,
    [PK_MAP_THRIFT_BINARY] = pk_put_thrift_binary,
    [PK_MAP_THRIFT_COMPACT] = pk_put_thrift_compact,
    [PK_MAP_BLOCKS] = pk_put_blocks,
    [PK_IN_BER] = pk_put_ber,
};

int pk_declared_can_put(uint32_t kind) { return kind < PK_STRUCTURES && putters[kind] != NULL; }

int pk_declared_put(editing *e, uint32_t field, uint32_t kind, pk_slice path, int is_item, pk_slice text) {
  pk_slice section = pk_declared_section(e, field);
  if (section.data == NULL) return PK_ERR_UNSUPPORTED;
  uint64_t room = (uint64_t)section.size + text.size + path.size + PK_MADE_MORE;
  if (room > (uint64_t)e->most + PK_MADE_MORE) return PK_ERR_SPACE;
  uint8_t *made = malloc(room);
  if (made == NULL) return PK_ERR_SPACE;
  pk_made out = {made, made + room};
  int result = putters[kind](section, (pk_path){path.data, path.data + path.size}, is_item, text, &out);
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

/* A key as it stands in a path: a text, or the number that has that name. Its size; 0: there is none. */
static uint32_t key_in(const declared *d, const pk_program_map *m, pk_slice key, uint8_t *to) {
  if (m->names == PK_NOWHERE) {
    to[0] = 1;
    put(to + 1, key.size, 2, 0);
    if (key.size > 0) memcpy(to + 3, key.data, key.size);
    return 3 + key.size;
  }
  const pk_program_table *t = &d->tables[m->names];
  for (uint32_t i = 0; i < t->count; i++) {
    pk_slice name = d->literals[d->entries[t->first + i].value];
    if (name.size != key.size || (key.size > 0 && memcmp(name.data, key.data, key.size) != 0)) continue;
    to[0] = 0;
    put(to + 1, (uint64_t)d->entries[t->first + i].key, 8, 0);
    return 9;
  }
  return 0;
}

int pk_declared_put_item(editing *e, uint32_t field, uint32_t map, pk_slice key, pk_slice text) {
  const pk_program_map *m = &e->d->maps[map];
  pk_slice path = e->d->literals[m->path];
  if (key.size > UINT16_MAX) return PK_ERR_UNSUPPORTED;
  uint8_t *to = malloc(path.size + 9 + key.size);
  if (to == NULL) return PK_ERR_SPACE;
  memcpy(to, path.data, path.size);
  uint32_t size = key_in(e->d, m, key, to + path.size);
  int result = m->kind == PK_MAP_PROTOBUF || size == 0 ? is_text(e, field, m, key) : PK_OK;
  if (size > 0 && (result == PK_OK || text.data == NULL)) result = pk_declared_put(e, field, m->kind, (pk_slice){to, path.size + size}, 1, text);
  else if (size == 0 && text.data != NULL) result = PK_ERR_UNSUPPORTED;
  free(to);
  return result;
}
