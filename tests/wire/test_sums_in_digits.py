"""Checksums that are written in decimal digits, behind a label that they do not cover."""

from __future__ import annotations

from functools import partial

import pytest
from construct import Bytes, Const, If, Int8ub, Int16ub, Int32ub, Rebuild, Struct, len_, this

from protokit import Status, WireFormat, native
from protokit.errors import DeclarationError, RemoteProtocolError
from protokit.wire import (
    ErrorText,
    Replies,
    Until,
    adler32,
    byte_id,
    crc16,
    crc32,
    crc32c,
    number,
    sum8,
    sum16,
    sum32,
)

SUMS = {
    "sum8": (sum8, 3),
    "sum8 in four": (sum8, 4),
    "sum16": (sum16, 5),
    "arc": (crc16, 5),
    "x25": (partial(crc16, variant="x25"), 6),
    "sum32": (sum32, 10),
    "crc32": (crc32, 10),
    "crc32c": (crc32c, 10),
    "adler32": (adler32, 10),
}


def fixed(name):
    """Sections with lengths, an id of fixed width, and the sum at the end or in one branch in the middle."""
    make, digits = SUMS[name]
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "id" / Int16ub,
            "inner" / If(this.kind >= 2, Bytes(digits)),
            "size" / Rebuild(Int16ub, len_(this.body)),
            "body" / Bytes(this.size),
            Const(b"sum="),
            "sum" / Bytes(digits),
            Const(b"!"),
        ),
        id=this.id,
        response=this.kind == 2,
        checksum=[
            make(this.sum, over="before", digits=digits, skip=4),
            make(this.inner, over=[this.body], digits=digits),
        ],
        service=this.body,
        replies=Replies(error=lambda *_: {"kind": 2, "body": ErrorText()}),
    )


def written():
    """Texts: a length in digits, an id between delimiters, and the sum."""
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "id" / Until(b";", max=20),
            "size" / Until(b";", max=6),
            "body" / Bytes(number(this.size)),
            Const(b";"),
            "sum" / Bytes(3),
        ),
        id=byte_id(this.id),
        response=this.kind == 2,
        checksum=sum8(this.sum, over="before", digits=3, skip=1),
        service=this.body,
        replies=Replies(error=lambda *_: {"kind": 2, "body": ErrorText()}),
    )


def same(one, frame):
    """Engine and reference read it alike, and with a bit changed anywhere."""
    assert native.frame(one.address, frame).result == 0
    assert one.parse(frame)[1] == len(frame)
    for at in range(len(frame)):
        wrong = frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]
        try:
            accepted = one.parse(wrong)[1] == len(wrong)
        except (RemoteProtocolError, EOFError):
            accepted = False
        message = native.frame(one.address, wrong)
        assert (message.result == 0 and message.size == len(wrong)) == accepted
        assert not accepted, at


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("kind", [1, 2])
def test_engine_and_reference_have_the_same_digits(name, kind):
    one = fixed(name)
    make, digits = SUMS[name]
    of = make(this.sum, over="before").sum.of
    for body in (b"", b"b", b"\xff" * 300):
        frame = one.build({"kind": kind, "id": 7, "body": body})
        assert frame[-digits - 1 : -1] == b"%0*d" % (digits, of([frame[: -digits - 5]]))
        if kind == 2:
            assert frame[3 : 3 + digits] == b"%0*d" % (digits, of([body]))
        changed = native.patch_id(one.address, frame, 0xFFFF)
        assert changed == one.build({"kind": kind, "id": 0xFFFF, "body": body})
    same(one, one.build({"kind": kind, "id": 7, "body": b"body"}))


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("text", [b"", b"why", b"t" * 300])
def test_an_error_has_the_right_digits(name, text):
    one = fixed(name)
    reply = one.ask.error(Status.INTERNAL, 7, 0, text)
    assert one.message(reply).fields.body == text
    assert reply == one.build({"kind": 2, "id": 7, "body": text})


@pytest.mark.parametrize("size", [0, 9, 10, 99, 100])
def test_digits_follow_an_id_and_a_length_in_digits(size):
    one = written()
    frame = one.build({"kind": 1, "id": b"abc", "body": b"b" * size})
    assert frame[-3:] == b"%03d" % (sum(frame[:-4]) % 256)
    for other in (b"a", b"0123456789", b"\xff"):
        assert native.patch_id(one.address, frame, other) == one.build(
            {"kind": 1, "id": other, "body": b"b" * size}
        )
    changed = one.edit(frame, [(native.EDIT_SERVICE, "", "another service")])
    assert changed == one.build({"kind": 1, "id": b"abc", "body": b"another service"})
    if size < 20:
        same(one, frame)


