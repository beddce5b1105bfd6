"""Do the tests see what is wrong with the C code? Each mutant is built, and the test named for it fails."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from engine import LISTS, MUTANTS, Mutant

HERE = Path(__file__).parent
REPO = HERE.parents[1]
# Where each compiled module is built from: its name, sources, build script.
MODULES = {
    "engine": ("protokit._native", REPO / "native" / "src", REPO / "native" / "build_native.py"),
    **{
        name: (f"protokit_{name}._native", home / "native", home / "build_native.py")
        for name in ("brpc", "dubbo", "sofarpc", "tars")
        for home in [REPO / "plugins" / name]
    },
}
FLAGS = ["-std=c11", "-O0", "-fPIC", "-pthread", "-fvisibility=hidden", "-fno-builtin-memset", "-w"]
# pytest's exit codes: of the others, some say that no test ran.
PASSED, FAILED = 0, 1
OUT_OF_TIME = -signal.SIGALRM


@dataclass(frozen=True)
class Unit:
    """A source, compiled."""

    object: Path
    read: frozenset[Path]  # it, and the headers that it includes, directly or not

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """Of the functions and variables that are in it."""
        command = ["nm", "--defined-only", "--format=posix", self.object]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return frozenset(line.partition(" ")[0] for line in said.splitlines())


class Build:
    """A module, compiled once; of a mutant what includes the changed file is compiled anew."""

    def __init__(self, module: str, directory: Path) -> None:
        self.name, self.source, script = MODULES[module]
        self.directory = directory
        self.toy = directory / "toy"
        self.toy.mkdir()
        self.objects: dict[Path, list[Path]] = {}  # of each built module, the glue first
        glue = directory / "glue.c"
        runpy.run_path(str(script))["ffibuilder"].emit_c_code(str(glue))
        sources = [glue, *sorted(self.source.rglob("*.c"))]
        self.units = {path: self.compile(path, self.source, f"right-{n}") for n, path in enumerate(sources)}
        self.right = self.link("right", {})
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--tb=line"]
        self.forking = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "forking", *options, "the tests of a run"],
            cwd=REPO,
            # `CI` makes pytest write out all of a difference: minutes, of twenty thousand endpoints.
            env={**os.environ, "CI": "", "PYTEST_ADDOPTS": "", "PYTHONPATH": str(HERE / "instead")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def compile(self, path: Path, root: Path, name: str) -> Unit:
        target = self.directory / f"{name}.o"
        includes = [root, REPO / "native" / "include", sysconfig.get_path("include")]
        command = ["gcc", *FLAGS, "-D_GNU_SOURCE", "-MMD", *(f"-I{one}" for one in includes)]
        subprocess.run([*command, "-c", path, "-o", target], check=True)
        _, _, read = target.with_suffix(".d").read_text().replace("\\\n", " ").partition(":")
        return Unit(target, frozenset(Path(one) for one in read.split()))

    def link(self, name: str, changed: dict[Path, Unit]) -> Path:
        target = self.directory / f"{name}.so"
        objects = self.objects[target] = [unit.object for unit in {**self.units, **changed}.values()]
        subprocess.run(["gcc", "-shared", "-pthread", *objects, "-o", target], check=True)
        return target

    def mutant(self, one: Mutant, name: str) -> Path:
        """The module with that change."""
        [path] = self.source.rglob(one.file)
        text = path.read_text()
        assert text.count(one.right) == 1, (
            f"{one.name}: {one.file} has this {text.count(one.right)} times:\n{one.right}"
        )
        root = self.directory / name
        shutil.copytree(self.source, root, copy_function=os.symlink)

        def there(of: Path) -> Path:
            return root / of.relative_to(self.source) if of.is_relative_to(self.source) else of

        there(path).unlink()  # a link to what is right
        there(path).write_text(text.replace(one.right, one.wrong))
        users = self.users(path, text.partition(one.right)[0])
        changed = {user: self.compile(there(user), root, f"{name}-{n}") for n, user in enumerate(users)}
        assert users
        assert all(there(path) in unit.read for unit in changed.values())
        return self.link(name, changed)

    def users(self, path: Path, front: str) -> list[Path]:
        """The sources whose objects a change behind ``front`` in that file can be seen in.

        A header's function is in the objects of those that call it: nothing is inlined.
        """
        includes = [source for source, unit in self.units.items() if path in unit.read]
        *_, last = [None, *re.finditer(r"^static inline [^(]*?(\w+)\(", front, re.MULTILINE)]
        if last is None or path.suffix == ".c":
            return includes
        inside = front[last.end() :]
        if inside.count("{") == inside.count("}"):  # a type, a macro
            return includes
        return [source for source in includes if last[1] in self.units[source].names] or includes

    def run(self, built: Path, *tests: str, patience: int = 110) -> tuple[int, str]:
        """pytest's exit code, or minus the signal that ended it, and its output, with that module.

        Args:
            built: the module.
            tests: as pytest names them.
            patience: for all of them, seconds.
        """
        output = built.with_suffix(".out")
        tree = built.with_suffix("")
        environment = {
            "INSTEAD": f"{self.name}={built}",
            "PROTOKIT_TEST_TOY": str(self.toy),
            "PROTOKIT_TEST_SOURCES": str(tree if tree.is_dir() else self.source),
            "PROTOKIT_TEST_OBJECTS": " ".join(map(str, self.objects[built][1:])),
        }
        wanted = {"tests": tests, "environment": environment, "output": str(output), "patience": patience}
        print(json.dumps(wanted), file=self.forking.stdin, flush=True)
        answer = self.forking.stdout.readline()
        assert answer, "there is no pytest that forks"
        return int(answer), output.read_text()


class Builds:
    """Each module's build, once it is asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: dict[str, Build] = {}

    def __getitem__(self, module: str) -> Build:
        if module not in self.made:
            directory = self.directory / module
            directory.mkdir()
            self.made[module] = Build(module, directory)
        return self.made[module]

    def close(self) -> None:
        for build in self.made.values():
            build.forking.communicate()


