"""Headers that stand in a structure: the entries of a protobuf message's map field, as a map of texts."""

from __future__ import annotations

from typing import Any

from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire import views
from protokit.wire.structures import Inside
from protokit.wire.structures.family import Entry
from protokit.wire.structures.protobufs import ENTRY_KEY, ENTRY_VALUE, Protobuf

FIELDS = 1 << 29  # numbers of fields, from 1 on
_FAMILY = Protobuf()
_NUMBER = b"\1"  # a varint


class EntryEncoding:
    """Entries of a map field. A key or a value that is no text is None."""

    def __init__(self, field: int) -> None:
        self.field = field

    def folded(self, key: bytes) -> bytes:
        """As keys are compared."""
        return key

    def stripped(self, value: bytes) -> bytes:
        """As it stands."""
        return value

    def parse(self, data: bytes) -> list[tuple[bytes | None, bytes | None]]:
        """All entries of a message."""
        return _FAMILY.items(data, self.field)

    def build(self, items: list[tuple[bytes | None, bytes | None]], _like: bytes = b"") -> bytes:
        """A message of those entries alone."""
        made = [
            Entry(
                self.field,
                _FAMILY.root,
                self._written([self._one(ENTRY_KEY, key), self._one(ENTRY_VALUE, value)]),
            )
            for key, value in items
        ]
        return self._written(made)

    @staticmethod
    def _written(entries: list[Entry]) -> bytes:
        return _FAMILY.whole(entries, _FAMILY.section(b""))

    @staticmethod
    def _one(number: int, text: bytes | None) -> Entry:
        return Entry(number, 0, _NUMBER) if text is None else Entry(number, _FAMILY.root, text)


class EntryMap(views.Pairs):
    """A map field as headers: ``headers=protobuf(this.meta)[8]``."""

    encoding: Any

    def __init__(self, inside: Inside, field: int) -> None:
        self.path = inside.structure.section.path
        self.inside = inside
        self.encoding = EntryEncoding(field)

    def __repr__(self) -> str:
        return repr(self.inside)

    def set(self, container: Any, key: bytes, value: bytes | None) -> None:
        """Set a key, or take it out for None; the other fields stay as they are."""
        section = views.bytes_at(container, self.path)
        if section is None:
            raise LocalProtocolError("this kind of frame has no headers")
        path = (self.encoding.field, key.decode("utf-8", "surrogateescape"))
        try:
            if value is not None and (key, None) in self.encoding.parse(section):
                raise LocalProtocolError(f"{self!r}: the value of {key!r} is no text, and none is put there")
            made = _FAMILY.put(section, path, value)
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"{self!r} cannot be written to: {error}") from error
        views.put_at(container, self.path, made)


def as_map(given: Any, what: str) -> Any:
    """Headers that stand in a structure as a map; whatever else was given as it is."""
    if not isinstance(given, Inside):
        return given
    structure = given.structure
    if structure.family.name != _FAMILY.name:
        raise DeclarationError(
            f"{what}: {given!r} holds no headers that can be read: they are pairs(...), lines(...), or a map "
            "field of protobuf, such as protobuf(this.meta)[8]"
        )
    (field, *more) = given.path or (None,)
    if more or not isinstance(field, int) or not 0 < field < FIELDS:
        raise DeclarationError(
            f"{what}: {given!r} is no map field of its message: write the field's number, as in "
            f"{structure.shown}[8]"
        )
    return EntryMap(given, field)
