"""Ids that a number in a text counts: another id changes its digits, where they stand, and nothing else."""

from __future__ import annotations

import pytest
from construct import Bytes, Check, GreedyBytes, Int8ub, Int32ub, Prefixed, Rebuild, Struct, len_, this
from programs import insns, place_of, with_insns
from world import World, table

from protokit import Protocol, Status, WireFormat, native
from protokit.errors import DeclarationError, LocalProtocolError
from protokit.testing.voices import DeclaredVoice
from protokit.wire import (
    ErrorText,
    Replies,
    Until,
    byte_id,
    crc32,
    first,
    json,
    lines,
    number,
    protobuf,
    split,
    starts,
)

HEAD = lines(this.head, ":", "\r\n", ignore_case=True, trim=" \t")
LENGTH = HEAD["Content-Length"]
WORDS = split(this.head, " ", 3)
MODES = ("multiplexed", "ordered", "pingpong", "pinned")
BLANK = "head" / Until(b"\r\n\r\n", max=80)
LINE = "head" / Until(b"\n", max=60)


def wire(length, layout=LINE, said=b"0", between=(), behind=(), **more):
    """kind: 0 request, 1 answer."""
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            Check(this.kind <= 1),
            layout,
            *between,
            "body" / Bytes(length),
            "rest" / Prefixed(Int8ub, GreedyBytes),
            *behind,
        ),
        id=byte_id(json(this.body)["id"], max=40),
        response=this.kind == 1,
        service=this.rest,
        replies=Replies(
            error=lambda *_: {
                "kind": 1,
                "head": said,
                "body": b'{"id":0}',
                "rest": ErrorText(),
            }
        ),
        **more,
    )


def header(**more):
    return wire(number(LENGTH), BLANK, b"Content-Length: 0", **more)


# A format, and what may stand in front of a body of so many bytes.
FORMATS = {
    "a header": (
        header(),
        [
            lambda size: b"Content-Length: %d\r\n\r\n" % size,
            lambda size: b"content-length:%d\r\n\r\n" % size,
            lambda size: b"a: b\r\nCONTENT-LENGTH: \t%d \t\r\nz: 7\r\n\r\n" % size,
            lambda size: b"Content-Length: %05d\r\n\r\n" % size,
            lambda size: b"Content-Length: %020d\r\n\r\n" % size,
        ],
    ),
    "a word of a line": (
        wire(number(WORDS[1]), said=b"a 0 z"),
        [lambda size: b"PUT %d\n" % size, lambda size: b"PUT %06d 7 more\n" % size],
    ),
    "a line of its own": (
        wire(number(this.head)),
        [lambda size: b"%d\n" % size, lambda size: b"%08d\n" % size],
    ),
    "the first of two headers": (
        wire(number(first(LENGTH, HEAD["l"])), BLANK, b"l: 0"),
        [lambda size: b"l: %d\r\n\r\n" % size, lambda size: b"l: x\r\nContent-Length: %d\r\n\r\n" % size],
    ),
    "a section of fixed size": (
        wire(number(this.head), "head" / Bytes(4), b"0000"),
        [lambda size: b"%04d" % size],
    ),
    "more than the section": (wire(number(this.head) - 3), [lambda size: b"%d\n" % (size + 3)]),
    "less than the section": (wire(number(this.head) + 5), [lambda size: b"%d\n" % (size - 5)]),
    "a number that decides something, too": (
        wire(number(this.head), between=[Check(starts(this.head, "-") == 0)]),
        [lambda size: b"%d\n" % size],
    ),
}
TOKENS = [b"7", b"12", b"123", b'"ab"', b'"' + b"x" * 8 + b'"', b"1" * 20, b'"' + b"y" * 38 + b'"']
SIZES = [8, 9, 10, 11, 15, 61, 97, 98, 99, 100, 101, 140, 961, 999, 1000, 1001]


def body(token, size=0):
    """JSON of so many bytes, or the shortest."""
    made = b'{"id":' + token + b"}"
    return made + b" " * (size - len(made))


