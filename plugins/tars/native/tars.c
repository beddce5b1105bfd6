/* tars.c: TARS.
 *
 *   | size (4, big endian, with itself) | fields |
 *
 * A field is a head, its tag in the high four bits and its type in the low ones, and a value. A request has version (1), packet
 * type (2: 1 is one-way), message type (3), id (4), servant (5), function (6), arguments (7), timeout in ms (8), context (9)
 * and status (10, maps of texts); an answer version (1), packet type (2), id (3), message type (4), return code (5), result
 * (6), status (7), text (8), context (9). What field 5 is tells them apart. Fields come in the order of their tags.
 *
 * An integer takes as many bytes as it needs, so an id's width is its value's. The engine's own have three bytes here, and go
 * to servers behind a 1 as an integer of four: they come back in four, too. An id whose first of four bytes is 1
 * is the other three everywhere, so that there are no two ways to say it. */
#include "tars.h"

#include <string.h>

#include <protokit/edits.h>

enum { FRONT = 4, LEADS = 1, FIRST = 48 }; /* FIRST: within so many bytes are the fields 1 to 4 and field 5's head */
enum { BYTE = 0, SHORT, INT, LONG, FLOAT, DOUBLE, STRING1, STRING4, MAP, LIST, BEGIN, END, ZERO, BYTES };
enum { SERVANT = 5, FUNCTION = 6, ARGUMENTS = 7, TIMEOUT = 8, CONTEXT = 9 }; /* of a request; CONTEXT of an answer, too */
enum { RETURN = 5, RESULT = 6, STATUS = 7, TEXT = 8 };                       /* of an answer */
enum { VERSION = 1, TUP = 2, TUP3 = 3, JSON = 5, ONEWAY = 1 };
enum { PROBE = 0x2000 }; /* a message type that servers repeat: an answer with it is a heartbeat's */
enum { DEPTH = 32 };     /* of values in what is skipped */
static const char PING[] = "tars_ping";

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* Reading. */

typedef struct field {
  const uint8_t *at; /* its head */
  pk_slice body;     /* its value's bytes: of a text without the length */
  int64_t value;     /* of an integer */
  uint32_t tag, type;
} field;

static int is_integer(const field *f) { return f->type <= LONG || f->type == ZERO; }
static int is_text(const field *f) { return f->type == STRING1 || f->type == STRING4; }

static int is_ping(const field *f) {
  return is_text(f) && f->body.size == sizeof PING - 1 && memcmp(f->body.data, PING, sizeof PING - 1) == 0;
}

static int next_field(const uint8_t **at, const uint8_t *end, uint32_t depth, field *out);

/* So many fields, or all up to the end of a structure (PK_NO_ID). */
static int skip(const uint8_t **at, const uint8_t *end, uint32_t depth, uint32_t count) {
  field one;
  int result;
  if (depth == DEPTH) return PK_ERR_LIMIT;
  for (; count > 0; count -= count != PK_NO_ID) {
    if ((result = next_field(at, end, depth + 1, &one)) != PK_OK) return result;
    if (one.type == END) return count == PK_NO_ID ? PK_OK : PK_ERR_FORMAT;
  }
  return PK_OK;
}

/* How many values follow: an integer. */
static int count_of(const uint8_t **at, const uint8_t *end, uint32_t most, uint32_t *out) {
  field one = {.type = *at == end ? END : **at & 15};
  if (!is_integer(&one) || next_field(at, end, DEPTH, &one) != PK_OK) return PK_ERR_FORMAT;
  if (one.value < 0 || one.value > most) return PK_ERR_FORMAT;
  *out = (uint32_t)one.value;
  return PK_OK;
}

