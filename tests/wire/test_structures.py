"""Views into structures: what stands at a path is found, by the engine as by the reference, and written."""

from __future__ import annotations

import json as python_json
import re

import pytest
from construct import (
    GreedyBytes,
    Int8sb,
    Int8ub,
    Int16sb,
    Int16ub,
    Int16ul,
    Int32ub,
    Int64ub,
    Prefixed,
    Struct,
    this,
)
from fewer import many
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from steps import step_agrees

from protokit import Status, native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.testing import spoiled
from protokit.wire import (
    ErrorText,
    FromRequest,
    Replies,
    WireFormat,
    ber,
    blocks,
    byte_id,
    first,
    json,
    msgpack,
    number,
    protobuf,
    split,
    starts,
    table,
    thrift,
    tlv,
)
from protokit.wire.format import KINDS
from protokit.wire.structures import STEPS, packed

QUICK = settings(max_examples=many(200), deadline=None, suppress_health_check=list(HealthCheck))


def field(number, value):
    if isinstance(value, int):
        return bytes([number << 3]) + varint(value % (1 << 64))
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def varint(value):
    made = bytearray()
    while value >= 128:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


META = field(1, field(1, b"a.Service") + field(2, b"go") + field(3, -7)) + field(2, 503)
META += field(5, field(1, b"who") + field(2, b"Ada")) + b"\x3d\1\0\0\0" + b"\x41\2\0\0\0\0\0\0\x80"
META += field(5, field(1, b"who") + field(2, b"Eve")) + field(5, field(2, b"nobody"))

# Of a struct with a text, integers, a map, a nested struct, booleans, a list and a double.
BINARY = b"\x0b\0\1\0\0\0\x03svc\x08\0\2\xff\xff\xff\xfe\x0d\0\3\x0b\x0b\0\0\0\1\0\0\0\1k\0\0\0\1v"
BINARY += b"\x0c\0\4\x0a\0\1\0\0\0\0\0\0\0\x09\0\x02\0\5\1\x0f\0\6\x03\0\0\0\2\7\7\x04\0\7\0\0\0\0\0\0\0\0"
BINARY += b"\x06\0\x08\1\2\x03\0\x09\xff\0"
COMPACT = b"\x18\3svc\x15\3\x1b\1\x88\1k\1v\x1c\x16\x12\0\x11\x19\x23\7\7\x17\0\0\0\0\0\0\0\0"
COMPACT += b"\x14\x84\4\x13\xff\x02\x28\0"

PACK = b"\x86\xa1a\x01\xa1b\x92\xd0\x85\xa2hi\xa1c\xc3\xa1d\xc0\x05\xcf"
PACK += b"\xff" * 8 + b"\xa1e\x81\xa1f\xd9\1x"
JSON = b' {"a": {"b": "hi", "n": -12.5e3, "t": true}, "l": [1, {"x": []}, "z"], "e": "\\u00e4", "0": null} '
TLV = b"\0\7\0\2hi\0\1\0\0\0\7\0\6\0\1\0\2yo"
TLV_FORM = (2, 2)
# A sequence of integers, a boolean, null, a wide integer, tags of the context (one twice), and a tag of three
# bytes; behind it a text. Some lengths are longer than they must be.
BER = b"\x02\1\x05\x0a\x82\0\2\xff\x85\1\1\x7f\5\0\2\x09\1" + bytes(8)
BER += b"\x80\2hi\xa1\6\x30\4\x0c\2yo\x80\2ho\x9f\x81\x23\1x\x02\x08\x80" + bytes(7)
BER = b"\x30\x81" + bytes([len(BER)]) + BER + b"\4\3end"

# Two blocks of one type with one without pairs between them, a key in both, and padding.
BLOCKS = b"\1\3\3who\3Ada\0\6nobody\4note\0\1\0\1\2\3who\3Eve\4zone\x80\1" + b"e" * 128 + bytes(5)

