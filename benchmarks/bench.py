"""Load generator -> proxy -> echo on this machine: protokit, Envoy's dubbo_proxy, HAProxy in TCP mode, no proxy.

    make bench                      everything (about half an hour)
    make bench ARGS=--quick         128 B, the loads that the targets are about

Each case runs every proxy in turn, round after round; CPU time a request is that of the proxy process
(user and system, from the kernel), and what is compared are ratios within a round, of which the median
counts: these machines are noisy. System calls are counted in runs of their own, with perf or strace.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LOAD = HERE / "build" / "load"
ECHO = HERE / "build" / "echo"
RESULTS = HERE / "results"
LOADS = {
    "1x1": (1, 1, 1000),
    "64x1": (64, 1, 0),
    "256x1": (256, 1, 0),
    "1x64": (1, 64, 0),
    "16x16": (16, 16, 0),
}
PROXIES = ("protokit", "envoy", "haproxy", "none")


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A process that is measured."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        with log.open("w") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        for _ in range(200):
            if accepts(port):
                break
            if self.process.poll() is not None:
                raise SystemExit(f"{command[0]} ended: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.pid = int(children[-1]) if children else self.process.pid

    def cpu_ns(self) -> int:
        """User and system time of all its threads: the scheduler's exact sum, ns."""
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
        return total

    def resident_mb(self) -> float:
        """Resident memory, MB."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(name: str, endpoints: list[int], folder: Path) -> tuple[Process | None, int]:
    """The proxy before the endpoints, and the port to load."""
    if name == "none":
        return None, endpoints[0]
    port = free_port()
    if name == "protokit":
        text, suffix = ", ".join(f"127.0.0.1:{one}" for one in endpoints), "yaml"
        command = [sys.executable, "-m", "protokit", "run", "--log-level", "error"]
    elif name == "envoy":
        line = (
            "            - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}"
        )
        text, suffix = "\n".join(line.format(one) for one in endpoints), "yaml"
        envoy = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
        command = [envoy or "envoy", "--concurrency", "1", "-l", "error", "--disable-hot-restart", "-c"]
    else:
        text = "\n".join(f"  server s{i} 127.0.0.1:{one}" for i, one in enumerate(endpoints))
        suffix, command = "cfg", [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f"]
    config = folder / f"{name}.{suffix}"
    template = (HERE / f"{name}.{suffix}.in").read_text()
    config.write_text(template.replace("@PORT@", str(port)).replace("@ENDPOINTS@", text))
    return Process([*command, str(config)], port, folder / f"{name}.log"), port


def load(port: int, kind: str, payload: int, seconds: float) -> dict[str, Any]:
    """One run of the load generator; every answer was checked by it."""
    connections, depth, rate = LOADS[kind]
    command = [str(LOAD), "--port", str(port), "--connections", str(connections), "--depth", str(depth)]
    command += ["--payload", str(payload), "--seconds", str(seconds)]
    command += ["--rate", str(rate)] if rate else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the load generator: exit code {done.returncode}: {done.stdout} {done.stderr}")
    found = json.loads(done.stdout)
    if found["errors"]:
        raise SystemExit(f"the load was not answered: {found}")
    return dict(found)


def system_calls(process: Process, run: Any) -> float | None:
    """System calls a request, by strace's count in a run of its own (strace slows the process down)."""
    if shutil.which("strace") is None:
        return None
    with tempfile.NamedTemporaryFile("r", suffix=".strace") as out:
        tracer = subprocess.Popen(
            ["strace", "-c", "-f", "-U", "calls,name", "-o", out.name, "-p", str(process.pid)],
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.3)
        sent = run()["sent"]
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
        total = re.search(r"^\s*(\d+)\s+total", Path(out.name).read_text(), re.MULTILINE)
    return int(total[1]) / sent if total else None


