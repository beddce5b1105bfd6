"""A request in whose structure no id is found cannot be told of an error: its connection is closed."""

from __future__ import annotations

import pytest
from construct import Bytes, Const, Int16ub, Rebuild, Struct, len_, this
from world import World, table

from protokit import Protocol, Status, WireFormat
from protokit.testing.invariants import Example, Invariants
from protokit.wire import Replies, byte_id, json, msgpack, protobuf, starts
from protokit.wire import table as status_of

# Where the id, an answer and the service stand; a request with an id and one without, and an error.
FORMATS = {
    "protobuf": (protobuf, (1, 2, 3), b"\x08\7\x1a\1a", b"\x1a\1a", b"\x12\0"),
    "msgpack": (msgpack, (1, 2, 3), b"\x82\1\7\3\xa1a", b"\x81\3\xa1a", b"\x82\1\0\2\0"),
    "json": (json, ("id", "ok", "to"), b'{"id":7,"to":"a"}', b'{"to":"a"}', b'{"id":0,"ok":0}'),
}


@pytest.fixture(params=FORMATS)
def nameless(request):
    """A protocol, and a request of it with an id and one without."""
    family, (number, answer, service), *bodies, error = FORMATS[request.param]
    found = family(this.body)
    wire = WireFormat(
        Struct(Const(b"N"), "size" / Rebuild(Int16ub, len_(this.body)), "body" / Bytes(this.size)),
        id=byte_id(found[number], max=9),
        response=starts(found[answer], ""),
        status=status_of(starts(found[answer], ""), {0: Status.OK}, Status.INTERNAL),
        service=found[service],
        replies=Replies(error=lambda status, variant: {"body": error}),
    )
    return Protocol("nameless", wire), *(wire.build({"body": body}) for body in bodies)


def test_its_connection_is_closed_and_the_fuzzer_takes_that_for_right(nameless):
    protocol, named, without = nameless
    world = World(table([protocol.wire.address]))
    client = world.client()
    world.feed(client, without)
    assert client in world.closed
    assert bytes(world.got[client]) == b""
    for data in (named, without):
        accepted, _ = Invariants(protocol).holds(Example(bytes(data)))
        assert accepted
