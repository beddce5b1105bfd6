"""Declarations: random ones compile and agree with construct; wrong ones are refused with the reason."""

from __future__ import annotations

import ast
import collections
import contextlib
import functools
import inspect
import itertools
import re
import zlib
from pathlib import Path

import drawn
import pytest
from construct import (
    Array,
    BitsInteger,
    BitStruct,
    Bytes,
    BytesInteger,
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
    Int32sb,
    Int32sl,
    Int32ub,
    Int32ul,
    Int64sb,
    Int64ub,
    Int64ul,
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
from drawn import ENDS, GREETS, Talk
from fewer import many
from hypothesis import HealthCheck, event, given, reject, settings
from hypothesis import strategies as st
from steps import step_agrees

import protokit.wire
from protokit import Status, native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.testing import frames, spoiled
from protokit.testing.fronts import check_front
from protokit.wire import (
    Ahead,
    Chunks,
    Counted,
    ErrorText,
    FromRequest,
    Greeting,
    Measured,
    Repeat,
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
    hessian_fields,
    isin,
    json,
    json_value,
    kept,
    lengths,
    lines,
    msgpack,
    msgpack_value,
    number,
    pairs,
    protobuf,
    resp_value,
    size_,
    split,
    starts,
    step,
    table,
    text,
    thrift,
    tlv,
)
from protokit.wire import __all__ as vocabulary
from protokit.wire.format import KINDS
from protokit.wire.layout import read
from protokit.wire.nodes import (
    Bits,
    Branch,
    ChunkList,
    Delimited,
    Integer,
    Region,
    Repeated,
    Section,
    Varint,
    walk,
)
from protokit.wire.replies import said

LIMIT = 1 << 16
HELLO = ("client", lambda variant: {"small": 1})
INTEGERS = [Int8ub, Int8sb, Int16ub, Int16ul, Int16sb, Int24ub, Int32ub, Int32sl, Int64ub, Int64ul, Int64sb]
LENGTHS = [Int8ub, Int16ub, Int16ul, Int16sb, Int24ub, Int32sb, Int32sl, UVar(3)]
PLAIN = [
    "integer",
    "one_byte",
    "const",
    "section",
    "prefixed",
    "fixed",
    "bits",
    "until",
    "uvar",
    "sized",
    "chunks",
    "digits",
    "told",
    "measured",
    "ahead",
]
REFERRING = ["check", "computed", "ordered", "absent", "either", "switch", "struct", "repeated"]
QUICK = settings(max_examples=many(150), deadline=None, suppress_health_check=list(HealthCheck))


class Grower:
    """Draws fields one after the other; remembers the bytes that later fields may refer to."""

    def __init__(self, draw, names, kind, root, depth=0) -> None:
        self.draw = draw
        self.names = names
        self.kind = kind  # what the format calls the field by which it is chosen
        self.root = root  # where its fields stand, as views see them
        self.depth = depth
        self.known = []
        self.plain = PLAIN

    def one(self, choices):
        return self.draw(st.sampled_from(choices))

    def struct_of_fields(self):
        start = set(self.known)
        groups = []  # (fields, the bytes they may refer to, the bytes they bring)
        for _ in range(self.draw(st.integers(1, 5))):
            kinds = self.plain + (REFERRING if self.known and self.depth < 2 else [])
            before = set(self.known)
            kind = self.one(kinds)
            fields = getattr(self, kind)(next(self.names))
            groups.append((fields, before if kind in REFERRING else set(), set(self.known) - before))
        return Struct(*self.reordered(groups, start))

    def reordered(self, groups, start):
        """Any order in which a field stands behind those it may refer to."""
        fields, there = [], set(start)
        while groups:
            ready = [one for one in groups if one[1] <= there]
            chosen = self.one(range(len(ready)))
            fields += ready[chosen][0]
            there |= ready[chosen][2]
            groups = [one for one in groups if one is not ready[chosen]]
        return fields

    def inner(self, name):
        grower = Grower(self.draw, self.names, self.kind, self.root[name], self.depth + 1)
        grower.plain = self.plain  # of parts: without views
        return grower.struct_of_fields()

    def test(self):
        field, n = this[self.one(self.known)], self.draw(st.integers(0, 3))
        return self.one(
            [
                field == n,
                field != n,
                (field & 1) == 1,
                (field < 200) & (field != n),
                (field == n) | (field > 100),
                ~(field == n),
                field + 1 > n,
                (field ^ 3) <= n * 2,
                (field << 2) >= 8,
                (field >> 1) - 1 == n,
                this._root[self.kind] == field,
            ]
        )

    def integer(self, name):
        return [name / self.one(INTEGERS)]

    def one_byte(self, name):
        self.known.append(name)
        return [name / Int8ub]

    def const(self, name):
        return [Const(self.draw(st.binary(min_size=1, max_size=10)))]

    def section(self, name):
        size = f"{name}_len"
        return [size / Rebuild(self.one(LENGTHS), len_(this[name])), name / Bytes(this[size])]

    def prefixed(self, name):
        return [name / Prefixed(self.one(LENGTHS), GreedyBytes)]

    def fixed(self, name):
        return [name / Bytes(self.draw(st.integers(0, 9)))]

    def bits(self, name):
        a = self.draw(st.integers(1, 6))
        return [name / BitStruct("a" / BitsInteger(a), "b" / BitsInteger(15 - a), "c" / Flag)]

    def until(self, name):
        return [name / Until(self.draw(st.binary(min_size=1, max_size=3)), self.draw(st.integers(0, 40)))]

    def uvar(self, name):
        return [name / UVar(self.draw(st.integers(1, 10)))]

    def sized(self, name):
        """What a varint and a delimited text take, counted by a length in front of them."""
        mark, word, total = f"{name}_mark", f"{name}_word", f"{name}_total"
        counted = size_(this[mark]) + len_(this[word])
        return [
            total / Rebuild(self.one([Int16ub, Int32sl, UVar(3)]), counted + len_(this[name])),
            mark / UVar(self.draw(st.integers(1, 10))),
            word / Until(b";", max=20),
            name / Bytes(this[total] - counted),
        ]

    def chunks(self, name):
        count, sizes = f"{name}_count", f"{name}_lens"
        item = self.one([Int8ub, Int16sb, Int32sl, Int32ub])
        return [
            count / Rebuild(Int8ub, len_(this[name])),
            sizes / Rebuild(Array(this[count], item), lengths(this[name])),
            name / Chunks(this[sizes]),
        ]

    def digits(self, name):
        """A length in decimal digits, or none."""
        size = f"{name}_n"
        length = number(self.root[size])
        section = self.one([Bytes(length), If(length >= 0, Bytes(length)), Bytes(length + 2)])
        return [size / self.one([Bytes(3), Until(b" ", max=9)]), name / section]

    def told(self, name):
        """A length in a line of a head, or between words of one."""
        head, less = f"{name}_head", self.draw(st.booleans())
        section = self.root[head]
        found = self.one(
            [
                lines(section, ":", "\r\n", ignore_case=less, trim=" "),
                lines(section, "=", ";", ignore_case=less, skip=int(less)),
            ]
        )["Size"]
        found = self.one([found, first(split(section, " ", 2, exact=less)[1], "0")])
        return [
            head / self.one([Until(b"\n\n", max=90), Prefixed(Int16ub, GreedyBytes)]),
            name / Bytes(number(found)),
        ]

    def ahead(self, name):
        """A byte that is looked at before it is read, and tells whether more comes."""
        tag, byte = f"{name}_ahead", f"{name}_byte"
        return [tag / Ahead(Int8ub), byte / Int8ub, name / If(this[tag] > 9, Bytes(2))]

    def measured(self, name):
        return [name / Measured(self.one([msgpack_value, resp_value, ber_value, json_value]))]

    def check(self, name):
        return [Check(self.test())]

    def computed(self, name):
        field = this[self.one(self.known)]
        return [name / Bytes(self.one([field, field + 2, field - 1, field * 2, field & 7]))]

    def ordered(self, name):
        """A length in the byte order that a byte in front says."""
        size, flag = f"{name}_len", this[self.one(self.known)]
        big, little = self.one([(Int16ub, Int16ul), (Int32sb, Int32sl)])
        length = IfThenElse(self.one([flag & 1, flag == 2]), little, big)
        return [size / Rebuild(length, len_(this[name])), name / Bytes(this[size])]

    def leaf(self):
        (field,) = getattr(self, self.one(["integer", "fixed", "prefixed", "until"]))("x")
        return field.subcon

    def absent(self, name):
        return [name / If(self.test(), self.leaf())]

    def either(self, name):
        return [name / IfThenElse(self.test(), self.leaf(), self.leaf())]

    def switch(self, name):
        key = this[self.one(self.known)]
        cases = {n: self.inner(name) for n in range(self.draw(st.integers(1, 3)))}
        return [name / Switch(key, cases, default=self.inner(name) if self.draw(st.booleans()) else Error)]

    def struct(self, name):
        return [name / self.inner(name)]

    def repeated(self, name):
        """Parts, each with a byte in front that may end them."""
        flag, size = f"{name}_flag", f"{name}_size"
        part = Grower(self.draw, self.names, self.kind, self.root[name], 1)
        part.known, part.plain = [flag], [one for one in PLAIN if one not in {"digits", "told"}]
        fields = part.struct_of_fields().subcons
        kind = self.draw(st.integers(0, 2))
        if kind == 0:
            tests = [this[flag] == 1, (this[flag] & 1) == 1, this[flag] != this._[self.one(self.known)]]
            return [name / Repeat(Struct(flag / Int8ub, *fields), until=self.one(tests))]
        if kind == 1:
            one = self.one([Until(b";", max=9), Struct(flag / Int8ub, *fields), UVar(3)])
            return [size / Int8ub, name / Repeat(one, count=this[size])]
        counted = Struct(flag / Int8ub, *fields)
        return [size / Int8ub, name / Repeat(counted, adding=this[flag] & 7, to=this[size])]


# Names that mean something to Python, to construct's containers or to the compiler.
ODD = [
    "class",
    "keys",
    "items",
    "get",
    "copy",
    "update",
    "lambda",
    "type",
    "size",
    "data",
    "x.y",
    "ü",
    "A b",
    "__",
]


class Meanings:
    """Draws what the fields of a declaration mean, whether they are always there or not."""

    def __init__(self, draw, declaration) -> None:
        self.draw = draw
        kinds = {}
        for node in walk(read(declaration)):
            if isinstance(node, Bits):
                kinds |= {path: [Integer] for path, *_ in node.fields}
            elif not isinstance(node, Branch):
                kinds.setdefault(node.path, []).append(type(node))
        for path in [
            path for path in kinds if Section in kinds.get(path[:-1], [])
        ]:  # the length of a Prefixed has no name
            del kinds[path]
        self.sections = self.all_of(kinds, Section, Delimited, ChunkList, Region, Repeated)
        self.numbers = self.all_of(kinds, Integer, Varint)
        self.varints = self.all_of(kinds, Varint)
        self.maps = []
        self.structures = []

    @staticmethod
    def all_of(kinds, *wanted):
        found = [path for path, seen in kinds.items() if set(seen) <= set(wanted)]
        return [functools.reduce(lambda at, name: at[name], path, this) for path in found]

    def one(self, choices):
        return self.draw(st.sampled_from(choices))

    def section(self):
        return self.one(self.sections)

    def map(self):
        if not self.maps or self.draw(st.booleans()):
            one = pairs(
                self.section(), key=self.one([Int8ub, Int16ul, Int32ub]), value=self.one([Int8ub, Int32sb])
            )
            repeated = self.one(["first", "last"])
            self.maps.append(self.one([one, lines(self.section(), "=", ";", repeated=repeated)]))
        return self.one(self.maps)

    def headers(self):
        """Of a map, or of one in a structure."""
        return self.one(
            [
                self.map,
                lambda: protobuf(self.section())[self.one([1, 2, 300])],
                lambda: tlv(self.section(), Int8ub, Int16ul, names={1: "a", 2: "to"}),
                lambda: tlv(self.section(), Int8ub, Int16ul, names={1: "a"})[2],
                lambda: self.one([msgpack, json])(self.section()),
                lambda: self.one([msgpack, json])(self.section())[self.one(["to", 1])],
                lambda: thrift(self.section(), self.one(["binary", "compact"]))[self.one([1, 3])],
                lambda: blocks(self.section(), align=self.one([1, 4]), front=self.one([0, 3]))[1],
            ]
        )()

    def view(self, depth=0):
        kinds = ["this", "text", "item", "step", "constant", "decimal", "table"]
        kinds += ["structure", *(["split", "first"] if depth < 2 else [])]
        kind = self.one(kinds)
        if kind == "split":
            parts = self.draw(st.integers(1, 3))
            return split(self.view(depth + 1), self.one(["a", "=", "\0"]), parts)[
                self.draw(st.integers(0, parts - 1))
            ]
        if kind == "first":
            return first(*(self.view(depth + 1) for _ in range(self.draw(st.integers(1, 3)))))
        if kind == "structure":
            return self.structure()
        if kind == "decimal":
            return decimal(self.number())
        if kind == "table":
            return table(self.number(), {0: "none", 1: "a", 255: "all"}, self.one([None, "op"]))
        if kind == "item":
            return self.map()[self.one(["", "a", "to"])]
        if kind == "step":
            some = [hessian2_strings(self.section(), 2), hessian_fields(self.section(), "b", "a")]
            some.append(step(some[0].step, self.section(), count=2))
            return self.one(some)[self.draw(st.integers(0, 1))]
        return "fixed" if kind == "constant" else self.section() if kind == "this" else text(self.section())

    def some_of_the_request(self):
        most = self.draw(st.lists(st.integers(1, 60), max_size=2, unique=True))
        return [FromRequest(self.view(), max=one, whole=self.draw(st.booleans())) for one in most]

    def computed(self):
        """An integer of the request's that no field is."""
        return FromRequest(
            self.one(
                [
                    lambda: self.one(self.numbers) & 7,
                    lambda: number(self.view()),
                    lambda: number(self.view()) * 2 + (self.one(self.numbers) & 255),
                    lambda: table(self.number(), {0: 1, 1: 7, 255: 100}, 3),
                    lambda: table(self.section(), {"": 1, "a": 7}, 3),
                    self.condition,
                ]
            )()
        )

    def structure(self):
        """Something in one, shared with other views or not."""
        if not self.structures or self.draw(st.booleans()):
            makers = [
                (protobuf, [(1,), (2, 1), (3, "a")]),
                (lambda section: tlv(section, Int8ub, Int16ul), [(1,), (2, 1)]),
                (lambda section: thrift(section, "binary"), [(1,), (2, 1), (3, "a")]),
                (lambda section: thrift(section, "compact"), [(1,), (2, 1), (3, "a")]),
                (blocks, [(1, "a"), (1, ""), (2, "to")]),
                (msgpack, [("a",), ("to", "a"), ("b", 1)]),
                (json, [("a",), ("to", "a"), ("b", 1)]),
                (ber, [(0,), (1, 0), ("04",), (1, "30", 0), (0, "tag")]),
            ]
            make, paths = self.one(makers)
            self.structures.append((make(self.section()), paths))
        view, paths = self.one(self.structures)
        return functools.reduce(lambda at, key: at[key], self.one(paths), view)

    def arguments(self):
        array = self.one([msgpack, json])(self.section())
        views = lambda: [self.view(), number(self.view())]  # noqa: E731  # drawn where it is chosen
        return self.one([lambda: array, lambda: array["a"], views])()

    def maybe(self, make):
        return make() if self.draw(st.booleans()) else None

    def number(self):
        field = self.one(self.numbers)
        return self.one([field, field & 7, field == 3, (field & 255) * 2])

    def condition(self):
        """By what stands in texts, alone and with fields."""
        views = [text(self.section()), self.map()["a"], hessian2_strings(self.section(), 2)[0]]
        view = self.one([*views, self.structure()])
        found = self.one(
            [view == "a", view != "", starts(view, "a"), isin(view, {"", "a"}), number(view) == 1]
        )
        return self.one([found, ~found, found & (self.one(self.numbers) == 1), found | (self.number() > 2)])

    def kinds(self, answer):
        """An answer is one whatever is found; only requests are of other kinds."""
        found = {"response": answer}
        if self.draw(st.booleans()):
            found = {name: ~answer & self.condition() for name in ("oneway", "heartbeat", "drain")}
            found["response"] = answer & (self.one(self.numbers) >= 0) | answer
        return found

    def all(self):
        found = {name: self.maybe(self.view) for name in ("service", "method", "version", "group")}
        found["headers"] = self.maybe(self.headers)
        found["answer_headers"] = self.maybe(self.headers)
        found["arguments"] = self.maybe(self.arguments)
        found |= {name: self.maybe(self.condition) for name in ("last", "more")}
        found["timeout"] = self.one(
            [
                lambda: 0,
                self.number,
                lambda: number(self.view()),
                lambda: number(self.view()) * 2 + (self.one(self.numbers) & 255),
            ]
        )()
        entries = {0: Status.OK, 3: Status.OK, 7: Status.TIMEOUT}
        words = {"": Status.OK, "a": Status.DENIED}
        statuses = [
            lambda: table(self.number(), entries, Status.INTERNAL),
            lambda: table(number(self.map()["a"]), entries, Status.INTERNAL),
            lambda: table(number(self.structure()), entries, Status.INTERNAL),
            lambda: table(self.section(), words, Status.INTERNAL),
        ]
        found["status"] = self.maybe(self.one(statuses))
        conditions = [
            lambda: (),
            self.number,
            lambda: text(self.section()) == "a",
            lambda: self.map()["a"] == "",
            self.condition,
            lambda: (self.condition(), self.number()),
        ]
        found["app_error"] = self.one(conditions)()
        return {name: one for name, one in found.items() if one is not None}


@st.composite
def formats(draw):
    """Kind 1: a request with a random body; 2: an answer with a text. Any names, any order that compiles.

    Where more is talked about, ids are no integers, frames end with a checksum, begin with a greeting...
    """
    odd = draw(st.permutations([*ODD, "kind", "id", "body", "text"]))
    names = itertools.chain(odd, (f"f{i}" for i in itertools.count()))
    kind, number, body, text = itertools.islice(names, 4)
    request = Grower(draw, names, kind, this[body]).struct_of_fields()
    talk = Talk(draw, kind, number, body, text) if draw(st.booleans()) else None
    answer = Struct(text / Prefixed(Int16ub, GreedyBytes)) if talk is None else talk.answer()
    cases = {1: request, 2: answer}
    integer = draw(st.sampled_from([Int8ub, Int16ul, Int32ub, Int64ub, BytesInteger(5), UVar(2), UVar(10)]))
    id_fields, more = [number / integer], {"id": this[number]}
    if talk is not None:
        ways = [lambda: (id_fields, more), talk.id, talk.numbers]
        id_fields, more = draw(st.sampled_from(ways))()
        more = {**more, **talk.mode()}
        if "greeting" in more:
            cases[GREETS] = talk.words()
        if talk.ends:
            cases[ENDS] = talk.ending()
    fields = [kind / Int8ub, body / Switch(this[kind], cases, default=Error)]
    last = talk is not None and talk.ends  # nothing can stand behind it
    at = draw(st.integers(0, 1 if last else 2))
    fields[at:at] = id_fields
    meanings = Meanings(draw, Struct(*fields))
    repeated = [*meanings.some_of_the_request(), ErrorText(before=b"<", after=b">")]
    if draw(st.booleans()):
        repeated = [
            b"+",
            Counted(draw(st.sampled_from([Int16ub, Int16ul, Int32ub, UVar(2), UVar(5)])), *repeated),
        ]
    asks, acks, said_error = ({kind: 2, body: {text: one}} for one in (b"", b"", repeated))
    if talk is not None:
        asks, acks = talk.said(2, b"", asks=True), talk.said(2, b"")
        varint = talk.varint_of(meanings.varints)
        computed = meanings.computed() if talk.computes else 0
        said_error = talk.said(2, repeated, talk.kept(), varint, computed)
    if talk is not None and not last and draw(st.booleans()):
        field, more["checksum"] = talk.checksum(next(names))
        fields.append(field)
    wire = WireFormat(
        Struct(*fields),
        replies=Replies(
            error=lambda status, variant: {**said_error, **variant},
            heartbeat=lambda variant: {**asks, **variant},
            ack=lambda variant: {**acks, **variant},
        ),
        **meanings.kinds((this[kind] == 2) | (this[kind] == ENDS)),
        **more,
        **{**meanings.all(), **(talk.meaning() if talk is not None else {})},
    )
    return wire, (body, text)


# What is no word of a declaration, or has tests that draw it in another way.
NOT_DRAWN = {
    *("Codec", "Frame", "Message", "NativeCodec", "Peer", "Protocol", "PythonCodec", "Reply", "Wire"),
    *("Measure", "Step"),  # of an author's own functions in C
}


def drawing():
    """What random declarations are drawn by."""
    here = ast.parse(Path(__file__).read_text("utf-8")).body
    found = [one for one in here if getattr(one, "name", None) in {"Grower", "Meanings", "formats"}]
    return [node for one in [*found, ast.parse(inspect.getsource(drawn))] for node in ast.walk(one)]


def test_random_declarations_are_made_of_all_words():
    """A word that is new is drawn, or has a reason not to be."""
    named = {node.id for node in drawing() if isinstance(node, ast.Name)}
    assert set(vocabulary) - named == NOT_DRAWN


# What a format says besides that is drawn by tests of its own.
NOT_SAID = {"separate", "reserved_ids"}  # say nothing of a frame
# Arguments of words, likewise.
OF_WORDS = {
    "FromPeer": {"whole"},  # as of FromRequest
    "Replies": {
        "optional_drain",
        "drain",
        "encoding",
    },  # of listeners; test_from_request.py; this file's HEAD
    "ErrorText": {"count", "units"},  # test_counted.py, test_text_room.py
    "Turn": {"option", "goes_with"},  # what optional() says
    "crc16": {"variant", "digits", "skip"},
    # test_checksums.py, test_sums_in_digits.py
    **{one: {"digits", "skip"} for one in ("adler32", "crc32", "crc32c", "sum16", "sum32", "sum8")},
}


def test_random_declarations_give_words_all_that_they_take():
    """Of what may be left out; an argument that is new is drawn, or has a reason not to be."""
    said = collections.defaultdict(set)
    for node in drawing():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            said[node.func.id] |= {one.arg for one in node.keywords}
    left = {}
    for word in set(vocabulary) - NOT_DRAWN - {"WireFormat"}:
        one = getattr(protokit.wire, word)
        if inspect.isroutine(one) or inspect.isclass(one):
            may = inspect.signature(one).parameters.values()
            names = {p.name for p in may if p.kind is p.KEYWORD_ONLY or p.default is not p.empty}
            if missing := names - said[word] - {"default", "value", "values", "when", "fields"}:
                left[word] = missing
    assert left == OF_WORDS


def test_random_declarations_say_all_that_a_format_can():
    """A keyword that is new is drawn, or has a reason not to be; so are those of a greeting."""
    said = {node.arg for node in drawing() if isinstance(node, ast.keyword)}
    said |= {node.value for node in drawing() if isinstance(node, ast.Constant)}
    keywords = set(inspect.signature(WireFormat.__init__).parameters) - {"self", "declaration"}
    assert keywords - said == NOT_SAID
    assert set(inspect.signature(Greeting).parameters) - said == set()


def asked(wire, data):
    """Where the engine says a request wants to go."""
    try:
        one = native.request(wire.address, data)
    except RemoteProtocolError:
        return "malformed"
    return (one.service, one.method, one.version, one.group, one.timeout_ms, dict(one.headers))


def asked_reference(wire, data):
    try:
        one = wire.message(data)
    except RemoteProtocolError:
        return "malformed"
    return (one.service, one.method, one.version, one.group, one.timeout_ms, dict(one.headers))


def answered_headers(wire, data):
    """Those that the engine finds in an answer."""
    if KINDS[native.frame(wire.address, data, LIMIT).kind] != "response":
        return {}
    try:
        return dict(native.headers(wire.address, data))
    except RemoteProtocolError:
        return {}


def headers_of_answer(wire, data):
    message = wire.message(data) if wire.kind(wire.parse(data)[0]) == "response" else None
    return dict(message.headers) if message is not None and message.kind == "response" else {}


def verdict(wire, data):
    """What the engine says: a size, or why not."""
    message = native.frame(wire.address, data, LIMIT)
    if message.result != 0:
        return message.result
    return (KINDS[message.kind], message.size, message.id, message.status)


def reference(wire, data):
    try:
        fields, size = wire.parse(data)
    except EOFError:
        return 1
    except RemoteProtocolError:
        return -1
    with contextlib.suppress(RemoteProtocolError):  # of a text; the frame is right
        message = wire.describe(fields, size)
        return (message.kind, message.size, engine_id(wire, message.id), message.status)
    return (wire.kind(fields), size, engine_id(wire, wire.id_of(fields)), Status.OK)


def engine_id(wire, found):
    """The engine has no bytes for an id that is not there."""
    return b"" if found is None and wire.meaning.named else found


@pytest.mark.slow
@settings(QUICK, max_examples=many(300))
@given(st.data())
def test_random_declarations_agree_with_construct(data):
    wire, (body, text) = data.draw(formats())
    whole = data.draw(frames(wire))
    event("built")
    expected = reference(wire, whole)
    assert expected == verdict(wire, whole)
    assert wire.build(wire.parse(whole)[0]) == whole
    if expected[0] in {"request", "oneway"}:
        assert asked(wire, whole) == asked_reference(wire, whole)
    if expected[0] in {"request", "oneway", "response"}:
        m, fields = wire.meaning, wire.parse(whole)[0]
        says = [bit for bit, one in zip((1, 2), (m.last, m.more), strict=True) if wire._holds(one, fields)]
        assert native.frame(wire.address, whole, LIMIT).says == sum(says)
        assert answered_headers(wire, whole) == headers_of_answer(wire, whole)
        cuts = data.draw(st.sets(st.integers(1, len(whole)), max_size=9)) - {len(whole)}
        event(f"fronts: {check_front(wire, whole, sorted(cuts)) > 0}")
    for cut in range(1, min(len(whole), 60)):
        assert verdict(wire, whole[:cut]) != 0
        message = native.frame(wire.address, whole[:cut], LIMIT)
        assert message.result == 1, (cut, message)
        assert cut < message.need <= len(whole)
    bad = data.draw(spoiled(st.just(whole)))
    if not bad:
        reject()
    if native.has_ended(whole) and data.draw(st.booleans()):
        bad = native.sent_by("server", bad, ended=True)
    got, wanted = verdict(wire, bad), reference(wire, bad)
    if isinstance(got, tuple) or isinstance(wanted, tuple):
        assert got == wanted
        if got[0] in {"request", "oneway"}:
            assert asked(wire, bad[: got[1]]) == asked_reference(wire, bad)
    written = wire.meaning.named.write(9) if wire.meaning.named else 9
    reply = native.error(wire.address, Status.TIMEOUT, written, 0, b"why not")
    answer = wire.message(reply)
    assert answer.id == written
    assert answer.fields[body][text].endswith(b"<why not>")
    if wire.meaning.named and expected[2]:
        changed = native.patch_id(wire.address, whole, written)
        assert (wire.id_of(wire.parse(changed)[0]), native.patch_id(wire.address, changed, expected[2])) == (
            written,
            whole,
        )
    if expected[0] == "request" and expected[2] != b"":
        seen, keeps = native.frame(wire.address, whole), native.keep(wire.address, whole)
        reply = native.error(wire.address, Status.TIMEOUT, seen.id, seen.context, b"why not", keeps)
        fields = wire.parse(whole)[0]
        variant = next((one for one in wire.variants if one.items() <= fields.items()), wire.variants[0])
        values = said(wire.replies.error(Status.TIMEOUT, variant), wire.parts, fields, b"why not")
        if wire.meaning.id:  # one that stands in a view is put there again
            ((asked_by,), *_), ((answered,), *_) = wire.meaning.id, wire.meaning.ids(answers=True)
            assert reply == wire.build({answered: fields[asked_by], **values})
        cut = data.draw(st.integers(1, len(whole)))  # refused there: what has come is repeated, or less
        keeps = native.keep(wire.address, whole, cut)
        wire.message(native.error(wire.address, Status.TIMEOUT, written, seen.context, b"why not", keeps))


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
    assert message.fields.payload == b'{"why": "say \\u0022no\\u0022\\u000a' + b"n" * 300 + b'"}'


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
            "checksum: this.small is an integer",
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
            "checksum: this.uvar is an integer .UVar., and an integer of fixed width is needed",
        ),
        ({"id": this.id, "response": lambda frame: 1}, "response: a lambda"),
        (
            {"id": this.id, "checksum": crc32(this.small, over="before")},
            "small: it has 1 bytes, and a crc32 is an integer of 4",
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
        (["c" / Int8ub], this.c, {"c": 0, "d": kept(this.c)}, "NO_SERVICE: d is no field of that frame"),
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
