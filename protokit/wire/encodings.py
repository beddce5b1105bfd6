"""How a map's pairs stand in a section: a length before each, or separators between."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import construct

from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire.given import flag, seen, text_of, within

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

SKIPPED = 7  # lines in front of a map, at most
FIRST, LAST = "first", "last"  # which counts of a key that stands twice


class PairEncoding:
    """A length before each key and each value; -1 in a signed one is null."""

    name = "pairs"
    keys = ()  # whatever key is asked for may stand there
    repeated = LAST

    def folded(self, key: bytes) -> bytes:
        """As keys are compared."""
        return key

    def stripped(self, value: bytes) -> bytes:
        """As it stands."""
        return value

    def only(self, items: list[tuple[bytes | None, bytes | None]], key: bytes) -> bytes | None:
        """The last value of a key."""
        return dict(items).get(key)

    def __repr__(self) -> str:
        return f"key={_integer(self.key)}, value={_integer(self.value)}"

    def __init__(self, key: Any, value: Any) -> None:
        for field in (key, value):
            if not isinstance(field, construct.FormatField | construct.BytesInteger):
                raise DeclarationError(
                    f"pairs: {seen(field)} was given; key and value are the integers in front, such as "
                    "Int32ub"
                )
        self.key = key
        self.value = value
        self._key, self._value = _reading(key), _reading(value)

    def _text(
        self, data: bytes, at: int, length: tuple[int, Callable[[bytes], int]]
    ) -> tuple[bytes | None, int]:
        width, read = length
        end = at + width
        if end > len(data):
            raise RemoteProtocolError("a length is cut off in a map", at)
        size = read(data[at:end])
        if size == -1:
            return None, end
        if size < 0 or size > len(data) - end:
            raise RemoteProtocolError(f"a text of {size} bytes in a map with {len(data) - end} left", at)
        return data[end : end + size], end + size

    def parse(self, data: bytes) -> list[tuple[bytes | None, bytes | None]]:
        """All pairs of a section."""
        items = []
        at = 0
        while at < len(data):
            key, at = self._text(data, at, self._key)
            value, at = self._text(data, at, self._value)
            items.append((key, value))
        return items

    def build(self, items: list[tuple[bytes | None, bytes | None]], _like: bytes = b"") -> bytes:
        """A section of those pairs."""
        texts = [
            (one, text) for pair in items for one, text in zip((self.key, self.value), pair, strict=True)
        ]
        try:
            lengths = [one.build(-1 if text is None else len(text)) for one, text in texts]
        except construct.ConstructError as error:
            raise LocalProtocolError(f"a text is too long for its length in a map: {error}") from error
        return b"".join(length + (text or b"") for length, (_, text) in zip(lengths, texts, strict=True))


def _reading(integer: Any) -> tuple[int, Callable[[bytes], int]]:
    """Its width, and what reads it: construct's own way to one integer is ten times as long."""
    width = int(integer.sizeof())
    if isinstance(integer, construct.FormatField):
        unpack = struct.Struct(integer.fmtstr).unpack
        return width, lambda data: int(unpack(data)[0])
    order: Literal["little", "big"] = "little" if integer.swapped else "big"
    signed = bool(integer.signed)
    return width, lambda data: int.from_bytes(data, order, signed=signed)


