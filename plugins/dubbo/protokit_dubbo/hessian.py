"""Hessian 2.0 values to and from Python: the slow path, for tools, providers in tests, and filters.

The routes never come here: the engine steps over values natively (``native/hessian.c``).

| Hessian              | Python                                                            |
|----------------------|-------------------------------------------------------------------|
| null, bool, double   | None, bool, float                                                 |
| int, long            | int (written as an int where it fits 32 bits), ``Long``            |
| string               | str; a lone surrogate stays one                                   |
| binary, date         | bytes, datetime in UTC                                            |
| list, map, object    | list / ``TypedList``, dict / ``TypedMap``, ``Object``              |

References keep their identity: a cyclic list comes back cyclic. Nothing is ever made by class name.
Grammar: the Hessian 2.0 specification; Java's meaning where the two differ (0x5F is thousandths).
"""

from __future__ import annotations

import datetime
import math
import struct
from typing import Any

from protokit.errors import LocalProtocolError, RemoteProtocolError

_MAX_DEPTH = 200
_CHUNK = 0x8000
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Long(int):
    """An int that is written as a long."""


class TypedList(list[Any]):
    """A list that names its type."""

    type_name = ""


class TypedMap(dict[Any, Any]):
    """A map that names its type."""

    type_name = ""


class Object:
    """An object: the name of its class, and its fields in order."""

    __slots__ = ("class_name", "fields")

    def __init__(self, class_name: str, fields: dict[str, Any]) -> None:
        self.class_name = class_name
        self.fields = fields

    def __repr__(self) -> str:
        return f"Object({self.class_name!r}, {list(self.fields)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Object) and (self.class_name, self.fields) == (
            other.class_name,
            other.fields,
        )

    __hash__ = None  # type: ignore[assignment]  # mutable


