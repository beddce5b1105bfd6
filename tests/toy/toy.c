/* toy.c: a protocol for the engine's tests, in kinds: ids of 8 bytes, ids of 1 byte, no ids (answers in
 * order), no ids (one at a time); ids of 8 bytes with another first byte (7D), built with a header of before
 * greetings; with a greeting that the client begins, with one that the server begins; one whose ids must stay;
 * ids that are byte strings, with their size in front (one byte); ids of 2 bytes; and three whose frames can be changed.
 *
 *   7E | kind | status | id (8, 2, 1 or 0 bytes) | body size, 2 bytes | body
 *
 * kind and status are PK_KIND_* and PK_STATUS_*; 80 in the status: more of it follows. A request's body is "service method rest". */
#include <protokit/codec.h>
#include <string.h>

/* The first byte: the codec's constant. */
static uint8_t start(const pk_codec *c) { return *(const uint8_t *)c->user; }

static uint32_t front(const pk_codec *c) { return 3 + (c->id_max > 0 ? 1 : c->id_bytes) + 2; }

static int probe(const pk_codec *c, const uint8_t *data, size_t size) {
  if (size == 0) return PK_MORE;
  if (data[0] != start(c)) return PK_ERR_MAGIC;
  if (size == 1) return PK_MORE; /* two bytes, so that detection has something to wait for */
  return data[1] >= 1 && data[1] <= PK_KIND_PIECE ? PK_OK : PK_ERR_MAGIC;
}

static int frame(const pk_codec *c, const uint8_t *data, size_t size, uint32_t limit, pk_frame *f) {
  if (data[0] != start(c) || (size > 1 && (data[1] < 1 || data[1] > PK_KIND_PIECE))) {
    f->error_at = data[0] == start(c);
    return PK_ERR_MAGIC;
  }
  if (size < front(c)) {
    f->need = front(c);
    return PK_MORE;
  }
  uint32_t head = front(c) + (c->id_max > 0 ? data[3] : 0);
  if (c->id_max > 0 && data[3] > c->id_max) {
    f->error_at = 3;
    return PK_ERR_FORMAT;
  }
  if (size < head) {
    f->need = head;
    return PK_MORE;
  }
  f->kind = data[1];
  f->status = data[2] & 0x7f;
  f->says = data[2] & 0x80 ? PK_SAYS_MORE : 0;
  if (c->id_max > 0) {
    f->id_span = (pk_span){4, data[3]};
  } else {
    for (uint32_t i = 0; i < c->id_bytes; i++) f->id = f->id << 8 | data[3 + i];
  }
  f->body = head;
  f->size = head + ((uint32_t)data[head - 2] << 8 | data[head - 1]);
  if (f->size > limit) {
    f->error_at = head - 2;
    f->need = f->size;
    return PK_ERR_LIMIT;
  }
  f->need = f->size;
  return f->size <= size ? PK_OK : PK_MORE;
}

static int destination(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_destination *out) {
  const uint8_t *p = data + f->body, *end = data + f->size;
  (void)c;
  const uint8_t *a = memchr(p, ' ', (size_t)(end - p));
  if (a == NULL) return PK_ERR_FORMAT;
  const uint8_t *b = memchr(a + 1, ' ', (size_t)(end - a - 1));
  if (b == NULL) return PK_ERR_FORMAT;
  out->service = (pk_slice){p, (uint32_t)(a - p)};
  out->method = (pk_slice){a + 1, (uint32_t)(b - a - 1)};
  return PK_OK;
}

/* Of those whose frames can be changed a request's third word. */
static int next_header(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_cursor *k, pk_header *out) {
  pk_destination to;
  if (c->edit == NULL || k->at++ > 0 || f->kind == PK_KIND_RESPONSE || destination(c, data, f, &to) != PK_OK) return PK_MORE;
  const uint8_t *at = to.method.data + to.method.size + 1, *end = data + f->size;
  const uint8_t *stop = memchr(at, ' ', (size_t)(end - at));
  out->key = (pk_slice){(const uint8_t *)"token", 5};
  out->value = (pk_slice){at, (uint32_t)((stop == NULL ? end : stop) - at)};
  return PK_OK;
}

