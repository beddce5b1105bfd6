"""Arguments of calls, by views (``arguments=``): engine and reference say the same."""

from __future__ import annotations

import ast
import json
import struct
from pathlib import Path

import locales
import pytest
from construct import GreedyBytes, If, Int8ub, Int16ub, Prefixed, Struct, this
from programs import place_of

from protokit import Protocol, WireFormat, native
from protokit import wire as words
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.testing import Golden, conformance
from protokit.wire import ErrorText, Replies, decimal, first, lines, number, pairs, protobuf, split, thrift

GONE = "no argument"


def made(arguments, **more):
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "id" / Int16ub,
            "flags" / Int8ub,
            "head" / Prefixed(Int8ub, GreedyBytes),
            "body" / If(this.kind != 3, Prefixed(Int16ub, GreedyBytes)),
        ),
        id=this.id,
        response=this.kind == 1,
        oneway=this.kind == 2,
        service=this.head,
        arguments=arguments,
        replies=Replies(error=lambda *_: {"kind": 1, "flags": 0, "head": b"", "body": ErrorText()}),
        **more,
    )


def call(wire, body, kind=0, flags=0, head=b"svc"):
    return wire.build({"kind": kind, "id": 7, "flags": flags, "head": head, "body": body})


def said(ask, frame, index, keys):
    """What one side says; an error by its class."""
    try:
        value = ask(frame, index, keys)
    except IndexError:
        return GONE
    except (RemoteProtocolError, LocalProtocolError) as error:
        return type(error)
    return type(value), value


def both(wire, frame, index, keys=()):
    """What engine and reference say alike, in front of nothing."""
    engine = said(wire.ask.argument, frame, index, keys)
    room = native.Guarded(1 << 18)
    in_room = said(lambda data, *at: native.argument(wire.address, room.put(data), *at), frame, index, keys)
    assert engine == in_room == said(wire.argument, frame, index, keys)
    return engine[1] if isinstance(engine, tuple) else engine


VALUES = [
    (b"\xc0", None),
    (b"\xc2", False),
    (b"\xc3", True),
    (b"\x07", 7),
    (b"\xff", -1),
    (b"\xcc\xff", 255),
    (b"\xd0\x80", -128),
    (b"\xd3" + struct.pack(">q", -(2**63)), -(2**63)),
    (b"\xcf" + struct.pack(">Q", 2**63 - 1), 2**63 - 1),
    (b"\xcf" + struct.pack(">Q", 2**63), b"\xcf" + struct.pack(">Q", 2**63)),
    (b"\xca" + struct.pack(">f", 1.5), 1.5),
    (b"\xcb" + struct.pack(">d", -0.1), -0.1),
    (b"\xa3abc", "abc"),
    (b"\xa0", ""),
    (b"\xd9\x03abc", "abc"),
    (b"\xda\0\3abc", "abc"),
    (b"\xc4\3abc", b"\xc4\3abc"),
    (b"\x91\x07", b"\x91\x07"),
    (b"\x81\xa1a\x07", b"\x81\xa1a\x07"),
    (b"\xd4\1x", b"\xd4\1x"),
]
OF_MSGPACK = made(words.msgpack(this.body))


@pytest.mark.parametrize(("raw", "value"), VALUES)
@pytest.mark.parametrize("index", [0, 1, 20])
def test_items_of_messagepack_are_what_they_are(raw, value, index):
    frame = call(OF_MSGPACK, b"\xdc" + struct.pack(">H", index + 2) + b"\x91\xc0" * index + raw + b"\xa1z")
    assert both(OF_MSGPACK, frame, index) == value
    assert both(OF_MSGPACK, frame, index + 1) == "z"
    for beyond in (index + 2, 255, 256, 65536, 2**32 - 1):
        assert both(OF_MSGPACK, frame, beyond) == GONE


@pytest.mark.parametrize(("key", "value"), [(0, "a"), (1, GONE), (300, "b")])
def test_of_a_map_it_is_what_has_that_number(key, value):
    frame = call(OF_MSGPACK, b"\x82\x00\xa1a\xcd\x01\x2c\xa1b")
    assert both(OF_MSGPACK, frame, key) == value


