"""A section of a reply in pieces, some of which are counted in front of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from construct import ConstructError

from protokit.errors import DeclarationError, word
from protokit.wire.sections import integer_of
from protokit.wire.vocabulary import UVar


@word
class Counted:
    """In a section in pieces: others, behind an integer that counts their bytes.

    Args:
        count: an integer such as ``Int16ub``, or a varint (``UVar(2)``).
        pieces: bytes, ``ErrorText``, ``FromRequest``, or ``Counted`` again.
    """

    def __init__(self, count: Any, *pieces: Any) -> None:
        self.count = count if isinstance(count, UVar) else integer_of(count, "Counted: what counts")
        self.pieces = pieces


@dataclass(frozen=True)
class Size:
    """What stands in front of pieces: how many bytes they have."""

    count: Any
    pieces: tuple[Any, ...]

    @property
    def varies(self) -> bool:
        """Whether it is a varint."""
        return isinstance(self.count, UVar)

    def width(self, size: int) -> int:
        """Bytes that it takes, of so many."""
        return len(self.built(size))

    def padded(self, count: bytes, width: int) -> bytes:
        """A varint in so many bytes, as its readers take it."""
        more = width - len(count)
        return count if more <= 0 else count[:-1] + bytes([count[-1] | 0x80]) + b"\x80" * (more - 1) + b"\0"

    def built(self, size: int) -> bytes:
        """Of so many.

        Raises:
            DeclarationError: it has no room for the number.
        """
        try:
            return bytes(self.count.build(size))
        except ConstructError as error:
            width = self.count.bytes if self.varies else self.count.sizeof()
            raise DeclarationError(f"Counted: {width} bytes have no room for a count of {size}") from error


def flat(value: Any) -> list[Any]:
    """The pieces of a section one behind the other, with what counts them."""
    if isinstance(value, Counted):
        pieces = flat(list(value.pieces))
        return [Size(value.count, tuple(pieces)), *pieces]
    if isinstance(value, list):
        return [piece for one in value for piece in flat(one)]
    return [value]
