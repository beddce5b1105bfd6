/* records.c: the places of connections, requests and attempts, and their handles; operations for the driver. */
#include <stdlib.h>

#include "core/internal.h"

void pk_op_add(pk_core *core, pk_op op) {
  pk_op *ops = pk_grow(core->ops, &core->op_capacity, core->op_count + 1, sizeof *ops);
  if (ops == NULL) abort(); /* a lost operation would leave a socket that nobody owns */
  core->ops = ops;
  core->ops[core->op_count++] = op;
}

_Static_assert(sizeof(pk_malformed) == sizeof(pk_op), "one is an event, too");

void pk_malformed_tell(pk_core *core, const pk_conn *c, const uint8_t *data, size_t size, uint32_t at, int error) {
  static const uint64_t every = 1000000000;
  int client = pk_conn_is_client(c);
  uint64_t *due = &core->malformed_told[client];
  if (core->now < *due || size == 0 || (!client && c->endpoint->gone)) return;
  *due = core->now + every;
  pk_malformed told = {.op = client ? PK_OP_MALFORMED : PK_OP_MALFORMED_ANSWER,
                       .arg = client ? c->listener : c->endpoint->uid,
                       .handle = pk_conn_handle(c),
                       .error = (uint8_t)-error,
                       .at = at};
  told.count = (uint8_t)(size < sizeof told.head ? size : sizeof told.head);
  memcpy(told.head, data, told.count);
  pk_op op;
  memcpy(&op, &told, sizeof op);
  pk_op_add(core, op);
}

size_t pk_core_take_ops(pk_core *core, pk_op *out, size_t max) {
  size_t left = core->op_count - core->op_taken, n = left < max ? left : max;
  if (n > 0) memcpy(out, core->ops + core->op_taken, n * sizeof *out);
  core->op_taken += (uint32_t)n;
  if (core->op_taken == core->op_count) core->op_taken = core->op_count = 0;
  return n;
}

/* xorshift64*: where to start in a list, which of two endpoints; nothing secret. */
uint64_t pk_random(pk_core *core) {
  core->random ^= core->random >> 12;
  core->random ^= core->random << 25;
  core->random ^= core->random >> 27;
  return core->random * 0x2545f4914f6cdd1du >> 16;
}

pk_conn *pk_conn_new(pk_core *core, const pk_kind *kind, uint8_t state) {
  pk_conn *c;
  if (core->free_conns.count > 0) {
    c = core->conns[core->free_conns.items[--core->free_conns.count]];
  } else {
    pk_conn **conns = pk_grow(core->conns, &core->conn_capacity, core->conn_count + 1, sizeof *conns);
    if (conns == NULL) return NULL;
    core->conns = conns;
    c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->index = core->conn_count;
    conns[core->conn_count++] = c;
  }
  uint32_t index = c->index, generation = c->generation + 1;
  memset(c, 0, sizeof *c);
  c->index = index;
  c->generation = generation < (1u << 31) ? generation : 1; /* the top bit is the driver's */
  c->kind = kind;
  c->state = state;
  c->timer.kind = PK_TIMER_CONN;
  c->waiting_head = c->waiting_tail = PK_NONE;
  c->opened = c->last_read = c->last_write = core->now;
  return c;
}

int pk_requests_grow(pk_core *core) {
  uint32_t capacity = core->request_pages;
  pk_request **pages = realloc(core->requests, (capacity + 1) * sizeof *pages);
  if (pages == NULL) return -1;
  core->requests = pages;
  pages[capacity] = calloc(PK_PAGE, sizeof(pk_request));
  if (pages[capacity] == NULL) return -1;
  core->request_pages++;
  for (uint32_t i = PK_PAGE; i-- > 0;) {
    pk_request *r = &pages[capacity][i];
    r->index = capacity * PK_PAGE + i;
    r->next = core->free_request;
    core->free_request = r->index;
  }
  return 0;
}

pk_attempt *pk_attempt_new(pk_core *core) {
  if (core->free_attempt == PK_NONE) {
    uint32_t capacity = core->attempt_pages;
    pk_attempt **pages = realloc(core->attempts, (capacity + 1) * sizeof *pages);
    if (pages == NULL) return NULL;
    core->attempts = pages;
    pages[capacity] = aligned_alloc(64, PK_PAGE * sizeof(pk_attempt));
    if (pages[capacity] == NULL) return NULL;
    core->attempt_pages++;
    for (uint32_t i = PK_PAGE; i-- > 0;) {
      pk_attempt *a = &pages[capacity][i];
      a->index = capacity * PK_PAGE + i;
      a->next = core->free_attempt;
      core->free_attempt = a->index;
    }
  }
  pk_attempt *a = pk_attempt_at(core, core->free_attempt);
  uint32_t index = a->index;
  core->free_attempt = a->next;
  memset(a, 0, sizeof *a);
  a->index = index;
  a->next = PK_NONE;
  return a;
}

