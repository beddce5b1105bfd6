/* micro: the sans-IO core alone, with the Dubbo codec: what a request costs without sockets.
 *
 *   micro [--routes N] [--clients C] [--depth D] [--payload BYTES] [--services S] [--batches N] [--image FILE] [--refused 1]
 *         [--format FILE --step N --request FILE --answer FILE]
 *
 * C clients have D requests each; they are fed to the core, which writes them upstream; then the
 * answers are fed, and written back. The route table has N rules, each of exact service and method;
 * the requests go to S of them in turn. `--image` is a table that Python has packed of a configuration
 * (benchmarks/governance.py), instead; `--refused`: the core answers all requests by it itself, but for some of the
 * first batch; `--format`: in a declared format (format.h), of which all requests and answers are those. Printed as one JSON object: the least and the median time of a request, ns. Under callgrind, --toggle-collect=batch counts the core's work alone. */
#include "../../plugins/dubbo/native/dubbo.h"
#include "drive.h"
#include "format.h"
#include "frame.h"
#include "policy/state.h"

static struct options {
  long routes, clients, depth, payload, services, batches, refused;
} o = {.routes = 10, .clients = 16, .depth = 16, .payload = 128, .services = 8, .batches = 2000};

static const char *image_path, *format_path, *step, *request_path, *answer_path;
static const pk_codec *codec = &pk_dubbo_codec;
static pk_handle clients[CLIENTS_MAX];

static void service_name(char *out, size_t size, long i) {
  snprintf(out, size, "org.protokit.bench.Service%05ld", i);
}

/* The table of a configuration, whose rules have what they need beyond it. */
static pk_table *load_table(void) {
  size_t size;
  char why[200];
  uint8_t *image = read_file(image_path, &size);
  const uintptr_t spoken = (uintptr_t)codec, codecs[] = {spoken, spoken}; /* the listener's, and of health checks */
  pk_table *t = pk_table_load(image, size, codecs, 2, why, sizeof why);
  if (t == NULL) die(why);
  uintptr_t *states = zeroed(t->plans.count, sizeof *states);
  for (uint32_t i = 0; i < t->plans.count; i++) {
    pk_rule_state *s = pk_rule_state_new(1024, 1);
    states[i] = (uintptr_t)s;
    if (pk_table_plan_at(t, i)->limit.ask != PK_ASK_NOBODY && pk_rule_state_ask(s, 1024) != 0) die("micro: state");
  }
  pk_table_share(t, states, t->plans.count);
  free(states);
  free(image);
  return t;
}

static pk_table *build_table(void) {
  const struct sockaddr_in address = loopback(1);
  char name[64];
  tables_builder t = {0};
  uint32_t cluster = tables_cluster(&t, "echo", 1);
  tables_endpoint(&t, ENDPOINT, "127.0.0.1:1", &address, sizeof address);
  uint32_t routes = tables_routes(&t, "bench");
  for (long i = 0; i < o.routes; i++) {
    service_name(name, sizeof name, i);
    tables_rule(&t, name, "echo", tables_plan(&t, name, cluster, (pk_retry){0}, PK_NONE));
  }
  tables_listener(&t, "bench", routes, PK_NONE, 0);
  return tables_load(&t, 0x9e3779b97f4a7c15u, &limits, &pk_dubbo_codec);
}

/* Whoever is asked about rules' limits lets all through. */
static void answer_asks(void) {
  pk_ask asks[16];
  for (uint32_t n; (n = pk_core_take_asks(core, asks, 16)) > 0;) {
    for (uint32_t i = 0; i < n; i++) {
      pk_rule_state *s = (pk_rule_state *)(uintptr_t)asks[i].state;
      pk_rule_state_took(s, 1);
      pk_rule_state_say(s, asks[i].key, INT64_MAX, virtual_now, virtual_now + 86400000000000u);
    }
  }
}

static size_t put_request(uint8_t *out, const char *service, uint64_t id) {
  const char *attachments[] = {"path", service, "interface", service, "version", "1.0.0",
                               "timeout", "10000"};
  static char text[65536];
  memset(text, 'x', sizeof text);
  uint8_t *p = out + HEADER;
  p = put_text(p, "2.0.2", 5);
  p = put_text(p, service, strlen(service));
  p = put_text(p, "1.0.0", 5);
  p = put_text(p, "echo", 4);
  p = put_text(p, "Ljava/lang/String;", 18);
  p = put_text(p, text, (size_t)o.payload);
  *p++ = 'H';
  for (size_t i = 0; i < sizeof attachments / sizeof *attachments; i++)
    p = put_text(p, attachments[i], strlen(attachments[i]));
  *p++ = 'Z';
  put_header(out, FLAG_REQUEST | FLAG_TWO_WAY, 0, id, (size_t)(p - out) - HEADER);
  return (size_t)(p - out);
}

/* Answers to the requests that stand in `written`. */
static size_t put_answers(uint8_t *out, size_t answer_size) {
  size_t size = 0;
  for (size_t at = 0; at < written_size;) {
    put_header(out + size, 0, STATUS_OK, get64(written + at + 4), answer_size - HEADER);
    out[size + HEADER] = VALUE;
    at += frame_size(written + at, written_size - at);
    size += answer_size;
  }
  return size;
}

