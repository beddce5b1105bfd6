/* verdict.h: whether what a listener allows and denies lets a request through, or a client.
 *
 * The rules are a route table whose plans are verdicts: first those that deny, then those that allow, then, where there
 * are such, one for all others. So the first that is for a request decides, what is denied is denied whatever allows it,
 * and ten thousand rules cost what ten do. What a rule that denies asks for and cannot be read is denied. */
#ifndef PK_VERDICT_H
#define PK_VERDICT_H

#include "table/question.h"

typedef struct pk_judgement {
  uint32_t plan; /* of the rule that refuses; PK_NONE: it is let through */
  uint32_t by;   /* of the rule that decided, whichever way; PK_NONE: there is none for it, and none allows */
  int error;     /* PK_ERR_*: a rule asks for what cannot be read, that one or, where it is for all others, one that allows */
} pk_judgement;

/* Of a request, by one of the tables of verdicts. */
pk_judgement pk_verdict_of(const pk_table *t, uint32_t routes, pk_question *q);

/* Of what is not read, or cannot be, by its client alone. */
pk_judgement pk_verdict_of_client(const pk_table *t, uint32_t routes, const pk_question *q);

#endif
