"""A command that is run beside this process and never outlives it, with all that it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def run(
    command: Sequence[str], *, seconds: float, env: dict[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """What it says and ends with.

    Args:
        command: the program and its arguments.
        seconds: how long it may take.
        env: its environment.
        cwd: its working folder; None: this process's own.

    Raises:
        OSError: it cannot be run.
        subprocess.TimeoutExpired: it did not end in time.
        SystemExit: a signal ended this process meanwhile; the command is ended first.
    """
    came: list[int] = []
    process: subprocess.Popen[str] | None = None

    def kill() -> None:
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def end(number: int, _frame: object) -> None:
        came.append(number)
        kill()

    heard = [one for one in _ENDS if signal.getsignal(one) is not signal.SIG_IGN]  # as under nohup
    before = {one: signal.signal(one, end) for one in heard}
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a group of its own: what it starts is ended with it
        )
        with process:
            if came:  # while it began
                kill()
            try:
                out, err = process.communicate(timeout=seconds)
            finally:
                kill()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    if came:
        raise SystemExit(128 + came[0])
    return subprocess.CompletedProcess(command, process.returncode, out, err)
