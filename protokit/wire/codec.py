"""What filters, tools and tests ask of a codec: the same questions, whatever its tier.

A wire (``NativeCodec``, ``WireFormat``, ``PythonCodec``) answers them as its ``ask``.
"""

# ruff: noqa: D102  # what each does stands in Codec

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from protokit import native
from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.model import Answer, Headers, Status
from protokit.wire import envelope
from protokit.wire.conversation import Peer, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protokit.model import Request
    from protokit.wire.conversation import Side
    from protokit.wire.explain import Piece
    from protokit.wire.format import WireFormat
    from protokit.wire.python import PythonCodec

_REQUESTS = {native.KIND_REQUEST, native.KIND_ONEWAY}
_FIELDS = {
    native.EDIT_SERVICE: "service",
    native.EDIT_METHOD: "method",
    native.EDIT_VERSION: "version",
    native.EDIT_GROUP: "group",
}


class Codec(Protocol):
    """The questions. The functions of ``protokit.native`` without an address."""

    @property
    def in_engine(self) -> bool:
        """Whether the engine reads its bytes itself."""

    @property
    def id_bytes(self) -> int:
        """How wide ids are; 0 without."""

    @property
    def id_max(self) -> int:
        """Bytes of the longest id, where ids are byte strings; else 0."""

    def probe(self, data: bytes) -> int:
        """Whether a connection may begin so: 0 yes, 1 more bytes are needed, -1 no."""

    def frame(self, data: bytes, limit: int = 8 << 20, side: Side | None = None) -> native.Message:
        """Frame the first message of ``data``, which that side sent (``client``, ``server`` or unknown)."""

    def request(self, data: bytes, max_headers: int = 1024, *, lazy: bool = False) -> Request:
        """Read a whole request frame; ``lazy``: its headers when somebody looks at them.

        Raises:
            RemoteProtocolError: its destination or headers cannot be read.
        """

    def headers(self, data: bytes, max_headers: int = 1024) -> Headers:
        """The text headers of a whole request or answer.

        Raises:
            RemoteProtocolError: they cannot be read.
        """

    def header(self, data: bytes, key: str) -> str | None:
        """One of them; None where there is none.

        Raises:
            RemoteProtocolError: it cannot be read.
        """

    @property
    def reads_arguments(self) -> bool:
        """Whether ``argument`` can be asked."""

    def argument(self, data: bytes, index: int) -> native.Argument:
        """An argument of a whole request's call, from 0; see ``native.argument``.

        Raises:
            IndexError: the call has no such argument.
            LocalProtocolError: this protocol's arguments cannot be read.
            RemoteProtocolError: this one cannot be read.
        """

    def explain(self, data: bytes) -> list[Piece]:
        """Every field of the frame in front, where it is declared; else none.

        Raises:
            EOFError: the frame is not whole.
            RemoteProtocolError: it is malformed.
        """

    def edit(self, data: bytes, edits: Sequence[tuple[int, str, str | None]]) -> bytes:
        """A request or an answer with changes, of an answer its headers alone; see ``native.edit``."""

    def patch_id(self, data: bytes, request_id: native.Id) -> bytes:
        """The frame with another id.

        Raises:
            RemoteProtocolError: ``data`` is no whole frame.
        """

    def keep(self, data: bytes) -> bytes:
        """What is kept of a request for its replies."""

    def error(
        self, status: int, request_id: native.Id, context: int, text: bytes, kept: bytes = b""
    ) -> bytes:
        """The error reply of a status."""

    def heartbeat(self, request_id: native.Id, key: int = 0) -> bytes:
        """The codec's heartbeat; empty when it has none."""

    def heartbeat_ack(self, data: bytes) -> bytes:
        """The answer to a heartbeat."""

    def drain(self, context: int = 0, kept: bytes = b"") -> bytes:
        """The signal to go elsewhere; empty when the protocol has none."""

    def from_engine(self, data: bytes) -> bytes:
        """The protocol's frame in what the engine holds of a request."""

    def for_engine(self, data: bytes) -> bytes:
        """What the engine takes for a request's frame."""


class Wire(Protocol):
    """What a protocol is run by."""

    name: str

    @property
    def tier(self) -> str:
        """``declared``, ``native`` or ``python``."""

    @property
    def address(self) -> int:
        """The engine's codec."""

    @property
    def ask(self) -> Codec:
        """What is asked from Python."""


