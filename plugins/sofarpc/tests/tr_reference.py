"""TR in plain Python: what the codec in C is compared with, and what its test frames are made by."""

from __future__ import annotations

import struct
from typing import Any

from protokit import Headers, Status, native
from protokit.errors import RemoteProtocolError
from protokit.wire import Message

HESSIAN1, DRAFT = 1, 4
FIXED = {
    0x69: 1,
    0x4A: 1,
    0x6A: 2,
    0x4B: 2,
    0x6B: 4,
    0x52: 4,
    0x44: 8,
    0x64: 8,
    **dict.fromkeys(b"NTF\x67\x68", 0),
}
COMPACT = [
    (0x80, 0xBF, 0x90, 0),
    (0xC0, 0xCF, 0xC8, 1),
    (0xD0, 0xD7, 0xD4, 2),
    (0xD8, 0xEF, 0xE0, 0),
    (0xF0, 0xFF, 0xF8, 1),
    (0x38, 0x3F, 0x3C, 2),
]


class UnreadableError(Exception):
    """A Hessian section that is malformed or beyond the limits."""


def is_shortest(text: bytes) -> bool:
    try:
        text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


class Hessian:
    """Values of Hessian 1.0 and of the draft of Hessian 2: texts are bytes, integers int, objects dict."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.classes: list[list[bytes | None]] = []

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise UnreadableError
        self.at += size
        return self.data[self.at - size : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def peek(self) -> int:
        if self.at == len(self.data):
            raise UnreadableError
        return self.data[self.at]

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def units(self, count: int) -> bytes:
        start = self.at
        while count > 0:
            first = self.byte()
            if 0x80 <= first < 0xC0 or first >= 0xF8:
                raise UnreadableError
            more = 0 if first < 0x80 else 1 if first < 0xE0 else 2 if first < 0xF0 else 3
            self.take(more)
            count -= 2 if more == 3 else 1
        if count < 0:
            raise UnreadableError
        return self.data[start : self.at]

    @staticmethod
    def is_string(tag: int) -> bool:
        return tag < 0x20 or tag in b"Ss"

    def string(self, tag: int) -> bytes | None:
        """None for one in chunks, or with a character in more bytes than it needs."""
        chunks = []
        while True:
            chunks.append(self.units(tag if tag < 0x20 else self.unsigned(2)))
            if tag != 0x73:
                return chunks[0] if len(chunks) == 1 and is_shortest(chunks[0]) else None
            tag = self.byte()
            if not self.is_string(tag):
                raise UnreadableError

    def integer(self, tag: int) -> int | None:
        if tag in b"Iw":
            return int.from_bytes(self.take(4), "big", signed=True)
        if tag == 0x4C:
            return int.from_bytes(self.take(8), "big", signed=True)
        for first, last, zero, size in COMPACT:
            if first <= tag <= last:
                return ((tag - zero) << 8 * size) + self.unsigned(size)
        return None

    def needed(self) -> int:
        number = self.integer(self.byte())
        if number is None:
            raise UnreadableError
        return number

    def count(self, most: int) -> int:
        number = self.needed()
        if not 0 <= number <= min(most, len(self.data) - self.at):
            raise UnreadableError
        return number

    def name(self) -> bytes | None:
        tag = self.byte()
        if not self.is_string(tag):
            raise UnreadableError
        return self.string(tag)

    def type(self) -> None:
        if self.peek() == 0x74:
            self.byte()
            self.units(self.unsigned(2))
        elif self.peek() == 0x75:
            self.byte()
            self.needed()

    def ended(self) -> bool:
        if self.at < len(self.data) and self.data[self.at] == 0x7A:
            self.at += 1
            return True
        return False

    def value(self, depth: int = 0, wanted: Any = None) -> Any:
        """``wanted``: an object's fields that are looked for, or TEXT; one in chunks hides what it says."""
        if depth == 128:
            raise UnreadableError
        tag = self.byte()
        while tag == 0x4F:
            self.units(self.count(0xFFFF))
            fields = self.count(256)
            if len(self.classes) == 64:
                raise UnreadableError
            self.classes.append([self.name() for _ in range(fields)])
            tag = self.byte()
        if self.is_string(tag):
            found = self.string(tag)
            if found is None and wanted is TEXT:
                raise UnreadableError
            return found
        number = self.integer(tag)
        return number if number is not None else self.other(tag, depth + 1, wanted)

    def other(self, tag: int, depth: int, wanted: Any) -> Any:
        fields = wanted if isinstance(wanted, dict) else {}
        if tag in FIXED:
            self.take(FIXED[tag])
        elif tag == 0x4D:
            self.type()
            found = {}
            while not self.ended():
                key = self.value(depth, TEXT if isinstance(wanted, dict) else None)
                value = self.value(depth, fields.get(key) if isinstance(key, bytes) else None)
                if isinstance(key, bytes):
                    found[key] = value
            return found
        elif tag == 0x6F:
            index = self.needed()
            if not 0 <= index < len(self.classes):
                raise UnreadableError
            return {name: self.value(depth, fields.get(name)) for name in self.classes[index]}
        elif tag == 0x56:
            self.type()
            if self.at < len(self.data) and self.data[self.at] in b"nl":
                self.take(2 if self.peek() == 0x6E else 5)  # its length
            while not self.ended():
                self.value(depth)
        elif tag == 0x76:
            self.needed()
            for _ in range(self.count(2**31 - 1)):
                self.value(depth)
        else:
            self.binary(tag)
        return None

    def binary(self, tag: int) -> None:
        while tag in b"Bb":
            self.take(self.unsigned(2))
            if tag == 0x42:
                return
            tag = self.byte()
        if not 0x20 <= tag <= 0x2F:
            raise UnreadableError
        self.take(tag - 0x20)


