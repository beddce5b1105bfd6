"""A section of a reply in pieces, some of which are counted in front of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from construct import ConstructError

from protokit.errors import DeclarationError
from protokit.wire.views import integer_of


class Counted:
    """In a section in pieces: others, behind an integer that counts their bytes.

    Args:
        count: an integer such as ``Int16ub``.
        pieces: bytes, ``ErrorText``, ``FromRequest``, or ``Counted`` again.
    """

    def __init__(self, count: Any, *pieces: Any) -> None:
        self.count = integer_of(count, "Counted: what counts")
        self.pieces = pieces


@dataclass(frozen=True)
class Size:
    """What stands in front of pieces: how many bytes they have."""

    count: Any
    pieces: tuple[Any, ...]

    def built(self, size: int) -> bytes:
        """Of so many.

        Raises:
            DeclarationError: it has no room for the number.
        """
        try:
            return bytes(self.count.build(size))
        except ConstructError as error:
            width = self.count.sizeof()
            raise DeclarationError(f"Counted: {width} bytes have no room for a count of {size}") from error


def flat(value: Any) -> list[Any]:
    """The pieces of a section one behind the other, with what counts them."""
    if isinstance(value, Counted):
        pieces = flat(list(value.pieces))
        return [Size(value.count, tuple(pieces)), *pieces]
    if isinstance(value, list):
        return [piece for one in value for piece in flat(one)]
    return [value]