/* The field in front; PK_ERR_FORMAT: there is none, or it is malformed. */
static int next_field(const uint8_t **at, const uint8_t *end, uint32_t depth, field *out) {
  static const uint8_t widths[] = {[BYTE] = 1, [SHORT] = 2, [INT] = 4, [LONG] = 8, [FLOAT] = 4, [DOUBLE] = 8};
  uint32_t size = 0;
  int result = PK_OK;
  if (*at == end) return PK_ERR_FORMAT;
  out->at = *at;
  out->type = **at & 15;
  out->tag = *(*at)++ >> 4;
  out->value = 0;
  if (out->tag == 15) {
    if (*at == end) return PK_ERR_FORMAT;
    out->tag = *(*at)++;
  }
  const uint8_t *body = *at;
  size_t left = (size_t)(end - body);
  switch (out->type) {
    case BYTE: case SHORT: case INT: case LONG: case FLOAT: case DOUBLE: size = widths[out->type]; break;
    case STRING1:
      if (left < 1) return PK_ERR_FORMAT;
      size = body[0];
      body += 1;
      break;
    case STRING4:
      if (left < 4) return PK_ERR_FORMAT;
      size = get32(body);
      body += 4;
      break;
    case MAP: case LIST: case BEGIN:
      size = PK_NO_ID; /* up to a structure's end */
      if (out->type != BEGIN && count_of(at, end, (uint32_t)left, &size) != PK_OK) return PK_ERR_FORMAT;
      if (out->type == MAP) size *= 2; /* left is far below 2^31 */
      if ((result = skip(at, end, depth, size)) != PK_OK) return result;
      size = (uint32_t)(*at - body);
      break;
    case BYTES:
      if (left < 1 || (body[0] & 15) != BYTE || (body[0] >> 4) == 15) return PK_ERR_FORMAT;
      *at = body + 1;
      if (count_of(at, end, (uint32_t)left, &size) != PK_OK) return PK_ERR_FORMAT;
      body = *at;
      break;
    case END: case ZERO: break;
    default: return PK_ERR_FORMAT;
  }
  if (size > (size_t)(end - body)) return PK_ERR_FORMAT;
  if (out->type <= LONG) {
    uint64_t bits = body[0] & 0x80 ? UINT64_MAX : 0;
    for (uint32_t i = 0; i < size; i++) bits = bits << 8 | body[i];
    out->value = (int64_t)bits;
  }
  *at = body + size;
  out->body = (pk_slice){body, size};
  return PK_OK;
}

/* The field of that tag in a whole frame. PK_MORE: there is none. */
static int find(const uint8_t *data, const pk_frame *f, uint32_t tag, field *out) {
  const uint8_t *at = data + f->body, *end = data + f->size;
  while (at < end && next_field(&at, end, 0, out) == PK_OK)
    if (out->tag == tag) return PK_OK;
  return PK_MORE;
}

/* Framing. */

static int magic(const uint8_t *data, size_t size, uint32_t *at) {
  *at = 0;
  if (size >= FRONT && get32(data) < FRONT + 8) return PK_ERR_MAGIC; /* four integers in front of all */
  *at = 4;
  if (size > 4 && data[4] != (1 << 4 | BYTE)) return PK_ERR_MAGIC; /* field 1, in a byte */
  *at = 5;
  if (size > 5 && data[5] != VERSION && data[5] != TUP && data[5] != TUP3 && data[5] != JSON) return PK_ERR_MAGIC;
  return size > 5 ? PK_OK : PK_MORE;
}

static int probe(const pk_codec *c, const uint8_t *data, size_t size) {
  uint32_t at;
  (void)c;
  return magic(data, size, &at);
}

static int wrong(pk_frame *f, const uint8_t *data, const uint8_t *at, int result) {
  f->error_at = (uint32_t)(at - data);
  return result;
}

/* The integers in front, up to field 5's head: id and kind. */
static int read_front(const uint8_t *data, const uint8_t *end, pk_frame *f) {
  const uint8_t *at = data + FRONT;
  field one[4];
  for (uint32_t i = 0; i < 4; i++) {
    const uint8_t *head = at;
    if (next_field(&at, end, DEPTH, &one[i]) != PK_OK || one[i].tag != i + 1 || !is_integer(&one[i]))
      return wrong(f, data, head, PK_ERR_FORMAT);
  }
  if (at == end || *at >> 4 != 5) return wrong(f, data, at, PK_ERR_FORMAT);
  field fifth = {.type = *at & 15};
  if (!is_text(&fifth) && !is_integer(&fifth)) return wrong(f, data, at, PK_ERR_FORMAT);
  const field *id = is_text(&fifth) ? &one[3] : &one[2], *message_type = is_text(&fifth) ? &one[2] : &one[3];
  if (id->type == LONG) return wrong(f, data, id->at, PK_ERR_FORMAT);
  uint32_t behind = id->type == INT && id->body.data[0] == LEADS;
  f->id_span = (pk_span){(uint32_t)(id->body.data - data) + behind, id->body.size - behind};
  f->context = (uint32_t)one[0].value;
  f->body = (uint32_t)(at - data);
  if (is_text(&fifth)) {
    f->kind = one[1].value == ONEWAY ? PK_KIND_ONEWAY : PK_KIND_REQUEST;
  } else {
    f->kind = message_type->value & PROBE ? PK_KIND_HEARTBEAT_ACK : PK_KIND_RESPONSE;
  }
  return PK_OK;
}

