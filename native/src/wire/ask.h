/* ask.h: what a whole frame says, asked of any codec, whatever it brings of these functions. */
#ifndef PK_ASK_H
#define PK_ASK_H

#include <protokit/codec.h>

static inline int pk_is_call(const pk_frame *f) { return f->kind == PK_KIND_REQUEST || f->kind == PK_KIND_ONEWAY; }

/* Other frames have no headers that anybody asks for. */
static inline int pk_has_headers(const pk_frame *f) { return pk_is_call(f) || f->kind == PK_KIND_RESPONSE; }

/* A header of a request or an answer by its key, of several the last. PK_OK; PK_MORE: there is none; PK_ERR_*. */
int pk_header_by_key(const pk_codec *c, const uint8_t *data, const pk_frame *f, pk_slice key, pk_header *out);

/* The headers of a request that are asked for, all at once. PK_OK; PK_ERR_*: they have to be asked for one by one. */
int pk_headers_wanted(const pk_codec *c, const uint8_t *data, const pk_frame *f, const pk_wanted *wanted, pk_headers *found);

/* An argument of a request's call, or what is inside of it behind `count` keys. PK_OK; PK_MORE: it has no such; PK_ERR_*,
 * PK_ERR_UNSUPPORTED where its protocol's cannot be read. */
int pk_argument_at(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint32_t index, const pk_slice *keys,
                   uint32_t count, pk_value *out);

/* Whether its arguments can be looked into. */
static inline int pk_codec_looks_inside(const pk_codec *c) { return PK_CODEC_HAS(c, inside) && c->inside != NULL; }

/* Whether its requests can be given another budget. */
int pk_codec_budgets(const pk_codec *c);

/* A request with another budget of its caller's, ms; room for PK_BUDGET_MORE besides. Its size, or PK_ERR_*. */
int pk_budget_in(const pk_codec *c, const uint8_t *data, const pk_frame *f, uint32_t ms, uint8_t *out);

#endif
