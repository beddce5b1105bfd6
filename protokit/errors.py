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

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, TypeVar

    T = TypeVar("T")


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


def word(made: T) -> T:
    """A decorator: a word of the declaration language that is called wrongly says so in its own terms.

    Without it a misspelt keyword is a TypeError that names ``__init__`` and nothing that it could mean.

    Raises:
        DeclarationError: from the call: what was given, what is meant, and what the word takes.
    """
    of_class = isinstance(made, type)
    call: Callable[..., Any] = made.__init__ if of_class else made  # type: ignore[misc,assignment]

    @functools.wraps(call)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except TypeError:
            name = type(args[0]).__name__ if of_class else call.__name__
            said = misused(name, call, args, kwargs, of_class)
            if not said:  # it was raised by what the word does
                raise
        raise DeclarationError(said)

    if not of_class:
        return checked  # type: ignore[return-value]  # it is called as what it wraps
    made.__init__ = checked  # type: ignore[misc]
    return made


def misused(
    name: str, call: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], itself: int
) -> str:
    """Why a word cannot be called so; empty where it can."""
    import inspect  # noqa: PLC0415  # as above

    signature = inspect.signature(call)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        why = str(error)
    else:
        return ""
    taken = list(signature.parameters.values())[itself:]
    named = [one.name for one in taken if one.kind not in (one.VAR_POSITIONAL, one.POSITIONAL_ONLY)]
    takes = "it takes " + ", ".join(
        f"*{one.name}"
        if one.kind == one.VAR_POSITIONAL
        else one.name
        if one.kind == one.POSITIONAL_ONLY
        else f"**{one.name}"
        if one.kind == one.VAR_KEYWORD
        else f"{one.name}="
        for one in taken
    )
    unknown = [one for one in kwargs if one not in named]
    free = [one for one in named if one not in kwargs]
    if unknown:
        close = close_match(unknown[0], free)
        meant = f"did you mean {close}=? " if close else ""
        return f"{name}: {unknown[0]}= is none of its keywords; {meant}{takes}"
    places = [one for one in taken if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    given = len(args) - itself
    twice = [one.name for one in places[:given] if one.name in kwargs]
    if twice:
        return f"{name}: {twice[0]}= is given twice, by its place and by its name; {takes}"
    if given > len(places) and all(one.kind != one.VAR_POSITIONAL for one in taken):
        most = f"{len(places)} are" if places else "none is"
        return f"{name}: {given} values are given by their place, and {most} taken so; {takes}"
    missing = [
        one.name
        for one in taken
        if one.default is one.empty
        and one.kind != one.VAR_POSITIONAL
        and one.name not in kwargs
        and one not in places[:given]
    ]
    return f"{name}: {missing[0]}= is missing; {takes}" if missing else f"{name}: {why}; {takes}"


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
