"""JSONB values, as fastjson2 writes them, to and from Python: for filters.

| JSONB                          | Python                                                     |
|--------------------------------|------------------------------------------------------------|
| null, bool, double, float      | None, bool, float, ``Float``                               |
| int, long, short, byte         | int (written as an int where it fits 32 bits), ``Long`` ... |
| text, binary                   | str, bytes                                                 |
| list, map, object              | list / ``TypedList``, dict / ``TypedMap``, ``Object``        |
| a path that refers elsewhere   | ``Reference``                                              |
| all else: dates, decimals ...  | ``Raw``: its bytes, which are written as they stood         |

Names of fields and types are said once in an item and then by numbers: written anew, fields are said by
their names. Nothing is ever made by class name.
Facts: bytes of Apache Dubbo 3.1 and 3.3 with fastjson2, and the table of tags in its documentation.
"""

from __future__ import annotations

import struct
from typing import Any

from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.hessian import Long, Object, TypedList, TypedMap

_MAX_DEPTH = 200
_SYMBOL, _TYPED, _REFERENCE, _LIST, _MAP, _END = 0x7F, 0x92, 0x93, 0xA4, 0xA6, 0xA5
_CHARSETS = {0x7A: "utf-8", 0x7B: "utf-16", 0x7C: "utf-16-le", 0x7D: "utf-16-be", 0x7E: "gb18030"}
#: What follows a tag: so many bytes, or values of their own ("i": an int).
_RAW = {
    **dict.fromkeys((0x90, 0xB8, 0xBA), "i"),  # a character, a decimal and an integer that have 64 bits
    0xBB: "s",  # an integer of any size
    0xB9: "iv",  # a decimal: where its point is, its digits
    0xA7: "3i",
    0xA8: "7i",
    0xA9: "4",
    0xAA: "7iv",
    0xAB: "8",
    0xAC: "4",
    0xAD: "4",
    0xAE: "ii",
}


_SIMPLE = {0xAF: None, 0xB0: False, 0xB1: True, 0xB2: 0.0, 0xB3: 1.0}


class Float(float):
    """A float of four bytes."""


class Short(int):
    """An int of two bytes."""


class Byte(int):
    """An int of one byte."""


class Raw:
    """A value that Python has no other for: its bytes."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"Raw({self.data.hex()})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Raw) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.data)


class Reference:
    """A value that stands elsewhere in the same argument, by its path."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Reference({self.path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)


