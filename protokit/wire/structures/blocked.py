"""Blocks of pairs: a type, a count, so many keys and values, all of it behind varints; filled with zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire.given import within
from protokit.wire.structures.family import Family, Input, Key, key_text, varint

if TYPE_CHECKING:
    from collections.abc import Sequence


TYPES = 255
MOST = (1 << 24) - 1  # pairs of a block
Block = list[tuple[bytes, bytes]]


def _number(data: Input) -> int:
    start = data.at
    value = data.varint()
    if data.at - start != len(varint(value)):
        raise RemoteProtocolError("blocks: a varint is longer than it must be", start)
    return value


class Blocks(Family):
    """Blocks one behind the other.

    Args:
        align: they are filled with zeros to a multiple of so many bytes.
        front: so many bytes that stand in front of them are counted, too.
    """

    name = "blocks"
    root = "blocks"

    def __init__(self, align: int = 1, front: int = 0) -> None:
        within("blocks: align=", align, 1, 64, "they are filled to a multiple of 1 to 64 bytes")
        within("blocks: front=", front, 0, 64, "0 to 64 bytes in front of them are counted, too")
        self.align = align
        self.front = front

    def check(self, key: Key, path: Sequence[Key]) -> None:
        """Whether a key may stand behind a path."""
        if path and (len(path) > 1 or not isinstance(key, str)):
            raise DeclarationError(
                f'blocks: {key!r} is asked for behind {path[-1]!r}; a type, and a text: [1]["key"]'
            )
        if not path and not (isinstance(key, int) and 0 < key <= TYPES):
            raise DeclarationError(f"blocks: {key!r} is no type of a block; they are 1 to {TYPES}")

    def check_map(self, path: Sequence[Key]) -> str:
        """Why no headers stand at a path; empty where they may."""
        return (
            "" if len(path) == 1 else "is of several blocks, or of none: write their type, as in {shown}[1]"
        )

    def read(self, raw: bytes, type_: Key) -> tuple[list[Block], int]:
        """All blocks of a section, which have one type; and how many zeros are more than fill it.

        Raises:
            RemoteProtocolError: they are malformed, or another one is there, of which nobody knows the size.
        """
        data, found = Input(raw), []
        while data.left and data.data[data.at]:
            kind = _number(data)
            if kind != type_:
                raise RemoteProtocolError(f"blocks: a block has the type {kind}, not {type_}", data.at)
            count = _number(data)
            if count > min(MOST, data.left):
                raise RemoteProtocolError(f"blocks: {count} pairs with {data.left} bytes left", data.at)
            pairs = [data.take(_number(data)) for _ in range(2 * count)]
            found.append(list(zip(pairs[::2], pairs[1::2], strict=True)))
        more = data.left - self._filling(data.at)
        if any(data.take(data.left)):
            raise RemoteProtocolError("blocks: something stands behind the padding", data.at)
        return found, max(more, 0) // self.align * self.align

    def _filling(self, size: int) -> int:
        return -(self.front + size) % self.align

    def built_of(self, type_: Key, blocks: Sequence[Block], more: int = 0) -> bytes:
        """A section of those blocks, and so many zeros more than fill it."""
        made = b""
        for pairs in blocks:
            made += varint(int(type_)) + varint(len(pairs))
            made += b"".join(varint(len(one)) + one for pair in pairs for one in pair)
        return made + bytes(self._filling(len(made)) + more)

    def find(self, raw: bytes, path: Sequence[Key]) -> bytes | None:
        """What a key has; of several the last."""
        if not path:
            raise RemoteProtocolError("blocks: no type is asked for")
        if len(path) == 1:
            return None
        blocks, _ = self.read(raw, path[0])
        return dict(pair for block in blocks for pair in block).get(key_text(path[1]))

    def put(self, raw: bytes, path: Sequence[Key], text: bytes | None) -> bytes:
        """The section with another text for a key, None: without it."""
        if len(path) == 1:
            raise LocalProtocolError(f"blocks: [{path[0]!r}] is of several texts, and is not written to")
        return self.put_item(raw, path[:1], key_text(path[1]), text)

    def items(self, raw: bytes, path: Sequence[Key]) -> list[tuple[bytes | None, bytes | None]]:
        """All pairs of all blocks.

        Raises:
            RemoteProtocolError: not all of the section can be read.
        """
        blocks, _ = self.read(raw, path[0])
        return [pair for block in blocks for pair in block]

    def put_item(self, raw: bytes, path: Sequence[Key], name: bytes, text: bytes | None) -> bytes:
        """The section with another text for a name, None: without it.

        It stands where the first of that name did, else behind all pairs.
        """
        blocks, more = self.read(raw, path[0])
        there = any(pair[0] == name for block in blocks for pair in block)
        said = [] if text is None else [(name, text)]
        if not there and not said:
            return raw
        if not there:
            last = blocks.pop() if blocks and blocks[-1] else []  # one without pairs stays as it is
            return self.built_of(path[0], [*blocks, last + said], more)
        left = []
        for block in blocks:
            pairs = []
            for pair in block:
                if pair[0] == name:
                    pairs += said
                    said = []
                else:
                    pairs.append(pair)
            if pairs or not block:
                left.append(pairs)
        return self.built_of(path[0], left, more)

    def of_items(self, path: Sequence[Key], items: Sequence[tuple[bytes | None, bytes | None]]) -> bytes:
        """A section with one block of those pairs."""
        block = []
        for name, text in items:
            if name is None or text is None:
                raise LocalProtocolError("blocks: nothing stands for no text")
            block.append((name, text))
        return self.built_of(path[0], [block] if block else [])