static uint8_t status_of(int64_t code) {
  switch (code) {
    case 0: return PK_STATUS_OK;
    case -1: return PK_STATUS_BAD_REQUEST;
    case -3:                                /* no function */
    case -4: return PK_STATUS_NO_SERVICE;   /* no servant */
    case -6:                                /* too long in the queue */
    case -7: return PK_STATUS_TIMEOUT;
    case -8: return PK_STATUS_UNAVAILABLE;  /* no connection */
    case -9: return PK_STATUS_OVERLOADED;
    case -10: return PK_STATUS_APP_ERROR;   /* a method raised, in Java */
    default: return code > 0 ? PK_STATUS_APP_ERROR : PK_STATUS_INTERNAL;
  }
}

static int32_t code_of(uint32_t status) {
  switch (status) {
    case PK_STATUS_BAD_REQUEST: return -1;
    case PK_STATUS_NO_SERVICE: return -4;
    case PK_STATUS_TIMEOUT: return -7;
    case PK_STATUS_UNAVAILABLE: return -8;
    case PK_STATUS_OVERLOADED: return -9;
    default: return -99;
  }
}

/* What follows, to the frame's end, in the order of the tags; whoever reads them goes on from one to the next. */
static int read_rest(const uint8_t *data, pk_frame *f) {
  const uint8_t *at = data + f->body, *end = data + f->size;
  int asks = f->kind == PK_KIND_REQUEST || f->kind == PK_KIND_ONEWAY, result;
  uint32_t last = 4;
  field one;
  while (at < end) {
    const uint8_t *head = at;
    if ((result = next_field(&at, end, 0, &one)) != PK_OK) return wrong(f, data, head, result);
    if (one.tag <= last) return wrong(f, data, head, PK_ERR_FORMAT);
    last = one.tag;
    if (asks ? (one.tag == FUNCTION && !is_text(&one)) || (one.tag == TIMEOUT && !is_integer(&one))
             : one.tag == TEXT && !is_text(&one))
      return wrong(f, data, head, PK_ERR_FORMAT);
    if (one.tag == CONTEXT && one.type != MAP) return wrong(f, data, head, PK_ERR_FORMAT);
    if (!asks && one.tag == RETURN) f->status = status_of(one.value);
    if (asks && one.tag == FUNCTION && is_ping(&one)) f->kind = f->kind == PK_KIND_ONEWAY ? PK_KIND_IGNORE : PK_KIND_HEARTBEAT;
  }
  if (f->kind == PK_KIND_HEARTBEAT_ACK) f->status = 0;
  return PK_OK;
}

/* A request that is too large, FIRST bytes of which are there: its function says whether it is a heartbeat, of which its
 * sender is not told. Up to there it is waited for, within the limit. */
static int read_function(const uint8_t *data, size_t size, uint32_t total, uint32_t limit, pk_frame *f) {
  const uint8_t *servant = data + f->body + 1;
  int is_short = (data[f->body] & 15) == STRING1;
  uint64_t next = f->body + (is_short ? 2u + servant[0] : 5ull + get32(servant)), need = next + 5 + sizeof PING - 1;
  field function;
  if (need > total) need = total;
  if (need > limit) {
    f->kind = 0;
    return PK_OK;
  }
  f->need = (uint32_t)need;
  if (size < need) return PK_MORE;
  const uint8_t *at = next < need ? data + next : data + need;
  if (next_field(&at, data + need, DEPTH, &function) == PK_OK && function.tag == FUNCTION && is_ping(&function)) f->kind = 0;
  return PK_OK;
}

