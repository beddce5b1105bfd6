"""The tree is the architecture: imports point one way, cffi has one door, the public names are there."""

from __future__ import annotations

import ast
import filecmp
import functools
import inspect
import os
import re
import runpy
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

import protokit
from protokit import hookspecs, wire

ROOT = Path(protokit.__file__).parent
REPO = Path(__file__).parents[1]
ORDER = [
    "errors",
    "late",
    "model",
    "logs",
    "hessian",
    "native",
    "table",
    "wire",
    "hookspecs",
    "plugins",
    "config",
    "control",
    "dataplane",
    "observe",
    "admin",
    "cli",
]
FREE = {"__init__", "__main__", "testing"}  # the public API, its command, and what tests import
MODULES = sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@functools.cache
def imports(source: str, package: str) -> frozenset[str]:
    """Absolute names of all that is imported, in functions and for type checkers too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: -node.level + 1 or None]) if node.level else ""
            name = ".".join(part for part in (base, node.module or "") if part)
            found |= {name, *(f"{name}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def upward(source: str, package: str, room: str) -> list[str]:
    """What a module of ``room`` imports from rooms after its own."""
    rooms = ((name, name.split(".")[1]) for name in imports(source, package) if name.startswith("protokit."))
    return sorted(name for name, other in rooms if other in ORDER and ORDER.index(other) > ORDER.index(room))


def package_of(path: Path) -> str:
    return ".".join(("protokit", *path.relative_to(ROOT).parts[:-1]))


def test_every_room_has_its_place():
    assert {room_of(path) for path in MODULES} == {*ORDER, *FREE}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_the_order(path):
    if room_of(path) not in FREE:
        assert upward(path.read_text(), package_of(path), room_of(path)) == []


@pytest.mark.parametrize(
    "line",
    [
        "from protokit import cli",
        "import protokit.cli.run",
        "from protokit.cli import run",
        "from ..cli import run",
        "from .. import cli",
        "def late():\n    from protokit.cli.run import run",
        "if TYPE_CHECKING:\n    import protokit.cli",
    ],
)
def test_an_import_that_points_up_is_seen(line):
    assert upward(line, "protokit.config", "config")
    assert not upward(line.replace("cli", "wire"), "protokit.config", "config")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_native_touches_cffi(path):
    names = imports(path.read_text(), package_of(path))
    touching = {name for name in names if name.split(".")[0] == "cffi" or name.startswith("protokit._native")}
    assert not touching or room_of(path) == "native"


@pytest.mark.parametrize("name", ["model", "errors", "logs"])
def test_the_lowest_rooms_import_nothing_of_protokit(name):
    names = imports((ROOT / f"{name}.py").read_text(), "protokit")
    assert not [one for one in names if one.startswith("protokit")]


def test_plugins_use_the_public_names_only():
    for path in (REPO / "plugins").glob("*/protokit_*/**/*.py"):
        own = path.relative_to(REPO / "plugins").parts[1]
        for name in imports(path.read_text(), own):
            if name.startswith("protokit."):
                assert name.split(".")[1] in {*protokit.__all__, "errors", "hessian", "wire"}, (
                    f"{path}: {name}"
                )
                assert not name.startswith("protokit.wire.") or name.split(".")[2] in wire.__all__, name


def private_names(source: str) -> set[str]:
    """Underscored names of others: imported, or reached through anything but an object's own ``self``."""
    named_tuples = {"_replace", "_asdict", "_fields"}
    tree = ast.parse(source)
    found = {part for name in imports(source, "") for part in name.split(".") if name.startswith("protokit.")}
    of = [one for one in ast.walk(tree) if isinstance(one, ast.Attribute)]
    found |= {
        one.attr
        for one in of
        if not (isinstance(one.value, ast.Name) and one.value.id in {"self", "cls", "os"})
    }
    return {one for one in found if one.startswith("_") and not one.startswith("__")} - named_tuples


@pytest.mark.parametrize("path", sorted((ROOT / "testing").rglob("*.py")), ids=lambda path: path.name)
def test_the_kit_uses_the_names_that_any_plugin_may_use(path):
    assert private_names(path.read_text()) == set()


def test_the_tests_of_plugins_and_the_examples_use_public_names_only():
    public = {*protokit.__all__, "errors", "hessian", "wire", "testing", "native", "config", "plugins"}
    paths = [*(REPO / "plugins").glob("*/tests/*.py"), *(REPO / "examples").rglob("*.py")]
    assert len(paths) > 20
    for path in paths:
        if path.name == "test_faults.py":  # of the engine more than of Dubbo: knows every counter
            continue
        for name in imports(path.read_text(), ""):
            if name.startswith("protokit."):
                assert name.split(".")[1] in public, f"{path}: {name}"
                assert not name.startswith("protokit.wire.") or name.split(".")[2] in wire.__all__, (
                    f"{path}: {name}"
                )


