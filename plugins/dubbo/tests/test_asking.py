"""What is asked of one frame: a header by its name, arguments by their places, the attachments of answers."""

from __future__ import annotations

import contextlib
import json
import struct

import locales
import pytest
from dubbo_vectors import LINES, lines, own, values
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from protokit_dubbo import dubbo
from protokit_dubbo.hessian import Object, Reader, Writer
from protokit_dubbo.messages import HEADER, Answer, Call, decode

from protokit import native
from protokit.errors import LocalProtocolError, ProtokitError, RemoteProtocolError
from protokit.native import EDIT_HEADER, EDIT_METHOD, edit

CODEC = dubbo.wire.address
FRAMES = {
    f"{line['name']} {number}": bytes.fromhex(line["hex"])
    for number, line in enumerate(LINES)
    if len(line["hex"]) < 100_000
}
READABLE = {name: data for name, data in FRAMES.items() if data[2] & 0x1F in {2, 10, 22, 23}}
ANSWERS = {name: data for name, data in READABLE.items() if data[2] & 0xA0 == 0 and data[3] == 20}
CAPTURED = {
    f"{line['name']} {number}": bytes.fromhex(line["hex"])
    for number, line in enumerate(line for path in own("dubbo") for line in lines(path))
}
HELLO, PRIMITIVES = "Z\u00fcrich \U0001f680", [True, -128, 32767, "\u20ac", -(2**31), 2**63 - 1, 1.5, -0.1]


def arguments(data: bytes) -> list[native.Argument]:
    found: list[native.Argument] = []
    with contextlib.suppress(IndexError):
        while True:
            found.append(native.argument(CODEC, data, len(found)))
    return found


def called(method: str, serialization: int) -> list[bytes]:
    return [
        data
        for name, data in CAPTURED.items()
        if f"request {method} " in name and data[2] & 0x1F == serialization and b"$invoke" not in data
    ]


@pytest.mark.parametrize("serialization", [2, 23])
def test_arguments_of_captured_calls(serialization):
    hellos = [arguments(data) for data in called("hello", serialization)]
    assert [HELLO] in hellos
    assert ["x"] in hellos
    for data in called("add", serialization):
        assert arguments(data) == [2, 40]
    for data in called("primitives", serialization):
        for place, value in enumerate(PRIMITIVES):
            if (place, serialization) == (
                3,
                23,
            ):  # a character alone is its number in JSONB: no UTF-8 stands there
                with pytest.raises(RemoteProtocolError, match="argument 3: a variant that cannot be read"):
                    native.argument(CODEC, data, place)
            else:
                assert native.argument(CODEC, data, place) == value
    for data in called("negate", serialization):
        assert arguments(data) == [2**63 - 1]
    for data in called("half", serialization):
        assert arguments(data) == [0.1]
    for data in called("nothing", serialization):
        assert arguments(data) == []
    for method in ("person", "list", "map", "reversed"):
        for data in called(method, serialization):
            [one] = arguments(data)
            assert isinstance(one, bytes)
            assert one in data
    assert called("primitives", serialization)
    assert called("person", serialization)


def test_arguments_in_protobuf_are_texts_where_the_descriptor_says_so():
    assert [arguments(data) for data in called("wrapped", 22)] == [[HELLO]] * len(called("wrapped", 22))
    assert called("wrapped", 22)


def test_arguments_of_generic_calls_are_those_of_the_method_that_it_names():
    generic = [data for data in CAPTURED.values() if b"$invoke" in data and data[2] & 0x1F == 2]
    for data in generic:
        assert arguments(data) == decode(data).arguments[2] == ["generic"]
    assert generic


def plain(value):
    if isinstance(value, str):
        return native.text(value.encode("utf-8", "surrogatepass"))
    return value if value is None or isinstance(value, bool | int | float) else None


def as_read(value, got):
    """Whether that is what the codec says of a value."""
    if isinstance(value, bool | str) or value is None:
        return type(got) is type(plain(value)) and got == plain(value)
    if isinstance(value, int | float):
        return isinstance(got, int if isinstance(value, int) else float) and got == value
    return isinstance(got, bytes) and Reader(got).read() is not None


