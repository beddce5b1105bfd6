"""Why a rule is not for a request: the first thing that it asks and that is not so."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from protokit.config import hidden, networks, schema
from protokit.config.scalars import Pattern

if TYPE_CHECKING:
    from collections.abc import Mapping


class Asking(NamedTuple):
    """A request, and who asks.

    Attributes:
        headers: None for one that is no text.
        source: the client's address; "" where it is not known.
        blank: its codec cannot read it.
        arguments: by their numbers, as texts; None for one that is none. Null is not there.
    """

    service: str
    method: str
    version: str
    group: str
    headers: Mapping[str, str | None]
    oneway: bool
    source: str
    listener: str
    protocol: str
    blank: bool = False
    arguments: Mapping[str, str | None] = {}


def why_not(match: schema.Match, asking: Asking) -> str | None:
    """What it asks and that is not so: what was seen, what was expected; None: it holds."""
    if asking.blank:
        blank = hidden.takes_blank(match)
        return (
            None if blank else "the protocol cannot read this request: it is for rules that ask for nothing"
        )
    return _why_not(match, asking)


def why_not_denied(match: schema.Match, asking: Asking) -> str | None:
    """The same of what a listener allows or denies: some of these ask for the client alone."""
    return _client(match, asking) or _inner(match, asking) if asking.blank else _why_not(match, asking)


def _why_not(match: schema.Match, asking: Asking) -> str | None:
    for name in ("service", "method", "version", "group"):
        wanted, value = getattr(match, name), getattr(asking, name)
        if not _is(wanted, value):
            return f"{name} is {value!r}, expected {_shown(wanted)}"
    for what, asked, there in (
        ("header", match.headers, asking.headers),
        ("argument", match.arguments, asking.arguments),
    ):
        for key, wanted in asked.items():
            if why := _one_of(there, f"{what} {_named(what, key)}", key, wanted):
                return why
    return _client(match, asking) or _inner(match, asking)


def _is(wanted: schema.Text, value: str) -> bool:
    form = hidden.form_of(wanted)
    return value == "" if form == ("absent",) else form == ("any",) or hidden.accepts(form, value)


def _named(what: str, key: str) -> str:
    return repr(key) if what == "header" else key


def _one_of(there: Mapping[str, str | None], what: str, key: str, wanted: schema.Text) -> str | None:
    form = hidden.form_of(wanted)
    if key not in there:
        return None if form == ("absent",) else f"there is no {what}, expected {_shown(wanted)}"
    value = there[key]
    if form in {("any",), ("present",)} or (
        value is not None and form != ("absent",) and hidden.accepts(form, value)
    ):
        return None
    seen = "is no text" if value is None else f"is {value!r}"
    return f"{what} {seen}, expected {_shown(wanted)}"


def _client(match: schema.Match, asking: Asking) -> str | None:
    if match.oneway not in {None, asking.oneway}:
        waits = "waits for no answer" if asking.oneway else "waits for an answer"
        return f"its caller {waits}, expected oneway: {_low(match.oneway)}"
    if match.source is not None:
        wanted = schema.several(match.source)
        at = networks.number(asking.source) if asking.source else -1
        if not any(first <= at <= last for first, last in networks.together(wanted)):
            came = asking.source or "nowhere that is known"
            return f"its client comes from {came}, expected {' or '.join(wanted)}"
    for name in ("listener", "protocol"):
        names = schema.several(getattr(match, name))
        if names and getattr(asking, name) not in names:
            return f"{name} is {getattr(asking, name)!r}, expected {' or '.join(map(repr, names))}"
    return None


def _inner(match: schema.Match, asking: Asking) -> str | None:
    for i, one in enumerate(match.all or ()):
        if why := _why_not(one, asking):
            return f"all[{i}]: {why}"
    if match.any is not None:
        every = [_why_not(one, asking) for one in match.any]
        if None not in every:
            return "; ".join(f"any[{i}]: {why}" for i, why in enumerate(every))
    if match.not_ is not None and _why_not(match.not_, asking) is None:
        return "not: what must not hold does"
    return None


def _shown(wanted: schema.Text) -> str:
    if isinstance(wanted, Pattern):
        return repr(str(wanted))
    ((how, operand),) = (
        (one.removesuffix("_"), getattr(wanted, one))
        for one in wanted.__struct_fields__
        if getattr(wanted, one) is not None
    )
    if isinstance(operand, bool):
        return "{present: " + _low(operand) + "}"
    if isinstance(operand, tuple):
        some = [str(one) for one in operand[:10]] + ["..."] * (len(operand) > 10)
        return f"{{{how}: [{', '.join(some)}]}}"
    return f"{{{how}: {operand}}}"


def _low(value: object) -> str:
    return str(value).lower()
