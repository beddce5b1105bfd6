"""Rules that no request reaches, as one before has all that they are for. Not all are found.

A match is a tree: ``("all", parts)``, ``("any", parts)``, ``("not", leaf)``, or a leaf: what it is about, and
what that has to be. Whether one matches all that another does is seen by going through both of them.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

from protokit.config import schema
from protokit.config.scalars import Pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from protokit.config.findings import Findings
    from protokit.config.regex import Automaton

Tree = tuple[Any, ...]
_TEXTS = ("service", "method", "version", "group")
_MOST_COMPARED = 200_000  # pairs of rules of a table; then each with some only, and with what is the same
_SOME = 16
_MOST_PAIRS = 20_000  # of states
_THERE = ("there",)  # a header, whatever it is


def find(findings: Findings, table: schema.Routes, t: int) -> None:
    """Errors at rules of which all requests match one before."""
    places = [("routes", t, "rules", r) for r in range(len(table.rules))]
    readable = [
        None if findings.hole(*where) or findings.holes(*where, "match") else rule.match
        for where, rule in zip(places, table.rules, strict=True)
    ]
    for r, other in hiding(readable):
        findings.error(
            f"this rule is never reached: rule {other + 1} of {table.name!r} matches all it does"
            f" (line {findings.line(*places[other])})",
            *places[r],
        )


def hiding(matches: Iterable[schema.Match | None]) -> Iterator[tuple[int, int]]:
    """Each that is only for what one before it is for, and that one; None: it is not known."""
    same: dict[Tree, int] = {}
    earlier: dict[tuple[str, str], dict[Any, list[tuple[int, Tree, bool]]]] = {}
    left = _MOST_COMPARED
    for r, match in enumerate(matches):
        if match is None:
            continue
        tree, blank = tree_of(match), takes_blank(match)
        found = same.get((tree, blank))
        others = itertools.islice(_candidates(earlier, match), max(left, _SOME))
        for number, other, other_blank in () if found is not None else others:
            left -= 1
            if hides((other, other_blank), (tree, blank)):
                found = number
                break
        if found is not None:
            yield r, found
            continue
        same[tree, blank] = r
        by_name = earlier.setdefault((_simple(match.service), _simple(match.method)), {})
        for key in _keys(match):
            by_name.setdefault(key, []).append((r, tree, blank))


def hides(one: tuple[Tree, bool], other: tuple[Tree, bool]) -> bool:
    """Whether a rule matches all that another does, each a tree and whether it takes what cannot be read."""
    try:
        return (one[1] or not other[1]) and implies(other[0], one[0])
    except ValueError:  # a text has more bytes than an automaton has states
        return False


def _candidates(
    earlier: dict[tuple[str, str], dict[Any, list[tuple[int, Tree, bool]]]], match: schema.Match
) -> Iterator[tuple[int, Tree, bool]]:
    keys = [None, *((key, next(iter(values))) for key, values in _finite(match) if values)]
    for service in _covering(_simple(match.service)):
        for method in _covering(_simple(match.method)):
            by_name = earlier.get((service, method))
            for key in keys if by_name else ():
                yield from by_name.get(key, ())  # type: ignore[union-attr]  # there is one


def _covering(text: str) -> Iterator[str]:
    """Every simple pattern that covers this one."""
    yield text
    literal = text.removesuffix("*")
    for end in range(len(literal) + 1):
        if literal[:end] + "*" != text:
            yield literal[:end] + "*"


def _simple(wanted: schema.Text) -> str:
    """The pattern that covers a text as closely as a star at the end can."""
    if not isinstance(wanted, str):
        exact, prefix = wanted.exact, wanted.prefix
        return "*" if exact is None and prefix is None else exact if exact is not None else f"{prefix}*"
    return wanted if wanted.simple else wanted[: wanted.index("*") + 1]


def _finite(match: schema.Match) -> Iterator[tuple[str, frozenset[str]]]:
    """Headers that have to be one of some values."""
    for key, wanted in match.headers.items():
        form = form_of(wanted)
        if form[0] == "in":
            yield key, form[1]


def _keys(match: schema.Match) -> Iterable[Any]:
    """By what a rule is found: every value of a header, where it has to have one of some."""
    for key, values in _finite(match):
        return [(key, value) for value in values]
    return [None]


def takes_blank(match: schema.Match) -> bool:
    """Whether it is for requests that their codec cannot read: it asks nothing."""
    rest = [one for one in schema.Match.__struct_fields__ if one not in _TEXTS]
    return all(getattr(match, one) in (None, {}) for one in rest) and all(
        getattr(match, name) in {"*", ""} for name in _TEXTS
    )


# Trees.


def tree_of(match: schema.Match) -> Tree:
    """What a match asks."""
    parts: list[Tree] = []
    for name in _TEXTS:
        form = form_of(getattr(match, name))
        if form == ("absent",):
            form = ("in", frozenset({""}))
        if form != ("any",):
            parts.append((name, form))
    subjects = [(f"header {key}", wanted) for key, wanted in sorted(match.headers.items())]
    subjects += [(f"argument {key}", wanted) for key, wanted in sorted(match.arguments.items())]
    for subject, wanted in subjects:
        form = form_of(wanted)
        if form == ("absent",):
            parts.append(("not", (subject, _THERE)))
        else:
            parts.append((subject, _THERE if form in {("any",), ("present",)} else form))
    if match.oneway is not None:
        parts.append(("oneway", True) if match.oneway else ("not", ("oneway", True)))
    if match.source is not None:
        from protokit.config.networks import together  # seldom  # noqa: PLC0415

        parts.append(("source", tuple(together(schema.several(match.source)))))
    for name, names in (("listener", match.listener), ("protocol", match.protocol)):
        if names is not None:
            parts.append((name, frozenset(schema.several(names))))
    parts += [tree_of(one) for one in match.all or ()]
    if match.any is not None:
        parts.append(("any", tuple(tree_of(one) for one in match.any)))
    if match.not_ is not None:
        parts.append(_opposite(tree_of(match.not_)))
    return parts[0] if len(parts) == 1 else ("all", tuple(parts))


def _opposite(tree: Tree) -> Tree:
    if tree[0] == "not":
        return tree[1]  # type: ignore[no-any-return]  # a leaf
    if tree[0] in {"all", "any"}:
        return ("any" if tree[0] == "all" else "all", tuple(map(_opposite, tree[1])))
    return ("not", tree)


def form_of(wanted: schema.Text) -> Tree:
    """Any, in, pieces with anything between, regex, range, present (not empty), or absent."""
    if isinstance(wanted, Pattern):
        if "*" not in wanted:
            return ("in", frozenset({str(wanted)}))
        return ("any",) if wanted == "*" else ("pieces", tuple(wanted.split("*")))
    if wanted.exact is not None:
        return ("in", frozenset({wanted.exact}))
    if wanted.prefix is not None:
        return ("pieces", (wanted.prefix, ""))
    if wanted.suffix is not None:
        return ("pieces", ("", wanted.suffix))
    if wanted.in_ is not None:
        return ("in", frozenset(wanted.in_))
    if wanted.regex is not None:
        return ("regex", wanted.regex)
    if wanted.range is not None:
        return ("range", *wanted.range)
    return ("present",) if wanted.present else ("absent",)


# What follows from what.


def implies(one: Tree, other: Tree) -> bool:
    """Whether the other holds wherever the one does, as far as that can be seen."""
    if one == other:
        return True
    if other[0] == "all":
        return all(implies(one, part) for part in other[1])
    if one[0] == "any":
        return all(implies(part, other) for part in one[1])
    if other[0] == "any" and any(implies(one, part) for part in other[1]):
        return True
    if one[0] == "all":
        return any(implies(part, other) for part in one[1])
    if other[0] in {"any", "not"}:
        if other[0] == "any":
            return False
        return implies(other[1], one[1]) if one[0] == "not" else _excludes(one, other[1])
    return one[0] == other[0] and one[0] != "not" and _leaf_implies(one[0], one[1], other[1])


def _leaf_implies(subject: str, one: Any, other: Any) -> bool:
    if subject in {"listener", "protocol"}:
        return bool(one <= other)
    if subject == "source":
        return all(any(low <= first and last <= high for low, high in other) for first, last in one)
    if subject == "oneway":
        return True
    return _text_implies(one, other)


def _excludes(one: Tree, other: Tree) -> bool:
    """Whether two leaves never hold together."""
    subject = one[0]
    if subject != other[0]:
        return False
    if subject == "listener":
        return bool(one[1].isdisjoint(other[1]))
    if subject == "source":
        return not any(low <= last and first <= high for first, last in one[1] for low, high in other[1])
    if subject in {"oneway", "protocol"} or _THERE in {one[1], other[1]}:
        return False
    for values, form in ((one[1], other[1]), (other[1], one[1])):
        if values[0] == "in":
            return not any(accepts(form, value) for value in values[1])
    if one[1][0] != "range" or other[1][0] != "range":
        return False
    return bool(one[1][2] < other[1][1] or other[1][2] < one[1][1])


def accepts(form: Tree, value: str) -> bool:
    """Whether a text is what it has to be; neither any nor absent."""
    if form[0] == "in":
        return value in form[1]
    if form[0] == "present":
        return value != ""
    if form[0] == "range":
        digits = value[1:] if value[:1] in {"-", "+"} else value
        # As the engine reads numbers: nineteen digits, and what 64 bits hold.
        return (
            digits.isascii() and digits.isdecimal() and len(digits) <= 19 and form[1] <= int(value) <= form[2]
        )
    return _automaton(form).accepts(value.encode())


def _text_implies(one: Tree, other: Tree) -> bool:
    if _THERE in {one, other}:
        return bool(other == _THERE)
    if one[0] == "in":
        return all(accepts(other, value) for value in one[1])
    if one[0] == other[0] == "range":
        return bool(other[1] <= one[1] and one[2] <= other[2])
    if one[0] == "present" or other[0] in {"in", "range"}:
        return False
    if one[0] == "range":
        return bool(other[0] == "present")
    if other[0] == "present":
        return not _automaton(one).accepts(b"")
    if one[0] == other[0] == "pieces" and one[1][1:] == other[1][1:] == ("",):
        return bool(one[1][0].startswith(other[1][0]))
    return _included(_automaton(one), _automaton(other))


@functools.lru_cache(64)
def _automaton(form: Tree) -> Automaton:
    from protokit.config.regex import automaton, pieces  # seldom  # noqa: PLC0415

    return automaton(form[1]) if form[0] == "regex" else pieces([one.encode() for one in form[1]])


def _included(one: Automaton, other: Automaton) -> bool:
    """Whether the other accepts all that the one does; no where that takes too many steps to see."""
    kinds = {(one.program[byte], other.program[byte]): byte for byte in range(256)}.values()
    seen = {(0, 0)}
    waiting = [(0, 0)]
    while waiting:
        here, there = waiting.pop()
        if one.is_last(here) and not other.is_last(there):
            return False
        for byte in kinds:
            after = (one.after(here, byte), other.after(there, byte))
            if after not in seen:
                seen.add(after)
                waiting.append(after)
        if len(seen) > _MOST_PAIRS:
            return False
    return True
