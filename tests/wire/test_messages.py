"""What is said of a wrong declaration: the field, what was seen, and what to write instead."""

from __future__ import annotations

import functools
import operator
import re

import pytest
from construct import (
    Array,
    BitStruct,
    Bytes,
    BytesInteger,
    ByteSwapped,
    Check,
    GreedyBytes,
    If,
    Int8ub,
    Int16ub,
    Int32ub,
    Peek,
    Prefixed,
    Rebuild,
    RepeatUntil,
    Struct,
    Switch,
    len_,
    this,
)

from protokit import WireFormat, native, plugins
from protokit.errors import DeclarationError, LocalProtocolError
from protokit.wire import (
    Ahead,
    Chunks,
    ErrorText,
    FromPeer,
    FromRequest,
    Greeting,
    Measured,
    Repeat,
    Replies,
    Turn,
    Until,
    UVar,
    ber_value,
    byte_id,
    first,
    json,
    number,
    optional,
    pairs,
    size_,
    table,
    text,
)

BODY = ["kind" / Int8ub, "id" / Int32ub, "body" / Prefixed(Int16ub, GreedyBytes)]
COUNTED = [
    "kind" / Int8ub,
    "total" / Rebuild(Int16ub, len_(this.id) + len_(this.body) + 1),
    "n" / Rebuild(Int8ub, len_(this.id)),
    "id" / Bytes(this.n),
    "body" / Bytes(this.total - this.n - 1),
]


def declared(*fields, values=None, **meaning):
    values = {"kind": 2, "body": ErrorText()} if values is None else values
    given = {"id": this.id, "response": this.kind == 2, "replies": Replies(error=lambda *_: values)} | meaning
    return WireFormat(Struct(*fields), **given)


NAMED = {"id": byte_id(this.id, max=8)}


def say(variant):
    return {"kind": 3, "body": b""}


HELLO = ("client", say)


def greeted(*steps):
    return declared(*BODY, greeting=Greeting(when=this.kind == 3, steps=steps))


def some(numbers):
    """Whether one of many fields is 1."""
    return functools.reduce(operator.or_, (this[f"f{number}"] for number in numbers)) == 1


