/* load: sends Dubbo or Thrift requests and verifies every answer's id and payload.
 *
 *   load --port P [--protocol dubbo|thrift] [--connections C] [--depth D] [--payload BYTES] [--service NAME] [--method NAME]
 *        [--seconds S | --count N] [--warmup S] [--rate R] [--stuck N] [--cpu-of PID]
 *
 * Without --rate a closed loop: each of C connections keeps D requests in flight. With --rate an open
 * loop: a request is due every 1/R seconds whatever the answers do, and its latency counts from the
 * time it was due, so a stall is not hidden by the requests that it held up. --payload is the size of
 * the String argument. --stuck adds N clients that send all they can and never read. --cpu-of adds
 * the CPU time (user and system, all threads) that the process used while requests were measured.
 *
 * One JSON object is printed. What was sent and answered counts the whole run; rate, CPU time and
 * latencies leave the first --warmup seconds out. The exit code is 1 when an answer was wrong,
 * or a request has none. Answers with an error status are answers, counted by status. */
#include <sys/prctl.h>

#include "frame.h"
#include "histogram.h"
#include "net.h"
#include "thrift.h"

enum { PAYLOAD_MIN = 16, PAYLOAD_MAX = 65535, EVENTS = 256 };
#define GRACE_NS 5000000000u /* waiting for the last answers */
#define SEQUENCE_BITS 40

typedef struct slot {
  uint64_t id, due;
} slot;

typedef struct conn {
  int fd, stuck;
  uint32_t index, free_count;
  uint64_t sequence;
  slot *slots;         /* id 0: free */
  uint32_t *free_slots; /* a stack */
  bytes in, out;
} conn;

/* What an answer holds: its value, or why there is none. */
typedef struct answer {
  uint64_t id;
  int failed; /* 0, or the protocol's own number for it */
  const uint8_t *value;
  size_t size;
} answer;

typedef struct form {
  const char *name;
  uint64_t ids;                            /* which bits of an id frames have */
  size_t (*size)(const uint8_t *, size_t); /* as frame_size */
  uint8_t *(*build)(uint8_t *to, const char *text, size_t size); /* a request; where its text ends */
  void (*number)(uint8_t *frame, uint64_t id);
  int (*read)(uint8_t *frame, size_t size, answer *a); /* 0: of no request */
} form;

/* What is measured: taken when it begins and when it ends. */
typedef struct mark {
  uint64_t at, answered, cpu;
} mark;

static struct options {
  long port, connections, depth, payload, count, stuck, cpu_of;
  double seconds, rate, warmup;
  const char *service, *method;
  const form *form;
} o = {.connections = 1,
       .depth = 1,
       .payload = 128,
       .seconds = 2,
       .service = "org.protokit.bench.Echo",
       .method = "echo"};

static uint8_t *request; /* the frame that is sent, but for id and payload's head */
static size_t request_size, payload, payload_at;
static uint64_t sent, answered, wrong, lost, failed[256], stuck_closed;
static uint64_t started, measured_from, ends;
static histogram latencies;
static clockid_t cpu_clock;
static int epoll, open_connections;

static uint8_t *dubbo_build(uint8_t *to, const char *text, size_t size) {
  const char *attachments[] = {"path", o.service, "interface", o.service, "version", "1.0.0",
                               "timeout", "10000"};
  uint8_t *p = to + HEADER;
  p = put_text(p, "2.0.2", 5);
  p = put_text(p, o.service, strlen(o.service));
  p = put_text(p, "1.0.0", 5);
  p = put_text(p, o.method, strlen(o.method));
  p = put_text(p, "Ljava/lang/String;", 18);
  uint8_t *end = p = put_text(p, text, size);
  *p++ = 'H';
  for (size_t i = 0; i < sizeof attachments / sizeof *attachments; i++)
    p = put_text(p, attachments[i], strlen(attachments[i]));
  *p++ = 'Z';
  put_header(to, FLAG_REQUEST | FLAG_TWO_WAY, 0, 0, (size_t)(p - to) - HEADER);
  return end;
}

static void dubbo_number(uint8_t *frame, uint64_t id) { put64(frame + 4, id); }

static int dubbo_read(uint8_t *p, size_t size, answer *a) {
  if (p[2] & FLAG_EVENT) return 0;
  a->id = p[2] & FLAG_REQUEST ? 0 : get64(p + 4);
  a->failed = p[3] == STATUS_OK ? 0 : p[3];
  size_t tag = size > HEADER + 1 ? text_tag(p + HEADER + 1, p + size, &a->size) : 0;
  a->value = tag > 0 && p[HEADER] == VALUE && p + HEADER + 1 + tag + a->size == p + size ? p + HEADER + 1 + tag : NULL;
  return 1;
}

