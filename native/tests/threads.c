/* threads.c: workers on their threads, clients and an upstream on others, while the main thread swaps
 * tables, decides filters and reads counters; over plain sockets, and over a transport with a handshake and records. And a
 * breaker's last places. Built
 * with ThreadSanitizer and with AddressSanitizer; every answer is checked. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../tests/toy/toy.c"
#include "access.h"
#include "policy/breaker.h"
#include "sealed.h"
#include "tables.h"

static int use(pk_worker *w, const pk_table *table, uint64_t token) {
  return pk_worker_prepare(w, table, token) != 0 ? -1 : pk_worker_commit(w);
}

enum { WORKERS = 2, CLIENTS = 8, ROUNDS = 300, DEPTH = 8, TABLES = 100, HEAD = 13 };

static int listen_on(struct sockaddr_in *a, int reuse) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, reuse ? SO_REUSEPORT : SO_REUSEADDR, &one, sizeof one);
  assert(bind(fd, (struct sockaddr *)a, sizeof *a) == 0 && listen(fd, 256) == 0);
  socklen_t size = sizeof *a;
  getsockname(fd, (struct sockaddr *)a, &size);
  return fd;
}

/* The other end of a connection; `seal`: of a sealed one. */
typedef struct peer {
  int fd;
  sealed *seal;
} peer;

static _Atomic int sealing; /* whether new connections are sealed */

static int read_all(peer *p, uint8_t *to, size_t size) {
  while (size > 0) {
    ssize_t n = p->seal == NULL ? 0 : (ssize_t)sealed_open(p->seal, to, size);
    if (n == 0 && p->seal != NULL) {
      n = recv(p->fd, p->seal->in + p->seal->in_size, sizeof p->seal->in - p->seal->in_size, 0);
      if (n > 0) {
        p->seal->in_size += (size_t)n;
        continue;
      }
    } else if (n == 0) {
      n = recv(p->fd, to, size, 0);
    }
    if (n <= 0) return -1;
    to += n;
    size -= (size_t)n;
  }
  return 0;
}

static int write_all(peer *p, const uint8_t *from, size_t size) {
  if (p->seal == NULL) return send(p->fd, from, size, MSG_NOSIGNAL) == (ssize_t)size ? 0 : -1;
  for (; size > 0; from += p->seal->out_holds, size -= p->seal->out_holds) {
    sealed_seal(p->seal, from, size < 77 ? size : 77); /* frames and records end at different places */
    if (send(p->fd, p->seal->out, p->seal->out_size, MSG_NOSIGNAL) != (ssize_t)p->seal->out_size) return -1;
  }
  return 0;
}

static void peer_begin(peer *p, int fd, int connecting) {
  uint8_t two[2];
  *p = (peer){.fd = fd};
  if (!sealing) return;
  if (connecting) assert(send(fd, "S1", 2, MSG_NOSIGNAL) == 2);
  if (read_all(p, two, 2) != 0) return; /* the worker is gone */
  if (!connecting && send(fd, "S2", 2, MSG_NOSIGNAL) != 2) return;
  assert(memcmp(two, connecting ? "S2" : "S1", 2) == 0);
  p->seal = calloc(1, sizeof *p->seal);
}

static void peer_end(peer *p) {
  free(p->seal);
  close(p->fd);
}

/* One frame into `to`; its size, 0 at the end. */
static size_t read_frame(peer *p, uint8_t *to) {
  if (read_all(p, to, HEAD) != 0) return 0;
  size_t body = (size_t)to[11] << 8 | to[12];
  return read_all(p, to + HEAD, body) == 0 ? HEAD + body : 0;
}

static void *upstream_connection(void *argument) {
  peer p;
  uint8_t frame_bytes[4096];
  size_t size;
  peer_begin(&p, (int)(intptr_t)argument, 0);
  while ((size = read_frame(&p, frame_bytes)) > 0) {
    if (frame_bytes[1] == PK_KIND_HEARTBEAT) frame_bytes[1] = PK_KIND_HEARTBEAT_ACK;
    if (frame_bytes[1] == PK_KIND_REQUEST) frame_bytes[1] = PK_KIND_RESPONSE;
    if (write_all(&p, frame_bytes, size) != 0) break;
  }
  peer_end(&p);
  return NULL;
}

