"""Clients that send what is no frame, or half of one: what they hear, and how long they are heard."""

from __future__ import annotations

import pytest
from world import LIMITS, World, answer, table

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE = range(7)


@pytest.fixture
def world(wide):
    return World(table([wide.address]))


def test_bytes_that_cannot_be_the_protocol_are_refused_at_the_first_wrong_byte(world, wide):
    client = world.client()
    world.feed(client, b"G")
    assert client in world.closed
    client = world.client()
    world.feed(client, b"\x7e")
    assert client not in world.closed
    world.feed(client, b"\x63")
    assert client in world.closed
    assert world.stat("protocol_errors_client") == 2


def test_what_was_asked_before_the_wrong_bytes_is_still_answered(world, wide):
    client = world.client()
    world.feed(client, wide.request(1) + b"garbage")
    up = world.only_upstream()
    answer(world, wide, up, world.take(wide, up)[0])
    assert [frame[2] for frame in world.take(wide, client)] == [1]
    assert client in world.closed


def test_a_frame_over_the_limit_is_answered_and_closed(wide):
    world = World(table([wide.address], limits={"frame": 1000}))
    client = world.client()
    frame = wide.request(9, b"svc m " + b"x" * 2000)
    world.feed(client, frame[:20])  # known from the header alone
    (reply,) = world.take(wide, client)
    assert (reply[1], reply[2], b"1000 bytes" in reply[3]) == (BAD_REQUEST, 9, True)
    world.feed(client, frame[20:])
    assert client in world.closed


def test_a_client_that_is_refused_is_read_to_the_end_of_its_frame_and_hears_no_more_behind_it(wide):
    """Closed while it still sends it would be reset, and the answer might be lost on its way."""
    world = World(table([wide.address], limits={"frame": 1000}), polite=False)
    client = world.client()
    frame = wide.request(9, b"svc m " + b"x" * 2000)
    world.feed(client, frame[:20])
    world.feed(client, frame[20:-1])
    assert client not in world.finished
    world.feed(client, frame[-1:] + wide.request(10))
    assert client in world.finished
    assert client not in world.closed
    assert [frame[2] for frame in world.take(wide, client)] == [9]
    assert not world.upstreams
    world.batch(("eof", client))
    assert world.closed == {client: 0}


def test_a_client_that_is_refused_and_falls_silent_is_closed_after_a_second(wide):
    for sent in (20, None):  # in the middle of its frame, or all of it
        world = World(table([wide.address], limits={"frame": 1000}), polite=False)
        client = world.client()
        world.feed(client, wide.request(9, b"svc m " + b"x" * 2000)[:sent])
        world.wait(900)
        assert client not in world.closed
        world.wait(200)
        assert world.closed == {client: 0}


def test_a_client_that_is_refused_and_never_ends_is_closed_all_the_same(wide):
    world = World(table([wide.address], limits={"frame": 1000}), polite=False)
    client = world.client()
    world.feed(client, wide.request(1) + b"garbage")
    answer(world, wide, world.only_upstream(), world.take(wide, world.only_upstream())[0])
    for _ in range(LIMITS["frame_ms"] // 500 + 1):
        assert client not in world.closed
        world.feed(client, b"x" * 5000)
        world.wait(500)
    assert client in world.closed
    assert world.stat("buffer_bytes") == 0


def test_what_a_refused_client_sends_behind_a_half_frame_is_dropped(world, wide):
    client = world.client()
    world.feed(client, wide.request(1) + wide.request(2)[:6])
    (asked,) = world.take(wide, world.only_upstream())
    world.wait(LIMITS["frame_ms"] + 100)
    world.feed(client, wide.request(2)[6:] + wide.request(3))
    answer(world, wide, world.only_upstream(), asked)
    assert [frame[2] for frame in world.take(wide, client)] == [1]
    assert client in world.closed


def test_a_shutdown_waits_for_no_client_that_lingers(wide):
    world = World(table([wide.address]), polite=False)
    client = world.client()
    world.feed(client, wide.request(1) + b"garbage")
    answer(world, wide, world.only_upstream(), world.take(wide, world.only_upstream())[0])
    assert client in world.finished
    assert client not in world.closed
    world.batch(("shutdown",))
    assert client in world.closed


def test_a_half_read_frame_times_out(world, wide):
    client, idle = world.client(), world.client()
    world.feed(client, wide.request(1)[:6])
    world.wait(LIMITS["frame_ms"] - 100)
    assert client not in world.closed
    world.wait(200)
    assert client in world.closed
    assert idle not in world.closed
    assert world.stat("closed_half_frame") == 1


def test_a_client_that_drips_has_the_time_for_the_whole_of_its_frame(world, wide):
    client = world.client()
    frame = wide.request(1, b"svc m " + bytes(100))
    for n in range(LIMITS["frame_ms"] // 100 + 1):
        assert world.stat("closed_half_frame") == 0
        world.feed(client, frame[n : n + 1])
        world.wait(100)
    assert world.stat("closed_half_frame") == 1
    assert client in world.closed


def test_what_was_asked_before_a_half_frame_is_still_answered(world, wide):
    client = world.client()
    world.feed(client, wide.request(1) + wide.request(2)[:6])
    (asked,) = world.take(wide, world.only_upstream())
    world.wait(LIMITS["frame_ms"] + 100)
    assert world.stat("closed_half_frame") == 1
    assert client not in world.closed
    answer(world, wide, world.only_upstream(), asked)
    assert [frame[2] for frame in world.take(wide, client)] == [1]
    assert client in world.closed
