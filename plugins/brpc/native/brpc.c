/* brpc.c: baidu_std.
 *
 *   0      4      8           12        12 + meta size
 *   | PRPC | size | meta size | RpcMeta | data | attachment |      sizes in big endian; size counts from 12 on
 *
 * RpcMeta is a protobuf message: request (1): service (1), method (2), extension fields (7), timeout in ms (8);
 * response (2): error code (1), error text (2); compression (3); correlation id (4); attachment size (5); chunk (6): a
 * message in several frames; user fields (9). Data and attachment are passed on as they are, compressed or not. */
#include "brpc.h"

#include <string.h>

#include <protokit/edits.h>

enum { FRONT = 12, SIZE = 4, META_SIZE = 8 };
enum { REQUEST = 1, RESPONSE = 2, COMPRESSION = 3, CORRELATION = 4, ATTACHMENT = 5, CHUNK = 6, USER_FIELDS = 9 };
enum { SERVICE = 1, METHOD = 2, EXTENSIONS = 7, TIMEOUT = 8 }; /* of the request */
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };      /* wire types */
enum { REQUEST_AT, REQUEST_SIZE, META_END };                   /* of pk_frame.own */

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* Reading protobuf. */

typedef struct field {
  uint64_t number;
  uint64_t value;    /* of a varint */
  const uint8_t *at; /* its tag's first byte */
  pk_slice body;     /* its bytes: of a text without the length */
  uint32_t type;
} field;

static int varint(const uint8_t **at, const uint8_t *end, uint64_t *out) {
  uint64_t value = 0;
  for (uint32_t shift = 0; *at < end && shift < 70; shift += 7) {
    uint8_t byte = *(*at)++;
    if (shift == 63 && byte > 1) return PK_ERR_FORMAT;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *out = value;
      return PK_OK;
    }
  }
  return PK_ERR_FORMAT;
}

/* The field in front. PK_MORE: there is none; PK_ERR_FORMAT: it is malformed, or a group. */
static int next_field(const uint8_t **at, const uint8_t *end, field *out) {
  uint64_t tag, size = 0;
  if (*at == end) return PK_MORE;
  out->at = *at;
  if (varint(at, end, &tag) != PK_OK || tag > 0xffffffffu || tag >> 3 == 0) return PK_ERR_FORMAT;
  out->number = tag >> 3;
  out->type = tag & 7;
  out->value = 0;
  const uint8_t *body = *at;
  if (out->type == VARINT) {
    if (varint(at, end, &out->value) != PK_OK) return PK_ERR_FORMAT;
    size = (uint64_t)(*at - body);
  } else {
    if (out->type == BYTES) {
      if (varint(at, end, &size) != PK_OK) return PK_ERR_FORMAT;
      body = *at;
    } else if (out->type == FIXED64 || out->type == FIXED32) {
      size = out->type == FIXED64 ? 8 : 4;
    } else {
      return PK_ERR_FORMAT;
    }
    if (size > (uint64_t)(end - body)) return PK_ERR_FORMAT;
    *at = body + size;
  }
  out->body = (pk_slice){body, (uint32_t)size};
  return PK_OK;
}

/* A varint in a message in the meta; the last of that number. PK_MORE: there is none. */
static int value_in(pk_slice message, uint64_t number, uint64_t *out) {
  const uint8_t *at = message.data, *end = at + message.size;
  field f;
  int result, found = PK_MORE;
  while ((result = next_field(&at, end, &f)) == PK_OK) {
    if (f.number != number) continue;
    if (f.type != VARINT) return PK_ERR_FORMAT;
    *out = f.value;
    found = PK_OK;
  }
  return result == PK_MORE ? found : result;
}

typedef struct dialect {
  uint64_t headers; /* the number of the messages that they stand in */
  int in_request;   /* of the request, else of the meta */
  int raises;       /* 2001 is what a method raised */
} dialect;

static const dialect in_brpc = {USER_FIELDS, 0, 0}, in_jprotobuf = {EXTENSIONS, 1, 1};

