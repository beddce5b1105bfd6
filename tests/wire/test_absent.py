"""What a frame does not have: its numbers count as 0 and its sections are not there, whoever reads it."""

from __future__ import annotations

import pytest
from construct import (
    Bytes,
    Check,
    Const,
    Error,
    If,
    IfThenElse,
    Int8ub,
    Int16ub,
    Rebuild,
    Struct,
    Switch,
    len_,
    this,
)
from world import World, table

from protokit import native
from protokit.errors import RemoteProtocolError
from protokit.wire import Replies, UVar, WireFormat, first, split, text
from protokit.wire.format import KINDS

LONG, SHORT = bytes.fromhex("4d4d03010007000a30313233343536373839aa"), bytes.fromhex("4d4d08010007aa")
TOPIC = [
    Const(b"MM"),
    "t" / Int8ub,
    "len" / UVar(4),
    "id" / Int16ub,
    "tlen" / If(this.t == 3, Rebuild(Int16ub, len_(this.topic))),
    "topic" / If(this.t == 3, Bytes(this.tlen)),
    "rest" / Bytes(1),
]


def topics(**meaning):
    return WireFormat(
        Struct(*TOPIC),
        id=this.id,
        response=this.t == 4,
        replies=Replies(error=lambda status, variant: {"t": 4, "len": 0, "rest": b"e"}),
        **meaning,
    )


@pytest.mark.parametrize("view", [this.topic, split(this.topic, "5", 2)[0], first(this.topic, this.rest)])
@pytest.mark.parametrize("name", ["service", "method", "version", "group"])
def test_a_text_of_a_section_that_is_absent_is_absent(name, view):
    wire = topics(**{name: view})
    for frame in (LONG, SHORT, LONG, SHORT):
        assert getattr(native.request(wire.address, frame), name) == getattr(wire.message(frame), name)


@pytest.mark.parametrize(
    "view", [this.topic, text(this.topic), split(this.topic, "5", 2)[0], first(this.topic)]
)
def test_a_request_without_the_section_that_routes_it_is_routed(view):
    world = World(table([topics(service=view).address], rules=[("01234*", "*"), ("", "*")]))
    client = world.client()
    for frame in (LONG, SHORT, LONG, SHORT):
        world.feed(client, frame)
    assert len(world.got[world.only_upstream()]) == 2 * len(LONG + SHORT)


INNER = Struct("n" / Int8ub, "deep" / If(this.n > 3, Struct("m" / Int8ub)))
# What reads a field that may be absent, and what stands there where it is.
READERS = {
    "a length": (["x" / Bytes(this.a)], b""),
    "a longer length": (["x" / Bytes(this.a + 1)], b"1"),
    "a length of several": (["x" / Bytes((this.a & 1) + (this.inner.n << 1))], b""),
    "a check": ([Check(this.a != 3)], None),
    "a comparison with 0": (["x" / If(this.inner.n == 0, Bytes(3))], b"123"),
    "a negation": ([Check(~(this.a > 2))], None),
    "a condition": (["x" / If(this.a == 0, Int8ub)], 1),
    "a choice": (["x" / Switch(this.a, {0: Int8ub, 1: Int16ub}, default=Error)], 1),
    "two of them": ([Check(this.a <= this.inner.n)], None),
    "one inside": (["x" / IfThenElse(this.inner.deep.m == 0, Bytes(2), Bytes(this.inner.deep.m))], b"12"),
    "one of a struct that is absent": (["x" / Bytes(this.inner.deep.m * 2)], b""),
    "all of it": (["x" / If((this.a | this.inner.n) ^ this.inner.deep.m, Int8ub)], None),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_number_that_is_absent_counts_as_0(reader):
    fields, nothing = READERS[reader]
    values = {"t": 9} | {field.name: nothing for field in fields if field.name}
    wire = WireFormat(
        Struct(
            "t" / Int8ub,
            "a" / If(this.t == 1, Int8ub),
            "inner" / If((this.t >= 2) & (this.t < 9), INNER),
            *fields,
            "id" / Int8ub,
        ),
        id=this.id,
        response=this.t - this.a == 9,
        timeout=this.inner.n + this.inner.deep.m,
        replies=Replies(error=lambda status, variant: values),
    )
    for front in (
        b"\0",
        b"\1\0",
        b"\1\1",
        b"\1\5",
        b"\1\x09",
        b"\2\0",
        b"\2\5\0",
        b"\2\5\2",
        b"\3\4\7",
        b"\x09",
        b"\x0a",
    ):
        for size in range(1, 40):
            data = (front + bytes(range(size)))[:size]
            seen = native.frame(wire.address, data)
            try:
                message = wire.message(data)
            except EOFError:
                assert seen.result == 1, data
            except RemoteProtocolError:
                assert seen.result != 0, data
            else:
                assert (seen.result, seen.size, seen.id) == (0, message.size, message.id), data
                assert (KINDS[seen.kind], seen.timeout_ms) == (message.kind, message.timeout_ms), data
                assert wire.build(wire.parse(data)[0]) == data[: message.size]
