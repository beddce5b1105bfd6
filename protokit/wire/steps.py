"""Steps that come with the core, each with its reference in Python.

Both find strings in Hessian bodies: of Hessian 2.0, and of the draft that sofa-hessian writes (H1).
Facts: the Hessian 2.0 grammar, and bytes of hessian-lite 4 and sofa-hessian 3.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.errors import RemoteProtocolError, word
from protokit.wire.views import Found, Step
from protokit.wire.words import step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DEPTH = 16384
_CLASSES = 4096
_VALUES, _PAIRS, _HALF = -1, -2, -3  # up to a mark; after a key of a pair


class _LimitError(RemoteProtocolError):
    """More than the step reads; whoever receives the frame may read it."""


class _Walker:
    """Reads values of the draft as far as their strings matter; all others become None."""

    def __init__(self, data: bytes, *, draft: bool) -> None:
        self.data = data
        self.at = 0
        self.draft = draft
        self.classes: list[list[bytes | None]] = []

    def take(self, size: int) -> bytes:
        if size < 0 or size > len(self.data) - self.at:
            raise RemoteProtocolError(f"{size} bytes expected, {len(self.data) - self.at} left", self.at)
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def units(self, count: int) -> bytes:
        start = self.at
        while count > 0:
            first = self.data[self.at] if self.at < len(self.data) else 0x80
            size = (
                1 if first < 0x80 else 0 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            )
            if size == 0 or first >= 0xF8:
                raise RemoteProtocolError("no UTF-8", self.at)
            self.take(size)
            count -= 2 if size == 4 else 1
        if count < 0:
            raise RemoteProtocolError("a pair of surrogates is cut", self.at)
        return self.data[start : self.at]

    def string(self, tag: int) -> bytes | None:
        """Of the tag just taken; None for one that is read otherwise. Raises LookupError when it is none."""
        chunks, plain = 0, True
        while True:
            if tag < 0x20:
                size, more = tag, False
            elif not self.draft and 0x30 <= tag <= 0x33:
                size, more = (tag - 0x30) << 8 | self.number(1), False
            elif tag in {0x53, 0x73 if self.draft else 0x52}:
                size, more = self.number(2), tag != 0x53
            elif chunks:
                raise RemoteProtocolError(f"{tag:02x} is no chunk of a string", self.at - 1)
            else:
                raise LookupError
            text = self.units(size)
            chunks, plain = chunks + 1, plain and _is_shortest(text)
            if not more:
                return text if chunks == 1 and plain else None
            tag = self.number(1)

    def text(self) -> bytes | None:
        """The text that stands here; past a value that is none."""
        back = self.at
        try:
            return self.whole(self.number(1))
        except LookupError:
            self.at = back
            self.skip()
            return None

    def whole(self, tag: int) -> bytes:
        """As ``string``, of one that has to be read."""
        text = self.string(tag)
        if text is None:
            raise _LimitError("a text is in chunks, or a character in more bytes than it needs", self.at)
        return text

    def integer(self) -> int:
        tag = self.number(1)
        if 0x80 <= tag <= 0xBF:
            return tag - 0x90
        if 0xC0 <= tag <= 0xCF:
            return (tag - 0xC8) * 256 + self.number(1)
        if 0xD0 <= tag <= 0xD7:
            return (tag - 0xD4) * 65536 + self.number(2)
        if 0xD8 <= tag <= 0xEF:
            return tag - 0xE0
        if tag >= 0xF0:
            return (tag - 0xF8) * 256 + self.number(1)
        if 0x38 <= tag <= 0x3F:
            return (tag - 0x3C) * 65536 + self.number(2)
        if tag in {0x49, 0x4C, 0x77 if self.draft else 0x59}:
            return int.from_bytes(self.take(8 if tag == 0x4C else 4), "big", signed=True)
        raise RemoteProtocolError(f"{tag:02x} is no int", self.at - 1)

    def count(self) -> int:
        count = self.integer()
        if not 0 <= count <= len(self.data) - self.at:
            raise RemoteProtocolError(
                f"a count of {count} with {len(self.data) - self.at} bytes left", self.at
            )
        return count

    def class_definition(self) -> None:
        if self.draft:
            self.units(self.count())
        else:
            self.name()
        fields = self.count()
        if len(self.classes) == _CLASSES:
            raise _LimitError("too many classes", self.at)
        self.classes.append([self.name() for _ in range(fields)])

    def tag(self) -> int:
        """A value's, behind the classes in front of it."""
        while (tag := self.number(1)) == (0x4F if self.draft else 0x43):
            self.class_definition()
        return tag

    def name(self) -> bytes | None:
        try:
            return self.string(self.number(1))
        except LookupError:
            raise RemoteProtocolError("a name is no string", self.at) from None

    def instance(self, tag: int) -> list[bytes | None]:
        index = self.integer() if self.draft or tag == 0x4F else tag - 0x60
        if not 0 <= index < len(self.classes):
            raise RemoteProtocolError(f"class {index} is not defined", self.at)
        return self.classes[index]

    def skip(self) -> None:
        """Past one value and all that is in it."""
        self.skip_behind(self.tag())

    def skip_behind(self, tag: int) -> None:
        """The same, of the tag just taken."""
        inside: list[int] = []
        while True:
            values = self.open(tag)
            if values != 0:
                if len(inside) == _DEPTH:
                    raise _LimitError("values are nested too deeply", self.at)
                inside.append(values)
            while inside:
                if inside[-1] == _HALF:
                    inside[-1] = _PAIRS
                    break
                if inside[-1] > 0:
                    inside[-1] -= 1
                    break
                if inside[-1] < 0 and not self.ends():
                    if inside[-1] == _PAIRS:
                        inside[-1] = _HALF
                    break
                inside.pop()
            if not inside:
                return
            tag = self.tag()

    def open(self, tag: int) -> int:
        """Past a value but for what is in it: how many values that are, or what ends at a mark."""
        try:
            self.string(tag)
        except LookupError:
            pass
        else:
            return 0
        fixed = _fixed_size(tag, draft=self.draft)
        if fixed is not None:
            self.take(fixed)
            return 0
        return self.open_draft(tag) if self.draft else self.open_final(tag)

    def open_draft(self, tag: int) -> int:
        if tag == 0x6F:
            return self.inside(len(self.instance(tag)))
        if tag in {0x4D, 0x56}:
            self.type()
            if tag == 0x56 and self.data[self.at : self.at + 1] in {b"n", b"l"}:
                self.take(1 if self.number(1) == 0x6E else 4)
            return _PAIRS if tag == 0x4D else _VALUES
        if tag == 0x76:
            self.integer()
            return self.count()
        self.binary(tag)
        return 0

    def open_final(self, tag: int) -> int:
        if tag == 0x4F or 0x60 <= tag <= 0x6F:
            return self.inside(len(self.instance(tag)))
        if 0x78 <= tag <= 0x7F:
            return self.inside(tag - 0x78)
        if tag == 0x51:
            self.integer()
            return 0
        if tag in {0x48, 0x57}:
            return _PAIRS if tag == 0x48 else _VALUES
        if tag == 0x58:
            return self.count()
        if tag in {0x4D, 0x55, 0x56} or 0x70 <= tag <= 0x77:
            self.type()
            ended = {0x4D: _PAIRS, 0x55: _VALUES}
            return ended[tag] if tag in ended else self.count() if tag == 0x56 else self.inside(tag - 0x70)
        self.binary(tag)
        return 0

    def inside(self, values: int) -> int:
        """Each takes a byte at least."""
        if values > len(self.data) - self.at:
            raise RemoteProtocolError(f"{values} values with {len(self.data) - self.at} bytes left", self.at)
        return values

    def entries(self, tag: int, wanted: Sequence[bytes]) -> Iterator[bytes | None]:
        """The keys of the object or map of the tag just taken; whoever asks steps over their values.

        Of an object only those up to the last that is wanted: of a name that stands twice the last counts.
        """
        if tag == 0x4D or (tag == 0x48 and not self.draft):
            if tag == 0x4D:
                self.type()
            while not self.ends():
                tag = self.tag()
                try:
                    yield self.whole(tag)
                except LookupError:
                    self.skip_behind(tag)
                    yield None
        elif tag == 0x6F if self.draft else tag == 0x4F or 0x60 <= tag <= 0x6F:
            names = self.instance(tag)
            last = max((i + 1 for i, name in enumerate(names) if name in wanted or name is None), default=0)
            for name in names[:last]:
                if name is None:
                    raise _LimitError("a name is in chunks, or in more bytes than it needs", self.at)
                yield name

    def type(self) -> None:
        following = self.data[self.at : self.at + 1]
        if not self.draft:
            try:
                self.string(self.number(1))
            except LookupError:
                self.at -= 1
                self.integer()
        elif following == b"t":
            self.take(1)
            self.units(self.number(2))
        elif following == b"u":
            self.take(1)
            self.integer()
        elif not following:
            raise RemoteProtocolError("a type is expected", self.at)

    def ends(self) -> bool:
        """Whether the mark of an end stands here; steps over it."""
        if self.at == len(self.data):
            raise RemoteProtocolError("a list or map does not end", self.at)
        if self.data[self.at] != (0x7A if self.draft else 0x5A):
            return False
        self.at += 1
        return True

    def binary(self, tag: int) -> None:
        while True:
            if 0x20 <= tag <= 0x2F:
                self.take(tag - 0x20)
                return
            if not self.draft and 0x34 <= tag <= 0x37:
                self.take((tag - 0x34) << 8 | self.number(1))
                return
            if tag not in {0x42, 0x62 if self.draft else 0x41}:
                raise RemoteProtocolError(f"{tag:02x} is no value", self.at - 1)
            self.take(self.number(2))
            if tag == 0x42:
                return
            tag = self.number(1)


