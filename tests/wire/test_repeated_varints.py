"""Varints of a request that replies repeat, and what counts them there."""

from __future__ import annotations

import struct

import pytest
from construct import (
    Bytes,
    Check,
    GreedyBytes,
    If,
    Int8ub,
    Int16ub,
    Int32ub,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Protocol, Status, native
from protokit.errors import DeclarationError
from protokit.testing.voices import DeclaredVoice
from protokit.wire import (
    ErrorText,
    FromPeer,
    FromRequest,
    Greeting,
    Replies,
    Until,
    UVar,
    WireFormat,
    crc32,
    number,
    size_,
)
from protokit.wire.program import OPS

NUMBERS = [0, 1, 127, 128, 16383, 16384, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
V = FromRequest(this.v)
STATED = "total" / Rebuild(Int16ub, size_(this.v) + len_(this.body))
BODY = "body" / Bytes(this.total - size_(this.v))


def made(*fields, values=None, ack=None, drain=None, **more):
    """Kind 1: an answer; 2 and 3: heartbeats; 4: a drain signal."""
    values = {"v": V, "body": ErrorText()} if values is None else values
    more.setdefault("id", this.id)
    return WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, *fields),
        response=(this.kind == 1) | (this.kind == 3),
        heartbeat=(this.kind == 2) | (this.kind == 3),
        drain=this.kind == 4,
        replies=Replies(
            error=lambda *_: {"kind": 1, **values},
            ack=None if ack is None else lambda *_: {"kind": 3, **ack},
            drain=None if drain is None else lambda *_: {"kind": 4, **drain},
        ),
        **more,
    )


def said(wire, request, text="why not"):
    """The engine's error, which is the reference's."""
    reply = half_read(wire, request, text)
    assert reply == DeclaredVoice(Protocol("x", wire)).error(Status.TIMEOUT, request, text)
    answer, size = wire.parse(reply)
    assert size == len(reply)
    return answer


def half_read(wire, request, text="why not", limit=8 << 20):
    one = native.frame(wire.address, request, limit)
    kept = native.keep(wire.address, request, limit)
    return native.error(wire.address, Status.TIMEOUT, one.id, one.context, text.encode(), kept)


SUMMED = "sum" / Int32ub
LAYOUTS = {
    "alone": ("v" / UVar(10), "body" / Prefixed(Int8ub, GreedyBytes)),
    "counted": (STATED, "v" / UVar(10), BODY),
    "summed up": (STATED, "v" / UVar(10), BODY, SUMMED),
    "counted by a varint": (
        "total" / Rebuild(UVar(5), size_(this.v) + len_(this.body)),
        "v" / UVar(10),
        BODY,
    ),
    "counted in four digits": (
        "digits" / Bytes(4),
        "v" / UVar(10),
        "body" / Bytes(number(this.digits) - size_(this.v)),
    ),
    "counted in digits": (
        "digits" / Until(b"\n", max=8),
        "v" / UVar(10),
        "body" / Bytes(number(this.digits) - size_(this.v)),
    ),
    "counted but for its first byte": (
        "v" / UVar(10),
        "more" / Rebuild(Int8ub, size_(this.v) - 1),
        Check(this.more == size_(this.v) - 1),
        "body" / Prefixed(Int8ub, GreedyBytes),
    ),
}


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_error_repeats_a_varint_and_what_counts_it_is_right(layout, value):
    wire = made(*LAYOUTS[layout], checksum=crc32(this.sum, over="before") if layout == "summed up" else [])
    for body in (b"", b"x" * 90):
        request = wire.build({"kind": 0, "id": 7, "v": value, "body": body})
        for text in ("", "why not", "w" * 120):
            answer = said(wire, request, text)
            assert (answer.id, answer.v, answer.body) == (7, value, text.encode())


