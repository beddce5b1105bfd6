"""Frames that are gone through, not drawn: what is finite and small in a format is tried whole.

``Cases.ways`` are frames from a declaration: every way through its branches, every kind and status, every
value that something is compared with and those beside it, every flag, numbers at the ends of their fields,
and what sections with a meaning may hold. ``Cases.wrong`` are short frames with one thing changed: a byte, or
the number in a field. The same declaration and samples give the same frames in the same order. What is too
large for that is drawn: ``strategies``.
"""

from __future__ import annotations

import contextlib
from collections import deque
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import construct

from protokit import native
from protokit.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from protokit.testing.filling import SECTION_MAX, Facts, Filler, Unfit, range_of, some_parts
from protokit.wire import WireFormat, views
from protokit.wire.explain import calculate
from protokit.wire.nodes import Delimited, Integer, Integers, Region, Repeated, Section, Varint, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from protokit.wire import Protocol
    from protokit.wire.expressions import FieldPath

COMBINED = 1000  # values that decide something, put together; with fewer fields that differ first
HEAD = 64  # bytes of a frame that are changed one by one
VALUES = 16  # and of those, so many get every value, where no declaration says which ones matter


class Way(NamedTuple):
    """A frame, and the plain values that it was built from."""

    frame: bytes
    values: dict[str, Any]


class Cases:
    """What the checks of one protocol go through; made when it is first asked for.

    Args:
        protocol: whose. Of a native one its codec says of what kind a sample is.
        samples: whole frames.
    """

    def __init__(self, protocol: Protocol, samples: Sequence[bytes]) -> None:
        self.wire = protocol.wire
        self.samples = list(samples)

    @cached_property
    def ways(self) -> list[Way]:
        """Frames from the declaration; none without one."""
        return [*ways(self.wire, self.samples)] if isinstance(self.wire, WireFormat) else []

    @cached_property
    def whole(self) -> list[bytes]:
        """Samples, and frames from the declaration."""
        return list(dict.fromkeys([*self.samples, *(one.frame for one in self.ways)]))

    @cached_property
    def short(self) -> list[bytes]:
        """The shortest frames that together are of every kind, every status and every form."""
        found = []
        seen: set[Any] = set()
        for frame in sorted(self.whole, key=len):
            about = set(enumerate((*self._about(frame), native.side_of(frame))))
            if not about <= seen:
                seen |= about
                found.append(frame)
        return found

    @cached_property
    def wrong(self) -> list[bytes]:
        """Frames with one thing changed, which may leave them right; and the shortest inputs of all."""
        found = dict.fromkeys(
            native.sent_by(side, bytes([byte]))
            for side in {native.side_of(one): None for one in self.whole}
            for byte in range(256)
        )
        for frame in self.short:
            found.update(dict.fromkeys(changed(frame)))
            if isinstance(self.wire, WireFormat):
                found.update(dict.fromkeys(overwritten(self.wire, frame)))
        if not isinstance(self.wire, WireFormat):
            of_each_kind = {self._about(frame)[0]: frame for frame in reversed(self.short)}
            for frame in of_each_kind.values():
                found.update(dict.fromkeys(every_value(frame)))
        return list(found)

    @cached_property
    def cut(self) -> list[bytes]:
        """Short frames up to each of their bytes."""
        return list(dict.fromkeys(frame[:end] for frame in self.short for end in range(1, len(frame))))

    @cached_property
    def joined(self) -> list[bytes]:
        """Each short frame with each other of its side behind it."""
        return [one + other for one, other in self.pairs]

    @property
    def pairs(self) -> list[tuple[bytes, bytes]]:
        """Short frames that may follow each other."""
        return [
            (one, other)
            for one in self.short
            for other in self.short
            if native.side_of(one) == native.side_of(other)
        ]

    def _about(self, frame: bytes) -> tuple[Any, ...]:
        """Its kind, its status, its form."""
        if not isinstance(self.wire, WireFormat):
            seen = self.wire.ask.frame(frame, len(frame))
            return seen.kind, seen.status, seen.context & 0xFF
        try:
            one = self.wire.message(frame)
        except RemoteProtocolError:  # its texts cannot be read
            return "", 0, ()
        return one.kind, one.status, _form(self.wire, one.fields)


@lru_cache(maxsize=64)
def _laid_out(wire: WireFormat) -> list[FieldPath]:
    """Its fields' paths."""
    fields = Integer | Section | Delimited | Region | Repeated
    return [node.path for node in walk(wire.nodes) if isinstance(node, fields)]


def _form(wire: WireFormat, fields: Any) -> Any:
    """Which variant some fields are, and which of the format's fields are there."""
    paths = _laid_out(wire)
    present = tuple(views.value_at(fields, path) is not None for path in paths)
    variants = [
        all(views.value_at(fields, path) == value for path, value in variant.items())
        for variant in wire.meaning.variants
    ]
    return present, variants.index(True) if True in variants else -1


# Changes to bytes, of any protocol.


