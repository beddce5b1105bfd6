"""CQL's native protocol v4 (Cassandra): a client starts and is told that it may; its server sends events.

::

    0         1       2        4        5      9
    +---------+-------+--------+--------+------+------+
    | version | flags | stream | opcode | size | body |    version: 04, 84 from a server; size: of the body
    +---------+-------+--------+--------+------+------+

Source: ``native_protocol_v4.spec`` of Apache Cassandra, sections 2, 4 and 9.

A service is an opcode (QUERY, PREPARE, EXECUTE, BATCH, REGISTER), a method a statement's first word.
Keyspaces (USE) and events belong to a connection: each client has its own (``pinned``). Clients say OPTIONS
before they start, and to hear whether somebody is there: the proxy answers that by itself.

Limits: servers that ask for a password (AUTHENTICATE) refuse the proxy. SUPPORTED offers no compression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import Bytes, Check, If, Int8ub, Int16ub, Int32ub, Rebuild, Struct, len_, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import ErrorText, FromPeer, Greeting, Replies, split, table

if TYPE_CHECKING:
    from collections.abc import Mapping

ERROR, STARTUP, READY, OPTIONS, SUPPORTED, QUERY, PREPARE, EVENT = 0, 1, 2, 5, 6, 7, 9, 12
asks = this.version == 4
failed = (this.version == 0x84) & (this.opcode == ERROR)
states = asks & ((this.opcode == QUERY) | (this.opcode == PREPARE))

frame = Struct(
    "version" / Int8ub,
    Check((this.version == 4) | (this.version == 0x84)),
    "flags" / Int8ub,
    "stream" / Int16ub,
    "opcode" / Int8ub,
    Check(this.opcode <= 16),
    "size" / Rebuild(Int32ub, failed * 4 + states * 4 + len_(this.statement) + len_(this.rest)),
    "code" / If(failed, Int32ub),
    "length" / If(states, Rebuild(Int32ub, len_(this.statement))),
    "statement" / If(states, Bytes(this.length)),
    "rest" / Bytes(this.size - failed * 4 - states * 4 - this.length),
)

OPCODES = {7: "QUERY", 9: "PREPARE", 10: "EXECUTE", 11: "REGISTER", 13: "BATCH"}
CODES = {
    Status.BAD_REQUEST: 0x000A,  # protocol error
    Status.OVERLOADED: 0x1001,
    Status.DENIED: 0x2100,  # unauthorized
}
SERVER_ERROR = 0x0000
CODE = 0x10000  # what is told apart is the code of an error; 0 is none


def says(version: int, opcode: int, **more: Any) -> dict[str, Any]:
    """A frame without a body."""
    return {"version": version, "flags": 0, "opcode": opcode, "rest": b"", **more}


def start(variant: Mapping[str, int]) -> dict[str, Any]:
    """STARTUP: a map of strings, with the one that has to be there."""
    return says(4, STARTUP, stream=0, rest=b"\0\1\0\x0bCQL_VERSION\0\x053.0.0")


def ready(variant: Mapping[str, int]) -> dict[str, Any]:
    """READY, on the stream of STARTUP."""
    return says(0x84, READY, stream=FromPeer(this.stream))


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """ERROR: a code, and a text behind its length."""
    return says(0x84, ERROR, code=CODES.get(status, SERVER_ERROR), rest=ErrorText(count=Int16ub))


def options(variant: Mapping[str, int]) -> dict[str, Any]:
    """OPTIONS."""
    return says(4, OPTIONS)


def supported(variant: Mapping[str, int]) -> dict[str, Any]:
    """SUPPORTED: one version, and no compression."""
    return says(0x84, SUPPORTED, rest=b"\0\2\0\x0bCQL_VERSION\0\1\0\x053.0.0\0\x0bCOMPRESSION\0\0")


native_cql = Protocol(
    "native-cql",
    WireFormat(
        frame,
        id=this.stream,
        mode="pinned",
        response=(this.version == 0x84) & (this.opcode != EVENT),
        oneway=this.opcode == EVENT,
        heartbeat=(this.opcode == OPTIONS) | (this.opcode == SUPPORTED),
        status=table(
            failed * CODE + this.code,
            {0: Status.OK, CODE + SERVER_ERROR: Status.INTERNAL, CODE + 0x1002: Status.UNAVAILABLE}
            | {CODE + code: status for status, code in CODES.items()},
            Status.APP_ERROR,
        ),
        service=table(this.opcode, OPCODES, "other"),
        method=split(this.statement, " ", 2)[0],
        greeting=Greeting(when=asks & (this.opcode == STARTUP), steps=(("client", start), ("server", ready))),
        replies=Replies(error=error, heartbeat=options, ack=supported),
    ),
    "CQL's native protocol, v4",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [native_cql]
