"""Frames are built backwards from their lengths, checksums and conditions: hardly an attempt is lost."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    Check,
    Const,
    Flag,
    If,
    IfThenElse,
    Int8ub,
    Int16ub,
    Int32ub,
    Int64ub,
    Rebuild,
    Struct,
    len_,
    this,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from protokit import Protocol, Status, WireFormat
from protokit.testing.cases import ways
from protokit.testing.fuzzing import Result, examples, fuzz
from protokit.testing.strategies import counted_frames
from protokit.wire import Ahead, ErrorText, Repeat, Replies, crc32, table
from protokit.wire.explain import calculate
from protokit.wire.nodes import Branch

HEAD = (Const(b"HX"), "kind" / Int8ub, "id" / Int32ub)
BODY = {"body": ErrorText()}


def wire(*fields, reply, **more):
    return WireFormat(
        Struct(*HEAD, *fields),
        id=this.id,
        response=this.kind == 2,
        status=table(this.kind, {1: Status.OK}, Status.INTERNAL),
        replies=Replies(error=lambda status, variant: {"kind": 2, **reply}),
        **more,
    )


FORMATS = {
    "a body before a checksum": lambda: wire(
        "total" / Rebuild(Int32ub, len_(this.body) + 15),
        "body" / Bytes(this.total - 15),
        "crc" / Int32ub,
        reply=BODY,
        checksum=crc32(this.crc, over="before"),
    ),
    "a total that counts a large head": lambda: wire(
        "total" / Rebuild(Int32ub, len_(this.body) + 211),
        "pad" / Bytes(200),
        "body" / Bytes(this.total - 211),
        reply={"pad": bytes(200), **BODY},
    ),
    "two lengths": lambda: wire(
        "total" / Rebuild(Int32ub, len_(this.head) + len_(this.body) + 13),
        "size" / Rebuild(Int16ub, len_(this.head)),
        "head" / Bytes(this.size),
        "body" / Bytes(this.total - this.size - 13),
        reply={"head": b"", **BODY},
    ),
    "a length in words": lambda: wire(
        "words" / Int16ub, "body" / Bytes(this.words * 4 - 8), reply={"words": 3, "body": b"none"}
    ),
    "a length in two parts": lambda: wire(
        "high" / Int8ub,
        "low" / Int8ub,
        "body" / Bytes((this.high << 8) | this.low),
        reply={"high": 0, "low": 2, "body": b"no"},
    ),
    "a length of twelve bits": lambda: wire(
        "flags" / BitStruct("size" / BitsInteger(12), "rest" / BitsInteger(4)),
        "body" / Bytes(this.flags.size - 9),
        reply={"flags": {"size": 11, "rest": 0}, "body": b"no"},
    ),
    "a length that is checked": lambda: wire(
        "total" / Int32ub,
        Check(this.total >= 100),
        "body" / Bytes(this.total - 100),
        reply={"total": 102, "body": b"no"},
    ),
    "a checksum of its own": lambda: wire(
        "a" / Int8ub, "b" / Int8ub, Check((this.a ^ this.b) == 0x5A), reply={"a": 0x5A, "b": 0}
    ),
    "a sum": lambda: wire(
        "a" / Int8ub, "sum" / Int32ub, Check(this.sum == this.id + this.a), reply={"a": 0, "sum": 0}
    ),
    "an order": lambda: wire("a" / Int32ub, "b" / Int32ub, Check(this.a < this.b), reply={"a": 0, "b": 1}),
}


def there(number):
    """1 where the bitmap announces that part."""
    return (this.bitmap >> (64 - number)) & 1


# What bits, flags and checks say of each other: a field is chosen so that what looks at it holds.
CHECKED = {
    "a bit of a bitmap": lambda: wire(
        "size" / Rebuild(Int16ub, len_(this.f1) + len_(this.f2) + len_(this.rest)),
        "bitmap" / Int64ub,
        Check((this.bitmap & (1 << 53)) != 0),
        "f1" / Bytes(there(1) * 8),
        "n2" / If(there(2), Int16ub),
        "f2" / If(there(2), Bytes(((this.n2 >> 8) & 15) * 10 + (this.n2 & 15))),
        "fixed" / Bytes(there(3) * 6 + there(4) * 12 + there(11) * 6),
        "rest" / Bytes(this.size - len_(this.f1) - len_(this.f2)),
        reply={"bitmap": 1 << 53, "f1": b"", "fixed": b"000000", "rest": b"no"},
    ),
    "a bit that a shift looks at": lambda: wire(
        "bitmap" / Int64ub, Check(there(9)), Check(~there(10)), reply={"bitmap": 1 << 55}
    ),
    "bits that go together": lambda: wire(
        "bitmap" / Int64ub,
        Check(there(3) == there(40)),
        Check(there(4) | there(5)),
        Check((this.bitmap & 0xF000) == 0x5000),
        "f4" / If(there(4), Int16ub),
        reply={"bitmap": 1 << 59 | 0x5000},
    ),
    "a check behind what the bits announce": lambda: wire(
        "bitmap" / Int32ub,
        "a" / If(this.bitmap & 1, Int32ub),
        "b" / If(this.bitmap & 2, Int32ub),
        Check((this.bitmap >> 20) & 1),
        reply={"bitmap": 1 << 20},
    ),
    "a check of one branch alone": lambda: wire(
        "mark" / Int32ub,
        "flag" / Int8ub,
        "part" / If(this.flag & 0x40, Struct(Check(this._.mark == 0xC0FFEE), "more" / Int8ub)),
        reply={"mark": 0, "flag": 0},
    ),
    "a check of the other branch": lambda: wire(
        "mark" / Int32ub,
        "flag" / Int8ub,
        "part"
        / IfThenElse(
            this.flag & 1, Struct("more" / Int8ub), Struct(Check(this._.mark == 0xC0FFEE), "less" / Int16ub)
        ),
        reply={"mark": 0, "flag": 1, "part": {"more": 0}},
    ),
    "flags of which one has to be there": lambda: wire(
        "flags" / BitStruct("a" / Flag, "b" / Flag, "rest" / BitsInteger(6)),
        Check((this.flags.a | this.flags.b) & (this.flags.rest == 0x2A)),
        "a" / If(this.flags.a, Int8ub),
        "b" / If(this.flags.b, Int16ub),
        reply={"flags": {"a": 1, "b": 0, "rest": 0x2A}, "a": 0},
    ),
    "as many bits as a count": lambda: wire(
        "bitmap" / Int64ub,
        "count" / Int8ub,
        Check(this.count == sum((there(number) for number in range(1, 9)), start=0)),
        "first" / If(there(1), Int16ub),
        reply={"bitmap": 0, "count": 0},
    ),
    "a size that is at least something": lambda: wire(
        "size" / Int16ub,
        Check(this.size >= 90),
        "body" / Bytes(this.size),
        reply={"size": 90, "body": b"n" * 90},
    ),
    "a flag beside a length": lambda: wire(
        "mark" / Int32ub,
        "body" / Bytes(this.mark & 0xFFFF),
        Check((this.mark >> 31) == 1),
        reply={"mark": 1 << 31 | 2, "body": b"no"},
    ),
    "a flag of the last part": lambda: wire(
        "parts" / Repeat(PART, until=(this.mark >> 30) & 1),
        reply={"parts": b"\x40\0\0\x02no"},
    ),
    "a byte that is looked at ahead": lambda: wire(
        "tag" / Ahead(Int8ub),
        Check((this.tag & 0xC1) == 0x81),
        "body" / Bytes(3),
        reply={"tag": 0x81, "body": b"\x81no"},
    ),
}
PART = Struct("mark" / Int32ub, "data" / Bytes(this.mark & 0x3FFFFFFF))
FORMATS |= CHECKED


def drawn(wire, count=40):
    """Frames, and the tally of the attempts."""
    found, tally = [], Counter()

    @seeded(7)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(counted_frames(wire, [], tally))
    def draw(frame):
        found.append(frame)

    draw()
    return found, tally


@pytest.mark.parametrize("which", FORMATS)
def test_nearly_every_attempt_makes_a_frame(which):
    made = FORMATS[which]()
    found, tally = drawn(made)
    if tally[""] < 0.9 * tally.total():  # forty are few, and drawn of constants of all modules that there are
        found, tally = drawn(made, 400)
    assert tally[""] >= 0.9 * tally.total(), tally
    assert all(made.parse(frame)[1] == len(frame) for frame in found)
    assert len([*ways(made, [])]) > 10


def branches(nodes, values, taken, number=0):
    """Note which way each branch goes; how many branches there are."""
    for node in nodes:
        if isinstance(node, Branch):
            test = bool(calculate(node.test, values))
            taken.add((number, test))
            inside = branches(node.then, values, taken if test else set(), number + 1)
            number = branches(node.otherwise, values, set() if test else taken, inside)
    return number


def count_of(nodes):
    return branches(nodes, {}, set())


@pytest.mark.parametrize("which", CHECKED)
def test_every_way_is_found_without_a_draw(which):
    """Each branch and each announced part, there and not, in frames that are gone through."""
    made = CHECKED[which]()
    taken = set()
    for one in ways(made, []):
        branches(made.nodes, made.parse(one.frame)[0], taken)
    assert taken == {(number, way) for number in range(count_of(made.nodes)) for way in (False, True)}


@pytest.mark.parametrize("which", list(FORMATS)[:7])
def test_sizes_differ_where_the_frame_says_them(which):
    assert len({len(frame) for frame in drawn(FORMATS[which]())[0]}) > 3


def test_most_examples_begin_with_an_accepted_frame(tmp_path):
    protocol = Protocol("hard", FORMATS["a body before a checksum"]())
    result = fuzz(protocol, seed=1, seconds=600, rounds=1, folder=tmp_path)
    assert (result.examples, result.too_little) == (600, "")
    assert result.accepted > 150
    assert result.drawn[""] >= 60


def test_a_condition_that_frames_hardly_meet_is_named_and_draws_go_on():
    tally = Counter()
    meets = {"a": 0x01020304, "b": 0x01020304}
    test = Check((this.a & this.b) == 0x01020304)
    made = Protocol("never", wire("a" / Int32ub, "b" / Int32ub, test, reply=meets))
    assert next(examples(made, [], 1, 0, tally)).client  # what the codec says by itself is still there
    assert max(tally, key=tally.__getitem__).endswith(": its condition does not hold")


REASONS = Counter({"body: its length comes to -3": 90, "": 10})


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (
            Result(examples=1, accepted=1, busy=9, drawn=REASONS),
            "1 examples in 9.0 s .* 90 of 100 .*: body: its length",
        ),
        (Result(examples=0, busy=0.1), "0 examples in 0.1 s .* and some in all$"),
        (
            Result(examples=600, accepted=29, busy=3, drawn=REASONS, refused=Counter({"crc: N expected": 7})),
            "29 of 600 .* at least 5% .*: body: its .*; 7 of 7 refused ones: crc: N expected; golden",
        ),
        (
            Result(examples=600, accepted=300, busy=3, broken="KeyError: 'x'"),
            "the fuzzer itself broke: KeyError",
        ),
    ],
)
def test_a_run_that_tried_too_little_says_why(result, why):
    assert re.search(why, result.too_little), result.too_little


def test_a_run_that_tried_enough_says_nothing():
    assert Result(examples=600, accepted=30, busy=120).too_little == ""