SAMPLES = {
    "protobuf": (
        META,
        [
            (1, 1),
            (1, 2),
            (1, 3),
            (2,),
            (5, "who"),
            (5, ""),
            (5, "no"),
            (7,),
            (8,),
            (9,),
            (1,),
            (2, 1),
            ("a",),
            (),
        ],
    ),
    "tlv": (TLV, [(*TLV_FORM, *path) for path in [(7,), (1,), (7, 1), (2,), ("a",), ()]]),
    "thrift_binary": (
        BINARY,
        [(n,) for n in range(1, 10)] + [(3, "k"), (3, "x"), (4, 1), (1, 1), (4, "k"), ("k",), ()],
    ),
    "thrift_compact": (
        COMPACT,
        [(n,) for n in range(1, 10)] + [(20,), (3, "k"), (3, "x"), (4, 1), (1, 1), (4, "k"), ()],
    ),
    "blocks": (BLOCKS, [(4, 2, 1, key) for key in ("who", "", "note", "zone", "no")] + [(4, 2, 1)]),
    "msgpack": (
        PACK,
        [
            ("a",),
            ("b", 0),
            ("b", 1),
            ("b", 2),
            ("c",),
            ("d",),
            (5,),
            ("e", "f"),
            ("b",),
            ("a", "a"),
            ("x",),
            (),
        ],
    ),
    "json": (
        JSON,
        [
            ("a", "b"),
            ("a", "n"),
            ("a", "t"),
            ("l", 0),
            ("l", 1, "x"),
            ("l", 2),
            ("l", 3),
            ("0",),
            ("a",),
            ("a", 0),
            ("l", "a"),
            ("x",),
            (),
        ],
    ),
    "ber": (
        BER,
        [
            (0, 0),
            (0, 1),
            (0, 2),
            (0, 3),
            (0, 4),
            (0, 5),
            (0, "80"),
            (0, "a1", 0, 0),
            ("30", 6, "30", "0c"),
            (0, "9f8123"),
            (0, 8, "tag"),
            (0, 1, "tag"),
            ("30", "tag"),
            (0, "02"),
            (1,),
            (0, "a1"),
            (0, 10),
            (0, -1),
            (0, 0, 0),
            (0, 0, "tag", "tag"),
            (0, "tag", 0),
            ("tag",),
            (0, "A1"),
            (0, "9f81"),
            (),
        ],
    ),
}
FOUND = {
    "protobuf": [
        b"a.Service",
        b"go",
        b"-7",
        b"503",
        b"Eve",
        b"nobody",
        None,
        b"1",
        b"9223372036854775810",
        None,
    ],
    "tlv": [b"\0\1\0\2yo", b"", b"yo", None, None, TLV],
    "thrift_binary": [
        b"svc",
        b"-2",
        BINARY[20:36],
        b"\x0a\0\1\0\0\0\0\0\0\0\x09\0",
        b"1",
        b"\3\0\0\0\2\7\7",
        bytes(8),
        b"258",
        b"-1",
        b"v",
        None,
        b"9",
    ],
    "thrift_compact": [
        b"svc",
        b"-2",
        b"\1\x88\1k\1v",
        b"\x16\x12\0",
        b"1",
        b"\x23\7\7",
        bytes(8),
        b"258",
        b"-1",
        b"0",
        b"v",
        None,
        b"9",
    ],
    "blocks": [b"Eve", b"nobody", b"", b"e" * 128, None, None],
    "msgpack": [
        b"1",
        b"-123",
        b"hi",
        None,
        b"true",
        None,
        b"18446744073709551615",
        b"x",
        b"\x92\xd0\x85\xa2hi",
        None,
    ],
    "json": [
        b"hi",
        b"-12.5e3",
        b"true",
        b"1",
        b"[]",
        b"z",
        None,
        None,
        b'{"b": "hi", "n": -12.5e3, "t": true}',
        None,
        None,
        None,
    ],
    "ber": [
        b"5",
        b"-123",
        b"1",
        None,
        b"\1" + bytes(8),
        b"hi",
        b"ho",
        b"yo",
        b"yo",
        b"x",
        b"10453283",
        b"10",
        b"48",
        b"-9223372036854775808",
        b"end",
        b"\x30\4\x0c\2yo",
        *[None] * 8,
        BER,
    ],
}


