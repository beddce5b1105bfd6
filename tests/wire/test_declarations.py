"""What a declared format says: one of every kind of part, what is refused with the reason, replies, steps."""

from __future__ import annotations

import re
import zlib

import pytest
from construct import (
    Array,
    BitsInteger,
    BitStruct,
    Bytes,
    Check,
    Const,
    Enum,
    Error,
    Flag,
    GreedyBytes,
    GreedyRange,
    If,
    IfThenElse,
    Int8sb,
    Int8ub,
    Int16sb,
    Int16ub,
    Int16ul,
    Int24ub,
    Int32ub,
    Int32ul,
    Int64ub,
    NullTerminated,
    Padding,
    Prefixed,
    Rebuild,
    Struct,
    Switch,
    VarInt,
    len_,
    this,
)
from fewer import many
from grown import HELLO, LIMIT, QUICK
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from steps import step_agrees

from protokit import Status, native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.testing import frames, spoiled
from protokit.wire import (
    Chunks,
    ErrorText,
    Greeting,
    Replies,
    Until,
    UVar,
    WireFormat,
    crc32,
    first,
    hessian2_strings,
    hessian_fields,
    kept,
    lines,
    number,
    pairs,
    split,
    table,
    text,
)
from protokit.wire.format import KINDS

NASTY = Struct(
    "magic" / Const(b"Q!"),
    "flags" / BitStruct("answer" / Flag, "oneway" / Flag, "beat" / Flag, "rest" / BitsInteger(5)),
    "id" / Int24ub,
    "head" / Until(b"\r\n\r\n", max=8192),
    "crc" / Int32ub,
    "size" / Rebuild(UVar(5), len_(this.payload)),
    "payload" / Bytes(this.size),
)
HEAD = lines(this.head, ": ", "\r\n")


def nasty(**more):
    def values(variant, **flags):
        flags = {"answer": 0, "oneway": 0, "beat": 0, "rest": 0} | flags
        return {"flags": flags, "head": b"", "payload": b""}

    return WireFormat(
        NASTY,
        id=this.id,
        response=this.flags.answer == 1,
        oneway=this.flags.oneway == 1,
        heartbeat=this.flags.beat == 1,
        service=split(first(HEAD["to"], hessian2_strings(this.payload, 2)[0]), "/", 2)[0],
        method=split(HEAD["to"], "/", 2)[1],
        group=HEAD["group"],
        headers=HEAD,
        timeout=number(HEAD["ms"]),
        app_error=HEAD["failed"] == "yes",
        checksum=crc32(this.crc, over=[this.head, this.payload]),
        replies=Replies(
            error=lambda status, variant: {
                **values(variant, answer=1),
                "head": f"status: {status}".encode(),
                "payload": ErrorText(before=b'{"why": "', after=b'"}'),
            },
            heartbeat=lambda variant: values(variant, beat=1),
            ack=lambda variant: values(variant, beat=1, answer=1),
            encoding="json",
        ),
        **more,
    )


@pytest.fixture(scope="module")
def wire():
    return nasty()


def test_a_home_made_format_says_what_it_should(wire):
    values = {"flags": {"answer": 0, "oneway": 0, "beat": 0, "rest": 3}, "id": 7}
    frame = wire.build({**values, "head": b"to: a.B/go\r\nms: 250\r\nwho: Ada", "payload": b"x" * 200})
    message = native.frame(wire.address, frame)
    assert (message.result, message.size, KINDS[message.kind], message.id) == (0, len(frame), "request", 7)
    request = native.request(wire.address, frame)
    assert (request.service, request.method, request.timeout_ms) == ("a.B", "go", 250)
    assert dict(request.headers) == {"to": "a.B/go", "ms": "250", "who": "Ada"}
    spoiled_frame = frame[:-1] + b"y"
    assert native.frame(wire.address, spoiled_frame).result == -2
    with pytest.raises(RemoteProtocolError, match="the checksum is"):
        wire.parse(spoiled_frame)


