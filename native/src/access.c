/* access.c: see access.h. */
#include "access.h"

#include <string.h>

static const pk_codec *codec_at(uintptr_t codec) { return (const pk_codec *)codec; }

const char *pk_codec_check(uintptr_t address) {
  const pk_codec *c = codec_at(address);
  if (c == NULL) return "its address is 0";
  if (c->abi != PK_CODEC_ABI) return "it was built for another version of the codec ABI";
  if (c->size < sizeof(pk_codec)) return "its pk_codec is shorter than this engine's";
  if (c->name == NULL) return "it has no name";
  if (c->mode > PK_MODE_PINGPONG) return "its mode is none of PK_MODE_*";
  if (c->id_bytes > 8) return "its ids are wider than 8 bytes";
  if ((c->mode == PK_MODE_MULTIPLEXED) != (c->id_bytes > 0))
    return "ids go with PK_MODE_MULTIPLEXED and only with it";
  if (c->reserved_count > 4) return "it reserves more than 4 ids";
  if (c->probe == NULL || c->frame == NULL || c->destination == NULL || c->next_header == NULL ||
      c->heartbeat == NULL || c->heartbeat_ack == NULL || c->drain == NULL || c->error == NULL ||
      (c->id_bytes > 0 && c->patch_id == NULL))
    return "a function is missing";
  if (c->reply_max == 0 || c->reply_max > 65536) return "its reply_max is not in 1..65536";
  return NULL;
}

const char *pk_codec_name(uintptr_t codec) { return codec_at(codec)->name; }

pk_message_info pk_codec_frame(uintptr_t codec, const uint8_t *data, size_t size, uint32_t limit) {
  pk_frame f = {.need = (uint32_t)size + 1};
  int result = codec_at(codec)->frame(codec_at(codec), data, size, limit, &f);
  return (pk_message_info){result,       f.kind,    f.status,       f.size,     f.need,
                           f.timeout_ms, f.context, f.upstream_key, f.error_at, f.id};
}

pk_destination_info pk_codec_destination(uintptr_t codec, const uint8_t *data, size_t size) {
  const pk_codec *c = codec_at(codec);
  pk_frame f = {0};
  pk_destination_info info = {.result = c->frame(c, data, size, UINT32_MAX / 2, &f)};
  pk_destination d = {.context = f.context};
  if (info.result == PK_OK) info.result = c->destination(c, data, &f, &d);
  if (info.result != PK_OK) return info;
  info.service = d.service;
  info.method = d.method;
  info.version = d.version;
  info.group = d.group;
  info.timeout_ms = d.timeout_ms;
  return info;
}

int pk_codec_headers(uintptr_t codec, const uint8_t *data, size_t size, pk_header_info *out,
                     uint32_t max) {
  const pk_codec *c = codec_at(codec);
  pk_frame f = {0};
  pk_cursor cursor;
  memset(&cursor, 0, sizeof cursor);
  int result = c->frame(c, data, size, UINT32_MAX / 2, &f);
  if (result != PK_OK) return result == PK_MORE ? PK_ERR_FORMAT : result;
  for (uint32_t n = 0; n < max; n++) {
    pk_header h = {{NULL, 0}, {NULL, 0}, 0};
    result = c->next_header(c, data, &f, &cursor, &h);
    if (result == PK_MORE) return (int)n;
    if (result != PK_OK) return result;
    out[n] = (pk_header_info){h.key, h.value, h.raw};
  }
  return (int)max;
}

size_t pk_core_read_out(pk_core *core, pk_handle h, uint8_t *out, size_t size) {
  struct iovec iov[64];
  int n = pk_core_out(core, h, iov, 64);
  size_t copied = 0;
  for (int i = 0; i < n && copied < size; i++) {
    size_t part = iov[i].iov_len < size - copied ? iov[i].iov_len : size - copied;
    memcpy(out + copied, iov[i].iov_base, part);
    copied += part;
  }
  return copied;
}

#define X(name) #name " "
const char *pk_stat_names(void) { return PK_STATS(X); }
#undef X

/* Aligned 64-bit words that one thread writes: a reader sees an old or a new value, never half. */
const uint64_t *pk_core_stats_words(const pk_core *core) {
  return (const uint64_t *)(const void *)pk_core_stats(core);
}

const uint64_t *pk_core_endpoint_words(const pk_core *core, uint32_t uid) {
  return (const uint64_t *)(const void *)pk_core_endpoint_stats(core, uid);
}

const uint64_t *pk_worker_stats_words(const pk_worker *w) {
  return (const uint64_t *)(const void *)pk_worker_stats(w);
}

const uint64_t *pk_worker_endpoint_words(const pk_worker *w, uint32_t uid) {
  return (const uint64_t *)(const void *)pk_worker_endpoint_stats(w, uid);
}
