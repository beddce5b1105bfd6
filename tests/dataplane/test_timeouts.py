"""How long a request may take, and what its server is told of it: on the core with a virtual clock."""

from __future__ import annotations

import itertools

import pytest
from construct import (
    Bytes,
    Const,
    Int8ub,
    Int16ub,
    Int32ub,
    Rebuild,
    Struct,
    len_,
    this,
)
from protokit_dubbo import dubbo
from protokit_dubbo.messages import OK, Answer, Call, decode, split
from protokit_sofarpc import bolt
from world import MS, World, table

from protokit import WireFormat
from protokit.wire import ErrorText, Replies, text

SERVICE = "org.protokit.test.Echo"
OTHERWISE = 3000  # limits.request_ms


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


def ask(number=1, *, timeout=-1, proto=1, **more) -> bytes:
    head = {"proto": 1} if proto == 1 else {"proto": 2, "ver1": 2, "switch": 1}
    encoding = bolt.wire.meaning.headers.encoding
    headers = encoding.build([(b"service", b"a.B:1.0"), (b"sofa_head_method_name", b"m")])
    values = {"type": 1, "cmdcode": 1, "ver2": 1, "id": number, "codec": 1, "timeout": timeout}
    values |= {"class_name": b"x", "headers": headers, "content": b"c"}
    return bolt.wire.build(head | values | more)


class Course:
    """A client of one protocol, and its server."""

    def __init__(self, protocol, *, plan, **more) -> None:
        self.dubbo = protocol is dubbo
        self.world = World(table([protocol.wire.address], plan=plan, **{"endpoints": 1, **more}))
        self.client = self.world.client()

    def frames(self, handle) -> list:
        data, self.world.got[handle] = bytes(self.world.got[handle]), bytearray()
        if self.dubbo:
            frames, rest = split(data)
            assert not rest
            return [decode(frame) for frame in frames]
        found = []
        while data:
            fields, size = bolt.wire.parse(data)  # which verifies checksums
            found.append(fields)
            data = data[size:]
        return found

    def told(self) -> list[int]:
        """The time that servers were told since, of each request."""
        every = [one for up in self.world.upstreams for one in self.frames(up)]
        return [int(one.attachments["timeout"]) if self.dubbo else one["timeout"] for one in every]


