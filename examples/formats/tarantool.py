"""Tarantool: a header in MessagePack with the id in it; its server greets, and clients log in there.

::

    0    1      5                                                    5+size
    +----+------+------------------------------+-----------------------+
    | ce | size | {0: code, 1: id, 5: schema}  | {key: value, ...}     |    big-endian, MessagePack
    +----+------+------------------------------+-----------------------+

Source: "Binary protocol" of Tarantool's documentation (2.6). The service is the kind of request, the method
the function that is called, or the number of the space.

A server says 128 bytes of text first, with a salt for the client's password: they go through, and each client
has a connection of its own (``pinned``). Answers come in any order, with the id as the server writes it: nine
bytes where clients take one. What a function raises (ER_PROC_LUA) is the service's own error.

Limits: the size has five bytes, as servers and most clients write it; the driver ``tarantool`` of PyPI writes
the shortest integer of MessagePack. All of a client's requests go to one cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from construct import Bytes, Check, Const, IfThenElse, Int8ub, Int16ub, Int32ub, Rebuild, Struct, len_, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import (
    Ahead,
    ErrorText,
    Greeting,
    Measured,
    Replies,
    byte_id,
    first,
    msgpack,
    msgpack_value,
    number,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

HELLO, PACKET = 0x54, 0xCE  # a T, and the tag of an integer of four bytes
frame = Struct(
    "tag" / Ahead(Int8ub),
    Check((this.tag == HELLO) | (this.tag == PACKET)),
    "frame"
    / IfThenElse(
        this.tag == HELLO,
        Struct(Const(b"Tarantool "), "text" / Bytes(118)),
        Struct(
            Const(b"\xce"),
            "size" / Rebuild(Int32ub, len_(this.header) + len_(this.body)),
            "header" / Measured(msgpack_value),
            "body" / Bytes(this.size - len_(this.header)),
        ),
    ),
)
header, body = msgpack(this.frame.header), msgpack(this.frame.body)
code = number(header[0])

KINDS = {1: "select", 2: "insert", 3: "replace", 4: "update", 5: "delete", 6: "call", 7: "auth", 8: "eval"}
KINDS |= {9: "upsert", 10: "call", 64: "ping"}
CHUNK, ERROR = 0x80, 0x8000  # an answer that others follow, and what is added to an error's number
LUA, NO_SUCH_PROC, ACCESS_DENIED, TIMEOUT, LOADING = 32, 33, 42, 78, 116
CODES = {Status.NO_SERVICE: NO_SUCH_PROC, Status.DENIED: ACCESS_DENIED, Status.TIMEOUT: TIMEOUT}


def error(status: Status, variant: Mapping[str, int]) -> dict[str, object]:
    """The text is value 31 of the body, a text with a count of two bytes."""
    number = ERROR + CODES.get(status, LOADING)
    return {
        "tag": PACKET,
        "frame": {
            "header": b"\x82\0\xcd" + number.to_bytes(2, "big") + b"\1\0",
            "body": ErrorText(b"\x81\x31\xda", count=Int16ub),
        },
    }


tarantool = Protocol(
    "tarantool",
    WireFormat(
        frame,
        id=byte_id(header[1], max=9),
        mode="pinned",
        response=(code == 0) | (code >= CHUNK),
        more=code == CHUNK,
        status=table(
            code,
            {0: Status.OK, CHUNK: Status.OK, ERROR + LUA: Status.OK}
            | {ERROR + number: status for status, number in CODES.items()}
            | {ERROR + LOADING: Status.UNAVAILABLE},
            Status.INTERNAL,
        ),
        app_error=code == ERROR + LUA,
        service=table(code, KINDS),
        method=first(body[0x22], body[0x10]),
        greeting=Greeting(when=this.tag == HELLO, relayed=True, first="server"),
        replies=Replies(error=error),
    ),
    "Tarantool's IPROTO",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [tarantool]
