"""Answers that wait for filters, in the core: what a filter does or does not do is its own rule's affair."""

from __future__ import annotations

import pytest
from world import LIMITS, World, table

from protokit import native

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE, DENIED, INTERNAL = range(9)
REQUESTS, ANSWERS = 1, 2  # PK_OPEN_*
KINDS = ["wide", "narrow", "named", "own", "ordered", "pingpong"]
SEEN = b"seen m x"


@pytest.fixture(params=KINDS)
def toy(request, toys):
    return toys[request.param]


def made(toy, *, closed=True, seen=("seen", "other"), **more) -> World:
    return World(table([toy.address], seen=list(seen), open_for=0 if closed else ANSWERS, **more))


def at_server(world, toy, up=None) -> list:
    return world.take(toy, world.only_upstream() if up is None else up)


def answer(world, toy, body=b"ok", status=0, up=None) -> None:
    """Each request that came to the server is answered."""
    up = world.only_upstream() if up is None else up
    for frame in at_server(world, toy, up):
        if frame[0] == toy.REQUEST:
            world.feed(up, toy.frame(toy.RESPONSE, frame[2], body, status))


def ask(world, toy, body=SEEN, number=1, client=None) -> int:
    client = world.client() if client is None else client
    world.feed(client, toy.request(number, body))
    return client


def decide(world, verdict=native.DECIDE_ANSWER, *more, at=0):
    op = world.filters.pop(at)
    world.batch(("decide", op.handle, verdict, *more))
    return op


def nothing_is_left(world) -> bool:
    return (
        world.stat("requests_active")
        == world.stat("filters_waiting")
        == world.stat("filters_bytes")
        == world.stat("buffer_bytes")
        == 0
    )


def test_an_answer_waits_with_its_request_until_the_verdict(toy):
    world = made(toy)
    client = ask(world, toy)
    world.now += 7_000_000
    ((_, _, number, _),) = at_server(world, toy)
    sent = toy.frame(toy.RESPONSE, number, b"ok", APP_ERROR)
    world.feed(world.only_upstream(), sent)
    assert world.take(toy, client) == []
    (op,) = world.filters
    assert (op.op, op.arg) == (native.OP_ANSWER, 0)
    told = native.Answered.of(op)
    assert told == (7_000_000, 0, 0, APP_ERROR, toy.request(1, SEEN), sent)
    decide(world)
    assert [frame[1:] for frame in world.take(toy, client)] == [(APP_ERROR, 1 if number else 0, b"ok")]
    assert nothing_is_left(world)
    assert world.stat("responses") == world.stat("responses_app_error") == 1


def test_answers_of_other_rules_and_to_nobody_do_not_wait(toy):
    world = made(toy)
    client = ask(world, toy, b"svc m x")
    answer(world, toy)
    assert [frame[3] for frame in world.take(toy, client)] == [b"ok"]
    world.feed(client, toy.request(2, SEEN, oneway=True))
    assert world.filters == []
    assert nothing_is_left(world)


def test_a_verdict_may_be_an_error(toy):
    world = made(toy)
    client = ask(world, toy)
    answer(world, toy)
    decide(world, native.DECIDE_ANSWER_REPLY, 0, DENIED, b"not yours")
    assert [frame[1:] for frame in world.take(toy, client)] == [
        (DENIED, 1 if toy.id_bytes else 0, b"not yours")
    ]
    assert world.stat("errors_denied") == 1
    assert nothing_is_left(world)


