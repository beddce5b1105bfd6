/* access.c: see access.h. */
#include "access.h"

#include <string.h>

#include "table/verdict.h"
#include "wire/framing.h"

static const pk_codec *codec_at(uintptr_t codec) { return (const pk_codec *)codec; }

const char *pk_codec_name(uintptr_t codec) { return codec_at(codec)->name; }
uint32_t pk_codec_mode(uintptr_t codec) { return codec_at(codec)->mode; }
uint32_t pk_codec_id_bytes(uintptr_t codec) { return codec_at(codec)->id_bytes; }
uint32_t pk_codec_rewrites(uintptr_t codec) {
  const pk_codec *c = codec_at(codec);
  return c->id_bytes == 0 || (pk_id_max(c) > 0 ? c->splice_id != NULL : c->patch_id != NULL);
}

uint32_t pk_codec_optional_drain(uintptr_t codec) { return (uint32_t)pk_codec_drains_if_asked(codec_at(codec)); }
uint32_t pk_codec_pinned(uintptr_t codec) { return (uint32_t)pk_codec_is_pinned(codec_at(codec)); }

uint32_t pk_codec_greeting_steps(uintptr_t codec) {
  const pk_codec *c = codec_at(codec);
  return c->greeting_steps;
}

uint32_t pk_codec_greeting_server(uintptr_t codec) {
  return pk_codec_greeting_steps(codec) > 0 ? codec_at(codec)->greeting_server : 0;
}

uint32_t pk_codec_greeting_optional(uintptr_t codec) {
  const pk_codec *c = codec_at(codec);
  return PK_CODEC_HAS(c, greeting_optional) ? c->greeting_optional : 0;
}

uint32_t pk_codec_greeting_with(uintptr_t codec) {
  const pk_codec *c = codec_at(codec);
  return PK_CODEC_HAS(c, greeting_with) ? c->greeting_with : 0;
}

uint32_t pk_codec_greeting_relayed(uintptr_t codec) {
  const pk_codec *c = codec_at(codec);
  return pk_codec_relays(c) ? c->greeting_relayed : 0;
}

int pk_codec_greeting(uintptr_t codec, uint32_t step, uint32_t context, const uint8_t *said, size_t size, uint32_t from,
                      uint8_t *out, size_t cap) {
  const pk_codec *c = codec_at(codec);
  pk_frame f = {.from = (uint8_t)from, .ended = 1};
  if (step >= pk_codec_greeting_steps(codec)) return 0;
  int heard = size > 0 && pk_frame_alone(c, said, size, UINT32_MAX / 2, &f) == PK_OK;
  return c->greeting(c, step, context, heard ? said : NULL, heard ? &f : NULL, out, cap);
}

int pk_codec_greeting_step(uintptr_t codec, uint32_t step, const uint8_t *data, size_t size, uint32_t from) {
  const pk_codec *c = codec_at(codec);
  pk_frame f = {.from = (uint8_t)from, .ended = 1};
  int result = size > 0 ? pk_frame_alone(c, data, size, UINT32_MAX / 2, &f) : PK_MORE;
  if (result != PK_OK) return result < 0 ? result : PK_ERR_FORMAT;
  if (f.kind != PK_KIND_GREETING || !PK_CODEC_HAS(c, greeting_step) || c->greeting_step == NULL) return (int)step;
  return c->greeting_step(c, step, data, &f);
}

uint32_t pk_codec_state_size(uintptr_t codec) { return codec_at(codec)->state_size; }

pk_message_info pk_codec_frame(uintptr_t codec, const uint8_t *data, size_t size, uint32_t limit, uint32_t from) {
  return pk_codec_frame_on(codec, data, size, limit, from, NULL);
}

