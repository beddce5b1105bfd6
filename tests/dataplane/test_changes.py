"""Requests that a rule changes, in the core: what waits, what is sent again, what is refused."""

from __future__ import annotations

import pytest
from protokit_dubbo.messages import OK, Answer, Call, decode, split
from world import LIMITS, World

from protokit import plugins
from protokit.testing.tables import TableBuilder

SERVICE = "org.protokit.test.Echo"


def world_of(*changes, endpoints=2, limits=None, **plan) -> World:
    builder = TableBuilder({**LIMITS, **(limits or {})}, seed=42)
    builder.cluster("c", "round-robin", 8, 1000)
    for uid in range(endpoints):
        builder.endpoint(uid, "127.0.0.1", 9000 + uid, 1)
    number = builder.plan("changed", **plan)
    builder.split(0, 1)
    for what, how, key, value, *of in changes:
        if of:
            builder.change(what, how, key, of=builder.origin(*of, value))
        else:
            builder.change(what, how, key, value)
    builder.routes("r")
    builder.rule(SERVICE, "*", "*", "*", number)
    dubbo = plugins.load(["dubbo"]).protocols["dubbo"]
    builder.listener(0, "in", routes=0, plan=None, pinned=False, codecs=[dubbo.wire.address])
    return World(builder.finish())


def call(number=1, *, argument="x", twoway=True, **attachments) -> bytes:
    return Call(
        SERVICE,
        "m",
        "Ljava/lang/String;",
        [argument],
        attachments=attachments,
        request_id=number,
        twoway=twoway,
    ).encode()


def got(world, handle) -> list:
    frames, rest = split(bytes(world.got[handle]))
    world.got[handle] = bytearray(rest)
    return [decode(frame) for frame in frames]


ZONE = ("header", "set", "zone", "a")


def test_what_waits_for_its_connection_is_the_changed_request():
    world = world_of(ZONE, endpoints=1)
    world.connect = "wait"
    client = world.client()
    world.feed(client, call(7))
    world.opened(world.opening[0])
    (sent,) = got(world, world.only_upstream())
    assert sent.attachments["zone"] == "a"
    world.feed(world.only_upstream(), Answer(sent.id, OK, "x").encode())
    (answer,) = got(world, client)
    assert (answer.id, answer.value) == (7, "x")
    assert world.stat("requests_active") == 0


def test_the_next_try_is_of_the_changed_request():
    world = world_of(ZONE, attempts=2, retry_on=("reset",), idempotent=True)
    client = world.client()
    world.feed(client, call())
    (first,) = world.upstreams
    assert [one.attachments["zone"] for one in got(world, first)] == ["a"]
    world.batch(("error", first))
    (second,) = world.upstreams
    assert [one.attachments["zone"] for one in got(world, second)] == ["a"]


def test_a_oneway_request_is_changed_and_over():
    world = world_of(ZONE, endpoints=1)
    client = world.client()
    for _ in range(2):  # the first one opens the connection
        world.feed(client, call(twoway=False))
        (sent,) = got(world, world.only_upstream())
        assert (sent.attachments["zone"], sent.twoway) == ("a", False)
    assert world.stat("requests_active") == 0


def test_without_room_for_the_changed_request_it_is_refused():
    world = world_of(ZONE, endpoints=1, limits={"buffer": 1 << 18, "frame": 1 << 20})
    client = world.client()
    world.feed(client, call(7, argument="x" * (1 << 18)))
    (answer,) = got(world, client)
    assert answer.id == 7
    assert f"buffers of this worker are at the limit of {1 << 18}" in answer.value
    world.feed(client, call(8))
    (sent,) = got(world, world.only_upstream())
    assert sent.attachments["zone"] == "a"


@pytest.mark.parametrize(("size", "fits"), [(4096 - 2, True), (4096 - 1, False)])
def test_values_that_are_put_together_are_bounded(size, fits):
    world = world_of(("header", "append", "long", "x"), endpoints=1)
    client = world.client()
    world.feed(client, call(7, long="y" * size))
    if fits:
        (sent,) = got(world, world.only_upstream())
        assert sent.attachments["long"] == "y" * size + ",x"
        return
    (answer,) = got(world, client)
    assert answer.value == "protokit: the request cannot be changed as rule 'changed' says"


def test_addresses_stand_in_the_same_room_as_what_is_put_together():
    changes = [("header", "set", f"s{i}", "", "source") for i in range(30)]
    world = world_of(*changes, ("header", "append", "long", "x"), endpoints=1)
    address = "2001:db8:1111:2222:3333:4444:5555:6666"
    client = world.client(source=address)
    world.feed(client, call(7, long="y" * 3000))
    (answer,) = got(world, client)
    assert "cannot be changed" in answer.value
    client = world.client(source=address)
    world.feed(client, call(8, long="y" * 2000))
    (sent,) = got(world, world.only_upstream())
    assert sent.attachments["s29"] == address
    assert sent.attachments["long"] == "y" * 2000 + ",x"


def test_a_source_that_is_not_known_is_not_written():
    world = world_of(("header", "set", "from", "", "source"), endpoints=1)
    world.feed(world.client(), call())
    (sent,) = got(world, world.only_upstream())
    assert "from" not in sent.attachments
