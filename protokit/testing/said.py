"""What the proxy says by itself, looked into: beside captured frames, and by a reference's eyes."""

from __future__ import annotations

import contextlib
import json
import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.model import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from protokit import native
    from protokit.testing.golden import Golden
    from protokit.testing.voices import Voice
    from protokit.wire import Message, Wire

_COMPARED = 200  # replies, for the one that is nearest
_LONGEST = 512  # bytes of a text
_FRONT = 4  # bytes in front of a text, by which its place is known
_BETWEEN_QUOTES = re.compile(r'(?:[^"\\]|\\.)+')
_READ = 2048  # bytes of a frame that are compared for that
SAID = "protokit: no route for service 'a.B'"


class SaidByItself:
    """Checks of replies: those of the codec itself are looked into, not only framed."""

    vectors: list[Golden]

    if TYPE_CHECKING:

        @property
        def codec(self) -> Wire: ...
        @property
        def voice(self) -> Voice: ...
        def readers(self) -> dict[str, Callable[[bytes], Message]]: ...
        def whole(self, kind: str) -> list[Golden]: ...
        def frame(self, data: bytes) -> native.Message: ...

    def test_captured_errors_are_what_the_codec_says(self) -> None:
        """With the text of a captured error (``expect``'s ``text``), the codec's reply is that frame."""
        for one in self.vectors:
            text = one.expect.get("text")
            if text is not None:
                unlike = unlike_captured(self.codec, self.voice, self.whole("request"), one, text)
                assert not unlike, f"{one.name}: {unlike}"

    def test_the_reference_reads_what_the_codec_says(self) -> None:
        """Errors of each status, heartbeats, their answers and drain signals, each what it is said to be."""
        readers = self.readers()
        for one in self.whole("request") if readers else []:
            for what, kind, reply in self._said(one):
                seen = self.frame(reply)
                wanted = (kind, len(reply), seen.id, Status(seen.status).name)
                for name, read in readers.items():
                    try:
                        found = read(reply)
                    except (EOFError, RemoteProtocolError) as error:
                        raise AssertionError(f"{what} to {one.name}: the {name} says: {error}") from error
                    got = (found.kind, found.size, found.id, found.status.name)
                    assert got == wanted, f"{what} to {one.name}: the {name} reads {got}, not {wanted}"

    def _said(self, one: Golden) -> Iterator[tuple[str, str, bytes]]:
        """(what it is, its kind, the frame) of all that the codec says to a request."""
        ask, asked = self.codec.ask, self.frame(one.data)
        kept = ask.keep(one.data)
        for status in Status:
            if status > Status.APP_ERROR:
                reply = ask.error(status, asked.id, asked.context, SAID.encode(), kept)
                if not reply:
                    continue  # said elsewhere: it has to be
                assert self.frame(reply).id == asked.id or not ask.id_bytes, f"{status.name} to {one.name}"
                yield status.name, "response", reply
        if beat := ask.heartbeat(7, asked.upstream_key):
            yield "a heartbeat", "heartbeat", beat
            if ack := ask.heartbeat_ack(beat):
                yield "the answer to a heartbeat", "ack", ack
        if signal := ask.drain(asked.context, kept):
            yield "a drain signal", "drain", signal


def unlike_captured(wire: Wire, voice: Voice, requests: list[Golden], captured: Golden, text: str) -> str:
    """Where the codec's own error replies differ from a captured one; empty where one is the same.

    Args:
        wire: the codec.
        voice: writes the captured frame's id into requests.
        requests: that it may have answered.
        captured: the error.
        text: that stands in it.
    """
    answer = wire.ask.frame(captured.data)
    candidates: dict[bytes, Status] = {}
    for asked in {_asked(wire, voice, one.data, answer.id): None for one in requests}:
        seen, kept = wire.ask.frame(asked), wire.ask.keep(asked)
        for status in Status:
            if status > Status.APP_ERROR:
                built = wire.ask.error(status, seen.id, seen.context, text.encode(), kept)
                candidates.setdefault(built, status)
    if captured.data in candidates:
        return ""
    if not candidates:
        return "it is an error, and no golden vector is a request that it may answer"
    nearest = max(list(candidates)[:_COMPARED], key=lambda built: _alike(captured.data, built))
    return (
        f"no error reply with its text is this frame; that of {candidates[nearest].name} comes nearest: "
        f"{_differences(captured.data, nearest)} ({len(captured.data)} and {len(nearest)} bytes). Make it "
        'so, or say "text": null in its expect, where a server says more than a proxy can'
    )


