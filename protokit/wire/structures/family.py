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


def key_text(key: Key) -> bytes:
    """A key, as it stands in bytes."""
    return str(key).encode("utf-8", "surrogateescape")


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
        structure = self.section(raw)
        return self.around(raw, structure, self._put(structure, path, text).raw)

    def around(self, raw: bytes, structure: Entry, made: bytes) -> bytes:  # noqa: ARG002  # overridden
        """The section with other bytes for its structure."""
        return made + structure.label

    # Maps whose entries are headers: texts by keys that are texts, or have names.

    def check_map(self, path: Sequence[Key]) -> str:  # noqa: ARG002  # overridden
        """Why no headers stand at a path; empty where they may."""
        return "has none"

    def named(self, entry: Entry) -> bytes | None:
        """What an entry of a map is called; None for what is no header."""
        return key_text(entry.key) if isinstance(entry.key, str) else None

    def key_of(self, name: bytes) -> Key:
        """By what key that stands."""
        return name.decode("utf-8", "surrogateescape")

    def is_map(self, entry: Entry) -> bool:  # noqa: ARG002  # overridden
        """Whether what is in a structure has keys."""
        return False

    def map_at(self, key: Key, among: Entry) -> Entry:  # overridden
        """A map with nothing in it, under a key in a structure."""
        raise NotImplementedError

    def said(self, entry: Entry) -> bytes | None:
        """The text that a header is; None where it is none."""
        return self.text(entry)

    def items(self, raw: bytes, path: Sequence[Key]) -> list[tuple[bytes | None, bytes | None]]:
        """The entries of the map at a path.

        Raises:
            RemoteProtocolError: not all of the section can be read.
        """
        entry = self.section(raw) if raw else None
        for key in path:
            inside = self.entries(entry.raw, entry.type) if entry is not None else None
            entry = None if inside is None else self.chosen(inside, key)
        if entry is None or not self.is_map(entry):
            return []
        return [(self.named(one), self.said(one)) for one in self.entries(entry.raw, entry.type) or ()]

    def put_item(self, raw: bytes, path: Sequence[Key], name: bytes, text: bytes | None) -> bytes:
        """The section with another text for a name in the map at a path, None: without it."""
        if not raw and text is None:
            return raw
        raw = raw or self.empty
        structure = self.section(raw)
        return self.around(raw, structure, self._put_item(structure, path, name, text).raw)

    def _put_item(self, structure: Entry, path: Sequence[Key], name: bytes, text: bytes | None) -> Entry:
        inside = self.entries(structure.raw, structure.type)
        if inside is None or not (path or self.is_map(structure)):
            raise LocalProtocolError(f"{self.name}: what stands there is no map, and holds no {name!r}")
        if path:
            key, *more = path
            there = self.chosen(inside, key)
            if there is None and (more or text is None):
                if text is None:
                    return structure
                raise LocalProtocolError(f"{self.name}: there is no {key!r} that {more[0]!r} can be put into")
            before = [] if there is None else [there]
            made = self._put_item(self.map_at(key, structure) if there is None else there, more, name, text)
            return replace(structure, raw=self.exchanged(structure, inside, before, made))
        before = [one for one in inside if self.named(one) == name]
        if text is None:
            return (
                replace(structure, raw=self.exchanged(structure, inside, before, None))
                if before
                else structure
            )
        made = self.made(before[-1] if before else None, self.key_of(name), text, structure)
        if self.said(made) != text:
            raise LocalProtocolError(f"{self.name}: the value of {name!r} is no text, and none is put there")
        return replace(structure, raw=self.exchanged(structure, inside, before, made))

    def of_items(self, path: Sequence[Key], items: Sequence[tuple[bytes | None, bytes | None]]) -> bytes:
        """A section with a map of those entries alone, at a path."""
        among = Entry(None, self.root, self.empty)
        if path:
            among = self.map_at(path[-1], among)
        made = []
        for name, text in items:
            if name is None or text is None:
                raise LocalProtocolError(f"{self.name}: nothing stands for no text")
            made.append(self.made(None, self.key_of(name), text, among))
        inner = replace(among, raw=self.whole(made, among))
        if not path:
            return inner.raw
        *front, _ = path
        raw = self.whole([inner], Entry(None, self.root, self.empty))
        for key in reversed(front):
            raw = self.nest(key, raw)
        return raw

    def exchanged(
        self, structure: Entry, inside: Sequence[Entry], before: Sequence[Entry], made: Entry | None
    ) -> bytes:
        """The structure's bytes with one entry in the place of the first of some, and without the others."""
        left = [one for one in inside if one not in before]
        if made is not None:
            left.insert(inside.index(before[0]) if before else len(left), made)
        return self.whole(left, structure)

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
        made = self.put(raw, path, b"0") if raw else self.built(path, b"0")
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
        made = None
        if more:
            if before is None:
                raise LocalProtocolError(f"{self.name}: there is no {key!r} that {more[0]!r} can be put into")
            made = self._put(before, more, text)
        elif text is not None:
            made = self.made(before, key, text, structure)
        same = [one for one in inside if one.key == key]
        return replace(structure, raw=self.exchanged(structure, inside, same, made))
