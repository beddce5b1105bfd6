/* slots.c: which request an answer belongs to.
 *
 * A shared connection has a ring: the engine issues the ids, and their low bits say where in it. A pinned one
 * keeps its client's ids, in chains by id that grow with what is under way: of equal ids the oldest stands in
 * front. Where answers come in order, a request's place in the order of all takes theirs; what its answer is read by
 * (its context, and an id that only has to come back) stands beside the slot.
 *
 * A request that ended without its answer leaves its slot given up where the id may come again before that
 * answer does: ids that clients choose, and narrow ones, which come round, and any while parts of an answer come,
 * which may go on for long. The late answer, or the last part of it, frees it. */
#include <stdlib.h>

#include "core/internal.h"

enum { FREE = 0, WAITING, GIVEN_UP };
enum { FIRST_PINNED = 16 };

/* Ids of three bytes come round within minutes. */
static int is_narrow(const pk_codec *codec) { return codec->id_bytes > 0 && codec->id_bytes <= 3; }

static int is_reserved(const pk_codec *codec, uint64_t id) {
  uint32_t i = 0;
  while (i < codec->reserved_count && codec->reserved_ids[i] != id) i++;
  return i < codec->reserved_count;
}

static int in_order(const pk_conn *c) { return c->codec->mode != PK_MODE_MULTIPLEXED; }

int pk_slots_init(pk_conn *c) {
  uint32_t size = pk_slots_most(c->codec);
  c->next_id = c->head_id = 1;
  c->slot_most = size;
  c->rewrites = !c->pinned && !in_order(c);
  if (c->pinned) return 0;
  for (uint64_t id = 0; size == 256 && id < size; id++) c->slot_most -= (uint32_t)is_reserved(c->codec, id);
  c->slots = calloc(size, sizeof *c->slots);
  c->slot_mask = size - 1;
  if (in_order(c)) c->asked = calloc(size, sizeof *c->asked);
  return c->slots == NULL || (in_order(c) && c->asked == NULL) ? -1 : 0;
}

void pk_slots_free(pk_conn *c) {
  free(c->slots);
  free(c->chains);
  free(c->asked);
  c->slots = NULL;
  c->chains = NULL;
  c->asked = NULL;
}

/* Pinned: `chains` are the first slots of the chains, and then each slot's next one. */

static uint32_t *chain_of(const pk_conn *c, uint64_t id) {
  return &c->chains[(id * 0x9e3779b97f4a7c15u >> 32) & c->slot_mask];
}

static uint32_t *next_of(const pk_conn *c, uint32_t i) { return &c->chains[c->slot_mask + 1 + i]; }

static void append(pk_conn *c, uint32_t i) {
  uint32_t *at = chain_of(c, c->slots[i].id);
  while (*at != PK_NONE) at = next_of(c, *at);
  *at = i;
  *next_of(c, i) = PK_NONE;
}

static int grow(pk_conn *c) {
  uint32_t had = c->slots == NULL ? 0 : c->slot_mask + 1, size = had == 0 ? FIRST_PINNED : 2 * had;
  pk_slot *slots = calloc(size, sizeof *slots);
  uint32_t *chains = malloc(2 * size * sizeof *chains);
  pk_asked *asked = in_order(c) ? malloc(size * sizeof *asked) : NULL;
  if (slots == NULL || chains == NULL || (in_order(c) && asked == NULL)) {
    free(slots);
    free(chains);
    free(asked);
    return -1;
  }
  if (asked != NULL && had > 0) memcpy(asked, c->asked, had * sizeof *asked);
  pk_conn old = *c;
  c->slots = slots;
  c->chains = chains;
  c->asked = asked;
  c->slot_mask = size - 1;
  for (uint32_t i = 0; i < size; i++) chains[i] = PK_NONE;
  for (uint32_t i = 0; i < had; i++) { /* chain by chain: equal ids keep their order */
    for (uint32_t from = old.chains[i]; from != PK_NONE; from = *next_of(&old, from)) {
      slots[from] = old.slots[from];
      append(c, from);
    }
  }
  c->slot_free = had;
  for (uint32_t i = had; i < size; i++) *next_of(c, i) = i + 1 < size ? i + 1 : PK_NONE;
  pk_slots_free(&old);
  return 0;
}

static pk_slot *in_chain(const pk_conn *c, uint64_t id, uint32_t from) {
  while (from != PK_NONE && c->slots[from].id != id) from = *next_of(c, from);
  return from == PK_NONE ? NULL : &c->slots[from];
}

static pk_slot *first_with(const pk_conn *c, uint64_t id) {
  return c->slots == NULL ? NULL : in_chain(c, id, *chain_of(c, id));
}

static pk_slot *next_with(const pk_conn *c, const pk_slot *s) {
  return in_chain(c, s->id, *next_of(c, (uint32_t)(s - c->slots)));
}

