"""ZooKeeper: sessions that pings of their clients keep, events under an id of their own, paths as services.

::

    0      4     8      12                       0      4     8      16    20
    +------+-----+------+--------+------+        +------+-----+------+-----+------+
    | size | xid | type | length | path | ...    | size | xid | zxid | err | ...  |    big-endian
    +------+-----+------+--------+------+        +------+-----+------+-----+------+

Source: the jute records of ZooKeeper 3.8 (RequestHeader, ReplyHeader, ConnectRequest), and its frames.

The method is the operation, the service the path; a rule with ``service: ""`` is for what has none (connect,
ping, auth, multi). The first frame and its answer have a version of 0 where others have their xid: it is a
request as any other, for sessions are between a client and its server (``pinned``). So are pings, by
which sessions live. Events of watches have the xid -1.

Limits: what begins a session cannot be refused: its client takes an error for half an answer, and connects
again. All of a client's requests have to go to one cluster. Words of four letters (``ruok``) are no frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import Bytes, Check, If, Int32sb, Int32ub, Int64sb, Rebuild, Struct, len_, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import FromRequest, Replies, first, side, table

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENT = -1
PATHS = {
    1: "create",
    2: "delete",
    3: "exists",
    4: "getData",
    5: "setData",
    6: "getACL",
    7: "setACL",
    8: "getChildren",
    9: "sync",
    12: "getChildren2",
    13: "check",
    15: "create2",
    18: "removeWatches",
    19: "createContainer",
    21: "createTTL",
    106: "addWatch",
}
OTHERS = {-11: "closeSession", 11: "ping", 14: "multi", 16: "reconfig", 22: "multiRead", 100: "auth"}
OTHERS |= {101: "setWatches", 102: "sasl", 105: "setWatches2"}


def has_path() -> Any:
    """Whether a request's type is one of those that begin with a path."""
    one, *others = (this.type == number for number in PATHS)
    for other in others:
        one = one | other
    return one


ASKS, TELLS, BEGINS = side == "client", side == "server", this.xid == 0
NAMES = ASKS & ~BEGINS & has_path()
HEAD = 4 + ASKS * 4 + TELLS * 12 + NAMES * 4

frame = Struct(
    "size" / Rebuild(Int32ub, HEAD + len_(this.path) + len_(this.rest)),
    "xid" / Int32sb,
    Check(TELLS | (this.xid != EVENT)),  # its error would be an event
    "type" / If(ASKS, Int32sb),
    "zxid" / If(TELLS, Int64sb),
    "err" / If(TELLS, Int32sb),
    "length" / If(NAMES, Rebuild(Int32ub, len_(this.path))),
    "path" / If(NAMES, Bytes(this.length)),
    "rest" / Bytes(this.size - HEAD - this.length),
)
BEGUN = TELLS & BEGINS & (this.size > 16)  # a session: part of its number stands where errors do
MASK, MARK = 0xFFFFFFFF, 1 << 40

CODES = {
    Status.INTERNAL: -1,
    Status.UNAVAILABLE: -4,  # connection loss
    Status.BAD_REQUEST: -5,  # marshalling
    Status.NO_SERVICE: -6,  # unimplemented
    Status.TIMEOUT: -7,
    Status.DENIED: -102,
    Status.OVERLOADED: -127,  # throttled
}


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """A code, and no text."""
    return {"xid": FromRequest(this.xid), "zxid": -1, "err": CODES[status], "rest": b""}


zookeeper = Protocol(
    "zookeeper",
    WireFormat(
        frame,
        mode="pinned",
        response=TELLS & (this.xid != EVENT),
        oneway=TELLS & (this.xid == EVENT),
        status=table(
            this.err & (MASK - BEGUN * MASK),
            {0: Status.OK} | {code & MASK: status for status, code in CODES.items()},
            Status.APP_ERROR,
        ),
        service=this.path,
        method=first(
            table(
                ~BEGINS * MARK + this.type, {MARK + number: name for number, name in (PATHS | OTHERS).items()}
            ),
            "connect",
        ),
        replies=Replies(error=error),
    ),
    "ZooKeeper",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [zookeeper]