static uint8_t *thrift_build(uint8_t *to, const char *text, size_t size) {
  char name[600];
  int length = snprintf(name, sizeof name, "%s:%s", o.service, o.method);
  memcpy(to + 4, "\x80\x01\x00\x01", 4);
  memcpy(put32(to + 8, (uint32_t)length), name, (size_t)length);
  uint8_t *end = thrift_text(thrift_id(to) + 4, 1, text, size);
  put32(to, (uint32_t)(end - to) - 4);
  return end - 1;
}

static void thrift_number(uint8_t *frame, uint64_t id) { put32(thrift_id(frame), (uint32_t)id); }

static int thrift_read(uint8_t *p, size_t size, answer *a) {
  a->id = get32(thrift_id(p));
  a->failed = p[7] == REPLY ? 0 : p[7];
  a->value = thrift_value(p, size, 0, &a->size);
  return 1;
}

static const form forms[] = {
    {"dubbo", UINT64_MAX, frame_size, dubbo_build, dubbo_number, dubbo_read},
    {"thrift", UINT32_MAX, thrift_size, thrift_build, thrift_number, thrift_read},
};

static void build_request(void) {
  payload = (size_t)o.payload;
  request = zeroed(1, payload + 6 * strlen(o.service) + strlen(o.method) + 1024);
  char *text = zeroed(1, payload);
  for (size_t i = 0; i < payload; i++) text[i] = (char)('a' + i % 26);
  payload_at = (size_t)(o.form->build(request, text, payload) - request) - payload;
  request_size = o.form == forms ? HEADER + get32(request + 12) : 4 + get32(request);
  free(text);
}

/* The id stands in the payload too: an answer with another's body is found out. */
static void put_id(uint8_t *p, uint64_t id) {
  for (int i = 0; i < 16; i++) p[i] = (uint8_t)"0123456789abcdef"[id >> (60 - 4 * i) & 15];
}

static void queue_frame(conn *c, uint64_t id) {
  uint8_t *to = bytes_room(&c->out, request_size);
  memcpy(to, request, request_size);
  o.form->number(to, id);
  put_id(to + payload_at, id);
  c->out.end += request_size;
}

static void queue_request(conn *c, uint64_t due) {
  uint32_t at = c->free_slots[--c->free_count];
  uint64_t id = (uint64_t)(c->index + 1) << SEQUENCE_BITS | (c->sequence++ * (uint64_t)o.depth + at);
  c->slots[at] = (slot){id, due};
  queue_frame(c, id);
  sent++;
}

static int may_send(uint64_t now) {
  return o.count > 0 ? sent < (uint64_t)o.count : now < ends;
}

/* Takes an answer; returns 1 when it freed a slot. */
static int check(conn *c, uint8_t *p, size_t size, uint64_t now) {
  answer a = {0};
  if (!o.form->read(p, size, &a)) return 0;
  uint32_t at = (uint32_t)((a.id & (((uint64_t)1 << SEQUENCE_BITS) - 1)) % (uint64_t)o.depth);
  slot *s = &c->slots[at];
  if (s->id == 0 || (s->id & o.form->ids) != a.id) {
    wrong++;
    return 0;
  }
  if (a.failed == 0) {
    uint8_t digits[16];
    put_id(digits, s->id);
    if (a.value == NULL || a.size != payload || memcmp(a.value, digits, 16) != 0 ||
        memcmp(a.value + 16, request + payload_at + 16, payload - 16) != 0)
      wrong++;
  } else {
    failed[a.failed]++;
  }
  answered++;
  if (s->due >= measured_from) histogram_add(&latencies, now - s->due);
  s->id = 0;
  c->free_slots[c->free_count++] = at;
  return 1;
}

static void lose(conn *c) {
  lost += (uint64_t)o.depth - c->free_count;
  close(c->fd);
  c->fd = -1;
  c->free_count = 0;
  open_connections--;
}

static void write_out(conn *c) {
  if (flush_bytes(c->fd, &c->out) < 0) lose(c);
}