class Reader:
    """Reads values one after the other from a body; they share references, types and classes.

    Args:
        data: the body.
        at: where to begin.

    Attributes:
        numbered: how often something was said by a number: a reference, a type, an object's class.
        lowest: the least reference that was met.
    """

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at
        self.numbered = 0
        self.lowest = len(data)
        self._references: list[Any] = []
        self._types: list[str] = []
        self._classes: list[tuple[str, list[str]]] = []

    @property
    def done(self) -> bool:
        """Whether everything was read."""
        return self.at >= len(self.data)

    @property
    def referable(self) -> int:
        """How many values a reference may be to."""
        return len(self._references)

    def _fail(self, what: str) -> RemoteProtocolError:
        return RemoteProtocolError(f"hessian2: {what}", self.at)

    def _take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        if size < 0 or len(part) < size:
            raise self._fail(f"expected {size} more bytes, there are {len(part)}")
        self.at += size
        return part

    def _tag(self) -> int:
        return self._take(1)[0]

    def read(self, depth: int = 0) -> Any:
        """The next value.

        Raises:
            RemoteProtocolError: the bytes are no Hessian value, or nested deeper than 200.
        """
        if depth > _MAX_DEPTH:
            raise self._fail(f"nested deeper than {_MAX_DEPTH}")
        tag = self._tag()
        while tag == 0x43:
            self._class_definition()
            tag = self._tag()
        if _is_text(tag):
            return self._text(tag)
        number = self._number(tag)
        if number is not None:
            return number
        if 0x20 <= tag <= 0x2F or 0x34 <= tag <= 0x37 or tag in {0x41, 0x42}:
            return self._binary(tag)
        simple = {0x4E: None, 0x54: True, 0x46: False}
        if tag in simple:
            return simple[tag]
        if tag in {0x4A, 0x4B}:
            return self._date(tag)
        if tag == 0x51:
            index = self._integer()
            if not 0 <= index < len(self._references):
                raise self._fail(f"reference {index}, of {len(self._references)}")
            self.numbered, self.lowest = self.numbered + 1, min(self.lowest, index)
            return self._references[index]
        return self._container(tag, depth)

    def _date(self, tag: int) -> datetime.datetime:
        count = _signed(self._take(8 if tag == 0x4A else 4))
        try:
            return _EPOCH + datetime.timedelta(**{"milliseconds" if tag == 0x4A else "minutes": count})
        except OverflowError:
            raise self._fail("a date outside the years 1 to 9999") from None

    def _number(self, tag: int) -> int | float | None:
        integer = self._integer_of(tag)
        if integer is not None:
            return integer
        if tag == 0x44:
            return float(struct.unpack(">d", self._take(8))[0])
        if tag == 0x5B:
            return 0.0
        if tag == 0x5C:
            return 1.0
        if tag in {0x5D, 0x5E}:
            return float(_signed(self._take(tag - 0x5C)))
        if tag == 0x5F:
            return _signed(self._take(4)) * 0.001
        return None

    def _integer_of(self, tag: int) -> int | None:
        if 0x80 <= tag <= 0xBF:
            return tag - 0x90
        if 0xC0 <= tag <= 0xCF:
            return (tag - 0xC8 << 8) + self._tag()
        if 0xD0 <= tag <= 0xD7:
            return (tag - 0xD4 << 16) + int.from_bytes(self._take(2))
        if tag == 0x49:
            return _signed(self._take(4))
        if 0xD8 <= tag <= 0xEF:
            return Long(tag - 0xE0)
        if tag >= 0xF0:
            return Long((tag - 0xF8 << 8) + self._tag())
        if 0x38 <= tag <= 0x3F:
            return Long((tag - 0x3C << 16) + int.from_bytes(self._take(2)))
        if tag in {0x4C, 0x59}:
            return Long(_signed(self._take(8 if tag == 0x4C else 4)))
        return None

    def _integer(self) -> int:
        value = self._integer_of(self._tag())
        if value is None:
            raise self._fail("expected an int")
        return value

    def _count(self) -> int:
        count = self._integer()
        if not 0 <= count <= len(self.data) - self.at:
            raise self._fail(f"a count of {count}, more than the bytes that are left")
        return count

    def _text(self, tag: int) -> str:
        parts = []
        while True:
            if tag < 0x20:
                units = tag
            elif 0x30 <= tag <= 0x33:
                units = (tag - 0x30 << 8) + self._tag()
            elif tag in {0x52, 0x53}:
                units = int.from_bytes(self._take(2))
            else:
                raise self._fail("expected a string")
            parts.append(self._units(units))
            if tag != 0x52:
                break
            tag = self._tag()
        utf16 = "".join(parts).encode("utf-16-be", "surrogatepass")
        return utf16.decode("utf-16-be", "surrogatepass")

    def _units(self, units: int) -> str:
        start, at, data = self.at, self.at, self.data
        while units > 0:
            if at >= len(data):
                raise self._fail("the string is longer than the bytes that are left")
            lead = data[at]
            size = 1 if lead < 0x80 else 2 if 0xC0 <= lead < 0xE0 else 3 if 0xE0 <= lead < 0xF0 else 4
            at += size
            units -= 2 if size == 4 else 1
        if units < 0:
            raise self._fail("the string ends in the middle of a character")
        self.at = at
        try:
            return data[start:at].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise RemoteProtocolError("hessian2: not UTF-8", start + error.start) from None

    def _string(self) -> str:
        tag = self._tag()
        if not _is_text(tag):
            raise self._fail("expected a string")
        return self._text(tag)

    def _binary(self, tag: int) -> bytes:
        parts = []
        while True:
            if 0x20 <= tag <= 0x2F:
                size = tag - 0x20
            elif 0x34 <= tag <= 0x37:
                size = (tag - 0x34 << 8) + self._tag()
            elif tag in {0x41, 0x42}:
                size = int.from_bytes(self._take(2))
            else:
                raise self._fail("expected the rest of a binary")
            parts.append(self._take(size))
            if tag != 0x41:
                return b"".join(parts)
            tag = self._tag()

    def _type(self) -> str:
        if self.done:
            raise self._fail("expected a type")
        if _is_text(self.data[self.at]):
            self._types.append(self._string())
            return self._types[-1]
        index = self._integer()
        if not 0 <= index < len(self._types):
            raise self._fail(f"type {index}, of {len(self._types)}")
        self.numbered += 1
        return self._types[index]

    def _class_definition(self) -> None:
        name = self._string()
        self._classes.append((name, [self._string() for _ in range(self._count())]))

    def _container(self, tag: int, depth: int) -> Any:
        if 0x70 <= tag <= 0x77:
            return self._list(self._type(), tag - 0x70, depth)
        if 0x78 <= tag <= 0x7F:
            return self._list("", tag - 0x78, depth)
        if tag in {0x55, 0x57}:
            return self._list(self._type() if tag == 0x55 else "", None, depth)
        if tag in {0x56, 0x58}:
            name = self._type() if tag == 0x56 else ""
            return self._list(name, self._count(), depth)
        if tag in {0x48, 0x4D}:
            return self._map(self._type() if tag == 0x4D else "", depth)
        if tag == 0x4F or 0x60 <= tag <= 0x6F:
            return self._object(self._integer() if tag == 0x4F else tag - 0x60, depth)
        self.at -= 1
        raise self._fail(f"0x{tag:02X} begins no value")

    def _list(self, name: str, count: int | None, depth: int) -> list[Any]:
        values: list[Any] = []
        if name:
            values = TypedList()
            values.type_name = name
        self._references.append(values)
        if count is None:
            while self.data[self.at : self.at + 1] != b"Z":
                values.append(self.read(depth + 1))
            self.at += 1
        else:
            for _ in range(count):
                values.append(self.read(depth + 1))
        return values

    def _map(self, name: str, depth: int) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        if name:
            values = TypedMap()
            values.type_name = name
        self._references.append(values)
        kinds: dict[Any, type] = {}
        while self.data[self.at : self.at + 1] != b"Z":
            key = self.read(depth + 1)
            value = self.read(depth + 1)
            try:
                one = kinds.setdefault(key, type(key)) is type(key)
            except TypeError:
                raise self._fail("a key that is a container has no place in a dict") from None
            if not one:  # an int, a long, a double, true: who writes them again would lose one
                raise self._fail(f"two keys of a map that are one in a dict: {key!r}")
            values[key] = value
        self.at += 1
        return values

    def _object(self, index: int, depth: int) -> Object:
        if not 0 <= index < len(self._classes):
            raise self._fail(f"class {index}, of {len(self._classes)}")
        self.numbered += 1
        name, fields = self._classes[index]
        value = Object(name, {})
        self._references.append(value)
        for field in fields:
            value.fields[field] = self.read(depth + 1)
        return value


