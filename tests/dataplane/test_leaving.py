"""Connections leave their endpoint from the front, the middle and the end; those that stay are found."""

from __future__ import annotations

from itertools import permutations

import pytest
from world import World, table

OK = 0
ORDERS = list(permutations(range(4)))


def exchange(world, toy, pairs):
    """One request of each client, which arrives at the upstream connection beside it, and its answer."""
    for number, (client, up) in enumerate(pairs):
        world.feed(client, toy.request(number, b"svc m %d" % number))
        assert [frame[3] for frame in world.take(toy, up)] == [b"svc m %d" % number]
    for number, (client, up) in enumerate(pairs):
        world.feed(up, toy.frame(toy.RESPONSE, number, b"answer"))
        assert [frame[3] for frame in world.take(toy, client)] == [b"answer"]


@pytest.mark.parametrize("order", ORDERS)
def test_shared_ones_are_lost_in_any_order_and_those_in_front_are_filled_first(toys, order):
    toy = toys["pingpong"]
    world = World(table([toy.address], max_connections=4))
    clients = [world.client() for _ in range(4)]
    for client in clients:
        world.feed(client, toy.request(0))
    stay = list(world.upstreams)
    for client, up in zip(clients, stay, strict=True):
        world.feed(up, toy.frame(toy.RESPONSE))
        world.take(toy, client), world.take(toy, up)
    for lost in [stay[place] for place in order]:
        world.batch(("error", lost))
        stay.remove(lost)
        exchange(world, toy, list(zip(clients, stay, strict=False)))
        assert list(world.upstreams) == stay
    # One more is opened, and found again.
    world.feed(clients[0], toy.request(0))
    up = world.only_upstream()
    world.feed(up, toy.frame(toy.RESPONSE))
    world.take(toy, clients[0]), world.take(toy, up)
    exchange(world, toy, [(clients[1], up)])
    assert list(world.upstreams) == [up]


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_clients_own_leave_in_any_order_and_no_other_client_hears_of_it(wide, order, who):
    world = World(table([wide.address], pinned=True, direct=True))
    clients = [world.client() for _ in range(4)]
    stay = list(zip(clients, world.upstreams, strict=True))
    exchange(world, wide, stay)
    for client, up in [stay[place] for place in order]:
        world.batch(("error", client if who == "client" else up))
        stay.remove((client, up))
        assert {client, up} <= world.closed.keys()
        exchange(world, wide, stay)
        assert list(world.upstreams) == [up for _, up in stay]
    client = world.client()
    exchange(world, wide, [(client, world.only_upstream())])


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("lost", range(4))
def test_an_endpoint_that_goes_finds_all_that_stayed(toys, lost, pinned):
    toy = toys["wide" if pinned else "pingpong"]
    world = World(table([toy.address], pinned=pinned, max_connections=4))
    clients = [world.client() for _ in range(4)]
    for client in clients:
        world.feed(client, toy.request(5))
    ups = list(world.upstreams)
    assert len(ups) == 4
    for up in ups:
        ((_, _, number, _),) = world.take(toy, up)
        world.feed(up, toy.frame(toy.RESPONSE, number))
    world.batch(("error", ups[lost]))
    world.apply(table([toy.address], pinned=pinned, max_connections=4, first_uid=10))
    assert world.upstreams == {}
    assert set(ups) <= world.closed.keys()


@pytest.mark.parametrize("why", ["reload", "drain", "another protocol"])
def test_what_is_sent_one_way_is_written_before_its_connection_ends(toys, why):
    wide, other = toys["wide"], toys["other"]
    world = World(table([wide.address, other.address], max_connections=1))
    client, second = world.client(), world.client()
    world.feed(client, wide.request(1, b"svc m first"))
    up = world.only_upstream()
    ((_, _, number, _),) = world.take(wide, up)
    world.feed(up, wide.frame(wide.RESPONSE, number))
    world.stuck.add(up)
    world.feed(client, wide.request(2, b"svc m one way", oneway=True))
    if why == "reload":
        world.apply(table([wide.address, other.address], first_uid=10))
    elif why == "drain":
        world.feed(up, wide.frame(wide.DRAIN))
    else:
        world.feed(second, other.request(3))
        assert [frame[1] for frame in world.take(other, second)] == [5]  # overloaded
    assert up not in world.closed
    world.stuck.discard(up)
    world.read(up)
    world.batch()
    assert [frame[3] for frame in world.take(wide, up)] == [b"svc m one way"]
    if why == "another protocol":
        world.feed(second, other.request(4))
    assert up in world.closed
