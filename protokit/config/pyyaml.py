"""PyYAML, whose expressions are compiled when they are used first.

libyaml needs none of them, but importing ``yaml`` compiles those of its readers in Python, one of them over
all of Unicode: a sixth of the proxy's start. Where it is imported already nothing is to be saved.
"""

from __future__ import annotations

import re
from typing import Any

_compile: Any = re.compile


class _Later:
    """A compiled expression, once something is asked of it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._arguments, self._named = arguments, named

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__[name] = getattr(_compile(*self._arguments, **self._named), name)
        return value


re.compile = _Later  # type: ignore[assignment]  # for this one import
try:
    import yaml
finally:
    re.compile = _compile

__all__ = ["yaml"]
