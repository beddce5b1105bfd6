/* lines.c: a protocol of lines for the engine's tests of what framing remembers and is told, in kinds: answers in
 * order, one at a time, both also with numbers as ids and with byte strings that are only echoed; and multiplexed
 * (ids of ten digits).
 *
 *   kind | digit | mark | shape | id, ' ' where there are any | text '\n' | body
 *
 * kind: Q a request, O a one-way, R an answer, H a heartbeat, A the answer to one, D a drain. The digit is of an answer
 * its status, of a request its context. The mark is '.', or L: its sender's last. The shape says what stands behind the
 * line: '=' nothing, '#' so many bytes as the text's first two digits say, '*' all up to the peer's end, '+'
 * the same in pieces, or up to a line's end. To a request of context 9 no bytes follow an answer's line, whatever its shape. A request's text is "service
 * method rest" (behind the digits); what is kept of it is the rest, up to 16 bytes. An answer whose text is "?x" has the
 * status that the last digit of what was kept says, and "!x" is malformed where what was kept ends otherwise.
 *
 * Framing counts the bytes that it looks at (lines_looked): only tests read that. */
#include <protokit/codec.h>
#include <stdatomic.h>
#include <string.h>

enum { HEAD = 4, KEPT = 16 };

/* Of a direction: how far the line in front was looked at. */
typedef struct state {
  uint32_t seen, open; /* open: pieces follow */
} state;

static _Atomic uint64_t looked, ended_calls;
static _Atomic uint32_t last_from;

static const char kinds[] = "QORHAD";
static const uint8_t kind_of[] = {PK_KIND_REQUEST,   PK_KIND_ONEWAY,        PK_KIND_RESPONSE,
                                  PK_KIND_HEARTBEAT, PK_KIND_HEARTBEAT_ACK, PK_KIND_DRAIN};

static int wrong(pk_frame *f, uint32_t at) {
  f->error_at = at;
  return PK_ERR_FORMAT;
}

static int probe(const pk_codec *c, const uint8_t *data, size_t size) {
  (void)c;
  if (size == 0) return PK_MORE;
  if (memchr(kinds, data[0], sizeof kinds - 1) == NULL) return PK_ERR_MAGIC;
  if (size == 1) return PK_MORE;
  return data[1] >= '0' && data[1] <= '9' ? PK_OK : PK_ERR_MAGIC;
}

static uint64_t number_of(const uint8_t *p, const uint8_t *end) {
  uint64_t n = 0;
  for (; p < end; p++) n = n * 10 + (uint64_t)(*p - '0');
  return n;
}

/* The head, the id and the body's size of a line that is whole: `size` bytes with its end. */
static int read_line(const pk_codec *c, const uint8_t *data, uint32_t size, pk_frame *f, uint32_t *more) {
  const char *kind = memchr(kinds, data[0], sizeof kinds - 1);
  if (size < HEAD + 1 || data[1] < '0' || data[1] > '9') return wrong(f, 1);
  f->kind = kind_of[kind - kinds];
  if (f->kind == PK_KIND_RESPONSE) {
    f->status = (uint8_t)(data[1] - '0');
    if (f->status >= PK_STATUS_COUNT) return wrong(f, 1);
  } else {
    f->context = (uint32_t)(data[1] - '0');
  }
  f->says = data[2] == 'L' ? PK_SAYS_LAST : 0;
  f->body = HEAD;
  if (c->id_max > 0) f->id_span = (pk_span){PK_NO_ID, 0};
  if (c->id_bytes > 0) {
    const uint8_t *space = memchr(data + HEAD, ' ', size - HEAD);
    if (space == NULL) return wrong(f, HEAD);
    uint32_t id = (uint32_t)(space - data) - HEAD;
    if (id == 0 || id > (c->id_max > 0 ? c->id_max : 19)) return wrong(f, HEAD);
    if (c->id_max > 0) {
      f->id_span = (pk_span){HEAD, id};
    } else {
      f->id = number_of(data + HEAD, space);
    }
    f->body = HEAD + id + 1;
  }
  *more = 0;
  int silent = f->from == PK_FROM_SERVER && f->kind == PK_KIND_RESPONSE && f->asked == 9;
  if (data[3] == '#') {
    if (size < f->body + 3) return wrong(f, f->body);
    if (!silent) *more = (uint32_t)number_of(data + f->body, data + f->body + 2);
  }
  return PK_OK;
}

