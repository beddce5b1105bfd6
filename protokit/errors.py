"""The errors of protokit. Imports nothing of protokit.

A message says what was seen, what was expected, and what to do. The tree is no deeper than this::

    ProtokitError
        ConfigError(path, line, column)
        PluginError(plugin)
        DeclarationError          a wire format's declaration is wrong
        ProtocolError
            LocalProtocolError    you did something the protocol does not allow
            RemoteProtocolError   the peer did
        RoutingError
        UpstreamError
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def close_match(text: str, names: Iterable[str]) -> str:
    """The name that was probably meant; empty where none is near."""
    import difflib  # noqa: PLC0415  # takes its time, and is needed where something is wrong

    return next(iter(difflib.get_close_matches(text, list(names), n=1)), "")


class ProtokitError(Exception):
    """Base of all errors that protokit raises on purpose."""


class ConfigError(ProtokitError):
    """One mistake in a configuration file.

    Args:
        message: what was seen, what was expected, what to do.
        path: the file, or ``<mapping>`` for a configuration given as data.
        line: counted from 1; 0 where there is none.
        column: counted from 1; 0 where there is none.
    """

    def __init__(self, message: str, path: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.line = line
        self.column = column

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.path, self.line, self.column) if part)
        return f"{where}: {self.message}" if where else self.message


class ConfigErrors(ConfigError):
    """All mistakes of a configuration file, in the order in which they stand there."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        self.errors = sorted(errors, key=lambda error: (error.path, error.line, error.column))
        first = self.errors[0]
        super().__init__(first.message, first.path, first.line, first.column)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class PluginError(ProtokitError):
    """A plugin cannot be used.

    Args:
        message: why.
        plugin: its name, as in the configuration.
    """

    def __init__(self, message: str, plugin: str = "") -> None:
        super().__init__(f"plugin {plugin!r}: {message}" if plugin else message)
        self.plugin = plugin


class DeclarationError(ProtokitError):
    """A wire format's declaration is wrong, or says what cannot be compiled; it names the field."""


class ProtocolError(ProtokitError):
    """Bytes or calls that a wire protocol does not allow."""


class LocalProtocolError(ProtocolError):
    """This side asked for something that the protocol cannot say."""


class RemoteProtocolError(ProtocolError):
    """The peer sent bytes that are not the protocol.

    Args:
        message: what was expected.
        offset: of the first wrong byte.
    """

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(f"at byte {offset}: {message}")
        self.offset = offset


class RoutingError(ProtokitError):
    """A request has no place to go."""


class UpstreamError(ProtokitError):
    """An upstream did not do its part."""
