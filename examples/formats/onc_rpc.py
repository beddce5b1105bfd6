"""ONC RPC: records in fragments up to the last, programs and procedures by number, errors without a text.

::

    0      4     8      12                                         up to one that is the last
    +------+-----+------+-----------------------------------+------+------+------+-----
    | mark | xid | type | call: 2, program, version, proc.  | body | mark | data | ...
    +------+-----+------+ answer: 0, verifier, outcome      +------+------+------+-----
                        | answer: 1, why it is denied       |
                        +-----------------------------------+

Source: RFC 5531, 9 and 11. A mark is the fragment's size, and its highest bit says that it is the last one.

Limits: the first fragment holds at least the head. Of a denied call no more than that is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import BitsInteger, BitStruct, Bytes, Check, Flag, If, Int32ub, Struct, len_, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import Repeat, Replies, decimal, table

if TYPE_CHECKING:
    from collections.abc import Mapping

CALL, ANSWER = 0, 1
MARK = BitStruct("last" / Flag, "size" / BitsInteger(31))
call = Struct(
    "rpc" / Int32ub,
    Check(this.rpc == 2),
    "program" / Int32ub,
    "version" / Int32ub,
    "procedure" / Int32ub,
)
answer = Struct(
    "denied" / Int32ub,
    Check(this.denied <= 1),
    "verifier"
    / If(
        this.denied == 0,
        Struct("kind" / Int32ub, "size" / Int32ub, "data" / Bytes((this.size + 3) >> 2 << 2)),
    ),
    "outcome" / Int32ub,
)
accepted = (this.type == ANSWER) & (this.answer.denied == 0)
head = (
    8 + (this.type == CALL) * 16 + (this.type == ANSWER) * 8 + accepted * 8 + len_(this.answer.verifier.data)
)
fragment = Struct("mark" / MARK, "data" / Bytes(this.mark.size))
frame = Struct(
    "mark" / MARK,
    "xid" / Int32ub,
    "type" / Int32ub,
    Check(this.type <= ANSWER),
    "call" / If(this.type == CALL, call),
    "answer" / If(this.type == ANSWER, answer),
    "body" / Bytes(this.mark.size - head),
    "more" / If(this.mark.last == 0, Repeat(fragment, until=this.mark.last == 1)),
)

DENIED = 100  # added to an outcome, to tell why a call is denied from what came of an accepted one
OUTCOMES = {
    0: Status.OK,
    1: Status.NO_SERVICE,  # PROG_UNAVAIL
    2: Status.NO_SERVICE,  # PROG_MISMATCH
    3: Status.NO_SERVICE,  # PROC_UNAVAIL
    4: Status.BAD_REQUEST,  # GARBAGE_ARGS
    DENIED: Status.BAD_REQUEST,  # RPC_MISMATCH
    DENIED + 1: Status.DENIED,  # AUTH_ERROR
}
ERRORS = {Status.NO_SERVICE: 1, Status.BAD_REQUEST: 4}
SYSTEM_ERROR = 5


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """An accepted call's outcome, with an empty verifier."""
    outcome = ERRORS.get(status, SYSTEM_ERROR)
    verifier = {"kind": 0, "size": 0, "data": b""}
    return {
        "mark": {"last": 1, "size": 24},
        "type": ANSWER,
        "answer": {"denied": 0, "verifier": verifier, "outcome": outcome},
        "body": b"",
    }


onc_rpc = Protocol(
    "onc-rpc",
    WireFormat(
        frame,
        id=this.xid,
        response=this.type == ANSWER,
        status=table(this.answer.outcome + this.answer.denied * DENIED, OUTCOMES, Status.INTERNAL),
        service=decimal(this.call.program),
        version=decimal(this.call.version),
        method=decimal(this.call.procedure),
        replies=Replies(error=error),
    ),
    "ONC RPC (Sun RPC) over TCP",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [onc_rpc]
