"""Shapes: what a frame looks like once its deciding fields are known.

Most formats are a fixed header, whose fields decide what is there, and sections whose lengths stand in it.
For those all decisions are made while compiling: a tree of tests on bytes at fixed places, and at each
leaf a shape with everything else at known offsets. The engine walks the tree and reads the shape; a
frame that is cut, wrong, or of a part of the format that has no shape is run by the program instead,
which is the same for all frames. So shapes only make right frames fast.

Where no shape is found so, one section may lead: one of any size (a name) in front of fields that are
read. Their places are counted as if it were empty, and its size is added when a frame is read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from protokit import native
from protokit.errors import DeclarationError
from protokit.model import Status
from protokit.wire import views
from protokit.wire.expressions import (
    FUNCTIONS,
    Binary,
    Expression,
    Field,
    FieldPath,
    Looked,
    Not,
    Sent,
    readings_of,
)
from protokit.wire.nodes import Bits, Branch, Choice, Condition, Integer, Literal, Node, Section

if TYPE_CHECKING:
    from collections.abc import Callable

    from protokit.wire.program import Meaning

LEAF = 0x80000000
NOWHERE = 0xFFFFFFFF
SECTIONS = 6
_MOST = 500  # tests and shapes of one format
_BEHIND, _LESS = 16, 32  # PK_PLACE_*
_COMPARE = {"EQ": 0, "LT": 1, "LE": 2, "GT": 3, "GE": 4}
_MIRRORED = {"EQ": "EQ", "NE": "NE", "LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE"}
_FORMS = {
    (0, False, False): 0,
    (1, False, False): 1,
    (2, False, False): 2,
    (4, False, False): 3,
    (8, False, False): 4,
    (8, False, True): 4,
    (2, False, True): 5,
    (4, False, True): 6,
}
_KINDS = {"request": 1, "oneway": 2, "response": 3, "heartbeat": 4, "ack": 5, "drain": 6}


class _NoShapeError(Exception):
    """This part of the format is left to the program."""


@dataclass(frozen=True)
class Place:
    """An integer at a fixed offset; ``mask`` and ``shift`` for bit fields; ``behind`` the leading section."""

    offset: int = 0
    width: int = 0
    little: bool = False
    signed: bool = False
    mask: int = 0
    shift: int = 0
    behind: bool = False

    def packed(self, flags: int = 0) -> bytes:
        """For the engine, with flags; bit fields have no such form."""
        if self.mask:
            raise _NoShapeError
        form = _FORMS.get((self.width, self.little and self.width > 1, self.signed))
        if form is None:
            form = 8 | int(self.little) | 2 * int(self.signed)
        form |= _BEHIND * self.behind | flags
        return struct.pack("=HBB", self.offset, self.width, form)


@dataclass(frozen=True)
class _Part:
    """A section: its size is a field, less that of the leading section or not, and a constant."""

    path: FieldPath
    size: Place | None
    less: bool
    add: int


@dataclass(frozen=True)
class _State:
    """What is known on the way to a leaf."""

    offset: int = 0
    trailer: int = 0
    fields: dict[FieldPath, Place] = field(default_factory=dict)
    behind: dict[FieldPath, int] = field(default_factory=dict)  # in the trailer
    sections: tuple[_Part, ...] = ()
    equal: dict[Place, int] = field(default_factory=dict)
    unequal: frozenset[tuple[Place, int]] = frozenset()
    led: bool = False  # the leading section was passed
    told: frozenset[FieldPath] = frozenset()  # sections of which it is known whether they can be read
    hidden: frozenset[FieldPath] = frozenset()  # those that cannot


@dataclass(frozen=True)
class Lead:
    """The leading section: where its size stands, and what is added to it; where it begins."""

    path: FieldPath
    size: Place
    add: int
    at: int


@dataclass
class Tree:
    """Tests and leaves, packed. ``root`` is NOWHERE where the format has no shape.

    Where the side that sent a frame decides something, ``root`` is of clients' frames.
    """

    root: int = NOWHERE
    server_root: int | None = None  # of servers' frames, where they have others
    tests: list[bytes] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    tested: int = 0
    lead: Lead | None = None

    def packed_lead(self) -> bytes:
        """For the engine; all zeros where there is none."""
        if self.lead is None:
            return bytes(12)
        return self.lead.size.packed() + struct.pack("=iI", self.lead.add, self.lead.at)


class _Maker:
    def __init__(
        self, nodes: tuple[Node, ...], meaning: Meaning, own: list[FieldPath], *, keeps: bool
    ) -> None:
        self.nodes = nodes
        self.meaning = meaning
        self.own = own if keeps else []
        self.tree = Tree()
        self.leads = False  # a section may
        self.side: int | None = None  # whose frames it is that shapes are made of, where it decides something

    def make(self, *, sided: bool) -> Tree:
        if sided:  # nothing leads: it would have to be alike for both
            self.side = native.SIDES.index("server")
            self.tree.server_root = self.root()
            self.side = native.SIDES.index("client")
            self.tree.root = self.root()
            return self.tree
        found = []
        for self.leads in (False, True):
            self.tree = Tree()
            self.tree.root = self.root()
            found.append(self.tree)
        return max(found, key=lambda tree: len(tree.leaves))

    def root(self) -> int:
        return self.attempt(lambda: self.walk(list(self.nodes), _State()))

    def attempt(self, make: Callable[[], int]) -> int:
        try:
            return make()
        except _NoShapeError:
            return NOWHERE

    # The layout.

    def walk(self, nodes: list[Node], state: _State) -> int:
        if len(self.tree.tests) + len(self.tree.leaves) > _MOST:
            raise _NoShapeError
        if not nodes:
            return self.decide(self.meaning.greeting, state, _nowhere, self.drain)
        node, rest = nodes[0], nodes[1:]
        if isinstance(node, Integer | Bits):
            return self.walk(rest, self.fixed(node, state))
        if isinstance(node, Literal):
            return self.literal(node, rest, state)
        if isinstance(node, Section) and node.path in self.meaning.id and not state.sections:
            return self.walk(rest, self.id(node, state))
        if isinstance(node, Section) and self.leads and not state.led:
            return self.walk(rest, self.lead(node, state))
        if isinstance(node, Section):
            return self.walk(rest, self.section(node, state))
        if isinstance(node, Condition):
            return self.decide(node.test, state, lambda known: self.walk(rest, known), _nowhere)
        if isinstance(node, Branch):
            return self.decide(
                node.test,
                state,
                lambda known: self.walk([*node.then, *rest], known),
                lambda known: self.walk([*node.otherwise, *rest], known),
            )
        if isinstance(node, Choice):
            return self.choice(node, list(node.cases), rest, state)
        raise _NoShapeError

    def fixed(self, node: Integer | Bits, state: _State) -> _State:
        if state.sections:  # behind the sections: only its size matters, and where a checksum stands
            behind = dict(state.behind)
            if isinstance(node, Integer):
                behind[node.path] = -1 if node.little else state.trailer  # no shape sums little endian
            else:
                behind |= {path: -1 for path, _, _ in node.fields}
            return replace(state, trailer=state.trailer + node.width, behind=behind)
        fields = dict(state.fields)
        if isinstance(node, Integer):
            fields[node.path] = Place(state.offset, node.width, node.little, node.signed, behind=state.led)
        else:
            for path, shift, size in node.fields:
                mask = (1 << size) - 1
                fields[path] = Place(state.offset, node.width, mask=mask, shift=shift, behind=state.led)
        return replace(state, offset=state.offset + node.width, fields=fields)

    def literal(self, node: Literal, rest: list[Node], state: _State) -> int:
        if state.sections:
            raise _NoShapeError
        steps = [node.data[i : i + 8] for i in range(0, len(node.data), 8)]

        def step(index: int, known: _State) -> int:
            if index == len(steps):
                return self.walk(rest, known)
            part = steps[index]
            place = Place(known.offset, len(part), behind=known.led)
            after = replace(known, offset=known.offset + len(part))
            value = int.from_bytes(part, "big")
            if value >= 2**63:
                value -= 2**64
            return self.test(place, "EQ", value, lambda: step(index + 1, after), lambda: NOWHERE)

        return step(0, state)

    def section(self, node: Section, state: _State) -> _State:
        if state.trailer or len(state.sections) == SECTIONS:
            raise _NoShapeError
        place, less, add = self.linear(node.length, state)
        return replace(state, sections=(*state.sections, _Part(node.path, place, less, add)))

    def lead(self, node: Section, state: _State) -> _State:
        place, less, add = self.linear(node.length, state)
        if place is None or less:
            raise _NoShapeError
        lead = Lead(node.path, place, add, state.offset)
        if self.tree.lead not in {None, lead}:
            raise _NoShapeError
        self.tree.lead = lead
        return replace(state, led=True)

    def id(self, node: Section, state: _State) -> _State:
        """An id of fixed size is part of the header."""
        named = self.meaning.named
        if not (named and named.fixed) or not isinstance(node.length, int) or node.path in self.own:
            raise _NoShapeError
        fields = {**state.fields, node.path: Place(state.offset, node.length, behind=state.led)}
        return replace(state, offset=state.offset + node.length, fields=fields)

    def linear(self, length: Expression, state: _State) -> tuple[Place | None, bool, int]:
        """A field plus a constant; of what stands behind the leading section, less its field or not."""
        terms, constant = self.sum_of(length, state)
        less = 0 if self.tree.lead is None or not state.led else terms.pop(self.tree.lead.size, 0)
        if less not in {0, -1} or list(terms.values()) not in ([], [1]) or (less and not terms):
            raise _NoShapeError
        return next(iter(terms), None), bool(less), constant

    def sum_of(self, value: Expression, state: _State) -> tuple[dict[Place, int], int]:
        """How often each field counts in a sum, and the rest of it."""
        if isinstance(value, Field) and value.path in state.fields:
            return {self.place(value.path, state): 1}, 0
        if isinstance(value, Binary) and value.op in {"ADD", "SUB"}:
            sign = 1 if value.op == "ADD" else -1
            terms, constant = self.sum_of(value.left, state)
            others, other = self.sum_of(value.right, state)
            both = {place: terms.get(place, 0) + sign * others.get(place, 0) for place in {**terms, **others}}
            return {place: count for place, count in both.items() if count}, constant + sign * other
        return {}, self.known(value, state)

    def known(self, value: Expression, state: _State) -> int:
        """What must be so after the tests that lead here."""
        if isinstance(value, int):
            return value
        if isinstance(value, Not):
            return int(not self.known(value.operand, state))
        if isinstance(value, Binary) and value.op == "AND":
            sides = [self.attempted(side, state) for side in (value.left, value.right)]
            if 0 in sides:
                return 0
            if None not in sides:
                return int(FUNCTIONS["AND"](*sides))
            raise _NoShapeError
        if isinstance(value, Binary) and value.op in {*_COMPARE, "NE"}:
            place, op, constant = self.atom(value, state)
            if place is None:
                return constant
            there = state.equal.get(place)
            if there is not None:
                return int(_holds(op, there, constant))
            if op in {"EQ", "NE"} and (place, constant) in state.unequal:
                return int(op == "NE")
            raise _NoShapeError
        if isinstance(value, Binary):
            return int(FUNCTIONS[value.op](self.known(value.left, state), self.known(value.right, state)))
        place, constant = self.operand(value, state)
        if place is None:
            return constant
        if place in state.equal:
            return state.equal[place]
        raise _NoShapeError

    def attempted(self, value: Expression, state: _State) -> int | None:
        """As ``known``; None where it is not."""
        try:
            return self.known(value, state)
        except _NoShapeError:
            return None

    def place(self, path: FieldPath, state: _State) -> Place:
        if path not in state.fields or state.fields[path].mask:
            raise _NoShapeError
        return state.fields[path]

    def choice(
        self, node: Choice, cases: list[tuple[int, tuple[Node, ...]]], rest: list[Node], state: _State
    ) -> int:
        if not cases:
            if node.default is None:
                return NOWHERE
            return self.walk([*node.default, *rest], state)
        (value, case), *others = cases
        return self.decide(
            Binary("EQ", node.key, value),
            state,
            lambda known: self.walk([*case, *rest], known),
            lambda known: self.choice(node, others, rest, known),
        )

    # Decisions.

    def decide(
        self, test: Expression, state: _State, yes: Callable[[_State], int], no: Callable[[_State], int]
    ) -> int:
        if isinstance(test, int):
            return self.attempt(lambda: (yes if test else no)(state))
        if isinstance(test, Not):
            return self.decide(test.operand, state, no, yes)
        if isinstance(test, Binary) and test.op in {"AND", "OR"} and not isinstance(test.right, int):

            def right(known: _State) -> int:
                return self.decide(test.right, known, yes, no)

            if test.op == "AND":
                return self.decide(test.left, state, right, no)
            return self.decide(test.left, state, yes, right)
        place, op, value = self.atom(test, state)
        if op == "NE":
            op, yes, no = "EQ", no, yes
        if place is None:  # both sides are known
            return self.attempt(lambda: (yes if value else no)(state))
        return self.compare(place, op, value, state, yes, no)

    def atom(self, test: Expression, state: _State) -> tuple[Place | None, str, int]:
        """(place, op, constant); a place of None: the constant is the answer."""
        if not isinstance(test, Binary) or test.op not in {*_COMPARE, "NE"}:
            place, constant = self.operand(test, state)
            return (None, "", int(constant != 0)) if place is None else (place, "NE", 0)
        left, left_value = self.operand(test.left, state)
        right, right_value = self.operand(test.right, state)
        op = test.op
        if left is None and right is not None:
            left, left_value, right, right_value, op = right, right_value, left, left_value, _MIRRORED[op]
        if right is not None:
            raise _NoShapeError
        if left is None:
            return None, "", int(_holds(op, left_value, right_value))
        return left, op, right_value

    def operand(self, value: Expression, state: _State) -> tuple[Place | None, int]:
        if isinstance(value, int):
            return None, value
        if isinstance(value, Sent) and self.side is not None:
            return None, self.side
        if isinstance(value, Field):
            if value.path in state.behind or value.path in self.sections(state):
                raise _NoShapeError
            place = state.fields.get(value.path)
            return (None, 0) if place is None else (place, 0)
        if isinstance(value, Binary) and value.op == "AND" and isinstance(value.right, int):
            place, constant = self.operand(value.left, state)
            if place is None:
                return None, constant & value.right
            if place.mask or value.right <= 0:
                raise _NoShapeError
            return replace(place, mask=value.right), 0
        raise _NoShapeError

    def sections(self, state: _State) -> list[FieldPath]:
        """All that the frame has so far, the leading one too."""
        lead = [self.tree.lead.path] if state.led and self.tree.lead is not None else []
        return lead + [one.path for one in state.sections]

    def compare(
        self,
        place: Place,
        op: str,
        value: int,
        state: _State,
        yes: Callable[[_State], int],
        no: Callable[[_State], int],
    ) -> int:
        known = state.equal.get(place)
        whole = state.equal.get(replace(place, mask=0, shift=0))
        if known is None and whole is not None:
            known = whole >> place.shift & place.mask
        if known is not None:
            return self.attempt(lambda: (yes if _holds(op, known, value) else no)(state))
        if op == "EQ" and (place, value) in state.unequal:
            return self.attempt(lambda: no(state))
        then, otherwise = state, state
        if op == "EQ":
            then = replace(state, equal={**state.equal, place: value})
            otherwise = replace(state, unequal=state.unequal | {(place, value)})
        return self.test(place, op, value, lambda: yes(then), lambda: no(otherwise))

    def test(self, place: Place, op: str, value: int, yes: Callable[[], int], no: Callable[[], int]) -> int:
        mask = place.mask << place.shift
        if value >= 2**63:
            value -= 2**64
        if (mask and op != "EQ") or place.offset > 0xFFFF:
            raise _NoShapeError
        index = len(self.tree.tests)
        self.tree.tests.append(b"")
        then, otherwise = self.attempt(yes), self.attempt(no)
        if then == otherwise == NOWHERE:
            self.tree.tests[index] = _test(Place(), 0, 0, 0, NOWHERE, NOWHERE)
            return NOWHERE
        plain = replace(place, mask=0, shift=0)
        if not place.behind:
            self.tree.tested = max(self.tree.tested, place.offset + place.width)
        self.tree.tests[index] = _test(plain, _COMPARE[op], mask, value << place.shift, then, otherwise)
        return index

    # Meaning.

    def drain(self, state: _State) -> int:
        m = self.meaning
        return self.decide(m.drain, state, lambda known: self.variant(0, "drain", known), self.heartbeat)

    def heartbeat(self, state: _State) -> int:
        m = self.meaning

        def beats(known: _State) -> int:
            return self.decide(
                m.response,
                known,
                lambda state: self.variant(0, "ack", state),
                lambda state: self.variant(0, "heartbeat", state),
            )

        return self.decide(m.heartbeat, state, beats, self.response)

    def response(self, state: _State) -> int:
        m = self.meaning

        def asks(known: _State) -> int:
            return self.decide(
                m.oneway,
                known,
                lambda state: self.variant(0, "oneway", state),
                lambda state: self.variant(0, "request", state),
            )

        return self.decide(m.response, state, lambda known: self.answer(list(m.app_error), known), asks)

    def answer(self, errors: list[Expression], state: _State) -> int:
        """One that is no application error by its fields; texts are looked at when it comes (``quiet``)."""
        errors = [one for one in errors if value_told(one) is None]
        if not errors:
            return self.variant(0, "response", state)
        return self.decide(errors[0], state, _nowhere, lambda known: self.answer(errors[1:], known))

    def variant(self, index: int, kind: str, state: _State) -> int:
        variants = self.meaning.variants
        if len(variants) == 1 or index == len(variants):
            return self.readable(kind, 0, state)
        test: Expression = 1
        for path, value in variants[index].items():
            equal = Binary("EQ", Field(path), value)
            test = equal if test == 1 else Binary("AND", test, equal)
        return self.decide(
            test,
            state,
            lambda known: self.readable(kind, index, known),
            lambda known: self.variant(index + 1, kind, known),
        )

    def readable(self, kind: str, variant: int, state: _State) -> int:
        """A leaf for each combination of sections that can be read, and cannot."""
        for path, test in self.meaning.readable.items():
            if path in self.own and path not in state.told:
                hidden = state.hidden | {path}
                return self.decide(
                    test,
                    replace(state, told=state.told | {path}),
                    lambda known: self.readable(kind, variant, known),
                    lambda known, hidden=hidden: self.readable(kind, variant, replace(known, hidden=hidden)),  # type: ignore[misc]
                )
        return self.leaf(kind, variant, state)

    def leaf(self, kind: str, variant: int, state: _State) -> int:
        m = self.meaning
        if kind in {"request", "oneway", "response"} and (m.last != 0 or m.more != 0):
            raise _NoShapeError
        if m.asked and kind in {"request", "oneway"}:
            raise _NoShapeError
        paths = m.ids(answers=kind in {"response", "ack"})
        ids = [state.fields[path] for path in paths if path in state.fields]
        behind = {*state.behind, *self.sections(state)}
        if m.id and (len(ids) != 1 or not behind.isdisjoint(paths)):
            raise _NoShapeError
        none = Place()
        request = kind in {"request", "oneway"}
        timeout = none
        if request and not readings_of(m.timeout) and m.timeout != 0:
            timeout = self.single(m.timeout, state)
        status = none
        if kind == "response" and m.status is not None:
            status = self.judged(m.status[0], m.status[1], state)
        kept = [replace(self.place(path, state), signed=False) for path in m.keep]
        if len(kept) > 3:
            raise _NoShapeError
        if request and not set(state.behind).isdisjoint(self.own):
            raise _NoShapeError
        fixed = [state.fields.get(path, none) if request else none for path in self.own]
        checksum, quiet = self.checksum(state), self.quiet(kind, state)
        if state.led and (kept or checksum >= 0 or quiet or any(one.width for one in fixed)):
            raise _NoShapeError
        if state.led and state.hidden:
            raise _NoShapeError
        lead = self.tree.lead if state.led else None
        packed = struct.pack(
            "=IHBBIiIBBBB",
            state.offset,
            ids[0].offset if ids else 0,
            _KINDS[kind],
            len(state.sections),
            state.trailer,
            checksum,
            variant,
            int(m.separate) | 2 * int(bool(ids) and ids[0].little),
            quiet,
            len(kept),
            self.absent(state) if request else 0,
        )
        packed += b"".join(one.packed() for one in [timeout, status, *(kept + [none] * 3)[:3]])
        for one in state.sections:
            slot = self.slot(one.path, request=request and one.path not in state.hidden)
            packed += (one.size or none).packed(_LESS * one.less) + struct.pack("=ii", one.add, slot)
        packed += (none.packed() + struct.pack("=ii", 0, -1)) * (SECTIONS - len(state.sections))
        for place in (*fixed, none, none)[:2]:
            packed += struct.pack("=HBB", place.offset, place.width, 0)
        slot = -1 if lead is None else self.slot(lead.path, request=request)
        packed += struct.pack("=BBbb", state.led, bool(ids and ids[0].behind), slot, 0)
        self.tree.leaves.append(packed)
        return LEAF | (len(self.tree.leaves) - 1)

    def single(self, value: Expression, state: _State) -> Place:
        place, constant = self.operand(value, state)
        if place is None:
            if constant:
                raise _NoShapeError
            return Place()
        if place.mask:
            raise _NoShapeError
        return place

    def judged(self, value: Expression, table: views.Table, state: _State) -> Place:
        """The field that an answer's status is told by; none where it is OK whatever comes."""
        known = self.attempted(value, state)
        if known is None:
            return self.single(value, state)
        if Status(table.entries.get(known, table.default)) is not Status.OK:
            raise _NoShapeError
        return Place()

    def slot(self, path: FieldPath, *, request: bool) -> int:
        return 2 * self.own.index(path) if request and path in self.own else -1

    def absent(self, state: _State) -> int:
        """The own sections that this frame does not have, bit by bit."""
        there = {*state.fields, *self.sections(state)} - state.hidden
        return sum(1 << i for i, path in enumerate(self.own) if path not in there)

    def checksum(self, state: _State) -> int:
        """Where in the trailer; -1 for none."""
        known = {*state.behind, *state.fields}
        there = [one for one in self.meaning.checksums if one.path in known]
        if any(one.digits or one.skip for one in self.meaning.checksums):
            raise _NoShapeError
        if not there:
            return -1
        # CRC-32 over all in front, big endian, the last thing in the frame: what nearly all formats have.
        last = len(there) == 1 and state.behind.get(there[0].path) == state.trailer - 4
        if not last or there[0].over is not None or there[0].sum.name != "crc32":
            raise _NoShapeError
        return state.trailer - 4

    def quiet(self, kind: str, state: _State) -> int:
        """Sections that must be empty, bit by bit, for an answer to be no application error."""
        bits = 0
        for one in self.meaning.app_error if kind == "response" else ():
            told = value_told(one)
            if told is None:  # its fields have told
                continue
            if set(views.sections_of([told.view])) & set(self.meaning.readable):
                raise _NoShapeError
            for i, part in enumerate(state.sections):
                bits |= int(part.path in views.sections_of([told.view])) << i
        return bits


