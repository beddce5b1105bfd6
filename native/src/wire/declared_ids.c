/* declared_ids.c: frames with another id: in place, or spliced in where ids are byte strings; what counts the id and
 * what sums it up is made right. */
#include "base/sums.h"
#include "wire/declared.h"
#include "wire/digits.h"
#include "wire/ident.h"

void pk_declared_seal(const declared *d, uint8_t *data, uint32_t size, uint8_t from) {
  pk_frame f = {.from = from, .ended = 1};
  machine m;
  if (pk_declared_frame_as(d, &m, data, size, size, UNVERIFIED, &f) != PK_OK || !(f.flags & HAS_CHECKSUM)) return;
  for (uint32_t i = 0; i < d->program->checksums.count; i++) {
    const pk_program_checksum *c = &d->checksums[i];
    if (m.r[c->at] >= 0) pk_declared_put_sum(c, pk_declared_checksum(d, c, &m, data), data + m.r[c->at]);
  }
}

void pk_declared_patch_id(const pk_codec *codec, uint8_t *data, const pk_frame *f, uint64_t id) {
  const declared *d = declared_of(codec);
  if (f->body == PK_NO_ID) return; /* this frame has none */
  if (f->flags & LITTLE_ID) {
    put(data + f->body, id, codec->id_bytes, 1);
  } else if (d->id_form == PK_PLACE_4) {
    uint32_t swapped = __builtin_bswap32((uint32_t)id);
    memcpy(data + f->body, &swapped, 4);
  } else if (d->id_form == PK_PLACE_8) {
    uint64_t swapped = __builtin_bswap64(id);
    memcpy(data + f->body, &swapped, 8);
  } else {
    put(data + f->body, id, codec->id_bytes, 0);
  }
  pk_declared_reseal(d, data, f->size, f->flags, f->from);
}

int pk_declared_recount(uint8_t *p, uint32_t form, int64_t more) {
  uint32_t bytes = form & 15, bits = 8 * bytes - (form & SIGNED ? 1 : 0);
  int64_t was = integer_of(p, form), v;
  if (__builtin_add_overflow(was, more, &v)) return 0;
  if ((was < 0 || v < 0) && !(form & SIGNED)) return 0;
  if (bits < 63 && v >> bits != (v < 0 ? -1 : 0)) return 0;
  put(p, (uint64_t)v, bytes, (form & LITTLE) != 0);
  return 1;
}

uint32_t pk_declared_put_varint(uint8_t *p, uint64_t v) {
  uint32_t n = 0;
  for (; v >= 0x80; v >>= 7) p[n++] = (uint8_t)(v | 0x80);
  p[n++] = (uint8_t)v;
  return n;
}

/* Lengths in front of the id that count it, from outside: a declared varint or digits, and those of what it stands in. */
typedef struct around {
  struct {
    size_t at;
    uint32_t size, form; /* bytes; form: as of pk_place, or PK_COUNT_DIGITS */
  } of[PK_PATH_KEYS + 1];
  uint32_t count;
} around;

uint64_t pk_declared_varint_at(const uint8_t *p, size_t *size) {
  uint64_t v = 0;
  *size = 0;
  do v |= (uint64_t)(p[*size] & 0x7f) << (7 * *size);
  while (p[(*size)++] & 0x80);
  return v;
}

static uint32_t ber_size(uint64_t v) {
  uint32_t more = 1;
  while (more < 8 && v >> (8 * more) != 0) more++;
  return v < 0x80 ? 1 : 1 + more;
}

static uint64_t ber_at(const uint8_t *p, size_t *size) {
  *size = p[0] & 0x80 ? 1u + (p[0] & 0x7fu) : 1;
  return *size == 1 ? p[0] : big(p + 1, (uint32_t)*size - 1);
}

/* A length as short as it can be where it was so; else in as many bytes at least. */
static uint32_t put_ber(uint8_t *p, uint64_t v, uint32_t was, int was_shortest) {
  uint32_t size = ber_size(v);
  if (!was_shortest && size < was) size = was;
  if (size > 1) p[0] = (uint8_t)(0x80 | (size - 1)), put(p + 1, v, size - 1, 0);
  else p[0] = (uint8_t)v;
  return size;
}

/* Of a length that is written in as many bytes as it takes. */
static uint64_t length_at(const uint8_t *at, uint32_t form, size_t *size) {
  return form == PK_LENGTH_BER ? ber_at(at, size) : pk_declared_varint_at(at, size);
}

static int varies(uint32_t form) { return form == 0 || form == PK_LENGTH_BER; }

