"""Finding and loading plugins, each by itself, so that a broken one harms nobody else.

Entry points of the group ``protokit.plugins`` are named by what they bring; only what is asked for
is imported, and one module may stand behind several names. Each plugin gets a PluginManager of its
own: in a shared one a hook that raises loses everybody's results, and a misspelled one is reported
for the first plugin only. Imports nothing from configuration on.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import pluggy

from protokit import API_VERSION, hookspecs, native
from protokit.errors import PluginError, close_match
from protokit.wire import Protocol

if TYPE_CHECKING:
    from pathlib import Path  # whose import is a twentieth of the proxy's start

    import click

    from protokit.model import FilterFactory, LimiterFactory

GROUP = "protokit.plugins"
ALLOW = "PROTOKIT_PLUGINS"
BLOCK = "PROTOKIT_PLUGINS_BLOCK"

# The package that brings a protocol, for those who have not installed it.
_KNOWN = {
    "dubbo": "protokit-dubbo",
    "bolt": "protokit-sofarpc",
    "hsf": "protokit-hsf",
    "tr": "protokit-sofarpc",
}
_PYTHONS = os.path.dirname(os.__file__)  # noqa: PTH120
_OURS = (*(os.path.dirname(one) + os.sep for one in (__file__, pluggy.__file__)), "<frozen")  # noqa: PTH120
_log = logging.getLogger("protokit.plugins")
_DIGEST = "__protokit_digest__"
T = TypeVar("T")


class Plugin:
    """One plugin that was asked for: a module, whatever number of entry points name it.

    Attributes:
        names: of its entry points, or the file's path.
        distribution, version: what it was installed from; empty for a file.
        protocols, filters, limiters, commands: what it brings; empty where it failed.
        failure: why it cannot be used; empty where it can.
    """

    def __init__(self, names: Iterable[str], distribution: str = "", version: str = "") -> None:
        self.names = tuple(names)
        self.distribution = distribution
        self.version = version
        self.protocols: dict[str, Protocol] = {}
        self.filters: dict[str, FilterFactory] = {}
        self.limiters: dict[str, LimiterFactory] = {}
        self.commands: dict[str, click.Command] = {}
        self.failure = ""
        self.manager: pluggy.PluginManager | None = None

    @property
    def name(self) -> str:
        """All its names in one text."""
        return ", ".join(self.names)

    def is_same(self, other: Plugin | None) -> bool:
        """Whether both are the same module, run once; a file that has changed is another."""
        if other is None or self.manager is None or other.manager is None:
            return other is not None
        return self.manager.get_plugins() == other.manager.get_plugins()

    def fail(self, reason: str) -> None:
        """Say why it cannot be used; from here on it brings nothing."""
        self.failure = reason
        self.protocols, self.filters, self.limiters, self.commands, self.manager = {}, {}, {}, {}, None


class Registry:
    """What the loaded plugins bring, by name.

    Attributes:
        plugins: all that were asked for and found, the broken ones too.
        protocols, filters, limiters, commands: what they bring. A name that is brought twice is its first
            plugin's; the second one fails whole.
    """

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = list(plugins)
        self.protocols: dict[str, Protocol] = {}
        self.filters: dict[str, FilterFactory] = {}
        self.limiters: dict[str, LimiterFactory] = {}
        self.commands: dict[str, click.Command] = {}
        for plugin in self.plugins:
            taken = sorted(
                f"{kind} {name!r}"
                for kind, brought, known in (
                    ("protocol", plugin.protocols, self.protocols),
                    ("filter", plugin.filters, self.filters),
                    ("limiter", plugin.limiters, self.limiters),
                    ("command", plugin.commands, self.commands),
                )
                for name in brought.keys() & known.keys()
            )
            if taken:
                plugin.fail(f"it brings {taken[0]}, which another plugin brought already")
            self.protocols.update(plugin.protocols)
            self.filters.update(plugin.filters)
            self.limiters.update(plugin.limiters)
            self.commands.update(plugin.commands)

    @property
    def failures(self) -> dict[str, str]:
        """Why each broken plugin cannot be used, by each of its names."""
        return {name: plugin.failure for plugin in self.plugins if plugin.failure for name in plugin.names}

    def implements(self, hook: str) -> bool:
        """Whether a plugin has a hook of that name."""
        managers = [plugin.manager for plugin in self.plugins if plugin.manager is not None]
        return any(getattr(one.hook, hook).get_hookimpls() for one in managers)

    def call(self, hook: str, **arguments: object) -> None:
        """Call a start-up or shutdown hook of every plugin; one that raises is logged."""
        for plugin in self.plugins:
            if plugin.manager is None:
                continue
            try:
                getattr(plugin.manager.hook, hook)(**arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001  # somebody else's code, SystemExit too
                _log.error("plugin %s: %s failed: %s", plugin.name, hook, reason(error))


class EntryPoint(msgspec.Struct, frozen=True):
    """One of the group: where the plugin ``name`` is, ``module`` or ``module:object``, and who brings it."""

    name: str
    value: str
    distribution: str
    version: str

    @property
    def module(self) -> str:
        """The module's name alone."""
        return self.value.partition(":")[0].strip()

    def load(self) -> object:
        """Import it."""
        within = self.value.partition(":")[2].strip()
        module = importlib.import_module(self.module)
        return functools.reduce(getattr, within.split(".") if within else (), module)


