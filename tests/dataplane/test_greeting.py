"""What peers say before requests: the proxy is the server towards clients and the client towards servers.

``polite``: client, server. ``hosting``: server, client, server.
"""

from __future__ import annotations

import pytest
from world import LIMITS, World, table

from protokit import native

OK, BAD_REQUEST, UNAVAILABLE = 0, 3, 6
KINDS = ["polite", "hosting"]


@pytest.fixture(params=KINDS)
def toy(request, toys):
    return toys[request.param]


def bodies(frames):
    return [frame[3] for frame in frames]


def greeted(world, toy):
    """A client through with its greeting."""
    client = world.client()
    world.feed(client, toy.greet("client"))
    said = [b"hello %d" % n for n, who in enumerate(native.greeting(toy.address)) if who == "server"]
    assert bodies(world.take(toy, client)) == said
    return client


def ready(world, toy, upstream):
    """The server's part; what the proxy said first is taken."""
    world.feed(upstream, toy.greet("server"))
    (said,) = [frame for frame in world.take(toy, upstream) if frame[0] == toy.GREETING]
    assert said[3] == b"hello %d" % native.greeting(toy.address).index("client")


def test_requests_wait_until_the_server_has_greeted(toy):
    world = World(table([toy.address]))
    client = greeted(world, toy)
    world.feed(client, toy.request(1, b"svc m first") + toy.request(2, b"svc m second"))
    up = world.only_upstream()
    assert toy.frame(toy.REQUEST, 1)[:2] not in world.got[up]
    world.feed(up, toy.greet("server"))
    frames = world.take(toy, up)
    assert [frame[0] for frame in frames] == [toy.GREETING, toy.REQUEST, toy.REQUEST]
    for frame in frames[1:]:
        world.feed(up, toy.frame(toy.RESPONSE, frame[2], frame[3]))
    assert [(frame[2], frame[3]) for frame in world.take(toy, client)] == [
        (1, b"svc m first"),
        (2, b"svc m second"),
    ]
    world.feed(greeted(world, toy), toy.request(5))  # the connection is greeted once for all clients
    assert [frame[0] for frame in world.take(toy, up)] == [toy.REQUEST]


def test_a_server_that_speaks_first_is_not_waited_for_by_the_client(toys):
    toy = toys["hosting"]
    world = World(table([toy.address]))
    client = world.client()
    assert bodies(world.take(toy, client)) == [b"hello 0"]
    world.feed(client, toy.request(1))
    up = world.only_upstream() if world.upstreams else None
    assert up is None  # it has not greeted
    assert [frame[1] for frame in world.take(toy, client)] == [BAD_REQUEST]


def test_a_request_before_the_greeting_is_refused_in_the_protocol_and_the_greeting_goes_on(toy):
    world = World(table([toy.address]))
    client = world.client()
    world.got[client].clear()
    world.feed(client, toy.request(1, b"svc m x", oneway=True) + toy.request(2))
    ((kind, status, request_id, text),) = world.take(toy, client)
    assert (kind, status, request_id) == (toy.RESPONSE, BAD_REQUEST, 2)
    assert b"before the greeting was over" in text
    assert not world.upstreams
    world.feed(client, toy.greet("client") + toy.request(3))
    ready(world, toy, world.only_upstream())


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_client_that_does_not_wait_for_the_answer_is_served(toy, size):
    world = World(table([toy.address]))
    client = world.client()
    data = toy.greet("client") + toy.request(1) + toy.request(2)
    for at in range(0, len(data), size):
        world.feed(client, data[at : at + size])
    up = world.only_upstream()
    world.feed(up, toy.greet("server"))
    assert [frame[0] for frame in world.take(toy, up)] == [toy.GREETING, toy.REQUEST, toy.REQUEST]


