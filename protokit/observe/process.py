"""What every process of Prometheus' kind tells of itself, by the names that its dashboards know."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

import protokit

if TYPE_CHECKING:
    from collections.abc import Iterator

_SELF = Path("/proc/self")


def process(folder: Path = _SELF) -> str:
    """Lines for the page; what the system does not tell is left out.

    Args:
        folder: of the process in ``/proc``.
    """
    versions = f'version="{protokit.__version__}",python="{platform.python_version()}"'
    text = _one("protokit_build_info", "gauge", "1, with the versions that run.", "1", f"{{{versions}}}")
    with contextlib.suppress(OSError):
        for name, kind, says, value in _of(folder):
            text += _one(name, kind, says, f"{value:.15g}")
    return text


def _one(name: str, kind: str, says: str, value: str, labels: str = "") -> str:
    return f"# HELP {name} {says}\n# TYPE {name} {kind}\n{name}{labels} {value}\n"


def _of(folder: Path) -> Iterator[tuple[str, str, str, float]]:
    stat = (folder / "stat").read_text().rpartition(")")[2].split()  # from the third on, of proc(5)
    tick = os.sysconf("SC_CLK_TCK")
    user, system, started = (int(stat[number - 3]) / tick for number in (14, 15, 22))
    yield "process_cpu_seconds_total", "counter", "Time of its processors, in seconds.", user + system
    since = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + started
    yield "process_start_time_seconds", "gauge", "When it started, in seconds since 1970.", round(since, 2)
    memory = int(stat[24 - 3]) * resource.getpagesize()
    yield "process_resident_memory_bytes", "gauge", "Memory that it has, in bytes.", memory
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield "process_max_fds", "gauge", "Descriptors that it may have.", most
    yield "process_open_fds", "gauge", "Descriptors that it has.", len(os.listdir(folder / "fd")) - 1  # noqa: PTH208
