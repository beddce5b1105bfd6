"""Integers that are found in texts: what a view says is computed and compared with, as fields are.

``view == "text"``, ``starts(view, "+")``, ``isin(view, {...})`` are 1 or 0; ``number(view)`` is what its
digits say. They stand in any expression of a format's meaning beside ``this.field``; in its layout
(``laid.py``) they read what is in front.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire.expressions import (
    Expression,
    Field,
    FieldPath,
    Laid,
    Looked,
    Reading,
    readings_of,
    show,
    strict,
)
from protokit.wire.given import seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from protokit.wire.views import View

Container = Any
DIGITS = 18  # of a decimal text, at most; what has more counts as 0
LONGEST = 2**32 - 1  # what a layout counts up to

_lenient: ContextVar[bool] = ContextVar("_lenient", default=False)


@contextmanager
def unreadable_is_absent() -> Iterator[None]:
    """What a section's malformed part holds is not there: kinds and answers are told by what can be read."""
    token = _lenient.set(True)
    try:
        yield
    finally:
        _lenient.reset(token)


def tried(find: Callable[[], bytes | None]) -> bytes | None:
    """What is found; where it is malformed None or the error, as whoever asks wants it."""
    try:
        return find()
    except RemoteProtocolError:
        if _lenient.get():
            return None
        raise


def plain(text: str | bytes, what: str) -> bytes:
    """A text that views are compared with."""
    if not isinstance(text, str | bytes):
        raise DeclarationError(f"{what}: a view is compared with texts, not with {seen(text)}")
    return text.encode() if isinstance(text, str) else text


class Same(Reading):
    """Whether a view is a text."""

    def __init__(self, view: View, text: bytes) -> None:
        self.view = view
        self.text = text

    def get(self, container: Container) -> int:
        """1 or 0."""
        return int(self.view.get(container) == self.text)

    def __repr__(self) -> str:
        return f"({self.view!r} == {_shown(self.text)})"


class Starts(Reading):
    """Whether a view is there and begins with a text."""

    def __init__(self, view: View, text: bytes) -> None:
        self.view = view
        self.text = text

    def get(self, container: Container) -> int:
        """1 or 0."""
        found = self.view.get(container)
        return int(found is not None and found.startswith(self.text))

    def __repr__(self) -> str:
        return f"starts({self.view!r}, {_shown(self.text)})"


class Number(Reading):
    """A view's decimal digits as an integer, with a minus or without; 0 where it is none."""

    def __init__(self, view: View) -> None:
        self.view = view

    def get(self, container: Container) -> int:
        """The integer."""
        found = self.view.get(container)
        text = found or b""
        digits = text[1:] if text[:1] == b"-" else text
        if not strict.get() or found is None:
            return int(text) if digits.isdigit() and len(digits) <= DIGITS else 0
        if not digits.isdigit() or (text[:1] == b"-" and digits[:1] == b"0"):
            raise RemoteProtocolError(f"{self!r}: {text[:40]!r} is no length: digits were expected")
        if (value := int(digits[-4000:])) > LONGEST:
            raise RemoteProtocolError(f"{self!r}: {text[:40]!r} is over {LONGEST}")
        return -value if text[:1] == b"-" else value

    def __repr__(self) -> str:
        return f"number({self.view!r})"


class Named(Reading):
    """Which of some texts a view is, from 0 on; -1 for none."""

    def __init__(self, view: View, texts: Iterable[bytes]) -> None:
        self.view = view
        self.texts = tuple(dict.fromkeys(texts))

    def get(self, container: Container) -> int:
        """The text's number."""
        found = self.view.get(container)
        return self.texts.index(found) if found in self.texts else -1

    def __repr__(self) -> str:
        return f"isin({self.view!r}, {{{', '.join(_shown(text) for text in self.texts)}}})"


def _shown(text: bytes) -> str:
    try:
        return repr(text.decode())
    except UnicodeDecodeError:
        return repr(text)


def views_of(expression: Expression) -> list[View]:
    """The views that an expression reads, in their order."""
    return [one.view for one in readings_of(expression)]


def compared_by(expressions: Iterable[Expression]) -> list[bytes]:
    """The texts that views are compared with."""
    found: list[bytes] = []
    for reading in (reading for one in expressions for reading in readings_of(one)):
        plain_one = reading.reading if isinstance(reading, Laid) else reading
        if isinstance(plain_one, Same | Starts):
            found.append(plain_one.text)
        elif isinstance(plain_one, Named):
            found += plain_one.texts
    return found


def write(expression: Expression, container: Container, value: int, what: str) -> None:
    """Let an expression have that value: the inverse of reading a field or a text.

    Raises:
        LocalProtocolError: it is computed, or its field is not in this frame.
    """
    if isinstance(expression, Field):
        _put(expression.path, container, value, what)
    elif isinstance(expression, Looked) and isinstance(expression.reading, Named):
        expression.reading.view.replace(container, expression.reading.texts[value])
    elif isinstance(expression, Looked) and isinstance(expression.reading, Number):
        expression.reading.view.replace(container, str(value).encode())
    else:
        raise LocalProtocolError(f"{what} is computed: only a field, this.NAME, can be written to")


def _put(path: FieldPath, container: Container, value: int, what: str) -> None:
    for name in path[:-1]:
        container = container.get(name) if isinstance(container, dict) else None
    if not isinstance(container, dict) or container.get(path[-1]) is None:
        raise LocalProtocolError(f"{what}: {show(path)} is not in this frame and cannot be written to")
    container[path[-1]] = value
