"""Every word of the declaration language, given what it does not take, refuses it in its own terms."""

from __future__ import annotations

import functools
import re

import pytest
from construct import (
    Array,
    BitsInteger,
    BitStruct,
    Bytes,
    BytesInteger,
    Error,
    Flag,
    GreedyBytes,
    If,
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

from protokit import Status, wire
from protokit.errors import DeclarationError
from protokit.wire import (
    Ahead,
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
    Turn,
    Until,
    UVar,
    WireFormat,
    asked,
    ber,
    blocks,
    byte_id,
    crc16,
    crc32,
    decimal,
    first,
    isin,
    json,
    kept,
    lengths,
    lines,
    msgpack,
    number,
    optional,
    pairs,
    protobuf,
    side,
    size_,
    split,
    starts,
    step,
    sum8,
    table,
    text,
    thrift,
    tlv,
)

FIELDS = [
    "kind" / Int8ub,
    "id" / Int32ub,
    "head" / Until(b"\n", max=99),
    "body" / Prefixed(Int16ub, GreedyBytes),
]


def reply(*_):
    return {"kind": 2, "head": b"", "body": b""}


def declared(*more, fields=FIELDS, declaration=None, **meaning):
    given = {"id": this.id, "response": this.kind == 2, "replies": Replies(error=reply)} | meaning
    return WireFormat(Struct(*fields, *more) if declaration is None else declaration, **given)


def laid(*more, **given):
    return declared(*more, replies=Replies(error=None), **given)


def viewed(make):
    """A view is declared as a service."""
    return lambda **given: declared(service=make(**given))


def said(make):
    return lambda **given: declared(replies=Replies(error=lambda *_: {**reply(), "body": make(**given)}))


def greeted(make):
    return lambda **given: declared(greeting=Greeting(when=this.kind == 3, steps=[make(**given)]))


CRC = [*FIELDS, "crc" / Int32ub]
BODY = ["kind" / Int8ub, "head" / Until(b"\n", max=99), "body" / Prefixed(Int16ub, GreedyBytes)]
NOTHING = Step("nothing", 1, lambda *_: [None])
SAYS = ("client", reply)

# Of each word: how a format is made with it, and what it takes when it is right.
WORDS = {
    "WireFormat": (
        declared,
        {
            "declaration": Struct(*FIELDS),
            "replies": Replies(error=reply),
            "id": this.id,
            "answer_id": this.id,
            "response": this.kind == 2,
            "oneway": this.kind == 3,
            "heartbeat": this.kind == 4,
            "drain": this.kind == 5,
            "last": this.kind == 6,
            "more": this.kind == 7,
            "status": table(this.kind, {0: Status.OK}, Status.INTERNAL),
            "app_error": this.kind == 8,
            "timeout": this.kind,
            "service": this.body,
            "method": this.body,
            "version": this.body,
            "group": this.body,
            "headers": lines(this.body, ":", "\n"),
            "answer_headers": lines(this.body, ":", "\n"),
            "arguments": [this.body],
            "readable": (this.body, this.kind == 1),
            "variants": ({},),
            "separate": False,
            "keep": (this.kind,),
            "reserved_ids": (0,),
            "greeting": Greeting(when=this.kind == 3, steps=[SAYS]),
            "mode": "multiplexed",
        },
    ),
    "checksum": (
        lambda checksum: declared(fields=CRC, checksum=checksum),
        {"checksum": crc32(this.crc, over="before")},
    ),
    "crc32": (
        lambda **given: declared(fields=CRC, checksum=crc32(**given)),
        {"at": this.crc, "over": [this.body]},
    ),
    "crc16": (
        lambda **given: declared("crc" / Int16ub, checksum=crc16(**given)),
        {"at": this.crc, "over": "before", "variant": "modbus"},
    ),
    "sum8": (
        lambda **given: declared("sum" / Bytes(3), checksum=sum8(**given)),
        {"at": this.sum, "over": "before", "digits": 3, "skip": 1},
    ),
    "Until": (lambda **given: laid("x" / Until(**given)), {"delimiter": b"\n", "max": 9}),
    "UVar": (lambda **given: laid("x" / UVar(**given)), {"bytes": 3}),
    "Ahead": (lambda **given: laid("x" / Ahead(**given)), {"subcon": Int8ub}),
    "Chunks": (
        lambda **given: laid("n" / Array(2, Int8ub), "x" / Chunks(**given)),
        {"lengths": this.n},
    ),
    "Measured": (lambda **given: laid("x" / Measured(**given)), {"measure": wire.ber_value}),
    "Repeat-until": (
        lambda **given: laid("x" / Repeat(**given)),
        {"part": Struct("n" / Int8ub), "until": this.n == 1},
    ),
    "Repeat-count": (lambda **given: laid("x" / Repeat(**given)), {"part": Int8ub, "count": this.kind}),
    "Repeat-to": (
        lambda **given: laid("x" / Repeat(**given)),
        {"part": Struct("n" / Int8ub), "adding": this.n, "to": this.kind},
    ),
    "size_": (lambda value: laid("v" / UVar(2), "x" / Bytes(size_(value))), {"value": this.v}),
    "ErrorText": (said(ErrorText), {"before": b"", "after": b"", "count": Int8ub, "units": False}),
    "Counted": (
        said(lambda count, piece: Counted(count, b"x", piece)),
        {"count": Int16ub, "piece": ErrorText()},
    ),
    "FromRequest": (said(FromRequest), {"field": this.body, "max": 9, "whole": False}),
    "kept": (
        lambda **given: declared(
            keep=[this.kind], replies=Replies(error=lambda *_: {**reply(), "kind": kept(**given)})
        ),
        {"field": this.kind},
    ),
    "Replies": (
        lambda **given: declared(replies=Replies(**given)),
        {
            "error": reply,
            "heartbeat": reply,
            "ack": reply,
            "drain": reply,
            "optional_drain": False,
            "encoding": "utf-8",
        },
    ),
    "Greeting": (
        lambda **given: declared(greeting=Greeting(**given)),
        {"when": this.kind == 3, "steps": [SAYS], "refused": this.kind == 9, "relayed": False, "first": None},
    ),
    "Turn": (greeted(Turn), {"who": "client", "say": reply, "when": this.kind == 3}),
    "forms": (
        lambda test, say: declared(
            greeting=Greeting(when=this.kind == 3, steps=[SAYS, Turn("server", [(test, say), (True, reply)])])
        ),
        {"test": this.kind == 3, "say": reply},
    ),
    "optional": (
        lambda one: declared(greeting=Greeting(when=this.kind == 3, steps=[SAYS, optional(one)])),
        {"one": SAYS},
    ),
    "FromPeer": (
        greeted(lambda **given: ("client", lambda _: {**reply(), "body": FromPeer(**given)})),
        {"field": this.body, "max": 9, "whole": False},
    ),
    "byte_id": (
        lambda view, **given: laid(fields=BODY, id=byte_id(view, **given)),
        {"view": this.body, "max": 9, "form": "hex"},
    ),
    "byte_id-json": (
        lambda view, **given: laid(fields=BODY, id=byte_id(view, **given)),
        {"view": json(this.body)["id"], "max": 20, "form": "decimal"},
    ),
    "asked": (
        lambda **given: declared(status=table(asked(**given), {0: Status.OK}, Status.INTERNAL)),
        {"value": this.kind == 3, "bits": 1},
    ),
    "side": (lambda who: declared(response=side == who), {"who": "client"}),
    "text": (viewed(text), {"section": this.body}),
    "first": (lambda one, two: declared(service=first(one, two)), {"one": this.head, "two": "x"}),
    "split": (
        lambda part, **given: declared(service=split(**given)[part]),
        {"view": this.body, "separator": "/", "parts": 2, "exact": True, "part": 0},
    ),
    "pairs": (
        lambda name, **given: declared(service=pairs(**given)[name]),
        {"section": this.body, "key": Int8ub, "value": Int16ub, "name": "a"},
    ),
    "lines": (
        lambda name, **given: declared(service=lines(**given)[name]),
        {
            "section": this.body,
            "between": ":",
            "after": "\n",
            "ignore_case": True,
            "trim": " ",
            "skip": 1,
            "repeated": "first",
            "name": "a",
        },
    ),
    "number": (lambda view: declared(timeout=number(view)), {"view": this.head}),
    "number-of-a-length": (lambda view: laid("x" / Bytes(number(view))), {"view": this.head}),
    "decimal": (viewed(decimal), {"value": this.kind}),
    "isin": (lambda **given: declared(oneway=isin(**given)), {"view": this.head, "texts": {"a", "b"}}),
    "starts": (lambda **given: declared(oneway=starts(**given)), {"view": this.head, "text": "a"}),
    "==": (lambda one, two: declared(oneway=text(one) == two), {"one": this.head, "two": "a"}),
    "table": (viewed(table), {"value": this.kind, "entries": {1: "GET"}, "default": "other"}),
    "table-of-texts": (
        lambda **given: declared(status=table(**given)),
        {"value": this.head, "entries": {"ok": Status.OK}, "default": Status.INTERNAL},
    ),
    "hessian2_strings": (
        lambda part, **given: declared(service=wire.hessian2_strings(**given)[part]),
        {"section": this.body, "count": 2, "part": 0},
    ),
    "hessian_fields": (
        lambda section, name: declared(service=wire.hessian_fields(section, name)[0]),
        {"section": this.body, "name": "a"},
    ),
    "step": (
        lambda which, section, argument, count, part: declared(
            service=step(which, section, argument, count=count)[part]
        ),
        {
            "which": wire.hessian2_strings(this.body, 1).step,
            "section": this.body,
            "argument": "a",
            "count": 1,
            "part": 0,
        },
    ),
    "json": (lambda section, key: declared(service=json(section)[key]), {"section": this.body, "key": "a"}),
    "ber": (
        lambda section, key: declared(service=ber(section)[key]),
        {"section": this.body, "key": 1},
    ),
    "blocks": (
        lambda key, **given: declared(service=blocks(**given)[key]["a"]),
        {"section": this.body, "align": 4, "front": 2, "key": 1},
    ),
    "msgpack": (
        lambda section, key: declared(service=msgpack(section)[key]),
        {"section": this.body, "key": 1},
    ),
    "protobuf": (
        lambda section, key: declared(service=protobuf(section)[key]),
        {"section": this.body, "key": 1},
    ),
    "thrift": (
        lambda key, **given: declared(service=thrift(**given)[key]),
        {"section": this.body, "protocol": "compact", "key": 1},
    ),
    "tlv": (
        lambda key, **given: declared(service=tlv(**given)[key]),
        {"section": this.body, "tag": Int8ub, "length": Int16ub, "key": 1},
    ),
}

# What stands in a reply for each kind of field.
FILLED = {
    "an integer": ("x" / Int16ub, 7),
    "a wide integer": ("x" / BytesInteger(3), 7),
    "a varint": ("x" / UVar(2), 7),
    "bytes": ("x" / Bytes(2), b"ab"),
    "a counted section": ("x" / Prefixed(Int8ub, GreedyBytes), b"ab"),
    "a text that ends": ("x" / Until(b";", max=9), b"ab"),
    "a value": ("x" / Measured(wire.ber_value), b"\5\0"),
    "parts": ("x" / Repeat(Int8ub, count=2), b"ab"),
    "bits": ("x" / BitStruct("a" / BitsInteger(7), "b" / Flag), {"a": 1, "b": True}),
    "fields": ("x" / Struct("a" / Int8ub), {"a": 1}),
    "fields that may be there": ("x" / If(this.kind == 2, Struct("a" / Int8ub)), {"a": 1}),
    "one of several": ("x" / Switch(this.kind, {2: Struct("a" / Int8ub)}, default=Error), {"a": 1}),
}


def filled(field, value):
    return declared(field, replies=Replies(error=lambda *_: {**reply(), "x": value}))


for kind, (field, value) in FILLED.items():
    WORDS[f"{kind} in a reply"] = (functools.partial(filled, field), {"value": value})
WORDS["chunks in a reply"] = (
    lambda value: declared(
        "n" / Rebuild(Int8ub, len_(this.x)),
        "l" / Rebuild(Array(this.n, Int8ub), lengths(this.x)),
        "x" / Chunks(this.l),
        replies=Replies(error=lambda *_: {**reply(), "x": value}),
    ),
    {"value": [b"a"]},
)


class Thing:
    """What nobody takes, printed as Python prints it."""


WRONG = {
    "None": None,
    "a number": 7,
    "below zero": -1,
    "a wide number": 1 << 80,
    "a fraction": 1.5,
    "a text": "word",
    "an empty text": "",
    "bytes": b"word",
    "no bytes": b"",
    "not ASCII": "ä",
    "a list": [7],
    "an empty list": [],
    "an empty map": {},
    "a map": {"a": 1},
    "a thing": Thing(),
    "a lambda": lambda *_: 7,
    "a class": int,
    "this": this,
    "a field": this.kind,
    "a section": this.body,
    "a field that is not there": this.none,
    "something in an array": this.body[0],
    "an expression": this.kind + 1,
    "a division": this.kind / 2,
    "a view": text(this.head),
    "a split": split(this.head, "/", 2),
    "a map of texts": lines(this.head, ":", "\n"),
    "a structure": json(this.body),
    "something in a structure": protobuf(this.body)[1],
    "a condition": text(this.head) == "a",
    "a number in a text": number(this.head),
    "an asked": asked(this.kind == 1),
    "a side": side == "client",
    "the side": side,
    "a table": table(this.kind, {0: Status.OK}, Status.INTERNAL),
    "an integer's kind": Int8ub,
    "a Struct": Struct("a" / Int8ub),
    "a step": NOTHING,
    "a checksum": crc32(this.crc, over="before"),
    "an error's text": ErrorText(),
    "a part of the request": FromRequest(this.body),
    "replies": Replies(error=reply),
    "a greeting": Greeting(when=this.kind == 3, steps=[SAYS]),
    "an id": byte_id(this.body, max=9),
}


@pytest.mark.parametrize("word", WORDS)
def test_a_word_that_is_right_makes_a_format(word):
    make, given = WORDS[word]
    if word == "WireFormat":
        given = {name: one for name, one in given.items() if name != "answer_id"}
    make(**given)


@pytest.mark.parametrize("word", WORDS)
def test_whatever_a_word_is_given_it_is_refused_in_words(word):
    make, given = WORDS[word]
    for name in given:
        for what, wrong in WRONG.items():
            try:
                make(**{**given, name: wrong})
            except DeclarationError as error:
                assert not re.search(r" at 0x|<function|<class|NoneType|<lambda", str(error)), (
                    name,
                    what,
                    str(error),
                )
            except Exception as error:
                raise AssertionError(f"{word}({name}={what}): {type(error).__name__}: {error}") from error


TAKEN_AS_THEY_ARE = {
    *("Codec", "Frame", "Message", "Peer", "PythonCodec", "Reply", "Wire"),  # of no declaration
    *("ber_value", "json_value", "msgpack_value", "resp_value", "side", "size_", "this"),  # not called
}
TAKES_KEYWORDS = [word for word in wire.__all__ if word not in TAKEN_AS_THEY_ARE]


@pytest.mark.parametrize("word", TAKES_KEYWORDS)
def test_a_misspelt_keyword_is_told_in_words(word):
    with pytest.raises(DeclarationError, match=f"^{word}: nope= is none of its keywords; it takes"):
        getattr(wire, word)(nope=1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Replies(eror=reply),
            "Replies: eror= is none of its keywords; did you mean error=? it takes",
        ),
        (
            lambda: declared(serice=this.body),
            "WireFormat: serice= is none of its keywords; did you mean service",
        ),
        (
            lambda: FromPeer(this.body, wole=True),
            "FromPeer: wole= is none of its keywords; did you mean whole=",
        ),
        (Replies, "Replies: error= is missing; it takes error=, heartbeat="),
        (lambda: Until(b"a"), "Until: max= is missing; it takes delimiter=, max="),
        (lambda: Until(b"a", 5, delimiter=b"b"), "Until: delimiter= is given twice, by its place and by its"),
        (lambda: UVar(1, 2), "UVar: 2 values are given by their place, and 1 are taken so; it takes bytes="),
    ],
)
def test_a_call_that_is_wrong_says_what_is_meant(make, said):
    with pytest.raises(DeclarationError, match=re.escape(said)):
        make()


