"""Ids that the engine only reads, since it cannot write its own: what passes, and the errors."""

from __future__ import annotations

import re

import pytest
from construct import Bytes, GreedyBytes, Int8ub, Int16ub, Prefixed, Rebuild, Struct, len_, this
from only_read import ONLY
from world import LIMITS, World, table

from protokit import PythonCodec, Status, WireFormat, native
from protokit.errors import DeclarationError, LocalProtocolError
from protokit.wire import ErrorText, FromRequest, Replies, byte_id, decimal, first, json, lines

MODES = ("pinned", "ordered", "pingpong")
PINNED = [pytest.param(one, name, id=name) for name, one in ONLY.items()]
SAYING = [pytest.param(one, name, id=name) for name, one in ONLY.items() if one.says]


class Made(dict):
    """Formats by name and mode, made where a test asks for one."""

    def __missing__(self, key):
        name, mode = key
        return self.setdefault(key, ONLY[name].wire(mode))


WIRES = Made()


@pytest.fixture
def wire(request):
    return WIRES[request.param, "pinned"]


def split(wire, data):
    """The frames, each as the reference reads it."""
    found = []
    while data:
        message = wire.message(bytes(data), "server")
        found.append((message.kind, message.status, message.id))
        data = data[message.size :]
    return found


def heard(world, wire, handle):
    found = split(wire, bytes(world.got[handle]))
    world.got[handle].clear()
    return found


@pytest.mark.parametrize("name", ONLY)
def test_it_is_refused_where_servers_get_ids_of_the_engines_own(name):
    with pytest.raises(DeclarationError, match=re.escape(ONLY[name].why)):
        ONLY[name].wire("multiplexed")
    for mode in MODES:
        assert not native.rewrites_ids(WIRES[name, mode].address)
        assert native.pinned(WIRES[name, mode].address) == (mode == "pinned")


@pytest.mark.parametrize("mode", MODES)
def test_an_integer_of_messagepack_is_the_same_in_every_width(mode):
    one = ONLY["MessagePack of a length with flags"]
    wire = WIRES["MessagePack of a length with flags", mode]
    world = World(table([wire.address]))
    client = world.client()
    for asked, answered in (
        (b"\x07", b"\xcf" + b"\0" * 7 + b"\x07"),
        (b"\xcd\0\x07", b"\x07"),
        (b"\xd0\x7f", b"\x7f"),
    ):
        world.feed(client, one.frame(wire, 1, asked))
        world.feed(world.only_upstream(), one.frame(wire, 2, answered, b"yes"))
        assert heard(world, wire, client) == [("response", Status.OK, answered)]
    assert world.stat("answers_unmatched") == 0
    world.feed(client, one.frame(wire, 1, b"\x07"))
    world.feed(world.only_upstream(), one.frame(wire, 2, b"\xcd\1\x07", b"no"))  # 263
    assert not any(status is Status.OK for _, status, _ in heard(world, wire, client))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ONLY)
def test_requests_and_answers_pass_as_they_are(name, mode):
    one, wire = ONLY[name], WIRES[name, mode]
    world = World(table([wire.address]))
    client = world.client()
    for request_id in (*one.ids, *one.ids):
        asked, answer = one.frame(wire, 1, request_id), one.frame(wire, 2, request_id, b"yes")
        assert wire.message(asked, "client").id == request_id
        world.feed(client, asked)
        up = world.only_upstream()
        assert bytes(world.got[up]) == asked
        world.got[up].clear()
        world.feed(up, answer)
        assert bytes(world.got[client]) == answer
        world.got[client].clear()
    assert world.stat("requests_active") == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [name for name, one in ONLY.items() if one.says])
def test_errors_and_the_answers_to_heartbeats_have_the_id_of_what_they_answer(name, mode):
    one, wire = ONLY[name], WIRES[name, mode]
    failing = World(table([wire.address]), connect="fail")
    client = failing.client()
    for request_id in one.ids:
        failing.feed(client, one.frame(wire, 1, request_id))
        assert heard(failing, wire, client) == [("response", Status.UNAVAILABLE, request_id)]
        failing.feed(client, one.frame(wire, 4, request_id))
        assert heard(failing, wire, client) == [("ack", Status.OK, request_id)]


@pytest.mark.parametrize(("one", "wire"), SAYING, indirect=["wire"])
def test_the_server_that_dies_leaves_each_request_its_error(one, wire):
    world = World(table([wire.address]))
    client = world.client()
    world.feed(client, b"".join(one.frame(wire, 1, request_id) for request_id in one.ids))
    world.batch(("error", world.only_upstream()))
    assert heard(world, wire, client) == [
        ("response", Status.UNAVAILABLE, request_id) for request_id in one.ids
    ]
    assert client in world.closed