def test_what_tests_open_is_opened_where_it_is_closed_at_the_loops_end():
    """Programs of their own apart: their garbage is theirs, and peers run where protokit is not installed."""
    paths = [*(REPO / "tests").rglob("*.py"), *(REPO / "plugins").glob("*/tests/*.py")]
    paths += [path for path in (ROOT / "testing").glob("*.py") if path.name != "streams.py"]
    interop = REPO / "tests" / "interop"
    paths = [path for path in paths if "target" not in path.parts and "node_modules" not in path.parts]
    by_hand = re.compile(
        r"\basyncio\.(open_connection|start_server|create_subprocess_exec|run)\(|\buvloop\.run\("
    )
    found = {}
    for path in paths:
        text = path.read_text()
        if interop / "servers" in path.parents or '__name__ == "__main__"' in text:
            continue
        if one := by_hand.search(text):
            found[str(path.relative_to(REPO))] = one[0]
    assert not found, f"use protokit.testing.streams instead: {found}"


def test_c_of_plugins_includes_public_headers_only():
    for path in [*(REPO / "plugins").glob("*/native/*.[ch]"), *(REPO / "examples").glob("*/native/*.[ch]")]:
        own = {one.name for one in path.parent.iterdir()}
        for name in re.findall(r'^#include [<"](.*)[>"]$', path.read_text(), re.MULTILINE):
            public = name.startswith("protokit/") and (REPO / "native" / "include" / name).exists()
            assert name in own or public or "/" not in name, f"{path}: {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_asks_which_tier_a_codec_is_of(path):
    """Whoever needs more than ``Codec`` has needs a declaration, and asks for that."""
    text = path.read_text()
    if "PythonCodec" not in text and "NativeCodec" not in text:
        return
    calls = [one for one in ast.walk(ast.parse(text)) if isinstance(one, ast.Call)]
    asked = [one for one in calls if isinstance(one.func, ast.Name) and one.func.id == "isinstance"]
    assert not [one for one in asked if "PythonCodec" in ast.dump(one) or "NativeCodec" in ast.dump(one)]


def test_public_names():
    assert set(protokit.__all__) <= set(dir(protokit))
    for name in protokit.__all__:
        assert getattr(protokit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        protokit.Nothing  # noqa: B018


def test_public_names_are_the_same_for_type_checkers():
    typed = set()
    for node in ast.parse((ROOT / "__init__.py").read_text()).body:
        if isinstance(node, ast.If):
            typed |= {alias.name for one in node.body for alias in one.names}
    assert typed == set(protokit._EXPORTS)
    assert set(protokit.__all__) == typed | {"API_VERSION", "__version__", "get_include"}


def test_importing_protokit_is_light():
    code = "import sys; before = set(sys.modules); import protokit; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert [name for name in loaded if name.startswith("protokit")] == ["protokit"]
    assert not {"asyncio", "click", "pluggy", "uvloop", "msgspec", "yaml"} & set(loaded)


def test_one_version():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    assert project["version"] == protokit.__version__


def test_every_package_is_installed():
    listed = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {package_of(path) for path in ROOT.rglob("__init__.py")}
    assert set(listed) == {*there, "protokit.include.protokit"}


def signature(hook: object) -> str:
    """A hook's first line as a plugin author reads it, with its types."""
    node = ast.parse(textwrap.dedent(inspect.getsource(hook))).body[0]
    return f"def {node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"


def test_the_docs_have_every_hook_as_it_is():
    docs = (REPO / "docs" / "plugins.md").read_text()
    hooks = [value for name, value in vars(hookspecs).items() if name.startswith("protokit_")]
    assert len(hooks) >= 5
    for hook in hooks:
        assert signature(hook) in docs
        assert hook.__doc__
        assert "Called once" in hook.__doc__, f"{hook.__name__} does not say when it is called"


NATIVE = REPO / "native" / "src"
NATIVE_ORDER = ["base", "wire", "table", "policy", "core", "driver"]  # then what stands beside them: access


def without_comments(source: str) -> str:
    return re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)


def native_rank(path: Path) -> int:
    room = path.relative_to(NATIVE).parts[0]
    return NATIVE_ORDER.index(room) if room in NATIVE_ORDER else len(NATIVE_ORDER)


def test_every_native_room_has_its_place():
    assert {path.name for path in NATIVE.iterdir() if path.is_dir()} == set(NATIVE_ORDER)


@pytest.mark.parametrize(
    "path", sorted(NATIVE.rglob("*.[ch]")), ids=lambda path: str(path.relative_to(NATIVE))
)
def test_native_includes_point_down_the_order(path):
    named = re.findall(r'#include "(.*?)"', without_comments(path.read_text()))
    found = [NATIVE / name if (NATIVE / name).exists() else path.parent / name for name in named]
    assert all(target.exists() for target in found), "a header is named from native/src"
    assert [str(target) for target in found if native_rank(target) > native_rank(path)] == []


