"""Connections of protocols in Python: the peer's socket on one side, the engine's envelopes on the other.

The worker accepts and connects; an open connection comes up with a socket pair's end (``pk_sock_hand_up`` in
sockets.c). Bytes of the peer become envelopes for the engine, the engine's envelopes become the peer's
bytes. Neither side is read while the other takes nothing; what is kept here counts against
``limits.buffer``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from typing import TYPE_CHECKING, cast

from protokit import logs, native
from protokit.dataplane import listening
from protokit.errors import ProtocolError, RemoteProtocolError
from protokit.model import Status
from protokit.wire import envelope
from protokit.wire.conversation import Peer, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from protokit.model import Request
    from protokit.wire import PythonCodec
    from protokit.wire.codec import Wire

_log = logging.getLogger("protokit.bridge")
_TURN = 256  # frames until others have theirs
_WINDOW = 4096  # bytes that a codec is shown first
_LINGER_S = 1.0  # how long a peer that was refused may be silent before it is closed
_MAX_SKIP = 64 << 20  # bytes: the longest frame whose end is waited for when it was refused
_ASKED = 4096  # requests of one connection whose answers are still known
_SCAN_S = 1e-8  # a byte: how long nothing is looked at again for a frame whose size is unknown


class Bridges:
    """All open ones.

    Args:
        limits: the ``pk_limits`` in force.
        repeated: for what codecs do wrong: peers decide how often.

    Attributes:
        held: bytes in their buffers.
    """

    def __init__(self, limits: Callable[[], Mapping[str, int]], repeated: logs.Repeated) -> None:
        self.limits = limits
        self.held = 0
        self._repeated = repeated
        self._open: dict[tuple[native.Worker, int], Bridge] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    def open(self, worker: native.Worker, op: native.Op, wires: Mapping[int, Wire]) -> None:
        """Take over an EVENT_BRIDGE. Whatever is raised closes its descriptors: the engine sees the end."""
        peer, engine = listening.adopt(op.data, op.size)
        with contextlib.ExitStack() as undo:
            undo.enter_context(peer)
            undo.enter_context(engine)
            bridge = Bridge(self, cast("PythonCodec", wires[op.codec]), upstream=op.arg == 1)
            task = asyncio.get_running_loop().create_task(bridge.connect(peer, engine))
            undo.pop_all()
        self._open[worker, op.handle] = bridge
        bridge.forget = lambda: self._open.pop((worker, op.handle), None)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self, worker: native.Worker, op: native.Op) -> None:
        """Heed an EVENT_UNBRIDGE."""
        bridge = self._open.get((worker, op.handle))
        if bridge is not None:
            bridge.leave(reset=op.arg == 1)

    async def stop(self) -> None:
        """Close what is still open."""
        for bridge in list(self._open.values()):
            bridge.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports tell their end in the loop's next turn

    def failed(self, codec: PythonCodec, what: str, error: BaseException) -> None:
        """Log a codec's mistake."""
        text = f"the codec of protocol {codec.name} failed: {what}"
        self._repeated.log(_log, logging.ERROR, (codec.name, logs.place(error)), text, error=error)


class _End(asyncio.Protocol):
    """One socket of a bridge.

    Attributes:
        buffer: bytes that came and are not translated yet.
        full: takes no more at the moment.
        ended: nothing comes any more.
        gone: it is closed.
        again: has more to translate in the loop's next turn.
        paused: is not read.
    """

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.transport: asyncio.Transport | None = None
        self.buffer = bytearray()
        self.full = self.ended = self.gone = self.again = self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.bridge.move(self)

    def eof_received(self) -> bool:
        self.ended = True
        self.bridge.move(self)
        return True

    def pause_writing(self) -> None:
        self.full = True
        self.bridge.pace()

    def resume_writing(self) -> None:
        self.full = False
        self.bridge.move(self.bridge.other(self))

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        self.bridge.lost(self)

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def close(self, *, abort: bool = False) -> None:
        if self.transport is None:
            return
        if abort:
            self.transport.abort()
        else:
            self.transport.close()

    @property
    def held(self) -> int:
        waiting = 0 if self.transport is None else self.transport.get_write_buffer_size()
        return len(self.buffer) + waiting