pk_message_info pk_codec_frame_on(uintptr_t codec, const uint8_t *data, size_t size, uint32_t limit, uint32_t from,
                                  uint8_t *state) {
  pk_frame f = {.from = from & 3, .ended = from >> 2 & 1, .halves = from >> 3 & 1, .need = (uint32_t)size + 1, .state = state};
  const pk_codec *c = codec_at(codec);
  int result = c->state_size > 0 && state != NULL ? c->frame(c, data, size, limit, &f) : pk_frame_alone(c, data, size, limit, &f);
  pk_message_info info = {result,       f.kind,    f.status,       f.size,     f.need,
                          f.timeout_ms, f.context, f.upstream_key, f.error_at, f.id, f.says, PK_NO_ID, 0};
  if (pk_codec_id_max(codec) == 0) return info;
  pk_slice id = pk_id_of(codec_at(codec), data, &f, result == PK_OK ? f.size : size);
  info.id = 0;
  if (id.data != NULL && result != PK_MORE) info.id_at = f.id_span.at, info.id_size = id.size;
  return info;
}

uint32_t pk_codec_id_max(uintptr_t codec) { return pk_id_max(codec_at(codec)); }

uint32_t pk_codec_write_id(uintptr_t codec, uint64_t number, uint8_t *out) {
  const pk_codec *c = codec_at(codec);
  return pk_id_write(c, c->id_bytes < 8 ? number & (((uint64_t)1 << (8 * c->id_bytes)) - 1) : number, out);
}

int pk_codec_read_id(uintptr_t codec, const uint8_t *id, uint32_t id_size, uint64_t *number) {
  return pk_id_read(codec_at(codec), (pk_slice){id, id_size}, number);
}

int pk_codec_splice(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from, const uint8_t *id, uint32_t id_size,
                    uint8_t *out, size_t cap) {
  const pk_codec *c = codec_at(codec);
  pk_frame f = {.from = (uint8_t)from, .ended = 1};
  int result = pk_frame_alone(c, data, size, UINT32_MAX / 2, &f);
  if (result != PK_OK) return result == PK_MORE ? PK_ERR_FORMAT : result;
  if (cap < pk_id_room(c, f.size)) return PK_ERR_SPACE;
  if (f.id_span.at != PK_NO_ID && c->splice_id == NULL) return PK_ERR_UNSUPPORTED;
  if (f.id_span.at != PK_NO_ID) return c->splice_id(c, data, &f, id, id_size, out, cap);
  memcpy(out, data, f.size);
  return (int)f.size;
}

pk_destination_info pk_codec_destination(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from) {
  const pk_codec *c = codec_at(codec);
  pk_frame f = {.from = from == 0 ? PK_FROM_CLIENT : (uint8_t)from, .halves = 1};
  pk_destination_info info = {.result = pk_frame_alone(c, data, size, UINT32_MAX / 2, &f)};
  pk_destination d = {.context = f.context};
  if (info.result == PK_OK) info.result = c->destination(c, data, &f, &d);
  if (info.result != PK_OK) return info;
  info.service = d.service;
  info.method = d.method;
  info.version = d.version;
  info.group = d.group;
  info.timeout_ms = d.timeout_ms != 0 ? d.timeout_ms : f.timeout_ms;
  return info;
}

/* The frame in front, which is to be whole, or as much of it as the engine passes on at once. Where nobody says who sent it, it is a client's. */
static int whole(const pk_codec *c, const uint8_t *data, size_t size, uint32_t from, pk_frame *f) {
  f->from = from == 0 ? PK_FROM_CLIENT : (uint8_t)from;
  f->ended = 1;
  f->halves = 1;
  int result = pk_frame_alone(c, data, size, UINT32_MAX / 2, f);
  return result == PK_MORE ? PK_ERR_FORMAT : result;
}

int pk_codec_headers(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from, pk_header_info *out,
                     uint32_t max) {
  const pk_codec *c = codec_at(codec);
  pk_frame f = {0};
  pk_cursor cursor;
  memset(&cursor, 0, sizeof cursor);
  int result = whole(c, data, size, from, &f);
  if (result != PK_OK) return result;
  if (!pk_has_headers(&f)) return 0;
  for (uint32_t n = 0; n < max; n++) {
    pk_header h = {{NULL, 0}, {NULL, 0}, 0};
    result = c->next_header(c, data, &f, &cursor, &h);
    if (result == PK_MORE) return (int)n;
    if (result != PK_OK) return result;
    out[n] = (pk_header_info){h.key, h.value, h.raw};
  }
  return (int)max;
}

