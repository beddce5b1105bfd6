"""Who sent a frame says what it is, where its bytes do not; and what it says besides: the last, more."""

from __future__ import annotations

import pytest
from construct import GreedyBytes, IfThenElse, Int8ub, Int16ub, Int32ub, Prefixed, Rebuild, Struct, len_, this
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protokit import Protocol, Status, native
from protokit.errors import DeclarationError
from protokit.wire import (
    ErrorText,
    Greeting,
    Replies,
    Until,
    UVar,
    WireFormat,
    crc32,
    lines,
    side,
    split,
    table,
)
from protokit.wire.format import KINDS

QUICK = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def alike(**more):
    """Both sides send lines; only who sends one tells what it is."""
    return WireFormat(
        Struct("line" / Until(b"\r\n", max=900)),
        mode="ordered",
        response=side == "server",
        service=split(this.line, " ", 2)[0],
        replies=Replies(error=lambda status, variant: {"line": ErrorText(before=b"ERR ")}),
        **more,
    )


def two(**more):
    """Each side has a layout of its own, and a checksum."""
    return WireFormat(
        Struct(
            "body"
            / IfThenElse(
                side == "client",
                Struct("method" / Prefixed(Int8ub, GreedyBytes), "flags" / Int8ub),
                Struct(
                    "code" / Int16ub,
                    "flags" / Int8ub,
                    "size" / Rebuild(UVar(2), len_(this.text)),
                    "text" / Prefixed(Int16ub, GreedyBytes),
                ),
            ),
            "crc" / Int32ub,
        ),
        mode="pingpong",
        response=side == "server",
        oneway=(side == "client") & (this.body.flags == 9),
        status=table(this.body.code, {0: Status.OK}, Status.INTERNAL),
        last=this.body.flags == 1,
        more=(side == "server") & (this.body.flags == 2),
        service=this.body.method,
        checksum=crc32(this.crc, over="before"),
        replies=Replies(
            error=lambda status, variant: {"body": {"code": int(status), "flags": 0, "text": ErrorText()}}
        ),
        **more,
    )


def told(wire, frame, who):
    """What the engine says, which is what the reference says."""
    seen, one = native.frame(wire.address, frame, side=who), wire.message(frame, who)
    assert (KINDS[seen.kind], seen.size, seen.status) == (one.kind, one.size, one.status)
    return one.kind


def test_the_same_bytes_are_a_request_of_a_client_and_an_answer_of_a_server():
    wire = alike()
    assert told(wire, b"get a\r\n", "client") == "request"
    assert told(wire, b"get a\r\n", "server") == "response"
    assert told(wire, b"get a\r\n", None) == "request"  # who does not know it asks what the bytes alone say
    assert native.request(wire.address, b"get a\r\n").service == "get"
    assert native.probe(wire.address, b"get a\r\n") == 0


def test_an_error_is_built_as_a_server_says_it():
    wire = two()
    reply = native.error(wire.address, Status.TIMEOUT, 0, 0, b"why not")
    assert told(wire, reply, "server") == "response"
    fields = wire.message(reply, "server").fields.body
    assert (fields.code, fields.text) == (Status.TIMEOUT, b"why not")
    assert reply == wire.build({"body": {"code": 4, "flags": 0, "text": b"why not"}}, "server")


def test_greetings_are_each_of_their_side():
    wire = alike(
        greeting=Greeting(
            when=(side == "client") & (side == "server"),
            steps=(("server", lambda variant: {"line": b"hi"}), ("client", lambda variant: {"line": b"ho"})),
        )
    )
    assert [native.greeting_step(wire.address, step) for step in (0, 1)] == [b"hi\r\n", b"ho\r\n"]


