"""What a declaration computes: integers of fields, with every reference resolved to a path from the root.

With ``layout`` and ``evaluation`` this is the only place that knows construct's insides.
"""

from __future__ import annotations

import operator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from construct import expr

from protokit.errors import DeclarationError
from protokit.wire.given import seen
from protokit.wire.known import Asked
from protokit.wire.sides import SIDE, Side
from protokit.wire.vocabulary import varint_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Valued = Callable[[Any], int]


FieldPath = tuple[str, ...]
strict: ContextVar[bool] = ContextVar("strict", default=False)  # what is read decides what is laid out


@contextmanager
def strictly() -> Iterator[None]:
    """Texts are read as a layout reads them: what is no number, or is there twice in two ways, is wrong."""
    token = strict.set(True)
    try:
        yield
    finally:
        strict.reset(token)


def value_at(container: Any, path: FieldPath) -> Any:
    """What stands at a path; None where that branch is absent."""
    for name in path:
        if not isinstance(container, dict):
            return None
        container = container.get(name)
    return container


# Each part of an expression knows its value ``of`` parsed fields, by a function that is made once: where a
# codec is tried, frames are read by the hundred thousand.


@dataclass(frozen=True)
class Field:
    """The value of a field."""

    path: FieldPath

    @cached_property
    def of(self) -> Valued:
        """Its value."""
        path = self.path
        (name, *inside) = path
        if inside:
            return lambda container: 0 if (value := value_at(container, path)) is None else int(value)

        def of(container: Any) -> int:
            value = container.get(name) if isinstance(container, dict) else None
            return 0 if value is None else int(value)

        return of


@dataclass(frozen=True)
class Size:
    """The bytes that a section takes, or a varint; 0 where it is absent."""

    path: FieldPath
    varint: bool

    def of(self, container: Any) -> int:
        """Its value."""
        value = value_at(container, self.path)
        return 0 if value is None else varint_size(value) if self.varint else len(value)


@dataclass(frozen=True)
class Binary:
    """``left op right``; op is a name in OPERATORS."""

    op: str
    left: Any
    right: Any

    @cached_property
    def of(self) -> Valued:
        """Its value."""
        function, left, right = FUNCTIONS[self.op], self.left, self.right
        if isinstance(left, int):
            return lambda container: int(function(left, calculate(right, container)))
        before = left.of
        if isinstance(right, int):
            return lambda container: int(function(before(container), right))
        behind = right.of
        return lambda container: int(function(before(container), behind(container)))

    @cached_property
    def fields(self) -> frozenset[FieldPath]:
        """See ``fields_of``."""
        return fields_of(self.left) | fields_of(self.right)

    @cached_property
    def readings(self) -> tuple[Any, ...]:
        """See ``readings_of``."""
        return readings_of(self.left) + readings_of(self.right)


@dataclass(frozen=True)
class Not:
    """1 where the operand is 0, else 0."""

    operand: Any

    def of(self, container: Any) -> int:
        """Its value."""
        return int(calculate(self.operand, container) == 0)


class Reading(expr.ExprMixin):  # type: ignore[misc]  # construct has no types
    """An integer that is found in a text (``readings.py``); it is computed with as fields are."""

    view: Any

    def get(self, container: Any) -> int:  # overridden
        """The integer, of a parsed frame."""
        raise NotImplementedError

    __hash__ = object.__hash__


class Laid(Reading):
    """A reading that a layout is computed from: of sections in front, and strict."""

    def __init__(self, reading: Any) -> None:
        self.reading = reading
        self.view = reading.view

    def get(self, container: Any) -> int:
        """The integer; wrong texts are errors."""
        with strictly():
            return int(self.reading.get(container))

    def __repr__(self) -> str:
        return repr(self.reading)


@dataclass(frozen=True, eq=False)
class Looked:
    """What a reading says, where all that it reads is there."""

    reading: Any

    def of(self, container: Any) -> int:
        """Its value."""
        return int(self.reading.get(container))


@dataclass(frozen=True)
class Sent:
    """Which side sent the frame, as a number in ``native.SIDES``."""

    @staticmethod
    def of(container: Any) -> int:
        """Its value."""
        return int(container.get(SIDE) or 0)


