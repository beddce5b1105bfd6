"""What is asked of one frame in all tiers: one header, headers of answers and changes to them, arguments."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from construct import Const, GreedyBytes, If, Int8sb, Int8ub, Int16ub, Prefixed, Struct, this

from protokit import Answer, Headers, Protocol, native
from protokit._native import ffi
from protokit.cli.subject import protocol_named
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire import ErrorText, Replies, WireFormat, lines, pairs

REPO = Path(__file__).parents[2]


def sized_module():
    spec = importlib.util.spec_from_file_location("sized_asked", REPO / "tests" / "toy" / "sized.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SIZED = sized_module()
LAYOUT = Struct(
    Const(b"A"),
    "kind" / Int8ub,
    "id" / Int16ub,
    "name" / If(this.kind != 1, Prefixed(Int8ub, GreedyBytes)),
    "more" / If(this.kind != 1, Prefixed(Int8ub, GreedyBytes)),
    "head" / Prefixed(Int16ub, GreedyBytes),
    "tail" / If(this.kind == 1, Prefixed(Int16ub, GreedyBytes)),
)


def made(**how):
    def error(_status, _variant):
        return {"kind": 1, "head": b"", "tail": ErrorText()}

    return WireFormat(
        LAYOUT,
        id=this.id,
        response=this.kind == 1,
        oneway=this.kind == 2,
        service=this.name,
        method=this.more,
        replies=Replies(error=error),
        **how,
    )


PAIRS = made(headers=pairs(this.head, key=Int8ub, value=Int8sb))
LINES = made(headers=lines(this.head, "=", ";"))
# What routes is in more sections than framing leaves places for, so that the program runs again.
FEW = made(headers=pairs(this.head, key=Int8ub, value=Int8sb), version=this.tail)
ELSEWHERE = made(headers=lines(this.head, "=", ";"), answer_headers=lines(this.tail, ":", ","))
NONE = made()
REQUEST, ONEWAY, ANSWER = 0, 2, 1


def framed(wire, kind, head, tail=b""):
    answer = kind == ANSWER
    return wire.build(
        {
            "kind": kind,
            "id": 7,
            "name": None if answer else b"s",
            "more": None if answer else b"m",
            "head": head,
            "tail": tail if answer else None,
        }
    )


def paired(*items):
    return b"".join(
        bytes([len(key)]) + key + (b"\xff" if value is None else bytes([len(value)]) + value)
        for key, value in items
    )


def agrees(wire, data):
    """By key as one after the other, and as the reference says."""
    headers = wire.ask.headers(data)
    assert headers == wire.message(data).headers
    for key, _ in native.raw_headers(wire.address, data):
        assert native.header(wire.address, data, key) == headers.get(native.text(key))
    assert wire.ask.header(data, "none of that name") is None
    return dict(headers)


@pytest.mark.parametrize("kind", [REQUEST, ONEWAY, ANSWER])
@pytest.mark.parametrize("wire", [PAIRS, FEW])
def test_headers_behind_lengths_are_found_by_their_keys(wire, kind):
    data = framed(wire, kind, paired((b"a", b"1"), (b"b", b"2"), (b"", b"3"), (b"a", b"4")))
    assert agrees(wire, data) == {"a": "4", "b": "2", "": "3"}
    assert wire.ask.header(data, "") == "3"
    assert agrees(wire, framed(wire, kind, b"")) == {}


@pytest.mark.parametrize("kind", [REQUEST, ANSWER])
def test_of_a_codec_that_finds_none_by_its_key_all_are_gone_through(kind):
    codec = ffi.new("pk_codec *", ffi.cast("pk_codec *", PAIRS.address)[0])
    codec.header = ffi.NULL
    address = int(ffi.cast("uintptr_t", codec))
    data = framed(PAIRS, kind, paired((b"a", b"1"), (b"", b"3"), (b"a", b"4"), (b"n", None)))
    for key, value in {"a": "4", "": "3", "n": None, "b": None, "aa": None}.items():
        assert native.header(address, data, key) == value == native.header(PAIRS.address, data, key)
    cut = framed(PAIRS, kind, paired((b"a", b"1")) + b"\x05a")
    with pytest.raises(RemoteProtocolError, match="malformed"):
        native.header(address, cut, "a")


@pytest.mark.parametrize("kind", [REQUEST, ANSWER])
def test_a_null_takes_a_header_back(kind):
    data = framed(PAIRS, kind, paired((b"a", b"1"), (b"b", None), (b"a", None)))
    assert agrees(PAIRS, data) == {}
    assert native.raw_headers(PAIRS.address, data) == [(b"a", b"1"), (b"b", None), (b"a", None)]


@pytest.mark.parametrize("kind", [REQUEST, ONEWAY, ANSWER])
def test_headers_between_separators_are_found_by_their_keys(kind):
    data = framed(LINES, kind, b"a=1;no pair;b=;a=2;=x")
    assert agrees(LINES, data) == {"a": "2", "b": "", "": "x"}


def test_headers_of_answers_may_stand_elsewhere():
    assert agrees(ELSEWHERE, framed(ELSEWHERE, REQUEST, b"a=1")) == {"a": "1"}
    answer = framed(ELSEWHERE, ANSWER, b"a=1", b"b:2,a:3")
    assert agrees(ELSEWHERE, answer) == {"b": "2", "a": "3"}
    changed = ELSEWHERE.ask.edit(answer, [(native.EDIT_HEADER, "a", "4"), (native.EDIT_HEADER, "c", "5")])
    assert agrees(ELSEWHERE, changed) == {"b": "2", "a": "4", "c": "5"}
    assert ELSEWHERE.parse(changed)[0].head == b"a=1"


def test_headers_in_a_section_that_this_answer_has_not_are_none():
    wire = made(headers=lines(this.more, "=", ";"))
    assert agrees(wire, framed(wire, ANSWER, b"a=1")) == {}
    with pytest.raises(LocalProtocolError, match="has no headers"):
        wire.ask.edit(framed(wire, ANSWER, b""), [(native.EDIT_HEADER, "a", "1")])


def test_a_format_without_headers_has_none_under_any_key():
    for kind in (REQUEST, ANSWER):
        assert agrees(NONE, framed(NONE, kind, b"a=1")) == {}
        with pytest.raises(LocalProtocolError, match="declares no headers"):
            NONE.ask.edit(framed(NONE, kind, b""), [(native.EDIT_HEADER, "a", "1")])


@pytest.mark.parametrize("head", [b"\x05a", b"\x01a", b"\x01a\x05b", b"\x01a\xfe"])
@pytest.mark.parametrize("kind", [REQUEST, ANSWER])
def test_malformed_headers_have_no_keys(kind, head):
    room = native.Guarded(4096)
    data = framed(PAIRS, kind, paired((b"a", b"1")) + head)
    for key in ("a", "none"):
        with pytest.raises(RemoteProtocolError, match="malformed"):
            native.header(PAIRS.address, room.put(data), key)
    with pytest.raises(RemoteProtocolError, match="malformed"):
        PAIRS.ask.headers(data)
    assert native.frame(PAIRS.address, data).result == 0


@pytest.mark.parametrize("wire", [PAIRS, LINES])
def test_an_answer_is_changed_in_its_headers_alone(wire):
    head = b"a=1;b=2" if wire is LINES else paired((b"a", b"1"), (b"b", b"2"))
    data = framed(wire, ANSWER, head, b"rest")
    changed = wire.ask.edit(data, [(native.EDIT_HEADER, "b", "two"), (native.EDIT_HEADER, "c", "3")])
    assert agrees(wire, changed) == {"a": "1", "b": "two", "c": "3"}
    before, after = native.frame(wire.address, data), native.frame(wire.address, changed)
    assert (after.result, after.size, after.id, after.kind) == (0, len(changed), before.id, before.kind)
    assert wire.parse(changed)[0].tail == b"rest"
    back = wire.ask.edit(changed, [(native.EDIT_HEADER, "b", "2"), (native.EDIT_HEADER, "c", None)])
    assert back == data
    with pytest.raises(LocalProtocolError, match="an answer has no service to change"):
        wire.ask.edit(data, [(native.EDIT_SERVICE, "", "other")])


def test_answers_headers_have_to_be_of_a_section():
    with pytest.raises(DeclarationError, match="answer_headers"):
        made(answer_headers=lines(this.kind, "=", ";"))
    with pytest.raises(DeclarationError, match="answer_headers"):
        made(answer_headers=lines(this.nothing, "=", ";"))


@pytest.mark.parametrize("name", ["bolt", "motan", "hsf"])
def test_arguments_of_declared_formats_cannot_be_read(name):
    wire = protocol_named(name).wire
    beat = wire.ask.heartbeat(7)
    assert not wire.ask.reads_arguments
    with pytest.raises(IndexError):
        wire.ask.argument(beat, 0)
    assert wire.ask.header(beat, "any") is None
    with pytest.raises(LocalProtocolError, match="arguments of declared cannot be read"):
        PAIRS.ask.argument(framed(PAIRS, REQUEST, b""), 0)


# In Python.


class Answering(type(SIZED.sized.wire)):
    """Its answers begin with a line of JSON, too."""

    def response(self, frame):
        head = frame[SIZED.HEAD.size :].partition(b"\n")[0]
        try:
            return Answer(headers=Headers(json.loads(head or b"{}")))
        except ValueError as error:
            raise RemoteProtocolError(str(error)) from error

    def edit_response(self, frame, answer):
        rest = frame[SIZED.HEAD.size :].partition(b"\n")[2]
        body = json.dumps(dict(answer.headers)).encode() + b"\n" + rest
        return frame[:10] + len(body).to_bytes(4, "big") + body

    def argument(self, frame, index):
        return frame[SIZED.HEAD.size :].partition(b"\n")[2].split(b" ")[index].decode()


ANSWERING = Protocol("answering", Answering()).wire


def test_a_codec_in_python_says_the_headers_of_answers():
    data = SIZED.pack("response", 7, b'{"a": "1"}\nrest')
    ask = ANSWERING.ask
    assert (dict(ask.headers(data)), ask.header(data, "a"), ask.header(data, "b")) == ({"a": "1"}, "1", None)
    changed = ask.edit(data, [(native.EDIT_HEADER, "a", None), (native.EDIT_HEADER, "b", "2")])
    assert (dict(ask.headers(changed)), changed.endswith(b"\nrest")) == ({"b": "2"}, True)
    assert (ask.frame(changed).size, ask.frame(changed).id) == (len(changed), 7)
    with pytest.raises(LocalProtocolError, match="an answer has no method to change"):
        ask.edit(data, [(native.EDIT_METHOD, "", "x")])
    with pytest.raises(RemoteProtocolError):
        ask.headers(SIZED.pack("response", 7, b"{"))
    answer = ANSWERING.answered(SIZED.pack("response", 7, b"\n"))
    assert (answer.status.name, answer.protocol, repr(answer)) == ("OK", "answering", "Answer(answering OK)")


def test_a_codec_in_python_says_headers_and_arguments_of_requests():
    ask, data = ANSWERING.ask, SIZED.call(7, payload=b"one two", headers={"a": "1"})
    assert (ask.header(data, "a"), ask.header(data, "b"), dict(ask.headers(data))) == ("1", None, {"a": "1"})
    assert (ask.reads_arguments, ask.argument(data, 0), ask.argument(data, 1)) == (True, "one", "two")
    for frame in (SIZED.pack("response", 7, b"{}\nx"), data):
        with pytest.raises(IndexError):
            ask.argument(frame, 2)
    beat = SIZED.pack("heartbeat", 7)
    assert (dict(ask.headers(beat)), ask.header(beat, "a")) == ({}, None)


def test_what_a_codec_in_python_does_not_have_is_said():
    ask = SIZED.sized.wire.ask
    data = SIZED.pack("response", 7, b"x")
    assert (dict(ask.headers(data)), ask.header(data, "a"), ask.reads_arguments) == ({}, None, False)
    with pytest.raises(LocalProtocolError, match="Sized has no edit_response"):
        ask.edit(data, [(native.EDIT_HEADER, "a", "1")])
    with pytest.raises(LocalProtocolError, match="Sized has no argument"):
        ask.argument(SIZED.call(1), 0)

    class Wrong(type(SIZED.sized.wire)):
        def response(self, frame):
            return frame

    with pytest.raises(LocalProtocolError, match=r"Wrong\.response gave b'.*', expected an Answer"):
        Protocol("wrong", Wrong()).wire.ask.headers(data)


# As filters see it.


def test_a_filter_that_asks_for_one_header_reads_no_others():
    data = framed(PAIRS, REQUEST, paired((b"a", b"1"), (b"b", b"2")))
    request = native.request(PAIRS.address, data, lazy=True)
    assert (request.header("a"), request.header("none"), request.headers_read) == ("1", None, False)
    assert not request.copy().headers_read
    request.headers["a"] = "new"
    assert (request.header("a"), request.header("b"), request.headers_read) == ("new", "2", True)
    copy = request.copy()
    copy.headers["a"] = "newer"
    assert request.header("a") == "new"
    request.headers = Headers({"c": "3"})
    assert (request.header("a"), request.header("c")) == (None, "3")


def test_headers_that_cannot_be_read_are_told_when_somebody_asks():
    data = framed(PAIRS, REQUEST, b"\x05a")
    request = native.request(PAIRS.address, data, lazy=True)
    assert (request.service, request.unreadable) == ("s", None)
    with pytest.raises(RemoteProtocolError) as raised:
        request.header("a")
    assert request.unreadable is raised.value
    with pytest.raises(RemoteProtocolError):
        native.request(PAIRS.address, data)