static int take_pinned(pk_conn *c, pk_attempt *a, uint64_t id) {
  for (const pk_slot *s = first_with(c, id); s != NULL; s = next_with(c, s))
    if (s->state == GIVEN_UP) return PK_SLOT_REUSED;
  if ((c->slots == NULL || c->slot_free == PK_NONE) && grow(c) != 0) return PK_ERR_SPACE;
  uint32_t i = c->slot_free;
  c->slot_free = *next_of(c, i);
  c->slots[i] = (pk_slot){id, a->index, WAITING};
  append(c, i);
  a->wire_id = id;
  return 0;
}

uint32_t pk_slots_one(const pk_conn *c) {
  uint32_t i = 0;
  while (c->slots != NULL && i <= c->slot_mask && c->slots[i].state != WAITING) i++;
  return c->slots == NULL || i > c->slot_mask ? PK_NONE : c->slots[i].attempt;
}

uint64_t pk_slots_id(pk_conn *c) {
  uint64_t id = 0, mask = pk_id_mask(c->codec);
  if (in_order(c)) return 0;
  for (uint32_t i = 0; i < 2 * PK_RING; i++) {
    id = c->next_id++ & mask;
    if (is_reserved(c->codec, id)) continue;
    if (c->pinned ? first_with(c, id) == NULL : c->slots[id & c->slot_mask].state == FREE) break;
  }
  return id;
}

static inline int take_ring(pk_conn *c, pk_attempt *a, uint64_t id) {
  pk_slot *s = &c->slots[id & c->slot_mask];
  if (s->state != FREE) return PK_ERR_SPACE;
  *s = (pk_slot){id, a->index, WAITING};
  a->wire_id = id;
  return 0;
}

static pk_slot *slot_of(const pk_conn *c, const pk_attempt *a);

/* The next place in the order. */
static PK_RARE int take_next(pk_conn *c, pk_attempt *a, const pk_request *r) {
  int taken = c->pinned ? take_pinned(c, a, c->next_id) : take_ring(c, a, c->next_id);
  if (taken != 0) return taken;
  c->next_id++;
  c->asked[slot_of(c, a) - c->slots] = (pk_asked){r->client_id, r->context};
  return 0;
}

int pk_slots_take(pk_conn *c, pk_attempt *a, const pk_request *r) {
  if (in_order(c)) return take_next(c, a, r);
  if (c->pinned) return take_pinned(c, a, r->client_id);
  return take_ring(c, a, pk_slots_id(c));
}

int pk_slots_expect(pk_conn *c, uint64_t id, uint32_t context) {
  pk_attempt nobody = {.index = PK_NONE};
  if (!in_order(c)) return 0;
  int taken = take_pinned(c, &nobody, c->next_id);
  if (taken != 0) return taken;
  c->next_id++;
  c->asked[slot_of(c, &nobody) - c->slots] = (pk_asked){id, context};
  return 0;
}

static inline void release(pk_conn *c, pk_slot *s) {
  c->given_up -= s->state == GIVEN_UP;
  s->state = FREE;
  if (!c->pinned) return;
  uint32_t i = (uint32_t)(s - c->slots), *at = chain_of(c, s->id);
  while (*at != i) at = next_of(c, *at);
  *at = *next_of(c, i);
  *next_of(c, i) = c->slot_free;
  c->slot_free = i;
}

static pk_slot *slot_of(const pk_conn *c, const pk_attempt *a) {
  pk_slot *s;
  if (c->slots == NULL) return NULL;
  if (c->pinned) {
    s = first_with(c, a->wire_id);
    while (s != NULL && s->attempt != a->index) s = next_with(c, s);
    return s;
  }
  s = &c->slots[a->wire_id & c->slot_mask];
  return s->state != FREE && s->attempt == a->index ? s : NULL;
}

/* In order: whether the answer that comes now, not this attempt's, comes in parts: others are not late, but behind. */
static int is_behind(const pk_core *core, const pk_conn *c, const pk_attempt *a) {
  const pk_slot *s = c->pinned ? first_with(c, c->head_id) : &c->slots[c->head_id & c->slot_mask];
  return s != NULL && s->state == WAITING && s->attempt != a->index && pk_attempt_at(core, s->attempt)->parts;
}

int pk_slots_unclear(const pk_core *core, const pk_conn *c, const pk_attempt *a) {
  if (in_order(c)) return !is_behind(core, c, a);
  const pk_slot *s = c->pinned ? slot_of(c, a) : NULL;
  while (s != NULL && (s = next_with(c, s)) != NULL && s->state != WAITING) {}
  return s != NULL;
}

void pk_slots_put_back(pk_conn *c, const pk_attempt *a) {
  pk_slot *s = slot_of(c, a);
  if (s != NULL) release(c, s);
}

static void leave_taken(pk_conn *c, pk_slot *s) {
  s->state = GIVEN_UP;
  c->given_up++;
  if (c->given_up > c->slot_most / 2) c->leaving |= PK_LEAVE_RETIRED;
}