def value_told(condition: Expression) -> views.Same | None:
    """The comparison of a map's value with a text, where that is all of a condition."""
    reading = condition.reading if isinstance(condition, Looked) else None
    return reading if isinstance(reading, views.Same) and isinstance(reading.view, views.Item) else None


def _nowhere(state: _State) -> int:  # noqa: ARG001  # takes the place of a continuation
    return NOWHERE


def _holds(op: str, left: int, right: int) -> bool:
    return {
        "EQ": left == right,
        "NE": left != right,
        "LT": left < right,
        "LE": left <= right,
        "GT": left > right,
        "GE": left >= right,
    }[op]


def _test(place: Place, op: int, mask: int, value: int, yes: int, no: int) -> bytes:
    return place.packed() + struct.pack("=IQqII", op, mask, value, yes, no)


def shapes(
    nodes: tuple[Node, ...], meaning: Meaning, own: list[FieldPath], *, keeps: bool, sided: bool
) -> Tree:
    """The shapes of a format.

    Args:
        nodes: of its layout.
        meaning: what the fields mean.
        own: what a destination is read from, sections and integers, in the order of ``pk_frame.own``.
        keeps: whether ``pk_frame.own`` holds them all; else destinations run the program again.
        sided: whether the side that sent a frame decides something: then each has shapes of its own.
    """
    try:
        return _Maker(nodes, meaning, own, keeps=keeps).make(sided=sided)
    except RecursionError:
        raise DeclarationError(
            "what a frame is, and how it is laid out, goes by too many comparisons one behind the other, "
            "over a hundred; say ranges where there are: (this.type >= 1) & (this.type <= 99)"
        ) from None
