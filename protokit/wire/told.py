"""Numbers in texts that count an id: ``Content-Length`` over JSON that the id stands in.

When another id takes its place they are written again where they stand, and nothing around them: with as many
digits as it takes, or as many as before where they begin with a zero or their section has a fixed size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, LocalProtocolError
from protokit.wire import views
from protokit.wire.expressions import Binary, Expression, Looked, Not, show, sizes_of
from protokit.wire.nodes import Condition, Delimited, Section, expression_of, walk
from protokit.wire.readings import Number

if TYPE_CHECKING:
    from protokit.wire.expressions import FieldPath
    from protokit.wire.nodes import Node

DIGITS = 64  # of a counter's form (PK_COUNT_DIGITS)
FIXED = 128
MOST = 20  # digits that are written again


class CannotRewriteError(DeclarationError):
    """The engine can read an id there, and not write its own, which only multiplexing needs."""


@dataclass(frozen=True)
class Told:
    """A number that is found in a text, in a sum: two of one text are the same."""

    name: str
    view: Any = field(compare=False)

    @property
    def path(self) -> FieldPath:
        """The section that it stands in."""
        return views.sections_of([self.view])[0]


@dataclass(frozen=True)
class Digits:
    """What counts an id.

    Attributes:
        fixed: it is all of a section that always has so many bytes.
    """

    told: Told
    fixed: bool

    @property
    def path(self) -> FieldPath:
        """The section that it stands in."""
        return self.told.path

    @property
    def form(self) -> int:
        """As the engine has it."""
        return DIGITS | FIXED * self.fixed

    def add(self, container: Any, more: int) -> None:
        """Write it again, in place.

        Raises:
            LocalProtocolError: it has no room, or stands there twice.
        """
        _put(self.told.view, container, lambda digits: again(digits, more, fixed=self.fixed))


def told_of(expression: Expression) -> Told | None:
    """The number that an expression is, if it is one."""
    if isinstance(expression, Looked):
        reading = getattr(expression.reading, "reading", expression.reading)
        if isinstance(reading, Number):
            return Told(repr(reading.view), reading.view)
    return None


def all_told(expression: Expression) -> set[Told]:
    """The numbers in an expression."""
    if isinstance(expression, Binary):
        return all_told(expression.left) | all_told(expression.right)
    if isinstance(expression, Not):
        return all_told(expression.operand)
    one = told_of(expression)
    return set() if one is None else {one}


def digits_of(nodes: tuple[Node, ...], told: Told, about: str) -> Digits:
    """What counts the id ``about`` in a text.

    Raises:
        CannotRewriteError: it cannot be written again there; says why and what to use instead.
    """
    path = told.path
    holds, *others = [one for one in walk(nodes) if getattr(one, "path", None) == path]
    whole = isinstance(told.view, views.Text)
    fixed = isinstance(holds, Section) and isinstance(holds.length, int)
    several = others or len(set(views.sections_of([told.view]))) > 1
    if several or not (isinstance(holds, Delimited) or (fixed and whole)):
        raise CannotRewriteError(
            f"{show(path)}: {told.name} counts the id {about}, whose digits may be more or fewer; let a "
            "delimiter end that section (Until), or give the number a section of fixed size: Bytes(8)"
        )
    for node in walk(nodes):
        expression = expression_of(node)
        if not fixed and any(size.path == path for size in sizes_of(expression)):
            raise CannotRewriteError(
                f"{show(path)}: its size is counted, and changes with the digits of {told.name}, which count "
                f"the id {about}; give the number a section of fixed size: Bytes(8)"
            )
        if isinstance(node, Condition) and told in all_told(expression):
            raise CannotRewriteError(
                f"{show(path)}: a check goes by {told.name}, which counts the id {about}; the engine's own "
                "ids have other sizes, so leave the check to the service"
            )
    return Digits(told, fixed)


def again(digits: bytes, more: int, *, fixed: bool) -> bytes:
    """Decimal digits with ``more`` added.

    Raises:
        LocalProtocolError: they have no room for it.
    """
    value = int(digits) + more
    padded = digits.startswith(b"0") and len(digits) > 1
    if not fixed and not padded:
        return b"%d" % value
    made = b"%d" % value
    if value < 0 or len(digits) > MOST or len(made) + (padded and not fixed) > len(digits):
        raise LocalProtocolError(f"{digits!r} counts the id, and has no room for {value}")
    return made.rjust(len(digits), b"0")


def _put(view: views.View, container: Any, change: Any) -> None:
    """Change the digits that a view finds, and nothing around them.

    Raises:
        LocalProtocolError: there are none.
    """
    digits = view.get(container)
    if digits is None or not digits.removeprefix(b"-").isdigit():
        raise LocalProtocolError(f"{view!r} says no number, and what it counts has another size")
    if isinstance(view, views.First):
        found = [one for one in view.views if one.get(container) is not None]
        _put(found[0], container, change)
        return
    if isinstance(view, views.Item):
        view.pairs.rewrite_only(container, view.key, change)
        return
    view.replace(container, change(digits))
