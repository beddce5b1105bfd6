"""Loading plugins: a broken one says why and harms nobody else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from protokit import plugins

GOOD = """
from protokit import Filter, hookimpl
class Pass(Filter):
    async def request(self, request):
        return None
@hookimpl
def protokit_filters():
    return {"pass": lambda options: Pass()}
"""
BROKEN = {
    "import_error": ("raise ImportError('no libfoo')", "ImportError: no libfoo"),
    "missing_module": ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "misspelled": (
        "from protokit import hookimpl\n@hookimpl\ndef protokit_protocol(): return []",
        "unknown hook 'protokit_protocol'",
    ),
    "wrong_argument": (
        "from protokit import hookimpl\n@hookimpl\ndef protokit_protocols(app): return []",
        "can not be found in the hookspec",
    ),
    "raises": (
        "from protokit import hookimpl\n@hookimpl\ndef protokit_protocols(): raise RuntimeError('boom')",
        "RuntimeError: boom",
    ),
    "no_hooks": ("x = 1", "implements no hook"),
    "wrong_api": ("PROTOKIT_API = '>=7'\n" + GOOD, "plugin API >=7, this protokit has 1"),
    "bad_api": ("PROTOKIT_API = 'one'\n" + GOOD, "expected a range"),
    "no_protocol": (
        "from protokit import hookimpl\n@hookimpl\ndef protokit_protocols(): return ['dubbo']",
        "not a protokit.Protocol",
    ),
    "no_codec": (
        "from protokit import NativeCodec, Protocol, hookimpl\n@hookimpl\n"
        "def protokit_protocols(): return [Protocol('x', NativeCodec(0))]",
        "its address is 0",
    ),
    "syntax": ("def (", "SyntaxError"),
}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_isolated_with_its_reason(tmp_path, name):
    text, reason = BROKEN[name]
    files = [write(tmp_path, name, text), write(tmp_path, "good", GOOD)]
    registry = plugins.load([], files)
    assert reason in registry.failures[str(files[0])]
    assert list(registry.filters) == ["pass"]


def test_what_two_plugins_bring_is_refused_for_the_second(tmp_path):
    files = [write(tmp_path, "one", GOOD), write(tmp_path, "two", GOOD)]
    registry = plugins.load([], files)
    assert registry.failures == {str(files[1]): "it brings 'pass', which another plugin brought already"}


def test_only_what_is_named_is_imported():
    code = (
        "import sys; from protokit import plugins; plugins.load([]); print('protokit_dubbo' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_a_missing_protocol_names_the_package():
    assert "pip install protokit-dubbo" in plugins.missing_protocol_message("dubbo")
    assert "did you mean 'dubbo'?" in plugins.missing_protocol_message("dubo")


def test_the_environment_allows_and_blocks(monkeypatch):
    assert "dubbo" in plugins.installed()
    monkeypatch.setenv("PROTOKIT_PLUGINS_BLOCK", "other, dubbo")
    assert "dubbo" not in plugins.installed()
    assert "PROTOKIT_PLUGINS_BLOCK blocks it" in plugins.missing_protocol_message("dubbo")
    monkeypatch.delenv("PROTOKIT_PLUGINS_BLOCK")
    monkeypatch.setenv("PROTOKIT_PLUGINS", "nothing")
    assert plugins.installed() == {}


def test_a_raising_startup_hook_leaves_the_others_alone(tmp_path, caplog):
    started = (
        GOOD.replace('"pass"', '"second"')
        + "\nseen = []\n@hookimpl\ndef protokit_startup(app): seen.append(app)\n"
    )
    raising = GOOD + "\n@hookimpl\ndef protokit_startup(app): raise RuntimeError('boom')\n"
    registry = plugins.load([], [write(tmp_path, "a", raising), write(tmp_path, "b", started)])
    registry.call("protokit_startup", app="the app")
    assert "protokit_startup failed: RuntimeError: boom" in caplog.text
    (module,) = registry.plugins[1].manager.get_plugins()
    assert module.seen == ["the app"]


def test_the_command_lists_what_is_installed():
    rows = json.loads(subprocess.check_output([sys.executable, "-m", "protokit", "plugins", "--json"]))
    (dubbo,) = [row for row in rows if row["name"] == "dubbo"]
    assert dubbo["distribution"] == "protokit-dubbo"
    assert dubbo["failure"] == ""
    assert dubbo["protocols"][0]["tier"] == "native"
    text = subprocess.check_output([sys.executable, "-m", "protokit", "plugins"], text=True)
    assert "protocol dubbo (native)" in text
