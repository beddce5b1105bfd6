"""What filters, tools and tests ask of a codec: the same questions, whatever its tier.

A wire (``NativeCodec``, ``WireFormat``, ``PythonCodec``) answers them as its ``ask``.
"""

# ruff: noqa: D102  # what each does stands in Codec

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from protokit import native
from protokit.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protokit.model import Headers, Request
    from protokit.wire.conversation import Side
    from protokit.wire.explain import Piece
    from protokit.wire.format import WireFormat


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

    @property
    def reads_inside(self) -> bool:
        """Whether it can be asked what is inside of one."""

    def argument(self, data: bytes, index: int, keys: Sequence[str] = ()) -> native.Argument:
        """An argument of a whole request's call, from 0, or what is inside; see ``native.argument``.

        Raises:
            IndexError: the call has no such argument.
            LocalProtocolError: this protocol's arguments cannot be read.
            RemoteProtocolError: this one cannot be read.
        """

    def arguments(self, data: bytes) -> list[Any]:
        """All arguments of a whole request's call as Python values; see ``Arguments``."""

    def with_arguments(self, data: bytes, values: list[Any]) -> bytes:
        """The request with others."""

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
        """The protocol's frame in what the engine holds of a request or an answer."""

    def for_engine(self, data: bytes, side: Side = "client") -> bytes:
        """What the engine takes for the frame of a request, or of a server's answer."""


class Arguments(Protocol):
    """The arguments of calls as Python values."""

    def read(self, frame: bytes) -> list[Any]:
        """Those of a whole request's call.

        Raises:
            ProtocolError: they cannot be read; says why.
        """

    def write(self, frame: bytes, values: list[Any]) -> bytes:
        """The request with others, as many as it has; what else it says stays byte for byte.

        Raises:
            LocalProtocolError: it cannot be written so; says why.
        """


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

    __slots__ = ("_arguments", "address")
    in_engine = True

    def __init__(self, address: int, arguments: Arguments | None = None) -> None:
        self.address = address
        self._arguments = arguments

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

    @property
    def reads_inside(self) -> bool:
        return native.reads_inside(self.address)

    def argument(self, data: bytes, index: int, keys: Sequence[str] = ()) -> native.Argument:
        return native.argument(self.address, data, index, keys)

    def arguments(self, data: bytes) -> list[Any]:
        return self._of_plugin().read(data)

    def with_arguments(self, data: bytes, values: list[Any]) -> bytes:
        return self._of_plugin().write(data, values)

    def _of_plugin(self) -> Arguments:
        if self._arguments is None:
            name = native.name(self.address)
            raise LocalProtocolError(f"arguments of {name} are not decoded: its plugin brings nothing for it")
        return self._arguments

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

    def for_engine(self, data: bytes, side: Side = "client") -> bytes:  # noqa: ARG002  # it is the same
        return data


class DeclaredCodec(EngineCodec):
    """Of a declared format: edits and fields are the declaration's."""

    __slots__ = ("format",)

    def __init__(self, declared: WireFormat) -> None:
        super().__init__(declared.address)
        self.format = declared

    def arguments(self, data: bytes) -> list[Any]:
        return self.format.arguments(data)

    def with_arguments(self, data: bytes, values: list[Any]) -> bytes:
        return self.format.with_arguments(data, values)

    def explain(self, data: bytes) -> list[Piece]:
        return self.format.explain(data)

    def edit(self, data: bytes, edits: Sequence[tuple[int, str, str | None]]) -> bytes:
        front = native.frame(
            self.address, data, 0x7FFFFFFF, side=native.side_of(data) or "client", halves=True
        )
        rest = front.need - front.size if front.says & native.SAYS_HALF else 0
        edited = self.format.edit(data + bytes(rest), edits)  # lengths count what is still to come
        return edited[: len(edited) - rest]
