"""Arguments of calls as Python values, and calls with others: what a filter does with a body."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from dubbo_vectors import LINES, values
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from protokit_dubbo import dubbo
from protokit_dubbo.hessian import Long, Object, Reader, TypedList, Writer
from protokit_dubbo.messages import HEADER, Call, decode

from protokit import native
from protokit.errors import LocalProtocolError, RemoteProtocolError

ASK = dubbo.wire.ask
GENERIC = "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;"


def written(value: Any) -> bytes:
    """What tells values apart that are equal in Python."""
    writer = Writer()
    writer.write(value)
    return bytes(writer.data)


def captured() -> list[bytes]:
    found = []
    for line in LINES:
        data = bytes.fromhex(line["hex"])
        if data[2] & 0xBF == 0x82:
            with contextlib.suppress(RemoteProtocolError, TypeError):
                decode(data)
                found.append(data)
    return found


def attachments_of(data: bytes) -> bytes:
    reader = Reader(data[16:])
    method_or_extra = [reader.read() for _ in range(5)][4]
    if isinstance(method_or_extra, int):
        reader.read()
    for _ in decode(data).arguments:
        reader.read()
    return data[16 + reader.at :]


def test_captured_calls_stay_as_they_are_or_say_the_same():
    whole = 0
    for data in captured():
        given_arguments = ASK.arguments(data)
        again = ASK.with_arguments(data, given_arguments)
        whole += again == data
        assert attachments_of(again) == attachments_of(data)
        assert written(decode(again).arguments) == written(decode(data).arguments)
        message = native.frame(dubbo.wire.address, again)
        assert (message.result, message.size, again[:12]) == (0, len(again), data[:12])
        assert again[16:].startswith(data[16:30])
    assert whole > 50


@settings(max_examples=many(100), deadline=None)
@given(st.lists(values, min_size=1, max_size=4), values, st.integers(0, 3), st.booleans())
def test_one_argument_is_changed_and_all_else_stays(arguments, other, at, generic):
    at %= len(arguments)
    types = "Ljava/lang/Object;" * len(arguments)
    call = Call("a.B", "m", types, arguments, attachments={"k": "v", "n": 7})
    if generic:
        call = Call(
            "a.B", "$invoke", GENERIC, ["m", ["x"] * len(arguments), arguments], attachments={"k": "v"}
        )
    data = call.encode()
    decoded = ASK.arguments(data)
    assert written(decoded) == written(arguments)
    decoded[at] = other
    changed = ASK.with_arguments(data, decoded)
    assert written(ASK.arguments(changed)) == written(decoded)
    assert attachments_of(changed) == attachments_of(data)
    assert decode(changed).method == call.method
    for i in range(len(arguments)):  # as the engine reads them
        if isinstance(decoded[i], str | None):
            expected = decoded[i] and decoded[i].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            assert native.argument(dubbo.wire.address, changed, i) == expected


def test_what_nobody_changed_stays_byte_for_byte_beside_what_is():
    long_int = b"I\0\0\0\1"  # longer than it must be, as no writer of ours writes it
    front = Call("a.B", "m", "Ljava/lang/String;IJ", []).encode()[16:].split(b"H\x04path")[0]
    tail = b"M\x00\x04pathI\0\0\0\7Z"
    body = front + b"\x01x" + long_int + b"\xe5" + tail
    data = HEADER.pack(0xDABB, 0xC2, 0, 7, len(body)) + body
    assert ASK.arguments(data) == ["x", 1, 5]
    changed = ASK.with_arguments(data, ["other", 1, 6])
    assert changed[16:] == front + b"\x05other" + long_int + b"\xe6" + tail  # a long stays one


def test_references_types_and_classes_are_written_right_together():
    person = Object("demo.P", {"name": "x", "self": None})
    person.fields["self"] = person
    names = TypedList(["a"])
    names.type_name = "[string"
    data = Call("a.B", "m", "Ljava/lang/Object;" * 4, [person, names, names, person]).encode()
    decoded = ASK.arguments(data)
    decoded[0].fields["name"] = "y"
    decoded[1] = [1, 2]
    changed = decode(ASK.with_arguments(data, decoded))
    first, second, third, last = changed.arguments
    assert first is last is first.fields["self"]
    assert (first.fields["name"], second, third, third.type_name) == ("y", [1, 2], ["a"], "[string")
    assert changed.attachments == decode(data).attachments


def attached(*arguments: Any, attachments: Any) -> bytes:
    writer = Writer()
    for one in ("2.0.2", "a.B", "1.0", "m", "Ljava/lang/Object;" * len(arguments), *arguments, attachments):
        writer.write(one)
    return HEADER.pack(0xDABB, 0xC2, 0, 7, len(writer.data)) + bytes(writer.data)


def test_attachments_whose_numbers_count_the_arguments_are_written_with_them():
    extra = Object("demo.Q", {"a": 1})
    data = attached([], Object("demo.P", {"b": 2}), attachments={"path": "a.B", "q": extra})
    changed = ASK.with_arguments(data, [[1], "no object any more"])
    assert decode(changed).arguments == [[1], "no object any more"]
    assert decode(changed).attachments == {"path": "a.B", "q": extra}
    shared: list[Any] = [1]
    data = attached(shared, "x", attachments={"path": "a.B", "shared": shared})
    with pytest.raises(LocalProtocolError, match="the attachments refer to what stands in the arguments"):
        ASK.with_arguments(data, [shared, "y"])


@pytest.mark.parametrize(
    ("types", "value", "expected"),
    [
        ("J", 5, Long(5)),
        ("Ljava/lang/Long;", 5, Long(5)),
        ("I", 5, 5),
        ("D", 5, 5.0),
        ("F", 5, 5.0),
        ("Ljava/lang/Double;", 5, 5.0),
        ("Z", True, True),
        ("J", True, True),
        ("Ljava/lang/Object;", 5, 5),
    ],
)
def test_a_number_is_written_as_its_parameter_is_declared(types, value, expected):
    data = Call("a.B", "m", types, [None]).encode()
    assert written(ASK.arguments(ASK.with_arguments(data, [value]))) == written([expected])
    name = {"J": "long", "I": "int", "D": "double", "F": "float", "Z": "boolean"}.get(types)
    name = name or types[1:-1].replace("/", ".")
    generic = Call("a.B", "$invoke", GENERIC, ["m", [name], [None]]).encode()
    assert written(ASK.arguments(ASK.with_arguments(generic, [value]))) == written([expected])


def test_types_of_a_generic_call_that_are_no_texts_say_nothing():
    """Whoever calls writes them."""
    data = Call("a.B", "$invoke", GENERIC, ["m", [[], {}, "long"], [1, 2, 3]]).encode()
    assert written(ASK.arguments(ASK.with_arguments(data, [4, 5, 6]))) == written([4, 5, Long(6)])


def test_what_cannot_be_read_or_written_is_said():
    data = Call("a.B", "m", "I", [5]).encode()
    with pytest.raises(LocalProtocolError, match="the call has 1 arguments, and 2 were given"):
        ASK.with_arguments(data, [5, 6])
    with pytest.raises(LocalProtocolError, match="hessian2: cannot write a set"):
        ASK.with_arguments(data, [{5}])
    with pytest.raises(LocalProtocolError, match="hessian2: a whole number that fits no double"):
        ASK.with_arguments(Call("a.B", "m", "D", [5.0]).encode(), [10**400])
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    with pytest.raises(LocalProtocolError, match="nested deeper than 200"):
        ASK.with_arguments(data, [deep])
    for flag, name in ((0xD6, "protobuf"), (0xC6, "fastjson"), (0xC3, "serialization 3")):
        with pytest.raises(LocalProtocolError, match=f"in hessian2 and fastjson2, and these are in {name}$"):
            ASK.arguments(data[:2] + bytes([flag]) + data[3:])
    with pytest.raises(RemoteProtocolError):
        ASK.arguments(HEADER.pack(0xDABB, 0xC2, 0, 7, 3) + b"\x01aC")
    with pytest.raises(LocalProtocolError, match="a large call"):
        ASK.arguments(data[:-3])
    dubbox = Call("a.B", "m", "I", [5]).encode()
    at = dubbox.index(b"\x01I")
    for count in (b"\x8f", b"\x91"):
        body = dubbox[16:at] + count + dubbox[at:]
        frame = HEADER.pack(0xDABB, 0xC2, 0, 7, len(body)) + body
        if count == b"\x8f":
            assert ASK.arguments(ASK.with_arguments(frame, [6])) == [6]
        else:
            with pytest.raises(LocalProtocolError, match="Dubbox"):
                ASK.arguments(frame)


@pytest.mark.parametrize("pair", [(b"\x91", b"\xe1"), (b"\x91", b"T"), (b"\xe0", b"F"), (b"\x5c", b"\x91")])
def test_keys_that_are_one_in_python_are_not_lost(pair):
    """An int and a long of 1 are two keys in Java, and one in a dict."""
    call = Call("demo.S", "m", "Ljava/util/Map;I", [{"k": 1}, 5]).encode()
    plain = b"H\x01k\x91Z"
    item = b"H" + pair[0] + b"\x01a" + pair[1] + b"\x01bZ"
    body = call[16:].replace(plain, item, 1)
    frame = call[:12] + len(body).to_bytes(4, "big") + body
    with pytest.raises(RemoteProtocolError, match="two keys of a map that are one in a dict"):
        ASK.arguments(frame)
    twice = b"H" + pair[0] + b"\x01a" + pair[0] + b"\x01bZ"  # the last of them, as in Java
    body = call[16:].replace(plain, twice, 1)
    ((found, _),) = [ASK.arguments(call[:12] + len(body).to_bytes(4, "big") + body)]
    assert [*found.values()] == ["b"]
