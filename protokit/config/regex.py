"""Regular expressions as automata over bytes: one step for each byte of a text, whatever the expression.

The meaning is that of ``re.fullmatch(expression, text, re.ASCII)``. What needs memory of what was matched
(groups that come again, assertions inside) is refused, and what would need too many states.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from re import _constants as op  # type: ignore[attr-defined]  # the parser of this very library
from re import _parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MOST_STATES = 2000
_MOST_NODES = 5000  # of the expression, its counts written out
_MOST_STEPS = 3_000_000
_LAST = 0x10FFFF
_CATEGORIES = {
    op.CATEGORY_DIGIT: "0-9",
    op.CATEGORY_SPACE: "\t-\r - ",
    op.CATEGORY_WORD: "0-9A-Z_-_a-z",
}
_OPPOSITES = {
    op.CATEGORY_NOT_DIGIT: op.CATEGORY_DIGIT,
    op.CATEGORY_NOT_SPACE: op.CATEGORY_SPACE,
    op.CATEGORY_NOT_WORD: op.CATEGORY_WORD,
}
_SUPPORTED = re.compile("x", re.ASCII).flags
Range = tuple[int, int]


class Automaton(NamedTuple):
    """What ``pk_automaton`` of the engine takes.

    Attributes:
        program: a class for each byte, a bit for each state that accepts, the next state by state and class.
        states: how many; it begins in the first.
        classes: of bytes.
    """

    program: bytes
    states: int
    classes: int

    def accepts(self, text: bytes) -> bool:
        """Whether it matches the whole text."""
        state = 0
        for byte in text:
            state = self.after(state, byte)
        return self.is_last(state)

    def after(self, state: int, byte: int) -> int:
        """The next state."""
        table = 256 + (self.states + 7) // 8
        at = table + 2 * (state * self.classes + self.program[byte])
        return int(struct.unpack_from("=H", self.program, at)[0])

    def is_last(self, state: int) -> bool:
        """Whether it accepts what ends there."""
        return bool(self.program[256 + state // 8] >> state % 8 & 1)


def automaton(expression: str) -> Automaton:
    """The automaton of a regular expression.

    Raises:
        ValueError: it is none, says what an automaton cannot, or needs too many states.
    """
    try:
        parsed = _parser.parse(expression, re.ASCII)
    except re.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ValueError(f"{error.msg}{where}") from None
    except (RecursionError, OverflowError):
        raise ValueError("it is nested too deeply, or counts too far") from None
    if parsed.state.flags & ~_SUPPORTED:
        raise ValueError("flags like (?i) are not supported")
    nodes = _Nodes()
    try:
        last = nodes.sequence(_without_anchors(list(parsed)), 0)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return _deterministic(nodes, last)


def stars(text: str) -> Automaton:
    """The automaton of a text in which each ``*`` stands for any bytes.

    Raises:
        ValueError: it needs too many states.
    """
    return pieces(text.encode().split(b"*"))


def pieces(texts: Sequence[bytes]) -> Automaton:
    """The automaton of some texts with any bytes between them.

    Raises:
        ValueError: it needs too many states.
    """
    nodes = _Nodes()
    at = 0
    for number, one in enumerate(texts):
        if number > 0:
            nodes.edges[at].append((0, 255, at))
        for byte in one:
            after = nodes.node()
            nodes.edges[at].append((byte, byte, after))
            at = after
    return _deterministic(nodes, at)


def _without_anchors(items: list[Any]) -> list[Any]:
    """The whole text is matched anyway."""
    while items and items[0] in ((op.AT, op.AT_BEGINNING), (op.AT, op.AT_BEGINNING_STRING)):
        del items[0]
    while items and items[-1] in ((op.AT, op.AT_END), (op.AT, op.AT_END_STRING)):
        del items[-1]
    return items


class _Nodes:
    """A nondeterministic automaton; node 0 is the first. Edges are by ranges of bytes, or by nothing."""

    def __init__(self) -> None:
        self.edges: list[list[tuple[int, int, int]]] = [[]]
        self.free: list[list[int]] = [[]]

    def node(self) -> int:
        if len(self.edges) >= _MOST_NODES:
            raise ValueError(f"it is too long: with its counts written out it has over {_MOST_NODES} parts")
        self.edges.append([])
        self.free.append([])
        return len(self.edges) - 1

    def sequence(self, items: Iterable[Any], at: int) -> int:
        """From ``at`` by all items, one after the other: the node behind."""
        for kind, what in items:
            at = self.item(kind, what, at)
        return at

    def item(self, kind: Any, what: Any, at: int) -> int:
        if kind is op.LITERAL:
            return self.one_of([(what, what)], at)
        if kind is op.NOT_LITERAL:
            return self.one_of(_others([(what, what)]), at)
        if kind is op.ANY:
            return self.one_of(_others([(10, 10)]), at)
        if kind is op.IN:
            return self.one_of(_ranges(what), at)
        if kind is op.SUBPATTERN and not what[1] and not what[2]:
            return self.sequence(what[3], at)
        if kind is op.BRANCH:
            end = self.node()
            for way in what[1]:
                first = self.node()
                self.free[at].append(first)
                self.free[self.sequence(way, first)].append(end)
            return end
        if kind in {op.MAX_REPEAT, op.MIN_REPEAT}:
            least, most, items = what
            return self.repeated(least, most, items, at)
        raise ValueError(f"{_NAMES.get(kind, 'what stands in it')} cannot be matched step by step")

    def repeated(self, least: int, most: Any, items: Sequence[Any], at: int) -> int:
        for _ in range(least):
            at = self.sequence(items, at)
        end = self.node()
        if most is op.MAXREPEAT:
            first = self.node()
            self.free[at].append(first)
            self.free[self.sequence(items, first)].append(first)
            self.free[first].append(end)
            return end
        self.free[at].append(end)
        for _ in range(most - least):
            first = self.node()
            self.free[at].append(first)
            at = self.sequence(items, first)
            self.free[at].append(end)
        return end

    def one_of(self, ranges: Iterable[Range], at: int) -> int:
        end = self.node()
        for first, last in ranges:
            for way in _encoded(first, last):
                here = at
                for low, high in way[:-1]:
                    there = self.node()
                    self.edges[here].append((low, high, there))
                    here = there
                self.edges[here].append((*way[-1], end))
        return end


_NAMES = {
    op.GROUPREF: "a group that comes again",
    op.ASSERT: "looking ahead or behind",
    op.ASSERT_NOT: "looking ahead or behind",
    op.AT: "an anchor inside",
    op.SUBPATTERN: "a group with flags of its own",
    op.ATOMIC_GROUP: "an atomic group",
    op.POSSESSIVE_REPEAT: "a possessive repeat",
    op.GROUPREF_EXISTS: "a choice by a group",
}


def _others(ranges: Iterable[Range]) -> list[Range]:
    """All characters but these."""
    found, at = [], 0
    for first, last in sorted(ranges):
        if at < first:
            found.append((at, first - 1))
        at = max(at, last + 1)
    return [*found, (at, _LAST)] if at <= _LAST else found


def _category(which: Any) -> list[Range]:
    if which in _OPPOSITES:
        return _others(_category(_OPPOSITES[which]))
    text = _CATEGORIES[which]
    return [(ord(text[i]), ord(text[i + 2])) for i in range(0, len(text), 3)]


def _ranges(items: Iterable[Any]) -> list[Range]:
    found: list[Range] = []
    negated = False
    for kind, what in items:
        if kind is op.NEGATE:
            negated = True
        elif kind is op.LITERAL:
            found.append((what, what))
        elif kind is op.RANGE:
            found.append(what)
        else:
            found += _category(what)
    return _others(found) if negated else found


def _encoded(first: int, last: int) -> Iterator[list[Range]]:
    """The UTF-8 of a range of characters: ways of byte ranges."""
    for low, high in ((0, 0x7F), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, _LAST)):
        if first <= high and last >= low:
            yield from _ways(chr(max(first, low)).encode(), chr(min(last, high)).encode())


def _ways(low: bytes, high: bytes) -> Iterator[list[Range]]:
    """Between two texts of as many bytes."""
    if len(low) == 1:
        yield [(low[0], high[0])]
    elif low[0] == high[0]:
        yield from ([(low[0], low[0]), *way] for way in _ways(low[1:], high[1:]))
    else:
        rest = len(low) - 1
        least, most = b"\x80" * rest, b"\xbf" * rest
        first, last = low[0], high[0]
        if low[1:] != least:
            yield from ([(first, first), *way] for way in _ways(low[1:], most))
            first += 1
        if high[1:] != most:
            last -= 1
        if first <= last:
            yield [(first, last), *[(0x80, 0xBF)] * rest]
        if high[1:] != most:
            yield from ([(high[0], high[0]), *way] for way in _ways(least, high[1:]))


def _closures(nodes: _Nodes) -> list[frozenset[int]]:
    """What is reached from each node by nothing."""
    found = []
    for node in range(len(nodes.free)):
        reached, todo = {node}, [node]
        while todo:
            new = [one for one in nodes.free[todo.pop()] if one not in reached]
            reached.update(new)
            todo += new
        found.append(frozenset(reached))
    return found


def _deterministic(nodes: _Nodes, last: int) -> Automaton:
    cuts = sorted({cut for edges in nodes.edges for low, high, _ in edges for cut in (low, high + 1)} | {0})
    cuts = [cut for cut in cuts if cut < 256]
    class_of = bytes(bisect_right(cuts, byte) - 1 for byte in range(256))
    closures, steps = _closures(nodes), 0
    numbers: dict[frozenset[int], int] = {closures[0]: 0}
    order, table = [closures[0]], []
    for state in order:
        edges = [edge for node in state for edge in nodes.edges[node]]
        steps += len(cuts) * (1 + len(edges))
        row = []
        for cut in cuts:
            reached: set[int] = set()
            for low, high, to in edges:
                if low <= cut <= high:
                    reached |= closures[to]
                    steps += len(closures[to])
            after = frozenset(reached)
            if after not in numbers:
                numbers[after] = len(order)
                order.append(after)
            row.append(numbers[after])
        if len(order) > MOST_STATES or steps > _MOST_STEPS:
            raise ValueError(f"it needs more than {MOST_STATES} states; say less about how parts repeat")
        table.append(row)
    return _smallest(class_of, table, [last in state for state in order])


def _smallest(class_of: bytes, table: list[list[int]], accepts: list[bool]) -> Automaton:
    """States that nothing tells apart are one; so are classes."""
    block = [int(one) for one in accepts]
    count = 0
    while len(set(block)) != count:
        count = len(set(block))
        seen: dict[tuple[int, ...], int] = {}
        block = [
            seen.setdefault((block[state], *(block[to] for to in row)), len(seen))
            for state, row in enumerate(table)
        ]
    firsts = [block.index(number) for number in range(count)]
    rows = [[block[to] for to in table[state]] for state in firsts]
    columns = list(zip(*rows, strict=True))
    kinds = {column: number for number, column in enumerate(dict.fromkeys(columns))}
    classes = bytes(kinds[columns[one]] for one in class_of)
    marks = bytearray((count + 7) // 8)
    for number, state in enumerate(firsts):
        marks[number // 8] |= accepts[state] << number % 8
    cells = [to for number in range(count) for column in kinds for to in (column[number],)]
    return Automaton(classes + bytes(marks) + struct.pack(f"={len(cells)}H", *cells), count, len(kinds))
