r"""STOMP 1.2: a head of lines, a body by its length or up to a zero byte; receipts answer what asks for one.

::

    SEND\n  destination:/queue/a\n  receipt:7\n  content-length:5\n  \n  hello\0
    RECEIPT\n  receipt-id:7\n  \n  \0                MESSAGE\n  destination:/queue/a\n  ...  \n  hello\0

Source: STOMP Protocol Specification, Version 1.2. The service is the destination, the method the command.

A frame with a ``receipt`` is a request; RECEIPT answers it, or ERROR with a ``receipt-id``. All others are
one-way. The login, heart-beats (ends of lines between frames), DISCONNECT without a receipt, and errors that
answer nothing go between a client and its server whatever the routes are.

Limits: lines end with ``\n`` alone. What has no receipt and no route is dropped. ACK, UNSUBSCRIBE, BEGIN,
DISCONNECT and the like have no destination: where routes go by it, these methods need one, too. Routes see a
destination as it is written, with its escapes. Where a server sends receipts in another order they arrive,
but the proxy's times and errors are of those that it expected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from construct import Bytes, Check, Const, If, IfThenElse, Int8ub, Struct, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import (
    Ahead,
    ErrorText,
    FromRequest,
    Greeting,
    Replies,
    Until,
    first,
    isin,
    lines,
    number,
    split,
    starts,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

EOL = 10
LOGIN = {"CONNECT", "STOMP", "CONNECTED"}
ANSWERS = {"RECEIPT", "ERROR"}
ASKS = {"SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT", "DISCONNECT"}
REFUSED = [status for status in Status if status > Status.APP_ERROR]
NONE = "\n\n"  # stands in no head

VERB = split(this.frame.head, "\n", 2)[0]
HEAD = lines(this.frame.head, ":", "\n", skip=1, repeated="first")  # as STOMP 1.2 has it
beat = this.first == EOL
measured = starts(HEAD["content-length"], "")
answered = starts(HEAD["receipt-id"], "")
wanted = starts(HEAD["receipt"], "") & isin(VERB, ASKS)

message = Struct(
    "head" / Until(b"\n\n", max=65536),
    Check(isin(VERB, LOGIN | ANSWERS | ASKS | {"MESSAGE"})),
    Check(first(split(this.frame.head, "\r", 2)[1], NONE) == NONE),
    Check(~isin(VERB, {"SEND", "SUBSCRIBE"}) | starts(HEAD["destination"], "")),
    "sized" / If(measured, Bytes(number(HEAD["content-length"]))),
    "end" / If(measured, Const(b"\0")),
    "body" / If(~measured, Until(b"\0", max=1 << 20)),
)
frame = Struct("first" / Ahead(Int8ub), "frame" / IfThenElse(beat, Struct("eol" / Const(b"\n")), message))

status = VERB == "ERROR"
for number_, one in enumerate(REFUSED, 1):
    status += (HEAD["message"] == one.name) * number_


def error(status: Status, variant: Mapping[str, int]) -> dict[str, object]:
    """An ERROR with the receipt that was asked for; why stands in its body."""
    head = f"\nmessage:{status.name}\ncontent-type:text/plain".encode()
    return {
        "first": ord("E"),
        "frame": {"head": [b"ERROR\nreceipt-id:", FromRequest(HEAD["receipt"]), head], "body": ErrorText()},
    }


stomp = Protocol(
    "stomp",
    WireFormat(
        frame,
        mode="pinned",
        response=isin(VERB, ANSWERS) & answered,
        oneway=~wanted,
        status=table(
            status,
            {0: Status.OK, **{number_ + 1: one for number_, one in enumerate(REFUSED, 1)}},
            Status.APP_ERROR,
        ),
        service=HEAD["destination"],
        method=VERB,
        headers=HEAD,
        greeting=Greeting(
            when=beat
            | isin(VERB, LOGIN)
            | ((VERB == "DISCONNECT") & ~wanted)
            | ((VERB == "ERROR") & ~answered),
            relayed=True,
        ),
        replies=Replies(error=error),
    ),
    "STOMP 1.2",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [stomp]
