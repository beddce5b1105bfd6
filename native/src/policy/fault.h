/* fault.h: which requests a fault hits, and what callers with a key ask for themselves. Pure: the random number is given. */
#ifndef PK_FAULT_H
#define PK_FAULT_H

#include <stdint.h>
#include <string.h>

#include "table/table.h"

enum { PK_FAULT_ALL = 1000000 }; /* shares are in millionths */

static inline int pk_fault_hits(uint32_t share, uint64_t random) { return (random >> 20) % PK_FAULT_ALL < share; }

/* What a caller asks for: "KEY delay=250 abort=unavailable", either or both, ms. */
typedef struct pk_fault_order {
  uint32_t delay_ms, status; /* 0: none */
} pk_fault_order;

enum { PK_FAULT_ORDERED = 0, PK_FAULT_DENIED /* it has not the key */, PK_FAULT_IGNORED /* it has, and says nothing that is known */ };

/* However many of its bytes are right, and whatever its size, it takes as long: nothing is learned of the key but by having it. */
static inline int pk_fault_has_key(const uint8_t *key, uint32_t size, const uint8_t *said, uint32_t said_size) {
  uint32_t wrong = size ^ said_size;
  for (uint32_t i = 0; i < size; i++) wrong |= (uint32_t)(key[i] ^ (i < said_size ? said[i] : 0));
  return wrong == 0;
}

static inline uint32_t pk_fault_status(const uint8_t *name, uint32_t size) {
  static const struct {
    const char *name;
    uint32_t status;
  } known[] = {
      {"no-service", PK_STATUS_NO_SERVICE},   {"bad-request", PK_STATUS_BAD_REQUEST}, {"timeout", PK_STATUS_TIMEOUT},
      {"overloaded", PK_STATUS_OVERLOADED},   {"unavailable", PK_STATUS_UNAVAILABLE}, {"denied", PK_STATUS_DENIED},
      {"internal", PK_STATUS_INTERNAL},
  };
  for (uint32_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (strlen(known[i].name) == size && memcmp(known[i].name, name, size) == 0) return known[i].status;
  return 0;
}

/* From 1 ms to 9 digits of them; 0: it is no such number. */
static inline uint32_t pk_fault_ms(const uint8_t *digits, uint32_t size) {
  uint32_t ms = 0;
  if (size > 9) return 0;
  for (uint32_t i = 0; i < size; i++) {
    if (digits[i] < '0' || digits[i] > '9') return 0;
    ms = 10 * ms + (uint32_t)(digits[i] - '0');
  }
  return ms;
}

/* One word of it, each once. Whether it is known. */
static inline int pk_fault_word(const uint8_t *word, uint32_t size, pk_fault_order *out) {
  uint32_t *what = NULL, value = 0;
  if (size > 6 && memcmp(word, "delay=", 6) == 0) {
    what = &out->delay_ms;
    value = pk_fault_ms(word + 6, size - 6);
  } else if (size > 6 && memcmp(word, "abort=", 6) == 0) {
    what = &out->status;
    value = pk_fault_status(word + 6, size - 6);
  }
  if (what == NULL || *what != 0 || value == 0) return 0;
  *what = value;
  return 1;
}

/* PK_FAULT_*. Words stand behind one blank each; of what is not known in all of its words nothing is done. */
static inline int pk_fault_read(const uint8_t *key, uint32_t size, const uint8_t *text, uint32_t text_size, pk_fault_order *out) {
  uint32_t at = 0, end;
  pk_fault_order order = {0, 0};
  *out = order;
  while (at < text_size && text[at] != ' ') at++;
  if (size == 0 || !pk_fault_has_key(key, size, text, at)) return PK_FAULT_DENIED;
  if (at == text_size) return PK_FAULT_IGNORED;
  for (; at < text_size; at = end) {
    for (end = ++at; end < text_size && text[end] != ' ';) end++;
    if (!pk_fault_word(text + at, end - at, &order)) return PK_FAULT_IGNORED;
  }
  *out = order;
  return PK_FAULT_ORDERED;
}

#endif
