/* tlv.c: values of a list of tag, length and value by their tags; the last of several. */
#include "wire/steps/path.h"

enum { LITTLE = 16, SIGNED = 32 };

static int integer(pk_rest *in, int64_t form, int64_t *v) {
  pk_slice raw;
  uint32_t bytes = (uint32_t)form & 15;
  if (bytes < 1 || bytes > 8 || pk_take(in, bytes, &raw) != PK_OK) return PK_ERR_LIMIT;
  uint64_t found = form & LITTLE ? pk_little(raw.data, bytes) : pk_big(raw.data, bytes);
  *v = form & SIGNED ? pk_signed(found, bytes) : (int64_t)found;
  return PK_OK;
}

/* In front of a path stand the forms of tags and lengths: width | 16 little | 32 signed. */
static int find(pk_slice section, pk_path path, pk_found *found) {
  pk_key tags, lengths, key;
  if (!pk_path_next(&path, &tags) || !pk_path_next(&path, &lengths)) return PK_ERR_LIMIT;
  while (pk_path_next(&path, &key)) {
    pk_rest in = {section.data, section.data + section.size};
    section = (pk_slice){NULL, 0};
    while (in.at < in.end) {
      int64_t tag, size;
      pk_slice value;
      if (integer(&in, tags.number, &tag) != PK_OK || integer(&in, lengths.number, &size) != PK_OK || size < 0 ||
          pk_take(&in, (uint64_t)size, &value) != PK_OK)
        return PK_ERR_LIMIT;
      if (key.text.data == NULL && tag == key.number) section = value;
    }
    if (section.data == NULL) return PK_OK;
  }
  *found = pk_found_text(section);
  return PK_OK;
}

int pk_step_tlv(const uint8_t *section, size_t size, const pk_slice *arguments, uint32_t argument_count, pk_slice *out,
                uint32_t count) {
  return pk_find_each(find, section, size, arguments, argument_count, out, count);
}
