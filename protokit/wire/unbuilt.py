"""Why a frame cannot be built from plain values: which field, and what is wrong with it.

Like `layout` this knows construct's insides.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import construct

from protokit.wire.given import seen
from protokit.wire.measures import Measured
from protokit.wire.repeats import Repeat
from protokit.wire.vocabulary import Chunks, Until, UVar

if TYPE_CHECKING:
    from collections.abc import Callable

_COMPUTED = construct.Rebuild | construct.Const | construct.Default | construct.Check | type(construct.Pass)


_TAKES: tuple[tuple[Any, Callable[[Any], bool], str], ...] = (
    (construct.FormatField | construct.BytesInteger | UVar, lambda one: isinstance(one, int), "an integer"),
    (
        construct.Bytes | construct.Prefixed | Until | Measured | Repeat,
        lambda one: isinstance(one, bytes),
        "bytes: b'...'",
    ),
    (
        Chunks,
        lambda one: isinstance(one, list) and all(isinstance(part, bytes) for part in one),
        "a list of bytes: [b'...', b'...']",
    ),
    (construct.Struct, lambda one: isinstance(one, dict), "values by the names of its fields: {'a': 1}"),
)


def unbuilt(error: Exception, declaration: Any, values: Any) -> str:
    """What a person reads.

    Args:
        error: what construct raised.
        declaration: the format's Struct.
        values: what it was to be built from.
    """
    wrong = _wrong(declaration, values)
    if wrong is not None:
        return wrong
    if isinstance(error, construct.ConstructError) and getattr(error, "path", None):
        where = ".".join(str(error.path).split(" -> ")[1:])
        return f"{where or 'the format'}: {str(error).partition(chr(10))[2] or error}"
    return str(error)


def _wrong(declaration: Any, values: Any, at: str = "") -> str | None:
    """What is said of the first field that needs a value and has none, or one of another kind."""
    for field in declaration.subcons:
        inner = field.subcon if isinstance(field, construct.Renamed) else field
        if field.name is None or isinstance(inner, _COMPUTED):
            continue
        if isinstance(inner, construct.IfThenElse):
            inner = _taken(inner, values)
        value = values.get(field.name)
        name = at + field.name
        if value is None and inner is not construct.Pass:
            return f"{name} has no value; give it one: {{{field.name!r}: ...}}"
        for kinds, fits, instead in _TAKES:
            if isinstance(inner, kinds) and not fits(value):
                return f"{name}: {seen(value)} was given; it takes {instead}"
        if isinstance(inner, construct.Struct):
            found = _wrong(inner, value, f"{name}.")
            if found is not None:
                return found
    return None


def _taken(branch: Any, values: Any) -> Any:
    """The part that a condition chooses; Pass where that cannot be told here."""
    with contextlib.suppress(Exception):
        return branch.thensubcon if branch.condfunc(construct.Container(values)) else branch.elsesubcon
    return construct.Pass
