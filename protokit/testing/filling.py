"""Values of a frame from its declaration, field by field in the frame's order; ``Filler`` leaves open which.

``cases`` chooses each in turn, ``strategies`` draws them.
"""

from __future__ import annotations

import abc
import contextlib
import copy
import math
import random
from typing import TYPE_CHECKING, Any

import construct

from protokit.errors import ProtokitError
from protokit.native import SIDES
from protokit.testing.solving import satisfy, solve
from protokit.wire import views
from protokit.wire.explain import calculate
from protokit.wire.expressions import Binary, Expression, Field, FieldPath, Not, fields_of, readings_of, show
from protokit.wire.inside import Token
from protokit.wire.laid import measure
from protokit.wire.nodes import (
    Bits,
    Branch,
    Choice,
    ChunkList,
    Condition,
    Delimited,
    Integer,
    Integers,
    Literal,
    Node,
    Peeked,
    Region,
    Repeated,
    Rest,
    Section,
    Varint,
    expression_of,
    walk,
)
from protokit.wire.readings import Number, compared_by
from protokit.wire.repeats import scope
from protokit.wire.sides import SIDE
from protokit.wire.structures import Inside
from protokit.wire.views import leaves
from protokit.wire.vocabulary import ends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protokit.wire import WireFormat

COMPARISONS = {"EQ", "NE", "LT", "LE", "GT", "GE"}
SECTION_MAX = 4096
CHUNKS_MAX = 64
PARTS_MAX = 8
SEEDS = 12
FEW = 255  # bytes that are no reason to choose the fields that announce them


class Unfit(Exception):
    """Values that do not fit together: others are needed. Says of which field, and why."""

    def __init__(self, path: FieldPath = (), why: str = "its values do not fit together") -> None:
        super().__init__(f"{show(path)}: {why}")