def _asked(wire: Wire, voice: Voice, request: bytes, request_id: native.Id) -> bytes:
    """The request under that id, where it can have it."""
    try:
        return voice.with_id(request, request_id) if wire.ask.id_bytes else request
    except (LocalProtocolError, ValueError):
        return request


def _alike(captured: bytes, built: bytes) -> float:
    """From 0 to 1."""
    return SequenceMatcher(None, captured[:_READ], built[:_READ], autojunk=False).ratio()


def _differences(captured: bytes, built: bytes) -> str:
    """The first places where they differ."""
    matcher = SequenceMatcher(None, captured[:_READ], built[:_READ], autojunk=False)
    found = [
        f"at byte {at}: {_shown(captured[at:end])} captured, {_shown(built[other:until])} built"
        for tag, at, end, other, until in matcher.get_opcodes()
        if tag != "equal"
    ]
    return "; ".join(found[:3])


def _shown(data: bytes) -> str:
    return data[:8].hex(" ") + (" ..." if len(data) > 8 else "") or "nothing"


def likely_text(wire: Wire, voice: Voice, requests: list[Golden], captured: Golden) -> str | None:
    """The text of a captured error: with which a reply of the codec is that frame, else is most like it.

    None where no reply can be that frame: it has no text, or escapes that the codec writes otherwise.
    """
    number = wire.ask.frame(captured.data).id
    asked = [*{_asked(wire, voice, one.data, number): None for one in requests[: _COMPARED // 10]}]
    for request in asked:
        for status in Status:
            if status > Status.APP_ERROR and (text := _in_its_place(wire, request, status, captured.data)):
                return text
    best: tuple[bool, float, str | None] = (False, 0, None)
    for stands in _runs(captured.data):
        for text, written in _spellings(stands):
            for request in asked:
                built = _error(wire, request, Status.INTERNAL, text)
                if written not in built or written in _error(wire, request, Status.INTERNAL, ""):
                    continue
                places = ((captured.data, stands.encode()), (built, written))
                fronts = {whole[: whole.find(part)][-_FRONT:] for whole, part in places}
                said = text if written == stands.encode() else None
                found = (len(fronts) == 1, _alike(captured.data, built), said)
                best = max(best, found, key=lambda one: one[:2])
    if best[1]:
        return best[2]
    return None if unlike_captured(wire, voice, requests, captured, "") else ""


def _error(wire: Wire, request: bytes, status: Status, text: str) -> bytes:
    """The codec's error to that request."""
    seen = wire.ask.frame(request)
    return wire.ask.error(status, seen.id, seen.context, text.encode(), wire.ask.keep(request))


def _in_its_place(wire: Wire, request: bytes, status: Status, captured: bytes) -> str:
    """What a captured error has where a reply of its size has its text; empty unless the rest is alike."""
    spare = len(captured) - len(_error(wire, request, status, ""))
    for size in (spare, spare - 1):  # what counts it may grow with it
        mark = "~" * size
        built = _error(wire, request, status, mark) if 0 < size <= _LONGEST else b""
        at = built.find(mark.encode())
        if at < 0 or len(built) != len(captured):
            continue
        stands = captured[at : at + size].decode("utf-8", "replace")
        for text, _ in _spellings(stands):
            if _error(wire, request, status, text) == captured:
                return text
    return ""


def _spellings(stands: str) -> list[tuple[str, bytes]]:
    """What a text may say that stands there so, and how a reply would write it: in JSON it has escapes."""
    found = [(stands, stands.encode())]
    if "\\" in stands:
        with contextlib.suppress(ValueError):
            text = str(json.loads(f'"{stands}"'))
            found.append((text, json.dumps(text, ensure_ascii=False)[1:-1].encode()))
    return found


def _runs(data: bytes) -> list[str]:
    """Runs of readable characters, and what stands in quotation marks in them, the longest first."""
    text = data.decode("utf-8", "replace").replace("\ufffd", "\0")
    runs = "".join(one if one.isprintable() else "\0" for one in text).split("\0")
    runs += [piece for one in runs if '"' in one for piece in _BETWEEN_QUOTES.findall(one)]
    return sorted(
        {one for one in runs if len(one) > 2 and len(one.encode()) <= _LONGEST}, key=len, reverse=True
    )[:20]
