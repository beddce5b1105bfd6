/* dubbo.c: frames of Dubbo 2.0.2, as spoken by Apache Dubbo 2.5 to 3.3.
 *
 *    0        2      3        4            12          16
 *   +--------+------+--------+------------+-----------+------------------+
 *   | DA BB  | flag | status | request id | body size | body             |
 *   +--------+------+--------+------------+-----------+------------------+
 *     flag: 0x80 request, 0x40 two-way, 0x20 event, low five bits the serialization.
 *     The size is a signed int and leaves out these 16 bytes. A negative one, or one over the limit,
 *     is refused at once: a Java server would neither answer it nor close. */
#include "dubbo.h"

#include <string.h>

#include "request.h"

enum { FLAG_REQUEST = 0x80, FLAG_TWOWAY = 0x40, FLAG_EVENT = 0x20, SERIALIZATION = 0x1f };
enum { MAX_EVENT = 1024, REPLY_MAX = 1024 };

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* One store each, however many stand side by side. */
static void put32(uint8_t *p, uint32_t v) {
  v = __builtin_bswap32(v);
  memcpy(p, &v, sizeof v);
}

static uint64_t get64(const uint8_t *p) { return (uint64_t)get32(p) << 32 | get32(p + 4); }

static void put64(uint8_t *p, uint64_t v) {
  v = __builtin_bswap64(v);
  memcpy(p, &v, sizeof v);
}

static int probe(const pk_codec *codec, const uint8_t *data, size_t size) {
  (void)codec;
  if (size == 0) return PK_MORE;
  if (data[0] != 0xda) return PK_ERR_MAGIC;
  if (size == 1) return PK_MORE;
  return data[1] == 0xbb ? PK_OK : PK_ERR_MAGIC;
}

/* An event of one letter ('R' read-only, 'W' writeable), in any serialization: the string's length
 * (or fastjson2's tag for length 1, or JSON's quote) and the letter stand last. */
static uint8_t event_letter(const uint8_t *body, uint32_t size) {
  while (size > 0 && body[size - 1] == '\n') size--;
  if (size >= 3 && body[size - 1] == '"' && body[size - 3] == '"') return body[size - 2];
  if (size >= 2 && size <= 15 && (body[size - 2] == 0x01 || body[size - 2] == 0x4a))
    return body[size - 1];
  return 0;
}

static uint8_t event_kind(const uint8_t *data, uint32_t size) {
  uint8_t flag = data[2];
  if (!(flag & FLAG_REQUEST)) return PK_KIND_HEARTBEAT_ACK;
  switch (event_letter(data + DUBBO_HEADER, size - DUBBO_HEADER)) {
    case 'R': return PK_KIND_DRAIN;
    case 'W': return PK_KIND_UNDRAIN;
    default: return flag & FLAG_TWOWAY ? PK_KIND_HEARTBEAT : PK_KIND_IGNORE;
  }
}

/* Whether the body of an answer with status 20 says that the service threw. */
static int is_exception(const uint8_t *body, uint32_t size, uint32_t serialization) {
  uint8_t type = 0xff;
  if (serialization == SERIALIZATION_HESSIAN2 || serialization == SERIALIZATION_NATIVE_HESSIAN) {
    if (size >= 1) type = (uint8_t)(body[0] - 0x90);
  } else if (serialization == SERIALIZATION_FASTJSON2) {
    if (size >= 6 && get32(body) == 2 && body[4] == 0xbd) type = body[5];
    if (size >= 5 && get32(body) == 1) type = body[4];
  }
  return type == 0 || type == 3;
}

static uint8_t status_of(uint8_t status) {
  switch (status) {
    case 30: case 31: return PK_STATUS_TIMEOUT;
    case 35: return PK_STATUS_UNAVAILABLE;
    case 40: return PK_STATUS_BAD_REQUEST;
    case 60: return PK_STATUS_NO_SERVICE;
    case 100: return PK_STATUS_OVERLOADED;
    default: return PK_STATUS_INTERNAL;
  }
}

static int frame(const pk_codec *codec, const uint8_t *data, size_t size, uint32_t limit,
                 pk_frame *out) {
  (void)codec;
  if (data[0] != 0xda || (size > 1 && data[1] != 0xbb)) {
    out->error_at = data[0] == 0xda;
    return PK_ERR_MAGIC;
  }
  if (size < DUBBO_HEADER) {
    out->need = DUBBO_HEADER;
    return PK_MORE;
  }
  uint8_t flag = data[2];
  uint32_t length = get32(data + 12);
  out->size = DUBBO_HEADER + length; /* wraps only where it is refused */
  out->id = get64(data + 4);
  out->context = flag & SERIALIZATION;
  out->body = DUBBO_HEADER;
  out->kind = !(flag & FLAG_REQUEST) ? PK_KIND_RESPONSE
              : flag & FLAG_TWOWAY   ? PK_KIND_REQUEST
                                     : PK_KIND_ONEWAY;
  if (flag & FLAG_EVENT) out->kind = PK_KIND_IGNORE;
  if (length > INT32_MAX || length + DUBBO_HEADER > limit || (flag & FLAG_EVENT && length > MAX_EVENT)) {
    out->error_at = 12;
    out->need = out->size;
    return length > INT32_MAX ? PK_ERR_FORMAT : PK_ERR_LIMIT;
  }
  if (out->size > size) {
    out->need = out->size;
    return PK_MORE;
  }
  if (flag & FLAG_EVENT) {
    out->kind = event_kind(data, out->size);
  } else if (out->kind == PK_KIND_RESPONSE) {
    out->status = data[3] != DUBBO_STATUS_OK ? status_of(data[3])
                  : is_exception(data + DUBBO_HEADER, length, out->context) ? PK_STATUS_APP_ERROR
                                                                            : PK_STATUS_OK;
  }
  return PK_OK;
}

