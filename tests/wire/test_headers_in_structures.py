"""Headers in maps of structures: what is read of them, found by their keys, and what a change writes."""

from __future__ import annotations

import itertools
import struct
import sys

import pytest
from construct import GreedyBytes, Int8sb, Int8ub, Int16ub, Int16ul, Prefixed, Struct, this
from programs import place_of

from protokit import Protocol, Status, native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.testing import Golden, conformance
from protokit.wire import ErrorText, Replies, WireFormat, blocks, json, lines, msgpack, table, thrift, tlv
from protokit.wire.structures.headers import KINDS as KINDS_OF_MAPS

KINDS = {"request": 1, "response": 2, "oneway": 3}  # whose headers are asked for
NAMES = {7: "zone", 9: "user", -2: "low"}


def declared(headers, **more) -> WireFormat:
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "id" / Int16ub,
            "meta" / Prefixed(Int16ub, GreedyBytes),
            "body" / Prefixed(Int8ub, GreedyBytes),
        ),
        id=this.id,
        response=(this.kind == 2) | (this.kind == 4),
        status=table(this.kind, {2: Status.OK}, Status.INTERNAL),
        oneway=this.kind == 3,
        **{"service": "a.B", "headers": headers, **more},
        replies=Replies(error=lambda status, variant: {"kind": 4, "meta": b"", "body": ErrorText()}),
    )


def tags(*pairs):
    return b"".join(struct.pack("<bH", tag, len(value)) + value for tag, value in pairs)


def packed(text):
    return text if isinstance(text, bytes) else bytes([0xA0 | len(text)]) + text.encode()


def mapped(*pairs):
    """A map of MessagePack: of texts, or what is encoded already."""
    return bytes([0x80 | len(pairs)]) + b"".join(map(packed, itertools.chain(*pairs)))


def binary(*pairs, types=b"\x0b\x0b", field=3):
    texts = b"".join(struct.pack(">i", len(one)) + one.encode() for one in itertools.chain(*pairs))
    return b"\x0d" + struct.pack(">h", field) + types + struct.pack(">i", len(pairs)) + texts


def compact(*pairs, field=3):
    texts = b"".join(bytes([len(one)]) + one.encode() for one in itertools.chain(*pairs))
    return bytes([field << 4 | 11, len(pairs)]) + b"\x88" * bool(pairs) + texts


def block(*pairs, kind=5):
    texts = b"".join(bytes([len(one)]) + one.encode() for one in itertools.chain(*pairs))
    return bytes([kind, len(pairs)]) + texts


def padded(*blocks):
    """Blocks filled to four bytes, with the one that stands in front of them."""
    made = b"".join(blocks)
    return made + bytes(-(1 + len(made)) % 4)


FLAG = b"\2\0\1\1"  # a struct's field 1, of a boolean, in front
TRUE = b"\x11"
WIRES = {
    "tlv": declared(tlv(this.meta, tag=Int8sb, length=Int16ul, names=NAMES)),
    "tlv, in a value": declared(tlv(this.meta, tag=Int8sb, length=Int16ul, names=NAMES)[5]),
    "msgpack": declared(msgpack(this.meta)),
    "msgpack, in a map": declared(msgpack(this.meta)["h"]),
    "msgpack, in an array": declared(msgpack(this.meta)[1]),
    "json": declared(json(this.meta)),
    "json, in an object": declared(json(this.meta)["a"]["h"]),
    "json, in an array": declared(json(this.meta)[1]),
    "binary": declared(thrift(this.meta, "binary")[3]),
    "binary, in a struct": declared(thrift(this.meta, "binary")[2][3]),
    "binary, in a map": declared(thrift(this.meta, "binary")[1]["h"]),
    "compact": declared(thrift(this.meta, "compact")[3]),
    "blocks": declared(blocks(this.meta, align=4, front=1)[5]),
    "blocks, not padded": declared(blocks(this.meta)[255]),
}

