/* declared_texts.c: where the destination and the headers of a declared frame stand. */
#include "wire/declared.h"

static int sized_text(pairs *in, uint32_t form, pk_slice *out) {
  uint32_t bytes = form & 15;
  if ((size_t)(in->end - in->at) < bytes) return PK_ERR_FORMAT;
  int64_t size = integer_of(in->at, form);
  in->at += bytes;
  *out = (pk_slice){NULL, 0};
  if (size == -1) return PK_OK;
  if (size < 0 || size > in->end - in->at) return PK_ERR_FORMAT;
  *out = (pk_slice){in->at, (uint32_t)size};
  in->at += size;
  return PK_OK;
}

const uint8_t *pk_declared_find(const uint8_t *at, const uint8_t *end, pk_slice what) {
  if (what.size == 1) return memchr(at, what.data[0], (size_t)(end - at));
  while ((size_t)(end - at) >= what.size) {
    at = memchr(at, what.data[0], (size_t)(end - at) - what.size + 1);
    if (at == NULL) return NULL;
    if (memcmp(at, what.data, what.size) == 0) return at;
    at++;
  }
  return NULL;
}

int pk_declared_line(pairs *in, pk_slice after, pk_slice *out) {
  const uint8_t *to = pk_declared_find(in->at, in->end, after);
  *out = (pk_slice){in->at, (uint32_t)((to == NULL ? in->end : to) - in->at)};
  in->at = to == NULL ? in->end : to + after.size;
  return to != NULL;
}

/* What is no pair is passed over, as peers do. */
static int next_line_pair(pairs *in, pk_slice between, pk_slice after, pk_slice *key, pk_slice *value) {
  if (between.size == after.size && memcmp(between.data, after.data, after.size) == 0) {
    if (!pk_declared_line(in, after, key)) return PK_MORE; /* an odd rest */
    pk_declared_line(in, after, value);
    return PK_OK;
  }
  while (in->at < in->end) {
    pk_slice whole;
    pk_declared_line(in, after, &whole);
    const uint8_t *end = whole.data + whole.size, *middle = pk_declared_find(whole.data, end, between);
    if (middle == NULL) continue;
    *key = (pk_slice){whole.data, (uint32_t)(middle - whole.data)};
    *value = (pk_slice){middle + between.size, (uint32_t)(end - middle) - between.size};
    return PK_OK;
  }
  return PK_MORE;
}

static int stands_in(pk_slice set, uint8_t byte) { return memchr(set.data, byte, set.size) != NULL; }

pk_slice pk_declared_trimmed(pk_slice s, pk_slice by) {
  while (s.size > 0 && stands_in(by, s.data[0])) s.data++, s.size--;
  while (s.size > 0 && stands_in(by, s.data[s.size - 1])) s.size--;
  return s;
}

/* Tables of names stand in the order of their keys. */
pk_slice pk_declared_chosen(const declared *d, const pk_program_table *t, int64_t key) {
  const pk_program_entry *from = &d->entries[t->first];
  int64_t found = t->otherwise;
  for (uint32_t left = t->count; left > 0;) {
    uint32_t half = left / 2;
    if (from[half].key == key) {
      found = from[half].value;
      break;
    }
    if (from[half].key < key) from += half + 1, left -= half + 1;
    else left = half;
  }
  return found < 0 ? (pk_slice){NULL, 0} : d->literals[found];
}

/* By PK_MAP_*, from PK_MAP_PROTOBUF on. */
static const pk_entry_reader readers[] = {
    {pk_open_protobuf, pk_next_protobuf},
    {pk_open_tlv, pk_next_tlv},
    {pk_open_msgpack, pk_next_msgpack},
    {pk_open_json, pk_next_json},
    {pk_open_thrift_binary, pk_next_thrift},
    {pk_open_thrift_compact, pk_next_thrift},
    {pk_open_blocks, pk_next_blocks},
};
_Static_assert(PK_MAP_PROTOBUF + sizeof readers / sizeof *readers == PK_MAP_COUNT, "each has a reader");

