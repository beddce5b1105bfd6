/* message.h: short texts of printable bytes, put together without printf: errors come in storms. */
#ifndef PK_MESSAGE_H
#define PK_MESSAGE_H

#include <stdint.h>
#include <string.h>

typedef struct pk_message {
  char data[512];
  uint32_t size;
} pk_message;

/* What does not fit is left out. */
void pk_message_put(pk_message *m, const char *s, size_t size);
void pk_message_bytes(pk_message *m, const void *data, uint32_t size); /* made printable */
void pk_message_number(pk_message *m, uint64_t n);

/* How long a text is that stands in the code is known when that is compiled, also where it is for size. */
static inline __attribute__((always_inline)) void pk_message_add(pk_message *m, const char *s) { pk_message_put(m, s, strlen(s)); }

static inline __attribute__((always_inline)) void pk_message_begin(pk_message *m, const char *s) { /* what stood there is of no account */
  m->size = 0;
  pk_message_add(m, s);
}

#endif