@pytest.mark.parametrize(("one", "wire"), PINNED, indirect=["wire"])
def test_answers_out_of_order_go_to_their_requests(one, wire):
    world = World(table([wire.address]))
    clients = [world.client(), world.client()]
    for client in clients:
        world.feed(client, b"".join(one.frame(wire, 1, request_id) for request_id in one.ids))
    assert len(world.upstreams) == 2
    for up in world.upstreams:
        for request_id in reversed(one.ids):
            world.feed(up, one.frame(wire, 2, request_id, b"yes"))
    for client in clients:
        assert [found[2] for found in heard(world, wire, client)] == [*reversed(one.ids)]
    assert world.stat("answers_unmatched") == 0


@pytest.mark.parametrize(("one", "wire"), SAYING, indirect=["wire"])
def test_a_late_answer_is_nobody_elses(one, wire):
    world = World(table([wire.address]))
    client = world.client()
    slow, other, _ = one.ids
    world.feed(client, one.frame(wire, 1, slow))
    up = world.only_upstream()
    for _ in range(0, LIMITS["request_ms"] + 500, 500):
        world.wait(500)
        for kind, _, beat in heard(world, wire, up):  # the server lives
            if kind == "heartbeat":
                assert beat == one.ids[0]
                world.feed(up, one.frame(wire, 5, beat))
    assert heard(world, wire, client) == [("response", Status.TIMEOUT, slow)]
    world.feed(client, one.frame(wire, 1, other))
    world.feed(up, one.frame(wire, 2, slow, b"late"))
    assert bytes(world.got[client]) == b""
    assert world.stat("answers_unmatched") == 1
    world.feed(up, one.frame(wire, 2, other, b"yes"))
    assert bytes(world.got[client]) == one.frame(wire, 2, other, b"yes")
    world.got[client].clear()
    world.feed(client, one.frame(wire, 1, slow))  # its id is free again
    world.feed(up, one.frame(wire, 2, slow, b"in time"))
    assert bytes(world.got[client]) == one.frame(wire, 2, slow, b"in time")


@pytest.mark.parametrize(("one", "wire"), SAYING, indirect=["wire"])
def test_an_id_is_not_used_again_before_its_late_answer(one, wire):
    world = World(table([wire.address], plan={"timeout_ms": 100}))
    client = world.client()
    world.feed(client, one.frame(wire, 1, one.ids[0]))
    up = world.only_upstream()
    world.wait(200)
    world.feed(client, one.frame(wire, 1, one.ids[0]))
    world.feed(up, one.frame(wire, 2, one.ids[0], b"of which?"))
    expected = [("response", status, one.ids[0]) for status in (Status.TIMEOUT, Status.UNAVAILABLE)]
    assert heard(world, wire, client) == expected
    assert {client, up} <= set(world.closed)


@pytest.mark.parametrize(("one", "wire"), PINNED, indirect=["wire"])
def test_of_two_requests_with_one_id_each_gets_an_answer(one, wire):
    world = World(table([wire.address]))
    client = world.client()
    world.feed(client, 2 * one.frame(wire, 1, one.ids[0]))
    up = world.only_upstream()
    assert bytes(world.got[up]) == 2 * one.frame(wire, 1, one.ids[0])
    answers = [one.frame(wire, 2, one.ids[0], text) for text in (b"one", b"two")]
    for answer in answers:
        world.feed(up, answer)
    assert bytes(world.got[client]) == b"".join(answers)
    world.feed(up, answers[0])
    assert bytes(world.got[client]) == b"".join(answers)
    assert world.stat("answers_unmatched") == 1


# What stays refused.


def repeating(error, ack=None, request_id=None):
    """A format whose length of the id has flags, and its replies."""
    about = byte_id(this.id, max=20) if request_id is None else request_id
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "count" / Rebuild(Int8ub, len_(this.id)),
            "id" / Bytes(this.count & 63),
            "text" / Prefixed(Int16ub, GreedyBytes),
        ),
        id=about,
        response=(this.kind == 2) | (this.kind == 5),
        heartbeat=(this.kind == 4) | (this.kind == 5),
        mode="pinned",
        replies=Replies(
            error=lambda status, variant: {"kind": 2, "text": ErrorText(), **error},
            ack=None if ack is None else lambda variant: {"kind": 5, "text": b"", **ack},
        ),
    )


