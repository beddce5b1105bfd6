"""Hessian bodies in plain Python, for tools and tests: both dialects of Hessian 2 that bolt carries.

``{"$class": ..., field: ...}`` is an object, ``$list`` and ``$map`` typed ones, ``$ref`` a reference,
``$long`` a long, ``$date`` milliseconds, ``$bytes`` and ``$string_units`` what is long.
"""

# ruff: noqa: D102  # each method reads what it is named after

from __future__ import annotations

import hashlib
import math
import struct
from typing import Any

from protokit.errors import RemoteProtocolError

STACK = "[java.lang.StackTraceElement"
LONG_TEXT = 1000
DOUBLES = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class Values:
    """The values of one body, one after the other.

    ``places`` says where the numbers of classes stand; ``numbered`` is what references can name.
    """

    def __init__(self, data: bytes, *, draft: bool | None = None) -> None:
        self.data = data
        self.at = 0
        self.draft = data[:1] != b"C" if draft is None else draft
        self.places: list[int] = []
        self.numbered = 0
        self.classes: list[tuple[str, list[str]]] = []
        self.types: list[str] = []

    def must(self, condition: bool, why: str) -> None:  # noqa: FBT001  # reads as a sentence
        if not condition:
            raise RemoteProtocolError(why, self.at)

    def take(self, size: int) -> bytes:
        self.must(0 <= size <= len(self.data) - self.at, f"{size} bytes at {self.at} of {len(self.data)}")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def units(self, count: int) -> bytes:
        """So many UTF-16 units, as UTF-16."""
        found = b""
        while len(found) < 2 * count:
            first = self.data[self.at]
            size = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            found += self.take(size).decode("utf-8", "surrogatepass").encode("utf-16-be", "surrogatepass")
        self.must(len(found) == 2 * count, "half a character")
        return found

    def text(self, tag: int) -> Any:
        found = b""
        more = 0x73 if self.draft else 0x52
        while True:
            if tag < 0x20:
                size = tag
            elif 0x30 <= tag <= 0x33 and not self.draft:
                size = (tag - 0x30) << 8 | self.number(">B")
            else:
                self.must(tag in {0x53, more}, f"{tag:02x} is no text")
                size = self.number(">H")
            found += self.units(size)
            if tag != more:
                return found.decode("utf-16-be", "surrogatepass")
            tag = self.number(">B")

    def integer(self, tag: int) -> int | None:
        for first, last, zero, size in ((0x80, 0xBF, 0x90, 0), (0xC0, 0xCF, 0xC8, 1), (0xD0, 0xD7, 0xD4, 2)):
            if first <= tag <= last:
                return ((tag - zero) << 8 * size) + int.from_bytes(self.take(size), "big")
        return int(self.number(">i")) if tag == 0x49 else None

    def long(self, tag: int) -> int | None:
        for first, last, zero, size in ((0xD8, 0xEF, 0xE0, 0), (0xF0, 0xFF, 0xF8, 1), (0x38, 0x3F, 0x3C, 2)):
            if first <= tag <= last:
                return ((tag - zero) << 8 * size) + int.from_bytes(self.take(size), "big")
        if tag == (0x77 if self.draft else 0x59):
            return int(self.number(">i"))
        return int(self.number(">q")) if tag == 0x4C else None

    def double(self, tag: int) -> float | None:
        small = {0x67: 0.0, 0x68: 1.0} if self.draft else {0x5B: 0.0, 0x5C: 1.0}
        if tag in small:
            return small[tag]
        if tag == (0x69 if self.draft else 0x5D):
            return float(self.number(">b"))
        if tag == (0x6A if self.draft else 0x5E):
            return float(self.number(">h"))
        if tag == (0x6B if self.draft else 0x5F):
            return float(self.number(">f") if self.draft else self.number(">i") * 0.001)
        return float(self.number(">d")) if tag == 0x44 else None

    def binary(self, tag: int) -> bytes:
        found = b""
        while True:
            if 0x20 <= tag <= 0x2F:
                return found + self.take(tag - 0x20)
            if 0x34 <= tag <= 0x37 and not self.draft:
                return found + self.take((tag - 0x34) << 8 | self.number(">B"))
            self.must(tag in {0x42, 0x62 if self.draft else 0x41}, f"{tag:02x} is no value")
            found += self.take(self.number(">H"))
            if tag == 0x42:
                return found
            tag = self.number(">B")

    def count(self) -> int:
        found = self.integer(self.number(">B"))
        self.must(found is not None, "no count")
        return int(found or 0)

    def definition(self) -> None:
        name = self.units(self.count()).decode("utf-16-be") if self.draft else self.text(self.number(">B"))
        self.classes.append((name, [self.text(self.number(">B")) for _ in range(self.count())]))

    def type(self) -> str:
        if self.draft:
            if self.data[self.at] not in b"tu":
                return ""
            if self.number(">B") == 0x75:
                return self.types[self.count()]
            name = self.units(self.number(">H")).decode("utf-16-be")
        else:
            tag = self.number(">B")
            index = self.integer(tag)
            if index is not None:
                return self.types[index]
            name = self.text(tag)
        if name:
            self.types.append(name)
        return name

    def ended(self) -> bool:
        if self.data[self.at] != (0x7A if self.draft else 0x5A):
            return False
        self.at += 1
        return True

    def value(self) -> Any:
        tag = self.number(">B")
        while tag == (0x4F if self.draft else 0x43):
            self.definition()
            tag = self.number(">B")
        if tag in b"NTF":
            return {0x4E: None, 0x54: True, 0x46: False}[tag]
        if tag < 0x20 or tag in (b"Ss" if self.draft else b"SR0123"):
            return _text(self.text(tag))
        for read in (self.integer, self.double):
            number = read(tag)
            if number is not None:
                return number if math.isfinite(number) else {"$double": DOUBLES[repr(number)]}
        long = self.long(tag)
        if long is not None:
            return {"$long": str(long)}
        container = self.in_draft(tag) if self.draft else self.in_final(tag)
        return _bytes(self.binary(tag)) if container is NotImplemented else container

    def instance(self, index: int) -> Any:
        self.places.append(self.at - 1)
        self.numbered += 1
        name, fields = self.classes[index]
        return {"$class": name, **{field: self.value() for field in fields}}

    def many(self, kind: str, count: int | None) -> Any:
        self.numbered += 1
        items: list[Any] = []
        while not self.ended() if count is None else len(items) < count:
            items.append(self.value())
        if kind == STACK:
            return {"$frames": len(items)}
        return {"$class": kind, "$list": items} if kind else items

    def map(self, kind: str) -> Any:
        self.numbered += 1
        found = []
        while not self.ended():
            key = self.value()
            found.append([key, self.value()])
        if not all(isinstance(key, str) for key, _ in found):
            return {"$class": kind, "$pairs": found} if kind else {"$pairs": found}
        return {"$class": kind, "$map": dict(found)} if kind else dict(found)

    def in_draft(self, tag: int) -> Any:
        if tag == 0x6F:
            return self.instance(self.count())
        if tag in b"JKR":
            return {"$ref": self.number({0x4A: ">B", 0x4B: ">H", 0x52: ">I"}[tag])}
        if tag == 0x64:
            return {"$date": self.number(">q")}
        if tag == 0x4D:
            return self.map(self.type())
        if tag == 0x56:
            kind = self.type()
            if self.data[self.at] in b"nl":
                self.take(2 if self.data[self.at] == 0x6E else 5)  # its length
            return self.many(kind, None)
        if tag == 0x76:
            kind = self.types[self.count()]
            return self.many(kind, self.count())
        return NotImplemented

    def in_final(self, tag: int) -> Any:
        if tag == 0x4F or 0x60 <= tag <= 0x6F:
            return self.instance(self.count() if tag == 0x4F else tag - 0x60)
        if tag == 0x51:
            return {"$ref": self.count()}
        if tag in b"JK":
            return {"$date": self.number(">q") if tag == 0x4A else self.number(">i") * 60_000}
        if tag in b"HM":
            return self.map(self.type() if tag == 0x4D else "")
        if tag in b"UVWX" or 0x70 <= tag <= 0x7F:
            kind = self.type() if tag in b"UV" or 0x70 <= tag <= 0x77 else ""
            count = None if tag in b"UW" else self.count() if tag in b"VX" else tag & 7
            return self.many(kind, count)
        return NotImplemented

    def rest(self) -> list[Any]:
        found = []
        while self.at < len(self.data):
            found.append(self.value())
        return found


def _text(text: str) -> Any:
    raw = text.encode("utf-16-be", "surrogatepass")
    if any("\ud800" <= one <= "\udfff" for one in text):
        return {"$utf16be": raw.hex()}
    if len(raw) <= 2 * LONG_TEXT:
        return text
    return {
        "$string_units": len(raw) // 2,
        "head": text[:24],
        "sha256_utf16be": hashlib.sha256(raw).hexdigest(),
    }


def _bytes(data: bytes) -> Any:
    return {"$bytes": len(data), "head": data[:32].hex()}