@settings(max_examples=many(300), deadline=None)
@given(st.lists(values, max_size=4), st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4))
def test_arguments_and_headers_of_any_call_are_those_that_it_was_made_of(given_arguments, attachments):
    descriptor = "Ljava/lang/Object;" * len(given_arguments)
    data = Call("a.B", "c", descriptor, given_arguments, attachments=attachments).encode()
    got = arguments(data)
    assert len(got) == len(given_arguments)
    for number, (value, one) in enumerate(zip(given_arguments, got, strict=True)):
        if number == 0 or not isinstance(value, list | dict | Object | bytes):
            assert as_read(value, one) or isinstance(value, list | dict | Object | bytes), (value, one)
    headers = native.headers(CODEC, data)
    for key, value in native.raw_headers(CODEC, data):
        assert native.header(CODEC, data, key) == (None if value is None else headers[native.text(key)])
    assert native.header(CODEC, data, "no such key") is None


def item(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def in_json(descriptor: str, *given: object, method: str = "hi", attachments: object = None) -> bytes:
    front = ("2.0.2", "demo.S", "1.0", method, descriptor)
    body = b"".join(one if isinstance(one, bytes) else item(one) for one in (*front, *given))
    body += item({"path": "demo.S"} if attachments is None else attachments)
    return HEADER.pack(0xDABB, 0xC6, 0, 7, len(body)) + body


def test_arguments_in_json():
    given_ones = [
        "text",
        'esc"aped',
        None,
        True,
        False,
        -5,
        2**63 - 1,
        -(2**63),
        2**63,
        1.5,
        -2e-3,
        [1, "]"],
        {"a": "]"},
    ]
    data = in_json("Ljava/lang/Object;" * len(given_ones), *given_ones)
    expected = [*given_ones]
    expected[8] = float(2**63)
    expected[11:] = [b'[1,"]"]', b'{"a":"]"}']
    with pytest.raises(RemoteProtocolError, match="argument 1: a variant that cannot be read"):
        native.argument(CODEC, data, 1)
    for number, one in enumerate(expected):
        if number != 1:
            got = native.argument(CODEC, data, number)
            assert (type(got), got) == (type(one), one), number
    with pytest.raises(IndexError):
        native.argument(CODEC, data, len(expected))
    generic = in_json(
        "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;",
        *("hello", ["a", "b"], [{"a": [1, "]"]}, "x,]", 7]),
        method="$invoke",
    )
    assert arguments(generic) == [b'{"a":[1,"]"]}', "x,]", 7]
    none = in_json(
        "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;", "hello", [], [], method="$invoke"
    )
    assert arguments(none) == []
    strange = in_json("Ljava/lang/Object;" * 4, b"-\n", b"1e\n", b"+1\n", b"0x1\n")
    for number in range(4):  # texts to who is lenient
        with pytest.raises(RemoteProtocolError):
            native.argument(CODEC, strange, number)


def test_arguments_in_json_are_the_same_in_each_locale(tmp_path):
    """A plugin may choose another for the process."""
    code = f"""
from protokit_dubbo import dubbo
from protokit import native
print(native.argument(dubbo.wire.address, {in_json("DI", 1.5, 7)!r}, 0))
"""
    assert locales.run(tmp_path, code) == "1.5\n"


def jsonb(*items: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(one)) + one for one in items)


def jsonb_text(text: str) -> bytes:
    return bytes([0x49 + len(text)]) + text.encode()