def frame_of(head, content):
    return b"\0" + head(len(content)) + content + b"\3a.B"


@pytest.mark.parametrize("which", FORMATS)
def test_the_number_follows_ids_of_every_width(which):
    """Also where it has one digit more, or fewer; and back again."""
    one, heads = FORMATS[which]
    voice = DeclaredVoice(Protocol("told", one))
    grown = set()
    for head in heads:
        for size in SIZES:
            for token in TOKENS:
                content = body(token, size)
                frame = frame_of(head, content)
                assert native.frame(one.address, frame).id == one.message(frame).id == token
                for other in TOKENS:
                    changed = native.patch_id(one.address, frame, other)
                    assert changed == frame_of(head, content.replace(token, other, 1))
                    if size in {9, 99, 1000}:
                        assert changed == voice.with_id(frame, other)
                    assert native.patch_id(one.address, changed, token) == frame
                    grown.add(len(changed) - len(frame) - len(other) + len(token))
    assert grown == ({0} if which == "a section of fixed size" else {-1, 0, 1})


NO_ROOM = {
    "a section of fixed size": (wire(number(this.head), "head" / Bytes(2), b"00"), b"99", 99),
    "a number with a zero in front": (wire(number(this.head)), b"099\n", 99),
    "a header with a zero in front": (header(), b"Content-Length: 09\r\n\r\n", 9),
    "a head that is full": (header(), b"Content-Length: 99\r\nx: " + b"y" * 57 + b"\r\n\r\n", 99),
    "a header that is there twice": (header(), b"Content-Length: 90\r\ncontent-length:90\r\n\r\n", 90),
    "too many zeros": (header(), b"Content-Length: %021d\r\n\r\n" % 90, 90),
}


@pytest.mark.parametrize("which", NO_ROOM)
def test_a_number_without_room_is_left_as_it_is(which):
    one, head, size = NO_ROOM[which]
    frame = b"\0" + head + body(b"7", size) + b"\3a.B"
    assert native.frame(one.address, frame).id == one.message(frame).id == b"7"
    assert native.patch_id(one.address, frame, b"8") == frame.replace(b'"id":7', b'"id":8')
    with pytest.raises(LocalProtocolError, match="cannot have the id"):
        native.patch_id(one.address, frame, b"12")
    with pytest.raises(LocalProtocolError):
        DeclaredVoice(Protocol("told", one)).with_id(frame, b"12")


def test_what_is_no_number_of_its_section_is_not_written():
    """A default has no place in the frame."""
    one = wire(number(first(LENGTH, "9")), BLANK, b"Content-Length: 0")
    frame = b"\0x: y\r\n\r\n" + body(b"77") + b"\3a.B"
    assert native.frame(one.address, frame).id == b"77"
    assert native.patch_id(one.address, frame, b"12") == frame.replace(b"77", b"12")
    with pytest.raises(LocalProtocolError, match="cannot have the id"):
        native.patch_id(one.address, frame, b"1")


def test_lengths_inside_the_section_grow_and_are_counted():
    """The id's own length is a varint in a message, whose length is one: both have a byte more."""
    one = WireFormat(
        Struct("kind" / Int8ub, "n" / Until(b"\n", max=12), "meta" / Bytes(number(this.n)), "rest" / Int8ub),
        id=byte_id(protobuf(this.meta)[1][2], max=64, form="decimal"),
        response=this.kind == 1,
        replies=Replies(error=lambda *_: {"kind": 1, "n": b"0", "meta": b"", "rest": 0}),
    )

    def framed(token, more):
        inner = b"\x12" + bytes([len(token)]) + token + b"\x0a" + bytes([more]) + bytes(more)
        size = len(inner)
        sized = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
        meta = b"\x0a" + sized + inner
        return b"\0%d\n" % len(meta) + meta + b"z"

    for more in range(128):
        frame = framed(b"abc", more)
        assert native.frame(one.address, frame).id == one.message(frame).id == b"abc"
        for other in (b"", b"a", b"abcd", b"x" * 20, b"y" * 63):
            assert native.patch_id(one.address, frame, other) == framed(other, more)


