/* tables.c: the fuzz target of tables. An image that pk_table_load accepts, whoever packed it, is read nowhere but in its
 * block: by look-ups, and by a core that takes it and its clients.
 *
 *   edits | each: word, 2, little endian | how, 1 | value, 1 |    service | method, what is left
 *
 * A right image with some words changed: to a small number, to one near what stands there, or to one near all that a
 * word can hold. */
#include "../../tests/toy/toy.c"
#include "../tests/tables.h"
#include "core/core.h"
#include "policy/state.h"
#include "table/verdict.h"

static uint8_t *image;
static size_t image_size;
static pk_rule_state *state, *one_bucket;

/* Something of each policy. */
static void policies(tables_builder *t) {
  pk_table_cluster *c = (pk_table_cluster *)(void *)t->clusters.data;
  pk_plan *p = (pk_plan *)(void *)t->plans.data;
  pk_key method = {tables_origin(t, PK_ORIGIN_METHOD, ""), 1};
  c[0].breaker = (pk_breaker){.connections = 3, .waiting = 3, .requests = 3, .retries = 3, .endpoint_connections = 2, .endpoint_requests = 2,
                              .retry_share = 500000, .least = 1};
  c[0].prefer = (pk_prefer){.near = 1, .far = 2, .healthy = 700000};
  c[0].slow_start = (pk_slow_start){.time = 100, .least = 10000};
  c[1].balance = PK_BALANCE_RING_HASH;
  c[1].hash = method;
  c[1].outlier = (pk_outlier){.errors = 1, .rate = 500000, .eject = 30, .most = 1000000, .slower = 1500};
  c[2].balance = PK_BALANCE_LEAST_REQUEST;
  c[2].check = (pk_check){.by = PK_CHECK_BY_HEARTBEAT, .every = 10, .timeout = 5, .unhealthy = 1, .healthy = 1};
  c[2].panic = 500000;
  p[0].limit = (pk_limit){.interval = 1000, .burst = 9, .by = method, .text = tables_text(t, "9/s")};
  p[0].mirror = (pk_mirror){.cluster = 1, .share = 1000000, .most = 2};
  p[1].fault = (pk_fault){.delay_ms = 3, .delay_share = 300000, .status = PK_STATUS_OVERLOADED, .abort_share = 100000};
  p[1].hedge = (pk_hedge){.after_ms = 2, .most = 1000000};
  p[1].state = p[2].state = 1;
  p[2].limit = (pk_limit){.interval = 1000, .burst = 9};
  p[2].timeout = (pk_timeout){.usual = 40, .most = 50, .pass_on = 1};
  p[0].change_answers = 1;
  p[2].answers = p[2].ends = 0;
  ((pk_choice *)(void *)t->choices.data)->otherwise = 1;
}

