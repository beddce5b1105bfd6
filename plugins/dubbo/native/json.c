/* json.c: fastjson and gson. Every item is one JSON text on a line of its own. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* strtod_l */
#endif
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"

/* The string in front. Text with escapes has no data: it does not stand as plain UTF-8. */
static int string(const uint8_t **at, const uint8_t *end, pk_slice *out) {
  const uint8_t *from = ++*at;
  int plain = 1;
  for (; *at < end && **at != '"' && **at != '\n'; ++*at) {
    if (**at != '\\') continue;
    plain = 0;
    if (++*at == end || **at == '\n') return PK_ERR_FORMAT;
  }
  if (*at == end || **at != '"') return PK_ERR_FORMAT;
  *out = plain ? (pk_slice){from, (uint32_t)(*at - from)} : (pk_slice){NULL, 0};
  ++*at;
  return plain ? PK_OK : PK_ERR_UNSUPPORTED;
}

/* Past the line's end. */
static int next_line(reader *r, const uint8_t **end) {
  const uint8_t *from = r->h.at;
  const uint8_t *newline = from == r->h.end ? NULL : memchr(from, '\n', (size_t)(r->h.end - from));
  if (newline == NULL) return PK_ERR_FORMAT;
  r->h.at = newline + 1;
  *end = newline > from && newline[-1] == '\r' ? newline - 1 : newline;
  return PK_OK;
}

static int text(reader *r, pk_slice *out) {
  const uint8_t *at = r->h.at, *end;
  *out = (pk_slice){NULL, 0};
  int result = next_line(r, &end);
  if (result != PK_OK) return result;
  if (end - at == 4 && memcmp(at, "null", 4) == 0) return PK_OK;
  if (end - at < 2 || *at != '"') return PK_ERR_FORMAT;
  result = string(&at, end, out);
  return result == PK_OK && at != end ? PK_ERR_FORMAT : result;
}

static int enter(reader *r) {
  if (r->h.at == r->h.end) return PK_MORE;
  if (*r->h.at == 'n') return PK_MORE;
  return *r->h.at++ == '{' ? PK_OK : PK_ERR_UNSUPPORTED;
}

/* A value that is no string: up to the comma, brace or bracket that ends it. */
static int skip_value(const uint8_t **at, const uint8_t *end) {
  pk_slice ignored;
  uint32_t depth = 0;
  while (*at < end && **at != '\n') {
    uint8_t c = **at;
    if (c == '"') {
      if (string(at, end, &ignored) == PK_ERR_FORMAT) return PK_ERR_FORMAT;
      continue;
    }
    if (depth == 0 && (c == ',' || c == '}' || c == ']')) return PK_OK;
    if (c == '{' || c == '[') depth++;
    if (c == '}' || c == ']') depth--;
    ++*at;
  }
  return PK_ERR_FORMAT;
}

static int64_t digits(const uint8_t *at, const uint8_t *end) {
  int64_t v = 0;
  if (end - at > 18 || at == end) return 0;
  for (; at < end; at++) {
    if (*at < '0' || *at > '9') return 0;
    v = v * 10 + (*at - '0');
  }
  return v;
}

/* A number without a fraction, as far as 64 bits hold it; PK_MORE: it is none. */
static int integer(const uint8_t *at, const uint8_t *end, int64_t *out) {
  int negative = at < end && *at == '-';
  uint64_t v = 0, most = (uint64_t)INT64_MAX + (uint64_t)negative;
  at += negative;
  if (at == end || (*at == '0' && (negative || end - at > 1))) return PK_MORE; /* a text keeps what a number loses */
  for (; at < end; at++) {
    uint64_t digit = *at - (uint64_t)'0';
    if (digit > 9 || v > (most - digit) / 10) return PK_MORE;
    v = v * 10 + digit;
  }
  *out = negative ? (int64_t)(0 - v) : (int64_t)v;
  return PK_OK;
}

/* A number in general; PK_MORE: it is none, or longer than anybody writes one. */
static int decimal(const uint8_t *at, const uint8_t *end, double *out) {
  char digits[64];
  size_t size = (size_t)(end - at);
  if (size == 0 || size >= sizeof digits || (*at != '-' && (*at < '0' || *at > '9'))) return PK_MORE;
  for (size_t i = 0; i < size; i++)
    if (memchr("0123456789+-.eE", at[i], 15) == NULL) return PK_MORE;
  memcpy(digits, at, size);
  digits[size] = 0;
  char *stop = digits;
  locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* the process's may have another point */
  if (plain == (locale_t)0) return PK_MORE;
  *out = strtod_l(digits, &stop, plain);
  freelocale(plain);
  return stop == digits + size ? PK_OK : PK_MORE;
}

