"""Answers of declared formats that are laid out, or understood, by what was asked."""

from __future__ import annotations

import itertools

import pytest
from construct import (
    Bytes,
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
from world import World, table

from protokit import Status, WireFormat
from protokit import wire as words
from protokit.errors import DeclarationError
from protokit.wire import ErrorText, Replies, Until, asked, side, starts

VERB = words.split(this.line, " ", 3)
BODY = Prefixed(Int8ub, GreedyBytes)
IN_ORDER = ["ordered", "pingpong"]


def by_line(mode, **more):
    """A line; behind it an answer has a body, but to HEAD; to WATCH there are several up to a point."""
    wire = WireFormat(
        Struct(
            "line" / Until(b"\n", max=80),
            "body" / If((side == "server") & (asked(starts(VERB[0], "HEAD")) == 0), BODY),
        ),
        **{
            "mode": mode,
            "response": side == "server",
            "more": asked(VERB[0] == "WATCH") & ~(words.text(this.line) == "."),
            "service": VERB[1],
            "method": VERB[0],
            "replies": Replies(error=lambda *_: {"line": [b"!", ErrorText()], "body": b""}),
            **more,
        },
    )
    wire.name = "lined"
    return wire


@pytest.mark.parametrize("mode", IN_ORDER)
@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize("verbs", list(itertools.product([b"HEAD", b"GET"], repeat=3)))
def test_an_answer_ends_where_its_request_says(mode, size, verbs):
    wire = by_line(mode)
    world = World(table([wire.address]))
    client = world.client()
    for number, verb in enumerate(verbs):
        world.feed(client, b"%s svc %d\n" % (verb, number))
    expected = [b"%d\n" % n + (b"" if verb == b"HEAD" else b"\x03a\nb") for n, verb in enumerate(verbs)]
    answers = dict(enumerate(expected))
    told = 0
    while answers:
        for up in list(world.upstreams):
            heard = bytes(world.got[up]).split(b"\n")[:-1]
            world.got[up].clear()
            for line in heard:
                data = answers.pop(int(line.split()[2]))
                for at in range(0, len(data), size):
                    world.feed(up, data[at : at + size])
        told += 1
        assert told < 10
    assert bytes(world.got[client]) == b"".join(expected)
    assert not world.closed
    assert world.stat("answers_unmatched") == 0


@pytest.mark.parametrize("mode", IN_ORDER)
def test_what_nobody_asked_for_is_read_as_if_nothing_was_known(mode):
    wire = by_line(mode)
    world = World(table([wire.address]))
    client = world.client()
    world.feed(client, b"HEAD svc\n")
    up = world.only_upstream()
    world.feed(up, b"a\n" + b"b\n\x01c")  # the second is to nothing
    assert bytes(world.got[client]) == b"a\n"
    assert world.stat("answers_unmatched") == 1


@pytest.mark.parametrize("mode", IN_ORDER)
def test_a_late_answer_is_read_by_what_it_answers(mode):
    wire = by_line(mode)
    world = World(table([wire.address], limits={"request_ms": 300}))
    first, second = world.client(), world.client()
    world.feed(first, b"HEAD svc 1\n")
    world.wait(400)
    assert b"!protokit" in world.got[first]
    up = next(iter(world.upstreams), None)
    world.feed(second, b"GET svc 2\n")
    for handle in list(world.upstreams):
        data = b"".join(
            b"late\n" if line.startswith(b"HEAD") else b"yes\n\x01x"
            for line in bytes(world.got[handle]).split(b"\n")[:-1]
        )
        world.feed(handle, data)
    assert bytes(world.got[second]) == b"yes\n\x01x", up


@pytest.mark.parametrize("mode", IN_ORDER)
def test_what_is_asked_says_how_many_answers_there_are(mode):
    wire = by_line(mode)
    world = World(table([wire.address]))
    client = world.client()
    world.feed(client, b"WATCH svc\n")
    up = world.only_upstream()
    said = b"a\n\0" + b"b\n\x01x" + b".\n\0"
    world.feed(up, said)
    assert bytes(world.got[client]) == said
    world.feed(client, b"GET svc\n")
    world.feed(world.only_upstream(), b"a\n\0" + b"b\n\0")
    assert bytes(world.got[client]) == said + b"a\n\0"
    assert world.stat("answers_unmatched") == 1


def by_key(mode="multiplexed", **more):
    """Requests have a key and an id, answers an id alone; what a code means depends on the key."""
    wire = WireFormat(
        Struct(
            "size" / Rebuild(Int16ub, len_(this.body) + 6 + 2 * (side == "client")),
            "key" / If(side == "client", Int16ub),
            "id" / Int32ub,
            "code" / Int16ub,
            "body" / Bytes(this.size - 6 - 2 * (side == "client")),
        ),
        **{
            "id": this.id,
            "mode": mode,
            "response": side == "server",
            "service": words.decimal(this.key),
            "status": words.table(
                asked(this.key) * 256 + this.code,
                {3 * 256 + 7: Status.OVERLOADED, 3 * 256 + 1: Status.INTERNAL, 3 * 256 + 99: Status.INTERNAL},
                Status.OK,
            ),
            "app_error": asked(this.key == 4) & (this.code == 7),
            "replies": Replies(error=lambda *_: {"code": 99, "body": ErrorText()}),
            **more,
        },
    )
    wire.name = "keyed"
    return wire


@pytest.mark.parametrize("mode", ["multiplexed", "pinned"])
@pytest.mark.parametrize(("key", "code", "errors"), [(3, 0, 0), (3, 7, 1), (3, 1, 1), (2, 7, 0), (4, 7, 0)])
def test_a_status_means_what_its_request_asked(mode, key, code, errors):
    wire = by_key(mode)
    world = World(table([wire.address]))
    client = world.client()
    for other in (2, 3, 4):  # their answers come later
        world.feed(client, wire.build({"key": other, "id": 100 + other, "code": 0, "body": b"x"}, "client"))
    world.feed(client, wire.build({"key": key, "id": 5, "code": 0, "body": b"mine"}, "client"))
    up = world.only_upstream()
    data, ids = bytes(world.got[up]), []
    while data:
        one, size = wire.parse(data, "client")
        ids.append(one.id)
        data = data[size:]
    world.feed(up, wire.build({"id": ids[3], "code": code, "body": b"yes"}, "server"))
    assert bytes(world.got[client]) == wire.build({"id": 5, "code": code, "body": b"yes"}, "server")
    assert world.core.endpoint_stats(0)["errors"] == errors
    assert not world.closed


def test_what_is_asked_says_how_many_answers_there_are_under_an_id():
    wire = by_key(more=asked(this.key == 5) & (this.code == 1))
    world = World(table([wire.address]))
    client = world.client()
    for key, number in ((5, 50), (6, 60)):
        world.feed(client, wire.build({"key": key, "id": number, "code": 0, "body": b""}, "client"))
    up = world.only_upstream()
    data = bytes(world.got[up])
    ids = [wire.parse(data, "client")[0].id, wire.parse(data[len(data) // 2 :], "client")[0].id]

    def answer(number, code, body):
        return wire.build({"id": number, "code": code, "body": body}, "server")

    for number, code in ((0, 1), (1, 1), (0, 1), (1, 1), (0, 0), (0, 0)):
        world.feed(up, answer(ids[number], code, b"x"))
    assert bytes(world.got[client]) == (
        answer(50, 1, b"x") + answer(60, 1, b"x") + answer(50, 1, b"x") + answer(50, 0, b"x")
    )
    assert world.stat("answers_unmatched") == 2


def test_several_things_are_known_beside_what_is_kept():
    """Each in its bits: two comparisons, a field, and a field of ``keep`` in front of them."""
    wire = WireFormat(
        Struct(
            "kind" / Int8ub,
            "mark" / Int8ub,
            "text" / If(side == "client", BODY),
            "a" / If((side == "server") & (asked(this.kind == 1) == 1), Int8ub),
            "b" / If((side == "server") & (asked(starts(words.text(this.text), "b")) == 1), Int16ub),
            "c" / If(side == "server", Bytes(asked(this.kind))),
        ),
        mode="ordered",
        response=side == "server",
        service=words.text(this.text),
        keep=(this.mark,),
        replies=Replies(
            error=lambda *_: {"kind": 9, "mark": words.kept(this.mark), "a": 0, "b": 0, "c": b""},
        ),
    )
    wire.name = "known"
    for kind, text in itertools.product((0, 1, 2, 255), (b"", b"a", b"bb")):
        world = World(table([wire.address]))
        client = world.client()
        world.feed(client, bytes([kind, 77, len(text)]) + text)
        size = 2 + (kind == 1) + 2 * text.startswith(b"b") + kind
        up = world.only_upstream()
        world.feed(up, bytes(size - 1))
        assert not world.got[client]
        world.feed(up, b"x")
        assert bytes(world.got[client]) == bytes(size - 1) + b"x"


WRONG = {
    "a kind that depends on a request": (
        lambda: by_line("ordered", response=asked(VERB[0] == "x")),
        r"response: what a frame is does not depend on a request; asked\(\) goes into status, app_error",
    ),
    "a layout where answers come in any order": (
        lambda: WireFormat(
            Struct("id" / Int32ub, "more" / If(asked(this.id == 1), Int8ub)),
            id=this.id,
            response=side == "server",
            replies=Replies(error=lambda *_: {}),
        ),
        r"asked\(\(id == 1\)\) stands in the layout, and with mode='multiplexed' an answer has to be read",
    ),
    "a value of unknown width": (
        lambda: by_key(status=words.table(asked(this.key + 1), {0: Status.OK}, Status.INTERNAL)),
        r"asked\(.*\): say how many bits it takes: asked\(..., bits=8\)",
    ),
    "too many bits": (
        lambda: by_key(status=words.table(asked(this.id), {0: Status.OK}, Status.INTERNAL)),
        "33 bits of a request are asked for, with those of keep; 24 are kept. Ask for less: asked",
    ),
    "bits out of range": (lambda: asked(this.key, bits=25), "asked: bits=25 was given; 1 to 24 can be kept"),
    "a section": (
        lambda: by_key(status=words.table(asked(this.body, 8), {0: Status.OK}, Status.INTERNAL)),
        "asked: this.body is a section of bytes, and only integers are computed with",
    ),
    "what was asked of what was asked": (
        lambda: by_key(status=words.table(asked(asked(this.key), 8), {0: Status.OK}, Status.INTERNAL)),
        "say how many bits it takes",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_known_is_refused(case):
    make, said = WRONG[case]
    with pytest.raises(DeclarationError, match=said):
        make()
