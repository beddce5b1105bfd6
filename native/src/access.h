/* access.h: what Python asks of a codec and reads of the counters, in shapes that cffi copies. */
#ifndef PK_ACCESS_H
#define PK_ACCESS_H

#include "table/consistent.h"
#include "wire/ask.h"
#include "wire/codec_check.h"
#include "wire/envelope.h"
#include "wire/ident.h"
#include "wire/loaded.h"
#include "wire/program.h"
#include "wire/measures/measures.h"
#include "wire/steps/steps.h"
#include "driver/worker.h"
#include "policy/state.h"

/* python { */
typedef struct pk_message_info {
  int result;
  uint32_t kind, status, size, need, timeout_ms, context, upstream_key, error_at;
  uint64_t id;
  uint32_t says; /* PK_SAYS_* */
  uint32_t id_at, id_size; /* where it stands, when ids are byte strings */
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

const char *pk_codec_name(uintptr_t codec);
uint32_t pk_codec_mode(uintptr_t codec);
uint32_t pk_codec_id_bytes(uintptr_t codec);
uint32_t pk_codec_rewrites(uintptr_t codec); /* 0: it has ids that must stay */
uint32_t pk_codec_pinned(uintptr_t codec);
uint32_t pk_codec_optional_drain(uintptr_t codec); /* 1: drain is sent only where the listener says so */
/* What is said before requests: how many steps, which of them (bit by bit) are the server's, and one of them. */
uint32_t pk_codec_greeting_steps(uintptr_t codec);
uint32_t pk_codec_greeting_server(uintptr_t codec);
uint32_t pk_codec_greeting_optional(uintptr_t codec);
uint32_t pk_codec_greeting_with(uintptr_t codec);
uint32_t pk_codec_greeting_relayed(uintptr_t codec); /* as in pk_codec: 0, 1 or PK_RELAYED_SERVER_FIRST */
/* `said`: what the peer said last, `size` bytes, and who that is; size 0: nothing. */
int pk_codec_greeting(uintptr_t codec, uint32_t step, uint32_t context, const uint8_t *said, size_t size, uint32_t from,
                      uint8_t *out, size_t cap);
/* Which step that frame is, from `step` on, or PK_ERR_*. */
int pk_codec_greeting_step(uintptr_t codec, uint32_t step, const uint8_t *data, size_t size, uint32_t from);
/* `from`: PK_FROM_*, | 4 where its sender sends no more. */
pk_message_info pk_codec_frame(uintptr_t codec, const uint8_t *data, size_t size, uint32_t limit, uint32_t from);
/* The same on a connection that has this state: pk_codec_state_size bytes, 0 in the beginning. */
pk_message_info pk_codec_frame_on(uintptr_t codec, const uint8_t *data, size_t size, uint32_t limit, uint32_t from,
                                  uint8_t *state);
uint32_t pk_codec_state_size(uintptr_t codec);
pk_destination_info pk_codec_destination(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from);
int pk_codec_headers(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from, pk_header_info *out,
                     uint32_t max);
/* A header by its key, and an argument: as pk_codec's functions. */
int pk_codec_header(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from, const uint8_t *key, uint32_t key_size,
                    pk_header_info *out);
int pk_codec_argument(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from, uint32_t index, const pk_slice *keys,
                      uint32_t count, pk_value *out);
uint32_t pk_codec_reads_arguments(uintptr_t codec);
uint32_t pk_codec_reads_inside(uintptr_t codec); /* whether what is inside of them can be asked for */

/* The request or answer with changes, in a buffer of `cap` bytes; its size, or PK_ERR_*. */
int pk_codec_edit(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from, const pk_edit *edits,
                  uint32_t count, uint8_t *out, size_t cap);

/* A request with another budget, ms, in room for PK_BUDGET_MORE bytes more; whether its protocol can be given one. */
int pk_codec_budget(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from, uint32_t ms, uint8_t *out);
uint32_t pk_codec_has_budget(uintptr_t codec);
uint32_t pk_codec_edits(uintptr_t codec); /* which kinds of changes it writes: PK_EDIT_*, PK_CHANGES_OF_ANSWERS, bit by bit */

/* A codec of a compiled declaration, held by the caller; 0 and why in *error. */
uintptr_t pk_codec_declared(const uint8_t *image, size_t size, const char **error);
/* How many hold it, whoever made it included; 0 of a plugin's in C. */
uint32_t pk_codec_held(uintptr_t codec);
/* The address of a step of the core's; 0 when there is none of that name. */
uintptr_t pk_core_step(const char *name);
/* The same of a measure, and what it says. */
uintptr_t pk_core_measure(const char *name);
int pk_measure_run(uintptr_t measure, const uint8_t *data, size_t size, const pk_slice *arguments,
                   uint32_t argument_count, uint64_t state[4], uint64_t *out);
/* What a step finds, for comparing it with its reference. */
int pk_step_run(uintptr_t step, const uint8_t *section, size_t size, const pk_slice *arguments,
                uint32_t argument_count, pk_slice *out, uint32_t count);
/* A reply: heartbeat, its ack (to `data`), drain, or the error of a status. */
int pk_codec_heartbeat(uintptr_t codec, uint64_t id, uint32_t key, uint8_t *out, size_t cap);
int pk_codec_ack(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from, uint8_t *out, size_t cap);
int pk_codec_drain(uintptr_t codec, uint32_t context, const uint8_t *kept, size_t kept_size, uint8_t *out, size_t cap);
int pk_codec_error(uintptr_t codec, uint32_t status, uint64_t id, uint32_t context, const uint8_t *kept,
                   size_t kept_size, const char *text, size_t text_size, uint8_t *out, size_t cap);
/* What is kept of a request for its replies, as `kept` above; `out` has PK_KEEP_MAX bytes for it. */
int pk_codec_keep(uintptr_t codec, const uint8_t *data, size_t size, uint32_t limit, uint8_t *out);
/* Writes the id; -1 where `data` is no whole frame. */
int pk_codec_patch(uintptr_t codec, uint8_t *data, size_t size, uint32_t from, uint64_t id);
/* Bytes of the longest id, 0 where ids are integers; the id that stands for a number, which `out` has PK_ID_MAX
 * bytes for; whether an id stands for one. */
uint32_t pk_codec_id_max(uintptr_t codec);
uint32_t pk_codec_write_id(uintptr_t codec, uint64_t number, uint8_t *out);
int pk_codec_read_id(uintptr_t codec, const uint8_t *id, uint32_t id_size, uint64_t *number);
/* The frame with another id, in a buffer of `cap` bytes: its size, or PK_ERR_*. One without an id stays. */
int pk_codec_splice(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from, const uint8_t *id, uint32_t id_size,
                    uint8_t *out, size_t cap);
int pk_codec_probe(uintptr_t codec, const uint8_t *data, size_t size);

typedef struct pk_asked_argument {
  uint32_t index, count;
  const pk_slice *keys; /* of what is inside of it */
  pk_slice value;
} pk_asked_argument;

/* What a client of a listener asks: a frame of its protocol, or words. */
typedef struct pk_asked {
  const uint8_t *frame; /* NULL: the words */
  uint32_t frame_size, oneway;
  pk_slice service, method, version, group;
  const pk_header *headers;
  uint32_t header_count, argument_count;
  const pk_asked_argument *arguments;
  uint8_t source[16];
} pk_asked;

/* What a table of verdicts says. */
typedef struct pk_judged {
  uint32_t refuses; /* 1 or 0 */
  uint32_t by;      /* the plan that decided, or PK_NONE */
  int error;        /* PK_ERR_*: a rule asks for what cannot be read */
  pk_text name;     /* that plan's */
} pk_judged;

typedef struct pk_routed {
  int result;     /* PK_OK; PK_ERR_*: no frame, its destination or what a rule asks for cannot be read */
  uint32_t plan;  /* PK_NONE: no rule matches; of what cannot be read, the rule's that asks for it */
  uint32_t depth; /* PK_DEPTH_*, of the listener */
  uint32_t asked; /* whether the answer is for more than its destination */
  uint32_t blank; /* its codec cannot read it */
  pk_text name;   /* the plan's, in the table's text area */
  pk_judged access, dry_run; /* of the listener; where it has none, nothing is refused */
} pk_routed;

/* Where its requests go, as the core asks it. */
pk_routed pk_table_ask(const pk_table *t, uint32_t listener, uintptr_t codec, const pk_asked *asked);
const char *pk_table_text(const pk_table *t, uint32_t at);

/* Copies up to `size` queued bytes; pk_core_sent takes them off. */
size_t pk_core_read_out(pk_core *core, pk_handle h, uint8_t *out, size_t size);

/* The counters as one array; names in the same order, separated by spaces. */
const char *pk_stat_names(void);
const uint64_t *pk_core_stats_words(const pk_core *core);
const uint64_t *pk_core_endpoint_words(const pk_core *core, uint32_t uid);
const uint64_t *pk_worker_stats_words(const pk_worker *w);
const uint64_t *pk_worker_endpoint_words(const pk_worker *w, uint32_t uid);
const uint64_t *pk_core_times_words(const pk_core *core, uint32_t uid);
const uint64_t *pk_worker_times_words(const pk_worker *w, uint32_t uid);
/* } python */

#endif