def test_a_changed_answer_is_the_same_answer_or_none(toys):
    for kind in ("wide", "named", "ordered"):
        toy = toys[kind]
        world = made(toy, limits={"frame": 4096})
        for wrong in (
            lambda n, toy=toy: toy.frame(toy.RESPONSE, n + 1 if toy.id_bytes else n, b"other")[
                : -1 if not toy.id_bytes else None
            ],
            lambda n, toy=toy: toy.request(n, b"svc m x"),
            lambda n, toy=toy: toy.frame(toy.RESPONSE, n, b"two") * 2,
            lambda n, toy=toy: toy.frame(toy.RESPONSE, n, b"half")[:-1],
            lambda n, toy=toy: toy.frame(toy.RESPONSE, n, b"more", toy.MORE),
            lambda n, toy=toy: toy.frame(toy.RESPONSE, n, b"x" * 5000),
        ):
            client = ask(world, toy)
            ((_, _, number, _),) = at_server(world, toy)
            world.feed(world.only_upstream(), toy.frame(toy.RESPONSE, number, b"ok"))
            decide(world, native.DECIDE_ANSWER, 0, 0, wrong(number))
            ((_, status, _, text),) = world.take(toy, client)
            assert (status, text) == (
                INTERNAL,
                b"protokit: the answer that a filter changed does not fit any more",
            )
        client = ask(world, toy)
        ((_, _, number, _),) = at_server(world, toy)
        world.feed(world.only_upstream(), toy.frame(toy.RESPONSE, number, b"ok"))
        decide(world, native.DECIDE_ANSWER, 0, 0, toy.frame(toy.RESPONSE, number, b"a longer one"))
        ((_, status, _, text),) = world.take(toy, client)
        assert (status, text) == (OK, b"a longer one")
        assert nothing_is_left(world)


class TestOneThatNeverDecides:
    """It costs only answers of its own rule."""

    def test_its_answer_ends_in_its_time_and_the_filter_is_told(self, toy):
        world = made(toy, limits={"filter_ms": 500})
        client = ask(world, toy)
        answer(world, toy)
        world.wait(510)
        ((_, status, _, text),) = world.take(toy, client)
        assert (status, text) == (
            TIMEOUT,
            b"protokit: the filters of rule filtered seen did not decide on the answer within 500 ms",
        )
        (op,) = world.filters
        assert world.cancelled == [op.handle]
        assert native.Answered.of(op).asked == toy.request(1, SEEN)  # still there for the filter to read
        decide(world)
        assert world.take(toy, client) == []
        assert nothing_is_left(world)

    def test_where_it_is_open_the_answer_goes_on_as_it_is(self, toy):
        world = made(toy, closed=False, limits={"filter_ms": 500})
        client = ask(world, toy)
        answer(world, toy)
        world.wait(510)
        assert [frame[1:] for frame in world.take(toy, client)] == [(OK, 1 if toy.id_bytes else 0, b"ok")]
        assert world.cancelled == [world.filters[0].handle]
        decide(world, native.DECIDE_ANSWER_REPLY, 0, DENIED, b"late")
        assert world.take(toy, client) == []
        assert world.stat("answers_unseen") == 1
        assert nothing_is_left(world)

    def test_an_answer_has_no_more_time_than_its_request_has_left(self, wide):
        world = made(wide)
        client = ask(world, wide)
        world.wait(LIMITS["request_ms"] - 100)
        answer(world, wide)
        world.wait(110)
        ((_, status, _, text),) = world.take(wide, client)
        assert status == TIMEOUT
        assert b"within %d ms" % LIMITS["request_ms"] in text

    def test_over_the_limit_its_rule_is_told_so_and_another_rule_is_served(self, toys):
        for kind, closed in (("wide", True), ("wide", False), ("ordered", True)):
            toy = toys[kind]
            world = made(toy, closed=closed, limits={"filters": 3})
            clients = [ask(world, toy, number=n) for n in range(4)]
            for up in [*world.upstreams]:
                answer(world, toy, up=up)
            assert world.stat("filters_waiting") == 3
            (frame,) = [frame for client in clients for frame in world.take(toy, client)]
            if closed:
                assert frame[1] == OVERLOADED
                assert (
                    b"filtered seen do not see the answer: those that wait for them are at the limit of 3"
                    in frame[3]
                )
            else:
                assert (frame[1], frame[3]) == (OK, b"ok")
            assert world.stat("answers_unseen") == 1
            other = ask(world, toy, b"other m x", 9)
            for up in [*world.upstreams]:
                answer(world, toy, up=up)
            decide(world, at=-1)
            assert [frame[3] for frame in world.take(toy, other)] == [b"ok"]

    def test_it_holds_no_more_than_its_share_of_the_memory(self, wide):
        world = made(wide, limits={"buffer": 400_000, "frame": 20_000})
        client = world.client()
        for n in range(8):
            ask(world, wide, number=n, client=client)
        answer(world, wide, b"x" * 9_000)
        assert len(world.filters) == 5  # as many bytes as are left then
        refused = world.take(wide, client)
        assert [frame[1] for frame in refused] == [OVERLOADED] * 3
        assert b"the bytes that wait for filters are at their limit" in refused[0][3]
        other = ask(world, wide, b"svc m x", 77)
        answer(world, wide)
        assert [frame[3] for frame in world.take(wide, other)] == [b"ok"]
        while world.filters:
            decide(world)
        assert nothing_is_left(world)

    def test_they_are_not_in_flight_and_hold_no_place_at_their_server(self, wide):
        world = made(wide, limits={"in_flight": 4, "upstream_in_flight": 4}, max_connections=1)
        client = world.client()
        for n in range(12):
            ask(world, wide, number=n, client=client)
            answer(world, wide)
        assert world.stat("filters_waiting") == 12
        for _ in range(12):
            decide(world)
        assert sorted(frame[2] for frame in world.take(wide, client)) == [*range(12)]
        assert nothing_is_left(world)

    @pytest.mark.parametrize("how", ["leaves", "is shut down"])
    def test_its_client(self, toy, how):
        world = made(toy)
        client = ask(world, toy)
        answer(world, toy)
        world.batch(("error", client) if how == "leaves" else ("shutdown",))
        assert world.cancelled == [world.filters[0].handle]
        assert world.stat("requests_active") == world.stat("filters_waiting") == 0
        assert native.Answered.of(world.filters[0]).frame.endswith(b"ok")
        decide(world)
        assert world.stat("filters_bytes") == 0
        if how == "is shut down":
            assert [frame[1] for frame in world.take(toy, client)] == [UNAVAILABLE]

    def test_its_client_leaves_before_the_answer(self, toy):
        world = made(toy)
        client = ask(world, toy)
        world.batch(("error", client))
        if world.upstreams:
            answer(world, toy)
        assert world.filters == []
        assert nothing_is_left(world)


