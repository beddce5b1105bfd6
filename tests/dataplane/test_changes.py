"""Requests that a rule changes, in the core: what waits, what is sent again, what is refused."""

from __future__ import annotations

import pytest
from bolts import ask as bolt_ask
from protokit_dubbo.messages import OK, Answer, Call, decode, split
from protokit_sofarpc import bolt
from world import LIMITS, World

from protokit import plugins
from protokit.testing.tables import TableBuilder

SERVICE = "org.protokit.test.Echo"


def world_of(*changes, endpoints=2, limits=None, protocol="dubbo", pattern=SERVICE, **plan) -> World:
    builder = TableBuilder({**LIMITS, **(limits or {})}, seed=42)
    builder.cluster("c", "round-robin", 8, 1000)
    for uid in range(endpoints):
        builder.endpoint(uid, "127.0.0.1", 9000 + uid, 1)
    number = builder.plan("changed", **plan)
    builder.split(0, 1)
    for what, does, key, value, *of in changes:
        answer, how = does.startswith("answer-"), does.removeprefix("answer-")
        if of:
            builder.change(what, how, key, of=builder.origin(*of, value), answer=answer)
        else:
            builder.change(what, how, key, value, answer=answer)
    builder.routes("r")
    builder.rule(pattern, "*", "*", "*", number)
    wire = plugins.load([protocol]).protocols[protocol].wire
    builder.listener(0, "in", routes=0, plan=None, pinned=False, codecs=[wire.address])
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


# Answers.


def bolt_world(*changes, **plan) -> World:
    return world_of(*changes, protocol="bolt", pattern="a.B", **plan)


def bolt_got(world, handle):
    fields, size = bolt.wire.parse(bytes(world.got[handle]))
    del world.got[handle][:size]
    return fields, dict(bolt.wire.meaning.headers.items(fields))


def test_a_declared_request_is_changed_where_it_waits_is_tried_again_and_is_answered():
    changes = [ZONE, ("service", "set", "", "c.D"), ("header", "append", "via", "", "source")]
    world = bolt_world(*changes, attempts=2, retry_on=("reset",), idempotent=True)
    world.connect = "wait"
    client = world.client(source="10.0.0.7")
    world.feed(client, bolt_ask(7))
    world.opened(world.opening[0])
    wanted = {b"service": b"c.D:1.0", b"zone": b"a", b"via": b"10.0.0.7", b"sofa_head_method_name": b"m"}
    (up,) = [one for one in world.upstreams if world.got[one]]
    assert bolt_got(world, up)[1] == wanted
    world.connect = "open"
    world.batch(("error", up))
    (up,) = [one for one in world.upstreams if world.got[one]]
    sent, headers = bolt_got(world, up)
    assert headers == wanted
    head = {key: sent[key] for key in ("proto", "ver2", "id", "codec")}
    empty = {"class_name": b"", "headers": b"", "result": b"N"}
    world.feed(up, bolt.wire.build({**head, **empty, "type": 0, "cmdcode": 2, "status": 0}))
    assert bolt_got(world, client)[0]["id"] == 7
    assert world.stat("requests_active") == world.stat("filters_waiting") == 0


def test_a_declared_request_that_cannot_be_changed_is_told_which_rule_says_it():
    """A value that its length has no room for; others pass."""
    world = bolt_world(("header", "append", "via", "x" * 3000))
    client = world.client()
    headers = [(b"service", b"a.B"), (b"via", b"y" * 30000)]
    encoding = bolt.wire.meaning.headers.encoding
    for number, (via, fits) in enumerate([(b"y", True), (b"y" * 1000, True), (b"y" * 2000, False)]):
        headers[1] = (b"via", via)
        world.feed(client, bolt_ask(number, headers=encoding.build(headers)))
        got = [one for one in world.upstreams if world.got[one]]
        assert bool(got) == fits
        if fits:
            assert bolt_got(world, got[0])[1][b"via"] == via + b"," + b"x" * 3000
    fields, _ = bolt_got(world, client)
    assert (fields["id"], b"cannot be changed as rule 'changed' says" in fields["result"]) == (2, True)
    assert world.stat("requests_active") == 2


