/* in_process.h: a worker without its thread, over a transport in this process: what arrives when, what is taken, which
 * edge is announced and what fails is the test's, byte by byte, and so is the clock. No edge is announced twice and
 * none but the one that is due, so that whatever the worker would sleep on shows. */
#ifndef PK_IN_PROCESS_H
#define PK_IN_PROCESS_H

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../tests/toy/toy.c"
#include "driver/parts.h"
#include "tables.h"

#define CHECK(is)                                                                   \
  do {                                                                              \
    if (!(is)) fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #is), abort(); \
  } while (0)

enum { BYTES = 1 << 17, WIRES = 8192, HEAD = 13, CONNECT_MS = 1000, LARGEST = 4096, PAUSE = 2048 };
static const size_t all = (size_t)-1;

/* One connection: what its peer has sent and been given, and how the transport behaves. */
typedef struct wire {
  pk_handle handle;
  int upstream;
  uint8_t *in, *out; /* the peer's bytes, and the worker's */
  size_t in_size, in_taken, inside; /* inside: of those that came the transport holds so many, as a record's are held */
  size_t out_size, answered;
  int ended; /* the peer's end stands behind its bytes */
  int records; /* what comes is taken inside at once */
  size_t most; /* receive gives so many at a time; of records only */
  size_t room, grant; /* send takes so many, then says PK_AGAIN; so many it takes after each edge */
  const uint8_t *early; /* comes with the start, inside */
  size_t early_size;
  int start_waits, start_fails, receive_waits, send_waits, finish_waits; /* so often */
  int receive_fails; /* once all that came is received */
  size_t send_fails; /* at that byte */
  int starts, receives, sends, finishes, closes, reset;
  int refused; /* send has said PK_AGAIN, or taken a part */
  uint32_t edge; /* to be announced */
} wire;

static pk_worker *worker;
static pk_table *table;
static struct sockaddr_in addresses[2]; /* of listeners: the toy protocol's, and one that passes on what it is sent */
static int server_socket;
static wire *wires[WIRES];
static int wire_count;
static wire client_script, server_script; /* how the next ones behave */
static uint64_t now_ns;
static int accepting; /* 1 + the listener at which somebody is */

/* The transport. */

static int wire_start(pk_worker *w, pk_link *l) {
  (void)w;
  wire *x = l->state;
  if (x == NULL) {
    CHECK(wire_count < WIRES);
    x = wires[wire_count++] = malloc(sizeof *x);
    *x = l->upstream ? server_script : client_script;
    x->handle = l->handle;
    x->upstream = l->upstream;
    x->in = malloc(BYTES);
    x->out = malloc(BYTES);
    l->state = x;
    if (x->early_size > 0) memcpy(x->in, x->early, x->early_size);
    x->in_size = x->inside = x->early_size;
  }
  x->starts++;
  errno = ECONNABORTED;
  if (x->start_waits-- > 0) return PK_AGAIN;
  return x->start_fails ? PK_FAILED : PK_DONE;
}

static ssize_t wire_receive(pk_worker *w, pk_link *l, uint8_t *to, size_t size) {
  (void)w;
  wire *x = l->state;
  x->receives++;
  if (x->receive_waits-- > 0) {
    l->receive_edges |= EPOLLOUT;
    return PK_AGAIN;
  }
  size_t waiting = x->in_size - x->in_taken, n = waiting < size ? waiting : size;
  if (x->records && n > x->most) n = x->most;
  if (n == 0 && x->receive_fails) return PK_FAILED;
  if (n == 0 && x->ended) x->ended = 2;
  if (n == 0) return x->ended ? 0 : PK_AGAIN;
  memcpy(to, x->in + x->in_taken, n);
  x->in_taken += n;
  x->inside = x->records ? waiting - n : 0;
  return (ssize_t)n;
}

static ssize_t wire_send(pk_worker *w, pk_link *l, const struct iovec *pieces, int count, size_t total) {
  (void)w;
  wire *x = l->state;
  size_t sent = 0;
  x->sends++;
  if (x->send_waits-- > 0) {
    l->send_edges |= EPOLLIN;
    return PK_AGAIN;
  }
  for (int i = 0; i < count; i++) {
    for (size_t k = 0; k < pieces[i].iov_len && x->room > 0; k++) {
      if (x->out_size == x->send_fails) return PK_FAILED;
      CHECK(x->out_size < BYTES);
      x->out[x->out_size++] = ((const uint8_t *)pieces[i].iov_base)[k];
      x->room -= x->room != all;
      sent++;
    }
  }
  CHECK(sent <= total);
  x->refused = sent < total;
  return sent > 0 ? (ssize_t)sent : PK_AGAIN;
}

