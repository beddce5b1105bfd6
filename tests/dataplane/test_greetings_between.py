"""Greetings that peers may leave out, that are long, and that are between a client and its own connection."""

from __future__ import annotations

import pytest
from world import LIMITS, World, table

from protokit import native

OK, BAD_REQUEST, UNAVAILABLE = 0, 3, 6


def said(world, toy, handle):
    return [(kind, body) for kind, _, _, body in world.take(toy, handle)]


def test_a_greeting_of_sixteen_steps(toys):
    toy = toys["long"]
    world = World(table([toy.address]))
    steps = native.greeting(toy.address)
    assert len(steps) == 16
    client = world.client()
    for n, who in enumerate(steps):
        if who == "client":
            world.feed(client, toy.frame(toy.GREETING, 0, b"hello %x" % n))
        else:
            assert said(world, toy, client) == [(toy.GREETING, b"hello %x" % n)]
    world.feed(client, toy.request(5))
    up = world.only_upstream()
    for n, who in enumerate(steps):
        if who == "server":
            world.feed(up, toy.frame(toy.GREETING, 0, b"hello %x" % n))
        else:
            assert said(world, toy, up) == [(toy.GREETING, b"hello %x" % n)]
    assert said(world, toy, up) == [(toy.REQUEST, b"svc m x")]


# Modest: the client says hello 0 and hello 1, each of which it may leave out; the server 2; the client 3.


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_request_ends_what_a_client_may_leave_out_and_no_more(toys, count):
    toy = toys["modest"]
    world = World(table([toy.address]))
    client = world.client()
    for n in range(count):
        assert said(world, toy, client) == []
        world.feed(client, toy.frame(toy.GREETING, 0, b"hello %d" % n))
    if count < 2:
        world.feed(client, toy.request(5))
        (kind, body), (what, text) = said(world, toy, client)
        assert what == toy.RESPONSE
        assert b"before the greeting was over" in text  # the last step it has to say
    else:
        [(kind, body)] = said(world, toy, client)
    assert (kind, body) == (toy.GREETING, b"hello 2")
    world.feed(client, toy.frame(toy.GREETING, 0, b"hello 3"))
    world.feed(client, toy.request(6))
    up = world.only_upstream()
    assert said(world, toy, up) == [(toy.GREETING, b"hello 0"), (toy.GREETING, b"hello 1")]
    world.feed(up, toy.frame(toy.GREETING, 0, b"hello 2"))
    assert said(world, toy, up) == [(toy.GREETING, b"hello 3"), (toy.REQUEST, b"svc m x")]


# Relayed.


@pytest.fixture
def relayed(toys):
    return toys["relayed"]


def hello(toy, text, status=OK):
    return toy.frame(toy.GREETING, 0, text, status)


def test_greetings_go_to_and_fro_as_they_are_and_as_often_as_there_are(relayed):
    world = World(table([relayed.address]))
    client = world.client()
    up = world.only_upstream()
    for n in range(40):  # more than an engine's own could have
        world.feed(client, hello(relayed, b"c%d" % n))
        assert said(world, relayed, up) == [(relayed.GREETING, b"c%d" % n)]
        world.feed(up, hello(relayed, b"s%d" % n))
        world.feed(up, hello(relayed, b"t%d" % n, UNAVAILABLE))  # what it means is between them
        assert world.take(relayed, client) == [
            (relayed.GREETING, OK, 0, b"s%d" % n),
            (relayed.GREETING, UNAVAILABLE, 0, b"t%d" % n),
        ]
        if n % 3 == 0:
            world.feed(client, relayed.request(n))
            assert [one[0] for one in world.take(relayed, up)] == [relayed.REQUEST]
            world.feed(up, relayed.frame(relayed.RESPONSE, n, b"ok"))
            assert [one[3] for one in world.take(relayed, client)] == [b"ok"]
    assert world.stat("greetings_refused") == 0


def test_a_server_may_greet_first_and_each_client_has_its_own(relayed):
    world = World(table([relayed.address]))
    first = world.client()
    one = world.only_upstream()
    second = world.client()
    [other] = set(world.upstreams) - {one}
    world.feed(other, hello(relayed, b"banner"))
    assert said(world, relayed, first) == []
    assert said(world, relayed, second) == [(relayed.GREETING, b"banner")]
    world.feed(first, hello(relayed, b"me"))
    assert said(world, relayed, other) == []
    assert said(world, relayed, one) == [(relayed.GREETING, b"me")]


def test_a_client_is_read_once_its_connection_is_open(relayed):
    world = World(table([relayed.address]))
    world.connect = "wait"
    client = world.client()
    world.feed(client, hello(relayed, b"a") + hello(relayed, b"b") + relayed.request(1))
    world.feed(client, hello(relayed, b"c"))
    assert client in world.paused
    world.opened(world.opening[0])
    world.wait(1)
    texts = [b"a", b"b", b"svc m x", b"c"]
    assert [body for _, body in said(world, relayed, world.only_upstream())] == texts
    assert client not in world.paused


def test_where_the_first_server_cannot_be_reached_the_next_is_greeted(relayed):
    world = World(table([relayed.address], endpoints=2))
    world.connect = "wait"
    client = world.client()
    world.feed(client, hello(relayed, b"a"))
    world.opened(world.opening[0], failed=True)
    world.opened(world.opening[0])
    world.wait(1)
    assert said(world, relayed, world.only_upstream()) == [(relayed.GREETING, b"a")]


