"""``protokit run``: its options; the rest is protokit.cli.process."""

from __future__ import annotations

import click

from protokit.cli import process


@click.command()
@click.argument("config")
@click.option(
    "--log-level", default="info", type=click.Choice(["debug", "info", "warning", "error"]), show_default=True
)
def run(config: str, log_level: str) -> None:
    """Run the proxy with a configuration file."""
    process.run(config, log_level)
