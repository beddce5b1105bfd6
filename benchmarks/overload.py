"""Ten times what servers can do is offered: how long what is let through takes, and what others see of it.

    python benchmarks/overload.py [--seconds 10] [--once]

The provider does so many calls at a time, each for a fixed time, in the order in which they come: what it can
do is known, and is not this machine's speed. Requests of Dubbo come in an open loop, at times as of many
callers (Poisson), first for seven tenths of that, then for ten times as much; a call's time counts from when
it was due. Beside them a few calls a second go through the same worker, by a listener of their own, to a
provider of their own.

The exit status is 1 where the p99 of what is let through is more than twice what it is at seven tenths, or
others' calls fail. docs/benchmarks.md has a result.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peers
from protokit_dubbo.messages import HEADER, OK, Answer, Call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PLACES, EACH_MS = 8, 40
CAPACITY = PLACES * 1000 / EACH_MS  # 200 a second
STEADY, OVER = 0.7, 10
OTHERS = 20  # calls a second
CONNECTIONS = 16
SERVICE = "org.protokit.bench.Busy"
PORTS = {"in": 21894, "other": 21895}
# What an operator sets: of the rule, and of the cluster. A limit leaves room for what a burst left behind.
POLICIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "breaker, requests: 12": ({}, {"breaker": {"requests": 12}}),
    "breaker, its limit found": ({}, {"breaker": {"requests": 1024, "adaptive": {"least": 4}}}),
    "limit: 180/s, burst: 8": ({"limit": {"rate": "180/s", "burst": 8}}, {}),
    "all of these": (
        {"limit": {"rate": "180/s", "burst": 8}},
        {"breaker": {"requests": 64, "adaptive": {"least": 4}}},
    ),
}


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[tuple[int, int, int]]:
    """(flag, status, id) of each frame until the end."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            _, flag, status, number, size = HEADER.unpack(await reader.readexactly(HEADER.size))
            await reader.readexactly(size)
            yield flag, status, number


class Provider:
    """Servers that do so many calls at a time, whoever asks."""

    def __init__(self) -> None:
        self._free = PLACES
        self._waiting: deque[tuple[asyncio.StreamWriter, int]] = deque()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        async for flag, _, number in frames(reader):
            if flag & 0xA0 == 0x80:
                self._waiting.append((writer, number))
                self._work()
        writer.close()

    def _work(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            asyncio.get_running_loop().call_later(EACH_MS / 1000, self._done, *self._waiting.popleft())

    def _done(self, writer: asyncio.StreamWriter, number: int) -> None:
        if not writer.is_closing():
            writer.write(Answer(number, OK, "done").encode())
        self._free += 1
        self._work()


class Callers:
    """Many, by a few connections: they ask when they want to, whatever the answers do."""

    def __init__(self, port: int, rate: float, seed: int) -> None:
        self._port, self._rate, self._random = port, rate, random.Random(seed)
        self._due: dict[int, float] = {}
        self.took: list[float] = []  # ms, of those that were answered
        self.refused = 0

    async def _hear(self, reader: asyncio.StreamReader, since: float) -> None:
        async for flag, status, number in frames(reader):
            if flag & 0x80:
                continue
            due = self._due.pop(number)
            if due < since:
                continue
            if status == OK:
                self.took.append(1000 * (time.monotonic() - due))
            else:
                self.refused += 1

    async def run(self, seconds: float, warm: float) -> None:
        """For so long, of which the beginning does not count."""
        opened = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(CONNECTIONS)]
        began = due = time.monotonic()
        hearing = [asyncio.create_task(self._hear(reader, began + warm)) for reader, _ in opened]
        frame = bytearray(Call(SERVICE, "call", "Ljava/lang/String;", ["x" * 64], version="1.0.0").encode())
        number = 0
        while (due := due + self._random.expovariate(self._rate)) < began + seconds:
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            number += 1
            frame[4:12] = number.to_bytes(8, "big")
            self._due[number] = due
            opened[number % CONNECTIONS][1].write(bytes(frame))
        until = time.monotonic() + 60
        while self._due and time.monotonic() < until:
            await asyncio.sleep(0.05)
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*hearing)
        if self._due:
            raise peers.BenchError(f"{len(self._due)} requests have no answer")

    def at(self, share: float) -> float:
        """So long took that share of them, ms."""
        return sorted(self.took)[int(share * (len(self.took) - 1))] if self.took else 0.0


