/* declared_ids.c: frames with another id: in place, or spliced in where ids are byte strings; what counts the id and
 * what sums it up is made right. */
#include "base/checksum.h"
#include "base/sums.h"
#include "wire/declared.h"
#include "wire/ident.h"

void pk_declared_seal(const declared *d, uint8_t *data, uint32_t size, uint8_t from) {
  pk_frame f = {.from = from};
  machine m;
  if (pk_declared_frame_as(d, &m, data, size, size, UNVERIFIED, &f) != PK_OK || !(f.flags & HAS_CHECKSUM)) return;
  for (uint32_t i = 0; i < d->program->checksums.count; i++) {
    const pk_program_checksum *c = &d->checksums[i];
    if (m.r[c->at] >= 0) put(data + m.r[c->at], pk_declared_checksum(d, c, &m, data), pk_sum_width(c->which), (int)c->little);
  }
}

static inline void reseal(const declared *d, uint8_t *data, uint32_t size, uint32_t flags, uint8_t from) {
  if (flags & SEALED_AT_END) {
    put(data + size - 4, pk_crc32(0, data, size - 4), 4, 0);
  } else if (flags & HAS_CHECKSUM) {
    pk_declared_seal(d, data, size, from);
  }
}

void pk_declared_patch_id(const pk_codec *codec, uint8_t *data, const pk_frame *f, uint64_t id) {
  const declared *d = declared_of(codec);
  if (f->body == PK_NO_ID) return; /* this frame has none */
  if (d->id_form == PK_PLACE_4) {
    uint32_t swapped = __builtin_bswap32((uint32_t)id);
    memcpy(data + f->body, &swapped, 4);
  } else if (d->id_form == PK_PLACE_8) {
    uint64_t swapped = __builtin_bswap64(id);
    memcpy(data + f->body, &swapped, 8);
  } else {
    put(data + f->body, id, codec->id_bytes, (int)d->program->id_little);
  }
  reseal(d, data, f->size, f->flags, f->from);
}

/* An integer that counts the id: written again with `more` added. 0 where it does not fit. */
static int recount(uint8_t *p, uint32_t form, int64_t more) {
  uint32_t bytes = form & 15, bits = 8 * bytes - (form & SIGNED ? 1 : 0);
  uint64_t raw = form & LITTLE ? little(p, bytes) : big(p, bytes);
  int64_t v = (form & SIGNED ? extend(raw, bytes) : (int64_t)raw) + more;
  if (v < 0 || (bits < 63 && v >> bits != 0)) return 0;
  put(p, (uint64_t)v, bytes, (form & LITTLE) != 0);
  return 1;
}

static uint32_t put_varint(uint8_t *p, uint64_t v) {
  uint32_t n = 0;
  for (; v >= 0x80; v >>= 7) p[n++] = (uint8_t)(v | 0x80);
  p[n++] = (uint8_t)v;
  return n;
}

/* What stands in front of the id, with the varint at `from` written again; gives back its size, 0 where the varint
 * stands elsewhere. */
static size_t splice_varint(const uint8_t *data, size_t size, size_t from, int64_t more, uint8_t *out) {
  uint64_t count = 0;
  size_t end = from;
  do {
    if (end >= size) return 0;
    count |= (uint64_t)(data[end] & 0x7f) << (7 * (end - from));
  } while (data[end++] & 0x80);
  memcpy(out, data, from);
  from += put_varint(out + from, count + (uint64_t)more);
  memcpy(out + from, data + end, size - end);
  return from + size - end;
}

/* One varint of 64 bits at most, no longer than it must be. */
static int is_varint(const uint8_t *id, uint32_t size) {
  for (uint32_t i = 0; i + 1 < size; i++)
    if (!(id[i] & 0x80)) return 0;
  return size > 0 && size <= 10 && id[size - 1] < 0x80 && (size == 1 || id[size - 1] > 0) && (size < 10 || id[9] == 1);
}

int pk_declared_splice_id(const pk_codec *codec, const uint8_t *data, const pk_frame *f, const uint8_t *id,
                     uint32_t id_size, uint8_t *out, size_t cap) {
  const declared *d = declared_of(codec);
  const pk_program *p = d->program;
  pk_span old = f->id_span;
  pk_frame again = {.from = f->from};
  machine m;
  if (old.at == PK_NO_ID || id_size > p->id_max || (p->id_fixed && id_size != p->id_max)) return PK_ERR_UNSUPPORTED;
  if (p->id_form == PK_ID_VARINT && !is_varint(id, id_size)) return PK_ERR_UNSUPPORTED;
  if (cap < pk_id_room(codec, f->size)) return PK_ERR_SPACE;
  int64_t more = (int64_t)id_size - old.size;
  uint32_t counters = more != 0 ? p->counters.count : 0;
  if (counters > 0 && pk_declared_frame_as(d, &m, data, f->size, f->size, UNVERIFIED, &again) != PK_OK) return PK_ERR_UNSUPPORTED;
  size_t at = old.at, behind = f->size - old.at - old.size;
  if (counters > 0 && d->counters[0].form == 0 && m.r[d->counters[0].at] >= 0) {
    at = splice_varint(data, old.at, (size_t)m.r[d->counters[0].at], more, out);
    if (at == 0) return PK_ERR_UNSUPPORTED;
  } else {
    memcpy(out, data, at);
  }
  if (id_size > 0) memcpy(out + at, id, id_size);
  memcpy(out + at + id_size, data + old.at + old.size, behind);
  if (p->id_delimiter != PK_NOWHERE) { /* it is the first that ends the id */
    const uint8_t *end = out + at + id_size;
    if (pk_declared_find(out + at, end + behind, d->literals[p->id_delimiter]) != end) return PK_ERR_UNSUPPORTED;
  }
  for (uint32_t i = 0; i < counters; i++) {
    int64_t place = m.r[d->counters[i].at];
    if (place < 0 || d->counters[i].form == 0) continue;
    if (place < (int64_t)old.at + old.size && place + (d->counters[i].form & 15) > old.at) return PK_ERR_UNSUPPORTED;
    if (!recount(out + place + (place < old.at ? 0 : more), d->counters[i].form, more)) return PK_ERR_UNSUPPORTED;
  }
  uint32_t size = (uint32_t)(at + id_size + behind);
  reseal(d, out, size, f->flags, f->from);
  return (int)size;
}
