/* json_value.c: how long an object or an array of JSON is (RFC 8259): to where its brackets are closed.
 *
 * State: where it goes on; the brackets that are open, bit by bit, 1: a { ; how many, and where in a text that is. */
#include "wire/measures/measures.h"

enum { DEEPEST = 64 };
enum { IN_TEXT = 0x100, ESCAPED = 0x200, BEGUN = 0x400 };

/* What may stand between brackets and texts. */
static int is_plain(uint8_t c) {
  switch (c) {
    case ' ': case '\t': case '\n': case '\r': case ',': case ':': case '+': case '-': case '.':
    case 't': case 'r': case 'u': case 'e': case 'f': case 'a': case 'l': case 's': case 'n': case 'E': return 1;
    default: return c >= '0' && c <= '9';
  }
}

int pk_measure_json(const uint8_t *at, size_t size, const pk_slice *arguments, uint32_t argument_count,
                    uint64_t state[4], uint64_t *out) {
  (void)arguments, (void)argument_count;
  uint64_t here = state[0], open = state[1], depth = state[2] & 0xff, where = state[2] & ~(uint64_t)0xff;
  for (; here < size; here++) {
    uint8_t c = at[here];
    if (where & IN_TEXT) {
      if (c < 0x20) return PK_ERR_FORMAT;
      if (where & ESCAPED) where &= ~(uint64_t)ESCAPED;
      else if (c == '\\') where |= ESCAPED;
      else if (c == '"') where &= ~(uint64_t)IN_TEXT;
    } else if (c == '{' || c == '[') {
      if (depth == DEEPEST) return PK_ERR_LIMIT;
      open = open << 1 | (c == '{');
      depth++;
      where |= BEGUN;
    } else if (!(where & BEGUN)) {
      if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return PK_ERR_FORMAT;
    } else if (c == '}' || c == ']') {
      if ((open & 1) != (c == '}')) return PK_ERR_FORMAT;
      open >>= 1;
      if (--depth == 0) {
        *out = here + 1;
        return PK_OK;
      }
    } else if (c == '"') {
      where |= IN_TEXT;
    } else if (!is_plain(c)) {
      return PK_ERR_FORMAT;
    }
  }
  state[0] = here, state[1] = open, state[2] = depth | where;
  *out = here + (where & IN_TEXT ? 1 : 0) + (depth > 0 ? depth : where & BEGUN ? 0 : 2);
  return PK_MORE;
}
