"""``protokit decode --golden``: of the frames of a capture one of each kind, as golden vectors.

A kind of request is its variant, service, method, version, group and which headers it has; of an answer
its status and the method that was asked; of a greeting which one it is on its connection. A request whose
answer is kept is kept too, and one more where all ids would be alike, so that a mistake about ids shows.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.errors import RemoteProtocolError
from protokit.model import Status
from protokit.testing.golden import Golden
from protokit.testing.said import likely_text
from protokit.testing.voices import Voice
from protokit.wire.format import KINDS

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from protokit.cli.frames import Frame
    from protokit.wire import Protocol

LARGEST = 64 << 10  # bytes of a frame that is kept
MOST = 100  # requests, one-way ones, answers ...: who calls a thousand methods looks at some of them
WAITING = 4096  # requests whose answers may still come
ENOUGH = 2  # answers on connections that had one request at a time, from which that is worth a word
_REQUESTS = {native.KIND_REQUEST, native.KIND_ONEWAY}


class Vectors:
    """Keeps frames as they come.

    Args:
        source: library and version of the peers, as ``com.alibaba:dubbo:2.6.12``.
        origin: where they were captured; without ``captured`` in front.
    """

    def __init__(self, source: str, origin: str) -> None:
        self.source = source
        self.origin = f"captured: {origin}"
        self.protocol: Protocol | None = None
        self.kept: OrderedDict[bytes, native.Message] = OrderedDict()
        self.seen: set[Hashable] = set()
        self.asked: OrderedDict[Hashable, tuple[tuple[str, ...], Frame]] = OrderedDict()
        self.under_way: dict[int, set[native.Id]] = {}  # of each connection
        self.greeted: Counter[int] = Counter()  # of each connection
        self.answered = 0
        self.together = False  # whether a connection had two requests under way
        self.left_out: Counter[int] = Counter()  # by kind, over MOST
        self._counted: Counter[int] = Counter()  # what is kept, by kind

    def take(self, frame: Frame, connection: int) -> None:
        """A frame of that connection, in the order in which they came."""
        message = frame.message
        if self.protocol is None:
            self.protocol = frame.protocol
        self._count(message, connection)
        if message.size > LARGEST or frame.protocol.name != self.protocol.name:
            return
        about: tuple[Any, ...] = (message.kind, message.context & 0xFF)
        if message.kind in _REQUESTS:
            said = self._said(frame)
            about += said
            self.asked[connection, message.id] = (said, frame)
            while len(self.asked) > WAITING:
                self.asked.popitem(last=False)
        elif message.kind == native.KIND_RESPONSE:
            said, request = self.asked.pop((connection, message.id), ((), None))
            about += (message.status, *said)
            if about not in self.seen and request is not None and not self._enough(message.kind):
                self._keep(request)
        elif message.kind == native.KIND_GREETING:
            self.greeted[connection] += 1
            about += (self.greeted[connection],)
        if about not in self.seen and self._enough(message.kind):
            self.left_out[message.kind] += 1
        elif about not in self.seen or self._alike(message):
            self.seen.add(about)
            self._keep(frame)

    def _enough(self, kind: int) -> bool:
        return self._counted[kind] >= MOST

    def _count(self, message: native.Message, connection: int) -> None:
        waiting = self.under_way.setdefault(connection, set())
        if message.kind == native.KIND_REQUEST and len(waiting) < WAITING:
            waiting.add(message.id)
            self.together = self.together or len(waiting) > 1
        elif message.kind == native.KIND_RESPONSE and message.id in waiting:
            waiting.remove(message.id)
            self.answered += 1

    def more(self) -> str | None:
        """What is not among them although it is like none of them."""
        if not self.left_out:
            return None
        each = ", ".join(f"{number} {KINDS[kind]}" for kind, number in sorted(self.left_out.items()))
        return (
            f"left out, as {MOST} of their kind are kept: {each}. Where service=, method= or headers= read "
            "what differs in each frame, as a value or a text of its user's, say what is called instead"
        )

    def doubt(self) -> str | None:
        """What the frames do not show of the protocol's mode, where they could have."""
        if self.protocol is None or self.together or self.answered < ENOUGH:
            return None
        if self.protocol.tier == "python" or self.protocol.pinned or native.mode(self.protocol.wire.address):
            return None  # 0: multiplexed
        return (
            f"{self.protocol.name} is multiplexed, and no connection of these had two requests under way: a "
            "server that reads one request at a time makes clients wait behind each other's. Find out with "
            "two slow calls on one connection; if the second waits, write mode='pingpong', in which the id "
            "comes back as it was"
        )

    def _keep(self, frame: Frame) -> None:
        if frame.data not in self.kept:
            self.kept[frame.data] = frame.message
            self._counted[frame.message.kind] += 1

    def _alike(self, message: native.Message) -> bool:
        """Whether this request is the first with another id than all others."""
        ids = {one.id for one in self.kept.values() if one.kind in _REQUESTS}
        return message.kind in _REQUESTS and len(ids) == 1 and message.id not in ids

    def _said(self, frame: Frame) -> tuple[str, ...]:
        try:
            request = frame.protocol.wire.ask.request(frame.data)
        except RemoteProtocolError as error:
            return (str(error),)
        return (request.service, request.method, request.version, request.group, *sorted(request.headers))

    def lines(self) -> Iterator[str]:
        """One JSON object each."""
        if self.protocol is None:
            return
        wire = self.protocol.wire
        found = [Golden(self._name(data, message), data) for data, message in self.kept.items()]
        requests = [one for one in found if wire.ask.frame(one.data).kind == native.KIND_REQUEST]
        names: dict[str, int] = {}
        for one in found:
            names[one.name] = number = names.get(one.name, 0) + 1
            yield json.dumps(
                {
                    "name": one.name if number == 1 else f"{one.name} ({number})",
                    "source": self.source,
                    "origin": self.origin,
                    **({"side": side} if (side := native.side_of(one.data)) else {}),
                    **({"ended": True} if self._by_its_end(one.data) else {}),
                    "hex": one.data.hex(),
                    "expect": self._expected(one, requests),
                }
            )

    def _by_its_end(self, data: bytes) -> bool:
        """Whether only its sender's end tells where it ends."""
        assert self.protocol is not None  # noqa: S101  # for type checkers
        alone = native.sent_by(native.side_of(data), bytes(data))
        return native.has_ended(data) and self.protocol.wire.ask.frame(alone).result == 1

    def _name(self, data: bytes, message: native.Message) -> str:
        assert self.protocol is not None  # noqa: S101  # for type checkers
        words = [KINDS[message.kind]]
        if message.kind in _REQUESTS:
            try:
                request = self.protocol.wire.ask.request(data)
            except RemoteProtocolError:
                words.append("unreadable")
            else:
                words += [one for one in (request.service, request.method) if one]
        if message.kind == native.KIND_RESPONSE:
            words.append(Status(message.status).name)
        return " ".join(words)

    def _expected(self, one: Golden, requests: list[Golden]) -> dict[str, Any]:
        assert self.protocol is not None  # noqa: S101  # for type checkers
        ask = self.protocol.wire.ask
        message = ask.frame(one.data)
        kind = KINDS[message.kind]
        expect: dict[str, Any] = {"kind": "heartbeat_ack" if kind == "ack" else kind}
        if ask.id_bytes:
            expect["request_id"] = native.show_id(message.id)
        if message.kind == native.KIND_RESPONSE:
            expect["status"] = Status(message.status).name
            if message.status > Status.APP_ERROR:
                voice = Voice(self.protocol)
                expect["text"] = likely_text(self.protocol.wire, voice, requests, one)
        if message.kind in _REQUESTS:
            try:
                request = ask.request(one.data)
            except RemoteProtocolError:
                return expect
            expect |= {"service": request.service, "method": request.method}
            more = {"version": request.version, "group": request.group, "timeout_ms": request.timeout_ms}
            expect |= {name: value for name, value in more.items() if value}
            if request.headers:
                expect["headers"] = dict(request.headers)
        return expect
