"""Which side of a connection sent a frame, where its bytes do not say it: ``side == "server"``."""

from __future__ import annotations

import operator
from typing import Any

from construct import expr

from protokit import native
from protokit.errors import DeclarationError
from protokit.wire.given import seen

SIDE = "_side"  # in what is parsed: a number in native.SIDES, which is 0 where nobody knows


class Side(expr.ExprMixin):  # type: ignore[misc]  # construct has no types
    """What ``side`` is: compared with ``"client"`` or ``"server"`` it is a condition, in the layout too."""

    def _compared(self, how: Any, other: object) -> Any:
        if not isinstance(other, str) or other not in native.SIDES:
            raise DeclarationError(f'side is compared with "client" or "server", not with {seen(other)}')
        return expr.BinExpr(how, self, native.SIDES.index(other))

    def __eq__(self, other: object) -> Any:
        return self._compared(operator.eq, other)

    def __ne__(self, other: object) -> Any:
        return self._compared(operator.ne, other)

    __hash__ = object.__hash__

    def __call__(self, context: Any) -> int:
        """Its number, of what is parsed or built."""
        return int(context._params.get(SIDE, 0))  # noqa: SLF001  # construct's name

    def __repr__(self) -> str:
        return "side"


side = Side()