def test_the_order_of_answers_is_kept(toys):
    toy = toys["ordered"]
    world = made(toy, endpoints=2)
    client = world.client()
    ask(world, toy, SEEN, client=client)
    ask(world, toy, b"svc m x", client=client)
    ask(world, toy, SEEN, client=client)
    for n, up in enumerate([*world.upstreams]):
        answer(world, toy, b"from %d" % n, up=up)
    assert world.take(toy, client) == []
    assert len(world.filters) == 2
    decide(world, at=1)
    assert world.take(toy, client) == []
    decide(world, native.DECIDE_ANSWER_REPLY, 0, DENIED, b"no")
    assert [(frame[1], frame[3]) for frame in world.take(toy, client)] == [
        (DENIED, b"no"),
        (OK, b"from 1"),
        (OK, b"from 0"),
    ]
    assert nothing_is_left(world)


def test_filters_see_the_last_try_only(wide):
    plan = {"attempts": 2, "retry_on": ("unavailable",), "idempotent": True}
    world = made(wide, endpoints=2, plan=plan)
    client = ask(world, wide)
    (first,) = world.upstreams
    answer(world, wide, b"not me", UNAVAILABLE, up=first)
    assert world.filters == []
    (second,) = world.upstreams.keys() - {first}
    answer(world, wide, b"nor me", UNAVAILABLE, up=second)
    told = native.Answered.of(world.filters[0])
    endpoint = world.upstreams[second][1] - 9000
    assert (told.status, told.endpoint, told.asked) == (UNAVAILABLE, endpoint, wide.request(1, SEEN))
    decide(world)
    assert [frame[3] for frame in world.take(wide, client)] == [b"nor me"]
    assert nothing_is_left(world)


def test_filters_have_more_time_than_the_try_that_was_answered(wide):
    plan = {"attempts": 2, "retry_on": ("timeout",), "idempotent": True, "per_try_ms": 200}
    world = made(wide, plan=plan)
    client = ask(world, wide)
    answer(world, wide)
    world.wait(1000)
    assert world.take(wide, client) == []
    decide(world)
    assert [frame[3] for frame in world.take(wide, client)] == [b"ok"]


def test_a_request_without_an_answer_is_not_kept(toy):
    world = made(toy)
    client = ask(world, toy)
    world.wait(LIMITS["request_ms"] + 10)
    assert [frame[1] for frame in world.take(toy, client)] == [TIMEOUT]
    assert nothing_is_left(world)
    ask(world, toy)
    world.batch(("error", [*world.upstreams][-1]))
    assert nothing_is_left(world)


