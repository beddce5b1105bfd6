/* change.c: a rule's changes to its requests and to what these are answered: what they name is written anew, and the rest
 * stays byte for byte. */
#include "core/internal.h"
#include "wire/ask.h"

/* What is written beside the request itself: values that come of it. */
typedef struct values {
  uint8_t *at, *end;
} values;

static pk_slice address(const uint8_t *a, values *v) {
  pk_slice text = {v->at, pk_address_write(a, (char *)v->at)};
  v->at += text.size;
  return text;
}

/* What is changed, a request or its answer; and the request that values come of. */
typedef struct subject {
  const pk_request *r;
  const uint8_t *data, *asked;
  const pk_frame *f, *asked_frame;
} subject;

/* PK_OK; PK_MORE: there is nothing to say; PK_ERR_*. */
static int value_of(pk_core *core, const subject *s, const pk_change *c, values *v, pk_slice *out) {
  const pk_table *t = s->r->to.live->table;
  pk_header h;
  if (c->of == PK_NONE) {
    *out = pk_table_slice(t, c->value);
    return PK_OK;
  }
  const pk_origin *of = pk_table_origin_at(t, c->of);
  if (of->origin == PK_ORIGIN_SOURCE) {
    const pk_conn *client = pk_conn_find(core, s->r->to.client);
    if (client == NULL || !pk_address_is_known(client->source)) return PK_MORE;
    *out = address(client->source, v);
    return PK_OK;
  }
  if (s->asked == NULL) return PK_MORE; /* its client has left: nobody gets this */
  int result = pk_question_value(t, pk_question_of(core, s->r, s->asked, s->asked_frame), of, &h);
  if (result != PK_OK) return result;
  *out = h.value;
  return h.raw ? PK_MORE : PK_OK; /* no text */
}

