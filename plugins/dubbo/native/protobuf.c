/* protobuf.c: one delimited message an item: StringValue for text, a map of strings for the
 * attachments (field 1 of both, wire type 2). 3.x says every attachment again in field 2, with its Java
 * type; its providers believe that one, older ones do not know it. */
#include <string.h>

#include "layout.h"

enum { VARINT_1 = 0x08, FIELD_1 = 0x0a, FIELD_2 = 0x12, VARINT_MAX = 5 };

static int varint(const uint8_t **at, const uint8_t *end, uint32_t *out) {
  uint64_t v = 0;
  for (int i = 0; i < VARINT_MAX && *at < end; i++) {
    uint8_t b = *(*at)++;
    v |= (uint64_t)(b & 0x7f) << (7 * i);
    if (b & 0x80) continue;
    *out = (uint32_t)v;
    return v > INT32_MAX ? PK_ERR_FORMAT : PK_OK;
  }
  return PK_ERR_FORMAT;
}

static int delimited(const uint8_t **at, const uint8_t *end, pk_slice *out) {
  uint32_t size;
  if (varint(at, end, &size) != PK_OK || size > (size_t)(end - *at)) return PK_ERR_FORMAT;
  *out = (pk_slice){*at, size};
  *at += size;
  return PK_OK;
}

/* The text of a StringValue. PK_ERR_UNSUPPORTED: another message. */
static int string_value(pk_slice message, pk_slice *out) {
  const uint8_t *at = message.data, *end = message.data + message.size;
  *out = (pk_slice){message.data, 0};
  if (message.size == 0) return PK_OK;
  if (*at++ != FIELD_1 || delimited(&at, end, out) != PK_OK || at != end) {
    *out = (pk_slice){NULL, 0};
    return PK_ERR_UNSUPPORTED;
  }
  return PK_OK;
}

static int text(reader *r, pk_slice *out) {
  pk_slice message;
  int result = delimited(&r->h.at, r->h.end, &message);
  return result == PK_OK ? string_value(message, out) : result;
}

static int argument(reader *r, pk_slice *out) {
  pk_slice message;
  int result = delimited(&r->h.at, r->h.end, &message);
  if (result == PK_OK) result = string_value(message, out);
  if (result != PK_OK) *out = (pk_slice){NULL, 0};
  return result;
}

static int is(pk_slice a, const char *text) { return a.size == strlen(text) && memcmp(a.data, text, a.size) == 0; }

/* Whether a message is a text is said by its type alone. */
static int value(reader *r, pk_slice type, pk_value *out) {
  pk_slice message;
  int result = delimited(&r->h.at, r->h.end, &message);
  if (result != PK_OK) return result;
  *out = (pk_value){.type = PK_VALUE_OTHER, .bytes = message};
  if (!is(type, "Lcom/google/protobuf/StringValue;") && !is(type, "Ljava/lang/String;")) return PK_OK;
  out->type = PK_VALUE_TEXT;
  return string_value(message, &out->bytes);
}

static int inside(reader *r, const pk_slice *keys, uint32_t count, pk_value *out) {
  (void)r, (void)keys, (void)count, (void)out;
  return PK_ERR_UNSUPPORTED;
}

/* An Int32Value; 0 is not written. */
static int number(reader *r, int64_t *out) {
  pk_slice message;
  uint32_t v;
  int result = delimited(&r->h.at, r->h.end, &message);
  *out = 0;
  if (result != PK_OK || message.size == 0) return result;
  const uint8_t *at = message.data + 1, *end = message.data + message.size;
  if (*message.data != VARINT_1 || varint(&at, end, &v) != PK_OK || at != end) return PK_ERR_FORMAT;
  *out = v;
  return PK_OK;
}

static int enter(reader *r) {
  pk_slice message;
  if (r->h.at == r->h.end) return PK_MORE;
  int result = delimited(&r->h.at, r->h.end, &message);
  if (result != PK_OK) return result;
  r->h.at = message.data;
  r->map_end = message.data + message.size;
  return PK_OK;
}

