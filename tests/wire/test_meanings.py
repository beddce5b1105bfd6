"""What a frame means by integers that have names, and by texts: destination, kind, status, time."""

from __future__ import annotations

import re

import pytest
from construct import (
    BitsInteger,
    BitStruct,
    Check,
    Flag,
    GreedyBytes,
    If,
    Int8sb,
    Int8ub,
    Int16ub,
    Int16ul,
    Int32ub,
    Int64ub,
    Prefixed,
    Struct,
    this,
)

from protokit import Status, native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire import (
    ErrorText,
    Replies,
    UVar,
    WireFormat,
    crc32,
    decimal,
    first,
    hessian2_strings,
    isin,
    json,
    lines,
    number,
    pairs,
    split,
    starts,
    table,
    text,
)
from protokit.wire.format import KINDS

HEAD = lines(this.head, "=", ";")
TEXT = "head" / Prefixed(Int16ub, GreedyBytes)


def declared(*fields, reply=None, **meaning):
    fields = fields or (TEXT,)
    reply = {"head": ErrorText()} if reply is None else reply
    return WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, *fields),
        id=this.id,
        **{"response": this.kind == 2, **meaning},
        replies=Replies(
            error=lambda status, variant: {"kind": 2, **reply},
            heartbeat=lambda variant: {"kind": 3, **reply},
            ack=lambda variant: {"kind": 4, **reply},
        ),
    )


def seen(wire, frame):
    """What the engine makes of a frame; the reference says the same."""
    found, message = native.frame(wire.address, frame), wire.message(frame)
    assert (found.result, found.size) == (0, len(frame))
    assert (KINDS[found.kind], found.id, found.status) == (message.kind, message.id, message.status)
    if message.kind not in {"request", "oneway"}:
        return message
    request = native.request(wire.address, frame)
    for name in ("service", "method", "version", "group", "timeout_ms"):
        assert getattr(request, name) == getattr(message, name)
    return message


NUMBERS = ["op" / Int16ul, "flags" / BitStruct("rest" / BitsInteger(5), "verb" / BitsInteger(3)), TEXT]
VERBS = {0: "GET", 1: "SET", 5: "DEL"}


def numbered(**meaning):
    given = {"service": decimal(this.op), "method": table(this.flags.verb, VERBS, "other")}
    return declared(
        *NUMBERS, reply={"op": 0, "flags": {"rest": 0, "verb": 0}, "head": ErrorText()}, **given | meaning
    )


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"headers": HEAD},  # more than framing can leave for later
        {"version": HEAD["v"], "group": HEAD["g"]},
    ],
)
@pytest.mark.parametrize(("verb", "name"), [(0, "GET"), (5, "DEL"), (4, "other")])
def test_an_integer_is_a_destination_by_its_digits_or_its_name(more, verb, name):
    wire = numbered(**more)
    frame = wire.build(
        {"kind": 1, "id": 3, "op": 0x1234, "flags": {"rest": 9, "verb": verb}, "head": b"v=1;g=2"}
    )
    message = seen(wire, frame)
    assert (message.service, message.method) == ("4660", name)


@pytest.mark.parametrize(
    ("field", "value", "digits"),
    [
        (Int8sb, -128, "-128"),
        (Int64ub, 2**64 - 1, "18446744073709551615"),
        (Int64ub, 0, "0"),
        (UVar(5), 2**35 - 1, "34359738367"),
    ],
)
def test_any_integer_has_digits(field, value, digits):
    wire = declared("op" / field, TEXT, service=decimal(this.op), reply={"op": 0, "head": ErrorText()})
    assert seen(wire, wire.build({"kind": 1, "id": 1, "op": value, "head": b""})).service == digits


def test_digits_are_of_anything_that_is_computed():
    service = first(table(this.kind, {1: "one"}), decimal((this.id & 0xFF) * 2 + number(HEAD["n"])))
    wire = declared(service=service, oneway=this.kind == 5, method=decimal(this.kind == 1))
    assert seen(wire, wire.build({"kind": 1, "id": 300, "head": b"n=5"})).service == "one"
    message = seen(wire, wire.build({"kind": 5, "id": 300, "head": b"n=-5"}))
    assert (message.service, message.method) == ("83", "0")