static uint8_t status_of(const dialect *form, uint64_t code) {
  switch (code) {
    case 0: return PK_STATUS_OK;
    case 1001:                             /* no service */
    case 1002: return PK_STATUS_NO_SERVICE; /* no method */
    case 1003: return PK_STATUS_BAD_REQUEST;
    case 1004: return PK_STATUS_DENIED;
    case 1008: return PK_STATUS_TIMEOUT;
    case 1009:                              /* the connection failed */
    case 2003: return PK_STATUS_UNAVAILABLE; /* the server stops */
    case 1011:                              /* too much waits to be written */
    case 2004: return PK_STATUS_OVERLOADED;  /* its limit is reached */
    case 2001: return form->raises ? PK_STATUS_APP_ERROR : PK_STATUS_INTERNAL;
    case 2002: return PK_STATUS_INTERNAL;    /* a bad answer */
    case 3000: return PK_STATUS_BAD_REQUEST; /* the data cannot be uncompressed */
    default: return PK_STATUS_APP_ERROR;     /* the service's own */
  }
}

static uint32_t code_of(uint32_t status) {
  switch (status) {
    case PK_STATUS_NO_SERVICE: return 1001;
    case PK_STATUS_BAD_REQUEST: return 1003;
    case PK_STATUS_DENIED: return 1004;
    case PK_STATUS_TIMEOUT: return 1008;
    case PK_STATUS_UNAVAILABLE: return 1009;
    case PK_STATUS_OVERLOADED: return 2004;
    default: return 2002; /* 2001 is also what a method raised */
  }
}

/* Framing. */

static int probe(const pk_codec *c, const uint8_t *data, size_t size) {
  (void)c;
  size_t seen = size < 4 ? size : 4;
  if (memcmp(data, "PRPC", seen) != 0) return PK_ERR_MAGIC;
  return seen == 4 ? PK_OK : PK_MORE;
}

static int wrong(pk_frame *f, const uint8_t *data, const uint8_t *at, int result) {
  f->error_at = (uint32_t)(at - data);
  return result;
}

/* The meta of a whole frame. A message that stands twice would be put together by who receives it, so that it says what
 * neither says: it is refused, as is a part of what comes in several frames. Where there is one id the caller is told. */
static int read_meta(const dialect *form, const uint8_t *data, uint32_t end_at, pk_frame *f) {
  const uint8_t *at = data + FRONT, *end = data + end_at, *bad = NULL;
  pk_slice request = {NULL, 0}, response = {NULL, 0};
  uint64_t code = 0;
  pk_span id = {PK_NO_ID, 0};
  int unsupported = 0, result;
  field one;
  while ((result = next_field(&at, end, &one)) == PK_OK) {
    if (one.number == CORRELATION) {
      if (one.type != VARINT || id.at != PK_NO_ID) return wrong(f, data, one.at, PK_ERR_FORMAT);
      id = (pk_span){(uint32_t)(one.body.data - data), one.body.size};
    } else if (one.number == REQUEST || one.number == RESPONSE) {
      pk_slice *message = one.number == REQUEST ? &request : &response;
      if (bad == NULL && (one.type != BYTES || message->data != NULL)) bad = one.at;
      *message = one.body;
    } else if (one.number == CHUNK && bad == NULL) {
      bad = one.at;
      unsupported = 1;
    }
  }
  if (result != PK_MORE) return wrong(f, data, one.at, PK_ERR_FORMAT);
  if (id.at == PK_NO_ID) return wrong(f, data, end, PK_ERR_FORMAT);
  f->id_span = id;
  f->kind = response.data != NULL ? PK_KIND_RESPONSE : PK_KIND_REQUEST;
  if (bad == NULL && request.data == NULL && response.data == NULL) bad = data + FRONT;
  if (bad == NULL && response.data != NULL && value_in(response, 1, &code) < PK_OK) bad = response.data;
  if (bad != NULL) return wrong(f, data, bad, unsupported ? PK_ERR_UNSUPPORTED : PK_ERR_FORMAT);
  f->status = f->kind == PK_KIND_RESPONSE ? status_of(form, code) : 0;
  f->own[REQUEST_AT] = request.data == NULL ? 0 : (uint32_t)(request.data - data);
  f->own[REQUEST_SIZE] = request.size;
  f->own[META_END] = f->body = end_at;
  return PK_OK;
}