static void counts(around *v, const uint8_t *data, size_t at, uint32_t size, uint32_t form) {
  size_t taken = size;
  if (varies(form)) length_at(data + at, form, &taken);
  v->of[v->count].at = at;
  v->of[v->count].size = (uint32_t)taken;
  v->of[v->count++].form = form;
}

uint32_t pk_declared_redigit(const uint8_t *at, uint32_t size, uint32_t form, int64_t more, uint8_t *out) {
  int64_t value = 0;
  int fixed = (form & PK_COUNT_FIXED) != 0, padded = size > 1 && at[0] == '0';
  if (pk_declared_length((pk_slice){at, size}, &value) != PK_OK || size > PK_LENGTH_MAX) return 0;
  value += more;
  pk_slice digits = pk_digits(value < 0, (uint64_t)value);
  uint32_t zeros = 0;
  if (fixed || padded) {
    if (value < 0 || digits.size + (fixed ? 0u : 1u) > size) return 0;
    zeros = size - digits.size;
  }
  memset(out, '0', zeros);
  memcpy(out + zeros, digits.data, digits.size);
  return zeros + digits.size;
}

/* What stands in front of the id, with those written again; *more is how many bytes the outermost has more in it,
 * with its own growth. Gives back its size; 0 where one has no room, or counts less than it should. */
static size_t front(const uint8_t *data, size_t size, const around *v, int64_t *more, uint8_t *out) {
  uint8_t now[PK_PATH_KEYS + 1][PK_LENGTH_MAX];
  uint32_t sizes[PK_PATH_KEYS + 1];
  size_t from = 0, n = 0, now_all = 0, before = 0;
  for (uint32_t i = v->count; i-- > 0;) { /* what grows inside counts outside */
    const uint8_t *at = data + v->of[i].at;
    uint32_t form = v->of[i].form;
    if (form & PK_COUNT_DIGITS) { /* nothing counts them */
      sizes[i] = pk_declared_redigit(at, v->of[i].size, form, *more, now[i]);
      if (sizes[i] == 0) return 0;
    } else if (!varies(form)) {
      sizes[i] = v->of[i].size;
      memcpy(now[i], at, sizes[i]);
      if (!pk_declared_recount(now[i], form, *more)) return 0;
    } else {
      size_t was;
      uint64_t counted_before = length_at(at, form, &was);
      int64_t counted;
      if (!pk_declared_add(counted_before, *more, &counted)) return 0;
      sizes[i] = form == 0 ? pk_declared_put_varint(now[i], (uint64_t)counted)
                           : put_ber(now[i], (uint64_t)counted, (uint32_t)was, was == ber_size(counted_before));
      *more += (int64_t)sizes[i] - (int64_t)was;
    }
    now_all += sizes[i], before += v->of[i].size;
  }
  if (now_all > before + PK_SPLICE_MORE) return 0;
  for (uint32_t i = 0; i < v->count; i++) {
    memcpy(out + n, data + from, v->of[i].at - from);
    n += v->of[i].at - from;
    memcpy(out + n, now[i], sizes[i]);
    n += sizes[i];
    from = v->of[i].at + v->of[i].size;
  }
  memcpy(out + n, data + from, size - from);
  return n + size - from;
}

/* One varint of 64 bits at most, no longer than it must be. */
static int is_varint(const uint8_t *id, uint32_t size) {
  for (uint32_t i = 0; i + 1 < size; i++)
    if (!(id[i] & 0x80)) return 0;
  return size > 0 && size <= 10 && id[size - 1] < 0x80 && (size == 1 || id[size - 1] > 0) && (size < 10 || id[9] == 1);
}

/* Whether bytes can stand where the id does. */
static int is_id(const pk_program *p, pk_slice id) {
  if (id.size > p->id_max || (p->id_fixed && id.size != p->id_max)) return 0;
  if (p->id_inside == PK_ID_IN_JSON) return pk_is_json(id);
  if (p->id_inside == PK_ID_IN_MSGPACK) return pk_is_msgpack(id);
  if (p->id_inside == PK_ID_IN_BER) return id.size > 0;
  return p->id_form != PK_ID_VARINT || is_varint(id.data, id.size);
}

/* The lengths in front of the id that count it. 0: there is no such id in that frame, or they do not stand one behind
 * the other. */
