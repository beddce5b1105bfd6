"""Protocols whose errors have no text, and those that have no errors: the kit asks nothing else of them."""

from __future__ import annotations

import pytest
from construct import Const, GreedyBytes, Int8ub, Int16ub, Prefixed, Struct, this
from world import World, table

from protokit import Protocol, Status, WireFormat, native
from protokit.testing import conformance
from protokit.testing.coverage import untried
from protokit.testing.golden import Golden
from protokit.testing.said import likely_text
from protokit.testing.voices import Voice
from protokit.wire import ErrorText, Replies
from protokit.wire import table as status_table

ASKED = Golden("asked", b"N\1\0\0\2hi", expect={"kind": "request", "service": "hi"})
ANSWERED = Golden("answered", b"N\2\0\0\2ho", expect={"kind": "response", "status": "OK"})
REFUSED = Golden("refused", b"N\2\7\0\0", expect={"kind": "response", "status": "INTERNAL", "text": ""})
CODE = {Status.NO_SERVICE: 3}
REPLIES = {
    "texts": lambda status, variant: {"kind": 2, "status": CODE.get(status, 7), "text": ErrorText()},
    "no texts": lambda status, variant: {"kind": 2, "status": CODE.get(status, 7), "text": b""},
    "no errors": None,
}


def note(name, mode="pingpong"):
    """A letter, a kind, a status, a text."""
    return Protocol(
        "note",
        WireFormat(
            Struct(Const(b"N"), "kind" / Int8ub, "status" / Int8ub, "text" / Prefixed(Int16ub, GreedyBytes)),
            mode=mode,
            response=this.kind == 2,
            status=status_table(this.status, {0: Status.OK, 3: Status.NO_SERVICE}, Status.INTERNAL),
            service=this.text,
            replies=Replies(error=REPLIES[name]),
        ),
    )


@pytest.mark.parametrize("name", REPLIES)
@pytest.mark.parametrize("mode", ["pingpong", "ordered"])
def test_the_kit_passes(name, mode):
    vectors = [ASKED, ANSWERED] + [REFUSED] * (name != "no errors")
    suite = conformance(note(name, mode), golden=vectors, examples=10)()
    assert (suite.has("errors"), suite.has("error-texts")) == (name != "no errors", name == "texts")
    for one in dir(suite):
        if one.startswith("test_"):
            getattr(suite, one)()
    assert untried(suite.protocol, vectors, suite.has) == []


def test_a_captured_error_without_a_text_is_compared_all_the_same():
    wrong = Golden("refused", b"N\2\7\0\1!", expect={"kind": "response", "text": ""})
    suite = conformance(note("no texts"), golden=[ASKED, ANSWERED, wrong])()
    with pytest.raises(AssertionError, match="refused: no error reply with its text is this frame"):
        suite.test_captured_errors_are_what_the_codec_says()


@pytest.mark.parametrize(("captured", "text"), [(REFUSED.data, ""), (b"N\2\7\0\4fail", None)])
def test_decode_says_the_text_of_an_error_that_has_none(captured, text):
    protocol = note("no texts")
    found = likely_text(protocol.wire, Voice(protocol), [ASKED], Golden("refused", captured))
    assert found == text


@pytest.mark.parametrize("mode", ["pingpong", "ordered"])
def test_where_there_are_no_errors_the_connection_ends_and_what_was_answered_comes(mode):
    """Nothing is said to be over a budget; the client that is answered is not touched."""
    wire = note("no errors", mode).wire
    world = World(table([wire.address], rules=[("hi", "*")]))
    refused, other = world.client(), world.client()
    world.feed(other, ASKED.data)
    world.feed(refused, ASKED.data)
    for upstream in list(world.upstreams):
        for _ in range(world.got[upstream].count(ASKED.data)):
            world.feed(upstream, ANSWERED.data)
    assert bytes(world.got[refused]) == bytes(world.got[other]) == ANSWERED.data
    world.feed(refused, b"N\1\0\0\2no")
    assert refused in world.closed
    assert world.closed[refused] == 0, "a reset would take what was answered with it"
    assert other not in world.closed
    assert bytes(world.got[refused]) == ANSWERED.data
    assert (world.stat("errors_no_service"), world.stat("closed_over_budget")) == (1, 0)
    assert world.stat("requests_active") == 0


def test_an_error_is_built_of_no_bytes():
    assert native.error(note("no errors").wire.address, Status.INTERNAL, 0, 0, b"why") == b""
