"""Error texts are cut, at a character, to what counts or bounds them has room for."""

import pytest
from construct import (
    Bytes,
    Check,
    GreedyBytes,
    Int8sb,
    Int8ub,
    Int16ub,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Protocol, Status, WireFormat, native
from protokit.errors import DeclarationError
from protokit.testing.voices import DeclaredVoice
from protokit.wire import ErrorText, FromRequest, Replies, Until, UVar, byte_id, size_


def made(*fields, text=None, encoding="utf-8", request_id=this.id, **values):
    return WireFormat(
        Struct("kind" / Int8ub, *fields),
        id=request_id,
        response=this.kind == 2,
        service="a.B",
        replies=Replies(
            error=lambda status, variant: {"kind": 2, "text": text or ErrorText(), **values},
            encoding=encoding,
        ),
    )


ID = "id" / Int8ub
NAME = "name" / Prefixed(Int8ub, GreedyBytes)
COUNTED = "text" / Prefixed(Int8ub, GreedyBytes)
WIDE = "text" / Prefixed(Int16ub, GreedyBytes)
TOTAL = (
    "total" / Rebuild(Int8ub, len_(this.id) + len_(this.text)),
    "size" / Rebuild(Int8ub, len_(this.id)),
    "id" / Bytes(this.size),
    "text" / Bytes(this.total - this.size),
)
VARINT = (
    "total" / Rebuild(UVar(1), size_(this.id) + len_(this.text)),
    "id" / UVar(3),
    "text" / Bytes(this.total - size_(this.id)),
)
ROOMS = {
    "a byte counts it": (made(ID, COUNTED), 255),
    "two bytes count it": (made(ID, WIDE), 3072),
    "a signed byte counts it": (made(ID, "text" / Prefixed(Int8sb, GreedyBytes)), 127),
    "a varint of a byte counts it": (made(ID, "text" / Prefixed(UVar(1), GreedyBytes)), 127),
    "a varint of two bytes counts it": (made(ID, "text" / Prefixed(UVar(2), GreedyBytes)), 3072),
    "a count inside": (made(ID, WIDE, text=ErrorText(b"<", b">", count=Int8ub)), 255),
    "a count inside, of units": (made(ID, WIDE, text=ErrorText(count=Int8ub, units=True)), 255),
    "fixed bytes beside it": (made(ID, COUNTED, text=ErrorText(b"<<", b">")), 252),
    "bytes of the request beside it": (
        made(ID, NAME, COUNTED, name=b"", text=[FromRequest(this.name, max=50), b":", ErrorText()]),
        204,
    ),
    "a delimiter within a bound": (made(ID, "text" / Until(b"\r\n", max=40)), 40),
    "a check": (made(ID, COUNTED, Check(len_(this.text) <= 31)), 31),
    "the id counts, too": (made(*TOTAL, request_id=byte_id(this.id, max=36)), 219),
    "a varint id counts, too": (made(*VARINT), 124),
}


@pytest.mark.parametrize("size", [0, 1, 39, 40, 127, 128, 255, 256, 512, 600])
@pytest.mark.parametrize("what", ROOMS)
def test_an_errors_text_is_cut_to_its_room(what, size):
    wire, room = ROOMS[what]
    text = ("0123456789" * 60)[:size]
    longest = {36: b"i" * 36, 3: b"\xff\xff\x7f"}.get(native.id_max(wire.address))
    reply = native.error(wire.address, Status.TIMEOUT, longest or 7, 0, text.encode())
    fields, whole = wire.parse(reply)
    there = text[: min(room, 512)]
    extra = {"a count inside": 3, "a count inside, of units": 1, "fixed bytes beside it": 3}.get(what, 0)
    beside = 1 if what == "bytes of the request beside it" else extra
    assert (whole, native.frame(wire.address, reply).result) == (len(reply), 0)
    assert there.encode() in bytes(fields.text)
    assert len(fields.text) == len(there) + beside
    assert wire.text_rooms == [dict.fromkeys(wire.text_rooms[0], room)]


@pytest.mark.parametrize(
    ("encoding", "character", "bytes_each"),
    [
        ("utf-8", "é", 2),
        ("utf-8", "語", 3),
        ("utf-8", "🚀", 4),
        ("hessian", "🚀", 6),
        ("json", '"', 2),
        ("json", "\1", 6),
        ("json", "語", 3),
    ],
)
@pytest.mark.parametrize("before", range(7))
def test_a_text_is_cut_at_a_character(encoding, character, bytes_each, before):
    wire = made(ID, COUNTED, encoding=encoding)
    text = "x" * before + character * 120
    raw = text.encode()
    reply = native.error(wire.address, Status.TIMEOUT, 7, 0, raw)
    fields, whole = wire.parse(reply)
    there = min((255 - before) // bytes_each, (512 - before) // len(character.encode()), 120)
    assert whole == len(reply)
    assert len(fields.text) == before + there * bytes_each
    if encoding == "utf-8":
        assert fields.text.decode() == text[: before + there]


def test_the_reference_says_the_same():
    wire, _ = ROOMS["a byte counts it"]
    request = wire.build({"kind": 1, "id": 7, "text": b""})
    expected = native.error(wire.address, Status.TIMEOUT, 7, 0, b"y" * 400)
    assert (
        DeclaredVoice(Protocol(name="roomy", wire=wire)).error(Status.TIMEOUT, request, "y" * 400) == expected
    )


def test_a_reply_without_room_for_a_byte_of_it_is_refused():
    with pytest.raises(
        DeclarationError, match="there is no room for a byte of the error's text; use a fixed one"
    ):
        made(ID, NAME, COUNTED, name=b"", text=[FromRequest(this.name, max=55), b":" * 200, ErrorText()])
    with pytest.raises(DeclarationError, match="say how many it may repeat"):
        made(ID, NAME, COUNTED, name=b"", text=[FromRequest(this.name, max=55), b":" * 201, ErrorText()])
