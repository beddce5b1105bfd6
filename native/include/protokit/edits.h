/* protokit/edits.h: which change counts, for a codec's `edit` that copies a frame and writes what is changed. Of several
 * changes of the same thing the last does, and of several headers with one key the last is changed: the others go. */
#ifndef PROTOKIT_EDITS_H
#define PROTOKIT_EDITS_H

#include <string.h>

#include <protokit/codec.h>

/* What `edit` is given. */
typedef struct pk_edits {
  const pk_codec *codec;
  const uint8_t *data;
  const pk_frame *frame;
  const pk_edit *list;
  uint32_t count;
} pk_edits;

static inline int pk_same(pk_slice a, pk_slice b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* The change of that (PK_EDIT_*; a header's by its key); NULL: it stays. */
static inline const pk_edit *pk_edit_of(const pk_edits *e, uint32_t what, pk_slice key) {
  const pk_edit *one = e->list + e->count;
  while (one-- > e->list)
    if (one->what == what && (what != PK_EDIT_HEADER || pk_same(one->key, key))) return one;
  return NULL;
}

/* Whether a header that stands there is the one of its key that is changed; `old` as next_header gives it. */
static inline int pk_edit_here(const pk_edits *e, const pk_header *old) {
  pk_header last;
  return e->codec->header(e->codec, e->data, e->frame, old->key, &last) == PK_OK && last.key.data == old->key.data &&
         last.value.data == old->value.data;
}

/* Whether a change brings a header whose key does not stand there. */
static inline int pk_edit_adds(const pk_edits *e, const pk_edit *one) {
  pk_header old;
  return one->what == PK_EDIT_HEADER && pk_edit_of(e, PK_EDIT_HEADER, one->key) == one &&
         e->codec->header(e->codec, e->data, e->frame, one->key, &old) == PK_MORE;
}

#endif