class TestBoth:
    """The request waits for filters, and then its answer."""

    def waiting(self, toy, **more):
        world = World(table([toy.address], filtered=["seen"], seen=["seen"], **more))
        return world, ask(world, toy)

    def test_one_after_the_other(self, toy):
        world, client = self.waiting(toy)
        assert world.filters[0].op == native.OP_FILTER
        assert native.held_cluster(world.filters[0]) == 0
        changed = toy.request(1, b"seen m changed")
        decide(world, native.DECIDE_CONTINUE, 0, 0, changed)
        answer(world, toy)
        assert native.Answered.of(world.filters[0]).asked == changed
        decide(world)
        assert [frame[3] for frame in world.take(toy, client)] == [b"ok"]
        assert nothing_is_left(world)

    def test_what_the_request_did_not_get_in_time_is_no_verdict_on_its_answer(self, toy):
        """Its filters hang, are open, and say what they say while its answer waits."""
        world, client = self.waiting(toy, open_for=REQUESTS, limits={"filter_ms": 500})
        world.wait(510)
        (late,) = world.filters
        assert world.cancelled == [late.handle]
        answer(world, toy)
        world.batch(("decide", late.handle, native.DECIDE_REPLY, 0, DENIED, b"late"))
        assert world.take(toy, client) == []
        assert world.stat("filters_waiting") == 1
        world.batch(("decide", late.handle, native.DECIDE_CONTINUE))  # it has heard of the end, too
        decide(world, at=1)
        assert [frame[3] for frame in world.take(toy, client)] == [b"ok"]
        assert nothing_is_left(world)

    def test_each_end_frees_its_own_bytes(self, wide):
        world, client = self.waiting(wide, open_for=REQUESTS, limits={"filter_ms": 500})
        world.wait(510)
        answer(world, wide)
        world.batch(("error", client))
        asked, answered = world.filters
        held = world.stat("filters_bytes")
        world.batch(("decide", answered.handle, native.DECIDE_ANSWER))
        assert native.held_bytes(asked) == wide.request(1, SEEN)
        assert 0 < world.stat("filters_bytes") < held / 2
        world.batch(("decide", asked.handle, native.DECIDE_CONTINUE))
        assert nothing_is_left(world)

    def test_who_could_not_be_asked_of_the_request_says_nothing_of_its_answer(self, wide):
        """What the other thread has not read yet of the answer, or of the request, stays until it has."""
        world, client = self.waiting(wide, open_for=REQUESTS, limits={"filter_ms": 500})
        world.wait(510)
        answer(world, wide)
        asked, answered = world.filters
        world.batch(("decide", asked.handle, native.DECIDE_NOT_ASKED, 0, OVERLOADED, b"busy"))
        assert world.take(wide, client) == []
        assert native.Answered.of(answered).asked == wide.request(1, SEEN)
        world.batch(("error", client))
        assert nothing_is_left(world) is False
        world.batch(("decide", answered.handle, native.DECIDE_ANSWER))
        assert nothing_is_left(world)

    def test_who_could_not_be_asked_of_an_answer_says_nothing_of_its_request(self, wide):
        world, client = self.waiting(wide, open_for=REQUESTS, limits={"filter_ms": 500})
        world.wait(510)
        answer(world, wide)
        world.batch(("error", client))
        asked, answered = world.filters
        world.batch(("decide", answered.handle, native.DECIDE_ANSWER_NOT_ASKED, 0, OVERLOADED, b"busy"))
        assert native.held_bytes(asked) == wide.request(1, SEEN)
        assert world.stat("filters_bytes") > 0
        world.batch(("decide", asked.handle, native.DECIDE_CONTINUE))
        assert nothing_is_left(world)

    def test_nobody_could_be_asked(self, wide):
        for closed in (True, False):
            world, client = self.waiting(wide, open_for=0 if closed else REQUESTS | ANSWERS)
            decide(world, native.DECIDE_NOT_ASKED, 0, OVERLOADED, b"busy")
            if closed:
                assert [frame[1:] for frame in world.take(wide, client)] == [(OVERLOADED, 1, b"busy")]
                world, client = self.waiting(wide)
                decide(world, native.DECIDE_CONTINUE)
            answer(world, wide)
            decide(world, native.DECIDE_ANSWER_NOT_ASKED, 0, OVERLOADED, b"busy")
            assert [frame[3] for frame in world.take(wide, client)] == [b"busy" if closed else b"ok"]
            assert nothing_is_left(world)

    def test_over_the_limit_open_ones_go_on(self, wide):
        world, client = self.waiting(wide, open_for=REQUESTS | ANSWERS, limits={"filters": 1})
        ask(world, wide, number=2, client=client)
        answer(world, wide)
        assert len(world.filters) == 2
        assert native.Answered.of(world.filters[1]).asked == wide.request(2, SEEN)