def changed(frame: bytes) -> Iterator[bytes]:
    """One byte near the front changed: each bit, the next values, the extremes; left out; doubled."""
    for at in range(min(len(frame), HEAD)):
        byte = frame[at]
        others = {byte ^ (1 << bit) for bit in range(8)} | {(byte + 1) & 0xFF, (byte - 1) & 0xFF, 0, 0xFF}
        for other in sorted(others - {byte}):
            yield frame[:at] + bytes([other]) + frame[at + 1 :]
        yield frame[:at] + frame[at + 1 :]
        yield frame[:at] + frame[at : at + 1] + frame[at:]
    yield frame[:-1] + bytes([frame[-1] ^ 1])


def every_value(frame: bytes) -> Iterator[bytes]:
    """One byte of the front changed to each of the others."""
    for at in range(min(len(frame), VALUES)):
        for other in range(256):
            yield frame[:at] + bytes([other]) + frame[at + 1 :]


# Changes to a declared format's numbers, which no builder would write.


def overwritten(wire: WireFormat, frame: bytes) -> Iterator[bytes]:
    """One integer of a frame changed to each value that may matter."""
    facts = Facts(wire, [])
    nodes = {node.path: node for node in walk(wire.nodes) if isinstance(node, Integer | Integers | Varint)}
    for piece in wire.explain(frame):
        node = nodes.get(piece.path)
        front, behind = frame[: piece.offset], frame[piece.offset + piece.size :]
        if isinstance(node, Integer):
            low, high = range_of(8 * node.width, signed=node.signed)
            around = {int(piece.value) - 1, int(piece.value) + 1, low, high, 0, 1, -1, 255, 256, 0x8000}
            around |= facts.candidates.get(piece.path, set()) | facts.statuses.get(piece.path, set())
            for value in sorted(one for one in around if low <= one <= high):
                yield front + _integer(node, value) + behind
        elif isinstance(node, Integers):
            for at in range(0, piece.size, node.width):
                for value in range_of(8 * node.width, signed=node.signed):
                    yield (
                        front + piece.raw[:at] + _integer(node, value) + piece.raw[at + node.width :] + behind
                    )
        elif isinstance(node, Varint):
            for raw in (b"\x80\0", b"\x81" * node.bytes, b"\xff" * (node.bytes - 1) + b"\x7f", b"\x7f"):
                yield front + raw + behind


def _integer(node: Integer | Integers, value: int) -> bytes:
    return value.to_bytes(node.width, "little" if node.little else "big", signed=node.signed)


# Whole frames of a declared format.


def ways(wire: WireFormat, samples: Sequence[bytes]) -> Iterator[Way]:
    """Frames of a format, of both sides where they differ; made when they are asked for.

    Args:
        wire: the format.
        samples: frames whose contents are taken where nothing else is asked for.
    """
    sides: tuple[str | None, ...] = ("client", "server") if wire.sided else (None,)
    for side in sides:
        yield from _ways(wire, [one for one in samples if native.side_of(one) in {None, side}], side)


def _ways(wire: WireFormat, samples: Sequence[bytes], side: str | None) -> Iterator[Way]:
    small = [sample for sample in samples if len(sample) <= SECTION_MAX]
    facts = Facts(wire, small)
    found: set[bytes] = set()
    seen: set[Any] = set()

    def new(way: Way | None) -> list[Way]:
        if way is None or way.frame in found:
            return []
        found.add(way.frame)
        return [way]

    waiting: deque[tuple[Any, dict[FieldPath, Any], int]] = deque(
        (base, {}, 0) for base in [*_bases(wire, facts, small, side), {}]
    )
    for _ in range(COMBINED):
        if not waiting:
            break
        base, asked, free = waiting.popleft()
        layout = _Layout(facts, base, asked, side)
        built = layout.built(wire)
        yield from new(built)
        if built is not None and layout.about not in seen:
            seen.add(layout.about)
            for path, _, others in layout.places:
                for value in others:
                    yield from new(_Layout(facts, base, {**asked, path: value}, side).built(wire))
        for number, (path, deciding, _) in enumerate(layout.places[free:], free):
            waiting.extend((base, {**asked, path: value}, number + 1) for value in deciding)


def _bases(wire: WireFormat, facts: Facts, samples: Iterable[bytes], side: str | None) -> list[Any]:
    """The shortest sample of each kind and form."""
    found: dict[Any, Any] = {}
    for sample in sorted(samples, key=len):
        with contextlib.suppress(ProtocolError, EOFError):
            container, _ = wire.parse(sample, side)
            layout = _Layout(facts, container, {}, side)
            if layout.built(wire) is not None:
                found.setdefault(layout.about, container)
    return list(found.values())


