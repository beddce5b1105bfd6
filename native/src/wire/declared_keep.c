/* declared_keep.c: what is kept of a request for its replies: parts of it, one behind the other (pk_program_part). */
#include "wire/declared.h"

uint32_t pk_declared_keep_max(const declared *d, part_range parts) {
  uint32_t most = 0;
  for (uint32_t i = parts.first; i < parts.first + parts.count; i++)
    most += d->parts[i].most + (d->parts[i].form <= PK_PART_WHOLE);
  return most;
}

static int found(const declared *d, uint32_t pc, machine *m, const uint8_t *data, const pk_frame *f, uint8_t *out, size_t cap) {
  m->kept = out;
  m->kept_end = out + cap;
  pk_declared_find_texts(d, pc, m, data, f, NULL, NULL);
  return (int)(m->kept - out);
}

/* What framing left for later is enough. */
static int is_left(const declared *d, size_t size, const pk_frame *f) {
  if (d->program->keep_own == PK_NOWHERE || f->size == 0 || f->size > size) return 0;
  for (uint32_t i = 0; i < 2; i++)
    if (d->keeps >> i & 1 && f->own[2 * i] == UINT32_MAX) return 0;
  return 1;
}

int pk_declared_keep(const pk_codec *codec, const uint8_t *data, size_t size, const pk_frame *f, uint8_t *out, size_t cap) {
  const declared *d = declared_of(codec);
  uint32_t failed;
  machine m;
  if (f->says & PK_SAYS_HALF) {
    if (pk_declared_rerun(d, &m, data, f) != PK_OK) return 0;
    return found(d, d->program->keep, &m, data, f, out, cap);
  }
  if (is_left(d, size, f)) return found(d, d->program->keep_own, &m, data, f, out, cap);
  pk_frame again = {.from = f->from}; /* as far as the frame goes */
  int result = pk_declared_run(d, d->program->frame, &m, data, size, INT32_MAX, UNVERIFIED, &again, NULL, NULL, &failed);
  if (result != PK_OK && failed < d->program->answerable) return 0;
  again = *f;
  again.size = (uint32_t)size;
  return found(d, d->program->keep, &m, data, &again, out, cap);
}

int pk_declared_heard(const declared *d, const uint8_t *data, const pk_frame *f, uint8_t *out, size_t cap) {
  pk_frame again = {.from = f->from};
  machine m;
  if (heard_parts(d).count == 0 || pk_declared_frame_as(d, &m, data, f->size, f->size, UNVERIFIED, &again) != PK_OK) return 0;
  return found(d, d->program->heard, &m, data, f, out, cap);
}