def _is_shortest(text: bytes) -> bool:
    """Whether no character takes more bytes than it needs, which its receiver would read all the same."""
    try:
        text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _fixed_size(tag: int, *, draft: bool) -> int | None:
    if 0x80 <= tag <= 0xBF or 0xD8 <= tag <= 0xEF:
        return 0
    if 0xC0 <= tag <= 0xCF or tag >= 0xF0:
        return 1
    if 0xD0 <= tag <= 0xD7 or 0x38 <= tag <= 0x3F:
        return 2
    if not draft:
        final = {b"NTF\x5b\x5c": 0, b"\x5d": 1, b"\x5e": 2, b"I\x59\x5f\x4b": 4, b"LD\x4a": 8}
        return next((size for tags, size in final.items() if tag in tags), None)
    sizes = {b"NTF\x67\x68": 0, b"\x69\x4a": 1, b"\x6a\x4b": 2, b"I\x77\x6bR": 4, b"LDd": 8}
    return next((size for tags, size in sizes.items() if tag in tags), None)


def _hessian_fields(section: bytes, arguments: Sequence[bytes], count: int) -> list[bytes | None]:
    found: list[bytes | None] = [None] * count
    wanted = list(arguments)[:count]
    if section[:1] not in {b"O", b"C", b"M"}:
        return found
    walker = _Walker(section, draft=section[:1] == b"O" or section[:2] == b"Mt")
    try:
        for name in walker.entries(walker.tag(), wanted):
            if name not in wanted:
                walker.skip()
            else:
                found[wanted.index(name)] = walker.text()
    except _LimitError:
        raise
    except RemoteProtocolError:
        return [None] * count
    return found


def _hessian2_strings(section: bytes, arguments: Sequence[bytes], count: int) -> list[bytes | None]:  # noqa: ARG001
    found: list[bytes | None] = [None] * count
    walker = _Walker(section, draft=False)
    try:
        for i in range(count):
            if walker.at == len(section):
                break
            tag = walker.number(1)
            found[i] = None if tag == 0x4E else walker.whole(tag)
    except LookupError:
        return found
    except _LimitError:
        raise
    except RemoteProtocolError:
        return [None] * count
    return found


HESSIAN_FIELDS = Step("hessian_fields", lambda: native.step_address("hessian_fields"), _hessian_fields)
HESSIAN2_STRINGS = Step(
    "hessian2_strings", lambda: native.step_address("hessian2_strings"), _hessian2_strings
)


@word
def hessian_fields(section: Any, *names: str) -> Found:
    """Strings in fields, by name, of the object in front, in Hessian 2.0 or its draft (sofa-hessian)."""
    return step(HESSIAN_FIELDS, section, *names, count=len(names))


@word
def hessian2_strings(section: Any, count: int) -> Found:
    """The first strings of a section, in Hessian 2.0; null is absent."""
    return step(HESSIAN2_STRINGS, section, count=count)