OWN = {"id": FromRequest(byte_id(this.id, max=20))}
WRONG = {
    "none": {},
    "another": {"id": b"0"},
    "cut": {"id": FromRequest(this.id, max=19)},
    "left out where it is long": {"id": FromRequest(this.id, max=19, whole=True)},
    "something else": {"id": FromRequest(this.text, max=20)},
    "something in front": {"id": [b"0", FromRequest(this.id, max=20)]},
    "something behind": {"id": [FromRequest(this.id, max=20), b"0"]},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_reply_that_has_not_its_requests_id_is_refused(name):
    expected = "its id has to be that of the request, all of it, and the engine cannot write it"
    if name == "none":
        expected = "cannot be built: id has no value"
    with pytest.raises(DeclarationError, match=f"the error reply of NO_SERVICE:? {expected}"):
        repeating(WRONG[name])
    with pytest.raises(DeclarationError, match=f"replies.ack:? {expected}"):
        repeating(OWN, WRONG[name])
    assert repeating(OWN, OWN).address


def test_an_id_is_bytes_of_the_frame():
    for wrong in (decimal(this.kind), first(lines(this.text, ":", ";")["id"], "none")):
        with pytest.raises(
            DeclarationError, match=r"byte_id: .* is no piece of the frame; an id is a section"
        ):
            repeating(OWN, request_id=byte_id(wrong, max=20))


def test_what_stands_in_a_structure_is_an_id_alone():
    inside = json(this.text)["id"]
    with pytest.raises(DeclarationError, match=r"byte_id: json\(.*\)\['id'\] is an id by itself alone"):
        repeating(OWN, request_id=byte_id(first(inside, this.id), max=20))
    mixed = (byte_id(inside, max=20), this.kind)
    with pytest.raises(DeclarationError, match=r"id: byte_id\(...\) stands alone: .* protocols of their own"):
        repeating(OWN, request_id=mixed)


def test_a_reply_whose_fields_go_by_the_id_is_refused():
    one = ONLY["a length that decides"]._replace(says=True)
    with pytest.raises(
        DeclarationError, match="the frame's parts depend on the length of its text, or of what"
    ):
        one.wire()


def test_nobody_writes_another_id_into_it():
    one, wire = ONLY["a length with flags"], WIRES["a length with flags", "pinned"]
    with pytest.raises(LocalProtocolError, match="the frame cannot have the id"):
        wire.ask.patch_id(one.frame(wire, 1, b"abcd"), b"efgh")


# In other tiers.


def test_a_codec_in_c_repeats_the_id_itself(toys):
    toy = toys["read"]
    assert native.pinned(toy.address)
    assert not native.rewrites_ids(toy.address)
    world = World(table([toy.address]), connect="fail")
    client = world.client()
    world.feed(client, toy.request(17) + toy.frame(toy.HEARTBEAT, 18, b"b"))
    assert [(frame[0], frame[2]) for frame in world.take(toy, client)] == [
        (toy.RESPONSE, 17),
        (toy.HEARTBEAT_ACK, 18),
    ]


def test_a_heartbeat_has_an_id_of_its_own(toys):
    toy = toys["read"]
    world = World(table([toy.address]))
    world.feed(world.client(), toy.request(1))
    up = world.only_upstream()
    world.got[up].clear()
    world.wait(LIMITS["heartbeat_ms"] + 500)
    assert bytes(world.got[up]).startswith(bytes([0x7E, toy.HEARTBEAT, 0, 0]))  # what the codec wrote: none


@pytest.mark.parametrize("request_id", [17, 1])
def test_what_is_under_another_id_is_not_said_and_its_client_is_closed(toys, request_id):
    toy = toys["mistaken"]
    world = World(table([toy.address]), connect="fail")
    client = world.client()
    world.feed(client, toy.request(request_id))
    assert bytes(world.got[client]) == b""
    assert client in world.closed
    assert world.stat("requests_active") == 0


def test_what_is_under_the_right_id_by_chance_is_said(toys):
    toy = toys["mistaken"]
    world = World(table([toy.address]), connect="fail")
    client = world.client()
    world.feed(client, toy.request(0))
    assert [(frame[1], frame[2]) for frame in world.take(toy, client)] == [(Status.UNAVAILABLE, 0)]


def test_the_answer_to_a_heartbeat_under_another_id_is_not_said(toys):
    toy = toys["mistaken"]
    world = World(table([toy.address]))
    client = world.client()
    world.feed(client, toy.frame(toy.HEARTBEAT, 17) + toy.frame(toy.HEARTBEAT, 0))
    assert [(frame[0], frame[2]) for frame in world.take(toy, client)] == [(toy.HEARTBEAT_ACK, 0)]


def test_a_codec_in_python_whose_ids_stay_is_pinned():
    class Own(PythonCodec):
        name, mode = "own", "pinned"
        frame = request = error = lambda *_: None

    address = Own().address
    assert native.pinned(address)
    assert not native.rewrites_ids(address)