def native_symbols(directory: Path) -> dict[str, tuple[set[str], set[str]]]:
    """What each C file of the engine defines for others, and what it takes from them: as its object says."""
    flags = ["-O0", "-w", "-std=c11", "-D_GNU_SOURCE", f"-I{NATIVE}", f"-I{NATIVE.parent / 'include'}"]
    found = {}
    for path in sorted(NATIVE.rglob("*.c")):
        target = directory / f"{path.stem}.o"
        subprocess.run(["gcc", *flags, "-c", path, "-o", target], check=True)
        lines = subprocess.run(["nm", target], check=True, capture_output=True, text=True).stdout.splitlines()
        symbols = [line.split()[-2:] for line in lines]
        found[str(path.relative_to(NATIVE))] = (
            {name for kind, name in symbols if kind in "TDBRVC"},
            {name for kind, name in symbols if kind == "U"},
        )
    return found


def circles(uses: dict[str, set[str]]) -> list[str]:
    """Of a graph: those that are left when, again and again, who uses nothing that is left goes."""
    left = dict(uses)
    while ended := [one for one, needs in left.items() if not (needs - {one}) & left.keys()]:
        for one in ended:
            del left[one]
    return sorted(left)


@pytest.mark.slow
def test_no_room_and_no_file_of_the_engine_is_in_a_circle(tmp_path):
    symbols = native_symbols(tmp_path)
    owner = {name: path for path, (defined, _) in symbols.items() for name in defined}
    files = {path: {owner[name] for name in needs if name in owner} for path, (_, needs) in symbols.items()}
    rooms: dict[str, set[str]] = {}
    for path, needs in files.items():
        rooms.setdefault(path.partition("/")[0], set()).update(one.partition("/")[0] for one in needs)
    assert circles(rooms) == []
    assert len([path for path in files if path.startswith("core/")]) > 10
    assert len([path for path in files if path.startswith("wire/")]) > 10
    assert len([path for path in files if path.startswith("driver/")]) > 5
    assert circles(files) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]
    listed = re.findall(r"\w+\.c\b", (NATIVE / "core" / "internal.h").read_text())
    place = {f"core/{name}": n for n, name in enumerate(listed)}
    core = {path: needs & place.keys() for path, needs in files.items() if path.startswith("core/")}
    assert sorted(place) == sorted(core)
    assert [(path, one) for path, needs in core.items() for one in needs if place[one] > place[path]] == []


def test_plugins_in_c_carry_the_headers_as_they_are():
    headers = REPO / "native" / "include" / "protokit"
    plugins = [path.parent / "include" / "protokit" for path in REPO.glob("*/*/build_native.py")]
    assert len(plugins) == 5
    for plugin in plugins:
        copies = sorted(plugin.glob("*.h"))
        assert plugin / "codec.h" in copies
        for copy in copies:
            assert filecmp.cmp(headers / copy.name, copy, shallow=False), (
                f"copy {headers / copy.name} over {copy}"
            )


def test_plugins_in_c_are_built_again_when_a_header_changes(monkeypatch, tmp_path):
    scripts = [*REPO.glob("*/*/build_native.py")]
    assert len(scripts) == 5
    for script in scripts:
        monkeypatch.chdir(script.parent)
        extension = runpy.run_path(str(script))["ffibuilder"].distutils_extension(str(tmp_path))
        headers = [path for part in ("native", "include") for path in (script.parent / part).rglob("*.h")]
        assert headers
        assert sorted(map(os.path.realpath, extension.depends)) == sorted(map(os.path.realpath, headers)), (
            script
        )


def test_headers_that_plugins_carry_need_nothing_of_protokit_but_each_other():
    headers = REPO / "native" / "include" / "protokit"
    assert {path.name for path in headers.iterdir()} == {"codec.h", "edits.h", "values.h", "wanted.h"}
    for path in headers.iterdir():
        included = re.findall(r"^#include (.*)$", path.read_text(), re.MULTILINE)
        assert [one for one in included if "protokit" in one and one != "<protokit/codec.h>"] == []
        assert [one for one in included if one.startswith('"')] == []


def test_every_module_says_what_it_is():
    for path in MODULES:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_what_python_sees_of_the_engine_is_read_from_its_headers():
    build = runpy.run_path(str(REPO / "native" / "build_native.py"))
    shown = without_comments(build["declarations"]())
    assert re.findall(r"\bpk_core_feed\b", shown) == ["pk_core_feed"], "once, though many include it"
    assert "PK_STATUS_INTERNAL" in shown, "the public header"
    assert "pk_core_out" not in shown, "what stands outside of the marks"
    assert "#" not in shown


def test_a_part_for_python_without_an_end_stops_the_build(tmp_path):
    code = (REPO / "native" / "build_native.py").read_text()
    for text in (
        "/* python { */\nint one;",
        "/* python { */\nint one;\n/* python { */\nint two;\n/* } python */",
    ):
        folder = tmp_path / str(len(text))
        (folder / "src").mkdir(parents=True)
        (folder / "build_native.py").write_text(code)
        (folder / "src" / "access.h").write_text(text)
        with pytest.raises(ValueError, match=r"access\.h: a part that Python sees has no end"):
            runpy.run_path(str(folder / "build_native.py"))
