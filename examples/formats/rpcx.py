"""rpcx: bits in front with the id, texts behind lengths, a map; an error is a text of the map.

::

    0       1         2       3               4    12     16        4 bytes each in front of their texts
    +-------+---------+-------+---------------+----+------+---------+--------+----------+---------+
    | magic | version | flags | serialization | id | size | service | method | metadata | payload |
    +-------+---------+-------+---------------+----+------+---------+--------+----------+---------+

Source: protocol/message.go of github.com/smallnest/rpcx.

An error of a service and one of the framework are the same kind of frame, and its text tells them apart: the
server's own begin with ``rpcx: can't find``, the proxy's with ``protokit: ``.

Limits: what a server pushes to its clients (its bidirectional mode) takes ``mode="pinned"``. Pools of clients
(XClient) say in the metadata how long they wait, plain ones nowhere. Payloads may be compressed; nothing here
looks into them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import (
    BitsInteger,
    BitStruct,
    Check,
    Const,
    Flag,
    GreedyBytes,
    Int8ub,
    Int32ub,
    Int64ub,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import ErrorText, FromRequest, Replies, number, pairs, starts, table

if TYPE_CHECKING:
    from collections.abc import Mapping

TOTAL = len_(this.service) + len_(this.method) + len_(this.metadata) + len_(this.payload) + 16
frame = Struct(
    Const(b"\x08"),
    "version" / Int8ub,
    "flags"
    / BitStruct(
        "response" / Flag,
        "heartbeat" / Flag,
        "oneway" / Flag,
        "compression" / BitsInteger(3),
        "status" / BitsInteger(2),
    ),
    "serialization" / Int8ub,
    "id" / Int64ub,
    "size" / Rebuild(Int32ub, TOTAL),
    "service" / Prefixed(Int32ub, GreedyBytes),
    "method" / Prefixed(Int32ub, GreedyBytes),
    "metadata" / Prefixed(Int32ub, GreedyBytes),
    "payload" / Prefixed(Int32ub, GreedyBytes),
    Check(this.size == TOTAL),
)
metadata = pairs(this.metadata, key=Int32ub, value=Int32ub)
ERROR = b"__rpcx_error__"
text = metadata[ERROR.decode()]
bad = this.flags.status == 1
failed = bad + (bad & starts(text, "rpcx: can't find ")) + 2 * (bad & starts(text, "protokit: "))
STATUS = {0: Status.OK, 1: Status.OK, 2: Status.NO_SERVICE}


def reply(kind: int, **values: Any) -> dict[str, Any]:
    """A frame about nothing: by its bits, 0x80 an answer, 0x40 a heartbeat, 1 an error."""
    flags = {
        "response": kind >> 7,
        "heartbeat": kind >> 6 & 1,
        "oneway": 0,
        "compression": 0,
        "status": kind & 3,
    }
    nothing = {
        "version": 0,
        "serialization": 0,
        "service": b"",
        "method": b"",
        "metadata": b"",
        "payload": b"",
    }
    return nothing | {"flags": flags} | values


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """An answer with a status of 1 and its text in the metadata."""
    return reply(
        0x81,
        serialization=FromRequest(this.serialization),
        service=FromRequest(this.service, max=100),
        method=FromRequest(this.method, max=100),
        metadata=ErrorText(len(ERROR).to_bytes(4, "big") + ERROR, count=Int32ub),
    )


def ack(_: Mapping[str, int]) -> dict[str, Any]:
    """The heartbeat itself, as an answer: clients look for the time that they sent."""
    return reply(
        0xC0, serialization=FromRequest(this.serialization), payload=FromRequest(this.payload, max=32)
    )


rpcx = Protocol(
    "rpcx",
    WireFormat(
        frame,
        id=this.id,
        response=this.flags.response,
        oneway=this.flags.oneway,
        heartbeat=this.flags.heartbeat,
        status=table(failed, STATUS, Status.INTERNAL),
        app_error=failed == 1,
        service=this.service,
        method=this.method,
        timeout=number(metadata["__ServerTimeout"]),
        headers=metadata,
        replies=Replies(error=error, heartbeat=lambda _: reply(0x40), ack=ack),
    ),
    "rpcx",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [rpcx]