class Reader:
    """Reads an item."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self._symbols: dict[int, str] = {}

    def item(self) -> Any:
        """Its one value.

        Raises:
            RemoteProtocolError: it is malformed, holds what cannot be read, or is nested deeper than 200.
        """
        value = self._read(0)
        if self.at != len(self.data):
            raise self._fail("more than one value")
        return value

    def _fail(self, what: str) -> RemoteProtocolError:
        return RemoteProtocolError(f"fastjson2: {what}", self.at)

    def _take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.at:
            raise self._fail(f"expected {size} more bytes, there are {len(self.data) - self.at}")
        self.at += size
        return self.data[self.at - size : self.at]

    def _peek(self) -> int:
        if self.at == len(self.data):
            raise self._fail("a value is expected")
        return self.data[self.at]

    def _signed(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big", signed=True)

    def _integer(self, tag: int) -> int | None:
        if tag <= 0x2F or tag >= 0xF0:
            return tag - 256 if tag >= 0xF0 else tag
        if 0x30 <= tag <= 0x3F:
            return (tag - 0x38 << 8) + self._take(1)[0]
        if 0x40 <= tag <= 0x47:
            return (tag - 0x44 << 16) + int.from_bytes(self._take(2), "big")
        if tag == 0x48:
            return self._signed(4)
        if 0xD8 <= tag <= 0xEF:
            return Long(tag - 0xE0)
        if 0xC8 <= tag <= 0xD7:
            return Long((tag - 0xD0 << 8) + self._take(1)[0])
        if 0xC0 <= tag <= 0xC7:
            return Long((tag - 0xC4 << 16) + int.from_bytes(self._take(2), "big"))
        if tag in {0xBC, 0xBD}:
            return Short(self._signed(2)) if tag == 0xBC else Byte(self._signed(1))
        return Long(self._signed(4 if tag == 0xBF else 8)) if tag in {0xBE, 0xBF} else None

    def _needed(self) -> int:
        found = self._integer(self._take(1)[0])
        if found is None:
            raise self._fail("an int is expected")
        return found

    def _text(self, tag: int) -> str | None:
        if not 0x49 <= tag <= 0x7E:
            return None
        raw = self._take(tag - 0x49 if tag <= 0x78 else self._needed())
        charset = _CHARSETS.get(tag, "latin-1")
        try:
            return raw.decode(charset, "surrogatepass" if charset.startswith("utf-16") else "strict")
        except UnicodeDecodeError:
            raise self._fail(f"a text is no {charset}") from None

    def _name(self) -> str:
        """In front of a number, which it has from now on; or the number alone."""
        text = self._text(self._take(1)[0]) if 0x49 <= self._peek() <= 0x7E else None
        number = self._needed()
        if text is not None:
            self._symbols[number] = text
        elif number not in self._symbols:
            raise self._fail(f"name {number} was not said before")
        return self._symbols[number]

    def _read(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise self._fail(f"nested deeper than {_MAX_DEPTH}")
        tag = self._take(1)[0]
        if tag in _SIMPLE:
            return _SIMPLE[tag]
        for read in (self._integer, self._text, self._real):
            found = read(tag)
            if found is not None:
                return found
        if 0x94 <= tag <= _LIST:
            return self._list(tag, depth)
        if tag == _MAP:
            return self._map(depth)[0]
        if tag == _TYPED:
            return self._typed(depth)
        return self._take(self._needed()) if tag == 0x91 else self._other(tag, depth)

    def _real(self, tag: int) -> float | None:
        if tag in {0xB4, 0xB6}:
            return (float if tag == 0xB4 else Float)(self._needed())
        if tag == 0xB5:
            return float(struct.unpack(">d", self._take(8))[0])
        return Float(struct.unpack(">f", self._take(4))[0]) if tag == 0xB7 else None

    def _other(self, tag: int, depth: int) -> Raw | Reference:
        start = self.at - 1
        if tag == _REFERENCE:
            path = self._read(depth + 1)
            if not isinstance(path, str):
                raise self._fail("a path is no text")
            return Reference(path)
        if tag not in _RAW:
            raise self._fail(f"no value begins with {tag:02x}")
        for part in _RAW[tag]:
            if part == "v":
                self._read(depth + 1)
            else:
                number = int(part) if part.isdigit() else self._needed()
                if part != "i":
                    self._take(number)
        return Raw(self.data[start : self.at])

    def _list(self, tag: int, depth: int) -> list[Any]:
        count = self._needed() if tag == _LIST else tag - 0x94
        if count > len(self.data) - self.at:
            raise self._fail(f"a count of {count}, more than the bytes that are left")
        return [self._read(depth + 1) for _ in range(count)]

    def _map(self, depth: int) -> tuple[dict[Any, Any], bool]:
        """And whether its keys are names of fields."""
        fields = False
        items: dict[Any, Any] = {}
        kinds: dict[Any, type] = {}
        while self._peek() != _END:
            if self._peek() == _SYMBOL:
                self.at += 1
                key, fields = self._name(), True
            else:
                key = self._read(depth + 1)
            try:
                kind = kinds.setdefault(key, type(key))
            except TypeError:
                raise self._fail(f"a map's key is a {type(key).__name__}") from None
            if kind is not type(key):
                raise self._fail(f"two keys of a map that are one in a dict, {key!r}")
            items[key] = self._read(depth + 1)
        self.at += 1
        return items, fields

    def _typed(self, depth: int) -> Any:
        name, tag = self._name(), self._take(1)[0]
        found: TypedList | TypedMap
        if 0x94 <= tag <= _LIST:
            found = TypedList(self._list(tag, depth))
        elif tag == _MAP:
            items, fields = self._map(depth)
            if fields or not name.startswith("java.util."):
                return Object(name, items)
            found = TypedMap(items)
        else:
            raise self._fail("a typed value that is neither an object nor a list")
        found.type_name = name
        return found


class Writer:
    """Writes an item."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._types: dict[str, int] = {}
        self._around: list[int] = []

    def write(self, value: Any) -> None:
        """Append a value.

        Raises:
            LocalProtocolError: JSONB has no such value, it is nested deeper than 200, or in itself.
        """
        if len(self._around) > _MAX_DEPTH:
            raise LocalProtocolError(f"fastjson2: nested deeper than {_MAX_DEPTH}")
        if value is None or isinstance(value, bool):
            self.data.append(0xAF if value is None else 0xB1 if value else 0xB0)
        elif isinstance(value, int):
            self._integer(value)
        elif isinstance(value, Float):
            try:
                self.data += b"\xb7" + struct.pack(">f", value)
            except OverflowError:
                raise LocalProtocolError(f"fastjson2: {value} does not fit a float") from None
        elif isinstance(value, float):
            self.data += b"\xb5" + struct.pack(">d", value)
        elif isinstance(value, str):
            self._text(value)
        elif isinstance(value, bytes | bytearray):
            self.data += b"\x91" + _count(len(value)) + value
        elif isinstance(value, Raw):
            self.data += value.data
        elif isinstance(value, Reference):
            self.data.append(_REFERENCE)
            self._text(value.path)
        else:
            self._container(value)

    def _integer(self, value: int) -> None:
        if not -(2**63) <= value < 2**63:
            raise LocalProtocolError(f"fastjson2: {value} does not fit 64 bits")
        for kind, tag, form in ((Short, 0xBC, ">h"), (Byte, 0xBD, ">b")):
            if isinstance(value, kind):
                try:
                    self.data += bytes([tag]) + struct.pack(form, value)
                except struct.error:
                    name = kind.__name__.lower()
                    raise LocalProtocolError(f"fastjson2: {value} does not fit a {name}") from None
                return
        if isinstance(value, Long) or not -(2**31) <= value < 2**31:
            self.data += b"\xbe" + struct.pack(">q", value)
        else:
            self.data += bytes([value & 0xFF]) if -16 <= value <= 47 else _count(value)

    def _text(self, value: str) -> None:
        if value.isascii():
            self.data += bytes([0x49 + len(value)]) if len(value) < 48 else b"\x79" + _count(len(value))
            self.data += value.encode()
            return
        try:
            raw, tag = value.encode(), 0x7A
        except UnicodeEncodeError:  # a surrogate alone
            raw, tag = value.encode("utf-16-le", "surrogatepass"), 0x7C
        self.data += bytes([tag]) + _count(len(raw)) + raw

    def _container(self, value: Any) -> None:
        if not isinstance(value, list | tuple | dict | Object):
            raise LocalProtocolError(f"fastjson2: cannot write a {type(value).__name__}")
        if id(value) in self._around:
            raise LocalProtocolError("fastjson2: a value stands in itself; say where by a Reference")
        self._around.append(id(value))
        name = value.class_name if isinstance(value, Object) else getattr(value, "type_name", "")
        if not isinstance(name, str):
            raise LocalProtocolError(f"fastjson2: a class has a name, not {name!r}")
        if name:
            self.data.append(_TYPED)
            if name not in self._types:
                self._text(name)
            self.data += _count(self._types.setdefault(name, len(self._types)))
        if isinstance(value, list | tuple):
            self.data += (
                bytes([0x94 + len(value)]) if len(value) < 16 else bytes([_LIST]) + _count(len(value))
            )
            for item in value:
                self.write(item)
        else:
            self.data.append(_MAP)
            for key, item in (value.fields if isinstance(value, Object) else value).items():
                self.write(key)
                self.write(item)
            self.data.append(_END)
        self._around.pop()


def _count(number: int) -> bytes:
    return b"\x48" + struct.pack(">i", number)