class TestParts:
    """Answers in parts, which no filter sees."""

    @pytest.mark.parametrize("closed", [True, False])
    def test_they_are_refused_or_go_on(self, toy, closed):
        world = made(toy, closed=closed)
        client = ask(world, toy)
        up = world.only_upstream()
        ((_, _, number, _),) = at_server(world, toy)
        world.feed(up, toy.frame(toy.RESPONSE, number, b"one", toy.MORE))
        world.feed(up, toy.frame(toy.PIECE, number, b"two"))
        got = world.take(toy, client)
        assert world.filters == []
        assert world.stat("answers_unseen") == 1
        if closed:
            assert [frame[1] for frame in got] == [INTERNAL]
            assert b"the filters of rule filtered seen do not see the answer: it comes in parts" in got[0][3]
        else:
            assert [frame[3] for frame in got] == [b"one", b"two"]
        assert nothing_is_left(world)
        ask(world, toy, b"svc m x", 2, client)
        answer(world, toy)
        assert [frame[3] for frame in world.take(toy, client)] == [b"ok"]

    def test_what_follows_of_a_refused_one_is_no_other_callers(self, toy):
        world = made(toy)
        first = ask(world, toy)
        up = world.only_upstream()
        ((_, _, number, _),) = at_server(world, toy)
        world.feed(up, toy.frame(toy.RESPONSE, number, b"one", toy.MORE))
        assert [frame[1] for frame in world.take(toy, first)] == [INTERNAL]
        others = [ask(world, toy, b"svc m x") for _ in range(3)]
        world.feed(up, toy.frame(toy.PIECE, number, b"two", toy.MORE))
        world.feed(up, toy.frame(toy.PIECE, number, b"three"))
        assert [world.take(toy, client) for client in (first, *others)] == [[]] * 4
        for server in [*world.upstreams]:
            answer(world, toy, up=server)
        assert [[frame[3] for frame in world.take(toy, client)] for client in others] == [[b"ok"]] * 3
        assert nothing_is_left(world)


def test_a_request_that_is_not_kept_is_refused_where_its_answer_has_to_be_seen(wide):
    for closed in (True, False):
        world = made(wide, closed=closed, limits={"buffer": 20_000})
        client = ask(world, wide, SEEN + b"x" * 30_000)
        ((_, status, _, text),) = world.take(wide, client)
        assert status == OVERLOADED
        assert (b"buffers of this worker are at the limit of 20000" in text) == closed
        assert world.stat("answers_unseen") == (not closed)
        assert nothing_is_left(world)


def test_an_error_that_waits_for_its_turn_keeps_nothing_of_its_request(toys):
    toy = toys["ordered"]
    world = made(toy, endpoints=2)
    client = ask(world, toy, b"svc m x")
    (first,) = world.upstreams
    before = world.stat("buffer_bytes")
    ask(world, toy, SEEN + b"x" * 3000, client=client)
    assert world.stat("buffer_bytes") > before + 3000
    (second,) = set(world.upstreams) - {first}
    at_server(world, toy, second)
    world.batch(("error", second))
    assert world.take(toy, client) == []
    assert world.stat("buffer_bytes") < before + 1000
    answer(world, toy, up=first)
    assert [frame[1] for frame in world.take(toy, client)] == [OK, UNAVAILABLE]
    assert nothing_is_left(world)


def test_a_core_that_ends_frees_what_waits(toy):
    world = made(toy)
    ask(world, toy)
    ask(world, toy)
    for up in [*world.upstreams]:
        answer(world, toy, up=up)
    ask(world, toy)
    del world  # under sanitizers: nothing leaks