@pytest.mark.parametrize("name", SAMPLES)
def test_what_stands_at_a_path_is_found(name):
    sample, paths = SAMPLES[name]
    found = step_agrees(STEPS[name], sample, [packed(path) for path in paths])
    assert found[: len(FOUND[name])] == FOUND[name]
    assert step_agrees(STEPS[name], b"", [packed(paths[0])]) == [None, None]


@pytest.mark.parametrize("name", SAMPLES)
@settings(QUICK, max_examples=many(150))
@given(st.data())
def test_cut_and_hostile_structures_are_read_as_by_the_reference(name, data):
    sample, paths = SAMPLES[name]
    section = data.draw(
        st.integers(0, len(sample)).map(lambda cut: sample[:cut])
        | spoiled(st.just(sample))
        | spoiled(spoiled(st.just(sample)))
        | st.binary(max_size=40)
    )
    step_agrees(STEPS[name], section, [packed(path) for path in data.draw(st.permutations(paths))[:5]])


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(codec="ascii"), max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abAB"), inner, max_size=3),
    max_leaves=12,
)


@QUICK
@given(VALUES, st.lists(st.sampled_from(["a", "b", 0, 1]), max_size=3), st.sampled_from([None, 1]))
def test_json_of_anything_is_read_as_by_the_reference(value, path, indent):
    section = python_json.dumps(value, indent=indent).encode()
    step_agrees(STEPS["json"], section, [packed(path)])


LOOSE = [
    b'{"a": 1, "a": 2}',
    b'{"a": 1, "A": 2}',
    b'{"A": 2}',
    b'{"\\u0061": 1, "b": 2}',
    b'{"a": 1,}',
    b"{'a': 1}",
    b'{"a": 01}',
    b'{"a": +1}',
    b'{"a": NaN}',
    b'{"a": "\t"}',
    b'{"a": 1} x',
    b'{"a": 1}{}',
    b'\xef\xbb\xbf{"a": 1}',
    b'{"a": "x\\n"}',
    b'{"a": 1 /* */}',
    b'{"a": [1 2]}',
    b'{"a" 1}',
    b"[" * 65 + b"]" * 65,
]


@pytest.mark.parametrize("section", LOOSE)
def test_json_that_readers_do_not_agree_on_is_refused(section):
    wire = declared(json, service=json(this.body)["a"])
    with pytest.raises(RemoteProtocolError):
        native.request(wire.address, wire.build({"kind": 1, "id": 1, "body": section}))
    step_agrees(STEPS["json"], section, [packed(("a",))])