/* A message of two delimited fields, of each of which the last counts; what is not written is empty. */
static int two_fields(pk_slice message, pk_slice *first, pk_slice *second) {
  const uint8_t *at = message.data, *end = at + message.size;
  *first = *second = (pk_slice){end, 0};
  while (at < end) {
    uint8_t field = *at++;
    pk_slice one;
    if ((field != FIELD_1 && field != FIELD_2) || delimited(&at, end, &one) != PK_OK) return PK_ERR_FORMAT;
    *(field == FIELD_1 ? first : second) = one;
  }
  return PK_OK;
}

/* The text that an Any holds, together with the name of its Java type: as a message of the two, the text in an Any
 * of its own (bytes of 3.1 and 3.3); or, in later extensions, without a type of its own, as two items. Without data
 * where it is another. */
static pk_slice typed_text(pk_slice any) {
  pk_slice none = {NULL, 0}, url, item, kind, inner, message, found;
  if (two_fields(any, &url, &item) != PK_OK) return none;
  if (url.size > 0) {
    if (two_fields(item, &kind, &inner) != PK_OK || two_fields(inner, &url, &message) != PK_OK) return none;
    if (!is(url, "type.googleapis.com/google.protobuf.StringValue")) return none;
  } else {
    const uint8_t *at = item.data, *end = at + item.size;
    if (delimited(&at, end, &inner) != PK_OK || string_value(inner, &kind) != PK_OK) return none;
    if (delimited(&at, end, &message) != PK_OK) return none;
  }
  return is(kind, "java.lang.String") && string_value(message, &found) == PK_OK ? found : none;
}

static int pair(reader *r, pk_slice *key, pk_slice *value, int64_t *number) {
  pk_slice entry;
  *key = *value = r->again = (pk_slice){NULL, 0};
  *number = 0;
  r->veiled = 0;
  if (r->h.at == r->map_end) return PK_MORE;
  uint8_t form = *r->h.at++;
  if ((form != FIELD_1 && form != FIELD_2) || delimited(&r->h.at, r->map_end, &entry) != PK_OK) return PK_ERR_FORMAT;
  r->value = entry.data;
  if (two_fields(entry, key, value) != PK_OK) return PK_ERR_FORMAT;
  if (form == FIELD_2) {
    r->again = *key;
    *key = (pk_slice){NULL, 0};
    *value = typed_text(*value);
  }
  return PK_OK;
}

static uint32_t varint_size(uint32_t v) {
  uint32_t n = 1;
  while (v >= 0x80) v >>= 7, n++;
  return n;
}

static void put_varint(writer *w, uint32_t v) {
  for (; v >= 0x80; v >>= 7) write_byte(w, (uint8_t)(v | 0x80));
  write_byte(w, (uint8_t)v);
}

static void put_field(writer *w, uint8_t tag, pk_slice s) {
  write_byte(w, tag);
  put_varint(w, s.size);
  write_bytes(w, s.data, s.size);
}

static uint32_t field_size(pk_slice s) { return 1 + varint_size(s.size) + s.size; }

static void put_text(writer *w, pk_slice s) {
  put_varint(w, s.size == 0 ? 0 : field_size(s));
  if (s.size > 0) put_field(w, FIELD_1, s);
}

static void open_map(writer *w, const reader *r) {
  (void)r;
  w->map = w->at;
  write_bytes(w, "\0\0\0\0\0", VARINT_MAX); /* the size, written when it is known */
}

static void copy_pair(writer *w, const uint8_t *data, size_t size) { write_bytes(w, data, size); }

static void put_pair(writer *w, pk_slice key, pk_slice value) {
  write_byte(w, FIELD_1);
  put_varint(w, field_size(key) + field_size(value));
  put_field(w, FIELD_1, key);
  put_field(w, FIELD_2, value);
}

static void close_map(writer *w) {
  if (w->full) return;
  uint32_t size = (uint32_t)(w->at - w->map - VARINT_MAX), width = varint_size(size);
  memmove(w->map + width, w->map + VARINT_MAX, size);
  w->at = w->map;
  put_varint(w, size);
  w->at += size;
}

static int anchors(const uint8_t *value, const uint8_t *end) {
  (void)value;
  (void)end;
  return 0;
}

const layout protobuf_layout = {text, argument, value,     inside,   number,    enter,  pair, put_text,
                                open_map, copy_pair, put_pair, close_map, anchors};
