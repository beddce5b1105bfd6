"""A codec as an ordinary class: for prototypes, and for protocols where speed does not matter.

It runs on the main thread and never in the engine, which sees envelopes (``protokit.wire.envelope``).
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from protokit import native
from protokit.errors import LocalProtocolError, PluginError, RemoteProtocolError, close_match
from protokit.model import Answer, Request, Status
from protokit.wire import envelope
from protokit.wire.called import CalledCodec
from protokit.wire.conversation import Frame, Peer, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protokit.wire.codec import Codec

Mode = Literal["multiplexed", "ordered", "pingpong", "pinned"]

_KINDS = {
    kind: number
    for number, kind in enumerate(
        ("request", "oneway", "response", "heartbeat", "ack", "drain", "undrain", "ignore"), 1
    )
} | {"piece": native.KIND_PIECE}
_MODES = {"multiplexed": 0, "ordered": 1, "pingpong": 2, "pinned": 0}
_WIDEST = 0xFFFFFFFF
_RESERVED = 4
_BYTES = "ids that are byte strings take a declared format or a codec in C"


class PythonCodec:
    """A protocol's codec in Python; subclass it and give an instance to ``Protocol``.

    Methods only compute: no input or output, no waiting, nothing kept between calls but in ``Peer.state``; a
    connection may call any of them at any time. What a peer sent and what is wrong in it is a
    ``RemoteProtocolError``. Any other exception is a mistake in the codec: it is logged, and ends the
    connection or that one request.

    Attributes:
        mode: ``multiplexed``: requests have ids; ``ordered``: answers come in the order of the requests;
            ``pingpong``: one request at a time; ``pinned``: each client has an upstream connection of its
            own, and ids stay as they are: ``with_id`` is not called.
        id_bytes: how wide ids are, 1 to 8 bytes: 8 where nothing is said and requests need them. In
            ``ordered`` and ``pingpong`` ids only come back as they were, and there are none where nothing is
            said.
        reserved_ids: up to four that are never issued.
        optional_drain: clients that do not know what ``drain`` gives close the connection: it is sent only
            where the listener has ``goaway: true``.
        max_frame: bytes of the largest frame, where the configuration's limit is not lower.
        ends: the peer's end may end a frame: ``frame`` is asked once more then, also without any bytes.
    """

    tier = "python"
    mode: Mode = "multiplexed"
    id_bytes: int | None = None
    reserved_ids: Sequence[int] = ()
    optional_drain: bool = False
    max_frame: int = 8 << 20
    ends: bool = False
    name: str = ""
    _address: native.Address | None = None

    def frame(self, data: bytes, peer: Peer) -> Frame | None:
        """Read the beginning of ``data``, one byte or more; other frames may follow.

        Args:
            data: what came behind the last frame.
            peer: who sent it. Its state may be changed: after None the next call is for the same frame with
                more bytes, after a Frame for what stands behind it.

        Returns:
            The frame, as soon as its size is known; None while that takes more bytes. Where ``peer.ended``, a
            piece may have size 0.

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

    def error(self, reply: Reply) -> bytes:
        """A response that the caller raises as its error."""
        raise NotImplementedError

    def keep(self, frame: bytes) -> bytes:  # noqa: ARG002  # an override's
        """What replies to this request need of its bytes, at most 256: they get it as ``Reply.kept``."""
        return b""

    def answer(self, frame: bytes, found: Frame, asked: Reply) -> Frame:  # noqa: ARG002  # an override's
        """The request of a whole answer is known: what ``frame`` found of it, now that its context is.

        Args:
            frame: the answer's bytes.
            found: what ``frame`` gave; its status, ``last`` and ``more`` may be changed.
            asked: the context of the request, and what was kept of it.

        Raises:
            RemoteProtocolError: it is malformed: the connection is closed.
        """
        return found

    def heartbeat(self, request_id: int, upstream_key: int) -> bytes:  # noqa: ARG002  # an override's
        """A heartbeat for an upstream; empty where the protocol has none."""
        return b""

    def heartbeat_ack(self, frame: bytes) -> bytes:  # noqa: ARG002  # an override's
        """The answer to a heartbeat; empty where there is none."""
        return b""

    def drain(self, reply: Reply) -> bytes:  # noqa: ARG002  # an override's
        """The signal to send no new requests here; empty where the protocol has none.

        Args:
            reply: the context of the connection's last frame, and what was kept of its last request.
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
                mode=_MODES[self.mode],
                id_bytes=self.id_width,
                reserved_ids=self.reserved_ids,
                heartbeats=beats,
                drains=drains,
                optional_drain=self.optional_drain,
                keeps=self.keeps,
                pinned=self.mode == "pinned",
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
        needed = 8 * (self.mode in {"multiplexed", "pinned"})
        return needed if self.id_bytes is None else self.id_bytes

    @property
    def keeps(self) -> bool:
        """Whether it has ``keep``."""
        return type(self).keep is not PythonCodec.keep

    @property
    def judges_answers(self) -> bool:
        """Whether it has ``answer``."""
        return type(self).answer is not PythonCodec.answer

    def _check(self) -> None:
        name = type(self).__name__
        if self.mode not in _MODES:
            raise PluginError(f"{name}.mode is {self.mode!r}, expected one of {', '.join(_MODES)}")
        if self.id_bytes is not None and self.id_bytes not in range(1, 9):
            raise PluginError(f"{name}.id_bytes is {self.id_bytes!r}, expected 1 to 8")
        if len(self.reserved_ids) > _RESERVED:
            raise PluginError(
                f"{name}.reserved_ids are {len(self.reserved_ids)}, expected at most {_RESERVED}"
            )
        if self.max_frame not in range(1, 1 << 31):
            raise PluginError(f"{name}.max_frame is {self.max_frame!r}, expected 1 to {(1 << 31) - 1}")
        _check_names(type(self))
        needed = ["frame", "request", "error"] + (["with_id"] if self.mode == "multiplexed" else [])
        for method in needed:
            if getattr(type(self), method) is getattr(PythonCodec, method):
                raise PluginError(f"{name} has no method {method!r}")

    def read(self, data: bytes, peer: Peer) -> Frame | None:
        """``frame``, its result checked.

        Raises:
            RemoteProtocolError: of ``frame``.
            LocalProtocolError: the result is none that ``frame`` may give.
        """
        found = self.frame(data, peer)
        if found is None:
            return None
        self._check_frame(found, "frame", least=0 if peer.ended and found.kind == "piece" else 1)
        return found

    def _check_frame(self, found: Any, method: str, least: int) -> None:
        if not isinstance(found, Frame):
            raise LocalProtocolError(f"{type(self).__name__}.{method} gave {found!r}, expected a Frame")
        width = 8 * self.id_width
        wrong = (
            (found.size < least and f"size {found.size}, expected {least} or more")
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
            raise LocalProtocolError(f"{type(self).__name__}.{method} gave {wrong}")

    def message(self, data: bytes, limit: int, peer: Peer | None = None) -> native.Message:
        """What ``native.frame`` says, of this codec; without a peer nobody is known to have sent it."""
        limit = min(limit, self.max_frame)
        empty = native.Message(0, 0, 0, 0, len(data) + 1, 0, 0, 0, 0, 0)
        try:
            found = self.read(data, peer or Peer())
        except RemoteProtocolError as error:
            return empty._replace(result=-2, error_at=error.offset)
        if found is None:
            return empty._replace(result=1 if len(data) < limit else -3)
        result = -3 if found.size > limit else int(found.size > len(data))
        return self._told(found, result)

    def _told(self, found: Frame, result: int) -> native.Message:
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
            found.last * native.SAYS_LAST | found.more * native.SAYS_MORE,
        )

    def judged(self, message: native.Message, frame: bytes, asked: Reply) -> native.Message:
        """``answer``, its result checked.

        Args:
            message: what the answer is, without its request.
            frame: its bytes.
            asked: of its request.
        """
        kind = next(name for name, number in _KINDS.items() if number == message.kind)
        found = Frame(
            message.size,
            kind,  # type: ignore[arg-type]  # it was one of them before
            int(message.id),
            Status(message.status),
            message.timeout_ms,
            message.context,
            message.upstream_key,
            last=bool(message.says & native.SAYS_LAST),
            more=bool(message.says & native.SAYS_MORE),
        )
        judged: Any = self.answer(frame, replace(found), asked)
        self._check_frame(judged, "answer", least=0)
        found.status, found.last, found.more = judged.status, judged.last, judged.more
        return self._told(found, 0)

    def wrap(
        self, message: native.Message, frame: bytes, request: Request | None, *, ended: bool = False
    ) -> bytes:
        """A frame as the engine has it.

        Args:
            message: what it is.
            frame: its bytes.
            request: what it asks for; None where it is no request, or cannot be read.
            ended: its sender's end tells where it ends.
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
            flags=(envelope.UNREADABLE if asks and request is None else 0) | envelope.ENDED * ended,
            says=message.says,
            kept=self.kept(frame) if asks and self.keeps else b"",
            texts=(request.service, request.method, request.version, request.group) if request else None,
        )

    def kept(self, frame: bytes) -> bytes:
        """``keep``, its result checked.

        Raises:
            LocalProtocolError: it is not what ``keep`` may give.
        """
        kept: Any = self.keep(frame)
        if not isinstance(kept, bytes) or len(kept) > envelope.KEEP_MAX:
            raise LocalProtocolError(
                f"{type(self).__name__}.keep gave {kept!r:.80}, expected at most {envelope.KEEP_MAX} bytes"
            )
        return kept

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
            message = self.message(frame, len(frame), Peer("client"))
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
        answer.status = Status(self.message(frame, len(frame), Peer("server")).status)
        answer.frame = frame
        answer.protocol = self.name
        return answer


