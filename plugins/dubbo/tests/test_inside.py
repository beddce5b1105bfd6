"""What stands inside of arguments: by a plain walk over Python values, and by the engine over their bytes."""

from __future__ import annotations

import contextlib
import functools
import json
import struct
from typing import Any

import pytest
from dubbo_vectors import LINES, values
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from protokit_dubbo import dubbo
from protokit_dubbo.hessian import Long, Object, Writer
from protokit_dubbo.messages import HEADER, Call, decode

from protokit import native
from protokit.errors import ProtokitError, RemoteProtocolError

CODEC = dubbo.wire.address
GONE, UNREADABLE, OTHER = "nothing there", "unreadable", "no scalar"
GENERIC = "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;"


# The model.


def under(value: Any, key: str) -> list[Any]:
    """What a key may mean in a value: of a map with it as a text and as a number each."""
    if isinstance(value, Object):
        return [value.fields[key]] if key in value.fields else []
    if isinstance(value, dict):
        return [
            one
            for name, one in value.items()
            if isinstance(name, str | int) and not isinstance(name, bool) and str(name) == key
        ]
    if isinstance(value, list) and key.isdecimal() and str(int(key)) == key and int(key) < len(value):
        return [value[int(key)]]
    return []


def one_setter(name: Any, key: str) -> bool:
    """Whether the setters of two names may be one: Java makes their first characters upper case."""
    if not isinstance(name, str) or name == key or not name or not key or name[1:] != key[1:]:
        return False
    first, other = name[0], key[0]
    if first.upper().isascii() or other.upper().isascii():
        return first.upper() == other.upper()
    return first < "\u3000" and other < "\u3000"


def modelled(value: Any, keys: tuple[str, ...], *, generic: bool = False) -> Any:
    for key in keys:
        found = under(value, key)
        if generic and isinstance(value, dict) and any(one_setter(name, key) for name in value):
            return UNREADABLE
        if not found:
            return GONE
        if len(found) > 1:
            return UNREADABLE
        value = found[0]
    scalar = value is None or isinstance(value, bool | int | float | str)
    return (
        (type(value), value) if scalar and not isinstance(value, Long) else (int, value) if scalar else OTHER
    )


def paths(value: Any, keys: tuple[str, ...] = (), most: int = 5) -> list[tuple[str, ...]]:
    """All that are in it, and beside each one that is not."""
    found = [(*keys, "none"), (*keys, "0"), (*keys, "-1"), (*keys, "7"), (*keys, "00")]
    if len(keys) == most:
        return found
    if isinstance(value, list):
        inside = [(str(i), one) for i, one in enumerate(value)]
        found.append((*keys, str(len(value))))
    else:
        named = value.fields if isinstance(value, Object) else value if isinstance(value, dict) else {}
        inside = [(str(name), one) for name, one in named.items()]
    for key, one in inside:
        found += [(*keys, key), *paths(one, (*keys, key), most)]
    return found


def said(frame: bytes, index: int, keys: tuple[str, ...], ask: Any = None) -> Any:
    try:
        value = (ask or functools.partial(native.argument, CODEC))(frame, index, keys)
    except IndexError:
        return GONE
    except RemoteProtocolError:
        return UNREADABLE
    return OTHER if isinstance(value, bytes) else (type(value), value)


def both_ways(arguments: list[Any], written: Any) -> list[bytes]:
    """A call, and a generic one with the same arguments."""
    names = ["java.lang.Object"] * len(arguments)
    return [
        written("m", "Ljava/lang/Object;" * len(arguments), arguments),
        written("$invoke", GENERIC, ["m", names, arguments]),
    ]


def in_hessian(method: str, types: str, arguments: list[Any]) -> bytes:
    return Call("demo.S", method, types, arguments).encode()


keyed = values | st.dictionaries(
    st.integers(-3, 8) | st.sampled_from(["0", "7", "-1", "\U0001f600"]), values, max_size=4
)


