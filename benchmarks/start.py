"""How long ``protokit run`` takes from its start until it listens, and what of that is imports.

    python benchmarks/start.py [PYTHON]    of the environment with that interpreter; without: of this one

Times are wall clock and CPU, the best and the median of so many runs; beside them an interpreter that only
imports asyncio and uvloop. Where Python must not write bytecode and none is there, every module is compiled
again at each start, which takes half as long again.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 20
CONFIG = """
listeners: [{name: in, bind: "127.0.0.1:0", protocol: dubbo, cluster: c}]
clusters: [{name: c, endpoints: ["127.0.0.1:9"]}]
admin: {bind: "127.0.0.1:0"}
"""
PYTHON = sys.argv[1] if len(sys.argv) > 1 else sys.executable
FLOOR = [PYTHON, "-c", "import asyncio, uvloop; print('', flush=True); input()"]


def once(command: list[str]) -> tuple[float, float]:
    """Milliseconds until the first line: (wall clock, CPU)."""
    began = time.perf_counter()
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        took = time.perf_counter() - began
        cpu = int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0])
        process.kill()
    return 1000 * took, cpu / 1e6


def imports(command: list[str], most: int) -> list[tuple[float, str]]:
    """The modules whose own import took longest, ms."""
    python, *arguments = command
    with subprocess.Popen(
        [python, "-X", "importtime", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.kill()
        found = re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", process.stderr.read(), re.MULTILINE)
    return sorted(((int(own) / 1000, name) for own, name in found), reverse=True)[:most]


def main() -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "start.yaml"
        path.write_text(CONFIG)
        command = [PYTHON, str(Path(PYTHON).with_name("protokit")), "run", str(path)]
        for name, words in (("asyncio and uvloop alone", FLOOR), ("protokit run", command)):
            wall, cpu = zip(*(once(words) for _ in range(RUNS)), strict=True)
            print(
                f"{name:26} {min(wall):6.1f} ms (median {statistics.median(wall):.1f}),"
                f" CPU {min(cpu):.1f} ms (median {statistics.median(cpu):.1f})"
            )
        for own, module in imports(command, 12):
            print(f"  {own:6.1f} ms {module}")


if __name__ == "__main__":
    main()
