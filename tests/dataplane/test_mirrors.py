"""Copies of requests for another cluster: what they are, how many, and that nobody else hears of them."""

from __future__ import annotations

import pytest
from protokit_dubbo import dubbo
from protokit_dubbo.messages import Answer, Call, decode, split
from world import LIMITS, World

from protokit import native
from protokit.config.schema import Breaker
from protokit.dataplane.limits import Mirror
from protokit.testing.tables import TableBuilder

OK, TIMEOUT = 0, 4
REAL, SHADOW = 9000, 9100


def table_of(codecs, *, share=10**6, most=100, mark="", limits=None, endpoints=1, pinned=False, **plan):
    builder = TableBuilder({**LIMITS, **(limits or {})}, seed=42)
    builder.cluster("c", "round-robin", 4, 1000)
    for uid in range(endpoints):
        builder.endpoint(uid, "127.0.0.1", REAL + uid, 1)
    builder.cluster("shadow", "round-robin", 1, 1000)
    builder.endpoint(50, "127.0.0.1", SHADOW, 1)
    number = builder.plan("p", mirror=Mirror(1, share, most, mark), **plan)
    builder.split(0, 1)
    builder.routes("r")
    builder.rule("*", "*", "*", "*", number)
    builder.listener(0, "in", routes=0, plan=None, pinned=pinned, codecs=codecs)
    return builder.finish()


class Course:
    """A client, its server, and the shadow."""

    def __init__(self, toy, **more) -> None:
        self.toy = toy
        self.world = World(table_of([toy.address], **more))
        self.client = self.world.client()
        self.number = 0

    def up(self, port):
        return [handle for handle, (_, one) in self.world.upstreams.items() if one == port]

    def got(self, port):
        """(upstream, kind, id, body) of what was sent there since."""
        return [
            (up, kind, number, body)
            for up in self.up(port)
            for kind, _, number, body in self.world.take(self.toy, up)
        ]

    def ask(self, count=1, body=b"svc m x", kind=None):
        for _ in range(count):
            self.number += 1
            frame = self.toy.frame(kind or self.toy.REQUEST, self.number, body)
            self.world.feed(self.client, frame)

    def serve(self, port=REAL, text=b"there", status=OK):
        """Answer all that was asked there."""
        found = self.got(port)
        for up, _, number, _ in found:
            self.world.feed(up, self.toy.frame(self.toy.RESPONSE, number, text, status))
        return found

    def heard(self):
        return [(status, text) for _, status, _, text in self.world.take(self.toy, self.client)]

    def counts(self):
        names = ("mirrors", "mirrors_active", "mirrors_failed", "mirrors_skipped")
        return tuple(self.world.stat(name) for name in names)

    def is_over(self):
        assert self.world.stat("requests_active") == self.world.stat("mirrors_active") == 0
        assert self.world.stat("buffer_bytes") == 0


@pytest.mark.parametrize("kind", ["wide", "narrow", "named", "ordered", "pingpong"])
def test_a_copy_is_sent_and_its_answer_dropped(toys, kind):
    course = Course(toys[kind])
    for _ in range(5):
        course.ask()
        assert [one[3] for one in course.serve()] == [b"svc m x"]
        assert course.heard() == [(OK, b"there")]
        assert [one[3] for one in course.serve(SHADOW, b"shadow")] == [b"svc m x"]
        assert course.heard() == []
    course.world.wait(LIMITS["request_ms"])
    assert course.counts()[:3] == (5, 0, 0)
    assert course.world.stat("requests") == course.world.stat("responses") == 5
    assert course.world.stat("requests_client_gone") == 0
    course.is_over()


def test_ids_there_are_of_their_own(wide):
    course = Course(wide)
    course.ask(3)
    real, shadow = course.got(REAL), course.got(SHADOW)
    for up, _, number, _ in shadow[::-1]:
        course.world.feed(up, wide.frame(wide.RESPONSE, number, b"shadow"))
    assert course.heard() == []
    for up, _, number, _ in real:
        course.world.feed(up, wide.frame(wide.RESPONSE, number, b"there"))
    assert course.heard() == [(OK, b"there")] * 3
    course.is_over()


def test_one_way_stays_one_way(wide):
    course = Course(wide)
    course.ask(kind=wide.ONEWAY)
    assert [one[1] for one in course.got(SHADOW)] == [one[1] for one in course.got(REAL)] == [wide.ONEWAY]
    assert course.counts() == (1, 0, 0, 0)
    assert course.world.outcomes() == {"oneway": 1}
    course.is_over()