def test_where_the_request_has_none_it_is_zero():
    wire = made(
        "more" / Int8ub,
        "v" / If(this.more == 1, UVar(5)),
        "w" / UVar(5),
        "body" / Prefixed(Int8ub, GreedyBytes),
        values={"more": 0, "w": V, "body": ErrorText()},
    )
    for more, v, w in [(0, None, 5), (1, 300, 5), (1, 0, 5)]:
        request = wire.build({"kind": 0, "id": 7, "more": more, "v": v, "w": w, "body": b""})
        assert said(wire, request).w == (v or 0)


@pytest.mark.parametrize(("first", "value"), [("v", 300), ("body", 0)])
def test_what_had_not_come_is_zero(first, value):
    fields = {"v": "v" / UVar(10), "body": "body" / Bytes(this.size)}
    second = ({*fields} - {first}).pop()
    wire = made("size" / Rebuild(Int16ub, len_(this.body)), fields[first], fields[second])
    request = wire.build({"kind": 0, "id": 7, "v": 300, "body": b"x" * 200})
    for come in (7, 8, 50):
        assert native.frame(wire.address, request[:come], 100).result == -3
        assert wire.parse(half_read(wire, request[:come], limit=100))[0].v == value


@pytest.mark.parametrize("kept", [b"", b"\xff", b"\xff" * 7, b"\xff" * 8, b"\xff" * 9, b"\0" * 300])
def test_whatever_was_kept_a_varint_is_one(kept):
    wire = made(STATED, "v" / UVar(10), BODY)
    reply = native.error(wire.address, Status.TIMEOUT, 7, 0, b"why not", kept)
    answer, size = wire.parse(reply)
    assert (size, answer.body) == (len(reply), b"why not")
    assert answer.v == (int.from_bytes(kept[:8], "big") if len(kept) >= 8 else 0)


@pytest.mark.parametrize("value", NUMBERS)
def test_answers_to_heartbeats_and_signals_repeat_one(value):
    wire = made(STATED, "v" / UVar(10), BODY, ack={"v": V, "body": b"yes"}, drain={"v": V, "body": b"go"})
    voice = DeclaredVoice(Protocol("x", wire))
    beat = wire.build({"kind": 2, "id": 7, "v": value, "body": b"x"})
    ack = native.heartbeat_ack(wire.address, beat, "client")
    assert ack == voice.ack(beat)
    assert wire.parse(ack)[0].v == value
    request = wire.build({"kind": 0, "id": 7, "v": value, "body": b"x"})
    context = native.frame(wire.address, request).context
    drain = native.drain(wire.address, context, native.keep(wire.address, request))
    assert drain == voice.drain(request)
    assert wire.parse(drain)[0].v == value


def test_several_stand_beside_texts_and_integers():
    wire = made(
        "total" / Rebuild(UVar(3), size_(this.v) + size_(this.w) + len_(this.name) + len_(this.body) + 2),
        "v" / UVar(10),
        "n" / Int16ub,
        "w" / UVar(5),
        "name" / Prefixed(Int8ub, GreedyBytes),
        "size" / Rebuild(Int16ub, len_(this.body)),
        "body" / Bytes(this.size),
        Check(this.total == size_(this.v) + size_(this.w) + len_(this.name) + this.size + 2),
        values={
            "v": V,
            "n": FromRequest(this.n),
            "w": FromRequest(this.w),
            "name": FromRequest(this.name, max=40),
            "body": ErrorText(),
        },
    )
    for v in NUMBERS:
        for w in (0, 128, (1 << 35) - 1):
            request = wire.build({"kind": 0, "id": 7, "v": v, "n": 9, "w": w, "name": b"add", "body": b""})
            answer = said(wire, request)
            assert (answer.v, answer.n, answer.w, answer.name, answer.body) == (v, 9, w, b"add", b"why not")