@st.composite
def shared(draw: Any) -> list[Any]:
    """Arguments of which later ones may hold what stands in earlier ones, or themselves."""
    found = draw(st.lists(keyed, min_size=1, max_size=3))
    containers = [one for one in found if isinstance(one, list | dict | Object)]
    for one in containers:
        into = draw(st.sampled_from(containers))
        if isinstance(into, list):
            into.append(one)
        elif isinstance(into, dict):
            into["shared"] = one
        else:
            into.fields["shared"] = one
    return found


@given(shared())
@settings(max_examples=many(60), deadline=None)
def test_what_is_inside_of_hessian_is_what_a_plain_walk_finds(arguments):
    room = native.Guarded(1 << 17)
    for frame in both_ways(arguments, in_hessian):
        kept, generic = room.put(frame), b"$invoke" in frame
        for index, value in enumerate(arguments):
            for keys in paths(value, most=3):
                assert said(kept, index, keys) == modelled(value, keys, generic=generic), keys
        assert said(kept, len(arguments), ("a",)) == GONE


# fastjson2.


class Jsonb:
    """An item as fastjson2 writes one: names of fields and types are said once and then by their numbers."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.symbols: dict[str, int] = {}

    def write(self, value: Any) -> None:
        if value is None or isinstance(value, bool):
            self.data += b"\xaf" if value is None else b"\xb1" if value else b"\xb0"
        elif isinstance(value, int):
            small = 0 <= value < 0x30
            self.data += bytes([value]) if small else b"\xbe" + struct.pack(">q", value)
        elif isinstance(value, float):
            self.data += b"\xb5" + struct.pack(">d", value)
        elif isinstance(value, bytes):
            self.data += b"\x91\x48" + struct.pack(">i", len(value)) + value
        elif isinstance(value, str):
            raw = value.encode()
            plain = value.isascii() and len(raw) < 48
            self.data += (
                bytes([0x49 + len(raw)]) if plain else b"\x7a\x48" + struct.pack(">i", len(raw))
            ) + raw
        elif isinstance(value, list):
            self.data += (
                bytes([0x94 + len(value)]) if len(value) < 16 else b"\xa4\x48" + struct.pack(">i", len(value))
            )
            for one in value:
                self.write(one)
        else:
            self.mapping(value)

    def mapping(self, value: Any) -> None:
        pairs = value.fields if isinstance(value, Object) else value
        if isinstance(value, Object):
            self.symbol(0x92, value.class_name)
        self.data.append(0xA6)
        for name, one in pairs.items():
            if isinstance(value, Object):
                self.symbol(0x7F, name)
            else:
                self.write(name)
            self.write(one)
        self.data.append(0xA5)

    def symbol(self, tag: int, name: str) -> None:
        self.data.append(tag)
        if name not in self.symbols:
            self.symbols[name] = len(self.symbols)
            self.write(name)
        self.data += b"\x48" + struct.pack(">i", self.symbols[name])


def in_jsonb(method: str, types: str, arguments: list[Any]) -> bytes:
    body = b""
    for one in ("2.0.2", "demo.S", "1.0", method, types, *arguments, {"path": "demo.S"}):
        item = Jsonb()
        item.write(one)
        body += struct.pack(">I", len(item.data)) + item.data
    return HEADER.pack(0xDABB, 0xD7, 0, 7, len(body)) + body


@given(st.lists(keyed, min_size=1, max_size=2))
@settings(max_examples=many(60), deadline=None)
def test_what_is_inside_of_jsonb_is_what_a_plain_walk_finds(arguments):
    room = native.Guarded(1 << 17)
    for frame in both_ways(arguments, in_jsonb):
        kept, generic = room.put(frame), b"$invoke" in frame
        for index, value in enumerate(arguments):
            for keys in paths(value, most=3):
                assert said(kept, index, keys) == modelled(value, keys, generic=generic), keys


# Real ones.


def captured() -> list[tuple[str, bytes, list[Any]]]:
    found = []
    for line in LINES:
        data = bytes.fromhex(line["hex"])
        if data[2] & 0xBF == 0x82 and len(data) < 20_000:
            with contextlib.suppress(RemoteProtocolError):
                arguments = decode(data).arguments
                generic = b"$invoke" in data and isinstance(arguments[-1], list)
                found.append((line["name"], data, arguments[2] if generic else arguments))
    return found


def test_what_is_inside_of_captured_calls_is_what_a_plain_walk_finds():
    compared = 0
    for name, data, arguments in captured():
        for index, value in enumerate(arguments):
            for keys in paths(value):
                wanted = modelled(value, keys)
                if wanted[0] is str and max(wanted[1], default="") > "\uffff":
                    wanted = (str, wanted[1].encode("utf-16", "surrogatepass").decode("utf-16"))
                assert said(data, index, keys) == wanted, (name, keys)
                compared += wanted != GONE
    assert compared > 100


PERSON = {  # of Dubbo 3.3.2 with fastjson2
    "age": 36,
    "friends.0.name": "Grace",
    "friends.0.self": None,
    "friends.0.none": GONE,
    "friends.2": GONE,
    "extra.list.0": 1,
    "extra.list.3": "x",
    "extra.list": OTHER,
    "name.x": GONE,
    "name": UNREADABLE,  # in UTF-16
    "self": UNREADABLE,  # references
    "self.name": UNREADABLE,
    "friends.1.name": UNREADABLE,
    "none": GONE,
}


def test_what_is_inside_of_a_captured_object_in_fastjson2():
    (frame,) = [
        bytes.fromhex(line["hex"])
        for line in LINES
        if "3.3.2" in line["name"] + line.get("source", "") and "request person" in line["name"]
        if int(line["hex"][4:6], 16) & 0x1F == 23
    ]
    for path, value in PERSON.items():
        wanted = (
            value if isinstance(value, str) and value in {GONE, UNREADABLE, OTHER} else (type(value), value)
        )
        assert said(frame, 0, tuple(path.split("."))) == wanted, path


# What a hostile client writes.


def raw(*arguments: bytes, types: str = "Ljava/lang/Object;") -> bytes:
    writer = Writer()
    for one in ("2.0.2", "demo.S", "1.0", "m", types * len(arguments)):
        writer.write(one)
    body = bytes(writer.data) + b"".join(arguments) + b"HZ"
    return HEADER.pack(0xDABB, 0xC2, 0, 7, len(body)) + body


CLASS = b"C\x01c\x92\x01a\x01b"
HESSIAN = [
    ("of several under one key the last is", b"H\x01a\x91\x01a\x92Z", "a", (int, 2)),
    ("and of a class's fields", b"C\x01c\x92\x01a\x01a\x60\x91\x92", "a", (int, 2)),
    ("a class may stand in front of a value", b"H\x01a" + CLASS + b"\x91Z", "a", (int, 1)),
    ("and of the object itself", CLASS + b"\x60\x91\x02no", "b", (str, "no")),
    ("and of a key", b"H" + CLASS + b"\x01a\x91Z", "a", (int, 1)),
    ("an object of no class", b"\x60\x91\x92", "a", UNREADABLE),
    ("a text and an int are two keys", b"H\x017\x91\x97\x92Z", "7", UNREADABLE),
    ("an int and a long, too", b"H\x97\x91\xe7\x92Z", "7", UNREADABLE),
    ("a long alone is one", b"HL\0\0\0\0\0\0\0\x07\x92Z", "7", (int, 2)),
    ("other keys are none", b"HT\x91\x01a\x92[\x91Z", "a", (int, 2)),
    ("a key in chunks may be any", b"HR\0\x01a\x00\x91\x01a\x92Z", "a", UNREADABLE),
    ("a key that is longer than it must be", b"H\x01\xc1\xa1\x91Z", "a", UNREADABLE),
    ("also of a class", b"C\x01c\x91\x01\xc1\xa1\x60\x91", "a", UNREADABLE),
    ("a value that is", b"H\x01a\x04\xc1\xa7oldZ", "a", UNREADABLE),
    ("characters of three bytes that need none", b"H\x01a\x01\xe0\x81\xa1Z", "a", UNREADABLE),
    ("and of four", b"H\x01a\x02\xf0\x80\x81\xa1Z", "a", UNREADABLE),
    ("no continuation of a character", b"H\x01a\x01\xc3\x41Z", "a", UNREADABLE),
    ("a text in chunks", b"H\x01aR\0\x01g\x03oldZ", "a", UNREADABLE),
    ("the end is missing", b"H\x01a\x91", "a", UNREADABLE),
    ("a reference to itself", b"H\x01aQ\x90\x01b\x91Z", "a.a.a.a.b", (int, 1)),
    ("a reference to what comes later", b"H\x01aQ\x91\x01bH\x01c\x91ZZ", "a.c", UNREADABLE),
    ("a reference to nothing", b"H\x01aQ\xa0Z", "a.c", UNREADABLE),
    ("a negative one", b"H\x01aQ\x8fZ", "a.c", UNREADABLE),
    ("one that is no number", b"H\x01aQ\x01xZ", "a.c", UNREADABLE),
    ("to a list", b"H\x01a\x7a\x91\x92\x01bQ\x91Z", "b.1", (int, 2)),
    (
        "to an object, of a class that stood there",
        b"H\x01a" + CLASS + b"\x60\x91\x92\x01bQ\x91Z",
        "b.b",
        (int, 2),
    ),
    ("in a list of no length", b"W\x91\x92Z", "1", (int, 2)),
    ("behind its end", b"W\x91\x92Z", "2", GONE),
    ("a typed list", b"V\x02[O\x92\x91\x92", "1", (int, 2)),
    ("an index as nobody writes it", b"\x7a\x91\x92", "01", GONE),
    ("a large one", b"\x7a\x91\x92", "99999999999", GONE),
    ("null has nothing inside", b"N", "a", GONE),
    ("nor has a text", b"\x01a", "0", GONE),
    ("nor a text in chunks", b"R\0\x01a\x00", "0", GONE),
    ("nor bytes", b"\x21a", "0", GONE),
]


@pytest.mark.parametrize(("name", "value", "path", "wanted"), HESSIAN, ids=[one[0] for one in HESSIAN])
def test_what_a_hostile_client_writes_in_hessian(name, value, path, wanted):
    keys = tuple(path.split("."))
    assert said(raw(value), 0, keys) == wanted
    assert said(raw(b"\x91", value), 1, keys) == wanted
    generic = Call("demo.S", "$invoke", GENERIC, ["m", ["x"], []]).encode()
    body = generic[16:].split(b"\x78H", 1)[0] + b"\x79" + value + b"HZ"
    frame = HEADER.pack(0xDABB, 0xC2, 0, 7, len(body)) + body
    if b"Q" not in value:  # of a generic call the lists of types and arguments are counted as well
        assert said(frame, 0, keys) == wanted


def test_a_reference_reaches_into_arguments_in_front():
    person = Object("demo.P", {"tier": "gold", "self": None})
    person.fields["self"] = person
    frame = in_hessian("m", "Ljava/lang/Object;" * 3, [[1, person], {"p": person}, person])
    for index, front in ((0, ("1",)), (1, ("p",)), (2, ())):
        for times in range(3):
            assert said(frame, index, (*front, *["self"] * times, "tier")) == (str, "gold")
    (twice,) = [one for one in both_ways([person, person], in_hessian) if b"$invoke" in one]
    assert said(twice, 1, ("self", "tier")) == (str, "gold")


def test_more_levels_and_keys_than_are_read():
    deep = raw(b"H\x01a" + b"\x79" * 20_000 + b"N\x01b\x91Z")
    assert said(deep, 0, ("b",)) == UNREADABLE
    assert said(raw(b"\x79" * 300 + b"\x91"), 0, ("0",) * 16) == OTHER
    assert said(raw(b"\x79" * 16 + b"\x91"), 0, ("0",) * 16) == (int, 1)
    assert said(raw(b"\x79" * 300 + b"\x91"), 0, ("0",) * 17) == UNREADABLE


def jsonb(argument: bytes) -> bytes:
    frame = in_jsonb("m", "Ljava/lang/Object;", [None])
    body = frame[16:].replace(b"\0\0\0\1\xaf", struct.pack(">I", len(argument)) + argument, 1)
    return HEADER.pack(0xDABB, 0xD7, 0, 7, len(body)) + body


JSONB = [
    ("of several under one key the last is", b"\xa6Ja\x01Ja\x02\xa5", "a", (int, 2)),
    ("a name that has a number from now on", b"\xa6\x7fJa\x00\x01\xa5", "a", (int, 1)),
    ("and one that stood in front", b"\xa6Jx\xa6\x7fJa\x05\xaf\xa5\x7f\x05\x02\xa5", "a", (int, 2)),
    ("a number that is given anew", b"\xa6\x7fJa\x05\x01\x7fJb\x05\x02\x7f\x05\x03\xa5", "b", (int, 3)),
    ("one that nobody gave", b"\xa6\x7f\x05\x01Ja\x02\xa5", "a", UNREADABLE),
    ("one below zero, of a table that both have", b"\xa6\x7f\xff\x01Ja\x02\xa5", "a", UNREADABLE),
    ("more of them than are kept", b"\xa6\x7fJa\x3a\x00\x01\x7f\x3a\x00\x02\xa5", "a", UNREADABLE),
    ("types share their numbers", b"\x92Ja\x03\xa6\x7f\x03\x01\xa5", "a", (int, 1)),
    ("a typed value", b"\xa6Ja\x92Jt\x00Mgold\xa5", "a", (str, "gold")),
    ("a typed map", b"\xa6Ja\x92Jt\x00\xa6Jb\x01\xa5\xa5", "a.b", (int, 1)),
    ("a reference", b"\xa6Ja\x93J$\xa5", "a", UNREADABLE),
    ("a reference behind a type", b"\xa6Ja\x92Jt\x00\x93J$\xa5", "a", UNREADABLE),
    ("a key that is one", b"\xa6\x93J$\x01Ja\x02\xa5", "a", UNREADABLE),
    ("a key with a type", b"\xa6\x92Jt\x00Ja\x01\xa5", "a", UNREADABLE),
    ("a text and an integer are two keys", b"\xa6J7\x01\x07\x02\xa5", "7", UNREADABLE),
    ("an integer alone is one", b"\xa6\xbd\x07\x02\xa5", "7", (int, 2)),
    ("a key in UTF-16", b"\xa6\x7c\x02a\x00\x01\xa5", "a", (int, 1)),
    ("with the high byte in front", b"\xa6\x7d\x02\x00a\x01\xa5", "a", (int, 1)),
    ("with a mark", b"\xa6\x7b\x04\xff\xfea\x00\x01\xa5", "a", UNREADABLE),
    ("another", b"\xa6\x7c\x02\x0ae\x01Ja\x02\xa5", "a", (int, 2)),
    ("another in it for one in it", b"\xa6\x7c\x02\x0ae\x01Ja\x02\xa5", "\u4e00", UNREADABLE),
    ("a name in it", b"\xa6\x7f\x7c\x02a\x00\x00\x01\x7f\x00\x02\xa5", "a", (int, 2)),
    ("Latin-1", b"\xa6\x79\x01\xe9\x01Ja\x02\xa5", "a", (int, 2)),
    ("in which it may be", b"\xa6\x79\x01\xe9\x01\xa5", "\xe9", UNREADABLE),
    ("another set of characters", b"\xa6\x7e\x01a\x01\xa5", "a", UNREADABLE),
    ("a value in UTF-16", b"\xa6Ja\x7c\x02a\x00\xa5", "a", UNREADABLE),
    ("a value that is a name by its number", b"\xa6\x7fJa\x00\x7f\x00\xa5", "a", UNREADABLE),
    ("the end is missing", b"\xa6Ja\x01", "a", UNREADABLE),
    ("a tag that nothing begins with", b"\xa6Ja\x01Jb\xa2\xa5", "a", UNREADABLE),
    ("null has nothing inside", b"\xaf", "a", GONE),
    ("nor has a text", b"Jx", "0", GONE),
    ("an object as a list", b"\x92Jt\x00\x96\x01\x02", "1", (int, 2)),
    ("behind its end", b"\x96\x01\x02", "2", GONE),
    ("more items than bytes", b"\xa4\x3f\xff\x01", "1", UNREADABLE),
]


FASTJSON2 = {  # of fastjson2 2.0.53 with Dubbo's features
    "LocalDateTime": "a807e801020304053a58",
    "LocalTime": "a703040500",
    "LocalDate": "a907e80102",
    "Instant": "aebf6553f10005",
    "ZonedDateTime": "aa07e801020304050656417369612f5368616e67686169",
    "OffsetDateTime": "aa07e80102030405064a5a",
    "BigDecimal": "b9023ce2",
    "a long BigDecimal": "b901bb0d0f951a9fa3a286c94f0e766c39",
    "BigInteger": "bb0d018ee90ff6c373e0ee4e3f0ad2",
    "char": "903863",
    "int[]": "924b5b4900960102",
    "double[]": "924b5b440095b53ff8000000000000",
    "UUID": "911036bb4315fbc64e68b8d417e722660f48",
    "Date": "ac00000000",
    "float": "b73fc00000",
    "AtomicLong": "925341746f6d69634c6f6e6700e3",
    "EnumSet": "92616a6176612e7574696c2e526567756c6172456e756d5365740095925f6a6176612e6c616e672e546872656164"
    "245374617465014c4e4557",
}


@pytest.mark.parametrize("name", FASTJSON2)
def test_what_stands_behind_a_value_of_fastjson2_is_found(name):
    value = bytes.fromhex(FASTJSON2[name])
    for end in range(1, len(value)):
        with contextlib.suppress(ProtokitError, IndexError):
            native.argument(CODEC, jsonb(b"\xa6Ja" + value[:end]), 0, ("b",))
    assert said(jsonb(b"\xa6Ja" + value + b"Jb\x01\xa5"), 0, ("b",)) == (int, 1)
    assert said(jsonb(b"\x97" + value + b"\x01\x02"), 0, ("1",)) == (int, 1)


@pytest.mark.parametrize(("name", "value", "path", "wanted"), JSONB, ids=[one[0] for one in JSONB])
def test_what_a_hostile_client_writes_in_jsonb(name, value, path, wanted):
    assert said(jsonb(value), 0, tuple(path.split("."))) == wanted


def in_json(value: bytes, serialization: int = 6) -> bytes:
    lines = [
        b'"2.0.2"',
        b'"demo.S"',
        b'"1.0"',
        b'"m"',
        b'"Ljava/lang/Object;"',
        value,
        b'{"path":"demo.S"}',
        b"",
    ]
    body = b"\n".join(lines)
    return HEADER.pack(0xDABB, 0xC0 | serialization, 0, 7, len(body)) + body


JSON = [
    ("a field", b'{"a":1,"b":{"c":"gold"}}', "b.c", (str, "gold")),
    ("of several the last", b'{"a":1,"a":2}', "a", (int, 2)),
    ("an item", b'{"a":[1,[2,"x"]]}', "a.1.1", (str, "x")),
    ("behind the last", b"[1,2]", "2", GONE),
    ("of none", b"[]", "0", GONE),
    ("a whole object", b'{"a":{"b":1}}', "a", OTHER),
    ("nothing under it", b'{"a":{"b":1}}', "a.c", GONE),
    ("in a text", b'{"a":"b"}', "a.0", GONE),
    ("null", b'{"a":null}', "a", (type(None), None)),
    ("a name in escapes may be any", rb'{"\u0061":1,"b":2}', "b", UNREADABLE),
    ("a value in escapes", rb'{"a":"\u0061"}', "a", UNREADABLE),
    ("a reference", b'{"a":{"$ref":"$"}}', "a", UNREADABLE),
    ("into one", b'{"a":{"$ref":"$"}}', "a.b", UNREADABLE),
    ("other quotes", b"{'a':1,\"b\":2}", "b", UNREADABLE),
    ("a value in other quotes", b'{"x":\'q,"a":"gold","y":\'}', "a", UNREADABLE),
    ("spaces", b'{"x": 1,"a":2}', "a", UNREADABLE),
    ("a comment", b'{"x":1/*,"a":2,*/,"a":3}', "a", UNREADABLE),
    ("brackets that do not end", b'{"a":[1,2', "a.0", UNREADABLE),
    ("a field without a value", b'{"a"}', "a", UNREADABLE),
]


ALIKE = {  # to Dubbo's PojoUtils, of 2.7.23, which calls setId, and to fastjson 1.2.83, which folds names
    ("id", "Id"): {"setter", "folded"},
    ("Id", "id"): {"setter", "folded"},
    ("id", "\u0131d"): {"setter"},
    ("size", "\u017fize"): {"setter"},
    ("\xe9t\xe9", "\xc9t\xe9"): {"setter"},
    ("id", "iD"): {"folded"},
    ("userId", "user_ID"): {"folded"},
    ("userId", "-user-id_"): {"folded"},
    ("vip", "isVip"): {"folded"},
    ("vip", "is_vip"): {"folded"},
    ("a", "b"): set(),
    ("a", "\xe9"): set(),
    ("\u540d", "\u503c"): set(),
    ("userId", "userIds"): set(),
    ("userIds", "userId"): set(),
    ("vip", "IsVip"): set(),
    ("a", "is"): set(),
    ("a", ""): set(),
}


@pytest.mark.parametrize(("key", "name"), ALIKE)
def test_a_name_that_its_provider_takes_for_another(key, name):
    """A rule for one could be passed by under the other."""
    for value in ({name: 1}, {key: 1, name: 2}):
        plain = (int, 1) if key in value else GONE
        setter = UNREADABLE if "setter" in ALIKE[key, name] else plain
        folded = UNREADABLE if "folded" in ALIKE[key, name] else plain
        for written in (in_hessian, in_jsonb):
            frame, generic = both_ways([value], written)
            assert (said(frame, 0, (key,)), said(generic, 0, (key,))) == (plain, setter)
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        assert said(in_json(text, 6), 0, (key,)) == folded
        assert said(in_json(text, 16), 0, (key,)) == plain


def test_such_a_name_in_utf_16():
    value = b"\xa6\x7c\x04I\x00d\x00\x01\xa5"
    plain = in_jsonb("$invoke", GENERIC, ["m", ["x"], [None]])
    item = b"\x95" + value
    body = plain[16:].replace(b"\0\0\0\2\x95\xaf", struct.pack(">I", len(item)) + item, 1)
    assert said(HEADER.pack(0xDABB, 0xD7, 0, 7, len(body)) + body, 0, ("id",)) == UNREADABLE
    assert said(jsonb(value), 0, ("id",)) == GONE


@pytest.mark.parametrize("serialization", [6, 16])
@pytest.mark.parametrize(("name", "value", "path", "wanted"), JSON, ids=[one[0] for one in JSON])
def test_what_is_inside_of_json(name, value, path, wanted, serialization):
    assert said(in_json(value, serialization), 0, tuple(path.split("."))) == wanted


@pytest.mark.parametrize(
    "made", [(raw, HESSIAN), (jsonb, JSONB), (in_json, JSON)], ids=["hessian", "jsonb", "json"]
)
def test_nothing_is_read_behind_what_is_cut_or_changed(made):
    """In front of memory that cannot be read."""
    room = native.Guarded(1 << 16)
    build, cases = made
    for _, value, path, _ in cases:
        keys = tuple(path.split("."))
        for end in range(len(value)):
            for other in (value[:end], value[:end] + bytes([value[end] ^ 0x41]) + value[end + 1 :]):
                frame = build(other)
                for cut in (frame, frame[: frame.index(other) + len(other)] if other else frame[:-5]):
                    head = cut[:12] + struct.pack(">I", len(cut) - 16)
                    with contextlib.suppress(ProtokitError, IndexError):
                        native.argument(CODEC, room.put(head + cut[16:]), 0, keys)
