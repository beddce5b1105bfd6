"""Lengths that are texts: digits in front, in a header line, between words. Strict, bounded, rebuilt."""

from __future__ import annotations

import re

import pytest
from construct import (
    Bytes,
    Check,
    Const,
    Error,
    GreedyBytes,
    If,
    IfThenElse,
    Int8ub,
    Int16ub,
    Int32ub,
    Prefixed,
    Rebuild,
    Struct,
    Switch,
    len_,
    this,
)
from programs import insns, place_of, with_insns

from protokit import Status, native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire import (
    ErrorText,
    FromRequest,
    Replies,
    Until,
    WireFormat,
    first,
    isin,
    json,
    lines,
    number,
    pairs,
    side,
    split,
    starts,
    text,
)

LIMIT = 1 << 16


def declared(*fields, values, **meaning):
    replies = Replies(error=lambda status, variant: values)
    return WireFormat(
        Struct(*fields), **{"mode": "pingpong", "response": 0, "oneway": 1, "replies": replies} | meaning
    )


FIXED = declared(
    "n" / Bytes(4),
    "body" / Bytes(number(this.n)),
    Const(b"!"),
    values={"body": [b"no: ", ErrorText()]},
)
DELIMITED = declared(
    Const(b"$"),
    "n" / Until(b"\r\n", max=12),
    "body" / If(number(this.n) >= 0, Bytes(number(this.n))),
    "end" / If(number(this.n) >= 0, Const(b"\r\n")),
    values={"body": ErrorText()},
)
HEAD = lines(this.head, ":", "\r\n", ignore_case=True, trim=" \t", skip=1)
HTTP = declared(
    "head" / Until(b"\r\n\r\n", max=4000),
    "body" / Bytes(number(HEAD["Content-Length"])),
    mode="pingpong",
    response=starts(this.head, "HTTP/"),
    oneway=0,
    service=HEAD["Host"],
    headers=HEAD,
    values={"head": b"HTTP/1.1 503 Service Unavailable\r\nX-Five: 5", "body": [b"why: ", ErrorText()]},
)
WORDS = split(this.line, " ", 4, exact=True)
NATS = declared(
    "line" / Until(b"\r\n", max=200),
    "body"
    / If(
        starts(this.line, "PUB "),
        Bytes(number(first(WORDS[3], split(this.line, " ", 3)[2]))),
    ),
    "end" / If(starts(this.line, "PUB "), Const(b"\r\n")),
    response=isin(split(this.line, " ", 2)[0], {"+OK", "-ERR"}),
    oneway=0,
    service=split(this.line, " ", 3)[1],
    values={"line": [b"-ERR '", ErrorText(), b"'"]},
)
NESTED = declared(
    "kind" / Int8ub,
    "frame"
    / Switch(
        this.kind,
        {
            1: Struct("n" / Bytes(2), "body" / Bytes(number(this.frame.n))),
            2: Struct(
                "n" / Until(b" ", max=5),
                "m" / Until(b" ", max=5),
                "body" / Bytes(number(this.frame.m) - number(this.frame.n)),
            ),
        },
        default=Error,
    ),
    values={"kind": 1, "frame": {"body": b"no"}},
)
TWO = declared(
    "line" / Until(b"\n", max=40),
    "head" / Bytes(number(split(this.line, " ", 2)[0])),
    "body" / Bytes(number(split(this.line, " ", 2)[1]) - number(split(this.line, " ", 2)[0])),
    values={"line": b"", "head": b"no", "body": b"why"},
)
SIDED = declared(
    "frame"
    / IfThenElse(
        side == "client",
        Struct("n" / Until(b"\n", max=9), "body" / Bytes(number(this.frame.n))),
        Struct("m" / Until(b"\n", max=9), "body" / Bytes(number(this.frame.m) * 2)),
    ),
    response=side == "server",
    oneway=0,
    values={"frame": {"m": b"1", "body": b"no"}},
)
FORMATS = {
    "fixed": (FIXED, [b"0000!", b"0005hello!"]),
    "delimited": (DELIMITED, [b"$0\r\n\r\n", b"$5\r\nhello\r\n", b"$-1\r\n", b"$05\r\nhello\r\n"]),
    "http": (
        HTTP,
        [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST /x:y HTTP/1.1\r\nhost:a\r\ncontent-LENGTH:\t5 \r\nX: y\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        ],
    ),
    "nats": (NATS, [b"PUB a.B 5\r\nhello\r\n", b"PUB a.B inbox 5\r\nhello\r\n", b"+OK\r\n", b"-ERR 'x'\r\n"]),
    "nested": (NESTED, [b"\x0103abc", b"\x022 5 abc"]),
    "two": (TWO, [b"2 5\nHHabc", b"0 0\n"]),
}