def refuses(course):
    course.world.connect = "fail"


def hangs(course):
    course.world.connect = "ok"


def never_opens(course):
    course.world.connect = "wait"


WORST = {"refuses": refuses, "hangs": hangs, "never opens": never_opens}


@pytest.mark.parametrize("worst", WORST)
def test_the_worst_shadow_is_heard_of_by_nobody(wide, worst):
    """It refuses, hangs, or never opens: callers get their answers all the same."""
    course = Course(wide, most=20)
    course.ask()  # the real connection is open
    course.serve()
    course.heard()
    course.world.wait(LIMITS["request_ms"])
    for up in course.up(SHADOW):
        course.world.batch(("error", up))
    before = course.counts()
    WORST[worst](course)
    for _ in range(50):
        course.ask()
        course.serve()
        assert course.heard() == [(OK, b"there")]
        assert course.world.stat("mirrors_active") <= 20
    assert course.world.stat("requests_active") == 0
    assert course.counts()[0] + course.counts()[3] == before[0] + before[3] + 50
    if worst != "refuses":
        assert course.counts()[3] == 30
    else:  # none of them is tried again
        assert course.counts()[2] - before[2] == course.counts()[0] - before[0] > 0
    course.world.wait(4 * LIMITS["request_ms"])
    assert course.world.stat("mirrors_active") == 0
    for name in (
        "errors_timeout",
        "errors_unavailable",
        "errors_overloaded",
        "retries",
        "responses_app_error",
    ):
        assert course.world.stat(name) == 0, name
    assert not course.world.paused
    assert course.client not in course.world.closed


def test_a_shadow_that_does_not_read_holds_no_more_than_its_connection_may(wide):
    course = Course(wide, most=1000, limits={"in_flight_per_connection": 1000, "upstream_in_flight": 1000})
    course.ask()
    (shadow,) = course.up(SHADOW)
    course.world.stuck.add(shadow)
    course.got(SHADOW), course.serve(), course.heard()
    for _ in range(200):
        course.ask(body=b"svc m " + bytes(1000))
        course.serve()
        assert course.heard() == [(OK, b"there")]
    assert course.world.stat("buffer_bytes") <= 3 * LIMITS["upstream_buffer"]
    assert course.counts()[2] > 0
    assert not course.world.paused


def test_a_shadow_that_answers_much_or_what_nobody_asked_for(wide):
    course = Course(wide)
    for text in (bytes(60_000), bytes(65_535)):  # the second is larger than a frame may be
        course.ask()
        (asked,) = course.got(SHADOW)
        course.serve()
        course.world.feed(asked[0], wide.frame(wide.RESPONSE, asked[2], text) * 5)
        assert course.heard() == [(OK, b"there")]
    assert course.world.stat("requests_active") == course.world.stat("mirrors_active") == 0
    assert course.world.stat("buffer_bytes") < 1 << 18


def test_it_is_not_tried_again_nor_copied_by_another_try(wide):
    plan = {"attempts": 3, "retry_on": ("reset",), "idempotent": True, "hedge_ms": 50}
    course = Course(wide, endpoints=3, **plan)
    course.ask()
    assert len(course.got(SHADOW)) == 1
    course.world.wait(60)  # a hedge
    for port in (REAL, REAL + 1, REAL + 2):
        for up in course.up(port):
            course.world.batch(("error", up))
    assert course.got(SHADOW) == []
    for up in course.up(SHADOW):
        course.world.batch(("error", up))
    assert course.got(SHADOW) == []
    assert course.counts()[:3] == (1, 0, 1)


def test_a_share_of_them(wide):
    course = Course(wide, share=100_000, limits={"in_flight": 4000})
    for _ in range(1000):
        course.ask()
        course.serve()
        course.serve(SHADOW)
    assert 60 < course.counts()[0] < 140
    assert course.counts()[1:] == (0, 0, 0)


def test_what_is_too_large_is_not_copied(wide):
    course = Course(wide)
    for size in (LIMITS["retry_buffer"] - 100, LIMITS["retry_buffer"]):
        course.ask(body=b"svc m " + bytes(size))
        course.serve()
        course.serve(SHADOW)
    assert course.counts() == (1, 0, 0, 1)


def test_copies_take_no_place_of_real_ones(wide):
    course = Course(wide, limits={"in_flight": 5, "in_flight_per_connection": 5})
    for _ in range(50):
        course.ask()
        course.serve()
    assert course.heard() == [(OK, b"there")] * 50
    assert 20 < course.counts()[1] <= 32  # as many as its connection takes