# Of each: the section, and its headers.
READ = {
    "tlv": [
        (b"", {}),
        (tags((1, b"other")), {}),
        (tags((7, b"east"), (1, b"x"), (-2, b"")), {"zone": "east", "low": ""}),
        (tags((7, b"1"), (9, b"2"), (7, b"3")), {"zone": "3", "user": "2"}),
    ],
    "tlv, in a value": [
        (tags((7, b"no")), {}),
        (tags((5, b"")), {}),
        (tags((7, b"no"), (5, tags((7, b"east"), (1, b"x"))), (9, b"no")), {"zone": "east"}),
        (tags((5, tags((7, b"1"))), (5, tags((9, b"2")))), {"user": "2"}),
    ],
    "msgpack": [
        (b"", {}),
        (b"\x80", {}),
        (b"\x91\xa1k", {}),
        (b"\xa1k", {}),
        (mapped(("k", "v"), ("", "")), {"k": "v", "": ""}),
        (mapped(("k", "1"), ("z", "2"), ("k", "3")), {"k": "3", "z": "2"}),
        (mapped((b"\xd9\1k", b"\xc4\1v")) + b"\xa1k", {"k": "v"}),
        (mapped(("n", b"\5"), ("t", b"\xc3"), ("f", b"\xcb" + bytes(8)), ("k", "v")), {"k": "v"}),
        (mapped(("k", "v"), ("k", b"\xc0")), {}),
        (mapped((b"\7", "v"), (mapped(("a", "b")), mapped(("z", "no"))), ("k", "v")), {"k": "v"}),
        (b"\xde\0\1" + mapped(("k", "v"))[1:], {"k": "v"}),
        (b"\xdf\0\0\0\1" + mapped(("k", "v"))[1:], {"k": "v"}),
    ],
    "msgpack, in a map": [
        (mapped(("k", "no")), {}),
        (mapped(("h", b"\xc0")), {}),
        (mapped(("a", "b"), ("h", mapped(("k", "v"))), ("z", "no")), {"k": "v"}),
        (mapped(("h", mapped(("k", "1"))), ("h", mapped(("z", "2")))), {"z": "2"}),
    ],
    "msgpack, in an array": [
        (b"\x92\1" + mapped(("k", "v")), {"k": "v"}),
        (b"\x91" + mapped(("k", "v")), {}),
    ],
    "json": [
        (b"", {}),
        (b"{}", {}),
        (b" { } ", {}),
        (b"[1]", {}),
        (b'"k"', {}),
        (b'{"k":"v","":""}', {"k": "v", "": ""}),
        (b' { "k" : "v" , "z":"2"\n} ', {"k": "v", "z": "2"}),
        (b'{"k": "1", "z": "2", "K": "4", "k": "3"}', {"k": "3", "z": "2", "K": "4"}),
        (b'{"n":-1.5e3,"t":true,"f":false,"k":"v"}', {"n": "-1.5e3", "t": "true", "f": "false", "k": "v"}),
        (b'{"o":{"k":"no"},"a":["no"],"k":"v"}', {"k": "v"}),
        (b'{"k":"v","k":null}', {}),
        ('{"\u00e4":"\u20ac"}'.encode(), {"\u00e4": "\u20ac"}),
    ],
    "json, in an object": [
        (b'{"h":{"k":"no"}}', {}),
        (b'{"a":{"h":"no"}}', {}),
        (b'{"a":{"b":1,"h":{"k":"v"},"c":"no"},"k":"no"}', {"k": "v"}),
    ],
    "json, in an array": [(b'[1,{"k":"v"},"no"]', {"k": "v"}), (b"[]", {})],
    "binary": [
        (b"", {}),
        (b"\0", {}),
        (FLAG + binary() + b"\0", {}),
        (FLAG + b"\x08\0\3\0\0\0\1\0", {}),
        (FLAG + binary(("k", "v"), ("", "")) + b"\0left", {"k": "v", "": ""}),
        (binary(("k", "1"), ("z", "2"), ("k", "3")) + b"\0", {"k": "3", "z": "2"}),
        (binary(types=b"\x0b\x06")[:-1] + b"\1\0\0\0\1k\0\5\0", {}),
        (binary(types=b"\x06\x0b")[:-1] + b"\1\0\5\0\0\0\1v\0", {}),
        (binary(("k", "v"), field=4) + b"\0", {}),
    ],
    "binary, in a struct": [
        (b"\x0c\0\2" + binary(("k", "v")) + b"\0\0", {"k": "v"}),
        (binary(("k", "v")) + b"\0", {}),
    ],
    "binary, in a map": [
        (b"\x0d\0\1\x0b\x0d\0\0\0\1\0\0\0\1h" + binary(("k", "v"))[3:] + b"\0", {"k": "v"}),
        (binary(("h", "v"), field=1) + b"\0", {}),
    ],
    "compact": [
        (b"", {}),
        (TRUE + compact(field=2) + b"\0", {}),
        (TRUE + compact(("k", "v"), ("", ""), field=2) + b"\0left", {"k": "v", "": ""}),
        (compact(("k", "1"), ("z", "2"), ("k", "3")) + b"\0", {"k": "3", "z": "2"}),
        (b"\x3b\1\x84\1k\x0a\0", {}),
        (b"\x3b\1\x81\1k\1\0", {}),
        (b"\x3b\1\x48\x0a\1v\0", {}),
        (b"\x36\2\0", {}),
    ],
    "blocks": [
        (b"", {}),
        (bytes(3), {}),
        (bytes(15), {}),
        (padded(block()), {}),
        (padded(block(("k", "v"), ("", ""))), {"k": "v", "": ""}),
        (padded(block(("k", "1"), ("z", "2"), ("k", "3"))), {"k": "3", "z": "2"}),
        (
            padded(block(("k", "1"), ("z", "2")), block(), block(("k", "3"), ("h", "4"))),
            {"k": "3", "z": "2", "h": "4"},
        ),
        (padded(block(("k", "v"), ("z", "w" * 127)) + bytes(4)), {"k": "v", "z": "w" * 127}),
        (padded(b"\5\1\x80\1" + b"k" * 128 + b"\1v"), {"k" * 128: "v"}),
        (padded(b"\5\x80\1" + block(*[("k", "v")] * 127, ("z", "2"))[2:]), {"k": "v", "z": "2"}),
        (block(("k", "ve")), {"k": "ve"}),
    ],
    "blocks, not padded": [
        (b"\xff\1\1\1k\1v", {"k": "v"}),
        (b"\xff\1\1\1k\1v" + bytes(3), {"k": "v"}),
    ],
}
# A field 2 in front makes `compact(field=2)` field 3: what is told is the distance.


