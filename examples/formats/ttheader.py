"""TTHeader (Kitex): maps of texts behind texts and behind numbers, each there or not, in front of Thrift.

::

    0      4            6       8       12      14                  4 * words + 14
    +------+------------+-------+-------+-------+-------------------+--------+
    | size | 0x10 0x00  | flags | seqid | words | head              | Thrift |
    +------+------------+-------+-------+-------+-------------------+--------+

    head: protocol (1), number of transforms (1, none here), and then what there is of
          0x10, count (2), so many keys (2) with texts
          0x11, a text: a token
          0x01, count (2), so many texts with texts
          0x10, again, and zeros up to a multiple of four bytes. A text stands behind its size (2).

Source: pkg/remote/codec/header_codec.go and pkg/transmeta/metakey.go of github.com/cloudwego/kitex.

The service is the name under which it is discovered (number 6), the method Thrift's. An answer whose first
or second exception is there, or with a ``biz-status``, is the service's own error.

Kitex's clients have one call at a time on a connection, and so has the proxy. For clients with
``WithMuxConnection`` write ``mode: pinned`` at the listener: ids stand in the head and in Thrift, where they
stay as they are.

Limits: changes of headers are made in Python, since the number of pairs and the padding follow them. Payloads
are Thrift's strict binary, in a frame of its own (TTHeaderFramed) or not; Protobuf is refused, as are heads
with their parts in another order. Servers of Kitex's generic calls answer one-way calls: such an answer costs
its connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import (
    Bytes,
    Check,
    Const,
    GreedyBytes,
    If,
    Int8ub,
    Int16ub,
    Int32ub,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import (
    Ahead,
    ErrorText,
    FromRequest,
    Repeat,
    Replies,
    first,
    number,
    pairs,
    starts,
    table,
    text,
    thrift,
    tlv,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXTS, NUMBERED, TOKEN = 0x01, 0x10, 0x11  # what a part of the head begins with
TO_SERVICE, TIMEOUT, MESSAGE_TYPE = 6, 12, 22  # numbers of texts
SHORT = Prefixed(Int16ub, GreedyBytes)


def count(inside: Any) -> int:
    """How many pairs of texts there are: what a changed header makes of it."""
    sizes, at = 0, 0
    while at < len(inside.pairs):
        at += 2 + int.from_bytes(inside.pairs[at : at + 2], "big")
        sizes += 1
    return sizes // 2


NUMBERS = Struct(
    "mark" / Int8ub,
    "count" / Int16ub,
    "entries" / Repeat(Struct("key" / Int16ub, "value" / SHORT), count=this.count),
)
NAMES = Struct(
    "mark" / Int8ub,
    "count" / Rebuild(Int16ub, count),
    "pairs" / Repeat(Struct("key" / SHORT, "value" / SHORT), count=this.count),
)
THERE = (this.one == NUMBERED) + (this.two == TOKEN) + (this.three == TEXTS) + (this.four == NUMBERED)
INFO = len_(this.early.entries) + len_(this.token.text) + len_(this.texts.pairs) + len_(this.numbers.entries)


def used(inside: Any) -> int:
    """Bytes of the head that are no padding."""
    parts = (
        (inside.early, "entries"),
        (inside.token, "text"),
        (inside.texts, "pairs"),
        (inside.numbers, "entries"),
    )
    return 2 + sum(3 + len(part[name]) for part, name in parts if part)


WORDS = (THERE * 3 + INFO + 5) >> 2  # with the protocol and the number of transforms
PADDING = this.words * 4 - 2 - THERE * 3 - INFO
INNER = (this.inner != 0x80) * 4  # Thrift's own frame has a size in front, of less than 16 MiB

frame = Struct(
    "size" / Rebuild(Int32ub, WORDS * 4 + len_(this.name) + len_(this.body) + 22 + INNER),
    Const(b"\x10\0"),
    "flags" / Int16ub,
    "seqid" / Int32ub,
    "words" / Rebuild(Int16ub, WORDS),
    "protocol" / Int8ub,
    Const(b"\0"),
    "one" / Ahead(Int8ub),
    "early" / If(this.one == NUMBERED, NUMBERS),
    "two" / Ahead(Int8ub),
    "token" / If(this.two == TOKEN, Struct("mark" / Int8ub, "text" / SHORT)),
    "three" / Ahead(Int8ub),
    "texts" / If(this.three == TEXTS, NAMES),
    "four" / Ahead(Int8ub),
    "numbers" / If(this.four == NUMBERED, NUMBERS),
    "padding" / Rebuild(Bytes(PADDING), lambda inside: bytes(-used(inside) % 4)),
    Check(len_(this.padding) < 4),  # or something stands there that is not read
    "inner" / Ahead(Int8ub),
    "framed" / If(this.inner != 0x80, Rebuild(Int32ub, len_(this.name) + len_(this.body) + 12)),
    Const(b"\x80\x01\0"),
    "type" / Int8ub,
    "name" / Prefixed(Int32ub, GreedyBytes),
    "id" / Int32ub,
    "body" / Bytes(this.size - this.words * 4 - len_(this.name) - 22 - INNER),
)
numbers = tlv(this.numbers.entries, tag=Int16ub, length=Int16ub)
early = tlv(this.early.entries, tag=Int16ub, length=Int16ub)
texts = pairs(this.texts.pairs, key=Int16ub, value=Int16ub)
body = thrift(this.body, "binary")
failed = this.type == 3
STATUS = {0: Status.OK, 1: Status.OK, 2: Status.NO_SERVICE}


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """TApplicationException: field 1 is the text, field 2 the code; and the type of message as a text."""
    code = 1 if status == Status.NO_SERVICE else 6
    return {
        "flags": 0,
        "seqid": FromRequest(this.seqid),
        "protocol": FromRequest(this.protocol),
        "one": NUMBERED,
        "early": {"mark": NUMBERED, "count": 1, "entries": bytes([0, MESSAGE_TYPE, 0, 1]) + b"3"},
        "two": 0,
        "three": 0,
        "four": 0,
        "type": 3,
        "name": FromRequest(this.name),
        "body": ErrorText(b"\x0b\0\1", b"\x08\0\2\0\0\0" + bytes([code, 0]), count=Int32ub),
    }


ttheader = Protocol(
    "ttheader",
    WireFormat(
        frame,
        mode="pingpong",
        id=this.id,
        response=(this.type == 2) | failed,
        oneway=this.type == 4,
        status=table(
            failed + (failed & (number(body[2]) == 1)), {0: Status.OK, 2: Status.NO_SERVICE}, Status.INTERNAL
        ),
        app_error=(this.type == 2) & (starts(first(body[1], body[2], texts["biz-status"]), "")),
        service=first(numbers[TO_SERVICE], early[TO_SERVICE]),
        method=text(this.name),
        timeout=number(first(numbers[TIMEOUT], early[TIMEOUT])),
        headers=texts,
        variants=({"inner": 0x80}, {"inner": 0}),
        replies=Replies(error=error),
    ),
    "TTHeader, of Kitex",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [ttheader]
