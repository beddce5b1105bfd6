"""Golden vectors: frames of real peers, one JSON object a line.

``{"name": ..., "source": library and version, "origin": "captured" or how else, "hex": ...,
"side": "client" or "server", where somebody has to know who sent it,
"ended": true where only its sender's end tells where it ends,
"expect": {"kind": ..., "request_id": "7", "service": ..., ...}, "facts": {...}}``

``expect`` holds what protokit's model can tell, and all of it is checked: ``KNOWN``. What else is known of
a frame, for other readers, stands in ``facts``.
"""

from __future__ import annotations

import contextlib
import difflib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.errors import ProtokitError
from protokit.model import Status
from protokit.wire.format import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protokit.wire.codec import Wire

REQUEST_TEXTS = ("service", "method", "version", "group")
# What `expect` may say, and of which frames: "frame" is any, "message" a request or a response.
KNOWN = {
    "kind": "frame",
    "request_id": "frame",
    "oneway": "frame",
    "status": "response",
    "app_error": "response",
    "text": "response",
    "headers": "message",
    **dict.fromkeys((*REQUEST_TEXTS, "timeout_ms", "arguments"), "request"),
}
_ACK = "heartbeat_ack"  # as peers call it


@dataclass(frozen=True)
class Golden:
    """One vector.

    Attributes:
        data: the frame; where the vector says its ``side``, it knows it (``native.sent_by``).
        expect: what it means, by the names of ``KNOWN``; only what is named is compared.
        facts: what else is known of it; the kit does not look at it.
    """

    name: str
    data: bytes
    source: str = ""
    origin: str = ""
    expect: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def vectors_of(given: str | Path | Iterable[str | Path | Golden]) -> list[Golden]:
    """Vectors as an author names them: they themselves, files or folders, one or several.

    Raises:
        ProtokitError: it is something else, or as ``load_golden`` says.
    """
    found: list[Golden] = []
    for one in [given] if isinstance(given, str | Path) else given:
        if isinstance(one, Golden):
            found.append(one)
        elif isinstance(one, str | Path):
            found += load_golden(one)
        else:
            raise ProtokitError(f"golden: {one!r} is neither a file, nor a folder, nor a Golden")
    return found


def load_golden(places: str | Path | Iterable[str | Path]) -> list[Golden]:
    """The vectors of files, and of all ``*.jsonl`` in folders.

    Raises:
        ProtokitError: there is no such file, or a line is not a vector; says which.
    """
    found = []
    for place in map(Path, [places] if isinstance(places, str | Path) else places):
        if not place.exists():
            raise ProtokitError(f"{place}: there is no such file or folder of golden vectors")
        for path in sorted(place.glob("*.jsonl")) if place.is_dir() else [place]:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if line.strip():
                    found.append(_vector(path, number, line))
    return found


def _vector(path: Path, number: int, line: str) -> Golden:
    try:
        one = json.loads(line)
        if one.get("side") not in native.SIDES:
            raise ValueError(f"side is {one['side']!r}, client or server expected")
        return Golden(
            one["name"],
            native.sent_by(one.get("side"), bytes.fromhex(one["hex"]), ended=bool(one.get("ended"))),
            one.get("source", ""),
            one.get("origin", ""),
            one.get("expect", {}),
            one.get("facts", {}),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ProtokitError(
            f'{path}:{number}: expected {{"name": ..., "hex": ..., "expect": {{...}}}}: {error}'
        ) from error


def refuse_unknown(vectors: Iterable[Golden]) -> None:
    """See to it that nothing which a vector expects would go unchecked.

    Raises:
        ProtokitError: ``expect`` has a name, a kind or a status that is none.
    """
    for one in vectors:
        for name in one.expect:
            where = f"golden vector {one.name!r}: expect"
            _one_of(where, name, KNOWN, '; what else is known belongs in "facts"')
        for name, words in (("kind", [*filter(None, KINDS), _ACK]), ("status", Status.__members__)):
            if name in one.expect:
                _one_of(f"golden vector {one.name!r}: expect.{name}", one.expect[name], words)


def _one_of(where: str, given: Any, known: Iterable[str], advice: str = "") -> None:
    known = list(known)
    if given in known:
        return
    near = difflib.get_close_matches(str(given), known, 1)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    raise ProtokitError(f"{where}: {given!r} is none of {', '.join(known)}{guess}{advice}")


def check_meaning(one: Golden, codec: Wire, message: native.Message) -> None:
    """Compare all that a vector expects with what the codec says.

    Raises:
        AssertionError: it says something else.
    """
    kind = KINDS[message.kind]
    is_a = "request" if kind == "oneway" else kind
    found: dict[str, Any] = {
        "kind": kind,
        "request_id": native.show_id(message.id),
        "oneway": kind == "oneway",
        "status": Status(message.status).name,
        "app_error": message.status == Status.APP_ERROR,
    }
    if is_a == "request":
        request = codec.ask.request(one.data)
        found |= {name: getattr(request, name) for name in (*REQUEST_TEXTS, "timeout_ms", "headers")}
    elif is_a == "response" and "headers" in one.expect:
        found["headers"] = codec.ask.headers(one.data)
    of = {"frame", is_a, "message" if is_a in {"request", "response"} else ""}
    for name, value in one.expect.items():
        where = f"{one.name}: {name}"
        assert KNOWN[name] in of, f"{where} is expected, but a {kind} has none"
        if name == "text":
            continue  # the codec's own replies are compared with the frame: said.py
        if name == "headers":
            for key, text in value.items():  # null: it is not there
                got = found["headers"].get(key)
                assert got == text, f"{where}: {key!r} is {got!r}, {text!r} expected"
            continue
        if name == "arguments":
            check_arguments(one, codec, value)
            continue
        wanted = {"kind": {_ACK: "ack"}.get(value, value), "request_id": str(value)}.get(name, value)
        assert found[name] == wanted, f"{where} is {found[name]!r}, {wanted!r} expected"


def check_arguments(one: Golden, codec: Wire, expected: list[Any]) -> None:
    """Compare a call's arguments.

    Args:
        one: the vector.
        codec: the protocol's.
        expected: null, booleans, numbers, texts; of others ``{"hex": ...}``, as they stand in the frame.

    Raises:
        AssertionError: they are others.
    """
    wanted = [bytes.fromhex(value["hex"]) if isinstance(value, dict) else value for value in expected]
    got: list[native.Argument] = []
    with contextlib.suppress(IndexError):
        while len(got) <= len(wanted):
            got.append(codec.ask.argument(one.data, len(got)))
    same = [(type(value), value) for value in got] == [(type(value), value) for value in wanted]
    assert same, f"{one.name}: arguments are {got!r}, {wanted!r} expected"
