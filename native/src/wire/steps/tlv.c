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

/* A list that is written anew: what stays in it stays as it stands. */

typedef struct forms {
  int64_t tags, lengths;
} forms;

static int put_in(pk_slice list, pk_path path, const forms *f, int is_item, pk_slice text, pk_made *out);

/* A value and what is in front of it; `was`: what it is put into, where it stands deeper. */
static int make_value(pk_slice was, int64_t tag, pk_path path, const forms *f, int is_item, pk_slice text, pk_made *out) {
  uint32_t width = (uint32_t)f->tags & 15, bytes = (uint32_t)f->lengths & 15;
  uint32_t bits = 8 * bytes - (f->lengths & SIGNED ? 1 : 0);
  if (width < 1 || width > 8 || bytes < 1 || bytes > 8) return PK_ERR_UNSUPPORTED;
  if ((size_t)(out->end - out->at) < width + bytes) return PK_ERR_SPACE;
  put(out->at, (uint64_t)tag, width, (f->tags & LITTLE) != 0);
  uint8_t *length = out->at + width;
  pk_made inner = {length + bytes, out->end};
  int result = path.at == path.end ? pk_make(&inner, text.data, text.size) : put_in(was, path, f, is_item, text, &inner);
  if (result != PK_OK) return result;
  uint64_t size = (uint64_t)(inner.at - length - bytes);
  if (bits < 64 && size >> bits != 0) return PK_ERR_UNSUPPORTED;
  put(length, size, bytes, (f->lengths & LITTLE) != 0);
  out->at = inner.at;
  return PK_OK;
}

static int put_in(pk_slice list, pk_path path, const forms *f, int is_item, pk_slice text, pk_made *out) {
  pk_rest in = {list.data, list.data + list.size};
  pk_slice value, was = {list.data, 0};
  pk_key key;
  int64_t tag;
  uint32_t times = 0;
  int result = PK_OK;
  if (!pk_path_next(&path, &key) || key.text.data != NULL) return PK_ERR_UNSUPPORTED;
  int last = path.at == path.end, keeps = !last || text.data != NULL;
  while (in.at < in.end) {
    if (next_value(&in, f->tags, f->lengths, &tag, &value) != PK_OK) return PK_ERR_UNSUPPORTED;
    if (tag == key.number) was = value, times++;
  }
  int only = is_item && !last && times > 0; /* of lists of headers under one tag the last alone is changed */
  if (times == 0 && text.data == NULL && (is_item || last)) return pk_make(out, list.data, list.size);
  if (times == 0 && !pk_can_be_made(path, is_item)) return PK_ERR_UNSUPPORTED;
  for (in.at = list.data; in.at < in.end && result == PK_OK;) {
    const uint8_t *from = in.at;
    if (next_value(&in, f->tags, f->lengths, &tag, &value) != PK_OK) return PK_ERR_UNSUPPORTED;
    if (only ? value.data != was.data : tag != key.number) result = pk_make(out, from, (size_t)(in.at - from));
    else if (keeps) keeps = 0, result = make_value(was, tag, path, f, is_item, text, out);
  }
  return result == PK_OK && keeps ? make_value(was, key.number, path, f, is_item, text, out) : result;
}

int pk_put_tlv(pk_slice section, pk_path path, int is_item, pk_slice text, pk_made *out) {
  pk_key tags, lengths;
  if (!pk_path_next(&path, &tags) || !pk_path_next(&path, &lengths)) return PK_ERR_UNSUPPORTED;
  const forms f = {tags.number, lengths.number};
  return put_in(section, path, &f, is_item, text, out);
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
