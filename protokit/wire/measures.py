"""Values that say themselves how long they are, measured by a function in C that goes on where it stopped.

Those of MessagePack, RESP, BER and JSON come with the core (``native/src/wire/measures``), each with its
reference here; a plugin may bring its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import construct
from construct import Construct
from construct.core import stream_read, stream_tell, stream_write

from protokit import native
from protokit.errors import DeclarationError, RemoteProtocolError, word
from protokit.wire.given import seen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MOST = 2**32 - 1


@word
class Measure:
    """How long a value is that says it itself (``pk_measure`` of protokit/codec.h).

    Args:
        name: for messages.
        address: of the function in C, or a function that returns it when it is first needed.
        reference: the same in Python: the bytes that are there and the arguments, to the value's size.
            ``EOFError``: it takes more bytes; ``RemoteProtocolError``: no value begins so.
        examples: some values, for tests.
        keepalive: whatever keeps the function there.
    """

    def __init__(
        self,
        name: str,
        address: int | Callable[[], int],
        reference: Callable[[bytes, Sequence[bytes]], int],
        examples: Sequence[bytes] = (),
        keepalive: object = None,
    ) -> None:
        self.name = name
        self._address = address
        self.reference = reference
        self.examples = tuple(examples)
        self.keepalive = keepalive

    @property
    def address(self) -> int:
        """Of the function in C."""
        return self._address() if callable(self._address) else self._address

    def __repr__(self) -> str:
        return self.name


class NotMeasured(construct.ValidationError):  # type: ignore[misc]
    """What a frame is to be built with is no such value."""


@word
class Measured(Construct):  # type: ignore[misc]  # construct has no types
    """A section of one value that says itself how long it is: ``Measured(msgpack_value)``.

    Args:
        measure: what measures it.
        arguments: constants for it.
    """

    def __init__(self, measure: Measure, *arguments: str | bytes) -> None:
        super().__init__()
        if not isinstance(measure, Measure):
            raise DeclarationError(
                f"Measured: {seen(measure)} measures nothing; write Measured(msgpack_value), or resp_value, "
                "ber_value, json_value, or a Measure of your own"
            )
        self.measure = measure
        self.arguments = tuple(one.encode() if isinstance(one, str) else one for one in arguments)

    def size(self, data: bytes) -> int:
        """How long the value in front is.

        Raises:
            EOFError: it takes more bytes.
            RemoteProtocolError: there is none.
        """
        return self.measure.reference(data, self.arguments)

    def holds(self, data: bytes) -> bool:
        """Whether some bytes are one value."""
        try:
            return self.size(data) == len(data)
        except (EOFError, RemoteProtocolError):
            return False

    def _parse(self, stream: Any, context: Any, path: str) -> bytes:  # noqa: ARG002  # construct's signature
        start = stream_tell(stream, path)
        rest = stream.read()
        stream.seek(start)
        try:
            size = self.size(rest)
        except RemoteProtocolError as error:
            raise construct.ValidationError(str(error), path=path) from error
        return bytes(stream_read(stream, size, path))

    def _build(self, obj: bytes, stream: Any, context: Any, path: str) -> bytes:  # noqa: ARG002
        if not self.holds(obj):
            raise NotMeasured(f"{obj[:40]!r} is not one {self.measure.name}", path=path)
        stream_write(stream, obj, len(obj), path)
        return obj


def _wrong(what: str, at: int) -> RemoteProtocolError:
    return RemoteProtocolError(what, at)


def _more(data: bytes, size: int) -> None:
    if size > len(data):
        raise EOFError(f"{size} bytes are needed, {len(data)} are there")


_HEADS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4}  # bytes of a count behind a tag
_HEADS |= {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_FIXED = {0xCA: 4, 0xCB: 8, **{0xCC + n: 1 << n for n in range(4)}, **{0xD0 + n: 1 << n for n in range(4)}}
_FIXED |= {0xD4 + n: (1 << n) + 1 for n in range(5)}


def _msgpack(data: bytes, _arguments: Sequence[bytes] = ()) -> int:
    at, left = 0, 1
    while left:
        _more(data, at + 1)
        tag, count = data[at], 0
        if tag == 0xC1:
            raise _wrong("c1 begins no value of MessagePack", at)
        if tag in _HEADS:
            _more(data, at + 1 + _HEADS[tag])
            count = int.from_bytes(data[at + 1 : at + 1 + _HEADS[tag]], "big")
            at += _HEADS[tag]
        at += 1
        values = 0
        if 0x80 <= tag <= 0x8F or tag in {0xDE, 0xDF}:
            values = 2 * (tag & 15 if tag < 0xC0 else count)
        elif 0x90 <= tag <= 0x9F or tag in {0xDC, 0xDD}:
            values = tag & 15 if tag < 0xC0 else count
        elif 0xA0 <= tag <= 0xBF:
            at += tag & 31
        elif tag in _HEADS:
            at += count + (tag in {0xC7, 0xC8, 0xC9})
        else:
            at += _FIXED.get(tag, 0)
        left += values - 1
        if left > _MOST:
            raise _wrong("more values than a frame can have", at)
    return at


_COUNTED = {b"$": 0, b"!": 0, b"=": 0, b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}
_LINES = {b"+", b"-", b":", b"_", b"#", b",", b"("}


def _line(data: bytes, at: int) -> int:
    end = data.find(b"\r\n", at)
    if end < 0:
        raise EOFError("a line has no end")
    return end


def _count(data: bytes, at: int, *, null: bool) -> tuple[int, int]:
    """(count, where its line ends)."""
    minus = null and data[at : at + 1] == b"-"
    first = end = at + minus
    while end < len(data) and data[end] in b"0123456789":
        if end > first and (minus or data[first] == ord("0")):
            raise _wrong("a count with a 0 in front, or below -1", at)
        if (minus and data[end] != ord("1")) or end - first == 10:
            raise _wrong("a count below -1, or of more than ten digits", at)
        end += 1
    behind = data[end : end + 2]
    if behind and (end == first or not b"\r\n".startswith(behind)):
        raise _wrong("a count is digits, and a line's end", end)
    _more(data, end + 2 + (end == first))
    return int(data[at:end]), end + 2


def _resp(data: bytes, _arguments: Sequence[bytes] = ()) -> int:
    at, left = 0, 1
    while left:
        _more(data, at + 1)
        tag = data[at : at + 1]
        values = int(tag == b"|")  # attributes stand in front of their value
        if tag in _LINES:
            at = _line(data, at + 1) + 2
        elif tag in _COUNTED:
            count, at = _count(data, at + 1, null=tag in {b"$", b"*"})
            if _COUNTED[tag] == 0 and count >= 0:
                end = data[at + count : at + count + 2]
                if not b"\r\n".startswith(end):
                    raise _wrong("no line's end behind a bulk string", at + count)
                at += count + 2
                _more(data, at)
            values += max(count, 0) * _COUNTED[tag]
        else:
            raise _wrong(f"{tag!r} begins no value of RESP", at)
        left += values - 1
        if left > _MOST:
            raise _wrong("more values than a frame can have", at)
    return at


def _ber(data: bytes, _arguments: Sequence[bytes] = ()) -> int:
    at = 1
    _more(data, 1)
    if data[0] == 0:
        raise _wrong("the end of an indefinite length", 0)
    if data[0] & 31 == 31:
        while True:
            _more(data, at + 1)
            if at == 5 or (at == 1 and data[at] == 0x80):
                raise _wrong("a tag that is too long, or longer than it must be", at)
            at += 1
            if data[at - 1] < 0x80:
                break
    _more(data, at + 1)
    first, at = data[at], at + 1
    if first < 0x80:
        return at + first
    if not 0x81 <= first <= 0x88:
        raise _wrong("an indefinite length, or one of more than 8 bytes", at - 1)
    length = 0
    for _ in range(first & 0x7F):
        _more(data, at + 1)
        length = length << 8 | data[at]
        at += 1
        if length > _MOST:
            raise _wrong("a length over 4 GB", at - 1)
    return at + length


_PLAIN = frozenset(b" \t\r\n,:+-.truefalsnE0123456789")
_SPACE = frozenset(b" \t\r\n")
_OPENS = {ord("}"): ord("{"), ord("]"): ord("[")}


def _json(data: bytes, _arguments: Sequence[bytes] = ()) -> int:
    open_: list[int] = []
    text = escaped = False
    for at, byte in enumerate(data):
        if text:
            if byte < 0x20:
                raise _wrong("a control character in a text", at)
            text = escaped or byte != ord('"')
            escaped = not escaped and byte == ord("\\")
        elif byte in b"{[":
            if len(open_) == 64:
                raise _wrong("over 64 deep", at)
            open_.append(byte)
        elif byte in _OPENS:
            if not open_ or open_.pop() != _OPENS[byte]:
                raise _wrong(f"{chr(byte)} closes nothing", at)
            if not open_:
                return at + 1
        elif byte == ord('"') and open_:
            text = True
        elif byte not in (_PLAIN if open_ else _SPACE):
            raise _wrong(f"{byte:02x} is nothing in JSON" if open_ else "no object and no array", at)
    raise EOFError("it is not closed")


def _own(name: str, reference: Callable[[bytes, Sequence[bytes]], int], examples: Sequence[bytes]) -> Measure:
    return Measure(name, lambda: native.measure_address(name), reference, examples)


msgpack_value = _own(
    "msgpack_value",
    _msgpack,
    [
        b"\xc0",
        b"\x94\x00\x01\xa3add\x92\x01\xcd\x02\x00",
        b"\x82\xa1a\x90\xd9\x01b\xcb" + bytes(8),
        b"\xdc\x00\x02\xc4\x02\0\0\xd4\x01\x02",
    ],
)
resp_value = _own(
    "resp_value",
    _resp,
    [
        b"+OK\r\n",
        b"*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\n",
        b"$-1\r\n",
        b"|1\r\n+a\r\n:1\r\n%1\r\n_\r\n*0\r\n",
    ],
)
ber_value = _own("ber_value", _ber, [b"\x05\0", b"\x30\x81\x03\x02\x01\x07", b"\x7f\x81\x01\x84\0\0\0\x02ab"])
json_value = _own("json_value", _json, [b"{}", b' {"a": [1, "]\\""], "b": null}', b"[[-1.5e3], true]"])
