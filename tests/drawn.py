"""What random declarations say beyond their layout: ids, checksums, greetings, what answers ask."""

from __future__ import annotations

from construct import (
    Bytes,
    GreedyBytes,
    IfThenElse,
    Int8ub,
    Int16ub,
    Int16ul,
    Int32sb,
    Int32ub,
    Int32ul,
    Int64sb,
    Int64sl,
    Prefixed,
    Struct,
    this,
)
from hypothesis import strategies as st

from protokit import Status
from protokit.wire import (
    FromPeer,
    FromRequest,
    Greeting,
    Turn,
    Until,
    UntilEnd,
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
ENDS = 4  # of an answer that ends with its connection
ORDERS = [(Int16ub, Int16ul), (Int32ub, Int32ul), (Int64sb, Int64sl)]


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
        self.varint = f"{text}_varint"  # in an answer and a greeting: one of the request's, or the peer's
        self.repeats = self.maybe()
        self.computed = f"{text}_computed"  # in an answer: what is computed of a request
        self.computes = self.maybe()
        self.answered = "answered"  # where answers have an id of their own
        self.plain = {}  # what every reply has besides
        self.ends = self.maybe()
        self.relays = self.maybe()

    def one(self, choices):
        return self.draw(st.sampled_from(choices))

    def maybe(self):
        return self.draw(st.booleans())

    def answer(self):
        front = [self.again / Int8ub] if self.keeps else []
        front += (
            [self.computed / self.one([Int8ub, Int16ul, Int32sb, Int64sb, UVar(3)])] if self.computes else []
        )
        return Struct(*front, *self.words().subcons)

    def words(self):
        """A text, and a varint in front of it perhaps."""
        front = [self.varint / UVar(10)] if self.repeats else []
        return Struct(*front, self.text / Prefixed(Int16ub, GreedyBytes))

    def ending(self):
        """An answer that only its server's end ends; of a client's frame a length tells."""
        rest = IfThenElse(side == "server", UntilEnd(), Prefixed(Int8ub, GreedyBytes))
        return Struct(f"{self.text}_rest" / rest)

    def said(self, kind, text, again=0, varint=0, computed=0, *, asks=False):
        body = {self.text: text}
        if self.computes and kind != GREETS:
            body[self.computed] = computed
        if self.keeps and kind != GREETS:
            body[self.again] = again
        if self.repeats:
            body[self.varint] = varint
        found = {self.kind: kind, self.body: body, **self.plain}
        if kind != GREETS:  # the engine's own id
            found.pop(self.number if asks else self.answered, None)
        return found

    def varint_of(self, varints):
        """One of the request's, if it has any."""
        return FromRequest(self.one(varints)) if self.repeats and varints else 0

    def kept(self):
        return kept(this[self.kind]) if self.keeps else 0

    def numbers(self):
        """(fields, meaning): integers as ids, in the byte order that a flag says, or answers have another."""
        big, little = self.one(ORDERS)
        if self.maybe():
            flag = "order"
            self.plain[flag] = self.one([0, 1])
            meaning = {"variants": ({flag: 0}, {flag: 1})} if self.maybe() else {}
            fields = [flag / Int8ub, self.number / IfThenElse(this[flag] & 1, little, big)]
            return fields, {"id": this[self.number], **meaning}
        one = self.one([big, little])
        self.plain = {self.number: 0, self.answered: 0}
        meaning = {"id": this[self.number], "answer_id": this[self.answered]}
        return [self.number / one, self.answered / one], meaning

    def mode(self):
        """How requests share a connection, and how peers greet."""
        found = {"mode": self.one(["multiplexed", "ordered", "pingpong", "pinned"])}
        if self.ends and found["mode"] == "multiplexed":
            found["mode"] = "pingpong"
        if self.relays:
            first = self.one([None, "server"])
            greeting = Greeting(
                when=this[self.kind] == GREETS, refused=self.refused(), relayed=True, first=first
            )
            found = {"mode": "pinned", "greeting": greeting}
        elif self.maybe():
            found["greeting"] = self.greeting()
        return found

    def id(self):
        """(fields, meaning): a section of bytes, or what stands in one."""
        if self.maybe():
            return self.pair()
        here = this[self.number]
        counted = self.number / Prefixed(Int16ub, GreedyBytes)
        form = self.one(["decimal", "hex", "raw"])
        field, made = self.one(
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
                (counted, byte_id(self.listed(here)["id"], max=20, form=self.one(["decimal", "hex"]))),
            ]
        )
        return [field], {"id": made}

    def pair(self):
        """(fields, meaning): what stands in one view of requests and in another of answers."""
        here, more = this[self.number], []
        there = here
        if self.maybe():  # a section of its own
            self.plain = {self.number: b"", self.answered: b""}
            more, there = [self.answered / Prefixed(UVar(3), GreedyBytes)], this[self.answered]
        one, other = self.one([("id", "re"), ("re", "id")])
        form = self.one(["decimal", "hex"])
        listed = self.listed(here)
        asks, answers, says = self.one(
            [
                (json(here)["id"], json(there)["to"]["re"], {"max": 20}),
                (json(here)[one], json(there)[other], {"max": 20, "form": "quoted"}),
                (protobuf(here)[4], protobuf(there)[1][4], {}),
                (tlv(here, Int8ub, Int16ub)[7], tlv(there, Int16ub, Int8ub)[9], {"max": 20}),
                (msgpack(here)[one], msgpack(there)[other], {}),
                (ber(here)[0], ber(there)["02"], {}),
                (
                    pairs(here, key=Int8ub, value=Int8ub)[one],
                    pairs(there, key=Int8ub, value=Int16ub)[other],
                    {"max": 20, "form": form},
                ),
                (listed[one], (self.listed(there) if more else listed)[other], {"max": 20, "form": form}),
            ]
        )
        field = self.number / Prefixed(Int16ub, GreedyBytes)
        return [field, *more], {"id": byte_id(asks, **says), "answer_id": byte_id(answers, **says)}

    def listed(self, section):
        return lines(section, ":", ";", repeated=self.one(["first", "last"]))

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

        again = FromPeer(this[self.body][self.varint]) if self.repeats else 0

        def plain(variant):
            return {**self.said(GREETS, b"hello"), **variant}

        def echoed(variant):
            return {**self.said(GREETS, [b"<", echo], varint=again), **variant}

        steps = [("client", plain), Turn("server", [(this[self.kind] == GREETS, echoed), (True, plain)])]
        if self.maybe():
            steps += [*optional(("client", echoed)), ("server", plain)]
        return Greeting(when=this[self.kind] == GREETS, steps=steps, refused=self.refused())

    def refused(self):
        return this[self.body][self.varint] == 7 if self.repeats else 0

    def meaning(self):
        """The rest, each of it there or not."""
        found = {}
        if self.keeps:
            found["keep"] = (this[self.kind],)
        if self.maybe():
            found["readable"] = (this[self.body][self.text], this[self.kind] != self.one([1, 2]))
        if self.maybe():
            known = {0: Status.OK, 1: Status.TIMEOUT, 2: Status.OK}
            kind = this[self.kind]
            found["status"] = table(self.one([asked(kind), asked(kind * 2, bits=8)]), known, Status.INTERNAL)
        if self.maybe():
            found["app_error"] = (side == self.one(["client", "server"])) & (asked(this[self.kind] == 1) == 0)
        return found
