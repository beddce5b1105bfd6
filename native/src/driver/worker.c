/* worker.c: the epoll driver: its thread, its loop, its commands. All input and output of the process happens here. */
#include "driver/worker.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "driver/parts.h"

enum { EVENTS = 256, ACCEPTS = 16, COMMANDS = 4096, EVENTS_UP = 4096, STACK = 512 * 1024 };
enum { PEAK = 32 * 1024 * 1024 };

enum { CMD_LISTEN = 1, CMD_UNLISTEN, CMD_PREPARE, CMD_COMMIT, CMD_ABORT, CMD_DECIDE, CMD_DRAIN, CMD_SHUTDOWN, CMD_STOP };

typedef struct command {
  uint32_t what, a, b, c;
  uint64_t handle, size;
  const void *data;
} command;

static uint64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void commands(pk_worker *w) {
  command c;
  uint64_t count;
  w->calls++;
  if (read(w->wake, &count, sizeof count) < 0) return;
  while (pk_ring_take(&w->commands, &c, 1) == 1) {
    switch (c.what) {
      case CMD_LISTEN:
        pk_acceptors_add(w, c.a, (int)c.b);
        break;
      case CMD_UNLISTEN:
        pk_acceptors_remove(w, c.a);
        break;
      case CMD_PREPARE:
        pk_event_keep(w, &(pk_op){.op = PK_EVENT_PREPARED,
                               .arg = pk_core_prepare(w->core, c.data, c.handle) == 0,
                               .token = c.handle});
        break;
      case CMD_COMMIT:
        pk_descriptors_share(w); /* the limit may be another one now */
        pk_core_commit(w->core);
        break;
      case CMD_ABORT:
        pk_core_abort(w->core);
        break;
      case CMD_DECIDE:
        pk_core_decide(w->core, c.handle, c.a, c.b, c.c, c.data, c.size);
        free((void *)(uintptr_t)c.data);
        break;
      case CMD_DRAIN:
        pk_core_drain(w->core);
        break;
      case CMD_SHUTDOWN:
        w->shutting_down = 1;
        pk_core_shutdown(w->core);
        break;
      default:
        w->stop = 1;
        break;
    }
  }
}

int pk_worker_wait_ms(const pk_worker *w) {
  uint64_t next = pk_core_next(w->core), now = w->now;
  if (w->again_count > 0) return 0;
  for (uint32_t i = 0; i < w->acceptor_count; i++) {
    const acceptor *a = &w->acceptors[i];
    if (a->fd >= 0 && a->rearm_at != 0 && a->rearm_at < next) next = a->rearm_at;
  }
  if (w->late_count > 0 && now + 10000000u < next) next = now + 10000000u;
  if (next == UINT64_MAX) return -1;
  if (next <= now) return 0;
  uint64_t ms = (next - now + 999999) / 1000000;
  return ms > 60000 ? 60000 : (int)ms;
}

static void tell(pk_worker *w) {
  if (w->shutting_down && w->sock_count == 0 && !w->told_drained) {
    w->told_drained = 1;
    pk_event_keep(w, &(pk_op){.op = PK_EVENT_DRAINED});
  }
  pk_events_late(w);
  uint32_t tail = atomic_load_explicit(&w->events.tail, memory_order_relaxed);
  if (tail != w->told) {
    uint64_t one = 1;
    w->told = tail;
    w->calls++;
    if (write(w->event_fd, &one, sizeof one) < 0) w->told = tail - 1;
  }
}

/* Memory that a peak took goes back to the system when most of it is free again. */
static void give_back(pk_worker *w) {
  uint64_t held = atomic_load_explicit(&((pk_stats *)pk_core_stats(w->core))->buffer_bytes, memory_order_relaxed);
  if (held > w->peak) w->peak = held;
  if (w->peak < PEAK || held > w->peak / 4) return;
  (void)malloc_trim(0);
  w->peak = held;
}

void pk_worker_batch(pk_worker *w, const struct epoll_event *events, int count, uint64_t now) {
  pk_stats *stats = (pk_stats *)pk_core_stats(w->core);
  w->calls = 1; /* epoll_wait */
  w->now = now;
  pk_acceptors_rearm(w);
  pk_core_begin(w->core, now);
  if (w->again_count > 0) pk_socks_read_left(w);
  for (int i = 0; i < count; i++) {
    uint64_t data = events[i].data.u64;
    if (data == 0) {
      commands(w);
    } else if (data & PK_ACCEPTOR_BIT) {
      acceptor *a = &w->acceptors[(uint32_t)data];
      if (a->fd >= 0) pk_acceptor_take(w, a, ACCEPTS);
    } else {
      sock *s = pk_sock_find(w, data);
      if (s != NULL) pk_sock_ready(w, s, events[i].events);
    }
  }
  pk_core_end(w->core);
  pk_socks_settle(w);
  tell(w);
  give_back(w);
  PK_STAT_ADD(stats->system_calls, w->calls);
  PK_STAT_ADD(stats->batches, 1);
}

static void *run(void *argument) {
  pk_worker *w = argument;
  struct epoll_event events[EVENTS];
  w->now = clock_ns();
  while (!w->stop) {
    int n = epoll_wait(w->epoll, events, EVENTS, pk_worker_wait_ms(w));
    pk_worker_batch(w, events, n, clock_ns());
  }
  return NULL;
}

/* The deciding side. */