NESTED = [
    (b"\x81\xa1a\x92\x01\xa1x", "a.1", "x"),
    (b"\x81\xa1a\x92\x01\xa1x", "a.2", GONE),
    (b"\x81\xa1a\x92\x01\xa1x", "a.01", GONE),
    (b"\x82\xa1a\x01\xa1a\x02", "a", 2),
    (b"\x81\x07\x02", "7", 2),
    (b"\x81\xff\x02", "-1", 2),
    (b"\x81\xa17\x02", "7", 2),
    (b"\x82\xa17\x02\x07\x03", "7", RemoteProtocolError),
    (b"\x92\x01\x02", "a", GONE),
    (b"\xa1a", "0", GONE),
    (b"\xc4\x01a", "0", GONE),
    (b"\xc0", "a", GONE),
    (b"\x81\xa1a\xc0", "a", None),
    (b"\x81\xa1a\x81\xa1b\xc3", "a.b", True),
    (b"\x81\xa1a", "a", RemoteProtocolError),
    (b"\x81\xcf" + bytes([255] * 8) + b"\x02", "18446744073709551615", GONE),
]


@pytest.mark.parametrize(("raw", "path", "value"), NESTED)
def test_what_is_inside_of_messagepack(raw, path, value):
    frame = call(OF_MSGPACK, b"\x92\x01" + raw)
    assert both(OF_MSGPACK, frame, 1, path.split(".")) == value


@pytest.mark.parametrize("body", [b"\x92\x01", b"\x93\x01\xa5ab", b"\xc1", b"\x92\x01\xc1"])
def test_what_is_malformed_has_no_arguments(body):
    frame = call(OF_MSGPACK, body)
    for index in range(3):
        assert both(OF_MSGPACK, frame, index) is RemoteProtocolError


JSONS = [
    ("null", None),
    ("true", True),
    ("false", False),
    ("0", 0),
    ("-0", 0),
    ("7", 7),
    ("-7", -7),
    (str(2**63 - 1), 2**63 - 1),
    (str(-(2**63)), -(2**63)),
    (str(2**63), str(2**63).encode()),
    ("1" * 63, b"1" * 63),
    ("1" * 64, b"1" * 64),
    ("1.5", 1.5),
    ("-1e3", -1000.0),
    ("2E-2", 0.02),
    ("1e999", float("inf")),
    ("1." + "0" * 62, b"1." + b"0" * 62),
    ('"abc"', "abc"),
    ('"\u00e4\u20ac"', "\u00e4\u20ac"),
    ('""', ""),
    (r'"a\"b"', RemoteProtocolError),
    ("[1, 2]", b"[1, 2]"),
    ('{"a": 1}', b'{"a": 1}'),
]
OF_JSON = made(words.json(this.body)["params"])


INSIDE = [
    ('{"a": [1, {"b": "x"}]}', "a.1.b", "x"),
    ('{"a": [1, {"b": "x"}]}', "a.1.c", GONE),
    ('{"7": 2}', "7", 2),
    ('{"a": 1, "a": 2}', "a", RemoteProtocolError),  # whose receivers differ
    (r'{"\u0061": 1, "b": 2}', "b", RemoteProtocolError),
    ("[1, 2]", "1", 2),
    ("[1, 2]", "01", GONE),
    ("[1, 2]", "-1", GONE),
    ('"abc"', "0", GONE),
    ("12", "0", GONE),
    ("12345678901234567890123", "0", GONE),
]


@pytest.mark.parametrize(("raw", "path", "value"), INSIDE)
def test_what_is_inside_of_json(raw, path, value):
    frame = call(OF_JSON, f'{{"params": [null, {raw}]}}'.encode())
    assert both(OF_JSON, frame, 1, path.split(".")) == value


def test_nothing_is_inside_of_a_view():
    viewed = made((this.head,))
    assert not viewed.ask.reads_inside
    assert both(viewed, call(viewed, b"x"), 0, ["a"]) is LocalProtocolError


