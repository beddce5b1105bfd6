"""TARS in plain Python: what the codec in C is compared with."""

from __future__ import annotations

from typing import Any

from protokit import Headers, Status, native
from protokit.errors import RemoteProtocolError
from protokit.wire import Message

WIDTHS = {0: 1, 1: 2, 2: 4, 3: 8, 4: 4, 5: 8}
INTEGERS, TEXTS = {0, 1, 2, 3, 12}, {6, 7}
MAP, LIST, BEGIN, END, ZERO, BYTES = 8, 9, 10, 11, 12, 13
CODES = {
    0: Status.OK,
    -1: Status.BAD_REQUEST,
    -3: Status.NO_SERVICE,
    -4: Status.NO_SERVICE,
    -6: Status.TIMEOUT,
    -7: Status.TIMEOUT,
    -8: Status.UNAVAILABLE,
    -9: Status.OVERLOADED,
    -10: Status.APP_ERROR,
}
PROBE, ONEWAY = 0x2000, 1
DEPTH = 32


class Fields:
    """Fields one after the other: their tags, types and values."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.at:
            raise RemoteProtocolError("a field is cut")
        self.at += size
        return self.data[self.at - size : self.at]

    def head(self) -> tuple[int, int]:
        byte = self.take(1)[0]
        return (self.take(1)[0] if byte >> 4 == 15 else byte >> 4), byte & 15

    def count(self) -> int:
        left = len(self.data) - self.at
        kind = self.data[self.at] & 15 if left else END
        if kind not in INTEGERS:
            raise RemoteProtocolError("a count is no integer")
        _, _, found = self.field(0)
        if not 0 <= found <= left:
            raise RemoteProtocolError("a count is larger than what is there")
        return int(found)

    def field(self, depth: int) -> tuple[int, int, Any]:
        tag, kind = self.head()
        if kind in WIDTHS:
            return tag, kind, int.from_bytes(self.take(WIDTHS[kind]), "big", signed=True)
        if kind in TEXTS:
            return tag, kind, self.take(int.from_bytes(self.take(1 if kind == 6 else 4), "big"))
        if kind in {MAP, LIST}:
            count = self.count() * (2 if kind == MAP else 1)
            return tag, kind, self.fields(count, depth)
        if kind == BEGIN:
            return tag, kind, self.fields(None, depth)
        if kind == BYTES:
            inner = self.take(1)[0]
            if inner & 15 or inner >> 4 == 15:
                raise RemoteProtocolError("bytes are expected")
            return tag, kind, self.take(self.count())
        if kind in {END, ZERO}:
            return tag, kind, 0
        raise RemoteProtocolError("there is no such type")

    def fields(self, count: int | None, depth: int) -> list[tuple[int, int, Any]]:
        """So many of them, or those up to the end of a structure."""
        if depth == DEPTH:
            raise RemoteProtocolError("nested too deep")
        found: list[tuple[int, int, Any]] = []
        while count is None or len(found) < count:
            one = self.field(depth + 1)
            if one[1] == END:
                if count is None:
                    break
                raise RemoteProtocolError("a structure ends that did not begin")
            found.append(one)
        return found


def header(key: tuple[int, int, Any], value: tuple[int, int, Any]) -> tuple[str, str]:
    if key[0] != 0 or value[0] != 1 or not {key[1], value[1]} <= TEXTS:
        raise RemoteProtocolError("the context is no map of texts")
    return native.text(key[2]), native.text(value[2])


def front(found: Fields) -> tuple[list[int], list[bytes]]:
    """The four integers in front, and their bytes."""
    values, raw = [], []
    for wanted in (1, 2, 3, 4):
        start = found.at
        tag, kind, value = found.field(DEPTH)
        if tag != wanted or kind not in INTEGERS:
            raise RemoteProtocolError(f"field {wanted} is expected", start)
        values.append(int(value))
        raw.append(found.data[start + 1 : found.at])
    return values, raw


def behind(found: Fields) -> dict[int, tuple[int, Any]]:
    """Type and value of all others by their tags, which rise; the first is 5."""
    out: dict[int, tuple[int, Any]] = {}
    while found.at < len(found.data):
        tag, kind, value = found.field(0)
        if tag <= max(out, default=4) or (not out and (tag != 5 or kind not in INTEGERS | TEXTS)):
            raise RemoteProtocolError("a field is out of its order")
        out[tag] = kind, value
    if not out:
        raise RemoteProtocolError("a servant or a code is expected")
    wanted = {6: TEXTS, 8: INTEGERS, 9: {MAP}} if out[5][0] in TEXTS else {8: TEXTS, 9: {MAP}}
    if any(tag in out and out[tag][0] not in kinds for tag, kinds in wanted.items()):
        raise RemoteProtocolError("a field is of another type")
    return out


def headers(context: list[tuple[int, int, Any]]) -> Headers:
    out = Headers()
    for key, value in zip(context[::2], context[1::2], strict=True):
        name, text = header(key, value)
        out[name] = text
    return out


def asked(kind: int, method: bytes) -> str:
    if method == b"tars_ping":
        return "ignore" if kind == ONEWAY else "heartbeat"
    return "oneway" if kind == ONEWAY else "request"


def message(data: bytes) -> Message:
    """The frame in front."""
    total = int.from_bytes(data[:4], "big")
    if len(data) >= 4 and total < 12:
        raise RemoteProtocolError("a size of 12 bytes or more is expected", 0)
    if data[4:5] not in {b"", b"\x10"} or (data[5:6] and data[5] not in {1, 5}):
        raise RemoteProtocolError("version 1 or 5 is expected", 4)
    if len(data) < max(total, 6):
        raise EOFError
    found = Fields(data[:total])
    found.at = 4
    values, raw = front(found)
    rest = behind(found)
    asks = rest[5][0] in TEXTS
    number = raw[3 if asks else 2]
    if len(number) == 8:
        raise RemoteProtocolError("an id of 8 bytes")
    names: tuple[str | None, str] = ("", "")
    status, budget = Status.OK, 0
    if asks:
        method = rest.get(6, (6, b""))[1]
        kind = asked(values[1], method)
        names = native.text(rest[5][1]), native.text(method)
        budget = rest.get(8, (ZERO, 0))[1]
    elif values[3] & PROBE:
        kind = "ack"
    else:
        kind, code = "response", rest[5][1]
        status = CODES.get(code, Status.APP_ERROR if code > 0 else Status.INTERNAL)
    try:
        context = headers(rest.get(9, (MAP, []))[1])
    except RemoteProtocolError:
        context, names = Headers(), (None, "")
    return Message(
        kind,
        total,
        number[1:] if len(number) == 4 and number[0] == 1 else number,
        status,
        budget if 0 < budget < 1 << 31 else 0,
        service=names[0],
        method=names[1],
        version="",
        group="",
        headers=context,
        fields=None,
    )
