"""Hessian's bytes to values."""

from __future__ import annotations

import datetime
import struct
from typing import TYPE_CHECKING, Any, ClassVar

from protokit.errors import RemoteProtocolError
from protokit.hessian.dialects import HESSIAN2, MAX_DEPTH, Dialect, Long, Object, Tag, TypedList, TypedMap

if TYPE_CHECKING:
    from collections.abc import Callable

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_CONSTANTS = {0x4E: None, 0x54: True, 0x46: False}
_NONE = Tag("none")


class Reader:
    """Reads values one after the other from a body; they share references, types and classes.

    Args:
        data: the body.
        dialect: in which it is.

    Attributes:
        at: where the next value begins.
        references, types, classes: what later ones may name by its number.
        numbered: how often something was said by one: a reference, a type, an object's class.
        lowest: the least reference that was met.
    """

    def __init__(self, data: bytes, dialect: Dialect = HESSIAN2) -> None:
        self.data = data
        self.dialect = dialect
        self.at = 0
        self.numbered = 0
        self.lowest = len(data)
        self.references: list[Any] = []
        self.types: list[str] = []
        self.classes: list[tuple[str, tuple[str, ...]]] = []

    @property
    def done(self) -> bool:
        """Whether everything was read."""
        return self.at >= len(self.data)

    def read(self, depth: int = 0) -> Any:
        """The next value.

        Raises:
            RemoteProtocolError: the bytes are no Hessian value, or nested deeper than 200.
        """
        if depth > MAX_DEPTH:
            raise self._fail(f"nested deeper than {MAX_DEPTH}")
        tag = self._tag()
        kind = self._of(tag).kind
        while kind == "class":
            self._class()
            tag = self._tag()
            kind = self._of(tag).kind
        if kind not in self._READ:
            self.at -= 1
            raise self._fail(f"no value begins with {tag:02x}")
        return self._READ[kind](self, tag, depth)

    def _fail(self, what: str) -> RemoteProtocolError:
        return RemoteProtocolError(f"{self.dialect.name}: {what}", self.at)

    def _take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.at:
            raise self._fail(f"expected {size} more bytes, there are {len(self.data) - self.at}")
        self.at += size
        return self.data[self.at - size : self.at]

    def _tag(self) -> int:
        return self._take(1)[0]

    def _of(self, tag: int) -> Tag:
        return self.dialect.tags.get(tag, _NONE)

    def _is(self, tags: bytes) -> bool:
        """Whether one of these stands here; it is not taken."""
        return not self.done and self.data[self.at] in tags

    # Numbers.

    def _number(self, tag: int, depth: int = 0) -> int:  # noqa: ARG002  # as all that read a value
        """That of a tag and of the bytes behind it."""
        of = self._of(tag)
        if of.size is None:
            return self._integer()
        raw = self._take(of.size)
        if of.size >= 4:
            return int.from_bytes(raw, "big", signed=True)
        return (tag - of.zero << 8 * of.size) + int.from_bytes(raw, "big")

    def _long(self, tag: int, depth: int) -> Long:
        return Long(self._number(tag, depth))

    def _integer(self) -> int:
        tag = self._tag()
        if self._of(tag).kind not in {"int", "long"}:
            raise self._fail("expected an int")
        return self._number(tag)

    def _count(self, number: int | None = None) -> int:
        found = self._integer() if number is None else number
        if not 0 <= found <= len(self.data) - self.at:
            raise self._fail(f"a count of {found}, more than the bytes that are left")
        return found

    def _numbered(self, known: list[Any], what: str, number: int) -> Any:
        if not 0 <= number < len(known):
            raise self._fail(f"{what} {number}, of {len(known)}")
        self.numbered += 1
        return known[number]

    def _double(self, tag: int, depth: int) -> float:  # noqa: ARG002
        of = self._of(tag)
        if not of.size:
            return float(tag - of.zero)
        raw = self._take(of.size)
        if of.size == 8 or (of.size == 4 and self.dialect.draft):
            return float(struct.unpack(">d" if of.size == 8 else ">f", raw)[0])
        return int.from_bytes(raw, "big", signed=True) * (0.001 if of.size == 4 else 1.0)

    def _date(self, tag: int, depth: int) -> datetime.datetime:
        try:
            return _EPOCH + datetime.timedelta(**{self._of(tag).kind: self._number(tag, depth)})
        except OverflowError:
            raise self._fail("a date outside the years 1 to 9999") from None

    # Texts and binaries.

    def _text(self, tag: int, depth: int = 0) -> str:
        parts = []
        while (kind := self._of(tag).kind) in {"text", "text part"}:
            parts.append(self._units(self._number(tag, depth)))
            if kind == "text":
                utf16 = "".join(parts).encode("utf-16-be", "surrogatepass")
                return utf16.decode("utf-16-be", "surrogatepass")
            tag = self._tag()
        raise self._fail("expected a text")

    def _units(self, units: int) -> str:
        """So many UTF-16 units."""
        start = at = self.at
        data = self.data
        while units > 0:
            if at >= len(data):
                raise self._fail("a text is longer than the bytes that are left")
            lead = data[at]
            size = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            at += size
            units -= 2 if size == 4 else 1
        if units < 0:
            raise self._fail("a text ends in the middle of a character")
        self.at = at
        try:
            return data[start:at].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            self.at = start + error.start
            raise self._fail("a text is no UTF-8") from None

    def _binary(self, tag: int, depth: int) -> bytes:
        parts = []
        while (kind := self._of(tag).kind) in {"binary", "binary part"}:
            parts.append(self._take(self._number(tag, depth)))
            if kind == "binary":
                return b"".join(parts)
            tag = self._tag()
        raise self._fail("expected a part of a binary")

    # Types and classes.

    def _type(self) -> str:
        """What stands in front of what is in a container; in the draft it may be missing."""
        if self.dialect.draft:
            if not self._is(b"tu"):
                return ""
            name = self._units(int.from_bytes(self._take(2), "big")) if self._tag() == 0x74 else None
        else:
            tag = self._tag()
            named = self._of(tag).kind in {"text", "text part"}
            self.at -= not named
            name = self._text(tag) if named else None
        if name is None:
            return str(self._numbered(self.types, "type", self._integer()))
        if name or not self.dialect.draft:
            self.types.append(name)
        return name

    def _class(self) -> None:
        name = self._units(self._count()) if self.dialect.draft else self._text(self._tag())
        self.classes.append((name, tuple(self._text(self._tag()) for _ in range(self._count()))))

    # Containers.

    def _constant(self, tag: int, depth: int) -> Any:  # noqa: ARG002
        return _CONSTANTS[tag]

    def _reference(self, tag: int, depth: int) -> Any:
        number = self._number(tag, depth)
        found = self._numbered(self.references, "reference", number)
        self.lowest = min(self.lowest, number)
        return found

    def _object(self, tag: int, depth: int) -> Object:
        name, fields = self._numbered(self.classes, "class", self._number(tag, depth))
        found = Object(name, {})
        self.references.append(found)
        for field in fields:
            found.fields[field] = self.read(depth + 1)
        return found

    def _list(self, tag: int, depth: int) -> list[Any]:
        of = self._of(tag)
        name = ""
        if of.typed and self.dialect.draft:
            name = str(self._numbered(self.types, "type", self._integer()))
        elif of.typed:
            name = self._type()
        return self._filled(name, self._count(self._number(tag) if of.size == 0 else None), depth)

    def _values(self, tag: int, depth: int) -> list[Any]:
        name = self._type() if self._of(tag).typed else ""
        if self.dialect.draft and self._is(b"nl"):  # its length, which its end says as well
            self._take(1 if self._tag() == 0x6E else 4)
        return self._filled(name, None, depth)

    def _filled(self, name: str, count: int | None, depth: int) -> list[Any]:
        found: list[Any] = []
        if name:
            found = TypedList()
            found.type_name = name
        self.references.append(found)
        while not self._ends() if count is None else len(found) < count:
            found.append(self.read(depth + 1))
        return found

    def _map(self, tag: int, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        if name := self._type() if self._of(tag).typed else "":
            found = TypedMap()
            found.type_name = name
        self.references.append(found)
        kinds: dict[Any, type] = {}
        while not self._ends():
            key = self.read(depth + 1)
            try:
                kind = kinds.setdefault(key, type(key))
            except TypeError:
                raise self._fail(f"a map's key is a {type(key).__name__}") from None
            if kind is not type(key):  # an int, a long, a double, true: who writes them again would lose one
                raise self._fail(f"two keys of a map that are one in a dict, {key!r}")
            found[key] = self.read(depth + 1)
        return found

    def _ends(self) -> bool:
        ended = self._is(bytes([self.dialect.end]))
        self.at += ended
        return ended

    _READ: ClassVar[dict[str, Callable[[Reader, int, int], Any]]] = {
        "constant": _constant,
        "int": _number,
        "long": _long,
        "double": _double,
        "milliseconds": _date,
        "minutes": _date,
        "text": _text,
        "text part": _text,
        "binary": _binary,
        "binary part": _binary,
        "reference": _reference,
        "object": _object,
        "list": _list,
        "values": _values,
        "map": _map,
    }
