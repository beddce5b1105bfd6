"""What a frame does not have: its numbers count as 0 and its sections are not there, whoever reads it."""

from __future__ import annotations

import pytest
from construct import Bytes, Const, If, Int8ub, Int16ub, Rebuild, Struct, len_, this
from world import World, table

from protokit import native
from protokit.wire import Replies, UVar, WireFormat, first, split, text

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
