"""Answers in the order of their requests: what each is framed by, and ids that only come back."""

from __future__ import annotations

import pytest
from world import LIMITS, World, table

from protokit import Status

MODES = ["ordered", "pingpong"]
ECHOES = ["ordered-ids", "pingpong-ids", "ordered-names", "pingpong-names"]


def made(lines, kind, **of_table):
    return World(table([lines.address[kind]], **of_table))


def got(world, handle):
    data = bytes(world.got[handle])
    world.got[handle].clear()
    return data


class TestContexts:
    """``pk_frame.asked``: to a request of context 9 no bytes follow an answer's line."""

    @pytest.mark.parametrize("pinned", [False, True])
    def test_an_answer_is_framed_by_its_own_request(self, lines, pinned):
        world = made(lines, "ordered", pinned=pinned)
        client = world.client()
        contexts = [9, 1, 9, 9, 2] * 12  # more than fit where slots begin
        world.feed(client, b"".join(b"Q%d.=svc m x\n" % context for context in contexts[:30]))
        (up,) = world.upstreams
        answers = [b"R0.#05ab\n" + (b"" if context == 9 else b"hello") for context in contexts]
        for at in range(30):
            world.feed(up, answers[at])
        assert got(world, client) == b"".join(answers[:30])
        world.feed(client, b"".join(b"Q%d.=svc m x\n" % context for context in contexts[30:]))
        world.feed(up, b"".join(answers[30:]))
        assert got(world, client) == b"".join(answers[30:])
        assert world.stat("protocol_errors_upstream") == 0

    def test_one_at_a_time_too(self, lines):
        world = made(lines, "pingpong")
        client = world.client()
        for context, body in ((9, b""), (1, b"hello"), (9, b"")):
            world.feed(client, b"Q%d.=svc m x\n" % context)
            world.feed(world.only_upstream(), b"R0.#05ab\n" + body)
            assert got(world, client) == b"R0.#05ab\n" + body

    def test_half_an_answer_keeps_its_own_while_others_are_asked(self, lines):
        world = made(lines, "ordered")
        client = world.client()
        world.feed(client, b"Q1.=svc m one\n")
        up = world.only_upstream()
        world.feed(up, b"R0.#05ab\nhe")
        world.feed(client, b"Q9.=svc m two\n")
        world.feed(up, b"lloR0.#05cd\n")
        assert got(world, client) == b"R0.#05ab\nhelloR0.#05cd\n"

    def test_of_a_client_that_has_left_too(self, lines):
        world = made(lines, "ordered")
        gone, client = world.client(), world.client()
        world.batch(("feed", gone, b"Q9.=svc m one\n"), ("feed", client, b"Q1.=svc m two\n"))
        up = world.only_upstream()
        world.batch(("error", gone))
        world.feed(up, b"R0.#05ab\nR0.#05cd\nhello")
        assert got(world, client) == b"R0.#05cd\nhello"

    def test_of_a_request_that_was_given_up_too(self, lines):
        world = made(lines, "ordered", endpoints=2, plan={"hedge_ms": 50, "idempotent": True, "attempts": 2})
        client = world.client()
        world.feed(client, b"Q9.=svc m one\n")
        (first,) = world.upstreams
        world.wait(60)
        second = next(one for one in world.upstreams if one != first)
        world.feed(second, b"R0.#05ab\n")
        assert got(world, client) == b"R0.#05ab\n"
        got(world, first), got(world, second)
        for _ in range(2):  # one goes to each
            world.feed(client, b"Q1.=svc m two\n")
        assert got(world, first) == got(world, second) == b"Q1.=svc m two\n"
        world.feed(first, b"R0.#05ab\nR0.#05cd\nhello")  # the late one first
        world.feed(second, b"R0.#05ef\nhallo")
        told = got(world, client)
        assert (told.count(b"R0.#05"), told.count(b"hello"), told.count(b"hallo"), len(told)) == (2, 1, 1, 28)
        assert world.stat("answers_unmatched") == 1
        assert world.stat("requests_active") == 0


@pytest.mark.parametrize("kind", MODES)
@pytest.mark.parametrize("end", ["answered", "lost", "late"])
def test_what_a_client_that_left_has_asked_is_counted_once(lines, kind, end):
    """Its answer is still told from the next one's; that it left is what became of it."""
    world = made(lines, kind)
    gone = world.client()
    world.feed(gone, b"Q1.=svc m one\n")
    up = world.only_upstream()
    world.batch(("error", gone))
    if end == "answered":
        world.feed(up, b"R0.#05ab\nhello")
    elif end == "lost":
        world.batch(("error", up))
    else:
        world.wait(LIMITS["request_ms"] + 1000)
    assert world.stat("requests_active") == 0
    assert world.outcomes() == {"requests_client_gone": 1}


