"""Fields by number inside protobuf messages that stand in one another, as far as an id needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, LocalProtocolError
from protokit.wire.views import Text, bytes_at, put_at
from protokit.wire.vocabulary import varint

if TYPE_CHECKING:
    from collections.abc import Sequence

DEPTH = 8  # messages in one another
VARINT, BYTES = 0, 2  # wire types
_SKIPPED = {1: 8, 5: 4}


class Nested(Text):
    """A field of a message, or of one inside it; of several that it has the last.

    Args:
        section: the outermost message.
        numbers: of the fields that lead to it.
        is_varint: the last one is a varint, and else bytes.
    """

    def __init__(self, section: Any, numbers: Sequence[int], *, is_varint: bool) -> None:
        super().__init__(section)
        if not 1 <= len(numbers) <= DEPTH or not all(1 <= number < 1 << 29 for number in numbers):
            raise DeclarationError(
                f"nested: {list(numbers)} was given; 1 to {DEPTH} fields' numbers lead to a field, such as "
                "nested(this.meta, 1, 4)"
            )
        self.numbers = tuple(numbers)
        self.is_varint = is_varint

    def packed(self) -> bytes:
        """The numbers as the engine has them."""
        return b"".join(number.to_bytes(4, "big") for number in self.numbers)

    def get(self, container: Any) -> bytes | None:
        """The field's bytes; of a varint those that it is written with."""
        section = bytes_at(container, self.path)
        return None if section is None else self._find(section)

    def _find(self, data: bytes) -> bytes | None:
        for depth, number in enumerate(self.numbers):
            last = depth + 1 == len(self.numbers)
            field = _field(data, number, VARINT if last and self.is_varint else BYTES)
            if field is None:
                return None
            data = data[field[1] : field[2]]
        return data

    def replace(self, container: Any, text: bytes | None) -> None:
        """Put other bytes there, and the lengths of the messages around them."""
        section = bytes_at(container, self.path)
        if section is None or text is None:
            raise LocalProtocolError(f"{'.'.join(self.path)} has no field {self.numbers} that can be written")
        put_at(container, self.path, self._put(section, self.numbers, text))

    def holding(self, text: bytes) -> bytes:
        """A message with that field alone."""
        return self._put(b"", self.numbers, text)

    def _put(self, data: bytes, numbers: Sequence[int], text: bytes) -> bytes:
        number, *inner = numbers
        wire_type = VARINT if not inner and self.is_varint else BYTES
        field = _field(data, number, wire_type)
        if field is None and _fields(data) is None:
            raise LocalProtocolError(f"{'.'.join(self.path)} is no message")
        at, start, end = (len(data),) * 3 if field is None else field
        new = self._put(data[start:end], inner, text) if inner else text
        head = varint(number << 3 | wire_type) if field is None else b""
        size = varint(len(new)) if wire_type == BYTES else b""
        return data[:at] + head + size + new + data[end:]


def _varint(data: bytes, at: int) -> tuple[int, int] | None:
    """(value, where it ends) of one that is no longer than it must be."""
    value = 0
    for place in range(10):
        if at + place >= len(data):
            return None
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return None if (byte == 0 and place > 0) or value >> 64 else (value, at + place + 1)
    return None


def _fields(data: bytes) -> list[tuple[int, int, int, int, int]] | None:
    """(number, wire type, behind its tag, start, end) of all; None where it is no message."""
    found = []
    at = 0
    while at < len(data):
        tag = _varint(data, at)
        if tag is None or not 0 < tag[0] >> 3 < 1 << 29:
            return None
        number, wire_type, behind = tag[0] >> 3, tag[0] & 7, tag[1]
        if wire_type == VARINT:
            value = _varint(data, behind)
            if value is None:
                return None
            start, at = behind, value[1]
        elif wire_type == BYTES:
            size = _varint(data, behind)
            if size is None or size[0] > len(data) - size[1]:
                return None
            start, at = size[1], size[1] + size[0]
        elif wire_type in _SKIPPED:
            start, at = behind, behind + _SKIPPED[wire_type]
        else:
            return None
        if at > len(data):
            return None
        found.append((number, wire_type, behind, start, at))
    return found


def _field(data: bytes, number: int, wire_type: int) -> tuple[int, int, int] | None:
    """(behind its tag, start, end) of the last field of that number and type."""
    found = None
    for one in _fields(data) or ():
        if one[:2] == (number, wire_type):
            found = one[2:]
    return found


def nested(section: Any, *numbers: int, form: str = "varint") -> Nested:
    """An id inside a protobuf message: ``id=byte_id(nested(this.meta, 4))``.

    Args:
        section: the message.
        numbers: of the fields that lead to it, from outside.
        form: ``varint``, or ``bytes``.
    """
    if form not in {"varint", "bytes"}:
        raise DeclarationError(f"nested: the form {form!r} is none of varint, bytes")
    return Nested(section, numbers, is_varint=form == "varint")