@contextlib.contextmanager
def proxied(rule: dict[str, Any], cluster: dict[str, Any], ports: list[int]) -> Iterator[None]:
    """A proxy with that policy in front of the first provider, and none in front of the second."""
    config = {
        "listeners": [
            {"name": "in", "bind": f"127.0.0.1:{PORTS['in']}", "protocol": "dubbo", "routes": "busy"},
            {"name": "other", "bind": f"127.0.0.1:{PORTS['other']}", "protocol": "dubbo", "cluster": "other"},
        ],
        "routes": [{"name": "busy", "rules": [{"match": {"service": SERVICE}, "cluster": "busy", **rule}]}],
        "clusters": [
            {"name": "busy", "endpoints": [f"127.0.0.1:{ports[0]}"], **cluster},
            {"name": "other", "endpoints": [f"127.0.0.1:{ports[1]}"]},
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "overload.yaml"
        path.write_text(repr(config))  # which is YAML, too
        proxy = peers.protokit(path)
        with peers.running(peers.Proxy("overload", proxy.command, {}, "", PORTS), None):
            yield


async def measured(
    rule: dict[str, Any], cluster: dict[str, Any], seconds: float, warm: float
) -> list[tuple[Callers, Callers]]:
    """(the callers, the others beside them), steady and with too much."""
    servers = [await asyncio.start_server(Provider().serve, "127.0.0.1", 0) for _ in range(2)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    found = []
    for load in (STEADY, OVER):
        started = contextlib.ExitStack()
        await asyncio.to_thread(started.enter_context, proxied(rule, cluster, ports))
        callers = Callers(PORTS["in"], load * CAPACITY, 1), Callers(PORTS["other"], OTHERS, 2)
        try:
            await asyncio.gather(*(one.run(seconds, warm) for one in callers))
        finally:
            await asyncio.to_thread(started.close)
        found.append(callers)
    for server in servers:
        server.close()
    await asyncio.sleep(0.1)  # the providers hear that the proxy has left
    return found


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10, help="of each load, behind 2 that do not count")
    parser.add_argument("--once", action="store_true", help="each for a moment, and nothing is judged")
    options = parser.parse_args()
    (peers.HERE / "results").mkdir(exist_ok=True)
    seconds, warm = (0.5, 0.1) if options.once else (options.seconds + 2, 2)
    held = True
    columns = ("steady: p99 ms", "refused", "ten times: p50 ms", "p99 ms", "is", "done/s", "refused/s")
    print(f"| | {' | '.join((*columns, 'others: p99 ms, steady', 'ten times', 'failed'))} |")
    print(f"|---|{'--:|' * (len(columns) + 3)}")
    for name, (rule, cluster) in POLICIES.items():
        (steady, before), (over, beside) = asyncio.run(measured(rule, cluster, seconds, warm))
        ratio, lasted = over.at(0.99) / steady.at(0.99), seconds - warm
        failed = before.refused + beside.refused
        held = held and ratio <= 2 and failed == 0
        share = steady.refused / (steady.refused + len(steady.took))
        print(
            f"| {name} | {steady.at(0.99):.0f} | {share:.1%}"
            f" | {over.at(0.5):.0f} | {over.at(0.99):.0f} | {ratio:.2f}"
            f" | {len(over.took) / lasted:.0f} | {over.refused / lasted:,.0f}"
            f" | {before.at(0.99):.0f} | {beside.at(0.99):.0f} | {failed} |",
            flush=True,
        )
    return 0 if held or options.once else 1


if __name__ == "__main__":
    sys.exit(main())
