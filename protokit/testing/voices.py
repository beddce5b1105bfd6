"""How a peer in a check reads and writes frames.

A declared format has its reference codec: peers that speak with it see where the engine's program says
something else. A native codec's peers speak with the codec itself, and where the plugin has a reader in
Python, they read with that.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from protokit import native
from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.model import Status
from protokit.wire import WireFormat, sections, views
from protokit.wire.compiler import FIRST_ERROR
from protokit.wire.format import KINDS
from protokit.wire.nodes import Integer, walk
from protokit.wire.replies import said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from protokit.wire import Message, Protocol
    from protokit.wire.ids import Named

LARGEST = 1 << 24


class Heard(NamedTuple):
    """What a peer makes of a frame."""

    kind: str
    size: int
    id: native.Id
    status: Status


def _heard(one: Any) -> Heard:
    """Of a reference's message; an id is alike whoever sent it."""
    return Heard(one.kind, one.size, bytes(one.id) if isinstance(one.id, bytes) else one.id, one.status)


class Voice:
    """What a peer of any codec can do: the codec itself does it.

    Args:
        protocol: whose peer it is.
        reader: reads a frame in Python; None leaves it to the codec.
        renumber: writes another id into a frame; None leaves it to the codec.
    """

    def __init__(
        self,
        protocol: Protocol,
        reader: Callable[[bytes], Message] | None = None,
        renumber: Callable[[bytes, Any], bytes] | None = None,
    ) -> None:
        self.codec = protocol.wire
        self.reader = reader
        self.renumber = renumber

    def hear(self, data: bytes) -> Heard:
        """The frame in front.

        Raises:
            EOFError: it is not whole.
            RemoteProtocolError: it is malformed.
        """
        if self.reader is not None:
            return _heard(self.reader(data))
        seen = self.codec.ask.frame(data, LARGEST)
        if seen.result == 1:
            raise EOFError(f"{seen.need} bytes are needed")
        if seen.result != 0:
            raise RemoteProtocolError(native.RESULTS[seen.result], seen.error_at)
        return Heard(KINDS[seen.kind], seen.size, seen.id, Status(seen.status))

    def split(self, data: bytes) -> tuple[list[tuple[Heard, bytes]], bytes]:
        """The whole frames in some bytes, and what is left."""
        found = []
        while data:
            try:
                heard = self.hear(data)
            except EOFError:
                break
            found.append((heard, data[: heard.size]))
            data = data[heard.size :]
        return found, data

    def variant(self, frame: bytes) -> Any:
        """Which form of the protocol it has; an answer has that of its request."""
        if self.reader is not None:
            return self.reader(frame).fields
        return self.codec.ask.frame(frame, LARGEST).context & 0xFF

    def with_id(self, frame: bytes, request_id: native.Id) -> bytes:
        """The same frame under another id; a number may stand for the byte string that the engine writes.

        Raises:
            LocalProtocolError: the frame cannot have it.
        """
        if self.renumber is not None:
            return self._renumbered(self.renumber, frame, request_id)
        return self.codec.ask.patch_id(frame, request_id) if self.codec.ask.id_bytes else frame

    def _renumbered(
        self, renumber: Callable[[bytes, Any], bytes], frame: bytes, request_id: native.Id
    ) -> bytes:
        """By the author's function; a number stands for the byte string that the engine would write."""
        if self.codec.ask.id_max and isinstance(request_id, int):
            request_id = native.write_id(self.codec.address, request_id)
        return native.sent_by(native.side_of(frame), renumber(frame, request_id))

    def heartbeat(self, request_id: native.Id, like: bytes) -> bytes:
        """A heartbeat in the form of the frame ``like``; empty where there are none."""
        key = self.codec.ask.frame(like, LARGEST).upstream_key
        return self.codec.ask.heartbeat(request_id, key)

    def ack(self, beat: bytes) -> bytes:
        """The answer to a heartbeat."""
        return self.codec.ask.heartbeat_ack(beat)

    def drain(self, like: bytes) -> bytes:
        """The signal to go elsewhere; empty where none can be sent."""
        ask = self.codec.ask
        return ask.drain(ask.frame(like, LARGEST).context, ask.keep(like))

    def error(self, status: Status, request: bytes, text: str) -> bytes:
        """The error reply to a request."""
        asked = self.codec.ask.frame(request, LARGEST)
        kept = self.codec.ask.keep(request)
        return self.codec.ask.error(status, asked.id, asked.context, text.encode(), kept)


