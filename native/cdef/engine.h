/* What Python sees of the engine. Declarations copied by cffi into protokit._native; the compiler
 * checks them against native/src. */

typedef struct pk_codec pk_codec;
typedef struct pk_table pk_table;
typedef struct pk_builder pk_builder;
typedef struct pk_core pk_core;
typedef struct pk_worker pk_worker;
typedef uint64_t pk_handle;

typedef struct pk_limits {
  uint64_t buffer;
  uint32_t frame, connections, in_flight, in_flight_per_connection, filters, client_pause, client_close,
      upstream_buffer, upstream_in_flight, retry_buffer, request_ms, idle_ms, frame_ms, detect_ms,
      heartbeat_ms, probe_ms, filter_ms, drain_ms;
  ...;
} pk_limits;

pk_builder *pk_builder_new(uint64_t seed, const pk_limits *limits);
void pk_builder_free(pk_builder *b);
uint32_t pk_builder_cluster(pk_builder *b, const char *name, uint32_t balance,
                            uint32_t max_connections, uint32_t connect_ms);
uint32_t pk_builder_endpoint(pk_builder *b, uint32_t uid, uint32_t weight, const char *name,
                             const uint8_t *addr, uint32_t addr_size);
uint32_t pk_builder_plan(pk_builder *b, const char *name, uint32_t features, uint32_t timeout_ms,
                         uint32_t attempts, uint32_t retry_on, uint32_t idempotent,
                         uint32_t filter);
uint32_t pk_builder_split(pk_builder *b, uint32_t cluster, uint32_t weight);
uint32_t pk_builder_routes(pk_builder *b, const char *name);
uint32_t pk_builder_rule(pk_builder *b, const char *service, const char *method,
                         const char *version, const char *group, uint32_t plan);
uint32_t pk_builder_listener(pk_builder *b, uint32_t id, const char *name, uint32_t routes,
                             uint32_t plan, uint32_t pinned);
uint32_t pk_builder_codec(pk_builder *b, uintptr_t codec);
uint32_t pk_builder_fallback(pk_builder *b, uint32_t cluster);
pk_table *pk_builder_finish(pk_builder *b);
void pk_table_free(pk_table *t);

/* The core without sockets. */
typedef struct pk_op {
  uint32_t op, arg;
  uint64_t handle, data, size, codec, token;
} pk_op;
pk_core *pk_core_new(uint64_t seed);
void pk_core_free(pk_core *core);
void pk_core_begin(pk_core *core, uint64_t now_ns);
void pk_core_end(pk_core *core);
uint64_t pk_core_next(const pk_core *core);
int pk_core_apply(pk_core *core, const pk_table *table, uint64_t token);
int pk_core_prepare(pk_core *core, const pk_table *table, uint64_t token);
void pk_core_commit(pk_core *core);
void pk_core_abort(pk_core *core);
pk_handle pk_core_accept(pk_core *core, uint32_t listener);
void pk_core_connected(pk_core *core, pk_handle h, int failed, int error);
uint8_t *pk_core_buffer(pk_core *core, pk_handle h, size_t *size);
void pk_core_feed(pk_core *core, pk_handle h, const uint8_t *data, size_t size);
void pk_core_eof(pk_core *core, pk_handle h);
void pk_core_error(pk_core *core, pk_handle h);
size_t pk_core_take_dirty(pk_core *core, pk_handle *out, size_t max);
size_t pk_core_read_out(pk_core *core, pk_handle h, uint8_t *out, size_t size);
void pk_core_sent(pk_core *core, pk_handle h, size_t size);
size_t pk_core_take_ops(pk_core *core, pk_op *out, size_t max);
int pk_core_decide(pk_core *core, pk_handle request, uint32_t verdict, uint32_t cluster,
                   uint32_t status, const char *text, size_t text_size);
void pk_core_drain(pk_core *core);
void pk_core_shutdown(pk_core *core);
const uint64_t *pk_core_stats_words(const pk_core *core);
const uint64_t *pk_core_endpoint_words(const pk_core *core, uint32_t uid);

/* A core on a thread of its own. */
pk_worker *pk_worker_start(uint64_t seed);
void pk_worker_stop(pk_worker *w);
int pk_worker_event_fd(const pk_worker *w);
uint32_t pk_worker_take_events(pk_worker *w, pk_op *out, uint32_t max);
int pk_worker_listen(pk_worker *w, uint32_t listener, int fd);
int pk_worker_unlisten(pk_worker *w, uint32_t listener);
int pk_worker_prepare(pk_worker *w, const pk_table *table, uint64_t token);
int pk_worker_commit(pk_worker *w);
int pk_worker_abort(pk_worker *w);
int pk_worker_decide(pk_worker *w, pk_handle request, uint32_t verdict, uint32_t cluster,
                     uint32_t status, const char *text, size_t text_size);
