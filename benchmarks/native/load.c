/* load: sends Dubbo requests and checks every answer's id and payload.
 *   load --port P [--connections C] [--depth D] [--payload BYTES] [--seconds S] [--rate R]
 *        [--service NAME] [--method NAME] [--stuck N]
 * Closed loop with C connections of D requests each; with --rate an open loop: latency then counts
 * from the time the request was due, so a stall is not hidden by the requests it held up. --stuck N
 * adds N clients that send and never read. Prints one JSON object; exit code 1 when an answer was wrong
 * or missing. */
#include "net.h"

#include <sys/timerfd.h>

enum { SUB = 64, BUCKETS = 64 * SUB };

typedef struct slot {
  uint64_t id, due;
  int busy;
} slot;

typedef struct conn {
  int fd, writing, stuck;
  uint32_t index, busy;
  uint64_t sequence;
  slot *slots;
  bytes in, out;
} conn;

static int connections = 1, depth = 1, stuck;
static size_t payload = 128;
static double seconds = 2, rate;
static int port;
static const char *service = "org.protokit.bench.Echo", *method = "echo";
static uint8_t *request;
static size_t request_size, text_at;
static char *text;
static uint64_t sent, answered, failed[256], wrong, histogram[BUCKETS], slowest;
static int stopping;

static void build_request(void) {
  text = malloc(payload + 1);
  for (size_t i = 0; i < payload; i++) text[i] = (char)('a' + i % 26);
  request = malloc(payload + 2048);
  uint8_t *p = request + HEADER;
  p = put_text(p, "2.0.2", 5);
  p = put_text(p, service, strlen(service));
  p = put_text(p, "1.0.0", 5);
  p = put_text(p, method, strlen(method));
  p = put_text(p, "Ljava/lang/String;", 18);
  p = put_text(p, text, payload);
  text_at = (size_t)(p - request) - payload;
  *p++ = 'H';
  const char *pairs[] = {"path", service, "interface", service, "version", "1.0.0", "timeout", "10000"};
  for (int i = 0; i < 8; i++) p = put_text(p, pairs[i], strlen(pairs[i]));
  *p++ = 'Z';
  request_size = (size_t)(p - request);
  header(request, 0xc2, 0, 0, request_size - HEADER);
}

/* The id stands in the payload too, so that an answer with another's body is found out. */
static void put_id(uint8_t *p, uint64_t id) {
  for (int i = 0; i < 16; i++) p[i] = (uint8_t)"0123456789abcdef"[id >> (60 - 4 * i) & 15];
}

static void send_one(conn *c, uint32_t s, uint64_t due) {
  uint64_t id = (uint64_t)(c->index + 1) << 40 | (c->sequence++ * (uint64_t)depth + s);
  uint8_t *to = bytes_room(&c->out, request_size);
  memcpy(to, request, request_size);
  put64(to + 4, id);
  put_id(to + text_at, id);
  c->out.end += request_size;
  c->slots[s] = (slot){id, due, 1};
  c->busy++;
  sent++;
}

static void record(uint64_t ns) {
  uint32_t shift = ns < SUB ? 0 : (uint32_t)(63 - __builtin_clzll(ns)) - 5;
  uint64_t at = shift == 0 ? ns : (uint64_t)shift * SUB / 2 + (ns >> shift);
  histogram[at < BUCKETS ? at : BUCKETS - 1]++;
  if (ns > slowest) slowest = ns;
}

static double quantile(double q) {
  uint64_t total = 0, want, seen = 0;
  for (int i = 0; i < BUCKETS; i++) total += histogram[i];
  want = (uint64_t)(q * (double)total);
  for (uint64_t i = 0; i < BUCKETS; i++) {
    seen += histogram[i];
    if (seen <= want) continue;
    uint64_t shift = i < SUB ? 0 : (i - SUB / 2) / (SUB / 2);
    uint64_t value = shift == 0 ? i : (i - shift * SUB / 2) << shift;
    return (double)value / 1000.0;
  }
  return (double)slowest / 1000.0;
}