@pytest.mark.parametrize("kind", ECHOES)
class TestEchoedIds:
    def test_they_go_up_and_come_back_as_they_are(self, lines, kind):
        world = made(lines, kind)
        one, other = world.client(), world.client()
        world.batch(("feed", one, b"Q1.=77 svc m one\n"), ("feed", other, b"Q1.=77 svc m two\n"))
        for up in list(world.upstreams):
            asked = got(world, up).splitlines()
            assert {line[:7] for line in asked} == {b"Q1.=77 "}
            world.feed(up, b"".join(b"R0.=77 to %b\n" % line[-3:] for line in asked))
        assert (got(world, one), got(world, other)) == (b"R0.=77 to one\n", b"R0.=77 to two\n")

    def test_connections_are_shared(self, lines, kind):
        world = made(lines, kind)
        for _ in range(3):
            client = world.client()
            world.feed(client, b"Q1.=5 svc m x\n")
            world.feed(world.only_upstream(), b"R0.=5 ok\n")
            assert got(world, client) == b"R0.=5 ok\n"
        assert world.stat("upstream_connects") == 1

    def test_error_replies_have_the_requests_own(self, lines, kind):
        world = made(lines, kind, rules=[("svc", "*")])
        client = world.client()
        world.feed(client, b"Q1.=42 other m x\n")
        assert got(world, client).startswith(b"R2.=42 protokit: no route")
        world.feed(client, b"Q1.=43 svc m x\n")
        world.wait(LIMITS["request_ms"] + 10)
        assert got(world, client).startswith(b"R4.=43 protokit: no answer")

    @pytest.mark.parametrize("answer", [b"R0.=8 ok\n", b"R0.#8 05ok\nhello", b"R0.+8 ok\n"])
    def test_an_answer_with_another_id_is_nobodys_and_its_connection_goes(self, lines, kind, answer):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"Q1.=7 svc m x\n")
        up = world.only_upstream()
        world.feed(up, answer)
        assert world.closed == {up: 1}
        reply = got(world, client)
        assert reply.startswith(b"R6.=7 protokit: the connection was lost to 127.0.0.1:9000 (cluster c)")
        assert b"an answer came with another id than that of the request whose turn it was" in reply
        assert world.stat("protocol_errors_upstream") == 1
        world.feed(client, b"Q1.=8 svc m x\n")
        world.feed(world.only_upstream(), b"R0.=8 ok\n")
        assert got(world, client) == b"R0.=8 ok\n"

    def test_one_over_the_limit_too(self, lines, kind):
        world = made(lines, kind, limits={"frame": 50})
        client = world.client()
        world.feed(client, b"Q1.=7 svc m x\n")
        up = world.only_upstream()
        world.feed(up, b"R0.#8 99" + b"x" * 20 + b"\n")
        assert world.closed == {up: 1}
        assert got(world, client).startswith(b"R6.=7 ")

    def test_what_nobody_asked_is_dropped(self, lines, kind):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"Q1.=7 svc m x\n")
        up = world.only_upstream()
        world.feed(up, b"R0.=7 ok\nR0.=7 ok\n")
        assert got(world, client) == b"R0.=7 ok\n"
        assert world.stat("answers_unmatched") == 1
        assert world.closed == {}

    def test_pinned_ones_as_well(self, lines, kind):
        world = made(lines, kind, pinned=True)
        one, other = world.client(), world.client()
        for client in (one, other):
            world.feed(client, b"Q1.=7 svc m x\n")
        for up, client in zip(list(world.upstreams), (one, other), strict=True):
            world.feed(up, b"R0.=7 ok\n")
            assert got(world, client) == b"R0.=7 ok\n"
        world.feed(one, b"Q1.=9 svc m x\n")
        first = next(iter(world.upstreams))
        world.feed(first, b"R0.=7 ok\n")
        assert world.closed[first] == 1
        assert got(world, one).startswith(b"R6.=9 ")


