"""Answers without their id, and frames with two of them: nobody gets what is not his."""

from __future__ import annotations

import pytest
from construct import Bytes, Const, If, Int8ub, Int16ub, Int32ub, Struct, this
from world import World, table

from protokit import native
from protokit.wire import Replies, WireFormat
from protokit.wire.format import KINDS

# kind: 1 request, 2 answer; has: 1 the id in front, 2 the one behind, 3 both
FIELDS = ["kind" / Int8ub, "has" / Int8ub]
FRONT, BEHIND = "a" / If(this.has & 1, Int32ub), "b" / If(this.has & 2, Int32ub)


def wire(*fields, id=(this.a, this.b), **more):  # noqa: A002  # as WireFormat has it
    return WireFormat(
        Struct(Const(b"Z"), *FIELDS, *fields),
        id=id,
        response=this.kind == 2,
        replies=Replies(error=lambda status, variant: {"kind": 2, "has": 1, "x": b"er"}),
        **more,
    )


def one(**more):
    return wire(FRONT, "x" / Bytes(2), id=this.a, **more)


def frame(kind, has, *numbers, x=b"xx"):
    return b"Z" + bytes([kind, has]) + b"".join(n.to_bytes(4, "big") for n in numbers) + x


@pytest.mark.parametrize("mode", ["multiplexed", "pinned"])
def test_an_answer_without_its_id_is_not_request_0s(mode):
    made = one(mode=mode)
    data = frame(2, 0)
    assert KINDS[native.frame(made.address, data).kind] == made.message(data).kind == "ignore"
    limits = {"request_ms": 500}
    world = World(table([made.address], direct=True, limits=limits, pinned=mode == "pinned"))
    client = world.client()
    world.feed(client, frame(1, 1, 0) + frame(1, 1, 1))
    up = world.only_upstream()
    asked = bytes(world.got[up])
    ids = [int.from_bytes(asked[at + 3 : at + 7], "big") for at in (0, 9)]
    world.feed(up, data)
    assert world.got[client] == b""
    world.feed(up, frame(2, 1, ids[1], x=b"1!") + data + frame(2, 1, ids[0], x=b"0!"))
    assert world.got[client] == frame(2, 1, 1, x=b"1!") + frame(2, 1, 0, x=b"0!")
    assert up not in world.closed


def test_an_answer_without_its_id_that_is_too_large_fails_nobodys_call():
    sized = WireFormat(
        Struct(Const(b"Z"), *FIELDS, FRONT, "size" / Int16ub, "x" / Bytes(this.size)),
        id=this.a,
        response=this.kind == 2,
        replies=Replies(error=lambda status, variant: {"kind": 2, "has": 1, "size": 0, "x": b""}),
    )
    world = World(table([sized.address], direct=True, limits={"frame": 1000}))
    client = world.client()
    world.feed(client, frame(1, 1, 0, x=b"\0\0"))
    up = world.only_upstream()
    number = int.from_bytes(world.got[up][3:7], "big")
    world.feed(up, frame(2, 0, x=(2000).to_bytes(2, "big") + bytes(2000)))
    assert world.got[client] == b""
    world.feed(up, frame(2, 1, number, x=b"\0\0"))
    assert world.got[client] == frame(2, 1, 0, x=b"\0\0")


@pytest.mark.parametrize("ids", [(this.a, this.b), (this.b, this.a)])
@pytest.mark.parametrize("between", [[], ["x" / Bytes(2)]])
def test_of_two_ids_in_a_frame_the_last_counts(ids, between):
    made = wire(FRONT, *between, BEHIND, *([] if between else ["x" / Bytes(2)]), id=ids)
    for has, numbers in ((1, [7]), (2, [8]), (3, [7, 8]), (3, [0, 8]), (3, [7, 0])):
        parts = [n.to_bytes(4, "big") for n in numbers]
        middle = [*parts, b"xx"] if not between else [*parts[: has & 1], b"xx", *parts[has & 1 :]]
        data = b"Z" + bytes([1, has]) + b"".join(middle)
        expected = numbers[-1]
        assert (native.frame(made.address, data).id, made.message(data).id) == (expected, expected), data
        patched = native.patch_id(made.address, data, 0x01020304)
        assert made.message(patched).id == 0x01020304
        assert patched.count(b"\1\2\3\4") == 1
