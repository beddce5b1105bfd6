"""The protocol that a command is to try, and what the kit is given for it."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protokit import plugins
from protokit.errors import ProtokitError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protokit.plugins import Plugin
    from protokit.wire import Protocol


def in_file(name: str) -> tuple[Path | None, str]:
    """The one-file plugin that is meant, if one is, and which of its protocols, where that is said."""
    place, _, which = name.rpartition(":")
    if place.endswith(".py"):
        return Path(place), which
    return (Path(name), "") if name.endswith(".py") else (None, name)


def plugin_of(name: str) -> tuple[Plugin, Path]:
    """Load what brings it, which may turn out to be broken.

    Args:
        name: of an installed protocol, or a one-file plugin (./mail.py, of several protocols ./mail.py:NAME).

    Returns:
        The plugin, and the folder that it is in.

    Raises:
        ProtokitError: there is none of that name.
    """
    path, _ = in_file(name)
    if path is not None:
        return plugins.load([], [path]).plugins[0], path.parent
    registry = plugins.load([name])
    if not registry.plugins:
        raise ProtokitError(plugins.missing_protocol_message(name))
    points = plugins.installed()[name]
    spec = None if registry.failures else importlib.util.find_spec(points[0].module)
    return registry.plugins[0], Path(spec.origin).parent if spec and spec.origin else Path()


def protocol_in(plugin: Plugin, name: str) -> Protocol:
    """The one protocol that is meant.

    Raises:
        ProtokitError: the plugin is broken, or it is not clear which.
    """
    if plugin.failure:
        raise ProtokitError(f"plugin {name}: {plugin.failure}")
    path, which = in_file(name)
    if which in plugin.protocols:
        return plugin.protocols[which]
    if path is None:
        raise ProtokitError(plugins.missing_protocol_message(name))
    if which or len(plugin.protocols) != 1:
        seen = f"has no protocol {which!r}" if which else f"brings {len(plugin.protocols)} protocols"
        known = ", ".join(f"{path}:{one}" for one in sorted(plugin.protocols))
        raise ProtokitError(f"{path} {seen}" + (f"; say which: {known}" if known else ""))
    return next(iter(plugin.protocols.values()))


def protocol_named(name: str) -> Protocol:
    """Both in one.

    Raises:
        ProtokitError: as they say.
    """
    return protocol_in(plugin_of(name)[0], name)


def kit_of(name: str, beside: Path, places: Iterable[Path] = ()) -> dict[str, Any]:
    """What the conformance kit is to be given for a protocol besides the protocol.

    Args:
        name: the protocol's.
        beside: the folder of its plugin.
        places: folders and files of golden vectors that were asked for.

    Returns:
        The arguments of ``conformance``: ``KIT`` of a file ``NAME_kit.py`` where there is one. ``golden`` is
        always among them: the places that were asked for, or KIT's, or the files in a folder ``golden``.
        Both are looked for beside the plugin's module, and in ``tests`` beside its package.

    Raises:
        ProtokitError: the file cannot be used; says why.
    """
    file = kit_file(name, beside)
    kit = {} if file is None else _kit(file)
    asked = [file for place in places for file in (_of(name, place) if place.is_dir() else [place])]
    found = (files for folder in _folders(beside) if (files := _of(name, folder / "golden")))
    return {**kit, "golden": asked or kit.get("golden") or next(found, [])}


def kit_file(name: str, beside: Path) -> Path | None:
    """``NAME_kit.py``, where there is one."""
    own = (folder / f"{name.replace('-', '_')}_kit.py" for folder in _folders(beside))
    return next((file for file in own if file.is_file()), None)


def _folders(beside: Path) -> tuple[Path, ...]:
    return (beside, beside.parent / "tests")


def _kit(path: Path) -> dict[str, Any]:
    """What a file says, which may import others of its folder."""
    sys.path.insert(0, str(path.parent))
    try:
        kit = runpy.run_path(str(path)).get("KIT")
    except Exception as error:
        raise ProtokitError(f"{path}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent))
    if not isinstance(kit, dict):
        raise ProtokitError(f"{path}: expected KIT, a dict of what conformance() is to be given")
    return kit


def _of(name: str, folder: Path) -> list[Path]:
    """A folder's files that are named after the protocol, or else all."""
    return sorted(folder.glob(f"{name}*.jsonl")) or sorted(folder.glob("*.jsonl"))
