"""Ids that are byte strings, on the core with a virtual clock: whose they are, and what becomes of them."""

from __future__ import annotations

import pytest
from construct import Bytes, GreedyBytes, If, Int8ub, Int16ub, Prefixed, Struct, this
from named import protocols, values, with_id
from world import LIMITS, World, table

from protokit import Status, WireFormat, native
from protokit.wire import ErrorText, Replies, byte_id

ALL = protocols()
SHARED = [name for name in ALL if name != "own"]


class Speaker:
    """A format from plain values, as ``World`` and these tests use it."""

    def __init__(self, name: str) -> None:
        self.name, self.wire = name, ALL[name].wire
        self.address = self.wire.address
        self.nested = name == "branched"

    def frame(self, kind, request_id=None, body=b"", status=0) -> bytes:
        made = with_id(self.wire, self.name, values(kind, body, status), request_id)
        if self.nested:
            status = {"status": made.pop("status")} if kind in {2, 5} else {}
            made = {"kind": made.pop("kind"), "in": made | status}
        return self.wire.build(made)

    def split(self, data):
        found = []
        while data:
            one = self.wire.message(data)
            fields = one.fields["in"] if self.nested else one.fields
            found.append((one.kind, one.status, one.id, bytes(fields.body)))
            data = data[one.size :]
        return found, data

    def ids(self):
        """Two that are of different lengths where that can be."""
        named = self.wire.meaning.named
        if self.name in {"quoted", "numbered", "told", "related"}:
            return b"-7.0", b'"' + b"B" * (named.most - 2) + b'"'
        if self.name == "packed":
            return b"\xa1A", named.longest
        if named.fixed:
            return b"A" * named.most, b"7" * named.most
        return b"A", b"\xff" * 9 + b"\1" if named.form == "varint" else b"B" * named.most


@pytest.fixture(params=ALL)
def any_(request):
    return Speaker(request.param)


@pytest.fixture(params=SHARED)
def shared(request):
    return Speaker(request.param)


def test_clients_with_the_same_id_at_the_same_time_get_their_own_answers(any_):
    world = World(table([any_.address], pinned=any_.wire.mode == "pinned"))
    clients = [world.client() for _ in range(2)]
    short, long = any_.ids()
    world.batch(
        *[
            ("feed", client, any_.frame(1, one, b"a.B m %d%c" % (n, one[0])))
            for n, client in enumerate(clients)
            for one in (short, long)
        ]
    )
    for up in list(world.upstreams):
        got = world.take(any_, up)
        for _, _, request_id, body in reversed(got):
            world.feed(up, any_.frame(2, request_id, body))
    for n, client in enumerate(clients):
        texts = {request_id: body for _, _, request_id, body in world.take(any_, client)}
        assert texts == {one: b"a.B m %d%c" % (n, one[0]) for one in (short, long)}
    assert world.stat("answers_unmatched") == 0


def test_clients_are_told_that_the_proxy_drains(shared):
    world = World(table([shared.address]))
    client = world.client()
    world.feed(client, shared.frame(1, shared.ids()[0], b"a.B m x"))
    world.batch(("drain",))
    assert bytes(world.got[client]) == shared.wire.ask.drain(0)
    assert world.stat("drains_sent") == 1


def test_servers_see_ids_of_the_declared_form(shared):
    world = World(table([shared.address]))
    client = world.client()
    for one in shared.ids():
        world.feed(client, shared.frame(1, one, b"a.B m x"))
    up = world.only_upstream()
    seen = [frame[2] for frame in world.take(shared, up)]
    assert seen == [shared.wire.meaning.named.write(number) for number in (1, 2)]


def test_late_repeated_and_forged_answers_reach_nobody(shared):
    world = World(table([shared.address]))
    client = world.client()
    short, long = shared.ids()
    world.feed(client, shared.frame(1, short, b"a.B m x"))
    up = world.only_upstream()
    ((_, _, issued, _),) = world.take(shared, up)
    named = shared.wire.meaning.named
    forged = [short, long, named.write(2), named.write(4097)]
    forged += [one for one in (b"0" + issued, issued + b"0", b"") if named.allows(one)]
    for one in forged:
        world.feed(up, shared.frame(2, one, b"forged"))
    assert world.take(shared, client) == []
    world.feed(up, shared.frame(2, issued, b"right"))
    world.feed(up, shared.frame(2, issued, b"again"))
    assert world.take(shared, client) == [("response", Status.OK, short, b"right")]
    world.feed(client, shared.frame(1, long, b"a.B m y"))
    ((_, _, issued, _),) = world.take(shared, up)
    world.wait(LIMITS["request_ms"] + 10)
    ((kind, status, request_id, _),) = world.take(shared, client)
    assert (kind, status, request_id) == ("response", Status.TIMEOUT, long)
    world.feed(up, shared.frame(2, issued, b"late"))
    assert world.take(shared, client) == []
    assert world.stat("answers_unmatched") == len(forged) + 2


def test_errors_and_heartbeats_have_the_clients_own_id(any_):
    pinned = any_.wire.mode == "pinned"
    world = World(table([any_.address], rules=[("other", "*")], pinned=pinned), connect="fail")
    client = world.client()
    for one in any_.ids():
        world.feed(
            client, any_.frame(1, one, b"a.B m x") + any_.frame(4, one) + any_.frame(1, one, b"other m x")
        )
        got = [(kind, status, request_id) for kind, status, request_id, _ in world.take(any_, client)]
        assert sorted(got) == [
            ("ack", Status.OK, one),
            ("response", Status.NO_SERVICE, one),
            ("response", Status.UNAVAILABLE, one),
        ]


