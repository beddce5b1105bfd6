"""Requests that wait for filters, in the core: what a filter does or does not do is its own rule's affair."""

from __future__ import annotations

import pytest
from protokit_dubbo import dubbo
from protokit_dubbo.messages import OK as DUBBO_OK
from protokit_dubbo.messages import Answer, Call, decode, split
from world import LIMITS, World, table

from protokit import native

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE = range(7)


@pytest.fixture
def world(wide):
    return World(table([wide.address], plan={"filter_chain": 3}))


def decide(world, *arguments):
    op = world.filters.pop(0)
    world.batch(("decide", op.handle, *arguments))
    return op


def test_a_request_waits_with_its_bytes_until_the_verdict(world, wide):
    client = world.client()
    world.feed(client, wide.request(1, b"svc m waits"))
    assert not world.upstreams
    assert native.held_bytes(world.filters[0]) == wide.request(1, b"svc m waits")
    assert world.filters[0].arg == 3
    decide(world, native.DECIDE_CONTINUE)
    assert [frame[3] for frame in world.take(wide, world.only_upstream())] == [b"svc m waits"]


def test_a_verdict_may_be_an_answer(world, wide):
    client = world.client()
    world.feed(client, wide.request(1))
    decide(world, native.DECIDE_REPLY, 0, 7, b"not you")
    assert world.take(wide, client) == [(wide.RESPONSE, 7, 1, b"not you")]


def test_a_filter_that_is_late_finds_the_request_ended(world, wide):
    client = world.client()
    world.feed(client, wide.request(1))
    world.wait(LIMITS["request_ms"] + 10)
    assert [frame[1] for frame in world.take(wide, client)] == [TIMEOUT]
    assert native.held_bytes(world.filters[0]) == wide.request(1)  # still there for the filter to read
    decide(world, native.DECIDE_CONTINUE)
    assert not world.upstreams
    assert world.stat("requests_active") == 0
    assert world.stat("filters_bytes") == 0


def test_a_stale_handle_is_an_error_code(world, wide):
    client = world.client()
    world.feed(client, wide.request(1))
    op = decide(world, native.DECIDE_CONTINUE)
    assert world.core.decide(op.handle, native.DECIDE_CONTINUE) is False
    assert world.core.decide(12345, native.DECIDE_CONTINUE) is False


def test_the_client_may_be_gone_by_then(world, wide):
    client = world.client()
    world.feed(client, wide.request(1))
    world.batch(("error", client))
    decide(world, native.DECIDE_CONTINUE)
    assert not world.upstreams
    assert world.stat("requests_active") == 0