static int frame(const pk_codec *c, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  (void)c;
  int result;
  if ((result = magic(data, size, &f->error_at)) == PK_ERR_MAGIC) return result;
  f->error_at = 0;
  if (result == PK_MORE) {
    f->need = size < FRONT ? FRONT : (uint32_t)size + 1;
    return PK_MORE;
  }
  if (data[5] == TUP || data[5] == TUP3) return wrong(f, data, data + 5, PK_ERR_UNSUPPORTED); /* answers like requests */
  uint32_t total = get32(data);
  int over = total > limit;
  uint32_t need = over && total > FIRST ? FIRST : total; /* of what is too large the id alone is read, so that its sender is told */
  if (over && need > limit) return wrong(f, data, data, PK_ERR_LIMIT);
  f->need = need;
  if (size < need) return PK_MORE;
  if ((result = read_front(data, data + need, f)) != PK_OK) return result;
  f->size = total;
  if (!over) return read_rest(data, f);
  f->error_at = 0;
  if (f->kind == PK_KIND_REQUEST) {
    if (read_function(data, size, total, limit, f) == PK_MORE) return PK_MORE;
  } else if (f->kind == PK_KIND_ONEWAY) {
    f->kind = 0;
  }
  f->need = total;
  return PK_ERR_LIMIT;
}

static int destination(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  field one;
  (void)c;
  if (find(data, f, SERVANT, &one) == PK_OK) out->service = one.body;
  if (find(data, f, FUNCTION, &one) == PK_OK) out->method = one.body;
  if (find(data, f, TIMEOUT, &one) == PK_OK && one.value > 0 && one.value <= INT32_MAX) out->timeout_ms = (uint32_t)one.value;
  return PK_OK;
}

/* Headers: the pairs of the context. */

typedef struct pairs {
  const uint8_t *at, *end;
  uint32_t left;
} pairs;

static pairs context_of(const uint8_t *data, const pk_frame *f) {
  pairs p = {data, data, 0};
  field one;
  if (find(data, f, CONTEXT, &one) != PK_OK || one.type != MAP) return p;
  p = (pairs){one.body.data, one.body.data + one.body.size, 0};
  if (count_of(&p.at, p.end, one.body.size, &p.left) != PK_OK) p.left = 0;
  return p;
}

static int next_pair(pairs *p, pk_header *out) {
  field key, value;
  if (p->left == 0) return PK_MORE;
  if (next_field(&p->at, p->end, 1, &key) != PK_OK || next_field(&p->at, p->end, 1, &value) != PK_OK) return PK_ERR_FORMAT;
  if (key.tag != 0 || value.tag != 1 || !is_text(&key) || !is_text(&value)) return PK_ERR_FORMAT;
  p->left--;
  *out = (pk_header){key.body, value.body, 0};
  return PK_OK;
}

static int next_header(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_cursor *cursor, pk_header *out) {
  pairs p = context_of(data, f);
  (void)c;
  if (cursor->at > 0) {
    p.at = data + cursor->at;
    p.left = cursor->state[0];
  }
  int result = next_pair(&p, out);
  cursor->at = (uint32_t)(p.at - data);
  cursor->state[0] = p.left;
  return result;
}

static int header(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_slice key, pk_header *out) {
  pairs p = context_of(data, f);
  int result, found = PK_MORE;
  pk_header one;
  (void)c;
  while ((result = next_pair(&p, &one)) == PK_OK) {
    if (!pk_same(one.key, key)) continue;
    *out = one; /* of several the last */
    found = PK_OK;
  }
  return result == PK_MORE ? found : result;
}

/* Writing. Without bytes to write to only their count is found. */

typedef struct writer {
  uint8_t *out;
  size_t size, cap;
} writer;

static void put(writer *w, const void *data, size_t size) {
  if (size > 0 && w->size <= w->cap && size <= w->cap - w->size) memcpy(w->out + w->size, data, size);
  w->size += size;
}