def outcome(wire, data):
    """What the engine says, and the reference: they have to be the same."""
    seen = native.frame(wire.address, data, LIMIT)
    try:
        fields, size = wire.parse(data)
    except EOFError:
        assert seen.result != 0, (data, seen)
    except RemoteProtocolError as error:
        assert seen.result < 0 or seen.result == 1, (data, seen, error)
    else:
        assert (seen.result, seen.size) == (0, size), (data, seen)
        assert (
            native.KINDS[seen.kind] == wire.kind(fields) if isinstance(native.KINDS, list | tuple) else True
        )
    return seen


@pytest.mark.parametrize("name", FORMATS)
def test_frames_are_read_as_the_reference_reads_them_at_every_cut(name):
    wire, whole = FORMATS[name]
    for frame in whole:
        assert outcome(wire, frame).result == 0
        assert wire.build(wire.parse(frame)[0]) == frame
        framing, need = native.Framing(wire.address), 1
        for cut in range(1, len(frame)):
            seen = outcome(wire, frame[:cut])
            assert seen.result == 1
            assert cut < seen.need <= len(frame)
            if cut >= need:
                assert framing.frame(frame[:cut], LIMIT) == seen
                need = seen.need
        assert framing.frame(frame, LIMIT) == native.frame(wire.address, frame, LIMIT)


@pytest.mark.parametrize("name", FORMATS)
def test_frames_with_one_byte_changed_are_read_as_the_reference_reads_them(name):
    wire, whole = FORMATS[name]
    for frame in whole:
        for at in range(len(frame)):
            for byte in b"059- +\t\r\n:aC!":
                outcome(wire, frame[:at] + bytes([byte]) + frame[at + 1 :])
                outcome(wire, frame[:at] + bytes([byte]) + frame[at:])
            outcome(wire, frame[:at] + frame[at + 1 :])


@pytest.mark.parametrize(
    "digits", [b"", b"-", b"+5", b" 5", b"5 ", b"0x5", b"5,5", b"-0", b"-05", b"5\0", b"a5", b"\xb2"]
)
def test_what_is_no_length_is_refused_at_once(digits):
    head = b"POST / HTTP/1.1\r\nX-Content-Length: 1\r\nContent-Length:\v"
    for wire, frame in ((DELIMITED, b"$" + digits + b"\r\n"), (HTTP, head + digits + b"\r\n\r\n")):
        assert native.frame(wire.address, frame, LIMIT).result == -2
        with pytest.raises(RemoteProtocolError, match="is no length: digits were expected"):
            wire.parse(frame)


@pytest.mark.parametrize("digits", [b"00-5", b"+005", b" 005", b"005 ", b"-005", b"0x05"])
def test_digits_of_fixed_width_are_filled_with_zeros_alone(digits):
    assert native.frame(FIXED.address, digits, LIMIT).result == -2


def test_a_length_is_bounded_as_soon_as_it_is_read():
    assert native.frame(DELIMITED.address, b"$%d\r\n" % (LIMIT - 1), LIMIT).result == -3
    for digits in (b"4294967296", b"99999999999", b"999999999999"):
        assert native.frame(DELIMITED.address, b"$" + digits + b"\r\n", LIMIT).result == -3
        assert native.frame(DELIMITED.address, b"$" + digits + b"\r\n", 2**31 - 1).result == -3
    head = b"POST / HTTP/1.1\r\nContent-Length: %b\r\n\r\n"
    assert native.frame(HTTP.address, head % b"18446744073709551621", 2**31 - 1).result == -3
    assert native.frame(HTTP.address, head % (b"0" * 300 + b"7"), LIMIT).result == 1
    with pytest.raises(RemoteProtocolError, match="is over 4294967295"):
        HTTP.parse(head % (b"9" * 3000))


