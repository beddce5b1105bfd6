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


class TestWhileTheProtocolIsNotKnown:
    """Several protocols on a port: each candidate's framing goes on where it stopped."""

    @pytest.mark.parametrize("fallback", [0, 1])
    def test_a_long_first_frame_is_looked_at_once_by_each_candidate_and_by_the_chosen_one(
        self, lines, wide, fallback
    ):
        codecs = [wide.address, lines.address["ordered"], lines.address["pingpong"]]
        world = World(table(codecs, limits=BIG, fallback=fallback))
        client = world.client()
        request = b"Q1.=svc m " + b"x" * (MEGABYTE // 32) + b"\n"
        before = lines.looked()
        feed_bytes(world, client, request)
        assert lines.looked() - before <= 3 * len(request)
        up = world.only_upstream()
        assert bytes(world.got[up]) == request
        world.feed(up, b"R0.=ok\n")
        assert bytes(world.got[client]) == b"R0.=ok\n"

    def test_what_it_remembers_is_given_back_when_the_protocol_is_known(self, lines):
        alone = World(table([lines.address["ordered"]]))
        alone.client()
        world = World(table([lines.address["ordered"], lines.address["pingpong"]]))
        client = world.client()
        assert world.stat("buffer_bytes") == 0
        world.feed(client, b"Q1.=svc")
        assert world.stat("buffer_bytes") > alone.stat("buffer_bytes")
        world.feed(client, b" m x\n")
        world.batch(("error", world.only_upstream()))
        assert world.stat("buffer_bytes") == alone.stat("buffer_bytes")
        passed = World(table([lines.address["ordered"], lines.address["pingpong"]], fallback=1))
        client = passed.client()
        passed.feed(client, b"Q1")
        passed.feed(client, b"?" * 70_000)
        passed.batch(("eof", client))
        passed.wait(1000)
        assert passed.stat("fallback_active") == 1
        assert passed.stat("buffer_bytes") == 0

    def test_one_without_memory_for_it_is_closed(self, lines):
        world = World(table([lines.address["ordered"], lines.address["pingpong"]], limits={"buffer": 40}))
        client = world.client()
        world.feed(client, b"Q1.=svc")
        assert world.closed == {client: 1}
        assert world.stat("closed_over_budget") == 1

    def test_a_reload_has_it_begin_again_with_the_codecs_of_the_new_table(self, lines, wide):
        world = World(table([lines.address["ordered"], lines.address["pingpong"]]))
        client = world.client()
        world.feed(client, b"Q1.=svc m")
        world.apply(table([wide.address, lines.address["pingpong"], lines.address["multiplexed"]]))
        world.feed(client, b" x\nQ1.=svc m y\n")
        up = world.only_upstream()
        assert bytes(world.got[up]) == b"Q1.=svc m x\n"  # one at a time

    def test_a_verdict_is_of_the_codec_that_gave_it_not_of_its_place_in_a_new_table(self, lines):
        world = World(table([lines.address["multiplexed"], lines.address["ordered"]]))
        client = world.client()
        line = b"Q1.*" + b"s" * 20 + b" m x\n"  # too long for an id: one refuses it, the other waits for more
        world.feed(client, line)
        assert (world.upstreams, world.closed) == ({}, {})
        world.apply(table([lines.address["ordered"], lines.address["multiplexed"]]))
        world.feed(client, b"to the end")
        world.batch(("eof", client))
        assert bytes(world.got[world.only_upstream()]) == line + b"to the end"

    def test_nothing_is_asked_behind_a_verdict(self, lines, wide):
        """Framing is asked once more at the end, by who waits for it."""
        world = World(table([wide.address, lines.address["pingpong"], lines.address["ordered"]], fallback=1))
        client = world.client()
        world.feed(client, b"Q1.*svc m to the end\n")
        world.wait(400)
        world.feed(client, b"more")
        world.batch(("eof", client))
        assert bytes(world.got[world.only_upstream()]) == b"Q1.*svc m to the end\nmore"