def frame(wire: WireFormat, meta: bytes, kind: str = "request") -> bytes:
    return wire.build({"kind": KINDS[kind], "id": 7, "meta": meta, "body": b"body"})


def every(table):
    return [
        pytest.param(what, *one, id=f"{what} {i}")
        for what, some in table.items()
        for i, one in enumerate(some)
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("what", "meta", "expected"), every(READ))
def test_entries_of_a_map_are_headers(what, meta, expected, kind):
    wire = WIRES[what]
    data = frame(wire, meta, kind)
    assert dict(wire.message(data).headers) == expected
    assert dict(native.headers(wire.address, data)) == expected
    if kind != "response":
        assert dict(native.request(wire.address, data).headers) == expected
    for key in [*expected, "k", "", "h", "kk", "7", "n", "absent"]:
        assert native.header(wire.address, data, key) == expected.get(key)


WRONG = {
    "tlv": [
        (tags((7, b"a")) + b"\1",),
        (tags((7, b"a"), (1, b"bc"))[:-1],),
    ],
    "tlv, in a value": [
        (tags((5, tags((7, b"a"))), (1, b"bc"))[:-1],),
        (tags((5, tags((7, b"a"), (1, b"bc"))[:-1])),),
    ],
    "msgpack": [
        (b"\x81\xa1k",),
        (b"\x82\xa1k\xa1v\xa1k",),
        (b"\x81\xa1k\xa2v",),
        (b"\x81\xa1k\xc1",),
        (b"\x81\x92\1\xa1k",),
        (b"\xc1",),
    ],
    "msgpack, in a map": [(b"\x82\xa1h\x80\xa1k\xc1",), (b"\x82\xa1h\x80",)],
    "json": [
        (b'{"k":"v"',),
        (b'{"k":"v",}',),
        (b'{"k":"v"} x',),
        (b'{"k":v}',),
        (b'{"\\u006b":"v"}',),
        (b'{"k":"v","\\u006b":"w"}',),
    ],
    "json, in an object": [
        (b'{"a":{"h":{"k":"v"}},"A":1}',),
        (b'{"a":{"h":{"k":"v"}}}}',),
    ],
    "binary": [
        (binary(("k", "v")),),
        (binary(("k", "v"))[:-2] + b"\5v\0",),
        (binary(("k", "v"), types=b"\x0b\x01") + b"\0",),
    ],
    "compact": [
        (compact(("k", "v")),),
        (compact(("k", "v"))[:-2] + b"\5v\0",),
        (b"\x3b\1\x8e\1k\1v\0",),
    ],
    "blocks": [
        (b"\5",),
        (b"\5\1",),
        (b"\5\2\1k\1v",),  # a pair less than it says
        (b"\5\2\1k\1v\0",),
        (b"\5\2\1k\1v\1z",),
        (b"\5\1\1k\2v",),
        (b"\5\1\2k",),
        (b"\5\xff\xff\xff\x7f\1k\1v",),
        (b"\5\xff\xff\xff\xff\x0f\1k\1v",),
        (b"\5\1\xff\xff\xff\xff\x0fk\1v",),
        (b"\5\x81\x80\x80\x80\x10\1k\1v",),  # a count of 2 ** 32 + 1
        (b"\5\x81\0\1k\1v",),  # varints that are longer than they must be
        (b"\5\1\x81\0k\1v",),
        (b"\x85\0\1\1k\1v",),
        (b"\5" + b"\xff" * 11,),
        (padded(block(("k", "v"), kind=6)),),  # another type
        (padded(block(("k", "v")), block(("z", "w"), kind=6)),),
        (b"\x85\2\1\1k\1v",),  # as if it were of eight bits
        (b"\0" + block(("k", "v")),),  # behind the padding
        (padded(block(("k", "v"))) + b"\0\0\0\1",),
    ],
    "blocks, not padded": [(block(("k", "v")),)],
}


