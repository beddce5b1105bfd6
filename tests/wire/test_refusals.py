"""Each refusal of the declaration language is quoted by a test: a new ``raise`` without a case fails here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import protokit

ROOT = Path(protokit.__file__).parent
TESTS = Path(__file__).parent.parent
RUN = 4  # words of a message that stand in a test, one behind the other
REFUSE = {"DeclarationError", "CannotRewriteError", "_refuse", "PluginError"}


def words(text):
    """As a person reads them, however a string is cut or escaped."""
    return re.findall(r"[a-z0-9_=.]+", re.sub(r'"\s*f?r?"', "", text.replace("\\", "")).lower())


def refusals():
    """(where, the constant pieces of its message)."""
    for path in sorted([*(ROOT / "wire").rglob("*.py"), ROOT / "native" / "frames.py"]):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
                continue
            if ast.unparse(node.exc.func) in REFUSE:
                texts = [one.value for one in ast.walk(node.exc) if isinstance(one, ast.Constant)]
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                yield pytest.param([one for one in texts if isinstance(one, str)], id=where)


@pytest.fixture(scope="module")
def quoted():
    """The words of each test's file, with a space between."""
    return [
        f" {' '.join(words(path.read_text('utf-8')))} "
        for path in TESTS.rglob("*.py")
        if "target" not in path.parts
    ]


@pytest.mark.parametrize("pieces", list(refusals()))
def test_a_refusal_has_its_case(pieces, quoted):
    runs = []
    for piece in pieces:
        said = words(piece)
        runs += [said[at : at + RUN] for at in range(len(said) - RUN + 1)]
    runs = runs or [words(piece) for piece in pieces if 1 < len(words(piece)) < RUN]
    assert not runs or any(f" {' '.join(run)} " in text for run in runs for text in quoted), (
        f"no test quotes: {' '.join(pieces)}"
    )
