"""A declaration whose expressions count what is absent as 0, for the reference codec.

To construct a field of a branch that was not taken is None, with which nothing can be computed; to the engine
it is 0. Like ``layout`` this knows construct's insides.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import construct
from construct import expr

from protokit.wire.expressions import Reading, strictly
from protokit.wire.sides import Side
from protokit.wire.vocabulary import lengths

if TYPE_CHECKING:
    from collections.abc import Callable

_EXPRESSIONS = ("length", "count", "condfunc", "keyfunc", "func", "until", "adding", "to")
_INNER = ("subcon", "thensubcon", "elsesubcon", "lengthfield", "default")


def _frame(context: Any, scope: tuple[str, ...]) -> dict[str, Any]:
    """All of the frame that there is so far, where views look."""
    found = dict(context)
    for name in reversed(scope):
        context = context["_"]
        found = {**context, name: found}
    return found


def _there(path: Any, context: Any) -> Any:
    """What a path leads to; None where that branch is absent."""
    try:
        return path(context)
    except (KeyError, TypeError):  # a name that is not there, or inside of None
        return None


def _made(expression: Any, scope: tuple[str, ...]) -> Callable[[Any], Any]:
    """What gives an expression's value in a context: it is looked at once, and not for each frame."""
    if isinstance(expression, expr.BinExpr):
        op, left, right = expression.op, _made(expression.lhs, scope), _made(expression.rhs, scope)
        if isinstance(constant := expression.rhs, int):
            return lambda context: op(left(context), constant)
        return lambda context: op(left(context), right(context))
    if isinstance(expression, expr.UniExpr):
        op, operand = expression.op, _made(expression.operand, scope)
        return lambda context: op(operand(context))
    if isinstance(expression, expr.FuncPath):
        inner = vars(expression)  # construct shows it no other way
        path, function = inner["_FuncPath__operand"], inner["_FuncPath__func"]
        return lambda context: 0 if (found := _there(path, context)) is None else function(found)
    if isinstance(expression, Side):
        return expression.__call__
    if isinstance(expression, Reading):

        def read(context: Any) -> Any:
            with strictly():
                return expression.get(_frame(context, scope))

        return read
    if isinstance(expression, lengths):
        return lambda context: [len(one) for one in _there(expression.chunks, context) or ()]
    if type(expression) is expr.Path:
        return _looked_up(expression)
    if isinstance(expression, expr.ExprMixin):
        return lambda context: 0 if (found := _there(expression, context)) is None else found
    return lambda _: expression


def _looked_up(path: expr.Path) -> Callable[[Any], Any]:
    """As any expression, without a call for each of its names."""
    names: list[Any] = []
    inner = vars(path)  # construct shows it no other way
    while (parent := inner["_Path__parent"]) is not None:
        names.insert(0, inner["_Path__field"])
        inner = vars(parent)

    def look(context: Any) -> Any:
        try:
            for name in names:
                context = context[name]
        except (KeyError, TypeError):  # a name that is not there, or inside of None
            return 0
        return 0 if context is None else context

    return look


class _Struct(construct.Struct):  # type: ignore[misc]  # construct has no types
    """A Struct that reads its fields without a call for each name and each hook that is not there."""

    def told(self) -> None:
        """Its subcons are what they will be."""
        self._fields = []
        for one in self.subcons:
            named = type(one) is construct.Renamed and one.parsed is None
            inner = one.subcon if named else one
            read = inner._parse if inner.parsed is None else inner._parsereport  # noqa: SLF001
            self._fields.append((one.name, f" -> {one.name}" if named else "", read))

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        found = construct.Container(_io=stream)
        inside = construct.Container(
            _=context,
            _params=context["_params"],
            _root=None,
            _parsing=context["_parsing"],
            _building=context["_building"],
            _sizing=context["_sizing"],
            _subcons=self._subcons,
            _io=stream,
            _index=context.get("_index"),
        )
        inside["_root"] = context.get("_root", inside)
        for name, named, read in self._fields:
            value = read(stream, inside, path + named)
            if name:
                found[name] = inside[name] = value
        return found


def evaluated(declaration: Any, scope: tuple[str, ...] = (), name: str | None = None) -> Any:
    """A copy of the declaration that reads and writes the same frames, and more where parts are absent.

    Args:
        declaration: a Struct, or what stands in one.
        scope: the path of the Struct that it stands in.
        name: its own in there.
    """
    if isinstance(declaration, dict):
        return {key: evaluated(case, scope, name) for key, case in declaration.items()}
    found = copy.copy(declaration)
    if isinstance(declaration, construct.Renamed):
        name = declaration.name
    inner = (*scope, name) if name is not None and isinstance(declaration, construct.Struct) else scope
    for attribute, value in vars(declaration).items():
        if attribute in _EXPRESSIONS and isinstance(value, expr.ExprMixin | lengths):
            setattr(found, attribute, _made(value, scope))
        elif attribute in _INNER and value is not None:
            setattr(found, attribute, evaluated(value, scope, name))
        elif attribute == "subcons":
            found.subcons = [evaluated(one, inner) for one in value]
        elif attribute == "cases":
            found.cases = evaluated(value, scope, name)
    if type(declaration) is construct.Struct:
        found.__class__ = _Struct
        found.told()
    return found