def answered(world, client, number=7, *, back, **attachments):
    """What a client gets of a call that is answered with these attachments."""
    world.feed(client, call(number, **attachments))
    up = next(up for up in world.upstreams if world.got[up])
    (sent,) = got(world, up)
    world.feed(up, back(sent.id))
    (answer,) = got(world, client)
    assert answer.id == number
    assert world.stat("requests_active") == world.stat("filters_bytes") == 0
    return answer


def server_says(*args, **more):
    return lambda number: Answer(number, *args, **more).encode()


SAID = server_says(OK, "x", attachments={"secret": "s", "kept": "k", "via": "a"})
CHANGES = (
    ("header", "answer-set", "zone", "a"),
    ("header", "answer-set", "app", "app", "header"),
    ("header", "answer-set", "none", "absent", "header"),
    ("header", "answer-append", "via", "", "source"),
    ("header", "answer-append", "first", "one"),
    ("header", "answer-remove", "secret", ""),
)


@pytest.mark.parametrize("waits", [False, True])
def test_an_answers_headers_are_changed_and_the_rest_stays(waits):
    world = world_of(ZONE, *CHANGES, endpoints=1)
    if waits:
        world.connect = "wait"
        client = world.client(source="10.0.0.7")
        world.feed(client, call(6))
        world.opened(world.opening[0])
        got(world, world.only_upstream())
        world.connect = "open"
    else:
        client = world.client(source="10.0.0.7")
    world.feed(client, call(7, app="shop"))
    (sent,) = got(world, world.only_upstream())
    assert (sent.attachments["zone"], sent.attachments.get("via")) == ("a", None)
    world.feed(world.only_upstream(), SAID(sent.id))
    (answer,) = got(world, client)
    assert (answer.id, answer.status, answer.value) == (7, OK, "x")
    assert answer.attachments == {
        "kept": "k",
        "zone": "a",
        "app": "shop",
        "via": "a,10.0.0.7",
        "first": "one",
    }
    assert world.stat("requests_active") == int(waits)


def test_the_request_is_kept_only_for_values_that_come_of_it():
    for changes, kept in ((CHANGES[:1], False), (CHANGES, True)):
        world = world_of(*changes, endpoints=1)
        client = world.client(source="10.0.0.7")
        answered(world, client, back=SAID)
        before = world.stat("buffer_bytes")
        world.feed(client, call(8, argument="y" * 3000))
        assert (world.stat("buffer_bytes") - before > 3000) == kept


@pytest.mark.parametrize(
    ("back", "changes"),
    [
        (server_says(OK, "x"), CHANGES),  # nobody may add attachments where there are none
        (server_says(70, "no such provider"), CHANGES),
        (server_says(OK, None, exception="thrown"), CHANGES[:1]),
    ],
)
def test_an_answer_without_a_place_for_it_goes_on_as_it_is_and_is_counted(back, changes):
    world = world_of(*changes, endpoints=1)
    answer = answered(world, world.client(), back=back)
    want = decode(split(back(7))[0][0])
    assert (answer.status, answer.value, answer.exception) == (want.status, want.value, want.exception)
    assert answer.attachments is None
    assert world.stat("answers_not_changed") == 1


def test_nothing_is_counted_where_there_was_nothing_to_take_out():
    world = world_of(("header", "answer-remove", "secret", ""), endpoints=1)
    assert answered(world, world.client(), back=server_says(OK, "x")).value == "x"
    assert world.stat("answers_not_changed") == 0


def test_what_cannot_be_taken_out_is_not_passed_on():
    """Its map is one that others may refer to."""
    secret = server_says(OK, "x", attachments={"secret": {"a": 1}, "kept": "k"})
    world = world_of(("header", "answer-remove", "secret", ""), endpoints=1)
    client = world.client()
    answer = answered(world, client, back=secret)
    assert answer.status != OK
    assert answer.value == (
        "protokit: the answer cannot be changed as rule 'changed' says: it has no place for that"
    )
    assert answered(world, client, 8, back=SAID).attachments == {"kept": "k", "via": "a"}


def test_a_failed_try_is_not_changed_and_the_next_ones_answer_is():
    world = world_of(CHANGES[0], attempts=2, retry_on=("overloaded",), idempotent=True)
    client = world.client()
    world.feed(client, call(7))
    (first,) = world.upstreams
    (sent,) = got(world, first)
    world.feed(first, server_says(100, "busy")(sent.id))
    world.wait(500)
    (second,) = [up for up in world.upstreams if up != first]
    (sent,) = got(world, second)
    world.feed(second, SAID(sent.id))
    assert [one.attachments["zone"] for one in got(world, client)] == ["a"]
    assert world.stat("answers_not_changed") == 0


