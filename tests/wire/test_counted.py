"""What counts pieces of a reply's section: values one in another, and texts of the request among them."""

from __future__ import annotations

import pytest
from construct import Bytes, Int8ub, Int16ub, Int16ul, Int32ub, Rebuild, Struct, len_, this

from protokit import Protocol, Status
from protokit.errors import DeclarationError
from protokit.testing.voices import DeclaredVoice
from protokit.wire import (
    Counted,
    ErrorText,
    FromRequest,
    Measured,
    Replies,
    UVar,
    WireFormat,
    ber,
    ber_value,
    byte_id,
    decimal,
    first,
    number,
    split,
    table,
)

SIZES = (0, 1, 6, 7, 8, 126, 127, 128, 250, 255, 256, 512)


def made(body, **more):
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "id" / Int8ub,
            "size" / Rebuild(Int16ub, len_(this.body)),
            "body" / Bytes(this.size),
        ),
        id=this.id,
        response=this.kind == 1,
        replies=Replies(error=lambda *_: {"kind": 1, "body": body}, **more),
    )


def answered(wire, text, request=b"\0\7\0\0"):
    reply = wire.ask.error(Status.TIMEOUT, 7, 0, text, wire.ask.keep(request))
    if text.isascii() and len(text) <= 100:
        assert reply == DeclaredVoice(Protocol("x", wire)).error(Status.TIMEOUT, request, text.decode())
    return bytes(wire.message(reply).fields.body)


@pytest.mark.parametrize("size", SIZES)
def test_texts_in_texts_are_counted(size):
    inner = Counted(Int16ub, b"ab", ErrorText(b"<", b">", count=Int16ul), b"c")
    wire = made([b"head", Counted(Int32ub, b"12", inner, b"3"), b"tail"])
    text = b"t" * size
    said = b"ab<" + Int16ul.build(size) + text + b">c"
    said = b"12" + Int16ub.build(len(said)) + said + b"3"
    assert answered(wire, text) == b"head" + Int32ub.build(len(said)) + said + b"tail"


@pytest.mark.parametrize("size", SIZES)
def test_a_varint_in_what_is_counted_counts_too(size):
    wire = made(Counted(Int16ul, b"\x1a", ErrorText(count=UVar(2))))
    said = b"\x1a" + UVar(2).build(size) + b"t" * size
    assert answered(wire, b"t" * size) == Int16ul.build(len(said)) + said


def test_what_an_outer_count_has_no_room_for_is_cut():
    wire = made(Counted(Int8ub, b"abc", Counted(Int8ub, ErrorText(b"<", count=Int8ub)), b"d"))
    assert answered(wire, b"t" * 300) == b"\xffabc\xfa<\xf8" + b"t" * 248 + b"d"
    assert answered(wire, "é".encode() * 200) == b"\xffabc\xfa<\xf8" + "é".encode() * 124 + b"d"


def test_an_escaped_text_is_counted_as_it_is_written():
    wire = made(Counted(Int16ub, b'"', ErrorText(), b'"'), encoding="json")
    reply = wire.ask.error(Status.TIMEOUT, 7, 0, b'a"\n')
    assert bytes(wire.message(reply).fields.body) == b'\0\x0f"a\\u0022\\u000a"'


NAME = split(this.body, " ", 2)