def entry_points() -> Iterator[EntryPoint]:
    """Those of the group on ``sys.path``; of a distribution that is there twice the first.

    What ``importlib.metadata`` finds as well, whose import takes a tenth of the proxy's start.
    """
    seen = set()
    for folder in sys.path:
        for name in _listed(folder):
            if name.endswith((".dist-info", ".egg-info")):
                key = re.sub(r"[-_.]+", "-", name.rpartition(".")[0].partition("-")[0]).lower()
                if key not in seen:
                    seen.add(key)
                    yield from _entry_points(os.path.join(folder, name))  # noqa: PTH118


def _listed(folder: str) -> list[str]:
    """What is in a folder, in order; nothing where it is none."""
    try:
        return sorted(os.listdir(folder or "."))  # noqa: PTH208
    except OSError:
        return []


def _entry_points(info: str) -> Iterator[EntryPoint]:
    """Those of one distribution, from the folder with its metadata."""
    points = _lines(f"{info}/entry_points.txt")
    if f"[{GROUP}]" not in points:
        return
    metadata = _lines(f"{info}/METADATA") or _lines(f"{info}/PKG-INFO")
    fields = dict(line.partition(": ")[::2] for line in metadata[: [*metadata, ""].index("")])
    for line in points[points.index(f"[{GROUP}]") + 1 :]:
        if line.startswith("["):
            break
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            value = value.partition("[")[0].strip()  # extras
            yield EntryPoint(name.strip(), value, fields.get("Name", ""), fields.get("Version", ""))