/* What stands there already, a comma, and the value. */
static int appended(const subject *s, values *v, pk_edit *e) {
  pk_header h;
  int result = pk_header_by_key(s->r->to.codec, s->data, s->f, e->key, &h);
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

/* One change. PK_OK; PK_MORE: there is nothing to do; PK_ERR_*. */
static int edit_of(pk_core *core, const subject *s, const pk_change *c, values *v, pk_edit *e) {
  static const uint8_t nothing[1];
  *e = (pk_edit){.what = c->what, .key = pk_table_slice(s->r->to.live->table, c->key)};
  if (c->how == PK_CHANGE_REMOVE) return PK_OK;
  int result = value_of(core, s, c, v, &e->value);
  if (result == PK_OK && c->how == PK_CHANGE_APPEND) result = appended(s, v, e);
  if (result == PK_OK && e->value.data == NULL) e->value.data = nothing; /* an empty text is one */
  return result;
}

/* Room for it with these changes, in any way that a protocol writes texts. */
static uint32_t room_for(const pk_frame *f, const pk_edit *edits, int count) {
  uint64_t room = (uint64_t)f->size + 256;
  for (int i = 0; i < count; i++) room += 2 * (8 + 4 * (uint64_t)edits[i].key.size + 8 * (uint64_t)edits[i].value.size);
  return room < UINT32_MAX / 2 ? (uint32_t)room : 0;
}

enum { NO_ROOM = INT32_MIN };

/* It with `count` of its rule's changes, `all`, in *out. Its bytes; 0: there is nothing to do; PK_ERR_*; NO_ROOM. */
static int change(pk_core *core, const subject *s, const pk_change *all, uint32_t count, pk_held **out) {
  uint8_t beside[PK_CHANGED_VALUES + PK_ADDRESS_TEXT * PK_CHANGES];
  values v = {beside, beside + PK_CHANGED_VALUES};
  pk_edit edits[PK_CHANGES];
  const pk_codec *codec = s->r->to.codec;
  int n = 0;
  if (codec->edit == NULL) return PK_ERR_UNSUPPORTED;
  for (uint32_t i = 0; i < count; i++) {
    int result = edit_of(core, s, &all[i], &v, &edits[n]);
    if (result < 0) return result;
    n += result == PK_OK;
  }
  if (n == 0) return 0;
  uint32_t room = room_for(s->f, edits, n);
  pk_held *h = room == 0 ? NULL : pk_held_new(core, room);
  if (h == NULL) return NO_ROOM;
  int size = codec->edit(codec, s->data, s->f, edits, (uint32_t)n, h->data, room);
  if (size <= 0) pk_held_free(core, h);
  *out = size <= 0 ? NULL : h;
  return size == 0 ? PK_ERR_UNSUPPORTED : size; /* no bytes are no frame, and not what was asked for */
}

static const pk_change *changes_of(const pk_request *r) {
  const pk_table *t = r->to.live->table;
  return PK_AT(t, pk_change, t->changes.at) + r->plan->change;
}

static void without_room(pk_core *core, pk_request *r) {
  pk_request_overloaded(core, r, "buffers of this worker are at the limit of ", core->limits.buffer);
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

static int run(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f) {
  const subject s = {.r = r, .data = data, .f = f, .asked = data, .asked_frame = f};
  pk_held *h;
  int size = change(core, &s, changes_of(r), r->plan->change_count - r->plan->change_answers, &h);
  if (size == 0) return PK_STEP_ON;
  if (size == NO_ROOM) {
    without_room(core, r);
    return PK_STEP_OVER;
  }
  int result = size < 0 ? size : pk_request_replace(core, r, f, h, (uint32_t)size);
  return result == PK_OK ? PK_STEP_CHANGED : fail(core, r, result);
}

const pk_plan_step pk_change_step = {.run = run};

/* Answers. */

static void not_changed(pk_core *core, pk_request *r, const char *why) {
  pk_message m = {.size = 0};
  pk_message_add(&m, "protokit: the answer cannot be changed as rule '");
  pk_message_text(&m, r->to.live->table, r->plan->name);
  pk_message_add(&m, "' says: ");
  pk_message_add(&m, why);
  pk_request_fail(core, r, PK_STATUS_INTERNAL, m.data, m.size);
}

int pk_change_needs_request(const pk_request *r) {
  const pk_change *all = changes_of(r);
  for (uint32_t i = r->plan->change_count - r->plan->change_answers; i < r->plan->change_count; i++)
    if (all[i].of != PK_NONE && pk_table_origin_at(r->to.live->table, all[i].of)->origin != PK_ORIGIN_SOURCE) return 1;
  return 0;
}

/* Whether it has, for all that can be read of it, none of the headers that are to be taken out. */
static int has_none(const pk_request *r, const uint8_t *data, const pk_frame *f, const pk_change *all, uint32_t count) {
  pk_header h;
  for (uint32_t i = 0; i < count; i++) {
    if (all[i].how != PK_CHANGE_REMOVE) continue;
    if (pk_header_by_key(r->to.codec, data, f, pk_table_slice(r->to.live->table, all[i].key), &h) != PK_MORE) return 0;
  }
  return 1;
}

int pk_change_answer(pk_core *core, pk_request *r, const uint8_t *data, const pk_frame *f, pk_held **out) {
  const pk_change *all = changes_of(r) + r->plan->change_count - r->plan->change_answers;
  const pk_held *asked = pk_seen_of(core, r);
  const subject s = {.r = r, .data = data, .f = f, .asked = asked == NULL ? NULL : asked->data, .asked_frame = asked == NULL ? NULL : &asked->frame};
  *out = NULL;
  int size = change(core, &s, all, r->plan->change_answers, out);
  pk_question_over(core); /* the request's bytes go */
  if (size == 0) return 1;
  if (size == NO_ROOM) {
    without_room(core, r);
  } else if (size == PK_ERR_UNSUPPORTED && has_none(r, data, f, all, r->plan->change_answers)) {
    PK_STAT_ADD(core->stats.answers_not_changed, 1);
    return 1;
  } else if (size < 0) {
    not_changed(core, r, size == PK_ERR_FORMAT || size == PK_ERR_LIMIT ? "its headers cannot be read" : "it has no place for that");
  } else if (!pk_request_same_answer(core, r, data, f, (*out)->data, (uint32_t)size, &(*out)->frame)) {
    not_changed(core, r, "it would not fit any more");
  } else {
    return 1;
  }
  pk_held_free(core, *out);
  *out = NULL;
  return 0;
}

void pk_change_in_parts(pk_core *core, pk_request *r, pk_attempt *a) {
  pk_attempt_partly(core, r, a); /* what follows of it is nobody's */
  not_changed(core, r, "it comes in parts");
}
