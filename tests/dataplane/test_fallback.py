"""Clients of no known protocol: passed on byte by byte to one server of the fallback cluster."""

from __future__ import annotations

import pytest
from fewer import many
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from world import LIMITS, World, table

HELLO = b"GET / HTTP/1.1\r\n\r\n"


def passing(toys, *, servers=1, names=("wide",), connect="ok", **more):
    return World(
        table([toys[name].address for name in names], fallback=servers, **more), connect=connect, polite=False
    )


@pytest.fixture
def world(toys):
    return passing(toys)


def pair(world, first=HELLO):
    """A client that is passed on, and the server's side; what came first has arrived there."""
    before = set(world.upstreams)
    client = world.client()
    world.feed(client, first)
    (server,) = set(world.upstreams) - before
    assert bytes(world.got[server]) == first
    world.got[server].clear()
    return client, server


def test_unknown_bytes_arrive_untouched_and_so_do_the_answers(world):
    client, server = pair(world)
    assert world.upstreams[server] == ("127.0.0.1", 9050)
    for data in (b"\x7e\x01 after all", bytes(range(256)) * 300, b"x"):
        world.feed(client, data)
        world.feed(server, data[::-1])
        assert bytes(world.got[server]) == data
        assert bytes(world.got[client]) == data[::-1]
        world.got[server].clear()
        world.got[client].clear()
    assert world.stat("fallback_connections") == world.stat("fallback_active") == 1
    assert world.stat("undetected") == world.stat("protocol_errors_client") == 0
    assert world.core.endpoint_stats(50)["connections"] == 1


def test_clients_of_the_protocol_are_served_as_ever(world, wide):
    _, server = pair(world)
    other = world.client()
    world.feed(other, wide.request(1)[:7])
    world.feed(other, wide.request(1)[7:])
    (up,) = set(world.upstreams) - {server}
    assert [frame[3] for frame in world.take(wide, up)] == [b"svc m x"]
    assert not world.got[server]
    assert world.stat("fallback_connections") == 1


@pytest.mark.parametrize("names", [("wide",), ("wide", "narrow"), ()])
@pytest.mark.parametrize("junk", [b"\0", b"\x7e\x63", b"\x7e\x01\0" + b"\xff" * 12 + b"junk"])
def test_what_the_protocols_refuse_at_first_is_passed_on(toys, names, junk):
    pair(passing(toys, names=names), junk)


def test_a_client_that_is_silent_or_stays_undecided_is_passed_on_after_the_time_limit(world, wide):
    silent, half = world.client(), world.client()
    world.feed(half, b"\x7e\x01\0\0")
    world.wait(LIMITS["detect_ms"] - 10)
    assert not world.upstreams
    world.wait(20)
    assert sorted(bytes(world.got[up]) for up in world.upstreams) == [b"", b"\x7e\x01\0\0"]
    (server,) = [up for up in world.upstreams if not world.got[up]]
    world.feed(server, b"220 ready\r\n")
    assert bytes(world.got[silent]) == b"220 ready\r\n"
    assert world.stat("fallback_active") == 2


def test_a_client_that_leaves_without_a_word_troubles_nobody(world):
    client = world.client()
    world.batch(("eof", client))
    assert client in world.closed
    assert not world.upstreams


def test_what_came_before_the_server_was_there_goes_first(toys):
    world = passing(toys, connect="wait")
    client = world.client()
    for data in (b"one ", b"two ", b"three"):
        world.feed(client, data)
    assert client in world.paused
    world.batch(("eof", client))
    (server,) = world.opening
    world.opened(server)
    assert bytes(world.got[server]) == b"one two three"
    assert server in world.finished
    world.feed(server, b"all of it")
    world.batch(("eof", server))
    assert bytes(world.got[client]) == b"all of it"
    assert world.closed == {client: 0, server: 0}