def _lines(path: str) -> list[str]:
    """Of a file, each without spaces around it; none where it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            return [line.strip() for line in file.read().splitlines()]
    except (OSError, UnicodeDecodeError):
        return []


def installed() -> dict[str, list[EntryPoint]]:
    """Entry points by name, less those that the environment does not allow.

    Each name has one, except where several distributions claim it.
    """
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points():
        if not _hidden(point.name):
            found.setdefault(point.name, []).append(point)
    return found


def load(names: Iterable[str] | None = None, files: Iterable[str | Path] = ()) -> Registry:
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
    plugins = []
    modules: dict[tuple[str, str], list[EntryPoint]] = {}
    for name in wanted:
        if len(points[name]) > 1:
            plugins.append(_contested(points[name]))
        else:
            point = points[name][0]
            modules.setdefault((point.distribution, point.value), []).append(point)
    plugins += [_load_module(several) for several in modules.values()]
    plugins += [_load_file(path) for path in files]
    return Registry(plugins)


def missing_protocol_message(name: str, brought: Iterable[str] = ()) -> str:
    """What to tell a user whose configuration names a protocol that no plugin brings.

    Args:
        name: of the protocol.
        brought: names of protocols that are there, of one-file plugins, too.
    """
    names = sorted(installed())
    have = f"installed: {', '.join(names)}" if names else "no plugin is installed"
    if any(point.name == name for point in entry_points()):
        if variable := _hidden(name):
            verb = "blocks it" if variable == BLOCK else "does not list it"
            return f"protocol {name!r} is installed, but the environment variable {variable} {verb}"
        return f"plugin {name!r} is installed, but brings no protocol of that name (see: protokit plugins)"
    text = f"protocol {name!r} is not installed ({have})"
    if name in _KNOWN:
        return f"{text}; install it with: pip install {_KNOWN[name]}"
    close = close_match(name, [*brought, *names, *_KNOWN])
    return f"{text}; did you mean {close!r}?" if close else f"{text}; its plugin has to be installed"


def missing_message(name: str) -> str:
    """What to tell a user whose configuration names a plugin that is not installed; empty where it is."""
    names = sorted({point.name for point in entry_points()})
    if name in names:
        return ""  # perhaps the environment keeps it out: who needs what it brings is told so
    text = (
        f"plugin {name!r} is not installed ({', '.join(names) or 'none is'}), and no file: those end in .py"
    )
    close = close_match(name, names)
    return f"{text}; did you mean {close!r}?" if close else text


def _hidden(name: str) -> str:
    """The environment variable that keeps an entry point out; empty where none does."""
    if name in _names(BLOCK):
        return BLOCK
    allowed = _names(ALLOW)
    return ALLOW if allowed and name not in allowed else ""


def _names(variable: str) -> set[str]:
    return set(os.environ.get(variable, "").replace(",", " ").split())


def is_async(method: object) -> bool:
    """Whether what it gives can be awaited, as far as can be told without calling it."""
    import inspect  # noqa: PLC0415  # where there are filters or limiters

    while isinstance(method, functools.partial):
        method = method.func
    method = inspect.unwrap(method)  # type: ignore[arg-type]  # of what is none it gives that back
    return inspect.iscoroutinefunction(method) or inspect.iscoroutinefunction(type(method).__call__)


def reason(error: BaseException) -> str:
    """One line: what was raised, and where in the plugin."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    at, place = error.__traceback__, None
    while at is not None:
        if _is_theirs(at.tb_frame.f_code.co_filename):
            place = at
        at = at.tb_next
    if place is None:
        return text
    from protokit.wire.raised import raised  # noqa: PLC0415  # only where something failed

    file = os.path.basename(place.tb_frame.f_code.co_filename)  # noqa: PTH119
    return f"{' '.join(raised(error, place).split()) or text} ({file}:{place.tb_lineno})"


def _is_theirs(filename: str) -> bool:
    folder = os.path.dirname(filename)  # noqa: PTH120
    construct = getattr(sys.modules.get("construct"), "__file__", None)
    return (
        not filename.startswith(_OURS)
        and folder != _PYTHONS
        and (construct is None or folder != os.path.dirname(construct))  # noqa: PTH120
    )


def _contested(points: list[EntryPoint]) -> Plugin:
    plugin = Plugin([points[0].name])
    several = " and ".join(sorted(point.distribution for point in points))
    plugin.fail(f"{several} both claim the name; uninstall all but one")
    return plugin


def _load_module(points: list[EntryPoint]) -> Plugin:
    plugin = Plugin([point.name for point in points], points[0].distribution, points[0].version)
    return _fill(plugin, points[0].load, expected=plugin.names)


