"""Protocols made at home whose ids are byte strings, and vectors of each.

kind: 1 request, 2 answer, 3 one-way, 4 ping, 5 pong, 6 drain. body: "service method rest"
"""

from __future__ import annotations

from construct import (
    Bytes,
    Check,
    Const,
    Error,
    GreedyBytes,
    If,
    Int8ub,
    Int16ub,
    Int16ul,
    Int32ub,
    Prefixed,
    Rebuild,
    Struct,
    Switch,
    len_,
    this,
)

from protokit import Protocol, Status, WireFormat
from protokit.testing import Golden
from protokit.wire import ErrorText, Replies, Until, UVar, byte_id, crc32, size_, split, table

MEANING = {
    "response": (this.kind == 2) | (this.kind == 5),
    "oneway": this.kind == 3,
    "heartbeat": (this.kind == 4) | (this.kind == 5),
    "drain": this.kind == 6,
    "status": table(this.status, {int(status): status for status in Status}, Status.INTERNAL),
}


def values(kind, body=b"", status=0):
    return {"kind": kind, "status": status, "body": body}


def declared(struct, request_id, body=this.body, inner=lambda made: made, **meaning):
    words = split(body, " ", 3)
    return WireFormat(
        struct,
        id=request_id,
        service=words[0],
        method=words[1],
        replies=Replies(
            error=lambda status, variant: inner(values(2, ErrorText(), int(status))),
            heartbeat=lambda variant: inner(values(4)),
            ack=lambda variant: inner(values(5)),
            drain=lambda variant: inner(values(6)),
        ),
        **{**MEANING, **meaning},
    )


