/* declared_quick.c: whole and right frames, read by their shapes. What has no shape, is cut or wrong is the
 * program's (declared_run.c), which says the same of all others. */
#include "base/checksum.h"
#include "wire/declared.h"

static inline int64_t at_place(const uint8_t *data, pk_program_place p) {
  const uint8_t *from = data + p.offset;
  switch (p.form & (PK_PLACE_BEHIND - 1)) {
    case PK_PLACE_NONE: return 0;
    case PK_PLACE_1: return *from;
    case PK_PLACE_2: return (int64_t)get16(from);
    case PK_PLACE_4: return (int64_t)get32(from);
    case PK_PLACE_8: return (int64_t)get64(from);
    case PK_PLACE_2S: return (int16_t)get16(from);
    case PK_PLACE_4S: return (int32_t)get32(from);
    default: break;
  }
  uint64_t v = p.form & 1 ? little(from, p.width) : big(from, p.width);
  return p.form & 2 ? extend(v, p.width) : (int64_t)v;
}

/* A place read without a branch: eight bytes that end with it, or begin with it, shifted. */
static quick_place quick_of(pk_program_place p, uint32_t header) {
  uint32_t past = (uint32_t)p.offset + p.width;
  uint8_t form = p.form & (PK_PLACE_BEHIND - 1), around = (uint8_t)(64 - 8 * p.width);
  int ends = past >= 8 && past <= header, begins = p.offset + 8u <= header;
  int plain = form != PK_PLACE_NONE && !(form & PK_PLACE_OTHER && form & 1) && (ends || begins);
  int is_signed = form == PK_PLACE_2S || form == PK_PLACE_4S || (form & PK_PLACE_OTHER && form & 2);
  return (quick_place){.place = p,
                       .behind = (p.form & PK_PLACE_BEHIND) != 0,
                       .plain = (uint8_t)plain,
                       .at = (uint16_t)(!plain ? 0 : ends ? past - 8 : p.offset),
                       .left = plain && ends ? around : 0,
                       .right = plain ? around : 0,
                       .is_signed = (uint8_t)is_signed};
}

static inline int64_t quick_integer(const uint8_t *data, const quick_place *p, int plain) {
  if (!plain && !p->plain) return at_place(data, p->place);
  uint64_t v = get64(data + p->at) << p->left;
  return p->is_signed ? (int64_t)v >> p->right : (int64_t)(v >> p->right);
}

/* The size of the leading section, and the number that it is made of; 0: they are not there. */
static inline int lead_of(const declared *d, const uint8_t *data, size_t size, uint64_t *length, int64_t *number) {
  if (size < d->lead_at) return 0;
  *number = quick_integer(data, &d->lead, 0);
  *length = (uint64_t)*number + (uint64_t)(int64_t)d->lead_add;
  return (uint64_t)*number <= UINT32_MAX && (int64_t)*length >= 0;
}

static __attribute__((noinline)) int holds(const pk_program_test *t, const uint8_t *from) {
  int64_t v = at_place(from, t->place);
  if (t->mask != 0) v &= (int64_t)t->mask;
  return t->op == 0   ? v == t->value
         : t->op == 1 ? v < t->value
         : t->op == 2 ? v <= t->value
         : t->op == 3 ? v > t->value
                      : v >= t->value;
}

/* What the tests lead to from `next` on: a shape, or PK_NOWHERE; or the first that looks behind the leading section, of
 * which `led` is the size, or -1: it is not known. */
static inline uint32_t tested(const declared *d, const uint8_t *data, size_t size, uint32_t next, int64_t led) {
  while (!(next & PK_LEAF)) {
    const quick_test *t = &d->quick_tests[next];
    uint64_t from = 0;
    if (t->behind) {
      if (led < 0) return next;
      from = (uint64_t)led;
    }
    if (from + t->past > size) return PK_NOWHERE;
    uint64_t v = 0;
    if (t->plain) memcpy(&v, data + from + t->past - 8, 8);
    next = (t->plain ? (v & t->mask) == t->value : holds(&d->tests[next], data + from)) ? t->yes : t->no;
  }
  return next;
}

