"""Ids of protocols whose answers come in the requests' order: they only come back, each to its client."""

from __future__ import annotations

import pytest
from construct import GreedyBytes, Int8ub, Int16ub, Int32ub, Prefixed, Struct, this
from world import World, table

from protokit import Protocol, Status, WireFormat, native
from protokit.errors import DeclarationError
from protokit.testing import Golden, conformance
from protokit.wire import ErrorText, Replies, UVar, byte_id
from protokit.wire import table as statuses

FIELDS = {
    "an integer": ("id" / Int32ub, this.id, [7, 2**32 - 1]),
    "a varint": ("id" / UVar(10), this.id, [7, 2**64 - 1]),
    "a section": ("id" / Prefixed(Int8ub, GreedyBytes), byte_id(this.id, max=20), [b"", b"mine"]),
}


def wire(mode, field):
    made, request_id, _ = FIELDS[field]
    return WireFormat(
        Struct("kind" / Int8ub, made, "status" / Int8ub, "body" / Prefixed(Int16ub, GreedyBytes)),
        id=request_id,
        mode=mode,
        response=this.kind == 2,
        status=statuses(this.status, {int(status): status for status in Status}, Status.INTERNAL),
        service="a.B",
        method=this.body,
        replies=Replies(
            error=lambda status, variant: {"kind": 2, "status": int(status), "body": ErrorText()}
        ),
    )


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("mode", ["pingpong", "ordered"])
def test_an_id_comes_back_to_each_client_as_it_was(mode, field):
    one = wire(mode, field)
    same = FIELDS[field][2][1]
    world = World(table([one.address]))
    clients = [world.client() for _ in range(2)]
    frames = [
        one.build({"kind": 1, "id": same, "status": 0, "body": b"call %d" % number}) for number in range(2)
    ]
    for client, frame in zip(clients, frames, strict=True):
        world.feed(client, frame)
    answered = 0
    while answered < 2:
        for up in list(world.upstreams):
            asked = bytes(world.got[up])
            world.got[up].clear()
            while asked:
                message = one.message(asked)
                assert asked[: message.size] in frames  # as its client wrote it
                body = bytes(message.fields.body)
                world.feed(up, one.build({"kind": 2, "id": same, "status": 0, "body": b"to " + body}))
                asked = asked[message.size :]
                answered += 1
    for number, client in enumerate(clients):
        expected = one.build({"kind": 2, "id": same, "status": 0, "body": b"to call %d" % number})
        assert bytes(world.got[client]) == expected


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("mode", ["pingpong", "ordered"])
def test_an_error_has_the_id_of_its_request(mode, field):
    one = wire(mode, field)
    world = World(table([one.address]), connect="fail")
    client = world.client()
    for number in FIELDS[field][2]:
        world.feed(client, one.build({"kind": 1, "id": number, "status": 0, "body": b"m"}))
        answer = one.message(bytes(world.got[client]))
        assert (answer.status, answer.fields.id) == (Status.UNAVAILABLE, number)
        world.got[client].clear()


def test_the_mode_that_tells_answers_apart_by_ids_needs_one():
    with pytest.raises(DeclarationError, match="mode='multiplexed' needs an id"):
        WireFormat(Struct("kind" / Int8ub), replies=Replies(error=lambda *_: {"kind": 1}))


_PINGPONG = Protocol("turns", wire("pingpong", "an integer"))
_FRAMES = [
    Golden("request", b"\1\0\0\0\7\0\0\1m", expect={"kind": "request"}),
    Golden("response", b"\2\0\0\0\7\0\0\2ok", expect={"kind": "response"}),
    Golden("error", b"\2\0\0\0\7\4\0\2no", expect={"kind": "response"}),
]
TestTurns = conformance(_PINGPONG, golden=_FRAMES, examples=30)


def test_the_engine_knows_its_mode():
    assert native.mode(_PINGPONG.wire.address) == 2
