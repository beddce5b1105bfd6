"""The comparison: load generator -> proxy -> echo, the proxies taking turns under the same load.

Each round runs every proxy once, one after the other, so that a machine that is slower for a while is
slower for all of them; what is compared is the median, over rounds, of the ratios within a round.
CPU time is the kernel's own count for the proxy's process, user and system, all threads.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import peers

PROXY_CORE, LOAD_CORE = 0, 1
DIRECT = "none"


@dataclass(frozen=True)
class Load:
    """``connections`` x ``depth`` requests in flight, or ``rate`` a second."""

    connections: int
    depth: int
    rate: int = 0

    @property
    def name(self) -> str:
        """As it is written in tables and after --only."""
        return f"{self.connections}x{self.depth}" + (f"@{self.rate}" if self.rate else "")


@dataclass(frozen=True)
class Cell:
    """One line of the result: a load, the argument's size, the number of endpoints and the protocol."""

    load: Load
    payload: int
    endpoints: int
    protocol: str = "dubbo"

    @property
    def name(self) -> str:
        """As it is written in tables."""
        first = "" if self.protocol == "dubbo" else f"{self.protocol} "
        return (
            f"{first}{self.load.name} {self.payload} B, {self.endpoints} endpoint{'s' * (self.endpoints > 1)}"
        )


LOADS = (Load(1, 1, 1000), Load(64, 1), Load(256, 1), Load(1, 64), Load(16, 16))
OTHERS = tuple(
    Cell(load, 128, 1, protocol) for protocol in peers.OTHERS for load in (Load(64, 1), Load(16, 16))
)
CELLS = (
    *(Cell(load, payload, count) for payload in (128, 4096) for count in (1, 4, 16) for load in LOADS),
    *OTHERS,
)
QUICK = (
    *(Cell(load, 128, 1) for load in LOADS),
    Cell(Load(16, 16), 128, 16),
    Cell(Load(16, 16), 4096, 1),
    *OTHERS,
)


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float
    warmup: float = 0.15


class Bench:
    """Echo and proxies that run side by side; idle ones cost nothing."""

    def __init__(self, stack: contextlib.ExitStack, names: list[str]) -> None:
        self._echo = stack.enter_context(peers.echo(LOAD_CORE))
        self.proxies = {name: peers.FACTORIES[name]() for name in names if name != DIRECT}
        self._processes = {
            name: stack.enter_context(peers.running(proxy, PROXY_CORE))
            for name, proxy in self.proxies.items()
        }
        time.sleep(1)
        self.idle_mib = {name: process.memory_mib() for name, process in self._processes.items()}
        self.names = names
        self.disturbed = 0

    def _options(self, cell: Cell, seconds: float) -> dict[str, object]:
        options: dict[str, object] = {
            "connections": cell.load.connections,
            "depth": cell.load.depth,
            "payload": cell.payload,
            "service": f"{peers.SERVICE}{cell.endpoints}",
            "seconds": seconds,
            "protocol": cell.protocol.partition("-")[0],
        }
        return {**options, "rate": cell.load.rate} if cell.load.rate else options

    def _port(self, name: str, cell: Cell) -> int:
        """Where it takes that load."""
        if name == DIRECT:
            return peers.ECHO_PORTS[0]
        proxy = self.proxies[name]
        return proxy.ports[cell.endpoints] if cell.protocol == "dubbo" else proxy.others[cell.protocol]

    def _takes(self, name: str, cell: Cell) -> bool:
        if name == DIRECT:
            return cell.endpoints == 1
        proxy = self.proxies[name]
        return cell.endpoints in proxy.ports if cell.protocol == "dubbo" else cell.protocol in proxy.others

    def _run(self, name: str, cell: Cell, effort: Effort) -> dict[str, Any]:
        """One run, repeated while other programs of the machine get in its way."""
        pids = [self._echo.pid] + [process.pid for process in self._processes.values()]
        target = self._echo.pid if name == DIRECT else self._processes[name].pid
        seconds = effort.seconds * (3 if cell.load.rate else 1)
        for attempt in range(1 + peers.REPEATS):
            others = peers.Others(*pids)
            result = peers.load(
                self._port(name, cell),
                LOAD_CORE,
                **self._options(cell, seconds),
                warmup=effort.warmup,
                cpu_of=target,
            )
            result["others"] = others.share()
            if result["others"] <= peers.OTHERS_MAX:
                break
            self.disturbed += 1
            time.sleep(0.2 * attempt)
        return result

    def _calls(self, name: str, cell: Cell) -> tuple[float, str]:
        command = peers.load_command(self._port(name, cell), LOAD_CORE, **self._options(cell, 1.8))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            time.sleep(0.4)
            calls, how = peers.system_calls(self._processes[name].pid, 1)
            result = peers.finished(process)
        return calls / result["rate"], how

    def measure(self, cell: Cell, effort: Effort) -> dict[str, Any]:
        """One line of the result, as it is saved."""
        names = [name for name in self.names if self._takes(name, cell)]
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for turn in range(effort.rounds):
            for name in names if turn % 2 == 0 else reversed(names):
                runs[name].append(self._run(name, cell, effort))
        results = {name: _summary(runs[name]) for name in names}
        for name in names:
            if name == DIRECT:
                continue
            results[name]["calls"], results[name]["calls_by"] = self._calls(name, cell)
            results[name]["memory_mib"] = self._processes[name].memory_mib()
        ratios = {
            other: _ratio(runs["protokit"], runs[other])
            for other in names
            if "protokit" in runs and other not in {"protokit", DIRECT}
        }
        return {
            "name": cell.name,
            **asdict(cell),
            "request_bytes": runs[names[0]][0]["request_bytes"],
            "results": results,
            "ratios": ratios,
        }


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    keys = ("rate", "cpu_us", "cpu_share", "p50_us", "p99_us", "p999_us", "max_us", "others")
    middle: dict[str, Any] = {key: statistics.median(run[key] for run in runs) for key in keys}
    middle["cpu_us_all"] = [run["cpu_us"] for run in runs]
    middle["requests"] = sum(run["answered"] for run in runs)
    return middle


def _ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, float]:
    ratios = [a["cpu_us"] / b["cpu_us"] for a, b in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def compare(names: list[str], cells: list[Cell], effort: Effort) -> dict[str, Any]:
    """Run the comparison; the result is what results/compare.json holds."""
    with contextlib.ExitStack() as stack:
        bench = Bench(stack, names)
        lines = []
        for at, cell in enumerate(cells, 1):
            line = bench.measure(cell, effort)
            lines.append(line)
            cpu = "  ".join(
                f"{name} {one['cpu_us']:.2f}" for name, one in line["results"].items() if name != DIRECT
            )
            print(f"[{at}/{len(cells)}] {cell.name}: CPU us a request: {cpu}", file=sys.stderr, flush=True)
        return {
            "versions": {name: proxy.version for name, proxy in bench.proxies.items()},
            "rounds": effort.rounds,
            "seconds": effort.seconds,
            "idle_mib": bench.idle_mib,
            "runs_repeated": bench.disturbed,
            "cells": lines,
        }
