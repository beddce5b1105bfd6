/* edit.c: a request with other headers or another destination, an answer with other headers.
 *
 * Service and version stand twice, as fields in front and as attachments, and providers believe the
 * attachments: both are written. The group is an attachment alone. All else is copied. */
#include <string.h>

#include "request.h"

enum { MAX_EDITS = 1024 };
enum { STANDING_HEADER = 0x100 }; /* pk_edit.what: one that is not added where it does not stand */

static int named(pk_slice key, const char *name) {
  return key.size == strlen(name) && memcmp(key.data, name, key.size) == 0;
}

/* The UTF-16 unit in front; *low holds the second one of a pair written as four bytes. */
static uint32_t unit(const uint8_t **at, const uint8_t *end, uint32_t *low) {
  if (*low != 0) {
    uint32_t second = *low;
    *low = 0;
    return second;
  }
  const uint8_t *p = *at;
  uint32_t width = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc0 ? 2 : 1;
  if (width > (size_t)(end - p)) width = 1;
  *at += width;
  if (width == 1) return *p;
  if (width == 2) return (p[0] & 31u) << 6 | (p[1] & 63u);
  if (width == 3) return (p[0] & 15u) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
  uint32_t code = ((p[0] & 7u) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u)) - 0x10000;
  *low = 0xdc00 + (code & 0x3ff);
  return 0xd800 + (code >> 10);
}

/* Whether two keys are the same text: Hessian writes characters beyond U+FFFF as their surrogates. */
static int same_text(pk_slice a, pk_slice b) {
  const uint8_t *pa = a.data, *pb = b.data, *ea = pa + a.size, *eb = pb + b.size;
  uint32_t low_a = 0, low_b = 0;
  if (a.size == b.size && memcmp(pa, pb, a.size) == 0) return 1;
  while ((pa < ea || low_a != 0) && (pb < eb || low_b != 0))
    if (unit(&pa, ea, &low_a) != unit(&pb, eb, &low_b)) return 0;
  return pa == ea && pb == eb && low_a == 0 && low_b == 0;
}

/* Whether the edit is about that attachment. */
static int touches(const pk_edit *e, pk_slice key) {
  switch (e->what) {
    case PK_EDIT_SERVICE: return named(key, "path") || named(key, "interface");
    case PK_EDIT_VERSION: return named(key, "version");
    case PK_EDIT_GROUP: return named(key, "group");
    case PK_EDIT_HEADER:
    case STANDING_HEADER: return same_text(key, e->key);
    default: return 0;
  }
}

/* The attachment that an edit adds where there is none. */
static pk_slice attachment_of(const pk_edit *e) {
  static const char *const names[] = {"", "path", "", "version", "group"};
  if (e->what == PK_EDIT_HEADER || e->what == STANDING_HEADER) return e->key;
  const char *name = names[e->what];
  return (pk_slice){(const uint8_t *)name, (uint32_t)strlen(name)};
}

/* No version and no group are written as no attachment. */
static int removes(const pk_edit *e) {
  return e->value.data == NULL ||
         (e->value.size == 0 && (e->what == PK_EDIT_VERSION || e->what == PK_EDIT_GROUP));
}

static const pk_edit *last_of(const pk_edit *edits, uint32_t count, uint32_t what) {
  for (uint32_t i = count; i > 0; i--)
    if (edits[i - 1].what == what) return &edits[i - 1];
  return NULL;
}

/* A field in front: the new text, or the bytes as they are. */
static void field(const layout *l, writer *w, const pk_edit *e, const uint8_t *from, const uint8_t *to) {
  static const uint8_t none[] = "0.0.0"; /* what Java writes for no version */
  if (e == NULL) {
    write_bytes(w, from, (size_t)(to - from));
  } else if (e->what == PK_EDIT_VERSION && e->value.size == 0) {
    l->put_text(w, (pk_slice){none, sizeof none - 1});
  } else {
    l->put_text(w, e->value);
  }
}