def _load_file(file: str | Path) -> Plugin:
    import hashlib  # noqa: PLC0415  # only for those
    from pathlib import Path  # noqa: PLC0415

    path = Path(file)

    # Its own name in sys.modules, as any module has: dataclasses and pickles look themselves up there.
    name = f"protokit_file_{path.stem}_{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:8]}"

    before = sys.modules.get(name)

    def load_module() -> object:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or not path.is_file():
            raise PluginError(f"{path} is not a Python file that can be read")
        source = path.read_bytes()
        # Like any module it runs once, but again when it has changed. The loader would take what lies
        # compiled beside it for the same, where second and size are.
        digest = hashlib.sha256(source).digest()
        if before is not None and before.__dict__[_DIGEST] == digest:
            return before
        module = importlib.util.module_from_spec(spec)
        module.__dict__[_DIGEST] = digest
        sys.modules[name] = module
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102  # a plugin's own
        return module

    plugin = _fill(Plugin([str(path)]), load_module)
    if plugin.failure:
        sys.modules.pop(name, None)
        if before is not None:
            sys.modules[name] = before  # it still runs
    return plugin


def _fill(plugin: Plugin, load_module: Callable[[], object], expected: Iterable[str] = ()) -> Plugin:
    try:
        _use(plugin, load_module(), expected)
    except PluginError as error:
        plugin.fail(str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # somebody else's code, SystemExit too
        plugin.fail(reason(error))
    return plugin


def _use(plugin: Plugin, module: object, expected: Iterable[str]) -> None:
    _check_api(getattr(module, "PROTOKIT_API", f">={API_VERSION}"))
    manager = pluggy.PluginManager("protokit")
    manager.add_hookspecs(hookspecs)
    hooks = ", ".join(sorted(name for name in vars(hookspecs) if name.startswith("protokit_")))
    try:
        manager.register(module, plugin.name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{' '.join(str(error).split())}; the hooks are {hooks}") from None
    if not manager.get_hookcallers(module):
        raise PluginError(
            f"it implements no hook of protokit; decorate with protokit.hookimpl one of {hooks}"
        )
    for protocol in _flat("protokit_protocols", manager.hook.protokit_protocols(), Protocol):
        native.check_codec(protocol.wire.address, protocol.name)
        _put(plugin.protocols, protocol.name, protocol, "protocol")
    plugin.filters.update(_factories("protokit_filters", manager.hook.protokit_filters()))
    plugin.limiters.update(_factories("protokit_limits", manager.hook.protokit_limits()))
    if commands := manager.hook.protokit_commands():
        import click  # noqa: PLC0415  # only for those

        for command in _flat("protokit_commands", commands, click.Command):
            _put(plugin.commands, command.name or "", command, "command")
    named = {*plugin.protocols, *plugin.filters, *plugin.limiters}
    for name in expected:
        if named and name not in named:
            raise PluginError(f"its entry point is named {name!r}, but it brings {', '.join(sorted(named))}")
    plugin.manager = manager


def _factories(hook: str, results: Iterable[Any]) -> dict[str, Any]:
    """Factories by name, of what a hook gave."""
    found: dict[str, Any] = {}
    for given in results:
        if not isinstance(given, Mapping) or not all(map(callable, given.values())):
            raise PluginError(f"{hook} gave {given!r}, not a mapping of names to factories")
        found |= given
    return found


def _flat(hook: str, results: Iterable[Any], kind: type[T]) -> Iterable[T]:
    """What a hook gave, each checked to be a ``kind``."""
    for result in results:
        if not isinstance(result, Iterable) or isinstance(result, str):
            raise PluginError(f"{hook} gave {result!r}; expected a list of {kind.__name__}")
        for one in result:
            if not isinstance(one, kind):
                raise PluginError(f"{hook} gave {one!r}, not a {kind.__name__}")
            yield one


def _put(table: dict[str, T], name: str, value: T, what: str) -> None:
    if name in table:
        raise PluginError(f"it brings {what} {name!r} twice")
    table[name] = value


def _check_api(wanted: object) -> None:
    """Refuse a plugin written for another API. ``wanted`` is like ``>=1,<2``."""
    for part in str(wanted).replace(" ", "").split(","):
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
