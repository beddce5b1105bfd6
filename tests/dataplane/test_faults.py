"""Faults of rules: some requests are delayed or answered with an error, and nobody else notices."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from protokit_dubbo import dubbo
from protokit_dubbo.messages import Call, decode, split
from world import LIMITS, World, table

from protokit import native
from protokit.testing.tables import TableBuilder

OK, NO_SERVICE, OVERLOADED, UNAVAILABLE = 0, 2, 5, 6
ALL = 10**6
KINDS = ["wide", "ordered", "pingpong", "named", "own"]


class Record(SimpleNamespace):
    __hash__ = object.__hash__


def fault(delay_ms=0, delay_share=0, status=0, abort_share=0, header="", asked=("", "", 0, 0)):
    """pk_fault."""
    having = [("header", header)] if header else []
    return Record(
        delay_ms=delay_ms,
        delay_share=delay_share,
        status=status,
        abort_share=abort_share,
        having=having,
        asked=asked,
    )


def faulty(codec, of, state=None, **extra):
    return table([codec], plan={"fault": of, "state": state}, **extra)


def sent_to(world, toy):
    """Bodies of the requests that servers were sent since the last look."""
    kinds = (toy.REQUEST, toy.ONEWAY)
    return [frame[3] for up in world.upstreams for frame in world.take(toy, up) if frame[0] in kinds]


@pytest.mark.parametrize("kind", KINDS)
def test_an_abort_is_answered_in_the_protocol_and_names_the_rule(toys, kind):
    toy = toys[kind]
    state = native.RuleState(0, 1)
    aborted = fault(status=UNAVAILABLE, abort_share=ALL)
    world = World(faulty(toy.address, aborted, state, pinned=kind == "own"))
    client = world.client()
    world.feed(client, toy.request(1))
    [(what, status, _, text)] = world.take(toy, client)
    assert (what, status, text) == (toy.RESPONSE, UNAVAILABLE, b"protokit: aborted by the fault of rule plan")
    assert not sent_to(world, toy)
    assert state.counts()["abort"] == 1
    assert world.stat("errors_unavailable") == 1
    assert world.stat("requests_active") == 0


def test_a_one_way_request_is_dropped_and_counted(wide):
    state = native.RuleState(0, 1)
    world = World(faulty(wide.address, fault(status=UNAVAILABLE, abort_share=ALL), state))
    client = world.client()
    world.feed(client, wide.request(1, oneway=True))
    assert not world.take(wide, client)
    assert not sent_to(world, wide)
    assert state.counts()["abort"] == 1
    assert world.stat("requests_active") == 0


@pytest.mark.parametrize("oneway", [False, True])
def test_first_the_delay_and_then_the_abort_each_once(wide, oneway):
    state = native.RuleState(0, 1)
    world = World(faulty(wide.address, fault(100, ALL, UNAVAILABLE, ALL), state))
    client = world.client()
    world.feed(client, wide.request(1, oneway=oneway))
    world.wait(95)
    assert state.counts()["delay"] == 1
    assert state.counts()["abort"] == 0
    world.wait(10)
    assert state.counts() == state.counts() | {"delay": 1, "abort": 1}
    assert [frame[1] for frame in world.take(wide, client)] == [UNAVAILABLE][oneway:]
    assert world.stat("requests_active") == world.stat("buffer_bytes") == 0


@pytest.mark.parametrize("share", [0, 1000, 100_000, 500_000, 900_000, ALL])
@pytest.mark.parametrize("which", ["delay", "abort"])
def test_the_share_that_is_hit(wide, share, which):
    """Of 4000, with the core's own numbers of one seed: within five standard deviations."""
    state = native.RuleState(0, 1)
    of = fault(100, share) if which == "delay" else fault(status=UNAVAILABLE, abort_share=share)
    world = World(faulty(wide.address, of, state))
    client = world.client()
    for number in range(4000):
        world.feed(client, wide.request(number % 16, oneway=True))
        sent_to(world, wide)
        if number % 16 == 15:
            world.wait(105)
            sent_to(world, wide)
    part = share / ALL
    spread = 5 * (4000 * part * (1 - part)) ** 0.5
    assert abs(state.counts()[which] - 4000 * part) <= spread


