"""What a rule asks of a request, as the engine's conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from protokit import native
from protokit.config.scalars import Pattern
from protokit.config.schema import several
from protokit.table import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protokit.config import schema
    from protokit.config.scalars import Network
    from protokit.table import Image

CONDITIONS = Source(
    "conditions",
    columns=("condition", "size", "match", "of", "text", "value", "value_count", "automaton", "low", "high"),
)
VALUES = Source("values", columns=("text",))
AUTOMATA = Source("automata", columns=("program", "states", "classes"))
TEXTS = ("service", "method", "version", "group")
_MIDDLE = 2**63
_ORIGINS = native.constants("PK_ORIGIN_")
Codecs = Mapping[str, str]


class _Row(NamedTuple):
    """A condition, or the head of one that is made of others: ``size`` records with what is in it.

    ``condition`` is ``all``, ``any``, ``not``, ``oneway``, or where the value that is asked about comes from.
    """

    condition: str
    size: int = 1
    match: str = "any"
    key: str = ""
    text: str = ""
    values: tuple[str | bytes, ...] = ()
    regex: Pattern | str | None = None
    low: int = 0
    high: int = 0


def _of_pattern(what: str, key: str, pattern: Pattern) -> _Row:
    if not pattern.simple:
        if pattern.startswith("*") and "*" not in pattern[1:]:
            return _Row(what, match="suffix", key=key, text=pattern[1:])
        return _Row(what, match="regex", key=key, regex=pattern)
    if pattern.endswith("*"):
        return _Row(what, match="prefix" if len(pattern) > 1 else "any", key=key, text=pattern[:-1])
    return _Row(what, match="exact", key=key, text=pattern)


def _of_text(what: str, key: str, wanted: schema.Text) -> list[_Row]:
    if isinstance(wanted, Pattern):
        return [_of_pattern(what, key, wanted)]
    for how in ("exact", "prefix", "suffix"):
        text = getattr(wanted, how)
        if text is not None:
            return [_Row(what, match=how, key=key, text=text)]
    if wanted.in_ is not None:
        return [_Row(what, match="in", key=key, values=tuple(dict.fromkeys(wanted.in_)))]
    if wanted.regex is not None:
        return [_Row(what, match="regex", key=key, regex=wanted.regex)]
    if wanted.range is not None:
        low, high = wanted.range
        return [_Row(what, match="range", key=key, low=low + _MIDDLE, high=high + _MIDDLE)]
    there = _Row(what, match="present", key=key)
    return [there] if wanted.present else _together("not", [[there]])


def _of_names(what: str, names: list[str]) -> list[_Row]:
    if len(names) == 1:
        return [_Row(what, match="exact", text=names[0])]
    return [_Row(what, match="in", values=tuple(dict.fromkeys(names)))]


def _of_networks(networks: tuple[Network, ...]) -> list[_Row]:
    from protokit.config.networks import together  # seldom  # noqa: PLC0415

    spans = together(networks)
    return [
        _Row(
            "source",
            match="networks",
            values=tuple(first.to_bytes(16, "big") + last.to_bytes(16, "big") for first, last in spans),
        )
    ]


def _together(what: str, inside: list[list[_Row]]) -> list[_Row]:
    rows = [row for one in inside for row in one]
    return [_Row(what, len(rows) + 1), *rows]


def _is_plain(wanted: schema.Text) -> bool:
    """Whether the rule's own pattern says it."""
    return isinstance(wanted, Pattern) and wanted.simple


def plain(wanted: schema.Text) -> str:
    """The pattern that stands in the rule itself; ``*`` where a condition says it."""
    return wanted if _is_plain(wanted) else "*"  # type: ignore[return-value]


def _parts(match: schema.Match, codecs: Codecs, *, inner: bool) -> Iterator[list[_Row]]:
    for name in TEXTS:
        wanted = getattr(match, name)
        if not _is_plain(wanted) or (inner and wanted != "*"):
            yield _of_text(name, "", wanted)
    for key, wanted in match.headers.items():
        yield _of_text("header", key, wanted)
    for number, wanted in match.arguments.items():
        yield _of_text("argument", number, wanted)
    if match.oneway is not None:
        yield [_Row("oneway")] if match.oneway else _together("not", [[_Row("oneway")]])
    if match.source is not None:
        yield _of_networks(several(match.source))
    if match.listener is not None:
        yield _of_names("listener", [*several(match.listener)])
    if match.protocol is not None:
        # One that nobody speaks has no codec.
        yield _of_names("protocol", [codecs.get(name, "") for name in several(match.protocol)])
    yield from (_whole(one, codecs) for one in match.all or ())
    if match.any is not None:
        yield _together("any", [_whole(one, codecs) for one in match.any])
    if match.not_ is not None:
        yield _together("not", [_whole(match.not_, codecs)])


def _whole(match: schema.Match, codecs: Codecs) -> list[_Row]:
    parts = list(_parts(match, codecs, inner=True))
    return parts[0] if len(parts) == 1 else _together("all", parts or [[_Row("service")]])


def _conditions(match: schema.Match, codecs: Codecs) -> list[_Row]:
    """Beside the four patterns of a rule; none: they say all."""
    parts = list(_parts(match, codecs, inner=False))
    return parts[0] if len(parts) == 1 else _together("all", parts) if parts else []


def add(image: Image, matches: list[schema.Match], codecs: Codecs) -> dict[str, list[Any]]:
    """Append what rules ask to an image: columns for their records.

    Args:
        image: of the table.
        matches: of rules, in order.
        codecs: names of the listeners' codecs, by protocol.
    """
    every = [_conditions(match, codecs) for match in matches]
    rows = [row for one in every for row in one]
    first = image.count("conditions")
    if rows:
        _add(image, rows)
    counts = list(map(len, every))
    starts = [first]
    for count in counts:
        starts.append(starts[-1] + count)
    return {
        **{name: [plain(getattr(match, name)) for match in matches] for name in TEXTS},
        "condition": starts[:-1],
        "condition_count": counts,
    }


def _add(image: Image, rows: list[_Row]) -> None:
    automata = {
        (type(row.regex), row.regex): image.count("automata") for row in rows if row.regex is not None
    }
    if automata:  # seldom
        from protokit.config.regex import automaton, stars  # noqa: PLC0415
    for number, (kind, regex) in enumerate(automata, image.count("automata")):
        made = stars(regex) if isinstance(regex, Pattern) else automaton(regex)
        automata[kind, regex] = number
        image.add(AUTOMATA, [None], program=[made.program], states=[made.states], classes=[made.classes])
    values, counts = image.count("values"), [len(row.values) for row in rows]
    starts = [values]
    for count in counts:
        starts.append(starts[-1] + count)
    image.add(VALUES, [None] * sum(counts), text=[value for row in rows for value in row.values])
    image.add(
        CONDITIONS,
        [None] * len(rows),
        **{name: [getattr(row, name) for row in rows] for name in ("size", "match", "text", "low", "high")},
        condition=["value" if row.condition in _ORIGINS else row.condition for row in rows],
        of=[
            image.key([(row.condition, row.key)]).first if row.condition in _ORIGINS else None for row in rows
        ],
        value=starts[:-1],
        value_count=counts,
        automaton=[None if row.regex is None else automata[type(row.regex), row.regex] for row in rows],
    )
