/* declared_map.c: maps that are changed: a key's value is written anew, or put in, or taken out; all else in them stays byte
 * for byte. Of a key that stands twice the first place is kept, and the others go. */
#include "wire/declared.h"

/* A pair as it stands, without what ends its line; key.data NULL: it is none, or its key is null. */
typedef struct item {
  const uint8_t *from, *value, *end;
  pk_slice key;
} item;

typedef struct walk {
  const declared *d;
  const pk_program_map *map;
  pairs in;
  uint32_t skip; /* lines that are no pairs */
} walk;

static walk begin(const declared *d, const pk_program_map *map, pk_slice section) {
  uint32_t skip = map->kind == PK_MAP_LINES ? map->lines >> 1 & 7 : 0;
  return (walk){d, map, {section.data, section.data + section.size, 0}, skip};
}

static pk_slice after_of(const walk *w) {
  return w->map->kind == PK_MAP_LINES ? w->d->literals[w->map->after] : (pk_slice){NULL, 0};
}

/* In lines on turn a last one that has no value is a pair where it is ended. */
static int next_turn(walk *w, item *out) {
  pk_slice line, after = w->d->literals[w->map->after];
  int ended = pk_declared_line(&w->in, after, &line);
  *out = (item){line.data, w->in.at, line.data + line.size, line};
  if (!ended) {
    out->key = (pk_slice){NULL, 0};
    return PK_OK;
  }
  if (w->in.at == w->in.end) {
    out->end = w->in.at;
    return PK_OK;
  }
  pk_declared_line(&w->in, after, &line);
  out->end = line.data + line.size;
  return PK_OK;
}

static int next_line(walk *w, item *out) {
  pk_slice line, between = w->d->literals[w->map->between], after = w->d->literals[w->map->after];
  if (w->skip == 0 && between.size == after.size && memcmp(between.data, after.data, after.size) == 0) return next_turn(w, out);
  pk_declared_line(&w->in, after, &line);
  *out = (item){line.data, line.data, line.data + line.size, {NULL, 0}};
  if (w->skip > 0) {
    w->skip--;
    return PK_OK;
  }
  const uint8_t *middle = pk_declared_find(line.data, out->end, between);
  if (middle == NULL) return PK_OK;
  out->key = (pk_slice){line.data, (uint32_t)(middle - line.data)};
  out->value = middle + between.size;
  return PK_OK;
}

/* PK_OK; PK_MORE at the end; PK_ERR_FORMAT. */
static int next(walk *w, item *out) {
  if (w->in.at == w->in.end) return PK_MORE;
  if (w->map->kind == PK_MAP_LINES) return next_line(w, out);
  pk_slice value;
  out->from = w->in.at;
  int result = pk_declared_next_pair(w->d, w->map, &w->in, &out->key, &value);
  out->end = w->in.at;
  out->value = value.data == NULL ? out->end : value.data;
  return result;
}

int pk_declared_map_get(const editing *e, uint32_t field, uint32_t map, pk_slice key, pk_slice *value) {
  const pk_program_map *m = &e->d->maps[map];
  pk_slice section = pk_declared_section(e, field), name, one;
  int result = PK_OK, found = 0;
  pairs in;
  *value = (pk_slice){NULL, 0};
  if (section.data == NULL) return PK_OK;
  if (pk_declared_pairs(e->d, m, section, &in) != PK_OK) return PK_OK;
  while ((result = pk_declared_next_pair(e->d, m, &in, &name, &one)) == PK_OK) {
    if (!pk_declared_same_key(m, name, key) || (found && pk_declared_first_counts(m))) continue;
    *value = one;
    found = 1;
  }
  return result == PK_MORE ? PK_OK : result;
}

/* What of a map is the key's: how often it is there; the first, and where it is in the section; and where another pair is
 * put in: behind the last that is one, and behind the lines in front. */
typedef struct spot {
  uint32_t times, items, place;
  item first;
  const uint8_t *behind; /* the item in front of that place; NULL: there is none */
} spot;

static int look(walk w, pk_slice key, spot *s) {
  uint32_t skip = w.skip;
  item one;
  int result;
  *s = (spot){.times = 0};
  while ((result = next(&w, &one)) == PK_OK) {
    if (one.key.data != NULL || s->items < skip) s->behind = one.end;
    s->items++;
    if (!pk_declared_same_key(w.map, one.key, key)) continue;
    if (s->times++ == 0) s->first = one;
  }
  return result == PK_MORE ? PK_OK : result;
}

/* All pairs of the key go but, where it is kept, the first; what is left moves together. */
static int without(editing *e, uint32_t field, walk w, pk_slice key, int keeps) {
  pk_slice after = after_of(&w);
  uint8_t *start = e->out + e->m->r[e->d->fields[field].at], *to = start;
  const uint8_t *end = w.in.end, *last = start;
  uint32_t kept = 0;
  item one;
  while (next(&w, &one) == PK_OK) {
    last = one.end;
    if (pk_declared_same_key(w.map, one.key, key) && !keeps) continue;
    if (pk_declared_same_key(w.map, one.key, key)) keeps = 0;
    if (kept++ > 0 && after.size > 0) memcpy(to, after.data, after.size), to += after.size;
    memmove(to, one.from, (size_t)(one.end - one.from));
    to += one.end - one.from;
  }
  if (kept > 0 && last < end) memcpy(to, after.data, after.size), to += after.size;
  return pk_declared_resize(e, field, (uint32_t)(to - e->out), (uint32_t)(end - to), 0);
}

