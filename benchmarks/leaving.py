"""What it costs when clients with upstream connections of their own leave all at once.

One core without sockets: so many pinned clients of one endpoint, then one batch in which all of their
connections end, in the order in which they came or in any other. Times are wall clock, the best of so many
runs; a client's should not depend on how many there are.
"""

from __future__ import annotations

import random
import time

from protokit_dubbo import dubbo

from protokit import NativeCodec, native
from protokit.native.core import Core
from protokit.testing.tables import TableBuilder

RUNS = 5
COUNTS = (1000, 2000, 4000, 8000, 16000)
LIMITS = {
    "buffer": 1 << 30,
    "frame": 1 << 20,
    "connections": 1 << 20,
    "in_flight": 1 << 20,
    "in_flight_per_connection": 1024,
    "filters": 256,
    "client_pause": 1 << 20,
    "client_close": 1 << 21,
    "upstream_buffer": 1 << 20,
    "upstream_in_flight": 4096,
    "retry_buffer": 1 << 16,
    "request_ms": 30_000,
    "idle_ms": 600_000,
    "frame_ms": 10_000,
    "filter_ms": 1000,
    "detect_ms": 1000,
    "heartbeat_ms": 30_000,
    "probe_ms": 5000,
    "drain_ms": 10_000,
}


def table() -> native.Table:
    """One pinned listener whose cluster is known before a client asks: connections are opened at once."""
    assert isinstance(dubbo.wire, NativeCodec)
    builder = TableBuilder(LIMITS, seed=1)
    builder.cluster("c", "round-robin", 4, 1000)
    builder.endpoint(0, "127.0.0.1", 9000, 1)
    plan = builder.plan("plan")
    builder.split(0, 1)
    builder.listener(0, "in", routes=None, plan=plan, pinned=True, codecs=[dubbo.wire.address])
    return builder.finish()


def carry_out(core: Core) -> int:
    """What the core asks for; how many sockets it closed."""
    closed = 0
    while ops := core.ops():
        for op in ops:
            if op.op == native.OP_CONNECT:
                core.connected(op.handle, failed=native.CONNECTED)
            closed += op.op == native.OP_CLOSE
    return closed


def once(count: int, *, mixed: bool) -> tuple[float, float]:
    """Nanoseconds a client takes: (to come, to leave)."""
    core, now, used = Core(7), 1_000_000_000, table()
    core.begin(now)
    core.apply(used, 1)
    core.end()
    carry_out(core)
    core.begin(now)
    began = time.perf_counter_ns()
    clients = [core.accept(0) for _ in range(count)]
    came = time.perf_counter_ns() - began
    core.end()
    carry_out(core)
    if mixed:
        random.Random(1).shuffle(clients)
    core.begin(now)
    began = time.perf_counter_ns()
    for client in clients:
        core.error(client)
    took = time.perf_counter_ns() - began
    core.end()
    if carry_out(core) != 2 * count:
        raise SystemExit("the core did not close every connection")
    return came / count, took / count


if __name__ == "__main__":
    print(f"{'clients':>8} {'comes, ns':>10} {'leaves, ns':>11} {'leaves in any order, ns':>24}")
    for count in COUNTS:
        came, left = map(min, zip(*(once(count, mixed=False) for _ in range(RUNS)), strict=True))
        mixed = min(once(count, mixed=True)[1] for _ in range(RUNS))
        print(f"{count:8} {came:10.0f} {left:11.0f} {mixed:24.0f}")
