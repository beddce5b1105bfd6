"""MessagePack-RPC: messages that say themselves where they end, with the id inside.

::

    [0, id, method, params]    [1, id, error, result]    [2, method, params]

Source: the MessagePack-RPC specification (msgpack-rpc/spec.md). What an error is it leaves open: Neovim's are
``[type, text]``, with types 0 and 1, others are a text. The proxy's own are ``[100 + its status, text]``.

Limits: the method, such as ``Calc.add``, is the service here, all of it: a route for ``Calc.*`` is one for a
service. Ids are integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import Check, IfThenElse, Int8ub, Int16ub, Struct, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import (
    Ahead,
    ErrorText,
    Measured,
    Replies,
    byte_id,
    first,
    msgpack,
    msgpack_value,
    number,
    starts,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

FOUR, THREE = 0x94, 0x93  # an array's first byte: of how many
frame = Struct(
    "first" / Ahead(Int8ub),
    Check((this.first == FOUR) | (this.first == THREE)),
    "message"
    / IfThenElse(
        this.first == FOUR,
        Struct("call" / Measured(msgpack_value)),
        Struct("notification" / Measured(msgpack_value)),
    ),
)
call, notification = msgpack(this.message.call), msgpack(this.message.notification)
ANSWER = b"\x94\1\0"  # the engine puts the id where the 0 is
OWN = 100  # and from there on the statuses


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """An error of a number and a text, and no result."""
    code = bytes([0x92, OWN + status])
    text = ErrorText(before=ANSWER + code + b"\xda", count=Int16ub, after=b"\xc0")
    return {"first": FOUR, "message": {"call": text}}


msgpack_rpc = Protocol(
    "msgpack-rpc",
    WireFormat(
        frame,
        id=byte_id(call[1], max=5),
        response=number(call[0]) == 1,
        oneway=this.first == THREE,
        status=table(number(call[2][0]), {OWN + s: s for s in Status if s > Status.APP_ERROR}, Status.OK),
        app_error=starts(call[2], ""),  # it is not nil
        service=first(call[2], notification[1]),
        replies=Replies(error=error),
    ),
    "MessagePack-RPC",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [msgpack_rpc]
