"""Values of Hessian 2 to and from Python, in both dialects that bolt carries: for filters, which change them.

| Hessian              | Python                                                            |
|----------------------|-------------------------------------------------------------------|
| null, bool, double   | None, bool, float                                                 |
| int, long            | int (written as an int where it fits 32 bits), ``Long``            |
| string               | str; a lone surrogate stays one                                   |
| binary, date         | bytes, datetime in UTC                                            |
| list, map, object    | list / ``TypedList``, dict / ``TypedMap``, ``Object``              |

References keep their identity. Nothing is ever made by class name. The draft is what sofa-hessian writes, the
final form what other peers do; ``hessian.py`` shows both to tools, and loses what only a writer needs.
"""

from __future__ import annotations

import datetime
import struct
from typing import Any, NamedTuple

from protokit.errors import LocalProtocolError, RemoteProtocolError

_MAX_DEPTH = 200
_CHUNK = 0x7FFF
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


class _Dialect(NamedTuple):
    """Where the two differ. Ints, short texts and short binaries are alike."""

    text_part: int
    binary_part: int
    long: int  # of four bytes
    doubles: tuple[int, int, int, int, int]  # 0.0, 1.0, of one byte, two and four
    date: int
    definition: int
    instance: int
    end: int


_DRAFT = _Dialect(0x73, 0x62, 0x77, (0x67, 0x68, 0x69, 0x6A, 0x6B), 0x64, 0x4F, 0x6F, 0x7A)
_FINAL = _Dialect(0x52, 0x41, 0x59, (0x5B, 0x5C, 0x5D, 0x5E, 0x5F), 0x4A, 0x43, 0x4F, 0x5A)


def is_draft(body: bytes) -> bool:
    """Whether a body that begins with an object is in the draft."""
    return body[:1] != b"C"


