"""What the core tells of requests that have ended, and that nobody has to listen."""

from __future__ import annotations

import pytest
from world import LIMITS, World, table

from protokit import native

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE, DENIED, INTERNAL, NONE = range(10)
KINDS = ["wide", "narrow", "named", "own", "ordered", "pingpong"]
TOLD = b"told m x"
RING = 2048


@pytest.fixture(params=KINDS)
def toy(request, toys):
    return toys[request.param]


def made(toy, **more) -> World:
    return World(table([toy.address], told=["told"], **more))


def ask(world, toy, body=TOLD, number=1, client=None, **more) -> int:
    client = world.client() if client is None else client
    world.feed(client, toy.request(number, body, **more))
    return client


def answer(world, toy, body=b"ok", status=OK, up=None) -> int:
    """The bytes of the answer."""
    up = world.only_upstream() if up is None else up
    ((_, _, number, _),) = world.take(toy, up)
    data = toy.frame(toy.RESPONSE, number, body, status)
    world.feed(up, data)
    return len(data)


@pytest.mark.parametrize("status", [OK, APP_ERROR, NO_SERVICE])
def test_an_answer_by_its_server(toy, status):
    world = made(toy)
    client = ask(world, toy)
    world.now += 7_000_000
    size = answer(world, toy, status=status)
    assert [frame[3] for frame in world.take(toy, client)] == [b"ok"]
    (end,) = world.core.ends()
    assert end._replace(token=0) == native.Ended(
        0, 7_000_000, len(toy.request(1, TOLD)), size, 0, 0, 0, status, False, "told", "m", ""
    )
    assert world.core.ends() == []


def test_nobody_else_is_told_of(toy):
    world = made(toy)
    client = ask(world, toy, b"svc m x")
    answer(world, toy)
    assert [frame[3] for frame in world.take(toy, client)] == [b"ok"]
    assert world.core.ends() == []


def test_a_table_without_such_filters_has_no_ring(toy):
    world = World(table([toy.address]))
    client = ask(world, toy)
    answer(world, toy)
    assert [frame[3] for frame in world.take(toy, client)] == [b"ok"]
    assert world.core.ends() == []


def said(world) -> list[tuple]:
    return [(end.status, end.endpoint, end.answered, end.reason) for end in world.core.ends()]


def test_what_the_proxy_says_is_its_reason(toy):
    world = made(toy)
    ask(world, toy)
    world.wait(LIMITS["request_ms"] + 10)
    text = "protokit: no answer from 127.0.0.1:9000 (cluster c) within 3000 ms (rule filtered told)"
    assert said(world) == [(TIMEOUT, 0, 0, text)]


def test_a_server_that_cannot_be_reached_or_leaves(toy):
    world = made(toy)
    world.connect = "fail"
    ask(world, toy)
    ((status, _, _, reason),) = said(world)
    assert status == UNAVAILABLE
    assert reason.startswith("protokit: no endpoint can be reached")
    world.connect = "ok"
    world.wait(5000)
    ask(world, toy)
    world.batch(("error", world.only_upstream()))
    ((status, endpoint, _, reason),) = said(world)
    assert (status, endpoint) == (UNAVAILABLE, 0)
    assert "after the request was sent" in reason or "before the request was sent" in reason


def test_of_several_tries_the_last_counts(toys):
    toy = toys["wide"]
    world = made(toy, endpoints=2, plan={"attempts": 2, "retry_on": ("reset",), "idempotent": True})
    ask(world, toy)
    (first,) = world.upstreams
    world.batch(("error", first))
    (second,) = world.upstreams
    answer(world, toy, up=second)
    (end,) = world.core.ends()
    assert (end.status, end.reason) == (OK, "")
    assert world.core.endpoint_stats(end.endpoint)["errors"] == 0


def test_a_client_that_leaves_and_a_oneway_request_have_no_status(toy):
    world = made(toy)
    client = ask(world, toy)
    world.batch(("error", client))
    for up in [*world.upstreams]:  # without ids its answer is heard
        for frame in world.take(toy, up):
            world.feed(up, toy.frame(toy.RESPONSE, frame[2], b"ok"))
    (end,) = world.core.ends()
    if toy.name not in {"ordered", "pingpong"}:
        assert (end.status, end.reason) == (NONE, "protokit: its client left")
    ask(world, toy, oneway=True)
    (end,) = world.core.ends()
    assert (end.status, end.oneway, end.reason, end.answered) == (NONE, True, "", 0)
    assert world.stat("requests_active") == 0


def test_the_bytes_of_an_answer_in_parts_are_added_up(toys):
    for kind in ("wide", "named", "ordered"):
        toy = toys[kind]
        world = made(toy)
        client = ask(world, toy)
        ((_, _, number, _),) = world.take(toy, world.only_upstream())
        one = toy.frame(toy.RESPONSE, number, b"one", toy.MORE)
        two = toy.frame(toy.RESPONSE, number, b"the other")
        world.feed(world.only_upstream(), one)
        assert world.core.ends() == []
        world.feed(world.only_upstream(), two)
        assert [frame[3] for frame in world.take(toy, client)] == [b"one", b"the other"]
        (end,) = world.core.ends()
        assert (end.status, end.answered) == (OK, len(one) + len(two))


def test_who_is_refused_by_its_rule_is_told_of_too(toys):
    toy = toys["wide"]
    world = made(toy, plan={"delay_ms": 100}, limits={"filters": 1})
    client = world.client()
    ask(world, toy, number=1, client=client)
    ask(world, toy, number=2, client=client)
    ((status, endpoint, _, reason),) = said(world)
    assert (status, endpoint) == (OVERLOADED, native.NONE)
    assert "at the limit of 1" in reason


def test_texts_are_cut_and_never_over_their_room(toys):
    toy = toys["wide"]
    world = made(toy)
    world.connect = "fail"
    ask(world, toy, b"told " + b"m" * 5000 + b" x")
    (end,) = world.core.ends()
    assert end.method == "m" * 100
    assert end.reason.startswith("protokit: no endpoint can be reached")


def test_where_nobody_listens_the_rest_is_counted_and_calls_go_on(toys):
    toy = toys["wide"]
    world = made(toy)
    client = world.client()
    for number in range(RING + 5):
        ask(world, toy, number=number, client=client)
        answer(world, toy)
    assert len(world.take(toy, client)) == RING + 5
    assert world.stat("ends_lost") == 5
    assert len(world.core.ends()) == RING
    ask(world, toy, number=1, client=client)
    answer(world, toy)
    assert len(world.core.ends()) == 1
    assert world.stat("ends_lost") == 5
