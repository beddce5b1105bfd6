/* transports.c: what the worker owes every transport, each test over one in this process (in_process.h).
 *
 *   transports          all tests
 *   transports NAME     one of them */
#include "in_process.h"

static void every_cut_of_requests(void) {
  uint8_t asked[128];
  size_t size = requests(asked, 1, 2, 1);
  for (size_t i = 0; i <= size; i++) {
    for (size_t j = i; j <= size; j++) {
      wire *x = client();
      arrive(x, asked, i);
      go_on();
      arrive(x, asked + i, j - i);
      go_on();
      arrive(x, asked + j, size - j);
      go_on();
      CHECK(has_answers(x, asked, size));
      x->ended = 1;
      x->edge = EPOLLIN | EPOLLRDHUP;
      go_on();
      CHECK(x->closes == 1);
    }
  }
}

static void every_cut_of_answers(void) {
  uint8_t asked[128], answers[128];
  size_t size = requests(asked, 1, 2, 1);
  wire *x = client();
  for (size_t i = 0; i <= size; i++) {
    for (size_t j = i; j <= size; j++) {
      arrive(x, asked, size);
      turn();
      if (worker->sock_count == 1) turn();
      turn();
      wire *s = server();
      size_t has = s->in_size;
      CHECK(s->out_size - s->answered == size && peers());
      memcpy(answers, s->in + has, size);
      s->in_size = has;
      s->edge = 0;
      size_t cuts[] = {0, i, j, size};
      for (int part = 0; part < 3; part++) {
        arrive(s, answers + cuts[part], cuts[part + 1] - cuts[part]);
        turn();
      }
      CHECK(has_answers(x, asked, size));
      x->out_size = 0;
      x->in_size = x->in_taken = s->in_size = s->in_taken = s->out_size = s->answered = 0;
    }
  }
}

static void one_byte_at_a_time(void) {
  uint8_t asked[2048];
  client_script.room = server_script.room = client_script.grant = server_script.grant = 1;
  size_t size = requests(asked, 1, 20, 30);
  wire *x = client();
  arrive(x, asked, size);
  go_on();
  CHECK(has_answers(x, asked, size));
  CHECK((size_t)x->sends >= size && (size_t)server()->sends >= size);
}

static void full_at_every_byte(void) {
  uint8_t asked[128];
  size_t size = requests(asked, 1, 3, 1);
  client_script.grant = all;
  for (size_t k = 0; k <= size; k++) {
    client_script.room = k;
    wire *x = client();
    arrive(x, asked, size);
    go_on();
    wire *s = server();
    CHECK(has_answers(x, asked, size));
    x->room = s->room = all;
    s->room = k; /* the next client's */
    s->grant = all;
    s->refused = 0;
  }
}

static void a_client_fails_at_every_byte(void) {
  uint8_t asked[128];
  size_t size = requests(asked, 1, 2, 1);
  for (size_t k = 0; k <= size; k++) {
    wire *x = client();
    arrive(x, asked, k);
    go_on();
    x->receive_fails = 1;
    x->edge = EPOLLIN;
    go_on();
    CHECK(x->closes == 1);
    others_are_well();
  }
  for (size_t k = 0; k < size; k++) {
    client_script.send_fails = k;
    wire *x = client();
    arrive(x, asked, size);
    go_on();
    CHECK(x->closes == 1 && x->out_size == k);
    others_are_well();
  }
}

static void a_server_fails_at_every_byte(void) {
  uint8_t asked[64], answer[64];
  size_t size = request(asked, 1, 3);
  memcpy(answer, asked, size);
  answer[1] = PK_KIND_RESPONSE;
  for (size_t k = 0; k < size; k++) {
    wire *x = client();
    arrive(x, asked, size);
    for (int i = 0; i < 3; i++) turn();
    wire *s = server();
    CHECK(s->out_size - s->answered == size && !s->closes);
    memcpy(answer + 3, s->out + s->answered + 3, 8); /* the id that it was given */
    arrive(s, answer, k);
    turn();
    s->receive_fails = 1;
    s->edge = EPOLLIN;
    turn();
    CHECK(s->closes == 1 && refusal(x) == PK_STATUS_UNAVAILABLE);
    others_are_well();
    lose_server();
  }
  for (size_t k = 1; k < size; k++) { /* 0: another try is free */
    server_script.send_fails = k;
    wire *x = client();
    arrive(x, asked, size);
    go_on();
    CHECK(server()->closes == 1 && refusal(x) == PK_STATUS_UNAVAILABLE);
    others_are_well();
    lose_server();
  }
}

