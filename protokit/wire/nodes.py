"""What a declaration lays out, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protokit.wire.expressions import Expression, FieldPath
    from protokit.wire.measures import Measured
    from protokit.wire.repeats import Repeat


@dataclass(frozen=True)
class Integer:
    """``width`` bytes."""

    path: FieldPath
    width: int
    little: bool
    signed: bool

    def holds(self, value: int) -> bool:
        """Whether there is room for it."""
        bits = 8 * self.width - self.signed
        return -(1 << bits) * self.signed <= value < 1 << bits


@dataclass(frozen=True)
class Peeked:
    """An integer of ``width`` bytes that the next field begins with."""

    path: FieldPath
    width: int
    little: bool
    signed: bool


@dataclass(frozen=True)
class Bits:
    """``width`` bytes of bit fields: (path, shift from the right, bits)."""

    width: int
    fields: tuple[tuple[FieldPath, int, int], ...]


@dataclass(frozen=True)
class Bit:
    """One of them: an integer of ``size`` bits, in a word of ``width`` bytes."""

    path: FieldPath
    width: int
    shift: int
    size: int

    def holds(self, value: int) -> bool:
        """Whether there is room for it."""
        return 0 <= value < 1 << self.size


@dataclass(frozen=True)
class Literal:
    """Bytes that are always the same."""

    path: FieldPath
    data: bytes


@dataclass(frozen=True)
class Section:
    """Bytes of a computed length."""

    path: FieldPath
    length: Expression


@dataclass(frozen=True)
class Integers:
    """An array of integers, each the length of a chunk."""

    path: FieldPath
    count: Expression
    width: int
    little: bool
    signed: bool


@dataclass(frozen=True)
class ChunkList:
    """Sections whose lengths are ``lengths``."""

    path: FieldPath
    lengths: FieldPath


@dataclass(frozen=True)
class Delimited:
    """Bytes up to a delimiter."""

    path: FieldPath
    delimiter: bytes
    max: int


@dataclass(frozen=True)
class Region:
    """Bytes that say themselves where they end; ``how`` reads them in Python."""

    path: FieldPath
    how: Measured


@dataclass(frozen=True)
class Rest:
    """Bytes up to their sender's end."""

    path: FieldPath


@dataclass(frozen=True)
class Repeated:
    """Parts one behind the other: up to one for which ``until`` holds, or ``count``, or up to a sum.

    ``added`` is what each adds to that, ``to`` what it comes to; ``how`` reads them in Python.
    """

    path: FieldPath
    part: tuple[Any, ...]
    until: Expression | None
    count: Expression | None
    added: Expression
    to: Expression | None
    how: Repeat


@dataclass(frozen=True)
class Varint:
    """LEB128."""

    path: FieldPath
    bytes: int


@dataclass(frozen=True)
class Condition:
    """What must hold."""

    path: FieldPath
    test: Expression


@dataclass(frozen=True)
class Branch:
    """One of two, by a test."""

    test: Expression
    then: tuple[Any, ...]
    otherwise: tuple[Any, ...]


@dataclass(frozen=True)
class Choice:
    """One of several, by a key; ``default`` None: any other key is wrong."""

    path: FieldPath
    key: Expression
    cases: tuple[tuple[int, tuple[Any, ...]], ...]
    default: tuple[Any, ...] | None


Node = (
    Integer
    | Peeked
    | Bits
    | Literal
    | Section
    | Integers
    | ChunkList
    | Delimited
    | Region
    | Rest
    | Repeated
    | Varint
    | Condition
    | Branch
    | Choice
)


def expression_of(node: Node) -> Expression:
    """What a node's size, or what is there of it, is computed from; 0 where it is fixed."""
    if isinstance(node, Section):
        return node.length
    if isinstance(node, Integers):
        return node.count
    if isinstance(node, Condition | Branch):
        return node.test
    return node.key if isinstance(node, Choice) else 0


def least(nodes: tuple[Node, ...]) -> int:
    """The fewest bytes that they take."""
    return sum(_least(node) for node in nodes)


def _least(node: Node) -> int:
    if isinstance(node, Integer | Bits):
        return node.width
    if isinstance(node, Literal):
        return len(node.data)
    if isinstance(node, Section):
        return node.length if isinstance(node.length, int) else 0
    if isinstance(node, Delimited):
        return len(node.delimiter)
    if isinstance(node, Varint | Region):
        return 1
    if isinstance(node, Repeated):
        return 0 if node.until is None else least(node.part)
    if isinstance(node, Branch):
        return min(least(node.then), least(node.otherwise))
    if isinstance(node, Choice):
        cases = [case for _, case in node.cases] + ([] if node.default is None else [node.default])
        return min(map(least, cases))
    return 0


def integers_of(nodes: tuple[Node, ...], path: FieldPath) -> list[Integer | Bit]:
    """The integers of that name."""
    found: list[Integer | Bit] = []
    for node in walk(nodes):
        if isinstance(node, Integer) and node.path == path:
            found.append(node)
        elif isinstance(node, Bits):
            found += [Bit(one, node.width, shift, size) for one, shift, size in node.fields if one == path]
    return found


def walk(nodes: tuple[Node, ...]) -> list[Node]:
    """All nodes, those in branches too."""
    found: list[Node] = []
    for node in nodes:
        found.append(node)
        if isinstance(node, Branch):
            found += walk(node.then) + walk(node.otherwise)
        elif isinstance(node, Choice):
            for _, case in node.cases:
                found += walk(case)
            found += walk(node.default or ())
    return found


def fields_in(nodes: tuple[Node, ...]) -> dict[str, Any]:
    """The names of all fields, in all branches, each with those inside of it."""
    found: dict[str, Any] = {}
    for node in walk(nodes):
        paths = [one for one, _, _ in node.fields] if isinstance(node, Bits) else [getattr(node, "path", ())]
        for path in paths:
            inside = found
            for name in path:
                if not name.startswith("#"):
                    inside = inside.setdefault(name, {})
    return found
