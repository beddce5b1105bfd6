/* hessian.c: strings out of Hessian bodies, in both dialects, without decoding the rest. */
#include <protokit/values.h>

#include "wire/steps/steps.h"

/* A text, which nobody reads here where it is in chunks; without data where something else stands there. */
static int text_of(pk_values *v, const pk_dialect *d, pk_slice *out) {
  *out = (pk_slice){NULL, 0};
  int result = pk_values_text(v, d, out);
  return result == PK_ERR_UNSUPPORTED ? PK_ERR_LIMIT : result;
}

int pk_step_hessian2_strings(const uint8_t *section, size_t size, const pk_slice *arguments,
                             uint32_t argument_count, pk_slice *out, uint32_t count) {
  pk_values v;
  pk_values_open(&v, section, section + size);
  (void)arguments;
  (void)argument_count;
  for (uint32_t i = 0; i < count && v.at < v.end; i++) {
    int result = text_of(&v, &pk_hessian2, &out[i]);
    if (result == PK_MORE && *v.at != 'N') return PK_OK;
    if (result == PK_MORE) v.at++;
    if (result < 0) return result;
  }
  return PK_OK;
}

typedef struct wanted {
  const pk_slice *names;
  pk_slice *out;
  uint32_t count;
} wanted;

static pk_slice *place_of(const wanted *w, pk_slice key) {
  for (uint32_t i = 0; key.data != NULL && i < w->count; i++)
    if (key.size == w->names[i].size && memcmp(key.data, w->names[i].data, key.size) == 0) return &w->out[i];
  return NULL;
}

/* How many fields of an object have to be passed for all that is wanted: of a name that stands twice the last counts. */
static uint32_t needed(pk_values *v, const pk_dialect *d, pk_values_entries in, const wanted *w) {
  pk_slice key;
  uint32_t past = 0, n = 1;
  int result = PK_OK;
  if (in.names == NULL) return UINT32_MAX;
  for (; (result = pk_values_next(v, d, &in, &key)) == PK_OK; n++)
    if (place_of(w, key) != NULL) past = n;
  return result == PK_MORE ? past : n;
}

int pk_step_hessian_fields(const uint8_t *section, size_t size, const pk_slice *arguments,
                            uint32_t argument_count, pk_slice *out, uint32_t count) {
  const wanted w = {arguments, out, argument_count < count ? argument_count : count};
  pk_values v;
  pk_values_entries in;
  uint8_t tag;
  if (size < 2 || (*section != 'O' && *section != 'C' && *section != 'M')) return PK_ERR_UNSUPPORTED;
  int draft = *section == 'O' || (*section == 'M' && section[1] == 't');
  const pk_dialect *d = draft ? &pk_hessian_draft : &pk_hessian2;
  pk_values_open(&v, section, section + size);
  int result = pk_values_tag(&v, d, &tag);
  if (result == PK_OK) result = pk_values_enter(&v, d, tag, &in);
  if (result != PK_OK) return result == PK_MORE ? PK_ERR_FORMAT : result;
  for (uint32_t left = needed(&v, d, in, &w); left > 0; left--) {
    pk_slice key, *to;
    if ((result = pk_values_next(&v, d, &in, &key)) != PK_OK) return result == PK_MORE ? PK_OK : result;
    if ((to = place_of(&w, key)) == NULL || (result = text_of(&v, d, to)) == PK_MORE) result = pk_values_skip(&v, d);
    if (result != PK_OK) return result;
  }
  return PK_OK;
}
