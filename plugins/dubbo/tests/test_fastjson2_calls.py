"""Arguments of calls in fastjson2 as Python values, and calls with others."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from dubbo_vectors import LINES
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from protokit_dubbo import dubbo
from protokit_dubbo.hessian import Long, Object, TypedList, TypedMap
from protokit_dubbo.jsonb import Byte, Float, Raw, Reader, Reference, Short, Writer
from protokit_dubbo.messages import HEADER

from protokit import native
from protokit.errors import LocalProtocolError, ProtokitError, RemoteProtocolError

ASK = dubbo.wire.ask
OBJECT = "Ljava/lang/Object;"
GENERIC = "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;"


def written(value: Any) -> bytes:
    """What tells values apart that are equal in Python."""
    writer = Writer()
    writer.write(value)
    return bytes(writer.data)


def items(*values: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(one)) + one for one in values)


def call(types: str, *arguments: Any, method: str = "m", raw: bool = False) -> bytes:
    front = map(written, ("2.0.2", "a.B", "1.0", method, types))
    body = items(*front, *(arguments if raw else map(written, arguments)), written({"path": "a.B", "k": "v"}))
    return HEADER.pack(0xDABB, 0xD7, 0, 7, len(body)) + body


CALLS = [
    bytes.fromhex(line["hex"])
    for line in LINES
    if line["hex"][:4] == "dabb" and int(line["hex"][4:6], 16) & 0xBF == 0x97
]


def test_captured_calls_are_read_and_stay_as_they_are():
    for data in CALLS:
        assert ASK.with_arguments(data, ASK.arguments(data)) == data
    assert len(CALLS) > 20


def test_what_was_captured_is_written_again_with_the_same_meaning():
    """Not the bytes that stood there: also where nothing was changed."""
    seen = 0
    for data in CALLS:
        for index, value in enumerate(ASK.arguments(data)):
            again = call(OBJECT, value)
            assert written(Reader(written(value)).item()) == written(value)
            assert same(value, ASK.arguments(again)[0])
            with contextlib.suppress(ProtokitError):
                found = native.argument(dubbo.wire.address, data, index)
                if not isinstance(found, bytes):
                    assert native.argument(dubbo.wire.address, again, 0) == found
            seen += 1
    assert seen > 20


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Object):
        return isinstance(b, Object) and a.class_name == b.class_name and same(a.fields, b.fields)
    if isinstance(a, dict):
        return type(a) is type(b) and [*a] == [*b] and all(same(a[one], b[one]) for one in a)
    if isinstance(a, list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


leaves = st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.floats(allow_nan=False)
leaves |= st.text(max_size=60) | st.binary(max_size=40) | st.integers(-(2**63), 2**63 - 1).map(Long)
leaves |= st.integers(-128, 127).map(Byte) | st.integers(-(2**15), 2**15 - 1).map(Short)
leaves |= st.floats(width=32, allow_nan=False).map(Float) | st.just(Reference("$.a"))
leaves |= (
    st.sampled_from(["903861", "b80a", "b90248000001f4", "ab0000000000000001"]).map(bytes.fromhex).map(Raw)
)


def typed(kind: type, value: Any, name: str) -> Any:
    found = kind(value)
    found.type_name = name
    return found


values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=18)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.builds(lambda one: Object("demo.P", {"a": one, "b": 1}), inner)
        | st.builds(
            lambda one: typed(TypedMap, one, "java.util.TreeMap"),
            st.dictionaries(st.text(), inner, max_size=2),
        )
        | st.builds(lambda one: typed(TypedList, one, "[O"), st.lists(inner, max_size=3))
    ),
    max_leaves=6,
)


@settings(max_examples=many(60), deadline=None)
@given(st.lists(values, min_size=1, max_size=4), values, st.integers(0, 3), st.booleans())
def test_one_argument_is_changed_and_all_else_stays(arguments, other, at, generic):
    at %= len(arguments)
    data = call(OBJECT * len(arguments), *arguments)
    if generic:
        data = call(GENERIC, "m", ["x"] * len(arguments), arguments, method="$invoke")
    decoded = ASK.arguments(data)
    assert same(decoded, arguments)
    decoded[at] = other
    changed = ASK.with_arguments(data, decoded)
    assert same(ASK.arguments(changed), decoded)
    assert native.headers(dubbo.wire.address, changed) == native.headers(dubbo.wire.address, data)
    message = native.frame(dubbo.wire.address, changed)
    assert (message.result, message.size, changed[:12]) == (0, len(changed), data[:12])
    for number, one in enumerate(decoded):  # as the engine reads them
        if isinstance(one, str) and one.isascii():
            assert native.argument(dubbo.wire.address, changed, number) == one


def test_what_nobody_changed_stays_byte_for_byte_beside_what_is():
    long_int = b"\x48\0\0\0\1"  # longer than it must be
    named = b"\x92" + written("demo.P") + b"\0\xa6\x7f" + written("name") + b"\1" + written("x") + b"\xa5"
    data = call(OBJECT * 3, long_int, named, b"\x05", raw=True)
    assert ASK.arguments(data) == [1, Object("demo.P", {"name": "x"}), 5]
    changed = ASK.with_arguments(data, [1, Object("demo.P", {"name": "x"}), 6])
    assert changed == data.replace(items(b"\x05"), items(b"\x06"))


@pytest.mark.parametrize(
    ("types", "value", "expected"),
    [
        ("J", 5, Long(5)),
        ("Ljava/lang/Long;", 5, Long(5)),
        ("I", 5, 5),
        ("D", 5, 5.0),
        ("F", 5, Float(5)),
        ("F", 1.5, Float(1.5)),
        ("S", 5, Short(5)),
        ("B", 5, Byte(5)),
        ("J", True, True),
        ("J", 1.5, 1.5),
        (OBJECT, 5, 5),
    ],
)
def test_a_number_is_written_as_its_parameter_is_declared(types, value, expected):
    assert same(ASK.arguments(ASK.with_arguments(call(types, None), [value])), [expected])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("a649", "a value is expected|expected 1 more bytes"),
        ("95" * 300, "nested deeper than 200"),
        ("a60149e149a5", "two keys of a map that are one in a dict"),
        ("a69449a5", "a map's key is a list"),
        ("a67f0149a5", "name 1 was not said before"),
        ("7a02c1a1", "a text is no utf-8"),
        ("a448000fffff", "a count of"),
        ("924a61004a61", "neither an object nor a list"),
        ("93af", "a path is no text"),
        ("fe7f", "more than one value"),
        ("7f0061", "no value begins with 7f"),
        ("", "expected 1 more bytes"),
    ],
)
def test_what_cannot_be_read_is_said(body, why):
    with pytest.raises(RemoteProtocolError, match=why):
        ASK.arguments(call(OBJECT, bytes.fromhex(body), raw=True))


def test_types_of_a_generic_call_that_are_no_texts_say_nothing():
    """Whoever calls writes them."""
    data = call(GENERIC, "m", [[], {}, "long"], [1, 2, 3], method="$invoke")
    assert written(ASK.arguments(ASK.with_arguments(data, [4, 5, 6]))) == written([4, 5, Long(6)])


def test_what_cannot_be_written_is_said():
    data, cycle = call("I", 5), []
    cycle.append(cycle)
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    for arguments, why in (
        ([5, 6], "the call has 1 arguments, and 2 were given"),
        ([{5}], "fastjson2: cannot write a set"),
        ([cycle], "a value stands in itself"),
        ([deep], "nested deeper than 200"),
        ([1 << 63], "does not fit 64 bits"),
        ([Object(5, {})], "a class has a name, not 5"),
    ):
        with pytest.raises(LocalProtocolError, match=why):
            ASK.with_arguments(data, arguments)
    for type_, value, why in (
        ("S", 1 << 15, "32768 does not fit a short"),
        ("B", -129, "-129 does not fit a byte"),
        ("D", 10**400, "a whole number that fits no double"),
        ("F", 10**400, "a whole number that fits no double"),
    ):
        with pytest.raises(LocalProtocolError, match=why):
            ASK.with_arguments(call(type_, 5), [value])
    with pytest.raises(LocalProtocolError, match="a large call"):
        ASK.arguments(data[:-3])


def test_a_body_that_is_cut_or_changed_is_an_error_in_words():
    person = Object("demo.P", {"name": "Z\u00fcrich", "friends": [1, 2.5, {"k": b"x"}, Raw(b"\xb8\x0a")]})
    whole = call(OBJECT * 2, person, [person])
    for at in range(16, len(whole)):
        for one in (0, 0x7F, 0x92, 0xA4, 0xFF, whole[at] ^ 1):
            with contextlib.suppress(ProtokitError):
                other = whole[:at] + bytes([one]) + whole[at + 1 :]
                ASK.with_arguments(other, ASK.arguments(other))
        with contextlib.suppress(ProtokitError):
            ASK.arguments(whole[:12] + struct.pack(">I", at - 16) + whole[16:at])