static void *upstream(void *argument) {
  int fd = (int)(intptr_t)argument;
  for (;;) {
    int accepted = accept(fd, NULL, NULL);
    pthread_t thread;
    if (accepted < 0) return NULL;
    pthread_create(&thread, NULL, upstream_connection, (void *)(intptr_t)accepted);
    pthread_detach(thread);
  }
}

static struct sockaddr_in proxy_address;
static _Atomic int finished;

static void *client(void *argument) {
  int number = (int)(intptr_t)argument, fd = socket(AF_INET, SOCK_STREAM, 0);
  uint8_t out[DEPTH * 64], in[4096];
  peer p;
  assert(connect(fd, (struct sockaddr *)&proxy_address, sizeof proxy_address) == 0);
  peer_begin(&p, fd, 1);
  for (int round = 0; round < ROUNDS; round++) {
    size_t size = 0;
    for (int i = 0; i < DEPTH; i++) {
      char body[48];
      int length = snprintf(body, sizeof body, "svc m %d-%d-%d", number, round, i);
      size += (size_t)build(&wide, PK_KIND_REQUEST, 0, (uint64_t)(round * DEPTH + i), body, (size_t)length,
                            out + size, sizeof out - size);
    }
    assert(write_all(&p, out, size) == 0);
    for (int i = 0; i < DEPTH; i++) {
      char expected[48];
      size_t got = read_frame(&p, in);
      assert(got > HEAD && in[1] == PK_KIND_RESPONSE && in[2] == 0);
      int id = in[9] << 8 | in[10];
      id |= in[8] << 16;
      int length = snprintf(expected, sizeof expected, "svc m %d-%d-%d", number, id / DEPTH, id % DEPTH);
      assert(id / DEPTH == round && got == HEAD + (size_t)length && memcmp(in + HEAD, expected, (size_t)length) == 0);
    }
  }
  peer_end(&p);
  finished++;
  return NULL;
}

static pk_table *table(const struct sockaddr_in *upstream_address, int filtered, uintptr_t codec) {
  pk_limits limits = {.buffer = 64 << 20, .frame = 1 << 16, .connections = 100, .in_flight = 10000,
                      .in_flight_per_connection = 1000, .filters = 1000, .client_pause = 1 << 18, .client_close = 1 << 24,
                      .upstream_buffer = 1 << 20, .upstream_in_flight = 1024, .retry_buffer = 1 << 16,
                      .request_ms = 30000, .idle_ms = 60000, .frame_ms = 10000, .detect_ms = 5000,
                      .heartbeat_ms = 20, .probe_ms = 5000, .filter_ms = 30000};
  tables_builder t = {0};
  uint32_t cluster = tables_cluster(&t, "c", 2);
  tables_endpoint(&t, 0, "up", upstream_address, sizeof *upstream_address);
  uint32_t plan = tables_plan(&t, "p", cluster, (pk_retry){0}, filtered ? 0 : PK_NONE);
  uint32_t routes = tables_routes(&t, "r");
  tables_rule(&t, "svc", "*", plan);
  tables_listener(&t, "in", routes, PK_NONE, 0);
  return tables_load(&t, 99, &limits, (const pk_codec *)codec);
}

/* The next event of that kind. */
static pk_op event_of(pk_worker *w, uint32_t what) {
  pk_op one;
  for (int tries = 0; tries < 10000; tries++) {
    if (pk_worker_take_events(w, &one, 1) == 1 && one.op == what) return one;
    usleep(500);
  }
  abort();
}

/* Descriptors that the worker hands up do not block. */
static size_t some_of(int fd, uint8_t *to, size_t size) {
  for (int tries = 0; tries < 10000; tries++) {
    ssize_t n = recv(fd, to, size, 0);
    if (n >= 0 || errno != EAGAIN) return n > 0 ? (size_t)n : 0;
    usleep(500);
  }
  abort();
}

static size_t envelope_of(uint8_t *to, uint8_t kind, uint64_t id) {
  memset(to, 0, 55);
  memcpy(to, "PKE1\x37", 5);
  memcpy(to + 8, &id, sizeof id);
  to[36] = kind;
  to[40] = 3;
  memcpy(to + 52, "svc", 3);
  return 55;
}

