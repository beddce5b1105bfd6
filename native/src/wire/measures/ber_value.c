/* ber_value.c: how long a value of ASN.1 is, in BER or DER (X.690): a tag, a length, and so many bytes.
 *
 * Of an indefinite length, which the protocols on top of BER forbid, it is refused. The length may be longer than it
 * must be, as some peers write it. */
#include "wire/measures/measures.h"

enum { TAG_MAX = 5, LENGTH_MAX = 8 };

int pk_measure_ber(const uint8_t *at, size_t size, const pk_slice *arguments, uint32_t argument_count,
                   uint64_t state[4], uint64_t *out) {
  (void)arguments, (void)argument_count, (void)state;
  uint64_t here = 1, length = 0;
  *out = 2;
  if (size == 0) return PK_MORE;
  if (at[0] == 0) return PK_ERR_FORMAT; /* the end of an indefinite one */
  if ((at[0] & 31) == 31) {
    do {
      *out = here + 2;
      if (here == size) return PK_MORE;
      if (here == TAG_MAX || (here == 1 && at[here] == 0x80)) return PK_ERR_FORMAT;
    } while (at[here++] & 0x80);
  }
  *out = here + 1;
  if (here == size) return PK_MORE;
  uint32_t bytes = at[here] & 0x80 ? at[here] & 0x7fu : 0;
  if (at[here] == 0x80 || bytes > LENGTH_MAX) return PK_ERR_FORMAT;
  if (bytes == 0) length = at[here];
  here++;
  *out = here + bytes;
  for (uint32_t i = 0; i < bytes; i++) {
    if (here + i == size) return PK_MORE;
    length = length << 8 | at[here + i];
    if (length > UINT32_MAX) return PK_ERR_LIMIT;
  }
  *out = here + bytes + length;
  return PK_OK;
}
