"""Do the tests see what is wrong with the C code? Each mutant is built, and the test named for it fails."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.util
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
ENGINE = "protokit._native"
NATIVE = importlib.util.find_spec(ENGINE).origin
MODULES = {
    "engine": (ENGINE, REPO / "native" / "src", REPO / "native" / "build_native.py"),
    **{
        name: (f"protokit_{name}._native", home / "native", home / "build_native.py")
        for name in ("brpc", "dubbo", "sofarpc", "tars")
        for home in [REPO / "plugins" / name]
    },
}
FLAGS = ["-std=c11", "-O0", "-fPIC", "-pthread", "-fno-builtin-memset", "-w"]
LINK = [
    "gcc",
    "-shared",
    "-pthread",
    "-Wl,-Bsymbolic",
]  # each finds its own functions, wherever others have the name
QUESTION = MODULES["engine"][1] / "table" / "question.c"
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
    """A module, compiled once; of a mutant what includes the changed file is compiled anew.

    Args:
        module: its name in ``MODULES``.
        directory: for its mutants.
        right: where what is right is compiled, unless another process has.
    """

    def __init__(self, module: str, directory: Path, right: Path) -> None:
        self.name, self.source, script = MODULES[module]
        self.directory = directory
        self.toy = directory / "toy"
        self.toy.mkdir()
        self.objects: dict[Path, list[Path]] = {}  # of each built module, the glue first
        glue = right / "glue.c"
        if not glue.exists():
            runpy.run_path(str(script))["ffibuilder"].emit_c_code(str(glue))
        sources = [glue, *sorted(self.source.rglob("*.c"))]
        self.units = {
            path: self.compile(path, self.source, right / f"{n}.o") for n, path in enumerate(sources)
        }
        self.right = self.link(right / "right.so", {})
        self.glue = self.late(glue) if self.name == ENGINE else None
        self.forking: dict[str, subprocess.Popen] = {}  # by what protokit is imported with before runs

    def late(self, glue: Path) -> Path:
        """The glue without the engine: each of the engine's functions is a pointer, set by ``given``."""
        target = glue.with_suffix(".so")
        if target.exists():
            return target
        said = subprocess.run(
            ["nm", "--undefined-only", "--format=posix", self.units[glue].object],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        names = [line.split()[0] for line in said.splitlines() if line.startswith("pk_")]
        front, given = glue.with_name("late.h"), glue.with_name("given.c")
        front.write_text("".join(f"#define {name} (*late_{name})\n" for name in names))
        given.write_text(
            "#include <dlfcn.h>\n"
            + "".join(f"extern void *late_{name};\n" for name in names)
            + "int given(void *engine) {\n  int lacks = 0;\n"
            + "".join(f'  lacks |= !(late_{name} = dlsym(engine, "{name}"));\n' for name in names)
            + "  return lacks;\n}\n"
        )
        objects = [self.compile(glue, self.source, glue.with_name("late.o"), "-include", str(front)).object]
        objects += [self.compile(given, self.source, glue.with_name("given.o")).object]
        subprocess.run([*LINK, *objects, "-o", target], check=True)
        return target

    def fork(self, first: str) -> subprocess.Popen:
        """A pytest that forks, and has protokit imported with that file or not at all."""
        if first not in self.forking:
            options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--tb=line"]
            # `CI` makes pytest write out all of a difference: minutes, of twenty thousand endpoints.
            environment = {
                "CI": "",
                "PYTEST_ADDOPTS": "",
                "PYTHONPATH": str(HERE / "instead"),
                "FIRST": first,
            }
            environment["GIVEN"] = str(self.right) if first == str(self.glue) else ""
            self.forking[first] = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", "forking", *options, "the tests of a run"],
                cwd=REPO,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self.forking[first]

    def compile(self, path: Path, root: Path, target: Path, *options: str) -> Unit:
        includes = [root, REPO / "native" / "include", sysconfig.get_path("include")]
        command = ["gcc", *FLAGS, "-D_GNU_SOURCE", "-MMD", *(f"-I{one}" for one in includes)]
        if not target.exists():
            subprocess.run([*command, *options, "-c", path, "-o", target], check=True)
        _, _, read = target.with_suffix(".d").read_text().replace("\\\n", " ").partition(":")
        return Unit(target, frozenset(Path(one) for one in read.split()))

    def link(self, target: Path, changed: dict[Path, Unit]) -> Path:
        objects = self.objects[target] = [unit.object for unit in {**self.units, **changed}.values()]
        if not target.exists():
            subprocess.run([*LINK, *objects, "-o", target], check=True)
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
        changed = {
            user: self.compile(there(user), root, self.directory / f"{name}-{n}.o")
            for n, user in enumerate(users)
        }
        assert users
        assert all(there(path) in unit.read for unit in changed.values())
        return self.link(root.with_suffix(".so"), changed)

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
        # Where the glue is the same as in other runs, the engine comes late; a plugin has what is installed.
        late = self.name == ENGINE and self.objects[built][0] == self.objects[self.right][0]
        first = str(self.glue) if late else "" if self.name == ENGINE else NATIVE
        wanted = {"tests": tests, "environment": environment, "output": str(output)}
        wanted |= {"patience": patience, "late": str(built) if late else ""}
        forking = self.fork(first)
        print(json.dumps(wanted), file=forking.stdin, flush=True)
        answer = forking.stdout.readline()
        assert answer, "there is no pytest that forks"
        return int(answer), output.read_text()


class Builds:
    """Each module's build, once it is asked for."""

    def __init__(self, directory: Path, right: Path) -> None:
        self.directory, self.right = directory, right
        self.made: dict[str, Build] = {}

    def __getitem__(self, module: str) -> Build:
        if module not in self.made:
            directory, right = self.directory / module, self.right / module
            directory.mkdir()
            right.mkdir(parents=True, exist_ok=True)
            with (right / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self.made[module] = Build(module, directory, right)
        return self.made[module]

    def close(self) -> None:
        for build in self.made.values():
            for process in build.forking.values():
                process.communicate()


@pytest.fixture(scope="module")
def builds(tmp_path_factory) -> Iterator[Builds]:
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent  # of all its processes
    with contextlib.closing(Builds(tmp_path_factory.mktemp("mutants"), run / "right")) as made:
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
    build = builds[module]
    again = build.link(
        build.directory / "again.so", {}
    )  # as a mutant's, another file than what is there before
    code, output = build.run(
        again, *sorted({one.killer for one in MUTANTS if one.module == module}), patience=590
    )
    assert code == PASSED, output


@pytest.mark.slow
def test_an_engine_that_cannot_be_loaded_kills_nothing(builds):
    build = builds["engine"]
    lacking = build.directory / "lacking.so"
    objects = [one for one in build.objects[build.right][1:] if one != build.units[QUESTION].object]
    subprocess.run([*LINK, *objects, "-o", lacking], check=True)
    empty = build.directory / "empty.so"
    subprocess.run([*LINK, "-o", empty, "-x", "c", "/dev/null"], check=True)
    for built in (lacking, empty):
        build.objects[built] = build.objects[build.right]
        code, output = build.run(built, MUTANTS[0].killer)
        assert code > FAILED, f"{built}: exit code {code}\n{output}"


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(MUTANTS)), ids=[one.name for one in MUTANTS])
def test_a_mutant_is_killed_by_the_test_that_is_named_for_it(builds, number):
    one = MUTANTS[number]
    build = builds[one.module]
    code, output = build.run(build.mutant(one, f"mutant-{number}"), one.killer)
    # A crash kills, too; a test that could not be run, or did not end, kills nothing.
    assert code == FAILED or (code < 0 and code != OUT_OF_TIME), f"exit code {code}\n{output}"