int pk_codec_header(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from, const uint8_t *key, uint32_t key_size,
                    pk_header_info *out) {
  const pk_codec *c = codec_at(codec);
  pk_frame f = {0};
  pk_header h;
  int result = whole(c, data, size, from, &f);
  if (result == PK_OK) result = pk_header_by_key(c, data, &f, (pk_slice){key, key_size}, &h);
  if (result == PK_OK) *out = (pk_header_info){h.key, h.value, h.raw};
  return result;
}

int pk_codec_argument(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from, uint32_t index, const pk_slice *keys,
                      uint32_t count, pk_value *out) {
  const pk_codec *c = codec_at(codec);
  pk_frame f = {0};
  int result = whole(c, data, size, from, &f);
  return result == PK_OK ? pk_argument_at(c, data, &f, index, keys, count, out) : result;
}

uint32_t pk_codec_reads_arguments(uintptr_t codec) { return codec_at(codec)->argument != NULL; }

uint32_t pk_codec_reads_inside(uintptr_t codec) { return (uint32_t)pk_codec_looks_inside(codec_at(codec)); }

int pk_codec_edit(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from, const pk_edit *edits,
                  uint32_t count, uint8_t *out, size_t cap) {
  const pk_codec *c = codec_at(codec);
  pk_frame f = {0};
  if (c->edit == NULL) return PK_ERR_UNSUPPORTED;
  int result = whole(c, data, size, from, &f);
  if (result != PK_OK) return result;
  return c->edit(c, data, &f, edits, count, out, cap);
}

int pk_codec_budget(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from, uint32_t ms, uint8_t *out) {
  const pk_codec *c = codec_at(codec);
  pk_frame f = {0};
  int result = whole(c, data, size, from, &f);
  return result == PK_OK ? pk_budget_in(c, data, &f, ms, out) : result;
}

uint32_t pk_codec_has_budget(uintptr_t codec) { return pk_codec_budgets(codec_at(codec)) != 0; }

uint32_t pk_codec_edits(uintptr_t codec) {
  const pk_codec *c = codec_at(codec);
  if (pk_declared_is(c)) return pk_declared_changes(c);
  return c->edit == NULL ? 0 : (1u << PK_KINDS_OF_CHANGES) - 1;
}

uintptr_t pk_codec_declared(const uint8_t *image, size_t size, const char **error) {
  return (uintptr_t)pk_declared_new(image, size, error);
}

uint32_t pk_codec_held(uintptr_t codec) { return pk_codec_holders(codec_at(codec)); }

uintptr_t pk_core_step(const char *name) {
  static const struct {
    const char *name;
    pk_step step;
  } steps[] = {{"hessian_fields", pk_step_hessian_fields}, {"hessian2_strings", pk_step_hessian2_strings},
               {"protobuf", pk_step_protobuf}, {"tlv", pk_step_tlv}, {"thrift_binary", pk_step_thrift_binary},
               {"thrift_compact", pk_step_thrift_compact}, {"msgpack", pk_step_msgpack}, {"json", pk_step_json},
               {"ber", pk_step_ber}, {"blocks", pk_step_blocks}};
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
    if (strcmp(name, steps[i].name) == 0) return (uintptr_t)steps[i].step;
  return 0;
}

uintptr_t pk_core_measure(const char *name) {
  static const struct {
    const char *name;
    pk_measure measure;
  } measures[] = {{"msgpack_value", pk_measure_msgpack}, {"resp_value", pk_measure_resp},
                  {"ber_value", pk_measure_ber}, {"json_value", pk_measure_json}};
  for (size_t i = 0; i < sizeof measures / sizeof *measures; i++)
    if (strcmp(name, measures[i].name) == 0) return (uintptr_t)measures[i].measure;
  return 0;
}

