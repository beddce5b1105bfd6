r"""Motan2 for protokit: declared, no line of C.

::

    bytes   2     1      1                 1             8    4                4
            F1F1  flags  version | status  serialization id | meta length meta | body length body
    flags   000 heartbeat gzip oneway proxy response
    meta    key \n value \n key \n value

Facts: motan (Java) and motan-go, from their source and the bytes their codecs write. Version 0 in the fourth
byte is motan1, another frame behind the same magic; it is refused here.
"""

from collections.abc import Mapping
from typing import Any

from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    Check,
    Const,
    Flag,
    Int8ub,
    Int32sb,
    Int64ub,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import ErrorText, Replies, first, kept, lines, number, table

PROTOKIT_API = ">=1,<2"

frame = Struct(
    Const(b"\xf1\xf1"),
    "flags"
    / BitStruct(
        "reserved" / BitsInteger(3),
        "heartbeat" / Flag,
        "gzip" / Flag,  # of the body; the proxy does not look into it
        "oneway" / Flag,
        "proxy" / Flag,  # sent by a mesh agent
        "response" / Flag,
    ),
    "form" / BitStruct("version" / BitsInteger(5), "status" / BitsInteger(3)),
    Check(this.form.version == 1),
    # The number stands in the high five bits. One whole field: a reply can repeat no part of a byte.
    "serialization" / Int8ub,
    "id" / Int64ub,
    "meta_len" / Rebuild(Int32sb, len_(this.meta)),
    "meta" / Bytes(this.meta_len),
    "body_len" / Rebuild(Int32sb, len_(this.body)),
    "body" / Bytes(this.body_len),
)

meta = lines(this.meta, "\n", "\n")

# What a caller is told: an error code, and what failed: the framework (0), the service (1), its program (2).
ERRORS = {
    Status.APP_ERROR: (30001, 2),
    Status.NO_SERVICE: (10101, 1),
    Status.BAD_REQUEST: (20001, 0),
    Status.TIMEOUT: (10003, 1),
    Status.OVERLOADED: (10002, 1),
    Status.UNAVAILABLE: (1001, 0),
    Status.DENIED: (503, 1),
    Status.INTERNAL: (20001, 0),
}
JAVA, AGENT = 1 << 3, 6 << 3  # the serialization that the heartbeats of either carry


def _frame(variant: Mapping[str, int], serialization: object, **values: Any) -> dict[str, Any]:
    """A frame without meta and body; its kind is for the caller to set."""
    flags = {
        "reserved": 0,
        "heartbeat": 0,
        "gzip": 0,
        "oneway": 0,
        "proxy": variant["flags.proxy"],
        "response": 0,
    }
    return {
        "flags": flags | values.pop("flags"),
        "form": {"version": 1, "status": values.pop("status", 0)},
        "serialization": serialization,
        "meta": b"",
        "body": b"",
    } | values


def _error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """An answer without a body whose ``M_e`` says what happened, in the serialization that was asked in."""
    code, kind = ERRORS.get(status, ERRORS[Status.INTERNAL])
    text = ErrorText(f'M_e\n{{"errcode":{code},"errmsg":"'.encode(), f'","errtype":{kind}}}'.encode())
    serialization = kept(this.serialization)
    return _frame(variant, serialization, flags={"response": 1}, status=1, meta=text)


def _heartbeat(variant: Mapping[str, int], *, response: int) -> dict[str, Any]:
    """As Java sends it, or as an agent does."""
    serialization = AGENT if variant["flags.proxy"] else JAVA
    return _frame(variant, serialization, flags={"heartbeat": 1, "response": response})


motan = Protocol(
    "motan",
    WireFormat(
        frame,
        id=this.id,
        response=this.flags.response,
        oneway=this.flags.oneway,
        heartbeat=this.flags.heartbeat,
        # The frame says only that there was an exception; which one stands in M_e, where no table looks.
        status=table(this.form.status, {0: Status.OK}, Status.INTERNAL),
        service=meta["M_p"],
        method=meta["M_m"],
        version=first(meta["M_v"], meta["version"]),  # Java writes the second
        group=meta["M_g"],
        timeout=number(meta["M_tmo"]),
        headers=meta,
        keep=(this.serialization,),
        # Agents are answered as agents answer.
        variants=({"flags.proxy": 0}, {"flags.proxy": 1}),
        replies=Replies(
            error=_error,
            heartbeat=lambda variant: _heartbeat(variant, response=0),
            ack=lambda variant: _heartbeat(variant, response=1),
            encoding="json",
        ),
    ),
    "Motan2, of motan (Java) and motan-go",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """The one protocol of this package."""
    return [motan]
