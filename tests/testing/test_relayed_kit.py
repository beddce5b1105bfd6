"""Greetings that are passed on, ids only where something is answered, and no errors: kit and fuzzer know."""

from __future__ import annotations

import asyncio

import pytest
from construct import Bytes, If, Int8ub, Int16ub, Rebuild, Struct, len_, this

from protokit import Protocol, Status, WireFormat
from protokit.testing import conformance
from protokit.testing.golden import Golden
from protokit.testing.invariants import Example, Invariants
from protokit.testing.proxied import Client
from protokit.wire import ErrorText, Greeting, Replies, table

ASK, ANSWER, TELL, HELLO, FAIL = range(5)
post = Protocol(
    "post",
    WireFormat(
        Struct(
            "kind" / Int8ub,
            "size" / Rebuild(Int8ub, len_(this.text)),
            "id" / If(this.kind < TELL, Int16ub),
            "text" / Bytes(this.size),
        ),
        id=this.id,
        mode="pinned",
        response=this.kind == ANSWER,
        oneway=this.kind == TELL,
        service=this.text,
        greeting=Greeting(when=this.kind == HELLO, relayed=True),
        replies=Replies(error=None),
    ),
)
ASKED = Golden("asked", b"\0\2\1\2hi", expect={"kind": "request", "request_id": "258"})
ANSWERED = Golden("answered", b"\1\2\1\2ho", expect={"kind": "response"})
TOLD = Golden("told", b"\2\2hi", expect={"kind": "oneway", "service": "hi"})
SAID = Golden("said", b"\3\0", expect={"kind": "greeting"})


def test_the_kit_passes():
    suite = conformance(post, golden=[ASKED, ANSWERED, TOLD, SAID], examples=10)()
    for one in dir(suite):
        if one.startswith("test_"):
            getattr(suite, one)()


def test_a_client_whose_server_would_speak_first_is_closed_and_told_nothing(monkeypatch):
    """The kit does not wait for an error there, which a client hears only if it asks before it is closed."""
    send = Client.send

    async def late(self, data):
        await asyncio.sleep(0.05)
        await send(self, data)

    monkeypatch.setattr(Client, "send", late)
    telling = Protocol(
        "telling",
        WireFormat(
            Struct(
                "kind" / Int8ub,
                "size" / Rebuild(Int8ub, len_(this.text)),
                "id" / Int16ub,
                "text" / Bytes(this.size),
            ),
            id=this.id,
            mode="pinned",
            response=(this.kind == ANSWER) | (this.kind == FAIL),
            oneway=this.kind == TELL,
            status=table(this.kind, {ANSWER: Status.OK}, Status.INTERNAL),
            service=this.text,
            greeting=Greeting(when=this.kind == HELLO, relayed=True, first="server"),
            replies=Replies(error=lambda status, variant: {"kind": FAIL, "text": ErrorText()}),
        ),
    )
    asked = Golden("asked", b"\0\2\1\2hi", expect={"kind": "request", "request_id": "258"})
    answered = Golden("answered", b"\1\2\1\2ho", expect={"kind": "response"})
    suite = conformance(telling, golden=[asked, answered], examples=0)()
    suite.test_every_error_reply_reaches_the_client()


@pytest.mark.parametrize("how", [None, ("pinned",), ("pinned", "answers"), ("pinned", "fails")])
def test_the_fuzzer_finds_nothing(how):
    """A server says nothing, and the client's connection ends; a one-way request has no id."""
    accepted, _ = Invariants(post).holds(Example(SAID.data + TOLD.data + ASKED.data, ANSWERED.data, how=how))
    assert accepted
