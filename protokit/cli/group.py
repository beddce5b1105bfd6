"""The command's subcommands."""

from __future__ import annotations

import click

import protokit
from protokit.cli.check import check
from protokit.cli.decode import decode
from protokit.cli.fuzz import fuzz
from protokit.cli.new import new
from protokit.cli.plugins import plugins
from protokit.cli.run import run
from protokit.cli.schema import schema


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(protokit.__version__, prog_name="protokit")
def group() -> None:
    """A proxy for RPC protocols."""


for command in (check, decode, fuzz, new, plugins, run, schema):
    group.add_command(command)