def test_what_a_word_itself_raises_is_passed_on():
    def failing(*_):
        raise TypeError("of the author's")

    with pytest.raises(DeclarationError, match="raises TypeError: of the author's"):
        declared(replies=Replies(error=failing))
    assert isinstance(FromPeer(this.body), FromRequest)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"knd": 2},
            "'knd' is no field of the format; did you mean 'kind'? There are kind, id, head, body, x",
        ),
        ({"zzz": 2}, "'zzz' is no field of the format; there are kind, id, head, body, x"),
        ({5: 2}, "5 is no field of the format; there are"),
        ({"x": {"a": 1, "c": 1}}, ", in x: 'c' is no field of the format; there are a, b"),
    ],
)
@pytest.mark.parametrize("what", ["error", "heartbeat", "ack", "drain", "step"])
def test_a_value_for_a_field_that_is_not_there_is_refused(values, said, what):
    """It was dropped: the frame that went out lacked what its author had written."""
    make = lambda *_: {**reply(), "x": {"a": 1, "b": 1}, **values}  # noqa: E731
    right = lambda *_: {**reply(), "x": {"a": 1, "b": 1}}  # noqa: E731
    given = {"replies": Replies(**{"error": right} | ({} if what == "step" else {what: make}))}
    if what == "step":
        given["greeting"] = Greeting(when=this.kind == 3, steps=[("client", make)])
    with pytest.raises(DeclarationError, match=re.escape(said)):
        declared("x" / Struct("a" / Int8ub, "b" / Int8ub), **given)
    declared("x" / Struct("a" / Int8ub, "b" / Int8ub), replies=Replies(error=right))
