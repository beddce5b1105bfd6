"""A declaration whose expressions count what is absent as 0, for the reference codec.

To construct a field of a branch that was not taken is None, with which nothing can be computed; to the engine
it is 0. Like ``layout`` this knows construct's insides.
"""

from __future__ import annotations

import copy
from typing import Any

from construct import expr

from protokit.wire.sides import Side
from protokit.wire.vocabulary import lengths

_EXPRESSIONS = ("length", "count", "condfunc", "keyfunc", "func")
_INNER = ("subcon", "thensubcon", "elsesubcon", "lengthfield", "default")


class _Computed:
    """Stands in an expression's place."""

    def __init__(self, expression: Any) -> None:
        self.expression = expression

    def __call__(self, context: Any) -> Any:
        return _value(self.expression, context)


def _there(path: Any, context: Any) -> Any:
    """What a path leads to; None where that branch is absent."""
    try:
        return path(context)
    except (KeyError, TypeError):  # a name that is not there, or inside of None
        return None


def _value(expression: Any, context: Any) -> Any:
    if isinstance(expression, expr.BinExpr):
        return expression.op(_value(expression.lhs, context), _value(expression.rhs, context))
    if isinstance(expression, expr.UniExpr):
        return expression.op(_value(expression.operand, context))
    if isinstance(expression, expr.FuncPath):
        inner = vars(expression)  # construct shows it no other way
        found = _there(inner["_FuncPath__operand"], context)
        return 0 if found is None else inner["_FuncPath__func"](found)
    if isinstance(expression, Side):
        return expression(context)
    if isinstance(expression, lengths):
        found = _there(expression.chunks, context)
        return [] if found is None else [len(one) for one in found]
    if isinstance(expression, expr.ExprMixin):
        found = _there(expression, context)
        return 0 if found is None else found
    return expression


def evaluated(declaration: Any) -> Any:
    """A copy of the declaration that reads and writes the same frames, and more where parts are absent."""
    if isinstance(declaration, dict):
        return {key: evaluated(case) for key, case in declaration.items()}
    found = copy.copy(declaration)
    for name, value in vars(declaration).items():
        if name in _EXPRESSIONS and isinstance(value, expr.ExprMixin | lengths):
            setattr(found, name, _Computed(value))
        elif name in _INNER and value is not None:
            setattr(found, name, evaluated(value))
        elif name == "subcons":
            found.subcons = [evaluated(one) for one in value]
        elif name == "cases":
            found.cases = evaluated(value)
    return found
