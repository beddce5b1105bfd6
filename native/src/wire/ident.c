/* ident.c: see ident.h. */
#include "wire/ident.h"

#include <string.h>

#include "base/hash.h"

enum { UUID = 36 };

uint32_t pk_id_digits(uint32_t form, uint32_t id_bytes) {
  static const uint8_t decimal[9] = {0, 3, 5, 8, 10, 13, 15, 17, 20};
  if (form == PK_ID_DECIMAL) return decimal[id_bytes];
  if (form == PK_ID_HEX) return 2 * id_bytes;
  if (form == PK_ID_VARINT) return (8 * id_bytes + 6) / 7;
  if (form == PK_ID_QUOTED) return decimal[id_bytes] + 2u;
  if (form == PK_ID_INTEGER) return id_bytes + 1;
  if (form == PK_ID_MSGPACK) return 1 + (id_bytes > 4 ? 8 : id_bytes > 2 ? 4 : id_bytes);
  return form == PK_ID_RAW ? id_bytes : UUID;
}

/* Digits from the right; `size` of them, or with 0 as many as it takes. */
static uint32_t write_digits(uint64_t number, uint32_t base, uint32_t size, uint8_t *out) {
  uint8_t digits[PK_ID_MAX];
  uint32_t n = 0;
  do {
    digits[n++] = (uint8_t)"0123456789abcdef"[number % base];
    number /= base;
  } while (n < PK_ID_MAX && (size == 0 ? number > 0 : n < size));
  for (uint32_t i = 0; i < n; i++) out[i] = digits[n - 1 - i];
  return n;
}

static uint32_t write_varint(uint64_t number, uint8_t *out) {
  uint32_t n = 0;
  for (; number >= 0x80; number >>= 7) out[n++] = (uint8_t)(number | 0x80);
  out[n++] = (uint8_t)number;
  return n;
}

static uint32_t write_integer(uint64_t number, uint8_t *out) {
  uint32_t n = 1;
  while (n < 9 && number >> (8 * n - 1) != 0) n++;
  for (uint32_t i = 0; i < n; i++) out[n - 1 - i] = (uint8_t)(i < 8 ? number >> (8 * i) : 0);
  return n;
}

static uint32_t write_quoted(uint64_t number, uint8_t *out) {
  uint32_t n = write_digits(number, 10, 0, out + 1);
  out[0] = out[n + 1] = '"';
  return n + 2;
}

static uint32_t write_msgpack(uint64_t number, uint8_t *out) {
  uint32_t width = number >> 32 != 0 ? 3 : number >> 16 != 0 ? 2 : number >> 8 != 0, n = 1u << width;
  out[0] = number < 128 ? (uint8_t)number : (uint8_t)(0xcc + width);
  if (number < 128) return 1;
  for (uint32_t i = 0; i < n; i++) out[n - i] = (uint8_t)(number >> (8 * i));
  return n + 1;
}

/* An integer that is not below 0. */
static int read_msgpack(pk_slice id, uint64_t *number) {
  uint8_t tag = id.size > 0 ? id.data[0] : 0xc1;
  *number = tag;
  if (tag < 128) return id.size == 1;
  int is_signed = tag >= 0xd0;
  uint32_t bytes = 1u << (tag & 3);
  if (tag < 0xcc || tag > 0xd3 || id.size != bytes + 1 || (is_signed && id.data[1] & 0x80)) return 0;
  *number = 0;
  for (uint32_t i = 0; i < bytes; i++) *number = *number << 8 | id.data[1 + i];
  return 1;
}

static uint32_t write_uuid(uint64_t number, uint8_t *out) {
  static const uint8_t groups[] = {8, 4, 4, 4, 12};
  uint8_t digits[32];
  uint32_t n = 0, from = 0;
  write_digits(number, 16, sizeof digits, digits);
  for (uint32_t i = 0; i < sizeof groups; i++) {
    if (i > 0) out[n++] = '-';
    memcpy(out + n, digits + from, groups[i]);
    n += groups[i];
    from += groups[i];
  }
  return n;
}

uint32_t pk_id_write(const pk_codec *c, uint64_t number, uint8_t *out) {
  uint32_t size = c->id_fixed ? c->id_max : 0;
  if (c->id_form == PK_ID_UUID) return write_uuid(number, out);
  if (c->id_form == PK_ID_VARINT) return write_varint(number, out);
  if (c->id_form == PK_ID_QUOTED) return write_quoted(number, out);
  if (c->id_form == PK_ID_INTEGER) return write_integer(number, out);
  if (c->id_form == PK_ID_MSGPACK) return write_msgpack(number, out);
  if (c->id_form != PK_ID_RAW) return write_digits(number, c->id_form == PK_ID_HEX ? 16 : 10, size, out);
  if (size == 0) size = c->id_bytes;
  for (uint32_t i = 0; i < size; i++) out[size - 1 - i] = (uint8_t)(i < 8 ? number >> (8 * i) : 0);
  return size;
}

static uint32_t digit_of(uint8_t byte) { return byte >= 'a' ? byte - 'a' + 10u : byte - (uint32_t)'0'; }

int pk_id_read(const pk_codec *c, pk_slice id, uint64_t *number) {
  uint8_t again[PK_ID_MAX];
  uint64_t n = 0;
  for (uint32_t i = 0; i < id.size; i++) { /* whatever it is: written again it has to be the same */
    if (c->id_form == PK_ID_RAW || c->id_form == PK_ID_INTEGER) {
      n = n << 8 | id.data[i];
    } else if (c->id_form == PK_ID_VARINT) {
      n |= i < 10 ? (uint64_t)(id.data[i] & 0x7f) << (7 * i) : 0;
    } else if (c->id_form == PK_ID_DECIMAL || c->id_form == PK_ID_QUOTED) {
      if (id.data[i] != '"') n = n * 10 + digit_of(id.data[i]);
    } else if (id.data[i] != '-') {
      n = n << 4 | (digit_of(id.data[i]) & 15);
    }
  }
  int read = c->id_form != PK_ID_MSGPACK || read_msgpack(id, &n);
  if (!read || (c->id_bytes < 8 && n >> (8 * c->id_bytes) != 0)) return 0;
  *number = n;
  if (c->id_form == PK_ID_MSGPACK) return 1; /* in any width */
  return pk_id_write(c, n, again) == id.size && memcmp(again, id.data, id.size) == 0;
}

uint64_t pk_id_hash(const pk_codec *c, pk_slice id) {
  uint8_t shortest[PK_ID_MAX];
  uint64_t n;
  if (c->id_form == PK_ID_MSGPACK && read_msgpack(id, &n)) id = (pk_slice){shortest, write_msgpack(n, shortest)};
  return pk_hash(0, id.data, id.size);
}

int pk_id_same(const pk_codec *c, pk_slice a, pk_slice b) {
  uint64_t n, m;
  if (a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0)) return 1;
  return c->id_form == PK_ID_MSGPACK && read_msgpack(a, &n) && read_msgpack(b, &m) && n == m;
}

pk_slice pk_id_of(const pk_codec *c, const uint8_t *data, const pk_frame *f, size_t size) {
  pk_span id = f->id_span;
  if (id.at == PK_NO_ID || id.at > size || id.size > size - id.at || id.size > c->id_max)
    return (pk_slice){NULL, 0};
  return (pk_slice){data + id.at, id.size};
}