class Bridge:
    """One connection.

    Args:
        bridges: whose it is.
        codec: what reads and writes its frames.
        upstream: it leads to an endpoint, not to a client.
    """

    def __init__(self, bridges: Bridges, codec: PythonCodec, *, upstream: bool) -> None:
        self._bridges = bridges
        self._codec = codec
        self._upstream = upstream
        self._peer, self._engine = _End(self), _End(self)
        self._from = Peer("server" if upstream else "client")
        self._found: native.Message | None = None  # the frame in front, whose size is known
        self._need = 1  # bytes from where on the frame in front is looked at again
        self._told_codec_end = False
        self._in_order = codec.mode in {"ordered", "pingpong"}
        self._asked: dict[int, Reply] = {}  # what an endpoint was asked, by id or in order, the oldest first
        self._asks = 0  # how many, where they are counted by their order
        self._begun = False  # the engine was told that a frame has begun
        self._told_at = 0.0  # when; of an endpoint's also that it goes on
        self._refused = False  # what the peer sends is read and dropped
        self._skip = 0  # bytes still to come of the frame that was refused, or skipped
        self._told_end = False
        self._over = False
        self._held = 0
        self._told_peer = False  # that no more is written to it
        self._later: asyncio.TimerHandle | None = None
        self._lingers: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.forget: Callable[[], object] = lambda: None

    async def connect(self, peer: socket.socket, engine: socket.socket) -> None:
        """Begin, with both sockets."""
        loop = asyncio.get_running_loop()
        try:
            for end, one in ((self._engine, engine), (self._peer, peer)):
                await loop.connect_accepted_socket(lambda end=end: end, one)  # type: ignore[misc]
        except OSError:
            self.abort()
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            if self._over:
                for end, one in ((self._engine, engine), (self._peer, peer)):
                    end.close(abort=True)
                    if end.transport is None:
                        one.close()
        if self._over:
            return
        self.move(self._peer)
        self.move(self._engine)

    def other(self, end: _End) -> _End:
        """The end across."""
        return self._engine if end is self._peer else self._peer

    # Moving.

    def move(self, end: _End) -> None:
        """Translate what can be; whatever a codec raises ends the connection and nothing else."""
        if self._over or self.other(end).transport is None or end.transport is None:
            return
        try:
            if end is self._peer:
                self._up()
            else:
                self._down()
        except RemoteProtocolError as error:
            self._refuse(error.offset)
        except BaseException as error:  # noqa: BLE001  # somebody else's code; logged with its trace
            self._bridges.failed(self._codec, "the connection is closed", error)
            self._refuse(0)
            if end is self._engine:
                self._peer.close(abort=True)
        self.pace()

    def pace(self) -> None:
        """Read each end exactly while the other one takes what comes; keep count of what is held."""
        for end in (self._peer, self._engine):
            dropping = end is self._peer and self._refused
            pause = not dropping and (self.other(end).full or end.again)
            transport = end.transport
            if transport is None or transport.is_closing() or pause == end.paused:
                continue
            end.paused = pause
            if pause:
                transport.pause_reading()
            else:
                transport.resume_reading()
        held = 0 if self._over else self._peer.held + self._engine.held
        self._bridges.held += held - self._held
        self._held = held
        if self._bridges.held > self._bridges.limits()["buffer"] and not self._over:
            self.abort(reset=True)

    def _again(self, end: _End) -> None:
        end.again = True

        def go() -> None:
            end.again = False
            self.move(end)

        asyncio.get_running_loop().call_soon(go)

    def _up(self) -> None:
        """From the peer's bytes to envelopes."""
        peer, at = self._peer, 0
        if self._refused:
            self._drop()
            return
        at = min(self._skip, len(peer.buffer))
        self._skip -= at
        try:
            for _ in range(_TURN):
                if self._engine.full or (at == len(peer.buffer) and not self._tells_end()):
                    break
                message = self._frame(at)
                if message is None:
                    self._half()
                    break
                data = self._whole(message, at) if message.result == 0 else None
                if data is None or len(data) > self._bridges.limits()["frame"]:
                    whole = message.size if message.result == 0 else message.need
                    if self._upstream and message.kind == native.KIND_RESPONSE and whole > 0:
                        # Others share this connection: one call fails.
                        self._send_up(_too_large(message))
                        self._skip = max(0, at + whole - len(peer.buffer))
                        at = min(at + whole, len(peer.buffer))
                        continue
                    self._refuse(message)
                    break
                self._send_up(data)
                at += message.size
                self._told_codec_end &= message.size == 0
            else:
                if at < len(peer.buffer):
                    self._again(peer)
        finally:
            del peer.buffer[:at]
        if peer.ended and not (peer.again or self._engine.full or self._told_end):
            self._told_end = True
            if self._engine.transport is not None and not self._engine.transport.is_closing():
                self._engine.transport.write_eof()

    def _frame(self, at: int) -> native.Message | None:
        """The frame that begins there, whole or too large; the codec is shown no more than it asks for."""
        buffer = self._peer.buffer
        have = len(buffer) - at
        if have < self._need and not self._peer.ended:
            return None
        message = self._found or self._ask(at, have)
        if message.result == 1:
            known = message.kind != 0
            self._found = message if known else None
            if not known or message.size > have:
                self._wait(have, message.size if known else 0)
                return None
            message = message._replace(result=0)
        self._need, self._found = 1, None
        if message.result == 0 or message.kind != 0:
            return message
        raise RemoteProtocolError("not the protocol, or no frame within the limit", message.error_at)

    def _ask(self, at: int, have: int) -> native.Message:
        """What the codec says of the next frame, as soon as it says anything."""
        limit = self._bridges.limits()["frame"] - envelope.SIZE
        size = min(have, _WINDOW)
        self._from.asked = next(iter(self._asked.values())).context if self._in_order and self._asked else 0
        while True:
            self._from.ended = size == have and self._peer.ended
            self._told_codec_end = self._from.ended
            message = self._codec.message(
                bytes(memoryview(self._peer.buffer)[at : at + size]), limit, self._from
            )
            if message.result != 1 or message.kind != 0 or size == have:
                return message
            size = min(have, 4 * size)

    def _tells_end(self) -> bool:
        """The codec has to hear of the peer's end, behind its last byte."""
        return self._codec.ends and self._peer.ended and not self._told_codec_end

    def _note(self, head: envelope.Head, kept: bytes) -> None:
        """A request is on its way to an endpoint: its answer will be asked for by it."""
        if not (self._upstream and head.kind == native.KIND_REQUEST):
            return
        if not (self._in_order or self._codec.judges_answers):
            return
        self._asks += 1
        self._asked.pop(head.id, None)
        self._asked[self._asks if self._in_order else head.id] = Reply(
            id=head.id, context=head.context, kept=kept
        )
        if len(self._asked) > _ASKED:
            del self._asked[next(iter(self._asked))]

    def _of_request(self, message: native.Message, frame: bytes) -> native.Message:
        """An answer, now that its request is known."""
        answers = message.kind in {native.KIND_RESPONSE, native.KIND_PIECE}
        if not (self._upstream and answers and self._asked):
            return message
        key = next(iter(self._asked)) if self._in_order else int(message.id)
        asked = self._asked.get(key)
        if asked is None:
            return message
        if self._codec.judges_answers and message.kind == native.KIND_RESPONSE:
            message = self._codec.judged(message, frame, asked)
        if not message.says & native.SAYS_MORE:
            del self._asked[key]
        return message

    def _wait(self, have: int, need: int) -> None:
        """Look at the frame again with ``need`` bytes; when that is unknown, not at once for each byte."""
        self._need = need or (have + have // 8 if have > _WINDOW else have + 1)
        if not need and have > _WINDOW and self._later is None:
            self._later = asyncio.get_running_loop().call_later(0.001 + have * _SCAN_S, self._look)

    def _look(self) -> None:
        self._later = None
        self._need = 1
        self.move(self._peer)

    def _half(self) -> None:
        """The engine's clock for half-read frames starts with the first bytes of an envelope.

        As long as an endpoint's frame goes on, the engine is told with envelopes that mean nothing.
        """
        if not self._peer.buffer:
            return
        now = asyncio.get_running_loop().time()
        if not self._begun:
            self._begun, self._told_at = True, now
            self._engine.write(envelope.MAGIC)
        elif self._upstream and now - self._told_at > self._bridges.limits()["frame_ms"] / 4000:
            self._told_at = now
            self._engine.write(envelope.pack(native.KIND_IGNORE)[len(envelope.MAGIC) :] + envelope.MAGIC)

    def _send_up(self, data: bytes) -> None:
        self._engine.write(data[len(envelope.MAGIC) :] if self._begun else data)
        self._begun = False

    def _whole(self, message: native.Message, at: int) -> bytes:
        frame = bytes(memoryview(self._peer.buffer)[at : at + message.size])
        message = self._of_request(message, frame)
        request: Request | None = None
        if message.kind in {native.KIND_REQUEST, native.KIND_ONEWAY}:
            try:
                request = self._codec.asked(frame, message)
            except ProtocolError:
                pass
            except BaseException as error:  # noqa: BLE001  # somebody else's code; logged with its trace
                self._bridges.failed(self._codec, "a request is answered BAD_REQUEST", error)
        return self._codec.wrap(message, frame, request, ended=self._from.ended and self._codec.ends)

    def _down(self) -> None:
        """From the engine's envelopes to bytes for the peer."""
        engine, at = self._engine, 0
        try:
            for _ in range(_TURN):
                head = None if self._peer.full else envelope.head(engine.buffer, at)
                if head is None or len(engine.buffer) - at < head.size:
                    break
                whole = bytes(memoryview(engine.buffer)[at : at + head.size])
                at += head.size
                self._peer.write(self._build(head, whole))
            else:
                self._again(engine)
        finally:
            del engine.buffer[:at]
        if engine.ended:
            self._give_time()
            if not (engine.again or self._peer.full):
                self._finish()

    def _build(self, head: envelope.Head, whole: bytes) -> bytes:
        codec, frame = self._codec, whole[head.front :]
        kept = whole[head.front - head.kept : head.front]
        if not head.flags & envelope.BUILD:
            self._note(head, kept)
            return self._with_id(head, frame) if head.id != head.own_id else frame
        reply = Reply(Status(head.status), head.id, head.context, frame.decode("utf-8", "ignore"), kept)
        if head.kind == native.KIND_RESPONSE:
            return codec.error(reply)
        if head.kind == native.KIND_HEARTBEAT_ACK:
            return codec.heartbeat_ack(frame)
        if head.kind == native.KIND_DRAIN:
            return codec.drain(reply)
        beat = codec.heartbeat(head.id, head.upstream_key)
        if not beat:  # this variant has none: it cannot be asked whether it lives
            self._send_up(envelope.pack(native.KIND_HEARTBEAT_ACK, id=head.id))
        return beat

    def _with_id(self, head: envelope.Head, frame: bytes) -> bytes:
        try:
            return self._codec.with_id(frame, head.id)
        except BaseException as error:
            if not self._upstream or head.kind not in {native.KIND_REQUEST, native.KIND_ONEWAY}:
                raise
            # Others share this connection: one request fails.
            self._bridges.failed(self._codec, "a request is answered INTERNAL", error)
        if head.kind == native.KIND_REQUEST:
            text = f"protokit: the codec of protocol {self._codec.name} failed".encode()
            self._send_up(
                envelope.pack(
                    native.KIND_RESPONSE,
                    text,
                    id=head.id,
                    context=head.context,
                    status=Status.INTERNAL,
                    flags=envelope.BUILD,
                )
            )
        return b""

    # Ending.

    def _refuse(self, why: native.Message | int) -> None:
        """Tell the engine that a frame is too large, or at what byte the peer's are wrong.

        It answers that frame, and what was asked before, and closes.
        """
        if self._refused:
            return
        self._refused = True
        if isinstance(why, int):
            data = envelope.pack(0, timeout_ms=min(max(why, 0), 0xFFFFFFFF), flags=envelope.WRONG)
        else:
            data = _too_large(why)
            self._skip = why.need if why.need <= _MAX_SKIP else 0
        self._send_up(data)
        self._drop()

    def _drop(self) -> None:
        self._skip = max(0, self._skip - len(self._peer.buffer))
        self._peer.buffer.clear()
        if self._lingers is not None:
            self._linger()

    def leave(self, *, reset: bool) -> None:
        """The engine has closed its end; what it wrote before is still for the peer."""
        if reset or self._peer.transport is None:
            self.abort(reset=reset)
        else:
            self._give_time()

    def _finish(self) -> None:
        """All is written: close once the peer has taken it."""
        self._engine.close()
        if self._refused and not self._peer.ended:
            self._linger()
        else:
            self._peer.close()

    def _linger(self) -> None:
        """Close when the peer does, or is silent: closed at once it might lose what it has not read yet."""
        peer = self._peer
        if self._lingers is not None:
            self._lingers.cancel()
        if peer.ended or peer.transport is None or peer.transport.is_closing():
            peer.close()
            return
        if self._skip == 0 and not self._told_peer:
            self._told_peer = True
            peer.transport.write_eof()
        self._lingers = asyncio.get_running_loop().call_later(_LINGER_S, peer.close)

    def _give_time(self) -> None:
        if self._deadline is None and not self._over:
            seconds = self._bridges.limits()["frame_ms"] / 1000
            self._deadline = asyncio.get_running_loop().call_later(seconds, self.abort)

    def lost(self, end: _End) -> None:
        """One socket is closed or broken, and the other one is of no use."""
        end.gone = True
        other = self.other(end)
        if end is self._peer and other.transport is not None and other.transport.is_closing():
            pass  # it is writing its last bytes
        elif end is self._peer:
            other.close(abort=True)
        elif self._lingers is None:
            other.close()
        if all(one.transport is None or one.gone for one in (self._peer, self._engine)):
            self._end()
        else:
            self._give_time()

    def abort(self, *, reset: bool = False) -> None:
        """Close both sockets now."""
        if reset and self._peer.transport is not None:
            raw = self._peer.transport.get_extra_info("socket")
            if raw is not None:
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._peer.close(abort=True)
        self._engine.close(abort=True)
        self._end()

    def _end(self) -> None:
        self._over = True
        for timer in (self._later, self._lingers, self._deadline):
            if timer is not None:
                timer.cancel()
        self.pace()
        self.forget()


def _too_large(message: native.Message) -> bytes:
    return envelope.pack(message.kind, id=int(message.id), context=message.context, flags=envelope.TOO_LARGE)