def test_a_number_that_was_read_is_not_read_again():
    frame = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n" + b"x" * 500
    framing = native.Framing(HTTP.address)
    assert framing.frame(frame[:60], LIMIT).need == len(frame)
    overwritten = b"\n" * 50 + frame[50:]
    assert framing.frame(overwritten, LIMIT).size == len(frame)


LENGTH = b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\nhello"


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"Content-Length: 5\r\nContent-Length: 6", "there twice"),
        (b"Content-Length: 5\r\ncontent-length: 05", "there twice"),
        (b"Content-Length: 5\r\nCONTENT-LENGTH:", "there twice"),
        (b"Content-Length : 5", "around it"),
        (b" Content-Length: 5", "around it"),
        (b"Content-Length\t: 5", "around it"),
        (b"X: y\nContent-Length: 5", "stands in a line"),
        (b"X: y\rContent-Length: 5", "stands in a line"),
        (b"X\nContent-Length: 5", "stands in a line"),
        (b"Content-Length: 5, 5", "no length"),
        (b"Content-Length:", "no length"),
    ],
)
def test_a_head_that_peers_may_read_in_two_ways_is_refused(head, why):
    frame = LENGTH % head
    assert native.frame(HTTP.address, frame, LIMIT).result == -2
    with pytest.raises(RemoteProtocolError, match=why):
        HTTP.parse(frame)


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (b"X: y", 0),
        (b"Content-Length: 5\r\nContent-Length:5 ", 5),
        (b"content-length:\t5\t", 5),
        (b"cONTENT-lENGTH:4", 4),
    ],
)
def test_a_length_in_a_head_is_found_in_any_case_and_is_0_where_it_is_absent(head, size):
    frame = LENGTH % head
    assert native.frame(HTTP.address, frame, LIMIT).size == len(frame) - 5 + size
    assert HTTP.parse(frame)[1] == len(frame) - 5 + size


def test_keys_are_looked_up_listed_and_edited_in_any_case():
    frame = b"POST /x:y HTTP/1.1\r\nhOST: \ta.B \r\nX-Who:Ada\r\n\r\n"
    assert native.header(HTTP.address, frame, "HOST") == "a.B"
    assert native.header(HTTP.address, frame, "x-wh") is None
    request = native.request(HTTP.address, frame)
    assert (request.service, dict(request.headers)) == ("a.B", {"hOST": "a.B", "X-Who": "Ada"})
    assert dict(HTTP.message(frame, "client").headers) == {"hOST": "a.B", "X-Who": "Ada"}
    changed = HTTP.edit(
        frame,
        [
            (native.EDIT_SERVICE, "", "c.D"),
            (native.EDIT_HEADER, "x-WHO", "Bob"),
            (native.EDIT_HEADER, "New", "1"),
        ],
    )
    assert changed == b"POST /x:y HTTP/1.1\r\nhOST: c.D\r\nX-Who: Bob\r\nNew: 1\r\n\r\n"
    assert (
        HTTP.edit(frame, [(native.EDIT_HEADER, "host", None)]) == b"POST /x:y HTTP/1.1\r\nX-Who:Ada\r\n\r\n"
    )
    with pytest.raises(LocalProtocolError, match="around it, which is not read"):
        HTTP.edit(frame, [(native.EDIT_HEADER, "X-Who", " Bob")])
    only = b"GET / HTTP/1.1\r\n\r\n"
    assert HTTP.edit(only, [(native.EDIT_HEADER, "A", "b")]) == b"GET / HTTP/1.1\r\nA: b\r\n\r\n"


def test_a_plain_map_of_lines_is_as_it_was():
    plain = lines(this.head, ": ", "\n")
    wire = declared(
        "head" / Until(b"\n\n", max=99),
        headers=plain,
        service=plain["to"],
        oneway=0,
        response=starts(this.head, "-"),
        values={"head": b"-"},
    )
    frame = b"To: a\nto:  b \nx\n\n"
    assert native.request(wire.address, frame).service == " b "
    assert wire.edit(frame, [(native.EDIT_SERVICE, "", "c")]) == b"To: a\nto: c\nx\n\n"


