"""What disturbs a steady stream of requests: a big reload, a slow Python filter, a client that never reads.

Each experiment alternates quiet runs with disturbed ones; both measure the same open-loop stream, whose
latencies count from the time each request was due. The proxy may run on any core, as it is shipped.
"""

from __future__ import annotations

import contextlib
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STREAM = {"connections": 4, "rate": 2000, "service": peers.SERVICE + "1"}
RULES = 10_000
PORT = 21880
LATENCIES = ("p50_us", "p99_us", "p999_us", "max_us")


def _big(small: str) -> str:
    rules = "".join(
        f"      - {{match: {{service: org.example.Service{i:05}, method: call}}, cluster: echo}}\n"
        for i in range(RULES)
    )
    return small.replace("    rules:\n", "    rules:\n" + rules)


class Reloads:
    """A SIGHUP with 10,000 more rules, and one back; ``check`` says whether both were carried out."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._small = config.read_text()
        self._big = _big(self._small)
        self.took: list[float] = []

    def disturb(self, proxy: peers.Process, seconds: float) -> None:
        """Reload the big configuration, then the small one again."""
        for text in (self._big, self._small):
            reloads = proxy.said().count("reloaded ")
            self._config.write_text(text)
            started = time.monotonic()
            proxy.signal(signal.SIGHUP)
            while proxy.said().count("reloaded ") == reloads:
                if time.monotonic() - started > 60:
                    raise peers.BenchError(f"the proxy did not reload within 60 s; it said:\n{proxy.said()}")
                time.sleep(0.01)
            self.took.append(time.monotonic() - started)
        del seconds


def _filtered(proxy: peers.Process, seconds: float) -> None:
    del proxy
    peers.load(PORT, None, connections=4, rate=100, service="org.protokit.bench.Slow", seconds=seconds)


def _stuck(proxy: peers.Process, seconds: float) -> None:
    del proxy
    peers.load(PORT, None, connections=1, rate=10, stuck=1, service=peers.SERVICE + "1", seconds=seconds)


@contextlib.contextmanager
def _proxy(config: Path) -> Iterator[peers.Process]:
    proxy = peers.protokit(config)
    command = tuple("info" if part == "warning" else part for part in proxy.command)
    process = peers.Process("protokit", command, [PORT], None)
    try:
        yield process
    finally:
        process.stop()


def _trial(disturb: Callable[[], None] | None, seconds: float) -> dict[str, Any]:
    command = peers.load_command(PORT, None, **STREAM, seconds=seconds, warmup=0.3)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stream:
        time.sleep(0.5)
        started = time.monotonic()
        if disturb is not None:
            disturb()
        busy = time.monotonic() - started
        result = peers.finished(stream)
    return {**{key: result[key] for key in LATENCIES}, "disturbed_s": busy}


def _experiment(
    name: str,
    proxy: peers.Process,
    disturb: Callable[[peers.Process, float], None],
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    quiet: list[dict[str, Any]] = []
    disturbed: list[dict[str, Any]] = []
    before = proxy.memory_mib()
    for _ in range(rounds):
        quiet.append(_trial(None, seconds))
        disturbed.append(_trial(lambda: disturb(proxy, seconds - 0.5), seconds))
    result = {
        "name": name,
        "quiet": quiet,
        "disturbed": disturbed,
        "memory_before_mib": before,
        "memory_peak_mib": proxy.memory_mib(peak=True),
    }
    p99 = [statistics.median(one["p99_us"] for one in runs) for runs in (quiet, disturbed)]
    print(f"{name}: p99 {p99[0]:.0f} us quiet, {p99[1]:.0f} us disturbed", file=sys.stderr, flush=True)
    return result


def stalls(rounds: int, seconds: float = 3) -> dict[str, Any]:
    """Run the three experiments; the result is what results/stalls.json holds."""
    here = Path(__file__).resolve().parent
    config = here / "results" / "stalls.yaml"
    config.write_text(
        (here / "stalls.yaml").read_text().replace("./slow_filter.py", str(here / "slow_filter.py"))
    )
    found = []
    with peers.echo(None):
        with _proxy(config) as proxy:
            reloads = Reloads(config)
            found.append(
                _experiment(f"loading {RULES:,} rules", proxy, reloads.disturb, rounds, max(seconds, 4))
            )
            found[-1]["reload_s"] = reloads.took
        with _proxy(config) as proxy:
            found.append(_experiment("a Python filter burns 5 ms", proxy, _filtered, rounds, seconds))
        with _proxy(config) as proxy:
            found.append(_experiment("a client that never reads", proxy, _stuck, rounds, seconds))
    return {"rounds": rounds, "seconds": seconds, "stream": STREAM, "experiments": found}
