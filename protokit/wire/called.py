"""What filters, tools and tests ask of a codec in Python: its methods are called."""

# ruff: noqa: D102  # what each does stands in Codec

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.model import Answer, Headers, Status
from protokit.native import sent_by, side_of
from protokit.wire import envelope
from protokit.wire.conversation import Peer, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protokit.model import Request
    from protokit.wire.conversation import Side
    from protokit.wire.explain import Piece
    from protokit.wire.python import PythonCodec

_REQUESTS = {native.KIND_REQUEST, native.KIND_ONEWAY}
_FIELDS = {
    native.EDIT_SERVICE: "service",
    native.EDIT_METHOD: "method",
    native.EDIT_VERSION: "version",
    native.EDIT_GROUP: "group",
}


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
        return self.codec.message(data, limit, Peer(side or side_of(data)))

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

    @property
    def reads_inside(self) -> bool:
        return False

    def argument(self, data: bytes, index: int, keys: Sequence[str] = ()) -> native.Argument:
        if self._kind(data) not in _REQUESTS:
            raise IndexError("only a request has arguments")
        if keys:
            raise LocalProtocolError("what is inside of arguments cannot be read")
        return self.codec.argument(data, index)

    def arguments(self, data: bytes) -> list[Any]:  # noqa: ARG002  # there is no way
        raise LocalProtocolError("arguments of a codec in Python are not decoded")

    def with_arguments(self, data: bytes, values: list[Any]) -> bytes:  # noqa: ARG002
        raise LocalProtocolError("arguments of a codec in Python are not written")

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
            return sent_by(side_of(data), self.codec.edit_response(data, changed))
        return sent_by(side_of(data), self.codec.edit(data, changed))

    def patch_id(self, data: bytes, request_id: native.Id) -> bytes:
        if self.frame(data, len(data)).result != 0:
            raise RemoteProtocolError("this is no whole frame")
        width = self.codec.id_width
        if not width:
            return data
        return sent_by(side_of(data), self.codec.with_id(data, int(request_id) % (1 << 8 * width)))

    def keep(self, data: bytes) -> bytes:
        return self.codec.kept(data)

    def error(
        self, status: int, request_id: native.Id, context: int, text: bytes, kept: bytes = b""
    ) -> bytes:
        reply = Reply(Status(status), int(request_id), context, text.decode("utf-8", "replace"), kept)
        return sent_by("server", self.codec.error(reply))

    def heartbeat(self, request_id: native.Id, key: int = 0) -> bytes:
        return sent_by("client", self.codec.heartbeat(int(request_id), key))

    def heartbeat_ack(self, data: bytes) -> bytes:
        return sent_by("client" if side_of(data) == "server" else "server", self.codec.heartbeat_ack(data))

    def drain(self, context: int = 0, kept: bytes = b"") -> bytes:
        return sent_by("server", self.codec.drain(Reply(context=context, kept=kept)))

    def from_engine(self, data: bytes) -> bytes:
        return envelope.frame(data)

    def for_engine(self, data: bytes, side: Side = "client") -> bytes:
        asked = self.codec.asked(data) if side == "client" else None
        return self.codec.wrap(self.frame(data, len(data), side), data, asked)