static int counted_by(const declared *d, const pk_program_id *of, const machine *m, const uint8_t *data, pk_span id, around *v) {
  const pk_program *p = d->program;
  size_t from = 0;
  v->count = 0;
  const pk_program_counter *first = d->counters + of->first;
  const int64_t *outer = of->count > 0 ? m->r + first->at : NULL;
  if (outer != NULL && outer[0] >= 0 && (first->form & 15) == 0)
    counts(v, data, (size_t)outer[0], (uint32_t)outer[1], first->form);
  if (p->id_inside == PK_ID_IN_PAIRS) {
    if (id.at < (of->value & 15)) return 0;
    counts(v, data, id.at - (of->value & 15), of->value & 15, of->value);
  }
  if (p->id_inside >= PK_ID_IN_PROTOBUF) {
    pk_place place;
    if (m->r[of->section] < 0) return 0;
    pk_declared_place(d, of, (pk_slice){data + m->r[of->section], (uint32_t)m->r[of->section + 1]}, &place);
    if (place.at.data != data + id.at || place.at.size != id.size) return 0;
    for (uint32_t i = 0; i < place.count; i++) counts(v, data, (size_t)(place.around[i].at - data), place.around[i].form & 15, place.around[i].form);
  }
  for (uint32_t i = 0; i < v->count; i++) {
    if (v->of[i].at < from || v->of[i].at >= id.at) return 0;
    from = v->of[i].at + v->of[i].size;
  }
  return from <= id.at;
}

/* Digits may stand where their section has no more room, or twice: with them the frame is what it was but for its id. */
static int is_still(const declared *d, const uint8_t *data, uint32_t size, const pk_frame *f) {
  pk_frame again = {.from = f->from};
  machine m;
  return pk_declared_frame_as(d, &m, data, size, size, UNVERIFIED, &again) == PK_OK && again.size == size && again.kind == f->kind;
}

/* Whether what ends the id begins in it already. */
static int holds_delimiter(const declared *d, const uint8_t *id, uint32_t size, const uint8_t *end) {
  if (d->program->id_delimiter == PK_NOWHERE) return 0;
  pk_slice by = d->literals[d->program->id_delimiter];
  size_t behind = (size_t)(end - (id + size)), look = by.size - 1;
  return pk_declared_find(id, id + size + (look < behind ? look : behind), by) != NULL;
}

int pk_declared_splice_id(const pk_codec *codec, const uint8_t *data, const pk_frame *f, const uint8_t *id,
                     uint32_t id_size, uint8_t *out, size_t cap) {
  const declared *d = declared_of(codec);
  const pk_program *p = d->program;
  const pk_program_id *of = &p->id_of[f->kind == PK_KIND_RESPONSE || f->kind == PK_KIND_HEARTBEAT_ACK];
  const pk_program_counter *counter = d->counters + of->first;
  pk_span old = f->id_span;
  pk_frame again = {.from = f->from, .ended = 1};
  around v = {.count = 0};
  machine m;
  if (old.at == PK_NO_ID || !is_id(p, (pk_slice){id, id_size})) return PK_ERR_UNSUPPORTED;
  if (cap < pk_id_room(codec, f->size)) return PK_ERR_SPACE;
  int64_t more = (int64_t)id_size - old.size;
  uint32_t counters = more != 0 ? of->count : 0;
  if (counters > 0 || (more != 0 && p->id_inside >= PK_ID_IN_PAIRS)) {
    if (pk_declared_frame_as(d, &m, data, f->size, f->size, UNVERIFIED, &again) != PK_OK) return PK_ERR_UNSUPPORTED;
    if (!counted_by(d, of, &m, data, old, &v)) return PK_ERR_UNSUPPORTED;
  }
  size_t at = front(data, old.at, &v, &more, out), behind = f->size - old.at - old.size;
  if (at == 0 && old.at > 0) return PK_ERR_UNSUPPORTED;
  if (id_size > 0) memcpy(out + at, id, id_size);
  memcpy(out + at + id_size, data + old.at + old.size, behind);
  uint32_t size = (uint32_t)(at + id_size + behind);
  if (holds_delimiter(d, out + at, id_size, out + size)) return PK_ERR_UNSUPPORTED;
  for (uint32_t i = 0; i < counters; i++) {
    int64_t place = m.r[counter[i].at];
    if (place < 0 || (counter[i].form & 15) == 0) continue;
    if (place < (int64_t)old.at + old.size && place + (counter[i].form & 15) > old.at) return PK_ERR_UNSUPPORTED;
    if (!pk_declared_recount(out + place + (place < old.at ? 0 : more), counter[i].form, more)) return PK_ERR_UNSUPPORTED;
  }
  if (counters > 0 && counter->form & PK_COUNT_DIGITS && !is_still(d, out, size, f)) return PK_ERR_UNSUPPORTED;
  pk_declared_reseal(d, out, size, f->flags, f->from);
  return (int)size;
}
