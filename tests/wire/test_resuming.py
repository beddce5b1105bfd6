"""Framing goes on where it stopped: what has been looked at is not looked at again, however a frame comes."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest
from construct import (
    Array,
    Bytes,
    GreedyBytes,
    Int8ub,
    Int16ub,
    Int32ub,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)
from fewer import many
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protokit import native
from protokit.testing import frames, spoiled
from protokit.wire import Chunks, ErrorText, Replies, Until, UVar, WireFormat, crc32, lengths

sys.path.append(str(Path(__file__).parents[2] / "native" / "fuzz"))
import fuzz_formats

QUICK = settings(max_examples=many(60), deadline=None, suppress_health_check=list(HealthCheck))


def made(*fields, values, **more):
    return WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, *fields),
        id=this.id,
        response=this.kind == 1,
        replies=Replies(error=lambda status, variant: {"kind": 1, **values}),
        **more,
    )


LINES = made(
    "head" / Until(b"\r\n\r\n", max=60_000),
    "second" / Until(b"\n", max=60_000),
    values={"head": b"", "second": ErrorText()},
)
ARRAY = made(
    "count" / Rebuild(Int16ub, len_(this.parts)),
    "sizes" / Rebuild(Array(this.count, Int8ub), lengths(this.parts)),
    "parts" / Chunks(this.sizes),
    "tail" / UVar(5),
    "more" / UVar(5),
    values={"parts": [], "tail": 0, "more": 0},
)
PLAIN = made("text" / Prefixed(Int16ub, GreedyBytes), values={"text": ErrorText()})


def test_only_who_needs_it_remembers_anything():
    assert native.state_size(PLAIN.address) == 0
    one = made("size" / UVar(5), "text" / Bytes(this.size), values={"size": 0, "text": b""})
    assert native.state_size(one.address) == 0
    for wire in (LINES, ARRAY):
        assert 0 < native.state_size(wire.address) <= 4096


def scribbled(wire, frame, keep):
    """What is said of a frame that comes byte by byte, while all but its last bytes are overwritten."""
    framing = native.Framing(wire.address)
    calls = 0
    need = 1
    for size in range(1, len(frame) + 1):
        if size < need:
            continue
        seen = bytearray(frame[:size])
        at = max(size - keep, 0)
        seen[:at] = b"\n" * at  # what would be found by who looks again
        message = framing.frame(bytes(seen))
        calls += 1
        if message.result == 1:
            need = message.need
            continue
        return message, calls
    raise AssertionError("it was never whole")


@pytest.mark.parametrize("size", [100, 3_000])
def test_a_delimiter_is_looked_for_in_new_bytes_alone(size):
    values = {"kind": 0, "id": 7, "head": b"x" * size, "second": b"y" * size}
    frame = LINES.build(values)
    message, calls = scribbled(LINES, frame, 4)
    assert (message.result, message.size, message.id) == (0, len(frame), 7)
    assert calls > size


def test_a_delimiter_that_comes_in_pieces_is_found():
    for head in (b"", b"\r", b"\r\n", b"\r\n\r", b"a\r\n\rb\r\r\n"):
        frame = LINES.build({"kind": 0, "id": 1, "head": b"x" + head + b"x", "second": b""})
        framing = native.Framing(LINES.address)
        for size in range(1, len(frame)):
            assert framing.frame(frame[:size]).result == 1
        message = framing.frame(frame + b"\n")
        assert (message.result, message.size) == (0, len(frame))


def test_lengths_in_an_array_are_added_up_once():
    parts = [b"p" * (n % 200) for n in range(300)]
    frame = ARRAY.build({"kind": 0, "id": 7, "parts": parts, "tail": 2**34, "more": 2**34})
    framing, needs = native.Framing(ARRAY.address), []
    size = 1
    while (message := framing.frame(frame[:size])).result == 1:
        needs.append(message.need)
        size = message.need
    assert (message.size, needs) == (len(frame), sorted(set(needs)))
    assert len(needs) < 20
    overwritten = frame[:5] + b"\0" * 300 + frame[305:]  # the lengths, when they have been read
    framing = native.Framing(ARRAY.address)
    assert framing.frame(frame[:400]).result == 1
    assert framing.frame(overwritten).size == len(frame)


@cache
def formats():
    made = {one.name: one.wire for one in fuzz_formats.protocols()}
    return {**made, "lines": LINES, "array": ARRAY, "plain": PLAIN}


@QUICK
@given(st.data())
@pytest.mark.parametrize("name", ["nasty", "branches", "ordered", "lines", "array", "plain"])
def test_frames_one_behind_the_other_are_the_same_in_any_pieces(name, data):
    wire = formats()[name]
    some = data.draw(st.lists(frames(wire), min_size=1, max_size=3))
    stream = b"".join([*some, data.draw(spoiled(frames(wire)))])
    limit = data.draw(st.sampled_from([1 << 16, 40]))
    framing = native.Framing(wire.address)
    at = end = 0
    while at < len(stream):
        end = max(end, min(len(stream), at + data.draw(st.integers(1, 12))))
        seen, alone = framing.frame(stream[at:end], limit), native.frame(wire.address, stream[at:end], limit)
        assert seen == alone
        if seen.result == 0:
            at += seen.size
        elif seen.result != 1 or end == len(stream):
            break
        else:
            end += 1


def test_what_has_been_read_counts_though_the_limit_is_met_later():
    frame = LINES.build({"kind": 0, "id": 7, "head": b"x" * 90, "second": b"y" * 90})
    framing = native.Framing(LINES.address)
    assert framing.frame(frame[:120], 150).result == 1
    message = framing.frame(frame, 150)
    assert (message.result, message.id) == (-3, 7)
    assert message == native.frame(LINES.address, frame, 150)


def test_a_checksum_is_of_the_whole_frame():
    wire = made(
        "head" / Until(b"\n", max=900),
        "sum" / Int32ub,
        values={"head": ErrorText()},
        checksum=crc32(this.sum, over="before"),
    )
    frame = wire.build({"kind": 0, "id": 7, "head": b"x" * 90})
    framing = native.Framing(wire.address)
    for size in range(1, len(frame)):
        assert framing.frame(frame[:size]).result == 1
    assert framing.frame(frame).result == 0
    assert framing.frame(frame[:-1] + b"\0").result in {-2, 0}
