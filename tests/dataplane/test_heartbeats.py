"""Connections that are silent: time-outs of requests, heartbeats to servers and from clients."""

from __future__ import annotations

import pytest
from world import LIMITS, World, answer, table

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE = range(7)


@pytest.fixture
def world(wide):
    return World(table([wide.address]))


def test_a_timeout_never_closes_a_connection_that_others_use(wide):
    world = World(table([wide.address], limits={"probe_ms": 100_000}))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    world.wait(2000)
    world.feed(client, wide.request(2))
    _, second = world.take(wide, up)
    world.wait(1500)
    assert [(frame[1], frame[2]) for frame in world.take(wide, client)] == [(TIMEOUT, 1)]
    answer(world, wide, up, second)
    assert [frame[2] for frame in world.take(wide, client)] == [2]
    assert not world.closed


def test_without_ids_a_timeout_closes_the_connection(toys):
    toy = toys["pingpong"]
    world = World(table([toy.address]))
    client = world.client()
    world.feed(client, toy.request(0))
    up = world.only_upstream()
    world.wait(LIMITS["request_ms"] + 10)
    assert up in world.closed
    assert [frame[1] for frame in world.take(toy, client)] == [TIMEOUT]
    world.feed(client, toy.request(0, b"svc m next"))
    answer(world, toy, world.only_upstream(), (0, 0, 0, b""), b"of next")
    assert [frame[3] for frame in world.take(toy, client)] == [b"of next"]


def test_a_silent_connection_that_used_to_answer_heartbeats_is_probed_then_closed(wide):
    world = World(table([wide.address], limits={"request_ms": 60_000, "probe_ms": 1000}))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    world.take(wide, up)
    for _ in range(2):
        world.wait(1100)
        (beat,) = world.take(wide, up)
        assert beat[0] == wide.HEARTBEAT
        assert up not in world.closed
        if beat[2] == 2:
            world.feed(up, wide.frame(wide.HEARTBEAT_ACK, beat[2]))
    world.wait(1100)
    assert up in world.closed
    assert [frame[1] for frame in world.take(wide, client)] == [UNAVAILABLE]
    assert world.stat("upstream_silent") == 1


def test_a_slow_service_whose_connection_answers_heartbeats_is_left_alone(wide):
    world = World(table([wide.address], limits={"request_ms": 60_000, "probe_ms": 1000}))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    (request,) = world.take(wide, up)
    for _ in range(10):
        world.wait(1100)
        for frame in world.take(wide, up):
            world.feed(up, wide.frame(wide.HEARTBEAT_ACK, frame[2]))
    answer(world, wide, up, request)
    assert [frame[1] for frame in world.take(wide, client)] == [OK]


def test_an_idle_upstream_gets_heartbeats_and_one_that_does_not_answer_is_closed(world, wide):
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    answer(world, wide, up, world.take(wide, up)[0])
    world.wait(LIMITS["heartbeat_ms"] + 100)
    (beat,) = world.take(wide, up)
    assert beat[0] == wide.HEARTBEAT
    world.feed(up, wide.frame(wide.HEARTBEAT_ACK, beat[2]))
    world.wait(LIMITS["heartbeat_ms"] + 100)
    assert [frame[0] for frame in world.take(wide, up)] == [wide.HEARTBEAT]
    world.wait(LIMITS["probe_ms"] + 100)
    assert up in world.closed


def test_heartbeats_may_be_more_frequent_than_the_patience_for_their_answers(wide):
    """The time for an answer, of a request or a heartbeat, does not put the next heartbeat off."""
    world = World(table([wide.address], limits={"heartbeat_ms": 200, "probe_ms": 5000}))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    (request,) = world.take(wide, up)
    world.wait(300)
    answer(world, wide, up, request)
    for _ in range(5):
        world.wait(300)
        (beat,) = world.take(wide, up)
        assert beat[0] == wide.HEARTBEAT
        world.feed(up, wide.frame(wide.HEARTBEAT_ACK, beat[2]))


@pytest.mark.parametrize("kind", ["ordered", "pingpong"])
def test_a_heartbeat_takes_no_place_among_answers_that_come_in_order(toys, kind):
    toy = toys[kind]
    world = World(table([toy.address]))
    client = world.client()
    for body in (b"one", b"two"):
        world.feed(client, toy.request(0))
        up = world.only_upstream()
        assert [frame[0] for frame in world.take(toy, up)] == [toy.REQUEST]
        world.feed(up, toy.frame(toy.RESPONSE, 0, body))
        assert [frame[3] for frame in world.take(toy, client)] == [body]
        world.wait(LIMITS["heartbeat_ms"] + 100)
        assert [frame[0] for frame in world.take(toy, up)] == [toy.HEARTBEAT]
        world.feed(up, toy.frame(toy.HEARTBEAT_ACK))
    assert world.stat("answers_unmatched") == 0


def test_heartbeats_are_answered_at_once_and_their_answers_never(world, wide):
    client = world.client()
    world.feed(client, wide.frame(wide.HEARTBEAT, 9, b"body"))
    assert world.take(wide, client) == [(wide.HEARTBEAT_ACK, 0, 9, b"body")]
    world.feed(client, wide.frame(wide.HEARTBEAT_ACK, 9))
    assert world.take(wide, client) == []
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    world.take(wide, up)
    world.feed(up, wide.frame(wide.HEARTBEAT, 3))
    assert [frame[0] for frame in world.take(wide, up)] == [wide.HEARTBEAT_ACK]
    world.feed(up, wide.frame(wide.HEARTBEAT_ACK, 3))
    assert world.take(wide, up) == []