def nested(deep):
    """Values of ASN.1 one in another."""
    made = b""
    for _ in range(deep):
        size = len(made)
        made = b"\x30" + (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")) + made
    return made


def test_nests_are_bounded():
    for name, section, path in (
        ("json", b'{"a": ' + b"[" * 63 + b"]" * 63 + b"}", ("a",)),
        ("msgpack", b"\x81\xa1a" + b"\x91" * 20000 + b"\1", ("a",)),
        ("thrift_binary", b"\x0c\0\1" * 60 + b"\0" * 61, (1,)),
        ("thrift_compact", b"\x1c" * 60 + b"\0" * 61, (1,)),
        ("ber", nested(64), (0, 0)),
        ("ber", nested(64) * 2, (1, 0)),
        ("ber", b"\2\x88" + bytes(7) + b"\1\7", (0,)),
        ("ber", b"\x7f\xff\xff\xff\x7f\0", (0,)),
    ):
        assert step_agrees(STEPS[name], section, [packed(path)]) is not None
    for name, section in (
        ("json", b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}"),
        ("json", b"[" * 65 + b"]" * 65),
        ("msgpack", b"\xdd\xff\xff\xff\xff\1"),
        ("thrift_binary", b"\x0c\0\1" * 100 + b"\0" * 101),
        ("thrift_compact", b"\x1c" * 100 + b"\0" * 101),
        ("thrift_binary", b"\x0f\0\1\x0b\x7f\xff\xff\xff\0"),
        ("protobuf", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ("protobuf", b"\x0b\x0c"),
        ("ber", nested(65)),
        ("ber", b"\2\x89" + bytes(8) + b"\1\7"),
        ("ber", b"\4\x88\1" + bytes(6) + b"\1\7"),
        ("ber", b"\4\x88\0\0\0\1" + bytes(3) + b"\1\7"),
        ("ber", b"\4\x85\1\0\0\0\1\7"),
        ("ber", b"\x7f\xff\xff\xff\xff\x7f\0"),
    ):
        assert step_agrees(STEPS[name], section, [packed((1,))]) is None


@pytest.mark.parametrize(
    ("name", "section", "path"),
    [
        ("protobuf", field(1, b"x") + b"\2\0", (1,)),  # of no number
        ("protobuf", b"\x08" + b"\xff" * 9 + b"\2", (1,)),  # 65 bits
        ("protobuf", b"\x0a\3hi", (1,)),
        ("tlv", b"\1\xff" + bytes(255), (1, 1 | 32, 1)),  # a length of -1
        ("blocks", b"\1\1\1k\1v\1", (1, 0, 1, "k")),
        ("blocks", b"\1\2\1k\1v", (1, 0, 1, "k")),
        ("blocks", b"\1\2\1k\1v\0", (1, 0, 1, "k")),
        ("blocks", b"\1\1\1k\1v\2\0", (1, 0, 1, "k")),  # another type
        ("blocks", b"\1\1\1k\1v\0\1", (1, 0, 1, "k")),  # behind the padding
        ("blocks", b"\1\1\1k\1v\x81\0\0", (1, 0, 1, "k")),  # longer than it must be
        ("blocks", b"\1\x81\x80\x80\x80\x10\1k\1v", (1, 0, 1, "k")),
        ("blocks", b"\1\x81\x80\x80\x08\1k\1v", (1, 0, 1, "k")),  # more pairs than a block has
        ("ber", b"\2\1\7\0\0", (0,)),  # the end of an indefinite length
        ("ber", b"\2\1\7\x30\x80\0\0", (0,)),
        ("ber", b"\2\1\7\x30\3\x30\2\2", (0,)),  # what is in it goes over its end
        ("ber", b"\2\1\7\x30\2\2\0\4\0", (0,)),  # an integer of no bytes
        ("ber", b"\2\1\7\x30\2\x0a\0", (0,)),
        ("ber", b"\2\1\7\1\2\0\0", (0,)),  # a boolean of two
        ("ber", b"\2\1\7\1\0", (0,)),
        ("ber", b"\2\1\7\x1f\x80\1\0", (0,)),  # a tag that is longer than it must be
        ("ber", b"\2\1\7\x1f\x81", (0,)),
        ("ber", b"\2\1\7\4", (0,)),
        ("ber", b"\2\1\7\4\x82\0", (0,)),
    ],
)
def test_a_structure_that_is_wrong_anywhere_is_refused(name, section, path):
    assert step_agrees(STEPS[name], section, [packed(path)]) is None


@pytest.mark.parametrize(
    ("name", "section", "path"),
    [
        ("protobuf", field(1, b"one") + field(1, b"two"), (1,)),
        ("tlv", b"\1\3one\1\3two", (1, 1, 1)),
        ("thrift_binary", b"\x0b\0\1\0\0\0\3one\x0b\0\1\0\0\0\3two\0", (1,)),
        ("thrift_compact", b"\x18\3one\x08\2\3two\0", (1,)),
        ("msgpack", b"\x82\xa1a\xa3one\xa1a\xa3two", ("a",)),
        ("ber", b"\4\3one\4\3two", ("04",)),
        ("blocks", b"\1\2\1k\3one\1k\3two", (1, 0, 1, "k")),
        ("blocks", b"\1\1\1k\3one\1\1\1k\3two", (1, 0, 1, "k")),
    ],
)
def test_the_last_of_what_stands_twice_counts(name, section, path):
    assert step_agrees(STEPS[name], section, [packed(path)])[0] == b"two"


@pytest.mark.parametrize(
    ("name", "section", "path"),
    [
        ("protobuf", field(1, b"one") + b"\x08\1", (1,)),
        ("protobuf", b"\x08\1" + field(1, b"one"), (1,)),
        ("protobuf", b"\x08\1\x0d\1\0\0\0", (1,)),
        ("protobuf", field(1, field(2, b"one")) + field(1, b"\x10\1"), (1, 2)),
        ("protobuf", field(1, field(1, b"k") + field(2, b"one") + b"\x10\1"), (1, "k")),
        ("protobuf", field(1, field(1, b"k") + b"\x08\1" + field(2, b"one")), (1, "k")),
        (
            "protobuf",
            field(1, field(1, b"k") + field(2, b"one")) + field(1, field(1, b"k") + b"\x10\1"),
            (1, "k"),
        ),
        ("thrift_binary", b"\x0b\0\1\0\0\0\3one\x08\0\1\0\0\0\1\0", (1,)),
        ("thrift_binary", b"\x0c\0\1\x0b\0\2\0\0\0\3one\0\x08\0\1\0\0\0\1\0", (1, 2)),
        ("thrift_compact", b"\x18\3one\x05\2\2\0", (1,)),
    ],
)
def test_what_stands_in_several_types_cannot_be_read(name, section, path):
    """Its readers take the last of the type that they know it by, which is not known here."""
    assert step_agrees(STEPS[name], section, [packed(path)]) is None


def test_a_boolean_is_of_one_type_in_both_ways():
    assert step_agrees(STEPS["thrift_compact"], b"\x11\2\2\0", [packed((1,))])[0] == b"0"


def test_what_nobody_asks_for_may_stand_in_several_types():
    for name, section in (
        ("protobuf", field(1, b"one") + field(2, b"x") + b"\x10\1"),
        ("thrift_binary", b"\x0b\0\1\0\0\0\3one\x0b\0\2\0\0\0\1x\x08\0\2\0\0\0\1\0"),
    ):
        assert step_agrees(STEPS[name], section, [packed((1,))])[0] == b"one"


def declared(family, **meaning):
    return WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, "body" / Prefixed(Int16ub, GreedyBytes)),
        id=this.id,
        **{"response": this.kind == 2, **meaning},
        replies=Replies(
            error=lambda status, variant: {"kind": 2, "body": ErrorText()},
            heartbeat=lambda variant: {"kind": 3, "body": b""},
            ack=lambda variant: {"kind": 4, "body": b""},
        ),
    )


