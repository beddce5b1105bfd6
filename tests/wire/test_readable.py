"""Sections that cannot be read (compressed, encrypted): views find nothing there, and nothing is harmed."""

from __future__ import annotations

import zlib

import pytest
from construct import Bytes, BytesInteger, Const, If, Int8ub, Int32ub, Rebuild, Struct, len_, this
from programs import insns, with_insns

from protokit import Protocol, Status, native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.testing import Golden, conformance
from protokit.wire import ErrorText, FromRequest, Replies, WireFormat, crc32, first, lines, protobuf, table


def folded(**more) -> Protocol:
    """A name in front, and a body that a flag may say to be compressed."""
    given = {
        "service": this.name,
        "method": first(lines(this.body, "=", ";")["method"], "folded"),
        "headers": lines(this.body, "=", ";"),
        "readable": (this.body, this.codec == 0),
    }
    wire = WireFormat(
        Struct(
            Const(b"FO"),
            "kind" / Int8ub,
            "codec" / Int8ub,
            "id" / Int32ub,
            "length" / Rebuild(Int8ub, len_(this.name)),
            "size" / Rebuild(BytesInteger(3), len_(this.body)),
            "name" / Bytes(this.length),
            "body" / Bytes(this.size),
            "crc" / If(this.kind & 16, Int32ub),
        ),
        id=this.id,
        response=(this.kind & 15) == 2,
        oneway=(this.kind & 15) == 1,
        status=table(this.name, {"ok": Status.OK}, Status.INTERNAL) if "app_error" not in more else None,
        checksum=crc32(this.crc, over=[this.body]),
        replies=Replies(
            error=lambda status, variant: {
                "kind": 2,
                "codec": 0,
                "name": FromRequest(this.name),
                "body": [b"why=", ErrorText(), b";"],
            }
        ),
        **{**given, **more},
    )
    return Protocol("folded", wire)


def frame(kind: int, codec: int, name: bytes, body: bytes, number: int = 0x01020304) -> bytes:
    front = b"FO" + bytes([kind, codec]) + number.to_bytes(4, "big") + bytes([len(name)])
    sealed = zlib.crc32(body).to_bytes(4, "big") if kind & 16 else b""
    return front + len(body).to_bytes(3, "big") + name + body + sealed


PLAIN = frame(0, 0, b"a.B", b"method=go;x=1;")
PACKED = frame(16, 1, b"a.B", zlib.compress(b"method=go;x=1;"))
JUNK = [b"", b"method=no;x=2;", b"\xff" * 40, b"=;=;", b";;;"]
VECTORS = [
    Golden("plain", PLAIN),
    Golden("packed", PACKED),
    Golden("note", frame(1, 0, b"a.B", b"x=1;")),
    Golden("packed note", frame(17, 1, b"a.B", zlib.compress(b"x=1;"))),
    Golden("said", frame(2, 0, b"ok", b"y=1;")),
    Golden("packed answer", frame(18, 1, b"ok", zlib.compress(b"y=1;"))),
    Golden("failed", frame(2, 0, b"a.B", b"why=none;")),
]

TestFolded = conformance(folded(), golden=VECTORS, examples=60)


@pytest.mark.parametrize("shapes", [True, False])
@pytest.mark.parametrize("body", JUNK)
def test_what_cannot_be_read_is_not_there_and_the_rest_is(body, shapes):
    address = native.declared(folded().wire.image("folded", shapes=shapes))
    for kind in (0, 16):
        asked = native.request(address, frame(kind, 1, b"a.B", body))
        assert (asked.service, asked.method, dict(asked.headers)) == ("a.B", "folded", {})
        assert folded().wire.message(frame(kind, 1, b"a.B", body)).method == "folded"
    said = native.request(address, PLAIN)
    assert (said.method, dict(said.headers)) == ("go", {"method": "go", "x": "1"})
    assert not native.headers(address, frame(2, 1, b"ok", b"y=1;"))
    assert dict(native.headers(address, frame(2, 0, b"ok", b"y=1;"))) == {"y": "1"}
    assert native.header(address, frame(2, 1, b"ok", b"y=1;"), "y") is None


def test_a_body_that_no_step_can_read_is_no_bad_request_where_it_cannot_be_read():
    wire = folded(method=protobuf(this.body)[1], headers=None).wire
    with pytest.raises(RemoteProtocolError):
        native.request(wire.address, frame(0, 0, b"a.B", b"\xff\xff"))
    asked = native.request(wire.address, frame(0, 1, b"a.B", b"\xff\xff"))
    assert (asked.service, asked.method) == ("a.B", "")


def test_changes_are_refused_where_they_would_go_into_it():
    wire = folded().wire
    with pytest.raises(LocalProtocolError):
        wire.edit(PACKED, [(native.EDIT_HEADER, "x", "2")])
    inside = folded(method=protobuf(this.body)[1], headers=None).wire
    with pytest.raises(LocalProtocolError):
        inside.edit(PACKED, [(native.EDIT_METHOD, "", "stop")])
    changed = wire.edit(PACKED, [(native.EDIT_SERVICE, "", "other")])
    assert changed == frame(16, 1, b"other", zlib.compress(b"method=go;x=1;"))
    assert native.frame(wire.address, changed).result == 0
    assert wire.edit(PLAIN, [(native.EDIT_HEADER, "x", "2")]) == frame(0, 0, b"a.B", b"method=go;x=2;")


def test_an_id_is_rewritten_and_its_checksum_stays_right():
    """The checksum is over what cannot be read."""
    wire = folded().wire
    changed = native.patch_id(wire.address, PACKED, 9)
    assert changed == frame(16, 1, b"a.B", zlib.compress(b"method=go;x=1;"), 9)
    assert native.frame(wire.address, changed).result == 0


def test_an_answer_whose_outcome_stands_in_it_is_taken_as_its_status_says():
    wire = folded(app_error=lines(this.body, "=", ";")["failed"] == "true").wire
    for codec, status in ((0, Status.APP_ERROR), (1, Status.OK)):
        data = frame(2, codec, b"ok", b"failed=true;")
        assert native.frame(wire.address, data).status == status
        assert wire.message(data).status == status


@pytest.mark.parametrize(
    ("readable", "why"),
    [
        (this.body, r"write readable=\(this.body, this.codec == 0\)"),
        ((this.codec, this.codec == 0), "readable: codec is no section"),
        ((this.body, lines(this.name, "=", ";")["x"] == "1"), "told by fields"),
    ],
)
def test_wrong_declarations_are_told(readable, why):
    with pytest.raises(DeclarationError, match=why):
        folded(readable=readable)


@pytest.mark.parametrize("operand", [2, 3])
def test_whether_it_can_be_read_is_told_by_what_was_read(operand):
    """A program whose condition, or section, some path has not written is refused."""
    image = folded().wire.image("folded")
    changed = insns(image)
    one = next(one for one in changed if one[0] == "READABLE")
    one[operand] = 250
    with pytest.raises(
        DeclarationError, match=r"\(READABLE\): register 250 is read, which some path has not"
    ):
        native.declared(with_insns(image, changed))
