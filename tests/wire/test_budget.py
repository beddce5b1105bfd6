"""Which declarations have a number that the caller's time goes into, and that nothing else changes by it."""

from __future__ import annotations

import pytest
from construct import (
    Bytes,
    Const,
    GreedyBytes,
    Int8sb,
    Int8ub,
    Int16ub,
    Int24ul,
    Int32ub,
    Int64ul,
    Prefixed,
    Struct,
    this,
)

from protokit import WireFormat, native
from protokit.errors import LocalProtocolError
from protokit.wire import ErrorText, Replies, number, text

WIDTHS = {
    "8 bits, signed": (Int8sb, 127),
    "16 bits": (Int16ub, 2**16 - 1),
    "24 bits, little": (Int24ul, 2**24 - 1),
}
ERROR = {"kind": 1, "id": 0, "ms": 0, "rest": ErrorText()}
WIDTHS |= {"32 bits": (Int32ub, 2**32 - 1), "64 bits, little": (Int64ul, 2**32 - 1)}


def format_of(width, *, front=(), **more) -> WireFormat:
    meaning = {"id": this.id, "timeout": this.ms, "oneway": 0} | more
    error = ERROR | {field.name: b"name" for field in front}
    return WireFormat(
        Struct(
            Const(b"B"),
            "kind" / Int8ub,
            "id" / Int16ub,
            *front,
            "ms" / width,
            "rest" / Prefixed(Int8ub, GreedyBytes),
        ),
        response=this.kind == 1,
        service=text(this.rest),
        method=text(this.rest),
        replies=Replies(error=lambda status, variant: error),
        **meaning,
    )


@pytest.mark.parametrize(("width", "most"), WIDTHS.values(), ids=WIDTHS)
def test_a_number_of_any_width(width, most):
    wire = format_of(width)
    assert native.has_budget(wire.address)
    values = {"kind": 0, "id": 7, "rest": b"abc"}
    data = wire.build(values | {"ms": 5})
    for ms in (1, 100, 2**31, 2**32 - 1):
        assert native.budget(wire.address, data, ms) == wire.build(values | {"ms": min(ms, most)})


def test_one_that_says_more_than_the_time_stays():
    wire = format_of(Int16ub, oneway=this.ms == 0)
    values = {"kind": 0, "id": 7, "rest": b"abc"}
    with pytest.raises(LocalProtocolError, match="no place for it"):  # it would be answered
        native.budget(wire.address, wire.build(values | {"ms": 0}), 5)
    assert native.budget(wire.address, wire.build(values | {"ms": 9}), 5) == wire.build(values | {"ms": 5})


@pytest.mark.parametrize("timeout", [0, 1000, number(text(this.rest)), this.ms * 1000], ids=repr)
def test_what_is_no_number_of_its_own_has_no_place(timeout):
    assert not native.has_budget(format_of(Int16ub, timeout=timeout).address)


def test_where_ids_are_byte_strings():
    wire = format_of(Int16ub, id=this.name, front=("name" / Bytes(4),))
    values = {"kind": 0, "id": 7, "name": b"abcd", "rest": b"abc"}
    assert native.budget(wire.address, wire.build(values | {"ms": 9}), 5) == wire.build(values | {"ms": 5})


def test_behind_a_section_of_any_size_it_is_left_alone():
    wire = format_of(Int16ub, front=("name" / Prefixed(Int8ub, GreedyBytes),))
    assert not native.has_budget(wire.address)
