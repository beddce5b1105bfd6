/* question.c: see question.h. */
#include "table/question.h"

#include "base/hash.h"
#include "table/units.h"
#include "wire/ask.h"

/* Where it goes, which is read when somebody asks. What its codec cannot read is as nothing that it says. */
static int destination(pk_question *q, const pk_destination **out) {
  *out = &q->to;
  if (q->led) return PK_OK;
  q->to = (pk_destination){.context = q->frame->context};
  int result = q->codec->destination(q->codec, q->data, q->frame, &q->to);
  q->blank = result == PK_ERR_UNSUPPORTED;
  if (q->blank) q->to = (pk_destination){.context = q->frame->context};
  q->led = result == PK_OK || q->blank;
  return q->led ? PK_OK : result;
}

static int text(pk_slice value, pk_header *out) {
  *out = (pk_header){.value = value};
  return PK_OK;
}

static pk_slice decimal(int64_t number, uint8_t digits[20]) {
  uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  uint32_t at = 20;
  do digits[--at] = (uint8_t)('0' + left % 10);
  while ((left /= 10) > 0);
  if (number < 0) digits[--at] = '-';
  return (pk_slice){digits + at, 20 - at};
}

/* Something that the client's connection says. */
static int of_client(pk_question *q, int known, pk_slice value, pk_header *out) {
  q->asked |= PK_ASKED_CLIENT;
  return known ? text(value, out) : PK_MORE;
}

uint32_t pk_origin_keys(const pk_table *t, const pk_origin *of, pk_slice *keys) {
  pk_slice name = pk_table_slice(t, of->name);
  const uint8_t *at = name.data, *end = at + name.size;
  uint32_t count = 0;
  while (at < end) {
    uint32_t size = *at++;
    if (count == PK_INSIDE_KEYS || size > (size_t)(end - at)) return PK_NONE;
    keys[count++] = (pk_slice){at, size};
    at += size;
  }
  return count;
}

/* As texts are asked for: null is as an argument that is not there, what has no one text is raw. */
static int argument(const pk_table *t, pk_question *q, const pk_origin *of, pk_header *out) {
  pk_value v = {.type = PK_VALUE_NULL};
  pk_slice keys[PK_INSIDE_KEYS];
  q->asked |= PK_ASKED_MORE;
  if (q->codec == NULL || (of->name.size > 0 ? !pk_codec_looks_inside(q->codec) : q->codec->argument == NULL)) return PK_MORE;
  if (q->frame->says & (PK_SAYS_MORE | PK_SAYS_HALF)) return PK_ERR_UNSUPPORTED; /* it may be in what is to come */
  int result = pk_argument_at(q->codec, q->data, q->frame, of->index, keys, pk_origin_keys(t, of, keys), &v);
  if (result != PK_OK || v.type == PK_VALUE_NULL) return result == PK_OK ? PK_MORE : result;
  *out = (pk_header){.value = v.bytes, .raw = v.type == PK_VALUE_NUMBER || v.type == PK_VALUE_OTHER};
  if (v.type == PK_VALUE_BOOLEAN) return text(v.integer ? (pk_slice){(const uint8_t *)"true", 4} : (pk_slice){(const uint8_t *)"false", 5}, out);
  return v.type == PK_VALUE_INTEGER ? text(decimal(v.integer, q->digits), out) : PK_OK;
}

int pk_question_headers(const pk_table *t, pk_question *q) {
  if (q->headers == PK_HEADERS_UNREAD) {
    const pk_wanted *wanted = pk_table_wanted(t);
    int read = wanted != NULL && pk_headers_wanted(q->codec, q->data, q->frame, wanted, &q->found) == PK_OK;
    q->headers = read ? PK_HEADERS_FOUND : PK_HEADERS_BY_KEY;
  }
  return q->headers == PK_HEADERS_FOUND;
}

/* A name with a character beyond U+FFFF, looked for in units, too. Where it stands in both forms, which of them its receiver
 * takes is not known here. */
static __attribute__((noinline, cold)) int header_in_units(const pk_question *q, pk_slice name, int found, pk_header *out) {
  uint8_t few[PK_UNITS_FEW], *room = pk_units_room(name.size + name.size / 2, few);
  pk_header other;
  if (room == NULL) return PK_ERR_LIMIT;
  int result = pk_header_by_key(q->codec, q->data, q->frame, pk_units_split(name, room), &other);
  pk_units_over(room, few);
  if (found < 0 || result == PK_MORE) return found;
  if (found == PK_OK) return result < 0 ? result : PK_ERR_LIMIT;
  *out = other;
  out->key = name;
  return result;
}

