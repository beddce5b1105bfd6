"""What disturbs a steady stream of requests: a big reload, a slow Python filter, a client that never reads.

Each experiment alternates quiet runs with disturbed ones, and with control runs in which a program that
has nothing to do with the proxy burns as much CPU: on few cores the scheduler alone moves the tail. All
measure the same open-loop stream, whose latencies count from the time each request was due. The proxy may
run on any core, as it is shipped.
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

    def disturb(self, proxy: peers.Process) -> None:
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


def _filtered(seconds: float) -> None:
    peers.load(PORT, None, connections=4, rate=100, service="org.protokit.bench.Slow", seconds=seconds)


def _stuck(seconds: float) -> None:
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


def _burn(busy: float, pause: float, times: int) -> None:
    """Let a program of its own burn CPU: what the machine's scheduler alone does to the stream."""
    code = f"""
import time
for _ in range({times}):
    until = time.perf_counter() + {busy}
    while time.perf_counter() < until:
        pass
    time.sleep({pause})
"""
    subprocess.run([sys.executable, "-c", code], check=True)


class Experiment:
    """One disturbance, beside what the stream looks like without it.

    Args:
        disturb: does it, and returns when it is over.
        control: keeps the CPU as busy, but not through the proxy; None where that means nothing.
    """

    def __init__(
        self, name: str, pids: list[int], disturb: Callable[[], None], control: Callable[[], None] | None
    ) -> None:
        self.name = name
        self._pids = pids
        self._kinds: dict[str, Callable[[], None] | None] = {"quiet": None, "disturbed": disturb}
        if control is not None:
            self._kinds["control"] = control

    def run(self, rounds: int, seconds: float) -> dict[str, Any]:
        """Its runs by kind, as they are saved."""
        runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in self._kinds}
        for _ in range(rounds):
            for kind, action in self._kinds.items():
                runs[kind].append(self._trial(action, seconds))
        text = ", ".join(
            f"{kind} {statistics.median(r['p99_us'] for r in rs):.0f}" for kind, rs in runs.items()
        )
        print(f"{self.name}: p99 us: {text}", file=sys.stderr, flush=True)
        return {"name": self.name, "runs": runs}

    def _trial(self, action: Callable[[], None] | None, seconds: float) -> dict[str, Any]:
        for attempt in range(1 + peers.REPEATS):
            others = peers.Others(*self._pids)
            command = peers.load_command(PORT, None, **STREAM, seconds=seconds, warmup=0.3)
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stream:
                time.sleep(0.5)
                if action is not None:
                    action()
                result = peers.finished(stream)
            result["others"] = others.share()
            if result["others"] <= peers.OTHERS_MAX:
                break
            time.sleep(0.2 * attempt)
        return {key: result[key] for key in (*LATENCIES, "others")}


def stalls(rounds: int, seconds: float = 3) -> dict[str, Any]:
    """Run the three experiments; the result is what results/stalls.json holds."""
    here = Path(__file__).resolve().parent
    config = here / "results" / "stalls.yaml"
    config.write_text(
        (here / "stalls.yaml").read_text().replace("./slow_filter.py", str(here / "slow_filter.py"))
    )
    while_s = seconds - 0.5
    found = []
    with peers.echo(None) as echo:

        def experiment(
            name: str, disturb: Callable[[peers.Process], None], control: Callable[[], None] | None
        ) -> None:
            with _proxy(config) as proxy:
                before = proxy.memory_mib()
                one = Experiment(name, [echo.pid, proxy.pid], lambda: disturb(proxy), control)
                result = one.run(rounds, seconds)
                peak = proxy.memory_mib(peak=True)
                found.append({**result, "memory_before_mib": before, "memory_peak_mib": peak})

        reloads = Reloads(config)
        experiment(f"loading {RULES:,} rules", reloads.disturb, lambda: _burn(1, 0, 1))
        experiment(
            "a Python filter burns 5 ms",
            lambda _: _filtered(while_s),
            lambda: _burn(0.005, 0.005, int(while_s * 100)),
        )
        experiment("a client that never reads", lambda _: _stuck(while_s), None)
    return {
        "rounds": rounds,
        "seconds": seconds,
        "stream": STREAM,
        "reload_s": reloads.took[::2],
        "experiments": found,
    }
