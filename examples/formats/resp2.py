r"""RESP2: values that say themselves where they end; commands are arrays, and answers come in order.

::

    *2\r\n$3\r\nGET\r\n$3\r\nkey\r\n    +OK\r\n  -ERR why\r\n  :1\r\n  $5\r\nvalue\r\n  $-1\r\n  *1\r\n...

Source: the Redis serialization protocol specification. The method is the command as it is written, the
service its first argument, the key in most commands, so that routes go by its prefix.

Limits: inline commands are refused. A key is read up to its first ``\r\n``. What makes a connection one
client's own (``SUBSCRIBE``, ``MULTI``, ``SELECT``, ``AUTH``) wants a listener with ``mode: pinned``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import Check, IfThenElse, Int8ub, Struct, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import Ahead, ErrorText, Measured, Replies, resp_value, side, split, starts, table

if TYPE_CHECKING:
    from collections.abc import Mapping

frame = Struct(
    "first" / Ahead(Int8ub),
    Check((side == "server") | (this.first == ord("*"))),
    "frame"
    / IfThenElse(
        side == "client",
        Struct("command" / Measured(resp_value)),
        Struct("answer" / Measured(resp_value)),
    ),
)
CODES = {  # an error's first word; of Redis's own three have such a meaning, and all others are the service's
    Status.NO_SERVICE: "NOSERVICE",
    Status.BAD_REQUEST: "BADREQUEST",
    Status.TIMEOUT: "TIMEOUT",
    Status.OVERLOADED: "BUSY",
    Status.UNAVAILABLE: "TRYAGAIN",
    Status.DENIED: "NOPERM",
    Status.INTERNAL: "INTERNAL",
}
WORDS = split(this.frame.command, "\r\n", 6)


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """An error as every client raises it."""
    return {"first": ord("-"), "frame": {"answer": [f"-{CODES[status]} ".encode(), ErrorText(), b"\r\n"]}}


resp2 = Protocol(
    "resp2",
    WireFormat(
        frame,
        mode="ordered",
        response=side == "server",
        status=table(
            split(this.frame.answer, " ", 2)[0],
            {f"-{code}": status for status, code in CODES.items()},
            Status.OK,
        ),
        app_error=starts(this.frame.answer, "-"),
        service=WORDS[4],
        method=WORDS[2],
        replies=Replies(error=error),
    ),
    "RESP2",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [resp2]