def test_the_length_is_written_when_a_frame_is_built_or_changed():
    assert FIXED.build({"body": b"hello"}) == b"0005hello!"
    assert FIXED.build({"n": b"junk", "body": b"hello"}) == b"0005hello!"
    with pytest.raises(LocalProtocolError, match="n: 10000 does not fit 4 digits"):
        FIXED.build({"body": b"x" * 10_000})
    assert DELIMITED.build({"body": b"x" * 12}) == b"$12\r\nxxxxxxxxxxxx\r\n"
    assert DELIMITED.build({"n": b"-1"}) == b"$-1\r\n"
    head = b"POST / HTTP/1.1\r\nHost: a"
    assert HTTP.build({"head": head, "body": b"hello"}) == head + b"\r\nContent-Length: 5\r\n\r\nhello"
    assert HTTP.build({"head": head, "body": b""}) == head + b"\r\n\r\n"
    assert (
        HTTP.build({"head": head + b"\r\ncontent-length:7", "body": b"hello"})
        == head + b"\r\ncontent-length: 5\r\n\r\nhello"
    )
    frame = HTTP.build({"head": head, "body": b"hello"})
    for value in ("99", None):
        with pytest.raises(LocalProtocolError, match="the frame's layout goes by what is written"):
            HTTP.edit(frame, [(native.EDIT_HEADER, "CONTENT-length", value)])
    fields = HTTP.parse(frame)[0]
    fields.body = b"another"
    assert HTTP.build(fields) == head + b"\r\nContent-Length: 7\r\n\r\nanother"
    assert NATS.build({"line": b"PUB a.B inbox 0", "body": b"hello"}) == b"PUB a.B inbox 5\r\nhello\r\n"
    assert NATS.build({"line": b"PUB a.B 0", "body": b"hello"}) == b"PUB a.B 5\r\nhello\r\n"
    assert NESTED.build({"kind": 1, "frame": {"body": b"abc"}}) == b"\x0103abc"
    assert NESTED.build({"kind": 2, "frame": {"n": b"4", "body": b"abc"}}) == b"\x024 7 abc"
    assert TWO.build({"line": b"", "head": b"abc", "body": b"de"}) == b"3 5\nabcde"
    assert SIDED.build({"frame": {"body": b"abc"}}, "client") == b"3\nabc"
    with pytest.raises(LocalProtocolError):
        NATS.build({"body": b"hello"})


@pytest.mark.parametrize("size", [0, 1, 5, 6, 90, 95, 96, 400, 512])
def test_an_error_is_counted_in_digits(size):
    why = b"n" * size
    reply = native.error(FIXED.address, Status.TIMEOUT, 0, 0, why)
    assert reply == b"%04dno: %b!" % (size + 4, why)
    reply = native.error(DELIMITED.address, Status.TIMEOUT, 0, 0, why)
    assert reply == b"$%d\r\n%b\r\n" % (size, why)
    reply = native.error(HTTP.address, Status.TIMEOUT, 0, 0, why)
    assert reply == b"HTTP/1.1 503 Service Unavailable\r\nX-Five: 5\r\nContent-Length: %d\r\n\r\nwhy: %b" % (
        size + 5,
        why,
    )
    assert HTTP.message(reply, "server").kind == "response"


def test_digits_of_fixed_width_bound_an_errors_text():
    wire = declared("n" / Bytes(1), "body" / Bytes(number(this.n)), values={"body": [b"no ", ErrorText()]})
    assert native.error(wire.address, Status.TIMEOUT, 0, 0, b"n" * 40) == b"9no nnnnnn"


@pytest.mark.parametrize(("name", "text"), [("", ""), ("a", "b" * 9), ("a" * 30, "b" * 100)])
def test_what_an_error_repeats_is_counted_in_digits(name, text):
    wire = declared(
        "n" / Until(b"\n", max=9),
        "body" / Bytes(number(this.n)),
        oneway=0,
        response=side == "server",
        values={"body": [FromRequest(this.body, max=30), b": ", ErrorText()]},
    )
    request = wire.build({"body": name.encode()}, "client")
    reply = native.error(
        wire.address, Status.TIMEOUT, 0, 0, text.encode(), native.keep(wire.address, request)
    )
    assert reply == b"%d\n%b: %b" % (len(name) + 2 + len(text), name.encode(), text.encode())


EXACT = [  # whole, part, what is written, whole then
    (b"a:b", 0, b"c", b"c:b"),
    (b"a:b", 1, b"c", b"a:c"),
    (b"a:b:d", 1, b"c", b"a:c"),
    (b"b", 0, b"a", b"a:b"),
    (b"a", 1, b"b", b"a:b"),
    (b"a:b", 0, None, b"b"),
    (b"a:b", 1, None, b"a"),
    (b"a", 1, None, b"a"),
    (b":b", 0, b"a", b"a:b"),
]