def test_a_client_that_has_left_gets_nothing_and_leaves_nothing():
    world = world_of(*CHANGES, endpoints=1)
    client = world.client()
    world.feed(client, call(7, app="shop"))
    (sent,) = got(world, world.only_upstream())
    world.batch(("error", client))
    world.feed(world.only_upstream(), SAID(sent.id))
    assert world.stat("requests_active") == 0
    assert answered(world, world.client(), 8, back=SAID).attachments["zone"] == "a"


def test_without_room_for_the_request_that_it_needs_it_is_refused():
    world = world_of(*CHANGES, endpoints=1, limits={"buffer": 1 << 18, "frame": 1 << 20})
    client = world.client()
    world.feed(client, call(7, argument="x" * (1 << 18)))
    (answer,) = got(world, client)
    assert "buffers of this worker are at the limit of" in answer.value
    assert answered(world, client, 8, back=SAID).attachments["zone"] == "a"


def test_without_room_for_the_changed_answer_its_caller_is_told():
    world = world_of(*CHANGES[:2], endpoints=1, limits={"buffer": 1 << 18, "frame": 1 << 20})
    client = world.client()
    for number in range(1, 6):  # four are kept
        world.feed(client, call(number, argument="y" * 40_000))
        up = next(up for up in world.upstreams if world.got[up])
        (sent,) = got(world, up)
    world.feed(up, server_says(OK, "x" * 130_000, attachments={})(sent.id))
    (answer,) = got(world, client)
    assert "buffers of this worker are at the limit of" in answer.value
    assert world.stat("requests_active") == 4


def test_an_answer_in_parts_is_refused(toys):
    for kind in ("wide", "named", "ordered"):
        toy = toys[kind]
        builder = TableBuilder(LIMITS, seed=42)
        builder.cluster("c", "round-robin", 8, 1000)
        builder.endpoint(0, "127.0.0.1", 9000, 1)
        number = builder.plan("changed")
        builder.split(0, 1)
        builder.change("header", "set", "zone", "a", answer=True)
        builder.listener(0, "in", routes=None, plan=number, pinned=False, codecs=[toy.address])
        world = World(builder.finish())
        client = world.client()
        world.feed(client, toy.request(1))
        ((_, _, number, _),) = world.take(toy, world.only_upstream())
        world.feed(world.only_upstream(), toy.frame(toy.RESPONSE, number, b"part", toy.MORE))
        ((_, status, _, told),) = world.take(toy, client)
        assert (status, told) == (
            8,
            b"protokit: the answer cannot be changed as rule 'changed' says: it comes in parts",
        )
        for up in [*world.upstreams]:
            world.feed(up, toy.frame(toy.RESPONSE, number, b"end"))
        assert world.take(toy, client) == []
        assert world.stat("requests_active") == 0


@pytest.mark.parametrize("answer", [False, True])
def test_a_codec_that_writes_nothing_has_not_changed_it(toys, answer):
    """What the rule takes out would get through, and what was made for it would be nobody's."""
    toy = toys["mistaken"]
    builder = TableBuilder(LIMITS, seed=42)
    builder.cluster("c", "round-robin", 8, 1000)
    builder.endpoint(0, "127.0.0.1", 9000, 1)
    number = builder.plan("changed")
    builder.split(0, 1)
    builder.change("header", "set", "zone", "a", answer=answer)
    builder.listener(0, "in", routes=None, plan=number, pinned=False, codecs=[toy.address])
    world = World(builder.finish())
    client = world.client()
    held = []
    for _ in range(3):
        world.feed(client, toy.request(0))
        if answer:
            ((_, _, number, _),) = world.take(toy, world.only_upstream())
            world.feed(world.only_upstream(), toy.frame(toy.RESPONSE, number, b"x"))
        ((_, status, _, told),) = world.take(toy, client)
        assert (status, b"cannot be changed as rule 'changed' says" in told) == (
            (0, False) if answer else (8, True)
        )
        held.append(world.stat("buffer_bytes"))
    assert held[0] == held[1] == held[2]
    assert world.stat("requests_active") == 0
    assert world.stat("answers_not_changed") == 3 * answer