def test_a_client_that_leaves_does_not_end_it(wide):
    course = Course(wide)
    course.ask()
    course.world.batch(("error", course.client))
    assert course.counts() == (1, 1, 0, 0)
    course.serve(SHADOW)
    assert course.counts() == (1, 0, 0, 0)
    course.is_over()


def test_a_reload_keeps_the_table_as_long_as_a_copy_is_under_way(wide):
    course = Course(wide)
    course.ask()
    course.serve()
    course.world.apply(table_of([wide.address]))
    assert course.world.retired == []
    course.serve(SHADOW)
    assert course.world.retired == [1]


def test_it_is_marked():
    world = World(table_of([dubbo.wire.address], mark="x-shadow"))
    client = world.client()
    call = Call("a.B", "m", "Ljava/lang/String;", ["x"], attachments={"tag": "t"}, request_id=7)
    world.feed(client, call.encode())
    got = {}
    for up, (_, port) in world.upstreams.items():
        (frame,), _ = split(bytes(world.got[up]))
        got[port] = decode(frame)
        world.feed(up, Answer(got[port].id, 20, "x").encode())
    assert (got[SHADOW].attachments.get("x-shadow"), got[SHADOW].attachments["tag"]) == ("true", "t")
    assert "x-shadow" not in got[REAL].attachments
    (answer,), _ = split(bytes(world.got[client]))
    assert decode(answer).id == 7
    assert world.stat("mirrors_active") == 0


def test_one_that_cannot_be_marked_is_not_sent(wide):
    course = Course(wide, mark="x-shadow")
    course.ask()
    course.serve()
    assert course.heard() == [(OK, b"there")]
    assert course.counts() == (0, 0, 0, 1)


def test_one_that_cannot_be_marked_takes_no_place(wide):
    state = native.RuleState(0, 0)
    course = Course(wide, mark="x-shadow", most=2, state=state)
    for _ in range(5):
        course.ask()
        course.serve()
    course.world.apply(table_of([wide.address], most=2, state=state))
    course.ask(2)
    assert course.counts() == (2, 2, 0, 5)


def test_a_rules_copies_are_counted_over_reloads_and_workers(wide):
    """What is under way counts on under another table and in another worker; and what became of it."""
    state, other = native.RuleState(0, 0), native.RuleState(0, 0)
    courses = [Course(wide, most=3, state=state) for _ in range(2)]
    for course in courses:
        course.ask()
        course.serve()
    for _ in range(3):
        courses[0].world.apply(table_of([wide.address], most=3, state=state))
        courses[0].ask()
        courses[0].serve()
    assert [course.counts() for course in courses] == [(2, 2, 0, 2), (1, 1, 0, 0)]
    courses[0].world.apply(table_of([wide.address], most=3, state=other))  # another rule
    courses[0].ask()
    courses[0].serve()
    courses[0].serve(SHADOW)
    courses[1].world.connect = "fail"
    courses[1].world.batch(("error", courses[1].up(SHADOW)[0]))
    for course in courses:
        course.world.wait(LIMITS["request_ms"])
        course.is_over()
    told = {name: count for name, count in state.counts().items() if count}
    assert told == {"mirror": 3, "mirror-skipped": 2, "mirror-failed": 1}
    assert {name: count for name, count in other.counts().items() if count} == {"mirror": 1}
    courses[1].world.connect = "ok"
    courses[1].world.wait(3000)
    courses[1].ask(5)  # the places are there again
    assert courses[1].world.stat("mirrors_active") == 3


def test_shutdown_waits_for_none(wide):
    course = Course(wide)
    course.ask()
    course.serve()
    course.world.batch(("shutdown",))
    assert course.world.stat("mirrors_active") == 0