@pytest.mark.parametrize(("what", "meta"), every(WRONG))
def test_of_a_malformed_structure_no_header_is_read(what, meta):
    wire = WIRES[what]
    data = frame(wire, meta)
    for ask in (wire.message, lambda one: native.headers(wire.address, one)):
        with pytest.raises(RemoteProtocolError):
            ask(data)
    for key in ("k", "zone", "other"):
        with pytest.raises(RemoteProtocolError):
            native.header(wire.address, data, key)
    answer = frame(wire, meta, "response")
    assert not wire.message(answer).headers
    with pytest.raises(RemoteProtocolError):
        native.headers(wire.address, answer)


@pytest.mark.parametrize(("what", "meta"), [one for one in every(WRONG) if b"\\u" not in one.values[1]])
def test_into_a_malformed_structure_no_header_is_written(what, meta):
    with pytest.raises(LocalProtocolError, match="cannot be written to"):
        WIRES[what].edit(frame(WIRES[what], meta), [(native.EDIT_HEADER, "zone", "v")])


def test_a_text_in_escapes_is_read_by_nobody_and_the_others_are_found():
    wire = WIRES["json"]
    data = frame(wire, b'{"k":"v","e":"\\u0031","z":"2"}')
    for ask in (wire.message, lambda one: native.headers(wire.address, one)):
        with pytest.raises(RemoteProtocolError):
            ask(data)
    with pytest.raises(RemoteProtocolError):
        native.header(wire.address, data, "e")
    for key, value in (("k", "v"), ("z", "2"), ("absent", None)):
        assert native.header(wire.address, data, key) == value
    behind = frame(wire, b'{"e":"\\u0031","e":"v"}')
    assert native.header(wire.address, behind, "e") == "v"


