"""Headers that stand in a structure: the entries of a map in it, as a map of texts.

What a family's maps are is the family's own (``Family.items`` and what stands beside it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire import views
from protokit.wire.encodings import LAST
from protokit.wire.sections import bytes_at, put_at
from protokit.wire.structures import Inside

if TYPE_CHECKING:
    from collections.abc import Sequence

# By the names of their steps: PK_MAP_*.
KINDS = {
    "protobuf": 2,
    "tlv": 3,
    "msgpack": 4,
    "json": 5,
    "thrift_binary": 6,
    "thrift_compact": 7,
    "blocks": 8,
}
PUT = {**KINDS, "ber": 9}  # and what has no maps (PK_IN_*): what the engine writes, declared_put.c


class EntryEncoding:
    """Entries of a map in a structure. A key or a value that is no text is None."""

    repeated = LAST

    def __init__(self, inside: Inside) -> None:
        self.family = inside.structure.family
        self.path = inside.path
        self.argument = inside.argument
        self.kind = KINDS[inside.structure.step.name]
        self.names: dict[int, bytes] = getattr(self.family, "names", {})  # of keys that are numbers

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All that may stand there; none where any may."""
        return tuple(self.names.values())

    def folded(self, key: bytes) -> bytes:
        """As keys are compared."""
        return key

    def stripped(self, value: bytes) -> bytes:
        """As it stands."""
        return value

    def parse(self, data: bytes) -> list[tuple[bytes | None, bytes | None]]:
        """All entries of the map in a section."""
        return self.family.items(data, self.path)

    def build(self, items: Sequence[tuple[bytes | None, bytes | None]], _like: bytes = b"") -> bytes:
        """A section of those entries alone."""
        return self.family.of_items(self.path, items)


class EntryMap(views.Pairs):
    """A map in a structure as headers: ``headers=protobuf(this.meta)[8]``."""

    encoding: Any

    def __init__(self, inside: Inside) -> None:
        self.path = inside.structure.section.path
        self.inside = inside
        self.encoding = EntryEncoding(inside)

    def __repr__(self) -> str:
        return repr(self.inside)

    def set(self, container: Any, key: bytes, value: bytes | None) -> None:
        """Set a key, or take it out for None; all else in the structure stays as it is."""
        section = bytes_at(container, self.path)
        if section is None:
            raise LocalProtocolError("this kind of frame has no headers")
        try:
            made = self.encoding.family.put_item(section, self.inside.path, key, value)
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"{self!r} cannot be written to: {error}") from error
        put_at(container, self.path, made)


def as_map(given: Any, what: str) -> Any:
    """Headers that stand in a structure as a map; whatever else was given as it is."""
    if not isinstance(given, Inside):
        return given
    structure = given.structure
    if structure.step.name not in KINDS:
        raise DeclarationError(
            f"{what}: {given!r} holds no headers that can be read: they are pairs(...), lines(...), or a map "
            "in a structure, such as protobuf(this.meta)[8]"
        )
    why = structure.family.check_map(given.path)
    if why:
        raise DeclarationError(f"{what}: {given!r} {why.replace('{shown}', structure.shown)}")
    return EntryMap(given)
