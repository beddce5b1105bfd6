"""Replies that repeat parts of their request: kept by the engine, and the same that the reference builds."""

from __future__ import annotations

import pytest
from construct import (
    BitStruct,
    Bytes,
    BytesInteger,
    Check,
    GreedyBytes,
    If,
    IfThenElse,
    Int8ub,
    Int16ub,
    Int16ul,
    Int32sb,
    Int32sl,
    Int32ub,
    Int64sb,
    Int64ub,
    Nibble,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Protocol, Status, native
from protokit.errors import DeclarationError
from protokit.testing.voices import DeclaredVoice
from protokit.wire import (
    Ahead,
    Counted,
    ErrorText,
    FromRequest,
    Replies,
    Until,
    UVar,
    WireFormat,
    byte_id,
    crc32,
    decimal,
    first,
    kept,
    lines,
    number,
    pairs,
    split,
    starts,
    table,
)
from protokit.wire import asked as wire_asked

NAME = FromRequest(this.name)


def made(*fields, error, ack=None, drain=None, **more):
    """Kind 1: an answer; 2 and 3: heartbeats."""

    def values(kind, some):
        return lambda *_: {"kind": kind, **some}

    more.setdefault("id", this.id)
    return WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, *fields),
        response=(this.kind == 1) | (this.kind == 3),
        heartbeat=(this.kind == 2) | (this.kind == 3),
        drain=this.kind == 4,
        replies=Replies(
            error=values(1, error),
            ack=None if ack is None else values(3, ack),
            drain=None if drain is None else values(4, drain),
        ),
        **more,
    )


def thrift(**error):
    """Like Thrift: a total, the method's name, its call, and a checksum behind it."""
    return made(
        "total" / Rebuild(Int32ub, len_(this.name) + len_(this.body) + 9),
        "name" / Prefixed(Int32ub, GreedyBytes),
        "body_size" / Rebuild(Int16ub, len_(this.body)),
        "body" / Bytes(this.body_size),
        "sum" / Int32ub,
        service=this.name,
        checksum=crc32(this.sum, over="before"),
        error={"name": NAME, "body": ErrorText(), **error},
    )


def asked(wire, **values):
    return wire.build({"kind": 0, "id": 7, **values})


def said(wire, request, text="why not", limit=8 << 20):
    """The engine's error, which is the reference's where that can read the request."""
    one = native.frame(wire.address, request, limit)
    keeps = native.keep(wire.address, request, limit)
    reply = native.error(wire.address, Status.TIMEOUT, one.id, one.context, text.encode(), keeps)
    if one.result == 0:
        assert reply == DeclaredVoice(Protocol("x", wire)).error(Status.TIMEOUT, request, text)
    return wire.message(reply)


@pytest.mark.parametrize("name", [b"", b"add", b"a" * 255, b"b" * 256, b"c" * 5000])
def test_an_error_repeats_the_methods_name_and_lengths_and_checksum_are_right(name):
    wire = thrift()
    answer = said(wire, asked(wire, name=name, body=b"x" * 300))
    assert (answer.kind, answer.id) == ("response", 7)
    assert (answer.fields.name, answer.fields.body) == (name[:255], b"why not")
    assert answer.fields.total == len(answer.fields.name) + len(b"why not") + 9


def test_a_request_that_is_refused_half_read_is_answered_with_what_has_come():
    wire = thrift()
    request = asked(wire, name=b"add", body=b"x" * 300)
    assert native.frame(wire.address, request, 100).result == -3
    assert said(wire, request, limit=100).fields.name == b"add"
    assert said(wire, request[:-300], limit=100).fields.name == b"add"
    assert said(wire, request[:12], limit=100).fields.name == b""  # of the name only a byte has come
    wrong = request[:-1] + bytes([request[-1] ^ 1])
    assert native.frame(wire.address, wrong).result == -2
    assert said(wire, wrong).fields.name == b"add"


def test_of_a_request_that_is_refused_for_its_head_nothing_is_kept_that_has_not_come():
    """Both sizes stand in front: the body's is over the limit before the name is there."""
    wire = made(
        "name_size" / Rebuild(Int16ub, len_(this.name)),
        "body_size" / Rebuild(Int16ub, len_(this.body)),
        "name" / Bytes(this.name_size),
        "body" / Bytes(this.body_size),
        service=this.name,
        error={"name": NAME, "body": ErrorText()},
    )
    request = asked(wire, name=b"add", body=b"x" * 300)
    for come, name in [(7, b""), (8, b""), (9, b""), (10, b"add"), (11, b"add")]:
        assert native.frame(wire.address, request[:come], 100).result == -3
        assert said(wire, request[:come], limit=100).fields.name == name