/* That an unsigned integer is so much is told by the eight bytes that end with it, as they stand. */
static quick_test quick_test_of(const pk_program_test *t) {
  uint8_t form = t->place.form & (PK_PLACE_BEHIND - 1), width = t->place.width;
  uint32_t past = (uint32_t)t->place.offset + width;
  int is_unsigned = form == PK_PLACE_1 || form == PK_PLACE_2 || form == PK_PLACE_4 || form == PK_PLACE_8 || form == PK_PLACE_OTHER;
  uint64_t mask = is_unsigned ? UINT64_MAX >> (64 - 8 * width) : 0;
  if (t->mask != 0) mask &= t->mask;
  return (quick_test){.past = past,
                      .yes = t->yes,
                      .no = t->no,
                      .behind = (t->place.form & PK_PLACE_BEHIND) != 0,
                      .plain = is_unsigned && t->op == 0 && past >= 8,
                      .mask = __builtin_bswap64(mask),
                      .value = __builtin_bswap64((uint64_t)t->value)};
}

static inline const quick_shape *shape_at(const declared *d, uint32_t next) {
  return next & PK_LEAF && next != PK_NOWHERE ? &d->quick[next & ~PK_LEAF] : NULL;
}

static void quicken_section(const pk_program_shape *s, uint32_t k, int may_judge, quick_shape *q) {
  quick_section *one = &q->section[k];
  int64_t add = s->section[k].add;
  *one = (quick_section){.size = quick_of(s->section[k].size, s->header),
                         .own = (int8_t)s->section[k].own,
                         .add = s->section[k].add,
                         .less = (s->section[k].size.form & PK_PLACE_LESS) != 0,
                         .most = UINT32_MAX};
  if (one->size.is_signed && s->section[k].size.width <= 4)
    one->most = ((uint32_t)1 << (8 * s->section[k].size.width - 1)) - 1;
  one->size.is_signed = 0;
  one->usual = one->most;
  if (s->quiet >> k & 1) { /* there has to be a look at what it holds */
    one->judged = 1;
    if (add > 0) q->header = UINT32_MAX;
    if (add <= 0 && -add < (int64_t)one->most) one->usual = (uint32_t)-add;
    q->loud = may_judge != 0;
  }
  q->plain &= one->size.plain;
}

void pk_declared_quicken(declared *d) {
  const pk_program *p = d->program;
  for (uint32_t i = 0; i < p->tests.count; i++) d->quick_tests[i] = quick_test_of(&d->tests[i]);
  d->lead = quick_of(p->lead, p->lead_at);
  d->lead_at = p->lead_at;
  d->lead_add = p->lead_add;
  for (uint32_t i = 0; i < p->maps.count; i++) {
    const pk_program_map *map = &d->maps[i];
    d->quick_maps[i].usual = map->kind == PK_MAP_PAIRS && (map->key_size & ~(uint32_t)SIGNED) == 4 &&
                             (map->value_size & ~(uint32_t)SIGNED) == 4;
    for (uint32_t k = map->first; k < map->first + map->count; k++) {
      pk_slice text = d->literals[d->keys[k].literal];
      quick_key **of = &d->quick_maps[i].of[text.size & 63];
      d->quick_keys[k] = (quick_key){text.data, text.size, d->keys[k].slice, *of};
      *of = &d->quick_keys[k];
    }
  }
  for (uint32_t i = 0; i < p->shapes.count; i++) {
    const pk_program_shape *s = &d->shapes[i];
    quick_shape *q = &d->quick[i];
    q->header = s->led ? UINT32_MAX : s->header; /* a led one is never read as the others */
    q->front = s->header;
    q->led = s->led;
    q->lead_own = s->lead_own;
    q->trailer = s->trailer;
    q->sections = s->sections;
    q->checked = s->checksum >= 0;
    q->sum_at = q->checked ? (uint32_t)s->checksum : 0;
    q->kind = s->kind;
    q->id_at = s->id_at;
    uint8_t form = p->id_bytes == 0 || p->id_max > 0 ? PK_PLACE_NONE : (uint8_t)(PK_PLACE_OTHER | s->separate >> 1);
    if (s->id_behind) form |= PK_PLACE_BEHIND;
    q->id = quick_of((pk_program_place){s->id_at, (uint8_t)p->id_bytes, form}, s->header);
    q->context = s->variant;
    q->key = s->separate & 1 ? s->variant : 0;
    q->flags = (uint8_t)((q->checked ? HAS_CHECKSUM | SEALED_AT_END : 0) | (s->separate & 2 ? LITTLE_ID : 0));
    q->timed = s->timeout.width != 0;
    q->judged = s->status.width != 0;
    q->kept = s->kept;
    q->absent = s->absent;
    for (uint32_t k = 0; k < 2; k++) {
      q->fixed[k] = s->fixed[k];
      if (s->fixed[k].width > 0) q->absent |= (uint8_t)(IS_FIXED << k);
    }
    for (uint32_t k = 0; k < s->kept; k++) q->keep[k] = quick_of(s->keep[k], s->header);
    q->timeout = quick_of(s->timeout, s->header);
    q->status = quick_of(s->status, s->header);
    q->plain = (q->id.plain || p->id_bytes == 0) && (q->timeout.plain || !q->timed) && (q->status.plain || !q->judged);
    for (uint32_t k = 0; k < s->kept; k++) q->plain &= q->keep[k].plain;
    for (uint32_t k = 0; k < s->sections; k++) quicken_section(s, k, p->app_map != PK_NOWHERE, q);
  }
  if (p->status != PK_NOWHERE) { /* OK, whatever its number */
    const pk_program_table *t = &d->tables[p->status];
    d->usual = (uint8_t)lookup(d, p->status, 0);
    for (uint32_t i = t->count; i > 0; i--) {
      const pk_program_entry *e = &d->entries[t->first + i - 1];
      if (i == t->count || e->value == PK_STATUS_OK) d->usual_status = e->key, d->usual = (uint8_t)e->value;
    }
  }
}