class Writer:
    """Writes values one after the other into a body, as Java and Node do; ``data`` is the result.

    Args:
        binary_chunk: in a chunk of binary, bytes: 4093 in hessian-lite 3 and hessian.js, 8189 in 4.

    Attributes:
        numbered: as of a reader.
    """

    def __init__(self, binary_chunk: int = 4093) -> None:
        self.data = bytearray()
        self.numbered = 0
        self._binary_chunk = binary_chunk
        self._references: dict[int, int] = {}
        self._kept: list[Any] = []
        self._types: dict[str, int] = {}
        self._classes: dict[tuple[str, tuple[str, ...]], int] = {}

    def write(self, value: Any, depth: int = 0) -> None:
        """Append one value.

        Raises:
            LocalProtocolError: Hessian has no such value, or it is nested deeper than 200.
        """
        if depth > _MAX_DEPTH:
            raise LocalProtocolError(f"hessian2: nested deeper than {_MAX_DEPTH}")
        if value is None:
            self.data += b"N"
        elif value is True or value is False:
            self.data += b"T" if value else b"F"
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

    def _integer(self, value: int) -> None:
        if isinstance(value, Long) or not -(2**31) <= value < 2**31:
            if not -(2**63) <= value < 2**63:
                raise LocalProtocolError(f"hessian2: {value} does not fit 64 bits")
            if -8 <= value <= 15:
                self.data.append(0xE0 + value)
            elif not self._short(0xF8, 0x3C, value):
                fits = -(2**31) <= value < 2**31
                self.data += b"Y" + struct.pack(">i", value) if fits else b"L" + struct.pack(">q", value)
        elif -16 <= value <= 47:
            self.data.append(0x90 + value)
        elif not self._short(0xC8, 0xD4, value):
            self.data += b"I" + struct.pack(">i", value)

    def _short(self, two: int, three: int, value: int) -> bool:
        """Write it in two or three bytes where it fits; the tags are those of zero."""
        if -0x800 <= value <= 0x7FF:
            self.data += struct.pack(">H", (two << 8) + value)
        elif -0x40000 <= value <= 0x3FFFF:
            self.data += ((three << 16) + value).to_bytes(3)
        else:
            return False
        return True

    def _double(self, value: float) -> None:
        whole = int(value) if -0x8000 <= value < 0x8000 else None
        thousandths = int(value * 1000) if abs(value) < 2**31 / 1000 else 0
        if value in {0.0, 1.0} and math.copysign(1, value) > 0:
            self.data.append(0x5B + int(value))
        elif whole and whole == value and -0x80 <= whole < 0x80:
            self.data += b"]" + struct.pack(">b", whole)
        elif whole and whole == value:
            self.data += b"^" + struct.pack(">h", whole)
        elif thousandths and thousandths * 0.001 == value:
            self.data += b"_" + struct.pack(">i", thousandths)
        else:
            self.data += b"D" + struct.pack(">d", value)

    def _date(self, value: datetime.datetime) -> None:
        minutes, rest = divmod(value - _EPOCH, datetime.timedelta(minutes=1))
        if rest or not -(1 << 31) <= minutes < 1 << 31:
            milliseconds = (value - _EPOCH) // datetime.timedelta(milliseconds=1)
            self.data += b"J" + struct.pack(">q", milliseconds)
        else:
            self.data += b"K" + struct.pack(">i", minutes)

    def _text(self, value: str) -> None:
        utf16 = value.encode("utf-16-be", "surrogatepass")
        units = len(utf16) // 2
        at = 0
        while units - at > _CHUNK:
            end = at + _CHUNK
            if 0xD8 <= utf16[2 * end - 2] <= 0xDB:
                end -= 1  # a pair stays together
            self.data += b"R" + struct.pack(">H", end - at) + _cesu8(utf16[2 * at : 2 * end])
            at = end
        left = units - at
        if left < 0x20:
            self.data.append(left)
        elif left < 0x400:
            self.data += struct.pack(">H", 0x3000 + left)
        else:
            self.data += b"S" + struct.pack(">H", left)
        self.data += _cesu8(utf16[2 * at :])

    def _binary(self, value: bytes) -> None:
        size = self._binary_chunk
        while len(value) > size:
            self.data += b"A" + struct.pack(">H", size) + value[:size]
            value = value[size:]
        if len(value) < 16:
            self.data.append(0x20 + len(value))
        elif len(value) < 0x400:
            self.data += struct.pack(">H", 0x3400 + len(value))
        else:
            self.data += b"B" + struct.pack(">H", len(value))
        self.data += value

    def _container(self, value: Any, depth: int) -> None:
        if id(value) in self._references:
            self.numbered += 1
            self.data += b"Q"
            self._integer(self._references[id(value)])
            return
        self._references[id(value)] = len(self._references)
        self._kept.append(value)  # its id stays its own
        if isinstance(value, list | tuple):
            name = getattr(value, "type_name", "")
            short = len(value) <= 7
            self.data.append((0x70 if name else 0x78) + len(value) if short else ord("V" if name else "X"))
            if name:
                self._type(name)
            if not short:
                self._integer(len(value))
            for item in value:
                self.write(item, depth + 1)
        elif isinstance(value, dict):
            name = getattr(value, "type_name", "")
            self.data += b"M" if name else b"H"
            if name:
                self._type(name)
            for key, item in value.items():
                self.write(key, depth + 1)
                self.write(item, depth + 1)
            self.data += b"Z"
        elif isinstance(value, Object):
            self._object(value, depth)
        else:
            raise LocalProtocolError(f"hessian2: cannot write a {type(value).__name__}")

    def _type(self, name: str) -> None:
        if name in self._types:
            self.numbered += 1
            self._integer(self._types[name])
        else:
            self._types[name] = len(self._types)
            self._text(name)

    def _object(self, value: Object, depth: int) -> None:
        key = (value.class_name, tuple(value.fields))
        if key not in self._classes:
            self._classes[key] = len(self._classes)
            self.data += b"C"
            self._text(value.class_name)
            self._integer(len(value.fields))
            for field in value.fields:
                self._text(field)
        index = self._classes[key]
        self.numbered += 1
        if index < 16:
            self.data.append(0x60 + index)
        else:
            self.data += b"O"
            self._integer(index)
        for item in value.fields.values():
            self.write(item, depth + 1)


def _is_text(tag: int) -> bool:
    return tag < 0x20 or 0x30 <= tag <= 0x33 or tag in {0x52, 0x53}


def _signed(data: bytes) -> int:
    return int.from_bytes(data, signed=True)


def _cesu8(utf16: bytes) -> bytes:
    """Each UTF-16 unit written alone."""
    if not any(0xD8 <= high <= 0xDF for high in utf16[::2]):
        return utf16.decode("utf-16-be").encode()
    units = (chr(unit) for (unit,) in struct.iter_unpack(">H", utf16))
    return "".join(units).encode("utf-8", "surrogatepass")
