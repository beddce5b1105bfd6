/* digits.h: integers as texts that nobody holds. */
#ifndef PK_DIGITS_H
#define PK_DIGITS_H

#include <protokit/codec.h>

/* An integer in decimal digits; `negative`: it is the two's complement of one below 0. Of this thread, and there until
 * it has asked for PK_DIGITS more: as long as a destination is looked at. */
enum { PK_DIGITS = 256 };
pk_slice pk_digits(int negative, uint64_t value);

#endif
