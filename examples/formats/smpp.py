"""SMPP 3.4: clients bind in one of three forms, and are answered in that; servers send messages, too.

::

    0        4          5         8        12         16
    +--------+----------+---------+--------+----------+------+
    | length | response | command | status | sequence | body |    length: of it all; response: 80 in an answer
    +--------+----------+---------+--------+----------+------+

Source: SMPP Protocol Specification v3.4, sections 3.2 and 5.1.

Servers send their clients messages (deliver_sm), so each client has a connection of its own (``pinned``). The
proxy takes whatever a client binds with, and binds with NAME and PASSWORD itself. Its answers to unbind and
enquire_link are its own. An error has a status and no text; a status that is not in the table is the
service's own error.

Limits: what stands in a body (addresses, the message) is not read: routes go by command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import Bytes, BytesInteger, Check, Int8ub, Int32ub, Rebuild, Struct, len_, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import FromPeer, FromRequest, Greeting, Replies, table

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME, PASSWORD = b"protokit", b"secret"

frame = Struct(
    "length" / Rebuild(Int32ub, len_(this.body) + 16),
    "response" / Int8ub,
    Check((this.response == 0) | (this.response == 0x80)),
    "command" / BytesInteger(3),
    Check(this.command <= 0x103),
    "status" / Int32ub,
    "sequence" / Int32ub,
    "body" / Bytes(this.length - 16),
)
COMMANDS = {3: "query_sm", 4: "submit_sm", 5: "deliver_sm", 7: "replace_sm", 8: "cancel_sm"}
COMMANDS |= {0x21: "submit_multi", 0x103: "data_sm"}
BINDS = (this.command == 1) | (this.command == 2) | (this.command == 9)  # receiver, transmitter, transceiver
CODES = {
    Status.BAD_REQUEST: 0x02,
    Status.NO_SERVICE: 0x03,
    Status.OVERLOADED: 0x58,
    Status.DENIED: 0x0F,
}
SYSTEM_ERROR = 0x08


def bind(variant: Mapping[str, int]) -> dict[str, Any]:
    """bind_transceiver: name, password, system type, version 3.4, and no addresses."""
    body = NAME + b"\0" + PASSWORD + b"\0" + b"\0" + b"\x34\0\0\0"
    return {"response": 0, "command": 9, "status": 0, "sequence": 1, "body": body}


def bound(variant: Mapping[str, int]) -> dict[str, Any]:
    """The answer to each form of bind: the same command."""
    return {
        "response": 0x80,
        "command": FromPeer(this.command),
        "status": 0,
        "sequence": FromPeer(this.sequence),
        "body": NAME + b"\0",
    }


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """Of the request's command, with a status and nothing else."""
    code = CODES.get(status, SYSTEM_ERROR)
    return {"response": 0x80, "command": FromRequest(this.command), "status": code, "body": b""}


def enquire(variant: Mapping[str, int]) -> dict[str, Any]:
    """enquire_link."""
    return {"response": 0, "command": 0x15, "status": 0, "body": b""}


def alive(variant: Mapping[str, int]) -> dict[str, Any]:
    """The answer to enquire_link, or to unbind."""
    return {"response": 0x80, "command": FromRequest(this.command), "status": 0, "body": b""}


smpp = Protocol(
    "smpp",
    WireFormat(
        frame,
        id=this.sequence,
        mode="pinned",
        response=this.response == 0x80,
        oneway=this.command == 0x102,
        heartbeat=(this.command == 0x15) | (this.command == 6),
        status=table(
            this.status,
            {0: Status.OK, 0x14: Status.OVERLOADED, SYSTEM_ERROR: Status.INTERNAL}
            | {code: status for status, code in CODES.items()},
            Status.APP_ERROR,
        ),
        service=table(this.command, COMMANDS, "other"),
        greeting=Greeting(when=BINDS, steps=(("client", bind), ("server", bound)), refused=this.status != 0),
        replies=Replies(error=error, heartbeat=enquire, ack=alive),
    ),
    "SMPP 3.4",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [smpp]
