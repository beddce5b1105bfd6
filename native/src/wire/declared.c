/* declared.c: the codec of every declared wire format, put together from what the other files do. */
#include "wire/declared.h"

#include <protokit/wanted.h>
#include <stdlib.h>

#include "wire/codec_check.h"

static int probe(const pk_codec *codec, const uint8_t *data, size_t size) {
  const declared *d = declared_of(codec);
  pk_frame f = {.from = PK_FROM_CLIENT};
  machine m;
  if (size == 0) return PK_MORE;
  int result = pk_declared_frame_as(d, &m, data, size, INT32_MAX, FRAMING, &f);
  if (result == PK_ERR_MAGIC) return PK_ERR_MAGIC;
  return result == PK_MORE && size < d->program->signature ? PK_MORE : PK_OK;
}

/* Those that a request's texts are found with. */
static int prepare(const declared *d, machine *m, const uint8_t *data, const pk_frame *f) {
  return d->program->rerun ? pk_declared_rerun(d, m, data, f) : PK_OK;
}

static int destination(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  const declared *d = declared_of(codec);
  machine m;
  if (prepare(d, &m, data, f) != PK_OK) return PK_ERR_FORMAT;
  return pk_declared_find_texts(d, d->program->destination, &m, data, f, out, NULL);
}

/* Where a request's or an answer's headers stand, and how. PK_MORE: it has none. */
static int find_headers(const declared *d, const uint8_t *data, const pk_frame *f, headers *h) {
  int answer = f->kind == PK_KIND_RESPONSE;
  uint32_t entry = answer ? d->program->answers : d->program->headers;
  machine m;
  *h = (headers){{NULL, 0}, 0};
  if (entry == PK_NOWHERE) return PK_MORE;
  if ((answer ? pk_declared_rerun(d, &m, data, f) : prepare(d, &m, data, f)) != PK_OK) return PK_ERR_FORMAT;
  int result = pk_declared_find_texts(d, entry, &m, data, f, NULL, h);
  return result == PK_OK && h->section.data == NULL ? PK_MORE : result;
}

/* The next one whose key is not null. PK_ERR_UNSUPPORTED: its value cannot be shown. */
static int next_of(const declared *d, uint32_t map, pairs *in, pk_header *out) {
  int result;
  do {
    result = pk_declared_next_pair(d, &d->maps[map], in, &out->key, &out->value);
    if (result != PK_OK && result != PK_ERR_UNSUPPORTED) return result;
  } while (out->key.data == NULL);
  out->raw = out->value.data == NULL; /* null is no text */
  return result;
}

/* The cursor: where the next pair stands, the end of all, the map and how it is read. */
static int next_header(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_cursor *c,
                       pk_header *out) {
  const declared *d = declared_of(codec);
  if (c->at == 0) {
    headers h;
    pairs all;
    int result = find_headers(d, data, f, &h);
    if (result == PK_OK) result = pk_declared_pairs(d, &d->maps[h.map], h.section, &all);
    if (result != PK_OK) return result;
    c->at = (uint32_t)(all.at - data);
    c->state[0] = (uint32_t)(all.end - data);
    c->state[1] = h.map;
    c->state[2] = all.form;
  }
  pairs in = {data + c->at, data + c->state[0], c->state[2]};
  int result = next_of(d, c->state[1], &in, out);
  c->at = (uint32_t)(in.at - data);
  c->state[2] = in.form;
  return result;
}

static int header(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_slice key, pk_header *out) {
  const declared *d = declared_of(codec);
  headers h;
  pk_header one;
  pairs in;
  int found = PK_MORE, result = find_headers(d, data, f, &h);
  if (result == PK_OK) result = pk_declared_pairs(d, &d->maps[h.map], h.section, &in);
  while (result == PK_OK || result == PK_ERR_UNSUPPORTED) {
    result = next_of(d, h.map, &in, &one);
    if (result != PK_OK && result != PK_ERR_UNSUPPORTED) break;
    if (!pk_declared_same_key(&d->maps[h.map], one.key, key)) continue;
    *out = one;
    found = result;
    if (pk_declared_first_counts(&d->maps[h.map])) break;
  }
  return found != PK_MORE && result >= 0 ? found : result == PK_MORE ? found : result;
}

/* As `header` gives it: the last of several, or the first. Where a key stands for all that differ from it in case only,
 * several may be asked for. */
