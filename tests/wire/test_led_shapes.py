"""Shapes in which a section of any size stands in front of fields: they say what the program says."""

import itertools

import pytest
from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    Check,
    Const,
    If,
    Int8ub,
    Int16ub,
    Int32ub,
    Rebuild,
    Struct,
    len_,
    this,
)
from programs import HEADER

from protokit import Protocol, Status, WireFormat, native
from protokit.errors import DeclarationError
from protokit.wire import ErrorText, Replies, first, table
from protokit.wire.shapes import shapes

REQUESTS = {native.KIND_REQUEST, native.KIND_ONEWAY}
KINDS = {1: "request", 2: "oneway", 3: "response", 4: "heartbeat"}
REQUEST, ANSWER, ONEWAY, BEAT = 1, 2, 3, 4
# What an answer and a request have besides; a one-way has no body.
MORE = (this.kind == ANSWER) + (this.kind == REQUEST) * 2
WIRE = WireFormat(
    Struct(
        "size" / Rebuild(Int32ub, len_(this.name) + len_(this.body) + MORE + 8),
        Const(b"L"),
        "kind" / Int8ub,
        Check((this.kind >= REQUEST) & (this.kind <= BEAT)),
        "length" / Rebuild(Int8ub, len_(this.name) + 1),
        "name" / Bytes(this.length - 1),
        "id" / Int32ub,
        "state" / If(this.kind == ANSWER, Int8ub),
        "wait" / If(this.kind == REQUEST, Int16ub),
        "body" / If(this.kind != ONEWAY, Bytes(this.size - this.length - MORE - 7)),
        "end" / Int8ub,
    ),
    id=this.id,
    response=this.kind == ANSWER,
    oneway=this.kind == ONEWAY,
    heartbeat=this.kind == BEAT,
    status=table(this.state, {0: Status.OK, 1: Status.OK}, Status.INTERNAL),
    app_error=this.state == 1,
    timeout=this.wait,
    service=this.name,
    method=first(this.body, "nobody"),
    replies=Replies(
        error=lambda status, variant: {"kind": ANSWER, "state": 2, "name": b"", "body": ErrorText(), "end": 0}
    ),
)
PLAIN = native.declared(WIRE.image("plain", shapes=False))
NAMES = (b"", b"n", b"name" * 3, bytes(254))


def frames():
    """One of each kind, with names and bodies of all sizes that matter."""
    for kind, name, body in itertools.product((REQUEST, ANSWER, ONEWAY, BEAT), NAMES, (b"", b"body" * 9)):
        for state in (0, 1, 2, 255) if kind == ANSWER else (0,):
            values = {"kind": kind, "name": name, "id": 7 << 24 | 9, "end": 3, "state": state, "wait": 0x1234}
            there = {ANSWER: "state", REQUEST: "wait"}.get(kind)
            values = {key: one for key, one in values.items() if key not in {"state", "wait"} or key == there}
            yield WIRE.build(values | ({} if kind == ONEWAY else {"body": body}))


def spoiled(frame):
    """Each byte in front of and behind the name as something else; and whole, cut anywhere, or followed."""
    yield from (frame[:size] for size in range(1, len(frame)))
    yield from (frame, frame + b"L", frame + frame)
    name = frame[6] - 1
    for at in (*range(7), *range(7 + name, len(frame))):
        for byte in (0, 1, 2, 3, 4, 5, 127, 128, 255):
            yield frame[:at] + bytes([byte]) + frame[at + 1 :]


def test_there_are_shapes_of_all_kinds_but_failures():
    tree = shapes(WIRE.nodes, WIRE.meaning, [("name",), ("body",)], keeps=True, sided=False)
    assert tree.lead is not None
    assert tree.lead.at == 7
    assert {leaf[6] for leaf in tree.leaves} == {1, 2, 3, 4}


@pytest.mark.parametrize("limit", [8, 40, 1 << 16])
def test_they_say_what_the_program_says(limit):
    asked = 0
    for data in {one for frame in frames() for one in spoiled(frame)}:
        quick = native.frame(WIRE.address, data, limit)
        assert quick == native.frame(PLAIN, data, limit), data.hex()
        if quick.result == 0 and quick.kind in REQUESTS:
            whole = data[: quick.size]
            wanted = native.request(PLAIN, whole)
            found = native.request(WIRE.address, whole)
            assert (found.service, found.method) == (wanted.service, wanted.method)
            asked += 1
    assert (asked > 0) == (limit > 8)


def test_the_whole_ones_mean_what_they_were_built_of():
    for frame in frames():
        message, said = native.frame(WIRE.address, frame, 1 << 16), WIRE.message(frame)
        assert (message.result, message.size, message.id) == (0, len(frame), 7 << 24 | 9)
        assert (KINDS[message.kind], message.status) == (said.kind, said.status)


BITS = WireFormat(
    Struct(
        "size" / Rebuild(Int32ub, len_(this.name) + len_(this.body) + 10),
        Const(b"BITS"),
        "length" / Rebuild(Int8ub, len_(this.name)),
        "name" / Bytes(this.length),
        "flags" / BitStruct("spare" / BitsInteger(4), "kind" / BitsInteger(3), "last" / BitsInteger(1)),
        "id" / Int32ub,
        "body" / Bytes(this.size - this.length - 10),
    ),
    id=this.id,
    response=this.flags.kind == ANSWER,
    oneway=this.flags.kind == ONEWAY,
    service=this.name,
    method="any",
    replies=Replies(
        error=lambda status, variant: {
            "flags": {"spare": 0, "kind": ANSWER, "last": 0},
            "name": b"",
            "body": ErrorText(),
        }
    ),
)


def test_bits_behind_the_section_are_no_more_than_theirs():
    plain = native.declared(BITS.image("plain", shapes=False))
    kinds = {ANSWER: native.KIND_RESPONSE, ONEWAY: native.KIND_ONEWAY}
    for name, flags in itertools.product(NAMES, range(256)):
        there = {"spare": flags >> 4, "kind": flags >> 1 & 7, "last": flags & 1}
        data = BITS.build({"name": name, "flags": there, "id": 5, "body": b"body"})
        assert data[9 + len(name)] == flags
        quick = native.frame(BITS.address, data, 1 << 16)
        assert quick == native.frame(plain, data, 1 << 16)
        assert (quick.result, quick.kind) == (0, kinds.get(there["kind"], native.KIND_REQUEST))


def number(image, at, size, value):
    """The image with another number in its head."""
    changed = bytearray(image)
    changed[at : at + size] = value.to_bytes(size, "little", signed=value < 0)
    return bytes(changed)


LEAD = HEADER["lead"]  # offset, width, form; what is added; where it begins


@pytest.mark.parametrize(
    ("at", "size", "value", "why"),
    [
        (LEAD, 2, 7, "the leading section's size stands behind it"),
        (LEAD + 3, 1, 16 | 1, "the leading section's size stands behind it"),
        (LEAD + 8, 4, 4, "the leading section's size stands behind it"),
        (LEAD + 8, 4, 1 << 20, "a shape is wrong"),
        (LEAD + 2, 2, 0, "a test leads nowhere"),
    ],
)
def test_a_lead_that_stands_elsewhere_is_refused(at, size, value, why):
    with pytest.raises(DeclarationError, match=why):
        native.declared(number(WIRE.image("wrong"), at, size, value))


def test_the_format_is_a_protocol():
    assert Protocol("led", WIRE).name == "led"
