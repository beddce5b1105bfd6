"""Gearman: answers and events come without ids on one connection, and what a frame is says its type.

::

    0     3     4      7      8      12
    +-----+-----+------+------+------+-----------+
    | 0RE | way | 0    | type | size | arguments |    way: Q to the server, S from it; big-endian
    +-----+-----+------+------+------+-----------+

Source: the protocol's description that comes with gearmand (PROTOCOL), and its frames. Arguments have a zero
byte between them; the last goes on to the end.

The method is the type's name, the service the function that is called or offered. All others have none: a
rule with ``service: ""`` is theirs. A job's answer is its handle (JOB_CREATED); how it goes comes unasked,
as jobs come to workers (NOOP): one-way, on a connection of each client's own (``pinned``).

Limits: echoes are the proxy's, in front of answers that are still to come, and with 255 bytes at most. Which
of the errors is an answer says its text, so that a frame over the limit closes its connection without one.
The administrative lines on the same port are no frames: a listener with a ``fallback`` passes them on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import Bytes, Check, Const, If, Int8ub, Int32ub, Rebuild, Struct, len_, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import ErrorText, FromRequest, Replies, first, split, starts, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ASKS, TELLS = ord("Q"), ord("S")
ECHO_REQ, ECHO_RES, ERROR = 16, 17, 19
SUBMITS = {
    7: "SUBMIT_JOB",
    18: "SUBMIT_JOB_BG",
    21: "SUBMIT_JOB_HIGH",
    32: "SUBMIT_JOB_HIGH_BG",
    33: "SUBMIT_JOB_LOW",
    34: "SUBMIT_JOB_LOW_BG",
    35: "SUBMIT_JOB_SCHED",
    36: "SUBMIT_JOB_EPOCH",
}
OFFERS = {1: "CAN_DO", 2: "CANT_DO", 23: "CAN_DO_TIMEOUT"}
SAYS = {3: "RESET_ABILITIES", 4: "PRE_SLEEP", 22: "SET_CLIENT_ID", 24: "ALL_YOURS"}
EVENTS = {  # of a worker to the server, and of the server to the job's client
    6: "NOOP",
    12: "WORK_STATUS",
    13: "WORK_COMPLETE",
    14: "WORK_FAIL",
    25: "WORK_EXCEPTION",
    28: "WORK_DATA",
    29: "WORK_WARNING",
}
OTHERS = {9: "GRAB_JOB", 15: "GET_STATUS", 26: "OPTION_REQ", 30: "GRAB_JOB_UNIQ", 39: "GRAB_JOB_ALL"}
OTHERS |= {41: "GET_STATUS_UNIQUE"}


def among(types: Iterable[int]) -> Any:
    """Whether a frame is of one of these types."""
    one, *others = (this.type == number for number in types)
    for other in others:
        one = one | other
    return one


CALLS = among(SUBMITS | OFFERS)
FAILED = this.type == ERROR
frame = Struct(
    Const(b"\0RE"),
    "way" / Int8ub,
    Check((this.way == ASKS) | (this.way == TELLS)),
    Const(b"\0\0\0"),
    "type" / Int8ub,
    Check(this.type <= 42),
    "size" / Rebuild(Int32ub, len_(this.call) + len_(this.failure) + len_(this.arguments)),
    "call" / If(CALLS, Bytes(this.size)),  # the same bytes have a name for each thing that is read in them
    "failure" / If(FAILED, Bytes(this.size)),
    "arguments" / If(~(CALLS | FAILED), Bytes(this.size)),
)
LATE = FAILED & starts(this.failure, "JOB_NOT_FOUND\0")  # about an event, which has no answer

CODES: dict[Status, str] = {
    status: status.name for status in Status if status not in {Status.OK, Status.APP_ERROR}
}
CODES[Status.OVERLOADED] = "QUEUE_ERROR"  # the one of gearmand's own that is no mistake of its client


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """ERROR: a code and a text."""
    return {"way": TELLS, "type": ERROR, "failure": ErrorText(CODES[status].encode() + b"\0")}


def echo(variant: Mapping[str, int]) -> dict[str, Any]:
    """ECHO_REQ."""
    return {"way": ASKS, "type": ECHO_REQ, "arguments": b"protokit"}


def echoed(variant: Mapping[str, int]) -> dict[str, Any]:
    """ECHO_RES: the same bytes."""
    return {"way": TELLS, "type": ECHO_RES, "arguments": FromRequest(this.arguments)}


gearman = Protocol(
    "gearman",
    WireFormat(
        frame,
        mode="pinned",
        response=(this.way == TELLS) & ~among(EVENTS) & ~LATE,
        oneway=among(OFFERS | SAYS | EVENTS) | LATE,
        heartbeat=(this.type == ECHO_REQ) | (this.type == ECHO_RES),
        status=table(
            first(split(this.failure, "\0", 2)[0], "none"),
            {"none": Status.OK} | {code: status for status, code in CODES.items()},
            Status.APP_ERROR,
        ),
        service=split(this.call, "\0", 2)[0],
        method=table(this.type, SUBMITS | OFFERS | SAYS | EVENTS | OTHERS, "other"),
        replies=Replies(error=error, heartbeat=echo, ack=echoed),
    ),
    "Gearman",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [gearman]
