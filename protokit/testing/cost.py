"""What a request costs in the engine: its core without sockets, fed with golden requests and answers."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import Counter
from typing import TYPE_CHECKING

from protokit import native
from protokit.errors import ProtokitError
from protokit.testing.tables import TableBuilder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protokit.testing.golden import Golden
    from protokit.wire import Protocol

ROUNDS = 15
BATCHES = 8  # of a round; the quickest counts
_FRAME = 4096  # bytes of the largest request and answer
_LIMITS = {
    "buffer": 64 << 20,
    "frame": 1 << 20,
    "connections": 64,
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


def cost(protocol: Protocol, golden: Sequence[Golden]) -> float:
    """Nanoseconds of one request and its answer: framed, routed, ids rewritten, copied.

    Raises:
        ProtokitError: it cannot be measured; says why.
    """
    return _Feed(protocol, golden).round()


def compare(protocol: Protocol, other: Protocol, golden: Sequence[Golden]) -> tuple[float, float, float]:
    """The cost of two codecs of the same frames, taking turns.

    Returns:
        The least of each, ns, and the median over the rounds of how many times the first costs the second.

    Raises:
        ProtokitError: it cannot be measured, or they do not read the frames alike.
    """
    for one in golden:
        if (wrong := _difference(protocol, other, one.data)) is not None:
            raise ProtokitError(f"{other.name} reads {one.name!r} otherwise: {wrong}")
    mine, theirs = _Feed(protocol, golden), _Feed(other, golden)
    rounds = [(mine.round(), theirs.round()) for _ in range(ROUNDS)]
    least = [min(column) for column in zip(*rounds, strict=True)]
    return least[0], least[1], statistics.median(a / b for a, b in rounds)


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

    def __init__(self, protocol: Protocol, golden: Sequence[Golden]) -> None:
        wire = protocol.wire
        if not wire.ask.in_engine:
            raise ProtokitError("a codec in Python runs on the main thread")
        self.codec = codec = wire.address
        if native.mode(codec) != 0 or protocol.pinned or native.greeting(codec):
            raise ProtokitError("only protocols whose connections are shared through ids are")
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
        builder = TableBuilder(_LIMITS, seed=42)
        builder.cluster("c", "round-robin", 1, 1000)
        builder.endpoint(0, "127.0.0.1", 9000, 1)
        plan = builder.plan("plan")
        builder.split(0, 1)
        routes = builder.routes("r")
        builder.rule("*", "*", "*", "*", plan)
        builder.listener(0, "in", routes=routes, plan=None, pinned=False, codecs=[codec])
        self.table = builder.finish()

    def round(self) -> float:
        """The quickest batch, ns a request."""
        return min(self.batch() for _ in range(BATCHES)) / self.count

    def batch(self) -> int:
        """Requests through a fresh core, and answers back; ns in the core for all."""
        core = native.Core(7)
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
        took = self._timed(core, client, self.requests)
        ids = []
        data = core.out(upstream)
        core.sent(upstream, len(data))
        while data:
            message = native.frame(self.codec, data)
            ids.append(message.id)
            data = data[message.size :]
        if len(ids) != self.count:
            raise ProtokitError(f"the engine sent on {len(ids)} of {self.count} golden requests")
        answers = zip(itertools.cycle(self.answers), ids, strict=False)
        back = b"".join(native.patch_id(self.codec, answer, number) for answer, number in answers)
        return took + self._timed(core, upstream, back)

    @staticmethod
    def _timed(core: native.Core, handle: int, data: bytes) -> int:
        started = time.perf_counter_ns()
        core.begin(1)
        core.feed(handle, data)
        core.end()
        return time.perf_counter_ns() - started