@pytest.mark.parametrize("value", NUMBERS)
def test_the_steps_of_a_greeting_repeat_the_peers(value):
    wire = WireFormat(
        Struct("kind" / Int8ub, "v" / UVar(10)),
        mode="ordered",
        response=this.kind == 1,
        replies=Replies(error=lambda *_: {"kind": 1, "v": 0}),
        greeting=Greeting(
            when=this.kind >= 2,
            steps=[
                ("client", lambda variant: {"kind": 2, "v": 5}),
                ("server", lambda variant: {"kind": 3, "v": FromPeer(this.v)}),
            ],
        ),
    )
    heard = wire.build({"kind": 2, "v": value})
    assert native.greeting_step(wire.address, 1, said=heard) == wire.build({"kind": 3, "v": value})
    assert native.greeting_step(wire.address, 1) == wire.build({"kind": 3, "v": 0})


@pytest.mark.parametrize(
    ("fields", "values", "reason"),
    [
        (
            ("v" / UVar(3), "w" / UVar(2)),
            {"v": 0, "w": V},
            "w takes a UVar(3) from the request, and is a UVar(2)",
        ),
        (("v" / UVar(3), "w" / Int32ub), {"v": 0, "w": V}, "w takes a UVar(3) from the request, and is none"),
        (
            ("v" / UVar(3), "w" / Prefixed(Int8ub, GreedyBytes)),
            {"v": 0, "w": [b"<", V]},
            "w takes a UVar(3) from the request, and is none",
        ),
        (("v" / UVar(3), "w" / Int32ub), {"v": FromRequest(this.w), "w": 0}, "v takes an integer of 4 bytes"),
        (
            ("v" / UVar(3), "w" / Bytes(this.v)),
            {"v": V, "w": b""},
            "cannot be built",
        ),
    ],
)
def test_where_none_can_stand_is_refused(fields, values, reason):
    with pytest.raises(DeclarationError) as refused:
        made(*fields, values=values)
    assert reason in str(refused.value)


def test_a_greeting_and_an_error_repeat_each_their_own():
    wire = made(
        "v" / UVar(10),
        "name" / Prefixed(Int8ub, GreedyBytes),
        values={"v": 5, "name": FromRequest(this.name)},
        greeting=Greeting(
            when=this.kind >= 5,
            steps=[
                ("client", lambda variant: {"kind": 5, "id": 0, "v": 5, "name": b""}),
                ("server", lambda variant: {"kind": 6, "id": 0, "v": FromPeer(this.v), "name": b""}),
            ],
        ),
    )
    heard = wire.build({"kind": 5, "id": 0, "v": 300, "name": b""})
    assert wire.parse(native.greeting_step(wire.address, 1, said=heard))[0].v == 300
    assert said(wire, wire.build({"kind": 0, "id": 7, "v": 1, "name": b"add"})).name == b"add"


KEEP_INT, KEEP = OPS["KEEP_INT"], OPS["KEEP"]


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        (struct.pack("=2I", 4, 8), struct.pack("=2I", 5, 8), "a part that is kept is out of range"),
        (struct.pack("=2I", 4, 8), struct.pack("=2I", 4, 9), "a part that is kept is out of range"),
        (struct.pack("=2I", 4, 8), struct.pack("=2I", 0, 8), "(KEEP_INT): the part is no integer"),
        (bytes([KEEP_INT]), bytes([KEEP]), "(KEEP): the part is an integer"),
    ],
)
def test_an_image_says_how_a_varint_is_kept(right, wrong, reason):
    image = made(*LAYOUTS["alone"]).image("x")
    if len(right) == 1:
        begin, count = struct.unpack_from("=2I", image, 140)  # of its instructions
        code = image[begin : begin + 8 * count]
        (at,) = {at for at in range(256) if code.count(struct.pack("=4Bi", KEEP_INT, at, 0, 0, 0)) == 1}
        right, wrong = (one + bytes([at]) + bytes(6) for one in (right, wrong))
    assert image.count(right) == 1
    native.declared(image)
    with pytest.raises(DeclarationError) as refused:
        native.declared(image.replace(right, wrong))
    assert reason in str(refused.value)
