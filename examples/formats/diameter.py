"""Diameter: bits, lengths of three bytes, padded attributes; each peer has a connection of its own.

::

    0         1        4       5         8             12           16           20
    +---------+--------+-------+---------+-------------+------------+------------+------+
    | version | length | flags | command | application | hop by hop | end to end | AVPs |
    +---------+--------+-------+---------+-------------+------------+------------+------+

    AVP: code (4), flags (1), length (3, with its head, without padding), data, zeros up to a multiple of 4

Source: RFC 6733; the names of applications and commands are those of the registry it began.

The service is the application, the method the command. The capabilities exchange, watchdogs and the end go
from end to end like any request: what peers agree on is about the two of them, so that clients do not share
connections.

Limits: an answer's status is its Result-Code, which has to be its first AVP or behind Session-Id, as the
grammar of most answers has it; an Experimental-Result is OK. An error says why by its code alone, since a
text would need padding; attributes cannot be read or written as headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    BytesInteger,
    Const,
    Flag,
    If,
    IfThenElse,
    Int32ub,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import FromRequest, Replies, decimal, first, table

if TYPE_CHECKING:
    from collections.abc import Mapping

SESSION_ID, RESULT_CODE, ORIGIN_HOST, ORIGIN_REALM = 263, 268, 264, 296
APPLICATIONS = {0: "base", 1: "nasreq", 3: "accounting", 4: "credit-control", 16777238: "gx", 16777251: "s6a"}
COMMANDS = {
    257: "Capabilities-Exchange",
    258: "Re-Auth",
    265: "AA",
    271: "Accounting",
    272: "Credit-Control",
    274: "Abort-Session",
    275: "Session-Termination",
    280: "Device-Watchdog",
    282: "Disconnect-Peer",
}

session = this.code == SESSION_ID
front = (this.code == RESULT_CODE) & ~this.flags.request
behind = (this.next == RESULT_CODE) & ~this.flags.request
parts = session * 8 + front * 4 + behind * 4  # bytes of what is there or not, but for the session's id
frame = Struct(
    Const(b"\x01"),
    "length" / Rebuild(BytesInteger(3), len_(this.session) + len_(this.avps) + 28 + parts),
    "flags"
    / BitStruct(
        "request" / Flag,
        "proxiable" / Flag,
        "error" / Flag,
        "retransmitted" / Flag,
        "reserved" / BitsInteger(4),
    ),
    "command" / BytesInteger(3),
    "application" / Int32ub,
    "hop_by_hop" / Int32ub,
    "end_to_end" / Int32ub,
    "code" / Int32ub,  # of the first AVP: no message is without one
    "head" / Int32ub,
    "session" / If(session, Bytes(((this.head + 3) & 0xFFFFFC) - 8)),
    "next" / If(session, Int32ub),
    "next_head" / If(session, Int32ub),
    "result" / If(front | behind, Int32ub),
    "avps"
    / IfThenElse(
        session,
        Bytes(this.length - parts - 20 - ((this.head + 3) & 0xFFFFFC)),
        Bytes(this.length - parts - 28),
    ),
)

CODES = {
    Status.NO_SERVICE: 3003,  # realm not served
    Status.BAD_REQUEST: 3009,  # invalid bits of an AVP
    Status.TIMEOUT: 3002,  # unable to deliver
    Status.OVERLOADED: 3004,  # too busy
    Status.UNAVAILABLE: 3002,
    Status.DENIED: 5003,  # authorization rejected
    Status.INTERNAL: 5012,  # unable to comply
}
STATUS = {
    0: Status.OK,
    1001: Status.OK,
    2001: Status.OK,
    2002: Status.OK,
    3001: Status.NO_SERVICE,
    3002: Status.UNAVAILABLE,
    3003: Status.NO_SERVICE,
    3004: Status.OVERLOADED,
    3007: Status.NO_SERVICE,
    3008: Status.BAD_REQUEST,
    3009: Status.BAD_REQUEST,
    5003: Status.DENIED,
    5012: Status.INTERNAL,
}


def avp(code: int, data: bytes) -> bytes:
    """A mandatory attribute."""
    return (
        code.to_bytes(4, "big") + b"\x40" + (8 + len(data)).to_bytes(3, "big") + data + bytes(-len(data) % 4)
    )


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """An answer with the E bit, a Result-Code and who says it; proxiable where its request is."""
    return {
        "flags": {"request": 0, "error": 1, "retransmitted": 0, "reserved": 0},
        "command": FromRequest(this.command),
        "application": FromRequest(this.application),
        "end_to_end": FromRequest(this.end_to_end),
        "code": RESULT_CODE,
        "head": 0x4000000C,
        "result": CODES[status],
        "avps": avp(ORIGIN_HOST, b"protokit") + avp(ORIGIN_REALM, b"protokit"),
    }


diameter = Protocol(
    "diameter",
    WireFormat(
        frame,
        id=this.hop_by_hop,
        mode="pinned",
        response=~this.flags.request,
        status=table(this.result, STATUS, Status.APP_ERROR),
        service=first(table(this.application, APPLICATIONS), decimal(this.application)),
        method=first(table(this.command, COMMANDS), decimal(this.command)),
        variants=({"flags.proxiable": 0}, {"flags.proxiable": 1}),
        replies=Replies(error=error),
    ),
    "Diameter",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [diameter]
