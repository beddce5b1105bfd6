/* blocks.c: blocks of pairs one behind the other: each a type, a count and so many keys and values, with a length before each;
 * every number a varint that is no longer than it must be. Behind them zeros may stand: padding. Of a key that stands twice
 * the last counts, in whichever block.
 *
 * Of a block of another type nobody knows the size, and behind it, or behind padding, some readers look for more blocks and
 * some do not: it is PK_ERR_LIMIT. */
#include "wire/steps/path.h"

enum { TYPE = 0xff, COUNT = 8, MOST = (1 << 24) - 1 }; /* of `form`: a block's type, the pairs left in it; pairs at most */

static int number(pk_rest *in, uint64_t *v) {
  const uint8_t *from = in->at;
  if (pk_varint(in, v) != PK_OK) return PK_ERR_LIMIT;
  return in->at - from > 1 && in->at[-1] == 0 ? PK_ERR_LIMIT : PK_OK;
}

static int text(pk_rest *in, pk_slice *out) {
  uint64_t size;
  return number(in, &size) != PK_OK ? PK_ERR_LIMIT : pk_take(in, size, out);
}

static int padding(pk_rest *in) {
  while (in->at < in->end)
    if (*in->at++ != 0) return PK_ERR_LIMIT;
  return PK_MORE;
}

int pk_open_blocks(pk_slice section, pk_path path, pk_rest *in, uint32_t *form) {
  pk_key type;
  if (!pk_path_next(&path, &type)) return PK_MORE;
  *in = (pk_rest){section.data, section.data + section.size};
  *form = (uint32_t)type.number & TYPE;
  return PK_OK;
}

int pk_next_blocks(pk_rest *in, uint32_t *form, pk_key *key, pk_slice *value) {
  uint64_t type, count = *form >> COUNT;
  while (count == 0) {
    if (in->at == in->end || *in->at == 0) return padding(in);
    if (number(in, &type) != PK_OK || type != (*form & TYPE)) return PK_ERR_LIMIT;
    if (number(in, &count) != PK_OK || count > MOST) return PK_ERR_LIMIT;
  }
  *form = (*form & TYPE) | (uint32_t)(count - 1) << COUNT;
  return text(in, &key->text) != PK_OK ? PK_ERR_LIMIT : text(in, value);
}

static int find(pk_slice section, pk_path path, pk_found *found) {
  pk_rest in;
  pk_key key;
  pk_slice value, wanted;
  uint32_t form;
  if (pk_open_blocks(section, path, &in, &form) != PK_OK) return PK_ERR_LIMIT;
  pk_path_next(&path, &key);
  if (!pk_path_next(&path, &key)) return PK_OK; /* of a block as a whole nothing is a text */
  wanted = key.text;
  for (;;) {
    int result = pk_next_blocks(&in, &form, &key, &value);
    if (result != PK_OK) return result == PK_MORE ? PK_OK : result;
    if (pk_same_text(wanted, key.text.data, key.text.size)) *found = pk_found_text(value);
  }
}

int pk_step_blocks(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count, pk_slice *out,
                   uint32_t count) {
  return pk_find_each(find, section, size, arguments, argument_count, out, count);
}
