"""A request goes through the steps of its plan, may wait at any of them, and may have several attempts."""

from __future__ import annotations

import itertools

import pytest
from world import LIMITS, World, table

from protokit.config.schema import Reply

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE, DENIED = range(8)
KINDS = ["wide", "ordered", "pingpong", "named", "own"]


def asked(world, toy, handle):
    """(id, body) of the requests that an upstream has been sent since the last look."""
    return [(frame[2], frame[3]) for frame in world.take(toy, handle) if frame[0] == toy.REQUEST]


def of(toys, kind):
    toy = toys[kind]
    return toy, {"pinned": kind == "own"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_may_answer_itself(toys, kind):
    toy, extra = of(toys, kind)
    world = World(table([toy.address], plan={"reply": Reply("denied", "moved to b")}, **extra))
    client = world.client()
    world.feed(client, toy.request(1, b"svc m x"))
    [(what, status, _, text)] = world.take(toy, client)
    assert (what, status, text) == (toy.RESPONSE, DENIED, b"moved to b")
    assert not world.upstreams
    assert world.stat("errors_denied") == 1
    assert world.stat("requests_active") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_waits_and_goes_on_with_its_bytes(toys, kind):
    toy, extra = of(toys, kind)
    world = World(table([toy.address], plan={"delay_ms": 100}, **extra))
    client = world.client()
    world.feed(client, toy.request(1, b"svc m waits"))
    world.wait(95)
    assert not any(asked(world, toy, server) for server in world.upstreams)
    assert world.stat("buffer_bytes") > 0
    world.wait(10)
    server = world.only_upstream()
    [(number, body)] = asked(world, toy, server)
    assert body == b"svc m waits"
    world.feed(server, toy.frame(toy.RESPONSE, number, b"done"))
    assert [(frame[1], frame[3]) for frame in world.take(toy, client)] == [(OK, b"done")]
    assert world.stat("requests_active") == 0


def test_who_waits_holds_up_nobody_else(wide):
    """The order in which requests came is not the order in which they go on."""
    world = World(table([wide.address], plan={"delay_ms": 100}))
    client = world.client()
    world.feed(client, wide.request(1, b"svc m first"))
    world.wait(50)
    world.feed(client, wide.request(2, b"svc m second"))
    world.wait(55)
    assert [body for _, body in asked(world, wide, world.only_upstream())] == [b"svc m first"]
    world.wait(50)
    assert [body for _, body in asked(world, wide, world.only_upstream())] == [b"svc m second"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_whose_time_is_over_first_ends(toys, kind):
    toy, extra = of(toys, kind)
    world = World(table([toy.address], plan={"delay_ms": 500, "timeout_ms": 200}, **extra))
    client = world.client()
    world.feed(client, toy.request(1))
    world.wait(195)
    assert not world.take(toy, client)
    world.wait(10)
    [(_, status, _, text)] = world.take(toy, client)
    assert (status, text) == (TIMEOUT, b"protokit: its delay was not over within 200 ms (rule plan)")
    world.wait(500)
    assert not any(asked(world, toy, server) for server in world.upstreams)
    assert world.stat("requests_active") == world.stat("buffer_bytes") == 0


@pytest.mark.parametrize(("direct", "whose"), [(False, b"rule plan"), (True, b"listener plan")])
def test_a_timeout_names_the_rule_or_the_listener_that_has_none(wide, direct, whose):
    world = World(table([wide.address], plan={"filter_chain": 0}, limits={"filter_ms": 200}, direct=direct))
    client = world.client()
    world.feed(client, wide.request(1, b"svc m x"))
    world.wait(210)
    assert [frame[3] for frame in world.take(wide, client)] == [
        b"protokit: the filters of " + whose + b" did not decide within 200 ms"
    ]
    world = World(table([wide.address], plan={"timeout_ms": 100}, direct=direct))
    client = world.client()
    world.feed(client, wide.request(1, b"svc m x"))
    world.wait(110)
    assert [frame[3] for frame in world.take(wide, client)] == [
        b"protokit: no answer from 127.0.0.1:9000 (cluster c) within 100 ms (" + whose + b")"
    ]


def test_the_time_of_a_call_begins_before_its_delay(wide):
    world = World(table([wide.address], plan={"delay_ms": 100, "timeout_ms": 200}))
    client = world.client()
    world.feed(client, wide.request(1))
    world.wait(195)
    assert world.upstreams
    assert not world.take(wide, client)
    world.wait(10)
    assert [frame[1] for frame in world.take(wide, client)] == [TIMEOUT]


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_leaves_meanwhile_leaves_nothing(toys, kind):
    toy, extra = of(toys, kind)
    world = World(table([toy.address], plan={"delay_ms": 100}, **extra))
    client = world.client()
    world.feed(client, toy.request(1))
    world.batch(("error", client))
    assert world.stat("requests_active") == world.stat("buffer_bytes") == 0
    world.wait(200)
    assert not world.upstreams


def test_a_shutdown_answers_who_waits(wide):
    world = World(table([wide.address], plan={"delay_ms": 100}))
    client = world.client()
    world.feed(client, wide.request(1))
    world.batch(("shutdown",))
    assert [frame[1] for frame in world.take(wide, client)] == [UNAVAILABLE]
    assert world.stat("requests_active") == 0


def test_steps_follow_one_another(wide):
    """A delay, then a filter, then another try after the first attempt was lost."""
    plan = {"delay_ms": 100, "filter_chain": 0, "attempts": 2, "retry_on": ("reset",), "idempotent": True}
    world = World(table([wide.address], plan=plan, endpoints=2))
    client = world.client()
    world.feed(client, wide.request(1, b"svc m x"))
    assert not world.filters
    world.wait(105)
    [op] = world.filters
    world.batch(("decide", op.handle, 0))
    first = world.only_upstream()
    world.batch(("error", first))
    second = world.only_upstream()
    assert second != first
    [(number, _)] = asked(world, wide, second)
    world.feed(second, wide.frame(wide.RESPONSE, number, b"late but there"))
    assert [(frame[1], frame[3]) for frame in world.take(wide, client)] == [(OK, b"late but there")]


def test_bytes_of_two_steps_are_kept_once(wide):
    world = World(table([wide.address], plan={"delay_ms": 100, "filter_chain": 0}))
    client = world.client()
    world.feed(client, wide.request(1, b"svc m x"))
    world.wait(105)
    [op] = world.filters
    world.batch(("decide", op.handle, 0))
    server = world.only_upstream()
    [(number, _)] = asked(world, wide, server)
    world.feed(server, wide.frame(wide.RESPONSE, number, b"there"))
    assert [frame[3] for frame in world.take(wide, client)] == [b"there"]
    assert world.stat("requests_active") == world.stat("buffer_bytes") == 0


def test_filters_have_their_share_also_of_what_was_delayed(wide):
    plan = {"delay_ms": 100, "filter_chain": 0}
    world = World(table([wide.address], plan=plan, limits={"frame_ms": 60_000}))
    client, large = world.client(), b"svc m " + bytes(60_000)
    for number in range(20):
        world.feed(client, wide.request(number, large))
    world.wait(105)
    refused = [frame for frame in world.take(wide, client) if frame[1] == OVERLOADED]
    assert all(b"bytes that wait for filters" in frame[3] for frame in refused)
    assert len(refused) + len(world.filters) == 20
    assert 0 < world.stat("filters_bytes") <= LIMITS["buffer"] // 4
    assert refused


def test_a_reload_keeps_who_waits_with_his_plan(wide):
    world = World(table([wide.address], plan={"delay_ms": 100}))
    client = world.client()
    world.feed(client, wide.request(1, b"svc m x"))
    world.apply(table([wide.address], plan={"reply": Reply("denied")}))
    world.feed(client, wide.request(2, b"svc m y"))
    assert [(frame[1], frame[2]) for frame in world.take(wide, client)] == [(DENIED, 2)]
    world.wait(105)
    assert [body for _, body in asked(world, wide, world.only_upstream())] == [b"svc m x"]


def test_a_rule_that_answers_is_behind_its_filters(wide):
    world = World(table([wide.address], plan={"filter_chain": 0, "reply": Reply("denied", "no")}))
    client = world.client()
    world.feed(client, wide.request(1))
    assert not world.take(wide, client)
    [op] = world.filters
    world.batch(("decide", op.handle, 0))
    assert [(frame[1], frame[3]) for frame in world.take(wide, client)] == [(DENIED, b"no")]


# Several attempts: a second one when the first has no answer for a while. The first answer wins.


def hedged(toy, **plan):
    world = World(table([toy.address], plan={"hedge_ms": 100, "idempotent": True, **plan}, endpoints=2))
    client = world.client()
    world.feed(client, toy.request(5, b"svc m x"))
    [first] = world.upstreams
    [(one, _)] = asked(world, toy, first)
    world.wait(105)
    [second] = [handle for handle in world.upstreams if handle != first]
    assert world.upstreams[first] != world.upstreams[second]
    [(two, body)] = asked(world, toy, second)
    assert body == b"svc m x"
    return world, client, (first, one), (second, two)


@pytest.mark.parametrize("kind", ["wide", "ordered", "pingpong", "named"])
@pytest.mark.parametrize("order", list(itertools.permutations([0, 1])))
def test_the_first_answer_of_two_is_given_and_the_other_nobodys(toys, kind, order):
    toy = toys[kind]
    world, client, *attempts = hedged(toy)
    for at in order:
        server, number = attempts[at]
        world.feed(server, toy.frame(toy.RESPONSE, number, b"from %d" % at))
    [(_, status, number, text)] = world.take(toy, client)
    assert (status, text) == (OK, b"from %d" % order[0])
    assert world.stat("requests_active") == 0
    world.feed(client, toy.request(6, b"svc m y"))  # what came late is not its answer
    assert not world.take(toy, client)


@pytest.mark.parametrize("lost", [0, 1])
def test_one_that_is_lost_leaves_the_other(wide, lost):
    world, client, *attempts = hedged(wide)
    world.batch(("error", attempts[lost][0]))
    assert not world.take(wide, client)
    server, number = attempts[1 - lost]
    world.feed(server, wide.frame(wide.RESPONSE, number, b"there"))
    assert [(frame[1], frame[3]) for frame in world.take(wide, client)] == [(OK, b"there")]


def test_when_both_are_lost_it_fails(wide):
    world, client, *attempts = hedged(wide)
    for server, _ in attempts:
        world.batch(("error", server))
    [(_, status, number, text)] = world.take(wide, client)
    assert (status, number) == (UNAVAILABLE, 5)
    assert b"the connection was lost to" in text
    assert world.stat("requests_active") == world.stat("buffer_bytes") == 0


def test_both_run_out_of_time_together(wide):
    world, client, *attempts = hedged(wide)
    world.wait(LIMITS["request_ms"])
    assert [frame[1] for frame in world.take(wide, client)] == [TIMEOUT]
    for server, number in attempts:
        world.feed(server, wide.frame(wide.RESPONSE, number, b"late"))
    assert not world.take(wide, client)
    assert world.stat("answers_unmatched") == 2
    assert world.stat("requests_active") == world.stat("buffer_bytes") == 0


def test_a_client_that_leaves_ends_both(wide):
    world, client, *_ = hedged(wide)
    world.batch(("error", client))
    assert world.stat("requests_active") == world.stat("buffer_bytes") == 0


def test_an_answer_in_time_makes_no_second_one(wide):
    world = World(table([wide.address], plan={"hedge_ms": 100, "idempotent": True}, endpoints=2))
    client = world.client()
    world.feed(client, wide.request(1))
    [server] = world.upstreams
    [(number, _)] = asked(world, wide, server)
    world.feed(server, wide.frame(wide.RESPONSE, number, b"soon"))
    world.wait(500)
    assert [*world.upstreams] == [server]
    assert not asked(world, wide, server)


def test_where_there_is_nobody_else_the_first_goes_on(wide):
    """The second attempt finds no room: that fails nobody."""
    world = World(
        table(
            [wide.address],
            plan={"hedge_ms": 100, "idempotent": True},
            max_connections=1,
            limits={"upstream_in_flight": 1},
        )
    )
    client = world.client()
    world.feed(client, wide.request(1))
    [server] = world.upstreams
    [(number, _)] = asked(world, wide, server)
    world.wait(150)
    assert not world.take(wide, client)
    world.feed(server, wide.frame(wide.RESPONSE, number, b"there"))
    assert [(frame[1], frame[3]) for frame in world.take(wide, client)] == [(OK, b"there")]


@pytest.mark.parametrize("kind", ["ordered", "pingpong"])
def test_a_second_attempt_whose_client_has_left_goes_nowhere_else(toys, kind):
    """The second waits for its connection while another opens; the first one's answer is still to come."""
    toy = toys[kind]
    world = World(table([toy.address], plan={"hedge_ms": 100, "idempotent": True}, endpoints=3))
    client, other = world.client(), world.client()
    world.feed(client, toy.request(5, b"svc m x"))
    world.connect = "wait"
    while not world.opening:
        world.wait(1)
    [second] = world.opening
    world.feed(other, toy.request(5, b"svc m y"))
    [third] = [handle for handle in world.opening if handle != second]
    world.opened(third)
    assert [body for _, body in asked(world, toy, third)] == [b"svc m y"]
    world.batch(("error", client))
    world.wait(50)
    assert not asked(world, toy, third)
    world.opened(second)
    assert not asked(world, toy, second)
    world.feed(third, toy.frame(toy.RESPONSE, 0, b"there"))
    assert [frame[3] for frame in world.take(toy, other)] == [b"there"]
    world.wait(LIMITS["request_ms"])
    assert world.stat("requests_active") == world.stat("buffer_bytes") == 0


def test_an_answer_is_waited_for_as_long_as_its_request_though_a_second_attempt_was_due_before(wide):
    """Another try is under way when the time for a second attempt comes; its answer comes slowly."""
    plan = {"hedge_ms": 1000, "idempotent": True, "attempts": 2, "retry_on": ("reset",), "timeout_ms": 60_000}
    world = World(table([wide.address], plan=plan, endpoints=2))
    client = world.client()
    world.feed(client, wide.request(1, b"svc m x"))
    world.batch(("error", world.only_upstream()))
    again = world.only_upstream()
    [(number, _)] = asked(world, wide, again)
    answer = wide.frame(wide.RESPONSE, number, b"slow but there")
    for at in range(len(answer)):
        world.feed(again, answer[at : at + 1])
        world.wait(LIMITS["frame_ms"] // 4)
    assert [(frame[1], frame[3]) for frame in world.take(wide, client)] == [(OK, b"slow but there")]
