/* target.c: the fuzz target. It loads the compiled program of every declared protocol (formats.h, which
 * export.py writes) or a codec in C, and runs bytes through its functions (frames.h) and through the core (world.h).
 *
 *   tag | how | cut | client bytes, 2, little endian | the client's bytes, then the upstream's
 *
 * `tag` names the protocol, so that an input stays what it was when another one is installed. `how` says
 * what the peers do (HOW_*), `cut` decides into which pieces all bytes are cut.
 *
 * All input stands flush in a block of its own: AddressSanitizer sees a read past it. A rule that does
 * not hold ends in `must`. */
#include "../tests/tables.h"
#include "world.h"
#include "wire/program.h"
#include "wire/steps/steps.h"

typedef struct format {
  const char *name;
  uint8_t tag;
  const uint8_t *image; /* NULL: a codec in C */
  size_t size;
  const char *const *steps; /* where the image has an address of a step or a measure stands its place in here */
  const pk_codec *native;
  int keys; /* of its headers: KEYS_* */
} format;

#ifdef PLANTED
/* A step with a fault, to prove that the target finds one: a varint whose last byte says that another one
 * follows is read past the section. With PLANTED=0 it is right. */
static int planted(const uint8_t *at, size_t size, const pk_slice *arguments, uint32_t n, pk_slice *out,
                   uint32_t count) {
  const uint8_t *start = at, *end = at + size;
  (void)arguments, (void)n, (void)count;
  while ((PLANTED || at < end) && *at & 0x80) at++;
  if (at < end) out[0] = (pk_slice){start, (uint32_t)(at + 1 - start)};
  return PK_OK;
}
#endif

#include "formats.h" /* FORMATS, and static const format formats[FORMATS] */

enum { HEAD = 5 };
static const pk_codec *codecs[FORMATS];
static const pk_table *tables[FORMATS][2]; /* roomy, strict */

static void link_steps(const format *f, uint8_t *image) {
  const pk_program *p = (const void *)image;
  pk_program_step *steps = (void *)(image + p->steps.at);
  for (uint32_t i = 0; i < p->steps.count; i++) {
    const char *name = f->steps[steps[i].function];
    steps[i].function = pk_core_step(name);
#ifdef PLANTED
    if (strcmp(name, "planted") == 0) steps[i].function = (uint64_t)(uintptr_t)planted;
#endif
    if (steps[i].function == 0) fprintf(stderr, "%s: the step %s is not linked in\n", f->name, name), exit(2);
  }
  pk_program_measure *measures = (void *)(image + p->measures.at);
  for (uint32_t i = 0; i < p->measures.count; i++) {
    const char *name = f->steps[measures[i].function];
    measures[i].function = pk_core_measure(name);
    if (measures[i].function == 0) fprintf(stderr, "%s: the measure %s is not linked in\n", f->name, name), exit(2);
  }
  if (p->editing.count > 0) link_steps(f, image + p->editing.at);
}

static const pk_codec *load(const format *f) {
  if (f->image == NULL) return f->native;
  uint8_t *image = flush(f->image, f->size);
  const char *error = NULL;
  link_steps(f, image);
  const pk_codec *codec = pk_declared_new(image, f->size, &error);
  if (codec == NULL) fprintf(stderr, "%s: refused: %s\n", f->name, error), exit(2);
  free(image);
  return codec;
}

static const pk_table *table_of(const pk_codec *c, int strict) {
  pk_limits limits = {.buffer = 4 << 20, .frame = LIMIT, .connections = 64, .in_flight = 4000,
                      .in_flight_per_connection = 4000, .client_pause = 1 << 20, .client_close = 2 << 20,
                      .upstream_buffer = 1 << 20, .upstream_in_flight = 4000, .retry_buffer = 4096,
                      .request_ms = 3000, .idle_ms = 600000, .frame_ms = 20000, .detect_ms = 500,
                      .heartbeat_ms = 4000, .probe_ms = 1000};
  if (strict) {
    limits.in_flight_per_connection = 4;
    limits.upstream_in_flight = 2;
    limits.client_pause = 64;
    limits.upstream_buffer = 256;
    limits.client_close = 4096;
    limits.buffer = 100000;
    limits.frame = STRICT_LIMIT;
  }
  const uint8_t address[16] = {2, 0, 9, 9, 127, 0, 0, 1};
  tables_builder t = {0};
  uint32_t cluster = tables_cluster(&t, "c", strict ? 2 : 1);
  tables_endpoint(&t, 0, "127.0.0.1:2313", address, sizeof address);
  uint32_t plain = tables_plan(&t, "plain", cluster, (pk_retry){0}, PK_NONE);
  uint32_t retries = tables_plan(&t, "retries", cluster, (pk_retry){.attempts = 3, .on = 15, .idempotent = 1, .budget = 1000000}, PK_NONE);
  uint32_t routes = tables_routes(&t, "r");
  tables_rule(&t, "no.*", "*", retries);
  tables_rule(&t, "*", "*", plain);
  tables_listener(&t, "routed", routes, PK_NONE, 0);
  tables_listener(&t, "pinned", PK_NONE, plain, 1);
  tables_listener(&t, "retries", PK_NONE, retries, 0);
  return tables_load(&t, 42, &limits, c);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  for (size_t i = 0; i < FORMATS; i++) {
    codecs[i] = load(&formats[i]);
    const char *wrong = pk_codec_check((uintptr_t)codecs[i]);
    if (wrong != NULL) fprintf(stderr, "%s: %s\n", formats[i].name, wrong), exit(2);
    for (int strict = 0; strict < 2; strict++) tables[i][strict] = table_of(codecs[i], strict);
  }
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size <= HEAD) return 0;
  size_t which = data[0] % FORMATS;
  for (size_t i = 0; i < FORMATS; i++)
    if (formats[i].tag == data[0]) which = i;
  const pk_codec *c = codecs[which];
  uint8_t how = data[1], cut = data[2];
  size_t client = data[3] | (size_t)data[4] << 8;
  running = formats[which].name;
  keys = formats[which].keys;
  data += HEAD;
  size -= HEAD;
  if (client > size) client = size;
  int asks_only = stream(c, data, client, how, cut, PK_FROM_CLIENT);
  stream(c, data + client, size - client, how, cut, PK_FROM_SERVER);
  world_run(c, tables[which][(how & HOW_STRICT) != 0], how, cut, data, client, size, NULL, NULL);
  if (asks_only && cut > 0 && c->mode != PK_MODE_PINGPONG)
    same_in_pieces(c, tables[which][0], how, cut, data, client);
  return 0;
}