static int fits(pk_slice text, uint32_t form) {
  uint32_t bits = 8 * (form & 15) - (form & SIGNED ? 1 : 0);
  return bits >= 32 || text.size >> bits == 0;
}

static int holds(pk_slice text, pk_slice what) {
  return text.size > 0 && pk_declared_find(text.data, text.data + text.size, what) != NULL;
}

/* A value as it is written: behind a space, where spaces are no part of it. PK_ERR_UNSUPPORTED: it would be read otherwise. */
static int can_stand(const walk *w, pk_slice key, pk_slice value, pk_slice *front) {
  const pk_program_map *map = w->map;
  *front = (pk_slice){NULL, 0};
  if (map->kind == PK_MAP_PAIRS) return fits(key, map->key_size) && fits(value, map->value_size) ? PK_OK : PK_ERR_UNSUPPORTED;
  pk_slice between = w->d->literals[map->between], after = w->d->literals[map->after];
  if (holds(key, between) || holds(key, after) || holds(value, after)) return PK_ERR_UNSUPPORTED;
  if (map->trim == PK_NOWHERE) return PK_OK;
  pk_slice trim = w->d->literals[map->trim];
  if (pk_declared_trimmed(value, trim).size != value.size) return PK_ERR_UNSUPPORTED;
  if (memchr(trim.data, ' ', trim.size) != NULL) *front = (pk_slice){(const uint8_t *)" ", 1};
  return PK_OK;
}

static uint8_t *copied(uint8_t *to, pk_slice text) {
  if (text.size > 0) memcpy(to, text.data, text.size);
  return to + text.size;
}

/* The value of a pair that is there. */
static int rewritten(editing *e, uint32_t field, const walk *w, const item *one, pk_slice front, pk_slice value) {
  uint32_t at = (uint32_t)(one->value - e->out);
  int result = pk_declared_resize(e, field, at, (uint32_t)(one->end - one->value), front.size + value.size);
  if (result != PK_OK) return result;
  if (w->map->kind == PK_MAP_PAIRS) {
    uint32_t form = w->map->value_size, bytes = form & 15;
    put(e->out + at - bytes, value.size, bytes, (form & LITTLE) != 0);
  }
  copied(copied(e->out + at, front), value);
  return PK_OK;
}

/* One pair more. */
static int added(editing *e, uint32_t field, const walk *w, const spot *s, pk_slice key, pk_slice front, pk_slice value) {
  const pk_program_map *map = w->map;
  int paired = map->kind == PK_MAP_PAIRS;
  pk_slice after = after_of(w), between = paired ? after : w->d->literals[map->between];
  uint32_t ends = s->items > 0 ? after.size : 0;
  uint32_t at = (uint32_t)((s->behind != NULL ? s->behind : w->in.at) - e->out);
  uint32_t more = key.size + between.size + front.size + value.size + ends;
  if (paired) more += (map->key_size & 15) + (map->value_size & 15);
  int result = pk_declared_resize(e, field, at, 0, more);
  if (result != PK_OK) return result;
  uint8_t *to = e->out + at;
  if (s->behind != NULL && ends > 0) to = copied(to, after);
  if (paired) put(to, key.size, map->key_size & 15, (map->key_size & LITTLE) != 0), to += map->key_size & 15;
  to = copied(to, key);
  if (paired) put(to, value.size, map->value_size & 15, (map->value_size & LITTLE) != 0), to += map->value_size & 15;
  to = copied(copied(copied(to, between), front), value);
  if (s->behind == NULL && ends > 0) copied(to, after);
  return PK_OK;
}

/* Where separators have several bytes one may begin in what stands in front of it; and lines in front may not be there. */
static int is_read(const editing *e, uint32_t field, uint32_t map, pk_slice key, pk_slice value) {
  const pk_program_map *m = &e->d->maps[map];
  pk_slice now;
  if (m->kind != PK_MAP_LINES || (e->d->literals[m->between].size == 1 && e->d->literals[m->after].size == 1 && !(m->lines >> 1 & 7)))
    return PK_OK;
  int result = pk_declared_map_get(e, field, map, key, &now);
  int same = now.data != NULL && now.size == value.size && (now.size == 0 || memcmp(now.data, value.data, now.size) == 0);
  return result != PK_OK || same ? result : PK_ERR_UNSUPPORTED;
}

int pk_declared_map_set(editing *e, uint32_t field, uint32_t map, pk_slice key, pk_slice value) {
  pk_slice section = pk_declared_section(e, field), front = {NULL, 0};
  if (section.data == NULL) return PK_ERR_UNSUPPORTED;
  if (e->d->maps[map].kind > PK_MAP_LINES) return pk_declared_put_item(e, field, map, key, value);
  walk w = begin(e->d, &e->d->maps[map], section);
  spot s;
  int result = look(w, key, &s);
  if (result == PK_OK && value.data != NULL) result = can_stand(&w, s.times > 0 ? s.first.key : key, value, &front);
  uint32_t stay = value.data != NULL;
  if (result == PK_OK && s.times > stay) result = without(e, field, w, key, value.data != NULL);
  if (result != PK_OK || value.data == NULL) return result;
  /* The first stands in front of all that moved. */
  result = s.times > 0 ? rewritten(e, field, &w, &s.first, front, value) : added(e, field, &w, &s, key, front, value);
  return result == PK_OK ? is_read(e, field, map, key, value) : result;
}
