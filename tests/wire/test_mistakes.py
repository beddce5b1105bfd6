"""Mistakes of one who has read the docs: words that are right by themselves and wrong together."""

from __future__ import annotations

import re

import pytest
from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    CString,
    GreedyBytes,
    Int8ub,
    Int16ub,
    Int32ub,
    Optional,
    PascalString,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Protocol, Status, WireFormat
from protokit.errors import DeclarationError
from protokit.wire import (
    Counted,
    ErrorText,
    FromRequest,
    Measured,
    Replies,
    blocks,
    crc32,
    json,
    msgpack_value,
    protobuf,
    starts,
    sum8,
    table,
    thrift,
    tlv,
)

BODY = ["kind" / Int8ub, "id" / Int32ub, "body" / Prefixed(Int16ub, GreedyBytes)]
SUMMED = [*BODY, "crc" / Int32ub]
COUNTED = ["kind" / Int8ub, "id" / Int32ub, "n" / Int8ub]


def declared(*fields, values=None, **meaning):
    values = {"kind": 2, "body": ErrorText()} if values is None else values
    given = {"id": this.id, "response": this.kind == 2, "replies": Replies(error=lambda *_: values)} | meaning
    return WireFormat(Struct(*fields), **given)


def replying(**values):
    """Kinds: 2 answer, 4 ping, 5 pong, 6 drain."""
    made = {"error": 2, "heartbeat": 4, "ack": 5, "drain": 6} | values
    replies = {
        name: lambda *_, kind=kind: {"kind": kind, "body": b""}
        for name, kind in made.items()
        if kind is not None
    }
    return declared(
        *BODY,
        response=(this.kind == 2) | (this.kind == 5),
        heartbeat=(this.kind == 4) | (this.kind == 5),
        drain=this.kind == 6,
        replies=Replies(**replies),
    )