static void put_byte(writer *w, uint32_t byte) {
  uint8_t b = (uint8_t)byte;
  put(w, &b, 1);
}

static void put_head(writer *w, uint32_t tag, uint32_t type) { put_byte(w, tag << 4 | type); }

/* An integer, in as few bytes as there are for it. */
static void put_number(writer *w, uint32_t tag, int32_t value) {
  uint8_t bytes[4];
  put32(bytes, (uint32_t)value);
  uint32_t size = value == 0 ? 0 : value == (int8_t)value ? 1 : value == (int16_t)value ? 2 : 4;
  put_head(w, tag, size == 0 ? ZERO : size == 1 ? BYTE : size == 2 ? SHORT : INT);
  put(w, bytes + 4 - size, size);
}

static void put_text(writer *w, uint32_t tag, pk_slice text) {
  uint8_t bytes[4];
  put32(bytes, text.size);
  put_head(w, tag, text.size < 256 ? STRING1 : STRING4);
  put(w, text.size < 256 ? bytes + 3 : bytes, text.size < 256 ? 1 : 4);
  put(w, text.data, text.size);
}

static void put_empty(writer *w, uint32_t tag, uint32_t type) {
  put_head(w, tag, type);
  if (type == BYTES) put_head(w, 0, BYTE);
  put_number(w, 0, 0);
}

static int finish(writer *w) {
  if (w->size > w->cap || w->size > INT32_MAX) return PK_ERR_SPACE;
  put32(w->out, (uint32_t)w->size);
  return (int)w->size;
}

/* Edits. */

static uint32_t put_pair(writer *w, const pk_edit *edit) {
  if (edit->value.data == NULL) return 0; /* taken out */
  put_text(w, 0, edit->key);
  put_text(w, 1, edit->value);
  return 1;
}

/* The pairs, changed. Returns their count. */
static uint32_t put_pairs(writer *w, const pk_edits *e) {
  pairs p = context_of(e->data, e->frame);
  const uint8_t *from = p.at;
  uint32_t count = 0;
  pk_header one;
  while (next_pair(&p, &one) == PK_OK) {
    const pk_edit *edit = pk_edit_of(e, PK_EDIT_HEADER, one.key);
    if (edit == NULL) {
      put(w, from, (size_t)(p.at - from));
      count++;
    } else if (pk_edit_here(e, &one)) {
      count += put_pair(w, edit);
    }
    from = p.at;
  }
  for (uint32_t i = 0; i < e->count; i++)
    if (pk_edit_adds(e, &e->list[i])) count += put_pair(w, &e->list[i]);
  return count;
}

static void put_context(writer *w, const pk_edits *e) {
  writer nowhere = {NULL, 0, 0};
  uint32_t count = put_pairs(&nowhere, e);
  put_head(w, CONTEXT, MAP);
  put_number(w, 0, (int32_t)count);
  put_pairs(w, e);
}

static int edit(const pk_codec *c, const uint8_t *data, const pk_frame *f, const pk_edit *edits, uint32_t count,
                uint8_t *out, size_t cap) {
  pk_edits e = {c, data, f, edits, count};
  int headers = 0;
  pk_header old;
  pk_slice none = {NULL, 0};
  for (uint32_t i = 0; i < count; i++) {
    if (edits[i].what == PK_EDIT_VERSION || edits[i].what == PK_EDIT_GROUP) return PK_ERR_UNSUPPORTED;
    if (edits[i].what == PK_EDIT_HEADER) headers = 1;
    if (edits[i].what != PK_EDIT_HEADER && f->kind == PK_KIND_RESPONSE) return PK_ERR_UNSUPPORTED;
  }
  if (headers && header(c, data, f, (pk_slice){data, 0}, &old) < PK_OK) return PK_ERR_UNSUPPORTED;
  const pk_edit *service = pk_edit_of(&e, PK_EDIT_SERVICE, none), *method = pk_edit_of(&e, PK_EDIT_METHOD, none);
  const uint8_t *at = data + f->body, *end = data + f->size;
  writer w = {out, 0, cap};
  field one;
  put(&w, data, f->body);
  while (at < end && next_field(&at, end, 0, &one) == PK_OK) {
    if (headers && one.tag >= CONTEXT) put_context(&w, &e);
    if (one.tag == SERVANT && service != NULL) {
      put_text(&w, SERVANT, service->value);
    } else if (one.tag == FUNCTION && method != NULL) {
      put_text(&w, FUNCTION, method->value);
    } else if (!headers || one.tag != CONTEXT) {
      put(&w, one.at, (size_t)(at - one.at));
    }
    if (one.tag >= CONTEXT) headers = 0;
  }
  if (headers) put_context(&w, &e);
  return finish(&w);
}

