"""The configuration file: reading it, checking it, its JSON Schema. Knows plugins, not the data plane."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from protokit import plugins
from protokit.config.check import check, protocols_of
from protokit.config.document import Document, decoded, read
from protokit.errors import ConfigError, ConfigErrors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path  # whose import is a twentieth of the proxy's start
    from typing import Any

    from protokit.config.findings import Findings
    from protokit.config.schema import Config

__all__ = ["Loaded", "load"]

_LARGEST = 64 << 20  # characters of a file: a device or a pipe may have no end


class Loaded:
    """A configuration that can be run.

    Attributes:
        config: as written.
        registry: the plugins that it names.
        path: of the file, or ``<mapping>``.
        warnings: what is odd about it.
        hosts: the host names in it, with their places.
        filters: where each use of a filter stands, by its ``id``: errors without a text.
        protocols: by listener, in order; ``auto`` spelled out: all that can be detected and its mode carries.
    """

    def __init__(self, config: Config, registry: plugins.Registry, path: str, findings: Findings) -> None:
        self.config = config
        self.registry = registry
        self.path = path
        self.warnings = findings.warnings
        self.hosts = findings.hosts
        self.filters = findings.filters
        self.protocols = {
            listener.name: tuple(protocols_of(listener, registry)) for listener in config.listeners
        }


def load(source: str | Path | Mapping[str, Any], registry: plugins.Registry | None = None) -> Loaded:
    """Read and check a configuration.

    Args:
        source: a file's path, or the same as a mapping.
        registry: plugins to use instead of those that the configuration names.

    Raises:
        ConfigErrors: everything that is wrong with it, each with its place.
    """
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                data = file.read(_LARGEST + 1)
        except OSError as error:
            raise ConfigErrors([ConfigError(f"cannot be read: {error.strerror}", path)]) from None
        if len(data) > _LARGEST:
            raise ConfigErrors([ConfigError(f"is larger than {_LARGEST >> 20} MiB", path)])
    else:
        path = "<mapping>"
        data = msgspec.json.encode(source)  # JSON is YAML
    try:
        document = Document(decoded(data, path), path)
    except ConfigError as error:
        raise ConfigErrors([error]) from None
    config, mistakes, holes = read(document)
    registry = _plugins(config, os.path.dirname(path)) if registry is None else registry  # noqa: PTH120
    findings = check(config, registry, document, holes)
    if mistakes or findings.errors:
        raise ConfigErrors([*mistakes, *findings.errors])
    return Loaded(config, registry, path, findings)


def _plugins(config: Config, folder: str) -> plugins.Registry:
    files = [os.path.join(folder, name) for name in config.plugins if name.endswith(".py")]  # noqa: PTH118
    names = [name for name in config.plugins if not name.endswith(".py")]
    wanted = [name for listener in config.listeners for name in protocols_of(listener)]
    names += [name for name in wanted if name != "auto"]
    uses = [use.name for listener in config.listeners for use in listener.filters]
    uses += [use.name for table in config.routes for rule in table.rules for use in rule.filters]
    uses += [use.name for cluster in config.clusters for use in cluster.filters]
    uses += [
        rule.limit.ask.name
        for table in config.routes
        for rule in table.rules
        if rule.limit is not None and rule.limit.ask is not None
    ]
    return plugins.load(None if "auto" in wanted else [*names, *uses], files)