def test_what_is_too_long_is_cut_or_left_out():
    for whole, there in ((False, b"a" * 8), (True, b"")):
        wire = thrift(name=FromRequest(this.name, max=8, whole=whole))
        for name in (b"a" * 8, b"a" * 7):
            assert said(wire, asked(wire, name=name, body=b"")).fields.name == name
        assert said(wire, asked(wire, name=b"a" * 9, body=b"")).fields.name == there


def test_integers_and_sections_of_fixed_size_come_back_in_any_byte_order():
    wire = made(
        "seq" / Int32sl,
        "again" / Int32sb,
        "trace" / If(this.seq != 0, Bytes(4)),
        "text" / Prefixed(Int16ub, GreedyBytes),
        error={"seq": 0, "again": FromRequest(this.seq), "text": [FromRequest(this.trace), ErrorText()]},
    )
    for seq in (1, -2, 1 << 30):
        answer = said(wire, asked(wire, seq=seq, again=9, trace=b"abcd", text=b"")).fields
        assert (answer.again, answer.text) == (seq, b"abcdwhy not")
    answer = said(wire, asked(wire, seq=0, again=9, trace=None, text=b"")).fields
    assert (answer.again, answer.text) == (0, b"\0\0\0\0why not")


def test_views_are_repeated_among_fixed_bytes_and_the_errors_text():
    head = lines(this.head, ":", "\n")
    wire = made(
        "head" / Until(b"\0", max=500),
        "body" / Prefixed(UVar(3), GreedyBytes),
        service=head["to"],
        error={
            "head": [
                b"id:",
                FromRequest(head["id"], max=20),
                b"\nsub:",
                FromRequest(split(head["to"], "/", 2)[1]),
            ],
            "body": [b'{"to":"', FromRequest(head["to"]), b'","error":"', ErrorText(before=b"!"), b'"}'],
        },
    )
    answer = said(wire, asked(wire, head=b"id:5\nto:a/b", body=b"")).fields
    assert answer.head == b"id:5\nsub:b"
    assert answer.body == b'{"to":"a/b","error":"!why not"}'
    assert said(wire, asked(wire, head=b"nothing", body=b"")).fields.head == b"id:\nsub:"


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\2a", b"\0\1a\0\0", b"\0\1a\0\1b"])
def test_of_a_map_that_is_malformed_what_stands_beside_it_is_repeated(body):
    there = pairs(this.body, key=Int16ub, value=Int16ub)
    error = {"body": [FromRequest(first(there["a"], "none"), max=9), ErrorText()]}
    wire = made("body" / Prefixed(Int16ub, GreedyBytes), error=error)
    found = {b"\0\1a\0\1b": b"b", b"\0\1a\0\0": b""}.get(body, b"none")
    assert said(wire, asked(wire, body=body)).fields.body == found + b"why not"


def test_a_delimiter_in_what_is_repeated_does_not_end_the_section():
    wire = made(
        "name" / Prefixed(Int8ub, GreedyBytes),
        "line" / Until(b"\r\n", max=300),
        error={"name": b"", "line": [FromRequest(this.name), b" ", ErrorText()]},
    )
    request = asked(wire, name=b"a\r\nb", line=b"")
    one = native.frame(wire.address, request)
    reply = native.error(wire.address, 4, one.id, one.context, b"no", native.keep(wire.address, request))
    assert wire.message(reply).fields.line == b"a  b no"


def test_the_answer_to_a_heartbeat_and_the_signal_to_go_repeat_too():
    wire = made(
        "name" / Prefixed(Int8ub, GreedyBytes),
        "more" / Int16ul,
        "last" / Int16ul,
        error={"name": b"", "more": 0, "last": 0},
        ack={"name": NAME, "more": FromRequest(this.last), "last": 0},
        drain={"name": NAME, "more": 0, "last": 0},
    )
    beat = wire.build({"kind": 2, "id": 9, "name": b"ada", "more": 1, "last": 0x1234})
    ack = native.heartbeat_ack(wire.address, beat)
    assert ack == DeclaredVoice(Protocol("x", wire)).ack(beat)
    fields = wire.message(ack).fields
    assert (fields.id, fields.name, fields.more) == (9, b"ada", 0x1234)
    request = asked(wire, name=b"bob", more=0, last=0)
    signal = native.drain(wire.address, 0, native.keep(wire.address, request))
    assert wire.message(signal).fields.name == b"bob"
    assert wire.message(native.drain(wire.address, 0)).fields.name == b""