static void note(const pk_program_map *map, const pk_wanted *wanted, const pk_header *one, pk_headers *found) {
  int first = pk_declared_first_counts(map);
  if (!first && !pk_declared_ignores_case(map)) {
    pk_wanted_note(wanted, one, found);
    return;
  }
  for (uint32_t i = 0; i < wanted->count; i++) {
    if (!pk_declared_same_key(map, one->key, wanted->names[i]) || (first && (found->there >> i & 1))) continue;
    found->there |= (uint64_t)1 << i;
    found->headers[i] = *one;
  }
}

static int wanted_headers(const pk_codec *codec, const uint8_t *data, const pk_frame *f, const pk_wanted *wanted, pk_headers *found) {
  const declared *d = declared_of(codec);
  headers h;
  pk_header one;
  pairs in;
  int result = find_headers(d, data, f, &h);
  if (result == PK_OK) result = pk_declared_pairs(d, &d->maps[h.map], h.section, &in);
  while (result == PK_OK && (result = next_of(d, h.map, &in, &one)) == PK_OK) note(&d->maps[h.map], wanted, &one, found);
  return result == PK_MORE ? PK_OK : result;
}

static int heartbeat(const pk_codec *codec, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  const pk_reply r = {.id = id, .context = key};
  return pk_declared_reply(declared_of(codec), key, PK_REPLY_HEARTBEAT, &r, out, cap);
}

static int heartbeat_ack(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint8_t *out,
                         size_t cap) {
  const declared *d = declared_of(codec);
  uint8_t kept[PK_KEEP_MAX];
  pk_reply r = {.id = f->id, .context = f->context};
  if (codec->keep_max > 0) r.kept = (pk_slice){kept, (uint32_t)pk_declared_keep(codec, data, f->size, f, kept, sizeof kept)};
  return pk_declared_reply(d, f->context & 0xff, PK_REPLY_ACK, &r, out, cap);
}

static int drain(const pk_codec *codec, const pk_reply *r, uint8_t *out, size_t cap) {
  const pk_reply nobodys = {.context = r->context, .kept = r->kept};
  return pk_declared_reply(declared_of(codec), r->context & 0xff, PK_REPLY_DRAIN, &nobodys, out, cap);
}

static int error(const pk_codec *codec, const pk_reply *r, uint8_t *out, size_t cap) {
  return pk_declared_reply(declared_of(codec), r->context & 0xff, PK_REPLY_ERROR + r->status, r, out, cap);
}

/* Where answers come in order framing knew it already. */
static int answer(const pk_codec *codec, const uint8_t *data, pk_frame *f, const pk_reply *asked) {
  pk_frame again = {.from = f->from, .ended = 1, .asked = asked->context};
  machine m;
  int result = pk_declared_frame_as(declared_of(codec), &m, data, f->size, f->size, UNVERIFIED, &again);
  f->status = again.status;
  f->says = again.says;
  return result == PK_MORE ? PK_ERR_FORMAT : result;
}

static int greeting(const pk_codec *codec, uint32_t step, uint32_t context, const uint8_t *said, const pk_frame *f,
                    uint8_t *out, size_t cap) {
  const declared *d = declared_of(codec);
  const pk_program_greeting *g = &d->greetings[step];
  uint32_t forms = said != NULL && f->kind == PK_KIND_GREETING ? f->own[FORMS] : 0, which = g->first;
  uint8_t kept[PK_KEEP_MAX];
  pk_reply r = {.context = context};
  if (said != NULL) r.kept = (pk_slice){kept, (uint32_t)pk_declared_heard(d, said, f, kept, sizeof kept)};
  while (which < g->first + g->count && d->sayings[which].heard != 0 && !(d->sayings[which].heard & forms)) which++;
  if (which == g->first + g->count) return 0; /* there is nothing that it could say */
  return pk_declared_reply(d, context & 0xff, PK_REPLY_GREETING + which, &r, out, cap);
}

static int greeting_step(const pk_codec *codec, uint32_t step, const uint8_t *data, const pk_frame *f) {
  const declared *d = declared_of(codec);
  uint32_t side = codec->greeting_server >> step & 1;
  (void)data;
  for (; step < codec->greeting_steps; step++) {
    uint32_t heard = d->greetings[step].heard;
    if ((codec->greeting_server >> step & 1) == side && (heard == 0 || (heard & f->own[FORMS]))) return (int)step;
  }
  return PK_ERR_FORMAT;
}

/* Loading. */

