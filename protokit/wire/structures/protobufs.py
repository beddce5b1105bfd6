"""Protobuf messages (protobuf.dev, "Encoding"). Groups are not read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire.structures.family import Entry, Family, Input, Key, integer, key_text, signed, varint

if TYPE_CHECKING:
    from collections.abc import Sequence


ENTRY_KEY, ENTRY_VALUE = 1, 2  # of a map's entry
FIELDS = 1 << 29  # numbers of fields, from 1 on


class Protobuf(Family):
    """Fields by their numbers; of a map, field and key. A type is 0 to 5, as on the wire."""

    name = "protobuf"
    root = 2

    def check(self, key: Key, path: Sequence[Key]) -> None:
        """At the top a field's number; what stands deeper may be a map.

        Raises:
            DeclarationError: it is none.
        """
        if not path and not (isinstance(key, int) and 0 < key < FIELDS):
            raise DeclarationError(
                f"{self.name}: {key!r} is no number of a field; a message has numbers from 1 to {FIELDS - 1}"
            )

    def entries(self, raw: bytes, type_: Any) -> list[Entry] | None:
        """What is in a structure."""
        if type_ != self.root:
            return None
        found, data = [], Input(raw)
        while data.left:
            tag = data.varint()
            if not 0 < tag >> 3 < FIELDS:
                raise RemoteProtocolError(f"protobuf: there is no field {tag >> 3}", data.at)
            start = data.at
            kind = tag & 7
            if kind == 0:
                value = varint(data.varint())
                found.append(Entry(tag >> 3, kind, value, data.data[start : data.at], start))
            elif kind == self.root:
                inner = data.take(data.varint())
                found.append(Entry(tag >> 3, kind, inner, at=data.at - len(inner), length_at=start))
            elif kind in {1, 5}:
                found.append(Entry(tag >> 3, kind, data.take(8 if kind == 1 else 4)))
            else:
                raise RemoteProtocolError(f"protobuf: wire type {kind} is not read", start)
        return found

    def chosen(self, entries: Sequence[Entry], key: Key) -> Entry | None:
        """The one of a key."""
        same = [one for one in entries if one.key == key]
        return same[-1] if same else None

    def find(self, raw: bytes, path: Sequence[Key]) -> bytes | None:
        """What stands at a path."""
        return self._find(raw, path)

    def _find(self, raw: bytes, path: Sequence[Key]) -> bytes | None:
        if not path:
            return raw
        return self._find_in(raw, path, set())

    def _find_in(self, raw: bytes, path: Sequence[Key], types: set[int]) -> bytes | None:
        """``types``: those in which it was found."""
        found, (key, *more) = None, path
        for one in self.entries(raw, self.root) or ():
            if one.key != key or (more and one.type != self.root):
                continue
            if not more:
                found = self._said(one, types)
            elif isinstance(more[0], str):
                name, value = self._pair(one.raw)
                if name != key_text(more[0]):
                    continue
                if len(more) == 1:
                    found = self._said(value, types)
                elif value.type == self.root:
                    inner = self._find_in(value.raw, more[1:], types)
                    found = found if inner is None else inner
            else:
                inner = self._find_in(one.raw, more, types)
                found = found if inner is None else inner
        return found

    def _said(self, one: Entry, types: set[int]) -> bytes | None:
        types.add(one.type)
        if len(types) > 1:
            raise RemoteProtocolError(f"protobuf: field {one.key} stands here in several wire types")
        return self.text(one)

    def chain(self, raw: bytes, path: Sequence[Key], *, is_varint: bool) -> list[Entry]:
        """What leads to a path: to the last field of its type, in any piece of a message."""
        found = self._chain(self.section(raw), path, 0 if is_varint else self.root)
        canonical = not is_varint or not found or found[-1].raw == found[-1].label
        return found if canonical else []

    def _chain(self, message: Entry, path: Sequence[Key], type_: int) -> list[Entry]:
        if not path:
            return [message]
        found: list[Entry] = []
        for one in self.entries(message.raw, self.root) or ():
            if one.key == path[0] and one.type == (type_ if len(path) == 1 else self.root):
                inner = self._chain(one, path[1:], type_)
                found = [message, *inner] if inner else found
        return found

    def counted(self, raw: bytes, more: int) -> bytes:
        """A length again."""
        return varint(Input(raw).varint() + more)

    def added(self, raw: bytes, path: Sequence[Key], token: bytes, *, is_varint: bool) -> bytes:
        """The section with an id that was not there."""
        key, *more = path
        messages = [
            one for one in self.entries(raw, self.root) or () if one.key == key and one.type == self.root
        ]
        if not more:
            head = varint(int(key) << 3 | (0 if is_varint else self.root))
            return raw + head + (b"" if is_varint else varint(len(token))) + token
        if not messages:
            return raw + self.nest(key, self.added(b"", more, token, is_varint=is_varint))
        last = messages[-1]
        inner = self.added(last.raw, more, token, is_varint=is_varint)
        return raw[: last.length_at] + varint(len(inner)) + inner + raw[last.at + len(last.raw) :]

    def holding(self, path: Sequence[Key], token: bytes, *, is_varint: bool) -> bytes:
        """A message with an id alone."""
        return self.added(b"", path, token, is_varint=is_varint)

    def _pair(self, raw: bytes) -> tuple[bytes | None, Entry]:
        name: bytes | None = b""
        value = Entry(ENTRY_VALUE, self.root, b"")
        types: dict[Key | None, int] = {}
        for one in self.entries(raw, self.root) or ():
            if one.key in {ENTRY_KEY, ENTRY_VALUE} and types.setdefault(one.key, one.type) != one.type:
                raise RemoteProtocolError(f"protobuf: field {one.key} stands here in several wire types")
            if one.key == ENTRY_KEY:
                name = one.raw if one.type == self.root else None
            elif one.key == ENTRY_VALUE:
                value = one
        return name, value

    def check_map(self, path: Sequence[Key]) -> str:
        """Why no headers stand at a path; empty where they may."""
        if len(path) == 1 and isinstance(path[0], int) and 0 < path[0] < FIELDS:
            return ""
        return "is no map field of its message: write the field's number, as in {shown}[8]"

    def items(self, raw: bytes, path: Sequence[Key]) -> list[tuple[bytes | None, bytes | None]]:
        """The entries of a map field; None for a key or a value that is no text.

        Raises:
            RemoteProtocolError: the message is malformed.
        """
        found = []
        for one in self.entries(raw, self.root) or ():
            if one.key == path[0] and one.type == self.root:
                name, value = self._pair(one.raw)
                found.append((name, value.raw if value.type == self.root else None))
        return found

    def put_item(self, raw: bytes, path: Sequence[Key], name: bytes, text: bytes | None) -> bytes:
        """The section with another text for a name in a map field, None: without it."""
        if text is not None and (name, None) in self.items(raw, path):
            raise LocalProtocolError(f"{self.name}: the value of {name!r} is no text, and none is put there")
        return self.put(raw, (*path, self.key_of(name)), text)

    def of_items(self, path: Sequence[Key], items: Sequence[tuple[bytes | None, bytes | None]]) -> bytes:
        """A message of those entries alone; a number for what is no text."""
        message = self.section(b"")
        pairs = [
            [
                Entry(number, 0, b"\1") if text is None else Entry(number, self.root, text)
                for number, text in ((ENTRY_KEY, name), (ENTRY_VALUE, value))
            ]
            for name, value in items
        ]
        return self.whole([Entry(path[0], self.root, self.whole(pair, message)) for pair in pairs], message)

    def _named(self, entry: Entry, name: Key) -> bool:
        return entry.type == self.root and self._pair(entry.raw)[0] == key_text(name)

    def text(self, entry: Entry) -> bytes | None:
        """What an entry says."""
        if entry.type == self.root:
            return entry.raw
        if entry.type == 0:
            return str(signed(Input(entry.raw).varint())).encode()
        return str(int.from_bytes(entry.raw, "little")).encode()

    def _put(self, structure: Entry, path: Sequence[Key], text: bytes | None) -> Entry:
        if len(path) == 1 or not isinstance(path[1], str):
            if len(path) > 1:  # of a message in pieces all are one
                inside = self.entries(structure.raw, structure.type) or []
                same = [one for one in inside if one.key == path[0] and one.type == self.root]
                if not same:
                    raise LocalProtocolError(f"protobuf: there is no message {path[0]!r} to write into")
                joined = replace(same[0], raw=b"".join(one.raw for one in same))
                others = [joined if one is same[0] else one for one in inside if one not in same[1:]]
                made = self._put(joined, path[1:], text)
                whole = [made if one is joined else one for one in others]
                return replace(structure, raw=self.whole(whole, structure))
            return super()._put(structure, path, text)
        if structure.type != self.root:
            raise LocalProtocolError(f"protobuf: {path[0]!r} stands in what is no message")
        inside = self.entries(structure.raw, structure.type) or []
        key, name, *more = path
        same = [one for one in inside if one.key == key and self._named(one, name)]
        value = self._pair(same[-1].raw)[1] if same else None
        if more:
            if value is None:
                raise LocalProtocolError(f"protobuf: there is no {name!r} to write into")
            value = self._put(value, more, text)
        elif text is not None:
            value = self.made(value, ENTRY_VALUE, text, structure)
        place = inside.index(same[0]) if same else len(inside)
        others = [one for one in inside if one not in same]
        if value is not None and (more or text is not None):
            pair = [Entry(ENTRY_KEY, self.root, key_text(name)), value]
            others.insert(place, Entry(key, self.root, self.whole(pair, structure)))
        return replace(structure, raw=self.whole(others, structure))

    def whole(self, entries: Sequence[Entry], before: Entry) -> bytes:  # noqa: ARG002
        """A structure of entries."""
        made = b""
        for one in entries:
            made += varint(int(one.key or 0) << 3 | one.type)
            made += varint(len(one.raw)) if one.type == self.root else b""
            made += one.label or one.raw
        return made

    def built(self, path: Sequence[Key], text: bytes) -> bytes:
        """A section in which that stands at a path."""
        if len(path) > 1 and isinstance(path[1], str):
            return self.put(self.empty, path, text)
        return super().built(path, text)

    def nest(self, key: Key, inner: bytes) -> bytes:
        """A structure around another."""
        return self.whole([Entry(key, self.root, inner)], self.section(b""))

    def made(self, before: Entry | None, key: Key, text: bytes, among: Entry) -> Entry:  # noqa: ARG002
        """An entry that says so."""
        if before is None or before.type == self.root:
            return Entry(key, self.root, text)
        value = integer(text, f"protobuf: field {key}")
        size = {0: 8, 1: 8, 5: 4}[before.type]
        if not -(1 << 63) <= value < 1 << 8 * size or (before.type != 0 and value < 0):
            raise LocalProtocolError(f"protobuf: {value} does not fit field {key}")
        value %= 1 << 64
        return Entry(key, before.type, varint(value) if before.type == 0 else value.to_bytes(size, "little"))