void pk_slots_give_up(pk_conn *c, const pk_attempt *a) {
  pk_slot *s = slot_of(c, a);
  if (s == NULL || s->state != WAITING) return;
  s->attempt = PK_NONE;
  if (c->pinned || in_order(c) || is_narrow(c->codec) || a->parts) {
    leave_taken(c, s);
  } else {
    s->state = FREE;
  }
}

/* Whether the answer's id, a byte string, is that of the request in the slot. A slot given up knows its hash. */
static int is_named(const pk_core *core, const pk_conn *c, const pk_slot *s, pk_slice id) {
  if (s->state == GIVEN_UP) return 1;
  const pk_request *r = pk_request_find(core, pk_attempt_at(core, s->attempt)->request);
  return r != NULL && pk_id_same(c->codec, pk_request_id(core, r), id);
}

static pk_slot *in_ring(const pk_conn *c, uint64_t id) {
  pk_slot *s = &c->slots[id & c->slot_mask];
  return s->state != FREE && s->id == id ? s : NULL;
}

/* The slot of an answer whose id is a byte string. */
static pk_slot *find_named(const pk_core *core, const pk_conn *c, pk_slice id) {
  uint64_t number = 0;
  if (id.data == NULL) return NULL;
  if (!c->pinned) return pk_id_read(c->codec, id, &number) ? in_ring(c, number) : NULL;
  pk_slot *s = first_with(c, pk_id_hash(c->codec, id));
  while (s != NULL && !is_named(core, c, s, id)) s = next_with(c, s);
  return s;
}

static pk_slot *with_number(const pk_conn *c, uint64_t id) { return c->pinned ? first_with(c, id) : in_ring(c, id); }

static pk_slot *find(const pk_core *core, const pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f) {
  if (in_order(c)) return with_number(c, c->head_id);
  return c->named ? find_named(core, c, pk_id_of(c->codec, data, f, size)) : with_number(c, f->id);
}

uint32_t pk_slots_context(const pk_conn *c) {
  const pk_slot *s = in_order(c) ? with_number(c, c->head_id) : NULL;
  return s == NULL ? 0 : c->asked[s - c->slots].context;
}

int pk_slots_in_step(const pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f) {
  const pk_slot *s = in_order(c) && c->codec->id_bytes > 0 ? with_number(c, c->head_id) : NULL;
  if (s == NULL) return 1;
  uint64_t asked = c->asked[s - c->slots].id;
  if (!c->named) return f->id == asked;
  pk_slice id = pk_id_of(c->codec, data, f, size);
  return id.data != NULL && pk_id_hash(c->codec, id) == asked;
}

uint32_t pk_slots_find(const pk_core *core, const pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f) {
  const pk_slot *s = find(core, c, data, size, f);
  return s == NULL ? PK_NONE : s->attempt;
}

/* More of the answer in this slot follows. Where nobody waits for it any more and its id is free, it is taken until the
 * last part: it could come round before. */
static PK_RARE uint32_t partly(pk_conn *c, const pk_slot *s, const uint8_t *data, size_t size, const pk_frame *f) {
  if (s != NULL && c->codec->mode == PK_MODE_ORDERED && !c->pinned) c->leaving |= PK_LEAVE_BUSY;
  if (s != NULL) return s->attempt;
  uint64_t id = f->id;
  if (c->pinned || in_order(c)) return PK_NONE;
  if (c->named && !pk_id_read(c->codec, pk_id_of(c->codec, data, f, size), &id)) return PK_NONE;
  pk_slot *its = &c->slots[id & c->slot_mask];
  if (its->state != FREE) return PK_NONE;
  *its = (pk_slot){id, PK_NONE, FREE};
  leave_taken(c, its);
  return PK_NONE;
}

/* What an answer, or the last part of one, has mended. */
static PK_RARE void takes_again(pk_conn *c) {
  c->leaving &= (uint8_t)~PK_LEAVE_BUSY;
  if ((c->leaving & PK_LEAVE_RETIRED) && !c->pinned && c->given_up <= c->slot_most / 4)
    c->leaving &= (uint8_t)~PK_LEAVE_RETIRED;
}

uint32_t pk_slots_answered(const pk_core *core, pk_conn *c, const uint8_t *data, size_t size, const pk_frame *f) {
  pk_slot *s = find(core, c, data, size, f);
  if (f->says & PK_SAYS_MORE) return partly(c, s, data, size, f);
  if (s == NULL) return PK_NONE;
  uint32_t attempt = s->attempt;
  if (in_order(c)) c->head_id++;
  release(c, s);
  if (c->leaving != 0) takes_again(c);
  return attempt;
}

uint32_t pk_slots_next(pk_conn *c, uint32_t *at) {
  while (c->slots != NULL && *at <= c->slot_mask) {
    /* Where there are no ids the oldest comes first. */
    pk_slot *s = &c->slots[(c->pinned ? *at : c->head_id + *at) & c->slot_mask];
    ++*at;
    if (s->state != WAITING) continue;
    uint32_t attempt = s->attempt;
    release(c, s);
    return attempt;
  }
  return PK_NONE;
}