# The section, a name, its new text, the section then.
CHANGES = {
    "tlv": [
        (b"", "zone", "east", tags((7, b"east"))),
        (tags((1, b"x"), (7, b"a"), (9, b"b")), "zone", "long", tags((1, b"x"), (7, b"long"), (9, b"b"))),
        (tags((7, b"a"), (1, b"x"), (7, b"b")), "zone", "c", tags((7, b"c"), (1, b"x"))),
        (tags((1, b"x"), (7, b"a")), "low", "c", tags((1, b"x"), (7, b"a"), (-2, b"c"))),
        (tags((1, b"x"), (7, b"a"), (9, b"b")), "zone", None, tags((1, b"x"), (9, b"b"))),
        (tags((1, b"x")), "zone", None, tags((1, b"x"))),
        (b"", "zone", None, b""),
    ],
    "tlv, in a value": [
        (tags((1, b"x")), "zone", "a", tags((1, b"x"), (5, tags((7, b"a"))))),
        (
            tags((5, tags((7, b"a"))), (1, b"x")),
            "user",
            "b",
            tags((5, tags((7, b"a"), (9, b"b"))), (1, b"x")),
        ),
        (tags((1, b"x")), "zone", None, tags((1, b"x"))),
    ],
    "msgpack": [
        (b"", "k", "v", mapped(("k", "v"))),
        (b"\x80", "k", "v", mapped(("k", "v"))),
        (
            mapped(("a", b"\5"), ("k", "v"), (b"\7", "x")),
            "k",
            "long",
            mapped(("a", b"\5"), ("k", "long"), (b"\7", "x")),
        ),
        (mapped(("a", b"\5")), "k", "v", mapped(("a", b"\5"), ("k", "v"))),
        (mapped(("k", "1"), ("a", "x"), ("k", "2")), "k", "3", mapped(("k", "3"), ("a", "x"))),
        (mapped(("k", b"\xc0")), "k", "v", mapped(("k", "v"))),
        (mapped(("k", b"\5"), ("a", "x")) + b"left", "k", None, mapped(("a", "x")) + b"left"),
        (mapped(("7", "x"), (b"\7", "x")), "7", "y", mapped(("7", "y"), (b"\7", "x"))),
    ],
    "msgpack, in a map": [
        (mapped(("a", "b")), "k", "v", mapped(("a", "b"), ("h", mapped(("k", "v"))))),
        (b"", "k", "v", mapped(("h", mapped(("k", "v"))))),
        (mapped(("h", mapped(("k", "v"))), ("a", "b")), "k", None, mapped(("h", b"\x80"), ("a", "b"))),
    ],
    "msgpack, in an array": [
        (
            b"\x93\1" + mapped(("k", "v")) + b"\2",
            "z",
            "w",
            b"\x93\1" + mapped(("k", "v"), ("z", "w")) + b"\2",
        ),
    ],
    "json": [
        (b"", "k", "v", b'{"k":"v"}'),
        (b" { } ", "k", "v", b' {"k":"v" } '),
        (b'{"a": 1, "k": "v", "b": [1, 2]}', "k", "long", b'{"a": 1, "k": "long", "b": [1, 2]}'),
        (b'{"a": {"k": 1}}\n', "k", "v", b'{"a": {"k": 1},"k":"v"}\n'),
        (b'{"k": "1", "a": 2, "k": "3"}', "k", "4", b'{"k": "4", "a": 2}'),
        (b'{ "k": "1", "a": 2 }', "k", None, b'{ "a": 2 }'),
        (b'{"a": 2, "k": "1" }', "k", None, b'{"a": 2 }'),
        (b'{"a": 2, "k": {"b": 1}, "c": 3}', "k", None, b'{"a": 2, "c": 3}'),
        (b'{"k":"1"}', "k", None, b"{}"),
        (b'{"k":1,"K":2}', "k", "7", b'{"k":7,"K":2}'),
        (b'{"k":null}', "k", "v", b'{"k":"v"}'),
        (b'{"e":"\\n"}', "k", "v", b'{"e":"\\n","k":"v"}'),
    ],
    "json, in an object": [
        (b'{"a": {}}', "k", "v", b'{"a": {"h":{"k":"v"}}}'),
        (b'{"a": {"h": {"k": "v"}, "b": 1}}', "z", "w", b'{"a": {"h": {"k": "v","z":"w"}, "b": 1}}'),
        (b'{"a": {"b": 1}}', "k", None, b'{"a": {"b": 1}}'),
    ],
    "json, in an array": [(b'[1, {"k": "v"}, 2]', "k", "w", b'[1, {"k": "w"}, 2]')],
    "binary": [
        (b"", "k", "v", binary(("k", "v")) + b"\0"),
        (FLAG + b"\0left", "k", "v", FLAG + binary(("k", "v")) + b"\0left"),
        (FLAG + binary(("k", "v")) + b"\0", "z", "long", FLAG + binary(("k", "v"), ("z", "long")) + b"\0"),
        (
            binary(("k", "1"), ("z", "2"), ("k", "3")) + b"\0",
            "k",
            "4",
            binary(("k", "4"), ("z", "2")) + b"\0",
        ),
        (binary(("k", "1"), ("z", "2")) + FLAG + b"\0", "k", None, binary(("z", "2")) + FLAG + b"\0"),
    ],
    "binary, in a struct": [
        (b"\x0c\0\2" + FLAG + b"\0\0", "k", "v", b"\x0c\0\2" + FLAG + binary(("k", "v")) + b"\0\0"),
    ],
    "compact": [
        (TRUE + b"\0left", "k", "v", TRUE + compact(("k", "v"), field=2) + b"\0left"),
        (compact(("k", "v")) + b"\x11\0", "k", None, compact() + b"\x11\0"),
        (compact() + b"\x11\0", "k", "v", compact(("k", "v")) + b"\x11\0"),
    ],
    "blocks": [
        (b"", "k", "v", padded(block(("k", "v")))),
        (bytes(3), "k", "v", padded(block(("k", "v")))),
        (bytes(7), "k", None, bytes(7)),
        (
            padded(block(("k", "v"))) + bytes(4),
            "z",
            "long",
            padded(block(("k", "v"), ("z", "long"))) + bytes(4),
        ),
        (padded(block()), "k", "v", padded(block(), block(("k", "v")))),
        (padded(block(), block(("k", "v"))), "k", None, padded(block())),
        (bytes(2), "k", "v", padded(block(("k", "v")))),  # was not filled
        (padded(block(("k", "v"))), "z", "long", padded(block(("k", "v"), ("z", "long")))),
        (
            padded(block(("k", "1"), ("z", "2")), block(("a", "3"), ("k", "4"))),
            "k",
            "w" * 127,
            padded(block(("k", "w" * 127), ("z", "2")), block(("a", "3"))),
        ),
        (
            padded(block(("k", "1"), ("z", "2")), block(("k", "3"), ("k", "4"))),
            "k",
            None,
            padded(block(("z", "2"))),
        ),
        (
            padded(block(("k", "1")), block(("z", "2"))),
            "a",
            "3",
            padded(block(("k", "1")), block(("z", "2"), ("a", "3"))),
        ),
        (padded(block(("k", "v"))), "k", None, bytes(3)),
        (b"", "k", "w" * 128, padded(b"\5\1\1k\x80\1" + b"w" * 128)),
    ],
    "blocks, not padded": [(b"\xff\1\1\1k\1v\0", "k", "w", b"\xff\1\1\1k\1w\0")],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("what", "meta", "key", "value", "expected"), every(CHANGES))
