"""Who says that a message is his last one (``PK_SAYS_LAST``), on the core."""

from __future__ import annotations

import pytest
from world import World, table

ID = {"ordered": b"", "pingpong": b"", "multiplexed": b"0000000007 "}


@pytest.fixture(params=ID)
def kind(request):
    return request.param


def made(lines, kind, **of_table):
    return World(table([lines.address[kind]], **of_table))


def got(world, handle):
    data = bytes(world.got[handle])
    world.got[handle].clear()
    return data


def ids(kind, asked):
    """As they stand in requests that a server got."""
    return [line[4:15] if kind == "multiplexed" else b"" for line in asked.splitlines()]


class TestClients:
    def test_it_is_closed_behind_its_answers_and_not_heard(self, lines, kind):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"Q1L=" + ID[kind] + b"svc m x\nQ1.=" + ID[kind] + b"svc m behind\n")
        up = world.only_upstream()
        asked = got(world, up)
        assert asked.count(b"\n") == 1
        world.feed(client, b"Q1.=" + ID[kind] + b"svc m later\n and what is no frame at all")
        assert client not in world.closed
        world.feed(up, b"R0.=" + ids(kind, asked)[0] + b"ok\n")
        assert got(world, client) == b"R0.=" + ID[kind] + b"ok\n"
        assert world.closed == {client: 0}
        assert got(world, up) == b""
        assert world.stat("protocol_errors_client") == 0

    def test_what_it_asked_before_is_answered_too(self, lines):
        world = made(lines, "ordered", endpoints=2)
        client = world.client()
        world.feed(client, b"Q1.=svc m one\n")
        world.feed(client, b"Q1L=svc m two\n")
        first, second = world.upstreams
        world.feed(second, b"R0.=two\n")
        assert (got(world, client), client in world.closed) == (b"", False)
        world.feed(first, b"R0.=one\n")
        assert got(world, client) == b"R0.=one\nR0.=two\n"
        assert world.closed == {client: 0}

    def test_a_oneway_that_nobody_answers_ends_it_as_well(self, lines, kind):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"O1L=" + ID[kind] + b"svc m x\n")
        assert world.closed == {client: 0}
        assert got(world, world.only_upstream()).startswith(b"O1L=")

    def test_a_request_that_is_refused_is_told_and_ends_it(self, lines, kind):
        world = made(lines, kind, rules=[("svc", "*")])
        client = world.client()
        world.feed(client, b"Q1L=" + ID[kind] + b"other m x\n")
        assert got(world, client)[:2] == b"R2"
        assert world.closed == {client: 0}

    def test_behind_one_that_is_under_way(self, lines):
        world = made(lines, "pingpong")
        client = world.client()
        world.feed(client, b"Q1.=svc m one\nQ1L=svc m two\nQ1.=svc m three\n")
        up = world.only_upstream()
        for name in (b"one", b"two"):
            assert name in got(world, up)
            world.feed(up, b"R0.=" + name + b"\n")
        assert got(world, client) == b"R0.=one\nR0.=two\n"
        assert world.closed == {client: 0}
        assert got(world, up) == b""

    def test_of_a_request_in_pieces_the_last_one_ends_it(self, lines):
        world = made(lines, "ordered", pinned=True)
        client = world.client()
        for part in (b"Q1L+svc m x\n", b"piece", b"end\n", b"Q1.=svc m behind\n"):
            world.feed(client, part)
        up = world.only_upstream()
        assert got(world, up) == b"Q1L+svc m x\npieceend\n"
        assert client not in world.closed
        world.feed(up, b"R0.=ok\n")
        assert got(world, client) == b"R0.=ok\n"
        assert world.closed[client] == 0
        assert world.stat("protocol_errors_client") == 0