static int wire_finish(pk_worker *w, pk_link *l) {
  (void)w;
  wire *x = l->state;
  x->finishes++;
  return x->finish_waits-- > 0 ? PK_AGAIN : PK_DONE;
}

static int wire_pending(const pk_link *l) {
  const wire *x = l->state;
  return x->inside > 0 || (x->records && x->ended == 1);
}

static void wire_close(pk_worker *w, pk_link *l, int reset) {
  (void)w;
  wire *x = l->state;
  x->closes++;
  x->reset = reset;
  close(l->fd);
}

static const pk_transport in_process = {wire_start, wire_receive, wire_send, wire_finish, wire_pending, wire_close};

static const pk_transport *in_process_of(const pk_worker *w, const pk_link *l) {
  (void)w, (void)l;
  return &in_process;
}

/* The worker's turns. */

static int connects(const sock *s) { return s->link.handle != 0 && s->opening == PK_SOCK_CONNECTING; }

/* One batch with the edges that are due, and those that it wants without any. */
static void turn(void) {
  static struct epoll_event events[WIRES];
  int n = 0, batches = 0;
  events[n++] = (struct epoll_event){.events = EPOLLIN, .data.u64 = 0};
  if (accepting)
    events[n++] = (struct epoll_event){.events = EPOLLIN, .data.u64 = PK_ACCEPTOR_BIT | (uint32_t)(accepting - 1)};
  accepting = 0;
  for (uint32_t i = 0; i < worker->sock_capacity; i++) {
    const sock *s = &worker->socks[i];
    if (connects(s))
      events[n++] = (struct epoll_event){.events = EPOLLOUT, .data.u64 = s->link.handle};
  }
  for (int i = 0; i < wire_count; i++) {
    if (wires[i]->edge != 0 && !wires[i]->closes)
      events[n++] = (struct epoll_event){.events = wires[i]->edge, .data.u64 = wires[i]->handle};
    wires[i]->edge = 0;
  }
  pk_worker_batch(worker, events, n, now_ns);
  for (; pk_worker_wait_ms(worker) == 0; batches++) {
    CHECK(batches < 100000); /* it turns round and round */
    pk_worker_batch(worker, NULL, 0, now_ns);
  }
}

static void arrive(wire *x, const uint8_t *data, size_t size) {
  CHECK(x->in_size + size <= BYTES);
  memcpy(x->in + x->in_size, data, size);
  x->in_size += size;
  if (size > 0) x->edge |= EPOLLIN;
}

/* Servers answer what they were asked, and everybody takes what they grant. Whether anybody did anything. */
static int peers(void) {
  int busy = 0;
  for (int i = 0; i < wire_count; i++) {
    wire *x = wires[i];
    if (x->closes) continue;
    while (x->upstream && x->out_size - x->answered >= HEAD) {
      uint8_t *one = x->out + x->answered;
      size_t size = HEAD + ((size_t)one[11] << 8 | one[12]);
      if (x->out_size - x->answered < size) break;
      x->answered += size;
      CHECK(one[1] == PK_KIND_REQUEST || one[1] == PK_KIND_HEARTBEAT);
      one[1] = one[1] == PK_KIND_REQUEST ? PK_KIND_RESPONSE : PK_KIND_HEARTBEAT_ACK;
      arrive(x, one, size);
    }
    if (x->refused && x->grant > 0) {
      x->room = x->grant;
      x->refused = 0;
      x->edge |= EPOLLOUT;
    }
    busy |= x->edge != 0;
  }
  for (uint32_t i = 0; i < worker->sock_capacity; i++) busy |= connects(&worker->socks[i]);
  return busy;
}

static void go_on(void) {
  do turn();
  while (peers());
}

/* The world. */

static int listening(struct sockaddr_in *at) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  socklen_t size = sizeof *at;
  *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  CHECK(bind(fd, (struct sockaddr *)at, size) == 0 && listen(fd, 64) == 0);
  getsockname(fd, (struct sockaddr *)at, &size);
  return fd;
}

