"""Why a frame cannot be built from plain values: which field, and what is wrong with it.

Like `layout` this knows construct's insides.
"""

from __future__ import annotations

import contextlib
from typing import Any

import construct

_COMPUTED = construct.Rebuild | construct.Const | construct.Default | construct.Check | type(construct.Pass)


def unbuilt(error: Exception, declaration: Any, values: Any) -> str:
    """What a person reads.

    Args:
        error: what construct raised.
        declaration: the format's Struct.
        values: what it was to be built from.
    """
    missing = _missing(declaration, values)
    if missing:
        return f"{'.'.join(missing)} has no value; give it one: {{{missing[-1]!r}: ...}}"
    if isinstance(error, construct.ConstructError) and getattr(error, "path", None):
        where = ".".join(str(error.path).split(" -> ")[1:])
        return f"{where or 'the format'}: {str(error).partition(chr(10))[2] or error}"
    return str(error)


def _missing(declaration: Any, values: Any) -> tuple[str, ...]:
    """The first field that needs a value and has none."""
    for field in declaration.subcons:
        inner = field.subcon if isinstance(field, construct.Renamed) else field
        if field.name is None or isinstance(inner, _COMPUTED):
            continue
        if isinstance(inner, construct.IfThenElse):
            inner = _taken(inner, values)
        value = values.get(field.name)
        if value is None and inner is not construct.Pass:
            return (field.name,)
        if isinstance(value, dict) and isinstance(inner, construct.Struct):
            found = _missing(inner, value)
            if found:
                return (field.name, *found)
    return ()


def _taken(branch: Any, values: Any) -> Any:
    """The part that a condition chooses; Pass where that cannot be told here."""
    with contextlib.suppress(Exception):
        return branch.thensubcon if branch.condfunc(construct.Container(values)) else branch.elsesubcon
    return construct.Pass