@pytest.mark.parametrize(("raw", "value"), JSONS)
@pytest.mark.parametrize("index", [0, 1, 5])
def test_items_of_json_are_what_they_are(raw, value, index):
    items = ", ".join(["[{}]"] * index + [raw, '"z"'])
    frame = call(OF_JSON, f'{{"id": 1, "params" : [ {items} ]}}'.encode())
    assert both(OF_JSON, frame, index) == value
    assert both(OF_JSON, frame, index + 1) == "z"
    assert both(OF_JSON, frame, index + 2) == GONE
    assert both(OF_JSON, frame, 2**32 - 1) == GONE


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"", GONE),
        (b"{}", GONE),
        (b'{"params": {"0": 1}}', GONE),
        (b'{"params": 1}', GONE),
        (b'{"params": []}', GONE),
        (b'{"params": [1', RemoteProtocolError),
        (b'{"params": [1], "Params": [2]}', RemoteProtocolError),
    ],
)
def test_where_there_is_no_array_there_is_none(body, value):
    assert both(OF_JSON, call(OF_JSON, body), 0) == value


def test_values_of_json_are_those_of_another_reader():
    values = [0, 1, -5, 2**40, 1.25, -2.5e-7, True, False, None, "text", "1", "\u00e4"]
    frame = call(OF_JSON, json.dumps({"params": values}, ensure_ascii=False).encode())
    assert [both(OF_JSON, frame, index) for index in range(len(values))] == values


