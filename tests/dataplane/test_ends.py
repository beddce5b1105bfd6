"""Frames that their sender's end ends (``pk_codec.ends``), on the core."""

from __future__ import annotations

import pytest
from world import LIMITS, World, table


def made(lines, kind="ordered", **of_table):
    return World(table([lines.address[kind]], **of_table))


def got(world, handle):
    data = bytes(world.got[handle])
    world.got[handle].clear()
    return data


@pytest.fixture(params=["ordered", "pingpong"])
def kind(request):
    return request.param


class TestServers:
    def test_an_answer_up_to_the_end_is_whole_with_it(self, lines, kind):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"Q1.=svc m x\n")
        up = world.only_upstream()
        answer = b"R0.*all of it\nand more\nand"
        for at in range(len(answer)):
            world.feed(up, answer[at : at + 1])
        assert got(world, client) == b""
        world.batch(("eof", up))
        assert got(world, client) == answer
        assert world.closed[up] == 0
        assert world.stat("requests_active") == 0

    def test_it_comes_with_the_last_bytes(self, lines, kind):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"Q1.=svc m x\n")
        up = world.only_upstream()
        world.batch(("feed", up, b"R0.*all\nof it"), ("eof", up))
        assert got(world, client) == b"R0.*all\nof it"

    def test_behind_many_frames_that_are_not_handled_yet(self, lines):
        world = made(
            lines, limits={"in_flight": 2000, "in_flight_per_connection": 2000, "upstream_in_flight": 2000}
        )
        client = world.client()
        world.feed(client, b"Q1.=svc m x\n" * 1100)
        world.feed(client, b"")
        up = world.only_upstream()
        assert got(world, up).count(b"Q") == 1100
        answers = b"R0.=ok\n" * 1099 + b"R0.*the\nlast"
        world.batch(("feed", up, answers), ("eof", up))
        assert got(world, client) == answers
        assert world.stat("requests_active") == 0

    def test_only_who_gets_what_the_end_ended_is_closed(self, lines):
        """Also where others' answers are framed when the end is known already."""
        room = {"in_flight": 2000, "in_flight_per_connection": 2000, "upstream_in_flight": 2000}
        world = made(lines, limits=room)
        one, other = world.client(), world.client()
        world.feed(one, b"Q1.=svc m x\n" * 1100)
        world.feed(one, b"")
        world.feed(other, b"Q1.=svc m x\n")
        up = world.only_upstream()
        world.batch(("feed", up, b"R0.=ok\n" * 1100 + b"R0.*the\nlast"), ("eof", up))
        assert got(world, other) == b"R0.*the\nlast"
        assert other in world.finished | world.closed.keys()
        assert one not in world.finished | world.closed.keys()
        world.feed(one, b"Q1.=svc m x\n")
        assert got(world, world.only_upstream()) == b"Q1.=svc m x\n"

    def test_half_a_frame_is_lost_as_ever(self, lines, kind):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"Q1.=svc m x\n")
        world.batch(("feed", world.only_upstream(), b"R0.=hal"), ("eof", world.only_upstream()))
        assert got(world, client).startswith(b"R6.=protokit: the connection was lost to 127.0.0.1:9000")

    def test_who_waits_behind_an_answer_that_ends_with_the_connection_is_told(self, lines):
        world = made(lines)
        client = world.client()
        world.feed(client, b"Q1.=svc m one\nQ1.=svc m two\n")
        up = world.only_upstream()
        world.batch(("feed", up, b"R0.*first\n"), ("eof", up))
        assert got(world, client).startswith(b"R0.*first\nR6.=protokit: the connection was lost")

    @pytest.mark.parametrize("rest", [b"", b"rest"])
    def test_the_last_piece_comes_with_the_end_also_without_bytes(self, lines, kind, rest):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"Q1.=svc m x\n")
        up = world.only_upstream()
        world.feed(up, b"R0.+begins\n")
        world.feed(up, b"a piece")
        assert got(world, client) == b"R0.+begins\na piece"
        world.batch(*[("feed", up, rest)] * bool(rest), ("eof", up))
        assert got(world, client) == rest
        assert world.stat("requests_active") == 0

    @pytest.mark.parametrize(
        ("first", "rest"), [(b"R0.+begins\n", b""), (b"R0.+begins\n", b"rest"), (b"R0.*all\nof it", b"")]
    )
    def test_a_client_whose_answer_the_end_has_ended_is_closed_behind_it(self, lines, kind, first, rest):
        """By the bytes alone it could not tell."""
        world = made(lines, kind)
        client, other = world.client(), world.client()
        world.feed(client, b"Q1.=svc m x\n")
        up = world.only_upstream()
        world.feed(up, first)
        world.batch(*[("feed", up, rest)] * bool(rest), ("eof", up))
        assert got(world, client) == first + rest
        assert client in world.finished | world.closed.keys()
        world.feed(other, b"Q1.=svc m x\n")
        assert got(world, world.only_upstream()) == b"Q1.=svc m x\n"

    def test_the_end_is_framed_once(self, lines, kind):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"Q1.=svc m x\n")
        before = lines.ended()
        world.batch(("eof", world.only_upstream()))
        assert lines.ended() == before + 1


