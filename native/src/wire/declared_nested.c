/* declared_nested.c: fields by number inside protobuf messages that stand in one another. */
#include "wire/declared.h"

/* Of a varint that is no longer than it must be; its size, 0 where there is none. */
static uint32_t varint(const uint8_t *at, const uint8_t *end, uint64_t *value) {
  *value = 0;
  for (uint32_t i = 0; i < 10 && at + i < end; i++) {
    *value |= (uint64_t)(at[i] & 0x7f) << (7 * i);
    if (at[i] & 0x80) continue;
    return (at[i] == 0 && i > 0) || (i == 9 && at[i] > 1) ? 0 : i + 1;
  }
  return 0;
}

/* The last field of that number and type, and where the length in front of it stands. 0: it is no message. */
static int field(pk_slice in, uint64_t number, uint32_t type, pk_slice *found, const uint8_t **length) {
  const uint8_t *at = in.data, *end = at + in.size;
  *found = (pk_slice){NULL, 0};
  while (at < end) {
    uint64_t tag, value = 0;
    uint32_t size = varint(at, end, &tag);
    if (size == 0 || tag >> 3 == 0 || tag >> 32 != 0) return 0;
    const uint8_t *behind = at += size;
    switch (tag & 7) {
      case 0:
        if ((size = varint(at, end, &value)) == 0) return 0;
        value = size;
        break;
      case 1: value = 8; break;
      case 2:
        if ((size = varint(at, end, &value)) == 0) return 0;
        at += size;
        break;
      case 5: value = 4; break;
      default: return 0;
    }
    if (value > (uint64_t)(end - at)) return 0;
    if (tag >> 3 == number && (tag & 7) == type) *found = (pk_slice){at, (uint32_t)value}, *length = behind;
    at += value;
  }
  return 1;
}

uint32_t pk_declared_nested(pk_slice path, int is_varint, pk_slice *in, const uint8_t *lengths[PK_NESTED]) {
  uint32_t count = 0;
  for (uint32_t i = 0; i + 4 <= path.size && in->data != NULL; i += 4) {
    int last = i + 8 > path.size;
    uint32_t type = last && is_varint ? 0 : 2;
    const uint8_t *length = NULL;
    pk_slice found;
    if (!field(*in, get32(path.data + i), type, &found, &length)) found.data = NULL;
    *in = found;
    if (type == 2 && found.data != NULL && count < PK_NESTED) lengths[count++] = length;
  }
  return count;
}