static void patch_id(const pk_codec *codec, uint8_t *data, const pk_frame *f, uint64_t id) {
  (void)codec;
  (void)f;
  put64(data + 4, id);
}

static void header(uint8_t *out, uint8_t flag, uint8_t status, uint64_t id, uint32_t length) {
  out[0] = 0xda;
  out[1] = 0xbb;
  out[2] = flag;
  out[3] = status;
  put64(out + 4, id);
  put32(out + 12, length);
}

static int heartbeat(const pk_codec *codec, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  (void)codec;
  (void)key;
  if (cap < DUBBO_HEADER + 1) return PK_ERR_SPACE;
  header(out, FLAG_REQUEST | FLAG_TWOWAY | FLAG_EVENT | SERIALIZATION_HESSIAN2, 0, id, 1);
  out[DUBBO_HEADER] = 'N';
  return DUBBO_HEADER + 1;
}

/* The same serialization and body back: each has its own way to write null. */
static int heartbeat_ack(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint8_t *out,
                         size_t cap) {
  (void)codec;
  if (cap < f->size) return PK_ERR_SPACE;
  memcpy(out, data, f->size);
  header(out, (uint8_t)(FLAG_EVENT | (data[2] & SERIALIZATION)), DUBBO_STATUS_OK, f->id,
         f->size - DUBBO_HEADER);
  return (int)f->size;
}

static int drain(const pk_codec *codec, const pk_reply *reply, uint8_t *out, size_t cap) {
  static const uint8_t hessian2[] = {0x01, 'R'}, jsonb[] = {0, 0, 0, 2, 0x4a, 'R'};
  int json = reply->context == SERIALIZATION_FASTJSON2;
  const uint8_t *body = json ? jsonb : hessian2;
  uint32_t length = json ? sizeof jsonb : sizeof hessian2;
  (void)codec;
  if (cap < DUBBO_HEADER + length) return PK_ERR_SPACE;
  uint8_t serialization = json ? SERIALIZATION_FASTJSON2 : SERIALIZATION_HESSIAN2;
  header(out, (uint8_t)(FLAG_REQUEST | FLAG_EVENT | serialization), 0, 0, length);
  memcpy(out + DUBBO_HEADER, body, length);
  return (int)(DUBBO_HEADER + length);
}

static uint8_t wire_status(uint32_t status) {
  switch (status) {
    case PK_STATUS_NO_SERVICE: return 60;
    case PK_STATUS_BAD_REQUEST: return 40;
    case PK_STATUS_TIMEOUT: return 31;
    case PK_STATUS_OVERLOADED: return 100;
    case PK_STATUS_DENIED: return 70;
    default: return 80;
  }
}

/* A status other than 20 with one string, in the request's own serialization where every Java peer
 * can read that, else in hessian2, which all have. */
static int error(const pk_codec *codec, const pk_reply *reply, uint8_t *out, size_t cap) {
  (void)codec;
  if (cap < REPLY_MAX) return PK_ERR_SPACE;
  uint8_t serialization = reply->context == SERIALIZATION_FASTJSON2        ? SERIALIZATION_FASTJSON2
                          : reply->context == SERIALIZATION_NATIVE_HESSIAN ? SERIALIZATION_NATIVE_HESSIAN
                                                                    : SERIALIZATION_HESSIAN2;
  const layout *l = dubbo_layout(serialization);
  writer w = {.at = out + DUBBO_HEADER, .end = out + cap};
  l->put_text(&w, reply->text);
  uint32_t length = (uint32_t)(w.at - out) - DUBBO_HEADER;
  header(out, serialization, wire_status(reply->status), reply->id, length);
  return (int)(DUBBO_HEADER + length);
}

const pk_codec pk_dubbo_codec = {
    .abi = PK_CODEC_ABI,
    .size = sizeof(pk_codec),
    .name = "dubbo",
    .mode = PK_MODE_MULTIPLEXED,
    .id_bytes = 8,
    .reply_max = REPLY_MAX,
    .probe = probe,
    .frame = frame,
    .destination = dubbo_destination,
    .next_header = dubbo_next_header,
    .patch_id = patch_id,
    .heartbeat = heartbeat,
    .heartbeat_ack = heartbeat_ack,
    .drain = drain,
    .error = error,
    .edit = dubbo_edit,
    .header = dubbo_header,
    .argument = dubbo_argument,
    .inside = dubbo_inside,
    .budget = dubbo_budget,
    .headers = dubbo_headers,
    .destination_headers = dubbo_destination_headers,
};
