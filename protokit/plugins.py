"""Finding and loading plugins, each by itself, so that a broken one harms nobody else.

Entry points of the group ``protokit.plugins`` are named by what they bring; only what is asked for
is imported. Each plugin gets a PluginManager of its own: in a shared one a hook that raises loses
everybody's results, and a misspelled one is reported for the first plugin only.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import logging
import os
from typing import TYPE_CHECKING, Any

import pluggy

from protokit import hookspecs, native
from protokit.errors import PluginError
from protokit.wire import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import click

    from protokit.model import Filter

GROUP = "protokit.plugins"
API_VERSION = 1
ALLOW = "PROTOKIT_PLUGINS"
BLOCK = "PROTOKIT_PLUGINS_BLOCK"

_KNOWN = {"dubbo": "protokit-dubbo"}
_log = logging.getLogger("protokit.plugins")


class Plugin:
    """One plugin that was asked for.

    Attributes:
        name: the entry point's name, or the file's.
        distribution, version: what it was installed from; empty for a file.
        protocols, filters, commands: what it brings; empty where it failed.
        failure: why it cannot be used; empty where it can.
    """

    def __init__(self, name: str, distribution: str = "", version: str = "") -> None:
        self.name = name
        self.distribution = distribution
        self.version = version
        self.protocols: dict[str, Protocol] = {}
        self.filters: dict[str, Callable[[Mapping[str, Any]], Filter]] = {}
        self.commands: list[click.Command] = []
        self.failure = ""
        self.manager: pluggy.PluginManager | None = None


class Registry:
    """What the loaded plugins bring, by name."""

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = list(plugins)
        self.protocols: dict[str, Protocol] = {}
        self.filters: dict[str, Callable[[Mapping[str, Any]], Filter]] = {}
        for plugin in self.plugins:
            taken = [name for name in plugin.protocols if name in self.protocols]
            taken += [name for name in plugin.filters if name in self.filters]
            if taken:
                plugin.failure = f"it brings {taken[0]!r}, which another plugin brought already"
                continue
            self.protocols.update(plugin.protocols)
            self.filters.update(plugin.filters)

    @property
    def failures(self) -> dict[str, str]:
        """Why each broken plugin cannot be used, by its name."""
        return {plugin.name: plugin.failure for plugin in self.plugins if plugin.failure}

    def call(self, hook: str, **arguments: object) -> None:
        """Call a start-up or shutdown hook of every plugin; one that raises is logged."""
        for plugin in self.plugins:
            if plugin.manager is None or plugin.failure:
                continue
            try:
                getattr(plugin.manager.hook, hook)(**arguments)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # somebody else's code
                _log.error("plugin %s: %s failed: %s", plugin.name, hook, _reason(error))


def installed() -> dict[str, importlib.metadata.EntryPoint]:
    """Entry points by name, less those that the environment does not allow."""
    points = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
    allowed, blocked = _names(ALLOW), _names(BLOCK)
    return {
        name: point
        for name, point in points.items()
        if name not in blocked and (not allowed or name in allowed)
    }


def load(names: Iterable[str] | None = None, files: Iterable[Path] = ()) -> Registry:
    """Load plugins.

    Args:
        names: of entry points; None for all that are installed. One that is not installed is skipped:
            ``missing_protocol_message`` says what to do about it.
        files: one-file plugins.

    Returns:
        A Registry; what is broken stands in its ``failures``, and never raises.
    """
    points = installed()
    wanted = points if names is None else [name for name in dict.fromkeys(names) if name in points]
    plugins = [_load_entry_point(points[name]) for name in wanted]
    plugins += [_load_file(path) for path in files]
    return Registry(plugins)


def missing_protocol_message(name: str) -> str:
    """What to tell a user whose configuration names a protocol that no plugin brings."""
    names = sorted(installed())
    have = f"installed: {', '.join(names)}" if names else "no plugin is installed"
    text = f"protocol {name!r} is not installed ({have})"
    if name in _names(BLOCK):
        return f"{text}; the environment variable {BLOCK} blocks it"
    if name in _KNOWN:
        return f"{text}; install it with: pip install {_KNOWN[name]}"
    close = difflib.get_close_matches(name, [*names, *_KNOWN], n=1)
    return f"{text}; did you mean {close[0]!r}?" if close else f"{text}; its plugin has to be installed"


def _names(variable: str) -> set[str]:
    return {name for name in os.environ.get(variable, "").replace(",", " ").split() if name}


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _load_entry_point(point: importlib.metadata.EntryPoint) -> Plugin:
    plugin = Plugin(
        point.name, point.dist.name if point.dist else "", point.dist.version if point.dist else ""
    )
    return _fill(plugin, point.load, expected=point.name)


def _load_file(path: Path) -> Plugin:
    def load_module() -> object:
        spec = importlib.util.spec_from_file_location(f"protokit_file_{path.stem}", path)
        if spec is None or spec.loader is None or not path.exists():
            raise PluginError(f"{path} is not a Python file that can be read")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return _fill(Plugin(str(path)), load_module)


def _fill(plugin: Plugin, load_module: Callable[[], object], expected: str = "") -> Plugin:
    try:
        _use(plugin, load_module(), expected)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # somebody else's code
        plugin.failure = str(error) if isinstance(error, PluginError) else _reason(error)
        plugin.protocols, plugin.filters, plugin.commands, plugin.manager = {}, {}, [], None
    return plugin


def _use(plugin: Plugin, module: object, expected: str) -> None:
    _check_api(getattr(module, "PROTOKIT_API", f">={API_VERSION}"))
    manager = pluggy.PluginManager("protokit")
    manager.add_hookspecs(hookspecs)
    manager.register(module, plugin.name)
    manager.check_pending()
    if not manager.get_hookcallers(module):
        raise PluginError("it implements no hook of protokit (decorate them with protokit.hookimpl)")
    for protocol in (one for several in manager.hook.protokit_protocols() for one in several):
        if not isinstance(protocol, Protocol):
            raise PluginError(f"protokit_protocols gave {protocol!r}, not a protokit.Protocol")
        native.check_codec(protocol.wire.address, protocol.name)
        if protocol.name in plugin.protocols:
            raise PluginError(f"it brings protocol {protocol.name!r} twice")
        plugin.protocols[protocol.name] = protocol
    for filters in manager.hook.protokit_filters():
        plugin.filters.update(filters)
    for commands in manager.hook.protokit_commands():
        plugin.commands.extend(commands)
    named = {*plugin.protocols, *plugin.filters}
    if expected and named and expected not in named:
        raise PluginError(f"its entry point is named {expected!r}, but it brings {', '.join(sorted(named))}")
    plugin.manager = manager


def _check_api(wanted: str) -> None:
    """Refuse a plugin written for another API. ``wanted`` is like ``>=1,<2``."""
    for part in wanted.replace(" ", "").split(","):
        for sign in (">=", "<=", "==", ">", "<"):
            if part.startswith(sign) and part[len(sign) :].isdigit():
                number = int(part[len(sign) :])
                break
        else:
            raise PluginError(f"PROTOKIT_API is {wanted!r}; expected a range like '>=1,<2'")
        fits = {
            ">=": number <= API_VERSION,
            "<=": number >= API_VERSION,
            "==": number == API_VERSION,
            ">": number < API_VERSION,
            "<": number > API_VERSION,
        }
        if not fits[sign]:
            raise PluginError(f"it was written for plugin API {wanted}, this protokit has {API_VERSION}")
