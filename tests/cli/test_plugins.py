"""``protokit plugins`` as a user runs it, with real distributions on the path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from distributions import distribution, filter_plugin


def run(*arguments: str, path: str = "", **environment: str) -> str:
    command = [sys.executable, "-m", "protokit", "plugins", *arguments]
    return subprocess.check_output(command, text=True, env={**os.environ, "PYTHONPATH": path, **environment})


def test_it_lists_what_is_installed_with_versions_and_tiers():
    rows = {row["names"][0]: row for row in json.loads(run("--json"))}
    dubbo = rows["dubbo"]
    assert dubbo["names"] == ["dubbo"]
    assert dubbo["distribution"] == "protokit-dubbo"
    assert dubbo["version"]
    assert dubbo["failure"] == ""
    assert [(one["name"], one["tier"]) for one in dubbo["protocols"]] == [("dubbo", "native")]
    assert [(one["name"], one["tier"]) for one in rows["bolt"]["protocols"]] == [("bolt", "declared")]
    text = run()
    assert f"dubbo        protokit-dubbo {dubbo['version']}" in text
    assert "protocol dubbo (native)" in text


LIMITS = "import protokit\n@protokit.hookimpl\ndef protokit_limits(): return {'quota': print}\n"


def test_it_lists_broken_ones_with_the_reason_beside_the_good(tmp_path):
    path = os.pathsep.join(
        str(folder)
        for folder in (
            distribution(tmp_path, "bad", "import sys; sys.exit(3)", "bad", version="0.3"),
            distribution(tmp_path, "good", filter_plugin("good"), "good", version="0.4"),
            distribution(tmp_path, "quota", LIMITS, "quota"),
        )
    )
    rows = {tuple(row["names"]): row for row in json.loads(run("--json", path=path))}
    assert rows[("bad",)]["failure"] == "SystemExit: 3 (bad.py:1)"
    assert rows[("bad",)]["version"] == "0.3"
    assert rows[("good",)]["filters"] == ["good"]
    assert rows[("good",)]["failure"] == rows[("dubbo",)]["failure"] == ""
    text = run(path=path)
    assert "bad          bad 0.3\n             BROKEN: SystemExit: 3 (bad.py:1)\n" in text
    assert "filter good" in text
    assert rows[("quota",)]["limiters"] == ["quota"]
    assert rows[("quota",)]["failure"] == ""
    assert "limiter quota" in text


def test_it_says_when_a_protocol_is_in_python(tmp_path):
    source = (Path(__file__).parents[1] / "toy" / "sized.py").read_text()
    path = str(distribution(tmp_path, "sized", source, "sized"))
    rows = {row["names"][0]: row for row in json.loads(run("--json", path=path))}
    assert [(one["name"], one["tier"]) for one in rows["sized"]["protocols"]] == [("sized", "python")]
    assert "protocol sized (python): with a size in front" in run(path=path)


def test_it_says_so_when_nothing_is_there():
    text = run(PROTOKIT_PLUGINS="nothing")
    assert "no plugin is installed" in text
    assert json.loads(run("--json", PROTOKIT_PLUGINS="nothing")) == []
