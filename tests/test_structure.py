"""The tree is the architecture: imports point one way, cffi has one door, the public names are there."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import protokit

ROOT = Path(protokit.__file__).parent
ORDER = [
    "errors",
    "model",
    "wire",
    "native",
    "hookspecs",
    "plugins",
    "config",
    "control",
    "dataplane",
    "observe",
    "admin",
    "cli",
]
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem in ORDER)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "protokit":
                found |= {f"protokit.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_the_order(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if room == "testing":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "protokit" and len(parts) > 1 and parts[1] in ORDER:
            assert ORDER.index(parts[1]) <= ORDER.index(room), f"{room} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_native_touches_cffi(path):
    touching = {name for name in imports(path) if name == "cffi" or name.startswith("protokit._native")}
    assert not touching or path.name == "native.py"


def test_the_model_and_the_errors_import_nothing_of_protokit():
    for name in ("model", "errors"):
        assert not [one for one in imports(ROOT / f"{name}.py") if one.startswith("protokit")]


def test_public_names():
    for name in protokit.__all__:
        assert getattr(protokit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        protokit.Nothing  # noqa: B018


def test_every_engine_source_is_built():
    build = (ROOT.parent / "native" / "build_native.py").read_text()
    for source in (ROOT.parent / "native" / "src").glob("*.c"):
        assert f'"{source.stem}"' in build


def test_every_module_says_what_it_is():
    for path in ROOT.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
        importlib.util.find_spec(f"protokit.{path.stem}")