def seen(wire, body, kind=1):
    frame = wire.build({"kind": kind, "id": 7, "body": body})
    found, message = native.frame(wire.address, frame), wire.message(frame)
    assert (found.result, found.size) == (0, len(frame))
    assert (KINDS[found.kind], found.status) == (message.kind, message.status)
    if message.kind in {"request", "oneway"}:
        request = native.request(wire.address, frame)
        for name in ("service", "method", "version", "group", "timeout_ms"):
            assert getattr(request, name) == getattr(message, name)
    return message


def test_kinds_status_and_destination_stand_in_a_message():
    meta = protobuf(this.body)
    wire = declared(
        protobuf,
        service=split(meta[1][1], ".", 2)[1],
        method=first(meta[1][2], "none"),
        version=meta[5]["who"],
        timeout=number(meta[1][3]),
        response=number(meta[2]) != 0,
        heartbeat=meta[4] == "1",
        status=table(number(meta[2]), {200: Status.OK, 503: Status.OVERLOADED}, Status.INTERNAL),
    )
    request = field(1, field(1, b"a.Service") + field(3, 250)) + field(5, field(1, b"who") + field(2, b"Ada"))
    message = seen(wire, request)
    assert (message.service, message.method, message.version) == ("Service", "none", "Ada")
    assert (message.kind, message.timeout_ms) == ("request", 250)
    assert seen(wire, META).status == Status.OVERLOADED
    assert seen(wire, field(2, 200)).kind == "response"
    assert seen(wire, field(4, 1)).kind == "heartbeat"
    assert seen(wire, field(4, 1) + field(2, 1)).kind == "ack"
    with pytest.raises(RemoteProtocolError):
        native.request(wire.address, wire.build({"kind": 1, "id": 1, "body": field(4, 1) + b"\xff"}))


def test_many_numbers_of_one_frame_are_all_there():
    meta = protobuf(this.body)
    wire = declared(protobuf, service=meta[1], method=meta[2], version=meta[3], group=meta[4])
    body = b"".join(field(1 + n % 4, n) for n in range(2000))
    message = seen(wire, body)
    assert (message.service, message.method, message.version, message.group) == (
        "1996",
        "1997",
        "1998",
        "1999",
    )


