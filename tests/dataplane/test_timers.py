"""Each timer fires in its time, whatever others do: near or far, started and stopped in any order."""

from __future__ import annotations

import itertools

import pytest
from world import LIMITS, MS, World, table

TIMEOUT = 4
NEVER = 3_600_000


@pytest.mark.parametrize("ms", [50, 1000, 5000])
def test_two_requests_end_in_their_time_whatever_lies_between_them(wide, ms):
    limits = {"heartbeat_ms": NEVER, "probe_ms": NEVER, "idle_ms": NEVER}
    world = World(table([wide.address], plan={"timeout_ms": ms}, limits=limits))
    client = world.client()
    for apart in range(3, ms, max(ms // 50, 1)):
        world.feed(client, wide.request(1))
        world.wait(apart)
        world.feed(client, wide.request(2))
        world.wait(ms - apart - 1)
        assert world.take(wide, client) == []
        world.wait(2)
        assert [frame[1:3] for frame in world.take(wide, client)] == [(TIMEOUT, 1)]
        world.wait(apart - 2)
        assert world.take(wide, client) == []
        world.wait(2)
        assert [frame[1:3] for frame in world.take(wide, client)] == [(TIMEOUT, 2)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4), 3)))
def test_who_is_left_of_many_with_one_time_is_closed_in_it(wide, order):
    world = World(table([wide.address], limits={"idle_ms": 1000}))
    clients = [world.client() for _ in range(4)]
    for one in order:
        world.batch(("error", clients[one]))
        world.client()  # takes the record of the one that went
        world.batch(("error", world.clients[-1]))
    (left,) = set(clients) - set(world.closed)
    world.wait(990)
    assert left not in world.closed
    world.wait(20)
    assert left in world.closed
    assert world.core.next() is None


@pytest.mark.parametrize("order", list(itertools.permutations(range(4), 3)))
def test_who_is_left_of_many_requests_with_one_time_is_told_in_it(wide, order):
    limits = {"heartbeat_ms": NEVER, "probe_ms": NEVER, "idle_ms": NEVER}
    world = World(table([wide.address], plan={"timeout_ms": 1000}, limits=limits))
    client = world.client()
    world.feed(client, b"".join(wide.request(n) for n in range(4)))
    up = world.only_upstream()
    asked = [frame[2] for frame in world.take(wide, up)]
    world.wait(8)
    for one in order:
        world.feed(up, wide.frame(wide.RESPONSE, asked[one]))
        world.feed(client, wide.request(99))  # takes the record of the one that was answered
        ((_, _, again, _),) = world.take(wide, up)
        world.feed(up, wide.frame(wide.RESPONSE, again))
    assert len(world.take(wide, client)) == 6
    (left,) = set(range(4)) - set(order)
    world.wait(990)
    assert world.take(wide, client) == []
    world.wait(5)
    assert [frame[1:3] for frame in world.take(wide, client)] == [(TIMEOUT, left)]


def test_a_frame_that_is_whole_when_its_time_is_over_is_handled(wide):
    """Others took all frames of the batch in which its end came: its turn is in the next one."""
    world = World(table([wide.address]))
    client, *others = [world.client() for _ in range(9)]
    request = wide.request(1, b"svc m x")
    world.feed(client, request[:7])
    world.now += (LIMITS["frame_ms"] + 10) * MS
    busy = wide.frame(wide.HEARTBEAT_ACK, 1) * 512
    world.batch(*(("feed", other, busy) for other in others), ("feed", client, request[7:]))
    assert [frame[3] for frame in world.take(wide, world.only_upstream())] == [b"svc m x"]
    assert client not in world.finished
    assert world.stat("closed_half_frame") == 0


def test_half_a_frame_has_its_time_again_when_its_client_is_read_on(wide):
    """However long it was not read: its timer has fired meanwhile, and counts again."""
    world = World(table([wide.address], limits={"client_pause": 200}))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    ((_, _, asked, _),) = world.take(wide, up)
    world.stuck.add(client)
    world.feed(client, wide.request(2, bytes(100))[:60])
    world.feed(up, wide.frame(wide.RESPONSE, asked, bytes(1000)))
    world.feed(client, b"x")
    assert client in world.paused
    world.wait(2 * LIMITS["frame_ms"])
    world.read(client)
    world.batch()
    assert client not in world.paused
    world.wait(LIMITS["frame_ms"] - 10)
    assert world.stat("closed_half_frame") == 0
    world.wait(20)
    assert world.stat("closed_half_frame") == 1
    assert client in world.closed
