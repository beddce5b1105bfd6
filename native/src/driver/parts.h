/* parts.h: what the files of the worker share. worker.c: the loop and the thread; sockets.c: connections and what the
 * core asks for; transport_*.c: their bytes; transport.c: whose; acceptors.c: listening; events.c: what goes up to the
 * deciding side. */
#ifndef PK_PARTS_H
#define PK_PARTS_H

#include "driver/transport.h"

#include <pthread.h>

#include "base/ring.h"

enum { PK_SOCK_OPEN = 0, PK_SOCK_CONNECTING, PK_SOCK_STARTING };

typedef struct sock {
  pk_link link; /* handle 0: free */
  uint8_t opening;  /* PK_SOCK_*: nothing is received or sent yet but by the transport */
  uint8_t full;     /* the transport takes no more: an edge will say when it does */
  uint8_t again;    /* on that list */
  uint8_t finishing; /* no more comes from here, and the transport has still to say so */
  uint8_t finished; /* we said that no more comes from here */
  uint8_t ended; /* an edge said that the peer sends no more: read up to the end, there is no other edge */
} sock;

typedef struct acceptor {
  uint32_t listener;
  int fd; /* -1: free */
  uint64_t rearm_at; /* ns; 0 while armed */
} acceptor;

struct pk_worker {
  pk_core *core;
  pthread_t thread;
  int epoll, wake, event_fd;
  int client_fds, upstream_fds; /* no descriptor from this number on for clients, for servers */
  pk_ring commands, events;
  sock *socks;
  uint32_t sock_capacity, sock_count;
  acceptor *acceptors;
  uint32_t acceptor_count;
  pk_op *late; /* events that found the ring full and must not be lost */
  uint32_t late_count, late_capacity;
  pk_handle *again; /* sockets that may have more to read */
  uint32_t again_count, again_capacity;
  int stop, shutting_down, told_drained;
  uint64_t peak; /* bytes of buffers, since some were given back last */
  uint32_t told; /* events up to which the other side was woken */
  uint64_t calls; /* system calls of this batch */
  uint64_t now;
  const pk_transport *(*transport_of)(const pk_worker *w, const pk_link *l); /* pk_transport_of; tests have their own */
};

#define PK_ACCEPTOR_BIT ((uint64_t)1 << 63) /* of epoll's data: an acceptor's index, no handle */

/* worker.c: a worker without its thread, which does nothing but wait and do a batch */
pk_worker *pk_worker_new(uint64_t seed); /* NULL and errno */
void pk_worker_free(pk_worker *w);
int pk_worker_wait_ms(const pk_worker *w); /* until the next batch at the latest; -1: until something happens */
void pk_worker_batch(pk_worker *w, const struct epoll_event *events, int count, uint64_t now);

/* sockets.c */
sock *pk_sock_find(pk_worker *w, pk_handle h);
sock *pk_sock_add(pk_worker *w, pk_handle h, int fd, int upstream);
void pk_sock_start(pk_worker *w, sock *s); /* it is connected; the core is told when the transport is done */
int pk_link_watch(pk_worker *w, const pk_link *l, int fd); /* -1 and errno */
void pk_sock_ready(pk_worker *w, sock *s, uint32_t events); /* of epoll */
void pk_sock_tune(int fd);
int pk_is_shortage(int error);          /* an errno that says that something is used up */
void pk_socks_read_left(pk_worker *w);  /* those whose last read may have left something, one read each */
void pk_socks_settle(pk_worker *w);     /* carry out what the core asks for, and write what waits */

/* acceptors.c */
void pk_descriptors_share(pk_worker *w);
void pk_acceptor_take(pk_worker *w, acceptor *a, int most);
void pk_acceptors_add(pk_worker *w, uint32_t listener, int fd);
void pk_acceptors_remove(pk_worker *w, uint32_t listener);
void pk_acceptors_rearm(pk_worker *w); /* those that rested long enough */

/* events.c */
int pk_event_put(pk_worker *w, const pk_op *op);   /* -1: no room */
void pk_event_keep(pk_worker *w, const pk_op *op); /* it goes up when there is room */
void pk_event_drop(const pk_op *op);               /* nobody takes it: what it brings is closed */
void pk_events_late(pk_worker *w);                 /* those that were kept, as far as there is room */

#endif