def test_whom_nobody_hears_is_closed(relayed):
    world = World(table([relayed.address]))
    world.connect = "fail"
    client = world.client()
    world.feed(client, hello(relayed, b"a"))
    world.wait(LIMITS["frame_ms"])
    assert client in world.closed
    # Where there are several clusters nobody knows whose greeting it is.
    rules = [("svc", "*"), ("two", "*", 1)]
    world = World(table([relayed.address], clusters=2, rules=rules))
    client = world.client()
    world.feed(client, hello(relayed, b"a"))
    world.wait(LIMITS["frame_ms"])
    assert client in world.closed
    assert world.upstreams == {}


@pytest.mark.parametrize("endpoints", [0, 1, 2, 5])
def test_who_waits_for_a_servers_greeting_is_closed_where_no_server_can_be_reached(relayed, endpoints):
    world = World(table([relayed.address], endpoints=endpoints))
    world.connect = "fail"
    client = world.client()
    world.wait(LIMITS["frame_ms"] - 2)
    assert client not in {*world.finished, *world.closed}, (
        "it may ask something, and hear why it is not answered"
    )
    world.wait(4)
    assert client in {*world.finished, *world.closed}
    assert world.take(relayed, client) == []


@pytest.mark.parametrize("endpoints", [0, 1, 2, 5])
def test_where_servers_speak_first_who_cannot_reach_one_is_closed_at_once(toys, endpoints):
    world = World(table([toys["banner"].address], endpoints=endpoints))
    world.connect = "wait"
    client = world.client()
    while world.opening:
        assert client not in {*world.finished, *world.closed}
        world.opened(world.opening[0], failed=True)
    world.wait(2)
    assert client in {*world.finished, *world.closed}
    assert world.take(toys["banner"], client) == []


@pytest.mark.parametrize("kind", ["relayed", "banner"])
def test_what_a_client_asks_of_servers_that_cannot_be_reached_is_answered_in_front_of_its_end(toys, kind):
    relayed = toys[kind]
    world = World(table([relayed.address]))
    world.connect = "wait"
    client = world.client()
    world.feed(client, relayed.request(1))
    while world.opening:
        world.opened(world.opening[0], failed=True)
    assert client not in {*world.finished, *world.closed}
    [(what, status, _, text)] = world.take(relayed, client)
    assert (what, status) == (relayed.RESPONSE, UNAVAILABLE)
    assert b"no endpoint can be reached" in text
    world.wait(2 if kind == "banner" else LIMITS["frame_ms"] + 2)
    assert client in {*world.finished, *world.closed}


def test_a_client_that_says_good_bye_and_leaves_is_heard(relayed):
    world = World(table([relayed.address]))
    client = world.client()
    up = world.only_upstream()
    world.batch(("feed", client, hello(relayed, b"bye")), ("eof", client))
    assert said(world, relayed, up) == [(relayed.GREETING, b"bye")]
    assert set(world.closed) == {client, up}


def test_a_client_that_does_not_read_holds_up_a_server_that_greets(relayed):
    world = World(table([relayed.address]))
    client = world.client()
    up = world.only_upstream()
    world.stuck.add(client)
    for _ in range(100):
        if up in world.paused:
            break
        world.feed(up, hello(relayed, b"x" * 500))
    assert up in world.paused
    assert client not in world.closed


# Choosy: the client may say 0 and hears 1 then, says 2; the server may ask 3 and is told 4, says 5, in
# which it repeats the number of what it was told. Which step a frame is stands in it.

HEARD = [
    # (what a client says, what it hears, whether it is closed)
    ("02", "15", False),
    ("2", "5", False),
    ("0", "1", False),
    ("00", "1", True),
    ("22", "5", True),
    ("20", "5", True),
    ("1", "", True),
    ("3", "", True),
    ("4", "", True),
    ("024", "15", True),
    ("9", "", True),
]


@pytest.mark.parametrize(("says", "hears", "closed"), HEARD)
def test_a_client_says_which_step_it_says(toys, says, hears, closed):
    toy = toys["choosy"]
    world = World(table([toy.address]))
    client = world.client()
    for step in says:
        if client not in world.closed:
            world.feed(client, hello(toy, b"hello " + step.encode()))
    texts = [b"hello " + (b"2" if step == "5" else step.encode()) for step in hears]
    assert [text for _, text in said(world, toy, client)] == texts
    assert (client in world.closed) == closed


ASKED = [
    # (what a server says, what it hears besides 0 and 2, what becomes of it)
    ("15", "", "open"),
    ("135", "4", "open"),
    ("5", "", "lost"),  # 1 was asked for
    ("133", "4", "lost"),
    ("11", "", "lost"),
    ("12", "", "lost"),
    ("14", "", "lost"),
    ("13", "4", "waits"),
    ("1", "", "waits"),
]


@pytest.mark.parametrize(("says", "hears", "becomes"), ASKED)
def test_a_server_says_which_step_it_says(toys, says, hears, becomes):
    toy = toys["choosy"]
    world = World(table([toy.address], connect_ms=400))
    client = world.client()
    world.feed(client, hello(toy, b"hello 2") + toy.request(5))
    up = world.only_upstream()
    for step in says:
        if up not in world.closed:
            world.feed(up, hello(toy, b"hello " + step.encode()))
    texts = [b"hello " + step.encode() for step in "0" + ("2" if says[0] == "1" else "") + hears]
    frames = said(world, toy, up)
    assert [text for kind, text in frames if kind == toy.GREETING] == texts
    assert [kind for kind, _ in frames if kind != toy.GREETING] == [toy.REQUEST] * (becomes == "open")
    assert (up in world.closed) == (becomes == "lost")
    world.wait(450)
    assert (up in world.closed) == (becomes != "open")
