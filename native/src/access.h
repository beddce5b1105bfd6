/* access.h: what Python asks of a codec and reads of the counters, in shapes that cffi copies. */
#ifndef PK_ACCESS_H
#define PK_ACCESS_H

#include "worker.h"

typedef struct pk_message_info {
  int result;
  uint32_t kind, status, size, need, timeout_ms, context, upstream_key, error_at;
  uint64_t id;
} pk_message_info;

typedef struct pk_destination_info {
  int result;
  pk_slice service, method, version, group;
  uint32_t timeout_ms;
} pk_destination_info;

typedef struct pk_header_info {
  pk_slice key, value;
  uint32_t raw;
} pk_header_info;

/* NULL when the engine can use the codec, else what is wrong with it. */
const char *pk_codec_check(uintptr_t codec);
const char *pk_codec_name(uintptr_t codec);
pk_message_info pk_codec_frame(uintptr_t codec, const uint8_t *data, size_t size, uint32_t limit);
pk_destination_info pk_codec_destination(uintptr_t codec, const uint8_t *data, size_t size);
int pk_codec_headers(uintptr_t codec, const uint8_t *data, size_t size, pk_header_info *out,
                     uint32_t max);

/* Copies up to `size` queued bytes; pk_core_sent takes them off. */
size_t pk_core_read_out(pk_core *core, pk_handle h, uint8_t *out, size_t size);

/* The counters as one array; names in the same order, separated by spaces. */
const char *pk_stat_names(void);
const uint64_t *pk_core_stats_words(const pk_core *core);
const uint64_t *pk_core_endpoint_words(const pk_core *core, uint32_t uid);
const uint64_t *pk_worker_stats_words(const pk_worker *w);
const uint64_t *pk_worker_endpoint_words(const pk_worker *w, uint32_t uid);

#endif