@pytest.fixture(scope="module")
def builds(tmp_path_factory) -> Iterator[Builds]:
    with contextlib.closing(Builds(tmp_path_factory.mktemp("modules"))) as made:
        yield made


def test_names_and_changes_are_told_apart():
    changes = {(one.module, one.file, one.right, one.wrong) for one in MUTANTS}
    assert len({one.name for one in MUTANTS}) == len(changes) == len(MUTANTS)
    assert all(one.right != one.wrong for one in MUTANTS)


def test_what_is_changed_stands_once_in_its_file():
    """Whoever changes a line that a mutant is of is told by the fast tests."""
    texts = {
        module: {path.name: path for path in source.rglob("*.[ch]")}
        for module, (_, source, _) in MODULES.items()
    }
    counts = {one.name: texts[one.module][one.file].read_text().count(one.right) for one in MUTANTS}
    assert {name: count for name, count in counts.items() if count != 1} == {}


def test_all_mutants_of_a_file_stand_in_one_list():
    places = {(one.module, one.file, name) for name, mutants in LISTS.items() for one in mutants}
    assert len(places) == len({(module, file) for module, file, _ in places})


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("module", MODULES)
def test_what_is_right_passes_what_kills_the_mutants(builds, module):
    code, output = builds[module].run(
        builds[module].right, *sorted({one.killer for one in MUTANTS if one.module == module}), patience=590
    )
    assert code == PASSED, output


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(MUTANTS)), ids=[one.name for one in MUTANTS])
def test_a_mutant_is_killed_by_the_test_that_is_named_for_it(builds, number):
    one = MUTANTS[number]
    build = builds[one.module]
    code, output = build.run(build.mutant(one, f"mutant-{number}"), one.killer)
    # A crash kills, too; a test that could not be run, or did not end, kills nothing.
    assert code == FAILED or (code < 0 and code != OUT_OF_TIME), f"exit code {code}\n{output}"