@pytest.mark.parametrize("first", ["client", "server"])
def test_half_closes_are_passed_on_behind_the_last_byte(world, first):
    client, server = pair(world)
    one, other = (client, server) if first == "client" else (server, client)
    world.stuck.add(other)
    world.feed(one, b"last")
    world.batch(("eof", one))
    assert other not in world.finished
    world.stuck.clear()
    world.read(other)
    world.batch()
    assert bytes(world.got[other]) == b"last"
    assert other in world.finished
    assert not world.closed
    world.feed(other, b"still here")
    assert bytes(world.got[one]) == b"still here"
    world.batch(("eof", other))
    assert world.closed == {client: 0, server: 0}
    assert world.stat("fallback_active") == 0
    assert world.stat("buffer_bytes") == 0


def test_the_end_of_both_waits_for_what_is_queued(world):
    client, server = pair(world)
    world.stuck.add(client)
    world.feed(server, b"slowly read")
    world.batch(("eof", client), ("eof", server))
    assert client not in world.closed
    world.stuck.clear()
    world.read(client)
    world.batch()
    assert bytes(world.got[client]) == b"slowly read"
    assert world.closed == {client: 0, server: 0}


@pytest.mark.parametrize("slow", ["client", "server"])
def test_one_side_is_not_read_while_the_other_is_full(world, slow):
    client, server = pair(world)
    one, other = (server, client) if slow == "client" else (client, server)
    world.stuck.add(other)
    mark = LIMITS["client_pause" if slow == "client" else "upstream_buffer"]
    sent = b""
    while one not in world.paused:
        world.feed(one, b"%6d" % len(sent) * 500)
        sent += b"%6d" % len(sent) * 500
    assert mark < len(sent) <= mark + 3000
    assert world.core.feed(one, b"more", in_place=True) is False
    world.feed(other, b"the other way is free")
    assert bytes(world.got[one]).endswith(b"free")
    world.read(other, len(sent) - mark)
    assert one in world.paused
    world.stuck.clear()
    world.read(other)
    world.batch()
    assert one not in world.paused
    assert bytes(world.got[other]) == sent


def test_buffers_count_against_the_budget(toys):
    limits = {"buffer": 100_000, "upstream_buffer": 1 << 20}
    world = passing(toys, limits=limits)
    client, server = pair(world)
    world.stuck.add(server)
    for _ in range(40):
        if client in world.closed:
            break
        world.feed(client, bytes(10_000))
        assert world.stat("buffer_bytes") <= 125_000
    assert client in world.closed
    assert world.stat("closed_over_budget") == 1


def test_an_idle_pair_is_closed_and_one_that_talks_is_not(world):
    client, server = pair(world)
    quiet = pair(world)
    for _ in range(3):
        world.wait(LIMITS["idle_ms"] - 1000)
        world.feed(server, b"one way only")
    assert set(world.closed) == set(quiet)
    assert world.stat("closed_idle") == 1
    world.wait(LIMITS["idle_ms"] + 1000)
    assert set(world.closed) == {*quiet, client, server}


def test_another_server_is_tried_where_one_cannot_be_reached(toys):
    world = passing(toys, servers=2, connect="wait")
    client = world.client()
    world.feed(client, HELLO)
    (first,) = world.opening
    address = world.upstreams[first]
    world.opened(first, failed=True)
    (second,) = world.opening
    assert world.upstreams[second] != address
    assert client not in world.closed
    world.opened(second)
    assert bytes(world.got[second]) == HELLO


def test_a_server_that_does_not_answer_in_time_counts_as_one_that_cannot_be_reached(toys):
    world = passing(toys, servers=2, connect="wait", connect_ms=300)
    client = world.client()
    world.feed(client, HELLO)
    world.wait(400)
    assert len(world.opening) == 2
    assert client not in world.closed


def test_where_no_server_can_be_reached_the_client_is_closed(toys):
    world = passing(toys, servers=5, connect="fail")
    client = world.client()
    world.feed(client, HELLO)
    assert world.closed[client] == 1
    assert world.stat("upstream_connects") == 3
    assert world.stat("fallback_active") == 0
    late = world.client()
    world.feed(late, HELLO)
    world.feed(world.client(), HELLO)
    assert world.closed[late] == 1
    assert world.stat("upstream_connects") == 5  # the others are left alone for a while


def test_a_client_that_leaves_before_its_server_is_there_is_not_held_against_it(toys):
    world = passing(toys, connect="wait")
    client = world.client()
    world.feed(client, HELLO)
    world.batch(("error", client))
    assert not world.upstreams
    assert world.core.endpoint_stats(50)["connect_failures"] == 0
    world.connect = "ok"
    pair(world)


