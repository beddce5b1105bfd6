"""What is kept of a request for its replies (``pk_codec.keep``); answers that are read with their request."""

from __future__ import annotations

import pytest
from world import LIMITS, World, table

KINDS = ["ordered", "pingpong", "multiplexed"]
ID = {"ordered": b"", "pingpong": b"", "multiplexed": b"0000000007 "}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def made(lines, kind, **of_table):
    return World(table([lines.address[kind]], **of_table))


def ask(kind, text, *, digit=1, mark=b"."):
    return b"Q%d%b=%b%b\n" % (digit, mark, ID[kind], text)


def got(world, handle):
    data = bytes(world.got[handle])
    world.got[handle].clear()
    return data


def replied(world, client, status, kept):
    """The one reply, with its status and what was kept of its request."""
    (reply,) = got(world, client).splitlines()
    assert reply[:2] == b"R%d" % status
    assert reply.endswith(b" [%b]" % kept), reply


def test_a_reply_of_the_proxys_own_knows_its_request(lines, kind):
    world = made(lines, kind, rules=[("svc", "*")])
    client = world.client()
    world.feed(client, ask(kind, b"other m first"))
    replied(world, client, 2, b"first")
    world.feed(client, ask(kind, b"other m a rest of more than 16 bytes"))
    replied(world, client, 2, b"a rest of more t")
    world.feed(client, ask(kind, b"svc m lost"))
    world.batch(("eof", world.only_upstream()))
    replied(world, client, 6, b"lost")
    world.feed(client, ask(kind, b"svc m late"))
    world.wait(LIMITS["request_ms"] + 10)
    replied(world, client, 4, b"late")


def test_a_request_that_is_refused_half_read_keeps_what_is_there(lines, kind):
    world = made(lines, kind, limits={"frame": 100})
    client = world.client()
    world.feed(
        client,
        b"Q1.#%b99svc m rest\nbegin" % ID[kind]
        if kind != "multiplexed"
        else b"Q1.#0000000007 99svc m rest\nbegin",
    )
    replied(world, client, 3, b"rest")


def test_where_too_many_are_in_flight_the_refusal_knows_its_request(lines):
    world = made(lines, "multiplexed", limits={"in_flight_per_connection": 1})
    client = world.client()
    world.feed(client, b"Q1.=0000000001 svc m one\nQ1.=0000000002 svc m two\n")
    assert got(world, client).endswith(b" [two]\n")


def test_each_of_many_requests_keeps_its_own(lines):
    world = made(
        lines,
        "multiplexed",
        limits={"in_flight": 1000, "in_flight_per_connection": 1000, "upstream_in_flight": 1000},
    )
    client = world.client()
    world.feed(client, b"".join(b"Q1.=%010d svc m rest %d\n" % (n, n) for n in range(600)))
    world.batch(("eof", world.only_upstream()))
    replies = got(world, client).splitlines()
    assert len(replies) == 600
    for reply in replies:
        assert reply.endswith(b" [rest %d]" % int(reply.split()[0][4:])), reply


def test_nothing_kept_is_nothing_given_back(lines, kind):
    world = made(lines, kind, rules=[("svc", "*")])
    client = world.client()
    world.feed(client, ask(kind, b"other m full"))
    replied(world, client, 2, b"full")
    world.feed(client, ask(kind, b"nospaces"))
    assert b"[" not in got(world, client)


def test_a_servers_own_request_is_refused_with_what_was_kept_of_it(lines):
    world = made(lines, "multiplexed")
    client = world.client()
    world.feed(client, ask("multiplexed", b"svc m x"))
    up = world.only_upstream()
    got(world, up)
    world.feed(up, b"Q1.=0000000009 back m mine\n")
    assert got(world, up).endswith(b" [mine]\n")


def test_the_signal_to_drain_has_what_was_kept_of_the_last_request(lines, kind):
    world = made(lines, kind)
    silent, client = world.client(), world.client()
    for text in (b"first", b"last"):
        world.feed(client, ask(kind, b"svc m " + text))
        (asked,) = got(world, world.only_upstream()).splitlines()
        world.feed(world.only_upstream(), b"R0.=" + (asked[4:15] if kind == "multiplexed" else b"") + b"ok\n")
    got(world, client)
    world.batch(("drain",))
    assert got(world, client).startswith(b"D1.=") and world.got[silent].startswith(b"D0.=")
    assert b"[" not in world.got[silent]


def test_a_client_that_comes_while_the_proxy_drains_is_told_with_its_own_request(lines):
    world = made(lines, "ordered")
    world.batch(("drain",))
    client = world.client()
    world.feed(client, b"Q1.=svc m one\n")
    assert got(world, client) == b"D1.= [one]\n"


class TestAnswers:
    """``pk_codec.answer``: an answer is read with what was kept of its request."""

    def test_its_status_may_depend_on_the_request(self, lines, kind):
        world = made(lines, kind)
        client = world.client()
        for text, counted in ((b"svc m ends with 0", 0), (b"svc m ends with 1", 1)):
            world.feed(client, ask(kind, text))
            (asked,) = got(world, world.only_upstream()).splitlines()
            answer = b"R0.=" + (asked[4:15] if kind == "multiplexed" else b"") + b"?\n"
            world.feed(world.only_upstream(), answer)
            assert got(world, client) == b"R0.=" + ID[kind] + b"?\n"
            assert world.stat("responses_app_error") == counted

    def test_one_that_says_overloaded_by_its_request_is_tried_again(self, lines, kind):
        plan = {"attempts": 3, "retry_on": 15, "idempotent": True}
        world = made(lines, kind, endpoints=2, plan=plan)
        client = world.client()
        world.feed(client, ask(kind, b"svc m ends with 5"))
        (up,) = world.upstreams
        (asked,) = got(world, up).splitlines()
        world.feed(up, b"R0.=" + (asked[4:15] if kind == "multiplexed" else b"") + b"?\n")
        (other,) = [one for one in world.upstreams if world.got[one]]
        assert other != up
        assert got(world, client) == b""

    def test_one_that_is_malformed_closes_the_servers_connection_and_fails_what_waits_there(
        self, lines, kind
    ):
        world = made(lines, kind)
        client, behind = world.client(), world.client()
        world.batch(("feed", client, ask(kind, b"svc m one")), ("feed", behind, ask(kind, b"svc m two")))
        up = next(iter(world.upstreams))
        asked = got(world, up).splitlines()
        world.feed(up, b"R0.=" + (asked[0][4:15] if kind == "multiplexed" else b"") + b"!x\n")
        assert world.closed[up] == 1
        (reply,) = got(world, client).splitlines()
        assert reply[:2] == b"R6"
        assert b"what came is no frame of its protocol, wrong at byte" in reply
        assert world.stat("protocol_errors_upstream") == 1
        if kind != "pingpong":  # there it has a connection of its own
            assert got(world, behind)[:2] == b"R6"
            assert world.stat("requests_active") == 0
