"""Packages as their users get them: built in isolation, into empty environments, before and after protokit is
published, by the lines of the READMEs. Needs the package index that pip is configured for.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
PLUGINS = ("brpc", "dubbo", "hsf", "motan", "sofarpc", "tars", "thrift")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Shell:
    """An empty environment that is switched on; pip finds what is published in ``links``."""

    def __init__(self, folder: Path, links: Path | None = None) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        self.variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))},
            "PATH": f"{folder / 'venv' / 'bin'}:{os.environ['PATH']}",
            "PIP_QUIET": "1",
            "PIP_NO_COMPILE": "1",  # Python does it for what it imports
            "CFLAGS": "-O0",  # what is optimized is what all other tests run
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        if links is not None:
            found = os.environ.get("PIP_FIND_LINKS", "")
            self.variables["PIP_FIND_LINKS"] = f"{found} {links}".strip()

    def __call__(self, line: str, folder: Path, code: int = 0) -> str:
        """What a line says, typed in a folder."""
        done = subprocess.run(
            line,
            shell=True,
            cwd=folder,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{line}: {done.stdout}"
        return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The tree as it is cloned: nothing is built in it."""
    built = shutil.ignore_patterns(".git", ".venv*", "build", "*.egg-info", "*.so", "__pycache__", ".*_cache")
    return shutil.copytree(REPO, tmp_path_factory.mktemp("clone") / "protokit", ignore=built, symlinks=True)


@pytest.fixture(scope="module")
def published(clone, tmp_path_factory):
    """A folder with all distributions: wheels that were built from source distributions alone.

    The processes of a run share one, which the first of them builds.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    wheels = shared / "published"
    with (shared / "published.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wheels.is_dir():
            build(clone, tmp_path_factory).rename(wheels)
    return wheels


def build(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All wheels."""
    sources, wheels = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheels")
    make = f"import setuptools.build_meta as made; made.build_sdist({str(sources)!r})"
    for folder in (clone, *(clone / "plugins" / name for name in PLUGINS)):
        done = subprocess.run(
            [sys.executable, "-c", make], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(wheels), *map(str, sources.iterdir())]
    plain = {**os.environ, "CFLAGS": "-O0"}
    done = subprocess.run(
        pip, env=plain, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert len(list(wheels.iterdir())) == 1 + len(PLUGINS)
    return wheels


@pytest.fixture(params=["before", "after"])
def environment(request, published, tmp_path):
    """One for a plugin: with protokit, which nobody has published; or with nothing, and all is published."""
    if request.param == "after":
        return Shell(tmp_path, published)
    shell = Shell(tmp_path)
    (core,) = published.glob("protokit_proxy-*.whl")
    shell(f"pip install {core}", tmp_path)
    return shell


def lines(text: str, start: str) -> list[str]:
    """The commands of the first block that begins with ``start``, without their comments."""
    (block,) = re.findall(rf"^```sh\n({re.escape(start)}.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line.split("#")[0].strip() for line in block.splitlines()]


def test_from_a_clone(clone, tmp_path):
    shell = Shell(tmp_path)
    install, *_ = lines((REPO / "README.md").read_text(), "pip install .")
    shell(install.replace(" ./plugins/sofarpc", ""), clone)
    shell("pip install ./plugins/sofarpc", clone)  # alone, where protokit is
    found = shell("protokit plugins", tmp_path)
    for protocol in ("dubbo (native)", "bolt (declared)", "tr (native)"):
        assert f"protocol {protocol}" in found
    config = clone / "examples" / "quickstart.yaml"
    assert ": ok: " in shell(f"protokit check {config}", tmp_path)
    shell("pip uninstall -y protokit-dubbo", tmp_path)
    assert "pip install protokit-dubbo" in shell(f"protokit check {config}", tmp_path, code=1)


def test_once_it_is_published_the_demo_needs_a_plugin_alone(published, tmp_path):
    shell = Shell(tmp_path, published)
    shell("pip install protokit-dubbo", tmp_path)
    shutil.copytree(REPO / "examples", tmp_path / "examples")
    config = tmp_path / "examples" / "quickstart.yaml"
    text = config.read_text()
    for port in ("20880", "20881", "20882", "9900"):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            text = text.replace(f":{port}", f":{probe.getsockname()[1]}")
    config.write_text(text)
    assert "every call was answered as it should be" in shell(
        f"python examples/demo.py --config {config}", tmp_path
    )


def test_a_plugin_that_protokit_new_writes(environment, tmp_path):
    said = subprocess.run(
        [sys.executable, "-m", "protokit", "new", "mail"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    steps = [
        line.split("#")[0].strip() for line in said.split("Next:")[1].splitlines() if line.startswith("  ")
    ]
    assert [step.split()[0] for step in steps] == ["cd", "pip", "python", "protokit", "protokit"]
    environment(" && ".join(steps).replace("check mail", "check mail --time 3s"), tmp_path)
    environment("pip uninstall -y protokit-mail && pip install .", tmp_path / "protokit-mail")
    assert "protocol mail (declared)" in environment("protokit plugins", tmp_path)


def test_a_plugin_in_c(environment, clone, tmp_path):
    steps = lines((REPO / "docs" / "native-codecs.md").read_text(), "cp -r")
    shutil.copytree(clone / "examples", tmp_path / "examples")
    said = environment(" && ".join(steps) + " --time 3s", tmp_path)
    assert "grade: bronze (silver wants reference)" in said


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """The other project's wheel: its package, its module ``cli``, its script."""
    path = tmp_path_factory.mktemp("stranger") / "protokit-99.0-py3-none-any.whl"
    info = "protokit-99.0.dist-info"
    files = {
        "protokit/__init__.py": '"""Message and schema tools."""\n',
        "protokit/cli.py": "def main():\n    print('the schema tools')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: protokit\nVersion: 99.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nprotokit = protokit.cli:main\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return path


def test_the_other_distribution_in_the_same_environment(published, stranger, tmp_path):
    shell = Shell(tmp_path, published)
    shell("pip install protokit-proxy", tmp_path)
    works = shell("protokit --version", tmp_path)
    shell(f"pip install {stranger}", tmp_path)
    for command in ("protokit --version", "python -m protokit --version"):
        said = shell(command, tmp_path, code=1)
        assert "gives another project's package" in said
    for step in re.findall(r"^  (pip .*)", said, re.MULTILINE):
        shell(step, tmp_path)
    assert shell("protokit --version", tmp_path) == works
    shell(f"pip install --force-reinstall {stranger} && pip uninstall -y protokit", tmp_path)
    said = shell("python -m protokit --version", tmp_path, code=1)
    assert "or what it left of ours" in said
    shell(re.findall(r"^  (pip install .*)", said, re.MULTILINE)[0], tmp_path)
    assert shell("protokit --version", tmp_path) == works
