"""Texts that a layout is computed from: a length in digits, in a header line or between separators.

``Bytes(number(this.n))``, ``If(starts(this.line, "MSG "), ...)``: what is read stands in sections in front,
all of which has to be there. It is strict: what is no number, or is there twice and not the same, makes a
frame wrong. When a frame is built the number is found from the section that it measures, and written to where
it is read from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire import views
from protokit.wire.encodings import LineEncoding
from protokit.wire.expressions import (
    FUNCTIONS,
    Binary,
    FieldPath,
    Looked,
    fields_of,
    readings_of,
    show,
    strictly,
)
from protokit.wire.nodes import Branch, Choice, Delimited, Section, expression_of, walk
from protokit.wire.readings import Number
from protokit.wire.sections import set_at

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from protokit.wire.expressions import Expression, Laid
    from protokit.wire.nodes import Node

_VIEWS = views.Text | views.Part | views.First | views.Constant | views.Item


def check_laid(nodes: tuple[Node, ...]) -> None:
    """Refuse a layout that reads what it cannot.

    Raises:
        DeclarationError: names the field, says what it reads and what to write instead.
    """
    known: dict[FieldPath, None] = {}
    for node in walk(nodes):
        for one in readings_of(expression_of(node)):
            _check(node, one, known)
        if not hasattr(node, "fields") and not isinstance(node, Branch):
            known[node.path] = None


def _check(node: Node, reading: Laid, known: dict[FieldPath, None]) -> None:
    at = _name(node)
    for view in views.leaves([reading.view]):
        lines = not isinstance(view, views.Item) or isinstance(view.pairs.encoding, LineEncoding)
        if not isinstance(view, _VIEWS) or not lines:
            raise DeclarationError(
                f"{at}: {view!r}: a layout reads texts in front of it by themselves, by split, by lines and "
                "by first; what else is found when the whole frame is there. Lay it out by fields"
            )
    for path in views.sections_of([reading.view]):
        if path not in known:
            there = [show(one) for one in known if not one[-1].startswith("#")]
            raise DeclarationError(
                f"{at}: {reading!r}: this.{show(path)} is not a field in front of it; a view names it from "
                f"the frame's start, as in this.{(there or ['NAME'])[-1]}"
            )


def _name(node: Node) -> str:
    if not isinstance(node, Branch):
        return show(node.path) if not hasattr(node, "fields") else show(node.fields[0][0])
    return next((_name(one) for one in (*node.then, *node.otherwise)), "If")


def looked_into(nodes: tuple[Node, ...]) -> list[FieldPath]:
    """The sections that a layout reads texts in; most read none."""
    return views.sections_of([one.view for node in walk(nodes) for one in readings_of(expression_of(node))])


def laid_by_texts(nodes: tuple[Node, ...]) -> list[Branch | Choice | Section]:
    """What is there or not, or has its length, by a text in front of it."""
    return [node for node in walk(nodes) if isinstance(node, Branch | Choice | Section) and read_by(node)]


def read_by(node: Node) -> list[FieldPath]:
    """The sections in which texts stand by which a node is laid out."""
    return views.sections_of([one.view for one in readings_of(expression_of(node))])


def laid_by_numbers(nodes: tuple[Node, ...], paths: Collection[FieldPath]) -> list[Branch | Choice]:
    """What is there or not by one of these integers."""
    return [
        node
        for node in walk(nodes)
        if isinstance(node, Branch | Choice) and fields_of(expression_of(node)) & {*paths}
    ]


def taken(nodes: tuple[Node, ...], among: Collection[Node], values: Any) -> list[int]:
    """Which way some nodes go in a frame, one behind the other; 0 for what is not there.

    Args:
        nodes: of a layout.
        among: those that are asked for, by their identity.
        values: of the frame's fields.
    """
    found: list[int] = []
    for node in nodes:
        ways: list[tuple[Node, ...]] = []
        way = 0
        if isinstance(node, Branch):
            ways = [node.then, node.otherwise]
            way = 0 if _calculated(node.test, values) else 1
        elif isinstance(node, Choice):
            ways = [*(case for _, case in node.cases), node.default or ()]
            keys = [key for key, _ in node.cases]
            key = _calculated(node.key, values)
            way = keys.index(key) if key in keys else len(keys)
        if any(node is one for one in among):
            found.append(way)
        if ways:
            found += taken(ways[way], among, values)
    return found


def decided(nodes: tuple[Node, ...], values: Any) -> list[int]:
    """What texts lay out, of a frame's fields: numbers that stay where its layout does.

    Raises:
        RemoteProtocolError: a text is none that a layout can go by.
    """
    found: list[int] = []
    for node in nodes:
        if not isinstance(node, Branch | Choice | Section):
            continue
        decision = 0
        if readings_of(expression_of(node)):
            with strictly():
                found.append(views.calculate(expression_of(node), values))
        if isinstance(node, Branch):
            decision = _calculated(node.test, values)
            found += decided(node.then if decision else node.otherwise, values)
        elif isinstance(node, Choice):
            decision = _calculated(node.key, values)
            found += decided(dict(node.cases).get(decision, node.default or ()), values)
    return found


def complete(nodes: tuple[Node, ...], read: Iterable[FieldPath], values: Any) -> None:
    """Write the numbers that measure sections, so that they say what those have.

    Args:
        nodes: of a layout.
        read: what it looks into.
        values: of a frame's fields; changed.

    Raises:
        LocalProtocolError: a number cannot be written where it is read.
    """
    found = [views.value_at(values, path) for path in read]
    if all(
        isinstance(one, bytes | bytearray | list | None) for one in found
    ):  # else building says what is wrong
        _complete(nodes, nodes, values, set())


def _complete(all_of: tuple[Node, ...], nodes: tuple[Node, ...], values: Any, done: set[str]) -> None:
    for node in nodes:
        if isinstance(node, Branch):
            taken = node.then if _calculated(node.test, values) else node.otherwise
            _complete(all_of, taken, values, done)
        elif isinstance(node, Choice):
            taken = dict(node.cases).get(_calculated(node.key, values), node.default or ())
            _complete(all_of, taken, values, done)
        elif isinstance(node, Section) and readings_of(node.length):
            content = views.value_at(values, node.path)
            if isinstance(content, bytes | bytearray):
                measure(all_of, node, len(content), values, done)


def measure(all_of: tuple[Node, ...], node: Section, size: int, values: Any, done: set[str]) -> None:
    """Write the one number of a section's length that nothing in front has told.

    Args:
        all_of: the layout's nodes.
        node: the section.
        size: its bytes.
        values: of the frame's fields; changed.
        done: the numbers that are told; changed.

    Raises:
        LocalProtocolError: it cannot be written where it is read.
    """
    missing = [repr(one) for _, one in _terms(node.length) if _is_missing(one.view, values)]
    if not missing and _calculated(node.length, values) == size and _readable(node.length, values):
        done |= {repr(one.view) for one in readings_of(node.length)}
        return
    found = [(sign, one) for sign, one in _terms(node.length) if repr(one.view) not in done]
    if missing:
        found = [(sign, one) for sign, one in found if repr(one) in missing]
    if len(found) != 1:
        return  # as it was given
    sign, reading = found[0]
    before = _calculated(node.length, values)
    if not _readable(node.length, values):
        _write(all_of, reading.view, values, 0)
        before = _calculated(node.length, values)
    value = _calculated(Looked(reading), values) + sign * (size - before)
    _write(all_of, reading.view, values, value)
    done.add(repr(reading.view))


def lengths_in(node: Node) -> list[FieldPath]:
    """The sections in which the numbers stand that say how long a section is."""
    if not isinstance(node, Section):
        return []
    return views.sections_of([one.view for _, one in _terms(node.length)])


def _terms(expression: Expression, sign: int = 1) -> list[tuple[int, Laid]]:
    """The numbers that are added and taken off."""
    if isinstance(expression, Looked):
        return [(sign, expression.reading)] if isinstance(expression.reading.reading, Number) else []
    if isinstance(expression, Binary) and expression.op in {"ADD", "SUB"}:
        right = sign if expression.op == "ADD" else -sign
        return _terms(expression.left, sign) + _terms(expression.right, right)
    return []


def _calculated(expression: Expression, values: Any) -> int:
    """An expression's value; what cannot be read in it counts as 0."""
    if isinstance(expression, Looked):
        try:
            return views.calculate(expression, values)
        except RemoteProtocolError:
            return 0
    if isinstance(expression, Binary):
        both = _calculated(expression.left, values), _calculated(expression.right, values)
        return int(FUNCTIONS[expression.op](*both))
    return views.calculate(expression, values)


def _is_missing(view: views.View, values: Any) -> bool:
    return isinstance(view, views.Text) and views.value_at(values, view.path) is None


def _readable(expression: Expression, values: Any) -> bool:
    try:
        with strictly():
            views.calculate(expression, values)
    except RemoteProtocolError:
        return False
    return True


def _write(all_of: tuple[Node, ...], view: views.View, values: Any, value: int) -> None:
    digits = str(value).encode()
    if not isinstance(view, views.Text):
        view.replace(values, digits)
        return
    for node in walk(all_of):
        if (
            isinstance(node, Section | Delimited)
            and node.path == view.path
            and isinstance(getattr(node, "length", None), int)
        ):
            width: Any = node.length  # type: ignore[union-attr]
            digits = digits.rjust(width, b"0")
            if len(digits) != width or value < 0:
                raise LocalProtocolError(f"{show(view.path)}: {value} does not fit {width} digits")
    set_at(values, view.path, digits)