void pk_attempt_free(pk_core *core, pk_attempt *a) {
  a->request = 0;
  a->next = core->free_attempt;
  core->free_attempt = a->index;
}

uint8_t *pk_page_room(pk_pages *p, uint32_t index, uint32_t size) {
  uint32_t page = index / PK_PAGE, had = p->count;
  uint8_t **pages = pk_grow(p->pages, &p->count, page + 1, sizeof *pages);
  if (pages == NULL) return NULL;
  p->pages = pages;
  for (uint32_t i = had; i < p->count; i++) pages[i] = NULL;
  if (pages[page] == NULL) pages[page] = malloc((size_t)PK_PAGE * size);
  return pages[page] == NULL ? NULL : pages[page] + (size_t)(index % PK_PAGE) * size;
}

uint8_t *pk_page_at(const pk_pages *p, uint32_t index, uint32_t size) {
  return p->pages[index / PK_PAGE] + (size_t)(index % PK_PAGE) * size;
}

int pk_beside_room(pk_core *core, const pk_conn *client, uint32_t index) {
  if (client->named && pk_page_room(&core->ids, index, PK_ID_MAX) == NULL) return -1;
  return client->lately != NULL && pk_page_room(&core->kept, index, PK_KEEP_MAX) == NULL ? -1 : 0;
}

static void keep_id(pk_core *core, pk_request *r, const pk_codec *codec, pk_slice id) {
  r->to.named = 1;
  r->client_id = pk_id_hash(codec, id);
  r->id_size = id.data == NULL ? PK_ABSENT : (uint8_t)id.size;
  if (id.size > 0) memcpy(pk_page_at(&core->ids, r->index, PK_ID_MAX), id.data, id.size);
}

int pk_seen_keep(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  uint8_t *at = pk_page_room(&core->asked, r->index, sizeof(pk_held *));
  pk_held *h = at == NULL ? NULL : pk_hold(core, data, f);
  if (h == NULL) return -1;
  memcpy(at, &h, sizeof h);
  pk_request_count_held(core, r, h->capacity);
  r->parts |= PK_PART_SEEN;
  return 0;
}

const pk_held *pk_seen_of(const pk_core *core, const pk_request *r) {
  const pk_held *h;
  if (!(r->parts & PK_PART_SEEN)) return NULL;
  memcpy(&h, pk_page_at(&core->asked, r->index, sizeof h), sizeof h);
  return h;
}

pk_held *pk_seen_take(pk_core *core, pk_request *r) {
  pk_held *h;
  if (!(r->parts & PK_PART_SEEN)) return NULL;
  memcpy(&h, pk_page_at(&core->asked, r->index, sizeof h), sizeof h);
  r->parts &= (uint8_t)~PK_PART_SEEN;
  pk_request_count_held(core, r, -(int64_t)h->capacity);
  return h;
}

void pk_beside_keep(pk_core *core, pk_request *r, const pk_conn *client, const uint8_t *data, size_t size,
                    const pk_frame *f) {
  const pk_chunk *kept = client->lately;
  if (client->named) keep_id(core, r, client->codec, pk_id_of(client->codec, data, f, size));
  if (kept == NULL || kept->end == 0) return;
  r->kept_size = (uint16_t)kept->end;
  memcpy(pk_page_at(&core->kept, r->index, PK_KEEP_MAX), kept->data, kept->end);
}

pk_slice pk_request_id(const pk_core *core, const pk_request *r) {
  if (r->id_size == PK_ABSENT) return (pk_slice){NULL, 0};
  return (pk_slice){pk_page_at(&core->ids, r->index, PK_ID_MAX), r->id_size};
}

pk_slice pk_request_kept(const pk_core *core, const pk_request *r) {
  if (r->kept_size == 0) return (pk_slice){NULL, 0};
  return (pk_slice){pk_page_at(&core->kept, r->index, PK_KEEP_MAX), r->kept_size};
}
