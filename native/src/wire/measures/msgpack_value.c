/* msgpack_value.c: how long a value of MessagePack is (msgpack.org, the specification).
 *
 * State: where the next value begins, how many are to come, whether it has begun. */
#include "wire/measures/measures.h"

/* Bytes of a value's head, by its tag: the tag itself, and an integer behind it that counts what follows. */
static uint32_t head_of(uint8_t tag) {
  switch (tag) {
    case 0xc4: case 0xc7: case 0xd9: return 2;
    case 0xc5: case 0xc8: case 0xda: case 0xdc: case 0xde: return 3;
    case 0xc6: case 0xc9: case 0xdb: case 0xdd: case 0xdf: return 5;
    default: return 1;
  }
}

/* The bytes behind a head, and the values that follow. 0: no value begins with that tag. */
static int behind(uint8_t tag, uint64_t count, uint64_t *bytes, uint64_t *values) {
  *bytes = *values = 0;
  if (tag <= 0x7f || tag >= 0xe0) return 1;
  if (tag <= 0x8f) return *values = 2 * (uint64_t)(tag & 15), 1;
  if (tag <= 0x9f) return *values = tag & 15, 1;
  if (tag <= 0xbf) return *bytes = tag & 31, 1;
  switch (tag) {
    case 0xc0: case 0xc2: case 0xc3: return 1;
    case 0xc4: case 0xc5: case 0xc6: case 0xd9: case 0xda: case 0xdb: return *bytes = count, 1;
    case 0xc7: case 0xc8: case 0xc9: return *bytes = count + 1, 1;
    case 0xca: case 0xcb: return *bytes = 4u << (tag - 0xca), 1;
    case 0xcc: case 0xcd: case 0xce: case 0xcf: return *bytes = 1u << (tag - 0xcc), 1;
    case 0xd0: case 0xd1: case 0xd2: case 0xd3: return *bytes = 1u << (tag - 0xd0), 1;
    case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return *bytes = (1u << (tag - 0xd4)) + 1, 1;
    case 0xdc: case 0xdd: return *values = count, 1;
    case 0xde: case 0xdf: return *values = 2 * count, 1;
    default: return 0;
  }
}

int pk_measure_msgpack(const uint8_t *at, size_t size, const pk_slice *arguments, uint32_t argument_count,
                       uint64_t state[4], uint64_t *out) {
  (void)arguments, (void)argument_count;
  uint64_t here = state[0], left = state[2] ? state[1] : 1;
  while (left > 0) {
    uint64_t missing = 1, count = 0, bytes, values;
    if (here < size) {
      uint32_t head = head_of(at[here]);
      missing = head > size - here ? head : 0;
      for (uint32_t i = 1; missing == 0 && i < head; i++) count = count << 8 | at[here + i];
      if (!behind(at[here], count, &bytes, &values)) return PK_ERR_FORMAT;
    }
    if (missing > 0) {
      state[0] = here, state[1] = left, state[2] = 1;
      *out = here + missing + (left - 1); /* each takes a byte at least */
      return PK_MORE;
    }
    here += head_of(at[here]) + bytes;
    left += values - 1;
    if (left > UINT32_MAX) return PK_ERR_LIMIT;
  }
  *out = here;
  return PK_OK;
}
