"""Values of Hessian to and from Python, in the dialects that protocols speak: for filters, plugins and tools.

| Hessian              | Python                                                            |
|----------------------|-------------------------------------------------------------------|
| null, bool, double   | None, bool, float                                                 |
| int, long            | int (written as an int where it fits 32 bits), ``Long``            |
| string               | str; a lone surrogate stays one                                   |
| binary, date         | bytes, datetime in UTC                                            |
| list, map, object    | list / ``TypedList``, dict / ``TypedMap``, ``Object``              |

References keep their identity: a cyclic list comes back cyclic. Nothing is ever made by class name. Requests
never come here: the engine steps over values natively (``protokit/values.h``, which has the same dialects).
Imports errors alone.
"""

from __future__ import annotations

from protokit.hessian.arguments import fitting, rewritten
from protokit.hessian.dialects import DRAFT, HESSIAN2, Dialect, Long, Object, TypedList, TypedMap
from protokit.hessian.reader import Reader
from protokit.hessian.writer import Writer

__all__ = [
    "DRAFT",
    "HESSIAN2",
    "Dialect",
    "Long",
    "Object",
    "Reader",
    "TypedList",
    "TypedMap",
    "Writer",
    "fitting",
    "rewritten",
]
