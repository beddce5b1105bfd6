"""Changes that the engine makes to frames of declared formats, beside those of the declaration."""

from __future__ import annotations

import itertools
import struct

import pytest
from construct import (
    BitsInteger,
    BitStruct,
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
    Switch,
    len_,
    this,
)

from protokit import Status, native
from protokit.errors import DeclarationError, LocalProtocolError
from protokit.testing.changing import check_changes
from protokit.wire import (
    Ahead,
    ErrorText,
    Measured,
    Replies,
    Until,
    UVar,
    WireFormat,
    ber,
    ber_value,
    blocks,
    crc32,
    decimal,
    first,
    hessian2_strings,
    json,
    lines,
    msgpack,
    msgpack_value,
    number,
    pairs,
    protobuf,
    size_,
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


def of_thrift(protocol):
    """Fields of all types, in other orders and twice, with heads that are longer than they must be; maps."""
    compact = protocol == "compact"

    def text_(said):
        return (bytes([len(said)]) if compact else struct.pack(">i", len(said))) + said

    def field(type_, number, raw):
        if not compact:
            return bytes([type_]) + struct.pack(">h", number) + raw
        return bytes([COMPACT[type_]]) + bytes([2 * number]) + raw  # its id alone, never the distance

    def map_(*pairs_, types=(11, 11)):
        keys = bytes([COMPACT[types[0]] << 4 | COMPACT[types[1]]]) if compact else bytes(types)
        made = b"".join(key + value for key, value in pairs_)
        if compact:
            return bytes([len(pairs_)]) + (keys + made if pairs_ else b"")
        return keys + struct.pack(">i", len(pairs_)) + made

    def struct_(*some):
        return b"".join(some) + b"\0"

    head = thrift(this.head, protocol)
    wire = declared(
        HEAD + SECTIONS,
        service=split(head[1], "/", 2)[0],
        method=first(head[3]["a"], head[40]),
        version=head[2][1],
        group=head[3]["m"]["a"],
        headers=head[4],
        answer_headers=head[5][6],
    )
    false = b"" if compact else b"\0"
    ones = [text_(b"x/y"), text_(b"")]
    numbers = [(3, b"\x85"), (6, b"\1" if compact else b"\0\1"), (8, b"\2" if compact else b"\0\0\0\1")]
    numbers += [(2, false), (4, bytes(8)), (10, b"\3" if compact else bytes(8)), (12, b"\0")]
    empty, of_a = (
        map_(),
        map_((text_(b"a"), text_(b"1")), (text_(b"to"), text_(b"2")), (text_(b"a"), text_(b"3"))),
    )
    of_numbers_ = map_((text_(b"a"), numbers[1][1]), types=(11, 6))
    of_booleans = map_((text_(b"a"), b"\1"), types=(11, 2))
    by_numbers = map_((numbers[1][1], text_(b"1")), types=(6, 11))
    of_maps = map_((text_(b"m"), of_a), (text_(b"a"), empty), types=(11, 13))
    maps = [empty, of_a, of_numbers_, of_booleans, by_numbers, of_maps]
    heads = [b"", struct_(), struct_() + b"behind", b"\x0b", b"\x01"]
    heads += [struct_(field(11, 1, one)) for one in ones] + [
        struct_(field(type_, 1, raw)) for type_, raw in numbers
    ]
    heads += [struct_(field(13, 3, one), field(13, 4, one)) for one in maps]
    heads += [
        struct_(field(13, 4, one), field(11, 1, ones[0]), field(12, 2, struct_(field(*two))))
        for one in maps
        for two in ((11, 1, ones[0]), (3, 1, b"\7"), (11, 20, ones[0]))
    ]
    heads += [
        struct_(field(11, 1, ones[0]), field(11, 1, ones[1]), field(11, 40, ones[0])),
        struct_(field(11, 1, ones[0]), field(3, 1, b"\7")),
        struct_(field(2, 1, false), field(2, 1, b"" if compact else b"\1")),
        struct_(field(13, 4, of_a), field(13, 4, empty), field(13, 3, of_maps)),
        struct_(
            field(11, 40, ones[0]),
            field(11, 2, ones[1]),
            field(11, 41, ones[1]),
            field(11, 39, b"" if compact else text_(b"")),
        ),
        struct_(field(12, 5, struct_(field(13, 6, of_a)))),
        struct_(field(12, 5, struct_())),
    ]
    return wire, ALL, [{"head": one, "body": b"b"} for one in heads]


COMPACT = {2: 2, 3: 3, 4: 7, 6: 4, 8: 5, 10: 6, 11: 8, 12: 12, 13: 11}  # types of the binary protocol


def of_blocks():
    """One and several, with pairs or without, a key in two of them; zeros behind that fill or do not."""
    info = blocks(this.head, align=4, front=2)
    wire = declared(
        HEAD + SECTIONS,
        service=split(info[1]["a"], "/", 2)[0],
        method=blocks(this.body)[200]["a"],
        version=info[1]["to"],
        headers=info[1],
        answer_headers=blocks(this.body)[200],
    )
    pairs_ = [b"\1a\3x/y", b"\1a\0", b"\2to\1t", b"\1z" + b"\x80\1" + b"z" * 128]
    some = [b"\1" + bytes([size]) + b"".join(pairs_[:size]) for size in range(5)]
    heads = [
        b"",
        b"\0\0",
        b"\0" * 9,
        *some,
        *(one + bytes(3) for one in some),
        *(one + bytes(9) for one in some),
    ]
    heads += [one + other for one in some[:3] for other in some[:3]]
    heads += [b"\2\0", some[1] + b"\0\1", b"\1\2\1a\0", b"\1\x81\0\1a\0", b"\1\x80\0"]
    bodies = [b"", b"\xc8\1\1\1a\1b", b"\xc8\1\0\0", b"\xc8\1\x7f" + b"\1k\0" * 127]
    frames = [{"head": head, "body": bodies[at % len(bodies)]} for at, head in enumerate(heads)]
    return wire, ALL - {"group"}, frames


def of_ber():
    """By place and by tag, several of a tag, lengths longer than they must be; values of all kinds."""
    head, body = ber(this.head), ber(this.body)
    wire = declared(
        HEAD + SECTIONS,
        service=split(head["04"], "/", 2)[0],
        method=first(head[0][1]["a0"], head[0]["02"]),
        version=head["02"],
        group=body["30"][1]["81"],
    )
    values = [b"\4\3x/y", b"\2\1\x85", b"\2\2\0\x80", b"\x0a\1\7", b"\1\1\xff", b"\5\0", b"\x84\0"]
    values += [
        b"\2\x09" + b"\1" * 9,
        b"\4\x82\0\1a",
        b"\4\x81\x80" + b"o" * 128,
        b"\x30\4\xa0\2\4\0",
        b"\x9f\x81\1\1t",
    ]
    lists = [b"", *values, *(one + other for one, other in itertools.permutations(values, 2))]
    heads = [*lists[::5], b"\2", b"\2\0", b"\4\x80\0\0", b"\0\0", b"\4\5a", b"\x1f\x80\1\0"]
    heads += [b"\x30" + bytes([len(one)]) + one for one in lists[1::9] if len(one) < 128]
    heads += [b"\x30\x82\0" + bytes([len(one)]) + one for one in lists[3::9] if len(one) < 128]
    inner = [
        b"\4\0\xa0\x03\x81\1g",
        b"\4\0\xa0\x80" + b"\x81\1g",
        b"\2\1\0\xa0\x04\x81\x81\1g",
        b"\1\1\0\x30\3\x81\1g",
    ]
    bodies = [b"\x30" + bytes([len(one)]) + one for one in inner] + [b"", b"\x30\3\x81\1g"]
    frames = [{"head": head, "body": bodies[at % len(bodies)]} for at, head in enumerate(heads)]
    return wire, {"service", "method", "version", "group"}, frames


def of_measured():
    """Sections that say themselves where they end, and one that is what another leaves."""
    wire = declared(
        [
            "first" / Ahead(Int8ub),
            "call" / Measured(msgpack_value),
            "size" / Rebuild(Int16ub, len_(this.head) + len_(this.body)),
            "head" / Measured(ber_value),
            "body" / Bytes(this.size - len_(this.head)),
        ],
        replies={"first": 0xC0, "call": b"\xc0", "head": b"\5\0", "body": ErrorText()},
        service=msgpack(this.call)["a"],
        method=ber(this.head)[0]["04"],
        version=this.body,
        group=this.call,
    )
    calls = [b"\x81\xa1a\xa1x", b"\x80", b"\xc0", b"\xa3abc", b"\xdf\0\0\0\0"]
    heads = [b"\5\0", b"\4\1a", b"\x30\3\4\1a", b"\x30\x81\3\4\1a"]
    return (
        wire,
        {"service", "method", "version", "group"},
        [
            {"first": call[0], "call": call, "head": head, "body": body}
            for call in calls
            for head in heads
            for body in (b"", b"b")
        ],
    )


def of_bits():
    """Some of a word, of which others decide what there is; an integer that decides."""
    wire = declared(
        [
            "flags" / BitStruct("high" / BitsInteger(3), "kind" / BitsInteger(4), "low" / BitsInteger(9)),
            *HEAD,
            "type" / Int8ub,
            "again" / Rebuild(Int8ub, len_(this.extra)),
            "extra" / If(this.flags.kind == 2, Prefixed(Int8ub, GreedyBytes)),
            "more"
            / Switch(this.type, {7: Struct("x" / Int8ub), 8: Struct("x" / Int8ub, "y" / Int8ub)}, Struct()),
            Check(this.type < 100),
            *SECTIONS,
        ],
        replies={
            "flags": {"high": 0, "kind": 0, "low": 0},
            "type": 0,
            "more": {},
            "head": b"",
            "body": ErrorText(),
        },
        service=table(this.flags.kind, {0: "a.B", 1: "", 2: "é:y:z/1", 3: "7", 4: "x" * 130}),
        method=decimal(this.flags.low),
        version=first(
            table(this.type, {7: "é:y:z/1", 9: "x" * 130, 10: "a.B", 11: "", 200: "7"}), decimal(this.type)
        ),
        group=decimal(this.flags.high),
    )
    return (
        wire,
        {"service", "method", "version", "group"},
        [
            {
                "flags": {"high": high, "kind": kind, "low": low},
                "type": type_,
                "extra": b"e",
                "more": {"x": 1, "y": 2},
                "head": b"h",
                "body": b"b",
            }
            for high, kind, low in ((0, 0, 0), (7, 1, 511), (5, 2, 7), (1, 15, 256))
            for type_ in (0, 7, 8, 9, 99)
        ],
    )


def of_shared():
    """One length for sections of which each frame has one."""
    wire = declared(
        [
            "type" / Int8ub,
            "size" / Rebuild(Int16ub, len_(this.call) + len_(this.head) + len_(this.body)),
            "call" / If(this.type == 1, Bytes(this.size)),
            "head" / If(this.type == 2, Bytes(this.size)),
            "body" / If((this.type != 1) & (this.type != 2), Bytes(this.size)),
        ],
        replies={"type": 0, "body": ErrorText()},
        service=split(this.call, "\0", 2)[0],
        method=table(this.type, {0: "7", 1: "a.B", 2: "", 3: "x" * 130}),
        version=this.head,
    )
    frames = [
        {"type": type_, "call": one, "head": one, "body": one}
        for type_ in range(5)
        for one in (b"", b"c", b"c\0d", b"c" * 300)
    ]
    return wire, {"service", "method", "version"}, frames


def of_varints():
    """Lengths of which the own bytes are counted in another, and in what is said once more."""
    own = size_(this.head_size) + len_(this.head) + size_(this.id_again)
    wire = declared(
        [
            "total" / Rebuild(Int16ub, own + len_(this.body)),
            "again" / Rebuild(Int16ub, size_(this.head_size) + 2 * this.id_again),
            "id_again" / UVar(5),
            "head_size" / Rebuild(UVar(3), len_(this.head)),
            "head" / Bytes(this.head_size),
            "body" / Bytes(this.total - size_(this.id_again) - size_(this.head_size) - this.head_size),
        ],
        replies={"id_again": 0, "head": b"", "body": ErrorText()},
        service=split(this.head, "/", 2)[0],
        method=split(this.head, "/", 2)[1],
        version=this.body,
    )
    frames = [
        {"id_again": number, "head": head, "body": body}
        for number in (0, 127, 128)
        for head in (b"", b"a/b", b"h" * 127, b"h" * 128, b"h" * 100 + b"/" + b"h" * 27)
        for body in (b"", b"b" * 200)
    ]
    return wire, {"service", "method", "version"}, frames


FORMATS = {
    "bits": of_bits,
    "shared": of_shared,
    "varints": of_varints,
    "thrift binary": lambda: of_thrift("binary"),
    "thrift compact": lambda: of_thrift("compact"),
    "blocks": of_blocks,
    "ber": of_ber,
    "measured": of_measured,
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


STRUCTURES = {"json", "msgpack", "tlv", "thrift binary", "thrift compact", "blocks", "ber"}
LONG = {"texts", "pairs", "protobuf", "layouts", "lines on turn", "lines of which the first counts"}
LONG |= {"json", "tlv", "thrift compact"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in FORMATS]
)
def test_the_engine_changes_frames_as_the_declaration_does(name):
    wire, kinds, frames = FORMATS[name]()
    frames = frames[:: max(1, len(frames) // (96 if name in STRUCTURES else 24))]
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


@pytest.mark.parametrize("protocol", ["binary", "compact"])
def test_a_field_of_thrift_is_no_key_and_a_key_no_field(protocol):
    """What was put there could not be read there; nor is a text a key beside integers."""
    head = thrift(this.head, protocol)
    wire = declared(
        HEAD + SECTIONS,
        service=head[1]["a"],
        method=head[2][5],
        version=head[3]["a"],
        headers=head[3],
    )
    fields = {
        "binary": b"\x0c\0\1\0\x0d\0\2\x0b\x0b\0\0\0\0\x0d\0\3\3\x0b\0\0\0\1\7\0\0\0\1v\0",
        "compact": b"\x1c\0\x1b\0\x1b\1\x38\7\1v\0",
    }
    frame = wire.build({"kind": 0, "id": 7, "head": fields[protocol], "body": b"b"})
    for what in (native.EDIT_SERVICE, native.EDIT_METHOD, native.EDIT_VERSION):
        refused(wire, frame, (what, "", "v"))
    refused(wire, frame, (native.EDIT_HEADER, "a", "v"))
    with pytest.raises(DeclarationError, match="there is no field 32768"):
        head[1][1 << 15]


NUMBERS = {
    "integer of msgpack": (msgpack(this.head)["a"], packed((b"\xa1a", b"\x07"))),
    "boolean of msgpack": (msgpack(this.head)["a"], packed((b"\xa1a", b"\xc2"))),
    "integer of ber": (ber(this.head)["02"], b"\2\1\7"),
    "boolean of ber": (ber(this.head)[0], b"\1\1\0"),
    "boolean of thrift": (thrift(this.head, "binary")[1], b"\2\0\1\0\0"),
    "boolean of compact thrift": (thrift(this.head, "compact")[1], b"\x11\0"),
    "boolean of compact thrift in a map": (thrift(this.head, "compact")[1]["a"], b"\x1b\1\x81\1a\1\0"),
    **{
        f"{bits} bits of thrift": (
            thrift(this.head, "binary")[1],
            bytes([type_, 0, 1, *[0] * (bits // 8), 0]),
        )
        for bits, type_ in ((8, 3), (16, 6), (32, 8), (64, 10))
    },
    **{
        f"{bits} bits of compact thrift": (thrift(this.head, "compact")[1], bytes([0x10 | type_, 0, 0]))
        for bits, type_ in ((8, 3), (16, 4), (32, 5), (64, 6))
    },
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_in_a_structure_has_its_room_and_is_as_short_as_it_can_be(name):
    view, head = NUMBERS[name]
    wire = declared(HEAD + SECTIONS, service=view)
    frame = wire.build({"kind": 0, "id": 7, "head": head, "body": b"b"})
    edges = [-(2**n) + more for n in (5, 7, 15, 31, 63) for more in (-1, 0, 1)]
    edges += [2**n + more for n in (7, 8, 15, 16, 31, 32, 63, 64) for more in (-1, 0)] + [0, 1, 2]
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
def test_a_length_that_nothing_goes_by_is_made_right(form, least, most):
    """A client may say there what it wants; the server hears what is true of the frame."""
    wire = declared(
        [*HEAD, "again" / Rebuild(form, len_(this.head)), *SECTIONS],
        service=this.head,
        method=this.body,
        replies={"head": b"", "body": ErrorText()},
    )
    front, _, rest = wire.build({"kind": 0, "id": 7, "head": b"abc", "body": b"b"}).partition(
        form.build(3) + b"abc"
    )
    for said in (least, least + 2, 3, most - 2, most, *([2**64 - 1] if form is Int64ub else [])):
        frame = front + form.build(said) + b"abc" + rest
        for what, name in (
            (native.EDIT_SERVICE, "abcdef"),
            (native.EDIT_SERVICE, "a"),
            (native.EDIT_METHOD, "m"),
        ):
            wanted = wire.edit(frame, [(what, "", name)])
            assert native.edit(wire.address, frame, [(what, "", name)]) == wanted
            assert wire.parse(wanted)[0].again == (3 if what == native.EDIT_METHOD else len(name))
    if form is Int16ub:
        refused(wire, frame, (native.EDIT_SERVICE, "", "x" * 65536))


def in_python(**meaning):
    layout = meaning.pop("layout", HEAD + SECTIONS)
    return declared(layout, **meaning)


@pytest.mark.parametrize(
    ("what", "can"),
    [
        (
            {"service": ber(this.head)[0], "method": json(this.body)["m"], "version": json(this.body)},
            {"service", "method"},
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