class EngineCodec:
    """Of a codec that the engine runs: it is asked."""

    __slots__ = ("address",)
    in_engine = True

    def __init__(self, address: int) -> None:
        self.address = address

    @property
    def id_bytes(self) -> int:
        return native.id_bytes(self.address)

    @property
    def id_max(self) -> int:
        return native.id_max(self.address)

    def probe(self, data: bytes) -> int:
        return native.probe(self.address, data)

    def frame(self, data: bytes, limit: int = 8 << 20, side: Side | None = None) -> native.Message:
        return native.frame(self.address, data, limit, side=side)

    def request(self, data: bytes, max_headers: int = 1024, *, lazy: bool = False) -> Request:
        return native.request(self.address, data, max_headers, lazy=lazy)

    def headers(self, data: bytes, max_headers: int = 1024) -> Headers:
        return native.headers(self.address, data, max_headers)

    def header(self, data: bytes, key: str) -> str | None:
        return native.header(self.address, data, key)

    @property
    def reads_arguments(self) -> bool:
        return native.reads_arguments(self.address)

    def argument(self, data: bytes, index: int) -> native.Argument:
        return native.argument(self.address, data, index)

    def explain(self, data: bytes) -> list[Piece]:  # noqa: ARG002  # nothing is declared
        return []

    def edit(self, data: bytes, edits: Sequence[tuple[int, str, str | None]]) -> bytes:
        return native.edit(self.address, data, edits)

    def patch_id(self, data: bytes, request_id: native.Id) -> bytes:
        return native.patch_id(self.address, data, request_id)

    def keep(self, data: bytes) -> bytes:
        return native.keep(self.address, data)

    def error(
        self, status: int, request_id: native.Id, context: int, text: bytes, kept: bytes = b""
    ) -> bytes:
        return native.error(self.address, status, request_id, context, text, kept)

    def heartbeat(self, request_id: native.Id, key: int = 0) -> bytes:
        return native.heartbeat(self.address, request_id, key)

    def heartbeat_ack(self, data: bytes) -> bytes:
        return native.heartbeat_ack(self.address, data)

    def drain(self, context: int = 0, kept: bytes = b"") -> bytes:
        return native.drain(self.address, context, kept)

    def from_engine(self, data: bytes) -> bytes:
        return data

    def for_engine(self, data: bytes) -> bytes:
        return data


class DeclaredCodec(EngineCodec):
    """Of a declared format: edits and fields are the declaration's."""

    __slots__ = ("format",)

    def __init__(self, declared: WireFormat) -> None:
        super().__init__(declared.address)
        self.format = declared

    def explain(self, data: bytes) -> list[Piece]:
        return self.format.explain(data)

    def edit(self, data: bytes, edits: Sequence[tuple[int, str, str | None]]) -> bytes:
        return self.format.edit(data, edits)


class CalledCodec:
    """Of a codec in Python: its methods are called."""

    __slots__ = ("codec",)
    in_engine = False
    id_max = 0

    def __init__(self, codec: PythonCodec) -> None:
        self.codec = codec

    @property
    def id_bytes(self) -> int:
        return self.codec.id_width

    def probe(self, data: bytes) -> int:
        return 1 if not data else {0: 0, 1: 1, -3: 0}.get(self.frame(data, self.codec.max_frame).result, -1)

    def frame(self, data: bytes, limit: int = 8 << 20, side: Side | None = None) -> native.Message:
        return self.codec.message(data, limit, Peer(side))

    def request(self, data: bytes, max_headers: int = 1024, *, lazy: bool = False) -> Request:  # noqa: ARG002  # all is there
        return self.codec.asked(data)

    def headers(self, data: bytes, max_headers: int = 1024) -> Headers:  # noqa: ARG002  # as many as it has
        kind = self._kind(data)
        if kind == native.KIND_RESPONSE:
            return self.codec.answered(data).headers
        return self.codec.asked(data).headers if kind in _REQUESTS else Headers()

    def header(self, data: bytes, key: str) -> str | None:
        return (
            self.codec.header(data, key) if self._kind(data) in {native.KIND_RESPONSE, *_REQUESTS} else None
        )

    @property
    def reads_arguments(self) -> bool:
        return self.codec.reads_arguments

    def argument(self, data: bytes, index: int) -> native.Argument:
        if self._kind(data) not in _REQUESTS:
            raise IndexError("only a request has arguments")
        return self.codec.argument(data, index)

    def _kind(self, data: bytes) -> int:
        return self.frame(data, len(data)).kind

    def explain(self, data: bytes) -> list[Piece]:  # noqa: ARG002  # nothing is declared
        return []

    def edit(self, data: bytes, edits: Sequence[tuple[int, str, str | None]]) -> bytes:
        answer = self._kind(data) == native.KIND_RESPONSE
        changed = self.codec.answered(data) if answer else self.codec.asked(data)
        for what, key, value in edits:
            if what != native.EDIT_HEADER and answer:
                raise LocalProtocolError(f"an answer has no {_FIELDS[what]} to change")
            if what != native.EDIT_HEADER:
                setattr(changed, _FIELDS[what], value or "")
            elif value is None:
                changed.headers.pop(key, None)
            else:
                changed.headers[key] = value
        if isinstance(changed, Answer):
            return self.codec.edit_response(data, changed)
        return self.codec.edit(data, changed)

    def patch_id(self, data: bytes, request_id: native.Id) -> bytes:
        if self.frame(data, len(data)).result != 0:
            raise RemoteProtocolError("this is no whole frame")
        width = self.codec.id_width
        return self.codec.with_id(data, int(request_id) % (1 << 8 * width)) if width else data

    def keep(self, data: bytes) -> bytes:
        return self.codec.kept(data)

    def error(
        self, status: int, request_id: native.Id, context: int, text: bytes, kept: bytes = b""
    ) -> bytes:
        reply = Reply(Status(status), int(request_id), context, text.decode("utf-8", "replace"), kept)
        return self.codec.error(reply)

    def heartbeat(self, request_id: native.Id, key: int = 0) -> bytes:
        return self.codec.heartbeat(int(request_id), key)

    def heartbeat_ack(self, data: bytes) -> bytes:
        return self.codec.heartbeat_ack(data)

    def drain(self, context: int = 0, kept: bytes = b"") -> bytes:
        return self.codec.drain(Reply(context=context, kept=kept))

    def from_engine(self, data: bytes) -> bytes:
        return envelope.frame(data)

    def for_engine(self, data: bytes) -> bytes:
        return self.codec.wrap(self.frame(data, len(data), "client"), data, self.codec.asked(data))