/* With the end on the same edge, and in a record that nothing but the transport knows of. */
static void a_client_that_ends_is_answered(void) {
  uint8_t asked[256];
  size_t size = requests(asked, 1, 4, 9);
  for (int records = 0; records < 2; records++) {
    client_script.records = records;
    client_script.most = 11;
    wire *x = client();
    arrive(x, asked, size);
    x->ended = 1;
    if (!records) x->edge |= EPOLLRDHUP;
    go_on();
    CHECK(has_answers(x, asked, size) && x->closes == 1 && !x->reset);
  }
}

static void an_end_is_said_when_the_transport_can(void) {
  uint8_t asked[HEAD] = {0x7e, PK_KIND_REQUEST, [11] = 0xff, [12] = 0xff};
  for (int waits = 0; waits < 3; waits++) {
    client_script.finish_waits = waits;
    wire *x = client();
    arrive(x, asked, sizeof asked); /* over the limit: it is told so, and heard out */
    go_on();
    CHECK(refusal(x) == PK_STATUS_BAD_REQUEST);
    static const uint8_t rest[0xffff];
    arrive(x, rest, sizeof rest);
    go_on();
    for (int i = 0; i < waits; i++) {
      CHECK(x->finishes == i + 1 && !x->closes);
      x->edge = EPOLLOUT;
      go_on();
    }
    CHECK(x->finishes == waits + 1);
    x->edge = EPOLLOUT;
    go_on();
    CHECK(x->finishes == waits + 1);
    x->ended = 1;
    x->edge = EPOLLIN | EPOLLRDHUP;
    go_on();
    CHECK(x->closes == 1);
  }
}

/* As a handshake: nothing goes either way before, and what came meanwhile has no edge of its own. */
static void nothing_goes_before_the_start_is_done(void) {
  uint8_t asked[256];
  size_t size = requests(asked, 1, 3, 9);
  client_script.start_waits = server_script.start_waits = 3;
  client_script.records = server_script.records = 1;
  client_script.most = server_script.most = all;
  wire *x = client();
  CHECK(x->starts == 1);
  arrive(x, asked, size);
  for (int i = 2; i < 4; i++) {
    turn();
    CHECK(x->starts == i && x->receives == 0 && x->sends == 0);
    x->edge = EPOLLOUT;
  }
  x->edge = EPOLLOUT;
  turn();
  CHECK(x->starts == 4 && x->receives > 0);
  turn();
  wire *s = server();
  for (int i = 1; i < 4; i++) {
    CHECK(s->starts == i && s->receives == 0 && s->sends == 0 && s->out_size == 0);
    s->edge = i % 2 ? EPOLLOUT : EPOLLIN;
    turn();
  }
  CHECK(s->starts == 4 && s->out_size == size);
  go_on();
  peers();
  go_on();
  CHECK(has_answers(x, asked, size) && x->starts == 4 && s->starts == 4);
}

static void what_the_core_says_during_the_start_waits(void) {
  client_script.start_waits = 2;
  wire *x = client();
  CHECK(pk_worker_drain(worker) == 0);
  turn();
  CHECK(x->sends == 0);
  x->edge = EPOLLIN;
  turn();
  CHECK(x->sends == 0);
  x->edge = EPOLLOUT;
  turn();
  CHECK(x->out_size == HEAD && x->out[1] == PK_KIND_DRAIN);
}

static void an_end_during_the_start_is_seen(void) {
  uint8_t asked[64];
  size_t size = request(asked, 1, 3);
  client_script.start_waits = 2;
  wire *x = client();
  arrive(x, asked, size);
  x->ended = 1;
  x->edge = EPOLLIN | EPOLLRDHUP;
  turn();
  x->edge = EPOLLOUT;
  go_on();
  CHECK(has_answers(x, asked, size) && x->closes == 1);
}