static int frame(const pk_codec *c, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  for (uint32_t i = 0; i < size && i < 4; i++)
    if (data[i] != "PRPC"[i]) return wrong(f, data, data + i, PK_ERR_MAGIC);
  if (size < FRONT) {
    f->need = size < 4 ? (uint32_t)size + 1 : FRONT;
    return PK_MORE;
  }
  uint32_t rest = get32(data + SIZE), meta = get32(data + META_SIZE);
  if (meta > rest) return wrong(f, data, data + META_SIZE, PK_ERR_FORMAT);
  int over = limit < FRONT || rest > limit - FRONT;
  if (over && (limit < FRONT || meta > limit - FRONT)) return wrong(f, data, data + SIZE, PK_ERR_LIMIT);
  f->need = FRONT + (over ? meta : rest); /* of what is too large the id alone is read, so that its sender is told */
  if (size < f->need) return PK_MORE;
  int result = read_meta(c->user, data, FRONT + meta, f);
  if (over && result == PK_OK) {
    f->error_at = SIZE;
    f->need = f->size = rest > UINT32_MAX - FRONT ? UINT32_MAX : FRONT + rest;
    return PK_ERR_LIMIT;
  }
  f->size = FRONT + rest;
  return result;
}

/* What a request says. */

static pk_slice request_of(const uint8_t *data, const pk_frame *f) {
  return (pk_slice){data + f->own[REQUEST_AT], f->own[REQUEST_SIZE]};
}

static int destination(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  pk_slice request = request_of(data, f);
  const uint8_t *at = request.data, *end = at + request.size;
  field one;
  int result;
  (void)c;
  while ((result = next_field(&at, end, &one)) == PK_OK) {
    if (one.number == SERVICE || one.number == METHOD) {
      if (one.type != BYTES) return PK_ERR_FORMAT;
      *(one.number == SERVICE ? &out->service : &out->method) = one.body;
    } else if (one.number == TIMEOUT) {
      if (one.type != VARINT) return PK_ERR_FORMAT;
      out->timeout_ms = one.value > INT32_MAX ? 0 : (uint32_t)one.value; /* below zero: none */
    }
  }
  return result == PK_MORE ? PK_OK : result;
}

/* Headers: pairs of a key (1) and a value (2), each in a message of one number. */

/* The message whose fields are headers; none where it is not there, or an answer repeats its request. */
static pk_slice holder(const pk_codec *c, const uint8_t *data, const pk_frame *f) {
  const dialect *form = c->user;
  if (!form->in_request) return (pk_slice){data + FRONT, f->own[META_END] - FRONT};
  return f->kind == PK_KIND_RESPONSE ? (pk_slice){data, 0} : request_of(data, f);
}

static int pair(pk_slice message, pk_header *out) {
  const uint8_t *at = message.data, *end = at + message.size;
  field one;
  int result;
  *out = (pk_header){{at, 0}, {at, 0}, 0}; /* what is left out is empty */
  while ((result = next_field(&at, end, &one)) == PK_OK) {
    if (one.number > 2) continue;
    if (one.type != BYTES) return PK_ERR_FORMAT;
    *(one.number == 1 ? &out->key : &out->value) = one.body;
  }
  return result == PK_MORE ? PK_OK : result;
}

/* The header in front; PK_MORE: there is none, and the rest of the message is well formed. */
static int next_pair(const dialect *form, const uint8_t **at, const uint8_t *end, pk_header *out) {
  field one;
  int result;
  while ((result = next_field(at, end, &one)) == PK_OK)
    if (one.number == form->headers) return one.type == BYTES ? pair(one.body, out) : PK_ERR_FORMAT;
  return result;
}

static int next_header(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_cursor *cursor,
                       pk_header *out) {
  pk_slice in = holder(c, data, f);
  const uint8_t *at = in.data + cursor->at;
  int result = next_pair(c->user, &at, in.data + in.size, out);
  cursor->at = (uint32_t)(at - in.data);
  return result;
}

