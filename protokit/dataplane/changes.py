"""A rule's changes to its requests: records of the table, or a filter where those are made in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit import native
from protokit.config.schema import SOURCE, HeaderValue
from protokit.dataplane.filters import FIELDS
from protokit.model import Filter
from protokit.table import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protokit.config import schema
    from protokit.model import Request
    from protokit.table import Image

CHANGES = Source("changes", columns=("what", "how", "of", "key", "value"))
_HOW = native.constants("PK_CHANGE_")


def add(image: Image, rules: Sequence[schema.Set | None]) -> tuple[list[int], list[int]]:
    """Each rule's changes: the first of them, and how many."""
    rows = [[] if rule is None else _rows(image, rule) for rule in rules]
    flat = [row for each in rows for row in each]
    given = {name: [row[at] for row in flat] for at, name in enumerate(("what", "how", "of", "key", "value"))}
    first = image.add(CHANGES, flat, **given)
    firsts = []
    for each in rows:
        firsts.append(first)
        first += len(each)
    return firsts, list(map(len, rows))


_Row = tuple[int, int, int | None, str, str]


def _rows(image: Image, rule: schema.Set) -> list[_Row]:
    rows = [
        _row(image, what, "set", "", value)
        for what, field in FIELDS.items()
        if (value := getattr(rule, field)) is not None
    ]
    rows += [_row(image, native.EDIT_HEADER, "set", key, value) for key, value in rule.headers.items()]
    rows += [_row(image, native.EDIT_HEADER, "append", key, value) for key, value in rule.append.items()]
    return rows + [_row(image, native.EDIT_HEADER, "remove", key, "") for key in rule.remove]


def _row(image: Image, what: int, how: str, key: str, value: schema.Value) -> _Row:
    if isinstance(value, HeaderValue):
        return what, _HOW[how], image.key([("header", value.header)]).first, key, ""
    if value == SOURCE:
        return what, _HOW[how], image.key([("source", "")]).first, key, ""
    return what, _HOW[how], None, key, value


class Setter(Filter):
    """The same in Python.

    Args:
        rule: what it sets.
    """

    def __init__(self, rule: schema.Set) -> None:
        self._rule = rule

    async def request(self, request: Request) -> None:
        """Change it. A header whose value would come of one that is absent stays as it is."""
        before = request.copy()
        for field in FIELDS.values():
            value = _value(getattr(self._rule, field), before)
            if value is not None:
                setattr(request, field, value)
        if not (self._rule.headers or self._rule.append or self._rule.remove):
            return
        for key, given in self._rule.headers.items():
            if (value := _value(given, before)) is not None:
                request.headers[key] = value
        for key, given in self._rule.append.items():
            if (value := _value(given, before)) is not None:
                was = before.header(key)
                request.headers[key] = value if was is None else f"{was},{value}"
        for key in self._rule.remove:
            request.headers.pop(key, None)


def _value(given: schema.Value | None, request: Request) -> str | None:
    return request.header(given.header) if isinstance(given, HeaderValue) else given
