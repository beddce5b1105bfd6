"""Checksums of frames, by name: verified, and made right when something that they cover is rewritten."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, RemoteProtocolError, word
from protokit.wire.expressions import show
from protokit.wire.given import expect, seen, several, within
from protokit.wire.nodes import Integer, Node, Section, walk
from protokit.wire.sections import section_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from protokit.wire.explain import Piece


@dataclass(frozen=True)
class Sum:
    """How a checksum is computed; ``native/src/base/sums.h`` has the same in the same order.

    Attributes:
        name: as declarations write it.
        width: bytes.
        of: pieces that follow one another to their checksum.
    """

    name: str
    width: int
    of: Callable[[Iterable[bytes]], int]


DIGITS = 10  # of 32 bits
SKIPPED = 255  # bytes in front of one, at most


class Checksum:
    """A checksum of sections.

    Args:
        at: the field that holds it, an unsigned integer as wide as the checksum.
        over: ``before``: everything in front of it; or a list of sections.
        of: an entry of SUMS.
        digits: it is written in so many decimal digits, zeros in front; 0: it is an integer.
        skip: of what stands in front of it these last bytes are not in it.
    """

    def __init__(self, at: Any, over: str | Sequence[Any], of: int, digits: int = 0, skip: int = 0) -> None:
        self.path = section_path(at, "checksum")
        before = isinstance(over, str) and over == "before"
        instead = "it is 'before' or a list of sections: [this.head, this.body]"
        sections = () if before else several("checksum: over=", over, instead)
        if not before and not sections:
            raise DeclarationError(f"checksum: over=[] is a checksum of nothing; {instead}")
        self.over = None if before else tuple(section_path(one, "checksum") for one in sections)
        self.number = of
        self.sum = SUMS[of]
        least = len(str((1 << 8 * self.sum.width) - 1))
        some = f"{least} to {DIGITS}" if least < DIGITS else f"{DIGITS}"
        if digits != 0:
            within(f"{self.sum.name}: digits=", digits, least, DIGITS, f"{some} hold it")
        most = SKIPPED if self.over is None else 0
        within(
            f"{self.sum.name}: skip=", skip, 0, most, f"it is 0 to {SKIPPED} bytes, where over is 'before'"
        )
        self.digits = digits
        self.skip = skip
        self.width = digits or self.sum.width

    @property
    def what(self) -> str:
        """As errors name it."""
        return f"checksum {self.sum.name}(this.{show(self.path)})"

    def written(self, value: int, *, little: bool) -> bytes:
        """As it stands in a frame."""
        if self.digits:
            return b"%0*d" % (self.digits, value)
        return value.to_bytes(self.width, "little" if little else "big")


def _check_places(checksums: Sequence[Checksum]) -> None:
    taken = set()
    for one in checksums:
        if one.path in taken:
            raise DeclarationError(
                f"{one.what}: this.{show(one.path)} holds another one; each has a field of its own"
            )
        taken.add(one.path)


def in_order(nodes: tuple[Node, ...], checksums: Sequence[Checksum]) -> tuple[Checksum, ...]:
    """As they are made right: those that others cover first."""
    for one in checksums:
        expect("checksum", one, Checksum, 'write crc32(this.crc, over="before")')
    _check_places(checksums)
    kinds = Integer | Section
    places = {node.path: place for place, node in enumerate(walk(nodes)) if isinstance(node, kinds)}
    return tuple(sorted(checksums, key=lambda one: (one.over is None, places.get(one.path, 0))))


def _of_frame(
    checksums: Iterable[Checksum], pieces: Sequence[Piece]
) -> list[tuple[Checksum, Piece, list[tuple[int, int]]]]:
    """(checksum, where it stands, sections) of each that this frame has."""
    by_path = {piece.path: piece for piece in pieces}
    found = []
    for checksum in checksums:
        piece = by_path.get(checksum.path)
        if piece is None:
            continue
        over = [(0, max(piece.offset - checksum.skip, 0))]
        if checksum.over is not None:
            over = [
                (by_path[path].offset, by_path[path].content) for path in checksum.over if path in by_path
            ]
        found.append((checksum, piece, over))
    return found


def verify(checksums: Iterable[Checksum], pieces: Sequence[Piece], frame: bytes) -> None:
    """Whether all that a frame has are right.

    Raises:
        RemoteProtocolError: one is not.
    """
    for checksum, piece, over in _of_frame(checksums, pieces):
        right = checksum.sum.of(frame[start : start + size] for start, size in over)
        expected = checksum.written(right, little=piece.little)
        if piece.raw != expected:
            shown = [
                repr(raw)[1:] if checksum.digits else raw[:: -1 if piece.little else 1].hex()
                for raw in (piece.raw, expected)
            ]
            raise RemoteProtocolError(
                f"the checksum is {shown[0]}, {shown[1]} was expected ({checksum.sum.name})", piece.offset
            )


def seal(checksums: Iterable[Checksum], pieces: Sequence[Piece], frame: bytes) -> bytes:
    """The frame with all that it has made right, in their order."""
    sealed = bytearray(frame)
    for checksum, piece, over in _of_frame(checksums, pieces):
        right = checksum.sum.of(bytes(sealed[start : start + size]) for start, size in over)
        written = checksum.written(right, little=piece.little)
        sealed[piece.offset : piece.offset + piece.size] = written
    return bytes(sealed)


@cache
def _table(polynomial: int, bits: int, *, reflected: bool) -> tuple[int, ...]:
    found = []
    for byte in range(256):
        value = byte if reflected else byte << (bits - 8)
        for _ in range(8):
            low = value & 1 if reflected else value >> (bits - 1)
            value = value >> 1 if reflected else value << 1 & (1 << bits) - 1
            value ^= polynomial if low else 0
        found.append(value)
    return tuple(found)


def _crc(
    polynomial: int, bits: int, start: int, end: int, *, reflected: bool
) -> Callable[[Iterable[bytes]], int]:
    def of(pieces: Iterable[bytes]) -> int:
        table = _table(polynomial, bits, reflected=reflected)
        value = start
        for byte in (byte for piece in pieces for byte in piece):
            if reflected:
                value = value >> 8 ^ table[(value ^ byte) & 0xFF]
            else:
                value = (value << 8 & (1 << bits) - 1) ^ table[value >> (bits - 8) ^ byte]
        return value ^ end

    return of


def _adler32(pieces: Iterable[bytes]) -> int:
    value = 1
    for piece in pieces:
        value = zlib.adler32(piece, value)
    return value


def _crc32(pieces: Iterable[bytes]) -> int:
    value = 0
    for piece in pieces:
        value = zlib.crc32(piece, value)
    return value


def _bytes(width: int) -> Callable[[Iterable[bytes]], int]:
    return lambda pieces: sum(sum(piece) for piece in pieces) % (1 << 8 * width)


CRC16 = {  # of the variants: polynomial, start, end, whether bits go from the lowest
    "arc": (0xA001, 0, 0, True),
    "modbus": (0xA001, 0xFFFF, 0, True),
    "kermit": (0x8408, 0, 0, True),
    "x25": (0x8408, 0xFFFF, 0xFFFF, True),
    "xmodem": (0x1021, 0, 0, False),
    "ccitt-false": (0x1021, 0xFFFF, 0, False),
}
SUMS = (
    Sum("crc32", 4, _crc32),
    Sum("crc32c", 4, _crc(0x82F63B78, 32, 0xFFFFFFFF, 0xFFFFFFFF, reflected=True)),
    Sum("adler32", 4, _adler32),
    Sum("sum8", 1, _bytes(1)),
    Sum("sum16", 2, _bytes(2)),
    Sum("sum32", 4, _bytes(4)),
    *(
        Sum("crc16", 2, _crc(polynomial, 16, start, end, reflected=reflected))
        for polynomial, start, end, reflected in CRC16.values()
    ),
)
_NUMBERS = {one.name: number for number, one in reversed(list(enumerate(SUMS)))}


@word
def crc32(at: Any, over: str | Sequence[Any], *, digits: int = 0, skip: int = 0) -> Checksum:
    """CRC-32 as zlib, PNG and Ethernet have it: ``crc32(this.crc, over="before")``."""
    return Checksum(at, over, _NUMBERS["crc32"], digits, skip)


@word
def crc32c(at: Any, over: str | Sequence[Any], *, digits: int = 0, skip: int = 0) -> Checksum:
    """CRC-32C (Castagnoli), as iSCSI and Kafka have it."""
    return Checksum(at, over, _NUMBERS["crc32c"], digits, skip)


@word
def crc16(
    at: Any, over: str | Sequence[Any], variant: str = "arc", *, digits: int = 0, skip: int = 0
) -> Checksum:
    """CRC-16: ``arc``, ``modbus``, ``kermit``, ``x25``, ``xmodem`` or ``ccitt-false``."""
    if not isinstance(variant, str) or variant not in CRC16:
        raise DeclarationError(f"crc16: the variant {seen(variant)} is none of {', '.join(CRC16)}")
    return Checksum(at, over, _NUMBERS["crc16"] + list(CRC16).index(variant), digits, skip)


@word
def adler32(at: Any, over: str | Sequence[Any], *, digits: int = 0, skip: int = 0) -> Checksum:
    """Adler-32, as zlib has it."""
    return Checksum(at, over, _NUMBERS["adler32"], digits, skip)


@word
def sum8(at: Any, over: str | Sequence[Any], *, digits: int = 0, skip: int = 0) -> Checksum:
    """All bytes added, modulo 256: ``sum8(this.sum, over="before")``; ``digits=3``: in so many digits."""
    return Checksum(at, over, _NUMBERS["sum8"], digits, skip)


@word
def sum16(at: Any, over: str | Sequence[Any], *, digits: int = 0, skip: int = 0) -> Checksum:
    """All bytes added, modulo 65536."""
    return Checksum(at, over, _NUMBERS["sum16"], digits, skip)


@word
def sum32(at: Any, over: str | Sequence[Any], *, digits: int = 0, skip: int = 0) -> Checksum:
    """All bytes added, modulo 2**32."""
    return Checksum(at, over, _NUMBERS["sum32"], digits, skip)
