"""baidu_std in plain Python: what the codec in C is compared with."""

from __future__ import annotations

import struct

from protokit import Headers, Status, native
from protokit.errors import RemoteProtocolError
from protokit.wire import Message

VARINT, BYTES = 0, 2
CODES = {
    0: Status.OK,
    1001: Status.NO_SERVICE,
    1002: Status.NO_SERVICE,
    1003: Status.BAD_REQUEST,
    1004: Status.DENIED,
    1008: Status.TIMEOUT,
    1009: Status.UNAVAILABLE,
    1011: Status.OVERLOADED,
    2002: Status.INTERNAL,
    2003: Status.UNAVAILABLE,
    2004: Status.OVERLOADED,
    3000: Status.BAD_REQUEST,
}
RAISED = 2001
Field = tuple[int, int, int | bytes, bytes]  # number, wire type, value, a varint's bytes


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The value, and where it ends."""
    for end in range(at, min(at + 10, len(data))):
        if data[end] < 0x80:
            value = sum((byte & 0x7F) << 7 * n for n, byte in enumerate(data[at : end + 1]))
            if value >> 64:
                break
            return value, end + 1
    raise RemoteProtocolError("a varint does not end")


def fields(data: bytes) -> list[Field]:
    found: list[Field] = []
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag >> 32 or tag < 8 or tag & 7 not in {VARINT, 1, BYTES, 5}:
            raise RemoteProtocolError("no field begins so")
        start = at
        if tag & 7 == VARINT:
            value, at = varint(data, at)
            found.append((tag >> 3, VARINT, value, data[start:at]))
            continue
        size = 8 if tag & 7 == 1 else 4
        if tag & 7 == BYTES:
            size, at = varint(data, at)
        if size > len(data) - at:
            raise RemoteProtocolError("a field is cut")
        found.append((tag >> 3, tag & 7, data[at : at + size], b""))
        at += size
    return found


def last(message: list[Field], number: int, kind: int) -> int | bytes | None:
    """The last field of that number, all of which have to be of that wire type."""
    same = [one for one in message if one[0] == number]
    if any(one[1] != kind for one in same):
        raise RemoteProtocolError(f"field {number} is of another type")
    return same[-1][2] if same else None


def only(message: list[Field], number: int) -> list[Field] | None:
    """The message in that field, which may stand once."""
    same = [one for one in message if one[0] == number]
    if len(same) > 1:
        raise RemoteProtocolError(f"field {number} stands twice")
    inner = last(same, number, BYTES)
    return None if inner is None else fields(bytes(inner))


def header(message: bytes) -> tuple[str, str]:
    pair = fields(message)
    key, value = (last(pair, number, BYTES) or b"" for number in (1, 2))
    return native.text(bytes(key)), native.text(bytes(value))


def request(message: bytes) -> tuple[str, str, int]:
    """Service, method and budget in ms."""
    found = fields(message)
    service, method = (native.text(bytes(last(found, number, BYTES) or b"")) for number in (1, 2))
    budget = int(last(found, 8, VARINT) or 0)
    return service, method, budget if budget < 1 << 31 else 0


def headers(found: list[Field], number: int) -> Headers:
    out = Headers()
    for one in found:
        if one[0] == number:
            if one[1] != BYTES:
                raise RemoteProtocolError(f"field {number} is no message")
            key, value = header(bytes(one[2]))
            out[key] = value
    return out


def message(data: bytes, *, extensions: bool = False) -> Message:
    """The frame in front; ``extensions``: in jprotobuf-rpc's dialect."""
    if data[:4] != b"PRPC"[: len(data)]:
        raise RemoteProtocolError("PRPC is expected", 0)
    if len(data) < 12:
        raise EOFError
    size, meta_size = struct.unpack_from(">II", data, 4)
    if meta_size > size:
        raise RemoteProtocolError("the meta is larger than the message", 8)
    if len(data) < 12 + size:
        raise EOFError
    meta = fields(data[12 : 12 + meta_size])
    numbers = [one[0] for one in meta]
    ids = [one for one in meta if one[0] == 4]
    if len(ids) != 1 or ids[0][1] != VARINT:
        raise RemoteProtocolError("there has to be one correlation id", 12)
    if numbers.count(1) > 1 or numbers.count(2) > 1 or 6 in numbers or not {1, 2} & {*numbers}:
        raise RemoteProtocolError("one request, or one answer, in one frame", 12)
    asked, answered = last(meta, 1, BYTES), last(meta, 2, BYTES)
    kind, status = "request", Status.OK
    called: tuple[str | None, str, int] = (None, "", 0)
    found = Headers()
    if answered is not None:
        code = last(fields(bytes(answered)), 1, VARINT) or 0
        raised = Status.APP_ERROR if extensions else Status.INTERNAL
        kind, status = "response", raised if code == RAISED else CODES.get(int(code), Status.APP_ERROR)
    try:
        if answered is None:
            called = request(bytes(asked or b""))
        if not extensions:
            found = headers(meta, 9)
        elif answered is None:
            found = headers(fields(bytes(asked or b"")), 7)
    except RemoteProtocolError:
        called = (None, "", 0)
    return Message(
        kind,
        12 + size,
        ids[0][3],
        status,
        called[2],
        service=called[0],
        method=called[1],
        version="",
        group="",
        headers=found,
        fields=None,
    )


def in_jprotobuf(data: bytes) -> Message:
    """As jprotobuf-rpc has it."""
    return message(data, extensions=True)
