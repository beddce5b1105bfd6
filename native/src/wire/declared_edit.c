/* declared_edit.c: frames with changes. A program of its own, which knows where all stands that can be changed and what
 * counts it, is run; then the front of the frame, up to the last of that, is written anew change by change, each behind the
 * one before it. Lengths, checksums and what comes behind the front follow; and the program, run again, says that the
 * frame is what it was but for what was changed. */
#include <stdlib.h>

#include "base/sums.h"
#include "wire/declared.h"

enum { PARTS = 32, ALL_OR_NONE = 128 };

static uint64_t bits_of(const pk_program_field *field) { return ((uint64_t)1 << (field->form >> 24)) - 1; }

/* An integer in its place. */
static int64_t number_at(const editing *e, const pk_program_field *field) {
  const uint8_t *at = e->out + e->m->r[field->at];
  size_t size;
  if (field->form == 0) return (int64_t)pk_declared_varint_at(at, &size);
  if (pk_declared_is_bits(field)) return (int64_t)(big(at, field->form & 15) >> (field->form >> 16 & 255) & bits_of(field));
  return integer_of(at, field->form);
}

/* What a view finds in what was written so far. PK_OK, without data where there is none; PK_ERR_*. */
static int found(const editing *e, uint32_t which, pk_slice *out) {
  const pk_program_writer *w = &e->d->writers[which];
  pk_slice parts[PARTS];
  int result = PK_OK;
  *out = (pk_slice){NULL, 0};
  switch (w->kind) {
    case PK_WRITE_TEXT: *out = pk_declared_section(e, w->field); return PK_OK;
    case PK_WRITE_ITEM: return pk_declared_map_get(e, w->field, w->which, e->d->literals[w->literal], out);
    case PK_WRITE_PART:
      result = found(e, w->inner, out);
      if (result != PK_OK) return result;
      pk_declared_split(*out, e->d->literals[w->literal], w->count & (PARTS - 1), (w->count & ALL_OR_NONE) != 0, parts);
      *out = parts[w->index];
      return PK_OK;
    case PK_WRITE_FIRST:
      for (uint32_t i = w->inner; i != PK_NOWHERE && out->data == NULL && result == PK_OK; i = e->d->writers[i].next)
        result = found(e, i, out);
      return result;
    case PK_WRITE_STEP:
      result = pk_declared_step(e->d, w->which, pk_declared_section(e, w->field), parts, w->count);
      *out = parts[w->index];
      return result;
    case PK_WRITE_INSIDE:
      result = pk_declared_step(e->d, w->which, pk_declared_section(e, w->field), parts, 1);
      *out = parts[0];
      return result;
    case PK_WRITE_LITERAL: *out = e->d->literals[w->literal]; return PK_OK;
    case PK_WRITE_NUMBER: {
      const pk_program_field *field = &e->d->fields[w->field];
      int64_t v = e->m->r[field->at] < 0 ? 0 : number_at(e, field); /* what is not there counts as 0 */
      *out = w->which == PK_NOWHERE ? pk_digits(v < 0 && (field->form & SIGNED), (uint64_t)v) : pk_declared_chosen(e->d, &e->d->tables[w->which], v);
      return PK_OK;
    }
    default: return PK_ERR_UNSUPPORTED;
  }
}

static int write(editing *e, uint32_t which, pk_slice text);

static int same_text(pk_slice a, pk_slice b) { return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0); }

/* The parts with another one, of which all have to be there; their number, 0: it cannot be. */
static uint32_t exactly(pk_slice *parts, uint32_t count, uint32_t index, pk_slice whole, pk_slice text) {
  int there = parts[0].data != NULL;
  if (text.data == NULL && there && count > 2) return 0;
  if (text.data == NULL) {
    parts[0] = there ? parts[1 - index] : whole;
    return 1;
  }
  if (!there) parts[index == count - 1 ? 0 : count - 1] = whole;
  parts[index] = text;
  return count;
}

/* Parts at the end that are not there are left out; those between are empty. */
static uint32_t loosely(pk_slice *parts, uint32_t count, uint32_t index, pk_slice text) {
  parts[index] = text.size > 0 ? text : (pk_slice){NULL, 0};
  while (count > 0 && parts[count - 1].data == NULL) count--;
  return count;
}

/* A part that holds the separator would be read as another one, and what is behind it, too. */
static int is_part(const editing *e, const pk_program_writer *w, pk_slice text) {
  pk_slice parts[PARTS], whole;
  int result = found(e, w->inner, &whole);
  if (result != PK_OK) return result;
  pk_declared_split(whole, e->d->literals[w->literal], w->count & (PARTS - 1), (w->count & ALL_OR_NONE) != 0, parts);
  return same_text(parts[w->index], text) ? PK_OK : PK_ERR_UNSUPPORTED;
}

