/* tag.c: a small protocol, and a codec with all that the engine asks for.
 *
 *   0     1      2        3            7                11
 *   | 'T' | kind | status | id (4, BE) | body size (4)  | body |
 *
 * kind is PK_KIND_*, 1 to 6; status PK_STATUS_*. The body of a request is "service method arguments", of an
 * error the text; headers of both stand behind it, each "key=value" on a line of its own. docs/native-codecs.md says what each function owes the engine. */
#include "tag.h"

#include <string.h>

enum { MARK = 'T', ID = 3, SIZE = 7, FRONT = 11 };

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static int known(uint8_t kind) { return kind >= PK_KIND_REQUEST && kind <= PK_KIND_DRAIN; }

static int probe(const pk_codec *c, const uint8_t *data, size_t size) {
  (void)c;
  if (size == 0) return PK_MORE;
  if (data[0] != MARK) return PK_ERR_MAGIC;
  if (size == 1) return PK_MORE;
  return known(data[1]) ? PK_OK : PK_ERR_MAGIC;
}

static int frame(const pk_codec *c, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  (void)c;
  if (data[0] != MARK) return PK_ERR_MAGIC; /* error_at is 0 */
  if (size > 1 && !known(data[1])) {
    f->error_at = 1;
    return PK_ERR_MAGIC;
  }
  if (size > 2 && data[2] >= PK_STATUS_COUNT) {
    f->error_at = 2;
    return PK_ERR_FORMAT;
  }
  if (size < FRONT) {
    f->need = size < ID ? (uint32_t)size + 1 : FRONT; /* each of the first may be refused at once */
    return PK_MORE;
  }
  f->kind = data[1];
  f->status = data[2];
  f->id = get32(data + ID);
  f->body = FRONT;
  uint32_t body = get32(data + SIZE);
  if (limit < FRONT || body > limit - FRONT) { /* FRONT + body could wrap around */
    f->error_at = SIZE;
    return PK_ERR_LIMIT;
  }
  f->size = f->need = FRONT + body;
  return f->size <= size ? PK_OK : PK_MORE;
}

/* Where the line ends that begins here. */
static const uint8_t *line_end(const uint8_t *at, const uint8_t *end) {
  const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
  return newline == NULL ? end : newline;
}

static int destination(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  const uint8_t *service = data + f->body, *end = line_end(service, data + f->size);
  (void)c;
  const uint8_t *a = memchr(service, ' ', (size_t)(end - service));
  if (a == NULL) return PK_ERR_FORMAT;
  const uint8_t *method = a + 1;
  const uint8_t *b = memchr(method, ' ', (size_t)(end - method));
  if (b == NULL) return PK_ERR_FORMAT;
  out->service = (pk_slice){service, (uint32_t)(a - service)};
  out->method = (pk_slice){method, (uint32_t)(b - method)};
  return PK_OK;
}

/* The line in front, with the newline that it begins with; what is no header has no key. PK_MORE: there is none. */
static int next_line(const uint8_t **at, const uint8_t *end, pk_slice *line, pk_header *out) {
  if (*at == end) return PK_MORE;
  const uint8_t *key = *at + 1, *to = line_end(key, end), *middle = memchr(key, '=', (size_t)(to - key));
  *line = (pk_slice){*at, (uint32_t)(to - *at)};
  *out = (pk_header){{NULL, 0}, {NULL, 0}, 0};
  *at = to;
  if (middle == NULL) return PK_OK;
  out->key = (pk_slice){key, (uint32_t)(middle - key)};
  out->value = (pk_slice){middle + 1, (uint32_t)(to - middle - 1)};
  return PK_OK;
}

static int next_header(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_cursor *cursor,
                       pk_header *out) {
  const uint8_t *end = data + f->size, *at = cursor->at == 0 ? line_end(data + f->body, end) : data + cursor->at;
  pk_slice line;
  int result;
  (void)c;
  do {
    result = next_line(&at, end, &line, out);
  } while (result == PK_OK && out->key.data == NULL);
  cursor->at = (uint32_t)(at - data);
  return result;
}

static int same(pk_slice a, pk_slice b) { return a.size == b.size && memcmp(a.data, b.data, a.size) == 0; }

static int header(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_slice key, pk_header *out) {
  const uint8_t *end = data + f->size, *at = line_end(data + f->body, end);
  pk_header one;
  pk_slice line;
  int found = PK_MORE;
  (void)c;
  while (next_line(&at, end, &line, &one) == PK_OK) {
    if (one.key.data == NULL || !same(one.key, key)) continue;
    *out = one; /* of several the last */
    found = PK_OK;
  }
  return found;
}

/* A word is a number where it is one of up to nine digits, else a text. */
static pk_value value_of(const uint8_t *from, const uint8_t *to) {
  pk_value v = {.type = PK_VALUE_INTEGER, .bytes = {from, (uint32_t)(to - from)}};
  if (from == to || to - from > 9) v.type = PK_VALUE_TEXT;
  for (; from < to && v.type == PK_VALUE_INTEGER; from++) {
    if (*from < '0' || *from > '9') v.type = PK_VALUE_TEXT;
    v.integer = 10 * v.integer + (*from - '0');
  }
  return v;
}