def ends_after(world, most: int) -> int:
    """When the client's request is over, ms."""
    start = world.now
    for _ in range(100):
        if world.stat("requests_active") == 0:
            return (world.now - start) // MS
        world.batch()
        due = world.core.next()
        world.wait(max((due - world.now) // MS, 1) if due is not None else most)
    raise AssertionError("it never ends")


@pytest.mark.parametrize(
    ("said", "usual", "most"), [*itertools.product((0, 200, 700, 9000), (0, 100, 500, 4000), (0, 300, 5000))]
)
def test_the_callers_time_or_the_rules_but_no_more_than_the_most(said, usual, most):
    course = Course(dubbo, plan={"timeout_ms": usual, "most_ms": most})
    course.world.feed(course.client, call(**({"timeout": str(said)} if said else {})))
    wanted = said or usual or OTHERWISE
    wanted = min(wanted, most) if most else wanted
    assert wanted <= ends_after(course.world, 10_000) <= wanted + 2
    (answer,) = course.frames(course.client)
    assert f"within {wanted} ms" in answer.value


@pytest.mark.parametrize("proto", [1, 2])
@pytest.mark.parametrize(("said", "told"), [(-1, 800), (0, 800), (300, 300), (2000, 900), (2**31 - 1, 900)])
def test_a_number_of_fixed_width_is_written_in_place(proto, said, told):
    course = Course(bolt, plan={"timeout_ms": 800, "most_ms": 900, "pass_on": True})
    sent = ask(7, timeout=said, proto=proto)
    course.world.feed(course.client, sent)
    (up,) = course.world.upstreams
    (got,) = course.frames(up)
    wanted, _ = bolt.wire.parse(sent)
    for fields in (got, wanted):
        del fields["id"]
        fields.pop("crc", None)
    assert got["timeout"] == told
    assert got | {"timeout": said} == wanted
    assert course.world.stat("timeouts_not_passed_on") == 0


def test_dubbo_is_told_in_its_attachments():
    course = Course(dubbo, plan={"timeout_ms": 800, "most_ms": 800, "pass_on": True})
    for said in ({}, {"timeout": "5000"}, {"timeout": "5000", "_TO": "4000", "_to": "4000", "kept": "é"}):
        course.world.feed(course.client, call(**said))
        (up,) = course.world.upstreams
        (got,) = course.frames(up)
        assert {key: got.attachments[key] for key in said if key != "kept"} == dict.fromkeys(
            [key for key in said if key != "kept"], "800"
        )
        assert (got.attachments["timeout"], got.attachments.get("kept")) == ("800", said.get("kept"))
        # What does not stand there is not added: it would be somebody's countdown.
        assert ("_TO" in got.attachments, "_to" in got.attachments) == ("_TO" in said, "_to" in said)
        assert (got.service, got.method, got.arguments) == (SERVICE, "m", ["x"])


@pytest.mark.parametrize("protocol", [dubbo, bolt], ids=lambda one: one.name)
class TestWhatWasSpent:
    """Time that a request waits here is not its server's."""

    def one(self, protocol, number=1) -> bytes:
        return call(number) if protocol is dubbo else ask(number)

    def test_opening_a_connection(self, protocol):
        course = Course(protocol, plan={"timeout_ms": 800, "pass_on": True})
        course.world.connect = "wait"
        course.world.feed(course.client, self.one(protocol))
        course.world.wait(300)
        course.world.opened(course.world.opening[0])
        assert course.told() == [500]

    def test_a_delay(self, protocol):
        course = Course(protocol, plan={"timeout_ms": 800, "pass_on": True, "delay_ms": 200})
        course.world.feed(course.client, self.one(protocol))
        assert course.told() == []
        course.world.wait(250)
        (told,) = course.told()
        assert 598 <= told <= 600

    @pytest.mark.parametrize(("waited", "left"), [(700, 100), (799, 1), (800, 1)])
    def test_a_filter(self, protocol, waited, left):
        course = Course(protocol, plan={"timeout_ms": 800, "pass_on": True, "filter_chain": 0})
        course.world.feed(course.client, self.one(protocol))
        course.world.wait(waited)
        (op,) = course.world.filters
        course.world.batch(("decide", op.handle, 0, 0, 0, b""))
        assert course.told() == [left]

    def test_a_filter_that_takes_all_of_it(self, protocol):
        course = Course(protocol, plan={"timeout_ms": 800, "pass_on": True, "filter_chain": 0})
        course.world.feed(course.client, self.one(protocol))
        (op,) = course.world.filters
        course.world.now += 800 * MS
        course.world.batch(("decide", op.handle, 0, 0, 0, b""))
        assert course.told() == [1]

    def test_a_try_that_failed(self, protocol):
        plan = {"attempts": 2, "retry_on": ("reset",), "idempotent": True, "timeout_ms": 800, "pass_on": True}
        course = Course(protocol, plan=plan, endpoints=2)
        course.world.feed(course.client, self.one(protocol))
        assert course.told() == [800]
        course.world.wait(250)
        (first,) = course.world.upstreams
        course.world.batch(("error", first))
        assert course.told() == [550]

    def test_each_try_has_its_own_and_the_last_one_what_is_left(self, protocol):
        plan = {"attempts": 3, "retry_on": ("timeout",), "idempotent": True, "per_try_ms": 100}
        course = Course(protocol, plan=plan | {"timeout_ms": 800, "pass_on": True}, endpoints=3)
        course.world.feed(course.client, self.one(protocol))
        told = course.told()
        for _ in range(2):
            course.world.wait(101)
            told += course.told()
        assert told[:2] == [100, 100]
        assert 596 <= told[2] <= 600
        assert len(told) == 3

    def test_one_that_cannot_be_tried_again_has_all_of_it(self, protocol):
        plan = {"attempts": 3, "retry_on": ("timeout",), "per_try_ms": 100, "timeout_ms": 800}
        course = Course(protocol, plan=plan | {"pass_on": True}, endpoints=2)
        course.world.feed(course.client, self.one(protocol))
        assert course.told() == [800]

    def test_the_time_of_a_try_begins_when_it_is_sent(self, protocol):
        plan = {"attempts": 2, "retry_on": ("timeout",), "idempotent": True, "per_try_ms": 100}
        course = Course(protocol, plan=plan | {"timeout_ms": 800, "pass_on": True})
        course.world.connect = "wait"
        course.world.feed(course.client, self.one(protocol))
        course.world.wait(30)
        course.world.opened(course.world.opening[0])
        assert course.told() == [100]

    def test_without_a_byte_of_it_on_other_rules(self, protocol):
        course = Course(protocol, plan={"timeout_ms": 800})
        course.world.feed(course.client, call(timeout="5000") if protocol is dubbo else ask(timeout=5000))
        assert course.told() == [5000]


def test_one_way_requests_say_it_too():
    course = Course(dubbo, plan={"timeout_ms": 800, "pass_on": True})
    course.world.feed(course.client, call(twoway=False))
    assert course.told() == [800]


def test_a_client_of_its_own_connection_keeps_its_ids():
    course = Course(bolt, plan={"timeout_ms": 800, "pass_on": True}, pinned=True)
    course.world.feed(course.client, ask(77, proto=2))
    (up,) = course.world.upstreams
    (got,) = course.frames(up)
    assert (got["id"], got["timeout"]) == (77, 800)


def test_what_has_no_place_for_it_goes_as_it_came():
    course = Course(dubbo, plan={"timeout_ms": 800, "pass_on": True}, direct=True)
    kryo = bytearray(call(3))
    kryo[2] = kryo[2] & 0xE0 | 8  # a serialization that cannot be read without the classes
    course.world.feed(course.client, bytes(kryo))
    (up,) = course.world.upstreams
    got = bytes(course.world.got[up])
    assert got[:4] + got[12:] == bytes(kryo[:4] + kryo[12:])
    assert course.world.stat("timeouts_not_passed_on") == 1


def test_who_says_nothing_more_costs_nobody_a_byte_of_the_next_frame():
    """What a longer frame takes is room of its own: the frames behind it stay whole."""
    course = Course(dubbo, plan={"timeout_ms": 800, "pass_on": True})
    course.world.feed(course.client, b"".join(call(number, argument="y" * number) for number in range(1, 33)))
    (up,) = course.world.upstreams
    got = course.frames(up)
    assert [one.arguments[0] for one in got] == ["y" * number for number in range(1, 33)]
    for one in got:
        course.world.feed(up, Answer(one.id, OK, one.arguments[0]).encode())
    answers = course.frames(course.client)
    assert {one.id: one.value for one in answers} == {number: "y" * number for number in range(1, 33)}


def test_half_of_a_large_frame_goes_as_it_came():
    wire = WireFormat(
        Struct(
            Const(b"B"),
            "kind" / Int8ub,
            "id" / Int16ub,
            "ms" / Int32ub,
            "service_size" / Rebuild(Int8ub, len_(this.service)),
            "size" / Rebuild(Int32ub, len_(this.body)),
            "service" / Bytes(this.service_size),
            "body" / Bytes(this.size),
        ),
        id=this.id,
        response=this.kind == 1,
        timeout=this.ms,
        service=text(this.service),
        replies=Replies(
            error=lambda status, variant: {"kind": 1, "ms": 0, "service": b" ", "body": ErrorText()}
        ),
    )
    limits = {"frame": 1 << 20, "buffer": 16 << 20, "upstream_buffer": 1 << 20}
    world = World(
        table([wire.address], plan={"timeout_ms": 800, "pass_on": True}, pinned=True, limits=limits)
    )
    client = world.client()
    for number, size in ((7, 200_000), (8, 100)):
        data = wire.build({"kind": 0, "id": number, "ms": 5000, "service": b"s", "body": b"y" * size})
        for at in range(0, len(data), 50_000):
            world.feed(client, data[at : at + 50_000])
        (up,) = world.upstreams
        got, world.got[up] = bytes(world.got[up]), bytearray()
        assert got == data if size > 1 << 16 else got == data.replace(b"\x13\x88", b"\x03\x20")
        assert world.stat("timeouts_not_passed_on") == 1
