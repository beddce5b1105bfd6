"""sofa-pbrpc: the id, the method and the status stand in a protobuf message.

::

    0      4           8           16             24        24+meta size
    +------+-----------+-----------+--------------+---------+------+
    | SOFA | meta size | data size | message size | RpcMeta | data |    little-endian; message size is both
    +------+-----------+-----------+--------------+---------+------+

Source: ``rpc_message_header.h``, ``rpc_meta.proto`` and ``rpc_error_code.h`` of baidu/sofa-pbrpc. RpcMeta has
1 type (1: response), 2 sequence id, 100 method, 101 server timeout (ms), 200 failed, 201 code, 202 reason.

Limits: the method is a text such as ``demo.EchoService.Echo``, all of which is the service here: a route for
``demo.EchoService.*`` is one for the service. brpc-java has error codes of its own: all but 0 that are not in
the table are INTERNAL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import Bytes, Check, Const, Int32ul, Rebuild, Struct, len_, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import ErrorText, Replies, UVar, byte_id, number, protobuf, table

if TYPE_CHECKING:
    from collections.abc import Mapping

HIGH = Const(bytes(4))  # the upper half of an integer of 8 bytes
frame = Struct(
    Const(b"SOFA"),
    "meta_size" / Rebuild(Int32ul, len_(this.meta)),
    "data_size" / Rebuild(Int32ul, len_(this.data)),
    HIGH,
    "message_size" / Rebuild(Int32ul, len_(this.meta) + len_(this.data)),
    HIGH,
    "meta" / Bytes(this.meta_size),
    Check(this.meta_size + this.data_size == this.message_size),
    "data" / Bytes(this.message_size - this.meta_size),
)
meta = protobuf(this.meta)

CODES = {
    Status.BAD_REQUEST: 6,
    Status.NO_SERVICE: 7,
    Status.TIMEOUT: 11,
    Status.UNAVAILABLE: 13,
    Status.OVERLOADED: 22,
}
UNKNOWN = 127  # 999 in the library; of one byte here


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """Type 1, failed, the code, the reason behind its length; the engine adds the sequence id."""
    code = bytes([CODES.get(status, UNKNOWN)])
    before = b"\x08\1" + b"\xc0\x0c\1" + b"\xc8\x0c" + code + b"\xd2\x0c"
    return {"meta": [ErrorText(before, count=UVar(2))], "data": b""}


sofa_pbrpc = Protocol(
    "sofa-pbrpc",
    WireFormat(
        frame,
        id=byte_id(meta[2]),
        response=number(meta[1]) == 1,
        status=table(
            number(meta[201]),
            {0: Status.OK, 8: Status.NO_SERVICE, **{code: status for status, code in CODES.items()}},
            Status.INTERNAL,
        ),
        service=meta[100],
        timeout=number(meta[101]),
        replies=Replies(error=error),
    ),
    "sofa-pbrpc",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [sofa_pbrpc]