def test_more_structures_than_there_are_bits_for_what_was_found():
    """That the sixty-sixth was looked for does not say that the second was."""
    names = [f"s{i}" for i in range(66)]
    texts = [json(getattr(this, name))["x"] for name in names]
    wire = WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, *(name / Prefixed(Int8ub, GreedyBytes) for name in names)),
        id=this.id,
        response=this.kind == 2,
        service=first(*texts[:64]),
        method=texts[64],
        version=texts[65],
        group=texts[1],
        replies=Replies(
            error=lambda status, variant: {"kind": 2, "s0": ErrorText()} | dict.fromkeys(names[1:], b"")
        ),
    )
    sections = {name: f'{{"x": "of {name}"}}'.encode() for name in names}
    frame = wire.build({"kind": 1, "id": 7, **sections})
    assert native.frame(wire.address, frame).result == 0
    request = native.request(wire.address, frame)
    found = (request.service, request.method, request.version, request.group)
    assert found == ("of s0", "of s64", "of s65", "of s1")


CASES = {
    "protobuf": (protobuf(this.body), META),
    "tlv": (tlv(this.body, tag=Int16ub, length=Int16ub), TLV),
    "binary": (thrift(this.body, "binary"), BINARY),
    "compact": (thrift(this.body, "compact"), COMPACT),
    "msgpack": (msgpack(this.body), PACK),
    "json": (json(this.body), JSON),
    "ber": (ber(this.body), BER),
    "blocks": (blocks(this.body, align=4, front=2), BLOCKS),
}
# Written: (family, path, text, what then is found); an error's beginning where it cannot be.
WRITTEN = [
    ("protobuf", (1, 1), "b.Other"),
    ("protobuf", (1, 3), "-70000"),
    ("protobuf", (2,), "0"),
    ("protobuf", (5, "who"), "Bob"),
    ("protobuf", (5, "new"), "one"),
    ("protobuf", (7,), "4294967295"),
    ("protobuf", (9,), "added"),
    ("tlv", (1,), "longer than it was"),
    ("tlv", (9,), "added"),
    ("tlv", (7, 1), "yes"),
    *[
        (name, path, text)
        for name in ("binary", "compact")
        for path, text in (
            ((1,), "another service"),
            ((2,), "2147483647"),
            ((2,), "-2147483648"),
            ((3, "k"), "w"),
            ((3, "new"), "one"),
            ((4, 1), "-9223372036854775808"),
            ((5,), "0"),
            ((8,), "-2"),
            ((9,), "127"),
            ((10,), "added"),
        )
    ],
    ("blocks", (1, "who"), "a text with a length of two bytes" * 4),
    ("blocks", (1, "note"), "short"),
    ("blocks", (1, "new"), "one"),
    ("msgpack", ("a",), "-70000"),
    ("msgpack", ("a",), "18446744073709551615"),
    ("msgpack", ("b", 1), "a text over thirty-one bytes long, so with another tag"),
    ("msgpack", ("c",), "false"),
    ("msgpack", ("d",), "something"),
    ("msgpack", ("new",), "one"),
    ("msgpack", ("e", "f"), "y"),
    ("json", ("a", "b"), "other"),
    ("json", ("a", "n"), "7"),
    ("json", ("a", "t"), "false"),
    ("json", ("l", 2), "y"),
    ("json", ("0",), "now"),
    ("json", ("new",), "one"),
    ("ber", (0, 0), "-70000"),
    ("ber", (0, 0), "9223372036854775807"),
    ("ber", (0, 1), "-1"),
    ("ber", (0, 2), "0"),
    ("ber", (0, "80"), "a text that needs more room than there was, so that the sequence is longer" * 3),
    ("ber", (0, "9f8123"), "y"),
    ("ber", (1,), "another end"),
]


