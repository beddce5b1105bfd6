/* question.h: the values of a request, for whoever decides something by them: rules, keys, choices, changes. */
#ifndef PK_QUESTION_H
#define PK_QUESTION_H

#include "table/table.h"

/* What is known of a request's headers: those that anybody may ask for are read at once. */
enum { PK_HEADERS_UNREAD = 0, PK_HEADERS_FOUND, PK_HEADERS_BY_KEY /* not all of them can be read */ };

/* What was asked for: what its connection says (`source`, `listener`, the codec's name); what nothing else does. */
enum { PK_ASKED_CLIENT = 1, PK_ASKED_MORE = 2 };

/* A request, and what is known of it. Zeros: nothing is; `found` is not looked at before that. */
typedef struct pk_question {
  pk_destination to;
  const pk_codec *codec; /* NULL: it has no headers */
  const uint8_t *data;
  const pk_frame *frame;
  const pk_table_listener *listener; /* whose client asks; NULL: nobody's */
  const uint8_t *source; /* the client's address, 16 bytes, an IPv4 one mapped to IPv6; NULL, zeros: not known */
  uint32_t led;     /* `to` is known */
  uint32_t blank;   /* its codec cannot read that: only a rule that asks for nothing matches */
  uint32_t headers; /* PK_HEADERS_* */
  uint32_t asked;   /* PK_ASKED_*: whether somebody asked for more than the destination and these headers: */
  uint64_t asked_headers; /* bits of `found` */
  uint64_t client;  /* the handle of its connection; 0: not known */
  int error;        /* PK_ERR_*: what a rule asks for cannot be read, so that no rule is the right one; else 0 */
  uint32_t unread;  /* the plan of the first rule that asks for that */
  uint8_t digits[20]; /* of the integer that was asked for last: where its text is */
  pk_headers found;
} pk_question;

/* A value of the request, until the next one is asked for. PK_OK; PK_MORE: it has none; PK_ERR_*: it cannot be read. Of
 * arguments integers are in decimal digits, booleans `true` or `false`, null is none. */
int pk_question_value(const pk_table *t, pk_question *q, const pk_origin *of, pk_header *out);

/* Whether pk_question.found says what headers there are. */
int pk_question_headers(const pk_table *t, pk_question *q);

/* The keys of an argument's origin, PK_INSIDE_KEYS at most: how many; PK_NONE: its name is not made of them. */
uint32_t pk_origin_keys(const pk_table *t, const pk_origin *of, pk_slice *keys);

/* What the values of a key are together; `key` says what else it depends on. PK_OK; PK_MORE: the request has none of
 * them, or they are empty; PK_ERR_*. */
int pk_question_key(const pk_table *t, pk_question *q, pk_key by, uint64_t *key);

/* Whether a key needs the request itself: that of its client's address alone does not; and its headers. */
int pk_key_is_of_client(const pk_table *t, pk_key by);
int pk_key_asks(const pk_table *t, pk_key by, uint32_t origin);

#endif