static int attachments(const layout *l, writer *w, reader *r, const pk_edit *edits, uint32_t count) {
  uint8_t found[MAX_EDITS] = {0};
  pk_slice key, value;
  int64_t number;
  l->open_map(w, r);
  r->again = (pk_slice){NULL, 0};
  int result = l->enter(r);
  while (result == PK_OK) {
    const uint8_t *from = r->h.at;
    if ((result = l->pair(r, &key, &value, &number)) != PK_OK) break;
    uint32_t i = count;
    pk_slice name = r->again.data != NULL ? r->again : key;
    while (i > 0 && (name.data == NULL || !touches(&edits[i - 1], name))) i--;
    if (i == 0) {
      l->copy_pair(w, from, (size_t)(r->h.at - from));
      continue;
    }
    if (key.data == NULL) continue; /* the changed pair is enough */
    if (l->anchors(r->value, r->h.end)) return PK_ERR_UNSUPPORTED;
    for (uint32_t k = 0; k < i; k++) found[k] |= (uint8_t)(touches(&edits[k], key) && !named(key, "interface"));
    if (!removes(&edits[i - 1])) l->put_pair(w, key, edits[i - 1].value);
  }
  if (result != PK_MORE) return result;
  for (uint32_t i = 0; i < count; i++) {
    pk_slice name = attachment_of(&edits[i]);
    int later = 0;
    for (uint32_t k = i + 1; k < count; k++) later |= touches(&edits[k], name);
    int added = edits[i].what != PK_EDIT_METHOD && edits[i].what != STANDING_HEADER && !removes(&edits[i]);
    if (!found[i] && !later && added) l->put_pair(w, name, edits[i].value);
  }
  l->close_map(w);
  return PK_OK;
}

/* The whole frame is written: its length. */
static int finish(const writer *w, uint8_t *out) {
  size_t size = (size_t)(w->at - out);
  if (w->full || size > INT32_MAX) return PK_ERR_SPACE;
  uint32_t length = (uint32_t)size - DUBBO_HEADER;
  for (int i = 0; i < 4; i++) out[12 + i] = (uint8_t)(length >> (24 - 8 * i));
  return (int)size;
}

/* What is no request has attachments alone. None are given to an answer without any: whoever asked may not know of
 * them. */
static int edit_answer(const layout *l, const uint8_t *data, const pk_frame *f, const pk_edit *edits, uint32_t count,
                       uint8_t *out, size_t cap) {
  reader r;
  writer w = {.at = out, .end = out + cap};
  int adds = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (edits[i].what != PK_EDIT_HEADER) return PK_ERR_UNSUPPORTED;
    adds |= !removes(&edits[i]);
  }
  int result = dubbo_attachments_at(l, data, f, &r);
  if (result == PK_MORE && adds) return PK_ERR_UNSUPPORTED;
  write_bytes(&w, data, result == PK_MORE ? f->size : (size_t)(r.h.at - data));
  if (result == PK_OK) result = attachments(l, &w, &r, edits, count);
  return result == PK_OK || result == PK_MORE ? finish(&w, out) : result;
}

int dubbo_edit(const pk_codec *codec, const uint8_t *data, const pk_frame *f, const pk_edit *edits,
               uint32_t count, uint8_t *out, size_t cap) {
  const layout *l = dubbo_layout(f->context);
  reader r;
  dubbo_front front;
  writer w = {.at = out, .end = out + cap};
  pk_destination read = {0};
  if (count > MAX_EDITS) return PK_ERR_LIMIT;
  if (l == NULL) return PK_ERR_UNSUPPORTED;
  if (f->kind == PK_KIND_RESPONSE) return edit_answer(l, data, f, edits, count, out, cap);
  int result = dubbo_destination(codec, data, f, &read); /* what cannot be read cannot be changed */
  if (result == PK_OK) result = dubbo_front_of(l, data, f, &r, &front);
  if (result != PK_OK) return result;
  const pk_edit *method = last_of(edits, count, PK_EDIT_METHOD);
  if (method != NULL && front.generic) return PK_ERR_UNSUPPORTED;
  write_bytes(&w, data, (size_t)(front.path_at - data));
  field(l, &w, last_of(edits, count, PK_EDIT_SERVICE), front.path_at, front.version_at);
  field(l, &w, last_of(edits, count, PK_EDIT_VERSION), front.version_at, front.method_at);
  field(l, &w, method, front.method_at, front.rest_at);
  write_bytes(&w, front.rest_at, (size_t)(front.attachments_at - front.rest_at));
  if ((result = attachments(l, &w, &r, edits, count)) != PK_OK) return result;
  return finish(&w, out);
}

/* Consumers say it as `timeout`, and as `_TO` (before 3.0), `_to`, where they hand on what is left of their own callers'. */
int dubbo_budget(const pk_codec *codec, const uint8_t *data, const pk_frame *f, uint32_t ms, uint8_t *out, size_t cap) {
  static const uint8_t timeout[] = "timeout", countdown[] = "_TO", lower[] = "_to";
  uint8_t digits[10];
  uint32_t at = sizeof digits;
  do digits[--at] = (uint8_t)('0' + ms % 10);
  while ((ms /= 10) != 0);
  pk_slice value = {digits + at, (uint32_t)sizeof digits - at};
  const pk_edit edits[] = {{PK_EDIT_HEADER, {timeout, sizeof timeout - 1}, value},
                           {STANDING_HEADER, {countdown, sizeof countdown - 1}, value},
                           {STANDING_HEADER, {lower, sizeof lower - 1}, value}};
  return dubbo_edit(codec, data, f, edits, sizeof edits / sizeof *edits, out, cap);
}
