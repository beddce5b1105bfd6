"""What construct lacks for wire formats: delimited texts, bounded varints, chunks with an array of lengths.

Importing this makes an expression's truth value an error, so that ``a == 1 and b == 2`` in a
declaration is refused instead of losing a term; write ``(a == 1) & (b == 2)``.
"""

from __future__ import annotations

from typing import Any, NoReturn

import construct
from construct import Construct, expr
from construct.core import stream_read, stream_tell, stream_write

from protokit.errors import DeclarationError, word
from protokit.wire.given import seen

ENDED = "_ended"  # what is parsed are the last bytes of their sender


def _no_truth_value(self: Any) -> NoReturn:
    raise DeclarationError(
        f"{self} has no truth value while a format is declared: write & for 'and', | for 'or', ~ for 'not', "
        "and (1 <= x) & (x <= 3) for a chain"
    )


expr.ExprMixin.__bool__ = _no_truth_value


def ends(content: bytes, delimiter: bytes) -> bool:
    """Whether a delimiter behind the content is the first in it."""
    return (content + delimiter).find(delimiter) == len(content)


@word
class Until(Construct):  # type: ignore[misc]  # construct has no types
    """Bytes up to a delimiter, which is consumed and is no part of the value.

    Args:
        delimiter: the bytes that end it.
        max: the most bytes in front of the delimiter.
    """

    def __init__(self, delimiter: bytes, max: int) -> None:  # noqa: A002  # as the docs call it
        super().__init__()
        fits = isinstance(delimiter, bytes) and isinstance(max, int)
        if not fits or not delimiter or not 0 <= max < 1 << 31:
            raise DeclarationError(
                f"Until({seen(delimiter)}, {seen(max)}): it needs a delimiter of a byte at least, and the "
                'most bytes in front of it: Until(b"\\n", max=1000)'
            )
        self.delimiter = delimiter
        self.max = max

    def _parse(self, stream: Any, context: Any, path: str) -> bytes:  # noqa: ARG002  # construct's signature
        data = b""
        while not data.endswith(self.delimiter):
            if len(data) >= self.max + len(self.delimiter):
                raise construct.ValidationError(f"no {self.delimiter!r} within {self.max} bytes", path=path)
            data += stream_read(stream, 1, path)
        return data[: -len(self.delimiter)]

    def _build(self, obj: bytes, stream: Any, context: Any, path: str) -> bytes:  # noqa: ARG002
        if not ends(obj, self.delimiter) or len(obj) > self.max:
            raise construct.ValidationError(
                f"{obj[:40]!r} holds the delimiter, or makes one with it, or is over {self.max} bytes",
                path=path,
            )
        data = obj + self.delimiter
        stream_write(stream, data, len(data), path)
        return obj


@word
class UntilEnd(Construct):  # type: ignore[misc]  # construct has no types
    """All bytes up to the end of what its sender sends: the last part of what a server sends."""

    def _parse(self, stream: Any, context: Any, path: str) -> bytes:
        if not context._params.get(ENDED):  # noqa: SLF001  # construct's name
            raise construct.StreamError("its sender has not ended", path=path)
        found = bytes(stream.read())
        if stream_tell(stream, path) == 0:
            raise construct.StreamError("an answer has a byte at least", path=path)
        return found

    def _build(self, obj: bytes, stream: Any, context: Any, path: str) -> bytes:  # noqa: ARG002
        if not isinstance(obj, bytes):
            raise construct.ValidationError(f"{obj!r} was given, bytes are expected", path=path)
        stream_write(stream, obj, len(obj), path)
        return obj


def varint(value: int) -> bytes:
    """An unsigned integer as LEB128."""
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def varint_size(value: int) -> int:
    """The bytes that a UVar takes."""
    return len(varint(value))


# ``size_(this.id)``: the bytes that a UVar takes, for lengths over it.
size_ = expr.FuncPath(varint_size)


@word
class UVar(Construct):  # type: ignore[misc]  # construct has no types
    """An unsigned LEB128 integer; one that is longer than it must be is refused.

    Args:
        bytes: the most bytes it may take, 1 to 10; of 10 bytes it has 64 bits at most.
    """

    def __init__(self, bytes: int) -> None:  # noqa: A002  # as the docs call it
        super().__init__()
        if not isinstance(bytes, int) or not 1 <= bytes <= 10:
            raise DeclarationError(f"UVar({seen(bytes)}): a varint takes 1 to 10 bytes")
        self.bytes = bytes
        self.end = 1 << min(7 * bytes, 64)

    def _parse(self, stream: Any, context: Any, path: str) -> int:  # noqa: ARG002
        value = 0
        for i in range(self.bytes):
            (byte,) = stream_read(stream, 1, path)
            value |= (byte & 0x7F) << (7 * i)
            if not byte & 0x80:
                if byte == 0 and i > 0:
                    raise construct.ValidationError("a varint is longer than it must be", path=path)
                if value >= self.end:
                    raise construct.ValidationError("a varint is over 64 bits", path=path)
                return int(value)
        raise construct.ValidationError(f"a varint is longer than {self.bytes} bytes", path=path)

    def _build(self, obj: int, stream: Any, context: Any, path: str) -> int:  # noqa: ARG002
        if not 0 <= obj < self.end:
            raise construct.IntegerError(f"{obj} does not fit a varint of {self.bytes} bytes", path=path)
        data = varint(obj)
        stream_write(stream, data, len(data), path)
        return obj


@word
class Ahead(Construct):  # type: ignore[misc]  # construct has no types
    """An integer that comes next, and stays there: ``"tag" / Ahead(Int8ub)`` tells which field it begins.

    A frame is built with it as it was read; its bytes are written by the field that has them.
    """

    def __init__(self, subcon: Any) -> None:
        super().__init__()
        self.subcon = subcon

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        start = stream_tell(stream, path)
        value = self.subcon._parsereport(stream, context, path)  # noqa: SLF001  # as construct's own
        stream.seek(start)
        return value

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:  # noqa: ARG002
        return obj


@word
class Chunks(Construct):  # type: ignore[misc]  # construct has no types
    """Sections behind each other, whose lengths are an array of integers.

    Args:
        lengths: where that array is: ``this.lens``.
    """

    def __init__(self, lengths: Any) -> None:
        super().__init__()
        self.lengths = lengths

    def _parse(self, stream: Any, context: Any, path: str) -> list[bytes]:
        return [stream_read(stream, size, path) for size in self.lengths(context)]

    def _build(self, obj: list[bytes], stream: Any, context: Any, path: str) -> list[bytes]:  # noqa: ARG002
        for one in obj:
            stream_write(stream, one, len(one), path)
        return obj


@word
class lengths:  # noqa: N801  # reads like len_ of construct
    """The lengths of chunks, for a ``Rebuild``: ``Rebuild(Array(this.n, Int32ub), lengths(this.parts))``."""

    def __init__(self, chunks: Any) -> None:
        self.chunks = chunks

    def __call__(self, context: Any) -> list[int]:
        """Called by construct with the container that is built."""
        return [len(one) for one in self.chunks(context)]