static int splice_id(const pk_codec *c, const uint8_t *data, const pk_frame *f, const uint8_t *id, uint32_t id_size,
                     uint8_t *out, size_t cap) {
  static const uint8_t types[] = {ZERO, BYTE, SHORT, INT, INT};
  uint32_t after = f->id_span.at + f->id_span.size;
  uint32_t head = f->id_span.at - 1 - (f->id_span.size == 3); /* the 1 in front of three bytes */
  writer w = {out, 0, cap};
  (void)c;
  if (id_size > 4 || (id_size == 4 && id[0] == LEADS)) return PK_ERR_UNSUPPORTED;
  put(&w, data, head);
  put_head(&w, data[head] >> 4, types[id_size]);
  if (id_size == 3) put_byte(&w, LEADS);
  put(&w, id, id_size);
  put(&w, data + after, f->size - after);
  return finish(&w);
}

/* What the proxy says by itself. */

static int answer(uint32_t version, int32_t message_type, int32_t code, pk_slice text, uint8_t *out, size_t cap) {
  writer w = {out, 0, cap};
  put(&w, "\0\0\0\0", FRONT);
  put_number(&w, 1, version == JSON ? JSON : VERSION);
  put_number(&w, 2, 0);
  put_number(&w, 3, 1); /* the engine puts the id in */
  put_number(&w, 4, message_type);
  put_number(&w, RETURN, code);
  put_empty(&w, RESULT, BYTES);
  put_empty(&w, STATUS, MAP);
  put_text(&w, TEXT, text);
  put_empty(&w, CONTEXT, MAP);
  return finish(&w);
}

static int error(const pk_codec *c, const pk_reply *reply, uint8_t *out, size_t cap) {
  (void)c;
  return answer(reply->context, 0, code_of(reply->status), reply->text, out, cap);
}

static int heartbeat_ack(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint8_t *out, size_t cap) {
  (void)c, (void)data;
  return answer(f->context, PROBE, 0, (pk_slice){NULL, 0}, out, cap);
}

static int heartbeat(const pk_codec *c, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  writer w = {out, 0, cap};
  (void)c, (void)id, (void)key;
  put(&w, "\0\0\0\0", FRONT);
  put_number(&w, 1, VERSION);
  put_number(&w, 2, 0);
  put_number(&w, 3, PROBE);
  put_number(&w, 4, 1);
  put_text(&w, SERVANT, (pk_slice){NULL, 0});
  put_text(&w, FUNCTION, (pk_slice){(const uint8_t *)PING, sizeof PING - 1});
  put_empty(&w, ARGUMENTS, BYTES);
  put_number(&w, TIMEOUT, 0);
  put_empty(&w, CONTEXT, MAP);
  put_empty(&w, 10, MAP);
  return finish(&w);
}

static int drain(const pk_codec *c, const pk_reply *reply, uint8_t *out, size_t cap) {
  (void)c, (void)reply, (void)out, (void)cap;
  return 0; /* there is none */
}

const pk_codec tars_codec = {
    .abi = PK_CODEC_ABI,
    .size = sizeof(pk_codec),
    .name = "tars",
    .mode = PK_MODE_MULTIPLEXED,
    .id_bytes = 3,
    .id_max = 4,
    .id_form = PK_ID_RAW,
    .reply_max = 1024,
    .probe = probe,
    .frame = frame,
    .destination = destination,
    .next_header = next_header,
    .header = header,
    .heartbeat = heartbeat,
    .heartbeat_ack = heartbeat_ack,
    .drain = drain,
    .error = error,
    .edit = edit,
    .splice_id = splice_id,
};