static int header(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_slice key, pk_header *out) {
  pk_slice in = holder(c, data, f);
  const uint8_t *at = in.data;
  pk_header one;
  int result, found = PK_MORE;
  while ((result = next_pair(c->user, &at, in.data + in.size, &one)) == PK_OK) {
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
  if (w->out != NULL && size > 0 && w->size <= w->cap && size <= w->cap - w->size) memcpy(w->out + w->size, data, size);
  w->size += size;
}

static void put_varint(writer *w, uint64_t value) {
  uint8_t byte;
  do {
    byte = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    put(w, &byte, 1);
    value >>= 7;
  } while (value > 0);
}

static void put_text(writer *w, uint64_t number, pk_slice text) {
  put_varint(w, number << 3 | BYTES);
  put_varint(w, text.size);
  put(w, text.data, text.size);
}

static void put_number(writer *w, uint64_t number, uint64_t value) {
  put_varint(w, number << 3 | VARINT);
  put_varint(w, value);
}

static uint32_t measure(void (*write)(writer *, const void *), const void *what) {
  writer w = {NULL, 0, 0};
  write(&w, what);
  return (uint32_t)w.size;
}

/* A message in a field: its length stands in front of it. */
static void put_message(writer *w, uint64_t number, void (*write)(writer *, const void *), const void *what) {
  put_varint(w, number << 3 | BYTES);
  put_varint(w, measure(write, what));
  write(w, what);
}

static int finish(writer *w, uint32_t meta) {
  if (w->size > w->cap || w->size > INT32_MAX) return PK_ERR_SPACE;
  put32(w->out + SIZE, (uint32_t)w->size - FRONT);
  put32(w->out + META_SIZE, meta);
  return (int)w->size;
}

/* Edits. */

static void write_pair(writer *w, const void *what) {
  const pk_edit *e = what;
  put_text(w, 1, e->key);
  put_text(w, 2, e->value);
}

static void put_pair(writer *w, const pk_edits *e, const pk_edit *edit) {
  const dialect *form = e->codec->user;
  if (edit->value.data != NULL) put_message(w, form->headers, write_pair, edit);
}

/* A header that stands there: as it is, changed, or gone. */
static void put_old(writer *w, const pk_edits *e, const field *one, const uint8_t *end) {
  pk_header old;
  pair(one->body, &old);
  const pk_edit *edit = pk_edit_of(e, PK_EDIT_HEADER, old.key);
  if (edit == NULL) {
    put(w, one->at, (size_t)(end - one->at));
  } else if (pk_edit_here(e, &old)) {
    put_pair(w, e, edit);
  }
}

static void put_new(writer *w, const pk_edits *e) {
  for (uint32_t i = 0; i < e->count; i++)
    if (pk_edit_adds(e, &e->list[i])) put_pair(w, e, &e->list[i]);
}

static void write_request(writer *w, const void *what) {
  const pk_edits *e = what;
  const dialect *form = e->codec->user;
  pk_slice request = request_of(e->data, e->frame), none = {NULL, 0};
  const uint8_t *at = request.data, *end = at + request.size;
  const pk_edit *service = pk_edit_of(e, PK_EDIT_SERVICE, none), *method = pk_edit_of(e, PK_EDIT_METHOD, none);
  int services = 0, methods = 0;
  field one;
  while (next_field(&at, end, &one) == PK_OK) {
    if (service != NULL && one.number == SERVICE) {
      if (services++ == 0) put_text(w, SERVICE, service->value);
    } else if (method != NULL && one.number == METHOD) {
      if (methods++ == 0) put_text(w, METHOD, method->value);
    } else if (form->in_request && one.number == form->headers) {
      put_old(w, e, &one, at);
    } else {
      put(w, one.at, (size_t)(at - one.at));
    }
  }
  if (service != NULL && services == 0) put_text(w, SERVICE, service->value);
  if (method != NULL && methods == 0) put_text(w, METHOD, method->value);
  if (form->in_request) put_new(w, e);
}

static int edit(const pk_codec *c, const uint8_t *data, const pk_frame *f, const pk_edit *edits, uint32_t count,
                uint8_t *out, size_t cap) {
  const dialect *form = c->user;
  pk_edits e = {c, data, f, edits, count};
  int request = 0, headers = 0;
  pk_destination found = {0};
  pk_header old;
  for (uint32_t i = 0; i < count; i++) {
    if (edits[i].what == PK_EDIT_VERSION || edits[i].what == PK_EDIT_GROUP) return PK_ERR_UNSUPPORTED;
    if (edits[i].what == PK_EDIT_HEADER) headers = 1;
    if (edits[i].what != PK_EDIT_HEADER || form->in_request) request = 1;
  }
  if (request && f->kind == PK_KIND_RESPONSE) return PK_ERR_UNSUPPORTED;
  if (request && destination(c, data, f, &found) != PK_OK) return PK_ERR_UNSUPPORTED;
  if (headers && header(c, data, f, (pk_slice){data, 0}, &old) < PK_OK) return PK_ERR_UNSUPPORTED;
  const uint8_t *at = data + FRONT, *end = data + f->own[META_END];
  writer w = {out, 0, cap};
  field one;
  put(&w, data, FRONT);
  while (next_field(&at, end, &one) == PK_OK) {
    if (request && one.number == REQUEST) {
      put_message(&w, REQUEST, write_request, &e);
    } else if (headers && !form->in_request && one.number == form->headers) {
      put_old(&w, &e, &one, at);
    } else {
      put(&w, one.at, (size_t)(at - one.at));
    }
  }
  if (headers && !form->in_request) put_new(&w, &e);
  uint32_t meta = (uint32_t)w.size - FRONT;
  put(&w, end, f->size - f->own[META_END]);
  return finish(&w, meta);
}

static int splice_id(const pk_codec *c, const uint8_t *data, const pk_frame *f, const uint8_t *id, uint32_t id_size,
                     uint8_t *out, size_t cap) {
  uint32_t after = f->id_span.at + f->id_span.size, meta = get32(data + META_SIZE);
  const uint8_t *at = id;
  writer w = {out, 0, cap};
  uint64_t value;
  (void)c;
  if (varint(&at, id + id_size, &value) != PK_OK || at != id + id_size) return PK_ERR_UNSUPPORTED;
  put(&w, data, f->id_span.at);
  put(&w, id, id_size);
  put(&w, data + after, f->size - after);
  return finish(&w, meta - f->id_span.size + id_size);
}

/* What the proxy says by itself. */

static void write_response(writer *w, const void *what) {
  const pk_reply *reply = what;
  put_number(w, 1, code_of(reply->status));
  put_text(w, 2, reply->text);
}

/* As jprotobuf-rpc answers: its request, and what is nought is written. */
static int error(const pk_codec *c, const pk_reply *reply, uint8_t *out, size_t cap) {
  writer w = {out, 0, cap};
  (void)c;
  put(&w, "PRPC\0\0\0\0\0\0\0\0", FRONT);
  put(&w, reply->kept.data, reply->kept.size);
  put_message(&w, RESPONSE, write_response, reply);
  put_number(&w, COMPRESSION, 0);
  put_number(&w, CORRELATION, 0); /* the engine puts the id in */
  put_number(&w, ATTACHMENT, 0);
  return finish(&w, (uint32_t)w.size - FRONT);
}

/* The request, which its answer repeats; nothing where it is too long. */
static int keep(const pk_codec *c, const uint8_t *data, size_t size, const pk_frame *f, uint8_t *out, size_t cap) {
  writer w = {out, 0, cap};
  (void)c;
  if (f->own[REQUEST_AT] == 0 || f->own[META_END] > size) return 0;
  put_text(&w, REQUEST, request_of(data, f));
  return w.size > cap ? 0 : (int)w.size;
}

static int no_heartbeat(const pk_codec *c, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  (void)c, (void)id, (void)key, (void)out, (void)cap;
  return 0;
}

static int no_ack(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint8_t *out, size_t cap) {
  (void)c, (void)data, (void)f, (void)out, (void)cap;
  return 0;
}

static int no_drain(const pk_codec *c, const pk_reply *reply, uint8_t *out, size_t cap) {
  (void)c, (void)reply, (void)out, (void)cap;
  return 0;
}

#define BAIDU_STD(NAME, FORM)                                                                                      \
  {.abi = PK_CODEC_ABI, .size = sizeof(pk_codec), .name = NAME, .user = &FORM,    .mode = PK_MODE_MULTIPLEXED,     \
   .id_bytes = 8, .id_max = 10, .id_form = PK_ID_VARINT, .reply_max = 1024, .probe = probe, .frame = frame,        \
   .destination = destination, .next_header = next_header, .header = header, .heartbeat = no_heartbeat,            \
   .heartbeat_ack = no_ack, .keep_max = PK_KEEP_MAX, .keep = keep, .drain = no_drain, .error = error, .edit = edit, .splice_id = splice_id}

const pk_codec brpc_codec = BAIDU_STD("brpc", in_brpc);
const pk_codec jprotobuf_codec = BAIDU_STD("jprotobuf", in_jprotobuf);
