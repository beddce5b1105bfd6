"""Loading plugins: a broken one says why and harms nobody else."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from distributions import distribution, filter_plugin

from protokit import plugins

GOOD = filter_plugin("pass")
HOOK = "from protokit import hookimpl\n@hookimpl\n"
# What is wrong with it, and what its reason must say.
BROKEN = {
    "import_error": ("raise ImportError('no libfoo')", "ImportError: no libfoo (import_error.py:1)"),
    "missing_module": ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3 (exits.py:1)"),
    "own_base_exception": ("class Stop(BaseException): pass\nraise Stop('no')", "Stop: no"),
    "syntax": ("def (", "SyntaxError"),
    "misspelled": (
        HOOK + "def protokit_protocol(): return []",
        "unknown hook 'protokit_protocol'",
    ),
    "wrong_argument": (
        HOOK + "def protokit_protocols(app): return []",
        "can not be found in the hookspec",
    ),
    "raises": (
        HOOK + "def protokit_protocols(): raise RuntimeError('boom')",
        "RuntimeError: boom (raises.py:3)",
    ),
    "raises_late": (HOOK + "def protokit_protocols():\n    yield from [][0]", "IndexError"),
    "no_hooks": ("x = 1", "implements no hook"),
    "wrong_api": ("PROTOKIT_API = '>=7'\n" + GOOD, "plugin API >=7, this protokit has 1"),
    "older_api": ("PROTOKIT_API = '>=0,<1'\n" + GOOD, "plugin API >=0,<1, this protokit has 1"),
    "bad_api": ("PROTOKIT_API = 'one'\n" + GOOD, "expected a range like '>=1,<2'"),
    "number_api": ("PROTOKIT_API = 1\n" + GOOD, "expected a range like '>=1,<2'"),
    "no_protocol": (HOOK + "def protokit_protocols(): return ['dubbo']", "'dubbo', not a Protocol"),
    "no_list": (
        HOOK + "def protokit_protocols(): return 3",
        "protokit_protocols gave 3; expected a list of Protocol",
    ),
    "no_codec": (
        "from protokit import NativeCodec, Protocol\n"
        + HOOK
        + "def protokit_protocols(): return [Protocol('x', NativeCodec(0))]",
        "its address is 0",
    ),
    "twice": (
        "from protokit_dubbo import dubbo\n" + HOOK + "def protokit_protocols(): return [dubbo, dubbo]",
        "brings protocol 'dubbo' twice",
    ),
    "no_factory": (HOOK + "def protokit_filters(): return {'x': 3}", "not a mapping of names to factories"),
    "no_limiter": (
        HOOK + "def protokit_limits(): return ['x']",
        "protokit_limits gave ['x'], not a mapping of names to factories",
    ),
    "no_command": (HOOK + "def protokit_commands(): return [print]", "not a Command"),
}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_isolated_with_its_reason(tmp_path, name):
    text, reason = BROKEN[name]
    files = [write(tmp_path, name, text), write(tmp_path, "good", GOOD)]
    registry = plugins.load([], files)
    assert reason in registry.failures[str(files[0])]
    assert "\n" not in registry.failures[str(files[0])]
    assert list(registry.failures) == [str(files[0])]
    assert list(registry.filters) == ["pass"]


def test_all_broken_distributions_beside_two_good_ones(tmp_path, monkeypatch):
    for name, (text, _) in BROKEN.items():
        monkeypatch.syspath_prepend(distribution(tmp_path, f"broken_{name}", text, name))
    monkeypatch.syspath_prepend(distribution(tmp_path, "good", GOOD, "pass"))
    registry = plugins.load()
    assert set(registry.failures) == set(BROKEN)
    for name, (_, reason) in BROKEN.items():
        assert reason.partition(" (")[0] in registry.failures[name]
    assert set(registry.filters) == {"pass"}
    assert set(registry.protocols) >= {"dubbo", "bolt"}


def test_a_misspelled_hook_is_told_the_right_names(tmp_path):
    path = write(tmp_path, "misspelled", BROKEN["misspelled"][0])
    assert (
        "the hooks are protokit_commands, protokit_filters, protokit_limits, protokit_protocols"
        in (plugins.load([], [path]).failures[str(path)])
    )


def test_what_two_plugins_bring_is_refused_for_the_second(tmp_path):
    files = [write(tmp_path, "one", GOOD), write(tmp_path, "two", GOOD)]
    registry = plugins.load([], files)
    reason = "it brings filter 'pass', which another plugin brought already"
    assert registry.failures == {str(files[1]): reason}
    assert registry.plugins[1].filters == {}


def test_a_limiter_that_two_plugins_bring_is_the_first_ones(tmp_path):
    text = HOOK + "def protokit_limits(): return {'shared': print}"
    registry = plugins.load([], [write(tmp_path, "one", text), write(tmp_path, "two", text)])
    assert [*registry.failures.values()] == [
        "it brings limiter 'shared', which another plugin brought already"
    ]
    assert [one.limiters for one in registry.plugins] == [{"shared": print}, {}]


def test_a_protocol_that_two_plugins_bring_stays_the_first_ones(tmp_path):
    other = write(
        tmp_path,
        "other",
        "from protokit import Protocol\nfrom protokit_dubbo import dubbo\n"
        + HOOK
        + "def protokit_protocols(): return [Protocol('dubbo', dubbo.wire, 'the second')]",
    )
    registry = plugins.load(["dubbo"], [other])
    assert "it brings protocol 'dubbo'" in registry.failures[str(other)]
    assert registry.protocols["dubbo"].description.startswith("Apache Dubbo")


def test_a_name_that_two_distributions_claim_is_nobodys(tmp_path, monkeypatch):
    for name in ("dist_a", "dist_b"):
        monkeypatch.syspath_prepend(distribution(tmp_path, name, filter_plugin("same"), "same"))
    registry = plugins.load(["same"])
    assert registry.failures == {"same": "dist_a and dist_b both claim the name; uninstall all but one"}
    assert registry.filters == {}
    assert not {"dist_a", "dist_b"} & sys.modules.keys()


def test_one_module_may_stand_behind_several_names(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(
        distribution(tmp_path, "twins", filter_plugin("left", "right"), "left", "right", version="2.5")
    )
    registry = plugins.load(["left", "right"])
    assert registry.failures == {}
    (plugin,) = registry.plugins
    assert (plugin.names, plugin.distribution, plugin.version) == (("left", "right"), "twins", "2.5")


def test_an_entry_point_brings_what_it_is_named_by(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(distribution(tmp_path, "liar", GOOD, "other"))
    assert plugins.load(["other"]).failures == {
        "other": "its entry point is named 'other', but it brings pass"
    }


def test_only_what_is_named_is_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(distribution(tmp_path, "not_asked_for", "raise SystemExit", "unasked"))
    monkeypatch.syspath_prepend(distribution(tmp_path, "asked_for", filter_plugin("asked"), "asked"))
    registry = plugins.load(["asked"])
    assert registry.failures == {}
    assert "not_asked_for" not in sys.modules
    code = (
        "import sys; from protokit import plugins; plugins.load([]); print('protokit_dubbo' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_a_file_is_a_module_like_any_other(tmp_path):
    """Dataclasses look their module up, and two files of one name are two modules."""
    text = (
        "from __future__ import annotations\nimport dataclasses\nfrom protokit import Filter, hookimpl\n"
        "@dataclasses.dataclass\nclass Tag(Filter):\n    value: dataclasses.InitVar[int] = 1\n"
        "@hookimpl\ndef protokit_filters(): return {NAME: lambda options: Tag()}\n"
    )
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files.append(write(tmp_path / name, "same", text.replace("NAME", repr(name))))
    registry = plugins.load([], files)
    assert registry.failures == {}
    made = [registry.filters[name]({}) for name in ("a", "b")]
    assert type(made[0]) is not type(made[1])


def test_a_failed_file_leaves_no_module_behind(tmp_path):
    before = set(sys.modules)
    plugins.load([], [write(tmp_path, "fails", "raise ValueError")])
    assert not {name for name in set(sys.modules) - before if "fails" in name}


@pytest.mark.parametrize("name", ["nowhere.py", "folder", "text.txt"])
def test_a_file_that_is_none(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.txt").write_text("x = 1")
    path = tmp_path / name
    assert plugins.load([], [path]).failures == {str(path): f"{path} is not a Python file that can be read"}


def test_a_missing_protocol_names_the_package(monkeypatch):
    monkeypatch.setitem(plugins._KNOWN, "other", "protokit-other")
    there = ", ".join(sorted(plugins.installed()))
    assert "dubbo" in there
    assert plugins.missing_protocol_message("other") == (
        f"protocol 'other' is not installed (installed: {there}); install it with: pip install protokit-other"
    )
    known = {"bolt": "protokit-sofarpc", "hsf": "protokit-hsf", "tr": "protokit-sofarpc"}
    assert plugins._KNOWN.items() >= known.items()
    assert "did you mean 'dubbo'?" in plugins.missing_protocol_message("dubo")
    assert "its plugin has to be installed" in plugins.missing_protocol_message("zzzzzz")


def test_a_plugin_without_the_protocol_is_not_said_to_be_missing(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(distribution(tmp_path, "only_filter", GOOD, "pass"))
    assert "is installed, but brings no protocol of that name" in plugins.missing_protocol_message("pass")


def test_the_environment_allows_and_blocks(monkeypatch):
    assert "dubbo" in plugins.installed()
    monkeypatch.setenv("PROTOKIT_PLUGINS_BLOCK", "other, dubbo")
    assert "dubbo" not in plugins.installed()
    assert plugins.load(["dubbo"]).plugins == []
    assert "PROTOKIT_PLUGINS_BLOCK blocks it" in plugins.missing_protocol_message("dubbo")
    monkeypatch.setenv("PROTOKIT_PLUGINS", "dubbo")
    assert "dubbo" not in plugins.installed()
    monkeypatch.delenv("PROTOKIT_PLUGINS_BLOCK")
    assert "dubbo" in plugins.installed()
    monkeypatch.setenv("PROTOKIT_PLUGINS", "nothing")
    assert plugins.installed() == {}
    assert "PROTOKIT_PLUGINS does not list it" in plugins.missing_protocol_message("dubbo")
    assert "its plugin has to be installed" in plugins.missing_protocol_message("zzzzzz")


@pytest.mark.parametrize("end", ["raise RuntimeError('boom')", "raise SystemExit('boom')"])
def test_a_raising_startup_hook_leaves_the_others_alone(tmp_path, caplog, end):
    started = (
        filter_plugin("second") + "\nseen = []\n@hookimpl\ndef protokit_startup(app): seen.append(app)\n"
    )
    raising = GOOD + f"\n@hookimpl\ndef protokit_startup(app): {end}\n"
    registry = plugins.load([], [write(tmp_path, "a", raising), write(tmp_path, "b", started)])
    registry.call("protokit_startup", app="the app")
    assert "protokit_startup failed: " in caplog.text
    assert "boom (a.py:" in caplog.text
    (module,) = registry.plugins[1].manager.get_plugins()
    assert module.seen == ["the app"]


def test_commands_are_collected(tmp_path):
    text = "import click\n" + HOOK + "def protokit_commands(): return [click.Command('hello')]"
    files = [write(tmp_path, "one", text), write(tmp_path, "two", text)]
    registry = plugins.load([], files)
    assert list(registry.commands) == ["hello"]
    assert registry.failures == {
        str(files[1]): "it brings command 'hello', which another plugin brought already"
    }


def test_entry_points_are_those_that_importlib_finds(tmp_path, monkeypatch):
    one = distribution(tmp_path, "acme.one", filter_plugin("a"), "a", "b", version="2.1.0rc1")
    again = distribution(
        tmp_path / "again", "acme_one", filter_plugin("a"), "hidden"
    )  # the same, later on the path
    odd = distribution(tmp_path, "odd", "", "c")
    (odd / "odd-1.0.dist-info" / "entry_points.txt").write_text(
        "[console_scripts]\nx = y:z\n\n"
        "[protokit.plugins]\n# a comment\n c=odd : this.that [extra]\n\n"
        "[more]\nd = e\n"
    )
    develop = tmp_path / "develop" / "acme_two.egg-info"
    develop.mkdir(parents=True)
    (develop / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: acme-two\nVersion: 3\n\nName: not this\n")
    (develop / "entry_points.txt").write_text("[protokit.plugins]\ne = two\n")
    broken = tmp_path / "broken" / "bad-1.dist-info"
    broken.mkdir(parents=True)
    (broken / "entry_points.txt").write_bytes(b"\xff")
    added = [one, again, odd, develop.parent, broken.parent, tmp_path / "nowhere", tmp_path / "file.zip"]
    (tmp_path / "file.zip").write_bytes(b"")
    monkeypatch.setattr(sys, "path", [*map(str, added), *sys.path])
    found = {(p.name, p.value, p.distribution, p.version) for p in plugins.entry_points()}
    assert {("a", "acme.one", "acme.one", "2.1.0rc1"), ("e", "two", "acme-two", "3")} <= found
    assert ("c", "odd : this.that", "odd", "1.0") in found
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(broken.parent)])
    expected = importlib.metadata.entry_points(group="protokit.plugins")
    wanted = {(p.name, p.value, p.dist.name, p.dist.version) for p in expected}
    assert {one[0] for one in found} == {one[0] for one in wanted}
    assert found - wanted <= {("c", "odd : this.that", "odd", "1.0")}  # extras are left out