def in_jsonb(descriptor: str, *given: bytes, method: str = "hi") -> bytes:
    front = map(jsonb_text, ("2.0.2", "demo.S", "1.0", method))
    long = b"\x7a\x38" + bytes([len(descriptor)]) + descriptor.encode()
    body = jsonb(*front, long, *given, b"\xa6" + jsonb_text("path") + jsonb_text("demo.S") + b"\xa5")
    return HEADER.pack(0xDABB, 0xD7, 0, 7, len(body)) + body


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("af", None),
        ("b0", False),
        ("b1", True),
        ("f0", -16),
        ("2f", 47),
        ("bdff", -1),
        ("bcff00", -256),
        ("488000000f", -(2**31) + 15),
        ("be8000000000000000", -(2**63)),
        ("ba05", 5),
        ("b2", 0.0),
        ("b3", 1.0),
        ("b407", 7.0),
        ("b53ff8000000000000", 1.5),
        ("b6f0", -16.0),
        ("b73fc00000", 1.5),
        ("903861", "a"),
        ("9009", "\t"),
        ("940102"[:2], b"\x94"),
        ("b8ff", b"\xb8\xff"),
        ("7a02c3a4", "\u00e4"),
    ],
)
def test_values_in_jsonb(value, expected):
    data = bytes.fromhex(value)
    [got] = arguments(in_jsonb("Ljava/lang/Object;", data))
    assert (type(got), got) == (type(expected), expected)
    listed = b"\x95" + data if expected != b"\x94" else b"\x95\x94"
    for list_ in (listed, b"\x92" + jsonb_text("[O") + b"\x00" + listed, b"\xa4\x01" + data):
        generic = in_jsonb(
            "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;",
            jsonb_text("hi"),
            b"\x94",
            list_,
            method="$invoke",
        )
        assert native.argument(CODEC, generic, 0) == expected
        with pytest.raises(IndexError):
            native.argument(CODEC, generic, 1)


def test_arguments_of_a_generic_call_whose_types_are_null():
    """Its provider goes by what its only method of that name declares, which is not known here."""
    kinds = "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;"
    for data in (
        in_json(kinds, "hello", None, ["x", None], method="$invoke"),
        in_jsonb(kinds, jsonb_text("hi"), b"\xaf", b"\x96" + jsonb_text("x") + b"\xaf", method="$invoke"),
    ):
        with pytest.raises(RemoteProtocolError):
            native.argument(CODEC, data, 0)
        assert native.argument(CODEC, data, 1) is None


@pytest.mark.parametrize("type_", ["I", "Ljava/lang/Object;"])
@pytest.mark.parametrize(
    "value", ["7b02e400", "7f0001", "79", "b5", "b73f", "bd", "ba", "ba4a61", "bab6f0", "bab1", "0000", ""]
)
def test_what_cannot_be_read_in_jsonb_is_refused(value, type_):
    with pytest.raises(RemoteProtocolError):
        native.argument(CODEC, in_jsonb(type_, bytes.fromhex(value)), 0)


def test_a_text_in_chunks_is_no_other_argument():
    writer = Writer()
    writer.write("x" * 70_000)
    data = Call("a.B", "c", "Ljava/lang/String;I", ["x" * 70_000, 7]).encode()
    with pytest.raises(RemoteProtocolError, match="argument 0: a variant that cannot be read"):
        native.argument(CODEC, data, 0)
    assert native.argument(CODEC, data, 1) == 7


def test_arguments_of_unknown_serializations_and_of_answers():
    with pytest.raises(RemoteProtocolError):
        native.argument(CODEC, HEADER.pack(0xDABB, 0xC3, 0, 7, 2) + b"\xac\xed", 0)
    with pytest.raises(IndexError):
        native.argument(CODEC, Answer(7, 20, "x").encode(), 0)


# Answers.


def kind_of(data: bytes) -> int:
    body = data[16:]
    if data[2] & 0x1F == 23:
        return body[5] if body[4:5] == b"\xbd" else body[4]
    return body[2] if data[2] & 0x1F == 22 else body[0] - 0x90


@pytest.mark.parametrize("name", ANSWERS)
def test_attachments_of_captured_answers(name):
    data = ANSWERS[name]
    headers = native.headers(CODEC, data)
    if kind_of(data) not in {3, 4, 5}:
        assert not headers
    elif data[2] == 2:
        reader = Reader(data[16:])
        if reader.read() != 5:
            reader.read()
        assert dict(headers) == {plain(key): plain(value) for key, value in reader.read().items()}
    else:
        assert "dubbo" in headers
    for key, value in headers.items():
        assert native.header(CODEC, data, key) == value
    assert native.header(CODEC, data, "none of that name") is None


def answer(kind: int, *rest: object) -> bytes:
    writer = Writer()
    for one in (kind, *rest):
        writer.write(one)
    return HEADER.pack(0xDABB, 2, 20, 7, len(writer.data)) + bytes(writer.data)