/* Frames that begin alike have one shape: each thread remembers what the tests said of some beginnings. */
typedef struct memo {
  uint64_t serial; /* of the codec; and which side's, where that decides something */
  uint64_t a, b;
  const quick_shape *shape;
  uint32_t next; /* where the tests in front of a leading section end */
} memo;
enum { MEMOS = 16 };
static __thread memo memos[MEMOS], latest;

/* `next`: where there is none, where tests go on behind a leading section. */
static inline const quick_shape *shape_of(const declared *d, const uint8_t *data, size_t size, uint8_t from, uint32_t *next) {
  uint64_t a, b, serial = d->loaded.serial;
  *next = d->program->root;
  if (d->sided) {
    if (from == 0) return NULL;
    if (from == PK_FROM_SERVER) *next = d->program->server_root;
    serial |= (uint64_t)from << 62;
  }
  if (d->far || size < 16) return shape_at(d, tested(d, data, size, *next, -1));
  memcpy(&a, data, 8);
  memcpy(&b, data + 8, 8);
  a &= d->mask_a;
  b &= d->mask_b;
  memo *last = &latest; /* what is a thread's is looked for once */
  if (last->a != a || last->b != b || last->serial != serial) {
    uint64_t mixed = (a ^ b * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
    memo *m = &memos[mixed >> 60];
    if (m->a != a || m->b != b || m->serial != serial) {
      uint32_t end = tested(d, data, size, *next, -1);
      *m = (memo){serial, a, b, shape_at(d, end), end};
    }
    *last = *m;
  }
  *next = last->next;
  return last->shape;
}

static __attribute__((noinline)) int is_app_error(const declared *d, const uint8_t *section, uint32_t size) {
  const pk_program_map *map = &d->maps[d->program->app_map];
  pk_slice text = d->literals[d->program->app_text];
  machine m;
  if (pk_declared_look(d, map, (pk_slice){section, size}, 0, m.s) != PK_OK) return 0;
  pk_slice found = m.s[d->keys[map->first].slice];
  return found.data != NULL && found.size == text.size && memcmp(found.data, text.data, text.size) == 0;
}

/* `plain`: all its integers are. `judge`: a section that is usually empty need not be. */
static inline __attribute__((always_inline)) int shaped_frame(const declared *d, const quick_shape *s,
                                                              const uint8_t *data, size_t size, uint32_t limit,
                                                              int plain, int judge, pk_frame *f) {
  uint64_t end = s->header, judged_at = 0, judged = 0;
  for (const quick_section *one = s->section; one < s->section + s->sections; one++) {
    uint64_t length = (uint64_t)quick_integer(data, &one->size, plain);
    if (length > (judge ? one->most : one->usual)) return 0;
    length += (uint64_t)(int64_t)one->add;
    if (length > limit) return 0;
    if (one->own >= 0) {
      f->own[one->own] = (uint32_t)end;
      f->own[one->own + 1] = (uint32_t)length;
    }
    if (judge && one->judged) judged_at = end, judged = length;
    end += length;
  }
  if (s->absent) {
    for (uint32_t i = 0; i < 2; i++) {
      if (s->absent & IS_FIXED << i) {
        f->own[2 * i] = s->fixed[i].offset;
        f->own[2 * i + 1] = s->fixed[i].width;
      } else if (s->absent >> i & 1) {
        f->own[2 * i] = UINT32_MAX;
      }
    }
  }
  uint64_t sum_at = end + s->sum_at;
  end += s->trailer;
  if (end > size || end > limit) return 0;
  if (s->checked) {
    if (get32(data + sum_at) != pk_crc32(0, data, sum_at)) return 0;
  }
  f->flags = s->flags;
  f->size = (uint32_t)end;
  f->kind = s->kind;
  f->body = s->id_at;
  f->id = (uint64_t)quick_integer(data, &s->id, 0);
  f->context = s->context;
  f->upstream_key = s->key;
  for (uint32_t i = 0, shift = 8; i < s->kept; shift += 8u * s->keep[i].place.width, i++)
    f->context |= (uint32_t)quick_integer(data, &s->keep[i], plain) << shift;
  if (s->timed) f->timeout_ms = milliseconds(quick_integer(data, &s->timeout, plain));
  if (s->judged) {
    int64_t status = quick_integer(data, &s->status, plain);
    f->status = status == d->usual_status ? d->usual : (uint8_t)lookup(d, d->program->status, status);
  }
  if (judge && judged > 0 && f->status == PK_STATUS_OK && is_app_error(d, data + judged_at, (uint32_t)judged))
    f->status = PK_STATUS_APP_ERROR;
  return 1;
}

static __attribute__((noinline)) int loud_frame(const declared *d, const quick_shape *s, const uint8_t *data, size_t size,
                                                uint32_t limit, pk_frame *f) {
  return shaped_frame(d, s, data, size, limit, 0, 1, f);
}

static inline int64_t led_integer(const uint8_t *data, uint64_t led, const quick_place *p, int plain) {
  return quick_integer(p->behind ? data + led : data, p, plain);
}

/* One in which a section of `led` bytes, told by `number`, stands in front of fields. */
static inline __attribute__((always_inline)) int led_shape(const declared *d, const quick_shape *s, const uint8_t *data,
                                                           size_t size, uint32_t limit, uint64_t led, int64_t number,
                                                           int plain, pk_frame *f) {
  uint64_t end = s->front + led;
  if (end > size) return 0;
  if (s->absent & 1) f->own[0] = UINT32_MAX;
  if (s->absent & 2) f->own[2] = UINT32_MAX;
  if (s->lead_own >= 0) {
    f->own[s->lead_own] = d->lead_at;
    f->own[s->lead_own + 1] = (uint32_t)led;
  }
  for (const quick_section *one = s->section; one < s->section + s->sections; one++) {
    uint64_t length = (uint64_t)led_integer(data, led, &one->size, plain);
    if (length > one->most) return 0;
    length += (uint64_t)(int64_t)one->add - (one->less ? (uint64_t)number : 0);
    if (length > limit) return 0;
    if (one->own >= 0) {
      f->own[one->own] = (uint32_t)end;
      f->own[one->own + 1] = (uint32_t)length;
    }
    end += length;
  }
  end += s->trailer;
  if (end > size || end > limit) return 0;
  f->size = (uint32_t)end;
  f->kind = s->kind;
  f->body = s->id_at + (s->id.behind ? (uint32_t)led : 0);
  f->id = (uint64_t)led_integer(data, led, &s->id, 0);
  f->context = s->context;
  f->upstream_key = s->key;
  f->flags = s->flags;
  if (s->timed) f->timeout_ms = milliseconds(led_integer(data, led, &s->timeout, plain));
  if (s->judged) {
    int64_t status = led_integer(data, led, &s->status, plain);
    f->status = status == d->usual_status ? d->usual : (uint8_t)lookup(d, d->program->status, status);
  }
  return 1;
}

static __attribute__((noinline)) int led_slowly(const declared *d, const quick_shape *s, const uint8_t *data, size_t size,
                                                uint32_t limit, uint64_t led, int64_t number, pk_frame *f) {
  return led_shape(d, s, data, size, limit, led, number, 0, f);
}

/* `s`: its shape, or NULL where tests are left, from `next` on. */
static inline __attribute__((always_inline)) int led_frame(const declared *d, const quick_shape *s, uint32_t next,
                                                           const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  uint64_t led;
  int64_t number;
  if (d->lead.place.width == 0 || !lead_of(d, data, size, &led, &number)) return 0;
  if (s == NULL) s = shape_at(d, tested(d, data, size, next, (int64_t)led));
  if (s == NULL || !s->led) return 0;
  return s->plain ? led_shape(d, s, data, size, limit, led, number, 1, f) : led_slowly(d, s, data, size, limit, led, number, f);
}

static __attribute__((noinline)) int led_after_all(const declared *d, const quick_shape *s, uint32_t next, const uint8_t *data,
                                                   size_t size, uint32_t limit, pk_frame *f) {
  return led_frame(d, s, next, data, size, limit, f);
}

/* A whole and right frame that has a shape; 0 for all others: what was written to *f is written again. */
static inline __attribute__((always_inline)) int quick_frame(const declared *d, const uint8_t *data, size_t size,
                                                             uint32_t limit, pk_frame *f) {
  uint32_t next;
  const quick_shape *s = shape_of(d, data, size, f->from, &next);
  if (s == NULL || size < s->header) return led_after_all(d, s, next, data, size, limit, f);
  if (s->plain ? shaped_frame(d, s, data, size, limit, 1, 0, f) : shaped_frame(d, s, data, size, limit, 0, 0, f))
    return 1;
  return s->loud && loud_frame(d, s, data, size, limit, f);
}

int pk_declared_frame(const pk_codec *codec, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  const declared *d = declared_of(codec);
  return quick_frame(d, data, size, limit, f) ? PK_OK : pk_declared_frame_fully(d, data, size, limit, f);
}

int pk_declared_frame_led(const pk_codec *codec, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  const declared *d = declared_of(codec);
  uint32_t next;
  const quick_shape *s = shape_of(d, data, size, f->from, &next);
  if (s != NULL && !s->led) return pk_declared_frame(codec, data, size, limit, f);
  return led_frame(d, s, next, data, size, limit, f) ? PK_OK : pk_declared_frame_fully(d, data, size, limit, f);
}

/* The same where ids are byte strings: a shape has only those of fixed size. */
int pk_declared_frame_named(const pk_codec *codec, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  machine m;
  if (!quick_frame(declared_of(codec), data, size, limit, f))
    return pk_declared_frame_as(declared_of(codec), &m, data, size, limit, FRAMING, f);
  f->id_span = (pk_span){f->body, codec->id_max};
  return PK_OK;
}

int pk_declared_frame_on(const pk_codec *codec, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  machine m;
  if (pk_declared_is_stopped(f) || !quick_frame(declared_of(codec), data, size, limit, f))
    return pk_declared_frame_as(declared_of(codec), &m, data, size, limit, FRAMING, f);
  f->ended = 0;
  if (codec->id_max > 0) f->id_span = (pk_span){f->body, codec->id_max};
  return PK_OK;
}

int pk_declared_budgets(const declared *d) {
  uint32_t i = 0;
  while (i < d->program->shapes.count && !(d->quick[i].timed && !d->quick[i].led)) i++;
  return i < d->program->shapes.count;
}

/* The number that its shape reads; one that does not fit is written as the most that does. */
int pk_declared_budget(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t ms, uint8_t *out, size_t cap) {
  const declared *d = declared_of(codec);
  uint32_t next;
  const quick_shape *s = shape_of(d, data, f->size, f->from, &next);
  if (s == NULL || !s->timed || s->led || cap < f->size) return PK_ERR_UNSUPPORTED;
  pk_program_place p = s->timeout.place;
  uint32_t bits = 8u * p.width - s->timeout.is_signed;
  uint64_t most = bits < 32 ? ((uint64_t)1 << bits) - 1 : UINT32_MAX;
  memcpy(out, data, f->size);
  put(out + p.offset, ms < most ? ms : most, p.width, (p.form & PK_PLACE_OTHER) && (p.form & 1));
  if (shape_of(d, out, f->size, f->from, &next) != s) return PK_ERR_UNSUPPORTED; /* it says more than the time */
  pk_declared_reseal(d, out, f->size, f->flags, f->from);
  return (int)f->size;
}