def test_a_header_is_written_where_it_stands(what, meta, key, value, expected, kind):
    wire = WIRES[what]
    changed = wire.edit(frame(wire, meta, kind), [(native.EDIT_HEADER, key, value)])
    assert changed == frame(wire, expected, kind)
    assert native.header(wire.address, changed, key) == value


@pytest.mark.parametrize("what", WIRES)
def test_what_was_added_and_is_taken_out_leaves_all_as_it_was(what):
    wire = WIRES[what]
    for meta, headers in READ[what]:
        if headers:
            key = next(one for one in [*NAMES.values(), "x-new"] if one not in headers)
            data = frame(wire, meta)
            if b"\xde" in meta or b"\xdf" in meta:
                continue  # a wider count than it needs is not kept
            added = wire.edit(data, [(native.EDIT_HEADER, key, "1")])
            assert dict(wire.message(added).headers) == {**headers, key: "1"}
            assert wire.edit(added, [(native.EDIT_HEADER, key, None)]) == data


REFUSED = {
    "tlv": [
        (b"", "other", "v", "no tag is called b'other'; those with names are headers"),
        (b"", "zone", "x" * 70000, "tlv"),
    ],
    "tlv, in a value": [],
    "msgpack": [
        (mapped(("k", b"\5")), "k", "6", "the value of b'k' is no text"),
        (mapped(("k", b"\5")), "k", "x", "holds an integer"),
        (mapped(("k", mapped(("a", "b")))), "k", "x", "is map, and no text is put there"),
        (b"\xa1x", "k", "v", "is no map, and holds no b'k'"),
    ],
    "msgpack, in a map": [(mapped(("h", "x")), "k", "v", "is no map, and holds no b'k'")],
    "msgpack, in an array": [(b"\x91\1", "k", "v", "the array has no element 1")],
    "json": [
        (b'{"k":{}}', "k", "v", "is no text"),
        (b'{"k":1}', "k", "v", "is a number"),
        (b"{}", "k", 'a"b', "needs escapes"),
        (b"[]", "k", "v", "is no map, and holds no b'k'"),
    ],
    "json, in an object": [
        (b"{}", "k", "v", "there is no 'a' that 'h' can be put into"),
        (b'{"a":{"h":"x"}}', "k", "v", "is no map, and holds no b'k'"),
    ],
    "json, in an array": [
        (b"[1]", "k", "v", "there is no element 1"),
        (b"{}", "k", "v", "there is no element 1"),
    ],
    "binary": [
        (binary(types=b"\x0b\x06")[:-1] + b"\1\0\0\0\1a\0\5\0", "k", "6", "the value of b'k' is no text"),
        (b"\x08\0\3\0\0\0\1\0", "k", "v", "is no map, and holds no b'k'"),
    ],
    "binary, in a map": [(binary(field=1) + b"\0", "k", "v", "there is no 'h', and no map is put there")],
}


