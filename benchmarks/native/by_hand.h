/* by_hand.h: the hand-written codecs that declared ones are compared with, and bytes in the network's order. */
#ifndef BENCH_BY_HAND_H
#define BENCH_BY_HAND_H

#include <string.h>

#include <protokit/codec.h>

extern const pk_codec bolt_by_hand, thrift_by_hand;  /* all that the declared one does */
extern const pk_codec bolt_framing, thrift_framing;  /* no destination is read */

static inline uint32_t get32(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return __builtin_bswap32(v);
}

static inline uint32_t get16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }

static inline void put32(uint8_t *p, uint32_t v) {
  v = __builtin_bswap32(v);
  memcpy(p, &v, 4);
}

/* What is asked of none of them. */
static inline int by_hand_nowhere(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  (void)c, (void)data, (void)f, (void)out;
  return PK_ERR_UNSUPPORTED;
}

static inline int by_hand_no_header(const pk_codec *c, const uint8_t *d, const pk_frame *f, pk_cursor *k,
                                    pk_header *o) {
  (void)c, (void)d, (void)f, (void)k, (void)o;
  return PK_MORE;
}

static inline int by_hand_nothing(const pk_codec *c, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  (void)c, (void)id, (void)key, (void)out, (void)cap;
  return 0;
}

static inline int by_hand_no_ack(const pk_codec *c, const uint8_t *d, const pk_frame *f, uint8_t *out, size_t cap) {
  (void)c, (void)d, (void)f, (void)out, (void)cap;
  return 0;
}

static inline int by_hand_no_reply(const pk_codec *c, const pk_reply *reply, uint8_t *out, size_t cap) {
  (void)c, (void)reply, (void)out, (void)cap;
  return 0;
}

#define BY_HAND(protocol, probes, frames, where, patches, ...)                                                    \
  {                                                                                                          \
    .abi = PK_CODEC_ABI, .size = sizeof(pk_codec), .name = protocol, .mode = PK_MODE_MULTIPLEXED,           \
    .id_bytes = 4, .reply_max = 64, .probe = probes, .frame = frames, .destination = where,                  \
    .next_header = by_hand_no_header, .patch_id = patches, .heartbeat = by_hand_nothing,                     \
    .heartbeat_ack = by_hand_no_ack, .drain = by_hand_no_reply, .error = by_hand_no_reply, __VA_ARGS__                    \
  }

#endif
