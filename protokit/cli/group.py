"""The command's subcommands: a module each, imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import cast

import click

import protokit
from protokit.errors import close_match

_COMMANDS = ["check", "decode", "fuzz", "new", "plugins", "route", "run", "schema"]


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's
        return _COMMANDS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's
        if cmd_name not in _COMMANDS:
            return None
        return cast("click.Command", getattr(importlib.import_module(f"protokit.cli.{cmd_name}"), cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and name[:1].isalnum():
            close = close_match(name, _COMMANDS)
            hint = f"did you mean {close!r}?" if close else f"there are {', '.join(_COMMANDS)}"
            ctx.fail(f"there is no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(protokit.__version__, prog_name="protokit")
def group() -> None:
    """A proxy for RPC protocols."""