@QUICK
@given(st.data())
def test_engine_and_reference_agree_on_both_sides(data):
    wire = data.draw(st.sampled_from([TWO, ALIKE]))
    who = data.draw(st.sampled_from(["client", "server"]))
    if wire is ALIKE:
        values = {"line": data.draw(st.binary(max_size=20)).replace(b"\r\n", b"")}
    elif who == "client":
        values = {"body": {"method": data.draw(st.binary(max_size=9)), "flags": data.draw(st.integers(0, 9))}}
    else:
        text = data.draw(st.binary(max_size=9))
        values = {
            "body": {
                "code": data.draw(st.integers(0, 3)),
                "flags": data.draw(st.integers(0, 3)),
                "text": text,
            }
        }
    if wire is ALIKE and values["line"].endswith(b"\r"):
        return
    frame = wire.build(values, who)
    told(wire, frame, who)
    fields, size = wire.parse(frame, who)
    assert (wire.build(fields), size) == (frame, len(frame))
    assert sum(piece.size for piece in wire.explain(frame, who)) == len(frame)
    for cut in range(1, len(frame)):
        assert native.frame(wire.address, frame[:cut], side=who).result == 1
    other = "server" if who == "client" else "client"
    seen = native.frame(wire.address, frame, side=other)
    try:
        assert wire.message(frame, other).size == seen.size
    except Exception:  # noqa: BLE001  # whatever the reference says against it
        assert seen.result != 0


TWO, ALIKE = two(), alike()


def test_the_last_message_and_an_answer_of_several_say_so():
    for who, flags, says in (
        ("client", 0, 0),
        ("client", 1, native.SAYS_LAST),
        ("client", 2, 0),
        ("server", 1, native.SAYS_LAST),
        ("server", 2, native.SAYS_MORE),
        ("server", 3, 0),
    ):
        body = {"method": b"m"} if who == "client" else {"code": 0, "text": b"t"}
        frame = TWO.build({"body": {**body, "flags": flags}}, who)
        assert native.frame(TWO.address, frame, side=who).says == says, (who, flags)


def test_a_line_of_the_head_says_that_it_is_the_last():
    head = lines(this.head, ": ", "\r\n")
    wire = WireFormat(
        Struct("head" / Until(b"\r\n\r\n", max=900)),
        mode="ordered",
        response=side == "server",
        last=head["Connection"] == "close",
        service=head["To"],
        replies=Replies(error=lambda status, variant: {"head": ErrorText()}),
    )
    for text, says in (
        (b"To: a\r\nConnection: close", native.SAYS_LAST),
        (b"Connection: keep", 0),
        (b"x", 0),
    ):
        for who in ("client", "server"):
            assert native.frame(wire.address, text + b"\r\n\r\n", side=who).says == says


def test_fixed_frames_say_it_too():
    """Those that have a shape otherwise."""
    wire = WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, "flags" / Int8ub, "text" / Prefixed(Int16ub, GreedyBytes)),
        id=this.id,
        response=this.kind == 1,
        last=this.flags == 1,
        more=this.flags == 2,
        replies=Replies(error=lambda status, variant: {"kind": 1, "flags": 0, "text": ErrorText()}),
    )
    for flags in range(4):
        for kind in (0, 1):
            frame = wire.build({"kind": kind, "id": 1, "flags": flags, "text": b""})
            assert native.frame(wire.address, frame).says == (flags if flags < 3 else 0)


def test_bytes_of_a_side_are_alike_with_bytes_alone():
    """What is compared with them in a test is the same or not, whatever it is."""
    one = native.sent_by("client", b"x")
    for same in (b"x", bytearray(b"x"), native.sent_by("client", b"x")):
        assert one == same
        assert (one != same) is False
    for other in (b"y", "x", "refused", None, 1, native.sent_by("server", b"x")):
        assert one != other
        assert (one == other) is False


def test_a_side_that_is_none_is_refused():
    for other in ("proxy", 1, None):
        with pytest.raises(DeclarationError, match='side is compared with "client" or "server"'):
            side == other  # noqa: B015  # it raises


def test_a_format_that_does_not_tell_answers_is_refused_when_its_protocol_is_made():
    def of(**meaning):
        replies = Replies(error=lambda status, variant: {"line": ErrorText()})
        return Protocol(
            "x",
            WireFormat(Struct("line" / Until(b"\n", max=900)), mode="ordered", replies=replies, **meaning),
        )

    with pytest.raises(DeclarationError, match='x: response: nothing tells answers .*side == "server"'):
        of()
    of(response=side == "server")
    of(oneway=1)
