"""The driver over a transport in the test's process (native/tests/transports.c): one of its tests each.

`make ctest` runs the same program with sanitizers; here it is run without, for which the engine is compiled.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PROGRAM = REPO / "native" / "tests" / "transports.c"
NAMES = re.findall(r"^ {4}TEST\((\w+)\)", PROGRAM.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    out = tmp_path_factory.mktemp("transports")
    built = out / "plain" / "transports"
    # The mutants' engine comes from elsewhere, and compiled.
    sources = os.environ.get("PROTOKIT_TEST_SOURCES", REPO / "native" / "src")
    objects = os.environ.get("PROTOKIT_TEST_OBJECTS", "")
    includes = [sources, REPO / "native" / "include"]
    quick = " ".join(["-std=c11 -O0 -w -D_GNU_SOURCE -pthread", *(f"-I{one}" for one in includes)])
    variables = [f"SRC={sources}", f"OBJECTS={objects}", f"OUT={out}", f"FLAGS={quick}"]
    subprocess.run(["make", "-s", "-j2", "-C", PROGRAM.parent, *variables, built], check=True)
    return built


def test_there_are_some():
    assert len(NAMES) > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_driver(program, name):
    done = subprocess.run([program, name], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "transports: 1 tests\n"), done.stderr