static int open_entries(const declared *d, const pk_program_map *map, pk_slice section, pairs *out) {
  pk_slice path = d->literals[map->path];
  pk_rest in;
  if (section.size == 0) return PK_MORE;
  int result = readers[map->kind - PK_MAP_PROTOBUF].open(section, (pk_path){path.data, path.data + path.size}, &in, &out->form);
  if (result == PK_OK) out->at = in.at, out->end = in.end;
  return result == PK_ERR_LIMIT ? PK_ERR_FORMAT : result;
}

static int next_entry(const declared *d, const pk_program_map *map, pairs *in, pk_slice *key, pk_slice *value) {
  pk_rest rest = {in->at, in->end};
  pk_key name = {{NULL, 0}, 0};
  int result = readers[map->kind - PK_MAP_PROTOBUF].next(&rest, &in->form, &name, value);
  in->at = rest.at;
  *key = name.text;
  if (name.text.data == NULL && map->names != PK_NOWHERE) *key = pk_declared_chosen(d, &d->tables[map->names], name.number);
  return result == PK_ERR_LIMIT ? PK_ERR_FORMAT : result;
}

int pk_declared_pairs(const declared *d, const pk_program_map *map, pk_slice section, pairs *out) {
  *out = (pairs){section.data, section.data == NULL ? NULL : section.data + section.size, 0};
  if (map->kind > PK_MAP_LINES) return open_entries(d, map, section, out);
  for (uint32_t i = map->kind == PK_MAP_LINES ? map->lines >> 1 & 7 : 0; i > 0 && out->at < out->end; i--)
    pk_declared_line(out, d->literals[map->after], &section);
  return PK_OK;
}

int pk_declared_next_pair(const declared *d, const pk_program_map *map, pairs *in, pk_slice *key,
                         pk_slice *value) {
  if (map->kind > PK_MAP_LINES) return next_entry(d, map, in, key, value);
  if (in->at == in->end) return PK_MORE;
  if (map->kind == PK_MAP_PAIRS) {
    int result = sized_text(in, map->key_size, key);
    return result != PK_OK ? result : sized_text(in, map->value_size, value);
  }
  int result = next_line_pair(in, d->literals[map->between], d->literals[map->after], key, value);
  if (result == PK_OK && map->trim != PK_NOWHERE) *value = pk_declared_trimmed(*value, d->literals[map->trim]);
  return result;
}

/* Names of keys have 4 to 32 bytes mostly: two or four loads, which may overlap, tell. */
static inline int same(const uint8_t *a, const uint8_t *b, uint32_t size) {
  if (size < 4 || size > 32) return memcmp(a, b, size) == 0;
  if (size < 8) return ((get32(a) ^ get32(b)) | (get32(a + size - 4) ^ get32(b + size - 4))) == 0;
  uint64_t differ = (get64(a) ^ get64(b)) | (get64(a + size - 8) ^ get64(b + size - 8));
  if (size > 16) differ |= (get64(a + 8) ^ get64(b + 8)) | (get64(a + size - 16) ^ get64(b + size - 16));
  return differ == 0;
}

/* The usual map. A length of null is more than can be there. */
static inline int look_fast(const declared *d, const pk_program_map *map, pk_slice section,
                            pk_slice *s) {
  const uint8_t *at = section.data, *end = at + section.size;
  const quick_map *quick = &d->quick_maps[map - d->maps];
  while (at < end) {
    if (end - at < 8) return PK_ERR_FORMAT;
    uint64_t key_size = get32(at);
    const uint8_t *key = at + 4;
    if (key_size > (size_t)(end - key) - 4) /* null: the general way */
      return key_size == UINT32_MAX && map->key_size & SIGNED ? PK_MORE : PK_ERR_FORMAT;
    uint64_t size = get32(key + key_size);
    at = key + key_size + 4;
    pk_slice value = {at, (uint32_t)size};
    if (size <= (size_t)(end - at)) {
      at += size;
    } else if (size == UINT32_MAX && map->value_size & SIGNED) {
      value = (pk_slice){NULL, 0};
    } else {
      return PK_ERR_FORMAT;
    }
    for (const quick_key *k = quick->of[key_size & 63]; k != NULL; k = k->next)
      if (key_size == k->size && same(key, k->data, k->size)) s[k->slice] = value;
  }
  return PK_OK;
}

