/* destination.c: service, method, version and group of a request.
 *
 * A provider looks its service up by path, version and group, and lets the attachments override the
 * fields in front (DecodeableRpcInvocation and DubboProtocol.getInvoker of Apache Dubbo; seen with 2.7
 * and 3.3). So the arguments are stepped over and the attachments read; the attachment `interface`
 * moves no provider and is not looked at: who routed by it could be shown one service and the provider
 * another. A generic call goes by the method it names. */
#include <protokit/wanted.h>
#include <stdatomic.h>

#include "request.h"

/* What the attachments say; slices without data where they say nothing. Null is as good as an empty text: both
 * override the field in front. */
typedef struct attachments {
  pk_slice path, version, group;
  int64_t timeout, remaining;
  int calls_back;
} attachments;

static int64_t digits(pk_slice s) {
  int64_t v = 0;
  if (s.size == 0 || s.size > 10) return 0;
  for (uint32_t i = 0; i < s.size; i++) {
    if (s.data[i] < '0' || s.data[i] > '9') return 0;
    v = v * 10 + (s.data[i] - '0');
  }
  return v;
}

/* "sys_callback_arg-0": the provider will call that argument of the client's. */
static int is_callback(pk_slice key) { return key.size > 17 && memcmp(key.data, "sys_callback_arg-", 17) == 0; }

/* `number` counts where `value` has no data. */
static void note(attachments *a, pk_slice key, pk_slice value, int64_t number) {
  pk_slice *to = NULL;
  switch (key.size) {
    case 3:
      if (SAME(key, "_TO") || SAME(key, "_to"))
        a->remaining = value.data != NULL ? digits(value) : number;
      break;
    case 4:
      if (SAME(key, "path")) to = &a->path;
      break;
    case 5:
      if (SAME(key, "group")) to = &a->group;
      break;
    case 7:
      if (SAME(key, "version")) to = &a->version;
      if (SAME(key, "timeout")) a->timeout = value.data != NULL ? digits(value) : number;
      break;
    default: a->calls_back |= is_callback(key); break;
  }
  if (to != NULL) *to = value.data != NULL ? value : (pk_slice){key.data, 0};
}

static void resolve(pk_destination *out, const attachments *a, pk_slice path, pk_slice version,
                    pk_slice method) {
  out->service = a->path.size > 0 ? a->path : path; /* no provider has an empty one */
  out->version = a->version.data != NULL ? a->version : version;
  out->group = a->group;
  out->method = method;
  if (a->calls_back) out->flags |= PK_DESTINATION_CALLS_BACK;
  int64_t timeout = a->remaining > 0 ? a->remaining : a->timeout;
  if (timeout > 0) out->timeout_ms = timeout < UINT32_MAX ? (uint32_t)timeout : UINT32_MAX;
}

/* Whether a provider looks its service up by that attachment. */
static int routes_by(pk_slice key) { return SAME(key, "path") || SAME(key, "version") || SAME(key, "group"); }

/* The last pair, as it is given to who asks for it. */
static void give(const pk_wanted *wanted, const reader *r, pk_slice key, pk_slice value, pk_headers *found) {
  pk_header h = {key, value, value.data != NULL ? 0 : r->veiled & VEILED_VALUE ? PK_RAW_VEILED : PK_RAW_OTHER};
  if (h.raw) h.value = (pk_slice){r->value, (uint32_t)(r->h.at - r->value)};
  pk_wanted_note(wanted, &h, found);
}

/* What is read otherwise by the provider than here may not be passed over. */
static int read_attachments(const layout *l, reader *r, attachments *a, const pk_wanted *wanted, pk_headers *found) {
  pk_slice key, value;
  int64_t number;
  memset(a, 0, sizeof *a);
  int result = l->enter(r);
  if (result == PK_ERR_UNSUPPORTED) return PK_ERR_LIMIT;
  while (result == PK_OK) {
    result = l->pair(r, &key, &value, &number);
    if (result != PK_OK) break;
    if (r->veiled && (r->veiled & VEILED_KEY || (key.data != NULL && routes_by(key)))) return PK_ERR_LIMIT;
    if (key.data == NULL) continue;
    note(a, key, value, number);
    if (wanted != NULL) give(wanted, r, key, value, found);
  }
  return result == PK_MORE ? PK_OK : result;
}

