"""Ids whose byte order a flag says, and ids that answers have elsewhere, in another field or view."""

from __future__ import annotations

import struct

import pytest
from construct import (
    Bytes,
    Const,
    GreedyBytes,
    IfThenElse,
    Int8ub,
    Int16ub,
    Int16ul,
    Int32sb,
    Int32sl,
    Int32ub,
    Int32ul,
    Int64ub,
    Int64ul,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)
from programs import HEADER, insns, place_of, with_insns
from world import World, table

from protokit import Status, WireFormat, native
from protokit.errors import DeclarationError
from protokit.wire import (
    ErrorText,
    FromRequest,
    Replies,
    Until,
    ber,
    byte_id,
    crc32,
    json,
    lines,
    msgpack,
    pairs,
    protobuf,
    side,
    split,
    tlv,
)

WIDTHS = {2: (Int16ul, Int16ub), 4: (Int32ul, Int32ub), -4: (Int32sl, Int32sb), 8: (Int64ul, Int64ub)}
MODES = ("multiplexed", "ordered", "pingpong", "pinned")


def order(little, big):
    return IfThenElse(this.flags & 1, little, big)


def wire(width=4, mode="multiplexed", line=False, summed=False):
    """kind: 0 request, 1 answer. flags: 1 little endian, of the id, the length and the sum of all."""
    return WireFormat(
        Struct(
            Const(b"BO"),
            "flags" / Int8ub,
            "kind" / Int8ub,
            "id" / order(*WIDTHS[width]),
            *(["line" / Until(b"\n", max=20)] if line else []),
            "size" / Rebuild(order(Int32ul, Int32ub), len_(this.body)),
            "body" / Bytes(this.size),
            *(["crc" / Int32ub] if summed else []),
        ),
        id=this.id,
        response=this.kind == 1,
        service=this.body,
        variants=({"flags": 0}, {"flags": 1}),
        mode=mode,
        replies=Replies(
            error=lambda status, variant: {"kind": 1, "body": ErrorText()} | ({"line": b""} if line else {})
        ),
        **({"checksum": crc32(this.crc, over="before")} if summed else {}),
    )


