"""The libFuzzer target finds a planted over-read; its right twin has nothing to be found."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from protokit.wire import __all__ as vocabulary
from protokit.wire.structures import STEPS

FUZZ = Path(__file__).parents[1] / "native" / "fuzz"
needs_clang = pytest.mark.skipif(
    shutil.which("clang") is None, reason="needs clang and its runtime (Debian: clang libclang-rt-dev)"
)


def build(out: Path, name: str) -> Path:
    command = ["make", "-s", "-C", str(FUZZ), f"OUT={out}", f"PYTHON={sys.executable}", name]
    subprocess.run(command, check=True, timeout=250)
    return out / name / "fuzz"


def run(folder: Path, target: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [target, *options],
        cwd=folder,
        env={**os.environ, "LD_PRELOAD": "", "ASAN_OPTIONS": ""},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=250,
        check=False,
    )


def fuzz(target: Path, folder: Path, runs: int) -> subprocess.CompletedProcess[str]:
    """Run it on a seed of one frame, with a seed for its choices."""
    sys.path.insert(0, str(FUZZ))
    import export
    import fuzz_formats

    corpus = folder / "corpus"
    corpus.mkdir()
    frame = fuzz_formats.planted().build({"kind": 0, "id": 5, "text": b"abc"})
    (corpus / "one").write_bytes(export.one_input("planted", 0, 3, frame))
    options = [f"-runs={runs}", "-seed=1", "-max_len=256", "-rss_limit_mb=2048", str(corpus)]
    return run(folder, target, *options)


# What is no word of a declaration.
NO_WORDS = {
    *("Codec", "Frame", "Message", "NativeCodec", "Peer", "PythonCodec", "Reply", "Wire"),
    "Measure",  # of an author's own function in C
}


def test_a_program_of_each_word_is_fuzzed():
    """A word that is new stands in fuzz_formats.py, or in the formats of the tests that it takes, too."""
    named = set()
    for path in (FUZZ / "fuzz_formats.py", FUZZ.parents[1] / "tests" / "named.py"):
        tree = ast.parse(path.read_text("utf-8"))
        named |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert set(vocabulary) - named == NO_WORDS


def test_a_program_of_each_structure_is_fuzzed(monkeypatch):
    """A word may have several functions in C, which the programs themselves name."""
    monkeypatch.syspath_prepend(str(FUZZ))
    import export
    import fuzz_formats

    reached = {step for one in fuzz_formats.protocols() for step in export.image(one.name, one.wire)[1]}
    assert {one.name for one in STEPS.values()} - reached == set()
    tags = {export.tag(one.name) for one in fuzz_formats.protocols()}
    assert len(tags) == len(fuzz_formats.protocols()), "an input's first byte says whose it is"


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_clang
@pytest.mark.parametrize(("name", "found"), [("planted", True), ("right", False)])
def test_a_planted_over_read_is_found_and_its_right_twin_is_not(tmp_path, name, found):
    done = fuzz(build(tmp_path, name), tmp_path, 20_000)
    assert (done.returncode != 0) == found, done.stderr[-3000:]
    if found:
        assert "heap-buffer-overflow" in done.stderr
        assert "in planted" in done.stderr
        assert list(tmp_path.glob("crash-*"))
    else:
        assert "Done 20000 runs" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_clang
def test_what_the_checker_accepts_runs_clean(tmp_path):
    """Its corpus, and programs made of it, under AddressSanitizer."""
    target, found = build(tmp_path, "programs"), tmp_path / "found"
    found.mkdir()
    done = run(
        tmp_path,
        target,
        "-runs=20000",
        "-seed=1",
        "-max_len=600",
        str(found),
        str(FUZZ / "corpus" / "programs"),
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_clang
def test_a_table_that_is_taken_is_read_in_its_block_only(tmp_path):
    """Right images with some words changed, under AddressSanitizer."""
    found = tmp_path / "found"
    found.mkdir()
    done = run(
        tmp_path,
        build(tmp_path, "tables"),
        "-runs=20000",
        "-seed=1",
        "-max_len=64",
        "-rss_limit_mb=2048",
        str(found),
    )
    assert done.returncode == 0, done.stderr[-3000:]
