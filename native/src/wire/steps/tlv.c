/* tlv.c: values of a list of tag, length and value by their tags; the last of several. */
#include "wire/steps/path.h"

static int integer(pk_rest *in, int64_t form, int64_t *v) {
  pk_slice raw;
  uint32_t bytes = (uint32_t)form & 15;
  if (bytes < 1 || bytes > 8 || pk_take(in, bytes, &raw) != PK_OK) return PK_ERR_LIMIT;
  *v = integer_of(raw.data, (uint32_t)form);
  return PK_OK;
}

/* The next value of a list, and past it. */
static int next_value(pk_rest *in, int64_t tags, int64_t lengths, int64_t *tag, pk_slice *value) {
  int64_t size;
  if (integer(in, tags, tag) != PK_OK || integer(in, lengths, &size) != PK_OK || size < 0) return PK_ERR_LIMIT;
  return pk_take(in, (uint64_t)size, value);
}

/* In front of a path stand the forms of tags and lengths: width | 16 little | 32 signed. */
static int place_in(pk_slice section, pk_path path, pk_place *place) {
  pk_key tags, lengths, key;
  place->at = (pk_slice){NULL, 0};
  place->count = 0;
  if (!pk_path_next(&path, &tags) || !pk_path_next(&path, &lengths)) return PK_ERR_LIMIT;
  while (pk_path_next(&path, &key)) {
    pk_rest in = {section.data, section.data + section.size};
    if (place->count == PK_PATH_KEYS) return PK_ERR_LIMIT;
    section = (pk_slice){NULL, 0};
    while (in.at < in.end) {
      int64_t tag;
      pk_slice value;
      if (next_value(&in, tags.number, lengths.number, &tag, &value) != PK_OK) return PK_ERR_LIMIT;
      if (key.text.data != NULL || tag != key.number) continue;
      section = value;
      place->around[place->count].at = value.data - (lengths.number & 15);
      place->around[place->count].form = (uint32_t)lengths.number;
    }
    if (section.data == NULL) return PK_OK;
    place->count++;
  }
  place->at = section;
  return PK_OK;
}

void pk_place_tlv(pk_slice section, pk_path path, pk_place *place) {
  place_in(section, path, place); /* to its end, or it says none */
}

enum { FORM = 63, LENGTHS = 8 }; /* the form of tags, and behind it that of lengths */

int pk_open_tlv(pk_slice section, pk_path path, pk_rest *in, uint32_t *form) {
  pk_place list;
  pk_key tags, lengths;
  if (place_in(section, path, &list) != PK_OK) return PK_ERR_LIMIT;
  if (list.at.data == NULL || !pk_path_next(&path, &tags) || !pk_path_next(&path, &lengths)) return PK_MORE;
  *in = (pk_rest){list.at.data, list.at.data + list.at.size};
  *form = (uint32_t)(tags.number & FORM) | (uint32_t)(lengths.number & FORM) << LENGTHS;
  return PK_OK;
}

int pk_next_tlv(pk_rest *in, uint32_t *form, pk_key *key, pk_slice *value) {
  if (in->at == in->end) return PK_MORE;
  return next_value(in, *form & FORM, *form >> LENGTHS, &key->number, value);
}

static int find(pk_slice section, pk_path path, pk_found *found) {
  pk_place place;
  int result = place_in(section, path, &place);
  if (place.at.data != NULL) *found = pk_found_text(place.at);
  return result;
}

int pk_step_tlv(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count, pk_slice *out,
                uint32_t count) {
  return pk_find_each(find, section, size, arguments, argument_count, out, count);
}
