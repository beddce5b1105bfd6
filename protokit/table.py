"""The image of a routing table, packed from records of Python.

Which records there are, which fields they have and where those stand is read from the engine (``table.h``).
So a field is written down there, and in the class whose attribute of the same name fills it; what has no
attribute comes as a column beside the records. The engine checks the image, whoever packed it.

A column is converted and packed as a whole: ten thousand rules would take twice as long one by one.
"""

from __future__ import annotations

import functools
import itertools
import operator
import struct
from typing import TYPE_CHECKING, Any

import msgspec

from protokit import native
from protokit.errors import ProtokitError
from protokit.model import argument_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Column = Sequence[Any]
    Convert = Callable[[Iterable[Any]], Iterable[Any]]

_KINDS = {kind.name: kind for kind in native.table_kinds()}
_PAIR = struct.Struct("=II")
_TRIPLE = struct.Struct("=III")
_FORMATS = {1: "B", 4: "I", 8: "Q"}


def _packer(
    type_: str, *, without: frozenset[str] = frozenset()
) -> tuple[struct.Struct, list[native.Member]]:
    """How a C struct is packed, and the members that are given for it; the others are 0."""
    size, members = native.members(type_)
    given = [member for member in members if member.name not in without]
    parts, at = [], 0
    for member in given:
        plain = member.type == "integer"
        parts.append(f"{member.at - at}x{_FORMATS[member.size] if plain else f'{member.size}s'}")
        at = member.at + member.size
    return struct.Struct(f"={''.join(parts)}{size - at}x"), given


class Source:
    """What fills the records of an array.

    Args:
        array: of the table: ``plans``.
        model: the class of the records in Python; None: columns give all.
        columns: fields of the record that are given beside them.
        beside: attributes of ``model`` that are not the table's.

    Raises:
        ProtokitError: the engine's record has other fields than these together.
    """

    def __init__(
        self, array: str, model: Any = None, *, columns: Iterable[str] = (), beside: Iterable[str] = ()
    ) -> None:
        kind = _KINDS[array]
        self.array, self.size = array, kind.size
        made = frozenset(field.name for field in kind.fields if field.made)
        self.struct, self.members = _packer(kind.type, without=made)
        fields = {member.name for member in self.members}
        self.columns = frozenset(fields if model is None else columns)
        have = set() if model is None else {*model.__struct_fields__} - {*beside}
        self.attributes = {
            name: next((one for one in (name, name.removesuffix("_ms")) if one in have), "")
            for name in fields - self.columns
        }
        lost = [
            f"{kind.type}.{name} is filled by nothing" for name, one in self.attributes.items() if not one
        ]
        lost += [f"{kind.type} has no {name}" for name in {*self.columns} - fields]
        lost += [
            f"{kind.type} has no {name} of {model.__name__}" for name in have - {*self.attributes.values()}
        ]
        if lost:
            raise ProtokitError(f"{array}: {'; '.join(sorted(lost))}")


ORIGINS = Source("origins", columns=("origin", "name", "index"))


def _path(name: str) -> tuple[int, bytes]:
    """An argument's number, and the keys inside of it."""
    path = argument_path(name)
    if path is None:
        raise ProtokitError(f"{name!r} is neither an argument's number nor the path into one")
    keys = [key.encode() for key in path[1]]
    return path[0], b"".join(bytes([len(key)]) + key for key in keys)


class _Texts:
    """The table's text area."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, texts: Iterable[str | bytes]) -> tuple[list[int], list[int]]:
        """Where each text stands from now on, and its bytes."""
        data = [text if isinstance(text, bytes) else text.encode() for text in texts]
        sizes = list(map(len, data))
        places = list(itertools.accumulate(sizes, initial=self.size))
        self.size = places.pop()
        self.parts += data
        return places, sizes

    def column(self, texts: Iterable[str | bytes]) -> Iterable[bytes]:
        """pk_text of each."""
        return map(_PAIR.pack, *self.add(texts))


class _Patterns:
    """pk_pattern of ``x``, ``x*`` or ``*``; each stands in the text area once."""

    def __init__(self, texts: _Texts) -> None:
        self._texts = texts
        self._known: dict[str, bytes] = {}
        kinds = native.constants("PK_MATCH_")
        self._any, self._exact, self._prefix = kinds["any"], kinds["exact"], kinds["prefix"]

    def column(self, patterns: Iterable[str]) -> Iterable[bytes]:
        """pk_pattern of each."""
        patterns = list(patterns)
        new = [one for one in dict.fromkeys(patterns) if one not in self._known]
        places, sizes = self._texts.add(new)
        kinds = [
            self._exact if one[-1:] != "*" else self._prefix if len(one) > 1 else self._any for one in new
        ]
        sizes = [size - (kind != self._exact) for size, kind in zip(sizes, kinds, strict=True)]
        self._known.update(zip(new, map(_TRIPLE.pack, places, sizes, kinds), strict=True))
        return map(self._known.__getitem__, patterns)


class _Named(dict[Any, int]):
    """Numbers of an enumeration's names; several names are the flags together."""

    def __missing__(self, value: Any) -> int:
        if isinstance(value, str):
            raise ProtokitError(f"{value!r} is none of {', '.join(map(repr, self))}")
        if isinstance(value, int):
            return value
        number = 0
        for one in value:
            number |= self[one]
        return number


