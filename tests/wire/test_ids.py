"""Which sections can be a request's id, and what is said of those that cannot."""

from __future__ import annotations

import pytest
from construct import (
    Array,
    BitsInteger,
    BitStruct,
    Bytes,
    Check,
    GreedyBytes,
    If,
    Int8ub,
    Int16ub,
    Int32ub,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Status, WireFormat, native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire import Chunks, ErrorText, Replies, Until, UVar, byte_id, lengths, size_

BODY = "body" / Prefixed(Int16ub, GreedyBytes)


def wire(*fields, request_id, rest=(), **more):
    there = {field.name for field in fields}
    empty = {name: value for name, value in (("parts", []), ("rest", b"")) if name in there}
    return WireFormat(
        Struct("kind" / Int8ub, *fields, BODY),
        id=request_id,
        response=this.kind == 2,
        replies=Replies(
            error=lambda status, variant: {
                "kind": 2,
                "body": ErrorText(),
                **empty,
                **dict(rest),
            }
        ),
        **more,
    )


@pytest.mark.parametrize(
    ("fields", "request_id", "written"),
    [
        (["id" / Bytes(8)], this.id, b"00000007"),
        (["id" / Bytes(32)], byte_id(this.id, form="hex"), b"0" * 31 + b"7"),
        (["id" / Bytes(3)], byte_id(this.id, form="raw"), b"\0\0\7"),
        (["id" / Bytes(36)], byte_id(this.id, form="uuid"), b"00000000-0000-0000-0000-000000000007"),
        (["id" / Until(b"\0", max=20)], this.id, b"7"),
        (["id" / Prefixed(Int8ub, GreedyBytes)], byte_id(this.id, max=20), b"7"),
        (["id" / Prefixed(UVar(2), GreedyBytes)], byte_id(this.id, max=20, form="hex"), b"7"),
        (["id" / Prefixed(Int8ub, GreedyBytes)], byte_id(this.id, max=9, form="raw"), b"\0\0\0\0\0\0\0\7"),
        (["id" / UVar(2)], this.id, b"\7"),
        (["id" / UVar(10)], byte_id(this.id), b"\7"),
    ],
)
def test_a_section_may_be_the_id(fields, request_id, written):
    one = wire(*fields, request_id=request_id)
    field = one.meaning.named.field(written)
    frame = one.build({"kind": 1, "id": field, "body": b"x"})
    assert native.frame(one.address, frame).id == one.message(frame).id == written
    assert native.write_id(one.address, 7) == written
    assert native.read_id(one.address, written) == 7
    assert native.error(one.address, Status.DENIED, written, 0, b"no") == one.build(
        {"kind": 2, "id": field, "body": b"no"}
    )


VARINTS = [
    (b"\0", 0),
    (b"\x7f", 127),
    (b"\x80\1", 128),
    (b"\xff" * 8 + b"\x7f", 2**63 - 1),
    (b"\x80" * 9 + b"\1", 2**63),
    (b"\xff" * 9 + b"\1", 2**64 - 1),
]
NO_VARINTS = [
    b"\x80\0",
    b"\xff" * 9 + b"\2",
    b"\xff" * 10 + b"\0",
    b"\x80" * 9 + b"\0",
    b"\xff" * 9 + b"\x7f",
]


def counted():
    fields = [
        "total" / Rebuild(Int8ub, size_(this.id) + len_(this.text)),
        "id" / UVar(10),
        "text" / Bytes(this.total - size_(this.id)),
    ]
    return wire(*fields, request_id=this.id, rest={"text": b"t"})


def test_varints_of_64_bits_are_ids_and_what_counts_them_follows():
    one = counted()
    for data, number in VARINTS:
        given = {"kind": 1, "id": number, "text": b"text", "body": b"x"}
        frame = one.build(given)
        assert one.parse(frame)[0].id == number
        assert native.frame(one.address, frame).id == one.message(frame).id == data
        for other, then in VARINTS:
            changed = native.patch_id(one.address, frame, other)
            assert changed == one.build({**given, "id": then})
        reply = native.error(one.address, Status.DENIED, data, 0, b"no")
        assert reply == one.build({"kind": 2, "id": number, "text": b"t", "body": b"no"})


def test_what_is_no_varint_of_64_bits_is_neither_read_nor_written():
    one = counted()
    frame = one.build({"kind": 1, "id": 7, "text": b"text", "body": b"x"})
    for data in NO_VARINTS:
        wrong = frame[:1] + bytes([len(data) + 4]) + data + frame[3:]  # all else is right
        assert native.frame(one.address, wrong).result == -2, data
        with pytest.raises(RemoteProtocolError, match="a varint is"):
            one.parse(wrong)
        with pytest.raises(RemoteProtocolError, match="a varint is"):
            one.explain(wrong)
    for data in [*NO_VARINTS, b"", b"\x80", b"\1\1"]:
        with pytest.raises(LocalProtocolError, match="cannot have the id"):
            native.patch_id(one.address, frame, data)


def test_the_size_of_a_varint_that_is_no_id():
    one = wire(
        "id" / Int32ub,
        "total" / Rebuild(Int8ub, size_(this.mark) + len_(this.text)),
        "mark" / If(this.kind == 1, UVar(5)),
        "text" / Bytes(this.total - size_(this.mark)),
        request_id=this.id,
        rest={"text": b""},
    )
    for kind, mark in ((1, 5), (1, 500), (2, None)):
        frame = one.build({"kind": kind, "id": 1, "mark": mark, "text": b"text", "body": b"x"})
        assert one.parse(frame)[0].text == b"text"
        assert native.frame(one.address, frame).size == len(frame)


LENGTH = "n" / Rebuild(Int8ub, len_(this.id))


@pytest.mark.parametrize(
    ("fields", "request_id", "why"),
    [
        (["id" / Bytes(65)], this.id, "id: an id of up to 65 bytes; 1 to 64 are possible"),
        (
            ["id" / Bytes(2)],
            this.id,
            "id: 2 bytes hold no number of a byte in the form decimal; use form='raw'",
        ),
        (
            ["id" / Bytes(32)],
            byte_id(this.id, form="uuid"),
            "the form uuid is for ids that always have 36 bytes",
        ),
        (
            ["id" / Bytes(9)],
            byte_id(this.id, form="base64"),
            "the form 'base64' of an id is none of decimal, hex",
        ),
        ([LENGTH, "id" / Bytes(this.n)], this.id, "id: say how long an id may be: id=byte_id.*max=36"),
        (
            ["id" / Until(b"a", 20)],
            byte_id(this.id, form="hex"),
            "id: an id in the form hex could hold its delimiter",
        ),
        (["id" / Until(b"\n", 20)], byte_id(this.id, form="raw"), "could hold its delimiter"),
        (["id" / Int32ub], byte_id(this.id), "byte_id: id is no section; write id=this.NAME"),
        (
            ["n" / Rebuild(Int8ub, lambda _: 1), "s" / Array(this.n, Int8ub), "id" / Chunks(this.s)],
            this.id,
            "id: an id is an integer, or a section of its own",
        ),
        (
            ["a" / Int8ub, "b" / Int8ub, "id" / Bytes(this.a + this.b)],
            byte_id(this.id, max=9),
            "id: an id's length is one field, or one number in a text, plus or minus a constant",
        ),
        (
            ["h" / BitStruct("n" / BitsInteger(4), "m" / BitsInteger(4)), "id" / Bytes(this.h.n)],
            byte_id(this.id, max=9),
            "h.n: what counts an id is an integer of whole bytes, or a UVar",
        ),
        (
            [LENGTH, "id" / Bytes(this.n), "x" / If(this.n > 3, Int8ub)],
            byte_id(this.id, max=9),
            "n: it counts the id, and decides which fields there are",
        ),
        (
            [LENGTH, Check(this.n >= 4), "id" / Bytes(this.n)],
            byte_id(this.id, max=9),
            "n: a check refuses ids of 1 bytes",
        ),
        (
            [LENGTH, "id" / Bytes(this.n), "x" / Bytes(this.n & 3)],
            byte_id(this.id, max=9),
            "x: its length depends on that of the id id in a way that the engine cannot keep right",
        ),
        (
            [LENGTH, "m" / Int8ub, "id" / Bytes(this.n), "x" / Bytes(this.n + this.m)],
            byte_id(this.id, max=9),
            "x: its length depends on that of the id id",
        ),
        (
            ["n" / UVar(2), "t" / UVar(2), "id" / Bytes(this.n), "x" / Bytes(this.t - this.n)],
            byte_id(this.id, max=9),
            "a UVar counts the id only alone",
        ),
        (
            ["n" / Int8ub, "id" / Bytes(this.n)],
            byte_id(this.id, max=9),
            "cannot be built",
        ),
        (
            ["all" / Rebuild(Int8ub, len_(this.id) + 9), LENGTH, "id" / Bytes(this.n)],
            byte_id(this.id, max=9),
            "all depends on the length of the id, but no length is computed from it",
        ),
        (
            ["id" / Prefixed(Int8ub, GreedyBytes), "ie" / Prefixed(Int8ub, GreedyBytes)],
            byte_id(this.id, this.ie, max=300),
            "of up to 300 bytes",
        ),
        (
            ["id" / Bytes(4), "ie" / Bytes(5)],
            byte_id(this.id, this.ie),
            "id: all ids have one size, or one maximum, and one delimiter",
        ),
        (["id" / UVar(1)], this.id, "id: 1 bytes hold no number of a byte in the form varint; declare UVar"),
        (
            ["id" / UVar(9)],
            byte_id(this.id, form="hex"),
            "id: a UVar is written as it is, not in the form hex",
        ),
        (
            ["id" / Bytes(9)],
            byte_id(this.id, form="varint"),
            "id: the form varint is for ids that are a UVar",
        ),
        (
            ["id" / UVar(9), "x" / If(size_(this.id) == 1, Int8ub)],
            this.id,
            "id: a test goes by the size of the id",
        ),
        (
            ["t" / Int8ub, "id" / UVar(9), "x" / Bytes(this.t - 2 * size_(this.id))],
            this.id,
            "x: its length depends on that of the id id .* the id's length counts 2 times in it",
        ),
        (
            ["t" / Int8ub, "id" / UVar(9), "x" / Bytes(this.t & size_(this.id))],
            this.id,
            "x: .* since fields in it are multiplied with each other, shifted or masked",
        ),
        (
            ["id" / Int8ub, "x" / Bytes(size_(this.id))],
            this.id,
            "x: this.id is an integer .* size_.. is of a UVar",
        ),
        (
            ["id" / UVar(9), "x" / Bytes(len_(this.id))],
            this.id,
            "x: this.id is an integer .UVar., and len_.. is of",
        ),
    ],
)
def test_what_can_be_no_id_says_why(fields, request_id, why):
    with pytest.raises(DeclarationError, match=why):
        wire(*fields, request_id=request_id)


def test_reserved_ids_are_for_integers():
    with pytest.raises(DeclarationError, match="reserved_ids: the engine's own ids"):
        wire("id" / Bytes(8), request_id=this.id, reserved_ids=(1,))


def test_a_longer_id_than_declared_is_refused_by_program_and_reference():
    one = wire("id" / Prefixed(Int8ub, GreedyBytes), request_id=byte_id(this.id, max=5))
    frame = one.build({"kind": 1, "id": b"123456", "body": b"x"})
    assert native.frame(one.address, frame).result == -2
    with pytest.raises(RemoteProtocolError, match="the id has 6 bytes, 5 are allowed at most"):
        one.parse(frame)


def test_chunks_elsewhere_and_totals_that_are_used_follow_the_id():
    fields = [
        "total" / Rebuild(Int16ub, len_(this.id) + len_(this.rest) + 4),
        "n" / Rebuild(Int8ub, len_(this.id) + 1),
        "id" / Bytes(this.n - 1),
        "count" / Rebuild(Int8ub, len_(this.parts)),
        "sizes" / Rebuild(Array(this.count, Int8ub), lengths(this.parts)),
        "parts" / Chunks(this.sizes),
        "rest" / Bytes(this.total - this.n - 3),
    ]
    one = wire(*fields, request_id=byte_id(this.id, max=30))
    given = {"kind": 1, "id": b"abc", "parts": [b"p", b"", b"qr"], "rest": b"rest", "body": b"x"}
    for other in (b"", b"a" * 30, b"abc"):
        changed = native.patch_id(one.address, one.build(given), other)
        assert changed == one.build({**given, "id": other})


def test_an_id_for_people():
    assert native.show_id(7) == "7"
    assert native.show_id(b"call-7") == "call-7"
    assert native.show_id(b"\0\xff") == "0x00ff"
    assert native.show_id(b"0x00ff") == "0x307830306666"
