"""The values that a frame is built from, made complete: what may be absent, and what is computed.

Like `layout` this knows construct's insides.
"""

from __future__ import annotations

from typing import Any

import construct

from protokit.wire.expressions import resolve
from protokit.wire.sides import SIDE
from protokit.wire.views import calculate
from protokit.wire.vocabulary import UVar


def complete(declaration: Any, values: dict[str, Any], side: int) -> dict[str, Any]:
    """Fields that may be absent or are computed are None where no value is given."""
    if not isinstance(declaration, construct.Struct):
        return values
    for field in declaration.subcons:
        name = field.name
        if name is None:
            continue
        inner = field.subcon if isinstance(field, construct.Renamed) else field
        if name not in values:
            if isinstance(
                inner, construct.IfThenElse | construct.Rebuild | construct.Const | construct.Default
            ):
                values[name] = None
            continue
        if isinstance(values[name], dict):
            if isinstance(inner, construct.Struct):
                values[name] = complete(inner, dict(values[name]), side)
            elif isinstance(inner, construct.Switch):
                key = calculate(resolve(inner.keyfunc, (), (name,)), {**values, SIDE: side})
                values[name] = complete(inner.cases.get(key, inner.default), dict(values[name]), side)
            elif isinstance(inner, construct.IfThenElse):
                one: Any = inner.thensubcon
                if isinstance(inner.elsesubcon, construct.Struct):
                    test = calculate(resolve(inner.condfunc, (), (name,)), {**values, SIDE: side})
                    one = inner.thensubcon if test else inner.elsesubcon
                values[name] = complete(one, dict(values[name]), side)
    return values


def _may_count(field: Any) -> bool:
    """Whether a field is a varint that is computed, in a branch perhaps."""
    inner = field.subcon if isinstance(field, construct.Renamed) else field
    both = [inner.thensubcon, inner.elsesubcon] if isinstance(inner, construct.IfThenElse) else [inner]
    return any(isinstance(one, construct.Rebuild) and isinstance(one.subcon, UVar) for one in both)


def counting(declaration: Any) -> list[Any]:
    """The varints of a frame that are computed, from the last on: see ``count``."""
    return [field for field in reversed(declaration.subcons) if _may_count(field)]


def count(fields: list[Any], values: dict[str, Any]) -> None:
    """Varints that are lengths, from the last on: what stands in front of them may count their bytes."""
    for field in fields:
        inner, at = field.subcon if isinstance(field, construct.Renamed) else field, (field.name,)
        if isinstance(inner, construct.IfThenElse) and isinstance(inner.thensubcon, construct.Rebuild):
            test = calculate(resolve(inner.condfunc, (), at), values)
            inner = inner.thensubcon if test else inner.elsesubcon
        if isinstance(inner, construct.Rebuild) and isinstance(inner.subcon, UVar):
            values[field.name] = calculate(resolve(inner.func, (), at), values)
