"""Headers in a map field of a protobuf message: what is read of them, and what a change writes."""

from __future__ import annotations

import pytest
from construct import GreedyBytes, Int8ub, Int16ub, Prefixed, Struct, this

from protokit import Protocol, Status, native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.testing import Golden, conformance
from protokit.wire import ErrorText, Replies, WireFormat, ber, protobuf, table

KINDS = {"request": 1, "response": 2, "oneway": 3}  # whose headers are asked for


def text(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def entry(key: bytes, value: bytes) -> bytes:
    return text(8, text(1, key) + text(2, value))


def declared(**more) -> WireFormat:
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "id" / Int16ub,
            "meta" / Prefixed(Int8ub, GreedyBytes),
            "body" / Prefixed(Int8ub, GreedyBytes),
        ),
        id=this.id,
        response=(this.kind == 2) | (this.kind == 4),
        status=table(this.kind, {2: Status.OK}, Status.INTERNAL),
        oneway=this.kind == 3,
        **{"service": protobuf(this.meta)[1], "headers": protobuf(this.meta)[8], **more},
        replies=Replies(error=lambda status, variant: {"kind": 4, "meta": b"", "body": ErrorText()}),
    )


WIRE = declared()
NAMED = text(1, b"a.B")
VARINT = b"\x10\x05"  # field 2: 5
FIXED = b"\x15\1\0\0\0\x19\1\0\0\0\0\0\0\0"  # field 2 of four bytes, field 3 of eight
READ = {
    "none": (b"", {}),
    "other fields": (NAMED + b"\x40\x05" + FIXED, {}),  # field 8 as a number is no entry
    "four bytes that would be an entry": (NAMED + b"\x45\x0a\x02kk", {}),
    "one": (NAMED + entry(b"zone", b"east"), {"zone": "east"}),
    "two": (entry(b"zone", b"east") + NAMED + entry(b"user", b""), {"zone": "east", "user": ""}),
    "one that stands twice": (
        entry(b"z", b"1") + entry(b"y", b"2") + entry(b"z", b"3"),
        {"z": "3", "y": "2"},
    ),
    "no key": (text(8, text(2, b"v")), {"": "v"}),
    "no value": (text(8, text(1, b"k")), {"k": ""}),
    "nothing at all": (text(8, b""), {"": ""}),
    "value first, and more": (text(8, text(2, b"v") + FIXED[5:] + text(1, b"k")), {"k": "v"}),
    "a key and a value that stand twice": (
        text(8, text(1, b"a") + text(2, b"1") + text(1, b"k") + text(2, b"v")),
        {"k": "v"},
    ),
    "a number": (entry(b"a", b"1") + text(8, text(1, b"n") + VARINT), {"a": "1"}),
    "a number behind a text": (entry(b"n", b"v") + text(8, text(1, b"n") + VARINT), {}),
    "a fixed number": (entry(b"a", b"1") + text(8, text(1, b"n") + FIXED[:5]), {"a": "1"}),
    "a key that is a number": (text(8, b"\x08\x07" + text(2, b"v")) + entry(b"a", b"1"), {"a": "1"}),
}


def frame(kind: str, meta: bytes, wire: WireFormat = WIRE) -> bytes:
    return wire.build({"kind": KINDS[kind], "id": 7, "meta": meta, "body": b"body"})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", READ)
def test_entries_of_a_map_field_are_headers(what, kind):
    meta, expected = READ[what]
    data = frame(kind, meta)
    assert dict(WIRE.message(data).headers) == expected
    assert dict(native.headers(WIRE.address, data)) == expected
    if kind != "response":
        assert dict(native.request(WIRE.address, data).headers) == expected
    for key in [*expected, "zon", "zones", "ZONE", "n", "absent"]:
        assert native.header(WIRE.address, data, key) == expected.get(key)