def test_an_integer_of_a_branch_that_is_absent_counts_as_0():
    wire = declared("op" / If(this.kind == 1, Int8ub), TEXT, service=decimal(this.op), oneway=this.kind == 5)
    assert seen(wire, wire.build({"kind": 1, "id": 1, "op": 7, "head": b""})).service == "7"
    assert seen(wire, wire.build({"kind": 5, "id": 1, "head": b""})).service == "0"


def test_edits_of_a_name_write_its_integer():
    wire = numbered()
    frame = wire.build({"kind": 1, "id": 3, "op": 7, "flags": {"rest": 9, "verb": 0}, "head": b""})
    changed = wire.edit(frame, [(native.EDIT_SERVICE, "", "300"), (native.EDIT_METHOD, "", "DEL")])
    message = seen(wire, changed)
    assert (message.service, message.method, message.fields.flags.rest) == ("300", "DEL", 9)
    assert wire.edit(frame, [(native.EDIT_METHOD, "", "GET")]) == frame
    for what, value, why in (
        (native.EDIT_SERVICE, "a.B", "decimal(op): 'a.B' is no integer"),
        (native.EDIT_SERVICE, "70000", "cannot be built"),
        (native.EDIT_METHOD, "PUT", "'PUT' is no name of it; GET, SET, DEL are"),
        (native.EDIT_METHOD, None, "nothing is no name of it"),
    ):
        with pytest.raises(LocalProtocolError, match=re.escape(why)):
            wire.edit(frame, [(what, "", value)])
    computed = numbered(service=decimal(this.op + 1))
    with pytest.raises(LocalProtocolError, match="is computed: only a field"):
        computed.edit(frame, [(native.EDIT_SERVICE, "", "8")])


def test_a_text_has_names_too():
    wire = declared(service=table(HEAD["to"], {"a": "alpha", "b": "beta"}))
    frame = wire.build({"kind": 1, "id": 1, "head": b"to=b"})
    assert seen(wire, frame).service == "beta"
    assert seen(wire, wire.build({"kind": 1, "id": 1, "head": b"to=c"})).service == ""
    assert b"to=a" in wire.edit(frame, [(native.EDIT_SERVICE, "", "alpha")])


KIND = {
    "response": starts(this.head, "+") | starts(this.head, "-"),
    "oneway": isin(split(this.head, " ", 2)[0], {"PUB", "NOTE"}),
    "heartbeat": isin(text(this.head), {"PING", "+PONG"}) & (this.kind < 9),
    "status": table(
        starts(this.head, "-") + starts(this.head, "-BUSY"),
        {0: Status.OK, 1: Status.INTERNAL},
        Status.OVERLOADED,
    ),
}


@pytest.mark.parametrize(
    ("head", "kind", "status"),
    [
        (b"GET x", "request", Status.OK),
        (b"PUB x", "oneway", Status.OK),
        (b"PUBx", "request", Status.OK),
        (b"+", "response", Status.OK),
        (b"-ERR", "response", Status.INTERNAL),
        (b"-BUSY", "response", Status.OVERLOADED),
        (b"PING", "heartbeat", Status.OK),
        (b"+PONG", "ack", Status.OK),
        (b"", "request", Status.OK),
    ],
)
def test_what_a_frame_is_stands_in_its_text(head, kind, status):
    wire = declared(**KIND)
    frame = wire.build({"kind": 1, "id": 5, "head": head})
    message = seen(wire, frame)
    assert (message.kind, message.status, message.id) == (kind, status, 5)
    for cut in range(1, len(frame)):
        assert native.frame(wire.address, frame[:cut]).result == 1


