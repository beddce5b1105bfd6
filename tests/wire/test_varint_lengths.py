"""Varints that are lengths and are counted by a length in front of them, and ids that only come back."""

import pytest
from construct import Bytes, If, Int8ub, Int32ub, Rebuild, Struct, len_, this

from protokit import Status, WireFormat, native
from protokit.wire import ErrorText, Replies, UVar, decimal, size_, table

ANSWER = 3
FRAME = Struct(
    "size"
    / Rebuild(
        Int32ub,
        size_(this.id) + size_(this.count) + len_(this.text) + len_(this.body) + 1,
    ),
    "type" / Int8ub,
    "id" / UVar(5),
    "count" / If(this.type == ANSWER, Rebuild(UVar(5), len_(this.text))),
    "text" / If(this.type == ANSWER, Bytes(this.count)),
    "body" / Bytes(this.size - size_(this.id) - size_(this.count) - this.count - 1),
)


def declared(mode):
    return WireFormat(
        FRAME,
        mode=mode,
        id=this.id,
        response=this.type >= 2,
        status=table(this.type, {2: Status.OK}, Status.INTERNAL),
        replies=Replies(error=lambda _status, _variant: {"type": ANSWER, "text": ErrorText(), "body": b"."}),
    )


@pytest.mark.parametrize("size", [0, 1, 127, 128, 20000])
def test_a_length_in_front_counts_a_varint_behind_it_that_is_a_length(size):
    wire = declared("pingpong")
    data = wire.build({"type": ANSWER, "id": 300, "text": b"x" * size, "body": b"!"})
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    fields, read = wire.parse(data)
    assert (read, fields.count, bytes(fields.text), bytes(fields.body)) == (
        len(data),
        size,
        b"x" * size,
        b"!",
    )


def test_a_varint_that_is_not_there_counts_nothing():
    data = declared("pingpong").build({"type": 1, "id": 7, "body": b"ab"})
    assert data == b"\0\0\0\4\1\7ab"


@pytest.mark.parametrize("mode", ["pingpong", "ordered"])
@pytest.mark.parametrize("number", [0, 127, 128, (1 << 35) - 1])
@pytest.mark.parametrize("text", ["", "no", "n" * 200])
def test_an_error_repeats_an_id_that_only_comes_back(mode, number, text):
    wire = declared(mode)
    request = wire.build({"type": 1, "id": number, "body": b"ab"})
    seen = native.frame(wire.address, request)
    reply = native.error(wire.address, Status.INTERNAL, seen.id, seen.context, text.encode())
    fields, size = wire.parse(reply)
    assert (size, fields.id, bytes(fields.text)) == (len(reply), number, text.encode())


@pytest.mark.parametrize("number", [0, 1, 1 << 62, 1 << 63, (1 << 64) - 1])
def test_a_varint_of_64_bits_has_no_sign_as_a_name(number):
    wire = WireFormat(
        Struct("kind" / Int8ub, "method" / UVar(10), "id" / Int32ub),
        id=this.id,
        response=this.kind == 2,
        method=decimal(this.method),
        replies=Replies(error=lambda _status, _variant: {"kind": 2, "method": 0}),
    )
    data = wire.build({"kind": 1, "method": number, "id": 7})
    assert wire.ask.request(data).method == wire.message(data).method == str(number)