def test_edits_go_through_splits_maps_lengths_and_checksums(wire):
    values = {"flags": {"answer": 0, "oneway": 0, "beat": 0, "rest": 3}, "id": 7}
    frame = wire.build({**values, "head": b"to: a.B/go\r\nwho: Ada", "payload": b"x" * 200})
    edits = [
        (native.EDIT_SERVICE, "", "other.C"),
        (native.EDIT_GROUP, "", "blue"),
        (native.EDIT_HEADER, "who", None),
    ]
    changed = wire.edit(frame, edits)
    request = native.request(wire.address, changed)
    assert (request.service, request.method, request.group) == ("other.C", "go", "blue")
    assert "who" not in request.headers
    assert wire.parse(changed)[0].payload == b"x" * 200
    with pytest.raises(LocalProtocolError, match="declares no version"):
        wire.edit(frame, [(native.EDIT_VERSION, "", "1")])
    with pytest.raises(LocalProtocolError, match="separator"):
        wire.edit(frame, [(native.EDIT_HEADER, "a", "b\r\nc: d")])


def test_an_error_text_is_escaped_and_counted(wire):
    reply = native.error(wire.address, Status.TIMEOUT, 3, 0, b'say "no"\n' + b"n" * 300)
    message = wire.message(reply)
    assert message.kind == "response"
    assert message.fields.head == b"status: 4"
    assert message.fields.payload == b'{"why": "say \\"no\\"\\n' + b"n" * 300 + b'"}'


@QUICK
@given(st.data())
def test_the_home_made_format_agrees_with_construct(wire, data):
    whole = data.draw(frames(wire) | spoiled(frames(wire)))
    if not whole:
        reject()
    got, wanted = native.frame(wire.address, whole, LIMIT), None
    try:
        container, size = wire.parse(whole)
        wanted = wire.describe(container, size)
    except EOFError:
        assert got.result != 0
        return
    except RemoteProtocolError:
        if got.result == 0 and KINDS[got.kind] in {"request", "oneway"}:
            with pytest.raises(RemoteProtocolError):
                native.request(wire.address, whole[: got.size])
        return
    assert (got.result, KINDS[got.kind], got.size, got.status) == (0, wanted.kind, wanted.size, wanted.status)


def declared(*fields, **meaning):
    replies = Replies(error=lambda status, variant: {"id": 0, "text": ErrorText()})
    return WireFormat(
        Struct("id" / Int32ub, *fields, "text" / Prefixed(Int16ub, GreedyBytes)), replies=replies, **meaning
    )


