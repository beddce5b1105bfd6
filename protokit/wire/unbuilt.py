"""Why a frame cannot be built from plain values: which field, and what is wrong with it.

Like `layout` this knows construct's insides.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

import construct

from protokit.wire.expressions import fields_of, resolve, show, written
from protokit.wire.given import seen
from protokit.wire.measures import Measured
from protokit.wire.repeats import Repeat
from protokit.wire.views import calculate, value_at
from protokit.wire.vocabulary import Chunks, Until, UVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from protokit.wire.expressions import FieldPath

_COMPUTED = construct.Rebuild | construct.Const | construct.Default | construct.Check | type(construct.Pass)


_WIDE = re.compile(r"struct '[<>=](\w)' error during building, given value (.*)")  # construct's words
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
        values: what it was to be built from, and who sends it.
    """
    wrong = _wrong(declaration, values, values, ())
    if wrong is not None:
        return wrong
    if isinstance(error, construct.CheckError) and (check := _failed(declaration, values, ())):
        return check
    if isinstance(error, construct.ConstructError) and getattr(error, "path", None):
        names = str(error.path).split(" -> ")[1:]
        where = ".".join(names)
        if isinstance(error, construct.StringError) and value_at(values, tuple(names)) is None:
            return f"{where} has no value; give it one: {{{names[-1]!r}: ...}}"
        why = str(error).partition(chr(10))[2] or str(error)
        if isinstance(error, construct.FormatFieldError) and (wide := _WIDE.match(why)):
            least = " from 0 on" if wide[1].isupper() else ""
            why = f"{wide[2]} does not fit an integer of {struct.calcsize('=' + wide[1])} bytes{least}"
        return f"{where or 'the format'}: {why}"
    return str(error)


def _wrong(declaration: Any, values: Any, whole: Any, at: FieldPath) -> str | None:
    """What is said of the first field that needs a value and has none, or one of another kind."""
    for field in declaration.subcons:
        path = (*at, field.name or "")
        inner = _taken(field, whole, path)
        if field.name is None and isinstance(inner, _TAKES[0][0] | _TAKES[1][0]):
            kind = type(inner).__name__
            return f'a {kind} has no name, and so no value; write "name" / {kind}'
        if field.name is None or inner is None or isinstance(inner, _COMPUTED):
            continue
        value, name = values.get(field.name), show(path)
        if inner is construct.Error:
            return f"{name}: none of its cases is for these values; change what its Switch goes by"
        if value is None:
            return f"{name} has no value; give it one: {{{field.name!r}: ...}}"
        for kinds, fits, instead in _TAKES:
            if isinstance(inner, kinds) and not fits(value):
                return f"{name}: {seen(value)} was given; it takes {instead}"
        if isinstance(inner, construct.Struct):
            found = _wrong(inner, value, whole, path)
            if found is not None:
                return found
    return None


def _failed(declaration: Any, whole: Any, at: FieldPath) -> str | None:
    """The first Check that does not hold, with what it is of."""
    for field in declaration.subcons:
        inner = _taken(field, whole, (*at, field.name or ""))
        if isinstance(inner, construct.Check):
            by = resolve(inner.func, at, (*at, "Check"))
            try:
                holds = calculate(by, whole)
            except (TypeError, ValueError):  # of what is no number
                holds = False
            if not holds:
                are = [f"{show(path)} is {seen(value_at(whole, path))}" for path in sorted(fields_of(by))]
                return f"a Check does not hold, {written(by)}: {' and '.join(are) or 'it never does'}"
        if isinstance(inner, construct.Struct):
            found = _failed(inner, whole, (*at, field.name) if field.name else at)
            if found is not None:
                return found
    return None


def _taken(field: Any, whole: Any, at: FieldPath) -> Any:
    """What a field is in this frame, by what decides it; None where that cannot be told here."""
    while True:
        if isinstance(field, construct.Renamed):
            field = field.subcon
        elif isinstance(field, construct.IfThenElse | construct.Switch):
            try:
                key = field.condfunc if isinstance(field, construct.IfThenElse) else field.keyfunc
                by = resolve(key, at[:-1], at)
                decided = calculate(by, whole)
                known = all(value_at(whole, path) is not None for path in fields_of(by))
            except Exception:  # noqa: BLE001  # of values of any kind; this only explains what went wrong
                return None
            if not known:  # it is computed, perhaps from this field
                return None
            if isinstance(field, construct.Switch):
                field = field.cases.get(decided, field.default)
            else:
                field = field.thensubcon if decided else field.elsesubcon
        else:
            return field