int pk_measure_run(uintptr_t measure, const uint8_t *data, size_t size, const pk_slice *arguments,
                   uint32_t argument_count, uint64_t state[4], uint64_t *out) {
  return ((pk_measure)measure)(data, size, arguments, argument_count, state, out);
}

int pk_step_run(uintptr_t step, const uint8_t *section, size_t size, const pk_slice *arguments,
                uint32_t argument_count, pk_slice *out, uint32_t count) {
  return ((pk_step)step)(section, size, arguments, argument_count, out, count);
}

int pk_codec_probe(uintptr_t codec, const uint8_t *data, size_t size) {
  return codec_at(codec)->probe(codec_at(codec), data, size);
}

int pk_codec_heartbeat(uintptr_t codec, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  return codec_at(codec)->heartbeat(codec_at(codec), id, key, out, cap);
}

int pk_codec_ack(uintptr_t codec, const uint8_t *data, size_t size, uint32_t from, uint8_t *out, size_t cap) {
  pk_frame f = {.from = (uint8_t)from, .ended = 1};
  int result = pk_frame_alone(codec_at(codec), data, size, UINT32_MAX / 2, &f);
  return result != PK_OK ? PK_ERR_FORMAT
                         : codec_at(codec)->heartbeat_ack(codec_at(codec), data, &f, out, cap);
}

static pk_slice slice_of(const uint8_t *data, size_t size) { return (pk_slice){size > 0 ? data : NULL, (uint32_t)size}; }

int pk_codec_drain(uintptr_t codec, uint32_t context, const uint8_t *kept, size_t kept_size, uint8_t *out, size_t cap) {
  const pk_reply reply = {.context = context, .kept = slice_of(kept, kept_size)};
  return codec_at(codec)->drain(codec_at(codec), &reply, out, cap);
}

int pk_codec_keep(uintptr_t codec, const uint8_t *data, size_t size, uint32_t limit, uint8_t *out) {
  const pk_codec *c = codec_at(codec);
  pk_frame f = {.from = PK_FROM_CLIENT, .halves = 1};
  if (c->keep_max == 0) return 0;
  int result = pk_frame_alone(c, data, size, limit, &f);
  if (result == PK_MORE || f.kind > PK_KIND_ONEWAY) return 0;
  return c->keep(c, data, result == PK_OK ? f.size : size, &f, out, c->keep_max);
}

int pk_codec_error(uintptr_t codec, uint32_t status, uint64_t id, uint32_t context, const uint8_t *kept,
                   size_t kept_size, const char *text, size_t text_size, uint8_t *out, size_t cap) {
  const pk_reply reply = {.id = id,
                          .status = status,
                          .context = context,
                          .kept = slice_of(kept, kept_size),
                          .text = {(const uint8_t *)text, (uint32_t)text_size}};
  return codec_at(codec)->error(codec_at(codec), &reply, out, cap);
}