def test_a_server_that_says_no_is_counted_and_the_caller_told(toy):
    world = World(table([toy.address]))
    client = greeted(world, toy)
    world.feed(client, toy.request(1))
    up = world.only_upstream()
    world.feed(up, toy.greet("server", status=7))
    ((_, status, _, text),) = world.take(toy, client)
    assert (status, text) == (
        UNAVAILABLE,
        b"protokit: no endpoint can be reached (cluster c): the greeting was refused",
    )
    assert up in world.closed
    assert world.stat("greetings_refused") == 1
    assert world.core.endpoint_stats(0)["connect_failures"] == 1


def test_another_server_is_asked_where_one_says_no(toy):
    world = World(table([toy.address], endpoints=2))
    client = greeted(world, toy)
    world.feed(client, toy.request(1))
    world.feed(world.only_upstream(), toy.greet("server", status=7))
    up = world.only_upstream()
    world.feed(up, toy.greet("server"))
    assert [frame[0] for frame in world.take(toy, up)] == [toy.GREETING, toy.REQUEST]
    assert world.take(toy, client) == []


def test_where_all_say_no_the_last_one_is_named(toy):
    world = World(table([toy.address], endpoints=9))
    client = greeted(world, toy)
    world.feed(client, toy.request(1))
    asked = []
    while world.upstreams:
        asked.append(world.upstreams[world.only_upstream()][1])
        world.feed(world.only_upstream(), toy.greet("server", status=7))
    ((_, status, _, text),) = world.take(toy, client)
    assert (status, len(set(asked))) == (UNAVAILABLE, 3)
    assert text == b"protokit: the greeting was refused by 127.0.0.1:%d (cluster c)" % asked[-1]


@pytest.mark.parametrize("how", ["silence", "eof", "error", "garbage", "half"])
def test_a_server_that_does_not_greet_counts_as_one_that_cannot_be_reached(toy, how):
    world = World(table([toy.address], connect_ms=400))
    client = greeted(world, toy)
    world.feed(client, toy.request(1))
    up = world.only_upstream()
    if how == "garbage":
        world.feed(up, b"HTTP/1.1 400 Bad Request\r\n")
    elif how in {"eof", "error"}:
        world.batch((how, up))
    else:
        if how == "half":
            world.feed(up, toy.greet("server")[:-1])
        world.wait(390)
        assert up not in world.closed
        world.wait(20)
    assert up in world.closed
    ((_, status, _, text),) = world.take(toy, client)
    assert (status, b"no endpoint can be reached (cluster c): there is none" in text) == (UNAVAILABLE, True)
    assert world.core.endpoint_stats(0)["connect_failures"] == 1


def test_no_heartbeats_before_the_greeting_is_over(toy):
    limits = {"heartbeat_ms": 50, "probe_ms": 50, "request_ms": 60_000}
    world = World(table([toy.address], connect_ms=5000, limits=limits))
    client = greeted(world, toy)
    world.feed(client, toy.request(1))
    up = world.only_upstream()
    world.wait(2000)
    assert [frame[0] for frame in world.take(toy, up)] == ([toy.GREETING] if toy.name == "polite" else [])
    world.feed(up, toy.greet("server"))
    world.wait(60)
    assert [frame[0] for frame in world.take(toy, up)][-1] == toy.HEARTBEAT


def test_heartbeats_of_the_server_are_answered_meanwhile(toy):
    world = World(table([toy.address]))
    world.feed(greeted(world, toy), toy.request(1))
    up = world.only_upstream()
    world.got[up].clear()
    world.feed(up, toy.frame(toy.HEARTBEAT, 3))
    assert [frame[0] for frame in world.take(toy, up)] == [toy.HEARTBEAT_ACK]


def test_a_greeting_out_of_turn_ends_a_client_and_does_nothing_to_a_connection_that_others_use(toy):
    world = World(table([toy.address]))
    client, other = greeted(world, toy), greeted(world, toy)
    world.feed(client, toy.request(1))
    up = world.only_upstream()
    ready(world, toy, up)
    world.feed(up, toy.frame(toy.GREETING, 0, b"again"))
    assert up not in world.closed
    world.feed(other, toy.frame(toy.GREETING, 0, b"again"))
    assert other in world.closed
    assert world.stat("protocol_errors_client") == 1
    refusing = world.client()
    world.feed(refusing, toy.greet("client", status=7))
    assert refusing in world.closed
    assert client not in world.closed