@dataclass(frozen=True, eq=False)
class Known:
    """What the request says that a frame answers."""

    asked: Asked

    @staticmethod
    def of(container: Any) -> int:  # noqa: ARG004  # what is parsed by itself answers nothing
        """Its value."""
        return 0


# An expression is an int, a Field, a Size, a Binary, a Not, a Looked, a Sent or a Known.
Expression = int | Field | Size | Binary | Not | Looked | Sent | Known


def calculate(expression: Expression, container: Any) -> int:
    """An expression's value on parsed fields; a field that is absent counts as 0."""
    return expression if isinstance(expression, int) else expression.of(container)


TERMS, DEPTH = 300, 160  # an expression with more, and so many operations in one another, is not gone through
OPERATORS = {
    operator.add: "ADD",
    operator.sub: "SUB",
    operator.mul: "MUL",
    operator.and_: "AND",
    operator.or_: "OR",
    operator.xor: "XOR",
    operator.lshift: "SHL",
    operator.rshift: "SHR",
    operator.eq: "EQ",
    operator.ne: "NE",
    operator.lt: "LT",
    operator.le: "LE",
    operator.gt: "GT",
    operator.ge: "GE",
}
FUNCTIONS = {name: function for function, name in OPERATORS.items()}


def show(path: FieldPath) -> str:
    """A path as a person writes it."""
    return ".".join(path) or "the format"


def refuse(path: FieldPath, why: str) -> DeclarationError:
    """What to raise of a field."""
    return DeclarationError(f"{show(path)}: {why}")


def resolve(value: Any, scope: FieldPath, at: FieldPath) -> Expression:
    """An expression of construct's, with paths from the root.

    Args:
        value: an int, ``this...``, or operations on them.
        scope: the path of the Struct that ``this`` means.
        at: the field that the expression is for; errors name it.
    """
    if isinstance(value, bool | int):
        return int(value)
    if _is_too_long(value):
        raise refuse(
            at,
            f"its expression has over {TERMS} terms; say ranges where there are, (this.type >= 1) & "
            "(this.type <= 99), or of texts isin(view, {...})",
        )
    return _resolved(value, scope, at)


def _is_too_long(value: Any) -> bool:
    """Asked without recursion: an expression may be of any depth."""
    left, terms, deepest = [(value, 0)], 0, 0
    while left and (terms <= TERMS or deepest <= DEPTH):
        one, depth = left.pop()
        deepest = max(deepest, depth)
        if isinstance(one, expr.BinExpr):
            left += [(one.lhs, depth + 1), (one.rhs, depth + 1)]
        elif isinstance(one, expr.UniExpr):
            left.append((one.operand, depth + 1))
        else:
            terms += 1
    return terms > TERMS and deepest > DEPTH


def _resolved(value: Any, scope: FieldPath, at: FieldPath) -> Expression:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, Side):
        return Sent()
    if isinstance(value, Asked):
        return Known(value)
    if isinstance(value, expr.BinExpr):
        name = OPERATORS.get(value.op)
        if name is None:
            raise refuse(
                at,
                f"the operation in {value} is not in the vocabulary; use + - * & | ^ << >> and comparisons",
            )
        return Binary(name, _resolved(value.lhs, scope, at), _resolved(value.rhs, scope, at))
    if isinstance(value, expr.UniExpr):
        if value.op is operator.not_:
            return Not(_resolved(value.operand, scope, at))
        return Binary("SUB", 0, _resolved(value.operand, scope, at))
    if isinstance(value, expr.Path):
        return Field(path_of(value, scope, at))
    if isinstance(value, expr.FuncPath):
        return _size(value, scope, at)
    if isinstance(value, Reading):
        return Looked(value)
    if callable(value):
        raise refuse(
            at,
            "a lambda or function cannot be compiled; write an expression with this, or use the native tier",
        )
    raise refuse(
        at,
        f"{seen(value)} is no expression: compute with this.NAME and integers; a view is compared with a "
        "text, or read by number(view)",
    )