def test_numbers_are_the_same_in_each_locale(tmp_path):
    """A plugin may choose another for the process."""
    frame = call(OF_JSON, b'{"params": [1.5, -2.25e-3, 7]}')
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_arguments import OF_JSON, native
print([native.argument(OF_JSON.address, {frame!r}, index) for index in range(3)])
"""
    assert ast.literal_eval(locales.run(tmp_path, code)) == [1.5, -0.00225, 7]


WORDS = split(this.body, " ", 4)
OF_VIEWS = made((WORDS[0], number(WORDS[1]), first(WORDS[2], "none"), this.head, decimal(this.flags)))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"a 7 c", ["a", 7, "c", "svc", "9", GONE]),
        (b"a -7", ["a", -7, "none", "svc", "9", GONE]),
        (b"a", ["a", None, "none", "svc", "9", GONE]),
        (b"a x c", ["a", RemoteProtocolError, "c", "svc", "9", GONE]),
        (b"a - c", ["a", RemoteProtocolError, "c", "svc", "9", GONE]),
        (b"a  c", ["a", RemoteProtocolError, "c", "svc", "9", GONE]),
        (b"a 9223372036854775807", ["a", 2**63 - 1, "none", "svc", "9", GONE]),
        (b"a -9223372036854775808", ["a", -(2**63), "none", "svc", "9", GONE]),
        (b"a 9223372036854775808", ["a", RemoteProtocolError, "none", "svc", "9", GONE]),
        (b"a -9223372036854775809", ["a", RemoteProtocolError, "none", "svc", "9", GONE]),
        (b"a 00000000000000000000000000000012", ["a", 12, "none", "svc", "9", GONE]),
        (b"", ["", None, "none", "svc", "9", GONE]),
    ],
)
def test_a_view_each(body, expected):
    frame = call(OF_VIEWS, body, flags=9)
    assert [both(OF_VIEWS, frame, index) for index in range(6)] == expected


def test_views_of_every_kind_find_arguments():
    meta = protobuf(this.body)
    wire = made((meta[1], number(meta[2]), meta[3][1]))
    frame = call(wire, b"\x0a\x01x\x10\x2a\x1a\x03\x0a\x01y")
    assert [both(wire, frame, index) for index in range(4)] == ["x", 42, "y", GONE]
    assert [both(wire, call(wire, b""), index) for index in range(3)] == [None, None, None]
    assert both(wire, call(wire, b"\x0a\x05x"), 0) is RemoteProtocolError
    fields = thrift(this.body, "binary")
    wire = made([fields[1], number(fields[2])])
    frame = call(wire, b"\x0b\0\1\0\0\0\1x\x08\0\2\xff\xff\xff\xff\0")
    assert [both(wire, frame, index) for index in range(2)] == ["x", -1]
    head = lines(this.body, "=", ";")
    wire = made([head["a"], number(head["b"])])
    assert [both(wire, call(wire, b"a=x;b=3"), index) for index in range(2)] == ["x", 3]
    of_pairs = pairs(this.body, key=Int8ub, value=Int8ub)
    wire = made([of_pairs["a"]])
    assert both(wire, call(wire, b"\1a\1x"), 0) == "x"
    assert both(wire, call(wire, b"\1a\5x"), 0) is RemoteProtocolError


@pytest.mark.parametrize("arguments", [words.msgpack(this.body), [this.body], [number(this.body)]])
def test_of_what_cannot_be_read_nothing_is_said(arguments):
    """Neither that there is none, which a rule could ask for, nor another value."""
    wire = made(arguments, readable=(this.body, this.flags == 0))
    frame = call(wire, b"\x91\x07" if not isinstance(arguments, list) else b"7", flags=1)
    assert both(wire, frame, 0) is RemoteProtocolError
    assert both(wire, call(wire, b"", flags=1, kind=3), 0) is RemoteProtocolError  # its section is not there
    frame = call(wire, b"\x91\x07" if not isinstance(arguments, list) else b"7")
    assert both(wire, frame, 0) in (7, "7")


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_only_calls_have_arguments(kind):
    frame = call(OF_MSGPACK, b"\x91\x07", kind=kind)
    assert both(OF_MSGPACK, frame, 0) == (GONE if kind == 1 else 7)


def test_a_format_without_has_none():
    wire = made(None)
    assert not wire.ask.reads_arguments
    assert OF_MSGPACK.ask.reads_arguments
    assert OF_VIEWS.ask.reads_arguments
    assert both(wire, call(wire, b""), 0) is LocalProtocolError


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (protobuf(this.body), "arguments: .* was given: write an array of msgpack"),
        (this.body, "arguments: .* was given: write an array"),
        ([], r"arguments: \[\] was given"),
        (print, r"for filters alone, an object with read\(frame\) and write\(frame, values\)"),
        ([this.body] * 65, "a list of 1 to 64 views"),
        ([this.kind], "this.kind is an integer"),
        ([this.none], "arguments: none is no"),
        (words.msgpack(this.kind), "this.kind is an integer"),
        ([split(this.body, " ", 2)], "say which"),
        (words.json(this.body)["x" * 500], "arguments: the keys of .* take over 500 bytes"),
    ],
)
def test_what_says_no_arguments_is_refused(arguments, match):
    with pytest.raises(DeclarationError, match=match):
        made(arguments)


def test_as_many_as_there_may_be():
    wire = made([*[WORDS[0], WORDS[1]] * 32])
    frame = call(wire, b"a b")
    assert [both(wire, frame, index) for index in (0, 1, 62, 63, 64)] == ["a", "b", "a", "b", GONE]
    wire = made(words.json(this.body)["x" * 489])
    assert both(wire, call(wire, json.dumps({"x" * 489: [5]}).encode()), 0) == 5


# A program that is wrong is refused, whoever made it.


@pytest.mark.parametrize(
    ("wire", "changed", "why"),
    [
        (OF_VIEWS, (200, 0, 255, 0), "an argument's text is not found on some path"),
        (OF_VIEWS, (0, 0, 200, 0), "an argument's text is not found on some path"),
        (OF_VIEWS, (255, 0, 255, 0), "an argument is out of range"),
        (OF_VIEWS, (0, 0, 256, 0), "an argument is out of range"),
        (OF_VIEWS, (0, 4, 255, 0), "an argument is out of range"),
        (OF_VIEWS, (0, 2, 255, 0), "the path to arguments is out of range"),
        (OF_JSON, (0, 3, 255, 1 << 20), "the path to arguments is out of range"),
    ],
)
def test_arguments_that_no_text_says_are_refused(wire, changed, why):
    image = bytearray(wire.image("wrong"))
    at, count, size = place_of(image, "arguments")
    assert (count, size) == (len(wire.meaning.arguments), 16)
    struct.pack_into("=4I", image, at, *changed)
    with pytest.raises(DeclarationError, match=why):
        native.declared(bytes(image))


# The kit compares them, too.


@pytest.mark.parametrize("arguments", [[5, "x"], [5]])
def test_golden_vectors_say_arguments(arguments):
    vectors = [
        Golden("q", call(OF_MSGPACK, b"\x92\x05\xa1x"), expect={"arguments": arguments}),
        Golden("a", call(OF_MSGPACK, b"", kind=1)),
    ]
    kit = conformance(Protocol("argued", OF_MSGPACK), golden=vectors, examples=0)()
    if len(arguments) == 2:
        kit.test_golden_vectors_mean_what_they_should()
        kit.test_codecs_agree()
    else:
        with pytest.raises(AssertionError, match="arguments are"):
            kit.test_golden_vectors_mean_what_they_should()


@pytest.mark.parametrize("wrong", [6, None, "5", 5.0])
def test_the_kit_sees_an_argument_that_is_another(wrong, monkeypatch):
    vectors = [Golden("q", call(OF_MSGPACK, b"\x91\x05")), Golden("a", call(OF_MSGPACK, b"", kind=1))]
    kit = conformance(Protocol("argued", OF_MSGPACK), golden=vectors, examples=0)()
    monkeypatch.setattr(OF_MSGPACK, "argument", lambda data, index, keys: wrong)
    with pytest.raises(AssertionError, match="the reference says"):
        kit.test_codecs_agree()


def changed(wire, frame, values):
    """A frame with other arguments, which the engine reads so."""
    again = wire.ask.with_arguments(frame, values)
    for index, value in enumerate(values):
        if not isinstance(value, list | dict):
            assert both(wire, again, index) == value
    return again


def test_arguments_of_messagepack_are_changed_and_the_others_stay():
    body = b"\x95\xd1\x00\x05\xa1x\x91\x07\xc0\xcb" + struct.pack(">d", 1.5)  # 5 in more bytes than it needs
    frame = call(OF_MSGPACK, body)
    assert OF_MSGPACK.ask.arguments(frame) == [5, "x", b"\x91\x07", None, 1.5]
    again = changed(OF_MSGPACK, frame, [5, "other", b"\x91\x07", True, -(2**63)])
    assert again[again.index(b"\x95") :].startswith(
        b"\x95\xd1\x00\x05\xdb\0\0\0\x05other\x91\x07\xc3\xd3\x80"
    )
    assert OF_MSGPACK.ask.with_arguments(frame, OF_MSGPACK.ask.arguments(frame)) == frame
    for values, why in (
        ([5, "x", [7], None, 1.5], "argument 2: of MessagePack null, booleans, numbers and texts"),
        ([5], "the call has 5 arguments, and 1 were given"),
        ([2**64, "x", b"\x91\x07", None, 1.5], "argument 0"),
    ):
        with pytest.raises(LocalProtocolError, match=why):
            OF_MSGPACK.ask.with_arguments(frame, values)


def test_arguments_of_json_are_changed_and_the_others_stay():
    frame = call(OF_JSON, b'{"id": 1, "params" : [ 1e0 , "a\\u0062", {"a" : [1]} ] , "x": 2}')
    assert OF_JSON.ask.arguments(frame) == [1.0, "ab", {"a": [1]}]
    again = changed(OF_JSON, frame, [1.0, "c", {"a": [2, None]}])
    assert again.endswith(b'{"id": 1, "params" : [ 1e0 , "c", {"a":[2,null]} ] , "x": 2}')
    for value in ({1, 2}, float("nan"), b"x"):
        with pytest.raises(LocalProtocolError, match="argument 0: JSON has no"):
            OF_JSON.ask.with_arguments(frame, [value, "ab", {"a": [1]}])
    no_array = call(OF_JSON, b'{"params": {"b": 7}}')
    assert OF_JSON.ask.arguments(no_array) == []
    assert OF_JSON.ask.with_arguments(no_array, []) == no_array
    with pytest.raises(RemoteProtocolError):
        OF_JSON.ask.arguments(call(OF_JSON, b'{"params": [1'))


def test_arguments_that_are_views_are_changed_by_their_inverses():
    wire = made((this.head, number(first(protobuf(this.body)[2]))))
    frame = call(wire, b"\x10\x07\x1a\x01z")
    assert wire.ask.arguments(frame) == ["svc", 7]
    again = changed(wire, frame, ["other", 300])
    assert again.endswith(b"\x10\xac\x02\x1a\x01z")
    for values, why in (
        (["svc", "7"], "argument 1 is a whole number of 64 bits or None"),
        ([7, 7], "argument 0 is a text or None"),
        (["svc"], "the call has 2 arguments, and 1 were given"),
    ):
        with pytest.raises(LocalProtocolError, match=why):
            wire.ask.with_arguments(frame, values)
    with pytest.raises(LocalProtocolError, match="declares no arguments"):
        made(None).ask.arguments(call(made(None), b""))
