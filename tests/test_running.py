"""Running the tests: what takes too long is ended, what fails before or behind a test is told."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import pytest_timeout
import running

HERE = Path(__file__).parent
TESTS = """
import time
import pytest

@pytest.fixture
def broken():
    raise ValueError("set up")

@pytest.fixture
def breaks():
    yield
    raise ValueError("torn down")

@pytest.mark.parametrize("number", range(3))
def test_right(number): pass

def test_wrong(): assert 1 == 2

def test_behind(breaks): pass

def test_before(broken): pass

def test_left_out(): pytest.skip("not here")

@pytest.mark.timeout(0.1)
def test_hangs(): time.sleep(100)
"""


def test_what_fails_beside_a_test_is_told_and_what_hangs_is_ended(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntimeout = 60\ntimeout_method = thread\n")
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-n", "1", "-rA"]
    done = subprocess.run(
        [*command, "--max-worker-restart", "0", "test_some.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(HERE), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "crashed while running 'test_some.py::test_hangs'" in said, said
    assert "FAILED test_some.py::test_wrong - assert 1 == 2" in said, said
    assert "ERROR test_some.py::test_behind - ValueError: torn down" in said, said
    assert "ERROR test_some.py::test_before - ValueError: set up" in said, said
    assert "2 failed, 4 passed, 1 skipped, 2 errors" in said, said
    assert done.returncode == 1


def test_a_limit_is_that_of_the_test_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[object] = []
    late = threading.Event()

    def end(item: object, settings: object) -> None:
        ended.append(item)
        late.set()

    monkeypatch.setattr(pytest_timeout, "timeout_timer", end)
    watch = running.Watch(often=0.01)
    short, long = (pytest_timeout.Settings(limit, "thread", False, False) for limit in (0.02, 60))
    watch.pytest_timeout_set_timer("over", short)
    watch.pytest_timeout_cancel_timer("over")
    watch.pytest_timeout_set_timer("has time", long)
    watch.pytest_timeout_cancel_timer("has time")
    assert not late.wait(0.1)
    watch.pytest_timeout_set_timer("late", short)
    assert late.wait(30)
    watch.pytest_timeout_cancel_timer("late")
    assert set(ended) == {"late"}
    other = pytest_timeout.Settings(1, "signal", False, False)
    assert watch.pytest_timeout_set_timer("another way", other) is None
