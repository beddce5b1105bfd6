"""The arguments of a call, with others in their places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit.errors import LocalProtocolError
from protokit.hessian.dialects import Dialect, Long
from protokit.hessian.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONG = {"J", "Ljava/lang/Long;", "long", "java.lang.Long"}
_DOUBLE = {"D", "F", "Ljava/lang/Double;", "Ljava/lang/Float;", "double", "float", "java.lang.Double"}
_DOUBLE |= {"java.lang.Float"}


def fitting(values: Sequence[Any], types: Sequence[str], dialect: Dialect) -> list[Any]:
    """Values as the types of the parameters want them: Python has lost whether one is a long or a double.

    Raises:
        LocalProtocolError: a whole number fits no double.
    """
    return [_fitting(one, types[i] if i < len(types) else "", dialect) for i, one in enumerate(values)]


def _fitting(value: Any, type_: str, dialect: Dialect) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return Long(value) if type_ in _LONG else float(value) if type_ in _DOUBLE else value
    except OverflowError:
        what = "a whole number that fits no double, for a parameter of one"
        raise LocalProtocolError(f"{dialect.name}: {what}") from None


def rewritten(
    data: bytes,
    spans: Sequence[tuple[int, int]],
    before: Sequence[Any],
    after: Sequence[Any],
    dialect: Dialect,
) -> bytes | None:
    """The arguments anew, each by itself: those that are what they were stay byte for byte.

    Args:
        data: the body, in which nothing of them is said by a number.
        spans: between which offsets each stands.
        before: what they are.
        after: what they are to be.
        dialect: in which they are.

    Returns:
        None where one needs numbers: all of them have to be written together.
    """
    parts = []
    for was, now, (start, end) in zip(before, after, spans, strict=True):
        old, new = Writer(dialect), Writer(dialect)
        old.write(was)
        new.write(now)
        if old.data == new.data:
            parts.append(data[start:end])
        elif new.numbered:
            return None
        else:
            parts.append(bytes(new.data))
    return b"".join(parts)