static int header(const pk_table *t, pk_question *q, const pk_origin *of, pk_header *out) {
  if (q->codec == NULL || of->wanted == PK_NONE || !pk_question_headers(t, q)) {
    q->asked |= PK_ASKED_MORE;
    if (q->codec == NULL) return PK_MORE;
    pk_slice name = pk_table_slice(t, of->name);
    int result = pk_header_by_key(q->codec, q->data, q->frame, name, out);
    if (pk_units_wide(name)) result = header_in_units(q, name, result, out);
    return result == PK_OK && out->raw == PK_RAW_VEILED ? PK_ERR_LIMIT : result;
  }
  uint64_t bit = (uint64_t)1 << of->wanted;
  q->asked_headers |= bit;
  if (!(q->found.there & bit)) return PK_MORE;
  *out = q->found.headers[of->wanted];
  return out->raw == PK_RAW_VEILED ? PK_ERR_LIMIT : PK_OK;
}

int pk_question_value(const pk_table *t, pk_question *q, const pk_origin *of, pk_header *out) {
  const pk_destination *to;
  int result;
  switch (of->origin) {
    case PK_ORIGIN_HEADER: return header(t, q, of, out);
    case PK_ORIGIN_SOURCE:
      return of_client(q, q->source != NULL && pk_address_is_known(q->source), (pk_slice){q->source, PK_ADDRESS}, out);
    case PK_ORIGIN_LISTENER:
      return of_client(q, q->listener != NULL, q->listener == NULL ? (pk_slice){NULL, 0} : pk_table_slice(t, q->listener->name), out);
    case PK_ORIGIN_PROTOCOL:
      return of_client(q, q->codec != NULL, q->codec == NULL ? (pk_slice){NULL, 0} : (pk_slice){(const uint8_t *)q->codec->name, (uint32_t)strlen(q->codec->name)}, out);
    case PK_ORIGIN_ARGUMENT: return argument(t, q, of, out);
    default: break;
  }
  if ((result = destination(q, &to)) != PK_OK) return result;
  const pk_slice said[] = {to->service, to->method, to->version, to->group};
  return text(said[of->origin], out);
}

/* Whether there is none; where its codec can read nothing of a request, all such are one key. What is only written in
 * another way than it is read here is its receiver's all the same: it may not have a key beside its own. */
static int has_none(pk_question *q, int result) {
  const pk_destination *to;
  return result == PK_MORE || (result == PK_ERR_UNSUPPORTED && destination(q, &to) == PK_OK && q->blank);
}

static __attribute__((noinline, cold)) int hash_units(uint64_t *key, pk_slice value) {
  uint8_t few[PK_UNITS_FEW], *room = pk_units_room(value.size, few);
  if (room == NULL) return PK_ERR_LIMIT;
  pk_slice joined = pk_units_joined(value, room);
  *key = pk_hash(*key, joined.data, joined.size);
  pk_units_over(room, few);
  return PK_OK;
}

int pk_question_key(const pk_table *t, pk_question *q, pk_key by, uint64_t *key) {
  int found = PK_MORE;
  for (uint32_t i = 0; i < by.count; i++) {
    pk_header h = {.raw = 0};
    const pk_origin *of = pk_table_origin_at(t, by.first + i);
    int result = pk_question_value(t, q, of, &h);
    if (result != PK_OK && !has_none(q, result)) return result;
    if (result != PK_OK) h.value = (pk_slice){NULL, 0};
    if (h.value.size > 0) found = PK_OK;
    *key ^= (uint64_t)(result != PK_OK);
    if (of->origin != PK_ORIGIN_SOURCE && pk_units_in(h.value)) { /* an address is no text */
      if (hash_units(key, h.value) != PK_OK) return PK_ERR_LIMIT;
    } else {
      *key = pk_hash(*key, h.value.data, h.value.size);
    }
  }
  return found;
}

int pk_key_asks(const pk_table *t, pk_key by, uint32_t origin) {
  for (uint32_t i = 0; i < by.count; i++)
    if (pk_table_origin_at(t, by.first + i)->origin == origin) return 1;
  return 0;
}

int pk_key_is_of_client(const pk_table *t, pk_key by) {
  for (uint32_t i = 0; i < by.count; i++)
    if (pk_table_origin_at(t, by.first + i)->origin != PK_ORIGIN_SOURCE) return 0;
  return 1;
}
