"""Greetings of declared formats: optional steps, several forms, what repeats the peer's, relayed ones.

The client may ask for options and is told them; it starts (as A or B); the server may challenge it, and is
given what it said; the server is ready (as A or B).
"""

from __future__ import annotations

import struct

import pytest
from construct import (
    Bytes,
    Const,
    GreedyBytes,
    If,
    Int8ub,
    Int16ub,
    Int32ub,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)
from fewer import many
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from programs import HEADER
from world import LIMITS, World, table

from protokit import ProtokitError, Status, WireFormat, native
from protokit import wire as words
from protokit.errors import DeclarationError
from protokit.wire import ErrorText, FromPeer, FromRequest, Greeting, Replies, Turn, optional

OPTIONS, SUPPORTED, START_A, READY_A, START_B, READY_B, CHALLENGE, CREDENTIALS = range(8, 16)
REQUEST, ANSWER = 1, 2
BAD_REQUEST, UNAVAILABLE = int(Status.BAD_REQUEST), int(Status.UNAVAILABLE)
MODES = ["multiplexed", "ordered", "pingpong", "pinned"]


def values(kind, text=b"", **more):
    return {"kind": kind, "status": 0, "text": text, **more}


def says(kind, *text, **more):
    return lambda variant: values(kind, *text, **more)


ECHO = {"id": FromPeer(this.id)}
STEPS = (
    optional(
        Turn("client", None, when=this.kind == OPTIONS),
        Turn("server", says(SUPPORTED, [b"<", FromPeer(this.text, max=6), b">"], **ECHO)),
    ),
    Turn("client", says(START_A, b"me", id=7), when=(this.kind == START_A) | (this.kind == START_B)),
    optional(
        Turn("server", None, when=this.kind == CHALLENGE),
        Turn("client", says(CREDENTIALS, FromPeer(this.text), **ECHO)),
    ),
    Turn(
        "server",
        [
            (this.kind == START_A, says(READY_A, FromPeer(this.text), **ECHO)),
            (True, says(READY_B, FromPeer(this.text), **ECHO)),
        ],
        when=(this.kind == READY_A) | (this.kind == READY_B),
    ),
)


def declared(mode="multiplexed", greeting=None):
    wire = WireFormat(
        Struct(
            Const(b"\x7e"),
            "kind" / Int8ub,
            "status" / Int8ub,
            "id" / Int32ub,
            "size" / Rebuild(Int16ub, len_(this.text)),
            "text" / Bytes(this.size),
        ),
        id=this.id,
        mode=mode,
        response=this.kind == ANSWER,
        status=words.table(this.status, {int(one): one for one in Status}, Status.INTERNAL),
        service=words.split(this.text, " ", 2)[0],
        greeting=greeting or Greeting(when=this.kind >= OPTIONS, steps=STEPS, refused=this.status != 0),
        replies=Replies(
            error=lambda status, variant: {"kind": ANSWER, "status": int(status), "text": ErrorText()},
        ),
    )
    wire.name = "declared"
    return wire


@pytest.fixture(scope="module")
def formats():
    return {mode: declared(mode) for mode in MODES}


@pytest.fixture(params=MODES)
def wire(formats, request):
    return formats[request.param]


def frame(wire, kind, text=b"", number=0, status=0):
    return wire.build({"kind": kind, "status": status, "id": number, "text": text})


def take(world, wire, handle):
    """(kind, id, text) of each frame that a peer got."""
    found, data = [], bytes(world.got[handle])
    world.got[handle].clear()
    while data:
        one, size = wire.parse(data)
        found.append((one.kind, one.id, bytes(one.text)))
        data = data[size:]
    return found


def fed(world, wire, handle, said):
    """Say these one after the other, (kind, text, id, status); what came of it."""
    for one in said:
        if handle not in world.closed:
            world.feed(handle, frame(wire, *one))
    return take(world, wire, handle), handle in world.closed