def test_only_requests_with_the_header_are_hit():
    of = fault(status=UNAVAILABLE, abort_share=ALL, header="x-fault")
    state = native.RuleState(0, 1)
    world = World(faulty(dubbo.wire.address, of, state))
    client = world.client()
    for number, attachments in enumerate([{"x-fault": "1"}, {"x-fault": ""}, {"x-faul": "1"}, {}]):
        call = Call("svc", "m", "", [], attachments=attachments, request_id=number)
        world.feed(client, call.encode())
    frames, _ = split(bytes(world.got[client]))
    assert [decode(frame).id for frame in frames] == [0, 1]
    sent, _ = split(bytes(world.got[world.only_upstream()]))
    assert len(sent) == 2
    assert state.counts()["abort"] == 2


def two_rules(codec, of, state=None, **limits):
    """Requests of service ``slow`` suffer the fault, all others do not."""
    builder = TableBuilder({**LIMITS, **limits}, seed=42)
    builder.cluster("c", "round-robin", 4, 1000)
    builder.endpoint(0, "127.0.0.1", 9000, 1)
    plans = [builder.plan("slow", fault=of, state=state)]
    builder.split(0, 1)
    plans.append(builder.plan("rest"))
    builder.split(0, 1)
    routes = builder.routes("r")
    builder.rule("slow", "*", "*", "*", plans[0])
    builder.rule("*", "*", "*", "*", plans[1])
    builder.listener(0, "in", routes=routes, plan=None, pinned=False, codecs=[codec])
    return builder.finish()


def test_a_delayed_flood_takes_nothing_from_other_rules(wide):
    """More than all that may be in flight: what is over the rule's own is refused, others are served."""
    limits = {"in_flight": 8, "filters": 20, "in_flight_per_connection": 1000}
    world = World(two_rules(wide.address, fault(1000, ALL), **limits))
    flood, other = world.client(), world.client()
    for number in range(100):
        world.feed(flood, wide.request(number, b"slow m x"))
    refused = world.take(wide, flood)
    assert len(refused) == 80
    assert {(frame[1], frame[3]) for frame in refused} == {
        (
            OVERLOADED,
            b"protokit: overloaded: requests of this rule that wait for its delay are at the limit of 20",
        )
    }
    for number in range(8):
        world.feed(other, wide.request(number, b"svc m x"))
    assert sent_to(world, wide) == [b"svc m x"] * 8
    assert not world.take(wide, other)


def test_delayed_requests_find_the_place_in_flight_that_is_there_when_they_go_on(wide):
    limits = {"in_flight": 8, "filters": 20}
    world = World(two_rules(wide.address, fault(100, ALL), **limits))
    client = world.client()
    for number in range(20):
        world.feed(client, wide.request(number, b"slow m x"))
    world.wait(105)
    assert len(sent_to(world, wide)) == 8
    refused = world.take(wide, client)
    assert len(refused) == 12
    assert {frame[1] for frame in refused} == {OVERLOADED}
    assert all(b"requests in flight of this worker are at the limit of 8" in frame[3] for frame in refused)
    assert world.stat("requests_active") == 8


def test_bytes_that_wait_for_delays_are_bounded_and_given_back(wide):
    limits = {"frame_ms": 60_000, "filters": 1000, "in_flight_per_connection": 1000}
    world = World(two_rules(wide.address, fault(1000, ALL), **limits))
    client, large = world.client(), b"slow m " + bytes(60_000)
    for number in range(40):
        world.feed(client, wide.request(number, large))
    refused = world.take(wide, client)
    assert refused
    assert all(b"bytes that wait for filters and delays are at the limit of" in one[3] for one in refused)
    assert world.stat("buffer_bytes") <= LIMITS["buffer"] // 4 + 2 * LIMITS["frame"]
    for _ in range(3):  # as much again, each time that all have gone on, or their client has left
        world.batch(("error", client))
        assert world.stat("requests_active") == 0
        client = world.client()
        for number in range(40):
            world.feed(client, wide.request(number, large))
        assert len(world.take(wide, client)) == len(refused)


def test_a_share_of_nothing_hits_nobody_at_no_cost_to_others(wide):
    world = World(two_rules(wide.address, fault(100, 0, UNAVAILABLE, 0)))
    client = world.client()
    world.feed(client, wide.request(1, b"slow m x"))
    assert sent_to(world, wide) == [b"slow m x"]