static void forget(const declared *d, const pk_program_map *map, pk_slice *s) {
  const quick_key *keys = d->quick_keys + map->first;
  for (uint32_t i = 0; i < map->count; i++) s[keys[i].slice] = (pk_slice){NULL, 0};
}

static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c; }

int pk_declared_ignores_case(const pk_program_map *map) { return map->kind == PK_MAP_LINES && (map->lines & 1); }

int pk_declared_same_key(const pk_program_map *map, pk_slice a, pk_slice b) {
  if (a.data == NULL || a.size != b.size) return 0;
  if (!pk_declared_ignores_case(map)) return same(a.data, b.data, a.size);
  for (uint32_t i = 0; i < a.size; i++)
    if (lower(a.data[i]) != lower(b.data[i])) return 0;
  return 1;
}

/* A line that some peers take for another one, or for two: a part of what ends lines stands in it, or what is no part
 * of a value around its key. */
static int ambiguous(const declared *d, const pk_program_map *map, pk_slice key, pk_slice value) {
  if (map->kind != PK_MAP_LINES) return 0;
  pk_slice after = d->literals[map->after];
  const uint8_t *end = value.data + value.size;
  for (uint32_t i = 0; i < after.size && after.size > 1; i++)
    if (memchr(key.data, after.data[i], (size_t)(end - key.data)) != NULL) return 1;
  return map->trim != PK_NOWHERE && pk_declared_trimmed(key, d->literals[map->trim]).size != key.size;
}

static __attribute__((noinline)) int look_slowly(const declared *d, const pk_program_map *map, pk_slice section,
                                                 int strict, pk_slice *s) {
  const quick_key *keys = d->quick_keys + map->first;
  pk_slice key, value;
  pairs in;
  int result = pk_declared_pairs(d, map, section, &in);
  while (result == PK_OK && (result = pk_declared_next_pair(d, map, &in, &key, &value)) == PK_OK) {
    if (strict && ambiguous(d, map, key, value)) return PK_ERR_FORMAT;
    for (uint32_t i = 0; i < map->count; i++) {
      pk_slice *found = &s[keys[i].slice];
      if (!pk_declared_same_key(map, key, (pk_slice){keys[i].data, keys[i].size})) continue;
      if (strict && found->data != NULL && (found->size != value.size || memcmp(found->data, value.data, value.size) != 0))
        return PK_ERR_FORMAT;
      if (found->data == NULL || !pk_declared_first_counts(map)) *found = value;
    }
  }
  return result == PK_MORE ? PK_OK : result;
}

int pk_declared_look(const declared *d, const pk_program_map *map, pk_slice section, int strict, pk_slice *s) {
  forget(d, map, s);
  if (section.data == NULL) return PK_OK;
  if (!strict && d->quick_maps[map - d->maps].usual) {
    int result = look_fast(d, map, section, s);
    if (result != PK_MORE) return result;
    forget(d, map, s);
  }
  return look_slowly(d, map, section, strict, s);
}

__attribute__((noinline)) void pk_declared_split(pk_slice in, pk_slice by, uint32_t most, int exact, pk_slice *out) {
  const uint8_t *at = in.data, *end = at == NULL ? NULL : at + in.size;
  uint32_t i = 0;
  while (i < most && at != NULL) {
    const uint8_t *to = i + 1 == most ? NULL : pk_declared_find(at, end, by);
    out[i++] = (pk_slice){at, (uint32_t)((to == NULL ? end : to) - at)};
    at = to == NULL ? NULL : to + by.size;
  }
  if (exact && i < most) i = 0;
  while (i < most) out[i++] = (pk_slice){NULL, 0};
}

/* The usual one: at the first such byte. */
static inline void split_in_two(pk_slice in, uint8_t by, pk_slice *out) {
  const uint8_t *to = memchr(in.data, by, in.size);
  out[0] = (pk_slice){in.data, to == NULL ? in.size : (uint32_t)(to - in.data)};
  out[1] = to == NULL ? (pk_slice){NULL, 0} : (pk_slice){to + 1, in.size - out[0].size - 1};
}

