"""SOFARPC's bolt for protokit, v1 and v2: declared, no line of C; TR is in ``tr.py``.

::

    v1 request   proto type cmdcode ver2 id codec timeout classLen headerLen contentLen | class headers ...
    bytes        1     1    2       1    4  1     4       2        2         4
    v2 request   proto ver1 type cmdcode ver2 id codec switch timeout ...               | ... | crc32
    bytes        1     1    1    2       1    4  1     1      4                                 4
    a response has status (2 bytes) in the place of timeout (4)

Facts: SOFABolt 1.6 and SOFARPC 5.14, as seen on the wire, and their source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import (
    Bytes,
    Check,
    If,
    Int8ub,
    Int16sb,
    Int16ub,
    Int32sb,
    Int32ub,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.errors import LocalProtocolError
from protokit.wire import Replies, crc32, first, hessian_fields, pairs, split, table
from protokit_sofarpc.errors import exception

if TYPE_CHECKING:
    from collections.abc import Mapping

PROTOKIT_API = ">=1,<2"

# Only with ver1 = 2 and bit 0 of the switch, frame by frame: Java sets the bit in ver1 = 1 frames too.
is_summed = (this.proto == 2) & (this.ver1 == 2) & ((this.switch & 1) == 1)
# A result that nothing is summed up over is read by nobody: a large one is passed on as it comes.
is_passed = (this.type == 0) & ~is_summed

frame = Struct(
    "proto" / Int8ub,
    Check((this.proto == 1) | (this.proto == 2)),
    "ver1" / If(this.proto == 2, Int8ub),
    "type" / Int8ub,
    Check(this.type <= 2),
    "cmdcode" / Int16ub,
    "ver2" / Int8ub,
    "id" / Int32ub,
    "codec" / Int8ub,
    "switch" / If(this.proto == 2, Int8ub),
    "timeout" / If(this.type != 0, Int32sb),
    "status" / If(this.type == 0, Int16ub),
    "class_len" / Rebuild(Int16sb, len_(this.class_name)),
    "header_len" / Rebuild(Int16sb, len_(this.headers)),
    "content_len" / Rebuild(Int32sb, len_(this.content) + len_(this.result)),
    "class_name" / Bytes(this.class_len),
    "headers" / Bytes(this.header_len),
    "content" / If(~is_passed, Bytes(this.content_len)),
    "result" / If(is_passed, Bytes(this.content_len)),
    "crc" / If(is_summed, Int32ub),
)

GOAWAY = 100  # command code of MOSN's
STATUS = {
    0: Status.OK,
    4: Status.OVERLOADED,
    6: Status.NO_SERVICE,
    7: Status.TIMEOUT,
    8: Status.UNAVAILABLE,
    9: Status.BAD_REQUEST,
    16: Status.UNAVAILABLE,
    18: Status.BAD_REQUEST,
}
# What makes the Java client raise its own exception of that kind; 2 is "the server raised".
WIRE_STATUS = {
    Status.TIMEOUT: 7,
    Status.OVERLOADED: 4,
    Status.UNAVAILABLE: 16,
}

headers = pairs(this.headers, key=Int32sb, value=Int32sb)  # SOFARPC 5.5 writes null keys
request = hessian_fields(this.content, "targetServiceUniqueName", "methodName")
key = split(first(headers["sofa_head_target_service"], headers["service"], request[0]), ":", 3)


def _command(variant: Mapping[str, int], **values: Any) -> dict[str, Any]:
    """A frame without class, headers and content. A frame of ver1 = 2 may go without a checksum."""
    plain = {"ver2": 1, "codec": 1, "class_name": b"", "headers": b"", "content": b"", "result": b""}
    return plain | ({"switch": 0} if variant["proto"] == 2 else {}) | values


def _error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    name, content = exception()
    wire = WIRE_STATUS.get(status, 2)
    return _command(variant, type=0, cmdcode=2, status=wire, class_name=name, result=content)


def read_body(frame: bytes) -> dict[str, object]:
    """Arguments of a SofaRequest, fields of a SofaResponse, for ``protokit decode``."""
    from protokit_sofarpc.hessian import Values  # noqa: PLC0415  # traffic needs none of it

    fields, _ = bolt.wire.parse(frame)  # type: ignore[attr-defined]  # it is declared
    body = fields.content or fields.result
    if fields.codec != 1 or not body:  # Hessian's number
        return {}
    first, *rest = Values(body).rest()
    if fields.type != 0:
        return {f"argument {number}": value for number, value in enumerate(rest)}
    fields = first if isinstance(first, dict) else {"value": first}
    return {name: value for name, value in fields.items() if not name.startswith("$")}


class _Arguments:
    """What filters are given, and what they make of it."""

    def read(self, frame: bytes) -> list[object]:
        """The arguments of a call."""
        from protokit_sofarpc.calls import read_arguments  # noqa: PLC0415  # traffic needs none of it

        return read_arguments(_call(frame).content)

    def write(self, frame: bytes, values: list[object]) -> bytes:
        """The call with others."""
        from protokit_sofarpc.calls import write_arguments  # noqa: PLC0415  # as above

        fields = _call(frame)
        fields.content = write_arguments(fields.content, values)
        return bolt.wire.build(fields)  # type: ignore[attr-defined,no-any-return]  # it is declared


def _call(frame: bytes) -> Any:
    from protokit_sofarpc.calls import check  # noqa: PLC0415  # as above

    try:
        fields, _ = bolt.wire.parse(frame)  # type: ignore[attr-defined]  # it is declared
    except EOFError:
        raise LocalProtocolError("a call that is not whole has no arguments to decode") from None
    check(fields.codec, fields.content)
    return fields


bolt = Protocol(
    "bolt",
    WireFormat(
        frame,
        id=this.id,
        response=this.type == 0,
        oneway=this.type == 2,
        heartbeat=this.cmdcode == 0,
        drain=this.cmdcode == GOAWAY,
        timeout=this.timeout,
        status=table(this.status, STATUS, Status.INTERNAL),
        app_error=headers["sofa_head_response_error"] == "true",
        service=key[0],
        version=key[1],
        group=key[2],
        method=first(headers["sofa_head_method_name"], request[1]),
        headers=headers,
        checksum=crc32(this.crc, over="before"),
        # A Java peer answers in the form of the first frame it saw on a connection.
        variants=({"proto": 1}, {"proto": 2, "ver1": 1}, {"proto": 2, "ver1": 2}),
        arguments=_Arguments(),
        separate=True,
        replies=Replies(
            error=_error,
            heartbeat=lambda variant: _command(variant, type=1, cmdcode=0, timeout=-1),
            ack=lambda variant: _command(variant, type=0, cmdcode=0, status=0),
            # MOSN and protokit heed it. SOFABolt closes a connection on a command that it does not know.
            drain=lambda variant: _command(variant, type=1, cmdcode=GOAWAY, id=0, timeout=0),
            optional_drain=True,
            encoding="hessian",
        ),
    ),
    "SOFARPC bolt v1 and v2",
    read_body,
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """The one protocol of this package."""
    return [bolt]