@pytest.mark.parametrize("name", [b"", b"a", b"abcdefghij"])
@pytest.mark.parametrize("size", [0, 3, 100])
def test_what_is_repeated_of_the_request_is_counted(name, size):
    wire = made(
        [
            Counted(Int8ub, Counted(Int8ub, FromRequest(NAME[0], max=9)), ErrorText(), b"-"),
            Counted(Int16ub, FromRequest(NAME[1], max=20)),
            Counted(Int8ub, b"fixed"),
        ],
    )
    request = wire.build({"kind": 0, "id": 7, "body": name + b" rest"})
    said = Int8ub.build(len(name[:9])) + name[:9] + b"t" * size + b"-"
    expected = Int8ub.build(len(said)) + said + b"\0\4rest\5fixed"
    assert answered(wire, b"t" * size, request) == expected


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (lambda: Counted(5, ErrorText()), "Counted: what counts is an integer, such as Int16ub, not 5"),
        (lambda: Counted(UVar(2), ErrorText()), "Counted: what counts is an integer, such as Int16ub"),
        (
            lambda: [Counted(Int8ub, b"a" * 256), ErrorText()],
            "Counted: 1 bytes have no room for a count of 256",
        ),
        (
            lambda: Counted(Int8ub, b"a" * 10, FromRequest(this.body, max=250)),
            "1 bytes have no room for a count of 260; say how much may be repeated",
        ),
        (lambda: Counted(Int8ub, "text", ErrorText()), "its pieces are bytes, ErrorText, FromRequest and"),
        (lambda: Counted(Int8ub, b"a" * 255, ErrorText()), "1 bytes have no room for a count of 256"),
        (lambda: Counted(Int8ub, ErrorText(), ErrorText()), "one section holds the error's text, not 2"),
    ],
)
def test_what_cannot_be_counted_is_refused(body, why):
    with pytest.raises(DeclarationError, match=why):
        made(body())


# A name that a table gives a text of the request: in an error a byte that tells what was asked.


def told(*repeated):
    message = ber(this.message)[0]
    return WireFormat(
        Struct("message" / Measured(ber_value)),
        id=byte_id(message[0], max=4),
        mode="pinned",
        response=message[1]["tag"] == "97",
        service=message[1][0],
        replies=Replies(
            error=lambda *_: {
                "message": [
                    b"\x30\x82",
                    Counted(
                        Int16ub,
                        b"\2\1\0",
                        *repeated,
                        b"\x82",
                        Counted(Int16ub, ErrorText(b"\4\x82", count=Int16ub)),
                    ),
                ]
            }
        ),
    )


def asked(tag, request_id=b"\7"):
    inner = b"\2" + bytes([len(request_id)]) + request_id + bytes([tag]) + b"\3\4\1x"
    return b"\x30" + bytes([len(inner)]) + inner


ANSWER = table(number(ber(this.message)[0][1]["tag"]), {0x60: "a", 0x66: "g"}, "x")


@pytest.mark.parametrize(("tag", "answer"), [(0x60, b"a"), (0x66, b"g"), (0x6E, b"x")])
@pytest.mark.parametrize("request_id", [b"\0", b"\7", b"\x7f", b"\xff", b"\0\xff", b"\x7f\xff\xff\xff"])
def test_a_name_by_a_text_is_repeated_and_lengths_follow_the_id(tag, answer, request_id):
    wire = told(FromRequest(ANSWER))
    for size in (0, 1, 100, 127, 128, 500):
        request = asked(tag, request_id)
        keeps = wire.ask.keep(request)
        assert keeps == answer
        reply = wire.ask.error(Status.TIMEOUT, wire.ask.frame(request).id, 0, b"t" * size, keeps)
        text = b"\4\x82" + Int16ub.build(size) + b"t" * size
        inner = b"\2%c%b%b\x82" % (len(request_id), request_id, answer) + Int16ub.build(len(text)) + text
        assert reply == b"\x30\x82" + Int16ub.build(len(inner)) + inner
        assert reply == DeclaredVoice(Protocol("x", wire)).error(Status.TIMEOUT, request, "t" * size)


def test_what_is_told_by_an_integer_is_not_repeated():
    for view in (
        decimal(this.kind),
        table(this.kind, {1: "a"}, "b"),
        first(table(number(this.body) + this.kind, {1: "a"}), "b"),
        table(len_(this.body), {1: "a"}, "b"),
        table(~this.kind, {1: "a"}, "b"),
    ):
        with pytest.raises(DeclarationError, match="a text that is made of an integer is not repeated"):
            made([FromRequest(view, max=1), ErrorText()])
