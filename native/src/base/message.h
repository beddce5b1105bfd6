/* message.h: short texts of printable bytes, put together without printf: errors come in storms. */
#ifndef PK_MESSAGE_H
#define PK_MESSAGE_H

#include <stdint.h>

typedef struct pk_message {
  char data[512];
  uint32_t size;
} pk_message;

/* What does not fit is left out. */
void pk_message_begin(pk_message *m, const char *s); /* what stood there is of no account */
void pk_message_add(pk_message *m, const char *s);
void pk_message_bytes(pk_message *m, const void *data, uint32_t size); /* made printable */
void pk_message_number(pk_message *m, uint64_t n);

#endif
