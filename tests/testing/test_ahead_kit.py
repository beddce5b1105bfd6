"""A branch by what comes next: values that look ahead at something else are no frame's, and the kit knows."""

from __future__ import annotations

import re

import pytest
from construct import Const, IfThenElse, Int8ub, Struct, this

from protokit import Protocol, WireFormat
from protokit.errors import LocalProtocolError
from protokit.native import sent_by
from protokit.testing import conformance
from protokit.testing.golden import Golden
from protokit.wire import Ahead, Replies, Until, side, text

words = Protocol(
    "words",
    WireFormat(
        Struct(
            "first" / Ahead(Int8ub),
            "frame"
            / IfThenElse(
                this.first == 10, Struct("eol" / Const(b"\n")), Struct("word" / Until(b"\0", max=9))
            ),
        ),
        mode="ordered",
        response=side == "server",
        service=text(this.frame.word),
        replies=Replies(error=None),
    ),
)
ASKED = Golden("asked", sent_by("client", b"hi\0"), expect={"kind": "request", "service": "hi"})
BEAT = Golden("beat", sent_by("client", b"\n"), expect={"kind": "request"})
ANSWERED = Golden("answered", sent_by("server", b"ho\0"), expect={"kind": "response"})


def test_the_kit_passes():
    suite = conformance(words, golden=[ASKED, BEAT, ANSWERED], examples=30)()
    suite.test_golden_vectors_are_built_again_from_plain_values()
    suite.test_plain_values_make_the_round_trip()
    suite.test_values_of_the_wrong_kind_are_refused()


@pytest.mark.parametrize("first", [0, ord("h")])
def test_bytes_for_a_structure_are_refused(first):
    why = "frame: b'hi' was given; it takes values by the names of its fields"
    with pytest.raises(LocalProtocolError, match=re.escape(why)):
        words.wire.build({"first": first, "frame": b"hi"}, "client")