static int frame(const pk_codec *c, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  state *s = f->state;
  last_from = f->from;
  ended_calls += f->ended;
  if (s->open) {
    f->kind = PK_KIND_PIECE;
    f->size = size < limit ? (uint32_t)size : limit;
    f->says = f->size == size && (f->ended || data[size - 1] == '\n') ? 0 : PK_SAYS_MORE;
    s->open = f->says;
    return PK_OK;
  }
  if (size == 0) return PK_MORE; /* nothing begins */
  if (memchr(kinds, data[0], sizeof kinds - 1) == NULL) return PK_ERR_MAGIC;
  uint32_t line = s->seen;
  while (line < size && (line == 0 || data[line - 1] != '\n')) line++;
  looked += line - s->seen;
  s->seen = line;
  f->need = (uint32_t)size + 1;
  if (line > limit) {
    f->error_at = limit;
    return PK_ERR_LIMIT;
  }
  if (data[line - 1] != '\n') return PK_MORE;
  uint32_t more;
  int result = read_line(c, data, line, f, &more);
  if (result != PK_OK) return result;
  if (data[3] == '*') {
    if (size > limit) {
      f->error_at = limit;
      return PK_ERR_LIMIT;
    }
    if (!f->ended) return PK_MORE;
    more = (uint32_t)size - line;
  }
  f->size = f->need = line + more;
  if (f->size > limit) {
    f->error_at = limit;
    return PK_ERR_LIMIT;
  }
  if (f->size > size) return PK_MORE;
  *s = (state){.open = data[3] == '+'};
  if (s->open) f->says |= PK_SAYS_MORE;
  return PK_OK;
}

static const uint8_t *text_of(const uint8_t *data, const pk_frame *f) {
  return data + f->body + (data[3] == '#' ? 2 : 0);
}

/* The rest of a request's text, as far as `size` bytes go. */
static pk_slice rest_of(const uint8_t *data, size_t size, const pk_frame *f, pk_slice *service, pk_slice *method) {
  const uint8_t *p = text_of(data, f), *end = data + size;
  const uint8_t *a = p < end ? memchr(p, ' ', (size_t)(end - p)) : NULL;
  const uint8_t *b = a == NULL ? NULL : memchr(a + 1, ' ', (size_t)(end - a - 1));
  if (b == NULL) return (pk_slice){NULL, 0};
  *service = (pk_slice){p, (uint32_t)(a - p)};
  *method = (pk_slice){a + 1, (uint32_t)(b - a - 1)};
  const uint8_t *stop = memchr(b + 1, '\n', (size_t)(end - b - 1));
  return (pk_slice){b + 1, (uint32_t)((stop == NULL ? end : stop) - b - 1)};
}

static int destination(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  (void)c;
  return rest_of(data, f->size, f, &out->service, &out->method).data == NULL ? PK_ERR_FORMAT : PK_OK;
}

static int next_header(const pk_codec *c, const uint8_t *d, const pk_frame *f, pk_cursor *k, pk_header *o) {
  (void)c, (void)d, (void)f, (void)k, (void)o;
  return PK_MORE;
}

static int keep(const pk_codec *c, const uint8_t *data, size_t size, const pk_frame *f, uint8_t *out, size_t cap) {
  pk_slice service, method, rest = rest_of(data, size, f, &service, &method);
  (void)c;
  if (rest.size > cap) rest.size = (uint32_t)cap;
  if (rest.size > 0) memcpy(out, rest.data, rest.size);
  return (int)rest.size;
}

static int answer(const pk_codec *c, const uint8_t *data, pk_frame *f, const pk_reply *asked) {
  const uint8_t *text = text_of(data, f);
  (void)c;
  uint8_t last = asked->kept.size > 0 ? asked->kept.data[asked->kept.size - 1] : 0;
  if (text[0] == '?' && last >= '0' && last <= '8') f->status = (uint8_t)(last - '0');
  if (text[0] == '!' && text[1] != last) {
    f->error_at = f->body + 1;
    return PK_ERR_FORMAT;
  }
  return PK_OK;
}

static int put(uint8_t *out, size_t cap, int at, const void *from, size_t size) {
  if (at < 0 || cap - (size_t)at < size) return PK_ERR_SPACE;
  if (size > 0) memcpy(out + at, from, size);
  return at + (int)size;
}

