"""Bytes of one direction of a connection, cut into frames: which protocol they are, and where it goes on.

A protocol is chosen as the engine chooses it: the first one that says yes to the first bytes, once all
before it have said no. After bytes that are wrong or missing, the next place counts where a whole frame
stands and what follows it begins another.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from protokit import native
from protokit.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from protokit.wire import Protocol

_HEAD = 4096
_PROBE = 64
_EFFORT = 1 << 30  # bytes of what looked like frames, until only small ones are looked for
_SHOWN = 8
_LINKS = {1: " or "}


class Frame(NamedTuple):
    """A whole frame; ``offset`` counts from the first byte of its stream."""

    offset: int
    protocol: Protocol
    message: native.Message
    data: bytes
    time_ns: int


class Wrong(NamedTuple):
    """Bytes that are not what was expected there."""

    offset: int
    text: str


class Skipped(NamedTuple):
    """Bytes that belong to no frame."""

    offset: int
    size: int
    why: str


class Lost(NamedTuple):
    """Bytes that were not captured."""

    offset: int
    size: int


class Unfinished(NamedTuple):
    """The beginning of a frame whose end never came.

    Attributes:
        need: bytes it has at least.
        protocol: whose; ``a or b`` where it may be several's, and no whole frame has told.
    """

    offset: int
    size: int
    need: int
    protocol: str


Record = Frame | Wrong | Skipped | Lost | Unfinished


class Candidate:
    """A protocol that the bytes may be."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.codec = protocol.wire

    def probe(self, data: bytes) -> int:
        """Whether a direction may begin so: 0 yes, 1 more bytes are needed, -1 no."""
        verdict = self.codec.ask.probe(data)
        if verdict == -1 and data and native.side_of(data) == "server":  # whom detection never asks about
            verdict = {0: 0, 1: 1, -3: 0}.get(self.codec.ask.frame(data).result, -1)
        return verdict

    @lru_cache(maxsize=3)  # noqa: B019  # as many as there are sides
    def first(self, side: str | None) -> list[int]:
        """The bytes that a connection may begin with."""
        return [byte for byte in range(256) if self.probe(native.sent_by(side, bytes([byte]))) != -1]

    def frame(self, data: bytearray, at: int, limit: int, side: str | None) -> native.Message:
        """Frame what begins there, without a copy of more than it needs."""
        left = len(data) - at
        size = min(left, _HEAD)
        while True:
            message = self.codec.ask.frame(native.sent_by(side, bytes(data[at : at + size])), limit)
            if message.result != 1 or size == left or message.need > left:
                return message
            size = min(left, max(message.need, size + _HEAD))

    def unlike(self, data: bytes) -> tuple[int, str]:
        """Where ``data`` stops being a beginning of this protocol, and what it may be there."""
        ends = (i for i in range(len(data)) if self.probe(data[: i + 1]) == -1)
        at = next(ends, len(data) - 1)
        fitting = [b for b in range(256) if self.probe(data[:at] + bytes([b])) != -1]
        return at, _ranges(fitting)

    def why(self, data: bytes, message: native.Message, limit: int) -> tuple[int, str]:
        """Where a frame is wrong; what was seen there, what was expected."""
        at, name = message.error_at, self.protocol.name
        what = native.RESULTS.get(message.result, "malformed")
        if message.result == -3:
            return at, f"{_seen(data, at)} seen, a {name} frame of at most {limit} bytes expected"
        try:
            self.codec.ask.explain(data)
        except RemoteProtocolError as error:
            text = str(error).removeprefix(f"at byte {error.offset}: ")
            return error.offset, f"{_seen(data, error.offset)} seen: {text} ({name}: {what})"
        except EOFError:
            pass
        expected = _ranges([b for b in range(256) if self._may_be(data, at, b, limit)])
        return at, f"{_seen(data, at)} seen, {expected} expected ({name}: {what})"

    def _may_be(self, data: bytes, at: int, byte: int, limit: int) -> bool:
        message = self.codec.ask.frame(data[:at] + bytes([byte]) + data[at + 1 : at + _HEAD], limit)
        return message.result >= 0 or message.error_at > at


