"""The hooks of protokit, and nothing else. All are called at start-up, none per request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import click

    from protokit.model import FilterFactory, LimiterFactory
    from protokit.wire import Protocol

hookspec = pluggy.HookspecMarker("protokit")
hookimpl = pluggy.HookimplMarker("protokit")


@hookspec
def protokit_protocols() -> Iterable[Protocol]:  # type: ignore[empty-body]  # a specification has no body
    """The wire protocols of this plugin.

    Called once when the plugin is loaded. Two plugins that bring the same name are an error.
    """


@hookspec
def protokit_filters() -> Mapping[str, FilterFactory]:  # type: ignore[empty-body]  # as above
    """Filters by the name that the configuration uses.

    Called once when the plugin is loaded. A factory is called with the options that the configuration
    gives, once for each place that names it, and returns a ``protokit.Filter``.
    """


@hookspec
def protokit_limits() -> Mapping[str, LimiterFactory]:  # type: ignore[empty-body]  # as above
    """Limiters by the name that a rule's ``limit.ask`` uses: they say what is allowed beyond one process.

    Called once when the plugin is loaded. A factory is called with the options that the configuration
    gives, once for each rule that names it, and returns a ``protokit.Limiter``.
    """


@hookspec
def protokit_commands() -> Iterable[click.Command]:  # type: ignore[empty-body]  # as above
    """Subcommands for the ``protokit`` command line.

    Called once when the plugin is loaded. Two plugins that bring the same name are an error.
    """


@hookspec
def protokit_startup(app: object) -> None:
    """The proxy is about to listen.

    Called once for each plugin that the configuration names, and again for a file that a reload finds
    changed; one that raises is logged.

    Args:
        app: the ``protokit.Proxy``.
    """


@hookspec
def protokit_shutdown(app: object) -> None:
    """The proxy has closed its last connection, or a changed file has taken this one's place.

    Called once, as ``protokit_startup`` is.

    Args:
        app: the ``protokit.Proxy``.
    """
