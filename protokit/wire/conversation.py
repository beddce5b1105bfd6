"""What a codec in Python says of some bytes, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from protokit.model import Status

Kind = Literal["request", "oneway", "response", "heartbeat", "ack", "drain", "undrain", "ignore", "piece"]
Side = Literal["client", "server"]


@dataclass(slots=True)
class Frame:
    """What the beginning of some bytes is.

    Attributes:
        size: of the whole frame, bytes. More than there are: call again when they have come. What else is
            known then matters only where the frame is larger than allowed, for the error reply.
        kind: an ``ack`` answers a heartbeat; a ``drain`` says that its sender wants no new requests here; a
            ``piece`` goes on with the message that its sender began with ``more``.
        id: as on the wire; 0 where there are none.
        status: of a response.
        timeout_ms: the caller's budget; 0 where the frame names none.
        context: what ``error`` and ``drain`` need to know of this frame, 32 bits.
        upstream_key: requests with different keys never share an upstream connection, 32 bits.
        last: its sender's last message on this connection: a client asks, a server answers nothing behind it.
        more: not all of it: pieces follow, or to a request more answers; the last one is without.
    """

    size: int
    kind: Kind = "request"
    id: int = 0
    status: Status = Status.OK
    timeout_ms: int = 0
    context: int = 0
    upstream_key: int = 0
    last: bool = False
    more: bool = False


@dataclass(slots=True)
class Peer:
    """Who sent the bytes that ``frame`` is given.

    Attributes:
        side: ``client`` or ``server``; None where a tool asks that does not know.
        ended: it sends no more: these bytes are its last.
        asked: of a server where answers come in the requests' order: the context of the request that is
            answered next; 0 where none is.
        state: whatever ``frame`` keeps of this direction of the connection; None before its first frame.
    """

    side: Side | None = None
    ended: bool = False
    asked: int = 0
    state: Any = None


@dataclass(slots=True)
class Reply:
    """What replies to a request are built from.

    Attributes:
        status: of an error, never OK or APP_ERROR.
        id: the request's own.
        context: the request's, as ``frame`` gave it; 0 where there was none.
        text: of an error: what a person reads, at most 512 bytes of UTF-8.
        kept: what ``keep`` kept of the request.
    """

    status: Status = Status.OK
    id: int = 0
    context: int = 0
    text: str = ""
    kept: bytes = b""