/* A server that says something and ends while its client's transport starts, or only ends. */
static void an_end_of_the_other_side_waits_for_the_start(void) {
  for (size_t size = 0; size < 4; size++) {
    client_script.start_waits = 2;
    wire *x = client_of(1);
    turn();
    wire *s = server();
    arrive(s, (const uint8_t *)"bye", size);
    s->ended = 1;
    s->edge |= EPOLLIN | EPOLLRDHUP;
    turn();
    CHECK(s->receives > 0 && x->finishes == 0 && x->sends == 0);
    x->edge = EPOLLOUT;
    turn();
    CHECK(x->finishes == 0 && x->sends == 0);
    x->edge = EPOLLOUT;
    turn();
    CHECK(x->out_size == size && memcmp(x->out, "bye", size) == 0 && x->finishes == 1 && !x->closes);
    x->ended = 1;
    x->edge = EPOLLIN | EPOLLRDHUP;
    turn();
    CHECK(x->closes == 1 && s->closes == 1 && !x->reset && !s->reset);
  }
}

/* A first record behind a handshake that ends with the first call. */
static void what_comes_with_the_start_is_received(void) {
  uint8_t asked[256];
  size_t size = requests(asked, 1, 3, 9);
  for (int waits = 0; waits < 2; waits++) {
    client_script = (wire){.room = all, .send_fails = all, .records = 1, .most = 7, .early = asked,
                           .early_size = size, .start_waits = waits};
    wire *x = client();
    x->edge = waits ? EPOLLOUT : 0;
    go_on();
    CHECK(has_answers(x, asked, size));
  }
}

static void a_start_that_fails(void) {
  uint8_t asked[64];
  size_t size = request(asked, 1, 3);
  for (int waits = 0; waits < 2; waits++) {
    client_script.start_fails = 1;
    client_script.start_waits = server_script.start_waits = waits;
    wire *x = client();
    CHECK(x->closes == !waits);
    x->edge = EPOLLIN;
    turn();
    CHECK(x->closes == 1 && x->receives == 0 && x->sends == 0);
    others_are_well();
    lose_server();
    server_script.start_fails = 1;
    server_script.start_waits = waits;
    x = client();
    arrive(x, asked, size);
    for (int i = 0; i < 10; i++) { /* as often as it is free to try */
      turn();
      server()->edge = EPOLLOUT;
    }
    CHECK(server()->closes == 1 && server()->sends == 0 && refusal(x) == PK_STATUS_UNAVAILABLE);
    now_ns += 60000000000u; /* the server is tried again */
    turn();
    others_are_well();
    lose_server();
  }
}

static void a_start_that_does_not_end(void) {
  uint8_t asked[64];
  size_t size = request(asked, 1, 3);
  server_script.start_waits = 1000000;
  wire *x = client();
  arrive(x, asked, size);
  turn();
  turn();
  wire *s = server();
  CHECK(s->starts == 1 && !s->closes);
  now_ns += (CONNECT_MS - 10) * 1000000ull;
  turn();
  CHECK(!s->closes);
  for (int i = 0; i < 4; i++) {
    now_ns += (CONNECT_MS + 10) * 1000000ull;
    turn();
    turn();
  }
  CHECK(s->closes == 1 && s->sends == 0 && refusal(x) == PK_STATUS_UNAVAILABLE);
}

/* One edge, then many receives: of a client's requests and of a server's answers. */
static void what_is_inside_is_not_slept_on(void) {
  static const size_t sizes[] = {1, 2, 7, 13, 100, (size_t)-1};
  static uint8_t asked[8192];
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    client_script.records = server_script.records = 1;
    client_script.most = server_script.most = sizes[i];
    wire *x = client();
    size_t size = requests(asked, 1, 20, 30);
    arrive(x, asked, size);
    go_on();
    CHECK(has_answers(x, asked, size));
    CHECK(sizes[i] > size || (size_t)x->receives >= size / sizes[i]);
    lose_server(); /* the next one's records are of another size */
  }
}

