"""What a command line's process starts beside itself ends with it, with all that was started in turn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from protokit.cli import beside

RUN = """
import os, subprocess, sys
from protokit.cli import beside
try:
    beside.run(sys.argv[2:], seconds=float(sys.argv[1]), env=dict(os.environ))
except subprocess.TimeoutExpired:
    sys.exit("it did not end in time")
"""
# Who comes from it holds the pipe open as long as it lives.
DEEP = "sh -c 'exec 9>there; echo up >&9; sleep 300' >/dev/null 2>&1 &"


@pytest.mark.parametrize(
    ("ends", "seconds", "code"),
    [
        (signal.SIGTERM, 300, 143),
        (signal.SIGHUP, 300, 129),
        (signal.SIGINT, 300, 130),
        (None, 2, 1),
    ],
    ids=["terminated", "hung up", "interrupted", "out of time"],
)
def test_all_that_was_begun_ends(tmp_path, ends, seconds, code):
    os.mkfifo(tmp_path / "there")
    heard = "import signal; [signal.signal(one, signal.SIG_DFL) for one in (1, 2)]"  # nohup may run the tests
    command = [sys.executable, "-c", heard + RUN, str(seconds), "sh", "-c", f"{DEEP} sleep 300"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        with (tmp_path / "there").open() as there:
            assert there.readline() == "up\n"
            if ends is not None:
                process.send_signal(ends)
            assert there.read() == ""  # nobody holds it
        process.communicate()
    assert process.returncode == code


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGINT], ids=["by nohup", "by a shell's &"])
def test_a_signal_that_was_ignored_still_is(tmp_path, ignored):
    os.mkfifo(tmp_path / "there")
    os.mkfifo(tmp_path / "go")
    command = [sys.executable, "-c", RUN, "300", "sh", "-c", "echo up >there; read go <go"]
    before = signal.signal(ignored, signal.SIG_IGN)
    try:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    finally:
        signal.signal(ignored, before)
    with process:
        assert (tmp_path / "there").read_text() == "up\n"
        process.send_signal(ignored)
        (tmp_path / "go").write_text("\n")
        process.communicate()
    assert process.returncode == 0


def test_what_ends_by_itself_leaves_nothing_and_is_told(tmp_path):
    os.mkfifo(tmp_path / "there")
    command = ["sh", "-c", f"{DEEP} read up <there; echo out; echo err >&2; exit 3"]
    done = beside.run(command, seconds=60, env=dict(os.environ), cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    deadline = time.monotonic() + 60
    while str(tmp_path) in _working():  # it is killed, and has to get to it
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _working() -> list[str]:
    """In what folders processes of ours work."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cwd"):
        try:
            found.append(str(one.readlink()))
        except OSError:
            continue
    return found