class TestOneThatNeverDecides:
    """It costs only requests of its own rule."""

    @pytest.fixture
    def world(self, wide):
        return World(
            table([wide.address], filtered=["slow", "other"], limits={"in_flight": 12, "filters": 12})
        )

    def served(self, world, wide, number=77, service=b"svc"):
        client = world.client()
        world.feed(client, wide.request(number, service + b" m x"))
        if service != b"svc":
            op = world.filters.pop()
            world.batch(("decide", op.handle, native.DECIDE_CONTINUE))
        up = world.only_upstream()
        for frame in world.take(wide, up):
            world.feed(up, wide.frame(wide.RESPONSE, frame[2], b"ok"))
        return [frame[1:] for frame in world.take(wide, client)] == [(OK, number, b"ok")]

    def ask(self, world, wide, count, first=0):
        client = world.client()
        for n in range(first, first + count):
            world.feed(client, wide.request(n, b"slow m x"))
        return client

    def test_requests_that_wait_for_it_are_not_in_flight(self, world, wide):
        self.ask(world, wide, 12)
        assert len(world.filters) == world.stat("filters_waiting") == 12
        assert self.served(world, wide)

    def test_over_the_limit_its_rule_is_overloaded_and_says_so_and_another_rule_is_served(self, world, wide):
        self.ask(world, wide, 12)
        client = self.ask(world, wide, 1, 50)
        ((_, status, number, text),) = world.take(wide, client)
        assert (status, number) == (OVERLOADED, 50)
        assert (
            text
            == b"protokit: overloaded: requests of this rule that wait for filters are at the limit of 12"
        )
        assert self.served(world, wide, service=b"other")
        assert self.served(world, wide)

    def test_a_request_that_ends_gives_everything_back_and_tells_the_filter(self, world, wide):
        client = self.ask(world, wide, 12)
        world.wait(LIMITS["request_ms"] + 10)
        assert [frame[1] for frame in world.take(wide, client)] == [TIMEOUT] * 12
        assert sorted(world.cancelled) == sorted(op.handle for op in world.filters)
        assert (
            world.stat("requests_active") == world.stat("filters_waiting") == world.stat("buffer_bytes") == 0
        )
        assert world.stat("filters_bytes") > 0
        late, world.filters = world.filters, []
        again = self.ask(world, wide, 12, 100)  # in the records of those
        world.batch(*[("decide", op.handle, native.DECIDE_REPLY, 0, 7, b"late") for op in late])
        assert world.take(wide, again) == []
        assert world.stat("filters_waiting") == 12
        for op in world.filters:
            world.batch(("decide", op.handle, native.DECIDE_REPLY, 0, 7, b"in time"))
        assert [frame[3] for frame in world.take(wide, again)] == [b"in time"] * 12
        assert world.stat("filters_bytes") == 0
        assert self.served(world, wide)

    def test_what_it_reads_stays_where_it_is(self, world, wide):
        self.ask(world, wide, 12)
        world.wait(LIMITS["request_ms"] + 10)
        self.ask(world, wide, 12, 100)
        read = [native.held_bytes(op) for op in world.filters]
        assert read == [wide.request(n, b"slow m x") for n in (*range(12), *range(100, 112))]

    def test_it_holds_an_eighth_of_the_memory_at_most_and_leaves_as_much(self, wide):
        limits = {"buffer": 400_000, "frame": 20_000}
        world = World(table([wide.address], filtered=["slow", "other"], limits=limits))
        client, filling = world.client(), b" " + b"x" * 9_000
        for n in range(8):
            world.feed(client, wide.request(n, b"slow m" + filling))
        assert len(world.filters) == 5  # as many bytes as are left then
        frames = world.take(wide, client)
        assert [frame[1] for frame in frames] == [OVERLOADED] * 3
        assert all(b"bytes that wait for filters are at the limit of 100000" in frame[3] for frame in frames)
        assert self.served(world, wide, service=b"other")
        world.wait(LIMITS["request_ms"] + 10)  # and the other thread takes no note of the end
        assert world.stat("buffer_bytes") == 0
        assert self.served(world, wide)

    def test_requests_that_have_had_their_verdict_are_in_flight(self, world, wide):
        client = self.ask(world, wide, 12)
        world.batch(*[("decide", op.handle, native.DECIDE_CONTINUE) for op in world.filters])
        assert world.take(wide, client) == []
        world.feed(client, wide.request(50, b"slow m x"))
        world.batch(("decide", world.filters[-1].handle, native.DECIDE_CONTINUE))
        assert [frame[1] for frame in world.take(wide, client)] == [OVERLOADED]
        assert len(world.take(wide, world.only_upstream())) == 12

    def test_its_client_leaves(self, toys):
        for toy in (toys["wide"], toys["ordered"], toys["pingpong"]):
            world = World(table([toy.address], filtered=["slow"]))
            client = world.client()
            world.feed(client, toy.request(1, b"slow m x"))
            world.batch(("error", client))
            assert world.cancelled == [world.filters[0].handle], toy.name
            assert world.stat("requests_active") == world.stat("filters_waiting") == 0

    @pytest.mark.parametrize("oldest", ["is answered", "leaves", "leaves late"])
    @pytest.mark.parametrize("end", ["time out", "shut down"])
    def test_its_requests_end_while_an_older_one_of_their_client_has_no_answer(self, toys, end, oldest):
        """Answers come in order: theirs wait for their turn, and the filter reads no more."""
        toy = toys["ordered"]
        limits = {"filter_ms": 500, "filters": 2}
        world = World(table([toy.address], filtered=["slow"], limits=limits))
        client = world.client()
        world.feed(client, toy.request(0, b"svc m x") * 3)
        up = world.only_upstream()
        world.feed(up, toy.frame(toy.RESPONSE, 0, b"ok") * 3)  # their records are used again, the last first
        world.feed(client, toy.request(0, b"svc m x"))
        world.take(toy, client)
        for _ in range(2):
            world.feed(client, toy.request(0, b"slow m x"))
        late = list(world.filters)
        assert world.stat("filters_waiting") == len(late) == 2
        if end == "time out":
            world.wait(600)
        else:
            world.batch(("shutdown",))
        assert sorted(world.cancelled) == sorted(op.handle for op in late)
        assert world.stat("filters_waiting") == 0
        assert [native.held_bytes(op) for op in late] == [toy.request(0, b"slow m x")] * 2
        if oldest == "leaves":
            world.batch(("error", client))
        for op in late:
            world.batch(("decide", op.handle, native.DECIDE_CONTINUE))
        if oldest == "leaves late":
            world.batch(("error", client))
        assert world.stat("filters_bytes") == 0
        if end == "time out" and oldest == "is answered":
            assert world.take(toy, client) == []
            world.feed(client, toy.request(0, b"slow m y"))  # others find room
            world.feed(up, toy.frame(toy.RESPONSE, 0, b"ok"))
            assert [frame[1] for frame in world.take(toy, client)] == [OK, TIMEOUT, TIMEOUT]
            world.batch(("decide", world.filters[-1].handle, native.DECIDE_REPLY, 0, 7, b"in time"))
            assert [frame[3] for frame in world.take(toy, client)] == [b"in time"]
        world.batch(("shutdown",))
        world.wait(LIMITS["request_ms"])
        assert (
            world.stat("requests_active") == world.stat("filters_waiting") == world.stat("buffer_bytes") == 0
        )

    def test_what_is_one_way_is_nobodys_to_take_back(self, world, wide):
        client = world.client()
        world.feed(client, wide.request(1, b"slow m x", oneway=True))
        world.batch(("error", client))
        assert world.cancelled == []
        decide(world, native.DECIDE_CONTINUE)
        assert len(world.take(wide, world.only_upstream())) == 1

    def test_the_proxy_shuts_down(self, world, wide):
        client = self.ask(world, wide, 3)
        world.batch(("shutdown",))
        assert [frame[1] for frame in world.take(wide, client)] == [UNAVAILABLE] * 3
        assert len(world.cancelled) == 3
        assert world.stat("requests_active") == 0


