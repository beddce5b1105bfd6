"""Regular expressions of other packages, compiled when they are used first.

Most never are, and to compile them all takes a sixth of the proxy's start.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_compile: Any = re.compile


class _Later:
    """A compiled expression, once something is asked of it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._arguments, self._named = arguments, named

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__[name] = getattr(_compile(*self._arguments, **self._named), name)
        return value


@contextlib.contextmanager
def expressions() -> Iterator[None]:
    """What is imported within compiles none."""
    re.compile = _Later  # type: ignore[assignment]
    try:
        yield
    finally:
        re.compile = _compile