def test_an_answer_is_tried_again_under_another_id(shared):
    plan = {"attempts": 3, "retry_on": 15, "idempotent": True}
    world = World(table([shared.address], plan=plan))
    client = world.client()
    short, _ = shared.ids()
    world.feed(client, shared.frame(1, short, b"a.B m x"))
    up = world.only_upstream()
    ((_, _, first, body),) = world.take(shared, up)
    world.feed(up, shared.frame(2, first, b"busy", int(Status.OVERLOADED)))
    (up,) = [one for one in world.upstreams if world.got[one]]
    ((_, _, second, again),) = world.take(shared, up)
    assert (second != first, again) == (True, body)
    world.feed(up, shared.frame(2, second, b"done"))
    assert world.take(shared, client) == [("response", Status.OK, short, b"done")]


def test_pinned_requests_keep_their_ids_and_answers_are_told_apart_by_all_their_bytes():
    own = Speaker("own")
    world = World(table([own.address], pinned=True))
    client = world.client()
    asked = [b"", b"A", b"AA", b"A" * 19, b"A" * 20]
    world.feed(client, b"".join(own.frame(1, one, b"a.B m %d" % len(one)) for one in asked))
    up = world.only_upstream()
    assert [frame[2] for frame in world.take(own, up)] == asked
    for one in (b"B", b"A" * 18, b"1"):
        world.feed(up, own.frame(2, one, b"forged"))
    assert world.take(own, client) == []
    for one in reversed(asked):
        world.feed(up, own.frame(2, one, b"%d" % len(one)) * 2)
    assert world.take(own, client) == [
        ("response", Status.OK, one, b"%d" % len(one)) for one in reversed(asked)
    ]
    assert world.stat("answers_unmatched") == 3 + len(asked)


def test_an_id_that_a_frame_has_no_room_for_is_answered_with_an_error():
    sized = Speaker("sized")
    world = World(table([sized.address], limits={"frame": 1 << 17, "client_pause": 1 << 20}))
    client = world.client()
    body = b"a.B m " + b"x" * (65535 - 3 - 6)  # the total counts 65535 bytes at most
    world.feed(client, sized.frame(1, b"", body))
    ((_, status, request_id, text),) = world.take(sized, client)
    assert (status, request_id) == (Status.INTERNAL, b"")
    assert b"the request cannot have another id" in text
    long = b"B" * 36
    world.feed(client, sized.frame(1, long, b"a.B m x"))
    up = next(iter(world.upstreams))
    ((_, _, issued, _),) = world.take(sized, up)
    world.feed(up, sized.frame(2, issued, b"x" * (65535 - 3 - len(issued))))
    ((_, status, request_id, text),) = world.take(sized, client)
    assert (status, request_id) == (Status.INTERNAL, long)
    assert b"the answer cannot have the id of its request" in text
    assert world.stat("requests_active") == 0


def test_a_request_with_too_long_an_id_is_refused_and_what_was_asked_before_is_answered():
    lined = Speaker("lined")
    world = World(table([lined.address]))
    client = world.client()
    world.feed(client, lined.frame(1, b"one", b"a.B m x") + b"\x01" + b"2" * 41 + b" \0a.B m y")
    up = world.only_upstream()
    ((_, _, issued, _),) = world.take(lined, up)
    world.feed(up, lined.frame(2, issued, b"done"))
    assert world.take(lined, client) == [("response", Status.OK, b"one", b"done")]
    assert client in world.closed


def test_a_frame_over_the_limit_is_answered_under_its_own_id():
    sized = Speaker("sized")
    world = World(table([sized.address], limits={"frame": 300}))
    client = world.client()
    data = sized.frame(1, b"my own id", b"a.B m " + b"x" * 400)
    for at in range(0, len(data), 3):
        world.feed(client, data[at : at + 3])
    ((_, status, request_id, _),) = world.take(sized, client)
    assert (status, request_id) == (Status.BAD_REQUEST, b"my own id")


def test_a_request_without_an_id_goes_nowhere_and_ends_its_connection():
    wire = WireFormat(
        Struct("kind" / Int8ub, "id" / If(this.kind < 8, Bytes(8)), "text" / Prefixed(Int16ub, GreedyBytes)),
        id=byte_id(this.id, form="hex"),
        response=this.kind == 2,
        replies=Replies(error=lambda status, variant: {"kind": 2, "text": ErrorText()}),
    )
    world = World(table([wire.address]))
    client = world.client()
    world.feed(client, wire.build({"kind": 8, "text": b"x"}))
    assert (bytes(world.got[client]), world.upstreams) == (b"", {})
    assert client in world.closed


def test_one_way_requests_may_have_no_id():
    unique = Speaker("unique")
    world = World(table([unique.address]))
    client = world.client()
    world.feed(client, unique.frame(3, None, b"a.B m x"))
    up = world.only_upstream()
    assert world.take(unique, up) == [("oneway", Status.OK, b"", b"a.B m x")]
    assert world.stat("requests_active") == 0


def test_a_filter_may_change_the_request_and_not_its_id(shared):
    world = World(table([shared.address], plan={"filter_chain": 0}))
    client = world.client()
    short, long = shared.ids()
    for number, one in enumerate((short, long)):
        world.feed(client, shared.frame(1, short, b"a.B m x"))
        changed = shared.frame(1, one, b"a.B changed x")
        world.batch(("decide", world.filters.pop().handle, native.DECIDE_CONTINUE, 0, 0, changed))
        if number == 0:
            up = world.only_upstream()
            ((_, _, issued, body),) = world.take(shared, up)
            assert body == b"a.B changed x"
            world.feed(up, shared.frame(2, issued, b"done"))
            assert world.take(shared, client) == [("response", Status.OK, short, b"done")]
    ((_, status, request_id, _),) = world.take(shared, client)
    assert (status, request_id) == (Status.INTERNAL, short)
