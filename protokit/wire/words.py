"""The words for what stands in a frame: what a declaration calls to say where its texts and numbers are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, word
from protokit.wire.encodings import LAST, LineEncoding, PairEncoding
from protokit.wire.expressions import resolve
from protokit.wire.given import expect, seen, several
from protokit.wire.readings import Named, Number, Starts, plain
from protokit.wire.views import (
    Chosen,
    Decimal,
    First,
    Found,
    Pairs,
    Split,
    Step,
    Table,
    Text,
    View,
    as_view,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


@word
def text(section: Any) -> View:
    """A whole section as text: ``text(this.name)``."""
    return Text(section)


@word
def first(*views: Any) -> View:
    """The first of several views that is there."""
    return First([as_view(view) for view in views])


@word
def split(view: Any, separator: str, parts: int, *, exact: bool = False) -> Split:
    """A text cut at a separator into at most ``parts``: ``split(h["service"], ":", 2)[0]``.

    Args:
        view: the text.
        separator: between its parts.
        parts: how many at most; the last one holds what further separators are there.
        exact: as many, or none: where there are fewer separators all of them are absent.
    """
    return Split(as_view(view), separator, parts, exact=exact)


@word
def pairs(section: Any, key: Any, value: Any) -> Pairs:
    """A map of texts with a length before each: ``pairs(this.headers, key=Int32ub, value=Int32sb)``."""
    return Pairs(section, PairEncoding(key, value))


@word
def lines(
    section: Any,
    between: str,
    after: str,
    *,
    ignore_case: bool = False,
    trim: str = "",
    skip: int = 0,
    repeated: str = LAST,
) -> Pairs:
    r"""A map of texts with separators: ``lines(this.head, ": ", "\r\n")``.

    Args:
        section: that holds it.
        between: stands behind a key.
        after: ends a pair.
        ignore_case: keys are the same in upper and lower case (ASCII).
        trim: characters that are no part of a value where they stand around it: ``" \t"``.
        skip: so many lines in front are no pairs (a request line).
        repeated: which counts of a key that stands twice, as its readers have it: ``last`` or ``first``.
    """
    how = LineEncoding(between, after, ignore_case=ignore_case, trim=trim, skip=skip, repeated=repeated)
    return Pairs(section, how)


@word
def number(view: Any) -> Number:
    """A text's decimal digits: ``timeout=number(h["timeout"])``."""
    return Number(as_view(view))


@word
def isin(view: Any, texts: Iterable[str | bytes]) -> Any:
    """Whether a view is one of some texts: ``oneway=isin(this.verb, {"PUB", "PING"})``."""
    instead = "it takes a set of texts: isin(this.verb, {'PUB', 'PING'})"
    found = sorted(plain(one, "isin") for one in several("isin", texts, instead))
    if not found:
        raise DeclarationError(f"isin: {texts!r} was given; {instead}")
    return Named(as_view(view), found) >= 0


@word
def starts(view: Any, text: str | bytes) -> Starts:
    """Whether a view is there and begins with a text: ``response=starts(this.line, "+")``."""
    return Starts(as_view(view), plain(text, "starts"))


@word
def decimal(value: Any) -> View:
    """An integer as text: ``service=decimal(this.opcode)``."""
    return Decimal(value)


def _shown(entries: Mapping[Any, Any]) -> str:
    return f"{{{', '.join(f'{key!r}: {seen(to)}' for key, to in entries.items())}}}"


@word
def table(value: Any, entries: Mapping[Any, Any], default: Any = None) -> Any:
    """An integer, or a text, looked up.

    Args:
        value: an expression; a view where the keys are texts.
        entries: to statuses, for ``status=``; or to names, which makes a view.
        default: for all others: a status; or a name, None for none.
    """
    if not expect("table", entries, Mapping, "it takes what leads to what: table(this.op, {1: 'GET'})"):
        raise DeclarationError(
            "table: it has no entries; write what leads to what: table(this.op, {1: 'GET'})"
        )
    texts, given = [isinstance(key, str | bytes) for key in entries], entries
    if any(texts):
        if not all(texts):
            raise DeclarationError(f"table: {list(entries)} are texts and others; all are texts, or integers")
        named = Named(as_view(value), [plain(key, "table") for key in entries])
        value = named
        entries = {named.texts.index(plain(key, "table")): to for key, to in entries.items()}
    elif not all(isinstance(key, int) for key in entries):
        raise DeclarationError(f"table: {list(map(seen, entries))} are neither texts nor integers")
    for key, to in (*entries.items(), ("default", default)):
        if not isinstance(to, int | str | bytes) and (to is not None or key != "default"):
            raise DeclarationError(
                f"table: {key!r} leads to {seen(to)}, which is neither a status nor a name"
            )
    names = [isinstance(to, str | bytes) for to in entries.values()]
    if not any(names) and isinstance(default, int):
        return Table(value, entries, default)
    if not all(names) or isinstance(default, int):
        raise DeclarationError(
            f"table: {_shown(given)} and {seen(default)} are statuses and names; all are statuses, with a "
            "default, for status= (or integers, for FromRequest), or all names, for a view"
        )
    known = {int(key): plain(to, "table") for key, to in entries.items()}
    return Chosen(resolve(value, (), ("table",)), known, None if default is None else plain(default, "table"))


@word
def step(which: Step, section: Any, *arguments: str, count: int = 1) -> Found:
    """Texts that a step finds in a section: ``step(MY_STEP, this.body, count=2)[1]``."""
    return Found(which, section, arguments, count)