static void begin(void) {
  pk_limits limits = {.buffer = 64 << 20, .frame = LARGEST, .connections = WIRES, .in_flight = 10000,
                      .in_flight_per_connection = 1000, .filters = 1000, .client_pause = PAUSE, .client_close = 1 << 24,
                      .upstream_buffer = 1 << 20, .upstream_in_flight = 1024, .retry_buffer = 1 << 16,
                      .request_ms = 30000, .idle_ms = 600000, .frame_ms = 10000, .detect_ms = 5000,
                      .probe_ms = 5000, .filter_ms = 30000};
  struct sockaddr_in server_address;
  int listeners[] = {listening(&addresses[0]), listening(&addresses[1])};
  server_socket = listening(&server_address);

  tables_builder t = {0};
  uint32_t cluster = tables_cluster(&t, "c", 1);
  tables_endpoint(&t, 0, "up", &server_address, sizeof server_address);
  uint32_t plan = tables_plan(&t, "p", cluster, (pk_retry){0}, PK_NONE);
  tables_listener(&t, "in", PK_NONE, plan, 0);
  TABLES_ADD(&t, listeners, (pk_table_listener){.present = 1, .name = tables_text(&t, "raw"), .routes = PK_NONE, .access = PK_NONE, .dry_run = PK_NONE,
                                                .plan = plan, .fallback = cluster});
  table = tables_load(&t, 99, &limits, &wide);

  client_script = server_script = (wire){.room = all, .send_fails = all};
  now_ns = 1000000000;
  worker = pk_worker_new(1);
  CHECK(worker != NULL);
  worker->transport_of = in_process_of;
  CHECK(pk_worker_prepare(worker, table, 1) == 0 && pk_worker_commit(worker) == 0);
  for (uint32_t i = 0; i < 2; i++) CHECK(pk_worker_listen(worker, i, listeners[i]) == 0);
  turn();
}

/* Whatever is open is closed once. */
static void end(void) {
  pk_worker_free(worker);
  close(server_socket);
  pk_table_free(table);
  for (int i = 0; i < wire_count; i++) {
    CHECK(wires[i]->closes == 1);
    free(wires[i]->in);
    free(wires[i]->out);
    free(wires[i]);
  }
  wire_count = 0;
}

static wire *client_of(int listener) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), before = wire_count;
  CHECK(connect(fd, (struct sockaddr *)&addresses[listener], sizeof *addresses) == 0);
  accepting = 1 + listener;
  turn();
  close(fd); /* nobody looks at it */
  CHECK(wire_count == before + 1);
  return wires[before];
}

static wire *client(void) { return client_of(0); }

static wire *server(void) {
  for (int i = wire_count - 1; i >= 0; i--)
    if (wires[i]->upstream) return wires[i];
  CHECK(0);
  return NULL;
}

/* The next request meets a new connection. */
static void lose_server(void) {
  wire *x = server();
  x->receive_fails = 1;
  x->edge = EPOLLIN;
  turn();
  CHECK(x->closes == 1);
}

static size_t request(uint8_t *to, uint64_t id, size_t more) {
  char body[LARGEST] = "svc m ";
  memset(body + 6, (int)('a' + id % 26), more);
  return (size_t)build(&wide, PK_KIND_REQUEST, 0, id, body, 6 + more, to, LARGEST);
}

/* `count` requests from `id` on. */
static size_t requests(uint8_t *to, uint64_t id, int count, size_t more) {
  size_t size = 0;
  for (int i = 0; i < count; i++) size += request(to + size, id + (uint64_t)i, more);
  return size;
}

/* What the client was given is the answers to those, and nothing else. */
static int has_answers(const wire *x, const uint8_t *asked, size_t size) {
  if (x->out_size != size) return 0;
  for (size_t at = 0; at < size; at += HEAD + ((size_t)asked[at + 11] << 8 | asked[at + 12])) {
    size_t one = HEAD + ((size_t)asked[at + 11] << 8 | asked[at + 12]);
    if (x->out[at + 1] != PK_KIND_RESPONSE || x->out[at] != asked[at]) return 0;
    if (memcmp(x->out + at + 2, asked + at + 2, one - 2) != 0) return 0;
  }
  return 1;
}

/* A client is answered as if nothing had been. */
static void others_are_well(void) {
  uint8_t asked[64];
  client_script = server_script = (wire){.room = all, .send_fails = all};
  wire *x = client();
  size_t size = request(asked, 5, 3);
  arrive(x, asked, size);
  go_on();
  CHECK(has_answers(x, asked, size) && !x->closes);
}

/* A request that a server's end leaves open is answered by the proxy: its status. */
static int refusal(const wire *x) {
  CHECK(x->out_size > HEAD && x->out[1] == PK_KIND_RESPONSE);
  CHECK(x->out_size == HEAD + ((size_t)x->out[11] << 8 | x->out[12]));
  return x->out[2];
}

#endif
