"""Codecs made while the process runs: as long as anybody speaks them they are there, and no longer."""

from __future__ import annotations

import gc

import pytest
from construct import Const, GreedyBytes, Int8ub, Int16ub, Int32ub, Prefixed, Struct, this
from world import World, table

from protokit import Status, WireFormat, native
from protokit.wire import ErrorText, Replies, text
from protokit.wire import table as status_table


def small(front: int = 0, answer: int = 2) -> WireFormat:
    """A format; its id stands behind so many integers of four bytes that say nothing."""
    more = [f"front{n}" for n in range(front)]
    return WireFormat(
        Struct(
            Const(b"S"),
            "kind" / Int8ub,
            *(name / Int32ub for name in more),
            "id" / Int16ub,
            "text" / Prefixed(Int16ub, GreedyBytes),
        ),
        id=this.id,
        response=this.kind == answer,
        oneway=this.kind == 3,
        status=status_table(this.kind, {2: Status.OK}, Status.INTERNAL),
        service=text(this.text),
        replies=Replies(error=lambda s, v: {"kind": answer, "text": ErrorText()} | dict.fromkeys(more, 0)),
    )


def frame(kind: int, request_id: int, body: bytes = b"a.B") -> bytes:
    return b"S" + bytes([kind]) + request_id.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


@pytest.fixture
def before(frozen):
    return native.codecs()


def test_what_is_the_same_is_there_once(before):
    one, other = small(), small()
    assert one.address == other.address
    assert native.codecs() == before + 1
    assert small(1).address != one.address
    del one
    gc.collect()
    assert native.frame(other.address, frame(1, 7)).id == 7
    del other
    gc.collect()
    assert native.codecs() == before


def test_an_address_alone_keeps_its_codec(before):
    address = small(1).address
    gc.collect()
    assert native.codecs() == before + 1
    assert native.frame(address, b"S\1abcd\0\7\0\1x").id == 7
    del address
    gc.collect()
    assert native.codecs() == before


def test_a_table_keeps_its_codecs(before):
    world = World(table([small(2).address]))
    gc.collect()
    assert native.codecs() == before + 1
    world.apply(table([]))
    gc.collect()
    assert native.codecs() == before


def test_a_connection_keeps_its_codec_and_gives_it_back(before):
    wire = small()
    world = World(table([wire.address]))
    client = world.client()
    world.feed(client, frame(1, 1))
    assert native.holders(wire.address) == 3
    world.apply(table([]))  # another table, without it
    del wire
    gc.collect()
    assert native.codecs() == before + 1
    up = world.only_upstream()
    sent = bytes(world.got[up])
    world.feed(up, frame(2, int.from_bytes(sent[2:4], "big"), b"answer"))
    assert bytes(world.got[client]) == frame(2, 1, b"answer")
    world.batch(("error", client))
    assert native.codecs() == before + 1  # the connection to the server speaks it
    world.batch(("error", up))
    assert native.codecs() == before


@pytest.mark.parametrize("oneway", [False, True])
@pytest.mark.parametrize("verdict", [native.DECIDE_CONTINUE, native.DECIDE_REPLY])
def test_a_request_that_waits_for_its_filter_keeps_its_codec(before, oneway, verdict):
    wire = small()
    world = World(table([wire.address]))
    client = world.client()
    world.apply(table([], plan={"filter_chain": 0}))  # the client goes on with the codec that it has
    world.feed(client, frame(3 if oneway else 1, 5))
    (op,) = world.filters
    world.batch(("error", client))
    del wire
    gc.collect()
    assert native.codecs() == before + oneway  # the other request ended with its client
    world.batch(("decide", op.handle, verdict, 0, int(Status.DENIED)))
    if oneway and verdict == native.DECIDE_CONTINUE:
        (up,) = world.upstreams
        assert bytes(world.got[up])[:2] == b"S\3"
        world.batch(("error", up))
    assert native.codecs() == before


@pytest.mark.parametrize("oneway", [False, True])
@pytest.mark.parametrize("ends", ["goes on", "in time", "with the core"])
def test_a_request_that_is_delayed_keeps_its_codec(before, oneway, ends):
    wire = small()
    world = World(table([wire.address]))
    client = world.client()
    late = {"timeout_ms": 50} if ends == "in time" else {}
    world.apply(table([], plan={"delay_ms": 100, **late}))  # the client goes on with the codec that it has
    world.feed(client, frame(3 if oneway else 1, 5))
    world.batch(("error", client))
    del wire
    gc.collect()
    assert native.codecs() == before + oneway  # the other request ended with its client
    if ends == "with the core":
        del world
        gc.collect()
    else:
        world.wait(110)
        assert world.stat("requests_active") == 0
        for up in list(world.upstreams):
            assert bytes(world.got[up])[:2] == b"S\3"
            world.batch(("error", up))
    assert native.codecs() == before


@pytest.mark.parametrize("ends", ["core", "client"])
def test_a_core_that_ends_gives_all_back(before, ends):
    wire = small()
    world = World(table([wire.address], plan={"filter_chain": 0}), connect="wait")
    clients = [world.client() for _ in range(3)]
    for client in clients:
        world.feed(client, frame(1, 5) + frame(3, 6))
    for op in world.filters[:3]:
        world.batch(("decide", op.handle, native.DECIDE_CONTINUE))
    if ends == "client":
        world.batch(*(("error", client) for client in clients))
    del wire, world
    gc.collect()
    assert native.codecs() == before


def test_a_new_codec_at_the_place_of_an_old_one_remembers_nothing_of_it(before):
    data = b"S\1" + bytes(range(1, 15)) + bytes(2000)
    for turn in range(40):  # two formats by turns: the memory of one is mostly given to the next
        other = turn % 2
        address = small(other, answer=2 - other).address
        message = native.frame(address, data)
        at = 2 + 4 * other
        assert (message.result, message.id) == (0, int.from_bytes(data[at : at + 2], "big"))
        assert message.kind == (native.KIND_RESPONSE if other else native.KIND_REQUEST)
        assert message.size == at + 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        del address
        gc.collect()
        assert native.codecs() == before
