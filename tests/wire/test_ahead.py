"""What comes next tells which field it begins, and whether a connection is this protocol at all."""

from __future__ import annotations

import pytest
from construct import Bytes, Check, IfThenElse, Int8ub, Int16ul, Struct, this
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protokit import native
from protokit.errors import DeclarationError, RemoteProtocolError
from protokit.testing import frames, spoiled
from protokit.wire import (
    Ahead,
    ErrorText,
    Measured,
    Replies,
    WireFormat,
    byte_id,
    first,
    msgpack,
    msgpack_value,
    number,
)

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
OK, MORE, MAGIC = 0, 1, -1
CALL, NOTE = (msgpack(this.body.call), msgpack(this.body.note))
RPC = WireFormat(
    Struct(
        "tag" / Ahead(Int8ub),
        Check((this.tag == 0x94) | (this.tag == 0x93)),
        "body"
        / IfThenElse(
            this.tag == 0x94,
            Struct("call" / Measured(msgpack_value)),
            Struct("note" / Measured(msgpack_value)),
        ),
    ),
    id=byte_id(CALL[1], max=5),
    response=number(CALL[0]) == 1,
    oneway=this.tag == 0x93,
    service=first(CALL[2], NOTE[1]),
    replies=Replies(
        error=lambda *_: {
            "tag": 0x94,
            "body": {"call": [b"\x94\x01\x00", ErrorText(before=b"\xd9", count=Int8ub), b"\xc0"]},
        }
    ),
)
REQUEST = b"\x94\x00\x02\xa3add\x92\x01\x02"
NOTIFICATION = b"\x93\x02\xa3hup\x90"


def test_what_comes_next_is_read_by_the_field_that_has_it():
    for frame, kind, service in ((REQUEST, "request", "add"), (NOTIFICATION, "oneway", "hup")):
        message = native.frame(RPC.address, frame + b"\x94")
        assert (message.result, message.size) == (OK, len(frame))
        assert RPC.message(frame).kind == kind
        assert native.request(RPC.address, frame).service == service
        assert RPC.parse(frame)[0]["tag"] == frame[0]
        assert RPC.build(RPC.parse(frame)[0]) == frame
        assert b"".join(piece.raw for piece in RPC.explain(frame)) == frame
        for cut in range(1, len(frame)):
            assert native.frame(RPC.address, frame[:cut]).result == MORE


def test_it_tells_the_protocol_from_others():
    assert native.probe(RPC.address, b"\x94") == native.probe(RPC.address, b"\x93\x02") == OK
    for other in (b"\x92", b"GET /", b"\0\0"):
        assert native.probe(RPC.address, other) == MAGIC
        assert native.frame(RPC.address, other).result == MAGIC
        with pytest.raises(RemoteProtocolError):
            RPC.parse(other)


def test_errors_begin_as_answers_do():
    reply = native.error(RPC.address, 4, 7, 0, b"why", b"")
    assert reply == b"\x94\x01\x07\xd9\x03why\xc0"
    assert RPC.message(reply).kind == "response"


def test_more_than_a_byte_may_be_looked_at():
    wire = WireFormat(
        Struct("magic" / Ahead(Int16ul), Check(this.magic == 0x0201), "mark" / Bytes(2), "id" / Int8ub),
        id=this.id,
        response=this.id == 0,
        replies=Replies(error=lambda *_: {"magic": 0x0201, "mark": b"\1\2"}),
    )
    assert [native.probe(wire.address, (b"\1\2x")[:size]) for size in (1, 2, 3)] == [MORE, OK, OK]
    assert native.probe(wire.address, b"\1\3") == MAGIC
    assert native.frame(wire.address, b"\1\2x").id == ord("x")


@pytest.mark.parametrize("what", [Bytes(3), Struct("a" / Int8ub), Measured(msgpack_value)])
def test_only_integers_are_looked_at(what):
    with pytest.raises(DeclarationError, match="x: Ahead is of an integer of fixed width, such as Ahead"):
        WireFormat(
            Struct("id" / Int8ub, "x" / Ahead(what)),
            id=this.id,
            response=1,
            replies=Replies(error=lambda *_: {}),
        )


def test_what_is_looked_at_is_no_id():
    with pytest.raises(
        DeclarationError, match="id: this.id is looked at ahead .1 bytes., and an integer of fixed"
    ):
        WireFormat(
            Struct("id" / Ahead(Int8ub), "x" / Int8ub),
            id=this.id,
            response=1,
            replies=Replies(error=lambda *_: {"x": 1}),
        )


@QUICK
@given(st.data())
def test_any_frames_are_framed_as_construct_reads_them(data):
    frame = data.draw(frames(RPC) | spoiled(frames(RPC)))
    message = native.frame(RPC.address, frame)
    try:
        size = RPC.parse(frame)[1]
    except EOFError:
        assert message.result in {MORE, -3}
    except RemoteProtocolError:
        assert message.result < 0
    else:
        assert message.size == size
