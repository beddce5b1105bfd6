"""Asking a protocol's codec, whatever its tier.

The functions of ``protokit.native`` with a wire in place of an address, for filters, tools and tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from protokit import native
from protokit.errors import RemoteProtocolError
from protokit.model import Status
from protokit.wire import envelope
from protokit.wire.python import PythonCodec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protokit.model import Request
    from protokit.wire.format import WireFormat
    from protokit.wire.protocol import NativeCodec

    Wire: TypeAlias = NativeCodec | PythonCodec | WireFormat

_FIELDS = {
    native.EDIT_SERVICE: "service",
    native.EDIT_METHOD: "method",
    native.EDIT_VERSION: "version",
    native.EDIT_GROUP: "group",
}


def probe(wire: Wire, data: bytes) -> int:
    """Whether a connection may begin so: 0 yes, 1 more bytes are needed, -1 no."""
    if not isinstance(wire, PythonCodec):
        return native.probe(wire.address, data)
    return 1 if not data else {0: 0, 1: 1, -3: 0}.get(wire.message(data, wire.max_frame).result, -1)


def frame(wire: Wire, data: bytes, limit: int = 8 << 20) -> native.Message:
    """Frame the first message of ``data``."""
    if isinstance(wire, PythonCodec):
        return wire.message(data, limit)
    return native.frame(wire.address, data, limit)


def request(wire: Wire, data: bytes, max_headers: int = 1024) -> Request:
    """Read a whole request frame.

    Raises:
        RemoteProtocolError: its destination or headers cannot be read.
    """
    if isinstance(wire, PythonCodec):
        return wire.asked(data)
    return native.request(wire.address, data, max_headers)


def patch_id(wire: Wire, data: bytes, request_id: native.Id) -> bytes:
    """The frame with another id.

    Raises:
        RemoteProtocolError: ``data`` is no whole frame.
    """
    if not isinstance(wire, PythonCodec):
        return native.patch_id(wire.address, data, request_id)
    if wire.message(data, len(data)).result != 0:
        raise RemoteProtocolError("this is no whole frame")
    return wire.with_id(data, int(request_id) % (1 << 8 * wire.id_width)) if wire.id_width else data


def error(wire: Wire, status: int, request_id: native.Id, context: int, text: bytes) -> bytes:
    """The error reply of a status."""
    if isinstance(wire, PythonCodec):
        return wire.error(Status(status), int(request_id), context, text.decode("utf-8", "replace"))
    return native.error(wire.address, status, request_id, context, text)


def heartbeat(wire: Wire, request_id: native.Id, key: int = 0) -> bytes:
    """The codec's heartbeat; empty when it has none."""
    if isinstance(wire, PythonCodec):
        return wire.heartbeat(int(request_id), key)
    return native.heartbeat(wire.address, request_id, key)


def heartbeat_ack(wire: Wire, data: bytes) -> bytes:
    """The answer to a heartbeat."""
    if isinstance(wire, PythonCodec):
        return wire.heartbeat_ack(data)
    return native.heartbeat_ack(wire.address, data)


def drain(wire: Wire, context: int = 0) -> bytes:
    """The signal to go elsewhere; empty when the protocol has none."""
    return wire.drain(context) if isinstance(wire, PythonCodec) else native.drain(wire.address, context)


def id_bytes(wire: Wire) -> int:
    """How wide ids are; 0 without."""
    return native.id_bytes(wire.address)


def id_max(wire: Wire) -> int:
    """Bytes of the longest id, where ids are byte strings; else 0."""
    return native.id_max(wire.address)


def edit(wire: Wire, data: bytes, edits: Sequence[tuple[int, str, str | None]]) -> bytes:
    """A request frame with changes; see ``native.edit``."""
    if not isinstance(wire, PythonCodec):
        return wire.edit(data, edits)
    request = wire.asked(data)
    for what, key, value in edits:
        if what != native.EDIT_HEADER:
            setattr(request, _FIELDS[what], value or "")
        elif value is None:
            request.headers.pop(key, None)
        else:
            request.headers[key] = value
    return wire.edit(data, request)


def from_engine(wire: Wire, data: bytes) -> bytes:
    """The protocol's frame in what the engine holds of a request."""
    return envelope.frame(data) if isinstance(wire, PythonCodec) else data


def for_engine(wire: Wire, data: bytes) -> bytes:
    """What the engine takes for a request's frame."""
    if not isinstance(wire, PythonCodec):
        return data
    return wire.wrap(wire.message(data, len(data)), data, wire.asked(data))
