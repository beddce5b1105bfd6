"""What is wrong with a match whose shape is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from protokit.config import schema, subsets
from protokit.errors import close_match
from protokit.model import MOST_ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from protokit.config.document import Path
    from protokit.config.findings import Findings, Names
    from protokit.wire import Protocol

_MOST_NESTED = 7  # matches in one another: each takes two of the engine's 16 levels


_NONE_OF_NONE = {
    "any": "none of none holds, so that this match would be for nothing; without any it asks for no more",
    "all": "all of none would hold for everything; leave it out",
}


class Asked(NamedTuple):
    """Whom a route table's rules are asked for.

    Attributes:
        table: its name; "": they are a listener's own.
        listeners: all that there are.
        speaking: the protocols of each listener.
        by: the listeners that use the table.
        known: protocols by name.
    """

    table: str
    listeners: Names
    speaking: Mapping[str, Collection[str]]
    by: Sequence[str]
    known: Mapping[str, Protocol]


def check_rule(findings: Findings, rule: schema.Rule, asked: Asked, path: Path) -> None:
    """What a rule asks, and that requests which may have headers are meant where it needs one."""
    place = (*path, "match")
    check(findings, rule.match, asked, place)
    arguments = [*_keyed(rule, path, "argument")]
    check_read(findings, rule.match, asked, place, _needs(rule, path), arguments, _changes(rule, path))


def check_read(
    findings: Findings,
    match: schema.Match,
    asked: Asked,
    path: Path,
    headers: Iterable[tuple[Path, str]] = (),
    arguments: Sequence[tuple[Path, str]] = (),
    changes: Iterable[tuple[Path, str]] = (),
) -> None:
    """That no protocol which a match is for lacks what it asks, nor what its rule needs beside it.

    Args:
        findings: to say it.
        match: the match.
        asked: whom it is asked for.
        path: where it stands.
        headers: the places that need a header which the engine sees, and what to do instead.
        arguments: those that need an argument, and which: its number or path.
        changes: those that need headers which may as well be read and written in Python.
    """
    here = {
        protocol
        for listener in asked.by
        for protocol in asked.speaking[listener]
        if possible(match, listener, (protocol,))
    }
    protocols = [asked.known[one] for one in here if one in asked.known]
    if not here or len(protocols) < len(here) or findings.holes(*path) or findings.holes("listeners"):
        return
    instead = "ask for service, method, version or group"
    needs = [(where, instead) for where in _asking("headers", match, path)]
    if not any(one.reads_headers for one in protocols):
        _refuse(findings, "requests have no headers", [*needs, *headers, *changes], here)
    elif not any(one.shows_headers for one in protocols):
        _refuse(findings, "the engine sees no headers of requests", [*needs, *headers], here)
    what, inside = "arguments cannot be read", False
    if any(one.reads_arguments for one in protocols):
        what, inside = "what is inside of arguments cannot be read", True
        instead = "ask for the argument as a whole, by its number"
        if any(one.reads_inside for one in protocols):
            return
    needs = [(where, instead) for where in _asking("arguments", match, path, inside=inside)]
    needs += [(where, _OTHERS) for where, name in arguments if not inside or "." in name]
    _refuse(findings, what, needs, here)


_OTHERS = "take service, method or source"


def _refuse(findings: Findings, what: str, needs: list[tuple[Path, str]], protocols: Collection[str]) -> None:
    names = ", ".join(map(repr, sorted(protocols)))
    for where, instead in needs:
        if not findings.holes(*where):
            findings.error(f"{what} in a protocol that this rule is for ({names}); {instead}", *where)


def _keyed(rule: schema.Rule, path: Path, what: str) -> Iterator[tuple[Path, str]]:
    """The places of a rule's keys that need a header, or an argument, and its name."""
    for given, where in (
        (rule.sticky, (*path, "sticky")),
        ([] if rule.limit is None else rule.limit.by, (*path, "limit", "by")),
    ):
        for i, one in enumerate(schema.keys(given)):
            if one.what == what:
                yield (*where, i) if isinstance(given, list) else where, one.name


def _needs(rule: schema.Rule, path: Path) -> Iterator[tuple[Path, str]]:
    """The places beside its match where it needs a header, and what to do instead."""
    if isinstance(rule.cluster, schema.Named):
        yield (*path, "cluster"), "name the cluster"
    parts = [(rule.subset, path)]
    parts += [(split.subset, (*path, "split", s)) for s, split in enumerate(rule.split)]
    for subset, where in parts:
        for key in subsets.headers(subset):
            yield (*where, "subset", key), "give a value, or in"
    for where, _ in _keyed(rule, path, "header"):
        yield where, _OTHERS
    if rule.fault is not None and rule.fault.header is not None:
        yield (*path, "fault", "header"), "leave it out, and let match say which requests are hit"
    if rule.fault is not None and rule.fault.asked is not None:
        yield (*path, "fault", "asked"), "leave it out: callers have nothing to ask by"


def _changes(rule: schema.Rule, path: Path) -> Iterator[tuple[Path, str]]:
    """The places where its changes need headers, and what to do instead."""
    for name in _changing(rule.set or schema.Set()):
        yield (*path, "set", name), "only a text can be set, of service, method, version or group"


