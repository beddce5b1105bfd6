"""Lists of tag, length and value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import construct

from protokit.errors import DeclarationError, LocalProtocolError
from protokit.wire.given import expect, seen, text_of
from protokit.wire.sections import integer_of
from protokit.wire.structures.family import Entry, Family, Input, Key, signed

if TYPE_CHECKING:
    from collections.abc import Sequence


_NAMES = "they are what tags are called that are headers: {7: 'zone', 9: 'user'}"


class Tlv(Family):
    """Tag, length and value, one behind the other."""

    name = "tlv"
    root = "list"

    def __init__(self, tag: Any, length: Any, names: Any = None) -> None:
        self.tag = integer_of(tag, "tlv: tag")
        self.length = integer_of(length, "tlv: length")
        self.names = {} if names is None else self._checked(names)

    def _checked(self, names: Any) -> dict[int, bytes]:
        found = {}
        for tag, name in expect("tlv: names=", names, Mapping, _NAMES).items():
            expect("tlv: names=", tag, int, _NAMES)
            text_of("tlv: names=", name, _NAMES)
            if not self._fits(tag):
                raise DeclarationError(f"tlv: names=: {tag} does not fit a tag")
            found[tag] = name.encode()
        if len(set(found.values())) < len(found):
            raise DeclarationError(f"tlv: names={seen(names)}: two tags have one name; each has its own")
        return found

    def check(self, key: Key, path: Sequence[Key]) -> None:  # noqa: ARG002
        """A tag.

        Raises:
            DeclarationError: it is none.
        """
        if not isinstance(key, int) or not self._fits(key):
            raise DeclarationError(
                f"tlv: {key!r} is no tag; they are numbers, here of {self.tag.sizeof()} bytes"
            )

    def _fits(self, tag: int) -> bool:
        try:
            self.tag.build(tag)
        except construct.ConstructError:
            return False
        return True

    def check_map(self, path: Sequence[Key]) -> str:  # noqa: ARG002
        """Why no headers stand at a path; empty where they may."""
        return "" if self.names else "has numbers for keys: say what they are called, names={7: 'zone'}"

    def named(self, entry: Entry) -> bytes | None:
        """What a tag is called; None for one that is no header."""
        return self.names.get(int(entry.key or 0))

    def key_of(self, name: bytes) -> Key:
        """The tag of that name."""
        for tag, one in self.names.items():
            if one == name:
                return tag
        raise LocalProtocolError(f"tlv: no tag is called {name!r}; those with names are headers")

    def is_map(self, entry: Entry) -> bool:  # noqa: ARG002
        """Whatever stands there is a list."""
        return True

    def map_at(self, key: Key, among: Entry) -> Entry:
        """A list with nothing in it, under a tag."""
        return self.made(None, key, b"", among)

    def entries(self, raw: bytes, type_: Any) -> list[Entry] | None:  # noqa: ARG002
        """What is in a structure."""
        found, data = [], Input(raw)
        while data.left:
            label = data.take(self.tag.sizeof())
            start = data.at
            size = self.length.parse(data.take(self.length.sizeof()))
            value = data.take(size)
            found.append(Entry(signed(self.tag.parse(label)), self.root, value, label, data.at - size, start))
        return found

    def text(self, entry: Entry) -> bytes | None:
        """What an entry says."""
        return entry.raw

    def whole(self, entries: Sequence[Entry], before: Entry) -> bytes:  # noqa: ARG002
        """A structure of entries."""
        try:
            return b"".join(
                (one.label or self.tag.build(one.key)) + self.length.build(len(one.raw)) + one.raw
                for one in entries
            )
        except Exception as error:  # construct's own, of several kinds
            raise LocalProtocolError(f"tlv: {error}") from error

    def counted(self, raw: bytes, more: int) -> bytes:
        """A length again."""
        try:
            return bytes(self.length.build(self.length.parse(raw) + more))
        except Exception as error:  # construct's own, of several kinds
            raise LocalProtocolError(f"tlv: {error}") from error

    def nest(self, key: Key, inner: bytes) -> bytes:
        """A structure around another."""
        return self.whole([Entry(key, self.root, inner)], self.section(b""))

    def made(self, before: Entry | None, key: Key, text: bytes, among: Entry) -> Entry:  # noqa: ARG002
        """An entry that says so."""
        return Entry(key, self.root, text, b"" if before is None else before.label)