def hexed() -> WireFormat:
    """Sixteen hex digits in the header: a shape has them."""
    return declared(
        Struct(
            Const(b"HX"),
            "kind" / Int8ub,
            "id" / Bytes(16),
            "status" / Int8ub,
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        byte_id(this.id, form="hex"),
    )


def sized() -> WireFormat:
    """Up to 36 bytes, counted by a length of their own and by a total behind them, under a checksum."""
    return declared(
        Struct(
            Const(b"SZ"),
            "kind" / Int8ub,
            "count" / Rebuild(Int8ub, len_(this.id) + 1),
            "id" / Bytes(this.count - 1),
            "size" / Rebuild(Int16ul, len_(this.id) + len_(this.body) + 3),
            "status" / Int8ub,
            "body" / Bytes(this.size - this.count - 2),
            "crc" / Int32ub,
        ),
        byte_id(this.id, max=36),
        checksum=crc32(this.crc, over="before"),
    )


def lined() -> WireFormat:
    """Up to 40 bytes that a blank ends."""
    return declared(
        Struct(
            "kind" / Int8ub,
            Check((this.kind >= 1) & (this.kind <= 6)),
            "id" / Until(b" ", max=40),
            "status" / Int8ub,
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        this.id,
    )


def branched() -> WireFormat:
    """Raw bytes behind a varint, in branches with ids of their own; an answer has its status in front."""
    asks = Struct("id" / Prefixed(UVar(2), GreedyBytes), "body" / Prefixed(Int16ub, GreedyBytes))
    answers = Struct(
        "status" / Int8ub, "id" / Prefixed(UVar(2), GreedyBytes), "body" / Prefixed(Int16ub, GreedyBytes)
    )

    def inner(made):
        kind, rest = made["kind"], {"body": made["body"]}
        return {"kind": kind, "in": rest | ({"status": made["status"]} if kind in {2, 5} else {})}

    return declared(
        Struct(
            Const(b"BR"),
            "kind" / Int8ub,
            "in"
            / Switch(this.kind, {1: asks, 2: answers, 3: asks, 4: asks, 5: answers, 6: asks}, default=Error),
        ),
        byte_id(this["in"].id, max=12, form="raw"),
        body=this["in"].body,
        inner=inner,
        status=table(this["in"].status, {int(status): status for status in Status}, Status.INTERNAL),
    )


def unique() -> WireFormat:
    """UUIDs; a one-way has none."""
    return declared(
        Struct(
            Const(b"UU"),
            "kind" / Int8ub,
            "status" / Int8ub,
            "id" / If(this.kind != 3, Bytes(36)),
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        byte_id(this.id, form="uuid"),
    )


def varints() -> WireFormat:
    """A varint of up to 64 bits, under a total in front of it and one behind, and a checksum."""
    return declared(
        Struct(
            Const(b"VI"),
            "kind" / Int8ub,
            "size" / Rebuild(UVar(3), size_(this.id) + len_(this.body) + 3),
            "id" / UVar(10),
            "status" / Int8ub,
            "body" / Bytes(this.size - size_(this.id) - 3),
            "crc" / Int32ub,
        ),
        this.id,
        checksum=crc32(this.crc, over="before"),
    )


def folded() -> WireFormat:
    """What a delimiter ends, under a total in front of it."""
    return declared(
        Struct(
            Const(b"FO"),
            "kind" / Int8ub,
            "size" / Rebuild(Int16ub, len_(this.id) + len_(this.body) + 1),
            "id" / Until(b"\n", max=30),
            "status" / Int8ub,
            "body" / Bytes(this.size - len_(this.id) - 1),
        ),
        this.id,
    )


def own() -> WireFormat:
    """Ids that must stay."""
    return declared(
        Struct(
            "kind" / Int8ub,
            "id" / Prefixed(Int8ub, GreedyBytes),
            "status" / Int8ub,
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        byte_id(this.id, max=20),
        mode="pinned",
    )


MAKERS = (hexed, sized, lined, branched, unique, varints, folded, own)


def protocols() -> dict[str, Protocol]:
    return {make.__name__: Protocol(make.__name__, make()) for make in MAKERS}


UUID = b"6f1d2c3b-0000-4aaa-8bbb-00000000000A"
VECTORS = {
    "hexed": {
        "request": b"HX\x01DEADBEEF00000007\0\0\x0ca.B go hello",
        "response": b"HX\x0200000000000000aa\0\0\x05hello",
        "oneway": b"HX\x030000000000000001\0\0\x08a.B go x",
    },
    "sized": {
        "request": b"SZ\x01\x04abc\x12\0\0a.B go hello|\x14\xaa\xcc",
        "response": b"SZ\x02\x04abc\x0b\0\0helloR\xaf\x7f\x87",
        "oneway": b"SZ\x03\x01\x0b\0\0a.B go x\x96\xf7\xc3\xc3",
    },
    "lined": {
        "request": b"\x01call-17 \0\0\x0ca.B go hello",
        "response": b"\x02call-17 \0\0\x05hello",
        "oneway": b"\x03 \0\0\x08a.B go x",
    },
    "branched": {
        "request": b"BR\x01\x05\0\x01\xff\x02\x03\0\x0ca.B go hello",
        "response": b"BR\x02\0\x05\0\x01\xff\x02\x03\0\x05hello",
        "oneway": b"BR\x03\x00\0\x08a.B go x",
    },
    "unique": {
        "request": b"UU\x01\0" + UUID + b"\0\x0ca.B go hello",
        "response": b"UU\x02\0" + UUID + b"\0\x05hello",
        "oneway": b"UU\x03\0\0\x08a.B go x",
    },
    "varints": {
        "request": b"VI\x01\x11\xac\x02\0a.B go hello\xd9\xcd\xaax",
        "response": b"VI\x02\x0a\xac\x02\0hello\x0e\x02\xf6;",
        "oneway": b"VI\x03\x15\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0a.B go x\x995\x9b\x0c",
    },
    "folded": {
        "request": b"FO\x01\0\x10abc\n\0a.B go hello",
        "response": b"FO\x02\0\x09abc\n\0hello",
        "oneway": b"FO\x03\0\x09\n\0a.B go x",
    },
    "own": {
        "request": b"\x01\x03abc\0\0\x0ca.B go hello",
        "response": b"\x02\x03abc\0\0\x05hello",
        "oneway": b"\x03\x03abc\0\0\x08a.B go x",
    },
}


def golden(name: str) -> list[Golden]:
    found = [Golden(kind, data, expect={"kind": kind}) for kind, data in VECTORS[name].items()]
    if name == "hexed":
        says = {"kind": "response", "status": "NO_SERVICE", "text": "none"}
        found.append(Golden("error", b"HX\x02DEADBEEF00000007\x02\0\x04none", expect=says))
    return found
