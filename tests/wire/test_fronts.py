"""Frames that are told by their front: which they are; the program, the reference and edits agree."""

import struct

import pytest
from construct import (
    Array,
    Bytes,
    Check,
    If,
    IfThenElse,
    Int8ub,
    Int16ub,
    Int32ub,
    Rebuild,
    Struct,
    len_,
    this,
)
from programs import HEADER

from protokit import WireFormat, native
from protokit.errors import DeclarationError
from protokit.testing.fronts import check_front
from protokit.wire import Chunks, ErrorText, FromRequest, Replies, Until, asked, crc32, lengths, pairs, text

HEAD = ("kind" / Int8ub, "id" / Int16ub, "n" / Rebuild(Int8ub, len_(this.name)), "name" / Bytes(this.n))
BODY = ("size" / Rebuild(Int16ub, len_(this.body)), "body" / Bytes(this.size))
REPLY = {"kind": 1, "name": b"", "body": ErrorText()}


def declared(*fields, reply=REPLY, **meaning):
    meaning = {"id": this.id, "response": this.kind == 1, "service": text(this.name)} | meaning
    wire = WireFormat(Struct(*fields), replies=Replies(error=lambda status, variant: reply), **meaning)
    wire.name = "fronts"
    return wire


def fronts(wire, **values):
    frame = native.sent_by("client", wire.build({"kind": 0, "id": 7, "name": b"svc"} | values))
    return check_front(wire, frame, range(1, len(frame)))


def test_a_frame_is_told_by_its_front_alone():
    wire = declared(*HEAD, *BODY)
    assert wire.open_sections == (("body",),)
    assert fronts(wire, body=b"b" * 50) == 50
    assert fronts(wire, body=b"b") == 1
    assert fronts(wire, body=b"") == 0
    assert fronts(wire, kind=1, body=b"b" * 50) == 50


def test_headers_in_front_are_edited():
    more = ("map_n" / Rebuild(Int8ub, len_(this.map)), "map" / Bytes(this.map_n))
    wire = declared(*HEAD, *more, *BODY, headers=pairs(this.map, Int8ub, Int8ub), reply=REPLY | {"map": b""})
    assert fronts(wire, map=b"\1k\1v", body=b"b" * 50) == 50


def test_sections_one_behind_the_other():
    """The last one that has bytes is what may be missing."""
    wire = declared(
        *HEAD,
        "count" / Int8ub,
        "lens" / Rebuild(Array(this.count, Int8ub), lengths(this.parts)),
        *(BODY[:1]),
        "parts" / Chunks(this.lens),
        BODY[1],
        reply=REPLY | {"count": 0, "parts": []},
    )
    assert wire.open_sections == (("body",), ("parts",))
    assert fronts(wire, count=2, parts=[b"one", b"two"], body=b"body") == 4
    assert fronts(wire, count=2, parts=[b"one", b"two"], body=b"") == 6


def test_in_branches():
    """A checksum behind it that is not there leaves it at the end."""
    wire = declared(
        *HEAD,
        *BODY,
        "crc" / If(this.kind == 2, Bytes(4)),
        Check(this.kind <= 2),
    )
    assert wire.open_sections == (("body",),)
    assert fronts(wire, body=b"b" * 50) == 50
    assert fronts(wire, kind=2, body=b"b" * 50, crc=b"abcd") == 0
    either = declared(*HEAD, BODY[0], "body" / IfThenElse(this.kind == 2, Bytes(this.size), Bytes(this.size)))
    assert fronts(either, body=b"b" * 50) == fronts(either, kind=2, body=b"b" * 50) == 50


WHOLE = {
    "a view of it": (BODY, {"method": text(this.body)}),
    "it is repeated": (BODY, {"reply": REPLY | {"name": FromRequest(this.body)}}),
    "something stands behind it": ((*BODY, "end" / Int8ub), {"reply": REPLY | {"end": 0}}),
    "a delimiter ends it": (("body" / Until(b"\n", max=99),), {}),
    "what stands behind it may be empty": (
        (*BODY[:1], "m" / Rebuild(Int8ub, len_(this.map)), BODY[1], "map" / Bytes(this.m)),
        {"headers": pairs(this.map, Int8ub, Int8ub), "reply": REPLY | {"map": b""}},
    ),
    "an argument": (
        BODY,
        {"arguments": (text(this.body),)},
    ),
    "what was asked says what it means": (BODY, {"app_error": asked(this.kind) == 3}),
}


@pytest.mark.parametrize("why", WHOLE)
def test_others_are_whole(why):
    fields, meaning = WHOLE[why]
    wire = declared(*HEAD, *fields, **meaning)
    assert not wire.open_sections
    more = {one.name: 0 for one in fields if one.name == "end"}
    more |= {"map": b""} if any(one.name == "map" for one in fields) else {}
    assert fronts(wire, body=b"b" * 50, **more) == 0


def test_a_checksum_in_front_is_verified():
    more = ("sum" / Int32ub,)
    wire = declared(*more, *HEAD, *BODY, checksum=crc32(this.sum, over=[this.name]))
    assert fronts(wire, body=b"b" * 50) == 50
    over = declared(*more, *HEAD, *BODY, checksum=crc32(this.sum, over=[this.body]))
    assert not over.open_sections
    assert fronts(over, body=b"b" * 50) == 0


def test_a_program_that_looks_into_what_has_not_come_is_refused():
    wire = declared("sum" / Int32ub, *HEAD, *BODY, checksum=crc32(this.sum, over=[this.body]))
    image = bytearray(wire.image("fronts"))
    native.declared(bytes(image))
    struct.pack_into("=I", image, HEADER["opens"], 0)  # what checksums are of is open, too
    with pytest.raises(DeclarationError, match="nothing was to look into"):
        native.declared(bytes(image))