static void patch_id(const pk_codec *c, uint8_t *data, const pk_frame *f, uint64_t id) {
  (void)f;
  for (uint32_t i = 0; i < c->id_bytes; i++) data[3 + i] = (uint8_t)(id >> (8 * (c->id_bytes - 1 - i)));
}

static int splice_id(const pk_codec *c, const uint8_t *data, const pk_frame *f, const uint8_t *id, uint32_t id_size,
                     uint8_t *out, size_t cap) {
  uint32_t behind = f->size - 4 - f->id_span.size;
  if (id_size > c->id_max) return PK_ERR_UNSUPPORTED;
  if (cap < 4 + id_size + behind) return PK_ERR_SPACE;
  memcpy(out, data, 3);
  out[3] = (uint8_t)id_size;
  memcpy(out + 4, id, id_size);
  memcpy(out + 4 + id_size, data + 4 + f->id_span.size, behind);
  return (int)(4 + id_size + behind);
}

static int build(const pk_codec *c, uint8_t kind, uint32_t status, uint64_t id, const char *text,
                 size_t size, uint8_t *out, size_t cap) {
  if (cap < front(c) + size) return PK_ERR_SPACE;
  out[0] = start(c);
  out[1] = kind;
  out[2] = (uint8_t)status;
  if (c->id_max > 0) {
    out[3] = 0;
  } else {
    patch_id(c, out, NULL, id);
  }
  out[front(c) - 2] = (uint8_t)(size >> 8);
  out[front(c) - 1] = (uint8_t)size;
  memcpy(out + front(c), text, size);
  return (int)(front(c) + size);
}

static int heartbeat(const pk_codec *c, uint64_t id, uint32_t key, uint8_t *out, size_t cap) {
  (void)key;
  return build(c, PK_KIND_HEARTBEAT, 0, id, "", 0, out, cap);
}

static int heartbeat_ack(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint8_t *out, size_t cap) {
  return build(c, PK_KIND_HEARTBEAT_ACK, 0, f->id, (const char *)data + f->body, f->size - f->body, out, cap);
}

static int drain(const pk_codec *c, const pk_reply *reply, uint8_t *out, size_t cap) {
  (void)reply;
  return build(c, PK_KIND_DRAIN, 0, 0, "", 0, out, cap);
}

static int error(const pk_codec *c, const pk_reply *reply, uint8_t *out, size_t cap) {
  return build(c, PK_KIND_RESPONSE, reply->status, reply->id, (const char *)reply->text.data, reply->text.size, out, cap);
}

/* Ids that are only read: replies have what was kept. */
static int keep_id(const pk_codec *c, const uint8_t *data, size_t size, const pk_frame *f, uint8_t *out, size_t cap) {
  (void)c, (void)size;
  if (f->id_span.at == PK_NO_ID || f->id_span.size > cap) return 0;
  memcpy(out, data + f->id_span.at, f->id_span.size);
  return (int)f->id_span.size;
}

static int echo(const pk_codec *c, uint8_t kind, uint32_t status, pk_slice id, pk_slice text, uint8_t *out, size_t cap) {
  uint32_t size = 6 + id.size + text.size;
  if (cap < size) return PK_ERR_SPACE;
  out[0] = *(const uint8_t *)c->user;
  out[1] = kind;
  out[2] = (uint8_t)status;
  out[3] = (uint8_t)id.size;
  if (id.size > 0) memcpy(out + 4, id.data, id.size);
  out[4 + id.size] = (uint8_t)(text.size >> 8);
  out[5 + id.size] = (uint8_t)text.size;
  if (text.size > 0) memcpy(out + 6 + id.size, text.data, text.size);
  return (int)size;
}

static int echoed_error(const pk_codec *c, const pk_reply *r, uint8_t *out, size_t cap) {
  return echo(c, PK_KIND_RESPONSE, r->status, r->kept, r->text, out, cap);
}

static int echoed_ack(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint8_t *out, size_t cap) {
  pk_slice id = {data + f->id_span.at, f->id_span.size}, text = {data + f->body, f->size - f->body};
  return echo(c, PK_KIND_HEARTBEAT_ACK, 0, id, text, out, cap);
}