/* The words behind the method. */
static int argument(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint32_t index, pk_value *out) {
  const uint8_t *end = line_end(data + f->body, data + f->size), *from = data + f->body;
  (void)c;
  for (uint32_t word = 0;; word++) {
    const uint8_t *space = memchr(from, ' ', (size_t)(end - from)), *to = space == NULL ? end : space;
    if (word >= 2 && word - 2 == index) {
      if (from == to && word == 2 && to == end) return PK_MORE; /* nothing stands behind the method */
      *out = value_of(from, to);
      return PK_OK;
    }
    if (space == NULL) return PK_MORE;
    from = space + 1;
  }
}

static void patch_id(const pk_codec *c, uint8_t *data, const pk_frame *f, uint64_t id) {
  (void)c, (void)f;
  put32(data + ID, (uint32_t)id);
}

static int build(uint8_t kind, uint32_t status, uint64_t id, const void *body, size_t size, uint8_t *out,
                 size_t cap) {
  if (cap < FRONT || size > cap - FRONT) return PK_ERR_SPACE;
  out[0] = MARK;
  out[1] = kind;
  out[2] = (uint8_t)status;
  put32(out + ID, (uint32_t)id);
  put32(out + SIZE, (uint32_t)size);
  if (size) memcpy(out + FRONT, body, size);
  return (int)(FRONT + size);
}

static int heartbeat(const pk_codec *c, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  (void)c, (void)key;
  return build(PK_KIND_HEARTBEAT, 0, id, NULL, 0, out, cap);
}

static int heartbeat_ack(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint8_t *out, size_t cap) {
  (void)c;
  return build(PK_KIND_HEARTBEAT_ACK, 0, f->id, data + f->body, f->size - f->body, out, cap);
}

static int drain(const pk_codec *c, const pk_reply *reply, uint8_t *out, size_t cap) {
  (void)c, (void)reply;
  return build(PK_KIND_DRAIN, 0, 0, NULL, 0, out, cap);
}

static int error(const pk_codec *c, const pk_reply *reply, uint8_t *out, size_t cap) {
  (void)c;
  return build(PK_KIND_RESPONSE, reply->status, reply->id, reply->text.data, reply->text.size, out, cap);
}

/* Changes of headers, of requests and answers alike. */

typedef struct writer {
  uint8_t *at, *end;
  int full;
} writer;

static void put(writer *w, const void *data, size_t size) {
  if (size > (size_t)(w->end - w->at)) {
    w->full = 1;
  } else if (size > 0) {
    memcpy(w->at, data, size);
    w->at += size;
  }
}

static void put_header(writer *w, const pk_edit *e) {
  if (e->value.data == NULL) return; /* taken out */
  put(w, "\n", 1);
  put(w, e->key.data, e->key.size);
  put(w, "=", 1);
  put(w, e->value.data, e->value.size);
}

static int has(pk_slice s, int c) { return s.size > 0 && memchr(s.data, c, s.size) != NULL; }

/* The last change of that header, or NULL. */
static const pk_edit *change_of(const pk_edit *edits, uint32_t count, pk_slice key) {
  for (; count > 0; count--)
    if (same(edits[count - 1].key, key)) return &edits[count - 1];
  return NULL;
}

static int edit(const pk_codec *c, const uint8_t *data, const pk_frame *f, const pk_edit *edits, uint32_t count,
                uint8_t *out, size_t cap) {
  const uint8_t *end = data + f->size, *from = line_end(data + f->body, end), *at = from;
  writer w = {out, out + cap, 0};
  pk_header one, before;
  pk_slice line;
  for (uint32_t i = 0; i < count; i++)
    if (edits[i].what != PK_EDIT_HEADER || has(edits[i].key, '=') || has(edits[i].key, '\n') || has(edits[i].value, '\n'))
      return PK_ERR_UNSUPPORTED;
  put(&w, data, (size_t)(from - data));
  while (next_line(&at, end, &line, &one) == PK_OK) {
    const pk_edit *e = one.key.data == NULL ? NULL : change_of(edits, count, one.key);
    if (e == NULL) {
      put(&w, line.data, line.size);
    } else if (header(c, data, f, one.key, &before) == PK_OK && before.key.data == one.key.data) {
      put_header(&w, e); /* in the place of the one that counted; others of that key go */
    }
  }
  for (uint32_t i = 0; i < count; i++) {
    int known = header(c, data, f, edits[i].key, &before) == PK_OK;
    if (!known && change_of(edits, count, edits[i].key) == &edits[i]) put_header(&w, &edits[i]);
  }
  if (w.full) return PK_ERR_SPACE;
  put32(out + SIZE, (uint32_t)(w.at - out) - FRONT);
  return (int)(w.at - out);
}

const pk_codec tag_codec = {
    .abi = PK_CODEC_ABI,
    .size = sizeof(pk_codec),
    .name = "tag",
    .mode = PK_MODE_MULTIPLEXED,
    .id_bytes = 4,
    .reply_max = FRONT + 512,
    .probe = probe,
    .frame = frame,
    .destination = destination,
    .next_header = next_header,
    .patch_id = patch_id,
    .heartbeat = heartbeat,
    .heartbeat_ack = heartbeat_ack,
    .drain = drain,
    .error = error,
    .edit = edit,
    .header = header,
    .argument = argument,
};