def range_of(bits: int, *, signed: bool) -> tuple[int, int]:
    """The least and the greatest of integers of so many bits."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _place(expression: Expression) -> tuple[FieldPath, int] | None:
    """The field and the shift, of ``this.x >> n``; None of all else, and of a whole field."""
    if isinstance(expression, Field):
        return expression.path, 0
    if not isinstance(expression, Binary) or not isinstance(expression.right, int):
        return None
    place = _place(expression.left)
    if place is not None and expression.op == "SHR":
        return place[0], place[1] + expression.right
    return place if expression.op == "AND" else None


def _at_most(expression: Expression) -> float:
    """What an expression comes to at most, where its form says so."""
    if isinstance(expression, int):
        return expression if expression >= 0 else math.inf
    if isinstance(expression, Not):
        return 1
    if not isinstance(expression, Binary):
        return math.inf
    if expression.op in COMPARISONS:
        return 1
    left, right = _at_most(expression.left), _at_most(expression.right)
    if expression.op == "AND":
        return min(left, right)
    if expression.op == "SHR":
        return left
    return {"ADD": left + right, "MUL": left * right}.get(expression.op, math.inf)


class Facts:
    """What a format says about its own fields: which values matter, which count something."""

    def __init__(self, wire: WireFormat, samples: Sequence[bytes]) -> None:
        self.wire = wire
        self.candidates: dict[FieldPath, set[int]] = {}
        self.sizes: dict[FieldPath, FieldPath] = {}
        self.counts: set[FieldPath] = set()
        self.small: set[FieldPath] = set()
        self.chunks: dict[FieldPath, FieldPath] = {}
        self.regions: set[FieldPath] = set()
        self.early: set[FieldPath] = set()  # they decide what is laid out
        self.numbers: set[FieldPath] = set()  # texts that are lengths
        self.rules: dict[
            FieldPath, list[Expression]
        ] = {}  # what must hold, by the last field that it is about
        m = wire.meaning
        for node in walk(wire.nodes):
            self._node(node)
        self._rules(wire.nodes, [], {})
        self.found = self.small - self.early - self.counts - set(self.sizes)  # from what they count
        expressions = [m.response, m.oneway, m.heartbeat, m.drain, m.greeting, m.greeting_refused, *m.forms]
        expressions += m.readable.values()
        for expression in expressions:
            self._compare(expression)
        for variant in m.variants:
            for path, value in variant.items():
                self.candidates.setdefault(path, set()).add(value)
        self.statuses: dict[FieldPath, set[int]] = {}
        if m.status is not None and isinstance(m.status[0], Field):
            self.statuses[m.status[0].path] = set(m.status[1].entries)
        self._maps(samples)

    def most(self, path: FieldPath) -> int:
        """Bytes that a section may have, where more would be refused."""
        named = self.wire.meaning.named
        return named.most if named is not None and path in self.wire.meaning.id else 1 << 30

    def region(self, node: Region, begins: bytes) -> list[bytes]:
        """What may stand in a section that says itself where it ends, and begins so.

        Raises:
            Unfit: nothing is known.
        """
        known = [*node.how.measure.examples, *self.samples.get(node.path, [])]
        found = [one for one in dict.fromkeys(known) if node.how.holds(one) and one.startswith(begins)]
        if not found:
            raise Unfit(node.path, f"no {node.how.measure.name} that begins with {begins.hex()} is known")
        return found

    def _rules(self, nodes: tuple[Node, ...], unless: list[Expression], order: dict[FieldPath, int]) -> None:
        """Conditions, each with the branches in which it is not asked."""
        for node in nodes:
            for path in (
                [one for one, *_ in node.fields] if isinstance(node, Bits) else [getattr(node, "path", ())]
            ):
                order.setdefault(path, len(order))
            if isinstance(node, Branch):
                self._rules(node.then, [*unless, Not(node.test)], order)
                self._rules(node.otherwise, [*unless, node.test], order)
            elif isinstance(node, Choice):
                for key, case in node.cases:
                    self._rules(case, [*unless, Binary("NE", node.key, key)], order)
            elif isinstance(node, Repeated):
                self._rules(node.part, unless, order)
            elif isinstance(node, Condition):
                rule: Expression = node.test
                for one in unless:
                    rule = Binary("OR", one, rule)
                about = fields_of(rule)
                if about and not readings_of(rule) and about <= set(order):
                    self.rules.setdefault(max(about, key=order.__getitem__), []).append(rule)

    def _node(self, node: Node) -> None:  # noqa: PLR0912  # one case a kind
        self._texts(expression_of(node))
        self._bits(expression_of(node))
        if isinstance(node, Section):
            if isinstance(node.length, Field):
                self.sizes[node.length.path] = node.path
            elif not isinstance(node.length, int):
                self._computed(node.length)
        elif isinstance(node, Integers):
            if isinstance(node.count, Field):
                self.counts.add(node.count.path)
            else:
                self.counts.add(node.path)  # how many is asked of the array
                self._computed(node.count)
        elif isinstance(node, ChunkList):
            self.chunks[node.lengths] = node.path
        elif isinstance(node, Region):
            self.regions.add(node.path)
        elif isinstance(node, Repeated):
            self.regions.add(node.path)
            self._compare(node.until or 0)
            self._bits(node.until or 0)
            if isinstance(node.count, Field):
                self.counts.add(node.count.path)
            for expression in (node.added, node.to or 0):
                self._computed(expression)
            for one in walk(node.part):
                self._node(one)
        elif isinstance(node, Condition):
            self._compare(node.test)
        elif isinstance(node, Branch):
            self._compare(node.test)
            self.early |= fields_of(node.test)
        elif isinstance(node, Choice):
            self.early |= fields_of(node.key)
            if isinstance(node.key, Field):
                self.candidates.setdefault(node.key.path, set()).update(value for value, _ in node.cases)

    def _texts(self, expression: Expression) -> None:
        for one in readings_of(expression):
            if isinstance(one.reading, Number) and isinstance(one.view, views.Text):
                self.numbers.add(one.view.path)
                self.candidates.setdefault(one.view.path, set()).update({-1, 0})

    def _bits(self, expression: Expression) -> None:
        """Bits that something looks at by themselves: there, and not there."""
        if isinstance(expression, Not):
            self._bits(expression.operand)
        if not isinstance(expression, Binary):
            return
        place = _place(expression.left)
        if isinstance(expression.right, int) and place is not None and expression.op in {"AND", *COMPARISONS}:
            path, shift = place
            self.candidates.setdefault(path, set()).update({0, expression.right << shift})
        self._bits(expression.left)
        self._bits(expression.right)

    def _computed(self, expression: Expression) -> None:
        if isinstance(expression, Field):
            self.small.add(expression.path)
        elif isinstance(expression, Binary) and not _at_most(expression) <= FEW:
            self._computed(expression.left)
            self._computed(expression.right)

    def _compare(self, expression: Expression) -> None:
        if isinstance(expression, Not):
            self._compare(expression.operand)
        if isinstance(expression, Field):  # a truth value
            self.candidates.setdefault(expression.path, set()).update({0, 1})
        if not isinstance(expression, Binary):
            return
        left, right = expression.left, expression.right
        if isinstance(left, Binary) and left.op == "AND" and isinstance(right, int):
            left = left.left if isinstance(left.left, Field) else left
        if isinstance(left, Field) and isinstance(right, int) and expression.op in COMPARISONS:
            # An equal one and another one: frames that are, and frames that are not.
            near = (
                {right, right + 1} if expression.op in {"EQ", "NE"} else {right - 1, right, right + 1, 0, 1}
            )
            self.candidates.setdefault(left.path, set()).update(near)
        if isinstance(left, Field) and isinstance(right, int) and expression.op == "AND":
            self.candidates.setdefault(left.path, set()).update({0, right})
        for side in (expression.left, expression.right):
            if not isinstance(side, Field) or (expression.op in {"AND", "OR"} and not isinstance(right, int)):
                self._compare(side)

    def _maps(self, samples: Sequence[bytes]) -> None:
        """Sections with meaning: maps by their encoding, texts, and what samples hold."""
        m = self.wire.meaning
        self.maps: dict[FieldPath, tuple[views.Pairs, set[bytes]]] = {}
        self.texts: set[FieldPath] = set()
        self.samples: dict[FieldPath, list[bytes]] = {}
        laid = [expression_of(node) for node in walk(self.wire.nodes)]
        self.compared = m.compared() + compared_by(laid)
        roots = m.destination() + m.looks() + m.views_of_id()
        read = [one.view for expression in laid for one in readings_of(expression)]
        roots += read
        self.laid = set(views.sections_of(read))  # what stands there decides what is laid out
        steps = self.laid | self.regions
        for view in leaves(roots):
            if isinstance(view, views.Item):
                self.maps.setdefault(view.pairs.path, (view.pairs, set()))[1].add(view.key)
            elif isinstance(view, Token):
                self._id(view)
            elif isinstance(view, views.Text):
                self.texts.add(view.path)
            elif isinstance(view, views.FoundText):
                steps.add(view.found.section.path)
            elif isinstance(view, Inside):
                steps.add(view.reads)
                self._structure(view)
        for pairs in (m.headers, m.answer_headers):
            if pairs is not None:
                self.maps.setdefault(pairs.path, (pairs, set(pairs.encoding.keys)))
        for sample in samples:
            try:
                container, _ = self.wire.parse(sample)
            except (ProtokitError, EOFError):
                continue
            for path in steps:
                value = views.value_at(container, path)
                if value is not None and len(value) < 2000:
                    self.samples.setdefault(path, []).append(bytes(value))

    def _id(self, view: Token) -> None:
        """Sections in which an id stands, with others of its kind, or none."""
        named = self.wire.meaning.named
        if named is None:
            return
        found = self.samples.setdefault(view.reads, [])
        for token in (named.write(7), named.write(300), named.longest):
            found.append(view.holding(token))
        found.append(b"")

    def _structure(self, view: Inside) -> None:
        """Sections in which something stands where the view looks, alone and beside what others find."""
        found = self.samples.setdefault(view.reads, [])
        family = view.structure.family
        for text in dict.fromkeys([b"a.B", b"7", b"", *self.compared]):
            with contextlib.suppress(ProtokitError):
                found.append(family.built(view.path, text))
            with contextlib.suppress(ProtokitError):
                found.append(family.put(found[0] if found else b"", view.path, text))


class Filler(abc.ABC):
    """One frame's values.

    Args:
        facts: about the format.
        side: that sends it, where it decides something.

    Attributes:
        values: what was filled in, as ``wire.build`` takes it.
        ahead: of sections whose content was needed for their size: that content.
        open: fields whose value is found from what they count, when that is laid out; their bounds.
        free: other fields, which may be changed as long as what is laid out stays as it is; their bounds.
        held: what has to stay as it is: what was laid out by, and what must hold.
        next: what was said of the bytes that come next.
    """

    def __init__(self, facts: Facts, side: str | None = None) -> None:
        self.facts = facts
        self.values: dict[str, Any] = {} if side is None else {SIDE: SIDES.index(side)}
        self.ahead: dict[FieldPath, Any] = {}
        self.open: dict[FieldPath, tuple[int, int]] = {}
        self.free: dict[FieldPath, tuple[int, int]] = {}
        self.held: list[Expression] = []
        self.told: set[str] = set()  # the numbers in texts that say how long something is
        self.next = b""

    @abc.abstractmethod
    def integer(self, path: FieldPath, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, which is all that its bits can say."""

    @abc.abstractmethod
    def content(self, path: FieldPath, most: int) -> bytes:
        """What a section holds whose size is not known yet: ``most`` bytes at most, or Unfit."""

    @abc.abstractmethod
    def sized(self, node: Section, size: int) -> bytes:
        """What a section of that size holds."""

    @abc.abstractmethod
    def chunks(self, path: FieldPath, count: int) -> list[bytes]:
        """So many chunks."""

    @abc.abstractmethod
    def region(self, node: Region) -> bytes:
        """What a section holds that says itself where it ends."""

    def repeated(self, node: Repeated) -> bytes:
        """Parts that stand one behind the other, each filled as a frame is."""
        made = b""
        outside = len(node.path)
        count = None if node.count is None else calculate(node.count, self.values)
        to = None if node.to is None else calculate(node.to, self.values)
        number = total = 0
        free, held = self.free, self.held
        while number != count and total != to:
            if number == PARTS_MAX:
                raise Unfit(node.path, f"it has more than {PARTS_MAX} parts")
            self._put(node.path, {})
            self.free, self.held = {}, []
            self._fill(node.part)
            for path in [one for one in self.open if one[:outside] == node.path]:
                self._put(path, self.integer(path, *self.open.pop(path)))
            if node.until is not None and number == PARTS_MAX - 1:
                satisfy(node.until, self.values, self.free, self._put, self.held)
            self.free, self.held = free, held
            part = views.value_at(self.values, node.path)
            try:
                made += node.how.built(part, context_of(self.values, node.path))
            except (construct.ConstructError, KeyError, TypeError) as error:
                raise Unfit(node.path, str(error)) from error
            number += 1
            total += calculate(node.added, self.values)
            if node.until is not None and calculate(node.until, self.values):
                break
        return made

    def fill(self, nodes: tuple[Node, ...]) -> None:
        """Fill in what a frame's nodes need.

        Raises:
            Unfit: their values do not fit together.
        """
        try:
            self._fill(nodes)
        except ProtokitError as error:  # of texts that tell how long something is
            raise Unfit((), str(error)) from None
        for path, bounds in self.open.items():  # what they count is not there
            self._put(path, self.integer(path, *bounds))

    def _fill(self, nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            self._node(node)

    def _put(self, path: FieldPath, value: Any) -> None:
        container = self.values
        for name in path[:-1]:
            inner = container.setdefault(name, {})
            if not isinstance(inner, dict):
                return  # the length in front of a Prefixed section: construct writes it
            container = inner
        container[path[-1]] = value

    def _node(self, node: Node) -> None:  # noqa: PLR0912  # one case a kind
        if isinstance(node, Integer):
            self._number(node.path, 8 * node.width, signed=node.signed)
        elif isinstance(node, Bits):
            for path, _, size in node.fields:
                self._number(path, size, signed=False)
        elif isinstance(node, Peeked):
            value = self._number(node.path, 8 * node.width, signed=node.signed)
            del self.free[node.path]
            self.next = value.to_bytes(node.width, "little" if node.little else "big", signed=node.signed)
        elif isinstance(node, Varint):
            self._number(node.path, min(7 * node.bytes, 64), signed=False)
        elif isinstance(node, Section):
            content = self._section(node)
            self._put(node.path, self.next[: len(content)] + content[len(self.next) :])
            self.next = b""
        elif isinstance(node, Integers):
            self._integers(node)
        elif isinstance(node, ChunkList):
            self._put(node.path, self.ahead[node.path])
        elif isinstance(node, Delimited):
            content = self._digits(node.path) or self.content(node.path, node.max)
            if not ends(content, node.delimiter):
                raise Unfit(node.path, "the delimiter is not where its content ends")
            self._put(node.path, content)
        elif isinstance(node, Region):
            self._put(node.path, self.region(node))
            self.next = b""
        elif isinstance(node, Repeated):
            self._put(node.path, self.repeated(node))
        elif isinstance(node, Rest):
            self._put(node.path, self.content(node.path, SECTION_MAX))
        elif isinstance(node, Condition):
            if fields_of(node.test) & set(self.open):
                return  # whether it holds shows in the end
            if not satisfy(node.test, self.values, self.free, self._put, self.held):
                raise Unfit(node.path, "its condition does not hold")
            self.held.append(node.test)
        elif isinstance(node, Branch):
            if self._laid(node.test):
                self.held[-1] = node.test  # any value that is not 0
                self._fill(node.then)
            else:
                self._fill(node.otherwise)
        elif isinstance(node, Choice):
            key = self._laid(node.key)
            case = dict(node.cases).get(key, node.default)
            if case is None:
                raise Unfit(node.path, f"there is no case {key}")
            self._fill(case)
        else:
            assert isinstance(node, Literal)

    def _laid(self, expression: Expression) -> int:
        """What something is laid out by, which stays so."""
        found = calculate(expression, self.values)
        self.held.append(Binary("EQ", expression, found))
        return found

    def _number(self, path: FieldPath, bits: int, *, signed: bool) -> int:
        """Put an integer's value; what it is, where what counts it or is asked of it is known."""
        low, high = range_of(bits, signed=signed)
        facts = self.facts
        section = facts.sizes.get(path)
        if path in facts.found:
            self.open[path] = (low, high)
            self._put(path, 0)
            return 0
        if section is not None:
            self.ahead[section] = self.content(section, high)
            self._put(path, len(self.ahead[section]))
        else:
            self._put(path, self.integer(path, low, high))
        self.free[path] = (low, high)
        for rule in facts.rules.get(path, ()):
            if not fields_of(rule) & set(self.open):
                satisfy(rule, self.values, self.free, self._put, self.held)
                self.held.append(rule)
        return calculate(Field(path), self.values)

    def _solved(self, expression: Expression, wanted: int) -> int:
        """What an expression comes to, as near to what is wanted as the fields that are open allow."""
        found = solve(expression, wanted, self.values, self.open, self._put)
        for path in fields_of(expression) & set(self.open):
            self.free[path] = self.open.pop(path)
        return found

    def _digits(self, path: FieldPath, width: int = 0) -> bytes:
        """A number that is a text; none where it is something else."""
        if path not in self.facts.numbers:
            return b""
        low = 0 if width else -1
        return str(self.integer(path, low, 9)).encode().rjust(width, b"0")

    def _section(self, node: Section) -> bytes:
        if node.path in self.ahead and len(self.ahead[node.path]) == self._laid(node.length):
            return bytes(self.ahead[node.path])
        if isinstance(node.length, int) and (digits := self._digits(node.path, node.length)):
            return digits
        if readings_of(node.length):
            content = self.content(node.path, SECTION_MAX)
            measure(self.facts.wire.nodes, node, len(content), self.values, self.told)
            if calculate(node.length, self.values) == len(content):
                return content
        if fields_of(node.length) & set(self.open):
            content = self.content(node.path, SECTION_MAX)
            size = self._solved(node.length, len(content))
            if size == len(content):
                self._laid(node.length)
                return content
        size = self._laid(node.length)
        if size < 0:
            raise Unfit(node.path, f"its length comes to {size}")
        if size > SECTION_MAX:
            raise Unfit(node.path, f"its length comes to {size}, at most {SECTION_MAX} are tried")
        return self.sized(node, size)

    def _integers(self, node: Integers) -> None:
        path = self.facts.chunks.get(node.path, ("",))
        if fields_of(node.count) & set(self.open):
            self._solved(node.count, self.integer(node.path, 0, CHUNKS_MAX))
        count = self._laid(node.count)
        if not 0 <= count <= CHUNKS_MAX:
            raise Unfit(node.path, f"its count comes to {count}, 0 to {CHUNKS_MAX} are tried")
        self.ahead[path] = self.chunks(path, count)
        self._put(node.path, [len(one) for one in self.ahead[path]])


def context_of(values: dict[str, Any], path: FieldPath) -> Any:
    """What ``this._`` means inside of a section's parts."""
    context = construct.Container(values)
    context |= {"_root": context, "_params": construct.Container({SIDE: values.get(SIDE, 0)})}
    context |= {"_parsing": False, "_building": True, "_sizing": False}
    for name in path[:-1]:
        values = values[name]
        context = scope(values, context)
    return context


class Chance(Filler):
    """Values by a number that stands for chance: the same ones every time."""

    def __init__(self, facts: Facts, values: dict[str, Any], seed: int) -> None:
        super().__init__(facts)
        self.values = values
        self.random = random.Random(seed)  # noqa: S311  # no secret

    def integer(self, path: FieldPath, low: int, high: int) -> int:
        facts = self.facts
        if path in facts.counts | facts.small:
            return self.random.randint(0, min(high, 4))
        known = sorted(one for one in facts.candidates.get(path, ()) if low <= one <= high)
        return self.random.choice(known or [low, high, 0, 1])

    def content(self, path: FieldPath, most: int) -> bytes:
        known = [b"", b"a", b"text", *self.facts.samples.get(path, [])]
        return self.random.choice([one for one in known if len(one) <= most])

    def sized(self, node: Section, size: int) -> bytes:  # noqa: ARG002  # any bytes will do
        return self.random.randbytes(size)

    def chunks(self, path: FieldPath, count: int) -> list[bytes]:  # noqa: ARG002  # as above
        return [b"chunk"[: at % 4] for at in range(count)]

    def region(self, node: Region) -> bytes:
        return self.random.choice(self.facts.region(node, self.next))


def some_parts(facts: Facts, node: Repeated, values: dict[str, Any]) -> list[bytes]:
    """What may stand in a section of parts, behind what stands in front of it.

    Raises:
        Unfit: nothing fits there.
    """
    context = context_of(values, node.path)
    found = [one for one in facts.samples.get(node.path, []) if node.how.holds(one, context)]
    for seed in range(SEEDS):
        with contextlib.suppress(Unfit):
            found.append(Chance(facts, copy.deepcopy(values), seed).repeated(node))
    if not found:
        raise Unfit(node.path, "no parts fit there")
    return list(dict.fromkeys(found))
