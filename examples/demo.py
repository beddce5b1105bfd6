"""The demo: two providers, the proxy between, real Dubbo calls; prints what happened, call by call.

    python examples/demo.py [--config examples/quickstart.yaml] [--keep-running]

Every answer is checked; anything wrong, and a proxy that dies, ends it with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from protokit_dubbo.messages import OK, Answer, Call, decode, split

HERE = Path(__file__).resolve().parent
GREETER = "org.protokit.demo.Greeter"
CALCULATOR = "org.protokit.demo.Calculator"
BURST_S = 2.0
BURST_DEPTH = 32


class DemoError(Exception):
    """The demo did not go as it should."""


class Client:
    """A Dubbo client on one connection, as small as can be."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self._next_id = 1
        self._frames: list[bytes] = []

    def send(self, service: str, method: str, descriptor: str, arguments: list[Any]) -> int:
        """Send one request; its id."""
        call = Call(service, method, descriptor, arguments, version="1.0.0", request_id=self._next_id)
        self._next_id += 1
        self._socket.sendall(call.encode())
        return call.id

    def receive(self) -> Answer:
        """The next answer."""
        while not self._frames:
            data = self._socket.recv(65536)
            if not data:
                raise DemoError("the proxy closed the connection with a call under way")
            self._frames, self._rest = split(self._rest + data)
        answer = decode(self._frames.pop(0))
        if not isinstance(answer, Answer):
            raise DemoError(f"expected an answer, got {answer!r}")
        return answer


def start(arguments: list[str], expect: str) -> tuple[subprocess.Popen[str], str]:
    """Start a process and wait for the line that says it is ready."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        if re.search(expect, line):
            return process, "".join(lines)
    raise DemoError(f"{' '.join(arguments)} ended at once with exit code {process.wait()}")


def endpoint_counts(admin: str) -> dict[str, int]:
    """Requests by endpoint, over all clusters, as the proxy counted them."""
    with urllib.request.urlopen(f"{admin}stats", timeout=5) as page:  # noqa: S310  # http on the loopback
        stats = json.load(page)
    counts: dict[str, int] = {}
    for endpoints in stats["clusters"].values():
        for name, values in endpoints.items():
            counts[name] = counts.get(name, 0) + values["requests"]
    return counts


def rule_of(config: Any, service: str, method: str) -> str:
    """The rule that the configuration sends this call by."""
    for table in config.routes:
        for number, rule in enumerate(table.rules):
            if rule.match.service.matches(service) and rule.match.method.matches(method):
                return f"{table.name}[{number}]"
    return "-"


def calls(client: Client, config: Any, admin: str) -> None:
    """Some calls, one after the other, each checked and printed."""
    plan: list[tuple[str, str, str, list[Any], Any]] = [
        (GREETER, "greet", "Ljava/lang/String;", [name], rf"Hello {name}, this is provider-[12]")
        for name in ("Ada", "Grace", "Edsger", "Barbara", "Zoë 🚀")
    ]
    plan += [
        (CALCULATOR, "add", "II", [2, 40], 42),
        (CALCULATOR, "sum", "Ljava/util/List;", [[1, 2, 3, 4]], 10),
        (CALCULATOR, "divide", "II", [7, 2], 3.5),
    ]
    print(f"{'service':<30} {'method':<8} {'rule':<8} {'endpoint':<17} {'ms':>6}  answer")
    before = endpoint_counts(admin)
    for service, method, descriptor, arguments, expected in plan:
        started = time.perf_counter()
        request_id = client.send(service, method, descriptor, arguments)
        answer = client.receive()
        took = (time.perf_counter() - started) * 1000
        after = endpoint_counts(admin)
        used = [name for name, count in after.items() if count != before.get(name, 0)]
        before = after
        good = re.fullmatch(expected, answer.value) if isinstance(expected, str) else answer.value == expected
        if answer.id != request_id or answer.status != OK or not good:
            raise DemoError(
                f"{service}.{method}{arguments}: expected {expected!r}, got {answer.status} {answer.value!r}"
            )
        rule = rule_of(config, service, method)
        print(f"{service:<30} {method:<8} {rule:<8} {','.join(used):<17} {took:6.2f}  {answer.value!r}")
    client.send("org.nowhere.Nothing", "nothing", "", [])
    answer = client.receive()
    if answer.status == OK or "no route" not in str(answer.value):
        raise DemoError(f"a call without a route was answered {answer.status} {answer.value!r}")
    print(
        f"{'org.nowhere.Nothing':<30} {'nothing':<8} {'-':<8} {'-':<17} {'':>6}"
        f"  status {answer.status}: {answer.value}"
    )


def burst(client: Client) -> None:
    """As many calls as one connection and this client can do for a short time."""
    latencies: list[float] = []
    sent: dict[int, float] = {}
    end = time.perf_counter() + BURST_S
    while sent or time.perf_counter() < end:
        while len(sent) < BURST_DEPTH and time.perf_counter() < end:
            number = client.send(CALCULATOR, "add", "II", [len(latencies), 1])
            sent[number] = time.perf_counter()
        answer = client.receive()
        latencies.append(time.perf_counter() - sent.pop(answer.id))
        if answer.status != OK:
            raise DemoError(f"in the burst: status {answer.status} {answer.value!r}")
    latencies.sort()
    p50, p99 = (latencies[int(len(latencies) * q)] * 1000 for q in (0.5, 0.99))
    print(
        f"burst: {len(latencies)} calls, {len(latencies) / BURST_S:.0f}/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms"
        " (the demo's Python client and providers are the slow part; see benchmarks/)"
    )


def main() -> int:
    """Run the demo; the exit code."""
    parser = argparse.ArgumentParser(description="The protokit demo.")
    parser.add_argument("--config", default=str(HERE / "quickstart.yaml"))
    parser.add_argument("--keep-running", action="store_true", help="leave providers and proxy running")
    options = parser.parse_args()
    from protokit import config as configuration  # noqa: PLC0415  # after the arguments are known to be good

    config = configuration.load(options.config).config
    ports = sorted({endpoint.address.port for cluster in config.clusters for endpoint in cluster.endpoints})
    running: list[subprocess.Popen[str]] = []
    try:
        for number, port in enumerate(ports, 1):
            process, _ = start([str(HERE / "providers.py"), f"provider-{number}", str(port)], "READY")
            running.append(process)
        proxy, banner = start(["-m", "protokit", "run", options.config], r"^  process ")
        running.append(proxy)
        print(banner, f"proxy pid {proxy.pid}", sep="", flush=True)
        listener = re.search(r"listener  \S+ \S+:(\d+) ", banner)
        admin = re.search(r"admin     (\S+)", banner)
        if listener is None or admin is None:
            raise DemoError("the banner names no listener or no admin address")
        client = Client(int(listener[1]))
        calls(client, config, admin[1])
        burst(client)
        if proxy.poll() is not None:
            raise DemoError(f"the proxy ended with exit code {proxy.returncode}")
        if options.keep_running:
            print("running; Ctrl-C ends it", flush=True)
            proxy.wait()
        proxy.terminate()
        if proxy.wait(10) != 0:
            raise DemoError(f"the proxy did not end clean: exit code {proxy.returncode}")
    except (DemoError, OSError, subprocess.TimeoutExpired) as error:
        print(f"demo: FAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(10)
    print("demo: every call was answered as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