@pytest.mark.parametrize("asked", [b"two m x", b"svc m0 x"], ids=["another", "the copied"])
@pytest.mark.parametrize("breaker", [None, Breaker(requests=16), Breaker(requests=5)])
@pytest.mark.parametrize("methods", [1, 50])
@pytest.mark.parametrize("kind", ["wide", "narrow", "named", "ordered"])
def test_copies_leave_places_to_real_requests_of_their_cluster(toys, kind, methods, breaker, asked):
    """Its server hangs; no client holds what it is asked so, and of many methods none holds much; nor does
    the method that is copied, where it is asked for there itself."""
    toy = toys[kind]
    builder = TableBuilder(LIMITS, seed=42)
    builder.cluster("c", "round-robin", 4, 1000)
    builder.endpoint(0, "127.0.0.1", REAL, 1)
    builder.cluster("shadow", "round-robin", 1, 1000, breaker=breaker)
    builder.endpoint(50, "127.0.0.1", SHADOW, 1)
    copied, own = builder.plan("copied", mirror=Mirror(1, 10**6, 100)), None
    builder.split(0, 1)
    own = builder.plan("own")
    builder.split(1, 1)
    builder.routes("r")
    builder.rule("svc", "*", "*", "*", copied)
    builder.routes("itself")
    builder.rule("*", "*", "*", "*", own)
    for routes in range(2):
        builder.listener(routes, "in", routes=routes, plan=None, pinned=False, codecs=[toy.address])
    world = World(builder.finish())
    clients = [world.client() for _ in range(8)]
    for number in range(60):
        world.feed(clients[number % 8], toy.request(number, b"svc m%d x" % (number % methods)))
        for up, (_, port) in list(world.upstreams.items()):
            for _, _, number_there, _ in world.take(toy, up) if port == REAL else ():
                world.feed(up, toy.frame(toy.RESPONSE, number_there, b"there"))
    heard = [one for client in clients for one in world.take(toy, client)]
    assert [one[1] for one in heard] == [OK] * 60
    room = breaker.requests if breaker else LIMITS["upstream_in_flight"]
    assert world.stat("mirrors_active") == room - max(1, room // 8)
    client = world.client(listener=1)
    world.feed(client, toy.request(1, asked))
    assert world.take(toy, client) == []
    (shadow,) = [up for up, (_, port) in world.upstreams.items() if port == SHADOW]
    assert world.take(toy, shadow)[-1][3] == asked


@pytest.mark.parametrize("places", [1, 2, 4, 7])
@pytest.mark.parametrize("most", [1, 100])
def test_copies_give_way_where_answers_come_one_at_a_time(toys, places, most):
    """A copy that hangs has a connection as long as nobody else wants it; who asks is never driven out."""
    toy = toys["pingpong"]
    builder = TableBuilder({**LIMITS, "in_flight": 1000}, seed=42)
    builder.cluster("c", "round-robin", 64, 1000)
    builder.endpoint(0, "127.0.0.1", REAL, 1)
    builder.cluster("shadow", "round-robin", places, 1000)
    builder.endpoint(50, "127.0.0.1", SHADOW, 1)
    copied = builder.plan("copied", mirror=Mirror(1, 10**6, most))
    builder.split(0, 1)
    own = builder.plan("own")
    builder.split(1, 1)
    for plan in (copied, own):
        builder.routes(f"to {plan}")
        builder.rule("*", "*", "*", "*", plan)
    for routes in range(2):
        builder.listener(routes, "in", routes=routes, plan=None, pinned=False, codecs=[toy.address])
    world = World(builder.finish())

    def mirrored():
        client = world.client()
        world.feed(client, toy.request(1, b"svc m copy"))
        for up, (_, port) in list(world.upstreams.items()):
            for _, _, number, _ in world.take(toy, up) if port == REAL else ():
                world.feed(up, toy.frame(toy.RESPONSE, number, b"there"))
        assert [one[1] for one in world.take(toy, client)] == [OK]

    def asked():
        ups = [up for up, (_, port) in world.upstreams.items() if port == SHADOW]
        return [one[3] for up in ups for one in world.take(toy, up)]

    for _ in range(20):
        mirrored()
    assert world.stat("mirrors_active") == min(places, most)
    asked()
    shadows = [up for up, (_, port) in world.upstreams.items() if port == SHADOW]
    mirrored()
    assert [up for up, (_, port) in world.upstreams.items() if port == SHADOW] == shadows
    clients = [world.client(listener=1) for _ in range(places)]
    for n, client in enumerate(clients):
        world.feed(client, toy.request(1, b"svc m%d real" % n))
    assert sorted(asked()) == [b"svc m%d real" % n for n in range(places)]
    assert world.stat("mirrors_active") == 0
    for _ in range(5):
        mirrored()
    assert world.stat("mirrors_active") == 0
    assert asked() == []
    assert not any(world.take(toy, client) for client in clients)
    for up in [up for up, (_, port) in world.upstreams.items() if port == SHADOW]:
        world.feed(up, toy.frame(toy.RESPONSE, 0, b"said"))
    assert [one[1] for client in clients for one in world.take(toy, client)] == [OK] * places
