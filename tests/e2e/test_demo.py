"""make demo's program: it succeeds, and it fails when the proxy is killed in the middle."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def config(tmp_path):
    """The quickstart with ports that are free here."""
    text = (EXAMPLES / "quickstart.yaml").read_text()
    for port in ("20880", "20881", "20882", "9900"):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            text = text.replace(f":{port}", f":{probe.getsockname()[1]}")
    path = tmp_path / "quickstart.yaml"
    path.write_text(text)
    return path


def demo(config):
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / "demo.py"), "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def test_the_demo_succeeds(config):
    process = demo(config)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert re.search(r"greet +demo\[0\] +127.0.0.1:\d+ +[\d.]+ +'Hello Ada, this is provider-[12]'", out)
    assert re.search(r"add +demo\[1\] .* 42\n", out)
    assert "status 60: protokit: no route" in out
    assert int(re.search(r"burst: (\d+) calls", out)[1]) > 100


def test_the_demo_fails_when_the_proxy_is_killed(config):
    process = demo(config)
    out = ""
    for line in process.stdout:
        out += line
        if "status 60" in line:  # the calls are through, the burst begins
            break
    os.kill(int(re.search(r"proxy pid (\d+)", out)[1]), signal.SIGKILL)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "demo: FAILED: " in err
    assert "every call was answered" not in rest
