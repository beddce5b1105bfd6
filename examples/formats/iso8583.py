"""ISO 8583: fields that a bitmap announces, lengths in two digits, the answer's code behind them.

::

    0      2                                      6                14
    +------+---------+-------+----------+--------+----------------+--------+
    | size | version | class | function | origin | primary bitmap | fields |    digits and fields in ASCII
    +------+---------+-------+----------+--------+----------------+--------+

Source: ISO 8583:1987, in the form that pyiso8583's ``specs.default`` has: a binary bitmap, everything else
in ASCII, lengths of variable fields in two digits (three for 36 and from 44 on); on TCP behind a size of
two bytes.

The service is what a message is about, the method what it wants. Terminal and server match answers by the
trace number (field 11) and more, and sign it: it stays as it is, and each client has a connection of its
own.

Limits: fields up to the trace number are read, what follows is passed on; of answers the response code,
where it follows at once (else the answer counts as OK). Notifications and instructions are refused. An
error repeats the trace number, and says why by its code. Dialects with packed digits have other sizes:
change ``FIXED``.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    Check,
    Flag,
    If,
    Int8ub,
    Int16ub,
    Int32ub,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import FromRequest, Replies, table

if TYPE_CHECKING:
    from collections.abc import Mapping

CLASSES = {1: "authorization", 2: "financial", 3: "file", 4: "reversal", 5: "reconciliation"}
CLASSES |= {6: "administrative", 7: "fee", 8: "network"}
FUNCTIONS = {0: "request", 1: "advice"}
FIXED = {3: 6, 4: 12, 5: 12, 6: 12, 7: 10, 8: 8, 9: 8, 10: 8}


def there(number: int) -> Any:
    """1 where the bitmap has that field."""
    word = this.first if number <= 32 else this.second
    return (word >> (32 - number) % 32) & 1


def digits(count: Any) -> Any:
    """The value of two digits."""
    return ((count >> 8) & 15) * 10 + (count & 15)


# Of the fields that follow, the code alone: an answer with nothing between it and the trace number.
coded = there(39) & ((this.first & 0x1FFFFF) == 0) & ((this.second & 0xFC000000) == 0)
FRONT = len_(this.f1) + there(2) * 2 + len_(this.f2) + len_(this.f3_10) + coded * 2 + 18
frame = Struct(
    "size" / Rebuild(Int16ub, FRONT + len_(this.rest)),
    "version" / Int8ub,
    "class" / Int8ub,
    "function" / BitStruct("zone" / BitsInteger(4), "kind" / BitsInteger(3), "answer" / Flag),
    Check(this.function.kind <= 1),
    "origin" / Int8ub,
    "first" / Int32ub,
    "second" / Int32ub,
    Check((this.first & (1 << 32 - 11)) != 0),  # by which answers are known: every message has it
    "f1" / Bytes(there(1) * 8),  # the second bitmap
    "n2" / If(there(2), Int16ub),
    "f2" / If(there(2), Bytes(digits(this.n2))),
    "f3_10" / Bytes(reduce(add, (there(number) * size for number, size in FIXED.items()))),
    "f11" / Bytes(6),
    "f39" / If(coded, Int16ub),
    "rest" / Bytes(this.size - FRONT),
)

CODES = {
    Status.NO_SERVICE: b"92",
    Status.BAD_REQUEST: b"30",
    Status.TIMEOUT: b"68",
    Status.OVERLOADED: b"96",
    Status.UNAVAILABLE: b"91",
    Status.DENIED: b"58",
    Status.INTERNAL: b"96",
}
STATUS = {int.from_bytes(code, "big"): status for status, code in CODES.items()}
STATUS |= {0: Status.OK, int.from_bytes(b"00", "big"): Status.OK}  # 0: no code, or not at once


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """The answer to that message, with the trace number and the response code alone."""
    return {
        "version": FromRequest(this.version),
        "class": FromRequest(getattr(this, "class")),
        "function": {"zone": 3, "answer": 1},
        "origin": FromRequest(this.origin),
        "f1": b"",
        "first": 1 << 32 - 11,
        "second": 1 << 64 - 39,
        "f3_10": b"",
        "rest": b"",
        "f39": int.from_bytes(CODES[status], "big"),
    }


iso8583 = Protocol(
    "iso8583",
    WireFormat(
        frame,
        id=this.f11,
        mode="pinned",
        response=this.function.answer,
        status=table(this.f39, STATUS, Status.APP_ERROR),
        service=table(getattr(this, "class") - 48, CLASSES),
        method=table(this.function.kind, FUNCTIONS),
        variants=({"function.kind": 0}, {"function.kind": 1}),
        replies=Replies(error=error),
    ),
    "ISO 8583 in ASCII with a binary bitmap",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [iso8583]
