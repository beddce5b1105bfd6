/* protokit/wanted.h: which of the headers that somebody asks for one is, for a codec's `headers` and `destination_headers`. */
#ifndef PROTOKIT_WANTED_H
#define PROTOKIT_WANTED_H

#include <string.h>

#include <protokit/codec.h>

/* Its number, or PK_WANTED_MAX. Most keys have another size than any that is asked for. */
static inline uint32_t pk_wanted_find(const pk_wanted *w, pk_slice key) {
  if (key.size >= sizeof w->first - 1) return PK_WANTED_MAX;
  for (uint32_t i = w->first[key.size]; i < w->first[key.size + 1]; i++)
    if (memcmp(w->names[i].data, key.data, key.size) == 0) return i;
  return PK_WANTED_MAX;
}

/* Notes a header as next_header gives it, where somebody asks for it. */
static inline void pk_wanted_note(const pk_wanted *w, const pk_header *h, pk_headers *found) {
  uint32_t i = pk_wanted_find(w, h->key);
  if (i == PK_WANTED_MAX) return;
  found->there |= (uint64_t)1 << i;
  found->headers[i] = *h;
}

#endif
