"""What all families of structures share: entries are read, one is changed, entries are written.

Whatever cannot be read to its end, or its readers do not agree on, is an error: the request is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from protokit.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence


Key = int | str
KEYS = 16  # of a path, at most
NEST = 64  # structures one in another that are read past


@dataclass(frozen=True)
class Entry:
    """Something in a structure.

    Attributes:
        key: by which it is found; None for what no key says.
        type: the family's own.
        raw: its value's bytes as they stand.
        label: the bytes of its key, where they are kept.
        at: where its value begins in the structure.
        length_at: where the length that counts its value begins; None where none does.
    """

    key: Key | None
    type: Any
    raw: bytes
    label: bytes = b""
    at: int = 0
    length_at: int | None = None


@dataclass(frozen=True)
class Place:
    """Where a value stands in a section, as it is encoded.

    Attributes:
        start, end: of it.
        lengths: (start, end) of those that count it, from outside.
    """

    start: int
    end: int
    lengths: tuple[tuple[int, int], ...]


class Input:
    """Bytes that are read from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        """So many bytes.

        Raises:
            RemoteProtocolError: they are not there.
        """
        if not 0 <= size <= len(self.data) - self.at:
            raise RemoteProtocolError(f"{size} bytes expected, {len(self.data) - self.at} left", self.at)
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        """Big endian, unsigned."""
        return int.from_bytes(self.take(size), "big")

    def varint(self) -> int:
        """LEB128 of up to 64 bits."""
        value = 0
        for i in range(10):
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:  # the last byte
                if value >> 64:
                    break
                return value
        raise RemoteProtocolError("a varint has over 64 bits", self.at)

    @property
    def left(self) -> int:
        """Bytes that are left."""
        return len(self.data) - self.at


def varint(value: int) -> bytes:
    """LEB128."""
    made = bytearray()
    while value >= 0x80:  # seven bits a byte
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def signed(value: int) -> int:
    """64 bits as the two's complement that they may be."""
    return value - (1 << 64) if value >= 1 << 63 else value


def integer(text: bytes, what: str) -> int:
    """The integer that a text says.

    Raises:
        LocalProtocolError: it says none.
    """
    digits = text.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 20:  # of 64 bits
        raise LocalProtocolError(f"{what} holds an integer, and {text.decode('utf-8', 'replace')!r} is none")
    return int(text)


