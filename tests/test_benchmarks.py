"""The benchmarks still build and run; what they measure is not looked at here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from protokit import native
from protokit.cli.subject import protocol_named

REPO = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The native parts; of those that count nothing it is asked to compile without a warning, and to run."""
    folder = tmp_path_factory.mktemp("built")
    make = ["make", "-s", "-C", str(REPO / "benchmarks" / "native"), f"OUT={folder}"]
    for what in ([f"{folder}/micro"], ["OPTIMIZED=-O0", "all"]):
        done = subprocess.run([*make, *what], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    return folder


def run(script: str, option: str, built: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(REPO / "benchmarks" / script), option],
        env={**os.environ, "PROTOKIT_BENCHMARKS_BUILD": str(built)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_native_parts_build_without_a_warning(built):
    assert {one.name for one in built.iterdir()} == {"load", "echo", "floor", "micro", "declared"}


@pytest.mark.slow
def test_a_declared_codec_is_measured_beside_one_by_hand(built):
    done = run("declared.py", "1", built)
    assert done.returncode == 0, done.stderr
    assert '"declared_ratio"' in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "golden"),
    [("bolt", "tests/golden/bolt.jsonl"), ("thrift", "plugins/thrift/tests/golden/thrift/captured.jsonl")],
)
def test_a_codec_by_hand_is_a_plugin_of_its_own(name, golden):
    """As ``plugins check --native`` and a whole proxy take it."""
    codec = protocol_named(str(REPO / "benchmarks" / f"{name}_by_hand.py")).wire.address
    declared = protocol_named(name).wire
    data = bytes.fromhex(json.loads((REPO / golden).read_text().splitlines()[0])["hex"])
    assert native.frame(codec, data)[:4] == native.frame(declared.address, data)[:4]


@pytest.mark.slow
def test_each_policy_is_served_by_the_core_alone(built):
    done = run("governance.py", "--once", built)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_to_refuse_a_request_costs_no_more_than_to_forward_it(built):
    """In instructions of the core, which other load does not change."""
    done = run("governance.py", "--refused", built)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("%") >= 10


@pytest.mark.slow
def test_what_is_let_through_of_too_much_is_measured(built):
    done = run("overload.py", "--once", built)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("| breaker, ") == 2
