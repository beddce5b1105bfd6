"""Mistakes as authors make them, in declaration and replies alike, so that no reference disagrees.

What finds them is what was captured: the kit's comparison with it, or, where too little was captured, what
``plugins check`` says is untried. Nothing is drawn.
"""

from __future__ import annotations

import re

import pytest
from construct import Const, GreedyBytes, Int8ub, Int16ub, Int32ub, Int32ul, Prefixed, Struct, this
from judging import checks

from protokit import Protocol, Status, WireFormat
from protokit.testing import Golden, conformance
from protokit.testing.coverage import untried
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


def frame(kind, number, status=0, head=b"", body=b""):
    values = {"kind": KINDS[kind], "status": status, "id": number, "head": head, "body": body}
    return memo().wire.build(values)


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


def unexplained():
    return [
        Golden(one.name, one.data, expect={"kind": one.expect.get("kind", "response")}) for one in captured()
    ]


def finds(protocol, vectors):
    """The first check of the kit that fails, and why."""
    suite = conformance(protocol, golden=vectors, examples=0)()
    for check in checks(suite):
        try:
            getattr(suite, check)()
        except Exception as error:  # noqa: BLE001  # whatever a check raises is its finding
            return f"{check}: {error}"
    return ""


def left(protocol, vectors):
    return untried(protocol, vectors, conformance(protocol, golden=vectors, examples=0)().has)


MISTAKES = {
    "a missing stop byte in an error reply": (
        {"stop": b""},
        "test_captured_errors.* differs at byte 10: 0f .* captured, 0e .* built",
    ),
    "the text's count of the wrong width": (
        {"count": Int16ub},
        "test_captured_errors.* that of NO_SERVICE comes nearest, and differs at byte 10",
    ),
    "a little-endian id": ({"integer": Int32ul}, "test_golden.*request_id"),
    "errors under another number": (
        {"numbers": {**NUMBERS, Status.NO_SERVICE: 5}},
        "test_captured_errors.*differs at byte 3: 04",
    ),
    "statuses read in another order": (
        {"statuses": {**STATUSES, 4: Status.TIMEOUT, 5: Status.NO_SERVICE}},
        "test_golden.*none.*|no such: status is 'TIMEOUT', 'NO_SERVICE' expected",
    ),
    "one-way requests taken for requests": ({"oneway": 33}, "test_golden.*note: kind is 'request'"),
    "the service read from another key": ({"service": "call"}, "test_golden.*call: service is 'go'"),
    "a heartbeat answered with a heartbeat": ({"pong": 4}, "test_heartbeats"),
    "the body's size of the wrong width": ({"body_size": Int32ub}, "test_golden"),
    "the service's own errors taken for the proxy's": (
        {"statuses": {**STATUSES, 1: Status.INTERNAL}},
        "test_golden.*raised: status is 'INTERNAL'",
    ),
}


def numbered(vectors):
    """With the ids in what is expected, as ``decode --golden`` writes them."""
    wire = memo().wire
    found = []
    for one in vectors:
        number = str(wire.ask.frame(one.data).id)
        found.append(Golden(one.name, one.data, expect={**one.expect, "request_id": number}))
    return found


def test_what_is_right_passes_and_nothing_is_untried():
    vectors = numbered(captured())
    assert finds(memo(), vectors) == ""
    assert left(memo(), vectors) == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_found(mistake):
    wrong, why = MISTAKES[mistake]
    found = finds(memo(**wrong), numbered(captured()))
    assert re.search(why, found), found or "nothing finds it"


@pytest.mark.parametrize(
    ("vectors", "says"),
    [
        (captured((0, 0, 0, 0)), "all ids alike (0): capture several calls"),
        (captured((0, 0x01010101, 0, 0)), "all ids read the same backwards"),
        ([one for one in captured() if one.name != "no such"], "no error frame (a server asked"),
        (
            unexplained(),
            "no error frame with its text in expect",
        ),
        (
            unexplained(),
            "no request whose expect says its service",
        ),
        ([one for one in captured() if one.name != "note"], "no one-way request"),
        ([one for one in captured() if one.name not in {"ping", "pong"}], "no heartbeat"),
        ([one for one in captured() if one.name != "pong"], "no answer to a heartbeat"),
        ([one for one in captured() if one.name != "answer"], "no response that is OK"),
    ],
)
def test_what_was_not_captured_is_named(vectors, says):
    found = left(memo(), vectors)
    assert any(one.startswith(says) for one in found), found


@pytest.mark.parametrize("tier", ["declared", "said to lack it"])
def test_what_a_protocol_lacks_need_not_be_captured(tier):
    vectors = [one for one in captured() if one.name != "note"]
    has = (
        (lambda name: name != "oneway")
        if tier != "declared"
        else conformance(memo(), golden=vectors, examples=0)().has
    )
    assert ("no one-way request" in untried(memo(), vectors, has)) == (tier == "declared")


def test_a_captured_error_that_a_proxy_cannot_say_is_left_out():
    vectors = [
        Golden(one.name, one.data, expect={**one.expect, "text": None}) if "text" in one.expect else one
        for one in captured()
    ]
    assert finds(memo(stop=b""), vectors) == ""
    assert left(memo(stop=b""), vectors) == []