static declared *loaded(const void *image, size_t size) {
  uint32_t literals = ((const pk_program *)image)->literals.count;
  declared *d = calloc(1, sizeof *d);
  uint8_t *copy = malloc(size);
  pk_slice *slices = calloc(literals + 1, sizeof *slices);
  quick_shape *quick = calloc(((const pk_program *)image)->shapes.count + 1, sizeof *quick);
  quick_key *keys = calloc(((const pk_program *)image)->keys.count + 1, sizeof *keys);
  quick_map *maps = calloc(((const pk_program *)image)->maps.count + 1, sizeof *maps);
  quick_test *tests = calloc(((const pk_program *)image)->tests.count + 1, sizeof *tests);
  if (d == NULL || copy == NULL || slices == NULL || quick == NULL || keys == NULL || maps == NULL || tests == NULL) {
    free(tests);
    free(maps);
    free(keys);
    free(quick);
    free(d);
    free(copy);
    free(slices);
    return NULL;
  }
  memcpy(copy, image, size);
  const pk_program *p = (const void *)copy;
  const pk_program_literal *l = (const void *)(copy + p->literals.at);
  for (uint32_t i = 0; i < literals; i++) slices[i] = (pk_slice){copy + l[i].at, l[i].size};
  *d = (declared){.program = p,
                  .insns = (const void *)(copy + p->insns.at),
                  .constants = (const void *)(copy + p->constants.at),
                  .delimiters = (const void *)(copy + p->delimiters.at),
                  .tables = (const void *)(copy + p->tables.at),
                  .entries = (const void *)(copy + p->entries.at),
                  .maps = (const void *)(copy + p->maps.at),
                  .keys = (const void *)(copy + p->keys.at),
                  .steps = (const void *)(copy + p->steps.at),
                  .measures = (const void *)(copy + p->measures.at),
                  .checksums = (const void *)(copy + p->checksums.at),
                  .operands = (const void *)(copy + p->operands.at),
                  .replies = (const void *)(copy + p->replies.at),
                  .tests = (const void *)(copy + p->tests.at),
                  .shapes = (const void *)(copy + p->shapes.at),
                  .counters = (const void *)(copy + p->counters.at),
                  .parts = (const void *)(copy + p->parts.at),
                  .greetings = (const void *)(copy + p->greetings.at),
                  .sayings = (const void *)(copy + p->sayings.at),
                  .arguments = (const void *)(copy + p->arguments.at),
                  .fields = (const void *)(copy + p->fields.at),
                  .writers = (const void *)(copy + p->writers.at),
                  .counts = (const void *)(copy + p->counts.at),
                  .quick = quick,
                  .quick_tests = tests,
                  .quick_keys = keys,
                  .quick_maps = maps,
                  .literals = slices};
  return d;
}

static void unload(declared *d) {
  if (d == NULL) return;
  unload((declared *)(uintptr_t)d->editing);
  free((void *)(uintptr_t)d->program);
  free(d->literals);
  free(d->quick);
  free(d->quick_tests);
  free(d->quick_keys);
  free(d->quick_maps);
  free(d);
}

static void unload_one(pk_loaded *l) { unload((declared *)(void *)l); }

int pk_declared_is(const pk_codec *codec) {
  return codec->frame == pk_declared_frame || codec->frame == pk_declared_frame_led || codec->frame == pk_declared_frame_named ||
         codec->frame == pk_declared_frame_on;
}

