"""What counts a section that gets another length: an id, or what a rule changes.

Lengths, fields and numbers in texts that grow with it, so that all other lengths stay what they are.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from protokit.errors import DeclarationError
from protokit.wire.expressions import Binary, Expression, Field, FieldPath, Size, fields_of, show, sizes_of
from protokit.wire.nodes import (
    Bit,
    Branch,
    Choice,
    Delimited,
    Integer,
    Integers,
    Node,
    Region,
    Section,
    Varint,
    walk,
)
from protokit.wire.told import CannotRewriteError, Digits, Told, all_told, digits_of, told_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Counted = Field | Size | Told


def counters_of(
    nodes: tuple[Node, ...], path: FieldPath, *, alone: bool = True
) -> tuple[Integer | Varint | Digits, ...] | None:
    """What counts a section that may have any size; None: it is no such section, or branches differ.

    Args:
        nodes: of a layout.
        path: of the section.
        alone: an id, whose length is its own; else it may be what other sections leave.

    Raises:
        CannotRewriteError: it cannot be made right where the section has another one.
    """
    undecided(nodes, {path})
    found = {node: None for node in walk(nodes) if getattr(node, "path", None) == path}
    some = []
    for node in found:
        if not isinstance(node, Section | Delimited | Region) or (alone and isinstance(node, Region)):
            return None
        fixed = isinstance(node, Section) and isinstance(node.length, int)
        some.append([] if fixed else counting(nodes, node, alone=alone))
    if not all(set(one) == set(some[0]) for one in some):
        return None
    return tuple(
        digits_of(nodes, one, show(path)) if isinstance(one, Told) else way_of(nodes, one.path)
        for one in some[0]
    )


def told_sections(nodes: tuple[Node, ...]) -> dict[FieldPath, Digits]:
    """The sections that one number in a text counts, and nothing else; with that number."""
    found = {}
    for path in [node.path for node in walk(nodes) if isinstance(node, Section) and all_told(node.length)]:
        with contextlib.suppress(DeclarationError):
            counters = counters_of(nodes, path)
            if counters and len(counters) == 1 and isinstance(counters[0], Digits):
                found[path] = counters[0]
    return found


def key_of(counter: Integer | Bit | Varint | Digits) -> FieldPath | str:
    """By which the program knows what counts an id."""
    return counter.told.name if isinstance(counter, Digits) else counter.path


def agreeing(
    expression: Expression, sections: set[FieldPath], counters: set[FieldPath]
) -> list[Field | Size]:
    """What an expression reads that grows with sections."""
    read = [one for one in _leaves(expression) if isinstance(one, Field | Size)]
    return [one for one in read if one.path in (sections if isinstance(one, Size) else counters)]


def following(
    sections: set[FieldPath],
    counters: set[FieldPath],
    computed: Iterable[tuple[FieldPath, Expression]],
) -> Iterator[tuple[FieldPath, int | None]]:
    """What is computed from the sizes of sections and does not stay, beside what counts them.

    Gives how many times it grows with them; None where that cannot be said.
    """
    for path, expression in computed:
        grow = agreeing(expression, sections, counters)
        if path in counters or not grow:
            continue
        sums = _linear(expression, grow)
        times = None if sums is None else sum(sums.get(one, 0) for one in grow)
        if times != 0:
            yield path, times


def check_follows(
    sections: set[FieldPath],
    counters: set[FieldPath],
    computed: Iterable[tuple[FieldPath, Expression]],
) -> None:
    """The same of any sections.

    Raises:
        DeclarationError: what is computed does not follow.
    """
    for path, _ in following(sections, counters, computed):
        raise DeclarationError(
            f"{show(path)} depends on the length of the id, but no length is computed from it, so the "
            "engine cannot know; let a section's length be computed from it"
        )


def _linear(expression: Expression, grown: Iterable[Counted] | None = None) -> dict[Counted, int] | None:
    """How many times each field counts, or a number in a text; None where an expression is no sum of them.

    Args:
        expression: a length.
        grown: what alone changes in it; what else is no sum, such as a test, stays. None: all may change.
    """
    if isinstance(expression, int):
        return {}
    if (told := told_of(expression)) is not None:
        return {told: 1}
    if isinstance(expression, Field | Size):
        return {expression: 1}
    sums = _summed(expression, grown) if isinstance(expression, Binary) else None
    if sums is None and (leaves_ := _leaves(expression)):
        return {} if grown is not None and not leaves_ & set(grown) else None
    return sums or {}


def _summed(expression: Binary, grown: Iterable[Counted] | None) -> dict[Counted, int] | None:
    """The same of a sum, a difference, or a product with a constant."""
    if expression.op not in {"ADD", "SUB", "MUL"}:
        return None
    left, right = _linear(expression.left, grown), _linear(expression.right, grown)
    if left is None or right is None:
        return None
    if expression.op == "MUL":
        factor = expression.right if isinstance(expression.right, int) else expression.left
        if not isinstance(factor, int):
            return None
        return {one: times * factor for one, times in (left or right).items()}
    sign = 1 if expression.op == "ADD" else -1
    return {one: left.get(one, 0) + sign * right.get(one, 0) for one in {**left, **right}}


def sharing(nodes: tuple[Node, ...], node: Node) -> list[Section]:
    """Sections of branches of their own that have the same length: where one is there, the others are not."""
    branches = [one for one in walk(nodes) if isinstance(one, Branch)]
    apart = [one for branch in branches for one in (*branch.then, *branch.otherwise)]
    if not isinstance(node, Section) or node not in apart or not fields_of(node.length):
        return []
    return [one for one in apart if isinstance(one, Section) and one != node and one.length == node.length]


def counting(
    nodes: tuple[Node, ...], node: Section | Delimited | Region | Varint, *, alone: bool = True
) -> list[Field | Told]:
    """What grows by one with the id, so that all other lengths stay what they are."""
    path = node.path
    lengths = [
        (one.path, one.length if isinstance(one, Section) else one.count)
        for one in walk(nodes)
        if isinstance(one, Section | Integers) and one != node and (alone or one not in sharing(nodes, node))
    ]
    grow: list[Counted] = [Size(path, varint=isinstance(node, Varint))]
    if isinstance(node, Section):
        own = _linear(node.length) or {}
        grow += [one for one, times in own.items() if times == 1 and isinstance(one, Field | Told)]
        if len(grow) != 2 or (alone and len(own) != 1):  # its size, and what says it
            raise CannotRewriteError(
                f"{show(path)}: an id's length is one field, or one number in a text, plus or minus a "
                "constant; give it one of its own"
            )
    for _ in range(len(lengths) + 1):
        again = False
        for other, length in lengths:
            if not _leaves(length) & set(grow):
                continue
            sums = _linear(length, grow)
            off = sum((sums or {}).get(one, 0) for one in grow)
            if sums is not None and off == 0:
                continue
            ways = [
                one
                for one, times in (sums or {}).items()
                if times == -off and one not in grow and isinstance(one, Field | Told)
            ]
            if len(ways) != 1 or abs(off) != 1:
                raise CannotRewriteError(
                    f"{show(other)}: its length depends on that of the id {show(path)} in a way that the "
                    f"engine cannot keep right, since {_why(sums, off)}; give it a length of its own"
                )
            grow.append(ways[0])
            again = True
        if not again:
            break
    return [one for one in grow if isinstance(one, Field | Told)]


def _leaves(expression: Expression) -> set[Counted]:
    sizes = sizes_of(expression)
    return {*sizes, *(Field(path) for path in fields_of(expression)), *all_told(expression)}


def _why(sums: dict[Counted, int] | None, off: int) -> str:
    """Why no field makes up for an id of another length."""
    if sums is None:
        return "fields in it are multiplied with each other, shifted or masked"
    if abs(off) != 1:
        return f"the id's length counts {abs(off)} times in it"
    return "no single field makes up for it"


def agree(counters: dict[FieldPath, list[Field | Told]]) -> None:
    """A field that several branches share counts the id in all of them."""
    for path, some in counters.items():
        for counter in some:
            shared = len(counters) > 1 and counter.path[: len(path) - 1] != path[:-1]
            if shared and not all(counter in others for others in counters.values()):
                raise CannotRewriteError(
                    f"{show(counter.path)}: it counts the id {show(path)}, and not that of every other "
                    "branch; give each branch lengths of its own"
                )


def ways_of(
    nodes: tuple[Node, ...], path: FieldPath, counters: Iterable[Field | Told]
) -> tuple[Integer | Varint | Digits, ...]:
    """What the program writes anew for each of them."""
    ways = tuple(
        digits_of(nodes, one, show(path)) if isinstance(one, Told) else way_of(nodes, one.path)
        for one in counters
    )
    if len(ways) > 1 and any(isinstance(node, Varint) for node in ways):
        raise CannotRewriteError(
            f"{show(path)}: a UVar counts the id only alone; use integers of fixed width"
        )
    if len(ways) > 1 and any(isinstance(node, Digits) for node in ways):
        raise CannotRewriteError(
            f"{show(path)}: a number in a text counts the id only alone; let no other length depend on it"
        )
    return ways


def way_of(nodes: tuple[Node, ...], path: FieldPath) -> Integer | Varint:
    """The integer that counts.

    Raises:
        CannotRewriteError: it is none that the engine can write, or decides what there is.
    """
    ways = list({node for node in walk(nodes) if isinstance(node, Integer | Varint) and node.path == path})
    if len(ways) != 1:
        raise CannotRewriteError(f"{show(path)}: what counts an id is an integer of whole bytes, or a UVar")
    for one in walk(nodes):
        test = one.test if isinstance(one, Branch) else one.key if isinstance(one, Choice) else 0
        if path in fields_of(test):
            raise CannotRewriteError(
                f"{show(path)}: it counts the id, and decides which fields there are; the engine's own "
                "ids have other lengths"
            )
    return ways[0]


def undecided(nodes: tuple[Node, ...], paths: set[FieldPath]) -> None:
    """No test asks for the size of an id."""
    for node in walk(nodes):
        test = node.key if isinstance(node, Choice) else getattr(node, "test", 0)
        for size in sizes_of(test):
            if size.path in paths:
                raise CannotRewriteError(
                    f"{show(size.path)}: a test goes by the size of the id; the engine's own ids have other "
                    "sizes"
                )