def test_a_filter_has_its_own_time_within_the_requests(wide):
    world = World(table([wide.address], filtered=["slow"], limits={"filter_ms": 500}))
    client = world.client()
    world.feed(client, wide.request(1, b"slow m x"))
    world.wait(510)
    ((_, status, _, text),) = world.take(wide, client)
    assert (status, text) == (
        TIMEOUT,
        b"protokit: the filters of rule filtered slow did not decide within 500 ms",
    )
    assert len(world.cancelled) == 1


def test_the_time_of_a_request_goes_on_when_its_filter_has_decided(wide):
    world = World(table([wide.address], filtered=["slow"], limits={"filter_ms": 500}))
    client = world.client()
    world.feed(client, wide.request(1, b"slow m x"))
    world.wait(400)
    decide(world, native.DECIDE_CONTINUE)
    world.wait(LIMITS["request_ms"] - 500)
    assert world.take(wide, client) == []
    world.wait(110)
    ((_, status, _, text),) = world.take(wide, client)
    assert (status, text[:24]) == (TIMEOUT, b"protokit: no answer from")
    assert world.cancelled == []


def test_a_request_shorter_than_its_filters_time_ends_in_its_own(wide):
    world = World(table([wide.address], filtered=["slow"], limits={"request_ms": 200, "filter_ms": 500}))
    client = world.client()
    world.feed(client, wide.request(1, b"slow m x"))
    world.wait(210)
    ((_, status, _, text),) = world.take(wide, client)
    assert (status, text) == (
        TIMEOUT,
        b"protokit: the filters of rule filtered slow did not decide within 200 ms",
    )


WHOSE = {  # timeouts.filter, the rule's (default, most), the caller's; after which time, and whose fault
    "filters'": (100, (0, None), None, 100, True),
    "filters', of a patient caller": (100, (0, None), 5000, 100, True),
    "the proxy's": (20_000, (0, None), None, LIMITS["request_ms"], True),
    "the rule's": (5000, (200, 300), None, 200, True),
    "the rule's, of a patient caller": (5000, (200, 300), 5000, 300, True),
    "the caller's": (5000, (200, 300), 150, 150, False),
    "the caller's, where no rule says anything": (5000, (0, None), 50, 50, False),
}


@pytest.mark.parametrize("whose", WHOSE)
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
@pytest.mark.parametrize("what", ["request", "answer"])
def test_filters_are_to_blame_for_a_time_that_no_caller_cut_short(what, closed, whose):
    """Else whoever is in a hurry could have a filter switched off for everybody."""
    filter_ms, (usual, most), said, after, blamed = WHOSE[whose]
    plan = {"timeout_ms": usual} | ({} if most is None else {"most_ms": most})
    of = {"filtered" if what == "request" else "seen": ["svc"]}
    tables = table(
        [dubbo.wire.address], plan=plan, open_for=0 if closed else 3, limits={"filter_ms": filter_ms}, **of
    )
    world = World(tables)
    client = world.client()
    attachments = {} if said is None else {"timeout": str(said)}
    world.feed(client, Call("svc", "m", "", [], attachments=attachments, request_id=7).encode())
    if what == "answer":
        up = world.only_upstream()
        (sent,), _ = split(bytes(world.got[up]))
        world.feed(up, Answer(decode(sent).id, DUBBO_OK, "ok").encode())
    assert len(world.filters) == 1
    world.wait(after - 5)
    assert world.cancelled == []
    world.wait(10)
    # Where it is open and the request has no time left there is nothing that could go on.
    assert (world.cancelled, world.blamed) == ([world.filters[0].handle], [blamed])


@pytest.mark.parametrize("what", ["request", "answer"])
def test_filters_are_not_to_blame_for_a_caller_that_leaves(wide, what):
    world = World(table([wide.address], **{"filtered" if what == "request" else "seen": ["svc"]}))
    client = world.client()
    world.feed(client, wide.request(1, b"svc m x"))
    if what == "answer":
        up = world.only_upstream()
        for frame in world.take(wide, up):
            world.feed(up, wide.frame(wide.RESPONSE, frame[2], b"ok"))
    assert len(world.filters) == 1
    world.batch(("error", client))
    world.wait(LIMITS["request_ms"] + 10)
    assert world.blamed == [False]