@pytest.mark.parametrize("wrong", [b"0 7", b"+07", b"7  ", b"  7", b"\x0007"])
def test_only_digits_with_zeros_in_front_are_right(wrong):
    one = written()
    start = next(
        body
        for n in range(256)
        if (body := one.build({"kind": 1, "id": b"", "body": bytes([n])})[:-3]) and sum(body[:-1]) % 256 == 7
    )
    assert native.frame(one.address, start + b"007").result == 0
    assert native.frame(one.address, start + wrong).result == -2
    with pytest.raises(RemoteProtocolError, match=r"the checksum is '.*', '007' was expected \(sum8\)"):
        one.parse(start + wrong)


def test_what_is_left_out_may_be_more_than_there_is():
    one = WireFormat(
        Struct("kind" / Int8ub, "sum" / Int8ub, "id" / Int8ub, "body" / Bytes(this.id)),
        id=this.id,
        response=this.kind == 1,
        checksum=sum8(this.sum, over="before", skip=3),
        replies=Replies(error=None),
    )
    frame = one.build({"kind": 9, "id": 0, "body": b""})
    assert frame == b"\x09\0\0"
    assert native.frame(one.address, frame).result == 0
    assert native.frame(one.address, b"\x09\x09\0").result == -2


def test_an_integer_may_have_a_label_in_front_too():
    one = WireFormat(
        Struct(
            "kind" / Int8ub,
            "id" / Int8ub,
            "n" / Int8ub,
            "body" / Bytes(this.n),
            Const(b"CRC"),
            "crc" / Int32ub,
        ),
        id=this.id,
        response=this.kind == 1,
        checksum=crc32(this.crc, over="before", skip=3),
        replies=Replies(error=lambda *_: {"kind": 1, "n": 2, "body": b"no"}),
    )
    frame = one.build({"kind": 0, "id": 7, "n": 2, "body": b"ab"})
    assert frame[-4:] == SUMS["crc32"][0](this.x, over="before").sum.of([frame[:-7]]).to_bytes(4, "big")
    same(one, frame)
    assert native.patch_id(one.address, frame, 9) == one.build({"kind": 0, "id": 9, "n": 2, "body": b"ab"})


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: sum8(this.sum, over="before", digits=2), "sum8: digits=2 was given; 3 to 10 hold it"),
        (lambda: crc32(this.sum, over="before", digits=11), "crc32: digits=11 was given; 10 hold it"),
        (
            lambda: sum8(this.sum, over=[this.body], skip=1),
            "sum8: skip=1 was given; it is 0 to 255 bytes, where over is 'before'",
        ),
        (
            lambda: sum8(this.sum, over="before", skip=-1),
            "sum8: skip=-1 was given; it is 0 to 255 bytes",
        ),
    ],
)
def test_what_is_no_checksum_in_digits_says_why(make, why):
    with pytest.raises(DeclarationError, match=why):
        make()


@pytest.mark.parametrize(
    ("field", "checksum", "why"),
    [
        (
            Bytes(4),
            {"digits": 3},
            r"checksum sum8\(this.sum\): 3 digits stand in a section of that size: Bytes\(3\)",
        ),
        (
            Until(b";", max=3),
            {"digits": 3},
            r"checksum sum8\(this.sum\): 3 digits stand in a section of that size: Bytes\(3\)",
        ),
        (
            Bytes(this.kind),
            {"digits": 3},
            r"checksum sum8\(this.sum\): 3 digits stand in a section of that size: Bytes\(3\)",
        ),
        (Int32ub, {"digits": 4}, r"checksum sum8\(this.sum\): this.sum is an integer"),
        (Bytes(1), {}, r"checksum sum8\(this.sum\): this.sum is a section"),
    ],
)
def test_digits_stand_in_a_section_of_their_size(field, checksum, why):
    with pytest.raises(DeclarationError, match=why):
        WireFormat(
            Struct("kind" / Int8ub, "id" / Int8ub, "sum" / field),
            id=this.id,
            response=this.kind == 1,
            checksum=sum8(this.sum, over="before", **checksum),
            replies=Replies(error=None),
        )
