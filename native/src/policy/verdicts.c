/* verdicts.c: see verdicts.h. */
#include "policy/verdicts.h"

#include <stdlib.h>

pk_verdicts *pk_verdicts_new(void) { return calloc(1, sizeof(pk_verdicts)); }

void pk_verdicts_free(pk_verdicts *v) { free(v); }
