"""What random declarations say beyond their layout: ids, checksums, greetings, what answers ask."""

from __future__ import annotations

from construct import Bytes, GreedyBytes, Int8ub, Int16ub, Int32ub, Int32ul, Prefixed, Struct, this
from hypothesis import strategies as st

from protokit import Status
from protokit.wire import (
    FromPeer,
    Greeting,
    Turn,
    Until,
    UVar,
    adler32,
    asked,
    ber,
    byte_id,
    crc16,
    crc32,
    crc32c,
    json,
    kept,
    lines,
    msgpack,
    optional,
    pairs,
    protobuf,
    side,
    sum8,
    sum16,
    sum32,
    table,
    tlv,
)

GREETS = 3  # the kind of a greeting


class Talk:
    """Draws how peers talk.

    Args:
        draw: Hypothesis's.
        kind, number, body, text: what the format calls its fields: the kind, the id, and in an answer's body
            and of a greeting the text.
    """

    def __init__(self, draw, kind, number, body, text) -> None:
        self.draw = draw
        self.kind, self.number, self.body, self.text = kind, number, body, text
        self.again = f"{text}_again"  # in an answer: what is kept of a request
        self.keeps = self.maybe()

    def one(self, choices):
        return self.draw(st.sampled_from(choices))

    def maybe(self):
        return self.draw(st.booleans())

    def answer(self):
        front = [self.again / Int8ub] if self.keeps else []
        return Struct(*front, self.text / Prefixed(Int16ub, GreedyBytes))

    def said(self, kind, text, again=0):
        return {self.kind: kind, self.body: {self.text: text, **({self.again: again} if self.keeps else {})}}

    def kept(self):
        return kept(this[self.kind]) if self.keeps else 0

    def id(self):
        """(its field, what the format says of it): a section of bytes, or what stands in one."""
        here = this[self.number]
        counted = self.number / Prefixed(Int16ub, GreedyBytes)
        form = self.one(["decimal", "hex", "raw"])
        return self.one(
            [
                (self.number / Prefixed(Int8ub, GreedyBytes), byte_id(here, max=20, form=form)),
                (self.number / Bytes(8), byte_id(here, form=form)),
                (self.number / Until(b"|", 20), byte_id(here, form=self.one(["decimal", "hex"]))),
                (self.number / UVar(10), byte_id(here)),
                (counted, byte_id(json(here)["id"], max=20, form=self.one(["decimal", "quoted"]))),
                (counted, byte_id(protobuf(here)[4])),
                (counted, byte_id(tlv(here, Int8ub, Int16ub)[7], max=20)),
                (counted, byte_id(msgpack(here)["id"])),
                (counted, byte_id(ber(here)[self.one([0, "02"])])),
                (counted, byte_id(pairs(here, key=Int8ub, value=Int8ub)["id"], max=20, form=form)),
                (counted, byte_id(lines(here, ":", ";")["id"], max=20, form=self.one(["decimal", "hex"]))),
            ]
        )

    def checksum(self, name):
        """(its field, the checksum)."""
        field, make = self.one(
            [
                (Int8ub, sum8),
                (Int16ub, sum16),
                (Int32ul, sum32),
                (Int16ub, crc16),
                (Int32ub, crc32),
                (Int32ul, crc32c),
                (Int32ub, adler32),
            ]
        )
        return name / field, make(this[name], over="before")

    def greeting(self):
        """Of a login: what the peer said comes back, in two forms, and a step may be left out."""
        echo = FromPeer(this[self.body][self.text], max=self.draw(st.integers(1, 40)))

        def plain(variant):
            return {self.kind: GREETS, self.body: {self.text: b"hello"}}

        def echoed(variant):
            return {self.kind: GREETS, self.body: {self.text: [b"<", echo]}}

        steps = [("client", plain), Turn("server", [(this[self.kind] == GREETS, echoed), (True, plain)])]
        if self.maybe():
            steps += [*optional(("client", echoed)), ("server", plain)]
        return Greeting(when=this[self.kind] == GREETS, steps=steps)

    def meaning(self):
        """The rest, each of it there or not."""
        found = {}
        if self.keeps:
            found["keep"] = (this[self.kind],)
        if self.maybe():
            found["readable"] = (this[self.body][self.text], this[self.kind] != self.one([1, 2]))
        if self.maybe():
            known = {0: Status.OK, 1: Status.TIMEOUT, 2: Status.OK}
            found["status"] = table(asked(this[self.kind]), known, Status.INTERNAL)
        if self.maybe():
            found["app_error"] = (side == self.one(["client", "server"])) & (asked(this[self.kind] == 1) == 0)
        return found
