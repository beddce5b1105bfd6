"""Changes to a request: what they name reaches the wire, all else stays byte for byte."""

from __future__ import annotations

import json
import struct

import pytest
from dubbo_vectors import LINES, values
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from protokit_dubbo import dubbo
from protokit_dubbo.hessian import Object
from protokit_dubbo.messages import HEADER, Call, decode

from protokit import native
from protokit.errors import ProtokitError
from protokit.native import EDIT_GROUP, EDIT_HEADER, EDIT_METHOD, EDIT_SERVICE, EDIT_VERSION, edit

CODEC = dubbo.wire.address
REQUESTS = [
    line
    for line in LINES
    if bytes.fromhex(line["hex"])[2] & 0xA0 == 0x80 and line["expect"].get("serialization") in {2, 10, 23}
]
HESSIAN = [line for line in REQUESTS if line["expect"]["serialization"] != 23]


def frame(serialization: int, body: bytes, request_id: int = 7) -> bytes:
    return HEADER.pack(0xDABB, 0xC0 | serialization, 0, request_id, len(body)) + body


def lines(*items: object) -> bytes:
    """A fastjson body."""
    return b"".join(json.dumps(item, separators=(",", ":")).encode() + b"\n" for item in items)


def delimited(data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([len(data)]) + data


def string_value(text: str) -> bytes:
    return delimited(b"\x0a" + delimited(text.encode()) if text else b"")


def protobuf(*items: str, **attachments: str) -> bytes:
    entries = b"".join(
        b"\x0a" + delimited(b"\x0a" + delimited(key.encode()) + b"\x12" + delimited(value.encode()))
        for key, value in attachments.items()
    )
    return b"".join(map(string_value, items)) + delimited(entries)


def protobuf3() -> bytes:
    """As extensions of 3.x: every attachment again, typed: a value with its type and itself."""

    def entry(tag: bytes, key: str, value: bytes) -> bytes:
        return tag + delimited(b"\x0a" + delimited(key.encode()) + b"\x12" + delimited(value))

    attachments = {"path": "demo.S", "version": "1.0", "who": "Ada"}
    entries = b"".join(entry(b"\x0a", key, value.encode()) for key, value in attachments.items())
    for key, value in attachments.items():
        entries += entry(
            b"\x12", key, b"\x12" + delimited(string_value("java.lang.String") + string_value(value))
        )
    front = b"".join(map(string_value, ("2.0.2", "demo.S", "1.0", "hi", "")))
    return front + bytes([len(entries) & 127 | 128, len(entries) >> 7]) + entries


HAND_MADE = {
    "fastjson": frame(
        6,
        lines("2.0.2", "demo.S", "1.0", "hi", "Ljava/lang/String;I", 'a"}b', 5)
        + b'{"path":"demo.S","n":1,"deep":{"a":[1,"}"]},"who":"Ada","version":"1.0","timeout":"250"}\n',
    ),
    "gson": frame(
        16, lines("2.0.2", "demo.S", "1.0", "hi", "", {"path": "demo.S", "who": "Ada", "group": "g"})
    ),
    "protobuf": frame(
        22,
        protobuf("2.0.2", "demo.S", "1.0", "hi", "Lx/Y;", "arg", path="demo.S", who="Ada", timeout="250"),
    ),
    "protobuf3": frame(22, protobuf3()),
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_other_serializations_are_read_and_changed(name):
    before = native.request(CODEC, HAND_MADE[name])
    assert (before.service, before.version, before.method) == ("demo.S", "1.0", "hi")
    assert before.headers["who"] == "Ada"
    changed = edit(
        CODEC,
        HAND_MADE[name],
        [
            (EDIT_SERVICE, "", "demo.Other"),
            (EDIT_VERSION, "", "2.0"),
            (EDIT_GROUP, "", "blue"),
            (EDIT_HEADER, "who", None),
            (EDIT_HEADER, "quote", 'a"b\\c\n'),
        ],
    )
    after = native.request(CODEC, changed)
    assert (after.service, after.version, after.method, after.group) == ("demo.Other", "2.0", "hi", "blue")
    assert (after.timeout_ms, "who" in after.headers) == (before.timeout_ms, False)
    if name.startswith("protobuf"):
        assert b"Ada" not in changed
        assert b"demo.S" not in changed
    else:
        *front, attachments = changed[16:].decode().splitlines()
        assert json.loads(attachments)["quote"] == 'a"b\\c\n'
        assert [json.loads(item) for item in front][1] == "demo.Other"
    if name == "fastjson":
        assert json.loads(attachments)["deep"] == {"a": [1, "}"]}
    assert len(changed) == 16 + struct.unpack(">I", changed[12:16])[0]


@pytest.mark.parametrize("line", REQUESTS, ids=lambda line: line["name"][:60])
def test_a_change_and_its_opposite_leave_what_was_there(line):
    data = bytes.fromhex(line["hex"])
    added = edit(CODEC, data, [(EDIT_HEADER, "protokit-test", "x" * 50)])
    assert native.request(CODEC, added).headers["protokit-test"] == "x" * 50
    back = edit(CODEC, added, [(EDIT_HEADER, "protokit-test", None)])
    assert len(back) in {len(data), len(data) + 1, len(data) + 8}  # a map where there was none
    if line["expect"].get("attachments"):
        assert back == data


@pytest.mark.parametrize("line", HESSIAN, ids=lambda line: line["name"][:60])
def test_a_rewritten_destination_stands_in_the_fields_and_in_the_attachments(line):
    data = bytes.fromhex(line["hex"])
    before = native.request(CODEC, data)
    changed = edit(
        CODEC,
        data,
        [(EDIT_SERVICE, "", "demo.Other"), (EDIT_VERSION, "", "9.1"), (EDIT_GROUP, "", "blue")],
    )
    after = native.request(CODEC, changed)
    assert (after.service, after.version, after.group) == ("demo.Other", "9.1", "blue")
    assert after.method == before.method
    assert after.headers["path"] == "demo.Other"
    assert after.headers.get("interface", "demo.Other") == "demo.Other"
    skip = {"path", "interface", "version", "group"}
    assert {k: v for k, v in after.headers.items() if k not in skip} == {
        k: v for k, v in before.headers.items() if k not in skip
    }
    if len(data) < 10_000 and line["expect"].get("attachments") and "dubbox" not in line["name"].lower():
        assert decode(changed).service == "demo.Other"


texts = st.text(max_size=60) | st.text(st.sampled_from("a\U0001f600é中"), min_size=30, max_size=1200)


@settings(max_examples=many(200), deadline=None)
@given(
    st.lists(values, max_size=3),
    st.dictionaries(st.text(max_size=8), texts, max_size=5),
    st.dictionaries(st.text(max_size=8), st.none() | texts, max_size=5),
)
def test_headers_are_what_a_dictionary_would_be(arguments, attachments, changes):
    call = Call("s.S", "m", "Ljava/lang/Object;" * len(arguments), arguments, attachments=attachments)
    data = call.encode()
    changed = edit(CODEC, data, [(EDIT_HEADER, key, value) for key, value in changes.items()])
    expected = decode(data).attachments | changes
    assert decode(changed).attachments == {k: v for k, v in expected.items() if v is not None}
    assert decode(changed).arguments == decode(data).arguments


def test_the_last_change_of_a_thing_counts():
    data = Call("s.S", "m", "", []).encode()
    two = edit(CODEC, data, [(EDIT_HEADER, "a", "1"), (EDIT_HEADER, "a", "2"), (EDIT_METHOD, "", "other")])
    assert decode(two).attachments["a"] == "2"
    assert decode(two).method == "other"
    none = edit(CODEC, data, [(EDIT_HEADER, "a", "1"), (EDIT_HEADER, "a", None)])
    assert none == data


def test_no_version_and_no_group_are_written_as_java_writes_them():
    data = Call("s.S", "m", "", [], version="1.0", attachments={"group": "g"}).encode()
    changed = decode(edit(CODEC, data, [(EDIT_VERSION, "", ""), (EDIT_GROUP, "", "")]))
    assert (changed.version, changed.attachments) == ("0.0.0", {"path": "s.S", "interface": "s.S"})


def test_long_text_goes_out_in_chunks_that_split_no_pair():
    long = "x" * 32766 + "\U0001f600" * 40_000
    changed = edit(CODEC, Call("s.S", "m", "", []).encode(), [(EDIT_HEADER, "long", long)])
    assert decode(changed).attachments["long"] == long


def test_values_that_are_no_text_stay_and_are_not_replaced_where_others_may_refer_to_them():
    shared = Object("a.B", {"x": 1})
    attachments = {
        "n": 5,
        "obj": shared,
        "again": shared,
        "list": [1, 2],
        "own": Object("a.C", {}),
        "s": "text",
    }
    data = Call("s.S", "m", "Ljava/lang/Object;", [shared], attachments=attachments).encode()
    changed = decode(edit(CODEC, data, [(EDIT_HEADER, "s", "other"), (EDIT_HEADER, "n", "6")]))
    assert changed.attachments["again"] is changed.arguments[0]
    assert (changed.attachments["s"], changed.attachments["n"]) == ("other", "6")
    for key in ("list", "own"):
        with pytest.raises(ProtokitError, match="a variant that cannot be read"):
            edit(CODEC, data, [(EDIT_HEADER, key, None)])


def test_what_cannot_be_read_cannot_be_changed():
    with pytest.raises(ProtokitError, match="cannot be changed"):
        edit(CODEC, frame(3, b"\xac\xed"), [(EDIT_HEADER, "a", "1")])
    generic = Call("s.S", "$invoke", "Ljava/lang/String;", ["real"]).encode()
    with pytest.raises(ProtokitError, match="cannot be changed"):
        edit(CODEC, generic, [(EDIT_METHOD, "", "other")])


@settings(max_examples=many(300), deadline=None)
@given(st.data())
def test_spoiled_requests_of_every_serialization_are_changed_or_refused(data):
    original = data.draw(
        st.sampled_from([bytes.fromhex(line["hex"]) for line in REQUESTS[::3]] + list(HAND_MADE.values()))
    )
    spoiled = bytearray(original)
    for _ in range(data.draw(st.integers(1, 5))):
        spoiled[data.draw(st.integers(16, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    try:
        changed = edit(CODEC, bytes(spoiled), [(EDIT_SERVICE, "", "x.Y"), (EDIT_HEADER, "k", "v")])
    except ProtokitError:
        return
    assert native.request(CODEC, changed).headers["k"] == "v"


@pytest.mark.parametrize("ms", [1, 250, 2**32 - 1])
def test_the_callers_time_is_written_wherever_a_provider_looks_for_it(ms):
    frames = {line["name"]: bytes.fromhex(line["hex"]) for line in REQUESTS} | HAND_MADE
    for name, data in frames.items():
        before = native.request(CODEC, data)
        changed = native.budget(CODEC, data, ms)
        after = native.request(CODEC, changed)
        assert (name, after.timeout_ms) == (name, ms)
        told = {key for key in ("timeout", "_TO", "_to") if key in after.headers}
        assert told == {"timeout"} | {key for key in ("_TO", "_to") if key in before.headers}, name
        assert {after.headers[key] for key in told} == {str(ms)}, name
        # The same that setting these attachments writes: all else stays byte for byte.
        assert changed == edit(
            CODEC, data, [(EDIT_HEADER, key, str(ms)) for key in sorted(told, key=len)[::-1]]
        )


def test_a_countdown_that_stands_there_is_written_too():
    for countdown in ("_TO", "_to"):
        sent = Call("a.B", "m", "", [], attachments={countdown: 4000, "timeout": "5000", "tag": "x"})
        after = native.request(CODEC, native.budget(CODEC, sent.encode(), 700))
        assert (after.timeout_ms, after.headers[countdown], after.headers["timeout"]) == (700, "700", "700")
        assert after.headers["tag"] == "x"
        assert len([key for key in after.headers if key.lower() == "_to"]) == 1


def test_what_cannot_be_read_is_given_no_time():
    data = bytearray(Call("a.B", "m", "", []).encode())
    data[2] = data[2] & 0xE0 | 8  # kryo
    with pytest.raises(ProtokitError, match="no place for it"):
        native.budget(CODEC, bytes(data), 700)