@pytest.mark.parametrize(("what", "meta", "key", "value", "why"), every(REFUSED))
def test_what_cannot_be_said_there_is_refused(what, meta, key, value, why):
    with pytest.raises(LocalProtocolError, match=why):
        WIRES[what].edit(frame(WIRES[what], meta), [(native.EDIT_HEADER, key, value)])


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            lambda: declared(tlv(this.meta, Int8ub, Int8ub)),
            r"headers: tlv\(this.meta, ...\) has numbers for keys: say what",
        ),
        (
            lambda: declared(thrift(this.meta, "compact")),
            r"is a struct: write the id of a field that is a map, as in thrift",
        ),
        (
            lambda: tlv(this.meta, Int8ub, Int8ub, names=["a"]),
            "tlv: names=.* was given; they are what tags are called",
        ),
        (
            lambda: tlv(this.meta, Int8ub, Int8ub, names={"a": "b"}),
            "tlv: names=.* was given; they are what tags are called",
        ),
        (
            lambda: tlv(this.meta, Int8ub, Int8ub, names={1: ""}),
            "tlv: names=.* was given; they are what tags are called",
        ),
        (lambda: tlv(this.meta, Int8ub, Int8ub, names={256: "b"}), "tlv: names=: 256 does not fit a tag"),
        (lambda: tlv(this.meta, Int8ub, Int8ub, names={1: "b", 2: "b"}), "two tags have one name"),
        (
            lambda: declared(blocks(this.meta)),
            r"headers: blocks\(this.meta, ...\) is of several blocks, or of none: write their type, as in b",
        ),
        (lambda: declared(blocks(this.meta)[1]["k"]), "write their type"),
        (lambda: blocks(this.meta)[0], "blocks: 0 is no type of a block; they are 1 to 255"),
        (lambda: blocks(this.meta)[256], "256 is no type of a block"),
        (lambda: blocks(this.meta)["k"], "'k' is no type of a block"),
        (lambda: blocks(this.meta)[1][2], "2 is asked for behind 1; a type, and a text"),
        (lambda: blocks(this.meta)[1]["k"]["z"], "'z' is asked for behind 'k'; a type, and a text"),
        (lambda: blocks(this.meta, align=0), "blocks: align="),
        (lambda: blocks(this.meta, front=-1), "blocks: front="),
    ],
)
def test_a_wrong_declaration_of_headers_is_refused(make, why):
    with pytest.raises(DeclarationError, match=why):
        make()


