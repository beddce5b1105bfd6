"""A protocol whose errors are structs as Thrift's, with authors' mistakes, and what a right peer sends."""

from __future__ import annotations

import functools

from construct import Const, GreedyBytes, Int8ub, Int16ub, Int32ub, Prefixed, Struct, this

from protokit import Protocol, Status, WireFormat
from protokit.testing import Golden
from protokit.wire import ErrorText, Replies, lines, table

KINDS = {"call": 1, "answer": 2, "oneway": 3, "ping": 4, "pong": 5}
STATUSES = {0: Status.OK, 1: Status.APP_ERROR, 4: Status.NO_SERVICE, 5: Status.TIMEOUT, 9: Status.INTERNAL}
NUMBERS = {**dict.fromkeys(Status, 9), **{status: number for number, status in STATUSES.items()}}


def memo(  # a mistake each
    *,
    integer=Int32ub,
    body_size=Int16ub,
    stop=b"\0",
    count=Int32ub,
    statuses=STATUSES,
    numbers=NUMBERS,
    oneway=3,
    service="to",
    pong=5,
) -> Protocol:
    """A protocol whose errors are structs as Thrift's: a field with the text, then a stop byte."""
    head = lines(this.head, "=", "\n")

    def reply(kind, status=0, body=b""):
        return {"kind": kind, "status": status, "head": b"", "body": body}

    return Protocol(
        "memo",
        WireFormat(
            Struct(
                Const(b"MM"),
                "kind" / Int8ub,
                "status" / Int8ub,
                "id" / integer,
                "head" / Prefixed(Int8ub, GreedyBytes),
                "body" / Prefixed(body_size, GreedyBytes),
            ),
            id=this.id,
            response=(this.kind == 2) | (this.kind == 5),
            oneway=this.kind == oneway,
            heartbeat=(this.kind == 4) | (this.kind == 5),
            status=table(this.status, statuses, Status.INTERNAL),
            service=head[service],
            method=head["call"],
            headers=head,
            replies=Replies(
                error=lambda status, variant: reply(
                    2, numbers[status], ErrorText(b"\x0b\0\1", after=stop, count=count)
                ),
                heartbeat=lambda variant: reply(4),
                ack=lambda variant: reply(pong),
            ),
        ),
    )


right = functools.cache(memo)


def frame(kind, number, status=0, head=b"", body=b""):
    values = {"kind": KINDS[kind], "status": status, "id": number, "head": head, "body": body}
    return right().wire.build(values)


def captured(numbers=(1, 2, 3, 4)):
    """What a right peer sends. ``numbers``: the ids of its calls."""
    call, other, note, failed = numbers
    asked = {"kind": "request", "service": "demo.A", "method": "go", "headers": {"call": "go"}}
    text = b"\x0b\0\1" + b"\0\0\0\7" + b"no such" + b"\0"
    return [
        Golden("call", frame("call", call, 0, b"to=demo.A\ncall=go\n", b"x"), expect=asked),
        Golden("answer", frame("answer", call, 0, b"", b"y"), expect={"kind": "response", "status": "OK"}),
        Golden("other", frame("call", other, 0, b"to=demo.A\ncall=go\n"), expect=asked),
        Golden("raised", frame("answer", other, 1, b"", b"z"), expect={"status": "APP_ERROR"}),
        Golden("note", frame("oneway", note, 0, b"to=demo.A\ncall=go\n"), expect={"kind": "oneway"}),
        Golden("none", frame("call", failed, 0, b"to=demo.A\ncall=go\n"), expect=asked),
        Golden(
            "no such",
            frame("answer", failed, 4, b"", text),
            expect={"status": "NO_SERVICE", "text": "no such"},
        ),
        Golden("ping", frame("ping", 9), expect={"kind": "heartbeat"}),
        Golden("pong", frame("pong", 9), expect={"kind": "heartbeat_ack"}),
    ]
