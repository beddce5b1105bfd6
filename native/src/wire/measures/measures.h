/* measures.h: how long values are that say it themselves. They register like any plugin's (pk_measure).
 *
 * Each goes on where it stopped, so that no byte is looked at twice but for a value's first few, and keeps no stack:
 * it counts the values that are still to come. What no more bytes can mend is refused as soon as it is seen. */
#ifndef PK_MEASURES_H
#define PK_MEASURES_H

#include <protokit/codec.h>

/* One value of MessagePack, with all that is in it. */
int pk_measure_msgpack(const uint8_t *at, size_t size, const pk_slice *arguments, uint32_t argument_count,
                       uint64_t state[4], uint64_t *out);

/* One value of RESP, version 2 or 3: a line, a bulk string, or an array with all that is in it. */
int pk_measure_resp(const uint8_t *at, size_t size, const pk_slice *arguments, uint32_t argument_count,
                    uint64_t state[4], uint64_t *out);

/* One value of ASN.1 in BER or DER, of a definite length. */
int pk_measure_ber(const uint8_t *at, size_t size, const pk_slice *arguments, uint32_t argument_count,
                   uint64_t state[4], uint64_t *out);

/* One object or array of JSON, with spaces in front: its brackets and texts, up to 64 deep. */
int pk_measure_json(const uint8_t *at, size_t size, const pk_slice *arguments, uint32_t argument_count,
                    uint64_t state[4], uint64_t *out);

#endif
