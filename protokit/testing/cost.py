"""What a request costs in the engine: its core without sockets, fed with golden requests and answers.

Where ids let requests share a connection, one client's requests go in one batch. Else each of several clients
has one request under way at a time, and an upstream connection for it.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from protokit import native
from protokit.errors import ProtokitError
from protokit.native.core import Core
from protokit.testing.cases import ways
from protokit.testing.golden import Golden
from protokit.testing.tables import TableBuilder
from protokit.wire import WireFormat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from protokit.wire import Protocol

CLIENTS = 64  # of what has one request at a time on a connection
ROUNDS = 15
BATCHES = 8  # of a round; the quickest counts
APART = 0.1  # of the median: if the middle half of the rounds is wider, they do not agree
_FRAME = 4096  # bytes of the largest request and answer
_LIMITS = {
    "buffer": 64 << 20,
    "frame": 1 << 20,
    "connections": 2 * CLIENTS,
    "in_flight": 4096,
    "in_flight_per_connection": 4096,
    "filters": 4096,
    "client_pause": 16 << 20,
    "client_close": 32 << 20,
    "upstream_buffer": 16 << 20,
    "upstream_in_flight": 4096,
    "retry_buffer": 4096,
    "request_ms": 30_000,
    "idle_ms": 600_000,
    "frame_ms": 20_000,
    "detect_ms": 500,
    "heartbeat_ms": 0,
    "probe_ms": 1000,
    "filter_ms": 3000,
    "drain_ms": 0,
}


class Cost(NamedTuple):
    """Of one request and its answer: framed, routed, ids rewritten, copied.

    Attributes:
        ns: nanoseconds.
        how: what is special about it; empty where requests share a connection.
        times: as a multiple of the other protocol's; None where there is none.
    """

    ns: float
    how: str
    times: Times | None


class Times(NamedTuple):
    """A multiple, found in rounds in which both take turns.

    Attributes:
        median: of the rounds.
        low: a quarter of the rounds found less.
        high: a quarter found more.
    """

    median: float
    low: float
    high: float

    @property
    def busy(self) -> bool:
        """The rounds do not agree: the processor did other things as well, or changed its pace."""
        return self.high - self.low > APART * self.median

    def __str__(self) -> str:
        return f"{self.low:.2f} to {self.high:.2f} times" if self.busy else f"{self.median:.2f} times"


def cost(protocol: Protocol, golden: Sequence[Golden], other: Protocol | None = None) -> Cost:
    """What it costs, and how much of what another costs, taking turns.

    Raises:
        ProtokitError: it cannot be measured; says why.
    """
    mine = _feed(protocol, golden)
    if other is None or other.name == protocol.name:
        return Cost(min(mine.each() for _ in range(ROUNDS * BATCHES)), mine.how, None)
    ns, _, times = _in_turns(mine, _feed(other, _built(other)))
    return Cost(ns, mine.how, times)


def _in_turns(mine: _Feed | _Turns, theirs: _Feed | _Turns) -> tuple[float, float, Times]:
    """The least of each, ns a request, and how many times the first costs the second."""
    rounds = []
    for _ in range(ROUNDS):
        batches = [(mine.each(), theirs.each()) for _ in range(BATCHES)]
        rounds.append(tuple(min(column) for column in zip(*batches, strict=True)))
    low, median, high = statistics.quantiles((a / b for a, b in rounds), n=4, method="inclusive")
    return min(a for a, _ in rounds), min(b for _, b in rounds), Times(median, low, high)


def _built(protocol: Protocol) -> list[Golden]:
    """A request and an answer of a declared protocol, where no golden vectors are at hand."""
    wire = protocol.wire
    kinds = (native.KIND_REQUEST, native.KIND_RESPONSE)
    found: dict[tuple[int, int], bytes] = {}  # by kind and connection
    for way in ways(wire, []) if isinstance(wire, WireFormat) else ():
        seen = wire.ask.frame(way.frame)
        with contextlib.suppress(ProtokitError):
            if seen.kind in kinds and (seen.kind == kinds[1] or wire.ask.request(way.frame).service):
                found.setdefault((seen.kind, seen.upstream_key), way.frame)
        pair = [found.get((kind, seen.upstream_key)) for kind in kinds]
        if None not in pair:
            return [Golden("built", one) for one in pair if one is not None]
    return []


def _feed(protocol: Protocol, golden: Sequence[Golden]) -> _Feed | _Turns:
    wire = protocol.wire
    if not wire.ask.in_engine:
        raise ProtokitError("a codec in Python runs on the main thread")
    if native.greeting(wire.address):
        raise ProtokitError("its connections begin with a greeting")
    if protocol.relays_greetings:
        raise ProtokitError("its connections begin with a greeting between client and server")
    shared = native.mode(wire.address) == 0 and not protocol.pinned and native.rewrites_ids(wire.address)
    return _Feed(protocol, golden) if shared else _Turns(protocol, golden)


def compare(protocol: Protocol, other: Protocol, golden: Sequence[Golden]) -> tuple[float, float, Times]:
    """The cost of two codecs of the same frames, taking turns.

    Returns:
        The least of each, ns, and how many times the first costs the second.

    Raises:
        ProtokitError: it cannot be measured, or they do not read the frames alike.
    """
    for one in golden:
        if (wrong := _difference(protocol, other, one.data)) is not None:
            raise ProtokitError(f"{other.name} reads {one.name!r} otherwise: {wrong}")
    return _in_turns(_feed(protocol, golden), _feed(other, golden))


def _difference(one: Protocol, other: Protocol, data: bytes) -> str | None:
    seen = []
    for wire in (one.wire, other.wire):
        message = wire.ask.frame(data, _LIMITS["frame"])
        what: list[object] = [message.result, message.kind, message.size, message.id]
        if message.result == 0 and message.kind in {native.KIND_REQUEST, native.KIND_ONEWAY}:
            request = wire.ask.request(data)
            what += [request.service, request.method, request.version, request.group]
        seen.append(what)
    return None if seen[0] == seen[1] else f"{seen[1]}, not {seen[0]}"


class _Feed:
    """Requests and answers for one codec, again and again."""

    how = ""

    def __init__(self, protocol: Protocol, golden: Sequence[Golden]) -> None:
        self.codec = codec = protocol.wire.address
        small = [(native.frame(codec, one.data), one.data) for one in golden if len(one.data) <= _FRAME]
        keys = Counter(message.upstream_key for message, _ in small if message.kind == native.KIND_REQUEST)
        key = keys.most_common(1)[0][0] if keys else 0  # others would take a connection of their own
        requests, self.answers = (
            [data for message, data in small if (message.kind, message.upstream_key) == (kind, key)]
            for kind in (native.KIND_REQUEST, native.KIND_RESPONSE)
        )
        if not requests or not self.answers:
            raise ProtokitError(f"a golden request and a golden answer of at most {_FRAME} bytes are needed")
        self.count = 256 if native.id_bytes(codec) > 1 else 64
        asked = itertools.islice(itertools.cycle(requests), self.count)
        self.requests = b"".join(native.patch_id(codec, one, 16 + n) for n, one in enumerate(asked))
        self.first = native.patch_id(codec, requests[0], 15)
        self.table = _table(codec, pinned=False, connections=1)
        self._sent, self._back = b"", b""

    def each(self) -> float:
        """A batch, ns a request."""
        return self.batch() / self.count

    def batch(self) -> int:
        """Requests through a fresh core, and answers back; ns in the core for all."""
        core = Core(7)
        core.begin(1)
        core.apply(self.table, 1)
        client = core.accept(0)
        core.feed(client, self.first)
        core.end()
        (upstream,) = (op.handle for op in core.ops() if op.op == native.OP_CONNECT)
        core.begin(1)
        core.connected(upstream)
        core.end()
        core.sent(upstream, len(core.out(upstream)))
        took = _timed(core, [(client, self.requests)])
        data = core.out(upstream)
        core.sent(upstream, len(data))
        if data != self._sent:  # the same in each batch
            self._sent, self._back = data, self._answered(data)
        return took + _timed(core, [(upstream, self._back)])

    def _answered(self, data: bytes) -> bytes:
        """An answer to each request."""
        ids = []
        while data:
            message = native.frame(self.codec, data, side="client")
            ids.append(message.id)
            data = data[message.size :]
        if len(ids) != self.count:
            raise ProtokitError(f"the engine sent on {len(ids)} of {self.count} golden requests")
        answers = zip(itertools.cycle(self.answers), ids, strict=False)
        return b"".join(native.patch_id(self.codec, answer, number) for answer, number in answers)


class _Turns:
    """One request at a time for each client."""

    def __init__(self, protocol: Protocol, golden: Sequence[Golden]) -> None:
        self.codec = codec = protocol.wire.address
        self.pinned = protocol.pinned
        self.how = f", one at a time for each of {CLIENTS} {'pinned ' if self.pinned else ''}clients"
        small = [(native.frame(codec, one.data), one.data) for one in golden if len(one.data) <= _FRAME]
        requests, answers = (
            [(message.id, data) for message, data in small if message.kind == kind]
            for kind in (native.KIND_REQUEST, native.KIND_RESPONSE)
        )
        self.renumbers = bool(native.id_bytes(codec)) and native.rewrites_ids(codec)
        pairs = (
            (request, answer)
            for number, request in requests
            for other, answer in answers
            if number == other or self.renumbers or not native.id_bytes(codec)
        )
        pair = next(pairs, None)
        if pair is None:
            raise ProtokitError(
                f"a golden request and its answer, under one id, of at most {_FRAME} bytes are needed"
            )
        self.request, self.answer = pair
        self.table = _table(codec, pinned=self.pinned, connections=CLIENTS)

    def each(self) -> float:
        """One request of each client and its answer, once connections are there; ns in the core of one."""
        core = Core(7)
        core.begin(1)
        core.apply(self.table, 1)
        clients = [core.accept(0) for _ in range(CLIENTS)]
        core.end()
        upstreams: list[int] = []
        self._turn(core, clients, upstreams)
        return self._turn(core, clients, upstreams)

    def _turn(self, core: Core, clients: list[int], upstreams: list[int]) -> float:
        took = _timed(core, [(client, self.request) for client in clients])
        while new := [op.handle for op in core.ops() if op.op == native.OP_CONNECT]:
            upstreams += new
            core.begin(1)
            for upstream in new:
                core.connected(upstream)
            core.end()
        back = []
        count = 0
        for upstream in upstreams:
            if data := core.out(upstream):
                core.sent(upstream, len(data))
                answers = [self._answered(one) for one in self._requests(data)]
                back.append((upstream, b"".join(answers)))
                count += len(answers)
        if not count:
            raise ProtokitError(
                "the engine sent on none of the golden requests; it asks for something in front of them, or "
                "answers them itself"
            )
        took += _timed(core, back)
        core.ops()
        for client in clients:
            core.sent(client, len(core.out(client)))
        return took / count  # who waits for a connection's turn is answered later

    def _requests(self, data: bytes) -> Iterator[bytes]:
        """Where answers come in order a connection has those of several clients."""
        while data and (message := native.frame(self.codec, data, side="client")).result == 0:
            yield data[: message.size]
            data = data[message.size :]

    def _answered(self, request: bytes) -> bytes:
        if not self.renumbers:
            return self.answer
        return native.patch_id(self.codec, self.answer, native.frame(self.codec, request, side="client").id)


def _table(codec: int, *, pinned: bool, connections: int) -> native.Table:
    builder = TableBuilder(_LIMITS, seed=42)
    builder.cluster("c", "round-robin", connections, 1000)
    builder.endpoint(0, "127.0.0.1", 9000, 1)
    plan = builder.plan("plan")
    builder.split(0, 1)
    routes = builder.routes("r")
    builder.rule("*", "*", "*", "*", plan)
    if pinned:
        builder.listener(0, "in", routes=None, plan=plan, pinned=True, codecs=[codec])
    else:
        builder.listener(0, "in", routes=routes, plan=None, pinned=False, codecs=[codec])
    return builder.finish()


def _timed(core: Core, fed: list[tuple[int, bytes]]) -> int:
    started = time.thread_time_ns()  # what others take of the processor is not in it
    core.begin(1)
    for handle, data in fed:
        core.feed(handle, data)
    core.end()
    return time.thread_time_ns() - started