/* One of each kind in one of all. */
static void conditions(tables_builder *t) {
  static uint8_t program[256 + 1 + 2 * 2 * 2];
  uint32_t automaton = TABLES_ADD(t, automata, (pk_automaton){{t->text.count, sizeof program}, 2, 2});
  program['a'] = 1, program[256] = 1;
  tables_append(&t->text, program, 1, sizeof program);
  tables_condition(t, (pk_condition){.condition = PK_CONDITION_ANY, .size = 6, .of = PK_NONE, .automaton = PK_NONE});
  tables_condition(t, (pk_condition){.condition = PK_CONDITION_NOT, .size = 2, .of = PK_NONE, .automaton = PK_NONE});
  tables_condition(t, (pk_condition){.condition = PK_CONDITION_ONEWAY, .size = 1, .of = PK_NONE, .automaton = PK_NONE});
  uint32_t method = tables_origin(t, PK_ORIGIN_METHOD, ""), service = tables_origin(t, PK_ORIGIN_SERVICE, "");
  tables_condition(t, (pk_condition){.condition = PK_CONDITION_VALUE, .size = 1, .of = method, .match = PK_MATCH_REGEX, .automaton = automaton});
  tables_condition(t, (pk_condition){.condition = PK_CONDITION_VALUE, .size = 1, .of = service, .match = PK_MATCH_IN, .automaton = PK_NONE});
  tables_value(t, "svc");
  tables_value(t, "b");
  tables_condition(t, (pk_condition){.condition = PK_CONDITION_VALUE, .size = 1, .match = PK_MATCH_EXACT,
                                     .of = tables_origin(t, PK_ORIGIN_HEADER, "k"), .text = tables_text(t, "v"), .automaton = PK_NONE});
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  const pk_limits limits = {.buffer = 4 << 20, .frame = 1 << 16, .connections = 64, .in_flight = 4000,
                            .in_flight_per_connection = 4000, .client_pause = 1 << 20, .client_close = 2 << 20,
                            .upstream_buffer = 1 << 20, .upstream_in_flight = 4000, .filters = 64, .retry_buffer = 1 << 16,
                            .request_ms = 3000, .idle_ms = 60000, .frame_ms = 5000, .detect_ms = 1000, .heartbeat_ms = 20,
                            .probe_ms = 20, .filter_ms = 1000, .drain_ms = 1000};
  const uint8_t address[16] = {2, 0, 9, 9, 127, 0, 0, 1};
  static const char *const services[] = {"svc", "sv*", "*", "other"}, *const methods[] = {"m", "*", "m*"};
  tables_builder t = {0};
  for (uint32_t i = 0; i < 3; i++) {
    tables_cluster(&t, "cluster", 1 + i);
    for (uint32_t n = 0; n <= i; n++) tables_endpoint(&t, 3 * i + n, "127.0.0.1:2313", address, sizeof address);
    tables_plan(&t, "plan", i, (pk_retry){.attempts = 2 * i, .on = 15, .idempotent = 1, .budget = 1000000}, i == 2 ? 0 : PK_NONE);
    if (i == 1) tables_choice(&t, "tag", "\2\0\0\0v2", 6, 0);
    if (i == 0) tables_change(&t, (pk_change){PK_EDIT_HEADER, PK_CHANGE_APPEND, tables_origin(&t, PK_ORIGIN_HEADER, "v"), tables_text(&t, "k"), {0, 0}});
  }
  for (uint32_t i = 0; i < 2; i++) {
    tables_routes(&t, "routes");
    for (uint32_t n = 0; n < 12; n++) {
      tables_rule(&t, services[n % 4], methods[n % 3], n % 3);
      if (n % 4 == 1) conditions(&t);
    }
  }
  for (uint32_t i = 0; i < 4; i++) tables_listener(&t, "in", i < 2 ? i : PK_NONE, i < 2 ? PK_NONE : i - 1, i % 2);
  tables_verdicts(&t, "access");
  for (uint32_t n = 0; n < 9; n++) {
    uint32_t verdict = tables_verdict(&t, "verdict", n < 4 ? PK_VERDICT_DENY : n < 8 ? PK_VERDICT_ALLOW : PK_VERDICT_OTHERWISE);
    tables_rule(&t, n < 8 ? services[(n + 1) % 4] : "*", n < 8 ? methods[n % 3] : "*", verdict);
    if (n % 4 == 1) conditions(&t);
  }
  policies(&t);
  image = tables_image(&t, 42, &limits, &image_size);
  state = pk_rule_state_new(64, 7);
  one_bucket = pk_rule_state_new(0, 7);
  return 0;
}

static void look_up(const pk_table *t, const uint8_t *data, size_t size) {
  uint32_t half = (uint32_t)size / 2;
  static uint8_t text[] = "svcm";
  const pk_destination asked[] = {{.service = {text, 3}, .method = {text + 3, 1}},
                                  {.service = {data, half}, .method = {data + half, (uint32_t)size - half}},
                                  {.service = {NULL, 0}}};
  for (uint32_t i = 0; i < t->routes.count; i++)
    for (size_t n = 0; n < sizeof asked / sizeof *asked; n++) {
      pk_question q = {.to = asked[n], .led = 1};
      uint32_t plan = pk_table_route(t, i, &q), goes = plan != PK_NONE && pk_table_plan_at(t, plan)->verdict == PK_VERDICT_NONE;
      if (goes && pk_table_plan_at(t, plan)->cluster >= t->clusters.count) abort();
      pk_verdict_of_client(t, i, &q);
    }
}

/* What was sent to a server made what that answers. */
static void answer(uint8_t *data, size_t size, uint32_t status) {
  for (uint8_t *end = data + size; end - data >= 13; data += 13 + (data[11] << 8 | data[12])) {
    if (data[1] == PK_KIND_HEARTBEAT) data[1] = PK_KIND_HEARTBEAT_ACK;
    if (data[1] == PK_KIND_REQUEST) data[1] = PK_KIND_RESPONSE, data[2] = (uint8_t)status;
  }
}

