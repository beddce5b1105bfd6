"""Values to Hessian's bytes, as Java and Node write them."""

from __future__ import annotations

import datetime
import math
import struct
from typing import TYPE_CHECKING, Any

from protokit.errors import LocalProtocolError
from protokit.hessian.dialects import HESSIAN2, MAX_DEPTH, Dialect, Long, Object

if TYPE_CHECKING:
    from protokit.hessian.reader import Reader

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Writer:
    """Writes values one after the other into a body; ``data`` is the result.

    Args:
        dialect: in which it is.

    Attributes:
        numbered: how often something was said by a number, as of a reader.
    """

    def __init__(self, dialect: Dialect = HESSIAN2) -> None:
        self.data = bytearray()
        self.dialect = dialect
        self.numbered = 0
        self._kept: list[Any] = []
        self._references: dict[int, int] = {}
        self._types: dict[str, int] = {}
        self._type_count = 0
        self._classes: dict[tuple[str, tuple[str, ...]], int] = {}
        self._class_count = 0

    def go_on_behind(self, reader: Reader, references: int, types: int, classes: int) -> None:
        """Numbers count from here on what a reader had found in front, so many of each."""
        self._kept = reader.references[:references]
        self._references = {id(one): number for number, one in enumerate(self._kept)}
        self._types = {one: number for number, one in enumerate(reader.types[:types])}
        self._classes = {one: number for number, one in enumerate(reader.classes[:classes])}
        self._type_count, self._class_count = types, classes

    def write(self, value: Any, depth: int = 0) -> None:
        """Append one value.

        Raises:
            LocalProtocolError: Hessian has no such value, or it is nested deeper than 200.
        """
        if depth > MAX_DEPTH:
            raise self._fail(f"nested deeper than {MAX_DEPTH}")
        if value is None or isinstance(value, bool):
            self.data += b"N" if value is None else b"T" if value else b"F"
        elif isinstance(value, int):
            self._integer(value)
        elif isinstance(value, float):
            self._double(value)
        elif isinstance(value, str):
            self._text(value)
        elif isinstance(value, bytes | bytearray):
            self._binary(bytes(value))
        elif isinstance(value, datetime.datetime):
            self._date(value)
        else:
            self._container(value, depth)

    def _fail(self, what: str) -> LocalProtocolError:
        return LocalProtocolError(f"{self.dialect.name}: {what}")

    def _integer(self, value: int) -> None:
        if not -(2**63) <= value < 2**63:
            raise self._fail(f"{value} does not fit 64 bits")
        fits = -(2**31) <= value < 2**31
        if isinstance(value, Long) or not fits:
            if -8 <= value <= 15:
                self.data.append(0xE0 + value)
            elif not self._short(0xF8, 0x3C, value):
                tag = self.dialect.long if fits else 0x4C
                self.data += bytes([tag]) + struct.pack(">i" if fits else ">q", value)
        elif -16 <= value <= 47:
            self.data.append(0x90 + value)
        elif not self._short(0xC8, 0xD4, value):
            self.data += b"I" + struct.pack(">i", value)

    def _short(self, two: int, three: int, value: int) -> bool:
        """Write it in two or three bytes where it fits; the tags are those of zero."""
        if self.dialect.draft:
            return False
        if -0x800 <= value <= 0x7FF:
            self.data += struct.pack(">H", (two << 8) + value)
        elif -0x40000 <= value <= 0x3FFFF:
            self.data += ((three << 16) + value).to_bytes(3, "big")
        else:
            return False
        return True

    def _double(self, value: float) -> None:
        zero, compact = self.dialect.zero, not self.dialect.draft
        whole = int(value) if compact and -0x8000 <= value < 0x8000 else None
        thousandths = int(value * 1000) if compact and abs(value) < 2**31 / 1000 else 0
        if value in {0.0, 1.0} and math.copysign(1, value) > 0:
            self.data.append(zero + int(value))
        elif whole and whole == value and -0x80 <= whole < 0x80:
            self.data += bytes([zero + 2]) + struct.pack(">b", whole)
        elif whole and whole == value:
            self.data += bytes([zero + 3]) + struct.pack(">h", whole)
        elif thousandths and thousandths * 0.001 == value:
            self.data += bytes([zero + 4]) + struct.pack(">i", thousandths)
        else:
            self.data += b"D" + struct.pack(">d", value)

    def _date(self, value: datetime.datetime) -> None:
        if value.tzinfo is None:
            raise self._fail("a datetime without a zone says no time")
        minutes, rest = divmod(value - _EPOCH, datetime.timedelta(minutes=1))
        if self.dialect.draft or rest or not -(1 << 31) <= minutes < 1 << 31:
            milliseconds = (value - _EPOCH) // datetime.timedelta(milliseconds=1)
            self.data += bytes([self.dialect.date]) + struct.pack(">q", milliseconds)
        else:
            self.data += b"K" + struct.pack(">i", minutes)

    def _text(self, value: str) -> None:
        utf16 = value.encode("utf-16-be", "surrogatepass")
        units, at = len(utf16) // 2, 0
        while units - at > self.dialect.text_chunk:
            end = at + self.dialect.text_chunk
            if 0xD8 <= utf16[2 * end - 2] <= 0xDB:
                end -= 1  # a pair stays together
            self.data += bytes([self.dialect.text_part]) + struct.pack(">H", end - at)
            self.data += _cesu8(utf16[2 * at : 2 * end])
            at = end
        self._length(units - at, 0x00, 0x20, 0x30, 0x53)
        self.data += _cesu8(utf16[2 * at :])

    def _binary(self, value: bytes) -> None:
        most = self.dialect.binary_chunk
        while len(value) > most:
            self.data += bytes([self.dialect.binary_part]) + struct.pack(">H", most) + value[:most]
            value = value[most:]
        self._length(len(value), 0x20, 0x10, 0x34, 0x42)
        self.data += value

    def _length(self, length: int, one: int, below: int, two: int, three: int) -> None:
        """Of the last part, in as many bytes as the tags say; below so many in one."""
        if length < below:
            self.data.append(one + length)
        elif length < 0x400 and not self.dialect.draft:
            self.data += struct.pack(">H", (two << 8) + length)
        else:
            self.data += bytes([three]) + struct.pack(">H", length)

    def _container(self, value: Any, depth: int) -> None:
        if id(value) in self._references:
            self._refer(self._references[id(value)])
            return
        if not isinstance(value, list | tuple | dict | Object):
            raise self._fail(f"cannot write a {type(value).__name__}")
        self._references[id(value)] = len(self._references)
        self._kept.append(value)  # its id stays its own
        if isinstance(value, Object):
            self._object(value, depth)
        elif isinstance(value, dict):
            self._map(value, depth)
        else:
            self._list(value, depth)

    def _refer(self, number: int) -> None:
        self.numbered += 1
        if not self.dialect.draft:
            self.data += b"Q"
            self._integer(number)
        elif number < 1 << 8:
            self.data += b"J" + bytes([number])
        elif number < 1 << 16:
            self.data += b"K" + struct.pack(">H", number)
        else:
            self.data += b"R" + struct.pack(">I", number)

    def _type(self, name: str) -> None:
        if name in self._types:
            self.numbered += 1
            self.data += b"u" if self.dialect.draft else b""
            self._integer(self._types[name])
            return
        self._types[name] = self._type_count
        self._type_count += 1
        if not self.dialect.draft:
            self._text(name)
            return
        utf16 = name.encode("utf-16-be", "surrogatepass")
        if len(utf16) > 2 * 0xFFFF:
            raise self._fail("a type's name has over 65,535 characters")
        self.data += b"t" + struct.pack(">H", len(utf16) // 2) + _cesu8(utf16)

    def _list(self, value: list[Any] | tuple[Any, ...], depth: int) -> None:
        name, draft = getattr(value, "type_name", ""), self.dialect.draft
        short = len(value) <= 7 and not draft
        self.data.append((0x70 if name else 0x78) + len(value) if short else 0x56 if draft or name else 0x58)
        if name:
            self._type(name)
        if draft:
            self.data += b"l" + struct.pack(">i", len(value))
        elif not short:
            self._integer(len(value))
        for item in value:
            self.write(item, depth + 1)
        if draft:
            self.data.append(self.dialect.end)

    def _map(self, value: dict[Any, Any], depth: int) -> None:
        name = getattr(value, "type_name", "")
        self.data += b"M" if self.dialect.draft or name else b"H"
        if name:
            self._type(name)
        for key, item in value.items():
            self.write(key, depth + 1)
            self.write(item, depth + 1)
        self.data.append(self.dialect.end)

    def _object(self, value: Object, depth: int) -> None:
        if wrong := [one for one in (value.class_name, *value.fields) if not isinstance(one, str)]:
            raise self._fail(f"an object's class and fields have names, not {wrong[0]!r}")
        key = (value.class_name, tuple(value.fields))
        if key not in self._classes:
            self._class(*key)
        index = self._classes[key]
        self.numbered += 1
        if index < 16 and not self.dialect.draft:
            self.data.append(0x60 + index)
        else:
            self.data.append(self.dialect.instance)
            self._integer(index)
        for item in value.fields.values():
            self.write(item, depth + 1)

    def _class(self, name: str, fields: tuple[str, ...]) -> None:
        self._classes[name, fields] = self._class_count
        self._class_count += 1
        self.data.append(self.dialect.definition)
        if self.dialect.draft:
            utf16 = name.encode("utf-16-be", "surrogatepass")
            self._integer(len(utf16) // 2)
            self.data += _cesu8(utf16)
        else:
            self._text(name)
        self._integer(len(fields))
        for field in fields:
            self._text(field)


def _cesu8(utf16: bytes) -> bytes:
    """Each UTF-16 unit written alone."""
    if not any(0xD8 <= high <= 0xDF for high in utf16[::2]):
        return utf16.decode("utf-16-be").encode()
    units = (chr(unit) for (unit,) in struct.iter_unpack(">H", utf16))
    return "".join(units).encode("utf-8", "surrogatepass")
