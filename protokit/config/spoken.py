"""What a rule asks of the protocols that its listener speaks, of which not each can give it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.config import schema
from protokit.config.matches import possible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protokit.config.document import Path
    from protokit.config.findings import Findings
    from protokit.wire.codec import Wire

    Codecs = Mapping[str, Wire]  # by the protocols' names


def check(
    findings: Findings, rule: schema.Rule, listener: schema.Listener, codecs: Codecs, path: Path
) -> None:
    """Errors and warnings of one rule, for one listener.

    Args:
        findings: where they go.
        rule: one of the listener's.
        listener: whose requests it may get.
        codecs: of all the protocols that the listener speaks.
        path: where the rule stands.
    """
    reached = {name: one for name, one in codecs.items() if possible(rule.match, listener.name, [name])}
    of = f"(listener {listener.name!r})"
    if rule.set is not None:
        _places(findings, rule.set, reached, of, (*path, "set"))
        if reached and rule.set.takes_source():
            _source(findings, rule.set, codecs, of, (*path, "set"))
    if rule.timeout is not None and rule.timeout.pass_on:
        _budget(findings, reached, of, (*path, "timeout", "pass"))
    if rule.hedge is not None:
        _hedge(findings, listener, reached, of, (*path, "hedge"))
    if rule.mirror is not None:
        _mirror(findings, rule.mirror, reached, of, (*path, "mirror"))


def _places(findings: Findings, given: schema.Set, codecs: Codecs, of: str, path: Path) -> None:
    """An error where a rule sets what a protocol has no place for: each call would fail."""
    named = ("service", "method", "version", "group")
    wanted = {field: field for field in named if getattr(given, field) is not None}
    wanted |= {"answer": "answer_headers"} if given.answer is not None else {}
    for name, codec in codecs.items():
        meaning = getattr(codec, "meaning", None)
        lacking = {
            field: "answers have no headers" if field == "answer" else f"requests have no {field}"
            for field, view in wanted.items()
            if meaning is not None and getattr(meaning, view) is None
        }
        if codec.tier == "native" and not native.edits(codec.address):
            lacking = {"": "nothing can be changed"}
        for field, what in lacking.items():
            findings.error(
                f"{what} in protocol {name!r} {of}, for which this rule is, too; match other protocols, or"
                " leave it out",
                *path,
                *((field,) if field else ()),
            )
        if meaning is not None:
            _names(findings, given, meaning.headers, f"{name!r} {of}", path)
            if given.answer is not None:
                _names(findings, given.answer, meaning.answer_headers, f"{name!r} {of}", (*path, "answer"))


def _names(
    findings: Findings, given: schema.Set | schema.SetAnswer, headers: Any, of: str, path: Path
) -> None:
    """An error for headers that are set where a protocol has only some: each call would fail."""
    known = [one.decode() for one in getattr(getattr(headers, "encoding", None), "keys", ())]
    for place, keys in (("headers", given.headers), ("append", given.append)):
        for key in keys:
            if known and key not in known:
                findings.error(
                    f"no header is called {key!r} in protocol {of} (known: {', '.join(known)})",
                    *path,
                    place,
                    key,
                )


def _source(findings: Findings, given: schema.Set, codecs: Codecs, of: str, path: Path) -> None:
    """An error where the client's address would have to be written in Python, which does not know it.

    One such protocol is enough for all of the rule's changes to be made in Python.
    """
    for name, codec in codecs.items():
        if slow := given.kinds() - native.edits(codec.address):
            what = " and ".join(sorted(slow))
            findings.error(
                f"{schema.SOURCE} can be set where the engine writes all changes of a rule itself; {what} of"
                f" {name!r} {of} is written in Python, which does not know the address",
                *path,
            )
            return


def _budget(findings: Findings, codecs: Codecs, of: str, path: Path) -> None:
    """An error where servers are to be told the time that is left, and their frames have no place for it."""
    if mute := [name for name, codec in codecs.items() if not native.has_budget(codec.address)]:
        findings.error(
            f"pass: requests of {mute[0]!r} {of} have no number that the engine can write the time into;"
            " match other protocols, or use a filter that sets it",
            *path,
        )


def _hedge(findings: Findings, listener: schema.Listener, codecs: Codecs, of: str, path: Path) -> None:
    """An error where answers come in order; a warning where each client has connections of its own."""
    if in_order := [name for name, codec in codecs.items() if native.mode(codec.address) != 0]:
        findings.error(
            f"hedge: answers of {in_order[0]!r} {of} come in the order of requests: others would wait behind"
            " the loser's; match other protocols",
            *path,
        )
    pinned = listener.mode == "pinned"
    if own := [name for name, codec in codecs.items() if pinned or native.pinned(codec.address)]:
        findings.warning(
            f"hedge does nothing for clients of {own[0]!r} {of}: each has connections of its own", *path
        )


def _mirror(findings: Findings, mirror: schema.Mirror, codecs: Codecs, of: str, path: Path) -> None:
    """An error where copies cannot be told apart by their ids, or cannot be marked."""
    if own := [name for name, codec in codecs.items() if native.pinned(codec.address)]:
        findings.error(
            f"mirror: requests of {own[0]!r} {of} go on connections of their client's own, which has none to"
            " another cluster; match other protocols",
            *path,
        )
    mute = [name for name, codec in codecs.items() if "headers" not in native.edits(codec.address)]
    if mirror.mark and mute:
        findings.error(
            f"mark: the engine cannot write headers of {mute[0]!r} {of}; leave it out, or match other"
            " protocols",
            *path,
            "mark",
        )