def test_a_filter_has_no_more_time_than_its_request_has_left(toys):
    """A fault took most of it."""
    toy = toys["wide"]
    plan = {"timeout_ms": 1000, "fault": fault(900, ALL), "filter_chain": 0}
    world = World(table([toy.address], plan=plan, limits={"filter_ms": 800}))
    client = world.client()
    world.feed(client, toy.request(5))
    world.wait(1050)
    ((_, _, number, text),) = world.take(toy, client)
    assert number == 5
    assert b"within" in text


# Callers ask themselves.

KEY = "fifteen-and-one."


def ask(number, said=None, service="svc", size=0):
    attachments = {} if said is None else {"x-fault": said}
    body = [bytes(size)] if size else []
    kinds = "[B" if size else ""
    return Call(service, "m", kinds, body, attachments=attachments, request_id=number).encode()


def asking(most_ms=200, share=ALL, **more):
    return fault(asked=("x-fault", KEY, most_ms, share), **more)


class Asked:
    """A world of one rule ``slow`` whose callers may ask for faults, and of all others."""

    def __init__(self, of, **limits):
        self.state = native.RuleState(0, 1)
        self.world = World(two_rules(dubbo.wire.address, of, self.state, **limits))

    def sent(self):
        """Requests that servers have got."""
        return sum(len(split(bytes(self.world.got[one]))[0]) for one in self.world.upstreams)

    def errors(self, client):
        frames, _ = split(bytes(self.world.got[client]))
        return [decode(frame).value for frame in frames]

    def counted(self, *names):
        return [self.state.counts()[name] for name in names]


def test_who_has_the_key_says_which_fault():
    one = Asked(asking())
    client = one.world.client()
    for number, said in enumerate(
        (
            f"{KEY} delay=100",
            f"{KEY} abort=denied",
            f"{KEY} delay=50 abort=timeout",
            f"{KEY} abort=internal delay=1",
        )
    ):
        one.world.feed(client, ask(number, said, "slow"))
    text = "protokit: aborted as its caller asked, by the fault of rule slow"
    assert one.errors(client) == [text]
    one.world.wait(60)
    assert one.errors(client) == [text] * 3
    assert one.sent() == 0
    one.world.wait(50)
    assert one.sent() == 1
    assert one.counted("delay", "abort", "fault-denied", "fault-ignored") == [3, 3, 0, 0]
    stats = [one.world.stat(f"errors_{name}") for name in ("denied", "timeout", "internal")]
    assert stats == [1, 1, 1]


@pytest.mark.parametrize(
    "status", ["no-service", "bad-request", "timeout", "overloaded", "unavailable", "denied", "internal"]
)
def test_each_status_that_an_abort_may_have(status):
    one = Asked(asking())
    client = one.world.client()
    one.world.feed(client, ask(1, f"{KEY} abort={status}", "slow"))
    assert one.counted("abort") == [1]
    assert one.world.stat(f"errors_{status.replace('-', '_')}") == 1


def almost():
    """The key with each of its bytes changed; shorter, longer, twice, in another case, and none."""
    for at in range(len(KEY)):
        yield KEY[:at] + chr(ord(KEY[at]) ^ 1) + KEY[at + 1 :]
    yield from (KEY[:-1], KEY[1:], KEY + "x", KEY + "\0", KEY + KEY, KEY.upper(), KEY + "=", "", " " + KEY)


def test_without_the_key_nothing_happens():
    wrong = [*almost()]
    one = Asked(asking())
    client = one.world.client()
    for number, key in enumerate(wrong):
        one.world.feed(client, ask(number, f"{key} delay=100 abort=denied", "slow"))
        assert one.counted("delay", "abort", "fault-denied") == [0, 0, number + 1], key
        assert one.sent() == number + 1, key
    one.world.feed(client, ask(99, None, "slow"))
    assert one.counted("delay", "abort", "fault-denied") == [0, 0, len(wrong)]
    assert not one.errors(client)


