/* tr.c: TB Remoting (TR), as old SOFA and HSF1 speak it.
 *
 *   0      1     2      3       4         5            9             10            14
 *   0x0D | kind | codec | way | reserved | connection | class name | application | connection object,
 *                                          length (4)   length (1)   length (4)    class name, application
 *
 * kind: 0 request, 1 response; way: 1 one-way, 2 two-way. The id is not in the head: it is ctx.id of the
 * connection object, a long of variable width, so it is read and never rewritten (patch_id is NULL).
 *
 * Facts: captures in the tests of sofa-bolt-go, and their descriptions. The layout of an error, by which a
 * client finds its request again, is that of ConnectionResponse there; what numbers but 0 in `result` mean
 * is not known. */
#include "tr.h"

#include <string.h>

#include "object.h"

enum { MAGIC = 0x0d, HEAD = 14, HESSIAN1 = 1, HESSIAN_DRAFT = 4, TEXT_MAX = 512, FAILED = 1 };

static uint32_t at4(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int refuse(pk_frame *out, int result, uint32_t at) {
  out->error_at = at;
  return result;
}

static int probe(const pk_codec *codec, const uint8_t *data, size_t size) {
  (void)codec;
  if (size == 0) return PK_MORE;
  if (data[0] != MAGIC) return PK_ERR_MAGIC;
  if (size == 1) return PK_MORE;
  return data[1] <= 1 ? PK_OK : PK_ERR_MAGIC;
}

/* The id and, of a response, how it went. Objects in other codecs than Hessian cannot be read: their id
 * is 0, and such answers go to the requests without an id, in order. An answer in Hessian whose id cannot be read is
 * nobody's. */
static void connection_object(const uint8_t *data, pk_frame *out) {
  tr_field id = {.name = "id", .kind = TR_NUMBER};
  tr_field fields[] = {{.name = "ctx", .kind = TR_OBJECT, .inner = &id, .inner_count = 1},
                       {.name = "result", .kind = TR_NUMBER}};
  out->status = PK_STATUS_OK;
  if (data[2] != HESSIAN1 && data[2] != HESSIAN_DRAFT) return;
  if (tr_object(data + HEAD, at4(data + 5), fields, 2) != PK_OK || !id.found) {
    if (data[1] == 1) out->kind = PK_KIND_IGNORE;
    return;
  }
  out->id = (uint64_t)id.number;
  if (data[1] == 1 && fields[1].found && fields[1].number != 0) out->status = PK_STATUS_INTERNAL;
}

static int frame(const pk_codec *codec, const uint8_t *data, size_t size, uint32_t limit, pk_frame *out) {
  (void)codec;
  memset(out, 0, sizeof *out);
  if (data[0] != MAGIC) return refuse(out, PK_ERR_MAGIC, 0);
  if (size > 1 && data[1] > 1) return refuse(out, PK_ERR_MAGIC, 1);
  out->need = HEAD;
  if (limit < HEAD) return refuse(out, PK_ERR_LIMIT, 0);
  if (size < HEAD) return PK_MORE;
  uint32_t connection = at4(data + 5), application = at4(data + 10);
  if (connection > INT32_MAX) return refuse(out, PK_ERR_FORMAT, 5);
  if (application > INT32_MAX) return refuse(out, PK_ERR_FORMAT, 10);
  uint64_t total = (uint64_t)HEAD + connection + data[9] + application;
  out->size = (uint32_t)total;
  if (total > limit && connection > limit - HEAD) return refuse(out, PK_ERR_LIMIT, 5);
  out->need = total > limit ? HEAD + connection : out->size; /* whose frame it is that is too large */
  if (size < out->need) return PK_MORE;
  out->kind = data[1] == 1 ? PK_KIND_RESPONSE : data[3] == 1 ? PK_KIND_ONEWAY : PK_KIND_REQUEST;
  out->context = data[2];
  out->body = HEAD + connection + data[9];
  connection_object(data, out);
  if (total <= limit) return PK_OK;
  out->need = out->size;
  return refuse(out, PK_ERR_LIMIT, 10);
}

/* `interface:version[:uniqueId]`. */
static void split_service(pk_slice text, pk_destination *out) {
  pk_slice *parts[] = {&out->service, &out->version, &out->group};
  for (int i = 0; i < 3 && text.data != NULL; i++) {
    const uint8_t *colon = i < 2 && text.size > 0 ? memchr(text.data, ':', text.size) : NULL;
    uint32_t size = colon == NULL ? text.size : (uint32_t)(colon - text.data);
    *parts[i] = (pk_slice){text.data, size};
    text = colon == NULL ? (pk_slice){NULL, 0} : (pk_slice){colon + 1, text.size - size - 1};
  }
}

static int destination(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  (void)codec;
  tr_field fields[] = {{.name = "targetServiceUniqueName", .kind = TR_TEXT},
                       {.name = "methodName", .kind = TR_TEXT}};
  if (data[2] != HESSIAN1 && data[2] != HESSIAN_DRAFT) return PK_ERR_UNSUPPORTED;
  int result = tr_object(data + f->body, f->size - f->body, fields, 2);
  if (result != PK_OK) return result;
  if (!fields[0].found) return PK_ERR_UNSUPPORTED; /* a heartbeat, for example */
  split_service(fields[0].text, out);
  if (fields[1].found) out->method = fields[1].text;
  return PK_OK;
}

static int next_header(const pk_codec *codec, const uint8_t *data, const pk_frame *f, pk_cursor *cursor,
                       pk_header *out) {
  (void)codec, (void)data, (void)f, (void)cursor, (void)out;
  return PK_MORE;
}

/* A heartbeat is an ordinary request of a class of its own, which the server answers. */
static int heartbeat(const pk_codec *codec, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  (void)codec, (void)id, (void)key, (void)out, (void)cap;
  return 0;
}

static int heartbeat_ack(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint8_t *out,
                         size_t cap) {
  (void)codec, (void)data, (void)f, (void)out, (void)cap;
  return 0;
}

static int drain(const pk_codec *codec, const pk_reply *reply, uint8_t *out, size_t cap) {
  (void)codec, (void)reply, (void)out, (void)cap;
  return 0;
}

/* Error replies: a ConnectionResponse and no application object. */

typedef struct writer {
  uint8_t *at, *end;
  int full;
} writer;

static void put(writer *w, const void *data, size_t size) {
  if (size > (size_t)(w->end - w->at)) {
    w->full = 1;
    return;
  }
  memcpy(w->at, data, size);
  w->at += size;
}

static void put_number(writer *w, uint64_t value, uint32_t bytes) {
  uint8_t out[8];
  for (uint32_t i = 0; i < bytes; i++) out[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
  put(w, out, bytes);
}

/* As units of UTF-16, each alone: how Hessian writes texts. `out` holds 3 bytes for each of `size`; the
 * units. What is no whole character becomes a question mark. */
static uint32_t units_of(const uint8_t *text, size_t size, uint8_t *out, size_t *out_size) {
  uint32_t units = 0;
  size_t n = 0;
  for (size_t i = 0; i < size;) {
    uint8_t c = text[i];
    uint32_t width = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    for (uint32_t k = 1; k < width; k++)
      if (i + k >= size || (text[i + k] & 0xc0) != 0x80) width = 0;
    if (width == 4) {
      uint32_t code =
          ((c & 7u) << 18 | (text[i + 1] & 63u) << 12 | (text[i + 2] & 63u) << 6 | (text[i + 3] & 63u)) - 0x10000;
      const uint32_t pair[] = {0xd800 + (code >> 10 & 0x3ff), 0xdc00 + (code & 0x3ff)};
      for (int k = 0; k < 2; k++) {
        out[n++] = (uint8_t)(0xe0 | pair[k] >> 12);
        out[n++] = (uint8_t)(0x80 | (pair[k] >> 6 & 63));
        out[n++] = (uint8_t)(0x80 | (pair[k] & 63));
      }
      units += 2;
    } else {
      if (width == 0) out[n++] = '?';
      for (uint32_t k = 0; k < width; k++) out[n++] = text[i + k];
      units++;
    }
    i += width == 0 ? 1 : width;
  }
  *out_size = n;
  return units;
}

#define RESPONSE "com.taobao.remoting.impl.ConnectionResponse"
#define CONTEXT RESPONSE "$ResponseContext"
#define PUT(w, literal) put(w, literal, sizeof(literal) - 1)

static void put_long_text(writer *w, uint32_t units, const uint8_t *text, size_t size) {
  PUT(w, "S");
  put_number(w, units, 2);
  put(w, text, size);
}

/* A key of Hessian 1.0's maps, and the type in front of them. */
static void put_key(writer *w, const char *tag, const char *text) {
  put(w, tag, strlen(tag));
  put_number(w, strlen(text), 2);
  put(w, text, strlen(text));
}

static void response_as_map(writer *w, uint64_t id, uint32_t units, const uint8_t *text, size_t size) {
  put_key(w, "Mt", RESPONSE);
  put_key(w, "S", "host");
  PUT(w, "N");
  put_key(w, "S", "result");
  PUT(w, "I");
  put_number(w, FAILED, 4);
  put_key(w, "S", "errorMsg");
  put_long_text(w, units, text, size);
  put_key(w, "S", "errorStack");
  PUT(w, "N");
  put_key(w, "S", "ctx");
  put_key(w, "Mt", CONTEXT);
  put_key(w, "S", "id");
  PUT(w, "L");
  put_number(w, id, 8);
  put_key(w, "S", "this$0");
  PUT(w, "R\0\0\0\0zz"); /* the response itself */
}

static void response_as_object(writer *w, uint64_t id, uint32_t units, const uint8_t *text, size_t size) {
  PUT(w, "O\xbb" RESPONSE "\x95\x04" "host\x06" "result\x08" "errorMsg\x0a" "errorStack\x03" "ctx");
  PUT(w, "o\x90" "N"); /* class 0; no host */
  put_number(w, 0x90 + FAILED, 1);
  put_long_text(w, units, text, size);
  PUT(w, "N" "O\xc8\x3b" CONTEXT "\x92\x02" "id\x06" "this$0" "o\x91" "L");
  put_number(w, id, 8);
  PUT(w, "J\0"); /* the response itself */
}

static int error(const pk_codec *codec, const pk_reply *reply, uint8_t *out, size_t cap) {
  uint8_t units[3 * TEXT_MAX];
  size_t size;
  (void)codec;
  uint32_t count =
      units_of(reply->text.data, reply->text.size < TEXT_MAX ? reply->text.size : TEXT_MAX, units, &size);
  /* To a request in neither dialect, the older one: the frame says what it holds. */
  uint32_t dialect = (reply->context & 0xff) == HESSIAN_DRAFT ? HESSIAN_DRAFT : HESSIAN1;
  writer w = {out, out + cap, 0};
  put_number(&w, MAGIC, 1);
  put_number(&w, 1, 1);
  put_number(&w, dialect, 1);
  put_number(&w, 0, 2);
  put_number(&w, 0, 4); /* the object's length, when it is known */
  put_number(&w, 0, 5); /* no class, no application object */
  if (dialect == HESSIAN_DRAFT) {
    response_as_object(&w, reply->id, count, units, size);
  } else {
    response_as_map(&w, reply->id, count, units, size);
  }
  if (w.full) return PK_ERR_SPACE;
  writer length = {out + 5, out + 9, 0};
  put_number(&length, (uint64_t)(w.at - out) - HEAD, 4);
  return (int)(w.at - out);
}

const pk_codec pk_tr_codec = {.abi = PK_CODEC_ABI,
                              .size = sizeof(pk_codec),
                              .name = "tr",
                              .mode = PK_MODE_MULTIPLEXED,
                              .id_bytes = 8,
                              .reply_max = HEAD + 384 + 3 * TEXT_MAX,
                              .probe = probe,
                              .frame = frame,
                              .destination = destination,
                              .next_header = next_header,
                              .patch_id = NULL,
                              .heartbeat = heartbeat,
                              .heartbeat_ack = heartbeat_ack,
                              .drain = drain,
                              .error = error};