def test_what_is_given_back_is_not_believed():
    """Whatever is said to have been kept, a whole frame is built, and of nothing that stands behind it."""
    wire = thrift()
    for keeps, name in [
        (b"\xff", b""),
        (b"\x05abc", b""),
        (b"\x03abcdef", b"abc"),
        (b"\0" * 256, b""),
        (b"\x02", b""),
    ]:
        reply = native.error(wire.address, Status.TIMEOUT, 7, 0, b"no", keeps)
        answer = wire.message(reply)
        assert (answer.size, answer.fields.name) == (len(reply), name)


def test_only_who_repeats_something_keeps_anything():
    wire = made("text" / Prefixed(Int16ub, GreedyBytes), error={"text": ErrorText()})
    assert native.keep(wire.address, asked(wire, text=b"x")) == b""
    assert wire.meaning.parts == ()
    assert len(native.keep(thrift().address, asked(thrift(), name=b"add", body=b""))) == 4


TEXT = ("text" / Prefixed(Int16ub, GreedyBytes),)


@pytest.mark.parametrize(
    ("fields", "error", "reason"),
    [
        (TEXT, {"text": FromRequest(this.none)}, "FromRequest: none is no field of the format"),
        (TEXT, {"text": FromRequest(5)}, "5 is no section"),
        (
            (*TEXT, "n" / Int8ub),
            {"text": b"", "n": FromRequest(this.id)},
            "n takes an integer of 2 bytes from the request, and is none",
        ),
        (
            (*TEXT, "n" / BitStruct("m" / Nibble, "o" / Nibble)),
            {"text": b"", "n": {"m": FromRequest(this.n.m)}},
            "n.m: FromRequest of n.m is an integer, and stands in one of whole bytes or in a UVar",
        ),
        (
            ("text" / Prefixed(Int8ub, GreedyBytes),),
            {"text": [b"12", FromRequest(this.text)]},
            "has 1 bytes to count up to 257 bytes from the request; say how many",
        ),
        (
            TEXT,
            {"text": [FromRequest(this.text, max=200), FromRequest(this.text, max=201)]},
            "the parts that replies repeat take 403 bytes, of 256 that are kept",
        ),
        (
            TEXT,
            {"text": [FromRequest(this.text, max=n) for n in range(1, 9)]},
            "replies repeat 8 parts of a request, at most 7 are kept",
        ),
        (
            TEXT,
            {"text": [FromRequest(this.text), FromRequest(this.text)]},
            "the same FromRequest stands in it twice",
        ),
        ((*TEXT, Check(this.id != 3)), {"text": b"", "fixed": NAME}, "name is no field of the format"),
    ],
)
def test_what_cannot_be_repeated_is_refused(fields, error, reason):
    with pytest.raises(DeclarationError, match=reason):
        made(*fields, error=error)


def test_more_than_fits_a_part_is_refused():
    with pytest.raises(DeclarationError, match="max=256 was given; 1 to 255 bytes can be kept"):
        FromRequest(this.name, max=256)


def test_a_heartbeat_is_no_reply():
    with pytest.raises(DeclarationError, match="FromRequest is for replies, and this is none"):
        WireFormat(
            Struct("kind" / Int8ub, "id" / Int8ub, "name" / Prefixed(Int8ub, GreedyBytes)),
            id=this.id,
            response=this.kind == 1,
            heartbeat=this.kind == 2,
            replies=Replies(
                error=lambda status, variant: {"kind": 1, "name": NAME},
                heartbeat=lambda variant: {"kind": 2, "name": NAME},
            ),
        )


def test_kept_integers_stay_in_the_context():
    wire = made(
        "codec" / Int8ub, *TEXT, keep=(this.codec,), error={"codec": kept(this.codec), "text": ErrorText()}
    )
    assert said(wire, asked(wire, codec=9, text=b"")).fields.codec == 9
    assert native.keep(wire.address, asked(wire, codec=9, text=b"")) == b""


