"""What commands say where nothing can be written, and what is said of a command that there is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from protokit import cli

DOCS = Path(__file__).parents[2] / "docs"
CONFIG = """\
listeners: [{name: in, bind: "127.0.0.1:1", protocol: dubbo, cluster: a}]
clusters: [{name: a, endpoints: ["127.0.0.1:2"]}]
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "p.yaml"],
        ["route", "p.yaml", "-s", "a"],
        ["route", "p.yaml", "-s", "a", "--json"],
        ["schema"],
        ["plugins"],
        ["plugins", "--json"],
        ["decode", str(DOCS / "calculator.pcap"), "-p", "dubbo"],
        ["--version"],
        ["--help"],
        ["run", "--help"],
    ],
    ids=lambda arguments: " ".join(arguments[:1] + arguments[3:]),
)
def test_a_full_disk_is_a_line_and_no_trace(arguments, tmp_path, monkeypatch):
    (tmp_path / "p.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["protokit", *arguments])
    full = Path("/dev/full").open("w")  # noqa: SIM115  # to close it would write once more
    monkeypatch.setattr(sys, "stdout", full)
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        monkeypatch.undo()
        full.buffer.raw.close()
    assert ended.value.code == "protokit: the output cannot be written: No space left on device"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("chek", "did you mean 'check'?"),
        ("reload", "there are check, decode, fuzz, new, plugins, route, run, schema"),
        ("start", "there are check, decode, fuzz, new, plugins, route, run, schema"),
    ],
)
def test_a_command_that_there_is_not(name, hint, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["protokit", name, "p.yaml"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert f"Error: there is no command {name!r}; {hint}\n" in capsys.readouterr().err