@pytest.mark.parametrize(("whole", "part", "written", "then"), EXACT)
def test_parts_that_are_all_there_or_none(whole, part, written, then):
    pieces = split(this.name, ":", 2, exact=True)
    wire = declared(
        "id" / Int32ub,
        "name" / Prefixed(Int8ub, GreedyBytes),
        mode="multiplexed",
        id=this.id,
        oneway=0,
        response=this.id == 0,
        service=pieces[part],
        method=first(pieces[1], this.name),
        values={"name": b""},
    )
    frame = wire.build({"id": 7, "name": whole})
    here = whole.split(b":", 1) if b":" in whole else [b"", b""]
    for one in (native.request(wire.address, frame), wire.message(frame)):
        assert one.service == here[part].decode()
        assert one.method == (here[1] if b":" in whole else whole).decode()
    value = None if written is None else written.decode()
    changed = wire.edit(frame, [(native.EDIT_SERVICE, "", value)])
    assert wire.parse(changed)[0].name == then


def test_three_parts_or_none():
    pieces = split(this.line, " ", 3, exact=True)
    wire = declared(
        "line" / Until(b"\n", max=40),
        oneway=0,
        response=starts(this.line, "-"),
        service=pieces[1],
        group=first(pieces[2], "none"),
        values={"line": b"-"},
    )
    for line, service, group in (
        (b"a b c d", "b", "c d"),
        (b"a b", "", "none"),
        (b"a b ", "b", ""),
        (b"", "", "none"),
    ):
        request = native.request(wire.address, line + b"\n")
        assert (request.service, request.group) == (service, group)
    assert wire.edit(b"a b\n", [(native.EDIT_SERVICE, "", "c")]) == b" c a b\n"
    with pytest.raises(LocalProtocolError, match="cannot be taken out: all parts are there, or none"):
        wire.edit(b"a b c\n", [(native.EDIT_SERVICE, "", None)])