# What a client says; what it hears; whether it is closed.
CLIENTS = {
    "all of it": (
        [(OPTIONS, b"tell", 3), (START_A, b"a", 4)],
        [(SUPPORTED, 3, b"<tell>"), (READY_A, 4, b"a")],
        False,
    ),
    "what is longer is cut": ([(OPTIONS, b"tell me more", 3)], [(SUPPORTED, 3, b"<tell m>")], False),
    "no options": ([(START_A, b"xyz", 0xFFFFFFFF)], [(READY_A, 0xFFFFFFFF, b"xyz")], False),
    "the other form": ([(START_B, b"", 9)], [(READY_B, 9, b"")], False),
    "options and the other form": (
        [(OPTIONS, b"", 1), (START_B, b"b", 2)],
        [(SUPPORTED, 1, b"<>"), (READY_B, 2, b"b")],
        False,
    ),
    "options twice": ([(OPTIONS, b"", 1), (OPTIONS, b"", 2)], [(SUPPORTED, 1, b"<>")], True),
    "started twice": ([(START_A, b"", 1), (START_A, b"", 2)], [(READY_A, 1, b"")], True),
    "options too late": ([(START_A, b"", 1), (OPTIONS, b"", 2)], [(READY_A, 1, b"")], True),
    "what is the server's": ([(SUPPORTED, b"", 1)], [], True),
    "an answer that nobody asked for": ([(CREDENTIALS, b"", 1)], [], True),
    "ready": ([(READY_A, b"", 1)], [], True),
    "no": ([(OPTIONS, b"", 1, 5)], [], True),
    "yes and no": ([(OPTIONS, b"", 1), (START_A, b"", 2, 5)], [(SUPPORTED, 1, b"<>")], True),
}


@pytest.mark.parametrize("case", CLIENTS)
def test_towards_clients(wire, case):
    said, heard, closed = CLIENTS[case]
    world = World(table([wire.address]))
    assert fed(world, wire, world.client(), said) == (heard, closed)


@pytest.mark.parametrize("case", [case for case, (_, _, closed) in CLIENTS.items() if not closed])
@pytest.mark.parametrize("size", [1, 7])
def test_towards_clients_however_it_comes(formats, case, size):
    said, heard, _ = CLIENTS[case]
    wire = formats["multiplexed"]
    world = World(table([wire.address]))
    client = world.client()
    data = b"".join(frame(wire, *one) for one in said)
    for at in range(0, len(data), size):
        world.feed(client, data[at : at + size])
    assert take(world, wire, client) == heard


def test_a_request_does_not_end_what_has_to_be_said(wire):
    world = World(table([wire.address]))
    for said in ([], [(OPTIONS, b"", 1)]):
        client = world.client()
        fed(world, wire, client, said)
        world.feed(client, frame(wire, REQUEST, b"svc m", 5))
        ((kind, number, text),) = take(world, wire, client)
        assert (kind, number) == (ANSWER, 5)
        assert b"before the greeting was over" in text
        heard, closed = fed(world, wire, client, [(START_B, b"b", 2)])
        assert (heard, closed) == ([(READY_B, 2, b"b")], False)


START = (START_A, 7, b"me")
# What a server says; what it hears besides the start; what becomes of the request.
SERVERS = {
    "ready": ([(READY_A, b"", 7)], [], "sent"),
    "ready as another": ([(READY_B, b"", 7)], [], "sent"),
    "a challenge": (
        [(CHALLENGE, b"prove it", 88), (READY_A, b"", 7)],
        [(CREDENTIALS, 88, b"prove it")],
        "sent",
    ),
    "a challenge for ever": (
        [(CHALLENGE, b"%d" % n, n) for n in range(40)],
        [(CREDENTIALS, 0, b"0")],
        "lost",
    ),
    "a challenge and nothing": ([(CHALLENGE, b"x", 1)], [(CREDENTIALS, 1, b"x")], "waits"),
    "the step that was left out": ([(SUPPORTED, b"", 7)], [], "lost"),
    "what is the client's": ([(CREDENTIALS, b"", 7)], [], "lost"),
    "no": ([(READY_A, b"", 7, 5)], [], "refused"),
    "an answer that says yes": ([(ANSWER, b"", 7)], [], "sent"),
    "an answer that says no": ([(ANSWER, b"wrong password", 7, 8)], [], "refused"),
    "an answer that is the service's own error": ([(ANSWER, b"wrong password", 7, 1)], [], "refused"),
    "a challenge and an answer that says no": (
        [(CHALLENGE, b"x", 1), (ANSWER, b"", 7, 8)],
        [(CREDENTIALS, 1, b"x")],
        "refused",
    ),
    "nothing": ([], [], "waits"),
}