@pytest.mark.parametrize("queued", [b"", b"was read before"])
def test_a_reset_is_passed_on_once_what_was_read_is_written(world, queued):
    client, server = pair(world)
    if queued:
        world.stuck.add(client)
        world.feed(server, queued)
    world.batch(("error", server))
    if queued:
        assert client not in world.closed
        world.stuck.clear()
        world.read(client)
        world.batch()
        assert bytes(world.got[client]) == queued
    assert world.closed[client] == (0 if queued else 1)


def test_a_reload_that_keeps_the_server_keeps_the_pair_and_one_that_does_not_ends_it(toys, world):
    client, server = pair(world)
    world.apply(table([toys["wide"].address], fallback=3))
    world.feed(client, b"on")
    assert bytes(world.got[server]) == b"on"
    world.apply(table([toys["wide"].address]))
    assert {client, server} <= set(world.closed)
    assert world.retired == [1, 2]
    late = world.client()
    world.feed(late, HELLO)
    assert late in world.closed


def test_shutdown_writes_what_is_queued_and_closes_both(world):
    client, server = pair(world)
    opening = world.client()
    world.connect = "wait"
    world.feed(opening, HELLO)
    world.stuck |= {client, server}
    world.feed(client, b"to the server")
    world.feed(server, b"to the client")
    world.batch(("drain",))
    assert not world.closed
    world.batch(("shutdown",))
    assert opening in world.closed
    world.stuck.clear()
    world.read(client)
    world.read(server)
    world.batch()
    assert bytes(world.got[server]) == b"to the server"
    assert bytes(world.got[client]) == b"to the client"
    assert {client, server} <= set(world.closed)
    assert world.stat("connections_active") == world.stat("upstream_connections_active") == 0
    assert world.stat("buffer_bytes") == 0


@settings(max_examples=many(150), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_happens_what_arrives_is_what_was_sent(toys, data):
    """Random talk, stops and ends; in the end nothing is missing, doubled or out of order."""
    world = passing(toys, servers=2, connect=data.draw(st.sampled_from(["ok", "wait"])))
    client = world.client()
    sent = {"up": bytearray(), "down": bytearray()}
    ended = set()

    def server():
        return next(iter(world.upstreams), 0)

    def say(way, piece):
        side = client if way == "up" else server()
        if way in ended or side in world.paused or side in world.opening or not side:
            return
        sent[way] += piece
        world.feed(side, piece)

    say("up", b"\0first")
    for _ in range(data.draw(st.integers(1, 40))):
        what = data.draw(st.sampled_from(["up", "up", "down", "stop", "read", "open", "end", "wait"]))
        if what in sent:
            say(
                what,
                data.draw(st.binary(min_size=1, max_size=8)) * data.draw(st.sampled_from([1, 500, 3000])),
            )
        elif what == "stop":
            world.stuck.add(data.draw(st.sampled_from([client, server()])))
        elif what == "read":
            for one in list(world.stuck):
                world.read(one, data.draw(st.integers(1, 5000)))
            world.batch()
        elif what == "open" and world.opening:
            world.opened(world.opening[0])
        elif what == "end":
            way = data.draw(st.sampled_from(["up", "down"]))
            side = client if way == "up" else server()
            if side and side not in world.opening and way not in ended and side not in world.paused:
                ended.add(way)
                world.batch(("eof", side))
        elif what == "wait":
            world.wait(100)
        assert world.stat("buffer_bytes") <= 200_000
    while world.opening:
        world.opened(world.opening[0])
    (received,) = [one for one in world.got if one != client]
    for _ in range(20):
        world.stuck.clear()
        world.read(client)
        if received in world.upstreams:
            world.read(received)
        world.batch()
    assert world.got[received] == sent["up"]
    assert world.got[client] == sent["down"]
    assert (received in world.finished or received in world.closed) == ("up" in ended)
    assert (client in world.closed) == (ended == {"up", "down"})
    world.batch(("shutdown",))
    assert world.stat("buffer_bytes") == world.stat("fallback_active") == 0
