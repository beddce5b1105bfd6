"""What the engine and a codec in Python say to each other about a frame (``native/src/wire/envelope.h``)."""

from __future__ import annotations

import struct
from typing import NamedTuple

MAGIC = b"PKE1"
BUILD, WRONG, TOO_LARGE, UNREADABLE, ENDED = 1, 2, 4, 8, 16
_HEAD = struct.Struct("=4sIQQIIIBBBBHHHHHxx")
SIZE = _HEAD.size
_TEXT_MAX = 0xFFFF
KEEP_MAX = 256


class Head(NamedTuple):
    """What stands in front. ``id`` goes on the wire, where ``own_id`` stands now."""

    magic: bytes
    size: int
    id: int
    own_id: int
    timeout_ms: int
    context: int
    upstream_key: int
    kind: int
    status: int
    flags: int
    says: int
    service: int
    method: int
    version: int
    group: int
    kept: int

    @property
    def texts(self) -> int:
        """Bytes of the four texts."""
        return self.service + self.method + self.version + self.group

    @property
    def front(self) -> int:
        """Where the frame begins."""
        return SIZE + self.texts + self.kept


def pack(
    kind: int,
    frame: bytes = b"",
    *,
    id: int = 0,  # noqa: A002  # the field's name
    status: int = 0,
    timeout_ms: int = 0,
    context: int = 0,
    upstream_key: int = 0,
    flags: int = 0,
    says: int = 0,
    texts: tuple[str, str, str, str] | None = None,
    kept: bytes = b"",
) -> bytes:
    """An envelope around a frame, and what is kept of it. Texts that are too long make it UNREADABLE."""
    raw = [text.encode("utf-8", "surrogatepass") for text in texts] if texts else [b"", b"", b"", b""]
    if max(map(len, raw)) > _TEXT_MAX:
        raw, flags = [b"", b"", b"", b""], flags | UNREADABLE
    sizes = list(map(len, (*raw, kept)))
    size = SIZE + sum(sizes) + len(frame)
    head = _HEAD.pack(
        MAGIC, size, id, id, timeout_ms, context, upstream_key, kind, status, flags, says, *sizes
    )
    return b"".join((head, *raw, kept, frame))


def head(data: bytes | bytearray, at: int = 0) -> Head | None:
    """The head of the envelope that begins there; None while it is not whole."""
    return Head(*_HEAD.unpack_from(data, at)) if len(data) - at >= SIZE else None


def frame(data: bytes) -> bytes:
    """The frame in a whole envelope."""
    return data[Head(*_HEAD.unpack_from(data)).front :]
