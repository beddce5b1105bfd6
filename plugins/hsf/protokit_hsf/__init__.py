"""HSF2 for protokit: RPC (0x0E) and heartbeats (0x0C), declared, no line of C.

::

    request    0E 01 00 codec ext id timeout | service, method: lengths | n | n type lengths
    bytes      1  1  1  1     3   8  4         4        4                4   4n
               | n argument lengths | props length | service, method, types, arguments, props
                 4n                   4
    response   0E 01 01 status codec ext id | body length | body
    bytes      1  1  1  1      1     3   8    4
    heartbeat  0C type 01 ext id timeout
    bytes      1  1    1  3   8  4

HSF is not open source. All of this is reconstructed from public third-party sources and not verified
against Alibaba's; the README says for each field from which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import (
    Array,
    Bytes,
    Check,
    Error,
    Int8ub,
    Int32sb,
    Int64sb,
    Rebuild,
    Struct,
    Switch,
    len_,
    this,
)

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import Chunks, ErrorText, Replies, kept, lengths, split, table, text

if TYPE_CHECKING:
    from collections.abc import Mapping

PROTOKIT_API = ">=1,<2"

RPC, HEARTBEAT, VERSION = 0x0E, 0x0C, 1
REQUEST, RESPONSE = 0, 1
HESSIAN2 = 4
ARGUMENTS_MAX = 255  # of a Java method

request = Struct(
    "codec" / Int8ub,
    "ext" / Bytes(3),
    "id" / Int64sb,
    "timeout" / Int32sb,
    "service_len" / Rebuild(Int32sb, len_(this.service)),
    "method_len" / Rebuild(Int32sb, len_(this.method)),
    "count" / Rebuild(Int32sb, len_(this.types)),
    Check((this.count >= 0) & (this.count <= ARGUMENTS_MAX)),
    Check((this.service_len >= 0) & (this.method_len >= 0)),  # before the arrays are waited for
    "type_lens" / Rebuild(Array(this.count, Int32sb), lengths(this.types)),
    "argument_lens" / Rebuild(Array(this.count, Int32sb), lengths(this.arguments)),
    "props_len" / Rebuild(Int32sb, len_(this.props)),
    "service" / Bytes(this.service_len),
    "method" / Bytes(this.method_len),
    "types" / Chunks(this.type_lens),
    "arguments" / Chunks(this.argument_lens),
    "props" / Bytes(this.props_len),
)

response = Struct(
    "status" / Int8ub,
    "codec" / Int8ub,
    "ext" / Bytes(3),
    "id" / Int64sb,
    "body_len" / Rebuild(Int32sb, len_(this.body)),
    "body" / Bytes(this.body_len),
)

heartbeat = Struct("ext" / Bytes(3), "id" / Int64sb, "timeout" / Int32sb)

# What any other beginning is, 0x0F and other versions too, is for others to say: `fallback` of the listener.
frame = Struct(
    "first" / Int8ub,
    Check((this.first == RPC) | (this.first == HEARTBEAT)),
    "second" / Int8ub,  # RPC: the version; a heartbeat: the type
    Check(
        ((this.first == RPC) & (this.second == VERSION)) | ((this.first == HEARTBEAT) & (this.second <= 1))
    ),
    "third" / Int8ub,  # RPC: the type; a heartbeat: the version
    Check(((this.first == RPC) & (this.third <= 1)) | ((this.first == HEARTBEAT) & (this.third == VERSION))),
    "message"
    / Switch(
        this.first << 1 | (this.second & this.third),  # both are 1 in what answers
        {
            RPC << 1: request,
            RPC << 1 | 1: response,
            HEARTBEAT << 1: heartbeat,
            HEARTBEAT << 1 | 1: heartbeat,
        },
        default=Error,
    ),
)

STATUS = {
    20: Status.OK,
    30: Status.TIMEOUT,  # of the client
    31: Status.TIMEOUT,  # of the server
    40: Status.BAD_REQUEST,
    60: Status.NO_SERVICE,
    81: Status.OVERLOADED,
    82: Status.UNAVAILABLE,  # communication
    83: Status.BAD_REQUEST,  # unknown code
    88: Status.UNAVAILABLE,  # the server is closing
}
WIRE_STATUS = {
    Status.NO_SERVICE: 60,
    Status.BAD_REQUEST: 40,
    Status.TIMEOUT: 31,
    Status.OVERLOADED: 81,
    Status.UNAVAILABLE: 82,
    Status.DENIED: 70,
}
SERVER_ERROR, CLOSING = 80, 88
# No request's: a server that closes says so in an answer with this id.
NOBODY = -1

key = split(text(this.message.service), ":", 3)


def _answer(status: int, **values: Any) -> dict[str, Any]:
    message = {"status": status, "ext": b"\0\0\0"} | values
    return {"first": RPC, "second": VERSION, "third": RESPONSE, "message": message}


def _error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:  # noqa: ARG001  # there is one
    code = WIRE_STATUS.get(status, SERVER_ERROR)
    return _answer(code, codec=kept(this.message.codec), body=ErrorText())


def _closing(variant: Mapping[str, int]) -> dict[str, Any]:  # noqa: ARG001
    return _answer(CLOSING, codec=HESSIAN2, id=NOBODY, body=b"\0")


def _heartbeat(kind: int, timeout: int) -> dict[str, Any]:
    message = {"ext": b"\0\0\0", "timeout": timeout}
    return {"first": HEARTBEAT, "second": kind, "third": VERSION, "message": message}


_answers = (this.second & this.third) == RESPONSE

hsf = Protocol(
    "hsf",
    WireFormat(
        frame,
        id=this.message.id,
        response=_answers,
        heartbeat=this.first == HEARTBEAT,
        drain=(this.first == RPC) & _answers & (this.message.status == CLOSING) & (this.message.id == NOBODY),
        timeout=this.message.timeout,
        status=table(this.message.status, STATUS, Status.INTERNAL),
        service=key[0],
        version=key[1],
        group=key[2],
        method=text(this.message.method),
        keep=(this.message.codec,),
        reserved_ids=(NOBODY % 2**64,),
        replies=Replies(
            error=_error,
            heartbeat=lambda variant: _heartbeat(REQUEST, 3000),  # noqa: ARG005
            ack=lambda variant: _heartbeat(RESPONSE, 0),  # noqa: ARG005
            drain=_closing,
        ),
    ),
    "HSF2, reconstructed from public third-party sources",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """The one protocol of this package."""
    return [hsf]
