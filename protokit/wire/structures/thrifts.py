"""Thrift structs, binary and compact (Apache Thrift, doc/specs)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire.structures.family import NEST, Entry, Family, Input, Key, integer, key_text, varint

if TYPE_CHECKING:
    from collections.abc import Sequence


STOP, TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, TEXT, LIST, SET, MAP, STRUCT, UUID = range(14)
_OF_BINARY = {
    2: TRUE,
    3: BYTE,
    4: DOUBLE,
    6: I16,
    8: I32,
    10: I64,
    11: TEXT,
    12: STRUCT,
    13: MAP,
    14: SET,
    15: LIST,
    16: UUID,
}
_TO_BINARY = {type_: tag for tag, type_ in _OF_BINARY.items()}
_SIZES = {TRUE: 1, FALSE: 1, BYTE: 1, I16: 2, I32: 4, I64: 8, DOUBLE: 8, UUID: 16}
_INTEGERS = {TRUE, FALSE, BYTE, I16, I32, I64}


class Thrift(Family):
    """Fields of structs by their ids, values of maps by keys that are texts.

    Types are as the compact protocol numbers them, each with whether it is a field's.
    """

    root = STRUCT
    empty = b"\0"

    def nest(self, key: Key, inner: bytes) -> bytes:
        """A structure around another."""
        return self.whole([Entry(key, (STRUCT, True), inner)], Entry(None, STRUCT, b""))

    def built(self, path: Sequence[Key], text: bytes) -> bytes:
        """A section in which that stands at a path."""
        if len(path) != 2 or isinstance(path[1], int):  # a map and its key
            return super().built(path, text)
        label = self._written(key_text(path[1]))
        pairs = self.whole([Entry(path[1], (TEXT, False), self._written(text), label)], Entry(None, MAP, b""))
        return self.whole([Entry(path[0], (MAP, True), pairs)], Entry(None, STRUCT, b""))

    def __init__(self, *, compact: bool) -> None:
        self.compact = compact
        self.name = "thrift"

    def check(self, key: Key, path: Sequence[Key]) -> None:
        """At the top a field's id; what stands deeper may be a map.

        Raises:
            DeclarationError: it is none.
        """
        if not path and not (isinstance(key, int) and -(1 << 15) <= key < 1 << 15):
            raise DeclarationError(
                f"thrift: {key!r} is no id of a field; a struct has ids from {-(1 << 15)} to {(1 << 15) - 1}"
            )
        if isinstance(key, int) and not -(1 << 15) <= key < 1 << 15:
            raise DeclarationError(f"thrift: there is no field {key}, nor a key of a map that is no text")

    def section(self, raw: bytes) -> Entry:
        """A whole section."""
        data = Input(raw)
        self._struct(data, 0)
        return Entry(None, STRUCT, raw[: data.at], raw[data.at :])

    @staticmethod
    def _fixed(data: Input, size: int) -> int:
        return int.from_bytes(data.take(size), "big", signed=True)

    @staticmethod
    def _zigzag(data: Input) -> int:
        raw = data.varint()
        return raw >> 1 ^ -(raw & 1)

    def _type(self, tag: int) -> int:
        type_ = (tag if TRUE <= tag <= UUID else None) if self.compact else _OF_BINARY.get(tag)
        if type_ is None:
            raise RemoteProtocolError(f"thrift: there is no type {tag}")
        return type_

    def _size(self, data: Input) -> int:
        size = data.varint() if self.compact else self._fixed(data, 4)
        if not 0 <= size <= data.left:
            raise RemoteProtocolError(f"thrift: {size} values or bytes with {data.left} left", data.at)
        return size

    def _field(self, data: Input, last: int) -> tuple[int, int]:
        """(type, id); STOP at the end."""
        (tag,) = data.take(1)
        if tag == 0:
            return STOP, last
        type_ = self._type(tag & 15 if self.compact else tag)
        if not self.compact:
            return type_, self._fixed(data, 2)
        number = last + (tag >> 4) if tag >> 4 else self._zigzag(data)
        if not -(1 << 15) <= number < 1 << 15:
            raise RemoteProtocolError(f"thrift: there is no field {number}", data.at)
        return type_, number

    def _types(self, data: Input, count: int) -> list[int | None]:
        tags = [*data.take(count)]
        if self.compact:
            tags = [tags[0] >> 4, tags[0] & 15] if count else []
        return [self._maybe(tag) for tag in tags]

    def _maybe(self, tag: int) -> int | None:
        if self.compact:
            return tag if TRUE <= tag <= UUID else None
        return _OF_BINARY.get(tag)

    def _container(self, data: Input, type_: int) -> tuple[list[int | None], int]:
        """(types of what is inside, how many)."""
        if self.compact and type_ == MAP:
            count = self._size(data)
            return (self._types(data, 1), count) if count else ([BYTE, BYTE], 0)
        if self.compact:
            (tag,) = data.take(1)
            count = self._size(data) if tag >> 4 == 15 else tag >> 4  # then it follows
            if count > data.left:
                raise RemoteProtocolError(f"thrift: {count} values with {data.left} bytes left", data.at)
            types = [self._maybe(tag & 15)]
        else:
            types = self._types(data, 2 if type_ == MAP else 1)
            count = self._size(data)
        return types, count

    def _struct(self, data: Input, depth: int) -> None:
        last = 0
        while True:
            type_, last = self._field(data, last)
            if type_ == STOP:
                return
            self._past(data, type_, depth, field=True)

    def _past(self, data: Input, type_: int | None, depth: int, *, field: bool) -> None:
        if depth == NEST:
            raise RemoteProtocolError(f"thrift: values are nested over {NEST} deep", data.at)
        if type_ in {LIST, SET, MAP}:
            types, count = self._container(data, int(type_))
            for _ in range(count):
                for one in types:
                    self._past(data, one, depth + 1, field=False)
        elif type_ == STRUCT:
            self._struct(data, depth + 1)
        elif type_ == TEXT:
            data.take(self._size(data))
        elif self.compact and type_ in {TRUE, FALSE} and field:
            pass
        elif self.compact and type_ in {I16, I32, I64}:
            self._zigzag(data)
        elif type_ in _SIZES:
            data.take(_SIZES[type_])
        else:
            raise RemoteProtocolError("thrift: a value of no type", data.at)

    def entries(self, raw: bytes, type_: Any) -> list[Entry] | None:
        """What is in a structure."""
        data, last = Input(raw), 0
        found: list[Entry] = []
        kind, _ = type_ if isinstance(type_, tuple) else (type_, False)
        if kind == STRUCT:
            while True:
                field, last = self._field(data, last)
                if field == STOP:
                    return found
                start = data.at
                self._past(data, field, 0, field=True)
                found.append(Entry(last, (field, True), raw[start : data.at]))
        if kind != MAP:
            return None
        types, count = self._container(data, MAP)
        for _ in range(count):
            start = data.at
            self._past(data, types[0], 0, field=False)
            label = raw[start : data.at]
            name = Input(label)
            key = name.take(self._size(name)).decode("utf-8", "surrogateescape") if types[0] == TEXT else None
            start = data.at
            self._past(data, types[1], 0, field=False)
            found.append(Entry(key, (types[1], False), raw[start : data.at], label))
        return found

    def chosen(self, entries: Sequence[Entry], key: Key) -> Entry | None:
        """The one of a key: of a struct's field, which has one type."""
        found = super().chosen(entries, key)
        types = {FALSE if one.type[0] == TRUE else one.type[0] for one in entries if one.key == key}
        if len(types) > 1:
            raise RemoteProtocolError(f"thrift: field {key} stands here in several types")
        return found

    def text(self, entry: Entry) -> bytes | None:
        """What an entry says."""
        type_, field = entry.type if isinstance(entry.type, tuple) else (entry.type, False)
        data = Input(entry.raw)
        if type_ == TEXT:
            return data.take(self._size(data))
        if type_ not in _INTEGERS:
            return entry.raw
        if type_ in {TRUE, FALSE}:
            there = type_ == TRUE if self.compact and field else data.take(1) == b"\1"
            return b"1" if there else b"0"
        value = self._zigzag(data) if self.compact and type_ != BYTE else self._fixed(data, len(entry.raw))
        return str(value).encode()

    def whole(self, entries: Sequence[Entry], before: Entry) -> bytes:
        """A structure of entries."""
        kind = self._kind(before)
        if kind == STRUCT:
            made, last = b"", 0
            for one in entries:
                type_, number = one.type[0], int(one.key or 0)
                if self.compact and 0 < number - last < 16:  # it fits the tag
                    made += bytes([(number - last) << 4 | type_])
                elif self.compact:
                    made += bytes([type_]) + varint((number << 1 ^ number >> 15) & 0xFFFF)
                else:
                    made += bytes([_TO_BINARY[type_]]) + struct.pack(">h", number)
                made += one.raw
                last = number
            return made + b"\0"
        if any(one.key is None for one in entries):
            raise LocalProtocolError("thrift: a map whose keys are no texts is not written to")
        types = [TEXT, entries[0].type[0] if entries else TEXT]
        body = b"".join(one.label + one.raw for one in entries)
        if not self.compact:
            return bytes(_TO_BINARY[one] for one in types) + struct.pack(">i", len(entries)) + body
        return varint(len(entries)) + (bytes([types[0] << 4 | types[1]]) if entries else b"") + body

    def made(self, before: Entry | None, key: Key, text: bytes, among: Entry) -> Entry:
        """An entry that says so."""
        in_struct = self._kind(among) == STRUCT
        if before is None and isinstance(key, str) == in_struct:
            holder = "struct" if in_struct else "map"
            raise LocalProtocolError(f"thrift: {key!r} does not stand in a {holder}")
        label = b"" if in_struct else before.label if before else self._written(key_text(key))
        type_ = before.type[0] if before is not None else TEXT
        if before is None and not in_struct:
            others = self.entries(among.raw, among.type) or []
            type_ = others[0].type[0] if others else TEXT
        if type_ == TEXT:
            return Entry(key, (TEXT, in_struct), self._written(text), label)
        if type_ not in _INTEGERS:
            raise LocalProtocolError(f"thrift: {key!r} is no text, and none is put there")
        value = integer(text, f"thrift: {key!r}")
        if type_ in {TRUE, FALSE}:
            if value not in {0, 1}:
                raise LocalProtocolError(f"thrift: {key!r} is 1 or 0, not {value}")
            if self.compact and in_struct:
                return Entry(key, (TRUE if value else FALSE, True), b"", label)
            return Entry(key, (type_, in_struct), bytes([value if value or not self.compact else 2]), label)
        bits = 8 * _SIZES[type_] - 1
        if not -(1 << bits) <= value < 1 << bits:
            raise LocalProtocolError(f"thrift: {value} does not fit {key!r}")
        if self.compact and type_ != BYTE:
            return Entry(key, (type_, in_struct), varint((value << 1 ^ value >> 63) % (1 << 64)), label)
        return Entry(key, (type_, in_struct), value.to_bytes(_SIZES[type_], "big", signed=True), label)

    def check_map(self, path: Sequence[Key]) -> str:
        """Why no headers stand at a path; empty where they may."""
        return "" if path else "is a struct: write the id of a field that is a map, as in {shown}[1]"

    def is_map(self, entry: Entry) -> bool:
        """Whether what is in a structure has keys."""
        return bool(self._kind(entry) == MAP)

    def map_at(self, key: Key, among: Entry) -> Entry:
        """A map with nothing in it, in a field of a struct."""
        if self._kind(among) != STRUCT or isinstance(key, str):
            raise LocalProtocolError(f"thrift: there is no {key!r}, and no map is put there")
        return Entry(key, (MAP, True), self.whole([], Entry(None, MAP, b"")))

    def said(self, entry: Entry) -> bytes | None:
        """The text that a header is; None where it is none."""
        return self.text(entry) if self._kind(entry) == TEXT else None

    @staticmethod
    def _kind(entry: Entry) -> Any:
        return entry.type[0] if isinstance(entry.type, tuple) else entry.type

    def _written(self, text: bytes) -> bytes:
        return (varint(len(text)) if self.compact else struct.pack(">i", len(text))) + text
