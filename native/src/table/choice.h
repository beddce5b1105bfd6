/* choice.h: which cluster the values of some headers name. */
#ifndef PK_CHOICE_H
#define PK_CHOICE_H

#include "table/table.h"

enum { PK_CHOICE_WORDS = 8 }; /* of one choice */

/* The cluster that these values name, one for each word, or PK_NONE. However many options there are, it costs the same. */
uint32_t pk_choice_find(const pk_table *t, const pk_choice *c, const pk_slice *values);

static inline const pk_choice_word *pk_choice_word_at(const pk_table *t, const pk_choice *c, uint32_t i) {
  return PK_AT(t, pk_choice_word, t->choice_words.at) + c->word + i;
}

/* Why it is none, or NULL. Its fields are right. */
const char *pk_choice_wrong(const pk_table *t, const pk_choice *c);

/* Places for its options, a power of two; and filling them. */
uint32_t pk_choice_slots(const pk_choice *c);
void pk_choice_index(const pk_table *t, const pk_choice *c, uint32_t *slots);

#endif