@pytest.mark.parametrize(("name", "path", "text"), WRITTEN)
def test_a_text_is_written_to_where_it_was_read_from(name, path, text):
    view, sample = CASES[name]
    whole = view
    for key in path:
        view = view[key]
    wire = declared(name, service=view)
    changed = wire.edit(wire.build({"kind": 1, "id": 7, "body": sample}), [(native.EDIT_SERVICE, "", text)])
    message = seen(wire, wire.parse(changed)[0].body)
    assert message.service == text
    family = whole.structure.family
    others = [other for other in SAMPLES[whole.structure.step.name][1] if other]
    others = [other[2:] if name in {"tlv", "blocks"} else other for other in others]
    for other in others:
        if other[: len(path)] != path[: len(other)]:
            before, after = family.find(sample, other), family.find(message.fields.body, other)
            assert before == after, other
    if name == "ber" and isinstance(path[-1], int):
        return  # refused, below
    gone = wire.edit(changed, [(native.EDIT_SERVICE, "", None)])
    if name not in {"msgpack", "json"} or not isinstance(path[-1], int):
        assert seen(wire, wire.parse(gone)[0].body).service == ""


REFUSED = [
    ("protobuf", (2,), "x", "protobuf: field 2 holds an integer, and 'x' is none"),
    ("protobuf", (7,), "4294967296", "does not fit field 7"),
    ("protobuf", (9, 1), "x", "there is no message 9"),
    ("tlv", (2, 1), "x", "tlv: there is no 2 that 1 can be put into"),
    ("binary", (2,), "2147483648", "does not fit 2"),
    ("binary", (5,), "2", "5 is 1 or 0"),
    ("compact", (7,), "2", "7 is no text"),
    ("msgpack", ("b",), "x", "'b' is array, and no text"),
    ("msgpack", ("c",), "1", "'c' is true or false"),
    ("msgpack", ("b", 7), "x", "the array has no element 7"),
    ("json", ("a", "n"), "x", "'n' is a number, and 'x' is not"),
    ("json", ("a", "t"), "1", "'t' is true or false"),
    ("json", ("a", "b"), 'say "no"', "needs escapes"),
    ("json", ("l", 9), "x", "the array has no element 9"),
    ("json", ("a",), "x", "'a' is no text"),
    ("blocks", (1,), "x", "blocks: [1] is of several texts, and is not written to"),
    ("blocks", (2, "who"), "x", "blocks: a block has the type 1, not 2"),
    ("ber", (0, 0), "x", "ber: 0 holds an integer, and 'x' is none"),
    ("ber", (0, 0), "9223372036854775808", "ber: 9223372036854775808 does not fit 64 bits"),
    ("ber", (0, 2), "true", "2 is 1 or 0"),
    ("ber", (0, 3), "x", "3 has the tag 05, and no text is put there"),
    ("ber", (0, "a1"), "x", "'a1' has the tag a1, and no text is put there"),
    ("ber", (0, 99), "x", "ber: there is no value 99 that can be written to"),
    ("ber", (0, 0, 0), "x", "ber: there is no value 0 that can be written to"),
    ("ber", (0, "a0"), "x", "ber: there is no value 'a0' that can be written to"),
    ("ber", (0, 0, "tag"), "x", "ber: there is no value 'tag' that can be written to"),
    ("ber", (0, 0), None, "ber: without its value 0 others would stand in its place"),
]


@pytest.mark.parametrize(("name", "path", "text", "why"), REFUSED)
def test_what_cannot_be_written_says_why(name, path, text, why):
    view, sample = CASES[name]
    for key in path:
        view = view[key]
    wire = declared(name, service=view)
    with pytest.raises(LocalProtocolError, match=re.escape(why)):
        wire.edit(wire.build({"kind": 1, "id": 7, "body": sample}), [(native.EDIT_SERVICE, "", text)])


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            lambda: protobuf(this.body)[1.5],
            "protobuf(this.body) is asked for a number or a name, not for 1.5",
        ),
        (
            lambda: json(this.body)["a"][True],
            "json(this.body)['a'] is asked for a number or a name, not for True",
        ),
        (lambda: thrift(this.body, "json"), "thrift: 'json' is neither 'binary' nor 'compact'"),
        (lambda: tlv(this.body, tag=2, length=Int8ub), "tlv: tag is an integer, such as Int16ub, not 2"),
        (lambda: declared(json, response=json(this.body)["a"]), "json(this.body)['a'] is no expression"),
        (lambda: declared(json, service=json(this.kind)["a"]), "service: this.kind is an integer (1 bytes)"),
        (lambda: json(5), "json: 5 is no section of the frame"),
        (lambda: msgpack(this.body)[2**64], "does not fit 64 bits"),
        (lambda: [*protobuf(this.body)], "is no sequence"),
        (lambda: ber(this.body)[-1], "ber: -1 is no key; it is a place from 0, a tag in hex digits"),
        *[
            (lambda key=key: ber(this.body)[0][key], f"ber: {key!r} is no key")
            for key in ("", "a", "A0", "a0a0", "00", "1f", "1f80", "1f8001", "1fffffffffff01", "tags", "0x30")
        ],
        (lambda: byte_id(ber(this.body)[0]["tag"]), "byte_id: ber(this.body)[0]['tag'] is a tag, and no id"),
        (lambda: ber(this.body)["tag"], "ber: 'tag' is asked of what has no 'tag'"),
        (lambda: ber(this.body)[0]["tag"][0], "ber: 0 is asked of what has no 0"),
    ],
)
def test_a_structure_that_is_misused_is_shown_as_it_is_written(make, why):
    with pytest.raises(
        (DeclarationError, TypeError), match=re.escape(why) if why != "is no sequence" else "not iterable"
    ):
        make()