static int wrong_ack(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint8_t *out, size_t cap) {
  static const uint8_t id[] = "0";
  return echo(c, PK_KIND_HEARTBEAT_ACK, 0, (pk_slice){id, 1}, (pk_slice){data + f->body, f->size - f->body}, out, cap);
}

/* Its replies are another's. */
static int wrong_error(const pk_codec *c, const pk_reply *r, uint8_t *out, size_t cap) {
  static const uint8_t id[] = "0";
  return echo(c, PK_KIND_RESPONSE, r->status, (pk_slice){id, 1}, r->text, out, cap);
}

/* It writes nothing, and says no error. */
static int no_edit(const pk_codec *c, const uint8_t *data, const pk_frame *f, const pk_edit *edits, uint32_t count, uint8_t *out,
                   size_t cap) {
  (void)c, (void)data, (void)f, (void)edits, (void)count, (void)out, (void)cap;
  return 0;
}

/* Headers are written behind the body, " value": who sees one twice knows that it was written twice. */
static int edit(const pk_codec *c, const uint8_t *data, const pk_frame *f, const pk_edit *edits, uint32_t count, uint8_t *out,
                size_t cap) {
  (void)c;
  uint32_t size = f->size;
  if (cap < size) return PK_ERR_SPACE;
  memcpy(out, data, size);
  for (uint32_t i = 0; i < count; i++) {
    if (edits[i].what != PK_EDIT_HEADER || edits[i].value.data == NULL) return PK_ERR_UNSUPPORTED;
    if (cap < size + 1 + edits[i].value.size) return PK_ERR_SPACE;
    out[size] = ' ';
    memcpy(out + size + 1, edits[i].value.data, edits[i].value.size);
    size += 1 + edits[i].value.size;
  }
  out[f->body - 2] = (uint8_t)((size - f->body) >> 8);
  out[f->body - 1] = (uint8_t)(size - f->body);
  return size - f->body > 0xffff ? PK_ERR_UNSUPPORTED : (int)size;
}

static const uint8_t usual = 0x7e, unusual = 0x7d;

/* "hello 0" and so on. */
static int greeting(const pk_codec *c, uint32_t step, uint32_t context, const uint8_t *said, const pk_frame *f,
                    uint8_t *out, size_t cap) {
  char text[] = "hello ?";
  (void)context, (void)said, (void)f;
  text[6] = "0123456789abcdef"[step];
  return build(c, PK_KIND_GREETING, 0, 0, text, 7, out, cap);
}

/* Where its text says which step it is; what a server asks it is told only by its frame. */
static int greeting_step(const pk_codec *c, uint32_t step, const uint8_t *data, const pk_frame *f) {
  const uint8_t *text = data + f->body;
  if (f->size != f->body + 7) return PK_ERR_FORMAT;
  uint32_t said = (uint32_t)(text[6] - '0');
  if (said < step || said >= c->greeting_steps) return PK_ERR_FORMAT;
  return (c->greeting_server >> said & 1) == (c->greeting_server >> step & 1) ? (int)said : PK_ERR_FORMAT;
}

/* As a server it asks nothing by step 3. Its last step says what the peer said last. */
static int choosy_greeting(const pk_codec *c, uint32_t step, uint32_t context, const uint8_t *said, const pk_frame *f,
                           uint8_t *out, size_t cap) {
  int size = step == 3 ? 0 : greeting(c, step, context, said, f, out, cap);
  if (step == 5 && size > 0 && said != NULL) out[size - 1] = said[f->body + 6];
  return size;
}

#define TOY(variable, label, how, bytes, first, ...)                                             \
  SAYING(variable, label, how, bytes, first, error, heartbeat_ack, __VA_ARGS__)
#define SAYING(variable, label, how, bytes, first, says, beats, ...)                             \
  static const pk_codec variable = {                                                             \
      .user = &first, .abi = PK_CODEC_ABI, .name = label, .mode = how, .id_bytes = bytes,        \
      .reserved_ids = {7}, .reserved_count = bytes ? 1 : 0, .reply_max = 640,                    \
      .probe = probe, .frame = frame, .destination = destination, .next_header = next_header,    \
      .patch_id = patch_id, .heartbeat = heartbeat, .heartbeat_ack = beats,                      \
      .drain = drain, .error = says, __VA_ARGS__}