WRONG = {
    "a section behind it": (
        lambda: declared("body" / Bytes(number(this.n)), "n" / Bytes(3), values={}),
        "body: number(text(this.n)): this.n is not a field in front of it; a view names it from the frame's",
    ),
    "a section of its own Struct": (
        lambda: declared("in" / Struct("n" / Bytes(3), "body" / Bytes(number(this.n))), values={}),
        "this.n is not a field in front of it; a view names it from the frame's start, as in this.in.n",
    ),
    "an integer": (
        lambda: declared("n" / Int8ub, "body" / Bytes(number(this.n)), values={}),
        "body: this.n is an integer (1 bytes), and texts are found in bytes",
    ),
    "a structure": (
        lambda: declared("n" / Bytes(9), "body" / Bytes(number(json(this.n)["size"])), values={}),
        "a layout reads texts in front of it by themselves, by split, by lines and by first",
    ),
    "a map with lengths": (
        lambda: declared(
            "n" / Bytes(9), "body" / Bytes(number(pairs(this.n, Int8ub, Int8ub)["size"])), values={}
        ),
        "a layout reads texts in front of it by themselves, by split, by lines and by first",
    ),
    "a view that is no number": (
        lambda: declared("n" / Bytes(9), "body" / Bytes(text(this.n)), values={}),
        "body: text(this.n) is no expression",
    ),
    "exact with one part": (
        lambda: split(this.n, ":", 1, exact=True),
        "split: exact=True says that a separator",
    ),
    "trim of a separator": (
        lambda: lines(this.n, ":", ";", trim=":"),
        "lines: trim=':' was given; it is ASCII",
    ),
    "skip of many lines": (lambda: lines(this.n, ":", ";", skip=8), "lines: skip=8 was given; 0 to 7 lines"),
    "a total over digits that grow": (
        lambda: declared(
            "total" / Rebuild(Int16ub, len_(this.n) + len_(this.body)),
            "n" / Until(b"\n", max=9),
            "body" / Bytes(number(this.n)),
            values={"body": ErrorText()},
        ),
        "total counts digits whose number changes with the text; give them a fixed width: Bytes(8)",
    ),
    "digits too few for what is repeated": (
        lambda: declared(
            "n" / Bytes(1),
            "body" / Bytes(number(this.n)),
            values={"body": [FromRequest(this.body, max=30)]},
        ),
        "n has 1 bytes to count up to 30 bytes from the request",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_declaration_is_told_what_to_write(name):
    make, said = WRONG[name]
    with pytest.raises(DeclarationError, match=re.escape(said)):
        make()


def test_a_check_reads_texts_too():
    wire = declared(
        "tag" / Bytes(3),
        Check(isin(this.tag, {"GET", "PUT"})),
        "body" / Bytes(2),
        values={"tag": b"GET", "body": b"no"},
    )
    assert outcome(wire, b"GETxx").result == 0
    assert native.frame(wire.address, b"GE").result == 1
    assert native.frame(wire.address, b"POST").result == -1


def test_what_decides_is_bounded_where_nothing_is_measured_by_it():
    wire = declared("n" / Until(b"\n", max=30), Check(number(this.n) != 3), values={"n": b"1"})
    for digits, result in (
        (b"4294967295", 0),
        (b"4294967296", -3),
        (b"18446744073709551619", -3),
        (b"3", -2),
        (b"03", -2),
    ):
        assert outcome(wire, digits + b"\n").result == result


def test_an_empty_error_is_counted_though_nothing_need_be_said_of_nothing():
    wire = declared(
        "head" / Until(b"\r\n\r\n", max=99),
        "body" / Bytes(number(HEAD["Content-Length"])),
        values={"head": b"HTTP/1.1 500 x", "body": ErrorText()},
    )
    head = b"HTTP/1.1 500 x\r\nContent-Length: %d\r\n\r\n%b"
    for why in (b"", b"no"):
        assert native.error(wire.address, Status.TIMEOUT, 0, 0, why) == head % (len(why), why)


PREFIXED = declared(
    "n" / Prefixed(Int8ub, GreedyBytes), "body" / Bytes(number(this.n)), values={"n": b"2", "body": b"no"}
)
REPEATED = declared(
    "n" / Until(b"\n", max=9),
    "body" / Bytes(number(this.n)),
    oneway=0,
    response=side == "server",
    values={"body": [FromRequest(this.body, max=9), ErrorText()]},
)


def changed(image, name, which, **operands):
    """The program with some operands of the which-th instruction of that name changed."""
    wrong = insns(image)
    place = [place for place, one in enumerate(wrong) if one[0] == name][which]
    for key, value in operands.items():
        wrong[place]["nabci".index(key)] = value
    return with_insns(image, wrong)


@pytest.mark.parametrize(
    ("wire", "name", "which", "operands", "why"),
    [
        (PREFIXED, "HERE", 0, {"n": "SET", "a": 250}, "(SLICE): the frame need not be there"),
        (PREFIXED, "LENGTH", 0, {"n": "HERE"}, "is read, which some path has not written"),
        (PREFIXED, "LENGTH", 0, {"b": 200}, "text 200 is read, which some path has not written"),
        (REPEATED, "PART", 0, {"n": "SLICE"}, "(SLICE): the frame need not be there"),
        (REPEATED, "EMIT_DIGITS", 0, {"b": 21}, "(EMIT_DIGITS): its integer is too wide"),
    ],
    ids=["in front", "not looked for", "another", "half read", "too wide"],
)
def test_a_program_reads_texts_that_are_there(wire, name, which, operands, why):
    with pytest.raises(DeclarationError, match=re.escape(why)):
        native.declared(changed(wire.image("x"), name, which, **operands))


def test_a_program_does_not_rely_on_texts_from_before_it_stopped():
    image = FIXED.image("x")
    wrong = insns(image)
    here = next(place for place, one in enumerate(wrong) if one[0] == "HERE")
    wrong[here], wrong[here + 1] = wrong[here + 1], wrong[here]
    with pytest.raises(
        DeclarationError, match=r"\(LENGTH\): text \d+ is read, which some path has not written"
    ):
        native.declared(with_insns(image, wrong))


@pytest.mark.parametrize(("field", "value"), [(2, 32), (3, 5000)])
def test_how_lines_are_read_is_in_range(field, value):
    image = bytearray(HTTP.image("x"))
    at, _, _ = place_of(image, "maps")
    image[at + 4 * field : at + 4 * field + 4] = value.to_bytes(4, "little")
    with pytest.raises(DeclarationError, match="how a map's lines are read is out of range"):
        native.declared(bytes(image))
