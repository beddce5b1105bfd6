"""make soak in short: it passes; it fails when the proxy dies in the middle, or keeps what it should not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[1] / "soak.py"


LEAK = """
from protokit import Filter, hookimpl

kept = []

class Leak(Filter):
    async def request(self, request):
        kept.append(bytes(2000))

@hookimpl
def protokit_filters():
    return {"soak": lambda options: Leak()}
"""


def soak(seconds, *more):
    return subprocess.Popen(
        [sys.executable, str(SOAK), "--seconds", str(seconds), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_soak():
    process = soak(10)
    out, err = process.communicate(timeout=90)
    assert err == ""
    assert process.returncode == 0
    assert "soak: all is well" in out


def test_soak_fails_when_the_proxy_dies():
    process = soak(30)
    out = ""
    for line in process.stdout:
        out += line
        if "descriptors" in line:
            break
    os.kill(int(re.search(r"proxy pid (\d+)", out)[1]), signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "soak: FAILED: " in err
    assert "all is well" not in out


@pytest.mark.slow
def test_soak_fails_when_memory_is_kept(tmp_path):
    plugin = tmp_path / "leak.py"
    plugin.write_text(LEAK)
    out, err = soak(8, "--plugin", str(plugin)).communicate(timeout=90)
    assert "soak: FAILED: resident memory grew from " in err, out