/* Who does not take his answers is not read on, inside or not, and costs no turns; then all of it. */
static void a_paused_client_is_left_alone(void) {
  static uint8_t asked[32768];
  size_t size = 0;
  client_script.records = 1;
  client_script.most = 500;
  client_script.room = 0;
  wire *x = client();
  size = requests(asked, 1, 20, 400);
  arrive(x, asked, size);
  go_on();
  CHECK(x->inside == 0 || x->inside < size);
  size_t more = requests(asked + size, 21, 20, 400);
  arrive(x, asked + size, more);
  go_on();
  CHECK(x->in_taken < x->in_size); /* paused; and turn() has seen that it sleeps */
  x->grant = x->room = all;
  x->edge = EPOLLOUT;
  go_on();
  CHECK(has_answers(x, asked, size + more));
}

static void who_has_to_write_before_it_can_receive(void) {
  uint8_t asked[256];
  size_t size = requests(asked, 1, 3, 9);
  client_script.receive_waits = server_script.receive_waits = 2;
  wire *x = client();
  arrive(x, asked, size);
  turn();
  CHECK(x->receives == 1 && x->in_taken == 0);
  x->edge = EPOLLOUT;
  turn();
  CHECK(x->receives == 2 && x->in_taken == 0);
  x->edge = EPOLLOUT;
  go_on();
  wire *s = server();
  CHECK(x->in_taken == size && s->in_size == size && s->in_taken == 0);
  for (int i = 0; i < 2; i++) {
    s->edge = EPOLLOUT;
    turn();
  }
  CHECK(has_answers(x, asked, size));
}

static void who_has_to_read_before_it_can_send(void) {
  uint8_t asked[256];
  size_t size = requests(asked, 1, 3, 9);
  client_script.send_waits = server_script.send_waits = 2;
  wire *x = client();
  arrive(x, asked, size);
  go_on();
  wire *s = server();
  CHECK(s->sends == 1);
  for (int i = 0; i < 2; i++) {
    s->edge = EPOLLIN;
    go_on();
  }
  CHECK(x->sends == 1 && x->out_size == 0);
  for (int i = 0; i < 2; i++) {
    x->edge = EPOLLIN;
    go_on();
  }
  CHECK(has_answers(x, asked, size));
}

/* A send may have taken a record off the socket, and its edge with it. */
static void what_a_send_has_read_is_received(void) {
  uint8_t asked[256];
  size_t first = request(asked, 1, 9), size = first + request(asked + first, 2, 9);
  client_script.records = 1;
  client_script.most = all;
  wire *x = client();
  arrive(x, asked, first);
  for (int i = 0; i < 3; i++) turn();
  CHECK(peers());
  arrive(x, asked + first, size - first);
  x->inside = size - first;
  x->edge = 0;
  go_on();
  CHECK(has_answers(x, asked, size));
}

static void connections_that_are_open_are_closed(void) {
  uint8_t asked[64];
  size_t size = request(asked, 1, 3);
  wire *x = client();
  arrive(x, asked, size);
  go_on();
  client_script.start_waits = 9;
  client();
}

#define TEST(name) {#name, name}
static const struct {
  const char *name;
  void (*run)(void);
} tests[] = {
    TEST(every_cut_of_requests),
    TEST(every_cut_of_answers),
    TEST(one_byte_at_a_time),
    TEST(full_at_every_byte),
    TEST(a_client_fails_at_every_byte),
    TEST(a_server_fails_at_every_byte),
    TEST(a_client_that_ends_is_answered),
    TEST(an_end_is_said_when_the_transport_can),
    TEST(nothing_goes_before_the_start_is_done),
    TEST(what_the_core_says_during_the_start_waits),
    TEST(an_end_during_the_start_is_seen),
    TEST(an_end_of_the_other_side_waits_for_the_start),
    TEST(what_comes_with_the_start_is_received),
    TEST(a_start_that_fails),
    TEST(a_start_that_does_not_end),
    TEST(what_is_inside_is_not_slept_on),
    TEST(a_paused_client_is_left_alone),
    TEST(who_has_to_write_before_it_can_receive),
    TEST(who_has_to_read_before_it_can_send),
    TEST(what_a_send_has_read_is_received),
    TEST(connections_that_are_open_are_closed),
};

int main(int argc, char **argv) {
  int run = 0;
  for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
    if (argc > 1 && strcmp(argv[1], tests[i].name) != 0) continue;
    begin();
    tests[i].run();
    end();
    run++;
  }
  printf("transports: %d tests\n", run);
  return run > 0 ? 0 : 1;
}