WRONG = {
    "an entry that is cut": NAMED + text(8, text(1, b"k") + b"\x12\x05v"),
    "a field that is cut, behind": NAMED + entry(b"k", b"v") + b"\x12\x05v",
    "a group": NAMED + b"\x0b\x0c",
    "a group in an entry": NAMED + text(8, b"\x0b\x0c"),
    "field 0": entry(b"k", b"v") + b"\x02\0",
    "a value that is a number and a text": text(8, VARINT + text(1, b"n") + text(2, b"v")),
    "a key that is a text and a number": text(8, text(1, b"n") + b"\x08\x07" + text(2, b"v")),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_message_that_is_malformed_has_no_headers(what):
    wire = declared(service="a.B")
    data = frame("request", WRONG[what], wire)
    for ask in (wire.message, lambda one: native.headers(wire.address, one)):
        with pytest.raises(RemoteProtocolError):
            ask(data)
    for key in ("k", "other"):
        with pytest.raises(RemoteProtocolError):
            native.header(wire.address, data, key)
    with pytest.raises(LocalProtocolError):
        wire.edit(data, [(native.EDIT_HEADER, "k", "v")])
    answer = frame("response", WRONG[what], wire)
    assert not WIRE.message(answer).headers
    with pytest.raises(RemoteProtocolError):
        native.headers(wire.address, answer)


CHANGES = {
    "added": (NAMED, "zone", "east", NAMED + entry(b"zone", b"east")),
    "added to nothing": (b"", "zone", "east", entry(b"zone", b"east")),
    "another value": (
        entry(b"a", b"1") + NAMED + entry(b"b", b"2"),
        "a",
        "longer",
        entry(b"a", b"longer") + NAMED + entry(b"b", b"2"),
    ),
    "one that stood twice": (
        entry(b"a", b"1") + NAMED + entry(b"a", b"2"),
        "a",
        "3",
        entry(b"a", b"3") + NAMED,
    ),
    "taken out": (entry(b"a", b"1") + NAMED + entry(b"b", b"2"), "a", None, NAMED + entry(b"b", b"2")),
    "taken out, which was not there": (NAMED + entry(b"b", b"2"), "a", None, NAMED + entry(b"b", b"2")),
    "taken out, a number": (text(8, text(1, b"n") + VARINT) + NAMED, "n", None, NAMED),
    "fields of all kinds stay": (
        NAMED + b"\x40\x05" + FIXED,
        "\u00e4",
        "\u20ac",
        NAMED + b"\x40\x05" + FIXED + entry("\u00e4".encode(), "\u20ac".encode()),
    ),
    "a key of no text stays": (
        text(8, b"\x08\x07" + text(2, b"v")),
        "7",
        "x",
        text(8, b"\x08\x07" + text(2, b"v")) + entry(b"7", b"x"),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", CHANGES)
def test_a_header_is_written_where_it_stands(what, kind):
    meta, key, value, expected = CHANGES[what]
    changed = WIRE.edit(frame(kind, meta), [(native.EDIT_HEADER, key, value)])
    assert changed == frame(kind, expected)
    assert native.header(WIRE.address, changed, key) == value


def test_a_text_is_not_written_where_a_number_stands():
    data = frame("request", text(8, text(1, b"n") + VARINT))
    with pytest.raises(LocalProtocolError, match="the value of b'n' is no text, and none is put there"):
        WIRE.edit(data, [(native.EDIT_HEADER, "n", "5")])


def test_a_frame_without_that_section_has_none_to_change():
    wire = declared(readable=(this.meta, this.id == 1))
    data = frame("request", NAMED + entry(b"a", b"1"), wire)
    assert not wire.message(data).headers
    assert not native.headers(wire.address, data)
    with pytest.raises(LocalProtocolError, match="this kind of frame has no headers"):
        wire.edit(data, [(native.EDIT_HEADER, "a", "v")])


def test_answers_have_theirs_in_another_field():
    wire = declared(headers=None, answer_headers=protobuf(this.body)[9])
    assert wire.message(frame("request", entry(b"a", b"1"), wire)).headers == {}
    data = wire.build({"kind": 2, "id": 7, "meta": b"", "body": text(9, text(1, b"a") + text(2, b"1"))})
    assert dict(native.headers(wire.address, data)) == dict(wire.message(data).headers) == {"a": "1"}


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (
            protobuf(this.meta),
            r"protobuf\(this.meta\) is no map field of its message: write the field's number, as in",
        ),
        (protobuf(this.meta)[8]["a"], "is no map field of its message"),
        (protobuf(this.meta)[1][8], r"as in protobuf\(this.meta\)\[8\]"),
        *[
            (
                one,
                r"holds no headers that can be read: they are pairs\(...\), lines\(...\), or a map",
            )
            for one in (
                ber(this.meta)[0],
                ber(this.meta),
            )
        ],
    ],
    ids=repr,
)
@pytest.mark.parametrize("word", ["headers", "answer_headers"])
def test_what_holds_no_headers_is_refused_by_name(word, view, why):
    with pytest.raises(DeclarationError, match=f"^{word}: .*{why}"):
        declared(**{word: view})


_CAPTURED = [
    *[
        Golden(f"{kind}_{number}", frame(kind, NAMED + meta), {"kind": kind, "id": 7})
        for kind in ("request", "oneway")
        for number, (meta, _) in enumerate(READ.values())
        if NAMED not in meta
    ],
    Golden(
        "answer",
        frame("response", entry(b"took", b"3")),
        {"kind": "response", "id": 7, "headers": {"took": "3"}},
    ),
]
TestEntries = conformance(Protocol("entries", WIRE), golden=_CAPTURED, examples=30)