THROWN = Object("java.lang.Exception", {"message": "no", "self": None})
MADE = {
    "a value": (answer(1, "x"), None),
    "an exception": (answer(0, THROWN), None),
    "null": (answer(2), None),
    "a value and attachments": (answer(4, {"a": [1, THROWN]}, {"k": "v", "n": 1}), {"k": "v"}),
    "an exception and attachments": (answer(3, THROWN, {"k": "v"}), {"k": "v"}),
    "null and attachments": (answer(5, {"k": "v", "": "e"}), {"k": "v", "": "e"}),
    "null attachments": (answer(5, None), {}),
    "an error": (Answer(7, 70, "it failed").encode(), None),
    "fastjson": (HEADER.pack(0xDABB, 6, 20, 7, 12) + b'5\n{"k":"v"}\n', {"k": "v"}),
}


@pytest.mark.parametrize("name", MADE)
def test_an_answer_is_changed_where_it_can_have_attachments(name):
    data, headers = MADE[name]
    assert dict(native.headers(CODEC, data)) == (headers or {})
    assert edit(CODEC, data, [(EDIT_HEADER, "x-none", None)]) == data or name == "null attachments"
    if headers is None:
        with pytest.raises(LocalProtocolError, match="this dubbo frame cannot be changed so"):
            edit(CODEC, data, [(EDIT_HEADER, "x-new", "1")])
        return
    changed = edit(CODEC, data, [(EDIT_HEADER, "x-new", "1"), (EDIT_HEADER, "k", "w")])
    assert dict(native.headers(CODEC, changed)) == {**headers, "x-new": "1", "k": "w"}
    message, before = native.frame(CODEC, changed), native.frame(CODEC, data)
    assert (message.result, message.size, message.id) == (0, len(changed), before.id)
    assert message.status == before.status
    back = edit(CODEC, changed, [(EDIT_HEADER, "x-new", None), (EDIT_HEADER, "k", headers.get("k"))])
    assert back == data or name == "null attachments"
    with pytest.raises(LocalProtocolError):
        edit(CODEC, data, [(EDIT_METHOD, "", "other")])


@pytest.mark.parametrize("name", ANSWERS)
def test_a_change_of_a_captured_answer_and_its_opposite(name):
    data = ANSWERS[name]
    if not native.headers(CODEC, data):
        return
    added = edit(CODEC, data, [(EDIT_HEADER, "protokit-test", "x" * 50)])
    assert native.header(CODEC, added, "protokit-test") == "x" * 50
    assert edit(CODEC, added, [(EDIT_HEADER, "protokit-test", None)]) == data


@pytest.mark.parametrize("flag", [2, 6, 16, 22, 23])
@pytest.mark.parametrize(
    "body", [b"", b"\x94", b"\x93C", b"\x08\x08", b"\0\0\0\1\4\0\0\0\x01", b"4\n", b"4\n1\n{", b"x"]
)
def test_an_answer_that_is_cut_off_is_refused_or_has_no_headers(flag, body):
    room = native.Guarded(1 << 16)
    data = HEADER.pack(0xDABB, flag, 20, 7, len(body)) + body
    for ask in (native.headers, lambda codec, frame: native.header(codec, frame, "k")):
        with contextlib.suppress(RemoteProtocolError):
            assert not ask(CODEC, room.put(data))


@pytest.mark.parametrize("name", [name for name, data in READABLE.items() if len(data) < 1500][::7])
def test_nothing_is_read_behind_a_body_that_is_cut(name):
    """Cut frames whose length says that they are whole, in front of memory that cannot be read."""
    room = native.Guarded(1 << 16)
    data = READABLE[name]
    keys = [key for key, _ in native.raw_headers(CODEC, data)]
    for end in range(16, len(data)):
        cut = data[:12] + (end - 16).to_bytes(4, "big") + data[16:end]
        for key in [*keys[:2], b"none"]:
            with contextlib.suppress(ProtokitError):
                native.header(CODEC, room.put(cut), key)
        for index in range(3):
            with contextlib.suppress(ProtokitError, IndexError):
                native.argument(CODEC, room.put(cut), index)