int pk_codec_patch(uintptr_t codec, uint8_t *data, size_t size, uint32_t from, uint64_t id) {
  pk_frame f = {.from = (uint8_t)from, .ended = 1};
  if (pk_frame_alone(codec_at(codec), data, size, UINT32_MAX / 2, &f) != PK_OK) return -1;
  if (codec_at(codec)->patch_id != NULL) codec_at(codec)->patch_id(codec_at(codec), data, &f, id);
  return 0;
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

const uint64_t *pk_core_times_words(const pk_core *core, uint32_t uid) {
  return (const uint64_t *)(const void *)pk_core_times(core, uid);
}

const uint64_t *pk_worker_times_words(const pk_worker *w, uint32_t uid) {
  return (const uint64_t *)(const void *)pk_worker_times(w, uid);
}

/* Routes, asked in words. */

static int header_in_words(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_slice key, pk_header *out) {
  const pk_asked *asked = c->user;
  (void)data;
  (void)f;
  for (uint32_t i = asked->header_count; i > 0; i--) {
    const pk_header *h = &asked->headers[i - 1];
    if (h->key.size != key.size || (key.size > 0 && memcmp(h->key.data, key.data, key.size) != 0)) continue;
    *out = *h;
    return PK_OK;
  }
  return PK_MORE;
}

static int inside_in_words(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint32_t index, const pk_slice *keys,
                           uint32_t count, pk_value *out) {
  const pk_asked *asked = c->user;
  (void)data;
  (void)f;
  for (uint32_t i = 0; i < asked->argument_count; i++) {
    const pk_asked_argument *a = &asked->arguments[i];
    uint32_t same = 0;
    if (a->index != index || a->count != count) continue;
    while (same < count && keys[same].size == a->keys[same].size && memcmp(keys[same].data, a->keys[same].data, keys[same].size) == 0)
      same++;
    if (same < count) continue;
    *out = (pk_value){.type = PK_VALUE_TEXT, .bytes = a->value};
    return PK_OK;
  }
  return PK_MORE;
}

static int argument_in_words(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint32_t index, pk_value *out) {
  return inside_in_words(c, data, f, index, NULL, 0, out);
}

static pk_judged judged(const pk_table *t, uint32_t routes, pk_question *q) {
  if (routes == PK_NONE) return (pk_judged){.by = PK_NONE};
  pk_judgement v = q->blank ? pk_verdict_of_client(t, routes, q) : pk_verdict_of(t, routes, q);
  pk_judged found = {v.plan != PK_NONE, v.by, v.error, {0, 0}};
  if (v.by != PK_NONE) found.name = pk_table_plan_at(t, v.by)->name;
  return found;
}

pk_routed pk_table_ask(const pk_table *t, uint32_t listener, uintptr_t codec, const pk_asked *asked) {
  const pk_table_listener *l = pk_table_listener_at(t, listener);
  const pk_codec *c = codec_at(codec);
  const pk_codec words = {.name = c->name, .size = sizeof words, .user = asked, .header = header_in_words,
                          .argument = argument_in_words, .inside = inside_in_words};
  pk_frame f = {.kind = asked->oneway ? PK_KIND_ONEWAY : PK_KIND_REQUEST};
  pk_destination d = {asked->service, asked->method, asked->version, asked->group, 0, 0, 0};
  pk_routed found = {.plan = l->plan, .depth = l->depth};
  int reads = l->routes != PK_NONE || l->guard == PK_GUARD_REQUEST;
  if (asked->frame != NULL) {
    d = (pk_destination){.context = 0};
    found.result = whole(c, asked->frame, asked->frame_size, PK_FROM_CLIENT, &f);
    if (found.result == PK_OK && !pk_is_call(&f)) found.result = PK_ERR_FORMAT;
    if (found.result == PK_OK && reads) found.result = c->destination(c, asked->frame, &f, &d);
    found.blank = found.result == PK_ERR_UNSUPPORTED;
    if (found.blank) d = (pk_destination){.context = 0};
    if (found.result != PK_OK && !found.blank) {
      found.plan = PK_NONE;
      return found;
    }
    found.result = PK_OK;
  }
  pk_question q = {.to = d, .codec = asked->frame != NULL ? c : &words, .data = asked->frame, .frame = &f,
                   .listener = l, .source = asked->source, .led = 1, .blank = found.blank,
                   .headers = asked->frame != NULL ? PK_HEADERS_UNREAD : PK_HEADERS_BY_KEY};
  found.access = judged(t, l->access, &q);
  found.dry_run = judged(t, l->dry_run, &q);
  if (l->routes != PK_NONE) {
    q.asked = 0;
    q.asked_headers = 0;
    found.plan = pk_table_route(t, l->routes, &q);
    found.asked = q.asked || q.asked_headers != 0;
    found.result = q.error;
    if (q.error != 0) found.plan = q.unread;
  }
  if (found.plan != PK_NONE) found.name = pk_table_plan_at(t, found.plan)->name;
  return found;
}

const char *pk_table_text(const pk_table *t, uint32_t at) { return PK_AT(t, char, t->text.at) + at; }