static int is(const uint8_t *at, const uint8_t *end, const char *word) {
  size_t size = strlen(word);
  return (size_t)(end - at) == size && memcmp(at, word, size) == 0;
}

static int value_of(const uint8_t *at, const uint8_t *end, pk_value *out) {
  *out = (pk_value){.type = PK_VALUE_OTHER, .bytes = {at, (uint32_t)(end - at)}};
  if (at < end && *at == '"') {
    out->type = PK_VALUE_TEXT;
    int result = string(&at, end, &out->bytes);
    return result == PK_OK && at != end ? PK_ERR_FORMAT : result;
  }
  if (is(at, end, "null")) {
    out->type = PK_VALUE_NULL;
  } else if (is(at, end, "true") || is(at, end, "false")) {
    out->type = PK_VALUE_BOOLEAN, out->integer = *at == 't';
  } else if (integer(at, end, &out->integer) == PK_OK) {
    out->type = PK_VALUE_INTEGER;
  } else if (decimal(at, end, &out->number) == PK_OK) {
    out->type = PK_VALUE_NUMBER;
  } else if (at == end || (*at != '{' && *at != '[')) { /* what is no JSON is a text to who is lenient */
    return PK_ERR_LIMIT;
  }
  return PK_OK;
}

/* Whether a line is JSON as it is written without spaces, but for its nesting: whoever takes more (other quotes, spaces,
 * comments, letters behind numbers) reads other keys. */
static int is_strict(const uint8_t *at, const uint8_t *end) {
  static const char other[] = "{}[],:+-.0123456789eEtrufalsn";
  pk_slice ignored;
  while (at < end) {
    if (*at == '"') {
      if (string(&at, end, &ignored) == PK_ERR_FORMAT) return 0;
    } else if (memchr(other, *at++, sizeof other - 1) == NULL) {
      return 0;
    }
  }
  return 1;
}

static int value(reader *r, pk_slice type, pk_value *out) {
  const uint8_t *at = r->h.at, *end;
  (void)type;
  int result = next_line(r, &end);
  return result == PK_OK ? value_of(at, end, out) : result;
}

/* Whatever stands in a line, the next one is another argument: only who asks for this one is told that it is none. */
static int argument(reader *r, pk_slice *out) {
  const uint8_t *at = r->h.at, *end;
  pk_value v;
  *out = (pk_slice){NULL, 0};
  int result = next_line(r, &end);
  if (result != PK_OK) return result;
  if (value_of(at, end, &v) != PK_OK) return PK_ERR_UNSUPPORTED;
  if (v.type == PK_VALUE_TEXT) *out = v.bytes;
  return PK_OK;
}

/* To the value of a field of the object in front. Of several the last; a name in escapes may be any. */
static int field(const uint8_t **at, const uint8_t *end, int alike, pk_slice key) {
  const uint8_t *found = NULL;
  for (++*at; *at < end && **at == '"';) {
    pk_slice name;
    int spelt = string(at, end, &name);
    if (spelt == PK_ERR_FORMAT || *at == end || *(*at)++ != ':') return PK_ERR_FORMAT;
    if (spelt == PK_ERR_UNSUPPORTED) return PK_ERR_LIMIT;
    if (name.size == 4 && memcmp(name.data, "$ref", 4) == 0) return PK_ERR_UNSUPPORTED; /* it stands elsewhere */
    int is = name.size == key.size && memcmp(name.data, key.data, key.size) == 0;
    if (!is && dubbo_may_be_key(alike, name, key)) return PK_ERR_LIMIT;
    if (is) found = *at;
    if (skip_value(at, end) != PK_OK) return PK_ERR_FORMAT;
    if (*at < end && **at == ',') ++*at;
  }
  if (*at == end || **at != '}') return PK_ERR_FORMAT;
  *at = found;
  return found == NULL ? PK_MORE : PK_OK;
}

/* To an item of the list in front. */
static int item(const uint8_t **at, const uint8_t *end, uint32_t index) {
  if (++*at == end || **at == ']') return *at == end ? PK_ERR_FORMAT : PK_MORE;
  for (uint32_t i = 0; i < index; i++) {
    if (skip_value(at, end) != PK_OK || *at == end || **at == '}') return PK_ERR_FORMAT;
    if (*(*at)++ == ']') return PK_MORE;
  }
  return PK_OK;
}

