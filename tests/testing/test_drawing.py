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
    Int8ub,
    Int16ub,
    Int32ub,
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
from protokit.wire import ErrorText, Replies, crc32, table

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
    assert tally[""] >= 0.9 * tally.total(), tally
    assert all(made.parse(frame)[1] == len(frame) for frame in found)
    assert len(ways(made, [])) > 10


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