def case(kind: str, payload: int, count: int, options: argparse.Namespace) -> dict[str, Any]:
    """All proxies under one load, alternating."""
    endpoints = [free_port() for _ in range(count)]
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in options.proxies}
    calls: dict[str, float | None] = {}
    memory: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name_of_folder, contextlib.ExitStack() as stack:
        folder = Path(name_of_folder)
        echo = Process([str(ECHO), *map(str, endpoints)], endpoints[-1], folder / "echo.log")
        stack.callback(echo.stop)
        running = {name: start(name, endpoints, folder) for name in options.proxies}
        for name, (process, port) in running.items():
            if process is not None:
                stack.callback(process.stop)
                memory[name] = [process.resident_mb()]
            load(port, kind, payload, 0.3)
        for _ in range(options.rounds):
            for name, (process, port) in running.items():
                before = process.cpu_ns() if process else 0
                row = load(port, kind, payload, options.seconds)
                row["cpu_us"] = (process.cpu_ns() - before) / 1000 / row["sent"] if process else 0.0
                rows[name].append(row)
        for name, (process, port) in running.items():
            if process is not None:
                memory[name].append(process.resident_mb())
                calls[name] = system_calls(process, lambda port=port: load(port, kind, payload, 0.5))
    summary: dict[str, Any] = {"load": kind, "payload": payload, "endpoints": count, "proxies": {}}
    for name, each in rows.items():
        middle = {
            key: statistics.median(row[key] for row in each)
            for key in ("rate", "cpu_us", "p50_us", "p99_us", "p999_us")
        }
        summary["proxies"][name] = middle | {
            "calls": calls.get(name),
            "memory_mb": memory.get(name),
            "cpu_us_all": [round(row["cpu_us"], 3) for row in each],
        }
        if name not in {"protokit", "none"} and "protokit" in rows:
            ratios = [
                ours["cpu_us"] / theirs["cpu_us"] for ours, theirs in zip(rows["protokit"], each, strict=True)
            ]
            summary["proxies"][name]["protokit_cpu_ratio"] = statistics.median(ratios)
    return summary


def table(results: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| load | payload | endpoints | proxy | requests/s | CPU µs/request | protokit's CPU is | calls/request |"
        " p50 µs | p99 µs | p99.9 µs | idle MB | loaded MB |",
        "|" + "---|" * 13,
    ]
    for one in results:
        for name, row in one["proxies"].items():
            ratio = row.get("protokit_cpu_ratio")
            memory = row["memory_mb"] or [0, 0]
            lines.append(
                f"| {one['load']} | {one['payload']} | {one['endpoints']} | {name} | {row['rate']:.0f} |"
                f" {row['cpu_us']:.2f} | {f'{ratio:.3f} of it' if ratio else ''} |"
                f" {'' if row['calls'] is None else format(row['calls'], '.2f')} | {row['p50_us']:.0f} |"
                f" {row['p99_us']:.0f} | {row['p999_us']:.0f} | {memory[0]:.0f} | {memory[1]:.0f} |"
            )
    return "\n".join(lines) + "\n"


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """CPU a request of each proxy, by case."""
    import matplotlib as mpl  # noqa: PLC0415  # only where there is something to draw

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    names = [name for name in results[0]["proxies"] if name != "none"]
    figure, axes = plt.subplots(figsize=(max(8, len(results)), 5))
    for i, name in enumerate(names):
        values = [one["proxies"][name]["cpu_us"] for one in results]
        axes.bar([x + i * 0.27 for x in range(len(results))], values, 0.27, label=name)
    labels = [f"{one['load']}\n{one['payload']} B\n{one['endpoints']} ep" for one in results]
    axes.set_xticks([x + 0.27 for x in range(len(results))], labels, fontsize=7)
    axes.set_yscale("log")
    axes.set_ylabel("CPU µs a request of the proxy (log)")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run the cases and save what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="128 B; 64x1, 16x16 with 1 and 16 endpoints")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--proxies", type=lambda text: text.split(","), default=list(PROXIES))
    parser.add_argument("--only", default="", help="like 64x1 or 64x1/128/16")
    options = parser.parse_args()
    cases = [(kind, payload, count) for kind in LOADS for payload in (128, 4096) for count in (1, 4, 16)]
    if options.quick:
        cases = [("64x1", 128, 1), ("16x16", 128, 1), ("16x16", 128, 16)]
    cases = [one for one in cases if "/".join(map(str, one)).startswith(options.only)]
    results = []
    for kind, payload, count in cases:
        results.append(case(kind, payload, count, options))
        print(table(results[-1:]), flush=True)
    RESULTS.mkdir(exist_ok=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"
    (RESULTS / "results.json").write_text(json.dumps({"machine": machine, "cases": results}, indent=1))
    (RESULTS / "results.md").write_text(f"{machine}\n\n{table(results)}")
    with contextlib.suppress(ImportError):
        plot(results, RESULTS / "results.png")
    print(f"saved in {RESULTS}")


if __name__ == "__main__":
    main()