def test_a_client_is_told_to_go_elsewhere_only_after_its_greeting(toy):
    world = World(table([toy.address]))
    client, done = world.client(), greeted(world, toy)
    world.got[client].clear()
    world.batch(("drain",))
    assert not world.got[client]
    assert [frame[0] for frame in world.take(toy, done)] == [toy.DRAIN]
    world.feed(client, toy.greet("client") + toy.request(1))
    assert toy.DRAIN in [frame[0] for frame in world.take(toy, client)]


def test_connections_that_greet_count_as_being_opened(toy):
    world = World(table([toy.address], max_connections=1, limits={"upstream_in_flight": 3}))
    client = greeted(world, toy)
    for n in range(5):
        world.feed(client, toy.request(n))
    assert len(world.upstreams) == 1
    assert [frame[2] for frame in world.take(toy, client)] == [3, 4]
    ready_up = world.only_upstream()
    world.feed(ready_up, toy.greet("server"))
    assert len([frame for frame in world.take(toy, ready_up) if frame[0] == toy.REQUEST]) == 3


def test_a_client_that_leaves_meanwhile_is_no_harm(toy):
    world = World(table([toy.address]))
    client, other = greeted(world, toy), greeted(world, toy)
    world.feed(client, toy.request(1))
    world.feed(other, toy.request(2))
    world.batch(("error", client))
    up = world.only_upstream()
    world.feed(up, toy.greet("server"))
    assert [frame[0] for frame in world.take(toy, up)] == [toy.GREETING, toy.REQUEST]


def test_shutdown_while_greeting_answers_what_waits(toy):
    world = World(table([toy.address]))
    client = greeted(world, toy)
    world.feed(client, toy.request(1))
    up = world.only_upstream()
    world.batch(("shutdown",))
    assert [frame[1] for frame in world.take(toy, client)] == [UNAVAILABLE]
    assert {client, up} <= set(world.closed)
    assert world.core.endpoint_stats(0)["connect_failures"] == 0


def test_it_goes_with_detection_and_pinned_connections(toys):
    toy = toys["polite"]
    world = World(table([toys["other"].address, toy.address], pinned=True))
    a, b = greeted(world, toy), greeted(world, toy)
    for client in (a, b):
        world.feed(client, toy.request(77))
    assert len(world.upstreams) == 2
    for up in list(world.upstreams):
        world.feed(up, toy.greet("server"))
        (frame,) = [frame for frame in world.take(toy, up) if frame[0] == toy.REQUEST]
        assert frame[2] == 77
        world.feed(up, toy.frame(toy.RESPONSE, 77, b"done"))
    for client in (a, b):
        assert world.take(toy, client) == [(toy.RESPONSE, OK, 77, b"done")]


def test_a_codec_from_before_greetings_has_none_whatever_stands_behind_it(toys):
    other = toys["other"]
    assert native.greeting(other.address) == ()
    assert not native.pinned(other.address)
    world = World(table([other.address]))
    a, b = world.client(), world.client()
    world.feed(a, other.request(5))
    world.feed(b, other.request(5))
    first, second = world.take(other, world.only_upstream())
    assert first[2] != second[2]


def test_a_protocol_whose_ids_must_stay_gets_pairs_whatever_the_listener_says(toys):
    own = toys["own"]
    world = World(table([toys["other"].address, own.address], limits={"idle_ms": LIMITS["idle_ms"]}))
    a, b = world.client(), world.client()
    for client in (a, b):
        world.feed(client, own.request(7))  # a reserved id: the proxy itself would never use it
    assert len(world.upstreams) == 2
    for up in list(world.upstreams):
        ((kind, _, request_id, _),) = world.take(own, up)
        assert (kind, request_id) == (own.REQUEST, 7)
    shared = world.client()
    world.feed(shared, toys["other"].request(7))
    (up,) = [up for up in world.upstreams if world.got[up]]
    ((_, _, request_id, _),) = world.take(toys["other"], up)
    assert request_id != 7
