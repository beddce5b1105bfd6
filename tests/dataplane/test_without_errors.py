"""Protocols without errors: who cannot be answered hears the end of his connection."""

from __future__ import annotations

import pytest
from construct import Int8ub, Int16ub, Struct, this
from world import World, table

from protokit import WireFormat
from protokit.wire import Replies

REQUEST, ANSWER = 1, 2
FRAME = Struct("kind" / Int8ub, "id" / Int16ub)


@pytest.fixture(params=["multiplexed", "ordered", "pingpong"])
def wire(request):
    return WireFormat(
        FRAME,
        id=this.id,
        response=this.kind == ANSWER,
        mode=request.param,
        replies=Replies(error=None),
    )


def frame(kind, request_id):
    return FRAME.build({"kind": kind, "id": request_id})


def got(world, handle):
    data = bytes(world.got[handle])
    world.got[handle].clear()
    return [(one.kind, one.id) for one in (FRAME.parse(data[at : at + 3]) for at in range(0, len(data), 3))]


def test_a_server_that_asks_hears_the_end_behind_its_last_answer_and_others_are_served_elsewhere(wire):
    world = World(table([wire.address]))
    client, other = world.client(), world.client()
    world.feed(client, frame(REQUEST, 7))
    up = world.only_upstream()
    [(_, asked)] = got(world, up)
    world.feed(up, frame(REQUEST, 9))
    assert got(world, up) == []
    assert up not in world.closed, "it is asked still"
    world.feed(other, frame(REQUEST, 8))
    [second] = set(world.upstreams) - {up}
    world.feed(up, frame(ANSWER, asked))
    assert got(world, client) == [(ANSWER, 7)]
    assert up in world.closed
    [(_, asked)] = got(world, second)
    world.feed(second, frame(ANSWER, asked))
    assert got(world, other) == [(ANSWER, 8)]
    assert not {client, other, second} & set(world.closed)


def test_a_server_that_asks_while_nothing_is_asked_of_it_hears_the_end_at_once(wire):
    world = World(table([wire.address]))
    client = world.client()
    world.feed(client, frame(REQUEST, 7))
    up = world.only_upstream()
    [(_, asked)] = got(world, up)
    world.feed(up, frame(ANSWER, asked) + frame(REQUEST, 9))
    assert got(world, client) == [(ANSWER, 7)]
    assert up in world.closed
    assert client not in world.closed