/* What was kept stands in brackets behind the text. */
static int build(const pk_codec *c, char kind, uint32_t digit, uint64_t id, pk_slice text, pk_slice kept, uint8_t *out,
                 size_t cap) {
  char head[HEAD] = {kind, (char)('0' + digit), '.', '='}, digits[24];
  int n = 0, at = put(out, cap, 0, head, sizeof head);
  do {
    digits[sizeof digits - 1 - (size_t)n++] = (char)('0' + id % 10);
    id /= 10;
  } while (id > 0);
  if (c->id_bytes > 0) {
    at = put(out, cap, at, digits + sizeof digits - n, (size_t)n);
    at = put(out, cap, at, " ", 1);
  }
  at = put(out, cap, at, text.data, text.size);
  if (kept.size > 0) {
    at = put(out, cap, at, " [", 2);
    at = put(out, cap, at, kept.data, kept.size);
    at = put(out, cap, at, "]", 1);
  }
  return put(out, cap, at, "\n", 1);
}

static int heartbeat(const pk_codec *c, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  (void)key;
  return build(c, 'H', 0, id, (pk_slice){NULL, 0}, (pk_slice){NULL, 0}, out, cap);
}

static int heartbeat_ack(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint8_t *out, size_t cap) {
  (void)data;
  return build(c, 'A', 0, c->id_max > 0 ? 0 : f->id, (pk_slice){NULL, 0}, (pk_slice){NULL, 0}, out, cap);
}

static int drain(const pk_codec *c, const pk_reply *r, uint8_t *out, size_t cap) {
  return build(c, 'D', r->context, 0, (pk_slice){NULL, 0}, r->kept, out, cap);
}

static int error(const pk_codec *c, const pk_reply *r, uint8_t *out, size_t cap) {
  return build(c, 'R', r->status, r->id, r->text, r->kept, out, cap);
}

static void patch_id(const pk_codec *c, uint8_t *data, const pk_frame *f, uint64_t id) {
  (void)c;
  for (uint32_t i = f->body - 1; i-- > HEAD; id /= 10) data[i] = (uint8_t)('0' + id % 10);
}

static int splice_id(const pk_codec *c, const uint8_t *data, const pk_frame *f, const uint8_t *id, uint32_t id_size,
                     uint8_t *out, size_t cap) {
  (void)c;
  int at = put(out, cap, 0, data, HEAD);
  at = put(out, cap, at, id, id_size);
  return put(out, cap, at, data + f->body - 1, f->size - f->body + 1);
}

#define LINES(variable, label, how, bytes, ...)                                                     \
  static const pk_codec variable = {                                                                \
      .abi = PK_CODEC_ABI, .size = sizeof(pk_codec), .name = label, .mode = how, .id_bytes = bytes, \
      .reply_max = 640, .state_size = sizeof(state), .ends = 1, .keep_max = KEPT, .keep = keep,     \
      .answer = answer, .probe = probe, .frame = frame, .destination = destination,                 \
      .next_header = next_header, .heartbeat = heartbeat, .heartbeat_ack = heartbeat_ack,           \
      .drain = drain, .error = error, __VA_ARGS__}

LINES(ordered, "lines-ordered", PK_MODE_ORDERED, 0, .patch_id = NULL);
LINES(pingpong, "lines-pingpong", PK_MODE_PINGPONG, 0, .patch_id = NULL);
LINES(multiplexed, "lines-multiplexed", PK_MODE_MULTIPLEXED, 4, .patch_id = patch_id);
LINES(ordered_ids, "lines-ordered-ids", PK_MODE_ORDERED, 4, .patch_id = NULL);
LINES(pingpong_ids, "lines-pingpong-ids", PK_MODE_PINGPONG, 1, .patch_id = NULL);
LINES(ordered_names, "lines-ordered-names", PK_MODE_ORDERED, 4, .id_max = 12, .splice_id = splice_id);
LINES(pingpong_names, "lines-pingpong-names", PK_MODE_PINGPONG, 4, .id_max = 12, .splice_id = splice_id);

uintptr_t lines_codec(int which);
uintptr_t lines_codec(int which) {
  const pk_codec *all[] = {&ordered,      &pingpong,      &multiplexed,   &ordered_ids,
                           &pingpong_ids, &ordered_names, &pingpong_names};
  return (uintptr_t)all[which];
}

uint64_t lines_looked(void);
uint64_t lines_looked(void) { return looked; }
uint64_t lines_ended(void);
uint64_t lines_ended(void) { return ended_calls; }
uint32_t lines_from(void);
uint32_t lines_from(void) { return last_from; }