def _changing(given: schema.Set) -> list[str]:
    """What of a rule's changes needs headers."""
    named = [name for name in ("headers", "append", "remove") if getattr(given, name)]
    fields = ("service", "method", "version", "group")
    answer = given.answer or schema.SetAnswer()
    values = [*answer.headers.values(), *answer.append.values()]
    named += ["answer"] if any(isinstance(value, schema.HeaderValue) for value in values) else []
    return named + [name for name in fields if isinstance(getattr(given, name), schema.HeaderValue)]


def _asking(what: str, match: schema.Match, path: Path, *, inside: bool = False) -> Iterator[Path]:
    """The places where it asks for headers, or arguments; ``inside``: for what is inside of them."""
    if inside:
        yield from ((*path, what, one) for one in getattr(match, what) if "." in one)
    elif getattr(match, what):
        yield (*path, what)
    for name, matches in (("all", match.all), ("any", match.any)):
        for i, one in enumerate(matches or ()):
            yield from _asking(what, one, (*path, name, i), inside=inside)
    if match.not_ is not None:
        yield from _asking(what, match.not_, (*path, "not"), inside=inside)


def check(findings: Findings, match: schema.Match, asked: Asked, path: Path, depth: int = 0) -> None:
    """A match, and the matches in it."""
    for name in ("service", "method", "version", "group"):
        _text(findings, getattr(match, name), (*path, name))
    for name, wanted in match.headers.items():
        _text(findings, wanted, (*path, "headers", name))
    for number, wanted in match.arguments.items():
        _argument(findings, number, wanted, (*path, "arguments", number))
    for name in ("source", "listener", "protocol"):
        if getattr(match, name) == ():
            findings.error(f"{name}: expected one at least; without {name} a match is for all", *path, name)
    for name, where in _each(match.listener, (*path, "listener")):
        _listener(findings, name, asked, where)
    for name, where in _each(match.protocol, (*path, "protocol")):
        _protocol(findings, name, asked, where)
    for name, matches in (("all", match.all), ("any", match.any)):
        if matches == ():
            findings.error(f"{name}: expected one match at least; {_NONE_OF_NONE[name]}", *path, name)
        for i, one in enumerate(matches or ()):
            check(findings, one, asked, (*path, name, i), depth + 1)
    if match.not_ is not None:
        check(findings, match.not_, asked, (*path, "not"), depth + 1)
    if depth == _MOST_NESTED + 1:
        findings.error(f"matches stand in one another: {_MOST_NESTED} deep at most", *path)


def _text(findings: Findings, wanted: schema.Text, path: Path) -> None:
    if isinstance(wanted, str) or findings.holes(*path):
        return
    given = [name for name in wanted.__struct_fields__ if getattr(wanted, name) is not None]
    if len(given) != 1:
        names = ", ".join(field.encode_name for field in msgspec.structs.fields(wanted))
        findings.error(f"expected one of {names}, got {len(given)} of them", *path)
    elif wanted.in_ == ():
        findings.error("in: expected one value at least", *path, "in")
    elif wanted.range is not None and (len(wanted.range) != 2 or wanted.range[0] > wanted.range[1]):
        findings.error("range: expected the first and the last number", *path, "range")


def _argument(findings: Findings, number: str, wanted: schema.Text, path: Path) -> None:
    _text(findings, wanted, path)
    if not schema.is_argument(number):
        most = MOST_ARGUMENTS - 1
        inside = "or a path into one (0.user.id)"
        findings.error(f"arguments: expected a number from 0 to {most}, {inside}, got {number!r}", *path)


def possible(match: schema.Match, listener: str, protocols: Collection[str]) -> bool:
    """Whether it may hold for a client of that listener, as far as its listener and protocol say."""
    return (
        (match.listener is None or listener in schema.several(match.listener))
        and (match.protocol is None or any(one in schema.several(match.protocol) for one in protocols))
        and all(possible(one, listener, protocols) for one in match.all or ())
        and (match.any is None or any(possible(one, listener, protocols) for one in match.any))
    )


def _each(wanted: schema.Names | None, path: Path) -> Iterator[tuple[str, Path]]:
    """Names with their places."""
    for i, name in enumerate(schema.several(wanted)):
        yield name, (*path, i) if isinstance(wanted, tuple) else path


def _listener(findings: Findings, name: str, asked: Asked, where: Path) -> None:
    asked.listeners.use(name, *where)
    if name in asked.speaking and name not in asked.by and asked.by and not findings.holes(*where):
        if not asked.table:
            findings.warning(
                f"this is asked of clients of listener {asked.by[0]!r} only: it never holds", *where
            )
            return
        findings.warning(
            f"listener {name!r} does not use route table {asked.table!r}, so that this never holds; "
            f"it is used by {', '.join(asked.by)}",
            *where,
        )


def _protocol(findings: Findings, name: str, asked: Asked, where: Path) -> None:
    every = sorted({one for names in asked.speaking.values() for one in names})
    here = sorted({one for listener in asked.by for one in asked.speaking[listener]})
    if findings.holes("listeners") or findings.holes(*where):
        return
    if name not in every:
        close = close_match(name, every)
        hint = f"did you mean {close!r}?" if close else f"they speak {', '.join(every) or 'none'}"
        findings.error(f"no listener speaks {name!r}; {hint}", *where)
    elif here and name not in here:
        whose = f"no listener with route table {asked.table!r}" if asked.table else "this listener never"
        findings.warning(
            f"{whose} speaks {name!r}, so that this never holds; "
            f"{'they speak' if asked.table else 'it speaks'} {', '.join(here)}",
            *where,
        )
