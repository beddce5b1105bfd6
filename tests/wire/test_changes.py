"""Changes that the engine makes to frames of declared formats, beside those of the declaration."""

from __future__ import annotations

import itertools
import struct

import pytest
from construct import (
    Bytes,
    Check,
    Const,
    GreedyBytes,
    If,
    IfThenElse,
    Int8sb,
    Int8ub,
    Int16sb,
    Int16ub,
    Int16ul,
    Int24ul,
    Int32sb,
    Int32ub,
    Int64sb,
    Int64ub,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Status, native
from protokit.errors import DeclarationError, LocalProtocolError
from protokit.testing.changing import check_changes
from protokit.wire import (
    Ahead,
    ErrorText,
    Replies,
    Until,
    UVar,
    WireFormat,
    ber,
    crc32,
    decimal,
    first,
    hessian2_strings,
    json,
    lines,
    msgpack,
    number,
    pairs,
    protobuf,
    split,
    starts,
    sum8,
    table,
    text,
    thrift,
    tlv,
)

ALL = frozenset(native.CHANGES)


def declared(layout, *, replies=None, **meaning):
    """A format whose requests have kind 0 and answers 1, with these fields behind."""
    empty = replies or {"head": b"", "body": ErrorText()}
    return WireFormat(
        Struct(Const(b"C"), "kind" / Int8ub, "id" / Int16ub, *layout),
        id=this.id,
        response=this.kind == 1,
        replies=Replies(error=lambda status, variant: {"kind": 1, **empty}),
        **meaning,
    )


HEAD = ["head_len" / Rebuild(Int16ub, len_(this.head)), "body_len" / Rebuild(Int16ul, len_(this.body))]
SECTIONS = ["head" / Bytes(this.head_len), "body" / Bytes(this.body_len)]


def pair(key, value, key_form=Int8ub, value_form=Int16sb):
    return b"".join(
        form.build(-1 if one is None else len(one)) + (one or b"")
        for form, one in ((key_form, key), (value_form, value))
    )


def of_pairs():
    head = pairs(this.head, key=Int16sb, value=Int16sb)
    made = [(b"a", b"1"), (b"to", b"x.Y"), (b"a", b"22"), (None, b"n"), (b"z", None), (b"", b"")]
    maps = [
        b"",
        b"\0",
        *(b"".join(pair(*one, Int16sb) for one in some) for some in itertools.permutations(made, 3)),
    ]
    wire = declared(
        HEAD + SECTIONS,
        service=split(head["to"], ".", 2)[0],
        method=first(head["z"], head["a"]),
        headers=head,
    )
    return wire, ALL - {"version", "group"}, [{"head": one, "body": b"b"} for one in maps]


def of_lines(between, after, texts, **how):
    head = lines(this.head, between, after, **how)
    wire = declared(HEAD + SECTIONS, service=head["to"], version=split(head["a"], "/", 3)[1], headers=head)
    return lambda: (wire, ALL - {"method", "group"}, [{"head": one, "body": b"b"} for one in texts])


COLONS = [
    b"".join(some) + end
    for some in itertools.permutations((b"a: 1\r\n", b"To:x\r\n", b"no pair\r\n", b"A:  2 \r\n", b"\r\n"), 3)
    for end in (b"", b"to: y/z")
] + [b"", b"\r\n", b"a"]
TURNS = [
    b"\n".join(some)
    for size in range(5)
    for some in itertools.permutations((b"a", b"", b"to", b"x", b"a"), size)
]


def of_texts():
    wire = declared(
        [
            "total" / Rebuild(Int32ub, len_(this.name) + len_(this.path) + len_(this.body) + len_(this.to)),
            "name_len" / Rebuild(Int8ub, len_(this.name)),
            "name" / Bytes(this.name_len),
            "path" / Prefixed(Int16ul, GreedyBytes),
            "sum" / Int32ub,
            "size" / Rebuild(UVar(2), len_(this.to)),
            "to" / Bytes(this.size),
            "body" / Bytes(this.total - len_(this.name) - len_(this.path) - len_(this.to)),
            "check" / Int8ub,
        ],
        replies={"name": b"", "path": b"", "to": b"", "body": ErrorText()},
        service=this.name,
        method=split(this.path, "/", 2, exact=True)[1],
        version=split(split(this.path, "/", 2)[1], ":", 3)[2],
        group=this.to,
        checksum=[crc32(this.sum, over=[this.to, this.name]), sum8(this.check, over="before")],
    )
    paths = [b"", b"/", b"a", b"a/b", b"a/b:c", b"a/:::d", b"a/b/c:d:e:f"]
    names = [b"", b"n" * 200]
    tos = [b"", b"t" * 127, b"t" * 128]
    frames = [
        {"name": name, "path": path, "to": to, "body": b"b"}
        for name, path, to in itertools.product(names, paths, tos)
    ]
    return wire, {"service", "method", "version", "group"}, frames


def of_delimited():
    wire = declared(
        [
            "line" / Until(b" ", max=140),
            "fixed" / Bytes(3),
            "rest" / Until(b"\r\n", max=60),
            *HEAD,
            *SECTIONS,
        ],
        replies={"line": b"", "fixed": b"fix", "rest": b"", "head": b"", "body": ErrorText()},
        service=this.line,
        method=this.fixed,
        version=split(this.rest, "=", 2)[0],
        group=first(split(this.rest, "=", 2, exact=True)[1], "none"),
    )
    frames = [
        {"line": line, "fixed": b"abc", "rest": rest, "head": b"h", "body": b""}
        for line in (b"", b"x", b"x" * 60)
        for rest in (b"", b"v", b"v=g", b"v=g=h", b"\r")
    ]
    return wire, {"service", "method", "version", "group"}, frames


def of_branches():
    """Sections that some frames have not, or that cannot be read in them; a step that only reads."""
    found = hessian2_strings(this.body, count=2)
    wire = declared(
        [
            "flags" / Int8ub,
            *HEAD,
            "extra" / If(this.flags == 1, Prefixed(Int8ub, GreedyBytes)),
            "more"
            / IfThenElse(
                this.flags == 2, Struct("name" / Prefixed(UVar(2), GreedyBytes)), Struct("x" / Int8ub)
            ),
            Check(this.head_len < 200),
            *SECTIONS,
        ],
        replies={"flags": 0, "more": {"x": 0}, "head": b"", "body": ErrorText()},
        service=this.extra,
        method=first(this.more.name, found[0]),
        version=first(found[0], this.extra),
        headers=pairs(this.head, key=Int8ub, value=Int8sb),
        readable=(this.head, this.flags != 3),
    )
    frames = [
        {"flags": flags, "extra": extra, "more": {"name": b"n", "x": 1}, "head": b"\1a\1b", "body": body}
        for flags in range(4)
        for extra in (b"", b"e" * 20)
        for body in (b"", b"\1b")
    ]
    return wire, {"service", "method", "version", "headers", "answer"}, frames


def of_numbers():
    """Integers by name or in digits, beside a text that moves them."""
    wire = declared(
        [
            *HEAD,
            SECTIONS[0],
            "op" / Int8ub,
            "signed" / Int16sb,
            "little" / Int16ul,
            "wide" / Int64ub,
            SECTIONS[1],
        ],
        replies={"op": 0, "signed": 0, "little": 0, "wide": 0, "head": b"", "body": ErrorText()},
        service=first(table(this.op, {1: "GET", 7: "PUT", 255: "a.B"}), this.head),
        method=table(this.little, {0: "zero", 65536: "never"}, "other"),
        version=decimal(this.signed),
        group=split(decimal(this.wide), "0", 2)[0],
    )
    frames = [
        {"op": op, "signed": signed, "little": little, "wide": wide, "head": b"h", "body": b"b"}
        for op in (0, 1, 7)
        for signed, little, wide in ((0, 0, 0), (-32768, 65535, 2**64 - 1), (-1, 1, 1203))
    ]
    return wire, {"service", "method", "version", "group"}, frames


def of_absent_numbers():
    """Integers that some frames have not: 0 to who reads them, and nothing to write to."""
    wire = declared(
        [
            "flags" / Int8ub,
            *HEAD,
            "call" / If((this.flags & 1) == 1, Struct("program" / Int16sb)),
            SECTIONS[0],
            "op" / If((this.flags & 2) == 2, Int8ub),
            SECTIONS[1],
        ],
        replies={"flags": 0, "head": b"", "body": ErrorText()},
        service=first(table(this.op, {1: "GET", 2: "a.B"}), decimal(this.call.program)),
        method=table(this.call.program, {0: "7", 5: "five"}),
        version=decimal(this.op),
        group=this.head,
    )
    frames = [
        {"flags": flags, "call": {"program": program}, "op": op, "head": b"h", "body": b"b"}
        for flags in range(4)
        for program in (0, 5, -7)
        for op in (0, 1)
    ]
    return wire, {"service", "method", "version", "group"}, frames


def of_lengths():
    """Lengths beside what is there or not, and one that is said twice."""
    one = ((this.flags & 1) == 1) & (this.kind == 0)
    there = one * 2 + ((this.flags & 2) != 0)
    size = len_(this.name) + len_(this.body) + there + 3
    wire = declared(
        [
            "flags" / Int8ub,
            "size" / Rebuild(Int16ub, size),
            "again" / Rebuild(Int32sb, size - len_(this.body) + 7),
            Check(this.again < 300),
            "name" / Prefixed(Int8ub, GreedyBytes),
            "one" / If(one, Int16ub),
            "two" / If((this.flags & 2) != 0, Int8ub),
            "body" / Bytes(this.size - 3 - there - len_(this.name)),
        ],
        replies={"flags": 0, "name": b"", "body": ErrorText()},
        service=this.name,
    )
    frames = [
        {"flags": flags, "name": name, "one": 1, "two": 2, "body": body}
        for flags in range(4)
        for name in (b"", b"n" * 9)
        for body in (b"", b"b" * 200)
    ]
    return wire, {"service"}, frames


def of_layouts():
    """Texts by which a frame is laid out, and what is read ahead, stay what they say."""
    head = lines(this.head, ":", "\n", trim=" ", ignore_case=True)
    told = starts(head["tail"], "")
    wire = declared(
        [
            "first" / Ahead(Int8ub),
            Check(this.first != ord("!")),
            "head" / Until(b"\n\n", max=99),
            Check(first(head["bad"], "none") == "none"),
            "tail" / If(told, Until(b"\0", max=9)),
            "body" / IfThenElse(first(head["way"], "") == "long", Bytes(7), Bytes(number(head["to"]))),
            "end" / If(told & (this.kind == 0), Int8ub),
        ],
        replies={"first": ord("t"), "head": b"to: 0", "tail": b"", "body": ErrorText(), "end": 0},
        service=head["to"],
        method=split(split(this.head, "\n", 2)[0], ":", 2)[0],
        version=this.tail,
        headers=head,
    )
    heads = [b"to: 7", b"to:07\nx:1", b"way:long\nto: 7", b"TO: 7\ntail: 1", b"way:long", b"x:y\ntail:\nto:7"]
    frames = [
        {"first": head[0], "head": head, "tail": tail, "body": b"b" * 7, "end": 1}
        for head in heads
        for tail in (b"", b"t" * 8)
    ]
    return wire, {"service", "method", "version", "headers", "answer"}, frames


def of_digits():
    """Numbers in texts that count what is changed: with as many digits as it takes, or always as many."""
    wire = declared(
        [
            "length" / Until(b"|", max=4),
            "head" / Bytes(number(this.length)),
            "fixed" / Bytes(3),
            "name" / Bytes(number(this.fixed) - 1),
            "words" / Until(b"\n", max=30),
            "body" / Bytes(number(split(this.words, " ", 3)[1]) + 2),
        ],
        replies={"length": b"0", "head": b"", "fixed": b"000", "name": b"", "words": b"a 0", "body": b"bb"},
        service=this.name,
        method=this.body,
        headers=pairs(this.head, key=Int8ub, value=Int8sb),
    )
    frames = [
        {
            "length": length,
            "head": head,
            "fixed": b"%03d" % (len(name) + 1),
            "name": name,
            "words": words,
            "body": body,
        }
        for length, head in (
            (b"0", b""),
            (b"4", pair(b"a", b"1", value_form=Int8sb)),
            (b"04", pair(b"a", b"1", value_form=Int8sb)),
            (b"009", pair(b"ab", b"12345", value_form=Int8sb)),
        )
        for name in (b"", b"n" * 8, b"n" * 900)
        for words, body in ((b"x 3 y", b"b" * 5), (b"x 0 ", b"bb"))
    ]
    return wire, {"service", "method", "headers", "answer"}, frames


def message(*fields):
    """Of protobuf: (number, what), a number as a varint or the bytes of a wire type."""
    made = b""
    for number_, what in fields:
        if isinstance(what, tuple):
            kind, raw = what
            made += UVar(5).build(number_ << 3 | kind) + raw
        elif isinstance(what, int):
            made += UVar(5).build(number_ << 3) + UVar(10).build(what)
        else:
            made += UVar(5).build(number_ << 3 | 2) + UVar(5).build(len(what)) + what
    return made


def of_protobuf():
    """Fields, those of messages that come in pieces, values of maps; as numbers, texts, and what is none."""
    meta = protobuf(this.head)
    wire = declared(
        HEAD + SECTIONS,
        service=split(meta[1], "/", 2)[0],
        method=first(meta[2][3], meta[20]),
        version=meta[5]["a"],
        group=meta[6]["to"][2]["k"],
        headers=protobuf(this.head)[8],
    )
    entry = [message((1, b"a"), (2, b"1")), message((2, b"x"), (1, b"a"), (3, 7)), message((1, b"zz"))]
    odd = [message((1, b"a"), (2, 9)), message((1, 5), (2, b"x")), b""]
    heads = [
        message(),
        message(
            (1, b"a.B/m"),
            (2, message((3, b"x"), (4, 1))),
            (5, entry[0]),
            (6, message((1, b"to"), (2, message((2, message((2, b"g"), (1, b"k"))))))),
        ),
        message(
            (2, message((3, b"x"))), (1, b"a"), (2, message((4, 5))), (1, b"b"), (2, message((3, b"y" * 130)))
        ),
        message((1, 2**64 - 1), (2, message((3, (5, b"abcd")))), (20, (1, b"12345678"))),
        message((2, message((3, 5))), (2, 7), (20, b"never"), (1, (0, b"\x85\x80\0"))),
        *(
            message(*((number_, one) for number_ in (5, 8) for one in some), (20, b"m"))
            for some in itertools.permutations([*entry, *odd], 2)
        ),
        message((6, message((1, b"to"), (2, b""))), (8, 3), (8, entry[0])),
        message((6, message((1, b"to"), (2, 5)))),
        message((2, b"\x08")) + b"\x12\1\5",
        b"\xff",
        message((1, b"a"), (3, (3, b""))),
        message((2, message((3, b"x" * 120))), (7, b"y" * 8)),
        message(
            (6, message((1, b"to"), (2, message((2, b"g"))))), (6, message((1, b"to"), (2, (1, b"8" * 8))))
        ),
    ]
    return wire, ALL, [{"head": one, "body": b"b"} for one in heads]


def of_json():
    """Names that are there, twice, in another case or in escapes; values of all kinds, and spaces around."""
    body = json(this.head)
    wire = declared(
        HEAD + SECTIONS,
        service=split(body["a"], "/", 2)[0],
        method=first(body["deep"][1]["a"], body["z"]),
        version=body[1],
        group=body["deep"]["h"],
        headers=json(this.head)["h"],
        answer_headers=json(this.head),
    )
    values = [b'"x/y"', b"-1.5e3", b"true", b"null", b'{"a" : 1}', b'[0, {"b":1,"a":"v"}]', b'"\\u0061"']
    heads = [b"", b"{}", b" { } ", b"[]", b'[1, "x" , 2]', b"[ 1 ]", b"7", b'{"a":1', b"{} x", b'{"a":1,}']
    heads += [b'{"a":%b}' % one for one in values]
    heads += [b' {\t"deep" :\n%b , "k":1, "h" :%b }\r' % some for some in itertools.permutations(values, 2)]
    heads += [
        b'{"a":1,"A":2}',
        b'{"h":{"k":1,"K":"2", "k" : null}}',
        b'{"\\u0061":1,"a":2}',
        b'{"a":1,"a":2}',
    ]
    heads += [b'{"h":{ "a":1 , "b":"2","a":{}, "a":"x" }}', b'{"h":{"\\u0061":1}}', b'{"h":{"a":"\\n"}}']
    heads += [b'{"Deep":1,"deep":{"h":"x"},"H":1,"h":{}}', b'{"deep":{"H":"x"}}']
    heads += [b"[" * 64 + b"]" * 64, b"[" * 65 + b"]" * 65, b'{"5":0,"deep":[0,{}]}']
    return wire, ALL, [{"head": one, "body": b"b"} for one in heads]


def packed(*pairs_):
    """A map of MessagePack, of pairs that are encoded."""
    return bytes([0x80 | len(pairs_)]) + b"".join(key + value for key, value in pairs_)


def of_msgpack():
    """Keys that are texts or integers, several times and in other encodings; values of all kinds."""
    body = msgpack(this.head)
    wire = declared(
        HEAD + SECTIONS,
        service=split(body["a"], "/", 2)[0],
        method=first(body["deep"][1]["a"], body[-7]),
        version=body[1],
        group=body["deep"]["h"],
        headers=msgpack(this.head)["h"],
        answer_headers=msgpack(this.head),
    )
    values = [b"\xa3x/y", b"\x07", b"\xd1\xff\x00", b"\xcf" + b"\xff" * 8, b"\xc2", b"\xc0", b"\xca1234"]
    values += [packed((b"\xa1a", b"\x01")), b"\x92\x00" + packed((b"\xa1b", b"\1"), (b"\xa1a", b"\xa1v"))]
    a, other, one = b"\xa1a", b"\xd9\x01a", b"\x01"
    heads = [
        b"",
        b"\x80",
        b"\x90",
        b"\x93\1\xa1x\2",
        b"\xde\0\0",
        b"\xdf\0\0\0\0rest",
        b"\7",
        b"\x81\xa1a",
        b"\xc1",
    ]
    heads += [packed((key, value)) for key in (a, one) for value in values]
    heads += [
        packed((b"\xa4deep", first_), (b"\xa1k", b"\1"), (b"\xa1h", second)) + b"behind"
        for first_, second in itertools.permutations(values, 2)
    ]
    heads += [
        packed((a, b"\xa11"), (b"\xa1b", b"\2"), (other, b"\xc0")),
        packed((other, b"\1"), (a, b"\xa11")),
    ]
    heads += [packed((b"\xa1h", packed((a, b"\1"), (b"\xc4\1a", b"\xa12"), (b"\xc0", b"\xc0"))))]
    heads += [packed(*[(bytes([2 + n]), b"\xc0") for n in range(15)]), b"\xdc\0\x10" + b"\0" * 16]
    return wire, ALL, [{"head": one, "body": b"b"} for one in heads]


def of_tlv():
    """Tags in either order, with signs, and twice; lists in lists, and headers by their names."""
    short, names = tlv(this.head, Int8sb, Int8sb), {1: "a", -2: "to", 9: "new"}
    wide = tlv(this.body, Int16ul, Int24ul, {1: "x-new", 500: "wide"})
    wire = declared(
        HEAD + SECTIONS,
        service=split(short[1], "/", 2)[0],
        method=first(short[-2][3], short[4]),
        version=wide[500],
        group=wide[2][1],
        headers=tlv(this.head, Int8sb, Int8sb, names),
        answer_headers=wide[7],
    )
    one, two, three = b"\1\3x/y", b"\xfe\2\3\0", b"\xfe\4\3\1a\4"
    heads = [b"", b"\1", b"\1\x80", b"\1\xff", one, one + two, two + one + two, three, b"\1\x7f" + b"n" * 127]
    heads += [b"".join(some) for some in itertools.permutations((one, b"\4\1m", b"\1\0", b"\xfe\2\3\0"), 3)]
    bodies = [b"", b"\2\0\4\0\0\1\0\0\0", b"\xf4\1\1\0\0v\7\0\6\0\0\1\0\1\0\0q\xf4\1\0\0\0", b"\7\0\0\0\0"]
    return wire, ALL, [{"head": head, "body": body} for head in heads for body in bodies]


FORMATS = {
    "json": of_json,
    "msgpack": of_msgpack,
    "tlv": of_tlv,
    "numbers": of_numbers,
    "pairs": of_pairs,
    "lines": of_lines(":", "\r\n", COLONS, ignore_case=True, trim=" \t", skip=1),
    "lines of which the first counts": of_lines(": ", "\r\n", COLONS, repeated="first"),
    "lines on turn": of_lines("\n", "\n", TURNS),
    "texts": of_texts,
    "delimited": of_delimited,
    "branches": of_branches,
    "absent numbers": of_absent_numbers,
    "lengths": of_lengths,
    "layouts": of_layouts,
    "digits": of_digits,
    "protobuf": of_protobuf,
}


LONG = {"texts", "pairs", "protobuf", "layouts", "lines on turn", "lines of which the first counts"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in FORMATS]
)
def test_the_engine_changes_frames_as_the_declaration_does(name):
    wire, kinds, frames = FORMATS[name]()
    frames = frames[:: max(1, len(frames) // (24 if name not in {"json", "msgpack", "tlv"} else 96))]
    assert native.edits(wire.address) == kinds
    made = 0
    for place, fields in enumerate(frames):
        for kind in (0, 1) if place % 3 == 0 or name == "pairs" else (0,):
            try:
                frame = wire.build({"kind": kind, "id": 7, **fields})
            except LocalProtocolError:
                continue
            made += check_changes(wire, frame)
    assert made > 3 * len(frames)


def refused(wire, frame, edit):
    """By the declaration and by the engine alike."""
    for change in (lambda: wire.edit(frame, [edit]), lambda: native.edit(wire.address, frame, [edit])):
        with pytest.raises(LocalProtocolError):
            change()


def test_a_part_that_holds_its_separator_is_no_part():
    """Whoever says the service, by a header that a rule takes it from, does not say the method."""
    path = split(this.head, "/", 3)
    wire = declared(
        HEAD + SECTIONS,
        service=split(this.body, "/", 2, exact=True)[0],
        method=split(this.body, "/", 2, exact=True)[1],
        version=split(path[0], ":", 2)[0],
        group=path[2],
    )
    frame = wire.build({"kind": 0, "id": 7, "head": b"v:w/x/g", "body": b"S/m"})
    for what, value in (("SERVICE", "T/evil"), ("SERVICE", "T/"), ("VERSION", "1:2"), ("VERSION", "1/2")):
        refused(wire, frame, (getattr(native, f"EDIT_{what}"), "", value))
    for what, value in ((native.EDIT_METHOD, b"a/b"), (native.EDIT_GROUP, b"a/b")):
        edits = [(what, "", value.decode())]
        assert native.edit(wire.address, frame, edits) == wire.edit(frame, edits)
        assert value in wire.edit(frame, edits)


@pytest.mark.parametrize(
    ("how", "head", "key", "value"),
    [
        (("=", "||", {}), b"a=1||", "a", "v|"),
        (("=", "||", {}), b"a=1||b=2|", "new", "v"),  # would be read as "|new"
        (("::", ";", {}), b"a::1", "new:", "v"),
        (("=", ";", {"skip": 1}), b"", "new", "v"),  # would be a line that is skipped
    ],
)
def test_a_header_that_would_be_read_as_another_one_is_not_written(how, head, key, value):
    between, after, more = how
    wire = declared(HEAD + SECTIONS, headers=lines(this.head, between, after, **more))
    frame = wire.build({"kind": 0, "id": 7, "head": head, "body": b""})
    refused(wire, frame, (native.EDIT_HEADER, key, value))
    assert native.edit(wire.address, frame, [(native.EDIT_HEADER, "a", None)]) == wire.edit(
        frame, [(native.EDIT_HEADER, "a", None)]
    )


@pytest.mark.parametrize("number", ["-32769", "32768", "18446744073709551616"])
def test_an_integer_without_room_is_refused_though_the_next_change_writes_another_one(number):
    wire, _, frames = of_numbers()
    frame = wire.build({"kind": 0, "id": 7, **frames[0]})
    edits = [(native.EDIT_VERSION, "", number), (native.EDIT_VERSION, "", "7")]
    for change in (lambda: wire.edit(frame, edits), lambda: native.edit(wire.address, frame, edits)):
        with pytest.raises(LocalProtocolError):
            change()
    assert native.edit(wire.address, frame, edits[1:]) == wire.edit(frame, edits[1:])


def test_a_program_that_shows_a_section_and_does_not_say_where_it_is_changes_nothing():
    """Nothing stands yet where it would write."""
    wire = declared(
        ["flags" / Int8ub, HEAD[1], HEAD[0], *SECTIONS[::-1]],
        replies={"flags": 0, "head": b"", "body": ErrorText()},
        headers=pairs(this.head, key=Int8ub, value=Int8sb),
        readable=(this.head, this.flags != 3),
    )
    image = wire.image("x")
    fields = {"kind": 0, "id": 7, "head": b"\1a\1b", "body": b"b"}
    frames = [wire.build({**fields, "flags": flags}) for flags in (0, 3)]
    edit = (native.EDIT_HEADER, "a", "c" * 9)
    assert native.edit(native.declared(image), frames[0], [edit]) == wire.edit(frames[0], [edit])
    for at in range(0, len(image) - 19, 4):
        section, form, seen, first_count, count = struct.unpack_from("=5I", image, at)
        if form == 256 and count == 1 and seen != section < 256 and seen < 256:
            swapped = (
                image[:at] + struct.pack("=5I", seen, form, section, first_count, count) + image[at + 20 :]
            )
            changed = native.declared(swapped)
            with pytest.raises(LocalProtocolError):
                native.edit(changed, frames[1], [edit])
            break
    else:
        pytest.fail("the program has no such field")


@pytest.mark.parametrize("value", ["9", "4", "0", "x", "", "-1", "7 7", None])
def test_a_text_that_measures_a_section_stays_what_it_says(value):
    """Whoever sets it would cut a frame, or let the next one begin in it."""
    wire, _, frames = of_layouts()
    frame = wire.build({"kind": 0, "id": 7, **frames[0]})
    edit = (native.EDIT_HEADER, "to", value)
    refused(wire, frame, edit)
    for fits in ("7", "07"):
        same = (native.EDIT_HEADER, "to", fits)
        assert native.edit(wire.address, frame, [edit, same]) == wire.edit(frame, [edit, same])
    long = wire.build({"kind": 0, "id": 7, **frames[4]})  # it measures nothing there
    if value not in {"x", "", "7 7"}:
        assert native.edit(wire.address, long, [edit]) == wire.edit(long, [edit])


@pytest.mark.parametrize(
    ("key", "value"),
    [("bad", "1"), ("way", "long"), ("tail", "1"), ("tail", ""), ("!", "1")],
)
def test_a_header_by_which_a_frame_is_laid_out_stays_away(key, value):
    wire, _, frames = of_layouts()
    frame = wire.build({"kind": 0, "id": 7, **frames[0], "head": b"to: 7\nx:1"})
    edits = [(native.EDIT_HEADER, "to", None), (native.EDIT_HEADER, "x", None)] if key == "!" else []
    for change in (wire.edit, lambda *of: native.edit(wire.address, *of)):
        with pytest.raises(LocalProtocolError):
            change(frame, [*edits, (native.EDIT_HEADER, key, value)])


def test_what_a_frame_is_laid_out_by_is_a_number():
    """Else a program would compare what it never found."""
    wire, _, _ = of_layouts()
    image = wire.image("x")
    forms = [
        at
        for at in range(0, len(image) - 19, 4)
        if struct.unpack_from("=5I", image, at)[1:] == (1024, struct.unpack_from("=I", image, at)[0], 0, 0)
    ]
    assert forms
    for at in forms:
        broken = image[:at] + struct.pack("=5I", 249, 1024, 249, 0, 0) + image[at + 20 :]
        with pytest.raises(DeclarationError, match="laid out by is no number"):
            native.declared(broken)


@pytest.mark.parametrize("char", ['"', "\\", "\0", "\n", "\x1f"])
def test_a_text_that_json_cannot_say_without_escapes_is_refused(char):
    """Nor does a value say more names, or a name more values."""
    wire = declared(HEAD + SECTIONS, service=json(this.head)["a"], headers=json(this.head)["h"])
    for head in (b"", b'{"a":"x","h":{"k":"v"}}', b'{"a":null}', b'{"a":7,"h":{"k":null}}'):
        frame = wire.build({"kind": 0, "id": 7, "head": head, "body": b"b"})
        smuggled = f'x{char},"k":"y'
        for edit in (
            (native.EDIT_SERVICE, "", smuggled),
            (native.EDIT_HEADER, "k", smuggled),
            (native.EDIT_HEADER, smuggled, "v"),
        ):
            refused(wire, frame, edit)


@pytest.mark.parametrize("was", [b"\x07", b"\xc2"], ids=["integer", "boolean"])
def test_a_number_of_messagepack_is_as_short_as_it_can_be(was):
    wire = declared(HEAD + SECTIONS, service=msgpack(this.head)["a"])
    frame = wire.build({"kind": 0, "id": 7, "head": packed((b"\xa1a", was)), "body": b"b"})
    edges = [-(2**n) + more for n in (5, 7, 15, 31, 63) for more in (-1, 0, 1)]
    edges += [2**n + more for n in (7, 8, 16, 32, 63, 64) for more in (-1, 0)] + [0]
    for one in (*map(str, edges), "-0", "007", "", "-", "1 ", "true", "false", "0" * 20 + "1"):
        edit = (native.EDIT_SERVICE, "", one)
        try:
            wanted = wire.edit(frame, [edit])
        except LocalProtocolError:
            refused(wire, frame, edit)
        else:
            assert native.edit(wire.address, frame, [edit]) == wanted


@pytest.mark.parametrize("size", [0, 31, 32, 127, 128, 255, 256, 65535, 65536])
@pytest.mark.parametrize(
    "family", [msgpack, lambda at: tlv(at, Int8ub, Int8ub), lambda at: tlv(at, Int8ub, Int16sb)]
)
def test_a_text_has_the_room_of_its_length(family, size):
    structure = family(this.head)
    key = "a" if family is msgpack else 1
    wire = declared(
        ["size" / Rebuild(Int32ub, len_(this.head)), "head" / Bytes(this.size), HEAD[1], SECTIONS[1]],
        service=structure[key],
    )
    empty = b"\x80" if family is msgpack else b""
    frame = wire.build({"kind": 0, "id": 7, "head": empty, "body": b"b"})
    edit = (native.EDIT_SERVICE, "", "x" * size)
    try:
        wanted = wire.edit(frame, [edit])
    except LocalProtocolError:
        refused(wire, frame, edit)
    else:
        assert native.edit(wire.address, frame, [edit]) == wanted


@pytest.mark.parametrize("kind", [0, 1, 5])
def test_a_number_in_a_message_has_the_room_of_its_wire_type(kind):
    wire = declared(HEAD + SECTIONS, service=protobuf(this.head)[1])
    raw = {0: b"\5", 1: b"8" * 8, 5: b"4" * 4}[kind]
    frame = wire.build({"kind": 0, "id": 7, "head": message((1, (kind, raw))), "body": b"b"})
    most = {0: 2**64 - 1, 1: 2**64 - 1, 5: 2**32 - 1}[kind]
    least = -(2**63) if kind == 0 else 0
    for number_ in (least, -0, 1, 127, 128, most):
        edits = [(native.EDIT_SERVICE, "", str(number_))]
        assert native.edit(wire.address, frame, edits) == wire.edit(frame, edits)
    for text_ in (str(most + 1), str(least - 1), "x", "", "-", "1 "):
        refused(wire, frame, (native.EDIT_SERVICE, "", text_))


@pytest.mark.parametrize(
    ("form", "least", "most"),
    [
        (Int16ub, 0, 2**16 - 1),
        (Int32sb, -(2**31), 2**31 - 1),
        (Int64sb, -(2**63), 2**63 - 1),
        (Int64ub, 0, 2**63 - 1),
        (UVar(9), 0, 2**63 - 1),
    ],
    ids=["two bytes", "four bytes", "signed", "eight bytes", "varint"],
)
def test_a_length_that_nothing_goes_by_is_as_wrong_as_before_or_the_frame_stays(form, least, most):
    """A client may say there what it wants: what has no room there is nothing else."""
    wire = declared(
        [*HEAD, "again" / Rebuild(form, len_(this.head)), *SECTIONS],
        service=this.head,
        replies={"head": b"", "body": ErrorText()},
    )
    front, _, rest = wire.build({"kind": 0, "id": 7, "head": b"abc", "body": b"b"}).partition(
        form.build(3) + b"abc"
    )
    for said in (least, least + 2, 3, most - 2, most, *([2**64 - 1] if form is Int64ub else [])):
        for name, more in (("abcdef", 3), ("a", -2)):
            change = (native.EDIT_SERVICE, "", name)
            frame = front + form.build(said) + b"abc" + rest
            if least <= said + more <= most:
                front_now = front.replace(b"\x00\x03", struct.pack(">H", len(name)))
                assert (
                    native.edit(wire.address, frame, [change])
                    == front_now + form.build(said + more) + name.encode() + rest
                )
            else:
                with pytest.raises(LocalProtocolError):
                    native.edit(wire.address, frame, [change])


def in_python(**meaning):
    layout = meaning.pop("layout", HEAD + SECTIONS)
    return declared(layout, **meaning)


@pytest.mark.parametrize(
    ("what", "can"),
    [
        ({"headers": thrift(this.head, "binary")[1], "service": this.body}, {"service"}),
        (
            {"service": ber(this.head)[0], "method": json(this.body)["m"], "version": json(this.body)},
            {"method"},
        ),
        ({"service": first(this.head, table(this.kind, {0: "a"}))}, {"service"}),
        ({"service": table(this.kind, {0: "a", 1: "a"}), "method": decimal(this.kind + 1)}, set()),
        ({"service": decimal(this.head_len), "method": decimal(this.id)}, set()),
        ({"service": "always", "method": this.body}, {"service", "method"}),
        (
            {
                "service": this.body,
                "layout": [*HEAD, "next" / If(this.kind == 0, Ahead(Int8ub)), *SECTIONS],
            },
            {"service"},
        ),
        (
            {
                "service": this.head,
                "method": this.body,
                "layout": [HEAD[0], "body_len" / Int16ul, *SECTIONS],
                "replies": {"head": b"", "body_len": 0, "body": b""},
            },
            {"service"},
        ),
        (
            {"service": this.body, "layout": ["odd" / Rebuild(Int8ub, lambda values: 1), *HEAD, *SECTIONS]},
            set(),
        ),
        (
            {
                "service": this.head,
                "method": this.body,
                "layout": ["twice" / Rebuild(Int8ub, len_(this.head) * 2), *HEAD, *SECTIONS],
            },
            {"method"},
        ),
        (
            {
                "service": this.head,
                "method": this.body,
                "layout": ["odd" / Rebuild(Int8ub, len_(this.head) & 1), *HEAD, *SECTIONS],
            },
            {"method"},
        ),
        (
            {
                "service": this.head,
                "method": this.body,
                "layout": [*HEAD, "room" / Bytes(this.head_len & 1), *SECTIONS],
                "replies": {"head": b"", "room": b"", "body": b""},
            },
            {"method"},
        ),
        (
            {
                "service": this.head,
                "method": this.body,
                "layout": ["head" / Until(b" ", max=9), "body" / Bytes(number(this.head))],
            },
            {"service"},
        ),
        (
            {
                "service": this.body,
                "layout": [
                    "head" / Until(b" ", max=9),
                    "rest" / Bytes(number(this.head)),
                    "body" / Bytes(number(this.head)),
                ],
                "replies": {"head": b"", "rest": b"", "body": b""},
            },
            set(),
        ),
    ],
)
def test_what_the_engine_cannot_write_is_written_in_python(what, can):
    """By each kind of change: the rule that makes it has a filter."""
    wire = in_python(**what)
    assert native.edits(wire.address) == can
    frame = native.error(wire.address, Status.INTERNAL, 7, 0, b"")
    with pytest.raises(LocalProtocolError, match="cannot be changed so"):
        native.edit(wire.address, frame, [(native.EDIT_GROUP, "", "g")])


def test_a_change_has_all_the_room_there_is_and_no_more():
    wire, _, _ = of_texts()
    frame = wire.build({"kind": 0, "id": 7, "name": b"n", "path": b"p/q", "to": b"t", "body": b"b" * 50})
    edits = [(native.EDIT_SERVICE, "", "x" * 100), (native.EDIT_GROUP, "", "y" * 200)]
    changed = wire.edit(frame, edits)
    assert native.edit(wire.address, frame, edits) == changed
    for room in range(len(frame), len(changed) + 40):
        if room < len(changed):
            with pytest.raises(LocalProtocolError, match="no room"):
                native.edit(wire.address, frame, edits, room)
        else:
            assert native.edit(wire.address, frame, edits, room) == changed


def test_a_map_of_one_key_alone_is_changed_in_one_pass():
    """Whoever sends it ten thousand times costs no more than its bytes."""
    wire, _, _ = of_pairs()
    head = pair(b"a", b"1", Int16sb) * 9000
    frame = wire.build({"kind": 0, "id": 7, "head": head[: 5 * 9000], "body": b""})
    for value in ("x", None):
        assert native.edit(wire.address, frame, [(native.EDIT_HEADER, "a", value)]) == wire.edit(
            frame, [(native.EDIT_HEADER, "a", value)]
        )


def test_a_large_frame_of_which_the_front_is_there_is_changed():
    wire = declared(
        [
            "head_len" / Rebuild(Int16ub, len_(this.head)),
            "size" / Rebuild(Int32sb, len_(this.body)),
            *SECTIONS[:1],
            "body" / Bytes(this.size),
        ],
        service=text(this.head),
    )
    frame = wire.build({"kind": 0, "id": 7, "head": b"a.B", "body": b"x" * 5000})
    edits = [(native.EDIT_SERVICE, "", "other.Service")]
    for cut in (14, 100):
        front = native.frame(wire.address, frame[:cut], halves=True)
        assert (front.result, front.need) == (0, len(frame))
        assert native.edit(wire.address, frame[:cut], edits) + frame[cut:] == wire.edit(frame, edits)
