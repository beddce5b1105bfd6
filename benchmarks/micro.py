"""The sans-IO core alone: ns a request, and instructions a request under callgrind.

Times on a shared machine scatter by more than the differences that matter; instruction counts do not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peers

if TYPE_CHECKING:
    from collections.abc import Mapping

# 8 services unless said otherwise; the caches of what was asked lately cannot hold 256.
CASES: dict[str, dict[str, int]] = {
    "16x16, 10 routes": {},
    "16x16, 10,000 routes": {"routes": 10_000},
    "16x16, 256 services of 256 routes": {"routes": 256, "services": 256},
    "16x16, 256 services of 10,000 routes": {"routes": 10_000, "services": 256},
    "64x1, 10 routes": {"clients": 64, "depth": 1},
    "1x64, 10 routes": {"clients": 1, "depth": 64},
    "16x16, 10 routes, 4096 B": {"payload": 4096},
}

# Valgrind counts each byte of a `rep movsb` as an instruction: let memcpy do without.
WHOLE = {"GLIBC_TUNABLES": "glibc.cpu.x86_rep_movsb_threshold=1000000000"}


def _micro(options: Mapping[str, int | str], batches: int) -> list[str]:
    arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    return [str(peers.BUILD / "micro"), *arguments, "--batches", str(batches)]


def run(options: Mapping[str, int | str], batches: int) -> dict[str, Any]:
    """What the core alone says of so many batches."""
    done = subprocess.run(_micro(options, batches), capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def _instructions(options: Mapping[str, int | str], batches: int) -> int:
    """What the core executes for so many batches, the driver's part left out."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        command = ["valgrind", "--tool=callgrind", "--toggle-collect=batch", f"--callgrind-out-file={out}"]
        done = subprocess.run(
            [*command, *_micro(options, batches)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | WHOLE,
        )
        found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not found:
        raise peers.BenchError(f"callgrind did not count: {done.stderr[-1000:]}")
    return int(found.group(1))


def _requests(options: Mapping[str, int | str]) -> int:
    return int(options.get("clients", 16)) * int(options.get("depth", 16))


def instructions(options: Mapping[str, int | str]) -> float:
    """Of the core a request. What the first batches allocate is taken off by the difference."""
    return (_instructions(options, 60) - _instructions(options, 20)) / (40 * _requests(options))


def micro(runs: int) -> dict[str, Any]:
    """Run every case; the result is what results/micro.json holds."""
    valgrind = shutil.which("valgrind") is not None
    cases = []
    for name, options in CASES.items():
        results = [run(options, 1000) for _ in range(runs)]
        case: dict[str, Any] = {
            "name": name,
            "least_ns": min(one["least_ns"] for one in results),
            "median_ns": sorted(one["median_ns"] for one in results)[runs // 2],
        }
        if valgrind:
            case["instructions"] = instructions(options)
        cases.append(case)
        print(f"{name}: {case}", file=sys.stderr, flush=True)
    return {"cases": cases}
