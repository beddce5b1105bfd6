"""Wrong declarations of one who guesses: each is refused with what was seen, where, and what to do."""
# ruff: noqa: E501  # a declaration and its error on one line each

from __future__ import annotations

import pytest
from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    Check,
    Flag,
    GreedyBytes,
    If,
    Int8ub,
    Int16ub,
    Int32ub,
    Pass,
    Prefixed,
    Select,
    Struct,
    Switch,
    this,
)

from protokit import Protocol, Status, WireFormat
from protokit.errors import DeclarationError
from protokit.wire import (
    Chunks,
    Counted,
    ErrorText,
    FromPeer,
    FromRequest,
    Greeting,
    Measured,
    Repeat,
    Replies,
    Step,
    UntilEnd,
    adler32,
    asked,
    blocks,
    crc32,
    first,
    isin,
    json,
    kept,
    lines,
    pairs,
    side,
    split,
    starts,
    step,
    table,
    text,
    thrift,
    tlv,
)

BODY = ["kind" / Int8ub, "id" / Int32ub, "body" / Prefixed(Int16ub, GreedyBytes)]
ERROR = {"kind": 2, "body": ErrorText()}


def declared(*fields, values=None, **meaning):
    values = ERROR if values is None else values
    given = {"id": this.id, "response": this.kind == 2, "replies": Replies(error=lambda *_: values)} | meaning
    return WireFormat(Struct(*(fields or BODY)), **given)


def greeting(steps, **more):
    return declared(greeting=Greeting(**{"when": this.kind == 9, "steps": steps} | more))


def step_of(**values):
    return lambda variant: {"kind": 9, "body": b""} | values


