"""Whole Dubbo frames from plain values and back, in hessian2: for tools, examples and tests."""

from __future__ import annotations

import struct
from typing import Any

from protokit.errors import RemoteProtocolError
from protokit.hessian import Reader, Writer

HEADER = struct.Struct(">HBBQI")
MAGIC = 0xDABB
HESSIAN2 = 2
OK = 20
_REQUEST, _TWOWAY, _EVENT = 0x80, 0x40, 0x20


class Call:
    """A request.

    Attributes:
        id: unsigned, 64 bits.
        service, method, version, descriptor, arguments, attachments: as they stand in the body.
        twoway: whether an answer is expected.
    """

    def __init__(
        self,
        service: str,
        method: str,
        descriptor: str,
        arguments: list[Any],
        *,
        version: str = "0.0.0",
        attachments: dict[str, Any] | None = None,
        request_id: int = 0,
        twoway: bool = True,
    ) -> None:
        self.id = request_id
        self.service = service
        self.method = method
        self.version = version
        self.descriptor = descriptor
        self.arguments = arguments
        self.attachments = {} if attachments is None else attachments
        self.twoway = twoway

    def encode(self) -> bytes:
        """The whole frame."""
        writer = Writer()
        for value in ("2.0.2", self.service, self.version, self.method, self.descriptor, *self.arguments):
            writer.write(value)
        named = {"path": self.service, "interface": self.service, "version": self.version}
        writer.write(named | self.attachments)
        flag = _REQUEST | HESSIAN2 | (_TWOWAY if self.twoway else 0)
        return HEADER.pack(MAGIC, flag, 0, self.id, len(writer.data)) + bytes(writer.data)


class Answer:
    """A response.

    Attributes:
        status: 20 is OK.
        value: what the service returned; the text where the status is another.
        exception: what the service threw, else None.
        attachments: of the answer, None where it has no place for them.
    """

    def __init__(
        self,
        request_id: int,
        status: int,
        value: Any,
        exception: Any = None,
        attachments: dict[str, Any] | None = None,
    ) -> None:
        self.id = request_id
        self.status = status
        self.value = value
        self.exception = exception
        self.attachments = attachments

    def encode(self) -> bytes:
        """The whole frame."""
        writer = Writer()
        if self.status == OK:
            kind = 0 if self.exception is not None else 2 if self.value is None else 1
            writer.write(kind if self.attachments is None else kind + 3)
        if self.status != OK or self.exception is not None or self.value is not None:
            writer.write(self.value if self.exception is None else self.exception)
        if self.status == OK and self.attachments is not None:
            writer.write(self.attachments)
        return HEADER.pack(MAGIC, HESSIAN2, self.status, self.id, len(writer.data)) + bytes(writer.data)


class Event:
    """A heartbeat or another event; ``body`` as on the wire."""

    def __init__(self, request_id: int, body: bytes, *, request: bool, twoway: bool) -> None:
        self.id = request_id
        self.body = body
        self.request = request
        self.twoway = twoway

    def encode(self) -> bytes:
        """The whole frame."""
        flag = _EVENT | HESSIAN2 | (_REQUEST if self.request else 0) | (_TWOWAY if self.twoway else 0)
        return HEADER.pack(MAGIC, flag, 0 if self.request else OK, self.id, len(self.body)) + self.body


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames in ``data``, and what is left.

    Raises:
        RemoteProtocolError: it is not Dubbo.
    """
    frames = []
    at = 0
    while len(data) - at >= HEADER.size:
        magic, _, _, _, size = HEADER.unpack_from(data, at)
        if magic != MAGIC:
            raise RemoteProtocolError(f"expected DA BB, got {data[at : at + 2].hex()}", at)
        end = at + HEADER.size + size
        if end > len(data):
            break
        frames.append(data[at:end])
        at = end
    return frames, data[at:]


def decode(frame: bytes) -> Call | Answer | Event:
    """Read one whole hessian2 frame.

    Raises:
        RemoteProtocolError: its body is not what its header says.
    """
    _, flag, status, request_id, _ = HEADER.unpack_from(frame)
    body = frame[HEADER.size :]
    if flag & _EVENT:
        return Event(request_id, body, request=bool(flag & _REQUEST), twoway=bool(flag & _TWOWAY))
    reader = Reader(body)
    if not flag & _REQUEST:
        return _answer(reader, request_id, status)
    _, service, version, method, descriptor = (reader.read() for _ in range(5))
    if not isinstance(descriptor, str):
        raise RemoteProtocolError(f"{descriptor!r} is no parameter descriptor")
    arguments = [reader.read() for _ in range(count_parameters(descriptor))]
    attachments = None if reader.done else reader.read()
    return Call(
        service,
        method,
        descriptor,
        arguments,
        version=version,
        attachments=attachments,
        request_id=request_id,
        twoway=bool(flag & _TWOWAY),
    )


def _answer(reader: Reader, request_id: int, status: int) -> Answer:
    if status != OK:
        return Answer(request_id, status, reader.read())
    kind = reader.read()
    value = None if kind in {2, 5} else reader.read()
    attachments = reader.read() if kind >= 3 else None
    if kind in {0, 3}:
        return Answer(request_id, status, None, value, attachments)
    return Answer(request_id, status, value, None, attachments)


def count_parameters(descriptor: str) -> int:
    """How many parameters a JVM descriptor names.

    Raises:
        RemoteProtocolError: it is none.
    """
    return len(parameters(descriptor))


def parameters(descriptor: str) -> list[str]:
    """The parameters that a JVM descriptor names.

    Raises:
        RemoteProtocolError: it is none.
    """
    found: list[str] = []
    at = 0
    while at < len(descriptor):
        start = at
        while descriptor[at : at + 1] == "[":
            at += 1
        end = descriptor.find(";", at) if descriptor[at : at + 1] == "L" else at
        if end < 0 or descriptor[at : at + 1] not in set("LZBCSIJFDV"):
            raise RemoteProtocolError(f"{descriptor!r} is no parameter descriptor")
        at = end + 1
        found.append(descriptor[start:at])
    return found