class TestOrderedIds:
    @pytest.fixture(params=["ordered-ids", "ordered-names"])
    def kind(self, request):
        return request.param

    def test_an_answer_in_the_turn_of_another_fails_what_waits(self, lines, kind):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"Q1.=1 svc m x\nQ1.=2 svc m x\n")
        up = world.only_upstream()
        world.feed(up, b"R0.=2 ok\nR0.=1 ok\n")
        assert world.closed == {up: 1}
        first, second = got(world, client).splitlines()
        assert (first[:6], second[:6]) == (b"R6.=1 ", b"R6.=2 ")

    def test_also_in_the_turn_of_one_that_was_given_up(self, lines, kind):
        world = made(lines, kind, endpoints=2, plan={"hedge_ms": 50, "idempotent": True, "attempts": 2})
        client = world.client()
        world.feed(client, b"Q1.=1 svc m one\n")
        (first,) = world.upstreams
        world.wait(60)
        second = next(one for one in world.upstreams if one != first)
        world.feed(second, b"R0.=1 ok\n")
        world.feed(client, b"Q1.=2 svc m x\nQ1.=3 svc m x\n")
        got(world, client)
        asked = {up: got(world, up) for up in (first, second)}
        number = b"2" if b"=2 " in asked[first] else b"3"
        world.feed(first, b"R0.=" + number + b" without the late one\n")
        assert world.closed == {first: 1}

    def test_who_has_one_byte_of_ids_has_as_many_places_as_others(self, lines):
        world = made(lines, "pingpong-ids", max_connections=1)
        one, other = world.client(), world.client()
        world.feed(one, b"Q1.=1 svc m x\n")
        world.feed(other, b"Q1.=1 svc m x\n")
        assert got(world, other).startswith(b"R5.=1 ")
        assert got(world, world.only_upstream()).count(b"Q") == 1


class TestHeartbeats:
    """The answer to a client's heartbeat has its turn among the answers."""

    @pytest.mark.parametrize("pinned", [False, True])
    @pytest.mark.parametrize("kind", MODES)
    def test_it_comes_behind_what_was_asked_before(self, lines, kind, pinned):
        world = made(lines, kind, pinned=pinned)
        client = world.client()
        world.feed(client, b"Q1.=svc m one\nH0.=\nQ1.=svc m two\n")
        assert got(world, client) == b""
        world.feed(world.only_upstream(), b"R0.=one\n")
        assert got(world, client) == b"R0.=one\nA0.=\n"
        world.feed(world.only_upstream(), b"R0.=two\n")
        assert got(world, client) == b"R0.=two\n"
        world.feed(client, b"H0.=\n")
        assert got(world, client) == b"A0.=\n"

    @pytest.mark.parametrize("kind", MODES)
    def test_one_way_requests_have_no_answer_to_wait_for(self, lines, kind):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"Q1.=svc m one\n")
        world.feed(world.only_upstream(), b"R0.=one\n")
        got(world, client)
        world.feed(client, b"O1.=svc m one\nH0.=\n")
        assert got(world, client) == b"A0.=\n"

    @pytest.mark.parametrize("kind", MODES)
    def test_behind_one_that_fails_and_at_the_clients_end(self, lines, kind):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"Q1.=svc m one\nH0.=\n")
        world.batch(("eof", client))
        world.wait(LIMITS["request_ms"] + 10)
        first, second = got(world, client).splitlines()
        assert (first[:2], second) == (b"R%d" % Status.TIMEOUT, b"A0.=")
        assert client in world.closed

    def test_where_ids_tell_it_does_not_wait(self, lines):
        world = made(lines, "multiplexed")
        client = world.client()
        world.feed(client, b"Q1.=0000000001 svc m one\nH0.=0000000002 \n")
        assert got(world, client) == b"A0.=2 \n"


def test_heartbeats_have_an_id_where_requests_have(lines):
    for kind, beat in (("ordered", b"H0.=\n"), ("ordered-ids", b"H0.=0 \n"), ("ordered-names", b"H0.=0 \n")):
        world = made(lines, kind)
        client = world.client()
        world.feed(client, b"Q1.=" + (b"" if kind == "ordered" else b"1 ") + b"svc m x\n")
        up = world.only_upstream()
        world.feed(up, b"R0.=" + (b"" if kind == "ordered" else b"1 ") + b"ok\n")
        got(world, up)
        world.wait(LIMITS["heartbeat_ms"] + 10)
        assert got(world, up) == beat
        world.feed(client, beat)
        assert got(world, client).endswith(beat.replace(b"H", b"A"))
