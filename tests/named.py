"""Protocols made at home whose ids are byte strings, and vectors of each.

kind: 1 request, 2 answer, 3 one-way, 4 ping, 5 pong, 6 drain. body: "service method rest"
"""

from __future__ import annotations

import functools
from typing import Any

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
from protokit.wire import (
    ErrorText,
    Replies,
    Until,
    UVar,
    ber,
    byte_id,
    crc32,
    json,
    lines,
    msgpack,
    number,
    pairs,
    protobuf,
    size_,
    split,
    table,
    tlv,
)

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


def keyed() -> WireFormat:
    """A value of a map, in a section that a total behind it counts, too."""
    head = pairs(this.head, key=Int8ub, value=Int16ub)
    return declared(
        Struct(
            Const(b"MA"),
            "kind" / Int8ub,
            "front" / Rebuild(Int16ub, len_(this.head)),
            "size" / Rebuild(Int32ub, len_(this.head) + len_(this.body) + 1),
            "head" / Bytes(this.front),
            "status" / Int8ub,
            "body" / Bytes(this.size - this.front - 1),
        ),
        byte_id(head["id"], max=30),
        inner=lambda made: made | {"head": b"\1a\0\1b"},
    )


def headed() -> WireFormat:
    """A line of a head that ends with an empty line."""
    head = lines(this.head, ": ", "\r\n")
    return declared(
        Struct(
            "kind" / Int8ub,
            Check((this.kind >= 1) & (this.kind <= 6)),
            "head" / Until(b"\r\n\r\n", max=300),
            "status" / Int8ub,
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        byte_id(head["id"], max=20, form="hex"),
        inner=lambda made: made | {"head": b"server: x"},
    )


def correlated() -> WireFormat:
    """A varint in a message behind its length, under a total; and a checksum."""
    return declared(
        Struct(
            Const(b"CO"),
            "kind" / Int8ub,
            "size" / Rebuild(Int32ub, len_(this.meta) + len_(this.body)),
            "front" / Rebuild(Int32ub, len_(this.meta)),
            "status" / Int8ub,
            "meta" / Bytes(this.front),
            "body" / Bytes(this.size - this.front),
            "crc" / Int32ub,
        ),
        byte_id(protobuf(this.meta)[4]),
        inner=lambda made: made | {"meta": b"\x12\x02\x08\x01"},
        checksum=crc32(this.crc, over="before"),
    )


def enveloped() -> WireFormat:
    """Bytes in a message in a message, each behind a varint, as is the outermost."""
    return declared(
        Struct(
            Const(b"EN"),
            "kind" / Int8ub,
            "status" / Int8ub,
            "meta" / Prefixed(UVar(3), GreedyBytes),
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        byte_id(protobuf(this.meta)[1][300][2], max=64, form="decimal"),
        inner=lambda made: made | {"meta": b""},
    )


def tagged() -> WireFormat:
    """A value in a list of tags in another, under lengths of two widths."""
    return declared(
        Struct(
            Const(b"TG"),
            "kind" / Int8ub,
            "status" / Int8ub,
            "head" / Prefixed(Int16ub, GreedyBytes),
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        byte_id(tlv(this.head, tag=Int8ub, length=Int16ul)[7][300 - 256], max=64),
        inner=lambda made: made | {"head": b"\x07\x00\x00"},
    )


def quoted() -> WireFormat:
    """A value of JSON, which servers see as a text; a delimiter ends it."""
    return declared(
        Struct(
            "kind" / Int8ub,
            Check((this.kind >= 1) & (this.kind <= 6)),
            "head" / Until(b"\n", max=300),
            "status" / Int8ub,
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        byte_id(json(this.head)["a"]["id"], max=40, form="quoted"),
        inner=lambda made: made | {"head": b'{"a":{}}'},
    )


def numbered() -> WireFormat:
    """A value of JSON, which servers see as a number, under a total and a checksum."""
    return declared(
        Struct(
            Const(b"NU"),
            "kind" / Int8ub,
            "size" / Rebuild(Int32ub, len_(this.head) + len_(this.body)),
            "front" / Rebuild(Int16ub, len_(this.head)),
            "head" / Bytes(this.front),
            "body" / Bytes(this.size - this.front),
            "status" / Int8ub,
            "crc" / Int32ub,
        ),
        byte_id(json(this.head)["id"], max=40),
        inner=lambda made: made | {"head": b"{}"},
        checksum=crc32(this.crc, over="before"),
    )


def told() -> WireFormat:
    """A value of JSON whose section a header counts in digits; a checksum is over all."""
    head = lines(this.head, ":", "\r\n", ignore_case=True, trim=" ")
    return declared(
        Struct(
            "kind" / Int8ub,
            Check((this.kind >= 1) & (this.kind <= 6)),
            "head" / Until(b"\r\n\r\n", max=300),
            "meta" / Bytes(number(head["Length"])),
            "status" / Int8ub,
            "body" / Prefixed(Int16ub, GreedyBytes),
            "crc" / Int32ub,
        ),
        byte_id(json(this.meta)["id"], max=40),
        inner=lambda made: made | {"head": b"Length: 0", "meta": b"{}"},
        checksum=crc32(this.crc, over="before"),
    )


def packed() -> WireFormat:
    """An integer or a text of MessagePack, as its RPC has them."""
    return declared(
        Struct(
            Const(b"MP"),
            "kind" / Int8ub,
            "status" / Int8ub,
            "head" / Prefixed(UVar(2), GreedyBytes),
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        byte_id(msgpack(this.head)[1], max=5),
        inner=lambda made: made | {"head": b"\x92\x00\x00"},
    )


def encoded() -> WireFormat:
    """An integer of ASN.1, whose size two more lengths count."""
    return declared(
        Struct(
            Const(b"BE"),
            "kind" / Int8ub,
            "status" / Int8ub,
            "head" / Prefixed(UVar(2), GreedyBytes),
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        byte_id(ber(this.head)[0]["a1"][0], max=20),
        inner=lambda made: made | {"head": b"\x30\x05\xa1\x03\x02\x01\x00"},
    )


def receipted() -> WireFormat:
    """A line of requests, and another of answers, which may have the first, too: it is their server's own."""
    head = lines(this.head, ":", "\n")
    return declared(
        Struct(
            "kind" / Int8ub,
            Check((this.kind >= 1) & (this.kind <= 6)),
            "head" / Until(b"\n\n", max=300),
            "status" / Int8ub,
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        byte_id(head["receipt"], max=24),
        answer_id=byte_id(head["receipt-id"], max=24),
        inner=lambda made: made | {"head": b"v:1\nreceipt:own"},
    )


def related() -> WireFormat:
    """A value of JSON in one section of requests, in another of answers, each under lengths of its own."""
    return declared(
        Struct(
            Const(b"RE"),
            "kind" / Int8ub,
            "head" / Prefixed(UVar(2), GreedyBytes),
            "size" / Rebuild(Int32ub, len_(this.meta) + len_(this.body)),
            "front" / Rebuild(Int16ub, len_(this.meta)),
            "status" / Int8ub,
            "meta" / Bytes(this.front),
            "body" / Bytes(this.size - this.front),
            "crc" / Int32ub,
        ),
        byte_id(json(this.head)["id"], max=40),
        answer_id=byte_id(json(this.meta)["re"], max=40),
        inner=lambda made: made | {"head": b'{"id":5}', "meta": b"{}"},
        checksum=crc32(this.crc, over="before"),
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


MAKERS = (
    hexed,
    sized,
    lined,
    branched,
    unique,
    varints,
    folded,
    keyed,
    headed,
    correlated,
    enveloped,
    tagged,
    quoted,
    numbered,
    told,
    packed,
    encoded,
    receipted,
    related,
    own,
)


@functools.cache
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
    "keyed": {
        "request": b"MA\x01\x00\r\x00\x00\x00\x1a\x01a\x00\x01b\x02id\x00\x03abc\x00a.B go hello",
        "response": b"MA\x02\x00\r\x00\x00\x00\x13\x01a\x00\x01b\x02id\x00\x03abc\x00hello",
        "oneway": b"MA\x03\x00\r\x00\x00\x00\x16\x01a\x00\x01b\x02id\x00\x03abc\x00a.B go x",
    },
    "headed": {
        "request": b"\x01to: x\r\nid: call-1f\r\nz: y\r\n\r\n\x00\x00\x0ca.B go hello",
        "response": b"\x02to: x\r\nid: call-1f\r\nz: y\r\n\r\n\x00\x00\x05hello",
        "oneway": b"\x03to: x\r\nid: call-1f\r\nz: y\r\n\r\n\x00\x00\x08a.B go x",
    },
    "correlated": {
        "request": b"CO\x01\0\0\0\x14\0\0\0\x08\0\n\x01x \xac\x02(\x05a.B go hello\x08\xf1\x13\x1b",
        "response": b"CO\x02\x00\x00\x00\r\x00\x00\x00\x08\x00\n\x01x \xac\x02(\x05hello\x01\xac\x06q",
        "oneway": b"CO\x03\x00\x00\x00\x10\x00\x00\x00\x08\x00\n\x01x \xac\x02(\x05a.B go x+\xeb<\xdf",
    },
    "enveloped": {
        "request": b"EN\x01\x00\x11\n\x0f\x92\x12\x02\x08\x01\xe2\x12\x07\x12\x05first\x00\x0ca.B go hello",
        "response": b"EN\x02\x00\x11\n\x0f\x92\x12\x02\x08\x01\xe2\x12\x07\x12\x05first\x00\x05hello",
        "oneway": b"EN\x03\x00\x11\n\x0f\x92\x12\x02\x08\x01\xe2\x12\x07\x12\x05first\x00\x08a.B go x",
    },
    "tagged": {
        "request": b"TG\x01\0\0\x12\x01\x02\0xy\x07\n\0\x02\x01\0z,\x03\0abc\0\x0ca.B go hello",
        "response": b"TG\x02\0\0\x12\x01\x02\0xy\x07\n\0\x02\x01\0z,\x03\0abc\0\x05hello",
        "oneway": b"TG\x03\0\0\x12\x01\x02\0xy\x07\n\0\x02\x01\0z,\x03\0abc\0\x08a.B go x",
    },
    "quoted": {
        "request": b'\x01{"z":[1, {"id":5}], "a" : {"b":0, "id" : "a\\u00e9" }}\n\0\0\x0ca.B go hello',
        "response": b'\x02{"z":[1, {"id":5}], "a" : {"b":0, "id" : "a\\u00e9" }}\n\0\0\x05hello',
        "oneway": b'\x03{"z":[1, {"id":5}], "a" : {"b":0, "id" : "a\\u00e9" }}\n\0\0\x08a.B go x',
    },
    "numbered": {
        "request": b'NU\x01\0\0\0 \0\x14 {"z":"id","id":1.0}a.B go hello\x006eJ\xd2',
        "response": b'NU\x02\0\0\0\x19\0\x14 {"z":"id","id":1.0}hello\0\xd6\xb5\xb4q',
        "oneway": b'NU\x03\0\0\0\x1c\0\x14 {"z":"id","id":1.0}a.B go x\x007"\xc5\xb5',
    },
    "told": {
        "request": b'\x01x: y\r\nLENGTH: 8 \r\n\r\n{"id":7}\x00\x00\x0ca.B go hellos\x10+\xf7',
        "response": b'\x02x: y\r\nLENGTH: 8 \r\n\r\n{"id":7}\x00\x00\x05hello\xe7\xd0A\x91',
        "oneway": b'\x03x: y\r\nLENGTH: 8 \r\n\r\n{"id":7}\x00\x00\x08a.B go x\x86\xa9@J',
    },
    "packed": {
        "request": b"MP\x01\0\x07\x93\x01\xcd\x01\0\xa1x\0\x0ca.B go hello",
        "response": b"MP\x02\0\x07\x93\x01\xcd\x01\0\xa1x\0\x05hello",
        "oneway": b"MP\x03\0\x07\x93\x01\xcd\x01\0\xa1x\0\x08a.B go x",
    },
    "encoded": {
        "request": b"BE\x01\0\x0b\x30\x81\x08\xa1\x04\x02\x02\x01\0\x05\0\0\x0ca.B go hello",
        "response": b"BE\x02\0\x0b\x30\x81\x08\xa1\x04\x02\x02\x01\0\x05\0\0\x05hello",
        "oneway": b"BE\x03\0\x0b\x30\x81\x08\xa1\x04\x02\x02\x01\0\x05\0\0\x08a.B go x",
    },
    "receipted": {
        "request": b"\x01receipt:call-1f\nz:y\n\n\x00\x00\x0ca.B go hello",
        "response": b"\x02receipt:own\nreceipt-id:call-1f\n\n\x00\x00\x05hello",
        "oneway": b"\x03receipt:call-1f\nz:y\n\n\x00\x00\x08a.B go x",
    },
    "related": {
        "request": b'RE\x01\n{"id":"a"}\x00\x00\x00\x0e\x00\x02\x00{}a.B go hellob\xdc\x13^',
        "response": b'RE\x02\x02{}\x00\x00\x00\x0f\x00\n\x00{"re":"a"}hello\x8cC\xca0',
        "oneway": b'RE\x03\n{"id":"a"}\x00\x00\x00\n\x00\x02\x00{}a.B go xd\x19\xf8\xc0',
    },
    "own": {
        "request": b"\x01\x03abc\0\0\x0ca.B go hello",
        "response": b"\x02\x03abc\0\0\x05hello",
        "oneway": b"\x03\x03abc\0\0\x08a.B go x",
    },
}


# Where an id is no field: what else stands around it.
AROUND = {
    "keyed": {"head": b"\1a\0\1b"},
    "headed": {"head": b"server: x"},
    "correlated": {"meta": b"\x12\x02\x08\x01"},
    "enveloped": {"meta": b"\x10\x05"},
    "tagged": {"head": b"\x01\x02\x00xy\x07\x04\x00\x02\x01\x00z"},
    "quoted": {"head": b'{ "z": [1, {"id":5}], "a" : {"b":0} }'},
    "numbered": {"head": b' {"z": "id"}'},
    "told": {"head": b"x: y\r\nlength:2 ", "meta": b"{}"},
    "packed": {"head": b"\x93\x01\xc0\xa1x"},
    "encoded": {"head": b"\x30\x04\xa1\x00\x05\x00"},
    "receipted": {"head": b"z:y"},
    "related": {"head": b'{"z": 1}', "meta": b'{"id": 7}'},
}


# Where no id is put in what has none: the same with one.
WITH_ROOM = {"encoded": {"head": b"\x30\x07\xa1\x03\x02\x01\x00\x05\x00"}}


def with_id(wire: WireFormat, name: str, made: dict[str, Any], request_id: bytes | None) -> dict[str, Any]:
    """A frame's values with an id, wherever that stands."""
    named = wire.meaning.named
    if name in AROUND:
        made = made | AROUND[name]
    if request_id is None:
        return made
    made = made | WITH_ROOM.get(name, {})
    if named.view is None:
        return made | {"id": named.field(request_id)}
    named.of(answers=made["kind"] in {2, 5}).put(made, request_id)
    return made


def golden(name: str) -> list[Golden]:
    found = [Golden(kind, data, expect={"kind": kind}) for kind, data in VECTORS[name].items()]
    if name == "hexed":
        says = {"kind": "response", "status": "NO_SERVICE", "text": "none"}
        found.append(Golden("error", b"HX\x02DEADBEEF00000007\x02\0\x04none", expect=says))
    return found