static void check(conn *c, const uint8_t *p, size_t size, uint64_t now) {
  uint64_t id = get64(p + 4);
  slot *s = &c->slots[(id & (((uint64_t)1 << 40) - 1)) % (uint64_t)depth];
  if ((p[2] & 0x80) || !s->busy || s->id != id) {
    if (!(p[2] & 0x20)) wrong++;
    return;
  }
  if (p[3] != 20) {
    failed[p[3]]++;
  } else {
    uint8_t digits[16];
    size_t length, tag = text_tag(p + HEADER + 1, p + size, &length);
    const uint8_t *body = p + HEADER + 1 + tag;
    put_id(digits, id);
    if (tag == 0 || length != payload || size != (size_t)(body - p) + payload ||
        memcmp(body, digits, 16) != 0 || memcmp(body + 16, text + 16, payload - 16) != 0)
      wrong++;
    else
      answered++;
  }
  record(now - s->due);
  s->busy = 0;
  c->busy--;
}

static void read_answers(conn *c, uint64_t now) {
  uint8_t *to = bytes_room(&c->in, ROOM);
  ssize_t n = recv(c->fd, to, ROOM, 0);
  if (n == 0 || (n < 0 && errno != EAGAIN)) {
    fprintf(stderr, "load: the connection was closed with %u requests open\n", c->busy);
    exit(1);
  }
  if (n > 0) c->in.end += (size_t)n;
  while (c->in.end - c->in.start >= HEADER) {
    const uint8_t *p = c->in.data + c->in.start;
    size_t size = HEADER + (size_t)get32(p + 12);
    if (p[0] != 0xda || p[1] != 0xbb) exit(3);
    if (c->in.end - c->in.start < size) break;
    check(c, p, size, now);
    c->in.start += size;
  }
}

static void watch(int epoll, conn *c, int operation, uint32_t events) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  if (epoll_ctl(epoll, operation, c->fd, &e) != 0) die("epoll_ctl");
}

static void write_out(int epoll, conn *c) {
  int more = flush_bytes(c->fd, &c->out);
  if (more < 0) {
    if (c->stuck) return; /* a proxy may close who never reads */
    die("load: send");
  }
  if (more != c->writing) {
    c->writing = more;
    watch(epoll, c, EPOLL_CTL_MOD, (c->stuck ? 0u : (uint32_t)EPOLLIN) | (more ? (uint32_t)EPOLLOUT : 0u));
  }
}

static void arguments(int argc, char **argv) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const char *name = argv[i], *value = argv[i + 1];
    if (strcmp(name, "--port") == 0) port = atoi(value);
    else if (strcmp(name, "--connections") == 0) connections = atoi(value);
    else if (strcmp(name, "--depth") == 0) depth = atoi(value);
    else if (strcmp(name, "--payload") == 0) payload = (size_t)atol(value);
    else if (strcmp(name, "--seconds") == 0) seconds = atof(value);
    else if (strcmp(name, "--rate") == 0) rate = atof(value);
    else if (strcmp(name, "--service") == 0) service = value;
    else if (strcmp(name, "--method") == 0) method = value;
    else if (strcmp(name, "--stuck") == 0) stuck = atoi(value);
    else exit((fprintf(stderr, "load: unknown option %s\n", name), 2));
  }
  if (port == 0 || payload < 16 || payload > 60000 || seconds > 600 || connections > 4096 ||
      depth > 4096)
    exit((fprintf(stderr, "load: --port, and --payload from 16 to 60000, --seconds up to 600\n"), 2));
}