WRONG = {
    # what is declared: (how, what is said)
    "an array of structs": (
        lambda: declared(*BODY, "rows" / Array(2, Struct("a" / Int8ub))),
        "rows: an Array holds integers, the lengths of Chunks; it was given a Struct. For rows of fields",
    ),
    "an array of sections": (
        lambda: declared(*BODY, "rows" / Array(2, Bytes(3))),
        "rows: an Array holds integers, the lengths of Chunks; it was given a Bytes.",
    ),
    "a case that is no integer": (
        lambda: declared(*BODY, "rest" / Switch(this.kind, {"one": Int8ub}, default=Int8ub)),
        "rest: the case 'one' of a Switch is no integer; name cases by the numbers on the wire",
    ),
    "a product of fields": (
        lambda: declared(*BODY, "n" / Int8ub, "m" / Int8ub, "rest" / Bytes(this.n * this.m)),
        "(n * m) multiplies two fields; multiply a field by a constant",
    ),
    "a wide field in a length": (
        lambda: declared(*BODY, "n" / UVar(10), "rest" / Bytes(this.n - 1)),
        "n: fields over 4 bytes, and a UVar over 5, cannot be computed with, as in (n - 1)",
    ),
    "a section that is no number": (
        lambda: declared(*BODY, "rest" / Bytes(this.body)),
        "rest: this.body is a section of bytes, and only integers are computed with: declare it as one",
    ),
    "the size of an integer": (
        lambda: declared(*BODY, "rest" / Bytes(size_(this.kind))),
        "rest: this.kind is an integer (1 bytes), and size_() is of a UVar; of a section write",
    ),
    "a field that is not there": (
        lambda: declared(*BODY, "rest" / Bytes(this.length)),
        "rest: this.length is not a field in front of it; there are kind, id, body",
    ),
    "a varint of many bytes": (lambda: UVar(11), "UVar(11): a varint takes 1 to 10 bytes"),
    "an Until without an end": (
        lambda: Until(b"", 9),
        "Until(b'', 9): it needs a delimiter of a byte at least",
    ),
    "a measure of none": (
        lambda: declared(*BODY, "rest" / Measured(b"x")),
        "Measured: b'x' measures nothing; write Measured(msgpack_value), or resp_value, ber_value,",
    ),
    "an id that is measured": (
        lambda: declared(
            "kind" / Int8ub, "id" / Measured(ber_value), "body" / Prefixed(Int16ub, GreedyBytes)
        ),
        "id: this.id is a section of bytes, and an integer of fixed width is needed: declare it as one",
    ),
    "parts without an end": (
        lambda: Repeat(Struct("n" / Int8ub)),
        "Repeat: say how many there are in one way: until=this.last == 1, or count=this.n, or",
    ),
    "parts with two ends": (
        lambda: Repeat(Struct("n" / Int8ub), count=2, until=this.n == 0),
        "Repeat: say how many there are in one way",
    ),
    "parts that add up to nothing": (
        lambda: Repeat(Struct("n" / Int8ub), adding=this.n),
        "Repeat: say how many there are in one way",
    ),
    "a part that may have no bytes": (
        lambda: declared(*BODY, "rows" / Repeat(Struct("more" / Bytes(this._.kind)), count=3)),
        "rows: a part may have no bytes, and there would be no end of them",
    ),
    "a flag of a part without fields": (
        lambda: declared(*BODY, "rows" / Repeat(Until(b"\n", max=9), until=this.last == 1)),
        "rows: until and adding read the fields of a part: declare it as a Struct",
    ),
    "a flag that is outside": (
        lambda: declared(*BODY, "rows" / Repeat(Struct("last" / Int8ub), until=this.kind == 1)),
        "rows: this.rows.kind is not a field in front of it; there are kind, id, body, rows.last",
    ),
    "a flag that is no number": (
        lambda: declared(*BODY, "rows" / Repeat(Struct("last" / Bytes(1)), until=this.last == 1)),
        "rows: this.rows.last is a section of bytes, and only integers are computed with",
    ),
    "a number of a part": (
        lambda: declared(
            *BODY, "rows" / Repeat(Struct("last" / Int8ub), until=this.last == 1), "x" / Bytes(this.rows.last)
        ),
        "x: this.rows.last is not a field in front of it; there are kind, id, body, rows",
    ),
    "a view in a part": (
        lambda: declared(
            *BODY, "rows" / Repeat(Struct("n" / Bytes(1), "x" / Bytes(number(this.body))), count=2)
        ),
        "rows: parts are laid out by fields alone; a view is read in front of them, or behind",
    ),
    "a part that is a text": (
        lambda: declared(*BODY, "rows" / Repeat(Struct("t" / Bytes(3)), count=2), service=this.rows.t),
        "service: rows.t is no section of the format",
    ),
    "a sum of what is too wide": (
        lambda: declared(*BODY, "rows" / Repeat(Struct("n" / UVar(10)), adding=this.n, to=this.kind)),
        "rows.n: fields over 4 bytes, and a UVar over 5, cannot be computed with, as in (rows.n + 0)",
    ),
    "construct's own look ahead": (
        lambda: declared(*BODY, "tag" / Peek(Int8ub)),
        "tag: Peek is not in the vocabulary. Use Ahead(Int8ub): an integer that comes next, and stays there.",
    ),
    "construct's own repetition": (
        lambda: declared(*BODY, "rows" / RepeatUntil(lambda *_: True, Int8ub)),
        "rows: RepeatUntil is not in the vocabulary. Use Repeat(part, until=this.last == 1), or Until",
    ),
    "a mode of none": (
        lambda: declared(*BODY, mode="pipelined"),
        "mode: 'pipelined' is none of multiplexed, ordered, pingpong, pinned",
    ),
    "no id": (
        lambda: declared(*BODY, id=None),
        "mode='multiplexed' needs an id: write id=this.NAME, or mode='ordered' or 'pingpong' where",
    ),
    "too many ids in reserve": (
        lambda: declared(*BODY, reserved_ids=(1, 2, 3, 4, 5)),
        "reserved_ids: 5 were given; there are 4 at most",
    ),
    "no variants": (
        lambda: declared(*BODY, variants=()),
        "variants: 0 were given; there are 1 to 255, and ({},) is the one of most formats",
    ),
    "a reply without a field": (
        lambda: declared(*BODY, "mark" / Int8ub),
        "the error reply of NO_SERVICE cannot be built: mark has no value; give it one: {'mark': ...}",
    ),
    "a reply without a section that is counted": (
        lambda: declared(
            "kind" / Int8ub,
            "id" / Int32ub,
            "n" / Rebuild(Int8ub, len_(this.note)),
            "note" / Bytes(this.n),
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        "the error reply of NO_SERVICE cannot be built: note has no value; give it one: {'note': ...}",
    ),
    "a reply with a section of None": (
        lambda: declared(
            *BODY, "note" / Prefixed(Int8ub, GreedyBytes), values={"kind": 2, "body": b"", "note": None}
        ),
        "the error reply of NO_SERVICE cannot be built: note has no value",
    ),
    "a reply with a number that does not fit": (
        lambda: declared(*BODY, values={"kind": 300, "body": b""}),
        "the error reply of NO_SERVICE cannot be built: kind: 300 does not fit an integer of 1 bytes",
    ),
    "a count that is no Rebuild": (
        lambda: declared(
            "kind" / Int8ub, "n" / Int8ub, "id" / Bytes(this.n), values={"kind": 2, "n": 1}, **NAMED
        ),
        "the error reply of NO_SERVICE",
    ),
    "an id that is given to a reply": (
        lambda: declared(*COUNTED, values={"kind": 2, "body": b"", "id": b""}, **NAMED),
        "the error reply of NO_SERVICE: id is given; leave it out: the engine puts the id in",
    ),
    "an id that is given to a drain": (
        lambda: declared(
            *COUNTED,
            drain=this.kind == 6,
            replies=Replies(
                error=lambda *_: {"kind": 2, "body": b""}, drain=lambda _: {"kind": 6, "body": b"", "id": b""}
            ),
            **NAMED,
        ),
        "replies.drain: id is given; leave it out: the engine puts the id in",
    ),
    "an id that is given to a greeting": (
        lambda: declared(
            *COUNTED,
            values={"kind": 2, "body": b""},
            greeting=Greeting(
                when=this.kind == 7, steps=[("client", lambda _: {"kind": 7, "body": b"", "id": b""})]
            ),
            **NAMED,
        ),
        "greeting.steps[0]: id is given; leave it out: the engine puts the id in",
    ),
    "a product over an id": (
        lambda: declared(*COUNTED[:-1], "body" / Bytes(this.total * 2 - this.n), values={"kind": 2}, **NAMED),
        "body: its length depends on that of the id id in a way that the engine cannot keep right, since no",
    ),
    "a check that no id passes": (
        lambda: declared(
            "kind" / Int8ub,
            "n" / Rebuild(Int8ub, len_(this.id)),
            Check(this.n > 3),
            "id" / Bytes(this.n),
            **NAMED,
        ),
        "n: a check refuses ids of 1 bytes, which the engine writes in the form decimal",
    ),
    "a check that no reply passes": (
        lambda: declared(*BODY, Check(this.id > 4)),
        "the error reply of NO_SERVICE cannot be built: a Check does not hold, (id > 4): id is 0",
    ),
    "a check inside that no reply passes": (
        lambda: declared(
            *BODY,
            "more" / Struct("n" / Int8ub, Check((this.n == 3) & (this._.kind == 2))),
            values={"kind": 2, "body": b"", "more": {"n": 7}},
        ),
        "cannot be built: a Check does not hold, ((more.n == 3) & (kind == 2)): kind is 2 and more.n is 7",
    ),
    "a table of texts to integers": (
        lambda: declared(*BODY, service=table(this.kind, {"a": 1})),
        "table: {'a': 1} and None are statuses and names; all are statuses, with a default",
    ),
    "a greeting of nobody": (
        lambda: declared(*BODY, greeting=Greeting(when=this.kind == 3, steps=[("proxy", lambda _: {})])),
        "greeting: ['proxy'] was given; 1 to 16 steps of 'client' or 'server' are expected",
    ),
    "a greeting without steps": (
        greeted,
        "greeting: [] was given; 1 to 16 steps of 'client' or 'server' are expected",
    ),
    "a step that is a word": (
        lambda: greeted("client"),
        "greeting.steps: 'client' is none; write ('client', lambda variant: {...}), Turn(...), or optional(",
    ),
    "a step with values and no lambda": (
        lambda: greeted(("client", {"kind": 3})),
        "greeting.steps[0]: {'kind': 3} was given; write lambda variant: {...}, or of several forms [(",
    ),
    "a step that the proxy cannot say": (
        lambda: greeted(Turn("client", None, when=this.kind == 3)),
        "greeting.steps[0]: the proxy has to say this step to somebody; give its values, or write optional(",
    ),
    "a step of several forms without the last": (
        lambda: greeted(HELLO, Turn("server", [(this.kind == 3, say), (this.kind == 4, say)])),
        "greeting.steps[1]: of several forms the last one, and no other, has True for its condition",
    ),
    "an optional() in another": (
        lambda: greeted(optional(*optional(HELLO))),
        "greeting: optional() takes the steps that are left out together, and no other optional()",
    ),
    "a server's step that nothing tells": (
        lambda: greeted(optional(("server", say)), ("server", say)),
        "greeting.steps[0]: a server's step that may be left out is known by its frame: Turn('server',",
    ),
    "a server's last step that it may leave out": (
        lambda: greeted(HELLO, optional(Turn("server", say, when=this.kind == 3))),
        "greeting.steps[1]: nothing tells that a server leaves out its last step; one that it always",
    ),
    "a condition of a step over a section": (
        lambda: greeted(Turn("client", say, when=this.body == 1)),
        "greeting.steps: this.body is a section of bytes, and only integers are computed with",
    ),
    "a condition of a step over nothing": (
        lambda: greeted(HELLO, Turn("server", [(this.none == 1, say), (True, say)])),
        "greeting.steps: none is no integer field of the format",
    ),
    "a greeting that is relayed and said": (
        lambda: declared(
            *BODY, mode="pinned", greeting=Greeting(when=this.kind == 3, steps=[HELLO], relayed=True)
        ),
        "which needs mode='pinned' (here it is 'pinned') and no steps (here are 1)",
    ),
    "a greeting with steps of which servers say the first": (
        lambda: declared(*BODY, greeting=Greeting(when=this.kind == 3, steps=[HELLO], first="server")),
        "greeting: first='server'; it is 'server', with relayed=True, where servers speak first",
    ),
    "a greeting that is relayed on shared connections": (
        lambda: declared(*BODY, greeting=Greeting(when=this.kind == 3, relayed=True)),
        "which needs mode='pinned' (here it is 'multiplexed') and no steps (here are 0)",
    ),
    "too many forms": (
        lambda: greeted(*[Turn("client", [(this.kind == n, say), (True, say)]) for n in range(16)], HELLO),
        "1 to 16 steps",
    ),
    "too many conditions": (
        lambda: greeted(Turn("client", [*((this.kind == n, say) for n in range(32)), (True, say)])),
        "greeting: its steps have 33 forms and 32 conditions, at most 32 and 31 are possible",
    ),
    "a peer's field in a reply": (
        lambda: declared(*BODY, values={"kind": 2, "body": FromPeer(this.body)}),
        "the error reply of NO_SERVICE: FromPeer is for steps of a greeting, and this is none",
    ),
    "a request's field in a greeting": (
        lambda: greeted(("client", lambda _: {"kind": 3, "body": FromRequest(this.body)})),
        "greeting.steps[0]: FromRequest is for replies, and this is none",
    ),
    "a peer's field that there is not": (
        lambda: greeted(("client", lambda _: {"kind": 3, "body": FromPeer(this.none)})),
        "FromPeer: none is no field of the format that is an integer, a UVar or a section",
    ),
    "a peer's integer where a section stands": (
        lambda: greeted(("client", lambda _: {"kind": 3, "body": FromPeer(this.id)})),
        "greeting.steps[0]: body takes an integer of 4 bytes from the peer, and is none",
    ),
    "too much of a peer's": (
        lambda: greeted(
            ("client", lambda _: {"kind": 3, "body": [FromPeer(this.body, max=n) for n in (255, 254)]})
        ),
        "FromPeer: the parts that a greeting repeats take 511 bytes, of 256 that are kept",
    ),
    "a declaration that is none": (
        lambda: WireFormat(Int8ub, id=this.id, replies=Replies(error=None)),
        "a format is a construct.Struct, not a FormatField",
    ),
    "a transformation": (
        lambda: declared(*BODY, "x" / ByteSwapped(Bytes(2))),
        "x: of the transformations only BitStruct is in the vocabulary; declare the bytes",
    ),
    "a counted Struct": (
        lambda: declared(*BODY, "x" / Prefixed(Int8ub, Struct("a" / Int8ub))),
        "x: Prefixed holds GreedyBytes, no Struct; lay structs out behind a length of their own",
    ),
    "chunks of a number": (
        lambda: declared(*BODY, "x" / Chunks(3)),
        "x: Chunks takes the array of lengths, Chunks(this.lens), not 3",
    ),
    "an integer without a width": (
        lambda: declared(*BODY, "x" / BytesInteger(9)),
        "x: an integer has a fixed width of 1 to 8 bytes; declare a wider one as Bytes(n)",
    ),
    "a byte among bits": (
        lambda: declared(*BODY, "x" / BitStruct("a" / Bytes(1))),
        "x.a: a bit field is a Flag or BitsInteger(n), no Bytes",
    ),
    "more fields than registers": (
        lambda: declared(*BODY, *(f"f{n}" / Int8ub for n in range(260)), oneway=some(range(260))),
        "over 250 numbers: 250 of integers, 0 of sections (two each), 1 of lengths, texts that are compared",
    ),
    "more sections than registers": (
        lambda: declared(
            *BODY,
            *(f"f{n}" / Bytes(1) for n in range(130)),
            service=first(*(this[f"f{n}"] for n in range(130))),
        ),
        "over 250 numbers: 3 of integers, 248 of sections (two each), 0 of lengths, texts",
    ),
    "more comparisons than registers": (
        lambda: declared(*BODY, app_error=[text(this.body) == f"x{n}" for n in range(260)]),
        "over 250 numbers: 3 of integers, 2 of sections (two each), 246 of lengths, texts that are compared",
    ),
    "more texts than slices": (
        lambda: declared(*BODY, service=first(*(json(this.body)[f"k{n}"] for n in range(260)))),
        "the format has too many views, over 250 texts; leave some out",
    ),
    "too much of a request": (
        lambda: declared(
            *BODY, values={"kind": 2, "body": [FromRequest(this.body, max=n) for n in (255, 254)]}
        ),
        "FromRequest: the parts that replies repeat take 511 bytes, of 256 that are kept; say how long",
    ),
    "too deep": (
        lambda: functools.reduce(lambda view, key: view[key], range(40), json(this.body)),
        "keys at most; read what is deeper with a step",
    ),
    "keys of neither": (
        lambda: table(this.kind, {1.5: "GET"}),
        "table: ['1.5'] are neither texts nor integers",
    ),
    "a map by a text": (
        lambda: pairs(this.body, "key", Int8ub),
        "pairs: 'key' was given; key and value are the integers in front, such as Int32ub",
    ),
    "a chain of comparisons": (
        lambda: declared(*BODY, oneway=functools.reduce(operator.or_, [this.kind == n for n in range(260)])),
        "oneway: its expression has over 300 terms; say ranges where there are, (this.type >= 1)",
    ),
    "an endless chain": (
        lambda: declared(*BODY, timeout=functools.reduce(operator.add, [this.kind] * 100_000)),
        "timeout: its expression has over 300 terms",
    ),
    "several chains": (
        lambda: declared(
            *BODY,
            **{
                what: functools.reduce(operator.or_, [this.kind == n + 10 for n in range(95)])
                for what in ("oneway", "heartbeat", "drain", "last")
            },
        ),
        "goes by too many comparisons one behind the other, over a hundred",
    ),
    "a length that is computed from itself": (
        lambda: declared(
            "kind" / Int8ub,
            "id" / Rebuild(Int32ub, len_(this.body) + this.id),
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        "id: it is computed from itself; let Rebuild count sections",
    ),
    "a branch that the error's text decides": (
        lambda: declared(
            "kind" / Int8ub,
            "id" / Int32ub,
            "n" / Rebuild(Int8ub, len_(this.body)),
            "body" / If(this.n > 0, Bytes(this.n)),
            values={"kind": 2, "body": ErrorText()},
        ),
        "whether body is there is told by this.n; let something be there in any case, ErrorText(b' ')",
    ),
    "a total that nothing counts, in a protocol without errors": (
        lambda: declared(
            *[*COUNTED[:-1], "body" / Prefixed(Int16ub, GreedyBytes)],
            id=byte_id(this.id, max=20),
            replies=Replies(error=None),
        ),
        "total depends on the length of the id, but no length is computed from it",
    ),
    "a status of none": (
        lambda: declared(*BODY, status=table(this.kind, {1: 99}, 0)),
        "table: 99 is no Status; write Status.OK, Status.INTERNAL, ...",
    ),
    "a status that is a name": (
        lambda: declared(*BODY, status=table(this.kind, {1: "GET"})),
        "is a view of names: write table(this.x, {0: Status.OK}, Status.INTERNAL)",
    ),
    "headers in a field": (
        lambda: declared(*BODY, answer_headers=this.body),
        "answer_headers: this.body is no map: write pairs(...), lines(...), or a map in a structure:",
    ),
    "a text that tells what can be read": (
        lambda: declared(*BODY, readable=(this.body, text(this.body) == "a")),
        "readable: whether body can be read is told by fields (this.codec == 0), no texts",
    ),
    "too much to keep": (
        lambda: declared(*BODY, keep=[this.id]),
        "keep: the fields kept for a reply take 3 bytes at most; a reply repeats more with FromRequest(",
    ),
    "a reply that fails": (
        lambda: declared(*BODY, replies=Replies(error=lambda status, variant: {"kind": variant["no"]})),
        "replies.error: its function, which is called with Status.NO_SERVICE, {}, raises KeyError: 'no'",
    ),
    "a reply of another signature": (
        lambda: declared(*BODY, replies=Replies(error=lambda status: {})),
        "raises TypeError: ",
    ),
    "a program of nothing": (lambda: native.declared(b""), "the compiled format was refused: "),
}


def test_a_frame_of_which_each_part_may_be_absent_is_told_so_where_the_plugin_is():
    ahead = "first" / Ahead(Int8ub)
    parts = (ahead, "a" / If(this.first == 0, Bytes(2)), "kind" / If(this.first != 0, Int8ub))
    one = declared(*parts, id=None, mode="pinned", values={"first": 2, "kind": 2})
    said = "may have no bytes: each of its parts .* IfThenElse or Switch"
    with pytest.raises(DeclarationError, match=said) as caught:
        _ = one.address
    assert "(test_messages.py:" in plugins.reason(caught.value)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_declaration_is_told_what_to_write(name):
    make, said = WRONG[name]
    with pytest.raises(DeclarationError, match=re.escape(said)):
        make()


def test_a_frame_without_a_value_says_of_which_field():
    one = declared(
        *BODY, "more" / Struct("mark" / Int8ub), values={"kind": 2, "body": b"", "more": {"mark": 1}}
    )
    for values, said in (
        ({"kind": 1, "id": 1}, "the frame cannot be built: body has no value"),
        ({"kind": 1, "id": 1, "body": b"", "more": {}}, "the frame cannot be built: more.mark has no value"),
        ({"kind": 1, "id": 1, "body": b""}, "the frame cannot be built: more has no value"),
        ({"kind": 1, "id": 1, "body": b"", "more": {"mark": 256}}, "more.mark: "),
    ):
        with pytest.raises(LocalProtocolError, match=re.escape(said)):
            one.build(values)
