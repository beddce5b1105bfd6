"""What a listener allows and denies: the rules in the order in which they are asked, and what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from protokit.config import hidden, matches, schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protokit.config.document import Path
    from protokit.config.findings import Findings

_RAW = ("source", "all", "any", "not_")  # what can be asked where nobody knows what is sent


class Named(NamedTuple):
    """One of the rules.

    Attributes:
        name: ``deny[0]``, ``allow[0]``; ``allow`` is the last, for all others.
        verdict: ``deny``, ``allow`` or ``otherwise``.
        match: what it is for.
        path: where it stands, from ``allow`` or ``deny`` on.
    """

    name: str
    verdict: str
    match: schema.Match
    path: Path


def rules(given: schema.Access | schema.Listener) -> list[Named]:
    """All of them: the first that is for a request decides."""
    every = [
        Named(f"{verdict}[{i}]", verdict, match, (verdict, i))
        for verdict, named in (("deny", given.deny), ("allow", given.allow))
        for i, match in enumerate(named or ())
    ]
    if given.allow is not None:
        every.append(Named("allow", "otherwise", schema.Match(), ("allow",)))
    return every


def check(findings: Findings, listener: schema.Listener, asked: matches.Asked, path: Path) -> None:
    """What is wrong with a listener's rules, and with those of its dry run.

    Args:
        findings: to say it.
        listener: whose they are.
        asked: with no table, of this listener alone.
        path: where the listener stands.
    """
    if findings.hole(*path):
        return
    _check(findings, listener, listener, asked, path)
    if listener.dry_run is not None:
        where = (*path, "dry_run")
        if listener.dry_run == schema.Access() and not findings.holes(*where):
            findings.error("dry_run: expected allow, deny or both", *where)
        _check(findings, listener, listener.dry_run, asked, where)


def _check(
    findings: Findings,
    listener: schema.Listener,
    given: schema.Access | schema.Listener,
    asked: matches.Asked,
    path: Path,
) -> None:
    if given.allow == ():
        findings.error(
            "allow: expected one match at least; to let nothing through write deny: [{}]", *path, "allow"
        )
    if given.deny == ():
        findings.error("deny: expected one match at least; without deny none is denied", *path, "deny")
    every = [one for one in rules(given) if one.verdict != "otherwise"]
    for one in every:
        where = (*path, *one.path)
        if findings.hole(*where):
            continue
        matches.check(findings, one.match, asked, where)
        matches.check_read(findings, one.match, asked, where)
        for at in _beyond_source(one.match, where) if listener.fallback is not None else ():
            findings.error(
                f"{at[-1]} cannot be asked of connections that are passed on to the fallback, and what is"
                " denied would come through there: ask for source, or let a listener without fallback do it",
                *at,
            )
    readable = [None if findings.holes(*path, *one.path) else one.match for one in every]
    for number, hiding in hidden.hiding(readable):
        one, other = every[number], every[hiding]
        line = findings.line(*path, *other.path)
        if one.verdict == other.verdict:
            findings.warning(f"{other.name} (line {line}) matches all that this does", *path, *one.path)
        else:
            findings.error(
                f"this allows nothing: {other.name} (line {line}) denies all of it, and denying wins",
                *path,
                *one.path,
            )


def _beyond_source(match: schema.Match, path: Path) -> Iterator[Path]:
    """The places where it asks for more than the client's address."""
    for field in schema.Match.__struct_fields__:
        if field not in _RAW and getattr(match, field) not in ("*", None, {}):
            yield (*path, field)
    for name, inner in (("all", match.all), ("any", match.any)):
        for i, one in enumerate(inner or ()):
            yield from _beyond_source(one, (*path, name, i))
    if match.not_ is not None:
        yield from _beyond_source(match.not_, (*path, "not"))