class _Nested(dict[Any, bytes]):
    """A struct inside of a record, of an object; all 0 where there is none."""

    def __init__(self, type_: str, path: str, texts: _Texts) -> None:
        self._packed, members = _packer(type_)
        self._columns = [
            (
                operator.attrgetter(member.name),
                texts.column
                if member.type == "pk_text"
                else _integers(f"{path}.{member.name}")
                if member.type == "integer"
                else functools.partial(map, _Nested(member.type, f"{path}.{member.name}", texts).__getitem__),
            )
            for member in members
        ]
        self[None] = bytes(self._packed.size)

    def __missing__(self, value: Any) -> bytes:
        parts = [next(iter(convert((get(value),)))) for get, convert in self._columns]
        found = self[value] = self._packed.pack(*parts)
        return found


def _integers(path: str, absent: int = 0) -> Convert:
    """Numbers, or names where the engine has an enumeration for the field; ``absent`` stands for None."""
    named = native.constants(f"PK_{path.upper().replace('.', '_')}_") or native.constants(
        f"PK_{path.rpartition('.')[2].upper()}_"
    )
    if named:
        return functools.partial(map, _Named(named).__getitem__)

    def convert(column: Iterable[Any]) -> list[int]:
        values = list(column)
        return [absent if value is None else value for value in values] if None in values else values

    return convert


class Key(msgspec.Struct, frozen=True):
    """pk_key."""

    first: int = 0
    count: int = 0


class Image:
    """A table in the making: ``add`` records, then ``finish``.

    Args:
        limits: every field of ``pk_limits``.
        seed: of the engine's hash tables.
    """

    def __init__(self, limits: Mapping[str, int], seed: int) -> None:
        packed, members = _packer("pk_limits")
        if wrong := {member.name for member in members} ^ {*limits}:
            raise ProtokitError(f"limits: {', '.join(sorted(wrong))}: not both here and in pk_limits")
        self._limits = packed.pack(*(limits[member.name] for member in members))
        self._seed = seed
        self._texts = _Texts()
        self._patterns = _Patterns(self._texts)
        self._rows: dict[str, list[bytes]] = {name: [] for name in _KINDS}
        self._counts = dict.fromkeys(_KINDS, 0)
        self._keys: dict[tuple[tuple[str, str], ...], int] = {}

    def count(self, array: str) -> int:
        """How many records an array has: the index of the next."""
        return self._counts[array]

    def key(self, origins: Sequence[tuple[str, str]]) -> Key:
        """Where a key's values come from: of each PK_ORIGIN_*, and a header's name, or an argument's path."""
        origins = tuple(origins)
        if origins and origins not in self._keys:
            paths = [_path(name) if origin == "argument" else (0, name) for origin, name in origins]
            self._keys[origins] = self.add(
                ORIGINS,
                [None] * len(origins),
                origin=[origin for origin, _ in origins],
                name=[name for _, name in paths],
                index=[index for index, _ in paths],
            )
        return Key(self._keys.get(origins, 0), len(origins))

    def add(self, source: Source, records: Column, **columns: Column) -> int:
        """Append records to an array.

        Args:
            source: of the array.
            records: objects of the source's model.
            columns: of the source, a value for each record; None is PK_NONE.

        Returns:
            The index of the first.
        """
        if columns.keys() != source.columns or any(
            len(column) != len(records) for column in columns.values()
        ):
            raise ProtokitError(f"{source.array}: columns are {sorted(source.columns)}, one value a record")
        values = []
        for member in source.members:
            if member.name in columns:
                values.append(self._column(member, columns[member.name], native.NONE))
            else:
                get = operator.attrgetter(source.attributes[member.name])
                values.append(self._column(member, map(get, records), 0))
        self._rows[source.array].extend(map(source.struct.pack, *values))
        first = self._counts[source.array]
        self._counts[source.array] += len(records)
        return first

    def _column(self, member: native.Member, column: Iterable[Any], absent: int) -> Iterable[Any]:
        """The values of one member of all records, as they are packed."""
        if member.type == "pk_text":
            return self._texts.column(column)
        if member.type == "pk_pattern":
            return self._patterns.column(column)
        if member.type == "bytes":
            return column
        if member.type == "integer":
            return _integers(member.name, absent)(column)
        return map(_Nested(member.type, member.name, self._texts).__getitem__, column)

    def finish(self, codecs: Sequence[int], states: Sequence[native.RuleState] = ()) -> native.Table:
        """The table.

        Args:
            codecs: addresses, by the numbers that listeners give for them.
            states: by the numbers that plans give for them.

        Raises:
            ProtokitError: the engine does not take it, and why.
        """
        return native.Table.load(self.pack(), codecs, states)

    def pack(self) -> bytes:
        """The image."""
        self._rows["text"], self._counts["text"] = self._texts.parts, self._texts.size
        size, every = native.members("pk_table")
        head: dict[str, Any] = {"seed": self._seed, "limits": self._limits}
        at, blocks = size, []
        for name in _KINDS:
            block = b"".join(self._rows[name])
            head[name] = _PAIR.pack(at, self._counts[name])
            blocks.append(block + bytes(-len(block) % 8))
            at += len(blocks[-1])
        head["bytes"] = at
        packed, members = _packer("pk_table", without=frozenset(one.name for one in every) - {*head})
        return b"".join([packed.pack(*(head[member.name] for member in members)), *blocks])
