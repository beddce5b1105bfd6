/* ident.h: ids that are byte strings (pk_codec.id_max): the engine's numbers written in a form that servers
 * take, read back strictly, and ids put into frames. */
#ifndef PK_IDENT_H
#define PK_IDENT_H

#include <protokit/codec.h>

/* Bytes of the longest id; 0 where ids are integers, or there are none. */
static inline uint32_t pk_id_max(const pk_codec *c) { return c->id_max; }

/* The most bytes that a number takes in a form. */
uint32_t pk_id_digits(uint32_t form, uint32_t id_bytes);
/* The engine's id for a number, in `out` (PK_ID_MAX bytes); gives back its size. */
uint32_t pk_id_write(const pk_codec *c, uint64_t number, uint8_t *out);
/* 1 and the number when the id is exactly what pk_id_write makes of it, else 0. */
int pk_id_read(const pk_codec *c, pk_slice id, uint64_t *number);

/* Where ids stay as their clients wrote them: equal of two that are the same to their peers, which an integer of
 * MessagePack is in any width. */
uint64_t pk_id_hash(const pk_codec *c, pk_slice id);
int pk_id_same(const pk_codec *c, pk_slice a, pk_slice b);

/* The id of a frame of which `size` bytes are there; no data where there is none, or it is not inside. */
pk_slice pk_id_of(const pk_codec *c, const uint8_t *data, const pk_frame *f, size_t size);

/* A frame of `size` bytes with another id takes at most so many. */
static inline uint32_t pk_id_room(const pk_codec *c, uint32_t size) { return size + c->id_max + PK_SPLICE_MORE; }

#endif