/* What is said again, as a header that somebody asks for: if it is another text than is found, or none is, it may be any. */
static void compare(const pk_wanted *wanted, const reader *r, pk_slice value, pk_headers *found) {
  uint32_t i = pk_wanted_find(wanted, r->again);
  if (i == PK_WANTED_MAX) return;
  pk_header *h = &found->headers[i];
  uint64_t bit = (uint64_t)1 << i;
  if (found->there & bit && !h->raw && dubbo_same_text(h->value, value)) return;
  found->there |= bit;
  *h = (pk_header){r->again, {r->value, (uint32_t)(r->h.at - r->value)}, PK_RAW_VEILED};
}

/* Whether what these attachments, read before, say again is the same where it is routed by; and for headers. */
static int agrees(const layout *l, reader *r, attachments *a, const pk_wanted *wanted, pk_headers *found) {
  pk_slice key, value;
  int64_t number;
  int result = l->enter(r);
  while (result == PK_OK && (result = l->pair(r, &key, &value, &number)) == PK_OK) {
    if (r->again.data == NULL) continue;
    pk_slice plain = SAME(r->again, "path") ? a->path : SAME(r->again, "version") ? a->version : a->group;
    if (routes_by(r->again) && !dubbo_same_text(plain, value)) return PK_ERR_LIMIT;
    if (wanted != NULL) compare(wanted, r, value, found);
    a->calls_back |= is_callback(r->again);
  }
  return PK_OK;
}

/* What was read lately, by each thread. The calls of one method begin with the same bytes, and end with the same
 * attachments as long as these hold nothing of their own, such as a trace: who compares these bytes need not read
 * them. Both depend on nothing but their bytes; attachments behind arguments that define classes do. A method has
 * one of two places, so that two that share them do not take turns. */
enum { MEMO_SETS = 32, FRONT_MAX = 248, TAIL_MAX = 376, HEADERS_MAX = 16 };
enum { ABSENT = 0, IN_FRONT, IN_TAIL };

typedef struct place {
  uint32_t part, at, size;
} place;

typedef struct memo {
  uint32_t front_size, tail_size; /* 0: nothing is known; of a tail, only with this front */
  int arguments;
  place path, version, method;                  /* what the front says */
  place service, final_version, group;          /* what both say */
  uint32_t timeout_ms, flags;
  uint64_t same; /* of pk_headers */
  uint64_t wanted, there, raw; /* headers of the tail, that somebody asked for: whose serial; which there are; no texts */
  place headers[HEADERS_MAX];  /* in their order */
  uint32_t next; /* of a set's first: which of the two is written next */
  uint8_t front[FRONT_MAX], tail[TAIL_MAX];
} memo;

static __thread memo memos[MEMO_SETS][2];

static place place_of(pk_slice s, const uint8_t *front, const uint8_t *tail) {
  if (s.data == NULL) return (place){ABSENT, 0, 0};
  if (tail != NULL && s.data >= tail) return (place){IN_TAIL, (uint32_t)(s.data - tail), s.size};
  return (place){IN_FRONT, (uint32_t)(s.data - front), s.size};
}

static pk_slice slice_of(place p, const uint8_t *front, const uint8_t *tail) {
  if (p.part == ABSENT) return (pk_slice){NULL, 0};
  return (pk_slice){(p.part == IN_TAIL ? tail : front) + p.at, p.size};
}