@pytest.mark.parametrize("case", SERVERS)
def test_towards_servers(wire, case):
    said, heard, outcome = SERVERS[case]
    world = World(table([wire.address], connect_ms=400))
    client = world.client()
    world.feed(client, frame(wire, START_A, b"", 1) + frame(wire, REQUEST, b"svc m", 5))
    assert take(world, wire, client) == [(READY_A, 1, b"")]
    up = world.only_upstream()
    got, closed = fed(world, wire, up, said)
    assert got[: len(heard) + 1] == [START, *heard]
    assert [kind for kind, _, _ in got[len(heard) + 1 :]] == ([REQUEST] if outcome == "sent" else [])
    assert closed == (outcome in {"lost", "refused"})
    assert world.stat("greetings_refused") == (outcome == "refused")
    if outcome == "waits":
        world.wait(390)
        assert up not in world.closed
        world.wait(20)
        assert up in world.closed
    if outcome == "sent":
        assert take(world, wire, client) == []
    else:
        ((kind, number, text),) = take(world, wire, client)
        assert (kind, number) == (ANSWER, 5)
        assert (b"the greeting was refused" in text) == (outcome == "refused")


def test_a_client_may_leave_all_out_where_it_need_not_say_anything():
    login = Greeting(
        when=this.kind >= OPTIONS,
        steps=[
            optional(
                Turn("client", None, when=this.kind == START_A),
                Turn("server", says(READY_A, id=0)),
            ),
            optional(("client", says(START_B, b"secret", id=1)), ("server", says(READY_B, **ECHO))),
        ],
    )
    wire = declared(greeting=login)
    assert native.greeting_options(wire.address) == ("may", "with", "may", "with")
    for said, heard in (
        ([], []),
        ([(START_A, b"", 9)], [(READY_A, 0, b"")]),
        ([(START_B, b"", 9)], [(READY_B, 9, b"")]),
        ([(START_A, b"", 8), (START_B, b"", 9)], [(READY_A, 0, b""), (READY_B, 9, b"")]),
    ):
        world = World(table([wire.address]))
        client = world.client()
        world.feed(client, b"".join(frame(wire, *one) for one in said) + frame(wire, REQUEST, b"svc m", 5))
        up = world.only_upstream()
        assert (take(world, wire, client), take(world, wire, up)) == (heard, [(START_B, 1, b"secret")])
        world.feed(up, frame(wire, READY_B, b"", 1))
        assert [text for _, _, text in take(world, wire, up)] == [b"svc m"]


def test_what_is_repeated_of_nothing_is_nothing():
    first = Greeting(
        when=this.kind >= OPTIONS,
        steps=[("server", says(SUPPORTED, FromPeer(this.text), **ECHO)), ("client", says(START_A, id=1))],
    )
    wire = declared(greeting=first)
    world = World(table([wire.address]))
    assert take(world, wire, world.client()) == [(SUPPORTED, 0, b"")]


def test_a_greeting_and_replies_repeat_each_their_own():
    wire = WireFormat(
        Struct("kind" / Int8ub, "n" / Int16ub, "name" / Prefixed(Int8ub, GreedyBytes)),
        mode="ordered",
        response=this.kind == ANSWER,
        service=this.name,
        greeting=Greeting(
            when=this.kind >= OPTIONS,
            steps=[
                ("client", lambda variant: {"kind": OPTIONS, "n": 0, "name": b""}),
                (
                    "server",
                    lambda variant: {"kind": READY_A, "n": FromPeer(this.n), "name": FromPeer(this.name)},
                ),
            ],
        ),
        replies=Replies(
            error=lambda *_: {"kind": ANSWER, "n": 1, "name": [FromRequest(this.name, max=3), ErrorText()]}
        ),
    )
    wire.name = "declared"
    world = World(table([wire.address], rules=[("svc", "*")]))
    client = world.client()
    world.feed(client, wire.build({"kind": OPTIONS, "n": 0x0203, "name": b"hello"}))
    assert bytes(world.got[client]) == wire.build({"kind": READY_A, "n": 0x0203, "name": b"hello"})
    world.got[client].clear()
    world.feed(client, wire.build({"kind": REQUEST, "n": 7, "name": b"other"}))
    answer, _ = wire.parse(bytes(world.got[client]))
    assert bytes(answer.name).startswith(b"othprotokit: no route")


# Numbers of the program's header: of which greeting it is, and why that is refused.
NUMBERS = {
    "a step that there is not": ({"optional": 1 << 6}, "names a step that there is not"),
    "a companion that there is not": ({"with": 1 << 6}, "names a step that there is not"),
    "a companion of the first": ({"with": 1}, "greeting_with names a step behind one that is never left out"),
    "a companion of what is said": ({"with": 1 << 3}, "names a step behind one that is never left out"),
    "left out alone and together": (
        {"optional": 1 | 2 | 8, "with": 2 | 16},
        "names a step that may be left out alone",
    ),
    "a server's last": ({"optional": 1 << 5, "with": 0}, "and nothing tells that it was left out"),
    "relayed and said": (
        {"relayed": 1},
        "greetings are relayed where it is pinned and has no steps of its own",
    ),
    "parts behind the last": ({"asked": 4, "keep": 0}, "more is kept of a request than there is room for"),
    "heard nowhere": ({"heard": 1 << 20}, "an entry is out of range"),
}
PLACES = {one: HEADER[f"greeting_{one}"] for one in ("optional", "with", "relayed")}
PLACES |= {one: HEADER[one] for one in ("keep", "asked", "heard")}


