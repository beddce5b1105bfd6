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
    from protokit.model import Answer, Request
    from protokit.table import Image

CHANGES = Source("changes", columns=("what", "how", "of", "key", "value"))
_HOW = native.constants("PK_CHANGE_")


def add(image: Image, rules: Sequence[schema.Set | None]) -> tuple[list[int], list[int], list[int]]:
    """Each rule's changes: the first of them, how many, and how many of these, the last, are to answers."""
    rows = [[] if rule is None else _rows(image, rule) for rule in rules]
    flat = [row for each in rows for row in each]
    given = {name: [row[at] for row in flat] for at, name in enumerate(("what", "how", "of", "key", "value"))}
    first = image.add(CHANGES, flat, **given)
    firsts = []
    for each in rows:
        firsts.append(first)
        first += len(each)
    answers = [0 if rule is None or rule.answer is None else rule.answer.count() for rule in rules]
    return firsts, list(map(len, rows)), answers


_Row = tuple[int, int, int | None, str, str]


def _rows(image: Image, rule: schema.Set) -> list[_Row]:
    rows = [
        _row(image, what, "set", "", value)
        for what, field in FIELDS.items()
        if (value := getattr(rule, field)) is not None
    ]
    rows += _headers(image, rule)
    return rows if rule.answer is None else rows + _headers(image, rule.answer)


def _headers(image: Image, given: schema.Set | schema.SetAnswer) -> list[_Row]:
    rows = [_row(image, native.EDIT_HEADER, "set", key, value) for key, value in given.headers.items()]
    rows += [_row(image, native.EDIT_HEADER, "append", key, value) for key, value in given.append.items()]
    return rows + [_row(image, native.EDIT_HEADER, "remove", key, "") for key in given.remove]


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
        _change(request, self._rule, before)


class AnswerSetter(Filter):
    """What a rule sets of answers.

    Args:
        given: what it sets.
    """

    def __init__(self, given: schema.SetAnswer) -> None:
        self._given = given

    async def response(self, request: Request, answer: Answer) -> None:
        """Change it, with values of the request."""
        _change(answer, self._given, request)


def setters(given: schema.Set) -> list[Filter]:
    """The filters that make a rule's changes."""
    made: list[Filter] = [Setter(given)] if given.count() else []
    return made if given.answer is None else [*made, AnswerSetter(given.answer)]


def _change(message: Request | Answer, given: schema.Set | schema.SetAnswer, request: Request) -> None:
    if not (given.headers or given.append or given.remove):
        return
    changed = {key: _value(value, request) for key, value in given.headers.items()}
    for key, what in given.append.items():
        value, was = _value(what, request), message.header(key)
        changed[key] = value if value is None or was is None else f"{was},{value}"
    for key, value in changed.items():
        if value is not None:
            message.headers[key] = value
    for key in given.remove:
        message.headers.pop(key, None)


def _value(given: schema.Value | None, request: Request) -> str | None:
    return request.header(given.header) if isinstance(given, HeaderValue) else given
