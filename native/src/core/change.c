/* change.c: a rule's changes to its requests: what they name is written anew, and the rest stays byte for byte. */
#include <arpa/inet.h>

#include "core/internal.h"
#include "wire/ask.h"

/* What is written beside the request itself: values that come of it. */
typedef struct values {
  uint8_t *at, *end;
} values;

uint32_t pk_address_write(const uint8_t address[PK_ADDRESS], char *out) {
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  if (!pk_address_is_known(address)) return 0;
  int v4 = memcmp(address, mapped, sizeof mapped) == 0;
  if (inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? address + sizeof mapped : address, out, INET6_ADDRSTRLEN) == NULL) return 0;
  return (uint32_t)strlen(out);
}

static pk_slice address(const uint8_t *a, values *v) {
  pk_slice text = {v->at, pk_address_write(a, (char *)v->at)};
  v->at += text.size;
  return text;
}

/* PK_OK; PK_MORE: there is nothing to say; PK_ERR_*. */
static int value_of(pk_core *core, const pk_request *r, const pk_change *c, const uint8_t *data, const pk_frame *f, values *v,
                    pk_slice *out) {
  const pk_table *t = r->to.live->table;
  pk_header h;
  if (c->of == PK_NONE) {
    *out = pk_table_slice(t, c->value);
    return PK_OK;
  }
  const pk_origin *of = pk_table_origin_at(t, c->of);
  int result = pk_question_value(t, pk_question_of(core, r, data, f), of, &h);
  if (result != PK_OK) return result;
  *out = of->origin == PK_ORIGIN_SOURCE ? address(h.value.data, v) : h.value;
  return h.raw ? PK_MORE : PK_OK; /* no text */
}

/* What stands there already, a comma, and the value. */
static int appended(const pk_request *r, const uint8_t *data, const pk_frame *f, values *v, pk_edit *e) {
  pk_header h;
  int result = pk_header_by_key(r->to.codec, data, f, e->key, &h);
  if (result == PK_MORE) return PK_OK;
  if (result != PK_OK) return result;
  if (h.raw) return PK_ERR_UNSUPPORTED;
  uint32_t size = h.value.size + 1 + e->value.size;
  if (v->at > v->end || size > (size_t)(v->end - v->at)) return PK_ERR_SPACE;
  memcpy(v->at, h.value.data, h.value.size);
  v->at[h.value.size] = ',';
  memcpy(v->at + h.value.size + 1, e->value.data, e->value.size);
  e->value = (pk_slice){v->at, size};
  v->at += size;
  return PK_OK;
}

/* One change of the request. PK_OK; PK_MORE: there is nothing to do; PK_ERR_*. */
static int edit_of(pk_core *core, const pk_request *r, const pk_change *c, const uint8_t *data, const pk_frame *f, values *v,
                   pk_edit *e) {
  static const uint8_t nothing[1];
  *e = (pk_edit){.what = c->what, .key = pk_table_slice(r->to.live->table, c->key)};
  if (c->how == PK_CHANGE_REMOVE) return PK_OK;
  int result = value_of(core, r, c, data, f, v, &e->value);
  if (result == PK_OK && c->how == PK_CHANGE_APPEND) result = appended(r, data, f, v, e);
  if (result == PK_OK && e->value.data == NULL) e->value.data = nothing; /* an empty text is one */
  return result;
}

/* All of the rule's. How many, or PK_ERR_*. */
static int edits_of(pk_core *core, const pk_request *r, const uint8_t *data, const pk_frame *f, values *v,
                    pk_edit edits[PK_CHANGES]) {
  const pk_table *t = r->to.live->table;
  const pk_change *all = PK_AT(t, pk_change, t->changes.at) + r->plan->change;
  int count = 0;
  for (uint32_t i = 0; i < r->plan->change_count; i++) {
    int result = edit_of(core, r, &all[i], data, f, v, &edits[count]);
    if (result < 0) return result;
    count += result == PK_OK;
  }
  return count;
}

/* Room for the request with these changes, in any way that a protocol writes texts. */
static uint32_t room_for(const pk_frame *f, const pk_edit *edits, int count) {
  uint64_t room = (uint64_t)f->size + 256;
  for (int i = 0; i < count; i++) room += 2 * (8 + 4 * (uint64_t)edits[i].key.size + 8 * (uint64_t)edits[i].value.size);
  return room < UINT32_MAX / 2 ? (uint32_t)room : 0;
}

static int fail(pk_core *core, pk_request *r, int error) {
  int malformed = error == PK_ERR_FORMAT || error == PK_ERR_LIMIT;
  pk_message m = {.size = 0};
  pk_message_add(&m, malformed ? "protokit: the request is malformed, and cannot be changed as rule '"
                               : "protokit: the request cannot be changed as rule '");
  pk_message_text(&m, r->to.live->table, r->plan->name);
  pk_message_add(&m, "' says");
  pk_request_fail(core, r, malformed ? PK_STATUS_BAD_REQUEST : PK_STATUS_INTERNAL, m.data, m.size);
  return PK_STEP_OVER;
}

static int change(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  uint8_t beside[PK_CHANGED_VALUES + INET6_ADDRSTRLEN * PK_CHANGES];
  values v = {beside, beside + PK_CHANGED_VALUES};
  pk_edit edits[PK_CHANGES];
  if (r->to.codec->edit == NULL) return fail(core, r, PK_ERR_UNSUPPORTED);
  int count = edits_of(core, r, data, f, &v, edits);
  if (count < 0) return fail(core, r, count);
  if (count == 0) return PK_STEP_ON;
  uint32_t room = room_for(f, edits, count);
  pk_held *h = room == 0 ? NULL : pk_held_new(core, room);
  if (h == NULL) {
    pk_request_overloaded(core, r, "buffers of this worker are at the limit of ", core->limits.buffer);
    return PK_STEP_OVER;
  }
  int size = r->to.codec->edit(r->to.codec, data, f, edits, (uint32_t)count, h->data, room);
  int result = size < 0 ? size : pk_request_replace(core, r, f, h, (uint32_t)size);
  if (size < 0) pk_held_free(core, h);
  return result == PK_OK ? PK_STEP_CHANGED : fail(core, r, result);
}

const pk_plan_step pk_change_step = {.run = change};
