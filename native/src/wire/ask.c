/* ask.c: see ask.h. */
#include "wire/ask.h"

#include <string.h>

#include <protokit/wanted.h>

int pk_header_by_key(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_slice key, pk_header *out) {
  *out = (pk_header){{NULL, 0}, {NULL, 0}, 0};
  if (!pk_has_headers(f)) return PK_MORE;
  if (c->header != NULL) return c->header(c, data, f, key, out);
  pk_cursor cursor;
  memset(&cursor, 0, sizeof cursor);
  int found = PK_MORE;
  for (;;) {
    pk_header h = {{NULL, 0}, {NULL, 0}, 0};
    int result = c->next_header(c, data, f, &cursor, &h);
    if (result != PK_OK) return result == PK_MORE ? found : result;
    if (h.key.size != key.size || (key.size > 0 && memcmp(h.key.data, key.data, key.size) != 0)) continue;
    *out = h;
    found = PK_OK;
  }
}

int pk_headers_wanted(const pk_codec *c, const uint8_t *data, const pk_frame *f, const pk_wanted *wanted, pk_headers *found) {
  found->there = 0;
  if (!pk_is_call(f)) return PK_ERR_UNSUPPORTED;
  if (PK_CODEC_HAS(c, headers) && c->headers != NULL) return c->headers(c, data, f, wanted, found);
  pk_cursor cursor;
  memset(&cursor, 0, sizeof cursor);
  for (;;) {
    pk_header h = {{NULL, 0}, {NULL, 0}, 0};
    int result = c->next_header(c, data, f, &cursor, &h);
    if (result != PK_OK) return result == PK_MORE ? PK_OK : result;
    pk_wanted_note(wanted, &h, found);
  }
}

int pk_argument_at(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint32_t index, const pk_slice *keys,
                   uint32_t count, pk_value *out) {
  *out = (pk_value){.type = PK_VALUE_NULL};
  if (!pk_is_call(f)) return PK_MORE;
  if (count > 0) return pk_codec_looks_inside(c) ? c->inside(c, data, f, index, keys, count, out) : PK_ERR_UNSUPPORTED;
  return c->argument != NULL ? c->argument(c, data, f, index, out) : PK_ERR_UNSUPPORTED;
}

int pk_codec_budgets(const pk_codec *c) { return PK_CODEC_HAS(c, budget) && c->budget != NULL; }

int pk_budget_in(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint32_t ms, uint8_t *out) {
  if (!pk_is_call(f) || (f->says & PK_SAYS_HALF) || !pk_codec_budgets(c)) return PK_ERR_UNSUPPORTED;
  return c->budget(c, data, f, ms, out, f->size + PK_BUDGET_MORE);
}