WRONG = {
    "and": (lambda: [Check((this.id == 1) and (this.id == 2))], "write & for 'and'"),
    "chain": (lambda: [Check(1 <= this.id <= 3)], "write & for 'and'"),
    "in": (lambda: [Check(this.id in (1, 2))], "write & for 'and'"),
    "lambda": (lambda: ["x" / Bytes(lambda context: 3)], "x: a lambda or function cannot be compiled"),
    "lambda in If": (lambda: ["x" / If(lambda context: 1, Int8ub)], "x: a lambda"),
    "division": (lambda: ["x" / Bytes(this.id // 2)], "x: the operation in"),
    "twice": (lambda: ["id" / Int8ub], "id: the name is used twice"),
    "dangling": (lambda: ["x" / Bytes(this.n)], "x: this.n is not a field in front of it"),
    "forward": (lambda: ["x" / Bytes(this.y), "y" / Int8ub], "x: this.y is not a field in front of it"),
    "no default": (lambda: ["x" / Switch(this.id, {1: Int8ub})], "x: a Switch without default"),
    "padding": (lambda: [Padding(3)], "Name the field"),
    "range": (lambda: ["x" / GreedyRange(Int8ub)], "use a view such as pairs"),
    "varint": (lambda: ["x" / VarInt], "UVar"),
    "null": (lambda: ["x" / NullTerminated(GreedyBytes)], "Until"),
    "greedy": (lambda: ["x" / GreedyBytes], "must say its length"),
    "element": (
        lambda: ["l" / Array(2, Int8ub), "x" / Bytes(this.l[0])],
        "an array's element cannot be named",
    ),
    "mapped": (lambda: ["k" / Enum(Int8ub, a=1), "x" / Bytes(this.k)], "this.k is mapped to names"),
    "unnamed bits": (lambda: ["b" / BitStruct("a" / BitsInteger(7), Flag)], "name every bit field"),
    "odd bits": (lambda: ["b" / BitStruct("a" / BitsInteger(7))], "1 to 8 whole bytes"),
    "up and out": (lambda: ["x" / Bytes(this._._.n)], "leads out of the format"),
    "product": (
        lambda: ["a" / Int32ub, "x" / Bytes(this.a * this.id)],
        "multiplies two fields; multiply a field by a constant",
    ),
    "section": (lambda: ["a" / Bytes(2), "x" / Bytes(this.a)], "x: this.a is a section of bytes, and only"),
    "section tested": (lambda: ["a" / Bytes(2), Check(this.a == 2)], "this.a is a section of bytes"),
    "section decides": (lambda: ["a" / Bytes(2), "x" / If(this.a, Int8ub)], "x: this.a is a section"),
    "section chooses": (lambda: ["a" / Bytes(2), "x" / Switch(this.a, {1: Int8ub}, Error)], "x: this.a is"),
    "section counts": (lambda: ["a" / Bytes(2), "x" / Array(this.a, Int8ub)], "x: this.a is a section"),
    "array": (lambda: ["a" / Array(2, Int8ub), "x" / Bytes(this.a)], "x: this.a is an Array of integers"),
    "chunks": (
        lambda: ["a" / Int8ub, "x" / Chunks(this.a)],
        "x: this.a is an integer (1 bytes), and lengths",
    ),
    "wide": (lambda: ["a" / Int64ub, "x" / Bytes(this.a + 1)], "a: fields over 4 bytes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_fields_are_refused_with_the_field_and_the_reason(name):
    fields, reason = WRONG[name]
    with pytest.raises(DeclarationError, match=re.escape(reason)):
        declared(*fields(), id=this.id)


@pytest.mark.parametrize(
    ("meaning", "reason"),
    [
        ({}, "mode=.multiplexed. needs an id: write id=this.NAME"),
        ({"id": 5}, "id: 5 is no field"),
        ({"id": this.id, "mode": "odd"}, "mode: 'odd' is none of"),
        ({"id": this.id, "response": this.nothing == 1}, "nothing is no integer field"),
        ({"id": this.id, "service": this.nothing}, "service: nothing is no section of the format"),
        (
            {"id": this.id, "service": this.small},
            "service: this.small is an integer .1 bytes., and texts are",
        ),
        (
            {"id": this.id, "method": text(this.small)},
            "method: this.small is an integer .* declare it as Bytes",
        ),
        ({"id": this.id, "version": split(this.small, "x", 2)[1]}, "version: this.small is an integer"),
        (
            {"id": this.id, "group": first(this.text, this.bit.a)},
            "group: this.bit.a is a bit field .3 bits.",
        ),
        (
            {"id": this.id, "service": pairs(this.small, Int8ub, Int8ub)["x"]},
            "service: this.small is an integer",
        ),
        (
            {"id": this.id, "headers": lines(this.lens, ":", ",")},
            "headers: this.lens is an Array of integers",
        ),
        ({"id": this.id, "timeout": number(this.uvar)}, "timeout: this.uvar is an integer .UVar., and texts"),
        (
            {"id": this.id, "timeout": this.text},
            "timeout: this.text is a section of bytes, and only integers",
        ),
        ({"id": this.id, "response": this.text == 1}, "response: this.text is a section of bytes, and only"),
        ({"id": this.id, "oneway": this.lens == 1}, "oneway: this.lens is an Array of integers, and only"),
        (
            {"id": this.id, "app_error": lines(this.small, ":", ",")["x"] == "y"},
            "app_error: this.small is an",
        ),
        ({"id": this.id, "app_error": this.text == 1}, "app_error: this.text is a section"),
        (
            {"id": this.id, "status": table(this.text, {0: Status.OK}, Status.INTERNAL)},
            "status: this.text is a",
        ),
        ({"id": this.id, "service": hessian2_strings(this.small, 1)[0]}, "service: this.small is an integer"),
        (
            {"id": this.id, "checksum": crc32(this.wide, over=[this.small])},
            r"checksum .*: this.small is an integer",
        ),
        ({"id": this.id, "variants": ({"text": 1},)}, "variants: this.text is a section"),
        ({"id": this.id, "service": this.either}, "service: this.either is an integer .1 bytes."),
        ({"id": this.id, "response": this.either == 1}, "response: this.either is a section of bytes"),
        (
            {"id": this.bit.a},
            "id: this.bit.a is a bit field .3 bits., and an integer of fixed width is needed",
        ),
        (
            {"id": this.id, "checksum": crc32(this.uvar, over="before")},
            r"checksum .*: this.uvar is an integer .UVar., and an integer of fixed width is needed",
        ),
        ({"id": this.id, "response": lambda frame: 1}, "response: a lambda"),
        (
            {"id": this.id, "checksum": crc32(this.small, over="before")},
            "this.small has 1 bytes, and a crc32 is an integer of 4",
        ),
        ({"id": this.id, "variants": ()}, "variants: 0 were given; there are 1 to 255"),
        ({"id": this.id, "reserved_ids": range(5)}, "reserved_ids: 5 were given; there are 4 at most"),
        ({"id": this.id, "greeting": Greeting(this.small == 1, [])}, "1 to 16 steps of 'client' or 'server'"),
        ({"id": this.id, "greeting": Greeting(this.small == 1, [HELLO] * 17)}, "1 to 16 steps"),
        ({"id": this.id, "greeting": Greeting(this.small == 1, [("peer", dict)])}, r"\['peer'\] was given"),
        ({"id": this.id, "greeting": Greeting(this.no == 1, [HELLO])}, "no is no integer field"),
        (
            {"id": this.id, "greeting": Greeting(this.small == 1, [HELLO], refused=this.no == 1)},
            "no is no integer field",
        ),
    ],
)
def test_wrong_meaning_is_refused(meaning, reason):
    with pytest.raises(DeclarationError, match=reason):
        declared(
            "small" / Int8ub,
            "wide" / Int32ub,
            "bit" / BitStruct("a" / BitsInteger(3), "b" / BitsInteger(5)),
            "uvar" / UVar(2),
            "lens" / Array(2, Int8ub),
            "either" / IfThenElse(this.small == 1, Int8ub, Bytes(2)),
            **meaning,
        )


def test_greetings_are_built_for_each_variant_and_read_as_what_they_are():
    wire = WireFormat(
        Struct("version" / Int8ub, "kind" / Int8ub, "no" / If(this.version == 2, Int8ub), "id" / Int16ub),
        id=this.id,
        response=this.kind == 1,
        variants=({"version": 1}, {"version": 2}),
        separate=True,
        greeting=Greeting(
            when=this.kind == 9,
            steps=[
                ("server", lambda variant: {"kind": 9, "no": 0}),
                ("client", lambda variant: {"kind": 9, "no": 0}),
            ],
            refused=this.no != 0,
        ),
        replies=Replies(error=lambda status, variant: {"kind": 1, "no": 0}),
    )
    assert native.greeting(wire.address) == ("server", "client")
    built = [native.greeting_step(wire.address, 1, variant) for variant in (0, 1)]
    assert built == [b"\1\x09\0\0", b"\2\x09\0\0\0"]
    for frame, status in (
        (built[0], Status.OK),
        (built[1], Status.OK),
        (b"\2\x09\1\0\0", Status.UNAVAILABLE),
    ):
        message, seen = wire.message(frame), native.frame(wire.address, frame)
        assert (message.kind, message.status) == ("greeting", status)
        assert (KINDS[seen.kind], seen.status, seen.size) == ("greeting", status, len(frame))


def test_a_reply_that_cannot_be_built_is_refused_when_the_format_is_made():
    with pytest.raises(DeclarationError, match="error reply of NO_SERVICE cannot be built"):
        WireFormat(
            Struct("id" / Int32ub, "x" / Int8ub),
            id=this.id,
            replies=Replies(error=lambda status, variant: {"x": 1000}),
        )
    with pytest.raises(DeclarationError, match=r"greeting.steps\[0\] cannot be built"):
        WireFormat(
            Struct("id" / Int32ub, "x" / Int8ub),
            id=this.id,
            greeting=Greeting(this.x == 1, [("client", lambda variant: {"x": 1000})]),
            replies=Replies(error=lambda status, variant: {"x": 0}),
        )


@pytest.mark.parametrize(("field", "order"), [(Int32ub, "big"), (Int32ul, "little")])
def test_a_checksum_is_of_its_byte_order_and_no_other(field, order):
    wire = WireFormat(
        Struct("kind" / Int8ub, "id" / Int32ub, "text" / Prefixed(Int16ub, GreedyBytes), "crc" / field),
        id=this.id,
        response=this.kind == 2,
        checksum=crc32(this.crc, over="before"),
        replies=Replies(error=lambda status, variant: {"kind": 2, "text": ErrorText()}),
    )
    frame = wire.build({"kind": 1, "id": 7, "text": b"hello"})
    assert int.from_bytes(frame[-4:], order) == zlib.crc32(frame[:-4])
    assert native.frame(wire.address, frame).result == 0
    assert native.frame(wire.address, frame[:-4] + frame[:-5:-1]).result == -2


def test_fields_of_the_request_are_kept_for_its_error():
    wire = WireFormat(
        Struct("kind" / Int8ub, "codec" / Int16ub, "id" / Int8ub, "text" / Prefixed(Int16ub, GreedyBytes)),
        id=this.id,
        response=this.kind == 2,
        keep=(this.codec,),
        replies=Replies(
            error=lambda status, variant: {"kind": 2, "codec": kept(this.codec), "text": ErrorText()}
        ),
    )
    frame = wire.build({"kind": 1, "id": 5, "codec": 0xABC, "text": b""})
    asked = native.frame(wire.address, frame)
    answer = wire.message(native.error(wire.address, Status.DENIED, 5, asked.context, b"no"))
    assert (answer.fields.codec, answer.fields.text) == (0xABC, b"no")


@pytest.mark.parametrize(
    ("delimiter", "text", "there"),
    [
        (b"\r\n", b"why\r\nnot\n", b"why  not "),
        (b"\n\n", b"ends so\n", b"ends so "),
        (b" ", b"why not", b"why_not"),
    ],
)
def test_an_error_text_never_ends_its_section_early(delimiter, text, there):
    wire = WireFormat(
        Struct("kind" / Int8ub, "id" / Int8ub, "text" / Until(delimiter, max=600)),
        id=this.id,
        response=this.kind == 2,
        replies=Replies(error=lambda status, variant: {"kind": 2, "text": ErrorText()}),
    )
    reply = native.error(wire.address, Status.TIMEOUT, 9, 0, text)
    message = wire.message(reply)
    assert (message.size, message.id, message.fields.text) == (len(reply), 9, there)


def test_a_text_that_makes_a_delimiter_with_the_real_one_is_not_written():
    wire = WireFormat(
        Struct("kind" / Int8ub, "id" / Int8ub, "text" / Until(b"\0\0", max=9), "more" / Int8ub),
        id=this.id,
        response=this.kind == 2,
        replies=Replies(error=lambda status, variant: {"kind": 2, "text": ErrorText(), "more": 0}),
    )
    values = {"kind": 1, "id": 1, "more": 0}
    assert wire.parse(wire.build({**values, "text": b"\0."}))[0].text == b"\0."
    with pytest.raises(LocalProtocolError, match="makes one with it"):
        wire.build({**values, "text": b".\0"})


def test_a_frame_with_none_of_several_ids_has_0():
    wire = WireFormat(
        Struct(
            "kind" / Int8ub,
            "body"
            / Switch(
                this.kind,
                {1: Struct("id" / Int16ub), 2: Struct("answer_id" / Int16ub), 3: Struct("beat" / Int16ub)},
                default=Struct("none" / Int16ub),
            ),
        ),
        id=(this.body.id, this.body.answer_id),
        response=this.kind == 2,
        heartbeat=this.kind == 3,
        replies=Replies(error=lambda status, variant: {"kind": 2, "body": {}}),
    )
    for kind, expected in ((1, 7), (2, 7), (3, 0), (1, 7), (4, 0)):
        data = bytes([kind, 0, 7])
        assert native.frame(wire.address, data).id == wire.message(data).id == expected


BIT_KEPT = r"keep: flags.b is a bit field.* declare its BitStruct as one integer of 8 bits"
BITS = "flags" / BitStruct("a" / BitsInteger(3), "b" / BitsInteger(5))


def keeping(fields, keep, reply):
    return WireFormat(
        Struct("kind" / Int8ub, *fields, "id" / Int8ub, "text" / Prefixed(Int16ub, GreedyBytes)),
        id=this.id,
        response=this.kind == 2,
        keep=keep,
        replies=Replies(error=lambda status, variant: {"kind": 2, **reply, "text": ErrorText()}),
    )


def test_kept_fields_of_any_sign_and_byte_order_come_back():
    fields = ["a" / Int8sb, "b" / Int16ul]
    wire = keeping(fields, (this.a, this.b), {"a": kept(this.a), "b": kept(this.b)})
    for a, b in ((-2, 0x102), (3, 0xFFFE), (-128, 0)):
        asked = native.frame(wire.address, wire.build({"kind": 1, "id": 5, "a": a, "b": b, "text": b""}))
        answer = wire.message(native.error(wire.address, Status.DENIED, 5, asked.context, b"no"))
        assert (answer.fields.a, answer.fields.b, answer.fields.text) == (a, b, b"no")


@pytest.mark.parametrize(
    ("fields", "keep", "reply", "reason"),
    [
        ([BITS, "c" / Int8ub], this.flags.b, {"flags": {"a": 0, "b": 0}, "c": kept(this.flags.b)}, BIT_KEPT),
        ([BITS], this.flags.b, {"flags": {"a": 0, "b": kept(this.flags.b)}}, BIT_KEPT),
        (
            [BITS, "c" / Int8ub],
            this.c,
            {"flags": {"a": 0, "b": kept(this.c)}, "c": 0},
            "error reply of NO_SERVICE: flags.b is a bit field, and only whole integers are kept",
        ),
        (["c" / Bytes(2)], this.c, {"c": kept(this.c)}, "keep: c is no integer of the format"),
        (["c" / UVar(2)], this.c, {"c": kept(this.c)}, "keep: c is no integer of the format"),
        (["c" / Int8ub], this.d, {"c": 0}, "keep: d is no integer of the format"),
        (
            ["c" / Int16ub, "d" / Int8ub],
            this.c,
            {"c": 0, "d": kept(this.c)},
            "NO_SERVICE: d takes 1 bytes, c that is kept for it 2",
        ),
        (["c" / Int16ub, "d" / Int8ub], this.c, {"c": 0, "d": kept(this.d)}, "d is not named in keep"),
        (["c" / Int8ub], this.c, {"c": 0, "d": kept(this.c)}, "NO_SERVICE: 'd' is no field of the format"),
        (
            ["c" / Int8ub, "d" / If(this.c == 9, Int8ub)],
            this.c,
            {"c": 0, "d": kept(this.c)},
            "NO_SERVICE: d is no field of that frame",
        ),
    ],
)
def test_what_cannot_be_kept_is_refused(fields, keep, reply, reason):
    with pytest.raises(DeclarationError, match=reason):
        keeping(fields, (keep,), reply)


HESSIAN2 = b"\x05hello\x30\x21" + b"y" * 33 + b"N"
STEPS = {
    "hessian2_strings": (
        hessian2_strings(this.text, 4).step,
        (),
        [HESSIAN2, HESSIAN2 + b"\x91", b"R\0\1aS\0\1b\1c"],
    ),
    "hessian_fields": (
        hessian_fields(this.text, "b", "a").step,
        (b"b", b"a"),
        [
            b"O\x93x.Y\x92\x01a\x01bo\x90\x02hi\x03you",
            b"C\x03x.Y\x92\x01a\x01b\x60\x02hi\x03you",
            b"O\x93x.Y\x93\x01c\x01a\x01bo\x90Mt\0\1m\1k\x91zN\x03you",
            b"C\x03x.Y\x93\x01c\x01a\x01b\x60H\1k\x7a\x91\x92Z\x02hi\x03you",
            b"O\x93x.Y\x92\x01c\x01bo\x90O\x91z\x91\1qo\x91Vt\0\1vn\2\x91\x92z\x03you",
        ],
    ),
}


@pytest.mark.parametrize("name", STEPS)
@settings(QUICK, max_examples=many(600))
@given(st.data())
def test_steps_agree_with_their_reference(name, data):
    step, arguments, samples = STEPS[name]
    section = data.draw(st.sampled_from(samples) | spoiled(st.sampled_from(samples)) | st.binary(max_size=40))
    step_agrees(step, section, arguments)


def test_steps_find_what_is_there():
    step, arguments, samples = STEPS["hessian_fields"]
    for sample, expected in zip(
        samples, [[b"you", b"hi"], [b"you", b"hi"], [b"you", None], [b"you", None]], strict=False
    ):
        assert native.run_step(step.address, sample, arguments, 2)[0] == expected[0]
    step, _, samples = STEPS["hessian2_strings"]
    assert native.run_step(step.address, samples[0], (), 3) == [b"hello", b"y" * 33, None]


MAP = pairs(this.map, key=Int16ub, value=Int16sb)


def test_status_tables_and_answers_with_a_broken_map_go_on():
    wire = WireFormat(
        Struct("kind" / Int8ub, "id" / Int8ub, "code" / Int8ub, "map" / Prefixed(Int16ub, GreedyBytes)),
        id=this.id,
        response=this.kind == 2,
        status=table(this.code, {20: Status.OK, 31: Status.TIMEOUT}, Status.INTERNAL),
        app_error=MAP["failed"] == "yes",
        replies=Replies(error=lambda status, variant: {"kind": 2, "code": 9, "map": ErrorText()}),
    )

    def status(code, content):
        return native.frame(
            wire.address, wire.build({"kind": 2, "id": 1, "code": code, "map": content})
        ).status

    assert status(20, b"") == Status.OK
    assert status(20, MAP.encoding.build([(b"failed", b"yes")])) == Status.APP_ERROR
    assert status(31, MAP.encoding.build([(b"failed", b"yes")])) == Status.TIMEOUT
    assert status(7, b"") == Status.INTERNAL
    assert status(20, b"\0\1") == Status.OK