/* A frame with another id. */
static size_t put_like(uint8_t *out, const uint8_t *like, size_t size, uint64_t id) {
  pk_frame f = {0};
  memcpy(out, like, size);
  if (codec->frame(codec, out, size, 1 << 20, &f) != PK_OK || f.size != size) die("micro: no frame of that format");
  codec->patch_id(codec, out, &f, id);
  return size;
}

static size_t put_answers_like(uint8_t *out, const uint8_t *answer, size_t answer_size) {
  size_t size = 0;
  for (size_t at = 0; at < written_size;) {
    pk_frame f = {0};
    if (codec->frame(codec, written + at, written_size - at, 1 << 20, &f) != PK_OK) die("micro: what was written is no frame");
    size += put_like(out + size, answer, answer_size, f.id);
    at += f.size;
  }
  return size;
}

static size_t answers_written(void) {
  size_t count = 0;
  for (size_t at = 0; at < written_size; at += frame_size(written + at, written_size - at)) count += !(written[at + 2] & 0x80);
  return count;
}

static void read_options(int argc, char **argv) {
  struct {
    const char *name;
    long *value, low, high;
  } known[] = {{"--routes", &o.routes, 1, 1000000}, {"--clients", &o.clients, 1, CLIENTS_MAX},
               {"--depth", &o.depth, 1, 1024},      {"--payload", &o.payload, 1, 65535},
               {"--services", &o.services, 1, 100000},   {"--batches", &o.batches, 1, 1000000},
               {"--refused", &o.refused, 0, 1}};
  for (int i = 1; i < argc; i += 2) {
    size_t k = 0, n = sizeof known / sizeof *known;
    while (k < n && strcmp(argv[i], known[k].name) != 0) k++;
    const struct {
      const char *name, **path;
    } files[] = {{"--image", &image_path}, {"--format", &format_path}, {"--step", &step},
                 {"--request", &request_path}, {"--answer", &answer_path}};
    size_t of = 0, all = sizeof files / sizeof *files;
    while (of < all && strcmp(argv[i], files[of].name) != 0) of++;
    if (of < all && i + 1 < argc) {
      *files[of].path = argv[i + 1];
      continue;
    }
    if (k == n || i + 1 == argc) {
      fprintf(stderr, "micro: unknown option %s; benchmarks/native/micro.c lists them\n", argv[i]);
      exit(2);
    }
    *known[k].value = whole(argv[i], argv[i + 1], known[k].low, known[k].high);
  }
  if (o.services > o.routes) o.services = o.routes;
}

int main(int argc, char **argv) {
  read_options(argc, argv);
  size_t request_size = 0, answer_size = HEADER + 1 + (size_t)o.payload;
  const uint8_t *request = NULL, *answer = NULL;
  if (format_path != NULL) {
    if (step == NULL || request_path == NULL || answer_path == NULL) die("micro: --format goes with --step, --request and --answer");
    codec = load_format(format_path, step);
    request = read_file(request_path, &request_size);
    answer = read_file(answer_path, &answer_size);
  }
  size_t in_flight = (size_t)(o.clients * o.depth), room = in_flight * ((size_t)o.payload + request_size + answer_size + 512);
  uint8_t *requests = zeroed(1, room), *answers = zeroed(1, room);
  feed *feeds = zeroed((size_t)o.clients, sizeof *feeds);
  double *times = zeroed((size_t)o.batches, sizeof *times);
  char service[64];
  written = zeroed(1, room);
  pk_table *table = image_path != NULL ? load_table() : build_table();
  core = pk_core_new(1);
  if (table == NULL || core == NULL || pk_core_apply(core, table, 1) != 0) die("micro: table");
  uint8_t *p = requests;
  for (long i = 0; i < o.clients; i++) {
    clients[i] = pk_core_accept(core, 0);
    feeds[i] = (feed){clients[i], p, 0, 0};
    for (long k = 0; k < o.depth; k++) {
      /* Spread over the table, so that a big one is met as a whole. */
      service_name(service, sizeof service, (i * o.depth + k) % o.services * o.routes / o.services);
      uint64_t id = (uint64_t)(k + 1);
      p += request != NULL ? put_like(p, request, request_size, id) : put_request(p, service, id);
    }
    feeds[i].size = (size_t)(p - feeds[i].data);
  }
  size_t going = (size_t)(p - requests), coming = in_flight * answer_size;
  for (long i = 0; i < o.batches; i++) {
    for (long k = 0; k < o.clients; k++) feeds[k].fed = 0;
    uint64_t took = run(feeds, (size_t)o.clients, o.refused ? ANY : going);
    answer_asks();
    if (o.refused) {
      if (i > 0 && answers_written() != in_flight) die("micro: not all were refused"); /* places and tokens go first */
      times[i] = (double)took / (double)in_flight;
      continue;
    }
    feed back = {upstream, answers, answer != NULL ? put_answers_like(answers, answer, answer_size) : put_answers(answers, answer_size), 0};
    took += run(&back, 1, coming);
    times[i] = (double)took / (double)in_flight;
  }
  qsort(times, (size_t)o.batches, sizeof *times, by_size);
  printf("{\"routes\": %ld, \"requests\": %ld, \"least_ns\": %.2f, \"median_ns\": %.2f}\n", o.routes,
         o.batches * o.clients * o.depth, times[0], times[o.batches / 2]);
  pk_core_free(core);
  pk_table_free(table);
  return 0;
}