/* One read; returns 1 when there may be more: the edge does not come again. */
static int read_answers(conn *c) {
  uint8_t *to = bytes_room(&c->in, ROOM);
  ssize_t n = recv(c->fd, to, ROOM, MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return 0;
  if (n <= 0) {
    lose(c);
    return 0;
  }
  c->in.end += (size_t)n;
  uint64_t now = now_ns();
  for (;;) {
    uint8_t *p = c->in.data + c->in.start;
    size_t size = o.form->size(p, c->in.end - c->in.start);
    if (size == SIZE_MAX) {
      wrong++;
      lose(c);
      return 0;
    }
    if (size == 0) return n == ROOM;
    if (check(c, p, size, now) && o.rate == 0 && may_send(now)) queue_request(c, now);
    c->in.start += size;
  }
}

static void ready(conn *c, uint32_t events) {
  if (c->fd < 0) return;
  int more = (events & ~(uint32_t)EPOLLOUT) != 0;
  do {
    more = more && read_answers(c);
    if (c->fd >= 0) write_out(c);
  } while (more && c->fd >= 0);
}

/* Never reads; sends whenever the socket takes something. */
static void push(conn *c, uint32_t events) {
  if (c->out.start == c->out.end)
    for (int i = 0; i < 64; i++) queue_frame(c, ++c->sequence);
  if (events & (EPOLLERR | EPOLLHUP) || flush_bytes(c->fd, &c->out) < 0) {
    stuck_closed++;
    close(c->fd);
    c->fd = -1;
  }
}

/* Sends what is due; returns when the next one is: a time in the past when an answer must come first. */
static uint64_t send_due(conn *conns, uint64_t now) {
  static uint64_t due;
  static uint32_t turn;
  if (due == 0) due = started;
  while (due <= now && (o.count > 0 ? sent < (uint64_t)o.count : due < ends)) {
    conn *c = NULL;
    for (long i = 0; i < o.connections; i++) {
      turn = turn + 1 < (uint32_t)o.connections ? turn + 1 : 0;
      if (conns[turn].free_count == 0) continue;
      c = &conns[turn];
      break;
    }
    if (c == NULL) break; /* it stays due, and the wait counts */
    queue_request(c, due);
    write_out(c);
    due = started + (uint64_t)((double)sent * 1e9 / o.rate);
  }
  return due;
}

static void connect_all(conn *conns, long count) {
  for (long i = 0; i < count; i++) {
    conn *c = &conns[i];
    struct sockaddr_in a = loopback(o.port);
    c->index = (uint32_t)i;
    c->stuck = i >= o.connections;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0) {
      fprintf(stderr, "load: 127.0.0.1:%ld: %s\n", o.port, strerror(errno));
      exit(2);
    }
    nodelay(c->fd);
    if (c->stuck) {
      watch(epoll, EPOLL_CTL_ADD, c->fd, EPOLLOUT, c);
      continue;
    }
    c->slots = zeroed((size_t)o.depth, sizeof *c->slots);
    c->free_slots = zeroed((size_t)o.depth, sizeof *c->free_slots);
    while (c->free_count < o.depth) {
      c->free_slots[c->free_count] = c->free_count;
      c->free_count++;
    }
    open_connections++;
    watch(epoll, EPOLL_CTL_ADD, c->fd, EDGES, c);
  }
}

static mark take_mark(void) {
  return (mark){now_ns(), answered, o.cpu_of > 0 ? clock_ns(cpu_clock) : 0};
}