TEXT = "text"
CONNECTION = {b"ctx": {}}
APPLICATION = {b"targetServiceUniqueName": TEXT, b"methodName": TEXT}


def read_object(section: bytes, wanted: Any = None) -> dict[bytes, Any] | None:
    """The object in front; None where there is none that can be read."""
    try:
        found = Hessian(section).value(wanted=wanted)
    except UnreadableError:
        return None
    return found if isinstance(found, dict) else None


def message(data: bytes) -> Message:
    """The frame in front, as ``WireFormat.message`` would read it."""
    if data[:1] != b"\x0d":
        raise RemoteProtocolError("0d is expected", 0)
    if data[1:2] > b"\x01":
        raise RemoteProtocolError("00 or 01 is expected", 1)
    if len(data) < 14:
        raise EOFError
    kind, codec, way = data[1], data[2], data[3]
    sizes = [int.from_bytes(data[5:9], "big", signed=True), data[9]]
    sizes.append(int.from_bytes(data[10:14], "big", signed=True))
    if min(sizes) < 0:
        raise RemoteProtocolError("a length is negative", 5)
    total = 14 + sum(sizes)
    if len(data) < total:
        raise EOFError
    connection = application = None
    if codec in {HESSIAN1, DRAFT}:
        connection = read_object(data[14 : 14 + sizes[0]], CONNECTION)
        application = read_object(data[total - sizes[2] : total], APPLICATION)
    context = (connection or {}).get(b"ctx")
    number = context.get(b"id") if isinstance(context, dict) else None
    result = (connection or {}).get(b"result") if kind == 1 else 0
    service = (application or {}).get(b"targetServiceUniqueName")
    method = (application or {}).get(b"methodName")
    parts = service.split(b":", 2) if isinstance(service, bytes) else []
    texts = [native.text(part) for part in [*parts, b"", b""][:3]] if parts else [None, "", ""]
    unreadable = codec in {HESSIAN1, DRAFT} and not isinstance(number, int)
    return Message(
        ("ignore" if unreadable else "response") if kind == 1 else "oneway" if way == 1 else "request",
        total,
        number % 2**64 if isinstance(number, int) else 0,
        Status.INTERNAL if isinstance(result, int) and result != 0 and not unreadable else Status.OK,
        0,
        service=texts[0],
        method=native.text(method) if isinstance(method, bytes) else "",
        version=texts[1],
        group=texts[2],
        headers=Headers(),
        fields=DRAFT if codec == DRAFT else HESSIAN1,  # the dialect that an answer is in
    )


# Making frames.

REMOTING = "com.taobao.remoting.impl."
REQUEST, RESPONSE = f"{REMOTING}ConnectionRequest", f"{REMOTING}ConnectionResponse"
SOFA = "com.alipay.sofa.rpc.core.request.SofaRequest"


def text(value: str | None) -> bytes:
    return b"N" if value is None else b"S" + struct.pack(">H", len(value)) + value.encode()


