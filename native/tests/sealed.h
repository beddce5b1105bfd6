/* sealed.h: a transport as TLS is one, without the secrets: who connects says S1 and who accepts S2, and then nothing goes but
 * in records (size, 2 bytes; the bytes, changed), of which receive reads as many as there are. `sealed` is both ends of it. */
#ifndef SEALED_H
#define SEALED_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/parts.h"

enum { SEALED_RECORD = 1000, SEALED_ROOM = 4096, SEALED_KEY = 0x5a };

typedef struct sealed {
  uint8_t in[SEALED_ROOM], out[2 + SEALED_RECORD];
  size_t in_size, given;                 /* given: of the first record */
  size_t out_size, out_sent, out_holds; /* out_holds: bytes before they were sealed */
  int said, heard, stopped;              /* bytes of S1 and S2; stopped: before EAGAIN */
} sealed;

/* The whole of the first record, or 0. */
static inline size_t sealed_record(const sealed *s) {
  size_t size = s->in_size < 2 ? 0 : (size_t)s->in[0] << 8 | s->in[1];
  return size > 0 && s->in_size >= 2 + size ? size : 0;
}

/* Bytes of the first record, as many as fit; 0: it is not there yet. */
static inline size_t sealed_open(sealed *s, uint8_t *to, size_t size) {
  size_t record = sealed_record(s), n = record - s->given < size ? record - s->given : size;
  if (record == 0) return 0;
  for (size_t i = 0; i < n; i++) to[i] = s->in[2 + s->given + i] ^ SEALED_KEY;
  s->given += n;
  if (s->given == record) {
    s->in_size -= 2 + record;
    s->given = 0;
    memmove(s->in, s->in + 2 + record, s->in_size);
  }
  return n;
}

static inline void sealed_seal(sealed *s, const uint8_t *from, size_t size) {
  s->out_holds = size < SEALED_RECORD ? size : SEALED_RECORD;
  s->out[0] = (uint8_t)(s->out_holds >> 8);
  s->out[1] = (uint8_t)s->out_holds;
  for (size_t i = 0; i < s->out_holds; i++) s->out[2 + i] = from[i] ^ SEALED_KEY;
  s->out_size = 2 + s->out_holds;
  s->out_sent = 0;
}

static inline ssize_t sealed_flush(pk_worker *w, pk_link *l, const uint8_t *from, size_t size) {
  struct iovec piece = {.iov_base = (void *)(uintptr_t)from, .iov_len = size};
  return pk_plain_send(w, l, &piece, 1, size);
}

static int sealed_start(pk_worker *w, pk_link *l) {
  if (l->state == NULL) l->state = calloc(1, sizeof(sealed));
  sealed *s = l->state;
  if (s == NULL) return PK_EXHAUSTED;
  const char *mine = l->upstream ? "S1" : "S2", *theirs = l->upstream ? "S2" : "S1";
  while (s->said < 2 || s->heard < 2) {
    uint8_t byte;
    int speak = s->said < 2 && (l->upstream || s->heard == 2);
    ssize_t n = speak ? sealed_flush(w, l, (const uint8_t *)mine + s->said, 1) : pk_plain_receive(w, l, &byte, 1);
    if (n == PK_AGAIN) return PK_AGAIN;
    if (n <= 0 || (!speak && byte != (uint8_t)theirs[s->heard])) return PK_FAILED;
    if (speak) {
      s->said++;
    } else {
      s->heard++;
    }
  }
  s->stopped = 1;
  return PK_DONE;
}

static ssize_t sealed_receive(pk_worker *w, pk_link *l, uint8_t *to, size_t size) {
  sealed *s = l->state;
  for (;;) {
    size_t opened = sealed_open(s, to, size);
    if (opened > 0) return (ssize_t)opened;
    ssize_t n = pk_plain_receive(w, l, s->in + s->in_size, sizeof s->in - s->in_size);
    s->stopped = n > 0;
    if (n == 0 && s->in_size > 0) return PK_FAILED;
    if (n <= 0) return n;
    s->in_size += (size_t)n;
  }
}

static ssize_t sealed_send(pk_worker *w, pk_link *l, const struct iovec *pieces, int count, size_t total) {
  sealed *s = l->state;
  size_t taken = 0;
  for (int i = 0; i < count; i++) {
    for (size_t at = 0; at < pieces[i].iov_len; at += s->out_holds) {
      if (s->out_size == 0) sealed_seal(s, (const uint8_t *)pieces[i].iov_base + at, pieces[i].iov_len - at);
      while (s->out_sent < s->out_size) {
        ssize_t n = sealed_flush(w, l, s->out + s->out_sent, s->out_size - s->out_sent);
        if (n < 0) return n == PK_AGAIN && taken > 0 ? (ssize_t)taken : n;
        s->out_sent += (size_t)n;
      }
      s->out_size = 0;
      taken += s->out_holds;
    }
  }
  return taken == total ? (ssize_t)taken : PK_FAILED;
}

static int sealed_pending(const pk_link *l) {
  const sealed *s = l->state;
  return s->stopped || sealed_record(s) > 0;
}

static void sealed_close(pk_worker *w, pk_link *l, int reset) {
  free(l->state);
  pk_transport_plain.close(w, l, reset);
}

static const pk_transport sealed_transport = {sealed_start,    sealed_receive, sealed_send,
                                              pk_plain_finish, sealed_pending, sealed_close};

#endif
