"""Lists of tag, length and value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit.errors import LocalProtocolError
from protokit.wire.structures.family import Entry, Family, Input, Key, signed
from protokit.wire.views import integer_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class Tlv(Family):
    """Tag, length and value, one behind the other."""

    name = "tlv"
    root = "list"

    def __init__(self, tag: Any, length: Any) -> None:
        self.tag = integer_of(tag, "tlv: tag")
        self.length = integer_of(length, "tlv: length")

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