/* A text with another part, put together beside the frame. */
static int write_part(editing *e, const pk_program_writer *w, pk_slice text) {
  pk_slice parts[PARTS], whole, by = e->d->literals[w->literal];
  uint32_t count = w->count & (PARTS - 1);
  int result = found(e, w->inner, &whole);
  if (result != PK_OK) return result;
  pk_declared_split(whole, by, count, (w->count & ALL_OR_NONE) != 0, parts);
  int all = (w->count & ALL_OR_NONE) != 0;
  count = all ? exactly(parts, count, w->index, whole, text) : loosely(parts, count, w->index, text);
  if (all && count == 0) return PK_ERR_UNSUPPORTED;
  uint64_t size = (uint64_t)count * by.size;
  for (uint32_t i = 0; i < count; i++) size += parts[i].size;
  uint8_t *joined = size > e->most ? NULL : malloc(size + 1), *to = joined;
  if (joined == NULL) return PK_ERR_SPACE;
  for (uint32_t i = 0; i < count; i++) {
    if (i > 0) memcpy(to, by.data, by.size), to += by.size;
    if (parts[i].size > 0) memcpy(to, parts[i].data, parts[i].size), to += parts[i].size;
  }
  result = write(e, w->inner, (pk_slice){joined, (uint32_t)(to - joined)});
  free(joined);
  return result == PK_OK && text.size > 0 ? is_part(e, w, text) : result;
}

/* Where several may be, the one that is there, or else the first. */
static int write_first(editing *e, const pk_program_writer *w, pk_slice text) {
  for (uint32_t i = w->inner; i != PK_NOWHERE; i = e->d->writers[i].next) {
    pk_slice there;
    int result = found(e, i, &there);
    if (result != PK_OK) return result;
    if (there.data != NULL) return write(e, i, text);
  }
  return write(e, w->inner, text);
}

/* An integer in its place. 0: it has no room there. */
static int put_number(uint8_t *p, const pk_program_field *field, int negative, uint64_t v) {
  uint32_t form = field->form;
  if (pk_declared_is_bits(field)) {
    uint32_t shift = form >> 16 & 255;
    if (v > (negative ? 0 : bits_of(field))) return 0;
    put(p, (big(p, form & 15) & ~(bits_of(field) << shift)) | v << shift, form & 15, 0);
    return 1;
  }
  uint32_t bits = 8 * (form & 15) - (form & SIGNED ? 1 : 0);
  uint64_t most = bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
  if (negative && v > 0 && (!(form & SIGNED) || v - 1 > most)) return 0;
  if (!negative && v > most) return 0;
  put(p, negative ? (uint64_t)0 - v : v, form & 15, (form & LITTLE) != 0);
  return 1;
}

/* The integer that a text is, or is the name of. */
static int write_number(editing *e, uint32_t which, const pk_program_writer *w, pk_slice text) {
  const pk_program_field *field = &e->d->fields[w->field];
  int64_t at = e->m->r[field->at];
  int negative;
  uint64_t v;
  if (w->which == PK_NOWHERE && at < 0) return PK_ERR_UNSUPPORTED;
  if (w->which == PK_NOWHERE)
    return pk_integer_of(text, &negative, &v) && put_number(e->out + at, field, negative, v) ? PK_OK : PK_ERR_UNSUPPORTED;
  pk_slice now;
  if (found(e, which, &now) == PK_OK && (now.data == NULL) == (text.data == NULL) && same_text(now, text)) return PK_OK;
  if (at < 0) return PK_ERR_UNSUPPORTED;
  const pk_program_table *t = &e->d->tables[w->which];
  for (uint32_t i = 0; text.data != NULL && i < t->count; i++) {
    int64_t key = e->d->entries[t->first + i].key;
    if (!same_text(e->d->literals[e->d->entries[t->first + i].value], text)) continue;
    return put_number(e->out + at, field, key < 0, key < 0 ? (uint64_t)0 - (uint64_t)key : (uint64_t)key) ? PK_OK : PK_ERR_UNSUPPORTED;
  }
  return PK_ERR_UNSUPPORTED;
}

/* Another text for a view; without data: none. */
static int write(editing *e, uint32_t which, pk_slice text) {
  const pk_program_writer *w = &e->d->writers[which];
  switch (w->kind) {
    case PK_WRITE_TEXT: return pk_declared_replace(e, w->field, text);
    case PK_WRITE_ITEM: return pk_declared_map_set(e, w->field, w->which, e->d->literals[w->literal], text);
    case PK_WRITE_PART: return write_part(e, w, text);
    case PK_WRITE_FIRST: return write_first(e, w, text);
    case PK_WRITE_NUMBER: return write_number(e, which, w, text);
    case PK_WRITE_INSIDE: return pk_declared_put(e, w->field, w->index, e->d->literals[w->literal], 0, text);
    default: return PK_ERR_UNSUPPORTED; /* it is only read */
  }
}