static int inside(reader *r, const pk_slice *keys, uint32_t count, pk_value *out) {
  static const pk_slice none = {(const uint8_t *)"", 0};
  const uint8_t *at = r->h.at, *end;
  int result = next_line(r, &end);
  if (result != PK_OK) return result;
  if (!is_strict(at, end)) return PK_ERR_LIMIT;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t index = index_of(keys[i]);
    uint8_t front = at < end ? *at : 0;
    /* what is behind a key is in front of what ends its object or list */
    result = PK_MORE;
    if (front == '{') result = field(&at, end, r->alike, keys[i]);
    if (front == '[' && index != UINT32_MAX) result = item(&at, end, index);
    if (result != PK_OK) return result;
  }
  const uint8_t *from = at;
  if (*at == '{' && (result = field(&at, end, 0, none)) != PK_MORE && result != PK_OK) return result;
  at = from;
  return skip_value(&at, end) == PK_OK ? value_of(from, at, out) : PK_ERR_FORMAT;
}

static int number(reader *r, int64_t *out) {
  const uint8_t *at = r->h.at, *end;
  int result = next_line(r, &end);
  return result == PK_OK ? integer(at, end, out) : result;
}

/* fastjson reads \u0070 and \x70, and \/ as a sign that names have. */
static int numbered(const uint8_t *at, const uint8_t *end) {
  for (; at + 1 < end; at++) {
    if (*at != '\\') continue;
    at++;
    if (*at == 'u' || *at == 'x' || *at == '/' || (*at >= '0' && *at <= '7')) return 1;
  }
  return 0;
}

static int pair(reader *r, pk_slice *key, pk_slice *value, int64_t *number) {
  pk_values *h = &r->h;
  *key = *value = (pk_slice){NULL, 0};
  *number = 0;
  r->veiled = 0;
  if (h->at == h->end) return PK_ERR_FORMAT;
  if (*h->at == '}') return PK_MORE;
  if (*h->at == ',') h->at++;
  if (h->at == h->end || *h->at != '"') return PK_ERR_FORMAT;
  const uint8_t *name = h->at;
  int spelt = string(&h->at, h->end, key);
  if (spelt == PK_ERR_FORMAT) return PK_ERR_FORMAT;
  /* Escapes by number may spell any name; all others stand for signs that are in no name of Dubbo's. */
  if (spelt == PK_ERR_UNSUPPORTED && numbered(name, h->at)) r->veiled = VEILED_KEY;
  if (h->at == h->end || *h->at++ != ':' || h->at == h->end) return PK_ERR_FORMAT;
  const uint8_t *from = r->value = h->at;
  if (*from == '"') {
    spelt = string(&h->at, h->end, value);
    if (spelt == PK_ERR_UNSUPPORTED) r->veiled |= VEILED_VALUE;
    return spelt == PK_ERR_FORMAT ? PK_ERR_FORMAT : PK_OK;
  }
  int result = skip_value(&h->at, h->end);
  if (result == PK_OK) *number = digits(from, h->at);
  pk_value ignored;
  if (result == PK_OK && value_of(from, h->at, &ignored) != PK_OK) r->veiled |= VEILED_VALUE;
  return result;
}

static void put_value(writer *w, pk_slice s) {
  static const char hex[] = "0123456789abcdef";
  write_byte(w, '"');
  for (uint32_t i = 0; i < s.size; i++) {
    uint8_t c = s.data[i];
    if (c < 0x20) {
      const char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
      write_bytes(w, escape, sizeof escape);
      continue;
    }
    if (c == '"' || c == '\\') write_byte(w, '\\');
    write_byte(w, c);
  }
  write_byte(w, '"');
}

static void put_text(writer *w, pk_slice s) {
  put_value(w, s);
  write_byte(w, '\n');
}

static void open_map(writer *w, const reader *r) {
  (void)r;
  write_byte(w, '{');
}

static void separate(writer *w) {
  if (w->pairs++ > 0) write_byte(w, ',');
}

static void copy_pair(writer *w, const uint8_t *data, size_t size) {
  separate(w);
  if (size > 0 && *data == ',') data++, size--;
  write_bytes(w, data, size);
}

static void put_pair(writer *w, pk_slice key, pk_slice value) {
  separate(w);
  put_value(w, key);
  write_byte(w, ':');
  put_value(w, value);
}

static void close_map(writer *w) { write_bytes(w, "}\n", 2); }

static int anchors(const uint8_t *value, const uint8_t *end) {
  return value < end && (*value == '{' || *value == '['); /* fastjson refers by path ($.a) */
}

const layout json_layout = {text, argument, value,     inside,   number,    enter,  pair, put_text,
                            open_map, copy_pair, put_pair, close_map, anchors};
