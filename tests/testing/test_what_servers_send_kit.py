"""The conformance kit on what servers send unasked, and on greetings between a client and its server."""

from __future__ import annotations

import pytest
from construct import Bytes, Const, Int8ub, Int32ub, Rebuild, Struct, len_, this

from protokit import Protocol, Status
from protokit.native import sent_by
from protokit.testing import Golden, conformance
from protokit.wire import ErrorText, Greeting, Replies, Until, WireFormat, side, split, starts, table


def events(**more) -> Protocol:
    """1 a request, of either side, 2 an answer, 3 an event, 4 a greeting, 5 an error; 255 bytes of text."""
    wire = WireFormat(
        Struct(
            Const(b"EV"),
            "kind" / Int8ub,
            "id" / Int32ub,
            "size" / Rebuild(Int8ub, len_(this.text)),
            "text" / Bytes(this.size),
        ),
        id=this.id,
        mode="pinned",
        response=(this.kind == 2) | (this.kind == 5),
        oneway=this.kind == 3,
        status=table(this.kind, {2: Status.OK, 5: Status.INTERNAL}, Status.INTERNAL),
        service=this.text,
        replies=Replies(error=lambda status, variant: {"kind": 5, "text": ErrorText()}),
        **more,
    )
    return Protocol("events", wire)


def frame(kind: int, number: int, text: bytes) -> bytes:
    return b"EV" + bytes([kind]) + number.to_bytes(4, "big") + bytes([len(text)]) + text


EVENTS = [
    ("client", frame(1, 7, b"a")),
    ("client", frame(1, 8, b"bc")),
    ("server", frame(2, 7, b"yes")),
    ("server", frame(5, 8, b"no")),
    ("server", frame(3, 0, b"look")),
    ("server", frame(3, 0, b"and look")),
    ("server", frame(1, 9, b"who are you")),
    ("client", frame(2, 9, b"me")),
]


def shouting() -> Protocol:
    """Lines, of which nothing but their sender says what they are; a server's with a mark are unasked."""
    shouts = (side == "server") & starts(this.line, "!")
    wire = WireFormat(
        Struct("line" / Until(b"\n", max=900)),
        mode="pinned",
        response=(side == "server") & ~starts(this.line, "!"),
        oneway=shouts,
        status=table(split(this.line, " ", 2)[0], {"OK": Status.OK}, Status.INTERNAL),
        method=split(this.line, " ", 2)[0],
        replies=Replies(error=lambda status, variant: {"line": ErrorText(before=b"ERR ")}),
    )
    return Protocol("shouting", wire)


SHOUTING = [
    ("client", b"get a\n"),
    ("client", b"!get\n"),
    ("server", b"OK 1\n"),
    ("server", b"ERR why\n"),
    ("server", b"!fire\n"),
]


def vectors(frames) -> list[Golden]:
    return [Golden(f"{who} {at}", sent_by(who, data)) for at, (who, data) in enumerate(frames)]


TestEvents = conformance(events(), golden=vectors(EVENTS), examples=40)
TestEventsOfBothSides = conformance(
    events(), golden=vectors([*EVENTS, ("client", frame(3, 5, b"note"))]), examples=40
)
TestShouting = conformance(shouting(), golden=vectors(SHOUTING), examples=40)
TestRelayed = conformance(
    events(greeting=Greeting(when=this.kind == 4, relayed=True)),
    golden=vectors([*EVENTS, ("client", frame(4, 0, b"hi")), ("server", frame(4, 0, b"prove it"))]),
    examples=40,
)


def test_what_a_server_says_unasked_has_to_reach_its_client(monkeypatch):
    """Said by the frame that came instead."""
    one = conformance(events(), golden=vectors(EVENTS), examples=0)()
    other = frame(3, 0, b"something else")
    receive = "protokit.testing.proxied.Client.one"

    async def spoiled(self, what):
        ((heard, data),) = await self.receive(1, what)
        return heard, other if heard.kind == "oneway" else data

    monkeypatch.setattr(receive, spoiled)
    with pytest.raises(AssertionError, match=f"{EVENTS[4][1].hex()} was sent, {other.hex()} arrived"):
        one.test_oneway_requests_arrive_and_are_never_answered()