static int change(editing *e, int answer, const pk_edit *edit) {
  const uint32_t *writers = e->d->program->changes;
  if (answer && edit->what != PK_EDIT_HEADER) return PK_ERR_UNSUPPORTED;
  if (edit->what > PK_EDIT_GROUP) return PK_ERR_UNSUPPORTED;
  uint32_t which = writers[answer ? (uint32_t)PK_CHANGES_OF_ANSWERS : edit->what];
  if (which == PK_NOWHERE) return PK_ERR_UNSUPPORTED;
  if (edit->what != PK_EDIT_HEADER) return write(e, which, edit->value);
  const pk_program_writer *w = &e->d->writers[which];
  return pk_declared_map_set(e, w->field, w->which, edit->key, edit->value);
}

/* Something that counts, in as many bytes as it takes. */
static int put_count(editing *e, uint32_t field, uint32_t was, const uint8_t *now, uint32_t size) {
  int64_t at = e->m->r[e->d->fields[field].at];
  int result = size == 0 ? PK_ERR_UNSUPPORTED : pk_declared_resize(e, field, (uint32_t)at, was, size);
  if (result == PK_OK) memcpy(e->out + at, now, size);
  return result;
}

static int count_one(editing *e, uint32_t field, int64_t more) {
  const pk_program_field *one = &e->d->fields[field];
  uint8_t *at = e->out + e->m->r[one->at], now[PK_LENGTH_MAX];
  if (pk_declared_is_digits(one)) {
    uint32_t had = (uint32_t)e->m->r[one->at + 1];
    return put_count(e, field, had, now, pk_declared_redigit(at, had, one->form, more, now));
  }
  if (one->form != 0) return pk_declared_recount(at, one->form, more) ? PK_OK : PK_ERR_UNSUPPORTED;
  size_t was;
  int64_t value;
  if (!pk_declared_add(pk_declared_varint_at(at, &was), more, &value)) return PK_ERR_UNSUPPORTED;
  return put_count(e, field, (uint32_t)was, now, pk_declared_put_varint(now, (uint64_t)value));
}

/* What is computed of the frame, whatever was said there: its peer says that as it likes. */
static int say(editing *e, uint32_t field, int64_t more) {
  const pk_program_field *one = &e->d->fields[field];
  uint8_t *at = e->out + e->m->r[one->at], now[PK_LENGTH_MAX];
  size_t was;
  int64_t v;
  if (__builtin_add_overflow(e->m->r[one->seen], more, &v)) return PK_ERR_UNSUPPORTED;
  if (one->form != 0) return put_number(at, one, v < 0, v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v) ? PK_OK : PK_ERR_UNSUPPORTED;
  if (v < 0) return PK_ERR_UNSUPPORTED;
  pk_declared_varint_at(at, &was);
  return put_count(e, field, (uint32_t)was, now, pk_declared_put_varint(now, (uint64_t)v));
}

/* What counts the sections that were changed; varints first, whose own bytes are counted, too. */
static int count_again(editing *e) {
  const declared *d = e->d;
  int64_t more[PK_FIELDS] = {0};
  for (uint32_t i = 0; i < d->program->fields.count; i++) {
    const pk_program_field *one = &d->fields[i];
    for (uint32_t k = 0; pk_declared_is_section(one) && k < one->count; k++) more[d->counts[one->first + k]] += e->grown[i];
  }
  int result = PK_OK;
  for (uint32_t pass = 0; pass < 2; pass++) {
    for (uint32_t i = 0; i < d->program->fields.count && result == PK_OK; i++) {
      const pk_program_field *one = &d->fields[i];
      int said = pk_declared_is_said(one);
      if ((one->form != 0) != pass || (more[i] == 0 && !said) || e->m->r[one->at] < 0) continue; /* this frame has no such number */
      result = said ? say(e, i, more[i]) : count_one(e, i, more[i]);
      for (uint32_t k = 0; pass == 0 && k < one->count; k++) more[d->counts[one->first + k]] += e->grown[i];
    }
  }
  return result;
}

static int framed(const declared *d, machine *m, const uint8_t *data, uint32_t size, uint32_t whole, const pk_frame *like, pk_frame *f) {
  *f = (pk_frame){.from = like->from, .ended = 1, .asked = like->asked, .halves = size != whole};
  return pk_declared_frame_as(d, m, data, size, whole, UNVERIFIED, f) == PK_OK ? PK_OK : PK_ERR_FORMAT;
}