WRONG = {
    "id string": (lambda: declared(id="id"), "id: 'id' is no field; write this.NAME"),
    "id of 1 bit": (
        lambda: declared(
            "b" / BitStruct("kind" / BitsInteger(7), "id" / Flag),
            "body" / Prefixed(Int16ub, GreedyBytes),
            id=this.b.id,
            response=this.b.kind == 2,
            values={"b": {"kind": 2}, "body": ErrorText()},
        ),
        "id: this.b.id is a bit field (1 bits), and an integer of fixed width is needed: declare it as one, s",
    ),
    "id in Repeat": (
        lambda: declared(
            "kind" / Int8ub,
            "r" / Repeat(Struct("id" / Int8ub), count=2),
            "body" / Prefixed(Int16ub, GreedyBytes),
            id=this.r.id,
            values=ERROR | {"r": b"ab"},
        ),
        "id: r.id is no integer of the format; there are kind, body.size",
    ),
    "reserved negative": (
        lambda: declared(reserved_ids=(-1,)),
        "reserved_ids: -1 was given; they are a list of integers from 0 on: (0,)",
    ),
    "reserved not ints": (
        lambda: declared(reserved_ids=("1",)),
        "reserved_ids: '1' was given; they are a list of integers from 0 on: (0,)",
    ),
    "reserved one int": (
        lambda: declared(reserved_ids=5),
        "reserved_ids: 5 was given; they are a list of integers from 0 on: (0,)",
    ),
    "mode enum": (lambda: declared(mode=3), "mode: 3 is none of multiplexed, ordered, pingpong, pinned"),
    "response string": (
        lambda: declared(response="kind == 2"),
        "response: 'kind == 2' is no expression: compute with this.NAME and integers; a view is compared with",
    ),
    "response tuple": (
        lambda: declared(response=(this.kind == 2, this.kind == 3)),
        "response: ((this.kind == 2), (this.kind == 3)) is no expression: compute with this.NAME and integers",
    ),
    "oneway list": (
        lambda: declared(oneway=[this.kind == 3]),
        "oneway: [(this.kind == 3)] is no expression: compute with this.NAME and integers; a view is compared",
    ),
    "status dict": (
        lambda: declared(status={0: Status.OK}),
        "status: {0: <Status.OK: 0>} is no table: write table(this.x, {0: Status.OK}, Status.INTERNAL)",
    ),
    "status this": (
        lambda: declared(status=this.kind),
        "status: this.kind is no table: write table(this.x, {0: Status.OK}, Status.INTERNAL)",
    ),
    "status mix": (
        lambda: declared(status=table(this.kind, {2: Status.OK}, "INTERNAL")),
        "table: {2: Status.OK} and 'INTERNAL' are statuses and names; all are statuses, with a default, for s",
    ),
    "status no default": (
        lambda: declared(status=table(this.kind, {2: Status.INTERNAL})),
        "table: {2: Status.INTERNAL} and None are statuses and names; all are statuses, with a default, for s",
    ),
    "app_error string": (
        lambda: declared(app_error="yes"),
        "app_error: 'yes' is no expression: compute with this.NAME and integers; a view is compared with a te",
    ),
    "timeout view": (
        lambda: declared(timeout=text(this.body)),
        "timeout: text(this.body) is no expression: compute with this.NAME and integers; a view is compared w",
    ),
    "timeout div": (
        lambda: declared(timeout=this.kind / 2),
        "timeout: the operation in (this['kind'] / 2) is not in the vocabulary; use + - * & | ^ << >> and com",
    ),
    "service expr": (
        lambda: declared(service=this.kind == 1),
        "service: (this.kind == 1) is no section of the frame; write this.NAME",
    ),
    "service list": (
        lambda: declared(service=[text(this.body)]),
        "service: [text(this.body)] is no section of the frame; write this.NAME",
    ),
    "headers one view": (
        lambda: declared(headers=pairs(this.body, Int8ub, Int8ub)["a"]),
        "headers: pairs(this.body, key=Int8ub, value=Int8ub)['a'] is no map: write pairs(...), lines(...), or",
    ),
    "headers split": (
        lambda: declared(headers=split(text(this.body), ";", 3)),
        "headers: split(text(this.body), ';', 3) is no map: write pairs(...), lines(...), or a map in a struc",
    ),
    "headers dict": (
        lambda: declared(headers={"a": text(this.body)}),
        "headers: {'a': text(this.body)} is no map: write pairs(...), lines(...), or a map in a structure: pr",
    ),
    "pairs key class": (
        lambda: declared(headers=pairs(this.body, Bytes, Int8ub)),
        "pairs: Bytes was given; key and value are the integers in front, such as Int32ub",
    ),
    "lines empty sep": (
        lambda: declared(headers=lines(this.body, "", "\n")),
        'lines: \'\' was given; separators are texts, as in lines(this.head, ": ", "\\r\\n")',
    ),
    "lines skip neg": (
        lambda: declared(headers=lines(this.body, "=", "\n", skip=-1)),
        "lines: skip=-1 was given; 0 to 7 lines in front are no pairs",
    ),
    "lines repeated typo": (
        lambda: declared(headers=lines(this.body, "=", "\n", repeated="frist")),
        "lines: repeated='frist' was given; of a key that stands twice 'first' or 'last' counts",
    ),
    "lines trim int": (
        lambda: declared(headers=lines(this.body, "=", "\n", trim=5)),
        "lines: trim=5 was given; it is ASCII characters around a value, such as ' \\t', and no separator",
    ),
    "split parts 0": (
        lambda: declared(service=split(text(this.body), ":", 0)[0]),
        "split: parts=0 was given; it cuts into 1 to 16 parts, as in split(this.to, '/', 2)",
    ),
    "split idx over": (
        lambda: declared(service=split(text(this.body), ":", 2)[2]),
        "split(text(this.body), ':', 2) has parts 0 to 1, not 2",
    ),
    "split slice": (
        lambda: declared(service=split(text(this.body), ":", 2)[0:1]),
        "split(text(this.body), ':', 2) has parts 0 to 1, not slice(0, 1, None)",
    ),
    "tlv neg key": (
        lambda: declared(service=tlv(this.body, Int8ub, Int8ub)[-1]),
        "tlv: -1 is no tag; they are numbers, here of 1 bytes",
    ),
    "tlv wide key": (
        lambda: declared(service=tlv(this.body, Int8ub, Int8ub)[300]),
        "tlv: 300 is no tag; they are numbers, here of 1 bytes",
    ),
    "tlv float key": (
        lambda: declared(service=tlv(this.body, Int8ub, Int8ub)[1.5]),
        "tlv(this.body, ...) is asked for a number or a name, not for 1.5",
    ),
    "json None key": (
        lambda: declared(service=json(this.body)[None]),
        "json(this.body) is asked for a number or a name, not for None",
    ),
    "thrift neg id": (
        lambda: declared(service=thrift(this.body, "binary")[-70000]),
        "thrift: -70000 is no id of a field; a struct has ids from -32768 to 32767",
    ),
    "blocks type 0": (
        lambda: declared(service=blocks(this.body)[0]["a"]),
        "blocks: 0 is no type of a block; they are 1 to 255",
    ),
    "isin empty": (
        lambda: declared(oneway=isin(text(this.body), set())),
        "isin: set() was given; it takes a set of texts: isin(this.verb, {'PUB', 'PING'})",
    ),
    "starts int": (
        lambda: declared(oneway=starts(text(this.body), 5)),
        "starts: a view is compared with texts, not with 5",
    ),
    "first empty": (
        lambda: declared(service=first()),
        "first: nothing was given; it takes views: first(this.a, this.b)",
    ),
    "keep view": (
        lambda: declared(keep=(text(this.body),)),
        "keep: text(this.body) is no field; write this.NAME",
    ),
    "keep one": (lambda: declared(keep=this.kind), "keep: this.kind was given; write keep=[this.NAME]"),
    "checksum str": (
        lambda: declared(checksum="crc32"),
        "checksum: 'crc32' was given; write crc32(this.crc, over=\"before\")",
    ),
    "checksum over str": (
        lambda: declared(*BODY, "crc" / Int32ub, checksum=crc32(this.crc, over="befor"), values=ERROR),
        "checksum: over='befor' was given; it is 'before' or a list of sections: [this.head, this.body]",
    ),
    "checksum twice": (
        lambda: declared(
            *BODY,
            "crc" / Int32ub,
            checksum=[crc32(this.crc, over="before"), adler32(this.crc, over="before")],
            values=ERROR,
        ),
        "checksum adler32(this.crc): this.crc holds another one; each has a field of its own",
    ),
    "variants dict": (
        lambda: declared(variants={"kind": 1}),
        "variants: {'kind': 1} was given; they are a list of field values: ({'version': 1}, {'version': 2})",
    ),
    "variants str value": (
        lambda: declared(variants=({"kind": "a"},)),
        "variants: kind: 'a' was given; it is the integer of that field",
    ),
    "separate str": (lambda: declared(separate="no"), "separate: 'no' was given; it is True or False"),
    "readable one": (
        lambda: declared(readable=this.body),
        "readable: this.body was given; write readable=(this.body, this.codec == 0), a section and a conditio",
    ),
    "replies fn": (
        lambda: declared(replies=lambda s, v: ERROR),
        "replies: a function was given; write Replies(error=lambda status, variant: {...})",
    ),
    "error not fn": (
        lambda: declared(replies=Replies(error=ERROR)),
        "replies.error: {'kind': 2, 'body': ErrorText(before=b'', after=b'', count=None, units=False)} was gi",
    ),
    "error one arg": (
        lambda: declared(replies=Replies(error=lambda status: ERROR)),
        "replies.error: its function, which is called with Status.NO_SERVICE, {}, raises TypeError: <lambda>.",
    ),
    "error list": (
        lambda: declared(replies=Replies(error=lambda *_: [ERROR])),
        "replies.error: [{'kind': 2, 'body': ErrorText(before=b'', after=b'', count=None, units=False)}] was ",
    ),
    "error list in int": (
        lambda: declared(values={"kind": [2], "body": ErrorText()}),
        "the error reply of NO_SERVICE cannot be built: kind: [2] was given; it takes an integer",
    ),
    "error float": (
        lambda: declared(values={"kind": 2.0, "body": ErrorText()}),
        "kind: 2.0 was given; it takes plain values; of its request a reply repeats FromRequest(this.NAME)",
    ),
    "Counted str": (
        lambda: declared(values={"kind": 2, "body": Counted("Int8ub", ErrorText())}),
        "Counted: what counts is an integer, such as Int16ub, not 'Int8ub'",
    ),
    "FromRequest max big": (
        lambda: declared(values={"kind": 2, "body": [FromRequest(this.body, max=1000), ErrorText()]}),
        "FromRequest: max=1000 was given; 1 to 255 bytes can be kept",
    ),
    "FromPeer in error": (
        lambda: declared(values={"kind": 2, "body": [FromPeer(this.body), ErrorText()]}),
        "the error reply of NO_SERVICE: FromPeer is for steps of a greeting, and this is none",
    ),
    "kept not keep": (
        lambda: declared(values={"kind": kept(this.kind), "body": ErrorText()}),
        "the error reply of NO_SERVICE: kind is not named in keep",
    ),
    "greeting no when": (
        lambda: greeting([("client", step_of())], when=None),
        "greeting.when: None is no expression: compute with this.NAME and integers; a view is compared with a",
    ),
    "greeting empty": (
        lambda: greeting([]),
        "greeting: [] was given; 1 to 16 steps of 'client' or 'server' are expected",
    ),
    "greeting step str": (
        lambda: greeting(["client"]),
        "greeting.steps: 'client' is none; write ('client', lambda variant: {...}), Turn(...), or optional(..",
    ),
    "greeting values dict": (
        lambda: greeting([("client", {"kind": 9, "body": b""})]),
        "greeting.steps[0]: {'kind': 9, 'body': b''} was given; write lambda variant: {...}, or of several fo",
    ),
    "greeting fromrequest": (
        lambda: greeting([("client", step_of(body=FromRequest(this.body)))]),
        "greeting.steps[0]: FromRequest is for replies, and this is none",
    ),
    "relayed and steps": (
        lambda: declared(
            mode="pinned", greeting=Greeting(when=this.kind == 9, relayed=True, steps=[("client", step_of())])
        ),
        "greeting: relayed=True passes on what client and server say, which needs mode='pinned' (here it is '",
    ),
    "greeting first typo": (
        lambda: declared(mode="pinned", greeting=Greeting(when=this.kind == 9, relayed=True, first="srv")),
        "greeting: first='srv'; it is 'server', with relayed=True, where servers speak first. Of a greeting w",
    ),
    "Repeat none": (
        lambda: declared(*BODY, "r" / Repeat(Int8ub), values=ERROR | {"r": b""}),
        "Repeat: say how many there are in one way: until=this.last == 1, or count=this.n, or adding=this.siz",
    ),
    "Repeat both": (
        lambda: declared(
            *BODY, "r" / Repeat(Struct("a" / Int8ub), count=2, until=this.a == 1), values=ERROR | {"r": b""}
        ),
        "Repeat: say how many there are in one way: until=this.last == 1, or count=this.n, or adding=this.siz",
    ),
    "Repeat empty part": (
        lambda: declared(*BODY, "r" / Repeat(Struct("a" / Bytes(0)), count=2), values=ERROR | {"r": b""}),
        "r: a part may have no bytes, and there would be no end of them",
    ),
    "Measured str": (
        lambda: declared(*BODY, "m" / Measured("msgpack"), values=ERROR | {"m": b"\xc0"}),
        "Measured: 'msgpack' measures nothing; write Measured(msgpack_value), or resp_value, ber_value, json_",
    ),
    "Chunks int": (
        lambda: declared(*BODY, "c" / Chunks(3), values=ERROR | {"c": []}),
        "c: Chunks takes the array of lengths, Chunks(this.lens), not 3",
    ),
    "UntilEnd not last": (
        lambda: declared(
            "kind" / Int8ub,
            "e" / UntilEnd(),
            "id" / Int32ub,
            "body" / Prefixed(Int16ub, GreedyBytes),
            values=ERROR | {"e": b""},
        ),
        "e: UntilEnd() takes all that comes, so nothing can stand behind it",
    ),
    "Select": (
        lambda: declared(*BODY, "f" / Select(Int8ub, Int16ub), values=ERROR),
        "f: Select is not in the vocabulary. Say what tells it: If(this.kind == 1, ...), or Switch(this.kind,",
    ),
    "Bytes str": (
        lambda: declared(*BODY, "f" / Bytes("4"), values=ERROR),
        "f: '4' is no expression: compute with this.NAME and integers; a view is compared with a text, or rea",
    ),
    "Bytes self": (
        lambda: declared(*BODY, "f" / Bytes(this.f), values=ERROR),
        "f: this.f is not a field in front of it; there are kind, id, body",
    ),
    "Bytes section": (
        lambda: declared(*BODY, "f" / Bytes(this.body), values=ERROR),
        "f: this.body is a section of bytes, and only integers are computed with: declare it as one, such as ",
    ),
    "Bits 72": (
        lambda: declared("b" / BitStruct("a" / BitsInteger(72)), *BODY, values=ERROR | {"b": {"a": 0}}),
        "b: bit fields fill 1 to 8 whole bytes, none wider than 31 bits",
    ),
    "Check lambda": (
        lambda: declared(*BODY, Check(lambda c: True)),
        "#3: a lambda or function cannot be compiled; write an expression with this, or use the native tier",
    ),
    "If str": (
        lambda: declared(*BODY, "f" / If("kind", Int8ub), values=ERROR),
        "f: 'kind' is no expression: compute with this.NAME and integers; a view is compared with a text, or ",
    ),
    "Switch empty": (
        lambda: declared(*BODY, "f" / Switch(this.kind, {}, default=Pass), values=ERROR),
        "f: a Switch without default lets unknown keys through; add default=Error",
    ),
    "list of fields": (
        lambda: WireFormat(BODY, id=this.id, response=this.kind == 2, replies=Replies(error=None)),
        "a format is a construct.Struct, not [<Renamed kind <FormatField>>, <Renamed id <FormatField>>, <Rena",
    ),
    "name #": (
        lambda: declared("#1" / Int8ub, *BODY, values=ERROR | {"#1": 0}),
        "the error reply of NO_SERVICE: '#1' is no field of the format; there are kind, id, body",
    ),
    "arguments empty": (
        lambda: declared(arguments=()),
        "arguments: () was given: write an array of msgpack(...) or json(...), or a list of 1 to 64 views, on",
    ),
    "asked in kind": (
        lambda: declared(response=asked(this.kind == 1) == 1),
        "response: what a frame is does not depend on a request; asked() goes into status, app_error, last, m",
    ),
    "asked bits": (
        lambda: declared(status=table(asked(this.kind, bits=99), {0: Status.OK}, Status.INTERNAL)),
        "asked: bits=99 was given; 1 to 24 can be kept",
    ),
    "side int": (
        lambda: declared(response=side == 1),
        'side is compared with "client" or "server", not with 1',
    ),
    "step count 0": (
        lambda: declared(service=step(Step("a", 5, lambda *a: []), this.body, count=0)[0]),
        "a: count=0 was given; a step finds 1 to 32 texts",
    ),
    "id twice the same": (
        lambda: declared(id=(this.id, this.id)),
        "id: this.id is named twice; each branch has its own",
    ),
    "reserved wide": (
        lambda: declared(reserved_ids=(1 << 40,)),
        "reserved_ids: 1099511627776 does not fit the id's 4 bytes",
    ),
    "response True": (
        lambda: declared(response=True),
        "response: 1 holds for every frame, and then none is a plain request; write a condition",
    ),
    "more always": (lambda: declared(more=1), "more: 1 holds for every frame"),
    "first default first": (
        lambda: declared(service=first("a", text(this.body))),
        "first('a', text(this.body)): a text is always there, and what follows it is never looked for",
    ),
    "checksum over empty": (
        lambda: declared(*BODY, "crc" / Int32ub, checksum=crc32(this.crc, over=[]), values=ERROR),
        "checksum: over=[] is a checksum of nothing; it is 'before' or a list of sections",
    ),
    "variants same": (
        lambda: declared(variants=({"kind": 2}, {"kind": 2})),
        "variants: {'kind': 2} stands there twice; a frame is of the first that fits",
    ),
    "variants id": (
        lambda: declared(variants=({"id": 1},)),
        "variants: id is the id; the engine writes another one there",
    ),
    "FromRequest in request str": (
        lambda: declared(values={"kind": 2, "body": [FromRequest("body"), ErrorText()]}),
        "FromRequest: 'body' is a text of its own; write this.body, or the text alone",
    ),
    "greeting errortext": (
        lambda: greeting([("client", step_of(body=ErrorText()))]),
        "greeting.steps[0]: ErrorText is for errors; a greeting says b'...'",
    ),
    "greeting not when": (
        lambda: greeting([("client", step_of(kind=1))]),
        "greeting.steps[0] is read as a request, not as a greeting: give values for which when= holds",
    ),
    "answer_id same": (
        lambda: declared(answer_id=this.id),
        "answer_id: this.id is the id, too; leave answer_id out where an answer has its request's id",
    ),
    "name with dot": (
        lambda: declared("a.b" / Int8ub, *BODY, values=ERROR | {"a.b": 0}),
        "a.b: a dot stands between names of fields, and in none",
    ),
    "name empty": (
        lambda: declared("" / Int8ub, *BODY, values=ERROR),
        "the error reply of NO_SERVICE cannot be built: a FormatField has no name, and so no value",
    ),
    "protocol name int": (
        lambda: Protocol(5, declared()),
        "Protocol: 5 is no name: a word, as the configuration writes it",
    ),
    "protocol name empty": (lambda: Protocol("", declared()), "Protocol: '' is no name"),
    "protocol name space": (lambda: Protocol("a b", declared()), "Protocol: 'a b' is no name"),
    "protocol wire class": (
        lambda: Protocol("x", WireFormat),
        "x: WireFormat is no codec: write WireFormat(Struct(...), ...)",
    ),
    "protocol read_body str": (
        lambda: Protocol("x", declared(), read_body="f"),
        "x: read_body='f' is no function",
    ),
    "protocol desc None": (
        lambda: Protocol("x", declared(), description=None),
        "x: description=None is no text: one line about it",
    ),
    "step addr str": (
        lambda: Step("a", "0x1", lambda *a: []),
        "Step 'a': '0x1' is no address of a function: int(ffi.cast(",
    ),
    "a step's reference is a name": (
        lambda: Step("a", 5, "f"),
        "Step 'a': reference='f' is no function of (section, arguments, count)",
    ),
    "step addr 0": (
        lambda: declared(service=step(Step("a", 0, lambda *a: []), this.body)[0]),
        "Step 'a': 0 is no address of a function",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_told_in_words(wrong):
    make, said = WRONG[wrong]
    with pytest.raises(DeclarationError) as raised:
        made = make()
        if isinstance(made, WireFormat):
            made.check_replies()
    assert str(raised.value).startswith(said)
    assert "object at 0x" not in str(raised.value)