static void run(conn *conns, mark *from, mark *to) {
  struct epoll_event events[EVENTS];
  uint64_t now = now_ns();
  started = now;
  measured_from = started + (uint64_t)(o.warmup * 1e9);
  ends = measured_from + (uint64_t)(o.seconds * 1e9);
  for (long i = 0; i < o.connections && o.rate == 0; i++) {
    while (conns[i].free_count > 0 && may_send(now)) queue_request(&conns[i], now);
    write_out(&conns[i]);
  }
  while (open_connections > 0 && now <= ends + GRACE_NS) {
    uint64_t due = o.rate > 0 ? send_due(conns, now) : UINT64_MAX;
    if (from->at == 0 && now >= measured_from) *from = take_mark();
    int over = o.count > 0 ? sent == (uint64_t)o.count : now >= ends && due >= ends;
    int all_answered = sent == answered + lost;
    if (over && to->at == 0 && (o.count == 0 || all_answered)) *to = take_mark();
    if (over && all_answered) break;
    uint64_t until = from->at == 0 ? measured_from : over ? ends + GRACE_NS : ends;
    if (due > now && due < until) until = due;
    uint64_t wait = until > now ? until - now : 1000000u;
    struct timespec t = {(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
    int n = epoll_pwait2(epoll, events, EVENTS, &t, NULL);
    for (int i = 0; i < n; i++) {
      conn *c = events[i].data.ptr;
      if (c->stuck) {
        push(c, events[i].events);
      } else {
        ready(c, events[i].events);
      }
    }
    now = now_ns();
  }
  if (to->at == 0) *to = take_mark();
  lost = sent - answered;
}

static double number(const char *name, const char *text, double high) {
  char *end;
  double value = strtod(text, &end);
  if (*text != '\0' && *end == '\0' && value >= 0 && value <= high) return value;
  fprintf(stderr, "load: %s: got \"%s\", expected a number from 0 to %g\n", name, text, high);
  exit(2);
}

static const form *form_of(const char *name) {
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
    if (strcmp(name, forms[i].name) == 0) return &forms[i];
  fprintf(stderr, "load: --protocol: got \"%s\", expected dubbo or thrift\n", name);
  exit(2);
}

static void read_options(int argc, char **argv) {
  for (int i = 1; i < argc; i += 2) {
    const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
    if (strcmp(name, "--port") == 0) o.port = whole(name, value, 1, 65535);
    else if (strcmp(name, "--connections") == 0) o.connections = whole(name, value, 1, 4096);
    else if (strcmp(name, "--depth") == 0) o.depth = whole(name, value, 1, 4096);
    else if (strcmp(name, "--payload") == 0) o.payload = whole(name, value, PAYLOAD_MIN, PAYLOAD_MAX);
    else if (strcmp(name, "--count") == 0) o.count = whole(name, value, 1, 1L << 32);
    else if (strcmp(name, "--stuck") == 0) o.stuck = whole(name, value, 0, 64);
    else if (strcmp(name, "--cpu-of") == 0) o.cpu_of = whole(name, value, 1, 1L << 22);
    else if (strcmp(name, "--seconds") == 0) o.seconds = number(name, value, 600);
    else if (strcmp(name, "--warmup") == 0) o.warmup = number(name, value, 60);
    else if (strcmp(name, "--rate") == 0) o.rate = number(name, value, 1e7);
    else if (strcmp(name, "--service") == 0) o.service = value;
    else if (strcmp(name, "--method") == 0) o.method = value;
    else if (strcmp(name, "--protocol") == 0) o.form = form_of(value);
    else {
      fprintf(stderr, "load: unknown option %s; benchmarks/native/load.c lists them\n", name);
      exit(2);
    }
  }
  if (o.port == 0 || strlen(o.service) > 255 || strlen(o.method) > 255) {
    fputs("load: --port is needed; a name has up to 255 bytes\n", stderr);
    exit(2);
  }
  if (o.count > 0) { /* all are measured; so long it may take at most */
    o.seconds = 600;
    o.warmup = 0;
  }
  if (o.cpu_of > 0 && clock_getcpuclockid((pid_t)o.cpu_of, &cpu_clock) != 0) {
    fprintf(stderr, "load: --cpu-of: no process %ld\n", o.cpu_of);
    exit(2);
  }
}

static void print(const mark *from, const mark *to) {
  const char *comma = "";
  double seconds = (double)(to->at - from->at) / 1e9;
  uint64_t measured = to->answered - from->answered;
  printf("{\"sent\": %lu, \"answered\": %lu, \"lost\": %lu, \"wrong\": %lu, \"errors\": {", sent, answered,
         lost, wrong);
  for (int i = 0; i < 256; i++) {
    if (failed[i] == 0) continue;
    printf("%s\"%d\": %lu", comma, i, failed[i]);
    comma = ", ";
  }
  printf("}, \"request_bytes\": %zu, \"seconds\": %.4f, \"measured\": %lu, \"rate\": %.1f", request_size,
         seconds, measured, seconds > 0 ? (double)measured / seconds : 0);
  if (o.cpu_of > 0)
    printf(", \"cpu_us\": %.4f, \"cpu_share\": %.4f",
           measured > 0 ? (double)(to->cpu - from->cpu) / 1e3 / (double)measured : 0,
           seconds > 0 ? (double)(to->cpu - from->cpu) / 1e9 / seconds : 0);
  if (o.stuck > 0) printf(", \"stuck_closed\": %lu", stuck_closed);
  printf(", \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
         histogram_us(&latencies, 0.5), histogram_us(&latencies, 0.99), histogram_us(&latencies, 0.999),
         (double)latencies.max / 1e3);
}

int main(int argc, char **argv) {
  mark from = {0}, to = {0};
  o.form = forms;
  read_options(argc, argv);
  build_request();
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_TIMERSLACK, 1);
  epoll = epoll_create1(0);
  conn *conns = zeroed((size_t)(o.connections + o.stuck), sizeof *conns);
  connect_all(conns, o.connections + o.stuck);
  run(conns, &from, &to);
  print(&from, &to);
  return wrong > 0 || lost > 0;
}