class LineEncoding:
    """Texts with a separator between key and value, and one after each pair (the last may lack it).

    Its arguments are those of ``lines``.
    """

    name = "lines"
    keys = ()

    def __repr__(self) -> str:
        more = ", ignore_case=True" * self.ignore_case
        more += f", trim={self.trim.decode()!r}" if self.trim else ""
        more += f", skip={self.skip}" if self.skip else ""
        more += f", repeated={self.repeated!r}" if self.repeated != LAST else ""
        return f"{self.between.decode()!r}, {self.after.decode()!r}{more}"

    def __init__(
        self,
        between: str,
        after: str,
        *,
        ignore_case: bool = False,
        trim: str = "",
        skip: int = 0,
        repeated: str = LAST,
    ) -> None:
        for separator in (between, after):
            text_of("lines", separator, r'separators are texts, as in lines(this.head, ": ", "\r\n")')
        flag("lines: ignore_case=", ignore_case)
        if not isinstance(trim, str) or not trim.isascii() or set(trim) & {between, after}:
            raise DeclarationError(
                f"lines: trim={seen(trim)} was given; it is ASCII characters around a value, such as ' \\t', "
                "and no separator"
            )
        within("lines: skip=", skip, 0, SKIPPED, f"0 to {SKIPPED} lines in front are no pairs")
        self.between = between.encode()
        self.after = after.encode()
        self.ignore_case = ignore_case
        self.trim = trim.encode()
        self.skip = skip
        if not isinstance(repeated, str) or repeated not in {FIRST, LAST}:
            raise DeclarationError(
                f"lines: repeated={seen(repeated)} was given; "
                "of a key that stands twice 'first' or 'last' counts"
            )
        self.repeated = repeated

    def folded(self, key: bytes) -> bytes:
        """As keys are compared."""
        return key.lower() if self.ignore_case else key

    def stripped(self, value: bytes) -> bytes:
        """Without what stands around it."""
        return value.strip(self.trim) if self.trim else value

    def parse(self, data: bytes) -> list[tuple[bytes | None, bytes | None]]:
        """All pairs of a section, and with None for a key what is no pair: peers pass over it."""
        lines = data.split(self.after)
        ended = not lines[-1]
        if ended:
            lines.pop()
        front: list[tuple[bytes | None, bytes | None]] = [(None, line) for line in lines[: self.skip]]
        lines = lines[self.skip :]
        if self.between != self.after:
            return front + [self._pair(*line.partition(self.between)) for line in lines]
        items: list[tuple[bytes | None, bytes | None]] = list(zip(lines[::2], lines[1::2], strict=False))
        if len(lines) % 2:
            items.append((lines[-1], b"") if ended else (None, lines[-1]))
        return front + items

    def _pair(self, key: bytes, between: bytes, value: bytes) -> tuple[bytes | None, bytes | None]:
        return (key, value) if between else (None, key)

    def build(self, items: list[tuple[bytes | None, bytes | None]], like: bytes = b"") -> bytes:
        """A section of those pairs, with a separator at its end where ``like`` has one."""
        ended = bool(items and like) and self._joined(self.parse(like)) + self.after == like
        for key, value in items:
            if self.between in (key or b"") or self.after in (key or b"") or self.after in (value or b""):
                raise LocalProtocolError(f"{key!r}: {value!r} holds a separator of the map")
        return self._joined(items) + (self.after if ended else b"")

    def _joined(self, items: list[tuple[bytes | None, bytes | None]]) -> bytes:
        return self.after.join(
            (value or b"") if key is None else key + self.between + (value or b"") for key, value in items
        )

    def only(self, items: list[tuple[bytes | None, bytes | None]], key: bytes) -> bytes | None:
        """The value of a key by which a frame is laid out: nobody may read another one there.

        Raises:
            RemoteProtocolError: it is there with two values; or a line is not what all peers take it for.
        """
        found = None
        for name, raw in items:
            if name is None or raw is None:
                continue
            if len(self.after) > 1 and set(self.after) & set(name + raw):
                raise RemoteProtocolError(f"{name[:40]!r}: a part of {self.after!r} stands in a line")
            if self.trim and name != name.strip(self.trim):
                raise RemoteProtocolError(f"{name[:40]!r}: a key has {self.trim!r} around it")
            if self.folded(name) != key:
                continue
            value = self.stripped(raw)
            if found is not None and found != value:
                raise RemoteProtocolError(f"{name!r} is there twice, as {found[:40]!r} and as {value[:40]!r}")
            found = value
        return found


def _integer(subcon: Any) -> str:
    """As construct's name for it is written."""
    width = 8 * int(subcon.sizeof())
    signed, little = (
        (subcon.fmtstr[1].islower(), subcon.fmtstr[0] == "<")
        if hasattr(subcon, "fmtstr")
        else (subcon.signed, subcon.swapped)
    )
    return f"Int{width}{'s' if signed else 'u'}{'l' if little else 'b'}"