/* Behind a string of one short chunk, or a null; NULL when it is something else. */
static const uint8_t *past_short(const uint8_t *at, const uint8_t *end) {
  if (at == NULL || end - at < 2) return NULL;
  size_t size = at[0] < 0x20 ? 1u + at[0] : at[0] == 0x30 ? 2u + at[1] : at[0] == 'N' ? 1 : SIZE_MAX;
  return (size_t)(end - at) >= size ? at + size : NULL;
}

static int has_front(const memo *m, const uint8_t *body, const uint8_t *end) {
  return m->front_size > 0 && (size_t)(end - body) >= m->front_size && memcmp(body, m->front, m->front_size) == 0;
}

/* Where a body's front is remembered, or was not yet: by the ends of its path and its method. NULL: nowhere. */
static memo *memo_of(const uint8_t *body, const uint8_t *end, int *known) {
  const uint8_t *path = past_short(past_short(body, end), end), *method = past_short(past_short(path, end), end);
  uint64_t a, b;
  if (method == NULL || path - body < 8) return NULL;
  memcpy(&a, path - 8, 8);
  memcpy(&b, method - 8, 8);
  uint64_t hash = (a * 0xd6e8feb86659fd93u ^ b ^ (uint64_t)(method - path)) * 0x9e3779b97f4a7c15u;
  memo *set = memos[hash >> 59];
  *known = 1;
  for (int i = 0; i < 2; i++)
    if (has_front(&set[i], body, end)) return &set[i];
  *known = 0;
  return &set[set->next ^= 1];
}

static int remember_front(memo *m, const uint8_t *body, const uint8_t *end, const dubbo_front *f) {
  size_t size = (size_t)(end - body);
  if (size > FRONT_MAX) return 0;
  m->front_size = (uint32_t)size;
  m->tail_size = 0;
  m->arguments = f->arguments;
  m->path = place_of(f->path, body, NULL);
  m->version = place_of(f->version, body, NULL);
  m->method = place_of(f->method, body, NULL);
  memcpy(m->front, body, size);
  return 1;
}

static int has_tail(const memo *m, const reader *r) {
  return m->tail_size > 0 && (size_t)(r->h.end - r->h.at) == m->tail_size && r->h.class_count == 0 &&
         memcmp(r->h.at, m->tail, m->tail_size) == 0;
}

/* 0: there are too many, or one that is to be refused. */
static int remember_headers(memo *m, const uint8_t *body, const uint8_t *tail, const pk_wanted *wanted, const pk_headers *found) {
  uint32_t n = 0;
  m->wanted = wanted == NULL ? 0 : wanted->serial;
  m->there = wanted == NULL ? 0 : found->there;
  m->raw = 0;
  for (uint64_t left = m->there; left != 0; left &= left - 1) {
    uint32_t i = (uint32_t)__builtin_ctzll(left);
    if (n == HEADERS_MAX || found->headers[i].raw == PK_RAW_VEILED) return 0;
    if (found->headers[i].raw) m->raw |= (uint64_t)1 << i;
    m->headers[n++] = place_of(found->headers[i].value, body, tail);
  }
  return 1;
}

/* As next_header gives them, but for their keys. */
static void recall_headers(const memo *m, const uint8_t *body, const uint8_t *tail, const pk_wanted *wanted, pk_headers *found) {
  const place *at = m->headers;
  found->there = m->there;
  for (uint64_t left = m->there; left != 0; left &= left - 1) {
    uint32_t i = (uint32_t)__builtin_ctzll(left);
    found->headers[i] = (pk_header){wanted->names[i], slice_of(*at++, body, tail), (uint32_t)(m->raw >> i & 1)};
  }
}

/* Whether what front and tail say is all: a generic call names its method among the arguments. */
static int is_told(const memo *m, const uint8_t *body, pk_slice method) { return method.data < body + m->front_size; }