void pk_worker_free(pk_worker *w) {
  command c;
  for (uint32_t i = 0; i < w->sock_capacity; i++)
    if (w->socks[i].link.handle != 0) w->socks[i].link.transport->close(w, &w->socks[i].link, 0);
  while (pk_ring_take(&w->commands, &c, 1) == 1) {
    if (c.what == CMD_LISTEN) close((int)c.b);
    if (c.what == CMD_DECIDE) free((void *)(uintptr_t)c.data);
  }
  pk_op op;
  while (pk_ring_take(&w->events, &op, 1) == 1) pk_event_drop(&op);
  for (uint32_t i = 0; i < w->late_count; i++) pk_event_drop(&w->late[i]);
  for (uint32_t i = 0; i < w->acceptor_count; i++)
    if (w->acceptors[i].fd >= 0) close(w->acceptors[i].fd);
  if (w->epoll >= 0) close(w->epoll);
  if (w->wake >= 0) close(w->wake);
  if (w->event_fd >= 0) close(w->event_fd);
  pk_core_free(w->core);
  free(w->commands.data);
  free(w->events.data);
  free(w->socks);
  free(w->acceptors);
  free(w->late);
  free(w->again);
  free(w);
}

pk_worker *pk_worker_new(uint64_t seed) {
  void *memory = NULL;
  if (posix_memalign(&memory, 64, sizeof(pk_worker)) != 0) return NULL;
  pk_worker *w = memset(memory, 0, sizeof(pk_worker));
  w->core = pk_core_new(seed);
  w->transport_of = pk_transport_of;
  pk_descriptors_share(w);
  w->epoll = epoll_create1(EPOLL_CLOEXEC);
  w->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  w->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0};
  if (w->core != NULL && pk_ring_init(&w->commands, COMMANDS, sizeof(command)) == 0 &&
      pk_ring_init(&w->events, EVENTS_UP, sizeof(pk_op)) == 0 && w->epoll >= 0 && w->wake >= 0 &&
      w->event_fd >= 0 && epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->wake, &e) == 0)
    return w;
  pk_worker_free(w);
  errno = ENOMEM;
  return NULL;
}

pk_worker *pk_worker_start(uint64_t seed, pk_shared *shared, pk_verdicts *verdicts, uint32_t place, uint32_t places) {
  pk_worker *w = pk_worker_new(seed);
  sigset_t all, before;
  pthread_attr_t attributes;
  if (w == NULL) return NULL;
  if (shared != NULL) pk_core_share(w->core, shared);
  pk_core_join(w->core, verdicts, place, places);
  int error = pthread_attr_init(&attributes);
  if (error == 0) {
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_setstacksize(&attributes, STACK);
    error = pthread_create(&w->thread, &attributes, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
  }
  if (error != 0) {
    pk_worker_free(w);
    errno = error;
    return NULL;
  }
  (void)pthread_setname_np(w->thread, "protokit-worker");
  return w;
}

static int send_command(pk_worker *w, const command *c) {
  uint64_t one = 1;
  if (pk_ring_put(&w->commands, c) != 0) return -1;
  (void)!write(w->wake, &one, sizeof one);
  return 0;
}

void pk_worker_stop(pk_worker *w) {
  command c = {.what = CMD_STOP};
  while (send_command(w, &c) != 0) usleep(1000);
  pthread_join(w->thread, NULL);
  pk_worker_free(w);
}

int pk_worker_event_fd(const pk_worker *w) { return w->event_fd; }

uint32_t pk_worker_take_events(pk_worker *w, pk_op *out, uint32_t max) {
  uint64_t count;
  (void)!read(w->event_fd, &count, sizeof count);
  return pk_ring_take(&w->events, out, max);
}

int pk_worker_listen(pk_worker *w, uint32_t listener, int fd) {
  return send_command(w, &(command){.what = CMD_LISTEN, .a = listener, .b = (uint32_t)fd});
}

int pk_worker_unlisten(pk_worker *w, uint32_t listener) {
  return send_command(w, &(command){.what = CMD_UNLISTEN, .a = listener});
}

int pk_worker_prepare(pk_worker *w, const pk_table *table, uint64_t token) {
  return send_command(w, &(command){.what = CMD_PREPARE, .data = table, .handle = token});
}

int pk_worker_commit(pk_worker *w) { return send_command(w, &(command){.what = CMD_COMMIT}); }

int pk_worker_abort(pk_worker *w) { return send_command(w, &(command){.what = CMD_ABORT}); }

int pk_worker_decide(pk_worker *w, pk_handle request, uint32_t verdict, uint32_t cluster,
                     uint32_t status, const char *text, size_t text_size) {
  char *copy = malloc(text_size + 1);
  if (copy == NULL) return -1;
  memcpy(copy, text, text_size);
  command c = {CMD_DECIDE, verdict, cluster, status, request, text_size, copy};
  if (send_command(w, &c) == 0) return 0;
  free(copy);
  return -1;
}

uint32_t pk_worker_take_asks(pk_worker *w, pk_ask *out, uint32_t max) { return pk_core_take_asks(w->core, out, max); }

uint32_t pk_worker_take_ends(pk_worker *w, pk_end *out, uint32_t max) { return pk_core_take_ends(w->core, out, max); }

int pk_worker_drain(pk_worker *w) { return send_command(w, &(command){.what = CMD_DRAIN}); }

int pk_worker_shutdown(pk_worker *w) { return send_command(w, &(command){.what = CMD_SHUTDOWN}); }

const pk_stats *pk_worker_stats(const pk_worker *w) { return pk_core_stats(w->core); }

const pk_endpoint_stats *pk_worker_endpoint_stats(const pk_worker *w, uint32_t uid) {
  return pk_core_endpoint_stats(w->core, uid);
}

const struct pk_times *pk_worker_times(const pk_worker *w, uint32_t uid) { return pk_core_times(w->core, uid); }
