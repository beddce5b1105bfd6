"""What framing remembers of each direction of a connection (``pk_codec.state_size``), on the core."""

from __future__ import annotations

import pytest
from world import World, table

MEGABYTE = 1 << 20
BIG = {
    "frame": 2 * MEGABYTE,
    "buffer": 64 * MEGABYTE,
    "client_pause": 4 * MEGABYTE,
    "upstream_buffer": 4 * MEGABYTE,
}


@pytest.fixture
def world(lines):
    return World(table([lines.address["ordered"]]))


def feed_bytes(world, handle, data):
    """Byte by byte, each a read of its own."""
    world.core.begin(world.now)
    for at in range(len(data)):
        world.core.feed(handle, data[at : at + 1])
    world._settle()


def test_each_frame_begins_where_the_one_before_ended_whatever_comes_in_one_read(world):
    a, b = world.client(), world.client()
    whole = b"Q1.#05svc m a\nhelloQ1.=svc m b\n"
    for cut in range(len(whole) + 1):
        world.batch(("feed", a, whole[:cut]), ("feed", b, whole[: cut // 2]))
        world.batch(("feed", a, whole[cut:]), ("feed", b, whole[cut // 2 :]))
        got = b"".join(bytes(world.got[up]) for up in world.upstreams)
        assert sorted(got.replace(b"hello", b"").splitlines()) == sorted(
            [b"Q1.#05svc m a", b"Q1.=svc m b"] * 2
        )
        for up in world.upstreams:
            asked = bytes(world.got[up]).count(b"Q")
            world.got[up].clear()
            world.feed(up, b"R0.=ok\n" * asked)
        for client in (a, b):
            assert bytes(world.got[client]) == b"R0.=ok\n" * 2
            world.got[client].clear()


def test_a_long_line_is_looked_at_once_though_it_comes_byte_by_byte(lines):
    world = World(table([lines.address["ordered"]], limits=BIG))
    client = world.client()
    request = b"Q1.=svc m " + b"x" * MEGABYTE + b"\n"
    before = lines.looked()
    feed_bytes(world, client, request)
    assert lines.looked() - before == len(request)
    up = world.only_upstream()
    assert bytes(world.got[up]) == request
    answer = b"R0.=" + b"y" * MEGABYTE + b"\n"
    before = lines.looked()
    feed_bytes(world, up, answer)
    assert lines.looked() - before == len(answer)
    assert bytes(world.got[client]) == answer


def test_what_framing_remembers_counts_against_the_budget_while_its_connection_lives(lines, wide):
    world = World(table([lines.address["ordered"]]))
    assert world.stat("buffer_bytes") == 0
    client = world.client()
    of_client = world.stat("buffer_bytes")
    assert of_client >= 8
    world.feed(client, b"Q1.=svc m x\n")
    assert world.stat("buffer_bytes") > of_client
    world.feed(world.only_upstream(), b"R0.=ok\n")
    world.batch(("eof", world.only_upstream()), ("eof", client))
    world.batch()
    assert (world.stat("connections_active"), world.stat("buffer_bytes")) == (0, 0)
    world = World(table([wide.address]))
    world.client()
    assert world.stat("buffer_bytes") == 0  # made only where there is something to remember


def test_a_client_for_whose_framing_no_memory_is_left_is_closed(lines):
    world = World(table([lines.address["ordered"]], limits={"buffer": 100}))
    clients = [world.client() for _ in range(20)]
    closed = [client for client in clients if client in world.closed]
    assert 0 < len(closed) < 20
    assert world.stat("closed_over_budget") == len(closed)
    assert world.stat("connections_active") == 20 - len(closed)


def test_framing_is_told_who_sent_it(world, lines):
    client = world.client()
    world.feed(client, b"Q1.=svc m x\n")
    assert lines.whose() == 1
    world.feed(world.only_upstream(), b"R0.=ok\n")
    assert lines.whose() == 2
