"""The distribution's name is ours, the package's is not: what is said where another project's stands there.

The other project's files are made here as its wheel has them: ``protokit/__init__.py`` and a module
``protokit/cli.py``, which its script imports.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import protokit_proxy

REPO = Path(__file__).parents[1]
PROJECTS = [REPO, *(path.parent for path in (REPO / "plugins").glob("*/pyproject.toml"))]
PROJECTS += [REPO / "examples" / "native-plugin"]
SCRIPTS = {
    "ours": ["-c", "from protokit_proxy import main; main()"],
    "theirs": ["-c", "from protokit.cli import main; main()"],
    "module": ["-m", "protokit"],
}


@pytest.fixture
def site(tmp_path):
    """A folder of packages with protokit-proxy's files."""
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPO / "protokit", tmp_path / "site" / "protokit", ignore=leave)
    shutil.copy(REPO / "protokit_proxy.py", tmp_path / "site")
    return tmp_path / "site"


def stranger(site: Path, source: str = '"""Message and schema tools."""\n') -> None:
    (site / "protokit").mkdir(parents=True, exist_ok=True)
    (site / "protokit" / "__init__.py").write_text(source)
    (site / "protokit" / "cli.py").write_text("def main():\n    print('the schema tools')\n")


def command(script: str, *sites: Path) -> subprocess.CompletedProcess[str]:
    """Without the lines of paths that packages were installed by: what the tree has is not there."""
    path = os.pathsep.join([*map(str, sites), sysconfig.get_path("platlib")])
    return subprocess.run(
        [sys.executable, "-S", "-P", *SCRIPTS[script], "--version"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str], place: Path) -> None:
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert f"another project's package, or what it left of ours: {place}" in done.stderr
    assert "pip uninstall -y protokit\n" in done.stderr
    assert "pip install --force-reinstall --no-deps protokit-proxy" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_ours_runs(script, site):
    done = command(script, site)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("protokit, version")


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("source", ['"""Tools."""\n', '__version__ = "0.16.0"\n'])
def test_files_that_were_overwritten(source, script, site):
    stranger(site, source)
    refused(command(script, site), site / "protokit" / "__init__.py")


def test_a_package_that_cannot_even_be_imported(site):
    stranger(site, "import nothing_of_that_name\n")
    done = command("ours", site)
    refused(done, Path("nowhere"))
    assert "ModuleNotFoundError: No module named 'nothing_of_that_name'" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_is_left_when_the_other_was_taken_out_again(script, site):
    (site / "protokit" / "__init__.py").unlink()
    refused(command(script, site), site / "protokit")


def test_a_package_that_stands_in_front(site, tmp_path):
    stranger(tmp_path / "front")
    refused(command("ours", tmp_path / "front", site), tmp_path / "front" / "protokit" / "__init__.py")


def names(project: dict[str, object]) -> list[str]:
    lists = [*project.get("optional-dependencies", {}).values(), project.get("dependencies", [])]
    return [one for listed in lists for one in listed]


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda path: path.name)
def test_no_project_asks_for_the_other_distribution(folder):
    read = tomllib.loads((folder / "pyproject.toml").read_text())
    asked = [*names(read["project"]), *read["build-system"]["requires"]]
    mine = [one for one in asked if one.startswith("protokit")]
    assert all(one.startswith(protokit_proxy.DISTRIBUTION) for one in mine), mine
    if folder == REPO:
        assert read["project"]["name"] == protokit_proxy.DISTRIBUTION
    else:
        assert any(one.startswith(f"{protokit_proxy.DISTRIBUTION}>=") for one in mine)
        assert not any("protokit" in one for one in read["build-system"]["requires"])  # it builds without