@pytest.mark.parametrize("case", NUMBERS)
def test_a_program_whose_greeting_is_wrong_is_not_run(formats, case):
    numbers, why = NUMBERS[case]
    image = bytearray(formats["multiplexed"].image("declared"))
    assert struct.unpack_from("=5I", image, PLACES["optional"]) == (
        1 | 8,
        2 | 16,
        0,
        0,
        struct.unpack_from("=I", image, PLACES["heard"])[0],
    )
    for name, number in numbers.items():
        struct.pack_into("=I", image, PLACES[name], number)
    with pytest.raises(ProtokitError, match=why):
        native.declared(bytes(image))


def test_relayed():
    wire = declared("pinned", Greeting(when=this.kind >= OPTIONS, relayed=True))
    assert native.relays_greetings(wire.address)
    assert native.greeting(wire.address) == ()
    world = World(table([wire.address]))
    client = world.client()
    up = world.only_upstream()
    for n in range(20):
        world.feed(client, frame(wire, CREDENTIALS, b"%d" % n, n))
        assert take(world, wire, up) == [(CREDENTIALS, n, b"%d" % n)]
        world.feed(up, frame(wire, CHALLENGE, b"%d" % n, n, 5))
        assert take(world, wire, client) == [(CHALLENGE, n, b"%d" % n)]
    world.feed(client, frame(wire, REQUEST, b"svc m", 5))
    assert [kind for kind, _, _ in take(world, wire, up)] == [REQUEST]


def test_texts_tell_forms_and_are_repeated_from_maps():
    line = Struct("text" / words.Until(b"\r\n", max=80))
    parts = words.split(this.text, " ", 3)
    wire = WireFormat(
        line,
        mode="ordered",
        response=words.side == "server",
        service=parts[0],
        greeting=Greeting(
            when=words.isin(parts[0], {"HELLO", "AUTH", "+HI"}),
            steps=[
                optional(
                    Turn("client", None, when=parts[0] == "HELLO"),
                    Turn("server", lambda variant: {"text": [b"+HI ", FromPeer(parts[1])]}),
                ),
                optional(
                    Turn("client", lambda variant: {"text": b"AUTH secret"}, when=parts[0] == "AUTH"),
                    Turn("server", lambda variant: {"text": b"+OK"}),
                ),
            ],
        ),
        replies=Replies(error=lambda status, variant: {"text": [b"-ERR ", ErrorText()]}),
    )
    wire.name = "declared"
    for said, heard in (
        (b"", b""),
        (b"HELLO you\r\n", b"+HI you\r\n"),
        (b"AUTH me\r\n", b"+OK\r\n"),
        (b"HELLO a b\r\nAUTH c\r\n", b"+HI a\r\n+OK\r\n"),
    ):
        world = World(table([wire.address]))
        client = world.client()
        world.feed(client, said + b"GET x y\r\n")
        assert bytes(world.got[client]) == heard
        up = world.only_upstream()
        assert bytes(world.got[up]) == b"AUTH secret\r\n"
        world.feed(up, b"+OK\r\n")  # an answer is the step that it waits for
        assert bytes(world.got[up]) == b"AUTH secret\r\nGET x y\r\n"
        world.feed(up, b"value\r\n")
        assert bytes(world.got[client]) == heard + b"value\r\n"


def test_each_variant_greets_in_its_form_and_checksums_are_made():
    wire = WireFormat(
        Struct(
            "version" / Int8ub,
            "kind" / Int8ub,
            "extra" / If(this.version == 2, Int16ub),
            "text" / Prefixed(Int8ub, GreedyBytes),
            "crc" / Int32ub,
        ),
        mode="ordered",
        response=this.kind == 2,
        variants=({"version": 1}, {"version": 2}),
        checksum=words.crc32(this.crc, over="before"),
        greeting=Greeting(
            when=this.kind >= 8,
            steps=[
                ("client", lambda variant: {"kind": 8, "text": b"hi", "extra": 0}),
                (
                    "server",
                    lambda variant: {
                        "kind": 9,
                        "text": FromPeer(this.text),
                        **({"extra": FromPeer(this.extra)} if variant["version"] == 2 else {}),
                    },
                ),
            ],
        ),
        replies=Replies(
            error=lambda status, variant: {"kind": 2, "extra": 0, "text": ErrorText()},
        ),
    )
    wire.name = "declared"
    for version in (1, 2):
        world = World(table([wire.address]))
        client = world.client()
        said = {"version": version, "kind": 8, "extra": 0x1234, "text": b"hello"}
        if version == 1:
            del said["extra"]
        world.feed(client, wire.build(said))
        assert bytes(world.got[client]) == wire.build({**said, "kind": 9})