static void remember_tail(memo *m, const uint8_t *body, const uint8_t *tail, const uint8_t *end,
                          const pk_destination *d, const pk_wanted *wanted, const pk_headers *found) {
  static atomic_uint_fast64_t numbers;
  size_t size = (size_t)(end - tail);
  if (size > TAIL_MAX) return;
  m->tail_size = 0;
  if (!remember_headers(m, body, tail, wanted, found)) return;
  m->tail_size = (uint32_t)size;
  m->same = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed) + 1;
  m->service = place_of(d->service, body, tail);
  m->final_version = place_of(d->version, body, tail);
  m->group = place_of(d->group, body, tail);
  m->timeout_ms = d->timeout_ms;
  m->flags = d->flags;
  memcpy(m->tail, tail, size);
}

/* What stands in front is known all the same, for the caller to be told. */
static int unread(pk_destination *out, const dubbo_front *front, int result) {
  out->service = front->path;
  out->method = front->method;
  return result;
}

static inline __attribute__((always_inline)) int read_request(const uint8_t *data, const pk_frame *f, pk_destination *out,
                                                           const pk_wanted *wanted, pk_headers *found, uint64_t *same) {
  const layout *l = dubbo_layout(f->context);
  const uint8_t *body = data + DUBBO_HEADER;
  reader r;
  dubbo_front front;
  attachments a;
  int result;
  if (l == NULL) return PK_ERR_UNSUPPORTED;
  pk_values_open(&r.h, body, data + f->size);
  int known = 0;
  memo *m = l == &hessian_layout ? memo_of(body, r.h.end, &known) : NULL;
  if (known) {
    r.h.at = body + m->front_size;
    front.arguments = m->arguments;
    front.method = slice_of(m->method, body, NULL);
  } else {
    if ((result = dubbo_names(l, &r, &front)) != PK_OK) return unread(out, &front, result);
    if (m != NULL && !remember_front(m, body, r.h.at, &front)) m = NULL;
  }
  if ((result = dubbo_arguments(l, &r, &front)) != PK_OK) {
    if (known) front.path = slice_of(m->path, body, NULL);
    return unread(out, &front, result);
  }
  const uint8_t *tail = r.h.at;
  if (known && has_tail(m, &r) && (wanted == NULL || m->wanted == wanted->serial)) {
    int numbered = same != NULL && is_told(m, body, front.method), filled = wanted != NULL && (!numbered || wanted->filled);
    if (filled) recall_headers(m, body, tail, wanted, found);
    if (numbered) *same = m->same | (filled ? PK_SAID_TOO : 0);
    out->service = slice_of(m->service, body, tail);
    out->method = front.method;
    out->version = slice_of(m->final_version, body, tail);
    out->group = slice_of(m->group, body, tail);
    out->timeout_ms = m->timeout_ms;
    out->flags = m->flags;
    return PK_OK;
  }
  if (known) {
    front.path = slice_of(m->path, body, NULL);
    front.version = slice_of(m->version, body, NULL);
  }
  int alone = r.h.class_count == 0;
  result = read_attachments(l, &r, &a, wanted, found);
  if (result == PK_OK && l == &protobuf_layout) {
    r.h.at = tail;
    result = agrees(l, &r, &a, wanted, found);
  }
  if (result != PK_OK) return unread(out, &front, result);
  resolve(out, &a, front.path, front.version, front.method);
  if (m != NULL && alone) remember_tail(m, body, tail, r.h.end, out, wanted, found);
  return PK_OK;
}

int dubbo_destination(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  (void)codec;
  return read_request(data, f, out, NULL, NULL, NULL);
}

int dubbo_destination_headers(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_destination *out,
                              const pk_wanted *wanted, pk_headers *found) {
  (void)codec;
  return read_request(data, f, out, wanted, found, &found->same);
}

int dubbo_headers(const pk_codec *codec, const uint8_t *data, const pk_frame *f, const pk_wanted *wanted, pk_headers *found) {
  pk_destination ignored = {.context = f->context};
  (void)codec;
  return read_request(data, f, &ignored, wanted, found, NULL);
}