int pk_worker_drain(pk_worker *w);
int pk_worker_shutdown(pk_worker *w);
const uint64_t *pk_worker_stats_words(const pk_worker *w);
const uint64_t *pk_worker_endpoint_words(const pk_worker *w, uint32_t uid);

const char *pk_stat_names(void);

/* Codecs, asked from Python (filters, tests). */
typedef struct pk_message_info {
  int result;
  uint32_t kind, status, size, need, timeout_ms, context, upstream_key, error_at;
  uint64_t id;
  uint32_t id_at, id_size;
} pk_message_info;
typedef struct pk_slice {
  const uint8_t *data;
  uint32_t size;
} pk_slice;
typedef struct pk_destination_info {
  int result;
  pk_slice service, method, version, group;
  uint32_t timeout_ms;
} pk_destination_info;
typedef struct pk_header_info {
  pk_slice key, value;
  uint32_t raw;
} pk_header_info;
const char *pk_codec_check(uintptr_t codec);
const char *pk_codec_name(uintptr_t codec);
uint32_t pk_codec_mode(uintptr_t codec);
uint32_t pk_codec_id_bytes(uintptr_t codec);
uint32_t pk_codec_rewrites(uintptr_t codec);
uint32_t pk_codec_pinned(uintptr_t codec);
/* What is said before requests: how many steps, which of them (bit by bit) are the server's, and one of them. */
uint32_t pk_codec_greeting_steps(uintptr_t codec);
uint32_t pk_codec_greeting_server(uintptr_t codec);
int pk_codec_greeting(uintptr_t codec, uint32_t step, uint32_t context, uint8_t *out, size_t cap);
pk_message_info pk_codec_frame(uintptr_t codec, const uint8_t *data, size_t size, uint32_t limit);
pk_destination_info pk_codec_destination(uintptr_t codec, const uint8_t *data, size_t size);
/* Up to `max` headers of the request; how many, or PK_ERR_* (< 0). */
int pk_codec_headers(uintptr_t codec, const uint8_t *data, size_t size, pk_header_info *out,
                     uint32_t max);
typedef struct pk_edit {
  uint32_t what;
  pk_slice key, value;
} pk_edit;
int pk_codec_edit(uintptr_t codec, const uint8_t *data, size_t size, const pk_edit *edits,
                  uint32_t count, uint8_t *out, size_t cap);

/* Declared codecs, and any codec's replies. */
/* A codec of a compiled declaration; 0 and why in *error. It is kept for good. */
uintptr_t pk_codec_declared(const uint8_t *image, size_t size, const char **error);
/* The address of a step of the core's; 0 when there is none of that name. */
uintptr_t pk_core_step(const char *name);
/* What a step finds, for comparing it with its reference. */
int pk_step_run(uintptr_t step, const uint8_t *section, size_t size, const pk_slice *arguments,
                uint32_t argument_count, pk_slice *out, uint32_t count);
/* A reply: heartbeat, its ack (to `data`), drain, or the error of a status. */
int pk_codec_heartbeat(uintptr_t codec, uint64_t id, uint32_t key, uint8_t *out, size_t cap);
int pk_codec_ack(uintptr_t codec, const uint8_t *data, size_t size, uint8_t *out, size_t cap);
int pk_codec_drain(uintptr_t codec, uint32_t context, uint8_t *out, size_t cap);
int pk_codec_error(uintptr_t codec, uint32_t status, uint64_t id, uint32_t context, const char *text,
                   size_t text_size, uint8_t *out, size_t cap);
/* Writes the id; -1 where `data` is no whole frame. */
int pk_codec_patch(uintptr_t codec, uint8_t *data, size_t size, uint64_t id);
uint32_t pk_codec_id_max(uintptr_t codec);
uint32_t pk_codec_write_id(uintptr_t codec, uint64_t number, uint8_t *out);
int pk_codec_read_id(uintptr_t codec, const uint8_t *id, uint32_t id_size, uint64_t *number);
int pk_codec_splice(uintptr_t codec, const uint8_t *data, size_t size, const uint8_t *id, uint32_t id_size,
                    uint8_t *out, size_t cap);
int pk_codec_probe(uintptr_t codec, const uint8_t *data, size_t size);
/* The codec of a protocol in Python. */
uintptr_t pk_envelope_new(const char *name, uint32_t mode, uint32_t id_bytes, const uint64_t *reserved_ids,
                          uint32_t reserved_count, uint32_t features);
const char *pk_instruction_names(void);
