"""Random declarations: a Struct that grows field by field, and what is said of it."""

from __future__ import annotations

import functools
import itertools

from construct import (
    Array,
    BitsInteger,
    BitStruct,
    Bytes,
    BytesInteger,
    Check,
    Const,
    Error,
    Flag,
    GreedyBytes,
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
    Int64sb,
    Int64ub,
    Int64ul,
    Prefixed,
    Rebuild,
    Struct,
    Switch,
    len_,
    this,
)
from drawn import ENDS, GREETS, Talk
from fewer import many
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from protokit import Status
from protokit.wire import (
    Ahead,
    Chunks,
    Counted,
    ErrorText,
    FromRequest,
    Measured,
    Repeat,
    Replies,
    Until,
    UVar,
    WireFormat,
    ber,
    ber_value,
    blocks,
    decimal,
    first,
    hessian2_strings,
    hessian_fields,
    isin,
    json,
    json_value,
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
    "x-y",
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
            *several, last = (self.view(depth + 1) for _ in range(self.draw(st.integers(1, 3))))
            return first(*map(self.read, several), last)
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

    def read(self, view):
        """A view, or in place of a text of its own another one."""
        return text(self.section()) if isinstance(view, str) else view

    def some_of_the_request(self):
        most = self.draw(st.lists(st.integers(1, 60), max_size=2, unique=True))
        return [FromRequest(self.read(self.view()), max=one, whole=self.draw(st.booleans())) for one in most]

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
