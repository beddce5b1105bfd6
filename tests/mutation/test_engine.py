"""Do the tests see what is wrong with the engine? Each mutant is built, and the test named for it fails."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from cffi import FFI
from engine import MUTANTS

HERE = Path(__file__).parent
REPO = HERE.parents[1]
NATIVE = REPO / "native"
SOURCE = NATIVE / "src"
# pytest's exit codes: only the first means that a test ran and failed.
PASSED, FAILED = 0, 1


class Build:
    """The engine, compiled once; a mutant compiles its file anew and links."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.flags = [
            *("-std=c11", "-O1", "-fPIC", "-pthread", "-fvisibility=hidden", "-fno-builtin-memset", "-w"),
            *(
                "-D_GNU_SOURCE",
                f"-I{SOURCE}",
                f"-I{NATIVE / 'include'}",
                f"-I{sysconfig.get_path('include')}",
            ),
        ]
        builder = FFI()
        build = runpy.run_path(str(NATIVE / "build_native.py"))
        builder.cdef(build["declarations"]())
        builder.set_source("protokit._native", f'#include "{build["TOP"]}"\n')
        glue = directory / "_native.c"
        builder.emit_c_code(str(glue))
        self.objects = {path.name: self.compile(path, path.stem) for path in SOURCE.rglob("*.c")}
        self.glue = self.compile(glue, "_native")
        self.whole = self.link("right", {})

    def compile(self, source: Path, name: str) -> Path:
        target = self.directory / f"{name}.o"
        subprocess.run(["gcc", *self.flags, "-c", source, "-o", target], check=True)
        return target

    def link(self, name: str, changed: dict[str, Path]) -> Path:
        target = self.directory / f"{name}.so"
        objects = [self.glue, *{**self.objects, **changed}.values()]
        subprocess.run(["gcc", "-shared", "-pthread", *objects, "-o", target], check=True)
        return target

    def mutant(self, number: int) -> Path:
        """The engine with that mutant's change."""
        one = MUTANTS[number]
        [source] = SOURCE.rglob(one.file)
        text = source.read_text()
        assert text.count(one.right) == 1, (
            f"{one.name}: {one.file} has this {text.count(one.right)} times:\n{one.right}"
        )
        # Beside the original, so that what it includes is found; `.mutant` files are no sources of the build.
        changed = self.directory / f"mutant-{number}-{one.file}"
        changed.write_text(f'#line 1 "{source}"\n' + text.replace(one.right, one.wrong))
        return self.link(f"mutant-{number}", {one.file: self.compile(changed, changed.stem)})


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Build:
    return Build(tmp_path_factory.mktemp("engine"))


def run(engine: Path, *tests: str) -> tuple[int, str]:
    """pytest's exit code and output, with that engine."""
    done = subprocess.run(
        [sys.executable, HERE / "run.py", engine, *tests],
        cwd=REPO,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
    return done.returncode, done.stdout


def test_names_and_changes_are_told_apart():
    assert len({one.name for one in MUTANTS}) == len({(one.file, one.right, one.wrong) for one in MUTANTS})
    assert len({one.name for one in MUTANTS}) == len(MUTANTS)
    assert all(one.right != one.wrong for one in MUTANTS)


@pytest.mark.slow
def test_the_right_engine_passes_what_kills_the_mutants(build):
    code, output = run(build.whole, *sorted({one.killer for one in MUTANTS}))
    assert code == PASSED, output


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(MUTANTS)), ids=[one.name for one in MUTANTS])
def test_a_mutant_is_killed_by_the_test_that_is_named_for_it(build, number):
    code, output = run(build.mutant(number), MUTANTS[number].killer)
    # A crash kills, too; a test that could not be run kills nothing.
    assert code == FAILED or code < 0, f"exit code {code}\n{output}"
