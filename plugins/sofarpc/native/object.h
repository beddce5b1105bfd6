/* object.h: fields of an object by name, in the draft of Hessian 2. Hessian 1.0 is a part of that draft: it
 * writes objects as typed maps. */
#ifndef TR_OBJECT_H
#define TR_OBJECT_H

#include <protokit/codec.h>

enum { TR_TEXT = 1, TR_NUMBER, TR_OBJECT };

typedef struct tr_field tr_field;
struct tr_field {
  const char *name;
  int kind;        /* TR_*: what its value has to be */
  int found;       /* set where it was */
  pk_slice text;   /* of TR_TEXT */
  int64_t number;  /* of TR_NUMBER */
  tr_field *inner; /* of TR_OBJECT: its fields, `inner_count` */
  uint32_t inner_count;
};

/* Read the object in front of a section; of a field that stands twice the last counts. PK_OK;
 * PK_ERR_FORMAT: malformed; PK_ERR_UNSUPPORTED: no object; PK_ERR_LIMIT: nested deeper, or with more classes than a
 * JVM reads, or a text that is wanted in chunks. Linear. */
int tr_object(const uint8_t *section, size_t size, tr_field *fields, uint32_t count);

#endif