HEAD = lines(this.head, ":", "\n")


def computing(place, value, *fields, **more):
    """An answer that has ``x``, of what is computed of its request."""
    return made(
        "op" / Int16ub,
        "flags" / BitStruct("high" / Nibble, "low" / Nibble),
        "head" / Prefixed(Int16ub, GreedyBytes),
        "x" / place,
        *fields,
        error={
            "op": 0,
            "flags": {"high": 0, "low": 0},
            "head": [b"e:", ErrorText()],
            "x": FromRequest(value),
            **more,
        },
    )


def computed(wire, head=b"", op=0, high=0, low=0, **more):
    request = asked(wire, op=op, flags={"high": high, "low": low}, head=head, x=0, **more)
    return said(wire, request).fields.x


INTEGERS = {
    "a byte": (Int8ub, 0, 255),
    "two": (Int16ub, 0, 65535),
    "two from the end": (Int16ul, 0, 65535),
    "four, signed": (Int32sb, -(1 << 31), (1 << 31) - 1),
    "four, signed, from the end": (Int32sl, -(1 << 31), (1 << 31) - 1),
    "four": (Int32ub, 0, (1 << 32) - 1),
    "three": (BytesInteger(3), 0, (1 << 24) - 1),
    "eight, signed": (Int64sb, -(10**18) + 1, 10**18 - 1),
    "a varint": (UVar(3), 0, (1 << 21) - 1),
}


@pytest.mark.parametrize("place", INTEGERS)
def test_a_number_in_a_text_is_repeated_as_an_integer_and_is_0_where_it_does_not_fit(place):
    kind, least, most = INTEGERS[place]
    wire = computing(kind, number(HEAD["id"]))
    for value in {least, most, 0, 1, 127, 128, least - 1, most + 1}:
        fits = value if least <= value <= most else 0
        assert computed(wire, b"id:%d\n" % value) == fits, value
    for text in (b"", b"id:\n", b"id:x\n", b"id: 7\n", b"id:" + b"9" * 19 + b"\n", b"id\n"):
        assert computed(wire, text) == 0


def test_all_bits_of_what_is_computed_stand_in_eight_bytes():
    wire = computing(Int64ub, number(HEAD["id"]))
    assert computed(wire, b"id:-1\n") == (1 << 64) - 1
    assert computed(wire, b"id:%d\n" % (10**18 - 1)) == 10**18 - 1


def test_a_table_leads_from_what_was_asked_to_what_the_error_says():
    for value, ask in (
        (table(this.op, {1: 2, 0x1234: 0xFFFF}, 9), lambda op: {"op": op}),
        (table(number(HEAD["n"]), {1: 2, 0x1234: 0xFFFF}, 9), lambda op: {"head": b"n:%d\n" % op}),
        (table(HEAD["n"], {"1": 2, str(0x1234): 0xFFFF}, 9), lambda op: {"head": b"n:%d\n" % op}),
    ):
        wire = computing(Int16ub, value)
        assert [computed(wire, **ask(op)) for op in (1, 0x1234, 0, 2)] == [2, 0xFFFF, 9, 9]


def test_bits_and_whatever_else_is_computed_is_repeated():
    assert computed(computing(Int8ub, this.flags.low), high=3, low=9) == 9
    wire = computing(Int8ub, (this.flags.high << 4 | this.flags.low) & 0x7F)
    assert computed(wire, high=0xF, low=9) == 0x79
    assert computed(computing(Int8ub, len_(this.head)), head=b"abc") == 3
    assert [computed(computing(Int8ub, this.op == 7), op=op) for op in (7, 8)] == [1, 0]
    assert [computed(computing(Int8ub, starts(HEAD["a"], "x")), b"a:%b\n" % a) for a in (b"xy", b"y")] == [
        1,
        0,
    ]


def test_what_was_looked_at_ahead_is_repeated():
    wire = made("tag" / Ahead(Int8ub), "x" / Int16ub, error={"tag": 0, "x": FromRequest(this.tag)})
    assert said(wire, asked(wire, tag=0x41, x=0x4142)).fields.x == 0x41