/* A codec of the deciding side's: one request there and back, then connections that nobody takes over. */
static void bridges(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in server_address = address;
  int server = listen_on(&server_address, 0), listener = listen_on(&address, 0);
  uint8_t data[256];
  uint64_t id;
  uintptr_t codec = pk_envelope_new("python", PK_MODE_MULTIPLEXED, 8, NULL, 0, 0);
  pk_table *t = table(&server_address, 0, codec);
  pk_worker *w = pk_worker_start(5, NULL, NULL, 0, 1);
  assert(w != NULL && use(w, t, 1) == 0 && pk_worker_listen(w, 0, listener) == 0);
  int client_fd = socket(AF_INET, SOCK_STREAM, 0);
  assert(connect(client_fd, (struct sockaddr *)&address, sizeof address) == 0);
  pk_op down = event_of(w, PK_EVENT_BRIDGE);
  assert(send(client_fd, "ask", 3, MSG_NOSIGNAL) == 3 && some_of((int)down.data, data, 3) == 3 && down.arg == 0);
  size_t size = envelope_of(data, PK_KIND_REQUEST, 77);
  assert(send((int)down.size, data, size, MSG_NOSIGNAL) == (ssize_t)size);
  pk_op up = event_of(w, PK_EVENT_BRIDGE);
  assert(up.arg == 1 && some_of((int)up.size, data, sizeof data) == size);
  memcpy(&id, data + 8, sizeof id);
  int accepted = accept(server, NULL, NULL);
  assert(id == 1 && send((int)up.data, "asked", 5, MSG_NOSIGNAL) == 5 && some_of(accepted, data, 5) == 5);
  size = envelope_of(data, PK_KIND_RESPONSE, id);
  assert(send((int)up.size, data, size, MSG_NOSIGNAL) == (ssize_t)size);
  assert(some_of((int)down.size, data, sizeof data) == size);
  memcpy(&id, data + 8, sizeof id);
  assert(id == 77);
  close((int)down.size); /* the client's side ends */
  assert(event_of(w, PK_EVENT_UNBRIDGE).handle == down.handle);
  close((int)down.data);
  close(client_fd);
  int others[20];
  for (int i = 0; i < 20; i++) {
    others[i] = socket(AF_INET, SOCK_STREAM, 0);
    assert(connect(others[i], (struct sockaddr *)&address, sizeof address) == 0);
  }
  pk_op taken = event_of(w, PK_EVENT_BRIDGE); /* the rest is the worker's to close */
  pk_worker_stop(w);
  close((int)taken.data);
  close((int)taken.size);
  for (int i = 0; i < 20; i++) assert(some_of(others[i], data, 1) == 0);
  for (int i = 0; i < 20; i++) close(others[i]);
  close((int)up.data);
  close((int)up.size);
  close(accepted);
  close(server);
  pk_table_free(t);
  free((void *)codec); /* a program keeps it for good */
}

static const pk_transport *sealed_of(const pk_worker *w, const pk_link *l) {
  (void)w, (void)l;
  return &sealed_transport;
}

