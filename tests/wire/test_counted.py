"""What counts pieces of a reply's section: values one in another, and texts of the request among them."""

from __future__ import annotations

import json

import pytest
from construct import Bytes, Int8ub, Int16ub, Int16ul, Int32ub, Rebuild, Struct, len_, this
from programs import insns, with_insns

from protokit import Protocol, Status, native
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
    protobuf,
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
    assert bytes(wire.message(reply).fields.body) == b'\0\x07"a\\"\\n"'


def test_characters_are_escaped_as_libraries_do():
    wire = made(Counted(Int16ub, b'"', ErrorText(), b'"'), encoding="json")
    for code in (*range(128), 0xE9, 0x20AC, 0x1F600):
        reply = wire.ask.error(Status.TIMEOUT, 7, 0, chr(code).encode())
        said = json.dumps(chr(code), ensure_ascii=False).encode()
        assert bytes(wire.message(reply).fields.body)[2:] == said


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


def changed(image, name, which, **operands):
    """The program with some operands of the which-th instruction of that name changed."""
    wrong = insns(image)
    place = [place for place, one in enumerate(wrong) if one[0] == name][which]
    for key, value in operands.items():
        wrong[place]["nabci".index(key)] = value
    return with_insns(image, wrong)


def nested(levels):
    """The error's text behind so many varints that count it."""
    return ErrorText(count=UVar(2)) if levels == 1 else Counted(UVar(3), nested(levels - 1))


@pytest.mark.parametrize("levels", [1, 2, 3, pytest.param(8, marks=pytest.mark.slow)])
def test_so_many_levels_there_may_be(levels):
    for size in EDGES:
        said = b"t" * size
        for _ in range(levels):
            said = varint(len(said)) + said
        assert answered(made([nested(levels)]), b"t" * size) == said


@pytest.mark.parametrize(
    ("operands", "why"),
    [({"a": 0}, "it counts nothing"), ({"n": "EMIT_COUNT", "b": 9}, "its integer is too wide")],
)
def test_a_program_with_counts_that_cannot_be_is_refused(operands, why):
    with pytest.raises(DeclarationError, match=why):
        native.declared(changed(made([nested(2)]).image("x"), "EMIT_UVAR", 0, **operands))


def test_a_program_with_too_many_varints_is_refused():
    image = made([nested(8), b"tail"]).image("x")
    assert native.declared(image)
    with pytest.raises(DeclarationError, match="too many varints count"):
        native.declared(changed(image, "EMIT", -1, n="EMIT_UVAR", a=1, b=1, c=2, i=0))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (lambda: Counted(5, ErrorText()), "Counted: what counts is an integer, such as Int16ub, not 5"),
        (
            lambda: [Counted(UVar(1), b"a" * 128), ErrorText()],
            "Counted: 1 bytes have no room for a count of 128",
        ),
        (lambda: Counted(UVar(1), b"a" * 127, ErrorText()), "1 bytes have no room for a count of 128"),
        (
            lambda: Counted(UVar(2), b"a" * 16200, FromRequest(this.body, max=200)),
            "2 bytes have no room for a count of 16400; say how much may be repeated",
        ),
        (
            lambda: [Counted(Int8ub, b"a" * 256), ErrorText()],
            "Counted: 1 bytes have no room for a count of 256",
        ),
        (
            lambda: Counted(Int8ub, b"a" * 10, FromRequest(this.body, max=250)),
            "1 bytes have no room for a count of 260; say how much may be repeated",
        ),
        (lambda: nested(9), "9 varints count what is in its sections, at most 8 do"),
        (lambda: Counted(Int8ub, "text", ErrorText()), "its pieces are bytes, ErrorText, FromRequest and"),
        (lambda: Counted(Int8ub, b"a" * 255, ErrorText()), "1 bytes have no room for a count of 256"),
        (lambda: Counted(Int8ub, ErrorText(), ErrorText()), "one section holds the error's text, not 2"),
    ],
)
def test_what_cannot_be_counted_is_refused(body, why):
    with pytest.raises(DeclarationError, match=why):
        made(body())


def varint(value):
    return UVar(10).build(value)


# Around where a varint takes a byte more: of the text alone, and with what is fixed.
EDGES = (*range(4), *range(110, 132), 250, 383, 384, 385, 500, 512)


@pytest.mark.parametrize("fixed", [0, 1, 120, 125, 126, 127, 128, 16370, 16382, 16383, 16384])
def test_a_varint_counts_a_text_and_what_is_fixed_before_it(fixed):
    wire = made([b"[", Counted(UVar(3), b"f" * fixed, ErrorText()), b"]"])
    for size in EDGES:
        said = b"f" * fixed + b"t" * size
        assert answered(wire, b"t" * size) == b"[" + varint(len(said)) + said + b"]"


