/* condition.h: what a rule asks of a request beside its service, method, version and group. */
#ifndef PK_CONDITION_H
#define PK_CONDITION_H

#include "table/question.h"

/* Conditions stand in one another at most so deep. */
enum { PK_CONDITION_DEPTH = 16 };

/* Whether it holds. What cannot be read does not, and q->error says so. */
int pk_condition_holds(const pk_table *t, const pk_condition *c, pk_question *q);

/* PK_DEPTH_*: where what it asks stands. */
uint32_t pk_condition_depth(const pk_table *t, const pk_condition *c);
int pk_condition_asks_oneway(const pk_condition *c);

/* Whether characters beyond U+FFFF matter to a condition of a value: some text has one, or an expression may mean any. */
int pk_condition_is_wide(const pk_table *t, const pk_condition *c);

/* Whether it may hold for a client of that listener, as far as its listener and protocol say. */
int pk_condition_possible(const pk_table *t, const pk_condition *c, const pk_table_listener *l);

/* Why these `count` records are no condition with all that is in it, or NULL. Their fields are right. */
const char *pk_condition_wrong(const pk_table *t, const pk_condition *c, uint32_t count);

/* Places for the values of a condition, a power of two; and filling them. */
uint32_t pk_condition_slots(const pk_condition *c);
void pk_condition_index(const pk_table *t, const pk_condition *c, uint32_t *slots);

#endif