class Reader:
    """Reads values one after the other from a body; they share references, types and classes.

    Attributes:
        numbered: how often something was said by a number: a reference, a type, an object's class.
    """

    def __init__(self, data: bytes, *, draft: bool) -> None:
        self.data = data
        self.at = 0
        self.draft = draft
        self.numbered = 0
        self.references: list[Any] = []
        self.types: list[str] = []
        self.classes: list[tuple[str, tuple[str, ...]]] = []
        self._of = _DRAFT if draft else _FINAL

    @property
    def done(self) -> bool:
        """Whether everything was read."""
        return self.at >= len(self.data)

    def fail(self, what: str) -> RemoteProtocolError:
        """The error of what stands here."""
        return RemoteProtocolError(f"hessian: {what}", self.at)

    def read(self, depth: int = 0) -> Any:
        """The next value.

        Raises:
            RemoteProtocolError: the bytes are no Hessian value, or nested deeper than 200.
        """
        if depth > _MAX_DEPTH:
            raise self.fail(f"nested deeper than {_MAX_DEPTH}")
        tag = self._tag()
        while tag == self._of.definition:
            self._define()
            tag = self._tag()
        if tag in b"NTF":
            return {0x4E: None, 0x54: True, 0x46: False}[tag]
        if self._is_text(tag):
            return self._text(tag)
        number = self._number(tag)
        if number is not None:
            return number
        if (
            0x20 <= tag <= 0x2F
            or tag in {0x42, self._of.binary_part}
            or (not self.draft and 0x34 <= tag <= 0x37)
        ):
            return self._binary(tag)
        return (self._in_draft if self.draft else self._in_final)(tag, depth)

    def _take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.at:
            raise self.fail(f"expected {size} more bytes, there are {len(self.data) - self.at}")
        self.at += size
        return self.data[self.at - size : self.at]

    def _tag(self) -> int:
        return self._take(1)[0]

    def _signed(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big", signed=True)

    def _is_text(self, tag: int) -> bool:
        return tag < 0x20 or tag in {0x53, self._of.text_part} or (not self.draft and 0x30 <= tag <= 0x33)

    def _units(self, units: int) -> str:
        """So many UTF-16 units."""
        start, data = self.at, self.data
        front = data[start : start + units]
        if len(front) == units and front.isascii():
            self.at += units
            return front.decode()
        at = start
        while units > 0:
            if at >= len(data):
                raise self.fail("a text is longer than the bytes that are left")
            lead = data[at]
            size = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            at += size
            units -= 2 if size == 4 else 1
        if units < 0:
            raise self.fail("a text ends in the middle of a character")
        self.at = at
        try:
            return data[start:at].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise self.fail("a text is no UTF-8") from None

    def _text(self, tag: int) -> str:
        parts = []
        while True:
            if not self._is_text(tag):
                raise self.fail("expected a text")
            if tag < 0x20:
                units = tag
            elif tag <= 0x33:
                units = (tag - 0x30 << 8) + self._tag()
            else:
                units = int.from_bytes(self._take(2), "big")
            parts.append(self._units(units))
            if tag != self._of.text_part:
                break
            tag = self._tag()
        whole = "".join(parts)
        return (
            whole
            if whole.isascii()
            else whole.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        )

    def _binary(self, tag: int) -> bytes:
        parts = []
        while True:
            if 0x20 <= tag <= 0x2F:
                size = tag - 0x20
            elif 0x34 <= tag <= 0x37 and not self.draft:
                size = (tag - 0x34 << 8) + self._tag()
            elif tag in {0x42, self._of.binary_part}:
                size = int.from_bytes(self._take(2), "big")
            else:
                raise self.fail("expected a part of a binary")
            parts.append(self._take(size))
            if tag != self._of.binary_part:
                return b"".join(parts)
            tag = self._tag()

    def _int(self, tag: int) -> int | None:
        for first, last, zero, size in ((0x80, 0xBF, 0x90, 0), (0xC0, 0xCF, 0xC8, 1), (0xD0, 0xD7, 0xD4, 2)):
            if first <= tag <= last:
                return (tag - zero << 8 * size) + int.from_bytes(self._take(size), "big")
        return self._signed(4) if tag == 0x49 else None

    def _number(self, tag: int) -> int | float | None:
        found = self._int(tag)
        if found is not None:
            return found
        for first, last, zero, size in ((0xD8, 0xEF, 0xE0, 0), (0xF0, 0xFF, 0xF8, 1), (0x38, 0x3F, 0x3C, 2)):
            if first <= tag <= last:
                return Long((tag - zero << 8 * size) + int.from_bytes(self._take(size), "big"))
        if tag in {0x4C, self._of.long}:
            return Long(self._signed(8 if tag == 0x4C else 4))
        if tag == 0x44:
            return float(struct.unpack(">d", self._take(8))[0])
        if tag not in self._of.doubles:
            return None
        form = self._of.doubles.index(tag)
        if form < 2:
            return float(form)
        if form < 4:
            return float(self._signed(form - 1))
        return float(struct.unpack(">f", self._take(4))[0]) if self.draft else self._signed(4) * 0.001

    def _needed(self) -> int:
        found = self._int(self._tag())
        if found is None:
            raise self.fail("expected an int")
        return found

    def _count(self) -> int:
        found = self._needed()
        if not 0 <= found <= len(self.data) - self.at:
            raise self.fail(f"a count of {found}, more than the bytes that are left")
        return found

    def _numbered(self, known: list[Any], what: str, number: int | None = None) -> Any:
        number = self._needed() if number is None else number
        if not 0 <= number < len(known):
            raise self.fail(f"{what} {number}, of {len(known)}")
        self.numbered += 1
        return known[number]

    def _name(self) -> str:
        return self._text(self._tag())

    def _define(self) -> None:
        name = self._units(self._count()) if self.draft else self._name()
        self.classes.append((name, tuple(self._name() for _ in range(self._count()))))

    def _type(self) -> str:
        if self.draft:
            tag = self.data[self.at : self.at + 1]
            if tag not in {b"t", b"u"}:
                return ""
            self.at += 1
            if tag == b"u":
                return str(self._numbered(self.types, "type"))
            name = self._units(int.from_bytes(self._take(2), "big"))
        else:
            tag_ = self._tag()
            if not self._is_text(tag_):
                self.at -= 1
                return str(self._numbered(self.types, "type"))
            name = self._text(tag_)
        if name:
            self.types.append(name)
        return name

    def _ends(self) -> bool:
        if self.data[self.at : self.at + 1] != bytes([self._of.end]):
            return False
        self.at += 1
        return True

    def _instance(self, number: int | None, depth: int) -> Object:
        name, fields = self._numbered(self.classes, "class", number)
        found = Object(name, {})
        self.references.append(found)
        for field in fields:
            found.fields[field] = self.read(depth + 1)
        return found

    def _list(self, type_: str, count: int | None, depth: int) -> list[Any]:
        found: list[Any] = []
        if type_:
            found = TypedList()
            found.type_name = type_
        self.references.append(found)
        while not self._ends() if count is None else len(found) < count:
            found.append(self.read(depth + 1))
        return found

    def _map(self, type_: str, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        if type_:
            found = TypedMap()
            found.type_name = type_
        self.references.append(found)
        kinds: dict[Any, type] = {}
        while not self._ends():
            key = self.read(depth + 1)
            try:
                kind = kinds.setdefault(key, type(key))
            except TypeError:
                raise self.fail(f"a map's key is a {type(key).__name__}") from None
            if kind is not type(key):
                raise self.fail(f"two keys of a map that are one in a dict, {key!r}")
            found[key] = self.read(depth + 1)
        return found

    def _date(self, count: int, unit: str) -> datetime.datetime:
        try:
            return _EPOCH + datetime.timedelta(**{unit: count})
        except OverflowError:
            raise self.fail("a date outside the years 1 to 9999") from None

    def _in_draft(self, tag: int, depth: int) -> Any:
        if tag == 0x6F:
            return self._instance(None, depth)
        if tag in b"JKR":
            size = {0x4A: 1, 0x4B: 2, 0x52: 4}[tag]
            return self._numbered(self.references, "reference", int.from_bytes(self._take(size), "big"))
        if tag == 0x64:
            return self._date(self._signed(8), "milliseconds")
        if tag == 0x4D:
            return self._map(self._type(), depth)
        if tag == 0x56:
            type_ = self._type()
            if self.data[self.at : self.at + 1] in {b"n", b"l"}:  # its length, which its end says as well
                self._take(2 if self.data[self.at] == 0x6E else 5)
            return self._list(type_, None, depth)
        if tag == 0x76:
            type_ = str(self._numbered(self.types, "type"))
            return self._list(type_, self._count(), depth)
        raise self.fail(f"no value begins with {tag:02x}")

    def _in_final(self, tag: int, depth: int) -> Any:
        if tag == 0x4F or 0x60 <= tag <= 0x6F:
            return self._instance(None if tag == 0x4F else tag - 0x60, depth)
        if tag == 0x51:
            return self._numbered(self.references, "reference")
        if tag in b"JK":
            return self._date(
                self._signed(8 if tag == 0x4A else 4), "milliseconds" if tag == 0x4A else "minutes"
            )
        if tag in b"HM":
            return self._map(self._type() if tag == 0x4D else "", depth)
        if tag in b"UVWX" or 0x70 <= tag <= 0x7F:
            type_ = self._type() if tag in b"UV" or 0x70 <= tag <= 0x77 else ""
            count = None if tag in b"UW" else self._count() if tag in b"VX" else tag & 7
            return self._list(type_, count, depth)
        raise self.fail(f"no value begins with {tag:02x}")


class Writer:
    """Writes values one after the other; behind what a reader has read, its numbers go on.

    Attributes:
        numbered: how often something was said by a number, as of a reader.
    """

    def __init__(self, *, draft: bool) -> None:
        self.data = bytearray()
        self.numbered = 0
        self._draft = draft
        self._of = _DRAFT if draft else _FINAL
        self._kept: list[Any] = []
        self._references: dict[int, int] = {}
        self._types: dict[str, int] = {}
        self._type_count = 0
        self._classes: dict[tuple[str, tuple[str, ...]], int] = {}
        self._class_count = 0

    def go_on_behind(
        self, references: list[Any], types: list[str], classes: list[tuple[str, tuple[str, ...]]]
    ) -> None:
        """What stands in front, as a reader has it."""
        self._kept = references
        self._references = {id(one): number for number, one in enumerate(references)}
        self._types = {one: number for number, one in enumerate(types)}
        self._classes = {one: number for number, one in enumerate(classes)}
        self._type_count, self._class_count = len(types), len(classes)

    def write(self, value: Any, depth: int = 0) -> None:
        """Append a value.

        Raises:
            LocalProtocolError: Hessian has no such value, or it is nested deeper than 200.
        """
        if depth > _MAX_DEPTH:
            raise LocalProtocolError(f"hessian: nested deeper than {_MAX_DEPTH}")
        if value is None or isinstance(value, bool):
            self.data += b"N" if value is None else b"T" if value else b"F"
        elif isinstance(value, int):
            self._integer(value)
        elif isinstance(value, float):
            zero, one, *_ = self._of.doubles
            short = {b"\0\0\0\0\0\0\0\0": zero, struct.pack(">d", 1): one}.get(
                raw := struct.pack(">d", value)
            )
            self.data += b"D" + raw if short is None else bytes([short])
        elif isinstance(value, str):
            self._text(value)
        elif isinstance(value, bytes | bytearray):
            self._binary(bytes(value))
        elif isinstance(value, datetime.datetime):
            if value.tzinfo is None:
                raise LocalProtocolError("hessian: a datetime without a zone says no time")
            self.data.append(self._of.date)
            self.data += struct.pack(">q", (value - _EPOCH) // datetime.timedelta(milliseconds=1))
        else:
            self._container(value, depth)

    def _integer(self, value: int) -> None:
        is_long = isinstance(value, Long) or not -(2**31) <= value < 2**31
        if not -(2**63) <= value < 2**63:
            raise LocalProtocolError(f"hessian: {value} does not fit 64 bits")
        if is_long:
            if -8 <= value <= 15:
                self.data.append(0xE0 + value)
            elif -(2**31) <= value < 2**31:
                self.data += bytes([self._of.long]) + struct.pack(">i", value)
            else:
                self.data += b"L" + struct.pack(">q", value)
        elif -16 <= value <= 47:
            self.data.append(0x90 + value)
        else:
            self.data += b"I" + struct.pack(">i", value)

    def _text(self, value: str) -> None:
        utf16 = value.encode("utf-16-be", "surrogatepass")
        units, at = len(utf16) // 2, 0
        while units - at > _CHUNK:
            end = at + _CHUNK
            if 0xD8 <= utf16[2 * end - 2] <= 0xDB:
                end -= 1  # a pair stays together
            self.data += (
                bytes([self._of.text_part]) + struct.pack(">H", end - at) + _alone(utf16[2 * at : 2 * end])
            )
            at = end
        left = units - at
        self.data += bytes([left]) if left < 0x20 else b"S" + struct.pack(">H", left)
        self.data += _alone(utf16[2 * at :])

    def _binary(self, value: bytes) -> None:
        while len(value) > _CHUNK:
            self.data += bytes([self._of.binary_part]) + struct.pack(">H", _CHUNK) + value[:_CHUNK]
            value = value[_CHUNK:]
        self.data += bytes([0x20 + len(value)]) if len(value) < 16 else b"B" + struct.pack(">H", len(value))
        self.data += value

    def _container(self, value: Any, depth: int) -> None:
        if id(value) in self._references:
            self._refer(self._references[id(value)])
            return
        if not isinstance(value, list | tuple | dict | Object):
            raise LocalProtocolError(f"hessian: cannot write a {type(value).__name__}")
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
        if not self._draft:
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
            self.data += b"u" if self._draft else b""
            self._integer(self._types[name])
            return
        self._types[name] = self._type_count
        self._type_count += 1
        if not self._draft:
            self._text(name)
            return
        utf16 = name.encode("utf-16-be", "surrogatepass")
        if len(utf16) > 2 * 0xFFFF:
            raise LocalProtocolError("hessian: a type's name has over 65,535 characters")
        self.data += b"t" + struct.pack(">H", len(utf16) // 2) + _alone(utf16)

    def _list(self, value: list[Any] | tuple[Any, ...], depth: int) -> None:
        name = getattr(value, "type_name", "")
        self.data += b"V" if self._draft or name else b"X"
        if name:
            self._type(name)
        if self._draft:
            self.data += b"l" + struct.pack(">i", len(value))
        else:
            self._integer(len(value))
        for item in value:
            self.write(item, depth + 1)
        if self._draft:
            self.data.append(self._of.end)

    def _map(self, value: dict[Any, Any], depth: int) -> None:
        name = getattr(value, "type_name", "")
        self.data += b"M" if self._draft or name else b"H"
        if name:
            self._type(name)
        for key, item in value.items():
            self.write(key, depth + 1)
            self.write(item, depth + 1)
        self.data.append(self._of.end)

    def _object(self, value: Object, depth: int) -> None:
        key = (value.class_name, tuple(value.fields))
        if wrong := [one for one in (value.class_name, *value.fields) if not isinstance(one, str)]:
            raise LocalProtocolError(f"hessian: an object's class and fields have names, not {wrong[0]!r}")
        if key not in self._classes:
            self._classes[key] = self._class_count
            self._class_count += 1
            self.data.append(self._of.definition)
            if self._draft:
                utf16 = value.class_name.encode("utf-16-be", "surrogatepass")
                self._integer(len(utf16) // 2)
                self.data += _alone(utf16)
            else:
                self._text(value.class_name)
            self._integer(len(value.fields))
            for field in value.fields:
                self._text(field)
        self.numbered += 1
        self.data.append(self._of.instance)
        self._integer(self._classes[key])
        for item in value.fields.values():
            self.write(item, depth + 1)


def _alone(utf16: bytes) -> bytes:
    """Each UTF-16 unit written alone."""
    if not any(0xD8 <= high <= 0xDF for high in utf16[::2]):
        return utf16.decode("utf-16-be").encode()
    units = (chr(unit) for (unit,) in struct.iter_unpack(">H", utf16))
    return "".join(units).encode("utf-8", "surrogatepass")