/* All that is known of stands where it was put, and the frame is the same but for that. */
static int is_as_written(const editing *e, uint32_t size, uint32_t whole, const uint8_t *data, const pk_frame *was) {
  pk_frame now;
  machine m;
  if (framed(e->d, &m, e->out, size, whole, was, &now) != PK_OK) return 0;
  if (now.size != size || now.kind != was->kind || now.status != was->status) return 0;
  if (e->d->program->id_max == 0 && now.id != was->id) return 0;
  if (e->d->program->id_max > 0) {
    if (now.id_span.size != was->id_span.size || (now.id_span.at == PK_NO_ID) != (was->id_span.at == PK_NO_ID)) return 0;
    if (now.id_span.at != PK_NO_ID && memcmp(e->out + now.id_span.at, data + was->id_span.at, now.id_span.size) != 0) return 0;
  }
  for (uint32_t i = 0; i < e->d->program->fields.count; i++) {
    const pk_program_field *one = &e->d->fields[i];
    if (m.r[one->at] != e->m->r[one->at]) return 0;
    if (pk_declared_is_sized(one) && m.r[one->at + 1] != e->m->r[one->at + 1]) return 0;
    if (pk_declared_is_said(one) && m.r[one->at] >= 0 && m.r[one->seen] != number_at(e, one)) return 0;
  }
  return 1;
}

/* Where the last field that is known ends, in *end. 0: they do not stand behind each other in what is there. */
static int in_order(const declared *d, const machine *m, const uint8_t *data, uint32_t size, uint32_t *end) {
  const int64_t *r = m->r;
  uint64_t past = 0;
  for (uint32_t i = 0; i < d->program->fields.count; i++) {
    const pk_program_field *one = &d->fields[i];
    if (pk_declared_is_value(one)) continue;
    if (pk_declared_is_section(one) && r[one->at] < 0 && r[one->seen] >= 0) return 0;
    if (r[one->at] < 0) continue;
    size_t bytes = one->form & 15;
    if (pk_declared_is_sized(one)) {
      bytes = (size_t)r[one->at + 1];
      if (r[one->seen] >= 0 && (r[one->seen] != r[one->at] || r[one->seen + 1] != r[one->at + 1])) return 0;
    } else if (one->form == 0) {
      pk_declared_varint_at(data + r[one->at], &bytes);
    }
    int same = pk_declared_is_bits(one) && (uint64_t)r[one->at] + bytes == past; /* of the same word as those in front */
    if (((uint64_t)r[one->at] < past && !same) || (uint64_t)r[one->at] + bytes > size) return 0;
    past = (uint64_t)r[one->at] + bytes;
  }
  *end = (uint32_t)past;
  return 1;
}

static void seal(const editing *e) {
  const declared *d = e->d;
  for (uint32_t i = 0; i < d->program->checksums.count; i++) {
    const pk_program_checksum *c = &d->checksums[i];
    if (e->m->r[c->at] >= 0) pk_declared_put_sum(c, pk_declared_checksum(d, c, e->m, e->out), e->out + e->m->r[c->at]);
  }
}

int pk_declared_edit(const pk_codec *codec, const uint8_t *data, const pk_frame *f, const pk_edit *edits, uint32_t count,
                     uint8_t *out, size_t cap) {
  const declared *d = declared_of(codec)->editing;
  uint32_t whole = f->says & PK_SAYS_HALF ? f->need : f->size;
  pk_frame was;
  machine m;
  if (cap < f->size) return PK_ERR_SPACE;
  if (framed(d, &m, data, f->size, whole, f, &was) != PK_OK) return PK_ERR_FORMAT;
  uint32_t front;
  if (!in_order(d, &m, data, f->size, &front)) return PK_ERR_UNSUPPORTED;
  uint32_t behind = f->size - front;
  editing e = {.d = d, .m = &m, .out = out, .size = front, .most = (uint32_t)(cap < UINT32_MAX / 2 ? cap : UINT32_MAX / 2) - behind};
  int answer = was.kind == PK_KIND_RESPONSE || was.kind == PK_KIND_IGNORE, result = PK_OK;
  memcpy(out, data, front);
  for (uint32_t i = 0; i < count && result == PK_OK; i++) result = change(&e, answer, &edits[i]);
  if (result == PK_OK) result = count_again(&e);
  if (result != PK_OK) return result;
  memcpy(out + e.size, data + front, behind);
  uint32_t size = e.size + behind;
  seal(&e);
  return is_as_written(&e, size, size + (whole - f->size), data, &was) ? (int)size : PK_ERR_UNSUPPORTED;
}