/* What is to be written, written; servers answer. */
static void write_all(pk_core *core, const pk_handle *servers, size_t count, uint32_t status) {
  pk_handle dirty[64];
  size_t found = pk_core_take_dirty(core, dirty, 64);
  for (size_t i = 0; i < found; i++) {
    static uint8_t bytes[1 << 16];
    struct iovec parts[16];
    size_t size = 0;
    for (int n = 0, all = pk_core_out(core, dirty[i], parts, 16); n < all && size + parts[n].iov_len <= sizeof bytes; n++) {
      memcpy(bytes + size, parts[n].iov_base, parts[n].iov_len);
      size += parts[n].iov_len;
    }
    pk_core_sent(core, dirty[i], size);
    for (size_t n = 0; n < count; n++) {
      if (servers[n] != dirty[i]) continue;
      answer(bytes, size, status);
      pk_core_feed(core, dirty[i], bytes, size);
      break;
    }
  }
}

/* A few batches of what a table's clients ask; some servers cannot be reached, some answers are errors. */
static void serve(pk_table *t) {
  enum { ROUNDS = 12, MOST = 64 };
  pk_core *core = pk_core_new(1);
  pk_handle clients[8], servers[MOST];
  uint32_t client_count = 0, server_count = 0;
  uintptr_t states[] = {(uintptr_t)state, (uintptr_t)one_bucket};
  uint8_t frame[64];
  pk_op ops[64];
  pk_table_share(t, states, 2);
  for (uint32_t round = 0; round < ROUNDS; round++) {
    pk_core_begin(core, 1000000000u + 7000000u * (uint64_t)round);
    if (round == 0 && pk_core_apply(core, t, 1) != 0) break;
    if (round == 0)
      for (uint32_t i = 0; i < t->listeners.count && i < 8; i++) clients[client_count++] = pk_core_accept(core, i);
    write_all(core, servers, server_count, round % 4 == 3 ? PK_STATUS_UNAVAILABLE : PK_STATUS_OK);
    for (size_t count; (count = pk_core_take_ops(core, ops, 64)) > 0;)
      for (size_t i = 0; i < count; i++) {
        if (ops[i].op == PK_OP_CONNECT && server_count < MOST) {
          servers[server_count++] = ops[i].handle;
          pk_core_connected(core, ops[i].handle, round % 5 == 4, 111);
        } else if (ops[i].op == PK_OP_FILTER) {
          pk_core_decide(core, ops[i].handle, PK_DECIDE_CONTINUE, 0, 0, NULL, 0);
        } else if (ops[i].op == PK_OP_ANSWER) {
          pk_core_decide(core, ops[i].handle, PK_DECIDE_ANSWER, 0, 0, NULL, 0);
        }
      }
    int size = build(&wide, PK_KIND_REQUEST, 0, round + 7, round % 2 ? "svc m x" : "other mm x", round % 2 ? 7 : 10, frame, sizeof frame);
    for (uint32_t i = 0; i < client_count; i++)
      if (clients[i] != 0) pk_core_feed(core, clients[i], frame, (size_t)size);
    pk_core_end(core);
  }
  while (pk_core_take_ops(core, ops, 64) > 0) {}
  pk_core_free(core);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  uint8_t *changed = tables_more(NULL, image_size);
  memcpy(changed, image, image_size);
  size_t edits = data[0] % 4, at = 1;
  for (; edits > 0 && size - at >= 4; edits--, at += 4) {
    size_t word = (data[at] | (size_t)data[at + 1] << 8) % (image_size / 4) * 4;
    uint32_t value, by = data[at + 3];
    memcpy(&value, changed + word, 4);
    value = data[at + 2] % 4 == 0 ? by : data[at + 2] % 4 == 1 ? value + by : data[at + 2] % 4 == 2 ? value - by : PK_NONE - by;
    memcpy(changed + word, &value, 4);
  }
  uintptr_t codec = toy_codec(0);
  char why[200];
  pk_table *t = pk_table_load(changed, image_size, &codec, 1, why, sizeof why);
  free(changed);
  if (t == NULL) return 0;
  look_up(t, data + at, size - at);
  serve(t);
  pk_table_free(t);
  return 0;
}
