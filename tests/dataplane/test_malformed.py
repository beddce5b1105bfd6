"""Bytes that are no frame are told of: whose, how they begin, at most once a second of each side."""

from __future__ import annotations

import pytest
from world import World, table

from protokit import native

MAGIC, FORMAT, LIMIT = -1, -2, -3


@pytest.fixture
def wide(toys):
    return toys["wide"]


def world_of(*toys, **more) -> World:
    return World(table([toy.address for toy in toys], **more))


def told(world) -> list[native.Malformed]:
    ops, world.malformed = world.malformed, []
    return [native.Malformed.of(op) for op in ops]


def answered_with(world, toy, answer: bytes) -> None:
    """A call is answered so, which ends the server's connection."""
    client = world.client()
    world.feed(client, toy.request(1, b"svc m x"))
    world.feed(next(iter(world.upstreams)), answer)
    world.take(toy, client)


def test_a_clients_bytes_that_are_no_frame(wide):
    world = world_of(wide, listener="in")
    client = world.client()
    world.feed(client, b"GET / HTTP/1.1\r\n\r\n")
    assert world.malformed[0].op == native.OP_MALFORMED
    assert world.malformed[0].handle == client
    assert told(world) == [native.Malformed(0, "", MAGIC, 0, b"GET / HT")]


def test_a_frame_that_is_larger_than_the_limit(wide):
    world = world_of(wide, limits={"frame": 1 << 10})
    world.feed(world.client(), wide.request(1, bytes(1 << 11)))
    ((_, _, error, _, head),) = told(world)
    assert (error, head) == (LIMIT, wide.request(1, bytes(1 << 11))[:8])


def test_what_no_protocol_of_the_listener_can_be(toys):
    world = world_of(toys["wide"], toys["narrow"])
    world.feed(world.client(), b"\x16\x03\x01")
    assert [(one.error, one.head) for one in told(world)] == [(MAGIC, b"\x16\x03\x01")]


def test_a_beginning_that_stays_one(toys):
    """Nothing came behind it until the time to tell protocols apart was over."""
    world = world_of(toys["wide"], toys["narrow"])
    client = world.client()
    world.feed(client, toys["wide"].request(1, b"svc m x")[:1])
    assert told(world) == []
    world.wait(60_000)
    assert client in world.closed
    assert [one.head for one in told(world)] == [toys["wide"].request(1, b"svc m x")[:1]]


def test_who_comes_and_goes_without_a_word_sent_nothing_malformed(toys):
    world = world_of(toys["wide"], toys["narrow"])
    leaving, silent = world.client(), world.client()
    world.batch(("eof", leaving))
    world.wait(610_000)
    assert {leaving, silent} <= world.closed.keys()
    assert told(world) == []


def test_a_servers_bytes_that_are_no_frame(wide):
    world = world_of(wide, endpoints=1, first_uid=7)
    answered_with(world, wide, b"HTTP/1.1 400 Bad Request\r\n")
    assert world.malformed[0].op == native.OP_MALFORMED_ANSWER
    assert told(world) == [native.Malformed(7, "", MAGIC, 0, b"HTTP/1.1")]


def test_one_a_second_of_each_side_is_told(wide):
    """Whoever sends garbage all the time costs the deciding side next to nothing."""
    world = world_of(wide, endpoints=3)
    for _ in range(100):
        world.feed(world.client(), b"garbage")
    for _ in range(3):
        answered_with(world, wide, b"garbage")
    assert [one.op for one in world.malformed] == [native.OP_MALFORMED, native.OP_MALFORMED_ANSWER]
    told(world)
    world.wait(999)
    world.feed(world.client(), b"garbage")
    assert told(world) == []
    world.wait(1)
    world.feed(world.client(), b"garbage")
    assert [one.head for one in told(world)] == [b"garbage"]
