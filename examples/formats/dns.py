r"""DNS over TCP: a name up to its zero byte, bits, and an error that repeats the question.

::

    0      2    4       6      14     14+n
    +------+----+-------+--------+------+------+-------+------+
    | size | id | flags | counts | name | type | class | rest |
    +------+----+-------+--------+------+------+-------+------+

Source: RFC 1035 and, for requests that overtake each other on a connection, RFC 7766.

The service is the question's name as it stands there (each label behind its length: ``\x07example\x03com``,
in YAML ``"\x07example\x03com"``), the method its type. Names that end alike begin with what differs: a
route for a zone has to name each host.

Limits: one question, as everybody asks (others are refused); transfers of zones, whose answers are several
messages, need ``mode="pinned"``. A label that holds a zero byte is not read right. An error has no text but
its code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import BitsInteger, BitStruct, Bytes, Check, Flag, Int16ub, Rebuild, Struct, len_, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import FromRequest, Replies, Until, decimal, first, table

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPES = {
    1: "A",
    2: "NS",
    5: "CNAME",
    6: "SOA",
    12: "PTR",
    15: "MX",
    16: "TXT",
    28: "AAAA",
    33: "SRV",
    255: "ANY",
}
frame = Struct(
    "size" / Rebuild(Int16ub, len_(this.name) + len_(this.rest) + 17),
    "id" / Int16ub,
    "flags"
    / BitStruct(
        "response" / Flag,
        "opcode" / BitsInteger(4),
        "authoritative" / Flag,
        "truncated" / Flag,
        "recursion_desired" / Flag,
        "recursion_available" / Flag,
        "reserved" / BitsInteger(3),
        "code" / BitsInteger(4),
    ),
    "questions" / Int16ub,
    Check(this.questions == 1),
    "answers" / Int16ub,
    "authorities" / Int16ub,
    "additional" / Int16ub,
    "name" / Until(b"\0", max=254),
    "type" / Int16ub,
    "class" / Int16ub,
    "rest" / Bytes(this.size - len_(this.name) - 17),
)

CODES = {Status.BAD_REQUEST: 1, Status.NO_SERVICE: 5, Status.DENIED: 5}  # FORMERR, REFUSED; else SERVFAIL
STATUS = {0: Status.OK, 1: Status.BAD_REQUEST, 3: Status.APP_ERROR, 4: Status.NO_SERVICE, 5: Status.DENIED}


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """The question again, and the code."""
    flags = {"response": 1, "authoritative": 0, "truncated": 0, "recursion_available": 0, "reserved": 0}
    return {
        "flags": flags | {"code": CODES.get(status, 2)},
        "questions": 1,
        "answers": 0,
        "authorities": 0,
        "additional": 0,
        "name": FromRequest(this.name, max=250),
        "type": FromRequest(this.type),
        "class": FromRequest(getattr(this, "class")),
        "rest": b"",
    }


dns = Protocol(
    "dns",
    WireFormat(
        frame,
        id=this.id,
        response=this.flags.response,
        status=table(this.flags.code, STATUS, Status.INTERNAL),
        service=this.name,
        method=first(table(this.type, TYPES), decimal(this.type)),
        variants=[{"flags.opcode": 0, "flags.recursion_desired": wanted} for wanted in (0, 1)],
        replies=Replies(error=error),
    ),
    "DNS over TCP",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [dns]
