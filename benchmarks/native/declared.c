/* declared: a declared codec beside a hand-written one that does the same, in the same engine.
 *
 *   declared bolt|thrift IMAGE STEP REQUEST ANSWER [ROUNDS]
 *
 * IMAGE is the compiled format, in which STEP (a number) stands for the address of the step
 * hessian_fields. REQUEST and ANSWER are one frame each. 16 clients with 16 requests each are fed to the
 * core, then the answers; the codecs take turns. Printed as one JSON object: ns a request of each codec,
 * the least of all rounds, and the median of each round's ratio to the hand-written one. */
#include "by_hand.h"
#include "drive.h"
#include "format.h"

enum { CLIENTS = 16, DEPTH = 16, IN_FLIGHT = CLIENTS * DEPTH, BATCHES = 60 };

static pk_table *build_table(const pk_codec *codec, int framing, const uint8_t *request, size_t size) {
  const struct sockaddr_in address = loopback(1);
  pk_frame f = {0};
  pk_destination d = {0};
  char service[256] = "", method[256] = "";
  if (codec->frame(codec, request, size, 1 << 20, &f) != PK_OK) die("declared: the request is no frame");
  if (!framing) {
    codec->destination(codec, request, &f, &d);
    memcpy(service, d.service.data, d.service.size);
    memcpy(method, d.method.data, d.method.size);
  }
  tables_builder t = {0};
  uint32_t cluster = tables_cluster(&t, "echo", 1), routes = PK_NONE;
  tables_endpoint(&t, ENDPOINT, "127.0.0.1:1", &address, sizeof address);
  uint32_t plan = tables_plan(&t, "all", cluster, (pk_retry){0}, PK_NONE);
  if (!framing) {
    routes = tables_routes(&t, "bench");
    tables_rule(&t, service, method, plan);
  }
  tables_listener(&t, "bench", routes, framing ? plan : PK_NONE, 0);
  return tables_load(&t, 0x9e3779b97f4a7c15u, &limits, codec);
}

/* ns a request with that codec. */
static double measure(const pk_codec *codec, int framing, const uint8_t *request, size_t request_size,
                      const uint8_t *answer, size_t answer_size) {
  static uint8_t requests[IN_FLIGHT * 4096], answers[IN_FLIGHT * 4096];
  feed feeds[CLIENTS];
  uint64_t least = UINT64_MAX;
  pk_table *table = build_table(codec, framing, request, request_size);
  core = pk_core_new(1);
  if (table == NULL || core == NULL || pk_core_apply(core, table, 1) != 0) die("declared: table");
  for (int i = 0; i < CLIENTS; i++) {
    uint8_t *at = requests + (size_t)i * DEPTH * request_size;
    feeds[i] = (feed){pk_core_accept(core, 0), at, DEPTH * request_size, 0};
    for (int k = 0; k < DEPTH; k++) {
      pk_frame f = {0};
      uint8_t *one = at + (size_t)k * request_size;
      memcpy(one, request, request_size);
      codec->frame(codec, one, request_size, 1 << 20, &f);
      codec->patch_id(codec, one, &f, (uint64_t)k + 1);
    }
  }
  for (int i = 0; i < BATCHES; i++) {
    for (int k = 0; k < CLIENTS; k++) feeds[k].fed = 0;
    uint64_t took = run(feeds, CLIENTS, IN_FLIGHT * request_size);
    for (int k = 0; k < IN_FLIGHT; k++) {
      pk_frame f = {0}, a = {0};
      uint8_t *one = answers + (size_t)k * answer_size;
      codec->frame(codec, written + (size_t)k * request_size, request_size, 1 << 20, &f);
      memcpy(one, answer, answer_size);
      codec->frame(codec, one, answer_size, 1 << 20, &a);
      codec->patch_id(codec, one, &a, f.id);
    }
    feed back = {upstream, answers, IN_FLIGHT * answer_size, 0};
    took += run(&back, 1, IN_FLIGHT * answer_size);
    if (took < least) least = took;
  }
  pk_core_free(core);
  pk_table_free(table);
  return (double)least / IN_FLIGHT;
}

int main(int argc, char **argv) {
  if (argc < 6) {
    fprintf(stderr, "declared bolt|thrift IMAGE STEP REQUEST ANSWER [ROUNDS]\n");
    return 2;
  }
  size_t request_size, answer_size;
  int thrift = strcmp(argv[1], "thrift") == 0;
  const pk_codec *declared = load_format(argv[2], argv[3]);
  const uint8_t *request = read_file(argv[4], &request_size), *answer = read_file(argv[5], &answer_size);
  const pk_codec *codecs[3] = {thrift ? &thrift_by_hand : &bolt_by_hand, declared,
                               thrift ? &thrift_framing : &bolt_framing};
  int rounds = argc > 6 ? atoi(argv[6]) : 25;
  double least[3] = {1e9, 1e9, 1e9}, *ratios[3];
  written = zeroed(1, IN_FLIGHT * 4096);
  if (request_size > 4096 || answer_size > 4096) die("declared: frames of at most 4096 bytes");
  for (int k = 0; k < 3; k++) ratios[k] = zeroed((size_t)rounds, sizeof(double));
  for (int i = 0; i < rounds; i++) {
    double took[3];
    for (int k = 0; k < 3; k++) {
      took[k] = measure(codecs[k], k == 2, request, request_size, answer, answer_size);
      if (took[k] < least[k]) least[k] = took[k];
    }
    for (int k = 0; k < 3; k++) ratios[k][i] = took[k] / took[0];
  }
  for (int k = 0; k < 3; k++) qsort(ratios[k], (size_t)rounds, sizeof(double), by_size);
  printf("{\"by_hand_ns\": %.1f, \"declared_ns\": %.1f, \"framing_ns\": %.1f, \"declared_ratio\": %.3f, "
         "\"framing_ratio\": %.3f}\n",
         least[0], least[1], least[2], ratios[1][rounds / 2], ratios[2][rounds / 2]);
  return 0;
}