class _Layout(Filler):
    """One frame's values, laid out in order.

    Args:
        facts: about the format.
        base: a frame's values, for fields that nothing is asked of.
        asked: values of fields; of a section its bytes.
        side: that sends it, where it decides something.

    Attributes:
        places: of each field: its path, other values that decide what follows, and other values.
        about: what the frame is.
    """

    def __init__(self, facts: Facts, base: Any, asked: dict[FieldPath, Any], side: str | None = None) -> None:
        super().__init__(facts, side)
        self.base = base
        self.asked = asked
        self.places: list[tuple[FieldPath, list[Any], list[Any]]] = []
        self.about: tuple[Any, ...] = ()

    def built(self, wire: WireFormat) -> Way | None:
        """The frame; None where the values do not fit together."""
        try:
            self.fill(wire.nodes)
            m = wire.meaning
            kinds = (m.response, m.oneway, m.heartbeat, m.drain, m.greeting)
            self.about = (*(calculate(kind, self.values) != 0 for kind in kinds), _form(wire, self.values))
            frame = wire.build(self.values)
            if wire.parse(frame)[1] != len(frame):
                return None
        except (Unfit, ProtocolError, EOFError):
            return None
        return Way(frame, self.values)

    def _choose(self, path: FieldPath, deciding: Iterable[Any], others: Iterable[Any], default: Any) -> Any:
        """What was asked for, what the base has, or the default; the rest are other ways."""
        value = self.asked.get(path)
        if value is None:
            value = views.value_at(self.base, path)
        if value is None or isinstance(value, dict):
            value = default
        self.places.append(
            (path, [one for one in deciding if one != value], [one for one in others if one != value])
        )
        return value

    def integer(self, path: FieldPath, low: int, high: int) -> int:
        facts = self.facts
        if path in facts.counts:
            return int(self._choose(path, (), (0, 1, 2, 3), 0))
        if path in facts.small:
            return int(self._choose(path, (), range(min(high, 24) + 1), min(high, 8)))
        bits = (high - low).bit_length()
        deciding = sorted(one for one in facts.candidates.get(path, ()) if low <= one <= high)
        if high - low < 16:
            others = {*range(low, high + 1)}
        else:
            statuses = facts.statuses.get(path, set())
            others = {low, high, 0, 1, 0x0102030405060708 & high, *statuses, *(one + 1 for one in statuses)}
            if bits <= 8 or deciding:
                others |= {1 << bit for bit in range(min(bits, 16))}
        fitting = sorted(one for one in others if low <= one <= high and one not in deciding)
        return int(self._choose(path, deciding, fitting, deciding[0] if deciding else 0))

    def sized(self, node: Section, size: int) -> bytes:
        content = self.content(node.path, SECTION_MAX)
        if node.path in self.asked and not isinstance(node.length, int):
            return content  # what is rebuilt counts it
        return content[:size].ljust(size, b"x")

    def chunks(self, path: FieldPath, count: int) -> list[bytes]:
        known = views.value_at(self.base, path) or []
        found = [bytes(one) for one in known[:count]]
        return found + [b"chunk"[: at % 4] for at in range(len(found), count)]

    def region(self, node: Region) -> bytes:
        known = self.facts.region(node, self.next)
        return bytes(self._choose(node.path, (), known, known[0]))

    def repeated(self, node: Repeated) -> bytes:
        known = some_parts(self.facts, node, self.values)
        return bytes(self._choose(node.path, (), known, known[0]))

    def content(self, path: FieldPath, most: int) -> bytes:
        chosen = bytes(self._choose(path, (), contents(self.facts, path), b""))
        if len(chosen) > most:
            raise Unfit(path, f"{len(chosen)} bytes, where its length says at most {most}")
        return chosen


@lru_cache(maxsize=256)
def contents(facts: Facts, path: FieldPath) -> list[bytes]:
    """What a section may hold that makes a difference."""
    found = [b"", b"x", b"\0\xff", b"0123456789abcdefghijklmnop", b"long " * 60]
    if path in facts.texts:
        found += [b"a.B", b"a.B:1.0:g", b"a:b:c:d", "\u00e4\u20ac\U0001f600".encode(), b"\xff\xfe"]
    found += facts.samples.get(path, [])[:10]
    if path in facts.maps:
        pairs, keys = facts.maps[path]
        texts = [b"a.B:1.0:g", b"150", b"", "\u00e4\u20ac".encode(), b"\xff", *facts.compared]
        known = sorted(keys)
        items = [_pairs((key, texts[0])) for key in known]
        items += [_pairs((key, text)) for key in known[:1] for text in [*texts, None]]
        items += [_pairs((key, text)) for key in known[1:] for text in facts.compared]
        some = _pairs(*((key, texts[0]) for key in known))
        items += [_pairs((None, b"1"), *some), _pairs((b"x-other", b"1"), (b"", b"2"), (b"\xc3\xa4", b"3"))]
        items += [[*some, (b"x-other", b"1"), *((key, b"2") for key in known)], some]
        for one in items:
            # Not every map can hold it: null, an empty key, a separator in a text.
            with contextlib.suppress(LocalProtocolError, construct.ConstructError):
                found.append(pairs.encoding.build(one))
        whole = found[-1]
        found += [whole[:-1], whole[:3], whole + b"\0"]
    return list(dict.fromkeys(found))


def _pairs(*items: tuple[bytes | None, bytes | None]) -> list[tuple[bytes | None, bytes | None]]:
    return list(items)