def as_map(name: str, fields: dict[str, bytes]) -> bytes:
    """An object of Hessian 1.0."""
    body = b"".join(text(key) + value for key, value in fields.items())
    return b"Mt" + struct.pack(">H", len(name)) + name.encode() + body + b"z"


def small(value: int) -> bytes:
    """An int of the draft, 0 to 2047."""
    return bytes([0x90 + value]) if value < 48 else bytes([0xC8 + (value >> 8), value & 0xFF])


def definition(name: str, names: list[str]) -> bytes:
    return (
        b"O"
        + small(len(name))
        + name.encode()
        + small(len(names))
        + b"".join(bytes([len(one)]) + one.encode() for one in names)
    )


def long(value: int) -> bytes:
    """A long of the draft, as short as it can be written."""
    if -8 <= value < 16:
        return bytes([0xE0 + value])
    if -2048 <= value < 2048:
        return bytes([0xF8 + (value >> 8), value & 0xFF])
    if -(2**18) <= value < 2**18:
        return bytes([0x3C + (value >> 16)]) + struct.pack(">H", value & 0xFFFF)
    if -(2**31) <= value < 2**31:
        return b"w" + struct.pack(">i", value)
    return b"L" + struct.pack(">q", value)


def signed(request_id: int) -> int:
    request_id %= 2**64
    return request_id - 2**64 if request_id >= 2**63 else request_id


def connection_request(codec: int, request_id: int) -> bytes:
    number = signed(request_id)
    if codec == HESSIAN1:
        context = as_map(
            f"{REQUEST}$RequestContext", {"id": b"L" + struct.pack(">q", number), "this$0": b"R\0\0\0\0"}
        )
        return as_map(REQUEST, {"ctx": context})
    inner = definition(f"{REQUEST}$RequestContext", ["id", "this$0"]) + b"o\x91" + long(number) + b"J\0"
    return definition(REQUEST, ["ctx"]) + b"o\x90" + inner


def connection_response(codec: int, request_id: int, result: int = 0, error: str | None = None) -> bytes:
    number = signed(request_id)
    if codec == HESSIAN1:
        context = as_map(
            f"{RESPONSE}$ResponseContext", {"id": b"L" + struct.pack(">q", number), "this$0": b"R\0\0\0\0"}
        )
        fields = {"host": text("127.0.0.1:12200"), "result": b"I" + struct.pack(">i", result)}
        return as_map(RESPONSE, {**fields, "errorMsg": text(error), "errorStack": b"N", "ctx": context})
    inner = definition(f"{RESPONSE}$ResponseContext", ["id", "this$0"]) + b"o\x91" + long(number) + b"J\0"
    outer = definition(RESPONSE, ["host", "result", "errorMsg", "errorStack", "ctx"]) + b"o\x90N"
    return outer + small(result) + text(error) + b"N" + inner


def frame(
    codec: int, connection: bytes, name: str, application: bytes, *, kind: int = 0, way: int = 2
) -> bytes:
    head = bytes([0x0D, kind, codec, way, 0]) + struct.pack(
        ">iBi", len(connection), len(name), len(application)
    )
    return head + connection + name.encode() + application


def sofa_request(codec: int, service: str, method: str, *arguments: bytes) -> bytes:
    """A SofaRequest and its arguments behind it."""
    fields = {
        "targetAppName": b"N",
        "methodName": text(method),
        "targetServiceUniqueName": text(service),
        "requestProps": b"N",
        "methodArgSigs": b"Vt\0\x07[stringl"
        + struct.pack(">i", len(arguments))
        + text("java.lang.String") * len(arguments)
        + b"z",
    }
    if codec == HESSIAN1:
        return as_map(SOFA, fields) + b"".join(arguments)
    return definition(SOFA, [*fields]) + b"o\x90" + b"".join(fields.values()) + b"".join(arguments)


def renumber(data: bytes, request_id: int) -> bytes:
    """The same frame with another ``ctx.id``: its connection object is written anew."""
    kind, codec = data[1], data[2]
    size = int.from_bytes(data[5:9], "big")
    rest = data[14 + size :]
    old = read_object(data[14 : 14 + size]) or {}
    if kind == 0:
        connection = connection_request(codec, request_id)
    else:
        error = old.get(b"errorMsg")
        connection = connection_response(
            codec, request_id, old.get(b"result") or 0, None if error is None else error.decode()
        )
    return data[:5] + struct.pack(">i", len(connection)) + data[9:14] + connection + rest
