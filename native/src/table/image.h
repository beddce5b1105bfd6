/* image.h: the image of a table is checked, all of it, before anything of it is used. */
#ifndef PK_IMAGE_H
#define PK_IMAGE_H

#include "table/table.h"

/* Whether every record of the image at `t`, of `size` bytes, is one that a table may have; else 0 and why, in words.
 * Only t->codecs is given already. */
int pk_image_check(const pk_table *t, size_t size, char *why, size_t why_size);

#endif