int pk_declared_length(pk_slice text, int64_t *out) {
  uint32_t minus = text.size > 0 && text.data[0] == '-';
  uint64_t v = 0;
  if (text.size == minus || (minus && text.data[1] == '0')) return PK_ERR_FORMAT;
  for (uint32_t i = minus; i < text.size; i++) {
    if (text.data[i] < '0' || text.data[i] > '9') return PK_ERR_FORMAT;
    if (v <= UINT32_MAX) v = v * 10 + (uint64_t)(text.data[i] - '0');
  }
  if (v > UINT32_MAX) return PK_ERR_LIMIT;
  *out = minus ? -(int64_t)v : (int64_t)v;
  return PK_OK;
}

static int64_t number(pk_slice s) {
  int64_t v = 0;
  uint32_t minus = s.size > 0 && s.data[0] == '-';
  if (s.size == minus || s.size - minus > 18) return 0;
  for (uint32_t i = minus; i < s.size; i++) {
    if (s.data[i] < '0' || s.data[i] > '9') return 0;
    v = v * 10 + (s.data[i] - '0');
  }
  return minus ? -v : v;
}

static int64_t integer(pk_slice s, uint32_t form) {
  return s.data == NULL || s.size != (form & 15) ? 0 : integer_of(s.data, form);
}

/* PK_ERR_LIMIT: a receiver may find there what the step does not. */
__attribute__((noinline)) int pk_declared_step(const declared *d, uint32_t index, pk_slice section, pk_slice *out, uint32_t count) {
  const pk_program_step *s = &d->steps[index];
  for (uint32_t i = 0; i < count; i++) out[i] = (pk_slice){NULL, 0};
  if (section.data == NULL) return PK_OK;
  pk_step function = (pk_step)(uintptr_t)s->function;
  int result = function(section.data, section.size, d->literals + s->first, s->count, out, count);
  if (result == PK_OK) return PK_OK;
  for (uint32_t i = 0; i < count; i++) out[i] = (pk_slice){NULL, 0};
  return result == PK_ERR_LIMIT ? PK_ERR_LIMIT : PK_OK;
}

static __attribute__((noinline)) pk_slice placed(const declared *d, int answers, pk_slice section) {
  pk_place place;
  pk_declared_place(d, &d->program->id_of[answers], section, &place);
  return place.at;
}

/* A part behind what is kept already, where there is room. */
static __attribute__((noinline)) void keep_text(const declared *d, machine *m, uint32_t part, pk_slice text) {
  const pk_program_part *p = &d->parts[part];
  uint32_t size = text.data == NULL ? 0 : text.size;
  if (size > p->most) size = p->form == PK_PART_WHOLE ? 0 : p->most;
  if (p->form == PK_PART_FIXED) { /* shorter only where it is absent */
    if ((size_t)(m->kept_end - m->kept) < p->most) return;
    memset(m->kept, 0, p->most);
    if (size > 0) memcpy(m->kept, text.data, size);
    m->kept += p->most;
    return;
  }
  if ((size_t)(m->kept_end - m->kept) < (size_t)size + 1) return;
  *m->kept++ = (uint8_t)size;
  if (size > 0) memcpy(m->kept, text.data, size);
  m->kept += size;
}

static void keep_integer(const declared *d, machine *m, uint32_t part, uint64_t value) {
  uint32_t bytes = d->parts[part].most;
  if ((size_t)(m->kept_end - m->kept) < bytes) return;
  put(m->kept, value, bytes, 0);
  m->kept += bytes;
}

