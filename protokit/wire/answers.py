"""What is noted of a request for its answers: every ``asked`` of a format, each with its bits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from protokit.errors import DeclarationError
from protokit.wire.expressions import (
    Binary,
    Expression,
    Field,
    Known,
    Looked,
    Not,
    known_of,
    resolve,
    written,
)
from protokit.wire.known import BITS, Asked
from protokit.wire.nodes import Bits, Branch, Choice, Condition, Integer, Integers, Node, Section, walk
from protokit.wire.readings import Same, Starts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protokit.wire.program import Meaning

_COMPARE = {"EQ", "NE", "LT", "LE", "GT", "GE"}


@dataclass(frozen=True)
class Noted:
    """So many bits of a value, from bit ``shift`` of a request's context on."""

    asked: Asked
    value: Expression
    bits: int
    shift: int


def noted(nodes: tuple[Node, ...], meaning: Meaning, mode: str) -> Meaning:
    """The meaning with all that is noted.

    Raises:
        DeclarationError: it cannot be known where it is asked for, or is too much.
    """
    for what in ("response", "oneway", "heartbeat", "drain", "greeting", "greeting_refused", "timeout"):
        if known_of(getattr(meaning, what)):
            raise DeclarationError(
                f"{what}: what a frame is does not depend on a request; asked() goes into status, app_error, "
                "last, more, and where answers come in order into the layout"
            )
    laid_out = [one for expression in _layout(nodes) for one in known_of(expression)]
    if laid_out and mode not in {"ordered", "pingpong"}:
        raise DeclarationError(
            f"{written(Known(laid_out[0]))} stands in the layout, and with mode={mode!r} an answer has to be "
            "read before its request is known; it can stand in status, app_error, last and more"
        )
    meant = [
        one for expression in (*meaning.outcome(), meaning.last, meaning.more) for one in known_of(expression)
    ]
    widths = {path: size for node in walk(nodes) if isinstance(node, Bits) for path, _, size in node.fields}
    widths |= {node.path: 8 * node.width for node in walk(nodes) if isinstance(node, Integer)}
    shift = 8 + sum(widths.get(path, 0) for path in meaning.keep)
    found: dict[int, Noted] = {}
    for one in (*laid_out, *meant):
        if id(one) in found:
            continue
        value = resolve(one.value, (), ("asked",))
        bits = one.bits or _bits(value, widths)
        if bits is None or known_of(value):
            raise DeclarationError(f"{written(Known(one))}: say how many bits it takes: asked(..., bits=8)")
        found[id(one)] = Noted(one, value, bits, shift)
        shift += bits
    if found and shift > 8 + BITS:
        raise DeclarationError(
            f"asked: {shift - 8} bits of a request are asked for, with those of keep; {BITS} are kept. Ask "
            "for less: asked(this.kind == 3) takes one"
        )
    return replace(meaning, asked=tuple(found.values()))


def _layout(nodes: tuple[Node, ...]) -> Iterator[Expression]:
    for node in walk(nodes):
        if isinstance(node, Section):
            yield node.length
        elif isinstance(node, Integers):
            yield node.count
        elif isinstance(node, Condition | Branch):
            yield node.test
        elif isinstance(node, Choice):
            yield node.key


def _bits(value: Expression, widths: dict[tuple[str, ...], int]) -> int | None:
    if isinstance(value, Field):
        return widths.get(value.path)
    if isinstance(value, Not) or (isinstance(value, Binary) and value.op in _COMPARE):
        return 1
    if isinstance(value, Binary) and value.op in {"AND", "OR"}:
        both = [_bits(one, widths) for one in (value.left, value.right)]
        return 1 if both == [1, 1] else None
    return 1 if isinstance(value, Looked) and isinstance(value.reading, Same | Starts) else None