def test_an_id_that_a_number_counts_by_itself():
    one = WireFormat(
        Struct(
            "kind" / Int8ub,
            "n" / Until(b" ", max=9),
            "id" / Bytes(number(this.n)),
            "rest" / Prefixed(Int8ub, GreedyBytes),
            "crc" / Int32ub,
        ),
        id=byte_id(this.id, max=30),
        response=this.kind == 1,
        checksum=crc32(this.crc, over="before"),
        replies=Replies(error=lambda *_: {"kind": 1, "n": b"0", "rest": ErrorText()}),
    )
    voice = DeclaredVoice(Protocol("told", one))
    for size in (0, 1, 8, 9, 10, 11, 29, 30):
        frame = one.build({"kind": 0, "n": b"", "id": b"i" * size, "rest": b"a"})
        assert frame.startswith(b"\0%d " % size)
        for other in (0, 1, 9, 10, 30):
            changed = native.patch_id(one.address, frame, b"j" * other)
            assert changed == one.build({"kind": 0, "n": b"", "id": b"j" * other, "rest": b"a"})
            assert changed == voice.with_id(frame, b"j" * other)
        error = native.error(one.address, Status.DENIED, b"i" * size, 0, b"no")
        assert error == one.build({"kind": 1, "n": b"", "id": b"i" * size, "rest": b"no"})


@pytest.mark.parametrize("text", [b"", b"no", b"n" * 85, b"n" * 200])
@pytest.mark.parametrize("token", TOKENS)
def test_an_error_counts_the_clients_id_and_its_text(token, text):
    one = WireFormat(
        Struct(BLANK, "body" / Bytes(number(LENGTH))),
        id=byte_id(json(this.body)["id"], max=40),
        mode="pinned",
        response=starts(json(this.body)["method"], "") == 0,
        service=json(this.body)["method"],
        replies=Replies(
            error=lambda *_: {
                "head": b"Content-Length: 0",
                "body": [b'{"id":0,"error":"', ErrorText(), b'"}'],
            },
            encoding="json",
        ),
    )
    said = b'{"id":%s,"error":"%s"}' % (token, text)
    expected = b"Content-Length: %d\r\n\r\n" % len(said) + said
    assert native.error(one.address, Status.DENIED, token, 0, text) == expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("token", TOKENS)
def test_a_client_gets_its_id_back_in_every_mode(mode, token):
    """Its number has other digits in front of the server."""
    one = header(mode=mode)
    head = FORMATS["a header"][1][0]
    content = b'{"id":%s}' % token + b" " * (99 - 7 - len(token))
    for connect in ("ok", "fail"):
        world = World(table([one.address], pinned=mode == "pinned"), connect=connect)
        client = world.client()
        world.feed(client, frame_of(head, content))
        if connect == "fail":
            assert one.message(bytes(world.got[client])).id == token
            continue
        up = world.only_upstream()
        issued = content.replace(token, b"1", 1) if mode == "multiplexed" else content
        assert bytes(world.got[up]) == frame_of(head, issued)
        world.feed(up, b"\1" + frame_of(head, issued)[1:])
        assert bytes(world.got[client]) == b"\1" + frame_of(head, content)[1:]


def test_a_request_whose_number_has_no_room_is_answered_and_others_go_on():
    one, head, size = NO_ROOM["a header that is there twice"]
    world = World(table([one.address]))
    client = world.client()
    world.feed(client, b"\0" + head + body(b'"ab"', size) + b"\3a.B")
    assert one.parse(bytes(world.got[client]))[0].rest == b"protokit: the request cannot have another id"
    world.got[client].clear()
    world.feed(client, frame_of(FORMATS["a header"][1][0], body(b"7", size)))
    assert one.message(bytes(world.got[world.only_upstream()])).id == one.meaning.named.write(2)
    assert bytes(world.got[client]) == b""


