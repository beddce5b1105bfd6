"""MongoDB: an answer says in another field whose it is; a document's first elements are the layout.

::

    0      4    8         12     16      20     21
    +------+----+---------+------+-------+------+----------+------+------+-------+-----+
    | size | id | answers | 2013 | flags | 0    | size     | type | name | value | ... |    little-endian
    +------+----+---------+------+-------+------+----------+------+------+-------+-----+
                                          section: a BSON document

A request has its own id first, and 0; an answer its own, and the id of its request. The first element of a
request names the command, the method, and mostly the collection, the service; else that is ``admin``. The
OP_QUERY with which drivers begin is ``admin`` and ``handshake``.

Source: the MongoDB wire protocol (OP_MSG) and the BSON specification, 1.1. A server answers one request of a
connection after the other, and keeps who logged in with it: where clients do, the listener has
``mode: pinned``.

Limits: documents are not read beyond their first elements: an error that says ``ok: 0`` elsewhere counts as
OK. OP_COMPRESSED is not spoken (drivers do so only if a server offers it). Checksums (CRC-32C) go through
unread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import (
    Bytes,
    Check,
    Const,
    If,
    Int8ub,
    Int32sl,
    Int32ul,
    Int64ul,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import ErrorText, Replies, Until, first, side, table

if TYPE_CHECKING:
    from collections.abc import Mapping

MESSAGE = 2013  # opcode
DOUBLE, TEXT, INTEGER = 1, 2, 16  # types of elements

IS_MESSAGE = this.opcode == MESSAGE
NAMES = this.type == TEXT  # what is absent counts as 0
TELLS = this.type == DOUBLE
FAILED = TELLS & (this.ok == 0)  # ok: 0.0, and in this order
REASON = this.second == TEXT
CODED = this.third == INTEGER
NAMED = len_(this.name) + len_(this.text) + len_(this.errmsg) + len_(this.reason) + len_(this.code_name)
ELEMENTS = NAMED + IS_MESSAGE * 2 + NAMES * 5 + TELLS * 8 + FAILED + REASON * 7 + CODED * 5
HEAD = 16 + IS_MESSAGE * 5
ANSWERS = (side == "server") | (this.answers != 0)  # a client may have begun with the id 0

frame = Struct(
    "size" / Rebuild(Int32ul, HEAD + IS_MESSAGE * 4 + ELEMENTS + len_(this.elements) + len_(this.rest)),
    "id" / Int32ul,
    "answers" / Int32ul,  # the id of the request
    "opcode" / Int32ul,
    "flags" / If(IS_MESSAGE, Int32ul),
    "section" / If(IS_MESSAGE, Int8ub),
    Check(this.section == 0),
    "document" / If(IS_MESSAGE, Rebuild(Int32ul, ELEMENTS + 4 + len_(this.elements))),
    "type" / If(IS_MESSAGE, Int8ub),
    "name" / If(IS_MESSAGE, Until(b"\0", max=128)),
    "text_size" / If(NAMES, Rebuild(Int32ul, len_(this.text) + 1)),
    "text" / If(NAMES, Bytes(this.text_size - 1)),
    "text_end" / If(NAMES, Const(b"\0")),
    "ok" / If(TELLS, Int64ul),
    "second" / If(FAILED, Int8ub),
    "errmsg" / If(REASON, Until(b"\0", max=128)),
    "reason_size" / If(REASON, Rebuild(Int32ul, len_(this.reason) + 1)),
    "reason" / If(REASON, Bytes(this.reason_size - 1)),
    "reason_end" / If(REASON, Const(b"\0")),
    "third" / If(REASON, Int8ub),
    "code_name" / If(CODED, Until(b"\0", max=128)),
    "code" / If(CODED, Int32sl),
    "elements" / If(IS_MESSAGE, Bytes(this.document - (ELEMENTS + 4))),
    "rest" / Bytes(this.size - this.document - HEAD),
)

CODES = {
    Status.INTERNAL: (1, b"InternalError"),
    Status.BAD_REQUEST: (2, b"BadValue"),
    Status.UNAVAILABLE: (6, b"HostUnreachable"),
    Status.DENIED: (13, b"Unauthorized"),
    Status.TIMEOUT: (50, b"MaxTimeMSExpired"),
    Status.NO_SERVICE: (59, b"CommandNotFound"),
    Status.OVERLOADED: (365, b"TemporarilyUnavailable"),
}


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """``{ok: 0.0, errmsg: text, code: ..., codeName: ...}``."""
    code, name = CODES[status]
    return {
        "id": 0,
        "opcode": MESSAGE,
        "flags": 0,
        "section": 0,
        "type": DOUBLE,
        "name": b"ok",
        "ok": 0,
        "second": TEXT,
        "errmsg": b"errmsg",
        "reason": ErrorText(),
        "third": INTEGER,
        "code_name": b"code",
        "code": code,
        "elements": b"\x02codeName\0" + (len(name) + 1).to_bytes(4, "little") + name + b"\0\0",
        "rest": b"",
    }


mongodb = Protocol(
    "mongodb",
    WireFormat(
        frame,
        mode="pingpong",
        id=this.id,
        answer_id=this.answers,
        reserved_ids=(0,),
        response=ANSWERS,
        oneway=this.flags & 2 != 0,  # moreToCome
        more=ANSWERS & (this.flags & 2 != 0),
        status=table(
            FAILED + 2 * this.code,
            {0: Status.OK, **{2 * code + 1: status for status, (code, _) in CODES.items()}},
            Status.APP_ERROR,
        ),
        service=first(this.text, "admin"),
        method=first(this.name, "handshake"),
        replies=Replies(error=error),
    ),
    "mongodb",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [mongodb]