def test_an_integer_is_repeated_in_a_text_as_its_digits_or_its_name():
    for view, found in ((decimal(this.op), b"513"), (table(this.op, {513: "many"}, "one"), b"many")):
        wire = computing(Int8ub, this.flags.low, head=[b"op:", FromRequest(view), b";", ErrorText()])
        request = asked(wire, op=513, flags={"high": 0, "low": 3}, head=b"", x=0)
        fields = said(wire, request).fields
        assert (fields.head, fields.x) == (b"op:" + found + b";why not", 3)


def test_what_is_computed_of_a_request_that_is_half_there_is_of_what_has_come():
    wire = made(
        "op" / Int16ub,
        "head" / Prefixed(Int16ub, GreedyBytes),
        "x" / Int32ub,
        error={"op": FromRequest(this.op + 1), "head": ErrorText(), "x": FromRequest(number(HEAD["n"]))},
    )
    request = asked(wire, op=6, head=b"n:17\n" + b"x" * 300, x=0)
    for come, found in ((5, None), (7, (7, 0)), (len(request) - 5, (7, 0)), (len(request) - 4, (7, 17))):
        assert native.frame(wire.address, request[:come], 100).result == (1 if found is None else -3)
        if found is not None:
            fields = said(wire, request[:come], limit=100).fields
            assert (fields.op, fields.x) == found, come


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"head": FromRequest(number(HEAD["a"]))},
            "head: FromRequest of number.* is an integer, and .* a UVar; in a text write FromRequest.decimal",
        ),
        (
            {"head": Counted(Int16ub, b"x", FromRequest(this.flags.low))},
            "Counted: FromRequest of flags.low is an integer; write FromRequest.decimal",
        ),
        (
            {"flags": {"high": 0, "low": FromRequest(this.flags.low)}},
            "flags.low: FromRequest of flags.low is an integer, and stands in one of whole bytes",
        ),
        (
            {"x": FromRequest(table(this.op, {1: 2, 3: 256}, 0))},
            "x: FromRequest.table.*: 256 does not fit there",
        ),
        ({"x": FromRequest(table(this.op, {1: 2}, -1))}, "x: FromRequest.table.*: -1 does not fit there"),
        ({"x": FromRequest(this.none + 1)}, "FromRequest: none is no integer field of the format"),
        ({"x": FromRequest(this.head + 1)}, "FromRequest: this.head is a section of bytes"),
        ({"x": FromRequest(wire_asked(this.op))}, "stands where no answer is read"),
    ],
)
def test_what_cannot_be_computed_or_has_no_place_is_refused(values, reason):
    with pytest.raises(DeclarationError, match=reason):
        computing(Int8ub, this.flags.low, **values)


def test_a_place_that_is_another_integer_in_another_branch_takes_nothing_computed():
    with pytest.raises(DeclarationError, match="it is one integer in one branch and another in another"):
        made(
            "x" / IfThenElse(this.kind == 1, Int8ub, Int16ub),
            error={"x": FromRequest(this.id + 1)},
        )


@pytest.mark.parametrize(
    "repeated", [decimal(this.op), decimal(number(this.name)), table(this.op, {1: "a"}, "b")]
)
def test_what_is_computed_is_no_id_of_an_error_whose_ids_are_only_read(repeated):
    with pytest.raises(DeclarationError, match="FromRequest"):
        WireFormat(
            Struct(
                "kind" / Int8ub,
                "op" / Int8ub,
                "count" / Rebuild(Int8ub, len_(this.name)),
                "name" / Bytes(this.count & 63),
            ),
            id=byte_id(this.name, max=20),
            mode="pinned",
            response=this.kind == 1,
            replies=Replies(error=lambda *_: {"kind": 1, "op": 0, "name": FromRequest(repeated)}),
        )


def test_the_same_part_is_kept_once_though_each_reply_makes_its_views_anew():
    def error(*_):
        head = lines(this.head, ":", "\n", repeated="first")
        return {
            "kind": 1,
            "x": FromRequest(number(head["n"])),
            "head": [FromRequest(head["to"]), ErrorText()],
        }

    wire = WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, "x" / Int16ub, "head" / Prefixed(Int16ub, GreedyBytes)),
        id=this.id,
        response=this.kind == 1,
        replies=Replies(error=error),
    )
    assert len(wire.parts.all) == 2
    answer = said(wire, asked(wire, x=0, head=b"n:7\nto:a\nn:8")).fields
    assert (answer.x, answer.head) == (7, b"awhy not")