def frame(one, flags, kind, number, body=b"a.B"):
    made = {"flags": flags, "kind": kind, "id": number, "body": body, "line": b"l"}
    return one.build(made)


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("line", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_an_id_and_a_length_are_read_and_written_in_the_order_that_the_flag_says(width, line, summed):
    one = wire(width, line=line, summed=summed)
    slow = native.declared(one.image(one.name, shapes=False))
    for flags in (0, 1, 0, 3):
        for kind in (0, 1):
            whole = frame(one, flags, kind, 0x102)
            other = frame(one, flags, kind, 0x7F03)
            for codec in (one.address, slow):
                assert native.frame(codec, whole).id == one.message(whole).id == 0x102
                assert native.patch_id(codec, whole, 0x7F03) == other
                for end in range(1, len(whole)):
                    assert native.frame(codec, whole[:end]).result == 1
        reply = one.ask.error(Status.INTERNAL, 0x102, flags & 1, b"no")
        assert one.message(reply).id == 0x102
        assert reply[4 : 4 + abs(width)] == (0x102).to_bytes(abs(width), "little" if flags & 1 else "big")


@pytest.mark.parametrize("line", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_both_orders_share_a_connection(mode, line):
    one = wire(mode=mode, line=line)
    world = World(table([one.address], pinned=mode == "pinned"))
    for flags, number in ((1, 7), (0, 7), (1, 0x01020304)):
        client = world.client()
        for byte in frame(one, flags, 0, number):
            world.feed(client, bytes([byte]))
        up = list(world.upstreams)[-1]
        asked = one.message(bytes(world.got[up]))
        if mode != "multiplexed":
            assert asked.id == number
        assert bytes(world.got[up]) == frame(one, flags, 0, asked.id)
        world.got[up].clear()
        for byte in frame(one, flags, 1, asked.id, b"right"):
            world.feed(up, bytes([byte]))
        assert bytes(world.got[client]) == frame(one, flags, 1, number, b"right")


def test_ids_have_one_width():
    with pytest.raises(
        DeclarationError, match="id: an id of 2 bytes, and another of 4; all ids have one width"
    ):
        WireFormat(
            Struct("kind" / Int8ub, "id" / IfThenElse(this.kind == 1, Int32ub, Int16ub), "body" / Bytes(3)),
            id=this.id,
            response=this.kind == 1,
            replies=Replies(error=lambda status, variant: {"kind": 1, "body": b"err"}),
        )


def told(mode="multiplexed"):
    """Both ids stand in every frame; a request's own is in front of that which it answers."""
    return WireFormat(
        Struct(
            "size" / Rebuild(Int32ul, len_(this.body)),
            "ids"
            / IfThenElse(
                side == "client",
                Struct("id" / Int32ul, "other" / Int32ul),
                Struct("other" / Int32ul, "id" / Int32ul),
            ),
            "body" / Bytes(this.size),
        ),
        id=this.ids.id,
        response=side == "server",
        mode=mode,
        replies=Replies(error=lambda status, variant: {"ids": {"other": 0}, "body": ErrorText()}),
    )


def pair(first, second, body):
    return len(body).to_bytes(4, "little") + first.to_bytes(4, "little") + second.to_bytes(4, "little") + body


def by_field(mode="multiplexed", width=Int32ul, where="front", summed=False):
    """The same, told by a field: in front of both ids, or behind them."""
    kind = ["kind" / Int8ub]
    return WireFormat(
        Struct(
            *(kind if where == "front" else []),
            "size" / Rebuild(Int32ul, len_(this.body)),
            "id" / width,
            "answers" / width,
            *(kind if where == "behind" else []),
            "body" / Bytes(this.size),
            *(["crc" / Int32ub] if summed else []),
        ),
        id=this.id,
        answer_id=this.answers,
        response=(this.kind == 1) | (this.kind == 3),
        heartbeat=this.kind >= 2,
        mode=mode,
        replies=Replies(
            error=lambda status, variant: {"kind": 1, "id": 0, "body": ErrorText()},
            heartbeat=lambda variant: {"kind": 2, "answers": 0, "body": b""},
            ack=lambda variant: {"kind": 3, "id": 0, "body": b""},
        ),
        **({"checksum": crc32(this.crc, over="before")} if summed else {}),
    )


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("where", ["front", "behind"])
@pytest.mark.parametrize("width", [Int16ub, Int16ul, Int32ub, Int32ul, Int64ub, Int64ul])
def test_the_id_of_an_answer_stands_in_another_field(width, where, summed):
    one = by_field(width=width, where=where, summed=summed)
    slow = native.declared(one.image(one.name, shapes=False))
    for codec in (one.address, slow):
        for kind, name in ((0, "id"), (1, "answers"), (2, "id"), (3, "answers")):
            made = {"kind": kind, "id": 0x0102, "answers": 0x0304, "body": b"body"}
            frame = one.build(made)
            assert native.frame(codec, frame).id == one.message(frame).id == made[name]
            assert native.patch_id(codec, frame, 0x0506) == one.build(made | {name: 0x0506})
            for end in range(1, len(frame)):
                assert native.frame(codec, frame[:end]).result == 1
    assert one.ask.error(Status.INTERNAL, 7, 0, b"no") == one.build(
        {"kind": 1, "id": 0, "answers": 7, "body": b"no"}
    )
    beat = one.build({"kind": 2, "id": 7, "answers": 0, "body": b""})
    assert one.ask.heartbeat(7, 0) == beat
    assert one.ask.heartbeat_ack(beat) == one.build({"kind": 3, "id": 0, "answers": 7, "body": b""})


def test_a_frame_over_the_limit_is_answered_under_its_id():
    one = by_field(where="front")
    for kind, number in ((0, 7), (1, 9)):
        frame = one.build({"kind": kind, "id": 7, "answers": 9, "body": bytes(500)})
        for size in (13, 40, len(frame)):
            found = native.frame(one.address, frame[:size], 100)
            assert (found.result, found.id) == (native.frame(one.address, frame, 100).result, number)


@pytest.mark.parametrize("how", ["front", "behind"])
@pytest.mark.parametrize("mode", MODES)
def test_a_field_says_whose_answer_it_is_in_every_mode(mode, how):
    one = by_field(mode, where=how)
    world = World(table([one.address], pinned=mode == "pinned"))
    for number in (7, 9):
        client = world.client()
        world.feed(client, one.build({"kind": 0, "id": number, "answers": 5, "body": b"ask"}))
        up = list(world.upstreams)[-1]
        asked = one.message(bytes(world.got[up]))
        assert asked.fields.answers == 5
        world.got[up].clear()
        world.feed(up, one.build({"kind": 1, "id": 77, "answers": asked.id, "body": b"answer"}))
        expected = one.build({"kind": 1, "id": 77, "answers": number, "body": b"answer"})
        assert bytes(world.got[client]) == expected


WRONG = {
    "no id": ({"id": None, "mode": "ordered"}, "answer_id: it goes with id=this.NAME of an integer"),
    "a view with a field": (
        {"answer_id": byte_id(json(this.body)["re"], max=20)},
        "answer_id: it goes with id=this.NAME of an integer, or with a view: id=byte_id",
    ),
    "a section with a view": (
        {"id": byte_id(json(this.body)["id"], max=20), "answer_id": byte_id(this.body)},
        "answer_id: it goes with id=this.NAME of an integer, or with a view: id=byte_id",
    ),
    "a list of views": (
        {
            "id": byte_id(json(this.body)["id"], max=20),
            "answer_id": [byte_id(json(this.body)["re"], max=20)],
        },
        "answer_id: a list of byte_id was given, expected one; it goes with id=this.NAME of an integer, or",
    ),
    "a section": ({"id": this.body}, "answer_id: it goes with id=this.NAME of an integer"),
    "another width": (
        {"answer_id": this.kind},
        "kind: an id of 1 bytes, and another of 4; all ids have one width",
    ),
    "another order": (
        {"answer_id": this.big},
        "big: with answer_id all ids have one byte order; choose between",
    ),
    "no field": ({"answer_id": 7}, "answer_id: 7 is no field; write this.NAME"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_can_be_no_id_of_an_answer_says_why(name):
    more, why = WRONG[name]
    with pytest.raises(DeclarationError, match=why):
        WireFormat(
            Struct("id" / Int32ul, "big" / Int32ub, "kind" / Int8ub, "body" / Bytes(4)),
            **{"id": this.id, "answer_id": this.big, **more},
            response=this.kind == 1,
            replies=Replies(error=lambda status, variant: {"kind": 1, "big": 0, "body": b"fail"}),
        )


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_says_in_another_field_whose_it_is_and_keeps_its_own(mode):
    one = told(mode)
    world = World(table([one.address], pinned=mode == "pinned"))
    for number in (7, 9):
        client = world.client()
        world.feed(client, pair(number, 5, b"ask"))
        up = list(world.upstreams)[-1]
        asked = one.message(bytes(world.got[up]), "client")
        assert bytes(world.got[up]) == pair(asked.id, 5, b"ask")
        world.got[up].clear()
        world.feed(up, pair(77, asked.id, b"answer"))
        assert bytes(world.got[client]) == pair(77, number, b"answer")
    assert one.ask.error(Status.INTERNAL, 7, 0, b"no") == pair(0, 7, b"no")


def test_a_pinned_client_without_ids_gets_its_answers_in_the_order_of_its_requests():
    one = WireFormat(
        Struct("kind" / Int8ub, "size" / Rebuild(Int8ub, len_(this.body)), "body" / Bytes(this.size)),
        response=this.kind == 1,
        mode="pinned",
        service=this.body,
        replies=Replies(error=lambda status, variant: {"kind": 1, "body": ErrorText()}),
    )

    def said(kind, body):
        return bytes([kind, len(body)]) + body

    world = World(table([one.address], pinned=True))
    clients = [world.client() for _ in range(2)]
    for client in clients:
        world.feed(client, said(0, b"first") + said(0, b"second"))
    assert len(world.upstreams) == 2
    for up, client, name in zip(list(world.upstreams), clients, (b"A", b"B"), strict=True):
        assert bytes(world.got[up]) == said(0, b"first") + said(0, b"second")
        world.feed(up, said(1, name + b"1") + said(1, name + b"2"))
        assert bytes(world.got[client]) == said(1, name + b"1") + said(1, name + b"2")
    failing = World(table([one.address], pinned=True), connect="fail")
    client = failing.client()
    failing.feed(client, said(0, b"first") + said(0, b"second"))
    got = bytes(failing.got[client])
    assert one.message(got).kind == "response"
    assert got.count(b"protokit") == 2


def test_a_program_whose_id_stands_where_no_integer_does_is_refused():
    image = by_field().image("x")
    wrong = insns(image)
    at = [number for number, one in enumerate(wrong) if one[0] == "ID_AT"]
    assert len(at) == 3  # of all, and of an ack and an answer
    wrong[at[0]][1] = 0
    with pytest.raises(DeclarationError, match="ID_AT.*register 0 is no place of an id on some path"):
        native.declared(with_insns(image, wrong))


# Of each family: where requests and answers have theirs, and a section of each with that id, or with any.
KEYED = [pairs(section, key=Int8ub, value=value) for section, value in ((this.a, Int8ub), (this.b, Int16ub))]
LINES = [lines(section, ":", "\n") for section in (this.a, this.b)]
VIEWS = {
    "pairs": ([KEYED[0]["id"], KEYED[1]["re"]], {"max": 20}, b"\2id\1x", b"\2re\0\1x"),
    "lines": ([LINES[0]["id"], LINES[1]["re"]], {"max": 20}, b"v:1\nid:x", b"re:x\nv:1"),
    "json": (
        [json(this.a)["id"], json(this.b)["a"]["re"]],
        {"max": 22},
        b'{"id": 1}',
        b'{"a":{"re":1},"z":2}',
    ),
    "protobuf": ([protobuf(this.a)[4], protobuf(this.b)[1][9]], {}, b"\x20\1", b"\x0a\2\x48\1"),
    "tlv": (
        [tlv(this.a, Int8ub, Int8ub)[7], tlv(this.b, Int16ub, Int16ub)[9]],
        {"max": 20},
        b"\7\1x",
        b"\0\x09\0\1x",
    ),
    "msgpack": ([msgpack(this.a)["id"], msgpack(this.b)[1]], {"max": 9}, b"\x81\xa2id\1", b"\x92\xc0\1"),
    "ber": (
        [ber(this.a)[0]["02"], ber(this.b)[0]["a1"][0]],
        {"max": 9},
        b"\x30\3\2\1\1",
        b"\x30\5\xa1\3\2\1\1",
    ),
}


def by_view(first, second, keywords, around, **more):
    """kind: 0 request, 1 answer, 2 ping, 3 pong. Both sections are in every frame."""
    a, b = around

    def said(kind, body=b""):
        return {"kind": kind, "a": a, "b": b, "body": body}

    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "a" / Prefixed(Int8ub, GreedyBytes),
            "size" / Rebuild(Int16ub, len_(this.b) + len_(this.body)),
            "front" / Rebuild(Int16ub, len_(this.b)),
            "b" / Bytes(this.front),
            "body" / Bytes(this.size - this.front),
        ),
        id=byte_id(first, **keywords),
        answer_id=byte_id(second, **keywords),
        response=(this.kind & 1) == 1,
        heartbeat=this.kind >= 2,
        service=this.body,
        replies=Replies(
            error=lambda status, variant: said(1, ErrorText()),
            heartbeat=lambda variant: said(2),
            ack=lambda variant: said(3),
        ),
        **more,
    )


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
@pytest.mark.parametrize("name", VIEWS)
def test_the_id_of_an_answer_stands_in_another_view(name, kind):
    (first, second), keywords, *around = VIEWS[name]
    one = by_view(first, second, keywords, around)
    ids = one.meaning.named.of(answers=kind & 1)
    values = {"kind": kind, "a": around[0], "b": around[1], "body": b"a.B"}
    frame = one.build(values)
    for other in (0, 1, 300, 1 << 62, ids.longest, ids.write(1)):
        text = other if isinstance(other, bytes) else ids.write(other)
        made = one.parse(one.build(values))[0]
        ids.put(made, text)
        changed = one.build(made)
        assert native.frame(one.address, changed).id == one.message(changed).id == text
        assert native.patch_id(one.address, frame, text) == changed
        assert native.patch_id(one.address, changed, one.message(frame).id) == frame
    asked = ids.longest
    if kind == 1:
        made = one.parse(one.build(values | {"body": b"no"}))[0]
        ids.put(made, asked)
        assert one.ask.error(Status.INTERNAL, asked, 0, b"no") == one.build(made)
    if kind == 2:
        assert one.message(one.ask.heartbeat_ack(frame)).id == one.message(frame).id
        assert one.message(one.ask.heartbeat(7, 0)).id == ids.write(7)


@pytest.mark.parametrize("name", ["lines", "json"])
def test_what_is_no_id_in_that_frame_may_be_longer_malformed_or_not_there(name):
    (first, second), keywords, *around = VIEWS[name]
    one = by_view(first, second, keywords, around)
    long = {"lines": b"id:" + b"x" * 99, "json": b'{"id":"' + b"x" * 99 + b'"}'}[name]
    for a in (long, b"{", b""):
        frame = one.build({"kind": 1, "a": a, "b": around[1], "body": b""})
        assert (native.frame(one.address, frame).result, one.parse(frame)[1]) == (0, len(frame))
        assert native.frame(one.address, frame).id == one.message(frame).id != b""
    frame = one.build({"kind": 0, "a": long, "b": around[1], "body": b""})
    assert native.frame(one.address, frame).result == -2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", VIEWS)
def test_a_view_says_whose_answer_it_is_in_every_mode(name, mode):
    (first, second), keywords, *around = VIEWS[name]
    one = by_view(first, second, keywords, around, mode=mode)
    world = World(table([one.address], pinned=mode == "pinned"))
    named = one.meaning.named

    def frame(kind, text, body):
        made = one.parse(one.build({"kind": kind, "a": around[0], "b": around[1], "body": body}))[0]
        named.of(answers=kind == 1).put(made, text)
        return one.build(made)

    clients = [world.client() for _ in range(2)]
    for n, client in enumerate(clients):  # both ask under one id
        world.feed(client, frame(0, named.longest, b"ask %d" % n))
    while waiting := [up for up in world.upstreams if world.got[up]]:
        for up in waiting:
            asked = one.message(bytes(world.got[up]))
            assert (asked.id == named.longest) == (mode != "multiplexed")
            world.got[up] = world.got[up][asked.size :]
            world.feed(up, frame(1, asked.id, b"of " + asked.fields.body))
    for n, client in enumerate(clients):
        assert bytes(world.got[client]) == frame(1, named.longest, b"of ask %d" % n)


def test_ids_that_stay_may_be_parts_of_texts():
    ids = [byte_id(split(section, " ", 2)[1], max=9) for section in (this.a, this.b)]
    one = WireFormat(
        Struct(
            "kind" / Int8ub,
            "a" / Until(b"\n", 40),
            "b" / Until(b"\n", 40),
            "body" / Prefixed(Int8ub, GreedyBytes),
        ),
        id=ids[0],
        answer_id=ids[1],
        response=this.kind == 1,
        service=this.body,
        mode="pinned",
        replies=Replies(
            error=lambda status, variant: {
                "kind": 1,
                "a": b"x own",
                "b": [b"re ", FromRequest(ids[0])],
                "body": ErrorText(),
            }
        ),
    )
    for kind, found in ((0, b"one"), (1, b"two")):
        frame = bytes([kind]) + b"x one\ny two\n\3a.B"
        assert native.frame(one.address, frame).id == one.message(frame).id == found
    world = World(table([one.address], pinned=True), connect="fail")
    client = world.client()
    world.feed(client, b"\0x one\ny two\n\3a.B")
    got = bytes(world.got[client])
    assert one.message(got).id == b"one"
    assert got.startswith(b"\1x own\nre one\n")


UNLIKE = {
    "families": (
        json(this.a)["id"],
        LINES[1]["re"],
        {"max": 20},
        {"max": 20},
        "answer_id: answers have a value of lines, requests a value of json; an answer repeats the id as",
    ),
    "maps": (
        KEYED[0]["id"],
        LINES[1]["re"],
        {"max": 20},
        {"max": 20},
        "answer_id: answers have a value of lines, requests a value of pairs",
    ),
    "most": (
        json(this.a)["id"],
        json(this.b)["id"],
        {"max": 20},
        {"max": 30},
        "answer_id: answers have ids of up to 30 bytes, requests ids of up to 20 bytes",
    ),
    "forms": (
        json(this.a)["id"],
        json(this.b)["id"],
        {"max": 22},
        {"max": 22, "form": "quoted"},
        "answer_id: answers have ids of the form quoted, requests ids of the form decimal",
    ),
    "delimiters": (
        LINES[0]["id"],
        lines(this.b, ":", ";")["id"],
        {"max": 22},
        {"max": 22},
        "answer_id: answers have ids that b';' ends, requests ids that b'",
    ),
    "a part that the engine would write": (
        LINES[0]["id"],
        split(this.b, ":", 2)[0],
        {"max": 22},
        {"max": 22},
        "byte_id: an id that is no field stands in one place",
    ),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_ids_of_requests_and_answers_are_encoded_alike(name):
    first, second, *keywords, why = UNLIKE[name]
    with pytest.raises(DeclarationError, match=why):
        WireFormat(
            Struct("a" / Prefixed(Int8ub, GreedyBytes), "b" / Prefixed(Int8ub, GreedyBytes)),
            id=byte_id(first, **keywords[0]),
            answer_id=byte_id(second, **keywords[1]),
            response=this.a == 1,
            replies=Replies(error=None),
        )


@pytest.mark.parametrize("answers", [0, 1])
@pytest.mark.parametrize(("word", "wrong"), [(0, 256), (0, 0), (2, 9999), (3, 4), (4, 4)])
def test_a_program_whose_ids_stand_out_of_range_is_refused(answers, word, wrong):
    (first, second), keywords, *around = VIEWS["json"]
    image = bytearray(by_view(first, second, keywords, around).image("x"))
    at = HEADER["id_of"] + 20 * answers + 4 * word
    image[at : at + 4] = wrong.to_bytes(4, "little")
    why = "where the id stands is out of range" if word < 3 else "a counter of the id is out of range"
    why = "no section on some path" if wrong == 0 else why
    with pytest.raises(DeclarationError, match=why):
        native.declared(bytes(image))


@pytest.mark.parametrize("answers", [0, 1])
@pytest.mark.parametrize("behind", [0, 1])
def test_a_counter_behind_all_counters_is_no_ids(answers, behind):
    (first, second), keywords, *around = VIEWS["json"]
    image = bytearray(by_view(first, second, keywords, around).image("x"))
    at = HEADER["id_of"] + 20 * answers + 4 * 3
    image[at : at + 8] = struct.pack("=2I", place_of(image, "counters")[1] + behind, 1)
    with pytest.raises(DeclarationError, match="a counter of the id is out of range"):
        native.declared(bytes(image))


@pytest.mark.parametrize(
    "view",
    [
        lambda section: json(section)["to"]["re"],
        lambda section: msgpack(section)["to"]["re"],
        lambda section: protobuf(section)[1][4],
    ],
    ids=["json", "msgpack", "protobuf"],
)
def test_a_reply_without_a_section_is_given_one_for_the_id_inside_of_it(view):
    """Whatever it stands in is made with it."""
    plain = {"asked": b"", "answered": b""}
    one = WireFormat(
        Struct(
            "kind" / Int8ub,
            "asked" / Prefixed(Int16ub, GreedyBytes),
            "answered" / Prefixed(Int16ub, GreedyBytes),
        ),
        id=byte_id(view(this.asked), max=20),
        answer_id=byte_id(view(this.answered), max=20),
        response=(this.kind == 1) | (this.kind == 3),
        heartbeat=this.kind > 1,
        replies=Replies(
            error=lambda status, variant: {"kind": 1, **plain},
            heartbeat=lambda variant: {"kind": 2, **plain},
            ack=lambda variant: {"kind": 3, **plain},
        ),
    )
    beat = one.ask.heartbeat(7)
    for reply in (beat, one.ask.heartbeat_ack(beat), one.ask.error(Status.INTERNAL, 7, 0, b"no")):
        assert native.frame(one.address, reply).id in {b"7", b"\x07"}
