/* object.c: see object.h. Facts: the draft of Hessian 2 as sofa-hessian 3.5 writes it, and Hessian 1.0. */
#include "object.h"

#include <protokit/values.h>
#include <string.h>

static const pk_dialect *const draft = &pk_hessian_draft;

static tr_field *wanted(tr_field *fields, uint32_t n, pk_slice key) {
  for (uint32_t i = 0; key.data != NULL && i < n; i++)
    if (strlen(fields[i].name) == key.size && memcmp(fields[i].name, key.data, key.size) == 0) return &fields[i];
  return NULL;
}

/* What an earlier value of the same name had does not count. */
static void forget(tr_field *f) {
  f->found = 0;
  for (uint32_t i = 0; i < f->inner_count; i++) forget(&f->inner[i]);
}

/* A value; kept where `into` wants one of its kind. Goes as deep as what is wanted. */
static int value(pk_values *v, tr_field *into) {
  pk_values_entries in;
  pk_slice key;
  uint8_t tag;
  int result = pk_values_tag(v, draft, &tag);
  if (result != PK_OK) return result;
  if (into == NULL) return pk_values_skip_behind(v, draft, tag);
  forget(into);
  pk_tag t = draft->tags[tag];
  if (into->kind == TR_TEXT && (t.kind == PK_TAG_TEXT || t.kind == PK_TAG_TEXT_PART)) {
    result = pk_values_text_behind(v, draft, tag, &into->text);
    into->found = result == PK_OK;
    return result == PK_ERR_UNSUPPORTED ? PK_ERR_LIMIT : result;
  }
  if (into->kind == TR_NUMBER && t.kind == PK_TAG_INTEGER) {
    result = pk_values_number(v, t, tag, &into->number);
    into->found = result == PK_OK;
    return result;
  }
  if (into->kind != TR_OBJECT || (result = pk_values_enter(v, draft, tag, &in)) == PK_MORE)
    return pk_values_skip_behind(v, draft, tag);
  into->found = result == PK_OK;
  while (result == PK_OK && (result = pk_values_next(v, draft, &in, &key)) == PK_OK)
    result = value(v, wanted(into->inner, into->inner_count, key));
  return result == PK_MORE ? PK_OK : result;
}

int tr_object(const uint8_t *section, size_t size, tr_field *fields, uint32_t n) {
  pk_values v;
  pk_values_open(&v, section, section + size);
  tr_field whole = {.kind = TR_OBJECT, .inner = fields, .inner_count = n};
  int result = value(&v, &whole);
  return result != PK_OK ? result : whole.found ? PK_OK : PK_ERR_UNSUPPORTED;
}