@pytest.mark.parametrize(
    ("tag", "length"), [(Int8ub, Int8sb), (Int16ul, Int32ub), (Int64ub, Int16sb), (Int8sb, Int8ub)]
)
def test_tags_and_lengths_are_of_any_width_sign_and_order(tag, length):
    view = tlv(this.body, tag=tag, length=length)
    wire = declared("tlv", service=view[5], method=view[6])
    body = b"".join(
        tag.build(n) + length.build(len(text)) + text for n, text in ((5, b"five"), (6, b""), (7, b"x"))
    )
    message = seen(wire, body)
    assert (message.service, message.method) == ("five", "")
    frame = wire.build({"kind": 1, "id": 7, "body": body[:-1]})
    with pytest.raises(RemoteProtocolError):
        native.request(wire.address, frame)


# Two paths of one structure, and a section in which only the second can be read.
HALF = {
    "json": (lambda found: (found["id"], found["to"]), json(this.body), b'{"Id":1,"to":"x"}'),
    "json, in escapes": (
        lambda found: (found["id"], found["to"]),
        json(this.body),
        b'{"to":"x","id":"\\u0061"}',
    ),
    "protobuf": (lambda found: (found[1][2], found[3]), protobuf(this.body), b"\x0a\x02\x12\x05\x1a\x01x"),
    "tlv": (
        lambda found: (found[7][1], found[9]),
        tlv(this.body, tag=Int8ub, length=Int8ub),
        b"\x07\x02\x01\x05\x09\x01x",
    ),
}


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("which", HALF)
def test_what_cannot_be_read_at_one_path_is_not_there_and_what_can_at_another_is(which, order):
    """In what a frame means, and in what is repeated of it; a request is refused by what it is routed by."""
    paths, found, section = HALF[which]
    views = paths(found)
    one, other = views[order], views[1 - order]
    wire = WireFormat(
        Struct("kind" / Int8ub, "id" / Int8ub, "body" / Prefixed(Int8ub, GreedyBytes)),
        id=this.id,
        response=(this.kind == 1) & (starts(one, "") + 2 * starts(other, "") != 3),
        status=table(starts(one, "x") + starts(other, "x"), {1: Status.OK}, Status.INTERNAL),
        service=views[1],
        replies=Replies(
            error=lambda *_: {
                "kind": 1,
                "body": [FromRequest(one, max=9), b"|", FromRequest(other, max=9), b"|"],
            }
        ),
    )
    for kind in (0, 1):
        frame = wire.build({"kind": kind, "id": 5, "body": section})
        message = wire.message(frame)
        seen = native.frame(wire.address, frame)
        assert message.kind == ("request", "response")[kind] == KINDS[seen.kind]
        assert message.status == seen.status == Status.OK
        if kind == 0:
            assert message.service == native.request(wire.address, frame).service == "x"
            said = native.error(wire.address, Status.DENIED, 5, 0, b"", native.keep(wire.address, frame))
            assert wire.parse(said)[0].body == (b"|x|", b"x||")[order]
