"""nshead: a head without names of methods or errors; one request at a time.

::

    0    2         4        8          24           28         32          36
    +----+---------+--------+----------+------------+----------+-----------+------+
    | id | version | log id | provider | 94 93 70 fb | reserved | body size | body |    little-endian
    +----+---------+--------+----------+------------+----------+-----------+------+

Source: ``src/brpc/nshead.h`` of apache/brpc, whose nshead_service.md says that one connection has one
request at a time.

What a body is, and which method it asks for, is every service's own affair: the provider (16 bytes,
filled with zeros) is the service here, the id the method. A head has no place for an error: the
connection of a client whose request cannot be answered is closed. The log id is for logs, and no client
looks for it in the answer.
"""

from __future__ import annotations

from construct import Bytes, Const, Int16ul, Int32ul, Rebuild, Struct, len_, this

from protokit import Protocol, WireFormat, hookimpl
from protokit.wire import Replies, decimal, side, split

frame = Struct(
    "id" / Int16ul,
    "version" / Int16ul,
    "log_id" / Int32ul,
    "provider" / Bytes(16),
    Const(0xFB709394, Int32ul),
    "reserved" / Int32ul,
    "body_size" / Rebuild(Int32ul, len_(this.body)),
    "body" / Bytes(this.body_size),
)

nshead = Protocol(
    "nshead",
    WireFormat(
        frame,
        mode="pingpong",
        response=side == "server",
        service=split(this.provider, "\0", 2)[0],
        method=decimal(this.id),
        version=decimal(this.version),
        replies=Replies(error=None),
    ),
    "nshead, of any body",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [nshead]
