/* frame.h: Dubbo 2.0.2 frames with hessian2 bodies, as far as a load generator and an echo need them.
 *
 *   0      2     3       4            12            16
 *   | DABB | flag| status| request id | body length | body ...
 *
 * Request body: dubbo version, service, service version, method, descriptor, one String argument,
 * attachments. Answer: 0x91 (a value) and the argument. */
#ifndef FRAME_H
#define FRAME_H

#include <stdint.h>
#include <string.h>

enum { HEADER = 16, STATUS_OK = 20, BODY_MAX = 64 << 20 };
enum { FLAG_REQUEST = 0x80, FLAG_TWO_WAY = 0x40, FLAG_EVENT = 0x20, HESSIAN2 = 2 };
enum { VALUE = 0x91 };

static inline uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t get64(const uint8_t *p) { return (uint64_t)get32(p) << 32 | get32(p + 4); }

static inline void put64(uint8_t *p, uint64_t v) {
  for (int i = 0; i < 8; i++) p[i] = (uint8_t)(v >> (56 - 8 * i));
}

static inline void put_header(uint8_t *p, int flags, int status, uint64_t id, size_t body) {
  p[0] = 0xda;
  p[1] = 0xbb;
  p[2] = (uint8_t)(flags | HESSIAN2);
  p[3] = (uint8_t)status;
  put64(p + 4, id);
  for (int i = 0; i < 4; i++) p[12 + i] = (uint8_t)(body >> (24 - 8 * i));
}

/* Size of the frame at p[0..size), 0 when more bytes are needed, SIZE_MAX when it is none. */
static inline size_t frame_size(const uint8_t *p, size_t size) {
  if (size < HEADER) return 0;
  size_t body = get32(p + 12);
  if (p[0] != 0xda || p[1] != 0xbb || body > BODY_MAX) return SIZE_MAX;
  return size < HEADER + body ? 0 : HEADER + body;
}

/* Size of the tag of an ASCII hessian2 string of one chunk, and its length; 0: it is none, or cut. */
static inline size_t text_tag(const uint8_t *p, const uint8_t *end, size_t *length) {
  size_t left = (size_t)(end - p), tag = 0;
  if (left >= 1 && p[0] < 0x20) {
    *length = p[0];
    tag = 1;
  } else if (left >= 2 && p[0] >= 0x30 && p[0] <= 0x33) {
    *length = (size_t)(p[0] - 0x30) << 8 | p[1];
    tag = 2;
  } else if (left >= 3 && p[0] == 'S') {
    *length = (size_t)p[1] << 8 | p[2];
    tag = 3;
  }
  return tag > 0 && left - tag >= *length ? tag : 0;
}

/* `length` up to 65535, ASCII. */
static inline uint8_t *put_text(uint8_t *p, const char *s, size_t length) {
  if (length < 0x20) {
    *p++ = (uint8_t)length;
  } else if (length < 1024) {
    *p++ = (uint8_t)(0x30 + (length >> 8));
    *p++ = (uint8_t)length;
  } else {
    *p++ = 'S';
    *p++ = (uint8_t)(length >> 8);
    *p++ = (uint8_t)length;
  }
  memcpy(p, s, length);
  return p + length;
}

#endif
