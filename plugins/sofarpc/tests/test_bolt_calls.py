"""Arguments of calls over bolt as Python values, and calls with others: what a filter does with a body."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from bolt_vectors import FRAMES, REPO, SHARED, lines
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from protokit_sofarpc import bolt
from protokit_sofarpc.calls import read_arguments, write_arguments
from protokit_sofarpc.hessian import Values
from protokit_sofarpc.values import DRAFT, HESSIAN2, Long, Object, Reader, TypedList, TypedMap, Writer
from test_bolt import CRC, FORMS, V1, ask

from protokit import native
from protokit.errors import LocalProtocolError, ProtokitError, RemoteProtocolError

ASK = bolt.wire.ask
HESSIAN = [*lines(REPO / "tests" / "golden" / "hessian.jsonl"), *lines(SHARED.with_name("hessian.jsonl"))]
BOTH = pytest.mark.parametrize("draft", [True, False], ids=["draft", "final"])


def written(*values: Any, draft: bool = True) -> bytes:
    """What tells values apart that are equal in Python."""
    writer = Writer(DRAFT if draft else HESSIAN2)
    for value in values:
        writer.write(value)
    return bytes(writer.data)


def listed(name: str, *values: Any) -> TypedList:
    found = TypedList(values)
    found.type_name = name
    return found


def request(*types: str) -> Object:
    sigs = listed("[string", *types)
    names = {"targetAppName": None, "methodName": "m", "targetServiceUniqueName": "a.B:1.0"}
    return Object(
        "com.alipay.sofa.rpc.core.request.SofaRequest",
        {**names, "requestProps": {"k": "v"}, "methodArgSigs": sigs},
    )


def call(types: tuple[str, ...], *arguments: Any, form=V1, draft: bool = True) -> bytes:
    return ask(form, content=written(request(*types), *arguments, draft=draft))


def content(frame: bytes) -> bytes:
    return bolt.wire.parse(frame)[0].content


@pytest.mark.parametrize("line", HESSIAN, ids=lambda line: line["name"])
def test_what_peers_wrote_is_written_again_with_the_same_meaning(line):
    """Bytes of sofa-hessian, hessian-lite and others, in both dialects: a second reader says the same."""
    data, draft = bytes.fromhex(line["hex"]), line["expect"]["dialect"].startswith("H1 ")
    reader = Reader(data, DRAFT if draft else HESSIAN2)
    values = []
    while not reader.done:
        values.append(reader.read())
    again = written(*values, draft=draft)
    said = [Values(one, draft=draft) for one in (data, again)]
    assert json.dumps(said[0].rest()) == json.dumps(said[1].rest())
    assert (said[0].numbered, said[0].classes) == (said[1].numbered, said[1].classes)


CALLS = [bytes.fromhex(line["hex"]) for line in FRAMES if line["expect"].get("kind") in {"request", "oneway"}]


def test_captured_calls_stay_as_they_are_or_say_the_same():
    whole = read = 0
    for data in CALLS:
        fields, _ = bolt.wire.parse(data)
        if fields.codec != 1 or b"SofaRequest" not in fields.class_name:
            with pytest.raises(LocalProtocolError, match="arguments"):
                ASK.arguments(data)
            continue
        again = ASK.with_arguments(data, ASK.arguments(data))
        read, whole = read + 1, whole + (again == data)
        assert Values(content(again)).rest() == Values(fields.content).rest()
        assert native.frame(bolt.wire.address, again).result == 0
    # Beside the repository there may be more vectors than its own.
    least, least_whole = (101, 91) if SHARED.exists() else (96, 88)
    assert read >= least
    assert whole >= least_whole


leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
leaves |= st.text(max_size=8) | st.binary(max_size=40) | st.integers(-9, 20).map(Long)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.builds(lambda one: Object("demo.P", {"a": one, "b": 1}), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=many(60), deadline=None)
@given(
    st.lists(values, min_size=1, max_size=4),
    values,
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([*FORMS.values()]),
)
def test_one_argument_is_changed_and_all_else_stays(arguments, other, at, draft, form):
    at %= len(arguments)
    data = call((), *arguments, form=form, draft=draft)
    decoded = ASK.arguments(data)
    assert written(*decoded) == written(*arguments)
    decoded[at] = other
    changed = ASK.with_arguments(data, decoded)
    assert written(*ASK.arguments(changed)) == written(*decoded)
    before, after = bolt.wire.parse(data)[0], bolt.wire.parse(changed)[0]
    same = ("proto", "type", "id", "codec", "timeout", "class_name", "headers")
    assert [before[one] for one in same] == [after[one] for one in same]
    front = len(written(request(), draft=draft))
    assert before.content[:front] == after.content[:front]
    message = native.frame(bolt.wire.address, changed)  # with a checksum where there was one
    assert (message.result, message.size) == (0, len(changed))


@BOTH
def test_what_nobody_changed_stays_byte_for_byte_beside_what_is(draft):
    long_int = b"I\0\0\0\1"  # longer than it must be, as no writer of ours writes it
    front = written(request("java.lang.String", "int", "long"), draft=draft)
    data = ask(CRC, content=front + b"\x01x" + long_int + b"\xe5")
    assert ASK.arguments(data) == ["x", 1, 5]
    changed = ASK.with_arguments(data, ["other", 1, 6])
    assert content(changed) == front + b"\x05other" + long_int + b"\xe6"  # a long stays one


@BOTH
def test_numbers_count_what_the_request_in_front_has(draft):
    """A class, a type and references of arguments, beside those of the SofaRequest."""
    person = Object("demo.P", {"name": "x", "self": None})
    person.fields["self"] = person
    names = TypedList(["a"])
    names.type_name = "[string"
    typed = TypedMap({"k": names})
    typed.type_name = "java.util.TreeMap"
    data = call((), person, names, typed, person, request("demo"), draft=draft)
    decoded = ASK.arguments(data)
    decoded[0].fields["name"] = "y"
    first, second, third, last, again = ASK.arguments(ASK.with_arguments(data, decoded))
    assert first is last is first.fields["self"]
    assert first.fields["name"] == "y"
    assert third["k"] is second
    assert (second, second.type_name, third.type_name) == (["a"], "[string", "java.util.TreeMap")
    assert again == request("demo")
    changed = content(ASK.with_arguments(data, decoded))
    assert changed.count(b"[string") == changed.count(b"SofaRequest") == 1  # said once, then by their numbers


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("long", 5, Long(5)),
        ("java.lang.Long", 5, Long(5)),
        ("int", 5, 5),
        ("double", 5, 5.0),
        ("java.lang.Float", 5, 5.0),
        ("long", True, True),
        ("java.lang.Object", 5, 5),
    ],
)
def test_a_number_is_written_as_its_parameter_is_declared(type_, value, expected):
    data = call((type_,), None)
    assert written(*ASK.arguments(ASK.with_arguments(data, [value]))) == written(expected)


def test_what_cannot_be_read_or_written_is_said():
    data = call(("int",), 5)
    for arguments, why in (
        ([5, 6], "the call has 1 arguments, and 2 were given"),
        ([{5}], "hessian: cannot write a set"),
        ([1 << 63], "does not fit 64 bits"),
        ([Object(5, {})], "an object's class and fields have names, not 5"),
        ([Object("a.B", {6: 7})], "an object's class and fields have names, not 6"),
        ([listed("x" * 65536)], "a type's name has over 65,535 characters"),
    ):
        with pytest.raises(LocalProtocolError, match=why):
            ASK.with_arguments(data, arguments)
    with pytest.raises(LocalProtocolError, match="hessian: a whole number that fits no double"):
        ASK.with_arguments(call(("double",), 5.0), [10**400])
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    with pytest.raises(LocalProtocolError, match="nested deeper than 200"):
        ASK.with_arguments(data, [deep])
    for codec, name in ((11, "protobuf"), (12, "JSON"), (77, "codec 77")):
        with pytest.raises(LocalProtocolError, match=f"decoded in Hessian 2, and these are in {name}$"):
            ASK.arguments(ask(V1, codec=codec, content=b"x"))
    with pytest.raises(LocalProtocolError, match="no body"):
        ASK.arguments(ask(V1, content=b""))
    with pytest.raises(LocalProtocolError, match="begins with no SofaRequest"):
        ASK.arguments(ask(V1, content=b"\x01x\x01y"))
    with pytest.raises(LocalProtocolError, match="not whole"):
        ASK.arguments(data[:-1])


@BOTH
def test_a_body_that_is_cut_or_changed_is_an_error_in_words(draft):
    """Never another exception, nor a reading without an end."""
    person = Object("demo.P", {"name": "Z\u00fcrich \U0001f680", "friends": [1, 2.5, {"k": b"x"}]})
    whole = written(request("a"), person, [person], Long(7), draft=draft)
    for at in range(len(whole)):
        changed = [
            whole[:at] + bytes([one]) + whole[at + 1 :] for one in (0, 0x4A, 0x90, 0xFF, whole[at] ^ 1)
        ]
        for other in (whole[:at], *changed):
            with contextlib.suppress(ProtokitError):
                write_arguments(other, read_arguments(other))


@pytest.mark.parametrize(
    ("draft", "body", "why"),
    [
        (True, b"M\x91\x01a\xe1\x01bz", "two keys of a map that are one in a dict"),
        (True, b"MVz\x01az", "a map's key is a list"),
        (True, b"\1\xc1\xa1", "no UTF-8"),
        (True, b"J\x63", "reference 99, of"),
        (True, b"o\x8f", "class -1, of"),
        (True, b"Vu\x8fz", "type -1, of"),
        (True, b"V" * 300, "nested deeper than 200"),
        (True, b"d\x7f" + b"\xff" * 7, "a date outside the years"),
        (False, b"W" * 300, "nested deeper than 200"),
        (False, b"H\x91\x01aT\x01bZ", "two keys of a map that are one in a dict"),
        (False, b"X\xd7\xff\xff", "a count of"),
    ],
)
def test_what_python_has_no_value_for_is_said(draft, body, why):
    with pytest.raises(RemoteProtocolError, match=why):
        ASK.arguments(ask(V1, content=written(request(), draft=draft) + body))