@pytest.mark.parametrize("fixed", [0, 100, 120, 123, 124, 125, 126, 127, 128])
def test_varints_in_varints_and_integers_count_each_other(fixed):
    """Messages of protobuf one in another; the lengths of what is around them follow."""
    inner = Counted(UVar(2), b"f" * fixed, ErrorText(b"<", b">", count=UVar(2)))
    wire = made(Counted(Int16ub, b"1", Counted(UVar(2), b"2", Counted(Int16ul, inner, b"3"), b"4")))
    for size in EDGES:
        said = b"f" * fixed + b"<" + varint(size) + b"t" * size + b">"
        said = varint(len(said)) + said + b"3"
        said = b"2" + Int16ul.build(len(said)) + said + b"4"
        said = b"1" + varint(len(said)) + said
        assert answered(wire, b"t" * size) == Int16ub.build(len(said)) + said


@pytest.mark.parametrize("name", [0, 1, 118, 119, 120, 121, 122, 123, 124, 200])
def test_each_varint_counts_its_own_of_the_request_and_not_what_stands_beside_it(name):
    wire = made(
        Counted(
            Int32ub,
            Counted(UVar(2), b"name=", Counted(UVar(2), FromRequest(NAME[0], max=200))),
            Counted(UVar(2), ErrorText()),
            Counted(UVar(2), Counted(Int8ub, b"fixed")),
            Counted(UVar(2), FromRequest(NAME[1], max=20), b"."),
        ),
    )
    request = wire.build({"kind": 0, "id": 7, "body": b"n" * name + b" rest"})
    for size in (0, 127, 128, 300):
        said = b"name=" + varint(name) + b"n" * name
        said = varint(len(said)) + said + varint(size) + b"t" * size + b"\6\5fixed" + b"\5rest."
        assert answered(wire, b"t" * size, request) == Int32ub.build(len(said)) + said


def test_what_a_varint_has_no_room_for_is_cut():
    wire = made(Counted(UVar(1), b"abc", Counted(UVar(1), ErrorText(b"<", count=UVar(2))), b"d"))
    assert answered(wire, b"t" * 300) == b"\x7fabc\x7a<\x78" + b"t" * 120 + b"d"


def test_an_id_and_what_varints_count_stand_in_one_message():
    """As in an error of protobuf: the id in it is written after what is counted."""
    message = protobuf(this.body)
    wire = WireFormat(
        Struct("size" / Rebuild(Int16ub, len_(this.body)), "body" / Bytes(this.size)),
        id=byte_id(message[4]),
        response=number(message[2][1]) != 0,
        service=message[1][1],
        replies=Replies(
            error=lambda *_: {
                "body": [
                    b"\x12",
                    Counted(UVar(2), b"\x08\7", ErrorText(b"\x12", count=UVar(2))),
                    b"\x0a",
                    Counted(UVar(2), FromRequest(message[1], max=200, whole=True)),
                    b"\x20\0",
                ]
            }
        ),
    )
    for asked in (b"\x0a\1a", b"\x0a\x7b" + b"s" * 123, b"\x0a\x7e" + b"s" * 126, b"\x0a\x7f" + b"s" * 127):
        for number_ in (1, 127, 128, 1 << 40):
            request = bytes(
                wire.build({"body": b"\x0a" + varint(len(asked)) + asked + b"\x20" + varint(number_)})
            )
            for size in EDGES:
                reply = wire.ask.error(
                    Status.TIMEOUT, varint(number_), 0, b"t" * size, wire.ask.keep(request)
                )
                said = b"\x08\7\x12" + varint(size) + b"t" * size
                said = b"\x12" + varint(len(said)) + said + b"\x0a" + varint(len(asked)) + asked
                said += b"\x20" + varint(number_)
                assert reply == Int16ub.build(len(said)) + said


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


@pytest.mark.parametrize(
    ("view", "digits"),
    [
        (decimal(this.kind), b"0"),
        (table(this.kind, {0: "a"}, "b"), b"a"),
        (first(table(number(this.body) + this.kind, {7: "a"}, "b"), "c"), b"a"),
        (table(len_(this.body), {1: "a"}, "b"), b"a"),
        (table(~this.kind, {1: "a"}, "b"), b"a"),
    ],
)
def test_what_is_told_by_an_integer_is_repeated_and_counted(view, digits):
    wire = made([Counted(Int16ub, FromRequest(view, max=1)), ErrorText()])
    request = wire.build({"kind": 0, "id": 7, "body": b"7"})
    reply = wire.ask.error(Status.TIMEOUT, 7, 0, b"no", wire.ask.keep(request))
    assert wire.message(reply).fields.body == b"\0\1" + digits + b"no"
    assert reply == DeclaredVoice(Protocol("x", wire)).error(Status.TIMEOUT, request, "no")