class Family:
    """One way to write structures. A structure's own bytes are its ``raw``."""

    name = ""
    root: Any = None  # the type of a section as a whole
    empty = b""  # a section with nothing in it

    def check(self, key: Key, path: Sequence[Key]) -> None:  # overridden
        """Whether a key may stand behind a path, when it is declared."""

    def entries(self, raw: bytes, type_: Any) -> list[Entry] | None:  # overridden
        """What is in a structure, in its order; None where it is none.

        Raises:
            RemoteProtocolError: it is malformed, or more than is read here.
        """
        raise NotImplementedError

    def whole(self, entries: Sequence[Entry], before: Entry) -> bytes:  # overridden
        """A structure of those entries, of the kind of one that was there."""
        raise NotImplementedError

    def text(self, entry: Entry) -> bytes | None:  # overridden
        """What an entry says."""
        raise NotImplementedError

    def made(self, before: Entry | None, key: Key, text: bytes, among: Entry) -> Entry:  # overridden
        """An entry that says so, in the place of one or in none's, among what stands in a structure."""
        raise NotImplementedError

    def chosen(self, entries: Sequence[Entry], key: Key) -> Entry | None:
        """The one of a key: the last."""
        return next((one for one in reversed(entries) if one.key == key and type(one.key) is type(key)), None)

    def section(self, raw: bytes) -> Entry:
        """A whole section."""
        return Entry(None, self.root, raw)

    def find(self, raw: bytes, path: Sequence[Key]) -> bytes | None:
        """What stands at a path; None for nothing."""
        entry: Entry | None = self.section(raw)
        for key in path:
            inside = self.entries(entry.raw, entry.type) if entry is not None else None
            entry = None if inside is None else self.chosen(inside, key)
        return None if entry is None else self.text(entry)

    def put(self, raw: bytes, path: Sequence[Key], text: bytes | None) -> bytes:
        """The section with another text at a path, None: without it."""
        return self._put(self.section(raw), path, text).raw

    # Ids, which are written as they are encoded.

    def is_id(self, raw: bytes) -> bool:  # noqa: ARG002  # overridden
        """Whether those bytes can stand in the place of an id."""
        return True

    def chain(self, raw: bytes, path: Sequence[Key], *, is_varint: bool) -> list[Entry]:  # noqa: ARG002
        """What leads to a path, from outside; empty for nothing."""
        entry = self.section(raw)
        found = [entry]
        for key in path:
            inside = self.entries(entry.raw, entry.type)
            inner = None if inside is None else self.chosen(inside, key)
            if inner is None:
                return []
            entry = inner
            found.append(entry)
        return found

    def place(self, raw: bytes, path: Sequence[Key], *, is_varint: bool) -> Place | None:
        """Where an id stands; None where nothing does that can be one.

        Raises:
            RemoteProtocolError: the section is malformed.
        """
        at, lengths = 0, []
        chain = self.chain(raw, path, is_varint=is_varint) if raw else []
        for one in chain:
            if one.length_at is not None:
                lengths.append((at + one.length_at, at + one.at))
            at += one.at
        if not chain or not self.is_id(chain[-1].raw):
            return None
        return Place(at, at + len(chain[-1].raw), tuple(lengths))

    def counted(self, raw: bytes, more: int) -> bytes:  # overridden
        """A length again, of so many bytes more."""
        raise NotImplementedError

    def rewritten(self, raw: bytes, place: Place, token: bytes) -> bytes:
        """The section with another id in its place, and all else as it is but for what counts it."""
        made, more = token + raw[place.end :], len(token) - (place.end - place.start)
        end = place.start
        for start, behind in reversed(place.lengths):
            length = self.counted(raw[start:behind], more)
            made = length + raw[behind:end] + made
            more += len(length) - (behind - start)
            end = start
        return raw[:end] + made

    def added(self, raw: bytes, path: Sequence[Key], token: bytes, *, is_varint: bool) -> bytes:
        """The section with an id that was not there."""
        made = self.put(raw or self.empty, path, b"0")
        place = self.place(made, path, is_varint=is_varint)
        return made if place is None else self.rewritten(made, place, token)

    def holding(self, path: Sequence[Key], token: bytes, *, is_varint: bool) -> bytes:
        """A section with an id alone."""
        made = self.built(path, b"0")
        place = self.place(made, path, is_varint=is_varint)
        return made if place is None else self.rewritten(made, place, token)

    def nest(self, key: Key, inner: bytes) -> bytes:  # overridden
        """A structure that holds another under a key."""
        raise NotImplementedError

    def built(self, path: Sequence[Key], text: bytes) -> bytes:
        """A section in which that stands at a path."""
        if len(path) == 1 or (
            isinstance(path[1], str) and isinstance(path[0], int) and self.name == "protobuf"
        ):
            return self.put(self.empty, path, text)
        return self.nest(path[0], self.built(path[1:], text))

    def _put(self, structure: Entry, path: Sequence[Key], text: bytes | None) -> Entry:
        inside = self.entries(structure.raw, structure.type)
        if inside is None:
            raise LocalProtocolError(f"{self.name}: {path[0]!r} stands in what has no {path[0]!r}")
        key, *more = path
        before = self.chosen(inside, key)
        others = [one for one in inside if one.key != key]
        place = next((i for i, one in enumerate(inside) if one.key == key), len(inside))
        if more:
            if before is None:
                raise LocalProtocolError(f"{self.name}: there is no {key!r} that {more[0]!r} can be put into")
            others.insert(place, self._put(before, more, text))
        elif text is not None:
            others.insert(place, self.made(before, key, text, structure))
        return replace(structure, raw=self.whole(others, structure))
