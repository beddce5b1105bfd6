/* resp_value.c: how long a value of RESP is, the serialization protocol of Redis (its specification, versions 2 and 3).
 *
 * A value of which receivers do not agree how long it is (a length with a 0 in front, or a sign) is refused, and so is
 * one that is streamed. State: where the next value begins; how many are to come; how far its line has been searched, or
 * where its bulk string ends; which of them. */
#include "wire/measures/measures.h"

#include <string.h>

enum { LEAST = 3, DIGITS = 10 }; /* bytes of a value; digits of a count */

enum { BEGUN = 1, IN_BULK };

typedef enum form { NONE, LINE, BULK, VALUES } form;

/* What a tag stands for: `each`: values that one of its count is; `null`: it may be -1. */
typedef struct kind {
  form is;
  uint8_t each, null, more; /* more: 1: the value itself is still to come */
} kind;

static kind kind_of(uint8_t tag) {
  switch (tag) {
    case '+': case '-': case ':': case '_': case '#': case ',': case '(': return (kind){LINE, 0, 0, 0};
    case '$': return (kind){BULK, 0, 1, 0};
    case '!': case '=': return (kind){BULK, 0, 0, 0};
    case '*': return (kind){VALUES, 1, 1, 0};
    case '~': case '>': return (kind){VALUES, 1, 0, 0};
    case '%': return (kind){VALUES, 2, 0, 0};
    case '|': return (kind){VALUES, 2, 0, 1};
    default: return (kind){NONE, 0, 0, 0};
  }
}

/* The count behind a tag, -1 of null, and where its line ends. PK_MORE: *end is how many bytes that takes at least. */
static int count_of(const uint8_t *at, size_t size, uint64_t from, int null, int64_t *count, uint64_t *end) {
  uint64_t i = from;
  int minus = i < size && at[i] == '-';
  *count = 0;
  if (minus && !null) return PK_ERR_FORMAT;
  for (i += (uint64_t)minus; i < size && at[i] >= '0' && at[i] <= '9'; i++) {
    uint64_t digits = i - from;
    if (digits > (uint64_t)minus && (*count == 0 || minus)) return PK_ERR_FORMAT; /* 0 in front; more than -1 */
    if (minus && at[i] != '1') return PK_ERR_FORMAT;
    if (digits == DIGITS) return PK_ERR_LIMIT;
    *count = *count * 10 + (at[i] - '0');
  }
  int none = i == from + (uint64_t)minus;
  *end = i + 2 + (uint64_t)none;
  if (i < size && (none || at[i] != '\r')) return PK_ERR_FORMAT;
  if (i + 1 < size && at[i + 1] != '\n') return PK_ERR_FORMAT;
  if (i + 2 > size) return PK_MORE;
  if (minus) *count = -1;
  return PK_OK;
}

/* Where a line ends; PK_MORE: *searched says how far it was looked for, *end how many bytes it takes at least. */
static int line_of(const uint8_t *at, size_t size, uint64_t *searched, uint64_t *end) {
  while (*searched < size) {
    const uint8_t *found = memchr(at + *searched, '\r', size - (size_t)*searched);
    *searched = found == NULL ? size : (uint64_t)(found - at);
    if (*searched + 1 >= size) break;
    if (at[*searched + 1] == '\n') {
      *end = *searched + 2;
      return PK_OK;
    }
    ++*searched;
  }
  *end = *searched + 2;
  return PK_MORE;
}

/* Whether a line's end stands in front of `end`. */
static int ends(const uint8_t *at, size_t size, uint64_t end) {
  if (end - 2 < size && at[end - 2] != '\r') return PK_ERR_FORMAT;
  if (end - 1 < size && at[end - 1] != '\n') return PK_ERR_FORMAT;
  return end > size ? PK_MORE : PK_OK;
}

int pk_measure_resp(const uint8_t *at, size_t size, const pk_slice *arguments, uint32_t argument_count,
                    uint64_t state[4], uint64_t *out) {
  (void)arguments, (void)argument_count;
  uint64_t here = state[0], left = state[3] ? state[1] : 1, searched = state[2], bulk = state[3] == IN_BULK;
  while (left > 0) {
    int result = PK_MORE;
    uint64_t end = here + LEAST;
    if (!bulk && here < size) {
      int64_t count = 0;
      kind k = kind_of(at[here]);
      if (k.is == NONE) return PK_ERR_FORMAT;
      if (searched <= here) searched = here + 1;
      result = k.is == LINE ? line_of(at, size, &searched, &end) : count_of(at, size, here + 1, k.null, &count, &end);
      bulk = result == PK_OK && k.is == BULK && count >= 0;
      if (bulk) searched = end + (uint64_t)count + 2;
      if (result == PK_OK && k.is == VALUES && count > 0) left += (uint64_t)count * k.each;
      left += result == PK_OK ? k.more : 0;
    }
    if (bulk) result = ends(at, size, end = searched);
    if (result < 0) return result;
    if (left > UINT32_MAX) return PK_ERR_LIMIT;
    if (result == PK_MORE) {
      state[0] = here, state[1] = left, state[2] = searched, state[3] = bulk ? IN_BULK : BEGUN;
      *out = (end < here + LEAST ? here + LEAST : end) + LEAST * (left - 1);
      return PK_MORE;
    }
    here = end;
    bulk = 0;
    left--;
  }
  *out = here;
  return PK_OK;
}
