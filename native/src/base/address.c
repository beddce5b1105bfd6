/* address.c: addresses as texts. */
#include "base/address.h"

#include <arpa/inet.h>

_Static_assert(PK_ADDRESS_TEXT >= INET6_ADDRSTRLEN, "the longest fits");

uint32_t pk_address_write(const uint8_t address[PK_ADDRESS], char *out) {
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  if (!pk_address_is_known(address)) return 0;
  int v4 = memcmp(address, mapped, sizeof mapped) == 0;
  if (inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? address + sizeof mapped : address, out, PK_ADDRESS_TEXT) == NULL) return 0;
  return (uint32_t)strlen(out);
}