int main(int argc, char **argv) {
  arguments(argc, argv);
  build_request();
  int epoll = epoll_create1(0), total = connections + stuck;
  conn *conns = calloc((size_t)total, sizeof *conns);
  for (int i = 0; i < total; i++) {
    conn *c = &conns[i];
    struct sockaddr_in a = loopback(port);
    c->index = (uint32_t)i;
    c->stuck = i >= connections;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0) die("load: connect");
    nodelay(c->fd);
    c->slots = calloc((size_t)depth, sizeof *c->slots);
  }
  for (int i = 0; i < total; i++) {
    int fd = conns[i].fd;
    struct epoll_event e = {.events = conns[i].stuck ? (uint32_t)EPOLLOUT : (uint32_t)EPOLLIN, .data.ptr = &conns[i]};
    conns[i].writing = conns[i].stuck;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) != 0) die("epoll_ctl");
  }
  int timer = -1;
  uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9), next_due = start, gap = 0;
  uint32_t turn = 0;
  if (rate > 0) {
    gap = (uint64_t)(1e9 / rate);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    long tick = gap < 1000000 ? 500000 : (long)gap / 2;
    struct itimerspec every = {{0, tick % 1000000000}, {0, tick % 1000000000}};
    timerfd_settime(timer, 0, &every, NULL);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &e);
  }
  for (int i = 0; i < connections && rate == 0; i++) {
    for (int s = 0; s < depth; s++) send_one(&conns[i], (uint32_t)s, start);
    write_out(epoll, &conns[i]);
  }
  struct epoll_event events[256];
  uint64_t busy = 1, now = start;
  while (busy > 0 && now < end + 5000000000u) {
    int n = epoll_wait(epoll, events, 256, 100);
    now = now_ns();
    stopping = now >= end;
    for (int i = 0; i < n; i++) {
      conn *c = events[i].data.ptr;
      if (c == NULL) {
        uint64_t ticks;
        (void)!read(timer, &ticks, sizeof ticks);
        continue;
      }
      if (c->stuck) {
        if (!stopping && c->out.end - c->out.start < request_size) {
          c->busy = 0;
          send_one(c, 0, now);
          sent--;
        }
        write_out(epoll, c);
        if (!c->writing) {
          c->writing = 1;
          watch(epoll, c, EPOLL_CTL_MOD, EPOLLOUT);
        }
        if (stopping || events[i].events & (EPOLLERR | EPOLLHUP)) epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL);
        continue;
      }
      if (events[i].events & ~(uint32_t)EPOLLOUT) read_answers(c, now);
      for (int s = 0; s < depth && rate == 0 && !stopping && c->busy < (uint32_t)depth; s++)
        if (!c->slots[s].busy) send_one(c, (uint32_t)s, now);
      write_out(epoll, c);
    }
    while (rate > 0 && !stopping && next_due <= now) {
      conn *free_one = NULL;
      for (int k = 0; k < connections && free_one == NULL; k++) {
        conn *c = &conns[(turn + (uint32_t)k) % (uint32_t)connections];
        if (c->busy < (uint32_t)depth) free_one = c;
      }
      if (free_one == NULL) break; /* stays due: the wait counts */
      turn = free_one->index + 1;
      for (int s = 0; s < depth; s++) {
        if (free_one->slots[s].busy) continue;
        send_one(free_one, (uint32_t)s, next_due);
        break;
      }
      write_out(epoll, free_one);
      next_due += gap;
    }
    busy = stopping ? 0 : 1;
    for (int i = 0; i < connections; i++) busy += conns[i].busy;
  }
  double took = (double)(now - start) / 1e9;
  uint64_t errors = 0;
  for (int i = 0; i < 256; i++) errors += failed[i];
  printf("{\"sent\": %llu, \"answered\": %llu, \"errors\": {", (unsigned long long)sent,
         (unsigned long long)answered);
  const char *comma = "";
  for (int i = 0; i < 256; i++)
    if (failed[i] > 0) {
      printf("%s\"%d\": %llu", comma, i, (unsigned long long)failed[i]);
      comma = ", ";
    }
  printf("}, \"wrong\": %llu, \"seconds\": %.3f, \"rate\": %.1f, \"request_bytes\": %zu,"
         " \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
         (unsigned long long)wrong, took, (double)(answered + errors) / took, request_size,
         quantile(0.5), quantile(0.99), quantile(0.999), (double)slowest / 1000.0);
  return wrong == 0 && sent == answered + errors ? 0 : 1;
}