class TestServers:
    def test_its_connection_takes_nothing_new_and_ends_behind_the_answer(self, lines, kind):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"Q1.=" + ID[kind] + b"svc m one\n")
        up = world.only_upstream()
        world.feed(up, b"R0L=" + ids(kind, got(world, up))[0] + b"ok\n")
        assert got(world, client) == b"R0L=" + ID[kind] + b"ok\n"
        assert world.closed == {up: 0}
        world.feed(client, b"Q1.=" + ID[kind] + b"svc m two\n")
        other = world.only_upstream()
        world.feed(other, b"R0.=" + ids(kind, got(world, other))[0] + b"ok\n")
        assert got(world, client) == b"R0.=" + ID[kind] + b"ok\n"
        assert world.endpoints == []  # which says nothing against it

    @pytest.mark.parametrize("kind", ["ordered", "multiplexed"])
    @pytest.mark.parametrize("idempotent", [False, True])
    def test_what_was_written_behind_it_is_tried_again_only_where_that_is_safe(self, lines, kind, idempotent):
        plan = {"attempts": 3, "retry_on": 15, "idempotent": idempotent}
        world = made(lines, kind, plan=plan)
        client = world.client()
        world.feed(
            client,
            b"".join(b"Q1.=" + ID[kind].replace(b"7", b"%d" % n) + b"svc m %d\n" % n for n in (1, 2, 3)),
        )
        up = world.only_upstream()
        asked = got(world, up)
        first, second, _ = ids(kind, asked)
        world.feed(up, b"R0.=" + first + b"one\nR0L=" + second + b"two\n")
        assert world.closed == {up: 0}
        answers = got(world, client).splitlines()
        assert [answer[:3] for answer in answers[:2]] == [b"R0.", b"R0L"]
        if not idempotent:
            assert answers[2].startswith(b"R6.=")
            assert (
                b"after the request was sent: protokit closed it: its server said that it answers no more"
                in answers[2]
            )
            assert world.upstreams == {}
        else:
            assert len(answers) == 2
            again = world.only_upstream()
            asked = got(world, again)
            assert asked.endswith(b"svc m 3\n")
            world.feed(again, b"R0.=" + ids(kind, asked)[0] + b"three\n")
            assert got(world, client).endswith(b"three\n")
        assert world.stat("requests_active") == 0

    def test_what_was_not_written_yet_is_tried_again_and_never_sent_there(self, lines):
        world = made(lines, "ordered", plan={"attempts": 3, "retry_on": 15})
        client = world.client()
        world.feed(client, b"Q1.=svc m one\n")
        up = world.only_upstream()
        got(world, up)
        world.stuck.add(up)
        world.feed(client, b"Q1.=svc m two\n")
        world.feed(up, b"R0L=one\n")
        assert got(world, client) == b"R0L=one\n"
        assert got(world, up) == b""
        assert got(world, world.only_upstream()) == b"Q1.=svc m two\n"

    def test_an_answer_that_is_tried_again_does_not_go_back_there(self, lines, kind):
        plan = {"attempts": 3, "retry_on": 15, "idempotent": True}
        world = made(lines, kind, plan=plan)
        client = world.client()
        world.feed(client, b"Q1.=" + ID[kind] + b"svc m x\n")
        up = world.only_upstream()
        world.feed(up, b"R5L=" + ids(kind, got(world, up))[0] + b"too much\n")
        assert world.closed == {up: 0}
        assert got(world, client) == b""
        assert world.stat("retries") == 1
        other = world.only_upstream()
        assert got(world, other).endswith(b"svc m x\n")

    def test_of_an_answer_in_pieces_the_last_one_ends_it(self, lines):
        world = made(lines, "ordered")
        client = world.client()
        world.feed(client, b"Q1.=svc m one\nQ1.=svc m two\n")
        up = world.only_upstream()
        got(world, up)
        world.feed(up, b"R0L+begins\n")
        world.feed(client, b"Q1.=svc m three\n")
        other = next(one for one in world.upstreams if one != up)
        assert got(world, other) == b"Q1.=svc m three\n"
        world.feed(up, b"piece")
        assert up not in world.closed
        world.feed(up, b"rest\n")
        assert world.closed == {up: 0}
        assert got(world, client).startswith(b"R0L+begins\npiecerest\nR6.=")


class TestPinned:
    @pytest.fixture(params=["ordered", "multiplexed"])
    def kind(self, request):
        return request.param

    def test_the_client_is_told_has_its_answer_and_is_closed(self, lines, kind):
        world = made(lines, kind, pinned=True)
        client = world.client()
        world.feed(client, b"Q1.=" + ID[kind] + b"svc m x\n")
        up = world.only_upstream()
        got(world, up)
        world.feed(up, b"R0L=" + ID[kind] + b"ok\n")
        answer, told = got(world, client).splitlines()
        assert answer == b"R0L=" + ID[kind] + b"ok"
        assert told.startswith(b"D1.=")
        assert world.closed == {up: 0, client: 0}

    def test_answers_of_other_servers_are_waited_for(self, lines):
        world = made(lines, "multiplexed", pinned=True, clusters=2, rules=[("a", "*", 0), ("b", "*", 1)])
        client = world.client()
        world.feed(client, b"Q1.=0000000001 a m x\nQ1.=0000000002 b m x\nQ1.=0000000003 a m y\n")
        first, second = world.upstreams
        world.feed(first, b"R0L=0000000001 ok\n")
        assert client not in world.closed
        assert b"R6.=3 protokit: the connection was lost" in got(world, client)
        world.feed(client, b"Q1.=0000000004 b m x\n")
        assert b"R6.=4 protokit: the client's own connection was lost" in got(world, client)
        world.feed(second, b"R0.=0000000002 ok\n")
        assert got(world, client) == b"R0.=0000000002 ok\n"
        assert world.closed[client] == 0
