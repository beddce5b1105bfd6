"""``examples/native-plugin`` is built into an environment of its own, graded, and carries traffic."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from environment import Environment

REPO = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_plugin_with_a_codec_in_c_is_built_graded_and_carries_traffic(tmp_path):
    source = tmp_path / "native-plugin"
    left_behind = shutil.ignore_patterns("build", "*.egg-info", "*.so", "_native.c")
    shutil.copytree(REPO / "examples" / "native-plugin", source, ignore=left_behind)
    fresh = Environment(tmp_path / "venv")
    fresh.install(source)
    assert "protocol tag (native): a small protocol in C" in fresh.protokit("plugins")
    text = fresh.protokit("plugins", "check", "tag", "--time", "3s")
    assert "grade: bronze (silver wants reference)" in text, text
    golden = fresh.site / "protokit_tag" / "golden" / "tag.jsonl"
    assert fresh.python(str(REPO / "tests" / "carry.py"), "tag", str(golden)) == (
        "tag (native): 200 requests carried\n"
    )