_OVERRIDDEN = (
    *(
        "frame",
        "request",
        "with_id",
        "error",
        "keep",
        "answer",
        "heartbeat",
        "heartbeat_ack",
        "drain",
        "edit",
    ),
    *("response", "edit_response", "header", "argument"),
)
_SAID = ("mode", "id_bytes", "reserved_ids", "optional_drain", "max_frame", "ends")


def _check_names(made: type[PythonCodec]) -> None:
    """Refuse what is never called or asked for, and what cannot be called as it will be.

    Raises:
        PluginError: names what was probably meant.
    """
    mine = {name: one for base in reversed(made.__mro__[:-1]) for name, one in vars(base).items()}
    own = [name for name in mine if not name.startswith("_") and not hasattr(PythonCodec, name)]
    for name in own:
        meant = _OVERRIDDEN if callable(mine[name]) else _SAID
        free = [one for one in meant if mine[one] is vars(PythonCodec)[one]]
        if close := close_match(name, free):
            raise PluginError(
                f"{made.__name__}.{name} is nothing that a codec is asked for; did you mean {close!r}? "
                f"What is its own and named so begins with an underscore: _{name}"
            )
    for name in _OVERRIDDEN:
        method, plain = mine[name], vars(PythonCodec)[name]
        if method is plain:
            continue
        takes = list(inspect.signature(plain).parameters)[1:]
        called = f"it is called with ({', '.join(takes)}), by their places"
        if isinstance(method, staticmethod | classmethod) or not callable(method):
            if not callable(getattr(made, name)):
                raise PluginError(f"{made.__name__}.{name} is {method!r}, expected a method; {called}")
            given = takes
        else:
            given = ["self", *takes]
        function = method.__func__ if isinstance(method, staticmethod | classmethod) else method
        given = ["cls", *takes] if isinstance(method, classmethod) else given
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise PluginError(f"{made.__name__}.{name} only computes: write def, without async and yield")
        try:
            inspect.signature(function).bind(*given)
        except (TypeError, ValueError) as error:
            raise PluginError(
                f"{made.__name__}.{name} cannot be called as it will be: {error}; {called}"
            ) from None
