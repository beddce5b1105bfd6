"""What must hold for any bytes at all: the checks of one example of ``protokit fuzz``.

Bytes are laid flush against an unreadable page: a codec in C that reads past them ends the process.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.errors import LocalProtocolError, ProtokitError, RemoteProtocolError
from protokit.model import Status
from protokit.native.core import Core
from protokit.testing.asked import MESSAGES, answer_edited, asked_in_front_of_nothing, fresh
from protokit.testing.tables import TableBuilder
from protokit.wire import Protocol, WireFormat
from protokit.wire.format import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 1 << 16
_PATIENCE_MS = 100_000
ROOM = 1 << 20
MS = 1_000_000
_REQUESTS = {native.KIND_REQUEST, native.KIND_ONEWAY}
_OVER = -3  # PK_ERR_LIMIT
_FRAMES = 8  # of one example that are looked at one by one


class Violation(AssertionError):
    """A check that did not hold.

    Attributes:
        check: its name.
        why: what was seen and what was expected.
    """

    def __init__(self, check: str, why: str) -> None:
        super().__init__(f"{check}: {why}")
        self.check = check
        self.why = why


@dataclass(frozen=True)
class Example:
    """What is tried.

    Attributes:
        client: the bytes that a client sends.
        upstream: what an upstream sends.
        cuts: sizes of the pieces that they come in, over and over; empty: at once.
        how: what peers do besides: ``answers`` (an upstream answers every request with the first frame of
            ``upstream``), ``fails`` (upstreams cannot be reached), ``ends``, ``resets`` (the client, in the
            end), ``breaks`` (the upstream, in the end), ``pinned``. None: the core is left out.
    """

    client: bytes
    upstream: bytes = b""
    cuts: tuple[int, ...] = ()
    how: tuple[str, ...] | None = None


class Invariants:
    """The checks of one protocol.

    Args:
        protocol: which.
        enter: told the name of each check before it runs, so that it is known where a process crashed.
    """

    def __init__(self, protocol: Protocol, enter: Callable[[str], None] = lambda _: None) -> None:
        if not protocol.wire.ask.in_engine:
            raise ProtokitError(
                f"protocol {protocol.name!r} has a codec in Python: there is no native code to try; "
                "use the conformance kit (protokit.testing.conformance)"
            )
        self.wire = protocol.wire
        self.codec = protocol.wire.address
        self.rewrites_ids = native.rewrites_ids(self.codec)
        self.enter = enter
        self.check = ""
        self.reserved = getattr(protocol.wire, "reserved_ids", ())
        self.guarded = native.Guarded(ROOM)
        self._table: native.Table | None = None
        self.room = native.Guarded(ROOM)  # for replies, while `guarded` holds the frame

    def holds(self, example: Example) -> tuple[bool, tuple[Any, ...]]:
        """Run every check on an example.

        Returns:
            Whether its first frame was accepted, and what came out of it, for counting what is different.

        Raises:
            Violation: something does not hold.
        """
        try:
            outcome = self._bytes(native.sent_by("client", example.client), example.cuts)
            self._bytes(native.sent_by("server", example.upstream), example.cuts)
            if example.how is not None:
                self._enter("core")
                _World(self, example).run()
            return outcome[:1] == (0,), outcome
        except (Violation, KeyboardInterrupt):
            raise
        except Exception as error:  # whatever it is, no bytes may raise it
            raise Violation(self.check, f"{type(error).__name__}: {error}") from error

    def _enter(self, check: str) -> None:
        self.check = check
        self.enter(check)

    def must(self, condition: bool, why: str) -> None:  # noqa: FBT001  # reads as a sentence
        if not condition:
            raise Violation(self.check, why)

    def frame(self, data: bytes, *, limit: int = LIMIT) -> native.Message:
        """Frame it, flush against the page, and see that the result is one of the documented."""
        message = native.frame(self.codec, self.guarded.put(data), limit, side=native.side_of(data))
        self._documented(message, len(data), limit)
        return message

    def _documented(self, message: native.Message, size: int, limit: int) -> None:
        if message.result == 0:
            self.must(0 < message.size <= min(size, limit), f"{message} of {size} bytes, {limit} allowed")
            self.must(1 <= message.kind < len(KINDS), f"{message!r}: that kind is not documented")
        elif message.result == 1:
            self.must(size < message.need <= limit, f"{message} of {size} bytes: cannot need so many")
        else:
            self.must(message.result in {-1, -2, -3, -4}, f"{message!r}: that result is not documented")
            self.must(message.error_at <= size, f"{message}: the error is behind the {size} bytes")

    # The codec.

    def _bytes(self, data: bytes, cuts: tuple[int, ...]) -> tuple[Any, ...]:
        outcome: tuple[Any, ...] = ()
        for number in range(_FRAMES):
            if not data:
                break
            self._enter("results")
            message = self.frame(data)
            if number == 0:
                self._enter("pieces")
                self._pieces(data, message, cuts)
            self._enter("reference")
            seen = self._reference(data, message)
            if number == 0:
                outcome = (message.result, message.kind, message.status, *seen)
            if message.result < 0 and message.kind == native.KIND_REQUEST:
                self._enter("replies")
                self._errors(data, message)
            if message.result != 0:
                break
            self._whole(data[: message.size], message)
            data = data[message.size :]
        return outcome

    def _pieces(self, data: bytes, whole: native.Message, cuts: tuple[int, ...]) -> None:
        """What is said of fewer bytes stays true when more have come."""
        last = 1
        ends = itertools.takewhile(
            lambda end: end < len(data), itertools.accumulate(itertools.cycle(cuts or (7,)))
        )
        for end in itertools.islice(ends, 40):
            message = self.frame(data[:end])
            if message.result == 0:
                same = message._replace(need=0) == whole._replace(need=0)
                self.must(same, f"{end} bytes: {message}; all {len(data)}: {whole}")
            elif message.result < 0:
                self.must(whole.result < 0, f"{end} bytes: {message}; all {len(data)}: {whole}")
            elif whole.result == 0:
                self.must(message.need <= whole.size, f"{end} bytes: {message}; the frame has {whole.size}")
            probed = native.probe(self.codec, self.guarded.put(data[:end]))
            self.must(probed in {0, 1, -1}, f"probe gave {probed}")
            self.must(last in {1, probed}, f"probe gave {last}, and {probed} at {end} bytes")
            clients = native.side_of(data) != "server"  # who begins
            self.must(
                probed != -1 or whole.result < 0 or not clients,
                f"probe refuses {end} bytes of a frame: {whole}",
            )
            last = probed
        self._remembered(data, whole, cuts)

    def _remembered(self, data: bytes, whole: native.Message, cuts: tuple[int, ...]) -> None:
        """Framing that goes on where it stopped says what it says of all bytes at once."""
        framing = native.Framing(self.codec, native.side_of(data))
        if not framing.remembers:
            return
        ends = itertools.takewhile(
            lambda end: end < len(data), itertools.accumulate(itertools.cycle(cuts or (7,)))
        )
        message, need = whole, 0
        for end in (*itertools.islice(ends, 40), len(data)):
            if end < need:
                continue
            message = framing.frame(self.guarded.put(data[:end]), LIMIT)
            need = message.need
            if message.result != 1:
                break
        agree = message._replace(need=0) == whole._replace(need=0)
        if message.result < 0 or whole.result == 1:
            agree = (message.result < 0) == (whole.result < 0) and (message.result == 1) == (
                whole.result == 1
            )
        if message.result == 1 and message.need > len(
            data
        ):  # it is not asked again: more can only be as wrong
            agree = whole.result != 0
        self.must(agree, f"piece by piece: {message}; at once: {whole}")

    def _whole(self, frame: bytes, message: native.Message) -> None:
        self._enter("results")
        alone = self.frame(frame)
        self.must(alone._replace(need=0) == message._replace(need=0), f"{alone} alone, {message} followed")
        if len(frame) > 1:
            self._over(self.frame(frame, limit=len(frame) - 1), message)
        if message.kind in MESSAGES:
            self._enter("asking")
            asked_in_front_of_nothing(self.codec, self.guarded.put, self.must, frame)
        if message.kind == native.KIND_RESPONSE:
            self._enter("edit")
            answer_edited(
                self.wire, self.must, lambda data: self.frame(data, limit=LIMIT + 4096), frame, message
            )
        if message.kind in _REQUESTS:
            self._enter("meaning")
            request = self._request(frame)
            if request is not None and message.kind == native.KIND_REQUEST:
                self._enter("edit")
                self._edit(frame, request)
        if message.kind == native.KIND_REQUEST:
            self._enter("replies")
            self._errors(frame, message)
        if message.kind == native.KIND_HEARTBEAT:
            self._enter("replies")
            if ack := native.heartbeat_ack(self.codec, self.guarded.put(frame), native.side_of(frame)):
                self._reply(ack, "ack", message.id)
        if native.id_bytes(self.codec) and message.kind <= native.KIND_RESPONSE:
            self._enter("ids")
            self._ids(frame, message)

    def _over(self, over: native.Message, message: native.Message) -> None:
        """Of a frame over the limit the engine skips what the codec says, and fails the call of that id."""
        if over.result != _OVER or over.need != over.size:
            return
        self.must(over.size == message.size, f"over the limit it has {over.size} bytes, else {message.size}")
        if over.kind in {native.KIND_REQUEST, native.KIND_RESPONSE}:
            same = (over.kind, over.id) == (message.kind, message.id)
            self.must(same, f"{over} over the limit, else {message}")

    def _request(self, frame: bytes) -> Any:
        try:
            return native.request(self.codec, self.guarded.put(frame), side=native.side_of(frame))
        except RemoteProtocolError:
            return None

    def _ids(self, frame: bytes, before: native.Message) -> None:
        if not self.rewrites_ids:
            return
        if native.id_max(self.codec):
            self._byte_ids(frame, before)
            return
        width = 1 << 8 * native.id_bytes(self.codec)
        for request_id in {0, 0x0102030405060708 % width, width - 1}.difference(self.reserved):
            changed = native.patch_id(self.codec, frame, request_id)
            if changed == frame and (before.kind, before.id) == (native.KIND_ONEWAY, 0):
                continue  # it has none
            after = self.frame(changed)
            self.must(after.id == request_id, f"the id {request_id} is read as {native.show_id(after.id)}")
            self.must(
                after._replace(id=before.id) == before._replace(need=after.need), f"{after}, was {before}"
            )
            self.must(
                native.patch_id(self.codec, changed, before.id) == frame, "the old id does not bring it back"
            )

    def _byte_ids(self, frame: bytes, before: native.Message) -> None:
        """Ids of other lengths change nothing else, and the old one brings all back."""
        most = native.id_max(self.codec)
        issued = [native.write_id(self.codec, number) for number in (1, 2**64 - 1)]
        for request_id in [*issued, b"", b"x", b"y" * most]:
            try:
                changed = native.patch_id(
                    self.codec, self.guarded.put(frame), request_id, native.side_of(frame)
                )
            except LocalProtocolError:
                continue  # no id of this format, or no room for it
            after = self.frame(changed, limit=LIMIT + 128)
            absent = before.id == b"" and changed == frame
            self.must(after.id == request_id or absent, f"the id {request_id!r} is read as {after.id!r}")
            same = after._replace(id=before.id, size=before.size, need=before.need) == before
            self.must(same and after.size == len(changed), f"{after}, was {before}")
            back = native.patch_id(self.codec, changed, before.id)
            self.must(back == frame, "the old id does not bring it back")

    def _errors(self, request: bytes, asked: native.Message) -> None:
        kept = native.keep(self.codec, self.guarded.put(request), LIMIT)
        said: set[bool] = set()
        for status in Status:
            if status > Status.APP_ERROR:
                text = f'protokit: {status.name}, a\u00fe\u20ac\U0001f600 "quoted"'
                reply = self._error(asked, status, text, kept)
                said.add(bool(reply))
                if not reply:
                    continue  # the client's connection is closed instead
                answer = self._reply(reply, "response", asked.id)
                self.must(
                    answer.status > Status.APP_ERROR, f"{status.name} is read as {_named(answer.status)}"
                )
        self.must(len(said) == 1, "some errors have a reply, and some have none")
        key = asked.upstream_key
        number: native.Id | None = native.write_id(self.codec, 7) if native.id_max(self.codec) else 7
        if native.id_max(self.codec) and not self.rewrites_ids:
            number = None  # one of its own
        if beat := native.heartbeat(self.codec, 7, key):
            self._reply(beat, "heartbeat", number)
        if drain := native.drain(self.codec, asked.context, kept):
            self._reply(drain, "drain", None)

    def _error(self, asked: native.Message, status: Status, text: str, kept: bytes) -> bytes:
        """The reply; empty where the connection is closed instead: who gave no id cannot be told."""
        try:
            return native.error(self.codec, status, asked.id, asked.context, text.encode(), kept)
        except LocalProtocolError:
            self.must(asked.id == b"", f"no error can have the id {native.show_id(asked.id)!r}")
            return b""

    def _reply(self, reply: bytes, kind: str, request_id: native.Id | None) -> native.Message:
        message = native.frame(self.codec, self.room.put(reply), LIMIT, side=native.side_of(reply))
        whole = (message.result, message.size, KINDS[message.kind]) == (0, len(reply), kind)
        self.must(whole, f"{reply.hex()} is no whole {kind}: {message}")
        if isinstance(request_id, int):
            request_id %= 1 << 8 * native.id_bytes(self.codec)
        self.must(request_id is None or message.id == request_id, f"{message}: the id")
        return message

    def _edit(self, frame: bytes, request: Any) -> None:
        """A header put in is there, and taken out leaves the frame as it was read before."""
        name = fresh(self.wire, request.headers)
        if name is None or name in request.headers:
            return
        try:
            added = self.wire.ask.edit(frame, [(native.EDIT_HEADER, name, "1")])
            removed = self.wire.ask.edit(added, [(native.EDIT_HEADER, name, None)])
        except ProtokitError:  # this frame, or this protocol, cannot be changed so
            return
        for changed, headers in ((added, {**request.headers, name: "1"}), (removed, dict(request.headers))):
            message = self.frame(changed, limit=LIMIT + 4096)
            self.must(
                (message.result, message.size) == (0, len(changed)), f"{message} of {len(changed)} edited"
            )
            after = self._request(changed)
            self.must(after is not None, "the edited request cannot be read")
            self.must(dict(after.headers) == headers, f"headers {dict(after.headers)}, expected {headers}")
            for field in ("service", "method", "version", "group"):
                was, now = getattr(request, field), getattr(after, field)
                self.must(was == now, f"{field} was {was!r}, is {now!r}")

    # The reference.

    def _reference(self, data: bytes, message: native.Message) -> tuple[Any, ...]:
        """Engine and construct agree. Returns what is different about the frame."""
        wire = self.wire
        if not isinstance(wire, WireFormat):
            return ()
        try:
            container, size = wire.parse(data)
        except EOFError:
            self.must(message.result != 0, f"{message}; the reference wants more")
            if message.result < 0:
                self._never(data, message)
            return ("cut",)
        except RemoteProtocolError as error:
            self.must(message.result != 0, f"{message}; the reference says: {error}")
            return ("refused",)
        if size > LIMIT:
            self.must(message.result < 0, f"{message}; the reference says {size} bytes, {LIMIT} are allowed")
            return ("large",)
        self.must((message.result, message.size) == (0, size), f"{message}; the reference says {size} bytes")
        shape = _shape(container)
        try:
            expected = wire.describe(container, size)
        except RemoteProtocolError as error:
            request = self._request(data[:size])
            self.must(request is None, f"{request}; the reference says: {error}")
            return ("unreadable", shape)
        got = (KINDS[message.kind], message.size, message.id, _named(message.status))
        wanted = (expected.kind, expected.size, expected.id, expected.status.name)
        self.must(got == wanted, f"{got}; the reference says {wanted}")
        if message.kind in _REQUESTS:
            self._compare(self._request(data[:size]), expected)
        return (expected.kind, shape)

    def _compare(self, request: Any, expected: Any) -> None:
        self.must(request is not None, f"the request cannot be read; the reference says {expected}")
        for field in ("service", "method", "version", "group", "timeout_ms"):
            got, wanted = getattr(request, field), getattr(expected, field)
            self.must(got == wanted, f"{field} {got!r}; the reference says {wanted!r}")
        got, wanted = dict(request.headers), dict(expected.headers)
        self.must(got == wanted, f"headers {got}; the reference says {wanted}")

    def _never(self, data: bytes, message: native.Message) -> None:
        """What the engine refuses early, the reference accepts with no bytes behind it, or is too large."""
        assert isinstance(self.wire, WireFormat)
        try:
            size = self.wire.parse(data + bytes(LIMIT))[1]
        except (EOFError, RemoteProtocolError):
            return
        self.must(size > LIMIT, f"{message}; with zeros behind it the reference accepts it")

    def table(self) -> native.Table:
        """Listener 0 forwards to one endpoint, listener 1 does so pinned."""
        if self._table is None:
            limits = {
                "buffer": 4 << 20,
                "frame": LIMIT,
                "connections": 64,
                "in_flight": 256,
                "in_flight_per_connection": 32,
                "filters": 32,
                "client_pause": 4096,
                "client_close": 1 << 20,
                "upstream_buffer": 1 << 15,
                "upstream_in_flight": 32,
                "retry_buffer": 4096,
                "request_ms": 3000,
                "idle_ms": 600_000,
                "frame_ms": 20_000,
                "detect_ms": 500,
                "heartbeat_ms": 4000,
                "probe_ms": 1000,
                "filter_ms": 3000,
                "drain_ms": 0,
            }
            builder = TableBuilder(limits, seed=42)
            builder.cluster("c", "round-robin", 4, 1000)
            builder.endpoint(0, "127.0.0.1", 9000, 1)
            plan = builder.plan("plan")
            builder.split(0, 1)
            routes = builder.routes("r")
            builder.rule("*", "*", "*", "*", plan)
            builder.listener(0, "in", routes=routes, plan=None, pinned=False, codecs=[self.codec])
            builder.listener(1, "pinned", routes=None, plan=plan, pinned=True, codecs=[self.codec])
            self._table = builder.finish()
        return self._table


def _named(status: int) -> str:
    return Status(status).name if status in Status.__members__.values() else str(status)


def _shape(container: Any) -> Any:
    """Which fields are there."""
    if isinstance(container, dict):
        return tuple(
            (name, _shape(value))
            for name, value in container.items()
            if value is not None and not name.startswith("_")
        )
    return min(len(container), 3) if isinstance(container, list) else ""


class _World:
    """The core (``native.core.Core``) between one client and its upstreams, with a clock of its own."""

    def __init__(self, invariants: Invariants, example: Example) -> None:
        self.invariants = invariants
        self.codec = invariants.codec
        self.must = invariants.must
        self.example = example
        self.how = example.how or ()
        self.core = Core(7)
        self.now = 1_000 * MS
        self.got: dict[int, bytearray] = {}  # what each open peer got and did not read
        self.paused: set[int] = set()
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[native.Id] = []
        self.own_ms = 0
        self.reset = False  # the client's connection, by the core
        self.wrong = (
            False  # the client's bytes end with what is no frame, or it uses ids that mean something else
        )
        self.reply = self._first_response(example.upstream)
        self.core.begin(self.now)
        self.core.apply(invariants.table(), 1)
        self.client = self.core.accept(1 if "pinned" in self.how else 0)
        self.got[self.client] = bytearray()
        self.settle()

    def _first_response(self, data: bytes) -> bytes:
        if not data:
            return b""
        data = native.sent_by("server", data)
        message = native.frame(self.codec, data, LIMIT)
        answer = message.result == 0 and message.kind == native.KIND_RESPONSE
        answer = answer and self.invariants.rewrites_ids
        return data[: message.size] if answer else b""

    def settle(self) -> None:
        core = self.core
        core.end()
        while True:
            ops = core.ops()
            for op in ops:
                if op.op == native.OP_CONNECT:
                    self.got[op.handle] = bytearray()
                    core.connected(op.handle, failed="fails" in self.how)
                elif op.op == native.OP_CLOSE:
                    self.must(op.handle in self.got, "a connection is closed twice")
                    self.reset |= op.handle == self.client and op.arg == 1
                    self._read(op.handle)
                    del self.got[op.handle]
                    self.paused.discard(op.handle)
                elif op.op == native.OP_FINISH:
                    core.eof(op.handle)  # who hears that no more comes closes, too
                elif op.op == native.OP_PAUSE:
                    self.paused.add(op.handle)
                elif op.op == native.OP_RESUME:
                    self.paused.discard(op.handle)
            dirty = core.dirty()
            for handle in dirty:
                while data := core.out(handle, 1 << 16):
                    self.got.setdefault(handle, bytearray()).extend(data)
                    core.sent(handle, len(data))
            if not ops and not dirty:
                break
        for handle in list(self.got):
            self._read(handle)

    def _read(self, handle: int) -> None:
        """Nothing but whole frames is sent; the client's answers are to what it asked."""
        data = bytes(self.got[handle])
        self.got[handle].clear()
        while data:
            side = "server" if handle == self.client else "client"
            message = native.frame(self.codec, data, LIMIT, side=side)
            self.must(message.result == 0, f"what is sent on is no whole frame: {message} {data[:64].hex()}")
            if handle == self.client:
                if message.kind in {native.KIND_RESPONSE, native.KIND_PIECE}:
                    self.must(message.id in self.asked, f"an answer nobody waits for: {message}")
                    if not message.says & native.SAYS_MORE:
                        self.asked.remove(message.id)
            elif message.kind == native.KIND_REQUEST and self.reply and "answers" in self.how:
                self.answers.append((handle, native.patch_id(self.codec, self.reply, message.id)))
            data = data[message.size :]

    def feed(self, handle: int, data: bytes) -> None:
        self.core.begin(self.now)
        self.core.feed(handle, data)
        self.settle()

    def say_answers(self) -> None:
        while self.answers:
            waiting, self.answers = self.answers, []
            for handle, answer in waiting:
                if handle in self.got:
                    self.feed(handle, answer)

    def wait(self, ms: int) -> None:
        end = self.now + ms * MS
        for _ in range(100_000):
            due = self.core.next()
            self.now = end if due is None or due >= end else max(due, self.now)
            self.core.begin(self.now)
            self.settle()
            self.say_answers()
            if self.now >= end:
                return
        self.must(condition=False, why="the core asks for batches without end")

    def _own_ms(self, data: bytes, message: native.Message) -> int:
        """The time that a request brings along: a silent server may be waited for so long."""
        if message.result != 0:
            return 0
        try:
            return max(message.timeout_ms, native.request(self.codec, data).timeout_ms)
        except RemoteProtocolError:
            return message.timeout_ms

    def asks(self, data: bytes) -> None:
        data = native.sent_by("client", data)
        while data:
            message = native.frame(self.codec, data, LIMIT)
            if message.result != 1 and message.kind == native.KIND_REQUEST:
                self.asked.append(message.id)
                self.own_ms += self._own_ms(data[: message.size], message)
                self.wrong |= message.id in self.invariants.reserved
            self.wrong |= message.result < 0
            if message.result != 0:
                return
            data = data[message.size :]

    def pieces(self, data: bytes) -> Iterator[bytes]:
        sizes = itertools.cycle(self.example.cuts or (len(data) or 1,))
        at = 0
        while at < len(data):
            size = max(next(sizes), 1)
            yield data[at : at + size]
            at += size

    def run(self) -> None:
        self.asks(self.example.client)
        asked = len(self.asked)
        upstream = self.pieces(self.example.upstream)
        for piece in self.pieces(self.example.client):
            for _ in range(100):
                if self.client not in self.paused:
                    break
                self.wait(100)
            if self.client not in self.got:
                break
            self.feed(self.client, piece)
            self.say_answers()
            self.speak(upstream)
        while self.speak(upstream):
            pass
        self.core.begin(self.now)
        if "breaks" in self.how:
            for handle in self.got.keys() - {self.client}:
                self.core.eof(handle)
        gone = self.client not in self.got
        if not gone and "resets" in self.how:
            self.core.error(self.client)
            gone = True
        elif not gone and "ends" in self.how:
            self.core.eof(self.client)
        self.settle()
        # Where one goes at a time, each may take its whole time; some say weeks: those end with the shutdown.
        patient = self.own_ms <= _PATIENCE_MS
        self.wait(10_000 + 4000 * asked + (self.own_ms if patient else 0))
        stats = self.core.stats()
        self.must(not patient or stats["requests_active"] == 0, "a request never ends")
        # Without errors the connection ends instead.
        gone |= self.client not in self.got and not native.error(self.codec, Status.TIMEOUT, 0, 0, b"", b"")
        silent = patient and bool(self.asked) and not (gone or self.wrong or self.reset)
        self.must(not silent, f"requests without an answer: {self.asked}")
        self.core.begin(self.now)
        self.core.shutdown()
        self.settle()
        self.wait(5000)
        stats = self.core.stats()
        for name in ("connections_active", "upstream_connections_active", "buffer_bytes"):
            self.must(stats[name] == 0, f"{stats[name]} {name} are left in the end")

    def speak(self, pieces: Iterator[bytes]) -> bool:
        """An upstream that is there sends its next piece."""
        handles = self.got.keys() - {self.client} - self.paused
        piece = next(pieces, b"") if handles else b""
        if piece:
            self.feed(max(handles), piece)
            self.say_answers()
        return bool(piece)
