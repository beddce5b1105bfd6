"""What a codec says by itself: heartbeats, errors, greetings, the signal to go elsewhere; and ids.

Imported when it is first asked for: a proxy without filters never asks from Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit._native import ffi, lib
from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.native.codecs import greeting, id_max, rewrites_ids
from protokit.native.frames import RESULTS, SIDES, Id, frame, has_ended, sent_by, side_of

if TYPE_CHECKING:
    from collections.abc import Callable

_REPLY_ROOM = 70_000


def heartbeat(codec: int, request_id: Id, key: int = 0) -> bytes:
    """The codec's heartbeat; empty when it has none. ``key``: of the upstream connection."""
    number = 0 if id_max(codec) else request_id
    beat = _built(lambda out: lib.pk_codec_heartbeat(codec, number, key, out, _REPLY_ROOM))
    return sent_by("client", _named(codec, sent_by("client", beat), request_id))


def heartbeat_ack(codec: int, data: bytes, side: str | None = None) -> bytes:
    """The answer to a heartbeat; empty when there is none. ``side``: see ``frame``."""
    side = side or side_of(data)
    ack = sent_by(
        "client" if side == "server" else "server",
        _built(lambda out: lib.pk_codec_ack(codec, data, len(data), SIDES.index(side), out, _REPLY_ROOM)),
    )
    return _named(codec, ack, frame(codec, data, len(data), side=side).id) if id_max(codec) else ack


def drain(codec: int, context: int = 0, kept: bytes = b"") -> bytes:
    """The signal to go elsewhere; empty when there is none. ``kept``: of the client's last request."""
    return sent_by(
        "server",
        _built(lambda out: lib.pk_codec_drain(codec, context, kept, len(kept), out, _REPLY_ROOM)),
    )


def keep(codec: int, data: bytes, limit: int = 8 << 20) -> bytes:
    """What is kept of a request for its replies, refused ones included; empty where nothing is."""
    out = ffi.new("uint8_t[256]")
    return bytes(ffi.buffer(out, lib.pk_codec_keep(codec, data, len(data), limit, out)))


def error(codec: int, status: int, request_id: Id, context: int, text: bytes, kept: bytes = b"") -> bytes:
    """The error reply of a status, to a request of that id and context (``Message.context``).

    ``kept``: of the request, as ``keep`` gives it.
    """
    number = 0 if id_max(codec) else request_id
    reply = _built(
        lambda out: lib.pk_codec_error(
            codec, status, number, context, kept, len(kept), text, len(text), out, _REPLY_ROOM
        )
    )
    return _named(codec, sent_by("server", reply), request_id)


def _built(build: Callable[[Any], int]) -> bytes:
    out = ffi.new("uint8_t[]", _REPLY_ROOM)
    size = build(out)
    if size < 0:
        raise LocalProtocolError(f"the codec cannot build this: {RESULTS.get(size, size)}")
    return bytes(ffi.buffer(out, size))


def _named(codec: int, reply: bytes, request_id: Id) -> bytes:
    """A reply with its id, where ids are byte strings that are written; others were built with it."""
    written = reply and id_max(codec) and rewrites_ids(codec)
    return patch_id(codec, reply, request_id) if written else reply


def write_id(codec: int, number: int) -> bytes:
    """The id that the engine writes for a number, where ids are byte strings."""
    out = ffi.new("uint8_t[64]")
    return bytes(ffi.buffer(out, lib.pk_codec_write_id(codec, number % 2**64, out)))


def read_id(codec: int, request_id: bytes) -> int | None:
    """The number whose id that is; None where the engine would not write it so."""
    number = ffi.new("uint64_t *")
    return int(number[0]) if lib.pk_codec_read_id(codec, request_id, len(request_id), number) else None


def show_id(request_id: Id) -> str:
    """An id for people: digits, printable text, or ``0x`` and hex."""
    if isinstance(request_id, int):
        return str(request_id)
    if all(0x20 <= byte < 0x7F for byte in request_id) and not request_id.startswith(b"0x"):
        return request_id.decode()
    return "0x" + request_id.hex()


def patch_id(codec: int, data: bytes, request_id: Id, side: str | None = None) -> bytes:
    """The frame with another id, and lengths and checksums made right.

    Args:
        codec: its address.
        data: one frame.
        request_id: a number; where ids are byte strings it stands for the id that the engine writes.
        side: see ``frame``.

    Raises:
        RemoteProtocolError: ``data`` is no whole frame.
        LocalProtocolError: the frame cannot have that id.
    """
    side = side or side_of(data)
    if most := id_max(codec):
        wanted = write_id(codec, request_id) if isinstance(request_id, int) else request_id
        room = len(data) + most + 16
        out = ffi.new("uint8_t[]", room)
        size = lib.pk_codec_splice(codec, data, len(data), SIDES.index(side), wanted, len(wanted), out, room)
        if size in {-4, -5}:
            raise LocalProtocolError(f"the frame cannot have the id {show_id(wanted)!r}")
        if size < 0:
            raise RemoteProtocolError("this is no whole frame")
        return sent_by(side, bytes(ffi.buffer(out, size)), ended=has_ended(data))
    changed = ffi.new("uint8_t[]", len(data))
    ffi.memmove(changed, data, len(data))
    if lib.pk_codec_patch(codec, changed, len(changed), SIDES.index(side), request_id) != 0:
        raise RemoteProtocolError("this is no whole frame")
    return sent_by(side, bytes(ffi.buffer(changed)), ended=has_ended(data))


def greeting_step(codec: int, step: int, context: int = 0, said: bytes = b"") -> bytes:
    """A step of the greeting; empty where the proxy leaves it out.

    Args:
        codec: its address.
        step: from 0.
        context: of the last frame received (``Message.context``).
        said: the greeting that the peer said last; empty where it said none.
    """
    side = 3 - SIDES.index(greeting(codec)[step])  # the peer's
    return _built(
        lambda out: lib.pk_codec_greeting(codec, step, context, said, len(said), side, out, _REPLY_ROOM)
    )


def greeting_heard(codec: int, step: int, frame: bytes) -> int | None:
    """Which step of the greeting a frame is, from ``step`` on, whose turn it is; None: it is none."""
    found = lib.pk_codec_greeting_step(codec, step, frame, len(frame), SIDES.index(greeting(codec)[step]))
    return found if found >= 0 else None
