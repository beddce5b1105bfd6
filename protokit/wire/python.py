"""A codec as an ordinary class: for prototypes, and for protocols where speed does not matter.

It runs on the main thread and never in the engine, which sees envelopes (``protokit.wire.envelope``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from protokit import native
from protokit.errors import LocalProtocolError, PluginError, RemoteProtocolError
from protokit.model import Answer, Request, Status
from protokit.wire import envelope
from protokit.wire.codec import CalledCodec, Codec

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["request", "oneway", "response", "heartbeat", "ack", "drain", "undrain", "ignore"]
Mode = Literal["multiplexed", "ordered", "pingpong"]

_KINDS = {
    kind: number
    for number, kind in enumerate(
        ("request", "oneway", "response", "heartbeat", "ack", "drain", "undrain", "ignore"), 1
    )
}
_MODES = ("multiplexed", "ordered", "pingpong")
_WIDEST = 0xFFFFFFFF
_RESERVED = 4
_BYTES = "ids that are byte strings take a declared format or a codec in C"


@dataclass(slots=True)
class Frame:
    """What the beginning of some bytes is.

    Attributes:
        size: of the whole frame, bytes. More than there are: call again when they have come. What else is
            known then matters only where the frame is larger than allowed, for the error reply.
        kind: an ``ack`` answers a heartbeat; a ``drain`` says that its sender wants no new requests here.
        id: as on the wire; 0 where there are none.
        status: of a response.
        timeout_ms: the caller's budget; 0 where the frame names none.
        context: what ``error`` and ``drain`` need to know of this frame, 32 bits.
        upstream_key: requests with different keys never share an upstream connection, 32 bits.
    """

    size: int
    kind: Kind = "request"
    id: int = 0
    status: Status = Status.OK
    timeout_ms: int = 0
    context: int = 0
    upstream_key: int = 0


class PythonCodec:
    """A protocol's codec in Python; subclass it and give an instance to ``Protocol``.

    Methods only compute: no input or output, no waiting, nothing kept between calls; a connection may
    call any of them at any time. What a peer sent and what is wrong in it is a ``RemoteProtocolError``. Any
    other exception is a mistake in the codec: it is logged, and ends the connection or that one request.

    Attributes:
        mode: ``multiplexed``: requests have ids; ``ordered``: answers come in the order of the requests;
            ``pingpong``: one request at a time.
        id_bytes: how wide ids are, 1 to 8 bytes; of no meaning where there are none.
        reserved_ids: up to four that are never issued.
        optional_drain: clients that do not know what ``drain`` gives close the connection: it is sent only
            where the listener has ``goaway: true``.
        max_frame: bytes of the largest frame, where the configuration's limit is not lower.
    """

    tier = "python"
    mode: Mode = "multiplexed"
    id_bytes: int = 8
    reserved_ids: Sequence[int] = ()
    optional_drain: bool = False
    max_frame: int = 8 << 20
    name: str = ""
    _address: native.Address | None = None

    def frame(self, data: bytes) -> Frame | None:
        """Read the beginning of ``data``, one byte or more; other frames may follow.

        Returns:
            The frame, as soon as its size is known; None while that takes more bytes.

        Raises:
            RemoteProtocolError: this is not the protocol; best at the first wrong byte, its ``offset``.
        """
        raise NotImplementedError

    def request(self, frame: bytes) -> Request:
        """What a whole request or one-way frame asks for: service, method, headers and so on.

        Raises:
            RemoteProtocolError: it cannot be read; the caller is told BAD_REQUEST.
        """
        raise NotImplementedError

    def with_id(self, frame: bytes, request_id: int) -> bytes:  # noqa: ARG002  # an override's
        """The same frame with another id. Called only where there are ids."""
        raise LocalProtocolError(f"{type(self).__name__} has no with_id")

    def error(self, status: Status, request_id: int, context: int, text: str) -> bytes:
        """A response that the caller raises as its error.

        Args:
            status: never OK or APP_ERROR.
            request_id: the request's own.
            context: the request's, as ``frame`` gave it.
            text: what a person reads, at most 512 bytes of UTF-8.
        """
        raise NotImplementedError

    def heartbeat(self, request_id: int, upstream_key: int) -> bytes:  # noqa: ARG002  # an override's
        """A heartbeat for an upstream; empty where the protocol has none."""
        return b""

    def heartbeat_ack(self, frame: bytes) -> bytes:  # noqa: ARG002  # an override's
        """The answer to a heartbeat; empty where there is none."""
        return b""

    def drain(self, context: int) -> bytes:  # noqa: ARG002  # an override's
        """The signal to send no new requests here; empty where the protocol has none.

        Args:
            context: of the connection's last frame, 0 before the first one.
        """
        return b""

    def edit(self, frame: bytes, request: Request) -> bytes:  # noqa: ARG002  # an override's
        """The request frame changed to say what ``request`` says, with the id it has.

        Raises:
            LocalProtocolError: it cannot be changed so.
        """
        raise LocalProtocolError(f"{type(self).__name__} has no edit: its requests cannot be changed")

    def response(self, frame: bytes) -> Answer:  # noqa: ARG002  # an override's
        """What a whole response frame says: its headers. The status is that of ``frame``.

        Raises:
            RemoteProtocolError: it cannot be read.
        """
        return Answer()

    def edit_response(self, frame: bytes, answer: Answer) -> bytes:  # noqa: ARG002  # an override's
        """The response frame changed to have the headers of ``answer``, with the id it has.

        Raises:
            LocalProtocolError: it cannot be changed so.
        """
        raise LocalProtocolError(
            f"{type(self).__name__} has no edit_response: its responses cannot be changed"
        )

    def header(self, frame: bytes, key: str) -> str | None:
        """One header of a whole request or response; None where there is none.

        Override it where that costs less than to read them all.

        Raises:
            RemoteProtocolError: it cannot be read.
        """
        answer = self.message(frame, len(frame)).kind == native.KIND_RESPONSE
        return (self.answered(frame) if answer else self.asked(frame)).headers.get(key)

    def argument(self, frame: bytes, index: int) -> native.Argument:  # noqa: ARG002  # an override's
        """An argument of a whole request's call, from 0.

        Returns:
            None, a boolean, a number or a text; bytes of what is of another type.

        Raises:
            IndexError: the call has no such argument.
            RemoteProtocolError: it cannot be read.
        """
        raise LocalProtocolError(f"{type(self).__name__} has no argument: its arguments cannot be read")

    # What protokit calls.

    @property
    def address(self) -> native.Address:
        """The engine's codec for this one.

        Raises:
            PluginError: the class is not complete.
        """
        if self._address is None:
            self._check()
            beats = type(self).heartbeat is not PythonCodec.heartbeat
            drains = type(self).drain is not PythonCodec.drain
            self._address = native.envelope_codec(
                self.name,
                mode=_MODES.index(self.mode),
                id_bytes=self.id_width,
                reserved_ids=self.reserved_ids,
                heartbeats=beats,
                drains=drains,
                optional_drain=self.optional_drain,
            )
        return self._address

    @property
    def ask(self) -> Codec:
        """What is asked of it by tools and filters."""
        return CalledCodec(self)

    @property
    def reads_arguments(self) -> bool:
        """Whether it has ``argument``."""
        return type(self).argument is not PythonCodec.argument

    @property
    def id_width(self) -> int:
        """Bytes of an id, 0 where there are none."""
        return self.id_bytes if self.mode == "multiplexed" else 0

    def _check(self) -> None:
        name = type(self).__name__
        if self.mode not in _MODES:
            raise PluginError(f"{name}.mode is {self.mode!r}, expected one of {', '.join(_MODES)}")
        if self.mode == "multiplexed" and self.id_bytes not in range(1, 9):
            raise PluginError(f"{name}.id_bytes is {self.id_bytes!r}, expected 1 to 8")
        if len(self.reserved_ids) > _RESERVED:
            raise PluginError(
                f"{name}.reserved_ids are {len(self.reserved_ids)}, expected at most {_RESERVED}"
            )
        if self.max_frame not in range(1, 1 << 31):
            raise PluginError(f"{name}.max_frame is {self.max_frame!r}, expected 1 to {(1 << 31) - 1}")
        needed = ["frame", "request", "error"] + (["with_id"] if self.id_width else [])
        for method in needed:
            if getattr(type(self), method) is getattr(PythonCodec, method):
                raise PluginError(f"{name} has no method {method!r}")

    def read(self, data: bytes) -> Frame | None:
        """``frame``, its result checked.

        Raises:
            RemoteProtocolError: of ``frame``.
            LocalProtocolError: the result is none that ``frame`` may give.
        """
        found = self.frame(data)
        if found is None:
            return None
        if not isinstance(found, Frame):
            raise LocalProtocolError(f"{type(self).__name__}.frame gave {found!r}, expected a Frame or None")
        width = 8 * self.id_width
        wrong = (
            (found.size < 1 and f"size {found.size}, expected 1 or more")
            or (found.kind not in _KINDS and f"kind {found.kind!r}, expected one of {', '.join(_KINDS)}")
            or (not isinstance(found.id, int) and f"id {found.id!r}, expected an integer: {_BYTES}")
            or (found.id >> width != 0 and f"id {found.id}, expected one of {width} bits")
            or (found.timeout_ms < 0 and f"timeout_ms {found.timeout_ms}, expected 0 or more")
            or (not 0 <= found.context <= _WIDEST and f"context {found.context}, expected one of 32 bits")
            or (
                not 0 <= found.upstream_key <= _WIDEST
                and f"upstream_key {found.upstream_key}, expected 32 bits"
            )
        )
        if wrong:
            raise LocalProtocolError(f"{type(self).__name__}.frame gave {wrong}")
        return found

    def message(self, data: bytes, limit: int) -> native.Message:
        """What ``native.frame`` says, of this codec."""
        limit = min(limit, self.max_frame)
        empty = native.Message(0, 0, 0, 0, len(data) + 1, 0, 0, 0, 0, 0)
        try:
            found = self.read(data)
        except RemoteProtocolError as error:
            return empty._replace(result=-2, error_at=error.offset)
        if found is None:
            return empty._replace(result=1 if len(data) < limit else -3)
        result = -3 if found.size > limit else int(found.size > len(data))
        return native.Message(
            result,
            _KINDS[found.kind],
            int(found.status),
            found.size,
            found.size,
            min(found.timeout_ms, _WIDEST),
            found.context,
            found.upstream_key,
            0,
            found.id,
        )

    def wrap(self, message: native.Message, frame: bytes, request: Request | None) -> bytes:
        """A frame as the engine has it.

        Args:
            message: what it is.
            frame: its bytes.
            request: what it asks for; None where it is no request, or cannot be read.
        """
        asks = message.kind in {native.KIND_REQUEST, native.KIND_ONEWAY}
        return envelope.pack(
            message.kind,
            frame,
            id=int(message.id),
            status=message.status,
            timeout_ms=request.timeout_ms
            if request is not None and request.timeout_ms
            else message.timeout_ms,
            context=message.context,
            upstream_key=message.upstream_key,
            flags=envelope.UNREADABLE if asks and request is None else 0,
            texts=(request.service, request.method, request.version, request.group) if request else None,
        )

    def asked(self, frame: bytes, message: native.Message | None = None) -> Request:
        """``request``, its result checked and completed.

        Args:
            frame: the request's bytes.
            message: what it is, where that is known already.

        Raises:
            RemoteProtocolError: of ``request``.
            LocalProtocolError: the result is no Request.
        """
        request: Any = self.request(frame)
        if not isinstance(request, Request):
            raise LocalProtocolError(f"{type(self).__name__}.request gave {request!r}, expected a Request")
        if message is None:
            message = self.message(frame, len(frame))
        request.frame = frame
        request.oneway = message.kind == native.KIND_ONEWAY
        request.protocol = self.name
        request.timeout_ms = min(request.timeout_ms or message.timeout_ms, _WIDEST)
        return request

    def answered(self, frame: bytes) -> Answer:
        """``response``, its result checked and completed.

        Raises:
            RemoteProtocolError: of ``response``.
            LocalProtocolError: the result is no Answer.
        """
        answer: Any = self.response(frame)
        if not isinstance(answer, Answer):
            raise LocalProtocolError(f"{type(self).__name__}.response gave {answer!r}, expected an Answer")
        answer.status = Status(self.message(frame, len(frame)).status)
        answer.frame = frame
        answer.protocol = self.name
        return answer