SIZED = ["size" / Rebuild(Int8ub, len_(this.head)), "head" / Bytes(this.size)]


def refused(*fields, about=None):
    return WireFormat(
        Struct("kind" / Int8ub, *fields),
        id=byte_id(json(this.body)["id"], max=40) if about is None else about,
        response=this.kind == 1,
        replies=Replies(error=lambda *_: {"kind": 1}),
    )


REFUSED = {
    "a section with a length of its own": (
        lambda: refused(*SIZED, "body" / Bytes(number(HEAD["l"]))),
        "head: lines.*counts the id body, whose digits may be more or fewer; let a delimiter end",
    ),
    "a part of a section of fixed size": (
        lambda: refused("head" / Bytes(9), "body" / Bytes(number(WORDS[1]))),
        "head: split.*counts the id body.*give the number a section of fixed size",
    ),
    "two sections": (
        lambda: refused(LINE, "n" / Until(b" ", max=9), "body" / Bytes(number(first(WORDS[1], this.n)))),
        "head: .*counts the id body",
    ),
    "a section whose size is counted": (
        lambda: refused(LINE, "body" / Bytes(number(WORDS[1])), "more" / Bytes(len_(this.head))),
        "head: its size is counted, and changes with the digits",
    ),
    "a check": (
        lambda: refused(LINE, Check(number(WORDS[1]) < 90), "body" / Bytes(number(WORDS[1]))),
        "head: a check goes by .*; the engine's own ids have other sizes",
    ),
    "two numbers": (
        lambda: refused(LINE, "body" / Bytes(number(WORDS[1]) - number(WORDS[2]))),
        "body: an id's length is one field, or one number in a text, plus or minus a constant",
    ),
    "a number less": (
        lambda: refused(LINE, "body" / Bytes(100 - number(WORDS[1]))),
        "body: an id's length is one field, or one number in a text",
    ),
    "a number of which two lengths depend": (
        lambda: refused(
            LINE,
            "body" / Bytes(number(WORDS[0])),
            "rest" / Bytes(number(WORDS[1]) - number(WORDS[0])),
        ),
        "body: a number in a text counts the id only alone",
    ),
}


@pytest.mark.parametrize("which", REFUSED)
def test_what_cannot_follow_is_refused_with_the_reason(which):
    make, why = REFUSED[which]
    with pytest.raises(DeclarationError, match=why):
        make()


def changed(image, **operands):
    """The image with the first counter changed."""
    at, count, _ = place_of(image, "counters")
    assert count == 1
    image = bytearray(image)
    for place, name in enumerate(("at", "form")):
        if name in operands:
            image[at + 4 * place : at + 4 * place + 4] = operands[name].to_bytes(4, "little")
    return bytes(image)


@pytest.mark.parametrize(
    ("operands", "why"),
    [
        ({"form": 64 | 1}, "a counter of the id is out of range"),
        ({"form": 32 | 64}, "a counter of the id is out of range"),
        ({"form": 128}, "a counter of the id is out of range"),
        ({"form": 256 | 64}, "a counter of the id is out of range"),
        ({"at": 256}, "a counter of the id is out of range"),
        ({"at": 250}, "digits that count an id are no section on some path"),
        ({"form": 0}, "what counts an id is no place on some path"),
    ],
)
def test_a_wrong_program_is_refused(operands, why):
    with pytest.raises(DeclarationError, match=why):
        native.declared(changed(header().image("x"), **operands))


def test_a_text_that_was_not_found_has_no_place():
    image = header().image("x")
    wrong = insns(image)
    which = next(place for place, one in enumerate(wrong) if one[0] == "SPOT")
    wrong[which][2] = 200
    with pytest.raises(DeclarationError, match="SPOT.: text 200 is read, which some path has not written"):
        native.declared(with_insns(image, wrong))
