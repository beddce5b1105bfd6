"""``protokit new``: what it writes works at once, and what it cannot write it refuses with the reason."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from environment import Environment

REPO = Path(__file__).parents[2]


def new(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "protokit", "new", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_it_writes_a_package_and_says_what_to_do_next(tmp_path):
    done = new("acme-rpc", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "protokit-acme-rpc"
    assert tree(folder) == [
        "README.md",
        "protokit_acme_rpc/__init__.py",
        "protokit_acme_rpc/golden/acme_rpc.jsonl",
        "protokit_acme_rpc/py.typed",
        "proxy.yaml",
        "pyproject.toml",
        "tests/test_acme_rpc.py",
    ]
    for name in tree(folder):
        assert not re.search("@[A-Z_]+@|NAME", (folder / name).read_text()), name
    for step in ("cd protokit-acme-rpc", "pip install -e '.[test]'", "protokit plugins check acme-rpc"):
        assert step in done.stdout
    for line in (folder / "protokit_acme_rpc/golden/acme_rpc.jsonl").read_text().splitlines():
        assert json.loads(line)["origin"] == "made by hand"  # nobody takes them for a peer's


NAMES = ["mail", "class", "a_1", "acme-rpc"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_its_tests_pass_at_once(name, tmp_path):
    its_tests_pass(name, tmp_path)


@pytest.mark.parametrize("name", ["class", "acme-rpc"])  # a keyword, and what is no name; all above
def test_its_golden_vectors_pass_whatever_its_name(name, tmp_path):
    its_tests_pass(name, tmp_path, "-k", "golden")


def its_tests_pass(name, tmp_path, *options):
    assert new(name, "--directory", "it", cwd=tmp_path).returncode == 0
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=tmp_path / "it",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "it")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Mail", "expected a lowercase letter"),
        ("1st", "expected a lowercase letter"),
        ("a--b", "expected a lowercase letter"),
        ("../x", "expected a lowercase letter"),
        ("proxy", "'proxy' is taken: protokit-proxy is protokit itself"),
        ("bolt", "protocol 'bolt' is taken: protokit-sofarpc is installed and brings it"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name, reason, tmp_path):
    done = new(name, cwd=tmp_path)
    assert done.returncode == 1
    assert reason in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_left_alone(tmp_path):
    (tmp_path / "protokit-mail").mkdir()
    (tmp_path / "protokit-mail" / "mine").write_text("mine")
    done = new("mail", cwd=tmp_path)
    assert done.returncode == 1
    assert "protokit-mail exists already" in done.stderr
    assert tree(tmp_path) == ["protokit-mail/mine"]
    (tmp_path / "file").write_text("mine")
    assert new("mail", "--directory", "file", cwd=tmp_path).returncode == 1
    (tmp_path / "empty").mkdir()
    assert new("mail", "--directory", "empty", cwd=tmp_path).returncode == 0


@pytest.mark.slow
def test_installed_into_a_fresh_environment_it_carries_traffic(tmp_path):
    assert new("mail", cwd=tmp_path).returncode == 0
    folder = tmp_path / "protokit-mail"
    fresh = Environment(tmp_path / "venv")
    fresh.install(folder)
    assert ": ok: 1 listeners" in fresh.protokit("check", str(folder / "proxy.yaml"))
    assert "protocol mail (declared)" in fresh.protokit("plugins")
    golden = fresh.site / "protokit_mail" / "golden" / "mail.jsonl"
    assert fresh.python(str(REPO / "tests" / "carry.py"), "mail", str(golden)) == (
        "mail (declared): 200 requests carried\n"
    )
