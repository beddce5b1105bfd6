"""Ids whose byte order a flag says, and ids that stand in one field of requests and in another of answers."""

from __future__ import annotations

import pytest
from construct import (
    Bytes,
    Const,
    IfThenElse,
    Int8ub,
    Int16ub,
    Int16ul,
    Int32sb,
    Int32sl,
    Int32ub,
    Int32ul,
    Int64ub,
    Int64ul,
    Rebuild,
    Struct,
    len_,
    this,
)
from world import World, table

from protokit import Status, WireFormat, native
from protokit.errors import DeclarationError
from protokit.wire import ErrorText, Replies, Until, crc32, side

WIDTHS = {2: (Int16ul, Int16ub), 4: (Int32ul, Int32ub), -4: (Int32sl, Int32sb), 8: (Int64ul, Int64ub)}
MODES = ("multiplexed", "ordered", "pingpong", "pinned")


def order(little, big):
    return IfThenElse(this.flags & 1, little, big)


def wire(width=4, mode="multiplexed", line=False, summed=False):
    """kind: 0 request, 1 answer. flags: 1 little endian, of the id, the length and the sum of all."""
    return WireFormat(
        Struct(
            Const(b"BO"),
            "flags" / Int8ub,
            "kind" / Int8ub,
            "id" / order(*WIDTHS[width]),
            *(["line" / Until(b"\n", max=20)] if line else []),
            "size" / Rebuild(order(Int32ul, Int32ub), len_(this.body)),
            "body" / Bytes(this.size),
            *(["crc" / Int32ub] if summed else []),
        ),
        id=this.id,
        response=this.kind == 1,
        service=this.body,
        variants=({"flags": 0}, {"flags": 1}),
        mode=mode,
        replies=Replies(
            error=lambda status, variant: {"kind": 1, "body": ErrorText()} | ({"line": b""} if line else {})
        ),
        **({"checksum": crc32(this.crc, over="before")} if summed else {}),
    )


def frame(one, flags, kind, number, body=b"a.B"):
    made = {"flags": flags, "kind": kind, "id": number, "body": body, "line": b"l"}
    return one.build(made)


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("line", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_an_id_and_a_length_are_read_and_written_in_the_order_that_the_flag_says(width, line, summed):
    one = wire(width, line=line, summed=summed)
    slow = native.declared(one.image(one.name, shapes=False))
    for flags in (0, 1, 0, 3):
        for kind in (0, 1):
            whole = frame(one, flags, kind, 0x102)
            other = frame(one, flags, kind, 0x7F03)
            for codec in (one.address, slow):
                assert native.frame(codec, whole).id == one.message(whole).id == 0x102
                assert native.patch_id(codec, whole, 0x7F03) == other
                for end in range(1, len(whole)):
                    assert native.frame(codec, whole[:end]).result == 1
        reply = one.ask.error(Status.INTERNAL, 0x102, flags & 1, b"no")
        assert one.message(reply).id == 0x102
        assert reply[4 : 4 + abs(width)] == (0x102).to_bytes(abs(width), "little" if flags & 1 else "big")


@pytest.mark.parametrize("line", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_both_orders_share_a_connection(mode, line):
    one = wire(mode=mode, line=line)
    world = World(table([one.address], pinned=mode == "pinned"))
    for flags, number in ((1, 7), (0, 7), (1, 0x01020304)):
        client = world.client()
        for byte in frame(one, flags, 0, number):
            world.feed(client, bytes([byte]))
        up = list(world.upstreams)[-1]
        asked = one.message(bytes(world.got[up]))
        if mode != "multiplexed":
            assert asked.id == number
        assert bytes(world.got[up]) == frame(one, flags, 0, asked.id)
        world.got[up].clear()
        for byte in frame(one, flags, 1, asked.id, b"right"):
            world.feed(up, bytes([byte]))
        assert bytes(world.got[client]) == frame(one, flags, 1, number, b"right")


def test_ids_have_one_width():
    with pytest.raises(
        DeclarationError, match="id: an id of 2 bytes, and another of 4; all ids have one width"
    ):
        WireFormat(
            Struct("kind" / Int8ub, "id" / IfThenElse(this.kind == 1, Int32ub, Int16ub), "body" / Bytes(3)),
            id=this.id,
            response=this.kind == 1,
            replies=Replies(error=lambda status, variant: {"kind": 1, "body": b"err"}),
        )


def told(mode="multiplexed"):
    """Both ids stand in every frame; a request's own is in front of that which it answers."""
    return WireFormat(
        Struct(
            "size" / Rebuild(Int32ul, len_(this.body)),
            "ids"
            / IfThenElse(
                side == "client",
                Struct("id" / Int32ul, "other" / Int32ul),
                Struct("other" / Int32ul, "id" / Int32ul),
            ),
            "body" / Bytes(this.size),
        ),
        id=this.ids.id,
        response=side == "server",
        mode=mode,
        replies=Replies(error=lambda status, variant: {"ids": {"other": 0}, "body": ErrorText()}),
    )


def pair(first, second, body):
    return len(body).to_bytes(4, "little") + first.to_bytes(4, "little") + second.to_bytes(4, "little") + body


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_says_in_another_field_whose_it_is_and_keeps_its_own(mode):
    one = told(mode)
    world = World(table([one.address], pinned=mode == "pinned"))
    for number in (7, 9):
        client = world.client()
        world.feed(client, pair(number, 5, b"ask"))
        up = list(world.upstreams)[-1]
        asked = one.message(bytes(world.got[up]), "client")
        assert bytes(world.got[up]) == pair(asked.id, 5, b"ask")
        world.got[up].clear()
        world.feed(up, pair(77, asked.id, b"answer"))
        assert bytes(world.got[client]) == pair(77, number, b"answer")
    assert one.ask.error(Status.INTERNAL, 7, 0, b"no") == pair(0, 7, b"no")


def test_a_pinned_client_without_ids_gets_its_answers_in_the_order_of_its_requests():
    one = WireFormat(
        Struct("kind" / Int8ub, "size" / Rebuild(Int8ub, len_(this.body)), "body" / Bytes(this.size)),
        response=this.kind == 1,
        mode="pinned",
        service=this.body,
        replies=Replies(error=lambda status, variant: {"kind": 1, "body": ErrorText()}),
    )

    def said(kind, body):
        return bytes([kind, len(body)]) + body

    world = World(table([one.address], pinned=True))
    clients = [world.client() for _ in range(2)]
    for client in clients:
        world.feed(client, said(0, b"first") + said(0, b"second"))
    assert len(world.upstreams) == 2
    for up, client, name in zip(list(world.upstreams), clients, (b"A", b"B"), strict=True):
        assert bytes(world.got[up]) == said(0, b"first") + said(0, b"second")
        world.feed(up, said(1, name + b"1") + said(1, name + b"2"))
        assert bytes(world.got[client]) == said(1, name + b"1") + said(1, name + b"2")
    failing = World(table([one.address], pinned=True), connect="fail")
    client = failing.client()
    failing.feed(client, said(0, b"first") + said(0, b"second"))
    got = bytes(failing.got[client])
    assert one.message(got).kind == "response"
    assert got.count(b"protokit") == 2
