"""Hypothesis strategies that come from the declaration itself."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import reject
from hypothesis import strategies as st

from protokit import native, plugins
from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.model import Request
from protokit.testing.filling import SECTION_MAX, Facts, Filler, Unfit
from protokit.wire import WireFormat

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from protokit.wire import Protocol
    from protokit.wire.expressions import FieldPath
    from protokit.wire.nodes import Region, Section

    Draw = Callable[[Any], Any]

T = TypeVar("T")
DRAWS = 20  # within one example, until the values fit together


_TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs"]), min_size=1, max_size=20
)


# Strategies are made once: to look at a new one takes Hypothesis many times as long as to draw from it.
_made_once = functools.lru_cache(4096)


@_made_once
def _one_of(values: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


@_made_once
def _integer(low: int, high: int, near: tuple[int, ...]) -> st.SearchStrategy[int]:
    whole = st.integers(low, high)
    if near:
        return st.one_of(*[st.sampled_from(near)] * 7, whole)
    return st.sampled_from([low, high, 0, 1]) | whole


@_made_once
def _pairs(keys: tuple[bytes, ...], only: tuple[bytes, ...]) -> st.SearchStrategy[list[tuple[bytes, bytes]]]:
    """Pairs under some of the keys that somebody asks for, and others; ``only``: a map has no others."""
    text = _TEXT.map(str.encode)
    key = st.sampled_from(only) if only else st.sampled_from(keys) | text if keys else text
    return st.lists(st.tuples(key, text), max_size=5)


@_made_once
def _place(last: int) -> st.SearchStrategy[int]:
    return st.integers(0, min(last, 80)) | st.integers(0, last)


class _Drawer(Filler):
    """Draws one set of values, in the order of the frame."""

    def __init__(self, draw: Draw, facts: Facts, side: str | None) -> None:
        super().__init__(facts, side)
        self.draw = draw

    def integer(self, path: FieldPath, low: int, high: int) -> int:
        facts = self.facts
        if path in facts.counts or path in facts.small:
            return int(self.draw(st.integers(0, min(high, 4 if path in facts.counts else 24))))
        known = facts.candidates.get(path, set()) | facts.statuses.get(path, set())
        near = tuple(sorted(value for value in known if low <= value <= high))
        return int(self.draw(_integer(low, high, near)))

    def sized(self, node: Section, size: int) -> bytes:  # noqa: ARG002  # any bytes will do
        return bytes(self.draw(st.binary(min_size=size, max_size=size)))

    def chunks(self, path: FieldPath, count: int) -> list[bytes]:  # noqa: ARG002  # as above
        return [self.draw(st.binary(max_size=12)) for _ in range(count)]

    def region(self, node: Region) -> bytes:
        return bytes(self.draw(_one_of(tuple(self.facts.region(node, self.next)))))

    def content(self, path: FieldPath, most: int) -> bytes:
        return self._drawn(path)[: min(most, SECTION_MAX, self.facts.most(path))]

    def _drawn(self, path: FieldPath) -> bytes:
        facts = self.facts
        known = [*facts.samples.get(path, ()), *facts.compared] if path in facts.laid else []
        if known and self.draw(st.integers(0, 3)):
            return bytes(self.draw(_one_of(tuple(known))))
        if path in facts.maps:
            pairs, keys = facts.maps[path]
            if self.draw(st.integers(0, 5)) == 3:  # what it holds is read later, and may be no map
                return bytes(self.draw(st.binary(min_size=1, max_size=30)))
            items = self.draw(_pairs(tuple(sorted(keys)), tuple(pairs.encoding.keys or ())))
            try:
                return pairs.encoding.build(items)
            except LocalProtocolError:  # a text holds a separator
                return b""
        if path in facts.texts:
            return bytes(self.draw(_TEXT).encode())
        samples = facts.samples.get(path)
        if samples:
            which = self.draw(st.integers(0, len(samples)))
            return samples[which] if which < len(samples) else bytes(self.draw(st.binary(max_size=30)))
        return bytes(self.draw(st.binary(max_size=30)))


def _values(wire: WireFormat, samples: Sequence[bytes]) -> Callable[[Draw], dict[str, Any]]:
    facts = Facts(wire, samples)

    def values(draw: Draw) -> dict[str, Any]:
        side = draw(st.sampled_from(["client", "server"])) if wire.sided else None
        drawer = _Drawer(draw, facts, side)
        drawer.fill(wire.nodes)
        return drawer.values

    return values


def field_values(wire: WireFormat, samples: Sequence[bytes] = ()) -> st.SearchStrategy[dict[str, Any]]:
    """Plain field values from which ``wire.build`` makes a frame.

    Args:
        wire: the format.
        samples: frames whose bodies are taken for sections that a step reads.
    """
    return _fitting(_values(wire, samples))


def frames(wire: WireFormat, samples: Sequence[bytes] = ()) -> st.SearchStrategy[bytes]:
    """Whole frames of the format."""
    return _fitting(_frames(wire, samples))


def counted_frames(
    wire: WireFormat, samples: Sequence[bytes], tally: Counter[str]
) -> st.SearchStrategy[bytes]:
    """Whole frames. ``tally`` counts attempts: those that made none by field and reason, the others as ""."""
    attempt = _frames(wire, samples)

    def counted(draw: Draw) -> bytes:
        try:
            frame = attempt(draw)
        except Unfit as why:
            tally[str(why)] += 1
            raise
        tally[""] += 1
        return frame

    return _fitting(counted)


def _frames(wire: WireFormat, samples: Sequence[bytes] = ()) -> Callable[[Draw], bytes]:
    values = _values(wire, samples)

    def frame(draw: Draw) -> bytes:
        try:
            built = wire.build(values(draw))
            size = wire.parse(built)[1]
        except (LocalProtocolError, RemoteProtocolError, EOFError) as error:
            raise Unfit((), str(error)) from None
        if size != len(built):
            raise Unfit((), "what was built is longer than what is read of it")
        return built

    return frame


@st.composite
def _fitting(draw: Draw, attempt: Callable[[Draw], T]) -> T:
    """Attempts until one fits; rejecting the example at the first would reject most examples."""
    for _ in range(DRAWS):
        with contextlib.suppress(Unfit):
            return attempt(draw)
    return reject()


def requests(*protocols: Protocol) -> st.SearchStrategy[Request]:
    """Requests as the codec reads them: real frames, with the service, method and headers that stand there.

    Args:
        protocols: declared ones; none stands for all that are installed. Where there is none, the requests
            are of no protocol and have no frame.

    Raises:
        TypeError: one of them is not declared.
    """
    wanted = list(protocols)
    if not protocols:
        wanted = [one for one in plugins.load().protocols.values() if isinstance(one.wire, WireFormat)]
    if not wanted:
        text = st.text(max_size=40)
        return st.builds(Request, text, text, version=text, group=text, timeout_ms=st.integers(0, 2**32 - 1))

    for one in wanted:
        if not isinstance(one.wire, WireFormat):
            raise TypeError(f"{one.name} is native: no declaration says what its frames are")
    return st.one_of([_requests_of(one.wire) for one in wanted if isinstance(one.wire, WireFormat)])


def _requests_of(wire: WireFormat) -> st.SearchStrategy[Request]:
    frame_of = _frames(wire)

    def request(draw: Draw) -> Request:
        frame = frame_of(draw)
        if native.frame(wire.address, frame).kind not in {native.KIND_REQUEST, native.KIND_ONEWAY}:
            raise Unfit
        try:
            return native.request(wire.address, frame)
        except RemoteProtocolError:
            raise Unfit from None

    return _fitting(request)


def announcing(samples: Sequence[bytes]) -> list[bytes]:
    """Heads of frames with large numbers written over them, at every place, and little behind."""
    numbers = [
        b"\x7f\xff\xff\xff",
        b"\x00\x7f\xff\x00",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x7f\xff",
        b"\xff\xff",
    ]
    return [
        head[:at] + number + head[at + len(number) :] + bytes(20)
        for head in sorted({sample[:64] for sample in samples})
        for at in range(len(head) - 3)
        for number in numbers
    ]


@st.composite
def spoiled(draw: Draw, whole: st.SearchStrategy[bytes]) -> bytes:
    """A frame with some bytes changed, cut out, put in, or with its end missing."""
    frame = draw(whole)
    data = bytearray(frame)
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        at = draw(_place(len(data) - 1))
        how = draw(_one_of(("set", "bit", "edge", "cut", "insert", "end")))
        if how == "set":
            data[at] = draw(st.integers(0, 255))
        elif how == "bit":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "edge":
            data[at] = draw(_one_of((0, 1, 0x7F, 0x80, 0xFF)))
        elif how == "cut":
            del data[at : at + draw(st.integers(1, 8))]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        else:
            del data[at:]
    return native.sent_by(native.side_of(frame), bytes(data))