def _size(value: Any, scope: FieldPath, at: FieldPath) -> Size:
    inner = vars(value)  # construct shows it no other way
    function, operand = inner["_FuncPath__func"], inner["_FuncPath__operand"]
    if function not in {len, varint_size} or not isinstance(operand, expr.Path):
        raise refuse(
            at,
            f"a function of {seen(operand)} is not in the vocabulary; there are len_(this.SECTION) and, of a "
            "UVar, size_(this.NAME)",
        )
    return Size(path_of(operand, scope, at), varint=function is varint_size)


def path_of(value: Any, scope: FieldPath, at: FieldPath) -> FieldPath:
    """The path from the root that ``this.x``, ``this._.x`` or ``this._root.x`` means."""
    names: list[str] = []
    while value._Path__parent is not None:  # noqa: SLF001  # construct 2.10 shows it no other way
        names.append(value._Path__field)  # noqa: SLF001
        value = value._Path__parent  # noqa: SLF001
    found = list(scope)
    for name in reversed(names):
        if not isinstance(name, str):
            raise refuse(
                at,
                "an array's element cannot be named (this.x[i]); Chunks(this.x) lays sections out by lengths",
            )
        if name == "_":
            if not found:
                raise refuse(at, "'_' leads out of the format")
            found.pop()
        elif name == "_root":
            found = []
        else:
            found.append(name)
    return tuple(found)


def computable(expression: Expression, at: FieldPath) -> Expression:
    """The same, unless it multiplies two fields: the engine multiplies by constants."""
    if isinstance(expression, Binary):
        left, right = computable(expression.left, at), computable(expression.right, at)
        if expression.op == "MUL" and not isinstance(left, int) and not isinstance(right, int):
            raise refuse(at, f"{written(expression)} multiplies two fields; multiply a field by a constant")
    elif isinstance(expression, Not):
        computable(expression.operand, at)
    return expression


def fields_of(expression: Expression) -> frozenset[FieldPath]:
    """The paths that an expression reads."""
    if isinstance(expression, Binary):
        return expression.fields
    if isinstance(expression, Field | Size):
        return frozenset({expression.path})
    return fields_of(expression.operand) if isinstance(expression, Not) else frozenset()


def laid(expression: Expression) -> Expression:
    """An expression of a layout: its readings are strict."""
    if isinstance(expression, Looked):
        return Looked(Laid(expression.reading))
    if isinstance(expression, Binary):
        return Binary(expression.op, laid(expression.left), laid(expression.right))
    return Not(laid(expression.operand)) if isinstance(expression, Not) else expression


def sizes_of(expression: Expression) -> set[Size]:
    """The sizes that an expression reads."""
    if isinstance(expression, Size):
        return {expression}
    if isinstance(expression, Binary):
        return sizes_of(expression.left) | sizes_of(expression.right)
    return sizes_of(expression.operand) if isinstance(expression, Not) else set()


def readings_of(expression: Expression) -> tuple[Any, ...]:
    """The readings in an expression, in their order."""
    if isinstance(expression, Binary):
        return expression.readings
    if isinstance(expression, Looked):
        return (expression.reading,)
    return readings_of(expression.operand) if isinstance(expression, Not) else ()


def known_of(expression: Expression) -> list[Asked]:
    """What an expression wants to know of the request."""
    if isinstance(expression, Known):
        return [expression.asked]
    if isinstance(expression, Binary):
        return known_of(expression.left) + known_of(expression.right)
    return known_of(expression.operand) if isinstance(expression, Not) else []


def written(expression: Expression) -> str:
    """An expression as a person writes it."""
    signs = {"EQ": "==", "NE": "!=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">=", "ADD": "+", "SUB": "-"}
    signs |= {"MUL": "*", "AND": "&", "OR": "|", "XOR": "^", "SHL": "<<", "SHR": ">>"}
    if isinstance(expression, Field):
        return show(expression.path)
    if isinstance(expression, Size):
        return f"the size of {show(expression.path)}"
    if isinstance(expression, Looked):
        return repr(expression.reading)
    if isinstance(expression, Known):
        return f"asked({written(resolve(expression.asked.value, (), ('asked',)))})"
    if isinstance(expression, Sent):
        return "side"
    if isinstance(expression, Not):
        return f"not {written(expression.operand)}"
    if isinstance(expression, int):
        return str(expression)
    return f"({written(expression.left)} {signs[expression.op]} {written(expression.right)})"
