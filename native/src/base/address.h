/* address.h: where a peer is: the bytes of an IPv6 address, IPv4 in those that stand for it; zeros: it is not known. */
#ifndef PK_ADDRESS_H
#define PK_ADDRESS_H

#include <stdint.h>
#include <string.h>

enum { PK_ADDRESS = 16 /* bytes */, PK_ADDRESS_TEXT = 46 /* and of its text */ };

static inline int pk_address_is_known(const uint8_t address[PK_ADDRESS]) {
  static const uint8_t unknown[PK_ADDRESS] = {0};
  return memcmp(address, unknown, PK_ADDRESS) != 0;
}

/* "10.0.0.7", or "2001:db8::7", in PK_ADDRESS_TEXT bytes; 0: it is not known. */
uint32_t pk_address_write(const uint8_t address[PK_ADDRESS], char *out);

#endif