class TestClients:
    def test_a_request_up_to_the_end_goes_up_and_its_answer_comes_back(self, lines, kind):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"Q1.*svc m x\nbody\n")
        assert world.upstreams == {}
        world.batch(("eof", client))
        up = world.only_upstream()
        assert got(world, up) == b"Q1.*svc m x\nbody\n"
        assert client not in world.closed
        world.feed(up, b"R0.=ok\n")
        assert got(world, client) == b"R0.=ok\n"
        assert world.closed == {client: 0}

    def test_behind_a_request_that_is_under_way(self, lines):
        world = made(lines, "pingpong")
        client = world.client()
        world.batch(("feed", client, b"Q1.=svc m one\nQ1.*svc m two\nand"), ("eof", client))
        up = world.only_upstream()
        assert got(world, up) == b"Q1.=svc m one\n"
        world.wait(100)
        assert client not in world.closed
        world.feed(up, b"R0.=one\n")
        assert got(world, up) == b"Q1.*svc m two\nand"
        world.feed(up, b"R0.=two\n")
        assert got(world, client) == b"R0.=one\nR0.=two\n"
        assert world.closed == {client: 0}

    def test_of_a_client_that_is_paused(self, lines, kind):
        world = made(lines, kind, limits={"client_pause": 100})
        client = world.client()
        world.stuck.add(client)
        world.feed(client, b"Q1.=svc m one\n")
        up = world.only_upstream()
        world.feed(up, b"R0.=" + b"x" * 200 + b"\n")
        got(world, up)
        world.batch(("feed", client, b"Q1.*svc m two\n"), ("eof", client))
        world.wait(100)
        assert got(world, up) == b""
        world.stuck.clear()
        world.batch()
        world.read(client)
        world.batch()
        assert got(world, up) == b"Q1.*svc m two\n"
        world.feed(up, b"R0.=two\n")
        assert got(world, client).endswith(b"x\nR0.=two\n")
        assert world.closed == {client: 0}

    def test_half_a_request_is_not_answered(self, lines, kind):
        world = made(lines, kind)
        client = world.client()
        world.batch(("feed", client, b"Q1.=svc m"), ("eof", client))
        assert (got(world, client), world.closed, world.upstreams) == (b"", {client: 0}, {})

    def test_whose_protocol_is_told_only_by_the_end(self, lines, wide):
        world = World(table([wide.address, lines.address["ordered"]], fallback=1))
        client = world.client()
        world.feed(client, b"Q1.*svc m x\nto the end")
        assert world.upstreams == {}
        world.batch(("eof", client))
        up = world.only_upstream()
        assert world.upstreams[up] == ("127.0.0.1", 9000)
        assert got(world, up) == b"Q1.*svc m x\nto the end"
        world.feed(up, b"R0.=ok\n")
        assert got(world, client) == b"R0.=ok\n"

    def test_one_that_is_not_heard_any_more_is_closed_all_the_same(self, lines, kind):
        world = made(lines, kind, limits={"client_pause": 100})
        client = world.client()
        world.stuck.add(client)
        world.feed(client, b"Q1.=svc m one\n")
        world.feed(world.only_upstream(), b"R0.=" + b"x" * 200 + b"\n")
        world.batch(("feed", client, b"Q1.*svc m x\n"), ("eof", client))
        world.batch(("error", client))
        assert world.closed[client] == 1
        world.wait(LIMITS["request_ms"])
        assert world.stat("requests_active") == 0