def test_a_wrong_checksum_is_answered_where_the_kind_stands_in_a_text():
    fields = [TEXT, "crc" / Int32ub]
    wire = declared(*fields, checksum=crc32(this.crc, over="before"), response=starts(this.head, "+"))
    frame = wire.build({"kind": 1, "id": 5, "head": b"GET"})
    wrong = native.frame(wire.address, frame[:-1] + bytes([frame[-1] ^ 1]))
    assert (wrong.result, KINDS[wrong.kind], wrong.id) == (-2, "request", 5)
    answer = wire.build({"kind": 1, "id": 5, "head": b"+GET"})
    wrong = native.frame(wire.address, answer[:-1] + bytes([answer[-1] ^ 1]))
    assert (wrong.result, KINDS[wrong.kind]) == (-2, "response")


@pytest.mark.parametrize(
    "status",
    [
        table(HEAD["code"], {"200": Status.OK, "503": Status.OVERLOADED}, Status.INTERNAL),
        table(number(HEAD["code"]), {200: Status.OK, 503: Status.OVERLOADED}, Status.INTERNAL),
    ],
)
def test_a_status_stands_in_a_map(status):
    wire = declared(status=status, app_error=HEAD["failed"] == "yes")
    for head, expected in (
        (b"code=200", Status.OK),
        (b"code=503;failed=yes", Status.OVERLOADED),
        (b"code=200;failed=yes", Status.APP_ERROR),
        (b"code=9", Status.INTERNAL),
        (b"", Status.INTERNAL),
    ):
        assert seen(wire, wire.build({"kind": 2, "id": 1, "head": head})).status == expected


def test_an_answer_whose_map_is_malformed_goes_on():
    head = pairs(this.head, key=Int8ub, value=Int8ub)
    wire = declared(
        status=table(first(head["code"], "0"), {"0": Status.OK}, Status.INTERNAL), service=head["to"]
    )
    assert seen(wire, wire.build({"kind": 2, "id": 1, "head": b"\x04code\x019\x05"})).status == Status.OK
    assert seen(wire, wire.build({"kind": 2, "id": 1, "head": b"\x04code\x019"})).status == Status.INTERNAL
    with pytest.raises(RemoteProtocolError):
        native.request(wire.address, wire.build({"kind": 1, "id": 1, "head": b"\x05"}))


def test_a_budget_is_computed_from_texts():
    wire = declared(timeout=number(HEAD["s"]) * 1000 + number(HEAD["ms"]) + this.kind)
    for head, expected in ((b"s=2;ms=5", 2006), (b"", 1), (b"s=-1", 0), (b"s=1x;ms=7", 8)):
        assert seen(wire, wire.build({"kind": 1, "id": 1, "head": head})).timeout_ms == expected


def test_bits_behind_a_section_say_what_a_frame_is():
    wire = declared(
        TEXT,
        "flags" / BitStruct("answer" / Flag, "rest" / BitsInteger(7)),
        response=this.flags.answer,
        service=decimal(this.flags.rest),
        reply={"head": ErrorText(), "flags": {"answer": 1, "rest": 0}},
    )
    for answer, kind in ((0, "request"), (1, "response")):
        flags = {"answer": answer, "rest": 5}
        message = seen(wire, wire.build({"kind": 1, "id": 1, "head": b"x", "flags": flags}))
        assert message.kind == kind
        assert message.service == ("5" if answer == 0 else "")