def test_a_client_that_says_half_a_greeting_and_stops_is_closed_in_its_time(wire):
    world = World(table([wire.address]))
    client = world.client()
    world.feed(client, frame(wire, START_A, b"abc", 1)[:-1])
    world.wait(LIMITS["frame_ms"] + 1500)
    assert client in world.closed


# Random ones, and clients that say anything: as a model of a server in Python has it.

KINDS = list(range(OPTIONS, OPTIONS + 5))


def echo(kind):
    return lambda variant: values(kind, [b"<", FromPeer(this.text, max=4)], id=FromPeer(this.id))


@st.composite
def turns(draw):
    """A step; what it says is one form, or several by what was heard."""
    who = draw(st.sampled_from(["client", "client", "server"]))
    kinds = draw(st.sets(st.sampled_from(KINDS), min_size=1, max_size=2) | st.none())
    when = None
    for kind in kinds or ():
        when = this.kind == kind if when is None else when | (this.kind == kind)
    forms = [
        (this.kind == kind, echo(kind + 100)) for kind in draw(st.sets(st.sampled_from(KINDS), max_size=2))
    ]
    say = [*forms, (True, echo(99))] if forms else echo(99)
    return Turn(who, say, when=when), kinds, [kind for kind in KINDS if forms and _told(forms, kind)]


def _told(forms, kind):
    return any(test.rhs == kind for test, _ in forms)


@st.composite
def greetings(draw):
    """The greeting; of each step who, which kinds it is, which have an answer of their own, the option."""
    steps, model = [], []
    for _ in range(draw(st.integers(1, 5))):
        group = draw(st.lists(turns(), min_size=1, max_size=3))
        left_out = draw(st.booleans())
        steps += [optional(*(turn for turn, _, _ in group))] if left_out else [turn for turn, _, _ in group]
        for number, (turn, kinds, own) in enumerate(group):
            option = "must" if not left_out else "may" if number == 0 else "with"
            model.append((turn.who, kinds, own, option))
    return Greeting(when=this.kind >= OPTIONS, steps=steps), model


class Model:
    """A server that has said what it can say, one frame of a client after the other."""

    def __init__(self, steps):
        self.steps = steps
        self.at = 0
        self.said = []
        self.say(None)

    def over(self, *, was_said):
        self.at += 1
        while not was_said and self.at < len(self.steps) and self.steps[self.at][3] == "with":
            self.at += 1

    def say(self, heard, to=99):
        while self.at < min(len(self.steps), to) and self.steps[self.at][0] == "server":
            own = self.steps[self.at][2]
            kind, number, text = heard or (0, 0, b"")
            self.said.append((kind + 100 if kind in own else 99, number, b"<" + text[:4]))
            self.over(was_said=True)

    def hear(self, kind, number, text):
        """Whether it goes on."""
        fits = [
            n
            for n in range(self.at, len(self.steps))
            if self.steps[n][0] == "client" and (self.steps[n][1] is None or kind in self.steps[n][1])
        ]
        if not fits:
            return False
        while self.at < fits[0] and self.steps[self.at][0] == "client" and self.steps[self.at][3] == "may":
            self.over(was_said=False)
            self.say(None, fits[0])
        if self.at != fits[0]:
            return False
        self.over(was_said=True)
        self.say((kind, number, text))
        return True


@pytest.mark.slow
@settings(max_examples=many(100), suppress_health_check=list(HealthCheck))
@given(
    greetings(),
    st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2**32 - 1), st.binary(max_size=6)), max_size=6),
)
def test_clients_hear_what_a_model_says(one, frames):
    greeting, steps = one
    try:
        wire = declared(greeting=greeting)
    except DeclarationError:
        reject()  # a server's step that nothing tells
    world = World(table([wire.address]))
    client, model = world.client(), Model(steps)
    heard = take(world, wire, client)
    for kind, number, text in frames:
        goes_on = model.hear(kind, number, text)
        world.feed(client, frame(wire, kind, text, number))
        heard += take(world, wire, client)
        assert heard == model.said
        assert (client not in world.closed) == goes_on
        if not goes_on:
            break