/* It, held by nobody. */
static declared *made(const void *image, size_t size, const char **why) {
  *why = pk_declared_bad_image(image, size);
  if (*why != NULL) return NULL;
  declared *d = loaded(image, size);
  *why = d == NULL ? "out of memory" : pk_declared_bad_indexes(d);
  if (*why == NULL) *why = pk_declared_bad_insns(d);
  if (*why == NULL) *why = pk_declared_bad_replies(d);
  if (*why == NULL) *why = pk_declared_bad_shapes(d);
  if (*why == NULL) *why = pk_declared_bad_paths(d);
  if (*why == NULL && d->program->editing.count > 0) { /* one that says what it says, and where what can be changed stands */
    d->editing = made((const uint8_t *)d->program + d->program->editing.at, d->program->editing.count, why);
    if (*why == NULL) *why = pk_declared_bad_editing(d);
  }
  if (*why != NULL) {
    unload(d);
    return NULL;
  }
  const pk_program *p = d->program;
  static const uint8_t forms[9] = {0, PK_PLACE_1, PK_PLACE_2, 0, PK_PLACE_4, 0, 0, 0, PK_PLACE_8};
  d->id_form = forms[p->id_bytes] != 0 ? forms[p->id_bytes] : (uint8_t)PK_PLACE_OTHER;
  pk_declared_quicken(d);
  for (uint32_t pc = p->frame; pc < p->insns.count && d->insns[pc].op != PK_I_END; pc++) { /* more than it does, never fewer */
    const pk_insn *n = &d->insns[pc];
    uint32_t last = n->op == PK_I_UVAR && (uint32_t)n->i > n->a ? (uint32_t)n->i : n->a;
    if (last + 2 > d->registers) d->registers = last + 2;
    d->ends |= n->op == PK_I_REST;
  }
  d->far = p->tested > 16;
  d->sided = p->root != p->server_root;
  for (uint32_t pc = p->keep_own; pc < p->insns.count && d->insns[pc].op != PK_I_END; pc++)
    if (d->insns[pc].op == PK_I_OWN) d->keeps |= (uint8_t)(1u << d->insns[pc].i / 2);
  uint8_t looked[16] = {0};
  for (uint32_t i = 0; i < p->tests.count; i++) {
    if (d->tests[i].place.form & PK_PLACE_BEHIND) continue;
    for (uint32_t k = 0; k < d->tests[i].place.width; k++)
      if (d->tests[i].place.offset + k < 16) looked[d->tests[i].place.offset + k] = 0xff;
  }
  memcpy(&d->mask_a, looked, 8);
  memcpy(&d->mask_b, looked + 8, 8);
  d->codec = (pk_codec){.abi = PK_CODEC_ABI,
                        .size = sizeof(pk_codec),
                        .name = (const char *)d->literals[p->name].data,
                        .user = d,
                        .mode = p->mode,
                        .id_bytes = p->id_bytes,
                        .reserved_count = p->reserved_count,
                        .reply_max = p->reply_max,
                        .probe = probe,
                        .frame = p->resumes       ? pk_declared_frame_on
                                 : p->id_max > 0 ? pk_declared_frame_named
                                 : p->lead.width > 0 ? pk_declared_frame_led
                                                     : pk_declared_frame,
                        .state_size = pk_declared_state_size(d),
                        .ends = d->ends,
                        .destination = destination,
                        .next_header = next_header,
                        .patch_id = p->id_max > 0 ? NULL : pk_declared_patch_id,
                        .heartbeat = heartbeat,
                        .heartbeat_ack = heartbeat_ack,
                        .drain = drain,
                        .error = error,
                        .greeting_steps = p->greetings.count,
                        .greeting_server = p->greeting_server,
                        .greeting_optional = p->greeting_optional,
                        .greeting_with = p->greeting_with,
                        .greeting_relayed = p->greeting_relayed,
                        .greeting = p->greetings.count > 0 ? greeting : NULL,
                        .greeting_step = p->greetings.count > 0 ? greeting_step : NULL,
                        .pinned = p->pinned,
                        .id_max = p->id_max,
                        .id_fixed = p->id_fixed,
                        .id_form = p->id_form,
                        .splice_id = p->id_stays ? NULL : pk_declared_splice_id,
                        .optional_drain = p->optional_drain,
                        .edit = d->editing != NULL ? pk_declared_edit : NULL,
                        .header = header,
                        .headers = wanted_headers,
                        .argument = p->arguing != PK_NOWHERE ? pk_declared_argument : NULL,
                        .answer = p->judges ? answer : NULL,
                        .keep_max = pk_declared_keep_max(d, asked_parts(d)),
                        .keep = p->asked > 0 ? pk_declared_keep : NULL,
                        .budget = pk_declared_budgets(d) ? pk_declared_budget : NULL,
                        .inside = pk_declared_looks_inside(d) ? pk_declared_inside : NULL};
  memcpy(d->codec.reserved_ids, p->reserved, sizeof p->reserved);
  *why = pk_codec_check((uintptr_t)&d->codec);
  if (*why == NULL) return d;
  unload(d);
  return NULL;
}

const pk_codec *pk_declared_new(const void *image, size_t size, const char **why) {
  declared *d = made(image, size, why);
  if (d == NULL) return NULL;
  pk_loaded_begin(&d->loaded, unload_one);
  return &d->codec;
}

#define X(name) #name " "
const char *pk_instruction_names(void) { return PK_INSTRUCTIONS(X); }
#undef X