MAP = pairs(this.head, key=Int16ub, value=Int16ub)
MISUSED = {
    "text": (lambda: {"response": text(this.head)}, "response: text(this.head) is no expression"),
    "map": (lambda: {"response": HEAD}, "response: lines(this.head, '=', ';') is no expression"),
    "item": (lambda: {"oneway": HEAD["a"]}, "oneway: lines(this.head, '=', ';')['a'] is no expression"),
    "split": (
        lambda: {"timeout": split(this.head, " ", 2)},
        "split(text(this.head), ' ', 2) is no expression",
    ),
    "part": (lambda: {"timeout": split(this.head, " ", 2)[1]}, "split(text(this.head), ' ', 2)[1] is no"),
    "part that is none": (
        lambda: split(this.head, " ", 2)[2],
        "split(text(this.head), ' ', 2) has parts 0 to 1, not 2",
    ),
    "part by name": (lambda: split(this.head, " ", 2)["a"], "has parts 0 to 1, not 'a'"),
    "key": (
        lambda: MAP[5],
        "pairs(this.head, key=Int16ub, value=Int16ub) has values by their keys, which are texts",
    ),
    "compared": (lambda: MAP["a"] == 5, "['a'] is compared with a text, not with 5; number(view) is one"),
    "truth": (
        lambda: MAP["a"] or MAP["b"],
        "pairs(this.head, key=Int16ub, value=Int16ub)['a'] has no truth value",
    ),
    "condition's truth": (lambda: (MAP["a"] == "x") and this.kind, "write & for 'and'"),
    "not equal": (lambda: bool(MAP["a"] != "x"), "has no truth value"),
    "step": (
        lambda: {"response": hessian2_strings(this.head, 1)[0]},
        "step(hessian2_strings, this.head, count=1)[0] is no",
    ),
    "step's text": (lambda: hessian2_strings(this.head, 1)[1], "finds texts 0 to 0, not 1"),
    "statuses": (lambda: table(this.kind, {1: Status.OK}), "all are statuses, with a default"),
    "mixed": (lambda: table(this.kind, {1: "GET", 2: 3}, "op"), "all are statuses, with a default"),
    "half": (lambda: table(this.kind, {1: "GET"}, Status.OK), "all are statuses, with a default"),
    "nothing": (
        lambda: table(this.kind, {1: None}, "op"),
        "table: 1 leads to None, which is neither a status nor",
    ),
    "empty": (lambda: table(this.kind, {}, "op"), "table: it has no entries"),
    "keys": (
        lambda: table(text(this.head), {"a": "b", 1: "c"}),
        "table: ['a', 1] are texts and others; all are texts, or integers",
    ),
    "named view": (lambda: table(text(this.head), {1: "c"}), "table: text(this.head) is no expression"),
    "status of names": (
        lambda: {"status": table(this.kind, {1: "c"})},
        "status: table(kind, {1: 'c'}) is a view",
    ),
    "statuses as a view": (lambda: {"service": table(this.kind, {1: 3}, 2)}, "service: table("),
    "set": (lambda: isin(text(this.head), "abc"), "isin: 'abc' was given; it takes a set of texts"),
    "no set": (lambda: isin(text(this.head), set()), "isin: set() was given; it takes a set of texts"),
    "numbers": (lambda: isin(text(this.head), {1}), "isin: a view is compared with texts, not with 1"),
    "start": (lambda: starts(text(this.head), 1), "starts: a view is compared with texts, not with 1"),
    "decimal of a text": (
        lambda: {"service": decimal(this.head)},
        "service: this.head is a section of bytes, and only",
    ),
    "text of an integer": (lambda: {"service": this.kind}, "as decimal(this.NAME), or by its name as table("),
    "first of none": (first, "first: nothing was given; it takes views: first("),
    "headers": (lambda: {"headers": HEAD["a"]}, "headers: lines(this.head, '=', ';')['a'] is no map"),
    "map as a view": (
        lambda: {"service": HEAD},
        "service: lines(this.head, '=', ';') is a map, not a text: name a key",
    ),
    "split as a view": (lambda: {"service": split(this.head, " ", 2)}, "is of several texts: say which"),
}


@pytest.mark.parametrize("name", MISUSED)
def test_a_view_that_is_misused_is_shown_as_it_is_written(name):
    make, why = MISUSED[name]
    with pytest.raises(DeclarationError, match=re.escape(why)):
        declared(**(make() or {}))


def test_a_frame_is_not_laid_out_by_what_stands_in_a_structure():
    why = "json(this.head)['a']: a layout reads texts in front of it by themselves, by split, by lines and by"
    with pytest.raises(DeclarationError, match=re.escape(why)):
        declared(TEXT, Check(number(json(this.head)["a"]) > 1), reply={})