#define WHOLE .size = sizeof(pk_codec)
#define OLDER .size = offsetof(pk_codec, greeting_optional) /* what stands there and behind is nothing */
#define NEWER .size = sizeof(pk_codec) + 64 /* of what stands behind it this engine knows nothing */

TOY(wide, "wide", PK_MODE_MULTIPLEXED, 8, usual, WHOLE);
TOY(narrow, "narrow", PK_MODE_MULTIPLEXED, 1, usual, WHOLE);
TOY(ordered, "ordered", PK_MODE_ORDERED, 0, usual, WHOLE);
TOY(pingpong, "pingpong", PK_MODE_PINGPONG, 0, usual, WHOLE);
TOY(other, "other", PK_MODE_MULTIPLEXED, 8, unusual, NEWER);
TOY(polite, "polite", PK_MODE_MULTIPLEXED, 8, usual, WHOLE, .greeting = greeting, .greeting_steps = 2,
    .greeting_server = 2);
TOY(hosting, "hosting", PK_MODE_MULTIPLEXED, 8, usual, WHOLE, .greeting = greeting, .greeting_steps = 3,
    .greeting_server = 5);
TOY(named, "named", PK_MODE_MULTIPLEXED, 8, usual, WHOLE, .id_max = 24, .splice_id = splice_id);
SAYING(read_only, "read", PK_MODE_MULTIPLEXED, 8, usual, echoed_error, echoed_ack, WHOLE, .id_max = 24, .keep = keep_id,
       .keep_max = 24);
SAYING(mistaken, "mistaken", PK_MODE_MULTIPLEXED, 8, usual, wrong_error, wrong_ack, WHOLE, .id_max = 24, .edit = no_edit);
TOY(brief, "brief", PK_MODE_MULTIPLEXED, 2, usual, WHOLE);
TOY(own, "own", PK_MODE_MULTIPLEXED, 8, usual, WHOLE, .pinned = 1);
TOY(modest, "modest", PK_MODE_MULTIPLEXED, 8, usual, WHOLE, .greeting = greeting, .greeting_steps = 4,
    .greeting_server = 4, .greeting_optional = 1 | 2); /* a client says two, one, or nothing; it hears one, and says one */
TOY(long_winded, "long", PK_MODE_MULTIPLEXED, 8, usual, WHOLE, .greeting = greeting, .greeting_steps = 16,
    .greeting_server = 0xaaaa);
TOY(relayed, "relayed", PK_MODE_MULTIPLEXED, 8, usual, WHOLE, .pinned = 1, .greeting_relayed = 1);
TOY(banner, "banner", PK_MODE_MULTIPLEXED, 8, usual, WHOLE, .pinned = 1, .greeting_relayed = 2);
TOY(choosy, "choosy", PK_MODE_MULTIPLEXED, 8, usual, WHOLE, .greeting = choosy_greeting, .greeting_steps = 6,
    .greeting_server = 2 | 8 | 32, .greeting_optional = 1 | 8, .greeting_with = 2 | 16,
    .greeting_step = greeting_step); /* (hello, hello back), hello, (a question, its answer), hello back */
TOY(edited, "edited", PK_MODE_MULTIPLEXED, 8, usual, WHOLE, .edit = edit);
TOY(edited_in_order, "edited in order", PK_MODE_ORDERED, 0, usual, WHOLE, .edit = edit);
TOY(edited_alone, "edited alone", PK_MODE_PINGPONG, 0, usual, WHOLE, .edit = edit);
TOY(shy, "shy", PK_MODE_MULTIPLEXED, 8, usual, OLDER, .optional_drain = 1, .greeting_relayed = 1);

uintptr_t toy_codec(int which);
uintptr_t toy_codec(int which) {
  const pk_codec *all[] = {&wide, &narrow, &ordered, &pingpong, &other, &polite, &hosting, &own, &named,
                           &shy, &brief, &modest, &long_winded, &relayed, &choosy, &read_only, &mistaken, &banner,
                           &edited, &edited_in_order, &edited_alone};
  return (uintptr_t)all[which];
}
