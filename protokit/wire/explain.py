"""Every field of a frame with its place: the nodes walked in plain Python, for tools and replies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protokit.errors import RemoteProtocolError
from protokit.wire.expressions import Expression, FieldPath, fields_of, show, written
from protokit.wire.nodes import (
    Bits,
    Branch,
    Choice,
    ChunkList,
    Condition,
    Delimited,
    Integer,
    Integers,
    Literal,
    Node,
    Peeked,
    Region,
    Repeated,
    Rest,
    Section,
    Varint,
)
from protokit.wire.repeats import signed
from protokit.wire.sides import SIDE
from protokit.wire.views import calculate, value_at

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Piece:
    """One field of a frame.

    Attributes:
        offset, size: bytes; a bit field has those of its group.
        content: bytes of the value, without a delimiter.
        value: an int, bytes, or a list of them.
        raw: its bytes as they stand.
        node: its kind in ``layout``.
    """

    path: FieldPath
    offset: int
    size: int
    content: int
    value: Any
    raw: bytes
    node: type
    little: bool = False


class _Walk:
    def __init__(self, data: bytes, side: int, *, ended: bool) -> None:
        self.ended = ended
        self.data = data
        self.at = 0
        self.pieces: list[Piece] = []
        self.values: dict[str, Any] = {SIDE: side}

    def take(self, size: int, path: FieldPath) -> bytes:
        if size < 0:
            raise RemoteProtocolError(f"{show(path)} has a negative length, {size}", self.at)
        if size > len(self.data) - self.at:
            left = len(self.data) - self.at
            raise EOFError(f"at byte {self.at}: {show(path)} takes {size} bytes, {left} are left")
        self.at += size
        return self.data[self.at - size : self.at]

    def keep(
        self, node: Node, path: FieldPath, start: int, content: int, value: Any, *, little: bool = False
    ) -> None:
        raw = self.data[start : self.at]
        self.pieces.append(Piece(path, start, self.at - start, content, value, raw, type(node), little))
        values = self.values
        for name in path[:-1]:
            values = values.setdefault(name, {})
        if isinstance(values.get(path[-1]), dict) and not isinstance(node, Section):
            return  # of a Prefixed's length, which has no name, its section takes the place
        values[path[-1]] = value

    def nodes(self, nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            _READERS[type(node)](self, node)

    def integer(self, node: Integer) -> None:
        start = self.at
        raw = self.take(node.width, node.path)
        value = int.from_bytes(raw, "little" if node.little else "big", signed=node.signed)
        self.keep(node, node.path, start, node.width, value, little=node.little)

    def peeked(self, node: Peeked) -> None:
        start = self.at
        raw = self.take(node.width, node.path)
        self.at = start
        number = int.from_bytes(raw, "little" if node.little else "big", signed=node.signed)
        put_new(self.values, node.path, number)

    def bits(self, node: Bits) -> None:
        start = self.at
        word = int.from_bytes(self.take(node.width, node.fields[0][0]), "big")
        # The group once with all its bytes, then its fields, which take none of their own.
        group = node.fields[0][0][:-1]
        raw = self.data[start : self.at]
        self.pieces.append(Piece(group, start, node.width, node.width, word, raw, Bits))
        for path, shift, size in node.fields:
            self.keep(node, path, start, 0, word >> shift & (1 << size) - 1)
            self.pieces[-1].raw, self.pieces[-1].size = b"", 0

    def literal(self, node: Literal) -> None:
        start = self.at
        raw = self.data[start : start + len(node.data)]
        for i, (seen, expected) in enumerate(zip(raw, node.data, strict=False)):
            if seen != expected:
                raise RemoteProtocolError(
                    f"{node.data.hex(' ')} was expected, {raw.hex(' ')} seen", start + i
                )
        self.take(len(node.data), node.path)
        self.keep(node, node.path, start, len(node.data), node.data)

    def section(self, node: Section) -> None:
        start = self.at
        raw = self.take(calculate(node.length, self.values), node.path)
        self.keep(node, node.path, start, len(raw), raw)

    def chunks(self, node: ChunkList) -> None:
        start = self.at
        chunks = [self.take(size, node.path) for size in value_at(self.values, node.lengths)]
        self.keep(node, node.path, start, self.at - start, chunks)

    def condition(self, node: Condition) -> None:
        if not calculate(node.test, self.values):
            raise RemoteProtocolError(f"a check does not hold: {written(node.test)}", self.place(node.test))

    def branch(self, node: Branch) -> None:
        self.nodes(node.then if calculate(node.test, self.values) else node.otherwise)

    def place(self, test: Expression) -> int:
        offsets = [piece.offset for piece in self.pieces if piece.path in fields_of(test)]
        return min(offsets, default=self.at)

    def integers(self, node: Integers) -> None:
        start = self.at
        count = calculate(node.count, self.values)
        if count < 0:
            raise RemoteProtocolError(f"{show(node.path)} has a negative count, {count}", start)
        raw = self.take(count * node.width, node.path)
        order: Any = "little" if node.little else "big"
        numbers = [
            int.from_bytes(raw[i : i + node.width], order, signed=node.signed)
            for i in range(0, len(raw), node.width)
        ]
        self.keep(node, node.path, start, len(raw), numbers, little=node.little)

    def delimited(self, node: Delimited) -> None:
        start = self.at
        most = node.max + len(node.delimiter)
        end = self.data.find(node.delimiter, start, start + most)
        if end < 0:
            if len(self.data) - start >= most:
                raise RemoteProtocolError(
                    f"{show(node.path)}: no {node.delimiter!r} within {node.max} bytes", start
                )
            raise EOFError(f"at byte {start}: {show(node.path)} does not end with {node.delimiter!r}")
        self.take(end + len(node.delimiter) - start, node.path)
        self.keep(node, node.path, start, end - start, self.data[start:end])

    def region(self, node: Region) -> None:
        start = self.at
        try:
            size = node.how.size(self.data[start:])
        except RemoteProtocolError as error:
            raise RemoteProtocolError(f"{show(node.path)}: {error}", start) from error
        except EOFError as error:
            raise EOFError(f"at byte {start}: {show(node.path)}: {error}") from error
        raw = self.take(size, node.path)
        self.keep(node, node.path, start, size, raw)

    def rest(self, node: Rest) -> None:
        start = self.at
        if not self.ended:
            raise EOFError(f"at byte {start}: {show(node.path)} takes all up to its sender's end")
        raw = self.take(len(self.data) - start, node.path)
        self.keep(node, node.path, start, len(raw), raw)

    def repeated(self, node: Repeated) -> None:
        start, outside = self.at, len(self.pieces)
        count = None if node.count is None else calculate(node.count, self.values)
        to = None if node.to is None else signed(calculate(node.to, self.values))
        if count is not None and count < 0:
            raise RemoteProtocolError(f"{show(node.path)} has {count} parts", start)
        number = total = 0
        while number != count and total != to:
            if to is not None and total > to:
                raise RemoteProtocolError(f"{show(node.path)} comes to {total}, and not to {to}", self.at)
            put_new(self.values, node.path, {})
            self.nodes(node.part)
            number += 1
            total += calculate(node.added, self.values)
            if node.until is not None and calculate(node.until, self.values):
                break
        del self.pieces[outside:]
        put_new(self.values, node.path, None)
        self.keep(node, node.path, start, self.at - start, self.data[start : self.at])

    def varint(self, node: Varint) -> None:
        start, value = self.at, 0
        for i in range(node.bytes):
            (byte,) = self.take(1, node.path)
            value |= (byte & 0x7F) << 7 * i
            if byte & 0x80:
                continue
            if byte == 0 and i > 0:
                raise RemoteProtocolError(f"{show(node.path)}: a varint is longer than it must be", start + i)
            if value >> 64:
                raise RemoteProtocolError(f"{show(node.path)}: a varint is over 64 bits", start + i)
            self.keep(node, node.path, start, self.at - start, value)
            return
        raise RemoteProtocolError(f"{show(node.path)}: a varint is over {node.bytes} bytes", start)

    def choice(self, node: Choice) -> None:
        key = calculate(node.key, self.values)
        for value, case in node.cases:
            if value == key:
                self.nodes(case)
                return
        if node.default is None:
            known = ", ".join(str(value) for value, _ in node.cases)
            raise RemoteProtocolError(
                f"{show(node.path)} is chosen by {key}; {known} are known", self.place(node.key)
            )
        self.nodes(node.default)


_READERS: dict[type, Callable[[_Walk, Any], None]] = {
    Integer: _Walk.integer,
    Peeked: _Walk.peeked,
    Bits: _Walk.bits,
    Literal: _Walk.literal,
    Section: _Walk.section,
    Integers: _Walk.integers,
    ChunkList: _Walk.chunks,
    Delimited: _Walk.delimited,
    Region: _Walk.region,
    Rest: _Walk.rest,
    Repeated: _Walk.repeated,
    Varint: _Walk.varint,
    Condition: _Walk.condition,
    Branch: _Walk.branch,
    Choice: _Walk.choice,
}


def put_new(values: dict[str, Any], path: FieldPath, value: Any) -> None:
    """Let that stand at a path, whatever stood there."""
    for name in path[:-1]:
        values = values.setdefault(name, {})
    values[path[-1]] = value


def explain(nodes: tuple[Node, ...], data: bytes, side: int = 0, *, ended: bool = False) -> list[Piece]:
    """The pieces of the frame in front, in the order in which they stand.

    Args:
        nodes: of its format.
        data: it, and what follows.
        side: who sent it, in ``native.SIDES``.
        ended: ``data`` are the last bytes of its sender.
    """
    walk = _Walk(data, side, ended=ended)
    walk.nodes(nodes)
    return walk.pieces


__all__ = ["Piece", "calculate", "explain"]
