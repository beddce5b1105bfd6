"""Mistakes as authors make them, in declaration and replies alike, so that no reference disagrees.

What finds them is what was captured: the kit's comparison with it, or, where too little was captured, what
``plugins check`` says is untried. Nothing is drawn.
"""

from __future__ import annotations

import re

import pytest
from construct import Int16ub, Int32ub, Int32ul
from judging import checks
from memo import NUMBERS, STATUSES, captured, memo

from protokit import Status
from protokit.testing import Golden, conformance
from protokit.testing.coverage import untried


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
        "test_captured_errors.*: at byte 10: 0f captured, 0e built; at byte 25: 00 captured, nothing built",
    ),
    "the text's count of the wrong width": (
        {"count": Int16ub},
        "test_captured_errors.* that of NO_SERVICE comes nearest: at byte 10: 0f captured, 0d built",
    ),
    "a little-endian id": ({"integer": Int32ul}, "test_golden.*request_id"),
    "errors under another number": (
        {"numbers": {**NUMBERS, Status.NO_SERVICE: 5}},
        "test_captured_errors.*at byte 3: 04 captured, 05 built",
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
