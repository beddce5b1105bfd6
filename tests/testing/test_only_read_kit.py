"""The conformance kit on protocols whose ids the engine only reads."""

from __future__ import annotations

import functools

import fewer
import pytest
from only_read import ONLY

from protokit import Protocol, ProtokitError
from protokit.testing import Golden, conformance

KINDS = {1: "request", 2: "response"}
OTHERS = {
    "a length that decides",
    "a test of its size",
    "a number that is checked",
}  # not any id may be there


@functools.cache
def wire(name):
    return ONLY[name].wire()


def golden(name):
    """Of each kind one, with each id."""
    for number, request_id in enumerate(ONLY[name].ids):
        for kind, what in KINDS.items():
            data = ONLY[name].frame(wire(name), kind, request_id, b"a.B go hello")
            yield Golden(f"{what}{number}", data, "made by hand", expect={"kind": what})


def padded(frame, request_id):
    """With that id in four bytes at least."""
    message = wire("a check").message(frame)
    return wire("a check").build({**message.fields, "id": request_id.rjust(4, b"0")}) + frame[message.size :]


RENUMBER = {"a check": padded}
if fewer.slow:
    globals().update(
        {
            f"Test{number}": pytest.mark.slow(
                conformance(
                    Protocol("kit", wire(name)),
                    golden=[*golden(name)],
                    examples=60,
                    renumber=RENUMBER.get(name),
                )
            )
            for number, name in enumerate(ONLY)
            if name not in OTHERS
        }
    )


def test_a_codec_that_is_not_declared_says_how_its_ids_are_written_for_peers(toys):
    class Codec:
        tier, address = "native", toys["read"].address

    with pytest.raises(ProtokitError, match="renumber goes with a codec that cannot rewrite ids"):
        conformance(Protocol("read", Codec()), golden=[Golden("asked", toys["read"].request(1))])