def _ranges(found: Sequence[int]) -> str:
    """Byte values as a person writes them."""
    runs: list[list[int]] = []
    for value in found:
        if runs and runs[-1][1] == value - 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    if not 0 < len(runs) <= 4 or len(found) > 128:
        return "something else"
    spans = (f"{low:02x}{_LINKS.get(high - low, ' to ')}{high:02x}" for low, high in runs)
    return " or ".join(span[:2] if span[:2] == span[-2:] else span for span in spans)


def _seen(data: bytes, at: int) -> str:
    return data[at : at + _SHOWN].hex(" ") or "the end"


class Choice:
    """What a connection's protocol is; both directions share it.

    Args:
        protocols: in the order in which they are asked.
        strict: bytes that begin as no protocol are wrong; else the connection is somebody else's.
    """

    def __init__(self, protocols: Sequence[Candidate], *, strict: bool) -> None:
        self.candidates = list(protocols)
        self.strict = strict
        self.proved = False

    def settle(self, candidate: Candidate) -> None:
        """A whole frame of that protocol was there."""
        self.candidates = [candidate]
        self.proved = True


class Decoder:
    """One direction.

    Args:
        choice: of its connection.
        limit: bytes of the largest frame.
        from_start: the first byte begins a frame.
        side: whose bytes they are, where that is known.
    """

    def __init__(
        self, choice: Choice, limit: int, *, from_start: bool = True, side: str | None = None
    ) -> None:
        self._choice = choice
        self._limit = limit
        self._side = side
        self._data = bytearray()
        self._at = 0  # of the first byte of _data
        self._need = 1
        self._times: deque[tuple[int, int]] = deque()
        self._framing: Candidate | None = None
        self._starting = from_start
        self._foreign = ""
        self._skipped = 0
        self._effort = 0
        self._ended = False
        self._why = "" if from_start else "the capture begins within the connection"

    @property
    def held(self) -> int:
        """Bytes it keeps."""
        return len(self._data) + 100 * len(self._times)

    def feed(self, data: bytes, time_ns: int = 0) -> Iterator[Record]:
        """The next bytes, and when they came."""
        self._data += data
        end = self._at + len(self._data)
        if self._times and self._times[-1][1] == time_ns:
            self._times.pop()
        self._times.append((end, time_ns))
        yield from self._read(final=False)

    def gap(self, size: int) -> Iterator[Record]:
        """Bytes are missing here."""
        yield from self._read(final=True)
        yield from self._report()
        yield Lost(self._at, size)
        self._at += size
        self._lose_track("after lost bytes")

    def finish(self) -> Iterator[Record]:
        """No more bytes come."""
        self._ended = True
        yield from self._read(final=True)
        yield from self._report()

    def _lose_track(self, why: str) -> None:
        self._framing, self._starting, self._need = None, False, 1
        self._why = self._why if self._skipped else why

    def _front(self, size: int, at: int = 0) -> bytes:
        return native.sent_by(self._side, bytes(self._data[at : at + size]))

    def _drop(self, size: int) -> None:
        del self._data[:size]
        self._at += size
        while self._times and self._times[0][0] <= self._at:
            self._times.popleft()

    def _skip(self, size: int) -> None:
        self._skipped += size
        self._drop(size)

    def _report(self) -> Iterator[Record]:
        if self._skipped:
            yield Skipped(self._at - self._skipped, self._skipped, self._foreign or self._why)
        self._skipped = 0

    def _read(self, *, final: bool) -> Iterator[Record]:
        while self._data:
            if self._foreign and not self._choice.proved:
                self._skip(len(self._data))
                return
            if self._foreign:
                self._foreign = ""
                self._lose_track("before its protocol was known")
            if self._starting:
                step = self._begin(final=final)
            elif self._framing is not None:
                step = self._next(self._framing, final=final)
            else:
                step = self._search(final=final)
            found = yield from step
            if not found:
                return

    def _begin(self, *, final: bool) -> Generator[Record, None, bool]:
        """Choose; True when there is something to go on with."""
        data = self._front(16 * _HEAD)
        for candidate in self._choice.candidates:
            result = candidate.probe(data)
            if result == 0:
                self._framing, self._starting = candidate, False
                return True
            if result == 1 and len(self._data) < 16 * _HEAD:
                if final:
                    yield from self._unfinished(len(data) + 1)
                return False
        unlike = []
        for candidate in self._choice.candidates:
            at, expected = candidate.unlike(data[:_HEAD])
            unlike.append((at, f"{_seen(data, at)} seen, {expected} expected by {candidate.protocol.name}"))
        self._starting = False
        first = min(at for at, _ in unlike)
        texts = [text if at == first else f"at byte {self._at + at}: {text}" for at, text in unlike]
        yield from self._fail(first, "; ".join(texts), strict=self._choice.strict)
        return True

    def _fail(self, at: int, text: str, *, strict: bool) -> Iterator[Record]:
        if strict or self._choice.proved:
            yield Wrong(self._at + at, text)
            self._lose_track("after wrong bytes")
            self._skip(1)
        else:
            self._foreign = f"at byte {self._at + at}: {text}"
            self._framing = None

    def _next(self, candidate: Candidate, *, final: bool) -> Generator[Record, None, bool]:
        if len(self._data) < self._need and not final:
            return False
        message = candidate.frame(self._data, 0, self._limit, self._side)
        if message.result == 1 and self._ended:  # which may end it
            last = native.sent_by(self._side, bytes(self._data), ended=True)
            message = candidate.codec.ask.frame(last, self._limit)
        if message.result == 1:
            self._need = max(message.need, len(self._data) + 1)
            if final:
                yield from self._unfinished(max(message.need, message.size))
            return False
        self._need = 1
        if message.result == 0 and 0 < message.size <= len(self._data):
            yield from self._take(candidate, message)
            return True
        data = self._front(self._limit)
        strict = self._choice.strict or len(self._choice.candidates) == 1
        yield from self._fail(*candidate.why(data, message, self._limit), strict=strict)
        return True

    def _take(self, candidate: Candidate, message: native.Message) -> Iterator[Record]:
        end = self._at + message.size
        time = next((time for until, time in self._times if until >= end), 0)
        ended = self._ended and message.size == len(self._data)
        data = native.sent_by(self._side, bytes(self._data[: message.size]), ended=ended)
        frame = Frame(self._at, candidate.protocol, message, data, time)
        self._choice.settle(candidate)
        self._effort = 0
        self._drop(message.size)
        yield frame

    def _unfinished(self, need: int) -> Iterator[Record]:
        """What may be the beginning of several protocols' frames is not taken for one of them."""
        names = [one.protocol.name for one in self._choice.candidates]
        if not self._choice.proved:
            data = self._front(16 * _HEAD)
            names = [one.protocol.name for one in self._choice.candidates if one.probe(data) != -1]
        yield Unfinished(self._at, len(self._data), need, " or ".join(names))
        self._drop(len(self._data))

    def _search(self, *, final: bool) -> Generator[Record, None, bool]:
        """Find where a frame begins; True when there is one."""
        firsts = {byte for candidate in self._choice.candidates for byte in candidate.first(self._side)}
        likely = re.compile(b"[" + b"".join(re.escape(bytes([byte])) for byte in sorted(firsts)) + b"]")
        at = 0
        while match := likely.search(self._data, at) if firsts else None:
            at = match.start()
            waits = False
            for candidate in self._choice.candidates:
                fits = self._fits(candidate, at)
                if fits == 0:
                    self._skip(at)
                    yield from self._report()
                    self._framing = candidate
                    return True
                waits = waits or (fits == 1 and not final)
            if waits:
                self._skip(at)
                return False
            at += 1
        self._skip(len(self._data))
        return False

    def _fits(self, candidate: Candidate, at: int) -> int:
        """0: a whole frame, and what follows may be one; 1: more bytes must tell; -1: no."""
        if candidate.probe(self._front(_PROBE, at)) == -1:
            return -1
        limit = self._limit if self._effort < _EFFORT else min(self._limit, _HEAD)
        message = candidate.frame(self._data, at, limit, self._side)
        if message.result != 0:
            return message.result if message.result == 1 else -1
        end = at + message.size
        self._effort += message.size
        if end >= len(self._data):
            return 0
        if candidate.probe(self._front(_PROBE, end)) == -1:
            return -1
        return 0 if candidate.frame(self._data, end, self._limit, self._side).result >= 0 else -1