@pytest.mark.parametrize(
    ("offset", "value", "why"),
    [
        (8, (1 << 32) - 2, "where a map stands is out of range"),
        (28, 1, "or its keys are looked up"),
        (12, 1 << 20, "the names of a map's keys are out of range"),
        (12, None, "the names of a map's keys are out of range"),
        (4, max(KINDS_OF_MAPS.values()) + 1, "a map is of no kind"),
    ],
)
def test_a_program_with_a_wrong_map_in_a_structure_is_refused(offset, value, why):
    names = WIRES["tlv"].meaning.headers.inside
    image = bytearray(declared(names, service=lines(this.body, "=", ";")["to"]).image("x"))
    first, count, size = place_of(image, "maps")
    assert count == 3  # of answers the same once more
    kind = KINDS_OF_MAPS["tlv"].to_bytes(4, sys.byteorder)
    at = next(at for at in range(first, first + count * size, size) if image[at + 4 : at + 8] == kind)
    image[at + 24 : at + 28] = bytes(4)  # keys from the first on
    native.declared(bytes(image))
    if value is None:  # a name that is no literal
        table = place_of(image, "tables")[0] + 16 * int.from_bytes(image[at + 12 : at + 16], sys.byteorder)
        entry = place_of(image, "entries")[0] + 16 * int.from_bytes(image[table : table + 4], sys.byteorder)
        image[entry + 8 : entry + 16] = (1 << 40).to_bytes(8, sys.byteorder)
    else:
        image[at + offset : at + offset + 4] = value.to_bytes(4, sys.byteorder)
    with pytest.raises(DeclarationError, match=why):
        native.declared(bytes(image))


def _kit(what):
    wire = WIRES[what]
    some = [(meta, headers) for meta, headers in READ[what] if headers]
    golden = [
        Golden(f"{kind}_{number}", frame(wire, meta, kind), {"kind": kind, "id": 7, "headers": headers})
        for kind in KINDS
        for number, (meta, headers) in enumerate(some)
        if not {b"\xde", b"\xdf"} & {meta[:1]}
    ]
    return conformance(Protocol("maps", wire), golden=golden, examples=30)


TestTlv = _kit("tlv")
TestTlvInside = _kit("tlv, in a value")
TestMsgpack = _kit("msgpack")
TestMsgpackInside = _kit("msgpack, in a map")
TestJson = _kit("json")
TestJsonInside = _kit("json, in an object")
TestThriftBinary = _kit("binary")
TestThriftCompact = _kit("compact")
TestBlocks = _kit("blocks")