class DeclaredVoice(Voice):
    """A peer of a declared format: it has the declaration, and nothing of what that was compiled to."""

    def __init__(self, protocol: Protocol, renumber: Callable[[bytes, Any], bytes] | None = None) -> None:
        assert isinstance(protocol.wire, WireFormat)
        self.codec = self.wire = protocol.wire
        self.renumber = renumber

    def hear(self, data: bytes) -> Heard:
        return _heard(self.wire.message(data))

    def variant(self, frame: bytes) -> int:
        return self._variant(self.wire.parse(frame)[0])

    def _variant(self, container: Any) -> int:
        for index, variant in enumerate(self.wire.meaning.variants):
            if all(views.value_at(container, path) == value for path, value in variant.items()):
                return index
        return 0

    def with_id(self, frame: bytes, request_id: native.Id) -> bytes:
        if self.renumber is not None:
            return self._renumbered(self.renumber, frame, request_id)
        named = self.wire.meaning.named
        if named is not None and named.passes:
            return self._with_other(named, frame, request_id)
        container, size = self.wire.parse(frame)
        integers = {one.path: one for one in walk(self.wire.nodes) if isinstance(one, Integer)}
        answers = self.wire.is_answer(container)
        named = named.of(answers=answers) if named is not None else None
        if named is not None and named.view is not None:
            text = named.write(request_id) if isinstance(request_id, int) else request_id
            if named.view.get(container) is None:
                return frame
            if not named.allows(text):
                raise LocalProtocolError(f"{text!r} is no id of this format")
            named.put(container, text)
            return self.wire.build(container) + frame[size:]
        for path in self.wire.meaning.ids(answers=answers):
            if views.value_at(container, path) is None:
                continue
            if named is not None:
                text = named.write(request_id) if isinstance(request_id, int) else request_id
                if not named.allows(text):
                    raise LocalProtocolError(f"{text!r} is no id of this format")
                named.set(container, path, text)
                return self.wire.build(container) + frame[size:]
            assert isinstance(request_id, int)
            bits = 8 * integers[path].width
            value = request_id % (1 << bits)
            if integers[path].signed and value >> (bits - 1):
                value -= 1 << bits
            sections.set_at(container, path, value)
            return self.wire.build(container) + frame[size:]
        return frame

    def _with_other(self, ids: Named, frame: bytes, request_id: native.Id) -> bytes:
        """Of ids that stay: as the reference builds it, if it reads it again; a number in any way."""
        container, size = self.wire.parse(frame)
        own = self.wire.id_of(container)
        if not isinstance(own, bytes) or own == request_id:
            return frame
        texts = [request_id] if isinstance(request_id, bytes) else _numbers(ids, request_id, len(own))
        for text in texts:
            if ids.allows(text):
                container, _ = self.wire.parse(frame)
                with contextlib.suppress(LocalProtocolError, RemoteProtocolError, EOFError):
                    ids.of(answers=self.wire.is_answer(container)).put(container, text)
                    for path in self.wire.meaning.id:
                        if views.value_at(container, path) is not None:
                            ids.set(container, path, text)
                    made = self.wire.build(container) + frame[size:]
                    if self.hear(made).id == text:
                        return made
        raise LocalProtocolError(f"{request_id!r} cannot stand in this frame as its id")

    def heartbeat(self, request_id: native.Id, like: bytes) -> bytes:
        return self._say(self.wire.replies.heartbeat, "client", self.wire.parse(like)[0], request_id)

    def ack(self, beat: bytes) -> bytes:
        side = "client" if native.side_of(beat) == "server" else "server"
        container, size = self.wire.parse(beat)
        asked = _heard(self.wire.describe(container, size))
        return self._say(self.wire.replies.ack, side, container, asked.id)

    def drain(self, like: bytes) -> bytes:
        return self._say(self.wire.replies.drain, "server", self.wire.parse(like)[0], None)

    def error(self, status: Status, request: bytes, text: str) -> bytes:
        error = self.wire.replies.error
        make = None if error is None else lambda variant: error(status, variant)
        container, size = self.wire.parse(request)
        asked = _heard(self.wire.describe(container, size))
        room = self.wire.text_rooms[self._variant(container)].get(FIRST_ERROR + status, 0)
        return self._say(make, "server", container, asked.id, text[:room])

    def _say(
        self,
        make: Callable[[Mapping[str, int]], Mapping[str, Any]] | None,
        side: str,
        like: Any,
        request_id: native.Id | None,
        text: str = "",
    ) -> bytes:
        """What it says, to the fields of a frame."""
        if make is None:
            return b""
        variant = self.wire.variants[self._variant(like)]
        values = said(make(variant), self.wire.parts, like, text.encode())
        for name, value in variant.items():
            _default(values, tuple(name.split(".")), value)
        ids = self.wire.meaning.ids(answers=make is not self.wire.replies.heartbeat)
        named = self.wire.meaning.named
        own = any(views.value_at(values, path) is not None for path in ids)  # an id that it always has
        chosen = bool(self.wire.meaning.answer_id) and request_id is not None
        if named is not None and named.passes:  # it repeats its request's
            return self.wire.build(values, side)
        for path in ids:
            first: Any = request_id if chosen else 0  # which id it is may go by the id
            _default(values, path, first if named is None else named.field(named.write(0)))
        here = None if named is None else named.of(answers=make is not self.wire.replies.heartbeat)
        if here is not None and here.view is not None:
            _default(values, views.sections_of([here.view])[0], b"")
            here.put(values, here.write(0))
        frame = self.wire.build(values, side)
        kept = request_id is None or chosen or (own and named is None)
        return frame if kept or request_id is None else self.with_id(frame, request_id)


def _numbers(ids: Named, number: int, size: int) -> list[bytes]:
    """Ways to write a number as an id, in as many bytes as another."""
    digits = b"%d" % (number % 10**size)
    return [ids.write(number), digits.rjust(size, b"0"), (number % 256**size).to_bytes(size, "big")]


def _default(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        inner = values.get(name)
        if not isinstance(inner, dict):
            return  # another branch's
        values = inner
    values.setdefault(path[-1], value)