__attribute__((noinline)) int pk_declared_texts(const declared *d, uint32_t *pc_at, machine *m, const uint8_t *data,
                                           const pk_frame *f, pk_destination *out, headers *h) {
  int64_t *r = m->r;
  pk_slice *s = m->s;
  for (uint32_t pc = *pc_at;; pc++) {
    const pk_insn *n = &d->insns[pc];
    switch (n->op) {
      case PK_I_SLICE:
        s[n->a] = r[n->b] < 0 ? (pk_slice){NULL, 0} : (pk_slice){data + r[n->b], (uint32_t)r[n->b + 1]};
        break;
      case PK_I_OWN:
        s[n->a] = f->own[n->i] == UINT32_MAX ? (pk_slice){NULL, 0} : (pk_slice){data + f->own[n->i], f->own[n->i + 1]};
        break;
      case PK_I_TAKE:
        if (s[n->b].data == NULL) break;
        copy(&s[n->a], &s[n->b]);
        pc = (uint32_t)n->i - 1;
        break;
      case PK_I_LITERAL: s[n->a] = d->literals[n->i]; break;
      case PK_I_NONE: s[n->a] = (pk_slice){NULL, 0}; break;
      case PK_I_COPY: copy(&s[n->a], &s[n->b]); break;
      case PK_I_LOOK: {
        int result = pk_declared_look(d, &d->maps[n->i], s[n->b], n->a, s);
        if (result == PK_OK) break;
        if (out != NULL || n->a) return result;
        pk_declared_look(d, &d->maps[n->i], (pk_slice){NULL, 0}, 0, s); /* of an answer: it goes on as it is */
        break;
      }
      case PK_I_SPLIT:
        if (n->c == 2 && s[n->b].data != NULL && d->literals[n->i].size == 1) split_in_two(s[n->b], *d->literals[n->i].data, s + n->a);
        else pk_declared_split(s[n->b], d->literals[n->i], n->c & 31, n->c >> 7, s + n->a);
        break;
      case PK_I_STEP: {
        uint64_t one = n->i < 64 ? (uint64_t)1 << n->i : 0; /* the others run each time */
        if (m->stepped & one) break;
        m->stepped |= one;
        int result = pk_declared_step(d, (uint32_t)n->i, s[n->b], s + n->a, n->c);
        if (result != PK_OK && out != NULL) return result;
        break;
      }
      case PK_I_PLACE: s[n->a] = placed(d, n->c != 0, s[n->b]); break;
      case PK_I_NUMBER: r[n->a] = number(s[n->b]); break;
      case PK_I_SAME:
        r[n->a] = s[n->b].data != NULL &&
                  (n->c ? s[n->b].size >= d->literals[n->i].size : s[n->b].size == d->literals[n->i].size) &&
                  memcmp(s[n->b].data, d->literals[n->i].data, d->literals[n->i].size) == 0;
        break;
      case PK_I_INTEGER: r[n->a] = integer(s[n->b], n->c); break;
      case PK_I_DIGITS: s[n->a] = pk_digits(r[n->b] < 0 && !n->c, (uint64_t)r[n->b]); break;
      case PK_I_CHOOSE: s[n->a] = pk_declared_chosen(d, &d->tables[n->i], r[n->b]); break;
      case PK_I_TO:
        if (n->a != PK_NO_TEXT) copy(&out->service, &s[n->a]);
        if (n->b != PK_NO_TEXT) copy(&out->method, &s[n->b]);
        if (n->c != PK_NO_TEXT) copy(&out->version, &s[n->c]);
        if (n->i != PK_NO_TEXT) copy(&out->group, &s[n->i]);
        break;
      case PK_I_BUDGET:
        if (r[n->a] > 0) out->timeout_ms = milliseconds(r[n->a]);
        break;
      case PK_I_HEADERS:
        h->section = s[n->a];
        h->map = (uint32_t)n->i;
        break;
      case PK_I_PART:
        s[n->a] = r[n->b] < 0 || (uint64_t)r[n->b] + (uint64_t)r[n->b + 1] > f->size
                      ? (pk_slice){NULL, 0}
                      : (pk_slice){data + r[n->b], (uint32_t)r[n->b + 1]};
        break;
      case PK_I_KEEP: keep_text(d, m, (uint32_t)n->i, s[n->a]); break;
      case PK_I_KEEP_INT: keep_integer(d, m, (uint32_t)n->i, (uint64_t)r[n->a]); break;
      default: *pc_at = pc; return PK_OK;
    }
  }
}
