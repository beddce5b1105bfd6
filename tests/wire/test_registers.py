"""What is computed on the way to a result takes no register for good: an expression may have any length."""

from __future__ import annotations

from functools import reduce
from operator import add

import pytest
from construct import Bytes, Int8ub, Int16ub, Int32ub, Struct, this

from protokit import native
from protokit.wire import Replies, WireFormat

TERMS = 100


def long_one(kind):
    """A size that is a sum of many terms, each computed by itself."""
    terms = {
        "products": [((this.bits >> number % 16) & 1) * 3 for number in range(TERMS)],
        "comparisons": [~(this.bits == number) + (this.more == number + 1) for number in range(TERMS)],
        "to the right": [],
    }[kind]
    size = reduce(add, terms) if terms else this.bits & 3
    for number in range(TERMS if kind == "to the right" else 0):
        size = ((this.more + number) & 1) + size
    return WireFormat(
        Struct("kind" / Int8ub, "id" / Int32ub, "bits" / Int16ub, "more" / Int16ub, "body" / Bytes(size)),
        id=this.id,
        response=this.kind == 2,
        replies=Replies(error=None),
    )


@pytest.mark.parametrize("kind", ["products", "comparisons", "to the right"])
@pytest.mark.parametrize("bits", [0, 1, 3, 0x8001, 0x5555, 0xFFFF])
def test_an_expression_of_any_length_is_what_it_says(kind, bits):
    wire = long_one(kind)
    head = b"\1\0\0\0\7" + bits.to_bytes(2, "big") + b"\0\5"
    data = head + bytes(2000)
    _, size = wire.parse(data)
    assert native.frame(wire.address, data).size == size > len(head) - 1