ALONE = "it may be anything; texts are bytes, which views read:"
WRONG = {
    "a checksum of a section that is not there": (
        lambda: declared(*SUMMED, checksum=crc32(this.crc, over=[this.nope])),
        "checksum crc32(this.crc): nope is no section of the format; there are body",
    ),
    "a checksum of an integer": (
        lambda: declared(*SUMMED, checksum=crc32(this.crc, over=[this.kind])),
        "checksum crc32(this.crc): this.kind is an integer (1 bytes), and ",
    ),
    "a checksum in a field that is not there": (
        lambda: declared(*BODY, checksum=[crc32(this.crc, over="before")]),
        "checksum crc32(this.crc): crc is no integer of the format; there are kind, id",
    ),
    "a checksum in a section": (
        lambda: declared(*BODY, "crc" / Bytes(4), checksum=crc32(this.crc, over="before")),
        "checksum crc32(this.crc): this.crc is a section of bytes, and an integer of fixed width is needed",
    ),
    "a checksum in a field that is too narrow": (
        lambda: declared(*BODY, "crc" / Int16ub, checksum=crc32(this.crc, over="before")),
        "checksum crc32(this.crc): this.crc has 2 bytes, and a crc32 is an integer of 4",
    ),
    "digits of a checksum in too few bytes": (
        lambda: declared(*BODY, "sum" / Bytes(2), checksum=sum8(this.sum, over="before", digits=3)),
        "checksum sum8(this.sum): ",
    ),
    "two checksums in one field": (
        lambda: declared(
            *SUMMED, checksum=[crc32(this.crc, over="before"), crc32(this.crc, over=[this.body])]
        ),
        "checksum crc32(this.crc): this.crc holds another one; each has a field of its own",
    ),
    "a checksum in the id": (
        lambda: declared(*BODY, checksum=crc32(this.id, over=[this.body])),
        "checksum crc32(this.id): this.id is the id; a checksum has a field of its own",
    ),
    "headers that are a section": (
        lambda: declared(*BODY, headers=this.body),
        (
            "headers: this.body is no map: write pairs(...), lines(...), or a map in a structure: "
            "protobuf(this.meta)[8], tlv(this.meta, ..., names={...}), msgpack(this.meta), json(this.meta), "
            "thrift(this.meta, 'compact')[3], blocks(this.meta, ...)[1]"
        ),
    ),
    "a name for a field of protobuf": (
        lambda: declared(*BODY, service=protobuf(this.body)["name"]),
        "protobuf: 'name' is no number of a field; a message has numbers from 1 to 536870911",
    ),
    "a field 0 of protobuf": (
        lambda: declared(*BODY, service=protobuf(this.body)[0]),
        "protobuf: 0 is no number of a field; a message has",
    ),
    "a field of protobuf that is too high": (
        lambda: declared(*BODY, service=protobuf(this.body)[1 << 29]),
        "protobuf: 536870912 is no number of a field; a message has numbers from 1 to 536870911",
    ),
    "a name for a field of thrift": (
        lambda: declared(*BODY, service=thrift(this.body, "binary")["name"]),
        "thrift: 'name' is no id of a field; a struct has ids from -32768 to 32767",
    ),
    "a name for a tag": (
        lambda: declared(*BODY, service=tlv(this.body, tag=Int8ub, length=Int8ub)["a"]),
        "tlv: 'a' is no tag; they are numbers, here of 1 bytes",
    ),
    "a tag that is too wide": (
        lambda: declared(*BODY, service=tlv(this.body, tag=Int8ub, length=Int8ub)[256]),
        "tlv: 256 is no tag; they are numbers, here of 1 bytes",
    ),
    "a place from the end of an array": (
        lambda: declared(*BODY, service=json(this.body)[-1]),
        "json: -1 is no place; arrays are counted from 0",
    ),
    "a type of blocks from the end": (
        lambda: declared(*BODY, service=blocks(this.body, align=4, front=2)[-1]["key"]),
        "blocks: -1 is no type of a block",
    ),
    "an error that is a request": (
        lambda: replying(error=1),
        "the error reply of NO_SERVICE is read as a request, not as a response: give values for which",
    ),
    "an error that is a heartbeat": (
        lambda: replying(error=4),
        "the error reply of NO_SERVICE is read as a heartbeat, not as a response: give values for which",
    ),
    "a heartbeat that is a request": (
        lambda: replying(heartbeat=1),
        "replies.heartbeat is read as a request, not as a heartbeat: give values for which heartbeat= holds",
    ),
    "a heartbeat that is its answer": (
        lambda: replying(heartbeat=5),
        "replies.heartbeat is read as a heartbeat_ack, not as a heartbeat: give values for which heartbeat=",
    ),
    "an ack that is a heartbeat": (
        lambda: replying(ack=4),
        "replies.ack is read as a heartbeat, not as a heartbeat_ack: give values for which heartbeat= and",
    ),
    "a drain that is a request": (
        lambda: replying(drain=1),
        "replies.drain is read as a request, not as a drain: give values for which drain= holds",
    ),
    "a length of a section that is not there": (
        lambda: declared(
            "kind" / Int8ub, "id" / Int32ub, "n" / Rebuild(Int8ub, len_(this.bdy)), "body" / Bytes(this.n)
        ),
        "n: Rebuild counts this.bdy, and no such field is there; there are kind, id, n, body",
    ),
    "a product of fields": (
        lambda: declared(*COUNTED, "body" / Bytes(this.n * this.kind)),
        "body: (n * kind) multiplies two fields; multiply a field by a constant",
    ),
    "a text with a length in front": (
        lambda: declared(*BODY, "s" / PascalString(Int8ub, "utf8")),
        f"s: StringEncoded is not in the vocabulary: {ALONE} Prefixed(Int8ub, GreedyBytes)",
    ),
    "a text that a zero ends": (
        lambda: declared(*BODY, "s" / CString("utf8")),
        f"s: StringEncoded is not in the vocabulary: {ALONE} Prefixed(Int8ub, GreedyBytes)",
    ),
    "what may be there": (
        lambda: declared(*BODY, "s" / Optional(Int8ub)),
        "s: Select is not in the vocabulary. Say what tells it: If(this.kind == 1, ...), or Switch(",
    ),
    "a field of bits under no name": (
        lambda: declared("kind" / Int8ub, BitStruct("id" / BitsInteger(8)), "body" / Bytes(1)),
        "id: id is no integer of the format; there are kind",
    ),
    "a section of the request for an integer": (
        lambda: declared(*BODY, values={"kind": FromRequest(this.body), "body": b""}),
        "the error reply of NO_SERVICE: kind is an integer, and FromRequest(text(this.body)) a text: write",
    ),
    "a text alone in a measured value": (
        lambda: declared(
            "kind" / Int8ub,
            "id" / Int32ub,
            "body" / Measured(msgpack_value),
            values={"kind": 2, "body": [b"\x91", ErrorText()]},
        ),
        r"cannot be built: body: b'\x91' is not one msgpack_value, which it has to be with whatever text",
    ),
    "a value below 0 where none can be": (
        lambda: declared(*BODY, values={"kind": -1, "body": b""}),
        "kind: -1 does not fit an integer of 1 bytes from 0 on",
    ),
    "a section that its length cannot count": (
        lambda: declared(
            *BODY, "x" / Prefixed(Int8ub, GreedyBytes), values={"kind": 2, "body": b"", "x": bytes(300)}
        ),
        "the error reply of NO_SERVICE cannot be built: x: 300 does not fit an integer of 1 bytes from 0 on",
    ),
    "a status of a number": (
        lambda: declared(*BODY, status=table(this.kind, {0: Status.OK, 1: 20}, Status.INTERNAL)),
        "status: table: 20 is no Status; write Status.OK, Status.INTERNAL, ...",
    ),
    "a protocol of a Struct": (
        lambda: Protocol("mail", Struct(*BODY)),
        "mail: a Struct is no codec: write WireFormat(Struct(...), ...), NativeCodec(...) or an object",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_told_by_its_field_and_what_to_write(name):
    make, said = WRONG[name]
    with pytest.raises(DeclarationError, match=re.escape(said)):
        make().check_replies()


def test_replies_that_are_right_are_taken():
    replying().check_replies()
    replying(heartbeat=None, ack=None, drain=None).check_replies()


def test_what_a_request_decides_is_left_to_the_kit():
    """An error of the kind that is one more than its request's."""
    values = {"kind": FromRequest(this.kind + 1), "body": b""}
    declared(*BODY, values=values).check_replies()
    counted = [Counted(Int8ub, Counted(Int8ub, FromRequest(this.body, max=9)))]
    declared(*BODY, values={"kind": 1, "body": counted}, response=starts(this.body, "a")).check_replies()