WRONG = [
    *(
        "",
        " ",
        " delay",
        " delay=",
        " delay=0",
        " delay=-1",
        " delay=1.5",
        " delay=+1",
        " delay=1s",
        " delay=1000000000",
    ),
    *(
        " delay=0x1",
        " delay=1,abort=denied",
        "  delay=1",
        " delay=1 ",
        " delay=1 delay=1",
        " DELAY=1",
        " delay =1",
    ),
    *(
        " abort=",
        " abort=ok",
        " abort=app-error",
        " abort=14",
        " abort=deni",
        " abort=denied=",
        " abort=denied abort=denied",
    ),
    *(" delay=1 abort=ok", " abort=denied share=1", " delay=1\tabort=denied", " abort=denied\0"),
]


@pytest.mark.parametrize("said", WRONG)
def test_what_is_not_known_is_ignored_and_counted(said):
    one = Asked(asking())
    client = one.world.client()
    one.world.feed(client, ask(1, KEY + said, "slow"))
    assert one.counted("delay", "abort", "fault-denied", "fault-ignored") == [0, 0, 0, 1]
    assert one.sent() == 1


def test_no_delay_is_longer_than_the_most():
    one = Asked(asking(most_ms=200))
    client = one.world.client()
    one.world.feed(client, ask(1, f"{KEY} delay=999999999", "slow"))
    one.world.wait(190)
    assert one.sent() == 0
    one.world.wait(15)
    assert one.sent() == 1


@pytest.mark.parametrize("share", [0, 100_000, 500_000])
def test_no_more_than_the_share_is_hit(share):
    """Of 2000, within five standard deviations: aborts and delays are drawn alike."""
    for word, name in (("abort=denied", "abort"), ("delay=1", "delay")):
        one = Asked(asking(share=share))
        client = one.world.client()
        for number in range(2000):
            one.world.feed(client, ask(number, f"{KEY} {word}", "slow"))
            one.world.wait(4)
            one.world.batch(("error", client))
            client = one.world.client()
        spread = 5 * (2000 * share / ALL * (1 - share / ALL)) ** 0.5
        assert abs(one.counted(name)[0] - 2000 * share / ALL) <= spread


def test_what_is_asked_comes_instead_of_what_the_rule_does_and_only_that_part():
    one = Asked(asking(delay_ms=150, delay_share=ALL, status=UNAVAILABLE, abort_share=ALL))
    client = one.world.client()
    one.world.feed(client, ask(1, f"{KEY} delay=50", "slow"))
    one.world.wait(60)
    assert one.errors(client) == ["protokit: aborted by the fault of rule slow"]
    one.world.feed(client, ask(2, f"{KEY} abort=denied", "slow"))
    one.world.wait(145)
    assert len(one.errors(client)) == 1
    one.world.wait(10)
    assert one.errors(client)[1].startswith("protokit: aborted as its caller asked")


@pytest.mark.parametrize("size", [0, 60_000])
def test_a_flood_of_delays_that_are_asked_for_takes_nothing_from_others(size):
    """Neither from the rule's own delays, nor from other rules, nor from itself: what has no room goes on."""
    own = asking(most_ms=60_000, delay_ms=10, delay_share=ALL)
    one = Asked(own, filters=20, in_flight=1000, in_flight_per_connection=1000, upstream_in_flight=1000)
    flood, same, other = one.world.client(), one.world.client(), one.world.client()
    for number in range(100):
        one.world.feed(flood, ask(number, f"{KEY} delay=60000", "slow", size))
    delayed = one.counted("delay")[0]
    assert 0 < delayed <= 10
    assert one.counted("fault-ignored") == [100 - delayed]
    assert one.sent() == 100 - delayed
    assert not one.errors(flood)
    for number in range(10 if not size else 1):
        one.world.feed(same, ask(number, None, "slow", size))
    assert not one.errors(same)
    assert one.counted("delay")[0] == delayed + (10 if not size else 1)
    for number in range(20):
        one.world.feed(other, ask(number))
    assert one.sent() == 120 - delayed
    one.world.wait(20)
    assert one.sent() == 120 - delayed + (10 if not size else 1)
    assert not one.errors(other)
    one.world.batch(("error", flood))
    one.world.wait(5)
    for client in (same, other):
        one.world.batch(("error", client))
    assert one.world.stat("requests_active") == 0


def test_another_rule_takes_no_orders():
    one = Asked(asking())
    client = one.world.client()
    one.world.feed(client, ask(1, f"{KEY} abort=denied", "svc"))
    assert one.sent() == 1
    assert one.counted("abort", "fault-denied", "fault-ignored") == [0, 0, 0]