static void traffic(int with_seals) {
  sealing = with_seals;
  finished = 0;
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in upstream_address = any;
  int upstream_fd = listen_on(&upstream_address, 0);
  pthread_t thread, clients[CLIENTS];
  pthread_create(&thread, NULL, upstream, (void *)(intptr_t)upstream_fd);

  pk_table *tables[TABLES + 1] = {table(&upstream_address, 0, toy_codec(0))};
  int retired[TABLES + 1] = {0}, applied = 1;
  pk_worker *workers[WORKERS];
  pk_verdicts *verdicts = pk_verdicts_new();
  proxy_address = any;
  for (int i = 0; i < WORKERS; i++) {
    workers[i] = pk_worker_start((uint64_t)i + 1, NULL, verdicts, (uint32_t)i, WORKERS);
    assert(workers[i] != NULL);
    if (with_seals) workers[i]->transport_of = sealed_of;
    assert(use(workers[i], tables[0], 0) == 0);
    assert(pk_worker_listen(workers[i], 0, listen_on(&proxy_address, 1)) == 0);
  }
  usleep(50000);
  for (int i = 0; i < CLIENTS; i++) pthread_create(&clients[i], NULL, client, (void *)(intptr_t)i);
  uint64_t decided = 0, seen = 0;
  while (finished < CLIENTS) {
    if (applied <= TABLES) {
      tables[applied] = table(&upstream_address, applied % 2, toy_codec(0));
      for (int i = 0; i < WORKERS; i++) assert(use(workers[i], tables[applied], (uint64_t)applied) == 0);
      applied++;
    }
    for (int i = 0; i < WORKERS; i++) {
      pk_op ops[64];
      uint32_t n = pk_worker_take_events(workers[i], ops, 64);
      for (uint32_t k = 0; k < n; k++) {
        if (ops[k].op == PK_OP_FILTER) {
          const char *frame_bytes = (const char *)(uintptr_t)ops[k].data;
          assert(frame_bytes[0] == 0x7e && ops[k].size > HEAD);
          while (pk_worker_decide(workers[i], ops[k].handle, PK_DECIDE_CONTINUE, 0, 0, "", 0) != 0) usleep(10);
          decided++;
        } else if (ops[k].op == PK_OP_CANCEL) {
          while (pk_worker_decide(workers[i], ops[k].handle, PK_DECIDE_CONTINUE, 0, 0, "", 0) != 0) usleep(10);
        } else if (ops[k].op == PK_OP_RETIRED && ++retired[ops[k].token] == WORKERS) {
          pk_table_free(tables[ops[k].token]);
          tables[ops[k].token] = NULL;
        }
      }
      seen += atomic_load_explicit(&pk_worker_stats(workers[i])->requests, memory_order_relaxed);
      const pk_endpoint_stats *e = pk_worker_endpoint_stats(workers[i], 0);
      if (e != NULL) seen += atomic_load_explicit(&e->active, memory_order_relaxed);
    }
    usleep(500);
  }
  for (int i = 0; i < CLIENTS; i++) pthread_join(clients[i], NULL);
  uint64_t requests = 0;
  for (int i = 0; i < WORKERS; i++) {
    requests += pk_worker_stats(workers[i])->requests;
    assert(pk_worker_drain(workers[i]) == 0 && pk_worker_shutdown(workers[i]) == 0);
    pk_worker_stop(workers[i]);
  }
  pk_verdicts_free(verdicts);
  for (int i = 0; i < applied; i++) pk_table_free(tables[i]);
  shutdown(upstream_fd, SHUT_RDWR);
  close(upstream_fd);
  pthread_join(thread, NULL);
  assert(requests == CLIENTS * ROUNDS * DEPTH && seen > 0);
  printf("threads: %llu requests%s, %d tables, %llu filter decisions\n", (unsigned long long)requests,
         with_seals ? " in records" : "", applied, (unsigned long long)decided);
}

/* Places of a breaker that threads take and give back: never more at once than there are, the last one is one's, and all
 * come back. */
typedef struct places {
  _Atomic uint32_t word, inside;
  uint32_t most;
  pthread_barrier_t begin;
} places;

enum { TURNS = 1000000 }; /* of each thread: some of them at the same time as others, also where there are few processors */

static void *takes(void *argument) {
  places *p = argument;
  pthread_barrier_wait(&p->begin);
  for (int i = 0; i < TURNS;) {
    if (!pk_breaker_take(&p->word, p->most)) continue;
    assert(atomic_fetch_add(&p->inside, 1) < p->most);
    atomic_fetch_sub(&p->inside, 1);
    pk_breaker_give(&p->word, 1);
    i++;
  }
  return NULL;
}

static void last_places(void) {
  for (uint32_t most = 1; most <= 2; most++) {
    places p = {.most = most};
    pthread_t threads[3];
    assert(pthread_barrier_init(&p.begin, NULL, 3) == 0);
    for (int i = 0; i < 3; i++) assert(pthread_create(&threads[i], NULL, takes, &p) == 0);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&p.begin);
    for (uint32_t i = 0; i < most; i++) assert(pk_breaker_take(&p.word, most)); /* all came back */
    assert(!pk_breaker_take(&p.word, most) && !pk_breaker_take(&p.word, most - 1));
  }
}

int main(void) {
  last_places();
  traffic(0);
  traffic(1);
  sealing = 0;
  bridges();
  return 0;
}
