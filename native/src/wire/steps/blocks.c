/* blocks.c: blocks of pairs one behind the other: each a type, a count and so many keys and values, with a length before each;
 * every number a varint that is no longer than it must be. Behind them zeros may stand: padding. Of a key that stands twice
 * the last counts, in whichever block.
 *
 * Of a block of another type nobody knows the size, and behind it, or behind padding, some readers look for more blocks and
 * some do not: it is PK_ERR_LIMIT. */
#include "wire/steps/path.h"

enum { OPTIONS = 2 }; /* in front of a path: to a multiple of how many bytes they are filled, and how many in front are counted, too */
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
  for (int i = 0; i < OPTIONS; i++) pk_path_next(&path, &type);
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

/* Blocks that are written anew: a pair stands where the first of its key did, else behind all pairs; a block that loses
 * all that it had goes. */

typedef struct block {
  uint64_t count, same; /* pairs, and those of the key */
  const uint8_t *from, *end;
} block;

/* The block in front, all of which was read before, and past it. */
static void next_block(pk_rest *in, pk_slice key, block *b) {
  uint64_t type;
  pk_slice name, value;
  *b = (block){0, 0, NULL, NULL};
  number(in, &type), number(in, &b->count);
  b->from = in->at;
  for (uint64_t i = 0; i < b->count; i++)
    if (text(in, &name) == PK_OK && text(in, &value) == PK_OK) b->same += (uint64_t)pk_same_text(key, name.data, name.size);
  b->end = in->at;
}

static int make_text(pk_made *out, pk_slice said) {
  int result = pk_make_varint(out, said.size);
  return result != PK_OK ? result : pk_make(out, said.data, said.size);
}

static int make_pair(pk_made *out, pk_slice key, pk_slice value) {
  int result = make_text(out, key);
  return result != PK_OK ? result : make_text(out, value);
}

/* A block again, with another value in it where the first of the key was, or `behind` all. */
static int make_block(pk_made *out, const block *b, uint64_t type, pk_slice key, pk_slice value, int behind) {
  pk_rest in = {b->from, b->end};
  pk_slice name, one;
  int puts = value.data != NULL;
  uint64_t count = b->count - b->same + (uint64_t)(puts && (b->same > 0 || behind));
  if (count == 0 && b->count > 0) return PK_OK;
  int result = count > MOST ? PK_ERR_UNSUPPORTED : pk_make_varint(out, type);
  if (result == PK_OK) result = pk_make_varint(out, count);
  while (result == PK_OK && in.at < in.end) {
    if (text(&in, &name) != PK_OK || text(&in, &one) != PK_OK) return PK_ERR_UNSUPPORTED;
    if (!pk_same_text(key, name.data, name.size)) result = make_pair(out, name, one);
    else if (puts) puts = 0, result = make_pair(out, key, value);
  }
  return result == PK_OK && behind ? make_pair(out, key, value) : result;
}

int pk_put_blocks(pk_slice section, pk_path path, int is_item, pk_slice value, pk_made *out) {
  pk_key align, front, type, key, name;
  pk_rest in, all;
  pk_slice one;
  uint32_t form, there = 0;
  int result, had = 0;
  (void)is_item; /* all that stands in a block is */
  if (pk_open_blocks(section, path, &in, &form) != PK_OK || !pk_path_next(&path, &align) || !pk_path_next(&path, &front) ||
      !pk_path_next(&path, &type) || !pk_path_next(&path, &key) || key.text.data == NULL || align.number < 1)
    return PK_ERR_UNSUPPORTED;
  all = in;
  while ((result = pk_next_blocks(&in, &form, &name, &one)) == PK_OK) there |= (uint32_t)pk_same_text(key.text, name.text.data, name.text.size);
  if (result != PK_MORE) return PK_ERR_UNSUPPORTED;
  if (!there && value.data == NULL) return pk_make(out, section.data, section.size);
  const uint8_t *start = out->at;
  for (int more = 1; more && result == PK_MORE;) {
    block b;
    more = all.at < all.end && *all.at != 0;
    if (!more) break;
    next_block(&all, key.text, &b);
    int behind = !there && b.count > 0 && (all.at == all.end || *all.at == 0);
    had |= behind;
    int made = make_block(out, &b, (uint64_t)type.number, key.text, value, behind);
    if (made != PK_OK) result = made;
    if (b.same > 0) value.data = NULL;
  }
  if (result != PK_MORE) return result;
  const block none = {0, 0, all.at, all.at};
  result = !there && !had ? make_block(out, &none, (uint64_t)type.number, key.text, value, 1) : PK_OK;
  uint64_t by = (uint64_t)align.number, left = (uint64_t)(all.end - all.at);
  uint64_t filled = (by - ((uint64_t)front.number + (uint64_t)(all.at - section.data)) % by) % by;
  uint64_t zeros = (by - ((uint64_t)front.number + (uint64_t)(out->at - start)) % by) % by;
  if (left > filled) zeros += (left - filled) / by * by;
  for (; result == PK_OK && zeros > 0; zeros--) result = pk_make_big(out, 0, 1);
  return result;
}

static int find(pk_slice section, pk_path path, pk_found *found) {
  pk_rest in;
  pk_key key;
  pk_slice value, wanted;
  uint32_t form;
  if (pk_open_blocks(section, path, &in, &form) != PK_OK) return PK_ERR_LIMIT;
  for (int i = 0; i <= OPTIONS; i++) pk_path_next(&path, &key);
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
