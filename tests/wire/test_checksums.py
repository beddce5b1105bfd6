"""Checksums by name: as the catalogues have them, by engine and reference, over what was rewritten too."""

from __future__ import annotations

from functools import cache, partial

import pytest
from construct import (
    Bytes,
    GreedyBytes,
    If,
    Int8ub,
    Int16ub,
    Int16ul,
    Int32ub,
    Int32ul,
    Prefixed,
    Struct,
    this,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from protokit import Status, WireFormat, native
from protokit.errors import DeclarationError, RemoteProtocolError
from protokit.wire import (
    ErrorText,
    Replies,
    UVar,
    adler32,
    crc16,
    crc32,
    crc32c,
    sum8,
    sum16,
    sum32,
)

# Of b"123456789", as the catalogues of checksums say it.
SUMS = {
    "crc32": (crc32, Int32ub, 0xCBF43926),
    "crc32c": (crc32c, Int32ul, 0xE3069283),
    "adler32": (adler32, Int32ub, 0x091E01DE),
    "sum8": (sum8, Int8ub, 0xDD),
    "sum16": (sum16, Int16ub, 0x01DD),
    "sum32": (sum32, Int32ul, 0x01DD),
    "arc": (crc16, Int16ub, 0xBB3D),
    "modbus": (partial(crc16, variant="modbus"), Int16ul, 0x4B37),
    "kermit": (partial(crc16, variant="kermit"), Int16ub, 0x2189),
    "x25": (partial(crc16, variant="x25"), Int16ub, 0x906E),
    "xmodem": (partial(crc16, variant="xmodem"), Int16ub, 0x31C3),
    "ccitt-false": (partial(crc16, variant="ccitt-false"), Int16ub, 0x29B1),
}


@cache
def wire(name, over="before"):
    make, field, _ = SUMS[name]
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "crc" / If(this.kind == 3, field) if over == "sections" else "front" / Bytes(0),
            "id" / UVar(10),
            "head" / Prefixed(Int8ub, GreedyBytes),
            "body" / Prefixed(Int16ub, GreedyBytes),
            "sum" / field,
        ),
        id=this.id,
        response=this.kind == 2,
        checksum=[make(this.sum, over="before"), make(this.crc, over=[this.body, this.head])]
        if over == "sections"
        else make(this.sum, over="before"),
        replies=Replies(
            error=lambda status, variant: (
                {"kind": 2, "head": b"h", "body": ErrorText()}
                | ({} if over == "sections" else {"front": b""})
            )
        ),
    )


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_is_what_the_catalogues_say(name):
    make, field, expected = SUMS[name]
    found = make(this.sum, over="before").sum
    assert found.of([b"123456789"]) == found.of([b"1234", b"", b"56789"]) == expected
    assert found.width == field.sizeof()
    assert found.of([]) == found.of([b""])


VALUES = st.tuples(
    st.integers(1, 3), st.integers(0, 2**64 - 1), st.binary(max_size=40), st.binary(max_size=300)
)


def same_sum(one, values, other, places):
    """Engine and reference agree on that frame, with another id, and with a bit changed at each place."""
    kind, number, head, body = values
    given = {"kind": kind, "front": b"", "head": head, "body": body}
    frame = one.build({**given, "id": number})
    assert native.frame(one.address, frame).result == 0
    changed = native.patch_id(one.address, frame, other)
    assert changed == one.build({**given, "id": other})
    for at in places(frame):
        wrong = frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]
        try:
            accepted = one.parse(wrong)[1] == len(wrong)
        except (RemoteProtocolError, EOFError):
            accepted = False
        message = native.frame(one.address, wrong)
        assert (message.result == 0 and message.size == len(wrong)) == accepted


@pytest.mark.parametrize("over", ["before", "sections"])
@pytest.mark.parametrize("name", SUMS)
def test_engine_and_reference_have_the_same_sum(name, over):
    one = wire(name, over)
    for kind in (1, 2, 3):
        for head, body in ((b"", b""), (b"h", b""), (b"", b"b"), (b"head", b"body" * 50)):
            same_sum(one, (kind, 7, head, body), 2**64 - 1, lambda _: ())
            same_sum(one, (kind, 2**64 - 1, head, body), 7, lambda _: ())
        same_sum(one, (kind, 300, b"head", b"body"), 301, lambda frame: range(len(frame)))


@pytest.mark.parametrize("over", ["before", "sections"])
@pytest.mark.parametrize("name", SUMS)
def test_engine_and_reference_have_the_same_sum_of_any_sections(name, over):
    one = wire(name, over)

    @settings(max_examples=40, deadline=None, database=None)
    @given(VALUES, st.integers(0, 2**64 - 1), st.data())
    def agree(values, other, data):
        same_sum(one, values, other, lambda frame: [data.draw(st.integers(0, len(frame) - 1))])

    agree()
    reply = native.error(one.address, Status.DENIED, b"\x07", 0, b"no")
    assert one.message(reply).fields.body == b"no"


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_of_much_does_not_overflow(name):
    one = wire(name)
    frame = one.build({"kind": 1, "front": b"", "id": 1, "head": b"\xff" * 255, "body": b"\xff" * 65535})
    assert native.frame(one.address, frame).result == 0
    wrong = frame[:400] + b"\xfe" + frame[401:]
    assert native.frame(one.address, wrong).result == -2
    with pytest.raises(RemoteProtocolError, match="the checksum is .* was expected"):
        one.parse(wrong)


def test_what_is_no_checksum_says_why():
    with pytest.raises(DeclarationError, match="crc16: the variant 'usb' is none of arc, modbus, kermit"):
        crc16(this.sum, over="before", variant="usb")
    with pytest.raises(DeclarationError, match="over='all' was given; it is 'before' or a list of sections"):
        crc32c(this.sum, over="all")
    with pytest.raises(
        DeclarationError,
        match=r"checksum crc32c\(this.sum\): this.sum has 2 bytes, and a crc32c",
    ):
        WireFormat(
            Struct("kind" / Int8ub, "id" / Int8ub, "sum" / Int16ub),
            id=this.id,
            response=this.kind == 2,
            checksum=crc32c(this.sum, over="before"),
            replies=Replies(error=lambda status, variant: {"kind": 2}),
        )
